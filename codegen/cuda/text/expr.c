/* Expressions of the loop IR as CUDA C. What is not an operator of C is a function of the prelude;
 * scalar.def's column gives the text of float operations. */
#include "codegen/cuda/text/state.h"
#include <math.h>
#include <string.h>

const char *text_value_type(DType dtype) {
    switch (dtype) {
    case DT_F64:
        return "double";
    case DT_F32:
    case DT_F16:
    case DT_BF16:
        return "float";
    case DT_I64:
        return "long long";
    case DT_I32:
        return "int";
    case DT_I8:
        return "signed char";
    case DT_U8:
        return "unsigned char";
    case DT_BOOL:
    case DT_COUNT:
        break;
    }
    return "bool";
}

const char *text_memory_type(DType dtype) {
    if (dtype == DT_F16 || dtype == DT_BF16) {
        return "unsigned short";
    }
    return dtype == DT_BOOL ? "unsigned char" : text_value_type(dtype);
}

const char *text_suffix(DType dtype) {
    switch (dtype) {
    case DT_F64:
        return "f64";
    case DT_F32:
    case DT_F16:
    case DT_BF16:
        return "f32";
    case DT_I64:
        return "i64";
    case DT_I32:
    case DT_I8:
    case DT_U8:
        return "i32";
    case DT_BOOL:
    case DT_COUNT:
        break;
    }
    return "bool";
}

void text_var(Text *t, const KVar *var) {
    const char *hint = var->hint && var->hint[0] ? var->hint : "v";
    for (const char *c = hint; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                     (*c >= '0' && *c <= '9' && c > hint);
        str_add_char(t->out, plain ? *c : '_');
    }
    str_addf(t->out, "_%d", var->id);
    if (t->alias[var->id]) {
        str_add(t->out, t->alias[var->id]);
    }
}

static int64_t high_sum(int64_t x, int64_t y) {
    int64_t sum;
    return x == INT64_MAX || y == INT64_MAX || __builtin_add_overflow(x, y, &sum) ? INT64_MAX : sum;
}

static int64_t high_product(const Text *t, const KExpr *expr, int64_t x, int64_t y) {
    int64_t product;
    bool positive[2] = {text_is_natural(t, expr->as.scalar.a[0]),
                        text_is_natural(t, expr->as.scalar.a[1])};
    if ((positive[0] && y <= 0) || (positive[1] && x <= 0)) {
        return 0;
    }
    bool known = positive[0] && positive[1] && x != INT64_MAX && y != INT64_MAX &&
                 !__builtin_mul_overflow(x, y, &product);
    return known ? product : INT64_MAX;
}

/* What an index never exceeds; INT64_MAX: unknown. */
int64_t text_high(const Text *t, const KExpr *expr) {
    int64_t low, x, y;
    if (expr->kind == KE_INT) {
        return expr->as.integer;
    }
    if (expr->kind == KE_VAR) {
        return t->high[expr->as.var->id];
    }
    if (expr->kind == KE_SIZE) {
        size_range(t->kernel->sizes[expr->as.size], &low, &x);
        return x;
    }
    if (expr->kind != KE_SCALAR || expr->as.scalar.n != 2 || expr->dtype != DT_I64) {
        return INT64_MAX;
    }
    x = text_high(t, expr->as.scalar.a[0]);
    y = text_high(t, expr->as.scalar.a[1]);
    switch (expr->as.scalar.op) {
    case OP_add:
        return high_sum(x, y);
    case OP_sub:
        return text_is_natural(t, expr->as.scalar.a[1]) ? x : INT64_MAX;
    case OP_mul:
        return high_product(t, expr, x, y);
    case OP_min:
        return x < y ? x : y;
    case OP_max:
        return x > y ? x : y;
    case OP_floordiv:
        if (!text_is_natural(t, expr->as.scalar.a[0]) ||
            !text_is_natural(t, expr->as.scalar.a[1])) {
            return INT64_MAX;
        }
        return expr->as.scalar.a[1]->kind == KE_INT && y > 0 ? x / y : x;
    case OP_mod:
        if (!text_is_natural(t, expr->as.scalar.a[1])) {
            return INT64_MAX;
        }
        y = y == INT64_MAX || y <= 0 ? y : y - 1;
        return text_is_natural(t, expr->as.scalar.a[0]) && x < y ? x : y;
    default:
        return INT64_MAX;
    }
}

static bool is_small(const Text *t, const KExpr *expr) {
    return text_high(t, expr) <= INT32_MAX;
}

static bool is_tainted(const KExpr *expr, void *user) {
    const Text *t = user;
    return expr->kind == KE_LOAD || expr->kind == KE_LOCAL || expr->kind == KE_UNIFORM ||
           (expr->kind == KE_VAR && t->tainted[expr->as.var->id]);
}

/* Whether an i64 may be a value of the program rather than an index: its sums are then written so
 * that they wrap, while those of indices never leave the range. */
bool text_tainted(const Text *t, const KExpr *expr) {
    return kernel_walk_expr(expr, is_tainted, (void *)t);
}

static void add_int(Text *t, DType dtype, int64_t value) {
    if (dtype == DT_BOOL) {
        str_add(t->out, value ? "true" : "false");
    } else if (value == INT64_MIN) {
        str_add(t->out, "(-9223372036854775807ll - 1)");
    } else if (value == INT32_MIN) {
        str_add(t->out, "(-2147483647 - 1)");
    } else {
        bool is_long = value > INT32_MAX || value < INT32_MIN;
        str_addf(t->out, value < 0 ? "(%lld%s)" : "%lld%s", (long long)value, is_long ? "ll" : "");
    }
}

static void add_real(Text *t, DType dtype, double value) {
    bool wide = dtype == DT_F64;
    if (!wide) {
        value = (double)(float)value;
    }
    if (isnan(value) || isinf(value)) {
        const char *bits = isnan(value) ? (wide ? "0x7ff8000000000000ll" : "0x7fc00000")
                                        : (wide ? "0x7ff0000000000000ll" : "0x7f800000");
        str_addf(t->out, "%sdlc_%s_of_bits(%s)%s", !isnan(value) && value < 0 ? "(-" : "",
                 wide ? "f64" : "f32", bits, !isnan(value) && value < 0 ? ")" : "");
        return;
    }
    bool negative = signbit(value);
    str_add(t->out, negative ? "(" : "");
    str_add_double(t->out, value);
    str_add(t->out, wide ? "" : "f");
    str_add(t->out, negative ? ")" : "");
}

void text_local_name(Text *t, const KLocal *local) {
    const char *hint = local->hint && local->hint[0] ? local->hint : "local";
    for (const char *c = hint; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                     (*c >= '0' && *c <= '9' && c > hint);
        str_add_char(t->out, plain ? *c : '_');
    }
    str_addf(t->out, "_l%d", local->id);
}

/* Around an index: the array and what its layout does to the index. */
void text_local_open(Text *t, const KLocal *local) {
    const LocalInfo *info = &t->locals[local->id];
    Team owner = team_owner(t, local, t->at);
    bool own = owner == TEAM_THREAD && info->by_team[owner].placement != PLACE_REGISTERS;
    text_local_name(t, local);
    str_add(t->out, owner == TEAM_WARP ? "_warp" : owner == TEAM_THREAD ? "_thread" : "");
    str_add(t->out, info->width > 0 ? "[dlc_exchange(" : own ? "[(" : "[");
}

void text_local_close(Text *t, const KLocal *local) {
    const LocalInfo *info = &t->locals[local->id];
    Team owner = team_owner(t, local, t->at);
    if (info->width > 0) {
        str_addf(t->out, ", %d, %d, %d)", info->line, info->unit, info->groups);
    } else if (owner == TEAM_THREAD && info->by_team[owner].placement != PLACE_REGISTERS) {
        str_addf(t->out, ") * %d", t->threads);
    }
    str_add(t->out, "]");
}

void text_local_at(Text *t, const KLocal *local, const KExpr *index) {
    text_local_open(t, local);
    text_expr(t, index);
    text_local_close(t, local);
}

static void add_load(Text *t, DType dtype, const KExpr *expr) {
    const char *before = "", *after = "";
    switch (dtype) {
    case DT_F16:
        before = "dlc_f16_to_f32(";
        after = ")";
        break;
    case DT_BF16:
        before = "dlc_bf16_to_f32(";
        after = ")";
        break;
    case DT_BOOL:
        before = "(";
        after = " != 0)";
        break;
    default:
        break;
    }
    str_add(t->out, before);
    bool is_load = expr->kind == KE_LOAD;
    const KExpr *at = is_load ? expr->as.load.at : expr->as.local.at;
    int32_t part = team_wide_part(t, false, is_load ? expr->as.load.buffer : -1,
                                  is_load ? NULL : expr->as.local.array, at);
    if (part >= 0) {
        text_wide_element(t, part);
    } else if (is_load) {
        str_addf(t->out, "b%d[", expr->as.load.buffer);
        text_expr(t, at);
        str_add(t->out, "]");
    } else {
        text_local_at(t, expr->as.local.array, at);
    }
    str_add(t->out, after);
}

void text_stored(Text *t, DType dtype, const KExpr *value) {
    const char *before = dtype == DT_F16    ? "dlc_f32_to_f16("
                         : dtype == DT_BF16 ? "dlc_f32_to_bf16("
                         : dtype == DT_BOOL ? "(unsigned char)("
                                            : "";
    str_add(t->out, before);
    text_expr(t, value);
    str_add(t->out, before[0] ? ")" : "");
}

/* A call of the operation's prelude function in i32 or i64; shorter types wrap by a cast. */
static void add_int_call(Text *t, const char *name, DType dtype, const KExpr *expr) {
    bool narrow = dtype == DT_I8 || dtype == DT_U8;
    if (narrow) {
        str_addf(t->out, "(%s)", text_value_type(dtype));
    }
    str_addf(t->out, "dlc_%s_%s(", name, text_suffix(dtype));
    if (expr->as.scalar.op == OP_neg) {
        str_add(t->out, "0, ");
    }
    for (int32_t i = 0; i < expr->as.scalar.n; i++) {
        str_add(t->out, i ? ", " : "");
        text_expr(t, expr->as.scalar.a[i]);
    }
    str_add(t->out, ")");
}

static void add_infix(Text *t, const char *operator, const KExpr * expr) {
    str_add(t->out, "(");
    text_expr(t, expr->as.scalar.a[0]);
    str_addf(t->out, " %s ", operator);
    text_expr(t, expr->as.scalar.a[1]);
    str_add(t->out, ")");
}

static bool add_int_operation(Text *t, DType dtype, const KExpr *expr) {
    bool is_index = dtype == DT_I64 && !text_tainted(t, expr);
    switch (expr->as.scalar.op) {
    case OP_add:
    case OP_sub:
    case OP_mul:
        if (is_index) {
            add_infix(t,
                      expr->as.scalar.op == OP_add   ? "+"
                      : expr->as.scalar.op == OP_sub ? "-"
                                                     : "*",
                      expr);
            return true;
        }
        break;
    case OP_floordiv:
    case OP_mod:
        if (dtype == DT_I64 && text_is_natural(t, expr->as.scalar.a[0]) &&
            text_is_natural(t, expr->as.scalar.a[1]) &&
            !(expr->as.scalar.a[1]->kind == KE_INT && expr->as.scalar.a[1]->as.integer == 0) &&
            is_index) {
            bool small = is_small(t, expr->as.scalar.a[0]) && is_small(t, expr->as.scalar.a[1]);
            str_addf(t->out, "dlc_%s_%s(", small ? "small" : "index",
                     expr->as.scalar.op == OP_mod ? "mod" : "div");
            text_expr(t, expr->as.scalar.a[0]);
            str_add(t->out, ", ");
            text_expr(t, expr->as.scalar.a[1]);
            str_add(t->out, ")");
            return true;
        }
        break;
    case OP_neg:
        if (is_index) {
            str_add(t->out, "(-");
            text_expr(t, expr->as.scalar.a[0]);
            str_add(t->out, ")");
            return true;
        }
        add_int_call(t, "sub", dtype, expr);
        return true;
    default: /* comparisons and select are what scalar.def says */
        if (op_info(expr->as.scalar.op)->scalar_result == RESULT_BOOL ||
            expr->as.scalar.op == OP_select) {
            return false;
        }
    }
    add_int_call(t, op_info(expr->as.scalar.op)->name, dtype, expr);
    return true;
}

static const char *const cuda_columns[] = {
#define SCALAR(name, arity, class_, result, cost, gradient, domain, slope, precision, elements,    \
               sign, identity, linear, function, c_f64, c_i64, cpu, cuda_f32, doc)                 \
    [OP_##name] = cuda_f32,
#include "ir/scalar.def"
#undef SCALAR
};

/* scalar.def's text: %0, %1 and %2 are the operands, dlc_x is dlc_x_<type of the operands>. */
static void add_scalar(Text *t, const KExpr *expr) {
    DType dtype = expr->as.scalar.op == OP_select ? expr->dtype : expr->as.scalar.a[0]->dtype;
    if (dtype_is_integer(dtype) && add_int_operation(t, dtype, expr)) {
        return;
    }
    if (dtype == DT_BOOL && (expr->as.scalar.op == OP_max || expr->as.scalar.op == OP_min)) {
        add_infix(t, expr->as.scalar.op == OP_max ? "||" : "&&", expr);
        return;
    }
    const char *text = cuda_columns[expr->as.scalar.op];
    while (*text) {
        if (text[0] == '%') {
            text_expr(t, expr->as.scalar.a[text[1] - '0']);
            text += 2;
        } else if (strncmp(text, "dlc_", 4) == 0) {
            size_t n = strcspn(text, "(");
            str_add_bytes(t->out, text, n);
            str_addf(t->out, "_%s", text_suffix(dtype));
            text += n;
        } else {
            str_add_char(t->out, *text++);
        }
    }
}

static void add_cast(Text *t, const KExpr *expr) {
    const KExpr *x = expr->as.cast;
    DType from = x->dtype, to = expr->dtype;
    if (from == to) {
        text_expr(t, x);
    } else if (to == DT_BOOL) {
        str_add(t->out, "(");
        text_expr(t, x);
        str_add(t->out, " != 0)");
    } else if (to == DT_F16 || to == DT_BF16) {
        const char *name = to == DT_F16 ? "f16" : "bf16";
        str_addf(t->out, "dlc_%s_to_f32(dlc_f32_to_%s(%s(", name, name,
                 from == DT_F64 ? "dlc_f64_to_odd" : "(float)");
        text_expr(t, x);
        str_add(t->out, ")");
        str_add(t->out, "))");
    } else if (dtype_is_float(from) && dtype_is_integer(to)) {
        str_addf(t->out, "dlc_%s_to_%s(", text_suffix(from), dtype_name(to));
        text_expr(t, x);
        str_add(t->out, ")");
    } else {
        str_addf(t->out, "(%s)", text_value_type(to));
        text_expr(t, x);
    }
}

void text_expr(Text *t, const KExpr *expr) {
    switch (expr->kind) {
    case KE_INT:
        add_int(t, expr->dtype, expr->as.integer);
        return;
    case KE_FLOAT:
        add_real(t, expr->dtype, expr->as.real);
        return;
    case KE_VAR:
        text_var(t, expr->as.var);
        return;
    case KE_SIZE:
        str_addf(t->out, "s%d", expr->as.size);
        return;
    case KE_LOAD:
        add_load(t, t->kernel->buffers[expr->as.load.buffer].dtype, expr);
        return;
    case KE_LOCAL:
        add_load(t, expr->as.local.array->dtype, expr);
        return;
    case KE_SCALAR:
        add_scalar(t, expr);
        return;
    case KE_CAST:
        add_cast(t, expr);
        return;
    case KE_UNIFORM:
        str_addf(t->out, "dlc_uniform_%s(", dtype_name(expr->dtype));
        text_expr(t, expr->as.uniform.seed);
        str_add(t->out, ", ");
        text_expr(t, expr->as.uniform.step);
        str_addf(t->out, ", s%d, ", expr->as.uniform.site);
        text_expr(t, expr->as.uniform.iteration);
        str_add(t->out, ", ");
        text_expr(t, expr->as.uniform.flat);
        str_add(t->out, ")");
        return;
    }
}
