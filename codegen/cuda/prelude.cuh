/* The prelude of generated kernels, device side: everything that is not plain CUDA C. Generated text
 * calls these functions and those of prelude_common.cuh and of vecmath, which follow this text in
 * "dlc_prelude.cuh" (prelude.py puts the three together); nothing else holds inline assembly,
 * built-in variables or vector instructions. The simulated device replaces this file, and only this
 * file, by a host twin with the same signatures.
 *
 * Conventions: a warp is 32 threads in order of dlc_thread(); functions marked [block] are called by
 * all threads of the block together, [warp] by all 32 of a warp together. f16 and bf16 are bit
 * patterns in unsigned short. */

#define DLC_INLINE static __device__ __forceinline__
/* prelude_common.cuh leaves the f16 conversions to this file. */
#define DLC_HAS_F16 1

#ifndef __CUDA_ARCH__
#define __CUDA_ARCH__ 800
#endif

/* As runtime/kernel_abi.h: site is the site's number plus 1, 0 for none. */
struct DlcFault {
    long long site, value, bound;
};

/* Sixteen bytes moved at once; addresses are multiples of 16. */
struct alignas(16) dlc_f32x4 {
    float v[4];
};
struct alignas(16) dlc_f64x2 {
    double v[2];
};
struct alignas(16) dlc_i32x4 {
    int v[4];
};
struct alignas(16) dlc_i64x2 {
    long long v[2];
};
struct alignas(16) dlc_u16x8 {
    unsigned short v[8];
};
struct alignas(16) dlc_u8x16 {
    unsigned char v[16];
};

extern __shared__ __align__(128) unsigned char dlc_shared_block[];

/* ---- place */

/* Number of this thread in its block. */
DLC_INLINE int dlc_thread() {
    return (int)threadIdx.x;
}
/* Number of this block in the grid. */
DLC_INLINE long long dlc_block() {
    return (long long)blockIdx.x;
}
/* Blocks of the grid. */
DLC_INLINE long long dlc_blocks() {
    return (long long)gridDim.x;
}
/* The block's dynamic shared memory, at a multiple of 128. */
DLC_INLINE unsigned char *dlc_shared() {
    return dlc_shared_block;
}

/* ---- order */

/* [block] Barrier; memory written before is seen after. */
DLC_INLINE void dlc_sync() {
    __syncthreads();
}
/* [warp] The same for one warp. */
DLC_INLINE void dlc_sync_warp() {
    __syncwarp(0xffffffffu);
}

/* ---- exchange within a warp */

/* [warp] The value of lane (own lane ^ mask). */
DLC_INLINE float dlc_xor_f32(float value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
}
DLC_INLINE double dlc_xor_f64(double value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
}
DLC_INLINE int dlc_xor_i32(int value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
}
DLC_INLINE long long dlc_xor_i64(long long value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
}
DLC_INLINE bool dlc_xor_bool(bool value, int mask) {
    return __shfl_xor_sync(0xffffffffu, (int)value, mask) != 0;
}
/* [warp] The value of lane `lane`. */
DLC_INLINE float dlc_broadcast_f32(float value, int lane) {
    return __shfl_sync(0xffffffffu, value, lane);
}
DLC_INLINE double dlc_broadcast_f64(double value, int lane) {
    return __shfl_sync(0xffffffffu, value, lane);
}
DLC_INLINE int dlc_broadcast_i32(int value, int lane) {
    return __shfl_sync(0xffffffffu, value, lane);
}
DLC_INLINE long long dlc_broadcast_i64(long long value, int lane) {
    return __shfl_sync(0xffffffffu, value, lane);
}
DLC_INLINE bool dlc_broadcast_bool(bool value, int lane) {
    return __shfl_sync(0xffffffffu, (int)value, lane) != 0;
}

/* ---- arithmetic: IEEE, rounded to nearest */

/* x * y + z with one rounding. */
DLC_INLINE float dlc_fma_f32(float x, float y, float z) {
    return __fmaf_rn(x, y, z);
}
DLC_INLINE double dlc_fma_f64(double x, double y, double z) {
    return __fma_rn(x, y, z);
}
DLC_INLINE float dlc_sqrt_f32(float x) {
    return __fsqrt_rn(x);
}
DLC_INLINE double dlc_sqrt_f64(double x) {
    return __dsqrt_rn(x);
}
DLC_INLINE float dlc_floor_f32(float x) {
    return floorf(x);
}
DLC_INLINE double dlc_floor_f64(double x) {
    return floor(x);
}
DLC_INLINE float dlc_ceil_f32(float x) {
    return ceilf(x);
}
DLC_INLINE double dlc_ceil_f64(double x) {
    return ceil(x);
}
/* To the nearest integer, halves to even. */
DLC_INLINE float dlc_round_f32(float x) {
    return rintf(x);
}
DLC_INLINE double dlc_round_f64(double x) {
    return rint(x);
}
DLC_INLINE float dlc_trunc_f32(float x) {
    return truncf(x);
}
DLC_INLINE double dlc_trunc_f64(double x) {
    return trunc(x);
}

/* ---- bits */

DLC_INLINE int dlc_bits_f32(float x) {
    return __float_as_int(x);
}
DLC_INLINE float dlc_f32_of_bits(int bits) {
    return __int_as_float(bits);
}
DLC_INLINE long long dlc_bits_f64(double x) {
    return __double_as_longlong(x);
}
DLC_INLINE double dlc_f64_of_bits(long long bits) {
    return __longlong_as_double(bits);
}
DLC_INLINE float dlc_f16_to_f32(unsigned short h) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}
/* Nearest, ties to even; a nan becomes 0x7e00 with its sign. */
DLC_INLINE unsigned short dlc_f32_to_f16(float f) {
    unsigned short h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return f != f ? (unsigned short)(0x7e00 | ((__float_as_int(f) >> 16) & 0x8000)) : h;
}

/* ---- sixteen bytes at once */

DLC_INLINE dlc_f32x4 dlc_load_f32x4(const float *p) {
    return *(const dlc_f32x4 *)p;
}
DLC_INLINE void dlc_store_f32x4(float *p, dlc_f32x4 value) {
    *(dlc_f32x4 *)p = value;
}
DLC_INLINE dlc_f64x2 dlc_load_f64x2(const double *p) {
    return *(const dlc_f64x2 *)p;
}
DLC_INLINE void dlc_store_f64x2(double *p, dlc_f64x2 value) {
    *(dlc_f64x2 *)p = value;
}
DLC_INLINE dlc_i32x4 dlc_load_i32x4(const int *p) {
    return *(const dlc_i32x4 *)p;
}
DLC_INLINE void dlc_store_i32x4(int *p, dlc_i32x4 value) {
    *(dlc_i32x4 *)p = value;
}
DLC_INLINE dlc_i64x2 dlc_load_i64x2(const long long *p) {
    return *(const dlc_i64x2 *)p;
}
DLC_INLINE void dlc_store_i64x2(long long *p, dlc_i64x2 value) {
    *(dlc_i64x2 *)p = value;
}
DLC_INLINE dlc_u16x8 dlc_load_u16x8(const unsigned short *p) {
    return *(const dlc_u16x8 *)p;
}
DLC_INLINE void dlc_store_u16x8(unsigned short *p, dlc_u16x8 value) {
    *(dlc_u16x8 *)p = value;
}
DLC_INLINE dlc_u8x16 dlc_load_u8x16(const unsigned char *p) {
    return *(const dlc_u8x16 *)p;
}
DLC_INLINE void dlc_store_u8x16(unsigned char *p, dlc_u8x16 value) {
    *(dlc_u8x16 *)p = value;
}

/* Two neighbours at a multiple of eight bytes. */
DLC_INLINE void dlc_put_pair_f32(float *p, float x, float y) {
    *(float2 *)p = make_float2(x, y);
}

/* ---- copies from global to shared memory that finish later */

/* The copied bytes may be read by this thread after dlc_copy_wait_*, by others after a barrier behind
 * that. Both addresses are multiples of the width. */
DLC_INLINE void dlc_copy16_async(void *shared, const void *global) {
#if __CUDA_ARCH__ >= 800
    unsigned at = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(global) : "memory");
#else
    *(dlc_i32x4 *)shared = *(const dlc_i32x4 *)global;
#endif
}
DLC_INLINE void dlc_copy4_async(void *shared, const void *global) {
#if __CUDA_ARCH__ >= 800
    unsigned at = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(at), "l"(global) : "memory");
#else
    *(int *)shared = *(const int *)global;
#endif
}
/* The same, but zeros where `inside` is false; `global` is a place that may be read all the same. */
DLC_INLINE void dlc_copy16_async_if(void *shared, const void *global, bool inside) {
#if __CUDA_ARCH__ >= 800
    unsigned at = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(global),
                 "r"(inside ? 16 : 0)
                 : "memory");
#else
    const dlc_i32x4 zero = {{0, 0, 0, 0}};
    *(dlc_i32x4 *)shared = inside ? *(const dlc_i32x4 *)global : zero;
#endif
}
DLC_INLINE void dlc_copy4_async_if(void *shared, const void *global, bool inside) {
#if __CUDA_ARCH__ >= 800
    unsigned at = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(at), "l"(global),
                 "r"(inside ? 4 : 0)
                 : "memory");
#else
    *(int *)shared = inside ? *(const int *)global : 0;
#endif
}
/* Closes the group of this thread's copies since the last commit. */
DLC_INLINE void dlc_copy_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/* Waits until at most 0, 1, 2 of this thread's newest groups are unfinished. */
DLC_INLINE void dlc_copy_wait_0() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group 0;" ::: "memory");
#endif
}
DLC_INLINE void dlc_copy_wait_1() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group 1;" ::: "memory");
#endif
}
DLC_INLINE void dlc_copy_wait_2() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group 2;" ::: "memory");
#endif
}

/* ---- matrix fragments (PTX ISA, "Matrix multiply-accumulate operation using mma instruction") */

/* [warp] Four 8x8 matrices of 16-bit elements from shared memory: lanes 8m..8m+7 give the addresses of
 * the rows of matrix m (16 bytes each, at multiples of 16); register m of lane t gets elements 2(t%4)
 * and 2(t%4)+1 of row t/4 of matrix m. */
DLC_INLINE void dlc_ldmatrix_x4(unsigned *to, const unsigned short *row) {
    unsigned at = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at)
                 : "memory");
}
/* [warp] The same with every matrix transposed: lane t gets elements t/4 of rows 2(t%4), 2(t%4)+1. */
DLC_INLINE void dlc_ldmatrix_x4_trans(unsigned *to, const unsigned short *row) {
    unsigned at = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at)
                 : "memory");
}
/* [warp] c (16x8, f32: lane t holds rows t/4 and t/4+8, columns 2(t%4), 2(t%4)+1) += a (16x16) * b
 * (16x8). Fragments: a[0] rows 0-7 of depths 0-7, a[1] rows 8-15, a[2] and a[3] the same of depths
 * 8-15; b[0] depths 0-7, b[1] depths 8-15; the lower half of a register is the lower depth. */
DLC_INLINE void dlc_mma_f16(float *c, const unsigned *a, const unsigned *b) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, "
                 "{%6}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, "
                 "{%6}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[2]), "r"(a[3]), "r"(b[1]));
#endif
}
#if __CUDA_ARCH__ >= 800
/* [warp] The same for bf16; sm_80 and later, like the next. */
DLC_INLINE void dlc_mma_bf16(float *c, const unsigned *a, const unsigned *b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/* [warp] c (16x8) += a (16x8) * b (8x8) of f32 whose low 13 bits are ignored: a[0] is row t/4, depth
 * t%4; a[1] row t/4+8; a[2], a[3] the same at depth t%4+4; b[0] is depth t%4, column t/4; b[1] depth
 * t%4+4. */
DLC_INLINE void dlc_mma_tf32(float *c, const float *a, const float *b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])),
                   "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
                   "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}
#endif

/* ---- faults */

/* Records the fault unless one is recorded already. */
DLC_INLINE void dlc_fault_set(DlcFault *fault, long long site, long long value, long long bound) {
    if (atomicCAS((unsigned long long *)&fault->site, 0ull, (unsigned long long)site + 1ull) == 0) {
        fault->value = value;
        fault->bound = bound;
    }
}
