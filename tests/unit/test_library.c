/* Which products are left to libraries, and as what: IR text in; out come the fusions, those that a
 * library may do with what its call has, other products with the reason why none may. Then what is
 * written on a fusion: read back as it was, and refused by name where it is wrong. */
#include "ir/ops/library_call.h"
#include "passes/pass.h"
#include "tests/unit/ir_sample.h"

#include <stdio.h>

static const char head[] = "module \"m\" {\n"
                           "    dim B in 2.. = 256\n"
                           "}\n\n"
                           "func \"f\" infer (\n"
                           "    %0: f32[B, 256] = input \"x\",\n"
                           "    %1: f32[256, 256] = param \"w\",\n"
                           "    %2: f32[256] = param \"b\",\n"
                           "    %3: f32[B, 256] = input \"z\",\n"
                           "    %4: f32[4, 64, 8, 32] = input \"h\",\n"
                           "    %5: f32[8, 16, 16, 16] = input \"image\",\n"
                           "    %6: f32[16, 16, 3, 3] = param \"filter\",\n"
                           "    %7: f32[16] = param \"filter.bias\",\n"
                           "    %8: f32[8, 16, 14, 14] = input \"dy\"\n"
                           ") {\n";
static const char product[] = "    %10 = contract %0, %1 {batch_a = [], batch_b = [], "
                              "contract_a = [1], contract_b = [0]} : f32[B, 256]\n";
static const char biased[] = "    %11 = broadcast %2 {shape = [B, 256], axes = [1]} : f32[B, 256]\n"
                             "    %12 = add %10, %11 : f32[B, 256]\n";

/* Of images and filters of 3 x 3: conv, or a gradient by either. */
#define CONV_ATTRS "stride = [1, 1], dilation = [1, 1], low = [0, 0], high = [0, 0], groups = 1}"
#define CONV       "    %10 = conv %5, %6 {" CONV_ATTRS " : f32[8, 16, 14, 14]\n"
#define CONV_BIASED                                                                                \
    CONV "    %11 = broadcast %7 {shape = [8, 16, 14, 14], axes = [1]} : f32[8, 16, 14, 14]\n"     \
         "    %12 = add %10, %11 : f32[8, 16, 14, 14]\n"
#define CONV_ZERO                                                                                  \
    "    %13 = constant {value = 0.0, dtype = f32, shape = [8, 16, 14, 14]} : f32[8, 16, 14, "     \
    "14]\n"

#define NUMBER(id, value)                                                                          \
    "    %" #id " = constant {value = " #value ", dtype = f32, shape = [B, 256]} : f32[B, 256]\n"

typedef struct Case {
    const char *name, *before, *text,
        *wanted; /* of each fusion "form", "form(call)" or "form(reason)" */
} Case;

static const Case cases[] = {
    {"a product alone", NULL, "    yield %10\n", "contract(matmul a b)"},
    {"a bias", biased, "    yield %12\n", "contract(matmul a b bias)"},
    {"a residual", biased, "    %13 = add %3, %12 : f32[B, 256]\n    yield %13\n",
     "contract(matmul a b c bias)"},
    {"relu, as the library writes it", biased,
     NUMBER(13, 0.0) "    %14 = le %12, %13 : bool[B, 256]\n"
                     "    %15 = select %14, %13, %12 : f32[B, 256]\n    yield %15\n",
     "contract(matmul a b bias relu)"},
    {"relu by max", biased, NUMBER(13, 0.0) "    %14 = max %12, %13 : f32[B, 256]\n    yield %14\n",
     "contract(matmul a b bias relu)"},
    {"gelu by tanh", biased,
     NUMBER(13, 0.5) NUMBER(14, 1.0) NUMBER(15, 0.7978845608028654)
         NUMBER(16, 0.044715) "    %20 = mul %13, %12 : f32[B, 256]\n"
                              "    %21 = mul %16, %12 : f32[B, 256]\n"
                              "    %22 = mul %21, %12 : f32[B, 256]\n"
                              "    %23 = mul %22, %12 : f32[B, 256]\n"
                              "    %24 = add %12, %23 : f32[B, 256]\n"
                              "    %25 = mul %15, %24 : f32[B, 256]\n"
                              "    %26 = tanh %25 : f32[B, 256]\n"
                              "    %27 = add %14, %26 : f32[B, 256]\n"
                              "    %28 = mul %20, %27 : f32[B, 256]\n    yield %28\n",
     "contract(matmul a b bias gelu_tanh)"},
    {"gelu by erf never is", biased,
     NUMBER(13, 0.5) NUMBER(14, 1.0)
         NUMBER(15, 0.7071067811865476) "    %20 = mul %13, %12 : f32[B, 256]\n"
                                        "    %21 = mul %12, %15 : f32[B, 256]\n"
                                        "    %22 = erf %21 : f32[B, 256]\n"
                                        "    %23 = add %14, %22 : f32[B, 256]\n"
                                        "    %24 = mul %20, %23 : f32[B, 256]\n    yield %24\n",
     "contract(matmul a b bias), loop"},
    {"nor silu", biased,
     "    %13 = sigmoid %12 : f32[B, 256]\n    %14 = mul %12, %13 : f32[B, 256]\n    yield %14\n",
     "contract(matmul a b bias), loop"},
    {"what others want too ends the call", biased,
     NUMBER(13, 0.0) "    %14 = max %12, %13 : f32[B, 256]\n    yield %14, %12\n",
     "contract(matmul a b bias), loop"},
    {"an added row is no bias", NULL,
     "    %11 = reduce_sum %3 {axes = [1]} : f32[B]\n"
     "    %12 = broadcast %11 {shape = [B, 256], axes = [0]} : f32[B, 256]\n"
     "    %13 = add %10, %12 : f32[B, 256]\n    yield %13\n",
     "contract(matmul a b), row"},
    {"what feeds it stays outside", NULL,
     "    %11 = exp %3 : f32[B, 256]\n"
     "    %12 = contract %11, %1 {batch_a = [], batch_b = [], contract_a = [1], contract_b = [1]} "
     ": f32[B, 256]\n    yield %12\n",
     "loop, contract(matmul a b)"},
    {"heads are copied to a matrix", NULL,
     "    %11 = transpose %4 {permutation = [0, 2, 1, 3]} : f32[4, 8, 64, 32]\n"
     "    %12 = reshape %11 {shape = [32, 2048]} : f32[32, 2048]\n"
     "    %13 = transpose %12 {permutation = [1, 0]} : f32[2048, 32]\n"
     "    %14 = reshape %13 {shape = [256, 256]} : f32[256, 256]\n"
     "    %15 = contract %0, %14 {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} "
     ": f32[B, 256]\n    yield %15\n",
     "loop, contract(matmul a b)"},
    {"small ones fuse as everywhere", NULL,
     "    %11 = slice %0 {start = [0, 0], limit = [B, 8], step = [1, 1]} : f32[B, 8]\n"
     "    %12 = slice %1 {start = [0, 0], limit = [8, 256], step = [1, 1]} : f32[8, 256]\n"
     "    %13 = contract %11, %12 {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} "
     ": f32[B, 256]\n    %14 = exp %13 : f32[B, 256]\n    yield %14\n",
     "contract(it is small)"},
    {"a convolution", NULL, CONV "    yield %10\n", "conv(conv a b)"},
    {"a convolution's bias", NULL, CONV_BIASED "    yield %12\n", "conv(conv a b bias)"},
    {"relu of it", NULL,
     CONV_BIASED CONV_ZERO "    %14 = max %12, %13 : f32[8, 16, 14, 14]\n    yield %14\n",
     "conv(conv a b bias relu)"},
    {"but not without a bias", NULL,
     CONV CONV_ZERO "    %14 = max %10, %13 : f32[8, 16, 14, 14]\n    yield %14\n",
     "conv(conv a b), loop"},
    {"a convolution by x", NULL,
     "    %10 = conv_input_grad %8, %6 {spatial = [16, 16], " CONV_ATTRS
     " : f32[8, 16, 16, 16]\n    yield %10\n",
     "conv(input grad a b)"},
    {"a convolution by w", NULL,
     "    %10 = conv_weight_grad %5, %8 {kernel = [3, 3], " CONV_ATTRS
     " : f32[16, 16, 3, 3]\n    yield %10\n",
     "conv(weight grad a b)"},
    {"a convolution that crops", NULL,
     "    %10 = conv %5, %6 {stride = [1, 1], dilation = [1, 1], low = [-1, 0], high = [0, 0], "
     "groups = 1} : f32[8, 16, 13, 14]\n    yield %10\n",
     "conv(its padding is negative)"},
    {"a small convolution", NULL,
     "    %10 = slice %5 {start = [0, 0, 0, 0], limit = [1, 16, 4, 4], step = [1, 1, 1, 1]} : "
     "f32[1, 16, 4, 4]\n"
     "    %11 = conv %10, %6 {" CONV_ATTRS " : f32[1, 16, 2, 2]\n    yield %11\n",
     "conv(it is small)"},
};

static const Machine with_libraries = {
    .target = "any",
    .vector_bytes = 16,
    .fusion = {.small_space = 32768, .least_rows = 8},
    .has_libraries = true,
    .matmul_worth = {.side = 32, .work = 1 << 21},
    .convolution_worth = {.depth = 16, .channels = 8, .work = 1 << 21},
};

static void add_call(const LibraryCall *call, Str *out) {
    static const char *const operands[LIBRARY_N_OPERANDS] = {" a", " b", " c", " bias"};
    static const char *const kinds[LIBRARY_N_KINDS] = {"matmul", "conv", "input grad",
                                                       "weight grad"};
    static const char *const epilogues[LIBRARY_N_EPILOGUES] = {"", " relu", " gelu_tanh"};
    static const char *const computes[LIBRARY_N_COMPUTES] = {"", " tf32", " f64"};
    str_addf(out, "(%s", kinds[call->kind]);
    for (int i = 0; i < LIBRARY_N_OPERANDS; i++) {
        str_add(out, call->operands[i] >= 0 ? operands[i] : "");
    }
    str_addf(out, "%s%s)", epilogues[call->epilogue], computes[call->compute]);
}

static void list_fusions(const Block *block, Str *out) {
    BLOCK_EACH_OP (block, op) {
        LibraryCall call;
        if (op->code != OP_fusion) {
            continue;
        }
        str_addf(out, "%s%s", out->length ? ", " : "", fusion_form(op));
        if (library_call_of(op, &call)) {
            assert_string_equal(fusion_no_library(op), "");
            add_call(&call, out);
        } else if (*fusion_no_library(op)) {
            str_addf(out, "(%s)", fusion_no_library(op));
        }
    }
}

static Module *parse(Fixture *f, const char *name, const char *text) {
    const Source *source = context_source(&f->context, name, text, strlen(text), false);
    Module *module = module_parse(&f->context, source);
    if (!module) {
        fail_msg("%s: %s", name, f->context.diags.items[0]->message);
    }
    return module;
}

static void check_sound(Fixture *f, const char *name, Module *module) {
    str_clear(&f->report);
    if (!module_verify(module, &f->report)) {
        fail_msg("%s: %s", name, str_text(&f->report));
    }
}

/* Fused, and each fusion asked for its call. */
static Module *compiled(Fixture *f, const char *name, const char *text, const Machine *machine) {
    Module *module = parse(f, name, text);
    Arena scratch;
    arena_init(&scratch, NULL, &f->boundary);
    PassContext pass = {.context = &f->context, .scratch = &scratch, .machine = machine};
    module->first->properties |= PROP_NO_GRAD_OPS;
    assert_true(pass_fuse(&pass, module->first));
    assert_true(pass_library(&pass, module->first) == machine->has_libraries);
    arena_finish(&scratch);
    check_sound(f, name, module);
    return module;
}

static void case_text(const Case *test, Str *text) {
    bool own = strstr(test->text, " contract") != NULL || strstr(test->text, " conv") != NULL;
    bool two = strstr(test->text, "yield %14, %12") != NULL;
    str_addf(text, "%s%s%s%s} -> (\n    output \"y\"%s\n)\n", head, own ? "" : product,
             test->before ? test->before : "", test->text, two ? ",\n    output \"u\"" : "");
}

static void test_calls(void **state) {
    Fixture *f = *state;
    GUARD(f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Str text, list;
        str_init(&text, NULL);
        str_init(&list, NULL);
        case_text(&cases[i], &text);
        Module *module = compiled(f, cases[i].name, str_text(&text), &with_libraries);
        list_fusions(module->first->body, &list);
        if (strcmp(str_text(&list), cases[i].wanted) != 0) {
            fail_msg("%s: %s, not %s", cases[i].name, str_text(&list), cases[i].wanted);
        }
        str_finish(&text);
        str_finish(&list);
        module_destroy(module);
    }
}

static char *printed(Module *module, Str *out) {
    str_clear(out);
    module_print(module, out);
    return (char *)str_text(out);
}

/* What the pass writes is in the text, and comes back from it. */
static void test_text(void **state) {
    Fixture *f = *state;
    GUARD(f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Str text, first, second;
        str_init(&text, NULL);
        str_init(&first, NULL);
        str_init(&second, NULL);
        case_text(&cases[i], &text);
        Module *module = compiled(f, cases[i].name, str_text(&text), &with_libraries);
        Module *again = parse(f, cases[i].name, printed(module, &first));
        assert_string_equal(printed(again, &second), str_text(&first));
        assert_non_null(strstr(str_text(&first), "library = \""));
        str_clear(&first);
        str_clear(&second);
        list_fusions(module->first->body, &first);
        list_fusions(again->first->body, &second);
        assert_string_equal(str_text(&first), str_text(&second));
        str_finish(&text);
        str_finish(&first);
        str_finish(&second);
    }
}

/* One for each thing that is checked: in the text of the fused case `of`, `from` becomes `to`, and
 * the message has `wanted` in it. */
typedef struct Wrong {
    const char *of, *from, *to, *wanted;
} Wrong;

static const Wrong wrongs[] = {
    {"a bias", "library = \"matmul\"", "library = \"gemm\"", "is a 'gemm', which none is"},
    {"a bias", "library = \"matmul\", ", "", "expected 'library'"},
    {"a bias", "compute = \"f32\"", "compute = \"f31\"", "computes in 'f31'"},
    {"a bias", "compute = \"f32\"", "compute = \"f64\"", "computes in f64, of f32"},
    {"a bias", "epilogue = \"none\"", "epilogue = \"silu\"", "ends in 'silu'"},
    {"a bias", "operands = [0, 1, -1, 2]", "operands = [0, 1, -1]", "has 3 operands, not 4"},
    {"a bias", "operands = [0, 1, -1, 2]", "operands = [0, 3, -1, 2]", "has b as operand 3, of 3"},
    {"a bias", "operands = [0, 1, -1, 2]", "operands = [-1, 1, -1, 2]", "has a as operand -1"},
    {"a bias", "operands = [0, 1, -1, 2]", "operands = [0, 1, -2, 2]", "has c as operand -2"},
    {"a bias", "operands = [0, 1, -1, 2]", "operands = [2, 1, -1, 2]", "elements of a, which has"},
    {"a bias", "operands = [0, 1, -1, 2]", "operands = [0, 1, -1, 1]",
     "256 elements in the bias, but that has 65536"},
    {"a bias", "sizes = [B, 256, 256, 1,", "sizes = [B, 256, 256,", "has 15 sizes, not 16"},
    {"a bias", "sizes = [B, 256, 256, 1,", "sizes = [B, 256, 257, 1,", "elements of a, which has"},
    {"a bias", "sizes = [B, 256, 256, 1,", "sizes = [B, 255, 256, 1,", "elements in its result"},
    {"a bias", "1, 256, 1, 0, 256, 1, 0", "1, 256, 2, 0, 256, 1, 0",
     "has gaps in rows and columns"},
    {"a residual", "operands = [1, 2, 0, 3]", "operands = [1, 2, 3, 3]",
     "elements of c, which has"},
    {"relu of it", "epilogue = \"relu\"", "epilogue = \"gelu_tanh\"", "relu of a bias, after conv"},
    {"a convolution by x", "epilogue = \"none\"", "epilogue = \"relu\"", "is a conv_input_grad"},
    {"a convolution", "operands = [0, 1, -1, -1]", "operands = [0, 1, 0, -1]", "is a conv"},
    {"a convolution", "operands = [0, 1, -1, -1]", "operands = [1, 0, -1, -1]", "elements in x"},
    {"a convolution", "library = \"conv\"", "library = \"matmul\"", "sizes, not 16"},
    {"a convolution", "sizes = [2, 1, 1", "sizes = [3, 1, 1", "has 34 sizes, which no convolution"},
    {"a convolution", "sizes = [2, 1, 1", "sizes = [2, 0, 1", "has groups of 0"},
    {"a convolution", "sizes = [2, 1, 1", "sizes = [2, 1, 0", "has a stride of 0"},
    {"a convolution", "1, 0, 0, 0, 0,", "1, 0, 0, -1, 0,", "has high padding of -1"},
    {"a convolution", "4096, 256, 16, 1,", "4096, 256, 17, 1,", "has gaps in x"},
    {"a convolution that crops", "no_library = \"its padding is negative\"",
     "no_library = \"none\", library = \"conv\", compute = \"f32\", epilogue = \"none\", "
     "operands = [0, 1, -1, -1], sizes = []",
     "stands beside a reason why there is none"},
};

/* The text with the first `from` replaced. */
static void replaced(const char *text, const Wrong *wrong, Str *out) {
    const char *at = strstr(text, wrong->from);
    if (!at) {
        fail_msg("%s: there is no %s in\n%s", wrong->of, wrong->from, text);
    }
    str_clear(out);
    str_addf(out, "%.*s%s%s", (int)(at - text), text, wrong->to, at + strlen(wrong->from));
}

static const Case *case_named(const char *name) {
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (strcmp(cases[i].name, name) == 0) {
            return &cases[i];
        }
    }
    fail_msg("there is no case '%s'", name);
    return NULL;
}

static void check_text_refused(Fixture *f, const char *name, const char *text, const char *wanted) {
    const Source *source = context_source(&f->context, "wrong", text, strlen(text), false);
    if (module_parse(&f->context, source)) {
        fail_msg("%s: what should be refused is taken: %s", name, wanted);
    }
    const char *message = f->context.diags.items[0]->message;
    if (!strstr(message, wanted)) {
        fail_msg("%s: %s, not %s", name, message, wanted);
    }
}

/* In a context of its own: one takes so many errors only. */
static void check_refused(const Wrong *wrong) {
    void *own;
    setup(&own);
    Fixture *f = own;
    GUARD(f);
    Str text, good, bad;
    str_init(&text, NULL);
    str_init(&good, NULL);
    str_init(&bad, NULL);
    case_text(case_named(wrong->of), &text);
    replaced(printed(compiled(f, wrong->of, str_text(&text), &with_libraries), &good), wrong, &bad);
    check_text_refused(f, wrong->of, str_text(&bad), wrong->wanted);
    str_finish(&text);
    str_finish(&good);
    str_finish(&bad);
    teardown(&own);
}

static void test_wrong_calls(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        check_refused(&wrongs[i]);
    }
}

static void check_types_refused(const char *b, const char *d, const char *wanted) {
    void *own;
    setup(&own);
    Fixture *f = own;
    GUARD(f);
    Str text;
    str_init(&text, NULL);
    str_addf(
        &text,
        "module \"m\" {\n}\n\nfunc \"f\" infer has no_grad_ops, fused (\n"
        "    %%0: f32[32, 32] = input \"x\",\n    %%1: %s[32, 32] = param \"w\"\n) {\n"
        "    %%2 = fusion %%0, %%1 {form = \"loop\", library = \"matmul\", compute = \"f32\", "
        "epilogue = \"none\", operands = [0, 1, -1, -1], sizes = [32, 32, 32, 1, 32, 1, 0, 32, "
        "1, 0, 0, 0, 0, 32, 1, 1024]} : %s[32, 32] (%%3: f32[32, 32], %%4: %s[32, 32]) {\n"
        "        %%5 = cast %%3 {dtype = %s} : %s[32, 32]\n        yield %%5\n    }\n"
        "    yield %%2\n} -> (\n    output \"y\"\n)\n",
        b, d, b, d, d);
    check_text_refused(f, "types", str_text(&text), wanted);
    str_finish(&text);
    teardown(&own);
}

static void test_wrong_types(void **state) {
    (void)state;
    check_types_refused("f64", "f32", "its library call multiplies f32 by f64 to f32");
    check_types_refused("f32", "f64", "its library call multiplies f32 by f32 to f64");
    check_types_refused("bf16", "bf16", "its library call multiplies f32 by bf16 to bf16");
}

/* The verifier says so of what a pass breaks. */
static void test_broken_call(void **state) {
    Fixture *f = *state;
    GUARD(f);
    Str text;
    str_init(&text, NULL);
    case_text(case_named("a bias"), &text);
    Module *module = compiled(f, "a bias", str_text(&text), &with_libraries);
    Op *fusion = module->first->body->first;
    op_set_library(fusion, context_intern(&f->context, ""));
    str_clear(&f->report);
    assert_false(module_verify(module, &f->report));
    assert_non_null(strstr(str_text(&f->report), "its library call has no kind"));
    str_finish(&text);
}

/* A machine without libraries is told nothing, and takes back what a text says of them. */
static void test_no_libraries(void **state) {
    Fixture *f = *state;
    GUARD(f);
    Machine without = with_libraries;
    without.has_libraries = false;
    Str text, told, plain;
    str_init(&text, NULL);
    str_init(&told, NULL);
    str_init(&plain, NULL);
    case_text(case_named("a product alone"), &text);
    Module *module = compiled(f, "told", str_text(&text), &with_libraries);
    PassContext pass = {.context = &f->context, .scratch = &module->scratch, .machine = &without};
    assert_true(pass_library(&pass, module->first));
    Module *never = compiled(f, "never told", str_text(&text), &without);
    assert_string_equal(printed(module, &told), printed(never, &plain));
    assert_null(strstr(str_text(&told), "library"));
    str_finish(&text);
    str_finish(&told);
    str_finish(&plain);
}

/* A batch that the program states is what a product's size is judged by, and is not left behind.
 * Fusion goes by stated nominal values alone: what it took for small may hold more than a call. */
static void test_implied_batch(void **state) {
    Fixture *f = *state;
    GUARD(f);
    static const char start[] =
        "module \"m\" {\n    dim B in 1..\n    setting batch = \"4096\"\n}\n\n"
        "func \"f\" train (\n    %0: f32[B, 32] = input \"x\",\n"
        "    %1: f32[32, 32] = param \"w\"\n) {\n"
        "    %2 = contract %0, %1 {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} "
        ": f32[B, 32]\n";
    static const char *const ends[][2] = {
        {"    yield %2\n} -> (\n    output \"y\"\n)\n", "contract(matmul a b)"},
        {"    %3 = exp %2 : f32[B, 32]\n    yield %2, %3\n} -> (\n    output \"y\",\n    output "
         "\"z\"\n)\n",
         "contract(it gives several results)"},
        {"    %3 = exp %2 : f32[B, 32]\n    yield %3\n} -> (\n    output \"y\"\n)\n",
         "contract(a library has no such activation)"},
    };
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        Str text, list;
        str_init(&text, NULL);
        str_init(&list, NULL);
        str_addf(&text, "%s%s", start, ends[i][0]);
        Module *module = compiled(f, "implied", str_text(&text), &with_libraries);
        list_fusions(module->first->body, &list);
        assert_string_equal(str_text(&list), ends[i][1]);
        assert_int_equal(module->dims[0]->nominal, 0);
        str_finish(&text);
        str_finish(&list);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_libraries, setup, teardown),
        cmocka_unit_test_setup_teardown(test_implied_batch, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
