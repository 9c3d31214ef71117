/* Text buffers with a sticky failure flag, and the stable hash (str.h). */
#include "ir/base/str.h"
#include "ir/base/memory.h"
#include "ir/base/number.h"

#include <stdio.h>
#include <string.h>

void str_init(Str *str, const dlc_allocator *allocator) {
    *str = (Str){.allocator = allocator};
}

void str_finish(Str *str) {
    raw_free(str->allocator, str->text);
    str_init(str, str->allocator);
}

void str_clear(Str *str) {
    str->length = 0;
    str->failed = false;
    if (str->text) {
        str->text[0] = '\0';
    }
}

/* Room for `extra` more bytes and the NUL. */
static bool str_reserve(Str *str, size_t extra) {
    if (str->failed) {
        return false;
    }
    if (extra >= SIZE_MAX / 4 - str->length) {
        str->failed = true;
        return false;
    }
    size_t needed = str->length + extra + 1;
    if (needed <= str->capacity) {
        return true;
    }
    size_t capacity = str->capacity < 64 ? 64 : str->capacity;
    while (capacity < needed) {
        capacity *= 2;
    }
    char *text = raw_alloc(str->allocator, capacity);
    if (!text) {
        str->failed = true;
        return false;
    }
    if (str->length) {
        memcpy(text, str->text, str->length);
    }
    text[str->length] = '\0';
    raw_free(str->allocator, str->text);
    str->text = text;
    str->capacity = capacity;
    return true;
}

void str_add_bytes(Str *str, const void *bytes, size_t length) {
    if (!str_reserve(str, length)) {
        return;
    }
    if (length) {
        memcpy(str->text + str->length, bytes, length);
    }
    str->length += length;
    str->text[str->length] = '\0';
}

void str_add(Str *str, const char *text) {
    str_add_bytes(str, text, strlen(text));
}

void str_add_char(Str *str, char c) {
    str_add_bytes(str, &c, 1);
}

void str_vaddf(Str *str, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) {
        str->failed = true;
        return;
    }
    if (!str_reserve(str, (size_t)length)) {
        return;
    }
    vsnprintf(str->text + str->length, (size_t)length + 1, format, args);
    str->length += (size_t)length;
}

void str_addf(Str *str, const char *format, ...) {
    va_list args;
    va_start(args, format);
    str_vaddf(str, format, args);
    va_end(args);
}

const char *str_text(const Str *str) {
    return str->text ? str->text : "";
}

void str_add_double(Str *str, double value) {
    NumberText number = number_shortest(value);
    str_add(str, number.text);
    if (!strpbrk(number.text, ".en")) {
        str_add(str, ".0");
    }
}

/* FNV-1a over the bytes, then the finaliser of MurmurHash3, so that low bits are usable. */
uint64_t hash_bytes(const void *bytes, size_t length, uint64_t seed) {
    const unsigned char *at = bytes;
    uint64_t hash = 0xcbf29ce484222325u ^ (seed * 0x9e3779b97f4a7c15u);
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ at[i]) * 0x100000001b3u;
    }
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdu;
    hash ^= hash >> 33;
    hash *= 0xc4ceb9fe1a85ec53u;
    return hash ^ (hash >> 33);
}

/* One row of the dynamic-programming table at a time; names longer than the row are never near. */
int edit_distance(const char *a, const char *b, int limit) {
    enum { LONGEST = 63 };
    size_t n_a = strlen(a), n_b = strlen(b);
    if (n_a > LONGEST || n_b > LONGEST) {
        return strcmp(a, b) == 0 ? 0 : limit + 1;
    }
    int row[LONGEST + 1];
    for (size_t j = 0; j <= n_b; j++) {
        row[j] = (int)j;
    }
    for (size_t i = 1; i <= n_a; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= n_b; j++) {
            int changed = diagonal + (a[i - 1] != b[j - 1]);
            int best = changed < row[j] + 1 ? changed : row[j] + 1;
            diagonal = row[j];
            row[j] = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
        }
    }
    return row[n_b] <= limit ? row[n_b] : limit + 1;
}
