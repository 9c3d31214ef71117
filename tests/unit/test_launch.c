/* Which rank a process is: every launcher's variables, what several say at once, addresses, lists
 * of devices. */
#include "tools/launch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { VARIABLES = 16 };

typedef struct Case {
    const char *about;
    const char *variables[VARIABLES];
    int64_t rank, ranks, local_rank, local_size;
    bool by_mpi, is_bound;
    const char *source, *address; /* source NULL: nothing told */
} Case;

static bool detect(const LaunchFlags *flags, const char *const *variables, Launch *out,
                   char *message) {
    static const LaunchFlags none = {-1, -1, NULL};
    char *environment[VARIABLES + 2] = {(char *)(uintptr_t) "HOME=/root"};
    for (size_t i = 0; i < VARIABLES && variables[i]; i++) {
        environment[i + 1] = (char *)(uintptr_t)variables[i];
    }
    message[0] = '\0';
    return launch_detect(flags ? flags : &none, environment, out, message);
}

static const Case cases[] = {
    {"nothing told", {NULL}, 0, 1, -1, -1, false, false, NULL, ""},
    {"torchrun, whose own store has the port",
     {"RANK=5", "WORLD_SIZE=8", "LOCAL_RANK=1", "LOCAL_WORLD_SIZE=4", "MASTER_ADDR=node0.example",
      "MASTER_PORT=29500", "TORCHELASTIC_RUN_ID=none", "TORCHELASTIC_USE_AGENT_STORE=True"},
     5,
     8,
     1,
     4,
     false,
     false,
     "RANK and WORLD_SIZE",
     "node0.example:29501"},
    {"PyTorchJob",
     {"RANK=1", "WORLD_SIZE=2", "MASTER_ADDR=job-master-0", "MASTER_PORT=23456"},
     1,
     2,
     -1,
     -1,
     false,
     false,
     "RANK and WORLD_SIZE",
     "job-master-0:23456"},
    {"no port: the usual one; an IPv6 address",
     {"RANK=1", "WORLD_SIZE=2", "MASTER_ADDR=fd00::2"},
     1,
     2,
     -1,
     -1,
     false,
     false,
     "RANK and WORLD_SIZE",
     "[fd00::2]:29500"},
    {"of one rank it is plain which",
     {"WORLD_SIZE=1"},
     0,
     1,
     -1,
     -1,
     false,
     false,
     "RANK and WORLD_SIZE",
     ""},
    {"Open MPI, bound, all on one machine",
     {"OMPI_COMM_WORLD_RANK=1", "OMPI_COMM_WORLD_SIZE=2", "OMPI_COMM_WORLD_LOCAL_RANK=1",
      "OMPI_COMM_WORLD_LOCAL_SIZE=2", "OMPI_MCA_orte_bound_at_launch=1", "PMIX_RANK=1",
      "PMIX_NAMESPACE=1534787585", "OMPI_MCA_ess_base_jobid=1534787585"},
     1,
     2,
     1,
     2,
     true,
     true,
     "Open MPI's mpirun",
     "127.0.0.1:20100"},
    {"Open MPI on several machines tells no address",
     {"OMPI_COMM_WORLD_RANK=3", "OMPI_COMM_WORLD_SIZE=4", "OMPI_COMM_WORLD_LOCAL_RANK=1",
      "OMPI_COMM_WORLD_LOCAL_SIZE=2", "PMIX_RANK=3"},
     3,
     4,
     1,
     2,
     true,
     false,
     "Open MPI's mpirun",
     ""},
    {"mpirun within Slurm: the step is that of its daemons",
     {"OMPI_COMM_WORLD_RANK=3", "OMPI_COMM_WORLD_SIZE=4", "OMPI_COMM_WORLD_LOCAL_RANK=1",
      "OMPI_COMM_WORLD_LOCAL_SIZE=2", "PMIX_RANK=3", "SLURM_STEP_ID=0", "SLURM_PROCID=1",
      "SLURM_STEP_NUM_TASKS=2", "SLURM_NTASKS=4"},
     3,
     4,
     1,
     2,
     true,
     false,
     "Open MPI's mpirun",
     ""},
    {"torchrun within Slurm: the step is that of the torchruns",
     {"RANK=5", "WORLD_SIZE=8", "LOCAL_RANK=1", "MASTER_ADDR=a", "MASTER_PORT=1000",
      "TORCHELASTIC_RUN_ID=7", "SLURM_STEP_ID=0", "SLURM_PROCID=1", "SLURM_STEP_NUM_TASKS=2"},
     5,
     8,
     1,
     -1,
     false,
     false,
     "RANK and WORLD_SIZE",
     "a:1000"},
    {"Hydra",
     {"PMI_RANK=2", "PMI_SIZE=3", "MPI_LOCALRANKID=2", "MPI_LOCALNRANKS=3", "PMI_FD=8"},
     2,
     3,
     2,
     3,
     true,
     false,
     "PMI",
     "127.0.0.1:29500"},
    {"PMIx alone leaves the number to MPI",
     {"PMIX_RANK=2", "PMIX_NAMESPACE=x"},
     2,
     0,
     -1,
     -1,
     true,
     false,
     "PMIx",
     ""},
    {"srun --mpi=pmix: PMIx's rank, the rest is Slurm's",
     {"PMIX_RANK=2", "PMIX_NAMESPACE=slurm.pmix.7.0", "SLURM_STEP_ID=0", "SLURM_PROCID=2",
      "SLURM_STEP_NUM_TASKS=4", "SLURM_LOCALID=0", "SLURM_STEP_TASKS_PER_NODE=2(x2)",
      "SLURM_NODEID=1", "SLURM_STEP_NODELIST=n[3-4]"},
     2,
     4,
     0,
     2,
     true,
     false,
     "PMIx",
     "n3:23321"},
    {"srun",
     {"SLURM_STEP_ID=1", "SLURM_JOB_ID=77", "SLURM_PROCID=4", "SLURM_NTASKS=5",
      "SLURM_STEP_NUM_TASKS=5", "SLURM_LOCALID=0", "SLURM_NODEID=2",
      "SLURM_STEP_TASKS_PER_NODE=2(x2),1", "SLURM_STEP_NODELIST=rack[2,5]n[07-09],other",
      "SLURM_CPU_BIND_TYPE=mask_cpu:"},
     4,
     5,
     0,
     1,
     false,
     true,
     "srun",
     "rack2n07:30882"},
    {"a batch script of Slurm: one process",
     {"SLURM_NTASKS=4", "SLURM_PROCID=0", "SLURM_JOB_ID=77", "SLURM_STEP_ID=batch"},
     0,
     1,
     -1,
     -1,
     false,
     false,
     NULL,
     ""},
    {"a step of one task",
     {"SLURM_STEP_ID=0", "SLURM_STEP_NUM_TASKS=1", "SLURM_PROCID=0"},
     0,
     1,
     -1,
     -1,
     false,
     false,
     NULL,
     ""},
    {"two that agree",
     {"RANK=1", "WORLD_SIZE=2", "MASTER_ADDR=a", "SLURM_STEP_ID=0", "SLURM_PROCID=1",
      "SLURM_STEP_NUM_TASKS=2"},
     1,
     2,
     -1,
     -1,
     false,
     false,
     "RANK and WORLD_SIZE",
     "a:29500"},
    {"an address given to an MPI's launcher",
     {"OMPI_COMM_WORLD_RANK=3", "OMPI_COMM_WORLD_SIZE=4", "MASTER_ADDR=b", "MASTER_PORT=7"},
     3,
     4,
     -1,
     -1,
     true,
     false,
     "Open MPI's mpirun",
     "b:7"},
    {"empty variables are not set", {"RANK=", "WORLD_SIZE="}, 0, 1, -1, -1, false, false, NULL, ""},
};

static void test_sources(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const Case *c = &cases[i];
        char message[LAUNCH_TEXT_BYTES];
        Launch launch;
        print_message("%s\n", c->about);
        if (!detect(NULL, c->variables, &launch, message)) {
            fail_msg("%s", message);
        }
        assert_int_equal(launch.rank, c->rank);
        assert_int_equal(launch.ranks, c->ranks);
        assert_int_equal(launch.local_rank, c->local_rank);
        assert_int_equal(launch.local_size, c->local_size);
        assert_int_equal(launch.by_mpi, c->by_mpi);
        assert_int_equal(launch.is_bound, c->is_bound);
        assert_string_equal(launch.source ? launch.source : "none", c->source ? c->source : "none");
        assert_string_equal(launch.address, c->address);
    }
}

static const struct {
    const char *variables[VARIABLES], *says[3];
} wrong[] = {
    {{"RANK=1", "WORLD_SIZE=4", "MASTER_ADDR=a", "OMPI_COMM_WORLD_RANK=1",
      "OMPI_COMM_WORLD_SIZE=2"},
     {"RANK and WORLD_SIZE: rank 1 of 4", "Open MPI's mpirun: rank 1 of 2"}},
    {{"OMPI_COMM_WORLD_RANK=1", "OMPI_COMM_WORLD_SIZE=2", "PMIX_RANK=0"},
     {"Open MPI's mpirun: rank 1 of 2", "PMIx: rank 0"}},
    {{"WORLD_SIZE=1", "PMI_RANK=0", "PMI_SIZE=2"}, {"rank 0 of 1", "PMI: rank 0 of 2"}},
    {{"OMPI_COMM_WORLD_RANK=0", "OMPI_COMM_WORLD_SIZE=1", "SLURM_NTASKS=4", "SLURM_STEP_ID=0",
      "SLURM_PROCID=2", "SLURM_STEP_NUM_TASKS=4"},
     {"Slurm started 4", "OMPI_COMM_WORLD_SIZE", "srun --mpi=pmix"}},
    {{"RANK=0", "WORLD_SIZE=1", "SLURM_STEP_ID=0", "SLURM_PROCID=2", "SLURM_STEP_NUM_TASKS=4"},
     {"RANK and WORLD_SIZE: rank 0 of 1", "srun: rank 2 of 4"}},
    {{"RANK=1", "WORLD_SIZE=2"}, {"MASTER_ADDR", "MASTER_PORT"}},
    {{"WORLD_SIZE=2", "MASTER_ADDR=a"}, {"WORLD_SIZE is 2 and RANK is not set"}},
    {{"RANK=2"}, {"RANK is 2 and WORLD_SIZE is not set", "Unset RANK"}},
    {{"RANK=2", "WORLD_SIZE=2", "MASTER_ADDR=a"}, {"RANK is 2 and WORLD_SIZE is 2", "from 0"}},
    {{"RANK=-1", "WORLD_SIZE=2", "MASTER_ADDR=a"}, {"RANK is '-1'"}},
    {{"RANK=0", "WORLD_SIZE=2x", "MASTER_ADDR=a"}, {"WORLD_SIZE is '2x'"}},
    {{"RANK=0", "WORLD_SIZE=0"}, {"WORLD_SIZE is 0"}},
    {{"RANK=0", "WORLD_SIZE=5000", "MASTER_ADDR=a"}, {"WORLD_SIZE is 5000", "4096"}},
    {{"RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=a", "MASTER_PORT=70000"}, {"MASTER_PORT is '70000'"}},
    {{"SLURM_STEP_ID=0", "SLURM_PROCID=1", "SLURM_STEP_NUM_TASKS=2"}, {"--rendezvous HOST:PORT"}},
};

static void test_mistakes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char message[LAUNCH_TEXT_BYTES];
        Launch launch;
        assert_false(detect(NULL, wrong[i].variables, &launch, message));
        for (size_t k = 0; k < 3 && wrong[i].says[k]; k++) {
            if (!strstr(message, wrong[i].says[k])) {
                fail_msg("'%s' does not say '%s'", message, wrong[i].says[k]);
            }
        }
    }
}

/* The same on all ranks of a job; another for the same job when it is started again. */
static void test_job(void **state) {
    (void)state;
    const char *first[VARIABLES] = {"RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=a",
                                    "TORCHELASTIC_RUN_ID=j", "TORCHELASTIC_RESTART_COUNT=0"};
    char message[LAUNCH_TEXT_BYTES];
    Launch launch, other;
    assert_true(detect(NULL, first, &launch, message));
    first[0] = "RANK=1";
    assert_true(detect(NULL, first, &other, message));
    assert_string_equal(launch.job, "j.0");
    assert_string_equal(other.job, launch.job);
    first[4] = "TORCHELASTIC_RESTART_COUNT=1";
    assert_true(detect(NULL, first, &other, message));
    assert_string_equal(other.job, "j.1");
}

static void test_flags(void **state) {
    (void)state;
    const char *none[VARIABLES] = {NULL}, *said[VARIABLES] = {"RANK=1", "WORLD_SIZE=2"};
    static const struct {
        LaunchFlags flags;
        const char *address; /* NULL: wrong */
        const char *says;
    } rows[] = {{{1, 2, "host:1234"}, "host:1234", NULL},
                {{1, 2, "host"}, "host:29500", NULL},
                {{1, 2, "[::1]:99"}, "[::1]:99", NULL},
                {{1, 2, "::1"}, "[::1]:29500", NULL},
                {{0, 1, NULL}, "", NULL},
                {{-1, 1, NULL}, "", NULL},
                {{-1, 2, "host:1"}, NULL, "belong together"},
                {{1, -1, "host:1"}, NULL, "belong together"},
                {{-1, -1, "host:1"}, NULL, "--rendezvous needs --rank"},
                {{2, 2, "host:1"}, NULL, "--rank is 2 and --ranks is 2"},
                {{1, 2, "host:"}, NULL, "HOST:PORT"},
                {{1, 2, ":1234"}, NULL, "HOST:PORT"},
                {{1, 2, "host:0"}, NULL, "HOST:PORT"},
                {{1, 2, "host:65536"}, NULL, "HOST:PORT"},
                {{1, 2, NULL}, NULL, "--rendezvous HOST:PORT"}};
    char message[LAUNCH_TEXT_BYTES];
    Launch launch;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool good = detect(&rows[i].flags, none, &launch, message);
        assert_int_equal(good, rows[i].address != NULL);
        assert_true(good || strstr(message, rows[i].says));
        assert_true(!good || strcmp(launch.address, rows[i].address) == 0);
    }
    assert_true(detect(&rows[0].flags, said, &launch, message)); /* they agree */
    assert_string_equal(launch.source, "--rank and --ranks");
    const LaunchFlags other = {0, 2, "host:1"};
    assert_false(detect(&other, said, &launch, message));
    assert_non_null(strstr(message, "--rank and --ranks: rank 0 of 2"));
    assert_non_null(strstr(message, "RANK and WORLD_SIZE: rank 1 of 2"));
}

static void test_share(void **state) {
    (void)state;
    Launch launch = {.ranks = 8, .local_size = 4, .is_bound = true};
    assert_int_equal(launch_threads(&launch, 1, 16), 1); /* to a core each */
    assert_int_equal(launch_threads(&launch, 4, 16), 4);
    assert_int_equal(launch_threads(&launch, 8, 16), 4); /* two to a socket */
    assert_int_equal(launch_threads(&launch, 2, 2), 1);
    launch.is_bound = false;
    assert_int_equal(launch_threads(&launch, 16, 16), 0);
    launch = (Launch){.ranks = 4, .local_size = -1, .is_bound = true};
    assert_int_equal(launch_threads(&launch, 4, 16), 0);
}

static void test_devices(void **state) {
    (void)state;
    char message[LAUNCH_TEXT_BYTES], device[32];
    int64_t count = -1;
    static const struct {
        const char *device;
        int64_t count; /* -1: wrong */
    } lists[] = {{"cuda:0-7", 8}, {"cuda:0,2,5", 3},   {"cuda:3-3", 1},    {"cuda:1,4-6", 4},
                 {"cuda:0", 0},   {"cuda", 0},         {NULL, 0},          {"cpu*2", 0},
                 {"cuda:0*4", 0}, {"cuda:3-1", -1},    {"cuda:0-", -1},    {"cuda:,1", -1},
                 {"cuda:1,", -1}, {"cuda:GPU-8-1", 0}, {"cuda:0-9999", -1}};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        bool good = launch_list(lists[i].device, &count, message);
        assert_int_equal(good ? count : -1, lists[i].count);
        assert_true(good || strstr(message, "is no list of devices"));
    }
    static const struct {
        const char *device;
        int64_t local_rank;
        const char *gives; /* NULL: wrong */
    } rows[] = {
        {"cuda:0-7", 3, "cuda:3"},  {"cuda:2,5,7-9", 3, "cuda:8"}, {"cuda:2,5,7-9", 0, "cuda:2"},
        {"cuda:2,5", 2, NULL},      {"cuda:2,5", -1, NULL},        {"cuda", 2, "cuda:2"},
        {"cuda", -1, "cuda"},       {"cuda:1", 2, "cuda:1"},       {"cpu", 2, "cpu"},
        {"cuda:0*4", 1, "cuda:0*4"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool good =
            launch_device(rows[i].device, rows[i].local_rank, device, sizeof device, message);
        assert_int_equal(good, rows[i].gives != NULL);
        assert_true(!good || strcmp(device, rows[i].gives) == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sources), cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_job),     cmocka_unit_test(test_flags),
        cmocka_unit_test(test_share),   cmocka_unit_test(test_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
