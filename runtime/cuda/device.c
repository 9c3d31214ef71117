/* The CUDA device: finding, opening and closing a GPU. See internal.h. */
#include "runtime/device.h"

#include "runtime/cuda/call.h"
#include "runtime/cuda/internal.h"

#include <stdio.h>
#include <stdlib.h>

/* "sm_90", "sm_90a": 90; 0: not one. */
static int machine_number(const char *machine) {
    return strncmp(machine, "sm_", 3) == 0 ? atoi(machine + 3) : 0;
}

/* The toolkit that features name ("toolkit=13000"). */
static int features_toolkit(const char *features) {
    const char *at = features ? strstr(features, "toolkit=") : NULL;
    int toolkit = at ? atoi(at + strlen("toolkit=")) : 0;
    return toolkit > 0 ? toolkit : CUDA_DEFAULT_TOOLKIT;
}

static dlc_status device_capability(const CudaDriver *driver, CudaDeviceId id, int *sm,
                                    char *message) {
    int major = 0, minor = 0;
    CudaResult result = driver->device_attribute(&major, CUDA_ATTRIBUTE_CAPABILITY_MAJOR, id);
    if (result == CUDA_SUCCESS) {
        result = driver->device_attribute(&minor, CUDA_ATTRIBUTE_CAPABILITY_MINOR, id);
    }
    if (result != CUDA_SUCCESS) {
        char text[256];
        cuda_error_text(driver, result, text, sizeof(text));
        snprintf(message, DEVICE_MESSAGE_BYTES, "cuDeviceGetAttribute: %s", text);
        return cuda_status(result);
    }
    *sm = 10 * major + minor;
    return DLC_OK;
}

/* Whether code for `machine`, made by `toolkit`, can be brought to run; see module.c for how. "":
 * is there a device at all. */
static bool can_run(const CudaDriver *driver, int sm, const char *machine, int toolkit,
                    char *message) {
    int wanted = machine_number(machine);
    if (!*machine) {
        return true;
    }
    if (wanted <= 0) {
        snprintf(message, DEVICE_MESSAGE_BYTES, "the target names no sm_NN");
        return false;
    }
    if (sm < wanted) {
        snprintf(message, DEVICE_MESSAGE_BYTES,
                 "the code is for sm_%d and the GPU is an sm_%d: compile with --target cuda:sm_%d",
                 wanted, sm, sm);
        return false;
    }
    bool same_major = toolkit / 1000 <= driver->version / 1000;
    if (sm / 10 == wanted / 10 ? same_major : toolkit <= driver->version) {
        return true;
    }
    char reason[256];
    Nvrtc nvrtc;
    bool found = nvrtc_open(&nvrtc, driver->version, reason, sizeof(reason));
    if (found) {
        nvrtc_close(&nvrtc);
    } else if (!same_major && toolkit / 1000 == 13) {
        snprintf(message, DEVICE_MESSAGE_BYTES,
                 "the driver serves CUDA %d.%d, and CUDA 13 code needs driver 580 or newer; to "
                 "compile for this one at load, %s",
                 driver->version / 1000, driver->version % 1000 / 10, reason);
    } else {
        snprintf(message, DEVICE_MESSAGE_BYTES,
                 "the driver serves CUDA %d.%d and the code was made with %d.%d; to compile it at "
                 "load, %s",
                 driver->version / 1000, driver->version % 1000 / 10, toolkit / 1000,
                 toolkit % 1000 / 10, reason);
    }
    return found;
}

static dlc_status cuda_supports(const char *machine, const char *features, const char *which,
                                char *message) {
    CudaDriver driver;
    CudaDeviceId id;
    int sm = 0;
    dlc_status status = cuda_driver_open(&driver, message, DEVICE_MESSAGE_BYTES);
    if (status != DLC_OK) {
        return status;
    }
    status = cuda_driver_pick(&driver, which ? which : "", &id, message, DEVICE_MESSAGE_BYTES);
    if (status == DLC_OK) {
        status = device_capability(&driver, id, &sm, message);
    }
    if (status == DLC_OK &&
        !can_run(&driver, sm, machine ? machine : "", features_toolkit(features), message)) {
        status = DLC_ERROR_UNSUPPORTED;
    }
    cuda_driver_close(&driver);
    return status;
}

static void cuda_close(Device *base) {
    CudaDevice *device = (CudaDevice *)base;
    const CudaDriver *driver = &device->driver;
    if (device->context) {
        /* After an error that ended the context these calls fail, and releasing it frees all. */
        bool entered = cuda_enter_to_free(device);
        if (device->recording) {
            cuda_record_drop(device->recording);
        }
        cuda_queues_wait(device);
        if (device->builtins) {
            driver->module_unload(device->builtins);
        }
        cuda_calls_close(device);
        cuda_memory_close(device);
        cuda_queues_close(device);
        if (entered) {
            cuda_leave_freed(device);
        }
        driver->context_release(device->id);
    }
    nvrtc_close(&device->nvrtc);
    cuda_driver_close(&device->driver);
    dlc_allocator allocator = base->allocator;
    memory_free(&allocator, device);
}

static dlc_status attributes_read(CudaDevice *device) {
    const CudaDriver *driver = &device->driver;
    dlc_status status =
        cuda_check(device, driver->device_name(device->name, sizeof(device->name), device->id),
                   "cuDeviceGetName");
    if (status == DLC_OK) {
        status = cuda_check(
            device,
            driver->device_attribute(&device->processors, CUDA_ATTRIBUTE_PROCESSORS, device->id),
            "cuDeviceGetAttribute");
    }
    if (status == DLC_OK) {
        status = cuda_check(device,
                            driver->device_attribute(&device->shared_limit,
                                                     CUDA_ATTRIBUTE_SHARED_OPTIN, device->id),
                            "cuDeviceGetAttribute");
    }
    device->processors = device->processors > 0 ? device->processors : 1;
    return status;
}

static dlc_status context_open(CudaDevice *device) {
    const CudaDriver *driver = &device->driver;
    dlc_status status = cuda_check(device, driver->context_retain(&device->context, device->id),
                                   "cuDevicePrimaryCtxRetain");
    if (status != DLC_OK) {
        device->context = NULL;
        return status;
    }
    status = cuda_enter(device);
    if (status != DLC_OK) {
        return status;
    }
    CudaQueue *queue;
    status = cuda_queue_open(device, &queue);
    device->base.queue = status == DLC_OK ? &queue->base : NULL;
    return cuda_leave(device, status);
}

static dlc_status cuda_open(const dlc_allocator *allocator, const DeviceOptions *options,
                            Device **out, char *message) {
    CudaDevice *device = memory_new(allocator, 1, sizeof(*device));
    if (!device) {
        snprintf(message, DEVICE_MESSAGE_BYTES, "out of memory");
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    device->base.ops = &device_cuda;
    device->base.allocator = *allocator;
    device->guarded = options->guarded;
    char *error = device->base.error;
    dlc_status status = cuda_driver_open(&device->driver, error, DEVICE_MESSAGE_BYTES);
    if (status == DLC_OK) {
        status = cuda_driver_pick(&device->driver, options->which ? options->which : "",
                                  &device->id, error, DEVICE_MESSAGE_BYTES);
    }
    if (status == DLC_OK) {
        status = device_capability(&device->driver, device->id, &device->sm, error);
    }
    if (status == DLC_OK) {
        status = attributes_read(device);
    }
    if (status == DLC_OK) {
        status = context_open(device);
    }
    if (status != DLC_OK) {
        snprintf(message, DEVICE_MESSAGE_BYTES, "%s", error);
        cuda_close(&device->base);
        return status;
    }
    *out = &device->base;
    return DLC_OK;
}

/* The driver's own number, which its API does not tell: "580.65.06", or "". */
static void driver_release(char *out, size_t n_out) {
    out[0] = '\0';
    FILE *file = fopen("/sys/module/nvidia/version", "r");
    if (file) {
        if (!fgets(out, (int)n_out, file)) {
            out[0] = '\0';
        }
        out[strcspn(out, "\n")] = '\0';
        fclose(file);
    }
}

static void cuda_describe(Device *base, char *out, size_t n_out) {
    const CudaDevice *device = (const CudaDevice *)base;
    char release[64];
    driver_release(release, sizeof(release));
    snprintf(out, n_out, "%s (sm_%d), driver %s%sCUDA %d.%d%s%s%s", device->name, device->sm,
             release, *release ? " (" : "", device->driver.version / 1000,
             device->driver.version % 1000 / 10, *release ? ")" : "", *device->note ? "; " : "",
             device->note);
}

/* What NVIDIA states for the card: cores at their highest clock, the memory bus at its own. */
static void cuda_peak(Device *base, double *out_flops, double *out_bytes) {
    CudaDevice *device = (CudaDevice *)base;
    static const int attributes[] = {CUDA_ATTRIBUTE_CLOCK, CUDA_ATTRIBUTE_MEMORY_CLOCK,
                                     CUDA_ATTRIBUTE_MEMORY_BUS};
    int values[3] = {0};
    for (int i = 0; i < 3; i++) {
        if (device->driver.device_attribute(&values[i], attributes[i], device->id) !=
            CUDA_SUCCESS) {
            values[i] = 0;
        }
    }
    int cores = device->sm < 86 ? 64 : 128; /* of a multiprocessor, f32 */
    *out_flops = 2.0 * cores * device->processors * 1e3 * values[0];
    *out_bytes = 2.0 * 1e3 * values[1] * values[2] / 8;
}

const DeviceOps device_cuda = {
    .name = "cuda",
    .doc = "an NVIDIA GPU: cuda, cuda:1, cuda:GPU-8932f937",
    .is_numbered = true,
    .supports = cuda_supports,
    .open = cuda_open,
    .close = cuda_close,
    .describe = cuda_describe,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .queue_create = cuda_queue_create,
    .queue_destroy = cuda_queue_destroy,
    .event_create = cuda_event_create,
    .event_record = cuda_event_record,
    .event_wait = cuda_event_wait,
    .event_finish = cuda_event_finish,
    .event_destroy = cuda_event_destroy,
    .write = cuda_write,
    .read = cuda_read,
    .fetch = cuda_fetch,
    .fault_fetch = cuda_fault_fetch,
    .host_alloc = cuda_host_alloc,
    .host_free = cuda_host_free,
    .send = cuda_send,
    .copy = cuda_copy,
    .fill = cuda_fill,
    .set_i32 = cuda_set_i32,
    .gate = cuda_gate,
    .copy_across = cuda_copy_across,
    .load = cuda_load,
    .unload = cuda_unload,
    .reserve = cuda_reserve,
    .launch = cuda_launch,
    .launch_group = cuda_launch_group,
    .call_prepare = cuda_call_prepare,
    .call = cuda_call,
    .call_free = cuda_call_free,
    .call_describe = cuda_call_describe,
    .finish = cuda_finish,
    .record = cuda_record,
    .record_end = cuda_record_end,
    .replay = cuda_replay,
    .graph_free = cuda_graph_free,
    .mark = cuda_mark,
    .mark_seconds = cuda_mark_seconds,
    .free_bytes = cuda_free_bytes,
    .overhead_bytes = cuda_overhead_bytes,
    .peak = cuda_peak,
};
