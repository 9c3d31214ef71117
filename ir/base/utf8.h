/* UTF-8, where texts from outside are read or shown. */
#ifndef DLC_IR_BASE_UTF8_H
#define DLC_IR_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { UTF8_SHOWN_BYTES = 16 };

/* Bytes of the well-formed UTF-8 character at `at` (no overlong forms, no surrogates); 0: there is
 * none. */
static inline size_t utf8_length(const unsigned char *at, size_t left) {
    size_t length = at[0] < 0x80 ? 1 : at[0] < 0xC2 ? 0 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;
    if (length > left || at[0] > 0xF4) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xF0 && at[1] < 0x90);
    bool beyond = (at[0] == 0xED && at[1] > 0x9F) || (at[0] == 0xF4 && at[1] > 0x8F);
    return overlong || beyond ? 0 : length;
}

/* Whether the well-formed character at `at` is a control character of ASCII or of ISO 6429, which a
 * terminal may obey. */
static inline bool utf8_is_control(const unsigned char *at) {
    return at[0] < 0x20 || at[0] == 0x7f || (at[0] == 0xC2 && at[1] < 0xA0);
}

/* The first character of a text from outside, as messages show it: control characters and what is
 * no UTF-8 as their bytes ("\x1b"), a line break as "\n". A line break stays one before a blank,
 * as in lists, where `has_lines`. Returns the bytes that were read, of `left`, which is not 0. */
static inline size_t utf8_shown(const char *text, size_t left, bool has_lines,
                                char out[UTF8_SHOWN_BYTES]) {
    const unsigned char *from = (const unsigned char *)text;
    size_t n = utf8_length(from, left);
    bool stays = has_lines && left > 1 && from[0] == '\n' && from[1] == ' ';
    if (stays || (n > 0 && !utf8_is_control(from))) {
        memcpy(out, from, n);
        out[n] = '\0';
    } else if (from[0] == '\n') {
        memcpy(out, "\\n", 3);
    } else if (n > 1) {
        snprintf(out, UTF8_SHOWN_BYTES, "\\x%02x\\x%02x", from[0], from[1]);
    } else {
        n = 1;
        snprintf(out, UTF8_SHOWN_BYTES, "\\x%02x", from[0]);
    }
    return n;
}

/* Question marks in place of ASCII's control characters: what a text holds must not steer the
 * terminal that shows it. */
static inline void utf8_blank_controls(char *text) {
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            *text = '?';
        }
    }
}

#endif
