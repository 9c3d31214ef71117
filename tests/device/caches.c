/* Caches that are stored in place, without an OK value: the kernels that write them look at the
 * gate themselves, so nothing waits for the host, and nothing is stored behind a fault. */
#include "far_device.h"
#include "runs.h"
#include "runtime/session/rank.h"

static const char gated[] = "tests/device/gated.dl";

static dlc_status decode(Run *run, int32_t first, int32_t second) {
    int32_t k[2] = {first, second};
    int64_t shape[1] = {2};
    DLTensor tensor = {
        .data = k, .device = {kDLCPU, 0}, .ndim = 1, .dtype = {kDLInt, 32, 1}, .shape = shape};
    OK(run, dlc_set_input(run->session, "step", "k", &tensor));
    return dlc_run(run->session, "step");
}

static void same_caches(Run *a, Run *b, bool exact) {
    static const char *const names[] = {"seen", "total"};
    for (int i = 0; i < 2; i++) {
        const DLTensor *x, *y;
        OK(a, dlc_view_variable(a->session, names[i], &x));
        OK(b, dlc_view_variable(b->session, names[i], &y));
        CHECK(tensor_bytes(x) == 2 * 8 * 4 * 4);
        same_values(x->data, y->data, tensor_bytes(x), x->dtype, exact, names[i]);
    }
}

static bool cache_is_zero(Run *run) {
    const DLTensor *view;
    bool zero = true;
    OK(run, dlc_view_variable(run->session, "total", &view));
    for (int i = 0; i < 2 * 8 * 4; i++) {
        zero = zero && ((const float *)view->data)[i] == 0;
    }
    return zero;
}

void test_gated_caches(void) {
    if (!subject->computes) {
        return;
    }
    Run cpu, run;
    begin(&cpu, gated, false, NULL);
    begin(&run, gated, true, NULL);
    OK(&cpu, dlc_init_weights(cpu.session));
    OK(&run, dlc_init_weights(run.session));
    EntryState *entry = session_entry(run.session, "step");
    CHECK(entry && entry->is_gated && !entry->waits);
    for (int32_t turn = 0; turn < 4; turn++) {
        CHECK(decode(&run, 8, turn) == DLC_ERROR_FAULT);
        CHECK_ABOUT(strstr(error_of(&run), "gated.dl:3:"), error_of(&run));
        CHECK_ABOUT(strstr(error_of(&run), "8 is not in 0..8; nothing was stored"), error_of(&run));
        CHECK(cache_is_zero(&run) == (turn == 0));
        same_caches(&cpu, &run, subject->exact);
        OK(&cpu, decode(&cpu, turn, 7 - turn));
        OK(&run, decode(&run, turn, 7 - turn));
        same_caches(&cpu, &run, subject->exact);
    }
    CHECK(!cache_is_zero(&run));
    if (subject->ops == &device_far) { /* one recording, and the host awaits its end alone */
        FarCounts before = far_counts(run.session->ranks->device);
        OK(&run, decode(&run, 3, 5));
        FarCounts after = far_counts(run.session->ranks->device);
        CHECK(after.launches == before.launches && after.replays - before.replays == 1);
        CHECK(after.finishes == before.finishes && after.fetches > before.fetches);
    }
    end(&cpu);
    end(&run);
}
