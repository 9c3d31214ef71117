/* Statements of the kernels' text form. */
#include "codegen/kernel_parse.h"
#include "codegen/kernel_words.h"

#include <string.h>

/* "%4 x", defined here or, if mutable, known before. A loop's variable is i64; else its type stands
 * behind a colon. */
static const KVar *parse_defined_var(KernelParser *k, bool is_mutable, bool is_loop) {
    Parser *p = &k->text;
    Mark mark = parse_mark(p);
    int32_t number = 0;
    const char *hint = NULL;
    DType dtype = DT_I64;
    bool is_named = !is_loop; /* "in" is no name */
    if (!parse_value_number(p, &number)) {
        return NULL;
    }
    if (is_named ? !parse_at(p, ":") : !kernel_parse_at(k, "in")) {
        hint = parse_name(p, "a name");
        if (!hint) {
            return NULL;
        }
    }
    if (!is_loop && (!parse_expect(p, ":") || !parse_dtype(p, &dtype))) {
        return NULL;
    }
    while (k->vars.count <= (size_t)number) {
        VEC_PUSH(k->arena, &k->vars, NULL);
    }
    KVar *var = k->vars.items[number];
    if (var && !(is_mutable && var->is_mutable)) {
        diag_report(&p->context->diags, DIAG_IR_REDEFINED, parse_place(p, mark), (int)number);
        return NULL;
    }
    if (!var) {
        var = ARENA_NEW(k->arena, KVar);
        *var = (KVar){.dtype = dtype, .id = number, .is_mutable = is_mutable, .hint = hint};
        k->vars.items[number] = var;
    }
    if (var->dtype != dtype) {
        diag_report(&p->context->diags, DIAG_IR_BAD_NUMBER, parse_place(p, mark),
                    "the variable had another type before");
        return NULL;
    }
    return var;
}

/* "%4 x: f32 = value". A let's variable is known after its value, a mutable one is known before:
 * the value of its first set may not read it, which is kernel_verify's to say. */
static bool parse_assign(KernelParser *k, KStmt *stmt) {
    KAssign assign;
    assign.var = parse_defined_var(k, stmt->kind == KS_SET, false);
    assign.value = assign.var && parse_expect(&k->text, "=") ? kernel_parse_expr(k) : NULL;
    *(stmt->kind == KS_SET ? &stmt->as.set : &stmt->as.let) = assign;
    return assign.value != NULL;
}

/* "%0 i in 0..s0 { … }" */
static bool parse_loop(KernelParser *k, KStmt *stmt) {
    Parser *p = &k->text;
    stmt->as.loop.var = parse_defined_var(k, false, true);
    if (!stmt->as.loop.var || !parse_keyword(p, "in")) {
        return false;
    }
    stmt->as.loop.begin = kernel_parse_expr(k);
    if (!stmt->as.loop.begin || !parse_expect(p, "..")) {
        return false;
    }
    stmt->as.loop.end = kernel_parse_expr(k);
    return stmt->as.loop.end && parse_expect(p, "{") && kernel_parse_list(k, &stmt->as.loop.body);
}

static bool parse_if(KernelParser *k, KStmt *stmt) {
    Parser *p = &k->text;
    stmt->as.branch.condition = kernel_parse_expr(k);
    if (!stmt->as.branch.condition || !parse_expect(p, "{") ||
        !kernel_parse_list(k, &stmt->as.branch.then)) {
        return false;
    }
    if (!kernel_parse_at(k, "else")) {
        return true;
    }
    return parse_keyword(p, "else") && parse_expect(p, "{") &&
           kernel_parse_list(k, &stmt->as.branch.otherwise);
}

/* "b1[%0] = value watched", "l0[%0] = value" */
static bool parse_store(KernelParser *k, KStmt *stmt) {
    Parser *p = &k->text;
    bool is_local = stmt->kind == KS_LOCAL_STORE;
    int32_t number = 0, limit = is_local ? k->kernel->n_locals : k->kernel->n_buffers;
    if (!kernel_parse_numbered(k, is_local ? 'l' : 'b', limit, &number) || !parse_expect(p, "[")) {
        return false;
    }
    const KExpr *at = kernel_parse_expr(k);
    const KExpr *value =
        at && parse_expect(p, "]") && parse_expect(p, "=") ? kernel_parse_expr(k) : NULL;
    if (!value) {
        return false;
    }
    if (is_local) {
        stmt->as.local_store.array = k->kernel->locals[number];
        stmt->as.local_store.at = at;
        stmt->as.local_store.value = value;
        return true;
    }
    stmt->as.store.buffer = number;
    stmt->as.store.at = at;
    stmt->as.store.value = value;
    stmt->as.store.watched = kernel_parse_at(k, "watched");
    return !stmt->as.store.watched || parse_keyword(p, "watched");
}

/* "l1 deep[%0]" */
static bool parse_panel(KernelParser *k, const KLocal **out, bool *out_deep, const KExpr **at) {
    Parser *p = &k->text;
    int32_t number = 0;
    if (!kernel_parse_numbered(k, 'l', k->kernel->n_locals, &number)) {
        return false;
    }
    *out = k->kernel->locals[number];
    *out_deep = kernel_parse_at(k, "deep");
    if ((*out_deep && !parse_keyword(p, "deep")) || !parse_expect(p, "[")) {
        return false;
    }
    *at = kernel_parse_expr(k);
    return *at && parse_expect(p, "]");
}

/* "l0[0 by 64] += l1[0] * l2[0] tf32 depth 16" */
static bool parse_contract(KernelParser *k, KContract *contract) {
    Parser *p = &k->text;
    int32_t number = 0;
    if (!kernel_parse_numbered(k, 'l', k->kernel->n_locals, &number) || !parse_expect(p, "[")) {
        return false;
    }
    contract->c_local = k->kernel->locals[number];
    contract->c_offset = kernel_parse_expr(k);
    if (!contract->c_offset || !parse_keyword(p, "by")) {
        return false;
    }
    contract->c_stride = kernel_parse_expr(k);
    if (!contract->c_stride || !parse_expect(p, "]")) {
        return false;
    }
    contract->accumulate = parse_accept(p, "+=");
    if ((!contract->accumulate && !parse_expect(p, "=")) ||
        !parse_panel(k, &contract->a_local, &contract->a_deep, &contract->a_offset) ||
        !parse_expect(p, "*") ||
        !parse_panel(k, &contract->b_local, &contract->b_deep, &contract->b_offset)) {
        return false;
    }
    contract->tf32 = kernel_parse_at(k, "tf32");
    if ((contract->tf32 && !parse_keyword(p, "tf32")) || !parse_keyword(p, "depth")) {
        return false;
    }
    contract->depth = kernel_parse_expr(k);
    return contract->depth != NULL;
}

/* "if bad site 3 value %1 bound 10" */
static bool parse_fault(KernelParser *k, KStmt *stmt) {
    Parser *p = &k->text;
    stmt->as.fault.bad = parse_keyword(p, "if") ? kernel_parse_expr(k) : NULL;
    if (!stmt->as.fault.bad || !parse_keyword(p, "site") || !parse_int(p, &stmt->as.fault.site) ||
        !parse_keyword(p, "value")) {
        return false;
    }
    stmt->as.fault.value = kernel_parse_expr(k);
    stmt->as.fault.bound =
        stmt->as.fault.value && parse_keyword(p, "bound") ? kernel_parse_expr(k) : NULL;
    return stmt->as.fault.bound != NULL;
}

static bool take_word(KernelParser *k, const char *word) {
    return kernel_parse_at(k, word) && parse_keyword(&k->text, word);
}

static bool parse_stmt(KernelParser *k, KStmt *stmt) {
    Parser *p = &k->text;
    for (int i = 0; i < KERNEL_N_LOOP_WORDS; i++) {
        if (take_word(k, KERNEL_LOOP_WORDS[i])) {
            stmt->kind = KS_FOR;
            stmt->as.loop.kind = (KLoopKind)i;
            return parse_loop(k, stmt);
        }
    }
    bool is_let = take_word(k, "let");
    if (is_let || take_word(k, "set")) {
        stmt->kind = is_let ? KS_LET : KS_SET;
        return parse_assign(k, stmt);
    }
    if (take_word(k, "if")) {
        stmt->kind = KS_IF;
        return parse_if(k, stmt);
    }
    if (take_word(k, "contract")) {
        stmt->kind = KS_CONTRACT;
        return parse_contract(k, &stmt->as.contract);
    }
    if (take_word(k, "fault")) {
        stmt->kind = KS_FAULT;
        return parse_fault(k, stmt);
    }
    if (parse_at(p, "b") || parse_at(p, "l")) {
        stmt->kind = parse_at(p, "l") ? KS_LOCAL_STORE : KS_STORE;
        return parse_store(k, stmt);
    }
    return parse_expected(p, "a statement or '}'");
}

bool kernel_parse_list(KernelParser *k, KStmt **out) {
    Parser *p = &k->text;
    if (++p->nesting > PARSE_MAX_NESTING) {
        diag_report(&p->context->diags, DIAG_IR_LIMIT, parse_place(p, parse_mark(p)),
                    "statements are at most 64 deep");
        return false;
    }
    while (!parse_accept(p, "}")) {
        Mark mark = parse_mark(p);
        KStmt *stmt = ARENA_NEW(k->arena, KStmt);
        size_t number = k->places.count;
        VEC_PUSH(k->arena, &k->places, parse_place(p, mark));
        if (!parse_stmt(k, stmt)) {
            return false;
        }
        k->places.items[number] = parse_place(p, mark);
        *out = stmt;
        out = &stmt->next;
    }
    p->nesting--;
    return true;
}
