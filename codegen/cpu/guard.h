/* LLVM's fatal errors: it ends the process where memory runs out or where it finds a mistake of its
 * own. Under the guard such an end becomes a status, and LLVM is not called again in this process:
 * what it held, locks among it, is abandoned as it was. */
#ifndef DLC_CODEGEN_CPU_GUARD_H
#define DLC_CODEGEN_CPU_GUARD_H

#include "dlc/dlc.h"

/* Installs the handlers; once, before LLVM is used. */
void cpu_guard_start(void);
/* Calls work(argument) on this thread. DLC_ERROR_OUT_OF_MEMORY, DLC_ERROR_INTERNAL: LLVM met its
 * end in it; DLC_ERROR_UNSUPPORTED: it did before. `message` (CPU_MESSAGE_BYTES) says so. */
dlc_status cpu_guarded(void (*work)(void *argument), void *argument, char *message);

#endif
