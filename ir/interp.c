/* The reference interpreter: runs the ops of a Func in order with the eval rules of ir/ops. Values
 * are found by id; a block run again overwrites the tensors of its ops. */
#include "ir/interp.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const EvalTensor *interp_operand(Interp *interp, const Op *op, int32_t index) {
    return interp->values[op->operands[index]->id];
}

EvalTensor *interp_result(Interp *interp, const Op *op, int32_t index) {
    return interp->values[op->results[index]->id];
}

dlc_status interp_fail(Interp *interp, const Op *op, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(interp->message, sizeof interp->message, format, args);
    va_end(args);
    interp->fault_place = op->place;
    return DLC_ERROR_FAULT;
}

dlc_status interp_size(Interp *interp, const Size *size, int64_t *out) {
    if (!size_eval(size, interp->dim_values, interp->n_dims, out)) {
        snprintf(interp->message, sizeof interp->message,
                 "a size expression overflows or divides by zero");
        return DLC_ERROR_FAULT;
    }
    return DLC_OK;
}

/* Concrete sizes of a type; negative ones are a fault. */
static dlc_status concrete_dims(Interp *interp, Type type, int64_t *dims) {
    for (int32_t i = 0; i < type.rank; i++) {
        dlc_status status = interp_size(interp, type.dims[i], &dims[i]);
        if (status) {
            return status;
        }
        if (dims[i] < 0) {
            snprintf(interp->message, sizeof interp->message, "a size is %lld, below zero",
                     (long long)dims[i]);
            return DLC_ERROR_FAULT;
        }
    }
    return DLC_OK;
}

/* A fresh zeroed tensor for result `index`. */
static dlc_status make_result(Interp *interp, const Op *op, int32_t index) {
    const Value *value = op->results[index];
    EvalTensor *tensor = &interp->storage[value->id];
    int64_t dims[TYPE_MAX_RANK] = {0};
    dlc_status status = concrete_dims(interp, value->type, dims);
    if (status) {
        interp->fault_place = op->place;
        return status;
    }
    eval_tensor_finish(tensor, interp->allocator);
    status = eval_tensor_init(tensor, value->type.dtype, value->type.rank, dims, interp->allocator);
    if (status) {
        snprintf(interp->message, sizeof interp->message, "no memory for a tensor of %s",
                 op_info(op->code)->name);
        return status;
    }
    interp->values[value->id] = tensor;
    return DLC_OK;
}

static void round_result(const Interp *interp, EvalTensor *tensor) {
    if (tensor->f) {
        bool exact = interp->wide || tensor->dtype == DT_F64;
        for (int64_t i = 0; !exact && i < tensor->n; i++) {
            tensor->f[i] = round_to_dtype(tensor->f[i], tensor->dtype);
        }
    } else {
        for (int64_t i = 0; i < tensor->n; i++) {
            tensor->i[i] = wrap_int(tensor->i[i], tensor->dtype);
        }
    }
}

static dlc_status run_op(Interp *interp, const Op *op) {
    dlc_status status = DLC_OK;
    for (int32_t i = 0; !status && i < op->n_results; i++) {
        status = make_result(interp, op, i);
    }
    if (!status) {
        status = op_info(op->code)->eval(interp, op);
    }
    for (int32_t i = 0; !status && i < op->n_results; i++) {
        round_result(interp, interp_result(interp, op, i));
    }
    return status;
}

dlc_status interp_block(Interp *interp, const Block *block, const EvalTensor *const *args,
                        const EvalTensor **yields) {
    for (int32_t i = 0; i < block->n_args; i++) {
        interp->values[block->args[i]->id] = (EvalTensor *)args[i]; /* only read */
    }
    BLOCK_EACH_OP (block, op) {
        dlc_status status = run_op(interp, op);
        if (status) {
            return status;
        }
    }
    const Op *yield = block_yield(block);
    for (int32_t i = 0; i < yield->n_operands; i++) {
        yields[i] = interp_operand(interp, yield, i);
    }
    return DLC_OK;
}

static dlc_status check_args(Interp *interp, const EvalTensor *const *args) {
    const Block *body = interp->func->body;
    for (int32_t i = 0; i < body->n_args; i++) {
        Type type = body->args[i]->type;
        int64_t dims[TYPE_MAX_RANK] = {0};
        dlc_status status = concrete_dims(interp, type, dims);
        if (status) {
            return status;
        }
        bool fits = args[i]->dtype == type.dtype && args[i]->rank == type.rank;
        for (int32_t k = 0; fits && k < type.rank; k++) {
            fits = args[i]->dims[k] == dims[k];
        }
        if (!fits) {
            Str text; /* not the context's: other ranks run meanwhile */
            str_init(&text, interp->allocator);
            type_print(type, &text);
            snprintf(interp->message, sizeof interp->message,
                     "argument %d ('%s') does not have the type %s", (int)i,
                     interp->func->args[i].name, str_text(&text));
            str_finish(&text);
            return DLC_ERROR_MISMATCH;
        }
    }
    return DLC_OK;
}

/* Owned copies of the yielded tensors; all or none. */
static dlc_status copy_results(Interp *interp, const EvalTensor *const *yields, int32_t count,
                               EvalTensor *results) {
    for (int32_t i = 0; i < count; i++) {
        const EvalTensor *from = yields[i];
        dlc_status status =
            eval_tensor_init(&results[i], from->dtype, from->rank, from->dims, interp->allocator);
        if (status) {
            while (i-- > 0) {
                eval_tensor_finish(&results[i], interp->allocator);
            }
            return status;
        }
        size_t bytes = (size_t)from->n * sizeof(double);
        if (from->f) {
            memcpy(results[i].f, from->f, bytes);
        } else {
            memcpy(results[i].i, from->i, bytes);
        }
    }
    return DLC_OK;
}

dlc_status interp_run(Interp *interp, Func *func, const EvalTensor *const *args,
                      EvalTensor *results) {
    func_renumber(func);
    return interp_run_numbered(interp, func, args, results);
}

dlc_status interp_run_numbered(Interp *interp, Func *func, const EvalTensor *const *args,
                               EvalTensor *results) {
    interp->func = func;
    interp->message[0] = 0;
    const Op *yield = block_yield(func->body);
    int32_t n_yields = yield ? yield->n_operands : 0;
    size_t n_values = (size_t)func->n_values;
    interp->values = interp_alloc(interp, n_values * sizeof(EvalTensor *));
    interp->storage = interp_alloc(interp, n_values * sizeof(EvalTensor));
    const EvalTensor **yields = interp_alloc(interp, (size_t)n_yields * sizeof(EvalTensor *));
    dlc_status status = DLC_ERROR_OUT_OF_MEMORY;
    if (interp->values && interp->storage && yields) {
        status = check_args(interp, args);
    }
    if (!status) {
        status = interp_block(interp, func->body, args, yields);
    }
    if (!status) {
        status = copy_results(interp, yields, n_yields, results);
    }
    for (size_t i = 0; interp->storage && i < n_values; i++) {
        eval_tensor_finish(&interp->storage[i], interp->allocator);
    }
    interp_free(interp, yields);
    interp_free(interp, interp->storage);
    interp_free(interp, interp->values);
    interp->storage = NULL;
    interp->values = NULL;
    return status;
}
