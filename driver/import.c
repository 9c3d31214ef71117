/* Imports: which files a program may read, found beside it or in the folders that were named, each
 * read once. */
#include "driver/driver.h"
#include "frontend/frontend.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The folder of a path, as text for realpath. */
static const char *folder_of(Arena *arena, const char *path) {
    const char *slash = strrchr(path, '/');
    return !slash ? "." : slash == path ? "/" : arena_strndup(arena, path, (size_t)(slash - path));
}

/* `file`, a real path, stands in `folder` or below. */
static bool is_below(const char *folder, const char *file) {
    char real[PATH_MAX];
    if (!realpath(folder, real)) {
        return false;
    }
    size_t length = strlen(real);
    return strncmp(file, real, length) == 0 &&
           (file[length] == '/' || (length == 1 && real[0] == '/'));
}

static bool may_import(Driver *d, const char *file) {
    const dlc_compile_options *options = d->options;
    bool allowed = is_below(folder_of(&d->scratch, d->call->name), file);
    for (size_t i = 0; !allowed && i < options->n_import_folders; i++) {
        allowed = is_below(options->import_folders[i], file);
    }
    return allowed;
}

/* A file relative to the importing one, read once whatever names it goes by. */
static const Source *import_file(Driver *d, const Source *importer, const char *path,
                                 const char **out_problem) {
    Context *context = &d->context;
    const char *full = path[0] == '/' ? path
                       : strchr(importer->name, '/')
                           ? arena_format(&context->arena, "%s/%s",
                                          folder_of(&context->arena, importer->name), path)
                           : path;
    char real[PATH_MAX], message[FILE_MESSAGE_BYTES] = "";
    if (!realpath(full, real)) {
        *out_problem = strerror(errno);
        return NULL;
    }
    struct stat info;
    if (stat(real, &info) != 0 || !S_ISREG(info.st_mode)) {
        *out_problem = "it is no regular file";
        return NULL;
    }
    if (!may_import(d, real)) {
        *out_problem = "it stands outside the program's folder; allow another folder with -I";
        return NULL;
    }
    for (int i = 0; i < d->n_imports; i++) {
        if (strcmp(d->imports[i].real, real) == 0) {
            return d->imports[i].source;
        }
    }
    if (d->n_imports == MAX_IMPORTS) {
        *out_problem = "too many imported files";
        return NULL;
    }
    FileView view;
    if (file_read_bounded(real, FRONTEND_MAX_BYTES, &view, message) != DLC_OK) {
        const char *colon = strrchr(message, ':');
        *out_problem = arena_strdup(&context->arena, colon ? colon + 2 : message);
        return NULL;
    }
    Import *import = &d->imports[d->n_imports++];
    import->view = view; /* freed after a jump, too */
    import->real = arena_strdup(&context->arena, real);
    import->source = context_source(context, full, (const char *)view.data, view.size, false);
    return import->source;
}

const Source *import_source(void *user, Context *context, const Source *importer, const char *path,
                            const char **out_problem) {
    Driver *d = user;
    if (d->options->import) {
        const char *text = NULL;
        size_t length = 0;
        if (d->options->import(d->options->user, importer->name, path, &text, &length) != DLC_OK) {
            *out_problem = "not found";
            return NULL;
        }
        if (!text && length > 0) {
            *out_problem = "dlc_compile_options.import gave no text";
            return NULL;
        }
        return context_source(context, path, text ? text : "", length, false);
    }
    return import_file(d, importer, path, out_problem);
}
