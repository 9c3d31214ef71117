/* The entry points of libcuda that the CUDA device of the run time calls (runtime/cuda/driver.def),
 * and a few that tests of the simulator need. Here: devices and contexts; driver_*.c has the rest.
 */
#include "tests/cudasim/driver.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK_CONTEXTS = 32, PATH_BYTES = 512, CHILDREN = 2, CHILD_SECONDS = 120 };

typedef struct Uuid {
    char bytes[16];
} Uuid;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool initialised, settings_known;
static int64_t calls;
Counts alive;
static Ctx contexts[MAX_DEVICES];
static _Thread_local Ctx *stack[STACK_CONTEXTS];
static _Thread_local int n_stack;

/* -- Every call fails, each in a process of its own: the folder's NUMBER.log has its output, and
 * the line "NUMBER STATUS" of the folder's `ends` its end. */

static struct {
    pid_t process;
    int64_t call;
} children[CHILDREN];

static void child_wait(int which) {
    int end = 0;
    char path[PATH_BYTES];
    if (children[which].process <= 0) {
        return;
    }
    bool waited = waitpid(children[which].process, &end, 0) == children[which].process;
    snprintf(path, sizeof path, "%s/ends", settings.fork);
    FILE *file = fopen(path, "a");
    if (file) {
        fprintf(file, "%lld %d\n", (long long)children[which].call,
                waited && WIFEXITED(end) ? WEXITSTATUS(end) : 128 + (waited ? WTERMSIG(end) : 0));
        fclose(file);
    }
    children[which].process = 0;
}

/* True in the child, in which this call is to fail. */
static bool is_split_off(void) {
    int which = (int)(calls % CHILDREN);
    char path[PATH_BYTES];
    child_wait(which);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        snprintf(path, sizeof path, "%s/%lld.log", settings.fork, (long long)calls);
        int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(file, 1);
        dup2(file, 2);
        close(file);
        alarm(CHILD_SECONDS);
        settings.fork = NULL;
        pinned_off();
        hot.checked = 0; /* the parent's run checks every access; here it is how the run ends */
        return true;
    }
    children[which].process = child;
    children[which].call = calls;
    return false;
}

bool enter(void) {
    pthread_mutex_lock(&lock);
    if (!settings_known) {
        settings_read();
        settings_known = true;
    }
    pinned_look();
    calls++;
    return calls != settings.fail_call && !(settings.fork && is_split_off());
}

Result leave(Result result) {
    pthread_mutex_unlock(&lock);
    return result;
}

Ctx *current(void) {
    return n_stack > 0 ? stack[n_stack - 1] : NULL;
}

Result ready(bool goes) {
    if (!goes) {
        return settings.fail_result;
    }
    if (!initialised) {
        return SIM_NOT_INITIALIZED;
    }
    if (!current()) {
        return SIM_INVALID_CONTEXT;
    }
    return current()->broken;
}

Stream *stream_of(void *handle) {
    return handle ? handle : &current()->null_stream;
}

/* -- The driver and its devices. */

EXPORT Result cuInit(unsigned flags);
Result cuInit(unsigned flags) {
    if (!enter()) {
        return leave(settings.fail_result);
    }
    if (flags != 0) {
        return leave(SIM_INVALID_VALUE);
    }
    if (settings.devices == 0) {
        return leave(SIM_NO_DEVICE);
    }
    initialised = initialised || memory_init();
    return leave(initialised ? SIM_SUCCESS : SIM_OUT_OF_MEMORY);
}

EXPORT Result cuDriverGetVersion(int *version);
Result cuDriverGetVersion(int *version) {
    if (!enter()) {
        return leave(settings.fail_result);
    }
    *version = settings.driver;
    return leave(SIM_SUCCESS);
}

static const struct {
    int value;
    const char *name, *text;
} results[] = {
#define X(NAME, VALUE, TEXT) {VALUE, "CUDA_" #NAME, TEXT},
    SIM_RESULTS(X)
#undef X
};

static const char *result_text(Result value, bool name) {
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        if (results[i].value == value) {
            return name ? results[i].name : results[i].text;
        }
    }
    return NULL;
}

EXPORT Result cuGetErrorName(Result error, const char **text);
Result cuGetErrorName(Result error, const char **text) {
    const char *name = result_text(error, true);
    static char buffer[64];
    if (name && error != SIM_SUCCESS) {
        snprintf(buffer, sizeof buffer, "CUDA_ERROR_%s", name + strlen("CUDA_"));
    }
    *text = name && error != SIM_SUCCESS ? buffer : name;
    return name ? SIM_SUCCESS : SIM_INVALID_VALUE;
}

EXPORT Result cuGetErrorString(Result error, const char **text);
Result cuGetErrorString(Result error, const char **text) {
    *text = result_text(error, false);
    return *text ? SIM_SUCCESS : SIM_INVALID_VALUE;
}

EXPORT Result cuDeviceGetCount(int *count);
Result cuDeviceGetCount(int *count) {
    bool goes = enter();
    *count = settings.devices;
    return leave(!goes ? settings.fail_result : initialised ? SIM_SUCCESS : SIM_NOT_INITIALIZED);
}

static Result device_check(bool goes, int device) {
    return !goes                                      ? settings.fail_result
           : !initialised                             ? SIM_NOT_INITIALIZED
           : device < 0 || device >= settings.devices ? SIM_INVALID_DEVICE
                                                      : SIM_SUCCESS;
}

EXPORT Result cuDeviceGet(int *device, int ordinal);
Result cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return leave(device_check(enter(), ordinal));
}

EXPORT Result cuDeviceGetName(char *name, int n_name, int device);
Result cuDeviceGetName(char *name, int n_name, int device) {
    Result result = device_check(enter(), device);
    if (result == SIM_SUCCESS) {
        snprintf(name, (size_t)n_name, "Simulated sm_%d", settings.arch);
    }
    return leave(result);
}

EXPORT Result cuDeviceGetUuid_v2(Uuid *uuid, int device);
Result cuDeviceGetUuid_v2(Uuid *uuid, int device) {
    Result result = device_check(enter(), device);
    for (int i = 0; i < 16 && result == SIM_SUCCESS; i++) {
        uuid->bytes[i] = (char)(i == 0 ? settings.shown[device] + 1 : 17 * i);
    }
    return leave(result);
}

size_t shared_opt_in(void) {
    switch (settings.arch) {
    case 75:
        return 64 * 1024;
    case 80:
    case 87:
        return 163 * 1024;
    case 86:
    case 89:
    case 120:
        return 99 * 1024;
    default:
        return 227 * 1024;
    }
}

EXPORT Result cuDeviceGetAttribute(int *value, int attribute, int device);
Result cuDeviceGetAttribute(int *value, int attribute, int device) {
    Result result = device_check(enter(), device);
    if (result != SIM_SUCCESS) {
        return leave(result);
    }
    switch (attribute) {
    case 1:
        *value = 1024;
        break; /* threads of a block */
    case 2:
        *value = 1024;
        break; /* block dim x */
    case 5:
        *value = 2147483647;
        break; /* grid dim x */
    case 8:
        *value = 48 * 1024;
        break; /* shared memory of a block */
    case 10:
        *value = WARP;
        break;
    case 12:
        *value = 65536;
        break; /* registers of a block */
    case 13:
        *value = 1500000;
        break; /* clock, kHz */
    case 16:
        *value = PROCESSORS;
        break;
    case 17:
        *value = 0;
        break; /* time limit of kernels */
    case 20:
        *value = 0;
        break; /* compute mode */
    case 36:
        *value = 2000000;
        break; /* memory clock */
    case 37:
        *value = 512;
        break; /* memory bus width */
    case 38:
        *value = 4 << 20;
        break; /* L2 */
    case 39:
        *value = 2048;
        break; /* threads of a processor */
    case 41:
        *value = 1;
        break; /* unified addressing */
    case 75:
        *value = settings.arch / 10;
        break;
    case 76:
        *value = settings.arch % 10;
        break;
    case 81:
        *value = (int)shared_opt_in() + 1024;
        break; /* shared memory of a processor */
    case 82:
        *value = 65536;
        break; /* registers of a processor */
    case 97:
        *value = (int)shared_opt_in();
        break;
    default:
        report("cuDeviceGetAttribute: attribute %d is not simulated", attribute);
        result = SIM_INVALID_VALUE;
    }
    return leave(result);
}

/* -- Contexts. */

EXPORT Result cuDevicePrimaryCtxRetain(void **context, int device);
Result cuDevicePrimaryCtxRetain(void **context, int device) {
    Result result = device_check(enter(), device);
    if (result == SIM_SUCCESS) {
        Ctx *ctx = &contexts[device];
        ctx->device = device;
        ctx->null_stream.context = ctx;
        ctx->null_stream.is_null = true;
        ctx->uses++;
        *context = ctx;
        result = ctx->broken;
    }
    return leave(result);
}

static void context_end(Ctx *ctx) {
    queue_wait_context(ctx);
    ctx->broken = SIM_SUCCESS;
}

EXPORT Result cuDevicePrimaryCtxRelease_v2(int device);
Result cuDevicePrimaryCtxRelease_v2(int device) {
    bool goes = enter();
    Result result = device_check(true, device);
    if (result == SIM_SUCCESS && contexts[device].uses == 0) {
        result = SIM_INVALID_CONTEXT;
    }
    if (result == SIM_SUCCESS && --contexts[device].uses == 0) {
        context_end(&contexts[device]);
    }
    return leave(goes ? result : settings.fail_result);
}

EXPORT Result cuCtxPushCurrent_v2(void *context);
Result cuCtxPushCurrent_v2(void *context) {
    bool goes = enter();
    Ctx *ctx = context;
    if (!goes || !ctx || ctx->uses == 0 || n_stack == STACK_CONTEXTS) {
        return leave(goes ? SIM_INVALID_CONTEXT : settings.fail_result);
    }
    stack[n_stack++] = ctx;
    return leave(SIM_SUCCESS);
}

EXPORT Result cuCtxPopCurrent_v2(void **context);
Result cuCtxPopCurrent_v2(void **context) {
    bool goes = enter();
    if (n_stack == 0) {
        return leave(SIM_INVALID_CONTEXT);
    }
    n_stack--;
    if (context) {
        *context = stack[n_stack];
    }
    return leave(goes ? SIM_SUCCESS : settings.fail_result);
}

EXPORT Result cuCtxSynchronize(void);
Result cuCtxSynchronize(void) {
    ENTER();
    return leave(queue_wait_context(current()));
}

/* -- What tests ask of the simulator itself. */

/* Calls so far; faults reported; things that are alive: memory, streams, events, graphs, modules;
 * waits since the settings were read. */
EXPORT long long dlcsim_calls(void);
EXPORT long long dlcsim_faults(void);
EXPORT long long dlcsim_live(void);
EXPORT long long dlcsim_waits(void);
EXPORT void dlcsim_settings_again(void);
long long dlcsim_calls(void) {
    return calls;
}
long long dlcsim_faults(void) {
    return report_count();
}
long long dlcsim_live(void) {
    return memory_live() + alive.streams + alive.events + alive.graphs + alive.execs +
           module_live();
}
long long dlcsim_waits(void) {
    return wait_count();
}
void dlcsim_settings_again(void) { /* the number of devices and what is reserved stay */
    pthread_mutex_lock(&lock);
    int devices = settings.devices;
    settings_read();
    settings.devices = settings_known ? devices : settings.devices;
    settings_known = true;
    calls = 0;
    pthread_mutex_unlock(&lock);
}

static __attribute__((destructor)) void at_exit(void) {
    for (int i = 0; i < CHILDREN && settings.fork; i++) {
        child_wait(i);
    }
    pinned_look();
    if (!settings_known || !getenv("DLC_CUDASIM_LEAKS")) {
        return;
    }
    report_more("%lld calls; alive: %lld allocations, %lld streams, %lld events, %lld graphs, "
                "%lld executable graphs, %lld modules",
                (long long)calls, (long long)memory_live(), (long long)alive.streams,
                (long long)alive.events, (long long)alive.graphs, (long long)alive.execs,
                (long long)module_live());
    memory_live_print();
}

/* -- For the stand-ins of vendor libraries. */

EXPORT int cudasimCall(void);
int cudasimCall(void) {
    ENTER();
    return leave(SIM_SUCCESS);
}

EXPORT int cudasimOperation(void *stream, const SimOperation *operation);
int cudasimOperation(void *stream, const SimOperation *operation) {
    ENTER();
    Work work = {.kind = OP_LIBRARY, .operation = operation_copy(operation)};
    return leave(queue_add(stream_of(stream), &work));
}

EXPORT bool cudasimIsCapturing(void *stream);
bool cudasimIsCapturing(void *stream) {
    pthread_mutex_lock(&lock);
    bool capturing = current() && stream_of(stream)->capture;
    pthread_mutex_unlock(&lock);
    return capturing;
}
