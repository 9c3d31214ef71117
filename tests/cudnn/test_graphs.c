/* cuDNN itself, without a GPU: the operation graphs that the run side builds are accepted, and a
 * plan is chosen for each from the properties of an H100. Skipped (77) where there is no cuDNN, or
 * one that knows no device properties (before 9.8). */
#include "runtime/cuda/cudnn.h"
#include "tests/cudnn/cases.h"

#include <stdio.h>

/* What cuDNN writes of an H100, without what names one machine. */
static const char h100[] =
    "{\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],"
    "\"regsPerBlock\":65536,\"multiProcessorCount\":132,\"warpSize\":32,"
    "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":232448,"
    "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,\"maxCtasPerSM\":32,"
    "\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,\"pciDeviceId\":0,\"isTccDriver\":0,"
    "\"supportCoopLaunch\":1,\"totalGlobalMem\":85014872064,\"smClockRateKHz\":1980000,"
    "\"memClockRateKHz\":2619000,\"l2CacheSize\":52428800,\"cudaDeviceId\":0,\"deviceVer\":900,"
    "\"driverVer\":13000,\"deviceName\":\"NVIDIA H100 80GB HBM3\",\"cudnnVersion\":%d,"
    "\"schemaVersion\":%d}";

static const Case cases[] = {
    {"resnet 7x7", 2, 32, 3, 64, 224, 7, 2, 1, 3, 3, 1},
    {"resnet 3x3", 2, 32, 64, 64, 56, 3, 1, 1, 1, 1, 1},
    {"resnet 3x3 strided", 2, 32, 64, 128, 56, 3, 2, 1, 1, 1, 1},
    {"resnet 1x1 strided", 2, 32, 64, 128, 56, 1, 2, 1, 0, 0, 1},
    {"resnet 1x1", 2, 32, 256, 64, 56, 1, 1, 1, 0, 0, 1},
    {"fashion", 2, 128, 1, 32, 28, 3, 1, 1, 1, 1, 1},
    {"uneven padding", 2, 8, 16, 32, 32, 4, 1, 1, 1, 2, 1},
    {"dilated", 2, 8, 32, 32, 32, 3, 1, 2, 2, 2, 1},
    {"grouped", 2, 8, 32, 64, 32, 3, 1, 1, 1, 1, 4},
    {"depthwise", 2, 8, 32, 32, 32, 3, 1, 1, 1, 1, 32},
    {"odd channels", 2, 4, 5, 7, 17, 3, 1, 1, 1, 1, 1},
    {"one axis", 1, 16, 64, 64, 256, 5, 1, 1, 2, 2, 1},
    {"three axes", 3, 2, 16, 32, 16, 3, 1, 1, 1, 1, 1},
};

typedef struct Test {
    Cudnn cudnn;
    CudnnDescriptor device;
    int failed, planned;
} Test;

static void one(Test *test, const Case *at, int kind, int dtype, bool epilogue) {
    static const char *const kinds[] = {"", "forward", "input gradient", "filter gradient"};
    static const char *const dtypes[] = {"f64", "f32", "f16", "bf16"};
    int64_t sizes[PLAN_CONV_SIZES(3)];
    sizes_fill(at, sizes);
    DeviceCall call = {.kind = kind,
                       .compute = dtype == PLAN_F64 ? PLAN_COMPUTE_F64 : PLAN_COMPUTE_F32,
                       .epilogue = epilogue ? PLAN_EPILOGUE_RELU : PLAN_EPILOGUE_NONE,
                       .sizes = sizes,
                       .n_sizes = PLAN_CONV_SIZES(at->rank),
                       .reproducible = true};
    for (int i = 0; i < PLAN_N_OPERANDS; i++) {
        call.dtypes[i] = dtype;
        call.alignment[i] = 64;
        call.present[i] = i == PLAN_OPERAND_A || i == PLAN_OPERAND_B || i == PLAN_OPERAND_D ||
                          (epilogue && i == PLAN_OPERAND_BIAS);
    }
    char message[DEVICE_MESSAGE_BYTES] = "";
    CudnnGraph graph;
    CudnnWish wish = {
        .device = test->device, .most_workspace = (int64_t)1 << 30, .reproducible = true};
    bool built = cudnn_graph_build(&test->cudnn, NULL, &call, &graph, message, sizeof(message));
    bool planned =
        built && test->device && cudnn_graph_choose(&graph, &wish, message, sizeof(message));
    printf("%-20s %-16s %-5s%s: ", at->name, kinds[kind], dtypes[dtype],
           epilogue ? " bias, relu" : "");
    if (planned) {
        printf("engine %lld, workspace %lld\n", (long long)graph.engine,
               (long long)graph.workspace);
    } else {
        printf("%s%s\n", built ? "graph; " : "NO GRAPH: ", message);
    }
    test->failed += !built || (test->device && !planned);
    test->planned += planned;
    cudnn_graph_finish(&graph);
}

int main(void) {
    Test test = {0};
    char message[DEVICE_MESSAGE_BYTES] = "", text[sizeof(h100) + 32];
    if (!cudnn_open(&test.cudnn, 0, message, sizeof(message))) {
        printf("skipped: %s\n", message);
        return 77;
    }
    for (int schema = 0; schema < 8 && !test.device; schema++) {
        snprintf(text, sizeof(text), h100, test.cudnn.version, schema);
        test.device = cudnn_device_make(&test.cudnn, text, message, sizeof(message));
    }
    if (!test.device) {
        printf("without plans: %s\n", message);
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int kind = PLAN_LIBRARY_CONV; kind <= PLAN_LIBRARY_CONV_FILTER_GRAD; kind++) {
            for (int dtype = PLAN_F64; dtype <= PLAN_BF16; dtype++) {
                one(&test, &cases[i], kind, dtype, false);
            }
        }
        one(&test, &cases[i], PLAN_LIBRARY_CONV, PLAN_BF16, true);
        one(&test, &cases[i], PLAN_LIBRARY_CONV, PLAN_F32, true);
    }
    printf("%d plans, %d failures\n", test.planned, test.failed);
    if (test.device) {
        test.cudnn.unmake(test.device);
    }
    return test.failed > 0;
}
