/* Inside the driver: one compile's state and what its parts share. compile.c goes through the
 * stages; import.c finds the files of a program; code.c makes the code of one target. */
#ifndef DLC_DRIVER_DRIVER_H
#define DLC_DRIVER_DRIVER_H

#include "codegen/schedule/plan_write.h"
#include "codegen/target.h"
#include "driver/compile.h"
#include "ir/base/file.h"

enum { MAX_TARGETS = 16, MAX_IMPORTS = 64 };

/* A file that was read, the program itself among them (with an empty view). */
typedef struct Import {
    FileView view;
    const char *real; /* its path without links and dots */
    const Source *source;
} Import;

/* One call's state. Fields that are freed after a jump are set before anything that may jump;
 * volatile is not needed because the struct lives in the caller's frame and is reached by pointer.
 */
typedef struct Driver {
    CompileCall *call;
    const dlc_compile_options *options;
    Boundary boundary;
    Context context;
    Arena scratch;
    Module *module;
    Str plan; /* the finished bytes */
    Str text; /* for on_text */
    TargetImage images[MAX_TARGETS];
    Str troubled; /* kernels that do not fit their registers, over all targets */
    Import imports[MAX_IMPORTS];
    int n_imports;
    bool done; /* an emit stage was reached: stop without a plan */
} Driver;

/* Ends the compile with `message`. */
_Noreturn void driver_leave(Driver *d, dlc_status status, const char *message);
/* Between stages: tells progress, asks whether to stop. */
void driver_stage(Driver *d, const char *what, double share);
bool driver_emits(const Driver *d, const char *name);
/* Hands d->text to the caller as stage `name`, and clears it. */
void driver_give_text(Driver *d, const char *name);
/* Leaves if errors were reported. */
void driver_check(Driver *d);

/* FrontendOptions.import of a Driver (`user`): reads the file that `importer` names, once whatever
 * names it goes by; NULL: it cannot be, for the reason in *out_problem. */
const Source *import_source(void *user, Context *context, const Source *importer, const char *path,
                            const char **out_problem);

bool driver_pass_known(const char *name);
/* Leaves if options name a stage or a pass that is none. */
void driver_check_names(Driver *d);

/* The targets to compile for, each once: what the user names may stand for several. */
size_t driver_targets(Driver *d, const char *out[MAX_TARGETS]);
/* "cpu:x86-64-v3" -> target and machine. */
const Target *driver_target(Driver *d, const char *text, Machine *machine);
/* Schedule, kernels and image of target `number` into the plan; d->done if they were only shown. */
void driver_code(Driver *d, PlanWriter *writer, const Target *target, const Machine *machine,
                 int number);

#endif
