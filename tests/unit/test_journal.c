/* Journals: the ring, what is kept of it, files that are sound, damaged, of another job, and what
 * is said of made-up jobs, word for word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "runtime/journal/explain.h"
#include "tests/unit/plain_allocator.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECOND = 1000000000, TEXT_BYTES = 16384 };

typedef struct Folder {
    char path[96];
} Folder;

static Folder folder_new(void) {
    Folder folder = {"/tmp/dlc-journal-XXXXXX"};
    assert_non_null(mkdtemp(folder.path));
    return folder;
}

static void folder_remove(const Folder *folder) {
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", folder->path);
    assert_int_equal(system(command), 0);
}

static void explain(const Folder *folder, char *out) {
    char message[JOURNAL_MESSAGE_BYTES];
    Str text;
    str_init(&text, &plain_allocator);
    if (journal_explain(&plain_allocator, folder->path, &text, message) != DLC_OK) {
        fail_msg("%s", message);
    }
    snprintf(out, TEXT_BYTES, "%s", str_text(&text));
    str_finish(&text);
}

static void expect(const char *text, const char *wanted) {
    if (strcmp(text, wanted) != 0) {
        fail_msg("said:\n%s\nwanted:\n%s", text, wanted);
    }
}

/* -- Made-up journals */

/* "N" of a rank, a second after the one before; step 12 of a training with command 17 of 61. */
static void event_add(JournalFile *file, JournalKind kind, int64_t call, int64_t step,
                      const char *text) {
    uint64_t n = 0;
    for (int i = 0; i < JOURNAL_EVENTS; i++) {
        n = file->events[i].number > n ? file->events[i].number : n;
    }
    JournalEvent *event = &file->events[n % JOURNAL_EVENTS];
    *event = (JournalEvent){.number = n + 1,
                            .time = (int64_t)(1000 + (int64_t)n) * SECOND,
                            .step = step,
                            .binding = 0xabcd1234,
                            .call = call,
                            .meeting = 1,
                            .kind = (int32_t)kind,
                            .command = kind == JOURNAL_MEETS ? 17 : -1,
                            .n_commands = 61};
    snprintf(event->text, sizeof(event->text), "%s", text);
    file->step = step;
    file->command = kind == JOURNAL_MEETS || kind == JOURNAL_MET ? 17 : -1;
    file->n_commands = 61;
}

/* One that has begun `calls` collectives, all done, and a step with the next. */
static JournalFile *made(int32_t rank, int32_t n_ranks, int64_t calls) {
    JournalFile *file = calloc(1, sizeof(*file));
    assert_non_null(file);
    *file = (JournalFile){.magic = JOURNAL_MAGIC,
                          .version = JOURNAL_VERSION,
                          .bytes = sizeof(*file),
                          .rank = rank,
                          .n_ranks = n_ranks,
                          .process = 4000 + rank,
                          .began = 900 * (int64_t)SECOND,
                          .host = "alpha.cluster",
                          .plan = "net.plan"};
    event_add(file, JOURNAL_GATHERS, 0, 0, "");
    event_add(file, JOURNAL_RUN, 0, 12, "net.train");
    for (int64_t call = 1; call <= calls; call++) {
        event_add(file, JOURNAL_MEETS, call, 12, "all_reduce net.dl:4:9");
        event_add(file, JOURNAL_MET, call, 12, "");
    }
    return file;
}

static void put(const Folder *folder, JournalFile *file, size_t bytes) {
    char path[160];
    snprintf(path, sizeof(path), "%s/rank-%04d.journal", folder->path, (int)file->rank);
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(file, 1, bytes, stream), bytes);
    assert_int_equal(fclose(stream), 0);
    free(file);
}

static void put_waiting(const Folder *folder, int32_t rank, int32_t n_ranks, int64_t call,
                        const char *text) {
    JournalFile *file = made(rank, n_ranks, call - 1);
    event_add(file, JOURNAL_MEETS, call, 12, text);
    put(folder, file, sizeof(*file));
}

static void test_behind(void **state) {
    (void)state;
    Folder folder = folder_new();
    char text[TEXT_BYTES];
    for (int32_t rank = 0; rank < 4; rank++) {
        if (rank == 2) {
            put(&folder, made(2, 4, 2), sizeof(JournalFile));
        } else {
            put_waiting(&folder, rank, 4, 3, "all_reduce net.dl:7:5");
        }
    }
    explain(&folder, text);
    expect(text, "net.plan on 4 ranks\n"
                 "rank 0 on alpha.cluster: waits in all_reduce net.dl:7:5; 3 collectives, step 12, "
                 "command 17 of 61; last event 0.0 s before the newest\n"
                 "rank 1 on alpha.cluster: waits in all_reduce net.dl:7:5; 3 collectives, step 12, "
                 "command 17 of 61; last event 0.0 s before the newest\n"
                 "rank 2 on alpha.cluster: computes; 2 collectives, step 12, "
                 "command 17 of 61; last event 1.0 s before the newest\n"
                 "rank 3 on alpha.cluster: waits in all_reduce net.dl:7:5; 3 collectives, step 12, "
                 "command 17 of 61; last event 0.0 s before the newest\n"
                 "rank 2 is behind: it has begun 2 collectives, rank 0 3; what it has not begun is "
                 "all_reduce net.dl:7:5 of step 12\n"
                 "last events of rank 2:\n"
                 "  -6.0 s  has met the others\n"
                 "  -5.0 s  step 12  runs net.train\n"
                 "  -4.0 s  step 12  waits in all_reduce net.dl:4:9\n"
                 "  -3.0 s  step 12  computes\n"
                 "  -2.0 s  step 12  waits in all_reduce net.dl:4:9\n"
                 "  -1.0 s  step 12  computes\n");
    folder_remove(&folder);
}

/* The verdict alone: from the line that begins with it to its end. */
static void verdict(const Folder *folder, const char *begin, const char *wanted) {
    char text[TEXT_BYTES];
    explain(folder, text);
    const char *at = strstr(text, begin);
    if (!at) {
        fail_msg("no '%s' in:\n%s", begin, text);
        return;
    }
    char line[TEXT_BYTES];
    snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
    expect(line, wanted);
}

static void test_parted(void **state) {
    (void)state;
    Folder folder = folder_new();
    for (int32_t rank = 0; rank < 3; rank++) {
        put_waiting(&folder, rank, 3, 3,
                    rank == 1 ? "all_gather net.dl:8:5" : "all_reduce net.dl:7:5");
    }
    verdict(&folder, "the ranks part",
            "the ranks part at collective 3: rank 0 begins all_reduce net.dl:7:5 (command 17) of "
            "step 12, dims abcd1234; rank 1 begins all_gather net.dl:8:5 (command 17) of step 12, "
            "dims abcd1234");
    JournalFile *file = made(2, 3, 2);
    event_add(file, JOURNAL_MEETS, 3, 13, "all_reduce net.dl:7:5");
    put(&folder, file, sizeof(*file));
    put_waiting(&folder, 1, 3, 3, "all_reduce net.dl:7:5");
    verdict(&folder, "the ranks part",
            "the ranks part at collective 3: rank 0 begins all_reduce net.dl:7:5 (command 17) of "
            "step 12, dims abcd1234; rank 2 begins all_reduce net.dl:7:5 (command 17) of step 13, "
            "dims abcd1234");
    folder_remove(&folder);
}

static void test_ends(void **state) {
    (void)state;
    Folder folder = folder_new();
    JournalFile *file = made(0, 3, 3);
    event_add(file, JOURNAL_STOPS, 3, 12, "rank 1 (host beta) has died");
    event_add(file, JOURNAL_LEAVES, 3, 12, "");
    put(&folder, file, sizeof(*file));
    put(&folder, made(1, 3, 3), sizeof(*file));
    file = made(2, 3, 3);
    event_add(file, JOURNAL_STOPS, 3, 12, "rank 1 (host beta) has died");
    put(&folder, file, sizeof(*file));
    verdict(&folder, "rank 1 left",
            "rank 1 left no word when the others were stopped: it was killed, or hangs; rank 0 was "
            "told: rank 1 (host beta) has died");
    file = made(2, 3, 2); /* before the others were stopped */
    event_add(file, JOURNAL_FAILS, 2, 12, "no space left on device");
    put(&folder, file, sizeof(*file));
    verdict(&folder, "rank 2 has failed", "rank 2 has failed by itself: no space left on device");
    for (int32_t rank = 0; rank < 3; rank++) {
        file = made(rank, 3, 3);
        event_add(file, JOURNAL_RAN, 3, 12, "");
        event_add(file, JOURNAL_LEAVES, 3, 12, "");
        put(&folder, file, sizeof(*file));
    }
    verdict(&folder, "no rank is", "no rank is to blame: all have ended as they should");
    folder_remove(&folder);
}

static void test_stopped(void **state) {
    (void)state;
    Folder folder = folder_new();
    for (int32_t rank = 0; rank < 2; rank++) {
        put_waiting(&folder, rank, 2, 3, "all_reduce net.dl:7:5");
    }
    verdict(
        &folder, "no rank is behind",
        "no rank is behind: 2 of 2 wait in a collective that all have begun; what was sent does "
        "not arrive, or a process is stopped");
    JournalFile *file = made(1, 2, 3);
    event_add(file, JOURNAL_RAN, 3, 12, "");
    event_add(file, JOURNAL_DOES, 3, 12, "reading the rows of its next step");
    put(&folder, file, sizeof(*file));
    put_waiting(&folder, 0, 2, 4, "all_reduce net.dl:4:9");
    verdict(&folder, "rank 1 on",
            "rank 1 on alpha.cluster: reading the rows of its next step; 3 collectives, step 12; "
            "last event 0.0 s before the newest");
    verdict(&folder, "rank 1 is behind",
            "rank 1 is behind: it has begun 3 collectives, rank 0 4; what it has not begun is "
            "all_reduce net.dl:4:9 of step 12");
    folder_remove(&folder);
}

/* What is no journal is named, and nothing in one is believed. */
static void test_damaged(void **state) {
    (void)state;
    Folder folder = folder_new();
    char text[TEXT_BYTES], message[JOURNAL_MESSAGE_BYTES];
    Str empty;
    str_init(&empty, &plain_allocator);
    assert_int_equal(journal_explain(&plain_allocator, folder.path, &empty, message),
                     DLC_ERROR_NOT_FOUND);
    assert_non_null(strstr(message, "holds no journal"));
    assert_int_equal(journal_explain(&plain_allocator, "/tmp/dlc-no-such-folder", &empty, message),
                     DLC_ERROR_IO);
    str_finish(&empty);
    put(&folder, made(0, 3, 2), sizeof(JournalFile) - 1);
    put(&folder, made(5, 8, 2), sizeof(JournalFile));
    JournalFile *file = made(1, 3, 2);
    file->began += SECOND; /* of a later job */
    file->events[5].number = 0;
    file->events[2].kind = 77;
    file->events[3].call = -4;
    memset(file->plan, 'x', sizeof(file->plan));
    memset(file->events[4].text, '\n', sizeof(file->events[4].text));
    put(&folder, file, sizeof(JournalFile));
    explain(&folder, text);
    assert_non_null(strstr(text, "rank-0000.journal': it is no journal\n"));
    assert_non_null(strstr(text, "left out: rank 5 of 8: of an earlier job\n"));
    assert_non_null(strstr(text, "rank 0: no journal here\nrank 2: no journal here\n"));
    assert_non_null(strstr(text, "rank 1 on alpha.cluster: waits in ??????"));
    folder_remove(&folder);
}

/* -- The ring */

/* More events than are kept; the file is as large as before, and the last are there. */
static void test_ring(void **state) {
    (void)state;
    Folder folder = folder_new();
    char path[160], text[TEXT_BYTES], message[JOURNAL_MESSAGE_BYTES];
    struct stat before, after;
    Journal *journal;
    const JournalAbout about = {.rank = 7, .n_ranks = 8, .plan = "net.plan"};
    Folder inner = {""};
    snprintf(inner.path, sizeof(inner.path), "%.80s/made", folder.path);
    snprintf(path, sizeof(path), "%s/rank-0007.journal", inner.path);
    assert_int_equal(journal_create(&plain_allocator, &about, inner.path, &journal, message),
                     DLC_OK);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(before.st_size, sizeof(JournalFile));
    journal_note(journal, JOURNAL_GATHERS, NULL);
    for (int64_t step = 1; step <= 1000; step++) {
        journal_run(journal, "net.train", step, 1, 61);
        journal_command(journal, 5);
        journal_meets(journal, 17, "all_reduce", "net.dl:7:5");
        JournalNow now = journal_now(journal);
        assert_int_equal(now.step, step);
        assert_int_equal(now.command, 5);
        assert_string_equal(now.run, "net.train");
        journal_note(journal, JOURNAL_MET, NULL);
        journal_note(journal, JOURNAL_RAN, NULL);
        assert_int_equal(journal_now(journal).command, -1);
    }
    journal_note(journal, JOURNAL_DOES, "a nap");
    assert_string_equal(journal_now(journal).does, "a nap");
    explain(&inner, text); /* while it is written */
    assert_non_null(strstr(text, ": a nap; 1000 collectives, step 1000; last event"));
    journal_note(journal, JOURNAL_GATHERS, NULL); /* and count anew */
    journal_meets(journal, -1, "barrier", NULL);
    explain(&inner, text);
    assert_non_null(strstr(text, "waits in barrier; 1 collectives"));
    Journal *second; /* a new one of the name leaves the old one as it is */
    assert_int_equal(journal_create(&plain_allocator, &about, inner.path, &second, message),
                     DLC_OK);
    journal_note(journal, JOURNAL_DOES, "another");
    journal_destroy(second);
    journal_destroy(journal);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    explain(&inner, text);
    assert_null(strstr(text, "another"));
    assert_non_null(strstr(text, "has ended"));
    folder_remove(&folder);
}

/* A process that is killed while it writes an event, which these nearly always are, leaves none
 * that is half another. */
static void test_killed(void **state) {
    (void)state;
    Folder folder = folder_new();
    char path[160], message[JOURNAL_MESSAGE_BYTES];
    const JournalAbout about = {.rank = 0, .n_ranks = 1, .plan = "net.plan"};
    int n_torn = 0;
    snprintf(path, sizeof(path), "%s/rank-0000.journal", folder.path);
    for (int round = 0; round < 30; round++) {
        pid_t child = fork();
        if (child == 0) {
            Journal *journal;
            if (journal_create(&plain_allocator, &about, folder.path, &journal, message) ==
                DLC_OK) {
                for (int64_t step = 1;; step++) {
                    journal_run(journal, "net.train", step, 1, 61);
                }
            }
            _exit(1);
        }
        usleep(20000);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        JournalFile *file = calloc(1, sizeof(*file));
        FILE *stream = fopen(path, "rb");
        assert_non_null(file);
        assert_non_null(stream);
        assert_int_equal(fread(file, sizeof(*file), 1, stream), 1);
        assert_int_equal(fclose(stream), 0);
        for (int i = 0; i < JOURNAL_EVENTS; i++) {
            const JournalEvent *event = &file->events[i];
            n_torn += event->number == 0;
            assert_true(event->number == 0 || event->number == (uint64_t)event->step);
        }
        free(file);
    }
    assert_true(n_torn > 0);
    folder_remove(&folder);
}

/* A process that a signal has stopped is to blame, wherever it stands; one that goes on is not. */
static void test_process_stopped(void **state) {
    (void)state;
    Folder folder = folder_new();
    char text[TEXT_BYTES], wanted[160];
    const JournalAbout about = {.rank = 0, .n_ranks = 1, .plan = "net.plan"};
    pid_t child = fork();
    if (child == 0) {
        char message[JOURNAL_MESSAGE_BYTES];
        Journal *journal;
        if (journal_create(&plain_allocator, &about, folder.path, &journal, message) == DLC_OK) {
            journal_meets(journal, -1, "all_reduce", "net.dl:4:9");
        }
        raise(SIGSTOP);
        pause();
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
    snprintf(wanted, sizeof(wanted), "the process of rank 0 (%d) is stopped, by a signal",
             (int)child);
    explain(&folder, text);
    assert_non_null(strstr(text, wanted));
    assert_non_null(strstr(text, "; its process is stopped\n"));
    assert_non_null(strstr(text, "last events of rank 0:\n"));
    assert_int_equal(kill(child, SIGCONT), 0);
    assert_int_equal(waitpid(child, &status, WCONTINUED), child);
    explain(&folder, text);
    assert_null(strstr(text, "stopped, by"));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    folder_remove(&folder);
}

/* Texts are cut between characters. */
static void test_cut(void **state) {
    (void)state;
    Folder folder = folder_new();
    char text[TEXT_BYTES], message[JOURNAL_MESSAGE_BYTES], name[JOURNAL_TEXT_BYTES + 8] = "";
    Journal *journal;
    const JournalAbout about = {.rank = 0, .n_ranks = 1, .plan = "net.plan"};
    for (int i = 0; i < JOURNAL_TEXT_BYTES / 2; i++) {
        strcat(name, "\xc3\xa4");
    }
    assert_int_equal(journal_create(&plain_allocator, &about, folder.path, &journal, message),
                     DLC_OK);
    journal_note(journal, JOURNAL_DOES, name);
    explain(&folder, text);
    const char *at = strstr(text, "\xc3\xa4");
    assert_non_null(at);
    assert_int_equal(strcspn(at, ";"), JOURNAL_TEXT_BYTES - 2);
    journal_destroy(journal);
    folder_remove(&folder);
}

/* Where no file can be, it is said why. */
static void test_refused(void **state) {
    (void)state;
    char message[JOURNAL_MESSAGE_BYTES];
    Journal *journal;
    const JournalAbout about = {.rank = 0, .n_ranks = 1, .plan = "net.plan"};
    assert_int_equal(journal_create(&plain_allocator, &about, "/dev/null", &journal, message),
                     DLC_ERROR_IO);
    assert_null(journal);
    assert_non_null(strstr(message, "journal: cannot make '/dev/null/rank-0000.journal"));
    assert_int_equal(journal_create(&plain_allocator, &about, NULL, &journal, message), DLC_OK);
    journal_destroy(journal);
    journal_destroy(NULL);
    journal_note(NULL, JOURNAL_DOES, "nothing");
    assert_int_equal(journal_now(NULL).command, -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_behind),  cmocka_unit_test(test_parted),
        cmocka_unit_test(test_ends),    cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_damaged), cmocka_unit_test(test_ring),
        cmocka_unit_test(test_killed),  cmocka_unit_test(test_process_stopped),
        cmocka_unit_test(test_cut),     cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
