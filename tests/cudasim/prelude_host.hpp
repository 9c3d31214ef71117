/* The host twin of codegen/cuda/prelude.cuh: the same functions with the same results, made of
 * plain C++ and of calls into the simulator. prelude_common.cuh and vecmath follow this text in
 * "dlc_prelude.cuh". What accesses memory here is not instrumented and tells the simulator itself.
 */
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __CUDACC__ 1

#define DLC_INLINE   static inline __attribute__((unused))
#define DLCSIM_QUIET __attribute__((no_sanitize("thread"), noinline, unused)) static
#define DLCSIM_HERE  int line = __builtin_LINE()

extern "C" {
__attribute__((const)) unsigned dlcsim_thread();
__attribute__((const)) unsigned dlcsim_block();
__attribute__((const)) unsigned dlcsim_threads();
__attribute__((const)) unsigned dlcsim_blocks();
__attribute__((const)) unsigned char *dlcsim_shared();
void dlcsim_barrier(int line);
void dlcsim_warp(unsigned mask, const char *what, int line, void *value,
                 void (*meet)(void *const *values, unsigned mask));
void dlcsim_touch(const void *p, unsigned size, int write);
void dlcsim_atomic(void *p, unsigned size);
void dlcsim_fail(const char *text);
void dlcsim_copy_async(void *to, const void *from, unsigned bytes);
void dlcsim_copy_commit();
void dlcsim_copy_wait(int most);
}

struct dlcsim_dim3 {
    unsigned x, y, z;
};
#define threadIdx (dlcsim_dim3{dlcsim_thread(), 0, 0})
#define blockIdx  (dlcsim_dim3{dlcsim_block(), 0, 0})
#define blockDim  (dlcsim_dim3{dlcsim_threads(), 1, 1})
#define gridDim   (dlcsim_dim3{dlcsim_blocks(), 1, 1})

/* As runtime/kernel_abi.h: site is the site's number plus 1, 0 for none. */
struct DlcFault {
    long long site, value, bound;
};

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

/* ---- place */

DLC_INLINE int dlc_thread() {
    return (int)dlcsim_thread();
}
DLC_INLINE long long dlc_block() {
    return (long long)dlcsim_block();
}
DLC_INLINE long long dlc_blocks() {
    return (long long)dlcsim_blocks();
}
DLC_INLINE unsigned char *dlc_shared() {
    return dlcsim_shared();
}

/* ---- order */

DLC_INLINE void dlc_sync(DLCSIM_HERE) {
    dlcsim_barrier(line);
}
DLC_INLINE void dlc_sync_warp(DLCSIM_HERE) {
    dlcsim_warp(0xffffffffu, "dlc_sync_warp", line, nullptr, nullptr);
}

/* ---- exchange within a warp */

struct dlcsim_exchange {
    unsigned long long value, result;
    int lane;
};
DLCSIM_QUIET void dlcsim_exchange_meet(void *const *values, unsigned) {
    for (int i = 0; i < 32; i++) {
        dlcsim_exchange *mine = (dlcsim_exchange *)values[i];
        mine->result = ((dlcsim_exchange *)values[mine->lane & 31])->value;
    }
}
DLCSIM_QUIET unsigned long long dlcsim_exchange_bits(unsigned long long value, int lane,
                                                     const char *what, int line) {
    dlcsim_exchange exchange = {value, 0, lane};
    dlcsim_warp(0xffffffffu, what, line, &exchange, dlcsim_exchange_meet);
    return exchange.result;
}
template <class T> DLCSIM_QUIET T dlcsim_from_lane(T value, int lane, const char *what, int line) {
    unsigned long long bits = 0;
    __builtin_memcpy(&bits, &value, sizeof value);
    bits = dlcsim_exchange_bits(bits, lane, what, line);
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

#define DLCSIM_LANE ((int)(dlcsim_thread() % 32))
DLC_INLINE float dlc_xor_f32(float value, int mask, DLCSIM_HERE) {
    return dlcsim_from_lane(value, DLCSIM_LANE ^ mask, "dlc_xor_f32", line);
}
DLC_INLINE double dlc_xor_f64(double value, int mask, DLCSIM_HERE) {
    return dlcsim_from_lane(value, DLCSIM_LANE ^ mask, "dlc_xor_f64", line);
}
DLC_INLINE int dlc_xor_i32(int value, int mask, DLCSIM_HERE) {
    return dlcsim_from_lane(value, DLCSIM_LANE ^ mask, "dlc_xor_i32", line);
}
DLC_INLINE long long dlc_xor_i64(long long value, int mask, DLCSIM_HERE) {
    return dlcsim_from_lane(value, DLCSIM_LANE ^ mask, "dlc_xor_i64", line);
}
DLC_INLINE bool dlc_xor_bool(bool value, int mask, DLCSIM_HERE) {
    return dlcsim_from_lane((int)value, DLCSIM_LANE ^ mask, "dlc_xor_bool", line) != 0;
}
DLC_INLINE float dlc_broadcast_f32(float value, int lane, DLCSIM_HERE) {
    return dlcsim_from_lane(value, lane, "dlc_broadcast_f32", line);
}
DLC_INLINE double dlc_broadcast_f64(double value, int lane, DLCSIM_HERE) {
    return dlcsim_from_lane(value, lane, "dlc_broadcast_f64", line);
}
DLC_INLINE int dlc_broadcast_i32(int value, int lane, DLCSIM_HERE) {
    return dlcsim_from_lane(value, lane, "dlc_broadcast_i32", line);
}
DLC_INLINE long long dlc_broadcast_i64(long long value, int lane, DLCSIM_HERE) {
    return dlcsim_from_lane(value, lane, "dlc_broadcast_i64", line);
}
DLC_INLINE bool dlc_broadcast_bool(bool value, int lane, DLCSIM_HERE) {
    return dlcsim_from_lane((int)value, lane, "dlc_broadcast_bool", line) != 0;
}

/* ---- arithmetic: IEEE, rounded to nearest */

DLC_INLINE float dlc_fma_f32(float x, float y, float z) {
    return __builtin_fmaf(x, y, z);
}
DLC_INLINE double dlc_fma_f64(double x, double y, double z) {
    return __builtin_fma(x, y, z);
}
DLC_INLINE float dlc_sqrt_f32(float x) {
    return __builtin_sqrtf(x);
}
DLC_INLINE double dlc_sqrt_f64(double x) {
    return __builtin_sqrt(x);
}
DLC_INLINE float dlc_floor_f32(float x) {
    return __builtin_floorf(x);
}
DLC_INLINE double dlc_floor_f64(double x) {
    return __builtin_floor(x);
}
DLC_INLINE float dlc_ceil_f32(float x) {
    return __builtin_ceilf(x);
}
DLC_INLINE double dlc_ceil_f64(double x) {
    return __builtin_ceil(x);
}
DLC_INLINE float dlc_round_f32(float x) {
    return __builtin_rintf(x);
}
DLC_INLINE double dlc_round_f64(double x) {
    return __builtin_rint(x);
}
DLC_INLINE float dlc_trunc_f32(float x) {
    return __builtin_truncf(x);
}
DLC_INLINE double dlc_trunc_f64(double x) {
    return __builtin_trunc(x);
}

/* ---- bits; the f16 conversions are those of prelude_common.cuh */

DLC_INLINE int dlc_bits_f32(float x) {
    int bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
}
DLC_INLINE float dlc_f32_of_bits(int bits) {
    float x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}
DLC_INLINE long long dlc_bits_f64(double x) {
    long long bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
}
DLC_INLINE double dlc_f64_of_bits(long long bits) {
    double x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- sixteen bytes at once */

template <class V> DLCSIM_QUIET V dlcsim_load(const void *p) {
    V value;
    dlcsim_touch(p, 16, 0);
    __builtin_memcpy(&value, p, 16);
    return value;
}
template <class V> DLCSIM_QUIET void dlcsim_store(void *p, V value) {
    dlcsim_touch(p, 16, 1);
    __builtin_memcpy(p, &value, 16);
}
DLC_INLINE dlc_f32x4 dlc_load_f32x4(const float *p) {
    return dlcsim_load<dlc_f32x4>(p);
}
DLC_INLINE void dlc_store_f32x4(float *p, dlc_f32x4 value) {
    dlcsim_store(p, value);
}
DLC_INLINE dlc_f64x2 dlc_load_f64x2(const double *p) {
    return dlcsim_load<dlc_f64x2>(p);
}
DLC_INLINE void dlc_store_f64x2(double *p, dlc_f64x2 value) {
    dlcsim_store(p, value);
}
DLC_INLINE dlc_i32x4 dlc_load_i32x4(const int *p) {
    return dlcsim_load<dlc_i32x4>(p);
}
DLC_INLINE void dlc_store_i32x4(int *p, dlc_i32x4 value) {
    dlcsim_store(p, value);
}
DLC_INLINE dlc_i64x2 dlc_load_i64x2(const long long *p) {
    return dlcsim_load<dlc_i64x2>(p);
}
DLC_INLINE void dlc_store_i64x2(long long *p, dlc_i64x2 value) {
    dlcsim_store(p, value);
}
DLC_INLINE dlc_u16x8 dlc_load_u16x8(const unsigned short *p) {
    return dlcsim_load<dlc_u16x8>(p);
}
DLC_INLINE void dlc_store_u16x8(unsigned short *p, dlc_u16x8 value) {
    dlcsim_store(p, value);
}
DLC_INLINE dlc_u8x16 dlc_load_u8x16(const unsigned char *p) {
    return dlcsim_load<dlc_u8x16>(p);
}
DLC_INLINE void dlc_store_u8x16(unsigned char *p, dlc_u8x16 value) {
    dlcsim_store(p, value);
}

DLCSIM_QUIET void dlc_put_pair_f32(float *p, float x, float y) {
    if ((unsigned long long)p % 8 != 0) {
        dlcsim_fail("dlc_put_pair_f32: the address is no multiple of 8");
    }
    dlcsim_touch(p, 8, 1);
    p[0] = x;
    p[1] = y;
}

/* ---- copies from global to shared memory that finish later */

DLC_INLINE void dlc_copy16_async(void *shared, const void *global) {
    dlcsim_copy_async(shared, global, 16);
}
DLC_INLINE void dlc_copy4_async(void *shared, const void *global) {
    dlcsim_copy_async(shared, global, 4);
}
DLC_INLINE void dlc_copy16_async_if(void *shared, const void *global, bool inside) {
    if (inside) {
        dlcsim_copy_async(shared, global, 16);
    } else {
        dlcsim_store(shared, dlc_i32x4{{0, 0, 0, 0}});
    }
}
DLC_INLINE void dlc_copy4_async_if(void *shared, const void *global, bool inside) {
    if (inside) {
        dlcsim_copy_async(shared, global, 4);
    } else {
        dlcsim_touch(shared, 4, 1);
        __builtin_memset(shared, 0, 4);
    }
}
DLC_INLINE void dlc_copy_commit() {
    dlcsim_copy_commit();
}
DLC_INLINE void dlc_copy_wait_0() {
    dlcsim_copy_wait(0);
}
DLC_INLINE void dlc_copy_wait_1() {
    dlcsim_copy_wait(1);
}
DLC_INLINE void dlc_copy_wait_2() {
    dlcsim_copy_wait(2);
}

/* ---- matrix fragments: the last lane to come does the work of all */

DLC_INLINE float dlc_soft_f16_to_f32(unsigned short h);

struct dlcsim_rows {
    unsigned *to;
    const unsigned short *row;
};
DLCSIM_QUIET void dlcsim_ldmatrix_meet(void *const *values, bool transposed) {
    for (int lane = 0; lane < 32; lane++) {
        for (int m = 0; m < 4; m++) {
            unsigned short pair[2];
            for (int i = 0; i < 2; i++) {
                int row = transposed ? 2 * (lane % 4) + i : lane / 4;
                int column = transposed ? lane / 4 : 2 * (lane % 4) + i;
                pair[i] = ((dlcsim_rows *)values[8 * m + row])->row[column];
            }
            ((dlcsim_rows *)values[lane])->to[m] = pair[0] | (unsigned)pair[1] << 16;
        }
    }
}
DLCSIM_QUIET void dlcsim_ldmatrix_plain(void *const *values, unsigned) {
    dlcsim_ldmatrix_meet(values, false);
}
DLCSIM_QUIET void dlcsim_ldmatrix_transposed(void *const *values, unsigned) {
    dlcsim_ldmatrix_meet(values, true);
}
DLCSIM_QUIET void dlc_ldmatrix_x4(unsigned *to, const unsigned short *row, DLCSIM_HERE) {
    dlcsim_rows rows = {to, row};
    dlcsim_touch(row, 16, 0);
    dlcsim_warp(0xffffffffu, "dlc_ldmatrix_x4", line, &rows, dlcsim_ldmatrix_plain);
}
DLCSIM_QUIET void dlc_ldmatrix_x4_trans(unsigned *to, const unsigned short *row, DLCSIM_HERE) {
    dlcsim_rows rows = {to, row};
    dlcsim_touch(row, 16, 0);
    dlcsim_warp(0xffffffffu, "dlc_ldmatrix_x4_trans", line, &rows, dlcsim_ldmatrix_transposed);
}

struct dlcsim_mma {
    float *c;
    const void *a, *b;
};
enum { DLCSIM_F16, DLCSIM_BF16 };
DLCSIM_QUIET float dlcsim_half(unsigned pair, int which, int type) {
    unsigned short h = (unsigned short)(which ? pair >> 16 : pair);
    return type == DLCSIM_F16 ? dlc_soft_f16_to_f32(h) : dlc_f32_of_bits((int)((unsigned)h << 16));
}
/* Products are exact, their sum with c is rounded once. */
DLCSIM_QUIET void dlcsim_mma16(void *const *values, int type) {
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; lane++) {
        const dlcsim_mma *mma = (const dlcsim_mma *)values[lane];
        for (int r = 0; r < 4; r++) {
            for (int h = 0; h < 2; h++) {
                a[lane / 4 + (r & 1) * 8][2 * (lane % 4) + h + (r >> 1) * 8] =
                    dlcsim_half(((const unsigned *)mma->a)[r], h, type);
            }
        }
        for (int r = 0; r < 2; r++) {
            for (int h = 0; h < 2; h++) {
                b[2 * (lane % 4) + h + r * 8][lane / 4] =
                    dlcsim_half(((const unsigned *)mma->b)[r], h, type);
            }
        }
    }
    for (int lane = 0; lane < 32; lane++) {
        float *c = ((const dlcsim_mma *)values[lane])->c;
        for (int i = 0; i < 4; i++) {
            int row = lane / 4 + (i >> 1) * 8, column = 2 * (lane % 4) + (i & 1);
            double sum = c[i];
            for (int k = 0; k < 16; k++) {
                sum += (double)a[row][k] * (double)b[k][column];
            }
            c[i] = (float)sum;
        }
    }
}
DLCSIM_QUIET void dlcsim_mma_f16_meet(void *const *values, unsigned) {
    dlcsim_mma16(values, DLCSIM_F16);
}
DLCSIM_QUIET void dlc_mma_f16(float *c, const unsigned *a, const unsigned *b, DLCSIM_HERE) {
    dlcsim_mma mma = {c, a, b};
    dlcsim_warp(0xffffffffu, "dlc_mma_f16", line, &mma, dlcsim_mma_f16_meet);
}
#if __CUDA_ARCH__ >= 800
DLCSIM_QUIET void dlcsim_mma_bf16_meet(void *const *values, unsigned) {
    dlcsim_mma16(values, DLCSIM_BF16);
}
DLCSIM_QUIET void dlc_mma_bf16(float *c, const unsigned *a, const unsigned *b, DLCSIM_HERE) {
    dlcsim_mma mma = {c, a, b};
    dlcsim_warp(0xffffffffu, "dlc_mma_bf16", line, &mma, dlcsim_mma_bf16_meet);
}
DLCSIM_QUIET float dlcsim_tf32(float x) {
    return dlc_f32_of_bits(dlc_bits_f32(x) & ~0x1fff);
}
DLCSIM_QUIET void dlcsim_mma_tf32_meet(void *const *values, unsigned) {
    float a[16][8], b[8][8];
    for (int lane = 0; lane < 32; lane++) {
        const dlcsim_mma *mma = (const dlcsim_mma *)values[lane];
        for (int r = 0; r < 4; r++) {
            a[lane / 4 + (r & 1) * 8][lane % 4 + (r >> 1) * 4] =
                dlcsim_tf32(((const float *)mma->a)[r]);
        }
        for (int r = 0; r < 2; r++) {
            b[lane % 4 + r * 4][lane / 4] = dlcsim_tf32(((const float *)mma->b)[r]);
        }
    }
    for (int lane = 0; lane < 32; lane++) {
        float *c = ((const dlcsim_mma *)values[lane])->c;
        for (int i = 0; i < 4; i++) {
            int row = lane / 4 + (i >> 1) * 8, column = 2 * (lane % 4) + (i & 1);
            double sum = c[i];
            for (int k = 0; k < 8; k++) {
                sum += (double)a[row][k] * (double)b[k][column];
            }
            c[i] = (float)sum;
        }
    }
}
DLCSIM_QUIET void dlc_mma_tf32(float *c, const float *a, const float *b, DLCSIM_HERE) {
    dlcsim_mma mma = {c, a, b};
    dlcsim_warp(0xffffffffu, "dlc_mma_tf32", line, &mma, dlcsim_mma_tf32_meet);
}
#endif

/* ---- faults: the threads of all blocks may write here, the first one wins */

DLCSIM_QUIET void dlc_fault_set(DlcFault *fault, long long site, long long value, long long bound) {
    dlcsim_atomic(fault, sizeof *fault);
    if (fault->site == 0) {
        fault->site = site + 1;
        fault->value = value;
        fault->bound = bound;
    }
}

/* ---- how the simulator calls a kernel */

struct dlcsim_size_list {
    unsigned at[257];
};
template <class... A> constexpr dlcsim_size_list dlcsim_sizes(void (*)(A...)) {
    return dlcsim_size_list{{(unsigned)sizeof(A)..., 0}};
}
template <int... I> struct dlcsim_list {};
template <class... A, int... I>
DLCSIM_QUIET void dlcsim_call_with(void (*kernel)(A...), void *const *values, dlcsim_list<I...>) {
    kernel(*(A *)values[I]...);
}
template <class... A> DLCSIM_QUIET void dlcsim_call(void (*kernel)(A...), void *const *values) {
    dlcsim_call_with(kernel, values, dlcsim_list<__integer_pack((int)sizeof...(A))...>());
}
#define DLCSIM_KERNEL(NAME)                                                                        \
    extern "C"                                                                                     \
        __attribute__((no_sanitize("thread"))) void dlcsim_call_##NAME(void *const *values) {      \
        dlcsim_call(NAME, values);                                                                 \
    }                                                                                              \
    extern "C" const dlcsim_size_list dlcsim_sizes_##NAME = dlcsim_sizes(NAME);
