/* Plans from libdlc-compile, which is opened at the first call of it. */
#include "runtime/plan_file/compile.h"
#include "runtime/compile_abi.h"
#include "runtime/plan_file/plan.h"

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

static dlc_status compile_on(dlc_context *context, const char *text, size_t length,
                             const dlc_compile_options *options, const char *mesh, dlc_plan **out) {
    dlc_status status = module_open(context);
    if (status != DLC_OK) {
        return status;
    }
    CompileCall call;
    call_init(context, &call, options, text, length, options->source_name);
    call.mesh = mesh;
    status = call_finish(context, &call, context->compile_module->compile(&call));
    if (status == DLC_OK && call.plan) {
        status = plan_adopt(context, call.name, call.plan, call.n_plan, out);
        memory_free(&context->allocator, call.plan);
    }
    return status;
}

dlc_status compile_text(dlc_context *context, const char *text, size_t length,
                        const dlc_compile_options *options, dlc_plan **out) {
    return compile_on(context, text, length, options, NULL, out);
}

dlc_status plan_retarget(dlc_context *context, const char *ir, const char *target,
                         const WantedMesh *wanted, unsigned flags, dlc_plan **out) {
    dlc_compile_options options = {.struct_size = sizeof(options),
                                   .source_name = "the plan's IR",
                                   .targets = &target,
                                   .n_targets = 1,
                                   .flags = DLC_COMPILE_INPUT_IR | flags,
                                   .zero = wanted ? wanted->zero : 0,
                                   .exchange = wanted ? wanted->exchange : NULL,
                                   .sequence = wanted ? wanted->sequence : NULL};
    return compile_on(context, ir, strlen(ir), &options, wanted ? wanted->axes : NULL, out);
}

/* What a call of the module that makes a text of a text gives. */
static dlc_status result_take(dlc_context *context, CompileCall *call, dlc_status status,
                              char **out_text) {
    status = call_finish(context, call, status);
    if (status == DLC_OK) {
        *out_text = call->result;
    }
    return status;
}

dlc_status compile_format(dlc_context *context, const char *text, size_t length, const char *name,
                          char **out_text) {
    dlc_status status = module_open(context);
    if (status != DLC_OK) {
        return status;
    }
    const dlc_compile_options options = {.struct_size = sizeof(options)};
    CompileCall call;
    call_init(context, &call, &options, text, length, name);
    return result_take(context, &call, context->compile_module->format(&call), out_text);
}

dlc_status compile_explain(dlc_context *context, const char *topic, char **out_text) {
    dlc_status status = module_open(context);
    if (status != DLC_OK) {
        return status;
    }
    const dlc_compile_options options = {.struct_size = sizeof(options)};
    CompileCall call;
    call_init(context, &call, &options, topic, strlen(topic), "topic");
    return result_take(context, &call, context->compile_module->explain(&call), out_text);
}
