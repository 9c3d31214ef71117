/* Arithmetic that says when it would overflow, and the floor conventions of sizes. */
#ifndef DLC_IR_BASE_CHECKED_H
#define DLC_IR_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* false when the result does not fit; *out is then unspecified. */
static inline bool checked_add(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_add_overflow(a, b, out);
}
static inline bool checked_sub(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_sub_overflow(a, b, out);
}
static inline bool checked_mul(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool checked_mul_size(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool checked_add_size(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}
/* The multiple of `divisor` (1 or more) at or above `value`, or the one below it where the next
 * lies beyond `high`; 0 <= value <= high. */
static inline int64_t multiple_within(int64_t value, int64_t divisor, int64_t high) {
    int64_t rest = value % divisor;
    bool up = rest > 0 && divisor - rest <= high - value;
    return up ? value + (divisor - rest) : value - rest;
}
/* The least multiple of `unit` (1 or more) at or above `value` >= 0; the result fits. */
static inline int64_t round_up(int64_t value, int64_t unit) {
    return (value + unit - 1) / unit * unit;
}
/* Floor division and the modulus with the divisor's sign; b != 0 and not INT64_MIN / -1. */
static inline int64_t floor_div(int64_t a, int64_t b) {
    int64_t q = a / b;
    return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}
static inline int64_t floor_mod(int64_t a, int64_t b) {
    int64_t rest = a % b; /* by the quotient it would overflow where b is large */
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

#endif
