/* The CUresult and nvrtcResult values that the stand-ins return. */
#ifndef DLC_TESTS_CUDASIM_RESULTS_H
#define DLC_TESTS_CUDASIM_RESULTS_H

#define SIM_RESULTS(X)                                                                             \
    X(SUCCESS, 0, "no error")                                                                      \
    X(INVALID_VALUE, 1, "invalid argument")                                                        \
    X(OUT_OF_MEMORY, 2, "out of memory")                                                           \
    X(NOT_INITIALIZED, 3, "initialization error")                                                  \
    X(NO_DEVICE, 100, "no CUDA-capable device is detected")                                        \
    X(INVALID_DEVICE, 101, "invalid device ordinal")                                               \
    X(INVALID_IMAGE, 200, "device kernel image is invalid")                                        \
    X(INVALID_CONTEXT, 201, "invalid device context")                                              \
    X(NO_BINARY_FOR_GPU, 209, "no kernel image is available for execution on the device")          \
    X(INVALID_PTX, 218, "a PTX JIT compilation failed")                                            \
    X(UNSUPPORTED_PTX_VERSION, 222,                                                                \
      "the provided PTX was compiled with an unsupported toolchain.")                              \
    X(INVALID_HANDLE, 400, "invalid resource handle")                                              \
    X(NOT_FOUND, 500, "named symbol not found")                                                    \
    X(NOT_READY, 600, "device not ready")                                                          \
    X(ILLEGAL_ADDRESS, 700, "an illegal memory access was encountered")                            \
    X(LAUNCH_OUT_OF_RESOURCES, 701, "too many resources requested for launch")                     \
    X(LAUNCH_FAILED, 719, "unspecified launch failure")                                            \
    X(NOT_SUPPORTED, 801, "operation not supported")                                               \
    X(STREAM_CAPTURE_UNSUPPORTED, 900, "operation not permitted when stream is capturing")         \
    X(STREAM_CAPTURE_INVALIDATED, 901, "operation failed due to a previous error during capture")  \
    X(STREAM_CAPTURE_MERGE, 902,                                                                   \
      "operation would result in a merge of separate capture sequences")                           \
    X(STREAM_CAPTURE_UNMATCHED, 903, "capture was not initiated in this stream")                   \
    X(STREAM_CAPTURE_UNJOINED, 904, "capturing stream has unjoined work")                          \
    X(STREAM_CAPTURE_ISOLATION, 905, "dependency created on uncaptured work in another stream")    \
    X(CAPTURED_EVENT, 907,                                                                         \
      "operation not permitted on an event last recorded in a capturing stream")                   \
    X(ILLEGAL_STATE, 401, "the operation cannot be performed in the present state")                \
    X(UNKNOWN, 999, "unknown error")

enum {
#define X(NAME, VALUE, TEXT) SIM_##NAME = VALUE,
    SIM_RESULTS(X)
#undef X
};

#endif
