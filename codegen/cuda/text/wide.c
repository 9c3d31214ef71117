/* Elementwise loops in sixteen-byte accesses. A loop of lets and stores that is shared out over a
 * block's threads gives each of them runs of V neighbouring iterations: what it reads or writes at
 * consecutive indices is moved at once, the rest element by element. Whether all those addresses
 * are multiples of sixteen is asked once, before the loop, by all threads alike; if not, and for
 * the last iterations, the plain loop follows. */
#include "codegen/cuda/text/state.h"

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
        team_memory_bytes(it->local ? it->local->dtype : t->kernel->buffers[it->buffer].dtype);
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
    int32_t each = 16 / team_memory_bytes(dtype), count = wide->lanes / each;
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
    int32_t id = loop->as.loop.var->id;
    text_begin(t);
    str_addf(t->out, "long long stop_%d = ", id);
    text_bound(t, "begin", loop->as.loop.var, loop->as.loop.begin);
    str_add(t->out, ";\n");
    text_line(t, "{");
    t->indent++;
    text_begin(t);
    str_add(t->out, "const long long ");
    text_var(t, loop->as.loop.var);
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
    text_bound(t, "end", loop->as.loop.var, loop->as.loop.end);
    str_add(t->out, " - ");
    text_var(t, loop->as.loop.var);
    str_addf(t->out, ") / %d * %d;\n", wide->lanes, wide->lanes);
    for (int i = 0; i < 2; i++) {
        t->indent--;
        text_line(t, "}");
    }
}

void text_wide_loop(Text *t, const KStmt *loop, Wide *wide) {
    int32_t id = loop->as.loop.var->id;
    text_begin(t);
    str_addf(t->out, "for (long long wide_%d = ", id);
    if (loop->as.loop.begin->kind != KE_INT || loop->as.loop.begin->as.integer != 0) {
        text_bound(t, "begin", loop->as.loop.var, loop->as.loop.begin);
        str_add(t->out, " + ");
    }
    str_addf(t->out, "thread * %d; wide_%d < stop_%d; wide_%d += %d) {\n", wide->lanes, id, id, id,
             wide->lanes * t->threads);
    t->indent++;
    text_begin(t);
    str_add(t->out, "const long long ");
    text_var(t, loop->as.loop.var);
    str_addf(t->out, " = wide_%d;\n", id);
    for (int32_t i = 0; i < wide->n; i++) {
        DType dtype = t->kernel->buffers[wide->parts[i].buffer].dtype;
        text_line(t, "dlc_%s w%d[%d];", text_vector_name(dtype), i,
                  wide->lanes * team_memory_bytes(dtype) / 16);
        if (!wide->parts[i].is_store) {
            move_part(t, wide, i);
        }
    }
    text_line(t, "#pragma unroll");
    text_line(t, "for (int e = 0; e < %d; e++) {", wide->lanes);
    t->indent++;
    text_begin(t);
    str_add(t->out, "const long long ");
    text_var(t, loop->as.loop.var);
    str_addf(t->out, " = wide_%d + e;\n", id);
    t->wide = wide;
    text_stmts(t, loop->as.loop.body, TEAM_THREAD);
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
