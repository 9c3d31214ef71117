/* See explain.h. */
#include "driver/explain.h"

#include "codegen/schedule/library.h"

typedef struct Explain {
    Context *context;
    Arena *arena;
    const Machine *machine;
    Str *out;
} Explain;

static void explain_library(Explain *e, const Op *fusion, int depth) {
    LibraryCall call;
    const char *why = NULL;
    if (library_find(e->context, e->arena, e->machine, fusion, &call, &why)) {
        static const char *const epilogues[PLAN_N_EPILOGUES] = {"", ", relu", ", gelu_tanh"};
        str_addf(e->out, "%*s    a library may do it%s%s%s\n", 2 * depth, "",
                 call.operand[PLAN_OPERAND_C] >= 0 ? ", with an addend" : "",
                 call.operand[PLAN_OPERAND_BIAS] >= 0 ? ", with a bias" : "",
                 epilogues[call.epilogue]);
    } else if (why) {
        str_addf(e->out, "%*s    no library: %s\n", 2 * depth, "", why);
    }
}

static void explain_block(Explain *e, const Block *block, int depth) {
    BLOCK_EACH_OP (block, op) {
        str_addf(e->out, "%*s", 2 * depth, "");
        if (op->code != OP_fusion) {
            str_addf(e->out, "  %s\n", op_info(op->code)->name);
            for (int32_t b = 0; b < op->n_blocks; b++) {
                explain_block(e, op->blocks[b], depth + 1);
            }
            continue;
        }
        str_addf(e->out, "  %s:", fusion_form(op));
        BLOCK_EACH_OP (op->blocks[0], inner) {
            if (inner->code != OP_yield) {
                str_addf(e->out, " %s", op_info(inner->code)->name);
            }
        }
        str_addf(e->out, "  # %s\n", op->label ? op->label : "");
        explain_library(e, op, depth);
    }
}

void explain_fusions(Context *context, Arena *arena, const Machine *machine, const Module *module,
                     Str *out) {
    Explain explain = {context, arena, machine, out};
    for (const Func *func = module->first; func; func = func->next) {
        str_addf(out, "%s\n", func->name);
        explain_block(&explain, func->body, 0);
    }
}
