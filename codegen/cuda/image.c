/* Lays out a cuda image (runtime/cuda_image.h): the same parts in the same order give the same
 * bytes. */
#include "codegen/cuda/compile.h"
#include "ir/base/memory.h"
#include <string.h>

typedef struct Layout {
    uint8_t *bytes; /* NULL while measuring */
    size_t at;
} Layout;

/* Appends bytes, and zeros to the next multiple of 8; at least one zero if `is_text`. */
static CudaBlob put(Layout *layout, const void *bytes, size_t size, bool is_text) {
    CudaBlob blob = {layout->at, size};
    if (size == 0) {
        return (CudaBlob){0, 0};
    }
    size_t whole = (size + (is_text ? 1 : 0) + 7) / 8 * 8;
    if (layout->bytes) {
        memcpy(layout->bytes + layout->at, bytes, size);
        memset(layout->bytes + layout->at + size, 0, whole - size);
    }
    layout->at += whole;
    return blob;
}

static size_t fill(uint8_t *bytes, CudaImageHeader header, const char *prelude,
                   const CudaBuilt *units, const CudaKernel *kernels) {
    Layout layout = {bytes, (sizeof(header) + 7) / 8 * 8};
    size_t n_units = header.n_units, n_kernels = header.n_kernels;
    header.options = (int32_t)put(&layout, CUDA_OPTIONS, strlen(CUDA_OPTIONS), true).offset;
    header.kernels = layout.at;
    put(&layout, kernels, sizeof(*kernels) * n_kernels, false);
    header.units = layout.at;
    layout.at += sizeof(CudaUnit) * n_units;
    header.prelude = put(&layout, prelude, strlen(prelude), true);
    for (size_t i = 0; i < n_units; i++) {
        const CudaBuilt *unit = &units[i];
        CudaUnit record = {0};
        record.source = put(&layout, unit->source, unit->n_source, true);
        record.cubin = put(&layout, unit->code.cubin, unit->code.n_cubin, false);
        record.ptx = put(&layout, unit->code.ptx, unit->code.n_ptx, true);
        if (bytes) {
            memcpy(bytes + header.units + sizeof(record) * i, &record, sizeof(record));
        }
    }
    if (bytes) {
        memset(bytes, 0, (sizeof(header) + 7) / 8 * 8);
        memcpy(bytes, &header, sizeof(header));
    }
    return layout.at;
}

dlc_status cudac_image(int32_t sm, int32_t toolkit, const char *prelude, const CudaBuilt *units,
                       int32_t n_units, const CudaKernel *kernels, int32_t n_kernels,
                       const dlc_allocator *allocator, TargetImage *out) {
    CudaImageHeader header = {.version = CUDA_IMAGE_VERSION,
                              .n_units = (uint32_t)n_units,
                              .n_kernels = (uint32_t)n_kernels,
                              .sm = sm,
                              .toolkit = toolkit};
    memcpy(header.magic, CUDA_IMAGE_MAGIC, sizeof(header.magic));
    memset(out, 0, sizeof(*out));
    size_t n_entries = sizeof(int64_t) * (size_t)(n_kernels + 1);
    out->n_bytes = fill(NULL, header, prelude, units, kernels);
    out->n_entries = n_kernels;
    out->bytes = raw_alloc(allocator, out->n_bytes);
    out->entries = raw_alloc(allocator, n_entries);
    if (!out->bytes || !out->entries) {
        target_image_finish(out, allocator);
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    fill(out->bytes, header, prelude, units, kernels);
    memcpy(&header, out->bytes, sizeof(header));
    for (int32_t i = 0; i < n_kernels; i++) {
        out->entries[i] = (int64_t)header.kernels + (int64_t)sizeof(CudaKernel) * i;
    }
    return DLC_OK;
}
