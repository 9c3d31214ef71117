/* Lines of text and their indentation. */
#include "codegen/cuda/text/state.h"
#include "runtime/kernel_abi.h"

/* of a loop of groups that is unrolled */

void text_begin(Text *t) {
    for (int32_t i = 0; i < t->indent; i++) {
        str_add(t->out, "    ");
    }
}

void text_line(Text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    text_begin(t);
    str_vaddf(t->out, format, args);
    str_add_char(t->out, '\n');
    va_end(args);
}
