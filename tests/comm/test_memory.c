/* Memory that processes share (runtime/comm/memory/): segments, rings in them, and how they are
 * passed. Who is at the other end may be anyone: what does not fit is refused, never touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "runtime/comm/memory/pass.h"
#include "runtime/comm/memory/ring.h"
#include "runtime/comm/memory/segment.h"
#include "runtime/context.h"
#include "tests/comm/ranks.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = 3 * 4096 };

static int count_files(void) {
    int n = 0;
    for (int i = 0; i < 256; i++) {
        n += fcntl(i, F_GETFD) >= 0;
    }
    return n;
}

/* -- Segments. */

static void test_segment(void **state) {
    (void)state;
    char why[SEGMENT_WHY_BYTES] = "";
    int made = segment_make(BYTES, why);
    assert_true(made >= 0);
    uint8_t *first = segment_map(made, BYTES, why), *second = segment_map(made, BYTES, why);
    assert_non_null(first);
    assert_non_null(second);
    assert_int_equal(second[BYTES - 1], 0);
    first[BYTES - 1] = 7;
    assert_int_equal(second[BYTES - 1], 7);
    /* Nobody can take it away from who has mapped it. */
    assert_int_equal(ftruncate(made, 0), -1);
    assert_int_equal(ftruncate(made, BYTES + 1), -1);
    assert_int_equal(second[BYTES - 1], 7);
    munmap(first, BYTES);
    munmap(second, BYTES);
    close(made);
}

static void refused(int descriptor, size_t bytes, const char *text) {
    char why[SEGMENT_WHY_BYTES] = "";
    assert_null(segment_map(descriptor, bytes, why));
    if (!strstr(why, text)) {
        fail_msg("'%s', expected '%s'", why, text);
    }
}

static void test_segment_of_others(void **state) {
    (void)state;
    char why[SEGMENT_WHY_BYTES], name[] = "/tmp/dlc-segment-XXXXXX";
    int made = segment_make(BYTES, why), pipes[2], file = mkstemp(name);
    int open_end = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(made >= 0 && open_end >= 0 && file >= 0 && pipe(pipes) == 0);
    unlink(name);
    assert_int_equal(ftruncate(open_end, BYTES), 0);
    assert_int_equal(ftruncate(file, BYTES), 0);
    refused(made, 2 * BYTES, "has 12288 bytes, 24576 are wanted");
    refused(made, BYTES / 2, "has 12288 bytes, 6144 are wanted");
    refused(open_end, BYTES, "not sealed");
    refused(pipes[0], BYTES, "something else");
    refused(-1, BYTES, "Bad file descriptor");
    char other[SEGMENT_WHY_BYTES] = "";
    assert_null(segment_map(file, BYTES, other)); /* a file, of tmpfs or not */
    close(made);
    close(open_end);
    close(file);
    close(pipes[0]);
    close(pipes[1]);
}

/* Memory that cannot be had is a text with both sizes, not a signal. */
static void test_segment_limit(void **state) {
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit small = {4096, 4096};
        char why[SEGMENT_WHY_BYTES] = "";
        setrlimit(RLIMIT_FSIZE, &small);
        bool refused_so = segment_make(BYTES, why) < 0 && strstr(why, "12288 bytes is wanted") &&
                          strstr(why, "is 4096");
        _exit(refused_so && segment_make(4096, why) >= 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    char why[SEGMENT_WHY_BYTES] = "";
    assert_int_equal(segment_make((size_t)1 << 62, why), -1);
    const char *wanted = "shared memory of 4611686018427387904 bytes is wanted, and what is free";
    assert_non_null(strstr(why, wanted));
}

/* -- Rings. */

typedef struct Pipe {
    void *memory;
    Ring writer, reader;
} Pipe;

static Pipe pipe_make(void) {
    Pipe made = {.memory = aligned_alloc(RING_APART, RING_WORDS_BYTES + RING_BYTES)};
    memset(made.memory, 0, RING_WORDS_BYTES + RING_BYTES);
    made.writer = ring_at(made.memory);
    made.reader = ring_at(made.memory);
    return made;
}

/* The byte at a place of the endless text that is written. */
static uint8_t byte_at(uint64_t at) {
    return (uint8_t)(at * 31 + (at >> 11) * 7);
}

/* Cuts `bytes` into at most four runs. */
static int runs_cut(uint8_t *memory, size_t bytes, uint64_t *seed, struct iovec *out) {
    int n = 0;
    for (size_t at = 0; at < bytes;) {
        size_t rest = bytes - at;
        size_t length = n == 3 ? rest : 1 + (size_t)random_below(seed, (int64_t)rest);
        out[n++] = (struct iovec){memory + at, length};
        at += length;
    }
    return n;
}

static void test_ring(void **state) {
    (void)state;
    enum { MOST = 400000 };
    Pipe both = pipe_make();
    uint8_t *memory = malloc(MOST);
    uint64_t seed = 5, written = 0, taken = 0;
    struct iovec runs[4];
    for (int i = 0; i < 2000; i++) {
        int64_t most = random_below(&seed, 3) == 0 ? MOST : 2000;
        size_t bytes = 1 + (size_t)random_below(&seed, most);
        bool writes = random_below(&seed, 2) == 0;
        for (size_t k = 0; k < bytes && writes; k++) {
            memory[k] = byte_at(written + k);
        }
        int n = runs_cut(memory, bytes, &seed, runs);
        uint64_t inside = written - taken, can = writes ? RING_BYTES - inside : inside;
        uint64_t expected = bytes < can ? bytes : can;
        assert_int_equal(ring_has_bytes(&both.reader), inside > 0);
        assert_int_equal(ring_has_room(&both.writer), inside <= RING_BYTES / 2);
        int64_t moved =
            writes ? ring_write(&both.writer, runs, n) : ring_read(&both.reader, runs, n);
        assert_int_equal(moved, expected);
        for (uint64_t k = 0; k < expected && !writes; k++) {
            if (memory[k] != byte_at(taken + k)) {
                fail_msg("byte %llu is another", (unsigned long long)(taken + k));
            }
        }
        written += writes ? expected : 0;
        taken += writes ? 0 : expected;
    }
    assert_true(taken > 4 * RING_BYTES);
    free(memory);
    free(both.memory);
}

/* What the other side may write into the words, it may write anything. */
static void test_ring_of_others(void **state) {
    (void)state;
    const uint64_t lies[] = {RING_BYTES + 1, UINT64_MAX, UINT64_C(1) << 63};
    uint8_t memory[64] = {0};
    const struct iovec run = {memory, sizeof(memory)};
    for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
        Pipe both = pipe_make();
        atomic_store(&both.reader.words->written, lies[i]);
        assert_int_equal(ring_read(&both.reader, &run, 1), -1);
        assert_true(ring_has_bytes(&both.reader)); /* nobody sleeps for good */
        atomic_store(&both.writer.words->read, lies[i]);
        assert_true(ring_has_room(&both.writer));
        Ring full = both.writer;
        full.moved = RING_BYTES; /* so that it must look */
        assert_int_equal(ring_write(&full, &run, 1), -1);
        free(both.memory);
    }
}

static void test_ring_sleeps(void **state) {
    (void)state;
    Pipe both = pipe_make();
    static uint8_t memory[RING_BYTES];
    const struct iovec all = {memory, sizeof(memory)}, third = {memory, RING_BYTES / 3};
    assert_false(ring_wakes_reader(&both.writer));
    ring_reader_sleeps(&both.reader, true);
    assert_int_equal(ring_write(&both.writer, &all, 1), RING_BYTES);
    assert_true(ring_wakes_reader(&both.writer));
    assert_false(ring_wakes_reader(&both.writer)); /* once */
    ring_writer_sleeps(&both.writer, true);
    assert_int_equal(ring_read(&both.reader, &third, 1), RING_BYTES / 3);
    assert_false(ring_wakes_writer(&both.reader)); /* not for so little room */
    assert_int_equal(ring_read(&both.reader, &third, 1), RING_BYTES / 3);
    assert_true(ring_wakes_writer(&both.reader));
    assert_false(ring_wakes_writer(&both.reader));
    free(both.memory);
}

/* -- Passing. */

static void test_pass(void **state) {
    (void)state;
    char why[PASS_WHY_BYTES] = "";
    PassName name, another = {{1, 2}};
    int files = count_files(), listener = pass_listen(&name, why);
    assert_true(listener >= 0 && pass_is_named(&name));
    assert_int_equal(pass_accept(listener), -1);
    assert_int_equal(pass_connect(&another, why), -1);
    assert_non_null(strstr(why, "another host"));
    int from = pass_connect(&name, why), to = pass_accept(listener), pipes[2], got[2];
    assert_true(from >= 0 && to >= 0 && pipe(pipes) == 0);
    char text[8] = "";
    double soon = clock_seconds() + 5;
    assert_false(pass_take(to, text, 8, got, 2, 0)); /* nothing has come */
    assert_true(pass_send(from, "1234567", 8, pipes, 2));
    assert_true(pass_take(to, text, 8, got, 2, soon));
    assert_string_equal(text, "1234567");
    assert_int_equal(write(got[1], "x", 1), 1);
    assert_int_equal(read(pipes[0], text, 1), 1);
    close(got[0]);
    close(got[1]);
    /* Fewer files than wanted, more, none, or fewer bytes: nothing is kept. */
    assert_true(pass_send(from, "1234567", 8, pipes, 1));
    assert_false(pass_take(to, text, 8, got, 2, soon));
    assert_true(pass_send(from, "1234567", 8, pipes, 2));
    assert_false(pass_take(to, text, 8, got, 1, soon));
    assert_int_equal(send(from, "1234567", 8, 0), 8);
    assert_false(pass_take(to, text, 8, got, 1, soon));
    assert_true(pass_send(from, "123", 4, pipes, 2));
    assert_false(pass_take(to, text, 8, got, 2, soon));
    close(from);
    assert_false(pass_take(to, text, 8, got, 2, soon));
    const int all[] = {to, listener, pipes[0], pipes[1]};
    for (size_t i = 0; i < 4; i++) {
        close(all[i]);
    }
    assert_int_equal(count_files(), files);
}

/* As root alone: another user's process is not spoken with. */
static void test_pass_user(void **state) {
    (void)state;
    char why[PASS_WHY_BYTES] = "";
    PassName name;
    int listener = pass_listen(&name, why);
    assert_true(listener >= 0);
    if (geteuid() != 0) {
        print_message("not root: no other user to be\n");
        close(listener);
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        bool refused_so =
            setuid(65534) == 0 && pass_connect(&name, why) < 0 && strstr(why, "another user");
        _exit(refused_so ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(pass_accept(listener), -1);
    close(listener);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segment),        cmocka_unit_test(test_segment_of_others),
        cmocka_unit_test(test_segment_limit),  cmocka_unit_test(test_ring),
        cmocka_unit_test(test_ring_of_others), cmocka_unit_test(test_ring_sleeps),
        cmocka_unit_test(test_pass),           cmocka_unit_test(test_pass_user),
    };
    return cmocka_run_group_tests_name("comm memory", tests, NULL, NULL);
}
