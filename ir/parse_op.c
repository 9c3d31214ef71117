/* Parsing of ops and blocks of the IR text form. Each op's types are inferred at once and compared
 * with the text, so that a wrong line is blamed itself, not one far below. */
#include "ir/parse_internal.h"

#include <string.h>

bool parse_define(Parser *p, int32_t number, Value *value, Mark mark) {
    while (module_parser(p)->values.count <= (size_t)number) {
        VEC_PUSH(&p->context->arena, &module_parser(p)->values, (Numbered){0});
    }
    if (parse_defined(p, number) != NULL) {
        diag_report(&p->context->diags, DIAG_IR_REDEFINED, parse_place(p, mark), (int)number);
        return false;
    }
    module_parser(p)->values.items[number] = (Numbered){value, module_parser(p)->func};
    return true;
}

Value *parse_defined(const Parser *p, int32_t number) {
    if ((size_t)number >= module_parser(p)->values.count ||
        module_parser(p)->values.items[number].func != module_parser(p)->func) {
        return NULL;
    }
    return module_parser(p)->values.items[number].value;
}

bool parse_definition(Parser *p, int32_t *out_number, const char **out_name) {
    *out_name = NULL;
    if (!parse_value_number(p, out_number)) {
        return false;
    }
    if (parse_at_word(p) || parse_at(p, "\"")) {
        *out_name = parse_name(p, "a name");
        return *out_name != NULL;
    }
    return true;
}

static Value *parse_operand(Parser *p) {
    Mark mark = parse_mark(p);
    int32_t number = 0;
    if (!parse_value_number(p, &number)) {
        return NULL;
    }
    Value *value = parse_defined(p, number);
    if (value == NULL) {
        diag_report(&p->context->diags, DIAG_IR_UNDEFINED, parse_place(p, mark), (int)number);
    }
    return value;
}

/* -- attributes */

static bool parse_list_int(Parser *p, int64_t *out) {
    return parse_int(p, out);
}

static bool parse_list_double(Parser *p, int64_t *out) {
    double value = 0;
    if (!parse_double(p, &value)) {
        return false;
    }
    memcpy(out, &value, sizeof(value));
    return true;
}

/* Numbers in brackets; doubles are carried as their 8 bytes. */
static bool parse_numbers(Parser *p, bool (*read)(Parser *p, int64_t *out), AttrValue *out) {
    VEC(int64_t) numbers = {0};
    if (!parse_expect(p, "[")) {
        return false;
    }
    while (!parse_accept(p, "]")) {
        int64_t number = 0;
        if ((numbers.count > 0 && !parse_expect(p, ",")) || !read(p, &number)) {
            return false;
        }
        VEC_PUSH(&p->module->arena, &numbers, number);
    }
    attr_write_INTS(out, ints_copy(module_parser(p)->func, numbers.items, (int32_t)numbers.count));
    return true;
}

static bool parse_sizes(Parser *p, AttrValue *out) {
    VEC(const Size *) sizes = {0};
    if (!parse_expect(p, "[")) {
        return false;
    }
    while (!parse_accept(p, "]")) {
        if (sizes.count > 0 && !parse_expect(p, ",")) {
            return false;
        }
        const Size *size = parse_size(p);
        if (size == NULL) {
            return false;
        }
        VEC_PUSH(&p->module->arena, &sizes, size);
    }
    attr_write_SIZES(out, sizes_copy(module_parser(p)->func, sizes.items, (int32_t)sizes.count));
    return true;
}

static bool parse_attr_value(Parser *p, Op *op, AttrKind kind, AttrValue *out) {
    static const char *const BOOLS[] = {"false", "true"};
    DType dtype = DT_F32;
    int choice = 0;
    switch (kind) {
    case ATTR_INT:
        return parse_int(p, &out->i);
    case ATTR_SIZE:
        out->size = parse_size(p);
        return out->size != NULL;
    case ATTR_FLOAT:
        return parse_double(p, &out->f);
    case ATTR_BOOL:
        choice = parse_choice(p, BOOLS, 2, "truth value");
        out->i = choice == 1;
        return choice >= 0;
    case ATTR_TEXT:
    case ATTR_WORD:
        out->text = parse_string(p, "a string");
        return out->text != NULL;
    case ATTR_DTYPE:
        if (!parse_dtype(p, &dtype)) {
            return false;
        }
        out->i = dtype;
        return true;
    case ATTR_INTS:
        return parse_numbers(p, parse_list_int, out);
    case ATTR_SIZES:
        return parse_sizes(p, out);
    case ATTR_DATA: /* the dtype stands before it in the table, hence in the text */
        return parse_numbers(p, op_data_is_float(op) ? parse_list_double : parse_list_int, out);
    }
    return false;
}

/* All attributes of the table, in its order. */
static bool parse_attrs(Parser *p, Op *op) {
    const OpInfo *info = op_info(op->code);
    if (info->n_attrs == 0) {
        return true;
    }
    if (!parse_expect(p, "{")) {
        return false;
    }
    const AttrDesc *left_out = NULL;
    bool is_behind_comma = true; /* the first needs none */
    for (int i = 0; i < info->n_attrs; i++) {
        const AttrDesc *attr = info->attrs[i];
        bool is_word = attr->kind == ATTR_WORD;
        if (is_word && !is_behind_comma && parse_at(p, "}")) {
            break; /* all that is left out is empty, as op_create made it */
        }
        if (left_out && !is_word) {
            continue;
        }
        if (!is_behind_comma && !parse_expect(p, ",")) {
            return false;
        }
        is_behind_comma = true;
        left_out = is_word && !parse_at_keyword(p, attr->name) ? attr : NULL;
        if (left_out) {
            continue;
        }
        if (!parse_keyword(p, attr->name) || !parse_expect(p, "=") ||
            !parse_attr_value(p, op, attr->kind, &op->attrs[i])) {
            return false;
        }
        is_behind_comma = false;
    }
    return is_behind_comma ? parse_keyword(p, left_out->name) : parse_expect(p, "}");
}

/* -- one op */

typedef struct OpHead {
    VEC(int32_t) numbers; /* of the results */
    VEC(const char *) names;
    VEC(Value *) operands;
    OpCode code;
    Mark mark;
} OpHead;

static bool report_unknown_op(Parser *p, Mark mark, const char *name) {
    Diag *diag = diag_report(&p->context->diags, DIAG_IR_UNKNOWN_OP, parse_place(p, mark), name);
    const char *nearest = NULL;
    int distance = 3;
    for (int i = 0; i < OP_CODE_COUNT; i++) {
        int d = edit_distance(op_info((OpCode)i)->name, name, 2);
        if (d < distance) {
            distance = d;
            nearest = op_info((OpCode)i)->name;
        }
    }
    if (nearest != NULL) {
        diag_help(&p->context->diags, diag, "did you mean '%s'?", nearest);
    }
    return false;
}

static bool check_count(Parser *p, const OpHead *head, const char *what, int wanted, size_t given) {
    if (wanted < 0 || (size_t)wanted == given) {
        return true;
    }
    diag_report(&p->context->diags, DIAG_IR_COUNT, parse_place(p, head->mark),
                op_info(head->code)->name, wanted, what, (int)given);
    return false;
}

static bool parse_head(Parser *p, OpHead *head) {
    Arena *arena = &p->context->arena;
    head->mark = parse_mark(p);
    if (parse_at(p, "%")) {
        do {
            int32_t number = 0;
            const char *name = NULL;
            if (!parse_definition(p, &number, &name)) {
                return false;
            }
            VEC_PUSH(arena, &head->numbers, number);
            VEC_PUSH(arena, &head->names, name);
        } while (parse_accept(p, ","));
        if (!parse_expect(p, "=")) {
            return false;
        }
    }
    Mark mark = parse_mark(p);
    const char *word = parse_word(p, "an op");
    if (word == NULL) {
        return false;
    }
    if (!op_code_from_name(word, &head->code)) {
        return report_unknown_op(p, mark, word);
    }
    if (parse_at(p, "%")) {
        do {
            Value *operand = parse_operand(p);
            if (operand == NULL) {
                return false;
            }
            VEC_PUSH(arena, &head->operands, operand);
        } while (parse_accept(p, ","));
    }
    const OpInfo *info = op_info(head->code);
    return check_count(p, head, "operands", info->n_operands, head->operands.count) &&
           check_count(p, head, "results", info->n_results, head->numbers.count);
}

static bool parse_result_types(Parser *p, Op *op) {
    for (int32_t i = 0; i < op->n_results; i++) {
        if (!parse_expect(p, i > 0 ? "," : ":") || !parse_type(p, &op->results[i]->type)) {
            return false;
        }
    }
    return true;
}

/* "(%5: i32[], %6 h: f32[B]) { … }" */
static bool parse_region(Parser *p, Block *block) {
    if (!parse_expect(p, "(")) {
        return false;
    }
    while (!parse_accept(p, ")")) {
        if (block->n_args > 0 && !parse_expect(p, ",")) {
            return false;
        }
        Mark mark = parse_mark(p);
        int32_t number = 0;
        const char *name = NULL;
        Type type = {0};
        if (!parse_definition(p, &number, &name) || !parse_expect(p, ":") ||
            !parse_type(p, &type)) {
            return false;
        }
        Value *arg = block_add_arg(block, type, name);
        if (!parse_define(p, number, arg, mark)) {
            return false;
        }
    }
    return parse_expect(p, "{") && parse_block(p, block);
}

/* The op's rule must give exactly the types of the text. */
static bool check_types(Parser *p, Op *op) {
    const char *name = op_info(op->code)->name;
    Type *written = ARENA_ARRAY(&p->context->arena, Type, op->n_results + 1);
    for (int32_t i = 0; i < op->n_results; i++) {
        written[i] = op->results[i]->type;
    }
    OpProblem complaint = {0};
    if (!op_infer(p->context, op, &complaint)) {
        diag_report(&p->context->diags, DIAG_IR_ILL_TYPED, op->place, name, complaint.text);
        return false;
    }
    for (int32_t i = 0; i < op->n_results; i++) {
        Type inferred = op->results[i]->type;
        if (!type_equal(inferred, written[i])) {
            diag_report(&p->context->diags, DIAG_IR_TYPE_DIFFERS, op->place, name,
                        type_text(p->context, inferred), type_text(p->context, written[i]));
            return false;
        }
        op->results[i]->type = written[i];
    }
    return true;
}

static bool parse_op(Parser *p, Block *block) {
    OpHead head = {0};
    if (!parse_head(p, &head)) {
        return false;
    }
    Op *op = op_create(module_parser(p)->func, head.code, head.operands.items,
                       (int32_t)head.operands.count, (int32_t)head.numbers.count,
                       op_info(head.code)->n_blocks);
    if (!parse_attrs(p, op) || !parse_result_types(p, op)) {
        return false;
    }
    if (parse_accept(p, "@")) {
        op->label = parse_string(p, "a label");
        if (op->label == NULL) {
            return false;
        }
    }
    op->place = parse_place(p, head.mark);
    for (int32_t i = 0; i < op->n_blocks; i++) {
        if (!parse_region(p, op->blocks[i])) {
            return false;
        }
    }
    for (int32_t i = 0; i < op->n_results; i++) {
        op->results[i]->name = head.names.items[i];
        if (!parse_define(p, head.numbers.items[i], op->results[i], head.mark)) {
            return false;
        }
    }
    op_append(block, op);
    return check_types(p, op);
}

bool parse_block(Parser *p, Block *block) {
    if (++p->nesting > PARSE_MAX_NESTING) {
        diag_report(&p->context->diags, DIAG_IR_LIMIT, parse_place(p, parse_mark(p)),
                    "blocks are nested more than 64 deep");
        return false;
    }
    while (!parse_at(p, "}")) {
        if (block_yield(block) != NULL) {
            return parse_expected(p, "'}' after yield");
        }
        if (!parse_op(p, block)) {
            return false;
        }
    }
    if (block_yield(block) == NULL) {
        return parse_expected(p, "a yield, with which a block ends");
    }
    p->nesting--;
    return parse_expect(p, "}");
}
