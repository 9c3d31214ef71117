/* The CUDA driver as we see it: its types and the entry points of driver.def, opened at run time.
 * No CUDA header is needed to build. */
#ifndef DLC_RUNTIME_CUDA_DRIVER_H
#define DLC_RUNTIME_CUDA_DRIVER_H

#include "runtime/cuda/library.h"

typedef int CudaResult;
typedef int CudaDeviceId;
typedef unsigned long long CudaAddress;
typedef struct CudaContextRecord *CudaContext;
typedef struct CudaModuleRecord *CudaModule;
typedef struct CudaFunctionRecord *CudaFunction;
typedef struct CudaStreamRecord *CudaStream;
typedef struct CudaEventRecord *CudaEvent;
typedef struct CudaGraphRecord *CudaGraph;
typedef struct CudaGraphExecRecord *CudaGraphExec;

typedef struct CudaUuid {
    unsigned char bytes[16];
} CudaUuid;

/* Values of cuda.h. */
enum {
    CUDA_SUCCESS = 0,
    CUDA_OUT_OF_MEMORY = 2,
    CUDA_DEINITIALIZED = 4,
    CUDA_STUB_LIBRARY = 34,
    CUDA_CALL_REQUIRES_NEWER_DRIVER = 36,
    CUDA_DEVICE_UNAVAILABLE = 46,
    CUDA_NO_DEVICE = 100,
    CUDA_DEVICE_NOT_LICENSED = 102,
    CUDA_INVALID_IMAGE = 200,
    CUDA_NO_BINARY_FOR_GPU = 209,
    CUDA_ECC_UNCORRECTABLE = 214,
    CUDA_UNSUPPORTED_LIMIT = 215,
    CUDA_INVALID_PTX = 218,
    CUDA_NVLINK_UNCORRECTABLE = 220,
    CUDA_JIT_COMPILER_NOT_FOUND = 221,
    CUDA_UNSUPPORTED_PTX_VERSION = 222,
    CUDA_JIT_COMPILATION_DISABLED = 223,
    CUDA_UNSUPPORTED_EXEC_AFFINITY = 224,
    CUDA_UNSUPPORTED_DEVSIDE_SYNC = 225,
    CUDA_CONTAINED = 226,
    CUDA_INVALID_SOURCE = 300,
    CUDA_ILLEGAL_ADDRESS = 700,
    CUDA_LAUNCH_TIMEOUT = 702,
    CUDA_CONTEXT_IS_DESTROYED = 709,
    CUDA_ASSERT = 710,
    CUDA_HARDWARE_STACK_ERROR = 714,
    CUDA_LAUNCH_FAILED = 719,
    CUDA_NOT_SUPPORTED = 801,
    CUDA_SYSTEM_NOT_READY = 802,
    CUDA_SYSTEM_DRIVER_MISMATCH = 803,
    CUDA_COMPAT_NOT_SUPPORTED_ON_DEVICE = 804,
    CUDA_CDP_NOT_SUPPORTED = 811,
    CUDA_STREAM_CAPTURE_UNSUPPORTED = 900,
    CUDA_STREAM_CAPTURE_UNJOINED = 904,

    CUDA_ATTRIBUTE_CLOCK = 13, /* kHz */
    CUDA_ATTRIBUTE_PROCESSORS = 16,
    CUDA_ATTRIBUTE_MEMORY_CLOCK = 36, /* kHz */
    CUDA_ATTRIBUTE_MEMORY_BUS = 37,   /* bits */
    CUDA_ATTRIBUTE_CAPABILITY_MAJOR = 75,
    CUDA_ATTRIBUTE_CAPABILITY_MINOR = 76,
    CUDA_ATTRIBUTE_SHARED_OPTIN = 97,
    CUDA_FUNCTION_MAX_THREADS = 0,
    CUDA_FUNCTION_MAX_DYNAMIC_SHARED = 8,
    CUDA_STREAM_NON_BLOCKING = 1,
    CUDA_EVENT_NO_TIMING = 2,
    CUDA_CAPTURE_THREAD_LOCAL = 1,
    CUDA_JIT_ERROR_LOG = 5,
    CUDA_JIT_ERROR_LOG_BYTES = 6,
};

typedef struct CudaDriver {
    void *library;
    int version; /* 13000: the newest CUDA that the driver serves */
#define X(symbol, member, parameters) CudaResult(*member) parameters;
#include "runtime/cuda/driver.def"
#undef X
} CudaDriver;

/* Opens and initialises the driver; else message (n_message bytes) is one line that names what is
 * missing (DLC_ERROR_UNSUPPORTED), or the error. */
dlc_status cuda_driver_open(CudaDriver *driver, char *message, size_t n_message);
void cuda_driver_close(CudaDriver *driver); /* accepts a zeroed one */
/* "CUDA_ERROR_LAUNCH_FAILED (719): unspecified launch failure" */
void cuda_error_text(const CudaDriver *driver, CudaResult result, char *out, size_t n_out);
/* The code was refused for what it is; the same in another form may be taken. */
bool cuda_refuses_code(CudaResult result);
/* What a result means for the run: DLC_ERROR_UNSUPPORTED only where its name says that this machine
 * cannot, so that callers may go another way; what is not known is an error. */
dlc_status cuda_status(CudaResult result);
/* The device that `which` names: "" (the first), an index, or the beginning of "GPU-…". */
dlc_status cuda_driver_pick(const CudaDriver *driver, const char *which, CudaDeviceId *out,
                            char *message, size_t n_message);

#endif
