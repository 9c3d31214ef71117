/* Classes of characters of ASCII, which are the same in every locale of the host program; the ones
 * of <ctype.h> are not: under ISO 8859-1 an umlaut is a letter there. */
#ifndef DLC_IR_BASE_ASCII_H
#define DLC_IR_BASE_ASCII_H

#include <stdbool.h>

static inline bool ascii_is_digit(char c) {
    return c >= '0' && c <= '9';
}
static inline bool ascii_is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static inline bool ascii_is_print(char c) {
    return c >= ' ' && c <= '~';
}
/* What names are made of; a name begins with no digit. */
static inline bool ascii_is_word(char c) {
    return ascii_is_letter(c) || ascii_is_digit(c) || c == '_';
}

#endif
