/* What `--explain` says of a Func of one rank: how its arguments and results are cut, and what
 * every rank computes all of along an axis of the mesh, and why. */
#include "ir/base/number.h"
#include "passes/shard/shard.h"

#include <string.h>

/* -- Why an op is not cut */

/* Ops that are whole along one axis of the mesh for one reason. */
typedef struct Group {
    MeshGroup axis;
    OpCode code; /* OP_NONE: of any */
    const char *reason;
    const Op *first;
    int64_t count;
    double bytes; /* of their results, at the dims' nominal values */
} Group;

typedef struct Report {
    Shard *s;
    VEC(Group) groups; /* in the order of the program */
} Report;

bool op_is_work(const Op *op) {
    const OpInfo *info = op_info(op->code);
    bool moves = info->fusion == FUSION_VIEW || info->fusion == FUSION_SPREAD ||
                 info->fusion == FUSION_FREE || info->fusion == FUSION_FREE_IF_SMALL;
    return op->n_results > 0 && op->n_blocks == 0 && info->kind != KIND_CONTROL && !moves &&
           type_nominal_bytes(op->results[0]->type) > dtype_bytes(op->results[0]->type.dtype);
}

static bool reads_cut(const Shard *s, const Op *op, MeshGroup axis) {
    for (int32_t i = 0; i < op->n_operands; i++) {
        if ((cuts_groups(&spread_of(s, op->operands[i])->cuts) & axis) != 0) {
            return true;
        }
    }
    return false;
}

static const char *reason_of(Shard *s, const Op *op, MeshGroup axis) {
    bool is_product =
        op_info(op->code)->kind == KIND_CONTRACTION || op_info(op->code)->kind == KIND_CONVOLUTION;
    const char *uneven = axis == s->model && is_product ? uneven_reason(s, op) : NULL;
    if (uneven) {
        return uneven;
    }
    if (!op_info(op->code)->axes && op->code != OP_reshape && op->code != OP_random_uniform) {
        return "no rule cuts it";
    }
    if (reads_cut(s, op, axis)) {
        return "it needs all of the axis that is cut";
    }
    return axis == s->model && is_product ? "a cut would let more travel than it spares"
                                          : "nothing that it reads is cut";
}

static void note_whole(Report *report, const Op *op, MeshGroup axis) {
    const char *reason = reason_of(report->s, op, axis);
    bool is_any = strncmp(reason, "nothing", 7) == 0;
    Group group = {.axis = axis, .code = is_any ? OP_NONE : op->code, .reason = reason};
    for (size_t i = 0; i < report->groups.count; i++) {
        Group *known = &report->groups.items[i];
        if (known->axis == axis && known->code == group.code &&
            strcmp(known->reason, reason) == 0) {
            known->count++;
            known->bytes += type_nominal_bytes(op->results[0]->type);
            return;
        }
    }
    group.first = op;
    group.count = 1;
    group.bytes = type_nominal_bytes(op->results[0]->type);
    VEC_PUSH(report->s->arena, &report->groups, group);
}

static void note_op(Op *op, void *user) {
    Report *report = user;
    Shard *s = report->s;
    if (!op_is_work(op)) {
        return;
    }
    OpCuts cuts = op_cuts(s, op);
    MeshGroup used = op_cuts_groups(op, &cuts);
    for (int32_t i = 0; i < s->module->n_mesh_axes; i++) {
        MeshGroup axis = (MeshGroup)1 << i;
        if (s->module->mesh[i].size != 1 && (used & axis) == 0) {
            note_whole(report, op, axis);
        }
    }
}

/* -- As text */

static void add_place(const Op *op, Str *out) {
    if (op->place.source) {
        str_addf(out, " at %s:%d:%d", op->place.source->name, op->place.line, op->place.column);
    }
    if (op->label && op->label[0]) {
        str_addf(out, " (%s)", op->label);
    }
}

static void add_group(const Report *report, const Group *group, Str *out) {
    const Shard *s = report->s;
    const Value *result = group->first->results[0];
    str_addf(out, "    over %s: ", module_group_text(s->module, group->axis));
    if (group->code == OP_NONE) {
        str_addf(out, "%lld ops", (long long)group->count);
    } else {
        str_addf(out, "%s, %lld of them", op_info(group->code)->name, (long long)group->count);
    }
    str_addf(out, ", the first %s to %s", op_info(group->first->code)->name,
             cuts_text(s, result->type, &spread_of(s, result)->cuts));
    add_place(group->first, out);
    str_addf(out, ": %s\n", group->reason);
}

static void add_args(const Shard *s, Str *out) {
    int32_t n_whole = 0;
    for (int32_t i = 0; i < s->func->body->n_args; i++) {
        const Value *arg = s->func->body->args[i];
        const Cuts *cuts = &spread_of(s, arg)->cuts;
        if (cuts->n > 0) {
            str_addf(out, "    %s: %s\n", s->func->args[i].name, cuts_text(s, arg->type, cuts));
        }
        n_whole += cuts->n == 0;
    }
    str_addf(out, "    whole on every rank: %d of %d arguments\n", (int)n_whole,
             (int)s->func->body->n_args);
}

/* Of what lies between products, each sum that begins it. */
static void add_between(Shard *s, Str *out) {
    str_add(out, s->between.count > 0 ? "  between products over model\n" : "");
    for (size_t i = 0; i < s->between.count; i++) {
        const BetweenNote *note = &s->between.items[i];
        const Value *sum = note->sum->results[0];
        Cuts cuts = spread_of(s, sum)->cuts;
        AxisCut cut = cut_of_rows(s, s->model, sum->type.dims[note->axis]);
        cuts_add(&cuts, &cut, note->axis, CUT_BETWEEN);
        str_addf(out, "    %s from %s, by the %s", note->is_taken ? "cut" : "whole,",
                 cuts_text(s, sum->type, &cuts), op_info(note->sum->code)->name);
        add_place(note->sum, out);
        str_add(out, ": ");
        str_addf(out, "%s each rank %s of what it makes, for ",
                 note->is_taken ? "spares" : "it would spare", number_amount(note->made).text);
        str_addf(out, "%s %s that travel in %s more exchanges\n",
                 number_amount(note->bytes < 0 ? -note->bytes : note->bytes).text,
                 note->bytes < 0 ? "less" : "more", number_fixed(note->calls, 0).text);
    }
}

void shard_report(Shard *s) {
    Report report = {.s = s};
    Str text;
    func_each_op(s->func, note_op, &report);
    str_init(&text, s->context->allocator);
    str_addf(&text, "%s\n  lies on ranks as\n", s->func->name);
    add_args(s, &text);
    add_between(s, &text);
    str_add(&text, "  computed on all ranks\n");
    for (size_t i = 0; i < report.groups.count; i++) {
        add_group(&report, &report.groups.items[i], &text);
    }
    const char *copy = arena_format(&s->context->arena, "%s", str_text(&text));
    VEC_PUSH(&s->context->arena, &s->pass->report->shardings, copy);
    str_finish(&text);
}
