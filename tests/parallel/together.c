/* See together.h. */
#include "tests/parallel/together.h"
#include "tests/unit/api.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Starting {
    TogetherBody *body;
    const char *folder;
    TogetherRank rank;
} Starting;

/* -- Threads -- */

static void *thread_main(void *given) {
    Starting *starting = given;
    starting->body(&starting->rank);
    dlc_communicator_destroy(starting->rank.communicator);
    dlc_context_destroy(starting->rank.context);
    return NULL;
}

static void run_threads(int n, Starting *all) {
    pthread_t threads[TOGETHER_MOST];
    dlc_context *contexts[TOGETHER_MOST];
    dlc_communicator *ends[TOGETHER_MOST];
    for (int r = 0; r < n; r++) {
        assert_int_equal(dlc_context_create(NULL, &contexts[r]), DLC_OK);
    }
    OK(contexts[0], dlc_communicator_group(contexts, (size_t)n, ends));
    for (int r = 0; r < n; r++) {
        assert_int_equal(dlc_communicator_rank(ends[r]), r);
        assert_int_equal(dlc_communicator_size(ends[r]), n);
        all[r].rank.context = contexts[r];
        all[r].rank.communicator = ends[r];
        assert_int_equal(pthread_create(&threads[r], NULL, thread_main, &all[r]), 0);
    }
    for (int r = 0; r < n; r++) {
        pthread_join(threads[r], NULL);
    }
}

/* -- Processes: a store of files in a folder -- */

static void store_path(const char *folder, const char *key, char *out, size_t n) {
    snprintf(out, n, "%s/store-%s", folder, key);
    for (char *at = out + strlen(folder) + 1; *at; at++) {
        *at = *at == '/' ? '_' : *at;
    }
}

static int store_set(void *user, const char *key, const char *value) {
    char path[512], temporary[600];
    store_path(user, key, path, sizeof(path));
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    FILE *file = fopen(temporary, "w");
    return !file || fputs(value, file) < 0 || fclose(file) != 0 || rename(temporary, path) != 0;
}

static int store_get(void *user, const char *key, char *value, size_t size) {
    char path[512];
    store_path(user, key, path, sizeof(path));
    FILE *file = fopen(path, "r");
    if (!file) {
        return errno == ENOENT ? 1 : 2;
    }
    bool read = fgets(value, (int)size, file) != NULL;
    fclose(file);
    return read ? 0 : 2;
}

static int process_main(int n, Starting *starting) {
    TogetherRank *rank = &starting->rank;
    dlc_communicator_options options = {.struct_size = sizeof(options),
                                        .rank = rank->rank,
                                        .n_ranks = n,
                                        .store_set = store_set,
                                        .store_get = store_get,
                                        .user = (void *)(uintptr_t)starting->folder,
                                        .job = "together",
                                        .meet_seconds = 60};
    if (dlc_context_create(NULL, &rank->context) != DLC_OK) {
        return 1;
    }
    if (dlc_communicator_create(rank->context, &options, &rank->communicator) != DLC_OK) {
        print_error("rank %d: %s\n", rank->rank, dlc_last_error(rank->context));
        return 1;
    }
    starting->body(rank);
    dlc_communicator_destroy(rank->communicator);
    dlc_context_destroy(rank->context);
    return 0;
}

static void run_processes(int n, Starting *all) {
    pid_t children[TOGETHER_MOST];
    for (int r = 0; r < n; r++) {
        children[r] = fork();
        assert_true(children[r] >= 0);
        if (children[r] == 0) {
            alarm(200);
            _exit(process_main(n, &all[r]));
        }
    }
    for (int r = 0; r < n; r++) {
        int status = -1;
        assert_int_equal(waitpid(children[r], &status, 0), children[r]);
        assert_int_equal(status, 0);
    }
}

void together_run(int n, const char *folder, TogetherBody *body, void *user) {
    Starting all[TOGETHER_MOST];
    assert_true(n <= TOGETHER_MOST);
    for (int r = 0; r < n; r++) {
        all[r] = (Starting){.body = body, .folder = folder, .rank = {.rank = r, .user = user}};
    }
    if (folder) {
        run_processes(n, all);
    } else {
        run_threads(n, all);
    }
}
