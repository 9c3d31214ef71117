/* What every backend's image shares. */
#include "codegen/target.h"
#include "ir/base/context.h"
#include "ir/base/memory.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void target_image_finish(TargetImage *image, const dlc_allocator *allocator) {
    void *parts[2] = {image->bytes, image->entries};
    for (int i = 0; i < 2; i++) {
        raw_free(allocator, parts[i]);
    }
    memset(image, 0, sizeof(*image));
}

dlc_status target_internal(char *message, const char *file, int line, const char *format, ...) {
    char text[TARGET_MESSAGE_BYTES - 96];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    snprintf(message, TARGET_MESSAGE_BYTES, "%s (%.64s:%d)", text, source_name(file), line);
    return DLC_ERROR_INTERNAL;
}
