/* The ground floor: arenas (failing allocation included), strings, maps, size programs, the packer,
 * JSON, files, diagnostics. */
#include "ir/base/checked.h"
#include "ir/base/context.h"
#include "ir/base/cores.h"
#include "ir/base/file.h"
#include "ir/base/json.h"
#include "ir/base/number.h"
#include "ir/base/pack.h"
#include "ir/base/program.h"
#include "tests/unit/meter.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka wants its headers above first. */
#include <cmocka.h>

static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void test_arena(void **state) {
    (void)state;
    Boundary boundary = {.status = DLC_OK};
    Arena arena;
    arena_init(&arena, NULL, &boundary);
    if (setjmp(boundary.jump)) {
        fail();
    }
    uint64_t random = 3;
    for (int i = 0; i < 2000; i++) {
        size_t bytes = (size_t)(next_random(&random) % (i % 100 == 0 ? 200000 : 300));
        char *memory = arena_alloc(&arena, bytes);
        assert_int_equal((uintptr_t)memory % 16, 0);
        for (size_t j = 0; j < bytes; j++) {
            assert_int_equal(memory[j], 0);
        }
        memset(memory, 0xAB, bytes);
    }
    assert_string_equal(arena_format(&arena, "%d-%s", 7, "x"), "7-x");
    assert_string_equal(arena_strndup(&arena, "abcdef", 3), "abc");
    arena_clear(&arena);
    assert_int_equal(arena.total, 0);
    assert_non_null(arena_alloc(&arena, 1));
    arena_finish(&arena);
    Arena zeroed = {0};
    arena_finish(&zeroed);
}

static void test_arena_failures(void **state) {
    (void)state;
    Boundary boundary = {.status = DLC_OK};
    Arena arena;
    arena_init(&arena, NULL, &boundary);
    arena.limit = 100000;
    if (setjmp(boundary.jump) == 0) {
        arena_alloc(&arena, 200000);
        fail();
    }
    assert_int_equal(boundary.status, DLC_ERROR_LIMIT);
    if (setjmp(boundary.jump) == 0) {
        arena_alloc_array(&arena, SIZE_MAX / 4, 8);
        fail();
    }
    assert_int_equal(boundary.status, DLC_ERROR_OUT_OF_MEMORY);
    if (setjmp(boundary.jump) == 0) {
        arena_alloc(&arena, SIZE_MAX - 3);
        fail();
    }
    assert_int_equal(boundary.status, DLC_ERROR_OUT_OF_MEMORY);
    arena_finish(&arena);
}

/* Everything of the compile side at once, for the failing-allocation loop. */
static void use_context(Context *context) {
    const Source *source = context_source(context, "a.dl", "let x = 1\n", 10, false);
    for (int i = 0; i < 3000; i++) {
        context_internf(context, "name%d", i);
    }
    assert_ptr_equal(context_intern(context, "name7"), context_internf(context, "name%d", 7));
    Place place = {source, 1, 5, 1, 6};
    for (int i = 0; i < 30; i++) {
        place.column = i + 1;
        Diag *diag = diag_report(&context->diags, DIAG_SYNTAX, place, "wrong");
        diag_note(&context->diags, diag, place, "note %d", i);
        diag_help(&context->diags, diag, "write %s", "y");
    }
    assert_int_equal(context->diags.count, DIAG_MAX_ERRORS);
    assert_int_equal(context->diags.n_errors, 30);
}

static void test_context_failures(void **state) {
    (void)state;
    volatile bool passed = false;
    for (volatile long n = 0; !passed; n++) {
        Meter meter = {.left = n};
        dlc_allocator allocator = {meter_alloc, meter_free, &meter};
        Boundary boundary = {.status = DLC_OK};
        Context context;
        context_init(&context, &allocator, &boundary);
        if (setjmp(boundary.jump) == 0) {
            use_context(&context);
            passed = true;
        } else {
            assert_int_equal(boundary.status, DLC_ERROR_OUT_OF_MEMORY);
        }
        context_finish(&context);
        assert_int_equal(meter.alive, 0);
    }
}

static void test_vec_and_map(void **state) {
    (void)state;
    Boundary boundary = {0};
    Arena arena;
    arena_init(&arena, NULL, &boundary);
    VEC(int) numbers = {0};
    Map map;
    map_init(&map, &arena);
    assert_null(map_get(&map, "nothing"));
    static int values[5000];
    for (int i = 0; i < 5000; i++) {
        VEC_PUSH(&arena, &numbers, i * i);
        map_set(&map, arena_format(&arena, "k%d", i * 7919 % 5000), &values[i]);
    }
    assert_int_equal(map.count, 5000);
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(numbers.items[i], i * i);
        assert_ptr_equal(map_get(&map, arena_format(&arena, "k%d", i * 7919 % 5000)), &values[i]);
        assert_string_equal(map.entries[i].key, arena_format(&arena, "k%d", i * 7919 % 5000));
    }
    VEC(int) table = {0};
    VEC_REACH(&arena, &table, 100);
    assert_int_equal(table.count, 101);
    table.items[100] = 7;
    VEC_REACH(&arena, &table, 3); /* is there: nothing shrinks */
    VEC_REACH(&arena, &table, 1000);
    assert_int_equal(table.count, 1001);
    assert_int_equal(table.items[100], 7);
    assert_int_equal(table.items[3] + table.items[101] + table.items[1000], 0);
    map_set(&map, "k3", &values[0]);
    assert_ptr_equal(map_get(&map, "k3"), &values[0]);
    assert_int_equal(map.count, 5000);
    Map names;
    map_init(&names, &arena);
    map_set(&names, "softmax", NULL);
    map_set(&names, "linear", NULL);
    assert_true(map_has(&names, "linear"));
    assert_false(map_has(&names, "liner"));
    assert_string_equal(map_suggest(&names, "liner"), "linear");
    assert_string_equal(map_suggest(&names, "softmx"), "softmax");
    assert_null(map_suggest(&names, "conv"));
    arena_finish(&arena);
}

static void test_str(void **state) {
    (void)state;
    Str str;
    str_init(&str, NULL);
    assert_string_equal(str_text(&str), "");
    for (int i = 0; i < 1000; i++) {
        str_addf(&str, "%d,", i);
    }
    assert_int_equal(str.length, 3890);
    assert_int_equal(strlen(str.text), str.length);
    str_clear(&str);
    static const struct {
        double value;
        const char *text;
    } rows[] = {{1, "1.0"},
                {0.1, "0.1"},
                {-2.5, "-2.5"},
                {1e20, "1e+20"},
                {1.0 / 3, "0.3333333333333333"},
                {NAN, "nan"},
                {-INFINITY, "-inf"},
                {-0.0, "-0.0"},
                {123456789, "123456789.0"},
                {5e-324, "5e-324"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        str_clear(&str);
        str_add_double(&str, rows[i].value);
        assert_string_equal(str_text(&str), rows[i].text);
    }
    str_finish(&str);
    Meter meter = {.left = 1};
    dlc_allocator allocator = {meter_alloc, meter_free, &meter};
    str_init(&str, &allocator);
    str_add(&str, "fits");
    for (int i = 0; i < 100; i++) {
        str_add(&str, "grows");
    }
    assert_true(str.failed);
    str_finish(&str);
    assert_int_equal(meter.alive, 0);
    assert_int_equal(edit_distance("kitten", "sitting", 5), 3);
    assert_int_equal(edit_distance("kitten", "sitting", 2), 3);
    assert_int_equal(edit_distance("", "ab", 3), 2);
    double value;
    assert_true(number_parse("1e3xx", 3, &value) && value == 1000);
    assert_false(number_parse("1e3x", 4, &value));
    assert_false(number_parse(" 1", 2, &value));
    assert_false(number_parse("", 0, &value));
}

/* These values are part of the plan format: they must never change. */
static void test_hash(void **state) {
    (void)state;
    assert_true(hash_bytes("", 0, 0) == hash_bytes(NULL, 0, 0));
    assert_true(hash_bytes("abc", 3, 0) != hash_bytes("abc", 3, 1));
    assert_true(hash_bytes("abc", 3, 0) != hash_bytes("abd", 3, 0));
    assert_true(hash_bytes("dlc", 3, 0) == UINT64_C(0x802a157552bb7c56));
}

/* By the definition, one instruction after another. */
static bool program_runs(const ProgramInstr *code, int64_t n_code, int64_t n_vars) {
    int64_t depth = 0;
    for (int64_t i = 0; i < n_code; i++) {
        int64_t op = code[i].code;
        bool pushes = op == PROGRAM_CONST || op == PROGRAM_VAR;
        bool known =
            pushes ? op == PROGRAM_CONST || (code[i].immediate >= 0 && code[i].immediate < n_vars)
                   : op > PROGRAM_VAR && op < PROGRAM_N_CODES && depth >= 2;
        depth += pushes ? 1 : -1;
        if (!known || depth > PROGRAM_MAX_DEPTH) {
            return false;
        }
    }
    return depth == 1;
}

static bool program_is_valid(const ProgramInstr *code, int64_t n_code, int64_t n_vars) {
    ProgramIndex index;
    assert_true(program_index_init(&index, NULL, code, n_code, n_vars, 0));
    bool valid = program_index_valid(&index, 0, n_code, false);
    program_index_finish(&index, NULL);
    return valid;
}

/* Every range of many small arrays, and of one with deep stacks. */
static void test_program_index(void **state) {
    (void)state;
    enum { MOST = 200 };
    ProgramInstr code[MOST];
    uint64_t seed = 1;
    int n_valid = 0;
    for (int round = 0; round < 400; round++) {
        int64_t n = round == 0 ? MOST : round % 24;
        for (int64_t i = 0; i < n; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            int64_t draw = (int64_t)(seed >> 33) % 100;
            bool pushes = round == 0 ? i < MOST / 2 : draw < 55;
            code[i].code = draw == 99 && round   ? 11
                           : draw == 98 && round ? -1
                           : pushes              ? draw % 2
                                                 : 2 + draw % 9;
            code[i].immediate = round == 0 ? 0 : (int64_t)(seed >> 40) % 7 - (draw == 97);
        }
        ProgramIndex index;
        assert_true(program_index_init(&index, NULL, code, n, 2, 4));
        for (int64_t first = 0; first < n; first++) {
            for (int64_t count = 1; first + count <= n; count++) {
                bool runs = program_runs(code + first, count, 2);
                n_valid += runs;
                assert_int_equal(program_index_valid(&index, first, count, false), runs);
                assert_int_equal(program_index_valid(&index, first, count, true),
                                 program_runs(code + first, count, 6));
            }
        }
        program_index_finish(&index, NULL);
    }
    assert_true(n_valid > 1000);
}

static void test_program(void **state) {
    (void)state;
    const ProgramInstr code[] = {{PROGRAM_VAR, 0},
                                 {PROGRAM_CONST, 3},
                                 {PROGRAM_MUL, 0},
                                 {PROGRAM_VAR, 1},
                                 {PROGRAM_FLOORDIV, 0}};
    int64_t vars[] = {-5, 2}, value;
    assert_true(program_is_valid(code, 5, 2));
    assert_true(program_eval(code, 5, vars, 2, &value));
    assert_int_equal(value, -8);
    vars[1] = 0;
    assert_false(program_eval(code, 5, vars, 2, &value));
    vars[0] = INT64_MAX;
    assert_false(program_eval(code, 5, vars, 2, &value));
    assert_false(program_is_valid(code, 5, 1));
    assert_false(program_eval(code, 5, vars, 1, &value));
    assert_false(program_is_valid(code, 4, 2));
    assert_false(program_is_valid(code + 2, 1, 2));
    const ProgramInstr unknown[] = {{PROGRAM_CONST, 1}, {PROGRAM_CONST, 1}, {99, 0}};
    assert_false(program_is_valid(unknown, 3, 0));
    assert_false(program_eval(unknown, 3, NULL, 0, &value));
    ProgramInstr deep[PROGRAM_MAX_DEPTH + 1];
    for (int i = 0; i <= PROGRAM_MAX_DEPTH; i++) {
        deep[i] = (ProgramInstr){PROGRAM_CONST, i};
    }
    assert_false(program_is_valid(deep, PROGRAM_MAX_DEPTH + 1, 0));
    assert_false(program_eval(deep, PROGRAM_MAX_DEPTH + 1, NULL, 0, &value));
    const ProgramInstr minimum[] = {
        {PROGRAM_CONST, INT64_MIN}, {PROGRAM_CONST, -1}, {PROGRAM_FLOORDIV, 0}};
    assert_false(program_eval(minimum, 3, NULL, 0, &value));
}

static void test_pack(void **state) {
    (void)state;
    enum { N = 200 };
    uint64_t random = 11;
    for (int round = 0; round < 60; round++) {
        PackItem items[N];
        int64_t n = 1 + (int64_t)(next_random(&random) % N), total = 0, busiest = 0;
        for (int64_t i = 0; i < n; i++) {
            int64_t birth = (int64_t)(next_random(&random) % 50);
            items[i] = (PackItem){.bytes = (int64_t)(next_random(&random) % 5000),
                                  .birth = birth,
                                  .death = birth + (int64_t)(next_random(&random) % 20)};
            total += items[i].bytes + PACK_ALIGNMENT;
        }
        int64_t peak, again;
        assert_int_equal(pack_items(items, n, NULL, &peak), DLC_OK);
        for (int64_t i = 0; i < n; i++) {
            assert_int_equal(items[i].offset % PACK_ALIGNMENT, 0);
            assert_true(items[i].offset >= 0 && items[i].offset + items[i].bytes <= peak);
            for (int64_t j = 0; j < i; j++) {
                bool meet = items[i].birth <= items[j].death && items[j].birth <= items[i].death;
                bool overlap = items[i].offset < items[j].offset + items[j].bytes &&
                               items[j].offset < items[i].offset + items[i].bytes;
                assert_false(meet && overlap);
            }
        }
        for (int64_t t = 0; t < 70; t++) {
            int64_t live = 0;
            for (int64_t i = 0; i < n; i++) {
                live += items[i].birth <= t && t <= items[i].death ? items[i].bytes : 0;
            }
            busiest = live > busiest ? live : busiest;
        }
        assert_true(peak >= busiest && peak <= total);
        PackItem copy[N];
        memcpy(copy, items, sizeof(items));
        assert_int_equal(pack_items(copy, n, NULL, &again), DLC_OK);
        assert_int_equal(again, peak);
        for (int64_t i = 0; i < n; i++) {
            assert_int_equal(copy[i].offset, items[i].offset);
        }
    }
    PackItem bad[2] = {{.bytes = INT64_MAX - 10, .death = 1}, {.bytes = 64, .death = 1}};
    int64_t peak;
    assert_int_equal(pack_items(bad, 2, NULL, &peak), DLC_ERROR_LIMIT);
    bad[0].bytes = -1;
    assert_int_equal(pack_items(bad, 2, NULL, &peak), DLC_ERROR_INVALID_ARGUMENT);
    assert_int_equal(pack_items(NULL, 0, NULL, &peak), DLC_OK);
    Meter meter = {.left = 0};
    dlc_allocator allocator = {meter_alloc, meter_free, &meter};
    assert_int_equal(pack_items(bad, 2, &allocator, &peak), DLC_ERROR_OUT_OF_MEMORY);
}

static void test_json(void **state) {
    (void)state;
    const char *text = " {\"a\": [1, -2.5e1, true, null], \"b\\u00e9\\n\": {\"c\": "
                       "\"\\ud83d\\ude00\"}, \"big\": 9223372036854775807, \"over\": "
                       "9223372036854775808, \"min\": -9223372036854775808} ";
    JsonDoc doc;
    assert_int_equal(json_parse(text, strlen(text), NULL, &doc), DLC_OK);
    const JsonNode *a = json_member(&doc, doc.nodes, "a");
    assert_int_equal(a->n_children, 4);
    assert_int_equal(json_item(&doc, a, 0)->integer, 1);
    assert_true(json_item(&doc, a, 1)->number == -25.0);
    assert_false(json_item(&doc, a, 1)->is_integer);
    assert_true(json_item(&doc, a, 2)->boolean);
    assert_int_equal(json_item(&doc, a, 3)->kind, JSON_NULL);
    assert_null(json_item(&doc, a, 4));
    const JsonNode *b = json_member(&doc, doc.nodes, "b\xc3\xa9\n");
    assert_string_equal(json_member(&doc, b, "c")->string, "\xf0\x9f\x98\x80");
    assert_true(json_member(&doc, doc.nodes, "big")->integer == INT64_MAX);
    assert_true(json_member(&doc, doc.nodes, "min")->integer == INT64_MIN);
    assert_false(json_member(&doc, doc.nodes, "over")->is_integer);
    assert_null(json_member(&doc, doc.nodes, "none"));
    json_free(&doc);
    Str str;
    str_init(&str, NULL);
    json_add_string(&str, "a\"\\\n\x01z");
    assert_string_equal(str_text(&str), "\"a\\\"\\\\\\n\\u0001z\"");
    str_finish(&str);
}

static void test_json_bad(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t offset;
    } rows[] = {{"", 0},
                {"{", 1},
                {"[1,]", 3},
                {"{\"a\":1,\"a\":2}", 0},
                {"[01]", 2},
                {"1 2", 2},
                {"\"\x01\"", 1},
                {"\"\xff\"", 1},
                {"\"\\q\"", 2},
                {"\"\\u12\"", 5},
                {"tru", 0},
                {"{\"a\" 1}", 5},
                {"[1 2]", 3},
                {"-", 1},
                {"1.", 2},
                {"1e", 2},
                {"\"\\ud800x\"", 3},
                {"{1:2}", 1},
                {"\"\xc0\x80\"", 1},
                {"\"abc", 4},
                {"\"\\u0000\"", 3},
                {"nul", 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        JsonDoc doc;
        assert_int_equal(json_parse(rows[i].text, strlen(rows[i].text), NULL, &doc),
                         DLC_ERROR_FORMAT);
        assert_non_null(doc.error);
        if (doc.error_offset != rows[i].offset) {
            print_error("%s: offset %zu, expected %zu\n", rows[i].text, doc.error_offset,
                        rows[i].offset);
        }
        assert_int_equal(doc.error_offset, rows[i].offset);
        assert_null(doc.nodes);
    }
    char deep[200];
    memset(deep, '[', sizeof(deep));
    JsonDoc doc;
    assert_int_equal(json_parse(deep, sizeof(deep), NULL, &doc), DLC_ERROR_FORMAT);
    assert_int_equal(doc.error_offset, 64);
    const char *text = "{\"a\":[1,2,3],\"b\":\"x\",\"c\":{\"d\":1,\"e\":2}}";
    dlc_status status = DLC_ERROR_OUT_OF_MEMORY;
    for (long n = 0; status != DLC_OK; n++) {
        Meter meter = {.left = n};
        dlc_allocator allocator = {meter_alloc, meter_free, &meter};
        status = json_parse(text, strlen(text), &allocator, &doc);
        assert_true(status == DLC_OK || status == DLC_ERROR_OUT_OF_MEMORY);
        json_free(&doc);
        assert_int_equal(meter.alive, 0);
    }
}

static void test_file(void **state) {
    (void)state;
    char folder[] = P_tmpdir "/dlc-test-XXXXXX", message[FILE_MESSAGE_BYTES];
    assert_non_null(mkdtemp(folder));
    char path[128];
    snprintf(path, sizeof(path), "%s/file.bin", folder);
    const void *parts[] = {"hello ", "world"};
    const size_t lengths[] = {6, 5};
    assert_int_equal(file_write(path, parts, lengths, 2, message), DLC_OK);
    FileView view;
    assert_int_equal(file_view_open(path, &view, message), DLC_OK);
    assert_int_equal(view.size, 11);
    assert_memory_equal(view.data, "hello world", 11);
    assert_int_equal(file_write(path, parts, lengths, 0, message), DLC_OK);
    assert_memory_equal(view.data, "hello world", 11); /* the old file lives while mapped */
    file_view_close(&view);
    assert_int_equal(file_view_open(path, &view, message), DLC_OK);
    assert_int_equal(view.size, 0);
    assert_non_null(view.data);
    file_view_close(&view);
    file_view_close(&view);
    assert_int_equal(file_view_open(folder, &view, message), DLC_ERROR_IO);
    assert_non_null(strstr(message, "Is a directory"));
    unlink(path);
    assert_int_equal(file_view_open(path, &view, message), DLC_ERROR_IO);
    assert_non_null(strstr(message, "No such file"));
    assert_non_null(strstr(message, path));
    file_view_close(&view);
    /* A rename that cannot succeed leaves no temporary file behind. */
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(file_write(path, parts, lengths, 2, message), DLC_ERROR_IO);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(folder), 0); /* fails unless empty */
    assert_int_equal(file_write(path, parts, lengths, 2, message), DLC_ERROR_IO);
}

static void test_diag(void **state) {
    (void)state;
    Boundary boundary = {0};
    Context context;
    context_init(&context, NULL, &boundary);
    const char *text = "model m\n\tlet \xc3\xa9 = a + b\nend";
    const Source *source = context_source(&context, "m.dl", text, strlen(text), false);
    Place sum = {source, 2, 11, 2, 16}, end = {source, 3, 1, 3, 4}, unknown = {0};
    Diag *diag = diag_report(&context.diags, DIAG_SYNTAX, sum, "cannot add");
    diag_note(&context.diags, diag, end, "ends here");
    diag_note(&context.diags, diag, unknown, "somewhere");
    diag_help(&context.diags, diag, "write '%s'", "a * b");
    Str out;
    str_init(&out, NULL);
    diag_print(diag, &out, false);
    assert_string_equal(str_text(&out), "m.dl:2:11: error[E0101]: cannot add\n"
                                        "    2 |     let \xc3\xa9 = a + b\n"
                                        "      |             ^~~~~\n"
                                        "m.dl:3:1: note: ends here\n"
                                        "    3 | end\n"
                                        "      | ^~~\n"
                                        "note: somewhere\n"
                                        "  help: write 'a * b'\n");
    str_clear(&out);
    diag_print(diag, &out, true);
    assert_non_null(strstr(str_text(&out), "\033[1;31merror[E0101]:\033[0m"));
    str_clear(&out);
    diag_print_json(diag, &out);
    JsonDoc doc;
    assert_int_equal(json_parse(out.text, out.length, NULL, &doc), DLC_OK);
    assert_string_equal(json_member(&doc, doc.nodes, "code")->string, "E0101");
    assert_int_equal(json_member(&doc, doc.nodes, "column")->integer, 11);
    assert_int_equal(json_member(&doc, doc.nodes, "notes")->n_children, 2);
    json_free(&doc);
    assert_ptr_not_equal(diag_report(&context.diags, DIAG_SYNTAX, sum, "again"), diag);
    assert_int_equal(context.diags.count, 1);
    /* Places beyond the text must not read outside it. */
    Place far = {source, 3, 90, 9, 1}, away = {source, 77, 1, 77, 2};
    str_clear(&out);
    diag_print(diag_report(&context.diags, DIAG_SYNTAX, far, "far"), &out, false);
    diag_print(diag_report(&context.diags, DIAG_SYNTAX, away, "away"), &out, false);
    Place joined = place_join(end, sum);
    assert_int_equal(joined.line, 2);
    assert_int_equal(joined.end_line, 3);
    str_finish(&out);
    context_finish(&context);
}

/* -- Quotas of processor time, as the system's files tell them */

static void put_file(const char *root, const char *path, const char *text) {
    char full[512], command[640];
    snprintf(full, sizeof(full), "%s%s", root, path);
    snprintf(command, sizeof(command), "mkdir -p \"$(dirname '%s')\"", full);
    assert_int_equal(system(command), 0);
    FILE *file = fopen(full, "w");
    assert_true(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void test_cores(void **state) {
    (void)state;
    char root[] = "/tmp/dlc-cores-XXXXXX";
    assert_non_null(mkdtemp(root));
    assert_int_equal(cores_quota(root), 0);
    put_file(root, "/proc/self/cgroup", "0::/user/job\n");
    put_file(root, "/sys/fs/cgroup/user/job/cpu.max", "max 100000\n");
    assert_int_equal(cores_quota(root), 0);
    put_file(root, "/sys/fs/cgroup/user/cpu.max", "350000 100000\n");
    assert_int_equal(cores_quota(root), 4);
    put_file(root, "/sys/fs/cgroup/user/job/cpu.max", "150000 100000\n");
    assert_int_equal(cores_quota(root), 2);
    put_file(root, "/sys/fs/cgroup/cpu.max", "100000 100000\n");
    assert_int_equal(cores_quota(root), 1);
    put_file(root, "/proc/self/cgroup", "4:memory:/a\n2:cpu,cpuacct:/docker/1\n1:cpuset:/b\n");
    put_file(root, "/sys/fs/cgroup/cpuset/b/cpu.cfs_quota_us", "1\n");
    assert_int_equal(cores_quota(root), 0);
    put_file(root, "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n");
    put_file(root, "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cores_quota(root), 3);
    put_file(root, "/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "-1\n");
    put_file(root, "/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cores_quota(root), 3);
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", root);
    assert_int_equal(system(command), 0);
    assert_true(cores_usable() >= 1);
    setenv("OMP_NUM_THREADS", "7,2", 1);
    assert_int_equal(cores_usable(), 7);
    setenv("OMP_NUM_THREADS", "many", 1);
    assert_true(cores_usable() >= 1 && cores_usable() != 7);
    unsetenv("OMP_NUM_THREADS");
}

/* A mistake of ours says which op, where in the user's text, and where in ours. */
static void test_internal_error(void **state) {
    (void)state;
    Boundary boundary = {.status = DLC_OK};
    Context context;
    context_init(&context, NULL, &boundary);
    Place place = {.line = 7, .column = 3};
    volatile int line = 0;
    if (setjmp(boundary.jump) == 0) {
        line = __LINE__ + 1;
        INTERNAL_ERROR(&context, place, "conv", "%d axes", 9);
    }
    char expected[200];
    snprintf(expected, sizeof(expected), "internal error: conv: 9 axes (tests/unit/test_base.c:%d)",
             line);
    assert_int_equal(boundary.status, DLC_ERROR_INTERNAL);
    assert_int_equal(context.diags.count, 1);
    assert_string_equal(context.diags.items[0]->message, expected);
    assert_int_equal(context.diags.items[0]->place.line, 7);
    context_finish(&context);
}

/* Amounts, whole numbers and multiples at their edges. */
static void test_numbers(void **state) {
    (void)state;
    static const struct {
        double bytes;
        const char *text;
    } amounts[] = {{0, "0 bytes"},       {1023, "1023 bytes"},   {1024, "1.00 KiB"},
                   {1536, "1.50 KiB"},   {1048576, "1.00 MiB"},  {1073741824, "1.00 GiB"},
                   {0x1p40, "1.00 TiB"}, {0x1p50, "1024.00 TiB"}};
    for (size_t i = 0; i < sizeof(amounts) / sizeof(amounts[0]); i++) {
        assert_string_equal(number_amount(amounts[i].bytes).text, amounts[i].text);
    }
    static const struct {
        double value;
        bool whole;
    } numbers[] = {{0, true},
                   {-0.0, true},
                   {0.5, false},
                   {-1e15, true},
                   {0x1p62, true},
                   {0x1p63, false},
                   {-0x1p63, true},
                   {-0x1.0000000000001p63, false},
                   {0x1p64, false},
                   {-1e300, false},
                   {(double)INFINITY, false},
                   {(double)NAN, false}};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        long long whole = 7;
        if (number_whole(numbers[i].value, &whole) != numbers[i].whole ||
            (numbers[i].whole && (double)whole != numbers[i].value)) {
            fail_msg("number_whole of %a: %lld", numbers[i].value, whole);
        }
    }
    /* The nearest multiple above that still fits, or the one below. */
    for (int64_t divisor = 1; divisor <= 7; divisor++) {
        for (int64_t high = 7; high <= 30; high++) {
            for (int64_t value = 0; value <= high; value++) {
                int64_t wanted = (value + divisor - 1) / divisor * divisor;
                wanted = wanted > high ? value / divisor * divisor : wanted;
                int64_t got = multiple_within(value, divisor, high);
                if (got != wanted) {
                    fail_msg("a multiple of %d near %d within %d: %d, not %d", (int)divisor,
                             (int)value, (int)high, (int)got, (int)wanted);
                }
            }
        }
        assert_int_equal(multiple_within(INT64_MAX, divisor, INT64_MAX),
                         INT64_MAX - INT64_MAX % divisor);
    }
}

/* A name is near to another by two edits, a short one by one. */
static void test_suggestions(void **state) {
    (void)state;
    Boundary boundary = {.status = DLC_OK};
    Arena arena;
    arena_init(&arena, NULL, &boundary);
    if (setjmp(boundary.jump)) {
        fail();
    }
    Map map;
    map_init(&map, &arena);
    int value = 0;
    static const char *const names[] = {"relu", "softmax", "exp", "layer_norm"};
    for (int i = 0; i < 4; i++) {
        map_set(&map, names[i], &value);
    }
    static const struct {
        const char *name, *near;
    } rows[] = {{"rel", "relu"},
                {"reluu", "relu"},
                {"rleu", "relu"},
                {"sotfmax", "softmax"},
                {"softma", "softmax"},
                {"softm", "softmax"},
                {"soft", NULL},
                {"ex", "exp"},
                {"axb", NULL},
                {"ep", "exp"},
                {"e", NULL},
                {"rx", NULL},
                {"layernorm", "layer_norm"},
                {"layernrm", "layer_norm"},
                {"layrnrm", NULL},
                {"xlu", NULL},
                {"rexx", "relu"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *got = map_suggest(&map, rows[i].name);
        if ((got == NULL) != (rows[i].near == NULL) || (got && strcmp(got, rows[i].near) != 0)) {
            fail_msg("near to '%s': '%s', not '%s'", rows[i].name, got ? got : "none",
                     rows[i].near ? rows[i].near : "none");
        }
    }
    arena_finish(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),        cmocka_unit_test(test_suggestions),
        cmocka_unit_test(test_cores),          cmocka_unit_test(test_arena),
        cmocka_unit_test(test_arena_failures), cmocka_unit_test(test_context_failures),
        cmocka_unit_test(test_vec_and_map),    cmocka_unit_test(test_str),
        cmocka_unit_test(test_hash),           cmocka_unit_test(test_program),
        cmocka_unit_test(test_program_index),  cmocka_unit_test(test_pack),
        cmocka_unit_test(test_json),           cmocka_unit_test(test_json_bad),
        cmocka_unit_test(test_file),           cmocka_unit_test(test_diag),
        cmocka_unit_test(test_internal_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
