/* Kernels of a schedule: lowering every fusion, keeping one of equal kernels, fault sites, and the
 * work that each op stands for. */
#include "codegen/schedule/state.h"

void kernel_pool_init(KernelPool *pool, Context *context, Arena *arena) {
    *pool = (KernelPool){.arena = arena, .bodies = ARENA_NEW(&context->arena, Arena)};
    arena_init(pool->bodies, context->allocator, context->boundary);
    context_own_arena(context, pool->bodies);
    map_init(&pool->by_text, arena);
    map_init(&pool->sites, arena);
    pool->hooks = arena_hooks(arena);
    str_init(&pool->key, &pool->hooks);
}

const char *place_text(Schedule *s, Place place) {
    return place.source
               ? arena_format(s->arena, "%s:%d:%d", place.source->name, place.line, place.column)
               : "";
}

int64_t site_number(void *user, Place place, const char *text) {
    Schedule *s = user;
    const char *at = place_text(s, place);
    const char *key = arena_format(s->arena, "%s\n%s", at, text ? text : "");
    void *known = map_get(&s->pool->sites, key);
    if (known) {
        return (int64_t)(uintptr_t)known - 1;
    }
    PlanSite site = {0};
    site.place = plan_writer_string(s->writer, at);
    site.text = plan_writer_string(s->writer, text);
    VEC_PUSH(s->arena, &s->tables->sites, site);
    map_set(&s->pool->sites, key, (void *)(uintptr_t)s->tables->sites.count);
    return (int64_t)s->tables->sites.count - 1;
}

/* Whether finite operands may give a result that is not, other than by a sum or product that grows
 * too large. */
static bool is_partial(const Op *op) {
    return op_info(op->code)->scalar_domain != DOMAIN_ALL &&
           dtype_is_float(op->results[0]->type.dtype);
}

int32_t risk_site(Schedule *s, const Op *fusion) {
    enum { MOST_LINES = 3 };
    const char *text = "", *places[MOST_LINES];
    int n = 0;
    BLOCK_EACH_OP (fusion->blocks[0], op) {
        if (!is_partial(op) || !op->place.source || n == MOST_LINES) {
            continue;
        }
        places[n] = place_text(s, op->place);
        bool known = false;
        for (int i = 0; i < n; i++) {
            known = known || strcmp(places[i], places[n]) == 0;
        }
        if (!known) {
            text = arena_format(s->arena, "%s%s%s at %s", text, n > 0 ? ", " : "",
                                op_info(op->code)->name, places[n]);
            n++;
        }
    }
    return n > 0 ? (int32_t)site_number(s, fusion->place, text) : -1;
}

/* Code may rely on the ranges of size parameters: those of the kernel that stands for all are the
 * widest, and kernels are different where one may be negative and another may not. */
const Size *size_wider(const Size *a, const Size *b) {
    int64_t low, high_a, high_b;
    size_range(a, &low, &high_a);
    size_range(b, &low, &high_b);
    return high_b > high_a ? b : a;
}

static const char *sizes_signs(Schedule *s, const Kernel *kernel) {
    char *signs = arena_alloc(s->arena, (size_t)kernel->n_sizes + 1);
    for (int32_t i = 0; i < kernel->n_sizes; i++) {
        int64_t low, high;
        size_range(kernel->sizes[i], &low, &high);
        signs[i] = low < 0 ? '-' : '+';
    }
    signs[kernel->n_sizes] = '\0';
    return signs;
}

/* What tells kernels apart, in the pool's buffer: the identity, before it the signs of the sizes
 * where kernels are merged. */
static const char *kernel_key(Schedule *s, const Kernel *kernel) {
    Str *key = &s->pool->key;
    str_clear(key);
    if (s->machine->merges_kernels) {
        str_add(key, sizes_signs(s, kernel));
    }
    kernel_identity(kernel, key);
    return key->text;
}

bool kernel_meet(Schedule *s, Kernel *kernel) {
    const char *key = kernel_key(s, kernel);
    kernel->twin = map_get(&s->pool->by_text, key);
    kernel->number = -1;
    if (!kernel->twin) {
        kernel->twin = kernel;
        map_set(&s->pool->by_text, key, kernel);
        return false;
    }
    return true;
}

int32_t kernel_number(Schedule *s, Kernel *kernel) {
    Kernel *twin = kernel->twin;
    if (twin->number >= 0) {
        Kernel *first = s->pool->kernels.items[twin->number];
        for (int32_t i = 0; s->machine->merges_kernels && i < kernel->n_sizes; i++) {
            first->sizes[i] = size_wider(first->sizes[i], kernel->sizes[i]);
        }
        return twin->number;
    }
    VEC_PUSH(s->pool->arena, &s->pool->kernels, kernel);
    int32_t number = (int32_t)s->pool->kernels.count - 1;
    twin->number = number;
    PlanKernel record = {
        .name = plan_writer_string(s->writer, kernel->name),
        .n_buffers = kernel->n_buffers,
        .n_sizes = kernel->n_sizes,
        .faults = (kernel_holds_fault(kernel->body) ? PLAN_FAULTS_CHECKS : 0) |
                  (kernel_holds_watch(kernel->body) ? PLAN_FAULTS_WATCHES : 0),
        .scratch_bytes = kernel_scratch_bytes(kernel),
        .hash = kernel_hash(kernel),
    };
    VEC_PUSH(s->arena, &s->tables->kernels, record);
    return number;
}

static bool is_watched(void *user, const Op *fusion, int32_t result) {
    const Schedule *s = user;
    return s->watched[fusion->results[result]->id];
}

static void lower_op(Op *op, void *user) {
    Schedule *s = user;
    if (op->code != OP_fusion) {
        return;
    }
    LowerContext lower = {.context = s->context,
                          .arena = s->arena,
                          .bodies = s->pool->bodies,
                          .machine = s->machine,
                          .site_of = site_number,
                          .is_watched = is_watched,
                          .user = s,
                          .pool = s->pool->building};
    LoweredOp *lowered = ARENA_NEW(s->arena, LoweredOp);
    ArenaMark mark = arena_mark(s->pool->bodies);
    lower_fusion(&lower, op, lowered);
    s->pool->building = lower.pool;
    s->lowered[op->id] = lowered;
    bool all_known = true;
    for (int32_t i = 0; i < lowered->n_kernels; i++) {
        all_known &= kernel_meet(s, lowered->kernels[i].kernel);
    }
    if (all_known) { /* the usual case in a deep network: one body serves all its layers */
        for (int32_t i = 0; i < lowered->n_kernels; i++) {
            Kernel *kernel = lowered->kernels[i].kernel;
            kernel->body = kernel->twin->body;
            kernel->locals = kernel->twin->locals;
        }
        arena_release(s->pool->bodies, mark);
    }
}

void lower_all(Schedule *s) {
    func_each_op(s->func, lower_op, s);
}

bool op_may_fault(Schedule *s, const Op *op) {
    if (op->code == OP_check || op->code == OP_while) {
        return true;
    }
    if (s->lowered[op->id]) {
        const LoweredOp *lowered = s->lowered[op->id];
        for (int32_t k = 0; k < lowered->n_kernels; k++) {
            if (kernel_holds_fault(lowered->kernels[k].kernel->body)) {
                return true;
            }
        }
        return false;
    }
    for (int32_t b = 0; b < op->n_blocks; b++) {
        BLOCK_EACH_OP (op->blocks[b], inner) {
            if (op_may_fault(s, inner)) {
                return true;
            }
        }
    }
    return false;
}

static const Size *block_flops(Schedule *s, const Block *block) {
    const Size *total = size_const(s->context, 0);
    BLOCK_EACH_OP (block, op) {
        const Size *work = op_flops(s->context, op);
        for (int32_t b = 0; b < op->n_blocks; b++) {
            work = size_add(s->context, work, block_flops(s, op->blocks[b]));
        }
        total = size_add(s->context, total, work);
    }
    return total;
}

void fusion_cost(Schedule *s, const Op *fusion, const Size **flops, const Size **bytes) {
    *flops = block_flops(s, fusion->blocks[0]);
    const Size *traffic = size_const(s->context, 0);
    for (int32_t i = 0; i < fusion->n_operands; i++) {
        traffic = size_add(s->context, traffic, type_bytes(s->context, fusion->operands[i]->type));
    }
    for (int32_t i = 0; i < fusion->n_results; i++) {
        traffic = size_add(s->context, traffic, type_bytes(s->context, fusion->results[i]->type));
    }
    *bytes = traffic;
    /* Too large for a size: unknown rather than wrong. */
    *flops = size_is_error(*flops) ? size_const(s->context, 0) : *flops;
    *bytes = size_is_error(*bytes) ? size_const(s->context, 0) : *bytes;
}
