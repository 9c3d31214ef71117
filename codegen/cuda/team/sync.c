/* Where barriers stand. The statements that a team runs together are followed in order, and round
 * every loop until nothing changes, with what each memory object (a local, a written buffer, the
 * slots of reductions) had done to it since the last barrier, and by which threads. A statement
 * gets a barrier when it meets an access of another thread, one of the two a write. Accesses are
 * told apart by object alone, except where one formula of the same shared-out loop proves that each
 * thread meets its own. */
#include "codegen/cuda/team/team.h"
#include <stdlib.h>
#include <string.h>

/* By whom, of the team: */
enum { BY_NOBODY, BY_ONE, BY_ALL, BY_ANY, BY_FORMULA /* and above: iteration i's own element */ };

typedef struct Access {
    int32_t object, by;
    bool is_write;
} Access;

typedef struct Sync {
    Text *t;
    int32_t n_objects;
    Access *accesses; /* of the current statement */
    int32_t n_accesses, capacity;
    char **formulas;
    int32_t n_formulas;
    bool in_warps; /* following one warp */
    bool failed;
} Sync;

/* [object] reads, then [object] writes: by whom since the last barrier. */
typedef int32_t *State;

static State new_state(Sync *s) {
    State state = calloc(2 * (size_t)s->n_objects + 1, sizeof(int32_t));
    s->failed = s->failed || !state;
    return state;
}

static size_t state_bytes(const Sync *s) {
    return 2 * (size_t)s->n_objects * sizeof(int32_t);
}

static int32_t merged(int32_t a, int32_t b) {
    return a == BY_NOBODY || a == b ? b : b == BY_NOBODY ? a : BY_ANY;
}

static bool is_conflict(int32_t a, int32_t b) {
    bool same_thread = a == b && (a == BY_ONE || a >= BY_FORMULA);
    return a != BY_NOBODY && b != BY_NOBODY && !same_thread;
}

static void merge_state(const Sync *s, State into, const int32_t *from) {
    for (int32_t i = 0; i < 2 * s->n_objects; i++) {
        into[i] = merged(into[i], from[i]);
    }
}

/* -- formulas of shared-out loops */
static bool formula_expr(const Text *t, const KExpr *expr, const KStmt *const *chain, int32_t n,
                         Str *out) {
    switch (expr->kind) {
    case KE_INT:
        str_addf(out, "%lld", (long long)expr->as.integer);
        return true;
    case KE_SIZE:
        str_addf(out, "s%d", expr->as.size);
        return true;
    case KE_VAR:
        for (int32_t i = 0; i < n; i++) {
            if (chain[i]->as.loop.var == expr->as.var) {
                str_addf(out, "@%d", i);
                return true;
            }
        }
        str_addf(out, "v%d", expr->as.var->id);
        return t->is_fixed[expr->as.var->id];
    case KE_SCALAR:
        str_addf(out, "%s(", op_info(expr->as.scalar.op)->name);
        for (int32_t i = 0; i < expr->as.scalar.n; i++) {
            if (!formula_expr(t, expr->as.scalar.a[i], chain, n, out)) {
                return false;
            }
            str_add(out, ",");
        }
        str_add(out, ")");
        return true;
    default:
        return false;
    }
}

static int32_t formula(Sync *s, const KExpr *index, const KStmt *const *chain, int32_t n) {
    Str text;
    str_init(&text, NULL);
    bool fits = true;
    for (int32_t i = 0; i < n && fits; i++) {
        fits = formula_expr(s->t, chain[i]->as.loop.begin, chain, 0, &text);
        str_add(&text, "..");
        fits = fits && formula_expr(s->t, chain[i]->as.loop.end, chain, 0, &text);
        str_add(&text, ";");
    }
    fits = fits && formula_expr(s->t, index, chain, n, &text);
    int32_t by = BY_ANY;
    s->failed = s->failed || text.failed;
    if (fits && !text.failed) {
        for (int32_t i = 0; i < s->n_formulas && by == BY_ANY; i++) {
            by = strcmp(s->formulas[i], text.text) == 0 ? BY_FORMULA + i : by;
        }
        char **grown = by == BY_ANY
                           ? realloc(s->formulas, ((size_t)s->n_formulas + 1) * sizeof(char *))
                           : NULL;
        if (grown) {
            s->formulas = grown;
            char *copy = strdup(text.text);
            s->failed = s->failed || !copy;
            if (copy) {
                by = BY_FORMULA + s->n_formulas;
                s->formulas[s->n_formulas++] = copy;
            }
        }
    }
    str_finish(&text);
    return by;
}

/* -- accesses of one statement */
static void add_object(Sync *s, int32_t object, int32_t by, bool is_write) {
    if (s->n_accesses == s->capacity) {
        int32_t capacity = 2 * s->capacity + 16;
        Access *grown = realloc(s->accesses, (size_t)capacity * sizeof(Access));
        if (!grown) {
            s->failed = true;
            return;
        }
        s->accesses = grown;
        s->capacity = capacity;
    }
    s->accesses[s->n_accesses++] = (Access){object, by, is_write};
}

static void add_local(Sync *s, const KLocal *local, int32_t at, int32_t by, bool is_write) {
    Team owner = team_owner(s->t, local, at);
    const KLocal *overlaid = s->t->locals[local->id].overlaid;
    local = overlaid ? overlaid : local; /* one memory */
    if (owner == TEAM_BLOCK || (owner == TEAM_WARP && s->in_warps)) {
        add_object(s, 2 * local->id + (owner == TEAM_WARP), by, is_write);
    }
}

/* A result may share its memory with an operand of as large elements (LoweredOp.inplace), so
 * reading the one counts as reading the other. */
static void add_buffer(Sync *s, int32_t buffer, int32_t by, bool is_write) {
    const Kernel *kernel = s->t->kernel;
    const KBuffer *own = &kernel->buffers[buffer];
    int32_t first = 2 * kernel->n_locals;
    if (own->is_written) {
        add_object(s, first + buffer, by, is_write);
        return;
    }
    for (int32_t i = 0; i < kernel->n_buffers; i++) {
        const KBuffer *other = &kernel->buffers[i];
        if (other->is_written && team_memory_bytes(other->dtype) == team_memory_bytes(own->dtype)) {
            add_object(s, first + i, by, false);
        }
    }
}

/* `chain` (or none): the loops whose iterations are shared out. */
typedef struct Region {
    const KStmt *chain[TEXT_MAX_CHAIN];
    int32_t n, by;
} Region;

static int32_t access_by(Sync *s, const Region *region, const KExpr *index) {
    return region->n > 0 ? formula(s, index, region->chain, region->n) : region->by;
}

typedef struct Reader {
    Sync *sync;
    int32_t at;
    const Region *region;
} Reader;

static bool add_read(const KExpr *expr, void *user) {
    const Reader *r = user;
    if (expr->kind == KE_LOAD) {
        int32_t by = access_by(r->sync, r->region, expr->as.load.at);
        add_buffer(r->sync, expr->as.load.buffer, by, false);
    } else if (expr->kind == KE_LOCAL) {
        int32_t by = access_by(r->sync, r->region, expr->as.local.at);
        add_local(r->sync, expr->as.local.array, r->at, by, false);
    }
    return false;
}

static void add_operands(Sync *s, int32_t at, const Region *region) {
    kernel_walk_operands(s->t->stmts[at].stmt, add_read, &(Reader){s, at, region});
}

/* Sums that are held by a loop around are that loop's. */
static void add_contract(Sync *s, const KContract *contract, int32_t at) {
    add_local(s, contract->a_local, at, BY_ANY, false);
    add_local(s, contract->b_local, at, BY_ANY, false);
    if (!s->t->stmts[at].is_held) {
        add_local(s, contract->c_local, at, BY_ANY, false);
        add_local(s, contract->c_local, at, BY_ANY, true);
    }
}

/* Everything that a statement, without the ones inside it, does. */
static void add_stmt(Sync *s, int32_t at, const Region *region) {
    const KStmt *stmt = s->t->stmts[at].stmt;
    add_operands(s, at, region);
    if (stmt->kind == KS_STORE) {
        int32_t by = access_by(s, region, stmt->as.store.at);
        add_buffer(s, stmt->as.store.buffer, by, true);
    } else if (stmt->kind == KS_LOCAL_STORE) {
        int32_t by = access_by(s, region, stmt->as.local_store.at);
        add_local(s, stmt->as.local_store.array, at, by, true);
    } else if (stmt->kind == KS_CONTRACT) {
        add_contract(s, &stmt->as.contract, at);
    }
}

static void add_inside(Sync *s, int32_t number, const Region *region) {
    for (int32_t i = number + 1; i < s->t->stmts[number].end; i++) {
        add_stmt(s, i, region);
    }
}

/* -- following the statements */
/* Meets the collected accesses; `flag`: set when a barrier must stand before. */
static void meet(Sync *s, State state, bool *flag) {
    int32_t *reads = state, *writes = state + s->n_objects;
    for (int32_t i = 0; i < s->n_accesses && !*flag; i++) {
        const Access *a = &s->accesses[i];
        *flag = is_conflict(writes[a->object], a->by) ||
                (a->is_write && is_conflict(reads[a->object], a->by));
    }
    if (*flag) {
        memset(state, 0, state_bytes(s));
    }
    for (int32_t i = 0; i < s->n_accesses; i++) {
        const Access *a = &s->accesses[i];
        int32_t *entry = a->is_write ? &writes[a->object] : &reads[a->object];
        *entry = merged(*entry, a->by);
    }
    s->n_accesses = 0;
}

static void follow(Sync *s, const KStmt *stmt, State state);

/* Follows a body until the state at its begin is stable. `skip`: the object behind the last one
 * whose accesses in other iterations cannot meet (a tile's buffers). */
static void follow_loop(Sync *s, const KStmt *body, State state, bool runs, bool is_tile) {
    State begin = new_state(s), end = new_state(s);
    size_t bytes = state_bytes(s);
    if (begin && end) {
        memcpy(begin, state, bytes);
        for (;;) {
            memcpy(end, begin, bytes);
            follow(s, body, end);
            int32_t n_locals = 2 * s->t->kernel->n_locals, n = s->t->kernel->n_buffers;
            for (int32_t i = n_locals; is_tile && i < n_locals + n; i++) {
                end[i] = end[s->n_objects + i] = BY_NOBODY;
            }
            bool changed = false;
            for (int32_t i = 0; i < 2 * s->n_objects; i++) {
                int32_t next = merged(begin[i], end[i]);
                changed = changed || next != begin[i];
                begin[i] = next;
            }
            if (!changed || s->failed) {
                break;
            }
        }
        if (runs) {
            memcpy(state, end, bytes);
        } else {
            merge_state(s, state, end);
        }
    }
    free(begin);
    free(end);
}

static void follow_spread(Sync *s, const KStmt *stmt, int32_t at, State state) {
    StmtInfo *info = &s->t->stmts[at];
    Region region = {.n = 0, .by = BY_ALL};
    add_operands(s, at, &region);
    region.by = BY_ANY;
    if (info->plan == PLAN_SPREAD && !info->is_wide) {
        region.n = team_chain(s->t, stmt, region.chain);
    }
    add_inside(s, at, &region);
    meet(s, state, &info->barrier);
    if (info->plan == PLAN_WARPS) {
        State own = new_state(s);
        for (int32_t i = 0; own && i < s->t->kernel->n_locals; i++) { /* as other loops left it */
            own[2 * i + 1] = own[s->n_objects + 2 * i + 1] = BY_ANY;
        }
        if (own) {
            s->in_warps = true;
            follow_loop(s, team_chain_body(s->t, stmt), own, false, false);
            s->in_warps = false;
        }
        free(own);
        return;
    }
    const KVar *vars[TEXT_MAX_REDUCED];
    OpCode ops[TEXT_MAX_REDUCED];
    if (info->team == TEAM_BLOCK && team_reduced(s->t, stmt, vars, ops) > 0) {
        int32_t slot = s->n_objects - 2 + (info->slots > 0);
        add_object(s, slot, BY_ANY, true);
        meet(s, state, &info->slots_barrier);
        memset(state, 0, state_bytes(s)); /* the reduction's own barrier */
        state[slot] = BY_ALL;
    }
}

static void follow_serial(Sync *s, const KStmt *stmt, int32_t at, State state) {
    StmtInfo *info = &s->t->stmts[at];
    Region all = {.by = BY_ALL};
    add_operands(s, at, &all);
    if (info->held) { /* the sums are fetched */
        add_local(s, info->held->as.contract.c_local, at, BY_ANY, false);
    }
    meet(s, state, &info->barrier);
    bool known;
    bool runs = team_extent(s->t, stmt, &known) > 0 && known;
    follow_loop(s, stmt->as.loop.body, state, runs, false);
    if (info->held) { /* and put back, each where its thread fetched it */
        add_local(s, info->held->as.contract.c_local, at, BY_ANY, true);
        int32_t object = s->accesses[s->n_accesses - 1].object;
        s->n_accesses = 0;
        state[s->n_objects + object] = BY_ANY;
    }
}

/* A pipe keeps order inside by itself. */
static void follow_pipe(Sync *s, int32_t at, State state) {
    StmtInfo *info = &s->t->stmts[at];
    Region any = {.by = BY_ANY};
    add_operands(s, at, &any);
    add_inside(s, at, &any);
    if (!s->t->stmts[team_number(s->t, info->held)].from_zero) {
        add_local(s, info->held->as.contract.c_local, at, BY_ANY, false);
    }
    add_local(s, info->held->as.contract.c_local, at, BY_ANY, true);
    meet(s, state, &info->barrier);
    add_local(s, info->held->as.contract.c_local, at, BY_ANY, true);
    int32_t object = s->accesses[s->n_accesses - 1].object;
    s->n_accesses = 0;
    state[s->n_objects + object] = BY_ANY;
}

static void follow_for(Sync *s, const KStmt *stmt, int32_t at, State state) {
    StmtInfo *info = &s->t->stmts[at];
    if (info->is_pipe) {
        follow_pipe(s, at, state);
        return;
    }
    if (info->plan == PLAN_SPREAD || info->plan == PLAN_WARPS) {
        follow_spread(s, stmt, at, state);
    } else if (info->plan == PLAN_SOLO) {
        Region one = {.by = BY_ONE};
        add_stmt(s, at, &one);
        add_inside(s, at, &one);
        meet(s, state, &info->barrier);
    } else {
        follow_serial(s, stmt, at, state);
    }
}

static void follow_if(Sync *s, const KStmt *stmt, int32_t at, State state) {
    Region all = {.by = BY_ALL};
    add_operands(s, at, &all);
    meet(s, state, &s->t->stmts[at].barrier);
    State other = new_state(s);
    if (other) {
        memcpy(other, state, state_bytes(s));
        follow(s, stmt->as.branch.then, state);
        follow(s, stmt->as.branch.otherwise, other);
        merge_state(s, state, other);
    }
    free(other);
}

static void follow(Sync *s, const KStmt *stmt, State state) {
    for (; stmt && !s->failed; stmt = stmt->next) {
        int32_t at = team_number(s->t, stmt);
        StmtInfo *info = &s->t->stmts[at];
        bool one = stmt->kind == KS_STORE || stmt->kind == KS_LOCAL_STORE;
        Region region = {.by = one ? BY_ONE : BY_ALL};
        if (info->is_elided) {
            continue;
        }
        if (info->barrier) {
            memset(state, 0, state_bytes(s));
        }
        switch (stmt->kind) {
        case KS_FOR:
            follow_for(s, stmt, at, state);
            break;
        case KS_IF:
            follow_if(s, stmt, at, state);
            break;
        default:
            add_stmt(s, at, &region);
            meet(s, state, &info->barrier);
            break;
        }
    }
}

bool team_place_barriers(Text *t) {
    Sync s = {.t = t};
    s.n_objects = 2 * t->kernel->n_locals + t->kernel->n_buffers + 2;
    State state = new_state(&s);
    const KStmt *body = t->kernel->body;
    while (body && kernel_is_loop(body, KL_GRID)) {
        body = body->as.loop.body;
    }
    if (state) {
        follow_loop(&s, body, state, false, true);
    }
    free(state);
    free(s.accesses);
    for (int32_t i = 0; i < s.n_formulas; i++) {
        free(s.formulas[i]);
    }
    free(s.formulas);
    return !s.failed;
}
