/* Kernels that differ in lengths and strides alone become one, which gets them as size parameters:
 * each kernel costs its compiler a good part of a second. Only for machines that ask for it, and
 * not where a contraction's tiles are laid out for the very numbers. */
#include "codegen/schedule/state.h"

/* Smaller constants are worth more as constants: loops of them are unrolled. */
enum { LEAST = 64, MOST_PARAMETERS = 8 };

typedef struct Hole {
    int64_t value;
    int32_t parameter; /* -1: stays a constant */
} Hole;

typedef VEC(Hole) Holes;

typedef struct Copy {
    Arena *arena;
    Holes *holes; /* in order of appearance; collected when `fill` is NULL */
    const Holes *fill;
    size_t at;
    int32_t first; /* number of the first new parameter */
} Copy;

static const KExpr *copy_expr(Copy *c, const KExpr *e);

static const KExpr *copy_constant(Copy *c, const KExpr *e) {
    KExpr *copy = ARENA_NEW(c->arena, KExpr);
    *copy = *e;
    int32_t parameter = 0; /* all holes look alike */
    if (c->fill) {
        parameter = c->fill->items[c->at++].parameter;
    } else {
        Hole hole = {e->as.integer, -1};
        VEC_PUSH(c->arena, c->holes, hole);
    }
    if (parameter >= 0) {
        *copy = (KExpr){.kind = KE_SIZE, .dtype = DT_I64, .as.size = c->first + parameter};
    }
    return copy;
}

static const KExpr *copy_expr(Copy *c, const KExpr *e) {
    const KExpr **slots[KERNEL_EXPR_OPERANDS];
    if (kernel_expr_slots((KExpr *)e, slots) == 0) {
        bool is_hole = e->kind == KE_INT && e->dtype == DT_I64 && e->as.integer >= LEAST;
        return is_hole ? copy_constant(c, e) : e;
    }
    KExpr *copy = ARENA_NEW(c->arena, KExpr);
    *copy = *e;
    int32_t n = kernel_expr_slots(copy, slots);
    bool is_scalar = e->kind == KE_SCALAR;
    bool divides = is_scalar && (e->as.scalar.op == OP_floordiv || e->as.scalar.op == OP_mod);
    bool indexes = e->kind == KE_LOAD || e->kind == KE_LOCAL || e->dtype == DT_I64 ||
                   (is_scalar && e->as.scalar.a[0]->dtype == DT_I64);
    for (int32_t i = 0; i < n; i++) {
        bool whole = (divides && i == 1) || (!indexes && (*slots[i])->kind == KE_INT);
        if (!whole) {
            *slots[i] = copy_expr(c, *slots[i]);
        }
    }
    return copy;
}

static KStmt *copy_stmts(Copy *c, const KStmt *stmt) {
    KStmt *first = NULL, **tail = &first;
    for (; stmt; stmt = stmt->next) {
        KStmt *copy = ARENA_NEW(c->arena, KStmt);
        *copy = *stmt;
        copy->next = NULL;
        const KExpr **slots[KERNEL_STMT_OPERANDS];
        int32_t n = kernel_is_loop(stmt, KL_UNROLL) ? 0 : kernel_stmt_slots(copy, slots);
        for (int32_t i = 0; i < n; i++) {
            *slots[i] = copy_expr(c, *slots[i]);
        }
        KStmt **lists[2];
        n = kernel_stmt_list_slots(copy, lists);
        for (int32_t i = 0; i < n; i++) {
            *lists[i] = copy_stmts(c, *lists[i]);
        }
        *tail = copy;
        tail = &copy->next;
    }
    return first;
}

/* -- classes of kernels that are equal but for holes */
typedef struct Member {
    int32_t kernel;
    Holes holes;
} Member;

typedef struct Class {
    VEC(Member) members;
    Holes fill; /* which hole becomes which parameter */
    int32_t n_parameters;
    int32_t *hole_of; /* a hole of parameter p */
} Class;

typedef struct Merge {
    PlanWriter *writer;
    TargetTables *tables;
    KernelPool *pool;
    Arena *arena;
    Map by_text; /* of kernels with holes -> Class */
    VEC(Class *) classes;
    Class **class_of;   /* by old number; NULL: alone */
    int32_t *member_of; /* by old number */
    int32_t *number;    /* old to new */
} Merge;

static void class_join(Merge *m, int32_t number) {
    Kernel *kernel = m->pool->kernels.items[number];
    if (kernel_holds_contract(kernel->body)) {
        return;
    }
    Member member = {.kernel = number};
    Copy copy = {.arena = m->arena, .holes = &member.holes, .first = kernel->n_sizes};
    Kernel shape = *kernel;
    shape.body = copy_stmts(&copy, kernel->body);
    Str text;
    str_init(&text, m->writer->context->allocator);
    for (int32_t i = 0; i < kernel->n_sizes; i++) {
        int64_t low, high;
        size_range(kernel->sizes[i], &low, &high);
        str_add(&text, low < 0 ? "-" : "+");
    }
    kernel_identity(&shape, &text);
    bool failed = text.failed;
    const char *key = failed ? "" : arena_strndup(m->arena, text.text, text.length);
    str_finish(&text);
    if (failed) {
        boundary_leave(m->writer->context->boundary, DLC_ERROR_OUT_OF_MEMORY);
    }
    Class *class = map_get(&m->by_text, key);
    if (!class) {
        class = ARENA_NEW(m->arena, Class);
        map_set(&m->by_text, key, class);
        VEC_PUSH(m->arena, &m->classes, class);
    }
    m->class_of[number] = class;
    m->member_of[number] = (int32_t) class->members.count;
    VEC_PUSH(m->arena, &class->members, member);
}

static bool holes_agree(const Class *class, size_t a, size_t b) {
    for (size_t i = 0; i < class->members.count; i++) {
        const Holes *holes = &class->members.items[i].holes;
        if (holes->items[a].value != holes->items[b].value) {
            return false;
        }
    }
    return true;
}

static bool hole_varies(const Class *class, size_t at) {
    for (size_t i = 1; i < class->members.count; i++) {
        if (class->members.items[i].holes.items[at].value !=
            class->members.items[0].holes.items[at].value) {
            return true;
        }
    }
    return false;
}

/* Holes that vary become parameters; those that always agree, the same one. */
static bool class_settle(Merge *m, Class *class) {
    if (class->members.count < 2) {
        return false;
    }
    size_t n_holes = class->members.items[0].holes.count;
    class->hole_of = ARENA_ARRAY(m->arena, int32_t, MOST_PARAMETERS);
    for (size_t i = 0; i < n_holes; i++) {
        Hole hole = {0, -1};
        if (hole_varies(class, i)) {
            int32_t p = 0;
            while (p < class->n_parameters && !holes_agree(class, i, (size_t) class->hole_of[p])) {
                p++;
            }
            if (p == MOST_PARAMETERS) {
                return false;
            }
            if (p == class->n_parameters) {
                class->hole_of[class->n_parameters++] = (int32_t)i;
            }
            hole.parameter = p;
        }
        VEC_PUSH(m->arena, &class->fill, hole);
    }
    return true;
}

static int64_t member_value(const Class *class, size_t member, int32_t p) {
    return class->members.items[member].holes.items[class->hole_of[p]].value;
}

static Kernel *class_kernel(Merge *m, const Class *class) {
    const Kernel *first = m->pool->kernels.items[class->members.items[0].kernel];
    Kernel *kernel = ARENA_NEW(m->pool->arena, Kernel);
    *kernel = *first;
    Copy copy = {.arena = m->pool->arena, .fill = &class->fill, .first = first->n_sizes};
    kernel->body = copy_stmts(&copy, first->body);
    kernel->n_sizes = first->n_sizes + class->n_parameters;
    kernel->sizes = ARENA_ARRAY(m->pool->arena, const Size *, kernel->n_sizes + 1);
    for (int32_t i = 0; i < first->n_sizes; i++) {
        kernel->sizes[i] = first->sizes[i];
        for (size_t j = 1; j < class->members.count; j++) {
            const Kernel *other = m->pool->kernels.items[class->members.items[j].kernel];
            kernel->sizes[i] = size_wider(kernel->sizes[i], other->sizes[i]);
        }
    }
    for (int32_t p = 0; p < class->n_parameters; p++) {
        int64_t most = 0;
        for (size_t j = 0; j < class->members.count; j++) {
            int64_t value = member_value(class, j, p);
            most = value > most ? value : most;
        }
        kernel->sizes[first->n_sizes + p] = size_const(m->writer->context, most);
    }
    return kernel;
}

/* The launches of a merged kernel give its new parameters too. */
static void commands_rewrite(Merge *m) {
    for (size_t i = 0; i < m->tables->commands.count; i++) {
        PlanCommand *command = &m->tables->commands.items[i];
        if (command->kind != PLAN_LAUNCH) {
            continue;
        }
        int32_t old = command->kernel;
        const Class *class = m->class_of[old];
        command->kernel = m->number[old];
        if (!class) {
            continue;
        }
        int32_t first = (int32_t)m->writer->sizes.count;
        for (int32_t s = 0; s < command->n_sizes; s++) {
            PlanProgram program = m->writer->sizes.items[command->first_size + s];
            VEC_PUSH(m->writer->arena, &m->writer->sizes, program);
        }
        for (int32_t p = 0; p < class->n_parameters; p++) {
            int64_t value = member_value(class, (size_t)m->member_of[old], p);
            PlanProgram program =
                plan_writer_size(m->writer, size_const(m->writer->context, value));
            VEC_PUSH(m->writer->arena, &m->writer->sizes, program);
        }
        command->first_size = first;
        command->n_sizes += class->n_parameters;
    }
}

void schedule_merge(PlanWriter *writer, TargetTables *tables, KernelPool *pool) {
    int32_t n = (int32_t)pool->kernels.count, kept = 0;
    Merge m = {.writer = writer, .tables = tables, .pool = pool, .arena = writer->arena};
    map_init(&m.by_text, writer->arena);
    m.class_of = ARENA_ARRAY(m.arena, Class *, n + 1);
    m.member_of = ARENA_ARRAY(m.arena, int32_t, n + 1);
    m.number = ARENA_ARRAY(m.arena, int32_t, n + 1);
    for (int32_t i = 0; i < n; i++) {
        class_join(&m, i);
    }
    for (int32_t i = 0; i < n; i++) {
        Class *class = m.class_of[i];
        if (class && m.member_of[i] == 0 && !class_settle(&m, class)) {
            for (size_t j = 0; j < class->members.count; j++) {
                m.class_of[class->members.items[j].kernel] = NULL;
            }
        }
    }
    for (int32_t i = 0; i < n; i++) {
        const Class *class = m.class_of[i];
        if (class && m.member_of[i] > 0) {
            m.number[i] = m.number[class->members.items[0].kernel];
            continue;
        }
        PlanKernel record = tables->kernels.items[i];
        Kernel *kernel = pool->kernels.items[i];
        if (class) {
            kernel = class_kernel(&m, class);
            record.n_sizes = kernel->n_sizes;
            record.hash = kernel_hash(kernel);
        }
        m.number[i] = kept;
        tables->kernels.items[kept] = record;
        pool->kernels.items[kept++] = kernel;
    }
    tables->kernels.count = pool->kernels.count = (size_t)kept;
    commands_rewrite(&m);
}
