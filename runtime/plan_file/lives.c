/* Whether buffers of the arena are used in their lives alone, for outside of them their memory is
 * others': between birth and death, also where a loop turns, alike where two change places, and to
 * the end where results lie. */
#include "runtime/plan_file/read.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

typedef struct Lives {
    const PlanTables *tables;
    const PlanEntry *entry;
    const PlanCommand *commands;
    const PlanBuffer *buffers;
    char *text;
} Lives;

__attribute__((format(printf, 2, 3))) static bool refuse(Lives *l, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(l->text, PLAN_ORDER_TEXT, format, arguments);
    va_end(arguments);
    return false;
}

/* The loop [start, end] around a use: the buffer lives from before it to its end or beyond, or
 * anew in every turn. */
static bool loop_spares(const PlanBuffer *buffer, int32_t start, int32_t end) {
    return buffer->birth <= start ? buffer->death >= end : buffer->death <= end;
}

static bool use_alive(Lives *l, int32_t i, const int32_t *open, int32_t depth, int32_t b) {
    const PlanBuffer *buffer = &l->buffers[b];
    if (buffer->kind != PLAN_BUFFER_ARENA) {
        return true;
    }
    if (i < buffer->birth || i > buffer->death) {
        return refuse(l, "command %d uses %%%d, which lives from %" PRId64 " to %" PRId64, i, b,
                      buffer->birth, buffer->death);
    }
    for (int32_t d = 0; d < depth; d++) {
        int32_t end = l->commands[open[d]].match;
        if (!loop_spares(buffer, open[d], end)) {
            return refuse(l,
                          "command %d uses %%%d, which lives from %" PRId64 " to %" PRId64
                          ", in the loop from %d to %d, which cuts its life",
                          i, b, buffer->birth, buffer->death, open[d], end);
        }
    }
    return true;
}

static bool swaps_alike(Lives *l, int32_t i) {
    const PlanCommand *command = &l->commands[i];
    for (int32_t s = 0; s < command->n_swaps; s++) {
        const PlanSwap *swap = &l->tables->swaps[command->first_swap + s];
        const PlanBuffer *a = &l->buffers[swap->a], *b = &l->buffers[swap->b];
        if (a->birth != b->birth || a->death != b->death) {
            return refuse(l, "command %d swaps %%%d and %%%d, which do not live alike", i, swap->a,
                          swap->b);
        }
    }
    return true;
}

bool plan_lives_check(const PlanTables *tables, const PlanEntry *entry, char *text) {
    Lives lives = {.tables = tables,
                   .entry = entry,
                   .commands = tables->commands + entry->first_command,
                   .buffers = tables->buffers + entry->first_buffer,
                   .text = text};
    Lives *l = &lives;
    int32_t open[PLAN_MAX_LOOP_DEPTH], depth = 0;
    for (int32_t i = 0; i < l->entry->n_commands; i++) {
        const PlanCommand *command = &l->commands[i];
        if (command->kind == PLAN_LOOP) { /* its index is written in every turn */
            open[depth++] = i;
        }
        for (int32_t r = 0; r < command->n_refs; r++) {
            int32_t buffer = l->tables->refs[command->first_ref + r].buffer;
            if (!use_alive(l, i, open, depth, buffer)) {
                return false;
            }
        }
        if (!swaps_alike(l, i)) {
            return false;
        }
        depth -= command->kind == PLAN_LOOP_END;
    }
    for (int32_t i = 0; i < l->entry->n_results; i++) {
        int32_t b = l->tables->results[l->entry->first_result + i].ref.buffer;
        if (l->buffers[b].kind == PLAN_BUFFER_ARENA && l->buffers[b].death < l->entry->n_commands) {
            return refuse(l, "result %d lies in %%%d, which does not live to the end", i, b);
        }
    }
    return true;
}
