/* A growing text buffer. Used on both sides: failure is sticky (`failed`), never a jump. */
#ifndef DLC_IR_BASE_STR_H
#define DLC_IR_BASE_STR_H

#include "dlc/dlc.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Str {
    const dlc_allocator *allocator; /* NULL: malloc and free */
    char *text;                     /* always NUL-terminated once anything was added */
    size_t length, capacity;
    bool failed; /* out of memory at some point: text is incomplete */
} Str;

void str_init(Str *str, const dlc_allocator *allocator);
void str_finish(Str *str);
void str_clear(Str *str);
void str_add(Str *str, const char *text);
void str_add_bytes(Str *str, const void *bytes, size_t length);
void str_add_char(Str *str, char c);
void str_addf(Str *str, const char *format, ...) __attribute__((format(printf, 2, 3)));
void str_vaddf(Str *str, const char *format, va_list args);
/* The shortest decimal form that reads back to the same double ("1.0", "0.1", "inf", "nan"). */
void str_add_double(Str *str, double value);
const char *str_text(const Str *str); /* "" when empty */

/* 64-bit hash of bytes, stable over machines and versions (used for kernel identity, RNG sites). */
uint64_t hash_bytes(const void *bytes, size_t length, uint64_t seed);
/* Edit distance for "did you mean"; at most `limit`, else limit + 1. */
int edit_distance(const char *a, const char *b, int limit);

#endif
