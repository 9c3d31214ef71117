/* The public compile calls: their arguments checked, then libdlc-compile asked. */
#include "runtime/plan_file/compile.h"
#include "runtime/border.h"
#include "runtime/plan_file/plan.h"
#include "runtime/session/session.h"

#include "ir/base/file.h"

/* Stages that are read back from the finished plan. */
static bool emits_plan_text(const dlc_compile_options *options) {
    return options->emit &&
           (strcmp(options->emit, "schedule") == 0 || strcmp(options->emit, "plan") == 0 ||
            strcmp(options->emit, "timeline") == 0);
}

/* The drawing of the plan's training step, or of what it has. */
static dlc_status timeline_of(dlc_plan *plan, char **out) {
    const char *name =
        plan_entry_find(&plan->file, plan_tables(plan), "train") >= 0 ? "train" : NULL;
    dlc_entry_info first = {.struct_size = sizeof(first)};
    if (!name && dlc_plan_entry(plan, 0, &first) == DLC_OK) {
        name = first.name;
    }
    return dlc_plan_timeline(plan, name, 0, NULL, 0, out);
}

/* Hands the plan to the caller, or what of it is to be printed to the hook. */
static dlc_status plan_take(dlc_plan *plan, const dlc_compile_options *options, dlc_plan **out) {
    if (!emits_plan_text(options)) {
        *out = plan;
        return DLC_OK;
    }
    char *text = NULL;
    dlc_status status = DLC_OK;
    if (strcmp(options->emit, "schedule") == 0) {
        status = dlc_plan_describe(plan, &text);
    } else if (strcmp(options->emit, "timeline") == 0) {
        status = timeline_of(plan, &text);
    }
    if (status == DLC_OK && options->on_text) {
        options->on_text(options->user, options->emit, text ? text : plan->file.manifest);
    }
    memory_free(&plan->context->allocator, text);
    plan_release(plan);
    return status;
}

static const unsigned known_flags = DLC_COMPILE_CHECK | DLC_COMPILE_INPUT_IR |
                                    DLC_COMPILE_VERIFY_EACH | DLC_COMPILE_TIME_PASSES |
                                    DLC_COMPILE_EXPLAIN | DLC_COMPILE_EMULATE_PRECISION |
                                    DLC_COMPILE_ACCUMULATE | DLC_COMPILE_NO_LIBRARIES;

static bool numbers_check(dlc_context *context, const dlc_compile_options *options) {
    return border_flags(context, "dlc_compile_options.flags", options->flags, known_flags) &&
           border_number(context, "dlc_compile_options.threads", options->threads, 0, INT64_MAX) &&
           border_number(context, "dlc_compile_options.memory_limit", options->memory_limit, 0,
                         INT64_MAX) &&
           border_amount(context, "dlc_compile_options.compile_seconds",
                         options->compile_seconds) &&
           border_number(context, "dlc_compile_options.compile_bytes", options->compile_bytes, 0,
                         INT64_MAX);
}

static dlc_status options_check(dlc_context *context, const char *text, size_t length,
                                const dlc_compile_options *options) {
    if (!numbers_check(context, options)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    if (!text && length > 0) {
        return border_missing(context, "text");
    }
    if ((!options->defines && options->n_defines > 0) ||
        (!options->targets && options->n_targets > 0)) {
        return border_missing(context, options->n_defines > 0 && !options->defines
                                           ? "dlc_compile_options.defines"
                                           : "dlc_compile_options.targets");
    }
    for (size_t i = 0; i < options->n_defines; i++) {
        if (!options->defines[i].name || !options->defines[i].value) {
            return border_missing(context, "a define's name or value");
        }
    }
    for (size_t i = 0; i < options->n_targets; i++) {
        if (!options->targets[i]) {
            return border_missing(context, "a target");
        }
    }
    if (!options->import_folders && options->n_import_folders > 0) {
        return border_missing(context, "dlc_compile_options.import_folders");
    }
    for (size_t i = 0; i < options->n_import_folders; i++) {
        if (!options->import_folders[i]) {
            return border_missing(context, "a folder of imports");
        }
    }
    return DLC_OK;
}

/* The program's bound is the front end's. */
enum { MAX_PROGRAM_BYTES = 16 << 20, MAX_IR_BYTES = 1 << 30 };

dlc_status dlc_compile(dlc_context *context, const char *text, size_t length,
                       const dlc_compile_options *options, dlc_plan **out) {
    BORDER_CALL(context);
    dlc_compile_options given;
    if (!border_options(context, "dlc_compile_options", &given, sizeof(given), options)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    dlc_status checked = options_check(context, text, length, &given);
    if (checked != DLC_OK) {
        return checked;
    }
    if (!out && !given.emit && !(given.flags & DLC_COMPILE_CHECK)) {
        return context_fail(context, DLC_ERROR_INVALID_ARGUMENT, "nowhere to put the plan");
    }
    dlc_plan *plan = NULL, *unwanted = NULL;
    dlc_status status = compile_text(context, text ? text : "", length, &given, &plan);
    return status == DLC_OK && plan ? plan_take(plan, &given, out ? out : &unwanted) : status;
}

dlc_status dlc_compile_file(dlc_context *context, const char *path,
                            const dlc_compile_options *options, dlc_plan **out) {
    BORDER_CALL(context);
    if (!path) {
        return border_missing(context, "path");
    }
    dlc_compile_options given;
    if (!border_options(context, "dlc_compile_options", &given, sizeof(given), options)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    given.struct_size = sizeof(given);
    given.source_name = given.source_name ? given.source_name : path;
    FileView view;
    char message[FILE_MESSAGE_BYTES] = "";
    const size_t most = given.flags & DLC_COMPILE_INPUT_IR ? MAX_IR_BYTES : MAX_PROGRAM_BYTES;
    dlc_status status = file_read_bounded(path, most, &view, message);
    if (status != DLC_OK) {
        return context_fail(context, status, "%s", message);
    }
    status = dlc_compile(context, (const char *)view.data, view.size, &given, out);
    file_view_close(&view);
    return status;
}

dlc_status dlc_format(dlc_context *context, const char *text, size_t length,
                      const char *source_name, char **out_text) {
    BORDER_CALL(context);
    if ((!text && length > 0) || !out_text) {
        return border_missing(context, !out_text ? "out_text" : "text");
    }
    return compile_format(context, text ? text : "", length, source_name, out_text);
}

dlc_status dlc_explain(dlc_context *context, const char *topic, char **out_text) {
    BORDER_CALL(context);
    if (!topic || !out_text) {
        return border_missing(context, !out_text ? "out_text" : "topic");
    }
    return compile_explain(context, topic, out_text);
}

void dlc_text_free(dlc_context *context, char *text) {
    if (context) {
        memory_free(&context->allocator, text);
    }
}

const char *dlc_diagnostics_text(const dlc_context *context, int color) {
    const char *text = context ? context->diagnostics[color ? 1 : 0] : NULL;
    return text ? text : "";
}

const char *dlc_diagnostics_json(const dlc_context *context) {
    return context && context->diagnostics[2] ? context->diagnostics[2] : "";
}

int dlc_error_count(const dlc_context *context) {
    return context ? context->n_errors : 0;
}

int dlc_warning_count(const dlc_context *context) {
    return context ? context->n_warnings : 0;
}
