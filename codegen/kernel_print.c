/* The text form of kernels (docs/kernels.md), complete: kernel_parse.c reads back the same kernel.
 * And its extract that is a kernel's identity: everything that decides the code is in that and
 * nothing else, so that names and hints are left out, sizes and variables are numbers. */
#include "codegen/kernel.h"
#include "codegen/kernel_words.h"
#include "ir/base/str.h"
#include <string.h>

typedef struct Printer {
    Str *out;
    bool whole; /* else the identity */
} Printer;

static void print_expr(const Printer *p, const KExpr *e);

static void print_element(const Printer *p, char letter, int32_t number, const KExpr *at) {
    str_addf(p->out, "%c%d[", letter, number);
    print_expr(p, at);
    str_add_char(p->out, ']');
}

static void print_operands(const Printer *p, const KExpr *e) {
    const KExpr *operands[KERNEL_EXPR_OPERANDS];
    int32_t n = kernel_expr_operands(e, operands);
    str_add_char(p->out, '(');
    for (int32_t i = 0; i < n; i++) {
        str_add(p->out, i ? ", " : "");
        print_expr(p, operands[i]);
    }
    str_add_char(p->out, ')');
}

static void print_scalar(const Printer *p, const KExpr *e) {
    OpCode op = e->as.scalar.op;
    if (e->dtype == DT_I64 && (op == OP_add || op == OP_mul)) {
        str_add_char(p->out, '(');
        print_expr(p, e->as.scalar.a[0]);
        str_add(p->out, op == OP_add ? " + " : " * ");
        print_expr(p, e->as.scalar.a[1]);
        str_add_char(p->out, ')');
        return;
    }
    str_add(p->out, op_info(op)->name);
    print_operands(p, e);
}

static void print_expr(const Printer *p, const KExpr *e) {
    Str *out = p->out;
    switch (e->kind) {
    case KE_INT:
        str_addf(out, "%lld", (long long)e->as.integer);
        if (e->dtype != DT_I64) {
            str_addf(out, ":%s", dtype_name(e->dtype));
        }
        break;
    case KE_FLOAT:
        str_add_double(out, e->as.real);
        str_addf(out, ":%s", dtype_name(e->dtype));
        break;
    case KE_VAR:
        str_addf(out, "%%%d", e->as.var->id);
        break;
    case KE_SIZE:
        str_addf(out, "s%d", e->as.size);
        break;
    case KE_LOAD:
        print_element(p, 'b', e->as.load.buffer, e->as.load.at);
        break;
    case KE_LOCAL:
        print_element(p, 'l', e->as.local.array->id, e->as.local.at);
        break;
    case KE_SCALAR:
        print_scalar(p, e);
        break;
    case KE_CAST:
        str_addf(out, "cast.%s", dtype_name(e->dtype));
        print_operands(p, e);
        break;
    case KE_UNIFORM:
        str_addf(out, "uniform.%s.s%d", dtype_name(e->dtype), e->as.uniform.site);
        print_operands(p, e);
        break;
    }
}

/* -- statements */
static void print_stmts(const Printer *p, const KStmt *stmt, int indent);

static void print_hint(const Printer *p, const char *hint) {
    if (p->whole && hint && hint[0]) {
        str_add_char(p->out, ' ');
        bool is_keyword = strcmp(hint, "in") == 0;
        (is_keyword ? text_print_quoted : text_print_word)(hint, p->out);
    }
}

static void print_close(const Printer *p, int indent) {
    str_addf(p->out, "%*s}\n", indent * 2, "");
}

static void print_for(const Printer *p, const KStmt *stmt, int indent) {
    str_addf(p->out, "%s %%%d", KERNEL_LOOP_WORDS[stmt->as.loop.kind], stmt->as.loop.var->id);
    print_hint(p, stmt->as.loop.var->hint);
    str_add(p->out, " in ");
    print_expr(p, stmt->as.loop.begin);
    str_add(p->out, "..");
    print_expr(p, stmt->as.loop.end);
    str_add(p->out, " {\n");
    print_stmts(p, stmt->as.loop.body, indent + 1);
    print_close(p, indent);
}

static void print_if(const Printer *p, const KStmt *stmt, int indent) {
    str_add(p->out, "if ");
    print_expr(p, stmt->as.branch.condition);
    str_add(p->out, " {\n");
    print_stmts(p, stmt->as.branch.then, indent + 1);
    if (stmt->as.branch.otherwise) {
        str_addf(p->out, "%*s} else {\n", indent * 2, "");
        print_stmts(p, stmt->as.branch.otherwise, indent + 1);
    }
    print_close(p, indent);
}

static void print_contract(const Printer *p, const KContract *contract) {
    str_addf(p->out, "contract l%d[", contract->c_local->id);
    print_expr(p, contract->c_offset);
    str_add(p->out, " by ");
    print_expr(p, contract->c_stride);
    str_addf(p->out, "] %s l%d%s[", contract->accumulate ? "+=" : "=", contract->a_local->id,
             contract->a_deep ? " deep" : "");
    print_expr(p, contract->a_offset);
    str_addf(p->out, "] * l%d%s[", contract->b_local->id, contract->b_deep ? " deep" : "");
    print_expr(p, contract->b_offset);
    str_add(p->out, contract->tf32 ? "] tf32 depth " : "] depth ");
    print_expr(p, contract->depth);
    str_add_char(p->out, '\n');
}

static void print_store(const Printer *p, const KExpr *value, bool watched) {
    str_add(p->out, " = ");
    print_expr(p, value);
    str_add(p->out, watched ? " watched\n" : "\n");
}

static void print_fault(const Printer *p, const KStmt *stmt) {
    str_add(p->out, "fault if ");
    print_expr(p, stmt->as.fault.bad);
    str_addf(p->out, " site %lld value ", (long long)stmt->as.fault.site);
    print_expr(p, stmt->as.fault.value);
    str_add(p->out, " bound ");
    print_expr(p, stmt->as.fault.bound);
    str_add_char(p->out, '\n');
}

static void print_assign(const Printer *p, const char *word, const KAssign *assign) {
    str_addf(p->out, "%s %%%d", word, assign->var->id);
    print_hint(p, assign->var->hint);
    str_addf(p->out, "%s%s = ", p->whole ? ": " : ":", dtype_name(assign->var->dtype));
    print_expr(p, assign->value);
    str_add_char(p->out, '\n');
}

static void print_stmts(const Printer *p, const KStmt *stmt, int indent) {
    for (; stmt; stmt = stmt->next) {
        str_addf(p->out, "%*s", indent * 2, "");
        switch (stmt->kind) {
        case KS_LET:
            print_assign(p, "let", &stmt->as.let);
            break;
        case KS_SET:
            print_assign(p, "set", &stmt->as.set);
            break;
        case KS_FOR:
            print_for(p, stmt, indent);
            break;
        case KS_IF:
            print_if(p, stmt, indent);
            break;
        case KS_STORE:
            print_element(p, 'b', stmt->as.store.buffer, stmt->as.store.at);
            print_store(p, stmt->as.store.value, stmt->as.store.watched);
            break;
        case KS_LOCAL_STORE:
            print_element(p, 'l', stmt->as.local_store.array->id, stmt->as.local_store.at);
            print_store(p, stmt->as.local_store.value, false);
            break;
        case KS_CONTRACT:
            print_contract(p, &stmt->as.contract);
            break;
        case KS_FAULT:
            print_fault(p, stmt);
            break;
        }
    }
}

/* -- kernels */
static void print_buffers(const Kernel *kernel, Str *out) {
    for (int32_t i = 0; i < kernel->n_buffers; i++) {
        str_addf(out, "%sb%d: %s%s", i ? ", " : "", i, dtype_name(kernel->buffers[i].dtype),
                 kernel->buffers[i].is_written ? " written" : "");
    }
}

void kernel_identity(const Kernel *kernel, Str *out) {
    Printer p = {.out = out};
    str_add(out, "kernel(");
    print_buffers(kernel, out);
    str_addf(out, ") sizes %d grid %d", kernel->n_sizes, kernel->n_grid);
    for (int32_t i = 0; i < kernel->n_locals; i++) {
        str_addf(out, " l%d: %s*%lld", i, dtype_name(kernel->locals[i]->dtype),
                 (long long)kernel->locals[i]->count);
    }
    str_add(out, " {\n");
    print_stmts(&p, kernel->body, 1);
    str_add(out, "}\n");
}

static void print_group(const Kernel *kernel, Str *out) {
    str_addf(out, "  group %d", kernel->group);
    const char *before = " common ";
    for (int32_t i = 0; i < kernel->n_buffers && i < 64; i++) {
        if (kernel->common >> i & 1) {
            str_addf(out, "%sb%d", before, i);
            before = ", ";
        }
    }
    str_add_char(out, '\n');
}

void kernel_print(const Kernel *kernel, Str *out) {
    Printer p = {.out = out, .whole = true};
    str_add(out, "kernel ");
    text_print_quoted(kernel->name, out);
    str_add(out, " (");
    print_buffers(kernel, out);
    str_add(out, ") {\n");
    for (int32_t i = 0; i < kernel->n_sizes; i++) {
        str_addf(out, "  size s%d = ", i);
        size_print(kernel->sizes[i], out);
        str_add_char(out, '\n');
    }
    for (int32_t i = 0; i < kernel->n_grid; i++) {
        str_add(out, i ? ", " : "  tiles ");
        size_print(kernel->grid[i], out);
    }
    str_add(out, kernel->n_grid > 0 ? "\n" : "");
    for (int32_t i = 0; i < kernel->n_locals; i++) {
        const KLocal *local = kernel->locals[i];
        str_addf(out, "  local l%d", i);
        print_hint(&p, local->hint);
        str_addf(out, ": %s*%lld\n", dtype_name(local->dtype), (long long)local->count);
    }
    if (kernel->group > 0) {
        print_group(kernel, out);
    }
    print_stmts(&p, kernel->body, 1);
    str_add(out, "}\n");
}
