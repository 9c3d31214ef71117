/* See exchanges.h. */
#include "tools/exchanges.h"

#include <stdio.h>

static bool exchange_at(const dlc_plan *plan, const char *entry, size_t index,
                        const ExchangeSizes *sizes, dlc_exchange_info *out) {
    *out = (dlc_exchange_info){.struct_size = sizeof(*out)};
    return dlc_plan_exchange(plan, entry, index, sizes->ranks, sizes->bindings, sizes->n_bindings,
                             out) == DLC_OK;
}

/* "data,model": the axes whose bits are set. */
static void print_axes(const dlc_plan *plan, int32_t axes) {
    const char *between = "";
    for (size_t i = 0; i < dlc_plan_axis_count(plan); i++) {
        dlc_axis_info axis = {.struct_size = sizeof(axis)};
        if ((axes >> i & 1) && dlc_plan_axis(plan, i, &axis) == DLC_OK) {
            printf("%s%s", between, axis.name);
            between = ",";
        }
    }
}

int64_t exchanges_stated_ranks(const dlc_plan *plan) {
    int64_t stated = 1;
    dlc_axis_info axis = {.struct_size = sizeof(axis)};
    for (size_t i = 0; i < dlc_plan_axis_count(plan); i++) {
        stated *= dlc_plan_axis(plan, i, &axis) == DLC_OK && axis.size > 0 ? axis.size : 1;
    }
    return stated;
}

void exchanges_print_mesh(const dlc_plan *plan, int64_t ranks) {
    int64_t stated = exchanges_stated_ranks(plan);
    dlc_axis_info axis = {.struct_size = sizeof(axis)};
    for (size_t i = 0; i < dlc_plan_axis_count(plan); i++) {
        if (dlc_plan_axis(plan, i, &axis) == DLC_OK) {
            printf("%s%s=%lld", i ? ", " : "", axis.name,
                   (long long)(axis.size > 0 ? axis.size : ranks / stated));
        }
    }
}

/* "f32", "bf16", "i64", "bool". */
static const char *dtype_text(DLDataType dtype, char *out, size_t n_out) {
    const char *kind = dtype.code == kDLFloat    ? "f"
                       : dtype.code == kDLBfloat ? "bf"
                       : dtype.code == kDLUInt   ? "u"
                       : dtype.code == kDLBool   ? "bool"
                                                 : "i";
    if (dtype.code == kDLBool) {
        return "bool";
    }
    snprintf(out, n_out, "%s%d", kind, dtype.bits);
    return out;
}

void exchanges_print(const dlc_plan *plan, const char *entry, const ExchangeSizes *sizes) {
    size_t n = dlc_plan_exchange_count(plan, entry);
    dlc_exchange_info info;
    char a[32], type[16];
    double bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (!exchange_at(plan, entry, i, sizes, &info)) {
            return;
        }
        bytes += (double)info.bytes;
    }
    if (n == 0) {
        return;
    }
    printf("    each sends %s:\n", cli_bytes(bytes, a));
    for (size_t i = 0; i < n && exchange_at(plan, entry, i, sizes, &info); i++) {
        printf("    %s%s%s over ", info.kind, *info.combine ? " " : "", info.combine);
        print_axes(plan, info.over);
        printf(": %lld call%s, %lld element%s of %s, %s\n", (long long)info.calls,
               info.calls == 1 ? "" : "s", (long long)info.elements, info.elements == 1 ? "" : "s",
               dtype_text(info.dtype, type, sizeof(type)), cli_bytes((double)info.bytes, a));
    }
}

void exchanges_print_json(const dlc_plan *plan, const char *entry, const ExchangeSizes *sizes) {
    size_t n = dlc_plan_exchange_count(plan, entry);
    dlc_exchange_info info;
    char type[16];
    putchar('[');
    for (size_t i = 0; i < n && exchange_at(plan, entry, i, sizes, &info); i++) {
        printf("%s{\"kind\": \"%s\", \"combine\": \"%s\", \"type\": \"%s\", \"over\": \"",
               i ? ", " : "", info.kind, info.combine, dtype_text(info.dtype, type, sizeof(type)));
        print_axes(plan, info.over);
        printf("\", \"ranks\": %lld, \"group_ranks\": %lld, \"calls\": %lld, \"tensors\": %lld, "
               "\"elements\": %lld, \"bytes\": %lld}",
               (long long)info.ranks, (long long)info.group_ranks, (long long)info.calls,
               (long long)info.tensors, (long long)info.elements, (long long)info.bytes);
    }
    putchar(']');
}
