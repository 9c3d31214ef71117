/* The pass `shard`: a program of whole tensors becomes one rank's program, where the module has a
 * mesh. See README.md. */
#include "passes/shard/shard.h"
#include "ir/mesh_layout.h"

#include <string.h>

/* 0: there is none, or one rank stands along it, and cuts nothing. */
static MeshGroup axis_called(const Module *module, const char *name) {
    for (int32_t i = 0; i < module->n_mesh_axes; i++) {
        if (strcmp(module->mesh[i].name, name) == 0 && module->mesh[i].size != 1) {
            return (MeshGroup)1 << i;
        }
    }
    return 0;
}

static const Sharding *sharding_of(Shard *s, const Value *old, const Cuts *cuts) {
    return cuts->n == 0 ? NULL : module_sharding(s->module, old->type, cuts->at, cuts->n);
}

static void make_args(Shard *s, const Block *from, Block *to) {
    for (int32_t i = 0; i < from->n_args; i++) {
        const Value *old = from->args[i];
        const Cuts *cuts = &spread_of(s, old)->cuts;
        Value *arg = block_add_arg(to, cuts_type(s, old->type, cuts), old->name);
        version_add(s, old, cuts, arg);
        s->func->args[i].sharding = sharding_of(s, old, cuts);
    }
}

/* A result is cut as its value is; what is stored, as what it replaces. */
static void make_results(Shard *s, const Block *from, Block *to) {
    const Op *old = block_yield(from);
    Value **values = ARENA_ARRAY(s->arena, Value *, (size_t)old->n_operands + 1);
    s->at = old;
    for (int32_t r = 0; r < old->n_operands; r++) {
        FuncResult *result = &s->func->results[r];
        const Value *like =
            result->role == RESULT_STORE ? from->args[result->arg] : old->operands[r];
        const Cuts *cuts = &spread_of(s, like)->versions->cuts;
        values[r] = version_of(s, old->operands[r], cuts);
        result->sharding = sharding_of(s, old->operands[r], cuts);
    }
    Builder b = shard_builder(s, old, to);
    b_yield(&b, values, old->n_operands);
}

/* How each value is cut. */
static void choose_cuts(Shard *s, const Hints *hints) {
    s->trial = ARENA_NEW(&s->context->arena, Arena);
    arena_init(s->trial, s->context->allocator, s->context->boundary);
    context_own_arena(s->context, s->trial);
    propagate_batch(s, hints);
    if (s->model) {
        refuse_heads(s);
    }
    if (s->model && !s->is_agreed) {
        choose_model(s);
    }
    if (s->model) {
        cut_between(s);
    }
    propagate_kept(s);
    agree(s);
    arena_finish(s->trial);
}

bool pass_shard(PassContext *pass, Func *func) {
    bool is_done = (func->properties & PROP_SHARDED) != 0; /* IR from a file */
    if (func->module->n_mesh_axes == 0 || is_done) {
        return false;
    }
    const Hints *hints = hints_take(pass->scratch, func);
    func_renumber(func);
    Shard s = {.pass = pass,
               .context = pass->context,
               .module = func->module,
               .func = func,
               .arena = pass->scratch,
               .data = axis_called(func->module, "data") | axis_called(func->module, "replica"),
               .model = axis_called(func->module, "model"),
               .zero = axis_called(func->module, "data"), /* replicas have copies */
               .level = func->module->mesh_layout ? func->module->mesh_layout->zero : 0,
               .n_values = func->n_values};
    s.spreads = ARENA_ARRAY(s.arena, Spread, (size_t)s.n_values + 1);
    choose_cuts(&s, hints);
    decide_partial(&s);
    if (pass->report) {
        shard_report(&s);
    }
    Block *old = func->body, *body = block_create(func, NULL);
    s.func_body = body;
    make_args(&s, old, body);
    rewrite_block(&s, old, body);
    make_results(&s, old, body);
    func->body = body;
    join_exchanges(&s, body);
    gathers_ahead(func);
    func->properties |= PROP_SHARDED;
    return true;
}
