/* Names and expressions of the kernels' text form. Their types follow from what they are made of;
 * whether they fit is kernel_verify's to say. */
#include "codegen/kernel_parse.h"

#include <string.h>

enum { MOST_BRACKETS = 1000 };

bool kernel_parse_at(KernelParser *k, const char *word) {
    size_t length = strlen(word);
    return parse_at(&k->text, word) && !ascii_is_word(k->text.at[length]);
}

bool kernel_parse_numbered(KernelParser *k, char letter, int32_t limit, int32_t *out) {
    Parser *p = &k->text;
    Mark mark = parse_mark(p);
    const char *word = parse_word(p, letter == 's'   ? "a size, sN"
                                     : letter == 'l' ? "a local, lN"
                                                     : "a buffer, bN");
    if (!word) {
        return false;
    }
    int64_t number = 0;
    bool fits = word[0] == letter && word[1] != '\0' && strlen(word) < 10;
    for (const char *at = word + 1; fits && *at; at++) {
        fits = *at >= '0' && *at <= '9';
        number = number * 10 + (*at - '0');
    }
    if (!fits || number >= limit) {
        static const char *const kinds[] = {"buffer", "local", "size"};
        const char *kind = kinds[letter == 'b' ? 0 : letter == 'l' ? 1 : 2];
        diag_report(&p->context->diags, DIAG_IR_UNKNOWN_NAME, parse_place(p, mark), kind, word);
        return false;
    }
    *out = (int32_t)number;
    return true;
}

static KExpr *new_expr(KernelParser *k, KExprKind kind, DType dtype) {
    KExpr *expr = ARENA_NEW(k->arena, KExpr);
    expr->kind = kind;
    expr->dtype = dtype;
    return expr;
}

const KVar *kernel_parse_var(KernelParser *k) {
    Parser *p = &k->text;
    Mark mark = parse_mark(p);
    int32_t number = 0;
    if (!parse_value_number(p, &number)) {
        return NULL;
    }
    const KVar *var = (size_t)number < k->vars.count ? k->vars.items[number] : NULL;
    if (!var) {
        diag_report(&p->context->diags, DIAG_IR_UNDEFINED, parse_place(p, mark), (int)number);
    }
    return var;
}

static bool bad_number(Parser *p, Mark mark, const char *text) {
    diag_report(&p->context->diags, DIAG_IR_BAD_NUMBER, parse_place(p, mark), text);
    return false;
}

/* "5", "5:i32", "0.5:f32", "-inf:f64" */
static const KExpr *parse_number(KernelParser *k) {
    Parser *p = &k->text;
    Mark mark = parse_mark(p);
    const char *at = p->at + (*p->at == '-');
    bool is_whole = ascii_is_digit(*at);
    while (ascii_is_digit(*at)) {
        at++;
    }
    /* "0..4" is two numbers */
    is_whole = is_whole && *at != 'e' && *at != 'E' && !(*at == '.' && at[1] != '.');
    int64_t integer = 0;
    double real = 0;
    if (!(is_whole ? parse_int(p, &integer) : parse_double(p, &real))) {
        return NULL;
    }
    DType dtype = DT_I64;
    bool is_typed = parse_accept(p, ":");
    if (is_typed && !parse_dtype(p, &dtype)) {
        return NULL;
    }
    if (is_whole == dtype_is_float(dtype)) {
        bad_number(p, mark,
                   "the type of a number with a point is written behind it, and is a "
                   "float; of one without, it is none");
        return NULL;
    }
    KExpr *expr = new_expr(k, is_whole ? KE_INT : KE_FLOAT, dtype);
    if (is_whole) {
        expr->as.integer = integer;
    } else {
        expr->as.real = real;
    }
    return expr;
}

/* "(%0 + 1)" */
static const KExpr *parse_sum(KernelParser *k) {
    Parser *p = &k->text;
    const KExpr *a = parse_expect(p, "(") ? kernel_parse_expr(k) : NULL;
    if (!a) {
        return NULL;
    }
    bool is_sum = parse_accept(p, "+");
    if (!is_sum && !parse_accept(p, "*")) {
        parse_expected(p, "'+' or '*'");
        return NULL;
    }
    const KExpr *b = kernel_parse_expr(k);
    if (!b || !parse_expect(p, ")")) {
        return NULL;
    }
    KExpr *expr = new_expr(k, KE_SCALAR, DT_I64);
    expr->as.scalar.op = is_sum ? OP_add : OP_mul;
    expr->as.scalar.n = 2;
    expr->as.scalar.a[0] = a;
    expr->as.scalar.a[1] = b;
    return expr;
}

static const KExpr *parse_index(KernelParser *k) {
    const KExpr *at = parse_expect(&k->text, "[") ? kernel_parse_expr(k) : NULL;
    return at && parse_expect(&k->text, "]") ? at : NULL;
}

static const KExpr *parse_element(KernelParser *k, char letter) {
    int32_t number = 0;
    bool is_load = letter == 'b';
    int32_t limit = is_load ? k->kernel->n_buffers : k->kernel->n_locals;
    const KExpr *at = kernel_parse_numbered(k, letter, limit, &number) ? parse_index(k) : NULL;
    if (!at) {
        return NULL;
    }
    const KLocal *local = is_load ? NULL : k->kernel->locals[number];
    DType dtype = is_load ? k->kernel->buffers[number].dtype : local->dtype;
    KExpr *expr = new_expr(k, is_load ? KE_LOAD : KE_LOCAL, dtype_in_register(dtype));
    if (is_load) {
        expr->as.load.buffer = number;
        expr->as.load.at = at;
    } else {
        expr->as.local.array = local;
        expr->as.local.at = at;
    }
    return expr;
}

/* "(a, b)": exactly n. */
static bool parse_operands(KernelParser *k, int32_t n, const KExpr **out) {
    Parser *p = &k->text;
    if (!parse_expect(p, "(")) {
        return false;
    }
    for (int32_t i = 0; i < n; i++) {
        if (i > 0 && !parse_expect(p, ",")) {
            return false;
        }
        out[i] = kernel_parse_expr(k);
        if (!out[i]) {
            return false;
        }
    }
    return parse_expect(p, ")");
}

/* ".f32(x)" behind "cast" */
static const KExpr *parse_cast(KernelParser *k) {
    DType dtype;
    const KExpr *operand;
    if (!parse_expect(&k->text, ".") || !parse_dtype(&k->text, &dtype) ||
        !parse_operands(k, 1, &operand)) {
        return NULL;
    }
    KExpr *expr = new_expr(k, KE_CAST, dtype);
    expr->as.cast = operand;
    return expr;
}

/* ".f32.s1(seed, step, iteration, flat)" behind "uniform" */
static const KExpr *parse_uniform(KernelParser *k) {
    Parser *p = &k->text;
    DType dtype;
    int32_t site = 0;
    const KExpr *operands[4];
    if (!parse_expect(p, ".") || !parse_dtype(p, &dtype) || !parse_expect(p, ".") ||
        !kernel_parse_numbered(k, 's', k->kernel->n_sizes, &site) ||
        !parse_operands(k, 4, operands)) {
        return NULL;
    }
    KExpr *expr = new_expr(k, KE_UNIFORM, dtype);
    expr->as.uniform.site = site;
    expr->as.uniform.seed = operands[0];
    expr->as.uniform.step = operands[1];
    expr->as.uniform.iteration = operands[2];
    expr->as.uniform.flat = operands[3];
    return expr;
}

/* "max(a, b)" behind the word */
static const KExpr *parse_scalar(KernelParser *k, const char *name, Mark mark) {
    Parser *p = &k->text;
    OpCode op;
    if (!op_code_from_name(name, &op) || !op_is_scalar(op)) {
        diag_report(&p->context->diags, DIAG_IR_UNKNOWN_OP, parse_place(p, mark), name);
        return NULL;
    }
    const OpInfo *info = op_info(op);
    KExpr *expr = new_expr(k, KE_SCALAR, DT_BOOL);
    expr->as.scalar.op = op;
    expr->as.scalar.n = info->n_operands;
    if (!parse_operands(k, info->n_operands, expr->as.scalar.a)) {
        return NULL;
    }
    if (info->scalar_result != RESULT_BOOL) {
        expr->dtype = expr->as.scalar.a[op == OP_select]->dtype;
    }
    return expr;
}

static bool is_numbered(const char *at, char letter) {
    if (*at++ != letter || !ascii_is_digit(*at)) {
        return false;
    }
    while (ascii_is_digit(*at)) {
        at++;
    }
    return !ascii_is_word(*at);
}

static const KExpr *parse_plain(KernelParser *k) {
    Parser *p = &k->text;
    Mark mark = parse_mark(p);
    char next = *p->at, after = next ? p->at[1] : '\0';
    if (next == '(') {
        return parse_sum(k);
    }
    if (next == '%') {
        const KVar *var = kernel_parse_var(k);
        KExpr *expr = var ? new_expr(k, KE_VAR, var->dtype) : NULL;
        if (expr) {
            expr->as.var = var;
        }
        return expr;
    }
    if (ascii_is_digit(next) ||
        (next == '-' && (ascii_is_digit(after) || ascii_is_letter(after))) ||
        kernel_parse_at(k, "inf") || kernel_parse_at(k, "nan")) {
        return parse_number(k);
    }
    if (is_numbered(p->at, 'b') || is_numbered(p->at, 'l')) {
        return parse_element(k, next);
    }
    if (is_numbered(p->at, 's')) {
        int32_t number = 0;
        if (!kernel_parse_numbered(k, 's', k->kernel->n_sizes, &number)) {
            return NULL;
        }
        KExpr *expr = new_expr(k, KE_SIZE, DT_I64);
        expr->as.size = number;
        return expr;
    }
    const char *word = parse_word(p, "an expression");
    return !word                          ? NULL
           : strcmp(word, "cast") == 0    ? parse_cast(k)
           : strcmp(word, "uniform") == 0 ? parse_uniform(k)
                                          : parse_scalar(k, word, mark);
}

const KExpr *kernel_parse_expr(KernelParser *k) {
    Parser *p = &k->text;
    if (++k->n_brackets > MOST_BRACKETS) {
        diag_report(&p->context->diags, DIAG_IR_LIMIT, parse_place(p, parse_mark(p)),
                    "an expression is at most 1000 deep");
        return NULL;
    }
    const KExpr *expr = parse_plain(k);
    k->n_brackets--;
    return expr;
}
