/* The text form of kernels, both ways: what is printed is read back as the same kernel, which
 * prints the same and gives the same LLVM IR or CUDA text; what is not well formed is refused with
 * its line. test_kernel_text                    kernels of random graphs, and texts that are wrong
 *   test_kernel_text TARGET FILE…       all kernels of the fused IR in the files */
#include "codegen/cpu/emit.h"
#include "codegen/cuda/text/text.h"
#include "codegen/kernel.h"
#include "codegen/target.h"
#include "tests/fuzz/random_graph.h"
#include "tests/ops/harness.h"
#include "tests/ops/kernel_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct Round {
    Context *context;
    Module *module;
    const Machine *machine;
    Arena arena; /* of one fusion */
    int32_t n_kernels;
    bool failed;
} Round;

static void complain(Round *r, const Kernel *kernel, const char *what, const char *one,
                     const char *other) {
    if (!r->failed) {
        fprintf(stderr, "kernel %s: %s\n%s\n---\n%s\n", kernel->name, what, one, other);
    }
    r->failed = true;
}

/* What the backend makes of it. */
static void code_of(const Machine *machine, const Kernel *kernel, Str *out) {
    if (strcmp(machine->target, "cuda") == 0) {
        CudaTextInfo info;
        cuda_text_kernel(machine, kernel, "k", out, &info);
        str_addf(out, "%d %d %lld\n", (int)info.threads, (int)info.shared_bytes,
                 (long long)info.scratch_bytes);
        return;
    }
    char message[CPU_MESSAGE_BYTES] = "";
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = emit_kernel(machine, kernel, context, message);
    char *text = module ? LLVMPrintModuleToString(module) : NULL;
    str_add(out, text ? text : message);
    LLVMDisposeMessage(text);
    if (module) {
        LLVMDisposeModule(module);
    }
    LLVMContextDispose(context);
}

static void print_whole(const Round *r, const Kernel *kernel, Str *out) {
    module_print_head(r->module, out);
    kernel_print(kernel, out);
}

static void compare(Round *r, const Kernel *kernel, const Kernel *again, const Str *text) {
    Str second, code, code_again;
    str_init(&second, NULL);
    str_init(&code, NULL);
    str_init(&code_again, NULL);
    print_whole(r, again, &second);
    code_of(r->machine, kernel, &code);
    code_of(r->machine, again, &code_again);
    if (strcmp(str_text(text), str_text(&second)) != 0) {
        complain(r, kernel, "the text form does not round-trip", str_text(text), str_text(&second));
    }
    if (code.length < 100 || strcmp(str_text(&code), str_text(&code_again)) != 0) {
        complain(r, kernel, "the code differs", str_text(&code), str_text(&code_again));
    }
    str_finish(&second);
    str_finish(&code);
    str_finish(&code_again);
}

static void check_kernel(Round *r, const Kernel *kernel) {
    KernelProblem problem = {0};
    Str text;
    str_init(&text, NULL);
    print_whole(r, kernel, &text);
    if (!kernel_verify(kernel, &r->arena, &problem)) {
        complain(r, kernel, problem.text, str_text(&text), "");
    }
    const Source *source =
        context_source(r->context, "kernel.k", str_text(&text), text.length, false);
    KernelFile file;
    r->n_kernels++;
    if (!kernel_parse(r->context, &r->arena, source, &file)) {
        const DiagList *diags = &r->context->diags;
        Str message;
        str_init(&message, NULL);
        diag_print(diags->items[diags->count - 1], &message, false);
        complain(r, kernel, str_text(&message), str_text(&text), "");
        str_finish(&message);
    } else {
        compare(r, kernel, file.kernels[0], &text);
        module_destroy(file.module);
    }
    str_finish(&text);
}

static int64_t site_of(void *user, Place place, const char *text) {
    (void)user;
    (void)place;
    return (int64_t)strlen(text);
}

static bool watch_all(void *user, const Op *fusion, int32_t result) {
    (void)user;
    (void)fusion;
    return result % 2 == 0;
}

static void check_op(Op *op, void *user) {
    Round *r = user;
    if (op->code != OP_fusion || r->failed) {
        return;
    }
    arena_init(&r->arena, NULL, r->context->boundary);
    LowerContext lower = {.context = r->context,
                          .arena = &r->arena,
                          .bodies = &r->arena,
                          .machine = r->machine,
                          .site_of = site_of,
                          .is_watched = watch_all};
    LoweredOp lowered;
    lower_fusion(&lower, op, &lowered);
    for (int32_t i = 0; i < lowered.n_kernels; i++) {
        Kernel *kernel = lowered.kernels[i].kernel;
        kernel->group = i % 2 ? 5 : 0;
        kernel->common = i % 2 ? 1 : 0;
        check_kernel(r, kernel);
    }
    arena_finish(&r->arena);
}

static bool describe(const char *target, const char *option, Arena *arena, Machine *out) {
    char message[512] = "";
    bool known = target_find(target)->describe(option, arena, out, message) == DLC_OK;
    if (!known) {
        fprintf(stderr, "%s\n", message);
    }
    return known;
}

/* -- random graphs */
static int32_t check_seed(Harness *h, uint64_t seed, const Machine *machine) {
    RandomGraphOptions options = {.n_ops = 16};
    Func *func = random_graph(h->module, seed, &options);
    PipelineOptions pipeline = {.verify_each = false};
    PipelineReport report = {0};
    if (!passes_run(h->module, machine, &pipeline, &report)) {
        fail_msg("seed %llu: passes", (unsigned long long)seed);
    }
    Round round = {.context = &h->context, .module = h->module, .machine = machine};
    func_each_op(func, check_op, &round);
    if (round.failed) {
        fail_msg("seed %llu", (unsigned long long)seed);
    }
    return round.n_kernels;
}

static void check_seeds(const char *target, const char *option, uint64_t count) {
    volatile int32_t n_kernels = 0;
    for (volatile uint64_t seed = 0; seed < count; seed++) { /* volatile: read after a jump */
        Harness *h = calloc(1, sizeof *h);
        harness_init(h);
        Machine machine;
        if (setjmp(h->boundary.jump)) {
            fail_msg("seed %llu: left through the boundary", (unsigned long long)seed);
        }
        assert_true(describe(target, option, &h->context.arena, &machine));
        n_kernels += check_seed(h, seed, &machine);
        harness_finish(h);
        free(h);
    }
    assert_true((uint64_t)n_kernels > 3 * count);
}

static void test_workers(void **state) {
    (void)state;
    check_seeds("cpu", "x86-64-v3", 400);
}

static void test_blocks(void **state) {
    (void)state;
    check_seeds("cuda", "sm_90", 400);
}

/* -- texts that are wrong */
typedef struct Wrong {
    /* of kernel "k" (b0: f32, b1: f32 written, b2: bf16, b3: i32 written), from line 2 */
    const char *body;
    int32_t line;
    const char *part; /* of the message */
} Wrong;

static const Wrong wrong[] = {
    {"let %0: f32 = b0[0]\n b1[0] = %1", 3, "%1 is not defined"},
    {"if ge(b0[0], 0.0:f32) {\n let %0: f32 = b0[0]\n }\n b1[0] = %0", 5, "%0 is not defined"},
    {"let %0: f32 = 1", 2, "a variable's value is i64, not f32"},
    {"let %0: f32 = 1:f32", 2, "the type of a number"},
    {"let %0: i64 = 1.5", 2, "the type of a number"},
    {"let %0: i8 = 300:i8", 2, "300 of i8"},
    {"let %0: f32 = b0[0]\n let %0: f32 = b0[1]", 3, "%0 is defined twice"},
    {"let %0: f32 = b0[0]\n set %0: f32 = b0[1]", 3, "%0 is defined twice"},
    {"set %0: f32 = b0[0]\n set %0: i64 = 1", 3, "another type"},
    {"set %0: f32 = %0", 2, "%0 is not defined"},
    {"b0[0] = b0[0]", 2, "only read"},
    {"b2[0] = b0[0]", 2, "buffer 2 is only read"},
    {"b3[0] = 1:i32 watched", 2, "a watched store of i32"},
    {"b3[0] = 1", 2, "a stored value is i64, not i32"},
    {"b4[0] = b0[0]", 2, "unknown buffer 'b4'"},
    {"local l0: f32*8\n l0[b0[0]] = b0[0]", 3, "an index is f32, not i64"},
    {"local l0: f32*8\n l0[0] = 1", 3, "a stored value is i64, not f32"},
    {"b1[0] = select(lt(lt(0, 1), lt(0, 1)), b0[0], b0[0])", 2, "lt of bool"},
    {"b1[0] = select(lt(0, 1), b0[0], 1)", 2, "select of f32 and i64"},
    {"size s0 = 1\n b3[0] = uniform.i32.s0(1, 2, 3:i32, 4)", 3, "random numbers of i32"},
    {"size s0 = 1\n b1[0] = uniform.f32.s0(b0[0], 2, 3:i32, 4)", 3, "a seed is f32"},
    {"size s0 = 1\n b1[0] = uniform.f32.s0(1, 2, 3, 4)", 3, "an iteration is i64"},
    {"b1[b0[0]] = b0[0]", 2, "an index is f32, not i64"},
    {"b1[0] = l0[0]", 2, "unknown local 'l0'"},
    {"b1[s0] = b0[0]", 2, "unknown size 's0'"},
    {"b1[0] = cast.bf16(b0[0])", 2, "a value of bf16 outside memory"},
    {"b1[0] = add(b0[0], 1)", 2, "add of f32 and i64"},
    {"b1[0] = (b0[0] + b0[0])", 2, "an operation's result"},
    {"b1[0] = sin(1)", 2, "sin of i64"},
    {"b1[0] = matmul(b0[0])", 2, "no op is called"},
    {"b1[0] = add(b0[0])", 2, "expected ','"},
    {"b1[0] = select(b0[0], b0[0], b0[0])", 2, "what select asks"},
    {"if 1 {\n }", 2, "a condition is i64"},
    {"for %0 in 0..b0[0] {\n }", 2, "a loop's end"},
    {"for %0 in b0[0]..4 {\n }", 2, "a loop's begin"},
    {"for %0 in 0..4 {\n }\n b3[0] = cast.i32(%0)", 4, "%0 is not defined"},
    {"for %0 in 0..4 {\n let %1: i64 = %0\n }\n b3[0] = cast.i32(%1)", 5, "%1 is not defined"},
    {"size s0 = 4\n unroll %0 in 0..s0 {\n }", 3, "bounds are not constant"},
    {"for %0 in 0..4 {\n grid %1 in 0..4 {\n }\n }", 3, "company"},
    {"grid %0 in 0..4 {\n }", 1, "1 grid loops, and sizes of 0"},
    {"tiles 4\n grid %0 in 1..4 {\n }", 3, "begin at 0"},
    {"tiles 4\n grid %0 in 0..4 {\n }\n b1[0] = b0[0]", 3, "company"},
    {"unroll %0 in 0..b0[0] {\n }", 2, "a loop's end"},
    {"vector %0 in 0..4 {\n for %1 in 0..4 {\n }\n }", 2, "a vector loop holds a loop"},
    {"set %0: f32 = 0.0:f32\n vector %1 in 0..4 {\n set %0: f32 = b0[%1]\n }\n b1[0] = %0", 3,
     "outlives"},
    {"set %0: f32 = 0.0:f32\n each %1 in 0..4 {\n for %2 in 0..2 {\n set %0: f32 = add(%0, "
     "b0[%1])\n }\n }\n b1[0] = %0",
     3, "outlives"},
    {"set %0: f32 = 0.0:f32\n vector %1 in 0..4 {\n set %0: f32 = add(%0, %0)\n }\n b1[0] = %0", 3,
     "outlives"},
    {"set %0: f32 = 0.0:f32\n vector %1 in 0..4 {\n set %0: f32 = sub(%0, b0[%1])\n }\n b1[0] = %0",
     3, "outlives"},
    {"fault if lt(0, 1) site 1 value 0 bound b0[0]", 2, "a fault's bound"},
    {"fault if lt(0, 1) site -1 value 0 bound 0", 2, "a site below 0"},
    {"fault if b0[0] site 1 value 0 bound 0", 2, "what a fault asks"},
    {"fault if lt(0, 1) site 1 value b0[0] bound 0", 2, "a fault's value"},
    {"local l0: f32*0", 2, "from 1 to 2^30"},
    {"local l1: f32*8", 2, "unknown local 'l1'"},
    {"local l0: f32*8\n local l1: bf16*8\n contract l0[0 by 2] = l0[0] * l1[0] depth 2", 4,
     "a contraction of f32 and bf16"},
    {"local l0: i32*8\n local l1: f32*8\n contract l0[0 by 2] = l1[0] * l1[0] depth 2", 4,
     "a contraction of f32 and f32 to i32"},
    {"local l0: f32*8\n contract l0[b0[0] by 2] = l0[0] * l0[0] depth 2", 3, "an offset is f32"},
    {"local l0: f32*8\n contract l0[0 by b0[0]] = l0[0] * l0[0] depth 2", 3, "a stride is f32"},
    {"local l0: f32*8\n contract l0[0 by 2] = l0[0] * l0[b0[0]] depth 2", 3, "an offset is f32"},
    {"local l0: f32*8\n contract l0[0 by 2] = l0[0] * l0[0] depth b0[0]", 3, "a depth is f32"},
    {"size s0 = N", 2, "malformed size"},
    {"group 0", 2, "from 1 to 4096"},
    {"frobnicate", 2, "expected a statement"},
    {"b1[0] = b0[0]", 2, "the end of the text"},
    {"b1[0] = %99999999", 2, "out of proportion"},
};

static void check_wrong(const Wrong *row) {
    Boundary boundary = {0};
    Context context;
    Arena arena;
    char text[1024];
    bool closed = !strstr(row->part, "the end of");
    snprintf(text, sizeof(text),
             "module \"m\" { } kernel \"k\" (b0: f32, b1: f32 written, b2: bf16, b3: i32 written) "
             "{\n%s%s",
             row->body, closed ? "\n}\n" : "");
    context_init(&context, NULL, &boundary);
    arena_init(&arena, NULL, &boundary);
    if (setjmp(boundary.jump)) {
        fail_msg("left through the boundary:\n%s", text);
    }
    KernelFile file;
    const Source *source = context_source(&context, "wrong.k", text, strlen(text), false);
    if (kernel_parse(&context, &arena, source, &file)) {
        fail_msg("was read:\n%s", text);
    }
    const Diag *diag = context.diags.items[0];
    if (!strstr(diag->message, row->part) || diag->place.line != row->line) {
        fail_msg("line %d: %s\nwanted line %d: %s\n%s", (int)diag->place.line, diag->message,
                 (int)row->line, row->part, text);
    }
    arena_finish(&arena);
    context_finish(&context);
}

static void test_wrong(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        check_wrong(&wrong[i]);
    }
}

/* A kernel with everything in it, changed byte by byte: what is accepted prints and is read back.
 */
static const char everything[] =
    "module \"m\" {\n    dim B % 4 in 4..64 = 8\n}\n"
    "kernel \"all\" (b0: f32, b1: f32 written, b2: bf16) {\n"
    "  size s0 = B\n  size s1 = -5\n  tiles B\n  local l0 c: f32*4096\n  local l1 a: f32*1024\n"
    "  group 4 common b0, b2\n"
    "  grid %0 row in 0..s0 {\n"
    "    let %1 x: f32 = max(b0[((%0 * 4) + -1)], -inf:f32)\n"
    "    set %2 sum: f32 = 0.5:f32\n"
    "    vector %3 j in 0..4 {\n      set %2 sum: f32 = add(%2, b2[%3])\n    }\n"
    "    contract l0[0 by 64] += l1 deep[0] * l1 deep[0] tf32 depth 16\n"
    "    if lt(%0, 3) {\n      l0[0] = %1\n    } else {\n"
    "      l0[0] = uniform.f32.s1(7, 8, 9:i32, %0)\n    }\n"
    "    fault if ge(%0, 3) site 2 value %0 bound 3\n"
    "    b1[%0] = select(lt(%2, l0[0]), cast.f32(cast.bf16(%2)), 1.0:f32) watched\n"
    "  }\n}\n";

/* `out_same`: it prints as it was. */
static bool try_text(const char *text, size_t length, bool *out_same) {
    Boundary boundary = {0};
    Context context;
    Arena arena;
    Str first, second;
    volatile bool accepted = false;
    str_init(&first, NULL);
    str_init(&second, NULL);
    context_init(&context, NULL, &boundary);
    context.arena.limit = (size_t)64 << 20;
    arena_init(&arena, NULL, &boundary);
    if (setjmp(boundary.jump) == 0 && kernel_text_again(&context, &arena, text, length, &first)) {
        accepted = true;
        *out_same = strcmp(str_text(&first), text) == 0;
        if (!kernel_text_again(&context, &arena, str_text(&first), first.length, &second) ||
            strcmp(str_text(&first), str_text(&second)) != 0) {
            fail_msg("printed and read, it differs:\n%s\n---\n%s", str_text(&first),
                     str_text(&second));
        }
    }
    str_finish(&first);
    str_finish(&second);
    arena_finish(&arena);
    context_finish(&context);
    return accepted;
}

static void test_changes(void **state) {
    (void)state;
    static const char bytes[] = "0%9-b s{}[](){}.:,\"\n*";
    size_t length = sizeof(everything) - 1;
    int n_accepted = 0, n_refused = 0;
    bool same = false;
    assert_true(try_text(everything, length, &same));
    assert_true(same);
    for (size_t at = 0; at < length; at++) {
        for (int what = -1; what < 4; what++) {
            char *text = strdup(everything);
            if (what < 0) {
                memmove(text + at, text + at + 1, length - at);
            } else {
                text[at] = bytes[(at * 7 + (size_t)what * 5) % (sizeof(bytes) - 1)];
            }
            *(try_text(text, strlen(text), &same) ? &n_accepted : &n_refused) += 1;
            free(text);
        }
        bool is_cut = at > (size_t)(strstr(everything, "kernel") - everything) && at < length - 1;
        assert_false(is_cut && try_text(everything, at, &same));
    }
    assert_true(n_accepted > 100 && n_refused > 1000);
}

/* -- files */
static bool check_file(const char *target, const char *path) {
    Boundary boundary = {0};
    Context context;
    context_init(&context, NULL, &boundary);
    FILE *file = fopen(path, "rb");
    static char text[1 << 24];
    size_t length = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
    if (file) {
        fclose(file);
    }
    if (setjmp(boundary.jump)) {
        fprintf(stderr, "%s: left through the boundary\n", path);
        return false;
    }
    Machine machine;
    char name[32];
    snprintf(name, sizeof(name), "%s", target);
    char *option = strchr(name, ':');
    if (!option) {
        return false;
    }
    *option++ = '\0';
    Module *module = module_parse(&context, context_source(&context, path, text, length, false));
    Round round = {.context = &context, .module = module, .machine = &machine};
    if (module && describe(name, option, &context.arena, &machine)) {
        for (Func *func = module->first; func; func = func->next) {
            func_each_op(func, check_op, &round);
        }
    }
    printf("%s: %d kernels for %s\n", path, (int)round.n_kernels, target);
    context_finish(&context);
    return round.n_kernels > 0 && !round.failed;
}

int main(int argc, char **argv) {
    if (argc > 2) {
        bool good = true;
        for (int i = 2; i < argc; i++) {
            good = check_file(argv[1], argv[i]) && good;
        }
        return good ? 0 : 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_changes),
    };
    return cmocka_run_group_tests_name("kernel_text", tests, NULL, NULL);
}
