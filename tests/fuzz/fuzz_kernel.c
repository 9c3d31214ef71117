/* Fuzzes the parser of kernels' text: no input may crash, hang or leak, and what is accepted prints
 * to a text that is read back to the same text. */
#include "codegen/kernel.h"
#include "tests/fuzz/fuzz_accepted.h"
#include "tests/ops/kernel_text.h"

enum { ARENA_LIMIT = 256 << 20 };

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    return LLVMFuzzerMutate(data, fuzz_start(data, size, max_size, seed), max_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Boundary boundary = {0};
    volatile bool accepted = false;
    Context context;
    Arena arena;
    Str first, second;
    str_init(&first, NULL);
    str_init(&second, NULL);
    context_init(&context, NULL, &boundary);
    context.arena.limit = ARENA_LIMIT;
    arena_init(&arena, NULL, &boundary);
    arena.limit = ARENA_LIMIT;
    if (setjmp(boundary.jump) == 0 &&
        kernel_text_again(&context, &arena, (const char *)data, size, &first)) {
        accepted = true;
        if (!kernel_text_again(&context, &arena, str_text(&first), first.length, &second) ||
            strcmp(str_text(&first), str_text(&second)) != 0) {
            fprintf(stderr, "prints differently:\n%s\n---\n%s\n", str_text(&first),
                    str_text(&second));
            abort();
        }
    }
    str_finish(&first);
    str_finish(&second);
    arena_finish(&arena);
    context_finish(&context);
    fuzz_note(data, size, accepted);
    return 0;
}
