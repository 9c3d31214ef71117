/* Training by the public API: the same bits however it runs, checkpoints and resuming, cancelling,
 * evaluating, weights. */
#include "tests/unit/api_net.h"

#include <stdio.h>
#include <unistd.h>

/* -- Training -- */

typedef struct Seen {
    int64_t steps, evals, stop_at;
    double last_error;
} Seen;

static int on_step(void *user, const dlc_step_info *info) {
    Seen *seen = user;
    seen->steps++;
    return info->step == seen->stop_at;
}

static int on_eval(void *user, const dlc_step_info *info, const dlc_metric *metrics, size_t count) {
    (void)info;
    Seen *seen = user;
    seen->evals++;
    assert_int_equal(count, 3);
    seen->last_error = metrics[0].value;
    return 0;
}

static void weights_of(Net *f, dlc_session *session, float *out) {
    const DLTensor *value;
    OK(f->context, dlc_view_variable(session, "a.weight", &value));
    memcpy(out, value->data, 24 * sizeof(float));
    OK(f->context, dlc_view_variable(session, "b.weight", &value));
    memcpy(out + 24, value->data, 8 * sizeof(float));
}

static void train(Net *f, dlc_session *session, dlc_train_options *options) {
    dlc_train_result result = {.struct_size = sizeof(result)};
    OK(f->context, dlc_train(session, options, &result));
    int64_t end = options->stop_after ? options->stop_after : result.steps;
    assert_int_equal(result.steps_done, end);
}

static void test_train_same_bits(void **state) {
    Net *f = *state;
    dlc_dataset *data = net_data(f);
    float first[32], other[32];
    for (int run = 0; run < 6; run++) {
        dlc_session *session = net_open(f, f->net, 1 + run % 3, run % 3);
        Seen seen = {0};
        dlc_train_options options = {.struct_size = sizeof(options),
                                     .data = data,
                                     .eval_data = data,
                                     .epochs = 40,
                                     .on_step = on_step,
                                     .on_eval = on_eval,
                                     .user = &seen};
        train(f, session, &options);
        assert_int_equal(seen.steps, 40 * (NET_ROWS / 8));
        assert_int_equal(seen.evals, 40);
        assert_true(seen.last_error < 0.15);
        weights_of(f, session, run == 0 ? first : other);
        if (run > 0) {
            assert_memory_equal(first, other, sizeof(first));
        }
        dlc_session_destroy(session);
    }
    dlc_dataset_destroy(data);
}

/* Removes a folder and all in it. */
static void remove_folder(const char *path) {
    char command[128];
    snprintf(command, sizeof(command), "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
}

static void test_resume(void **state) {
    Net *f = *state;
    dlc_dataset *data = net_data(f);
    char folder[] = "/tmp/dlc_api_XXXXXX";
    assert_non_null(mkdtemp(folder));
    float whole[32], parts[32];
    dlc_train_options options = {.struct_size = sizeof(options), .data = data, .steps = 21};
    dlc_session *session = net_open(f, f->net, 0, 0);
    train(f, session, &options);
    weights_of(f, session, whole);
    dlc_session_destroy(session);
    options.checkpoint = folder;
    options.resume = 1;
    for (int64_t stop = 5; stop <= 21; stop += 8) { /* 5, 13, 21 */
        options.stop_after = stop;
        session = net_open(f, f->net, 0, 0);
        train(f, session, &options);
        weights_of(f, session, parts);
        dlc_session_destroy(session);
    }
    assert_memory_equal(whole, parts, sizeof(whole));
    remove_folder(folder);
    dlc_dataset_destroy(data);
}

typedef struct Busy {
    Net *f;
    dlc_session *session;
    const char *folder;
} Busy;

static int save_meanwhile(void *user, const dlc_step_info *info) {
    (void)info;
    const Busy *busy = user;
    assert_int_equal(dlc_checkpoint_save(busy->session, busy->folder), DLC_ERROR_LIMIT);
    assert_non_null(strstr(dlc_last_error(busy->f->context), "in use"));
    return 0;
}

/* The session's own calls: what is saved goes on with the same bits; what is of another program, of
 * an earlier step or no folder is refused, and nothing is changed. */
static void test_checkpoint(void **state) {
    Net *f = *state;
    dlc_dataset *data = net_data(f);
    char folder[] = "/tmp/dlc_api_XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    float at_seven[32], at_twelve[32], got[32];
    dlc_train_options options = {
        .struct_size = sizeof(options), .data = data, .steps = 12, .stop_after = 7};
    dlc_session *one = net_open(f, f->net, 0, 0), *two = net_open(f, f->net, 2, 1);
    assert_int_equal(dlc_checkpoint_load(one, folder), DLC_ERROR_NOT_FOUND);
    train(f, one, &options);
    weights_of(f, one, at_seven);
    OK(f->context, dlc_checkpoint_save(one, folder));
    OK(f->context, dlc_checkpoint_save(one, folder)); /* the same step again */
    OK(f->context, dlc_checkpoint_load(two, folder));
    weights_of(f, two, got);
    assert_memory_equal(at_seven, got, sizeof(got));
    int64_t step;
    OK(f->context, dlc_get_counter(two, "step", &step));
    assert_int_equal(step, 7);
    /* On from there, by the loop: what no data were known of suits any. */
    options.stop_after = 0;
    options.checkpoint = folder;
    options.checkpoint_every = 100;
    assert_int_equal(dlc_train(two, &options, NULL), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(dlc_last_error(f->context), "--overwrite"));
    options.resume = DLC_RESUME;
    Busy busy = {f, one, folder};
    options.on_step = save_meanwhile;
    options.user = &busy;
    train(f, two, &options);
    weights_of(f, two, at_twelve);
    options = (dlc_train_options){.struct_size = sizeof(options), .data = data, .steps = 12};
    train(f, one, &options);
    weights_of(f, one, got);
    assert_memory_equal(at_twelve, got, sizeof(got));
    /* An earlier step would remove a later one. */
    OK(f->context, dlc_set_counter(one, "step", 3));
    assert_int_equal(dlc_checkpoint_save(one, folder), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(dlc_last_error(f->context), "step 12"));
    OK(f->context, dlc_set_counter(one, "step", -3));
    assert_int_equal(dlc_checkpoint_save(one, folder), DLC_ERROR_INVALID_ARGUMENT);
    snprintf(path, sizeof(path), "%s/step-7", folder);
    OK(f->context, dlc_checkpoint_load(one, path));
    weights_of(f, one, got);
    assert_memory_equal(at_seven, got, sizeof(got));
    /* Another program, with tensors of the same names and shapes. */
    char other[4096];
    const char *tanh = strstr(NET_PROGRAM, "tanh");
    assert_non_null(tanh);
    snprintf(other, sizeof(other), "%.*srelu%s", (int)(tanh - NET_PROGRAM), NET_PROGRAM, tanh + 4);
    dlc_plan *plan = api_compile(f->context, other, NULL);
    dlc_session *third = net_open(f, plan, 0, 0);
    assert_int_equal(dlc_checkpoint_load(third, folder), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(dlc_last_error(f->context), "the program is another"));
    /* No folder. */
    snprintf(path, sizeof(path), "%s/step-7/manifest.json", folder);
    assert_int_equal(dlc_checkpoint_save(one, path), DLC_ERROR_IO);
    assert_int_equal(dlc_checkpoint_load(one, path), DLC_ERROR_FORMAT);
    assert_int_equal(dlc_checkpoint_load(one, "/no/such"), DLC_ERROR_IO);
    dlc_session_destroy(third);
    dlc_plan_destroy(plan);
    dlc_session_destroy(one);
    dlc_session_destroy(two);
    dlc_dataset_destroy(data);
    remove_folder(folder);
}

static void test_files(void **state) {
    Net *f = *state;
    assert_int_equal(dlc_file_write(f->context, "/dev/full", "text", 4), DLC_ERROR_IO);
    assert_non_null(strstr(dlc_last_error(f->context), "No space left"));
    assert_int_equal(dlc_file_write(f->context, "/dev/full", NULL, 0), DLC_OK);
    assert_int_equal(dlc_file_write(f->context, NULL, "text", 4), DLC_ERROR_INVALID_ARGUMENT);
    dlc_session_options options = {.struct_size = sizeof(options), .trace = "/dev/full"};
    dlc_session *session = NULL;
    OK(f->context, dlc_session_create(f->net, &options, &session));
    assert_int_equal(dlc_session_end_trace(session), DLC_ERROR_IO);
    OK(f->context, dlc_session_end_trace(session)); /* there is none any more */
    dlc_session_destroy(session);
}

static int cancel_after(void *user) {
    int *left = user;
    return --*left < 0;
}

static void test_cancel(void **state) {
    Net *f = *state;
    int left = 1000000;
    dlc_context_options options = {
        .struct_size = sizeof(options), .cancel = cancel_after, .user = &left};
    dlc_context *context = NULL;
    assert_int_equal(dlc_context_create(&options, &context), DLC_OK);
    Net own = {.context = context, .net = api_compile(context, NET_PROGRAM, NULL)};
    dlc_session *session = net_open(&own, own.net, 0, 0);
    dlc_dataset *data = net_data(&own);
    left = 3;
    dlc_train_options train_options = {.struct_size = sizeof(train_options), .data = data};
    dlc_train_result result = {.struct_size = sizeof(result)};
    assert_int_equal(dlc_train(session, &train_options, &result), DLC_ERROR_CANCELLED);
    assert_int_equal(result.steps_done, 4);
    assert_int_equal(result.finished, 0);
    left = 0;
    dlc_plan *plan = NULL;
    assert_int_equal(dlc_compile(context, NET_PROGRAM, strlen(NET_PROGRAM), NULL, &plan),
                     DLC_ERROR_CANCELLED);
    dlc_dataset_destroy(data);
    dlc_session_destroy(session);
    dlc_plan_destroy(own.net);
    dlc_context_destroy(context);
    (void)f;
}

static void test_evaluate(void **state) {
    Net *f = *state;
    dlc_dataset *data = net_data(f);
    dlc_session *session = net_open(f, f->net, 0, 0);
    OK(f->context, dlc_init_weights(session));
    double expected[3] = {0};
    for (int64_t batch = NET_ROWS; batch > 0; batch -= 6) { /* 37, 31, …, 1 */
        dlc_metric metrics[3];
        size_t n;
        OK(f->context, dlc_evaluate(session, data, batch, metrics, 3, &n));
        assert_int_equal(n, 3);
        for (int i = 0; i < 3; i++) {
            if (batch == NET_ROWS) {
                expected[i] = metrics[i].value;
            }
            assert_true(fabs(metrics[i].value - expected[i]) < 1e-5);
        }
    }
    dlc_session_destroy(session);
    dlc_dataset_destroy(data);
}

/* -- Weights -- */

static void test_weights(void **state) {
    Net *f = *state;
    char path[] = "/tmp/dlc_weights_XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    dlc_session *a = net_open(f, f->net, 0, 0), *b = net_open(f, f->net, 0, 0);
    OK(f->context, dlc_init_weights(a));
    OK(f->context, dlc_weights_save(a, path));
    OK(f->context, dlc_weights_load(b, path, NULL));
    float from[32], to[32];
    weights_of(f, a, from);
    weights_of(f, b, to);
    assert_memory_equal(from, to, sizeof(from));
    dlc_session *words = net_open(f, f->words, 0, 0);
    assert_int_equal(dlc_weights_load(words, path, NULL), DLC_ERROR_MISMATCH);
    assert_non_null(strstr(dlc_last_error(f->context), "table.weight: missing"));
    const char *missing[] = {"table.*"};
    dlc_weights_options options = {
        .struct_size = sizeof(options), .missing = missing, .n_missing = 1};
    OK(f->context, dlc_weights_load(words, path, &options));
    assert_int_equal(dlc_weights_load(words, "/no/such", NULL), DLC_ERROR_IO);
    dlc_session_destroy(words);
    dlc_session_destroy(a);
    dlc_session_destroy(b);
    remove(path);
}

/* -- Memory -- */

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train_same_bits), cmocka_unit_test(test_resume),
        cmocka_unit_test(test_checkpoint),      cmocka_unit_test(test_files),
        cmocka_unit_test(test_cancel),          cmocka_unit_test(test_evaluate),
        cmocka_unit_test(test_weights),
    };
    return cmocka_run_group_tests_name("api_train", tests, net_setup, net_teardown);
}
