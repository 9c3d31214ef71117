/* The loop IR's reference: slow and checked. */
#include "tests/ops/kernel_interp.h"
#include "ir/interp.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Val {
    double f;
    int64_t i;
} Val;

typedef struct State {
    KernelRun *run;
    Val *vars;
    bool *defined;
    Val **locals;
    const int64_t *grid; /* indices of this tile */
    int32_t grid_depth;
    bool failed;
} State;

static void fail(State *s, const char *what, int64_t a, int64_t b) {
    if (!s->failed) {
        snprintf(s->run->message, sizeof s->run->message, "%s (%lld, %lld)", what, (long long)a,
                 (long long)b);
    }
    s->failed = true;
}

/* -- raw memory */
double raw_get(DType dtype, const void *data, int64_t i) {
    uint32_t bits;
    float single;
    switch (dtype) {
    case DT_F64:
        return ((const double *)data)[i];
    case DT_F32:
        return (double)((const float *)data)[i];
    case DT_F16:
        return (double)((const _Float16 *)data)[i];
    case DT_BF16:
        bits = (uint32_t)((const uint16_t *)data)[i] << 16;
        memcpy(&single, &bits, sizeof single);
        return (double)single;
    default:
        return (double)raw_get_int(dtype, data, i);
    }
}

int64_t raw_get_int(DType dtype, const void *data, int64_t i) {
    switch (dtype) {
    case DT_I64:
        return ((const int64_t *)data)[i];
    case DT_I32:
        return ((const int32_t *)data)[i];
    case DT_I8:
        return ((const int8_t *)data)[i];
    case DT_U8:
    case DT_BOOL:
        return ((const uint8_t *)data)[i];
    default:
        return 0;
    }
}

void raw_set(DType dtype, void *data, int64_t i, double f, int64_t n) {
    float single = (float)round_to_dtype(f, dtype);
    uint32_t bits;
    switch (dtype) {
    case DT_F64:
        ((double *)data)[i] = f;
        break;
    case DT_F32:
        ((float *)data)[i] = (float)f;
        break;
    case DT_F16:
        ((_Float16 *)data)[i] = (_Float16)f;
        break;
    case DT_BF16:
        memcpy(&bits, &single, sizeof bits);
        ((uint16_t *)data)[i] = (uint16_t)(bits >> 16);
        break;
    case DT_I64:
        ((int64_t *)data)[i] = n;
        break;
    case DT_I32:
        ((int32_t *)data)[i] = (int32_t)n;
        break;
    case DT_I8:
        ((int8_t *)data)[i] = (int8_t)n;
        break;
    default:
        ((uint8_t *)data)[i] = (uint8_t)n;
        break;
    }
}

/* -- expressions */
static Val eval(State *s, const KExpr *e);

static Val eval_scalar(State *s, const KExpr *e) {
    Val a[4] = {{0, 0}};
    for (int32_t i = 0; i < e->n; i++) {
        a[i] = eval(s, e->a[i]);
    }
    DType type = e->a[e->op == OP_select ? 1 : 0]->dtype;
    if (e->op == OP_select) {
        return a[0].i ? a[1] : a[2];
    }
    Val out = {0, 0};
    if (dtype_is_float(type)) {
        double x[3] = {a[0].f, a[1].f, a[2].f};
        double y = scalar_eval_float(e->op, x);
        if (e->dtype == DT_BOOL) {
            out.i = y != 0;
        } else {
            out.f = e->dtype == DT_F32 ? (double)(float)y : y;
        }
    } else {
        int64_t x[3] = {a[0].i, a[1].i, a[2].i};
        out.i = scalar_eval_int(e->op, type, x);
    }
    return out;
}

static Val eval_cast(const KExpr *e, Val a) {
    DType from = e->a[0]->dtype, to = e->dtype;
    Val out = {0, 0};
    if (dtype_is_float(to)) {
        bool is_single = !dtype_is_float(from) && to == DT_F32;
        out.f = dtype_is_float(from) ? a.f : is_single ? (double)(float)a.i : (double)a.i;
        out.f = round_to_dtype(out.f, to);
    } else if (to == DT_BOOL) {
        out.i = dtype_is_float(from) ? a.f != 0 : a.i != 0;
    } else {
        out.i = dtype_is_float(from) ? float_to_int(a.f, to) : wrap_int(a.i, to);
    }
    return out;
}

static Val eval_load(State *s, const KExpr *e) {
    Val out = {0, 0};
    int64_t at = eval(s, e->a[0]).i;
    if (s->failed || at < 0 || at >= s->run->elements[e->index]) {
        fail(s, "load outside the buffer", at, s->run->elements[e->index]);
        return out;
    }
    DType dtype = s->run->kernel->buffers[e->index].dtype;
    const void *data = s->run->buffers[e->index];
    if (dtype_is_float(dtype)) {
        out.f = raw_get(dtype, data, at);
    } else {
        out.i = raw_get_int(dtype, data, at);
    }
    return out;
}

static Val eval(State *s, const KExpr *e) {
    Val out = {0, 0};
    switch (e->kind) {
    case KE_INT:
        out.i = e->integer;
        return out;
    case KE_FLOAT:
        out.f = e->real;
        return out;
    case KE_VAR:
        if (!s->defined[e->var->id]) {
            fail(s, "variable read before it is set", e->var->id, 0);
        }
        return s->vars[e->var->id];
    case KE_SIZE:
        out.i = s->run->sizes[e->index];
        return out;
    case KE_LOAD:
        return eval_load(s, e);
    case KE_LOCAL: {
        int64_t at = eval(s, e->a[0]).i;
        if (at < 0 || at >= e->local->count) {
            fail(s, "read outside the local array", at, e->local->count);
            return out;
        }
        return s->locals[e->local->id][at];
    }
    case KE_SCALAR:
        return eval_scalar(s, e);
    case KE_CAST:
        return eval_cast(e, eval(s, e->a[0]));
    case KE_UNIFORM: {
        int64_t seed = eval(s, e->a[0]).i, step = eval(s, e->a[1]).i;
        int64_t iteration = eval(s, e->a[2]).i, flat = eval(s, e->a[3]).i;
        out.f = random_uniform_at(seed, step, s->run->sizes[e->index], iteration, flat, e->dtype);
        return out;
    }
    }
    return out;
}

/* -- statements */
static void run_stmts(State *s, const KStmt *stmt);

/* Iterations of a block's threads have no order, and none sees what another one set. */
static void run_shuffled(State *s, const KStmt *stmt, int64_t begin, int64_t end) {
    int32_t n_vars = s->run->kernel->n_vars;
    bool *before = malloc((size_t)n_vars + 1);
    memcpy(before, s->defined, (size_t)n_vars);
    for (int64_t i = begin; i < end && !s->failed; i++) {
        s->vars[stmt->var->id] = (Val){0, s->run->backwards ? begin + end - 1 - i : i};
        s->defined[stmt->var->id] = true;
        run_stmts(s, stmt->body);
        memcpy(s->defined, before, (size_t)n_vars);
    }
    free(before);
}

static void run_for(State *s, const KStmt *stmt) {
    if (stmt->loop == KL_GRID) {
        s->vars[stmt->var->id] = (Val){0, s->grid[s->grid_depth++]};
        s->defined[stmt->var->id] = true;
        run_stmts(s, stmt->body);
        s->grid_depth--;
        return;
    }
    int64_t begin = eval(s, stmt->begin).i, end = eval(s, stmt->end).i;
    if (s->run->machine->threads > 1 && (stmt->loop == KL_INDEPENDENT || stmt->loop == KL_VECTOR)) {
        run_shuffled(s, stmt, begin, end);
        return;
    }
    for (int64_t i = begin; i < end && !s->failed; i++) {
        s->vars[stmt->var->id] = (Val){0, i};
        s->defined[stmt->var->id] = true;
        run_stmts(s, stmt->body);
    }
}

static void run_contract(State *s, const KStmt *stmt) {
    bool wide = stmt->local->dtype == DT_F64;
    const Machine *machine = s->run->machine;
    int32_t rows = wide ? machine->tile_rows_f64 : machine->tile_rows_f32;
    int32_t columns = wide ? machine->tile_columns_f64 : machine->tile_columns_f32;
    if (machine->threads > 1) {
        columns = (int32_t)eval(s, stmt->c_stride).i;
        rows = (int32_t)(stmt->local->count / columns);
    }
    int64_t a = eval(s, stmt->begin).i, b = eval(s, stmt->end).i, c = eval(s, stmt->value).i;
    int64_t depth = eval(s, stmt->depth).i, stride = eval(s, stmt->c_stride).i;
    int64_t last_c = c + (rows - 1) * stride + columns - 1;
    if (a < 0 || b < 0 || c < 0 || a + depth * rows > stmt->a_local->count ||
        b + depth * columns > stmt->b_local->count || last_c >= stmt->local->count) {
        fail(s, "contraction outside its local arrays", c, stmt->local->count);
        return;
    }
    for (int32_t i = 0; i < rows; i++) {
        for (int32_t j = 0; j < columns; j++) {
            Val *out = &s->locals[stmt->local->id][c + i * stride + j];
            double sum = stmt->accumulate ? out->f : 0;
            for (int64_t k = 0; k < depth; k++) {
                int64_t at_a = stmt->a_deep ? i * depth + k : k * rows + i;
                int64_t at_b = stmt->b_deep ? j * depth + k : k * columns + j;
                sum += s->locals[stmt->a_local->id][a + at_a].f *
                       s->locals[stmt->b_local->id][b + at_b].f;
            }
            out->f = wide ? sum : (double)(float)sum;
        }
    }
}

static void run_store(State *s, const KStmt *stmt) {
    int64_t at = eval(s, stmt->begin).i;
    Val value = eval(s, stmt->value);
    if (stmt->kind == KS_LOCAL_STORE) {
        if (at < 0 || at >= stmt->local->count) {
            fail(s, "store outside the local array", at, stmt->local->count);
        } else {
            s->locals[stmt->local->id][at] = value;
        }
        return;
    }
    if (at < 0 || at >= s->run->elements[stmt->index]) {
        fail(s, "store outside the buffer", at, s->run->elements[stmt->index]);
    } else if (!s->run->kernel->buffers[stmt->index].is_written) {
        fail(s, "store to a buffer that is only read", stmt->index, at);
    } else if (!s->failed) {
        raw_set(s->run->kernel->buffers[stmt->index].dtype, s->run->buffers[stmt->index], at,
                value.f, value.i);
        if (stmt->watched && !isfinite(value.f) && s->run->fault.site == 0) {
            s->run->fault = (KernelFault){KERNEL_SITE_NOT_FINITE, 0, 0};
        }
    }
}

static void run_stmts(State *s, const KStmt *stmt) {
    for (; stmt && !s->failed; stmt = stmt->next) {
        switch (stmt->kind) {
        case KS_LET:
        case KS_SET: {
            Val value = eval(s, stmt->value);
            if (stmt->value->dtype != stmt->var->dtype) {
                fail(s, "type of a variable and its value differ", stmt->value->dtype,
                     stmt->var->dtype);
            }
            s->vars[stmt->var->id] = value;
            s->defined[stmt->var->id] = true;
            break;
        }
        case KS_FOR:
            run_for(s, stmt);
            break;
        case KS_IF:
            run_stmts(s, eval(s, stmt->value).i ? stmt->body : stmt->otherwise);
            break;
        case KS_STORE:
        case KS_LOCAL_STORE:
            run_store(s, stmt);
            break;
        case KS_CONTRACT:
            run_contract(s, stmt);
            break;
        case KS_FAULT:
            if (eval(s, stmt->value).i && s->run->fault.site == 0) {
                s->run->fault =
                    (KernelFault){stmt->site + 1, eval(s, stmt->begin).i, eval(s, stmt->end).i};
            }
            break;
        }
    }
}

static void poison_locals(State *s) {
    const Kernel *kernel = s->run->kernel;
    for (int32_t i = 0; i < kernel->n_locals; i++) {
        for (int64_t j = 0; j < kernel->locals[i]->count; j++) {
            s->locals[i][j] = (Val){(double)NAN, INT64_MIN / 3};
        }
    }
    memset(s->defined, 0, (size_t)kernel->n_vars * sizeof(bool));
}

bool kernel_interp(KernelRun *run, const int64_t *grid) {
    const Kernel *kernel = run->kernel;
    State s = {.run = run};
    s.vars = calloc((size_t)kernel->n_vars + 1, sizeof(Val));
    s.defined = calloc((size_t)kernel->n_vars + 1, sizeof(bool));
    s.locals = calloc((size_t)kernel->n_locals + 1, sizeof(Val *));
    for (int32_t i = 0; i < kernel->n_locals; i++) {
        s.locals[i] = calloc((size_t)kernel->locals[i]->count + 1, sizeof(Val));
    }
    int64_t tiles = 1, index[16];
    for (int32_t i = 0; i < kernel->n_grid; i++) {
        tiles *= grid[i];
    }
    for (int64_t t = 0; t < tiles && !s.failed; t++) {
        int64_t rest = run->backwards ? tiles - 1 - t : t;
        for (int32_t i = kernel->n_grid - 1; i >= 0; i--) {
            index[i] = rest % grid[i];
            rest /= grid[i];
        }
        s.grid = index;
        poison_locals(&s);
        run_stmts(&s, kernel->body);
    }
    for (int32_t i = 0; i < kernel->n_locals; i++) {
        free(s.locals[i]);
    }
    free(s.locals);
    free(s.vars);
    free(s.defined);
    return !s.failed;
}
