/* dlc: the public C API. C11, usable from C++. Every symbol begins with dlc_; handles are opaque;
 * the library never prints, exits, aborts or installs signal handlers, and keeps no global state.
 */
#ifndef DLC_DLC_H
#define DLC_DLC_H

#include "dlc/dlpack.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DLC_VERSION_MAJOR 0
#define DLC_VERSION_MINOR 1
#define DLC_VERSION_PATCH 0

#if defined(__GNUC__)
#define DLC_API      __attribute__((visibility("default")))
#define DLC_MUST_USE __attribute__((warn_unused_result))
#else
#define DLC_API
#define DLC_MUST_USE
#endif

/* What a call came to. Zero is success; details are in the context's last error. */
typedef enum dlc_status {
    DLC_OK = 0,
    DLC_ERROR_INVALID_ARGUMENT = 1, /* the caller broke the contract of the function */
    DLC_ERROR_OUT_OF_MEMORY = 2,
    DLC_ERROR_IO = 3,        /* a file could not be read or written */
    DLC_ERROR_FORMAT = 4,    /* a file or text is malformed: truncated, lying header, bad syntax */
    DLC_ERROR_COMPILE = 5,   /* the program has errors: see the diagnostics */
    DLC_ERROR_NOT_FOUND = 6, /* no such entry, input, output, parameter */
    DLC_ERROR_MISMATCH = 7,  /* shapes or types do not fit */
    DLC_ERROR_UNSUPPORTED = 8, /* this machine or this build cannot; never a driver's error that
                                * names no such reason */
    DLC_ERROR_FAULT = 9,       /* a run-time check failed: bad index, `check`, sizes not equal */
    /* Loss, gradients or state not finite: nothing was stored. Or all of them finite and what the
     * optimiser made of them not: stored, as the message says, and counted in "step". */
    DLC_ERROR_NON_FINITE = 10,
    DLC_ERROR_CANCELLED = 11,
    DLC_ERROR_LIMIT = 12,   /* a stated limit was met */
    DLC_ERROR_INTERNAL = 13 /* a mistake of ours, or a driver's or library's error without a status
                             * of its own: the text names the call and the error */
} dlc_status;

/* Memory hooks. `alloc` returns memory aligned for any object, or NULL; `free` gets what alloc
 * returned, never NULL. Both may be called from any thread that calls the library, and from threads
 * of a session of several ranks, for which only one call is made at a time. */
typedef struct dlc_allocator {
    void *(*alloc)(void *user, size_t bytes);
    void (*free)(void *user, void *memory);
    void *user;
} dlc_allocator;

/* ==== General rules ====
 * Objects. A context is the root: plans, sessions and datasets are made from one and use its hooks
 * and its error text. One context and everything made from it is used by one thread at a time:
 * a call that finds another thread inside returns DLC_ERROR_INVALID_ARGUMENT, without a text;
 * different contexts are independent. Destroying: sessions keep their plan alive; what is made from
 * a context keeps its memory alive, without its hooks, so the order does not matter, only that the
 * allocator lasts as long. What is destroyed within a hook or a callback ends when the call returns
 * that called it. Every *_destroy accepts NULL.
 * NULL. A pointer may be NULL where the text beside it says so. For any other, and for a handle,
 * the call returns DLC_ERROR_INVALID_ARGUMENT; calls that return no status give "", NULL or 0.
 * Options and results. Every struct that options come in or a result is put in begins with
 * struct_size, and the caller sets it to sizeof; a NULL pointer to options, and every field that is
 * zero, means the default said beside it. A smaller struct, of an earlier version, is read and
 * filled as far as it goes; a larger one is taken if all behind the library's own is zero (results:
 * zeroed), else, and for sizes that no version has (none, more than 4096),
 * DLC_ERROR_INVALID_ARGUMENT, as for bits of flags and numbers of an enum that are unknown, and for
 * counts and limits below zero. Four structs have none, for they are closed: dlc_allocator,
 * dlc_define, dlc_binding and dlc_metric never get a further field, so that arrays of them have
 * one stride for good; what more there is to say will come by structs and calls of its own.
 * Texts. Strings are UTF-8 and NUL-terminated. Strings handed in are copied where they are kept;
 * strings handed out live as long as the object asked, or until the stated next call. Errors, log
 * lines and diagnostics show control characters, and bytes that are no UTF-8, as "\x1b". Numbers in
 * texts, read and written, have a decimal point, whatever the program's locale.
 * Failure. A call that does not return DLC_OK leaves its outputs untouched and says why in
 * dlc_last_error(context). Sizes are in bytes and times in seconds unless stated.
 * Files. Whatever is written follows links and keeps an existing file's owner and mode. A plain
 * file is replaced whole or not at all; what is none (a device, a pipe), and a file with further
 * names (hard links), is written where it stands; "-" is standard output. Bits. The same plan,
 * weights, inputs and seed give the same bits in every run, for any number of threads, and when
 * training is interrupted and resumed, on processors that run the same image of the plan. Another
 * target (x86-64-v2, v3 and v4 are three), another device, vendors' libraries of another version,
 * and another version of dlc may round differently. */

typedef struct dlc_context dlc_context;
typedef struct dlc_plan dlc_plan;       /* a compiled program; immutable */
typedef struct dlc_session dlc_session; /* a plan with its weights, inputs and memory; mutable */
typedef struct dlc_dataset dlc_dataset; /* rows of named fields in a file */
typedef struct dlc_communicator dlc_communicator; /* one rank's end of what a job's ranks meet in */

/* ==== Version and names ==== */

/* The library's version as DLC_VERSION_MAJOR * 10000 + MINOR * 100 + PATCH. */
DLC_API uint32_t dlc_version(void);
DLC_API const char *dlc_version_text(void); /* "0.1.0" */
/* "out of memory" and the like; never NULL. */
DLC_API const char *dlc_status_text(dlc_status status);

/* ==== Context ==== */

typedef enum dlc_log_level {
    DLC_LOG_INFO = 0,
    DLC_LOG_WARNING = 1,
    DLC_LOG_SHOW = 2 /* a value named in the program by `show` */
} dlc_log_level;

typedef struct dlc_context_options {
    size_t struct_size;
    const dlc_allocator *allocator; /* NULL: malloc and free; copied */
    /* One line without newline; NULL: dropped. */
    void (*log)(void *user, dlc_log_level level, const char *text);
    /* Asked between steps and compile stages: non-zero ends the call with DLC_ERROR_CANCELLED.
     * NULL: never. */
    int (*cancel)(void *user);
    /* What is done, as a share of the whole (0 to 1), between compile stages. NULL: not told. */
    void (*progress)(void *user, const char *what, double share);
    void *user; /* given to the three hooks, which are called on the calling thread only */
} dlc_context_options;

/* *out is owned by the caller: dlc_context_destroy. Fails only out of memory or on a bad
 * struct_size. */
DLC_API DLC_MUST_USE dlc_status dlc_context_create(const dlc_context_options *options,
                                                   dlc_context **out);
DLC_API void dlc_context_destroy(dlc_context *context);

/* A sentence about the last call on this context that failed, "" if none did. Valid until the next
 * call. */
DLC_API const char *dlc_last_error(const dlc_context *context);

/* Writes `n_bytes` bytes to a file as every call here does that takes a path to write. */
DLC_API DLC_MUST_USE dlc_status dlc_file_write(dlc_context *context, const char *path,
                                               const void *bytes, size_t n_bytes);

/* The diagnostics of the last compile, errors and warnings in order of the text. As text for people
 * (with ANSI colours if `color` is non-zero) or as one JSON object a line. Valid until the next
 * compile. */
DLC_API const char *dlc_diagnostics_text(const dlc_context *context, int color);
DLC_API const char *dlc_diagnostics_json(const dlc_context *context);
DLC_API int dlc_error_count(const dlc_context *context);
DLC_API int dlc_warning_count(const dlc_context *context);

/* ==== Compiling (opens libdlc-compile at the first call) ==== */

/* A value for a `const` of the program ("width" = "128"), or for a `dim`, which then is fixed. */
typedef struct dlc_define {
    const char *name, *value;
} dlc_define;

typedef enum dlc_compile_flag {
    DLC_COMPILE_CHECK = 1 << 0,    /* diagnostics only: nothing is built, *out stays NULL */
    DLC_COMPILE_INPUT_IR = 1 << 1, /* the text is IR, as `emit` prints it, instead of a program */
    DLC_COMPILE_VERIFY_EACH = 1 << 2, /* verify the IR after every pass */
    DLC_COMPILE_TIME_PASSES = 1 << 3, /* on_text gets stage "times" */
    /* on_text gets stage "explain": what was fused, and memory by buffer */
    DLC_COMPILE_EXPLAIN = 1 << 4,
    /* `precision` bf16 and f16 also on targets without such arithmetic, which otherwise compute in
     * f32: to see on a CPU how a model trains in it. */
    DLC_COMPILE_EMULATE_PRECISION = 1 << 5,
    /* The training step goes through its batch in `accumulate` equal parts, a dim of the plan that
     * is 1 unless bound (dlc_session_bind, dlc_session_fit): less memory, the same step but for
     * rounding where the loss is a mean over the rows. DLC_ERROR_UNSUPPORTED says why not. */
    DLC_COMPILE_ACCUMULATE = 1 << 6,
    /* The plan offers nothing to vendors' libraries: products and convolutions of GPUs are
     * generated kernels, fused as those want it. */
    DLC_COMPILE_NO_LIBRARIES = 1 << 7
} dlc_compile_flag;

enum { DLC_ZERO_OFF = -1 }; /* dlc_compile_options.zero */

typedef struct dlc_compile_options {
    size_t struct_size;
    const char *source_name; /* for messages and relative imports; NULL: "input" */
    const dlc_define *defines;
    size_t n_defines;
    /* "cpu", "cpu:x86-64-v3", "cpu:native" …, one image each; none: {"cpu:native"}. ",queues=2"
     * behind it: copies are scheduled on a queue of their own (docs/plan.md) */
    const char *const *targets;
    size_t n_targets;
    const char *float_type; /* "f32" (default) or "f64": what a type without name means */
    unsigned flags;         /* dlc_compile_flag */
    /* A stage to print instead of making a plan: "ast", "ir", a pass ("fuse"), "grad", "kernels",
     * "schedule", "timeline" (dlc_plan_timeline of the training step), "plan"; *out stays NULL.
     * NULL: none. */
    const char *emit;
    const char *print_after; /* a pass or "all": on_text gets the IR after it */
    const char *skip_passes; /* comma-separated, for tests; NULL: none */
    /* Receives texts: stage is `emit`, a pass, "times" or "explain". */
    void (*on_text)(void *user, const char *stage, const char *text);
    /* Reads `path` as imported by `importer`. Sets *out_text to `*out_length` bytes that stay valid
     * until the compile returns. NULL: files, relative to the importing file. */
    dlc_status (*import)(void *user, const char *importer, const char *path, const char **out_text,
                         size_t *out_length);
    void *user;
    int threads; /* for code generation; 0: as many as dlc_session_options.threads is then */
    /* Bytes that each entry should run in, at the sizes that dlc_plan_summarize assumes: values are
     * computed again instead of kept, as far as that helps; results keep their bits. What it did is
     * setting "remat". 0: no limit. */
    int64_t memory_limit;
    /* What the compile itself may use: DLC_ERROR_LIMIT when it needs more. Seconds are asked
     * between stages and whenever tables grow, never inside LLVM or a vendor's compiler, whose
     * memory does not count either. 0: no limit. */
    double compile_seconds;
    int64_t compile_bytes;
    /* Folders that files may be imported from, besides the folder of the program (of source_name)
     * and all below it. Symbolic links are followed first. With `import` set, it decides alone. */
    const char *const *import_folders;
    size_t n_import_folders;
    /* The mesh of devices that the plan is for: axes as in a program's `mesh` line
     * ("data=*,model=2", with `*` for any number), with a block behind them if that is to replace
     * the program's; "program": the program's own. NULL: one device, whatever the program says.
     * DLC_ERROR_UNSUPPORTED: an axis, or one of what follows, has nothing behind it yet. */
    const char *mesh;
    /* ZeRO level: what of optimiser state (1), gradients (2) and parameters (3) is cut among the
     * ranks of `data`. 0: as the program says; DLC_ZERO_OFF: none of it. Needs `mesh`, as what
     * follows does. */
    int zero;
    const char *schedule; /* of stages of a pipe; NULL: as the program says */
    int64_t microbatches; /* that a batch is cut into for the pipe; 0: as the program says */
    /* Whether norms, residual sums and what else lies between products that `model` cuts are cut by
     * it too, along rows: "on" wherever they can be, "auto" where it spares more than it costs,
     * "off". NULL: as the program says, else "auto". */
    const char *sequence;
    /* The type in which gradients are sent where their sums go over `data` or `replica`: "f32",
     * their own, or "bf16", half as many bytes: each rank's are rounded before they travel, summed
     * in f32, and the sum is rounded once. NULL: as the program says. */
    const char *exchange;
} dlc_compile_options;

/* Compiles a program (`length` bytes, no NUL needed). On DLC_ERROR_COMPILE see the diagnostics;
 * warnings may be there on success. *out is owned by the caller: dlc_plan_destroy.
 * DLC_ERROR_UNSUPPORTED: libdlc-compile is not installed, or the target is unknown. */
DLC_API DLC_MUST_USE dlc_status dlc_compile(dlc_context *context, const char *text, size_t length,
                                            const dlc_compile_options *options, dlc_plan **out);
/* The same from a file; source_name defaults to the path. */
DLC_API DLC_MUST_USE dlc_status dlc_compile_file(dlc_context *context, const char *path,
                                                 const dlc_compile_options *options,
                                                 dlc_plan **out);
/* The program in canonical layout, comments kept; formatting twice changes nothing. *out_text is
 * NUL-terminated and owned by the caller: dlc_text_free. */
DLC_API DLC_MUST_USE dlc_status dlc_format(dlc_context *context, const char *text, size_t length,
                                           const char *source_name, char **out_text);
DLC_API void dlc_text_free(dlc_context *context, char *text);
/* The long explanation of a diagnostic ("E0301"), of every op ("ops"), pass ("passes") or axis of a
 * mesh ("mesh"); caller
 * frees with dlc_text_free. DLC_ERROR_NOT_FOUND: no such topic. */
DLC_API DLC_MUST_USE dlc_status dlc_explain(dlc_context *context, const char *topic,
                                            char **out_text);

/* ==== Plans ==== */

typedef enum dlc_plan_flag {
    DLC_PLAN_NO_NATIVE =
        1 << 0 /* drop the code in the file and compile anew from its portable part */
} dlc_plan_flag;

/* Reads and validates a plan (the file may change or go afterwards). A plan holds code: load only
 * plans that you would run as a program. When none of its images suits this machine it is compiled
 * anew from its portable part and a note is logged. DLC_ERROR_FORMAT names the file and the byte
 * offset. */
DLC_API DLC_MUST_USE dlc_status dlc_plan_load(dlc_context *context, const char *path,
                                              unsigned flags, dlc_plan **out);
/* The same from memory; the bytes are copied. `name` is for messages (NULL: "memory"). */
DLC_API DLC_MUST_USE dlc_status dlc_plan_load_memory(dlc_context *context, const void *bytes,
                                                     size_t n_bytes, const char *name,
                                                     unsigned flags, dlc_plan **out);
/* Writes the file whole or not at all. */
DLC_API DLC_MUST_USE dlc_status dlc_plan_save(const dlc_plan *plan, const char *path);
DLC_API void dlc_plan_destroy(dlc_plan *plan);
/* The file's bytes; lent until the plan is destroyed. */
DLC_API void dlc_plan_bytes(const dlc_plan *plan, const void **out_bytes, size_t *out_n_bytes);
/* The manifest, JSON; lent by the plan. docs/plan.md lists its members. */
DLC_API const char *dlc_plan_manifest(const dlc_plan *plan);
DLC_API const char *dlc_plan_model(const dlc_plan *plan); /* the model's name */
/* The text of a setting of the `train` block ("batch", "epochs", "steps", "seed" …), or NULL. */
DLC_API const char *dlc_plan_setting(const dlc_plan *plan, const char *name);
/* The portable IR text; lent by the plan. */
DLC_API const char *dlc_plan_ir(const dlc_plan *plan);

/* An image in the plan: the whole program for one kind of machine. */
typedef struct dlc_target_info {
    size_t struct_size;           /* set by the caller */
    const char *device, *machine; /* "cpu" and "x86-64-v3"; live as long as the plan */
    size_t n_kernels;
    size_t image_bytes;
} dlc_target_info;
DLC_API size_t dlc_plan_target_count(const dlc_plan *plan);
DLC_API dlc_status dlc_plan_target(const dlc_plan *plan, size_t index, dlc_target_info *out);
/* Whether this machine can run it: DLC_ERROR_UNSUPPORTED, and the error says what is missing.
 * Another status: asking failed. */
DLC_API DLC_MUST_USE dlc_status dlc_plan_target_check(const dlc_plan *plan, size_t index);

/* A size known only at run time, of the program: what each of several ranks computes of these for
 * its own part is not among them. */
typedef struct dlc_dim_info {
    size_t struct_size; /* set by the caller */
    const char *name;
    int64_t low, high, divisor; /* bounds, both included (INT64_MAX: none); a multiple of divisor */
    int64_t nominal;            /* 0: none stated */
    /* What a summary or a bench takes where the dim is not bound: the nominal value, else of the
     * batch dim the train block's batch or 32, else the upper bound up to 65,536, else 64. */
    int64_t usual;
} dlc_dim_info;
DLC_API size_t dlc_plan_dim_count(const dlc_plan *plan);
DLC_API dlc_status dlc_plan_dim(const dlc_plan *plan, size_t index, dlc_dim_info *out);

typedef enum dlc_tensor_role {
    DLC_ROLE_INPUT = 0,
    DLC_ROLE_PARAM = 1,
    DLC_ROLE_STATE = 2, /* persists, not trained (running_mean) */
    DLC_ROLE_CACHE = 3, /* a session's own, in no weight file */
    DLC_ROLE_SLOT = 4,  /* optimiser state; "path#slot" */
    DLC_ROLE_OUTPUT = 5,
    DLC_ROLE_METRIC = 6,
    DLC_ROLE_LOSS = 7,
    DLC_ROLE_INFO = 8 /* lr, grad_norm */
} dlc_tensor_role;

enum { DLC_MAX_RANK = 16 };

typedef struct dlc_tensor_info {
    size_t struct_size; /* set by the caller */
    dlc_tensor_role role;
    const char *name;
    const char *type; /* "f32[B, 10]" */
    DLDataType dtype;
    int32_t rank;
    int64_t dims[DLC_MAX_RANK]; /* -1 where only known when dims are bound */
} dlc_tensor_info;

typedef enum dlc_purpose {
    DLC_PURPOSE_INFER = 0,
    DLC_PURPOSE_EVAL = 1,
    DLC_PURPOSE_TRAIN = 2,
    DLC_PURPOSE_INIT = 3,
    DLC_PURPOSE_OTHER = 4
} dlc_purpose;

/* An entry is one function of the plan. Wherever an entry is asked for by name, its full name
 * ("digits.train"), the part after the dot, or "infer", "eval", "train", "init" for the first of
 * that purpose will do; NULL means "infer". */
typedef struct dlc_entry_info {
    size_t struct_size; /* set by the caller */
    const char *name;
    dlc_purpose purpose;
    size_t n_tensors; /* arguments and results with a role above */
} dlc_entry_info;
DLC_API size_t dlc_plan_entry_count(const dlc_plan *plan);
DLC_API dlc_status dlc_plan_entry(const dlc_plan *plan, size_t index, dlc_entry_info *out);
DLC_API dlc_status dlc_plan_entry_tensor(const dlc_plan *plan, size_t entry, size_t index,
                                         dlc_tensor_info *out);
/* Parameters, states, caches and slots of the whole plan, each once. */
DLC_API size_t dlc_plan_variable_count(const dlc_plan *plan);
DLC_API dlc_status dlc_plan_variable(const dlc_plan *plan, size_t index, dlc_tensor_info *out);

/* A value for a dim. */
typedef struct dlc_binding {
    const char *name;
    int64_t value;
} dlc_binding;

/* What one entry takes, for given dims. */
typedef struct dlc_entry_summary {
    size_t struct_size;       /* set by the caller */
    double flops, bytes;      /* of one run: arithmetic, and memory traffic of its kernels */
    int64_t persistent_bytes; /* parameters, states, caches and slots that the entry touches */
    int64_t input_bytes;      /* inputs and run-time scalars */
    int64_t arena_bytes;      /* outputs and everything in between, packed */
    int64_t peak_bytes;       /* the sum of the three: what a session uses for tensors */
    int64_t commands;         /* launches, copies and fills (loop bodies counted once) */
    int64_t kernels;          /* different kernels among them */
} dlc_entry_summary;
/* Dims not bound take their usual size (dlc_dim_info). The same code lays out memory when the entry
 * runs. */
DLC_API DLC_MUST_USE dlc_status dlc_plan_summarize(const dlc_plan *plan, const char *entry,
                                                   const dlc_binding *bindings, size_t n_bindings,
                                                   dlc_entry_summary *out);
/* What ranks exchange in one run of an entry by commands of one sort: the same collective over the
 * same axes, that combines in the same way numbers of the same type. `while` bodies count once,
 * others as often as they run. The words that ranks tell each other before they store (32 bytes to
 * each other rank) are no commands, and not in it. */
typedef struct dlc_exchange_info {
    size_t struct_size; /* set by the caller */
    /* "all_reduce", "all_gather", "reduce_scatter", "all_to_all" or "shift"; "add", "mul", "min",
     * "max", "and" or "or", and "" where nothing is combined. Both live for ever. */
    const char *kind, *combine;
    DLDataType dtype; /* of what moves, in which it is summed; 16-bit floats are added in f32 */
    int32_t over;     /* axes of the mesh, as bits by their number from 0, as the plan has them */
    int64_t ranks, group_ranks; /* in all, and how many of them exchange with each other */
    int64_t calls;              /* commands run; one that moves two types counts for both */
    int64_t tensors;            /* that travel in them */
    int64_t elements;           /* of these tensors, whole along the axis that is gathered or cut */
    /* Sent by the first rank to others, by the closed forms of the collectives: with P bytes of all
     * elements, n ranks, and p bytes the rank's piece of 1/n: all_reduce P - p + (n - 1) p (of
     * equal pieces 2 (n - 1) / n P), all_gather (n - 1) p, reduce_scatter P - p, all_to_all all but
     * its own piece, shift P. */
    int64_t bytes;
} dlc_exchange_info;
/* How many sorts there are: 0 of one device, or where the entry is not found. */
DLC_API size_t dlc_plan_exchange_count(const dlc_plan *plan, const char *entry);
/* Sort number `index`, in the order of the entry's commands. n_ranks: DLC_ERROR_MISMATCH where the
 * plan's mesh cannot have so many; 0: the number that the mesh states, and two along an axis of
 * any size. Dims as dlc_plan_summarize takes them: of all ranks together. */
DLC_API DLC_MUST_USE dlc_status dlc_plan_exchange(const dlc_plan *plan, const char *entry,
                                                  size_t index, int64_t n_ranks,
                                                  const dlc_binding *bindings, size_t n_bindings,
                                                  dlc_exchange_info *out);
/* What one of several ranks takes for an entry: bytes that it has of its own on its device, work of
 * its own. A tensor that is cut counts with the rank's part. */
typedef struct dlc_rank_summary {
    size_t struct_size;  /* set by the caller */
    int64_t rank, ranks; /* its number from 0, and how many there are */
    int64_t last_rank;   /* ranks from this one to there take as much as it does, each */
    double flops, bytes; /* as dlc_entry_summary has them */
    int64_t parameter_bytes;
    int64_t slot_bytes;  /* optimiser state, moving averages among it */
    int64_t state_bytes; /* states and caches */
    int64_t input_bytes; /* inputs and run-time scalars */
    /* Values in between, which share the arena: of each kind the most that is there at once. */
    int64_t gradient_bytes;   /* what updates read … */
    int64_t activation_bytes; /* … kept by the forward pass for the backward pass … */
    int64_t transient_bytes;  /* … and all others, outputs among them */
    int64_t arena_bytes;      /* all three packed, for they are not there at the same times */
    int64_t peak_bytes;       /* parameters, slots, states, inputs and the arena */
    /* Host memory through which exchanges go, on a device with memory of its own; else 0. */
    int64_t staging_bytes;
    /* Of a train entry: host memory for what a checkpoint is written from while steps go on, the
     * most that any of these ranks copies; not in peak_bytes. */
    int64_t checkpoint_bytes;
} dlc_rank_summary;
/* Of rank number `rank` of `n_ranks`, which are as dlc_plan_exchange takes them; dims as
 * dlc_plan_summarize takes them: of all ranks together. A plan for one device has one rank. */
DLC_API DLC_MUST_USE dlc_status dlc_plan_summarize_rank(const dlc_plan *plan, const char *entry,
                                                        int64_t rank, int64_t n_ranks,
                                                        const dlc_binding *bindings,
                                                        size_t n_bindings, dlc_rank_summary *out);
/* A drawing of one run of the entry on all its ranks, an SVG: time to the right, as it is reckoned
 * from arithmetic, memory traffic and what is exchanged at the speeds that it names; a row a rank,
 * work told apart by forward pass, backward pass and update. Ranks and dims as
 * dlc_plan_summarize_rank takes them; DLC_ERROR_LIMIT: more than 64 ranks. The caller frees with
 * dlc_text_free. */
DLC_API DLC_MUST_USE dlc_status dlc_plan_timeline(const dlc_plan *plan, const char *entry,
                                                  int64_t n_ranks, const dlc_binding *bindings,
                                                  size_t n_bindings, char **out_text);
/* An axis of the mesh; size 0: any number, known when ranks meet. */
typedef struct dlc_axis_info {
    size_t struct_size; /* set by the caller */
    const char *name;   /* "data"; lives as long as the plan */
    int64_t size;
} dlc_axis_info;
DLC_API size_t dlc_plan_axis_count(const dlc_plan *plan); /* 0: for one device */
DLC_API dlc_status dlc_plan_axis(const dlc_plan *plan, size_t index, dlc_axis_info *out);
/* Elements of all parameters, as a number, or as an expression ("10*I + 21") when it depends on
 * dims. */
DLC_API const char *dlc_plan_parameter_text(const dlc_plan *plan);
DLC_API size_t dlc_plan_kernel_count(const dlc_plan *plan);
/* The commands, buffers and kernels of every entry as text, a command with its queue and the events
 * that it waits for and signals where they are not queue 0 and none; caller frees with
 * dlc_text_free. */
DLC_API DLC_MUST_USE dlc_status dlc_plan_describe(const dlc_plan *plan, char **out_text);

/* ==== Communicators: ranks that are processes, or threads with a context each ====
 * A job's ranks are numbered from 0 and each has a context, a communicator, a plan (the same one)
 * and a session of its own. All make the same calls on their sessions in the same order; calls that
 * run an entry, and those of which it is said below, are *collective*: no rank's returns before all
 * have come to it, and what fails on one fails on all, with the text of the rank that failed. The
 * other calls are this rank's alone, and are made by all where they change what a run does.
 * Metrics, losses, weights and outputs are those of all ranks together, and the same on each. */

typedef struct dlc_communicator_options {
    size_t struct_size;
    /* "tcp": sockets, between processes of one or several machines; those of one exchange through
     * memory that they share, where they can (else a warning says why not). "sockets": the same
     * without that memory. "mpi": messages of the MPI that
     * has started the processes, all of which take part (Open MPI or MPICH, as their launchers'
     * variables tell, or the environment variable DLC_MPI: openmpi, mpich or the path of a module).
     * It is started, and ended when the process exits, where the program has not done so; a program
     * that does asks for MPI_THREAD_MULTIPLE. Addresses and store are not needed. NULL: "tcp". */
    const char *transport;
    int64_t rank, n_ranks; /* "mpi": 0 ranks are as many, in the order, as MPI says */
    /* Where rank 0 listens: "host:port"; several, tried in turn, are separated by commas, and an
     * IPv6 address stands in brackets. Rank 0 listens on the port, on all its addresses. */
    const char *addresses;
    /* Instead of addresses: a store of texts that all ranks share. `set` returns 0 when the value
     * is there for the others; `get` fills in the value (`size` bytes, with its NUL) and returns 0,
     * or 1 when there is none yet: it is asked again. Other numbers fail the call. */
    int (*store_set)(void *user, const char *key, const char *value);
    int (*store_get)(void *user, const char *key, char *value, size_t size);
    void *user;
    const char *job; /* ranks with another text are sent away; NULL: "" */
    /* Seconds, 0 for the usual: until all ranks have come (300); without a sign of life until a
     * rank has failed (20; one that has died is known at once). */
    double meet_seconds, silence_seconds;
} dlc_communicator_options;

/* Meets the other ranks: collective. *out is owned by the caller: dlc_communicator_destroy.
 * DLC_ERROR_IO: nobody to meet, in time; DLC_ERROR_MISMATCH: another version, job or number of
 * ranks; DLC_ERROR_UNSUPPORTED: an unknown transport, or no MPI, as the text says. Starts threads;
 * no fork after it. */
DLC_API DLC_MUST_USE dlc_status dlc_communicator_create(dlc_context *context,
                                                        const dlc_communicator_options *options,
                                                        dlc_communicator **out);
/* The same over an MPI communicator of the caller's, who has started MPI with MPI_THREAD_MULTIPLE
 * and ends it, after the communicator was destroyed on all ranks: its ranks, in its order.
 * mpi_comm: the address of his MPI_Comm, `mpi_comm_bytes` its sizeof. It is duplicated, once for
 * each MPI_Comm, and may be freed afterwards. Of the options job, meet_seconds and silence_seconds
 * count, the second once MPI has duplicated it, which waits until all ranks call this; NULL: the
 * usual. DLC_ERROR_UNSUPPORTED, with what was expected and found: no MPI is
 * loaded, or one of which this library has no module; it is not started, has ended, or allows fewer
 * threads; the MPI_Comm has another size than that MPI's, is MPI_COMM_NULL or an intercommunicator.
 */
DLC_API DLC_MUST_USE dlc_status dlc_communicator_from_mpi(dlc_context *context,
                                                          const void *mpi_comm,
                                                          size_t mpi_comm_bytes,
                                                          const dlc_communicator_options *options,
                                                          dlc_communicator **out);
/* The ends of `n` ranks (1 to 256) that are threads of this process: out[r] is made from
 * contexts[r], each another, and is used by the thread that uses it. Nobody waits. */
DLC_API DLC_MUST_USE dlc_status dlc_communicator_group(dlc_context *const *contexts, size_t n,
                                                       dlc_communicator **out);
/* Sessions keep theirs alive. */
DLC_API void dlc_communicator_destroy(dlc_communicator *communicator);
DLC_API int64_t dlc_communicator_rank(const dlc_communicator *communicator); /* NULL: 0 */
DLC_API int64_t dlc_communicator_size(const dlc_communicator *communicator); /* NULL: 1 */

/* ==== Sessions ==== */

/* Of which rows of a batch a session with a communicator is given tensors and data. */
typedef enum dlc_rows {
    /* Of what is cut along the axes of data, this rank's: the batch is what all ranks bring, in the
     * order of ranks, and they may bring different numbers of rows, also none. Ranks that differ
     * along other axes bring the same. What is not cut so is given whole, the same by every rank.
     * A rank computes what the even deal gives it, whoever brings it: rows travel, before the step,
     * where one brings more or fewer than it computes (dlc_session_options.communicator). */
    DLC_ROWS_OWN = 0,
    DLC_ROWS_WHOLE = 1 /* the whole batch, the same on every rank, of which each takes its rows */
} dlc_rows;

typedef struct dlc_session_options {
    size_t struct_size;
    const dlc_binding *bindings; /* dims; what is not bound here is bound by inputs and weights */
    size_t n_bindings;
    /* "cpu"; "cuda" or "cuda:0"; "null": computes nothing, for tests. NULL or "auto": the fastest
     * that the plan has code for and this machine can run. On a device that the plan has no code
     * for it is compiled anew from its portable part, and a note is logged. With "*8" behind
     * ("cpu*8") the batch is shared by 8 ranks, threads of this process, which have the threads
     * below among them; a plan that knows no ranks is compiled anew, and a note is logged. Tensors
     * stay whole to the caller: inputs are cut, outputs put together in order. */
    const char *device;
    /* 0: OMP_NUM_THREADS where that is set, else the processors that the affinity mask allows, at
     * most the cgroup's quota. Where the system gives fewer there are fewer. Results do not depend
     * on it.
     */
    int threads;
    int has_seed; /* non-zero: `seed` replaces the train block's */
    int64_t seed;
    /* Fill every value at its birth and death with one of two patterns (1 or 2); 0: no. Results
     * must not change; slow. */
    int poison;
    int guarded; /* non-zero: every value in memory of its own, for memory checkers; slow */
    /* Non-zero: the plan's training step is to go in parts (DLC_COMPILE_ACCUMULATE); a plan that
     * was not compiled so is compiled anew from its portable part, and a note is logged. */
    int accumulate;
    int no_libraries; /* non-zero: generated kernels do what the plan offers to vendors' libraries
                       */
    /* A file to write what host and devices do when, complete after dlc_session_end_trace or when
     * the session is destroyed: Chrome's trace format (chrome://tracing, ui.perfetto.dev), commands
     * with op, kernel and place in the program; a process a rank, exchanges with the bytes that it
     * sends and the ranks of the group. Steps are run command by command then. NULL: none. Of
     * sessions with a communicator rank 0's file is that of all that write one, on its clock; what
     * dlc_session_end_trace does not bring there lies in "PATH.2" of rank 2's machine. */
    const char *trace;
    /* Non-zero: entries and dlc_weights_save use the parameters themselves. 0: where the train
     * block has `ema`, every entry but train, and dlc_weights_save, use their moving averages. */
    int raw_weights;
    /* The session is one rank of those that have met there: creating it is collective. Inputs and
     * datasets are what `rows` says; variables, weights and outputs are whole. Without `threads` a
     * rank has its share of the cores of its machine. NULL: ranks as `device` says. */
    dlc_communicator *communicator;
    /* Of several ranks: one for which the others have waited so long, or ten times as long as the
     * longest run of the entry so far if that is longer, fails for all, named in the error with the
     * step and the place in the program where each is; ten times as long in the first run on sizes
     * that are new, and where files are read or written. 0: 30 seconds, and for ever until all come
     * to a dlc_run of an entry that does not train. The call returns when all threads of this
     * process's ranks have come back; a warning is logged meanwhile. */
    double stall_seconds;
    /* A folder, made if it is missing, in which each rank keeps its last events in a file
     * ("rank-0003.journal") that stays whole when the process is killed: see dlc_journal_explain.
     * NULL: ranks keep them in memory, for messages. */
    const char *journal;
    /* Of several ranks: after every so many training steps, and before weights or a checkpoint are
     * saved, what ranks keep several times is compared by hashes: DLC_ERROR_MISMATCH where it is
     * not the same to the bit. 0: 100 steps; -1: never. */
    int64_t check_replicas;
    /* Another mesh than the plan's, as dlc_compile_options.mesh has it ("data=1,model=4",
     * "data=*"), and another ZeRO level, as dlc_compile_options.zero: the plan is compiled anew
     * from its portable part, and a note is logged. NULL and 0: the plan's own. */
    const char *mesh;
    int zero;
    /* Likewise another type in which gradients are sent, and whether rows between products are cut,
     * as dlc_compile_options has them. */
    const char *exchange, *sequence;
    int rows; /* a dlc_rows; without a communicator what is given is whole */
} dlc_session_options;

/* *out is owned by the caller: dlc_session_destroy. Parameters are zero until initialised, set or
 * loaded. DLC_ERROR_UNSUPPORTED: this machine lacks CPU features that the code needs. */
DLC_API DLC_MUST_USE dlc_status dlc_session_create(dlc_plan *plan,
                                                   const dlc_session_options *options,
                                                   dlc_session **out);
DLC_API void dlc_session_destroy(dlc_session *session);
/* Completes the session's trace, if there is one, and says whether all of it could be written:
 * DLC_ERROR_IO. Collective among ranks with a trace, whose parts rank 0 takes; where one has died,
 * or does not come, the file says that its part is missing, and a warning is logged. Destroying the
 * session completes its own part alone, and cannot say. */
DLC_API DLC_MUST_USE dlc_status dlc_session_end_trace(dlc_session *session);
/* Binds a dim for good, as options.bindings do. DLC_ERROR_MISMATCH: bound otherwise, or outside its
 * bounds. */
DLC_API DLC_MUST_USE dlc_status dlc_session_bind(dlc_session *session, const char *dim,
                                                 int64_t value);
/* What a dim of the plan is bound to for good, by options, dlc_session_bind, weights or data; -1:
 * not yet. */
DLC_API DLC_MUST_USE dlc_status dlc_session_dim(dlc_session *session, const char *dim,
                                                int64_t *out);
/* How many ranks share its work: 1 of one device. */
DLC_API int64_t dlc_session_rank_count(const dlc_session *session);
/* The session's plan: the one it was made of, or what that was compiled anew to. */
DLC_API const dlc_plan *dlc_session_plan(const dlc_session *session);
/* One line: the device, the code that runs on it, and why a faster device that the plan has code
 * for was not taken. "cpu (2 threads), code for x86-64-v3; not cuda: no driver". Lives as long as
 * the session. */
DLC_API const char *dlc_session_describe(const dlc_session *session);

/* What the journals in a folder say (dlc_session_options.journal), of a job that hangs, was killed
 * or has ended: where each rank stands, which is behind or went another way, and its last events.
 * Text for people; the caller frees it with dlc_text_free. DLC_ERROR_NOT_FOUND: there is none. */
DLC_API DLC_MUST_USE dlc_status dlc_journal_explain(dlc_context *context, const char *folder,
                                                    char **out_text);

/* -- Weights -- */

/* Gives every parameter, state and optimiser slot its initial value by the program's initialisers.
 * Collective.
 * The dims in their shapes must be bound (dlc_session_bind, dlc_session_bind_data or inputs set
 * before). */
DLC_API DLC_MUST_USE dlc_status dlc_init_weights(dlc_session *session);

typedef struct dlc_weights_options {
    size_t struct_size;
    /* Globs ("fc.*"): parameters that may be missing from the file; they keep their values. */
    const char *const *missing;
    size_t n_missing;
} dlc_weights_options;
/* Reads parameters and states from a safetensors file. Where more of their names are found behind
 * one prefix ("model.") than without, names are taken without it; one logged note says so, and how
 * many tensors of the file are ignored, the first few by name. Missing and misshapen ones are
 * listed in a DLC_ERROR_MISMATCH, and nothing is changed. DLC_ERROR_FORMAT: a damaged file or one
 * of another format; for PyTorch's own the message says how to convert it. Binds dims in parameter
 * shapes. A checkpoint's folder, or a run's, gives what dlc_weights_save would have written at that
 * step, and its counters. Collective: each rank reads the file. */
DLC_API DLC_MUST_USE dlc_status dlc_weights_load(dlc_session *session, const char *path,
                                                 const dlc_weights_options *options);
/* Writes parameters and states; the file appears whole or not at all. Collective: of sessions that
 * share a communicator each writes what it has where rank 0's path leads; where one does not see
 * that, rank 0 writes all, and a warning is logged. So it is with checkpoints. */
DLC_API DLC_MUST_USE dlc_status dlc_weights_save(dlc_session *session, const char *path);
enum { DLC_WEIGHTS_JSON = 1 << 0 };
/* What a safetensors file holds (names, types, shapes, bytes, metadata), or a checkpoint: its own
 * folder, or a run's, whose latest whole one is taken (step, seed, program, counters, files). No
 * plan is needed; every byte of a checkpoint is checked. Text, or one JSON object with
 * DLC_WEIGHTS_JSON; caller frees with dlc_text_free. */
DLC_API DLC_MUST_USE dlc_status dlc_weights_describe(dlc_context *context, const char *path,
                                                     unsigned flags, char **out_text);
/* Writes parameters, states, caches, optimiser slots and counters, the seed among them, as the
 * folder "step-N" (N: the counter "step") in the folder `path`, which is made if it is missing;
 * docs/files.md has the format. It appears whole or not at all; the one of the step before is kept,
 * earlier ones are removed. DLC_ERROR_LIMIT: another session or process is writing there.
 * DLC_ERROR_MISMATCH: a whole checkpoint of a later step is there. Collective. */
DLC_API DLC_MUST_USE dlc_status dlc_checkpoint_save(dlc_session *session, const char *path);
/* Reads the latest whole checkpoint in the folder `path` (a warning is logged for each that is
 * damaged), or the one that `path` itself is, or a single file of the old form. What is restored
 * continues with the same bits, on any device and any number of threads. DLC_ERROR_MISMATCH: of
 * another program or other shapes; nothing is changed. DLC_ERROR_NOT_FOUND, DLC_ERROR_FORMAT,
 * DLC_ERROR_IO: none, or none that is whole. Collective. */
DLC_API DLC_MUST_USE dlc_status dlc_checkpoint_load(dlc_session *session, const char *path);
/* One parameter, state, cache or slot by name, whole: lends a row-major tensor until the next call
 * on the session (collective where it is cut among ranks, so that all ranks ask for it); sets from
 * any strides, on every rank the same, shape and type must be equal. The moving average of a
 * parameter (`ema`, slot "name#ema") begins anew at the value set. */
DLC_API DLC_MUST_USE dlc_status dlc_view_variable(dlc_session *session, const char *name,
                                                  const DLTensor **out);
DLC_API DLC_MUST_USE dlc_status dlc_set_variable(dlc_session *session, const char *name,
                                                 const DLTensor *value);
/* Sets every cache back to zero. */
DLC_API DLC_MUST_USE dlc_status dlc_reset_caches(dlc_session *session);

/* -- Running -- */

/* Copies the tensor (CPU, any strides) before it returns; binds the dims in the input's shape for
 * this entry. Another type is converted where every value fits, as dlc_set_inputs does. Inputs stay
 * set for later runs. An input that other entries share by name is set for this entry only. With
 * DLC_ROWS_OWN the rows are this rank's, and how many there are is bound by all when the entry
 * runs; not collective. DLC_ERROR_MISMATCH: shape or type. */
DLC_API DLC_MUST_USE dlc_status dlc_set_input(dlc_session *session, const char *entry,
                                              const char *name, const DLTensor *value);
/* Runs an entry once on its inputs; collective. An entry that stores (train; eval and infer where
 * state is written, on the session's copy) stores only if the whole run succeeded.
 * DLC_ERROR_NOT_FOUND: an input is not set. DLC_ERROR_FAULT: a check of the program failed; the
 * message names file, line, index and bound. DLC_ERROR_NON_FINITE: loss, gradients or state, and
 * nothing was stored; or the update of a parameter or optimiser state, and it was. With
 * DLC_ROWS_OWN: DLC_ERROR_MISMATCH where the batch is fixed at another number of rows than all
 * ranks bring, or ranks that compute the same rows bring others. */
DLC_API DLC_MUST_USE dlc_status dlc_run(dlc_session *session, const char *entry);
/* Lends an output of the last run (row-major), whole, until the next call on the session. Of ranks
 * that have a part each: collective. */
DLC_API DLC_MUST_USE dlc_status dlc_view_output(dlc_session *session, const char *entry,
                                                const char *name, const DLTensor **out);
/* A copy that outlives the session; the caller calls (*out)->deleter(*out). name NULL: the first
 * output. Collective as dlc_view_output. */
DLC_API DLC_MUST_USE dlc_status dlc_take_output(dlc_session *session, const char *entry,
                                                const char *name, DLManagedTensorVersioned **out);

/* Tensor memory that a session holds for an entry, as it was allocated: what dlc_plan_summarize
 * foretells for the same dims. The arena is shared by all entries and as large as the largest that
 * ran. */
typedef struct dlc_memory {
    size_t struct_size;                                             /* set by the caller */
    int64_t persistent_bytes, input_bytes, arena_bytes, peak_bytes; /* peak: the sum */
    /* Beside tensors, for the whole session: its tables, kernels' scratch, constants that had to be
     * copied to the device, and what the device takes for itself, as far as it can be told. */
    int64_t overhead_bytes;
} dlc_memory;
DLC_API DLC_MUST_USE dlc_status dlc_session_memory(dlc_session *session, const char *entry,
                                                   dlc_memory *out);

/* A number of the last run. Metrics written `a over b` come divided. */
typedef struct dlc_metric {
    const char *name; /* lives as long as the plan */
    double value;
    dlc_tensor_role role; /* METRIC, LOSS or INFO */
} dlc_metric;
/* Fills up to `capacity` and sets *out_count to how many there are. */
DLC_API DLC_MUST_USE dlc_status dlc_metrics(dlc_session *session, const char *entry,
                                            dlc_metric *metrics, size_t capacity,
                                            size_t *out_count);

/* Run-time scalars: "step", "steps", "epoch", "steps_per_epoch", "seed" are whole numbers, "lr"
 * (nan: the program's schedule) and "set.<name>" are not. Shared by all entries. "steps", the
 * planned length, begins as the train block's `steps`; without that, and "steps_per_epoch" always,
 * it is unknown until it is set here or dlc_train learns it from the data: there is no such counter
 * then, and running an entry that reads it is DLC_ERROR_NOT_FOUND. */
DLC_API DLC_MUST_USE dlc_status dlc_set_counter(dlc_session *session, const char *name,
                                                int64_t value);
DLC_API DLC_MUST_USE dlc_status dlc_get_counter(dlc_session *session, const char *name,
                                                int64_t *out);
DLC_API DLC_MUST_USE dlc_status dlc_set_scalar(dlc_session *session, const char *name,
                                               double value);

typedef struct dlc_step_info {
    size_t struct_size;   /* set by the caller */
    int64_t step, steps;  /* steps done, and planned in all */
    int64_t epoch;        /* from 0 */
    double loss;          /* sum of the program's losses */
    double lr, grad_norm; /* nan where the program does not tell them */
    double seconds;       /* of this step, data included when training by dlc_train */
    int64_t rows;         /* of the batch, of all ranks */
    /* Every loss, metric and rate of the step by name, as dlc_metrics gives them; lent until the
     * session is destroyed, overwritten by the next step. */
    const dlc_metric *metrics;
    size_t n_metrics;
} dlc_step_info;
/* Runs the train entry on its inputs, as dlc_run, and counts the step up. out may be NULL. */
DLC_API DLC_MUST_USE dlc_status dlc_train_step(dlc_session *session, dlc_step_info *out);

/* ==== Data ==== */

typedef struct dlc_dataset_options {
    size_t struct_size;
    const char *format; /* "npz", "npy", "csv", "idx", "safetensors", "text"; NULL: by the file's
                           name and content */
    int64_t window;     /* text and token files: rows are windows of this many elements … */
    int64_t stride; /* … this far apart (0: window), fields "tokens" and "targets", the latter one
                       further */
    /* element type of a raw token file: "u8" (default), "u16", "u32", "i32"; ids are i32 */
    const char *dtype;
    const char *name; /* field name of a file that has none (npy, idx); NULL: the file's stem */
} dlc_dataset_options;
/* Opens a file of rows: every field has the rows as its first axis. `path` may be several files
 * joined by commas, each optionally "field=path", whose fields together make the dataset. *out is
 * owned by the caller. */
DLC_API DLC_MUST_USE dlc_status dlc_dataset_open(dlc_context *context, const char *path,
                                                 const dlc_dataset_options *options,
                                                 dlc_dataset **out);
/* From tensors in memory (CPU, any strides); copied. */
DLC_API DLC_MUST_USE dlc_status dlc_dataset_from_tensors(dlc_context *context,
                                                         const char *const *names,
                                                         const DLTensor *const *tensors,
                                                         size_t count, dlc_dataset **out);
DLC_API void dlc_dataset_destroy(dlc_dataset *dataset);
DLC_API int64_t dlc_dataset_rows(const dlc_dataset *dataset);
DLC_API size_t dlc_dataset_field_count(const dlc_dataset *dataset);
/* name, dtype, rank and dims (rows first); role is INPUT. */
DLC_API dlc_status dlc_dataset_field(const dlc_dataset *dataset, size_t index,
                                     dlc_tensor_info *out);
/* Copies `count` rows of a field, row-major, into `out` of `out_bytes` bytes (exactly). */
DLC_API DLC_MUST_USE dlc_status dlc_dataset_read(dlc_dataset *dataset, const char *field,
                                                 const int64_t *rows, int64_t count, void *out,
                                                 size_t out_bytes);
/* Sets every input of the entry from the fields of the same names; types are converted only where
 * every value fits: integers to integers that hold them and to floats, floats to other floats
 * (rounded) and, if whole, to integers. The rows are the batch, or with DLC_ROWS_OWN this rank's,
 * of a dataset of its own; not collective. DLC_ERROR_MISMATCH names file, field, row and value. */
DLC_API DLC_MUST_USE dlc_status dlc_set_inputs(dlc_session *session, const char *entry,
                                               dlc_dataset *dataset, const int64_t *rows,
                                               int64_t count);
/* Binds, for good, the dims of the entry's inputs other than the batch dim, from the dataset's
 * shapes. */
DLC_API DLC_MUST_USE dlc_status dlc_session_bind_data(dlc_session *session, const char *entry,
                                                      const dlc_dataset *dataset);

/* A tensor in a file: NPY; or "file.npz:name", "file.safetensors:name". Deleter as in
 * dlc_take_output. */
DLC_API DLC_MUST_USE dlc_status dlc_tensor_read(dlc_context *context, const char *path,
                                                DLManagedTensorVersioned **out);
DLC_API DLC_MUST_USE dlc_status dlc_tensor_write(dlc_context *context, const char *path,
                                                 const DLTensor *tensor); /* NPY */

/* ==== Training and evaluating over data ==== */

typedef enum dlc_resume {
    DLC_RESUME_NO = 0,
    /* Go on from the latest whole checkpoint where there is one. DLC_ERROR_MISMATCH, with the
     * differences by name: it is of another program (the IR before passes), seed, training data,
     * batch or planned length. Target, threads and the plan's bytes may differ. */
    DLC_RESUME = 1,
    DLC_RESUME_FORCE = 2 /* the same in spite of differences, which a logged warning names */
} dlc_resume;

typedef struct dlc_train_options {
    size_t struct_size;
    dlc_dataset *data;      /* required; lent for the call; see dlc_train for ranks' own */
    dlc_dataset *eval_data; /* evaluated after every epoch and at the end; NULL: not */
    int64_t epochs,
        steps;          /* planned length, one of them; 0 both: the train block's, else one epoch */
    int64_t batch;      /* rows of a step, of all ranks; 0: the train block's, else 32 */
    int64_t eval_batch; /* 0: as batch */
    int64_t eval_every; /* steps; 0: every epoch */
    double lr;          /* > 0: this constant instead of the schedule */
    int64_t stop_after; /* > 0: stop after this many steps in all, without changing the planned
                           length */
    /* A folder (made if missing) for checkpoints as dlc_checkpoint_save writes them, which no other
     * run writes to meanwhile; NULL: none. One that holds checkpoints is refused
     * (DLC_ERROR_MISMATCH) unless `resume` or `overwrite` says what to do with them. Steps go on
     * while one is written, from a copy that is made at its step where there is memory for it; an
     * error ends the training after the next step, and dlc_train returns when none is under way. */
    const char *checkpoint;
    int64_t checkpoint_every; /* steps; 0: every epoch; always at the end */
    int resume;               /* a dlc_resume */
    int keep_weights; /* non-zero: start from the session's weights instead of initialising them */
    /* After every step, and after every evaluation. Returning non-zero ends the training after this
     * step as stop_after does. In on_step the session is as this step left it; steps are waited for
     * one by one. NULL: not called. */
    int (*on_step)(void *user, const dlc_step_info *info);
    int (*on_eval)(void *user, const dlc_step_info *info, const dlc_metric *metrics, size_t count);
    void *user;
    int overwrite; /* non-zero, and not resuming: checkpoints in the folder are removed first */
    /* After every step too, in order, but up to two steps late, which lets the device go on without
     * waiting for the host: with on_step every step is waited for. It may destroy objects and call
     * nothing else of this context: DLC_ERROR_INVALID_ARGUMENT. What training does does not depend
     * on it. NULL: not called. */
    void (*on_result)(void *user, const dlc_step_info *info);
} dlc_train_options;

/* What a training step takes, and has. */
typedef struct dlc_fit {
    size_t struct_size;   /* set by the caller */
    int64_t batch;        /* rows of a step … */
    int64_t parts;        /* … computed in so many equal parts, whose gradients are added up */
    int64_t needed_bytes; /* parameters, optimiser state, inputs and those that dlc_train reads
                             ahead, the arena and scratch */
    int64_t limit_bytes;  /* what was given, else what the device has left, less a reserve */
} dlc_fit;
/* Finds the fewest equal parts in which a training step of `batch` rows (0: the train block's, else
 * 32) fits `limit_bytes` (0: what is free on the device), and binds them for good. The dims of the
 * data must be bound (dlc_session_bind_data). DLC_ERROR_UNSUPPORTED: parts are needed and the plan
 * has none: see dlc_session_options.accumulate. DLC_ERROR_LIMIT: not even row by row; *out is
 * filled in both cases, with what one part takes. */
DLC_API DLC_MUST_USE dlc_status dlc_session_fit(dlc_session *session, int64_t batch,
                                                int64_t limit_bytes, dlc_fit *out);

typedef struct dlc_train_result {
    size_t struct_size; /* set by the caller */
    int64_t steps_done; /* in all, also before resuming */
    int64_t steps;      /* planned */
    int finished;       /* steps_done == steps */
    double last_loss;
    double seconds;
} dlc_train_result;
/* Trains. Rows are shuffled anew every epoch by the seed; the last partial batch of an epoch is
 * dropped. The same seed, data and plan give the same bits, also when interrupted and resumed. A
 * cancel hook that fires ends the call after the current step, checkpoint written, with
 * DLC_ERROR_CANCELLED; *out is then filled too. Collective.
 *
 * With DLC_ROWS_OWN the data are this rank's own rows, which no other has (but ranks that compute
 * the same rows). Each rank brings to every step as many rows as it computes of `batch`, in the
 * order in which one device would take its rows: shuffled by seed and epoch. An epoch has as many
 * steps as the rank with the fewest rows has rows for; the others leave some out, other ones in
 * each epoch. DLC_ERROR_MISMATCH: a rank has not the rows of one step. A checkpoint belongs to the
 * data of all ranks in their order. */
DLC_API DLC_MUST_USE dlc_status dlc_train(dlc_session *session, const dlc_train_options *options,
                                          dlc_train_result *out);
/* Runs the eval entry over all rows, the last partial batch included; means weighted by rows, `a
 * over b` summed first. batch 0: the train block's, else 32. Loss and metrics as dlc_metrics gives
 * them. Collective. With DLC_ROWS_OWN the data are this rank's own rows, of which it brings its
 * part to each batch, at least one, until every row of all ranks was taken once: a rank with fewer
 * rows, or none, brings none to the last batches. */
DLC_API DLC_MUST_USE dlc_status dlc_evaluate(dlc_session *session, dlc_dataset *dataset,
                                             int64_t batch, dlc_metric *metrics, size_t capacity,
                                             size_t *out_count);

/* ==== Measuring ==== */

typedef struct dlc_bench_options {
    size_t struct_size;
    int64_t warmup;          /* runs before measuring; 0: 3 */
    int64_t repeats;         /* 0: enough for `seconds`, at least 5 */
    double seconds;          /* 0: 2 */
    const dlc_dataset *data; /* lent for the call: its first batch is the input; NULL: none */
} dlc_bench_options;
typedef struct dlc_bench_result {
    size_t struct_size; /* set by the caller */
    int64_t repeats;
    double median, p10, p90; /* seconds of one run */
    int64_t rows;            /* the batch; 0: no batch dim */
    double flops, bytes;     /* of one run */
    double peak_flops,
        peak_bytes; /* per second, measured on this machine with the session's threads */
} dlc_bench_result;
/* Times an entry. Dims not bound take their usual size (dlc_dim_info). Without data, inputs
 * not set get random floats of [0, 1) and random integers of the whole range that the program
 * takes: bytes 0 to 255, indices up to the axis that they index, found by running the entry.
 * Weights change when the train entry is timed. */
DLC_API DLC_MUST_USE dlc_status dlc_bench(dlc_session *session, const char *entry,
                                          const dlc_bench_options *options, dlc_bench_result *out);

#ifdef __cplusplus
}
#endif

#endif
