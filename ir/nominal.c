/* Nominal values that a program implies: see ir.h. */
#include "ir/ir.h"

#include <stdlib.h>

/* The dim that a step's rows are counted in: the leading axis of the train function's inputs. */
static const Dim *batch_dim(const Module *module) {
    for (const Func *func = module->first; func; func = func->next) {
        for (int32_t i = 0; func->purpose == PURPOSE_TRAIN && i < func->body->n_args; i++) {
            const Sharding *sharding = func->args[i].sharding;
            Type type = sharding ? sharding->whole : func->body->args[i]->type;
            if (func->args[i].role == ARG_INPUT && type.rank > 0 && size_as_dim(type.dims[0])) {
                return size_as_dim(type.dims[0]);
            }
        }
    }
    return NULL;
}

int64_t *module_imply_nominals(Module *module, Arena *arena) {
    enum { LONGEST = 1 << 16 };
    int64_t *stated = ARENA_ARRAY(arena, int64_t, module->n_dims + 1);
    const char *batch = map_get(&module->settings, "batch");
    const Dim *rows = batch ? batch_dim(module) : NULL;
    for (int32_t i = 0; i < module->n_dims; i++) {
        Dim *dim = (Dim *)module->dims[i];
        stated[i] = dim->nominal;
        int64_t implied = dim == rows               ? strtoll(batch, NULL, 10)
                          : dim->source != DIM_FREE ? rank_dim_nominal(module, dim)
                          : dim->high <= LONGEST    ? dim->high
                                                    : 0;
        if (dim->nominal == 0 && implied >= dim->low && implied <= dim->high) {
            dim->nominal = implied;
        }
    }
    return stated;
}

void module_restore_nominals(Module *module, const int64_t *stated) {
    for (int32_t i = 0; i < module->n_dims; i++) {
        ((Dim *)module->dims[i])->nominal = stated[i];
    }
}
