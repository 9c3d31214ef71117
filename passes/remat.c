/* Rematerialisation: where a Func's values need more memory than the limit, kernels whose results
 * wait for late readers run again in front of those, and the results need not wait. Those go first
 * that win most bytes for the time they take, so elementwise kernels before products; what a
 * repeated kernel reads may be repeated in its turn. A kernel is repeated whole, on the same
 * values, so every bit stays. Works on fused Funcs at the dims' nominal values and the batch of the
 * train block, and estimates lifetimes in the order in which kernels run. */
#include "passes/pass.h"

#include "ir/base/checked.h"
#include "ir/base/number.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_CLONES = 2000 };

typedef struct Remat {
    PassContext *pass;
    Func *func;
    int64_t *dims; /* by dim id */
    int32_t n_dims;
    Op **ops; /* of the body, in order */
    int32_t n_ops;
    /* By value id, of roots (a view belongs to what it shows): */
    int32_t *first, *last; /* positions; first -1: an argument, or inside a kernel or loop */
    double *bytes;
    double *live; /* by position */
    int32_t n_values, values_room, ops_room;
    double args; /* bytes of the Func's arguments */
} Remat;

static double value_bytes(const Remat *r, const Value *v) {
    double count = dtype_bytes(v->type.dtype);
    for (int32_t i = 0; i < v->type.rank; i++) {
        int64_t n = 1;
        count *= size_eval(v->type.dims[i], r->dims, r->n_dims, &n) ? (double)n : 1;
    }
    return count;
}

static const Value *root_of(const Value *v) {
    while (v->op && v->op->code == OP_reshape) {
        v = v->op->operands[0];
    }
    return v;
}

static void note_uses(Remat *r, const Op *op, int32_t at) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        int32_t id = root_of(op->operands[i])->id;
        r->last[id] = at > r->last[id] ? at : r->last[id];
    }
    for (int32_t b = 0; b < op->n_blocks && op->code != OP_fusion; b++) {
        BLOCK_EACH_OP (op->blocks[b], inner) {
            note_uses(r, inner, at);
        }
    }
}

/* What a loop's body holds at once, about: its largest op. */
static double inner_bytes(const Remat *r, const Op *op) {
    double most = 0;
    for (int32_t b = 0; b < op->n_blocks && op->code != OP_fusion; b++) {
        BLOCK_EACH_OP (op->blocks[b], inner) {
            double sum = inner_bytes(r, inner);
            for (int32_t i = 0; i < inner->n_results; i++) {
                sum += value_bytes(r, inner->results[i]);
            }
            most = sum > most ? sum : most;
        }
    }
    return most;
}

/* A new value of a parameter or slot is written over the old one. */
static void release_stores(Remat *r, const Op *yield) {
    for (int32_t i = 0; i < yield->n_operands; i++) {
        const Value *v = root_of(yield->operands[i]);
        if (r->func->results[i].role == RESULT_STORE && r->first[v->id] >= 0) {
            r->bytes[v->id] = 0;
        }
    }
}

static void make_room(Remat *r) {
    Arena *arena = r->pass->scratch;
    if (r->n_values > r->values_room) {
        r->values_room = 2 * r->n_values;
        r->first = ARENA_ARRAY(arena, int32_t, r->values_room);
        r->last = ARENA_ARRAY(arena, int32_t, r->values_room);
        r->bytes = ARENA_ARRAY(arena, double, r->values_room);
    }
    if (r->n_ops > r->ops_room) {
        r->ops_room = 2 * r->n_ops;
        r->ops = ARENA_ARRAY(arena, Op *, r->ops_room);
        r->live = ARENA_ARRAY(arena, double, r->ops_room);
    }
}

/* Fills in who lives when; the most bytes at once. */
static double measure(Remat *r) {
    Func *func = r->func;
    func_renumber(func);
    r->n_values = func->n_values;
    r->n_ops = 0;
    BLOCK_EACH_OP (func->body, op) {
        r->n_ops++;
    }
    make_room(r);
    for (int32_t i = 0; i < r->n_values; i++) {
        r->first[i] = r->last[i] = -1;
    }
    int32_t at = 0;
    BLOCK_EACH_OP (func->body, op) {
        for (int32_t i = 0; i < op->n_results && op->code != OP_reshape; i++) {
            int32_t id = op->results[i]->id;
            r->first[id] = r->last[id] = at;
            r->bytes[id] = value_bytes(r, op->results[i]);
        }
        note_uses(r, op, at);
        r->live[at] = r->args + inner_bytes(r, op);
        r->ops[at++] = op;
    }
    release_stores(r, r->ops[r->n_ops - 1]);
    for (int32_t i = 0; i < r->n_values; i++) {
        for (int32_t k = r->first[i]; k >= 0 && k <= r->last[i]; k++) {
            r->live[k] += r->bytes[i];
        }
    }
    double peak = 0;
    for (int32_t k = 0; k < r->n_ops; k++) {
        peak = r->live[k] > peak ? r->live[k] : peak;
    }
    return peak;
}

/* Kernels that add into what they get, or sort, stay alone. */
static bool is_repeatable(const Op *op) {
    static const char *const forms[] = {"loop", "row", "reduce", "contract", "conv"};
    for (int32_t i = 0; i < 5 && op->code == OP_fusion; i++) {
        if (strcmp(fusion_form(op), forms[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Operations of one run, about: where none are told to the user, what an element takes in a loop.
 */
static double work_of(const Remat *r, const Op *op) {
    int64_t flops = 0;
    size_eval(op_flops(r->pass->context, op), r->dims, r->n_dims, &flops);
    if (flops > 0 || op->n_results == 0) {
        return (double)flops;
    }
    double elements = value_bytes(r, op->results[0]) / dtype_bytes(op->results[0]->type.dtype);
    return elements * op_info(op->code)->work;
}

/* Of one run, about. */
static double seconds_of(const Remat *r, const Op *fusion) {
    const Machine *machine = r->pass->machine;
    double flops = 0, bytes = 0;
    BLOCK_EACH_OP (fusion->blocks[0], op) {
        flops += work_of(r, op);
    }
    for (int32_t i = 0; i < fusion->n_operands; i++) {
        bytes += value_bytes(r, fusion->operands[i]);
    }
    for (int32_t i = 0; i < fusion->n_results; i++) {
        bytes += value_bytes(r, fusion->results[i]);
    }
    return machine->launch_seconds + flops / machine->flops_per_second +
           bytes / machine->bytes_per_second;
}

static bool reads(const Op *op, const Value *root) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        if (root_of(op->operands[i]) == root) {
            return true;
        }
    }
    for (int32_t b = 0; b < op->n_blocks && op->code != OP_fusion; b++) {
        BLOCK_EACH_OP (op->blocks[b], inner) {
            if (reads(inner, root)) {
                return true;
            }
        }
    }
    return false;
}

/* The first reader of a result after position `at`; 0: one reads at `at` itself, or none does. */
static int32_t next_reader(const Remat *r, const Op *op, int32_t at) {
    for (int32_t k = at; k < r->n_ops; k++) {
        for (int32_t i = 0; i < op->n_results; i++) {
            if (reads(r->ops[k], op->results[i])) {
                return k == at || k == r->n_ops - 1 ? 0 : k;
            }
        }
    }
    return 0;
}

/* Bytes less at position `at` when the op runs again for its readers after it. */
static double gain_of(const Remat *r, const Op *op, int32_t at, int32_t *out_next) {
    double gain = 0;
    for (int32_t i = 0; i < op->n_results; i++) {
        int32_t id = op->results[i]->id;
        gain += r->first[id] < at && r->last[id] > at ? r->bytes[id] : 0;
    }
    int32_t next = gain > 0 ? next_reader(r, op, at) : 0;
    for (int32_t i = 0; i < op->n_operands && next > 0; i++) {
        const Value *root = root_of(op->operands[i]);
        bool waits = r->first[root->id] < 0 || r->last[root->id] >= at;
        gain -= waits ? 0 : r->bytes[root->id];
    }
    *out_next = next;
    return next > 0 ? gain : 0;
}

typedef struct Choice {
    Op *op;
    int32_t next;
    double value; /* bytes won for each second */
} Choice;

static Choice choose(const Remat *r, Op *const *tried, int32_t n_tried, int32_t at) {
    Choice best = {0};
    for (int32_t k = 0; k < at; k++) {
        Op *op = r->ops[k];
        int32_t next = 0;
        bool known = !is_repeatable(op);
        for (int32_t i = 0; i < n_tried && !known; i++) {
            known = tried[i] == op;
        }
        double gain = known ? 0 : gain_of(r, op, at, &next);
        double value = gain > 0 ? gain / seconds_of(r, op) : 0;
        if (value > best.value) {
            best = (Choice){op, next, value};
        }
    }
    return best;
}

static Op *clone_fusion(Func *func, const Op *op, Op *position) {
    Op *copy = op_create(func, op->code, op->operands, op->n_operands, op->n_results, op->n_blocks);
    memcpy(copy->attrs, op->attrs, sizeof(copy->attrs));
    copy->place = op->place;
    copy->label = op->label;
    Value **map = ARENA_ARRAY(&func->module->arena, Value *, func->n_values + 1);
    const Block *body = op->blocks[0];
    for (int32_t i = 0; i < body->n_args; i++) {
        map[body->args[i]->id] =
            block_add_arg(copy->blocks[0], body->args[i]->type, body->args[i]->name);
    }
    block_clone_ops(func, body, NULL, copy->blocks[0], map);
    const Op *yield = block_yield(body);
    Value **results = ARENA_ARRAY(&func->module->arena, Value *, yield->n_operands + 1);
    for (int32_t i = 0; i < yield->n_operands; i++) {
        Value *mapped = map[yield->operands[i]->id];
        results[i] = mapped ? mapped : yield->operands[i];
        copy->results[i]->type = op->results[i]->type;
    }
    Op *end = op_create(func, OP_yield, results, yield->n_operands, 0, 0);
    end->place = yield->place;
    op_append(copy->blocks[0], end);
    op_insert_before(copy, position);
    return copy;
}

static void redirect_block(Op *op, const Op *from, const Op *to) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        Value *v = op->operands[i];
        if (v->op == from) {
            op_set_operand(op, i, to->results[v->index]);
        }
    }
    for (int32_t b = 0; b < op->n_blocks && op->code != OP_fusion; b++) {
        BLOCK_EACH_OP (op->blocks[b], inner) {
            redirect_block(inner, from, to);
        }
    }
}

/* Lets every reader from `next` on read a repeated kernel, which is returned; NULL: one of them
 * reads through a view. */
static Op *repeat(Remat *r, const Choice *choice) {
    for (int32_t k = choice->next; k < r->n_ops; k++) {
        for (int32_t i = 0; i < r->ops[k]->n_operands; i++) {
            const Value *v = r->ops[k]->operands[i];
            if (v->op && v->op->code == OP_reshape && root_of(v)->op == choice->op) {
                return NULL; /* read through a view */
            }
        }
    }
    Op *copy = clone_fusion(r->func, choice->op, r->ops[choice->next]);
    for (int32_t k = choice->next; k < r->n_ops; k++) {
        redirect_block(r->ops[k], choice->op, copy);
    }
    return copy;
}

static void undo(Op *copy, const Op *original) {
    for (Op *op = copy->next; op; op = op->next) {
        redirect_block(op, copy, original);
    }
    op_unlink(copy);
}

/* As the run time assumes them where nobody says otherwise. */
static void bind_dims(Remat *r) {
    const Module *module = r->func->module;
    const char *rows = map_get(&module->settings, "batch");
    const char *batch = map_get(&module->settings, "batch_dim");
    r->n_dims = module->n_dims;
    r->dims = ARENA_ARRAY(r->pass->scratch, int64_t, module->n_dims + 1);
    for (int32_t d = 0; d < module->n_dims; d++) {
        const Dim *dim = module->dims[d];
        bool is_batch = rows && batch && strcmp(dim->name, batch) == 0;
        int64_t value = dim->nominal > 0 ? dim->nominal
                        : is_batch       ? strtoll(rows, NULL, 10)
                                         : dim->low;
        value = value < dim->low ? dim->low : value > dim->high ? dim->high : value;
        value = multiple_within(value, dim->divisor, dim->high);
        r->dims[d] = value > 0 ? value : dim->divisor;
    }
}

static void record(Remat *r, double before, double after, int32_t count, double limit) {
    Context *context = r->pass->context;
    Map *settings = &r->func->module->settings;
    const char *known = map_get(settings, "remat");
    const char *text = context_internf(
        context, "%s%s%s: %s bytes before, %s after, %d kernels run again%s", known ? known : "",
        known ? "; " : "", r->func->name, number_fixed(before, 0).text, number_fixed(after, 0).text,
        (int)count, after > limit ? ", over the limit" : "");
    map_set(settings, "remat", (void *)text);
}

bool pass_remat(PassContext *pass, Func *func) {
    if (pass->memory_limit <= 0 || func->purpose == PURPOSE_INIT) {
        return false;
    }
    Remat r = {.pass = pass, .func = func};
    double limit = (double)pass->memory_limit;
    bind_dims(&r);
    for (int32_t i = 0; i < func->body->n_args; i++) {
        r.args += value_bytes(&r, func->body->args[i]);
    }
    double before = measure(&r), peak = before;
    if (before <= limit) {
        return false;
    }
    if (!pass->machine || pass->machine->flops_per_second <= 0) {
        return false;
    }
    Op **tried = ARENA_ARRAY(pass->scratch, Op *, MOST_CLONES);
    int32_t n_tried = 0, count = 0;
    for (int32_t at = -1; peak > limit && n_tried + 2 < MOST_CLONES;) {
        for (int32_t k = at = 0; k < r.n_ops; k++) {
            at = r.live[k] > r.live[at] ? k : at;
        }
        Choice choice = choose(&r, tried, n_tried, at);
        if (!choice.op) {
            break;
        }
        tried[n_tried++] = choice.op;
        double here = r.live[at];
        Op *copy = repeat(&r, &choice), *highest = r.ops[at];
        if (!copy) {
            continue;
        }
        tried[n_tried++] = copy;
        double now = measure(&r), there = 0;
        for (int32_t k = 0; k < r.n_ops; k++) {
            there = r.ops[k] == highest ? r.live[k] : there;
        }
        if (now > peak || there >= here) {
            undo(copy, choice.op);
            measure(&r);
            continue;
        }
        peak = now;
        count++;
    }
    record(&r, before, peak, count, limit);
    return count > 0;
}
