/* Random numbers and half-precision conversions for kernels: the same bits as ir/random.c, and what
 * processors without F16C lack. */
#include "codegen/cpu/vecmath.h"

typedef struct Words {
    uint32_t w[4];
} Words;

/* Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011) */
INLINE Words philox(int64_t seed, int64_t step, int64_t site, int64_t iteration, int64_t block) {
    uint32_t c0 = (uint32_t)block, c1 = (uint32_t)((uint64_t)block >> 32) ^ (uint32_t)iteration;
    uint32_t c2 = (uint32_t)site, c3 = (uint32_t)step;
    uint32_t k0 = (uint32_t)seed ^ (uint32_t)((uint64_t)site >> 32);
    uint32_t k1 = (uint32_t)((uint64_t)seed >> 32) ^ (uint32_t)((uint64_t)step >> 32);
#pragma clang loop unroll(full)
    for (int i = 0; i < 10; i++) {
        uint64_t p0 = (uint64_t)c0 * 0xD2511F53u, p1 = (uint64_t)c2 * 0xCD9E8D57u;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (Words){{c0, c1, c2, c3}};
}

INLINE uint32_t word_at(int64_t seed, int64_t step, int64_t site, int64_t iteration, int64_t flat) {
    Words words = philox(seed, step, site, iteration, flat >> 2);
    uint32_t low = flat & 1 ? words.w[1] : words.w[0];
    uint32_t high = flat & 1 ? words.w[3] : words.w[2];
    return flat & 2 ? high : low;
}

float dlc_uniform_f32(int64_t seed, int64_t step, int64_t site, int64_t iteration, int64_t flat) {
    return (float)(int32_t)(word_at(seed, step, site, iteration, flat) >> 8) * 0x1p-24f;
}

float dlc_uniform_f16(int64_t seed, int64_t step, int64_t site, int64_t iteration, int64_t flat) {
    return (float)(int32_t)(word_at(seed, step, site, iteration, flat) >> 21) * 0x1p-11f;
}

float dlc_uniform_bf16(int64_t seed, int64_t step, int64_t site, int64_t iteration, int64_t flat) {
    return (float)(int32_t)(word_at(seed, step, site, iteration, flat) >> 24) * 0x1p-8f;
}

double dlc_uniform_f64(int64_t seed, int64_t step, int64_t site, int64_t iteration, int64_t flat) {
    Words words = philox(seed, step, site, iteration, flat >> 1);
    uint32_t high = flat & 1 ? words.w[2] : words.w[0];
    uint32_t low = flat & 1 ? words.w[3] : words.w[1];
    double top = (double)(int32_t)(high >> 5),
           rest = (double)(int32_t)((high & 31) << 21 | low >> 11);
    return top * 0x1p-27 + rest * 0x1p-53;
}

/* Subnormal halves are scaled up by a multiplication; infinities and nans get f32's exponent. */
float dlc_f16_to_f32(uint16_t h) {
    int32_t sign = (int32_t)(h & 0x8000u) << 16, body = (int32_t)(h & 0x7fffu) << 13;
    float normal = float_of(body) * 0x1p112f;
    int32_t special = (h & 0x7c00u) == 0x7c00u;
    int32_t bits = special ? (body | 0x7f800000) : bits32(normal);
    return float_of(bits | sign);
}

/* Round to nearest, ties to even. Normal results add half of the last place to the bits; subnormal
 * ones let an addition of 0.5 align and round them. */
uint16_t dlc_f32_to_f16(float x) {
    int32_t bits = bits32(x), a = bits & 0x7fffffff;
    int32_t normal = (a - (112 << 23) + 0xfff + ((a >> 13) & 1)) >> 13;
    int32_t small = bits32(float_of(a) + 0.5f) - bits32(0.5f);
    int32_t h = a < (113 << 23) ? small : normal;
    h = a >= (143 << 23) ? 0x7c00 : h;
    h = a > 0x7f800000 ? 0x7e00 : h;
    return (uint16_t)(h | ((bits >> 16) & 0x8000));
}
