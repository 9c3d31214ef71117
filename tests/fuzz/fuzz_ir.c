/* Fuzzes the IR text parser: no input may crash, hang or leak, and what is accepted prints to a
 * text that is read back to the same text. */
#include "ir/ir.h"
#include "tests/fuzz/fuzz_accepted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_LIMIT = 256 << 20 };

static void check_round_trip(Context *context, Module *module, Str *first, Str *second) {
    module_print(module, first);
    const Source *source =
        context_source(context, "again.ir", str_text(first), first->length, false);
    Module *again = module_parse(context, source);
    if (again == NULL) {
        diag_print(context->diags.items[0], second, false);
        fprintf(stderr, "does not parse again:\n%s\n%s\n", str_text(first), str_text(second));
        abort();
    }
    module_print(again, second);
    if (strcmp(str_text(first), str_text(second)) != 0) {
        fprintf(stderr, "prints differently:\n%s\n---\n%s\n", str_text(first), str_text(second));
        abort();
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    return LLVMFuzzerMutate(data, fuzz_start(data, size, max_size, seed), max_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Boundary boundary = {0};
    volatile bool accepted = false;
    Context context;
    Str first;
    Str second;
    str_init(&first, NULL);
    str_init(&second, NULL);
    context_init(&context, NULL, &boundary);
    context.arena.limit = ARENA_LIMIT;
    if (setjmp(boundary.jump) == 0) {
        const Source *source = context_source(&context, "fuzz.ir", (const char *)data, size, false);
        Module *module = module_parse(&context, source);
        if (module != NULL) {
            accepted = true;
            check_round_trip(&context, module, &first, &second);
        }
    }
    str_finish(&first);
    str_finish(&second);
    context_finish(&context);
    fuzz_note(data, size, accepted);
    return 0;
}
