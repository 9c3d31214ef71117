/* Chooses how cuDNN does an operation graph: the heuristics' order, less the engines whose
 * numerics are not those of the program, less those that want more workspace than there is. */
#include "runtime/cuda/cudnn.h"

#include <inttypes.h>
#include <stdio.h>

enum { MOST_CONFIGS = 64 };

/* Why configurations were passed over. */
typedef struct Tally {
    int seen, rounding, repeatable, workspace, unfit;
    int64_t least_workspace;
    char last[256]; /* of a plan that cuDNN refused */
} Tally;

typedef struct Choose {
    CudnnGraph *graph;
    const Cudnn *cudnn;
    const CudnnWish *wish;
    Tally tally;
    char *message;
    size_t n_message;
} Choose;

static bool check(Choose *c, int status, const char *what) {
    if (status != DNN_SUCCESS) {
        c->graph->failure = status;
        cudnn_error(c->cudnn, status, what, c->message, c->n_message);
    }
    return status == DNN_SUCCESS;
}

/* Whether the engine's numerics are the program's: sums in another order, nothing else. */
static bool notes_allow(Choose *c, const int *notes, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        switch (notes[i]) {
        case DNN_NUMERICAL_NOTE_STRICT_NAN_PROP:
            break;
        case DNN_NUMERICAL_NOTE_TENSOR_CORE: /* f32 goes there as TF32 */
            if (c->graph->is_f32) {
                c->tally.rounding++;
                return false;
            }
            break;
        case DNN_NUMERICAL_NOTE_NONDETERMINISTIC:
            if (c->wish->reproducible) {
                c->tally.repeatable++;
                return false;
            }
            break;
        default: /* narrower inputs or sums, Winograd, Fourier, and what is not known yet */
            c->tally.rounding++;
            return false;
        }
    }
    return true;
}

/* Looks at the engine of a configuration. */
static bool engine_fits(Choose *c, CudnnDescriptor config, int64_t *number) {
    const Cudnn *cudnn = c->cudnn;
    CudnnDescriptor engine = NULL;
    int notes[DNN_NUMERICAL_NOTE_TYPE_COUNT * 2];
    int64_t n = 0, n_notes = 0;
    bool fits = false;
    if (cudnn->make(DNN_BACKEND_ENGINE_DESCRIPTOR, &engine) != DNN_SUCCESS) {
        return false;
    }
    if (cudnn->get(config, DNN_ATTR_ENGINECFG_ENGINE, DNN_TYPE_BACKEND_DESCRIPTOR, 1, &n,
                   &engine) == DNN_SUCCESS &&
        cudnn->get(engine, DNN_ATTR_ENGINE_GLOBAL_INDEX, DNN_TYPE_INT64, 1, &n, number) ==
            DNN_SUCCESS &&
        cudnn->get(engine, DNN_ATTR_ENGINE_NUMERICAL_NOTE, DNN_TYPE_NUMERICAL_NOTE,
                   DNN_NUMERICAL_NOTE_TYPE_COUNT * 2, &n_notes, notes) == DNN_SUCCESS) {
        fits = notes_allow(c, notes, n_notes);
    } else {
        c->tally.unfit++;
    }
    cudnn->unmake(engine);
    return fits;
}

/* The finalised plan of a configuration, or NULL. */
static CudnnDescriptor plan_make(Choose *c, CudnnDescriptor config, int64_t *workspace) {
    const Cudnn *cudnn = c->cudnn;
    CudnnDescriptor plan = NULL;
    int64_t n = 0;
    int status = cudnn->make(DNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan);
    if (status == DNN_SUCCESS && c->wish->handle) {
        status =
            cudnn->set(plan, DNN_ATTR_EXECUTION_PLAN_HANDLE, DNN_TYPE_HANDLE, 1, &c->wish->handle);
    } else if (status == DNN_SUCCESS) {
        status = cudnn->set(plan, DNN_ATTR_EXECUTION_PLAN_DEVICEPROP, DNN_TYPE_BACKEND_DESCRIPTOR,
                            1, &c->wish->device);
    }
    if (status == DNN_SUCCESS) {
        status = cudnn->set(plan, DNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                            DNN_TYPE_BACKEND_DESCRIPTOR, 1, &config);
    }
    if (status == DNN_SUCCESS) {
        status = cudnn->finalize(plan);
    }
    if (status == DNN_SUCCESS) {
        status = cudnn->get(plan, DNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, DNN_TYPE_INT64, 1, &n,
                            workspace);
    }
    if (status != DNN_SUCCESS) {
        c->tally.unfit++;
        cudnn_error(cudnn, status, "plan", c->tally.last, sizeof(c->tally.last));
    } else if (*workspace > c->wish->most_workspace) {
        Tally *tally = &c->tally;
        if (tally->workspace++ == 0 || *workspace < tally->least_workspace) {
            tally->least_workspace = *workspace;
        }
    } else {
        return plan;
    }
    if (plan) {
        cudnn->unmake(plan);
    }
    return NULL;
}

/* The first configuration that will do becomes the graph's; the array's entry is then NULL. */
static void configs_try(Choose *c, CudnnDescriptor *configs, int64_t n) {
    CudnnGraph *graph = c->graph;
    for (int64_t i = 0; i < n && !graph->plan; i++) {
        int64_t number = 0, workspace = 0;
        c->tally.seen++;
        CudnnDescriptor plan =
            engine_fits(c, configs[i], &number) ? plan_make(c, configs[i], &workspace) : NULL;
        if (plan && graph->n_owned + 2 > CUDNN_MOST_DESCRIPTORS) {
            c->cudnn->unmake(plan);
        } else if (plan) {
            graph->owned[graph->n_owned++] = configs[i];
            graph->owned[graph->n_owned++] = plan;
            graph->plan = plan;
            graph->workspace = workspace;
            graph->engine = number;
            configs[i] = NULL;
        }
    }
}

static bool heuristics_make(Choose *c, int mode, CudnnDescriptor *out) {
    const Cudnn *cudnn = c->cudnn;
    CudnnDescriptor heuristics = NULL;
    if (!check(c, cudnn->make(DNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristics), "heuristics")) {
        return false;
    }
    *out = heuristics;
    return check(c,
                 cudnn->set(heuristics, DNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
                            DNN_TYPE_BACKEND_DESCRIPTOR, 1, &c->graph->operations),
                 "heuristics") &&
           check(c, cudnn->set(heuristics, DNN_ATTR_ENGINEHEUR_MODE, DNN_TYPE_HEUR_MODE, 1, &mode),
                 "heuristics") &&
           (c->wish->handle || check(c,
                                     cudnn->set(heuristics, DNN_ATTR_ENGINEHEUR_DEVICEPROP,
                                                DNN_TYPE_BACKEND_DESCRIPTOR, 1, &c->wish->device),
                                     "heuristics")) &&
           check(c, cudnn->finalize(heuristics), "heuristics");
}

/* Asks one mode of the heuristics; false: message. */
static bool mode_try(Choose *c, int mode) {
    const Cudnn *cudnn = c->cudnn;
    CudnnDescriptor heuristics = NULL, configs[MOST_CONFIGS] = {NULL};
    int64_t n = 0, made = 0;
    bool ok = heuristics_make(c, mode, &heuristics) &&
              check(c,
                    cudnn->get(heuristics, DNN_ATTR_ENGINEHEUR_RESULTS, DNN_TYPE_BACKEND_DESCRIPTOR,
                               0, &n, NULL),
                    "heuristics");
    n = n < MOST_CONFIGS ? n : MOST_CONFIGS;
    while (ok && made < n) {
        ok = check(c, cudnn->make(DNN_BACKEND_ENGINECFG_DESCRIPTOR, &configs[made]),
                   "engine configuration");
        made += ok;
    }
    if (ok && n > 0) {
        int64_t given = 0;
        ok = check(c,
                   cudnn->get(heuristics, DNN_ATTR_ENGINEHEUR_RESULTS, DNN_TYPE_BACKEND_DESCRIPTOR,
                              n, &given, configs),
                   "heuristics");
        n = given < n ? given : n;
        if (ok) {
            configs_try(c, configs, n);
        }
    }
    for (int64_t i = made; i-- > 0;) {
        if (configs[i]) {
            cudnn->unmake(configs[i]);
        }
    }
    if (heuristics) {
        cudnn->unmake(heuristics);
    }
    return ok;
}

static void explain(Choose *c) {
    const Tally *t = &c->tally;
    char *out = c->message;
    size_t room = c->n_message, used = 0;
    const struct {
        int count;
        const char *text;
    } parts[] = {
        {t->rounding, "round otherwise"},
        {t->repeatable, "may differ from run to run"},
        {t->workspace, "want more workspace"},
        {t->unfit, "do not do this one"},
    };
    used += (size_t)snprintf(out, room, "of cuDNN %d.%d's %d ways", c->cudnn->version / 10000,
                             c->cudnn->version / 100 % 100, t->seen);
    bool first = true;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && used < room; i++) {
        if (parts[i].count > 0) {
            used += (size_t)snprintf(out + used, room - used, "%s %d %s", first ? "" : ",",
                                     parts[i].count, parts[i].text);
            first = false;
        }
    }
    if (t->workspace > 0 && used < room) {
        snprintf(out + used, room - used, " (%" PRId64 " MiB at least, %" PRId64 " allowed)",
                 (t->least_workspace >> 20) + 1, c->wish->most_workspace >> 20);
    } else if (t->unfit > 0 && *t->last && used < room) {
        snprintf(out + used, room - used, " (%s)", t->last);
    } else if (t->seen == 0) {
        snprintf(out, room, "cuDNN %d.%d has no way to do it", c->cudnn->version / 10000,
                 c->cudnn->version / 100 % 100);
    }
}

bool cudnn_graph_choose(CudnnGraph *graph, const CudnnWish *wish, char *message, size_t n_message) {
    static const int modes[] = {DNN_HEUR_MODE_A, DNN_HEUR_MODE_FALLBACK};
    Choose c = {.graph = graph,
                .cudnn = graph->cudnn,
                .wish = wish,
                .message = message,
                .n_message = n_message};
    bool asked = false;
    message[0] = '\0';
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]) && !graph->plan; i++) {
        asked = mode_try(&c, modes[i]) || asked;
    }
    if (!graph->plan && (asked || c.tally.seen > 0)) {
        graph->failure = DNN_SUCCESS;
        explain(&c);
    }
    return graph->plan != NULL;
}
