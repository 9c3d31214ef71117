/* See common.h. The name of what is made has a number that nothing else has (file_token), so that
 * what a killed run left in another machine's folder of the same name is not taken for it. */
#include "runtime/checkpoint/common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { TRIES = 20, WAIT_MILLISECONDS = 100 };

/* Network file systems may be a moment late to show what is new. Never for reading: then a page
 * that others write too might be written back whole. */
static int late_open(const char *path) {
    const struct timespec wait = {.tv_nsec = WAIT_MILLISECONDS * 1000000L};
    int fd = -1;
    for (int i = 0; i < TRIES && fd < 0; i++) {
        if (i > 0) {
            nanosleep(&wait, NULL);
        }
        fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno != ENOENT && errno != ESTALE) {
            break;
        }
    }
    return fd;
}

/* What does not see it, and why. */
static void lack_text(const dlc_session *session, const char *path, int error, char *out,
                      size_t n_out) {
    char host[64] = "", reason[128];
    if (gethostname(host, sizeof(host) - 1) != 0) {
        host[0] = '\0';
    }
    snprintf(out, n_out, "rank %d on host '%s' does not see '%.600s', which rank 0 has made: %s",
             (int)session->communicator->rank, host, path,
             strerror_r(error, reason, sizeof(reason)));
}

dlc_status common_open(dlc_session *session, const char *path, int fd, int *out_fd, bool *out) {
    bool writes = session_writes(session), has = false, lacks = false;
    char told[COMMON_PATH_BYTES] = "", why[1024] = "";
    *out_fd = fd;
    *out = true;
    if (!session->communicator || session->n_all == 1) {
        return DLC_OK;
    }
    snprintf(told, sizeof(told), "%s", writes ? path : "");
    dlc_status status = session_tell(session, writes, told, sizeof(told), &has);
    if (status == DLC_OK && !writes) {
        *out_fd = late_open(told);
        if (*out_fd < 0) {
            lack_text(session, told, errno, why, sizeof(why));
        }
    }
    if (status == DLC_OK) {
        status = session_tell(session, why[0] != '\0', why, sizeof(why), &lacks);
    }
    *out = !lacks;
    if ((status != DLC_OK || lacks) && !writes && *out_fd >= 0) {
        close(*out_fd);
        *out_fd = -1;
    }
    if (status == DLC_OK && lacks) {
        session->lacks_folder = true;
    }
    if (status == DLC_OK && lacks && writes) { /* once for all */
        context_log(
            session->context, DLC_LOG_WARNING,
            "ranks have no common folder: %s; rank 0 gathers what it saves from all ranks "
            "and writes it alone, here and from now on. Give a folder that all ranks share, "
            "at the same path: then each writes its part, and a run can go on from it",
            why);
    }
    return status;
}

bool common_lacks(const dlc_session *session) {
    return session->lacks_folder;
}
