/* Kernels over the prelude's primitives that no element-by-element kernel can show (intrinsics.txt). As
 * generated text they hold nothing but plain CUDA C and calls of the prelude. */

KERNEL(96) place(long long tiles, long long *out) {
    for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {
        out[tile * 96 + dlc_thread()] =
            tile * 1000000 + (tile - dlc_block()) % dlc_blocks() * 1000 + dlc_thread();
    }
}

/* Every thread reads what another warp wrote, then what another lane wrote. */
KERNEL(128) shared(long long tiles, const int *in, int *out) {
    int *block = (int *)dlc_shared(), at = dlc_thread();
    for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {
        block[at] = in[tile * 128 + at];
        dlc_sync();
        int other = block[(at + 37) % 128];
        block[128 + at] = other * 3;
        dlc_sync_warp();
        out[tile * 128 + at] = block[128 + (at ^ 5)] - other;
        dlc_sync();
    }
}

/* Three groups of copies in flight, each waited for when the next ones still run. */
KERNEL(64) copy_async(long long tiles, const int *in, int *out) {
    int *block = (int *)dlc_shared(), at = dlc_thread();
    for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {
        const int *from = in + tile * 768;
        int *to = out + tile * 768;
        for (int group = 0; group < 3; group++) {
            if (group == 1) {
                for (int i = 0; i < 4; i++) {
                    dlc_copy4_async(block + 256 + i * 64 + at, from + 256 + i * 64 + at);
                }
            } else {
                dlc_copy16_async(block + group * 256 + at * 4, from + group * 256 + at * 4);
            }
            dlc_copy_commit();
        }
        for (int group = 0; group < 3; group++) {
            if (group == 0) {
                dlc_copy_wait_2();
            } else if (group == 1) {
                dlc_copy_wait_1();
            } else {
                dlc_copy_wait_0();
            }
            dlc_sync();
            for (int i = 0; i < 4; i++) {
                to[group * 256 + i * 64 + at] = block[group * 256 + i * 64 + (63 - at)];
            }
        }
        dlc_sync();
    }
}

/* What is not copied is zero; 16 bytes a thread, then 4 words. */
KERNEL(64) copy_if(long long tiles, const int *in, int *out) {
    int *block = (int *)dlc_shared(), at = dlc_thread();
    for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {
        const int *from = in + tile * 512;
        dlc_copy16_async_if(block + at * 4, from + at * 4, at % 3 != 1);
        for (int i = 0; i < 4; i++) {
            int place = 256 + i * 64 + at;
            dlc_copy4_async_if(block + place, from + place, (at + i) % 5 != 2);
        }
        dlc_copy_commit();
        dlc_copy_wait_0();
        dlc_sync();
        for (int i = 0; i < 8; i++) {
            out[tile * 512 + i * 64 + at] = block[i * 64 + (63 - at)];
        }
        dlc_sync();
    }
}

KERNEL(64) copy16(long long tiles, const int *in, int *out) {
    for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {
        const int *from = in + (tile * 64 + dlc_thread()) * 4;
        int *to = out + (tile * 64 + dlc_thread()) * 8;
        dlc_copy16(to, from);
        dlc_copy16_if(to + 4, from, dlc_thread() % 3 != 1);
    }
}

KERNEL(64) put_pair(long long tiles, const float *in, float *out) {
    for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {
        long long at = tile * 128 + 2 * dlc_thread();
        dlc_put_pair_f32(out + at, in[at + 1], in[at]);
    }
}

/* Groups of 1 to 6 members whose first tiles are known. */
KERNEL(64) group_find(long long tiles, int *out) {
    for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {
        const long long first[6] = {0, 1, 7, 8, 30, 55};
        int sum = 0;
        for (long long members = 1; members <= 6; members++) {
            sum = sum * 7 + dlc_group_find(first, members, tile * 13 + dlc_thread());
        }
        out[tile * 64 + dlc_thread()] = sum;
    }
}

KERNEL(32) aligned(long long tiles, const unsigned char *in, unsigned char *out) {
    for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {
        out[dlc_thread()] = dlc_is_aligned(in + dlc_thread());
    }
}

/* The first fault stays: all threads of both blocks report the same one, then some report others. */
KERNEL(64) fault(long long tiles, int *out, DlcFault *fault) {
    for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {
        dlc_fault_set(fault, 41, 77, 9);
        dlc_sync();
        if (dlc_thread() % 3 == 0) {
            dlc_fault_set(fault, 5 + dlc_thread(), 1, 2);
        }
        out[tile * 64 + dlc_thread()] = dlc_thread();
    }
}

/* A warp a matrix quadruple of 16 x 16 elements, rows of 32 bytes. */
#define LDMATRIX(NAME, LOAD)                                                                       \
    KERNEL(64) NAME(long long tiles, const unsigned short *in, int *out) {                         \
        unsigned short *block = (unsigned short *)dlc_shared();                                    \
        int at = dlc_thread(), warp = at / 32, lane = at % 32;                                     \
        for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {                   \
            for (int i = at; i < 512; i += 64) {                                                   \
                block[i] = in[tile * 512 + i];                                                     \
            }                                                                                      \
            dlc_sync();                                                                            \
            unsigned to[4];                                                                        \
            LOAD(to, block + warp * 256 + (lane % 16) * 16 + (lane / 16) * 8);                     \
            for (int i = 0; i < 4; i++) {                                                          \
                out[tile * 256 + at * 4 + i] = (int)to[i];                                         \
            }                                                                                      \
            dlc_sync();                                                                            \
        }                                                                                          \
    }
LDMATRIX(ldmatrix, dlc_ldmatrix_x4)
LDMATRIX(ldmatrix_trans, dlc_ldmatrix_x4_trans)

/* Each warp one product of fragments as they lie in memory, added to itself times two. */
#define MMA16(NAME, MMA)                                                                           \
    KERNEL(64) NAME(long long tiles, const unsigned short *a, const unsigned short *b, float *out) { \
        int at = dlc_thread();                                                                     \
        for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {                   \
            unsigned fa[4], fb[2];                                                                 \
            float c[4];                                                                            \
            for (int i = 0; i < 4; i++) {                                                          \
                const unsigned short *p = a + tile * 512 + at * 8 + i * 2;                         \
                fa[i] = (unsigned)p[0] | (unsigned)p[1] << 16;                                     \
                c[i] = (float)(at - i) * 0.25f;                                                    \
            }                                                                                      \
            for (int i = 0; i < 2; i++) {                                                          \
                const unsigned short *p = b + tile * 256 + at * 4 + i * 2;                         \
                fb[i] = (unsigned)p[0] | (unsigned)p[1] << 16;                                     \
            }                                                                                      \
            MMA(c, fa, fb);                                                                        \
            for (int i = 0; i < 4; i++) {                                                          \
                out[tile * 256 + at * 4 + i] = c[i];                                               \
            }                                                                                      \
        }                                                                                          \
    }
MMA16(mma_f16_whole, dlc_mma_f16)
MMA16(mma_f16_real, dlc_mma_f16)
#if __CUDA_ARCH__ >= 800
MMA16(mma_bf16_whole, dlc_mma_bf16)
MMA16(mma_bf16_real, dlc_mma_bf16)

#define MMA_TF32(NAME)                                                                             \
    KERNEL(64) NAME(long long tiles, const float *a, const float *b, float *out) {                 \
        int at = dlc_thread();                                                                     \
        for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {                   \
            float fa[4], fb[2], c[4];                                                              \
            for (int i = 0; i < 4; i++) {                                                          \
                fa[i] = a[tile * 256 + at * 4 + i];                                                \
                c[i] = (float)(at - i) * 0.25f;                                                    \
            }                                                                                      \
            for (int i = 0; i < 2; i++) {                                                          \
                fb[i] = b[tile * 128 + at * 2 + i];                                                \
            }                                                                                      \
            dlc_mma_tf32(c, fa, fb);                                                               \
            for (int i = 0; i < 4; i++) {                                                          \
                out[tile * 256 + at * 4 + i] = c[i];                                               \
            }                                                                                      \
        }                                                                                          \
    }
MMA_TF32(mma_tf32_whole)
MMA_TF32(mma_tf32_real)
#endif

/* Eight products at a time that do not wait for each other, `rounds` times: nothing but the
 * multiplier's own pace. The sums are stored so that no compiler drops them. */
#define RATE(NAME, TYPE, DEPTH_A, DEPTH_B, MMA)                                                    \
    KERNEL(256) NAME(long long tiles, float *out, long long rounds) {                                                \
        TYPE a[DEPTH_A], b[DEPTH_B];                                                               \
        float c[8][4], sum = 0;                                                                    \
        for (int i = 0; i < DEPTH_A; i++) {                                                        \
            a[i] = (TYPE)(dlc_thread() + i);                                                       \
        }                                                                                          \
        for (int i = 0; i < DEPTH_B; i++) {                                                        \
            b[i] = (TYPE)(dlc_thread() - i);                                                       \
        }                                                                                          \
        for (int i = 0; i < 32; i++) {                                                             \
            c[i / 4][i % 4] = 0;                                                                   \
        }                                                                                          \
        for (long long tile = dlc_block(); tile < tiles; tile += dlc_blocks()) {                   \
            for (long long round = 0; round < rounds; round++) {                                    \
                for (int i = 0; i < 8; i++) {                                                      \
                    MMA(c[i], a, b);                                                               \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        for (int i = 0; i < 32; i++) {                                                             \
            sum += c[i / 4][i % 4];                                                                \
        }                                                                                          \
        if (dlc_block() == 0) {                                                                    \
            out[dlc_thread()] = sum;                                                               \
        }                                                                                          \
    }
DLC_INLINE void rate_fma(float *c, const float *a, const float *b) {
    for (int i = 0; i < 4; i++) {
        c[i] = dlc_fma_f32(a[i], b[i % 2], c[i]);
    }
}
RATE(rate_f16, unsigned, 4, 2, dlc_mma_f16)
RATE(rate_f32, float, 4, 2, rate_fma)
#if __CUDA_ARCH__ >= 800
RATE(rate_bf16, unsigned, 4, 2, dlc_mma_bf16)
RATE(rate_tf32, float, 4, 2, dlc_mma_tf32)
#endif
