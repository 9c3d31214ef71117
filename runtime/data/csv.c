/* CSV with a header line and numbers below it (RFC 4180: quoted cells, doubled quotes, LF or CRLF).
 * A column is one i64 array when all its values are whole, else f64, and unreadable where one is no
 * number; columns x[0], x[1], … (or x.0,
 * x.1, …) in order make one array x of rank 2. */
#include "ir/base/ascii.h"
#include "ir/base/number.h"
#include "runtime/data/arrays.h"

#include <string.h>

enum { MAX_COLUMNS = 16384, MAX_NAME = 255, MAX_CELL = 120 };

typedef struct CsvCell {
    const char *text; /* of a quoted cell: between the quotes, doubled quotes still doubled */
    size_t length;
    bool quoted, last; /* last: ends its line */
} CsvCell;

typedef struct CsvReader {
    DataInput input;
    const char *at, *end;
    int64_t line;      /* of the next cell */
    int64_t cell_line; /* of the cell just read */
} CsvReader;

/* The columns of one array: `width` of them from `first` on. */
typedef struct CsvGroup {
    int32_t first, width; /* width 0: one column, rank 1 */
    uint8_t *values;      /* [rows, max(width, 1)], int64 or double by column until the end */
} CsvGroup;

typedef struct CsvTable {
    int32_t n_columns, n_groups;
    CsvGroup *groups;
    int32_t *group_of; /* by column */
    bool *is_float;    /* by column */
    int64_t n_rows, max_rows;
} CsvTable;

static bool end_of_line(const CsvReader *reader) {
    return reader->at == reader->end || *reader->at == '\n' ||
           (*reader->at == '\r' && (reader->at + 1 == reader->end || reader->at[1] == '\n'));
}

static void skip_line_end(CsvReader *reader) {
    if (reader->at < reader->end && *reader->at == '\r') {
        reader->at++;
    }
    if (reader->at < reader->end && *reader->at == '\n') {
        reader->at++;
    }
    reader->line++;
}

static dlc_status read_quoted(CsvReader *reader, CsvCell *cell) {
    cell->quoted = true;
    cell->text = ++reader->at;
    for (;; reader->at++) {
        if (reader->at == reader->end) {
            return data_fail_line(&reader->input, reader->cell_line,
                                  "a quoted cell has no closing quote");
        }
        if (*reader->at == '\n') {
            reader->line++;
        }
        if (*reader->at == '"') {
            if (reader->at + 1 == reader->end || reader->at[1] != '"') {
                break;
            }
            reader->at++;
        }
    }
    cell->length = (size_t)(reader->at++ - cell->text);
    while (reader->at < reader->end && *reader->at == ' ') {
        reader->at++;
    }
    return DLC_OK;
}

/* The next cell and the comma or line end behind it. */
static dlc_status read_cell(CsvReader *reader, CsvCell *cell) {
    *cell = (CsvCell){0};
    reader->cell_line = reader->line;
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t')) {
        reader->at++;
    }
    if (reader->at < reader->end && *reader->at == '"') {
        dlc_status status = read_quoted(reader, cell);
        if (status != DLC_OK) {
            return status;
        }
    } else {
        cell->text = reader->at;
        while (!end_of_line(reader) && *reader->at != ',') {
            if (*reader->at == '"') {
                return data_fail_line(&reader->input, reader->line,
                                      "a quote inside a cell that does not begin with one");
            }
            reader->at++;
        }
        cell->length = (size_t)(reader->at - cell->text);
        while (cell->length &&
               (cell->text[cell->length - 1] == ' ' || cell->text[cell->length - 1] == '\t')) {
            cell->length--;
        }
    }
    if (reader->at < reader->end && *reader->at == ',') {
        reader->at++;
        return DLC_OK;
    }
    if (!end_of_line(reader)) {
        return data_fail_line(&reader->input, reader->cell_line,
                              "expected ',' or the line's end after a quoted cell, found '%c'",
                              ascii_is_print(*reader->at) ? *reader->at : '?');
    }
    cell->last = true;
    skip_line_end(reader);
    return DLC_OK;
}

/* A header of one cell that holds another separator: of spreadsheets in many countries. */
static char other_separator(const CsvCell *cell) {
    for (size_t i = 0; !cell->quoted && i < cell->length; i++) {
        if (cell->text[i] == ';' || cell->text[i] == '\t') {
            return cell->text[i];
        }
    }
    return '\0';
}

static dlc_status copy_name(const CsvReader *reader, const CsvCell *cell, char *out) {
    size_t length = 0;
    for (size_t i = 0; i < cell->length; i++) {
        if (length == MAX_NAME || (unsigned char)cell->text[i] < ' ') {
            return data_fail_line(&reader->input, reader->cell_line,
                                  "expected a column name of at most %d plain characters",
                                  (int)MAX_NAME);
        }
        out[length++] = cell->text[i];
        i += cell->quoted && cell->text[i] == '"';
    }
    out[length] = '\0';
    if (length == 0) {
        return data_fail_line(&reader->input, reader->cell_line,
                              "expected a header with a name for every column, found an empty one");
    }
    return DLC_OK;
}

/* Splits "x[12]" or "x.12" into base and number; false for other names. */
static bool split_index(const char *name, size_t *out_base, int64_t *out_index, bool *out_bracket) {
    size_t length = strlen(name);
    *out_bracket = length > 0 && name[length - 1] == ']';
    size_t end = *out_bracket ? length - 1 : length, start = end;
    while (start > 0 && ascii_is_digit(name[start - 1])) {
        start--;
    }
    if (start == end || start < 2 || end - start > 6 ||
        name[start - 1] != (*out_bracket ? '[' : '.')) {
        return false;
    }
    *out_base = start - 1;
    *out_index = 0;
    for (size_t i = start; i < end; i++) {
        *out_index = *out_index * 10 + (name[i] - '0');
    }
    return true;
}

/* Puts the column into the last group, if it continues it, or begins a group. */
static dlc_status add_column(CsvReader *reader, CsvTable *table, const char *name) {
    DataArrays *arrays = reader->input.arrays;
    size_t base = strlen(name);
    int64_t index = 0;
    bool bracket = false;
    bool indexed = split_index(name, &base, &index, &bracket);
    if (indexed && index > 0) {
        CsvGroup *group = table->n_groups ? &table->groups[table->n_groups - 1] : NULL;
        const char *before = group ? arrays->items[arrays->n_items - 1].name : "";
        if (group && group->width == index && strlen(before) == base &&
            memcmp(before, name, base) == 0) {
            group->width++;
            table->group_of[table->n_columns++] = table->n_groups - 1;
            return DLC_OK;
        }
        if (bracket) {
            return data_fail_line(&reader->input, reader->cell_line,
                                  "column '%s' must follow column %lld of the same name", name,
                                  (long long)index - 1);
        }
        indexed = false;
        base = strlen(name);
    }
    DataArray *array = data_add(arrays, name, base);
    if (!array) {
        return data_no_memory(&reader->input);
    }
    if (data_name_taken(arrays, array)) {
        return data_fail_line(&reader->input, reader->cell_line, "two columns are named '%s'",
                              array->name);
    }
    table->groups[table->n_groups] = (CsvGroup){table->n_columns, indexed ? 1 : 0, NULL};
    table->group_of[table->n_columns++] = table->n_groups++;
    return DLC_OK;
}

static dlc_status read_header(CsvReader *reader, CsvTable *table) {
    size_t room = 1; /* columns, by counting commas */
    for (const char *c = reader->at; c < reader->end && *c != '\n' && room < MAX_COLUMNS; c++) {
        room += *c == ',';
    }
    DataArrays *arrays = reader->input.arrays;
    table->groups = data_own(arrays, room * sizeof(*table->groups));
    table->group_of = data_own(arrays, room * sizeof(*table->group_of));
    table->is_float = data_own(arrays, room * sizeof(*table->is_float));
    if (!table->groups || !table->group_of || !table->is_float) {
        return data_no_memory(&reader->input);
    }
    CsvCell cell = {0};
    while (!cell.last) {
        char name[MAX_NAME + 1];
        dlc_status status = read_cell(reader, &cell);
        if (status == DLC_OK && (size_t)table->n_columns == room) {
            status = data_fail_line(&reader->input, reader->cell_line,
                                    "expected at most %d columns", (int)MAX_COLUMNS);
        }
        if (status == DLC_OK) {
            char separator = cell.last && table->n_columns == 0 ? other_separator(&cell) : '\0';
            status = separator ? data_fail_line(&reader->input, reader->cell_line,
                                                "expected columns separated by ',', found %s",
                                                separator == ';' ? "';'" : "a tab")
                               : copy_name(reader, &cell, name);
        }
        if (status == DLC_OK) {
            table->is_float[table->n_columns] = false;
            status = add_column(reader, table, name);
        }
        if (status != DLC_OK) {
            return status;
        }
    }
    return DLC_OK;
}

/* Every row takes at least a byte a cell and one behind it, which bounds the memory by the file. */
static dlc_status take_memory(CsvReader *reader, CsvTable *table) {
    size_t left = (size_t)(reader->end - reader->at), lines = 1;
    for (const char *c = reader->at; c < reader->end; c++) {
        lines += *c == '\n';
    }
    size_t bound = (left + 1) / (2 * (size_t)table->n_columns) + 1;
    size_t rows = lines < bound ? lines : bound;
    table->max_rows = (int64_t)rows;
    for (int32_t i = 0; i < table->n_groups; i++) {
        size_t width = table->groups[i].width ? (size_t)table->groups[i].width : 1;
        table->groups[i].values = data_own(reader->input.arrays, rows * width * 8);
        if (!table->groups[i].values) {
            return data_no_memory(&reader->input);
        }
    }
    return DLC_OK;
}

static uint8_t *value_at(const CsvTable *table, int32_t column, int64_t row) {
    const CsvGroup *group = &table->groups[table->group_of[column]];
    int64_t width = group->width ? group->width : 1;
    return group->values + 8 * (row * width + (column - group->first));
}

static void make_float(const CsvTable *table, int32_t column, int64_t n_rows) {
    for (int64_t row = 0; row < n_rows; row++) {
        int64_t whole;
        uint8_t *at = value_at(table, column, row);
        memcpy(&whole, at, 8);
        double value = (double)whole;
        memcpy(at, &value, 8);
    }
}

/* A whole number in int64's range. */
static bool parse_whole(const CsvCell *cell, int64_t *out) {
    if (cell->length == 0) {
        return false;
    }
    size_t i = cell->length > 1 && (cell->text[0] == '-' || cell->text[0] == '+');
    bool negative = cell->text[0] == '-';
    int64_t value = 0;
    if (i == cell->length) {
        return false;
    }
    for (; i < cell->length; i++) {
        int64_t digit = cell->text[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value)) {
            return false;
        }
    }
    *out = value;
    return true;
}

/* Keeps what is said if the column is asked for; a text elsewhere does not matter. */
static dlc_status not_a_number(CsvReader *reader, const CsvTable *table, const CsvCell *cell,
                               int32_t column) {
    DataArrays *arrays = reader->input.arrays;
    DataArray *array = &arrays->items[table->group_of[column]];
    if (array->unreadable) {
        return DLC_OK;
    }
    (void)data_fail_line(
        &reader->input, reader->cell_line, "column %d ('%.60s'): expected a number, found %s%.*s%s",
        (int)column + 1, array->name, cell->length ? "'" : "nothing",
        cell->length < 40 ? (int)cell->length : 40, cell->text, cell->length ? "'" : "");
    char *kept = data_own(arrays, strlen(reader->input.message) + 1);
    if (!kept) {
        return data_no_memory(&reader->input);
    }
    memcpy(kept, reader->input.message, strlen(reader->input.message) + 1);
    array->unreadable = kept;
    return DLC_OK;
}

static dlc_status store_cell(CsvReader *reader, CsvTable *table, const CsvCell *cell,
                             int32_t column) {
    int64_t whole;
    double value;
    uint8_t *at = value_at(table, column, table->n_rows);
    memset(at, 0, 8);
    if (!table->is_float[column] && parse_whole(cell, &whole)) {
        memcpy(at, &whole, 8);
        return DLC_OK;
    }
    bool hex = memchr(cell->text, 'x', cell->length) || memchr(cell->text, 'X', cell->length);
    if (hex || cell->length > MAX_CELL || !number_parse(cell->text, cell->length, &value)) {
        return not_a_number(reader, table, cell, column);
    }
    if (!table->is_float[column]) {
        make_float(table, column, table->n_rows);
        table->is_float[column] = true;
    }
    memcpy(at, &value, 8);
    return DLC_OK;
}

static dlc_status read_row(CsvReader *reader, CsvTable *table) {
    int64_t line = reader->line;
    CsvCell cell = {0};
    int32_t column = 0;
    while (!cell.last) {
        dlc_status status = read_cell(reader, &cell);
        if (status != DLC_OK) {
            return status;
        }
        if (column < table->n_columns) {
            if (table->n_rows == table->max_rows) { /* such a row has no room for its values */
                return data_fail_line(&reader->input, line, "expected %d values",
                                      (int)table->n_columns);
            }
            /* A short line is reported as short, not by its empty last cell. */
            bool empty_line = cell.last && column == 0 && cell.length == 0;
            status = empty_line ? DLC_OK : store_cell(reader, table, &cell, column);
            if (status != DLC_OK) {
                return status;
            }
            column += !empty_line;
        } else {
            column++;
        }
    }
    if (column != table->n_columns) {
        return data_fail_line(&reader->input, line, "expected %d values, found %d",
                              (int)table->n_columns, (int)column);
    }
    table->n_rows++;
    return DLC_OK;
}

static bool only_line_ends_left(const CsvReader *reader) {
    for (const char *c = reader->at; c < reader->end; c++) {
        if (*c != '\n' && *c != '\r') {
            return false;
        }
    }
    return true;
}

static void finish_arrays(const CsvReader *reader, const CsvTable *table) {
    for (int32_t i = 0; i < table->n_groups; i++) {
        const CsvGroup *group = &table->groups[i];
        int32_t width = group->width ? group->width : 1;
        bool any_float = false;
        for (int32_t j = 0; j < width; j++) {
            any_float = any_float || table->is_float[group->first + j];
        }
        for (int32_t j = 0; j < width && any_float; j++) {
            if (!table->is_float[group->first + j]) {
                make_float(table, group->first + j, table->n_rows);
            }
        }
        DataArray *array = &reader->input.arrays->items[i];
        array->type = any_float ? DATA_F64 : DATA_I64;
        array->rank = group->width ? 2 : 1;
        array->dims[0] = table->n_rows;
        array->dims[1] = group->width;
        array->n_elements = table->n_rows * width;
        array->data = group->values;
    }
}

dlc_status csv_read(const DataInput *input) {
    CsvReader reader = {.input = *input,
                        .at = (const char *)input->bytes,
                        .end = (const char *)input->bytes + input->size,
                        .line = 1};
    CsvTable table = {0};
    if (input->size >= 3 && memcmp(input->bytes, "\xEF\xBB\xBF", 3) == 0) {
        reader.at += 3;
    }
    if (reader.at == reader.end) {
        return data_fail_line(input, 1, "expected a header line, found an empty file");
    }
    dlc_status status = read_header(&reader, &table);
    if (status == DLC_OK) {
        status = take_memory(&reader, &table);
    }
    while (status == DLC_OK && !only_line_ends_left(&reader)) {
        status = read_row(&reader, &table);
    }
    if (status == DLC_OK) {
        finish_arrays(&reader, &table);
    }
    return status;
}
