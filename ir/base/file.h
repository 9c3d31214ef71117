/* Reading files, whole or memory-mapped, and writing them so that a crash leaves the old or the new
 * file, never half of one. Both sides; explicit status, message text for the caller to pass on. */
#ifndef DLC_IR_BASE_FILE_H
#define DLC_IR_BASE_FILE_H

#include "dlc/dlc.h"
#include <stddef.h>
#include <stdint.h>

enum { FILE_MESSAGE_BYTES = 512 };

typedef struct FileView {
    const uint8_t *data;
    size_t size;
    void *mapping; /* what file_view_close releases */
    int kind;      /* how it was obtained; private */
} FileView;

/* Maps a regular file read-only (reads it when it cannot be mapped, e.g. a pipe). On failure fills
 * `message` (FILE_MESSAGE_BYTES) with "cannot open 'x': No such file or directory". */
dlc_status file_view_open(const char *path, FileView *out, char *message);
void file_view_close(FileView *view); /* accepts a zeroed view */

/* Writes to "path.tmp-…", syncs, renames; removes the temporary file on failure. */
dlc_status file_write_atomic(const char *path, const void *const *parts, const size_t *lengths,
                             int n_parts, char *message);

#endif
