/* The parts of the GPU kit, one a process; each prints one JSON object and fails when something is
 * wrong. It links the run time alone: no compiler, no LLVM. See docs/cuda.md.
 *   gpukit [--device D] versions | load PLAN… | ops PLAN CASES | record SPEC | model SPEC |
 *                       kernels SPEC | train SPEC
 * SPEC: NAME PLAN EXPECTED STEPS TOLERANCE [DIM=N]…; `record` writes EXPECTED, on the CPU. */
#include "tests/gpu/gpukit.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

double kit_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void kit_text(const char *text) {
    putchar('"');
    for (const char *c = text ? text : ""; *c; c++) {
        if (*c == '"' || *c == '\\') {
            putchar('\\');
        }
        putchar((unsigned char)*c < ' ' ? ' ' : *c);
    }
    putchar('"');
}

void kit_problem(Kit *kit, const char *format, ...) {
    char text[700];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "gpukit: %s\n", text);
    if (kit->n_problems < MOST_PROBLEMS) {
        snprintf(kit->problems[kit->n_problems], sizeof kit->problems[0], "%.500s", text);
    }
    kit->n_problems++;
}

dlc_plan *kit_plan(Kit *kit, const char *path) {
    dlc_plan *plan = NULL;
    if (dlc_plan_load(kit->context, path, 0, &plan) != DLC_OK) {
        kit_problem(kit, "%s: %s", path, dlc_last_error(kit->context));
    }
    return plan;
}

static void versions(Kit *kit) {
    const DeviceOps *ops = device_find(kit->kind);
    dlc_allocator allocator = kit->context->allocator;
    DeviceOptions options = {.which = kit->which};
    Device *device = NULL;
    char message[DEVICE_MESSAGE_BYTES] = "", line[1024] = "";
    printf("\"dlc\": ");
    kit_text(dlc_version_text());
    if (!ops || ops->open(&allocator, &options, &device, message) != DLC_OK) {
        kit_problem(kit, "%s: %s", kit->device, ops ? message : "no such kind of device");
        return;
    }
    ops->describe(device, line, sizeof line);
    printf(", \"device\": ");
    kit_text(line);
    printf(", \"memory_after_open_bytes\": %lld",
           (long long)(ops->overhead_bytes ? ops->overhead_bytes(device) : -1));
    double seconds = 0;
    size_t bytes = kit->quick ? (size_t)1 << 18 : (size_t)1 << 28;
    void *a = ops->alloc(device, bytes), *b = ops->alloc(device, bytes);
    KernelFault fault;
    if (!a || !b) {
        kit_problem(kit, "two times %zu bytes are not to be had", bytes);
    } else {
        for (int i = 0; i < 4; i++) {
            double begin = kit_seconds();
            for (int k = 0; k < 8; k++) {
                (void)ops->copy(device, a, b, bytes, NULL);
            }
            (void)ops->finish(device, &fault);
            double took = kit_seconds() - begin;
            seconds = i == 0 || took < seconds ? took : seconds;
        }
        printf(", \"copy_bytes_per_second\": %.4g", 16.0 * (double)bytes / seconds);
    }
    ops->free(device, a);
    ops->free(device, b);
    ops->close(device);
}

static void load(Kit *kit, char **paths, int n) {
    printf("\"plans\": [");
    for (int i = 0; i < n; i++) {
        double begin = kit_seconds();
        dlc_plan *plan = kit_plan(kit, paths[i]);
        dlc_session *session = NULL;
        dlc_session_options options = {.struct_size = sizeof options, .device = kit->device};
        if (plan && dlc_session_create(plan, &options, &session) != DLC_OK) {
            kit_problem(kit, "%s: %s", paths[i], dlc_last_error(kit->context));
        }
        printf("%s\n  {\"plan\": ", i ? "," : "");
        kit_text(paths[i]);
        printf(", \"seconds\": %.3f, \"how\": ", kit_seconds() - begin);
        kit_text(session ? dlc_session_describe(session) : "failed");
        if (session && session->ops->overhead_bytes) {
            printf(", \"memory_bytes\": %lld",
                   (long long)session->ops->overhead_bytes(session->device));
        }
        printf("}");
        dlc_session_destroy(session);
        dlc_plan_destroy(plan);
    }
    printf("]");
}

static void keep_log(void *user, dlc_log_level level, const char *text) {
    (void)user;
    (void)level;
    fprintf(stderr, "%s\n", text);
}

int main(int argc, char **argv) {
    static Kit kit = {.device = "cuda:0"};
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (!strcmp(argv[at], "--device") && at + 1 < argc) {
            kit.device = argv[++at];
        } else if (!strcmp(argv[at], "--quick")) {
            kit.quick = true;
        }
    }
    if (at >= argc) {
        fprintf(stderr, "gpukit [--device D] [--quick] PART ARGUMENTS...\n");
        return 2;
    }
    const char *part = argv[at++];
    const char *colon = strchr(kit.device, ':');
    snprintf(kit.kind, sizeof kit.kind, "%.*s",
             (int)(colon ? colon - kit.device : (long)strlen(kit.device)), kit.device);
    kit.which = colon ? colon + 1 : "";
    dlc_context_options options = {.struct_size = sizeof options, .log = keep_log};
    if (dlc_context_create(&options, &kit.context) != DLC_OK) {
        return 1;
    }
    double begin = kit_seconds();
    printf("{\"part\": ");
    kit_text(part);
    printf(", ");
    if (!strcmp(part, "versions")) {
        versions(&kit);
    } else if (!strcmp(part, "load")) {
        load(&kit, argv + at, argc - at);
    } else if (!strcmp(part, "ops") && argc - at == 2) {
        kit_ops(&kit, argv[at], argv[at + 1]);
    } else if (argc - at >= 5 && kit_spec(&kit, argv + at, argc - at)) {
        kit_model(&kit, part);
    } else {
        kit_problem(&kit, "unknown part or arguments: %s", part);
    }
    printf(", \"seconds\": %.2f, \"problems\": [", kit_seconds() - begin);
    for (int i = 0; i < kit.n_problems && i < MOST_PROBLEMS; i++) {
        printf("%s", i ? ", " : "");
        kit_text(kit.problems[i]);
    }
    printf("], \"n_problems\": %d}\n", kit.n_problems);
    dlc_context_destroy(kit.context);
    return kit.n_problems ? 1 : 0;
}
