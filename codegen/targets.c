/* The backends of this build, in the order they are listed to users. */
#include "codegen/cpu/cpu.h"
#include "codegen/cuda/cuda.h"
#include "codegen/null/null.h"
#include "codegen/target.h"
#include <string.h>

static const Target *const targets[] = {&target_cpu, &target_cuda, &target_null};

const Target *target_at(int index) {
    int count = (int)(sizeof(targets) / sizeof(targets[0]));
    return index >= 0 && index < count ? targets[index] : NULL;
}

const Target *target_find(const char *name) {
    for (int i = 0; target_at(i); i++) {
        if (strcmp(target_at(i)->name, name) == 0) {
            return target_at(i);
        }
    }
    return NULL;
}
