/* Kernels of the run side itself. builtin_text.h holds this text and its PTX, made by
 * builtin.sh; the text is what an NVRTC compiles where a driver takes no PTX. */
#include "dlc_prelude.cuh"

struct alignas(16) DlcQuad {
    unsigned int a, b, c, d;
};

/* See KernelFault and DeviceOps.gate. */
extern "C" __global__ void dlc_gate(unsigned char *word, const unsigned char *flag,
                                    long long *fault) {
    bool is_clean = fault[0] == 0;
    bool is_set = *flag != 0;
    if (is_clean && !is_set) {
        fault[0] = 0x7ffffffffffffffell; /* KERNEL_SITE_STOPPED */
        fault[1] = 0;
        fault[2] = 0;
    }
    *word = is_clean && is_set;
}

/* Copies n items of 16 bytes, then `rest` bytes behind them, when *flag is not 0. */
extern "C" __global__ void dlc_copy_if(long long n, DlcQuad *to, const DlcQuad *from,
                                       long long rest, unsigned char *to_rest,
                                       const unsigned char *from_rest,
                                       const unsigned char *flag) {
    if (*flag != 0) {
        long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x;
        long long step = (long long)gridDim.x * blockDim.x;
#pragma unroll 1
        for (long long i = first; i < n; i += step) {
            to[i] = from[i];
        }
#pragma unroll 1
        for (long long i = first; i < rest; i += step) {
            to_rest[i] = from_rest[i];
        }
    }
}
