/* What every record of a plan may refer to: texts, size programs, lists of sizes, types. */
#include "runtime/plan_file/check.h"

/* More instructions than any step's sizes take; evaluating as many is a matter of a second. */
static const int64_t MOST_WORK = (int64_t)1 << 28;

bool plan_check_fail(Check *c, const void *record, const char *what) {
    if (!c->wrong) {
        c->wrong = what;
        c->where = record;
    }
    return false;
}

bool plan_check_range(int64_t first, int64_t count, int64_t limit) {
    return first >= 0 && count >= 0 && first <= limit && count <= limit - first;
}

bool plan_check_text(Check *c, const void *record, uint32_t offset) {
    return offset < (uint64_t)c->file->n_strings ||
           plan_check_fail(c, record, "a text is outside the strings");
}

bool plan_check_program(Check *c, const void *record, PlanProgram program, bool loops) {
    if (!plan_check_range(program.first, program.count, c->file->n_programs)) {
        return plan_check_fail(c, record, "a size program is outside its section");
    }
    if (program.count == 0) {
        return true;
    }
    if (!program_index_valid(&c->index, program.first, program.count, loops)) {
        return plan_check_fail(c, record, "a size program is malformed");
    }
    c->work += program.count;
    return c->work <= MOST_WORK ||
           plan_check_fail(c, record, "the size programs are out of proportion");
}

dlc_status plan_check_begin(Check *c) {
    const PlanFile *file = c->file;
    const dlc_allocator *allocator = &c->context->allocator;
    if (file->n_programs > PROGRAM_INDEX_MOST) {
        return context_fail(c->context, DLC_ERROR_FORMAT, "%s: too many size programs", file->name);
    }
    c->size_work = memory_new(allocator, (size_t)file->n_sizes + 1, sizeof(*c->size_work));
    c->varies = memory_new(allocator, (size_t)file->n_dims + 1, sizeof(*c->varies));
    if (!c->size_work || !c->varies ||
        !program_index_init(&c->index, allocator, file->programs, file->n_programs, file->n_dims,
                            PLAN_MAX_LOOP_DEPTH)) {
        return context_out_of_memory(c->context);
    }
    for (int64_t i = 0; i < file->n_sizes; i++) {
        c->size_work[i + 1] = c->size_work[i] + file->sizes[i].count;
    }
    return DLC_OK;
}

void plan_check_end(Check *c) {
    program_index_finish(&c->index, &c->context->allocator);
    memory_free(&c->context->allocator, c->size_work);
    memory_free(&c->context->allocator, c->varies);
}

bool plan_check_sizes(Check *c, const void *record, int32_t first, int32_t count) {
    if (!plan_check_range(first, count, c->file->n_sizes)) {
        return plan_check_fail(c, record, "sizes are outside their section");
    }
    /* The programs themselves are checked once, in shared_ok. */
    c->work += c->size_work[first + count] - c->size_work[first];
    return c->work <= MOST_WORK || plan_check_fail(c, record, "the sizes are out of proportion");
}

bool plan_check_type(Check *c, const void *record, PlanType type) {
    if (type.dtype < 0 || type.dtype >= PLAN_N_DTYPES || type.rank < 0 ||
        type.rank > PLAN_MAX_RANK) {
        return plan_check_fail(c, record, "a type is malformed");
    }
    return plan_check_sizes(c, record, type.first_size, type.rank) &&
           plan_check_text(c, record, type.text);
}
