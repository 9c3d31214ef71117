/* See crew.h. */
#include "runtime/session/crew.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

typedef struct Member {
    Crew *crew;
    int32_t number;
    pthread_t thread;
} Member;

struct Crew {
    dlc_allocator allocator;
    pthread_mutex_t mutex;
    pthread_cond_t called, done;
    int64_t call; /* number of the one under way, or the last */
    int32_t left; /* members that have not done it */
    bool ends;
    void (*work)(void *user, int32_t number);
    void *user;
    int32_t n_members; /* threads: all but the caller's */
    Member members[];
};

static void *member_main(void *given) {
    Member *member = given;
    Crew *crew = member->crew;
    pthread_mutex_lock(&crew->mutex);
    for (int64_t seen = 0;;) {
        while (crew->call == seen && !crew->ends) {
            pthread_cond_wait(&crew->called, &crew->mutex);
        }
        if (crew->ends) {
            break;
        }
        seen = crew->call;
        pthread_mutex_unlock(&crew->mutex);
        crew->work(crew->user, member->number);
        pthread_mutex_lock(&crew->mutex);
        if (--crew->left == 0) {
            pthread_cond_signal(&crew->done);
        }
    }
    pthread_mutex_unlock(&crew->mutex);
    return NULL;
}

dlc_status crew_create(dlc_context *context, int32_t n, Crew **out) {
    *out = NULL;
    if (n <= 1) {
        return DLC_OK;
    }
    Crew *crew = memory_new(&context->allocator, 1,
                            sizeof(*crew) + (size_t)(n - 1) * sizeof(crew->members[0]));
    if (!crew) {
        return context_out_of_memory(context);
    }
    crew->allocator = context->allocator;
    pthread_mutex_init(&crew->mutex, NULL);
    pthread_cond_init(&crew->called, NULL);
    pthread_cond_init(&crew->done, NULL);
    for (int32_t i = 0; i < n - 1; i++) {
        Member *member = &crew->members[i];
        *member = (Member){.crew = crew, .number = i + 1};
        if (pthread_create(&member->thread, NULL, member_main, member) != 0) {
            crew_destroy(crew);
            return context_fail(context, DLC_ERROR_LIMIT,
                                "the system gives %d threads of the %d that %d ranks take", i,
                                n - 1, n);
        }
        crew->n_members++;
    }
    *out = crew;
    return DLC_OK;
}

void crew_destroy(Crew *crew) {
    if (!crew) {
        return;
    }
    pthread_mutex_lock(&crew->mutex);
    crew->ends = true;
    pthread_cond_broadcast(&crew->called);
    pthread_mutex_unlock(&crew->mutex);
    for (int32_t i = 0; i < crew->n_members; i++) {
        pthread_join(crew->members[i].thread, NULL);
    }
    pthread_cond_destroy(&crew->called);
    pthread_cond_destroy(&crew->done);
    pthread_mutex_destroy(&crew->mutex);
    dlc_allocator allocator = crew->allocator;
    memory_free(&allocator, crew);
}

/* Whether all have done it, within a second. */
static bool crew_wait(Crew *crew) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    pthread_mutex_lock(&crew->mutex);
    int waited = 0;
    while (crew->left > 0 && waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&crew->done, &crew->mutex, &until);
    }
    bool done = crew->left == 0;
    pthread_mutex_unlock(&crew->mutex);
    return done;
}

void crew_run(Crew *crew, void (*work)(void *user, int32_t number), void (*late)(void *user),
              void *user) {
    if (crew) {
        pthread_mutex_lock(&crew->mutex);
        crew->work = work;
        crew->user = user;
        crew->left = crew->n_members;
        crew->call++;
        pthread_cond_broadcast(&crew->called);
        pthread_mutex_unlock(&crew->mutex);
    }
    work(user, 0);
    if (crew) {
        if (late && !crew_wait(crew)) {
            late(user);
        }
        pthread_mutex_lock(&crew->mutex);
        while (crew->left > 0) {
            pthread_cond_wait(&crew->done, &crew->mutex);
        }
        pthread_mutex_unlock(&crew->mutex);
    }
}
