/* What the two kinds of library fusion share: copies of operands, and the units behind a product.
 */
#include "passes/fuse/fuse.h"

/* Whether a copy of v is no larger than what it is made of, about, and plain to make. */
static bool can_copy(const Value *v) {
    for (; v->op && fuse_op_is_free(v->op); v = v->op->operands[0]) {
        switch (v->op->code) {
        case OP_reshape:
        case OP_transpose:
        case OP_slice:
        case OP_pad:
        case OP_reverse:
            break;
        default:
            return false;
        }
    }
    return true;
}

void fuse_library_copy(Op *product, int32_t i, Value **copies, int32_t n_copies) {
    Value *v = product->operands[i];
    if (!v->op || !fuse_op_is_free(v->op) || v->id >= n_copies || !can_copy(v)) {
        return;
    }
    if (!copies[v->id]) {
        Builder b = builder_before(product);
        b.place = v->op->place;
        b.label = v->op->label;
        copies[v->id] = b_copy(&b, v);
    }
    op_set_operand(product, i, copies[v->id]);
}

bool fuse_library_holds(const int32_t *list, int32_t count, int32_t unit) {
    for (int32_t i = 0; i < count; i++) {
        if (list[i] == unit) {
            return true;
        }
    }
    return false;
}

int32_t fuse_library_behind(const Fuse *f, int32_t unit_of_product, int32_t *out, int32_t most) {
    int32_t count = 0;
    out[count++] = unit_of_product;
    for (int32_t i = 0; i < count; i++) {
        const Unit *unit = &f->units.items[out[i]];
        for (size_t j = 0; j < unit->users.count && count < most; j++) {
            int32_t user = unit->users.items[j];
            const Unit *reader = &f->units.items[user];
            if (reader->is_live && reader->kind == GROUP_LOOP && !reader->is_update &&
                !fuse_library_holds(out, count, user)) {
                out[count++] = user;
            }
        }
    }
    return count;
}
