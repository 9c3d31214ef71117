/* Preloaded into a program: it gets no threads. What is split off from it by fork would be without
 * them, and wait for them; so it does by itself what its threads would do. Programs that it starts
 * have theirs. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                   void *argument) {
    (void)thread;
    (void)attributes;
    (void)start;
    (void)argument;
    return EAGAIN;
}

__attribute__((constructor)) static void for_this_program_alone(void) {
    unsetenv("LD_PRELOAD");
}
