/* The entry points of NVRTC that we call. The text is compiled for this host (compile.c); when
 * DLC_CUDASIM_NVRTC asks for it, also by the real NVRTC, which must accept it and whose report on
 * registers then counts. */
#include "tests/cudasim/sim.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NVRTC_OK = 0, NVRTC_OUT_OF_MEMORY = 1, NVRTC_INVALID_INPUT = 3, NVRTC_COMPILATION = 6 };

typedef struct Program {
    char *source, *name, *header, *header_name;
    char *log;
    Compiled compiled;
    char *ptx;
} Program;

typedef struct Real {
    int (*create)(void **, const char *, const char *, int, const char *const *,
                  const char *const *);
    int (*destroy)(void **);
    int (*compile)(void *, int, const char *const *);
    int (*log_size)(void *, size_t *);
    int (*log)(void *, char *);
} Real;

static int toolkit(void) {
    const char *text = getenv("DLC_CUDASIM_TOOLKIT");
    return text && text[0] ? atoi(text) : 13000;
}

static char *copy_text(const char *text) {
    return strdup(text ? text : "");
}

EXPORT int nvrtcVersion(int *major, int *minor);
int nvrtcVersion(int *major, int *minor) {
    *major = toolkit() / 1000;
    *minor = toolkit() % 1000 / 10;
    return NVRTC_OK;
}

static const int architectures[] = {75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};

EXPORT int nvrtcGetNumSupportedArchs(int *count);
int nvrtcGetNumSupportedArchs(int *count) {
    *count = (int)(sizeof architectures / sizeof architectures[0]);
    return NVRTC_OK;
}

EXPORT int nvrtcGetSupportedArchs(int *list);
int nvrtcGetSupportedArchs(int *list) {
    memcpy(list, architectures, sizeof architectures);
    return NVRTC_OK;
}

EXPORT int nvrtcCreateProgram(Program **out, const char *source, const char *name, int n_headers,
                              const char *const *headers, const char *const *header_names);
int nvrtcCreateProgram(Program **out, const char *source, const char *name, int n_headers,
                       const char *const *headers, const char *const *header_names) {
    Program *program = calloc(1, sizeof *program);
    if (!program) {
        return NVRTC_OUT_OF_MEMORY;
    }
    program->source = copy_text(source);
    program->name = copy_text(name);
    program->header = copy_text(n_headers > 0 ? headers[0] : "");
    program->header_name = copy_text(n_headers > 0 ? header_names[0] : "");
    *out = program;
    return NVRTC_OK;
}

EXPORT int nvrtcDestroyProgram(Program **handle);
int nvrtcDestroyProgram(Program **handle) {
    Program *program = *handle;
    if (program) {
        free(program->source);
        free(program->name);
        free(program->header);
        free(program->header_name);
        free(program->log);
        free(program->compiled.container);
        free(program->compiled.log);
        free(program->ptx);
        free(program);
    }
    *handle = NULL;
    return NVRTC_OK;
}

static bool real_open(Real *real) {
    const char *path = getenv("DLC_CUDASIM_NVRTC");
    glob_t found = {0};
    void *library = NULL;
    if (strchr(path, '/')) {
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    } else if (glob("/usr/local/cuda*/lib64/libnvrtc.so.13", 0, NULL, &found) == 0) {
        library = dlopen(found.gl_pathv[found.gl_pathc - 1], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    }
    globfree(&found);
    if (!library) {
        return false;
    }
    struct {
        const char *name;
        void *to;
    } symbols[] = {{"nvrtcCreateProgram", &real->create},
                   {"nvrtcDestroyProgram", &real->destroy},
                   {"nvrtcCompileProgram", &real->compile},
                   {"nvrtcGetProgramLogSize", &real->log_size},
                   {"nvrtcGetProgramLog", &real->log}};
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *symbol = dlsym(library, symbols[i].name);
        if (!symbol) {
            return false;
        }
        memcpy(symbols[i].to, &symbol, sizeof symbol);
    }
    return true;
}

/* The real compiler's log and result. */
static int real_compile(const Program *program, int n_options, const char *const *options,
                        char **log) {
    Real real;
    if (!real_open(&real)) {
        *log = strdup("DLC_CUDASIM_NVRTC: no real NVRTC was found\n");
        return NVRTC_COMPILATION;
    }
    void *handle = NULL;
    const char *headers[] = {program->header}, *names[] = {program->header_name};
    int result = real.create(&handle, program->source, program->name, 1, headers, names);
    if (result != NVRTC_OK) {
        return result;
    }
    result = real.compile(handle, n_options, options);
    size_t n = 0;
    real.log_size(handle, &n);
    *log = calloc(1, n + 1);
    if (*log) {
        real.log(handle, *log);
    }
    real.destroy(&handle);
    return result;
}

EXPORT int nvrtcCompileProgram(Program *program, int n_options, const char *const *options);
int nvrtcCompileProgram(Program *program, int n_options, const char *const *options) {
    int arch = 75;
    for (int i = 0; i < n_options; i++) {
        const char *value = strchr(options[i], '=');
        if (value && (strstr(options[i], "-gpu-architecture=") || strstr(options[i], "-arch="))) {
            value += strcspn(value, "0123456789");
            arch = atoi(value);
        }
    }
    const char *asked = getenv("DLC_CUDASIM_NVRTC");
    free(program->log);
    program->log = NULL;
    if (asked && asked[0] && strcmp(asked, "0") != 0) {
        int result = real_compile(program, n_options, options, &program->log);
        if (result != NVRTC_OK) {
            return result;
        }
    }
    if (program->log) {
        sim_compile(program->source, arch, toolkit(), program->log, &program->compiled);
    } else {
        keep_compile(program->source, arch, toolkit(), &program->compiled);
    }
    if (!program->compiled.container) {
        free(program->log);
        program->log = copy_text(program->compiled.log);
        return NVRTC_COMPILATION;
    }
    size_t n = strlen(program->source) + 64;
    program->ptx = malloc(n);
    if (!program->ptx) {
        return NVRTC_OUT_OF_MEMORY;
    }
    snprintf(program->ptx, n, CUDASIM_PTX_MAGIC " %d %d\n%s", arch, toolkit(), program->source);
    return NVRTC_OK;
}

EXPORT int nvrtcGetProgramLogSize(Program *program, size_t *size);
int nvrtcGetProgramLogSize(Program *program, size_t *size) {
    *size = (program->log ? strlen(program->log) : 0) + 1;
    return NVRTC_OK;
}

EXPORT int nvrtcGetProgramLog(Program *program, char *log);
int nvrtcGetProgramLog(Program *program, char *log) {
    strcpy(log, program->log ? program->log : "");
    return NVRTC_OK;
}

EXPORT int nvrtcGetCUBINSize(Program *program, size_t *size);
int nvrtcGetCUBINSize(Program *program, size_t *size) {
    *size = program->compiled.bytes;
    return program->compiled.container ? NVRTC_OK : NVRTC_INVALID_INPUT;
}

EXPORT int nvrtcGetCUBIN(Program *program, char *cubin);
int nvrtcGetCUBIN(Program *program, char *cubin) {
    memcpy(cubin, program->compiled.container, program->compiled.bytes);
    return NVRTC_OK;
}

EXPORT int nvrtcGetPTXSize(Program *program, size_t *size);
int nvrtcGetPTXSize(Program *program, size_t *size) {
    *size = program->ptx ? strlen(program->ptx) + 1 : 0;
    return program->ptx ? NVRTC_OK : NVRTC_INVALID_INPUT;
}

EXPORT int nvrtcGetPTX(Program *program, char *ptx);
int nvrtcGetPTX(Program *program, char *ptx) {
    strcpy(ptx, program->ptx);
    return NVRTC_OK;
}
