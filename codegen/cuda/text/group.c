/* Unrolled groups of neighbours in sixteen-byte accesses, and panels filled by copies that finish
 * later. A KL_UNROLL loop of lets and stores that one thread runs moves what it reads or writes at
 * consecutive indices at once, where divisibility shows those addresses to be multiples of
 * sixteen. What the kernel alone cannot show (addresses of buffers, divisors of sizes) is one
 * condition, computed once before the tiles; where it is false the group runs by elements. A group
 * that moves memory to a panel as it is becomes one copy of sixteen bytes; an element of four bytes
 * on its way to a panel is a copy too, wherever it lies. */
#include "codegen/cuda/text/state.h"

enum { MODULUS = 8, MOST_SIZES = 8, GROUP_BYTES = 16 };

typedef struct Conditions {
    int32_t sizes[MOST_SIZES], n_sizes;
    bool overflow;
} Conditions;

/* -- what is a multiple of `m`, the group's variable taken as 0 */
static bool add_size(Conditions *c, int32_t size) {
    for (int32_t i = 0; i < c->n_sizes; i++) {
        if (c->sizes[i] == size) {
            return true;
        }
    }
    if (c->n_sizes == MOST_SIZES) {
        return false;
    }
    c->sizes[c->n_sizes++] = size;
    return true;
}

static bool divides(const Text *t, const KExpr *expr, int64_t m, const KVar *zero, Conditions *c) {
    Conditions before = *c;
    switch (expr->kind) {
    case KE_INT:
        return expr->integer % m == 0;
    case KE_SIZE:
        return add_size(c, expr->index);
    case KE_VAR: {
        int32_t defined = t->let_stmt[expr->var->id];
        const KStmt *stmt = defined >= 0 ? t->stmts[defined].stmt : NULL;
        return expr->var == zero ||
               (stmt && stmt->kind == KS_LET && divides(t, stmt->value, m, zero, c));
    }
    case KE_SCALAR:
        break;
    default:
        return false;
    }
    switch (expr->op) {
    case OP_add:
    case OP_sub:
    case OP_min:
    case OP_max:
    case OP_mod:
        return divides(t, expr->a[0], m, zero, c) && divides(t, expr->a[1], m, zero, c);
    case OP_mul:
        for (int i = 1; i >= 0; i--) {
            *c = before;
            if (expr->a[i]->kind != KE_SIZE && divides(t, expr->a[i], m, zero, c)) {
                return true;
            }
        }
        *c = before;
        if (divides(t, expr->a[1], m, zero, c)) {
            return true;
        }
        *c = before;
        return divides(t, expr->a[0], m, zero, c);
    default:
        return false;
    }
}

/* -- values */
/* What a variable of the group's own lets stands for. */
static const KExpr *resolved(const Text *t, const KExpr *expr, const KStmt *inside) {
    while (expr->kind == KE_VAR && !expr->var->is_mutable) {
        int32_t defined = t->let_stmt[expr->var->id], number = team_number(t, inside);
        const KStmt *stmt = defined >= 0 ? t->stmts[defined].stmt : NULL;
        bool own =
            stmt && stmt->kind == KS_LET && defined > number && defined < t->stmts[number].end;
        if (!own) {
            break;
        }
        expr = stmt->value;
    }
    return expr;
}

static bool is_zero(const KExpr *expr) {
    return (expr->kind == KE_FLOAT && expr->real == 0) ||
           (expr->kind == KE_INT && expr->integer == 0);
}

typedef struct Copy {
    const KExpr *load, *inside; /* inside: NULL: always; else zero where it is false */
} Copy;

/* A store of memory as it is. */
static bool find_copy(const Text *t, const KStmt *store, const KStmt *around, Copy *out) {
    const KExpr *value = resolved(t, store->value, around);
    out->inside = NULL;
    if (value->kind == KE_SCALAR && value->op == OP_select && is_zero(value->a[2])) {
        out->inside = value->a[0];
        value = resolved(t, value->a[1], around);
    }
    out->load = value;
    return value->kind == KE_LOAD && !t->kernel->buffers[value->index].is_written &&
           t->kernel->buffers[value->index].dtype == store->local->dtype;
}

static bool is_staged(const Text *t, const KLocal *local) {
    return t->locals[local->id].stages > 1;
}

static void write_copy(Text *t, const KStmt *store, const Copy *copy, int32_t bytes) {
    text_begin(t);
    str_addf(t->out, "dlc_copy%d%s%s(&", bytes, is_staged(t, store->local) ? "_async" : "",
             copy->inside ? "_if" : "");
    text_local_at(t, store->local, store->begin);
    str_addf(t->out, ", &b%d[", copy->load->index);
    text_expr(t, copy->load->a[0]);
    str_add(t->out, "]");
    if (copy->inside) {
        str_add(t->out, ", ");
        text_expr(t, copy->inside);
    }
    str_add(t->out, ");\n");
}

bool text_copy_element(Text *t, const KStmt *store) {
    Copy copy;
    int32_t parent = team_info(t, store)->parent;
    if (parent < 0 || !is_staged(t, store->local) || team_memory_bytes(store->local->dtype) != 4 ||
        !find_copy(t, store, t->stmts[parent].stmt, &copy)) {
        return false;
    }
    write_copy(t, store, &copy, 4);
    return true;
}

/* -- groups */
static DType part_dtype(const Text *t, const WidePart *part) {
    return part->local ? part->local->dtype : t->kernel->buffers[part->buffer].dtype;
}

typedef struct Group {
    const KStmt *loop;
    int64_t count;
    Wide wide;
    Copy copy;
    const KStmt *store; /* the copy's; NULL: none */
    Conditions conditions;
    uint64_t buffers; /* whose addresses matter */
} Group;

static bool in_memory(const Text *t, const KLocal *local, int32_t at) {
    Placement placement = t->locals[local->id].by_team[TEAM_BLOCK].placement;
    return team_owner(t, local, at) == TEAM_BLOCK &&
           (placement == PLACE_SHARED || placement == PLACE_GLOBAL);
}

/* Takes one access as a part if it is fit to be one. */
static void add_part(Text *t, Group *group, const WidePart *part, int32_t at) {
    int32_t bytes = team_memory_bytes(part_dtype(t, part)), each = GROUP_BYTES / bytes;
    Conditions before = group->conditions;
    bool fits = bytes >= 2 && group->count % each == 0 && part->buffer < 64 &&
                team_slope(t, part->index, group->loop) == 1 &&
                (!part->local || in_memory(t, part->local, at)) &&
                divides(t, part->index, each, group->loop->var, &group->conditions);
    if (!fits || !team_wide_add(t, &group->wide, part)) {
        group->conditions = before;
        return;
    }
    group->buffers |= part->local ? 0 : (uint64_t)1 << part->buffer;
}

static bool add_reads(Text *t, Group *group, const KExpr *expr, int32_t at) {
    bool fits = true;
    for (int32_t i = 0; i < expr->n && fits; i++) {
        fits = add_reads(t, group, expr->a[i], at);
    }
    if (expr->kind == KE_LOAD) {
        fits = fits && !t->kernel->buffers[expr->index].is_written;
        add_part(t, group, &(WidePart){false, expr->index, NULL, expr->a[0]}, at);
    } else if (expr->kind == KE_LOCAL) {
        add_part(t, group, &(WidePart){false, -1, expr->local, expr->a[0]}, at);
    }
    return fits;
}

static bool reads_local(const KExpr *expr, const KLocal *local) {
    if (expr->kind == KE_LOCAL && expr->local == local) {
        return true;
    }
    for (int32_t i = 0; i < expr->n; i++) {
        if (reads_local(expr->a[i], local)) {
            return true;
        }
    }
    return false;
}

/* Nothing that the group stores to is read in it, so that reads may come first. */
static bool is_simple(const KStmt *body) {
    for (const KStmt *stmt = body; stmt; stmt = stmt->next) {
        if (stmt->kind != KS_LET && stmt->kind != KS_STORE && stmt->kind != KS_LOCAL_STORE) {
            return false;
        }
        for (const KStmt *store = body; store; store = store->next) {
            if (store->kind == KS_LOCAL_STORE && reads_local(stmt->value, store->local)) {
                return false;
            }
        }
    }
    return true;
}

static bool find_group_copy(Text *t, Group *group) {
    const KStmt *stmt = group->loop->body;
    while (stmt->next) {
        if (stmt->kind != KS_LET) {
            return false;
        }
        stmt = stmt->next;
    }
    Copy *copy = &group->copy;
    int32_t bytes = team_memory_bytes(stmt->kind == KS_LOCAL_STORE ? stmt->local->dtype : DT_U8);
    int32_t each = GROUP_BYTES / bytes;
    const KVar *var = group->loop->var;
    bool fits = stmt->kind == KS_LOCAL_STORE && is_staged(t, stmt->local) && group->count == each &&
                find_copy(t, stmt, group->loop, copy) && copy->load->index < 64 &&
                team_slope(t, copy->load->a[0], group->loop) == 1 &&
                team_slope(t, stmt->begin, group->loop) == 1 &&
                (!copy->inside || team_slope(t, copy->inside, group->loop) == 0) &&
                divides(t, copy->load->a[0], each, var, &group->conditions) &&
                divides(t, stmt->begin, each, var, &group->conditions);
    if (fits) {
        group->store = stmt;
        group->buffers = (uint64_t)1 << copy->load->index;
    }
    return fits;
}

static bool find_group(Text *t, const KStmt *loop, Group *group) {
    *group = (Group){.loop = loop};
    if (loop->kind != KS_FOR || loop->loop != KL_UNROLL || !loop->body || !is_zero(loop->begin) ||
        loop->end->kind != KE_INT || loop->end->integer < 2 || !is_simple(loop->body)) {
        return false;
    }
    group->count = loop->end->integer;
    if (find_group_copy(t, group)) {
        return true;
    }
    group->conditions = (Conditions){.n_sizes = 0};
    int32_t at = team_number(t, loop) + 1;
    for (const KStmt *stmt = loop->body; stmt; stmt = stmt->next) {
        if (!add_reads(t, group, stmt->value, at)) {
            return false;
        }
        if (stmt->kind == KS_STORE) {
            add_part(t, group, &(WidePart){true, stmt->index, NULL, stmt->begin}, at);
        } else if (stmt->kind == KS_LOCAL_STORE) {
            add_part(t, group, &(WidePart){true, -1, stmt->local, stmt->begin}, at);
        }
    }
    return group->wide.n > 0;
}

/* -- text */
/* Declares the condition; 0: there is none. */
static int32_t add_condition(Text *t, const Group *group) {
    if (group->buffers == 0 && group->conditions.n_sizes == 0) {
        return 0;
    }
    int32_t number = ++t->n_conditions;
    str_addf(&t->conditions, "    const bool group_%d = ", number);
    const char *separator = "";
    for (int32_t i = 0; i < t->kernel->n_buffers && i < 64; i++) {
        if (group->buffers >> i & 1) {
            str_addf(&t->conditions, "%sdlc_is_aligned(b%d)", separator, i);
            separator = " && ";
        }
    }
    for (int32_t i = 0; i < group->conditions.n_sizes; i++) {
        str_addf(&t->conditions, "%ss%d %% %d == 0", separator, group->conditions.sizes[i],
                 MODULUS);
        separator = " && ";
    }
    str_add(&t->conditions, ";\n");
    return number;
}

static void open_zero(Text *t, const KStmt *loop) {
    text_line(t, "{");
    t->indent++;
    text_begin(t);
    str_add(t->out, "const long long ");
    text_var(t, loop->var);
    str_add(t->out, " = 0;\n");
}

static void close_brace(Text *t) {
    t->indent--;
    text_line(t, "}");
}

static void open_elements(Text *t, const KStmt *loop) {
    text_line(t, "#pragma unroll 1");
    text_begin(t);
    str_add(t->out, "for (long long ");
    text_var(t, loop->var);
    str_add(t->out, " = 0; ");
    text_var(t, loop->var);
    str_addf(t->out, " < %lld; ", (long long)loop->end->integer);
    text_var(t, loop->var);
    str_add(t->out, "++) {\n");
    t->indent++;
}

static void move_part(Text *t, const Group *group, int32_t number) {
    const WidePart *part = &group->wide.parts[number];
    DType dtype = part_dtype(t, part);
    const char *name = text_vector_name(dtype);
    int32_t each = GROUP_BYTES / team_memory_bytes(dtype);
    for (int32_t i = 0; i < group->count / each; i++) {
        text_begin(t);
        if (part->is_store) {
            str_addf(t->out, "dlc_store_%s(&", name);
        } else {
            str_addf(t->out, "w%d[%d] = dlc_load_%s(&", number, i, name);
        }
        if (part->local) {
            text_local_open(t, part->local);
        } else {
            str_addf(t->out, "b%d[", part->buffer);
        }
        text_expr(t, part->index);
        if (i > 0) {
            str_addf(t->out, " + %d", i * each);
        }
        if (part->local) {
            text_local_close(t, part->local);
        } else {
            str_add(t->out, "]");
        }
        str_addf(t->out, part->is_store ? ", w%d[%d]);\n" : ");\n", number, i);
    }
}

static void move_parts(Text *t, const Group *group, bool stores) {
    open_zero(t, group->loop);
    for (int32_t i = 0; i < group->wide.n; i++) {
        if (group->wide.parts[i].is_store == stores) {
            move_part(t, group, i);
        }
    }
    close_brace(t);
}

static void write_wide(Text *t, const Group *group) {
    for (int32_t i = 0; i < group->wide.n; i++) {
        DType dtype = part_dtype(t, &group->wide.parts[i]);
        text_line(t, "dlc_%s w%d[%d];", text_vector_name(dtype), i,
                  (int32_t)group->count * team_memory_bytes(dtype) / GROUP_BYTES);
    }
    move_parts(t, group, false);
    text_line(t, "#pragma unroll");
    text_line(t, "for (int e = 0; e < %d; e++) {", (int)group->count);
    t->indent++;
    text_begin(t);
    str_add(t->out, "const long long ");
    text_var(t, group->loop->var);
    str_add(t->out, " = e;\n");
    const Wide *before = t->wide;
    t->wide = &group->wide;
    text_stmts(t, group->loop->body, TEAM_THREAD);
    t->wide = before;
    close_brace(t);
    move_parts(t, group, true);
}

int32_t text_group_condition(Text *t, const KStmt *body) {
    while (body && body->kind == KS_LET) {
        body = body->next;
    }
    Group group;
    return body && !body->next && !t->wide && find_group(t, body, &group) ? add_condition(t, &group)
                                                                          : 0;
}

bool text_group_copies(Text *t, const KStmt *body) {
    while (body && body->kind == KS_LET) {
        body = body->next;
    }
    Group group;
    return body && find_group(t, body, &group) && group.store;
}

static void write_fast(Text *t, const Group *group) {
    if (group->store) {
        open_zero(t, group->loop);
        write_copy(t, group->store, &group->copy, GROUP_BYTES);
        close_brace(t);
    } else {
        write_wide(t, group);
    }
}

static void write_slow(Text *t, const KStmt *loop) {
    open_elements(t, loop);
    text_stmts(t, loop->body, TEAM_THREAD);
    close_brace(t);
}

bool text_group(Text *t, const KStmt *loop, Team team) {
    Group group;
    if (team != TEAM_THREAD || t->wide || !find_group(t, loop, &group)) {
        return false;
    }
    if (t->group < 0) {
        write_slow(t, loop);
        return true;
    }
    int32_t condition = t->group > 0 ? 0 : add_condition(t, &group);
    if (condition > 0) {
        text_line(t, "if (group_%d) {", condition);
    } else {
        text_line(t, "{");
    }
    t->indent++;
    write_fast(t, &group);
    if (condition > 0) {
        t->indent--;
        text_line(t, "} else {");
        t->indent++;
        write_slow(t, loop);
    }
    close_brace(t);
    return true;
}
