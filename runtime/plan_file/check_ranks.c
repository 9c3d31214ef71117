/* What a plan for several ranks says: its mesh, where dims come from, how whole tensors are cut,
 * and what is exchanged. Of a plan without a mesh nothing of it may be there. */
#include "runtime/plan_file/check.h"

#include "ir/base/checked.h"

static bool group_ok(Check *c, const void *record, MeshGroup group) {
    return (group != 0 && group < (uint32_t)1 << c->file->n_mesh) ||
           plan_check_fail(c, record, "a group of no ranks");
}

/* A program that must be there. */
static bool size_ok(Check *c, const void *record, PlanProgram program) {
    return program.count > 0 ? plan_check_program(c, record, program, false)
                             : plan_check_fail(c, record, "a size of ranks is missing");
}

/* The axes of the mesh along which a program, which is sound, differs from rank to rank. */
static MeshGroup program_varies(const Check *c, PlanProgram program) {
    MeshGroup varies = 0;
    for (int32_t i = 0; i < program.count; i++) {
        const ProgramInstr *instr = &c->file->programs[program.first + i];
        if (instr->code == PROGRAM_VAR && instr->immediate < c->file->n_dims) {
            varies |= c->varies[instr->immediate];
        }
    }
    return varies;
}

/* A program that must be there, the same on all ranks of the group. */
static bool size_alike(Check *c, const void *record, PlanProgram program, MeshGroup group) {
    return size_ok(c, record, program) &&
           (!(program_varies(c, program) & group) ||
            plan_check_fail(c, record, "a size that ranks share differs among them"));
}

bool plan_check_mesh(Check *c) {
    const PlanFile *file = c->file;
    bool any = false;
    int64_t ranks = 1;
    if (file->n_mesh > MESH_MAX_AXES) {
        return plan_check_fail(c, file->mesh, "the mesh has too many axes");
    }
    for (int64_t i = 0; i < file->n_mesh; i++) {
        const PlanMeshAxis *axis = &file->mesh[i];
        if (!plan_check_text(c, axis, axis->name)) {
            return false;
        }
        if (axis->size < 0 || (axis->size == 0 && any) ||
            (axis->size > 0 &&
             (!checked_mul(ranks, axis->size, &ranks) || ranks > MESH_MAX_RANKS))) {
            return plan_check_fail(c, axis, "the mesh has no such size");
        }
        any = any || axis->size == 0;
    }
    return true;
}

bool plan_check_dim_source(Check *c, int64_t number) {
    const PlanFile *file = c->file;
    const PlanDim *dim = &file->dims[number];
    bool of_rows = dim->source == DIM_PIECE || dim->source == DIM_FIRST;
    if (dim->source < 0 || dim->source >= DIM_N_SOURCES || (!of_rows && dim->of.count != 0)) {
        return plan_check_fail(c, dim, "a dim comes from nowhere");
    }
    if (dim->source == DIM_FREE) {
        return dim->group == 0 || plan_check_fail(c, dim, "a group of no ranks");
    }
    if (!group_ok(c, dim, dim->group) || (of_rows && !size_ok(c, dim, dim->of))) {
        return false;
    }
    for (int32_t i = 0; i < dim->of.count; i++) {
        const ProgramInstr *instr = &file->programs[dim->of.first + i];
        if (instr->code == PROGRAM_VAR && instr->immediate >= number) {
            return plan_check_fail(c, dim, "a dim of ranks is made of one behind it");
        }
    }
    c->varies[number] = program_varies(c, dim->of) | (dim->source == DIM_RANKS ? 0 : dim->group);
    return true;
}

bool plan_check_part(Check *c, const void *record, PlanType type, const PlanPart *part) {
    const PlanFile *file = c->file;
    const MeshGroup all = ~(MeshGroup)0;
    if (!plan_check_range(part->first_cut, part->n_cuts, file->n_cuts)) {
        return plan_check_fail(c, record, "cuts are outside their section");
    }
    if (part->n_cuts == 0) {
        return true;
    }
    if (!plan_check_type(c, record, part->whole)) {
        return false;
    }
    if (part->whole.dtype != type.dtype || part->whole.rank != type.rank) {
        return plan_check_fail(c, record, "a part and its whole differ in type");
    }
    for (int32_t a = 0; a < type.rank; a++) {
        if (!size_alike(c, record, file->sizes[part->whole.first_size + a], all)) {
            return false;
        }
    }
    uint32_t cut_so_far = 0;
    int32_t axis = 0;
    for (int32_t i = 0; i < part->n_cuts; i++) {
        const PlanCut *cut = &file->cuts[part->first_cut + i];
        if (cut->axis < axis || cut->axis >= type.rank) {
            return plan_check_fail(c, cut, "a cut of no axis, or out of order");
        }
        if (!group_ok(c, cut, cut->group) || !size_alike(c, cut, cut->outer, all) ||
            !size_alike(c, cut, cut->rows, all) || !size_alike(c, cut, cut->inner, all)) {
            return false;
        }
        if (cut->group & cut_so_far) {
            return plan_check_fail(c, cut, "a tensor is cut twice among the same ranks");
        }
        axis = cut->axis;
        cut_so_far |= cut->group;
    }
    return true;
}

/* What a collective says of the axes whose rows move; `n` of the five, the others empty. */
static bool rows_ok(Check *c, const PlanCollective *collective, int32_t n) {
    const PlanProgram sizes[5] = {collective->outer, collective->rows, collective->unit,
                                  collective->middle, collective->split_rows};
    for (int32_t i = 0; i < 5; i++) {
        if (i >= n && sizes[i].count != 0) {
            return plan_check_fail(c, collective, "an exchange is malformed");
        }
        if (i < n && !size_alike(c, collective, sizes[i], collective->group)) {
            return false;
        }
    }
    return true;
}

bool plan_check_collectives(Check *c) {
    for (int64_t i = 0; i < c->tables->n_collectives; i++) {
        const PlanCollective *collective = &c->tables->collectives[i];
        int32_t kind = collective->kind;
        bool combines = kind == PLAN_ALL_REDUCE || kind == PLAN_REDUCE_SCATTER;
        bool splits = kind == PLAN_ALL_TO_ALL;
        bool moves_rows = kind == PLAN_ALL_GATHER || kind == PLAN_REDUCE_SCATTER;
        if (kind < 0 || kind >= PLAN_N_COLLECTIVE_KINDS || collective->combine < 0 ||
            collective->combine >= (combines ? PLAN_N_COMBINES : 1) ||
            (kind != PLAN_SHIFT && collective->by != 0) || collective->split_first < 0 ||
            collective->split_first > splits) {
            return plan_check_fail(c, collective, "an exchange is malformed");
        }
        if (!group_ok(c, collective, collective->group) || !rows_ok(c, collective,
                                                                    splits       ? 5
                                                                    : moves_rows ? 3
                                                                                 : 0)) {
            return false;
        }
    }
    return true;
}

static bool combine_takes(int32_t combine, int32_t dtype) {
    bool of_numbers = combine == PLAN_COMBINE_ADD || combine == PLAN_COMBINE_MUL;
    bool of_bools = combine == PLAN_COMBINE_AND || combine == PLAN_COMBINE_OR;
    return dtype == PLAN_BOOL ? !of_numbers : !of_bools;
}

/* Of each pair there is what says how it moves, and all move in one call. */
static bool pairs_ok(Check *c, const PlanCommand *command) {
    const PlanCollective *first = &c->tables->collectives[command->collective];
    for (int32_t pair = 1; pair < command->n_refs / 2; pair++) {
        int32_t number = plan_pair_collective(command, first->kind, pair);
        if (number >= c->tables->n_collectives) {
            return plan_check_fail(c, command, "a command of no exchange");
        }
        const PlanCollective *one = &c->tables->collectives[number];
        if (one->kind != first->kind || one->combine != first->combine ||
            one->group != first->group) {
            return plan_check_fail(c, one, "what travels together differs in kind");
        }
    }
    return true;
}

bool plan_check_collective_use(Check *c, const PlanCommand *command) {
    const PlanTables *tables = c->tables;
    if (command->kind != PLAN_COLLECTIVE) {
        return true;
    }
    if (!pairs_ok(c, command)) {
        return false;
    }
    const PlanCollective *collective = &tables->collectives[command->collective];
    bool combines = collective->kind == PLAN_ALL_REDUCE || collective->kind == PLAN_REDUCE_SCATTER;
    bool has_rows = collective->rows.count > 0;
    for (int32_t r = 0; r < command->n_refs; r += 2) {
        const PlanRef *to = &tables->refs[command->first_ref + r], *from = to + 1;
        if (to->written < 1 || from->written != 0 ||
            (combines && !combine_takes(collective->combine, to->written - 1))) {
            return plan_check_fail(c, to, "an exchange of no such type");
        }
        if (collective->kind != PLAN_ALL_REDUCE && to->buffer == from->buffer) {
            return plan_check_fail(c, to, "an exchange over its operand");
        }
        MeshGroup alike = has_rows ? 0 : collective->group;
        if (!size_alike(c, to, to->bytes, alike) || !size_alike(c, from, from->bytes, alike)) {
            return false;
        }
    }
    return true;
}
