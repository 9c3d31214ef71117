/* The product of two blocks of attention, through the tiles of one thread or of a block of them. */
#include "codegen/lower/attention.h"
#include "ir/base/checked.h"

static const KExpr *element_a(KBuild *k, const Gemm *gemm, const KExpr *batch, const KExpr *row,
                              const KExpr *depth) {
    const Product *p = gemm->user;
    return attention_element(k, p, &p->a, batch, row, depth);
}

static const KExpr *element_b(KBuild *k, const Gemm *gemm, const KExpr *batch, const KExpr *row,
                              const KExpr *depth) {
    const Product *p = gemm->user;
    return attention_element(k, p, &p->b, batch, row, depth);
}

static GemmOrder order_of(const Factor *f) {
    bool row = f->operand >= 0 ? f->width_is_row : f->inner_is_row;
    return row ? GEMM_BY_ROW : GEMM_BY_DEPTH;
}

void attention_product(KBuild *k, const Product *product) {
    const Attention *at = product->pair->at;
    if (kb_is_block(k)) {
        attention_product_block(k, product);
        return;
    }
    Product copy = *product;
    Gemm gemm = {.name = "attention",
                 .batch = at->n_batch,
                 .m = product->m,
                 .n = product->n,
                 .depth = product->depth,
                 .dtype = at->dtype,
                 .a = {.order = order_of(&product->a), .element = element_a},
                 .b = {.order = order_of(&product->b), .element = element_b},
                 .user = &copy};
    GemmPlan plan = {.gemm = &gemm,
                     .kind = GEMM_PACKED,
                     .tile_m = machine_tile_rows(kb_machine(k), at->dtype),
                     .tile_n = machine_tile_columns(kb_machine(k), at->dtype),
                     .block_m = product->most_m,
                     .block_n = product->most_n,
                     .block_k = round_up(product->most_depth, 8)};
    GemmTile tile = {.c = product->c,
                     .batch = product->pair->batch,
                     .m0 = product->m0,
                     .n0 = product->n0,
                     .rows = product->rows,
                     .columns = product->columns,
                     .depth0 = product->depth0,
                     .depth = product->length,
                     .most = size_const(kb_context(k), product->most_depth)};
    gemm_tile(k, &plan, &tile);
}
