/* Expands an attribute list of an ops.def row: within OP(name, …, attrs, doc), where ATTRS and A
 * are defined as here, ATTR_EACH(M, name attrs) is M(name, 0, word) M(name, 1, word) … for its
 * words. A row of more than OP_MAX_ATTRS does not compile. Included by readers of ops.def that
 * expand the column; they undefine nothing. */
#ifndef DLC_IR_ATTRIBUTE_EACH_H
#define DLC_IR_ATTRIBUTE_EACH_H

#define A(word)     , word
#define ATTRS(list) list

#define ATTR_EACH(M, ...)                                                                          \
    ATTR_PICK(__VA_ARGS__, ATTR_7, ATTR_6, ATTR_5, ATTR_4, ATTR_3, ATTR_2, ATTR_1, ATTR_0, )       \
    (M, __VA_ARGS__)
#define ATTR_PICK(op, a, b, c, d, e, f, g, each, ...) each
#define ATTR_0(M, op)
#define ATTR_1(M, op, a)                M(op, 0, a)
#define ATTR_2(M, op, a, b)             ATTR_1(M, op, a) M(op, 1, b)
#define ATTR_3(M, op, a, b, c)          ATTR_2(M, op, a, b) M(op, 2, c)
#define ATTR_4(M, op, a, b, c, d)       ATTR_3(M, op, a, b, c) M(op, 3, d)
#define ATTR_5(M, op, a, b, c, d, e)    ATTR_4(M, op, a, b, c, d) M(op, 4, e)
#define ATTR_6(M, op, a, b, c, d, e, f) ATTR_5(M, op, a, b, c, d, e) M(op, 5, f)
#define ATTR_7(M, op, a, b, c, d, e, f, g)                                                         \
    ATTR_6(M, op, a, b, c, d, e, f)                                                                \
    M(op, 6, g)

#endif
