/* Launches that a vendor's library may do instead: when the dims of a layout bind, the device is
 * asked for a way to do each; where it has none, the kernel runs, and the log says so once. */
#include "runtime/session/rank.h"

#include "ir/base/checked.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    REASONS = 16,
    REASON_BYTES = DEVICE_MESSAGE_BYTES,
    BASE_ALIGNMENT = 64,
    LIBRARIES = 4,
    LIBRARY_BYTES = 64
};

/* One command's call. */
typedef struct Call {
    DeviceCallPlan *plan;           /* NULL: the kernel does it */
    DeviceQueue *queue;             /* that it is for */
    int64_t bytes[PLAN_N_OPERANDS]; /* from an operand's first element to its last's end */
    int32_t alignment[PLAN_N_OPERANDS];
    bool covered; /* a call before stands for this launch too */
} Call;

struct Calls {
    Call *items; /* by command */
    int32_t n_items, n_prepared;
};

/* Why kernels do what a library might have done. */
typedef struct Reason {
    char text[REASON_BYTES];
    int32_t count, first;
} Reason;

typedef struct Prepare {
    Rank *rank;
    const Layout *layout;
    const PlanCommand *commands;
    Calls *calls;
    int32_t n_asked;
    Reason reasons[REASONS];
    int32_t n_reasons;
    struct {
        char name[LIBRARY_BYTES]; /* "cuBLASLt 13.0.2" */
        int32_t count;
    } libraries[LIBRARIES];
    int32_t n_libraries;
} Prepare;

static const char *const kind_names[PLAN_N_LIBRARY_KINDS] = {
    "matmul", "convolution", "convolution (input gradient)", "convolution (filter gradient)"};

/* -- How far operands reach -- */

/* Elements from the first to the last, plus 1, over `rank` axes; false: too many, or none. */
static bool span_add(int64_t *span, const int64_t *dims, const int64_t *strides, int32_t rank) {
    for (int32_t i = 0; i < rank; i++) {
        int64_t reach;
        if (dims[i] < 1 || strides[i] < 0 || !checked_mul(dims[i] - 1, strides[i], &reach) ||
            !checked_add(*span, reach, span)) {
            return false;
        }
    }
    return true;
}

static bool matmul_span(const int64_t *sizes, int32_t operand, int64_t *span) {
    int64_t m = sizes[0], n = sizes[1], k = sizes[2], batch = sizes[3];
    const int64_t dims[PLAN_N_OPERANDS][3] = {
        {m, k, batch}, {k, n, batch}, {m, n, batch}, {1, n, 1}, {m, n, batch}};
    static const int32_t first[PLAN_N_OPERANDS] = {4, 7, 10, -1, 13};
    static const int64_t dense[3] = {0, 1, 0};
    return span_add(span, dims[operand], first[operand] < 0 ? dense : sizes + first[operand], 3);
}

/* Which of x, w, y an operand is. */
static int conv_tensor(int32_t kind, int32_t operand) {
    static const int tensors[PLAN_N_LIBRARY_KINDS][PLAN_N_OPERANDS] = {
        [PLAN_LIBRARY_CONV] = {0, 1, 2, -1, 2},
        [PLAN_LIBRARY_CONV_INPUT_GRAD] = {2, 1, 0, -1, 0},
        [PLAN_LIBRARY_CONV_FILTER_GRAD] = {2, 0, 1, -1, 1}};
    return tensors[kind][operand];
}

static bool conv_span(int32_t kind, const int64_t *sizes, int32_t operand, int64_t *span) {
    int64_t rank = sizes[0];
    const int64_t *dims = sizes + 2 + 4 * rank, *strides = dims + 3 * (2 + rank);
    static const int64_t dense[1] = {1};
    if (operand == PLAN_OPERAND_BIAS) {
        const int64_t *result = dims + conv_tensor(kind, PLAN_OPERAND_D) * (2 + rank);
        return span_add(span, result + 1, dense, 1);
    }
    int64_t at = conv_tensor(kind, operand) * (2 + rank);
    return span_add(span, dims + at, strides + at, (int32_t)(2 + rank));
}

static bool operand_span(const PlanLibrary *library, const int64_t *sizes, int32_t operand,
                         int64_t *span) {
    *span = 1;
    if (library->kind == PLAN_LIBRARY_MATMUL) {
        return matmul_span(sizes, operand, span);
    }
    return sizes[0] >= 1 && sizes[0] <= 3 && library->n_sizes == PLAN_CONV_SIZES(sizes[0]) &&
           conv_span(library->kind, sizes, operand, span);
}

/* -- Alignment -- */

static int32_t power_of(int64_t offset, int32_t most) {
    int32_t power = most;
    while (power > 1 && offset % power != 0) {
        power /= 2;
    }
    return power;
}

/* Of the operand's address in any iteration: its offset is affine in the loop indices, so the first
 * two of each tell. */
static int32_t ref_alignment(const Layout *layout, const PlanRef *ref, int32_t at) {
    if (!layout->ref_moves[at]) {
        return power_of(layout->ref_offset[at], BASE_ALIGNMENT);
    }
    int64_t *loops = layout->vars + layout->file->n_dims;
    int64_t keep[PLAN_MAX_LOOP_DEPTH];
    memcpy(keep, loops, sizeof(keep));
    memset(loops, 0, sizeof(keep));
    int32_t alignment = 1;
    int64_t start, next;
    if (plan_eval(layout->file, ref->offset, layout->vars, &start)) {
        alignment = power_of(start, BASE_ALIGNMENT);
        for (int32_t d = 0; d < PLAN_MAX_LOOP_DEPTH; d++) {
            loops[d] = 1;
            alignment = plan_eval(layout->file, ref->offset, layout->vars, &next)
                            ? power_of(next - start, alignment)
                            : 1;
            loops[d] = 0;
        }
    }
    memcpy(loops, keep, sizeof(keep));
    return alignment;
}

/* -- Asking -- */

static void reason_note(Prepare *p, int32_t command, const char *text) {
    for (int32_t i = 0; i < p->n_reasons; i++) {
        if (strncmp(p->reasons[i].text, text, REASON_BYTES - 1) == 0) {
            p->reasons[i].count++;
            return;
        }
    }
    if (p->n_reasons < REASONS) {
        Reason *reason = &p->reasons[p->n_reasons++];
        snprintf(reason->text, sizeof(reason->text), "%s", text);
        reason->count = 1;
        reason->first = command;
    }
}

static dlc_status malformed(const Prepare *p) {
    return context_fail(p->rank->context, DLC_ERROR_FORMAT, "%s: a library call leaves its buffer",
                        p->rank->file->name);
}

/* Fills `device_call` and the command's reaches; *out_possible false: a size is zero or too large.
 */
static dlc_status call_bind(Prepare *p, int32_t i, const int64_t *sizes, DeviceCall *device_call,
                            bool *out_possible) {
    const Layout *layout = p->layout;
    const PlanCommand *command = &p->commands[i];
    const PlanLibrary *library = &layout->tables->libraries[command->library];
    Call *call = &p->calls->items[i];
    *device_call = (DeviceCall){.kind = library->kind,
                                .compute = library->compute,
                                .epilogue = library->epilogue,
                                .sizes = sizes,
                                .n_sizes = library->n_sizes,
                                .reproducible = true};
    *out_possible = true;
    for (int32_t o = 0; o < PLAN_N_OPERANDS; o++) {
        device_call->dtypes[o] = library->dtypes[o];
        device_call->present[o] = library->refs[o] >= 0;
        if (!device_call->present[o]) {
            continue;
        }
        int64_t span;
        if (!operand_span(library, sizes, o, &span) ||
            !checked_mul(span, plan_dtype_bytes(library->dtypes[o]), &call->bytes[o])) {
            *out_possible = false;
            return DLC_OK;
        }
        /* Refs of the launches that the call stands for follow one another. */
        int32_t at = layout->first_ref[i] + library->refs[o];
        const PlanRef *ref = &layout->tables->refs[command->first_ref + library->refs[o]];
        int64_t room = layout->buffer_bytes[ref->buffer];
        if (call->bytes[o] > room ||
            (!layout->ref_moves[at] && layout->ref_offset[at] > room - call->bytes[o])) {
            return malformed(p);
        }
        call->alignment[o] = ref_alignment(layout, ref, at);
        device_call->alignment[o] = call->alignment[o];
    }
    return DLC_OK;
}

/* Counts the library that does the call; what its description says behind a comma is of the call
 * alone. */
static void library_note(Prepare *p, const DeviceCallPlan *plan) {
    char name[LIBRARY_BYTES] = "";
    p->rank->ops->call_describe(p->rank->device, plan, name, sizeof(name));
    name[strcspn(name, ",")] = '\0';
    for (int32_t i = 0; i < p->n_libraries; i++) {
        if (strcmp(p->libraries[i].name, name) == 0) {
            p->libraries[i].count++;
            return;
        }
    }
    if (p->n_libraries < LIBRARIES) {
        memcpy(p->libraries[p->n_libraries].name, name, sizeof(name));
        p->libraries[p->n_libraries++].count = 1;
    }
}

static dlc_status call_prepare(Prepare *p, int32_t i) {
    Rank *rank = p->rank;
    const PlanLibrary *library = &p->layout->tables->libraries[p->commands[i].library];
    int64_t sizes[PLAN_CONV_SIZES(3)];
    for (int32_t s = 0; s < library->n_sizes; s++) {
        if (!plan_eval(p->layout->file, p->layout->file->sizes[library->first_size + s],
                       p->layout->vars, &sizes[s])) {
            return DLC_OK;
        }
    }
    DeviceCall device_call;
    bool possible;
    dlc_status status = call_bind(p, i, sizes, &device_call, &possible);
    if (status != DLC_OK || !possible) {
        return status;
    }
    p->n_asked++;
    Call *call = &p->calls->items[i];
    call->queue = rank->queues[p->commands[i].queue];
    status = rank->ops->call_prepare(call->queue, &device_call, &call->plan);
    if (status == DLC_ERROR_UNSUPPORTED) {
        call->plan = NULL;
        reason_note(p, i, rank->device->error);
        return DLC_OK;
    }
    if (status != DLC_OK) {
        call->plan = NULL;
        return rank_device_fail(rank, status);
    }
    p->calls->n_prepared++;
    library_note(p, call->plan);
    for (int32_t k = 1; k <= library->more; k++) {
        p->calls->items[i + k].covered = true;
    }
    return DLC_OK;
}

/* Says once in a session which library serves, and each reason why none does. */
static void calls_report(const Prepare *p) {
    Rank *rank = p->rank;
    const char *entry = plan_text(rank->file, p->layout->entry->name);
    if (p->calls->n_prepared > 0 && !rank->said_library) {
        rank->said_library = true;
        for (int32_t i = 0; i < p->n_libraries; i++) {
            context_log(rank->context, DLC_LOG_INFO, "%s: %d of %d calls by %s", entry,
                        p->libraries[i].count, p->n_asked, p->libraries[i].name);
        }
    }
    for (int32_t i = 0; i < p->n_reasons; i++) {
        const Reason *reason = &p->reasons[i];
        const PlanCommand *command = &p->commands[reason->first];
        int32_t kind = rank->tables->libraries[command->library].kind;
        uint64_t hash = hash_bytes(reason->text, strlen(reason->text), (uint64_t)kind + 1);
        bool said = false;
        for (int32_t k = 0; k < rank->n_said; k++) {
            said = said || rank->said[k] == hash;
        }
        if (said || rank->n_said == RANK_REASONS) {
            continue;
        }
        rank->said[rank->n_said++] = hash;
        const char *place = plan_text(rank->file, command->place);
        char others[32] = "";
        if (reason->count > 1) {
            snprintf(others, sizeof(others), " and %d others", reason->count - 1);
        }
        context_log(rank->context, DLC_LOG_INFO, "%s%s%s%s: generated kernels, because %s",
                    kind_names[kind], *place ? " at " : "", place, others, reason->text);
    }
}

dlc_status calls_create(Rank *rank, const Layout *layout, Calls **out) {
    const dlc_allocator *allocator = &rank->context->allocator;
    const PlanEntry *entry = layout->entry;
    *out = NULL;
    bool any = false;
    const PlanCommand *commands = layout->tables->commands + entry->first_command;
    for (int32_t i = 0; i < entry->n_commands; i++) {
        any = any || commands[i].library >= 0;
    }
    if (!any || !rank->ops->call_prepare || rank->orders->no_libraries) {
        return DLC_OK;
    }
    Prepare *p = memory_new(allocator, 1, sizeof(*p));
    Calls *calls = memory_new(allocator, 1, sizeof(*calls));
    Call *items = memory_new(allocator, (size_t)entry->n_commands, sizeof(*items));
    if (!p || !calls || !items) {
        memory_free(allocator, p);
        memory_free(allocator, calls);
        memory_free(allocator, items);
        return context_out_of_memory(rank->context);
    }
    *calls = (Calls){.items = items, .n_items = entry->n_commands};
    p->rank = rank;
    p->layout = layout;
    p->commands = commands;
    p->calls = calls;
    dlc_status status = DLC_OK;
    for (int32_t i = 0; status == DLC_OK && i < entry->n_commands; i++) {
        if (commands[i].library >= 0) {
            status = call_prepare(p, i);
        }
    }
    if (status == DLC_OK) {
        calls_report(p);
        *out = calls;
    } else {
        calls_destroy(rank, calls);
    }
    memory_free(allocator, p);
    return status;
}

void calls_destroy(Rank *rank, Calls *calls) {
    if (!calls) {
        return;
    }
    for (int32_t i = 0; i < calls->n_items; i++) {
        if (calls->items[i].plan) {
            rank->ops->call_free(rank->device, calls->items[i].plan);
        }
    }
    memory_free(&rank->context->allocator, calls->items);
    memory_free(&rank->context->allocator, calls);
}

int64_t calls_bytes(const Calls *calls) {
    return calls ? (int64_t)sizeof(*calls) + calls->n_items * (int64_t)sizeof(Call) : 0;
}

bool calls_cover(const Calls *calls, int32_t command) {
    return calls && calls->items[command].covered;
}

bool calls_have(const Calls *calls, int32_t command) {
    return calls && calls->items[command].plan;
}

int64_t calls_operand_bytes(const Calls *calls, int32_t command, int32_t operand) {
    return calls->items[command].bytes[operand];
}

dlc_status calls_run(Rank *rank, const Calls *calls, int32_t command, void *const *buffers) {
    const Call *call = &calls->items[command];
    for (int32_t o = 0; o < PLAN_N_OPERANDS; o++) {
        if (buffers[o] && (uintptr_t)buffers[o] % (uintptr_t)call->alignment[o] != 0) {
            return context_fail(rank->context, DLC_ERROR_FORMAT,
                                "%s: an operand of a library call lies between its elements",
                                rank->file->name);
        }
    }
    dlc_status status = rank->ops->call(call->queue, call->plan, buffers);
    return status == DLC_OK ? DLC_OK : rank_device_fail(rank, status);
}
