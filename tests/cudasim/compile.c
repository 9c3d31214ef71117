/* The text of a unit of kernels to a container: the host's C++ compiler makes a shared object of
 * it, with the host twin of the prelude and the thread sanitizer's instrumentation, which calls us.
 */
#include "tests/cudasim/sim.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
extern const char cudasim_prelude[]; /* made by embed.py */

enum { PATH_BYTES = 512 };

static bool write_file(const char *path, const char *first, const char *second) {
    FILE *file = fopen(path, "w");
    if (!file) {
        return false;
    }
    bool good = fputs(first, file) >= 0 && fputs(second, file) >= 0;
    return fclose(file) == 0 && good;
}

static char *read_file(const char *path, size_t *n) {
    FILE *file = fopen(path, "r");
    struct stat about;
    char *bytes = NULL;
    *n = 0;
    if (file && fstat(fileno(file), &about) == 0) {
        bytes = malloc((size_t)about.st_size + 1);
        if (bytes) {
            *n = fread(bytes, 1, (size_t)about.st_size, file);
            bytes[*n] = 0;
        }
    }
    if (file) {
        fclose(file);
    }
    return bytes;
}

/* -- The kernels of a text. */

static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* The name of the function that begins at `at` (behind __global__), with its launch bound. */
static const char *kernel_read(const char *at, CudasimKernel *kernel) {
    *kernel =
        (CudasimKernel){.registers = -1, .stack_bytes = -1, .shared_bytes = -1, .max_threads = -1};
    for (;;) {
        while (*at && !is_name(*at)) {
            at++;
        }
        const char *begin = at;
        while (is_name(*at)) {
            at++;
        }
        size_t n = (size_t)(at - begin);
        const char *next = at + strspn(at, " \t\n");
        if (n == 0 || n >= sizeof kernel->name) {
            return *at ? at : NULL;
        }
        if (*next != '(') {
            continue; /* void */
        }
        if (n == strlen("__launch_bounds__") && !memcmp(begin, "__launch_bounds__", n)) {
            kernel->max_threads = (int32_t)strtol(next + 1, NULL, 10);
            at = strchr(next, ')');
            if (!at) {
                return NULL;
            }
            continue;
        }
        memcpy(kernel->name, begin, n);
        return at;
    }
}

static int32_t number_before(const char *from, const char *to, const char *word) {
    const char *at = strstr(from, word);
    if (!at || at >= to) {
        return -1;
    }
    while (at > from && at[-1] >= '0' && at[-1] <= '9') {
        at--;
    }
    return (int32_t)strtol(at, NULL, 10);
}

static void figures(const char *log, CudasimKernel *kernel) {
    char head[CUDASIM_NAME_BYTES + 40];
    snprintf(head, sizeof head, "Compiling entry function '%s' for", kernel->name);
    const char *from = log ? strstr(log, head) : NULL;
    if (from) {
        from += strlen(head);
        const char *to = strstr(from, "Compiling entry function");
        to = to ? to : from + strlen(from);
        kernel->registers = number_before(from, to, " registers");
        kernel->stack_bytes = number_before(from, to, " bytes stack frame");
    }
}

static CudasimKernel *kernels_find(const char *source, const char *log, uint32_t *n_out) {
    CudasimKernel *kernels = NULL;
    uint32_t n = 0;
    const char *at = source;
    while ((at = strstr(at, "__global__")) != NULL) {
        at += strlen("__global__");
        CudasimKernel kernel;
        const char *behind = kernel_read(at, &kernel);
        if (!behind) {
            break;
        }
        at = behind;
        if (kernel.name[0]) {
            figures(log, &kernel);
            CudasimKernel *grown = realloc(kernels, (n + 1) * sizeof *kernels);
            if (!grown) {
                break;
            }
            kernels = grown;
            kernels[n++] = kernel;
        }
    }
    *n_out = n;
    return kernels;
}

static char *wrappers(const CudasimKernel *kernels, uint32_t n) {
    char *text = malloc((size_t)n * (CUDASIM_NAME_BYTES + 32) + 16);
    char *at = text;
    if (text) {
        *at++ = '\n';
        *at = 0;
    }
    for (uint32_t i = 0; i < n && text; i++) {
        at += sprintf(at, "DLCSIM_KERNEL(%s)\n", kernels[i].name);
    }
    return text;
}

/* -- The compiler. */

static bool spawn(char *const *arguments, const char *log_path) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, log_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    pid_t child = 0;
    int failed = posix_spawnp(&child, arguments[0], &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    int status = 0;
    if (failed) {
        return false;
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool run_compiler(const char *folder, int arch, const char *log_path) {
    char source[PATH_BYTES], library[PATH_BYTES], define[64];
    snprintf(source, sizeof source, "%s/kernels.cu", folder);
    snprintf(library, sizeof library, "%s/kernels.so", folder);
    snprintf(define, sizeof define, "-D__CUDA_ARCH__=%d", arch * 10);
    const char *compiler = getenv("DLC_CUDASIM_CXX");
    const char *arguments[40];
    int n = 0;
    arguments[n++] = compiler && compiler[0] ? compiler : "g++";
    static const char *const fixed[] = {"-x",
                                        "c++",
                                        "-std=c++17",
                                        "-fsanitize=thread",
                                        "-ffp-contract=off",
                                        "-fno-strict-aliasing",
                                        "-fwrapv",
                                        "-fno-exceptions",
                                        "-fno-rtti",
                                        "-fPIC",
                                        "-shared",
                                        "-nostdlib",
                                        "-w",
                                        "-g1",
                                        "-pipe"};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        arguments[n++] = fixed[i];
    }
#if defined(__x86_64__)
    if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("sse4.1")) {
        arguments[n++] = "-mfma"; /* fma as one instruction instead of a call: the same bits */
    }
#endif
    const char *level = getenv("DLC_CUDASIM_LEVEL");
    arguments[n++] = level && level[0] ? level : "-Og";
    arguments[n++] = define;
    arguments[n++] = source;
    arguments[n++] = "-o";
    arguments[n++] = library;
    arguments[n++] = "-lm";
    arguments[n++] = "-lc";
    arguments[n] = NULL;
    return spawn((char *const *)(uintptr_t)arguments, log_path);
}

static void pack(const char *source, int arch, int version, const CudasimKernel *kernels,
                 uint32_t n, const char *library, size_t n_library, Compiled *out) {
    CudasimContainer header = {
        .arch = (uint32_t)arch, .version = (uint32_t)version, .n_kernels = n};
    memcpy(header.magic, CUDASIM_CUBIN_MAGIC, sizeof header.magic);
    header.kernels = sizeof header;
    header.source = header.kernels + n * sizeof *kernels;
    header.source_bytes = strlen(source) + 1;
    header.library = (header.source + header.source_bytes + 15) & ~(uint64_t)15;
    header.library_bytes = n_library;
    header.total = header.library + n_library;
    out->container = calloc(1, header.total);
    if (out->container) {
        out->bytes = header.total;
        memcpy(out->container, &header, sizeof header);
        memcpy(out->container + header.kernels, kernels, n * sizeof *kernels);
        memcpy(out->container + header.source, source, header.source_bytes);
        memcpy(out->container + header.library, library, n_library);
    }
}

void sim_compile(const char *source, int arch, int version, const char *real, Compiled *out) {
    char folder[PATH_BYTES - 64], path[PATH_BYTES], log_path[PATH_BYTES];
    static const char *const files[] = {"dlc_prelude.cuh", "kernels.cu", "kernels.so", "log"};
    const char *temporary = getenv("TMPDIR");
    *out = (Compiled){0};
    snprintf(folder, sizeof folder, "%s/cudasim-XXXXXX",
             temporary && temporary[0] ? temporary : "/tmp");
    if (!mkdtemp(folder)) {
        out->log = strdup("no temporary folder");
        return;
    }
    uint32_t n = 0;
    CudasimKernel *kernels = kernels_find(source, real, &n);
    char *calls = wrappers(kernels, n), *library = NULL;
    size_t n_library = 0, n_log = 0;
    snprintf(path, sizeof path, "%s/%s", folder, files[0]);
    bool good = calls && write_file(path, cudasim_prelude, "");
    snprintf(path, sizeof path, "%s/%s", folder, files[1]);
    good = good && write_file(path, source, calls);
    snprintf(log_path, sizeof log_path, "%s/log", folder);
    good = good && run_compiler(folder, arch, log_path);
    out->log = read_file(log_path, &n_log);
    if (good) {
        snprintf(path, sizeof path, "%s/%s", folder, files[2]);
        library = read_file(path, &n_library);
    }
    if (library) {
        pack(source, arch, version, kernels, n, library, n_library, out);
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0] && !getenv("DLC_CUDASIM_KEEP"); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
    free(kernels);
    free(calls);
    free(library);
}
