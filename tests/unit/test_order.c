/* What plans must show of buffers and queues: entries written by hand, each as it should be and
 * with what is wrong named (order_cases.def), and entries by chance, where whatever the checker
 * accepts is in order in runs of it (order_trace.h); what codegen/schedule/queues.c makes of
 * entries for one queue is accepted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "codegen/schedule/state.h"
#include "tests/unit/order_trace.h"
#include "tests/unit/plain_allocator.h"

#include <stdio.h>

enum { MOST_COMMANDS = 64, MOST_BUFFERS = 16, MOST_REFS = 256, MOST_EVENTS = 32 };

/* An entry in memory of its own. */
typedef struct Made {
    PlanEntry entry;
    PlanCommand commands[MOST_COMMANDS];
    PlanRef refs[MOST_REFS];
    PlanBuffer buffers[MOST_BUFFERS];
    PlanSwap swaps[MOST_REFS];
    int32_t waits[MOST_REFS];
    PlanTables tables;
    int32_t n_refs, n_swaps, n_waits;
} Made;

static void made_tables(Made *made) {
    made->tables = (PlanTables){.commands = made->commands,
                                .refs = made->refs,
                                .buffers = made->buffers,
                                .swaps = made->swaps,
                                .waits = made->waits};
}

static PlanCommand *made_command(Made *made, int32_t kind, int32_t queue) {
    assert_true(made->entry.n_commands < MOST_COMMANDS);
    PlanCommand *command = &made->commands[made->entry.n_commands++];
    *command = (PlanCommand){.kind = kind,
                             .queue = queue,
                             .first_ref = made->n_refs,
                             .first_swap = made->n_swaps,
                             .first_wait = made->n_waits,
                             .match = -1,
                             .signal = -1};
    made->entry.n_queues = queue >= made->entry.n_queues ? queue + 1 : made->entry.n_queues;
    return command;
}

static void ref_add(Made *made, int32_t buffer, int32_t access) {
    made->refs[made->n_refs++] = (PlanRef){.buffer = buffer, .access = access};
    made->commands[made->entry.n_commands - 1].n_refs++;
}

static void wait_add(Made *made, int32_t event) {
    made->waits[made->n_waits++] = event;
    made->commands[made->entry.n_commands - 1].n_waits++;
}

/* -- Entries as text: commands apart by ';', each a kind (K and its queue: work; [ and {: a loop
 * and a while; T: its test; ]: the end) and words: r, w, x and a buffer that is read, written,
 * both; < and > with an event waited for, signalled; ~a,b swapped. Lives: "birth-death", "arg". */

static void word_read(Made *made, const char *word) {
    PlanCommand *command = &made->commands[made->entry.n_commands - 1];
    int32_t number = (int32_t)strtol(word + 1, NULL, 10);
    switch (word[0]) {
    case 'r':
        ref_add(made, number, PLAN_READS);
        break;
    case 'w':
        ref_add(made, number, PLAN_WRITES);
        break;
    case 'x':
        ref_add(made, number, PLAN_READS | PLAN_WRITES);
        break;
    case '<':
        wait_add(made, number);
        break;
    case '>':
        command->signal = number;
        break;
    default:
        made->swaps[made->n_swaps++] =
            (PlanSwap){number, (int32_t)strtol(strchr(word, ',') + 1, NULL, 10)};
        command->n_swaps++;
        break;
    }
    if ((word[0] == '<' || word[0] == '>') && number >= made->entry.n_events) {
        made->entry.n_events = number + 1;
    }
}

static void made_read(Made *made, const char *lives, const char *commands) {
    int32_t open[PLAN_MAX_LOOP_DEPTH], depth = 0;
    char text[2048], *at = NULL;
    *made = (Made){.entry = {.n_queues = 1}};
    snprintf(text, sizeof(text), "%s", lives);
    for (char *word = strtok_r(text, " ", &at); word; word = strtok_r(NULL, " ", &at)) {
        PlanBuffer *buffer = &made->buffers[made->entry.n_buffers++];
        bool is_arg = strcmp(word, "arg") == 0;
        *buffer = (PlanBuffer){.kind = is_arg ? PLAN_BUFFER_ARG : PLAN_BUFFER_ARENA,
                               .birth = strtol(word, NULL, 10),
                               .death = is_arg ? 0 : strtol(strchr(word, '-') + 1, NULL, 10)};
    }
    snprintf(text, sizeof(text), "%s ", commands);
    bool begins = true;
    for (char *word = strtok_r(text, " ", &at); word; word = strtok_r(NULL, " ", &at)) {
        int32_t number = made->entry.n_commands;
        if (!begins && word[0] != ';') {
            word_read(made, word);
            continue;
        }
        begins = word[0] == ';';
        if (begins) {
            continue;
        }
        int32_t kind = word[0] == 'K'   ? PLAN_LAUNCH
                       : word[0] == 'T' ? PLAN_TEST
                       : word[0] == ']' ? PLAN_LOOP_END
                                        : PLAN_LOOP;
        PlanCommand *command = made_command(made, kind, word[0] == 'K' ? word[1] - '0' : 0);
        if (kind == PLAN_LOOP) {
            command->flags = word[0] == '{' ? PLAN_COMMAND_WHILE : 0;
            open[depth++] = number;
        } else if (kind == PLAN_LOOP_END) {
            command->match = open[--depth];
            made->commands[command->match].match = number;
        }
    }
    made_tables(made);
}

static dlc_status made_check(const Made *made, char *text) {
    text[0] = '\0';
    return plan_lives_check(&made->tables, &made->entry, text)
               ? plan_order_check(&plain_allocator, &made->tables, &made->entry, text)
               : DLC_ERROR_FORMAT;
}

/* -- By hand */

typedef struct Case {
    const char *name, *lives, *commands, *refusal;
} Case;

static const Case cases[] = {
#define ORDERED(name, lives, commands)          {#name, lives, commands, NULL},
#define REFUSED(name, refusal, lives, commands) {#name, lives, commands, refusal},
#include "tests/unit/order_cases.def"
#undef ORDERED
#undef REFUSED
};

static bool some_trace_fails(const Made *made, int n, uint64_t seed, int32_t out[2]) {
    for (int i = 0; i < n; i++) {
        if (!order_trace(&made->tables, &made->entry, seed + (uint64_t)i, out)) {
            return true;
        }
    }
    return false;
}

static void test_cases(void **state) {
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static Made made;
        char text[PLAN_ORDER_TEXT];
        int32_t pair[2];
        made_read(&made, cases[i].lives, cases[i].commands);
        bool fine = made_check(&made, text) == DLC_OK;
        const char *wanted = cases[i].refusal ? cases[i].refusal : "nothing";
        if (fine != (cases[i].refusal == NULL) || (!fine && !strstr(text, wanted))) {
            print_error("%s: to be said: \"%s\"; was: \"%s\"\n", cases[i].name, wanted, text);
            wrong++;
        }
        if (fine && some_trace_fails(&made, 50, 1, pair)) {
            print_error("%s: accepted, but %d and %d are in no order\n", cases[i].name, pair[0],
                        pair[1]);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

/* Each loop is walked twice for each time that it is come to: where that is too much, sixteen deep,
 * the plan is refused by name, and soon. */
static void test_deep(void **state) {
    (void)state;
    for (int32_t depth = 2; depth <= PLAN_MAX_LOOP_DEPTH; depth += 14) {
        static Made made;
        char text[2048] = "", said[PLAN_ORDER_TEXT];
        for (int32_t d = 0; d < depth; d++) {
            strcat(text, "[ ; ");
        }
        for (int32_t k = 0; k < 30; k++) {
            strcat(text, k % 2 ? "K1 r0 r0 r0 r0 r0 r0 r0 r0 ; " : "K0 r0 r0 r0 r0 r0 r0 r0 r0 ; ");
        }
        for (int32_t d = 0; d < depth; d++) {
            strcat(text, "] ; ");
        }
        made_read(&made, "arg", text);
        assert_int_equal(made_check(&made, said), depth == 2 ? DLC_OK : DLC_ERROR_FORMAT);
        assert_true(depth == 2 || strstr(said, "its loops are too many in one another"));
    }
}

/* Arguments are one memory where they are one variable, and where a slot that is written to may be
 * an average, which other entries than training read in a parameter's place. */
static void test_arguments(void **state) {
    (void)state;
    static const struct {
        int32_t variables[2], roles[2], purpose;
        bool is_ordered;
    } rows[] = {
        {{0, 1}, {PLAN_ARG_PARAM, PLAN_ARG_PARAM}, PLAN_PURPOSE_TRAIN, true},
        {{1, 1}, {PLAN_ARG_PARAM, PLAN_ARG_PARAM}, PLAN_PURPOSE_TRAIN, false},
        {{-1, -1}, {PLAN_ARG_INPUT, PLAN_ARG_INPUT}, PLAN_PURPOSE_INFER, true},
        {{0, 1}, {PLAN_ARG_PARAM, PLAN_ARG_SLOT}, PLAN_PURPOSE_TRAIN, true},
        {{0, 1}, {PLAN_ARG_PARAM, PLAN_ARG_SLOT}, PLAN_PURPOSE_INIT, true},
        {{0, 1}, {PLAN_ARG_PARAM, PLAN_ARG_SLOT}, PLAN_PURPOSE_EVAL, false},
        {{-1, 1}, {PLAN_ARG_INPUT, PLAN_ARG_SLOT}, PLAN_PURPOSE_EVAL, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        static Made made;
        char text[PLAN_ORDER_TEXT];
        PlanArg args[2];
        made_read(&made, "arg arg", "K1 w0 ; K0 w1");
        for (int32_t a = 0; a < 2; a++) {
            args[a] =
                (PlanArg){.role = rows[i].roles[a], .buffer = a, .variable = rows[i].variables[a]};
            made.buffers[a].index = a;
        }
        made.tables.args = args;
        made.entry.n_args = 2;
        made.entry.purpose = rows[i].purpose;
        assert_int_equal(made_check(&made, text), rows[i].is_ordered ? DLC_OK : DLC_ERROR_FORMAT);
    }
}

/* -- By chance */

typedef struct Chance {
    uint64_t state;
} Chance;

static int32_t pick(Chance *c, int32_t n) {
    c->state = c->state * 6364136223846793005u + 1442695040888963407u;
    return (int32_t)((c->state >> 33) % (uint64_t)n);
}

/* Lives that nest with loops, as they must: of everything, or of one command's neighbourhood. */
static void random_lives(Chance *c, Made *made) {
    for (int32_t b = 0; b < made->entry.n_buffers; b++) {
        PlanBuffer *buffer = &made->buffers[b];
        *buffer = (PlanBuffer){.kind = pick(c, 3) ? PLAN_BUFFER_ARENA : PLAN_BUFFER_ARG,
                               .birth = made->entry.n_commands,
                               .death = -1};
    }
    for (int32_t i = 0; i < made->entry.n_commands; i++) {
        const PlanCommand *command = &made->commands[i];
        for (int32_t r = 0; r < command->n_refs; r++) {
            PlanBuffer *buffer = &made->buffers[made->refs[command->first_ref + r].buffer];
            buffer->birth = i < buffer->birth ? i : buffer->birth;
            buffer->death = i > buffer->death ? i : buffer->death;
        }
    }
    for (int32_t b = 0; b < made->entry.n_buffers; b++) {
        PlanBuffer *buffer = &made->buffers[b];
        if (buffer->death < 0) {
            buffer->birth = buffer->death = 0;
        }
        for (bool grows = true; grows;) { /* until no loop cuts it */
            grows = false;
            for (int32_t i = 0; i < made->entry.n_commands; i++) {
                const PlanCommand *loop = &made->commands[i];
                bool cut = loop->kind == PLAN_LOOP && buffer->birth <= loop->match &&
                           buffer->death >= i &&
                           !(buffer->birth <= i && buffer->death >= loop->match) &&
                           !(buffer->birth > i && buffer->death <= loop->match);
                if (cut) {
                    buffer->birth = i < buffer->birth ? i : buffer->birth;
                    buffer->death = loop->match > buffer->death ? loop->match : buffer->death;
                    grows = true;
                }
            }
        }
    }
}

static void random_words(Chance *c, Made *made, int32_t n_events) {
    PlanCommand *command = &made->commands[made->entry.n_commands - 1];
    bool works = command->kind == PLAN_LAUNCH;
    for (int32_t n = works ? 1 + pick(c, 2) : command->kind == PLAN_TEST; n > 0; n--) {
        ref_add(made, pick(c, made->entry.n_buffers), works ? 1 + pick(c, 3) : PLAN_READS);
    }
    for (int32_t n = pick(c, 3); n > 0 && made->entry.n_events > 0; n--) {
        wait_add(made, pick(c, made->entry.n_events));
    }
    if (made->entry.n_events < n_events && pick(c, 2)) {
        command->signal = made->entry.n_events++;
    }
}

static void made_random(Made *made, uint64_t seed, int32_t n_queues) {
    Chance c = {seed * 2654435761u + 7};
    int32_t open[4], depth = 0, n = 4 + pick(&c, n_queues > 1 ? 9 : 24);
    *made =
        (Made){.entry = {.n_queues = n_queues, .n_buffers = 2 + pick(&c, n_queues > 1 ? 4 : 14)}};
    while (made->entry.n_commands < n || depth > 0) {
        int32_t number = made->entry.n_commands, draw = pick(&c, 8);
        bool over = number >= n;
        if (!over && draw == 0 && depth < 3) {
            PlanCommand *loop = made_command(made, PLAN_LOOP, 0);
            loop->flags = pick(&c, 3) == 0 ? PLAN_COMMAND_WHILE : 0;
            open[depth++] = number;
        } else if (depth > 0 && (over || draw == 1)) {
            PlanCommand *end = made_command(made, PLAN_LOOP_END, 0);
            end->match = open[--depth];
            made->commands[end->match].match = number;
        } else if (depth > 0 && draw == 2) {
            made_command(made, PLAN_TEST, 0);
        } else {
            made_command(made, PLAN_LAUNCH, pick(&c, n_queues));
        }
        random_words(&c, made, n_queues > 1 ? MOST_EVENTS : 0);
    }
    random_lives(&c, made);
    made_tables(made);
}

/* Every refusal is right where a trace shows it; where none does, it may be too careful, which the
 * counts tell. */
static void test_chance(void **state) {
    (void)state;
    enum { CASES = 40000, TRACES = 12 };
    int accepted = 0, shown = 0, refused = 0, dead = 0;
    for (uint64_t seed = 0; seed < CASES; seed++) {
        static Made made;
        char text[PLAN_ORDER_TEXT];
        int32_t pair[2];
        made_random(&made, seed, 2 + (int32_t)(seed % 2));
        if (!plan_lives_check(&made.tables, &made.entry, text)) {
            dead++;
            continue;
        }
        bool fine = plan_order_check(&plain_allocator, &made.tables, &made.entry, text) == DLC_OK;
        bool fails = some_trace_fails(&made, TRACES, seed, pair);
        if (fine && fails) {
            fail_msg("seed %d: accepted, but %d and %d are in no order", (int)seed, pair[0],
                     pair[1]);
        }
        accepted += fine;
        refused += !fine;
        shown += !fine && fails;
    }
    print_message("%d accepted, %d refused, %d of them shown to be wrong, %d not alive\n", accepted,
                  refused, shown, dead);
    assert_true(accepted > CASES / 50 && shown > refused * 3 / 4 && dead < CASES / 4);
}

/* -- What the schedule makes of one queue */

static int64_t peak(const Made *made, const int64_t *bytes) {
    int64_t most = 0;
    for (int32_t i = 0; i <= made->entry.n_commands; i++) {
        int64_t live = 0;
        for (int32_t b = 0; b < made->entry.n_buffers; b++) {
            const PlanBuffer *buffer = &made->buffers[b];
            bool lives =
                buffer->kind == PLAN_BUFFER_ARENA && buffer->birth <= i && buffer->death >= i;
            live += lives ? bytes[b] : 0;
        }
        most = live > most ? live : most;
    }
    return most;
}

/* Some of the work are copies, some launches go together, some loops swap. */
static void one_queue_random(Made *made, uint64_t seed) {
    made_random(made, seed, 1);
    Chance c = {seed + 99};
    for (int32_t i = 0; i < made->entry.n_commands; i++) {
        PlanCommand *command = &made->commands[i];
        bool behind = i > 0 && command[-1].kind == PLAN_LAUNCH;
        command->library = -1;
        if (command->kind == PLAN_LAUNCH && pick(&c, 2)) {
            command->kind = pick(&c, 3) ? PLAN_COPY : PLAN_COLLECTIVE;
            made->refs[command->first_ref].access = PLAN_WRITES;
            made->refs[command->first_ref + command->n_refs - 1].access =
                command->n_refs > 1 ? PLAN_READS : PLAN_WRITES;
        } else if (command->kind == PLAN_LAUNCH && behind && pick(&c, 4) == 0) {
            command->flags = PLAN_COMMAND_GROUPED;
        } else if (command->kind == PLAN_LOOP_END && pick(&c, 2)) {
            for (int32_t a = 0, b = 1; b < made->entry.n_buffers; a++, b++) {
                const PlanBuffer *x = &made->buffers[a], *y = &made->buffers[b];
                if (x->kind == PLAN_BUFFER_ARENA && y->kind == PLAN_BUFFER_ARENA &&
                    x->birth == y->birth && x->death == y->death) {
                    command->first_swap = made->n_swaps;
                    command->n_swaps = 1;
                    made->swaps[made->n_swaps++] = (PlanSwap){a, b};
                    break;
                }
            }
        }
    }
}

#define TAKE(from, count, vec)                                                                     \
    for (int32_t i = 0; i < (count); i++) {                                                        \
        VEC_PUSH(w->arena, &(vec), (from)[i]);                                                     \
    }

/* Schedules the entry for two queues, or exchanges alone for the second, in place. */
static void two_queues_make(Made *made, PlanWriter *w, const Module *module, const int64_t *bytes,
                            bool has_two) {
    TargetTables *t = plan_writer_target(w);
    for (int32_t b = 0; b < made->entry.n_buffers; b++) {
        made->buffers[b].bytes = plan_writer_size(w, size_const(w->context, bytes[b]));
    }
    TAKE(&made->entry, 1, t->entries)
    TAKE(made->commands, made->entry.n_commands, t->commands)
    TAKE(made->refs, made->n_refs, t->refs)
    TAKE(made->buffers, made->entry.n_buffers, t->buffers)
    TAKE(made->swaps, made->n_swaps, t->swaps)
    schedule_queues(module, w, t, has_two);
    made->entry = t->entries.items[0];
    memcpy(made->commands, t->commands.items, t->commands.count * sizeof(PlanCommand));
    memcpy(made->buffers, t->buffers.items, t->buffers.count * sizeof(PlanBuffer));
    assert_true(t->waits.count <= MOST_REFS);
    for (size_t i = 0; i < t->waits.count; i++) {
        made->waits[i] = t->waits.items[i];
    }
}

typedef struct Aside {
    int copies, copies_aside, exchanges, exchanges_aside;
} Aside;

/* What it makes is alive and in order, takes no more memory, and puts no wait inside a group. */
static void schedule_one(uint64_t seed, bool has_two, Aside *aside) {
    static Made made;
    char text[PLAN_ORDER_TEXT] = "";
    int64_t bytes[MOST_BUFFERS];
    Boundary boundary = {.status = DLC_OK};
    Context context;
    Arena arena;
    PlanWriter writer;
    if (setjmp(boundary.jump)) {
        fail_msg("status %d", (int)boundary.status);
    }
    context_init(&context, NULL, &boundary);
    arena_init(&arena, NULL, &boundary);
    Module *module = module_create(&context, "order");
    plan_writer_init(&writer, &context, &arena);
    one_queue_random(&made, seed);
    for (int32_t b = 0; b < made.entry.n_buffers; b++) {
        bytes[b] = 64 << (b * 7 % 5);
    }
    int64_t before = peak(&made, bytes);
    two_queues_make(&made, &writer, module, bytes, has_two);
    if (made_check(&made, text) != DLC_OK) {
        fail_msg("seed %d: %s", (int)seed, text);
    }
    assert_true(peak(&made, bytes) <= before);
    for (int32_t i = 0; i < made.entry.n_commands; i++) {
        const PlanCommand *command = &made.commands[i];
        bool follows = command->kind == PLAN_LAUNCH && command->flags & PLAN_COMMAND_GROUPED;
        assert_true(!follows || command->n_waits == 0);
        bool copies = command->kind == PLAN_COPY, exchanges = command->kind == PLAN_COLLECTIVE;
        assert_true(command->queue == 0 || (copies && has_two) || exchanges);
        aside->copies += copies;
        aside->copies_aside += copies && command->queue == 1;
        aside->exchanges += exchanges;
        aside->exchanges_aside += exchanges && command->queue == 1;
    }
    module_destroy(module);
    arena_finish(&arena);
    context_finish(&context);
}

static void test_schedule(void **state) {
    (void)state;
    enum { CASES = 20000 };
    for (int has_two = 0; has_two < 2; has_two++) {
        Aside aside = {0};
        for (uint64_t seed = 0; seed < CASES; seed++) {
            schedule_one(seed, has_two, &aside);
        }
        print_message("%d of %d copies and %d of %d exchanges are on the second queue\n",
                      aside.copies_aside, aside.copies, aside.exchanges_aside, aside.exchanges);
        assert_true(has_two ? aside.copies_aside > aside.copies / 10 : aside.copies_aside == 0);
        assert_true(aside.exchanges_aside > aside.exchanges / 20);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),     cmocka_unit_test(test_deep),
        cmocka_unit_test(test_arguments), cmocka_unit_test(test_chance),
        cmocka_unit_test(test_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
