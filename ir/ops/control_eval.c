/* Reference evaluation of the control ops: loops run their blocks with interp_block. */
#include "ir/ops/rule.h"
#include <string.h>

/* Row `at` of a stacked tensor, as a view of it. */
static EvalTensor row_view(const EvalTensor *stacked, int64_t at) {
    EvalTensor row = {.dtype = stacked->dtype, .rank = stacked->rank - 1, .n = 1};
    for (int32_t i = 0; i < row.rank; i++) {
        row.dims[i] = stacked->dims[1 + i];
        row.n *= row.dims[i];
    }
    row.f = stacked->f ? stacked->f + at * row.n : NULL;
    row.i = stacked->i ? stacked->i + at * row.n : NULL;
    return row;
}

/* Copies yields into carries: first all aside, since a yield may be another carry itself. */
static dlc_status copy_carries(Interp *interp, const EvalTensor *const *from, EvalTensor **to,
                               int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        EvalTensor copy = {0};
        dlc_status status = eval_tensor_init(&copy, from[i]->dtype, from[i]->rank, from[i]->dims,
                                             interp->allocator);
        if (status) {
            return status;
        }
        tensor_copy_all(&copy, from[i]);
        eval_tensor_finish(to[i], interp->allocator);
        *to[i] = copy;
    }
    return DLC_OK;
}

/* Copies of the carries, owned by the loop; `carries` has room for 2 * count pointers, whose second
 * half is the other set that copy_carries fills before the two are swapped. */
typedef struct LoopState {
    EvalTensor *tensors; /* 2 * count */
    EvalTensor **now, **next;
    const EvalTensor **args, **yields;
    int64_t count;
} LoopState;

static void loop_finish(Interp *interp, LoopState *loop) {
    for (int64_t i = 0; loop->tensors && i < 2 * loop->count; i++) {
        eval_tensor_finish(&loop->tensors[i], interp->allocator);
    }
    interp_free(interp, loop->tensors);
    interp_free(interp, loop->now);
    interp_free(interp, loop->args);
}

static dlc_status loop_init(Interp *interp, const Op *op, LoopState *loop, int64_t count,
                            int64_t n_args, int64_t n_yields) {
    *loop = (LoopState){.count = count};
    loop->tensors = interp_alloc(interp, (size_t)(2 * count) * sizeof(EvalTensor));
    loop->now = interp_alloc(interp, (size_t)(2 * count) * sizeof(EvalTensor *));
    loop->args = interp_alloc(interp, (size_t)(n_args + n_yields) * sizeof(EvalTensor *));
    if (!loop->tensors || !loop->now || !loop->args) {
        loop_finish(interp, loop);
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    loop->next = loop->now + count;
    loop->yields = loop->args + n_args;
    dlc_status status = DLC_OK;
    for (int64_t i = 0; i < count; i++) {
        loop->now[i] = &loop->tensors[i];
        loop->next[i] = &loop->tensors[count + i];
        const EvalTensor *start = interp_operand(interp, op, (int32_t)i);
        status = status ? status : copy_carries(interp, &start, &loop->now[i], 1);
    }
    if (status) {
        loop_finish(interp, loop);
    }
    return status;
}

static dlc_status loop_advance(Interp *interp, LoopState *loop) {
    dlc_status status = copy_carries(interp, loop->yields, loop->next, loop->count);
    EvalTensor **now = loop->now;
    for (int64_t i = 0; i < loop->count; i++) {
        EvalTensor *swap = now[i];
        now[i] = loop->next[i];
        loop->next[i] = swap;
    }
    return status;
}

dlc_status eval_scan(Interp *interp, const Op *op) {
    int64_t carries = scan_carries(op), length = 0;
    const Block *body = op->blocks[0];
    dlc_status status = interp_size(interp, scan_length(op), &length);
    if (status) {
        return status;
    }
    LoopState loop;
    status = loop_init(interp, op, &loop, carries, body->n_args, op->n_results);
    if (status) {
        return status;
    }
    int64_t n_xs = op->n_operands - carries;
    EvalTensor index = {0};
    EvalTensor *rows = interp_alloc(interp, (size_t)n_xs * sizeof(EvalTensor));
    status = rows ? eval_tensor_init(&index, DT_I32, 0, NULL, interp->allocator)
                  : DLC_ERROR_OUT_OF_MEMORY;
    for (int64_t k = 0; !status && k < length; k++) {
        int64_t at = scan_reverse(op) ? length - 1 - k : k;
        index.i[0] = at;
        loop.args[0] = &index;
        for (int64_t i = 0; i < carries; i++) {
            loop.args[1 + i] = loop.now[i];
        }
        for (int64_t i = 0; i < n_xs; i++) {
            rows[i] = row_view(interp_operand(interp, op, (int32_t)(carries + i)), at);
            loop.args[1 + carries + i] = &rows[i];
        }
        status = interp_block(interp, body, loop.args, loop.yields);
        for (int32_t i = (int32_t)carries; !status && i < op->n_results; i++) {
            EvalTensor row = row_view(interp_result(interp, op, i), at);
            tensor_copy_all(&row, loop.yields[i]);
        }
        status = status ? status : loop_advance(interp, &loop);
    }
    for (int64_t i = 0; !status && i < carries; i++) {
        tensor_copy_all(interp_result(interp, op, (int32_t)i), loop.now[i]);
    }
    interp_free(interp, rows);
    eval_tensor_finish(&index, interp->allocator);
    loop_finish(interp, &loop);
    return status;
}

dlc_status eval_while(Interp *interp, const Op *op) {
    int64_t limit = while_limit(op);
    LoopState loop;
    dlc_status status =
        loop_init(interp, op, &loop, op->n_operands, op->n_operands, op->n_operands);
    if (status) {
        return status;
    }
    for (int64_t k = 0; !status; k++) {
        const EvalTensor *again = NULL;
        for (int64_t i = 0; i < loop.count; i++) {
            loop.args[i] = loop.now[i];
        }
        status = interp_block(interp, op->blocks[0], loop.args, &again);
        if (status || !again->i[0]) {
            break;
        }
        if (limit > 0 && k >= limit) {
            status = interp_fail(interp, op, "while: more than %lld iterations", (long long)limit);
            break;
        }
        status = interp_block(interp, op->blocks[1], loop.args, loop.yields);
        status = status ? status : loop_advance(interp, &loop);
    }
    for (int64_t i = 0; !status && i < loop.count; i++) {
        tensor_copy_all(interp_result(interp, op, (int32_t)i), loop.now[i]);
    }
    loop_finish(interp, &loop);
    return status;
}

dlc_status eval_fusion(Interp *interp, const Op *op) {
    const EvalTensor **args =
        interp_alloc(interp, (size_t)(op->n_operands + op->n_results) * sizeof(EvalTensor *));
    if (!args) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    const EvalTensor **yields = args + op->n_operands;
    for (int32_t i = 0; i < op->n_operands; i++) {
        args[i] = interp_operand(interp, op, i);
    }
    dlc_status status = interp_block(interp, op->blocks[0], args, yields);
    for (int32_t i = 0; !status && i < op->n_results; i++) {
        tensor_copy_all(interp_result(interp, op, i), yields[i]);
    }
    interp_free(interp, args);
    return status;
}

dlc_status eval_yield(Interp *interp, const Op *op) {
    (void)interp;
    (void)op;
    return DLC_OK;
}

dlc_status eval_grad(Interp *interp, const Op *op) {
    return interp_fail(interp, op, "grad: must be differentiated away before it can be evaluated");
}

dlc_status eval_check(Interp *interp, const Op *op) {
    if (!interp_operand(interp, op, 0)->i[0]) {
        return interp_fail(interp, op, "check failed: %s", check_text(op));
    }
    return DLC_OK;
}

dlc_status eval_show(Interp *interp, const Op *op) {
    (void)interp;
    (void)op;
    return DLC_OK;
}

dlc_status eval_size_check(Interp *interp, const Op *op) {
    int64_t left = 0, right = 0;
    dlc_status status = interp_size(interp, size_check_left(op), &left);
    status = status ? status : interp_size(interp, size_check_right(op), &right);
    if (!status && left != right) {
        return interp_fail(interp, op, "sizes %lld and %lld must be equal: %s", (long long)left,
                           (long long)right, size_check_text(op));
    }
    return status;
}
