/* The public face of contexts: making one, its last error, files written for others. */
#include "ir/base/file.h"
#include "runtime/border.h"
#include <stdio.h>

dlc_status dlc_file_write(dlc_context *context, const char *path, const void *bytes,
                          size_t n_bytes) {
    BORDER_CALL(context);
    if (!path || (!bytes && n_bytes > 0)) {
        return border_missing(context, !path ? "path" : "bytes");
    }
    char message[FILE_MESSAGE_BYTES] = "";
    dlc_status status = file_write(path, &bytes, &n_bytes, 1, message);
    return status == DLC_OK ? DLC_OK : context_fail(context, status, "%s", message);
}

dlc_status dlc_context_create(const dlc_context_options *options, dlc_context **out) {
    dlc_context_options given;
    dlc_context nobody; /* its error goes unread */
    if (!out || !border_options(&nobody, "dlc_context_options", &given, sizeof(given), options)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    dlc_allocator allocator = memory_malloc;
    if (given.allocator) {
        if (!given.allocator->alloc || !given.allocator->free) {
            return DLC_ERROR_INVALID_ARGUMENT;
        }
        allocator = *given.allocator;
    }
    dlc_context *context = memory_new(&allocator, 1, sizeof(*context));
    if (!context) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    context->allocator = allocator;
    context->log = given.log;
    context->cancel = given.cancel;
    context->progress = given.progress;
    context->user = given.user;
    *out = context;
    return DLC_OK;
}

const char *dlc_last_error(const dlc_context *context) {
    return context ? context->error : "";
}
