/* Every kernel of one training step, timed alone, against its floor: the time that its bytes or its
 * arithmetic take at the ceilings that the part before measured. The device is reached through a
 * table of its own calls in which `launch` and `call` wait and look at the clock. */
#include "tests/gpu/gpukit.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS = 6, MOST_CALLS = 512, CALL_NAME = 160 };

/* A call that a library took. */
typedef struct KnownCall {
    const DeviceCallPlan *plan;
    char name[CALL_NAME];
    double flops, bytes;
} KnownCall;

typedef struct Timed {
    int64_t entry;              /* in the image */
    const DeviceCallPlan *call; /* or this */
    int32_t launches;           /* done as one */
    double seconds;
} Timed;

/* One process runs one part, so this may be the process's. */
static struct {
    const DeviceOps *real;
    Timed *launches;
    KnownCall calls[MOST_CALLS];
    int n_calls;
    int32_t n, capacity;
    bool on;
} clocked;

static dlc_status timed_add(DeviceQueue *queue, Timed timed, double begin) {
    KernelFault fault;
    dlc_status status = clocked.real->finish(queue, &fault);
    timed.seconds = kit_seconds() - begin;
    if (clocked.n == clocked.capacity) {
        int32_t capacity = clocked.capacity * 2 + 256;
        Timed *grown = realloc(clocked.launches, sizeof(Timed) * (size_t)capacity);
        if (!grown) {
            return DLC_ERROR_OUT_OF_MEMORY;
        }
        clocked.launches = grown;
        clocked.capacity = capacity;
    }
    clocked.launches[clocked.n++] = timed;
    return status;
}

static dlc_status launch_timed(DeviceQueue *queue, DeviceModule *module,
                               const DeviceLaunch *launch) {
    double begin = kit_seconds();
    dlc_status status = clocked.real->launch(queue, module, launch);
    return status != DLC_OK || !clocked.on
               ? status
               : timed_add(queue, (Timed){.entry = launch->entry, .launches = 1}, begin);
}

static dlc_status group_timed(DeviceQueue *queue, DeviceModule *module,
                              const DeviceLaunch *launches, int32_t n) {
    double begin = kit_seconds();
    dlc_status status = clocked.real->launch_group(queue, module, launches, n);
    return status != DLC_OK || !clocked.on
               ? status
               : timed_add(queue, (Timed){.entry = launches[0].entry, .launches = n}, begin);
}

static dlc_status call_timed(DeviceQueue *queue, DeviceCallPlan *plan, void *const *buffers) {
    double begin = kit_seconds();
    dlc_status status = clocked.real->call(queue, plan, buffers);
    return status != DLC_OK || !clocked.on
               ? status
               : timed_add(queue, (Timed){.call = plan, .launches = 1}, begin);
}

static double product(const int64_t *sizes, int64_t n) {
    double all = 1;
    for (int64_t i = 0; i < n; i++) {
        all *= (double)sizes[i];
    }
    return all;
}

/* Operations and bytes of a call, from its sizes (runtime/plan.h). */
static void call_work(const DeviceCall *call, KnownCall *known, char *shape, size_t n_shape) {
    const int64_t *sizes = call->sizes;
    double elements[PLAN_N_OPERANDS] = {0};
    if (call->kind == PLAN_LIBRARY_MATMUL) {
        double m = (double)sizes[0], n = (double)sizes[1], k = (double)sizes[2];
        double batch = (double)sizes[3];
        known->flops = 2 * m * n * k * batch;
        elements[PLAN_OPERAND_A] = m * k * batch;
        elements[PLAN_OPERAND_B] = k * n * batch;
        elements[PLAN_OPERAND_C] = elements[PLAN_OPERAND_D] = m * n * batch;
        snprintf(shape, n_shape, "%.0fx%.0fx%.0f, %.0f times", m, n, k, batch);
    } else {
        int64_t r = sizes[0];
        const int64_t *x = sizes + 2 + 4 * r, *w = x + 2 + r, *y = w + 2 + r;
        double all_x = product(x, 2 + r), all_w = product(w, 2 + r), all_y = product(y, 2 + r);
        known->flops = 2 * all_y * product(w + 1, 1 + r);
        elements[PLAN_OPERAND_A] = call->kind == PLAN_LIBRARY_CONV ? all_x : all_y;
        elements[PLAN_OPERAND_B] = call->kind == PLAN_LIBRARY_CONV_FILTER_GRAD ? all_x : all_w;
        elements[PLAN_OPERAND_D] = call->kind == PLAN_LIBRARY_CONV              ? all_y
                                   : call->kind == PLAN_LIBRARY_CONV_INPUT_GRAD ? all_x
                                                                                : all_w;
        snprintf(shape, n_shape, "%lld images, %lld to %lld channels", (long long)x[0],
                 (long long)x[1], (long long)y[1]);
    }
    for (int i = 0; i < PLAN_N_OPERANDS; i++) {
        known->bytes += call->present[i] ? elements[i] * plan_dtype_bytes(call->dtypes[i]) : 0;
    }
}

static dlc_status prepare_noted(DeviceQueue *queue, const DeviceCall *call, DeviceCallPlan **out) {
    dlc_status status = clocked.real->call_prepare(queue, call, out);
    if (status == DLC_OK && clocked.n_calls < MOST_CALLS) {
        KnownCall *known = &clocked.calls[clocked.n_calls++];
        char shape[64] = "", line[80] = "";
        *known = (KnownCall){.plan = *out};
        call_work(call, known, shape, sizeof shape);
        clocked.real->call_describe(queue->device, *out, line, sizeof line);
        snprintf(known->name, sizeof known->name, "%s: %s", line, shape);
    }
    return status;
}

typedef struct Row {
    int32_t kernel, call, launches, commands; /* kernel -1: the call */
    double seconds, flops, bytes, floor;
} Row;

static int by_loss(const void *a, const void *b) {
    const Row *x = a, *y = b;
    double lost_x = x->seconds - x->floor, lost_y = y->seconds - y->floor;
    return lost_x > lost_y ? -1 : lost_x < lost_y;
}

static double program_value(const dlc_session *session, const Layout *layout, PlanProgram program) {
    int64_t value = 0;
    const PlanFile *file = session->file;
    return program.count > 0 && program_eval(file->programs + program.first, program.count,
                                             layout->vars, file->n_dims, &value)
               ? (double)value
               : 0;
}

/* Waiting alone, which every timed launch pays. */
static double wait_seconds(dlc_session *session) {
    double least = 1;
    for (int i = 0; i < 20; i++) {
        KernelFault fault;
        double begin = kit_seconds();
        (void)session->ranks->ops->finish(session->ranks->device->queue, &fault);
        double took = kit_seconds() - begin;
        least = took < least ? took : least;
    }
    return least;
}

/* The floor of row, at the ceilings; prints it. */
static void row_print(const dlc_session *session, const Row *row, bool first) {
    const PlanTables *tables = session->tables;
    printf("%s\n  {\"kernel\": ", first ? "" : ",");
    kit_text(row->kernel >= 0 ? plan_text(session->file, tables->kernels[row->kernel].name)
                              : clocked.calls[row->call].name);
    printf(", \"hash\": \"%016llx\", \"launches\": %d, \"seconds\": %.6g, \"floor\": %.6g, "
           "\"flops\": %.6g, \"bytes\": %.6g}",
           row->kernel >= 0 ? (unsigned long long)tables->kernels[row->kernel].hash : 0,
           row->launches, row->seconds, row->floor, row->flops, row->bytes);
}

/* Adds the fastest of the launch's tries to its row. */
static void rows_time(const PlanTables *tables, Row *rows, int32_t n_kernels, double wait) {
    int32_t per_step = clocked.n / STEPS;
    for (int32_t i = 0; i < per_step; i++) {
        const Timed *timed = &clocked.launches[i];
        double least = timed->seconds;
        for (int s = 1; s < STEPS; s++) {
            double took = clocked.launches[s * per_step + i].seconds;
            least = took < least ? took : least;
        }
        for (int32_t k = 0; k < n_kernels + clocked.n_calls; k++) {
            if (k < n_kernels ? !timed->call && tables->kernels[k].entry == timed->entry
                              : clocked.calls[k - n_kernels].plan == timed->call) {
                rows[k].launches += timed->launches;
                rows[k].seconds += least > wait ? least - wait : 0;
                break;
            }
        }
    }
}

/* What the rows' launches compute and move: kernels by the plan's commands, calls by their sizes.
 */
static void rows_work(const dlc_session *session, const EntryState *entry, Row *rows,
                      int32_t n_kernels) {
    for (int32_t c = 0; c < entry->record->n_commands; c++) {
        const PlanCommand *command = &session->tables->commands[entry->record->first_command + c];
        if (command->kind == PLAN_LAUNCH) {
            Row *row = &rows[command->kernel];
            row->flops += program_value(session, entry->layout, command->flops);
            row->bytes += program_value(session, entry->layout, command->bytes);
            row->commands++;
        }
    }
    for (int32_t k = 0; k < n_kernels; k++) {
        /* Some of its launches are a library's. */
        if (rows[k].launches < rows[k].commands) {
            rows[k].flops *= (double)rows[k].launches / rows[k].commands;
            rows[k].bytes *= (double)rows[k].launches / rows[k].commands;
        }
    }
    for (int c = 0; c < clocked.n_calls; c++) {
        rows[n_kernels + c].flops = clocked.calls[c].flops * rows[n_kernels + c].launches;
        rows[n_kernels + c].bytes = clocked.calls[c].bytes * rows[n_kernels + c].launches;
    }
}

static void report(Kit *kit, dlc_session *session, const EntryState *entry) {
    int32_t n_kernels = (int32_t)session->tables->n_kernels, n = 0;
    Row *rows = calloc((size_t)(n_kernels + clocked.n_calls) + 1, sizeof *rows);
    double wait = wait_seconds(session), total = 0, floors = 0;
    const char *precision = kit->spec.precision;
    double peak_flops = kit_ceiling(kit, precision), peak_bytes = kit_ceiling(kit, "copy");
    bool measured = peak_flops > 0 && peak_bytes > 0;
    if (!rows) {
        return;
    }
    if (!measured && session->ranks->ops->peak) {
        session->ranks->ops->peak(session->ranks->device, &peak_flops, &peak_bytes);
    }
    for (int32_t k = 0; k < n_kernels + clocked.n_calls; k++) {
        rows[k].kernel = k < n_kernels ? k : -1;
        rows[k].call = k - n_kernels;
    }
    rows_time(session->tables, rows, n_kernels, wait);
    rows_work(session, entry, rows, n_kernels);
    for (int32_t k = 0; k < n_kernels + clocked.n_calls; k++) {
        Row row = rows[k];
        double by_flops = peak_flops > 0 ? row.flops / peak_flops : 0;
        double by_bytes = peak_bytes > 0 ? row.bytes / peak_bytes : 0;
        row.floor = by_flops > by_bytes ? by_flops : by_bytes;
        if (row.launches > 0) {
            rows[n++] = row;
            total += row.seconds;
            floors += row.floor;
        }
    }
    qsort(rows, (size_t)n, sizeof *rows, by_loss);
    printf(
        "\"model\": \"%s\", \"launches\": %d, \"kernel_seconds\": %.6g, \"floor_seconds\": %.6g, "
        "\"precision\": \"%s\", \"ceilings\": \"%s\", \"peak_flops\": %.4g, "
        "\"peak_bytes_per_second\": %.4g, \"wait_seconds\": %.3g, \"kernels\": [",
        kit->spec.name, clocked.n / STEPS, total, floors, precision,
        measured ? "measured" : "by the device's figures", peak_flops, peak_bytes, wait);
    for (int32_t i = 0; i < n; i++) {
        row_print(session, &rows[i], i == 0);
    }
    printf("]");
    free(rows);
}

void kit_kernels(Kit *kit, dlc_plan *plan) {
    dlc_session_options options = {.struct_size = sizeof options,
                                   .bindings = kit->spec.bindings,
                                   .n_bindings = (size_t)kit->spec.n_bindings,
                                   .device = kit->device};
    clocked.real = kit_device(kit);
    if (!clocked.real) {
        return;
    }
    DeviceOps ops = *clocked.real;
    ops.launch = launch_timed;
    ops.launch_group = ops.launch_group ? group_timed : NULL;
    ops.call = ops.call ? call_timed : NULL;
    ops.call_prepare = ops.call_prepare ? prepare_noted : NULL;
    ops.record = NULL;
    dlc_session *session = NULL;
    dlc_status status = session_create_on(plan, &options, &ops, 1, &session);
    EntryState *entry = status == DLC_OK ? session_entry(session, "train") : NULL;
    status = status == DLC_OK && !entry ? DLC_ERROR_NOT_FOUND : status;
    if (status == DLC_OK) {
        status = kit_inputs(session, entry, 1);
    }
    if (status == DLC_OK) {
        status = dlc_init_weights(session);
    }
    if (status == DLC_OK) {
        status = dlc_run(session, "train");
    }
    clocked.on = true;
    for (int i = 0; i < STEPS && status == DLC_OK; i++) {
        status = dlc_run(session, "train");
    }
    clocked.on = false;
    if (status == DLC_OK && clocked.n % STEPS == 0) {
        report(kit, session, entry);
    } else {
        kit_problem(kit, "%s: %s", kit->spec.name,
                    status == DLC_OK ? "steps differ in their launches"
                                     : dlc_last_error(kit->context));
    }
    free(clocked.launches);
    dlc_session_destroy(session);
}
