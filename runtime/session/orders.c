/* What a rank asks its orders: scalars and counters by name. */
#include "runtime/session/rank.h"

const Scalar *orders_scalar(const Orders *orders, const char *name) {
    for (int32_t i = 0; i < orders->n_scalars; i++) {
        if (strcmp(orders->scalars[i].name, name) == 0) {
            return &orders->scalars[i];
        }
    }
    return NULL;
}

int64_t orders_counter(const Orders *orders, const char *name) {
    const Scalar *scalar = orders_scalar(orders, name);
    return scalar ? scalar->integer : 0;
}
