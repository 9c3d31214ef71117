/* The text of sizes, printed and parsed back to the same pointer:
 *     sum = ["-"] term { ("+" | "-") term };   term = factor { "*" factor }
 *     factor = integer | dim | ("floordiv" | "mod" | "min" | "max" | "cdiv") "(" sum "," sum ")"
 *            | "(" sum ")" */
#include "ir/size_impl.h"

static void atom_print(const Atom *atom, bool whole, Str *out) {
    static const char *const names[] = {[ATOM_DIM] = "",
                                        [ATOM_FLOORDIV] = "floordiv",
                                        [ATOM_MOD] = "mod",
                                        [ATOM_MIN] = "min",
                                        [ATOM_MAX] = "max"};
    if (atom->kind == ATOM_DIM) {
        if (whole || atom->dim->divisor <= 1) {
            str_add(out, atom->dim->name);
        } else {
            str_addf(out, "floordiv(%s, %lld)", atom->dim->name, (long long)atom->dim->divisor);
        }
        return;
    }
    str_addf(out, "%s(", names[atom->kind]);
    size_print(atom->a, out);
    str_add(out, ", ");
    size_print(atom->b, out);
    str_add_char(out, ')');
}

void size_print(const Size *size, Str *out) {
    if (size->error) {
        str_add(out, "<too large>");
        return;
    }
    if (size->n_terms == 0) {
        str_add_char(out, '0');
    }
    for (int32_t i = 0; i < size->n_terms; i++) {
        const Term *term = &size->terms[i];
        bool whole[SIZE_MAX_DEGREE];
        int64_t coeff = term_whole_dims(term, whole);
        if (i > 0) {
            str_add(out, coeff < 0 ? " - " : " + ");
        } else if (coeff < 0) {
            str_add_char(out, '-');
        }
        uint64_t amount = coeff < 0 ? 0 - (uint64_t)coeff : (uint64_t)coeff;
        bool shown = amount != 1 || term->mono->n_atoms == 0;
        if (shown) {
            str_addf(out, "%llu", (unsigned long long)amount);
        }
        for (int32_t j = 0; j < term->mono->n_atoms; j++) {
            if (shown || j > 0) {
                str_add_char(out, '*');
            }
            atom_print(term->mono->atoms[j], whole[j], out);
        }
    }
}

const char *size_text(Context *context, const Size *size) {
    dlc_allocator hooks = arena_hooks(&context->arena);
    Str text;
    str_init(&text, &hooks);
    size_print(size, &text);
    return context_intern(context, str_text(&text));
}

/* -- Parsing */

typedef struct SizeParser {
    Context *context;
    const char *at;
    const Dim *const *dims;
    int32_t n_dims;
    int depth;
} SizeParser;

static const Size *parse_sum(SizeParser *parser);

static void skip_spaces(SizeParser *parser) {
    while (*parser->at == ' ' || *parser->at == '\t') {
        parser->at++;
    }
}

/* Consumes `c` and the spaces before it; leaves the place alone if it is not there. */
static bool take(SizeParser *parser, char c) {
    const char *before = parser->at;
    skip_spaces(parser);
    if (*parser->at == c) {
        parser->at++;
        return true;
    }
    parser->at = before;
    return false;
}

static bool is_name_char(char c, bool first) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' ||
                  (unsigned char)c >= 0x80;
    return letter || (!first && ((c >= '0' && c <= '9') || c == '.' || c == '\'' || c == '#'));
}

size_t size_name_length(const char *text) {
    size_t length = 0;
    while (is_name_char(text[length], length == 0)) {
        length++;
    }
    return length;
}

static const Size *parse_integer(SizeParser *parser, bool negative) {
    int64_t value = 0; /* built negative, whose range is the larger */
    for (; *parser->at >= '0' && *parser->at <= '9'; parser->at++) {
        if (!checked_mul(value, 10, &value) || !checked_sub(value, *parser->at - '0', &value)) {
            return NULL;
        }
    }
    if (!negative && !checked_sub(0, value, &value)) {
        return NULL;
    }
    return size_const(parser->context, value);
}

static const Size *parse_call(SizeParser *parser, const char *name, size_t length) {
    static const char *const names[] = {"floordiv", "mod", "min", "max", "cdiv"};
    Context *context = parser->context;
    size_t which = 0;
    while (which < 5 &&
           (strlen(names[which]) != length || memcmp(name, names[which], length) != 0)) {
        which++;
    }
    if (which == 5) {
        parser->at = name;
        return NULL;
    }
    const Size *a = parse_sum(parser);
    if (!a || !take(parser, ',')) {
        return NULL;
    }
    const Size *b = parse_sum(parser);
    if (!b || !take(parser, ')')) {
        return NULL;
    }
    int64_t zero;
    if ((which < 2 || which == 4) && size_is_const(b, &zero) && zero == 0) {
        parser->at = name;
        return NULL;
    }
    switch (which) {
    case 0:
        return size_floordiv_any(context, a, b);
    case 1:
        return size_mod_any(context, a, b);
    case 2:
        return size_min(context, a, b);
    case 3:
        return size_max(context, a, b);
    default:
        return size_cdiv(context, a, b);
    }
}

static const Size *parse_name(SizeParser *parser) {
    const char *name = parser->at;
    size_t length = size_name_length(name);
    parser->at += length;
    if (take(parser, '(')) {
        return parse_call(parser, name, length);
    }
    for (int32_t i = 0; i < parser->n_dims; i++) {
        const char *known = parser->dims[i] ? parser->dims[i]->name : "";
        if (strlen(known) == length && memcmp(known, name, length) == 0) {
            return size_dim(parser->context, parser->dims[i]);
        }
    }
    parser->at = name;
    return NULL;
}

static const Size *parse_factor(SizeParser *parser, bool negative, bool *out_signed) {
    *out_signed = false;
    skip_spaces(parser);
    if (*parser->at >= '0' && *parser->at <= '9') {
        *out_signed = negative;
        return parse_integer(parser, negative);
    }
    if (is_name_char(*parser->at, true)) {
        return parse_name(parser);
    }
    if (take(parser, '(')) {
        const Size *inside = parse_sum(parser);
        return inside && take(parser, ')') ? inside : NULL;
    }
    return NULL;
}

static const Size *parse_term(SizeParser *parser, bool negative) {
    bool was_signed, ignored;
    const Size *product = parse_factor(parser, negative, &was_signed);
    while (product && take(parser, '*')) {
        const Size *factor = parse_factor(parser, false, &ignored);
        product = factor ? size_mul(parser->context, product, factor) : NULL;
    }
    return product && negative && !was_signed ? size_scale(parser->context, product, -1) : product;
}

static const Size *parse_sum(SizeParser *parser) {
    if (parser->depth == 2 * SIZE_MAX_DEPTH) {
        return NULL;
    }
    parser->depth++;
    const Size *sum = parse_term(parser, take(parser, '-'));
    while (sum) {
        bool minus = take(parser, '-');
        if (!minus && !take(parser, '+')) {
            break;
        }
        const Size *term = parse_term(parser, minus);
        sum = term ? size_add(parser->context, sum, term) : NULL;
    }
    parser->depth--;
    return sum;
}

const Size *size_parse(Context *context, const char *text, const Dim *const *dims, int32_t n_dims,
                       const char **out_end) {
    SizeParser parser = {.context = context, .at = text, .dims = dims, .n_dims = n_dims};
    const Size *size = parse_sum(&parser);
    *out_end = parser.at;
    return size;
}
