/* The parser and the formatter: precedence, newlines, labels, paths and places read off the printed
 * tree; every shipped .dl file parses and is in canonical layout; limits end in a message; running
 * out of memory leaves through the boundary. */
#include "frontend/parse/parse.h"
#include "ir/base/file.h"
#include "lang/std.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct Fixture {
    Boundary boundary;
    Context context;
    AstFile *file;
} Fixture;

static void fixture_parse(Fixture *fixture, const char *text) {
    memset(fixture, 0, sizeof *fixture);
    context_init(&fixture->context, NULL, &fixture->boundary);
    const Source *source = context_source(&fixture->context, "test.dl", text, strlen(text), false);
    fixture->file = frontend_parse(&fixture->context, source);
}

/* The printed tree of `text`, which must parse. */
static void expect_tree(const char *text, const char *tree) {
    Fixture fixture;
    fixture_parse(&fixture, text);
    Str out;
    str_init(&out, NULL);
    for (size_t i = 0; i < fixture.context.diags.count; i++) {
        diag_print(fixture.context.diags.items[i], &out, false);
    }
    ast_print(fixture.file, &out);
    assert_string_equal(str_text(&out), tree);
    str_finish(&out);
    context_finish(&fixture.context);
}

/* `expression` as the value of a const. */
static void expect_expr(const char *expression, const char *tree) {
    char text[512], expected[512];
    snprintf(text, sizeof text, "const a = %s\n", expression);
    snprintf(expected, sizeof expected, "const a = %s\n", tree);
    expect_tree(text, expected);
}

static void expect_errors(const char *text, int count, DiagId first) {
    Fixture fixture;
    fixture_parse(&fixture, text);
    assert_true(fixture.file->has_errors);
    assert_int_equal(fixture.context.diags.n_errors, count);
    assert_int_equal(fixture.context.diags.items[0]->id, first);
    context_finish(&fixture.context);
}

static void precedence(void **state) {
    (void)state;
    expect_expr("1 + 2 * 3 - 4", "(- (+ 1 (* 2 3)) 4)");
    expect_expr("-x ** 2", "(- (** x 2))");
    expect_expr("2 ** -1 ** n", "(** 2 (- (** 1 n)))");
    expect_expr("a @ b / c % d", "(% (/ (@ a b) c) d)");
    expect_expr("not a == b and c or d", "(or (and (not (== a b)) c) d)");
    expect_expr("a if b else c if d else e", "(if b a (if d c e))");
    expect_expr("x if y else z |> f", "(pipe f (if y x z))");
    expect_expr("a + b |> f(1) |> g", "(pipe g (pipe f (+ a b) 1))");
    expect_expr("f(x)[0].y(1)", "(call (field (index (call f x) 0) y) 1)");
    expect_expr("x[a:b:2, .., -1, :]", "(index x (slice a b 2) .. (- 1) (slice _ _ _))");
    expect_expr("(a, b, (c,), ())", "(tuple a b (tuple c) (tuple))");
    expect_expr("[1, 2.5, true]", "(list 1 2.5 true)");
}

static void labels_and_paths(void **state) {
    (void)state;
    expect_expr("f(x) as h[i].0 + 1", "(+ (call f x as h[i].0) 1)");
    expect_expr("f(x) as 0.1", "(call f x as 0.1)");
    expect_expr("x |> f as shared u |> g as _", "(pipe g (pipe f x as shared u) as _)");
    expect_expr("f(x) as \"layer{n + 1}\".0.\"b{2}\"", "(call f x as \"layer{n + 1}\".0.\"b{2}\")");
    expect_expr("f(x) as in.state.for", "(call f x as in.state.for)");
}

static void argument_names(void **state) {
    (void)state;
    expect_expr("f(x, in=1, not=2, true=3)", "(call f x in=1 not=2 true=3)");
    expect_tree("mesh data=4, model=2\n", "mesh data = 4, model = 2\n");
}

/* `*` as a size ends its line, and a block may follow it; in one, and in a call, `model` is an
 * axis. */
static void meshes(void **state) {
    (void)state;
    expect_tree("mesh data=*\ndim B\n", "mesh data = *\ndim B\n");
    expect_tree("mesh data=*\n@keep\nfn f(x) {\n    return x\n}\n",
                "mesh data = *\n@keep fn f\n  argument x\n  return x\n");
    expect_tree("mesh data=*{}\n", "mesh data = *\n");
    expect_tree("mesh data=2,\n     model=*\n", "mesh data = 2, model = *\n");
    expect_tree(
        "mesh model=2 { shard (_, model) for \"a\", \"b\"; cut \"c\" }\n",
        "mesh model = 2\n  place shard for \"a\" \"b\" : (tuple _ model)\n  place cut \"c\"\n");
    expect_tree("mesh model=2 {\n    shard (\n  model,\n  _) for \"a\"\n}\n",
                "mesh model = 2\n  place shard for \"a\" : (tuple model _)\n");
    expect_tree("fn f(x) {\n    return x |> shard(data, (model, pipe), model)\n}\n",
                "fn f\n  argument x\n"
                "  return (pipe shard x data (tuple model pipe) model)\n");
}

static void axis_functions(void **state) {
    (void)state;
    expect_expr("{b t (h=heads d) -> b h t d}(x)", "(call {b t (h=heads d) -> b h t d} x)");
    expect_expr("{b c y x -> b c by mean}(x)", "(call {b c y x -> b c by mean} x)");
    expect_expr("{b i k, b j k -> b i j}(p, q)", "(call {b i k, b j k -> b i j} p q)");
    expect_expr("{... 1 -> ... k=(n + 1)}(x)", "(call {... 1 -> ... k=(n + 1)} x)");
    expect_expr("{-> }(x)", "(call {-> } x)");
    expect_expr("x |> {b in -> in b} |> f", "(pipe f (pipe {b in -> in b} x))");
}

static void newlines(void **state) {
    (void)state;
    expect_tree("const a = 1 +\n  2\nconst b = f(\n 1,\n 2\n)\n",
                "const a = (+ 1 2)\nconst b = (call f 1 2)\n");
    expect_tree(
        "fn f(x: any) {\n  y = x\n  # why\n\n    |> g\n  g(y); z = 2\n}\n",
        "fn f\n  argument x: any\n  bind y = (pipe g x)\n  expression (call g y)\n  bind z = 2\n");
    expect_tree("fn f() { return 1 }", "fn f\n  return 1\n");
    expect_tree("\xEF\xBB\xBF"
                "const a = 1\r\nconst b = 2\r\n",
                "const a = 1\nconst b = 2\n");
    expect_tree("", "");
    expect_tree("# nothing else", "");
}

static void statements(void **state) {
    (void)state;
    expect_tree("model m(x: f32[B]) {\n"
                "  param w.k: [3] = normal(0, 1)\n"
                "  param v as \"v_{1}\": [3] = zeros\n"
                "  state s: f32[] = zeros\n"
                "  cache k: [B, ...] = zeros\n"
                "  s <- s + 1\n"
                "  a, b = f(x)\n"
                "  output a\n  output q = b\n"
                "  metric m = a over b\n"
                "  loss g = a\n"
                "  check a > 0, \"text {a}\"\n"
                "  show a, b\n"
                "}\n",
                "model m\n  argument x: f32[B]\n"
                "  param w.k: [3] = (call normal 0 1)\n"
                "  param v as \"v_{1}\": [3] = zeros\n"
                "  state s: f32[] = zeros\n"
                "  cache k: [B, ...] = zeros\n"
                "  store s <- (+ s 1)\n"
                "  bind a, b = (call f x)\n"
                "  output a\n  output q = b\n"
                "  metric m = a over b\n"
                "  loss g = a\n"
                "  check (> a 0), \"text {a}\"\n"
                "  show (tuple a b)\n");
    expect_tree("fn f(n: int) {\n"
                "  if n == 0 { x = 1 } else if n == 1 { x = 2 } else { x = 3 }\n"
                "  for i in 0..n - 1 { x = i }\n"
                "  scan a in p, b in q along 1 carry h = 0, g = 1 {\n    yield a, b\n  } -> u, v\n"
                "  while h < n carry h = 0 { h = h + 1 }\n"
                "  return u, v\n}\n",
                "fn f\n  argument n: int\n"
                "  if (== n 0)\n    bind x = 1\n"
                "  else\n    if (== n 1)\n      bind x = 2\n    else\n      bind x = 3\n"
                "  for i in 0 .. (- n 1)\n    bind x = i\n"
                "  scan a in p, b in q along 1 carry h = 0, g = 1 -> u, v\n"
                "    yield (tuple a b)\n"
                "  while (< h n) carry h = 0\n    bind h = (+ h 1)\n"
                "  return (tuple u v)\n");
    expect_tree("optimizer o(lr = 0.1) {\n  state v = zeros\n  param <- param - lr * grad\n}\n",
                "optimizer o\n  argument lr = 0.1\n  state v = zeros\n"
                "  store param <- (- param (* lr grad))\n");
}

static void declarations(void **state) {
    (void)state;
    expect_tree("import \"a.dl\"\ndim B\ndim T in 1..n\ndim H % 8 in 8..512 = 64\n",
                "import \"a.dl\"\ndim B\ndim T in 1 .. n\ndim H % 8 in 8 .. 512 = 64\n");
    expect_tree("@keep\nfn f(x: float[..., C], g: fn = h) -> (f32[C], int) { return x }\n",
                "@keep fn f\n  argument x: float[..., C]\n  argument g: fn = h\n"
                "  result (f32[C], int)\n  return x\n");
    expect_tree("train m {\n  optimizer for \"a.*\", \"b\" sgd(lr=0.1)\n"
                "  minimize d over \"d.*\" adam\n  freeze \"x\"\n  batch N 4; seed 1\n}\n",
                "train m\n  set optimizer for \"a.*\" \"b\" : (call sgd lr=0.1)\n"
                "  set minimize d over \"d.*\" : adam\n  set freeze \"x\"\n"
                "  set batch N 4\n  set seed 1\n");
}

static void docs_and_places(void **state) {
    (void)state;
    Fixture fixture;
    fixture_parse(&fixture, "# one\n# two\n@keep\nfn f(x) {\n    return x + 12\n}\n");
    assert_false(fixture.file->has_errors);
    const AstDecl *decl = fixture.file->decls.items[0];
    assert_string_equal(decl->doc, "one\ntwo");
    assert_true(decl->as.fn.keep);
    assert_int_equal(decl->end.line, 6);
    const AstExpr *sum = decl->as.fn.body.items[0]->as.value;
    assert_int_equal(sum->place.line, 5);
    assert_int_equal(sum->place.column, 12);
    assert_int_equal(sum->place.end_column, 18);
    assert_int_equal(sum->as.binary.op_place.column, 14);
    context_finish(&fixture.context);
}

static char *repeat(const char *before, const char *item, int count, const char *after) {
    size_t length = strlen(item);
    char *text = malloc(strlen(before) + length * (size_t)count + strlen(after) + 1);
    char *at = stpcpy(text, before);
    for (int i = 0; i < count; i++) {
        at = stpcpy(at, item);
    }
    strcpy(at, after);
    return text;
}

static void limits(void **state) {
    (void)state;
    static const struct {
        const char *before, *item, *after;
        int count;
        DiagId id;
    } cases[] = {
        {"const a = ", "(", "", 300, DIAG_NESTING},
        {"const a = ", "-", "1", 100000, DIAG_NESTING},
        {"const a = ", "not ", "1", 100000, DIAG_NESTING},
        {"const a = 1", " + 1", "", 1500, DIAG_CHAIN},
        {"const a = 1", " |> f", "", 1500, DIAG_CHAIN},
        {"const a = 1", " ** 1", "", 1500, DIAG_CHAIN},
        {"fn f() {", "if a {", "", 300, DIAG_NESTING},
        {"fn f() { if a {} ", "else if a {} ", "}", 400, DIAG_NESTING},
        {"const a = ", "\"{", "", 40, DIAG_NESTING},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text = repeat(cases[i].before, cases[i].item, cases[i].count, cases[i].after);
        Fixture fixture;
        fixture_parse(&fixture, text);
        assert_true(fixture.file->has_errors);
        assert_int_equal(fixture.context.diags.items[0]->id, cases[i].id);
        context_finish(&fixture.context);
        free(text);
    }
    char *many = repeat("", "const = 1\n", 100, "");
    expect_errors(many, DIAG_MAX_ERRORS, DIAG_UNEXPECTED);
    free(many);
}

static void errors(void **state) {
    (void)state;
    expect_errors("const a = 1 $ 2\n", 1, DIAG_BAD_CHARACTER);
    expect_errors("const a = \"b\n", 1, DIAG_UNTERMINATED_STRING);
    expect_errors("const a = 99999999999999999999\n", 1, DIAG_NUMBER_RANGE);
    expect_errors("const a = 2d\n", 1, DIAG_BAD_NUMBER);
    expect_errors("const a = 1 < 2 < 3\n", 1, DIAG_COMPARISON_CHAIN);
    expect_errors("const a = f(x=1, x=2)\n", 1, DIAG_ARGUMENT_TWICE);
    expect_errors("const a = f(x=1, 2)\n", 1, DIAG_POSITIONAL_AFTER_NAMED);
    expect_errors("@fast\nfn f() { return 1 }\n", 1, DIAG_UNKNOWN_ATTRIBUTE);
    expect_errors("fn f(x) {\n  f(x) <- 1\n}\n", 1, DIAG_STORE_TARGET);
    /* Each mistake is reported once, and the parser goes on behind it. */
    expect_errors("fn f(x) {\n  y = )\n  z = * 2\n  if x { a = ] }\n}\nconst = 1\nfn g( {\n}\n", 5,
                  DIAG_UNEXPECTED);
    expect_errors("fn f(x) {\n  y = g(x\n  return y\n}\nconst a = 1 +\nconst b = 2\n", 2,
                  DIAG_UNEXPECTED);
    expect_errors("}\n}\n", 1, DIAG_UNEXPECTED);
}

/* -- Files */

static void expect_canonical(const char *name, const char *text, size_t length) {
    Boundary boundary = {0};
    Context context;
    context_init(&context, NULL, &boundary);
    const Source *source = context_source(&context, name, text, length, false);
    Str once;
    str_init(&once, NULL);
    if (!frontend_format(&context, source, &once)) {
        diag_print(context.diags.items[0], &once, false);
        fail_msg("%s", str_text(&once));
    }
    if (strcmp(str_text(&once), source->text) != 0) {
        fail_msg("%s is not in canonical layout", name);
    }
    str_finish(&once);
    context_finish(&context);
}

static void shipped_files(void **state) {
    (void)state;
    static const char *const programs[] = {"char_lstm", "digits",     "gpt2",          "heat_pinn",
                                           "resnet18",  "tf_example", "torch_example", "unet"};
    for (size_t i = 0; i < STD_FILE_COUNT; i++) {
        expect_canonical(STD_FILES[i].name, STD_FILES[i].text, STD_FILES[i].length);
    }
    const char *root = getenv("DLC_SOURCE_ROOT");
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        char path[1024], message[FILE_MESSAGE_BYTES];
        snprintf(path, sizeof path, "%s/examples/%s.dl", root ? root : ".", programs[i]);
        FileView view;
        assert_int_equal(file_view_open(path, &view, message), DLC_OK);
        expect_canonical(path, (const char *)view.data, view.size);
        file_view_close(&view);
    }
}

static void expect_format(const char *text, const char *formatted) {
    Boundary boundary = {0};
    Context context;
    context_init(&context, NULL, &boundary);
    Str once, twice;
    str_init(&once, NULL);
    str_init(&twice, NULL);
    const Source *source = context_source(&context, "a.dl", text, strlen(text), false);
    assert_true(frontend_format(&context, source, &once));
    assert_string_equal(str_text(&once), formatted);
    source = context_source(&context, "b.dl", str_text(&once), once.length, false);
    assert_true(frontend_format(&context, source, &twice));
    assert_string_equal(str_text(&twice), formatted);
    str_finish(&once);
    str_finish(&twice);
    context_finish(&context);
}

static void format(void **state) {
    (void)state;
    expect_format("\n\n# head\ndim   H%8   in 8 .. 512 # tail\n\n\n\nconst a=1 ,b =[1,2];\n",
                  "# head\ndim H % 8 in 8..512  # tail\n\nconst a = 1, b = [1, 2]\n");
    expect_format("dim N in 0 ..\ndim M in 4..=8\ndim P in..2*w\n",
                  "dim N in 0..\ndim M in 4.. = 8\ndim P in ..2 * w\n");
    /* Not 0.5; and a path of numbers stays one. */
    expect_format("mesh data=*\ndim B\n", "mesh data=*\ndim B\n");
    expect_format("mesh data = * , model=2{shard(_,model)for \"a\";cut \"b\"}\ndim B\n",
                  "mesh data=*, model=2 { shard (_, model) for \"a\"; cut \"b\" }\ndim B\n");
    expect_format(
        "mesh data=-1 {\n  shard((data,model),_) for \"a\"\n zero 2;\n}\nconst a = f (1)\n",
        "mesh data=-1 {\n    shard ((data, model), _) for \"a\"\n    zero 2\n}\n"
        "const a = f(1)\n");
    expect_format("const a = 0   .5\nconst b = net.0.weight\n",
                  "const a = 0 .5\nconst b = net.0.weight\n");
    expect_format("fn f( x:float[ ... ,C ],k : int=3 )->f32[B]{\n\n# own\ny=x|>{ b (h=n d)->b h d }"
                  "|>g( a =-1 ) as  _\n  z=y [ 1 : -1 , .. ]* - 1**-x . w\n\n}\n",
                  "fn f(x: float[..., C], k: int = 3) -> f32[B] {\n    # own\n"
                  "    y = x |> {b (h=n d) -> b h d} |> g(a=-1) as _\n"
                  "    z = y[1:-1, ..] * -1 ** -x.w\n}\n");
    expect_format("fn f(x) {\n  y   = x |> g\n  ab  = x  |> h\n  return not(y)\n}\n",
                  "fn f(x) {\n    y  = x |> g\n    ab = x |> h\n    return not (y)\n}\n");
    expect_format("const a = f(\n1,\n# c\n2\n)\nconst b = x\n|> g\n",
                  "const a = f(\n    1,\n    # c\n    2\n)\nconst b = x\n    |> g\n");
    /* One semicolon says what several do. */
    expect_format(";;", "");
    expect_format("fn f(x) { y = x;;;z = y ;; ; return z;; }\n",
                  "fn f(x) { y = x; z = y; return z }\n");
}

/* -- Memory */

typedef struct Failing {
    int left;
} Failing;

static void *failing_alloc(void *user, size_t bytes) {
    Failing *failing = user;
    return failing->left-- > 0 ? malloc(bytes) : NULL;
}

static void failing_free(void *user, void *memory) {
    (void)user;
    free(memory);
}

static void out_of_memory(void **state) {
    (void)state;
    char *text = repeat("", "const a = [1, 2, \"b{c}\"] |> f(x=1) as h[0].1\n", 2000, "");
    volatile int failures = 0;
    for (volatile int limit = 0; limit < 40; limit++) {
        Failing failing = {.left = limit};
        dlc_allocator allocator = {.alloc = failing_alloc, .free = failing_free, .user = &failing};
        Boundary boundary = {0};
        Context context = {0};
        if (setjmp(boundary.jump) == 0) {
            context_init(&context, &allocator, &boundary);
            frontend_parse(&context, context_source(&context, "a.dl", text, strlen(text), false));
        } else {
            assert_int_equal(boundary.status, DLC_ERROR_OUT_OF_MEMORY);
            failures++;
        }
        context_finish(&context);
    }
    assert_true(failures > 0);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(precedence),      cmocka_unit_test(labels_and_paths),
        cmocka_unit_test(argument_names),  cmocka_unit_test(meshes),
        cmocka_unit_test(axis_functions),  cmocka_unit_test(newlines),
        cmocka_unit_test(statements),      cmocka_unit_test(declarations),
        cmocka_unit_test(docs_and_places), cmocka_unit_test(limits),
        cmocka_unit_test(errors),          cmocka_unit_test(shipped_files),
        cmocka_unit_test(format),          cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
