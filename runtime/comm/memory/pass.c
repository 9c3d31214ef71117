/* Open files from process to process (pass.h): Unix sockets in the abstract name space, of which no
 * file is left, and which belongs to a network name space as loopback does. */
#include "runtime/comm/memory/pass.h"

#include "runtime/context.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static socklen_t address_make(const PassName *name, struct sockaddr_un *out) {
    *out = (struct sockaddr_un){.sun_family = AF_UNIX}; /* its path begins with a NUL: no file */
    int n = snprintf(out->sun_path + 1, sizeof(out->sun_path) - 1, "dlc-%016llx%016llx",
                     (unsigned long long)name->words[0], (unsigned long long)name->words[1]);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static bool is_own_user(int socket) {
    struct ucred other;
    socklen_t n = sizeof(other);
    return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &other, &n) == 0 && other.uid == geteuid();
}

bool pass_is_named(const PassName *name) {
    return name->words[0] != 0 || name->words[1] != 0;
}

int pass_listen(PassName *name, char *why) {
    struct sockaddr_un address;
    *name = (PassName){{0, 0}};
    if (getrandom(name, sizeof(*name), 0) != (ssize_t)sizeof(*name)) {
        return segment_failed(-1, why, "getrandom");
    }
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t length = address_make(name, &address);
    if (made < 0 || bind(made, (struct sockaddr *)&address, length) != 0 ||
        listen(made, SOMAXCONN) != 0) {
        *name = (PassName){{0, 0}};
        return segment_failed(made, why, "a Unix socket that listens");
    }
    return made;
}

int pass_connect(const PassName *name, char *why) {
    struct sockaddr_un address;
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t length = address_make(name, &address);
    if (made < 0 || connect(made, (struct sockaddr *)&address, length) != 0) {
        bool is_apart = made >= 0 && errno == ECONNREFUSED;
        return segment_failed(
            made, why,
            is_apart ? "it is on another host, or in a container with a network of its "
                       "own"
                     : "its Unix socket");
    }
    if (!is_own_user(made)) {
        snprintf(why, PASS_WHY_BYTES, "it belongs to another user");
        close(made);
        return -1;
    }
    return made;
}

int pass_accept(int listener) {
    for (;;) {
        int made = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (made >= 0 && !is_own_user(made)) {
            close(made);
        } else if (made >= 0 || (errno != EINTR && errno != ECONNABORTED)) {
            return made;
        }
    }
}

/* Room for PASS_MOST descriptors. */
typedef union Ancillary {
    char bytes[CMSG_SPACE(PASS_MOST * sizeof(int))];
    struct cmsghdr aligned;
} Ancillary;

bool pass_send(int socket, const void *bytes, size_t n_bytes, const int *descriptors, int n) {
    Ancillary ancillary;
    struct iovec run = {(void *)(uintptr_t)bytes, n_bytes};
    size_t size = (size_t)n * sizeof(int);
    struct msghdr message = {.msg_iov = &run,
                             .msg_iovlen = 1,
                             .msg_control = ancillary.bytes,
                             .msg_controllen = CMSG_SPACE(size)};
    memset(&ancillary, 0, sizeof(ancillary));
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(head), descriptors, size);
    return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)n_bytes;
}

static bool wait_for_bytes(int socket, double deadline) {
    struct pollfd one = {.fd = socket, .events = POLLIN};
    for (;;) {
        double rest = deadline - clock_seconds();
        int got = poll(&one, 1, rest <= 0 ? 0 : rest > 1000 ? 1000000 : (int)(rest * 1e3) + 1);
        if (got >= 0 || errno != EINTR) {
            return got > 0;
        }
    }
}

/* Other numbers of descriptors than `n` are closed. */
static bool descriptors_take(struct msghdr *message, int *out, int n) {
    int n_taken = 0;
    bool fits = (message->msg_flags & MSG_CTRUNC) == 0;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
        bool is_rights = head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS;
        size_t count = is_rights ? (head->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
        for (size_t i = 0; i < count; i++) {
            int one;
            memcpy(&one, CMSG_DATA(head) + i * sizeof(int), sizeof(int));
            if (n_taken < n) {
                out[n_taken++] = one;
            } else {
                close(one);
                fits = false;
            }
        }
    }
    for (int i = 0; i < n_taken && !(fits && n_taken == n); i++) {
        close(out[i]);
    }
    return fits && n_taken == n;
}

bool pass_take(int socket, void *bytes, size_t n_bytes, int *descriptors, int n, double deadline) {
    Ancillary ancillary;
    struct iovec run = {bytes, n_bytes};
    struct msghdr message = {.msg_iov = &run,
                             .msg_iovlen = 1,
                             .msg_control = ancillary.bytes,
                             .msg_controllen = sizeof(ancillary.bytes)};
    if (!wait_for_bytes(socket, deadline)) {
        return false;
    }
    ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 || !descriptors_take(&message, descriptors, n)) {
        return false;
    }
    for (int i = 0; i < n && got != (ssize_t)n_bytes; i++) {
        close(descriptors[i]);
    }
    return got == (ssize_t)n_bytes;
}
