/* Training over a dataset: the order of rows, the schedule's counters, checkpoints. What happens at
 * step s depends on plan, data, seed and s alone, so an interrupted run goes on with the same bits.
 */
#include "ir/base/checked.h"
#include "runtime/api/prefetch.h"
#include "runtime/api/saver.h"
#include "runtime/api/shares.h"
#include "runtime/api/step.h"
#include "runtime/border.h"
#include "runtime/checkpoint/weights.h"
#include "runtime/data/shuffle.h"
#include "runtime/session/tensor.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_METRICS = 64 };

/* A step that was begun, and may not be settled yet. */
typedef struct Begun {
    int64_t step, epoch;
    double start;
} Begun;

typedef struct Trainer {
    dlc_session *session;
    dlc_context *context;
    EntryState *entry;
    const dlc_train_options *options;
    Shares shares;
    int64_t rows, share; /* of the data that it was given, and of them a step's */
    int64_t batch, steps_per_epoch, steps;
    int64_t step;            /* done */
    int64_t end;             /* the one after the last to be done */
    int64_t begun;           /* as `step`, with those that were begun and are not done */
    Begun recent[RANK_RUNS]; /* the last that were begun, in turn … */
    int64_t n_begun;         /* … in this call */
    double settled_at;       /* when the last was done */
    int64_t epoch, seed;     /* of the step that was begun last */
    int64_t asked, next;     /* the next step whose rows are to be read, and to be begun */
    int64_t *orders[2];      /* of rows: of the epoch under way and the one after it, in turn … */
    int64_t order_epochs[2]; /* … which those are; -1: none */
    Prefetch *prefetch;
    CheckpointFolder folder;
    CheckpointRun run;
    Saver saver;
    dlc_step_info info; /* of the step that was settled last */
    double loss;
} Trainer;

static int64_t setting_number(const dlc_session *session, const char *name) {
    const char *text = plan_setting(session->file, name);
    return text ? strtoll(text, NULL, 10) : 0;
}

/* What each rank brings to a step; collective where that is not the same. */
static dlc_status shares_begin(Trainer *t) {
    dlc_status status = dlc_session_bind_data(t->session, "train", t->options->data);
    if (status == DLC_OK) {
        status = data_batch(t->session, t->entry, t->options->batch, &t->batch);
    }
    return shares_find(t->session, t->entry, &t->options->data->data, t->batch, false, status,
                       &t->shares);
}

static dlc_status plan_length(Trainer *t) {
    dlc_session *session = t->session;
    const dlc_train_options *options = t->options;
    const Share *least = &t->shares.items[shares_least(&t->shares)];
    t->rows = dataset_rows(&options->data->data);
    t->share = t->shares.items[t->shares.own].each;
    t->steps_per_epoch = t->shares.batches;
    char who[48] = "";
    if (t->shares.n > 1) {
        int64_t rank = session_place_rank(session, t->entry, shares_least(&t->shares));
        snprintf(who, sizeof(who), "of rank %" PRId64 " ", rank);
    }
    dlc_status status = data_rows_check(session, t->entry, who, least->rows, least->each, true);
    if (status != DLC_OK) {
        return status;
    }
    int64_t steps = options->steps, epochs = options->epochs;
    if (steps <= 0 && epochs <= 0) {
        steps = setting_number(session, "steps");
        epochs = steps > 0 ? 0 : setting_number(session, "epochs");
    }
    if (steps <= 0 && epochs <= 0) {
        epochs = 1;
        context_log(t->context, DLC_LOG_INFO,
                    "no length is given: training for one epoch of %" PRId64 " steps",
                    t->steps_per_epoch);
    }
    t->steps = steps;
    if (steps <= 0 && !checked_mul(epochs, t->steps_per_epoch, &t->steps)) {
        return context_fail(t->context, DLC_ERROR_LIMIT,
                            "%" PRId64 " epochs of %" PRId64 " steps are too many", epochs,
                            t->steps_per_epoch);
    }
    return DLC_OK;
}

static dlc_status counters_set(Trainer *t) {
    dlc_status status = dlc_set_counter(t->session, "steps", t->steps);
    if (status == DLC_OK) {
        status = dlc_set_counter(t->session, "steps_per_epoch", t->steps_per_epoch);
    }
    if (status == DLC_OK && t->options->lr > 0) {
        status = dlc_set_scalar(t->session, "lr", t->options->lr);
    }
    return status;
}

/* What a checkpoint of this run is bound to. */
static dlc_status run_identify(Trainer *t) {
    const char *program = plan_setting(t->session->file, "program");
    char message[DATA_MESSAGE_BYTES] = "";
    uint64_t hash = 0;
    dlc_status status = DLC_OK;
    if (t->shares.n > 1) {
        hash = shares_hash(&t->shares);
    } else {
        status = dataset_hash(&t->options->data->data, &hash, message);
    }
    t->run = (CheckpointRun){
        .seed = session_counter(t->session, "seed"), .steps = t->steps, .batch = t->batch};
    snprintf(t->run.program, sizeof(t->run.program), "%s", program ? program : "");
    snprintf(t->run.data, sizeof(t->run.data), "%016" PRIx64, hash);
    return status == DLC_OK ? DLC_OK : context_fail(t->context, status, "%s", message);
}

/* Differences from the run that the checkpoint is of: an error, or by force a warning. */
static dlc_status checkpoint_suits(Trainer *t, const Checkpoint *checkpoint) {
    if (checkpoint->step > t->steps) {
        return context_fail(t->context, DLC_ERROR_MISMATCH,
                            "'%s' is of step %" PRId64
                            ", beyond this run's planned length of %" PRId64 " steps",
                            checkpoint->name, checkpoint->step, t->steps);
    }
    Str differences;
    str_init(&differences, &t->context->allocator);
    checkpoint_compare(checkpoint, &t->run, &differences);
    dlc_status status = DLC_OK;
    if (differences.failed) {
        status = context_out_of_memory(t->context);
    } else if (differences.length > 0 && t->options->resume == DLC_RESUME_FORCE) {
        context_log(t->context, DLC_LOG_WARNING, "resumed by force, '%s' is of another run: %s",
                    checkpoint->name, str_text(&differences));
    } else if (differences.length > 0) {
        status = context_fail(t->context, DLC_ERROR_MISMATCH,
                              "'%s' is of another run: %s. Give what it was trained with; "
                              "--resume=force (DLC_RESUME_FORCE) goes on in spite of it",
                              checkpoint->name, str_text(&differences));
    }
    str_finish(&differences);
    return status;
}

/* Goes on from the folder's latest whole checkpoint. */
static dlc_status checkpoint_resume(Trainer *t) {
    Checkpoint checkpoint;
    dlc_status status = checkpoint_open_latest(&checkpoint, t->session, &t->folder);
    if (status != DLC_OK) {
        return status;
    }
    status = session_agree(t->session, checkpoint_suits(t, &checkpoint));
    if (status == DLC_OK) {
        status = weights_restore(t->session, &checkpoint);
    }
    if (status == DLC_OK) {
        status = dlc_set_counter(t->session, "step", checkpoint.step);
    }
    if (status == DLC_OK && session_writes(t->session)) {
        int error = checkpoint_prune(&t->folder, checkpoint.step, true);
        status = error
                     ? checkpoint_folder_fail(&t->folder, "remove an old checkpoint in", "", error)
                     : DLC_OK;
    }
    status = session_agree(t->session, status);
    t->step = checkpoint.step;
    t->saver.saved_step = checkpoint.step;
    checkpoint_close(&checkpoint);
    return status;
}

/* *out: whether there is a checkpoint to go on from. */
static dlc_status folder_begin(Trainer *t, bool *out) {
    const dlc_train_options *options = t->options;
    int64_t *steps = NULL, count = 0;
    *out = false;
    bool writes = session_writes(t->session);
    t->folder = (CheckpointFolder){t->context, options->checkpoint, -1};
    dlc_status status =
        writes ? checkpoint_folder_open(&t->folder, t->context, options->checkpoint) : DLC_OK;
    if (status == DLC_OK) {
        status = run_identify(t);
    }
    if (status == DLC_OK && writes) {
        status = checkpoint_steps(&t->folder, &steps, &count);
    }
    if (status != DLC_OK) {
        return status;
    }
    *out = count > 0 && options->resume;
    if (count > 0 && !options->resume) {
        status = options->overwrite
                     ? checkpoint_remove_all(&t->folder)
                     : context_fail(t->context, DLC_ERROR_MISMATCH,
                                    "'%s' holds a run's checkpoints: --resume goes on with it, "
                                    "--overwrite removes them and starts anew",
                                    options->checkpoint);
    }
    memory_free(&t->context->allocator, steps);
    return status;
}

static dlc_status weights_begin(Trainer *t) {
    const dlc_train_options *options = t->options;
    bool has_checkpoint = false;
    dlc_status status = options->checkpoint ? folder_begin(t, &has_checkpoint) : DLC_OK;
    status = session_agree(t->session, status);
    if (status == DLC_OK && options->checkpoint) {
        int64_t has = has_checkpoint;
        status = session_first(t->session, &has);
        has_checkpoint = has != 0;
    }
    if (status != DLC_OK || has_checkpoint) {
        return status == DLC_OK ? checkpoint_resume(t) : status;
    }
    if (options->resume) {
        context_log(t->context, DLC_LOG_INFO, "no checkpoint to resume from: starting anew");
    }
    if (options->keep_weights) {
        status = dlc_set_counter(t->session, "step", 0);
        return status == DLC_OK ? session_allocate(t->session, NULL) : status;
    }
    return dlc_init_weights(t->session);
}

static const int64_t *order_of(Trainer *t, int64_t epoch) {
    int64_t *order = t->orders[epoch % 2];
    if (t->order_epochs[epoch % 2] != epoch) {
        shuffle_permutation((uint64_t)t->seed, (uint64_t)epoch, t->rows, order);
        t->order_epochs[epoch % 2] = epoch;
    }
    return order;
}

/* Has the rows of the next steps read, as many as there is room for. */
static void rows_ask(Trainer *t) {
    while (t->asked < t->end && prefetch_has_room(t->prefetch)) {
        const int64_t *order = order_of(t, t->asked / t->steps_per_epoch);
        prefetch_ask(t->prefetch, order + t->asked % t->steps_per_epoch * t->share);
        t->asked++;
    }
}

/* What was read ahead is of other steps, or of a later epoch in another order, where a callback has
 * set the counters. */
static void rows_reconsider(Trainer *t) {
    int64_t seed = session_counter(t->session, "seed");
    if (t->begun == t->next && seed == t->seed) {
        return;
    }
    prefetch_drop(t->prefetch);
    t->seed = seed;
    t->asked = t->begun;
    for (int i = 0; i < 2; i++) {
        t->order_epochs[i] = t->order_epochs[i] == t->epoch ? t->epoch : -1;
    }
}

static dlc_status inputs_begin(Trainer *t) {
    rows_reconsider(t);
    t->epoch = t->begun / t->steps_per_epoch;
    dlc_status status = dlc_set_counter(t->session, "epoch", t->epoch);
    if (status != DLC_OK) {
        return status;
    }
    rows_ask(t);
    session_does(t->session, "reading the rows of its next step");
    status = prefetch_take(t->prefetch);
    t->next = t->begun + 1;
    rows_ask(t); /* while this step runs */
    return status == DLC_OK ? prefetch_send(t->prefetch) : status;
}

static dlc_status evaluate_now(Trainer *t, bool *stop) {
    dlc_metric metrics[MAX_METRICS];
    size_t n = 0;
    dlc_status status = dlc_evaluate(t->session, t->options->eval_data, t->options->eval_batch,
                                     metrics, MAX_METRICS, &n);
    if (status == DLC_OK && t->options->on_eval) {
        session_does(t->session, "its caller's on_eval");
        *stop = t->options->on_eval(t->options->user, &t->info, metrics, n) != 0 || *stop;
    }
    return status;
}

static bool is_due(int64_t step, int64_t every, int64_t otherwise) {
    return step % (every > 0 ? every : otherwise) == 0;
}

/* -- Steps begun and settled -- */

static dlc_status counters_put(Trainer *t, int64_t step, int64_t epoch) {
    dlc_status status = dlc_set_counter(t->session, "step", step);
    return status == DLC_OK ? dlc_set_counter(t->session, "epoch", epoch) : status;
}

static dlc_status step_begin(Trainer *t) {
    Begun begun = {.start = clock_seconds()};
    dlc_status status = inputs_begin(t);
    if (status == DLC_OK) {
        status = step_next(t->session, &begun.step);
    }
    if (status != DLC_OK) {
        return session_agree(t->session, status);
    }
    status = session_run_begin(t->session, t->entry);
    if (status != DLC_OK) {
        return status;
    }
    begun.epoch = t->epoch;
    t->recent[t->n_begun++ % RANK_RUNS] = begun;
    t->begun = begun.step;
    return dlc_set_counter(t->session, "step", begun.step);
}

/* The step again, by itself: it fails as it did, since neither it nor those begun after it have
 * stored anything, but inputs and arena are its own again, and can be looked into. */
static dlc_status step_again(Trainer *t, const Begun *begun) {
    int64_t done = begun->step - 1;
    const int64_t *rows =
        order_of(t, done / t->steps_per_epoch) + done % t->steps_per_epoch * t->share;
    dlc_status status =
        data_set_inputs(t->session, t->entry, &t->options->data->data, rows, t->share);
    return status == DLC_OK ? session_run(t->session, t->entry) : status;
}

/* The error of a step that was settled with `status`, or with values that are not finite. */
static dlc_status step_fail(Trainer *t, const Begun *begun, bool alone, dlc_status status) {
    const Rank *rank = t->session->ranks;
    bool stored = status == DLC_OK && rank->last_ok;
    if (!alone && !stored && (status == DLC_OK || status == DLC_ERROR_NON_FINITE)) {
        status = step_again(t, begun);
    }
    if (status == DLC_OK) {
        status = session_verdict(t->session, t->entry);
    }
    if (status == DLC_OK) {
        status =
            context_fail(t->context, DLC_ERROR_INTERNAL,
                         "step %" PRId64 " failed, and does not when it is run again", begun->step);
    }
    dlc_status counted = stored ? dlc_set_counter(t->session, "step", begun->step) : DLC_OK;
    return counted == DLC_OK ? status : counted;
}

/* The step that was begun first and is not settled. What the session's counters say meanwhile is
 * what they said when it began. */
static dlc_status step_settle(void *user) {
    Trainer *t = user;
    dlc_step_info *info = &t->info;
    const dlc_train_options *options = t->options;
    const Rank *rank = t->session->ranks;
    int32_t n = session_runs_begun(t->session);
    const Begun begun = t->recent[(t->n_begun - n) % RANK_RUNS];
    dlc_status status = counters_put(t, begun.step - 1, begun.epoch);
    if (status == DLC_OK) {
        status = session_run_settle(t->session);
        if (status != DLC_OK || !rank->last_ok || !rank->last_update_ok) {
            return step_fail(t, &begun, n == 1, status);
        }
    }
    double now = clock_seconds();
    double from = begun.start > t->settled_at ? begun.start : t->settled_at;
    if (status == DLC_OK) {
        status = step_tell(t->session, t->entry, begun.step, now - from, info);
    }
    if (status == DLC_OK) {
        status = session_replicas_due(t->session, begun.step);
    }
    if (status == DLC_OK) {
        status = counters_put(t, t->begun, t->epoch);
    }
    if (status != DLC_OK) {
        return status;
    }
    info->rows = t->batch;
    t->settled_at = now;
    t->step = begun.step;
    t->loss = info->loss;
    if (options->on_result) {
        session_does(t->session, "its caller's on_result");
        t->context->closed = "on_result";
        options->on_result(options->user, info);
        t->context->closed = NULL;
    }
    return DLC_OK;
}

static bool evaluation_is_due(const Trainer *t) {
    const dlc_train_options *options = t->options;
    return options->eval_data &&
           (t->begun == t->steps || is_due(t->begun, options->eval_every, t->steps_per_epoch));
}

static bool checkpoint_is_due(const Trainer *t) {
    const dlc_train_options *options = t->options;
    return options->checkpoint && is_due(t->begun, options->checkpoint_every, t->steps_per_epoch);
}

/* How many steps may be on their way when the next one begins: none where somebody looks at what
 * the session holds after the last one. */
static int32_t steps_ahead(const Trainer *t) {
    bool looks = t->options->on_step || t->begun >= t->end || evaluation_is_due(t) ||
                 checkpoint_is_due(t) || !session_may_run_ahead(t->session, t->entry);
    return looks ? 0 : RANK_RUNS - 1;
}

/* What one of the sessions that share a communicator wishes, all do; and a checkpoint that all have
 * written their shares of goes on. */
static dlc_status wishes_share(Trainer *t, bool *stop, bool *cancelled) {
    int64_t shared[] = {*cancelled ? 2 : *stop, saver_busy(&t->saver)};
    dlc_status status = session_most(t->session, shared, 2);
    *stop = shared[0] > 0;
    *cancelled = shared[0] > 1;
    return status == DLC_OK && !shared[1] ? saver_go_on(&t->saver) : status;
}

/* What follows a step, when no other is on its way. */
static dlc_status step_follow(Trainer *t, bool *stop, bool *cancelled) {
    const dlc_train_options *options = t->options;
    dlc_status status = DLC_OK;
    session_does(t->session, "its caller's on_step");
    *stop = options->on_step && options->on_step(options->user, &t->info) != 0;
    *cancelled = context_cancelled(t->context);
    status = wishes_share(t, stop, cancelled);
    if (status == DLC_OK && evaluation_is_due(t) && !*cancelled) {
        status = evaluate_now(t, stop);
        *cancelled = status == DLC_ERROR_CANCELLED;
        status = *cancelled || status == DLC_OK ? wishes_share(t, stop, cancelled) : status;
    }
    return status == DLC_OK && checkpoint_is_due(t) ? saver_save(&t->saver) : status;
}

static dlc_status train_loop(Trainer *t) {
    bool stop = false, cancelled = false;
    dlc_status status = DLC_OK;
    while (status == DLC_OK && t->begun < t->end && !stop && !cancelled) {
        status = step_begin(t);
        if (status != DLC_OK) {
            status = session_begin_fail(t->session, status, step_settle, t);
            break;
        }
        int32_t most = steps_ahead(t);
        status = session_runs_settle(t->session, most, step_settle, t);
        if (status == DLC_OK && most == 0) {
            status = step_follow(t, &stop, &cancelled);
        } else if (status == DLC_OK) {
            cancelled = context_cancelled(t->context);
            status = saver_busy(&t->saver) ? DLC_OK : saver_go_on(&t->saver); /* of one rank */
        }
    }
    if (status == DLC_OK) {
        status = session_runs_settle(t->session, 0, step_settle, t);
    }
    if (status == DLC_OK && t->options->checkpoint) {
        status = saver_save(&t->saver);
    }
    status = status == DLC_OK ? saver_wait(&t->saver) : saver_fail(&t->saver, status);
    if (status == DLC_OK && cancelled) {
        status =
            context_fail(t->context, DLC_ERROR_CANCELLED, "cancelled after step %" PRId64, t->step);
    }
    return status;
}

/* All of dlc_train's work; what it makes is the caller's to free. */
static dlc_status trainer_run(Trainer *t) {
    const dlc_train_options *options = t->options;
    session_takes_long(t->session, "the beginning of its training");
    const DataAsked asked = {.batch = options->batch,
                             .steps = options->steps,
                             .epochs = options->epochs,
                             .stop_after = options->stop_after,
                             .eval_every = options->eval_data ? options->eval_every : -1,
                             .checkpoint_every =
                                 options->checkpoint ? options->checkpoint_every : -1,
                             .resumes = options->resume != DLC_RESUME_NO};
    dlc_status status = data_agree(t->session, t->entry, "train", &options->data->data, &asked);
    if (status != DLC_OK) { /* on all */
        return status;
    }
    status = shares_begin(t);
    if (status == DLC_OK) {
        status = plan_length(t);
    }
    status = session_agree(t->session, status);
    if (status == DLC_OK) {
        status = weights_begin(t);
    }
    if (status == DLC_OK) {
        status = counters_set(t);
    }
    for (int i = 0; status == DLC_OK && i < 2; i++) {
        t->orders[i] = memory_new(&t->context->allocator, (size_t)t->rows, sizeof(*t->orders[i]));
        status = t->orders[i] ? DLC_OK : context_out_of_memory(t->context);
    }
    if (status == DLC_OK) {
        status =
            prefetch_create(t->session, t->entry, &options->data->data, t->share, &t->prefetch);
    }
    status = session_agree(t->session, status);
    if (status != DLC_OK) {
        return status;
    }
    t->end =
        options->stop_after > 0 && options->stop_after < t->steps ? options->stop_after : t->steps;
    t->begun = t->step;
    return train_loop(t);
}

/* What cannot be meant. */
static dlc_status options_check(dlc_context *context, const dlc_train_options *options) {
    const struct {
        const char *name;
        int64_t value;
    } counts[] = {
        {"dlc_train_options.epochs", options->epochs},
        {"dlc_train_options.steps", options->steps},
        {"dlc_train_options.batch", options->batch},
        {"dlc_train_options.eval_batch", options->eval_batch},
        {"dlc_train_options.eval_every", options->eval_every},
        {"dlc_train_options.checkpoint_every", options->checkpoint_every},
        {"dlc_train_options.stop_after", options->stop_after},
    };
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        if (!border_number(context, counts[i].name, counts[i].value, 0, INT64_MAX)) {
            return DLC_ERROR_INVALID_ARGUMENT;
        }
    }
    if (!border_number(context, "dlc_train_options.resume", options->resume, DLC_RESUME_NO,
                       DLC_RESUME_FORCE) ||
        !border_amount(context, "dlc_train_options.lr", options->lr)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    return options->data ? DLC_OK : border_missing(context, "dlc_train_options.data");
}

dlc_status dlc_train(dlc_session *session, const dlc_train_options *options,
                     dlc_train_result *out) {
    BORDER_CALL(session ? session->context : NULL);
    dlc_train_options given;
    if (!border_options(session->context, "dlc_train_options", &given, sizeof(given), options) ||
        !border_result(session->context, "dlc_train_result", out)) {
        return DLC_ERROR_INVALID_ARGUMENT;
    }
    dlc_status asked = options_check(session->context, &given);
    if (asked != DLC_OK) {
        return asked;
    }
    Trainer t = {
        .session = session,
        .context = session->context,
        .entry = session_entry(session, "train"),
        .options = &given,
        .epoch = -1,
        .next = -1, /* so that the first step looks at the counters */
        .order_epochs = {-1, -1},
        .folder = {.fd = -1},
        .saver = {.session = session, .folder = &t.folder, .run = &t.run, .saved_step = -1},
        .info = {.struct_size = sizeof(t.info)},
        .loss = NAN};
    if (!t.entry) {
        return context_fail(session->context, DLC_ERROR_NOT_FOUND,
                            "the plan has no train entry: its program has no train block");
    }
    double start = clock_seconds();
    dlc_status status = trainer_run(&t);
    prefetch_destroy(t.prefetch);
    memory_free(&session->context->allocator, t.orders[0]);
    memory_free(&session->context->allocator, t.orders[1]);
    shares_free(session, &t.shares);
    checkpoint_folder_close(&t.folder);
    if (out && (status == DLC_OK || status == DLC_ERROR_CANCELLED)) {
        dlc_train_result result = {.steps_done = t.step,
                                   .steps = t.steps,
                                   .finished = t.step == t.steps,
                                   .last_loss = t.loss,
                                   .seconds = clock_seconds() - start};
        border_result_write(out, &result, sizeof(result));
    }
    return status;
}
