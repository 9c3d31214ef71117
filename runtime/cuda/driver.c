/* See driver.h. */
#include "runtime/cuda/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { DRIVER_OLDEST = 11040, UUID_TEXT_BYTES = 41 };

#define DRIVER_LIBRARY "libcuda.so.1"

void cuda_error_text(const CudaDriver *driver, CudaResult result, char *out, size_t n_out) {
    const char *name = NULL, *text = NULL;
    if (driver->error_name(result, &name) != CUDA_SUCCESS || !name) {
        name = "CUDA error";
    }
    if (driver->error_text(result, &text) != CUDA_SUCCESS || !text) {
        text = "unknown to this driver";
    }
    snprintf(out, n_out, "%s (%d): %s", name, result, text);
}

bool cuda_refuses_code(CudaResult result) {
    switch (result) {
    case CUDA_INVALID_IMAGE:
    case CUDA_NO_BINARY_FOR_GPU:
    case CUDA_INVALID_PTX:
    case CUDA_JIT_COMPILER_NOT_FOUND:
    case CUDA_UNSUPPORTED_PTX_VERSION:
    case CUDA_JIT_COMPILATION_DISABLED:
    case CUDA_INVALID_SOURCE:
        return true;
    default:
        return false;
    }
}

dlc_status cuda_status(CudaResult result) {
    switch (result) {
    case CUDA_SUCCESS:
        return DLC_OK;
    case CUDA_OUT_OF_MEMORY:
        return DLC_ERROR_OUT_OF_MEMORY;
    case CUDA_STUB_LIBRARY:
    case CUDA_CALL_REQUIRES_NEWER_DRIVER:
    case CUDA_DEVICE_UNAVAILABLE:
    case CUDA_NO_DEVICE:
    case CUDA_DEVICE_NOT_LICENSED:
    case CUDA_UNSUPPORTED_LIMIT:
    case CUDA_UNSUPPORTED_EXEC_AFFINITY:
    case CUDA_UNSUPPORTED_DEVSIDE_SYNC:
    case CUDA_NOT_SUPPORTED:
    case CUDA_SYSTEM_NOT_READY:
    case CUDA_SYSTEM_DRIVER_MISMATCH:
    case CUDA_COMPAT_NOT_SUPPORTED_ON_DEVICE:
    case CUDA_CDP_NOT_SUPPORTED:
    case CUDA_STREAM_CAPTURE_UNSUPPORTED:
        return DLC_ERROR_UNSUPPORTED;
    default:
        return cuda_refuses_code(result) ? DLC_ERROR_UNSUPPORTED : DLC_ERROR_INTERNAL;
    }
}

/* What cuInit's error means for whoever has to mend it. */
static void init_message(const CudaDriver *driver, CudaResult result, char *out, size_t n_out) {
    char text[256];
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    cuda_error_text(driver, result, text, sizeof(text));
    switch (result) {
    case CUDA_NO_DEVICE:
        snprintf(out, n_out, "the CUDA driver finds no GPU%s%s%s",
                 visible ? " (CUDA_VISIBLE_DEVICES is \"" : "", visible ? visible : "",
                 visible ? "\")" : "");
        break;
    case CUDA_STUB_LIBRARY:
        snprintf(out, n_out,
                 DRIVER_LIBRARY " is the toolkit's stand-in for linking, not a driver; install "
                                "NVIDIA's driver");
        break;
    case CUDA_SYSTEM_DRIVER_MISMATCH:
        snprintf(out, n_out,
                 DRIVER_LIBRARY " and the kernel's NVIDIA module are of different versions; "
                                "restart the machine, or install both alike");
        break;
    default:
        snprintf(out, n_out, "the CUDA driver does not start: cuInit: %s", text);
        break;
    }
}

dlc_status cuda_driver_open(CudaDriver *driver, char *message, size_t n_message) {
    static const CudaSymbol symbols[] = {
#define X(symbol, member, parameters) {symbol, offsetof(CudaDriver, member)},
#include "runtime/cuda/driver.def"
#undef X
    };
    char reason[384];
    dlc_status status = DLC_ERROR_UNSUPPORTED;
    CudaResult result;
    *driver = (CudaDriver){0};
    driver->library = cuda_library_open(DRIVER_LIBRARY, true, reason, sizeof(reason));
    if (!driver->library) {
        snprintf(message, n_message, "no CUDA driver: %s", reason);
        return status;
    }
    if (!cuda_library_symbols(driver->library, DRIVER_LIBRARY, symbols,
                              sizeof(symbols) / sizeof(symbols[0]), driver, reason,
                              sizeof(reason))) {
        snprintf(message, n_message, "the CUDA driver cannot be used: %s", reason);
        goto fail;
    }
    result = driver->init(0);
    if (result != CUDA_SUCCESS) {
        init_message(driver, result, message, n_message);
        status = cuda_status(result);
        goto fail;
    }
    result = driver->driver_version(&driver->version);
    if (result != CUDA_SUCCESS) {
        cuda_error_text(driver, result, reason, sizeof(reason));
        snprintf(message, n_message, "cuDriverGetVersion: %s", reason);
        status = cuda_status(result);
        goto fail;
    }
    if (driver->version < DRIVER_OLDEST) {
        snprintf(message, n_message,
                 "the CUDA driver serves CUDA %d.%d, at least 11.4 is needed: install a newer "
                 "NVIDIA driver",
                 driver->version / 1000, driver->version % 1000 / 10);
        goto fail;
    }
    return DLC_OK;
fail:
    cuda_driver_close(driver);
    return status;
}

void cuda_driver_close(CudaDriver *driver) {
    cuda_library_close(driver->library);
    *driver = (CudaDriver){0};
}

/* "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6" */
static void uuid_text(const CudaUuid *uuid, char out[UUID_TEXT_BYTES]) {
    size_t at = (size_t)snprintf(out, UUID_TEXT_BYTES, "GPU");
    for (int i = 0; i < 16; i++) {
        bool dash = i == 0 || i == 4 || i == 6 || i == 8 || i == 10;
        at += (size_t)snprintf(out + at, UUID_TEXT_BYTES - at, "%s%02x", dash ? "-" : "",
                               uuid->bytes[i]);
    }
}

static dlc_status check(const CudaDriver *driver, const char *call, CudaResult result,
                        char *message, size_t n_message) {
    if (result != CUDA_SUCCESS) {
        char text[256];
        cuda_error_text(driver, result, text, sizeof(text));
        snprintf(message, n_message, "%s: %s", call, text);
    }
    return cuda_status(result);
}

static dlc_status pick_uuid(const CudaDriver *driver, const char *which, int count,
                            CudaDeviceId *out, char *message, size_t n_message) {
    int matches = 0;
    for (int i = 0; i < count; i++) {
        CudaDeviceId device;
        CudaUuid uuid;
        char text[UUID_TEXT_BYTES];
        dlc_status status =
            check(driver, "cuDeviceGet", driver->device_get(&device, i), message, n_message);
        if (status == DLC_OK) {
            status = check(driver, "cuDeviceGetUuid", driver->device_uuid(&uuid, device), message,
                           n_message);
        }
        if (status != DLC_OK) {
            return status;
        }
        uuid_text(&uuid, text);
        /* The parts of a divided GPU are named MIG-…, with the same digits behind. */
        if (strncasecmp(text + 3, which + 3, strlen(which + 3)) == 0) {
            *out = device;
            matches++;
        }
    }
    if (matches != 1) {
        snprintf(message, n_message, "%s GPU's UUID begins with \"%s\"; nvidia-smi -L lists them",
                 matches ? "more than one" : "no", which);
    }
    return matches == 1 ? DLC_OK : DLC_ERROR_UNSUPPORTED;
}

dlc_status cuda_driver_pick(const CudaDriver *driver, const char *which, CudaDeviceId *out,
                            char *message, size_t n_message) {
    int count = 0;
    dlc_status status =
        check(driver, "cuDeviceGetCount", driver->device_count(&count), message, n_message);
    if (status != DLC_OK) {
        return status;
    }
    if (count == 0) {
        init_message(driver, CUDA_NO_DEVICE, message, n_message);
        return DLC_ERROR_UNSUPPORTED;
    }
    if (strncasecmp(which, "GPU-", 4) == 0 || strncasecmp(which, "MIG-", 4) == 0) {
        return pick_uuid(driver, which, count, out, message, n_message);
    }
    size_t length = strlen(which);
    if (strspn(which, "0123456789") != length || length > 4) {
        snprintf(message, n_message,
                 "\"%s\" names no GPU: an index (cuda:0) or the beginning of a UUID "
                 "(cuda:GPU-…) is wanted",
                 which);
        return DLC_ERROR_UNSUPPORTED;
    }
    int index = length ? atoi(which) : 0;
    if (index >= count) {
        snprintf(message, n_message, "there is no GPU %d: this machine shows %d (cuda:0%s%.0d)",
                 index, count, count > 1 ? " to cuda:" : "", count > 1 ? count - 1 : 0);
        return DLC_ERROR_UNSUPPORTED;
    }
    return check(driver, "cuDeviceGet", driver->device_get(out, index), message, n_message);
}
