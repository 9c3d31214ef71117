/* Which threads run what: every statement numbered, every loop given to the block, to warps or to
 * single threads (kernel.h says which loops may be shared out). Decided from the loops' kinds and,
 * where sizes are symbolic, from their nominal values; never from anything that differs between
 * runs. */
#include "codegen/cuda/team/team.h"
#include <stdlib.h>
#include <string.h>

/* -- numbering */
static void number_stmts(Text *t, const KStmt *stmt, int32_t parent) {
    const KStmt *list = stmt;
    for (; stmt; stmt = stmt->next) {
        int32_t number = t->n_stmts++;
        t->stmts[number] = (StmtInfo){
            .stmt = stmt, .parent = parent, .list = list, .chain = 1, .team = TEAM_BLOCK};
        t->by_stmt[team_slot(t, stmt)] = number + 1;
        if (stmt->kind == KS_FAULT || (stmt->kind == KS_STORE && stmt->as.store.watched)) {
            t->has_faults = true;
        }
        const KStmt *lists[2];
        int32_t n = kernel_stmt_lists(stmt, lists);
        for (int32_t i = 0; i < n; i++) {
            number_stmts(t, lists[i], number);
        }
        t->stmts[number].end = t->n_stmts;
    }
}

/* -- variables: where mutable ones are declared, which are fixed for the whole tile */
static const KStmt *list_around(const Text *t, const KStmt *list) {
    int32_t parent = team_info(t, list)->parent;
    return parent < 0 ? NULL : t->stmts[parent].list;
}

/* The innermost list that holds all mentions so far and statement `number`. */
static void mention_var(Text *t, const KVar *var, int32_t number) {
    const KStmt *old = t->var_list[var->id], *list = t->stmts[number].list;
    if (!old) {
        t->var_list[var->id] = list;
        return;
    }
    for (; old; old = list_around(t, old)) {
        for (const KStmt *up = list; up; up = list_around(t, up)) {
            if (up == old) {
                t->var_list[var->id] = old;
                return;
            }
        }
    }
}

typedef struct Mention {
    Text *t;
    int32_t number;
} Mention;

static bool mention_read(const KExpr *expr, void *user) {
    const Mention *mention = user;
    if (expr->kind == KE_VAR && expr->as.var->is_mutable) {
        mention_var(mention->t, expr->as.var, mention->number);
    }
    return false;
}

static void find_mentions(Text *t) {
    for (int32_t i = 0; i < t->n_stmts; i++) {
        const KStmt *stmt = t->stmts[i].stmt;
        kernel_walk_operands(stmt, mention_read, &(Mention){t, i});
        const KVar *var = kernel_stmt_var(stmt);
        if (stmt->kind == KS_SET) {
            mention_var(t, var, i);
        } else if (var) {
            t->let_stmt[var->id] = i;
        }
        int32_t parent = t->stmts[i].parent;
        bool top = parent < 0 || kernel_is_loop(t->stmts[parent].stmt, KL_GRID);
        if (kernel_is_loop(stmt, KL_GRID) || (stmt->kind == KS_LET && top)) {
            t->is_fixed[var->id] = true;
        }
    }
}

/* -- what a loop does */
typedef struct Inside {
    const Text *t;
    int32_t number;
} Inside;

static bool is_made_inside(const KExpr *expr, void *user) {
    const Inside *inside = user;
    if (expr->kind == KE_LOAD || expr->kind == KE_LOCAL) {
        return true;
    }
    if (expr->kind != KE_VAR) {
        return false;
    }
    const Text *t = inside->t;
    int32_t defined = t->let_stmt[expr->as.var->id];
    return expr->as.var->is_mutable ||
           (defined >= inside->number && defined < t->stmts[inside->number].end);
}

/* Whether an expression reads something defined inside statement `number`, or memory. */
static bool depends_on(const Text *t, const KExpr *expr, int32_t number) {
    return kernel_walk_expr(expr, is_made_inside, &(Inside){t, number});
}

static OpCode reduction_op(const KStmt *set) {
    const KExpr *value = set->as.set.value;
    return value->kind == KE_SCALAR ? value->as.scalar.op : OP_add;
}

int32_t team_reduced(const Text *t, const KStmt *loop, const KVar **vars, OpCode *ops) {
    int32_t number = team_number(t, loop), count = 0;
    for (int32_t i = number + 1; i < t->stmts[number].end; i++) {
        const KStmt *stmt = t->stmts[i].stmt;
        if (stmt->kind != KS_SET) {
            continue;
        }
        int32_t home = team_number(t, t->var_list[stmt->as.set.var->id]);
        if (home > number && home < t->stmts[number].end) {
            continue;
        }
        bool known = false;
        for (int32_t v = 0; v < count; v++) {
            known = known || vars[v] == stmt->as.set.var;
        }
        if (!known && count < TEXT_MAX_REDUCED) {
            vars[count] = stmt->as.set.var;
            ops[count++] = reduction_op(stmt);
        }
    }
    return count;
}

static bool sets_outer(const Text *t, const KStmt *loop) {
    const KVar *vars[TEXT_MAX_REDUCED];
    OpCode ops[TEXT_MAX_REDUCED];
    return team_reduced(t, loop, vars, ops) > 0;
}

static bool holds(const Text *t, const KStmt *loop, bool vectors_only) {
    int32_t number = team_number(t, loop);
    for (int32_t i = number + 1; i < t->stmts[number].end; i++) {
        const KStmt *stmt = t->stmts[i].stmt;
        if (stmt->kind == KS_CONTRACT || kernel_is_loop(stmt, KL_VECTOR) ||
            (!vectors_only && kernel_is_loop(stmt, KL_INDEPENDENT))) {
            return true;
        }
    }
    return false;
}

static bool holds_store(const Text *t, const KStmt *loop) {
    int32_t number = team_number(t, loop);
    for (int32_t i = number + 1; i < t->stmts[number].end; i++) {
        KStmtKind kind = t->stmts[i].stmt->kind;
        if (kind == KS_STORE || kind == KS_LOCAL_STORE) {
            return true;
        }
    }
    return false;
}

/* -- chains: perfectly nested loops whose iterations are all independent */
static const KStmt *inner_loop(const Text *t, const KStmt *outermost, const KStmt *loop) {
    const KStmt *stmt = loop->as.loop.body;
    while (stmt && stmt->kind == KS_LET) {
        stmt = stmt->next;
    }
    int32_t number = team_number(t, outermost);
    bool fits = stmt && !stmt->next &&
                (kernel_is_loop(stmt, KL_INDEPENDENT) || kernel_is_loop(stmt, KL_VECTOR)) &&
                !depends_on(t, stmt->as.loop.begin, number) &&
                !depends_on(t, stmt->as.loop.end, number);
    return fits && !(kernel_is_loop(stmt, KL_VECTOR) && sets_outer(t, stmt)) ? stmt : NULL;
}

int32_t team_chain(const Text *t, const KStmt *stmt, const KStmt **out) {
    int32_t count = 1, most = team_info(t, stmt)->chain;
    out[0] = stmt;
    while (count < most) {
        out[count] = inner_loop(t, stmt, out[count - 1]);
        count++;
    }
    return count;
}

const KStmt *team_chain_body(const Text *t, const KStmt *stmt) {
    const KStmt *chain[TEXT_MAX_CHAIN];
    return chain[team_chain(t, stmt, chain) - 1]->as.loop.body;
}

static void plan_list(Text *t, const KStmt *stmt, Team team);

/* The longest vector loop inside, and whether all are constant. */
static int64_t longest_vector(const Text *t, const KStmt *loop, bool *known) {
    int32_t number = team_number(t, loop);
    int64_t most = 0;
    *known = true;
    for (int32_t i = number + 1; i < t->stmts[number].end; i++) {
        const KStmt *stmt = t->stmts[i].stmt;
        if (stmt->kind == KS_CONTRACT) {
            *known = false;
        } else if (kernel_is_loop(stmt, KL_VECTOR)) {
            bool is_known;
            int64_t extent = team_extent(t, stmt, &is_known);
            *known = *known && is_known;
            most = extent > most ? extent : most;
        }
    }
    return most;
}

static void plan_independent(Text *t, const KStmt *stmt, Team team) {
    StmtInfo *info = team_info(t, stmt);
    const KStmt *last = stmt, *inner;
    double iterations = 1;
    bool unused;
    info->chain = 1;
    while (info->chain < TEXT_MAX_CHAIN && (inner = inner_loop(t, stmt, last)) != NULL) {
        iterations *= (double)team_extent(t, last, &unused);
        last = inner;
        info->chain++;
    }
    if (last->as.loop.kind == KL_VECTOR || !holds(t, last, true)) {
        info->plan = PLAN_SPREAD;
        plan_list(t, last->as.loop.body, TEAM_THREAD);
        return;
    }
    iterations *= (double)team_extent(t, last, &unused);
    bool known;
    int64_t longest = longest_vector(t, last, &known);
    bool alone = longest > LONG_ROW || (iterations <= 1.5 && longest > 4 * WARP_LANES);
    if (known && longest <= SHORT_LOOP) {
        info->plan = PLAN_SPREAD;
        plan_list(t, last->as.loop.body, TEAM_THREAD);
    } else if (team == TEAM_BLOCK && !alone && t->warps > 1) {
        info->plan = PLAN_WARPS;
        t->uses_warp = true;
        plan_list(t, last->as.loop.body, TEAM_WARP);
    } else {
        info->chain = 1;
        info->plan = PLAN_SERIAL;
        plan_list(t, stmt->as.loop.body, team);
    }
}

static void plan_loop(Text *t, const KStmt *stmt, Team team) {
    StmtInfo *info = team_info(t, stmt);
    if (team == TEAM_THREAD) {
        info->plan = PLAN_SERIAL;
        plan_list(t, stmt->as.loop.body, team);
        return;
    }
    const KVar *vars[TEXT_MAX_REDUCED];
    OpCode ops[TEXT_MAX_REDUCED];
    if (stmt->as.loop.kind == KL_VECTOR && team_reduced(t, stmt, vars, ops) < TEXT_MAX_REDUCED) {
        info->plan = PLAN_SPREAD;
        plan_list(t, stmt->as.loop.body, TEAM_THREAD);
    } else if (stmt->as.loop.kind == KL_INDEPENDENT) {
        plan_independent(t, stmt, team);
    } else if (!holds(t, stmt, false) && holds_store(t, stmt) && !sets_outer(t, stmt)) {
        info->plan = PLAN_SOLO;
        plan_list(t, stmt->as.loop.body, TEAM_THREAD);
    } else {
        info->plan = PLAN_SERIAL;
        plan_list(t, stmt->as.loop.body, team);
    }
}

static void plan_list(Text *t, const KStmt *stmt, Team team) {
    for (; stmt; stmt = stmt->next) {
        team_info(t, stmt)->team = team;
        if (stmt->kind == KS_FOR) {
            plan_loop(t, stmt, team);
        } else if (stmt->kind == KS_IF) {
            plan_list(t, stmt->as.branch.then, team);
            plan_list(t, stmt->as.branch.otherwise, team);
        }
    }
}

/* -- sums that stay in registers over a loop */
static bool is_fixed_expr(const KExpr *expr) {
    return expr->kind == KE_INT;
}

static bool only_contract(const Text *t, int32_t loop, int32_t contract) {
    const KLocal *c = t->stmts[contract].stmt->as.contract.c_local;
    for (int32_t i = loop + 1; i < t->stmts[loop].end; i++) {
        const KStmt *stmt = t->stmts[i].stmt;
        KLocalUse uses[4];
        int32_t n = i == contract ? 0 : kernel_stmt_locals(stmt, uses);
        for (int32_t u = 0; u < n; u++) {
            if (uses[u].local == c) {
                return false;
            }
        }
        if (i != contract && kernel_stmt_reads_local(stmt, c)) {
            return false;
        }
    }
    return true;
}

/* Outermost serial loop of the block that may hold the sums of a contraction in it. */
static void hold_sums(Text *t, int32_t number) {
    StmtInfo *info = &t->stmts[number];
    const KStmt *stmt = info->stmt;
    if (info->team != TEAM_BLOCK || !team_tile_shape(t, stmt).is_block ||
        !stmt->as.contract.accumulate || !is_fixed_expr(stmt->as.contract.c_offset) ||
        !is_fixed_expr(stmt->as.contract.c_stride)) {
        return;
    }
    int32_t best = -1;
    for (int32_t up = info->parent; up >= 0; up = t->stmts[up].parent) {
        const KStmt *loop = t->stmts[up].stmt;
        if (kernel_is_loop(loop, KL_GRID)) {
            break;
        }
        if (loop->kind == KS_FOR && !t->stmts[up].held && only_contract(t, up, number)) {
            best = up;
        } else if (loop->kind == KS_FOR) {
            break;
        }
    }
    if (best >= 0) {
        t->stmts[best].held = stmt;
        info->is_held = true;
    }
}

/* A block's reducing loops use two sets of slots by turns, so that one barrier a loop is enough. */
static void place_slots(Text *t) {
    const KVar *vars[TEXT_MAX_REDUCED];
    OpCode ops[TEXT_MAX_REDUCED];
    int32_t most = 0, turn = 0;
    for (int32_t i = 0; i < t->n_stmts; i++) {
        StmtInfo *info = &t->stmts[i];
        if (info->stmt->kind == KS_FOR && info->team == TEAM_BLOCK && info->plan == PLAN_SPREAD &&
            info->stmt->as.loop.kind == KL_VECTOR) {
            int32_t n = team_reduced(t, info->stmt, vars, ops);
            info->slots = turn;
            turn = n > 0 ? 1 - turn : turn;
            most = n > most ? n : most;
        }
    }
    for (int32_t i = 0; i < t->n_stmts; i++) {
        t->stmts[i].slots *= most;
    }
    t->n_slots = 2 * most;
}

bool team_plan(Text *t) {
    int32_t count = kernel_count_stmts(t->kernel->body);
    t->mask = 15;
    while (t->mask < 2 * (uint32_t)count) {
        t->mask = 2 * t->mask + 1;
    }
    t->stmts = calloc((size_t)count + 1, sizeof(StmtInfo));
    t->by_stmt = calloc((size_t)t->mask + 1, sizeof(int32_t));
    if (!t->stmts || !t->by_stmt) {
        return false;
    }
    for (int32_t i = 0; i < t->kernel->n_vars; i++) {
        t->let_stmt[i] = -1;
    }
    number_stmts(t, t->kernel->body, -1);
    find_mentions(t);
    const KStmt *body = t->kernel->body;
    while (body && kernel_is_loop(body, KL_GRID)) {
        body = body->as.loop.body;
    }
    plan_list(t, body, TEAM_BLOCK);
    place_slots(t);
    for (int32_t i = 0; i < t->n_stmts; i++) {
        StmtInfo *info = &t->stmts[i];
        Wide wide;
        if (info->stmt->kind == KS_CONTRACT) {
            hold_sums(t, i);
        } else if (info->stmt->kind == KS_FOR && info->team == TEAM_BLOCK &&
                   info->plan == PLAN_SPREAD && info->chain == 1) {
            info->is_wide = team_wide(t, info->stmt, &wide);
        }
    }
    return true;
}
