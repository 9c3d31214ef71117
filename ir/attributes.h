/* Attributes with types, made from ops.def and attributes.def: a misspelt attribute, or one that
 * the op has not, does not compile. Part of ir.h; who goes by name, as the text form does, has
 * op_info(code)->attrs.
 *
 *   contract_batch_a(op)   of an op whose code is known: its attribute, at a constant index
 *   op_axes(op)            of an op that has `axes`, whichever its code
 *   op_has_axes(op)        whether it has
 *   op_set_axes(op, v)     sets it; lists must be the module's (ints_copy, sizes_copy)
 *
 * Texts are interned. An op of another code is a mistake of ours. */
#ifndef DLC_IR_ATTRIBUTES_H
#define DLC_IR_ATTRIBUTES_H

#include "ir/attribute_each.h"

#include <assert.h>

typedef struct Ints {
    int32_t count;
    const int64_t *at;
} Ints;

typedef struct Sizes {
    int32_t count;
    const Size *const *at;
} Sizes;

/* For each kind its type, and how it lies in an AttrValue. */
#define ATTR_KINDS(X)                                                                              \
    X(INT, int64_t, attr->i, attr->i = value)                                                      \
    X(SIZE, const Size *, attr->size, attr->size = value)                                          \
    X(FLOAT, double, attr->f, attr->f = value)                                                     \
    X(BOOL, bool, attr->i != 0, attr->i = value)                                                   \
    X(TEXT, const char *, attr->text, attr->text = value)                                          \
    X(WORD, const char *, attr->text, attr->text = value)                                          \
    X(DTYPE, DType, (DType)attr->i, attr->i = value)                                               \
    X(INTS, Ints, ((Ints){attr->list.count, attr->list.ints}),                                     \
      attr->list = ((AttrList){value.count, {.ints = value.at}}))                                  \
    X(SIZES, Sizes, ((Sizes){attr->list.count, attr->list.sizes}),                                 \
      attr->list = ((AttrList){value.count, {.sizes = value.at}}))                                 \
    X(DATA, AttrList, attr->list, attr->list = value)

#define ATTR_KIND(KIND, type, read, write)                                                         \
    typedef type AttrType##KIND;                                                                   \
    static inline AttrType##KIND attr_read_##KIND(const AttrValue *attr) {                         \
        return read;                                                                               \
    }                                                                                              \
    static inline void attr_write_##KIND(AttrValue *attr, AttrType##KIND value) {                  \
        write;                                                                                     \
    }
ATTR_KINDS(ATTR_KIND)
#undef ATTR_KIND
#undef ATTR_KINDS

/* The place of an attribute that the op must have. */
static inline int op_attr_index(const Op *op, AttrId id) {
    assert(OP_ATTR_INDEX[op->code][id] > 0);
    return OP_ATTR_INDEX[op->code][id] - 1;
}

#define ATTR(word, KIND, name)                                                                     \
    typedef AttrType##KIND Attr_##word;                                                            \
    static inline Attr_##word attr_##word(const AttrValue *attr) {                                 \
        return attr_read_##KIND(attr);                                                             \
    }                                                                                              \
    static inline bool op_has_##word(const Op *op) {                                               \
        return OP_ATTR_INDEX[op->code][ATTR_ID_##word] > 0;                                        \
    }                                                                                              \
    static inline Attr_##word op_##word(const Op *op) {                                            \
        return attr_##word(&op->attrs[op_attr_index(op, ATTR_ID_##word)]);                         \
    }                                                                                              \
    static inline void op_set_##word(Op *op, Attr_##word value) {                                  \
        attr_write_##KIND(&op->attrs[op_attr_index(op, ATTR_ID_##word)], value);                   \
    }
#include "ir/attributes.def"
#undef ATTR

#define ATTR_OF_OP(op_name, index, word)                                                           \
    static inline Attr_##word op_name##_##word(const Op *op) {                                     \
        assert(op->code == OP_##op_name);                                                          \
        return attr_##word(&op->attrs[index]);                                                     \
    }
#define OP(name, kind, n_operands, n_results, n_blocks, gradient, fusion, work, flops, combines,   \
           precision, elements, axes, linear, attrs, doc)                                          \
    ATTR_EACH(ATTR_OF_OP, name attrs)
#include "ir/ops.def"
#undef OP
#undef ATTR_OF_OP

#endif
