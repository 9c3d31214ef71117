/* Reads the text form of kernels (docs/kernels.md) back: the head of a module, whose dims sizes
 * name, and kernels. Statements are kernel_parse_stmt.c's. What comes out is verified: backends may
 * trust it. */
#include "codegen/kernel_parse.h"
#include "codegen/kernel_words.h"

#include <string.h>

enum { MOST_PARTS = 4096, MOST_ELEMENTS = 1 << 30 };

/* bN, lN or sN where it is defined: the next number. */
static bool parse_next(KernelParser *k, char letter, size_t count) {
    Parser *p = &k->text;
    Mark mark = parse_mark(p);
    int32_t number = 0;
    if (count >= MOST_PARTS) {
        diag_report(&p->context->diags, DIAG_IR_LIMIT, parse_place(p, mark),
                    "a kernel has at most 4096 buffers, locals and sizes of each");
        return false;
    }
    if (!kernel_parse_numbered(k, letter, (int32_t)count + 1, &number)) {
        return false;
    }
    if ((size_t)number != count) {
        diag_report(&p->context->diags, DIAG_IR_BAD_NUMBER, parse_place(p, mark),
                    "buffers, locals and sizes are numbered in order, from 0");
        return false;
    }
    return true;
}

/* (b0: f32, b1: f32 written) */
static bool parse_buffers(KernelParser *k) {
    Parser *p = &k->text;
    VEC(KBuffer) buffers = {0};
    if (!parse_expect(p, "(")) {
        return false;
    }
    while (!parse_accept(p, ")")) {
        KBuffer buffer = {0};
        if ((buffers.count > 0 && !parse_expect(p, ",")) || !parse_next(k, 'b', buffers.count) ||
            !parse_expect(p, ":") || !parse_dtype(p, &buffer.dtype)) {
            return false;
        }
        if (parse_at_word(p)) {
            buffer.is_written = true;
            if (!parse_keyword(p, "written")) {
                return false;
            }
        }
        VEC_PUSH(k->arena, &buffers, buffer);
    }
    k->kernel->buffers = buffers.items;
    k->kernel->n_buffers = (int32_t)buffers.count;
    return true;
}

/* "s0 = B" */
static bool parse_size_part(KernelParser *k) {
    Parser *p = &k->text;
    if (!parse_next(k, 's', k->sizes.count) || !parse_expect(p, "=")) {
        return false;
    }
    const Size *size = parse_size(p);
    if (size) {
        VEC_PUSH(k->arena, &k->sizes, size);
    }
    return size != NULL;
}

/* "B, cdiv(T, 4)" */
static bool parse_tiles(KernelParser *k) {
    Parser *p = &k->text;
    VEC(const Size *) grid = {0};
    do {
        const Size *size = parse_size(p);
        if (!size) {
            return false;
        }
        VEC_PUSH(k->arena, &grid, size);
    } while (parse_accept(p, ",") && grid.count <= TYPE_MAX_RANK);
    k->kernel->grid = grid.items;
    k->kernel->n_grid = (int32_t)grid.count;
    return true;
}

/* "l0 row: f32*100" */
static bool parse_local(KernelParser *k) {
    Parser *p = &k->text;
    KLocal *local = ARENA_NEW(k->arena, KLocal);
    local->id = (int32_t)k->locals.count;
    if (!parse_next(k, 'l', k->locals.count)) {
        return false;
    }
    if (!parse_at(p, ":")) {
        local->hint = parse_name(p, "a name or ':'");
        if (!local->hint) {
            return false;
        }
    }
    if (!parse_expect(p, ":") || !parse_dtype(p, &local->dtype) || !parse_expect(p, "*")) {
        return false;
    }
    Mark mark = parse_mark(p);
    if (!parse_int(p, &local->count)) {
        return false;
    }
    if (local->count < 1 || local->count > MOST_ELEMENTS) {
        diag_report(&p->context->diags, DIAG_IR_BAD_NUMBER, parse_place(p, mark),
                    "a local has from 1 to 2^30 elements");
        return false;
    }
    VEC_PUSH(k->arena, &k->locals, local);
    return true;
}

/* "8 common b0, b2" */
static bool parse_group(KernelParser *k) {
    Parser *p = &k->text;
    Mark mark = parse_mark(p);
    int64_t group = 0;
    if (!parse_int(p, &group)) {
        return false;
    }
    if (group < 1 || group > MOST_PARTS) {
        diag_report(&p->context->diags, DIAG_IR_BAD_NUMBER, parse_place(p, mark),
                    "a group has from 1 to 4096 launches");
        return false;
    }
    k->kernel->group = (int32_t)group;
    if (!kernel_parse_at(k, "common")) {
        return true;
    }
    parse_keyword(p, "common");
    do {
        int32_t buffer = 0;
        int32_t n = k->kernel->n_buffers < 64 ? k->kernel->n_buffers : 64;
        if (!kernel_parse_numbered(k, 'b', n, &buffer)) {
            return false;
        }
        k->kernel->common |= (uint64_t)1 << buffer;
    } while (parse_accept(p, ","));
    return true;
}

/* The parts before the first statement, in the order that they are printed in. */
static bool parse_parts(KernelParser *k) {
    static const struct {
        const char *word;
        bool (*parse)(KernelParser *k);
        bool many;
    } parts[] = {{"size", parse_size_part, true},
                 {"tiles", parse_tiles, false},
                 {"local", parse_local, true},
                 {"group", parse_group, false}};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        bool again = true;
        while (again && kernel_parse_at(k, parts[i].word)) {
            parse_keyword(&k->text, parts[i].word);
            if (!parts[i].parse(k)) {
                return false;
            }
            again = parts[i].many;
        }
    }
    k->kernel->sizes = k->sizes.items;
    k->kernel->n_sizes = (int32_t)k->sizes.count;
    k->kernel->locals = k->locals.items;
    k->kernel->n_locals = (int32_t)k->locals.count;
    return true;
}

static bool check_kernel(KernelParser *k, Mark mark) {
    KernelProblem problem;
    if (kernel_verify(k->kernel, k->arena, &problem)) {
        return true;
    }
    Parser *p = &k->text;
    Place place = problem.stmt < 0 ? parse_place(p, mark) : k->places.items[problem.stmt];
    diag_report(&p->context->diags, DIAG_KERNEL_INVALID, place, problem.text);
    return false;
}

static bool parse_kernel(KernelParser *k) {
    Parser *p = &k->text;
    k->sizes.count = k->locals.count = k->vars.count = k->places.count = 0;
    k->sizes.items = NULL; /* of the kernel before */
    k->sizes.capacity = 0;
    k->locals.items = NULL;
    k->locals.capacity = 0;
    k->kernel = ARENA_NEW(k->arena, Kernel);
    k->kernel->arena = k->arena;
    if (!parse_keyword(p, "kernel")) {
        return false;
    }
    Mark mark = parse_mark(p);
    k->kernel->name = parse_string(p, "the name of a kernel");
    if (!k->kernel->name || !parse_buffers(k) || !parse_expect(p, "{") || !parse_parts(k) ||
        !kernel_parse_list(k, &k->kernel->body)) {
        return false;
    }
    k->kernel->n_vars = (int32_t)k->vars.count;
    return check_kernel(k, mark);
}

bool kernel_parse(Context *context, Arena *arena, const Source *source, KernelFile *out) {
    KernelParser parser = {.arena = arena};
    Parser *p = &parser.text;
    VEC(Kernel *) kernels = {0};
    parse_start(p, context, source);
    bool ok = parse_module_head(p);
    for (parse_skip(p); ok && p->at < p->end; parse_skip(p)) {
        ok = parse_kernel(&parser);
        VEC_PUSH(arena, &kernels, parser.kernel);
    }
    *out = (KernelFile){
        .module = p->module, .kernels = kernels.items, .n_kernels = (int32_t)kernels.count};
    if (!ok) {
        module_destroy(p->module);
        *out = (KernelFile){.module = NULL};
    }
    return ok;
}
