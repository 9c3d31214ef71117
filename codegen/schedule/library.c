/* Library calls in the schedule: which launches of a fusion a call stands for, and where its
 * operands lie among theirs. */
#include "codegen/schedule/library.h"
#include "codegen/schedule/state.h"

static LibraryRecogniser *const recognisers[] = {library_matmul, library_conv};

bool library_find(Context *context, Arena *arena, const Machine *machine, const Op *fusion,
                  LibraryCall *out, const char **why) {
    *why = NULL;
    for (size_t i = 0; machine->has_libraries && i < sizeof(recognisers) / sizeof(*recognisers);
         i++) {
        *out = (LibraryCall){.operand = {-1, -1, -1, -1, -1}};
        if (recognisers[i](context, arena, machine, fusion, out, why)) {
            return true;
        }
        if (*why) {
            return false;
        }
    }
    return false;
}

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
    const char *why;
    if (n == 0 || !library_find(s->context, s->arena, s->machine, fusion, &call, &why)) {
        return;
    }
    PlanLibrary record = {.kind = (int32_t)call.kind,
                          .compute = (int32_t)call.compute,
                          .epilogue = (int32_t)call.epilogue,
                          .more = n - 1,
                          .n_sizes = call.n_sizes};
    for (int32_t o = 0; o < PLAN_N_OPERANDS; o++) {
        record.dtypes[o] = (int32_t)call.dtype[o];
        record.refs[o] = -1;
        if (call.operand[o] >= 0) {
            BindKind kind = o == PLAN_OPERAND_D ? BIND_RESULT : BIND_OPERAND;
            record.refs[o] = ref_place(lowered, launched, n, kind, call.operand[o]);
            if (record.refs[o] < 0) {
                return; /* no kernel reads it: it cannot matter to the result */
            }
        }
    }
    record.first_size = plan_writer_sizes(s->writer, call.sizes, call.n_sizes);
    int64_t first = command_number(s) - n;
    if (n > 1) {
        memories_hold(s, fusion, results, first);
    }
    s->tables->commands.items[s->first_command + first].library =
        (int32_t)s->tables->libraries.count;
    VEC_PUSH(s->arena, &s->tables->libraries, record);
}
