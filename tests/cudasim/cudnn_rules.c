/* The stand-in for cuDNN: which attributes its descriptors have, which engines its heuristics know,
 * and what a finalised descriptor must be. */
#include "tests/cudasim/cudnn.h"

#include <stdio.h>

/* -- Which attributes there are -- */

#define ONE(K, A, V)                                                                               \
    { K, DNN_ATTR_##A, V, 1, 1, true, 0 }
#define MAYBE(K, A, V)                                                                             \
    { K, DNN_ATTR_##A, V, 1, 1, false, 0 }
#define MANY(K, A, V, N)                                                                           \
    { K, DNN_ATTR_##A, V, 1, N, true, 0 }
#define PART(K, A, P)                                                                              \
    { K, DNN_ATTR_##A, DNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, true, P }
#define CONV(K, A, X, Y, Z)                                                                        \
    PART(K, OPERATION_CONVOLUTION_##A##_CONV_DESC, D(CONVOLUTION)),                                \
        PART(K, OPERATION_CONVOLUTION_##A##_##X, D(TENSOR)),                                       \
        PART(K, OPERATION_CONVOLUTION_##A##_##Y, D(TENSOR)),                                       \
        PART(K, OPERATION_CONVOLUTION_##A##_##Z, D(TENSOR)),                                       \
        MAYBE(K, OPERATION_CONVOLUTION_##A##_ALPHA, T(FLOAT)),                                     \
        MAYBE(K, OPERATION_CONVOLUTION_##A##_ALPHA, T(DOUBLE)),                                    \
        MAYBE(K, OPERATION_CONVOLUTION_##A##_BETA, T(FLOAT)),                                      \
        MAYBE(K, OPERATION_CONVOLUTION_##A##_BETA, T(DOUBLE))

const Rule rules[N_RULES] = {
    ONE(D(TENSOR), TENSOR_DATA_TYPE, T(DATA_TYPE)),
    MANY(D(TENSOR), TENSOR_DIMENSIONS, T(INT64), 8),
    MANY(D(TENSOR), TENSOR_STRIDES, T(INT64), 8),
    ONE(D(TENSOR), TENSOR_UNIQUE_ID, T(INT64)),
    ONE(D(TENSOR), TENSOR_BYTE_ALIGNMENT, T(INT64)),
    MAYBE(D(TENSOR), TENSOR_IS_VIRTUAL, T(BOOLEAN)),
    ONE(D(CONVOLUTION), CONVOLUTION_SPATIAL_DIMS, T(INT64)),
    ONE(D(CONVOLUTION), CONVOLUTION_COMP_TYPE, T(DATA_TYPE)),
    ONE(D(CONVOLUTION), CONVOLUTION_CONV_MODE, T(CONVOLUTION_MODE)),
    MANY(D(CONVOLUTION), CONVOLUTION_FILTER_STRIDES, T(INT64), 6),
    MANY(D(CONVOLUTION), CONVOLUTION_DILATIONS, T(INT64), 6),
    MANY(D(CONVOLUTION), CONVOLUTION_PRE_PADDINGS, T(INT64), 6),
    MANY(D(CONVOLUTION), CONVOLUTION_POST_PADDINGS, T(INT64), 6),
    CONV(D(OPERATION_CONVOLUTION_FORWARD), FORWARD, X, W, Y),
    CONV(D(OPERATION_CONVOLUTION_BACKWARD_DATA), BWD_DATA, DX, W, DY),
    CONV(D(OPERATION_CONVOLUTION_BACKWARD_FILTER), BWD_FILTER, X, DW, DY),
    ONE(D(POINTWISE), POINTWISE_MODE, T(POINTWISE_MODE)),
    ONE(D(POINTWISE), POINTWISE_MATH_PREC, T(DATA_TYPE)),
    MAYBE(D(POINTWISE), POINTWISE_NAN_PROPAGATION, T(NAN_PROPOGATION)),
    PART(D(OPERATION_POINTWISE), OPERATION_POINTWISE_PW_DESCRIPTOR, D(POINTWISE)),
    PART(D(OPERATION_POINTWISE), OPERATION_POINTWISE_XDESC, D(TENSOR)),
    PART(D(OPERATION_POINTWISE), OPERATION_POINTWISE_YDESC, D(TENSOR)),
    {D(OPERATION_POINTWISE), DNN_ATTR_OPERATION_POINTWISE_BDESC, T(BACKEND_DESCRIPTOR), 1, 1, false,
     D(TENSOR)},
    ONE(D(OPERATIONGRAPH), OPERATIONGRAPH_HANDLE, T(HANDLE)),
    {D(OPERATIONGRAPH), DNN_ATTR_OPERATIONGRAPH_OPS, T(BACKEND_DESCRIPTOR), 1, 8, true, -1},
    ONE(D(ENGINEHEUR), ENGINEHEUR_MODE, T(HEUR_MODE)),
    PART(D(ENGINEHEUR), ENGINEHEUR_OPERATION_GRAPH, D(OPERATIONGRAPH)),
    ONE(D(EXECUTION_PLAN), EXECUTION_PLAN_HANDLE, T(HANDLE)),
    PART(D(EXECUTION_PLAN), EXECUTION_PLAN_ENGINE_CONFIG, D(ENGINECFG)),
    MANY(D(VARIANT_PACK), VARIANT_PACK_UNIQUE_IDS, T(INT64), MOST_TENSORS),
    MANY(D(VARIANT_PACK), VARIANT_PACK_DATA_POINTERS, T(VOID_PTR), MOST_TENSORS),
    ONE(D(VARIANT_PACK), VARIANT_PACK_WORKSPACE, T(VOID_PTR)),
};

size_t type_bytes(int type) {
    switch (type) {
    case T(BOOLEAN):
    case T(CHAR):
        return 1;
    case T(INT64):
    case T(DOUBLE):
    case T(HANDLE):
    case T(VOID_PTR):
    case T(BACKEND_DESCRIPTOR):
        return 8;
    default:
        return 4;
    }
}

Descriptor *descriptor_of(void *handle) {
    Descriptor *descriptor = handle;
    return descriptor && descriptor->magic == MAGIC ? descriptor : NULL;
}

const Attribute *attribute(const Descriptor *d, int name) {
    for (int i = 0; i < d->n_attributes; i++) {
        if (d->attributes[i].name == name) {
            return &d->attributes[i];
        }
    }
    return NULL;
}

int64_t number(const Descriptor *d, int name, int64_t otherwise) {
    const Attribute *a = attribute(d, name);
    if (!a) {
        return otherwise;
    }
    return type_bytes(a->type) == 8   ? *(const int64_t *)a->elements
           : type_bytes(a->type) == 4 ? *(const int32_t *)a->elements
                                      : *(const uint8_t *)a->elements;
}

const int64_t *numbers(const Descriptor *d, int name) {
    return attribute(d, name)->elements;
}

Descriptor *part(const Descriptor *d, int name, int at) {
    const Attribute *a = attribute(d, name);
    return a ? ((Descriptor **)a->elements)[at] : NULL;
}

/* -- Engines -- */

/* In the heuristics' order. */
const Engine engines[N_ENGINES] = {
    {901, 0, {DNN_NUMERICAL_NOTE_WINOGRAD}, 1, false, false},
    {902,
     0,
     {DNN_NUMERICAL_NOTE_TENSOR_CORE, DNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION},
     2,
     false,
     false},
    {903, 0, {DNN_NUMERICAL_NOTE_NONDETERMINISTIC}, 1, false, false},
    {904, (int64_t)1 << 40, {DNN_NUMERICAL_NOTE_STRICT_NAN_PROP}, 1, false, false},
    {905, 0, {0}, 0, false, true},
    {11,
     4096,
     {DNN_NUMERICAL_NOTE_TENSOR_CORE, DNN_NUMERICAL_NOTE_STRICT_NAN_PROP},
     2,
     false,
     false},
    {12, 512, {DNN_NUMERICAL_NOTE_STRICT_NAN_PROP}, 1, false, false},
    {13, 0, {0}, 0, true, false},
};

const Engine *engine_of(int64_t name) {
    for (int i = 0; i < N_ENGINES; i++) {
        if (engines[i].number == name) {
            return &engines[i];
        }
    }
    return NULL;
}

/* -- What a finalised descriptor must be -- */

static int tensor_check(const Descriptor *d) {
    const Attribute *dims = attribute(d, DNN_ATTR_TENSOR_DIMENSIONS);
    const Attribute *strides = attribute(d, DNN_ATTR_TENSOR_STRIDES);
    int64_t alignment = number(d, DNN_ATTR_TENSOR_BYTE_ALIGNMENT, 0);
    if (dims->count != strides->count || dims->count < 3) {
        return bad(BAD_PARAM, "dims and strides of a tensor");
    }
    for (int64_t i = 0; i < dims->count; i++) {
        if (((int64_t *)dims->elements)[i] < 1 || ((int64_t *)strides->elements)[i] < 1) {
            return bad(BAD_PARAM, "an empty tensor, or no stride");
        }
    }
    return alignment > 0 && (alignment & (alignment - 1)) == 0 ? OK : bad(BAD_PARAM, "alignment");
}

static int convolution_check(const Descriptor *d) {
    int64_t n = number(d, DNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 0);
    static const int lists[] = {DNN_ATTR_CONVOLUTION_FILTER_STRIDES, DNN_ATTR_CONVOLUTION_DILATIONS,
                                DNN_ATTR_CONVOLUTION_PRE_PADDINGS,
                                DNN_ATTR_CONVOLUTION_POST_PADDINGS};
    for (int l = 0; l < 4; l++) {
        const Attribute *a = attribute(d, lists[l]);
        if (a->count != n || n < 2 || n > 3) {
            return bad(n < 2 || n > 3 ? NOT_SUPPORTED : BAD_PARAM, "spatial axes");
        }
        for (int64_t i = 0; i < n; i++) {
            if (((int64_t *)a->elements)[i] < (l < 2 ? 1 : 0)) {
                return bad(BAD_PARAM, "a stride, dilation or padding");
            }
        }
    }
    return OK;
}

static const ConvNames conv_names[] = {
#define NAMES(K, A, X, W, Y)                                                                       \
    {                                                                                              \
        D(K), DNN_ATTR_OPERATION_CONVOLUTION_##A##_##X, DNN_ATTR_OPERATION_CONVOLUTION_##A##_##W,  \
            DNN_ATTR_OPERATION_CONVOLUTION_##A##_##Y,                                              \
            DNN_ATTR_OPERATION_CONVOLUTION_##A##_CONV_DESC,                                        \
            DNN_ATTR_OPERATION_CONVOLUTION_##A##_ALPHA, DNN_ATTR_OPERATION_CONVOLUTION_##A##_BETA  \
    }
    NAMES(OPERATION_CONVOLUTION_FORWARD, FORWARD, X, W, Y),
    NAMES(OPERATION_CONVOLUTION_BACKWARD_DATA, BWD_DATA, DX, W, DY),
    NAMES(OPERATION_CONVOLUTION_BACKWARD_FILTER, BWD_FILTER, X, DW, DY),
};

const ConvNames *conv_names_of(const Descriptor *d) {
    for (int i = 0; i < 3; i++) {
        if (conv_names[i].type == d->type) {
            return &conv_names[i];
        }
    }
    return NULL;
}

static int conv_check(const Descriptor *d) {
    const ConvNames *names = conv_names_of(d);
    const Descriptor *conv = part(d, names->convolution, 0);
    const Descriptor *tensors[3] = {part(d, names->x, 0), part(d, names->w, 0),
                                    part(d, names->y, 0)};
    int64_t n = number(conv, DNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 0);
    const int64_t *dims[3];
    for (int i = 0; i < 3; i++) {
        dims[i] = numbers(tensors[i], DNN_ATTR_TENSOR_DIMENSIONS);
        if (attribute(tensors[i], DNN_ATTR_TENSOR_DIMENSIONS)->count != n + 2) {
            return bad(BAD_PARAM, "a tensor of another rank");
        }
    }
    bool wide = number(conv, DNN_ATTR_CONVOLUTION_COMP_TYPE, 0) == DNN_DATA_DOUBLE;
    const Attribute *alpha = attribute(d, names->alpha), *beta = attribute(d, names->beta);
    if (!alpha || !beta || (alpha->type == T(DOUBLE)) != wide ||
        (beta->type == T(DOUBLE)) != wide) {
        return bad(BAD_PARAM, "alpha or beta");
    }
    if (dims[0][0] != dims[2][0] || dims[1][0] != dims[2][1] || dims[0][1] % dims[1][1] != 0 ||
        dims[2][1] % (dims[0][1] / dims[1][1]) != 0) {
        return bad(BAD_PARAM, "channels or images that do not fit");
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t reach = dims[0][2 + i] + numbers(conv, DNN_ATTR_CONVOLUTION_PRE_PADDINGS)[i] +
                        numbers(conv, DNN_ATTR_CONVOLUTION_POST_PADDINGS)[i] -
                        numbers(conv, DNN_ATTR_CONVOLUTION_DILATIONS)[i] * (dims[1][2 + i] - 1) - 1;
        if (dims[2][2 + i] != reach / numbers(conv, DNN_ATTR_CONVOLUTION_FILTER_STRIDES)[i] + 1) {
            return bad(BAD_PARAM, "places that do not fit");
        }
    }
    return OK;
}

int64_t uid(const Descriptor *tensor) {
    return number(tensor, DNN_ATTR_TENSOR_UNIQUE_ID, -1);
}

bool is_virtual(const Descriptor *tensor) {
    return number(tensor, DNN_ATTR_TENSOR_IS_VIRTUAL, 0) != 0;
}

int conv_result(const ConvNames *names) {
    return names == &conv_names[0] ? 2 : names == &conv_names[1] ? 0 : 1;
}

Descriptor *made_by(const Descriptor *operation) {
    const ConvNames *names = conv_names_of(operation);
    if (!names) {
        return part(operation, DNN_ATTR_OPERATION_POINTWISE_YDESC, 0);
    }
    const int made[3] = {names->x, names->w, names->y};
    return part(operation, made[conv_result(names)], 0);
}

/* One convolution, then pointwise operations on what came before, only the last result kept. */
static int graph_check(const Descriptor *d) {
    const Attribute *operations = attribute(d, DNN_ATTR_OPERATIONGRAPH_OPS);
    Descriptor *const *at = operations->elements;
    if (!conv_names_of(at[0])) {
        return bad(NOT_SUPPORTED, "a graph without a convolution");
    }
    for (int64_t i = 0; i < operations->count; i++) {
        if (i > 0 &&
            (at[i]->type != D(OPERATION_POINTWISE) ||
             uid(part(at[i], DNN_ATTR_OPERATION_POINTWISE_XDESC, 0)) != uid(made_by(at[i - 1])))) {
            return bad(NOT_SUPPORTED, "a graph that is no chain");
        }
        if (is_virtual(made_by(at[i])) != (i + 1 < operations->count)) {
            return bad(BAD_PARAM, "a virtual result that is kept, or the other way round");
        }
    }
    return OK;
}

int descriptor_check(Descriptor *d) {
    int status = OK;
    for (int i = 0; i < N_RULES; i++) {
        if (rules[i].descriptor == d->type && rules[i].required && !attribute(d, rules[i].name)) {
            char text[64];
            snprintf(text, sizeof text, "attribute %d is missing", rules[i].name);
            return bad(BAD_PARAM, text);
        }
    }
    if (d->type == D(TENSOR)) {
        status = tensor_check(d);
    } else if (d->type == D(CONVOLUTION)) {
        status = convolution_check(d);
    } else if (conv_names_of(d)) {
        status = conv_check(d);
    } else if (d->type == D(OPERATIONGRAPH)) {
        status = graph_check(d);
    } else if (d->type == D(VARIANT_PACK) &&
               attribute(d, DNN_ATTR_VARIANT_PACK_UNIQUE_IDS)->count !=
                   attribute(d, DNN_ATTR_VARIANT_PACK_DATA_POINTERS)->count) {
        status = bad(BAD_PARAM, "not as many pointers as tensors");
    } else if (d->type == D(EXECUTION_PLAN)) {
        Descriptor *config = part(d, DNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, 0);
        const Engine *engine = engine_of(config->engine);
        status = !engine           ? bad(BAD_PARAM, "no engine")
                 : engine->refuses ? bad(NOT_SUPPORTED, "an engine that does not do it")
                                   : OK;
        d->engine = config->engine;
        d->graph = config->graph;
    } else if (d->type == D(ENGINE) || d->type == D(ENGINECFG)) {
        status = bad(BAD_PARAM, "engines come from the heuristics");
    }
    return status;
}
