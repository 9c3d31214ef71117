/* The simulated CUDA device: what its parts share. memory.c holds device memory, shadow.c checks
 * every access; fiber.c runs a block's threads; queue.c orders operations over streams;
 * module.c loads containers; driver*.c are the entry points of libcuda. One lock is held in every
 * entry point, so nothing here is concurrent. */
#ifndef DLC_TESTS_CUDASIM_SIM_H
#define DLC_TESTS_CUDASIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/cudasim/container.h"
#include "tests/cudasim/library.h"

#define EXPORT    __attribute__((visibility("default")))
#define HOST_SPAN ((size_t)8 << 30) /* addresses of pinned host memory, not memory */

enum {
    MAX_DEVICES = 8,
    MAX_THREADS = 1024,
    WARP = 32,
    WARPS = MAX_THREADS / WARP,
    HOST = -1,             /* the device number of pinned host memory */
    SHARED_SPAN = 1 << 20, /* offsets below: the running block's shared memory */
    RED_ZONE = 256,
    FAR =
        1 << 16, /* addresses that belong to nothing, before shared memory and behind a device's */
    MAX_PARAMETERS = 256,
    MAX_PARAMETER_BYTES = 4096,
    NAME_BYTES = 128
};

/* What is known of each byte of device memory; STATE_SPLIT is added to all four of a granule whose
 * threads' marks are kept byte by byte. */
enum {
    STATE_NONE = 0,
    STATE_UNWRITTEN = 1,
    STATE_WRITTEN = 2,
    STATE_PENDING = 3, /* destination of an asynchronous copy not yet waited for */
    STATE_FREED = 4,
    STATE_SPLIT = 0x10
};

/* A mark: who touched a granule of 4 bytes last. Epochs count operations, blocks and barriers; the
 * warp epoch counts rendezvous of whole warps inside one epoch. */
typedef uint64_t Mark;
#define MARK_TID              ((Mark)0x3ff)
#define MARK_WARP             ((Mark)1 << 10) /* several threads of this warp, none ordered before another */
#define MARK_MANY             ((Mark)1 << 11) /* threads of several warps */
#define MARK_OTHER            ((Mark)1 << 12) /* another block of this launch read it too */
#define MARK_WARP_EPOCH_SHIFT 13
#define MARK_WARP_EPOCH       ((Mark)0x7ffff << MARK_WARP_EPOCH_SHIFT)
#define MARK_EPOCH_SHIFT      32

/* What every access reads. */
typedef struct Hot {
    uintptr_t base; /* of all device memory, shared memory first, pinned host memory behind it */
    size_t span;    /* without pinned memory */
    size_t checked; /* with it, or 0: accesses are not checked */
    uint8_t *state; /* one a byte */
    Mark *cells;    /* writer and reader, each 4 bytes */
    Mark *bytes;    /* the same for each byte, where split */
    Mark me;
    uint32_t epoch, block_first, launch_first;
    uint32_t ordered;           /* operations of earlier epochs happen before this one */
    uintptr_t stack, stack_end; /* of the running thread */
    bool in_kernel;
} Hot;
extern Hot hot;

typedef struct Op Op;
typedef struct Stream Stream;
typedef struct Module Module;
typedef struct Function Function;
typedef struct Ctx Ctx;

typedef struct Settings {
    int devices, arch, driver;
    int shown[8]; /* which of them each device number is: CUDA_VISIBLE_DEVICES */
    uint64_t memory, seed;
    int switch_every;             /* of shared accesses, on average; 0: never */
    int order;                    /* ORDER_… */
    int64_t fail_call, leave_out; /* the number of a call, of a wait; 0: none */
    int fail_result;              /* what it returns */
    const char *report;
    const char *fork; /* a folder: every call fails, each in a process of its own */
    bool trace;
} Settings;
enum { ORDER_EARLIEST, ORDER_LATEST, ORDER_RANDOM };
extern Settings settings;
void settings_read(void);
/* Whether the wait that is asked for now is to be left out: reports so. */
bool wait_is_left_out(const char *format, ...) __attribute__((format(printf, 1, 2)));
int64_t wait_count(void);

uint64_t sim_random(uint64_t below);

/* -- report.c */
/* One fault: printed; what was running is stopped by the caller. */
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
void report_more(const char *format, ...) __attribute__((format(printf, 1, 2)));
int64_t report_count(void);

/* -- memory.c */
typedef struct Allocation {
    uintptr_t address;
    size_t bytes;
    int device; /* or HOST */
    int64_t number;
} Allocation;
bool memory_init(void);
void *memory_alloc(int device, size_t bytes); /* NULL: no room */
bool memory_free(int device, void *memory);
const Allocation *memory_find(uintptr_t address); /* that holds the address, or the nearest below */
size_t memory_used(int device);
int64_t memory_live(void);
void memory_live_print(void);
static inline bool memory_is_device(const void *p) {
    return (uintptr_t)p - hot.base < hot.span;
}
static inline bool memory_is_pinned(const void *p) {
    return (uintptr_t)p - hot.base - hot.span < HOST_SPAN;
}
/* Shared memory of the next block: unwritten. */
void memory_shared_reset(size_t bytes, size_t before);
unsigned char *memory_shared(void);
size_t memory_shared_bytes(void);
/* -- shadow.c */
/* By copies and fills of the host's operations; false: a fault was reported. */
bool memory_range_read(uintptr_t address, size_t bytes);
bool memory_range_write(uintptr_t address, size_t bytes);
/* Bytes of `to` become as written as those of `from` (NULL: all written). */
void memory_range_state(uintptr_t to, uintptr_t from, size_t bytes);
void memory_forget_readers(void); /* of operations that all later ones follow */
uint32_t next_epoch(void);

/* -- fiber.c */
typedef struct Launch {
    const Function *function;
    unsigned grid, block;
    size_t shared;
    int device;
    void **arguments; /* pointers to values */
} Launch;
bool launch_run(const Launch *launch); /* false: a fault was reported */
const Launch *launch_now(void);        /* NULL: no kernel runs */
unsigned launch_block(void);
/* Ends the running thread's launch; returns only outside kernels. */
void launch_stop(void);
void fiber_maybe_switch(void);

/* -- module.c */
struct Function {
    Module *module;
    const CudasimKernel *kernel;
    CudasimCall *call;
    const unsigned *sizes; /* of the parameters, ended by 0 */
    size_t shared_allowed;
};
struct Module {
    Module *next;
    Ctx *context;
    void *library;
    char path[256];
    unsigned char *image; /* the container */
    size_t image_bytes;
    Function *functions;
    int n_functions;
    uintptr_t begin, end; /* where the code and constants lie */
    const char *source;
};
int module_load(const void *image, int arch, Ctx *context, Module **out); /* a CUresult */
void module_unload(Module *module);
Function *module_function(Module *module, const char *name);
const Module *module_at(uintptr_t address);
/* "line 12: text" of the code at an address, or "". */
void module_line(const Module *module, uintptr_t code, char *out, size_t n_out);
int64_t module_live(void);

/* -- queue.c: operations in streams */
typedef enum OpKind { OP_LAUNCH, OP_COPY, OP_FILL, OP_MARK, OP_LIBRARY } OpKind;
typedef struct Work { /* what an operation does: also a graph's node */
    OpKind kind;
    /* launch */
    Function *function;
    unsigned grid, block;
    size_t shared;
    unsigned char *values; /* the arguments, one after another at multiples of 16 */
    int n_values;
    /* copy, fill */
    void *to;
    const void *from;
    unsigned char *snapshot; /* of pageable host memory, instead of from */
    size_t bytes;
    uint32_t value; /* of `width` bytes */
    int width;
    SimOperation *operation; /* library */
} Work;
void work_free(Work *work);
size_t work_value_at(const Work *work, int number); /* where argument `number` begins in values */
Work work_copy(const Work *work);

struct Op {
    Op *next; /* of those not run */
    int64_t number;
    Stream *stream;
    Ctx *context;
    Work work;
    Op **after; /* operations it must follow */
    int n_after, cap_after;
    uint32_t first_epoch, last_epoch; /* once run */
    int64_t stamp, synced_at; /* counts of the host's waits: when queued; when waited for, or 0 */
    bool done, all_before, seen, is_pinned; /* pinned.c knows of it */
    double ended;                           /* once done, in seconds */
    char label[NAME_BYTES + 64];
};

typedef struct GraphNode {
    Work work;
    int64_t stream; /* the number of that which was captured */
    int *after;
    int n_after, n_kept; /* of these the first: without a wait that is left out */
} GraphNode;
typedef struct Graph {
    GraphNode *nodes;
    int n_nodes, cap_nodes;
    int64_t capture; /* that it comes from, by number */
    bool is_invalid; /* a rule was broken */
} Graph;

typedef struct Nodes {
    int *at;
    int n;
} Nodes;

struct Stream {
    Stream *next;
    Ctx *context;
    int64_t number;
    bool non_blocking, is_null, owns_capture;
    Op *last;   /* the newest operation, or NULL */
    Op **waits; /* the next operation follows these too */
    int n_waits, cap_waits;
    Graph *capture;
    Nodes capture_last; /* nodes that the next captured one follows */
};

typedef struct Event Event;
struct Event {
    Event *next;
    Ctx *context;
    Op *op;          /* what it was recorded after; NULL: done */
    double time;     /* then: when */
    int64_t capture; /* within which it was recorded, by number; 0: none */
    Nodes capture_last;
};

struct Ctx {
    int device, uses, broken; /* broken: a CUresult that every later call returns; 0: well */
    Stream null_stream;
    Stream *streams;
    Event *events;
};

/* These return a CUresult. Takes the work, also when it fails. */
int queue_add(Stream *stream, Work *work);
int queue_add_graph(Stream *stream, const Graph *graph);
int queue_wait_op(Ctx *context, Op *op);   /* runs what must run, as the host waits */
int queue_host_wait(Ctx *context, Op *op); /* asked for by the host, so that it can be left out */
int queue_wait_stream(Stream *stream);
int queue_wait_context(Ctx *context);
int queue_stream_wait(Stream *stream, Event *event);
int queue_record(Event *event, Stream *stream);
bool queue_event_time(const Event *event, double *out);
void queue_break(const Op *op); /* a fault was reported: its context is lost */
const Op *queue_running(void);
const Op *queue_op_of_epoch(uint32_t epoch);
/* Whether the operation of that epoch happens before the running one. */
bool queue_happens_before(uint32_t epoch);
/* -- pinned.c */
bool pinned_init(uintptr_t address, size_t bytes);
/* The operation was queued, and uses the memory, if that is pinned; the host has waited for it. */
void pinned_use(Op *op, const void *memory, size_t bytes, bool writes);
void pinned_release(Op *op);
bool pinned_is_used(uintptr_t address, size_t bytes); /* reports by which operation */
/* Around accesses of the simulator itself; any memory will do. */
void pinned_open(const void *memory, size_t bytes);
void pinned_close(const void *memory, size_t bytes);
void pinned_look(void); /* reports what the host has done since */
void pinned_off(void);
/* -- capture.c: these return a CUresult, but for the first */
Graph *capture_new(Stream *stream); /* NULL: no memory */
int capture_add(Stream *stream, Work *work);
void capture_record(Event *event, const Stream *stream);
/* Of an event or a stream within a capture. */
int capture_stream_wait(Stream *stream, const Event *event);
int capture_host_wait(const Event *event);
/* Whatever it returns, the capture is over and *out the caller's. */
int capture_end(Stream *first, Graph **out);
/* -- library.c: work of the stand-ins for vendor libraries */
SimOperation *operation_copy(const SimOperation *operation); /* one block of memory; for free */
bool operation_run(const SimOperation *operation);           /* false: a fault was reported */

/* -- compile.c */
typedef struct Compiled {
    unsigned char *container; /* malloc; NULL: it failed, log says why */
    size_t bytes;
    char *log;
} Compiled;
/* `real` (or NULL): the real compiler's report on the same text, for the figures. */
void sim_compile(const char *source, int arch, int version, const char *real, Compiled *out);
/* -- keep.c: the same without figures, and short texts are compiled once. */
void keep_compile(const char *source, int arch, int version, Compiled *out);

#endif
