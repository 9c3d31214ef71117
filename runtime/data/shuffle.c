/* Seeded permutations (shuffle.h). splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom
 * number generators", 2014. Bounded draws without bias: Lemire, "Fast random integer generation in
 * an interval", 2019. */
#include "runtime/data/shuffle.h"

static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t draw(uint64_t *state) {
    return mix(*state += 0x9e3779b97f4a7c15u);
}

static uint64_t draw_below(uint64_t *state, uint64_t bound) {
    unsigned __int128 product = (unsigned __int128)draw(state) * bound;
    if ((uint64_t)product < bound) {
        uint64_t threshold = (0 - bound) % bound;
        while ((uint64_t)product < threshold) {
            product = (unsigned __int128)draw(state) * bound;
        }
    }
    return (uint64_t)(product >> 64);
}

void shuffle_permutation(uint64_t seed, uint64_t epoch, int64_t count, int64_t *out) {
    uint64_t state = mix(seed + 0x9e3779b97f4a7c15u) ^ mix(~epoch);
    for (int64_t i = 0; i < count; i++) {
        int64_t j = (int64_t)draw_below(&state, (uint64_t)i + 1);
        out[i] = out[j];
        out[j] = i;
    }
}
