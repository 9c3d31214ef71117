/* NVRTC, the vendor's compiler of CUDA C text, opened at run time: the way to run an image whose
 * cubins and PTX the machine cannot take. */
#ifndef DLC_RUNTIME_CUDA_NVRTC_H
#define DLC_RUNTIME_CUDA_NVRTC_H

#include "runtime/cuda/library.h"

typedef struct NvrtcProgramRecord *NvrtcProgram;

typedef struct Nvrtc {
    void *library;
    int major, minor;
#define X(symbol, member, parameters) int(*member) parameters;
#include "runtime/cuda/nvrtc.def"
#undef X
} Nvrtc;

/* One text: source in, program (or NULL) and result out. */
typedef struct NvrtcJob {
    const char *source, *name;
    NvrtcProgram program;
    int result; /* of nvrtc, 0: compiled */
} NvrtcJob;

typedef struct NvrtcOptions {
    const char *prelude; /* what the texts include as "dlc_prelude.cuh" */
    const char *const *options;
    int n_options;
} NvrtcOptions;

/* An NVRTC of the driver's major version (driver_version 13000: 13); false: message. */
bool nvrtc_open(Nvrtc *nvrtc, int driver_version, char *message, size_t n_message);
void nvrtc_close(Nvrtc *nvrtc); /* accepts a zeroed one */
/* Compiles all jobs, several at once. The caller destroys the programs with nvrtc_job_finish. */
void nvrtc_compile(const Nvrtc *nvrtc, const NvrtcOptions *options, NvrtcJob *jobs, int n_jobs);
/* The cubin of a compiled job in new memory; else message. DLC_ERROR_UNSUPPORTED only where this
 * NVRTC does not know the GPU or lacks its own parts: the texts are ours, and compile. */
dlc_status nvrtc_job_cubin(const Nvrtc *nvrtc, const dlc_allocator *allocator, NvrtcJob *job,
                           void **out, char *message, size_t n_message);
void nvrtc_job_finish(const Nvrtc *nvrtc, NvrtcJob *job);

#endif
