/* The command line's own parts: options and their limits, amounts and durations, JSON, logs that go
 * on after a kill, and the picture of a loss. */
#include "tools/cli.h"
#include "tools/curve.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct Given {
    bool flag;
    const char *choice, *text;
    int64_t whole;
    double number;
    CliList list;
} Given;

static Given given;
static struct Other { const char *before, *text; } other;

static const CliOption options[] = {
    {"--flag", NULL, CLI_FLAG, offsetof(Given, flag), 0, NULL, "a flag"},
    {"--choice", NULL, CLI_CHOICE, offsetof(Given, choice), 0, "WHAT", "a choice"},
    {"--output", "-o", CLI_TEXT, offsetof(Given, text), 0, "FILE", "a text"},
    {"--steps", NULL, CLI_INT, offsetof(Given, whole), 1, "N", "a whole number"},
    {"--offset", NULL, CLI_INT, offsetof(Given, whole), -5, "N", "another"},
    {"--rate", NULL, CLI_NUMBER, offsetof(Given, number), 0, "X", "a number"},
    {"--define", "-D", CLI_LIST, offsetof(Given, list), 0, "NAME=N", "a list"},
};

static const CliOption other_options[] = {
    {"--other", "-x", CLI_TEXT, offsetof(struct Other, text), 0, "TEXT", "of another group"},
};

static const CliCommand command = {
    "test",
    "test FILE",
    "about",
    {{options, sizeof(options) / sizeof(options[0]), &given}, {other_options, 1, &other}}};

/* Parses words apart by blanks; what they gave is in `given`. */
static int parse(const char *line, const char **positional, size_t *count) {
    static char words[512];
    char *argv[32];
    int argc = 0;
    snprintf(words, sizeof(words), "%s", line);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    memset(&given, 0, sizeof(given));
    memset(&other, 0, sizeof(other));
    *count = 0;
    return cli_parse(&command, argc, argv, positional, 2, count);
}

static void test_options(void **state) {
    (void)state;
    const char *positional[2];
    size_t count;
    assert_int_equal(parse("a --steps 1 -o out b --flag", positional, &count), -1);
    assert_int_equal(count, 2);
    assert_string_equal(positional[1], "b");
    assert_true(given.flag && given.whole == 1);
    assert_string_equal(given.text, "out");
    assert_int_equal(parse("-oout --steps=12 --choice=x", positional, &count), -1);
    assert_string_equal(given.text, "out");
    assert_string_equal(given.choice, "x");
    assert_int_equal(given.whole, 12);
    assert_int_equal(parse("-DB=4 -D T=5 --define=C=6 --choice -- --flag", positional, &count), -1);
    assert_int_equal(given.list.count, 3);
    assert_string_equal(given.list.items[0], "B=4");
    assert_string_equal(given.list.items[1], "T=5");
    assert_string_equal(given.list.items[2], "C=6");
    assert_string_equal(given.choice, "");
    assert_string_equal(positional[0], "--flag");
    assert_false(given.flag);
    assert_int_equal(parse("--offset -5 --rate -2.5e-3", positional, &count), -1);
    assert_true(given.whole == -5 && given.number == -2.5e-3);
    assert_int_equal(parse("--other this -o that", positional, &count), -1);
    assert_string_equal(other.text, "this");
    assert_string_equal(given.text, "that");
    assert_null(other.before);
    assert_int_equal(parse("-xthis", positional, &count), -1);
    assert_string_equal(other.text, "this");
    static const char *const wrong[] = {
        "--steps 0",  "--steps -1",  "--steps 1x", "--steps 99999999999999999999",
        "--steps",    "--offset -6", "--rate x",   "--rate inf",
        "--flag=yes", "--unknown",   "a b c",      "-o",
        "--rate nan", "--steps 1.5", "--step 1",   "--rate 1e",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (parse(wrong[i], positional, &count) != 2) {
            fail_msg("'%s' is taken", wrong[i]);
        }
    }
}

static void test_bindings(void **state) {
    (void)state;
    static CliBindings out;
    CliList good = {.items = {"B=4", "T=0", "name.z=12"}, .count = 3};
    assert_true(cli_bindings(&command, &good, &out));
    assert_int_equal(out.count, 3);
    assert_string_equal(out.items[2].name, "name.z");
    assert_true(out.items[0].value == 4 && out.items[1].value == 0 && out.items[2].value == 12);
    static const char *const wrong[] = {"B=-1", "B", "=4", "B=", "B=4x", "B=1.5"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CliList list = {.items = {wrong[i]}, .count = 1};
        if (cli_bindings(&command, &list, &out)) {
            fail_msg("-D %s is taken for %lld", wrong[i], (long long)out.items[0].value);
        }
    }
}

static void test_amounts(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *amount, *bytes, *duration;
    } rows[] = {
        {0, "0 B", "0 B", "0 s"},
        {0.25e-3, "0 B", "0 B", "250.0 us"},
        {0.25, "0 B", "0 B", "250.00 ms"},
        {59.94, "60 B", "60 B", "59.9 s"},
        {60, "60 B", "60 B", "1:00"},
        {999, "999 B", "999 B", "16:39"},
        {1000, "1.00 kB", "1000 B", "16:40"},
        {1024, "1.02 kB", "1.00 KiB", "17:04"},
        {3599, "3.60 kB", "3.51 KiB", "59:59"},
        {3600, "3.60 kB", "3.52 KiB", "1:00:00"},
        {7384, "7.38 kB", "7.21 KiB", "2:03:04"},
        {1048576, "1.05 MB", "1.00 MiB", "291:16:16"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char amount[32], bytes[32], duration[32];
        cli_amount(rows[i].value, "B", amount);
        cli_bytes(rows[i].value, bytes);
        cli_duration(rows[i].value, duration);
        if (strcmp(amount, rows[i].amount) || strcmp(bytes, rows[i].bytes) ||
            strcmp(duration, rows[i].duration)) {
            fail_msg("%g: '%s', '%s', '%s'", rows[i].value, amount, bytes, duration);
        }
    }
}

/* Text that a JSON reader gives back, whatever bytes a name has. */
static void test_json(void **state) {
    (void)state;
    static const struct {
        const char *text, *json;
    } texts[] = {
        {"", "\"\""},
        {"a \"b\" \\c", "\"a \\\"b\\\" \\\\c\""},
        {"\x01\t\n\x1f ", "\"\\u0001\\u0009\\u000a\\u001f \""},
        {"\x7f\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
         "\"\x7f\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xc3(\xff\xe2\x82", "\"\\ufffd(\\ufffd\\ufffd\\ufffd\""},
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xc0\xaf", "\"\\ufffd\\ufffd\""},
    };
    static const struct {
        double value;
        const char *json;
    } numbers[] = {{0, "0"},
                   {-3, "-3"},
                   {0.1, "0.1"},
                   {1e14, "100000000000000"},
                   {1e15, "1e+15"},
                   {2.5, "2.5"},
                   {(double)NAN, "null"},
                   {(double)INFINITY, "null"},
                   {-(double)INFINITY, "null"}};
    for (size_t i = 0; i < 7 + sizeof(numbers) / sizeof(numbers[0]); i++) {
        char *text = NULL;
        size_t length;
        FILE *to = open_memstream(&text, &length);
        assert_non_null(to);
        const char *wanted = i < 7 ? texts[i].json : numbers[i - 7].json;
        if (i < 7) {
            cli_json_text(texts[i].text, to);
        } else {
            cli_json_number(numbers[i - 7].value, to);
        }
        fclose(to);
        if (strcmp(text, wanted) != 0) {
            fail_msg("row %zu: %s, not %s", i, text, wanted);
        }
        free(text);
    }
}

/* A log that goes on keeps its whole lines and drops the half one that a kill left. */
static void test_logs(void **state) {
    (void)state;
    static const struct {
        const char *before, *after;
        bool append;
    } rows[] = {{"one\ntwo\nhal", "one\ntwo\nnew\n", true},
                {"one\n", "one\nnew\n", true},
                {"half", "new\n", true},
                {"", "new\n", true},
                {"one\ntwo\nhal", "new\n", false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char path[] = "/tmp/dlc-log-XXXXXX", got[64] = "";
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        size_t n = strlen(rows[i].before);
        assert_int_equal(write(fd, rows[i].before, n), n);
        close(fd);
        FILE *log = cli_log_open(&command, path, rows[i].append);
        assert_non_null(log);
        fputs("new\n", log);
        assert_int_equal(cli_log_close(&command, log, path, 0), 0);
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        got[fread(got, 1, sizeof(got) - 1, file)] = '\0';
        fclose(file);
        unlink(path);
        if (strcmp(got, rows[i].after) != 0) {
            fail_msg("'%s' went on as '%s', not '%s'", rows[i].before, got, rows[i].after);
        }
    }
    /* A write that fails is told, unless the status is bad already. */
    for (int code = 0; code < 3; code++) {
        FILE *log = cli_log_open(&command, "/dev/full", true);
        assert_non_null(log);
        fputs("lost\n", log);
        assert_int_equal(cli_log_close(&command, log, "/dev/full", code), code ? code : 1);
    }
}

/* Heights in the picture: the running mean's first point is the first loss, a constant loss stays
 * level, and only values above 0 that span a factor of twenty get a logarithmic axis. */
static void test_curve(void **state) {
    (void)state;
    static const struct {
        double first, last;
        const char *top, *bottom; /* the axis' ends as text */
    } rows[] = {{10, 10, ">11<", ">10<"},
                {100, 1, ">100<", ">1<"},
                {10, 1, ">10<", ">0<"},
                {100, 0, ">100<", ">0<"},
                {100, -1, ">100<", ">-1<"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Curve curve = {0};
        for (int step = 0; step < 100; step++) {
            curve_add(&curve, CURVE_TRAIN, step, step < 50 ? rows[i].first : rows[i].last);
        }
        curve_add(&curve, CURVE_TRAIN, 100, (double)NAN);
        size_t length;
        char *svg = curve_svg(&curve, "a title", &length);
        assert_non_null(svg);
        if (!strstr(svg, rows[i].top) || !strstr(svg, rows[i].bottom) || strstr(svg, "nan")) {
            fail_msg("a loss from %g to %g: no %s or %s in\n%s", rows[i].first, rows[i].last,
                     rows[i].top, rows[i].bottom, svg);
        }
        bool log = rows[i].last > 0 && rows[i].first > 20 * rows[i].last;
        if ((strstr(svg, ">10<") != NULL) != (log || rows[i].first == 10)) {
            fail_msg("a loss from %g to %g: an axis of the wrong kind in\n%s", rows[i].first,
                     rows[i].last, svg);
        }
        /* The first loss is the greatest: its circle and the mean stand at one height. */
        double x, y, mean_x, mean_y;
        const char *circle = strstr(svg, "<circle"), *line = strstr(svg, "<polyline");
        assert_true(circle && line);
        line = strstr(line, "points=\"");
        assert_int_equal(sscanf(circle, "<circle cx=\"%lf\" cy=\"%lf\"", &x, &y), 2);
        assert_int_equal(sscanf(line, "points=\"%lf,%lf", &mean_x, &mean_y), 2);
        if (x != mean_x || fabs(y - mean_y) > 0.1) {
            fail_msg("a loss from %g to %g: the mean begins at %g, %g, not %g, %g", rows[i].first,
                     rows[i].last, mean_x, mean_y, x, y);
        }
        free(svg);
        curve_free(&curve);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options), cmocka_unit_test(test_bindings),
        cmocka_unit_test(test_amounts), cmocka_unit_test(test_json),
        cmocka_unit_test(test_logs),    cmocka_unit_test(test_curve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
