/* See border.h. */
#include "runtime/border.h"

#include "ir/base/number.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>

/* No version's struct is larger: a larger struct_size is no size, and is not believed. */
enum { STRUCT_MOST = 4096 };

/* -- Who is inside */

static dlc_context *enter(dlc_context *context) {
    if (!context) {
        return NULL;
    }
    uintptr_t self = (uintptr_t)pthread_self(), nobody = 0;
    if (atomic_load_explicit(&context->inside, memory_order_relaxed) != self &&
        !atomic_compare_exchange_strong_explicit(&context->inside, &nobody, self,
                                                 memory_order_acquire, memory_order_relaxed)) {
        return NULL; /* the error's text is the other thread's */
    }
    context->depth++;
    return context;
}

dlc_context *border_enter(dlc_context *context) {
    if (!enter(context)) {
        return NULL;
    }
    if (context->closed) { /* by a call of this thread, which is still inside */
        context_fail(context, DLC_ERROR_INVALID_ARGUMENT,
                     "a call within %s, which may make none: steps are on their way",
                     context->closed);
        context->depth--;
        return NULL;
    }
    return context;
}

static void context_free(dlc_context *context) {
    dlc_allocator allocator = context->allocator;
    context_empty(context);
    memory_free(&allocator, context);
}

void border_leave(dlc_context **held) {
    dlc_context *context = *held;
    if (!context) {
        return;
    }
    while (context->depth == 1 && context->ending) {
        ContextChild *child = context->ending;
        context->ending = child->next;
        child->end(child);
    }
    if (--context->depth > 0) {
        return;
    }
    if (context->ended && context->n_children == 0) {
        context_free(context);
    } else {
        atomic_store_explicit(&context->inside, 0, memory_order_release);
    }
}

dlc_status border_missing(dlc_context *context, const char *what) {
    return context_fail(context, DLC_ERROR_INVALID_ARGUMENT, "%s is NULL", what);
}

/* -- Numbers */

bool border_number(dlc_context *context, const char *what, int64_t given, int64_t low,
                   int64_t high) {
    if (given >= low && given <= high) {
        return true;
    }
    if (high == INT64_MAX) {
        context_fail(context, DLC_ERROR_INVALID_ARGUMENT,
                     "%s is %" PRId64 "; %" PRId64 " is the least", what, given, low);
    } else {
        context_fail(context, DLC_ERROR_INVALID_ARGUMENT,
                     "%s is %" PRId64 "; it is one of %" PRId64 " to %" PRId64, what, given, low,
                     high);
    }
    return false;
}

bool border_amount(dlc_context *context, const char *what, double given) {
    if (isfinite(given) && given >= 0) {
        return true;
    }
    context_fail(context, DLC_ERROR_INVALID_ARGUMENT, "%s is %s; it is finite and not below 0",
                 what, number_text(given, 6).text);
    return false;
}

bool border_flags(dlc_context *context, const char *what, unsigned given, unsigned known) {
    if ((given & ~known) == 0) {
        return true;
    }
    context_fail(context, DLC_ERROR_INVALID_ARGUMENT,
                 "%s has the unknown bits %#x; the known ones are %#x", what, given & ~known,
                 known);
    return false;
}

/* -- Objects and their context */

/* Another thread's call is waited for: an object cannot end under it. A callback that may make no
 * call may end objects all the same: they live until the call that it is of returns. */
static dlc_context *enter_waiting(dlc_context *context) {
    while (!enter(context)) {
        sched_yield();
    }
    return context;
}

void border_child_begin(dlc_context *context, ContextChild *child,
                        void (*end)(ContextChild *child)) {
    child->end = end;
    context->n_children++;
}

void border_child_ended(dlc_context *context) {
    context->n_children--;
}

void border_child_end(dlc_context *context, ContextChild *child) {
    enter_waiting(context);
    if (context->depth == 1) {
        child->end(child);
    } else if (!child->ends) {
        child->ends = true;
        child->next = context->ending;
        context->ending = child;
    }
    border_leave(&context);
}

void dlc_context_destroy(dlc_context *context) {
    if (!context) {
        return;
    }
    enter_waiting(context);
    context->ended = true;
    context->log = NULL;
    context->cancel = NULL;
    context->progress = NULL;
    border_leave(&context);
}

/* -- Structs of other versions */

/* The sizes that structs have: whole words, the first of which is struct_size itself. */
static bool size_sound(size_t size) {
    return size >= sizeof(size) && size % sizeof(size) == 0 && size <= STRUCT_MOST;
}

static bool refuse(dlc_context *context, const char *what, size_t size) {
    context_fail(context, DLC_ERROR_INVALID_ARGUMENT,
                 size_sound(size) ? "%s: struct_size %zu has fields set that this version of the "
                                    "library does not know"
                                  : "%s: struct_size %zu is no size of it: set it to sizeof",
                 what, size);
    return false;
}

bool border_options(dlc_context *context, const char *what, void *out, size_t out_size,
                    const void *options) {
    memset(out, 0, out_size);
    if (!options) {
        return true;
    }
    size_t given;
    memcpy(&given, options, sizeof(given));
    if (!size_sound(given)) {
        return refuse(context, what, given);
    }
    for (size_t i = out_size; i < given; i++) {
        if (((const char *)options)[i] != 0) {
            return refuse(context, what, given);
        }
    }
    memcpy(out, options, given < out_size ? given : out_size);
    return true;
}

bool border_result(dlc_context *context, const char *what, const void *result) {
    size_t given = sizeof(given);
    if (result) {
        memcpy(&given, result, sizeof(given));
    }
    return size_sound(given) || refuse(context, what, given);
}

bool border_result_needed(dlc_context *context, const char *what, const void *result) {
    if (!result) {
        border_missing(context, "out");
        return false;
    }
    return border_result(context, what, result);
}

void border_result_write(void *result, const void *value, size_t size) {
    if (!result) {
        return;
    }
    size_t given;
    memcpy(&given, result, sizeof(given));
    memcpy(result, value, given < size ? given : size);
    if (given > size) {
        memset((char *)result + size, 0, given - size);
    }
    memcpy(result, &given, sizeof(given));
}
