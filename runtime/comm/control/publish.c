/* Where this machine can be reached, for ranks that are told by a store. */
#include "runtime/comm/control/socket.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Whether the interface is one of `list`, as NCCL_SOCKET_IFNAME has it: beginnings of names
 * separated by commas; with "^" before the list those are left out, with "=" names are whole. */
static bool is_listed(const char *list, const char *name) {
    bool excludes = *list == '^', whole = false, found = false;
    list += excludes;
    whole = *list == '=';
    list += whole;
    for (const char *at = list; *at && !found;) {
        size_t n = strcspn(at, ",");
        found = n > 0 && strncmp(at, name, n) == 0 && (!whole || strlen(name) == n);
        at += n + (at[n] == ',');
    }
    return found != excludes;
}

static const char *wanted_interfaces(void) {
    const char *own = getenv("DLC_SOCKET_IFNAME");
    const char *nccl = getenv("NCCL_SOCKET_IFNAME");
    return own ? own : nccl ? nccl : "";
}

/* Adds "address:port," for the interface, if it has one that others can use. */
static void address_add(const struct ifaddrs *one, bool loopback, uint32_t port, char *out,
                        size_t n_out) {
    const char *wanted = wanted_interfaces();
    int family = one->ifa_addr ? one->ifa_addr->sa_family : AF_UNSPEC;
    bool is_loopback = (one->ifa_flags & IFF_LOOPBACK) != 0;
    socklen_t length = family == AF_INET    ? sizeof(struct sockaddr_in)
                       : family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                            : 0;
    char host[256];
    if (length == 0 || (one->ifa_flags & IFF_UP) == 0 || is_loopback != loopback ||
        (!is_loopback && *wanted && !is_listed(wanted, one->ifa_name)) ||
        getnameinfo(one->ifa_addr, length, host, sizeof(host), NULL, 0, NI_NUMERICHOST) != 0 ||
        strchr(host, '%')) { /* link-local: means nothing elsewhere */
        return;
    }
    size_t at = strlen(out);
    int n = snprintf(out + at, n_out - at, family == AF_INET6 ? "%s[%s]:%u" : "%s%s:%u",
                     at > 0 ? "," : "", host, port);
    if (n < 0 || (size_t)n >= n_out - at) {
        out[at] = '\0';
    }
}

int socket_publish(char *out_addresses, size_t n_addresses) {
    uint32_t port = 0;
    struct ifaddrs *all = NULL;
    int made = socket_listen(&port);
    out_addresses[0] = '\0';
    if (made < 0 || getifaddrs(&all) != 0) {
        if (made >= 0) {
            close(made);
        }
        return -1;
    }
    for (int loopback = 0; loopback < 2; loopback++) { /* the machine's own last */
        for (const struct ifaddrs *one = all; one; one = one->ifa_next) {
            address_add(one, loopback != 0, port, out_addresses, n_addresses);
        }
    }
    freeifaddrs(all);
    return made;
}
