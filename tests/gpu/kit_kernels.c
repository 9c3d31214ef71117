/* Every kernel of one training step, timed alone, against its floor: the time that its bytes or its
 * arithmetic take at the device's measured speed. The device is reached through a table of its own
 * calls in which `launch` waits and looks at the clock. */
#include "tests/gpu/gpukit.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS = 6 };

typedef struct Timed {
    int64_t entry; /* in the image */
    double seconds;
} Timed;

/* One process runs one part, so this may be the process's. */
static struct {
    const DeviceOps *real;
    Timed *launches;
    int32_t n, capacity;
    bool on;
} clocked;

static dlc_status launch_timed(Device *device, DeviceModule *module, const DeviceLaunch *launch) {
    if (!clocked.on) {
        return clocked.real->launch(device, module, launch);
    }
    KernelFault fault;
    double begin = kit_seconds();
    dlc_status status = clocked.real->launch(device, module, launch);
    if (status == DLC_OK) {
        status = clocked.real->finish(device, &fault);
    }
    if (clocked.n == clocked.capacity) {
        int32_t capacity = clocked.capacity * 2 + 256;
        Timed *grown = realloc(clocked.launches, sizeof(Timed) * (size_t)capacity);
        if (!grown) {
            return DLC_ERROR_OUT_OF_MEMORY;
        }
        clocked.launches = grown;
        clocked.capacity = capacity;
    }
    clocked.launches[clocked.n++] = (Timed){launch->entry, kit_seconds() - begin};
    return status;
}

typedef struct Row {
    int32_t kernel, launches;
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
        (void)session->ops->finish(session->device, &fault);
        double took = kit_seconds() - begin;
        least = took < least ? took : least;
    }
    return least;
}

static void report(Kit *kit, dlc_session *session, const EntryState *entry) {
    const PlanTables *tables = session->tables;
    const Layout *layout = entry->layout;
    int32_t n_kernels = (int32_t)tables->n_kernels, per_step = clocked.n / STEPS, n = 0;
    Row *rows = calloc((size_t)n_kernels + 1, sizeof *rows);
    double peak_flops = 0, peak_bytes = 0, wait = wait_seconds(session), total = 0, floors = 0;
    if (!rows) {
        return;
    }
    if (session->ops->peak) {
        session->ops->peak(session->device, &peak_flops, &peak_bytes);
    }
    for (int32_t k = 0; k < n_kernels; k++) {
        rows[k].kernel = k;
    }
    for (int32_t i = 0; i < per_step; i++) {
        double least = clocked.launches[i].seconds;
        for (int s = 1; s < STEPS; s++) {
            double took = clocked.launches[s * per_step + i].seconds;
            least = took < least ? took : least;
        }
        for (int32_t k = 0; k < n_kernels; k++) {
            if (tables->kernels[k].entry == clocked.launches[i].entry) {
                rows[k].launches++;
                rows[k].seconds += least > wait ? least - wait : 0;
            }
        }
    }
    for (int32_t c = 0; c < entry->record->n_commands; c++) {
        const PlanCommand *command = &tables->commands[entry->record->first_command + c];
        if (command->kind == PLAN_LAUNCH) {
            rows[command->kernel].flops += program_value(session, layout, command->flops);
            rows[command->kernel].bytes += program_value(session, layout, command->bytes);
        }
    }
    for (int32_t k = 0; k < n_kernels; k++) {
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
        "\"peak_flops\": %.4g, \"peak_bytes_per_second\": %.4g, \"wait_seconds\": %.3g, "
        "\"kernels\": [",
        kit->spec.name, per_step, total, floors, peak_flops, peak_bytes, wait);
    for (int32_t i = 0; i < n; i++) {
        printf("%s\n  {\"kernel\": ", i ? "," : "");
        kit_text(plan_text(session->file, tables->kernels[rows[i].kernel].name));
        printf(", \"hash\": \"%016llx\", \"launches\": %d, \"seconds\": %.6g, \"floor\": %.6g, "
               "\"flops\": %.6g, \"bytes\": %.6g}",
               (unsigned long long)tables->kernels[rows[i].kernel].hash, rows[i].launches,
               rows[i].seconds, rows[i].floor, rows[i].flops, rows[i].bytes);
    }
    printf("]");
    free(rows);
}

void kit_kernels(Kit *kit, dlc_plan *plan) {
    dlc_session_options options = {.struct_size = sizeof options,
                                   .bindings = kit->spec.bindings,
                                   .n_bindings = (size_t)kit->spec.n_bindings,
                                   .device = kit->device};
    clocked.real = device_find(kit->kind);
    if (!clocked.real) {
        kit_problem(kit, "no device is called %s", kit->kind);
        return;
    }
    DeviceOps ops = *clocked.real;
    ops.launch = launch_timed;
    ops.record = NULL;
    dlc_session *session = NULL;
    dlc_status status = session_create_on(plan, &options, &ops, &session);
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
