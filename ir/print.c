/* The text form of the IR, complete and exact: what parse.c reads back is the same module, but for
 * the places in the .dl text. docs/ir.md describes it. Numbers are assigned in the order of the
 * text. */
#include "ir/text.h"

#include "ir/base/ascii.h"

#include <string.h>

/* Bytes above 0x7f pass: texts are UTF-8. */
void text_print_quoted(const char *text, Str *out) {
    str_add_char(out, '"');
    for (const char *p = text != NULL ? text : ""; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\') {
            str_add_char(out, '\\');
            str_add_char(out, *p);
        } else if (c == '\n') {
            str_add(out, "\\n");
        } else if (c == '\t') {
            str_add(out, "\\t");
        } else if (c < 0x20 || c == 0x7f) {
            str_addf(out, "\\x%02x", c);
        } else {
            str_add_char(out, *p);
        }
    }
    str_add_char(out, '"');
}

void text_print_word(const char *text, Str *out) {
    bool plain = text[0] != '\0' && !ascii_is_digit(text[0]);
    for (const char *p = text; *p != '\0' && plain; p++) {
        plain = ascii_is_word(*p);
    }
    if (plain) {
        str_add(out, text);
    } else {
        text_print_quoted(text, out);
    }
}

static void print_value(const Value *value, Str *out) {
    if (value == NULL) {
        str_add(out, "%?");
    } else {
        str_addf(out, "%%%d", (int)value->id);
    }
}

/* "%4", or "%4 name" for a value that carries the user's name. */
static void print_definition(const Value *value, Str *out) {
    print_value(value, out);
    if (value != NULL && value->name != NULL) {
        str_add_char(out, ' ');
        text_print_word(value->name, out);
    }
}

static void print_dtype(int64_t dtype, Str *out) {
    str_add(out, dtype >= 0 && dtype < DT_COUNT ? dtype_name((DType)dtype) : "?");
}

static void print_one_size(const Size *size, Str *out) {
    if (size != NULL) {
        size_print(size, out);
    } else {
        str_add_char(out, '?');
    }
}

static void print_list(const Op *op, AttrKind kind, const AttrValue *attr, Str *out) {
    bool floats = kind == ATTR_DATA && op_data_is_float(op);
    str_add_char(out, '[');
    for (int32_t i = 0; i < attr->list.count; i++) {
        if (i > 0) {
            str_add(out, ", ");
        }
        if (kind == ATTR_SIZES) {
            print_one_size(attr->list.sizes[i], out);
        } else if (floats) {
            str_add_double(out, attr->list.floats[i]);
        } else {
            str_addf(out, "%lld", (long long)attr->list.ints[i]);
        }
    }
    str_add_char(out, ']');
}

static void print_attr(const Op *op, int index, Str *out) {
    const AttrValue *attr = &op->attrs[index];
    AttrKind kind = op_info(op->code)->attrs[index]->kind;
    switch (kind) {
    case ATTR_INT:
        str_addf(out, "%lld", (long long)attr->i);
        break;
    case ATTR_SIZE:
        print_one_size(attr->size, out);
        break;
    case ATTR_FLOAT:
        str_add_double(out, attr->f);
        break;
    case ATTR_BOOL:
        str_add(out, attr->i != 0 ? "true" : "false");
        break;
    case ATTR_TEXT:
    case ATTR_WORD:
        text_print_quoted(attr->text, out);
        break;
    case ATTR_DTYPE:
        print_dtype(attr->i, out);
        break;
    case ATTR_INTS:
    case ATTR_SIZES:
    case ATTR_DATA:
        print_list(op, kind, attr, out);
        break;
    }
}

static void print_results(const Op *op, Str *out) {
    for (int32_t i = 0; i < op->n_results; i++) {
        if (i > 0) {
            str_add(out, ", ");
        }
        print_definition(op->results[i], out);
    }
    if (op->n_results > 0) {
        str_add(out, " = ");
    }
}

void op_print(const Op *op, Str *out) {
    const OpInfo *info = op_info(op->code);
    print_results(op, out);
    str_add(out, info->name);
    for (int32_t i = 0; i < op->n_operands; i++) {
        str_add(out, i > 0 ? ", " : " ");
        print_value(op->operands[i], out);
    }
    bool is_left_out = false;
    for (int i = 0; i < info->n_attrs; i++) {
        if (info->attrs[i]->kind == ATTR_WORD) {
            is_left_out = op->attrs[i].text && !op->attrs[i].text[0];
        }
        if (is_left_out) {
            continue;
        }
        str_addf(out, "%s%s = ", i > 0 ? ", " : " {", info->attrs[i]->name);
        print_attr(op, i, out);
    }
    if (info->n_attrs > 0) {
        str_add_char(out, '}');
    }
    for (int32_t i = 0; i < op->n_results; i++) {
        str_add(out, i > 0 ? ", " : " : ");
        type_print(op->results[i]->type, out);
    }
    if (op->label != NULL && op->label[0] != '\0') {
        str_add(out, " @");
        text_print_quoted(op->label, out);
    }
}

static void print_indent(int depth, Str *out) {
    for (int i = 0; i < depth; i++) {
        str_add(out, "    ");
    }
}

static void print_block(const Block *block, int depth, Str *out);

static void print_op_with_blocks(const Op *op, int depth, Str *out) {
    print_indent(depth, out);
    op_print(op, out);
    for (int32_t i = 0; i < op->n_blocks; i++) {
        const Block *block = op->blocks[i];
        str_add(out, " (");
        for (int32_t k = 0; k < block->n_args; k++) {
            if (k > 0) {
                str_add(out, ", ");
            }
            print_definition(block->args[k], out);
            str_add(out, ": ");
            type_print(block->args[k]->type, out);
        }
        str_add(out, ") {\n");
        print_block(block, depth + 1, out);
        print_indent(depth, out);
        str_add_char(out, '}');
    }
    str_add_char(out, '\n');
}

static void print_block(const Block *block, int depth, Str *out) {
    BLOCK_EACH_OP (block, op) {
        print_op_with_blocks(op, depth, out);
    }
}

static void print_properties(unsigned properties, Str *out) {
    const char *lead = " has ";
    for (int i = 0; i < N_PROPERTIES; i++) {
        if ((properties >> i & 1U) != 0) {
            str_addf(out, "%s%s", lead, PROPERTY_WORDS[i]);
            lead = ", ";
        }
    }
}

/* " of f32[B, 3] cut 0 (1, B, 1) over "data"" */
static void print_sharding(const Module *module, const Sharding *sharding, Str *out) {
    if (sharding == NULL) {
        return;
    }
    str_add(out, " of ");
    type_print(sharding->whole, out);
    for (int32_t i = 0; i < sharding->n_cuts; i++) {
        const AxisCut *cut = &sharding->cuts[i];
        str_addf(out, " cut %d (", (int)cut->axis);
        print_one_size(cut->outer, out);
        str_add(out, ", ");
        print_one_size(cut->rows, out);
        str_add(out, ", ");
        print_one_size(cut->inner, out);
        str_add(out, ") over ");
        text_print_quoted(module_group_text(module, cut->group), out);
    }
}

static void print_func_results(const Func *func, Str *out) {
    for (int32_t i = 0; i < func->n_results; i++) {
        const FuncResult *result = &func->results[i];
        str_addf(out, "%s    %s", i > 0 ? ",\n" : "\n", RESULT_ROLE_WORDS[result->role]);
        if (result->role == RESULT_STORE) {
            bool known = result->arg >= 0 && result->arg < func->body->n_args;
            str_add_char(out, ' ');
            print_value(known ? func->body->args[result->arg] : NULL, out);
        }
        if (result->name != NULL && result->name[0] != '\0') {
            str_add_char(out, ' ');
            text_print_quoted(result->name, out);
        }
        print_sharding(func->module, result->sharding, out);
    }
    str_add(out, func->n_results > 0 ? "\n)\n" : ")\n");
}

void func_print(Func *func, Str *out) {
    func_renumber(func);
    str_add(out, "func ");
    text_print_quoted(func->name, out);
    str_addf(out, " %s", PURPOSE_WORDS[func->purpose]);
    print_properties(func->properties, out);
    str_add(out, " (");
    for (int32_t i = 0; i < func->body->n_args; i++) {
        const Value *arg = func->body->args[i];
        str_add(out, i > 0 ? ",\n    " : "\n    ");
        print_definition(arg, out);
        str_add(out, ": ");
        type_print(arg->type, out);
        str_addf(out, " = %s ", ARG_ROLE_WORDS[func->args[i].role]);
        text_print_quoted(func->args[i].name, out);
        print_sharding(func->module, func->args[i].sharding, out);
    }
    str_add(out, func->body->n_args > 0 ? "\n) {\n" : ") {\n");
    print_block(func->body, 1, out);
    str_add(out, "} -> (");
    print_func_results(func, out);
}

/* Bounds of a dim of ranks follow from the rest. */
static void print_rank_dim(const Module *module, const Dim *dim, Str *out) {
    str_addf(out, "    dim %s is %s", dim->name, DIM_SOURCE_WORDS[dim->source]);
    if (dim->of != NULL) {
        str_add(out, " of ");
        size_print(dim->of, out);
    }
    str_add(out, " over ");
    text_print_quoted(module_group_text(module, dim->group), out);
    str_add_char(out, '\n');
}

static void print_dim(const Module *module, const Dim *dim, Str *out) {
    if (dim->source != DIM_FREE) {
        print_rank_dim(module, dim, out);
        return;
    }
    str_add(out, "    dim ");
    text_print_word(dim->name, out);
    if (dim->divisor != 1) {
        str_addf(out, " %% %lld", (long long)dim->divisor);
    }
    str_addf(out, " in %lld..", (long long)dim->low);
    if (dim->high != INT64_MAX) {
        str_addf(out, "%lld", (long long)dim->high);
    }
    if (dim->nominal != 0) {
        str_addf(out, " = %lld", (long long)dim->nominal);
    }
    str_add_char(out, '\n');
}

/* The mesh and the dims. */
static void print_ranks_and_dims(const Module *module, Str *out) {
    for (int32_t i = 0; i < module->n_mesh_axes; i++) {
        str_addf(out, "    mesh %s = ", module->mesh[i].name);
        if (module->mesh[i].size == 0) {
            str_add(out, "*\n");
        } else {
            str_addf(out, "%lld\n", (long long)module->mesh[i].size);
        }
    }
    for (int32_t i = 0; i < module->n_dims; i++) {
        print_dim(module, module->dims[i], out);
    }
}

void module_print_head(const Module *module, Str *out) {
    str_add(out, "module ");
    text_print_quoted(module->name, out);
    str_add(out, " {\n");
    print_ranks_and_dims(module, out);
    for (size_t i = 0; i < module->settings.count; i++) {
        const MapEntry *setting = &module->settings.entries[i];
        str_add(out, "    setting ");
        text_print_word(setting->key, out);
        str_add(out, " = ");
        text_print_quoted(setting->value, out);
        str_add_char(out, '\n');
    }
    str_add(out, "}\n");
}

void module_print(Module *module, Str *out) {
    module_print_head(module, out);
    for (Func *func = module->first; func != NULL; func = func->next) {
        str_add_char(out, '\n');
        func_print(func, out);
    }
}

uint64_t module_hash(Module *module, Str *scratch) {
    const char *precision = map_get(&module->settings, "precision");
    str_clear(scratch);
    str_add(scratch, precision ? precision : "");
    str_add_char(scratch, '\n');
    print_ranks_and_dims(module, scratch);
    for (Func *func = module->first; func != NULL; func = func->next) {
        func_print(func, scratch);
    }
    uint64_t hash = hash_bytes(str_text(scratch), scratch->length, 0);
    str_clear(scratch);
    return hash;
}
