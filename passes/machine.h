/* The machine model: what passes and lowering may know of a target, without knowing the target.
 * Filled by codegen/<backend>; read by fusion, tile choice and the cost model. */
#ifndef DLC_PASSES_MACHINE_H
#define DLC_PASSES_MACHINE_H

#include "ir/type.h"

/* From which sizes on a library is worth a call. A contraction: rows, columns and depth;
 * multiply-adds. */
typedef struct MatmulWorth {
    int64_t side;
    double work;
} MatmulWorth;

/* A convolution: products that a sum has, channels of a group's result, multiply-adds. */
typedef struct ConvolutionWorth {
    double depth, channels, work;
} ConvolutionWorth;

/* From which sizes on a head of many classes is done in chunks: see passes/head.c. Elements of
 * logits, and of a chunk of them; rows of a chunk. */
typedef struct HeadMeasures {
    double worth, chunk;
    int64_t least_rows;
} HeadMeasures;

/* What is worth one kernel. */
typedef struct FusionMeasures {
    double small_space;      /* elements: one kernel whatever its shape */
    double least_rows;       /* fewer rows, gone through one by one, leave workers idle */
    int64_t attention_width; /* of q, k and v at most: a row of them stays in a kernel's tile */
    double attention_scores; /* of one head at least: fewer are as well held */
    HeadMeasures head;
} FusionMeasures;

/* Kernels whose tiles one worker runs, in elements. The order of sums follows them. */
typedef struct WorkerShapes {
    int32_t attention_queries, attention_keys; /* blocks of the forward kernel */
    int32_t attention_rows;                    /* of the backward one, either way */
    int32_t attention_heads;                   /* from so many on, a backward tile is a head */
    int32_t sum_chunk;                         /* of one partial sum */
    int32_t few_rows, long_row;                /* fewer rows that are longer are summed in chunks */
    /* Fewer tiles of columns, with as much to sum, are cut into stages. */
    int32_t few_tiles, column_work;
    int32_t scatter_lines; /* of a tile of scatter_add */
    /* Where tiles are fewer, the indexed axis is cut too: into so many blocks, of as many rows each
     * at least. */
    int32_t scatter_tiles, scatter_blocks, scatter_rows;
} WorkerShapes;

/* Kernels whose tiles a block of threads runs. */
typedef struct BlockShapes {
    int32_t move_bytes; /* that a thread moves at once */
    /* Of one row's share of a panel, and of 16-bit ones, which are used up sooner (tf32 too). */
    int32_t step_bytes, half_step_bytes;
    int32_t attention_rows;
    int32_t least_sum_chunk, most_sum_chunk; /* elements of one partial sum */
    int32_t column_width, column_rows;       /* of a tile; rows of a thread, at least */
    int32_t column_work;             /* elements below which columns are not cut into stages */
    int32_t scatter_blocks;          /* of the indexed axis, at most */
    int32_t long_row;                /* elements that keep a whole block busy */
    double staged_row, staged_bytes; /* few rows that have as much are cut into stages */
} BlockShapes;

typedef struct Machine {
    const char *target;   /* the backend's name, for plans and people; nothing is decided by it */
    const char *name;     /* as pinned in the manifest, e.g. "x86-64-v3" */
    const char *features; /* the target's own feature text */
    int32_t vector_bytes; /* 64, 32 or 16 */
    /* Register tile of the contraction micro-kernel for f32 and f64: rows x columns. */
    int32_t tile_rows_f32, tile_columns_f32;
    int32_t tile_rows_f64, tile_columns_f64;
    int64_t l1_bytes; /* a tile of one worker moves about as much */
    /* Blocks of a product whose panels are packed by one worker, in elements: A's stays in the
     * second cache, B's in the third. `wanted_tiles`: tiles below which products are cut finer, so
     * that workers share them. Machines whose tiles one worker runs have them; else 0. */
    int32_t block_rows, block_columns, block_depth, wanted_tiles;
    /* Threads that run one tile together (codegen/kernel.h), in groups of `lanes` that exchange
     * values cheaply; 1 and 1: a tile has one worker. */
    int32_t threads, lanes;
    int64_t shared_bytes; /* room for a tile's locals, when threads share them; 0: no bound */
    int64_t shared_plain; /* of it, what a tile may take and leave room for a second one */
    int32_t processors;   /* tiles that run at once, about; 0: few */
    int32_t column_tile;  /* neighbouring columns, or lines, that a tile goes through together */
    WorkerShapes worker;  /* where `threads` is 1, else: */
    BlockShapes block;
    FusionMeasures fusion;
    int32_t architecture; /* the backend's own number for it: 90 of sm_90 */
    /* Products of such operands are native: contraction tiles beside f32 ones, and what `precision`
     * may choose. tf32: f32 operands rounded to it, where the program says so. */
    bool has_bf16, has_f16, has_tf32;
    /* The target to name to a program whose `precision` this one lacks, which it then refuses:
     * whoever asks for it asks for speed. NULL: f32 stands in. */
    const char *precise_from;
    /* A kernel is dear to compile: those that differ in lengths alone are to be one, which gets the
     * lengths as size parameters. Launches that depend on nothing of each other may be done as one
     * with so many words of arguments; 0: they may not. */
    bool merges_kernels;
    int32_t group_words;
    /* On how many queues work is given at once; up to 2 are used, the second by copies. 0 and 1:
     * one.
     */
    int32_t queues;
    /* A vendor's library may do what one call of it can say, where that pays: a small product
     * gains less by it than a launch more costs. */
    bool has_libraries;
    MatmulWorth matmul_worth;
    ConvolutionWorth convolution_worth;
    /* Nominal, for the cost model: a kernel's launch, before it does anything; then its work. */
    double launch_seconds;
    double flops_per_second, bytes_per_second;
} Machine;

/* For machines on which nothing else was measured. */
static inline WorkerShapes machine_usual_worker(void) {
    return (WorkerShapes){.attention_queries = 128,
                          .attention_keys = 256,
                          .attention_rows = 192,
                          .attention_heads = 8,
                          .sum_chunk = 16384,
                          .few_rows = 16,
                          .long_row = 32768,
                          .few_tiles = 16,
                          .column_work = 65536,
                          .scatter_lines = 16,
                          .scatter_tiles = 8,
                          .scatter_blocks = 8,
                          .scatter_rows = 16};
}

static inline FusionMeasures machine_usual_fusion(void) {
    return (FusionMeasures){.small_space = 32768,
                            .least_rows = 8,
                            .attention_width = 256,
                            .attention_scores = 16384,
                            .head = {.worth = 1 << 24, .chunk = 1 << 24, .least_rows = 64}};
}

/* The register tile for sums of `dtype`. */
static inline int32_t machine_tile_rows(const Machine *machine, DType dtype) {
    return dtype == DT_F64 ? machine->tile_rows_f64 : machine->tile_rows_f32;
}

static inline int32_t machine_tile_columns(const Machine *machine, DType dtype) {
    return dtype == DT_F64 ? machine->tile_columns_f64 : machine->tile_columns_f32;
}

#endif
