/* Whose copy each local is, and where it lives. A local that every iteration of the loops shared
 * out over warps or threads uses as scratch of its own (written before it is read, used nowhere
 * else) has a copy for each of them; any other is the block's. Shared memory takes what fits, the
 * block's global scratch the rest, largest first. */
#include "codegen/cuda/team/team.h"
#include <stdlib.h>

enum { MOST_REGISTERS = 32, LEAST_SHARED = 48 * 1024, BANK_BYTES = 128 };

/* -- accesses, in program order; those that make up a statement's values before what it writes */
static void add_access(Text *t, const KLocal *local, const KExpr *index, int32_t at,
                       bool is_write) {
    if (t->accesses) {
        t->accesses[t->n_accesses] = (LocalAccess){local, index, at, is_write};
    }
    t->n_accesses++;
}

typedef struct Reader {
    Text *t;
    int32_t at;
} Reader;

static bool add_read(const KExpr *expr, void *user) {
    const Reader *reader = user;
    if (expr->kind == KE_LOCAL) {
        add_access(reader->t, expr->as.local.array, expr->as.local.at, reader->at, false);
    }
    return false;
}

static void add_accesses(Text *t) {
    t->n_accesses = 0;
    for (int32_t i = 0; i < t->n_stmts; i++) {
        const KStmt *stmt = t->stmts[i].stmt;
        kernel_walk_operands(stmt, add_read, &(Reader){t, i});
        KLocalUse uses[4];
        int32_t n = kernel_stmt_locals(stmt, uses);
        for (int32_t u = 0; u < n; u++) {
            add_access(t, uses[u].local, uses[u].at, i, uses[u].is_write);
        }
    }
}

/* -- owners */
/* The outermost shared-out loop that holds statement `at` and stands inside statement `inside` (-1:
 * the tile); -1: none. */
static int32_t region_of(const Text *t, int32_t at, int32_t inside) {
    int32_t region = -1;
    for (int32_t up = t->stmts[at].parent; up >= 0 && up != inside; up = t->stmts[up].parent) {
        const StmtInfo *info = &t->stmts[up];
        if (info->stmt->kind == KS_FOR && info->team != TEAM_THREAD &&
            (info->plan == PLAN_SPREAD || info->plan == PLAN_WARPS)) {
            region = up;
        }
    }
    return region;
}

static bool is_private(const Text *t, const KLocal *local, int32_t inside) {
    int32_t last = -1;
    bool any = false;
    for (int32_t i = 0; i < t->n_accesses; i++) {
        const LocalAccess *access = &t->accesses[i];
        bool within = inside < 0 || (access->at > inside && access->at < t->stmts[inside].end);
        if (access->local != local || !within) {
            continue;
        }
        int32_t region = region_of(t, access->at, inside);
        if (region < 0 || (region != last && !access->is_write)) {
            return false;
        }
        last = region;
        any = true;
    }
    return any;
}

Team team_owner(const Text *t, const KLocal *local, int32_t at) {
    int32_t region = region_of(t, at, -1);
    if (region < 0 || !is_private(t, local, -1)) {
        return TEAM_BLOCK;
    }
    if (t->stmts[region].plan == PLAN_SPREAD) {
        return TEAM_THREAD;
    }
    return is_private(t, local, region) ? TEAM_THREAD : TEAM_WARP;
}

/* -- places */
static bool is_unrolled(const Text *t, const KExpr *index) {
    if (!index) {
        return false;
    }
    switch (index->kind) {
    case KE_INT:
        return true;
    case KE_VAR: {
        int32_t defined = t->let_stmt[index->as.var->id];
        const KStmt *stmt = defined >= 0 ? t->stmts[defined].stmt : NULL;
        return stmt && kernel_is_loop(stmt, KL_UNROLL);
    }
    case KE_SCALAR:
        return (index->as.scalar.op == OP_add || index->as.scalar.op == OP_mul) &&
               is_unrolled(t, index->as.scalar.a[0]) && is_unrolled(t, index->as.scalar.a[1]);
    default:
        return false;
    }
}

static bool in_registers(const Text *t, const KLocal *local) {
    if (local->count > MOST_REGISTERS) {
        return false;
    }
    for (int32_t i = 0; i < t->n_accesses; i++) {
        if (t->accesses[i].local == local && !is_unrolled(t, t->accesses[i].index)) {
            return false;
        }
    }
    return true;
}

static void set_exchange(Text *t, const KLocal *local, int64_t width, int32_t unit, int32_t most) {
    LocalInfo *info = &t->locals[local->id];
    int32_t line = BANK_BYTES / team_memory_bytes(local->dtype);
    info->width = (int32_t)width;
    info->line = width > line ? (int32_t)width : line;
    info->unit = unit;
    info->groups = width / unit < most ? (int32_t)(width / unit) : most;
}

/* Rows of a panel are exchanged where all its contractions see it as whole rows of one width. */
static void choose_width(Text *t, const KLocal *local) {
    int64_t width = 0;
    bool fits = t->locals[local->id].by_team[TEAM_BLOCK].placement == PLACE_SHARED;
    for (int32_t i = 0; i < t->n_stmts && fits; i++) {
        const KStmt *stmt = t->stmts[i].stmt;
        if (stmt->kind != KS_CONTRACT) {
            continue;
        }
        const KContract *contract = &stmt->as.contract;
        if (contract->a_local != local && contract->b_local != local) {
            fits = contract->c_local != local;
            continue;
        }
        TileShape shape = team_tile_shape(t, stmt);
        bool is_a = contract->a_local == local;
        bool deep = is_a ? contract->a_deep : contract->b_deep;
        const KExpr *offset = is_a ? contract->a_offset : contract->b_offset;
        int64_t own = deep ? shape.depth : is_a ? shape.rows : shape.columns;
        fits = shape.is_block && (width == 0 || own == width) && is_power_of_two(own) &&
               offset->kind == KE_INT && offset->as.integer % (8 * own) == 0;
        width = own;
    }
    int32_t unit = 16 / team_memory_bytes(local->dtype);
    if (fits && width >= 2 * unit) {
        set_exchange(t, local, width, unit, 8);
    }
}

/* So are those of a result, by pairs of which fragments are made: eight columns at a time. */
static void choose_result_width(Text *t, const KLocal *local) {
    int64_t width = 0;
    bool fits = t->locals[local->id].by_team[TEAM_BLOCK].placement == PLACE_SHARED;
    for (int32_t i = 0; i < t->n_stmts && fits; i++) {
        const KStmt *stmt = t->stmts[i].stmt;
        const KContract *contract = stmt->kind == KS_CONTRACT ? &stmt->as.contract : NULL;
        if (contract && (contract->a_local == local || contract->b_local == local)) {
            fits = false;
        } else if (contract && contract->c_local == local) {
            TileShape shape = team_tile_shape(t, stmt);
            const KExpr *stride = contract->c_stride;
            int64_t own = stride->kind == KE_INT ? stride->as.integer : 0;
            fits = shape.by_mma && own >= 32 && is_power_of_two(own) &&
                   (width == 0 || own == width) && contract->c_offset->kind == KE_INT &&
                   contract->c_offset->as.integer == 0;
            width = own;
        }
    }
    if (fits && width > 0) {
        set_exchange(t, local, width, 8, 4);
    }
}

static void find_owners(Text *t) {
    int64_t copies[3] = {1, t->warps, t->threads};
    for (int32_t i = 0; i < t->n_accesses; i++) {
        const KLocal *local = t->accesses[i].local;
        Team owner = team_owner(t, local, t->accesses[i].at);
        LocalPlace *place = &t->locals[local->id].by_team[owner];
        if (place->placement == PLACE_NONE) {
            bool registers = owner == TEAM_THREAD && in_registers(t, local);
            *place = (LocalPlace){.placement = registers ? PLACE_REGISTERS : PLACE_SHARED,
                                  .copies = registers ? 0 : copies[owner]};
        }
        t->uses_warp = t->uses_warp || owner == TEAM_WARP;
    }
}

/* The largest place in shared memory; NULL: none. */
static LocalPlace *largest_place(Text *t, const KLocal **out_local) {
    LocalPlace *largest = NULL;
    int64_t most = 0;
    for (int32_t i = 0; i < t->kernel->n_locals; i++) {
        const KLocal *local = t->kernel->locals[i];
        for (int team = 0; team < 3; team++) {
            LocalPlace *place = &t->locals[local->id].by_team[team];
            const LocalInfo *info = &t->locals[local->id];
            int64_t bytes = room_of_copies(t, local, place);
            bool fixed = info->overlaid || info->stages > 1 || room_of_overlaid(t, local) > 0;
            if (place->placement == PLACE_SHARED && !fixed && bytes > most) {
                most = bytes;
                largest = place;
                *out_local = local;
            }
        }
    }
    return largest;
}

static void place_overlaid(Text *t, const KLocal *local, int64_t offset) {
    for (int32_t i = 0; i < t->kernel->n_locals; i++) {
        const KLocal *panel = t->kernel->locals[i];
        if (t->locals[panel->id].overlaid == local) {
            LocalPlace *place = &t->locals[panel->id].by_team[TEAM_BLOCK];
            place->offset = offset;
            offset += room_of_copies(t, panel, place);
        }
    }
}

static void set_offsets(Text *t) {
    for (int32_t i = 0; i < t->kernel->n_locals; i++) {
        const KLocal *local = t->kernel->locals[i];
        for (int team = 0; team < 3; team++) {
            LocalPlace *place = &t->locals[local->id].by_team[team];
            int64_t *end = place->placement == PLACE_SHARED   ? &t->shared_bytes
                           : place->placement == PLACE_GLOBAL ? &t->scratch_bytes
                                                              : NULL;
            if (end && !t->locals[local->id].overlaid) {
                place->offset = *end;
                *end += room_of_place(t, local, place);
                place_overlaid(t, local, place->offset);
            }
        }
    }
}

bool team_place_locals(Text *t) {
    add_accesses(t);
    t->accesses = calloc((size_t)t->n_accesses + 1, sizeof(LocalAccess));
    if (!t->accesses) {
        return false;
    }
    add_accesses(t);
    for (int32_t i = 0; i < t->kernel->n_locals; i++) {
        t->locals[i].stages = 1;
    }
    find_owners(t);
    int64_t room = t->machine->shared_bytes > 0 ? t->machine->shared_bytes : LEAST_SHARED;
    t->shared_bytes = room_of_slots(t);
    pipe_plan(t, room);
    int64_t total = room_shared(t);
    while (total > room) {
        const KLocal *local = NULL;
        LocalPlace *place = largest_place(t, &local);
        if (!place) {
            break;
        }
        place->placement = PLACE_GLOBAL;
        total -= room_of_copies(t, local, place);
    }
    set_offsets(t);
    for (int32_t i = 0; i < t->kernel->n_locals; i++) {
        choose_width(t, t->kernel->locals[i]);
    }
    for (int32_t i = 0; i < t->kernel->n_locals; i++) {
        choose_result_width(t, t->kernel->locals[i]);
    }
    return true;
}
