/* The plan file, as bytes: what codegen writes and the run time maps. Stand-alone and versioned.
 * Little-endian; a header, a section table, then sections at multiples of PLAN_ALIGNMENT, each an
 * array of one of the records below or plain bytes. Tables refer to each other by index, to texts
 * by offset into PLAN_STRINGS (NUL-terminated; offset 0 is ""), to size expressions by range in
 * PLAN_PROGRAMS. Variables of programs: the dims by number, then the loop indices by depth. */
#ifndef DLC_RUNTIME_PLAN_H
#define DLC_RUNTIME_PLAN_H

#include "ir/base/mesh.h"
#include "ir/base/program.h"

#include <stdbool.h>
#include <stdint.h>

#define PLAN_MAGIC "DLCPLAN\n"

enum {
    PLAN_VERSION = 5,
    PLAN_ALIGNMENT = 64,
    PLAN_MAX_SECTIONS = 4096,
    PLAN_MAX_TARGETS = 64,
    PLAN_MAX_LOOP_DEPTH = 16,
    PLAN_MAX_RANK = 16,
    PLAN_MAX_DIMS = 1024,
    PLAN_MAX_QUEUES = 4
};

typedef struct PlanHeader {
    char magic[8];
    uint32_t version, n_sections;
    uint64_t file_bytes;
    uint32_t table_crc; /* crc32 of header (this field zero) and section table */
    uint32_t n_targets;
} PlanHeader;

typedef enum PlanSectionKind {
    /* shared; target is 0 */
    PLAN_MANIFEST = 1,  /* JSON text */
    PLAN_IR = 2,        /* IR text, enough to compile for another target */
    PLAN_STRINGS = 3,   /* begins and ends with NUL */
    PLAN_PROGRAMS = 4,  /* ProgramInstr */
    PLAN_SIZES = 5,     /* PlanProgram: axes of shapes, size arguments of launches */
    PLAN_DIMS = 6,      /* PlanDim */
    PLAN_VARIABLES = 7, /* PlanVariable */
    PLAN_SETTINGS = 8,  /* PlanSetting */
    PLAN_CONSTANTS = 9, /* bytes; constants start at multiples of PLAN_ALIGNMENT */
    PLAN_MESH = 10,     /* PlanMeshAxis: none is one rank */
    PLAN_CUTS = 11,     /* PlanCut */
    /* one of each for every target */
    PLAN_TARGET = 16,      /* one PlanTarget */
    PLAN_IMAGE = 17,       /* position-independent code */
    PLAN_KERNELS = 18,     /* PlanKernel */
    PLAN_SITES = 19,       /* PlanSite */
    PLAN_ENTRIES = 20,     /* PlanEntry */
    PLAN_ARGS = 21,        /* PlanArg */
    PLAN_RESULTS = 22,     /* PlanResult */
    PLAN_BUFFERS = 23,     /* PlanBuffer */
    PLAN_COMMANDS = 24,    /* PlanCommand */
    PLAN_REFS = 25,        /* PlanRef */
    PLAN_SWAPS = 26,       /* PlanSwap */
    PLAN_LIBRARIES = 27,   /* PlanLibrary */
    PLAN_WAITS = 28,       /* int32_t: events of the entry that commands wait for */
    PLAN_COLLECTIVES = 29, /* PlanCollective */
    PLAN_SECTION_END = 30
} PlanSectionKind;

typedef struct PlanSection {
    uint32_t kind, target;
    uint64_t offset, size; /* bytes */
    uint32_t crc, reserved;
} PlanSection;

/* [first, first + count) of PLAN_PROGRAMS. */
typedef struct PlanProgram {
    int32_t first, count;
} PlanProgram;

/* Numbered as ir/type.h numbers DType; fixed by the format. */
typedef enum PlanDType {
    PLAN_F64 = 0,
    PLAN_F32 = 1,
    PLAN_F16 = 2,
    PLAN_BF16 = 3,
    PLAN_I64 = 4,
    PLAN_I32 = 5,
    PLAN_I8 = 6,
    PLAN_U8 = 7,
    PLAN_BOOL = 8,
    PLAN_N_DTYPES = 9
} PlanDType;

/* An axis of the mesh that the ranks make. Ranks are numbered by their coordinates, the last axis
 * fastest. At most one axis has any size: then it is what the others leave of the ranks. */
typedef struct PlanMeshAxis {
    uint32_t name, reserved;
    int64_t size; /* 0: any */
} PlanMeshAxis;

/* Only free dims are given, by inputs and callers; the others follow, on each rank, whenever what
 * they are made of is known. */
typedef struct PlanDim {
    uint32_t name;
    int32_t source;  /* DimSource */
    MeshGroup group; /* of other sources than FREE; else 0 */
    uint32_t reserved;
    int64_t low, high, divisor, nominal;
    PlanProgram of; /* PIECE, FIRST: of dims before this one */
} PlanDim;

/* Type of an argument, result or variable: rank programs of PLAN_SIZES from first_size. */
typedef struct PlanType {
    int32_t dtype, rank;
    int32_t first_size;
    uint32_t text; /* "f32[B, 10]" */
} PlanType;

/* The axis of the whole tensor is outer x rows x inner elements; the rows are cut among the ranks
 * of the group (mesh_piece), so that the axis of the part is outer x piece x inner. Of a further
 * cut of the same axis the rows lie within the inner elements of the one before. All as the whole
 * tensor has it, the same on every rank. */
typedef struct PlanCut {
    int32_t axis;
    MeshGroup group;
    PlanProgram outer, rows, inner;
} PlanCut;

/* What a value on a rank is the part of: `whole`, of the value's own dtype and rank, cut by
 * PLAN_CUTS, which are in the order of their axes. Without cuts it is the whole, the same on every
 * rank, and `whole` says nothing. */
typedef struct PlanPart {
    PlanType whole;
    int32_t first_cut, n_cuts;
} PlanPart;

/* Numbered as ir/ir.h numbers ArgRole. */
typedef enum PlanArgRole {
    PLAN_ARG_INPUT = 0,
    PLAN_ARG_PARAM = 1,
    PLAN_ARG_STATE = 2,
    PLAN_ARG_CACHE = 3,
    PLAN_ARG_SLOT = 4,
    PLAN_ARG_SCALAR = 5,
    PLAN_N_ARG_ROLES = 6
} PlanArgRole;

/* Something that persists between runs, shared by entries through its name. */
typedef struct PlanVariable {
    uint32_t name;
    int32_t role;  /* PARAM, STATE, CACHE or SLOT */
    PlanType type; /* on a rank, as in what follows */
    PlanProgram bytes;
    PlanPart part;
} PlanVariable;

typedef struct PlanSetting {
    uint32_t name, value;
} PlanSetting;

typedef struct PlanTarget {
    uint32_t device;   /* "cpu" */
    uint32_t machine;  /* "x86-64-v3" */
    uint32_t features; /* the target's own list, comma-separated; all needed to run the image */
    int32_t abi;       /* KERNEL_ABI_VERSION of the image */
} PlanTarget;

/* What a kernel may set the fault word for. */
typedef enum PlanFaults {
    PLAN_FAULTS_CHECKS = 1,  /* a check of the program: nothing may be stored */
    PLAN_FAULTS_WATCHES = 2, /* KERNEL_SITE_NOT_FINITE */
} PlanFaults;

typedef struct PlanKernel {
    uint32_t name;
    int32_t n_buffers, n_sizes;
    int32_t faults; /* PlanFaults, or-ed */
    int64_t entry;  /* offset in the image */
    int64_t scratch_bytes;
    uint64_t hash;
} PlanKernel;

/* Where a run-time check stands in the program. */
typedef struct PlanSite {
    uint32_t place; /* "digits.dl:12:5" */
    uint32_t text;
} PlanSite;

typedef enum PlanPurpose {
    PLAN_PURPOSE_INFER = 0,
    PLAN_PURPOSE_EVAL = 1,
    PLAN_PURPOSE_TRAIN = 2,
    PLAN_PURPOSE_INIT = 3,
    PLAN_PURPOSE_OTHER = 4,
    PLAN_N_PURPOSES = 5
} PlanPurpose;

/* Every range is within the target's tables; buffer and command numbers inside an entry are
 * relative to its first. */
typedef struct PlanEntry {
    uint32_t name;
    int32_t purpose;
    int32_t first_arg, n_args;
    int32_t first_result, n_results;
    int32_t first_buffer, n_buffers;
    int32_t first_command, n_commands;
    int32_t n_loop_depth; /* deepest nesting of loops */
    int32_t n_queues;     /* at least 1 */
    int32_t n_events;
} PlanEntry;

typedef struct PlanArg {
    uint32_t name;
    int32_t role;
    PlanType type;
    int32_t buffer;
    int32_t variable; /* in PLAN_VARIABLES; -1 for inputs and scalars */
    PlanPart part;    /* of inputs; a variable has its own */
} PlanArg;

/* Numbered as ir/ir.h numbers ResultRole. */
typedef enum PlanResultRole {
    PLAN_RESULT_OUTPUT = 0,
    PLAN_RESULT_METRIC = 1,
    PLAN_RESULT_METRIC_OVER = 2,
    PLAN_RESULT_LOSS = 3,
    PLAN_RESULT_STORE = 4, /* already carried out by commands; listed for inspection */
    PLAN_RESULT_OK = 5,
    PLAN_RESULT_INFO = 6,
    PLAN_RESULT_LOSS_OVER = 7,
    PLAN_N_RESULT_ROLES = 8
} PlanResultRole;

/* What a command does to a buffer, or-ed. */
typedef enum PlanAccess { PLAN_READS = 1, PLAN_WRITES = 2 } PlanAccess;

typedef struct PlanRef {
    int32_t buffer;
    int32_t access; /* LAUNCH: PlanAccess of the kernel; else plan_access of the command's kind */
    /* LAUNCH, COLLECTIVE: element type of the op's result that is written here, plus 1; else 0 */
    int32_t written;
    PlanProgram offset; /* bytes from the buffer's start */
    PlanProgram bytes;  /* of that result; COLLECTIVE: of the operand too */
} PlanRef;

typedef struct PlanResult {
    uint32_t name;
    int32_t role;
    PlanType type;
    PlanRef ref; /* where it lies after the last command */
    int32_t arg; /* STORE: the argument replaced; else -1 */
    int32_t reserved;
    PlanPart part;
} PlanResult;

typedef enum PlanBufferKind {
    PLAN_BUFFER_ARENA = 0,    /* lives from birth to death in the step's arena */
    PLAN_BUFFER_ARG = 1,      /* index: the argument; its input, scalar or variable memory */
    PLAN_BUFFER_CONSTANT = 2, /* offset: in PLAN_CONSTANTS */
    PLAN_N_BUFFER_KINDS = 3
} PlanBufferKind;

typedef struct PlanBuffer {
    int32_t kind;
    int32_t index;
    PlanProgram bytes;
    int64_t birth,
        death; /* ARENA: first and last command that needs it; n_commands as death: the end */
    int64_t offset;
    uint32_t name; /* of the value, for people; may be "" */
    int32_t reserved;
} PlanBuffer;

typedef enum PlanCommandKind {
    PLAN_LAUNCH = 0, /* kernel on refs and sizes over `extent` tiles */
    PLAN_COPY = 1,   /* ref 0 from ref 1, `extent` bytes */
    PLAN_FILL = 2,   /* ref 0: `extent` bytes of zero */
    PLAN_LOOP =
        3, /* `extent` times (WHILE: until a PLAN_TEST fails); ref 0 receives the i32 index */
    PLAN_TEST = 4,       /* inside a loop: leaves it when the bool at ref 0 is false */
    PLAN_LOOP_END = 5,   /* swaps buffers pairwise, goes back to the PLAN_LOOP at `match` */
    PLAN_SHOW = 6,       /* hands ref 0 (type) to the log under `text` */
    PLAN_CHECK = 7,      /* fault at `site` when the bool at ref 0 is false */
    PLAN_SIZE_CHECK = 8, /* when dims bind: `extent` equals `other`, else a fault at `site` */
    /* Before anything is stored. The bool at ref 0 becomes that at ref 1, or false where a fault
     * was met: what is stored looks at it. Without refs the host looks, and stops the run. */
    PLAN_BARRIER = 9,
    PLAN_STORE = 10, /* as COPY, but skipped when the bool at ref 2 (if n_refs is 3) is false */
    /* what `collective` says, among the ranks of its group: refs in pairs, of a result and its
     * operand. All ranks of the group come to the same ones in the same order. */
    PLAN_COLLECTIVE = 11,
    PLAN_N_COMMAND_KINDS = 12
} PlanCommandKind;

enum {
    PLAN_COMMAND_REVERSE = 1, /* LOOP: the index runs downwards */
    PLAN_COMMAND_WHILE = 2,   /* LOOP: no count; `limit` iterations at most (0: any) */
    /* LAUNCH: of the same kernel as the launch before it, and independent of it and of all others
     * of the group that it continues: they may run in any order, or at once. */
    PLAN_COMMAND_GROUPED = 4
};

/* What a command that is no launch does to its ref `r`. */
static inline int32_t plan_access(int32_t kind, int32_t r) {
    bool writes = kind == PLAN_COPY || kind == PLAN_FILL || kind == PLAN_STORE ||
                  kind == PLAN_LOOP || kind == PLAN_BARRIER;
    bool results = kind == PLAN_COLLECTIVE && r % 2 == 0;
    return (writes && r == 0) || results ? PLAN_WRITES : PLAN_READS;
}

/* Commands are given to the queues of the entry in their order; each queue does what it was given
 * in that order, and between queues there is no order but what events make. Queue 0 is the first:
 * an entry begins when all that queue 0 was given before is done, and is done when all its queues
 * are. What the host takes part in – loops, tests, checks, shown values, barriers – is on queue 0,
 * and so are kernels that may fault, as a barrier looks at the faults of its own queue. Collectives
 * on another one may go on while what comes behind them runs, those of one queue too where they do
 * not use the same memory.
 *
 * A command first waits for the events [first_wait, first_wait + n_waits) of PLAN_WAITS, then does
 * its work, then signals its event, which from then on stands for all that its queue was given so
 * far. Each event is signalled by one command of the entry, which comes before all that wait for
 * it; in a loop it is signalled anew with every turn. An event not signalled yet stands for
 * nothing.
 *
 * A loop waits before its first turn and signals when its index is written, in every turn. Its end
 * waits at the end of every turn, before the next index is written, and signals once: when the loop
 * is left, in whatever way, or was not entered at all. Those that follow a launch in its group or
 * library call wait for nothing of their own. */
typedef struct PlanCommand {
    int32_t kind;
    int32_t flags;
    int32_t kernel; /* LAUNCH; else -1 */
    int32_t first_ref, n_refs;
    int32_t first_size, n_sizes; /* LAUNCH: size arguments, in PLAN_SIZES */
    int32_t match;               /* LOOP, TEST: its LOOP_END; LOOP_END: its LOOP; else -1 */
    int32_t depth;               /* LOOP: number of its index variable, after the dims */
    /* In PLAN_SITES, or -1. LAUNCH: the lines of the kernel that can make values that are not
     * finite of finite ones. */
    int32_t site;
    int32_t first_swap, n_swaps;
    int32_t library; /* LAUNCH: in PLAN_LIBRARIES; -1: none */
    int32_t queue;
    int32_t first_wait, n_waits;
    int32_t signal;     /* an event; -1: none */
    int32_t collective; /* COLLECTIVE: in PLAN_COLLECTIVES; else 0 */
    PlanProgram extent, other;
    PlanProgram flops, bytes; /* work of the op, on its first launch; count 0: none */
    int64_t limit;
    uint32_t text;  /* LAUNCH: the op's label; SHOW: the name */
    uint32_t place; /* LAUNCH: of the op in the program, "digits.dl:12:5" */
    PlanType type;  /* SHOW */
} PlanCommand;

/* What a vendor's library may be asked to do instead of the kernel of a launch
 * (PlanCommand.library) and of the `more` launches that follow it: the same result up to the order
 * of sums. The kernels always exist; which of them runs is decided on the machine. */
typedef enum PlanLibraryKind {
    PLAN_LIBRARY_MATMUL = 0,           /* d = epilogue(alpha a b + beta c), batched */
    PLAN_LIBRARY_CONV = 1,             /* y from x (A) and w (B), NC… and OI… */
    PLAN_LIBRARY_CONV_INPUT_GRAD = 2,  /* dx from dy (A) and w (B) */
    PLAN_LIBRARY_CONV_FILTER_GRAD = 3, /* dw from dy (A) and x (B) */
    PLAN_N_LIBRARY_KINDS = 4
} PlanLibraryKind;

typedef enum PlanLibraryOperand {
    PLAN_OPERAND_A = 0,
    PLAN_OPERAND_B = 1,
    PLAN_OPERAND_C = 2,    /* added before the epilogue; shape and dtype of its own row */
    PLAN_OPERAND_BIAS = 3, /* one value a column (matmul) or channel (convolution) */
    PLAN_OPERAND_D = 4,    /* the result */
    PLAN_N_OPERANDS = 5
} PlanLibraryOperand;

typedef enum PlanCompute { /* what products are summed in; f32 is IEEE f32 */
                           PLAN_COMPUTE_F32 = 0,
                           PLAN_COMPUTE_TF32 = 1,
                           PLAN_COMPUTE_F64 = 2,
                           PLAN_N_COMPUTES = 3
} PlanCompute;

typedef enum PlanEpilogue {
    PLAN_EPILOGUE_NONE = 0,
    PLAN_EPILOGUE_RELU = 1,
    PLAN_EPILOGUE_GELU_TANH = 2, /* never the erf form */
    PLAN_N_EPILOGUES = 3
} PlanEpilogue;

/* Sizes, all in elements, in this order.
 * MATMUL: m, n, k, batch; then for A, B, C, D each: row stride, column stride, batch stride (one of
 * the first two is 1; 0 where an operand is absent). A is m x k, B is k x n, C and D are m x n, the
 * bias has n.
 * CONV*: spatial rank r, groups; then r each of stride, dilation, low padding, high padding; then
 * the dims of x [2 + r], w [2 + r], y [2 + r]; then strides of x, w, y in the same way. */
#define PLAN_MATMUL_SIZES     16
#define PLAN_CONV_SIZES(rank) (2 + 4 * (rank) + 6 * (2 + (rank)))

typedef struct PlanLibrary {
    int32_t kind, compute, epilogue;
    int32_t more;                    /* launches right behind the command that it stands for too */
    int32_t refs[PLAN_N_OPERANDS];   /* counted from the command's first, through all of theirs,
                                        which follow one another; -1: absent */
    int32_t dtypes[PLAN_N_OPERANDS]; /* PlanDType */
    int32_t first_size, n_sizes;     /* in PLAN_SIZES */
} PlanLibrary;

typedef enum PlanCollectiveKind {
    /* Each result is the sum, product … of its operand on all ranks, with the same bits on each. */
    PLAN_ALL_REDUCE = 0,
    /* Results have outer x rows x unit elements, operands outer x piece x unit: the ranks' rows, in
     * their order. */
    PLAN_ALL_GATHER = 1,
    PLAN_REDUCE_SCATTER = 2, /* combined, then the rank's rows of them: the other way round */
    /* The operand has the rank's piece of the rows and all split_rows, the result all rows and the
     * rank's piece of split_rows. */
    PLAN_ALL_TO_ALL = 3,
    PLAN_SHIFT = 4, /* the operand of the rank `by` numbers before, round the group */
    PLAN_N_COLLECTIVE_KINDS = 5
} PlanCollectiveKind;

typedef enum PlanCombine {
    PLAN_COMBINE_ADD = 0,
    PLAN_COMBINE_MUL = 1,
    PLAN_COMBINE_MIN = 2,
    PLAN_COMBINE_MAX = 3,
    PLAN_COMBINE_AND = 4, /* of bools, as OR; which are not added or multiplied */
    PLAN_COMBINE_OR = 5,
    PLAN_N_COMBINES = 6
} PlanCombine;

/* GATHER, SCATTER and ALL_TO_ALL: the whole tensor's elements, in row-major order, are
 * outer x rows x unit, or outer x rows x middle x split_rows x unit of ALL_TO_ALL (split_first:
 * outer x split_rows x middle x rows x unit). The same on all ranks of the group. A command that
 * gathers or scatters several tensors has one of these for each pair of refs, which follow one
 * another and differ in their rows alone (plan_pair_collective). */
typedef struct PlanCollective {
    int32_t kind, combine;
    MeshGroup group; /* axes of the mesh, as bits */
    int32_t by;      /* SHIFT */
    int32_t split_first, reserved;
    PlanProgram outer, rows, unit;
    PlanProgram middle, split_rows; /* ALL_TO_ALL; else empty */
} PlanCollective;

/* Which of PLAN_COLLECTIVES says how pair `pair` of the command's refs moves, of a command whose
 * first is of this kind. */
static inline int32_t plan_pair_collective(const PlanCommand *command, int32_t kind, int32_t pair) {
    bool each = kind == PLAN_ALL_GATHER || kind == PLAN_REDUCE_SCATTER;
    return command->collective + (each ? pair : 0);
}

/* Buffers a and b of the entry exchange their memory. */
typedef struct PlanSwap {
    int32_t a, b;
} PlanSwap;

#endif
