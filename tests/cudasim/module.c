/* Modules: containers of the simulated NVRTC, written to a file and opened as shared objects. A
 * real cubin or PTX is refused as a driver refuses what its device cannot run. */
#include "tests/cudasim/results.h"
#include "tests/cudasim/sim.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static Module *modules;

/* PTX is the text behind a line "//DLCSIM 90 13000", compiled here. */
static int ptx_check(const char *text, int arch, Compiled *compiled) {
    int made_for = 0, version = 0;
    if (sscanf(text, CUDASIM_PTX_MAGIC " %d %d", &made_for, &version) != 2) {
        return SIM_UNSUPPORTED_PTX_VERSION; /* a real one */
    }
    if (version > settings.driver) {
        return SIM_UNSUPPORTED_PTX_VERSION;
    }
    if (made_for > arch) {
        return SIM_INVALID_PTX;
    }
    keep_compile(strchr(text, '\n') + 1, arch, settings.driver, compiled);
    if (!compiled->container) {
        report("PTX cannot be compiled: %s", compiled->log ? compiled->log : "");
        return SIM_INVALID_PTX;
    }
    return SIM_SUCCESS;
}

static int cubin_check(const unsigned char *image, int arch, CudasimContainer *out) {
    if (memcmp(image, CUDASIM_CUBIN_MAGIC, 8) != 0) {
        if (!memcmp(image, "\177ELF", 4)) {
            return SIM_NO_BINARY_FOR_GPU; /* a real cubin: not for this device */
        }
        return SIM_INVALID_IMAGE;
    }
    memcpy(out, image, sizeof *out);
    int made_for = (int)out->arch;
    if ((int)out->version / 1000 > settings.driver / 1000) {
        return SIM_NO_BINARY_FOR_GPU; /* minor versions are compatible, a newer major one is not */
    }
    /* A cubin runs on its major architecture, at the same minor number or a higher one. */
    return made_for / 10 == arch / 10 && made_for <= arch ? SIM_SUCCESS : SIM_NO_BINARY_FOR_GPU;
}

typedef struct Find {
    const char *path;
    uintptr_t begin, end;
} Find;

static int find_library(struct dl_phdr_info *info, size_t size, void *user) {
    (void)size;
    Find *find = user;
    if (strcmp(info->dlpi_name, find->path) != 0) {
        return 0;
    }
    find->begin = UINTPTR_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            uintptr_t end = begin + info->dlpi_phdr[i].p_memsz;
            find->begin = begin < find->begin ? begin : find->begin;
            find->end = end > find->end ? end : find->end;
        }
    }
    return 1;
}

static bool library_open(Module *module, const void *bytes, size_t n) {
    const char *folder = getenv("TMPDIR");
    snprintf(module->path, sizeof module->path, "%s/cudasim-XXXXXX",
             folder && folder[0] && strlen(folder) < 200 ? folder : "/tmp");
    int file = mkstemp(module->path);
    if (file < 0) {
        module->path[0] = 0;
        return false;
    }
    size_t done = 0;
    while (done < n) {
        ssize_t wrote = write(file, (const char *)bytes + done, n - done);
        if (wrote <= 0) {
            break;
        }
        done += (size_t)wrote;
    }
    close(file);
    Dl_info own; /* the code finds our functions in the global scope only */
    if (dladdr(&modules, &own)) {
        dlopen(own.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
    }
    module->library = done == n ? dlopen(module->path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!module->library) {
        report("a module's code cannot be opened: %s", dlerror());
        return false;
    }
    Find find = {.path = module->path};
    dl_iterate_phdr(find_library, &find);
    module->begin = find.begin;
    module->end = find.end;
    return true;
}

static int load(const unsigned char *image, int arch, Ctx *context, Module **out) {
    CudasimContainer header;
    int result = cubin_check(image, arch, &header);
    if (result != SIM_SUCCESS) {
        return result;
    }
    Module *module = calloc(1, sizeof *module);
    if (!module) {
        return SIM_OUT_OF_MEMORY;
    }
    module->context = context;
    module->image_bytes = header.total;
    module->image = malloc(header.total);
    module->functions = calloc(header.n_kernels + 1, sizeof *module->functions);
    if (!module->image || !module->functions) {
        module_unload(module);
        return SIM_OUT_OF_MEMORY;
    }
    memcpy(module->image, image, header.total);
    module->source = (const char *)module->image + header.source;
    module->next = modules;
    modules = module;
    if (!library_open(module, module->image + header.library, header.library_bytes)) {
        module_unload(module);
        return SIM_INVALID_IMAGE;
    }
    for (uint32_t i = 0; i < header.n_kernels; i++) {
        Function *function = &module->functions[module->n_functions];
        function->module = module;
        function->kernel =
            (const CudasimKernel *)(const void *)(module->image + header.kernels) + i;
        char name[CUDASIM_NAME_BYTES + 32];
        snprintf(name, sizeof name, "dlcsim_call_%s", function->kernel->name);
        void *call = dlsym(module->library, name);
        memcpy(&function->call, &call, sizeof call);
        snprintf(name, sizeof name, "dlcsim_sizes_%s", function->kernel->name);
        function->sizes = dlsym(module->library, name);
        call = function->sizes ? call : NULL;
        function->shared_allowed = 48 * 1024;
        module->n_functions += call != NULL;
    }
    *out = module;
    return SIM_SUCCESS;
}

int module_load(const void *image, int arch, Ctx *context, Module **out) {
    const char *text = image;
    if (text[0] != '/' && text[0] != '.' && text[0] != '\n') {
        return load(image, arch, context, out);
    }
    Compiled compiled = {0};
    int result = ptx_check(text, arch, &compiled);
    if (result == SIM_SUCCESS) {
        result = load(compiled.container, arch, context, out);
    }
    free(compiled.container);
    free(compiled.log);
    return result;
}

void module_unload(Module *module) {
    for (Module **at = &modules; *at; at = &(*at)->next) {
        if (*at == module) {
            *at = module->next;
            break;
        }
    }
    if (module->library) {
        dlclose(module->library);
    }
    if (module->path[0]) {
        unlink(module->path);
    }
    free(module->image);
    free(module->functions);
    free(module);
}

Function *module_function(Module *module, const char *name) {
    for (int i = 0; i < module->n_functions; i++) {
        if (!strcmp(module->functions[i].kernel->name, name)) {
            return &module->functions[i];
        }
    }
    return NULL;
}

const Module *module_at(uintptr_t address) {
    for (const Module *m = modules; m; m = m->next) {
        if (address >= m->begin && address < m->end) {
            return m;
        }
    }
    return NULL;
}

int64_t module_live(void) {
    int64_t n = 0;
    for (const Module *m = modules; m; m = m->next) {
        n++;
    }
    return n;
}

void module_line(const Module *module, uintptr_t code, char *out, size_t n_out) {
    char command[400], answer[400] = "";
    out[0] = 0;
    snprintf(command, sizeof command, "addr2line -i -e %s 0x%lx 2>/dev/null", module->path,
             (unsigned long)(code - 1 - module->begin));
    FILE *pipe = popen(command, "r");
    if (!pipe) {
        return;
    }
    long line = 0;
    while (fgets(answer, sizeof answer,
                 pipe)) { /* outermost last; the text's own name is kernels.cu */
        const char *own = strstr(answer, "kernels.cu:");
        if (own && !line) {
            line = strtol(own + strlen("kernels.cu:"), NULL, 10);
        }
    }
    pclose(pipe);
    const char *at = module->source;
    for (long i = 1; at && i < line; i++) {
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    if (line > 0 && at) {
        snprintf(out, n_out, "line %ld: %.*s", line, (int)strcspn(at, "\n"), at);
    }
}
