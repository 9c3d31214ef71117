/* Walks a schedule. Nothing is allocated and no size computed here but addresses that depend on
 * loop indices; the only parallelism is inside a launch. */
#include "runtime/session.h"
#include "runtime/tensor.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* The loop being run, by depth. */
typedef struct RunLoop {
    int32_t start;
    int64_t done, count; /* count -1: while */
} RunLoop;

typedef struct Walk {
    dlc_session *session;
    const Layout *layout;
    const PlanCommand *commands;
    int32_t n_commands;
    RunLoop loops[PLAN_MAX_LOOP_DEPTH];
    int32_t depth;
} Walk;

static int poison_byte(const dlc_session *session) {
    return session->poison == 1 ? 0xff : 0x41;
}

static void poison_fill(Walk *walk, int32_t buffer) {
    const dlc_session *session = walk->session;
    session->device->fill(session->bases[buffer], poison_byte(session),
                          (size_t)walk->layout->buffer_bytes[buffer]);
}

static void poison_births(Walk *walk, int32_t at) {
    const PlanEntry *entry = walk->layout->entry;
    const PlanBuffer *buffers = walk->layout->tables->buffers + entry->first_buffer;
    for (int32_t i = 0; i < entry->n_buffers; i++) {
        if (buffers[i].kind == PLAN_BUFFER_ARENA && buffers[i].birth == at) {
            poison_fill(walk, i);
        }
    }
}

static void poison_deaths(Walk *walk, int32_t at) {
    const PlanEntry *entry = walk->layout->entry;
    const PlanBuffer *buffers = walk->layout->tables->buffers + entry->first_buffer;
    for (int32_t i = 0; i < entry->n_buffers; i++) {
        if (buffers[i].kind == PLAN_BUFFER_ARENA && buffers[i].death == at) {
            poison_fill(walk, i);
        }
    }
}

static void bases_set(dlc_session *session, const EntryState *entry) {
    const Layout *layout = entry->layout;
    const PlanEntry *record = entry->record;
    const PlanBuffer *buffers = session->tables->buffers + record->first_buffer;
    for (int32_t i = 0; i < record->n_buffers; i++) {
        const PlanBuffer *buffer = &buffers[i];
        switch (buffer->kind) {
        case PLAN_BUFFER_ARENA:
            session->bases[i] = session->arena + layout->buffer_offset[i];
            break;
        case PLAN_BUFFER_CONSTANT:
            session->bases[i] = (uint8_t *)(uintptr_t)session->file->constants + buffer->offset;
            break;
        default: {
            const PlanArg *arg = &session->tables->args[record->first_arg + buffer->index];
            if (arg->role == PLAN_ARG_INPUT) {
                session->bases[i] = entry->inputs[buffer->index].data;
            } else if (arg->role == PLAN_ARG_SCALAR) {
                session->bases[i] = (uint8_t *)&session->scalar_memory[8 * buffer->index];
            } else {
                session->bases[i] = session->variables[arg->variable].data;
            }
            break;
        }
        }
    }
}

static void scalars_write(dlc_session *session, const EntryState *entry) {
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        if (arg->role != PLAN_ARG_SCALAR) {
            continue;
        }
        const Scalar *scalar = session_scalar(session, plan_text(session->file, arg->name), false);
        double real = !scalar ? NAN : scalar->is_integer ? (double)scalar->integer : scalar->real;
        int64_t integer = !scalar              ? 0
                          : scalar->is_integer ? scalar->integer
                                               : (int64_t)scalar->real;
        void *to = &session->scalar_memory[8 * i];
        float single = (float)real;
        int32_t narrow = (int32_t)integer;
        switch (arg->type.dtype) {
        case PLAN_F64:
            memcpy(to, &real, sizeof(real));
            break;
        case PLAN_F32:
            memcpy(to, &single, sizeof(single));
            break;
        case PLAN_I32:
            memcpy(to, &narrow, sizeof(narrow));
            break;
        default:
            memcpy(to, &integer, sizeof(integer));
            break;
        }
    }
}

/* The address of ref `r` of command `i`; NULL when a loop-dependent offset leaves the buffer. */
static uint8_t *ref_address(Walk *walk, int32_t i, int32_t r, int64_t bytes) {
    const Layout *layout = walk->layout;
    const PlanRef *ref = &layout->tables->refs[walk->commands[i].first_ref + r];
    int32_t at = layout->first_ref[i] + r;
    int64_t offset = layout->ref_offset[at];
    if (layout->ref_moves[at]) {
        if (!plan_eval(layout->file, ref->offset, layout->vars, &offset) || offset < 0 ||
            offset > layout->buffer_bytes[ref->buffer] ||
            bytes > layout->buffer_bytes[ref->buffer] - offset) {
            return NULL;
        }
    }
    return walk->session->bases[ref->buffer] + offset;
}

static void fault_set(dlc_session *session, int32_t site, int64_t value, int64_t bound) {
    if (session->fault.site == 0) {
        session->fault = (KernelFault){site + 1, value, bound};
    }
}

static void replay_note(Walk *walk, int32_t i, double value) {
    int32_t *first = isnan(value) ? &walk->session->first_nan : &walk->session->first_inf;
    if (!isfinite(value) && *first < 0) {
        *first = i;
    }
}

/* Looks through the float results that launch `i` wrote. */
static void replay_check(Walk *walk, int32_t i) {
    const Layout *layout = walk->layout;
    const PlanCommand *command = &walk->commands[i];
    for (int32_t r = 0; r < command->n_refs; r++) {
        const PlanRef *ref = &layout->tables->refs[command->first_ref + r];
        int32_t dtype = ref->written - 1;
        int64_t bytes;
        if (dtype < 0 || dtype > PLAN_BF16 ||
            !plan_eval(layout->file, ref->bytes, layout->vars, &bytes)) {
            continue;
        }
        const uint8_t *at = ref_address(walk, i, r, bytes);
        int width = plan_dtype_bytes(dtype);
        for (int64_t e = 0; at && e < bytes / width; e++) {
            replay_note(walk, i, element_double(at + e * width, dtype));
        }
    }
}

static dlc_status launch_run(Walk *walk, int32_t i) {
    dlc_session *session = walk->session;
    const Layout *layout = walk->layout;
    const PlanCommand *command = &walk->commands[i];
    const PlanKernel *kernel = &layout->tables->kernels[command->kernel];
    for (int32_t r = 0; r < command->n_refs; r++) {
        session->launch_buffers[r] = ref_address(walk, i, r, 0);
        if (!session->launch_buffers[r]) {
            return DLC_ERROR_FORMAT;
        }
    }
    DeviceLaunch launch = {.entry = kernel->entry,
                           .buffers = session->launch_buffers,
                           .sizes = layout->sizes + layout->first_size[i],
                           .tiles = layout->extent[i],
                           .work = layout->work[i]};
    session->device->launch(session->module, &launch, &session->workers);
    for (int t = 0; kernel->has_faults && t < session->workers.threads; t++) {
        KernelFault *fault = &session->workers.faults[t];
        if (fault->site != 0 && session->fault.site == 0) {
            session->fault = *fault;
        }
        *fault = (KernelFault){0};
    }
    if (session->replaying) {
        replay_check(walk, i);
    }
    return DLC_OK;
}

static void show_run(Walk *walk, int32_t i, const uint8_t *data) {
    const PlanCommand *command = &walk->commands[i];
    const Layout *layout = walk->layout;
    dlc_context *context = walk->session->context;
    int64_t dims[PLAN_MAX_RANK], bytes;
    if (!context->log || walk->session->replaying ||
        !plan_shape(layout->file, command->type, layout->vars, dims, &bytes)) {
        return;
    }
    char shape[256], values[512] = "";
    shape_text(dims, command->type.rank, shape, sizeof(shape));
    int width = plan_dtype_bytes(command->type.dtype);
    int64_t n = bytes / width, shown = n < 8 ? n : 8;
    size_t at = 0;
    for (int64_t e = 0; e < shown && at < sizeof(values); e++) {
        int used = snprintf(values + at, sizeof(values) - at, "%s%g", e ? ", " : "",
                            element_double(data + e * width, command->type.dtype));
        at += used > 0 ? (size_t)used : 0;
    }
    context_log(context, DLC_LOG_SHOW, "%s: %s%s = %s%s", plan_text(layout->file, command->text),
                plan_dtype_name(command->type.dtype), shape, values, shown < n ? ", …" : "");
}

static void index_write(Walk *walk, int32_t start) {
    const PlanCommand *command = &walk->commands[start];
    RunLoop *loop = &walk->loops[command->depth];
    int64_t index =
        command->flags & PLAN_COMMAND_REVERSE ? loop->count - 1 - loop->done : loop->done;
    walk->layout->vars[walk->layout->file->n_dims + command->depth] = index;
    if (command->n_refs > 0) {
        int32_t narrow = (int32_t)index;
        uint8_t *to = ref_address(walk, start, 0, 4);
        if (to) {
            walk->session->device->copy(to, &narrow, sizeof(narrow));
        }
    }
}

/* Returns the next command. */
static int32_t loop_begin(Walk *walk, int32_t i) {
    const PlanCommand *command = &walk->commands[i];
    bool counted = !(command->flags & PLAN_COMMAND_WHILE);
    RunLoop *loop = &walk->loops[walk->depth];
    *loop = (RunLoop){.start = i, .count = counted ? walk->layout->extent[i] : -1};
    if (counted && loop->count == 0) {
        return command->match + 1;
    }
    walk->depth++;
    index_write(walk, i);
    return i + 1;
}

static int32_t loop_end(Walk *walk, int32_t i) {
    dlc_session *session = walk->session;
    const PlanCommand *command = &walk->commands[i];
    const PlanCommand *start = &walk->commands[command->match];
    RunLoop *loop = &walk->loops[walk->depth - 1];
    for (int32_t s = 0; s < command->n_swaps; s++) {
        const PlanSwap *swap = &walk->layout->tables->swaps[command->first_swap + s];
        uint8_t *keep = session->bases[swap->a];
        session->bases[swap->a] = session->bases[swap->b];
        session->bases[swap->b] = keep;
    }
    loop->done++;
    bool again = loop->count < 0 || loop->done < loop->count;
    if (loop->count < 0 && start->limit > 0 && loop->done > start->limit) {
        fault_set(session, start->site, loop->done, start->limit);
    }
    /* A fault may have broken the condition of a while. */
    again = again && session->fault.site == 0;
    if (again) {
        index_write(walk, command->match);
        return command->match + 1;
    }
    walk->depth--;
    return i + 1;
}

static dlc_status fault_report(dlc_session *session) {
    const KernelFault *fault = &session->fault;
    const PlanTables *tables = session->tables;
    if (fault->site < 1 || fault->site > tables->n_sites) {
        return context_fail(session->context, DLC_ERROR_FAULT,
                            "a check failed at an unknown place");
    }
    const PlanSite *site = &tables->sites[fault->site - 1];
    const char *place = plan_text(session->file, site->place);
    const char *text = plan_text(session->file, site->text);
    const char *colon = *place ? ": " : "";
    if (fault->bound == INT64_MIN) {
        return context_fail(session->context, DLC_ERROR_FAULT, "%s%s%s; nothing was stored", place,
                            colon, text);
    }
    return context_fail(session->context, DLC_ERROR_FAULT,
                        "%s%s%s: %" PRId64 " is not in 0..%" PRId64 "; nothing was stored", place,
                        colon, text, fault->value, fault->bound);
}

static bool read_bool(const uint8_t *at) {
    return at && *at != 0;
}

/* Runs command *i and moves *i on. */
static dlc_status command_run(Walk *walk, int32_t *i) {
    dlc_session *session = walk->session;
    const Layout *layout = walk->layout;
    const PlanCommand *command = &walk->commands[*i];
    int64_t extent = layout->extent[*i];
    uint8_t *a = NULL, *b = NULL;
    dlc_status status;
    switch (command->kind) {
    case PLAN_LAUNCH:
        status = launch_run(walk, *i);
        if (status != DLC_OK) {
            goto outside;
        }
        break;
    case PLAN_STORE:
        if (command->n_refs == 3 && !read_bool(ref_address(walk, *i, 2, 1))) {
            break;
        }
        /* fall through */
    case PLAN_COPY:
        a = ref_address(walk, *i, 0, extent);
        b = ref_address(walk, *i, 1, extent);
        if (!a || !b) {
            goto outside;
        }
        session->device->copy(a, b, (size_t)extent);
        break;
    case PLAN_FILL:
        a = ref_address(walk, *i, 0, extent);
        if (!a) {
            goto outside;
        }
        session->device->fill(a, 0, (size_t)extent);
        break;
    case PLAN_LOOP:
        *i = loop_begin(walk, *i);
        return DLC_OK;
    case PLAN_TEST:
        if (!read_bool(ref_address(walk, *i, 0, 1))) {
            walk->depth--;
            *i = command->match + 1;
            return DLC_OK;
        }
        break;
    case PLAN_LOOP_END:
        *i = loop_end(walk, *i);
        return DLC_OK;
    case PLAN_SHOW:
        a = ref_address(walk, *i, 0, extent);
        if (!a) {
            goto outside;
        }
        show_run(walk, *i, a);
        break;
    case PLAN_CHECK:
        if (!read_bool(ref_address(walk, *i, 0, 1))) {
            fault_set(session, command->site, 0, INT64_MIN);
        }
        break;
    case PLAN_BARRIER:
        if (session->fault.site != 0) {
            return fault_report(session);
        }
        break;
    default: /* size checks were done when the dims were bound */
        break;
    }
    ++*i;
    return DLC_OK;
outside:
    return context_fail(session->context, DLC_ERROR_FORMAT, "%s: a command leaves its buffer",
                        session->file->name);
}

static bool run_ok(const dlc_session *session, const EntryState *entry) {
    for (int32_t i = 0; i < entry->record->n_results; i++) {
        const PlanResult *result = &session->tables->results[entry->record->first_result + i];
        if (result->role == PLAN_RESULT_OK) {
            return read_bool(session_result(session, entry, i));
        }
    }
    return true;
}

dlc_status session_execute(dlc_session *session, EntryState *entry) {
    const Layout *layout = entry->layout;
    Walk walk = {.session = session,
                 .layout = layout,
                 .commands = session->tables->commands + entry->record->first_command,
                 .n_commands = entry->record->n_commands};
    session->last = NULL;
    session->fault = (KernelFault){0};
    scalars_write(session, entry);
    bases_set(session, entry);
    for (int32_t i = 0; i < walk.n_commands;) {
        int32_t now = i;
        if (session->poison && !(walk.commands[i].kind == PLAN_LOOP_END)) {
            poison_births(&walk, now);
        }
        dlc_status status = command_run(&walk, &i);
        if (status != DLC_OK) {
            return status;
        }
        if (session->poison) {
            /* What lives to a loop's end dies when the loop is left. */
            bool left_loop =
                walk.commands[now].kind == PLAN_LOOP || walk.commands[now].kind == PLAN_TEST;
            if (left_loop && i > now + 1) {
                poison_deaths(&walk, i - 1);
            } else if (walk.commands[now].kind != PLAN_LOOP_END || i == now + 1) {
                poison_deaths(&walk, now);
            }
        }
    }
    if (session->fault.site != 0) {
        return fault_report(session);
    }
    session->last = entry;
    session->last_ok = run_ok(session, entry);
    return DLC_OK;
}

static void command_describe(const dlc_session *session, const EntryState *entry, int32_t number,
                             const char *what, char *out, size_t n_out) {
    if (number < 0) {
        return;
    }
    const PlanCommand *command = &session->tables->commands[entry->record->first_command + number];
    const char *place = plan_text(session->file, command->place);
    const char *label = plan_text(session->file, command->text);
    size_t at = strlen(out);
    snprintf(out + at, n_out - at, "; the first %s comes from %s%s%s (%s)", what, place,
             *place && *label ? ", " : "", label,
             plan_text(session->file, session->tables->kernels[command->kernel].name));
}

void session_find_non_finite(dlc_session *session, EntryState *entry, char *out, size_t n_out) {
    session->replaying = true;
    session->first_nan = -1;
    session->first_inf = -1;
    dlc_status status = session_execute(session, entry);
    session->replaying = false;
    out[0] = '\0';
    if (status == DLC_OK) {
        command_describe(session, entry, session->first_nan, "nan", out, n_out);
        command_describe(session, entry, session->first_inf, "infinity", out, n_out);
    }
}

const uint8_t *session_result(const dlc_session *session, const EntryState *entry, int32_t i) {
    const PlanResult *result = &session->tables->results[entry->record->first_result + i];
    return session->bases[result->ref.buffer] + entry->layout->result_offset[i];
}

double session_loss(const dlc_session *session, const EntryState *entry) {
    double total = 0;
    bool any = false;
    for (int32_t i = 0; i < entry->record->n_results; i++) {
        const PlanResult *result = &session->tables->results[entry->record->first_result + i];
        if (result->role == PLAN_RESULT_LOSS) {
            total += element_double(session_result(session, entry, i), result->type.dtype);
            any = true;
        }
    }
    return any ? total : NAN;
}

double session_info(const dlc_session *session, const EntryState *entry, const char *name) {
    for (int32_t i = 0; i < entry->record->n_results; i++) {
        const PlanResult *result = &session->tables->results[entry->record->first_result + i];
        if (result->role == PLAN_RESULT_INFO &&
            strcmp(plan_text(session->file, result->name), name) == 0) {
            return element_double(session_result(session, entry, i), result->type.dtype);
        }
    }
    return NAN;
}
