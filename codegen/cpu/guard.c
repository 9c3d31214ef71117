/* See guard.h. A handler of LLVM must not return, so it jumps to where the thread entered the
 * guard. What failed is C++ without exceptions; between there and here no destructor is waited for,
 * and nothing of ours is held. */
#include "codegen/cpu/guard.h"

#include "codegen/cpu/emit.h"

#include <llvm-c/ErrorHandling.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* Of LLVM and of the C++ library; their C interface has no such calls. */
typedef void (*BadAllocHandler)(void *user, const char *reason, bool crash);
typedef void (*NewHandler)(void);
extern void llvm_install_bad_alloc_handler(BadAllocHandler handler, void *user) __asm__(
    "_ZN4llvm31install_bad_alloc_error_handlerEPFvPvPKcbES0_") __attribute__((weak));
extern NewHandler cxx_set_new_handler(NewHandler handler) __asm__("_ZSt15set_new_handlerPFvvE")
    __attribute__((weak));

typedef struct Guard {
    jmp_buf back;
    dlc_status status;
    char reason[160];
} Guard;

static _Thread_local Guard *volatile entered;
/* LLVM's state is the process's, so this is too. */
static atomic_bool disabled;
static _Atomic(NewHandler) host_handler;

static void leave(dlc_status status, const char *reason) {
    Guard *guard = entered;
    entered = NULL;
    atomic_store(&disabled, true);
    guard->status = status;
    snprintf(guard->reason, sizeof(guard->reason), "%s", reason);
    longjmp(guard->back, 1);
}

static void on_fatal(const char *reason) {
    if (entered) {
        bool memory = strstr(reason, "memory") || strstr(reason, "llocation");
        leave(memory ? DLC_ERROR_OUT_OF_MEMORY : DLC_ERROR_INTERNAL, reason);
    }
}

static void on_bad_alloc(void *user, const char *reason, bool crash) {
    (void)user;
    (void)crash;
    if (entered) {
        leave(DLC_ERROR_OUT_OF_MEMORY, reason);
    }
}

/* `new` found no memory. A thread that is not in here is the host's, and gets what the host had. */
static void on_new(void) {
    if (entered) {
        leave(DLC_ERROR_OUT_OF_MEMORY, "no memory for an object");
    }
    cxx_set_new_handler(atomic_load(&host_handler));
}

void cpu_guard_start(void) {
    LLVMInstallFatalErrorHandler(on_fatal);
    if (llvm_install_bad_alloc_handler) {
        llvm_install_bad_alloc_handler(on_bad_alloc, NULL);
    }
}

static dlc_status refused(char *message) {
    snprintf(message, CPU_MESSAGE_BYTES,
             "LLVM failed earlier in this process; compiling for processors is disabled in it");
    return DLC_ERROR_UNSUPPORTED;
}

dlc_status cpu_guarded(void (*work)(void *argument), void *argument, char *message) {
    if (atomic_load(&disabled)) {
        return refused(message);
    }
    if (cxx_set_new_handler) {
        NewHandler before = cxx_set_new_handler(on_new);
        if (before != on_new) {
            atomic_store(&host_handler, before);
        }
    }
    Guard guard = {.status = DLC_OK};
    if (setjmp(guard.back) == 0) {
        entered = &guard;
        work(argument);
    }
    entered = NULL;
    if (guard.status != DLC_OK) {
        TARGET_INTERNAL(message,
                        "LLVM failed (%s); compiling for processors is disabled in this process",
                        guard.reason);
    }
    return guard.status;
}
