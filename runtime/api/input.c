/* Inputs as tensors of the caller's: checked, converted where every value fits, copied. */
#include "runtime/border.h"
#include "runtime/data/data_type.h"
#include "runtime/session/session.h"
#include "runtime/session/tensor.h"

#include <inttypes.h>

/* The tensor in the input's type, where every value fits; before anything of the input changes. The
 * caller frees *out. */
static dlc_status input_convert(dlc_session *session, const PlanArg *arg, const char *name,
                                const DLTensor *value, int32_t dtype, void **out) {
    const dlc_allocator *allocator = &session->context->allocator;
    int64_t n = tensor_elements(value), bad = 0;
    void *from = memory_new(allocator, (size_t)n, (size_t)plan_dtype_bytes(dtype));
    void *to = memory_new(allocator, (size_t)n, (size_t)plan_dtype_bytes(arg->type.dtype));
    dlc_status status = DLC_OK;
    if (!from || !to) {
        status = context_out_of_memory(session->context);
        goto done;
    }
    tensor_copy_out(value, from);
    ConvertResult result =
        data_convert(from, (DataType)dtype, to, (PlanDType)arg->type.dtype, n, 0, &bad);
    if (result != CONVERT_OK) {
        char element[DATA_VALUE_BYTES];
        data_value_text((const uint8_t *)from + bad * plan_dtype_bytes(dtype), (DataType)dtype,
                        element);
        status =
            context_fail(session->context, DLC_ERROR_MISMATCH,
                         "input '%s': element %" PRId64 " is %s, which %s %s", name, bad, element,
                         result == CONVERT_FRACTION ? "is not whole; the input is" : "does not fit",
                         plan_text(session->file, plan_whole(arg->type, &arg->part).text));
    }
done:
    memory_free(allocator, from);
    if (status == DLC_OK) {
        *out = to;
    } else {
        memory_free(allocator, to);
    }
    return status;
}

dlc_status dlc_set_input(dlc_session *session, const char *entry_name, const char *name,
                         const DLTensor *value) {
    BORDER_CALL(session ? session->context : NULL);
    if (!value) {
        return border_missing(session->context, "value");
    }
    EntryState *entry = session_entry(session, entry_name);
    if (!entry) {
        return DLC_ERROR_NOT_FOUND;
    }
    int32_t number = name ? entry_input_find(session, entry, name) : -1;
    if (number < 0) {
        char names[ENTRY_NAMES_BYTES];
        return context_fail(session->context, DLC_ERROR_NOT_FOUND,
                            "entry '%s' has no input '%s'; %s",
                            plan_text(session->file, entry->record->name), name ? name : "",
                            entry_names(session, entry, true, names));
    }
    int32_t dtype;
    dlc_status status = tensor_check(session->context, name, value, &dtype);
    if (status != DLC_OK) {
        return status;
    }
    const PlanArg *arg = &session->tables->args[entry->record->first_arg + number];
    void *packed = NULL;
    if (dtype != arg->type.dtype) {
        status = input_convert(session, arg, name, value, dtype, &packed);
        if (status != DLC_OK) {
            return status;
        }
    }
    void *data;
    status = session_input(session, entry, number, value->ndim, value->shape, &data);
    if (status == DLC_OK && packed) {
        memcpy(data, packed, (size_t)entry->inputs[number].bytes);
    } else if (status == DLC_OK) {
        tensor_copy_out(value, data);
    }
    memory_free(&session->context->allocator, packed);
    return status == DLC_OK ? session_input_done(session, entry, number) : status;
}
