/* The CUDA device as far as no GPU is needed: reading images (damaged ones too), finding libraries,
 * and what a machine without a driver is told. */
#include "runtime/cuda/builtin_text.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/image.h"
#include "runtime/cuda/library.h"
#include "runtime/cuda/nvrtc.h"
#include "runtime/device.h"
#include "tests/unit/meter.h"

#include <dlfcn.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static Meter meter = {.left = LONG_MAX};
static const dlc_allocator allocator = {meter_alloc, meter_free, &meter};

enum { IMAGE_BYTES = 4096 };

/* Two units, three kernels; returns the size used. */
static size_t image_make(uint8_t out[IMAGE_BYTES]) {
    static const char options[] = "--std=c++17 --gpu-architecture=sm_90a";
    static const char prelude[] = "/* prelude */\n", source[] = "/* text */\n";
    static const uint8_t cubin[24] = {0x7f, 'E', 'L', 'F'};
    memset(out, 0, IMAGE_BYTES);
    CudaImageHeader header = {.version = CUDA_IMAGE_VERSION,
                              .n_units = 2,
                              .n_kernels = 3,
                              .sm = 90,
                              .toolkit = 13000,
                              .options = sizeof(header)};
    memcpy(header.magic, CUDA_IMAGE_MAGIC, sizeof(header.magic));
    size_t at = sizeof(header);
    memcpy(out + at, options, sizeof(options));
    at += (sizeof(options) + 7) / 8 * 8;
    header.kernels = at;
    for (uint32_t i = 0; i < 3; i++) {
        CudaKernel kernel = {.unit = i / 2,
                             .threads = 256,
                             .n_buffers = 2,
                             .n_sizes = 1,
                             .has_faults = i == 1,
                             .shared_bytes = 1024,
                             .scratch_bytes = i == 2 ? 4096 : 0};
        snprintf(kernel.name, sizeof(kernel.name), "dlc_kernel_%u", i);
        memcpy(out + at, &kernel, sizeof(kernel));
        at += sizeof(kernel);
    }
    header.units = at;
    at += 2 * sizeof(CudaUnit);
    header.prelude = (CudaBlob){at, strlen(prelude)};
    memcpy(out + at, prelude, sizeof(prelude));
    at += (sizeof(prelude) + 7) / 8 * 8;
    for (uint32_t i = 0; i < 2; i++) {
        CudaUnit unit = {.source = {at, strlen(source)}};
        memcpy(out + at, source, sizeof(source));
        at += (sizeof(source) + 7) / 8 * 8;
        unit.cubin = (CudaBlob){at, sizeof(cubin)};
        memcpy(out + at, cubin, sizeof(cubin));
        at += sizeof(cubin);
        memcpy(out + header.units + i * sizeof(unit), &unit, sizeof(unit));
    }
    memcpy(out, &header, sizeof(header));
    assert_true(at < IMAGE_BYTES);
    return at;
}

static dlc_status image_try(const uint8_t *bytes, size_t n, CudaImage *image) {
    char message[512] = "";
    dlc_status status = cuda_image_read(image, &allocator, bytes, n, message, sizeof(message));
    assert_int_equal(status == DLC_OK, message[0] == '\0');
    return status;
}

/* Reads everything that a loader would. */
static void image_touch(const CudaImage *image) {
    volatile size_t sum = strlen(image->options) + strlen(image->prelude);
    for (uint32_t i = 0; i < image->header.n_units; i++) {
        const CudaUnit *unit = &image->units[i];
        for (uint64_t b = 0; b < unit->cubin.size; b++) {
            sum += image->bytes[unit->cubin.offset + b];
        }
        if (unit->source.size > 0) {
            sum += strlen((const char *)image->bytes + unit->source.offset);
        }
        if (unit->ptx.size > 0) {
            sum += strlen((const char *)image->bytes + unit->ptx.offset);
        }
    }
    for (uint32_t i = 0; i < image->header.n_kernels; i++) {
        sum += strlen(image->kernels[i].name);
        assert_true(image->kernels[i].unit < image->header.n_units);
    }
    (void)sum;
}

static void test_image(void **state) {
    (void)state;
    uint8_t bytes[IMAGE_BYTES];
    size_t n = image_make(bytes);
    CudaImage image;
    meter.alive = 0;
    assert_int_equal(image_try(bytes, n, &image), DLC_OK);
    assert_int_equal(image.header.n_kernels, 3);
    assert_string_equal(image.options, "--std=c++17 --gpu-architecture=sm_90a");
    assert_string_equal(image.prelude, "/* prelude */\n");
    assert_string_equal(image.kernels[2].name, "dlc_kernel_2");
    int64_t first = (int64_t)image.header.kernels;
    assert_int_equal(cuda_image_kernel(&image.header, first), 0);
    assert_int_equal(cuda_image_kernel(&image.header, first + 2 * (int64_t)sizeof(CudaKernel)), 2);
    assert_int_equal(cuda_image_kernel(&image.header, first + 3 * (int64_t)sizeof(CudaKernel)), -1);
    assert_int_equal(cuda_image_kernel(&image.header, first + 8), -1);
    assert_int_equal(cuda_image_kernel(&image.header, first - (int64_t)sizeof(CudaKernel)), -1);
    image_touch(&image);
    cuda_image_finish(&image, &allocator);
    assert_int_equal(meter.alive, 0);
}

/* A copy in memory of its exact size, so that a checker sees every byte read behind its end. */
static dlc_status damaged(const uint8_t *bytes, size_t n) {
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    CudaImage image;
    dlc_status status = image_try(copy, n, &image);
    if (status == DLC_OK) {
        image_touch(&image);
        cuda_image_finish(&image, &allocator);
    }
    free(copy);
    assert_int_equal(meter.alive, 0);
    return status;
}

static void test_image_damaged(void **state) {
    (void)state;
    uint8_t bytes[IMAGE_BYTES];
    size_t n = image_make(bytes);
    meter.alive = 0;
    for (size_t cut = 0; cut < n; cut++) {
        assert_int_equal(damaged(bytes, cut), DLC_ERROR_FORMAT);
    }
    static const uint8_t patterns[] = {0x01, 0x80, 0xff, 0x7f};
    int accepted = 0;
    for (size_t at = 0; at < n; at++) {
        for (size_t p = 0; p < sizeof(patterns); p++) {
            uint8_t keep = bytes[at];
            bytes[at] ^= patterns[p];
            accepted += damaged(bytes, n) == DLC_OK;
            bytes[at] = keep;
        }
    }
    assert_true(accepted > 0);
    uint64_t random = 1;
    for (int round = 0; round < 20000; round++) {
        uint8_t hostile[IMAGE_BYTES];
        memcpy(hostile, bytes, n);
        for (int k = 0; k < 6; k++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            size_t word = (size_t)(random >> 33) % (n / 4);
            uint32_t value = (uint32_t)(random >> 16) >> (random >> 60 << 1);
            memcpy(hostile + 4 * word, &value, sizeof(value));
        }
        memcpy(hostile, CUDA_IMAGE_MAGIC, 8);
        damaged(hostile, n);
    }
}

static void test_image_values(void **state) {
    (void)state;
    uint8_t bytes[IMAGE_BYTES];
    size_t n = image_make(bytes);
    CudaImageHeader *header = (CudaImageHeader *)(void *)bytes;
    CudaKernel *kernel = (CudaKernel *)(void *)(bytes + header->kernels);
    meter.alive = 0;
#define REFUSED(place, value)                                                                      \
    do {                                                                                           \
        __typeof__(place) keep = place;                                                            \
        place = value;                                                                             \
        assert_int_equal(damaged(bytes, n), DLC_ERROR_FORMAT);                                     \
        place = keep;                                                                              \
    } while (0)
    REFUSED(header->n_kernels, UINT32_MAX);
    REFUSED(header->n_units, 1);
    REFUSED(header->kernels, UINT64_MAX - 7);
    REFUSED(header->kernels, header->kernels + 4);
    REFUSED(header->units, n + 8);
    REFUSED(header->options, -1);
    REFUSED(header->prelude.size, UINT64_MAX);
    REFUSED(header->prelude.size, 3);
    REFUSED(header->sm, 0);
    REFUSED(kernel->unit, 2);
    REFUSED(kernel->threads, 0);
    REFUSED(kernel->threads, 2048);
    REFUSED(kernel->n_buffers, INT32_MAX);
    REFUSED(kernel->n_sizes, -1);
    REFUSED(kernel->shared_bytes, -1);
    REFUSED(kernel->scratch_bytes, INT64_MAX);
    REFUSED(kernel->name[0], '9');
    REFUSED(kernel->name[3], '"');
    assert_int_equal(damaged(bytes, n), DLC_OK);
}

/* Loading is tried at every allocation failing. */
static void test_image_out_of_memory(void **state) {
    (void)state;
    uint8_t bytes[IMAGE_BYTES];
    size_t n = image_make(bytes);
    meter.alive = 0;
    for (int64_t most = 0;; most++) {
        CudaImage image;
        char message[512] = "";
        meter.left = most;
        dlc_status status = cuda_image_read(&image, &allocator, bytes, n, message, sizeof(message));
        if (status == DLC_OK) {
            cuda_image_finish(&image, &allocator);
            assert_true(most > 0);
            break;
        }
        assert_int_equal(status, DLC_ERROR_OUT_OF_MEMORY);
        assert_int_equal(meter.alive, 0);
    }
    meter.left = LONG_MAX;
    assert_int_equal(meter.alive, 0);
}

static void file_write(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_library(void **state) {
    (void)state;
    char message[512], folder[] = "dlc-cuda-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    setenv("DLC_CUDA_PATH", folder, 1);
    assert_null(cuda_library_open("libdlc-none.so.7", false, message, sizeof(message)));
    assert_non_null(strstr(message, "libdlc-none.so.7"));
    assert_non_null(strstr(message, folder));
    /* What is there and is no library is told as such. */
    snprintf(path, sizeof(path), "%s/libdlc-none.so.7", folder);
    file_write(path, "not a library");
    assert_null(cuda_library_open("libdlc-none.so.7", false, message, sizeof(message)));
    assert_non_null(strstr(message, path));
    unlink(path);
    setenv("DLC_CUDA_PATH", "-", 1);
    assert_null(cuda_library_open("libc.so.6", false, message, sizeof(message)));
    setenv("DLC_CUDA_PATH", folder, 1);
    /* The system's own libraries are found by name; a missing symbol is named. */
    void *library = cuda_library_open("libc.so.6", false, message, sizeof(message));
    assert_non_null(library);
    static const CudaSymbol symbols[] = {{"strlen", 0}, {"cuNothing", sizeof(void *)}};
    void *table[2] = {NULL, NULL};
    assert_false(
        cuda_library_symbols(library, "libc.so.6", symbols, 2, table, message, sizeof(message)));
    assert_non_null(table[0]);
    assert_non_null(strstr(message, "libc.so.6 has no cuNothing"));
    cuda_library_close(library);
    unsetenv("DLC_CUDA_PATH");
    rmdir(folder);
}

static void test_no_driver(void **state) {
    (void)state;
    char message[DEVICE_MESSAGE_BYTES] = "";
    setenv("DLC_CUDA_PATH", "-", 1);
    assert_int_equal(device_cuda.supports("sm_90", "", "", message), DLC_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message, "libcuda.so.1"));
    assert_null(strchr(message, '\n'));
    Device *device = NULL;
    DeviceOptions options = {.which = "0"};
    meter.alive = 0;
    message[0] = '\0';
    assert_int_equal(device_cuda.open(&allocator, &options, &device, message),
                     DLC_ERROR_UNSUPPORTED);
    assert_null(device);
    assert_non_null(strstr(message, "libcuda.so.1"));
    assert_int_equal(meter.alive, 0);
    unsetenv("DLC_CUDA_PATH");
}

/* What leads another way is a list of names; all others are errors. */
static void test_results(void **state) {
    (void)state;
    static const int cannot[] = {34,  36,  46,  100, 102, 200, 209, 215, 218, 221, 222,
                                 223, 224, 225, 300, 801, 802, 803, 804, 811, 900};
    size_t n = 0;
    assert_int_equal(cuda_status(0), DLC_OK);
    assert_int_equal(cuda_status(2), DLC_ERROR_OUT_OF_MEMORY);
    for (int result = 1; result < 1100; result++) {
        bool listed = n < sizeof(cannot) / sizeof(cannot[0]) && cannot[n] == result;
        n += listed;
        if (result != 2) {
            assert_int_equal(cuda_status(result),
                             listed ? DLC_ERROR_UNSUPPORTED : DLC_ERROR_INTERNAL);
        }
    }
    assert_int_equal(n, sizeof(cannot) / sizeof(cannot[0]));
}

/* builtin_text.h is made of builtin.cu. */
static void test_builtin_text(void **state) {
    (void)state;
    char path[1024], text[8192];
    const char *root = getenv("DLC_SOURCE_ROOT");
    snprintf(path, sizeof(path), "%s/runtime/cuda/builtin.cu", root ? root : ".");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = '\0';
    assert_string_equal(text, builtin_source);
    assert_non_null(strstr(builtin_ptx, ".entry dlc_copy_if"));
    assert_non_null(strstr(builtin_ptx, ".target sm_75"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image),        cmocka_unit_test(test_image_damaged),
        cmocka_unit_test(test_image_values), cmocka_unit_test(test_image_out_of_memory),
        cmocka_unit_test(test_library),      cmocka_unit_test(test_no_driver),
        cmocka_unit_test(test_results),      cmocka_unit_test(test_builtin_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
