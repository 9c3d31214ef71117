/* Common subexpressions: an op equal to one that dominates it (same code, operands and attributes,
 * no blocks, no effects) is replaced by that one's results. Inner blocks see the table of the
 * blocks around them. */
#include "passes/pass.h"

typedef struct Entry {
    uint64_t hash;
    Op *op;
    int32_t previous; /* entry before it in the same slot, -1: none */
} Entry;

typedef struct Table {
    Arena *arena;
    VEC(Entry) entries;
    int32_t *slots; /* newest entry + 1 per slot */
    uint64_t mask;
    Value **map; /* by value id */
    bool changed;
} Table;

static uint64_t op_hash(const Op *op) {
    uint64_t hash = op_attrs_hash(op) ^ ((uint64_t)op->code * 0x9E3779B97F4A7C15u);
    for (int32_t i = 0; i < op->n_operands; i++) {
        hash = (hash ^ (uint64_t)(uint32_t)op->operands[i]->id) * 0x100000001B3u;
        hash ^= hash >> 29;
    }
    return hash;
}

static bool op_equal(const Op *a, const Op *b) {
    if (a->code != b->code || a->n_operands != b->n_operands || a->n_results != b->n_results) {
        return false;
    }
    for (int32_t i = 0; i < a->n_operands; i++) {
        if (a->operands[i] != b->operands[i]) {
            return false;
        }
    }
    return op_attrs_equal(a, b);
}

static Op *table_find_or_add(Table *table, Op *op) {
    uint64_t hash = op_hash(op);
    int32_t *slot = &table->slots[hash & table->mask];
    for (int32_t i = *slot - 1; i >= 0; i = table->entries.items[i].previous) {
        const Entry *entry = &table->entries.items[i];
        if (entry->hash == hash && op_equal(entry->op, op)) {
            return entry->op;
        }
    }
    Entry entry = {.hash = hash, .op = op, .previous = *slot - 1};
    VEC_PUSH(table->arena, &table->entries, entry);
    *slot = (int32_t)table->entries.count;
    return NULL;
}

/* Forgets entries made since `count`: they do not dominate what follows their block. */
static void table_leave(Table *table, size_t count) {
    while (table->entries.count > count) {
        const Entry *entry = &table->entries.items[--table->entries.count];
        table->slots[entry->hash & table->mask] = entry->previous + 1;
    }
}

static void cse_block(Table *table, Block *block) {
    size_t mark = table->entries.count;
    for (Op *op = block->first, *next; op; op = next) {
        next = op->next;
        for (int32_t i = 0; i < op->n_operands; i++) {
            Value *replacement = table->map[op->operands[i]->id];
            if (replacement) {
                op_set_operand(op, i, replacement);
            }
        }
        for (int32_t i = 0; i < op->n_blocks; i++) {
            cse_block(table, op->blocks[i]);
        }
        if (op->n_blocks > 0 || op->n_results == 0 || op->code == OP_opaque ||
            (op_info(op->code)->flags & (OPF_EFFECT | OPF_OWN_GRAD))) {
            continue;
        }
        Op *equal = table_find_or_add(table, op);
        if (equal) {
            for (int32_t i = 0; i < op->n_results; i++) {
                table->map[op->results[i]->id] = equal->results[i];
            }
            op_unlink(op);
            table->changed = true;
        }
    }
    table_leave(table, mark);
}

bool pass_cse(PassContext *pass, Func *func) {
    func_renumber(func);
    uint64_t n_slots = 64;
    while (n_slots < (uint64_t)func->n_ops * 2) {
        n_slots *= 2;
    }
    Table table = {.arena = pass->scratch,
                   .slots = ARENA_ARRAY(pass->scratch, int32_t, n_slots),
                   .mask = n_slots - 1,
                   .map = ARENA_ARRAY(pass->scratch, Value *, func->n_values + 1)};
    cse_block(&table, func->body);
    return table.changed;
}
