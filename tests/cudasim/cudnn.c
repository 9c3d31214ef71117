/* A stand-in for libcudnn.so.9 with the entry points that we call (runtime/cuda/cudnn.def).
 * Descriptors are kept as they are set and checked as the library's own documentation has it: known
 * attributes of the right type and count, all that are required, parts finalised before use,
 * nothing set afterwards. The heuristics offer engines of every kind of note, good ones last.
 * DLC_CUDASIM_CUDNN: "none" offers no engine; a number is the version that is told. */
#include "tests/cudasim/cudnn.h"
#include "tests/cudasim/library.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t live_descriptors, live_handles;
static char last[256];

int bad(int status, const char *text) {
    snprintf(last, sizeof last, "%s", text);
    return status;
}

/* A call that may be made to fail. */
static int enter(void) {
    last[0] = '\0';
    return cudasimCall() == 0 ? OK : bad(INTERNAL, "the simulated driver fails");
}

/* -- The library -- */

EXPORT size_t cudnnGetVersion(void);
size_t cudnnGetVersion(void) {
    const char *text = getenv("DLC_CUDASIM_CUDNN");
    return text && atoi(text) > 0 ? (size_t)atoi(text) : 91900;
}

EXPORT size_t cudnnGetCudartVersion(void);
size_t cudnnGetCudartVersion(void) {
    return 13000;
}

EXPORT const char *cudnnGetErrorString(int status);
const char *cudnnGetErrorString(int status) {
    return status == OK         ? "CUDNN_STATUS_SUCCESS"
           : status / 1000 == 1 ? "CUDNN_STATUS_NOT_INITIALIZED"
           : status / 1000 == 2 ? "CUDNN_STATUS_BAD_PARAM"
           : status / 1000 == 3 ? "CUDNN_STATUS_NOT_SUPPORTED"
           : status / 1000 == 4 ? "CUDNN_STATUS_INTERNAL_ERROR"
                                : "CUDNN_STATUS_EXECUTION_FAILED";
}

EXPORT void cudnnGetLastErrorString(char *message, size_t n_message);
void cudnnGetLastErrorString(char *message, size_t n_message) {
    snprintf(message, n_message, "%s", last);
}

EXPORT int cudnnCreate(Handle **out);
int cudnnCreate(Handle **out) {
    if (enter() != OK) {
        return NOT_INITIALIZED;
    }
    *out = calloc(1, sizeof **out);
    (*out)->magic = MAGIC;
    live_handles++;
    return OK;
}

EXPORT int cudnnDestroy(Handle *handle);
int cudnnDestroy(Handle *handle) {
    handle->magic = 0;
    free(handle);
    live_handles--;
    return OK;
}

EXPORT int cudnnSetStream(Handle *handle, void *stream);
int cudnnSetStream(Handle *handle, void *stream) {
    int status = enter();
    handle->stream = status == OK ? stream : handle->stream;
    handle->has_stream = handle->has_stream || status == OK;
    return status;
}

/* -- Descriptors -- */

EXPORT int cudnnBackendCreateDescriptor(int type, void **out);
int cudnnBackendCreateDescriptor(int type, void **out) {
    int status = enter();
    bool known = type == D(ENGINE) || type == D(ENGINECFG);
    for (int i = 0; i < N_RULES; i++) {
        known = known || rules[i].descriptor == type;
    }
    if (status != OK || !known) {
        return status != OK ? status : bad(NOT_SUPPORTED, "no such descriptor");
    }
    Descriptor *d = calloc(1, sizeof *d);
    d->magic = MAGIC;
    d->type = type;
    *out = d;
    live_descriptors++;
    return OK;
}

EXPORT int cudnnBackendDestroyDescriptor(void *handle);
int cudnnBackendDestroyDescriptor(void *handle) {
    Descriptor *d = descriptor_of(handle);
    if (!d) {
        fprintf(stderr, "cudasim: cuDNN: a descriptor is destroyed that is none\n");
        abort();
    }
    for (int i = 0; i < d->n_attributes; i++) {
        free(d->attributes[i].elements);
    }
    d->magic = 0;
    free(d);
    live_descriptors--;
    return OK;
}

static int elements_check(const Rule *rule, int64_t count, const void *elements) {
    for (int64_t i = 0; i < count; i++) {
        if (rule->type == T(BACKEND_DESCRIPTOR)) {
            const Descriptor *d = descriptor_of(((void *const *)elements)[i]);
            if (!d || (rule->part > 0 && d->type != rule->part)) {
                return bad(BAD_DESCRIPTOR, "a descriptor of another kind");
            }
            if (!d->is_final) {
                return bad(NOT_FINALIZED, "a part that is not finalised");
            }
        } else if (rule->type == T(HANDLE)) {
            const Handle *handle = ((void *const *)elements)[i];
            if (!handle || handle->magic != MAGIC) {
                return bad(NULL_POINTER, "no handle");
            }
        }
    }
    return OK;
}

EXPORT int cudnnBackendSetAttribute(void *handle, int name, int type, int64_t count,
                                    const void *elements);
int cudnnBackendSetAttribute(void *handle, int name, int type, int64_t count,
                             const void *elements) {
    Descriptor *d = descriptor_of(handle);
    int status = enter();
    if (status != OK || !d || !elements) {
        return status != OK ? status : bad(NULL_POINTER, "nothing to set");
    }
    if (d->is_final) {
        return bad(BAD_PARAM, "set after it was finalised");
    }
    const Rule *rule = NULL;
    bool known = false;
    for (int i = 0; i < N_RULES; i++) {
        if (rules[i].descriptor == d->type && rules[i].name == name) {
            known = true;
            rule = rules[i].type == type ? &rules[i] : rule;
        }
    }
    if (!rule) {
        return bad(known ? BAD_TYPE : BAD_PARAM,
                   known ? "an attribute of another type" : "an attribute of another descriptor");
    }
    if (count < rule->least || count > rule->most) {
        return bad(BAD_PARAM, "an attribute of another count");
    }
    status = elements_check(rule, count, elements);
    if (status != OK) {
        return status;
    }
    Attribute *a = (Attribute *)attribute(d, name);
    if (!a) {
        a = &d->attributes[d->n_attributes++];
    } else {
        free(a->elements);
    }
    size_t bytes = type_bytes(type) * (size_t)count;
    *a = (Attribute){.name = name, .type = type, .count = count, .elements = malloc(bytes)};
    memcpy(a->elements, elements, bytes);
    return OK;
}

EXPORT int cudnnBackendFinalize(void *handle);
int cudnnBackendFinalize(void *handle) {
    Descriptor *d = descriptor_of(handle);
    int status = enter();
    if (status != OK || !d || d->is_final) {
        return status != OK ? status : bad(BAD_PARAM, "finalised twice, or nothing");
    }
    status = descriptor_check(d);
    d->is_final = status == OK;
    return status;
}

/* -- Asking -- */

/* Those of the mode; `out` may be NULL. */
static int64_t results(const Descriptor *d, int64_t asked, Descriptor **out) {
    const char *setting = getenv("DLC_CUDASIM_CUDNN");
    bool none = setting && strcmp(setting, "none") == 0;
    bool fallback = number(d, DNN_ATTR_ENGINEHEUR_MODE, -1) == DNN_HEUR_MODE_FALLBACK;
    int64_t n = 0;
    for (int i = 0; i < N_ENGINES && !none; i++) {
        if (engines[i].is_fallback == fallback && (!out || n < asked)) {
            if (out) {
                out[n]->engine = engines[i].number;
                out[n]->graph = part(d, DNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, 0);
                out[n]->is_final = true;
            }
            n++;
        }
    }
    return n;
}

static int get_number(int64_t value, int64_t asked, int64_t *count, void *elements) {
    *count = 1;
    if (asked > 0) {
        memcpy(elements, &value, sizeof value);
    }
    return OK;
}

EXPORT int cudnnBackendGetAttribute(void *handle, int name, int type, int64_t asked, int64_t *count,
                                    void *elements);
int cudnnBackendGetAttribute(void *handle, int name, int type, int64_t asked, int64_t *count,
                             void *elements) {
    Descriptor *d = descriptor_of(handle);
    int status = enter();
    if (status != OK || !d || !count || (asked > 0 && !elements)) {
        return status != OK ? status : bad(NULL_POINTER, "nothing to get");
    }
    if (!d->is_final) {
        return bad(NOT_FINALIZED, "asked before it was finalised");
    }
    const Engine *engine = engine_of(d->engine);
    if (d->type == D(ENGINEHEUR) && name == DNN_ATTR_ENGINEHEUR_RESULTS &&
        type == T(BACKEND_DESCRIPTOR)) {
        for (int64_t i = 0; i < asked; i++) {
            Descriptor *to = descriptor_of(((void **)elements)[i]);
            if (!to || to->type != D(ENGINECFG)) {
                return bad(BAD_DESCRIPTOR, "results go into engine configurations");
            }
        }
        *count = results(d, asked, asked > 0 ? elements : NULL);
        return OK;
    }
    if (d->type == D(ENGINECFG) && name == DNN_ATTR_ENGINECFG_ENGINE &&
        type == T(BACKEND_DESCRIPTOR) && asked == 1) {
        Descriptor *to = descriptor_of(*(void **)elements);
        if (!to || to->type != D(ENGINE)) {
            return bad(BAD_DESCRIPTOR, "an engine goes into an engine");
        }
        to->engine = d->engine;
        to->is_final = true;
        *count = 1;
        return OK;
    }
    if (d->type == D(ENGINE) && name == DNN_ATTR_ENGINE_GLOBAL_INDEX && type == T(INT64)) {
        return get_number(d->engine, asked, count, elements);
    }
    if (d->type == D(ENGINE) && name == DNN_ATTR_ENGINE_NUMERICAL_NOTE &&
        type == T(NUMERICAL_NOTE)) {
        *count = engine->n_notes;
        for (int i = 0; i < engine->n_notes && i < asked; i++) {
            ((int *)elements)[i] = engine->notes[i];
        }
        return OK;
    }
    if (d->type == D(EXECUTION_PLAN) && name == DNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE &&
        type == T(INT64)) {
        return get_number(engine->workspace, asked, count, elements);
    }
    return bad(BAD_PARAM, "an attribute that cannot be asked for");
}

/* -- Execution -- */

/* The tensor as the convolution's code wants it: missing axes before the spatial ones. */
static ConvTensor tensor_of(const Descriptor *d, const Descriptor *pack, int *status) {
    const Attribute *dims = attribute(d, DNN_ATTR_TENSOR_DIMENSIONS);
    ConvTensor tensor = {.type = (int)number(d, DNN_ATTR_TENSOR_DATA_TYPE, 0)};
    int missing = CONV_RANK - (int)dims->count;
    for (int i = 0; i < CONV_RANK; i++) {
        int from = i < 2 ? i : i - missing;
        bool there = i < 2 || from >= 2;
        tensor.dims[i] = there ? numbers(d, DNN_ATTR_TENSOR_DIMENSIONS)[from] : 1;
        tensor.strides[i] = there ? numbers(d, DNN_ATTR_TENSOR_STRIDES)[from] : 1;
    }
    if (is_virtual(d)) {
        return tensor;
    }
    const Attribute *uids = attribute(pack, DNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    for (int64_t i = 0; i < uids->count; i++) {
        if (((int64_t *)uids->elements)[i] == uid(d)) {
            tensor.memory =
                ((void **)attribute(pack, DNN_ATTR_VARIANT_PACK_DATA_POINTERS)->elements)[i];
        }
    }
    int64_t alignment = number(d, DNN_ATTR_TENSOR_BYTE_ALIGNMENT, 1);
    if (!tensor.memory) {
        *status = bad(BAD_PARAM, "a tensor without a pointer");
    } else if ((uintptr_t)tensor.memory % (uintptr_t)alignment != 0) {
        *status = bad(MISALIGNED, "a pointer that is not aligned as its tensor says");
    }
    return tensor;
}

static double scale(const Descriptor *operation, int name) {
    const Attribute *a = attribute(operation, name);
    return a->type == T(DOUBLE) ? *(double *)a->elements : (double)*(float *)a->elements;
}

static void work_fill(ConvWork *work, const Descriptor *graph, const Descriptor *pack,
                      int *status) {
    const Attribute *operations = attribute(graph, DNN_ATTR_OPERATIONGRAPH_OPS);
    Descriptor *const *at = operations->elements;
    const ConvNames *names = conv_names_of(at[0]);
    const Descriptor *conv = part(at[0], names->convolution, 0);
    work->operation = at[0]->type;
    work->alpha = scale(at[0], names->alpha);
    work->beta = scale(at[0], names->beta);
    work->x = tensor_of(part(at[0], names->x, 0), pack, status);
    work->w = tensor_of(part(at[0], names->w, 0), pack, status);
    work->y = tensor_of(part(at[0], names->y, 0), pack, status);
    ConvTensor *tensors[3] = {&work->x, &work->w, &work->y};
    tensors[conv_result(names)]->memory = NULL; /* written, not read */
    work->result = tensor_of(made_by(at[operations->count - 1]), pack, status);
    int64_t n = number(conv, DNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 0), missing = 3 - n;
    for (int64_t i = 0; i < 3; i++) {
        bool there = i >= missing;
        work->stride[i] =
            there ? numbers(conv, DNN_ATTR_CONVOLUTION_FILTER_STRIDES)[i - missing] : 1;
        work->dilation[i] = there ? numbers(conv, DNN_ATTR_CONVOLUTION_DILATIONS)[i - missing] : 1;
        work->low[i] = there ? numbers(conv, DNN_ATTR_CONVOLUTION_PRE_PADDINGS)[i - missing] : 0;
    }
    for (int64_t i = 1; i < operations->count && i <= CONV_STEPS; i++) {
        ConvStep *step = &work->steps[work->n_steps++];
        step->mode = (int)number(part(at[i], DNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, 0),
                                 DNN_ATTR_POINTWISE_MODE, -1);
        const Descriptor *with = part(at[i], DNN_ATTR_OPERATION_POINTWISE_BDESC, 0);
        if (step->mode == DNN_POINTWISE_ADD && with) {
            step->with = tensor_of(with, pack, status);
        } else if (step->mode != DNN_POINTWISE_RELU_FWD) {
            *status = bad(NOT_SUPPORTED, "a pointwise mode that is not simulated");
        }
    }
}

EXPORT int cudnnBackendExecute(Handle *handle, void *plan_handle, void *pack_handle);
int cudnnBackendExecute(Handle *handle, void *plan_handle, void *pack_handle) {
    Descriptor *plan = descriptor_of(plan_handle), *pack = descriptor_of(pack_handle);
    int status = enter();
    if (status != OK || !plan || !pack || !handle || handle->magic != MAGIC) {
        return status != OK ? status : bad(NULL_POINTER, "nothing to execute");
    }
    if (plan->type != D(EXECUTION_PLAN) || pack->type != D(VARIANT_PACK) || !plan->is_final ||
        !pack->is_final) {
        return bad(NOT_FINALIZED, "a plan and a variant pack are executed");
    }
    Descriptor *graph = descriptor_of(plan->graph);
    if (!graph || !handle->has_stream) {
        return bad(BAD_PARAM, "the plan's graph is gone, or no stream was set");
    }
    ConvWork work = {.workspace_bytes = (size_t)engine_of(plan->engine)->workspace};
    memcpy(&work.workspace, attribute(pack, DNN_ATTR_VARIANT_PACK_WORKSPACE)->elements,
           sizeof work.workspace);
    work_fill(&work, graph, pack, &status);
    if (status != OK) {
        return status;
    }
    if (work.workspace_bytes > 0 && !work.workspace) {
        return bad(SIZE_INSUFFICIENT, "no workspace");
    }
    return conv_queue(handle->stream, &work) == 0 ? OK : bad(FAILED, "the stream takes no work");
}

__attribute__((destructor)) static void leaks_print(void) {
    if (getenv("DLC_CUDASIM_LEAKS") && live_descriptors + live_handles > 0) {
        fprintf(stderr, "cudasim: cuDNN alive: %lld descriptors, %lld handles\n",
                (long long)live_descriptors, (long long)live_handles);
    }
}

/* For tests. */
EXPORT long long cudasimCudnnLive(void);
long long cudasimCudnnLive(void) {
    return live_descriptors + live_handles;
}
