/* Which rank of a job this process is. One row a launcher: which variables tell what; then what of
 * several that tell something is to be believed. */
#include "tools/launch.h"
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where rank 0 listens when a host is told and no port: torchrun's. */
#define USUAL_PORT "29500"

typedef enum SourceKind { BY_VARIABLES, BY_MPI, BY_SLURM } SourceKind;

typedef struct LaunchSource {
    const char *name; /* for messages */
    SourceKind kind;
    const char *rank, *size; /* variables; size NULL: only MPI itself tells */
    const char *local_rank, *local_size;
    const char *job;
} LaunchSource;

/* torch/distributed/run.py; Open MPI 4.1 and MPICH 4.0 as they print it; srun(1). */
static const LaunchSource sources[] = {
    {"RANK and WORLD_SIZE", BY_VARIABLES, "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE",
     "TORCHELASTIC_RUN_ID"},
    {"Open MPI's mpirun", BY_MPI, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
     "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_MCA_ess_base_jobid"},
    {"PMIx", BY_MPI, "PMIX_RANK", NULL, NULL, NULL, "PMIX_NAMESPACE"},
    {"PMI", BY_MPI, "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "PMI_JOBID"},
    {"srun", BY_SLURM, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", NULL,
     "SLURM_JOB_ID"},
};

enum { SOURCES = sizeof sources / sizeof sources[0], TORCH = 0, OPEN_MPI = 1, SLURM = SOURCES - 1 };

/* What one source tells. */
typedef struct Told {
    bool tells;
    int64_t rank, size; /* size -1: not told */
} Told;

static bool fail(char *message, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(char *message, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(message, LAUNCH_TEXT_BYTES, format, args);
    va_end(args);
    return false;
}

/* NULL where it is not set, or empty. */
static const char *variable(char *const *environment, const char *name) {
    size_t length = name ? strlen(name) : 0;
    for (; name && *environment; environment++) {
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') {
            const char *value = *environment + length + 1;
            return *value ? value : NULL;
        }
    }
    return NULL;
}

/* A whole number from 0 on, and nothing else. */
static bool whole(const char *text, int64_t *out) {
    char *end;
    errno = 0;
    long long number = *text >= '0' && *text <= '9' ? strtoll(text, &end, 10) : -1;
    if (number < 0 || errno || *end) {
        return false;
    }
    *out = number;
    return true;
}

static int64_t number_or(char *const *environment, const char *name, int64_t otherwise) {
    const char *text = variable(environment, name);
    int64_t number;
    return text && whole(text, &number) ? number : otherwise;
}

/* -- Who tells what -- */

static bool rank_within(const char *rank_name, int64_t rank, const char *size_name, int64_t size,
                        char *message) {
    if (size < 1 || size > LAUNCH_MOST_RANKS) {
        return fail(message, "%s is %lld: 1 to %d ranks can meet", size_name, (long long)size,
                    LAUNCH_MOST_RANKS);
    }
    return rank < size || fail(message, "%s is %lld and %s is %lld: ranks are numbered from 0",
                               rank_name, (long long)rank, size_name, (long long)size);
}

/* Slurm's variables are there in its batch scripts and shells too, where one process runs; a step
 * tells. */
static bool is_step(char *const *environment) {
    return number_or(environment, "SLURM_STEP_ID", -1) >= 0 &&
           number_or(environment, "SLURM_STEP_NUM_TASKS", 0) > 1;
}

static bool source_read(const LaunchSource *source, char *const *environment, Told *out,
                        char *message) {
    const char *rank = variable(environment, source->rank);
    const char *size = variable(environment, source->size);
    *out = (Told){.size = -1};
    if ((!rank && !size) || (source->kind == BY_SLURM && !is_step(environment))) {
        return true;
    }
    if (size && !whole(size, &out->size)) {
        return fail(message, "%s is '%s', not a number of ranks", source->size, size);
    }
    if (rank && !whole(rank, &out->rank)) {
        return fail(message, "%s is '%s', not a rank's number", source->rank, rank);
    }
    if (!rank && out->size != 1) { /* of one rank it is plain which */
        return fail(message, "%s is %s and %s is not set: which of them is this process?",
                    source->size, size, source->rank);
    }
    if (source->size && !size) {
        return fail(message,
                    "%s is %s and %s is not set: how many ranks are there? (Unset %s if nothing "
                    "started this process as one of several.)",
                    source->rank, rank, source->size, source->rank);
    }
    out->tells = true;
    return !size || rank_within(source->rank, out->rank, source->size, out->size, message);
}

static bool flags_read(const LaunchFlags *flags, Told *out, char *message) {
    *out = (Told){.size = -1};
    if (flags->rank < 0 && flags->ranks < 0) {
        return !flags->rendezvous ||
               fail(message,
                    "--rendezvous needs --rank and --ranks: which rank of how many is this?");
    }
    if (flags->ranks < 0 || (flags->rank < 0 && flags->ranks > 1)) {
        return fail(message, "--rank and --ranks belong together: which rank of how many is this?");
    }
    *out = (Told){true, flags->rank < 0 ? 0 : flags->rank, flags->ranks};
    return rank_within("--rank", out->rank, "--ranks", out->size, message);
}

/* "RANK and WORLD_SIZE say rank 1 of 4" */
static void told_text(const char *name, const Told *told, char *out, size_t n) {
    int length = snprintf(out, n, "%s: rank %lld", name, (long long)told->rank);
    if (told->size >= 0 && length > 0 && (size_t)length < n) {
        snprintf(out + length, n - (size_t)length, " of %lld", (long long)told->size);
    }
}

static bool disagree(const char *name, const Told *told, const char *other_name, const Told *other,
                     char *message) {
    char one[96], two[96];
    told_text(name, told, one, sizeof one);
    told_text(other_name, other, two, sizeof two);
    return fail(message,
                "who is this process? %s; %s. Unset the variables of whichever did not start it",
                one, two);
}

/* Whether `outer` may have started the launcher `inner`, so that what it tells is not of this
 * process: torchrun runs under anything, and daemons of an mpirun are tasks of srun. */
static bool is_outer(const LaunchSource *inner, const Told *inner_told, const LaunchSource *outer,
                     char *const *environment) {
    if (inner == &sources[TORCH]) {
        return variable(environment, "TORCHELASTIC_RUN_ID") != NULL;
    }
    return inner->kind == BY_MPI && inner_told->size > 1 &&
           (outer->kind == BY_SLURM || (inner == &sources[OPEN_MPI] && outer->size));
}

/* Every source that tells something against the first one; `first` SOURCES: the flags. */
static bool sources_agree(const Told told[], size_t first, const char *name, const Told *chosen,
                          char *const *environment, char *message) {
    for (size_t i = first == SOURCES ? 0 : first + 1; i < SOURCES; i++) {
        const Told *other = &told[i];
        if (!other->tells ||
            (first < SOURCES && is_outer(&sources[first], chosen, &sources[i], environment))) {
            continue;
        }
        bool sizes = chosen->size < 0 || other->size < 0 || chosen->size == other->size;
        if (!sizes && i == SLURM && chosen->size == 1 && first < SOURCES &&
            sources[first].kind == BY_MPI) {
            return fail(message,
                        "Slurm started %lld processes (SLURM_STEP_NUM_TASKS), and MPI takes this "
                        "one for its only rank (%s): they would all do the same work. Start them "
                        "with srun --mpi=pmix, or with mpirun",
                        (long long)other->size, sources[first].size);
        }
        if (!sizes || chosen->rank != other->rank) {
            return disagree(name, chosen, sources[i].name, other, message);
        }
    }
    return true;
}

/* -- Where rank 0 listens -- */

/* "host:port" of a host, which may be an IPv6 address, and a port. */
static void address_join(Launch *out, const char *host, const char *port) {
    bool is_bare = strchr(host, ':') != NULL && host[0] != '[';
    snprintf(out->address, sizeof out->address, is_bare ? "[%.255s]:%.8s" : "%.255s:%.8s", host,
             port);
}

/* A port that ranks of a job compute alike, below those that systems hand out. */
static void port_of(const char *job, char out[8]) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *at = job; *at; at++) {
        hash = (hash ^ (unsigned char)*at) * 16777619u;
    }
    snprintf(out, 8, "%u", 20000 + hash % 12000);
}

/* The first host of Slurm's "node[01-04,07],other": "node01". */
static void first_host(const char *list, char *out, size_t n) {
    size_t used = 0;
    bool inside = false, taken = false;
    for (const char *at = list; *at && (inside || *at != ',') && used + 1 < n; at++) {
        if (*at == '[') {
            inside = true;
            taken = false;
        } else if (*at == ']') {
            inside = false;
        } else if (inside && (*at == '-' || *at == ',')) {
            taken = true;
        } else if (!inside || !taken) {
            out[used++] = *at;
        }
    }
    out[used] = '\0';
}

static bool flag_address(Launch *out, const char *rendezvous, char *message) {
    const char *colon = strrchr(rendezvous, ':');
    bool has_port = colon && (strchr(rendezvous, ':') == colon || colon[-1] == ']');
    int64_t port = 0;
    if (!rendezvous[0] || strlen(rendezvous) > 255 || colon == rendezvous ||
        (has_port && (!whole(colon + 1, &port) || port < 1 || port > 65535))) {
        return fail(message, "--rendezvous takes HOST:PORT, where rank 0 listens, not '%.255s'",
                    rendezvous);
    }
    if (has_port) {
        snprintf(out->address, sizeof out->address, "%s", rendezvous);
    } else {
        address_join(out, rendezvous, USUAL_PORT);
    }
    return true;
}

/* MASTER_ADDR and MASTER_PORT. */
static bool master_address(Launch *out, char *const *environment, char *message) {
    const char *host = variable(environment, "MASTER_ADDR");
    const char *port = variable(environment, "MASTER_PORT");
    const char *taken = variable(environment, "TORCHELASTIC_USE_AGENT_STORE");
    int64_t number = 0;
    if (!host) {
        return true;
    }
    if (strlen(host) > 255) {
        return fail(message, "MASTER_ADDR is longer than a host's name can be");
    }
    if (port && (!whole(port, &number) || number < 1 || number > 65534)) {
        return fail(message, "MASTER_PORT is '%.32s', not a port's number", port);
    }
    /* torchrun's own store listens there already. */
    char next[24];
    snprintf(next, sizeof next, "%lld", (long long)number + 1);
    bool is_taken = port && taken && strcmp(taken, "True") == 0;
    address_join(out, host, is_taken ? next : port ? port : USUAL_PORT);
    return true;
}

/* What the launcher's variables say of the machine where rank 0 is. */
static void launcher_address(Launch *out, const LaunchSource *source, char *const *environment) {
    char host[256] = "", port[8] = USUAL_PORT;
    if (source != &sources[OPEN_MPI] && is_step(environment)) {
        const char *list = variable(environment, "SLURM_STEP_NODELIST");
        list = list ? list : variable(environment, "SLURM_JOB_NODELIST");
        first_host(list ? list : "", host, sizeof host);
    }
    if (!host[0] && out->ranks > 0 && out->local_size == out->ranks) {
        snprintf(host, sizeof host, "127.0.0.1"); /* all are here */
    }
    if (host[0] && out->job[0]) {
        port_of(out->job, port);
    }
    if (host[0]) {
        address_join(out, host, port);
    }
}

static bool address_find(Launch *out, const LaunchFlags *flags, const LaunchSource *source,
                         char *const *environment, char *message) {
    if (flags->rendezvous) {
        return flag_address(out, flags->rendezvous, message);
    }
    if (!master_address(out, environment, message)) {
        return false;
    }
    if (!out->address[0] && source && source->kind != BY_VARIABLES) {
        launcher_address(out, source, environment);
    }
    if (!out->address[0] && !out->by_mpi && out->ranks != 1) {
        return fail(message, source && source->kind == BY_VARIABLES
                                 ? "WORLD_SIZE is set and MASTER_ADDR is not: where does rank 0 "
                                   "listen? Set MASTER_ADDR and MASTER_PORT"
                                 : "where does rank 0 listen? Give --rendezvous HOST:PORT, or set "
                                   "MASTER_ADDR and MASTER_PORT");
    }
    return true;
}

/* -- All together -- */

/* "2(x3),1" at node 0: 2. */
static int64_t slurm_local_size(char *const *environment) {
    const char *text = variable(environment, "SLURM_STEP_TASKS_PER_NODE");
    int64_t node = number_or(environment, "SLURM_NODEID", 0);
    while (text && *text) {
        char *end;
        long long tasks = strtoll(text, &end, 10), times = 1;
        if (end == text || tasks < 1) {
            return -1;
        }
        if (strncmp(end, "(x", 2) == 0) {
            times = strtoll(end + 2, &end, 10);
            end += *end == ')';
        }
        if (node < times) {
            return tasks;
        }
        node -= times;
        text = *end == ',' ? end + 1 : NULL;
    }
    return -1;
}

static void source_details(Launch *out, const LaunchSource *source, char *const *environment) {
    bool by_slurm =
        source != &sources[OPEN_MPI] && source->kind != BY_VARIABLES && is_step(environment);
    const LaunchSource *local = by_slurm && !source->local_rank ? &sources[SLURM] : source;
    const char *job = variable(environment, source->job);
    const char *part =
        variable(environment, source->kind == BY_SLURM       ? "SLURM_STEP_ID"
                              : source->kind == BY_VARIABLES ? "TORCHELASTIC_RESTART_COUNT"
                                                             : NULL);
    out->local_rank = number_or(environment, local->local_rank, -1);
    out->local_size = number_or(environment, local->local_size, -1);
    if (by_slurm && out->local_size < 0) {
        out->local_size = slurm_local_size(environment);
    }
    if (job) {
        snprintf(out->job, sizeof out->job, "%.100s%s%.16s", job, part ? "." : "",
                 part ? part : "");
    }
    const char *policy = by_slurm ? variable(environment, "SLURM_CPU_BIND_TYPE") : NULL;
    out->is_bound =
        (policy && (strstr(policy, "mask") || strstr(policy, "map"))) ||
        (source == &sources[OPEN_MPI] && variable(environment, "OMPI_MCA_orte_bound_at_launch"));
    out->by_mpi = source->kind == BY_MPI;
}

bool launch_detect(const LaunchFlags *flags, char *const *environment, Launch *out, char *message) {
    Told told[SOURCES], by_flags;
    size_t first = SOURCES;
    *out = (Launch){.ranks = 1, .local_rank = -1, .local_size = -1};
    if (!flags_read(flags, &by_flags, message)) {
        return false;
    }
    for (size_t i = 0; i < SOURCES; i++) {
        if (!source_read(&sources[i], environment, &told[i], message)) {
            return false;
        }
        first = told[i].tells && first == SOURCES ? i : first;
    }
    if (!by_flags.tells && first == SOURCES) {
        return true;
    }
    const LaunchSource *source = by_flags.tells ? NULL : &sources[first];
    const Told *chosen = by_flags.tells ? &by_flags : &told[first];
    out->source = source ? source->name : "--rank and --ranks";
    if (!sources_agree(told, by_flags.tells ? SOURCES : first, out->source, chosen, environment,
                       message)) {
        return false;
    }
    out->rank = chosen->rank;
    out->ranks = chosen->size;
    for (size_t i = 0; i < SOURCES && out->ranks < 0; i++) { /* PMIx leaves it to others */
        out->ranks = told[i].tells ? told[i].size : -1;
    }
    out->ranks = out->ranks < 0 ? 0 : out->ranks;
    if (source) {
        source_details(out, source, environment);
    }
    if (out->ranks == 1) {
        return true;
    }
    return address_find(out, flags, source, environment, message);
}

/* -- What a rank takes of its machine -- */

int64_t launch_threads(const Launch *launch, int64_t allowed, int64_t online) {
    if (!launch->is_bound || launch->local_size < 1 || allowed < 1) {
        return 0;
    }
    int64_t share = online / launch->local_size;
    share = share > 0 ? share : 1;
    return allowed < share ? allowed : share;
}

/* The next numbers of a list, first to last. False: malformed. */
static bool list_part(const char **at, int64_t *out_first, int64_t *out_last) {
    char *end;
    if (**at < '0' || **at > '9') {
        return false;
    }
    *out_first = *out_last = strtoll(*at, &end, 10);
    if (*end == '-') {
        const char *second = end + 1;
        if (*second < '0' || *second > '9') {
            return false;
        }
        *out_last = strtoll(second, &end, 10);
    }
    if ((*end != ',' && *end != '\0') || (*end == ',' && end[1] == '\0')) {
        return false;
    }
    *at = *end == ',' ? end + 1 : end;
    return *out_last >= *out_first && *out_last < LAUNCH_MOST_RANKS;
}

/* Number `wanted` of the list (-1: none), and how many there are. */
static bool list_walk(const char *device, int64_t wanted, int64_t *out_number, int64_t *out_count,
                      char *message) {
    const char *colon = device ? strchr(device, ':') : NULL;
    *out_count = 0;
    bool by_name = colon && isalpha((unsigned char)colon[1]); /* GPU-8d32… */
    if (!colon || by_name || !strpbrk(colon, ",-") || strchr(colon, '*')) {
        return true;
    }
    for (const char *at = colon + 1; *at;) {
        int64_t one, last;
        if (!list_part(&at, &one, &last)) {
            return fail(message, "--device '%.100s' is no list of devices: cuda:0-7, cuda:0,2,5",
                        device);
        }
        if (wanted >= *out_count && wanted <= *out_count + last - one) {
            *out_number = one + wanted - *out_count;
        }
        *out_count += last - one + 1;
    }
    return true;
}

bool launch_list(const char *device, int64_t *out_count, char *message) {
    int64_t number;
    return list_walk(device, -1, &number, out_count, message);
}

bool launch_device(const char *device, int64_t local_rank, char *out, size_t n_out, char *message) {
    int64_t number = 0, count = 0;
    if (!list_walk(device, local_rank, &number, &count, message)) {
        return false;
    }
    if (count > 0 && (local_rank < 0 || local_rank >= count)) {
        return local_rank < 0
                   ? fail(message,
                          "--device %.100s: the launcher does not say which rank of its "
                          "machine this is: name one device for each rank",
                          device)
                   : fail(message,
                          "--device %.100s names %lld devices, and this is rank %lld of its "
                          "machine, counted from 0",
                          device, (long long)count, (long long)local_rank);
    }
    if (count > 0) {
        snprintf(out, n_out, "%.*s:%lld", (int)strcspn(device, ":"), device, (long long)number);
    } else if (strcmp(device, "cuda") == 0 && local_rank >= 0) {
        snprintf(out, n_out, "cuda:%lld", (long long)local_rank);
    } else {
        snprintf(out, n_out, "%s", device);
    }
    return true;
}
