/* What the files of the kernels' text parser share. */
#ifndef DLC_CODEGEN_KERNEL_PARSE_H
#define DLC_CODEGEN_KERNEL_PARSE_H

#include "codegen/kernel.h"
#include "ir/base/ascii.h"
#include "ir/parse_lex.h"

typedef struct KernelParser {
    Parser text;
    Arena *arena; /* of what is made */
    Kernel *kernel;
    VEC(const Size *) sizes;
    VEC(KLocal *) locals;
    VEC(KVar *) vars;   /* by number; NULL: not met yet */
    VEC(Place) places;  /* of statements, in order of the text */
    int32_t n_brackets; /* open around the expression being read */
} KernelParser;

/* kernel_parse_stmt.c: statements up to the closing brace. */
bool kernel_parse_list(KernelParser *k, KStmt **out);
/* kernel_parse_expr.c: whether a word stands here; "b3" with a number below `limit`. */
bool kernel_parse_at(KernelParser *k, const char *word);
bool kernel_parse_numbered(KernelParser *k, char letter, int32_t limit, int32_t *out);
const KExpr *kernel_parse_expr(KernelParser *k); /* NULL after reporting */
/* "%4", which a statement before defines; NULL after reporting. */
const KVar *kernel_parse_var(KernelParser *k);

#endif
