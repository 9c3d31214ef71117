/* The front end's entry: the text of a `.dl` program to an IR module. Parsing is parse/parse.h's,
 * the syntax tree is parse/ast.h's; what lies between (names, sizes, shapes, calls, training) is
 * elaborate/elaborate.h's.
 */
#ifndef DLC_FRONTEND_FRONTEND_H
#define DLC_FRONTEND_FRONTEND_H

#include "ir/ir.h"

/* The longest text that is read: a program, or a file that it imports. */
enum { FRONTEND_MAX_BYTES = 16 << 20 };

/* `-D name=value`: sets a const of the root file or fixes a dim. The value is any constant
 * expression. */
typedef struct FrontendDefine {
    const char *name, *value;
} FrontendDefine;

/* Finds the text of `import "path"` written in `importer` (made with context_source), or returns
 * NULL with *out_problem saying why ("No such file or directory"). */
typedef const Source *(*FrontendImport)(void *user, Context *context, const Source *importer,
                                        const char *path, const char **out_problem);

typedef struct FrontendOptions {
    const Source *source; /* the root file */
    const FrontendDefine *defines;
    int32_t n_defines;
    FrontendImport import; /* NULL: every import is an error */
    void *import_user;
    DType default_float; /* DT_F32 or DT_F64: what `[shape]` and weak floats are */
} FrontendOptions;

/* The program's module: <model>.infer, .eval, .train (with a train block), .init, and one Func an
 * `entry`. NULL after diagnostics in the context; warnings may be there on success too. */
Module *frontend_compile(Context *context, const FrontendOptions *options);

/* Everything frontend_compile reports, for files that need not hold a model (libraries); true when
 * there was no error. */
bool frontend_check(Context *context, const FrontendOptions *options);

/* For tests: frontend_check, and what it tells of functions that nobody calls told of all, those
 * that are called and the library's: nothing, of a program that compiles. */
bool frontend_check_all(Context *context, const FrontendOptions *options);

#endif
