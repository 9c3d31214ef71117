/* Every function of the prelude on the device against its host twin, whose results were stored when
 * the kit was built ("record" runs the same kernels on the simulated device). */
#include "tests/gpu/gpukit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { FAULT_BYTES = sizeof(KernelFault) };

static const void *take(const uint8_t **at, const uint8_t *end, uint64_t bytes) {
    const uint8_t *here = *at;
    if ((uint64_t)(end - here) < bytes) {
        return NULL;
    }
    *at += bytes;
    return here;
}

/* The newest image that the device takes. */
static bool image_choose(Kit *kit, KitIntrinsics *set, const uint8_t *at, const uint8_t *end) {
    char message[DEVICE_MESSAGE_BYTES] = "no image";
    int best = 0;
    for (int i = 0; i < set->head->n_images; i++) {
        const IntrinsicsImage *image = take(&at, end, sizeof *image);
        const uint8_t *bytes = image ? take(&at, end, (uint64_t)image->bytes) : NULL;
        char machine[16];
        if (!bytes) {
            break;
        }
        snprintf(machine, sizeof machine, "sm_%d", image->sm);
        if (image->sm > best && set->ops->supports(machine, "", kit->which, message) == DLC_OK) {
            best = image->sm;
            set->image = bytes;
            set->n_image = (size_t)image->bytes;
        }
    }
    set->sm = best;
    if (!best) {
        kit_problem(kit, "no image for this device: %s", message);
    }
    return best > 0;
}

bool kit_intrinsics_open(Kit *kit, const char *path, KitIntrinsics *set) {
    char message[FILE_MESSAGE_BYTES + DEVICE_MESSAGE_BYTES] = "";
    *set = (KitIntrinsics){.ops = kit_device(kit)};
    if (!set->ops || file_view_open(path, &set->view, message) != DLC_OK) {
        kit_problem(kit, "%s: %s", path, message);
        return false;
    }
    const uint8_t *at = set->view.data, *end = at + set->view.size;
    set->head = take(&at, end, sizeof *set->head);
    if (!set->head || memcmp(set->head->magic, INTRINSICS_MAGIC, sizeof set->head->magic) != 0) {
        kit_problem(kit, "%s is no file of intrinsics", path);
        return false;
    }
    set->cases = take(&at, end, sizeof(IntrinsicCase) * (uint64_t)set->head->n_cases);
    DeviceOptions options = {.which = kit->which};
    if (!set->cases || !image_choose(kit, set, at, end)) {
        return false;
    }
    dlc_allocator allocator = kit->context->allocator;
    if (set->ops->open(&allocator, &options, &set->device, message) != DLC_OK) {
        kit_problem(kit, "%s: %s", kit->device, message);
        return false;
    }
    if (set->ops->load(set->device, set->image, set->n_image, &set->module) != DLC_OK) {
        kit_problem(kit, "%s: %s", path, set->device->error);
        return false;
    }
    return true;
}

void kit_intrinsics_close(KitIntrinsics *set) {
    if (set->module) {
        set->ops->unload(set->device, set->module);
    }
    if (set->device) {
        set->ops->close(set->device);
    }
    file_view_close(&set->view);
}

int64_t kit_intrinsic_entry(const KitIntrinsics *set, const char *name) {
    CudaImageHeader header;
    memcpy(&header, set->image, sizeof header);
    for (uint32_t i = 0; i < header.n_kernels; i++) {
        CudaKernel kernel;
        uint64_t at = header.kernels + (uint64_t)i * sizeof kernel;
        if (at + sizeof kernel > set->n_image) {
            break;
        }
        memcpy(&kernel, set->image + at, sizeof kernel);
        if (!strncmp(kernel.name, name, sizeof kernel.name)) {
            return (int64_t)at;
        }
    }
    return -1;
}

static int64_t result_bytes(const IntrinsicCase *test) {
    return test->out_count * kit_intrinsic_bytes(test->out_type) +
           (test->has_faults ? FAULT_BYTES : 0);
}

/* Runs the case; its results, and the fault behind them, are in *out. */
static bool case_run(Kit *kit, KitIntrinsics *set, const IntrinsicCase *test, uint8_t *out) {
    const DeviceOps *ops = set->ops;
    void *buffers[INTRINSIC_INPUTS + 1] = {0};
    KernelFault fault = {0};
    int64_t n_out = test->out_count * kit_intrinsic_bytes(test->out_type);
    dlc_status status = DLC_OK;
    for (int i = 0; i < test->n_inputs && status == DLC_OK; i++) {
        const IntrinsicInput *input = &test->inputs[i];
        size_t bytes = (size_t)(input->count * kit_intrinsic_bytes(input->type));
        void *values = malloc(bytes);
        buffers[i] = ops->alloc(set->device, bytes);
        status = values && buffers[i] ? DLC_OK : DLC_ERROR_OUT_OF_MEMORY;
        if (status == DLC_OK) {
            kit_intrinsic_values(input, i, values);
            status = ops->write(set->device->queue, buffers[i], values, bytes);
        }
        free(values);
    }
    void *result = buffers[test->n_inputs] = ops->alloc(set->device, (size_t)n_out);
    DeviceLaunch launch = {.entry = kit_intrinsic_entry(set, test->kernel),
                           .buffers = buffers,
                           .n_buffers = test->n_inputs + 1,
                           .tiles = test->tiles};
    status = status == DLC_OK && !result ? DLC_ERROR_OUT_OF_MEMORY : status;
    if (status == DLC_OK) {
        status = ops->fill(set->device->queue, result, 0xa5, (size_t)n_out);
    }
    if (status == DLC_OK) {
        status = ops->launch(set->device->queue, set->module, &launch);
    }
    if (status == DLC_OK) {
        status = ops->finish(set->device->queue, &fault);
    }
    if (status == DLC_OK) {
        status = ops->read(set->device->queue, out, result, (size_t)n_out);
    }
    if (status != DLC_OK) {
        kit_problem(kit, "%s: %s", test->kernel, set->device->error);
    } else if (test->has_faults) {
        memcpy(out + n_out, &fault, FAULT_BYTES);
    }
    for (int i = 0; i <= test->n_inputs; i++) {
        ops->free(set->device, buffers[i]);
    }
    return status == DLC_OK;
}

static double real_at(const IntrinsicCase *test, const uint8_t *at) {
    double real = 0;
    float narrow;
    int64_t whole = 0;
    if (test->out_type == INTRINSIC_F64) {
        memcpy(&real, at, 8);
    } else if (test->out_type == INTRINSIC_F32) {
        memcpy(&narrow, at, 4);
        real = (double)narrow;
    } else {
        memcpy(&whole, at, (size_t)kit_intrinsic_bytes(test->out_type));
        real = (double)whole;
    }
    return real;
}

/* Elements that differ; the first one is a problem. */
static int64_t compare(Kit *kit, const IntrinsicCase *test, const uint8_t *got,
                       const uint8_t *expected) {
    int width = kit_intrinsic_bytes(test->out_type);
    bool is_float = test->out_type == INTRINSIC_F32 || test->out_type == INTRINSIC_F64;
    int64_t wrong = 0;
    for (int64_t i = 0; i < test->out_count; i++) {
        const uint8_t *a = got + i * width, *b = expected + i * width;
        if (!memcmp(a, b, (size_t)width)) {
            continue;
        }
        double x = real_at(test, a), y = real_at(test, b);
        bool fine = is_float && test->mode != COMPARE_EXACT && isnan(x) && isnan(y);
        fine = fine || (test->mode == COMPARE_NEAR && fabs(x - y) <= test->near);
        if (!fine && wrong++ == 0) {
            kit_problem(kit, "%s: element %lld is %.17g, its host twin gives %.17g", test->kernel,
                        (long long)i, x, y);
        }
    }
    int64_t n = test->out_count * width;
    if (test->has_faults && memcmp(got + n, expected + n, FAULT_BYTES) != 0) {
        KernelFault fault;
        memcpy(&fault, got + n, sizeof fault);
        kit_problem(kit, "%s: the fault word is %lld, %lld, %lld", test->kernel,
                    (long long)fault.site, (long long)fault.value, (long long)fault.bound);
        wrong++;
    }
    return wrong;
}

static uint8_t *expected_read(Kit *kit, const char *path, uLongf n) {
    char message[FILE_MESSAGE_BYTES] = "";
    FileView view = {0};
    uint8_t *bytes = malloc(n + 1);
    uLongf got = n;
    if (bytes && file_view_open(path, &view, message) == DLC_OK &&
        uncompress(bytes, &got, view.data, (uLong)view.size) == Z_OK && got == n) {
        file_view_close(&view);
        return bytes;
    }
    kit_problem(kit, "%s does not belong to this kit %s", path, message);
    file_view_close(&view);
    free(bytes);
    return NULL;
}

static void expected_write(Kit *kit, const char *path, const uint8_t *bytes, uLongf n) {
    uLongf bound = compressBound(n);
    uint8_t *packed = malloc(bound);
    FILE *file = fopen(path, "wb");
    bool good = packed && file && compress2(packed, &bound, bytes, n, 9) == Z_OK &&
                fwrite(packed, 1, bound, file) == bound;
    if (!file || fclose(file) != 0 || !good) {
        kit_problem(kit, "%s is not written", path);
    }
    free(packed);
}

void kit_intrinsics(Kit *kit, const char *path, const char *expected_path, bool record) {
    KitIntrinsics set;
    uint8_t *results = NULL, *expected = NULL;
    int64_t n = 0, at = 0, elements = 0;
    int done = 0, wrong = 0;
    if (!kit_intrinsics_open(kit, path, &set)) {
        kit_intrinsics_close(&set);
        return;
    }
    for (int i = 0; i < set.head->n_cases; i++) {
        n += set.cases[i].mode == COMPARE_NEVER ? 0 : result_bytes(&set.cases[i]);
    }
    results = calloc((size_t)n + 1, 1);
    expected = record ? NULL : expected_read(kit, expected_path, (uLongf)n);
    for (int i = 0; i < set.head->n_cases && results && (record || expected); i++) {
        const IntrinsicCase *test = &set.cases[i];
        if (test->mode == COMPARE_NEVER) {
            continue;
        }
        if (test->sm <= set.sm && case_run(kit, &set, test, results + at)) {
            done++;
            elements += test->out_count;
            wrong += !record && compare(kit, test, results + at, expected + at) > 0;
        }
        at += result_bytes(test);
    }
    if (record && results && kit->n_problems == 0) {
        expected_write(kit, expected_path, results, (uLongf)n);
    }
    char line[1024] = "";
    set.ops->describe(set.device, line, sizeof line);
    printf("\"how\": ");
    kit_text(line);
    printf(", \"kernels\": %d, \"elements\": %lld, \"differ\": %d", done, (long long)elements,
           wrong);
    free(results);
    free(expected);
    kit_intrinsics_close(&set);
}
