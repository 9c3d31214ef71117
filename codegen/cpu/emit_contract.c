/* KS_CONTRACT as explicit vector code: the whole register tile lives in vector accumulators; each
 * step of the depth loads one row of B's panel and broadcasts the elements of A's column. Panels
 * are packed, so every access is contiguous. Shapes: codegen/cpu/machine.c chooses tiles that fit
 * the registers. */
#include "codegen/cpu/emit.h"
#include <string.h>

enum { MAX_ROWS = 32, MAX_VECTORS = 8 };

typedef struct Tile {
    LLVMTypeRef scalar, vector;
    DType dtype;
    int32_t rows, vectors, lanes, bytes;
    LLVMValueRef sums[MAX_ROWS][MAX_VECTORS];
} Tile;

static LLVMValueRef offset_address(Emit *e, const Tile *tile, LLVMValueRef base,
                                   LLVMValueRef index) {
    return LLVMBuildInBoundsGEP2(e->builder, tile->scalar, base, &index, 1, "");
}

static LLVMValueRef c_address(Emit *e, const Tile *tile, LLVMValueRef base, LLVMValueRef stride,
                              int32_t row, int32_t vector) {
    LLVMValueRef r = LLVMConstInt(e->i64, (unsigned long long)row, 0);
    LLVMValueRef v = LLVMConstInt(e->i64, (unsigned long long)(vector * tile->lanes), 0);
    LLVMValueRef index = LLVMBuildMul(e->builder, r, stride, "");
    return offset_address(e, tile, base, LLVMBuildAdd(e->builder, index, v, ""));
}

static LLVMValueRef load_at(Emit *e, const Tile *tile, LLVMTypeRef type, LLVMValueRef address,
                            const KLocal *local) {
    LLVMValueRef value = LLVMBuildLoad2(e->builder, type, address, "");
    LLVMSetAlignment(value, (unsigned)tile->bytes);
    emit_mark_access(e, value, e->local_scope[local->id], e->local_noalias[local->id]);
    return value;
}

static LLVMValueRef splat(Emit *e, const Tile *tile, LLVMValueRef scalar) {
    LLVMValueRef poison = LLVMGetPoison(tile->vector);
    LLVMValueRef zero = LLVMConstInt(e->i32, 0, 0);
    LLVMValueRef one = LLVMBuildInsertElement(e->builder, poison, scalar, zero, "");
    LLVMValueRef mask = LLVMConstNull(LLVMVectorType(e->i32, (unsigned)tile->lanes));
    return LLVMBuildShuffleVector(e->builder, one, poison, mask, "");
}

static LLVMValueRef fused(Emit *e, const Tile *tile, LLVMValueRef a, LLVMValueRef b,
                          LLVMValueRef c) {
    LLVMValueRef args[3] = {a, b, c};
    return emit_call_intrinsic(e, "llvm.fmuladd", tile->vector, args, 3);
}

/* One step of the depth: sums += column of A times row of B. */
static void emit_step(Emit *e, const KContract *contract, Tile *tile, LLVMValueRef a,
                      LLVMValueRef b) {
    LLVMValueRef row[MAX_VECTORS];
    for (int32_t v = 0; v < tile->vectors; v++) {
        LLVMValueRef index = LLVMConstInt(e->i64, (unsigned long long)(v * tile->lanes), 0);
        row[v] =
            load_at(e, tile, tile->vector, offset_address(e, tile, b, index), contract->b_local);
    }
    for (int32_t r = 0; r < tile->rows; r++) {
        LLVMValueRef index = LLVMConstInt(e->i64, (unsigned long long)r, 0);
        LLVMValueRef scalar =
            load_at(e, tile, tile->scalar, offset_address(e, tile, a, index), contract->a_local);
        LLVMValueRef wide = splat(e, tile, scalar);
        for (int32_t v = 0; v < tile->vectors; v++) {
            tile->sums[r][v] = fused(e, tile, wide, row[v], tile->sums[r][v]);
        }
    }
}

static void emit_depth_loop(Emit *e, const KContract *contract, Tile *tile, LLVMValueRef a,
                            LLVMValueRef b, LLVMValueRef depth) {
    LLVMBuilderRef builder = e->builder;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(builder);
    LLVMBasicBlockRef body = LLVMAppendBasicBlockInContext(e->context, e->function, "step");
    LLVMBasicBlockRef exit = LLVMAppendBasicBlockInContext(e->context, e->function, "");
    LLVMValueRef zero = LLVMConstInt(e->i64, 0, 0);
    LLVMValueRef any = LLVMBuildICmp(builder, LLVMIntSGT, depth, zero, "");
    LLVMBuildCondBr(builder, any, body, exit);
    LLVMPositionBuilderAtEnd(builder, body);
    /* Two pointers and a countdown: three registers beside the vectors. */
    LLVMValueRef left = LLVMBuildPhi(builder, e->i64, "");
    LLVMValueRef a_at = LLVMBuildPhi(builder, e->pointer, "");
    LLVMValueRef b_at = LLVMBuildPhi(builder, e->pointer, "");
    LLVMAddIncoming(left, &depth, &before, 1);
    LLVMAddIncoming(a_at, &a, &before, 1);
    LLVMAddIncoming(b_at, &b, &before, 1);
    Tile inside = *tile;
    for (int32_t r = 0; r < tile->rows; r++) {
        for (int32_t v = 0; v < tile->vectors; v++) {
            inside.sums[r][v] = LLVMBuildPhi(builder, tile->vector, "");
            LLVMAddIncoming(inside.sums[r][v], &tile->sums[r][v], &before, 1);
        }
    }
    Tile phis = inside;
    emit_step(e, contract, &inside, a_at, b_at);
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(builder);
    LLVMValueRef rows = LLVMConstInt(e->i64, (unsigned long long)tile->rows, 0);
    LLVMValueRef columns =
        LLVMConstInt(e->i64, (unsigned long long)(tile->vectors * tile->lanes), 0);
    LLVMValueRef next = LLVMBuildSub(builder, left, LLVMConstInt(e->i64, 1, 0), "");
    LLVMValueRef a_next = offset_address(e, tile, a_at, rows);
    LLVMValueRef b_next = offset_address(e, tile, b_at, columns);
    LLVMAddIncoming(left, &next, &latch, 1);
    LLVMAddIncoming(a_at, &a_next, &latch, 1);
    LLVMAddIncoming(b_at, &b_next, &latch, 1);
    LLVMBuildCondBr(builder, LLVMBuildICmp(builder, LLVMIntNE, next, zero, ""), body, exit);
    LLVMPositionBuilderAtEnd(builder, exit);
    for (int32_t r = 0; r < tile->rows; r++) {
        for (int32_t v = 0; v < tile->vectors; v++) {
            LLVMAddIncoming(phis.sums[r][v], &inside.sums[r][v], &latch, 1);
            LLVMValueRef phi = LLVMBuildPhi(builder, tile->vector, "");
            LLVMAddIncoming(phi, &tile->sums[r][v], &before, 1);
            LLVMAddIncoming(phi, &inside.sums[r][v], &latch, 1);
            tile->sums[r][v] = phi;
        }
    }
}

/* A scalar loop [0, end) around what the caller emits until close_scalar_loop. */
typedef struct ScalarLoop {
    LLVMValueRef index;
    LLVMBasicBlockRef exit;
    LLVMValueRef end;
} ScalarLoop;

static ScalarLoop open_scalar_loop(Emit *e, LLVMValueRef end) {
    ScalarLoop loop = {.end = end};
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->builder);
    LLVMBasicBlockRef body = LLVMAppendBasicBlockInContext(e->context, e->function, "");
    loop.exit = LLVMAppendBasicBlockInContext(e->context, e->function, "");
    LLVMValueRef zero = LLVMConstInt(e->i64, 0, 0);
    LLVMValueRef any = LLVMBuildICmp(e->builder, LLVMIntSGT, end, zero, "");
    LLVMBuildCondBr(e->builder, any, body, loop.exit);
    LLVMPositionBuilderAtEnd(e->builder, body);
    loop.index = LLVMBuildPhi(e->builder, e->i64, "");
    LLVMAddIncoming(loop.index, &zero, &before, 1);
    return loop;
}

static void close_scalar_loop(Emit *e, const ScalarLoop *loop) {
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->builder);
    LLVMBasicBlockRef body = LLVMGetInstructionParent(loop->index);
    LLVMValueRef next = LLVMBuildAdd(e->builder, loop->index, LLVMConstInt(e->i64, 1, 0), "");
    LLVMAddIncoming(loop->index, &next, &latch, 1);
    LLVMValueRef more = LLVMBuildICmp(e->builder, LLVMIntSLT, next, loop->end, "");
    LLVMBuildCondBr(e->builder, more, body, loop->exit);
    LLVMPositionBuilderAtEnd(e->builder, loop->exit);
}

static LLVMValueRef element(Emit *e, const Tile *tile, LLVMValueRef base, LLVMValueRef row,
                            LLVMValueRef stride, LLVMValueRef column) {
    LLVMValueRef index = LLVMBuildMul(e->builder, row, stride, "");
    return offset_address(e, tile, base, LLVMBuildAdd(e->builder, index, column, ""));
}

/* The tile of a block of threads, in order: the loop IR has one meaning, so what is lowered for
 * blocks can be checked here. */
static void emit_block_contract(Emit *e, const KContract *contract, const Tile *tile,
                                LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
    LLVMBuilderRef builder = e->builder;
    int64_t stride = contract->c_stride->as.integer;
    LLVMValueRef columns = LLVMConstInt(e->i64, (unsigned long long)stride, 0);
    LLVMValueRef rows =
        LLVMConstInt(e->i64, (unsigned long long)(contract->c_local->count / stride), 0);
    ScalarLoop i = open_scalar_loop(e, rows);
    ScalarLoop j = open_scalar_loop(e, columns);
    LLVMValueRef at = element(e, tile, c, i.index, columns, j.index);
    if (!contract->accumulate) {
        LLVMBuildStore(builder, LLVMConstNull(tile->scalar), at);
    }
    ScalarLoop k = open_scalar_loop(e, emit_expr(e, contract->depth));
    LLVMValueRef x =
        LLVMBuildLoad2(builder, tile->scalar, element(e, tile, a, k.index, rows, i.index), "");
    LLVMValueRef y =
        LLVMBuildLoad2(builder, tile->scalar, element(e, tile, b, k.index, columns, j.index), "");
    LLVMValueRef sum = LLVMBuildLoad2(builder, tile->scalar, at, "");
    LLVMBuildStore(builder, fused(e, tile, x, y, sum), at);
    close_scalar_loop(e, &k);
    close_scalar_loop(e, &j);
    close_scalar_loop(e, &i);
}

void emit_contract(Emit *e, const KContract *contract) {
    DType dtype = contract->c_local->dtype;
    const Machine *machine = e->machine;
    Tile tile = {.dtype = dtype, .bytes = dtype_bytes(dtype)};
    int32_t columns = machine_tile_columns(machine, dtype);
    tile.rows = machine_tile_rows(machine, dtype);
    tile.lanes = machine->vector_bytes / tile.bytes;
    tile.vectors = columns / tile.lanes;
    tile.scalar = emit_memory_type(e, dtype);
    tile.vector = LLVMVectorType(tile.scalar, (unsigned)tile.lanes);
    LLVMValueRef a = offset_address(e, &tile, e->locals[contract->a_local->id],
                                    emit_expr(e, contract->a_offset));
    LLVMValueRef b = offset_address(e, &tile, e->locals[contract->b_local->id],
                                    emit_expr(e, contract->b_offset));
    LLVMValueRef c = offset_address(e, &tile, e->locals[contract->c_local->id],
                                    emit_expr(e, contract->c_offset));
    if (machine->threads > 1) {
        tile.vector = tile.scalar;
        emit_block_contract(e, contract, &tile, a, b, c);
        return;
    }
    LLVMValueRef stride = emit_expr(e, contract->c_stride);
    for (int32_t r = 0; r < tile.rows; r++) {
        for (int32_t v = 0; v < tile.vectors; v++) {
            tile.sums[r][v] = contract->accumulate
                                  ? load_at(e, &tile, tile.vector,
                                            c_address(e, &tile, c, stride, r, v), contract->c_local)
                                  : LLVMConstNull(tile.vector);
        }
    }
    emit_depth_loop(e, contract, &tile, a, b, emit_expr(e, contract->depth));
    for (int32_t r = 0; r < tile.rows; r++) {
        for (int32_t v = 0; v < tile.vectors; v++) {
            LLVMValueRef store =
                LLVMBuildStore(e->builder, tile.sums[r][v], c_address(e, &tile, c, stride, r, v));
            LLVMSetAlignment(store, (unsigned)tile.bytes);
            emit_mark_access(e, store, e->local_scope[contract->c_local->id],
                             e->local_noalias[contract->c_local->id]);
        }
    }
}
