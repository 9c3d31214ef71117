/* A training step over equal parts of the batch: the forward half in a loop, whose sums stand for
 * the whole batch. A pass over the whole batch comes first; it tells what a part is a part of. */
#include "frontend/elaborate/train.h"

#include <string.h>

/* An input cut into `accumulate` parts along the batch: [k, B/k, …]. */
static Value *cut_input(Train *t, Value *input, const Size *part) {
    Elaborator *el = t->el;
    const Size *k = size_const(el->context, t->accumulate);
    const Size *shape[TYPE_MAX_RANK];
    Type type = input->type;
    if (type.rank == TYPE_MAX_RANK) {
        EL_REPORT(el, RANK_LIMIT, t->place, TYPE_MAX_RANK + 1);
        return NULL;
    }
    const Size *whole = size_mul(el->context, k, part);
    elaborate_at(el, t->place);
    Value *rows =
        whole == type.dims[0]
            ? input
            : elaborate_made(el, b_slice_axis(&el->b, input, 0, size_const(el->context, 0), whole),
                             t->place);
    shape[0] = k;
    shape[1] = part;
    copy_sizes(shape + 2, type.dims + 1, type.rank - 1);
    return elaborate_reshape(el, rows, shape, type.rank + 1, t->place);
}

/* The values summed over the micro-batches: gradients, losses, metrics. */
static int32_t summed_values(Train *t, Value **out) {
    int32_t count = 0;
    for (int32_t i = 0; i < t->n_params; i++) {
        out[count++] = t->grads[i];
    }
    out[count++] = t->loss;
    for (size_t i = 0; i < t->fs->losses.count; i++) {
        out[count++] = t->fs->losses.items[i].value.as.tensor;
    }
    for (size_t i = 0; i < t->fs->metrics.count; i++) {
        out[count++] = t->fs->metrics.items[i].value.as.tensor;
        if (t->fs->metrics.items[i].over) {
            out[count++] = t->fs->metrics.items[i].over;
        }
    }
    return count;
}

/* The loop's sums in place of the body's values; means where the sum is one of means. */
static void take_sums(Train *t, const Op *op) {
    int32_t at = 0;
    double part = 1.0 / (double)t->accumulate;
    for (int32_t i = 0; i < t->n_params; i++, at++) {
        Value *sum = op->results[at];
        t->grads[i] = train_binary(t, OP_mul, sum, train_number(t, part, sum->type));
    }
    t->loss =
        train_binary(t, OP_mul, op->results[at], train_number(t, part, op->results[at]->type));
    at++;
    for (size_t i = 0; i < t->fs->losses.count; i++, at++) {
        Value *mean =
            train_binary(t, OP_mul, op->results[at], train_number(t, part, op->results[at]->type));
        t->fs->losses.items[i].value = val_tensor(mean, false, t->place);
        t->fs->losses.items[i].over = NULL; /* parts divide by shares of the whole's */
    }
    for (size_t i = 0; i < t->fs->metrics.count; i++, at++) {
        Named *metric = &t->fs->metrics.items[i];
        Value *sum = op->results[at];
        if (metric->over) {
            metric->over = op->results[++at];
        } else {
            sum = train_binary(t, OP_mul, sum, train_number(t, part, sum->type));
        }
        metric->value = val_tensor(sum, false, t->place);
    }
}

/* What counts the rows: a free dim, or one that -D fixed (then a number goes by its name). */
typedef struct Rows {
    const Dim *dim;
    Global *fixed;
    const Size *all, *part;
    Place place;
} Rows;

/* The dim that the declared type of an input begins with; NULL when there is none. */
static Global *leading_dim(Elaborator *el, const AstParam *param) {
    const AstSizes *sizes = &param->type->sizes;
    const AstExpr *first = sizes->count > 0 ? sizes->items[0].expr : NULL;
    if (first == NULL || first->kind != AST_NAME) {
        return NULL;
    }
    Global *global = env_find(el, el->user, NAMES_VALUE, first->as.name, first->place);
    return global && global->kind == GLOBAL_DIM ? global : NULL;
}

static bool find_rows(Train *t, Rows *out) {
    Elaborator *el = t->el;
    const AstParams *params = &el->model->as.fn.params;
    *out = (Rows){.dim = el->batch};
    for (int32_t i = 0; i < params->count && el->batch == NULL; i++) {
        Global *global = leading_dim(el, &params->items[i]);
        out->fixed = out->fixed ? out->fixed : global;
        if (global && global != out->fixed) {
            out->fixed = NULL;
            break;
        }
    }
    if (out->dim) {
        out->all = size_dim(el->context, out->dim);
        out->place = out->dim->place;
    } else if (out->fixed && val_as_size(el, out->fixed->value, &out->all)) {
        out->place = out->fixed->place;
    } else {
        EL_REPORT(el, BATCH_DIM, t->place,
                  "`accumulate` cuts the batch, but no input begins with a dim");
        return false;
    }
    const Size *k = size_const(el->context, t->accumulate);
    Place asked = find_setting(el->train, "accumulate")->place;
    out->part = size_floordiv(el->context, out->all, k);
    return elaborate_same_size(el, out->all, out->place, size_mul(el->context, k, out->part), asked,
                               asked, "`accumulate` must divide the batch");
}

static bool has_rows(Train *t, const Rows *rows, int32_t input) {
    Type type = t->fs->inputs[input]->type;
    if (rows->dim) {
        return type.rank > 0 && size_as_dim(type.dims[0]) == rows->dim;
    }
    return leading_dim(t->el, &t->el->model->as.fn.params.items[input]) == rows->fixed;
}

/* -- the pass over the whole batch */

static void forget_pass(Train *t) {
    FuncState *fs = t->fs;
    for (size_t i = 0; i < fs->uses.count; i++) {
        PersistUse *use = fs->uses.entries[i].value;
        use->value = use->arg;
        use->written = use->declared = false;
    }
}

static void need_operands(const Op *op, bool *needed) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        needed[op->operands[i]->id] = true;
    }
    for (int32_t i = 0; i < op->n_blocks; i++) {
        BLOCK_EACH_OP (op->blocks[i], inner) {
            need_operands(inner, needed);
        }
    }
}

/* Takes out again the ops after `last`, which are not part of the step, but those that divisors of
 * losses are made of. */
static void drop_ops(Train *t, const Op *last) {
    Func *func = t->fs->func;
    func_renumber(func);
    bool *needed = ARENA_ARRAY(t->el->arena, bool, func->n_values + 1);
    bool divides = false;
    for (size_t i = 0; i < t->fs->losses.count; i++) {
        const Value *over = t->fs->losses.items[i].over;
        if (over) {
            needed[over->id] = divides = true;
        }
    }
    for (Op *op = func->body->last, *before; op != last; op = before) {
        before = op->prev;
        bool stays = divides && op->code == OP_size_check;
        for (int32_t i = 0; i < op->n_results; i++) {
            stays = stays || needed[op->results[i]->id];
        }
        if (stays) {
            need_operands(op, needed);
        } else {
            op_unlink(op);
        }
    }
}

/* What each part divides its losses by: its share of the whole batch's divisor, so that their mean
 * is the quotient of the sums. */
static void note_shares(Train *t, Parts *parts) {
    double share = 1.0 / (double)t->accumulate;
    for (size_t i = 0; i < t->fs->losses.count; i++) {
        const Named *loss = &t->fs->losses.items[i];
        if (loss->over) {
            Value *part = train_number(t, share, loss->over->type);
            map_set(&parts->shares, loss->name, train_binary(t, OP_mul, loss->over, part));
        }
    }
}

/* Elaborates the model's body for the whole batch and notes what it draws. */
static bool whole_pass(Train *t, const Rows *rows) {
    Elaborator *el = t->el;
    Parts *parts = ARENA_NEW(el->arena, Parts);
    *parts = (Parts){.count = size_const(el->context, t->accumulate)};
    map_init(&parts->draws, el->arena);
    map_init(&parts->shares, el->arena);
    t->fs->parts = parts;
    Op *last = t->fs->func->body->last;
    int64_t n_iterations = el->n_iterations, n_ops = el->n_ops;
    bool good = train_body(t, t->fs->inputs);
    if (good) {
        drop_ops(t, last);
        note_shares(t, parts);
    }
    forget_pass(t);
    el->n_iterations = n_iterations;
    el->n_ops = n_ops;
    if (rows->dim) {
        parts->by = ARENA_ARRAY(el->arena, const Size *, el->module->n_dims + 1);
        parts->by[rows->dim->id] = size_mul(el->context, parts->count, rows->part);
    }
    return good;
}

/* -- the loop over parts */

/* The model's body on one part, where the dim's name means a part's rows. */
static bool forward_part(Train *t, const Objective *objective, const Rows *rows,
                         Value *const *inputs) {
    Elaborator *el = t->el;
    Val whole = rows->fixed ? rows->fixed->value : val_error();
    if (rows->fixed) {
        rows->fixed->value = val_size(rows->part, rows->place);
    } else {
        el->dim_values = ARENA_ARRAY(el->arena, const Size *, el->module->n_dims + 1);
        el->dim_values[rows->dim->id] = rows->part;
    }
    bool good = train_forward(t, objective, inputs);
    el->dim_values = NULL;
    if (rows->fixed) {
        rows->fixed->value = whole;
    }
    el->scope = scope_push(el, true); /* forward leaves none; loop_leave takes one away */
    return good;
}

/* The inputs that have rows, cut into parts; false after a report. */
static bool cut_inputs(Train *t, const Rows *rows, Value **out, int32_t *out_count) {
    int32_t n_params = t->el->model->as.fn.params.count;
    *out_count = 0;
    for (int32_t i = 0; i < n_params; i++) {
        if (has_rows(t, rows, i)) {
            Value *x = cut_input(t, t->fs->inputs[i], rows->part);
            out[(*out_count)++] = x;
            if (!x) {
                return false;
            }
        }
    }
    return true;
}

bool train_micro_batches(Train *t, const Objective *objective) {
    Elaborator *el = t->el;
    const AstParams *params = &el->model->as.fn.params;
    const Size *k = size_const(el->context, t->accumulate);
    Value **xs = ARENA_ARRAY(el->arena, Value *, params->count + 1);
    Value **inputs = ARENA_ARRAY(el->arena, Value *, params->count + 1);
    int32_t n_xs = 0;
    Rows rows;
    if (!find_rows(t, &rows) || (!t->fs->parts && !whole_pass(t, &rows))) {
        return false;
    }
    if (!cut_inputs(t, &rows, xs, &n_xs)) {
        return false;
    }
    elaborate_at(el, t->place);
    Op *draft = b_scan_begin(&el->b, NULL, 0, xs, n_xs, k, false, 0);
    if (elaborate_building_failed(el, t->place) || draft == NULL) {
        return false;
    }
    Block *body = draft->blocks[0];
    for (int32_t i = 0, at = 1; i < params->count; i++) {
        inputs[i] = has_rows(t, &rows, i) ? body->args[at++] : t->fs->inputs[i];
    }
    Loop loop = {.length = k, .index = body->args[0]};
    LoopEntry entry = loop_enter(el, &loop, body);
    t->fs->parts->loop = &loop;
    bool good = forward_part(t, objective, &rows, inputs);
    size_t most = (size_t)t->n_params + 1 + t->fs->losses.count + 2 * t->fs->metrics.count;
    Value **nexts = ARENA_ARRAY(el->arena, Value *, most + 1);
    Value **starts = ARENA_ARRAY(el->arena, Value *, most + 1);
    Value **args = ARENA_ARRAY(el->arena, Value *, most + (size_t)n_xs + 2);
    int32_t count = good ? summed_values(t, nexts) : 0;
    args[0] = body->args[0];
    for (int32_t i = 0; i < count; i++) {
        args[1 + i] = block_add_arg(body, nexts[i]->type, NULL);
        nexts[i] = train_binary(t, OP_add, args[1 + i], nexts[i]);
        good = good && nexts[i];
    }
    for (int32_t i = 0; i < n_xs; i++) {
        args[1 + count + i] = body->args[1 + i];
    }
    loop_leave(el, &entry);
    t->fs->parts->loop = NULL;
    if (!good) {
        return false;
    }
    for (int32_t i = 0; i < count; i++) {
        starts[i] = train_number(t, 0.0, args[1 + i]->type);
    }
    body->args = args; /* hidden carries are known to the loop, not by position */
    Op *op = scan_finish(el, &loop, starts, nexts, count, xs, n_xs, NULL, 0, t->place);
    if (op == NULL) {
        return false;
    }
    take_sums(t, op);
    return true;
}
