/* Every launch of the examples, and of ResNet-50, fills a GPU: one with more than 4 MB of operands
 * has a tile for each processor, or for each item that it makes if those are fewer. Needs neither
 * NVRTC nor a GPU: plans hold the grids.
 *   test_tiles [--all] [ARCHITECTURE…]     default: sm_90 and sm_80; --all prints every launch
 * Each program is compiled with free sizes and with fixed ones (other kernels: a fixed length may
 * be a parameter of a kernel), and looked at as it would be run. */
#include "codegen/target.h"
#include "driver/compile.h"
#include "runtime/plan_file/read.h"
#include "tests/unit/plain_allocator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DIMS = 4, MOST_TARGETS = 8, LEAST_BYTES = 4 << 20, MOST_LOOPS = PLAN_MAX_LOOP_DEPTH };

typedef struct Program {
    const char *path;
    dlc_define dims[MOST_DIMS];  /* as people would run it, the batch that of its train block */
    dlc_define large[MOST_DIMS]; /* fixed sizes; none: the same */
} Program;

static const Program programs[] = {
    {"examples/char_lstm.dl", {{"B", "32"}, {"T", "256"}}, {{0}}},
    {"examples/digits.dl", {{"B", "64"}}, {{"B", "65536"}}},
    {"examples/fashion.dl", {{"B", "128"}}, {{0}}},
    {"examples/gpt2.dl", {{"B", "32"}, {"T", "1024"}}, {{0}}},
    {"examples/heat_pinn.dl", {{"N", "1024"}}, {{"N", "65536"}}},
    {"examples/resnet18.dl", {{"B", "256"}}, {{0}}},
    {"examples/tf_example.dl", {{"B", "32"}, {"I", "64"}}, {{"B", "65536"}, {"I", "64"}}},
    {"examples/torch_example.dl", {{"B", "32"}}, {{"B", "262144"}}},
    {"examples/unet.dl", {{"B", "8"}, {"H", "256"}, {"W", "256"}}, {{0}}},
    {"bench/resnet50.dl", {{"B", "256"}}, {{0}}},
};
enum { N_PROGRAMS = sizeof(programs) / sizeof(programs[0]) };

typedef struct Tally {
    const Program *program;
    const dlc_define *dims;
    const char *how; /* "free" or "fixed" sizes */
    const Machine *machine;
    bool all;
    int launches, large, bad;
} Tally;

typedef struct Walk {
    const PlanFile *file;
    const PlanTables *tables;
    int64_t vars[PLAN_MAX_DIMS + MOST_LOOPS];
} Walk;

static double value(const Walk *walk, PlanProgram program) {
    int64_t out = 0;
    if (program.count > 0 && !plan_eval(walk->file, program, walk->vars, &out)) {
        return -1;
    }
    return (double)out;
}

/* Elements of what the launch makes: of its largest result, or of its largest temporary where it
 * writes no result. */
static double items_of(const Walk *walk, const PlanEntry *entry, const PlanCommand *command) {
    double results = 0, temporaries = 0;
    for (int32_t i = 0; i < command->n_refs; i++) {
        const PlanRef *ref = &walk->tables->refs[command->first_ref + i];
        const PlanBuffer *buffer = &walk->tables->buffers[entry->first_buffer + ref->buffer];
        if (ref->written > 0) {
            double n = value(walk, ref->bytes) / plan_dtype_bytes(ref->written - 1);
            results = n > results ? n : results;
        } else if (strcmp(plan_text(walk->file, buffer->name), "temp") == 0) {
            double n = value(walk, buffer->bytes) / 4;
            temporaries = n > temporaries ? n : temporaries;
        }
    }
    return results > 0 ? results : temporaries;
}

/* Bytes of one operand or result: of the buffer, or, inside a loop, of what an iteration gets. */
static double ref_bytes(const Walk *walk, const PlanEntry *entry, const PlanRef *ref) {
    if (ref->offset.count > 0 && plan_program_uses_loops(walk->file, ref->offset)) {
        Walk next = *walk;
        for (int i = 0; i < MOST_LOOPS; i++) {
            next.vars[walk->file->n_dims + i] = 1;
        }
        double step = value(&next, ref->offset) - value(walk, ref->offset);
        return step < 0 ? -step : step;
    }
    return value(walk, walk->tables->buffers[entry->first_buffer + ref->buffer].bytes);
}

static double bytes_of(const Walk *walk, const PlanEntry *entry, const PlanCommand *command) {
    double total = 0;
    for (int32_t i = 0; i < command->n_refs; i++) {
        total += ref_bytes(walk, entry, &walk->tables->refs[command->first_ref + i]);
    }
    return total;
}

static void check_launch(Tally *tally, const Walk *walk, const PlanEntry *entry,
                         const PlanCommand *command) {
    const PlanFile *file = walk->file;
    double tiles = value(walk, command->extent), items = items_of(walk, entry, command);
    double bytes = bytes_of(walk, entry, command);
    double least = items < tally->machine->processors ? items : tally->machine->processors;
    bool large = bytes > LEAST_BYTES, bad = tiles < 0 || (large && tiles < least);
    tally->launches++;
    tally->large += large;
    tally->bad += bad;
    if (bad || tally->all) {
        printf("%s%s, sizes %s, %s: k%d %s: %.0f tiles for %.1f MB and %.0f items  # %s %s\n",
               bad ? "" : "  ", plan_text(file, entry->name), tally->how, tally->machine->name,
               command->kernel, plan_text(file, walk->tables->kernels[command->kernel].name), tiles,
               bytes / (1 << 20), items, plan_text(file, command->text),
               plan_text(file, command->place));
    }
}

static void check_plan(Tally *tally, const PlanFile *file) {
    Walk walk = {.file = file, .tables = &file->targets[0], .vars = {0}};
    for (int64_t i = 0; i < file->n_dims; i++) {
        const char *name = plan_text(file, file->dims[i].name);
        walk.vars[i] = file->dims[i].nominal > 0 ? file->dims[i].nominal : file->dims[i].low;
        for (int d = 0; d < MOST_DIMS && tally->dims[d].name; d++) {
            if (strcmp(name, tally->dims[d].name) == 0) {
                walk.vars[i] = strtoll(tally->dims[d].value, NULL, 10);
            }
        }
    }
    for (int64_t e = 0; e < walk.tables->n_entries; e++) {
        const PlanEntry *entry = &walk.tables->entries[e];
        for (int32_t i = 0; i < entry->n_commands; i++) {
            const PlanCommand *command = &walk.tables->commands[entry->first_command + i];
            if (command->kind == PLAN_LAUNCH) {
                check_launch(tally, &walk, entry, command);
            }
        }
    }
}

static char *read_text(const char *root, const char *path, size_t *out_length) {
    char name[1024];
    snprintf(name, sizeof(name), "%s/%s", root, path);
    FILE *file = fopen(name, "rb");
    char *text = calloc(1, 1 << 16);
    *out_length = file && text ? fread(text, 1, (1 << 16) - 1, file) : 0;
    if (file) {
        fclose(file);
    }
    return text;
}

static void check_program(Tally *tally, dlc_context *context, const char *root, bool fixed) {
    const Program *program = tally->program;
    char target[64];
    snprintf(target, sizeof(target), "cuda:%s", tally->machine->name);
    const char *targets[] = {target};
    size_t n_dims = 0, length;
    while (n_dims < MOST_DIMS && tally->dims[n_dims].name) {
        n_dims++;
    }
    dlc_compile_options options = {.struct_size = sizeof(options),
                                   .defines = tally->dims,
                                   .n_defines = fixed ? n_dims : 0,
                                   .targets = targets,
                                   .n_targets = 1};
    char *text = read_text(root, program->path, &length);
    CompileCall call = {.allocator = &plain_allocator,
                        .options = &options,
                        .text = text,
                        .length = length,
                        .name = program->path};
    PlanFile file;
    if (dlc_compile_module_v1()->compile(&call) != DLC_OK) {
        printf("%s does not compile: %s %s\n", program->path, call.message,
               call.diagnostics[0] ? call.diagnostics[0] : "");
        tally->bad++;
    } else if (plan_file_open(context, program->path, call.plan, call.n_plan, &file) != DLC_OK) {
        printf("%s: %s\n", program->path, dlc_last_error(context));
        tally->bad++;
    } else {
        check_plan(tally, &file);
        plan_file_close(context, &file);
    }
    free(text);
    free(call.plan);
    free(call.result);
    for (int i = 0; i < 3; i++) {
        free(call.diagnostics[i]);
    }
}

int main(int argc, char **argv) {
    static char usual[2][8] = {"sm_90", "sm_80"};
    char *names[MOST_TARGETS] = {usual[0], usual[1]}, message[512];
    bool all = argc > 1 && strcmp(argv[1], "--all") == 0;
    int n = argc - 1 - all, large = 0, launches = 0, bad = 0;
    for (int i = 0; i < n && i < MOST_TARGETS; i++) {
        names[i] = argv[1 + all + i];
    }
    n = n == 0 ? 2 : n < MOST_TARGETS ? n : MOST_TARGETS;
    const char *root = getenv("DLC_SOURCE_ROOT");
    dlc_context *context;
    setenv("DLC_CUDA_PATH", "-", 1); /* nothing need be compiled */
    if (dlc_context_create(NULL, &context) != DLC_OK) {
        return 1;
    }
    for (int i = 0; i < n; i++) {
        Machine machine;
        if (target_find("cuda")->describe(names[i], NULL, &machine, message) != DLC_OK) {
            printf("%s\n", message);
            return 1;
        }
        for (int p = 0; p < 2 * N_PROGRAMS; p++) {
            const Program *program = &programs[p / 2];
            bool large_sizes = p % 2 && program->large[0].name;
            Tally tally = {.program = program,
                           .dims = large_sizes ? program->large : program->dims,
                           .how = p % 2 ? "fixed" : "free",
                           .machine = &machine,
                           .all = all};
            check_program(&tally, context, root ? root : ".", p % 2);
            launches += tally.launches;
            large += tally.large;
            bad += tally.bad;
        }
    }
    dlc_context_destroy(context);
    printf("%d launches, %d of more than 4 MB, %d with too few tiles\n", launches, large, bad);
    return bad || large == 0 ? 1 : 0;
}
