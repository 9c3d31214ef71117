/* Expands rules.def into constant trees. The macros only build data: nothing is evaluated in an
 * order that C leaves open. */
#include "passes/rules.h"

#define NODE(...)         (&(const Pattern){__VA_ARGS__})
#define X                 NODE(.kind = PATTERN_VARIABLE, .variable = 0)
#define Y                 NODE(.kind = PATTERN_VARIABLE, .variable = 1)
#define Z                 NODE(.kind = PATTERN_VARIABLE, .variable = 2)
#define K(v)              NODE(.kind = PATTERN_CONSTANT, .value = (v))
#define P1(name, p)       NODE(.kind = PATTERN_OP, .op = OP_##name, .n = 1, .a = {p})
#define P2(name, p, q)    NODE(.kind = PATTERN_OP, .op = OP_##name, .n = 2, .a = {p, q})
#define P3(name, p, q, r) NODE(.kind = PATTERN_OP, .op = OP_##name, .n = 3, .a = {p, q, r})
#define EXACT             true
#define FAST              false
#define RULE(rule, exactness, from, to)                                                            \
    {.name = #rule, .exact = exactness, .pattern = from, .replacement = to},

const Rule rules_table[] = {
#include "passes/rules.def"
};
const int rules_count = (int)(sizeof(rules_table) / sizeof(rules_table[0]));
