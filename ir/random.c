/* The random numbers of random_uniform: Philox4x32-10 as laid down in interp.h. */
#include "ir/interp.h"

void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static uint32_t low_word(int64_t value) {
    return (uint32_t)((uint64_t)value & 0xFFFFFFFFu);
}

static uint32_t high_word(int64_t value) {
    return (uint32_t)((uint64_t)value >> 32);
}

double random_uniform_at(int64_t seed, int64_t step, int64_t site, int64_t iteration, int64_t flat,
                         DType dtype) {
    int64_t per_block = dtype == DT_F64 ? 2 : 4;
    int64_t block = flat / per_block, lane = flat % per_block;
    uint32_t counter[4] = {low_word(block), high_word(block) ^ low_word(iteration), low_word(site),
                           low_word(step)};
    uint32_t key[2] = {low_word(seed) ^ high_word(site), high_word(seed) ^ high_word(step)};
    uint32_t word[4];
    philox(counter, key, word);
    switch (dtype) {
    case DT_F64: {
        uint64_t wide = (uint64_t)word[2 * lane] << 32 | word[2 * lane + 1];
        return (double)(wide >> 11) * 0x1p-53;
    }
    case DT_F16:
        return (double)(word[lane] >> 21) * 0x1p-11;
    case DT_BF16:
        return (double)(word[lane] >> 24) * 0x1p-8;
    default:
        return (double)(word[lane] >> 8) * 0x1p-24;
    }
}
