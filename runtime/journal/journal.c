/* See journal.h. */
#include "runtime/journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct Journal {
    const dlc_allocator *allocator;
    JournalFile *file;
    bool is_mapped;
    char *folder; /* NULL: none */
    uint64_t n_events;
    int64_t n_calls;
    int32_t n_meetings;
    uint64_t binding; /* of the run */
    _Atomic(const char *) run, does;
};

/* -- Beginning and end */

static int64_t now_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static dlc_status file_failed(char *message, const char *what, const char *path) {
    int error = errno;
    snprintf(message, JOURNAL_MESSAGE_BYTES, "journal: cannot %s '%.300s': %s", what, path,
             strerror(error));
    return error == ENOMEM ? DLC_ERROR_OUT_OF_MEMORY : DLC_ERROR_IO;
}

/* Every block of it is there before it is mapped: a disk that is full then is an error here, and
 * not the end of the process. */
static bool file_fill(int fd) {
    static const char zeros[4096];
    for (size_t at = 0; at < sizeof(JournalFile);) {
        size_t rest = sizeof(JournalFile) - at;
        ssize_t n = write(fd, zeros, rest < sizeof(zeros) ? rest : sizeof(zeros));
        if (n <= 0) {
            return false;
        }
        at += (size_t)n;
    }
    return true;
}

/* A new file takes the name of an older one, which other processes may have mapped. */
static dlc_status file_map(Journal *journal, const char *folder, int32_t rank, char *message) {
    char path[4096], fresh[4200];
    int n = snprintf(path, sizeof(path), "%s/rank-%04d.journal", folder, (int)rank);
    if (n < 0 || n >= (int)sizeof(path)) {
        errno = ENAMETOOLONG;
        return file_failed(message, "make", folder);
    }
    snprintf(fresh, sizeof(fresh), "%s.%ld", path, (long)getpid());
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        return file_failed(message, "make the folder", folder);
    }
    int fd = open(fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        return file_failed(message, "make", fresh);
    }
    void *memory = MAP_FAILED;
    if (file_fill(fd)) {
        memory = mmap(NULL, sizeof(JournalFile), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    dlc_status status = memory == MAP_FAILED ? file_failed(message, "fill", fresh) : DLC_OK;
    if (status == DLC_OK && rename(fresh, path) != 0) {
        status = file_failed(message, "make", path);
        munmap(memory, sizeof(JournalFile));
    }
    if (status != DLC_OK) {
        unlink(fresh);
    } else {
        journal->file = memory;
        journal->is_mapped = true;
    }
    close(fd);
    return status;
}

static void header_write(JournalFile *file, const JournalAbout *about) {
    file->rank = about->rank;
    file->n_ranks = about->n_ranks;
    file->process = getpid();
    file->began = now_nanoseconds();
    if (gethostname(file->host, sizeof(file->host) - 1) != 0) {
        snprintf(file->host, sizeof(file->host), "?");
    }
    snprintf(file->plan, sizeof(file->plan), "%s", about->plan);
    file->command = -1;
    file->version = JOURNAL_VERSION;
    file->bytes = sizeof(*file);
    file->magic = JOURNAL_MAGIC;
}

dlc_status journal_create(const dlc_allocator *allocator, const JournalAbout *about,
                          const char *folder, Journal **out, char *message) {
    Journal *journal = memory_new(allocator, 1, sizeof(*journal));
    *out = NULL;
    snprintf(message, JOURNAL_MESSAGE_BYTES, "journal: no memory");
    if (!journal) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    journal->allocator = allocator;
    dlc_status status = DLC_OK;
    if (folder) {
        journal->folder = memory_strdup(allocator, folder);
        status = journal->folder ? file_map(journal, folder, about->rank, message)
                                 : DLC_ERROR_OUT_OF_MEMORY;
    } else {
        journal->file = memory_new(allocator, 1, sizeof(JournalFile));
        status = journal->file ? DLC_OK : DLC_ERROR_OUT_OF_MEMORY;
    }
    if (status != DLC_OK) {
        memory_free(allocator, journal->folder);
        memory_free(allocator, journal);
        return status;
    }
    header_write(journal->file, about);
    journal->run = "";
    journal->does = "its beginning";
    *out = journal;
    message[0] = 0;
    return DLC_OK;
}

void journal_destroy(Journal *journal) {
    if (!journal) {
        return;
    }
    journal_note(journal, JOURNAL_LEAVES, NULL);
    if (journal->is_mapped) {
        munmap(journal->file, sizeof(JournalFile));
    } else {
        memory_free(journal->allocator, journal->file);
    }
    memory_free(journal->allocator, journal->folder);
    memory_free(journal->allocator, journal);
}

const char *journal_folder(const Journal *journal) {
    return journal ? journal->folder : NULL;
}

/* -- Events */

/* The next event, whose number event_end gives it: one that was being written when the process died
 * has none. */
static JournalEvent *event_begin(Journal *journal, JournalKind kind, int32_t command) {
    JournalFile *file = journal->file;
    JournalEvent *event = &file->events[journal->n_events % JOURNAL_EVENTS];
    *(volatile uint64_t *)&event->number = 0;
    atomic_signal_fence(memory_order_seq_cst);
    event->time = now_nanoseconds();
    event->step = atomic_load_explicit(&file->step, memory_order_relaxed);
    event->binding = journal->binding;
    event->call = journal->n_calls;
    event->meeting = journal->n_meetings;
    event->kind = (int32_t)kind;
    event->command = command;
    event->n_commands = atomic_load_explicit(&file->n_commands, memory_order_relaxed);
    return event;
}

static void event_end(Journal *journal, JournalEvent *event) {
    atomic_signal_fence(memory_order_seq_cst);
    *(volatile uint64_t *)&event->number = ++journal->n_events;
}

/* Cut where a character ends. */
static void text_put(char *to, size_t room, const char *from) {
    size_t length = strnlen(from, room);
    if (length == room) {
        length--;
        while (length > 0 && ((unsigned char)from[length] & 0xc0) == 0x80) {
            length--;
        }
    }
    memcpy(to, from, length);
    to[length] = 0;
}

static int32_t command_of(const Journal *journal) {
    return atomic_load_explicit(&journal->file->command, memory_order_relaxed);
}

void journal_run(Journal *journal, const char *name, int64_t step, uint64_t binding,
                 int32_t n_commands) {
    if (!journal) {
        return;
    }
    JournalFile *file = journal->file;
    journal->binding = binding;
    atomic_store_explicit(&file->step, step, memory_order_relaxed);
    atomic_store_explicit(&file->n_commands, n_commands, memory_order_relaxed);
    atomic_store_explicit(&journal->run, name, memory_order_relaxed);
    atomic_store_explicit(&file->command, 0, memory_order_relaxed);
    JournalEvent *event = event_begin(journal, JOURNAL_RUN, 0);
    text_put(event->text, sizeof(event->text), name);
    event_end(journal, event);
}

void journal_command(Journal *journal, int32_t command) {
    if (journal) {
        atomic_store_explicit(&journal->file->command, command, memory_order_relaxed);
    }
}

/* An event of a collective. */
static void collective_note(Journal *journal, JournalKind what, int32_t command, const char *kind,
                            const char *place) {
    JournalEvent *event = event_begin(journal, what, command);
    const char *parts[2] = {kind ? kind : "", place ? place : ""};
    size_t at = strnlen(parts[0], sizeof(event->text) / 2);
    memcpy(event->text, parts[0], at);
    if (at > 0 && parts[1][0]) {
        event->text[at++] = ' ';
    }
    text_put(event->text + at, sizeof(event->text) - at, parts[1]);
    event_end(journal, event);
}

void journal_meets(Journal *journal, int32_t command, const char *kind, const char *place) {
    if (journal) {
        journal->n_calls++;
        collective_note(journal, JOURNAL_MEETS, command, kind, place);
    }
}

void journal_starts(Journal *journal, int32_t command, const char *kind, const char *place) {
    if (journal) {
        journal->n_calls++;
        collective_note(journal, JOURNAL_STARTS, command, kind, place);
    }
}

void journal_awaits(Journal *journal, int32_t command, const char *kind, const char *place) {
    if (journal) {
        collective_note(journal, JOURNAL_AWAITS, command, kind, place);
    }
}

void journal_note(Journal *journal, JournalKind kind, const char *text) {
    if (!journal) {
        return;
    }
    if (kind == JOURNAL_GATHERS) {
        journal->n_calls = 0;
        journal->n_meetings++;
    }
    JournalEvent *event = event_begin(journal, kind, command_of(journal));
    text_put(event->text, sizeof(event->text), text ? text : "");
    event_end(journal, event);
    if (kind == JOURNAL_DOES) {
        atomic_store_explicit(&journal->does, text ? text : "", memory_order_relaxed);
    }
    if (kind == JOURNAL_RAN || kind == JOURNAL_FAILS || kind == JOURNAL_STOPS ||
        kind == JOURNAL_DOES) {
        atomic_store_explicit(&journal->file->command, -1, memory_order_relaxed);
    }
    if (kind == JOURNAL_RAN || kind == JOURNAL_FAILS || kind == JOURNAL_STOPS) {
        atomic_store_explicit(&journal->does, "its caller's work between runs",
                              memory_order_relaxed);
    }
}

JournalNow journal_now(const Journal *journal) {
    JournalNow now = {.command = -1, .run = "", .does = ""};
    if (journal) {
        now.step = atomic_load_explicit(&journal->file->step, memory_order_relaxed);
        now.command = command_of(journal);
        now.n_commands = atomic_load_explicit(&journal->file->n_commands, memory_order_relaxed);
        now.run = atomic_load_explicit(&journal->run, memory_order_relaxed);
        now.does = atomic_load_explicit(&journal->does, memory_order_relaxed);
    }
    return now;
}
