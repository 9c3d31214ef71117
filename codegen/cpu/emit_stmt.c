/* Statements of the loop IR: lets and mutable scalars (allocas that become registers), loops with
 * the vectoriser's hints, guards, stores, faults, and the tile grid. */
#include "codegen/cpu/emit.h"

#include "runtime/kernel_abi.h"
#include <llvm-c/DebugInfo.h>
#include <string.h>

static LLVMBasicBlockRef new_block(Emit *e) {
    return LLVMAppendBasicBlockInContext(e->context, e->function, "");
}

static LLVMValueRef constant_i64(const Emit *e, int64_t value) {
    return LLVMConstInt(e->i64, (unsigned long long)value, 1);
}

/* The chain of one commutative float operation from the top of an accumulation down to its
 * accumulator may be reordered: that is what makes the reduction a vector one. */
static void mark_reduction(LLVMValueRef value, LLVMOpcode opcode) {
    while (value && LLVMIsAInstruction(value) && LLVMGetInstructionOpcode(value) == opcode) {
        emit_reassociable(value);
        LLVMValueRef left = LLVMGetOperand(value, 0);
        value = left;
    }
}

static LLVMValueRef variable_slot(Emit *e, const KVar *var) {
    LLVMValueRef slot = e->vars[var->id];
    if (!slot) {
        LLVMBasicBlockRef here = LLVMGetInsertBlock(e->builder);
        LLVMPositionBuilderBefore(e->builder, e->entry_end);
        slot = LLVMBuildAlloca(e->builder, emit_value_type(e, var->dtype), "");
        LLVMPositionBuilderAtEnd(e->builder, here);
        e->vars[var->id] = slot;
    }
    return slot;
}

static void emit_set(Emit *e, const KStmt *stmt) {
    const KVar *var = stmt->as.set.var;
    const KExpr *expr = stmt->as.set.value;
    LLVMValueRef value = emit_expr(e, expr);
    if (e->innermost_vector && expr->kind == KE_SCALAR && dtype_is_float(expr->dtype) &&
        (expr->as.scalar.op == OP_add || expr->as.scalar.op == OP_mul) &&
        kernel_expr_reads(expr, var)) {
        mark_reduction(value, expr->as.scalar.op == OP_add ? LLVMFAdd : LLVMFMul);
    }
    LLVMBuildStore(e->builder, value, variable_slot(e, var));
}

/* What the vectoriser is told of a loop. An offered loop is left to its own judgement: forced, LLVM
 * 19 vectorises a loop of too many pointer pairs for run-time checks without any check at all
 * (LoopVectorize.cpp: GeneratedRTChecks::create gives up early, and only unforced loops then ask
 * areRuntimeChecksProfitable). A forced loop therefore always brings its access group. */
typedef enum VectorHint { HINT_NEVER, HINT_OFFERED, HINT_FORCED } VectorHint;

/* llvm.loop: a node that is its own first operand, made through a temporary. */
static void mark_loop(Emit *e, LLVMValueRef branch, VectorHint hint, bool reduces,
                      LLVMValueRef group) {
    LLVMContextRef c = e->context;
    LLVMMetadataRef enable[2] = {LLVMMDStringInContext2(c, "llvm.loop.vectorize.enable", 26),
                                 LLVMValueAsMetadata(LLVMConstInt(e->i1, hint == HINT_FORCED, 0))};
    LLVMMetadataRef progress = LLVMMDStringInContext2(c, "llvm.loop.mustprogress", 22);
    LLVMMetadataRef single[2] = {LLVMMDStringInContext2(c, "llvm.loop.interleave.count", 26),
                                 LLVMValueAsMetadata(LLVMConstInt(e->i32, 1, 0))};
    LLVMMetadataRef items[5];
    size_t count = 0;
    LLVMMetadataRef temporary = LLVMTemporaryMDNode(c, NULL, 0);
    items[count++] = temporary;
    items[count++] = LLVMMDNodeInContext2(c, &progress, 1);
    if (hint != HINT_OFFERED) {
        items[count++] = LLVMMDNodeInContext2(c, enable, 2);
    }
    if (hint != HINT_NEVER && !reduces) {
        /* Only sums gain from several vectors in flight; elsewhere they are code to compile. */
        items[count++] = LLVMMDNodeInContext2(c, single, 2);
    }
    if (group) {
        LLVMMetadataRef parallel[2] = {LLVMMDStringInContext2(c, "llvm.loop.parallel_accesses", 27),
                                       LLVMValueAsMetadata(group)};
        items[count++] = LLVMMDNodeInContext2(c, parallel, 2);
    }
    LLVMMetadataRef node = LLVMMDNodeInContext2(c, items, count);
    LLVMMetadataReplaceAllUsesWith(temporary, node);
    LLVMSetMetadata(branch, e->kind_loop, LLVMMetadataAsValue(c, node));
}

typedef struct LoopFrame {
    LLVMBasicBlockRef body, exit;
    LLVMValueRef index, end;
} LoopFrame;

static LoopFrame open_loop(Emit *e, LLVMValueRef begin, LLVMValueRef end) {
    LoopFrame loop = {.end = end};
    loop.body = new_block(e);
    loop.exit = new_block(e);
    LLVMValueRef any = LLVMBuildICmp(e->builder, LLVMIntSLT, begin, end, "");
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->builder);
    LLVMBuildCondBr(e->builder, any, loop.body, loop.exit);
    LLVMPositionBuilderAtEnd(e->builder, loop.body);
    loop.index = LLVMBuildPhi(e->builder, e->i64, "");
    LLVMAddIncoming(loop.index, &begin, &before, 1);
    return loop;
}

static void close_loop(Emit *e, LoopFrame *loop, VectorHint hint, bool reduces,
                       LLVMValueRef group) {
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->builder);
    LLVMValueRef next = LLVMBuildNSWAdd(e->builder, loop->index, constant_i64(e, 1), "");
    LLVMSetNUW(next, 0);
    LLVMAddIncoming(loop->index, &next, &latch, 1);
    LLVMValueRef more = LLVMBuildICmp(e->builder, LLVMIntSLT, next, loop->end, "");
    LLVMValueRef branch = LLVMBuildCondBr(e->builder, more, loop->body, loop->exit);
    mark_loop(e, branch, hint, reduces, group);
    LLVMPositionBuilderAtEnd(e->builder, loop->exit);
}

static void emit_unrolled(Emit *e, const KStmt *stmt) {
    for (int64_t i = stmt->as.loop.begin->as.integer; i < stmt->as.loop.end->as.integer; i++) {
        e->vars[stmt->as.loop.var->id] = constant_i64(e, i);
        e->natural[stmt->as.loop.var->id] = i >= 0;
        emit_stmts(e, stmt->as.loop.body);
    }
}

static bool is_set(const KStmt *stmt, void *user) {
    (void)user;
    return stmt->kind == KS_SET;
}

/* A vector loop of a few iterations fills no vector: it is unrolled, and the loop around it is
 * offered to the vectoriser instead, which proves by itself whether it may. */
static bool is_short_vector(const KStmt *stmt) {
    enum { SHORT = 4 };
    const KExpr *begin = stmt->as.loop.begin, *end = stmt->as.loop.end;
    return stmt->as.loop.kind == KL_VECTOR && begin->kind == KE_INT && end->kind == KE_INT &&
           end->as.integer - begin->as.integer <= SHORT;
}

static void emit_short_vector(Emit *e, const KStmt *stmt) {
    bool outer = e->innermost_vector;
    e->next_group++;
    e->innermost_vector = true;
    emit_unrolled(e, stmt);
    e->innermost_vector = outer;
    e->offer_vector = true;
}

static void emit_for(Emit *e, const KStmt *stmt) {
    if (stmt->as.loop.kind == KL_UNROLL) {
        emit_unrolled(e, stmt);
        return;
    }
    if (is_short_vector(stmt)) {
        emit_short_vector(e, stmt);
        return;
    }
    LLVMValueRef begin = emit_expr(e, stmt->as.loop.begin), end = emit_expr(e, stmt->as.loop.end);
    LoopFrame loop = open_loop(e, begin, end);
    e->vars[stmt->as.loop.var->id] = loop.index;
    e->natural[stmt->as.loop.var->id] = emit_is_natural(e, stmt->as.loop.begin);
    bool outer = e->innermost_vector;
    LLVMValueRef group = NULL;
    bool vectorize = stmt->as.loop.kind == KL_VECTOR && e->depth < EMIT_MAX_VECTOR_DEPTH;
    if (stmt->as.loop.kind == KL_VECTOR) {
        group = e->groups[e->next_group++];
    }
    if (vectorize) {
        e->stack[e->depth++] = group;
    }
    e->innermost_vector = vectorize;
    e->offer_vector = false;
    emit_stmts(e, stmt->as.loop.body);
    e->innermost_vector = outer;
    if (vectorize) {
        e->depth--;
    }
    bool reduces = kernel_walk(stmt->as.loop.body, is_set, NULL);
    VectorHint hint = vectorize ? HINT_FORCED : e->offer_vector ? HINT_OFFERED : HINT_NEVER;
    close_loop(e, &loop, hint, reduces, vectorize ? group : NULL);
    e->offer_vector = false;
}

static void emit_if(Emit *e, const KStmt *stmt) {
    LLVMValueRef condition = emit_expr(e, stmt->as.branch.condition);
    const KStmt *otherwise = stmt->as.branch.otherwise;
    LLVMBasicBlockRef yes = new_block(e), no = otherwise ? new_block(e) : NULL;
    LLVMBasicBlockRef after = new_block(e);
    LLVMBuildCondBr(e->builder, condition, yes, no ? no : after);
    LLVMPositionBuilderAtEnd(e->builder, yes);
    emit_stmts(e, stmt->as.branch.then);
    LLVMBuildBr(e->builder, after);
    if (no) {
        LLVMPositionBuilderAtEnd(e->builder, no);
        emit_stmts(e, otherwise);
        LLVMBuildBr(e->builder, after);
    }
    LLVMPositionBuilderAtEnd(e->builder, after);
}

/* -- faults */
static void store_fault_field(Emit *e, int64_t offset, LLVMValueRef value) {
    LLVMValueRef at = constant_i64(e, offset);
    LLVMValueRef address = LLVMBuildInBoundsGEP2(e->builder, e->i8, e->fault, &at, 1, "");
    LLVMBuildStore(e->builder, value, address);
}

/* Opens the block for the first fault of those who meet `bad`, and returns where it leads. Kept out
 * of line by its weight: a fault happens once, if at all. */
static LLVMBasicBlockRef open_fault(Emit *e, LLVMValueRef bad, LLVMValueRef site) {
    LLVMBasicBlockRef found = new_block(e), first = new_block(e), after = new_block(e);
    LLVMBuildCondBr(e->builder, bad, found, after);
    LLVMPositionBuilderAtEnd(e->builder, found);
    LLVMValueRef known = LLVMBuildLoad2(e->builder, e->i64, e->fault, "");
    LLVMValueRef none = LLVMBuildICmp(e->builder, LLVMIntEQ, known, constant_i64(e, 0), "");
    LLVMBuildCondBr(e->builder, none, first, after);
    LLVMPositionBuilderAtEnd(e->builder, first);
    store_fault_field(e, 0, site);
    return after;
}

static void close_fault(Emit *e, LLVMBasicBlockRef after) {
    LLVMBuildBr(e->builder, after);
    LLVMPositionBuilderAtEnd(e->builder, after);
}

static LLVMValueRef fault_number(Emit *e, const KExpr *expr) {
    LLVMValueRef number = emit_expr(e, expr);
    return expr->dtype != DT_I64 ? emit_cast(e, number, expr->dtype, DT_I64) : number;
}

static void emit_fault(Emit *e, const KStmt *stmt) {
    LLVMBasicBlockRef after =
        open_fault(e, emit_expr(e, stmt->as.fault.bad), constant_i64(e, stmt->as.fault.site + 1));
    LLVMValueRef value = fault_number(e, stmt->as.fault.value);
    LLVMValueRef bound = fault_number(e, stmt->as.fault.bound);
    store_fault_field(e, 8, value);
    store_fault_field(e, 16, bound);
    close_fault(e, after);
}

/* -- watched stores */
static int64_t infinity_bits(bool wide) {
    return wide ? 0x7FF0000000000000 : 0x7F800000;
}

/* Without its sign, the bits of a value that is not finite are at least those of infinity. */
static void emit_watch(Emit *e, LLVMValueRef value) {
    bool wide = LLVMTypeOf(value) == e->f64;
    LLVMTypeRef type = wide ? e->i64 : e->i32;
    LLVMValueRef *slot = wide ? &e->watch64 : &e->watch32;
    if (!*slot) {
        LLVMBasicBlockRef here = LLVMGetInsertBlock(e->builder);
        LLVMPositionBuilderBefore(e->builder, e->entry_end);
        *slot = LLVMBuildAlloca(e->builder, type, "");
        LLVMBuildStore(e->builder, LLVMConstInt(type, 0, 0), *slot);
        LLVMPositionBuilderAtEnd(e->builder, here);
    }
    LLVMValueRef mask = LLVMConstInt(type, wide ? INT64_MAX : INT32_MAX, 0);
    LLVMValueRef bits = LLVMBuildBitCast(e->builder, value, type, "");
    LLVMValueRef args[2];
    args[0] = LLVMBuildLoad2(e->builder, type, *slot, "");
    args[1] = LLVMBuildAnd(e->builder, bits, mask, "");
    LLVMValueRef most = emit_call_intrinsic(e, "llvm.smax", type, args, 2);
    LLVMBuildStore(e->builder, most, *slot);
}

void emit_watch_end(Emit *e) {
    LLVMValueRef found = NULL;
    for (int wide = 0; wide <= 1; wide++) {
        LLVMValueRef slot = wide ? e->watch64 : e->watch32;
        LLVMTypeRef type = wide ? e->i64 : e->i32;
        if (slot) {
            LLVMValueRef limit = LLVMConstInt(type, (unsigned long long)infinity_bits(wide), 0);
            LLVMValueRef most = LLVMBuildLoad2(e->builder, type, slot, "");
            LLVMValueRef here = LLVMBuildICmp(e->builder, LLVMIntSGE, most, limit, "");
            found = found ? LLVMBuildOr(e->builder, found, here, "") : here;
        }
    }
    if (found) {
        close_fault(e, open_fault(e, found, constant_i64(e, KERNEL_SITE_NOT_FINITE)));
    }
}

/* Where a store goes: a buffer or a local. */
typedef struct StoreTo {
    DType dtype;
    LLVMValueRef base, scope, noalias;
    bool watched;
} StoreTo;

static void emit_store(Emit *e, const StoreTo *to, const KExpr *index, const KExpr *expr) {
    LLVMValueRef plain = emit_expr(e, expr);
    if (to->watched) {
        emit_watch(e, plain);
    }
    LLVMValueRef value = emit_to_memory(e, plain, to->dtype);
    LLVMValueRef at = emit_expr(e, index);
    LLVMTypeRef type = emit_memory_type(e, to->dtype);
    LLVMValueRef address = LLVMBuildInBoundsGEP2(e->builder, type, to->base, &at, 1, "");
    LLVMValueRef store = LLVMBuildStore(e->builder, value, address);
    LLVMSetAlignment(store, (unsigned)dtype_bytes(to->dtype));
    emit_mark_access(e, store, to->scope, to->noalias);
}

static void emit_buffer_store(Emit *e, const KStmt *stmt) {
    int32_t buffer = stmt->as.store.buffer;
    StoreTo to = {.dtype = e->kernel->buffers[buffer].dtype,
                  .base = e->buffers[buffer],
                  .scope = e->buffer_scope[buffer],
                  .noalias = e->buffer_noalias[buffer],
                  .watched = stmt->as.store.watched};
    emit_store(e, &to, stmt->as.store.at, stmt->as.store.value);
}

static void emit_local_store(Emit *e, const KStmt *stmt) {
    const KLocal *local = stmt->as.local_store.array;
    StoreTo to = {.dtype = dtype_in_register(local->dtype),
                  .base = e->locals[local->id],
                  .scope = e->local_scope[local->id],
                  .noalias = e->local_noalias[local->id]};
    emit_store(e, &to, stmt->as.local_store.at, stmt->as.local_store.value);
}

static void emit_let(Emit *e, const KAssign *let) {
    e->vars[let->var->id] = emit_expr(e, let->value);
    e->natural[let->var->id] = let->var->dtype == DT_I64 && emit_is_natural(e, let->value);
}

void emit_stmts(Emit *e, const KStmt *stmt) {
    for (; stmt; stmt = stmt->next) {
        switch (stmt->kind) {
        case KS_LET:
            emit_let(e, &stmt->as.let);
            break;
        case KS_SET:
            emit_set(e, stmt);
            break;
        case KS_FOR:
            emit_for(e, stmt);
            break;
        case KS_IF:
            emit_if(e, stmt);
            break;
        case KS_STORE:
            emit_buffer_store(e, stmt);
            break;
        case KS_LOCAL_STORE:
            emit_local_store(e, stmt);
            break;
        case KS_CONTRACT:
            emit_contract(e, &stmt->as.contract);
            break;
        case KS_FAULT:
            emit_fault(e, stmt);
            break;
        }
    }
}

/* Tile number t of the grid is ((g0 * n1) + g1) * n2 + g2 …: the extents are evaluated once, the
 * indices taken apart per tile. A kernel without grid loops has one tile. */
void emit_grid(Emit *e, LLVMValueRef first, LLVMValueRef last) {
    const KStmt *levels[TYPE_MAX_RANK + 1];
    LLVMValueRef extents[TYPE_MAX_RANK + 1];
    int32_t n = 0;
    const KStmt *stmt = e->kernel->body;
    while (stmt && kernel_is_loop(stmt, KL_GRID) && n <= TYPE_MAX_RANK) {
        levels[n] = stmt;
        extents[n++] = emit_expr(e, stmt->as.loop.end);
        stmt = stmt->as.loop.body;
    }
    LoopFrame loop = open_loop(e, first, last);
    LLVMValueRef rest = loop.index;
    for (int32_t i = n - 1; i >= 0; i--) {
        LLVMValueRef index = rest;
        if (i > 0) {
            index = LLVMBuildURem(e->builder, rest, extents[i], "");
            rest = LLVMBuildUDiv(e->builder, rest, extents[i], "");
        }
        e->vars[levels[i]->as.loop.var->id] = index;
        e->natural[levels[i]->as.loop.var->id] = true;
    }
    emit_stmts(e, stmt);
    close_loop(e, &loop, HINT_NEVER, false, NULL);
}
