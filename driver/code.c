/* The code of one target: which targets are meant, the kernels and their schedule, the image, and
 * what is shown of them. Called by compile.c. */
#include "codegen/schedule/schedule.h"
#include "driver/driver.h"
#include "driver/manifest.h"
#include "ir/base/cores.h"
#include "passes/pass.h"
#include "runtime/kernel_abi.h"

#include <stdio.h>
#include <stdlib.h>

static int thread_count(const Driver *d) {
    return d->options->threads > 0 ? d->options->threads : cores_usable();
}

/* The text of the line at "name:line:column", where the program's own text has it. */
static void show_place(Driver *d, const char *place) {
    const CompileCall *call = d->call;
    const char *colon = strrchr(place, ':');
    const char *before = colon;
    while (before && before > place && before[-1] != ':') {
        before--;
    }
    str_addf(&d->text, "// %s", place);
    size_t n_name = before && before > place ? (size_t)(before - 1 - place) : 0;
    if (n_name > 0 && strlen(call->name) == n_name && memcmp(call->name, place, n_name) == 0) {
        const char *at = call->text, *end = call->text + call->length;
        for (long line = strtol(before, NULL, 10); at && line > 1; line--) {
            at = memchr(at, '\n', (size_t)(end - at));
            at = at ? at + 1 : NULL;
        }
        while (at && at < end && *at == ' ') {
            at++;
        }
        const char *stop = at ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        stop = stop ? stop : end;
        if (at) {
            str_addf(&d->text, ": %.*s", (int)(stop - at), at);
        }
    }
    str_add(&d->text, "\n");
}

/* The places in the program that launch the kernel, each once, in order of the schedule. */
static void show_places(Driver *d, const PlanWriter *writer, const TargetTables *tables,
                        int32_t kernel) {
    enum { MOST = 8 };
    uint32_t shown[MOST];
    int n = 0;
    for (size_t i = 0; i < tables->commands.count && n < MOST; i++) {
        const PlanCommand *command = &tables->commands.items[i];
        if (command->kind != PLAN_LAUNCH || command->kernel != kernel) {
            continue;
        }
        bool known = writer->strings.items[command->place] == '\0';
        for (int k = 0; k < n; k++) {
            known = known || shown[k] == command->place;
        }
        if (!known) {
            shown[n++] = command->place;
            show_place(d, writer->strings.items + command->place);
        }
    }
}

static void show_kernels(Driver *d, const Target *target, const Machine *machine,
                         const PlanWriter *writer, const TargetTables *tables,
                         const KernelPool *pool) {
    bool explain = (d->options->flags & DLC_COMPILE_EXPLAIN) != 0;
    int32_t count = (int32_t)pool->kernels.count;
    const char **names =
        target->names ? target->names(pool->kernels.items, count, &d->scratch) : NULL;
    if (!target->shows_text) {
        module_print_head(d->module, &d->text);
        str_add(&d->text, "\n");
    } else if (target->show_head) {
        target->show_head(machine, &d->text);
    }
    for (int32_t i = 0; i < count; i++) {
        const Kernel *kernel = pool->kernels.items[i];
        if (target->shows_text) {
            show_places(d, writer, tables, i);
        }
        if (!target->shows_text || explain) {
            kernel_print(kernel, &d->text);
        }
        if (target->show && (target->shows_text || explain)) {
            const char *name = names ? names[i] : kernel->name;
            (void)target->show(machine, kernel, name, &d->text);
        }
        str_add(&d->text, "\n");
    }
    driver_give_text(d, "kernels");
}

bool driver_pass_known(const char *name) {
    for (int i = 0; pass_name(i); i++) {
        if (strcmp(pass_name(i), name) == 0) {
            return true;
        }
    }
    return false;
}

void driver_check_names(Driver *d) {
    const dlc_compile_options *options = d->options;
    static const char *const stages[] = {"ast",      "ir",       "grad", "kernels",
                                         "schedule", "timeline", "plan"};
    char message[COMPILE_MESSAGE_BYTES];
    bool known = !options->emit || driver_pass_known(options->emit);
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
        known = known || driver_emits(d, stages[i]);
    }
    if (!known) {
        snprintf(message, sizeof(message),
                 "unknown stage '%.100s' to emit; there are ast, ir, grad, every pass, kernels, "
                 "schedule, timeline, plan",
                 options->emit);
        driver_leave(d, DLC_ERROR_INVALID_ARGUMENT, message);
    }
    const char *lists[] = {options->print_after, options->skip_passes};
    for (int i = 0; i < 2; i++) {
        for (const char *at = lists[i]; at && *at;) {
            char name[64];
            size_t length = i == 0 ? strlen(at) : strcspn(at, ",");
            snprintf(name, sizeof(name), "%.*s", (int)(length < 63 ? length : 63), at);
            if (!driver_pass_known(name) && (i == 1 || strcmp(name, "all") != 0)) {
                snprintf(message, sizeof(message),
                         "unknown pass '%s' to %s; dlc --passes lists them", name,
                         i == 0 ? "print after" : "skip");
                driver_leave(d, DLC_ERROR_INVALID_ARGUMENT, message);
            }
            at += length + (at[length] == ',');
        }
    }
}

/* "NAME[:OPTION][,queues=N]" */
typedef struct TargetText {
    const char *name;
    const char *option; /* NULL: none */
    const char *more;   /* from the comma on; "" */
} TargetText;

static TargetText target_text(Driver *d, const char *text) {
    size_t length = strcspn(text, ","), n = strcspn(text, ":,");
    TargetText parts = {.name = arena_strndup(&d->scratch, text, n), .more = text + length};
    if (text[n] == ':') {
        parts.option = arena_strndup(&d->scratch, text + n + 1, length - n - 1);
    }
    return parts;
}

/* What the program's author, or a test, knows better than the backend. */
static void machine_adjust(Driver *d, const char *text, const char *more, Machine *machine) {
    static const char key[] = ",queues=";
    enum { MOST_QUEUES = 2 };
    if (!*more) {
        return;
    }
    const char *number = strncmp(more, key, sizeof(key) - 1) == 0 ? more + sizeof(key) - 1 : "";
    if (number[0] < '1' || number[0] > '0' + MOST_QUEUES || number[1]) {
        char message[COMPILE_MESSAGE_BYTES];
        snprintf(message, sizeof(message),
                 "target '%.100s': what follows the comma must be queues=1 or queues=2", text);
        driver_leave(d, DLC_ERROR_INVALID_ARGUMENT, message);
    }
    machine->queues = number[0] - '0';
}

size_t driver_targets(Driver *d, const char *out[MAX_TARGETS]) {
    const char *const native[] = {target_host()};
    const char *const *given = d->options->n_targets ? d->options->targets : native;
    size_t n_given = d->options->n_targets ? d->options->n_targets : 1;
    size_t n = 0;
    for (size_t t = 0; t < n_given; t++) {
        TargetText text = target_text(d, given[t]);
        const Target *target = target_find(text.name);
        const char *options[MAX_TARGETS] = {NULL};
        int32_t count = 1;
        if (target && target->expand) {
            count = target->expand(text.option, options, MAX_TARGETS);
        }
        for (int32_t i = 0; i < count; i++) {
            const char *full =
                options[i] ? arena_format(&d->scratch, "%s:%s%s", text.name, options[i], text.more)
                           : given[t];
            bool known = false;
            for (size_t k = 0; k < n; k++) {
                known = known || strcmp(out[k], full) == 0;
            }
            if (!known && n == MAX_TARGETS) {
                driver_leave(d, DLC_ERROR_LIMIT, "too many targets");
            }
            if (!known) {
                out[n++] = full;
            }
        }
    }
    return n;
}

const Target *driver_target(Driver *d, const char *text, Machine *machine) {
    TargetText parts = target_text(d, text);
    const Target *target = target_find(parts.name);
    char message[COMPILE_MESSAGE_BYTES] = "";
    if (!target) {
        int at = snprintf(message, sizeof(message), "unknown target '%s'; there are", parts.name);
        for (int i = 0; target_at(i); i++) {
            at += snprintf(message + at, sizeof(message) - (size_t)at, " %s", target_at(i)->name);
        }
        driver_leave(d, DLC_ERROR_UNSUPPORTED, message);
    }
    dlc_status status = target->describe(parts.option, &d->scratch, machine, message);
    if (status != DLC_OK) {
        driver_leave(d, status, message);
    }
    machine_adjust(d, text, parts.more, machine);
    return target;
}

/* What the target's compiler made of each kernel: into the manifest, into --explain, and a warning
 * for what it had to move out of registers. */
static void tell_figures(Driver *d, const Target *target, const Machine *machine,
                         TargetTables *tables, const TargetImage *image) {
    bool explain = (d->options->flags & DLC_COMPILE_EXPLAIN) != 0;
    if (explain) {
        str_addf(&d->text, "kernels for %s:%s\n  %9s %12s %9s %9s  %s\n", machine->target,
                 machine->name, "registers", "shared bytes", "stack", "spilled", "name");
    }
    for (int32_t i = 0; i < image->n_entries; i++) {
        TargetFigures figures;
        if (!target->figures(image, i, &figures)) {
            continue;
        }
        tables->kernels.items[i].scratch_bytes = figures.scratch_bytes;
        ManifestFigures row = {.name = arena_strdup(&d->scratch, figures.name),
                               .registers = figures.registers,
                               .shared_bytes = figures.shared_bytes,
                               .stack_bytes = figures.stack_bytes,
                               .spill_bytes = figures.spill_bytes,
                               .scratch_bytes = figures.scratch_bytes};
        VEC_PUSH(&d->scratch, &tables->figures, row);
        if (explain) {
            str_addf(&d->text, "  %9d %12d %9d %9d  %s\n", figures.registers, figures.shared_bytes,
                     figures.stack_bytes, figures.spill_bytes, figures.name);
        }
        if (figures.stack_bytes > 0 || figures.spill_bytes > 0) {
            str_addf(&d->troubled, "%s%s for %s (%d bytes of stack, %d spilled)",
                     d->troubled.length ? ", " : "", figures.name, machine->name,
                     figures.stack_bytes, figures.spill_bytes);
        }
    }
    if (explain) {
        driver_give_text(d, "explain");
    }
}

void driver_code(Driver *d, PlanWriter *writer, const Target *target, const Machine *machine,
                 int number) {
    TargetTables *tables = plan_writer_target(writer);
    tables->target = (PlanTarget){.abi = KERNEL_ABI_VERSION};
    tables->target.device = plan_writer_string(writer, machine->target);
    tables->target.machine = plan_writer_string(writer, machine->name);
    tables->target.features = plan_writer_string(writer, machine->features);
    KernelPool pool;
    kernel_pool_init(&pool, &d->context, &d->scratch);
    schedule_module(d->module, machine, writer, tables, &pool);
    if (driver_emits(d, "kernels")) {
        show_kernels(d, target, machine, writer, tables, &pool);
        d->done = true;
        return;
    }
    driver_stage(d, "generating code", 0.6);
    char message[COMPILE_MESSAGE_BYTES] = "";
    TargetImage *image = &d->images[number];
    dlc_status status = target->emit(machine, pool.kernels.items, (int32_t)pool.kernels.count,
                                     thread_count(d), d->call->allocator, image, message);
    if (status == DLC_ERROR_INTERNAL) {
        const Kernel *kernel = image->failed;
        diag_report(&d->context.diags, DIAG_INTERNAL_CODE, kernel ? kernel->place : (Place){0},
                    kernel && kernel->op ? kernel->op : "", kernel && kernel->op ? ": " : "",
                    message);
        boundary_leave(&d->boundary, status);
    }
    if (status != DLC_OK) {
        driver_leave(d, status, message[0] ? message : "code generation failed");
    }
    for (size_t i = 0; i < tables->kernels.count; i++) {
        tables->kernels.items[i].entry = image->entries[i];
    }
    tables->image = image->bytes;
    tables->n_image = image->n_bytes;
    bool told = number > 0 && strcmp(d->images[number - 1].note, image->note) == 0;
    if (image->note[0] && !told) {
        diag_report(&d->context.diags, DIAG_TARGET_NOTE, (Place){0}, image->note);
    }
    if (target->figures) {
        tell_figures(d, target, machine, tables, image);
    }
}
