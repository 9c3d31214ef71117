/* From the elements of a kernel's root to the results: indices are carried forward through
 * elementwise ops, reshapes and transposes, and elements then pulled through with the root's one
 * bound. */
#include "codegen/lower/root.h"
#include "codegen/lower/build/build_impl.h"
#include "codegen/lower/lower.h"

const Op *root_find(KBuild *k, OpKind kind) {
    const Op *found = NULL;
    BLOCK_EACH_OP (kb_fusion(k)->blocks[0], op) {
        if (op_info(op->code)->kind == kind) {
            found = op;
        }
    }
    return found;
}

const char *root_name(KBuild *k, const Op *root) {
    const char *name = op_info(root->code)->name;
    int32_t count = 0;
    for (const Op *op = root->next; op && count < 4; op = op->next) {
        if (op_is_scalar(op->code)) {
            name = arena_format(kb_arena(k), "%s_%s", name, op_info(op->code)->name);
            count++;
        }
    }
    return name;
}

static bool keeps_index(const Op *op) {
    return op_info(op->code)->kind == KIND_ELEMENTWISE;
}

/* The index in op's result that belongs to `from` in its operand; false: there is not exactly one.
 */
static bool step_forward(KBuild *k, const Op *op, const Value *operand, const KExpr *const *from,
                         const KExpr **out) {
    int32_t rank = op->results[0]->type.rank;
    if (keeps_index(op)) {
        for (int32_t i = 0; i < rank; i++) {
            out[i] = from[i];
        }
        return true;
    }
    if (op->code == OP_reshape) {
        k_unflat(k, op->results[0]->type, k_flat(k, operand->type, from), out);
        return true;
    }
    if (op->code == OP_transpose) {
        const int64_t *permutation = transpose_permutation(op).at;
        for (int32_t i = 0; i < rank; i++) {
            out[i] = from[permutation[i]];
        }
        return true;
    }
    return false;
}

typedef struct Reach {
    const Value *value;
    const KExpr **index;
} Reach;

typedef VEC(Reach) Reaches;

static const Reach *reach_of(const Reaches *reaches, const Value *v) {
    for (size_t i = 0; i < reaches->count; i++) {
        if (reaches->items[i].value == v) {
            return &reaches->items[i];
        }
    }
    return NULL;
}

/* Every value of the body that has one element for each element of the root, with its index. */
static Reaches reach_all(KBuild *k, const Op *root, const KExpr *const *index) {
    Reaches reaches = {0};
    Reach first = {root->results[0], POOL_ARRAY(k, const KExpr *, TYPE_MAX_RANK)};
    for (int32_t i = 0; i < root->results[0]->type.rank; i++) {
        first.index[i] = index[i];
    }
    VEC_PUSH(kb_arena(k), &reaches, first);
    for (const Op *op = root->next; op; op = op->next) {
        for (int32_t i = 0; i < op->n_operands && op->n_results == 1; i++) {
            const Reach *from = reach_of(&reaches, op->operands[i]);
            Reach next = {op->results[0], POOL_ARRAY(k, const KExpr *, TYPE_MAX_RANK)};
            if (from && step_forward(k, op, op->operands[i], from->index, next.index)) {
                VEC_PUSH(kb_arena(k), &reaches, next);
                break;
            }
        }
    }
    return reaches;
}

/* What of a body depends on its root, by value id from `first` on. */
typedef struct Dependents {
    const Op *root;
    int32_t first, end;
    bool *marks;
} Dependents;

static bool depends_on(const Dependents *dependents, const Value *v) {
    return v->id >= dependents->first && v->id < dependents->end &&
           dependents->marks[v->id - dependents->first];
}

/* Once, in order: asked of each value anew, the answer would walk every way back, of which there
 * are exponentially many where values are read twice. */
static Dependents dependents_find(KBuild *k, const Op *root) {
    Dependents out = {.root = root, .first = root->results[0]->id, .end = root->results[0]->id};
    for (const Op *op = root; op; op = op->next) {
        for (int32_t i = 0; i < op->n_results; i++) {
            int32_t id = op->results[i]->id;
            out.first = id < out.first ? id : out.first;
            out.end = id >= out.end ? id + 1 : out.end;
        }
    }
    out.marks = ARENA_ARRAY(kb_arena(k), bool, out.end - out.first + 1);
    for (const Op *op = root; op; op = op->next) {
        bool depends = op == root;
        for (int32_t i = 0; i < op->n_operands && !depends; i++) {
            depends = depends_on(&out, op->operands[i]);
        }
        for (int32_t i = 0; i < op->n_results; i++) {
            out.marks[op->results[i]->id - out.first] = depends;
        }
    }
    return out;
}

static bool follows(const Value *v, const Dependents *dependents, int32_t fuel) {
    if (v->op == dependents->root) {
        return true;
    }
    const Op *op = v->op;
    if (!op || fuel == 0 ||
        !(keeps_index(op) || op->code == OP_reshape || op->code == OP_transpose)) {
        return false;
    }
    for (int32_t i = 0; i < op->n_operands; i++) {
        if (depends_on(dependents, op->operands[i])) {
            return follows(op->operands[i], dependents, fuel - 1);
        }
    }
    return false;
}

RootPath root_path(KBuild *k, const Op *root) {
    int32_t count = kb_fusion(k)->n_results;
    RootPath path = {.root = root, .reached = ARENA_ARRAY(kb_arena(k), bool, count + 1)};
    Dependents dependents = dependents_find(k, root);
    for (int32_t r = 0; r < count; r++) {
        path.reached[r] = follows(kb_result_value(k, r), &dependents, 64);
    }
    return path;
}

void root_finish(KBuild *k, const RootPath *path, const KExpr *const *index, const KExpr *value) {
    const Value *root = path->root->results[0];
    elemental_bind(k, root, index, value);
    Reaches reaches = reach_all(k, path->root, index);
    for (int32_t r = 0; r < kb_fusion(k)->n_results; r++) {
        const Reach *reach = reach_of(&reaches, kb_result_value(k, r));
        if (path->reached[r] && reach) {
            elemental_store_result(k, r, reach->index);
        }
    }
}

typedef struct RestBuild {
    int32_t result;
} RestBuild;

static void build_rest(KBuild *k, void *user) {
    const RestBuild *build = user;
    const Value *v = kb_result_value(k, build->result);
    LoopPiece pieces[MAX_PIECES];
    const Size *total = type_elements(kb_context(k), v->type);
    int32_t count = kb_pieces(k, 1, total, pieces);
    Nest nest = nest_open_tiled(k, pieces, count, tile_elements(k, total, 8));
    const KExpr *index[TYPE_MAX_RANK];
    k_unflat(k, v->type, kb_pieces_flat(k, pieces, count), index);
    elemental_store_result(k, build->result, index);
    nest_close(k, &nest);
}

void root_rest(KBuild *k, const RootPath *path) {
    for (int32_t r = 0; r < kb_fusion(k)->n_results; r++) {
        if (!path->reached[r]) {
            RestBuild build = {r};
            kb_kernel(k, "loop", build_rest, &build);
        }
    }
}

/* -- contiguity */
static const Value *widest_operand(const Op *op) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        const Value *v = op->operands[i];
        bool repeated = v->op && (v->op->code == OP_broadcast || v->op->code == OP_constant);
        if (v->type.rank == op->results[0]->type.rank && !repeated) {
            return v;
        }
    }
    return op->operands[0];
}

bool axis_is_contiguous(const Value *v, int64_t axis) {
    for (int32_t fuel = 32; v->op && fuel > 0; fuel--) {
        const Op *op = v->op;
        if (keeps_index(op)) {
            v = widest_operand(op);
        } else if (op->code == OP_transpose) {
            axis = transpose_permutation(op).at[axis];
            v = op->operands[0];
        } else if (op->code == OP_broadcast) {
            int64_t from = -1;
            for (int32_t i = 0; i < op->operands[0]->type.rank; i++) {
                from = op_axes(op).at[i] == axis ? i : from;
            }
            if (from < 0) {
                return true; /* the same element again and again */
            }
            axis = from;
            v = op->operands[0];
        } else if (op->code == OP_slice || op->code == OP_pad || op->code == OP_concat ||
                   op->code == OP_dynamic_slice || op->code == OP_take) {
            bool is_last = axis == v->type.rank - 1;
            axis = is_last ? op->operands[0]->type.rank - 1 : axis;
            v = op->operands[0];
            if (axis >= v->type.rank) {
                return false;
            }
        } else if (op->code == OP_reshape) {
            const Value *x = op->operands[0];
            if (axis != v->type.rank - 1 || x->type.rank == 0) {
                return false;
            }
            axis = x->type.rank - 1;
            v = x;
        } else {
            break;
        }
    }
    for (int32_t i = (int32_t)axis + 1; i < v->type.rank; i++) {
        if (!size_is_one(v->type.dims[i])) {
            return false;
        }
    }
    return true;
}
