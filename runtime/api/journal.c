/* What journals of ranks say, for people. */
#include "runtime/border.h"
#include "runtime/journal/explain.h"

dlc_status dlc_journal_explain(dlc_context *context, const char *folder, char **out_text) {
    BORDER_CALL(context);
    if (!folder || !out_text) {
        return border_missing(context, !folder ? "folder" : "out_text");
    }
    char message[JOURNAL_MESSAGE_BYTES];
    Str text;
    str_init(&text, &context->allocator);
    dlc_status status = journal_explain(&context->allocator, folder, &text, message);
    if (status != DLC_OK) {
        context_fail(context, status, "%s", message);
    } else {
        char *copy = memory_strdup(&context->allocator, str_text(&text));
        status = copy ? DLC_OK : context_out_of_memory(context);
        *out_text = copy ? copy : *out_text;
    }
    str_finish(&text);
    return status;
}
