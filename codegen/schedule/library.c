/* Library calls in the schedule: what the fusion says of one (passes/library/) becomes a
 * PlanLibrary, its operands places among the refs of the launches that it stands for. */
#include "codegen/schedule/state.h"
#include "ir/ops/library_call.h"

/* The numbers of ir/ops/library_call.h go into the plan as they are. */
#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs " mirrors " #ours)
SAME(LIBRARY_MATMUL, PLAN_LIBRARY_MATMUL);
SAME(LIBRARY_CONV, PLAN_LIBRARY_CONV);
SAME(LIBRARY_CONV_INPUT_GRAD, PLAN_LIBRARY_CONV_INPUT_GRAD);
SAME(LIBRARY_CONV_WEIGHT_GRAD, PLAN_LIBRARY_CONV_FILTER_GRAD);
SAME(LIBRARY_N_KINDS, PLAN_N_LIBRARY_KINDS);
SAME(LIBRARY_F32, PLAN_COMPUTE_F32);
SAME(LIBRARY_TF32, PLAN_COMPUTE_TF32);
SAME(LIBRARY_F64, PLAN_COMPUTE_F64);
SAME(LIBRARY_N_COMPUTES, PLAN_N_COMPUTES);
SAME(LIBRARY_PLAIN, PLAN_EPILOGUE_NONE);
SAME(LIBRARY_RELU, PLAN_EPILOGUE_RELU);
SAME(LIBRARY_GELU_TANH, PLAN_EPILOGUE_GELU_TANH);
SAME(LIBRARY_N_EPILOGUES, PLAN_N_EPILOGUES);
SAME(LIBRARY_A, PLAN_OPERAND_A);
SAME(LIBRARY_B, PLAN_OPERAND_B);
SAME(LIBRARY_C, PLAN_OPERAND_C);
SAME(LIBRARY_BIAS, PLAN_OPERAND_BIAS);
SAME(LIBRARY_N_OPERANDS, PLAN_OPERAND_D);
SAME(LIBRARY_MATMUL_SIZES, PLAN_MATMUL_SIZES);
SAME(LIBRARY_CONV_SIZES(2), PLAN_CONV_SIZES(2));
#undef SAME

/* The place of the fusion's operand, or result, among the refs of `n` launches; -1: none. */
static int32_t ref_place(const LoweredOp *lowered, const int32_t *launched, int32_t n,
                         BindKind kind, int32_t index) {
    int32_t at = 0;
    for (int32_t k = 0; k < n; k++) {
        const LoweredKernel *kernel = &lowered->kernels[launched[k]];
        for (int32_t b = 0; b < kernel->kernel->n_buffers; b++, at++) {
            if (kernel->binds[b].kind == kind && kernel->binds[b].index == index) {
                return at;
            }
        }
    }
    return -1;
}

/* Everything that the call touches lives from the first launch to the last: it may run in place of
 * any of them. */
static void memories_hold(Schedule *s, const Op *fusion, const Spot *results, int64_t first) {
    int64_t last = command_number(s) - 1;
    for (int32_t i = 0; i < fusion->n_operands + fusion->n_results; i++) {
        int32_t memory = i < fusion->n_operands
                             ? s->spots[s->roots[fusion->operands[i]->id]->id].memory
                             : results[i - fusion->n_operands].memory;
        Memory *m = &s->memories.items[memory];
        m->birth = m->birth > first || m->birth < 0 ? first : m->birth;
        m->death = m->death < last ? last : m->death;
    }
}

void schedule_library(Schedule *s, const Op *fusion, const LoweredOp *lowered, const Spot *results,
                      const int32_t *launched, int32_t n) {
    LibraryCall call;
    if (n == 0 || !library_call_of(fusion, &call)) {
        return;
    }
    PlanLibrary record = {.kind = (int32_t)call.kind,
                          .compute = (int32_t)call.compute,
                          .epilogue = (int32_t)call.epilogue,
                          .more = n - 1,
                          .n_sizes = call.sizes.count};
    DType stored = fusion->results[0]->type.dtype;
    for (int32_t o = 0; o < PLAN_N_OPERANDS; o++) {
        bool is_result = o == PLAN_OPERAND_D;
        int32_t number = is_result ? 0 : (int32_t)call.operands[o];
        bool is_absent = number < 0;
        record.dtypes[o] =
            (int32_t)(is_result || is_absent ? stored : fusion->operands[number]->type.dtype);
        record.refs[o] = is_absent ? -1
                                   : ref_place(lowered, launched, n,
                                               is_result ? BIND_RESULT : BIND_OPERAND, number);
        if (!is_absent && record.refs[o] < 0) {
            return; /* no kernel reads it: it cannot matter to the result */
        }
    }
    record.first_size = plan_writer_sizes(s->writer, call.sizes.at, call.sizes.count);
    int64_t first = command_number(s) - n;
    if (n > 1) {
        memories_hold(s, fusion, results, first);
    }
    s->tables->commands.items[s->first_command + first].library =
        (int32_t)s->tables->libraries.count;
    VEC_PUSH(s->arena, &s->tables->libraries, record);
}
