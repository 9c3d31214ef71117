/* Fuzzes the parser of kernels' text: no input may crash, hang or leak, and what is accepted prints
 * to a text that is read back to the same text. */
#include "codegen/kernel.h"
#include "tests/fuzz/fuzz_accepted.h"

enum { ARENA_LIMIT = 256 << 20 };

static bool read_kernels(Context *context, Arena *arena, const char *text, size_t length,
                         Str *printed) {
    KernelFile file;
    const Source *source = context_source(context, "fuzz.k", text, length, false);
    if (!kernel_parse(context, arena, source, &file)) {
        return false;
    }
    module_print_head(file.module, printed);
    for (int32_t i = 0; i < file.n_kernels; i++) {
        kernel_print(file.kernels[i], printed);
    }
    return true;
}

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
        read_kernels(&context, &arena, (const char *)data, size, &first)) {
        accepted = true;
        if (!read_kernels(&context, &arena, str_text(&first), first.length, &second) ||
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
