/* Loads an image on the CUDA device and launches its kernels. Each unit is loaded in the first way
 * that the machine takes: its cubin (same major architecture, not newer), its PTX (toolkit not
 * newer than the driver), its text through an NVRTC of the driver's major version. */
#include "runtime/cuda/image.h"
#include "runtime/cuda/internal.h"
#include "runtime/cuda/load.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    SHARED_WITHOUT_ASKING = 48 << 10,
    MAX_GRID = INT32_MAX,
    FIXED_PARAMETERS = 5 /* tiles, members, their table, fault, scratch */
};

typedef struct KernelHandle {
    CudaFunction function;
    unsigned int threads, shared_bytes;
    int32_t n_buffers, n_sizes;
    bool has_faults;
    int64_t scratch_bytes;
    int32_t group, member_words; /* most launches done as one, and words of each; 0: none */
    uint64_t common;
} KernelHandle;

struct DeviceModule {
    CudaImageHeader header;
    CudaModule *units;
    KernelHandle *kernels;
    void **parameters; /* room for the longest list */
    long long words[CUDA_GROUP_BYTES / 8];
};

typedef struct Load {
    CudaDevice *device;
    CudaImage image;
    DeviceModule *module;
    int n_cubin, n_ptx, n_text;
    char reason[CUDA_REASON_BYTES]; /* why the ways before text were not taken */
} Load;

/* Cubin or PTX of unit i, if the machine takes one. */
static dlc_status unit_load(Load *load, uint32_t i) {
    CudaDevice *device = load->device;
    const CudaImageHeader *header = &load->image.header;
    const CudaUnit *unit = &load->image.units[i];
    CudaModule *out = &load->module->units[i];
    int driver = device->driver.version;
    char reason[CUDA_REASON_BYTES] = "";
    dlc_status status = DLC_OK;
    if (unit->cubin.size > 0) {
        if (header->sm / 10 != device->sm / 10 || header->sm > device->sm) {
            snprintf(reason, sizeof(reason), "the cubins are for sm_%d, this is an sm_%d",
                     header->sm, device->sm);
        } else if (header->toolkit / 1000 > driver / 1000) {
            snprintf(reason, sizeof(reason),
                     "the cubins need a driver that serves CUDA %d, this one serves %d",
                     header->toolkit / 1000, driver / 1000);
        } else {
            status =
                cuda_code_load(device, load->image.bytes + unit->cubin.offset, false, out, reason);
            load->n_cubin += *out != NULL;
        }
    }
    if (status == DLC_OK && !*out && unit->ptx.size > 0) {
        if (header->toolkit > driver) {
            snprintf(reason, sizeof(reason), "the PTX is of CUDA %d.%d and the driver serves %d.%d",
                     header->toolkit / 1000, header->toolkit % 1000 / 10, driver / 1000,
                     driver % 1000 / 10);
        } else {
            status =
                cuda_code_load(device, load->image.bytes + unit->ptx.offset, true, out, reason);
            load->n_ptx += *out != NULL;
        }
    }
    if (*reason && !*load->reason) {
        snprintf(load->reason, sizeof(load->reason), "%s", reason);
    }
    return status;
}

/* Compiles what unit_load left. */
static dlc_status units_compile(Load *load) {
    CudaDevice *device = load->device;
    const dlc_allocator *allocator = &device->base.allocator;
    const CudaImageHeader *header = &load->image.header;
    char reason[CUDA_REASON_BYTES];
    int n = 0;
    for (uint32_t i = 0; i < header->n_units; i++) {
        n += load->module->units[i] == NULL;
    }
    if (n == 0) {
        return DLC_OK;
    }
    if (!cuda_nvrtc_ready(device, reason)) {
        return cuda_fail(device, DLC_ERROR_UNSUPPORTED,
                         "the plan's kernels cannot run on %s: %s%s; to compile their text, %s",
                         device->name, *load->reason ? load->reason : "they are text only",
                         header->toolkit / 1000 == 13 && device->driver.version < 13000
                             ? "; CUDA 13 code needs driver 580 or newer"
                             : "",
                         reason);
    }
    NvrtcJob *jobs = memory_new(allocator, (size_t)n, sizeof(*jobs));
    CudaModule **modules = memory_new(allocator, (size_t)n, sizeof(*modules));
    char(*names)[32] = memory_new(allocator, (size_t)n, sizeof(*names));
    dlc_status status = DLC_OK;
    if (!jobs || !modules || !names) {
        status = cuda_fail(device, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
    }
    n = 0;
    for (uint32_t i = 0; i < header->n_units && status == DLC_OK; i++) {
        const CudaUnit *unit = &load->image.units[i];
        if (load->module->units[i]) {
            continue;
        }
        if (unit->source.size == 0) {
            status = cuda_fail(device, DLC_ERROR_UNSUPPORTED,
                               "the plan's kernels cannot run on %s: %s, and their text is not in "
                               "the plan",
                               device->name, load->reason);
            break;
        }
        snprintf(names[n], sizeof(names[n]), "unit%u.cu", i);
        jobs[n] = (NvrtcJob){.source = (const char *)load->image.bytes + unit->source.offset,
                             .name = names[n]};
        modules[n++] = &load->module->units[i];
    }
    if (status == DLC_OK) {
        status = cuda_text_load(device, load->image.prelude, load->image.options, jobs, modules, n);
        load->n_text = n;
    }
    memory_free(allocator, names);
    memory_free(allocator, modules);
    memory_free(allocator, jobs);
    return status;
}

static dlc_status kernel_ready(Load *load, uint32_t i) {
    CudaDevice *device = load->device;
    const CudaDriver *driver = &device->driver;
    const CudaKernel *kernel = &load->image.kernels[i];
    KernelHandle *handle = &load->module->kernels[i];
    int most = 0;
    *handle = (KernelHandle){.threads = (unsigned int)kernel->threads,
                             .shared_bytes = (unsigned int)kernel->shared_bytes,
                             .n_buffers = kernel->n_buffers,
                             .n_sizes = kernel->n_sizes,
                             .has_faults = kernel->has_faults != 0,
                             .scratch_bytes = kernel->scratch_bytes,
                             .group = kernel->group,
                             .member_words = cuda_member_words(kernel),
                             .common = kernel->common};
    if (kernel->shared_bytes > device->shared_limit) {
        return cuda_fail(device, DLC_ERROR_UNSUPPORTED,
                         "kernel %s needs %d bytes of shared memory, a block has %d on %s: compile "
                         "with --target cuda:sm_%d",
                         kernel->name, kernel->shared_bytes, device->shared_limit, device->name,
                         device->sm);
    }
    dlc_status status = cuda_check(
        device,
        driver->module_function(&handle->function, load->module->units[kernel->unit], kernel->name),
        "cuModuleGetFunction");
    if (status != DLC_OK) {
        char text[DEVICE_MESSAGE_BYTES];
        snprintf(text, sizeof(text), "%s", device->base.error);
        return cuda_fail(device, status, "kernel %s: %.400s", kernel->name, text);
    }
    if (kernel->shared_bytes > SHARED_WITHOUT_ASKING) {
        status = cuda_check(device,
                            driver->function_set_attribute(handle->function,
                                                           CUDA_FUNCTION_MAX_DYNAMIC_SHARED,
                                                           kernel->shared_bytes),
                            "cuFuncSetAttribute");
    }
    if (status == DLC_OK) {
        status = cuda_check(
            device, driver->function_attribute(&most, CUDA_FUNCTION_MAX_THREADS, handle->function),
            "cuFuncGetAttribute");
    }
    if (status == DLC_OK && kernel->threads > most) {
        return cuda_fail(device, DLC_ERROR_UNSUPPORTED,
                         "kernel %s is of %d threads a block, with its registers %s runs %d",
                         kernel->name, kernel->threads, device->name, most);
    }
    return status;
}

static void note_write(const Load *load) {
    CudaDevice *device = load->device;
    const CudaImageHeader *header = &load->image.header;
    char *note = device->note;
    size_t at = (size_t)snprintf(note, CUDA_NOTE_BYTES, "kernels from ");
    if (load->n_cubin > 0) {
        at += (size_t)snprintf(note + at, CUDA_NOTE_BYTES - at, "cubins for sm_%d", header->sm);
    }
    if (load->n_ptx > 0) {
        at += (size_t)snprintf(
            note + at, CUDA_NOTE_BYTES - at, "%sPTX of CUDA %d.%d (the driver compiled them)",
            load->n_cubin ? ", " : "", header->toolkit / 1000, header->toolkit % 1000 / 10);
    }
    if (load->n_text > 0) {
        snprintf(note + at, CUDA_NOTE_BYTES - at, "%stext (NVRTC %d.%d compiled them for sm_%d)",
                 load->n_cubin || load->n_ptx ? ", " : "", device->nvrtc.major, device->nvrtc.minor,
                 device->sm);
    }
    if (!load->n_cubin && !load->n_ptx && !load->n_text) {
        note[0] = '\0';
    }
}

/* Inside enter and leave. */
static dlc_status module_fill(Load *load) {
    CudaDevice *device = load->device;
    const CudaImageHeader *header = &load->image.header;
    dlc_status status = cuda_builtins_load(device);
    for (uint32_t i = 0; i < header->n_units && status == DLC_OK; i++) {
        status = unit_load(load, i);
    }
    if (status == DLC_OK) {
        status = units_compile(load);
    }
    int64_t scratch = 0;
    for (uint32_t i = 0; i < header->n_kernels && status == DLC_OK; i++) {
        status = kernel_ready(load, i);
        int64_t bytes = load->image.kernels[i].scratch_bytes;
        scratch = bytes > scratch ? bytes : scratch;
    }
    if (status == DLC_OK) {
        device->module_scratch =
            scratch > device->module_scratch ? scratch : device->module_scratch;
        status = cuda_memory_reserve((CudaQueue *)device->base.queue, scratch);
    }
    return status;
}

static void units_unload(CudaDevice *device, DeviceModule *module) {
    for (uint32_t i = 0; i < module->header.n_units; i++) {
        if (module->units[i]) {
            device->driver.module_unload(module->units[i]);
            module->units[i] = NULL;
        }
    }
}

static void module_free(const dlc_allocator *allocator, DeviceModule *module) {
    memory_free(allocator, module->units);
    memory_free(allocator, module->kernels);
    memory_free(allocator, module->parameters);
    memory_free(allocator, module);
}

static DeviceModule *module_new(const dlc_allocator *allocator, const CudaImage *image) {
    const CudaImageHeader *header = &image->header;
    DeviceModule *module = memory_new(allocator, 1, sizeof(*module));
    if (!module) {
        return NULL;
    }
    size_t longest = 0;
    for (uint32_t i = 0; i < header->n_kernels; i++) {
        size_t n = (size_t)(image->kernels[i].n_buffers + image->kernels[i].n_sizes);
        longest = n > longest ? n : longest;
    }
    module->header = *header;
    module->units = memory_new(allocator, header->n_units + 1, sizeof(*module->units));
    module->kernels = memory_new(allocator, header->n_kernels + 1, sizeof(*module->kernels));
    module->parameters =
        memory_new(allocator, longest + FIXED_PARAMETERS, sizeof(*module->parameters));
    if (!module->units || !module->kernels || !module->parameters) {
        module_free(allocator, module);
        return NULL;
    }
    return module;
}

dlc_status cuda_load(Device *base, const uint8_t *image, size_t n_image, DeviceModule **out) {
    CudaDevice *device = (CudaDevice *)base;
    Load load = {.device = device};
    dlc_status status = cuda_image_read(&load.image, &base->allocator, image, n_image, base->error,
                                        sizeof(base->error));
    if (status != DLC_OK) {
        return status;
    }
    load.module = module_new(&base->allocator, &load.image);
    if (!load.module) {
        status = cuda_fail(device, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
        goto done;
    }
    status = cuda_enter(device);
    if (status == DLC_OK) {
        status = module_fill(&load);
        if (status != DLC_OK) {
            units_unload(device, load.module);
        }
        status = cuda_leave(device, status);
    }
    if (status != DLC_OK) {
        cuda_unload(base, load.module);
        goto done;
    }
    note_write(&load);
    *out = load.module;
done:
    cuda_image_finish(&load.image, &base->allocator);
    return status;
}

void cuda_unload(Device *base, DeviceModule *module) {
    CudaDevice *device = (CudaDevice *)base;
    if (!module) {
        return;
    }
    if (cuda_enter_to_free(device)) {
        cuda_queues_wait(device);
        units_unload(device, module);
        cuda_leave_freed(device);
    }
    module_free(&base->allocator, module);
}

/* Blocks for `tiles`: as many as can be, and no more than the scratch serves. */
static dlc_status grid_of(const CudaQueue *queue, const KernelHandle *kernel, int64_t tiles,
                          unsigned int *out) {
    int64_t grid = tiles < MAX_GRID ? tiles : MAX_GRID;
    if (kernel->scratch_bytes > 0) {
        int64_t most = queue->scratch_bytes / kernel->scratch_bytes;
        if (most < 1) {
            return cuda_fail(cuda_device_of(queue), DLC_ERROR_INTERNAL,
                             "a kernel's scratch was not reserved");
        }
        grid = grid < most ? grid : most;
    }
    *out = (unsigned int)grid;
    return DLC_OK;
}

static dlc_status kernel_of(CudaDevice *device, DeviceModule *module, const DeviceLaunch *launch,
                            const KernelHandle **out) {
    int32_t index = cuda_image_kernel(&module->header, launch->entry);
    if (index < 0) {
        return cuda_fail(device, DLC_ERROR_FORMAT, "no kernel at offset %" PRId64 " of the image",
                         launch->entry);
    }
    const KernelHandle *kernel = *out = &module->kernels[index];
    if (kernel->n_buffers != launch->n_buffers || kernel->n_sizes != launch->n_sizes) {
        return cuda_fail(device, DLC_ERROR_FORMAT,
                         "a kernel takes %d buffers and %d sizes, the plan gives %d and %d",
                         kernel->n_buffers, kernel->n_sizes, launch->n_buffers, launch->n_sizes);
    }
    return DLC_OK;
}

/* With the parameters in module->parameters. */
static dlc_status kernel_launch(CudaQueue *queue, DeviceModule *module, const KernelHandle *kernel,
                                int64_t tiles) {
    CudaDevice *device = cuda_device_of(queue);
    unsigned int grid = 0;
    dlc_status status = grid_of(queue, kernel, tiles, &grid);
    if (status == DLC_OK) {
        status = cuda_enter(device);
    }
    if (status != DLC_OK) {
        return status;
    }
    status = cuda_check(device,
                        device->driver.launch(kernel->function, grid, 1, 1, kernel->threads, 1, 1,
                                              kernel->shared_bytes, queue->stream,
                                              module->parameters, NULL),
                        "cuLaunchKernel");
    return cuda_leave(device, status);
}

static void fixed_parameters(CudaQueue *queue, const KernelHandle *kernel, void **parameter) {
    if (kernel->has_faults) {
        *parameter++ = &queue->fault;
    }
    if (kernel->scratch_bytes > 0) {
        *parameter++ = &queue->scratch;
    }
}

/* Whether what the kernel takes to be the same for all members is. */
static bool joins(const KernelHandle *kernel, const DeviceLaunch *first, const DeviceLaunch *next) {
    for (int32_t i = 0; i < kernel->n_buffers; i++) {
        if (kernel->common >> i & 1 && first->buffers[i] != next->buffers[i]) {
            return false;
        }
    }
    return first->entry == next->entry && first->n_buffers == next->n_buffers &&
           first->n_sizes == next->n_sizes;
}

/* As many of the launches as go in one; *out_done: how many. */
static dlc_status group_launch(CudaQueue *queue, DeviceModule *module, const KernelHandle *kernel,
                               const DeviceLaunch *launches, int32_t n, int32_t *out_done) {
    long long *words = module->words, tiles = 0, members = 0;
    int32_t done = 0;
    for (; done < n && members < kernel->group; done++) {
        const DeviceLaunch *launch = &launches[done];
        if (!joins(kernel, &launches[0], launch)) {
            break;
        }
        if (launch->tiles <= 0) {
            continue;
        }
        long long *own = words + kernel->group + members * kernel->member_words;
        for (int32_t i = 0; i < launch->n_buffers; i++) {
            if (!(kernel->common >> i & 1)) {
                *own++ = (long long)(uintptr_t)launch->buffers[i];
            }
        }
        for (int32_t i = 0; i < launch->n_sizes; i++) {
            *own++ = launch->sizes[i];
        }
        words[members++] = tiles;
        tiles += launch->tiles;
    }
    *out_done = done;
    if (members == 0) {
        return DLC_OK;
    }
    void **parameter = module->parameters;
    *parameter++ = &tiles;
    *parameter++ = &members;
    *parameter++ = words;
    for (int32_t i = 0; i < kernel->n_buffers; i++) {
        if (kernel->common >> i & 1) {
            *parameter++ = (void *)(uintptr_t)&launches[0].buffers[i];
        }
    }
    fixed_parameters(queue, kernel, parameter);
    return kernel_launch(queue, module, kernel, tiles);
}

dlc_status cuda_launch(DeviceQueue *base, DeviceModule *module, const DeviceLaunch *launch) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    const KernelHandle *kernel;
    dlc_status status = kernel_of(device, module, launch, &kernel);
    if (status != DLC_OK || launch->tiles <= 0) {
        return status;
    }
    if (kernel->group > 0) {
        int32_t done;
        return group_launch(queue, module, kernel, launch, 1, &done);
    }
    long long tiles = launch->tiles;
    void **parameter = module->parameters;
    *parameter++ = &tiles;
    for (int32_t i = 0; i < launch->n_buffers; i++) {
        *parameter++ = (void *)(uintptr_t)&launch->buffers[i];
    }
    for (int32_t i = 0; i < launch->n_sizes; i++) {
        *parameter++ = (void *)(uintptr_t)&launch->sizes[i];
    }
    fixed_parameters(queue, kernel, parameter);
    return kernel_launch(queue, module, kernel, tiles);
}

dlc_status cuda_launch_group(DeviceQueue *base, DeviceModule *module, const DeviceLaunch *launches,
                             int32_t n) {
    CudaQueue *queue = (CudaQueue *)base;
    CudaDevice *device = cuda_device_of(queue);
    dlc_status status = DLC_OK;
    for (int32_t i = 0; i < n && status == DLC_OK;) {
        const KernelHandle *kernel;
        int32_t done = 1;
        status = kernel_of(device, module, &launches[i], &kernel);
        if (status == DLC_OK) {
            status = kernel->group > 0
                         ? group_launch(queue, module, kernel, &launches[i], n - i, &done)
                         : cuda_launch(base, module, &launches[i]);
        }
        i += done;
    }
    return status;
}
