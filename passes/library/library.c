/* The calls of vendors' libraries that may stand for fusions: matched here, once, and written on
 * the fusion; the kernels are made whatever it says. */
#include "passes/library/library.h"

#include "passes/library/convolution.h"
#include "passes/library/matmul.h"
#include "passes/pass.h"

static bool is_product(const Op *op) {
    return op->code == OP_contract || convolution_is(op);
}

bool library_wants(Context *context, const Machine *machine, const Op *op) {
    if (!machine->has_libraries || !is_product(op)) {
        return false;
    }
    return op->code == OP_contract ? matmul_is_large(context, op, &machine->matmul_worth)
                                   : convolution_is_large(op, &machine->convolution_worth);
}

bool library_match(Context *context, const Value *result, const Op *product, LibraryMatch *out,
                   const char **why) {
    return product->code == OP_contract ? matmul_match(context, result, product, out, why)
                                        : convolution_match(context, result, product, out, why);
}

/* The product that the fusion is made for; NULL: it is of another form. */
static const Op *product_of(const Op *fusion) {
    bool is_contract = strcmp(fusion_form(fusion), "contract") == 0;
    bool is_conv = strcmp(fusion_form(fusion), "conv") == 0;
    BLOCK_EACH_OP (fusion->blocks[0], op) {
        if (is_contract ? op->code == OP_contract : is_conv && convolution_is(op)) {
            return op;
        }
    }
    return NULL;
}

/* The fusion's operand that is the body's argument; -1: the value is made in the body. */
static int64_t operand_number(const Op *fusion, const Value *v) {
    return !v->op && v->block == fusion->blocks[0] ? v->index : -1;
}

static bool call_of(const PassContext *pass, const Op *fusion, const Op *product,
                    LibraryMatch *match, LibraryCall *out, const char **why) {
    const Op *yield = block_yield(fusion->blocks[0]);
    *why = "it is small";
    if (!library_wants(pass->context, pass->machine, product)) {
        return false;
    }
    *why = "it gives several results";
    if (yield->n_operands != 1 ||
        !library_match(pass->context, yield->operands[0], product, match, why)) {
        return false;
    }
    *out = (LibraryCall){.kind = match->kind,
                         .compute = match->compute,
                         .epilogue = match->epilogue,
                         .sizes = {match->n_sizes, match->sizes}};
    *why = "an operand is computed in the same kernel";
    for (int i = 0; i < LIBRARY_N_OPERANDS; i++) {
        const Value *v = match->operand[i];
        out->operands[i] = v ? operand_number(fusion, v) : -1;
        if (v && out->operands[i] < 0) {
            return false;
        }
    }
    return true;
}

/* Whether the fusion says something of libraries, or did. */
static bool match_fusion(const PassContext *pass, Op *fusion) {
    const Op *product = pass->machine->has_libraries ? product_of(fusion) : NULL;
    bool is_told = product || *fusion_library(fusion) || *fusion_no_library(fusion);
    LibraryMatch match; /* the call's sizes lie in it */
    LibraryCall call;
    const char *why;
    if (!product) {
        library_call_clear(fusion);
    } else if (call_of(pass, fusion, product, &match, &call, &why)) {
        library_call_set(fusion, &call);
    } else {
        library_call_refuse(fusion, context_intern(pass->context, why));
    }
    return is_told;
}

static bool match_block(const PassContext *pass, Block *block) {
    bool is_told = false;
    BLOCK_EACH_OP (block, op) {
        for (int32_t i = 0; i < op->n_blocks && op->code != OP_fusion; i++) {
            is_told |= match_block(pass, op->blocks[i]);
        }
        is_told |= op->code == OP_fusion && match_fusion(pass, op);
    }
    return is_told;
}

/* Whether a call is worth it is asked at the nominal values that tiles are chosen at. */
bool pass_library(PassContext *pass, Func *func) {
    const int64_t *stated = module_imply_nominals(func->module, pass->scratch);
    bool is_told = match_block(pass, func->body);
    module_restore_nominals(func->module, stated);
    return is_told;
}
