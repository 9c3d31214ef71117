/* Every rule of passes/rules.def, both sides evaluated on special values: an EXACT rule must agree
 * in every bit (any NaN equals any NaN), a FAST one within rounding wherever both sides are
 * ordinary numbers. Also: a rule's replacement never has more ops than its pattern, so that
 * rewriting ends. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ir/interp.h"
#include "passes/rules.h"

static const double special_values[] = {0.0,     -0.0,   1.0,  -1.0, 2.0,      0.5,
                                        0.12345, -3.75,  1e30, -1e3, INFINITY, -INFINITY,
                                        DBL_MIN, 5e-324, NAN,  7.0};
enum { N_SPECIAL = (int)(sizeof(special_values) / sizeof(special_values[0])) };

static bool code_is_logic(OpCode code) {
    return op_info(code)->scalar_class == CLASS_BOOL;
}

/* Sets is_bool[v] for the variables that stand where a bool is needed; returns whether the node is
 * bool. */
static bool infer_bools(const Pattern *pattern, bool want_bool, bool *is_bool) {
    if (pattern->kind == PATTERN_VARIABLE) {
        is_bool[pattern->variable] |= want_bool;
        return want_bool;
    }
    if (pattern->kind == PATTERN_OP) {
        bool logic = code_is_logic(pattern->op);
        for (int i = 0; i < pattern->n; i++) {
            infer_bools(pattern->a[i], logic || (pattern->op == OP_select && i == 0), is_bool);
        }
    }
    return want_bool;
}

static double evaluate(const Pattern *pattern, const double *variables) {
    if (pattern->kind == PATTERN_VARIABLE) {
        return variables[pattern->variable];
    }
    if (pattern->kind == PATTERN_CONSTANT) {
        return pattern->value;
    }
    double operands[3];
    for (int i = 0; i < pattern->n; i++) {
        operands[i] = evaluate(pattern->a[i], variables);
    }
    if (code_is_logic(pattern->op)) {
        int64_t integers[3] = {(int64_t)operands[0], pattern->n > 1 ? (int64_t)operands[1] : 0, 0};
        return (double)scalar_eval_int(pattern->op, DT_BOOL, integers);
    }
    return scalar_eval_float(pattern->op, operands);
}

static int count_ops(const Pattern *pattern) {
    if (pattern->kind != PATTERN_OP) {
        return 0;
    }
    int n = 1;
    for (int i = 0; i < pattern->n; i++) {
        n += count_ops(pattern->a[i]);
    }
    return n;
}

static bool same_bits(double a, double b) {
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static bool nearly(double a, double b) {
    bool ordinary = isfinite(a) && isfinite(b);
    return !ordinary || fabs(a - b) <= 1e-9 * (1.0 + fabs(a) + fabs(b));
}

static void check_rule(const Rule *rule) {
    bool is_bool[PATTERN_VARIABLES] = {false};
    infer_bools(rule->pattern, false, is_bool);
    int n_compared = 0;
    for (int i = 0; i < N_SPECIAL * N_SPECIAL * 2; i++) {
        int choice[PATTERN_VARIABLES] = {i % N_SPECIAL, i / N_SPECIAL % N_SPECIAL,
                                         i / N_SPECIAL / N_SPECIAL};
        double variables[PATTERN_VARIABLES];
        for (int v = 0; v < PATTERN_VARIABLES; v++) {
            variables[v] = is_bool[v] ? (double)(choice[v] & 1) : special_values[choice[v]];
        }
        double before = evaluate(rule->pattern, variables);
        double after = evaluate(rule->replacement, variables);
        bool agree = rule->exact ? same_bits(before, after) : nearly(before, after);
        if (!agree) {
            fail_msg("rule %s: x=%g y=%g z=%g gives %.17g before and %.17g after", rule->name,
                     variables[0], variables[1], variables[2], before, after);
        }
        n_compared += isfinite(before) && isfinite(after);
    }
    if (n_compared == 0) {
        fail_msg("rule %s was never compared on ordinary numbers", rule->name);
    }
}

static void test_every_rule(void **state) {
    (void)state;
    assert_true(rules_count > 40);
    for (int i = 0; i < rules_count; i++) {
        check_rule(&rules_table[i]);
    }
}

static void test_rules_end(void **state) {
    (void)state;
    for (int i = 0; i < rules_count; i++) {
        if (count_ops(rules_table[i].replacement) > count_ops(rules_table[i].pattern)) {
            fail_msg("rule %s grows the program", rules_table[i].name);
        }
    }
}

/* The harness itself must be able to fail: x - x = 0 is wrong at infinities and NaN. */
static void test_harness_finds_a_wrong_rule(void **state) {
    (void)state;
    const Pattern x = {.kind = PATTERN_VARIABLE};
    const Pattern difference = {.kind = PATTERN_OP, .op = OP_sub, .n = 2, .a = {&x, &x}};
    const Pattern zero = {.kind = PATTERN_CONSTANT, .value = 0};
    int n_wrong = 0;
    for (int i = 0; i < N_SPECIAL; i++) {
        double variables[PATTERN_VARIABLES] = {special_values[i]};
        n_wrong += !same_bits(evaluate(&difference, variables), evaluate(&zero, variables));
    }
    assert_int_equal(n_wrong, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_rule),
        cmocka_unit_test(test_rules_end),
        cmocka_unit_test(test_harness_finds_a_wrong_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
