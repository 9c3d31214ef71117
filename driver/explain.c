/* See explain.h. */
#include "driver/explain.h"

#include "ir/ops/library_call.h"

static void explain_library(const Op *fusion, int depth, Str *out) {
    static const char *const epilogues[LIBRARY_N_EPILOGUES] = {"", ", relu", ", gelu_tanh"};
    LibraryCall call;
    if (library_call_of(fusion, &call)) {
        str_addf(out, "%*s    a library may do it%s%s%s\n", 2 * depth, "",
                 call.operands[LIBRARY_C] >= 0 ? ", with an addend" : "",
                 call.operands[LIBRARY_BIAS] >= 0 ? ", with a bias" : "", epilogues[call.epilogue]);
    } else if (*fusion_no_library(fusion)) {
        str_addf(out, "%*s    no library: %s\n", 2 * depth, "", fusion_no_library(fusion));
    }
}

static void explain_block(const Block *block, int depth, Str *out) {
    BLOCK_EACH_OP (block, op) {
        str_addf(out, "%*s", 2 * depth, "");
        if (op->code != OP_fusion) {
            str_addf(out, "  %s\n", op_info(op->code)->name);
            for (int32_t b = 0; b < op->n_blocks; b++) {
                explain_block(op->blocks[b], depth + 1, out);
            }
            continue;
        }
        str_addf(out, "  %s:", fusion_form(op));
        BLOCK_EACH_OP (op->blocks[0], inner) {
            if (inner->code != OP_yield) {
                str_addf(out, " %s", op_info(inner->code)->name);
            }
        }
        str_addf(out, "  # %s\n", op->label ? op->label : "");
        explain_library(op, depth, out);
    }
}

void explain_fusions(const Module *module, Str *out) {
    for (const Func *func = module->first; func; func = func->next) {
        str_addf(out, "%s\n", func->name);
        explain_block(func->body, 0, out);
    }
}
