/* Journals read from a folder, and what they say as text. A file may be of a process that was
 * killed at any moment, still runs, or ended long ago, or be anything else of that name: nothing in
 * it is believed. */
#include "runtime/journal/explain.h"
#include "runtime/journal/view.h"

#include "ir/base/file.h"
#include "ir/base/number.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SHOWN_EVENTS = 8, MOST_RANKS = 4096, PATH_ROOM = 4096 };

typedef struct Journals {
    const dlc_allocator *allocator;
    JournalView *views; /* [n], by rank */
    int32_t n;
    Str *out;
} Journals;

/* -- Reading */

static void text_end(char *text, size_t room) {
    text[room - 1] = 0;
    for (char *at = text; *at; at++) {
        *at = (unsigned char)*at < ' ' ? '?' : *at; /* a terminal gets this */
    }
}

/* What is wrong with it; NULL: it is sound. Texts end, afterwards. */
static const char *file_problem(JournalFile *file, size_t size) {
    if (size != sizeof(*file) || file->bytes != sizeof(*file) || file->magic != JOURNAL_MAGIC) {
        return "it is no journal";
    }
    if (file->version != JOURNAL_VERSION) {
        return "it is of another version";
    }
    if (file->n_ranks < 1 || file->n_ranks > MOST_RANKS || file->rank < 0 ||
        file->rank >= file->n_ranks) {
        return "there is no such rank";
    }
    text_end(file->host, sizeof(file->host));
    text_end(file->plan, sizeof(file->plan));
    for (int i = 0; i < JOURNAL_EVENTS; i++) {
        JournalEvent *event = &file->events[i];
        text_end(event->text, sizeof(event->text));
        if (event->kind < 1 || event->kind >= JOURNAL_N_KINDS || event->call < 0) {
            event->number = 0;
        }
    }
    return NULL;
}

/* The process as this host knows it; it may be of another. */
static bool is_here(const JournalFile *file) {
    char host[JOURNAL_NAME_BYTES] = "";
    (void)gethostname(host, sizeof(host) - 1);
    return strcmp(host, file->host) == 0 && file->process > 0 && file->process <= INT32_MAX;
}

static bool is_gone(const JournalFile *file) {
    return is_here(file) && kill((pid_t)file->process, 0) != 0 && errno == ESRCH;
}

/* By a signal or a debugger. proc(5): "pid (name) state …", where the name may hold anything. */
static bool is_stopped(const JournalFile *file) {
    char path[64], line[256] = "";
    snprintf(path, sizeof(path), "/proc/%" PRId64 "/stat", file->process);
    FILE *status = is_here(file) ? fopen(path, "re") : NULL;
    size_t n = status ? fread(line, 1, sizeof(line) - 1, status) : 0;
    if (status) {
        fclose(status);
    }
    line[n] = 0;
    const char *name_end = strrchr(line, ')');
    return name_end && name_end[1] == ' ' && (name_end[2] == 'T' || name_end[2] == 't');
}

static dlc_status journal_read(Journals *journals, const char *folder, const char *name) {
    char path[PATH_ROOM], message[FILE_MESSAGE_BYTES];
    FileView bytes = {.data = NULL};
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (file_read_bounded(path, sizeof(JournalFile) + 1, &bytes, message) != DLC_OK) {
        str_addf(journals->out, "left out: %s\n", message);
        return DLC_OK;
    }
    JournalFile *file = memory_new(journals->allocator, 1, sizeof(*file));
    if (file) {
        memcpy(file, bytes.data, bytes.size < sizeof(*file) ? bytes.size : sizeof(*file));
    }
    const char *problem = file ? file_problem(file, bytes.size) : NULL;
    file_view_close(&bytes);
    if (!file) {
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    if (problem) {
        str_addf(journals->out, "left out: '%s': %s\n", path, problem);
        memory_free(journals->allocator, file);
        return DLC_OK;
    }
    JournalView *view = &journals->views[journals->n++];
    *view = (JournalView){.file = file, .is_gone = is_gone(file), .is_stopped = is_stopped(file)};
    journal_view_fill(view);
    return DLC_OK;
}

static bool is_journal(const char *name) {
    size_t length = strlen(name), end = strlen(".journal");
    return length > end && strcmp(name + length - end, ".journal") == 0 && length < 64;
}

static dlc_status folder_read(Journals *journals, const char *folder, char *message) {
    DIR *list = opendir(folder);
    dlc_status status = DLC_OK;
    if (!list) {
        snprintf(message, JOURNAL_MESSAGE_BYTES, "cannot open the folder '%.300s': %s", folder,
                 strerror(errno));
        return DLC_ERROR_IO;
    }
    for (const struct dirent *item = readdir(list);
         item && status == DLC_OK && journals->n < MOST_RANKS; item = readdir(list)) {
        if (is_journal(item->d_name)) {
            status = journal_read(journals, folder, item->d_name);
        }
    }
    closedir(list);
    snprintf(message, JOURNAL_MESSAGE_BYTES, "no memory for the journals");
    return status;
}

static int by_rank(const void *a, const void *b) {
    int32_t x = ((const JournalView *)a)->file->rank, y = ((const JournalView *)b)->file->rank;
    return (x > y) - (x < y);
}

/* A folder may hold those of ranks of an earlier job, which had more. */
static void older_drop(Journals *journals) {
    const JournalFile *newest = journals->views[0].file;
    for (int32_t i = 1; i < journals->n; i++) {
        const JournalFile *file = journals->views[i].file;
        newest = file->began > newest->began ? file : newest;
    }
    int32_t n_ranks = newest->n_ranks, n = 0;
    for (int32_t i = 0; i < journals->n; i++) {
        JournalView *view = &journals->views[i];
        if (view->file->n_ranks == n_ranks) {
            journals->views[n++] = *view;
            continue;
        }
        str_addf(journals->out, "left out: rank %d of %d: of an earlier job\n",
                 (int)view->file->rank, (int)view->file->n_ranks);
        memory_free(journals->allocator, view->file);
    }
    journals->n = n;
    qsort(journals->views, (size_t)n, sizeof(*journals->views), by_rank);
}

/* -- Text */

static void what_add(Str *out, const JournalEvent *event) {
    static const char *const words[JOURNAL_N_KINDS] = {
        [JOURNAL_RUN] = "runs ",
        [JOURNAL_RAN] = "has run",
        [JOURNAL_MEETS] = "waits in ",
        [JOURNAL_MET] = "computes",
        [JOURNAL_DOES] = "",
        [JOURNAL_GATHERS] = "has met the others",
        [JOURNAL_FAILS] = "has failed: ",
        [JOURNAL_STOPS] = "was stopped: ",
        [JOURNAL_LEAVES] = "has ended",
        [JOURNAL_STARTS] = "computes beside ",
        [JOURNAL_AWAITS] = "waits in ",
    };
    str_addf(out, "%s%s", words[event->kind], event->text);
}

static int64_t newest_time(const Journals *journals) {
    int64_t newest = 0;
    for (int32_t i = 0; i < journals->n; i++) {
        const JournalEvent *last = journals->views[i].last;
        newest = last && last->time > newest ? last->time : newest;
    }
    return newest;
}

static void ago_add(Str *out, int64_t newest, int64_t time) {
    str_addf(out, "%s s", number_fixed((double)(newest - time) / 1e9, 1).text);
}

static void rank_add(const Journals *journals, const JournalView *view, int64_t newest) {
    const JournalFile *file = view->file;
    Str *out = journals->out;
    str_addf(out, "rank %d on %s: ", (int)file->rank, file->host);
    if (!view->last) {
        str_addf(out, "no event%s\n", view->has_left ? "; has ended" : "");
        return;
    }
    what_add(out, view->last);
    str_addf(out, "; %" PRId64 " collectives", view->last->call);
    int64_t step = atomic_load(&file->step);
    int32_t command = atomic_load(&file->command);
    if (step > 0) {
        str_addf(out, ", step %" PRId64, step);
    }
    if (command >= 0) {
        str_addf(out, ", command %d of %d", (int)command, (int)atomic_load(&file->n_commands));
    }
    str_add(out, "; last event ");
    ago_add(out, newest, view->last->time);
    str_addf(out, " before the newest%s%s%s\n", view->has_left ? "; has ended" : "",
             view->is_gone && !view->has_left ? "; its process is gone" : "",
             view->is_stopped ? "; its process is stopped" : "");
}

static void events_add(const Journals *journals, const JournalView *view, int64_t newest) {
    Str *out = journals->out;
    uint64_t last = view->last ? view->last->number : 0;
    str_addf(out, "last events of rank %d:\n", (int)view->file->rank);
    for (uint64_t k = last > SHOWN_EVENTS ? last - SHOWN_EVENTS + 1 : 1; k <= last; k++) {
        const JournalEvent *event = journal_view_event(view, k);
        if (!event) {
            continue;
        }
        str_add(out, "  -");
        ago_add(out, newest, event->time);
        str_add(out, event->step > 0 ? "  step " : "");
        if (event->step > 0) {
            str_addf(out, "%" PRId64, event->step);
        }
        str_add(out, "  ");
        what_add(out, event);
        str_add_char(out, '\n');
    }
}

static void missing_add(const Journals *journals) {
    int32_t n_ranks = journals->views[0].file->n_ranks, at = 0;
    for (int32_t rank = 0; rank < n_ranks; rank++) {
        while (at < journals->n && journals->views[at].file->rank < rank) {
            at++;
        }
        if (at == journals->n || journals->views[at].file->rank != rank) {
            str_addf(journals->out, "rank %d: no journal here\n", (int)rank);
        }
    }
}

static void journals_add(Journals *journals) {
    Str *out = journals->out;
    older_drop(journals);
    int64_t newest = newest_time(journals);
    const JournalFile *first = journals->views[0].file;
    str_addf(out, "%s on %d rank%s\n", first->plan, (int)first->n_ranks,
             first->n_ranks == 1 ? "" : "s");
    for (int32_t i = 0; i < journals->n; i++) {
        rank_add(journals, &journals->views[i], newest);
    }
    missing_add(journals);
    int32_t blamed = journal_blame(journals->views, journals->n, out);
    if (blamed >= 0) {
        events_add(journals, &journals->views[blamed], newest);
    }
}

dlc_status journal_explain(const dlc_allocator *allocator, const char *folder, Str *out,
                           char *message) {
    Journals journals = {.allocator = allocator, .out = out};
    journals.views = memory_new(allocator, MOST_RANKS, sizeof(*journals.views));
    snprintf(message, JOURNAL_MESSAGE_BYTES, "no memory for the journals");
    dlc_status status = journals.views ? DLC_OK : DLC_ERROR_OUT_OF_MEMORY;
    if (status == DLC_OK) {
        status = folder_read(&journals, folder, message);
    }
    if (status == DLC_OK && journals.n == 0) {
        snprintf(
            message, JOURNAL_MESSAGE_BYTES,
            "'%.300s' holds no journal: they are files 'rank-0000.journal', which `dlrun train "
            "--journal DIR` writes",
            folder);
        status = DLC_ERROR_NOT_FOUND;
    }
    if (status == DLC_OK) {
        journals_add(&journals);
        status = out->failed ? DLC_ERROR_OUT_OF_MEMORY : DLC_OK;
    }
    for (int32_t i = 0; journals.views && i < journals.n; i++) {
        memory_free(allocator, journals.views[i].file);
    }
    memory_free(allocator, journals.views);
    return status;
}
