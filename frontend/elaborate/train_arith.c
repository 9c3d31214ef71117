/* Arithmetic on what training adds to the model: at the places of its settings, broadcast by hand.
 */
#include "frontend/elaborate/train.h"
#include <string.h>

Value *train_binary(Train *t, OpCode code, Value *x, Value *y) {
    elaborate_at(t->el, t->place);
    return x && y ? elaborate_made(t->el, b_binary(&t->el->b, code, x, y), t->place) : NULL;
}

Value *train_number(Train *t, double value, Type type) {
    elaborate_at(t->el, t->place);
    return elaborate_made(t->el, b_constant(&t->el->b, value, type), t->place);
}

Value *train_spread(Train *t, Value *x, Value *like) {
    elaborate_at(t->el, t->place);
    Value *typed =
        x ? elaborate_made(t->el, b_cast(&t->el->b, x, like->type.dtype), t->place) : NULL;
    return elaborate_expand(t->el, typed, like->type.dims, like->type.rank, t->place);
}

Value *train_unary(Train *t, OpCode code, Value *x) {
    elaborate_at(t->el, t->place);
    return x ? elaborate_made(t->el, b_unary(&t->el->b, code, x), t->place) : NULL;
}
