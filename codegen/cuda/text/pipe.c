/* Panels filled ahead of their use. A serial loop of the block that fills two panels and multiplies
 * them, its sums in registers, keeps several copies (stages) of the panels: while one is
 * multiplied, those of the next steps are on their way from global memory, and one barrier a step
 * is enough. Where the sums begin from zeros that were just written, those are never stored, and
 * the tile that takes the sums after the loop lies where the panels lay. */
#include "codegen/cuda/text/state.h"
#include <stdio.h>

/* -- text */
static void close_brace(Text *t) {
    t->indent--;
    text_line(t, "}");
}

static void open_stage(Text *t, const KStmt *contract, const char *number) {
    const KLocal *panels[2] = {contract->as.contract.a_local, contract->as.contract.b_local};
    for (int i = 0; i < 2; i++) {
        const LocalInfo *info = &t->locals[panels[i]->id];
        text_begin(t);
        str_addf(t->out, "%s *const ", text_memory_type(panels[i]->dtype));
        text_local_name(t, panels[i]);
        str_add(t->out, " = ");
        text_local_name(t, panels[i]);
        str_addf(t->out, "_stages + (%s) %% %d * %lld;\n", number, info->stages,
                 (long long)panels[i]->count);
    }
}

static void write_fills(Text *t, const KStmt *loop, const char *steps) {
    const KStmt *contract = team_info(t, loop)->held;
    text_line(t, "if (ahead < %s) {", steps);
    t->indent++;
    text_begin(t);
    str_add(t->out, "const long long ");
    text_var(t, loop->as.loop.var);
    str_add(t->out, " = ");
    if (!expr_is_zero(loop->as.loop.begin)) {
        text_bound(t, "begin", loop->as.loop.var, loop->as.loop.begin);
        str_add(t->out, " + ");
    }
    str_add(t->out, "ahead;\n");
    open_stage(t, contract, "ahead");
    text_stmts(t, loop->as.loop.body, TEAM_BLOCK);
    close_brace(t);
    text_line(t, "dlc_copy_commit();");
}

void pipe_loop(Text *t, const KStmt *loop) {
    const KStmt *contract = team_info(t, loop)->held;
    int32_t ahead = t->locals[contract->as.contract.a_local->id].stages - 1,
            id = loop->as.loop.var->id;
    bool overlaid = t->locals[contract->as.contract.a_local->id].overlaid != NULL;
    char steps[32], behind[32];
    snprintf(steps, sizeof(steps), "steps_%d", id);
    snprintf(behind, sizeof(behind), "ahead - %d", ahead);
    text_contract_open(t, contract);
    text_loop_bounds(t, loop);
    text_begin(t);
    str_addf(t->out, "const int %s = (int)(", steps);
    text_bound(t, "end", loop->as.loop.var, loop->as.loop.end);
    if (!expr_is_zero(loop->as.loop.begin)) {
        str_add(t->out, " - ");
        text_bound(t, "begin", loop->as.loop.var, loop->as.loop.begin);
    }
    str_add(t->out, ");\n");
    text_line(t, "for (int ahead = 0; ahead < %s + %d; ahead++) {", steps, ahead);
    t->indent++;
    text_line(t, "if (ahead >= %d) {", ahead);
    t->indent++;
    text_line(t, "dlc_copy_wait_%d();", ahead - 1);
    text_line(t, "dlc_sync();");
    close_brace(t);
    write_fills(t, loop, steps);
    text_line(t, "if (ahead >= %d) {", ahead);
    t->indent++;
    open_stage(t, contract, behind);
    t->at = team_number(t, contract);
    text_contract(t, contract, TEAM_BLOCK);
    close_brace(t);
    close_brace(t);
    if (overlaid) {
        text_line(t, "dlc_sync();");
    }
    text_contract_close(t, contract);
}
