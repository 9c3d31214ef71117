/* The front half of the frontend on arbitrary text: it must neither crash nor hang, what parses
 * must format, and formatting the result must change nothing. */
#include "frontend/parse/parse.h"
#include "tests/fuzz/fuzz_accepted.h"

#include <stdlib.h>

static void abort_unless(bool holds) {
    if (!holds) {
        abort();
    }
}

/* Whether it parses. */
static bool check_text(Context *context, const char *text, size_t length) {
    const Source *source = context_source(context, "fuzz.dl", text, length, false);
    Str once, twice, tree;
    str_init(&once, NULL);
    str_init(&twice, NULL);
    str_init(&tree, NULL);
    bool accepted = frontend_format(context, source, &once);
    if (accepted) {
        AstFile *file = frontend_parse(context, source);
        abort_unless(!file->has_errors);
        ast_print(file, &tree);
        const Source *again =
            context_source(context, "again.dl", str_text(&once), once.length, false);
        abort_unless(frontend_format(context, again, &twice));
        abort_unless(strcmp(str_text(&once), str_text(&twice)) == 0);
        Str other;
        str_init(&other, NULL);
        ast_print(frontend_parse(context, again), &other);
        abort_unless(strcmp(str_text(&tree), str_text(&other)) == 0);
        str_finish(&other);
    } else {
        abort_unless(context->diags.n_errors > 0);
    }
    str_finish(&once);
    str_finish(&twice);
    str_finish(&tree);
    return accepted;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    return LLVMFuzzerMutate(data, fuzz_start(data, size, max_size, seed), max_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Boundary boundary = {0};
    Context context = {0};
    volatile bool accepted = false;
    if (setjmp(boundary.jump) == 0) {
        context_init(&context, NULL, &boundary);
        accepted = check_text(&context, (const char *)data, size);
    }
    context_finish(&context);
    fuzz_note(data, size, accepted);
    return 0;
}
