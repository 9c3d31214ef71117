/* Numbers as text and back in the C locale (number.h). A host under a locale with decimal commas
 * must neither see them in what the library writes nor have it read "0.5" as 0. */
#include "ir/base/number.h"

#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The C locale for this thread until plain_end. The library of the system lends the one object that
 * it has of it, so nothing is allocated. */
static locale_t plain_begin(locale_t *out_before) {
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    *out_before = plain ? uselocale(plain) : (locale_t)0;
    return plain;
}

static void plain_end(locale_t plain, locale_t before) {
    if (plain) {
        uselocale(before);
        freelocale(plain);
    }
}

/* The values that have no digits. */
static bool special(double value, NumberText *out) {
    const char *text = isnan(value) ? "nan" : isinf(value) ? value < 0 ? "-inf" : "inf" : NULL;
    if (text) {
        memcpy(out->text, text, strlen(text) + 1);
    }
    return text != NULL;
}

static NumberText plain_text(const char *format, int digits, double value) {
    NumberText out = {.text = ""};
    if (special(value, &out)) {
        return out;
    }
    locale_t before, plain = plain_begin(&before);
    snprintf(out.text, sizeof(out.text), format, digits, value);
    plain_end(plain, before);
    return out;
}

NumberText number_text(double value, int digits) {
    return plain_text("%.*g", digits, value);
}

NumberText number_fixed(double value, int decimals) {
    return fabs(value) < 1e24 ? plain_text("%.*f", decimals, value) : number_text(value, 17);
}

NumberText number_shortest(double value) {
    NumberText out = {.text = ""};
    if (special(value, &out)) {
        return out;
    }
    locale_t before, plain = plain_begin(&before);
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out.text, sizeof(out.text), "%.*g", digits, value);
        double back = strtod(out.text, NULL);
        if (memcmp(&back, &value, sizeof(back)) == 0) {
            break;
        }
    }
    plain_end(plain, before);
    return out;
}

NumberText number_amount(double bytes) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    while (bytes >= 1024 && unit < 4) {
        bytes /= 1024;
        unit++;
    }
    NumberText out = number_fixed(bytes, unit == 0 ? 0 : 2);
    size_t length = strlen(out.text);
    snprintf(out.text + length, sizeof(out.text) - length, " %s", units[unit]);
    return out;
}

double number_scan(const char *text, char **out_end) {
    locale_t before, plain = plain_begin(&before);
    double value = strtod(text, out_end);
    plain_end(plain, before);
    return value;
}

bool number_parse(const char *text, size_t length, double *out) {
    char small[512];
    if (length == 0 || length >= sizeof(small) || text[0] == ' ' ||
        (text[0] >= '\t' && text[0] <= '\r')) {
        return false;
    }
    memcpy(small, text, length);
    small[length] = '\0';
    char *end;
    double value = number_scan(small, &end);
    bool beyond = isinf(value) && strpbrk(small, "0123456789"); /* "1e400", not "inf" */
    if (end != small + length || beyond) {
        return false;
    }
    *out = value;
    return true;
}

bool number_whole(double value, long long *out) {
    if (!(value >= -0x1p63 && value < 0x1p63) || value != trunc(value)) {
        return false;
    }
    *out = (long long)value;
    return true;
}
