/* The stand-in for cuDNN: what its parts share. cudnn.c keeps descriptors and checks them as the
 * real library does; cudnn_conv.c computes. */
#ifndef DLC_TESTS_CUDASIM_CUDNN_H
#define DLC_TESTS_CUDASIM_CUDNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

enum {
#define X(name, value) DNN_##name = value,
#include "runtime/cuda/cudnn_names.def"
#undef X
    CONV_RANK = 5,
    CONV_STEPS = 4
};

/* Missing axes in front of the spatial ones have one place. */
typedef struct ConvTensor {
    void *memory; /* NULL: virtual */
    int type;
    int64_t dims[CONV_RANK], strides[CONV_RANK];
} ConvTensor;

typedef struct ConvStep { /* what follows the products, in order */
    int mode;
    ConvTensor with; /* ADD: broadcast where its dim is 1 */
} ConvStep;

typedef struct ConvWork {
    int operation;      /* DNN_BACKEND_OPERATION_CONVOLUTION_…_DESCRIPTOR */
    ConvTensor x, w, y; /* of the convolution; the result's memory is that of `result` */
    ConvTensor result;  /* what is written */
    int64_t stride[3], dilation[3], low[3];
    double alpha, beta;
    ConvStep steps[CONV_STEPS];
    int n_steps;
    void *workspace;
    size_t workspace_bytes;
} ConvWork;

enum {
    OK = 0,
    NOT_INITIALIZED = 1001,
    BAD_PARAM = 2000,
    NULL_POINTER = 2002,
    MISALIGNED = 2003,
    NOT_FINALIZED = 2004,
    SIZE_INSUFFICIENT = 2006,
    STREAM_MISMATCH = 2007,
    BAD_TYPE = 2010,
    BAD_DESCRIPTOR = 2012,
    NOT_SUPPORTED = 3000,
    INTERNAL = 4000,
    FAILED = 5000,

    MAGIC = 0x434e4e44,
    MOST_ATTRIBUTES = 12,
    MOST_TENSORS = 16
};

typedef struct Attribute {
    int name, type;
    int64_t count;
    void *elements;
} Attribute;

typedef struct Descriptor {
    uint32_t magic;
    int type;
    bool is_final;
    Attribute attributes[MOST_ATTRIBUTES];
    int n_attributes;
    int64_t engine;           /* of engines, configurations, plans; 0: not one of the heuristics' */
    struct Descriptor *graph; /* of configurations and plans */
} Descriptor;

typedef struct Handle {
    uint32_t magic;
    void *stream;
    bool has_stream;
} Handle;

#define T(NAME) DNN_TYPE_##NAME
#define D(NAME) DNN_BACKEND_##NAME##_DESCRIPTOR

typedef struct Rule {
    int descriptor, name, type;
    int least, most;
    bool required;
    int part; /* the kind of descriptor it holds, or -1 for any, or 0 */
} Rule;

typedef struct ConvNames {
    int type, x, w, y, convolution, alpha, beta;
} ConvNames;

typedef struct Engine {
    int64_t number, workspace;
    int notes[3], n_notes;
    bool is_fallback, refuses;
} Engine;

/* -- cudnn_rules.c: which attributes there are, and what a finalised descriptor must be */
enum { N_RULES = 53, N_ENGINES = 8 };
extern const Rule rules[N_RULES];
extern const Engine engines[N_ENGINES]; /* in the heuristics' order */
size_t type_bytes(int type);
Descriptor *descriptor_of(void *handle);
const Attribute *attribute(const Descriptor *d, int name);
int64_t number(const Descriptor *d, int name, int64_t otherwise);
const int64_t *numbers(const Descriptor *d, int name);
Descriptor *part(const Descriptor *d, int name, int at);
int64_t uid(const Descriptor *tensor);
bool is_virtual(const Descriptor *tensor);
Descriptor *made_by(const Descriptor *operation);    /* the tensor that an operation makes */
const ConvNames *conv_names_of(const Descriptor *d); /* NULL: no convolution */
int conv_result(const ConvNames *names);             /* 0, 1, 2: x, w, y */
const Engine *engine_of(int64_t name);
int descriptor_check(Descriptor *d); /* what finalising it gives */
int bad(int status,
        const char *text); /* the status; the text is kept for cudnnGetLastErrorString */

/* -- cudnn_conv.c */
/* Queues the work; a CUresult. */
int conv_queue(void *stream, const ConvWork *work);
size_t dnn_type_bytes(int type);

#endif
