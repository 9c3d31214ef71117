/* The text form of kernels. Everything that decides the code is in it and nothing else: names and
 * hints are left out, sizes and variables are numbers. */
#include "codegen/kernel.h"
#include "ir/base/str.h"

static void print_expr(Str *out, const KExpr *e) {
    switch (e->kind) {
    case KE_INT:
        str_addf(out, "%lld", (long long)e->integer);
        if (e->dtype != DT_I64) {
            str_addf(out, ":%s", dtype_name(e->dtype));
        }
        return;
    case KE_FLOAT:
        str_add_double(out, e->real);
        str_addf(out, ":%s", dtype_name(e->dtype));
        return;
    case KE_VAR:
        str_addf(out, "%%%d", e->var->id);
        return;
    case KE_SIZE:
        str_addf(out, "s%d", e->index);
        return;
    case KE_LOAD:
    case KE_LOCAL:
        str_addf(out, "%c%d[", e->kind == KE_LOAD ? 'b' : 'l',
                 e->kind == KE_LOAD ? e->index : e->local->id);
        print_expr(out, e->a[0]);
        str_add(out, "]");
        return;
    case KE_SCALAR:
        if (e->dtype == DT_I64 && (e->op == OP_add || e->op == OP_mul)) {
            str_add(out, "(");
            print_expr(out, e->a[0]);
            str_add(out, e->op == OP_add ? " + " : " * ");
            print_expr(out, e->a[1]);
            str_add(out, ")");
            return;
        }
        str_add(out, op_info(e->op)->name);
        break;
    case KE_CAST:
        str_addf(out, "cast.%s", dtype_name(e->dtype));
        break;
    case KE_UNIFORM:
        str_addf(out, "uniform.%s.s%d", dtype_name(e->dtype), e->index);
        break;
    }
    str_add(out, "(");
    for (int32_t i = 0; i < e->n; i++) {
        str_add(out, i ? ", " : "");
        print_expr(out, e->a[i]);
    }
    str_add(out, ")");
}

static void print_stmts(Str *out, const KStmt *stmt, int indent);

static void print_for(Str *out, const KStmt *stmt, int indent) {
    static const char *const kinds[] = {"grid", "for", "each", "vector", "unroll"};
    str_addf(out, "%s %%%d in ", kinds[stmt->loop], stmt->var->id);
    print_expr(out, stmt->begin);
    str_add(out, "..");
    print_expr(out, stmt->end);
    str_add(out, " {\n");
    print_stmts(out, stmt->body, indent + 1);
    str_addf(out, "%*s}\n", indent * 2, "");
}

static void print_if(Str *out, const KStmt *stmt, int indent) {
    str_add(out, "if ");
    print_expr(out, stmt->value);
    str_add(out, " {\n");
    print_stmts(out, stmt->body, indent + 1);
    if (stmt->otherwise) {
        str_addf(out, "%*s} else {\n", indent * 2, "");
        print_stmts(out, stmt->otherwise, indent + 1);
    }
    str_addf(out, "%*s}\n", indent * 2, "");
}

static void print_contract(Str *out, const KStmt *stmt) {
    str_addf(out, "contract l%d[", stmt->local->id);
    print_expr(out, stmt->value);
    str_add(out, " by ");
    print_expr(out, stmt->c_stride);
    str_addf(out, "] %s l%d%s[", stmt->accumulate ? "+=" : "=", stmt->a_local->id,
             stmt->a_deep ? " deep" : "");
    print_expr(out, stmt->begin);
    str_addf(out, "] * l%d%s[", stmt->b_local->id, stmt->b_deep ? " deep" : "");
    print_expr(out, stmt->end);
    str_add(out, stmt->tf32 ? "] tf32 depth " : "] depth ");
    print_expr(out, stmt->depth);
    str_add(out, "\n");
}

static void print_store(Str *out, const KStmt *stmt) {
    bool is_local = stmt->kind == KS_LOCAL_STORE;
    str_addf(out, "%c%d[", is_local ? 'l' : 'b', is_local ? stmt->local->id : stmt->index);
    print_expr(out, stmt->begin);
    str_add(out, "] = ");
    print_expr(out, stmt->value);
    str_add(out, stmt->watched ? " watched\n" : "\n");
}

static void print_fault(Str *out, const KStmt *stmt) {
    str_add(out, "fault if ");
    print_expr(out, stmt->value);
    str_addf(out, " site %lld value ", (long long)stmt->site);
    print_expr(out, stmt->begin);
    str_add(out, " bound ");
    print_expr(out, stmt->end);
    str_add(out, "\n");
}

static void print_stmts(Str *out, const KStmt *stmt, int indent) {
    for (; stmt; stmt = stmt->next) {
        str_addf(out, "%*s", indent * 2, "");
        switch (stmt->kind) {
        case KS_LET:
        case KS_SET:
            str_addf(out, "%s %%%d:%s = ", stmt->kind == KS_LET ? "let" : "set", stmt->var->id,
                     dtype_name(stmt->var->dtype));
            print_expr(out, stmt->value);
            str_add(out, "\n");
            break;
        case KS_FOR:
            print_for(out, stmt, indent);
            break;
        case KS_IF:
            print_if(out, stmt, indent);
            break;
        case KS_STORE:
        case KS_LOCAL_STORE:
            print_store(out, stmt);
            break;
        case KS_CONTRACT:
            print_contract(out, stmt);
            break;
        case KS_FAULT:
            print_fault(out, stmt);
            break;
        }
    }
}

void kernel_print(const Kernel *kernel, Str *out) {
    str_add(out, "kernel(");
    for (int32_t i = 0; i < kernel->n_buffers; i++) {
        str_addf(out, "%sb%d: %s%s", i ? ", " : "", i, dtype_name(kernel->buffers[i].dtype),
                 kernel->buffers[i].is_written ? " written" : "");
    }
    str_addf(out, ") sizes %d grid %d", kernel->n_sizes, kernel->n_grid);
    for (int32_t i = 0; i < kernel->n_locals; i++) {
        str_addf(out, " l%d: %s*%lld", i, dtype_name(kernel->locals[i]->dtype),
                 (long long)kernel->locals[i]->count);
    }
    str_add(out, " {\n");
    print_stmts(out, kernel->body, 1);
    str_add(out, "}\n");
}
