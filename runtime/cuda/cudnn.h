/* cuDNN 9 as we see it: opened at run time, called through the C backend of its graph API. No
 * header of cuDNN is needed to build. */
#ifndef DLC_RUNTIME_CUDA_CUDNN_H
#define DLC_RUNTIME_CUDA_CUDNN_H

#include "runtime/cuda/library.h"
#include "runtime/device.h"

typedef struct CudnnHandleRecord *CudnnHandle;
typedef void *CudnnDescriptor;

/* DNN_ATTR_TENSOR_STRIDES is CUDNN_ATTR_TENSOR_STRIDES. */
enum {
#define X(name, value) DNN_##name = value,
#include "runtime/cuda/cudnn_names.def"
#undef X
    DNN_SUCCESS = 0,
    DNN_OLDEST = 90000,
};

typedef struct Cudnn {
    void *library;
    int version; /* 91900: 9.19.0 */
#define X(symbol, member, result, parameters) result(*member) parameters;
#include "runtime/cuda/cudnn.def"
#undef X
} Cudnn;

/* driver_version: 13000; a cuDNN made for a newer CUDA is refused (0: not looked at). False:
 * message. */
bool cudnn_open(Cudnn *cudnn, int driver_version, char *message, size_t n_message);
void cudnn_close(Cudnn *cudnn); /* accepts a zeroed one */
/* "cuDNN 9.19: cudnnCreate: not initialized (…)" */
void cudnn_error(const Cudnn *cudnn, int status, const char *call, char *message, size_t n_message);

/* What a status of cuDNN's means: one that says by its name that it does not do this
 * (DLC_ERROR_UNSUPPORTED), or an error. */
dlc_status cudnn_status(int status);

/* -- cudnn_graph.c: one convolution as an operation graph -- */

enum { CUDNN_MOST_DESCRIPTORS = 24, CUDNN_MOST_OPERATIONS = 4 };

typedef struct CudnnGraph {
    const Cudnn *cudnn;
    CudnnDescriptor owned[CUDNN_MOST_DESCRIPTORS]; /* unmade last to first */
    int n_owned;
    CudnnDescriptor operations; /* the finalised operation graph */
    CudnnDescriptor plan;       /* the chosen execution plan; NULL: none yet */
    int64_t uids[5];            /* of the operands' tensors, by PlanLibraryOperand; 0: absent */
    int64_t workspace, engine;  /* of the plan: bytes; the engine's number */
    bool is_f32;                /* operands are f32, and their products must be too */
    int failure; /* what cuDNN returned where building or choosing failed; DNN_SUCCESS: it was not
                    its call that failed */
} CudnnGraph;

/* Builds and finalises the graph of `call`. `handle` may be NULL (then only a device property can
 * choose a plan). False: message says what is not supported; *graph is to be finished all the
 * same. */
bool cudnn_graph_build(const Cudnn *cudnn, CudnnHandle handle, const DeviceCall *call,
                       CudnnGraph *graph, char *message, size_t n_message);
void cudnn_graph_finish(CudnnGraph *graph); /* accepts a zeroed one */

/* What a plan must keep to. */
typedef struct CudnnWish {
    CudnnHandle handle;     /* NULL: `device` says for which GPU */
    CudnnDescriptor device; /* a finalised device property, or NULL */
    int64_t most_workspace; /* bytes */
    bool reproducible;
} CudnnWish;

/* Chooses the plan that the heuristics rank first among those that keep to the wish and finalise.
 * False: message says why there is none. */
bool cudnn_graph_choose(CudnnGraph *graph, const CudnnWish *wish, char *message, size_t n_message);

/* -- Device properties: a GPU's figures, from which plans can be chosen without it -- */

/* The device property of GPU `device`, as JSON text in new memory; NULL: message. */
char *cudnn_device_text(const Cudnn *cudnn, const dlc_allocator *allocator, int device,
                        char *message, size_t n_message);
/* The finalised descriptor that the text stands for; NULL: message. Unmade by the caller. */
CudnnDescriptor cudnn_device_make(const Cudnn *cudnn, const char *text, char *message,
                                  size_t n_message);

#endif
