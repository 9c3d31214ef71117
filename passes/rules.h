/* The rules of rules.def as static trees, read by simplify and by tests/rules. */
#ifndef DLC_PASSES_RULES_H
#define DLC_PASSES_RULES_H

#include "ir/op.h"

typedef enum PatternKind { PATTERN_VARIABLE, PATTERN_CONSTANT, PATTERN_OP } PatternKind;

typedef struct Pattern {
    PatternKind kind;
    int variable; /* 0 x, 1 y, 2 z */
    double value;
    OpCode op;
    int n;
    const struct Pattern *a[3];
} Pattern;

enum { PATTERN_VARIABLES = 3 };

typedef struct Rule {
    const char *name;
    bool exact;
    const Pattern *pattern, *replacement;
} Rule;

extern const Rule rules_table[];
extern const int rules_count;

#endif
