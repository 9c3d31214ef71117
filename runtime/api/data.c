/* The public face of datasets and tensor files, and the way from rows to inputs. */
#include "runtime/api/data.h"
#include "runtime/api/own_rows.h"

#include "ir/base/checked.h"
#include "runtime/border.h"
#include "runtime/session/tensor.h"
#include "runtime/session/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void dataset_end(ContextChild *child) {
    dlc_dataset *dataset = (dlc_dataset *)child;
    dlc_context *context = dataset->context;
    dataset_close(&dataset->data);
    memory_free(&context->allocator, dataset);
    border_child_ended(context);
}

dlc_status dlc_dataset_open(dlc_context *context, const char *path,
                            const dlc_dataset_options *options, dlc_dataset **out) {
    BORDER_CALL(context);
    dlc_dataset_options given;
    if (!path || !out) {
        return border_missing(context, !path ? "path" : "out");
    }
    if (!border_options(context, "dlc_dataset_options", &given, sizeof(given), options)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    if (!border_number(context, "dlc_dataset_options.window", given.window, 0, INT64_MAX) ||
        !border_number(context, "dlc_dataset_options.stride", given.stride, 0, INT64_MAX)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    dlc_dataset *dataset = memory_new(&context->allocator, 1, sizeof(*dataset));
    if (!dataset) {
        return context_out_of_memory(context);
    }
    dataset->context = context;
    DataOptions data_options = {.format = given.format,
                                .window = given.window,
                                .stride = given.stride,
                                .dtype = given.dtype,
                                .name = given.name};
    char message[DATA_MESSAGE_BYTES] = "";
    dlc_status status =
        dataset_open(&dataset->data, path, &data_options, &context->allocator, message);
    if (status != DLC_OK) {
        memory_free(&context->allocator, dataset);
        return context_fail(context, status, "%s", message);
    }
    border_child_begin(context, &dataset->child, dataset_end);
    *out = dataset;
    return DLC_OK;
}

dlc_status dlc_dataset_from_tensors(dlc_context *context, const char *const *names,
                                    const DLTensor *const *tensors, size_t count,
                                    dlc_dataset **out) {
    BORDER_CALL(context);
    if (!out || (count > 0 && (!names || !tensors))) {
        return border_missing(context, !out ? "out" : !names ? "names" : "tensors");
    }
    dlc_dataset *dataset = memory_new(&context->allocator, 1, sizeof(*dataset));
    if (!dataset) {
        return context_out_of_memory(context);
    }
    dataset->context = context;
    dataset_init(&dataset->data, &context->allocator);
    border_child_begin(context, &dataset->child, dataset_end);
    dlc_status status = DLC_OK;
    for (size_t i = 0; status == DLC_OK && i < count; i++) {
        int32_t dtype;
        status = names[i] ? tensor_check(context, names[i], tensors[i], &dtype)
                          : border_missing(context, "a field's name");
        if (status != DLC_OK) {
            break;
        }
        size_t bytes = (size_t)(tensor_elements(tensors[i]) * plan_dtype_bytes(dtype));
        void *copy = memory_new(&context->allocator, bytes, 1);
        if (!copy) {
            status = context_out_of_memory(context);
            break;
        }
        tensor_copy_out(tensors[i], copy);
        char message[DATA_MESSAGE_BYTES] = "";
        status = dataset_add(&dataset->data, names[i], (PlanDType)dtype, tensors[i]->ndim,
                             tensors[i]->shape, copy, message);
        memory_free(&context->allocator, copy);
        if (status != DLC_OK) {
            context_fail(context, status, "%s", message);
        }
    }
    if (status != DLC_OK) {
        dataset_end(&dataset->child);
        return status;
    }
    *out = dataset;
    return DLC_OK;
}

void dlc_dataset_destroy(dlc_dataset *dataset) {
    if (dataset) {
        border_child_end(dataset->context, &dataset->child);
    }
}

int64_t dlc_dataset_rows(const dlc_dataset *dataset) {
    return dataset ? dataset_rows(&dataset->data) : 0;
}

size_t dlc_dataset_field_count(const dlc_dataset *dataset) {
    return dataset ? (size_t)dataset->data.n_fields : 0;
}

dlc_status dlc_dataset_field(const dlc_dataset *dataset, size_t index, dlc_tensor_info *out) {
    BORDER_CALL(dataset ? dataset->context : NULL);
    if (!border_result_needed(dataset->context, "dlc_tensor_info", out)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    if (index >= (size_t)dataset->data.n_fields) {
        return context_fail(dataset->context, DLC_ERROR_NOT_FOUND, "the data have no field %zu",
                            index);
    }
    const DataField *field = &dataset->data.fields[index];
    dlc_tensor_info info = {.role = DLC_ROLE_INPUT,
                            .name = field->name,
                            .type = plan_dtype_name((int32_t)field->dtype),
                            .dtype = dl_dtype((int32_t)field->dtype),
                            .rank = field->rank + 1};
    info.dims[0] = field->n_rows;
    memcpy(info.dims + 1, field->dims,
           sizeof(*field->dims) *
               (size_t)(field->rank < DLC_MAX_RANK ? field->rank : DLC_MAX_RANK - 1));
    border_result_write(out, &info, sizeof(info));
    return DLC_OK;
}

dlc_status dlc_dataset_read(dlc_dataset *dataset, const char *name, const int64_t *rows,
                            int64_t count, void *out, size_t out_bytes) {
    BORDER_CALL(dataset ? dataset->context : NULL);
    const DataField *field = name ? dataset_field(&dataset->data, name) : NULL;
    if (!field) {
        return context_fail(dataset->context, DLC_ERROR_NOT_FOUND, "the data have no field '%s'",
                            name ? name : "");
    }
    if (count < 0 || (count > 0 && (!rows || !out))) {
        return context_fail(dataset->context, DLC_ERROR_INVALID_ARGUMENT, "reading '%s': %s", name,
                            count < 0 ? "a negative count"
                            : rows    ? "out is NULL"
                                      : "rows is NULL");
    }
    int64_t bytes = plan_dtype_bytes((int32_t)field->dtype);
    if (!checked_mul(bytes, field->row_elements, &bytes) || !checked_mul(bytes, count, &bytes) ||
        (uint64_t)bytes != out_bytes) {
        return context_fail(
            dataset->context, DLC_ERROR_INVALID_ARGUMENT,
            "%" PRId64 " rows of '%s', each %" PRId64 " values of %s, are not %zu bytes", count,
            name, field->row_elements, plan_dtype_name((int32_t)field->dtype), out_bytes);
    }
    char message[DATA_MESSAGE_BYTES] = "";
    dlc_status status = dataset_gather_rows(field, rows, count, out, field->dtype, 0, message);
    return status == DLC_OK ? DLC_OK : context_fail(dataset->context, status, "%s", message);
}

/* -- From rows to inputs -- */

/* The shape of `count` rows as the input wants it: axes of one may be missing in the data. */
static bool input_shape(const dlc_session *session, const PlanArg *arg, const DataField *field,
                        int64_t count, int64_t *dims) {
    if (arg->type.rank < 1) {
        return false;
    }
    dims[0] = count;
    int32_t from = 0;
    for (int32_t a = 1; a < arg->type.rank; a++) {
        int64_t size;
        PlanProgram program =
            session->file->sizes[plan_whole(arg->type, &arg->part).first_size + a];
        int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0};
        bool one = program.count == 1 &&
                   session->file->programs[program.first].code == PROGRAM_CONST &&
                   plan_eval(session->file, program, vars, &size) && size == 1;
        int32_t left = arg->type.rank - a, have = field->rank - from;
        if (one && (have < left || from == field->rank) &&
            (from == field->rank || field->dims[from] != 1)) {
            dims[a] = 1;
        } else if (from < field->rank) {
            dims[a] = field->dims[from++];
        } else {
            return false;
        }
    }
    return from == field->rank;
}

static dlc_status field_for(dlc_session *session, const Dataset *data, const PlanArg *arg,
                            const DataField **out) {
    const char *name = plan_text(session->file, arg->name);
    *out = dataset_field(data, name);
    if (*out) {
        return DLC_OK;
    }
    char have[512] = "";
    if (dataset_unreadable(data, name, have)) {
        return context_fail(session->context, DLC_ERROR_FORMAT, "%s", have);
    }
    size_t at = 0;
    for (int32_t i = 0; i < data->n_fields && at < sizeof(have); i++) {
        int n = snprintf(have + at, sizeof(have) - at, "%s%s", i ? ", " : "", data->fields[i].name);
        at += n > 0 ? (size_t)n : 0;
    }
    return context_fail(session->context, DLC_ERROR_NOT_FOUND,
                        "the data have no field '%s' for the input of that name; they have %s",
                        name, have);
}

static dlc_status shape_misfit(dlc_session *session, const PlanArg *arg, const DataField *field) {
    char shape[256];
    shape_text(field->dims, field->rank, shape, sizeof(shape));
    return context_fail(session->context, DLC_ERROR_MISMATCH,
                        "field '%s' has rows of shape %s; input %s is wanted", field->name, shape,
                        plan_text(session->file, plan_whole(arg->type, &arg->part).text));
}

dlc_status data_rows_note(dlc_session *session, EntryState *entry, const int64_t *rows,
                          int64_t count) {
    if (count > entry->rows_capacity) {
        int64_t *more =
            memory_new(&session->context->allocator, (size_t)count, sizeof(*entry->rows));
        if (!more) {
            return context_out_of_memory(session->context);
        }
        memory_free(&session->context->allocator, entry->rows);
        entry->rows = more;
        entry->rows_capacity = count;
    }
    if (count > 0) {
        memcpy(entry->rows, rows, (size_t)count * sizeof(*rows));
    }
    entry->n_rows = count;
    return DLC_OK;
}

dlc_status data_input_field(dlc_session *session, const Dataset *data, const PlanArg *arg,
                            int64_t count, const DataField **out, int64_t *out_dims) {
    dlc_status status = field_for(session, data, arg, out);
    if (status != DLC_OK) {
        return status;
    }
    return input_shape(session, arg, *out, count, out_dims) ? DLC_OK
                                                            : shape_misfit(session, arg, *out);
}

static dlc_status rows_gather(dlc_session *session, const PlanArg *arg, const int64_t *dims,
                              const DataField *field, const int64_t *rows, void *to) {
    char message[DATA_MESSAGE_BYTES] = "";
    OwnRows own;
    dlc_status status = own_rows_find(session, arg, dims, &own);
    if (status != DLC_OK) {
        return status;
    }
    status = own_rows_gather(&own, field, rows, to, (PlanDType)arg->type.dtype, message);
    own_rows_free(session, &own);
    return status == DLC_OK ? DLC_OK : context_fail(session->context, status, "%s", message);
}

dlc_status data_set_inputs(dlc_session *session, EntryState *entry, const Dataset *data,
                           const int64_t *rows, int64_t count) {
    double start = clock_seconds();
    dlc_status noted = data_rows_note(session, entry, rows, count);
    if (noted != DLC_OK) {
        return noted;
    }
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        if (arg->role != PLAN_ARG_INPUT) {
            continue;
        }
        const DataField *field;
        int64_t dims[PLAN_MAX_RANK];
        void *to;
        dlc_status status = data_input_field(session, data, arg, count, &field, dims);
        if (status != DLC_OK) {
            return status;
        }
        status = session_input(session, entry, i, arg->type.rank, dims, &to);
        if (status != DLC_OK) {
            return status;
        }
        status = rows_gather(session, arg, dims, field, rows, to);
        if (status == DLC_OK) {
            status = session_input_done(session, entry, i);
        }
        if (status != DLC_OK) {
            return status;
        }
        entry->inputs[i].is_of_data = true;
    }
    trace_host(session->ranks, "data", start);
    return DLC_OK;
}

dlc_status dlc_set_inputs(dlc_session *session, const char *name, dlc_dataset *dataset,
                          const int64_t *rows, int64_t count) {
    BORDER_CALL(session ? session->context : NULL);
    EntryState *entry = session_entry(session, name);
    if (!entry) {
        return DLC_ERROR_NOT_FOUND;
    }
    if (!dataset || (count > 0 && !rows)) {
        return border_missing(session->context, !dataset ? "dataset" : "rows");
    }
    if (count < 0) {
        return context_fail(session->context, DLC_ERROR_INVALID_ARGUMENT,
                            "%" PRId64 " rows are asked for", count);
    }
    return data_set_inputs(session, entry, &dataset->data, rows, count);
}

dlc_status dlc_session_bind_data(dlc_session *session, const char *name,
                                 const dlc_dataset *dataset) {
    BORDER_CALL(session ? session->context : NULL);
    if (!dataset) {
        return border_missing(session->context, "dataset");
    }
    EntryState *entry = session_entry(session, name);
    if (!entry) {
        return DLC_ERROR_NOT_FOUND;
    }
    const PlanFile *file = session->file;
    int32_t batch = plan_batch_dim(file, session->tables);
    int64_t dims[PLAN_MAX_DIMS];
    memcpy(dims, session->orders.dims, (size_t)file->n_dims * sizeof(*dims));
    int64_t usual[PLAN_MAX_DIMS];
    memcpy(usual, dims, sizeof(usual[0]) * (size_t)file->n_dims);
    dims_default(file, usual);
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        if (arg->role != PLAN_ARG_INPUT) {
            continue;
        }
        const DataField *field;
        int64_t shape[PLAN_MAX_RANK];
        dlc_status status = data_input_field(session, &dataset->data, arg, 0, &field, shape);
        if (status != DLC_OK) {
            return status;
        }
        int64_t fixed;
        PlanProgram rows = file->sizes[plan_whole(arg->type, &arg->part).first_size];
        shape[0] = plan_eval(file, rows, usual, &fixed) ? fixed : 0;
        status = shape_bind(session, field->name, plan_whole(arg->type, &arg->part), shape,
                            arg->type.rank, dims);
        if (status != DLC_OK) {
            return status;
        }
    }
    for (int32_t d = 0; d < file->n_dims; d++) {
        if (d != batch && dims[d] >= 0) {
            dlc_status status = session_bind_number(session, d, dims[d]);
            if (status != DLC_OK) {
                return status;
            }
        }
    }
    return DLC_OK;
}

/* The first axis of the entry's first input. */
static bool first_axis(const dlc_session *session, const EntryState *entry, PlanProgram *out) {
    for (int32_t i = 0; i < entry->record->n_args; i++) {
        const PlanArg *arg = &session->tables->args[entry->record->first_arg + i];
        if (arg->role == PLAN_ARG_INPUT && arg->type.rank > 0) {
            *out = session->file->sizes[plan_whole(arg->type, &arg->part).first_size];
            return true;
        }
    }
    return false;
}

bool data_batch_is_free(const dlc_session *session, const EntryState *entry) {
    PlanProgram rows;
    int32_t dim = first_axis(session, entry, &rows) ? plan_size_dim(session->file, rows) : -1;
    return dim >= 0 && session->orders.dims[dim] < 0;
}

dlc_status data_batch(dlc_session *session, const EntryState *entry, int64_t asked, int64_t *out) {
    PlanProgram rows;
    int64_t fixed = -1;
    if (first_axis(session, entry, &rows)) {
        int32_t dim = plan_size_dim(session->file, rows);
        int64_t vars[PLAN_MAX_DIMS + PLAN_MAX_LOOP_DEPTH] = {0};
        if (dim >= 0) {
            fixed = session->orders.dims[dim];
        } else if (!plan_eval(session->file, rows, vars, &fixed)) {
            fixed = -1;
        }
    }
    if (fixed >= 0 && asked > 0 && asked != fixed) {
        return context_fail(session->context, DLC_ERROR_MISMATCH,
                            "a batch of %" PRId64 " rows is asked for, but the plan's is fixed at "
                            "%" PRId64,
                            asked, fixed);
    }
    const char *setting = plan_setting(session->file, "batch");
    *out = asked > 0 ? asked : fixed >= 0 ? fixed : setting ? strtoll(setting, NULL, 10) : 32;
    return *out > 0 ? DLC_OK
                    : context_fail(session->context, DLC_ERROR_MISMATCH,
                                   "the batch of '%s' is fixed at no rows: bind its size to 1 or "
                                   "more",
                                   plan_text(session->file, entry->record->name));
}

dlc_status data_rows_check(dlc_session *session, const EntryState *entry, const char *who,
                           int64_t n_rows, int64_t wanted, bool whole) {
    bool is_free = data_batch_is_free(session, entry);
    if (n_rows == 0 && wanted > 0) {
        return context_fail(session->context, DLC_ERROR_MISMATCH, "the data %shave no rows", who);
    }
    if (n_rows < wanted && (whole || !is_free)) {
        return context_fail(
            session->context, DLC_ERROR_MISMATCH,
            "the data %shave %" PRId64 " row%s, a batch needs %" PRId64 "%s: give more rows%s", who,
            n_rows, n_rows == 1 ? "" : "s", wanted, is_free ? "" : ", at which it is fixed",
            is_free ? ", or ask for a smaller batch" : "");
    }
    return DLC_OK;
}

/* -- Tensor files -- */

/* A tensor of its own of one of the arrays of `file`. */
static dlc_status array_tensor(dlc_context *context, DataArrays *arrays, const DataArray *array,
                               const char *file, const char *path, DLManagedTensorVersioned **out) {
    if (array->unreadable) {
        return context_fail(context, DLC_ERROR_FORMAT, "%s", array->unreadable);
    }
    PlanDType dtype = data_type_natural(array->type);
    DLManagedTensorVersioned *tensor =
        tensor_new(&context->allocator, (int32_t)dtype, array->rank, array->dims);
    if (!tensor) {
        return context_out_of_memory(context);
    }
    int64_t bad = 0;
    char message[DATA_MESSAGE_BYTES] = "";
    dlc_status status = data_arrays_need(arrays, array, file, message);
    if (status != DLC_OK) {
        context_fail(context, status, "%s", message);
    } else if (data_convert(array->data, array->type, tensor->dl_tensor.data, dtype,
                            array->n_elements, 0, &bad) != CONVERT_OK) {
        status =
            context_fail(context, DLC_ERROR_MISMATCH, "%s: element %" PRId64 " does not fit %s",
                         path, bad, plan_dtype_name((int32_t)dtype));
    }
    if (status != DLC_OK) {
        tensor->deleter(tensor);
        return status;
    }
    *out = tensor;
    return DLC_OK;
}

dlc_status dlc_tensor_read(dlc_context *context, const char *path, DLManagedTensorVersioned **out) {
    BORDER_CALL(context);
    if (!path || !out) {
        return border_missing(context, !path ? "path" : "out");
    }
    char file[4096];
    const char *colon = access(path, F_OK) == 0 ? NULL : strrchr(path, ':');
    size_t length = colon ? (size_t)(colon - path) : strlen(path);
    if (length >= sizeof(file)) {
        return context_fail(context, DLC_ERROR_INVALID_ARGUMENT, "the path is too long");
    }
    memcpy(file, path, length);
    file[length] = '\0';
    char message[DATA_MESSAGE_BYTES] = "";
    DataArrays arrays;
    data_arrays_init(&arrays, &context->allocator);
    dlc_status status = data_arrays_open(&arrays, file, DATA_FORMAT_AUTO, DATA_U8, NULL, message);
    if (status != DLC_OK) {
        return context_fail(context, status, "%s", message);
    }
    const DataArray *array = colon                 ? data_arrays_find(&arrays, colon + 1)
                             : arrays.n_items == 1 ? &arrays.items[0]
                                                   : NULL;
    if (!array) {
        status =
            context_fail(context, DLC_ERROR_NOT_FOUND,
                         colon ? "%s holds no array '%s'" : "%s holds several arrays: add :NAME%s",
                         file, colon ? colon + 1 : "");
    } else {
        status = array_tensor(context, &arrays, array, file, path, out);
    }
    data_arrays_finish(&arrays);
    return status;
}

dlc_status dlc_tensor_write(dlc_context *context, const char *path, const DLTensor *tensor) {
    BORDER_CALL(context);
    if (!path) {
        return border_missing(context, "path");
    }
    int32_t dtype;
    dlc_status status = tensor_check(context, path, tensor, &dtype);
    if (status != DLC_OK) {
        return status;
    }
    static const char *const others[] = {".npz", ".safetensors", ".csv", ".gz"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        size_t n = strlen(others[i]), length = strlen(path);
        if (length > n && strcmp(path + length - n, others[i]) == 0) {
            return context_fail(context, DLC_ERROR_UNSUPPORTED,
                                "%s: one array is written as NPY: name a file that ends in .npy",
                                path);
        }
    }
    size_t bytes = (size_t)(tensor_elements(tensor) * plan_dtype_bytes(dtype));
    void *copy = memory_new(&context->allocator, bytes, 1);
    if (!copy) {
        return context_out_of_memory(context);
    }
    tensor_copy_out(tensor, copy);
    char message[DATA_MESSAGE_BYTES] = "";
    status = npy_write(path, (PlanDType)dtype, tensor->ndim, tensor->shape, copy,
                       &context->allocator, message);
    memory_free(&context->allocator, copy);
    return status == DLC_OK ? DLC_OK : context_fail(context, status, "%s", message);
}
