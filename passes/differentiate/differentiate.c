/* Expands every grad op, in program order, by reverse mode on primitives: cotangents flow from the
 * value back along the ops that depend on what is derived by, each op's rule (ir/ops) builds its
 * part, and everything new stands right before the grad op. What is built is made of ordinary ops,
 * so a later grad op derives it again. */
#include "passes/differentiate/differentiate.h"

#include <inttypes.h>

/* What derivatives may make of a Func: so many ops, or so many times those it had. */
enum { MAX_OPS = 300000, MAX_GROWTH = 8 };

/* -- one run */

static Cotangent *find_cotangent(const Gradient *gradient, const Value *value) {
    const CotangentTable *table = &gradient->cotangents;
    bool found = (size_t)value->id < table->count && table->items[value->id].value;
    return found ? &table->items[value->id] : NULL;
}

Value *gradient_get(Gradient *gradient, const Value *value) {
    Cotangent *cotangent = find_cotangent(gradient, value);
    if (!cotangent) {
        return NULL;
    }
    cotangent_settle(&gradient->b, cotangent);
    return cotangent->value;
}

static void add_cotangent(Gradient *gradient, const Value *value, Cotangent cotangent) {
    Arena *arena = gradient->pass->scratch;
    if (!cotangent.value || !value_flag(&gradient->active, value)) {
        return;
    }
    if (!type_equal(cotangent.value->type, value->type)) {
        /* The same sizes, which size algebra cannot always prove (a strided slice of a padding). */
        cotangent_settle(&gradient->b, &cotangent);
        cotangent.mask = cotangent.settled = NULL;
        cotangent.value =
            b_reshape(&gradient->b, cotangent.value, value->type.rank, value->type.dims);
    }
    const Cotangent *before = find_cotangent(gradient, value);
    Cotangent sum = before ? cotangent_sum(arena, &gradient->b, *before, cotangent) : cotangent;
    VEC_REACH(arena, &gradient->cotangents, value->id);
    gradient->cotangents.items[value->id] = sum;
}

void gradient_add(Gradient *gradient, Value *value, Value *cotangent) {
    add_cotangent(gradient, value, (Cotangent){.value = cotangent});
}

/* Puts uses of loop-invariant values aside, so that they are summed once after the loop. */
static void defer_uses(Gradient *gradient, Op *op, Value *cotangent, bool *wanted) {
    if (!gradient->loop || (op->code != OP_contract && op->code != OP_broadcast)) {
        return;
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        if (wanted[i] && value_home(op->operands[i]) != gradient->loop) {
            DeferredUse use = {.op = op, .operand = i, .cotangent = cotangent};
            VEC_PUSH(gradient->pass->scratch, gradient->deferred, use);
            wanted[i] = false;
        }
    }
}

/* Whether slopes at, or before, a value may turn a zero of its cotangent into nan. */
static bool spoils_zeros(const Gradient *gradient, const Mask *mask, const Value *value) {
    return mask && (mask->is_strict || value_flag(&gradient->risky, value));
}

/* One operand's part: zeros are put in as soon as nothing can spoil them any more. */
static void add_masked(Gradient *gradient, Value *operand, Cotangent part) {
    if (value_flag(&gradient->active, operand)) {
        if (part.value && !spoils_zeros(gradient, part.mask, operand)) {
            cotangent_settle(&gradient->b, &part);
        }
        add_cotangent(gradient, operand, part);
    }
}

static void visit_plain(Gradient *gradient, Op *op) {
    Arena *arena = gradient->pass->scratch;
    Value **cotangents = ARENA_ARRAY(arena, Value *, op->n_results);
    Value **out = ARENA_ARRAY(arena, Value *, op->n_operands);
    bool *wanted = ARENA_ARRAY(arena, bool, op->n_operands);
    bool any = false;
    for (int32_t i = 0; i < op->n_operands; i++) {
        wanted[i] = value_flag(&gradient->active, op->operands[i]);
    }
    const Cotangent *whole = find_cotangent(gradient, op->results[0]);
    const Mask *mask = whole ? whole->mask : NULL;
    bool risky = mask_passes(op) && spoils_zeros(gradient, mask, op->results[0]);
    for (int32_t i = 0; i < op->n_results; i++) {
        cotangents[i] = risky ? whole->value : gradient_get(gradient, op->results[i]);
    }
    defer_uses(gradient, op, cotangents[0], wanted);
    for (int32_t i = 0; i < op->n_operands; i++) {
        any = any || wanted[i];
    }
    if (!any) {
        return;
    }
    op_info(op->code)->grad(&gradient->b, op, cotangents, wanted, out);
    mask = mask_through(arena, &gradient->b, op, mask);
    for (int32_t i = 0; i < op->n_operands; i++) {
        Cotangent part = {.value = out[i], .mask = mask, .settled = risky ? NULL : mask};
        if (wanted[i]) {
            add_masked(gradient, op->operands[i], part);
        }
    }
}

/* Each branch gets the cotangent as it is, to count where the branch is chosen. */
static void visit_select(Gradient *gradient, const Op *op) {
    const Cotangent whole = *find_cotangent(gradient, op->results[0]);
    for (int32_t i = 1; i <= 2; i++) {
        Cotangent part = {.value = whole.value, .settled = whole.settled};
        part.mask = mask_inside(gradient->pass->scratch, whole.mask, op->operands[0], i == 2);
        add_masked(gradient, op->operands[i], part);
    }
}

static void visit_op(Gradient *gradient, Op *op) {
    bool reached = false;
    for (int32_t i = 0; i < op->n_results; i++) {
        reached = reached || find_cotangent(gradient, op->results[i]);
    }
    if (!reached) {
        return;
    }
    gradient->b.place = op->place;
    gradient->b.label = op->label;
    if (op->code == OP_scan) {
        gradient_scan(gradient, op);
    } else if (op->code == OP_while) {
        DiagList *diags = &gradient->pass->context->diags;
        Diag *diag = diag_report(diags, DIAG_GRAD_WHILE, op->place);
        diag_note(diags, diag, gradient->asked, "the derivative is asked for here");
        diag_help(diags, diag, "use scan with a fixed length, or stop_gradient");
    } else if (op_info(op->code)->scalar_gradient == GRADIENT_BRANCHES) {
        visit_select(gradient, op);
    } else if (op_info(op->code)->grad) {
        visit_plain(gradient, op);
    } else {
        INTERNAL_ERROR(gradient->pass->context, op->place, op_info(op->code)->name,
                       "it has no gradient rule");
    }
}

/* Derivatives of derivatives grow by a factor each: they end at a limit of their own. */
static void check_growth(const Gradient *gradient) {
    Context *context = gradient->pass->context;
    if (gradient->func->n_ops > gradient->most_ops) {
        Diag *diag = diag_report(&context->diags, DIAG_LIMIT, gradient->asked,
                                 arena_format(&context->arena,
                                              "with this derivative there are more than %" PRId64
                                              " operations",
                                              gradient->most_ops));
        diag_help(&context->diags, diag,
                  "a derivative of derivatives is several times as long as those");
        boundary_leave(context->boundary, DLC_ERROR_COMPILE);
    }
}

void gradient_run(Gradient *gradient, const OpList *ops) {
    for (size_t i = ops->count; i-- > 0;) {
        visit_op(gradient, ops->items[i]);
        check_growth(gradient);
    }
}

/* -- grad ops */

/* A parameter of the Func warns at its declaration, another value where the derivative is asked. */
static void warn_zero(const Gradient *gradient, const Value *x) {
    const Func *func = gradient->func;
    DiagList *diags = &gradient->pass->context->diags;
    const FuncArg *arg = x->block == func->body ? &func->args[x->index] : NULL;
    const char *name = arg ? arg->name : x->name;
    if (arg && arg->role == ARG_PARAM) {
        diag_report(diags, DIAG_NO_GRADIENT, arg->place, arg->name);
    } else {
        diag_report(diags, DIAG_GRAD_ZERO, gradient->asked, name ? name : "this value");
    }
}

static void expand_grad(PassContext *pass, Func *func, Op *grad, int64_t most_ops) {
    Gradient gradient = {.pass = pass,
                         .func = func,
                         .b = builder_before(grad),
                         .asked = grad->place,
                         .most_ops = most_ops};
    OpList ops = gradient_visible_ops(pass->scratch, grad);
    DType sent;
    bool is_sent = gradient_is_sent(pass, func, grad, &sent);
    Value *y = grad->operands[0];
    for (int32_t i = 1; i < grad->n_operands; i++) {
        value_set_flag(pass->scratch, &gradient.active, grad->operands[i]);
    }
    gradient_mark_active(pass->scratch, &gradient.active, &ops);
    for (int32_t i = 0; i < func->body->n_args; i++) {
        if (func->args[i].role == ARG_INPUT) { /* data: nan may stand for what is missing */
            value_set_flag(pass->scratch, &gradient.risky, func->body->args[i]);
        }
    }
    mask_mark_risky(pass->scratch, &gradient.risky, &ops);
    if (value_flag(&gradient.active, y)) {
        Value *one = b_constant_like(&gradient.b, 1.0, y);
        gradient_add(&gradient, y, one);
        gradient_run(&gradient, &ops);
    }
    gradient.b.place = grad->place;
    gradient.b.label = grad->label;
    Value **found = ARENA_ARRAY(pass->scratch, Value *, grad->n_results);
    for (int32_t i = 0; i < grad->n_results; i++) {
        Value *x = grad->operands[1 + i];
        found[i] = gradient_get(&gradient, x);
        if (!found[i]) {
            warn_zero(&gradient, x);
            found[i] = b_constant_like(&gradient.b, 0.0, x);
        } else if (is_sent) {
            found[i] = gradient_sent_as(&gradient, x, found[i], sent);
        }
    }
    func_renumber(func);
    Value **map = ARENA_ARRAY(pass->scratch, Value *, func->n_values);
    for (int32_t i = 0; i < grad->n_results; i++) {
        map[grad->results[i]->id] = found[i];
    }
    func_replace_values(func, map);
    op_unlink(grad);
}

static Op *first_grad(const Block *block) {
    BLOCK_EACH_OP (block, op) {
        if (op->code == OP_grad) {
            return op;
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            Op *found = first_grad(op->blocks[i]);
            if (found) {
                return found;
            }
        }
    }
    return NULL;
}

bool pass_differentiate(PassContext *pass, Func *func) {
    bool changed = pass_opaque(pass, func), hoisted = false;
    int64_t grown = MAX_GROWTH * (int64_t)func->n_ops;
    int64_t most_ops = grown > MAX_OPS ? grown : MAX_OPS;
    for (Op *grad = first_grad(func->body); grad; grad = first_grad(func->body)) {
        if (!hoisted) {
            hoist_invariants(func->body);
            hoisted = true;
        }
        func_renumber(func);
        expand_grad(pass, func, grad, most_ops);
        /* Drops what a loop's reverse asked for and did not use, before a further grad op meets it.
         */
        pass_dce(pass, func);
        changed = true;
    }
    changed = pass_opaque(pass, func) || changed; /* nothing is named any more */
    func->properties |= PROP_NO_GRAD_OPS;
    return changed;
}
