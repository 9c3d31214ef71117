/* The text form of kernels. Everything that decides the code is in it and nothing else: names and
 * hints are left out, sizes and variables are numbers. */
#include "codegen/kernel.h"
#include "ir/base/str.h"

static void print_expr(Str *out, const KExpr *e) {
    switch (e->kind) {
    case KE_INT:
        str_addf(out, "%lld", (long long)e->as.integer);
        if (e->dtype != DT_I64) {
            str_addf(out, ":%s", dtype_name(e->dtype));
        }
        return;
    case KE_FLOAT:
        str_add_double(out, e->as.real);
        str_addf(out, ":%s", dtype_name(e->dtype));
        return;
    case KE_VAR:
        str_addf(out, "%%%d", e->as.var->id);
        return;
    case KE_SIZE:
        str_addf(out, "s%d", e->as.size);
        return;
    case KE_LOAD:
    case KE_LOCAL: {
        bool is_load = e->kind == KE_LOAD;
        str_addf(out, "%c%d[", is_load ? 'b' : 'l',
                 is_load ? e->as.load.buffer : e->as.local.array->id);
        print_expr(out, is_load ? e->as.load.at : e->as.local.at);
        str_add(out, "]");
        return;
    }
    case KE_SCALAR:
        if (e->dtype == DT_I64 && (e->as.scalar.op == OP_add || e->as.scalar.op == OP_mul)) {
            str_add(out, "(");
            print_expr(out, e->as.scalar.a[0]);
            str_add(out, e->as.scalar.op == OP_add ? " + " : " * ");
            print_expr(out, e->as.scalar.a[1]);
            str_add(out, ")");
            return;
        }
        str_add(out, op_info(e->as.scalar.op)->name);
        break;
    case KE_CAST:
        str_addf(out, "cast.%s", dtype_name(e->dtype));
        break;
    case KE_UNIFORM:
        str_addf(out, "uniform.%s.s%d", dtype_name(e->dtype), e->as.uniform.site);
        break;
    }
    const KExpr *operands[KERNEL_EXPR_OPERANDS];
    int32_t n = kernel_expr_operands(e, operands);
    str_add(out, "(");
    for (int32_t i = 0; i < n; i++) {
        str_add(out, i ? ", " : "");
        print_expr(out, operands[i]);
    }
    str_add(out, ")");
}

static void print_stmts(Str *out, const KStmt *stmt, int indent);

static void print_for(Str *out, const KStmt *stmt, int indent) {
    static const char *const kinds[] = {"grid", "for", "each", "vector", "unroll"};
    str_addf(out, "%s %%%d in ", kinds[stmt->as.loop.kind], stmt->as.loop.var->id);
    print_expr(out, stmt->as.loop.begin);
    str_add(out, "..");
    print_expr(out, stmt->as.loop.end);
    str_add(out, " {\n");
    print_stmts(out, stmt->as.loop.body, indent + 1);
    str_addf(out, "%*s}\n", indent * 2, "");
}

static void print_if(Str *out, const KStmt *stmt, int indent) {
    str_add(out, "if ");
    print_expr(out, stmt->as.branch.condition);
    str_add(out, " {\n");
    print_stmts(out, stmt->as.branch.then, indent + 1);
    if (stmt->as.branch.otherwise) {
        str_addf(out, "%*s} else {\n", indent * 2, "");
        print_stmts(out, stmt->as.branch.otherwise, indent + 1);
    }
    str_addf(out, "%*s}\n", indent * 2, "");
}

static void print_contract(Str *out, const KContract *contract) {
    str_addf(out, "contract l%d[", contract->c_local->id);
    print_expr(out, contract->c_offset);
    str_add(out, " by ");
    print_expr(out, contract->c_stride);
    str_addf(out, "] %s l%d%s[", contract->accumulate ? "+=" : "=", contract->a_local->id,
             contract->a_deep ? " deep" : "");
    print_expr(out, contract->a_offset);
    str_addf(out, "] * l%d%s[", contract->b_local->id, contract->b_deep ? " deep" : "");
    print_expr(out, contract->b_offset);
    str_add(out, contract->tf32 ? "] tf32 depth " : "] depth ");
    print_expr(out, contract->depth);
    str_add(out, "\n");
}

static void print_store(Str *out, char letter, int32_t number, const KExpr *at, const KExpr *value,
                        bool watched) {
    str_addf(out, "%c%d[", letter, number);
    print_expr(out, at);
    str_add(out, "] = ");
    print_expr(out, value);
    str_add(out, watched ? " watched\n" : "\n");
}

static void print_fault(Str *out, const KStmt *stmt) {
    str_add(out, "fault if ");
    print_expr(out, stmt->as.fault.bad);
    str_addf(out, " site %lld value ", (long long)stmt->as.fault.site);
    print_expr(out, stmt->as.fault.value);
    str_add(out, " bound ");
    print_expr(out, stmt->as.fault.bound);
    str_add(out, "\n");
}

static void print_assign(Str *out, const char *word, const KAssign *assign) {
    str_addf(out, "%s %%%d:%s = ", word, assign->var->id, dtype_name(assign->var->dtype));
    print_expr(out, assign->value);
    str_add(out, "\n");
}

static void print_stmts(Str *out, const KStmt *stmt, int indent) {
    for (; stmt; stmt = stmt->next) {
        str_addf(out, "%*s", indent * 2, "");
        switch (stmt->kind) {
        case KS_LET:
            print_assign(out, "let", &stmt->as.let);
            break;
        case KS_SET:
            print_assign(out, "set", &stmt->as.set);
            break;
        case KS_FOR:
            print_for(out, stmt, indent);
            break;
        case KS_IF:
            print_if(out, stmt, indent);
            break;
        case KS_STORE:
            print_store(out, 'b', stmt->as.store.buffer, stmt->as.store.at, stmt->as.store.value,
                        stmt->as.store.watched);
            break;
        case KS_LOCAL_STORE:
            print_store(out, 'l', stmt->as.local_store.array->id, stmt->as.local_store.at,
                        stmt->as.local_store.value, false);
            break;
        case KS_CONTRACT:
            print_contract(out, &stmt->as.contract);
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
