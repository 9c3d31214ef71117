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
        return expr->as.integer % m == 0;
    case KE_SIZE:
        return add_size(c, expr->as.size);
    case KE_VAR: {
        int32_t defined = t->let_stmt[expr->as.var->id];
        const KStmt *stmt = defined >= 0 ? t->stmts[defined].stmt : NULL;
        return expr->as.var == zero ||
               (stmt && stmt->kind == KS_LET && divides(t, stmt->as.let.value, m, zero, c));
    }
    case KE_SCALAR:
        break;
    default:
        return false;
    }
    const KExpr *const *a = expr->as.scalar.a;
    switch (expr->as.scalar.op) {
    case OP_add:
    case OP_sub:
    case OP_min:
    case OP_max:
    case OP_mod:
        return divides(t, a[0], m, zero, c) && divides(t, a[1], m, zero, c);
    case OP_mul:
        for (int i = 1; i >= 0; i--) {
            *c = before;
            if (a[i]->kind != KE_SIZE && divides(t, a[i], m, zero, c)) {
                return true;
            }
        }
        *c = before;
        if (divides(t, a[1], m, zero, c)) {
            return true;
        }
        *c = before;
        return divides(t, a[0], m, zero, c);
    default:
        return false;
    }
}

/* -- values */
/* What a variable of the group's own lets stands for. */
static const KExpr *resolved(const Text *t, const KExpr *expr, const KStmt *inside) {
    while (expr->kind == KE_VAR && !expr->as.var->is_mutable) {
        int32_t defined = t->let_stmt[expr->as.var->id], number = team_number(t, inside);
        const KStmt *stmt = defined >= 0 ? t->stmts[defined].stmt : NULL;
        bool own =
            stmt && stmt->kind == KS_LET && defined > number && defined < t->stmts[number].end;
        if (!own) {
            break;
        }
        expr = stmt->as.let.value;
    }
    return expr;
}

typedef struct Copy {
    const KExpr *load, *inside; /* inside: NULL: always; else zero where it is false */
} Copy;

/* A store of memory as it is. */
static bool find_copy(const Text *t, const KStmt *store, const KStmt *around, Copy *out) {
    const KExpr *value = resolved(t, store->as.local_store.value, around);
    out->inside = NULL;
    if (value->kind == KE_SCALAR && value->as.scalar.op == OP_select &&
        expr_is_zero(value->as.scalar.a[2])) {
        out->inside = value->as.scalar.a[0];
        value = resolved(t, value->as.scalar.a[1], around);
    }
    out->load = value;
    const KBuffer *from =
        value->kind == KE_LOAD ? &t->kernel->buffers[value->as.load.buffer] : NULL;
    return from && !from->is_written && from->dtype == store->as.local_store.array->dtype;
}

static bool is_staged(const Text *t, const KLocal *local) {
    return t->locals[local->id].stages > 1;
}

static void write_copy(Text *t, const KStmt *store, const Copy *copy, int32_t bytes) {
    text_begin(t);
    str_addf(t->out, "dlc_copy%d%s%s(&", bytes,
             is_staged(t, store->as.local_store.array) ? "_async" : "", copy->inside ? "_if" : "");
    text_local_at(t, store->as.local_store.array, store->as.local_store.at);
    str_addf(t->out, ", &b%d[", copy->load->as.load.buffer);
    text_expr(t, copy->load->as.load.at);
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
    const KLocal *local = store->as.local_store.array;
    if (parent < 0 || !is_staged(t, local) || team_memory_bytes(local->dtype) != 4 ||
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
                divides(t, part->index, each, group->loop->as.loop.var, &group->conditions);
    if (!fits || !team_wide_add(t, &group->wide, part)) {
        group->conditions = before;
        return;
    }
    group->buffers |= part->local ? 0 : (uint64_t)1 << part->buffer;
}

typedef struct Reader {
    Text *t;
    Group *group;
    int32_t at;
} Reader;

/* Takes a read as a part where it may be one; true: it stands in the way of all. */
static bool add_read(const KExpr *expr, void *user) {
    const Reader *r = user;
    if (expr->kind == KE_LOAD) {
        int32_t buffer = expr->as.load.buffer;
        add_part(r->t, r->group, &(WidePart){false, buffer, NULL, expr->as.load.at}, r->at);
        return r->t->kernel->buffers[buffer].is_written;
    }
    if (expr->kind == KE_LOCAL) {
        WidePart part = {false, -1, expr->as.local.array, expr->as.local.at};
        add_part(r->t, r->group, &part, r->at);
    }
    return false;
}

/* What a let or a store computes. */
static const KExpr *simple_value(const KStmt *stmt) {
    return stmt->kind == KS_LET     ? stmt->as.let.value
           : stmt->kind == KS_STORE ? stmt->as.store.value
                                    : stmt->as.local_store.value;
}

/* Nothing that the group stores to is read in it, so that reads may come first. */
static bool is_simple(const KStmt *body) {
    for (const KStmt *stmt = body; stmt; stmt = stmt->next) {
        if (stmt->kind != KS_LET && stmt->kind != KS_STORE && stmt->kind != KS_LOCAL_STORE) {
            return false;
        }
        for (const KStmt *store = body; store; store = store->next) {
            if (store->kind == KS_LOCAL_STORE &&
                kernel_expr_reads_local(simple_value(stmt), store->as.local_store.array)) {
                return false;
            }
        }
    }
    return true;
}

static bool find_group_copy(Text *t, Group *group) {
    const KStmt *stmt = group->loop->as.loop.body;
    while (stmt->next) {
        if (stmt->kind != KS_LET) {
            return false;
        }
        stmt = stmt->next;
    }
    Copy *copy = &group->copy;
    if (stmt->kind != KS_LOCAL_STORE) {
        return false;
    }
    const KLocal *local = stmt->as.local_store.array;
    const KExpr *to = stmt->as.local_store.at;
    int32_t each = GROUP_BYTES / team_memory_bytes(local->dtype);
    const KVar *var = group->loop->as.loop.var;
    bool fits = is_staged(t, local) && group->count == each &&
                find_copy(t, stmt, group->loop, copy) && copy->load->as.load.buffer < 64 &&
                team_slope(t, copy->load->as.load.at, group->loop) == 1 &&
                team_slope(t, to, group->loop) == 1 &&
                (!copy->inside || team_slope(t, copy->inside, group->loop) == 0) &&
                divides(t, copy->load->as.load.at, each, var, &group->conditions) &&
                divides(t, to, each, var, &group->conditions);
    if (fits) {
        group->store = stmt;
        group->buffers = (uint64_t)1 << copy->load->as.load.buffer;
    }
    return fits;
}

static bool find_group(Text *t, const KStmt *loop, Group *group) {
    *group = (Group){.loop = loop};
    if (!kernel_is_loop(loop, KL_UNROLL) || !loop->as.loop.body ||
        !expr_is_zero(loop->as.loop.begin) || loop->as.loop.end->kind != KE_INT ||
        loop->as.loop.end->as.integer < 2 || !is_simple(loop->as.loop.body)) {
        return false;
    }
    group->count = loop->as.loop.end->as.integer;
    if (find_group_copy(t, group)) {
        return true;
    }
    group->conditions = (Conditions){.n_sizes = 0};
    int32_t at = team_number(t, loop) + 1;
    for (const KStmt *stmt = loop->as.loop.body; stmt; stmt = stmt->next) {
        if (kernel_walk_expr(simple_value(stmt), add_read, &(Reader){t, group, at})) {
            return false;
        }
        if (stmt->kind == KS_STORE) {
            WidePart part = {true, stmt->as.store.buffer, NULL, stmt->as.store.at};
            add_part(t, group, &part, at);
        } else if (stmt->kind == KS_LOCAL_STORE) {
            WidePart part = {true, -1, stmt->as.local_store.array, stmt->as.local_store.at};
            add_part(t, group, &part, at);
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
    text_var(t, loop->as.loop.var);
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
    text_var(t, loop->as.loop.var);
    str_add(t->out, " = 0; ");
    text_var(t, loop->as.loop.var);
    str_addf(t->out, " < %lld; ", (long long)loop->as.loop.end->as.integer);
    text_var(t, loop->as.loop.var);
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
    text_var(t, group->loop->as.loop.var);
    str_add(t->out, " = e;\n");
    const Wide *before = t->wide;
    t->wide = &group->wide;
    text_stmts(t, group->loop->as.loop.body, TEAM_THREAD);
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
    text_stmts(t, loop->as.loop.body, TEAM_THREAD);
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
