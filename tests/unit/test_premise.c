/* What IR takes for granted of sizes: every premise that a shape rule lets pass undecided becomes a
 * size_check, once; what is refuted or cannot be computed is refused. */
#include "tests/unit/ir_sample.h"

typedef struct Case {
    const char *name;
    const char *args; /* "%0: f32[B]", … : the inputs are called a, b, c in this order */
    const char *ops;  /* the last defines %9 */
    const char *want; /* "left = right" of each check, one a line; "!text": refused with it */
} Case;

static const Case cases[] = {
    {"reshape", "f32[B]", "%9 = reshape %0 {shape = [C]} : f32[C]", "B = C\n"},
    {"reshape, proved", "f32[B, 2]", "%9 = reshape %0 {shape = [2*B]} : f32[2*B]", ""},
    {"slice limit", "f32[B]", "%9 = slice %0 {start = [0], limit = [9], step = [1]} : f32[9]",
     "min(B, 9) = 9\n"},
    {"slice start and order", "f32[B]",
     "%9 = slice %0 {start = [C - 3], limit = [B], step = [1]} : f32[B - C + 3]",
     "min(0, C - 3) = 0\nmin(B, C - 3) = C - 3\nmin(0, B - C + 3) = 0\n"},
    {"pad", "f32[B], f32[]",
     "%9 = pad %0, %1 {low = [C - 4], high = [B - 9], interior = [0]} : f32[2*B + C - 13]",
     "min(0, C - 4) = 0\nmin(0, B - 9) = 0\nmin(0, 2*B + C - 13) = 0\n"},
    {"unfold", "f32[B], f32[]",
     "%9 = unfold %0, %1 {axis = 0, window = C - 1, stride = 1, dilation = 1, low = 0, high = 0} : "
     "f32[B - C + 2, C - 1]",
     "min(C - 1, 1) = 1\nmin(0, B - C + 2) = 0\n"},
    {"conv", "f32[1, 1, B], f32[1, 1, 5]",
     "%9 = conv %0, %1 {stride = [1], dilation = [1], low = [0], high = [0], groups = 1} : "
     "f32[1, 1, B - 4]",
     "min(0, B - 4) = 0\n"},
    {"argmax", "f32[B, C]", "%9 = argmax %0 {axis = 0} : i32[C]", "min(B, 2147483648) = B\n"},
    {"sort", "f32[D, C]", "%8, %9 = sort %0 {axis = 1, descending = false} : f32[D, C], i32[D, C]",
     "min(C, 2147483648) = C\n"},
    {"iota", "f32[]",
     "%8 = iota {axis = 0, dtype = i8, shape = [D + C]} : i8[D + C]\n"
     "%9 = iota {axis = 0, dtype = i64, shape = [C]} : i64[C]",
     "min(C + D, 128) = C + D\n"},
    {"dynamic_slice", "f32[B], i32[]", "%9 = dynamic_slice %0, %1 {shape = [C]} : f32[C]",
     "min(B, C) = C\n"},
    {"dynamic_update", "f32[B], f32[C], i32[]", "%9 = dynamic_update %0, %1, %2 : f32[B]",
     "min(B, C) = C\n"},
    {"constant", "f32[B]", "%9 = constant {value = 0.0, dtype = f32, shape = [B - 5]} : f32[B - 5]",
     "min(0, B - 5) = 0\n"},
    {"an argument", "f32[B - 7]", "%9 = exp %0 : f32[B - 7]", "min(0, B - 7) = 0\n"},
    {"once", "f32[B], f32[C]",
     "%7 = reshape %0 {shape = [C]} : f32[C]\n%9 = reshape %0 {shape = [C]} : f32[C]", "B = C\n"},
    {"checked already", "f32[B]",
     "size_check {left = B, right = C, text = \"x\"}\n%9 = reshape %0 {shape = [C]} : f32[C]",
     "B = C\n"},
    {"in a loop that may not run", "f32[B, 2], f32[]",
     "%9, %8 = scan %1, %0 {length = B, carries = 1, reverse = false} : f32[], f32[B, C] (%4: "
     "i32[], %5: f32[], %6: f32[2]) {\n%7 = reshape %6 {shape = [C]} : f32[C]\nyield %5, %7\n}",
     "min(B, 2147483648) = B\n2*min(B, 1) = C*min(B, 1)\n"},
    {"a check in a kernel does not count", "f32[B]",
     "%9 = fusion %0 {form = \"loop\"} : f32[C] (%4: f32[B]) {\nsize_check {left = B, right = C, "
     "text = \"x\"}\n%5 = reshape %4 {shape = [C]} : f32[C]\nyield %5\n}",
     "B = C\nB = C\n"},
    {"a length", "f32[]",
     "%9 = scan %0 {length = B - 2, carries = 1, reverse = false} : f32[] (%4: i32[], %5: f32[]) "
     "{\nyield %5\n}",
     "min(0, B - 2) = 0\nmin(B - 2, 2147483648) = B - 2\n"},
};

/* With counts: as the driver asks after the passes. */
static const Case count_cases[] = {
    {"elements", "f32[B]", "%9 = exp %0 : f32[B]", "min(B, 72057594037927936) = B\n"},
    {"bounded", "f32[D]", "%9 = exp %0 : f32[D]", ""},
    {"constant elements", "f32[]",
     "%9 = broadcast %0 {shape = [4294967296, 4294967296], axes = []} : f32[4294967296, "
     "4294967296]",
     "!cannot be checked"},
    {"too many", "f32[]",
     "%9 = broadcast %0 {shape = [268435456, 536870912], axes = []} : f32[268435456, 536870912]",
     "!too many elements"},
};

static void checks_print(Func *func, Str *out) {
    BLOCK_EACH_OP (func->body, op) {
        if (op->code == OP_size_check) {
            size_print(size_check_left(op), out);
            str_add(out, " = ");
            size_print(size_check_right(op), out);
            str_add(out, "\n");
        }
    }
    for (Op *op = func->body->first; op; op = op->next) {
        for (int32_t i = 0; op->code == OP_fusion && i < op->n_blocks; i++) {
            BLOCK_EACH_OP (op->blocks[i], inner) {
                if (inner->code == OP_size_check) {
                    size_print(size_check_left(inner), out);
                    str_add(out, " = ");
                    size_print(size_check_right(inner), out);
                    str_add(out, "\n");
                }
            }
        }
    }
}

static Module *parse_case(Fixture *f, const Case *c) {
    Str text;
    str_init(&text, NULL);
    str_add(&text, "module \"m\" {\ndim B in 0..\ndim C in 1..\ndim D in 1..64\n}\n"
                   "func \"f\" other (\n");
    int n_args = 0;
    const char *at = c->args;
    while (*at) {
        const char *end = strchr(at, ']');
        str_addf(&text, "%s%%%d: %.*s = input \"%c\"", n_args ? ", " : "", n_args,
                 (int)(end + 1 - at), at, 'a' + n_args);
        at = end + 1 + strspn(end + 1, ", ");
        n_args++;
    }
    str_addf(&text, ") {\n%s\nyield %%9\n} -> (output \"y\")\n", c->ops);
    const Source *source = context_source(&f->context, c->name, str_text(&text), text.length, true);
    Module *module = module_parse(&f->context, source);
    if (!module) {
        Str report;
        str_init(&report, NULL);
        diag_print(f->context.diags.items[0], &report, false);
        fail_msg("%s: %s\n%s", c->name, str_text(&report), str_text(&text));
    }
    str_finish(&text);
    return module;
}

static void run_case(const Case *c, bool counts) {
    void *state = NULL;
    setup(&state);
    Fixture *f = state;
    GUARD(f);
    Module *module = parse_case(f, c);
    bool ok = module_check_premises(module, counts);
    if (c->want[0] == '!') {
        assert_false(ok);
        assert_int_equal(f->context.diags.n_errors, 1);
        assert_non_null(strstr(f->context.diags.items[0]->message, c->want + 1));
    } else {
        Str found;
        str_init(&found, NULL);
        checks_print(module->first, &found);
        if (!ok || strcmp(str_text(&found), c->want) != 0) {
            fail_msg("%s:\nfound:\n%swanted:\n%s", c->name, str_text(&found), c->want);
        }
        str_clear(&found);
        assert_true(module_verify(module, &found));
        /* Again, there is nothing to add. */
        Str once;
        str_init(&once, NULL);
        str_clear(&found);
        module_print(module, &once);
        assert_true(module_check_premises(module, counts));
        module_print(module, &found);
        assert_string_equal(str_text(&once), str_text(&found));
        str_finish(&once);
        str_finish(&found);
    }
    teardown(&state);
}

static void test_premises(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        run_case(&cases[i], false);
    }
}

static void test_counts(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(count_cases) / sizeof(count_cases[0]); i++) {
        run_case(&count_cases[i], true);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_premises),
                                       cmocka_unit_test(test_counts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
