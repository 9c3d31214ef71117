/* dlrun explain-hang: what the journals of a job's ranks say of where each stands. */
#include "tools/dlrun.h"
#include "tools/journals.h"

int dlrun_explain_hang(int argc, char **argv) {
    const CliCommand command = {
        .program = "dlrun explain-hang",
        .usage = "dlrun explain-hang DIR",
        .about =
            "Compares the journals that ranks keep in DIR, of a job that hangs, was killed or has\n"
            "failed: who is behind, in which collective each stands. dlrun train keeps them in\n"
            "RUN.journals beside its checkpoint RUN, or where --journal says.",
    };
    const char *folder = NULL;
    size_t count = 0;
    int code = cli_parse(&command, argc, argv, &folder, 1, &count);
    if (code >= 0) {
        return code;
    }
    if (count == 0) {
        code = cli_wrong(
            &command, "no folder of journals given: dlrun train of several ranks keeps them "
                      "beside its checkpoint or weights, RUN.journals or W.safetensors.journals, "
                      "until it has ended well, or where --journal says");
        journals_list();
        return code;
    }
    const dlc_context_options options = {.struct_size = sizeof options, .log = cli_log};
    dlc_context *context = NULL;
    char *text = NULL;
    dlc_status status = dlc_context_create(&options, &context);
    if (status == DLC_OK) {
        status = dlc_journal_explain(context, folder, &text);
    }
    code = status == DLC_OK ? 0 : cli_failed(&command, context, status);
    fputs(text ? text : "", stdout);
    dlc_text_free(context, text);
    dlc_context_destroy(context);
    return code;
}
