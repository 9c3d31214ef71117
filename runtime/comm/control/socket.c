/* Sockets with deadlines, and events (socket.h). */
#include "runtime/comm/control/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int milliseconds_until(double deadline) {
    double rest = deadline - clock_seconds();
    return rest <= 0 ? 0 : rest > 1000 ? 1000000 : (int)(rest * 1e3) + 1;
}

/* Until it is ready for `events`; false: the time is over. */
static bool ready(int socket, short events, double deadline) {
    for (;;) {
        struct pollfd poll_one = {.fd = socket, .events = events};
        int n = poll(&poll_one, 1, milliseconds_until(deadline));
        if (n > 0) {
            return true;
        }
        if (n == 0 || errno != EINTR) {
            errno = ETIMEDOUT;
            return false;
        }
    }
}

bool socket_read(int socket, void *to, size_t bytes, double deadline) {
    char *at = to;
    while (bytes > 0) {
        if (!ready(socket, POLLIN, deadline)) {
            return false;
        }
        ssize_t n = recv(socket, at, bytes, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            errno = n == 0 ? ECONNRESET : errno;
            return false;
        }
        at += n > 0 ? n : 0;
        bytes -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

bool socket_write(int socket, const void *from, size_t bytes, double deadline) {
    const char *at = from;
    while (bytes > 0) {
        if (!ready(socket, POLLOUT, deadline)) {
            return false;
        }
        ssize_t n = send(socket, at, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return false;
        }
        at += n > 0 ? n : 0;
        bytes -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

static void prepare(int socket) {
    int on = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static int bound(int family, uint32_t port) {
    int made = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, off = 0;
    if (made < 0) {
        return -1;
    }
    setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int result;
    if (family == AF_INET6) {
        setsockopt(made, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
        result = bind(made, (struct sockaddr *)&six, sizeof(six));
    } else {
        result = bind(made, (struct sockaddr *)&four, sizeof(four));
    }
    if (result != 0 || listen(made, SOMAXCONN) != 0) {
        int reason = errno;
        close(made);
        errno = reason;
        return -1;
    }
    return made;
}

int socket_listen(uint32_t *port) {
    int made = bound(AF_INET6, *port); /* takes IPv4 too */
    if (made < 0) {
        made = bound(AF_INET, *port);
    }
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    if (made >= 0 && getsockname(made, (struct sockaddr *)&address, &length) == 0) {
        *port = address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port)
                                              : ntohs(((struct sockaddr_in *)&address)->sin_port);
    }
    return made;
}

int socket_accept(int listener, double deadline) {
    while (ready(listener, POLLIN, deadline)) {
        int made = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (made >= 0) {
            prepare(made);
            return made;
        }
        if (errno != EINTR && errno != ECONNABORTED && errno != EAGAIN) {
            return -1;
        }
    }
    return -1;
}

static int connect_to(const struct sockaddr *address, socklen_t length, double deadline) {
    int made = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made < 0) {
        return -1;
    }
    int reason = connect(made, address, length) == 0 ? 0 : errno;
    if (reason == EINPROGRESS) {
        socklen_t n = sizeof(reason);
        if (!ready(made, POLLOUT, deadline) ||
            getsockopt(made, SOL_SOCKET, SO_ERROR, &reason, &n) != 0) {
            reason = errno;
        }
    }
    if (reason != 0) {
        close(made);
        errno = reason;
        return -1;
    }
    prepare(made);
    return made;
}

/* "host:port" or "[host]:port", up to a comma or the end; NULL: malformed. What follows it. */
static const char *address_split(const char *text, char *host, size_t n_host, char *port,
                                 size_t n_port) {
    size_t length = strcspn(text, ",");
    const char *end = text + length, *colon = end;
    while (colon > text && *colon != ':') {
        colon--;
    }
    const char *from = text, *to = colon;
    if (*from == '[' && to > from && to[-1] == ']') {
        from++;
        to--;
    }
    size_t host_length = (size_t)(to - from), port_length = (size_t)(end - colon);
    if (*colon != ':' || host_length == 0 || host_length >= n_host || port_length < 2 ||
        port_length > n_port) {
        return NULL;
    }
    memcpy(host, from, host_length);
    host[host_length] = 0;
    memcpy(port, colon + 1, port_length - 1);
    port[port_length - 1] = 0;
    return *end == ',' ? end + 1 : end;
}

bool socket_port_of(const char *addresses, uint32_t *out) {
    char host[256], port[8], *end;
    if (!address_split(addresses, host, sizeof(host), port, sizeof(port))) {
        return false;
    }
    long number = strtol(port, &end, 10);
    *out = (uint32_t)number;
    return *end == 0 && number >= 0 && number <= 65535;
}

/* One round of all addresses. */
static int connect_once(const char *addresses, double deadline, char *message) {
    for (const char *at = addresses; *at;) {
        char host[256], port[8];
        at = address_split(at, host, sizeof(host), port, sizeof(port));
        if (!at) {
            snprintf(message, COMM_MESSAGE_BYTES, "'%.200s' is no list of host:port", addresses);
            return -2;
        }
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
        int reason = getaddrinfo(host, port, &hints, &found);
        if (reason != 0) {
            snprintf(message, COMM_MESSAGE_BYTES, "%s: %s", host, gai_strerror(reason));
            continue;
        }
        int made = -1;
        for (struct addrinfo *one = found; one && made < 0; one = one->ai_next) {
            double soon = clock_seconds() + 5;
            made = connect_to(one->ai_addr, one->ai_addrlen, soon < deadline ? soon : deadline);
        }
        int why = errno;
        freeaddrinfo(found);
        if (made >= 0) {
            return made;
        }
        char text[128];
        snprintf(message, COMM_MESSAGE_BYTES, "%s, port %s: %s", host, port,
                 strerror_r(why, text, sizeof(text)));
    }
    return -1;
}

int socket_connect(const char *addresses, double deadline, char *message) {
    double pause = 0.02;
    for (;;) {
        int made = connect_once(addresses, deadline, message);
        if (made != -1 || clock_seconds() + pause >= deadline) {
            return made < 0 ? -1 : made;
        }
        poll(NULL, 0, (int)(pause * 1e3));
        pause = pause < 1 ? pause * 2 : pause;
    }
}

int socket_connect_place(const SocketPlace *place, double deadline) {
    if (place->family == 6) {
        struct sockaddr_in6 six = {.sin6_family = AF_INET6,
                                   .sin6_port = htons((uint16_t)place->port)};
        memcpy(&six.sin6_addr, place->address, 16);
        return connect_to((struct sockaddr *)&six, sizeof(six), deadline);
    }
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)place->port)};
    memcpy(&four.sin_addr, place->address, 4);
    return connect_to((struct sockaddr *)&four, sizeof(four), deadline);
}

bool socket_place_of_peer(int socket, SocketPlace *out) {
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    if (getpeername(socket, (struct sockaddr *)&address, &length) != 0) {
        return false;
    }
    if (address.ss_family == AF_INET) {
        const struct sockaddr_in *four = (struct sockaddr_in *)&address;
        out->family = 4;
        out->port = ntohs(four->sin_port);
        memcpy(out->address, &four->sin_addr, 4);
        return true;
    }
    const struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address;
    bool mapped = IN6_IS_ADDR_V4MAPPED(&six->sin6_addr);
    out->family = mapped ? 4 : 6;
    out->port = ntohs(six->sin6_port);
    memcpy(out->address, (const uint8_t *)&six->sin6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
    return true;
}

void socket_unblock(int socket) {
    fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK);
}

void event_wake(int event) {
    uint64_t one = 1;
    ssize_t n = write(event, &one, sizeof(one));
    (void)n; /* full: it is awake */
}

void event_clear(int event) {
    uint64_t count;
    ssize_t n = read(event, &count, sizeof(count));
    (void)n;
}
