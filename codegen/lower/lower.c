/* From one fused op to its kernels: the form chooses the lowering. */
#include "codegen/lower/lower.h"
#include <string.h>

typedef struct Form {
    const char *name;
    void (*lower)(KBuild *k);
} Form;

static const Form forms[] = {
    {"loop", lower_loop},       {"reduce", lower_reduce},       {"argreduce", lower_reduce},
    {"row", lower_row},         {"contract", lower_contract},   {"conv", lower_conv},
    {"scatter", lower_scatter}, {"sort", lower_sort},           {"prefix", lower_prefix},
    {"update", lower_update},   {"attention", lower_attention},
};

void lower_fusion(LowerContext *lower, const Op *fusion, LoweredOp *out) {
    const char *form = fusion_form(fusion);
    KBuild *k = kb_create(lower, fusion);
    void (*lowering)(KBuild *) = NULL;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (strcmp(forms[i].name, form) == 0) {
            lowering = forms[i].lower;
        }
    }
    if (!lowering) {
        INTERNAL_ERROR(lower->context, fusion->place, "fusion", "no lowering is called '%s'", form);
    }
    lowering(k);
    kb_finish(k, out);
}
