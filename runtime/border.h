/* The border to the caller: every public call passes it. Handles that are NULL, structs of another
 * version's size, calls from a second thread, and objects destroyed too early are met here, so that
 * the code behind it need not ask. */
#ifndef DLC_RUNTIME_BORDER_H
#define DLC_RUNTIME_BORDER_H

#include "runtime/context.h"

/* Begins a public call that works on `context` or on what was made from it, as its first statement:
 * ends the call where the handle is NULL or another thread is in a call on the same context. The
 * context is left again where the function ends. Calls may nest on one thread. */
#define BORDER_CALL(given)                                                                         \
    __attribute__((cleanup(border_leave))) dlc_context *border_context = border_enter(given);      \
    if (!border_context) {                                                                         \
        return DLC_ERROR_INVALID_ARGUMENT;                                                         \
    }

/* NULL: `context` is, or another thread is in it, or a callback that may make no call. */
dlc_context *border_enter(dlc_context *context);
void border_leave(dlc_context **context);

/* A call that was given NULL for something that it needs: sets the error and returns the status. */
dlc_status border_missing(dlc_context *context, const char *what);

/* Whether a number from the caller lies in its bounds, both included, an amount is finite and not
 * negative, and flags have no bits but the known ones; sets the error where not. `what` names the
 * argument or the field. */
bool border_number(dlc_context *context, const char *what, int64_t given, int64_t low,
                   int64_t high);
bool border_amount(dlc_context *context, const char *what, double given);
bool border_flags(dlc_context *context, const char *what, unsigned given, unsigned known);

/* Counts the object among those that keep the context's memory alive. `end` frees it and calls
 * border_child_ended. */
void border_child_begin(dlc_context *context, ContextChild *child,
                        void (*end)(ContextChild *child));
/* Ends it now; within a hook or a callback of a call on the context, when that call returns. */
void border_child_end(dlc_context *context, ContextChild *child);
void border_child_ended(dlc_context *context);

/* Copies an options struct of the caller's size over the zeroed `out`: fields that the caller's
 * version lacks stay zero. False, with the error set, when struct_size is none, or larger than ours
 * with a rest that is not zero; `what` names the struct. NULL options: zeros. */
bool border_options(dlc_context *context, const char *what, void *out, size_t out_size,
                    const void *options);
/* Whether a struct to be filled in has a struct_size; sets the error where not. NULL will do. */
bool border_result(dlc_context *context, const char *what, const void *result);
/* The same for a struct that the call cannot do without: NULL is none. */
bool border_result_needed(dlc_context *context, const char *what, const void *result);
/* Fills in as much of it as the caller's version has, and zeros what ours lacks. NULL: nothing. */
void border_result_write(void *result, const void *value, size_t size);

#endif
