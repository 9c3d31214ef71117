/* The parts of the GPU kit, one a process; each prints one JSON object and fails when something is
 * wrong. It links the run time alone: no compiler, no LLVM. See docs/cuda.md.
 *   gpukit [--device D] [--code ptx|text] [--ceilings FILE] [--quick] PART, one of
 *       versions | load PLAN… | cudnn OUT | intrinsics FILE RESULTS | ops PLAN CASES | model SPEC |
 *       guarded SPEC | ceilings INTRINSICS OUT PLAN… | kernels SPEC | train SPEC | serve SPEC
 *   and for the kit itself: pack FILE… | unpack FILE… | record-intrinsics FILE RESULTS |
 *       record SPEC (on the CPU)
 * SPEC: NAME PLAN EXPECTED STEPS TOLERANCE [precision=P] [DIM=N]… */
#include "tests/gpu/gpukit.h"

#include "runtime/cuda/cudnn.h"
#include "runtime/cuda/driver.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

double kit_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void kit_text(const char *text) {
    putchar('"');
    for (const char *c = text ? text : ""; *c; c++) {
        if (*c == '"' || *c == '\\') {
            putchar('\\');
        }
        putchar((unsigned char)*c < ' ' ? ' ' : *c);
    }
    putchar('"');
}

void kit_problem(Kit *kit, const char *format, ...) {
    char text[700];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "gpukit: %s\n", text);
    if (kit->n_problems < MOST_PROBLEMS) {
        snprintf(kit->problems[kit->n_problems], sizeof kit->problems[0], "%.500s", text);
    }
    kit->n_problems++;
}

dlc_plan *kit_plan(Kit *kit, const char *path) {
    dlc_plan *plan = NULL;
    if (dlc_plan_load(kit->context, path, 0, &plan) != DLC_OK) {
        kit_problem(kit, "%s: %s", path, dlc_last_error(kit->context));
    }
    return plan;
}

static void versions(Kit *kit) {
    const DeviceOps *ops = device_find(kit->kind);
    dlc_allocator allocator = kit->context->allocator;
    DeviceOptions options = {.which = kit->which};
    Device *device = NULL;
    char message[DEVICE_MESSAGE_BYTES] = "", line[1024] = "";
    printf("\"dlc\": ");
    kit_text(dlc_version_text());
    if (!ops || ops->open(&allocator, &options, &device, message) != DLC_OK) {
        kit_problem(kit, "%s: %s", kit->device, ops ? message : "no such kind of device");
        return;
    }
    ops->describe(device, line, sizeof line);
    printf(", \"device\": ");
    kit_text(line);
    printf(", \"memory_after_open_bytes\": %lld",
           (long long)(ops->overhead_bytes ? ops->overhead_bytes(device) : -1));
    ops->close(device);
}

static void load(Kit *kit, char **paths, int n) {
    printf("\"plans\": [");
    for (int i = 0; i < n; i++) {
        double begin = kit_seconds();
        dlc_plan *plan = kit_plan(kit, paths[i]);
        dlc_session *session = NULL;
        dlc_session_options options = {.struct_size = sizeof options, .device = kit->device};
        if (plan && kit_session(kit, plan, &options, &session) != DLC_OK) {
            kit_problem(kit, "%s: %s", paths[i], dlc_last_error(kit->context));
        }
        printf("%s\n  {\"plan\": ", i ? "," : "");
        kit_text(paths[i]);
        printf(", \"seconds\": %.3f, \"how\": ", kit_seconds() - begin);
        kit_text(session ? dlc_session_describe(session) : "failed");
        if (session && session->ranks->ops->overhead_bytes) {
            printf(", \"memory_bytes\": %lld",
                   (long long)session->ranks->ops->overhead_bytes(session->ranks->device));
        }
        printf("}");
        dlc_session_destroy(session);
        dlc_plan_destroy(plan);
    }
    printf("]");
}

/* The figures of the GPU from which cuDNN's plans can be chosen on another machine. */
static void kit_cudnn(Kit *kit, const char *out) {
    Cudnn cudnn = {0};
    CudaDriver driver = {0};
    CudaDeviceId id = 0;
    dlc_allocator allocator = kit->context->allocator;
    char message[FILE_MESSAGE_BYTES] = "", name[128] = "";
    bool good = cuda_driver_open(&driver, message, sizeof message) == DLC_OK &&
                cuda_driver_pick(&driver, kit->which, &id, message, sizeof message) == DLC_OK;
    int version = driver.version;
    if (good) {
        (void)driver.device_name(name, sizeof name, id);
    }
    cuda_driver_close(&driver);
    if (!good) {
        kit_problem(kit, "%s", message);
        return;
    }
    if (strstr(name, "Simulated")) {
        printf("\"skipped\": \"a simulated device has no figures\"");
        return;
    }
    if (!cudnn_open(&cudnn, version, message, sizeof message)) {
        printf("\"skipped\": ");
        kit_text(message);
        return;
    }
    char *text = cudnn_device_text(&cudnn, &allocator, id, message, sizeof message);
    const void *parts[] = {text};
    size_t n = text ? strlen(text) : 0;
    if (!text || file_write(out, parts, &n, 1, message) != DLC_OK) {
        kit_problem(kit, "%s: %s", out, message);
    }
    printf("\"cudnn\": %d, \"file\": ", cudnn.version);
    kit_text(out);
    allocator.free(allocator.user, text);
    cudnn_close(&cudnn);
}

/* Files as zlib streams, "NAME.z": plans hold the same texts for every target. */
static void pack(Kit *kit, char **paths, int n, bool unpack) {
    for (int i = 0; i < n; i++) {
        char message[FILE_MESSAGE_BYTES] = "", out[1024];
        FileView view = {0};
        size_t n_name = strlen(paths[i]);
        uint64_t raw = 0;
        if (file_view_open(paths[i], &view, message) != DLC_OK || (unpack && view.size < 8) ||
            n_name < 3) {
            kit_problem(kit, "%s: %s", paths[i], message);
            continue;
        }
        snprintf(out, sizeof out, unpack ? "%.*s" : "%.*s.z", (int)(unpack ? n_name - 2 : n_name),
                 paths[i]);
        raw = view.size;
        if (unpack) {
            memcpy(&raw, view.data, 8);
        }
        uLongf n_bytes = unpack ? (uLongf)raw : compressBound((uLong)view.size);
        uint8_t *bytes = malloc(n_bytes + 1);
        bool good =
            bytes && (unpack ? uncompress(bytes, &n_bytes, view.data + 8, (uLong)view.size - 8)
                             : compress2(bytes, &n_bytes, view.data, (uLong)view.size, 9)) == Z_OK;
        const void *parts[] = {unpack ? bytes : (const void *)&raw, bytes};
        const size_t lengths[] = {unpack ? n_bytes : 8, n_bytes};
        if (!good || file_write(out, parts, lengths, unpack ? 1 : 2, message) != DLC_OK) {
            kit_problem(kit, "%s: %s", out, message);
        }
        free(bytes);
        file_view_close(&view);
    }
    printf("\"files\": %d", n);
}

static void keep_log(void *user, dlc_log_level level, const char *text) {
    (void)user;
    (void)level;
    fprintf(stderr, "%s\n", text);
}

int main(int argc, char **argv) {
    static Kit kit = {.device = "cuda:0"};
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (!strcmp(argv[at], "--device") && at + 1 < argc) {
            kit.device = argv[++at];
        } else if (!strcmp(argv[at], "--code") && at + 1 < argc) {
            kit.code = argv[++at];
        } else if (!strcmp(argv[at], "--ceilings") && at + 1 < argc) {
            kit.ceilings = argv[++at];
        } else if (!strcmp(argv[at], "--quick")) {
            kit.quick = true;
        }
    }
    if (at >= argc) {
        fprintf(stderr, "gpukit [--device D] [--quick] PART ARGUMENTS...\n");
        return 2;
    }
    const char *part = argv[at++];
    const char *colon = strchr(kit.device, ':');
    snprintf(kit.kind, sizeof kit.kind, "%.*s",
             (int)(colon ? colon - kit.device : (long)strlen(kit.device)), kit.device);
    kit.which = colon ? colon + 1 : "";
    dlc_context_options options = {.struct_size = sizeof options, .log = keep_log};
    if (dlc_context_create(&options, &kit.context) != DLC_OK) {
        return 1;
    }
    double begin = kit_seconds();
    printf("{\"part\": ");
    kit_text(part);
    printf(", ");
    if (!strcmp(part, "versions")) {
        versions(&kit);
    } else if (!strcmp(part, "load")) {
        load(&kit, argv + at, argc - at);
    } else if (argc - at == 2 &&
               (!strcmp(part, "intrinsics") || !strcmp(part, "record-intrinsics"))) {
        kit_intrinsics(&kit, argv[at], argv[at + 1], part[0] == 'r');
    } else if (!strcmp(part, "ceilings") && argc - at >= 2) {
        kit_ceilings(&kit, argv[at], argv[at + 1], argv + at + 2, argc - at - 2);
    } else if (!strcmp(part, "pack") || !strcmp(part, "unpack")) {
        pack(&kit, argv + at, argc - at, part[0] == 'u');
    } else if (!strcmp(part, "cudnn") && argc - at == 1) {
        kit_cudnn(&kit, argv[at]);
    } else if (!strcmp(part, "ops") && argc - at == 2) {
        kit_ops(&kit, argv[at], argv[at + 1]);
    } else if (argc - at >= 5 && kit_spec(&kit, argv + at, argc - at)) {
        kit_model(&kit, part);
    } else {
        kit_problem(&kit, "unknown part or arguments: %s", part);
    }
    printf(", \"seconds\": %.2f, \"problems\": [", kit_seconds() - begin);
    for (int i = 0; i < kit.n_problems && i < MOST_PROBLEMS; i++) {
        printf("%s", i ? ", " : "");
        kit_text(kit.problems[i]);
    }
    printf("], \"n_problems\": %d}\n", kit.n_problems);
    dlc_context_destroy(kit.context);
    return kit.n_problems ? 1 : 0;
}
