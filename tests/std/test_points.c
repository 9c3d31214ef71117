/* Values, first and second derivatives of scalar operations and library functions at single points:
 * points.expect (made by points.py) holds them, row by row. Every row is compiled for both float
 * types and run on one number at a time. test_points FOLDER PART PARTS    the rows whose number is
 * PART modulo PARTS test_points FOLDER --complete    that no function of the library is without a
 * row */
#include "dlc/dlc.h"

#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_POINTS = 64, GROUP = 12, LINE_BYTES = 2048, N_NUMBERS = 4 };

typedef struct Point {
    double x, y;
    double wanted[N_NUMBERS]; /* value, by x, by y (of a pair), second by x */
    bool is_compared[N_NUMBERS];
} Point;

typedef struct Row {
    char name[64], text[512];
    bool is_pair, is_loose, is_single;
    Point points[MAX_POINTS];
    int n_points;
} Row;

typedef struct Table {
    Row *rows;
    int n_rows;
    char (*without)[64];
    int n_without;
} Table;

/* -- the table */
static bool read_point(char *line, Row *row) {
    Point *point = &row->points[row->n_points];
    /* of one number: x, value, first, second; of a pair: x, y, value, by x, by y, second */
    double *numbers[6] = {&point->x, &point->y};
    bool *flags[6] = {NULL};
    int count = 2 - !row->is_pair;
    for (int i = 0; i < N_NUMBERS; i++) {
        if (row->is_pair || i != 2) {
            flags[count] = &point->is_compared[i];
            numbers[count++] = &point->wanted[i];
        }
    }
    char *rest = line;
    for (int i = 0; i < count; i++) {
        char *word = strtok_r(rest, " \n", &rest);
        if (!word || row->n_points + 1 == MAX_POINTS) {
            return false;
        }
        *numbers[i] = strcmp(word, "-") ? strtod(word, NULL) : 0;
        if (flags[i]) {
            *flags[i] = strcmp(word, "-") != 0;
        }
    }
    row->n_points++;
    return true;
}

static bool read_head(char *line, Row *row) {
    char kind[16];
    *row = (Row){.n_points = 0};
    if (sscanf(line, "= %63[a-z0-9_] | %511[^|] | %15s", row->name, row->text, kind) != 3) {
        return false;
    }
    row->is_pair = !strcmp(kind, "pair");
    row->is_loose = !strcmp(kind, "loose");
    row->is_single = !strcmp(kind, "single");
    return row->is_pair || row->is_loose || row->is_single || !strcmp(kind, "close");
}

static bool read_table(const char *folder, Table *table) {
    char path[1024], line[LINE_BYTES];
    snprintf(path, sizeof path, "%s/points.expect", folder);
    FILE *file = fopen(path, "r");
    bool good = file != NULL;
    while (good && fgets(line, sizeof line, file)) {
        if (line[0] == '=') {
            table->rows = realloc(table->rows, sizeof(Row) * (size_t)(table->n_rows + 1));
            good = read_head(line, &table->rows[table->n_rows++]);
        } else if (line[0] == '~') {
            table->without = realloc(table->without, 64 * (size_t)(table->n_without + 1));
            good = sscanf(line, "~ %63[a-z0-9_]", table->without[table->n_without++]) == 1;
        } else if (line[0] != '#') {
            good = table->n_rows > 0 && read_point(line, &table->rows[table->n_rows - 1]);
        }
        if (!good) {
            printf("FAILED to read %s: %s\n", path, line);
        }
    }
    if (file) {
        fclose(file);
    } else {
        printf("FAILED to open %s\n", path);
    }
    return good;
}

/* -- completeness */
static bool has_row(const Table *table, const char *name) {
    for (int i = 0; i < table->n_rows; i++) {
        if (!strcmp(table->rows[i].name, name)) {
            return true;
        }
    }
    return false;
}

static bool has_reason(const Table *table, const char *name) {
    for (int i = 0; i < table->n_without; i++) {
        if (!strcmp(table->without[i], name)) {
            return true;
        }
    }
    return false;
}

/* How many names that `formats` find at line beginnings of the file have neither a row nor a
 * reason. */
static int missing_in(const Table *table, const char *path, const char *const *formats) {
    char line[LINE_BYTES], name[64];
    int missing = 0, found = 0;
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        for (int i = 0; formats[i]; i++) {
            if (sscanf(line, formats[i], name) == 1) {
                found++;
                if (!has_row(table, name) && !has_reason(table, name)) {
                    printf("FAILED points.expect has nothing for '%s' of %s\n", name, path);
                    missing++;
                }
            }
        }
    }
    if (file) {
        fclose(file);
    }
    return found ? missing : 1;
}

static int check_complete(const Table *table, const char *folder) {
    static const char *const FUNCTIONS[] = {"fn %63[a-z0-9_](", "optimizer %63[a-z0-9_](", NULL};
    char root[1024], path[2048];
    snprintf(root, sizeof root, "%s/../..", folder);
    snprintf(path, sizeof path, "%s/lang/std", root);
    DIR *directory = opendir(path);
    int missing = directory ? 0 : 1;
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && !strcmp(dot, ".dl")) {
            snprintf(path, sizeof path, "%s/lang/std/%s", root, entry->d_name);
            missing += missing_in(table, path, FUNCTIONS);
        }
    }
    if (directory) {
        closedir(directory);
    }
    return missing;
}

/* -- running */
typedef struct Program {
    dlc_context *context;
    dlc_plan *plan;
    dlc_session *session;
    bool is_f32;
} Program;

static void write_program(const Row *const *rows, int n, char *text, size_t capacity) {
    size_t at =
        (size_t)snprintf(text, capacity, "dim B\nmodel m(x: [B], y: [B]) {\n    output y\n");
    for (int i = 0; i < n; i++) {
        at += (size_t)snprintf(text + at, capacity - at,
                               "    v%d = %s\n    g%d = grad(sum(v%d), x)\n    output v%d\n"
                               "    output g%d\n    output h%d = grad(sum(g%d), x)\n",
                               i, rows[i]->text, i, i, i, i, i, i);
        if (rows[i]->is_pair) {
            at += (size_t)snprintf(text + at, capacity - at, "    output p%d = grad(sum(v%d), y)\n",
                                   i, i);
        }
    }
    snprintf(text + at, capacity - at, "}\n");
}

static bool open_program(Program *program, const char *text) {
    dlc_compile_options options = {.struct_size = sizeof options,
                                   .source_name = "points.dl",
                                   .float_type = program->is_f32 ? "f32" : "f64",
                                   .threads = 1};
    dlc_binding binding = {"B", 1};
    dlc_session_options session_options = {
        .struct_size = sizeof session_options, .bindings = &binding, .n_bindings = 1, .threads = 1};
    bool good =
        dlc_context_create(NULL, &program->context) == DLC_OK &&
        dlc_compile(program->context, text, strlen(text), &options, &program->plan) == DLC_OK &&
        dlc_session_create(program->plan, &session_options, &program->session) == DLC_OK &&
        dlc_init_weights(program->session) == DLC_OK;
    if (!good) {
        printf("FAILED %s\n%s\n%s", program->context ? dlc_last_error(program->context) : "",
               program->context ? dlc_diagnostics_text(program->context, 0) : "", text);
    }
    return good;
}

static bool set_number(Program *program, const char *name, double value) {
    float narrow = (float)value;
    int64_t shape[1] = {1};
    DLTensor tensor = {.data = program->is_f32 ? (void *)&narrow : (void *)&value,
                       .device = {kDLCPU, 0},
                       .ndim = 1,
                       .dtype = {kDLFloat, program->is_f32 ? 32 : 64, 1},
                       .shape = shape};
    return dlc_set_input(program->session, "infer", name, &tensor) == DLC_OK;
}

static bool get_number(Program *program, char letter, int i, double *out) {
    const DLTensor *tensor = NULL;
    char name[16];
    snprintf(name, sizeof name, "%c%d", letter, i);
    if (dlc_view_output(program->session, "infer", name, &tensor) != DLC_OK) {
        return false;
    }
    const char *data = (const char *)tensor->data + tensor->byte_offset;
    *out = program->is_f32 ? (double)*(const float *)data : *(const double *)data;
    return true;
}

/* Within some units of the last place, or for loose rows of the greater of the number and 1. */
static bool agrees(double got, double wanted, bool is_f32, const Row *row) {
    double most = is_f32 ? 3.4028234e38 : 1.7976931348623157e308;
    double unit = is_f32 || row->is_single ? 1e-6 : 2e-15, least = is_f32 ? 3e-44 : 1e-322;
    if (isnan(got) || isnan(wanted)) {
        return isnan(got) && isnan(wanted);
    }
    if (fabs(wanted) > most || isinf(got)) {
        return (got == wanted || (isinf(got) && fabs(wanted) > most * (1 - unit))) &&
               (got > 0) == (wanted > 0);
    }
    double size = row->is_loose ? 4 * fmax(fabs(wanted), 1) : fabs(wanted);
    return fabs(got - wanted) <= unit * size + least;
}

static int check_point(Program *program, const Row *row, int i, const Point *point) {
    static const char LETTERS[N_NUMBERS] = {'v', 'g', 'p', 'h'};
    static const char *const WORDS[N_NUMBERS] = {"value", "derivative", "derivative by y",
                                                 "second derivative"};
    int wrong = 0;
    for (int k = 0; k < N_NUMBERS; k++) {
        double got = 0;
        if (!point->is_compared[k]) {
            continue;
        }
        if (!get_number(program, LETTERS[k], i, &got) ||
            !agrees(got, point->wanted[k], program->is_f32, row)) {
            printf("FAILED %s, %s: x = %.17g%s%.17g: %s %.17g instead of %.17g\n", row->text,
                   program->is_f32 ? "f32" : "f64", point->x,
                   row->is_pair ? ", y = " : ", y unused ", point->y, WORDS[k], got,
                   point->wanted[k]);
            wrong++;
        }
    }
    return wrong;
}

/* Whether the type has the number. */
static bool holds(bool is_f32, double x) {
    return !is_f32 || isnan(x) || (double)(float)x == x;
}

static int check_rows(const Row *const *rows, int n, bool is_f32, int *n_checked) {
    static char text[GROUP * 2048];
    Program program = {.is_f32 = is_f32};
    int wrong = 0;
    write_program(rows, n, text, sizeof text);
    bool good = open_program(&program, text);
    for (int i = 0; i < n && good; i++) {
        for (int k = 0; k < rows[i]->n_points && good; k++) {
            const Point *point = &rows[i]->points[k];
            if (!holds(is_f32, point->x) || !holds(is_f32, point->y)) {
                continue;
            }
            good = set_number(&program, "x", point->x) && set_number(&program, "y", point->y) &&
                   dlc_run(program.session, "infer") == DLC_OK;
            if (!good) {
                printf("FAILED to run: %s\n", dlc_last_error(program.context));
            }
            wrong += good ? check_point(&program, rows[i], i, point) : 1;
            ++*n_checked;
        }
    }
    dlc_session_destroy(program.session);
    dlc_plan_destroy(program.plan);
    dlc_context_destroy(program.context);
    return wrong + !good;
}

static int check_part(const Table *table, int part, int parts) {
    const Row *rows[GROUP];
    int n = 0, wrong = 0, n_checked = 0;
    for (int i = 0; i < table->n_rows; i++) {
        if (i % parts == part) {
            rows[n++] = &table->rows[i];
        }
        if (n == GROUP || (n > 0 && i + 1 == table->n_rows)) {
            wrong += check_rows(rows, n, false, &n_checked);
            wrong += check_rows(rows, n, true, &n_checked);
            n = 0;
        }
    }
    printf("%d points, %d numbers wrong\n", n_checked, wrong);
    return wrong;
}

int main(int argc, char **argv) {
    Table table = {0};
    int wrong = argc < 3 || !read_table(argv[1], &table);
    if (!wrong && !strcmp(argv[2], "--complete")) {
        wrong = check_complete(&table, argv[1]);
    } else if (!wrong && argc == 4) {
        wrong = check_part(&table, atoi(argv[2]), atoi(argv[3]));
    }
    free(table.rows);
    free(table.without);
    return wrong ? 1 : 0;
}
