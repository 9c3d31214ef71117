/* The first failure, which all threads look at, and how threads that poll are woken. */
#include "runtime/comm/tcp/internal.h"

#include <stdio.h>
#include <unistd.h>

void tcp_wake(int event) {
    uint64_t one = 1;
    ssize_t n = write(event, &one, sizeof(one));
    (void)n; /* full: it is awake */
}

void tcp_wake_clear(int event) {
    uint64_t count;
    ssize_t n = read(event, &count, sizeof(count));
    (void)n;
}

void tcp_fail(Tcp *tcp, dlc_status status, const char *format, ...) {
    pthread_mutex_lock(&tcp->mutex);
    if (tcp->failure == DLC_OK) {
        va_list args;
        va_start(args, format);
        vsnprintf(tcp->failure_text, sizeof(tcp->failure_text), format, args);
        va_end(args);
        tcp->failure = status;
        pthread_cond_broadcast(&tcp->changed);
    }
    pthread_mutex_unlock(&tcp->mutex);
    tcp_wake(tcp->data_wake);
    tcp_wake(tcp->control_wake);
}

bool tcp_has_failed(Tcp *tcp) {
    pthread_mutex_lock(&tcp->mutex);
    bool failed = tcp->failure != DLC_OK;
    pthread_mutex_unlock(&tcp->mutex);
    return failed;
}
