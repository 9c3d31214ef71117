/* Numbers as text and back, the same in every locale of the host program: the only place of the
 * library that formats or reads a floating-point number. Both sides. */
#ifndef DLC_IR_BASE_NUMBER_H
#define DLC_IR_BASE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

/* A text by value, to be used within the expression that makes it:
 * context_log(…, "%s", number_text(x, 6).text). */
typedef struct NumberText {
    char text[48];
} NumberText;

/* At most `digits` (1 to 17) significant digits, as "%g" has it; nan without a sign. */
NumberText number_text(double value, int digits);
/* `decimals` (0 to 9) digits after the point, as "%f" has it; from 1e24 on as "%g" has it. */
NumberText number_fixed(double value, int decimals);
/* The shortest text that reads back to the same double: "0.1", "1e+30", "1"; "inf", "nan". */
NumberText number_shortest(double value);
/* An amount of memory: "12 bytes", "1.50 MiB". */
NumberText number_amount(double bytes);

/* The number at the start of a NUL-terminated text as strtod reads it in the C locale; *out_end, if
 * not NULL, is set behind it. */
double number_scan(const char *text, char **out_end);
/* Reads all `length` bytes as one double (decimal, hex float, inf, nan); false when they are
 * anything else, or a number beyond the range. No NUL needed; at most 511 bytes. */
bool number_parse(const char *text, size_t length, double *out);
/* The value as an int64, where it is whole and in range. */
bool number_whole(double value, long long *out);

#endif
