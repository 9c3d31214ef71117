/* Opens cuDNN, checks its version, reads and makes device properties. See cudnn.h. */
#include "runtime/cuda/cudnn.h"

#include <stdio.h>

bool cudnn_open(Cudnn *cudnn, int driver_version, char *message, size_t n_message) {
    static const char name[] = "libcudnn.so.9";
    static const CudaSymbol symbols[] = {
#define X(symbol, member, result, parameters) {symbol, offsetof(Cudnn, member)},
#include "runtime/cuda/cudnn.def"
#undef X
    };
    *cudnn = (Cudnn){0};
    /* Kept: cuDNN's parts register with the CUDA run time, which has no way back. */
    cudnn->library = cuda_library_open(name, true, message, n_message);
    if (!cudnn->library) {
        return false;
    }
    bool ok = cuda_library_symbols(cudnn->library, name, symbols,
                                   sizeof(symbols) / sizeof(symbols[0]), cudnn, message, n_message);
    size_t version = ok ? cudnn->get_version() : 0;
    if (ok && (version < DNN_OLDEST || version >= DNN_OLDEST + 10000)) {
        snprintf(message, n_message, "%s says that it is version %zu, not 9", name, version);
        ok = false;
    }
    size_t cuda = ok ? cudnn->cudart_version() : 0;
    if (ok && driver_version > 0 && cuda / 1000 > (size_t)driver_version / 1000) {
        snprintf(message, n_message, "%s is made for CUDA %zu, and the driver serves CUDA %d.%d",
                 name, cuda / 1000, driver_version / 1000, driver_version % 1000 / 10);
        ok = false;
    }
    if (!ok) {
        cudnn_close(cudnn);
        return false;
    }
    cudnn->version = (int)version;
    return true;
}

void cudnn_close(Cudnn *cudnn) {
    cuda_library_close(cudnn->library);
    *cudnn = (Cudnn){0};
}

void cudnn_error(const Cudnn *cudnn, int status, const char *call, char *message,
                 size_t n_message) {
    char last[256] = "";
    cudnn->last_error(last, sizeof(last));
    last[sizeof(last) - 1] = '\0';
    last[strcspn(last, "\n")] = '\0';
    const char *text = cudnn->error_text(status);
    snprintf(message, n_message, "cuDNN %d.%d: %s: %s%s%s%s", cudnn->version / 10000,
             cudnn->version / 100 % 100, call, text ? text : "unknown error", *last ? " (" : "",
             last, *last ? ")" : "");
}

dlc_status cudnn_status(int status) {
    /* The thousands are the kind: since 9.0, single numbers within one are told apart. */
    enum {
        NOT_INITIALIZED = 1,
        BAD_PARAM = 2,
        NOT_SUPPORTED = 3,
        HOST_ALLOCATION_FAILED = 4003,
        DEVICE_ALLOCATION_FAILED = 4004
    };
    switch (status) {
    case DNN_SUCCESS:
        return DLC_OK;
    case HOST_ALLOCATION_FAILED:
    case DEVICE_ALLOCATION_FAILED:
        return DLC_ERROR_OUT_OF_MEMORY;
    default:
        break;
    }
    int kind = status / 1000;
    return kind == NOT_INITIALIZED || kind == BAD_PARAM || kind == NOT_SUPPORTED
               ? DLC_ERROR_UNSUPPORTED
               : DLC_ERROR_INTERNAL;
}

char *cudnn_device_text(const Cudnn *cudnn, const dlc_allocator *allocator, int device,
                        char *message, size_t n_message) {
    CudnnDescriptor descriptor = NULL;
    int32_t id = device;
    int64_t n = 0;
    char *text = NULL;
    int status = cudnn->make(DNN_BACKEND_DEVICEPROP_DESCRIPTOR, &descriptor);
    if (status == DNN_SUCCESS) {
        status = cudnn->set(descriptor, DNN_ATTR_DEVICEPROP_DEVICE_ID, DNN_TYPE_INT32, 1, &id);
    }
    if (status == DNN_SUCCESS) {
        status = cudnn->finalize(descriptor);
    }
    if (status == DNN_SUCCESS) {
        status = cudnn->get(descriptor, DNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, DNN_TYPE_CHAR, 0,
                            &n, NULL);
    }
    if (status != DNN_SUCCESS || n <= 0) {
        cudnn_error(cudnn, status, "device property", message, n_message);
    } else if (!(text = memory_new(allocator, (size_t)n + 1, 1))) {
        snprintf(message, n_message, "out of memory");
    } else {
        status = cudnn->get(descriptor, DNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, DNN_TYPE_CHAR, n,
                            &n, text);
        if (status != DNN_SUCCESS) {
            cudnn_error(cudnn, status, "device property", message, n_message);
            memory_free(allocator, text);
            text = NULL;
        }
    }
    if (descriptor) {
        cudnn->unmake(descriptor);
    }
    return text;
}

CudnnDescriptor cudnn_device_make(const Cudnn *cudnn, const char *text, char *message,
                                  size_t n_message) {
    CudnnDescriptor descriptor = NULL;
    int status = cudnn->make(DNN_BACKEND_DEVICEPROP_DESCRIPTOR, &descriptor);
    if (status != DNN_SUCCESS) {
        cudnn_error(cudnn, status, "device property", message, n_message);
        return NULL;
    }
    status = cudnn->set(descriptor, DNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, DNN_TYPE_CHAR,
                        (int64_t)strlen(text), text);
    if (status == DNN_SUCCESS) {
        status = cudnn->finalize(descriptor);
    }
    if (status != DNN_SUCCESS) {
        cudnn_error(cudnn, status, "device property", message, n_message);
        cudnn->unmake(descriptor);
        return NULL;
    }
    return descriptor;
}
