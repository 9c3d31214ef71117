/* Sizes and places for one binding of dims; see layout.h. */
#include "runtime/session/layout.h"

#include "ir/base/checked.h"
#include "ir/base/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int64_t layout_round(int64_t bytes) {
    return (bytes + PACK_ALIGNMENT - 1) & ~(int64_t)(PACK_ALIGNMENT - 1);
}

bool plan_shape(const PlanFile *file, PlanType type, const int64_t *vars, int64_t *out_dims,
                int64_t *out_bytes) {
    int64_t bytes = plan_dtype_bytes(type.dtype);
    for (int32_t a = 0; a < type.rank; a++) {
        if (!plan_eval(file, file->sizes[type.first_size + a], vars, &out_dims[a]) ||
            out_dims[a] < 0 || !checked_mul(bytes, out_dims[a], &bytes)) {
            return false;
        }
    }
    *out_bytes = bytes;
    return true;
}

int32_t plan_batch_dim(const PlanFile *file, const PlanTables *tables) {
    const char *name = plan_setting(file, "batch_dim");
    for (int32_t d = 0; name && d < file->n_dims; d++) {
        if (strcmp(plan_text(file, file->dims[d].name), name) == 0) {
            return d;
        }
    }
    for (int64_t i = 0; i < tables->n_args; i++) {
        const PlanArg *arg = &tables->args[i];
        if (arg->role == PLAN_ARG_INPUT && arg->type.rank > 0) {
            PlanType whole = plan_whole(arg->type, &arg->part);
            int32_t dim = plan_size_dim(file, file->sizes[whole.first_size]);
            if (dim >= 0) {
                return dim;
            }
        }
    }
    return -1;
}

static int64_t dim_default(const PlanFile *file, const PlanDim *dim, bool is_batch) {
    enum { USUAL = 64, REACH = 65536, ROWS = 32 };
    const char *batch = is_batch ? plan_setting(file, "batch") : NULL;
    int64_t value = dim->nominal > 0     ? dim->nominal
                    : batch              ? strtoll(batch, NULL, 10)
                    : is_batch           ? ROWS
                    : dim->high <= REACH ? dim->high
                                         : USUAL;
    value = value < dim->low ? dim->low : value > dim->high ? dim->high : value;
    int64_t down = value - value % dim->divisor;
    value = down >= dim->low ? down : multiple_within(value, dim->divisor, dim->high);
    return value == 0 && dim->divisor <= dim->high ? dim->divisor : value; /* 0 where need be */
}

void dims_default(const PlanFile *file, int64_t *dims) {
    int32_t batch = plan_batch_dim(file, &file->targets[0]);
    for (int32_t d = 0; d < file->n_dims; d++) {
        bool given = dims[d] >= 0 || file->dims[d].source != DIM_FREE;
        dims[d] = given ? dims[d] : dim_default(file, &file->dims[d], d == batch);
    }
}

dlc_status dim_check(dlc_context *context, const PlanFile *file, int32_t number, int64_t value) {
    const PlanDim *dim = &file->dims[number];
    const char *name = plan_text(file, dim->name);
    if (value < dim->low || value > dim->high) {
        if (dim->high == INT64_MAX) {
            return context_fail(context, DLC_ERROR_MISMATCH,
                                "dim %s is %" PRId64 ", but must be at least %" PRId64, name, value,
                                dim->low);
        }
        return context_fail(context, DLC_ERROR_MISMATCH,
                            "dim %s is %" PRId64 ", outside %" PRId64 " to %" PRId64, name, value,
                            dim->low, dim->high);
    }
    if (value % dim->divisor != 0) {
        return context_fail(context, DLC_ERROR_MISMATCH,
                            "dim %s is %" PRId64 ", not a multiple of %" PRId64, name, value,
                            dim->divisor);
    }
    return DLC_OK;
}

void dims_text(const PlanFile *file, const int64_t *vars, const PlanProgram *programs, int n,
               char *out, size_t n_out) {
    size_t at = 0;
    out[0] = '\0';
    for (int32_t d = 0; d < file->n_dims && at < n_out; d++) {
        bool read = false;
        for (int p = 0; p < n; p++) {
            for (int32_t k = 0; k < programs[p].count; k++) {
                const ProgramInstr *instr = &file->programs[programs[p].first + k];
                read = read || (instr->code == PROGRAM_VAR && instr->immediate == d);
            }
        }
        if (read) {
            int used = snprintf(out + at, n_out - at, "%s%s = %" PRId64, at ? ", " : ", where ",
                                plan_text(file, file->dims[d].name), vars[d]);
            at += used > 0 ? (size_t)used : 0;
        }
    }
}

/* A size of `entry`, or of its command `command` if that is not NULL, that is negative, or leaves
 * 64 bits: `what` it is of, the place in the program and the dims that it is computed from. */
static dlc_status bad_size(dlc_context *context, const Layout *layout, const PlanCommand *command,
                           const char *what, PlanProgram program) {
    const char *place = command ? plan_text(layout->file, command->place) : "";
    char dims[512];
    int64_t value;
    dims_text(layout->file, layout->vars, &program, 1, dims, sizeof(dims));
    if (plan_eval(layout->file, program, layout->vars, &value)) {
        return context_fail(context, DLC_ERROR_MISMATCH, "%s%s%s: %s would be %" PRId64 "%s", place,
                            *place ? ": in " : "", plan_text(layout->file, layout->entry->name),
                            what, value, dims);
    }
    return context_fail(context, DLC_ERROR_MISMATCH, "%s%s%s: %s is beyond 64 bits%s", place,
                        *place ? ": in " : "", plan_text(layout->file, layout->entry->name), what,
                        dims);
}

static dlc_status buffers_lay_out(dlc_context *context, Layout *layout) {
    const PlanEntry *entry = layout->entry;
    const PlanBuffer *buffers = layout->tables->buffers + entry->first_buffer;
    PackItem *items = memory_new(&context->allocator, (size_t)entry->n_buffers, sizeof(*items));
    int32_t *numbers = memory_new(&context->allocator, (size_t)entry->n_buffers, sizeof(*numbers));
    dlc_status status = DLC_OK;
    if (!items || !numbers) {
        status = context_out_of_memory(context);
        goto done;
    }
    int64_t n_items = 0;
    for (int32_t i = 0; i < entry->n_buffers; i++) {
        int64_t *bytes = &layout->buffer_bytes[i];
        if (!plan_eval(layout->file, buffers[i].bytes, layout->vars, bytes) || *bytes < 0 ||
            *bytes > INT64_MAX / 4) {
            status = bad_size(context, layout, NULL, "the bytes of a value", buffers[i].bytes);
            goto done;
        }
        if (buffers[i].kind == PLAN_BUFFER_ARENA) {
            numbers[n_items] = i;
            items[n_items++] =
                (PackItem){.bytes = *bytes, .birth = buffers[i].birth, .death = buffers[i].death};
        } else if (buffers[i].kind == PLAN_BUFFER_CONSTANT &&
                   *bytes > layout->file->n_constants - buffers[i].offset) {
            status = context_fail(context, DLC_ERROR_FORMAT, "%s: a constant is too large",
                                  layout->file->name);
            goto done;
        } else if (buffers[i].kind == PLAN_BUFFER_ARG) {
            const PlanArg *arg = &layout->tables->args[entry->first_arg + buffers[i].index];
            bool given = arg->role == PLAN_ARG_INPUT || arg->role == PLAN_ARG_SCALAR;
            int64_t *total = given ? &layout->input_bytes : &layout->persistent_bytes;
            if (!checked_add(*total, layout_round(*bytes), total)) {
                status = bad_size(context, layout, NULL, "the bytes of a value", buffers[i].bytes);
                goto done;
            }
        }
    }
    status = pack_items(items, n_items, &context->allocator, &layout->arena_bytes);
    if (status != DLC_OK) {
        context_fail(context, status, "the step's memory cannot be laid out: %s",
                     dlc_status_text(status));
        goto done;
    }
    int64_t all;
    if (!checked_add(layout->persistent_bytes, layout->input_bytes, &all) ||
        !checked_add(all, layout->arena_bytes, &all)) {
        status = context_fail(context, DLC_ERROR_MISMATCH, "%s: its bytes are beyond 64 bits",
                              plan_text(layout->file, entry->name));
        goto done;
    }
    for (int64_t i = 0; i < n_items; i++) {
        layout->buffer_offset[numbers[i]] = items[i].offset;
    }
done:
    memory_free(&context->allocator, items);
    memory_free(&context->allocator, numbers);
    return status;
}

static dlc_status ref_lay_out(dlc_context *context, Layout *layout, const PlanCommand *command,
                              const PlanRef *ref, int32_t at, int64_t bytes) {
    layout->ref_moves[at] = plan_program_uses_loops(layout->file, ref->offset);
    int64_t *offset = &layout->ref_offset[at];
    if (layout->ref_moves[at]) {
        return DLC_OK;
    }
    if (!plan_eval(layout->file, ref->offset, layout->vars, offset)) {
        return bad_size(context, layout, command, "a place in memory", ref->offset);
    }
    int64_t room = layout->buffer_bytes[ref->buffer] - *offset;
    if (*offset < 0 || room < 0 || bytes > room) {
        return context_fail(context, DLC_ERROR_FORMAT, "%s: a command leaves its buffer",
                            layout->file->name);
    }
    return DLC_OK;
}

/* Bytes that a command touches at ref `i`, where the plan says it; launches say it in their code.
 */
static int64_t ref_bytes(const Layout *layout, const PlanCommand *command, int64_t extent,
                         int32_t i) {
    int64_t bytes = 0;
    switch (command->kind) {
    case PLAN_COPY:
    case PLAN_FILL:
        return extent;
    case PLAN_STORE:
        return i < 2 ? extent : 1;
    case PLAN_LOOP:
        return 4;
    case PLAN_TEST:
    case PLAN_CHECK:
    case PLAN_BARRIER:
        return 1;
    case PLAN_COLLECTIVE: /* exchange_lay_out has found them sound */
        (void)plan_eval(layout->file, layout->tables->refs[command->first_ref + i].bytes,
                        layout->vars, &bytes);
        return bytes;
    default:
        return 0;
    }
}

/* The product of five counts; false: beyond 64 bits. */
static bool elements_of(const int64_t counts[5], int64_t *out) {
    bool fits = true;
    *out = 1;
    for (int i = 0; i < 5; i++) {
        fits = fits && checked_mul(*out, counts[i], out);
    }
    return fits;
}

/* Elements of the operand and the result of a collective that moves rows. */
static bool exchange_elements(const Layout *layout, const PlanCollective *collective,
                              const int64_t *sizes, int64_t *out_in, int64_t *out_out) {
    const MeshShape *shape = &layout->place.shape;
    int64_t n = mesh_group_ranks(shape, collective->group);
    int64_t me = mesh_coordinate(shape, collective->group, layout->place.number);
    bool splits = collective->kind == PLAN_ALL_TO_ALL;
    int64_t rows = sizes[LAYOUT_ROWS], split = splits ? sizes[LAYOUT_SPLIT_ROWS] : 1;
    int64_t middle = splits ? sizes[LAYOUT_MIDDLE] : 1;
    int64_t piece = mesh_piece(rows, n, me).count;
    int64_t split_piece = splits ? mesh_piece(split, n, me).count : 1;
    int64_t part, whole;
    bool fits =
        elements_of((int64_t[5]){sizes[LAYOUT_OUTER], piece, middle, split, sizes[LAYOUT_UNIT]},
                    &part) &&
        elements_of(
            (int64_t[5]){sizes[LAYOUT_OUTER], rows, middle, split_piece, sizes[LAYOUT_UNIT]},
            &whole);
    bool scatters = collective->kind == PLAN_REDUCE_SCATTER;
    *out_in = scatters ? whole : part;
    *out_out = scatters ? part : whole;
    return fits;
}

/* The sizes of pair `pair` as numbers, which must be those of its operand and result on this rank.
 */
static dlc_status exchange_lay_out(dlc_context *context, Layout *layout, const PlanCommand *command,
                                   int32_t pair, int64_t *sizes) {
    const PlanCollective *all = layout->tables->collectives;
    const PlanCollective *collective =
        &all[plan_pair_collective(command, all[command->collective].kind, pair)];
    const PlanProgram programs[LAYOUT_ELEMENTS] = {[LAYOUT_OUTER] = collective->outer,
                                                   [LAYOUT_ROWS] = collective->rows,
                                                   [LAYOUT_UNIT] = collective->unit,
                                                   [LAYOUT_MIDDLE] = collective->middle,
                                                   [LAYOUT_SPLIT_ROWS] = collective->split_rows};
    for (int i = 0; i < LAYOUT_ELEMENTS; i++) {
        if (!plan_eval(layout->file, programs[i], layout->vars, &sizes[i]) || sizes[i] < 0) {
            return bad_size(context, layout, command, "a size of an exchange", programs[i]);
        }
    }
    bool moves_rows = collective->rows.count > 0;
    const PlanRef *to = &layout->tables->refs[command->first_ref + 2 * pair], *from = to + 1;
    int64_t width = plan_dtype_bytes(to->written - 1), in, out, in_elements, out_elements;
    if (!plan_eval(layout->file, to->bytes, layout->vars, &out) || out < 0 ||
        !plan_eval(layout->file, from->bytes, layout->vars, &in) || in < 0) {
        return bad_size(context, layout, command, "the bytes of an exchange", to->bytes);
    }
    out_elements = out / width;
    in_elements = out_elements; /* what is combined or shifted keeps its size */
    if ((moves_rows &&
         !exchange_elements(layout, collective, sizes, &in_elements, &out_elements)) ||
        out % width != 0 || in % width != 0 || in / width != in_elements ||
        out / width != out_elements) {
        return context_fail(context, DLC_ERROR_FORMAT,
                            "%s: an exchange is not of the size of its operand and result",
                            layout->file->name);
    }
    sizes[LAYOUT_ELEMENTS] = out_elements;
    return DLC_OK;
}

static dlc_status size_check(dlc_context *context, const Layout *layout,
                             const PlanCommand *command) {
    const PlanSite *site = &layout->tables->sites[command->site];
    const char *place = plan_text(layout->file, site->place);
    const char *text = plan_text(layout->file, site->text);
    const char *colon = *place ? ": " : "";
    const PlanProgram both[2] = {command->extent, command->other};
    char dims[512];
    int64_t left, right;
    dims_text(layout->file, layout->vars, both, 2, dims, sizeof(dims));
    size_t length = strlen(place);
    if (strncmp(text, place, length) == 0 && text[length] == ':') {
        place = colon = ""; /* the text says it itself */
    }
    if (!plan_eval(layout->file, command->extent, layout->vars, &left) ||
        !plan_eval(layout->file, command->other, layout->vars, &right)) {
        return context_fail(context, DLC_ERROR_FAULT, "%s%s%s (a size leaves 64 bits)%s", place,
                            colon, text, dims);
    }
    if (left == right) {
        return DLC_OK;
    }
    return context_fail(context, DLC_ERROR_FAULT, "%s%s%s (%" PRId64 " and %" PRId64 ")%s", place,
                        colon, text, left, right, dims);
}

/* What the program demands of its sizes, before anything is computed of them. */
static dlc_status sizes_check(dlc_context *context, const Layout *layout) {
    dlc_status status = DLC_OK;
    for (int32_t i = 0; status == DLC_OK && i < layout->entry->n_commands; i++) {
        const PlanCommand *command = &layout->tables->commands[layout->entry->first_command + i];
        if (command->kind == PLAN_SIZE_CHECK) {
            status = size_check(context, layout, command);
        }
    }
    return status;
}

/* What exchanges memory must be of one size. */
static dlc_status swaps_check(dlc_context *context, const Layout *layout,
                              const PlanCommand *command) {
    for (int32_t s = 0; s < command->n_swaps; s++) {
        const PlanSwap *swap = &layout->tables->swaps[command->first_swap + s];
        if (layout->buffer_bytes[swap->a] != layout->buffer_bytes[swap->b]) {
            return context_fail(context, DLC_ERROR_FORMAT,
                                "%s: a loop swaps buffers of %" PRId64 " and %" PRId64 " bytes",
                                layout->file->name, layout->buffer_bytes[swap->a],
                                layout->buffer_bytes[swap->b]);
        }
    }
    return DLC_OK;
}

static dlc_status command_lay_out(dlc_context *context, Layout *layout, int32_t i, int32_t *n_sizes,
                                  int32_t *n_refs) {
    const PlanTables *tables = layout->tables;
    const PlanCommand *command = &tables->commands[layout->entry->first_command + i];
    if (command->kind == PLAN_SIZE_CHECK) {
        return DLC_OK; /* done by sizes_check, before everything that relies on it */
    }
    if (!plan_eval(layout->file, command->extent, layout->vars, &layout->extent[i]) ||
        layout->extent[i] < 0) {
        return bad_size(context, layout, command, "how much there is to do", command->extent);
    }
    layout->first_size[i] = *n_sizes;
    for (int32_t s = 0; s < command->n_sizes; s++) {
        PlanProgram size = layout->file->sizes[command->first_size + s];
        if (!plan_eval(layout->file, size, layout->vars, &layout->sizes[(*n_sizes)++])) {
            return bad_size(context, layout, command, "a size", size);
        }
    }
    for (int32_t pair = 0; command->kind == PLAN_COLLECTIVE && pair < command->n_refs / 2; pair++) {
        dlc_status status =
            exchange_lay_out(context, layout, command, pair, layout->sizes + *n_sizes);
        if (status != DLC_OK) {
            return status;
        }
        *n_sizes += LAYOUT_EXCHANGE;
    }
    layout->first_ref[i] = *n_refs;
    for (int32_t r = 0; r < command->n_refs; r++) {
        const PlanRef *ref = &tables->refs[command->first_ref + r];
        int64_t bytes = ref_bytes(layout, command, layout->extent[i], r);
        int64_t shown[PLAN_MAX_RANK];
        if (command->kind == PLAN_SHOW) {
            if (!plan_shape(layout->file, command->type, layout->vars, shown, &bytes)) {
                return bad_size(context, layout, command, "a shown value's bytes", command->extent);
            }
            layout->extent[i] = bytes;
        }
        dlc_status status = ref_lay_out(context, layout, command, ref, (*n_refs)++, bytes);
        if (status != DLC_OK) {
            return status;
        }
    }
    layout->max_refs = command->n_refs > layout->max_refs ? command->n_refs : layout->max_refs;
    if (command->kind == PLAN_LAUNCH) {
        int64_t scratch = tables->kernels[command->kernel].scratch_bytes;
        int64_t *all = &layout->queue_scratch[0], *own = &layout->queue_scratch[command->queue];
        *all = scratch > *all ? scratch : *all;
        *own = scratch > *own ? scratch : *own;
    }
    return swaps_check(context, layout, command);
}

/* Sums the work of a run: loop bodies as often as they run. */
static dlc_status work_sum(dlc_context *context, Layout *layout) {
    const PlanCommand *commands = layout->tables->commands + layout->entry->first_command;
    uint8_t *seen = memory_new(&context->allocator, (size_t)layout->tables->n_kernels, 1);
    if (!seen) {
        return context_out_of_memory(context);
    }
    double times[PLAN_MAX_LOOP_DEPTH + 1] = {1};
    int32_t depth = 0;
    for (int32_t i = 0; i < layout->entry->n_commands; i++) {
        const PlanCommand *command = &commands[i];
        int64_t flops = 0, bytes = 0;
        (void)plan_eval(layout->file, command->flops, layout->vars, &flops);
        (void)plan_eval(layout->file, command->bytes, layout->vars, &bytes);
        layout->work[i] = (double)flops + (double)bytes;
        layout->flops += times[depth] * (double)flops;
        layout->bytes += times[depth] * (double)bytes;
        if (command->kind == PLAN_LOOP) {
            bool counted = !(command->flags & PLAN_COMMAND_WHILE);
            times[depth + 1] = times[depth] * (counted ? (double)layout->extent[i] : 1);
            depth++;
        } else if (command->kind == PLAN_LOOP_END) {
            depth--;
        }
        layout->n_counted += command->kind == PLAN_LAUNCH || command->kind == PLAN_COPY ||
                             command->kind == PLAN_FILL || command->kind == PLAN_STORE;
        if (command->kind == PLAN_LAUNCH) {
            /* Later kernels of an op carry no cost of their own; threads still serve them. */
            if (layout->work[i] == 0) {
                layout->work[i] = i > 0 ? layout->work[i - 1] : 0;
            }
            layout->n_kernels += !seen[command->kernel];
            seen[command->kernel] = 1;
        }
    }
    memory_free(&context->allocator, seen);
    return DLC_OK;
}

/* The tables of the entry's commands, buffers and results. */
static dlc_status tables_allocate(dlc_context *context, Layout *layout) {
    const dlc_allocator *allocator = &context->allocator;
    const PlanEntry *entry = layout->entry;
    size_t n_sizes = 0, n_refs = 0;
    for (int32_t i = 0; i < entry->n_commands; i++) {
        const PlanCommand *command = &layout->tables->commands[entry->first_command + i];
        bool exchanges = command->kind == PLAN_COLLECTIVE;
        n_sizes += (size_t)command->n_sizes;
        n_sizes += exchanges ? LAYOUT_EXCHANGE * ((size_t)command->n_refs / 2) : 0;
        n_refs += (size_t)command->n_refs;
    }
    size_t n_vars = (size_t)layout->file->n_dims + PLAN_MAX_LOOP_DEPTH;
    size_t n_commands = (size_t)entry->n_commands, n_buffers = (size_t)entry->n_buffers;
    layout->vars = memory_new(allocator, n_vars, 8);
    layout->buffer_bytes = memory_new(allocator, n_buffers, 8);
    layout->buffer_offset = memory_new(allocator, n_buffers, 8);
    layout->extent = memory_new(allocator, n_commands, 8);
    layout->work = memory_new(allocator, n_commands, sizeof(double));
    layout->sizes = memory_new(allocator, n_sizes, 8);
    layout->first_size = memory_new(allocator, n_commands, 4);
    layout->ref_offset = memory_new(allocator, n_refs, 8);
    layout->ref_moves = memory_new(allocator, n_refs, 1);
    layout->first_ref = memory_new(allocator, n_commands, 4);
    layout->result_offset = memory_new(allocator, (size_t)entry->n_results, 8);
    layout->table_bytes = (int64_t)(sizeof(*layout) + 8 * n_vars + 16 * n_buffers +
                                    (8 + sizeof(double) + 8) * n_commands + 8 * n_sizes +
                                    9 * n_refs + 8 * (size_t)entry->n_results);
    bool have = layout->vars && layout->buffer_bytes && layout->buffer_offset && layout->extent &&
                layout->work && layout->sizes && layout->first_size && layout->ref_offset &&
                layout->ref_moves && layout->first_ref && layout->result_offset;
    return have ? DLC_OK : context_out_of_memory(context);
}

static dlc_status result_lay_out(dlc_context *context, Layout *layout, int32_t i) {
    const PlanResult *result = &layout->tables->results[layout->entry->first_result + i];
    int64_t dims[PLAN_MAX_RANK], bytes, *offset = &layout->result_offset[i];
    bool fits = plan_eval(layout->file, result->ref.offset, layout->vars, offset) && *offset >= 0 &&
                plan_shape(layout->file, result->type, layout->vars, dims, &bytes) &&
                *offset <= layout->buffer_bytes[result->ref.buffer] &&
                bytes <= layout->buffer_bytes[result->ref.buffer] - *offset;
    return fits ? DLC_OK : bad_size(context, layout, NULL, "a result's place", result->ref.offset);
}

dlc_status layout_create(dlc_context *context, const PlanFile *file, const PlanTables *tables,
                         const PlanEntry *entry, const RankPlace *place, const int64_t *dims,
                         Layout **out) {
    Layout *layout = memory_new(&context->allocator, 1, sizeof(*layout));
    if (!layout) {
        return context_out_of_memory(context);
    }
    *layout = (Layout){.file = file, .tables = tables, .entry = entry, .place = *place};
    dlc_status status = tables_allocate(context, layout);
    if (status == DLC_OK) {
        memcpy(layout->vars, dims, (size_t)file->n_dims * sizeof(*dims));
        status = sizes_check(context, layout);
    }
    if (status == DLC_OK) {
        status = buffers_lay_out(context, layout);
    }
    int32_t n_sizes = 0, n_refs = 0;
    for (int32_t i = 0; status == DLC_OK && i < entry->n_commands; i++) {
        status = command_lay_out(context, layout, i, &n_sizes, &n_refs);
    }
    for (int32_t i = 0; status == DLC_OK && i < entry->n_results; i++) {
        status = result_lay_out(context, layout, i);
    }
    for (int32_t q = 0; q < PLAN_MAX_QUEUES; q++) {
        layout->scratch_bytes += layout->queue_scratch[q];
    }
    if (status == DLC_OK) {
        status = work_sum(context, layout);
    }
    if (status != DLC_OK) {
        layout_destroy(context, layout);
        return status;
    }
    *out = layout;
    return DLC_OK;
}

void layout_destroy(dlc_context *context, Layout *layout) {
    if (!layout) {
        return;
    }
    void *const parts[] = {layout->vars,       layout->buffer_bytes, layout->buffer_offset,
                           layout->extent,     layout->work,         layout->sizes,
                           layout->first_size, layout->ref_offset,   layout->ref_moves,
                           layout->first_ref,  layout->result_offset};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        memory_free(&context->allocator, parts[i]);
    }
    memory_free(&context->allocator, layout);
}
