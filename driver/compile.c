/* Compiles one program to one plan; see compile.h. Everything lives in arenas of this call; running
 * out of memory or meeting a limit jumps to the boundary here, which frees them and says so. */
#include "driver/driver.h"

#include "driver/explain.h"
#include "driver/manifest.h"
#include "driver/mesh.h"
#include "driver/places.h"
#include "frontend/frontend.h"
#include "frontend/parse/parse.h"
#include "ir/base/number.h"
#include "ir/mesh_layout.h"
#include "passes/accumulate.h"
#include "passes/pass.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* The program's module, from a program or from IR text; NULL when only diagnostics were wanted. */
static Module *front(Driver *d) {
    CompileCall *call = d->call;
    const dlc_compile_options *options = d->options;
    const Source *source = context_source(&d->context, call->name, call->text, call->length, false);
    char real[PATH_MAX];
    if (realpath(call->name, real)) { /* a file that imports the root means this text */
        d->imports[d->n_imports++] =
            (Import){.real = arena_strdup(&d->context.arena, real), .source = source};
    }
    if (options->flags & DLC_COMPILE_INPUT_IR) {
        Module *module = module_parse(&d->context, source);
        if (module) {
            (void)module_check_premises(module, false);
            d->module = module;
            driver_places_restore(d, source->text);
        }
        driver_check(d);
        return module;
    }
    if (driver_emits(d, "ast")) {
        AstFile *file = frontend_parse(&d->context, source);
        driver_check(d);
        ast_print(file, &d->text);
        driver_give_text(d, "ast");
        d->done = true;
        return NULL;
    }
    FrontendDefine *defines = ARENA_ARRAY(&d->scratch, FrontendDefine, options->n_defines + 1);
    for (size_t i = 0; i < options->n_defines; i++) {
        defines[i] = (FrontendDefine){options->defines[i].name, options->defines[i].value};
    }
    FrontendOptions front_options = {.source = source,
                                     .defines = defines,
                                     .n_defines = (int32_t)options->n_defines,
                                     .import = import_source,
                                     .import_user = d,
                                     .default_float = (DType)d->context.default_float};
    if (options->flags & DLC_COMPILE_CHECK) {
        frontend_check(&d->context, &front_options);
        driver_check(d);
        d->done = true;
        return NULL;
    }
    Module *module = frontend_compile(&d->context, &front_options);
    driver_check(d);
    return module;
}

static void verify(Driver *d, const char *after) {
    Str report;
    str_init(&report, d->call->allocator);
    bool sound = module_verify(d->module, &report);
    if (!sound) {
        snprintf(d->call->message, COMPILE_MESSAGE_BYTES,
                 "internal error: unsound IR after %s: %s (%s:%d)", after, str_text(&report),
                 source_name(__FILE__), __LINE__);
    }
    str_finish(&report);
    if (!sound) {
        boundary_leave(&d->boundary, DLC_ERROR_INTERNAL);
    }
}

/* -- Passes -- */

/* Makes the training step one of parts; see passes/accumulate.h. */
static void cut_training(Driver *d) {
    const char *problem = accumulate_module(&d->context, d->module);
    if (problem) {
        driver_leave(d, DLC_ERROR_UNSUPPORTED,
                     arena_format(&d->scratch,
                                  "a training step of this program cannot be computed in parts: %s",
                                  problem));
    }
    verify(d, "cutting the batch");
}

static void print_pass(void *user, const char *pass, const char *text) {
    Driver *d = user;
    if (d->options->on_text) {
        d->options->on_text(d->options->user, pass, text);
    }
}

/* -- Options that the plan keeps: what is compiled anew from its portable form obeys them too. They
 * are settings of the module. */

static void option_keep(Driver *d, const char *name, const char *value) {
    map_set(&d->module->settings, name, (void *)(uintptr_t)value);
}

static void options_keep(Driver *d) {
    const dlc_compile_options *options = d->options;
    if (options->flags & DLC_COMPILE_EMULATE_PRECISION) {
        option_keep(d, "emulate_precision", "yes");
    }
    if (options->flags & DLC_COMPILE_NO_LIBRARIES) {
        option_keep(d, "no_libraries", "yes");
    }
    if (options->memory_limit > 0) {
        option_keep(d, "memory_limit",
                    arena_format(&d->scratch, "%" PRId64, options->memory_limit));
    }
}

/* Whether an option was given, now or when the portable form was made. */
static bool option_kept(const Driver *d, unsigned flag, const char *name) {
    return (d->options->flags & flag) || map_get(&d->module->settings, name);
}

static int64_t memory_limit(const Driver *d) {
    const char *kept = map_get(&d->module->settings, "memory_limit");
    return d->options->memory_limit > 0 ? d->options->memory_limit
           : kept                       ? strtoll(kept, NULL, 10)
                                        : 0;
}

static void run_passes(Driver *d, const Machine *machine) {
    const dlc_compile_options *options = d->options;
    const char *emit =
        options->emit && strcmp(options->emit, "grad") == 0 ? "differentiate" : options->emit;
    bool stops = emit && driver_pass_known(emit);
    PipelineOptions pipeline = {.stop_after = stops ? emit : NULL,
                                .print_after = options->print_after,
                                .print = print_pass,
                                .print_user = d,
                                .verify_each = (options->flags & DLC_COMPILE_VERIFY_EACH) != 0,
                                .time_passes = (options->flags & DLC_COMPILE_TIME_PASSES) != 0,
                                .explains = (options->flags & DLC_COMPILE_EXPLAIN) != 0,
                                .memory_limit = memory_limit(d),
                                .skip = options->skip_passes};
    PipelineReport report = {0};
    bool ok = passes_run(d->module, machine, &pipeline, &report);
    if (options->flags & DLC_COMPILE_TIME_PASSES) {
        for (size_t i = 0; i < report.times.count; i++) {
            const PassTime *time = &report.times.items[i];
            str_addf(&d->text, "%-16s %9s ms  %6d -> %6d ops%s\n", time->pass,
                     number_fixed(1e3 * time->seconds, 3).text, time->ops_before, time->ops_after,
                     time->changed ? "" : "  (no change)");
        }
        driver_give_text(d, "times");
    }
    for (size_t i = 0; i < report.shardings.count; i++) {
        str_add(&d->text, report.shardings.items[i]);
    }
    if (report.shardings.count > 0) {
        driver_give_text(d, "explain");
    }
    driver_check(d);
    if (!ok) {
        driver_leave(d, DLC_ERROR_COMPILE, "the passes failed");
    }
    if (stops) {
        module_print(d->module, &d->text);
        driver_give_text(d, options->emit);
        d->done = true;
    }
}

/* The IR that a plan carries: as the front end made it, before anything machine-dependent; with the
 * places of its ops. */
static const char *portable_ir(Driver *d) {
    module_print(d->module, &d->text);
    driver_places_add(d->module, &d->text);
    if (d->text.failed) {
        driver_leave(d, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
    }
    const char *ir = arena_strndup(&d->scratch, str_text(&d->text), d->text.length);
    str_clear(&d->text);
    return ir;
}

/* Names the program in the plan, for checkpoints: as the front end made it, before the batch is
 * cut. IR text that comes from a plan has the name with it. */
static const char *program_name(Driver *d) {
    const char *name = map_get(&d->module->settings, "program");
    if (name) {
        return name;
    }
    uint64_t hash = driver_program_hash(d);
    if (d->text.failed) {
        driver_leave(d, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
    }
    return arena_format(&d->scratch, "%016llx", (unsigned long long)hash);
}

/* Whether the machine computes in what the program's `precision` names; elsewhere it is f32. */
static bool has_precision(const Driver *d, const Machine *machine) {
    const char *precision = map_get(&d->module->settings, "precision");
    return !precision || (strcmp(precision, "bf16") == 0  ? machine->has_bf16
                          : strcmp(precision, "f16") == 0 ? machine->has_f16
                                                          : true);
}

/* A machine that is asked for its speed and lacks the type is no place for the program. */
static void refuse_precision(Driver *d, const Machine *machine) {
    if (machine->precise_from) {
        driver_leave(
            d, DLC_ERROR_UNSUPPORTED,
            arena_format(&d->scratch,
                         "%s:%s has no %s, which the program's `precision` asks for: compile for "
                         "%s or later, or say `precision f16` or `precision f32`",
                         machine->target, machine->name,
                         (const char *)map_get(&d->module->settings, "precision"),
                         machine->precise_from));
    }
}

/* From the portable form, which has the same ops in the same order as the module it was made of. */
static void start_again(Driver *d, const char *ir) {
    const Source *source = context_source(&d->context, "plan", ir, strlen(ir), false);
    module_destroy(d->module);
    d->module = NULL;
    d->module = module_parse(&d->context, source);
    driver_check(d);
    driver_places_restore(d, ir);
}

/* The program's module, verified; done where that is all that is asked for. */
static void read_program(Driver *d) {
    driver_check_names(d);
    driver_stage(d, "reading the program", 0);
    d->module = front(d);
    if (d->done) {
        return;
    }
    if (!d->module) {
        driver_leave(d, DLC_ERROR_COMPILE, "the program has errors");
    }
    driver_mesh(d);
    verify(d, "the front end");
}

static void setting_add(Driver *d, PlanWriter *writer, const char *name, const char *value) {
    PlanSetting setting = {0};
    setting.name = plan_writer_string(writer, name);
    setting.value = plan_writer_string(writer, value);
    VEC_PUSH(&d->scratch, &writer->settings, setting);
}

/* The target's machine, as the options want it. */
static const Target *machine_for(Driver *d, const char *name, Machine *out) {
    const Target *target = driver_target(d, name, out);
    if (option_kept(d, DLC_COMPILE_EMULATE_PRECISION, "emulate_precision")) {
        out->has_bf16 = out->has_f16 = true;
    }
    if (option_kept(d, DLC_COMPILE_NO_LIBRARIES, "no_libraries")) {
        out->has_libraries = false;
    }
    return target;
}

/* The module from its portable form to the code of target number `t`. */
static void compile_for(Driver *d, PlanWriter *writer, const Target *target, const Machine *machine,
                        int t) {
    if (t > 0) {
        /* Passes are machine-dependent from fusion on. */
        start_again(d, writer->ir);
    }
    driver_stage(d, "optimising", 0.2);
    run_passes(d, machine);
    if (d->done) {
        return;
    }
    if (t == 0) {
        plan_writer_ranks(writer, d->module);
    } else if ((size_t)d->module->n_dims != writer->dims.count) {
        driver_leave(d, DLC_ERROR_INTERNAL, "targets differ in the dims of their ranks");
    }
    if (d->options->flags & DLC_COMPILE_INPUT_IR) {
        (void)module_check_premises(d->module, true);
        driver_check(d);
    }
    const char *remat = t == 0 ? map_get(&d->module->settings, "remat") : NULL;
    if (remat) {
        setting_add(d, writer, "remat", remat);
    }
    if (d->options->flags & DLC_COMPILE_EXPLAIN) {
        explain_fusions(d->module, &d->text);
        driver_give_text(d, "explain");
    }
    driver_code(d, writer, target, machine, t);
}

/* The layout in force, as a block that a program may have. */
static void tell_layout(Driver *d, PlanWriter *writer) {
    const char *block = driver_mesh_block(d);
    if (!block) {
        return;
    }
    setting_add(d, writer, "layout", block);
    if (d->options->flags & DLC_COMPILE_EXPLAIN) {
        str_add(&d->text, block);
        driver_give_text(d, "explain");
    }
}

/* The code of every target; names those that compute in f32 what the program wants narrower. */
static const char *compile_targets(Driver *d, PlanWriter *writer, const char *const *targets,
                                   size_t n_targets) {
    Machine *machines = ARENA_ARRAY(&d->scratch, Machine, n_targets);
    const char *plain = NULL;
    for (size_t t = 0; t < n_targets && !d->done; t++) {
        const Target *target = machine_for(d, targets[t], &machines[t]);
        if (!has_precision(d, &machines[t])) {
            refuse_precision(d, &machines[t]);
            plain = arena_format(&d->scratch, "%s%s%s:%s", plain ? plain : "", plain ? ", " : "",
                                 machines[t].target, machines[t].name);
        }
        compile_for(d, writer, target, &machines[t], (int)t);
    }
    return plain;
}

static void drive(Driver *d) {
    read_program(d);
    if (d->done) {
        return;
    }
    const char *program = program_name(d);
    if (d->options->flags & DLC_COMPILE_ACCUMULATE) {
        cut_training(d);
    }
    if (driver_emits(d, "ir")) {
        module_print(d->module, &d->text);
        driver_give_text(d, "ir");
        d->done = true;
        return;
    }
    const char *targets[MAX_TARGETS];
    size_t n_targets = driver_targets(d, targets);
    if (!d->options->emit || driver_emits(d, "plan")) {
        map_set(&d->module->settings, "program", (void *)(uintptr_t)program);
        options_keep(d);
    }
    PlanWriter writer;
    plan_writer_init(&writer, &d->context, &d->scratch);
    writer.ir = portable_ir(d);
    setting_add(d, &writer, "model", d->module->name);
    plan_writer_module(&writer, d->module);
    tell_layout(d, &writer);
    const char *plain = compile_targets(d, &writer, targets, n_targets);
    if (d->done) {
        return;
    }
    if (d->troubled.length > 0) {
        diag_report(&d->context.diags, DIAG_KERNEL_SPILLS, (Place){0}, str_text(&d->troubled));
    }
    if (plain) {
        setting_add(d, &writer, "computed_in_f32", plain);
    }
    writer.manifest = manifest_text(&writer, d->module, &d->text);
    driver_stage(d, "writing the plan", 0.95);
    plan_writer_finish(&writer, &d->plan);
    if (d->plan.failed) {
        driver_leave(d, DLC_ERROR_OUT_OF_MEMORY, "out of memory");
    }
}

/* -- The module's functions -- */

static char *text_take(const CompileCall *call, const Str *text) {
    char *copy = call->allocator->alloc(call->allocator->user, text->length + 1);
    if (copy) {
        memcpy(copy, str_text(text), text->length + 1);
    }
    return copy;
}

static void diagnostics_take(Driver *d) {
    CompileCall *call = d->call;
    const DiagList none = {.arena = NULL};
    const DiagList *diags = d->context.diags.is_trial ? &none : &d->context.diags;
    for (int form = 0; form < 3; form++) {
        Str text;
        str_init(&text, call->allocator);
        for (size_t i = 0; i < diags->count; i++) {
            if (form == 2) {
                diag_print_json(diags->items[i], &text);
                str_add(&text, "\n");
            } else {
                diag_print(diags->items[i], &text, form == 1);
            }
        }
        call->diagnostics[form] = text.failed ? NULL : text_take(call, &text);
        str_finish(&text);
    }
    call->n_errors = diags->n_errors;
    call->n_warnings = diags->n_warnings;
}

static void driver_init(Driver *d, CompileCall *call) {
    memset(d, 0, sizeof(*d));
    d->call = call;
    d->options = call->options;
    str_init(&d->plan, call->allocator);
    str_init(&d->text, call->allocator);
    str_init(&d->troubled, call->allocator);
}

static void driver_finish(Driver *d) {
    module_destroy(d->module);
    for (int i = 0; i < d->n_imports; i++) {
        file_view_close(&d->imports[i].view);
    }
    for (int i = 0; i < MAX_TARGETS; i++) {
        target_image_finish(&d->images[i], d->call->allocator);
    }
    arena_finish(&d->scratch);
    context_finish(&d->context);
    str_finish(&d->plan);
    str_finish(&d->text);
    str_finish(&d->troubled);
}

/* Runs `work` inside a boundary and frees everything afterwards. */
static dlc_status guarded(CompileCall *call, void (*work)(Driver *d)) {
    Driver *d = call->allocator->alloc(call->allocator->user, sizeof(*d));
    if (!d) {
        snprintf(call->message, COMPILE_MESSAGE_BYTES, "out of memory");
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    driver_init(d, call);
    if (setjmp(d->boundary.jump) == 0) {
        const char *wide = call->options->float_type;
        context_init(&d->context, call->allocator, &d->boundary);
        boundary_budget(&d->boundary,
                        call->options->compile_bytes > 0 ? (size_t)call->options->compile_bytes : 0,
                        call->options->compile_seconds);
        arena_init(&d->scratch, call->allocator, &d->boundary);
        d->context.default_float = wide && strcmp(wide, "f64") == 0 ? DT_F64 : DT_F32;
        if (wide && strcmp(wide, "f32") != 0 && strcmp(wide, "f64") != 0) {
            driver_leave(
                d, DLC_ERROR_INVALID_ARGUMENT,
                arena_format(&d->scratch, "the type of floats is f32 or f64, not '%.64s'", wide));
        }
        work(d);
    }
    dlc_status status = d->boundary.status;
    if (status == DLC_OK && !d->done && d->plan.length > 0) {
        call->plan = call->allocator->alloc(call->allocator->user, d->plan.length);
        if (call->plan) {
            memcpy(call->plan, d->plan.text, d->plan.length);
            call->n_plan = d->plan.length;
        } else {
            status = DLC_ERROR_OUT_OF_MEMORY;
        }
    }
    if (status == DLC_OK && d->text.length > 0) {
        call->result = text_take(call, &d->text);
        status = call->result ? DLC_OK : DLC_ERROR_OUT_OF_MEMORY;
    }
    if (setjmp(d->boundary.jump) == 0) { /* printing may need the arena */
        diagnostics_take(d);
    }
    if (status != DLC_OK && !call->message[0]) {
        bool told = d->context.diags.count > 0 &&
                    (status == DLC_ERROR_INTERNAL || status == DLC_ERROR_INVALID_ARGUMENT);
        const char *limit =
            d->boundary.limit ? d->boundary.limit : "a limit of the compiler was met";
        snprintf(call->message, COMPILE_MESSAGE_BYTES, "%s",
                 told ? d->context.diags.items[d->context.diags.count - 1]->message
                 : status == DLC_ERROR_LIMIT         ? limit
                 : status == DLC_ERROR_OUT_OF_MEMORY ? "out of memory"
                                                     : "");
    }
    driver_finish(d);
    call->allocator->free(call->allocator->user, d);
    return status;
}

static dlc_status compile(CompileCall *call) {
    return guarded(call, drive);
}

static void format_work(Driver *d) {
    const Source *source =
        context_source(&d->context, d->call->name, d->call->text, d->call->length, false);
    d->done = true;
    if (!frontend_format(&d->context, source, &d->text)) {
        driver_leave(d, DLC_ERROR_COMPILE, "the program has errors");
    }
    if (d->text.length == 0) {
        str_add(&d->text, "\n");
    }
}

static dlc_status format(CompileCall *call) {
    return guarded(call, format_work);
}

/* A row's format with "…" for each value that it takes. */
static void add_readable(Str *out, const char *format) {
    while (*format) {
        size_t plain = strcspn(format, "%");
        str_add_bytes(out, format, plain);
        format += plain;
        if (format[0] == '%' && format[1] == '%') {
            str_add_char(out, '%');
            format += 2;
        } else if (format[0] == '%') {
            format += 1 + strspn(format + 1, "-+ #0123456789.*lhzjt");
            format += *format != '\0';
            str_add(out, "…");
        }
    }
}

static void explain_work(Driver *d) {
    static const char *const names[DIAG_COUNT] = {
#define DIAG(id, name, severity, text) [DIAG_##name] = text,
#include "ir/base/diag.def"
#undef DIAG
    };
    const char *topic = d->call->text;
    d->done = true;
    if (strcmp(topic, "ops") == 0) {
        for (int i = 0; i < OP_CODE_COUNT; i++) {
            str_addf(&d->text, "%-18s %s\n", op_info((OpCode)i)->name, op_info((OpCode)i)->doc);
        }
        return;
    }
    if (strcmp(topic, "passes") == 0) {
        for (int i = 0; pass_name(i); i++) {
            str_addf(&d->text, "%-16s %s\n", pass_name(i), pass_doc(i));
        }
        return;
    }
    if (strcmp(topic, "mesh") == 0) {
        mesh_axis_explain(&d->text);
        return;
    }
    for (int i = 0; i < DIAG_COUNT; i++) {
        if (strcmp(diag_code((DiagId)i), topic) == 0) {
            str_addf(&d->text, "%s: ", topic);
            add_readable(&d->text, names[i]);
            str_add(&d->text, "\n");
            return;
        }
    }
    driver_leave(d, DLC_ERROR_NOT_FOUND,
                 "no such diagnostic; topics are E0101 and the like, mesh, ops, passes");
}

static dlc_status explain(CompileCall *call) {
    return guarded(call, explain_work);
}

const CompileModule *dlc_compile_module_v1(void) {
    static const CompileModule module = {COMPILE_ABI_VERSION, compile, format, explain};
    return &module;
}
