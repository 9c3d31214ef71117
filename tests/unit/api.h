/* What tests of the public API share: calls that must succeed, programs from texts, tensors. */
#ifndef DLC_TESTS_UNIT_API_H
#define DLC_TESTS_UNIT_API_H

#include "dlc/dlc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define OK(context, call)                                                                          \
    do {                                                                                           \
        if ((call) != DLC_OK) {                                                                    \
            fail_msg("%s: %s\n%s", #call, dlc_last_error(context),                                 \
                     dlc_diagnostics_text((context), 0));                                          \
        }                                                                                          \
    } while (0)

/* `options` may be NULL. */
static inline dlc_plan *api_compile(dlc_context *context, const char *text,
                                    const dlc_compile_options *options) {
    dlc_plan *plan = NULL;
    OK(context, dlc_compile(context, text, strlen(text), options, &plan));
    return plan;
}

static inline DLTensor api_tensor(void *data, int32_t rank, int64_t *shape, int code, int bits) {
    return (DLTensor){.data = data,
                      .device = {kDLCPU, 0},
                      .ndim = rank,
                      .dtype = {(uint8_t)code, (uint8_t)bits, 1},
                      .shape = shape};
}

static inline DLTensor api_floats(float *data, int32_t rank, int64_t *shape) {
    return api_tensor(data, rank, shape, kDLFloat, 32);
}

#endif
