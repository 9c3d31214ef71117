/* See timeline.h. The drawing: time to the right, a row a rank with its work above and its
 * exchanges below, the bytes of the first rank's exchanges over the rows. */
#include "runtime/api/timeline.h"

#include "ir/base/number.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum {
    WIDTH = 1200,
    LEFT = 70,
    RIGHT = 20,
    LINES = 3,      /* of labels over the rows */
    LINE = 14,      /* one of them, and of the legend */
    TOP = 66,       /* of the labels */
    ROW = 40,       /* from one to the next */
    WORK = 20,      /* height of what a rank computes … */
    EXCHANGE = 10,  /* … and of what it exchanges, below */
    CHARACTER = 6,  /* width of one, of the small font: on the safe side */
    MOST_ROWS = 16, /* that are drawn */
    MOST_SORTS = 32,
    SORT_BYTES = 128
};

static const char *const phase_names[N_PHASES] = {"forward", "backward", "update"};
static const char *const phase_colours[N_PHASES] = {"#4477aa", "#cc6677", "#999933"};
/* By the lowest axis of the group, the second half: over several axes. */
static const char *const group_colours[] = {"#117733", "#882255", "#dd7711", "#444444"};

static const char *colour_of(MeshGroup group) {
    int axis = 0;
    while (!(group >> axis & 1)) {
        axis++;
    }
    bool several = (group & (group - 1)) != 0;
    return group_colours[several ? 3 : axis % 3];
}

static void escaped(Str *out, const char *text) {
    for (; *text; text++) {
        const char *entity = *text == '<'   ? "&lt;"
                             : *text == '>' ? "&gt;"
                             : *text == '&' ? "&amp;"
                             : *text == '"' ? "&quot;"
                                            : NULL;
        if (entity) {
            str_add(out, entity);
        } else {
            str_add_char(out, *text < ' ' && *text >= 0 ? ' ' : *text);
        }
    }
}

static NumberText point(double x) {
    return number_fixed(x, 1);
}

static double place_x(const Timeline *timeline, double seconds) {
    return LEFT + seconds / timeline->end * (WIDTH - LEFT - RIGHT);
}

static int64_t rows_drawn(const Timeline *timeline) {
    return timeline->n_ranks < MOST_ROWS ? timeline->n_ranks : MOST_ROWS;
}

static int first_row(void) {
    return TOP + LINES * LINE + 6;
}

static int rows_end(const Timeline *timeline) {
    return first_row() + (int)rows_drawn(timeline) * ROW;
}

static const PlanCommand *command_of(const Timeline *timeline, const TimelineSpan *span) {
    return &timeline->tables->commands[timeline->entry->first_command + span->command];
}

static const PlanCollective *collective_of(const Timeline *timeline, const TimelineSpan *span) {
    return &timeline->tables->collectives[command_of(timeline, span)->collective];
}

/* "all_reduce add over data" */
static void sort_name(const Timeline *timeline, const TimelineSpan *span, char *out) {
    static const char *const combines[PLAN_N_COMBINES] = {"add", "mul", "min", "max", "and", "or"};
    static const char *const kinds[PLAN_N_COLLECTIVE_KINDS] = {
        "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "shift"};
    const PlanCollective *collective = collective_of(timeline, span);
    bool is_sum = collective->kind == PLAN_ALL_REDUCE || collective->kind == PLAN_REDUCE_SCATTER;
    int n = snprintf(out, SORT_BYTES, "%s%s%s over", kinds[collective->kind], is_sum ? " " : "",
                     is_sum ? combines[collective->combine] : "");
    char between = ' ';
    for (int64_t axis = 0; axis < timeline->file->n_mesh && n > 0 && n < SORT_BYTES; axis++) {
        if (collective->group >> axis & 1) {
            n += snprintf(out + n, (size_t)(SORT_BYTES - n), "%c%s", between,
                          plan_text(timeline->file, timeline->file->mesh[axis].name));
            between = ',';
        }
    }
}

/* -- The rows -- */

static void span_title(const Timeline *timeline, const TimelineSpan *span, Str *out) {
    const PlanCommand *command = command_of(timeline, span);
    char sort[SORT_BYTES];
    str_add(out, "<title>");
    if (span->what == SPAN_EXCHANGE) {
        sort_name(timeline, span, sort);
        str_addf(out, "%s, %s", sort, number_amount((double)span->bytes).text);
    } else {
        const char *label = plan_text(timeline->file, command->text);
        escaped(out,
                *label || command->kind != PLAN_LAUNCH
                    ? label
                    : plan_text(timeline->file, timeline->tables->kernels[command->kernel].name));
        str_addf(out, " (%s)", phase_names[span->what]);
    }
    str_add_char(out, ' ');
    escaped(out, plan_text(timeline->file, command->place));
    if (span->times != 1) {
        str_addf(out, ", %" PRId64 " turns", span->times);
    }
    str_addf(out, ", %s &#181;s</title>", number_fixed(1e6 * (span->end - span->start), 1).text);
}

/* Work of one phase between two exchanges: a bar, its kernels apart where they are wide enough. */
static int64_t work_draw(const Timeline *timeline, const TimelineSpan *spans, int64_t first, int y,
                         Str *out) {
    int64_t last = first + 1;
    while (last < timeline->n_spans && spans[last].what == spans[first].what &&
           spans[last].start <= spans[last - 1].end) {
        last++;
    }
    const char *colour = phase_colours[spans[first].what];
    double x = place_x(timeline, spans[first].start), end = place_x(timeline, spans[last - 1].end);
    str_addf(out, "<rect x=\"%s\" y=\"%d\" width=\"%s\" height=\"%d\" fill=\"%s\"/>\n",
             point(x).text, y, number_fixed(end - x, 2).text, WORK, colour);
    for (int64_t i = first; i < last; i++) {
        double from = place_x(timeline, spans[i].start), to = place_x(timeline, spans[i].end);
        if (to - from >= 1.5) {
            str_addf(out,
                     "<rect x=\"%s\" y=\"%d\" width=\"%s\" height=\"%d\" fill=\"%s\" "
                     "stroke=\"white\" stroke-width=\"0.4\">",
                     point(from).text, y, number_fixed(to - from, 2).text, WORK, colour);
            span_title(timeline, &spans[i], out);
            str_add(out, "</rect>\n");
        }
    }
    return last;
}

static void exchange_draw(const Timeline *timeline, const TimelineSpan *span, int y, Str *out) {
    double x = place_x(timeline, span->start), width = place_x(timeline, span->end) - x;
    str_addf(out, "<rect x=\"%s\" y=\"%d\" width=\"%s\" height=\"%d\" fill=\"%s\">", point(x).text,
             y + WORK, number_fixed(width < 0.8 ? 0.8 : width, 2).text, EXCHANGE,
             colour_of(collective_of(timeline, span)->group));
    span_title(timeline, span, out);
    str_add(out, "</rect>\n");
}

static void rows_draw(const Timeline *timeline, Str *out) {
    for (int64_t r = 0; r < rows_drawn(timeline); r++) {
        const TimelineSpan *spans = timeline->spans + r * timeline->n_spans;
        int y = first_row() + (int)r * ROW;
        str_addf(out,
                 "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#f0f0f0\"/>"
                 "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">rank %" PRId64 "</text>\n",
                 LEFT, y, WIDTH - LEFT - RIGHT, WORK + EXCHANGE, LEFT - 8, y + 19, r);
        for (int64_t i = 0; i < timeline->n_spans;) {
            if (spans[i].what == SPAN_EXCHANGE) {
                exchange_draw(timeline, &spans[i++], y, out);
            } else {
                i = work_draw(timeline, spans, i, y, out);
            }
        }
    }
}

/* -- Labels: bytes of the first rank's exchanges, each over its bar, where there is room -- */

/* The line on which a label from `left` to `right` has room, whose leader at `x` crosses no label
 * of the lines below it; -1: none. ends: where the labels of each line end so far. */
static int line_find(const double *ends, double left, double x) {
    for (int line = 0; line < LINES; line++) {
        if (ends[line] + CHARACTER <= left) {
            return line;
        }
        if (ends[line] + 2 > x) {
            return -1;
        }
    }
    return -1;
}

/* Exchanges that follow each other have one label; small ones, of which a hundred would be less
 * than all, none. */
static void labels_draw(const Timeline *timeline, Str *out) {
    const TimelineSpan *spans = timeline->spans;
    double ends[LINES] = {LEFT - CHARACTER, LEFT - CHARACTER, LEFT - CHARACTER};
    double all = 0;
    for (int64_t i = 0; i < timeline->n_spans; i++) {
        all += (double)spans[i].bytes;
    }
    for (int64_t i = 0; i < timeline->n_spans;) {
        int64_t last = i + 1;
        double bytes = (double)spans[i].bytes;
        while (spans[i].what == SPAN_EXCHANGE && last < timeline->n_spans &&
               spans[last].what == SPAN_EXCHANGE &&
               collective_of(timeline, &spans[last])->group ==
                   collective_of(timeline, &spans[i])->group) {
            bytes += (double)spans[last++].bytes;
        }
        double x = place_x(timeline, (spans[i].start + spans[last - 1].end) / 2);
        const NumberText text = number_amount(bytes);
        double width = (double)strlen(text.text) * CHARACTER;
        int line = line_find(ends, x - width / 2, x);
        if (bytes * 100 >= all && bytes > 0 && line >= 0 && x + width / 2 < WIDTH) {
            int y = TOP + (LINES - 1 - line) * LINE + LINE - 3;
            str_addf(out,
                     "<line x1=\"%s\" x2=\"%s\" y1=\"%d\" y2=\"%d\" stroke=\"#aaa\" "
                     "stroke-width=\"0.6\"/><text x=\"%s\" y=\"%d\" font-size=\"10\" "
                     "text-anchor=\"middle\" fill=\"%s\">%s</text>\n",
                     point(x).text, point(x).text, y + 2, first_row() + WORK, point(x).text, y,
                     colour_of(collective_of(timeline, &spans[i])->group), text.text);
            ends[line] = x + width / 2;
            for (int below = 0; below < line; below++) {
                ends[below] = fmax(ends[below], x + 2);
            }
        }
        i = last;
    }
}

/* -- Title, axis, legend -- */

static void title_draw(const Timeline *timeline, Str *out) {
    const PlanFile *file = timeline->file;
    str_addf(out, "<text x=\"%d\" y=\"24\" font-size=\"16\">", LEFT);
    escaped(out, plan_text(file, timeline->entry->name));
    str_addf(out, " on %" PRId64 " rank%s", timeline->n_ranks, timeline->n_ranks == 1 ? "" : "s");
    for (int64_t i = 0; i < file->n_mesh; i++) {
        str_addf(out, "%s%s=%" PRId64, i ? ", " : " (", plan_text(file, file->mesh[i].name),
                 timeline->shape.sizes[i]);
    }
    str_add(out, file->n_mesh > 0 ? ")" : "");
    for (int32_t d = 0; d < file->n_dims; d++) {
        if (file->dims[d].source == DIM_FREE) {
            str_addf(out, ", %s = %" PRId64, plan_text(file, file->dims[d].name),
                     timeline->dims[d]);
        }
    }
    const TimelineDevice *device = timeline->device;
    str_addf(out,
             "</text>\n<text x=\"%d\" y=\"44\" fill=\"#666\">One run, reckoned for %s GFLOP/s, ",
             LEFT, number_text(device->flops / 1e9, 6).text);
    str_addf(out, "%s GB/s of memory, ", number_text(device->bytes / 1e9, 6).text);
    str_addf(out, "%s GB/s between ranks, ", number_text(device->sent / 1e9, 6).text);
    str_addf(out, "%s &#181;s a kernel, ", number_text(device->launch * 1e6, 6).text);
    str_addf(out, "%s &#181;s an exchange; a loop's kernels stand for all its turns.</text>\n",
             number_text(device->seconds_met * 1e6, 6).text);
    str_addf(out,
             "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" font-size=\"10\" fill=\"#666\">bytes "
             "sent</text>\n",
             LEFT - 8, TOP + LINES * LINE - 3);
}

/* 1, 2 or 5 times a power of ten, so that there are at most ten steps. */
static double nice_step(double whole) {
    double step = pow(10, floor(log10(whole)) - 1);
    static const double factors[] = {1, 2, 5, 10};
    for (int i = 0; i < 4; i++) {
        if (whole / (step * factors[i]) <= 10) {
            return step * factors[i];
        }
    }
    return step * 10;
}

static void axis_draw(const Timeline *timeline, Str *out) {
    double scale = timeline->end < 1e-3 ? 1e6 : timeline->end < 1 ? 1e3 : 1;
    const char *unit = scale > 1e3 ? "microseconds" : scale > 1 ? "milliseconds" : "seconds";
    double step = nice_step(timeline->end * scale);
    int y = rows_end(timeline) + 4;
    str_addf(out, "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"#666\"/>\n", LEFT,
             WIDTH - RIGHT, y, y);
    for (int i = 0; i * step <= timeline->end * scale * (1 + 1e-9); i++) {
        const NumberText x = point(place_x(timeline, i * step / scale));
        str_addf(out,
                 "<line x1=\"%s\" x2=\"%s\" y1=\"%d\" y2=\"%d\" stroke=\"#666\"/>"
                 "<text x=\"%s\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
                 x.text, x.text, y, y + 5, x.text, y + 19, number_text(i * step, 6).text);
    }
    str_addf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
             LEFT + (WIDTH - LEFT - RIGHT) / 2, y + 35, unit);
}

static void swatch(Str *out, int x, int y, const char *colour) {
    str_addf(out, "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"10\" fill=\"%s\"/>", x, y - 9,
             colour);
}

/* What the first rank exchanges, a line of each sort; returns where it ends. */
static int sorts_draw(const Timeline *timeline, int y, Str *out) {
    char sorts[MOST_SORTS][SORT_BYTES];
    int64_t calls[MOST_SORTS] = {0};
    double bytes[MOST_SORTS] = {0};
    MeshGroup groups[MOST_SORTS];
    int n = 0;
    for (int64_t i = 0; i < timeline->n_spans; i++) {
        const TimelineSpan *span = &timeline->spans[i];
        char name[SORT_BYTES];
        if (span->what != SPAN_EXCHANGE) {
            continue;
        }
        sort_name(timeline, span, name);
        int s = 0;
        while (s < n && strcmp(sorts[s], name) != 0) {
            s++;
        }
        if (s == MOST_SORTS) {
            continue; /* 5 kinds, 6 ways to combine, few groups: never met */
        }
        if (s == n) {
            memcpy(sorts[n], name, SORT_BYTES);
            groups[n++] = collective_of(timeline, span)->group;
        }
        calls[s] += span->times;
        bytes[s] += (double)span->bytes;
    }
    for (int s = 0; s < n; s++, y += LINE + 2) {
        swatch(out, LEFT, y, colour_of(groups[s]));
        str_addf(out, "<text x=\"%d\" y=\"%d\">%s: %s in %" PRId64 " call%s</text>\n", LEFT + 18, y,
                 sorts[s], number_amount(bytes[s]).text, calls[s], calls[s] == 1 ? "" : "s");
    }
    return y;
}

static int legend_draw(const Timeline *timeline, Str *out) {
    int y = rows_end(timeline) + 62, x = LEFT;
    bool seen[N_PHASES] = {false};
    for (int64_t i = 0; i < timeline->n_spans; i++) {
        if (timeline->spans[i].what < N_PHASES) {
            seen[timeline->spans[i].what] = true;
        }
    }
    for (int p = 0; p < N_PHASES; p++) {
        if (seen[p]) {
            swatch(out, x, y, phase_colours[p]);
            str_addf(out, "<text x=\"%d\" y=\"%d\">%s</text>\n", x + 18, y, phase_names[p]);
            x += 100;
        }
    }
    if (timeline->n_ranks > MOST_ROWS) {
        str_addf(out, "<text x=\"%d\" y=\"%d\">the first %d of %" PRId64 " ranks</text>\n", x, y,
                 MOST_ROWS, timeline->n_ranks);
    }
    return sorts_draw(timeline, y + LINE + 6, out);
}

void timeline_draw(const Timeline *timeline, Str *out) {
    Str body;
    str_init(&body, out->allocator);
    title_draw(timeline, &body);
    if (timeline->end > 0) {
        rows_draw(timeline, &body);
        labels_draw(timeline, &body);
        axis_draw(timeline, &body);
    }
    int height = legend_draw(timeline, &body) + 4;
    str_addf(out,
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
             "font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n"
             "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
             WIDTH, height);
    str_add(out, str_text(&body));
    str_add(out, "</svg>\n");
    out->failed = out->failed || body.failed;
    str_finish(&body);
}
