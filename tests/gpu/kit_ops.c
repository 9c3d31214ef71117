/* Random graphs against what the interpreter said of them when the kit was built. */
#include "tests/gpu/case.h"
#include "tests/gpu/gpukit.h"

#include "ir/base/file.h"
#include "runtime/session/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Reader {
    const uint8_t *at, *end;
} Reader;

static const void *take(Reader *reader, uint64_t bytes) {
    if ((uint64_t)(reader->end - reader->at) < bytes) {
        return NULL;
    }
    const void *here = reader->at;
    reader->at += bytes;
    return here;
}

static DLDataType type_of(int32_t dtype) {
    switch (dtype) {
    case PLAN_F64:
        return (DLDataType){kDLFloat, 64, 1};
    case PLAN_F32:
        return (DLDataType){kDLFloat, 32, 1};
    case PLAN_F16:
        return (DLDataType){kDLFloat, 16, 1};
    case PLAN_BF16:
        return (DLDataType){kDLBfloat, 16, 1};
    case PLAN_I64:
        return (DLDataType){kDLInt, 64, 1};
    case PLAN_I32:
        return (DLDataType){kDLInt, 32, 1};
    case PLAN_I8:
        return (DLDataType){kDLInt, 8, 1};
    case PLAN_U8:
        return (DLDataType){kDLUInt, 8, 1};
    default:
        return (DLDataType){kDLBool, 8, 1};
    }
}

/* Element i as a number; floats of 16 bits are widened by hand. */
static double element(const void *data, int32_t dtype, int64_t i) {
    return element_double((const uint8_t *)data + i * plan_dtype_bytes(dtype), dtype);
}

static int64_t integer(const void *data, int32_t dtype, int64_t i) {
    switch (dtype) {
    case PLAN_I64:
        return ((const int64_t *)data)[i];
    case PLAN_I32:
        return ((const int32_t *)data)[i];
    case PLAN_I8:
        return ((const int8_t *)data)[i];
    default:
        return ((const uint8_t *)data)[i];
    }
}

static bool same(const CaseTensor *expected, const void *values, const DLTensor *got,
                 int64_t *out_at) {
    bool is_float = expected->dtype <= PLAN_BF16;
    for (int64_t i = 0; i < expected->n; i++) {
        double wide;
        int64_t whole;
        memcpy(&wide, (const char *)values + 8 * i, 8);
        memcpy(&whole, (const char *)values + 8 * i, 8);
        double value = is_float ? element(got->data, expected->dtype, i) : 0;
        bool good = is_float ? fabs(value - wide) <= expected->allowed || value == wide ||
                                   (isnan(value) && isnan(wide))
                             : integer(got->data, expected->dtype, i) == whole;
        if (!good) {
            *out_at = i;
            return false;
        }
    }
    return true;
}

/* The results' bytes, hashed: the same under every poison. */
static uint64_t results_check(Kit *kit, dlc_session *session, const CaseGraph *graph, Reader reader,
                              int poison) {
    uint64_t hash = 1;
    for (int32_t i = 0; i < graph->n_results; i++) {
        const CaseTensor *head = take(&reader, sizeof(CaseTensor));
        const void *values = head ? take(&reader, 8 * (uint64_t)head->n) : NULL;
        const DLTensor *tensor = NULL;
        int64_t at = 0;
        if (!values || dlc_view_output(session, graph->entry, head->name, &tensor) != DLC_OK) {
            kit_problem(kit, "%s: no result %d: %s", graph->entry, (int)i,
                        dlc_last_error(kit->context));
            return 0;
        }
        if (!same(head, values, tensor, &at)) {
            double wide;
            memcpy(&wide, (const char *)values + 8 * at, 8);
            kit_problem(kit, "%s, poison %d: %s, element %lld is %.9g, expected %.9g, allowed %.3g",
                        graph->entry, poison, head->name, (long long)at,
                        element(tensor->data, head->dtype, at), wide, head->allowed);
        }
        hash = hash_bytes(tensor->data, (size_t)(head->n * plan_dtype_bytes(head->dtype)), hash);
    }
    return hash;
}

static dlc_status inputs_set(dlc_session *session, const CaseGraph *graph, Reader *reader) {
    dlc_status status = DLC_OK;
    for (int32_t i = 0; i < graph->n_args && status == DLC_OK; i++) {
        const CaseTensor *head = take(reader, sizeof(CaseTensor));
        uint64_t bytes = head ? (uint64_t)(head->n * plan_dtype_bytes(head->dtype)) : 0;
        const void *data = head ? take(reader, (bytes + 7) / 8 * 8) : NULL;
        if (!data) {
            return DLC_ERROR_FORMAT;
        }
        int64_t shape[CASE_RANK];
        memcpy(shape, head->dims, sizeof shape);
        DLTensor tensor = {.data = (void *)(uintptr_t)data,
                           .device = {kDLCPU, 0},
                           .ndim = head->rank,
                           .dtype = type_of(head->dtype),
                           .shape = shape};
        status = dlc_set_input(session, graph->entry, head->name, &tensor);
    }
    return status;
}

/* One graph with one poison; *reader is past its arguments afterwards. */
static uint64_t run_graph(Kit *kit, dlc_plan *plan, const CaseGraph *graph, Reader *reader,
                          int poison) {
    dlc_binding bindings[] = {{"B", graph->dims[0]}, {"T", graph->dims[1]}};
    dlc_session_options options = {.struct_size = sizeof options,
                                   .bindings = bindings,
                                   .n_bindings = 2,
                                   .device = kit->device,
                                   .poison = poison};
    dlc_session *session = NULL;
    uint64_t hash = 0;
    dlc_status status = kit_session(kit, plan, &options, &session);
    if (status == DLC_OK) {
        status = inputs_set(session, graph, reader);
    }
    /* Twice: the second run of an entry may be a recorded one. */
    for (int run = 0; run < 2 && status == DLC_OK; run++) {
        status = dlc_run(session, graph->entry);
        if (status == DLC_OK) {
            uint64_t now = results_check(kit, session, graph, *reader, poison);
            if (run == 1 && now != hash) {
                kit_problem(kit, "%s: the second run differs", graph->entry);
            }
            hash = now;
        }
    }
    if (status != DLC_OK) {
        kit_problem(kit, "%s, poison %d: %s", graph->entry, poison, dlc_last_error(kit->context));
    }
    dlc_session_destroy(session);
    return hash;
}

void kit_ops(Kit *kit, const char *plan_path, const char *cases) {
    FileView view;
    char message[FILE_MESSAGE_BYTES] = "";
    if (file_view_open(cases, &view, message) != DLC_OK) {
        kit_problem(kit, "%s", message);
        return;
    }
    Reader reader = {view.data, view.data + view.size};
    const CaseFile *head = take(&reader, sizeof(CaseFile));
    dlc_plan *plan = kit_plan(kit, plan_path);
    int done = 0;
    for (int32_t i = 0; plan && head && i < head->n_graphs; i++) {
        const CaseGraph *graph = take(&reader, sizeof(CaseGraph));
        if (!graph) {
            kit_problem(kit, "%s is cut short", cases);
            break;
        }
        Reader start = reader;
        uint64_t plain = run_graph(kit, plan, graph, &reader, 0);
        for (int poison = 1; poison < 3; poison++) {
            if (kit->quick && poison == 1 + i % 2) {
                continue;
            }
            reader = start;
            if (run_graph(kit, plan, graph, &reader, poison) != plain) {
                kit_problem(kit, "%s: results depend on what memory held before", graph->entry);
            }
        }
        for (int32_t r = 0; r < graph->n_results; r++) {
            const CaseTensor *result = take(&reader, sizeof(CaseTensor));
            if (result) {
                (void)take(&reader, 8 * (uint64_t)result->n);
            }
        }
        done++;
    }
    printf("\"graphs\": %d", done);
    dlc_plan_destroy(plan);
    file_view_close(&view);
}
