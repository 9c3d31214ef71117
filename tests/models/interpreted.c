/* See interpreted.h. */
#include "tests/models/interpreted.h"
#include "tests/random/bytes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TENSORS = 2048, MAX_SCALARS = 32, MAX_FUNC = 2048 };

typedef struct Named {
    const char *name; /* the module's */
    ArgRole role;
    EvalTensor tensor;
} Named;

typedef struct Number {
    const char *name;
    double value;
} Number;

struct Interpreted {
    Boundary boundary;
    Context context;
    Module *module;
    Func *init, *train;
    int64_t dims[64];
    Named tensors[MAX_TENSORS]; /* inputs and variables */
    int32_t n_tensors;
    Number scalars[MAX_SCALARS];
    int32_t n_scalars;
    char *error;
};

static bool fail(Interpreted *run, const char *what, const char *why) {
    snprintf(run->error, INTERPRETED_ERROR, "interpreter: %.100s: %.380s", what, why);
    return false;
}

static Named *find(Interpreted *run, ArgRole role, const char *name) {
    for (int32_t i = 0; i < run->n_tensors; i++) {
        bool alike = (run->tensors[i].role == ARG_INPUT) == (role == ARG_INPUT);
        if (alike && !strcmp(run->tensors[i].name, name)) {
            return &run->tensors[i];
        }
    }
    return NULL;
}

/* Zeroed, of the argument's type at the bound dims. */
static bool make(Interpreted *run, Type type, EvalTensor *out) {
    int64_t dims[TYPE_MAX_RANK];
    for (int32_t i = 0; i < type.rank; i++) {
        if (!size_eval(type.dims[i], run->dims, run->module->n_dims, &dims[i])) {
            return fail(run, "a type", "its dims are not bound");
        }
    }
    return eval_tensor_init(out, type.dtype, type.rank, dims, NULL) == DLC_OK ||
           fail(run, "a tensor", "out of memory");
}

static bool add(Interpreted *run, const Func *func, int32_t at) {
    const FuncArg *arg = &func->args[at];
    if (arg->role == ARG_SCALAR || find(run, arg->role, arg->name)) {
        return true;
    }
    if (run->n_tensors == MAX_TENSORS) {
        return fail(run, arg->name, "too many variables");
    }
    Named *named = &run->tensors[run->n_tensors];
    if (!make(run, func->body->args[at]->type, &named->tensor)) {
        return false;
    }
    named->name = arg->name;
    named->role = arg->role;
    run->n_tensors++;
    return true;
}

static bool open_module(Interpreted *run, const char *ir, const dlc_binding *dims, size_t n_dims) {
    const Source *source = context_source(&run->context, "ir", ir, strlen(ir), false);
    run->module = module_parse(&run->context, source);
    if (!run->module || run->module->n_dims > 64) {
        return fail(run, "the IR", "it does not parse, or has too many dims");
    }
    for (size_t i = 0; i < n_dims; i++) {
        const Dim *dim = module_find_dim(run->module, dims[i].name);
        if (dim) {
            run->dims[dim->id] = dims[i].value;
        }
    }
    for (Func *func = run->module->first; func; func = func->next) {
        run->init = func->purpose == PURPOSE_INIT ? func : run->init;
        run->train = func->purpose == PURPOSE_TRAIN ? func : run->train;
        for (int32_t i = 0; i < func->body->n_args; i++) {
            bool wanted = func->purpose == PURPOSE_INIT || func->purpose == PURPOSE_TRAIN;
            if (wanted && !add(run, func, i)) {
                return false;
            }
        }
    }
    return (run->init && run->train) || fail(run, "the IR", "it does not train");
}

Interpreted *interpreted_create(const char *ir, const dlc_binding *dims, size_t n_dims,
                                char error[INTERPRETED_ERROR]) {
    Interpreted *volatile made = calloc(1, sizeof *made); /* survives the jump */
    Interpreted *run = made;
    if (!run) {
        snprintf(error, INTERPRETED_ERROR, "interpreter: out of memory");
        return NULL;
    }
    run->error = error;
    context_init(&run->context, NULL, &run->boundary);
    bool good = setjmp(run->boundary.jump) == 0 && open_module(run, ir, dims, n_dims);
    if (!good) {
        interpreted_destroy(made);
        return NULL;
    }
    return made;
}

void interpreted_destroy(Interpreted *run) {
    if (!run) {
        return;
    }
    for (int32_t i = 0; i < run->n_tensors; i++) {
        eval_tensor_finish(&run->tensors[i].tensor, NULL);
    }
    context_finish(&run->context);
    free(run);
}

static Number *number_find(Interpreted *run, const char *name) {
    for (int32_t i = 0; i < run->n_scalars; i++) {
        if (!strcmp(run->scalars[i].name, name)) {
            return &run->scalars[i];
        }
    }
    return NULL;
}

void interpreted_scalar(Interpreted *run, const char *name, double value) {
    Number *number = number_find(run, name);
    if (!number && run->n_scalars < MAX_SCALARS) {
        number = &run->scalars[run->n_scalars++];
    }
    if (number) {
        *number = (Number){name, value};
    }
}

bool interpreted_input(Interpreted *run, const char *name, const DLTensor *tensor) {
    Named *named = find(run, ARG_INPUT, name);
    return (named && bytes_read(tensor, &named->tensor)) ||
           fail(run, name, "no such input, or one of another type");
}

static bool scalar_make(Interpreted *run, const char *name, Type type, EvalTensor *out) {
    const Number *number = number_find(run, name);
    if (!make(run, type, out)) {
        return false;
    }
    if (out->f) {
        out->f[0] = number ? number->value : NAN; /* NaN: what the program says */
    } else {
        out->i[0] = number ? (int64_t)number->value : 0;
    }
    return true;
}

static void store(Interpreted *run, const Func *func, EvalTensor *results) {
    for (int32_t i = 0; i < func->n_results; i++) {
        const FuncResult *result = &func->results[i];
        if (result->role != RESULT_STORE) {
            continue;
        }
        const FuncArg *arg = &func->args[result->arg];
        Named *named = find(run, arg->role, arg->name);
        eval_tensor_finish(&named->tensor, NULL);
        named->tensor = results[i];
        results[i] = (EvalTensor){0};
    }
}

/* What one run of a Func reads and gives; large, so on the heap. */
typedef struct Call {
    const EvalTensor *args[MAX_FUNC];
    EvalTensor scalars[MAX_SCALARS], results[MAX_FUNC];
    int32_t n_scalars;
} Call;

static bool args_bind(Interpreted *run, const Func *func, Call *call) {
    if (func->body->n_args > MAX_FUNC || func->n_results > MAX_FUNC) {
        return fail(run, func->name, "too many arguments or results");
    }
    for (int32_t i = 0; i < func->body->n_args; i++) {
        const FuncArg *arg = &func->args[i];
        if (arg->role != ARG_SCALAR) {
            call->args[i] = &find(run, arg->role, arg->name)->tensor;
            continue;
        }
        EvalTensor *scalar = &call->scalars[call->n_scalars];
        if (call->n_scalars == MAX_SCALARS ||
            !scalar_make(run, arg->name, func->body->args[i]->type, scalar)) {
            return false;
        }
        call->args[i] = scalar;
        call->n_scalars++;
    }
    return true;
}

static bool evaluate(Interpreted *run, Func *func, Call *call) {
    Interp interp = {.context = &run->context,
                     .dim_values = run->dims,
                     .n_dims = run->module->n_dims,
                     .wide = true};
    if (interp_run(&interp, func, call->args, call->results) != DLC_OK) {
        return fail(run, func->name, interp.message);
    }
    for (int32_t i = 0; i < func->n_results; i++) {
        if (func->results[i].role == RESULT_OK && call->results[i].i[0] == 0) {
            return fail(run, func->name, "loss or gradients are not finite");
        }
    }
    return true;
}

/* Runs and stores. */
static bool run_func(Interpreted *run, Func *func, double *out_loss) {
    Call *call = calloc(1, sizeof *call);
    bool good = call && args_bind(run, func, call) && evaluate(run, func, call);
    double over = 1;
    for (int32_t i = 0; good && i < func->n_results; i++) {
        if (func->results[i].role == RESULT_LOSS) {
            *out_loss = call->results[i].f[0];
        } else if (func->results[i].role == RESULT_LOSS_OVER) {
            over = call->results[i].f[0];
        }
    }
    if (good) {
        *out_loss /= over;
    }
    if (good) {
        store(run, func, call->results);
    }
    for (int32_t i = 0; call && i < MAX_FUNC; i++) {
        eval_tensor_finish(&call->results[i], NULL);
    }
    for (int32_t i = 0; call && i < call->n_scalars; i++) {
        eval_tensor_finish(&call->scalars[i], NULL);
    }
    free(call);
    return good;
}

bool interpreted_init(Interpreted *run) {
    for (int32_t i = 0; i < run->n_tensors; i++) {
        EvalTensor *tensor = &run->tensors[i].tensor;
        size_t bytes = (size_t)tensor->n * 8;
        if (run->tensors[i].role != ARG_INPUT && bytes > 0) {
            memset(tensor->f ? (void *)tensor->f : (void *)tensor->i, 0, bytes);
        }
    }
    double no_loss = 0;
    return run_func(run, run->init, &no_loss);
}

bool interpreted_step(Interpreted *run, double *out_loss) {
    return run_func(run, run->train, out_loss);
}

const EvalTensor *interpreted_variable(const Interpreted *run, const char *name) {
    const Named *named = find((Interpreted *)run, ARG_PARAM, name);
    return named ? &named->tensor : NULL;
}
