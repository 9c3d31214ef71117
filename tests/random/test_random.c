/* Random graphs, compiled through the public API, against the interpreter.
 *   test_random --count N [--seed S] [--variants all]   N graphs from seed S on
 *   test_random --count N --precision                   products in bf16 only
 *   test_random --count N --empty                       axes may be empty, and most are
 *   test_random --count N --casts                       casts, and what is exact, to the bit
 *   test_random --rows                                  every row of scalar.def
 *   test_random --one SEED                              one graph in every variant, its IR printed
 * The environment's RANDOM_TARGET and RANDOM_DEVICE compile for and run on another device than the
 * CPU, RANDOM_MESH for ranks, of which RANDOM_DEVICE then has as many. Graphs are compiled forty to
 * a plan, each plan in a process of its own, so that a crash is one failed graph and not the end of
 * the test. */
#include "tests/random/batch.h"
#include "tests/unit/needs.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PER_BATCH = 40, SECONDS_PER_BATCH = 300, MOST_SHOWN = 20, NO_VALUE = -1 };

/* What a child leaves for its parent, in shared memory. */
typedef struct Board {
    Outcome outcomes[BATCH_MAX];
    bool compiled;
    char message[OUTCOME_TEXT];
    /* For the search: ids of the results' values, and of what the first result's op reads. */
    int32_t results[GRAPH_RESULTS], operands[64], n_operands;
    char op_text[OUTCOME_TEXT];
} Board;

/* Seeds first … first + count - 1 in one plan; `only` (an id, or NO_VALUE) makes that value the one
 * result of a single graph. */
typedef struct Job {
    uint64_t first;
    int32_t count, only;
    const Variant *variant;
    bool print;
} Job;

static GraphSource source; /* of all graphs of this process */
static bool empty;         /* their dims may be 0 */

static void tell_values(Graph *graph, Board *board) {
    Op *yield = block_yield(graph->func->body);
    for (int32_t i = 0; i < yield->n_operands && i < GRAPH_RESULTS; i++) {
        board->results[i] = yield->operands[i]->id;
    }
    Op *op = yield->operands[0]->op;
    if (!op) {
        return;
    }
    for (int32_t i = 0; i < op->n_operands && i < 64; i++) {
        if (op->operands[i]->op) {
            board->operands[board->n_operands++] = op->operands[i]->id;
        }
    }
    Str text;
    str_init(&text, NULL);
    op_print(op, &text);
    snprintf(board->op_text, sizeof board->op_text, "%.590s", str_text(&text));
    str_finish(&text);
}

static void work(const Job *job, Board *board) {
    Batch *batch = malloc(sizeof *batch);
    batch_init(batch);
    if (setjmp(batch->boundary.jump)) {
        snprintf(board->message, sizeof board->message, "the test's own graphs: boundary left");
        return;
    }
    batch->module = module_create(&batch->context, "random");
    batch->precision = job->variant->precision;
    batch->source = source;
    batch->empty = empty;
    for (int32_t i = 0; i < job->count; i++) {
        Graph *graph = batch_add(batch, job->first + (uint64_t)i);
        if (job->only != NO_VALUE && !graph_only(graph, job->only)) {
            snprintf(board->message, sizeof board->message, "no such value");
            return;
        }
    }
    Graph *first = batch->graphs[0];
    func_renumber(first->func); /* ids before derivatives are expanded, as graph_only counts */
    if (job->count == 1) {
        tell_values(first, board);
    }
    if (batch_evaluate(batch, board->outcomes)) {
        board->compiled =
            batch_run(batch, job->variant, board->outcomes, board->message, sizeof board->message);
    } else {
        board->compiled = true;
    }
    if (job->print) {
        printf("%s", str_text(&batch->text));
        fflush(stdout);
    }
    batch_finish(batch);
    free(batch);
}

/* Runs the job in a child. False: it died, and board->message says how. */
static bool run_job(const Job *job, Board *board) {
    memset(board, 0, sizeof *board);
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) {
        snprintf(board->message, sizeof board->message, "fork failed");
        return false;
    }
    if (child == 0) {
        alarm(SECONDS_PER_BATCH);
        work(job, board);
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) {
        snprintf(board->message, sizeof board->message, "the process died: %s",
                 strsignal(WTERMSIG(status)));
        return false;
    }
    if (WEXITSTATUS(status) != 0) {
        if (!board->message[0]) {
            snprintf(board->message, sizeof board->message, "the process ended with status %d",
                     WEXITSTATUS(status));
        }
        return false;
    }
    return board->compiled;
}

static bool job_good(const Job *job, Board *board) {
    bool ran = run_job(job, board);
    for (int32_t i = 0; i < job->count && ran; i++) {
        ran = board->outcomes[i].verdict == VERDICT_GOOD;
    }
    return ran;
}

static const char *reason(const Board *board) {
    return board->outcomes[0].verdict == VERDICT_BAD ? board->outcomes[0].message
           : board->message[0]                       ? board->message
                                                     : "not run";
}

/* From a failing graph to the first value that is wrong where all that its op reads are right.
 * Prints the smaller graph. */
static void reduce(uint64_t seed, const Variant *variant, Board *board) {
    Job job = {.first = seed, .count = 1, .only = NO_VALUE, .variant = variant};
    int32_t failing = NO_VALUE;
    int32_t result = board->outcomes[0].result;
    Board *probe =
        mmap(NULL, sizeof *probe, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (probe == MAP_FAILED) {
        return;
    }
    job_good(&job, probe);
    if (result >= 0) { /* does it fail alone? */
        failing = probe->results[result];
        job.only = failing;
        if (job_good(&job, probe)) {
            failing = NO_VALUE; /* it needs the other results too */
        }
    }
    for (bool moved = failing != NO_VALUE; moved;) {
        moved = false;
        int32_t operands[64], n = probe->n_operands;
        memcpy(operands, probe->operands, sizeof operands);
        for (int32_t i = 0; i < n && !moved; i++) {
            job.only = operands[i];
            if (!job_good(&job, probe) && probe->outcomes[0].verdict == VERDICT_BAD) {
                failing = operands[i];
                moved = true;
            }
        }
    }
    job.only = failing;
    job.print = true;
    printf("reduced:\n");
    job_good(&job, probe);
    if (failing != NO_VALUE) {
        printf("first wrong: %s\n  %s\n", probe->op_text, reason(probe));
    }
    munmap(probe, sizeof *probe);
}

static void report(uint64_t seed, const Variant *variant, Board *board, int *shown) {
    printf("FAILED seed %llu, %s: %s\n", (unsigned long long)seed, variant->name, reason(board));
    if (++*shown <= MOST_SHOWN) {
        Board kept = *board;
        reduce(seed, variant, &kept);
    }
    printf("  again: test_random %s--one %llu\n", empty ? "--empty " : "",
           (unsigned long long)seed);
    fflush(stdout);
}

/* One plan of graphs; failures are tried again each alone. Returns how many graphs failed. */
static int run_batch(uint64_t first, int32_t count, const Variant *variant, Board *board,
                     int *shown) {
    Job job = {.first = first, .count = count, .only = NO_VALUE, .variant = variant};
    if (job_good(&job, board)) {
        return 0;
    }
    bool *suspect = calloc((size_t)count, sizeof *suspect);
    int failed = 0, alone = 0;
    for (int32_t i = 0; suspect && i < count; i++) {
        suspect[i] = board->outcomes[i].verdict != VERDICT_GOOD;
        failed += suspect[i];
    }
    Board whole = *board;
    for (int32_t i = 0; suspect && i < count; i++) {
        Job single = {
            .first = first + (uint64_t)i, .count = 1, .only = NO_VALUE, .variant = variant};
        if (suspect[i] && !job_good(&single, board)) {
            report(single.first, variant, board, shown);
            alone++;
        }
    }
    if (alone == 0) {
        printf("FAILED seeds %llu to %llu together, %s: %s (each alone is right)\n",
               (unsigned long long)first, (unsigned long long)(first + (uint64_t)count - 1),
               variant->name, whole.message);
        for (int32_t i = 0; suspect && i < count; i++) {
            if (whole.outcomes[i].verdict == VERDICT_BAD) {
                printf("  %llu: %s\n", (unsigned long long)(first + (uint64_t)i),
                       whole.outcomes[i].message);
            }
        }
        alone = failed > 0 ? failed : 1;
    }
    free(suspect);
    return alone;
}

static int run_one(uint64_t seed, Board *board) {
    int failed = 0;
    for (int v = 0; v < N_VARIANTS; v++) {
        if (source != GRAPHS_RANDOM && VARIANTS[v].precision) {
            continue;
        }
        Job job = {
            .first = seed, .count = 1, .only = NO_VALUE, .variant = &VARIANTS[v], .print = v == 0};
        bool good = job_good(&job, board);
        printf("seed %llu, %s: %s\n", (unsigned long long)seed, VARIANTS[v].name,
               good ? "right" : reason(board));
        if (!good) {
            Board kept = *board;
            reduce(seed, &VARIANTS[v], &kept);
        }
        failed += !good;
    }
    return failed;
}

int main(int argc, char **argv) {
    uint64_t seed = 0, count = 200, one = 0;
    bool has_one = false, all = false, precise = false;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--count") && more) {
            count = strtoull(argv[++i], NULL, 10);
        } else if (!strcmp(argv[i], "--seed") && more) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (!strcmp(argv[i], "--one") && more) {
            one = strtoull(argv[++i], NULL, 10);
            has_one = true;
        } else if (!strcmp(argv[i], "--variants") && more) {
            all = !strcmp(argv[++i], "all");
        } else if (!strcmp(argv[i], "--precision")) {
            precise = true;
        } else if (!strcmp(argv[i], "--empty")) {
            empty = true;
        } else if (!strcmp(argv[i], "--casts")) {
            source = GRAPHS_CASTS;
        } else if (!strcmp(argv[i], "--rows")) {
            source = GRAPHS_ROWS;
            count = OP_N_SCALAR;
        } else {
            fprintf(stderr,
                    "usage: test_random [--count N] [--seed S] [--variants all] [--one SEED] "
                    "[--precision] [--empty] [--casts] [--rows]\n");
            return 2;
        }
    }
    if (getenv("DLC_CUDA_PATH") && !cudasim_can_compile()) {
        return TEST_SKIPPED;
    }
    Board *board =
        mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) {
        return 2;
    }
    if (has_one) {
        return run_one(one, board) ? 1 : 0;
    }
    int failed = 0, shown = 0;
    uint64_t batch = seed / PER_BATCH;
    for (uint64_t done = 0; done < count; batch++) {
        int32_t n = (int32_t)(count - done < PER_BATCH ? count - done : PER_BATCH);
        /* Every graph with all passes on; a third of the plans also in one of the other ways. */
        for (uint64_t v = 0; v < N_VARIANTS; v++) {
            bool wanted = precise                  ? VARIANTS[v].precision && !VARIANTS[v].skip
                          : source == GRAPHS_CASTS ? !VARIANTS[v].precision
                          : source == GRAPHS_ROWS  ? v == 0
                                                   : all || v == 0 || batch % 6 == v;
            if (wanted) {
                failed += run_batch(seed + done, n, &VARIANTS[v], board, &shown);
            }
        }
        done += (uint64_t)n;
    }
    printf("%llu graphs from seed %llu: %d failed\n", (unsigned long long)count,
           (unsigned long long)seed, failed);
    munmap(board, sizeof *board);
    return failed ? 1 : 0;
}
