/* One kernel as CUDA C text: signature, places of locals, the loop over tiles, and the plan's steps
 * in order (state.h). */
#include "codegen/cuda/text/text.h"
#include "codegen/cuda/text/state.h"
#include <stdlib.h>

static bool is_common(const Kernel *kernel, int32_t buffer) {
    return kernel->group == 0 || kernel->common >> buffer & 1;
}

static void buffer_type(Text *t, int32_t buffer) {
    const KBuffer *b = &t->kernel->buffers[buffer];
    str_addf(t->out, "%s%s *", b->is_written ? "" : "const ", text_memory_type(b->dtype));
}

/* Words that the table of a group has for each member, beside the number of its first tile. */
static int32_t member_words(const Kernel *kernel) {
    int32_t words = kernel->n_sizes;
    for (int32_t i = 0; i < kernel->n_buffers; i++) {
        words += !is_common(kernel, i);
    }
    return words;
}

static void signature(Text *t, const char *name) {
    const Kernel *kernel = t->kernel;
    str_addf(t->out, "/* %s */\n", kernel->name ? kernel->name : name);
    /* Two blocks a processor: told nothing, ptxas spills a few bytes to fit three or more. */
    str_addf(t->out, "extern \"C\" __global__ __launch_bounds__(%d, 2) void %s(long long tiles",
             t->threads, name);
    if (kernel->group > 0) {
        str_addf(t->out, ", long long members, const __grid_constant__ DlcGroup<%d> group",
                 kernel->group * (1 + member_words(kernel)));
    }
    for (int32_t i = 0; i < kernel->n_buffers; i++) {
        if (is_common(kernel, i)) {
            str_add(t->out, ", ");
            buffer_type(t, i);
            str_addf(t->out, "b%d", i);
        }
    }
    for (int32_t i = 0; kernel->group == 0 && i < kernel->n_sizes; i++) {
        str_addf(t->out, ", long long s%d", i);
    }
    str_add(t->out, t->has_faults ? ", DlcFault *fault" : "");
    str_add(t->out, t->scratch_bytes > 0 ? ", unsigned char *scratch" : "");
    str_add(t->out, ") {\n");
}

static void declare_place(Text *t, const KLocal *local, Team team) {
    const LocalPlace *place = &t->locals[local->id].by_team[team];
    const char *type = text_memory_type(local->dtype);
    const char *own = team == TEAM_WARP ? "_warp" : team == TEAM_THREAD ? "_thread" : "";
    if (place->placement == PLACE_NONE) {
        return;
    }
    text_begin(t);
    if (place->placement == PLACE_REGISTERS) {
        str_addf(t->out, "%s ", type);
        text_local_name(t, local);
        str_addf(t->out, "%s[%lld];\n", own, (long long)local->count);
        return;
    }
    str_addf(t->out, "%s *const ", type);
    text_local_name(t, local);
    str_add(t->out, t->locals[local->id].stages > 1 ? "_stages" : "");
    bool is_shared = place->placement == PLACE_SHARED;
    str_addf(t->out, "%s = (%s *)(%s", own, type, is_shared ? "dlc_shared()" : "scratch");
    if (!is_shared) {
        str_addf(t->out, " + dlc_block() * %lldll", (long long)t->scratch_bytes);
    }
    str_addf(t->out, " + %lld)", (long long)place->offset);
    if (team == TEAM_WARP) {
        str_addf(t->out, " + warp * %lld", (long long)local->count);
    } else if (team == TEAM_THREAD) {
        str_add(t->out, " + thread");
    }
    str_addf(t->out, "; /* %lld */\n", (long long)local->count);
}

static void frame(Text *t) {
    text_line(t, "const int thread = dlc_thread();");
    if (t->uses_warp) {
        text_line(t, "const int warp = thread / %d;", WARP_LANES);
    }
    if (t->uses_lane) {
        text_line(t, "const int lane = thread %% %d;", WARP_LANES);
    }
    if (t->n_slots > 0) {
        text_line(t, "unsigned char *const slots = dlc_shared();");
    }
    for (int32_t i = 0; i < t->kernel->n_locals; i++) {
        for (int team = 0; team < 3; team++) {
            declare_place(t, t->kernel->locals[i], (Team)team);
        }
    }
    str_add(t->out, str_text(&t->conditions));
}

/* Tile number t of the grid is ((g0 * n1) + g1) * n2 + g2 …. */
static const KStmt *grid_indices(Text *t) {
    const KStmt *levels[TYPE_MAX_RANK + 1];
    int32_t n = 0;
    const KStmt *stmt = t->kernel->body;
    while (stmt && kernel_is_loop(stmt, KL_GRID) && n <= TYPE_MAX_RANK) {
        levels[n++] = stmt;
        stmt = stmt->as.loop.body;
    }
    for (int32_t i = n - 1; i >= 0; i--) {
        const KVar *var = levels[i]->as.loop.var;
        int64_t high = text_high(t, levels[i]->as.loop.end);
        t->natural[var->id] = true;
        t->high[var->id] = high == INT64_MAX ? high : high - 1;
        const char *rest = i == n - 1 ? "tile" : "rest";
        text_begin(t);
        str_add(t->out, "const long long ");
        text_var(t, var);
        if (i == 0) {
            str_addf(t->out, " = %s%s;\n", rest, i == n - 1 ? "" : "_1");
            break;
        }
        str_addf(t->out, " = dlc_index_mod(%s", rest);
        str_addf(t->out, i == n - 1 ? ", " : "_%d, ", i + 1);
        text_expr(t, levels[i]->as.loop.end);
        str_add(t->out, ");\n");
        text_begin(t);
        str_addf(t->out, "const long long rest_%d = dlc_index_div(%s", i, rest);
        str_addf(t->out, i == n - 1 ? ", " : "_%d, ", i + 1);
        text_expr(t, levels[i]->as.loop.end);
        str_add(t->out, ");\n");
    }
    return stmt;
}

/* A group's tiles are numbered through: the member that this one is of, its own number in it, and
 * what the member has for buffers and sizes. */
static void member(Text *t) {
    const Kernel *kernel = t->kernel;
    int32_t words = member_words(kernel), at = 0;
    text_line(t, "const int member = dlc_group_find(group.words, members, any);");
    text_line(t, "const long long tile = any - group.words[member];");
    if (words > 0) {
        text_line(t, "const int own = %d + member * %d;", kernel->group, words);
    }
    for (int32_t i = 0; i < kernel->n_buffers; i++) {
        if (!is_common(kernel, i)) {
            text_begin(t);
            buffer_type(t, i);
            str_addf(t->out, "const b%d = (", i);
            buffer_type(t, i);
            str_addf(t->out, ")group.words[own + %d];\n", at++);
        }
    }
    for (int32_t i = 0; i < kernel->n_sizes; i++) {
        text_line(t, "const long long s%d = group.words[own + %d];", i, at++);
    }
}

static void body(Text *t) {
    Str *out = t->out, inner;
    str_init(&inner, out->allocator);
    t->out = &inner;
    t->indent = 1;
    const char *tile = t->kernel->group > 0 ? "any" : "tile";
    text_line(t, "for (long long %s = dlc_block(); %s < tiles; %s += dlc_blocks()) {", tile, tile,
              tile);
    t->indent++;
    if (t->kernel->group > 0) {
        member(t);
    }
    text_stmts(t, grid_indices(t), TEAM_BLOCK);
    t->indent--;
    text_line(t, "}");
    t->indent = 0;
    text_line(t, "}");
    t->out = out;
    t->indent = 1;
    frame(t); /* after the body, which knows what it uses */
    str_add(out, str_text(&inner));
    t->failed = t->failed || inner.failed;
    str_finish(&inner);
}

static bool text_open(Text *t) {
    const Kernel *kernel = t->kernel;
    size_t n = (size_t)kernel->n_vars + 1;
    t->var_list = calloc(n, sizeof(*t->var_list));
    t->declared = calloc(n, sizeof(bool));
    t->natural = calloc(n, sizeof(bool));
    t->tainted = calloc(n, sizeof(bool));
    t->is_fixed = calloc(n, sizeof(bool));
    t->alias = calloc(n, sizeof(*t->alias));
    t->let_stmt = calloc(n, sizeof(int32_t));
    t->high = calloc(n, sizeof(int64_t));
    for (size_t i = 0; t->high && i < n; i++) {
        t->high[i] = INT64_MAX;
    }
    t->locals = calloc((size_t)kernel->n_locals + 1, sizeof(LocalInfo));
    return t->var_list && t->declared && t->natural && t->tainted && t->is_fixed && t->alias &&
           t->let_stmt && t->high && t->locals;
}

static void text_close(Text *t) {
    free(t->var_list);
    free(t->declared);
    free(t->natural);
    free(t->tainted);
    free(t->is_fixed);
    free(t->alias);
    free(t->let_stmt);
    free(t->high);
    free(t->locals);
    free(t->accesses);
    free(t->stmts);
    free(t->by_stmt);
}

void cuda_text_kernel(const Machine *machine, const Kernel *kernel, const char *name, Str *out,
                      CudaTextInfo *info) {
    Text t = {.machine = machine, .kernel = kernel, .out = out};
    str_init(&t.conditions, out->allocator);
    t.threads = machine->threads >= WARP_LANES ? machine->threads : 8 * WARP_LANES;
    t.warps = t.threads / WARP_LANES;
    bool fine = text_open(&t) && team_plan(&t) && team_place_locals(&t) && team_place_barriers(&t);
    if (fine) {
        signature(&t, name);
        body(&t);
        fine = !t.failed && !t.conditions.failed;
    }
    *info = (CudaTextInfo){.threads = t.threads,
                           .shared_bytes = (int32_t)t.shared_bytes,
                           .scratch_bytes = t.scratch_bytes,
                           .has_faults = t.has_faults};
    out->failed = out->failed || !fine;
    str_finish(&t.conditions);
    text_close(&t);
}
