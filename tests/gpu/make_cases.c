/* Writes random graphs as a plan and a file of cases (case.h):
 *   make_cases FIRST COUNT PLAN CASES TARGET… */
#include "driver/compile.h"
#include "tests/gpu/case.h"
#include "tests/random/batch.h"
#include "tests/random/bytes.h"
#include "tests/unit/plain_allocator.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool write_file(const char *path, const void *bytes, size_t n) {
    FILE *file = fopen(path, "wb");
    bool good = file && fwrite(bytes, 1, n, file) == n;
    return file && fclose(file) == 0 && good;
}

static bool compile_to(Batch *batch, const char *path, const char *const *targets, int n_targets) {
    dlc_compile_options options = {.struct_size = sizeof options,
                                   .flags = DLC_COMPILE_INPUT_IR,
                                   .targets = targets,
                                   .n_targets = (size_t)n_targets};
    CompileCall call = {.allocator = &plain_allocator,
                        .options = &options,
                        .text = str_text(&batch->text),
                        .length = batch->text.length,
                        .name = "cases"};
    dlc_status status = dlc_compile_module_v1()->compile(&call);
    bool good = status == DLC_OK && write_file(path, call.plan, call.n_plan);
    if (!good) {
        fprintf(stderr, "make_cases: %s %s\n", call.message,
                call.diagnostics[0] ? call.diagnostics[0] : "");
    }
    free(call.plan);
    free(call.result);
    for (int i = 0; i < 3; i++) {
        free(call.diagnostics[i]);
    }
    return good;
}

static CaseTensor tensor_head(const char *name, const EvalTensor *tensor) {
    CaseTensor head = {.dtype = (int32_t)tensor->dtype, .rank = tensor->rank, .n = tensor->n};
    snprintf(head.name, sizeof head.name, "%s", name);
    for (int32_t i = 0; i < tensor->rank; i++) {
        head.dims[i] = tensor->dims[i];
    }
    return head;
}

/* As random_close and the comparison of derivatives in tests/random have it. */
static double allowed_error(const Graph *graph, const EvalTensor *wide,
                            const EvalTensor *declared) {
    double unit = graph->coarsest == DT_F16    ? 0x1p-10
                  : graph->coarsest == DT_BF16 ? 0x1p-7
                  : graph->coarsest == DT_F64  ? 0x1p-46
                                               : 0x1p-23;
    double scale = 0, apart = 0;
    for (int64_t i = 0; wide->f && i < wide->n; i++) {
        double size = fabs(wide->f[i]), off = fabs(wide->f[i] - declared->f[i]);
        scale = size > scale ? size : scale;
        apart = off > apart ? off : apart;
    }
    return graph->has_grad ? 1e-9 * fmax(scale, 1) : 60 * unit * (scale + 0.1) + 30 * apart;
}

static bool write_graph(FILE *file, const Graph *graph) {
    const Func *func = graph->func;
    CaseGraph head = {.dims = {graph->dims[0], graph->dims[1]},
                      .n_args = func->body->n_args,
                      .n_results = func->n_results};
    snprintf(head.entry, sizeof head.entry, "%s", func->name);
    bool good = fwrite(&head, sizeof head, 1, file) == 1;
    for (int32_t i = 0; i < head.n_args && good; i++) {
        const EvalTensor *arg = &graph->args[i];
        CaseTensor tensor = tensor_head(func->args[i].name, arg);
        DLDataType type = bytes_dtype(arg->dtype);
        size_t n = (size_t)arg->n * type.bits / 8;
        size_t padding = (8 - n % 8) % 8;
        void *bytes = bytes_of(arg);
        good = bytes && fwrite(&tensor, sizeof tensor, 1, file) == 1 &&
               fwrite(bytes, 1, n, file) == n &&
               fwrite("\0\0\0\0\0\0\0", 1, padding, file) == padding;
        free(bytes);
    }
    for (int32_t i = 0; i < head.n_results && good; i++) {
        const EvalTensor *wide = &graph->wide[i], *declared = &graph->declared[i];
        CaseTensor tensor = tensor_head(func->results[i].name, declared);
        tensor.allowed = allowed_error(graph, wide, declared);
        const void *values = wide->f ? (const void *)wide->f : (const void *)declared->i;
        good = fwrite(&tensor, sizeof tensor, 1, file) == 1 &&
               fwrite(values, 8, (size_t)tensor.n, file) == (size_t)tensor.n;
    }
    return good;
}

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr, "make_cases FIRST COUNT PLAN CASES TARGET...\n");
        return 2;
    }
    static Outcome outcomes[BATCH_MAX];
    Batch *batch = malloc(sizeof *batch);
    batch_init(batch);
    if (setjmp(batch->boundary.jump)) {
        fprintf(stderr, "make_cases: boundary left\n");
        return 1;
    }
    batch->module = module_create(&batch->context, "cases");
    uint64_t first = strtoull(argv[1], NULL, 10);
    for (int i = 0; i < atoi(argv[2]) && i < BATCH_MAX; i++) {
        batch_add(batch, first + (uint64_t)i);
    }
    if (!batch_evaluate(batch, outcomes)) {
        fprintf(stderr, "make_cases: the interpreter refuses a graph\n");
        return 1;
    }
    if (!compile_to(batch, argv[3], (const char *const *)argv + 5, argc - 5)) {
        return 1;
    }
    FILE *file = fopen(argv[4], "wb");
    CaseFile head = {.n_graphs = batch->n_graphs};
    memcpy(head.magic, CASE_MAGIC, sizeof head.magic);
    bool good = file && fwrite(&head, sizeof head, 1, file) == 1;
    for (int32_t i = 0; i < batch->n_graphs && good; i++) {
        good = write_graph(file, batch->graphs[i]);
    }
    good = file && fclose(file) == 0 && good;
    batch_finish(batch);
    free(batch);
    return good ? 0 : 1;
}
