/* A rank's table of variables: by name, and which of a parameter and its moving average an entry
 * reads. */
#include "runtime/session/rank.h"

#include <stdio.h>

Variable *rank_variable(const Rank *rank, const char *name) {
    for (int64_t i = 0; i < rank->n_variables; i++) {
        if (strcmp(plan_text(rank->file, rank->variables[i].record->name), name) == 0) {
            return &rank->variables[i];
        }
    }
    return NULL;
}

/* The slot "w#ema" beside parameter "w"; -1: none. */
static int32_t average_find(const Rank *rank, const Variable *variable) {
    char name[1024];
    if (variable->record->role != PLAN_ARG_PARAM) {
        return -1;
    }
    int n = snprintf(name, sizeof(name), "%s#ema", plan_text(rank->file, variable->record->name));
    const Variable *average = n > 0 && (size_t)n < sizeof(name) ? rank_variable(rank, name) : NULL;
    PlanType own = plan_whole(variable->record->type, &variable->record->part);
    PlanType other = average ? plan_whole(average->record->type, &average->record->part) : own;
    bool fits = average && average->record->role == PLAN_ARG_SLOT && own.dtype == other.dtype &&
                strcmp(plan_text(rank->file, own.text), plan_text(rank->file, other.text)) == 0;
    return fits ? (int32_t)(average - rank->variables) : -1;
}

/* Whether a rank has the same part of the parameter and of its average. */
static bool cut_alike(const Rank *rank, const Variable *variable) {
    const PlanFile *file = rank->file;
    const PlanPart *own = &variable->record->part;
    const PlanPart *other = &rank->variables[variable->average].record->part;
    bool alike = own->n_cuts == other->n_cuts;
    for (int32_t i = 0; i < own->n_cuts && alike; i++) {
        const PlanCut *a = &file->cuts[own->first_cut + i], *b = &file->cuts[other->first_cut + i];
        alike = a->axis == b->axis && a->group == b->group && a->rows.first == b->rows.first &&
                a->outer.first == b->outer.first && a->inner.first == b->inner.first;
    }
    return alike;
}

dlc_status variables_create(Rank *rank) {
    const PlanFile *file = rank->file;
    rank->variables =
        memory_new(&rank->context->allocator, (size_t)file->n_variables, sizeof(Variable));
    if (!rank->variables) {
        return context_out_of_memory(rank->context);
    }
    rank->n_variables = file->n_variables;
    for (int64_t i = 0; i < file->n_variables; i++) {
        rank->variables[i].record = &file->variables[i];
    }
    if (rank->is_of_many) {
        rank->gathered =
            memory_new(&rank->context->allocator, (size_t)file->n_variables, sizeof(Variable));
        if (!rank->gathered) {
            return context_out_of_memory(rank->context);
        }
    }
    for (int64_t i = 0; i < file->n_variables; i++) {
        Variable *variable = &rank->variables[i];
        variable->average = average_find(rank, variable);
        if (rank->is_of_many) {
            variable->is_apart = variable->average >= 0 && !cut_alike(rank, variable);
            rank->gathered[i] = (Variable){.record = variable->record, .average = -1, .stamp = -1};
        }
    }
    return DLC_OK;
}

void variables_destroy(Rank *rank) {
    for (int64_t i = 0; i < rank->n_variables; i++) {
        if (rank->variables[i].data) {
            rank->ops->free(rank->device, rank->variables[i].data);
        }
        if (rank->gathered && rank->gathered[i].data) {
            rank->ops->free(rank->device, rank->gathered[i].data);
        }
    }
    memory_free(&rank->context->allocator, rank->gathered);
    memory_free(&rank->context->allocator, rank->variables);
    rank->gathered = NULL;
    rank->variables = NULL;
    rank->n_variables = 0;
}

Variable *rank_average_of(const Rank *rank, const Variable *variable) {
    return variable->average >= 0 ? &rank->variables[variable->average] : NULL;
}

const Variable *rank_entry_variable(const Rank *rank, const EntryState *entry, int32_t number) {
    const Variable *variable = &rank->variables[number];
    int32_t purpose = entry->record->purpose;
    bool own = rank->orders->raw_weights || purpose == PLAN_PURPOSE_TRAIN ||
               purpose == PLAN_PURPOSE_INIT || variable->average < 0;
    return own                  ? variable
           : variable->is_apart ? &rank->gathered[number]
                                : &rank->variables[variable->average];
}
