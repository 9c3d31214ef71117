/* The mesh that a plan is for: what the options ask, laid over what the program says. Without an
 * option a plan is for one device, whatever the program says. */
#include "driver/mesh.h"

#include "ir/mesh_layout.h"
#include "passes/hint.h"

#include <string.h>

static void find_hint(Op *op, void *user) {
    bool *found = user;
    *found = *found || op->code == OP_shard_hint;
}

static bool has_hints(const Driver *d) {
    bool found = false;
    for (Func *func = d->module->first; func && !found; func = func->next) {
        func_each_op(func, find_hint, &found);
    }
    return found;
}

/* Of a module whose ranks and hints do not count: a checkpoint goes on under others. */
static uint64_t bare_hash(Module *module, Str *scratch) {
    int32_t n_axes = module->n_mesh_axes;
    module->n_mesh_axes = 0;
    uint64_t hash = module_hash(module, scratch);
    module->n_mesh_axes = n_axes;
    return hash;
}

uint64_t driver_program_hash(Driver *d) {
    if (!has_hints(d)) {
        return bare_hash(d->module, &d->text);
    }
    module_print(d->module, &d->text);
    const Source *source =
        context_source(&d->context, "plan", str_text(&d->text), d->text.length, false);
    str_clear(&d->text);
    Module *bare = module_parse(&d->context, source);
    driver_check(d);
    for (Func *func = bare->first; func; func = func->next) {
        (void)hints_drop(func);
    }
    uint64_t hash = bare_hash(bare, &d->text);
    module_destroy(bare);
    return hash;
}

/* Leaves where the options say how a mesh is used and there is none. */
static void refuse_without_mesh(Driver *d) {
    const dlc_compile_options *options = d->options;
    if (options->zero > 0 || options->schedule || options->microbatches != 0 || options->sequence ||
        options->exchange) {
        driver_leave(d, DLC_ERROR_INVALID_ARGUMENT,
                     "a ZeRO level, a schedule, micro-batches, sequence and a type of exchange are "
                     "of plans for several devices: name the mesh too (dlc --mesh data=*)");
    }
}

/* The axes and lines that the option asks for, which are the context's. */
static MeshLayout *asked_layout(Driver *d, const char *text) {
    const char *problem = NULL;
    MeshLayout *layout = mesh_layout_read(&d->context, text, &problem);
    if (!layout) {
        str_clear(&d->text);
        mesh_axis_print_words(&d->text);
        driver_leave(d, DLC_ERROR_INVALID_ARGUMENT,
                     arena_format(&d->scratch,
                                  "mesh \"%.200s\": %s (axes are %s, as in data=*,model=2)", text,
                                  problem, str_text(&d->text)));
    }
    return layout;
}

/* The program's lines under another mesh stay as they are, so that a further one finds them. */
static void add_lines(MeshLayout *layout, const MeshLayout *program) {
    layout->rules = program->rules;
    layout->cuts = program->cuts;
    layout->zero = program->zero;
    layout->sequence = program->sequence;
    layout->exchange = program->exchange;
    layout->schedule = mesh_layout_has(layout, "pipe") ? program->schedule : NULL;
    layout->microbatches = mesh_layout_has(layout, "pipe") ? program->microbatches : 0;
}

static void take_options(Driver *d, MeshLayout *layout) {
    const dlc_compile_options *options = d->options;
    if (options->zero < DLC_ZERO_OFF || options->zero > 3) {
        driver_leave(d, DLC_ERROR_INVALID_ARGUMENT, "a ZeRO level is 0 to 3");
    }
    if (options->microbatches < 0 || options->microbatches > MESH_MAX_RANKS) {
        driver_leave(d, DLC_ERROR_INVALID_ARGUMENT, "micro-batches are 1 to 1048576");
    }
    if (options->sequence && !mesh_sequence_read(options->sequence, &layout->sequence)) {
        driver_leave(d, DLC_ERROR_INVALID_ARGUMENT,
                     arena_format(&d->scratch,
                                  "sequence is \"auto\", \"on\" or \"off\", not \"%.40s\"",
                                  options->sequence));
    }
    layout->zero = options->zero == DLC_ZERO_OFF ? 0 : options->zero ? options->zero : layout->zero;
    layout->microbatches = options->microbatches ? options->microbatches : layout->microbatches;
    layout->schedule = options->schedule ? options->schedule : layout->schedule;
    if (options->exchange && !mesh_exchange_read(options->exchange, &layout->exchange)) {
        driver_leave(d, DLC_ERROR_INVALID_ARGUMENT,
                     arena_format(&d->scratch,
                                  "gradients are exchanged in " MESH_EXCHANGES ", not in '%.40s'",
                                  options->exchange));
    }
}

/* The layout that the text asks for, with the options and the program's lines. */
static MeshLayout *layout_for(Driver *d, const char *text) {
    const MeshLayout *program = d->module->mesh_layout, *asked = program;
    if (strcmp(text, "program") != 0) {
        asked = asked_layout(d, text);
    } else if (!program) {
        driver_leave(d, DLC_ERROR_INVALID_ARGUMENT,
                     "the program has no mesh line: name the axes, as in data=*,model=2");
    }
    MeshLayout *layout = ARENA_NEW(&d->context.arena, MeshLayout);
    *layout = *asked;
    if (asked != program && program && !mesh_layout_has_lines(asked)) {
        add_lines(layout, program);
    }
    take_options(d, layout);
    return layout;
}

void driver_mesh(Driver *d) {
    const char *text = d->options->mesh ? d->options->mesh : d->call->mesh;
    if (!text) {
        refuse_without_mesh(d);
        return;
    }
    MeshLayout *layout = layout_for(d, text);
    d->module->n_mesh_axes = 0;
    if (mesh_layout_ranks(layout) == 1) {
        return;
    }
    const char *unbuilt = mesh_layout_unbuilt(layout, &d->scratch);
    if (unbuilt) {
        driver_leave(d, DLC_ERROR_UNSUPPORTED,
                     arena_format(&d->scratch, "%s is not built yet", unbuilt));
    }
    for (int32_t i = 0; i < layout->n_axes; i++) {
        module_add_axis(d->module, layout->axes[i].name, layout->axes[i].size);
    }
    module_set_mesh_layout(d->module, layout);
}

const char *driver_mesh_block(Driver *d) {
    if (d->module->n_mesh_axes == 0 || !d->module->mesh_layout) {
        return NULL;
    }
    str_clear(&d->text);
    mesh_layout_print(d->module->mesh_layout, true, &d->text);
    const char *block = arena_strndup(&d->scratch, str_text(&d->text), d->text.length);
    str_clear(&d->text);
    return block;
}
