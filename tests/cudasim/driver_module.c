/* libcuda: modules, their functions, and launches. */
#include "tests/cudasim/driver.h"

#include <stdlib.h>
#include <string.h>

EXPORT Result cuModuleLoadDataEx(void **out, const void *image, unsigned n_options, int *options,
                                 void **values);
Result cuModuleLoadDataEx(void **out, const void *image, unsigned n_options, int *options,
                          void **values) {
    (void)n_options, (void)options, (void)values;
    ENTER();
    Module *module = NULL;
    result = module_load(image, settings.arch, current(), &module);
    if (result == SIM_SUCCESS) {
        alive.module_bytes[current()->device] += (int64_t)module->image_bytes;
        *out = module;
    }
    return leave(result);
}

EXPORT Result cuModuleUnload(void *handle);
Result cuModuleUnload(void *handle) {
    bool goes = enter();
    Module *module = handle;
    if (!module) {
        return leave(SIM_INVALID_HANDLE);
    }
    Ctx *ctx = module->context;
    queue_wait_context(ctx);
    alive.module_bytes[ctx->device] -= (int64_t)module->image_bytes;
    module_unload(module);
    return leave(goes ? ctx->broken : settings.fail_result);
}

EXPORT Result cuModuleGetFunction(void **out, void *module, const char *name);
Result cuModuleGetFunction(void **out, void *module, const char *name) {
    ENTER();
    *out = module_function(module, name);
    return leave(*out ? SIM_SUCCESS : SIM_NOT_FOUND);
}

EXPORT Result cuFuncGetAttribute(int *value, int attribute, void *handle);
Result cuFuncGetAttribute(int *value, int attribute, void *handle) {
    ENTER();
    const Function *function = handle;
    const CudasimKernel *kernel = function->kernel;
    int registers = kernel->registers > 0 ? kernel->registers : 32;
    switch (attribute) {
    case 0: {
        int most = 65536 / (((registers + 7) & ~7) * WARP) * WARP;
        most = most > 1024 ? 1024 : most;
        *value = kernel->max_threads > 0 && kernel->max_threads < most ? kernel->max_threads : most;
        break;
    }
    case 1:
        *value = 0;
        break; /* static shared memory: none */
    case 2:
        *value = 0;
        break;
    case 3:
        *value = kernel->stack_bytes > 0 ? kernel->stack_bytes : 0;
        break;
    case 4:
        *value = registers;
        break;
    case 5:
    case 6:
        *value = settings.arch;
        break;
    case 8:
        *value = (int)function->shared_allowed;
        break;
    default:
        report("cuFuncGetAttribute: attribute %d is not simulated", attribute);
        return leave(SIM_INVALID_VALUE);
    }
    return leave(SIM_SUCCESS);
}

EXPORT Result cuFuncSetAttribute(void *handle, int attribute, int value);
Result cuFuncSetAttribute(void *handle, int attribute, int value) {
    ENTER();
    Function *function = handle;
    if (attribute == 9) { /* preferred share of shared memory: a hint */
        return leave(SIM_SUCCESS);
    }
    if (attribute != 8 || value < 0 || (size_t)value > shared_opt_in()) {
        return leave(SIM_INVALID_VALUE);
    }
    function->shared_allowed = (size_t)value;
    return leave(SIM_SUCCESS);
}

static Result launch_check(const Function *function, unsigned grid, unsigned block, size_t shared) {
    const CudasimKernel *kernel = function->kernel;
    if (grid == 0 || grid > 2147483647u || block == 0 || block > MAX_THREADS) {
        report("kernel %s: a launch of %u blocks of %u threads", kernel->name, grid, block);
        return SIM_INVALID_VALUE;
    }
    if (shared > function->shared_allowed) {
        report("kernel %s: a launch with %zu bytes of shared memory, %zu are allowed", kernel->name,
               shared, function->shared_allowed);
        return SIM_INVALID_VALUE;
    }
    unsigned registers = kernel->registers > 0 ? ((unsigned)kernel->registers + 7) & ~7u : 0;
    unsigned warps = (block + WARP - 1) / WARP;
    if (registers * warps * WARP > 65536 ||
        (kernel->max_threads > 0 && block > (unsigned)kernel->max_threads)) {
        report("kernel %s: a launch of %u threads of %d registers, bounded to %d threads",
               kernel->name, block, kernel->registers, kernel->max_threads);
        return SIM_LAUNCH_OUT_OF_RESOURCES;
    }
    return SIM_SUCCESS;
}

EXPORT Result cuLaunchKernel(void *handle, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                             unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                             void *stream, void **parameters, void **extra);
Result cuLaunchKernel(void *handle, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                      unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                      void *stream, void **parameters, void **extra) {
    ENTER();
    Function *function = handle;
    if (grid_y != 1 || grid_z != 1 || block_y != 1 || block_z != 1 || extra) {
        report("kernel %s: only launches in one dimension are simulated", function->kernel->name);
        return leave(SIM_NOT_SUPPORTED);
    }
    result = launch_check(function, grid_x, block_x, shared);
    if (result != SIM_SUCCESS) {
        return leave(result);
    }
    Work work = {.kind = OP_LAUNCH,
                 .function = function,
                 .grid = grid_x,
                 .block = block_x,
                 .shared = shared};
    while (function->sizes[work.n_values]) {
        work.n_values++;
    }
    work.values = calloc(work_value_at(&work, work.n_values) + 16, 1);
    if (!work.values || work.n_values > MAX_PARAMETERS) {
        free(work.values);
        return leave(SIM_OUT_OF_MEMORY);
    }
    size_t n_bytes = 0;
    for (int i = 0; i < work.n_values; i++) {
        n_bytes += (function->sizes[i] + 7u) / 8 * 8;
    }
    if (n_bytes > MAX_PARAMETER_BYTES) {
        report("kernel %s: more than %d bytes of parameters", function->kernel->name,
               MAX_PARAMETER_BYTES);
        free(work.values);
        return leave(SIM_NOT_SUPPORTED);
    }
    for (int i = 0; i < work.n_values; i++) {
        memcpy(work.values + work_value_at(&work, i), parameters[i], function->sizes[i]);
    }
    return leave(queue_add(stream_of(stream), &work));
}
