/* The rows of targets.def as a list. */
#include "codegen/target.h"
#include <string.h>

static const Target *const targets[] = {
#define TARGET(name) &target_##name,
#include "codegen/targets.def"
#undef TARGET
};

const Target *target_at(int index) {
    int count = (int)(sizeof(targets) / sizeof(targets[0]));
    return index >= 0 && index < count ? targets[index] : NULL;
}

const char *target_host(void) {
    for (int i = 0; target_at(i); i++) {
        if (target_at(i)->host) {
            return target_at(i)->host;
        }
    }
    return "";
}

const Target *target_find(const char *name) {
    for (int i = 0; target_at(i); i++) {
        if (strcmp(target_at(i)->name, name) == 0) {
            return target_at(i);
        }
    }
    return NULL;
}
