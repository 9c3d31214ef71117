/* Statements of the loop IR as CUDA C, for the team that runs them: loops shared out over threads
 * or warps, stores by one thread, barriers where team/sync.c wants. */
#include "codegen/cuda/text/state.h"
#include "runtime/kernel_abi.h"

enum { MOST_TURNS = 4 };

static void close_brace(Text *t) {
    t->indent--;
    text_line(t, "}");
}

void text_barrier(Text *t, Team team) {
    text_line(t, team == TEAM_BLOCK ? "dlc_sync();" : "dlc_sync_warp();");
}

/* -- variables */
static void declare(Text *t, const KVar *var) {
    if (!t->declared[var->id]) {
        t->declared[var->id] = true;
        str_addf(t->out, "%s ", text_value_type(var->dtype));
    }
}

/* Mutable variables that live in this list but are first set inside one of its statements. */
static void declare_inside(Text *t, const KStmt *stmt, const KStmt *list) {
    int32_t number = team_number(t, stmt);
    for (int32_t i = number + 1; i < t->stmts[number].end; i++) {
        const KStmt *inner = t->stmts[i].stmt;
        const KVar *var = kernel_stmt_var(inner);
        if (inner->kind == KS_SET && !t->declared[var->id] && t->var_list[var->id] == list) {
            text_begin(t);
            declare(t, var);
            text_var(t, var);
            str_add(t->out, " = 0;\n");
        }
    }
}

static void assign(Text *t, const KAssign *assign) {
    text_var(t, assign->var);
    str_add(t->out, " = ");
    text_expr(t, assign->value);
    str_add(t->out, ";\n");
}

static void let(Text *t, const KAssign *let) {
    int32_t id = let->var->id;
    bool is_index = let->var->dtype == DT_I64;
    t->natural[id] = is_index && text_is_natural(t, let->value);
    t->high[id] = is_index ? text_high(t, let->value) : INT64_MAX;
    t->tainted[id] = is_index && text_tainted(t, let->value);
    text_begin(t);
    str_addf(t->out, "const %s ", text_value_type(let->var->dtype));
    assign(t, let);
}

static void set(Text *t, const KAssign *set) {
    t->tainted[set->var->id] = true;
    text_begin(t);
    declare(t, set->var);
    assign(t, set);
}

/* dlc_fault_set adds 1 to the site's number. */
static void watch(Text *t, const KExpr *value, DType dtype) {
    text_begin(t);
    str_addf(t->out, "if (!dlc_isfinite_%s(", dtype == DT_F64 ? "f64" : "f32");
    text_expr(t, value);
    str_addf(t->out, ")) dlc_fault_set(fault, %lldll, 0, 0);\n",
             (long long)KERNEL_SITE_NOT_FINITE - 1);
}

static void store(Text *t, const KStmt *stmt) {
    int32_t buffer = stmt->as.store.buffer;
    const KExpr *at = stmt->as.store.at, *value = stmt->as.store.value;
    DType dtype = t->kernel->buffers[buffer].dtype;
    int32_t part = team_wide_part(t, true, buffer, NULL, at);
    if (stmt->as.store.watched) {
        watch(t, value, dtype);
    }
    text_begin(t);
    if (part >= 0) {
        text_wide_element(t, part);
    } else {
        str_addf(t->out, "b%d[", buffer);
        text_expr(t, at);
        str_add(t->out, "]");
    }
    str_add(t->out, " = ");
    text_stored(t, dtype, value);
    str_add(t->out, ";\n");
}

static void local_store(Text *t, const KStmt *stmt) {
    const KLocal *local = stmt->as.local_store.array;
    const KExpr *at = stmt->as.local_store.at;
    int32_t part = team_wide_part(t, true, -1, local, at);
    if (part < 0 && text_copy_element(t, stmt)) {
        return;
    }
    text_begin(t);
    if (part >= 0) {
        text_wide_element(t, part);
    } else {
        text_local_at(t, local, at);
    }
    str_add(t->out, " = ");
    text_stored(t, local->dtype, stmt->as.local_store.value);
    str_add(t->out, ";\n");
}

static void index_argument(Text *t, const KExpr *expr) {
    if (expr->dtype != DT_I64) {
        str_add(t->out, "(long long)");
    }
    text_expr(t, expr);
}

static void fault(Text *t, const KStmt *stmt) {
    text_begin(t);
    str_add(t->out, "if (");
    text_expr(t, stmt->as.fault.bad);
    str_add(t->out, ") {\n");
    t->indent++;
    text_begin(t);
    str_addf(t->out, "dlc_fault_set(fault, %lld, ", (long long)stmt->as.fault.site);
    index_argument(t, stmt->as.fault.value);
    str_add(t->out, ", ");
    index_argument(t, stmt->as.fault.bound);
    str_add(t->out, ");\n");
    close_brace(t);
}

/* -- loops */
static bool is_simple(const KExpr *expr) {
    return expr->kind == KE_INT || expr->kind == KE_SIZE ||
           (expr->kind == KE_VAR && !expr->as.var->is_mutable);
}

/* `const long long NAME_ID = value;` unless the value is as short; evaluated once, before the loop.
 */
static void hoist(Text *t, const char *name, const KVar *var, const KExpr *value) {
    if (!is_simple(value)) {
        text_begin(t);
        str_addf(t->out, "const long long %s_%d = ", name, var->id);
        text_expr(t, value);
        str_add(t->out, ";\n");
    }
}

void text_bound(Text *t, const char *name, const KVar *var, const KExpr *value) {
    if (is_simple(value)) {
        text_expr(t, value);
    } else {
        str_addf(t->out, "%s_%d", name, var->id);
    }
}

static void enter_loop(Text *t, const KStmt *loop) {
    int64_t high = text_high(t, loop->as.loop.end);
    t->natural[loop->as.loop.var->id] = text_is_natural(t, loop->as.loop.begin);
    t->high[loop->as.loop.var->id] = high == INT64_MAX ? high : high - 1;
}

/* What runs where a group's condition is false is kept short. */
static void rarely(Text *t) {
    if (t->group < 0) {
        text_line(t, "#pragma unroll 1");
    }
}

/* for (VAR = begin + first; VAR < end; VAR += step) { */
static void open_for(Text *t, const KStmt *loop, const char *first, int32_t step) {
    enter_loop(t, loop);
    rarely(t);
    text_begin(t);
    str_add(t->out, "for (long long ");
    text_var(t, loop->as.loop.var);
    str_add(t->out, " = ");
    if (!first || !expr_is_zero(loop->as.loop.begin)) {
        text_bound(t, "begin", loop->as.loop.var, loop->as.loop.begin);
        str_add(t->out, first ? " + " : "");
    }
    str_add(t->out, first ? first : "");
    str_add(t->out, "; ");
    text_var(t, loop->as.loop.var);
    str_add(t->out, " < ");
    text_bound(t, "end", loop->as.loop.var, loop->as.loop.end);
    str_add(t->out, "; ");
    text_var(t, loop->as.loop.var);
    if (step == 1) {
        str_add(t->out, "++) {\n");
    } else {
        str_addf(t->out, " += %d) {\n", step);
    }
    t->indent++;
}

static void hoist_bounds(Text *t, const KStmt *loop) {
    hoist(t, "begin", loop->as.loop.var, loop->as.loop.begin);
    hoist(t, "end", loop->as.loop.var, loop->as.loop.end);
}

void text_loop_bounds(Text *t, const KStmt *loop) {
    hoist_bounds(t, loop);
    enter_loop(t, loop);
}

static void serial_loop(Text *t, const KStmt *stmt, Team team) {
    StmtInfo *info = team_info(t, stmt);
    int32_t at = t->at;
    if (info->held) {
        text_contract_open(t, info->held);
        t->at = at;
    }
    hoist_bounds(t, stmt);
    if (stmt->as.loop.kind == KL_UNROLL) {
        text_line(t, "#pragma unroll");
    }
    open_for(t, stmt, NULL, 1);
    text_stmts(t, stmt->as.loop.body, team);
    close_brace(t);
    if (info->held) {
        text_contract_close(t, info->held);
    }
}

/* The extent of a loop of constant bounds; -1: they are not. */
static int64_t constant_extent(const KStmt *loop) {
    if (loop->as.loop.begin->kind != KE_INT || loop->as.loop.end->kind != KE_INT) {
        return -1;
    }
    int64_t extent = loop->as.loop.end->as.integer - loop->as.loop.begin->as.integer;
    return extent > 0 ? extent : 0;
}

/* Most iterations that the loops of a chain have together; INT64_MAX: unknown. */
static int64_t most_items(const Text *t, const KStmt *const *chain, int32_t n) {
    int64_t count = 1;
    for (int32_t i = 0; i < n; i++) {
        int64_t extent = constant_extent(chain[i]);
        if (extent < 0) {
            extent = text_is_natural(t, chain[i]->as.loop.begin)
                         ? text_high(t, chain[i]->as.loop.end)
                         : INT64_MAX;
            extent = extent < 0 ? 0 : extent;
        }
        if (extent == INT64_MAX || __builtin_mul_overflow(count, extent, &count)) {
            return INT64_MAX;
        }
    }
    return count;
}

static void add_extent(Text *t, const KStmt *loop) {
    int64_t extent = constant_extent(loop);
    if (extent >= 0) {
        str_addf(t->out, extent > INT32_MAX ? "%lldll" : "%lld", (long long)extent);
    } else {
        str_addf(t->out, "extent_%d", loop->as.loop.var->id);
    }
}

static void add_extents(Text *t, const KStmt *const *chain, int32_t from, int32_t n) {
    for (int32_t i = from; i < n; i++) {
        str_add(t->out, i > from ? " * " : "");
        add_extent(t, chain[i]);
    }
}

static void declare_extents(Text *t, const KStmt *const *chain, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        hoist_bounds(t, chain[i]);
        if (constant_extent(chain[i]) >= 0) {
            continue;
        }
        text_begin(t);
        str_addf(t->out, "const long long extent_%d = dlc_max_i64(0, ", chain[i]->as.loop.var->id);
        text_bound(t, "end", chain[i]->as.loop.var, chain[i]->as.loop.end);
        if (!expr_is_zero(chain[i]->as.loop.begin)) {
            str_add(t->out, " - ");
            text_bound(t, "begin", chain[i]->as.loop.var, chain[i]->as.loop.begin);
        }
        str_add(t->out, ");\n");
    }
}

/* The index of one loop of a chain, out of the flat number of the iteration. */
static void chain_index(Text *t, const KStmt *const *chain, int32_t n, int32_t i, bool small) {
    const char *kind = small ? "small" : "index";
    int32_t item = chain[0]->as.loop.var->id;
    enter_loop(t, chain[i]);
    text_begin(t);
    str_add(t->out, "const long long ");
    text_var(t, chain[i]->as.loop.var);
    str_add(t->out, " = ");
    if (!expr_is_zero(chain[i]->as.loop.begin)) {
        text_bound(t, "begin", chain[i]->as.loop.var, chain[i]->as.loop.begin);
        str_add(t->out, " + ");
    }
    if (i > 0) {
        str_addf(t->out, "dlc_%s_mod(", kind);
    }
    if (i + 1 < n) {
        str_addf(t->out, "dlc_%s_div(item_%d, ", kind, item);
        add_extents(t, chain, i + 1, n);
        str_add(t->out, ")");
    } else {
        str_addf(t->out, "item_%d", item);
    }
    if (i > 0) {
        str_add(t->out, ", ");
        add_extent(t, chain[i]);
        str_add(t->out, ")");
    }
    str_add(t->out, ";\n");
}

/* Iterations of a chain from `first` in steps; the caller writes the body and closes. Lets between
 * the loops become part of it. */
static void open_chain(Text *t, const KStmt *stmt, const char *first, int32_t step) {
    const KStmt *chain[TEXT_MAX_CHAIN];
    int32_t n = team_chain(t, stmt, chain);
    int64_t extent = constant_extent(stmt), turns = extent / step;
    if (n == 1 && t->group > 0 && expr_is_zero(stmt->as.loop.begin) && extent > 0 &&
        extent % step == 0 && turns <= MOST_TURNS) {
        enter_loop(t, stmt);
        text_line(t,
                  text_group_copies(t, stmt->as.loop.body) ? "#pragma unroll" : "#pragma unroll 1");
        text_line(t, "for (int turn = 0; turn < %d; turn++) {", (int)turns);
        t->indent++;
        text_begin(t);
        str_add(t->out, "const long long ");
        text_var(t, stmt->as.loop.var);
        str_addf(t->out, " = %s + turn * %d;\n", first, step);
        return;
    }
    if (n == 1) {
        hoist_bounds(t, stmt);
        open_for(t, stmt, first, step);
        return;
    }
    bool small = most_items(t, chain, n) < INT32_MAX / 4;
    declare_extents(t, chain, n);
    rarely(t);
    text_begin(t);
    int32_t item = stmt->as.loop.var->id;
    str_addf(t->out, "for (%s item_%d = %s; item_%d < ", small ? "int" : "long long", item, first,
             item);
    add_extents(t, chain, 0, n);
    str_addf(t->out, "; item_%d += %d) {\n", item, step);
    t->indent++;
    for (int32_t i = 0; i < n; i++) {
        chain_index(t, chain, n, i, small);
        for (const KStmt *inner = chain[i]->as.loop.body; i + 1 < n && inner->kind == KS_LET;
             inner = inner->next) {
            t->at = team_number(t, inner);
            let(t, &inner->as.let);
        }
    }
}

static void warps_loop(Text *t, const KStmt *stmt) {
    open_chain(t, stmt, "warp", t->warps);
    text_stmts(t, team_chain_body(t, stmt), TEAM_WARP);
    close_brace(t);
}

static void spread_loop(Text *t, const KStmt *stmt, Team team) {
    const KVar *vars[TEXT_MAX_REDUCED];
    OpCode ops[TEXT_MAX_REDUCED];
    int32_t n = team_reduced(t, stmt, vars, ops);
    text_parts_declare(t, vars, ops, n);
    bool is_block = team == TEAM_BLOCK;
    t->uses_lane = t->uses_lane || !is_block;
    int32_t group = n == 0 ? text_group_condition(t, team_chain_body(t, stmt)) : 0;
    for (int32_t pass = 0; pass < (group > 0 ? 2 : 1); pass++) {
        if (group > 0) {
            text_begin(t);
            str_addf(t->out, pass == 0 ? "if (group_%d) {\n" : "} else {\n", group);
            t->indent++;
            t->group = pass == 0 ? group : -group;
        }
        open_chain(t, stmt, is_block ? "thread" : "lane", is_block ? t->threads : WARP_LANES);
        for (int32_t i = 0; i < n; i++) {
            t->alias[vars[i]->id] = "_part";
        }
        text_stmts(t, team_chain_body(t, stmt), TEAM_THREAD);
        for (int32_t i = 0; i < n; i++) {
            t->alias[vars[i]->id] = NULL;
        }
        close_brace(t);
        t->group = 0;
        t->indent -= group > 0 ? 1 : 0;
    }
    if (group > 0) {
        text_line(t, "}");
    }
    if (n > 0) {
        text_parts_combine(t, stmt, team, vars, ops, n);
    }
}

/* Sixteen bytes at a time as far as that goes, then the rest. */
static void wide_loop(Text *t, const KStmt *stmt) {
    Wide wide;
    if (!team_wide(t, stmt, &wide)) {
        return; /* never: planned so */
    }
    hoist_bounds(t, stmt);
    enter_loop(t, stmt);
    text_wide_stop(t, stmt, &wide);
    text_wide_loop(t, stmt, &wide);
    text_begin(t);
    int32_t id = stmt->as.loop.var->id;
    str_add(t->out, "for (long long ");
    text_var(t, stmt->as.loop.var);
    str_addf(t->out, " = stop_%d + thread; ", id);
    text_var(t, stmt->as.loop.var);
    str_add(t->out, " < ");
    text_bound(t, "end", stmt->as.loop.var, stmt->as.loop.end);
    str_add(t->out, "; ");
    text_var(t, stmt->as.loop.var);
    str_addf(t->out, " += %d) {\n", t->threads);
    t->indent++;
    text_stmts(t, stmt->as.loop.body, TEAM_THREAD);
    close_brace(t);
}

static void for_stmt(Text *t, const KStmt *stmt, Team team) {
    if (team_info(t, stmt)->is_pipe) {
        pipe_loop(t, stmt);
        return;
    }
    if (text_group(t, stmt, team)) {
        return;
    }
    switch (team_info(t, stmt)->plan) {
    case PLAN_SPREAD:
        if (team_info(t, stmt)->is_wide) {
            wide_loop(t, stmt);
        } else {
            spread_loop(t, stmt, team);
        }
        break;
    case PLAN_WARPS:
        warps_loop(t, stmt);
        break;
    default:
        serial_loop(t, stmt, team_info(t, stmt)->plan == PLAN_SOLO ? TEAM_THREAD : team);
        break;
    }
}

/* -- lists */
/* What one thread of a team does while the others wait. */
static bool is_for_one(const Text *t, const KStmt *stmt) {
    return stmt->kind == KS_STORE || stmt->kind == KS_LOCAL_STORE ||
           (stmt->kind == KS_FOR && team_info(t, stmt)->plan == PLAN_SOLO);
}

static void if_stmt(Text *t, const KStmt *stmt, Team team) {
    text_begin(t);
    str_add(t->out, "if (");
    text_expr(t, stmt->as.branch.condition);
    str_add(t->out, ") {\n");
    t->indent++;
    text_stmts(t, stmt->as.branch.then, team);
    t->indent--;
    if (stmt->as.branch.otherwise) {
        text_line(t, "} else {");
        t->indent++;
        text_stmts(t, stmt->as.branch.otherwise, team);
        t->indent--;
    }
    text_line(t, "}");
}

static void one_stmt(Text *t, const KStmt *stmt, Team team) {
    switch (stmt->kind) {
    case KS_LET:
        let(t, &stmt->as.let);
        break;
    case KS_SET:
        set(t, &stmt->as.set);
        break;
    case KS_FOR:
        for_stmt(t, stmt, team);
        break;
    case KS_IF:
        if_stmt(t, stmt, team);
        break;
    case KS_STORE:
        store(t, stmt);
        break;
    case KS_LOCAL_STORE:
        local_store(t, stmt);
        break;
    case KS_CONTRACT:
        text_contract(t, stmt, team);
        break;
    case KS_FAULT:
        fault(t, stmt);
        break;
    }
}

void text_stmts(Text *t, const KStmt *stmt, Team team) {
    const KStmt *list = stmt;
    bool in_one = false;
    for (; stmt; stmt = stmt->next) {
        const StmtInfo *info = team_info(t, stmt);
        if (info->is_elided) {
            continue;
        }
        bool one = team != TEAM_THREAD && is_for_one(t, stmt);
        if (in_one && (!one || info->barrier)) {
            close_brace(t);
            in_one = false;
        }
        t->at = team_number(t, stmt);
        declare_inside(t, stmt, list);
        if (info->barrier && team != TEAM_THREAD) {
            text_barrier(t, team);
        }
        if (one && !in_one) {
            text_line(t, "if (%s == 0) {", team == TEAM_BLOCK ? "thread" : "lane");
            t->uses_lane = t->uses_lane || team == TEAM_WARP;
            t->indent++;
            in_one = true;
        }
        one_stmt(t, stmt, team);
    }
    if (in_one) {
        close_brace(t);
    }
}
