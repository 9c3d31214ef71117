/* The layout: all that is decided, by a program, by flags or by a search, about how it is spread
 * over a mesh of devices, before any value is sharded: the mesh that is wanted, shardings by path,
 * cuts of the pipe, its schedule and the ZeRO level. Elaboration and flags fill it, passes read it.
 * (What a sharded Func then is, ir.h says.)
 *
 * Its text is the mesh block of the language without the word `mesh`,
 *     data=*, model=2 { shard (_, model) for "*.c_fc.weight"; cut "h.6"; zero 1; sequence "on";
 * schedule "1f1b"; microbatches 4; exchange bf16 } which is the module's setting "mesh", and so in
 * IR text and
 * plans. Shardings of values that a call gives, or that stand in a pipe, are ops: `shard_hint`,
 * whose attribute `axes` is the text of a Placed without its parentheses. */
#ifndef DLC_IR_MESH_H
#define DLC_IR_MESH_H

#include "ir/ir.h"

enum {
    MESH_LAYOUT_MAX_RULES = 1024, /* so many lines, and globs of one line */
};

/* The mesh axes that cut one axis of a tensor, from outside inwards; none: it is whole. */
typedef struct PlacedAxis {
    const char *names[MESH_MAX_AXES];
    int32_t count;
} PlacedAxis;

/* How a tensor of this rank is cut. */
typedef struct Placed {
    PlacedAxis axes[TYPE_MAX_RANK];
    int32_t rank;
} Placed;

/* `shard (_, model) for "*.weight", "head.*"`: parameters, and values that calls give, of these
 * paths. */
typedef struct MeshRule {
    Placed placed;
    const char **globs;
    int32_t n_globs;
} MeshRule;

/* Whether what lies between two products that the axis `model` cuts is cut by it too, along rows.
 */
typedef enum MeshSequence {
    MESH_SEQUENCE_AUTO, /* where it costs less than it spares */
    MESH_SEQUENCE_ON,   /* wherever it can be */
    MESH_SEQUENCE_OFF   /* where the program's own lines say so */
} MeshSequence;

/* Lists grow in the context's arena; a zeroed MeshLayout is the empty one. */
typedef struct MeshLayout {
    MeshAxis axes[MESH_MAX_AXES]; /* as written, the last one fastest */
    int32_t n_axes;
    VEC(MeshRule) rules;    /* of a path the first that fits counts */
    VEC(const char *) cuts; /* globs of calls before which the pipe is cut */
    const char *schedule;   /* of the pipe; NULL: not said */
    int64_t microbatches;   /* 0: not said */
    int64_t zero;           /* level, 0 to 3 */
    MeshSequence sequence;
    const char *exchange; /* the type in which gradients are sent ("bf16"); NULL: their own */
} MeshLayout;

/* Why something is no part of a layout. */
typedef enum MeshProblem {
    MESH_PROBLEM_NONE,
    MESH_PROBLEM_UNKNOWN, /* there is no such axis */
    MESH_PROBLEM_REFUSED, /* such an axis is not supported, and will not be */
    MESH_PROBLEM_TWICE,   /* the axis is there already */
    MESH_PROBLEM_SIZE,    /* below 1, or more than MESH_MAX_RANKS in all */
    MESH_PROBLEM_TWO_ANY, /* a second axis of any number */
    MESH_PROBLEM_LONG     /* too many axes */
} MeshProblem;

/* -- the words of axes */

/* The axis that a word means ("tp": "model"), or NULL. What is returned lives for ever. */
const char *mesh_axis_name(const char *word);
/* The word nearest to this one, or NULL if none is near. */
const char *mesh_axis_near(const char *word);
/* "replica, data (dp), model (tensor, tp), pipe (pp)" */
void mesh_axis_print_words(Str *out);
/* The table, a line an axis: for `dlc --what mesh`. */
void mesh_axis_explain(Str *out);

/* -- making */

/* Appends an axis; `size` 0 or -1: any number. */
MeshProblem mesh_layout_add_axis(MeshLayout *layout, const char *word, int64_t size);
/* Lets the mesh axis cut the tensor's last axis, inside those that do already; the rank counts it,
 * and so is at least 1. */
MeshProblem placed_add(Placed *placed, const char *word);
/* Reads a layout from its text; NULL, with *out_problem a sentence, where it is none. The text
 * may have the word `mesh` in front of it. */
MeshLayout *mesh_layout_read(Context *context, const char *text, const char **out_problem);
/* Reads what stands between the parentheses: "data, _, model", "_, (data, model)". */
bool placed_read(Context *context, const char *text, Placed *out, const char **out_problem);

/* "auto", "on" or "off"; false: it is none of them. */
bool mesh_sequence_read(const char *text, MeshSequence *out);
const char *mesh_sequence_text(MeshSequence sequence);

/* -- reading */

bool mesh_layout_has(const MeshLayout *layout, const char *name);
/* Whether it says anything beside its axes. */
bool mesh_layout_has_lines(const MeshLayout *layout);
/* Devices that it needs; 0: any multiple of what mesh_layout_least gives. */
int64_t mesh_layout_ranks(const MeshLayout *layout);
int64_t mesh_layout_least(const MeshLayout *layout);
/* The first rule for a path; NULL: none. */
const MeshRule *mesh_layout_rule(const MeshLayout *layout, const char *path);
/* Whether it names no axis of the mesh: "_, _". */
bool placed_is_whole(const Placed *placed);
/* The text of a Placed: "data, _, model". */
void placed_print(const Placed *placed, Str *out);
/* The text of a layout, on one line; `as_block`: as a block of the language, which ends in a
 * newline, without what lines say of axes that the mesh has not. */
void mesh_layout_print(const MeshLayout *layout, bool as_block, Str *out);
/* What of it no device can be given yet ("an axis `pipe` of 2"), or NULL; the text is the arena's.
 */
const char *mesh_layout_unbuilt(const MeshLayout *layout, Arena *arena);
/* Whether a path fits a glob: `*` stands for any text, `?` for one character. */
bool path_matches(const char *glob, const char *path);

/* -- in a module */

/* Makes it the module's: its member and its setting "mesh". */
void module_set_mesh_layout(Module *module, MeshLayout *layout);
#endif
