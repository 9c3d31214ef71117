/* Writing the text of CUDA kernels, once team.h's state says who runs what and where locals lie. */
#ifndef DLC_CODEGEN_CUDA_TEXT_STATE_H
#define DLC_CODEGEN_CUDA_TEXT_STATE_H

#include "codegen/cuda/team/team.h"

static inline bool text_is_natural(const Text *t, const KExpr *expr) {
    return kernel_expr_is_natural(t->kernel, t->natural, expr);
}

/* expr.c */
const char *text_value_type(DType dtype);  /* of variables: float for the halves */
const char *text_memory_type(DType dtype); /* of arrays: unsigned short for the halves */
const char *text_suffix(DType dtype); /* f32, f64, i32, i64, bool: the type of prelude functions */
void text_expr(Text *t, const KExpr *expr);
void text_var(Text *t, const KVar *var);
int64_t text_high(const Text *t, const KExpr *expr);
bool text_tainted(const Text *t, const KExpr *expr);
/* local[index], as an lvalue. */
void text_local_at(Text *t, const KLocal *local, const KExpr *index);
void text_local_open(Text *t, const KLocal *local);  /* "local[", to be followed by an index, */
void text_local_close(Text *t, const KLocal *local); /* and this */
void text_local_name(Text *t, const KLocal *local);
/* The value as it is stored in an array of `dtype`. */
void text_stored(Text *t, DType dtype, const KExpr *value);

/* line.c */
void text_line(Text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_begin(Text *t); /* the indentation of a line */

/* stmt.c */
void text_stmts(Text *t, const KStmt *stmt, Team team);

void text_barrier(Text *t, Team team);

/* A bound of a loop, evaluated before it. */
void text_bound(Text *t, const char *name, const KVar *var, const KExpr *value);
void text_loop_bounds(Text *t, const KStmt *loop); /* and knows the range of its variable */

/* reduction.c: variables that a loop shared out over a team reduces. Each thread has its part,
 * declared as VAR_part with what none of the elements give, … */
void text_parts_declare(Text *t, const KVar *const *vars, const OpCode *ops, int32_t n);
/* … and after the loop the parts of all are combined into the variables. */
void text_parts_combine(Text *t, const KStmt *loop, Team team, const KVar *const *vars,
                        const OpCode *ops, int32_t n);

/* wide.c */
const char *text_vector_name(DType dtype);
void text_wide_element(Text *t, int32_t part);
void text_wide_stop(Text *t, const KStmt *loop, const Wide *wide);
void text_wide_loop(Text *t, const KStmt *loop, Wide *wide);

/* group.c */
bool text_group(Text *t, const KStmt *loop, Team team);
/* The condition of the group that a body shared out over threads ends in; 0: none. */
int32_t text_group_condition(Text *t, const KStmt *body);
bool text_group_copies(Text *t, const KStmt *body); /* it is one copy */
/* A panel's element as a copy that finishes later; false: nothing was written. */
bool text_copy_element(Text *t, const KStmt *store);

/* pipe.c */
void pipe_loop(Text *t, const KStmt *loop);

/* contract.c */
void text_contract(Text *t, const KStmt *stmt, Team team);
void text_contract_open(Text *t, const KStmt *stmt);  /* before the loop that holds the sums */
void text_contract_close(Text *t, const KStmt *stmt); /* after it */

#endif
