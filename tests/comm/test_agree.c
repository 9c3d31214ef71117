/* What ranks are to have in common (runtime/session/agree.h), on threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "runtime/session/agree.h"
#include "tests/comm/ranks.h"
#include "tests/unit/plain_allocator.h"

#include <stdlib.h>

enum { SAME, ROWS, SUBJECTS, MORE_FACTS, MANY, MANY_LAST };

static void facts_add(const Rank *rank, AgreeTable *table) {
    bool odd = rank->rank == 2 || rank->rank == 4;
    int kind = rank->number;
    agree_add(table, "the library's version", "%d.%d", 1, 2);
    agree_add(table, "the number of rows of 'train'", "%d",
              1200 - (kind == ROWS && odd ? rank->rank / 2 : 0));
    agree_add_hash(table, kind == SUBJECTS && odd ? "the dim 'B'" : "the program", 0xabcdef);
    if (kind == MORE_FACTS && odd) {
        agree_add(table, "the seed", "%d", 7);
    }
    for (int i = 0; i < 100 && kind >= MANY; i++) {
        agree_add(table, "a counter", "%d", i + (kind == MANY_LAST && odd && i == 99));
    }
}

static void body_agree(Rank *rank) {
    static const char *const wanted[] = {
        [SAME] = NULL,
        [ROWS] = "ranks differ in the number of rows of 'train': rank 2 has 1199, rank 0 has 1200",
        [SUBJECTS] =
            "ranks differ in what they do: rank 2 has the dim 'B' 0000000000abcdef, rank 0 "
            "has the program 0000000000abcdef",
        [MORE_FACTS] = "ranks differ in what they do: rank 2 has the seed 7, rank 0 has no more to "
                       "compare",
        [MANY] = NULL,
        [MANY_LAST] = "ranks differ in what else the ranks have: rank 2 has ",
    };
    AgreeTable *table = calloc(1, sizeof(*table));
    char message[COMM_MESSAGE_BYTES] = "";
    facts_add(rank, table);
    const char *text = rank->n > 2 ? wanted[rank->number] : NULL;
    for (int round = 0; round < 2; round++) { /* they go on after a difference */
        dlc_status status = agree_compare(rank->comm, &plain_allocator, table, message);
        rank_expect(rank, status == (text ? DLC_ERROR_MISMATCH : DLC_OK), "status %d: %s",
                    (int)status, message);
        rank_expect(rank, !text || strncmp(message, text, strlen(text)) == 0, "said: %s", message);
    }
    free(table);
}

static void test_agree(void **state) {
    (void)state;
    static const int32_t ranks[] = {1, 2, 3, 5};
    for (size_t i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++) {
        for (int kind = SAME; kind <= MANY_LAST; kind++) {
            ranks_run(&transport_local, ranks[i], 1, kind, body_agree);
        }
    }
}

static void body_gone(Rank *rank) {
    AgreeTable *table = calloc(1, sizeof(*table));
    char message[COMM_MESSAGE_BYTES] = "";
    if (rank->rank != 1) {
        dlc_status status = agree_compare(rank->comm, &plain_allocator, table, message);
        rank_expect(rank, status != DLC_OK && strstr(message, "rank 1 has ended"), "status %d: %s",
                    (int)status, message);
    }
    free(table);
}

static void test_gone(void **state) {
    (void)state;
    ranks_run(&transport_local, 3, 1, 0, body_gone);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agree),
        cmocka_unit_test(test_gone),
    };
    return cmocka_run_group_tests_name("comm agree", tests, NULL, NULL);
}
