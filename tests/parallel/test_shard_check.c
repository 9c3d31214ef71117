/* The static check of one rank's program: programs written by hand, of which each is sound but for
 * one thing, and what is said of it; and that it is sound without that. That it holds of what
 * passes/shard makes is shown by test_shard and `dlc --verify-each`. */
#include "ir/text.h"
#include "passes/shard/check.h"
#include "tests/ops/harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Batch rows over data, a weight whole. */
#define HEAD                                                                                       \
    "module \"m\" {\n    mesh data = *\n    mesh model = 2\n    dim B in 1..\n"                    \
    "    dim B.data is piece of B over \"data\"\n"                                                 \
    "    dim data.rank is rank over \"data\"\n    dim model.rank is rank over \"model\"\n}\n\n"    \
    "func \"m.train\" train has no_grad_ops, sharded (\n"                                          \
    "    %0: f32[B.data, 4] = input \"x\" of f32[B, 4] cut 0 (1, B, 1) over \"data\",\n"           \
    "    %1: f32[4] = param \"w\",\n"                                                              \
    "    %2: f32[2, 4] = param \"v\" of f32[4, 4] cut 0 (1, 4, 1) over \"model\",\n"               \
    "    %3: i32[B.data] = input \"t\" of i32[B] cut 0 (1, B, 1) over \"data\"\n) {\n"
#define LOSS  "    yield %9\n} -> (\n    output \"y\"\n)\n"
#define STORE "    yield %9\n} -> (\n    store %1\n)\n"
#define ROWS                                                                                       \
    "    yield %9\n} -> (\n    output \"y\" of f32[B, 4] cut 0 (1, B, 1) over \"data\"\n)\n"

typedef struct Case {
    const char *name;
    const char *body; /* gives %9 */
    const char *results;
    const char *said; /* NULL: it is sound */
} Case;

#define SUM "{combine = \"add\", over = \"data\"}"

static const Case CASES[] = {
    {"a gradient that is summed",
     "    %5 = reduce_sum %0 {axes = [0]} : f32[4]\n    %6 = all_reduce %5 " SUM " : f32[4]\n"
     "    %9 = sub %1, %6 : f32[4]\n",
     STORE, NULL},
    {"a gradient that nothing sums",
     "    %5 = reduce_sum %0 {axes = [0]} : f32[4]\n    %9 = sub %1, %5 : f32[4]\n", STORE,
     "over data: operand 0, equal on all ranks, is added to a sum over ranks by each of them"},
    {"a norm's weight, whose gradient is not summed, stored as it is",
     "    %5 = mul %0, %0 : f32[B.data, 4]\n    %9 = reduce_sum %5 {axes = [0]} : f32[4]\n", STORE,
     "over data: result 0 ('') is to be equal on all ranks, but is a sum over the ranks that is "
     "not taken"},
    {"a sum that is taken twice",
     "    %5 = reduce_sum %0 {axes = [0]} : f32[4]\n    %6 = all_reduce %5 " SUM " : f32[4]\n"
     "    %9 = all_reduce %6 " SUM " : f32[4]\n",
     STORE, "over data: operand 0, equal on all ranks, is combined"},
    {"a sum over the other axis of the mesh",
     "    %5 = reduce_sum %0 {axes = [0]} : f32[4]\n"
     "    %9 = all_reduce %5 {combine = \"add\", over = \"model\"} : f32[4]\n",
     STORE, "over model: operand 0, equal on all ranks, is combined"},
    {"what is not linear in a sum",
     "    %5 = reduce_sum %0 {axes = [0]} : f32[4]\n    %6 = exp %5 : f32[4]\n"
     "    %9 = all_reduce %6 " SUM " : f32[4]\n",
     STORE,
     "over data: operand 0 is a sum over the ranks that is not taken, and the op is not linear"},
    {"what is linear in it",
     "    %5 = reduce_sum %0 {axes = [0]} : f32[4]\n    %6 = mul %5, %1 : f32[4]\n"
     "    %9 = all_reduce %6 " SUM " : f32[4]\n",
     STORE, NULL},
    {"a sum in the type in which it is sent",
     "    %5 = reduce_sum %0 {axes = [0]} : f32[4]\n    %6 = cast %5 {dtype = bf16} : bf16[4]\n"
     "    %7 = all_reduce %6 " SUM " : bf16[4]\n    %9 = cast %7 {dtype = f32} : f32[4]\n",
     STORE, NULL},
    {"a rounded sum that is read before it is sent",
     "    %5 = reduce_sum %0 {axes = [0]} : f32[4]\n    %6 = cast %5 {dtype = bf16} : bf16[4]\n"
     "    %7 = add %6, %6 : bf16[4]\n    %8 = all_reduce %7 " SUM " : bf16[4]\n"
     "    %9 = cast %8 {dtype = f32} : f32[4]\n",
     STORE, "over data: operand 0 is a sum over the ranks that is not taken, rounded to be sent"},
    {"two sums multiplied",
     "    %5 = reduce_sum %0 {axes = [0]} : f32[4]\n    %6 = mul %5, %5 : f32[4]\n"
     "    %9 = all_reduce %6 " SUM " : f32[4]\n",
     STORE, "over data: 2 sums over the ranks that are not taken meet"},
    {"a sum and a part multiplied",
     "    %5 = reduce_sum %0 {axes = [0, 1]} : f32[]\n"
     "    %6 = broadcast %5 {shape = [B.data, 4], axes = []} : f32[B.data, 4]\n"
     "    %9 = mul %0, %6 : f32[B.data, 4]\n",
     ROWS, "over data: operand 0, each rank's part, meets a sum over the ranks"},
    {"a number that counts on each rank",
     "    %5 = reduce_sum %0 {axes = [0]} : f32[4]\n"
     "    %6 = constant {value = 1.0, dtype = f32, shape = [4]} : f32[4]\n"
     "    %7 = add %5, %6 : f32[4]\n    %9 = all_reduce %7 " SUM " : f32[4]\n",
     STORE, "over data: operand 1, one number, is added to a sum over ranks by each of them"},
    {"a weight that counts on the first rank",
     "    %4 = size {value = data.rank, dtype = i32} : i32[]\n"
     "    %5 = constant {value = 0.0, dtype = i32, shape = []} : i32[]\n"
     "    %6 = eq %4, %5 : bool[]\n    %7 = broadcast %6 {shape = [4], axes = []} : bool[4]\n"
     "    %8 = constant {value = 0.0, dtype = f32, shape = [4]} : f32[4]\n"
     "    %10 = select %7, %1, %8 : f32[4]\n    %11 = reduce_sum %0 {axes = [0]} : f32[4]\n"
     "    %12 = add %10, %11 : f32[4]\n    %9 = all_reduce %12 " SUM " : f32[4]\n",
     STORE, NULL},
    {"a rank's number in what is equal on all",
     "    %4 = size {value = data.rank, dtype = f32} : f32[]\n"
     "    %5 = broadcast %4 {shape = [4], axes = []} : f32[4]\n    %9 = add %1, %5 : f32[4]\n",
     STORE,
     "over data: result 0 ('') is to be equal on all ranks, but is made of the rank's number"},
    {"a greatest that nothing takes",
     "    %5 = reduce_max %0 {axes = [0]} : f32[4]\n    %6 = exp %5 : f32[4]\n"
     "    %9 = all_reduce %6 {combine = \"max\", over = \"data\"} : f32[4]\n",
     STORE, "over data: operand 0 is the max of all ranks', which nothing has taken"},
    {"a greatest that is added",
     "    %5 = reduce_max %0 {axes = [0]} : f32[4]\n    %9 = all_reduce %5 " SUM " : f32[4]\n",
     STORE, "over data: operand 0, a sum over the ranks that is not taken, is combined"},
    {"a product over rows that the model axis cuts, summed",
     "    %5 = contract %2, %2 {batch_a = [], batch_b = [], contract_a = [0], contract_b = [0]} : "
     "f32[4, 4]\n"
     "    %6 = all_reduce %5 {combine = \"add\", over = \"model\"} : f32[4, 4]\n"
     "    %7 = reduce_sum %6 {axes = [0]} : f32[4]\n    %9 = exp %7 : f32[4]\n",
     STORE, NULL},
    {"and not summed",
     "    %5 = contract %2, %2 {batch_a = [], batch_b = [], contract_a = [0], contract_b = [0]} : "
     "f32[4, 4]\n"
     "    %7 = reduce_sum %5 {axes = [0]} : f32[4]\n    %9 = exp %7 : f32[4]\n",
     STORE,
     "over model: operand 0 is a sum over the ranks that is not taken, and the op is not linear"},
    {"a part in what is equal on all",
     "    %5 = reduce_sum %2 {axes = [1]} : f32[2]\n"
     "    %6 = constant {value = 0.0, dtype = f32, shape = []} : f32[]\n"
     "    %9 = pad %5, %6 {low = [2], high = [0], interior = [0]} : f32[4]\n",
     STORE, "over model: result 0 ('') is to be equal on all ranks, but is each rank's part"},
    {"a gather along another axis than the cut one",
     "    %5 = transpose %2 {permutation = [1, 0]} : f32[4, 2]\n"
     "    %6 = reduce_sum %5 {axes = [0]} : f32[2]\n"
     "    %7 = broadcast %6 {shape = [2, 2], axes = [1]} : f32[2, 2]\n"
     "    %8 = all_gather %7 {axis = [0], size = [4], rows = [4], over = \"model\"} : f32[4, 2]\n"
     "    %10 = reduce_sum %8 {axes = [1]} : f32[4]\n    %9 = exp %10 : f32[4]\n",
     STORE, "over model: operand 0, each rank's part, is gathered"},
    {"what is whole, gathered",
     "    %5 = slice %1 {start = [0], limit = [2], step = [1]} : f32[2]\n"
     "    %9 = all_gather %5 {axis = [0], size = [4], rows = [4], over = \"model\"} : f32[4]\n",
     STORE, "over model: operand 0, equal on all ranks, is gathered"},
    {"the rank's slice, gathered",
     "    %5 = slice %1 {start = [2*model.rank], limit = [2*model.rank + 2], step = [1]} : f32[2]\n"
     "    %9 = all_gather %5 {axis = [0], size = [4], rows = [4], over = \"model\"} : f32[4]\n",
     STORE, NULL},
    {"a loop that adds sums to zero",
     "    %4 = constant {value = 0.0, dtype = f32, shape = [4]} : f32[4]\n"
     "    %5 = scan %4 {length = 3, carries = 1, reverse = false} : f32[4] (%6: i32[], %7: f32[4]) "
     "{\n"
     "        %8 = reduce_sum %0 {axes = [0]} : f32[4]\n        %10 = add %7, %8 : f32[4]\n"
     "        yield %10\n    }\n    %9 = all_reduce %5 " SUM " : f32[4]\n",
     STORE, NULL},
    {"and to a weight",
     "    %5 = scan %1 {length = 3, carries = 1, reverse = false} : f32[4] (%6: i32[], %7: f32[4]) "
     "{\n"
     "        %8 = reduce_sum %0 {axes = [0]} : f32[4]\n        %10 = add %7, %8 : f32[4]\n"
     "        yield %10\n    }\n    %9 = all_reduce %5 " SUM " : f32[4]\n",
     STORE, "over data: operand 0, not known to be equal on all ranks, is combined"},
    {"a loop that each rank ends for itself",
     "    %4 = reduce_max %0 {axes = [0, 1]} : f32[]\n"
     "    %5 = while %4 {limit = 9} : f32[] (%6: f32[]) {\n"
     "        %7 = lt %6, %6 : bool[]\n        yield %7\n    } (%8: f32[]) {\n"
     "        yield %8\n    }\n    %9 = exp %1 : f32[4]\n",
     STORE, "over data: operand 0 is the max of all ranks', which nothing has taken"},
    {"a branch that counts on each rank",
     "    %5 = reduce_sum %0 {axes = [0]} : f32[4]\n    %6 = lt %1, %1 : bool[4]\n"
     "    %7 = select %6, %5, %1 : f32[4]\n    %9 = all_reduce %7 " SUM " : f32[4]\n",
     STORE,
     "over data: operand 2, equal on all ranks, is added to a sum over ranks by each of them"},
};

static void check_case(Harness *h, const Case *c) {
    char text[4096];
    Arena scratch;
    Str report;
    snprintf(text, sizeof text, "%s%s%s", HEAD, c->body, c->results);
    Module *module =
        module_parse(&h->context, context_source(&h->context, "m.ir", text, strlen(text), false));
    const DiagList *diags = &h->context.diags;
    if (!module) {
        fail_msg("%s: %s\n%s", c->name, diags->count ? diags->items[0]->message : "?", text);
    }
    arena_init(&scratch, h->context.allocator, h->context.boundary);
    str_init(&report, h->context.allocator);
    bool sound = shard_check(module->first, &scratch, &report);
    const char *said = sound ? "" : str_text(&report);
    if (sound != !c->said || (c->said && !strstr(said, c->said))) {
        fail_msg("%s: it should say \"%s\", but says:\n%s", c->name, c->said ? c->said : "", said);
    }
    str_finish(&report);
    arena_finish(&scratch);
}

static void test_cases(void **state) {
    (void)state;
    for (volatile size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        Harness *h = calloc(1, sizeof *h);
        harness_init_dims(h, true);
        if (setjmp(h->boundary.jump)) {
            fail_msg("%s: left through the boundary", CASES[i].name);
        }
        check_case(h, &CASES[i]);
        harness_finish(h);
        free(h);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
    return cmocka_run_group_tests_name("shard_check", tests, NULL, NULL);
}
