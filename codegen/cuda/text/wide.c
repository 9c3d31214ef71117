/* Elementwise loops in sixteen-byte accesses. A loop of lets and stores that is shared out over a
 * block's threads gives each of them runs of V neighbouring iterations: what it reads or writes at
 * consecutive indices is moved at once, the rest element by element. Whether all those addresses
 * are multiples of sixteen is asked once, before the loop, by all threads alike; if not, and for
 * the last iterations, the plain loop follows. */
#include "codegen/cuda/text/state.h"

enum { MOST_REGISTERS = 64 };

/* 1: grows by one with every iteration; 0: the same in all; -1: anything else. */
int text_slope(const Text *t, const KExpr *expr, const KStmt *loop) {
    if (expr->kind == KE_VAR) {
        int32_t number = text_number(t, loop), defined = t->let_stmt[expr->var->id];
        bool inside = defined > number && defined < t->stmts[number].end;
        return expr->var == loop->var ? 1 : inside || expr->var->is_mutable ? -1 : 0;
    }
    int sum = expr->kind == KE_LOAD || expr->kind == KE_LOCAL ? -1 : 0;
    for (int32_t i = 0; i < expr->n && sum >= 0; i++) {
        int own = text_slope(t, expr->a[i], loop);
        bool adds = expr->kind == KE_SCALAR && expr->op == OP_add;
        sum = own < 0 || (own > 0 && (!adds || sum > 0)) ? -1 : sum + own;
    }
    return sum;
}

static bool same_expr(const KExpr *a, const KExpr *b) {
    bool same = a == b || (a->kind == b->kind && a->dtype == b->dtype && a->op == b->op &&
                           a->n == b->n && a->integer == b->integer && a->real == b->real &&
                           a->index == b->index && a->var == b->var && a->local == b->local);
    for (int32_t i = 0; a != b && same && i < a->n; i++) {
        same = same_expr(a->a[i], b->a[i]);
    }
    return same;
}

int32_t text_wide_part(const Text *t, bool is_store, int32_t buffer, const KLocal *local,
                       const KExpr *index) {
    for (int32_t i = 0; t->wide && i < t->wide->n; i++) {
        const WidePart *part = &t->wide->parts[i];
        if (part->is_store == is_store && part->buffer == buffer && part->local == local &&
            same_expr(part->index, index)) {
            return i;
        }
    }
    return -1;
}

bool text_wide_add(Text *t, Wide *wide, const WidePart *part) {
    const Wide *before = t->wide;
    t->wide = wide;
    bool known = text_wide_part(t, part->is_store, part->buffer, part->local, part->index) >= 0;
    t->wide = before;
    if (known) {
        return !part->is_store;
    }
    if (wide->n == TEXT_MAX_WIDE) {
        return false;
    }
    wide->parts[wide->n++] = *part;
    return true;
}

static bool add_part(Text *t, Wide *wide, bool is_store, int32_t buffer, const KExpr *index) {
    WidePart part = {is_store, buffer, NULL, index};
    bool by_elements = text_memory_bytes(t->kernel->buffers[buffer].dtype) < 2;
    return by_elements || text_wide_add(t, wide, &part);
}

static bool add_loads(Text *t, Wide *wide, const KStmt *loop, const KExpr *expr) {
    bool fits = expr->kind != KE_LOCAL;
    for (int32_t i = 0; i < expr->n && fits; i++) {
        fits = add_loads(t, wide, loop, expr->a[i]);
    }
    if (fits && expr->kind == KE_LOAD) {
        fits = !t->kernel->buffers[expr->index].is_written;
        if (fits && text_slope(t, expr->a[0], loop) == 1) {
            fits = add_part(t, wide, false, expr->index, expr->a[0]);
        }
    }
    return fits;
}

bool text_wide(Text *t, const KStmt *loop, Wide *out) {
    *out = (Wide){.n = 0};
    for (const KStmt *stmt = loop->body; stmt; stmt = stmt->next) {
        bool fits = stmt->kind == KS_LET || stmt->kind == KS_STORE;
        fits = fits && add_loads(t, out, loop, stmt->value);
        if (fits && stmt->kind == KS_STORE) {
            fits = text_slope(t, stmt->begin, loop) == 1 &&
                   add_part(t, out, true, stmt->index, stmt->begin);
        }
        if (!fits) {
            return false;
        }
    }
    int32_t least = 8, registers = 0;
    for (int32_t i = 0; i < out->n; i++) {
        int32_t bytes = text_memory_bytes(t->kernel->buffers[out->parts[i].buffer].dtype);
        least = bytes < least ? bytes : least;
    }
    out->lanes = 16 / least;
    for (int32_t i = 0; i < out->n; i++) {
        int32_t bytes = text_memory_bytes(t->kernel->buffers[out->parts[i].buffer].dtype);
        registers += out->lanes * bytes / 4;
    }
    bool known;
    return out->n > 0 && registers <= MOST_REGISTERS &&
           team_extent(t, loop, &known) >= (int64_t)out->lanes * t->threads;
}

/* -- text */
const char *text_vector_name(DType dtype) {
    switch (dtype) {
    case DT_F64:
        return "f64x2";
    case DT_F32:
        return "f32x4";
    case DT_I64:
        return "i64x2";
    case DT_I32:
        return "i32x4";
    default:
        return "u16x8";
    }
}

void text_wide_element(Text *t, int32_t part) {
    const WidePart *it = &t->wide->parts[part];
    int32_t bytes =
        text_memory_bytes(it->local ? it->local->dtype : t->kernel->buffers[it->buffer].dtype);
    str_addf(t->out, "w%d[e / %d].v[e %% %d]", part, 16 / bytes, 16 / bytes);
}

static void add_address(Text *t, const WidePart *part, int32_t offset) {
    str_addf(t->out, "&b%d[", part->buffer);
    text_expr(t, part->index);
    if (offset > 0) {
        str_addf(t->out, " + %d", offset);
    }
    str_add(t->out, "]");
}

static void move_part(Text *t, const Wide *wide, int32_t number) {
    const WidePart *part = &wide->parts[number];
    DType dtype = t->kernel->buffers[part->buffer].dtype;
    const char *name = text_vector_name(dtype);
    int32_t each = 16 / text_memory_bytes(dtype), count = wide->lanes / each;
    for (int32_t i = 0; i < count; i++) {
        text_begin(t);
        if (part->is_store) {
            str_addf(t->out, "dlc_store_%s(", name);
            add_address(t, part, i * each);
            str_addf(t->out, ", w%d[%d]);\n", number, i);
        } else {
            str_addf(t->out, "w%d[%d] = dlc_load_%s(", number, i, name);
            add_address(t, part, i * each);
            str_add(t->out, ");\n");
        }
    }
}

void text_wide_stop(Text *t, const KStmt *loop, const Wide *wide) {
    int32_t id = loop->var->id;
    text_begin(t);
    str_addf(t->out, "long long stop_%d = ", id);
    text_bound(t, "begin", loop->var, loop->begin);
    str_add(t->out, ";\n");
    text_line(t, "{");
    t->indent++;
    text_begin(t);
    str_add(t->out, "const long long ");
    text_var(t, loop->var);
    str_addf(t->out, " = stop_%d;\n", id);
    text_begin(t);
    str_add(t->out, "if (");
    for (int32_t i = 0; i < wide->n; i++) {
        str_add(t->out, i ? " && dlc_is_aligned(" : "dlc_is_aligned(");
        add_address(t, &wide->parts[i], 0);
        str_add(t->out, ")");
    }
    str_add(t->out, ") {\n");
    t->indent++;
    text_begin(t);
    str_addf(t->out, "stop_%d += (", id);
    text_bound(t, "end", loop->var, loop->end);
    str_add(t->out, " - ");
    text_var(t, loop->var);
    str_addf(t->out, ") / %d * %d;\n", wide->lanes, wide->lanes);
    for (int i = 0; i < 2; i++) {
        t->indent--;
        text_line(t, "}");
    }
}

void text_wide_loop(Text *t, const KStmt *loop, Wide *wide) {
    int32_t id = loop->var->id;
    text_begin(t);
    str_addf(t->out, "for (long long wide_%d = ", id);
    if (loop->begin->kind != KE_INT || loop->begin->integer != 0) {
        text_bound(t, "begin", loop->var, loop->begin);
        str_add(t->out, " + ");
    }
    str_addf(t->out, "thread * %d; wide_%d < stop_%d; wide_%d += %d) {\n", wide->lanes, id, id, id,
             wide->lanes * t->threads);
    t->indent++;
    text_begin(t);
    str_add(t->out, "const long long ");
    text_var(t, loop->var);
    str_addf(t->out, " = wide_%d;\n", id);
    for (int32_t i = 0; i < wide->n; i++) {
        DType dtype = t->kernel->buffers[wide->parts[i].buffer].dtype;
        text_line(t, "dlc_%s w%d[%d];", text_vector_name(dtype), i,
                  wide->lanes * text_memory_bytes(dtype) / 16);
        if (!wide->parts[i].is_store) {
            move_part(t, wide, i);
        }
    }
    text_line(t, "#pragma unroll");
    text_line(t, "for (int e = 0; e < %d; e++) {", wide->lanes);
    t->indent++;
    text_begin(t);
    str_add(t->out, "const long long ");
    text_var(t, loop->var);
    str_addf(t->out, " = wide_%d + e;\n", id);
    t->wide = wide;
    text_stmts(t, loop->body, TEAM_THREAD);
    t->wide = NULL;
    t->indent--;
    text_line(t, "}");
    for (int32_t i = 0; i < wide->n; i++) {
        if (wide->parts[i].is_store) {
            move_part(t, wide, i);
        }
    }
    t->indent--;
    text_line(t, "}");
}
