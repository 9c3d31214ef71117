/* Loss scaling, for steps in f16: the loss is multiplied before its gradients are taken, so that
 * small ones do not vanish, and gradients are divided again in f32. The scale and the number of
 * good steps since its last change are optimiser state of the whole program: a step whose gradients
 * overflow stores nothing else and halves the scale, many good ones double it. */
#include "frontend/elaborate/train.h"

#include <string.h>

enum { FIRST_SCALE = 65536, MOST_SCALE = 16777216, GOOD_STEPS = 1000 };

static PersistUse *declare(Train *t, const char *path, double first) {
    Elaborator *el = t->el;
    path = context_intern(el->context, path);
    if (!map_has(&el->slots, path)) {
        Persist *persist = ARENA_NEW(el->arena, Persist);
        *persist = (Persist){
            .path = path, .kind = PERSIST_SLOT, .type = type_scalar(DT_F32), .place = t->place};
        map_set(&el->slots, path, persist);
        persist_init_number(el, persist, first);
    }
    return persist_declare(el, PERSIST_SLOT, path, type_scalar(DT_F32), NULL, t->place);
}

bool scaling_begin(Train *t) {
    const char *precision = compute_precision(t->el);
    t->is_short = precision && strcmp(precision, "tf32") != 0;
    if (!precision || strcmp(precision, "f16") != 0) {
        return true;
    }
    Frame frame = {.env = t->el->user, .fn_name = "train", .path = "", .call_place = t->place};
    Frame *outer = t->el->frame;
    t->el->frame = outer ? outer : &frame;
    t->scale = declare(t, "#loss_scale", FIRST_SCALE);
    t->good_steps = declare(t, "#good_steps", 0);
    t->el->frame = outer;
    return t->scale && t->good_steps;
}

Value *scaling_of_loss(Train *t, Value *loss) {
    return t->scale ? train_binary(t, OP_mul, loss, train_spread(t, t->scale->arg, loss)) : loss;
}

/* What follows is not for the precision pass to change: stop_gradient tells it. */
bool scaling_of_gradients(Train *t) {
    Elaborator *el = t->el;
    if (!t->is_short) {
        return true;
    }
    Value *inverse = NULL;
    if (t->scale) {
        inverse = train_binary(t, OP_div, train_number(t, 1.0, t->scale->arg->type), t->scale->arg);
    }
    for (int32_t i = 0; i < t->n_params; i++) {
        elaborate_at(el, t->place);
        Value *grad = elaborate_made(el, b_stop_gradient(&el->b, t->grads[i]), t->place);
        if (grad && inverse) {
            grad = train_binary(t, OP_mul, grad, train_spread(t, inverse, grad));
        }
        t->grads[i] = grad;
        if (grad == NULL) {
            return false;
        }
    }
    return true;
}

static Value *choose(Train *t, Value *test, Value *x, Value *y) {
    elaborate_at(t->el, t->place);
    return test && x && y ? elaborate_made(t->el, b_select(&t->el->b, test, x, y), t->place) : NULL;
}

bool scaling_finish(Train *t) {
    if (!t->scale) {
        return true;
    }
    Value *scale = t->scale->arg, *good = t->good_steps->arg;
    Type type = scale->type;
    Value *one = train_number(t, 1.0, type), *zero = train_number(t, 0.0, type);
    Value *count = train_binary(t, OP_add, good, one);
    Value *many = train_binary(t, OP_ge, count, train_number(t, GOOD_STEPS, type));
    Value *up = train_binary(t, OP_mul, scale, train_number(t, 2.0, type));
    Value *down = train_binary(t, OP_mul, scale, train_number(t, 0.5, type));
    up = train_binary(t, OP_min, up, train_number(t, MOST_SCALE, type));
    down = train_binary(t, OP_max, down, one);
    t->scale->value = choose(t, t->ok, choose(t, many, up, scale), down);
    t->good_steps->value = choose(t, t->ok, choose(t, many, zero, count), zero);
    t->scale->written = t->good_steps->written = true;
    /* An overflow is no failure while there is a scale to take back. */
    Value *room = train_binary(t, OP_gt, scale, one);
    t->run_ok = train_binary(t, OP_or, t->ok, train_binary(t, OP_and, t->loss_ok, room));
    return t->run_ok && t->scale->value && t->good_steps->value;
}

bool scaling_owns(const Train *t, const PersistUse *use) {
    return t->scale && (use == t->scale || use == t->good_steps);
}
