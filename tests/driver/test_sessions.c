/* test_sessions COUNT: so many sessions of digits through the public API on the simulated GPU, some
 * of which train: after each one everything of the device's is given back, and of the host's memory
 * too. */
#include "dlc/dlc.h"
#include "tests/unit/needs.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TRAIN_EVERY = 25, BATCH = 1, TEXT_BYTES = 1 << 14 };

static int n_sessions;
static atomic_llong live; /* compiling counts from its threads */

static void *count_alloc(void *user, size_t bytes) {
    (void)user;
    void *memory = malloc(bytes);
    live += memory != NULL;
    return memory;
}

static void count_free(void *user, void *memory) {
    (void)user;
    live -= memory != NULL;
    free(memory);
}

static long long (*device_live)(void);
static long long (*device_faults)(void);

static bool simulator_open(void) {
    const char *folder = getenv("DLC_CUDA_PATH");
    char path[1024];
    snprintf(path, sizeof(path), "%.*s/libcuda.so.1", folder ? (int)strcspn(folder, ":") : 0,
             folder ? folder : "");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        return false;
    }
    *(void **)&device_live = dlsym(library, "dlcsim_live");
    *(void **)&device_faults = dlsym(library, "dlcsim_faults");
    return device_live && device_faults;
}

static dlc_plan *compile(dlc_context *context) {
    const char *root = getenv("DLC_SOURCE_ROOT"), *target = "cuda:sm_90";
    char path[1024];
    static char text[TEXT_BYTES];
    snprintf(path, sizeof(path), "%s/examples/digits.dl", root ? root : ".");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof(text), file);
    fclose(file);
    dlc_compile_options options = {.struct_size = sizeof(options),
                                   .source_name = "digits",
                                   .targets = &target,
                                   .n_targets = 1,
                                   .threads = 2};
    dlc_plan *plan = NULL;
    dlc_status status = dlc_compile(context, text, n, &options, &plan);
    if (status != DLC_OK) {
        fail_msg("%s", dlc_last_error(context));
    }
    return plan;
}

static dlc_status train(dlc_session *session, double *loss) {
    float image[BATCH * 64];
    int32_t label[BATCH];
    int64_t image_shape[] = {BATCH, 1, 8, 8}, label_shape[] = {BATCH};
    DLTensor images = {image, {kDLCPU, 0}, 4, {kDLFloat, 32, 1}, image_shape, NULL, 0};
    DLTensor labels = {label, {kDLCPU, 0}, 1, {kDLInt, 32, 1}, label_shape, NULL, 0};
    dlc_step_info info = {.struct_size = sizeof(info)};
    for (int i = 0; i < BATCH * 64; i++) {
        image[i] = (float)(i % 17) / 16;
    }
    for (int i = 0; i < BATCH; i++) {
        label[i] = i % 10;
    }
    dlc_status status = dlc_set_counter(session, "steps", 10);
    status = status == DLC_OK ? dlc_init_weights(session) : status;
    status = status == DLC_OK ? dlc_set_input(session, "train", "image", &images) : status;
    status = status == DLC_OK ? dlc_set_input(session, "train", "label", &labels) : status;
    status = status == DLC_OK ? dlc_train_step(session, &info) : status;
    *loss = info.loss;
    return status;
}

static void test_sessions(void **state) {
    (void)state;
    assert_true(simulator_open());
    const dlc_allocator allocator = {count_alloc, count_free, NULL};
    dlc_context_options settings = {.struct_size = sizeof(settings), .allocator = &allocator};
    dlc_binding batch = {"B", BATCH};
    dlc_session_options options = {.struct_size = sizeof(options),
                                   .bindings = &batch,
                                   .n_bindings = 1,
                                   .device = "cuda:0",
                                   .threads = 1};
    dlc_context *context = NULL;
    assert_int_equal(dlc_context_create(&settings, &context), DLC_OK);
    dlc_plan *plan = compile(context);
    int64_t before = 0;
    double first = 0;
    for (int i = 0; i < n_sessions; i++) {
        dlc_session *session = NULL;
        double loss = 0;
        if (dlc_session_create(plan, &options, &session) != DLC_OK) {
            fail_msg("session %d: %s", i, dlc_last_error(context));
        }
        assert_true(device_live() > 0);
        if (i % TRAIN_EVERY == 0) {
            if (train(session, &loss) != DLC_OK) {
                fail_msg("session %d: %s", i, dlc_last_error(context));
            }
            first = i == 0 ? loss : first;
            assert_true(loss == first);
        }
        dlc_session_destroy(session);
        before = i == 0 ? live : before; /* what the context keeps, its error text say */
        if (device_live() != 0 || live != before) {
            fail_msg("session %d leaves %lld things on the device, %lld blocks of memory", i,
                     device_live(), (long long)(live - before));
        }
    }
    dlc_plan_destroy(plan);
    dlc_context_destroy(context);
    assert_int_equal(live, 0);
    assert_int_equal(device_faults(), 0);
}

int main(int argc, char **argv) {
    n_sessions = argc > 1 ? atoi(argv[1]) : 0;
    if (n_sessions < 1) {
        fprintf(stderr, "usage: test_sessions COUNT\n");
        return 2;
    }
    if (!cudasim_can_compile()) {
        return TEST_SKIPPED;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sessions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
