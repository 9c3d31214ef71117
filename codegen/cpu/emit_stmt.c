/* Statements of the loop IR: lets and mutable scalars (allocas that become registers), loops with
 * the vectoriser's hints, guards, stores, faults, and the tile grid. */
#include "codegen/cpu/emit.h"
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

static bool mentions(const KExpr *expr, const KVar *var) {
    if (expr->kind == KE_VAR && expr->var == var) {
        return true;
    }
    for (int32_t i = 0; i < expr->n; i++) {
        if (mentions(expr->a[i], var)) {
            return true;
        }
    }
    return false;
}

static void emit_set(Emit *e, const KStmt *stmt) {
    LLVMValueRef value = emit_expr(e, stmt->value);
    const KExpr *expr = stmt->value;
    if (e->innermost_vector && expr->kind == KE_SCALAR && dtype_is_float(expr->dtype) &&
        (expr->op == OP_add || expr->op == OP_mul) && mentions(expr, stmt->var)) {
        mark_reduction(value, expr->op == OP_add ? LLVMFAdd : LLVMFMul);
    }
    LLVMBuildStore(e->builder, value, variable_slot(e, stmt->var));
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
    LoopFrame loop = {.body = new_block(e), .exit = new_block(e), .end = end};
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
    for (int64_t i = stmt->begin->integer; i < stmt->end->integer; i++) {
        e->vars[stmt->var->id] = constant_i64(e, i);
        e->positive[stmt->var->id] = i >= 0;
        emit_stmts(e, stmt->body);
    }
}

static bool sets_variable(const KStmt *stmt) {
    for (; stmt; stmt = stmt->next) {
        if (stmt->kind == KS_SET || sets_variable(stmt->body) || sets_variable(stmt->otherwise)) {
            return true;
        }
    }
    return false;
}

/* A vector loop of a few iterations fills no vector: it is unrolled, and the loop around it is
 * offered to the vectoriser instead, which proves by itself whether it may. */
static bool is_short_vector(const KStmt *stmt) {
    enum { SHORT = 4 };
    return stmt->loop == KL_VECTOR && stmt->begin->kind == KE_INT && stmt->end->kind == KE_INT &&
           stmt->end->integer - stmt->begin->integer <= SHORT;
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
    if (stmt->loop == KL_UNROLL && stmt->begin->kind == KE_INT && stmt->end->kind == KE_INT) {
        emit_unrolled(e, stmt);
        return;
    }
    if (is_short_vector(stmt)) {
        emit_short_vector(e, stmt);
        return;
    }
    LLVMValueRef begin = emit_expr(e, stmt->begin), end = emit_expr(e, stmt->end);
    LoopFrame loop = open_loop(e, begin, end);
    e->vars[stmt->var->id] = loop.index;
    e->positive[stmt->var->id] = emit_expr_positive(e, stmt->begin);
    bool outer = e->innermost_vector;
    LLVMValueRef group = NULL;
    bool vectorize = stmt->loop == KL_VECTOR && e->depth < EMIT_MAX_VECTOR_DEPTH;
    if (stmt->loop == KL_VECTOR) {
        group = e->groups[e->next_group++];
    }
    if (vectorize) {
        e->stack[e->depth++] = group;
    }
    e->innermost_vector = vectorize;
    e->offer_vector = false;
    emit_stmts(e, stmt->body);
    e->innermost_vector = outer;
    if (vectorize) {
        e->depth--;
    }
    bool reduces = sets_variable(stmt->body);
    VectorHint hint = vectorize ? HINT_FORCED : e->offer_vector ? HINT_OFFERED : HINT_NEVER;
    close_loop(e, &loop, hint, reduces, vectorize ? group : NULL);
    e->offer_vector = false;
}

static void emit_if(Emit *e, const KStmt *stmt) {
    LLVMValueRef condition = emit_expr(e, stmt->value);
    LLVMBasicBlockRef yes = new_block(e), no = stmt->otherwise ? new_block(e) : NULL;
    LLVMBasicBlockRef after = new_block(e);
    LLVMBuildCondBr(e->builder, condition, yes, no ? no : after);
    LLVMPositionBuilderAtEnd(e->builder, yes);
    emit_stmts(e, stmt->body);
    LLVMBuildBr(e->builder, after);
    if (no) {
        LLVMPositionBuilderAtEnd(e->builder, no);
        emit_stmts(e, stmt->otherwise);
        LLVMBuildBr(e->builder, after);
    }
    LLVMPositionBuilderAtEnd(e->builder, after);
}

static void emit_store(Emit *e, const KStmt *stmt, DType dtype, LLVMValueRef base,
                       LLVMValueRef scope, LLVMValueRef noalias) {
    LLVMValueRef value = emit_to_memory(e, emit_expr(e, stmt->value), dtype);
    LLVMValueRef at = emit_expr(e, stmt->begin);
    LLVMTypeRef type = emit_memory_type(e, dtype);
    LLVMValueRef address = LLVMBuildInBoundsGEP2(e->builder, type, base, &at, 1, "");
    LLVMValueRef store = LLVMBuildStore(e->builder, value, address);
    LLVMSetAlignment(store, (unsigned)dtype_bytes(dtype));
    emit_mark_access(e, store, scope, noalias);
}

static void store_fault_field(Emit *e, int64_t offset, LLVMValueRef value) {
    LLVMValueRef at = constant_i64(e, offset);
    LLVMValueRef address = LLVMBuildInBoundsGEP2(e->builder, e->i8, e->fault, &at, 1, "");
    LLVMBuildStore(e->builder, value, address);
}

/* Kept out of line by its weight: a fault happens once, if at all. */
static void emit_fault(Emit *e, const KStmt *stmt) {
    LLVMBasicBlockRef bad = new_block(e), first = new_block(e), after = new_block(e);
    LLVMBuildCondBr(e->builder, emit_expr(e, stmt->value), bad, after);
    LLVMPositionBuilderAtEnd(e->builder, bad);
    LLVMValueRef site = LLVMBuildLoad2(e->builder, e->i64, e->fault, "");
    LLVMValueRef none = LLVMBuildICmp(e->builder, LLVMIntEQ, site, constant_i64(e, 0), "");
    LLVMBuildCondBr(e->builder, none, first, after);
    LLVMPositionBuilderAtEnd(e->builder, first);
    LLVMValueRef value = stmt->begin ? emit_expr(e, stmt->begin) : constant_i64(e, 0);
    LLVMValueRef bound = stmt->end ? emit_expr(e, stmt->end) : constant_i64(e, 0);
    if (stmt->begin && stmt->begin->dtype != DT_I64) {
        value = emit_cast(e, value, stmt->begin->dtype, DT_I64);
    }
    if (stmt->end && stmt->end->dtype != DT_I64) {
        bound = emit_cast(e, bound, stmt->end->dtype, DT_I64);
    }
    store_fault_field(e, 0, constant_i64(e, stmt->site + 1));
    store_fault_field(e, 8, value);
    store_fault_field(e, 16, bound);
    LLVMBuildBr(e->builder, after);
    LLVMPositionBuilderAtEnd(e->builder, after);
}

void emit_stmts(Emit *e, const KStmt *stmt) {
    for (; stmt; stmt = stmt->next) {
        switch (stmt->kind) {
        case KS_LET:
            e->vars[stmt->var->id] = emit_expr(e, stmt->value);
            e->positive[stmt->var->id] =
                stmt->var->dtype == DT_I64 && emit_expr_positive(e, stmt->value);
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
            emit_store(e, stmt, e->kernel->buffers[stmt->index].dtype, e->buffers[stmt->index],
                       e->buffer_scope[stmt->index], e->buffer_noalias[stmt->index]);
            break;
        case KS_LOCAL_STORE:
            emit_store(e, stmt, emit_local_dtype(stmt->local), e->locals[stmt->local->id],
                       e->local_scope[stmt->local->id], e->local_noalias[stmt->local->id]);
            break;
        case KS_CONTRACT:
            emit_contract(e, stmt);
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
    while (stmt && stmt->kind == KS_FOR && stmt->loop == KL_GRID && n <= TYPE_MAX_RANK) {
        levels[n] = stmt;
        extents[n++] = emit_expr(e, stmt->end);
        stmt = stmt->body;
    }
    LoopFrame loop = open_loop(e, first, last);
    LLVMValueRef rest = loop.index;
    for (int32_t i = n - 1; i >= 0; i--) {
        LLVMValueRef index = rest;
        if (i > 0) {
            index = LLVMBuildURem(e->builder, rest, extents[i], "");
            rest = LLVMBuildUDiv(e->builder, rest, extents[i], "");
        }
        e->vars[levels[i]->var->id] = index;
        e->positive[levels[i]->var->id] = true;
    }
    emit_stmts(e, stmt);
    close_loop(e, &loop, HINT_NEVER, false, NULL);
}
