/* Premises of IR that nobody here made. Shape rules let sizes pass that are neither proved nor
 * refuted, because the front end states what it needs as size_checks beside them. Text from a file
 * promises nothing of the kind, so every such premise becomes a check when it is read. */
#include "ir/build.h"

/* More elements than any memory holds; index arithmetic over fewer stays within 64 bits. */
static const int64_t MOST_ELEMENTS = (int64_t)1 << 56;

/* A pair of sizes that some size_check of the Func compares already. */
typedef struct Checked {
    const Size *left, *right;
} Checked;

typedef struct Premises {
    Context *context;
    Func *func;
    Op *first;      /* checks stand in front of it */
    const Op *op;   /* whose premise is stated; NULL: the Func's own */
    Checked *table; /* open addressing, by the addresses of the interned sizes */
    size_t n_slots, n_used;
    bool counts, ok;
} Premises;

static size_t checked_hash(const Size *left, const Size *right) {
    uint64_t hash = (uint64_t)(uintptr_t)left * 0x9e3779b97f4a7c15u;
    hash = (hash ^ (uint64_t)(uintptr_t)right) * 0xff51afd7ed558ccdu;
    return (size_t)(hash ^ hash >> 32);
}

/* The slot of a pair, or the free one for it. The order of the table never reaches the IR. */
static Checked *checked_slot(const Premises *p, const Size *left, const Size *right) {
    size_t at = checked_hash(left, right) & (p->n_slots - 1);
    while (p->table[at].left && (p->table[at].left != left || p->table[at].right != right)) {
        at = (at + 1) & (p->n_slots - 1);
    }
    return &p->table[at];
}

static bool checked_has(const Premises *p, const Size *left, const Size *right) {
    return p->n_slots > 0 && checked_slot(p, left, right)->left != NULL;
}

static void checked_add_pair(Premises *p, const Size *left, const Size *right) {
    if (2 * (p->n_used + 1) > p->n_slots) {
        Premises old = *p;
        p->n_slots = old.n_slots ? 2 * old.n_slots : 64;
        p->table = ARENA_ARRAY(&p->context->arena, Checked, p->n_slots);
        for (size_t i = 0; i < old.n_slots; i++) {
            if (old.table[i].left) {
                *checked_slot(p, old.table[i].left, old.table[i].right) = old.table[i];
            }
        }
    }
    Checked *slot = checked_slot(p, left, right);
    p->n_used += slot->left == NULL;
    *slot = (Checked){left, right};
}

static void refuse(Premises *p, const char *text) {
    Place place = p->op ? p->op->place : (Place){0};
    diag_report(&p->context->diags, DIAG_IR_ILL_TYPED, place,
                p->op ? op_info(p->op->code)->name : p->func->name, text);
    p->ok = false;
}

/* 1 where the op may run, 0 where it stands in a scan of no iterations, which demands nothing. */
static const Size *may_run(Premises *p) {
    const Size *one = size_const(p->context, 1), *runs = one;
    for (const Op *op = p->op ? p->op->parent->owner : NULL; op; op = op->parent->owner) {
        if (op->code == OP_scan) {
            runs = size_mul(p->context, runs, size_min(p->context, scan_length(op), one));
        }
    }
    return runs;
}

static void state(void *user, const Size *left, const Size *right, const char *text) {
    Premises *p = user;
    if (checked_has(p, left, right)) {
        return;
    }
    const Size *runs = may_run(p);
    left = size_mul(p->context, left, runs);
    right = size_mul(p->context, right, runs);
    if (size_is_error(left) || size_is_error(right)) {
        refuse(p, arena_format(&p->context->arena, "%s, and that cannot be checked", text));
        return;
    }
    if (checked_has(p, left, right)) {
        return;
    }
    checked_add_pair(p, left, right);
    Builder b = builder_before(p->first);
    b.place = p->op ? p->op->place : (Place){0};
    b.label = NULL;
    b_size_check(&b, left, right, text);
}

static void state_le(Premises *p, const Size *a, const Size *b, const char *what) {
    Truth truth = size_less_equal(p->context, a, b);
    if (truth == TRUTH_YES) {
        return;
    }
    const char *text = arena_format(&p->context->arena, "%s: %s is above %s", what,
                                    size_text(p->context, a), size_text(p->context, b));
    if (truth == TRUTH_NO) {
        refuse(p, text);
    } else {
        state(p, size_min(p->context, a, b), a, text);
    }
}

static void state_type(Premises *p, Type type) {
    for (int32_t i = 0; i < type.rank; i++) {
        state_le(p, size_const(p->context, 0), type.dims[i], "a size is below zero");
    }
    if (p->counts) {
        state_le(p, type_elements(p->context, type), size_const(p->context, MOST_ELEMENTS),
                 "a value has too many elements");
    }
}

/* What stands in a kernel is no command, so that nobody would carry it out. */
static bool is_in_fusion(const Op *op) {
    const Op *owner = op->parent->owner;
    while (owner && owner->code != OP_fusion) {
        owner = owner->parent->owner;
    }
    return owner != NULL;
}

static void note_check(Op *op, void *user) {
    if (op->code == OP_size_check && !is_in_fusion(op)) {
        checked_add_pair(user, size_check_left(op), size_check_right(op));
    }
}

static void state_op(Op *op, void *user) {
    Premises *p = user;
    OpProblem problem = {.premise = state, .user = p};
    p->op = op;
    if (!op_infer(p->context, op, &problem)) {
        refuse(p, problem.text);
        return;
    }
    for (int32_t i = 0; i < op->n_blocks; i++) {
        for (int32_t k = 0; k < op->blocks[i]->n_args; k++) {
            state_type(p, op->blocks[i]->args[k]->type);
        }
    }
    for (int32_t i = 0; p->counts && i < op->n_results; i++) {
        state_type(p, op->results[i]->type);
    }
}

bool module_check_premises(Module *module, bool counts) {
    bool ok = true;
    for (Func *func = module->first; func; func = func->next) {
        Premises p = {.context = module->context,
                      .func = func,
                      .first = func->body->first,
                      .counts = counts,
                      .ok = true};
        func_each_op(func, note_check, &p);
        func_each_op(func, state_op, &p);
        p.op = NULL;
        for (int32_t i = 0; i < func->body->n_args; i++) {
            state_type(&p, func->body->args[i]->type);
        }
        func_renumber(func);
        ok = ok && p.ok;
    }
    return ok;
}
