/* Which products are left to libraries, and as what: IR text in; out come the fusions, those that a
 * library may do with what its call has. */
#include "codegen/schedule/library.h"
#include "passes/pass.h"
#include "tests/unit/ir_sample.h"

#include <stdio.h>

static const char head[] = "module \"m\" {\n"
                           "    dim B in 1.. = 256\n"
                           "}\n\n"
                           "func \"f\" infer (\n"
                           "    %0: f32[B, 256] = input \"x\",\n"
                           "    %1: f32[256, 256] = param \"w\",\n"
                           "    %2: f32[256] = param \"b\",\n"
                           "    %3: f32[B, 256] = input \"z\",\n"
                           "    %4: f32[4, 64, 8, 32] = input \"h\"\n"
                           ") {\n";
static const char product[] = "    %10 = contract %0, %1 {batch_a = [], batch_b = [], "
                              "contract_a = [1], contract_b = [0]} : f32[B, 256]\n";
static const char biased[] = "    %11 = broadcast %2 {shape = [B, 256], axes = [1]} : f32[B, 256]\n"
                             "    %12 = add %10, %11 : f32[B, 256]\n";

#define NUMBER(id, value)                                                                          \
    "    %" #id " = constant {value = " #value ", dtype = f32, shape = [B, 256]} : f32[B, 256]\n"

typedef struct Case {
    const char *name, *before, *text, *wanted; /* of each fusion "form", or "form(call)" */
} Case;

static const Case cases[] = {
    {"a product alone", NULL, "    yield %10\n", "contract(a b)"},
    {"a bias", biased, "    yield %12\n", "contract(a b bias)"},
    {"a residual", biased, "    %13 = add %3, %12 : f32[B, 256]\n    yield %13\n",
     "contract(a b c bias)"},
    {"relu, as the library writes it", biased,
     NUMBER(13, 0.0) "    %14 = le %12, %13 : bool[B, 256]\n"
                     "    %15 = select %14, %13, %12 : f32[B, 256]\n    yield %15\n",
     "contract(a b bias relu)"},
    {"relu by max", biased, NUMBER(13, 0.0) "    %14 = max %12, %13 : f32[B, 256]\n    yield %14\n",
     "contract(a b bias relu)"},
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
     "contract(a b bias gelu_tanh)"},
    {"gelu by erf never is", biased,
     NUMBER(13, 0.5) NUMBER(14, 1.0)
         NUMBER(15, 0.7071067811865476) "    %20 = mul %13, %12 : f32[B, 256]\n"
                                        "    %21 = mul %12, %15 : f32[B, 256]\n"
                                        "    %22 = erf %21 : f32[B, 256]\n"
                                        "    %23 = add %14, %22 : f32[B, 256]\n"
                                        "    %24 = mul %20, %23 : f32[B, 256]\n    yield %24\n",
     "contract(a b bias) loop"},
    {"nor silu", biased,
     "    %13 = sigmoid %12 : f32[B, 256]\n    %14 = mul %12, %13 : f32[B, 256]\n    yield %14\n",
     "contract(a b bias) loop"},
    {"what others want too ends the call", biased,
     NUMBER(13, 0.0) "    %14 = max %12, %13 : f32[B, 256]\n    yield %14, %12\n",
     "contract(a b bias) loop"},
    {"an added row is no bias", NULL,
     "    %11 = reduce_sum %3 {axes = [1]} : f32[B]\n"
     "    %12 = broadcast %11 {shape = [B, 256], axes = [0]} : f32[B, 256]\n"
     "    %13 = add %10, %12 : f32[B, 256]\n    yield %13\n",
     "contract(a b) row"},
    {"what feeds it stays outside", NULL,
     "    %11 = exp %3 : f32[B, 256]\n"
     "    %12 = contract %11, %1 {batch_a = [], batch_b = [], contract_a = [1], contract_b = [1]} "
     ": f32[B, 256]\n    yield %12\n",
     "loop contract(a b)"},
    {"heads are copied to a matrix", NULL,
     "    %11 = transpose %4 {permutation = [0, 2, 1, 3]} : f32[4, 8, 64, 32]\n"
     "    %12 = reshape %11 {shape = [32, 2048]} : f32[32, 2048]\n"
     "    %13 = transpose %12 {permutation = [1, 0]} : f32[2048, 32]\n"
     "    %14 = reshape %13 {shape = [256, 256]} : f32[256, 256]\n"
     "    %15 = contract %0, %14 {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} "
     ": f32[B, 256]\n    yield %15\n",
     "loop contract(a b)"},
    {"small ones fuse as everywhere", NULL,
     "    %11 = slice %0 {start = [0, 0], limit = [B, 8], step = [1, 1]} : f32[B, 8]\n"
     "    %12 = slice %1 {start = [0, 0], limit = [8, 256], step = [1, 1]} : f32[8, 256]\n"
     "    %13 = contract %11, %12 {batch_a = [], batch_b = [], contract_a = [1], contract_b = [0]} "
     ": f32[B, 256]\n    %14 = exp %13 : f32[B, 256]\n    yield %14\n",
     "contract"},
};

static void list_fusions(Fixture *f, Arena *arena, const Machine *machine, const Block *block,
                         Str *out) {
    static const char *const operands[PLAN_N_OPERANDS] = {"a", " b", " c", " bias", ""};
    static const char *const epilogues[PLAN_N_EPILOGUES] = {"", " relu", " gelu_tanh"};
    BLOCK_EACH_OP (block, op) {
        LibraryCall call;
        const char *why;
        if (op->code != OP_fusion) {
            continue;
        }
        str_addf(out, "%s%s", out->length ? " " : "", fusion_form(op));
        if (library_find(&f->context, arena, machine, op, &call, &why)) {
            assert_int_equal(call.n_sizes, PLAN_MATMUL_SIZES);
            str_add(out, "(");
            for (int i = 0; i < PLAN_N_OPERANDS; i++) {
                str_add(out, call.operand[i] >= 0 ? operands[i] : "");
            }
            str_addf(out, "%s)", epilogues[call.epilogue]);
        }
    }
}

static void test_calls(void **state) {
    Fixture *f = *state;
    GUARD(f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Str text, list;
        str_init(&text, NULL);
        str_init(&list, NULL);
        bool own = strstr(cases[i].text, "contract") != NULL;
        bool two = strstr(cases[i].text, "yield %14, %12") != NULL;
        str_addf(&text, "%s%s%s%s} -> (\n    output \"y\"%s\n)\n", head, own ? "" : product,
                 cases[i].before ? cases[i].before : "", cases[i].text,
                 two ? ",\n    output \"u\"" : "");
        const Source *source =
            context_source(&f->context, "matmul", str_text(&text), text.length, false);
        Module *module = module_parse(&f->context, source);
        if (!module) {
            fail_msg("%s: %s", cases[i].name, f->context.diags.items[0]->message);
        }
        Arena scratch;
        arena_init(&scratch, NULL, &f->boundary);
        Machine machine = {.target = "cuda",
                           .vector_bytes = 16,
                           .has_libraries = true,
                           .matmul_worth = {.side = 32, .work = 1 << 21}};
        PassContext pass = {.context = &f->context, .scratch = &scratch, .machine = &machine};
        module->first->properties |= PROP_NO_GRAD_OPS;
        assert_true(pass_fuse(&pass, module->first));
        str_clear(&f->report);
        if (!func_verify(module->first, &f->report)) {
            fail_msg("%s: %s", cases[i].name, str_text(&f->report));
        }
        list_fusions(f, &scratch, &machine, module->first->body, &list);
        if (strcmp(str_text(&list), cases[i].wanted) != 0) {
            fail_msg("%s: %s, not %s", cases[i].name, str_text(&list), cases[i].wanted);
        }
        arena_finish(&scratch);
        str_finish(&text);
        str_finish(&list);
        module_destroy(module);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_calls, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
