/* See team.h. */
#include "runtime/session/team.h"
#include "runtime/session/crew.h"

#include <pthread.h>

struct Team {
    dlc_context *context;  /* the session's */
    dlc_allocator own;     /* its hooks */
    pthread_mutex_t mutex; /* of who is in them */
    Crew *crew;
    dlc_context *contexts[]; /* by rank; [0] is the session's */
};

static void *locked_alloc(void *user, size_t bytes) {
    Team *team = user;
    pthread_mutex_lock(&team->mutex);
    void *memory = team->own.alloc(team->own.user, bytes);
    pthread_mutex_unlock(&team->mutex);
    return memory;
}

static void locked_free(void *user, void *memory) {
    Team *team = user;
    pthread_mutex_lock(&team->mutex);
    team->own.free(team->own.user, memory);
    pthread_mutex_unlock(&team->mutex);
}

static dlc_allocator locked(Team *team) {
    return (dlc_allocator){locked_alloc, locked_free, team};
}

dlc_status team_create(dlc_context *context, int32_t n, Team **out) {
    *out = NULL;
    if (n <= 1) {
        return DLC_OK;
    }
    Team *team = memory_new(&context->allocator, 1,
                            sizeof(*team) + (size_t)(n + 1) * sizeof(team->contexts[0]));
    if (!team) {
        return context_out_of_memory(context);
    }
    team->context = context;
    team->own = context->allocator;
    pthread_mutex_init(&team->mutex, NULL);
    team->contexts[0] = context;
    dlc_status status = crew_create(context, n, &team->crew);
    for (int32_t r = 1; r < n && status == DLC_OK; r++) {
        team->contexts[r] = memory_new(&context->allocator, 1, sizeof(dlc_context));
        if (team->contexts[r]) {
            team->contexts[r]->allocator = locked(team);
        } else {
            status = context_out_of_memory(context);
        }
    }
    if (status != DLC_OK) {
        team_destroy(team);
        return status;
    }
    *out = team;
    return DLC_OK;
}

void team_destroy(Team *team) {
    if (!team) {
        return;
    }
    dlc_allocator own = team->own;
    crew_destroy(team->crew);
    for (int32_t r = 1; team->contexts[r]; r++) { /* one more than ranks: the last is NULL */
        memory_free(&own, team->contexts[r]);
    }
    pthread_mutex_destroy(&team->mutex);
    memory_free(&own, team);
}

dlc_context *team_context(Team *team, dlc_context *context, int32_t number) {
    return team ? team->contexts[number] : context;
}

void team_share_begin(Team *team) {
    if (team) {
        team->context->allocator = locked(team);
    }
}

void team_share_end(Team *team) {
    if (team) {
        team->context->allocator = team->own;
    }
}

void team_run(Team *team, void (*work)(void *user, int32_t number), void (*late)(void *user),
              void *user) {
    team_share_begin(team);
    crew_run(team ? team->crew : NULL, work, late, user);
    team_share_end(team);
}

dlc_status team_told(Team *team, int32_t number, dlc_status status) {
    return status == DLC_OK || number == 0
               ? status
               : context_fail(team->context, status, "%s", team->contexts[number]->error);
}
