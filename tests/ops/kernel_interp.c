/* The loop IR's reference: slow and checked. */
#include "tests/ops/kernel_interp.h"
#include "ir/interp.h"
#include "tests/unit/half.h"
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
    bool *reads; /* by buffer: what a plan says of the kernel */
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
        return half_value(((const uint16_t *)data)[i]);
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
        ((uint16_t *)data)[i] = half_bits(f);
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
    for (int32_t i = 0; i < e->as.scalar.n; i++) {
        a[i] = eval(s, e->as.scalar.a[i]);
    }
    DType type = e->as.scalar.a[e->as.scalar.op == OP_select ? 1 : 0]->dtype;
    if (e->as.scalar.op == OP_select) {
        return a[0].i ? a[1] : a[2];
    }
    Val out = {0, 0};
    if (dtype_is_float(type)) {
        double x[3] = {a[0].f, a[1].f, a[2].f};
        double y = scalar_eval_float(e->as.scalar.op, x);
        if (e->dtype == DT_BOOL) {
            out.i = y != 0;
        } else {
            out.f = e->dtype == DT_F32 ? (double)(float)y : y;
        }
    } else {
        int64_t x[3] = {a[0].i, a[1].i, a[2].i};
        out.i = scalar_eval_int(e->as.scalar.op, type, x);
    }
    return out;
}

static Val eval_cast(const KExpr *e, Val a) {
    DType from = e->as.cast->dtype, to = e->dtype;
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
    int64_t at = eval(s, e->as.load.at).i;
    int32_t buffer = e->as.load.buffer;
    if (s->failed || at < 0 || at >= s->run->elements[buffer]) {
        fail(s, "load outside the buffer", at, s->run->elements[buffer]);
        return out;
    }
    if (!s->reads[buffer]) {
        fail(s, "load from a buffer that is said not to be read", buffer, at);
    }
    DType dtype = s->run->kernel->buffers[buffer].dtype;
    const void *data = s->run->buffers[buffer];
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
        out.i = e->as.integer;
        return out;
    case KE_FLOAT:
        out.f = e->as.real;
        return out;
    case KE_VAR:
        if (!s->defined[e->as.var->id]) {
            fail(s, "variable read before it is set", e->as.var->id, 0);
        }
        return s->vars[e->as.var->id];
    case KE_SIZE:
        out.i = s->run->sizes[e->as.size];
        return out;
    case KE_LOAD:
        return eval_load(s, e);
    case KE_LOCAL: {
        const KLocal *local = e->as.local.array;
        int64_t at = eval(s, e->as.local.at).i;
        if (at < 0 || at >= local->count) {
            fail(s, "read outside the local array", at, local->count);
            return out;
        }
        return s->locals[local->id][at];
    }
    case KE_SCALAR:
        return eval_scalar(s, e);
    case KE_CAST:
        return eval_cast(e, eval(s, e->as.cast));
    case KE_UNIFORM: {
        int64_t seed = eval(s, e->as.uniform.seed).i, step = eval(s, e->as.uniform.step).i;
        int64_t iteration = eval(s, e->as.uniform.iteration).i;
        int64_t flat = eval(s, e->as.uniform.flat).i;
        int64_t site = s->run->sizes[e->as.uniform.site];
        out.f = random_uniform_at(seed, step, site, iteration, flat, e->dtype);
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
        s->vars[stmt->as.loop.var->id] = (Val){0, s->run->backwards ? begin + end - 1 - i : i};
        s->defined[stmt->as.loop.var->id] = true;
        run_stmts(s, stmt->as.loop.body);
        memcpy(s->defined, before, (size_t)n_vars);
    }
    free(before);
}

static void run_for(State *s, const KStmt *stmt) {
    if (stmt->as.loop.kind == KL_GRID) {
        s->vars[stmt->as.loop.var->id] = (Val){0, s->grid[s->grid_depth++]};
        s->defined[stmt->as.loop.var->id] = true;
        run_stmts(s, stmt->as.loop.body);
        s->grid_depth--;
        return;
    }
    int64_t begin = eval(s, stmt->as.loop.begin).i, end = eval(s, stmt->as.loop.end).i;
    if (s->run->machine->threads > 1 &&
        (stmt->as.loop.kind == KL_INDEPENDENT || stmt->as.loop.kind == KL_VECTOR)) {
        run_shuffled(s, stmt, begin, end);
        return;
    }
    for (int64_t i = begin; i < end && !s->failed; i++) {
        s->vars[stmt->as.loop.var->id] = (Val){0, i};
        s->defined[stmt->as.loop.var->id] = true;
        run_stmts(s, stmt->as.loop.body);
    }
}

static void run_contract(State *s, const KContract *tile) {
    bool wide = tile->c_local->dtype == DT_F64;
    const Machine *machine = s->run->machine;
    int32_t rows = wide ? machine->tile_rows_f64 : machine->tile_rows_f32;
    int32_t columns = wide ? machine->tile_columns_f64 : machine->tile_columns_f32;
    if (machine->threads > 1) {
        columns = (int32_t)eval(s, tile->c_stride).i;
        rows = (int32_t)(tile->c_local->count / columns);
    }
    int64_t a = eval(s, tile->a_offset).i, b = eval(s, tile->b_offset).i;
    int64_t c = eval(s, tile->c_offset).i;
    int64_t depth = eval(s, tile->depth).i, stride = eval(s, tile->c_stride).i;
    int64_t last_c = c + (rows - 1) * stride + columns - 1;
    if (a < 0 || b < 0 || c < 0 || a + depth * rows > tile->a_local->count ||
        b + depth * columns > tile->b_local->count || last_c >= tile->c_local->count) {
        fail(s, "contraction outside its local arrays", c, tile->c_local->count);
        return;
    }
    for (int32_t i = 0; i < rows; i++) {
        for (int32_t j = 0; j < columns; j++) {
            Val *out = &s->locals[tile->c_local->id][c + i * stride + j];
            double sum = tile->accumulate ? out->f : 0;
            for (int64_t k = 0; k < depth; k++) {
                int64_t at_a = tile->a_deep ? i * depth + k : k * rows + i;
                int64_t at_b = tile->b_deep ? j * depth + k : k * columns + j;
                sum += s->locals[tile->a_local->id][a + at_a].f *
                       s->locals[tile->b_local->id][b + at_b].f;
            }
            out->f = wide ? sum : (double)(float)sum;
        }
    }
}

static void run_local_store(State *s, const KStmt *stmt) {
    const KLocal *local = stmt->as.local_store.array;
    int64_t at = eval(s, stmt->as.local_store.at).i;
    Val value = eval(s, stmt->as.local_store.value);
    if (at < 0 || at >= local->count) {
        fail(s, "store outside the local array", at, local->count);
    } else {
        s->locals[local->id][at] = value;
    }
}

static void run_store(State *s, const KStmt *stmt) {
    int32_t buffer = stmt->as.store.buffer;
    int64_t at = eval(s, stmt->as.store.at).i;
    Val value = eval(s, stmt->as.store.value);
    if (at < 0 || at >= s->run->elements[buffer]) {
        fail(s, "store outside the buffer", at, s->run->elements[buffer]);
    } else if (!s->run->kernel->buffers[buffer].is_written) {
        fail(s, "store to a buffer that is only read", buffer, at);
    } else if (!s->failed) {
        raw_set(s->run->kernel->buffers[buffer].dtype, s->run->buffers[buffer], at, value.f,
                value.i);
        if (stmt->as.store.watched && !isfinite(value.f) && s->run->fault.site == 0) {
            s->run->fault = (KernelFault){KERNEL_SITE_NOT_FINITE, 0, 0};
        }
    }
}

static void run_assign(State *s, const KAssign *assign) {
    if (assign->value->dtype != assign->var->dtype) {
        fail(s, "type of a variable and its value differ", assign->value->dtype,
             assign->var->dtype);
    }
    s->vars[assign->var->id] = eval(s, assign->value);
    s->defined[assign->var->id] = true;
}

static void run_fault(State *s, const KStmt *stmt) {
    if (eval(s, stmt->as.fault.bad).i && s->run->fault.site == 0) {
        int64_t value = eval(s, stmt->as.fault.value).i, bound = eval(s, stmt->as.fault.bound).i;
        s->run->fault = (KernelFault){stmt->as.fault.site + 1, value, bound};
    }
}

static void run_stmts(State *s, const KStmt *stmt) {
    for (; stmt && !s->failed; stmt = stmt->next) {
        bool truth;
        switch (stmt->kind) {
        case KS_LET:
            run_assign(s, &stmt->as.let);
            break;
        case KS_SET:
            run_assign(s, &stmt->as.set);
            break;
        case KS_FOR:
            run_for(s, stmt);
            break;
        case KS_IF:
            truth = eval(s, stmt->as.branch.condition).i != 0;
            run_stmts(s, truth ? stmt->as.branch.then : stmt->as.branch.otherwise);
            break;
        case KS_STORE:
            run_store(s, stmt);
            break;
        case KS_LOCAL_STORE:
            run_local_store(s, stmt);
            break;
        case KS_CONTRACT:
            run_contract(s, &stmt->as.contract);
            break;
        case KS_FAULT:
            run_fault(s, stmt);
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
    s.reads = calloc((size_t)kernel->n_buffers + 1, sizeof(bool));
    kernel_mark_reads(kernel->body, s.reads);
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
    free(s.reads);
    return !s.failed;
}
