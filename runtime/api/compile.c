/* The public compile calls: opens libdlc-compile at the first of them and passes on. */
#include "runtime/border.h"
#include "runtime/compile_abi.h"
#include "runtime/session/session.h"

#include "ir/base/file.h"

#include <dlfcn.h>
#include <stdio.h>

#define COMPILE_LIBRARY "libdlc-compile.so.0"

/* Beside this library first, then wherever the system looks. */
static void *library_open(char *message, size_t n_message) {
    Dl_info here;
    char path[4096];
    if (dladdr((const void *)(uintptr_t)&dlc_version, &here) && here.dli_fname) {
        const char *slash = strrchr(here.dli_fname, '/');
        int n = slash ? snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - here.dli_fname),
                                 here.dli_fname, COMPILE_LIBRARY)
                      : 0;
        if (n > 0 && (size_t)n < sizeof(path)) {
            void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
            if (library) {
                return library;
            }
        }
    }
    void *library = dlopen(COMPILE_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        snprintf(message, n_message, "%s", why ? why : "");
    }
    return library;
}

static dlc_status module_open(dlc_context *context) {
    if (context->compile_module) {
        return DLC_OK;
    }
    char message[512] = "";
    void *library = library_open(message, sizeof(message));
    if (!library) {
        return context_fail(
            context, DLC_ERROR_UNSUPPORTED,
            "compiling needs %s, which is not installed beside libdlc (%s); running "
            "a plan does not need it",
            COMPILE_LIBRARY, message);
    }
    const CompileModule *(*get)(void) = NULL;
    void *symbol = dlsym(library, COMPILE_SYMBOL);
    memcpy(&get, &symbol, sizeof(get));
    const CompileModule *module = symbol ? get() : NULL;
    if (!module || module->abi != COMPILE_ABI_VERSION) {
        dlclose(library);
        return context_fail(context, DLC_ERROR_UNSUPPORTED,
                            "%s is of another version than libdlc %s", COMPILE_LIBRARY,
                            dlc_version_text());
    }
    context->compile_library = library;
    context->compile_module = module;
    return DLC_OK;
}

static void call_init(dlc_context *context, CompileCall *call, const dlc_compile_options *options,
                      const char *text, size_t length, const char *name) {
    *call = (CompileCall){.allocator = &context->allocator,
                          .options = options,
                          .text = text,
                          .length = length,
                          .name = name ? name : "input",
                          .cancelled = context->cancel,
                          .progress = context->progress,
                          .user = context->user};
}

/* Keeps the diagnostics and turns the call's message into the context's error. */
static dlc_status call_finish(dlc_context *context, CompileCall *call, dlc_status status) {
    for (int i = 0; i < 3; i++) {
        memory_free(&context->allocator, context->diagnostics[i]);
        context->diagnostics[i] = call->diagnostics[i];
    }
    context->n_errors = call->n_errors;
    context->n_warnings = call->n_warnings;
    if (status == DLC_OK) {
        return DLC_OK;
    }
    memory_free(&context->allocator, call->plan);
    memory_free(&context->allocator, call->result);
    call->plan = NULL;
    call->result = NULL;
    return context_fail(context, status, "%s",
                        call->message[0] ? call->message : dlc_status_text(status));
}

/* Stages that are read back from the finished plan. */
static bool emits_plan_text(const dlc_compile_options *options) {
    return options->emit &&
           (strcmp(options->emit, "schedule") == 0 || strcmp(options->emit, "plan") == 0);
}

static dlc_status plan_take(dlc_context *context, const dlc_compile_options *options,
                            CompileCall *call, dlc_plan **out) {
    if (!call->plan) {
        return DLC_OK; /* checked or emitted only */
    }
    dlc_plan *plan = NULL;
    dlc_status status = plan_adopt(context, call->plan, call->n_plan, call->name, &plan);
    memory_free(&context->allocator, call->plan);
    if (status != DLC_OK || !emits_plan_text(options)) {
        *out = status == DLC_OK ? plan : *out;
        return status;
    }
    char *text = NULL;
    if (strcmp(options->emit, "schedule") == 0) {
        status = dlc_plan_describe(plan, &text);
    }
    if (status == DLC_OK && options->on_text) {
        options->on_text(options->user, options->emit, text ? text : dlc_plan_manifest(plan));
    }
    dlc_text_free(context, text);
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
    dlc_status status = module_open(context);
    if (status != DLC_OK) {
        return status;
    }
    CompileCall call;
    call_init(context, &call, &given, text ? text : "", length, given.source_name);
    status = call_finish(context, &call, context->compile_module->compile(&call));
    dlc_plan *unwanted = NULL;
    return status == DLC_OK ? plan_take(context, &given, &call, out ? out : &unwanted) : status;
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

dlc_status plan_retarget(dlc_context *context, const char *ir, const char *target, unsigned flags,
                         dlc_plan **out) {
    dlc_compile_options options = {.struct_size = sizeof(options),
                                   .source_name = "the plan's IR",
                                   .targets = &target,
                                   .n_targets = 1,
                                   .flags = DLC_COMPILE_INPUT_IR | flags};
    return dlc_compile(context, ir, strlen(ir), &options, out);
}

static dlc_status text_call(dlc_context *context, const char *text, size_t length, const char *name,
                            bool format, char **out_text) {
    BORDER_CALL(context);
    if ((!text && (length > 0 || !format)) || !out_text) {
        return border_missing(context, !out_text ? "out_text" : format ? "text" : "topic");
    }
    dlc_status status = module_open(context);
    if (status != DLC_OK) {
        return status;
    }
    dlc_compile_options options = {.struct_size = sizeof(options)};
    CompileCall call;
    call_init(context, &call, &options, text ? text : "", length, name);
    const CompileModule *module = context->compile_module;
    status = format ? module->format(&call) : module->explain(&call);
    status = call_finish(context, &call, status);
    if (status == DLC_OK) {
        *out_text = call.result;
    }
    return status;
}

dlc_status dlc_format(dlc_context *context, const char *text, size_t length,
                      const char *source_name, char **out_text) {
    return text_call(context, text, length, source_name, true, out_text);
}

dlc_status dlc_explain(dlc_context *context, const char *topic, char **out_text) {
    return text_call(context, topic, topic ? strlen(topic) : 0, "topic", false, out_text);
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
