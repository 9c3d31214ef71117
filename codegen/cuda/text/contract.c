/* KS_CONTRACT as CUDA C. A block's tile is cut into one small tile a thread, held in registers,
 * whose panels are read sixteen bytes at a time; f16 and bf16 panels go through matrix fragments, a
 * part of the tile to each warp. Shapes that fit neither are plain loops, one element after
 * another. */
#include "codegen/cuda/text/state.h"
#include <stdlib.h>

/* -- text of both kinds */
static void open_unrolled(Text *t, const char *name, int32_t count) {
    text_line(t, "#pragma unroll");
    text_line(t, "for (int %s = 0; %s < %d; %s++) {", name, name, count, name);
    t->indent++;
}

static void close_loops(Text *t, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        t->indent--;
        text_line(t, "}");
    }
}

/* Index within a side of the tile of number `name` of a thread's share. */
static void share_index(Text *t, const char *base, int32_t number, const char *name, int32_t share,
                        int32_t group, int32_t side) {
    str_addf(t->out, "%s_%d + ", base, number);
    if (share == group) {
        str_add(t->out, name);
    } else {
        str_addf(t->out, "%s / %d * %d + %s %% %d", name, group, side / (share / group), name,
                 group);
    }
}

/* c[(row) * stride + column], for the loops i, j (and r of fragments) around. */
static void c_element(Text *t, const KStmt *stmt, const TileShape *shape, int32_t number) {
    text_local_open(t, stmt->as.contract.c_local);
    text_expr(t, stmt->as.contract.c_offset);
    str_add(t->out, " + (");
    if (shape->by_mma) {
        str_addf(t->out, "row_%d + i * 16 + lane / 4 + r / 2 * 8) * ", number);
        text_expr(t, stmt->as.contract.c_stride);
        str_addf(t->out, " + column_%d + j * 8 + lane %% 4 * 2 + r %% 2", number);
    } else {
        Micro micro = team_micro(t, shape);
        share_index(t, "row", number, "i", micro.rows, micro.row_group, shape->rows);
        str_add(t->out, ") * ");
        text_expr(t, stmt->as.contract.c_stride);
        str_add(t->out, " + ");
        share_index(t, "column", number, "j", micro.columns, micro.column_group, shape->columns);
    }
    text_local_close(t, stmt->as.contract.c_local);
}

/* The loops over a thread's sums. */
static int32_t open_sums(Text *t, const TileShape *shape) {
    if (shape->by_mma) {
        Warps warps = team_warps(t, shape);
        open_unrolled(t, "i", warps.rows);
        open_unrolled(t, "j", 2 * warps.columns);
        open_unrolled(t, "r", 4);
        return 3;
    }
    Micro micro = team_micro(t, shape);
    open_unrolled(t, "i", micro.rows);
    open_unrolled(t, "j", micro.columns);
    return 2;
}

/* Threads without a share stand aside. */
static bool open_guard(Text *t, const TileShape *shape) {
    Warps warps = team_warps(t, shape);
    int32_t count =
        shape->by_mma ? warps.down * warps.across * WARP_LANES : team_micro(t, shape).count;
    if (count >= t->threads) {
        return false;
    }
    text_line(t, "if (thread < %d) {", count);
    t->indent++;
    return true;
}

/* Fragments hold neighbours in pairs, which the result's layout keeps together. */
static void put_pairs(Text *t, const KStmt *stmt, const TileShape *shape) {
    Warps warps = team_warps(t, shape);
    int32_t number = team_number(t, stmt);
    open_unrolled(t, "i", warps.rows);
    open_unrolled(t, "j", 2 * warps.columns);
    open_unrolled(t, "r", 2);
    text_begin(t);
    str_add(t->out, "dlc_put_pair_f32(&");
    text_local_open(t, stmt->as.contract.c_local);
    str_addf(t->out,
             "(row_%d + i * 16 + lane / 4 + r * 8) * %lld + column_%d + j * 8 + lane %% 4 * 2",
             number, (long long)stmt->as.contract.c_stride->as.integer, number);
    text_local_close(t, stmt->as.contract.c_local);
    str_addf(t->out, ", sum_%d[i][j][r * 2], sum_%d[i][j][r * 2 + 1]);\n", number, number);
    close_loops(t, 3);
}

static void move_sums(Text *t, const KStmt *stmt, const TileShape *shape, bool fetch) {
    int32_t number = team_number(t, stmt);
    t->at = number;
    bool guarded = open_guard(t, shape);
    if (!fetch && shape->by_mma && t->locals[stmt->as.contract.c_local->id].width > 0) {
        put_pairs(t, stmt, shape);
        close_loops(t, guarded ? 1 : 0);
        return;
    }
    int32_t loops = open_sums(t, shape);
    const char *r = shape->by_mma ? "[r]" : "";
    text_begin(t);
    if (!fetch) {
        c_element(t, stmt, shape, number);
        str_addf(t->out, " = sum_%d[i][j]%s;\n", number, r);
    } else {
        str_addf(t->out, "sum_%d[i][j]%s = ", number, r);
        if (stmt->as.contract.accumulate && !team_info(t, stmt)->from_zero) {
            c_element(t, stmt, shape, number);
            str_add(t->out, ";\n");
        } else {
            str_add(t->out, shape->sum == DT_F64 ? "0.0;\n" : "0.0f;\n");
        }
    }
    close_loops(t, loops + (guarded ? 1 : 0));
}

void text_contract_open(Text *t, const KStmt *stmt) {
    TileShape shape = team_tile_shape(t, stmt);
    int32_t number = team_number(t, stmt);
    if (shape.by_mma) {
        Warps warps = team_warps(t, &shape);
        t->uses_warp = t->uses_lane = true;
        text_line(t, "const int row_%d = warp / %d * %d, column_%d = warp %% %d * %d;", number,
                  warps.across, warps.rows * FRAGMENT, number, warps.across,
                  warps.columns * FRAGMENT);
        text_line(t, "float sum_%d[%d][%d][4];", number, warps.rows, 2 * warps.columns);
    } else {
        Micro micro = team_micro(t, &shape);
        text_line(t, "const int row_%d = thread / %d * %d, column_%d = thread %% %d * %d;", number,
                  micro.across, micro.row_group, number, micro.across, micro.column_group);
        text_line(t, "%s sum_%d[%d][%d];", text_value_type(shape.sum), number, micro.rows,
                  micro.columns);
    }
    move_sums(t, stmt, &shape, true);
}

void text_contract_close(Text *t, const KStmt *stmt) {
    TileShape shape = team_tile_shape(t, stmt);
    move_sums(t, stmt, &shape, false);
}

/* -- one thread's small tile */
/* Fills NAME[count] from a panel's row k. */
static void fetch_side(Text *t, const KStmt *stmt, const TileShape *shape, bool is_a) {
    Micro micro = team_micro(t, shape);
    const KLocal *panel = is_a ? stmt->as.contract.a_local : stmt->as.contract.b_local;
    const LocalInfo *info = &t->locals[panel->id];
    int32_t count = is_a ? micro.rows : micro.columns;
    int32_t group = is_a ? micro.row_group : micro.column_group;
    int32_t side = is_a ? shape->rows : shape->columns, number = team_number(t, stmt);
    const char *name = is_a ? "x" : "y", *index = is_a ? "i" : "j";
    bool deep = is_a ? stmt->as.contract.a_deep : stmt->as.contract.b_deep;
    bool wide = info->width > 0 && panel->dtype == shape->sum && !deep &&
                group * team_memory_bytes(panel->dtype) == 16;
    open_unrolled(t, index, wide ? count / group : count);
    text_begin(t);
    if (wide) {
        const char *suffix = panel->dtype == DT_F64 ? "f64x2" : "f32x4";
        str_addf(t->out, "const dlc_%s g = dlc_load_%s(&", suffix, suffix);
    } else {
        str_addf(t->out, "%s[%s] = %s", name, index,
                 panel->dtype == DT_BF16  ? "dlc_bf16_to_f32("
                 : panel->dtype == DT_F16 ? "dlc_f16_to_f32("
                                          : "(");
    }
    text_local_open(t, panel);
    text_expr(t, is_a ? stmt->as.contract.a_offset : stmt->as.contract.b_offset);
    const char *base = is_a ? "row" : "column";
    if (deep) {
        str_add(t->out, " + k + (");
        share_index(t, base, number, index, count, group, side);
        str_addf(t->out, ") * %d", shape->depth);
        text_local_close(t, panel);
        str_add(t->out, ");\n");
        close_loops(t, 1);
        return;
    }
    str_addf(t->out, " + k * %d + ", side);
    if (wide) {
        str_addf(t->out, "%s_%d + %s * %d", base, number, index, side / (count / group));
    } else {
        share_index(t, base, number, index, count, group, side);
    }
    text_local_close(t, panel);
    str_add(t->out, ");\n");
    for (int32_t e = 0; wide && e < group; e++) {
        text_line(t, "%s[%s * %d + %d] = g.v[%d];", name, index, group, e, e);
    }
    close_loops(t, 1);
}

static void open_depth(Text *t, const KStmt *stmt) {
    text_begin(t);
    str_add(t->out, "const int depth = (int)");
    text_expr(t, stmt->as.contract.depth);
    str_add(t->out, ";\n");
    text_line(t, "for (int k = 0; k < depth; k++) {");
    t->indent++;
}

static void multiply_micro(Text *t, const KStmt *stmt, const TileShape *shape) {
    Micro micro = team_micro(t, shape);
    const char *type = text_value_type(shape->sum);
    int32_t number = team_number(t, stmt);
    open_depth(t, stmt);
    text_line(t, "%s x[%d], y[%d];", type, micro.rows, micro.columns);
    fetch_side(t, stmt, shape, true);
    fetch_side(t, stmt, shape, false);
    int32_t loops = open_sums(t, shape);
    text_line(t, "sum_%d[i][j] = dlc_fma_%s(x[i], y[j], sum_%d[i][j]);", number,
              text_suffix(shape->sum), number);
    close_loops(t, loops + 1);
}

/* -- fragments */
/* Where a lane's row of the first fragment lies in each panel. The others' follow by an exclusive
 * or: a warp's share begins at a multiple of its length, and the exchange of groups is one too. */
static void declare_fragment(Text *t, const KStmt *stmt, const TileShape *shape, bool is_a) {
    const KLocal *panel = is_a ? stmt->as.contract.a_local : stmt->as.contract.b_local;
    const LocalInfo *info = &t->locals[panel->id];
    /* Matrices of a: rows 0-7 and 8-15 of depths 0-7, then of depths 8-15; of b: depths first. */
    bool deep = is_a ? stmt->as.contract.a_deep : stmt->as.contract.b_deep;
    const char *row = is_a ? "8 % 2" : "16", *depth = is_a ? "16" : "8 % 2";
    const char *base = is_a ? "row" : "column";
    int32_t number = team_number(t, stmt), unit = info->unit; /* sixteen bytes of depth */
    text_begin(t);
    str_addf(t->out, "const int %s = dlc_exchange(", is_a ? "at_x" : "at_y");
    if (deep) {
        str_addf(t->out, "(%s_%d + lane %% 8 + lane / %s * 8) * %d + lane / %s * %d", base, number,
                 row, shape->depth, depth, unit);
    } else {
        str_addf(t->out, "(lane %% 8 + lane / %s * 8) * %d + %s_%d + lane / %s * 8", depth,
                 is_a ? shape->rows : shape->columns, base, number, row);
    }
    str_addf(t->out, ", %d, %d, %d);\n", info->line, info->unit, info->groups);
}

static void load_fragments(Text *t, const KStmt *stmt, const TileShape *shape, bool is_a) {
    Warps warps = team_warps(t, shape);
    const KLocal *panel = is_a ? stmt->as.contract.a_local : stmt->as.contract.b_local;
    int32_t count = is_a ? warps.rows : warps.columns;
    const char *index = is_a ? "i" : "j", *name = is_a ? "x" : "y";
    bool deep = is_a ? stmt->as.contract.a_deep : stmt->as.contract.b_deep;
    open_unrolled(t, index, count);
    text_begin(t);
    bool tf32 = shape->operand == DT_F32; /* four of them are a row of eight 16-bit ones */
    str_addf(t->out,
             tf32 ? "dlc_ldmatrix_x4%s((unsigned *)%s[%s], (const unsigned short *)&"
                  : "dlc_ldmatrix_x4%s(%s[%s], &",
             deep ? "" : "_trans", name, index);
    text_local_name(t, panel);
    if (deep) {
        str_addf(t->out, "[(at_%s ^ k) + %s * %d]);\n", name, index, 16 * shape->depth);
    } else {
        str_addf(t->out, "[(at_%s ^ (%s * 16)) + k * %d]);\n", name, index,
                 is_a ? shape->rows : shape->columns);
    }
    close_loops(t, 1);
}

static void multiply_fragments(Text *t, const KStmt *stmt, const TileShape *shape) {
    Warps warps = team_warps(t, shape);
    int32_t number = team_number(t, stmt);
    declare_fragment(t, stmt, shape, true);
    declare_fragment(t, stmt, shape, false);
    text_line(t, "#pragma unroll");
    bool tf32 = shape->operand == DT_F32;
    text_line(t, "for (int k = 0; k < %d; k += %d) {", shape->depth, tf32 ? 8 : 16);
    t->indent++;
    text_line(t, "%s x[%d][4], y[%d][4];", tf32 ? "float" : "unsigned", warps.rows, warps.columns);
    load_fragments(t, stmt, shape, true);
    load_fragments(t, stmt, shape, false);
    open_unrolled(t, "i", warps.rows);
    open_unrolled(t, "j", 2 * warps.columns);
    text_line(t, "dlc_mma_%s(sum_%d[i][j], x[i], &y[j / 2][j %% 2 * 2]);",
              tf32 ? "tf32" : dtype_name(shape->operand), number);
    close_loops(t, 3);
}

/* -- plain loops */
static void element(Text *t, const KLocal *panel, const KExpr *offset, int32_t side, bool deep,
                    const char *index) {
    const char *convert = panel->dtype == DT_BF16  ? "dlc_bf16_to_f32("
                          : panel->dtype == DT_F16 ? "dlc_f16_to_f32("
                                                   : "(";
    str_add(t->out, convert);
    text_local_open(t, panel);
    text_expr(t, offset);
    if (deep) {
        str_addf(t->out, " + %s * depth + k", index);
    } else {
        str_addf(t->out, " + k * %d + %s", side, index);
    }
    text_local_close(t, panel);
    str_add(t->out, ")");
}

static void plain_sum(Text *t, const KStmt *stmt) {
    text_local_open(t, stmt->as.contract.c_local);
    text_expr(t, stmt->as.contract.c_offset);
    str_add(t->out, " + i * ");
    text_expr(t, stmt->as.contract.c_stride);
    str_add(t->out, " + j");
    text_local_close(t, stmt->as.contract.c_local);
}

static void plain_contract(Text *t, const KStmt *stmt, const TileShape *shape, Team team) {
    int32_t count = shape->rows * shape->columns;
    const char *type = text_value_type(shape->sum);
    bool is_float = dtype_is_float(shape->sum);
    const char *first = team == TEAM_BLOCK ? "thread" : team == TEAM_WARP ? "lane" : "0";
    t->uses_lane = t->uses_lane || team == TEAM_WARP;
    text_line(t, "for (int item = %s; item < %d; item += %d) {", first, count,
              team == TEAM_BLOCK  ? t->threads
              : team == TEAM_WARP ? WARP_LANES
                                  : 1);
    t->indent++;
    text_line(t, "const int i = item / %d, j = item %% %d;", shape->columns, shape->columns);
    text_begin(t);
    str_addf(t->out, "%s sum = ", type);
    if (stmt->as.contract.accumulate) {
        plain_sum(t, stmt);
    } else {
        str_add(t->out, "0");
    }
    str_add(t->out, ";\n");
    open_depth(t, stmt);
    text_begin(t);
    str_addf(t->out, is_float ? "sum = dlc_fma_%s(" : "sum = dlc_add_%s(sum, dlc_mul_%s(",
             text_suffix(shape->sum), text_suffix(shape->sum));
    element(t, stmt->as.contract.a_local, stmt->as.contract.a_offset, shape->rows,
            stmt->as.contract.a_deep, "i");
    str_add(t->out, ", ");
    element(t, stmt->as.contract.b_local, stmt->as.contract.b_offset, shape->columns,
            stmt->as.contract.b_deep, "j");
    str_add(t->out, is_float ? ", sum);\n" : "));\n");
    close_loops(t, 1);
    text_begin(t);
    plain_sum(t, stmt);
    str_add(t->out, " = sum;\n");
    close_loops(t, 1);
}

void text_contract(Text *t, const KStmt *stmt, Team team) {
    TileShape shape = team_tile_shape(t, stmt);
    if (!shape.is_block) {
        plain_contract(t, stmt, &shape, team);
        return;
    }
    bool held = team_info(t, stmt)->is_held;
    text_line(t, "{");
    t->indent++;
    if (!held) {
        text_contract_open(t, stmt);
    }
    t->at = team_number(t, stmt);
    bool guarded = open_guard(t, &shape);
    if (shape.by_mma) {
        multiply_fragments(t, stmt, &shape);
    } else {
        multiply_micro(t, stmt, &shape);
    }
    close_loops(t, guarded ? 1 : 0);
    if (!held) {
        text_contract_close(t, stmt);
    }
    close_loops(t, 1);
}
