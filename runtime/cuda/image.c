/* See image.h. */
#include "runtime/cuda/image.h"

#include "ir/base/ascii.h"

#include <stdio.h>

enum {
    MAX_UNITS = 1 << 16,
    MAX_KERNELS = 1 << 18,
    MAX_THREADS = 1024,
    MAX_SHARED = 1 << 20,
    MIN_SM = 50,
    MAX_SM = 999
};

typedef struct Check {
    const uint8_t *bytes;
    size_t n_bytes;
    char *message;
    size_t n_message;
} Check;

static bool bad(const Check *check, const char *what, long long number) {
    snprintf(check->message, check->n_message, "the plan's CUDA image is damaged: %s (%lld)", what,
             number);
    return false;
}

static bool blob_ok(const Check *check, const CudaBlob *blob, bool is_text, const char *what) {
    if (blob->size == 0) {
        return true;
    }
    if (blob->offset > check->n_bytes || blob->size > check->n_bytes - blob->offset) {
        return bad(check, what, (long long)blob->offset);
    }
    if (is_text) {
        const uint8_t *text = check->bytes + blob->offset;
        if (blob->size == check->n_bytes - blob->offset || text[blob->size] != 0 ||
            memchr(text, 0, blob->size)) {
            return bad(check, what, (long long)blob->offset);
        }
    }
    return true;
}

static bool table_ok(const Check *check, uint64_t offset, uint64_t count, size_t size,
                     const char *what) {
    if (offset > check->n_bytes || offset % 8 != 0 || count > (check->n_bytes - offset) / size) {
        return bad(check, what, (long long)offset);
    }
    return true;
}

static bool name_ok(const char *name) {
    size_t length = strnlen(name, CUDA_NAME_BYTES);
    if (length == 0 || length == CUDA_NAME_BYTES || ascii_is_digit(name[0])) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (!ascii_is_word(name[i])) {
            return false;
        }
    }
    return true;
}

static bool header_ok(const Check *check, const CudaImageHeader *header) {
    if (memcmp(header->magic, CUDA_IMAGE_MAGIC, sizeof(header->magic)) != 0) {
        return bad(check, "it does not begin as one", 0);
    }
    if (header->version != CUDA_IMAGE_VERSION) {
        snprintf(check->message, check->n_message,
                 "the plan's CUDA image has version %u, this program reads version %d: compile "
                 "the model again",
                 header->version, CUDA_IMAGE_VERSION);
        return false;
    }
    if (header->sm < MIN_SM || header->sm > MAX_SM) {
        return bad(check, "architecture", header->sm);
    }
    if (header->toolkit < 0) {
        return bad(check, "toolkit", header->toolkit);
    }
    if (header->n_units > MAX_UNITS || header->n_kernels > MAX_KERNELS) {
        return bad(check, "counts", header->n_kernels);
    }
    size_t options = (size_t)(uint32_t)header->options;
    if (header->options < 0 || options >= check->n_bytes ||
        (options > 0 && !memchr(check->bytes + options, 0, check->n_bytes - options))) {
        return bad(check, "compile options", header->options);
    }
    return table_ok(check, header->units, header->n_units, sizeof(CudaUnit), "units") &&
           table_ok(check, header->kernels, header->n_kernels, sizeof(CudaKernel), "kernels") &&
           blob_ok(check, &header->prelude, true, "prelude");
}

static bool unit_ok(const Check *check, const CudaUnit *unit) {
    if (unit->source.size == 0 && unit->cubin.size == 0 && unit->ptx.size == 0) {
        return bad(check, "a unit without code", 0);
    }
    return blob_ok(check, &unit->source, true, "source text") &&
           blob_ok(check, &unit->cubin, false, "cubin") &&
           blob_ok(check, &unit->ptx, true, "PTX text");
}

int32_t cuda_member_words(const CudaKernel *kernel) {
    int32_t words = kernel->n_sizes;
    for (int32_t i = 0; i < kernel->n_buffers; i++) {
        words += i >= CUDA_MAX_COMMON || !(kernel->common >> i & 1);
    }
    return words;
}

static bool kernel_ok(const Check *check, const CudaImageHeader *header, const CudaKernel *kernel) {
    if (!name_ok(kernel->name)) {
        return bad(check, "a kernel's name", 0);
    }
    if (kernel->unit >= header->n_units) {
        return bad(check, "a kernel's unit", kernel->unit);
    }
    if (kernel->threads < 1 || kernel->threads > MAX_THREADS) {
        return bad(check, "a kernel's threads", kernel->threads);
    }
    if (kernel->n_buffers < 0 || kernel->n_sizes < 0 || kernel->n_buffers > CUDA_MAX_PARAMETERS ||
        kernel->n_sizes > CUDA_MAX_PARAMETERS ||
        kernel->n_buffers + kernel->n_sizes > CUDA_MAX_PARAMETERS) {
        return bad(check, "a kernel's parameters", kernel->n_buffers);
    }
    int64_t words = cuda_member_words(kernel);
    if (kernel->group < 0 || kernel->group > CUDA_GROUP_BYTES / 8 ||
        (kernel->group > 0 &&
         (kernel->n_buffers > CUDA_MAX_COMMON ||
          kernel->group * (1 + words) + kernel->n_sizes + kernel->n_buffers - words >
              CUDA_GROUP_BYTES / 8))) {
        return bad(check, "a kernel's group", kernel->group);
    }
    if (kernel->has_faults < 0 || kernel->has_faults > 1) {
        return bad(check, "a kernel's flags", kernel->has_faults);
    }
    if (kernel->shared_bytes < 0 || kernel->shared_bytes > MAX_SHARED) {
        return bad(check, "a kernel's shared memory", kernel->shared_bytes);
    }
    if (kernel->scratch_bytes < 0 || kernel->scratch_bytes > (int64_t)1 << 40) {
        return bad(check, "a kernel's scratch", kernel->scratch_bytes);
    }
    return true;
}

/* A copy of `count` records at `offset`; at least one record is allocated. */
static void *table_copy(const Check *check, const dlc_allocator *allocator, uint64_t offset,
                        size_t count, size_t size) {
    void *copy = memory_new(allocator, count ? count : 1, size);
    if (copy && count) {
        memcpy(copy, check->bytes + offset, count * size);
    }
    return copy;
}

dlc_status cuda_image_read(CudaImage *image, const dlc_allocator *allocator, const uint8_t *bytes,
                           size_t n_bytes, char *message, size_t n_message) {
    Check check = {bytes, n_bytes, message, n_message};
    dlc_status status = DLC_ERROR_FORMAT;
    *image = (CudaImage){.bytes = bytes, .options = "", .prelude = ""};
    CudaImageHeader *header = &image->header;
    if (n_bytes < sizeof(*header)) {
        bad(&check, "truncated", (long long)n_bytes);
        goto fail;
    }
    memcpy(header, bytes, sizeof(*header));
    if (!header_ok(&check, header)) {
        goto fail;
    }
    image->units = table_copy(&check, allocator, header->units, header->n_units, sizeof(CudaUnit));
    image->kernels =
        table_copy(&check, allocator, header->kernels, header->n_kernels, sizeof(CudaKernel));
    if (!image->units || !image->kernels) {
        snprintf(message, n_message, "out of memory");
        status = DLC_ERROR_OUT_OF_MEMORY;
        goto fail;
    }
    for (uint32_t i = 0; i < header->n_units; i++) {
        if (!unit_ok(&check, &image->units[i])) {
            goto fail;
        }
    }
    for (uint32_t i = 0; i < header->n_kernels; i++) {
        if (!kernel_ok(&check, header, &image->kernels[i])) {
            goto fail;
        }
    }
    if (header->options > 0) {
        image->options = (const char *)bytes + header->options;
    }
    if (header->prelude.size > 0) {
        image->prelude = (const char *)bytes + header->prelude.offset;
    }
    return DLC_OK;
fail:
    cuda_image_finish(image, allocator);
    return status;
}

void cuda_image_finish(CudaImage *image, const dlc_allocator *allocator) {
    memory_free(allocator, image->units);
    memory_free(allocator, image->kernels);
    image->units = NULL;
    image->kernels = NULL;
}

int32_t cuda_image_kernel(const CudaImageHeader *header, int64_t entry) {
    int64_t first = (int64_t)header->kernels;
    int64_t size = (int64_t)sizeof(CudaKernel);
    if (entry < first || (entry - first) % size != 0 ||
        (entry - first) / size >= (int64_t)header->n_kernels) {
        return -1;
    }
    return (int32_t)((entry - first) / size);
}
