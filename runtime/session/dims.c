/* The dims of a run: bound ones, what the inputs' shapes say, defaults. */
#include "runtime/session/session.h"

dlc_status session_dims(dlc_session *session, EntryState *entry, bool defaults, int64_t *dims) {
    const PlanFile *file = session->file;
    memcpy(dims, session->orders.dims, (size_t)file->n_dims * sizeof(*dims));
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        const Input *input = &entry->inputs[i];
        if (arg->role != PLAN_ARG_INPUT || !input->is_set) {
            continue;
        }
        dlc_status status = session_input_bind(session, arg, input->dims, dims);
        if (status != DLC_OK) {
            return status;
        }
    }
    for (int32_t d = 0; d < file->n_dims; d++) {
        if (session->dim_is_shared[d] && dims[d] >= 0 && session->orders.dims[d] < 0) {
            dlc_status status = session_bind_number(session, d, dims[d]);
            if (status != DLC_OK) {
                return status;
            }
        }
    }
    if (defaults) {
        dims_default(file, dims);
    }
    return DLC_OK;
}

dlc_status session_bind_inputs(dlc_session *session) {
    int64_t dims[PLAN_MAX_DIMS];
    dlc_status status = DLC_OK;
    for (int64_t i = 0; status == DLC_OK && i < session->tables->n_entries; i++) {
        status = session_dims(session, &session->ranks->entries[i], false, dims);
    }
    return status;
}

dlc_status session_dims_complete(dlc_session *session, const EntryState *entry, int64_t *dims) {
    const PlanFile *file = session->file;
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        for (int32_t a = 0; a < arg->type.rank; a++) {
            PlanType whole = plan_whole(arg->type, &arg->part);
            PlanProgram program = file->sizes[whole.first_size + a];
            for (int32_t k = 0; k < program.count; k++) {
                const ProgramInstr *instr = &file->programs[program.first + k];
                bool is_free =
                    instr->code == PROGRAM_VAR && file->dims[instr->immediate].source == DIM_FREE;
                if (is_free && dims[instr->immediate] < 0) {
                    return context_fail(session->context, DLC_ERROR_MISMATCH,
                                        "dim %s is not bound: no input or weight says it",
                                        plan_text(file, file->dims[instr->immediate].name));
                }
            }
        }
    }
    dims_default(file, dims); /* the others do not matter to this entry */
    return DLC_OK;
}
