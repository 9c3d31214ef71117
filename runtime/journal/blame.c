/* Who is to blame where ranks wait for each other. All ranks run one program, and begin their
 * collectives in one order; so that a rank is behind, or has gone another way, shows in which one
 * each has begun last. What is said first of all is a failure, as all that follows may come of it.
 */
#include "runtime/journal/view.h"

#include <inttypes.h>

/* -- A journal's events */

const JournalEvent *journal_view_event(const JournalView *view, uint64_t number) {
    if (number == 0) {
        return NULL;
    }
    const JournalEvent *event = &view->file->events[(number - 1) % JOURNAL_EVENTS];
    return event->number == number ? event : NULL;
}

const JournalEvent *journal_view_call(const JournalView *view, int64_t call) {
    const JournalEvent *event = call > 0 ? view->calls[call % JOURNAL_EVENTS] : NULL;
    return event && event->call == call ? event : NULL;
}

bool journal_view_waits(const JournalView *view) {
    return view->last && (view->last->kind == JOURNAL_MEETS || view->last->kind == JOURNAL_AWAITS);
}

void journal_view_fill(JournalView *view) {
    uint64_t newest = 0;
    for (int i = 0; i < JOURNAL_EVENTS; i++) {
        const JournalEvent *event = &view->file->events[i];
        bool fits = event->number > 0 && (event->number - 1) % JOURNAL_EVENTS == (uint64_t)i;
        newest = fits && event->number > newest ? event->number : newest;
    }
    view->last = journal_view_event(view, newest);
    if (view->last && view->last->kind == JOURNAL_LEAVES) {
        view->has_left = true;
        view->last = journal_view_event(view, newest - 1);
    }
    for (uint64_t number = newest; number > 0; number--) {
        const JournalEvent *event = journal_view_event(view, number);
        if (!event || (view->last && event->meeting != view->last->meeting)) {
            break;
        }
        if (event->kind == JOURNAL_MEETS || event->kind == JOURNAL_STARTS) {
            view->calls[(uint64_t)event->call % JOURNAL_EVENTS] = event;
        }
    }
}

/* -- Verdicts, each: the place of who is to blame, or -1 */

static bool is(const JournalView *view, JournalKind kind) {
    return view->last && view->last->kind == (int32_t)kind;
}

/* The first that failed by itself. */
static int32_t blame_failure(const JournalView *views, int32_t n, Str *out) {
    int32_t first = -1;
    for (int32_t i = 0; i < n; i++) {
        bool fails = is(&views[i], JOURNAL_FAILS);
        if (fails && (first < 0 || views[i].last->time < views[first].last->time)) {
            first = i;
        }
    }
    if (first >= 0) {
        str_addf(out, "rank %d has failed by itself: %s\n", (int)views[first].file->rank,
                 views[first].last->text);
    }
    return first;
}

/* One that left no word while others were stopped by a failure. */
static int32_t blame_silence(const JournalView *views, int32_t n, Str *out) {
    int32_t silent = -1, n_silent = 0, stopped = -1;
    for (int32_t i = 0; i < n; i++) {
        bool has_stopped = is(&views[i], JOURNAL_STOPS);
        stopped = has_stopped && stopped < 0 ? i : stopped;
        if (!has_stopped && !views[i].has_left) {
            silent = n_silent++ == 0 ? i : silent;
        }
    }
    if (stopped < 0 || silent < 0) {
        return -1;
    }
    str_addf(out, "rank %d left no word when the others were stopped: it was killed, or hangs",
             (int)views[silent].file->rank);
    if (n_silent > 1) {
        str_addf(out, " (so did %d more)", (int)n_silent - 1);
    }
    str_addf(out, "; rank %d was told: %s\n", (int)views[stopped].file->rank,
             views[stopped].last->text);
    return silent;
}

/* One that came to a collective when the others had been stopped there. */
static int32_t blame_late(const JournalView *views, int32_t n, Str *out) {
    int32_t stopped = -1, late = -1;
    for (int32_t i = 0; i < n; i++) {
        bool is_first = stopped < 0 || views[i].last->time < views[stopped].last->time;
        stopped = is(&views[i], JOURNAL_STOPS) && is_first ? i : stopped;
    }
    for (int32_t i = 0; i < n && stopped >= 0; i++) {
        const JournalEvent *call =
            views[i].last ? journal_view_call(&views[i], views[i].last->call) : NULL;
        bool is_late = call && call->time > views[stopped].last->time;
        late = is_late && late < 0 ? i : late;
    }
    if (late >= 0) {
        const JournalEvent *call = journal_view_call(&views[late], views[late].last->call);
        str_addf(out, "rank %d came too late to %s; rank %d was told: %s\n",
                 (int)views[late].file->rank, call->text, (int)views[stopped].file->rank,
                 views[stopped].last->text);
    }
    return late;
}

static int64_t calls_of(const JournalView *view) {
    return view->last ? view->last->call : 0;
}

static int32_t meetings_of(const JournalView *view) {
    return view->last ? view->last->meeting : 0;
}

/* One that the others have met again without. */
static int32_t blame_meeting(const JournalView *views, int32_t n, Str *out) {
    int32_t least = 0, most = 0;
    for (int32_t i = 1; i < n; i++) {
        least = meetings_of(&views[i]) < meetings_of(&views[least]) ? i : least;
        most = meetings_of(&views[i]) > meetings_of(&views[most]) ? i : most;
    }
    if (meetings_of(&views[least]) == meetings_of(&views[most])) {
        return -1;
    }
    str_addf(out,
             "rank %d has met the others %d times, rank %d %d times: it has not come again after a "
             "failure\n",
             (int)views[least].file->rank, (int)meetings_of(&views[least]),
             (int)views[most].file->rank, (int)meetings_of(&views[most]));
    return least;
}

static bool same_call(const JournalEvent *a, const JournalEvent *b) {
    return a->step == b->step && a->binding == b->binding && a->command == b->command &&
           strcmp(a->text, b->text) == 0;
}

static void call_add(Str *out, const JournalView *view, const JournalEvent *event) {
    str_addf(out, "rank %d begins %s", (int)view->file->rank, event->text);
    if (event->command >= 0) {
        str_addf(out, " (command %d)", (int)event->command);
    }
    if (event->step > 0) {
        str_addf(out, " of step %" PRId64, event->step);
    }
    str_addf(out, ", dims %08x", (unsigned)(event->binding & 0xffffffffu));
}

/* Of the ranks that have begun collective `call`, one that begins another than most do; -1: none.
 */
static int32_t odd_one(const JournalView *views, int32_t n, int64_t call, int32_t *out_usual) {
    int32_t most = 0;
    *out_usual = -1;
    for (int32_t i = 0; i < n; i++) {
        const JournalEvent *event = journal_view_call(&views[i], call);
        int32_t same = 0;
        for (int32_t k = 0; k < n && event; k++) {
            const JournalEvent *other = journal_view_call(&views[k], call);
            same += other && same_call(event, other);
        }
        *out_usual = same > most ? i : *out_usual;
        most = same > most ? same : most;
    }
    const JournalEvent *usual =
        *out_usual >= 0 ? journal_view_call(&views[*out_usual], call) : NULL;
    for (int32_t i = 0; i < n && usual; i++) {
        const JournalEvent *event = journal_view_call(&views[i], call);
        if (event && !same_call(event, usual)) {
            return i;
        }
    }
    return -1;
}

/* The first collective that is another on one rank than on most. */
static int32_t blame_difference(const JournalView *views, int32_t n, Str *out) {
    int64_t most = 0;
    for (int32_t i = 0; i < n; i++) {
        most = calls_of(&views[i]) > most ? calls_of(&views[i]) : most;
    }
    for (int64_t call = most > JOURNAL_EVENTS ? most - JOURNAL_EVENTS : 1; call <= most; call++) {
        int32_t usual, odd = odd_one(views, n, call, &usual);
        if (odd >= 0) {
            str_addf(out, "the ranks part at collective %" PRId64 ": ", call);
            call_add(out, &views[usual], journal_view_call(&views[usual], call));
            str_add(out, "; ");
            call_add(out, &views[odd], journal_view_call(&views[odd], call));
            str_add_char(out, '\n');
            return odd;
        }
    }
    return -1;
}

/* Who has begun the fewest collectives is the one that others wait for. */
static int32_t blame_behind(const JournalView *views, int32_t n, Str *out) {
    int32_t least = 0, most = 0;
    for (int32_t i = 1; i < n; i++) {
        least = calls_of(&views[i]) < calls_of(&views[least]) ? i : least;
        most = calls_of(&views[i]) > calls_of(&views[most]) ? i : most;
    }
    int64_t behind = calls_of(&views[least]);
    if (behind == calls_of(&views[most])) {
        return -1;
    }
    const JournalView *view = &views[least];
    if (journal_view_waits(view)) {
        bool is_newest = view->last->kind == JOURNAL_MEETS;
        str_addf(out, "rank %d waits in %s", (int)view->file->rank,
                 is_newest ? "collective " : "an earlier collective than ");
        str_addf(out,
                 "%" PRId64 " (%s), which all others that take part have begun: what it was sent "
                 "does not arrive, or its process is stopped\n",
                 behind, view->last->text);
        return least;
    }
    str_addf(out, "rank %d is behind: it has begun %" PRId64 " collectives, rank %d %" PRId64,
             (int)view->file->rank, behind, (int)views[most].file->rank, calls_of(&views[most]));
    const JournalEvent *next = journal_view_call(&views[most], behind + 1);
    if (next) {
        str_addf(out, "; what it has not begun is %s", next->text);
        if (next->step > 0) {
            str_addf(out, " of step %" PRId64, next->step);
        }
    }
    str_add_char(out, '\n');
    return least;
}

/* All have begun the same ones. */
static int32_t blame_none(const JournalView *views, int32_t n, Str *out) {
    int32_t n_waiting = 0, n_left = 0, gone = -1;
    for (int32_t i = 0; i < n; i++) {
        n_waiting += journal_view_waits(&views[i]);
        n_left += views[i].has_left;
        gone = views[i].is_gone && !views[i].has_left && gone < 0 ? i : gone;
    }
    if (gone >= 0) {
        str_addf(out, "no rank is behind; the process of rank %d has ended without a word\n",
                 (int)views[gone].file->rank);
    } else if (n_left == n) {
        str_add(out, "no rank is to blame: all have ended as they should\n");
    } else if (n_waiting > 0) {
        str_addf(out,
                 "no rank is behind: %d of %d wait in a collective that all have begun; what was "
                 "sent does not arrive, or a process is stopped\n",
                 (int)n_waiting, (int)n);
    } else {
        str_add(out, "no rank is behind, and none waits for others\n");
    }
    return gone;
}

/* One whose process does not run, wherever it stands. */
static int32_t blame_stopped(const JournalView *views, int32_t n, Str *out) {
    for (int32_t i = 0; i < n; i++) {
        if (views[i].is_stopped) {
            str_addf(out,
                     "the process of rank %d (%" PRId64 ") is stopped, by a signal or a debugger: "
                     "`kill -CONT %" PRId64 "` lets it go on\n",
                     (int)views[i].file->rank, views[i].file->process, views[i].file->process);
            return i;
        }
    }
    return -1;
}

int32_t journal_blame(const JournalView *views, int32_t n, Str *out) {
    static int32_t (*const verdicts[])(const JournalView *views, int32_t n, Str *out) = {
        blame_failure,    blame_silence, blame_late,  blame_meeting,
        blame_difference, blame_stopped, blame_behind};
    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        int32_t found = verdicts[i](views, n, out);
        if (found >= 0) {
            return found;
        }
    }
    return blame_none(views, n, out);
}
