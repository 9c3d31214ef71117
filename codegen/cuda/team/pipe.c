/* Which loops fill the panels of their steps ahead of use, in how many stages, and what may lie
 * where the panels lay (text/pipe.c writes them). */
#include "codegen/cuda/team/team.h"
#include <stdio.h>

enum { MOST_STAGES = 4, FREE_ROOM = 48 * 1024 };

/* -- which loops */
static bool is_panel_of(const KLocal *local, const KStmt *stmt) {
    const KContract *contract = &stmt->as.contract;
    return local == contract->a_local || local == contract->b_local;
}

/* Everything inside `number` writes the contraction's panels only, and reads none of them. */
static bool only_fills(const Text *t, int32_t number, const KStmt *contract) {
    for (int32_t i = number + 1; i < t->stmts[number].end; i++) {
        const KStmt *stmt = t->stmts[i].stmt;
        bool fits =
            stmt->kind == KS_LET || stmt->kind == KS_SET || stmt->kind == KS_IF ||
            stmt->kind == KS_FAULT || stmt->kind == KS_FOR ||
            (stmt->kind == KS_LOCAL_STORE && is_panel_of(stmt->as.local_store.array, contract));
        if (!fits) {
            return false;
        }
    }
    return true;
}

static bool has_shape(const Text *t, const KStmt *loop) {
    const StmtInfo *info = team_info(t, loop);
    const KStmt *contract = info->held, *last = loop->as.loop.body;
    if (!contract || info->plan != PLAN_SERIAL || loop->as.loop.kind != KL_SERIAL ||
        contract->as.contract.a_local == contract->as.contract.b_local) {
        return false;
    }
    for (; last && last->next; last = last->next) {
        bool fills = last->kind == KS_FOR && team_info(t, last)->plan == PLAN_SPREAD &&
                     only_fills(t, team_number(t, last), contract);
        if (last->kind != KS_LET && !fills) {
            return false;
        }
    }
    return last == contract;
}

/* The panels are shared memory that nothing else uses. */
static bool owns_panels(const Text *t, const KStmt *loop) {
    int32_t from = team_number(t, loop), to = t->stmts[from].end;
    const KStmt *contract = team_info(t, loop)->held;
    for (int32_t i = 0; i < t->n_accesses; i++) {
        const LocalAccess *access = &t->accesses[i];
        if (is_panel_of(access->local, contract) && (access->at < from || access->at >= to)) {
            return false;
        }
    }
    const LocalInfo *a = &t->locals[contract->as.contract.a_local->id],
                    *b = &t->locals[contract->as.contract.b_local->id];
    return a->by_team[TEAM_BLOCK].placement == PLACE_SHARED &&
           b->by_team[TEAM_BLOCK].placement == PLACE_SHARED;
}

bool expr_is_zero(const KExpr *expr) {
    return (expr->kind == KE_FLOAT && expr->as.real == 0) ||
           (expr->kind == KE_INT && expr->as.integer == 0);
}

/* The statement in front of the loop, if it sets all of the sums' tile to zero. */
static const KStmt *zeros_before(const Text *t, const KStmt *loop, const KLocal *local) {
    const KStmt *before = NULL;
    for (const KStmt *stmt = team_info(t, loop)->list; stmt && stmt != loop; stmt = stmt->next) {
        before = stmt->kind == KS_LET ? before : stmt;
    }
    bool fits = before && before->kind == KS_FOR && expr_is_zero(before->as.loop.begin) &&
                before->as.loop.end->kind == KE_INT &&
                before->as.loop.end->as.integer == local->count &&
                team_info(t, before)->plan == PLAN_SPREAD;
    const KStmt *store = fits ? before->as.loop.body : NULL;
    fits = fits && store && !store->next && store->kind == KS_LOCAL_STORE &&
           store->as.local_store.array == local && store->as.local_store.at->kind == KE_VAR &&
           store->as.local_store.at->as.var == before->as.loop.var &&
           expr_is_zero(store->as.local_store.value);
    return fits ? before : NULL;
}

/* Between the loop's end and the tile's, and once a tile: then the panels are dead. */
static bool may_overlay(const Text *t, const KStmt *loop, const KLocal *sums) {
    int32_t number = team_number(t, loop);
    for (int32_t up = t->stmts[number].parent; up >= 0; up = t->stmts[up].parent) {
        const KStmt *stmt = t->stmts[up].stmt;
        if (!kernel_is_loop(stmt, KL_GRID)) {
            return false;
        }
    }
    for (int32_t i = 0; i < t->n_accesses; i++) {
        const LocalAccess *access = &t->accesses[i];
        bool elided =
            t->stmts[access->at].is_elided ||
            (t->stmts[access->at].parent >= 0 && t->stmts[t->stmts[access->at].parent].is_elided);
        if (access->local == sums && !elided && access->at < number) {
            return false;
        }
    }
    return t->locals[sums->id].by_team[TEAM_BLOCK].placement == PLACE_SHARED;
}

static void plan_pipe(Text *t, const KStmt *loop) {
    StmtInfo *info = team_info(t, loop);
    const KStmt *contract = info->held;
    info->is_pipe = true;
    team_info(t, contract)->is_elided = true;
    const KStmt *zeros = zeros_before(t, loop, contract->as.contract.c_local);
    if (zeros) {
        team_info(t, zeros)->is_elided = true;
        team_info(t, contract)->from_zero = true;
        if (may_overlay(t, loop, contract->as.contract.c_local)) {
            t->locals[contract->as.contract.a_local->id].overlaid = contract->as.contract.c_local;
            t->locals[contract->as.contract.b_local->id].overlaid = contract->as.contract.c_local;
        }
    }
}

static void unplan_pipe(Text *t, const KStmt *loop) {
    StmtInfo *info = team_info(t, loop);
    const KStmt *contract = info->held;
    info->is_pipe = false;
    team_info(t, contract)->is_elided = false;
    team_info(t, contract)->from_zero = false;
    const KStmt *zeros = zeros_before(t, loop, contract->as.contract.c_local);
    if (zeros) {
        team_info(t, zeros)->is_elided = false;
    }
    const KLocal *panels[2] = {contract->as.contract.a_local, contract->as.contract.b_local};
    for (int i = 0; i < 2; i++) {
        t->locals[panels[i]->id].overlaid = NULL;
        t->locals[panels[i]->id].stages = 1;
    }
}

/* As many stages as the sums' tile or FREE_ROOM hold, at least two. */
static void choose_stages(Text *t, const KStmt *loop, int64_t room) {
    const KStmt *contract = team_info(t, loop)->held;
    LocalInfo *a = &t->locals[contract->as.contract.a_local->id],
              *b = &t->locals[contract->as.contract.b_local->id];
    int64_t stage =
        room_of_one(contract->as.contract.a_local) + room_of_one(contract->as.contract.b_local);
    int64_t sums = a->overlaid ? room_of_one(contract->as.contract.c_local) : 0;
    int64_t goal = sums > FREE_ROOM ? sums : FREE_ROOM;
    bool known;
    int64_t steps = team_extent(t, loop, &known), stages = MOST_STAGES;
    stages = known && steps < stages ? steps : stages;
    while (stages > 2 && stages * stage > goal) {
        stages--;
    }
    stages = stages < 2 ? 2 : stages;
    a->stages = b->stages = (int32_t)stages;
    if (room_shared(t) > room) {
        unplan_pipe(t, loop);
    }
}

void pipe_plan(Text *t, int64_t room) {
    for (int32_t i = 0; i < t->n_stmts; i++) {
        const KStmt *loop = t->stmts[i].stmt;
        bool known;
        if (loop->kind == KS_FOR && has_shape(t, loop) && owns_panels(t, loop) &&
            !(team_extent(t, loop, &known) < 2 && known)) {
            plan_pipe(t, loop);
            choose_stages(t, loop, room);
        }
    }
}
