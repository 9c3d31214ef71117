/* Contractions that cuBLASLt can do: the rule is ir/matmul.h's; here it meets a fusion. */
#include "codegen/schedule/library.h"
#include "ir/matmul.h"

/* The fusion's operand that is the body's argument; -1: the value is made in the body. */
static int32_t argument_number(const Op *fusion, const Value *v) {
    return !v->op && v->block == fusion->blocks[0] ? v->index : -1;
}

static const Op *contraction_in(const Op *fusion) {
    BLOCK_EACH_OP (fusion->blocks[0], op) {
        if (op->code == OP_contract) {
            return op;
        }
    }
    return NULL;
}

static void sizes_set(Context *context, const Matmul *matmul, LibraryCall *out) {
    static const MatmulOperand order[4] = {MATMUL_A, MATMUL_B, MATMUL_C, MATMUL_D};
    const Size *const extents[4] = {matmul->m, matmul->n, matmul->k, matmul->batch};
    for (int i = 0; i < 4; i++) {
        out->sizes[out->n_sizes++] = extents[i];
    }
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 3; j++) {
            const Size *stride = matmul->strides[order[i]][j];
            out->sizes[out->n_sizes++] = stride ? stride : size_const(context, 0);
        }
    }
}

bool library_matmul(Context *context, Arena *arena, const Machine *machine, const Op *fusion,
                    LibraryCall *out, const char **why) {
    (void)arena;
    const Op *contract = contraction_in(fusion);
    if (strcmp(fusion_form(fusion), "contract") != 0 || !contract) {
        return false;
    }
    const Op *yield = block_yield(fusion->blocks[0]);
    if (!matmul_is_large(context, contract, &machine->matmul_worth)) {
        *why = "it is small";
        return false;
    }
    if (yield->n_operands != 1) {
        *why = "it gives several results";
        return false;
    }
    Matmul matmul;
    if (!matmul_match(context, yield->operands[0], contract, &matmul, why)) {
        return false;
    }
    static const PlanLibraryOperand places[MATMUL_N_OPERANDS] = {[MATMUL_A] = PLAN_OPERAND_A,
                                                                 [MATMUL_B] = PLAN_OPERAND_B,
                                                                 [MATMUL_C] = PLAN_OPERAND_C,
                                                                 [MATMUL_BIAS] = PLAN_OPERAND_BIAS,
                                                                 [MATMUL_D] = PLAN_OPERAND_D};
    for (int i = 0; i < MATMUL_N_OPERANDS; i++) {
        const Value *v = matmul.operand[i];
        PlanLibraryOperand place = places[i];
        out->operand[place] = !v ? -1 : i == MATMUL_D ? 0 : argument_number(fusion, v);
        out->dtype[place] = v ? v->type.dtype : matmul.operand[MATMUL_D]->type.dtype;
        if (v && out->operand[place] < 0) {
            *why = "an operand is computed in the same kernel";
            return false;
        }
    }
    DType a = matmul.operand[MATMUL_A]->type.dtype;
    bool tf32 = a == DT_F32 && strcmp(op_precision(matmul.contract), "tf32") == 0;
    out->kind = PLAN_LIBRARY_MATMUL;
    out->compute = a == DT_F64 ? PLAN_COMPUTE_F64 : tf32 ? PLAN_COMPUTE_TF32 : PLAN_COMPUTE_F32;
    out->epilogue = matmul.act == MATMUL_RELU        ? PLAN_EPILOGUE_RELU
                    : matmul.act == MATMUL_GELU_TANH ? PLAN_EPILOGUE_GELU_TANH
                                                     : PLAN_EPILOGUE_NONE;
    sizes_set(context, &matmul, out);
    return true;
}
