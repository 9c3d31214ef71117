/* Contractions that cuBLASLt can do: see library.h. */
#include "codegen/library.h"

bool library_matmul(Context *context, Arena *arena, const Machine *machine, const Op *fusion,
                    LibraryCall *out, const char **why) {
    (void)context;
    (void)arena;
    (void)machine;
    (void)fusion;
    (void)out;
    (void)why;
    return false;
}
