/* Elaboration's inner state: an abstract interpreter over the syntax tree. Compile-time values
 * (numbers, sizes, strings, lists, functions) are computed; tensors are IR values under
 * construction. Every function is inlined at its call. Private to frontend/elaborate/ and
 * frontend/builtin/. */
#ifndef DLC_FRONTEND_ELABORATE_ELABORATE_H
#define DLC_FRONTEND_ELABORATE_ELABORATE_H

#include "frontend/elaborate/state.h"

/* Stated limits of the language. */
enum {
    ELABORATE_MAX_CALLS = 256,  /* nested calls */
    ELABORATE_MAX_DEPTH = 6000, /* nested evaluations, so that the C stack is bounded */
    ELABORATE_MAX_ITERATIONS = 100000,
    ELABORATE_MAX_OPS = 1000000,
    ELABORATE_MAX_LIST = 1000000,
    ELABORATE_MAX_ITEMS = 2000000,     /* of all lists together */
    ELABORATE_MAX_ALL_CALLS = 100000,  /* of functions with a body, in all */
    ELABORATE_MAX_TEXT = 64 * 1024,    /* bytes of a string … */
    ELABORATE_MAX_ALL_TEXT = 16 << 20, /* … and of all strings that are made */
    ELABORATE_MAX_PATH = 4096,         /* bytes of a parameter's path */
    ELABORATE_MAX_LOOPS = 16,          /* PLAN_MAX_LOOP_DEPTH: scans and whiles inside each other */
    ELABORATE_MAX_IMPORTS = 256,       /* files */
};

/* -- diag.c: reporting */

/* Reports at `place`, moved out of the library to the call that entered it. The result takes notes
 * and help until the next report. */
#define EL_REPORT(el, ID, place_, ...)                                                             \
    (elaborate_diag_close(el),                                                                     \
     elaborate_diag_opened(el,                                                                     \
                           diag_report(&(el)->context->diags, DIAG_##ID,                           \
                                       elaborate_user_place((el), (place_)), __VA_ARGS__),         \
                           (place_)))
void elaborate_diag_close(Elaborator *el);
Diag *elaborate_diag_opened(Elaborator *el, Diag *diag, Place place);
Place elaborate_user_place(Elaborator *el, Place place);
void elaborate_note(Elaborator *el, Diag *diag, Place place, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void elaborate_help(Elaborator *el, Diag *diag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static inline Val val_error(void) {
    Val value = {.kind = VAL_ERROR};
    return value;
}
/* "an i32[B, 10] tensor", "the number 3", "a list"; for messages. */
const char *val_describe(Elaborator *el, Val value);
/* The kind alone: "a tensor", "a string". */
const char *val_kind_text(ValKind kind);
Val elaborate_limit(Elaborator *el, Place place, const char *text);
/* Whether an evaluation may go one deeper; reports the limit where not. */
bool elaborate_may_nest(Elaborator *el, Place place);
/* As source text on one line; in the arena. */
const char *expr_source(Elaborator *el, const AstExpr *expr);
const char *type_source(Elaborator *el, const AstType *type);

/* -- value.c: making and asking values */

Val val_int(int64_t value, Place place);
Val val_float(double value, Place place);
Val val_bool(bool value, Place place);
Val val_string(const char *text, Place place);
Val val_size(const Size *size, Place place);                            /* INT when constant */
Val val_tensor(Value *value, bool weak, Place place);                   /* ERROR for NULL */
Val val_list(Elaborator *el, ValKind kind, int32_t count, Place place); /* items zeroed */
Val val_fn(Elaborator *el, FnKind kind, const char *name, Place place);
static inline bool val_is_error(Val value) {
    return value.kind == VAL_ERROR;
}
/* Whether the value stands for a number that calls know and a trial of the signature does not. */
static inline bool val_stands_in(const Elaborator *el, Val value) {
    return el->trial && (value.kind == VAL_SIZE ||
                         (value.kind == VAL_TENSOR && value.as.tensor->type.rank == 0));
}
static inline bool val_is_number(Val value) {
    return value.kind == VAL_INT || value.kind == VAL_FLOAT || value.kind == VAL_SIZE;
}
bool val_as_size(Elaborator *el, Val value, const Size **out); /* INT or SIZE; silent */

/* -- need.c */

/* These report (naming `what`) and return false when the value is of another kind. */
bool need_int(Elaborator *el, Val value, const char *what, Place place, int64_t *out);
bool need_size(Elaborator *el, Val value, const char *what, Place place, const Size **out);
bool need_float(Elaborator *el, Val value, const char *what, Place place, double *out);
bool need_bool(Elaborator *el, Val value, const char *what, Place place, bool *out);
bool need_string(Elaborator *el, Val value, const char *what, Place place, const char **out);
/* An axis in [0, rank), negatives from the end. */
bool need_axis(Elaborator *el, Val value, int32_t rank, Place place, int64_t *out);
/* One axis or a list of them; NONE: all. Sorted, distinct. */
bool need_axes(Elaborator *el, Val value, int32_t rank, Place place, int64_t *out,
               int32_t *out_count);
/* A shape: a list or tuple of sizes, or one size. */
bool need_shape(Elaborator *el, Val value, const char *what, Place place, const Size **out,
                int32_t *out_rank);

/* -- made.c: ops */

/* Sets place and label for ops to come. */
void elaborate_at(Elaborator *el, Place place);
/* Passes a builder's result on, turning its complaint into a diagnostic at `place`. */
Value *elaborate_made(Elaborator *el, Value *value, Place place);
bool elaborate_building_failed(Elaborator *el,
                               Place place); /* the same for calls without a result */

/* -- settled.c */

/* A number that the run gives: `step`, `seed`, `lr`. */
Value *elaborate_run_scalar(Elaborator *el, const char *name, DType dtype);
/* A number that the run may set (an optimizer's beta2) as the scalar it is then; conditions and
 * shapes use the program's number. Other values are returned as they are. */
Val val_settled(Elaborator *el, Val value);

/* -- tensor.c: types, broadcasting, arithmetic */

typedef enum TypeUse { USE_ARITHMETIC, USE_COMPARE, USE_SELECT, USE_FLOAT } TypeUse;
/* The common element type of `count` values under the weak rules, reported when there is none. */
bool common_dtype(Elaborator *el, const Val *values, int32_t count, TypeUse use, const char *what,
                  Place place, DType *out, bool *out_weak);
/* A value as a tensor of `dtype` with its own shape (numbers: rank 0). */
Value *elaborate_as(Elaborator *el, Val value, DType dtype, Place place);
/* A tensor; numbers become weak rank-0 tensors. NULL after a report. */
Value *need_tensor(Elaborator *el, Val value, const char *what, Place place);
/* Two sizes that must agree: proved, reported as unequal, or checked when the plan runs. */
bool elaborate_same_size(Elaborator *el, const Size *a, Place place_a, const Size *b, Place place_b,
                         Place place, const char *what);
/* The broadcast shape of tensors and numbers; false after a report. */
bool common_shape(Elaborator *el, const Val *values, int32_t count, const char *what, Place place,
                  const Size **out, int32_t *out_rank);
/* x repeated to `shape` by the rules of broadcasting (which were checked). */
Value *elaborate_expand(Elaborator *el, Value *x, const Size *const *shape, int32_t rank,
                        Place place);
/* Values as tensors of one element type and shape; numbers become full constants. */
bool elaborate_unify(Elaborator *el, const Val *values, int32_t count, TypeUse use,
                     const char *what, Place place, Value **out, bool *out_weak);
/* Of values that are no quotients (quotient.c). */
Val arith_binary(Elaborator *el, AstOp op, Val left, Val right, Place place);
Val arith_minus(Elaborator *el, Val value, Place place);
/* Counts the elements of a list that is made of others; false at the limit, which was reported. */
bool elaborate_count_items(Elaborator *el, int64_t count, Place place);
Val elaborate_not(Elaborator *el, Val value, Place place);
Val elaborate_elementwise(Elaborator *el, OpCode code, const Val *values, int32_t count,
                          TypeUse use, const char *what, Place place);
Value *elaborate_reshape(Elaborator *el, Value *x, const Size *const *shape, int32_t rank,
                         Place place);
Value *elaborate_transpose(Elaborator *el, Value *x, const int64_t *permutation, Place place);
bool dtype_promote(DType a, DType b, DType *out);
DType elaborate_float(const Elaborator *el); /* the default float */
/* What a call or an index gave is a value of its own, which `grad` can tell from every other: a
 * float tensor that was there before value `first` of the Func gets an identity in front. */
Val elaborate_own(Elaborator *el, Val value, int32_t first, Place place);
int32_t elaborate_next_value(const Elaborator *el); /* for `first`: what is made from now on */
/* memcpy for sizes; a rank-0 shape may be NULL. */
static inline void copy_sizes(const Size **to, const Size *const *from, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        to[i] = from[i];
    }
}

/* -- pairs.c: comparisons that pair by accident */

/* Notes the comparison, difference or product `result` where its operands are such a pair. */
void pairs_note(Elaborator *el, OpCode code, Val result, Val left, Val right, Place place);
/* Reports a noted comparison (an error), difference or product (a warning) whose mean or sum
 * `value` is, the `what` called `name`. False after an error. */
bool pairs_check(Elaborator *el, const Value *value, const char *what, const char *name,
                 Place place);

/* -- number.c: arithmetic on compile-time numbers and sizes */

Val number_binary(Elaborator *el, AstOp op, Val left, Val right, Place place);
/* Reports a division by `divisor` (NULL: by the number), which is 0 or may be. */
void zero_divisor(Elaborator *el, const Size *divisor, Place place);
bool number_to_double(Val value, double *out); /* INT, FLOAT */
/* Where a float is wanted: false, after a report, for an integer that a division rounded. */
bool number_exact(Elaborator *el, Val value, Place place);

Val elaborate_matmul(Elaborator *el, Val left, Val right, Place place);

/* -- env.c: top-level names */

Env *env_new(Elaborator *el, Env *library);
/* What a name means in a file; NULL: nothing. Reports when two imported files declare it. */
Global *env_find(Elaborator *el, Env *env, NameSpace space, const char *name, Place place);
/* All names that a file sees, for suggestions. */
void env_names(Elaborator *el, Env *env, NameSpace space, Map *out);
/* The same for functions, the built-in ones included. */
Fn *find_function(Elaborator *el, Env *env, const char *name, Place place);

/* -- expr.c: expressions */

Val elaborate_expr(Elaborator *el, const AstExpr *expr);
/* Text of a path, with strings interpolated and indices evaluated; NULL after a report. */
const char *elaborate_path(Elaborator *el, const AstPath *path);

/* -- scope.c: names of a block */

Binding *scope_find(Scope *scope, const char *name, bool to_barrier);
void scope_bind(Elaborator *el, const char *name, Val value, Place place); /* rebinding rules */
void scope_define(Elaborator *el, Scope *scope, const char *name, Val value, Place place);
Scope *scope_push(Elaborator *el, bool barrier);
void scope_pop(Elaborator *el);

/* -- name.c: names */

/* A name where a value is meant: locals, consts, dims, run-time scalars, functions. */
Val elaborate_name(Elaborator *el, const char *name, Place place);
/* A name where a function is meant; reports when there is none. */
Fn *elaborate_callee(Elaborator *el, const AstExpr *callee);
Val global_value(Elaborator *el, Global *global, Place place);
bool name_is_built_in(const char *name); /* as a value: `pi`, `f32`, `step` … */
/* The reports for a name that means nothing, with what was meant. */
Val elaborate_unknown_name(Elaborator *el, const char *name, Place place);
Fn *elaborate_unknown_function(Elaborator *el, const char *name, Place place);

/* -- range.c: ranges of sizes */

/* `a <= b`, by proof or by a check at run time with `what` in its text; false when it is refuted.
 */
bool shown_le(Elaborator *el, const Size *a, const Size *b, const char *what, Place place);
/* The same of least <= size <= most, `what` naming the size; reports where it is refuted. */
bool shown_within(Elaborator *el, const Size *size, int64_t least, int64_t most, const char *what,
                  Place place);
/* An axis whose positions i32 counts, and a count that i32 holds. */
#define INDEX_SIZE_MOST  ((int64_t)INT32_MAX + 1)
#define INDEX_COUNT_MOST ((int64_t)INT32_MAX)
/* In a trial of a signature: whether the size is a negative number in some call, which counts from
 * the end there. */
bool may_count_back(Elaborator *el, Val value);
/* [start, limit) of an axis with both bounds shown to hold; reports otherwise. */
bool check_range(Elaborator *el, const Size *start, const Size *limit, const Size *size,
                 Place place);

/* -- index.c: indices and slices */

Val elaborate_index(Elaborator *el, const AstExpr *expr);
/* One element of a tensor's axis 0, or of a list. */
Val elaborate_item(Elaborator *el, Val base, int64_t index, Place place);
/* iota of the type along the axis, whose positions the type is shown to hold; NULL: reported. */
Value *index_along(Elaborator *el, int64_t axis, Type type, Place place);
/* -- call.c, bind.c: calls */

Val elaborate_call(Elaborator *el, const AstExpr *expr);
/* Calls with evaluated arguments. */
Val call_fn(Elaborator *el, Fn *fn, Args args, CallSite site);
Val call_builtin(Elaborator *el, const Builtin *builtin, Args args, Place place);
/* An expression for a parameter of type `fn`: a call there is a partial application. */
Val elaborate_fn_argument(Elaborator *el, const AstExpr *expr);
/* Whether these arguments can be given by number and name; reported otherwise. `partial`: others
 * may follow. */
bool arguments_fit(Elaborator *el, const AstDecl *decl, Args args, Place place, bool partial);
bool type_element_known(Elaborator *el, const AstType *type); /* reports an unknown one */
/* The parameter that an argument is for; NULL: unknown, or not of a function with a body. */
const AstParam *param_for(const Fn *fn, int32_t position, const char *name);
/* Binds args to the parameters of decl in the current scope (types, sizes, defaults). */
bool bind_params(Elaborator *el, const AstDecl *decl, Args args, CallSite site);
/* A value against the declared type of `name`; sizes not yet bound are bound in the scope. Returns
 * the value (converted by the weak rules) or an error. */
Val bind_typed(Elaborator *el, const AstType *type, const char *name, Place declared, Val value,
               Place place, const AstParams *params);
/* The shape part, a second visit: sizes that are expressions. */
bool check_typed(Elaborator *el, const AstType *type, const char *name, Val *value, Place place);
Val check_result(Elaborator *el, const AstType *type, Val value, const char *name, Place place);
/* A declared type as a concrete one (inputs, params, states). */
bool elaborate_type(Elaborator *el, const AstType *type, Type *out);

/* -- rest.c: the `...` of a signature */

/* Whether the type begins with `...`. */
bool type_has_rest(const AstType *type);
/* The leading axes of a tensor against the earlier uses of its `...` in this call: bound by the
 * first, the same in all others; what is not proved is checked when the plan runs, and the value
 * then carries the sizes of the first. `what`: "argument 'x'". False after a report. */
bool rest_bind(Elaborator *el, const AstType *type, const char *param, const char *what, Val *value,
               Place place);
/* A number repeated to the axes that other arguments gave to the `...` of its type. */
bool rest_fill(Elaborator *el, const AstType *type, Val *value, Place place);

const char *frame_path(Elaborator *el, Frame *frame); /* allocates the label part when needed */
const char *join_path(Elaborator *el, const char *prefix, const char *rest);

/* -- axis.c: axis functions */

Val elaborate_axis_call(Elaborator *el, Fn *fn, Args args, Place place);

/* -- quotient.c: operators on all values */

Val elaborate_binary(Elaborator *el, AstOp op, Val left, Val right, Place place);
Val elaborate_unary_minus(Elaborator *el, Val value, Place place);

/* -- result.c: what models give */

void elaborate_output(Elaborator *el, const AstStmt *stmt);
void elaborate_metric(Elaborator *el, const AstStmt *stmt);
void elaborate_loss(Elaborator *el, const AstStmt *stmt);
/* `return a over b`: the quotient, which remembers both where they are scalars. */
Val elaborate_quotient(Elaborator *el, const AstExpr *a, const AstExpr *b);
/* -- stmt.c: statements */

void elaborate_stmts(Elaborator *el, const AstStmts *stmts);
void elaborate_bind_targets(Elaborator *el, const AstNames *targets, Val value, Place place);

/* -- persist.c: parameters and state */

void elaborate_declare(Elaborator *el, const AstStmt *stmt);
/* What the declared one is called in its body; text NULL: it has a path alone. */
AstName declared_name(const AstStmt *stmt);
void elaborate_store(Elaborator *el, const AstStmt *stmt);
/* The parameter or state at a path below the frame's, as a value; NONE when there is none. */
Val persist_read(Elaborator *el, const char *path, Place place);
Value *persist_current(Elaborator *el, PersistUse *use, Place place);
void persist_write(Elaborator *el, PersistUse *use, Value *value);
/* Whether all next values of the Func's states are finite, a bool; NULL: no state of floats is
 * written, or it was reported. */
Value *persist_states_finite(Elaborator *el, Place place);
/* test ? next : old, for what is stored only if a run went well. */
Value *persist_guarded(Elaborator *el, Value *test, Value *next, Value *old, Place place);
/* The slot or state `name` of this frame; NULL when there is none. */
PersistUse *persist_find(Elaborator *el, const char *name);
/* Initial value by the rules of `param … = f(…)`; shape and dtype are handed to f. */
Value *elaborate_initial(Elaborator *el, const AstExpr *expr, Type type, const char *what,
                         Place place);
/* Whether the function has such a parameter; `first`: only as its first one. */
bool fn_takes(const Fn *fn, const char *name, bool first);
/* Emits a Persist's initial value into the init Func; copy_of: the value of another Persist there.
 */
void persist_init(Elaborator *el, Persist *persist, const AstExpr *expr, const char *copy_of);
void persist_init_number(Elaborator *el, Persist *persist, double number);
/* Declares `path` in the current Func, making or finding its Persist. */
PersistUse *persist_declare(Elaborator *el, PersistKind kind, const char *path, Type type,
                            const AstExpr *init, Place place);

/* -- scan.c: loops */

void elaborate_scan(Elaborator *el, const AstStmt *stmt);
void elaborate_while(Elaborator *el, const AstStmt *stmt);
/* Enters a loop's body: ops go to `body` until loop_leave. */
typedef struct LoopEntry {
    Loop *loop;
    Builder outside;
} LoopEntry;
LoopEntry loop_enter(Elaborator *el, Loop *loop, Block *body);
void loop_leave(Elaborator *el, const LoopEntry *entry);
/* After the body: drops hidden carries that were only read, and completes the op with `carries`
 * next values and `ys` yields. Returns the inserted op or NULL. */
Op *scan_finish(Elaborator *el, Loop *loop, Value *const *inits, Value *const *nexts,
                int32_t n_carries, Value *const *xs, int32_t n_xs, Value *const *ys, int32_t n_ys,
                Place place);
void loop_thread(Elaborator *el, PersistUse *use);
/* Undoing a body that has to be elaborated again. */
typedef struct PassMark {
    Map *labels;
    size_t n_labels, n_uses, n_ordinals;
    PersistUse *uses; /* copies */
    int64_t *ordinals;
} PassMark;
PassMark pass_mark(Elaborator *el);
void pass_undo(Elaborator *el, const PassMark *mark);

/* -- trial.c: trials of signatures (check/shapes.c) */

/* The dim of this trial that `key` stands for, made where there is none yet. */
const Size *trial_size(Elaborator *el, const char *key, const char *name, int64_t low, Place place);
/* The size of what two sizes broadcast to, either of which may be 1 in some call. */
const Size *trial_joined(Elaborator *el, const Size *a, const Size *b);

/* -- random.c: keys of random numbers */

/* What a random op is made of; a NULL operand was reported. */
typedef struct RandomKey {
    Value *seed, *step, *iteration;
    int64_t site;
    Piece piece;
} RandomKey;
/* For the next numbers of this type. */
RandomKey random_key(Elaborator *el, Type type, Place place);

/* -- module.c, dim.c: files, consts, dims, defines */

bool elaborate_file(Elaborator *el, Env *env, const AstFile *file, bool is_root);
/* Evaluates dims and applies -D; then every const. */
void elaborate_globals(Elaborator *el);
/* Bounds a dim, or gives it the value of -D; nothing to do for one that was. */
void elaborate_dim(Elaborator *el, Global *global);

/* -- constant.c: outside any function */

/* With the names of a file; with the user's. */
Val elaborate_constant_in(Elaborator *el, Env *env, const AstExpr *expr);
Val elaborate_constant_expr(Elaborator *el, const AstExpr *expr);

/* -- func_state.c: a Func under construction */

FuncState *func_state_new(Elaborator *el, const char *name, Purpose purpose);
void func_state_inputs(Elaborator *el, FuncState *fs, const AstDecl *decl);
/* Sets the results and checks what a finished Func must have. */
typedef struct ResultVec {
    VEC(FuncResult) results;
    VEC(Value *) values;
} ResultVec;
void result_add(Elaborator *el, ResultVec *vec, ResultRole role, const char *name, int32_t arg,
                Value *value);
void func_finish(Elaborator *el, FuncState *fs, const AstDecl *decl, const ResultVec *vec);

/* -- body.c, model.c: a model's Funcs */

/* Runs a model's (or entry's) body with these inputs in the current FuncState. */
void elaborate_model_body(Elaborator *el, const AstDecl *decl, Value *const *inputs);
void elaborate_model_funcs(Elaborator *el);

/* -- mesh.c, sharding.c: the mesh */

/* Reads the mesh line into el->layout. */
void elaborate_mesh(Elaborator *el);
/* What the call gives, with a hint if its path has one; called within its frame, which it ends. */
Val mesh_of_call(Elaborator *el, const Frame *frame, Val result);
/* Once every Func is there: the paths of the block are those of parameters and calls, of their
 * rank. */
void mesh_check_paths(Elaborator *el);
/* An argument of `shard` behind the first, as text: `_`, `data`, `(data, model)`. */
Val mesh_argument(Elaborator *el, const AstExpr *expr);

/* -- train.c, update.c, settings.c: training */

void elaborate_train_func(Elaborator *el);
/* Whether one of the globs matches the path; whether the train block says `freeze` of it. */
bool setting_matches(Elaborator *el, const AstExprs *globs, const char *path);
bool setting_freezes(Elaborator *el, const char *path);
/* The first setting with this word; NULL: not given. */
const AstSetting *find_setting(const AstDecl *train, const char *word);
/* A setting's only value as a compile-time number; NONE when the setting is not given. */
Val setting_value(Elaborator *el, const char *word);
void check_settings(Elaborator *el);
void record_settings(Elaborator *el);
/* What `precision` asks of products: "bf16", "f16", "tf32"; NULL: nothing. */
const char *compute_precision(Elaborator *el);
/* The dim that counts rows; NULL when no input has one or it is unclear. */
const Dim *batch_dim(Elaborator *el);

/* An optimizer line ready for use. */
typedef struct OptimizerUse {
    const AstSetting *setting;
    Fn *fn;
    Args args; /* evaluated once */
    Value *lr; /* with the run's override, once known */
} OptimizerUse;
bool optimizer_read(Elaborator *el, const AstSetting *setting, const AstExpr *expr,
                    OptimizerUse *out);
/* The parameter's next value; NULL after a report. */
Value *optimizer_apply(Elaborator *el, OptimizerUse *use, PersistUse *param, Value *grad);
bool elaborate_arguments(Elaborator *el, const Fn *fn, const AstExpr *call, Args *out);

/* -- builtin/builtin.c */

const Builtin *builtin_find(const char *name);
/* Whether its arguments behind the first are axes of the mesh, not values. */
bool builtin_takes_axes(const Builtin *builtin);
/* Reports arguments that cannot be given by number and name; `partial`: others may follow. */
void builtin_arguments_fit(Elaborator *el, const Builtin *builtin, Args args, Place place,
                           bool partial);
void builtin_names(Elaborator *el, Map *out); /* for suggestions */
Val builtin_reduce(Elaborator *el, const char *name, Val x, const int64_t *axes, int32_t n_axes,
                   bool keepdims, Place place);
Val elaborate_concat(Elaborator *el, const Val *values, int32_t count, int64_t axis, Place place);
/* x with axis `axis` of size n: uniform numbers of `type`. */
Value *elaborate_uniform(Elaborator *el, Type type, Place place);

#endif
