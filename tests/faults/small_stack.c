/* Compiles a program on a thread with a small stack, as a host with many threads has them.
 * Usage: small_stack KIB FILE. Prints the diagnostics; the status is 0 when it compiled, 1 when it
 * was refused. Anything else is a crash. */
#include <dlc/dlc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct Job {
    const char *path;
    dlc_status status;
} Job;

static void *compile(void *user) {
    Job *job = user;
    dlc_context *context = NULL;
    dlc_plan *plan = NULL;
    job->status = dlc_context_create(NULL, &context);
    if (job->status == DLC_OK) {
        job->status = dlc_compile_file(context, job->path, NULL, &plan);
        fprintf(stderr, "%s%s\n", dlc_diagnostics_text(context, 0), dlc_last_error(context));
    }
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        return 3;
    }
    Job job = {.path = argv[2]};
    pthread_attr_t attributes;
    pthread_t thread;
    if (pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setstacksize(&attributes, (size_t)atoi(argv[1]) * 1024) != 0 ||
        pthread_create(&thread, &attributes, compile, &job) != 0 ||
        pthread_join(thread, NULL) != 0) {
        return 3;
    }
    pthread_attr_destroy(&attributes);
    return job.status == DLC_OK ? 0 : 1;
}
