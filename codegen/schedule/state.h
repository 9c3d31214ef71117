/* Private to codegen/schedule/: the state of scheduling one Func. */
#ifndef DLC_CODEGEN_SCHEDULE_STATE_H
#define DLC_CODEGEN_SCHEDULE_STATE_H

#include "codegen/schedule/schedule.h"

/* Memory of one entry, as PlanBuffer, with what the scheduler must know besides. Lifetimes are in
 * command numbers. `depth` is the loop nesting where it was made: a use further inside keeps it to
 * the end of the outermost loop around the use that does not contain its making. */
typedef struct Memory {
    PlanBufferKind kind;
    int32_t index;
    int64_t offset;
    const Size *bytes;
    const char *name;
    int64_t birth, death;
    int32_t depth;
    int32_t partner; /* union-find: buffers that swap have one lifetime; itself when alone */
    bool keep;       /* must not be overwritten in place while set (a while condition's carries) */
} Memory;

/* Where a value lies: buffer, plus bytes, plus a stride for each loop index it depends on. */
typedef struct Spot {
    int32_t memory; /* -1: not yet placed */
    const Size *base;
    int32_t n_terms;
    struct {
        int32_t depth;
        const Size *stride;
    } terms[PLAN_MAX_LOOP_DEPTH];
} Spot;

/* What the yield of the enclosing block wants of a value. */
typedef enum WishKind { WISH_NONE, WISH_SPOT, WISH_CARRY, WISH_STORE } WishKind;
typedef struct Wish {
    WishKind kind;
    Spot spot;     /* SPOT: write it there. STORE: the argument's memory */
    int32_t carry; /* CARRY: number of the carry of the innermost scan or while */
} Wish;

/* The loop being scheduled. */
typedef struct Loop {
    struct Loop *outer;
    int32_t depth;
    int64_t start;       /* its PLAN_LOOP */
    int32_t *current;    /* memory of carry i */
    int32_t *next;       /* memory that swaps with it, or -1 */
    VEC(int32_t) extend; /* memories to keep to its end */
} Loop;

typedef struct Schedule {
    Module *module;
    Context *context;
    Func *func;
    const Machine *machine;
    PlanWriter *writer;
    TargetTables *tables;
    KernelPool *pool;
    Arena *arena;
    VEC(Memory) memories;
    int64_t first_command; /* of this entry, in tables->commands */
    Loop *loop;
    int32_t max_depth;
    Spot *spots;         /* by value id */
    Wish *wishes;        /* by value id */
    Value **roots;       /* by value id: reshapes followed to what they view */
    int32_t *last_use;   /* by root's value id: id of the op of its block that uses it last */
    int32_t *last_uses;  /* how many operands there refer to it */
    LoweredOp **lowered; /* by op id */
    bool *watched;       /* by value id: a parameter or optimiser state of a training step */
    int32_t last_fault;  /* id of the last op of the body that may fault; -1 */
    const Value *ok;     /* root of the RESULT_OK value, or NULL */
    bool stored;         /* the barrier before the first store is out … */
    Spot gate;      /* … and sets this, which stores look at; memory -1: the host waits there */
    bool is_looked; /* a barrier at which the host waits came after all */
} Schedule;

/* -- memory.c */
int32_t memory_add(Schedule *s, PlanBufferKind kind, const Size *bytes, const char *name);
/* The next command uses the memory. */
void memory_touch(Schedule *s, int32_t memory);
/* The newest command uses the memory. */
void memory_touch_last(Schedule *s, int32_t memory);
void memory_unite(Schedule *s, int32_t a, int32_t b);
void schedule_enter(Schedule *s, Loop *loop);
void schedule_leave(Schedule *s);          /* its last command is the next one */
int64_t command_number(const Schedule *s); /* of the next command, in this entry */
PlanCommand *command_add(Schedule *s, PlanCommandKind kind);
void command_add_ref(Schedule *s, PlanCommand *command, const Spot *spot); /* and touches */
PlanRef spot_ref(Schedule *s, const Spot *spot);
Spot spot_of(int32_t memory, Context *context);
bool spot_is_whole(const Spot *spot); /* the buffer's start, independent of loops */
void emit_copy(Schedule *s, const Spot *to, const Spot *from, Type type);
void memories_write(Schedule *s, int64_t n_commands);
/* Values of the dims to judge by, in the arena; bytes of an entry's buffers for them (0: too
 * large).
 */
int64_t *nominal_dims(const Module *module, Arena *arena);
int64_t *nominal_bytes(PlanWriter *writer, const PlanBuffer *buffers, int32_t n_buffers,
                       const int64_t *vars, int64_t n_vars);

/* -- spot.c */
Block *value_made_in(const Value *value); /* the block that makes it */
/* Where the operand of the op lies. */
Spot *spot_at(Schedule *s, const Op *op, const Value *value);
/* Whether result `r` may be written over operand `k`: nobody reads the operand later, it fills its
 * memory, and no other operand or earlier result of the op lies in that memory. */
bool spot_may_overwrite(Schedule *s, const Op *op, int32_t r, int32_t k, const Spot *placed);
/* Memory for result `r` of the op that nobody wishes anywhere: over operand `k` of the arena, where
 * it may, or its own; `placed` are the results before it. k -1: its own. */
Spot result_apart(Schedule *s, const Op *op, int32_t r, int32_t k, const Spot *placed);
/* A mistake of ours: the op cannot be scheduled. */
#define SCHEDULE_REFUSE(s, op, why) schedule_refuse_at((s), (op), (why), __FILE__, __LINE__)
_Noreturn void schedule_refuse_at(Schedule *s, const Op *op, const char *why, const char *file,
                                  int line);
/* -- kernels.c */
const char *place_text(Schedule *s, Place place); /* "digits.dl:12:5", or "" */
/* The site that names the lines of a fusion whose values may be not finite of finite ones; -1:
 * none. */
int32_t risk_site(Schedule *s, const Op *fusion);
int64_t site_number(void *user, Place place, const char *text); /* user: a Schedule */
void lower_all(Schedule *s);
/* The kernel's number in the plan, made at first sight. */
int32_t kernel_number(Schedule *s, Kernel *kernel);
/* Finds the kernel's twin; without one it is its own, and false comes back. */
bool kernel_meet(Schedule *s, Kernel *kernel);
/* The one that reaches higher; their signs are alike. */
const Size *size_wider(const Size *a, const Size *b);
void fusion_cost(Schedule *s, const Op *fusion, const Size **flops, const Size **bytes);
bool op_may_fault(Schedule *s, const Op *op);

/* -- library.c: the newest commands launch kernels `launched` of the fusion; if a library
 * could do the same, the first of them says so. */
void schedule_library(Schedule *s, const Op *fusion, const LoweredOp *lowered, const Spot *results,
                      const int32_t *launched, int32_t n);

/* -- gate.c: the same kernels, of which every tile does nothing where the gate is shut. */
const LoweredOp *gate_kernels(Schedule *s, const LoweredOp *lowered);
/* -- collective.c: an op that exchanges values among ranks. */
void schedule_collective(Schedule *s, const Op *op);

/* -- loop.c, block.c */
void schedule_loop_op(Schedule *s, Op *op);
void schedule_block(Schedule *s, Block *block);
/* The memory that the carry of the innermost loop swaps with; made at first wish. */
int32_t carry_next(Schedule *s, int32_t carry);
/* Emits the barrier that precedes the first store. From there on the OK value is the gate's.
 * `in_place`: the store is a kernel's, which looks at nothing but the OK value: without one the
 * host looks for it. */
void schedule_barrier(Schedule *s, bool in_place);
void schedule_analyse(Schedule *s);

/* -- merge.c, group.c: over all entries, when their commands are written. */
/* One kernel for those that differ in lengths and strides alone. */
void schedule_merge(PlanWriter *writer, TargetTables *tables, KernelPool *pool);
/* Independent launches of one kernel next to each other, marked as groups. */
void schedule_group(const Module *module, const Machine *machine, PlanWriter *writer,
                    TargetTables *tables, KernelPool *pool);

/* -- queues.c: over all entries, when their commands are final. */
/* What each launch does to its buffers. */
void schedule_accesses(TargetTables *tables, const KernelPool *pool);
/* Gives commands to a second queue where that lets something overlap: exchanges, and where the
 * device `has_two` what moves bytes; behind schedule_accesses. */
void schedule_queues(const Module *module, PlanWriter *writer, TargetTables *tables, bool has_two);

#endif
