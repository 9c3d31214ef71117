/* The kernel builder's statements and scopes. */
#include "codegen/lower/build/build_impl.h"
#include <string.h>

/* -- the fusion */
Context *kb_context(KBuild *k) {
    return k->context;
}

Arena *kb_arena(KBuild *k) {
    return k->arena;
}

const Machine *kb_machine(KBuild *k) {
    return k->lower->machine;
}

bool kb_is_block(KBuild *k) {
    return k->lower->machine->threads > 1;
}

KLoopKind kb_each(KBuild *k, KLoopKind otherwise) {
    return kb_is_block(k) ? KL_INDEPENDENT : otherwise;
}

void kb_reduce_serially(KBuild *k, bool serially) {
    k->reduce_in_threads = serially;
}

/* Outside all independent loops there are no results to share out: the block works together. */
KLoopKind kb_reducing(KBuild *k) {
    for (const Scope *scope = k->scope; scope && k->reduce_in_threads; scope = scope->parent) {
        const KStmt *stmt = scope->stmt;
        if (stmt && (kernel_is_loop(stmt, KL_INDEPENDENT) || kernel_is_loop(stmt, KL_VECTOR))) {
            return KL_SERIAL;
        }
    }
    return KL_VECTOR;
}

const Op *kb_fusion(KBuild *k) {
    return k->fusion;
}

Value *kb_result_value(KBuild *k, int32_t result) {
    return block_yield(k->body)->operands[result];
}

bool kb_is_body_arg(const KBuild *k, const Value *v) {
    return !v->op && v->block == k->body;
}

static int32_t find_buffer(KBuild *k, BindKind kind, int32_t index, DType dtype, bool written) {
    for (size_t i = 0; i < k->binds.count; i++) {
        if (k->binds.items[i].kind == kind && k->binds.items[i].index == index) {
            k->buffers.items[i].is_written |= written;
            return (int32_t)i;
        }
    }
    Bind bind = {kind, index};
    KBuffer buffer = {dtype, written};
    VEC_PUSH(k->arena, &k->binds, bind);
    VEC_PUSH(k->arena, &k->buffers, buffer);
    return (int32_t)k->binds.count - 1;
}

int32_t kb_operand_buffer(KBuild *k, int32_t operand) {
    return find_buffer(k, BIND_OPERAND, operand, k->body->args[operand]->type.dtype, false);
}

int32_t kb_result_buffer(KBuild *k, int32_t result) {
    return find_buffer(k, BIND_RESULT, result, kb_result_value(k, result)->type.dtype, true);
}

int32_t kb_temp_buffer(KBuild *k, int32_t temp, bool written) {
    return find_buffer(k, BIND_TEMP, temp, k->temps.items[temp].dtype, written);
}

KLocal *kb_local(KBuild *k, DType dtype, int64_t count, const char *hint) {
    PoolLocal *local = POOL_NEW(k, PoolLocal);
    local->local = (KLocal){.dtype = dtype, .count = count, .hint = hint};
    return &local->local;
}

/* -- scopes */
Scope *scope_at(KBuild *k, int32_t depth) {
    if (depth < k->scope->floor) {
        depth = k->scope->floor;
    }
    Scope *scope = k->scope;
    while (scope->depth > depth) {
        scope = scope->parent;
    }
    return scope;
}

Scope *scope_enter(KBuild *k, int32_t depth) {
    Scope *saved = k->scope;
    k->scope = scope_at(k, depth);
    return saved;
}

void scope_restore(KBuild *k, Scope *saved) {
    k->scope = saved;
}

int32_t index_depth(const KExpr *const *index, int32_t n) {
    int32_t depth = 0;
    for (int32_t i = 0; i < n; i++) {
        depth = node_of(index[i])->depth > depth ? node_of(index[i])->depth : depth;
    }
    return depth;
}

static void append(KBuild *k, Scope *scope, KStmt *stmt) {
    (void)k;
    *scope->tail = stmt;
    scope->tail = &stmt->next;
}

static KStmt *new_stmt(KBuild *k, KStmtKind kind) {
    KStmt *stmt = POOL_NEW(k, KStmt);
    stmt->kind = kind;
    return stmt;
}

static Scope *push_scope(KBuild *k, KStmt *stmt, KStmt **list, bool is_floor) {
    Scope *scope = POOL_NEW(k, Scope);
    scope->parent = k->scope;
    scope->stmt = stmt;
    scope->head = scope->tail = list;
    scope->depth = k->scope->depth + 1;
    scope->floor = is_floor ? scope->depth : k->scope->floor;
    k->scope = scope;
    return scope;
}

static void drop_memos(Scope *scope) {
    for (Memo *memo = scope->memos; memo; memo = memo->next_in_scope) {
        memo->scope = NULL;
    }
    scope->memos = NULL;
}

static void pop_scope(KBuild *k) {
    Scope *scope = k->scope;
    drop_memos(scope);
    k->scope = scope->parent;
    append(k, k->scope, scope->stmt);
}

/* -- what was emitted where */
static uint64_t memo_hash(const void *key, const KExpr *const *index, int32_t n) {
    uint64_t hash = hash_bytes(&key, sizeof(key), 11);
    for (int32_t i = 0; i < n; i++) {
        hash = hash * 1099511628211u + (uint64_t)node_of(index[i])->serial;
    }
    return hash ^ (hash >> 29);
}

const KExpr *memo_find(KBuild *k, const void *key, const KExpr *const *index, int32_t n) {
    for (Memo *memo = k->memos[memo_hash(key, index, n) % MEMO_BUCKETS]; memo; memo = memo->next) {
        if (memo->key != key || memo->n != n || !memo->scope) {
            continue;
        }
        bool equal = true;
        for (int32_t i = 0; i < n && equal; i++) {
            equal = memo->index[i] == index[i];
        }
        const Scope *scope = k->scope;
        while (equal && scope && scope != memo->scope) {
            scope = scope->parent;
        }
        if (equal && scope) {
            return memo->value;
        }
    }
    return NULL;
}

void memo_add(KBuild *k, Scope *scope, const void *key, const KExpr *const *index, int32_t n,
              const KExpr *value) {
    Memo *memo = POOL_NEW(k, Memo);
    const KExpr **copy = POOL_ARRAY(k, const KExpr *, n);
    for (int32_t i = 0; i < n; i++) {
        copy[i] = index[i];
    }
    *memo = (Memo){.key = key, .n = n, .index = copy, .value = value, .scope = scope};
    Memo **bucket = &k->memos[memo_hash(key, index, n) % MEMO_BUCKETS];
    memo->next = *bucket;
    *bucket = memo;
    memo->next_in_scope = scope->memos;
    scope->memos = memo;
}

/* -- statements */
static PoolVar *new_var(KBuild *k, DType dtype, bool is_mutable, const char *hint) {
    PoolVar *var = POOL_NEW(k, PoolVar);
    var->var = (KVar){.dtype = dtype, .is_mutable = is_mutable, .hint = hint};
    return var;
}

static const KExpr *var_node(KBuild *k, PoolVar *var, int32_t depth, const Node *like) {
    Node node = {.e = {.kind = KE_VAR, .dtype = var->var.dtype, .as.var = &var->var}};
    node.depth = depth;
    if (like) {
        node.is_natural = like->is_natural;
        node.last = like->last;
    }
    return var->var.dtype == DT_I64 ? index_atom(k, &node) : node_intern(k, &node);
}

/* `like`: what is known of the value. */
static const KExpr *let_always(KBuild *k, const KExpr *value, const char *hint, const Node *like) {
    const KExpr *found = memo_find(k, NULL, &value, 1);
    if (found) {
        return found;
    }
    Scope *scope = scope_at(k, node_of(value)->depth);
    PoolVar *var = new_var(k, value->dtype, false, hint);
    KStmt *stmt = new_stmt(k, KS_LET);
    stmt->as.let = (KAssign){&var->var, value};
    append(k, scope, stmt);
    const KExpr *result = var_node(k, var, scope->depth, like);
    if (!node_of(value)->is_volatile) {
        memo_add(k, scope, NULL, &value, 1, result);
    }
    return result;
}

const KExpr *kb_let(KBuild *k, const KExpr *value, const char *hint) {
    const Node *node = node_of(value);
    if (value->kind == KE_INT || value->kind == KE_FLOAT || value->kind == KE_SIZE ||
        (value->kind == KE_VAR && !node->is_volatile)) {
        return value;
    }
    if (node->is_sum && !node->is_volatile &&
        (node->inner || node->n_terms != 1 || &node->terms[0].atom->e != value)) {
        return value; /* index arithmetic keeps its form */
    }
    return let_always(k, value, hint, node);
}

const KExpr *kb_let_index(KBuild *k, const KExpr *index) {
    const Node *node = node_of(index);
    if (node->weight <= MOST_WEIGHT || node->is_volatile || index->kind == KE_VAR) {
        return index;
    }
    Node like = {.is_natural = index_proved_natural(k, index)};
    const Size *low;
    index_bounds(k, index, &low, &like.last);
    return let_always(k, index, "index", &like);
}

const KVar *kb_var(KBuild *k, DType dtype, const char *hint) {
    return &new_var(k, dtype_in_register(dtype), true, hint)->var;
}

void kb_set(KBuild *k, const KVar *var, const KExpr *value) {
    KStmt *stmt = new_stmt(k, KS_SET);
    stmt->as.set = (KAssign){var, value};
    append(k, k->scope, stmt);
}

void kb_store(KBuild *k, int32_t buffer, const KExpr *index, const KExpr *value) {
    KStmt *stmt = new_stmt(k, KS_STORE);
    stmt->as.store.buffer = buffer;
    stmt->as.store.at = index;
    stmt->as.store.value = value;
    Bind bind = k->binds.items[buffer];
    stmt->as.store.watched = bind.kind == BIND_RESULT && k->watched[bind.index];
    append(k, k->scope, stmt);
}

void kb_local_store(KBuild *k, const KLocal *local, const KExpr *index, const KExpr *value) {
    KStmt *stmt = new_stmt(k, KS_LOCAL_STORE);
    stmt->as.local_store.array = local;
    stmt->as.local_store.at = index;
    stmt->as.local_store.value = value;
    append(k, k->scope, stmt);
}

static const KExpr *open_loop(KBuild *k, KLoopKind kind, const KExpr *begin, const KExpr *end,
                              Node like, const char *hint) {
    PoolVar *var = new_var(k, DT_I64, false, hint);
    KStmt *stmt = new_stmt(k, KS_FOR);
    stmt->as.loop.kind = kind;
    stmt->as.loop.var = &var->var;
    stmt->as.loop.begin = begin;
    stmt->as.loop.end = end;
    /* In a loop that never runs an index may look constant: nothing leaves it. */
    int64_t least = 1, most = 1;
    if (like.last) {
        size_range(like.last, &least, &most);
    }
    push_scope(k, stmt, &stmt->as.loop.body, kind == KL_GRID || (least < 0 && most <= 0));
    like.e = (KExpr){.kind = KE_VAR, .dtype = DT_I64, .as.var = &var->var};
    like.depth = k->scope->depth;
    like.is_natural = true;
    return index_atom(k, &like);
}

const KExpr *kb_loop(KBuild *k, KLoopKind kind, const KExpr *begin, const KExpr *end,
                     const Size *extent, const char *hint) {
    Node like = {0};
    if (extent) {
        like.last = size_sub(k->context, extent, size_const(k->context, 1));
    }
    return open_loop(k, kind, begin, end, like, hint);
}

const KExpr *kb_grid_to(KBuild *k, const Size *extent, const KExpr *end, const char *hint) {
    VEC_PUSH(k->arena, &k->grid, extent);
    return kb_loop(k, KL_GRID, k_int(k, 0), end, extent, hint);
}

const KExpr *kb_grid(KBuild *k, const Size *extent, const char *hint) {
    return kb_grid_to(k, extent, k_size(k, extent), hint);
}

void kb_loop_end(KBuild *k) {
    pop_scope(k);
}

void kb_if(KBuild *k, const KExpr *condition) {
    KStmt *stmt = new_stmt(k, KS_IF);
    stmt->as.branch.condition = condition;
    push_scope(k, stmt, &stmt->as.branch.then, true);
}

void kb_else(KBuild *k) {
    Scope *scope = k->scope;
    drop_memos(scope);
    scope->head = scope->tail = &scope->stmt->as.branch.otherwise;
}

void kb_if_end(KBuild *k) {
    pop_scope(k);
}

static int64_t site_number(KBuild *k, Place place, const char *text) {
    for (size_t i = 0; i < k->sites.count; i++) {
        const SiteKey *site = &k->sites.items[i];
        if (memcmp(&site->place, &place, sizeof(place)) == 0 && strcmp(site->text, text) == 0) {
            return site->site;
        }
    }
    int64_t number = k->lower->site_of ? k->lower->site_of(k->lower->user, place, text) : 0;
    SiteKey site = {place, arena_strdup(k->arena, text), number};
    VEC_PUSH(k->arena, &k->sites, site);
    return number;
}

void kb_fault(KBuild *k, Place place, const char *text, const KExpr *bad, const KExpr *value,
              const KExpr *bound) {
    static const char fault_key[] = "fault";
    const KExpr *parts[3] = {bad, value, bound};
    if (k_is_false(bad) || memo_find(k, fault_key, parts, 3)) {
        return;
    }
    KStmt *stmt = new_stmt(k, KS_FAULT);
    stmt->as.fault.bad = bad;
    stmt->as.fault.value = value;
    stmt->as.fault.bound = bound;
    stmt->as.fault.site = site_number(k, place, text);
    Scope *scope = scope_at(k, index_depth(parts, 3));
    append(k, scope, stmt);
    if (!node_of(bad)->is_volatile) {
        memo_add(k, scope, fault_key, parts, 3, bad);
    }
}

void kb_contract(KBuild *k, const KContract *contract) {
    KStmt *stmt = new_stmt(k, KS_CONTRACT);
    stmt->as.contract = *contract;
    append(k, k->scope, stmt);
}

/* -- pieces */
const KExpr *kb_piece_loop(KBuild *k, KLoopKind kind, LoopPiece *piece, const KExpr *begin,
                           const KExpr *end) {
    Node like = {.has_piece = true, .piece_key = piece->key, .piece_stride = piece->stride};
    like.last = size_sub(k->context, piece->extent, size_const(k->context, 1));
    if (kind == KL_GRID) {
        VEC_PUSH(k->arena, &k->grid, piece->extent);
    }
    piece->var = open_loop(k, kind, begin, end, like, "i");
    return piece->var;
}

const KExpr *kb_pieces_flat(KBuild *k, const LoopPiece *pieces, int32_t count) {
    const KExpr *flat = k_int(k, 0);
    for (int32_t i = 0; i < count; i++) {
        const KExpr *part = k_scale(k, pieces[i].var, pieces[i].stride);
        flat = k_add(k, flat, part);
    }
    return flat;
}
