/* A file that one session has made and all of them write: whether the others see it. */
#ifndef DLC_RUNTIME_CHECKPOINT_COMMON_H
#define DLC_RUNTIME_CHECKPOINT_COMMON_H

#include "runtime/session/session.h"

/* Long paths, of a file in a folder in a folder. */
enum { COMMON_PATH_BYTES = 4096 + 512 };

/* Opens for writing, in every session but the one that writes files, what that one has made under a
 * new name, at `path` (which the others are told; `fd`: its own, which *out_fd becomes).
 * Collective. *out false: one does not see it; the log says whose folder is not the others', the
 * first time, and *out_fd is -1 in the others. */
dlc_status common_open(dlc_session *session, const char *path, int fd, int *out_fd, bool *out);
/* Whether it was found before that they have no folder in common. */
bool common_lacks(const dlc_session *session);

#endif
