/* A small executor over fused Funcs: values are raw typed buffers, as on the device. */
#include "tests/ops/kernel_exec.h"
#include "tests/ops/kernel_interp.h"
#include "tests/unit/kernel_run.h"
#include <setjmp.h>
#include <stdarg.h>

typedef struct Raw {
    DType dtype;
    int64_t n;
    void *data; /* from the exec arena */
} Raw;

typedef struct Run {
    KernelExec *exec;
    Raw *values; /* by value id */
    bool failed;
} Run;

static void run_fail(Run *r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (!r->failed) {
        vsnprintf(r->exec->message, sizeof r->exec->message, format, args);
    }
    va_end(args);
    r->failed = true;
}

static int64_t value_of(Run *r, const Size *size) {
    int64_t out = 0;
    if (!size_eval(size, r->exec->dim_values, r->exec->n_dims, &out)) {
        run_fail(r, "a size has no value");
    }
    return out;
}

/* A fresh buffer, filled with a pattern that is wrong as any number. */
static Raw raw_new(Run *r, DType dtype, const Size *elements) {
    Raw raw = {dtype, value_of(r, elements), NULL};
    size_t bytes = (size_t)(raw.n < 0 ? 0 : raw.n) * (size_t)dtype_bytes(dtype);
    char *memory = arena_alloc(&r->exec->arena, bytes + 192);
    raw.data = (char *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    memset(raw.data, dtype == DT_BOOL ? 1 : 0x7f, bytes);
    return raw;
}

static Raw raw_for(Run *r, const Value *v) {
    return raw_new(r, v->type.dtype, type_elements(r->exec->context, v->type));
}

static bool run_kernel(Run *r, const LoweredKernel *lowered, const Raw *operands,
                       const Raw *results, const Raw *temps) {
    const Kernel *kernel = lowered->kernel;
    KernelExec *exec = r->exec;
    void **buffers = ARENA_ARRAY(&exec->arena, void *, kernel->n_buffers + 1);
    int64_t *elements = ARENA_ARRAY(&exec->arena, int64_t, kernel->n_buffers + 1);
    int64_t *sizes = ARENA_ARRAY(&exec->arena, int64_t, kernel->n_sizes + 1);
    int64_t *grid = ARENA_ARRAY(&exec->arena, int64_t, kernel->n_grid + 1), tiles = 1;
    for (int32_t i = 0; i < kernel->n_buffers; i++) {
        Bind bind = lowered->binds[i];
        const Raw *raw = bind.kind == BIND_OPERAND  ? &operands[bind.index]
                         : bind.kind == BIND_RESULT ? &results[bind.index]
                                                    : &temps[bind.index];
        buffers[i] = raw->data;
        elements[i] = raw->n;
    }
    for (int32_t i = 0; i < kernel->n_sizes; i++) {
        sizes[i] = value_of(r, kernel->sizes[i]);
    }
    for (int32_t i = 0; i < kernel->n_grid; i++) {
        grid[i] = value_of(r, kernel->grid[i]);
        tiles *= grid[i];
    }
    if (exec->verbose) {
        Str text;
        str_init(&text, NULL);
        kernel_print(kernel, &text);
        fprintf(stderr, "%s: %s\n", kernel->name, str_text(&text));
        str_finish(&text);
    }
    exec->n_kernels++;
    char why[256];
    KernelProblem problem;
    if (!kernel_verify(kernel, &exec->arena, &problem)) {
        run_fail(r, "kernel %s, statement %d: %s", kernel->name, (int)problem.stmt, problem.text);
        return false;
    }
    if (exec->check && !exec->check(kernel, exec->machine, why, sizeof why)) {
        run_fail(r, "kernel %s: %s", kernel->name, why);
        return false;
    }
    KernelFault fault = {0};
    if (!exec->compiled) {
        KernelRun run = {.kernel = kernel,
                         .machine = exec->machine,
                         .buffers = buffers,
                         .elements = elements,
                         .sizes = sizes,
                         .backwards = exec->backwards};
        if (!kernel_interp(&run, grid)) {
            run_fail(r, "kernel %s: %s", kernel->name, run.message);
        }
        fault = run.fault;
    } else if (tiles > 0) {
        Kernel *one = lowered->kernel;
        RunCode code;
        if (!run_compile(exec->machine, &one, 1, 1, &code)) {
            run_fail(r, "kernel %s does not compile", kernel->name);
            return false;
        }
        size_t bytes = (size_t)kernel_scratch_bytes(kernel) + 64;
        uint8_t *scratch = aligned_alloc(64, (bytes + 63) / 64 * 64);
        memset(scratch, 0x7f, bytes);
        KernelArgs args = {buffers, sizes, scratch, &fault};
        int64_t half = exec->backwards ? tiles / 2 : 0;
        run_function(&code, 0)(&args, half, tiles);
        run_function(&code, 0)(&args, 0, half);
        free(scratch);
        run_finish(&code);
    }
    if (fault.site) {
        run_fail(r, "fault at site %lld: %lld of %lld", (long long)fault.site,
                 (long long)fault.value, (long long)fault.bound);
    }
    return !r->failed;
}

static void run_fusion(Run *r, const Op *op) {
    KernelExec *exec = r->exec;
    LoweredOp lowered;
    lower_fusion(&exec->lower, op, &lowered);
    Raw *operands = ARENA_ARRAY(&exec->arena, Raw, op->n_operands + 1);
    Raw *results = ARENA_ARRAY(&exec->arena, Raw, op->n_results + 1);
    Raw *temps = ARENA_ARRAY(&exec->arena, Raw, lowered.n_temps + 1);
    for (int32_t i = 0; i < op->n_operands; i++) {
        operands[i] = r->values[op->operands[i]->id];
    }
    for (int32_t i = 0; i < op->n_results; i++) {
        results[i] = raw_for(r, op->results[i]);
        int32_t from = lowered.inplace[i];
        if (exec->inplace && from >= 0) {
            /* A copy of the operand that both names mean: later readers keep the old one. */
            memcpy(results[i].data, operands[from].data,
                   (size_t)results[i].n * (size_t)dtype_bytes(results[i].dtype));
            operands[from].data = results[i].data;
        }
        r->values[op->results[i]->id] = results[i];
    }
    for (int32_t i = 0; i < lowered.n_temps; i++) {
        temps[i] = raw_new(r, lowered.temps[i].dtype, lowered.temps[i].elements);
    }
    for (int32_t i = 0; i < lowered.n_kernels && !r->failed; i++) {
        const LoweredKernel *kernel = &lowered.kernels[i];
        if (kernel->copy_of >= 0 &&
            operands[kernel->copy_of].data == results[kernel->copy_to].data) {
            continue;
        }
        run_kernel(r, kernel, operands, results, temps);
    }
}

static void run_block(Run *r, const Block *block);

static Raw row_of(const Raw *raw, int64_t i, int64_t n) {
    return (Raw){raw->dtype, n, (char *)raw->data + i * n * dtype_bytes(raw->dtype)};
}

static Raw copy_raw(Run *r, const Value *type_of, Raw from) {
    Raw raw = raw_for(r, type_of);
    memcpy(raw.data, from.data, (size_t)from.n * (size_t)dtype_bytes(from.dtype));
    return raw;
}

static void run_scan(Run *r, const Op *op) {
    const Block *body = op->blocks[0];
    const Op *yield = block_yield(body);
    int32_t n_carries = (int32_t)scan_carries(op);
    int64_t length = value_of(r, scan_length(op));
    bool reverse = scan_reverse(op);
    for (int32_t i = 0; i < op->n_results; i++) {
        r->values[op->results[i]->id] =
            i < n_carries ? copy_raw(r, op->results[i], r->values[op->operands[i]->id])
                          : raw_for(r, op->results[i]);
    }
    for (int64_t step = 0; step < length && !r->failed; step++) {
        int64_t at = reverse ? length - 1 - step : step;
        Raw index = raw_for(r, body->args[0]);
        raw_set(index.dtype, index.data, 0, 0, at);
        r->values[body->args[0]->id] = index;
        for (int32_t i = 0; i < n_carries; i++) {
            r->values[body->args[1 + i]->id] =
                copy_raw(r, op->results[i], r->values[op->results[i]->id]);
        }
        for (int32_t i = n_carries; i < op->n_operands; i++) {
            const Raw *xs = &r->values[op->operands[i]->id];
            r->values[body->args[1 + i]->id] = row_of(xs, at, xs->n / length);
        }
        run_block(r, body);
        for (int32_t i = 0; i < op->n_results && !r->failed; i++) {
            Raw *result = &r->values[op->results[i]->id];
            Raw value = r->values[yield->operands[i]->id];
            Raw to = i < n_carries ? *result : row_of(result, at, value.n);
            memcpy(to.data, value.data, (size_t)value.n * (size_t)dtype_bytes(value.dtype));
        }
    }
}

static void run_while(Run *r, const Op *op) {
    const Block *condition = op->blocks[0], *body = op->blocks[1];
    for (int32_t i = 0; i < op->n_results; i++) {
        r->values[op->results[i]->id] = copy_raw(r, op->results[i], r->values[op->operands[i]->id]);
    }
    for (int64_t step = 0; !r->failed; step++) {
        for (int32_t i = 0; i < op->n_results; i++) {
            Raw now = copy_raw(r, op->results[i], r->values[op->results[i]->id]);
            r->values[condition->args[i]->id] = now;
            r->values[body->args[i]->id] = now;
        }
        run_block(r, condition);
        const Raw *go = &r->values[block_yield(condition)->operands[0]->id];
        if (r->failed || !raw_get_int(DT_BOOL, go->data, 0)) {
            return;
        }
        run_block(r, body);
        for (int32_t i = 0; i < op->n_results && !r->failed; i++) {
            r->values[op->results[i]->id] =
                copy_raw(r, op->results[i], r->values[block_yield(body)->operands[i]->id]);
        }
    }
}

static void run_block(Run *r, const Block *block) {
    BLOCK_EACH_OP (block, op) {
        if (r->failed) {
            return;
        }
        switch (op->code) {
        case OP_fusion:
            run_fusion(r, op);
            break;
        case OP_reshape:
            r->values[op->results[0]->id] = r->values[op->operands[0]->id];
            break;
        case OP_scan:
            run_scan(r, op);
            break;
        case OP_while:
            run_while(r, op);
            break;
        case OP_check:
            if (!raw_get_int(DT_BOOL, r->values[op->operands[0]->id].data, 0)) {
                run_fail(r, "check failed: %s", op_text(op));
            }
            break;
        case OP_show:
        case OP_size_check:
        case OP_yield:
            break;
        default:
            run_fail(r, "%s stands outside a fusion", op_info(op->code)->name);
        }
    }
}

static int64_t any_site(void *user, Place place, const char *text) {
    (void)user;
    (void)place;
    (void)text;
    return 7;
}

static void run_func(Run *r, Func *func, const EvalTensor *args, EvalTensor *results) {
    KernelExec *exec = r->exec;
    func_renumber(func);
    r->values = ARENA_ARRAY(&exec->arena, Raw, func->n_values + 1);
    for (int32_t i = 0; i < func->body->n_args; i++) {
        Raw raw = raw_for(r, func->body->args[i]);
        for (int64_t j = 0; j < args[i].n; j++) {
            raw_set(raw.dtype, raw.data, j, args[i].f ? args[i].f[j] : 0,
                    args[i].i ? args[i].i[j] : 0);
        }
        r->values[func->body->args[i]->id] = raw;
    }
    run_block(r, func->body);
    const Op *yield = block_yield(func->body);
    for (int32_t i = 0; i < yield->n_operands && !r->failed; i++) {
        const Value *v = yield->operands[i];
        Raw raw = r->values[v->id];
        int64_t dims[TYPE_MAX_RANK];
        for (int32_t d = 0; d < v->type.rank; d++) {
            dims[d] = value_of(r, v->type.dims[d]);
        }
        eval_tensor_init(&results[i], v->type.dtype, v->type.rank, dims, NULL);
        for (int64_t j = 0; j < raw.n; j++) {
            if (results[i].f) {
                results[i].f[j] = raw_get(raw.dtype, raw.data, j);
            } else {
                results[i].i[j] = raw_get_int(raw.dtype, raw.data, j);
            }
        }
    }
}

bool kernel_exec(KernelExec *exec, Func *func, const EvalTensor *args, EvalTensor *results) {
    Run run = {.exec = exec};
    arena_init(&exec->arena, NULL, exec->context->boundary);
    exec->lower = (LowerContext){.context = exec->context,
                                 .arena = &exec->arena,
                                 .bodies = &exec->arena,
                                 .machine = exec->machine,
                                 .site_of = any_site};
    run_func(&run, func, args, results);
    arena_finish(&exec->arena);
    return !run.failed;
}
