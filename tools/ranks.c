/* See ranks.h. */
#include "tools/ranks.h"

#include <stdlib.h>
#include <string.h>

/* -- Sizes by the names that published tables have -- */

typedef struct Parallel {
    int64_t tensor, pipe, data; /* how many ranks stand along these */
    int64_t batch, parts, rows; /* of an update; computed in parts; of the first rank in a part */
} Parallel;

static int64_t bound(const ExchangeSizes *sizes, const char *name) {
    for (size_t i = 0; name && i < sizes->n_bindings; i++) {
        if (strcmp(sizes->bindings[i].name, name) == 0) {
            return sizes->bindings[i].value;
        }
    }
    return 0;
}

/* As bound, else what figures are for; 0: the plan has no such dim. */
static int64_t dim_of(const dlc_plan *plan, const char *name, const ExchangeSizes *sizes) {
    dlc_dim_info dim = {.struct_size = sizeof(dim)};
    int64_t value = bound(sizes, name);
    for (size_t i = 0; name && value == 0 && i < dlc_plan_dim_count(plan); i++) {
        if (dlc_plan_dim(plan, i, &dim) == DLC_OK && strcmp(dim.name, name) == 0) {
            value = dim.usual;
        }
    }
    return value;
}

static int64_t or_one(int64_t count) {
    return count > 0 ? count : 1;
}

static Parallel parallel_of(const dlc_plan *plan, int64_t ranks, const ExchangeSizes *sizes) {
    Parallel p = {.tensor = 1, .pipe = 1, .data = 1};
    dlc_axis_info axis = {.struct_size = sizeof(axis)};
    int64_t stated = exchanges_stated_ranks(plan);
    for (size_t i = 0; i < dlc_plan_axis_count(plan); i++) {
        if (dlc_plan_axis(plan, i, &axis) != DLC_OK) {
            continue;
        }
        int64_t *along = strcmp(axis.name, "model") == 0  ? &p.tensor
                         : strcmp(axis.name, "pipe") == 0 ? &p.pipe
                                                          : &p.data; /* replicas among them */
        *along *= axis.size > 0 ? axis.size : ranks / stated;
    }
    const char *parts = dlc_plan_setting(plan, "accumulate");
    p.parts = or_one(parts ? strtoll(parts, NULL, 10)
                           : bound(sizes, dlc_plan_setting(plan, "parts_dim")));
    p.batch = dim_of(plan, dlc_plan_setting(plan, "batch_dim"), sizes);
    int64_t shares = p.parts * p.data;
    p.rows = p.batch / shares + (p.batch % shares > 0);
    return p;
}

/* -- The table -- */

typedef struct Column {
    const char *name;   /* above the column … */
    const char *member; /* … and in JSON */
    size_t offset;      /* of an int64_t in dlc_rank_summary */
    bool is_optional;   /* left out where it is 0 on all ranks */
} Column;

#define COLUMN(name, field, optional)                                                              \
    { name, #field, offsetof(dlc_rank_summary, field), optional }
static const Column columns[] = {
    COLUMN("parameters", parameter_bytes, false), COLUMN("optimiser", slot_bytes, false),
    COLUMN("states", state_bytes, true),          COLUMN("inputs", input_bytes, false),
    COLUMN("gradients", gradient_bytes, false),   COLUMN("activations", activation_bytes, false),
    COLUMN("transients", transient_bytes, false), COLUMN("arena", arena_bytes, false),
    COLUMN("staging", staging_bytes, true),       COLUMN("peak", peak_bytes, false),
};
enum { N_COLUMNS = sizeof columns / sizeof columns[0] };

static int64_t value_of(const dlc_rank_summary *summary, const Column *column) {
    int64_t value;
    memcpy(&value, (const char *)summary + column->offset, sizeof(value));
    return value;
}

/* What rank number `rank` and those like it take. False: it cannot be said. */
static bool row_of(const dlc_plan *plan, const char *entry, int64_t rank,
                   const ExchangeSizes *sizes, dlc_rank_summary *out) {
    *out = (dlc_rank_summary){.struct_size = sizeof(*out)};
    return dlc_plan_summarize_rank(plan, entry, rank, sizes->ranks, sizes->bindings,
                                   sizes->n_bindings, out) == DLC_OK;
}

/* Which columns say something. False: it cannot be said. */
static bool columns_find(const dlc_plan *plan, const char *entry, const ExchangeSizes *sizes,
                         bool shown[N_COLUMNS]) {
    dlc_rank_summary row = {.ranks = 1};
    for (int64_t rank = 0; rank < row.ranks; rank = row.last_rank + 1) {
        if (!row_of(plan, entry, rank, sizes, &row)) {
            return false;
        }
        for (int c = 0; c < N_COLUMNS; c++) {
            shown[c] = shown[c] || !columns[c].is_optional || value_of(&row, &columns[c]) != 0;
        }
    }
    return true;
}

static void print_row(const dlc_rank_summary *row, const bool *shown) {
    char text[64], ranks[48];
    int n = snprintf(ranks, sizeof ranks, "%lld", (long long)row->rank);
    if (row->last_rank > row->rank) {
        snprintf(ranks + n, sizeof ranks - (size_t)n, "-%lld", (long long)row->last_rank);
    }
    printf("    %-8s", ranks);
    for (int c = 0; c < N_COLUMNS; c++) {
        if (shown[c]) {
            printf(" %11s", cli_bytes((double)value_of(row, &columns[c]), text));
        }
    }
    printf(" %13s\n", cli_amount(row->flops, "FLOP", text));
}

void ranks_print(const dlc_plan *plan, const char *entry, const ExchangeSizes *sizes) {
    bool shown[N_COLUMNS] = {false};
    dlc_rank_summary row;
    if (dlc_plan_axis_count(plan) == 0 || !columns_find(plan, entry, sizes, shown) ||
        !row_of(plan, entry, 0, sizes, &row)) {
        return;
    }
    const Parallel p = parallel_of(plan, row.ranks, sizes);
    printf("  %s on %lld ranks (", entry, (long long)row.ranks);
    exchanges_print_mesh(plan, row.ranks);
    printf("): TP %lld  PP %lld  DP %lld", (long long)p.tensor, (long long)p.pipe,
           (long long)p.data);
    if (p.batch > 0) {
        printf("  MBS %lld  GBS %lld", (long long)p.rows, (long long)p.batch);
    }
    printf("  GA %lld\n    %-8s", (long long)p.parts, "rank");
    for (int c = 0; c < N_COLUMNS; c++) {
        if (shown[c]) {
            printf(" %11s", columns[c].name);
        }
    }
    printf(" %13s\n", "compute");
    for (int64_t rank = 0; rank < row.ranks && row_of(plan, entry, rank, sizes, &row);
         rank = row.last_rank + 1) {
        print_row(&row, shown);
    }
    exchanges_print(plan, entry, sizes);
}

/* What a checkpoint is written from beside the steps: the most that a rank copies. */
static void print_copies(const dlc_plan *plan, const char *entry, const ExchangeSizes *sizes) {
    dlc_rank_summary row = {.ranks = 1};
    int64_t most = 0;
    char text[64];
    for (int64_t rank = 0; rank < row.ranks; rank = row.last_rank + 1) {
        if (!row_of(plan, entry, rank, sizes, &row)) {
            return;
        }
        most = row.checkpoint_bytes > most ? row.checkpoint_bytes : most;
    }
    printf("    a checkpoint is written from a copy of up to %s a rank, in host memory\n",
           cli_bytes((double)most, text));
}

void ranks_print_session(dlc_session *session, int64_t batch, bool saves) {
    enum { USUAL_BATCH = 32 };
    const dlc_plan *plan = dlc_session_plan(session);
    const char *rows = dlc_plan_setting(plan, "batch_dim");
    const char *planned = dlc_plan_setting(plan, "batch");
    dlc_binding bindings[CLI_LIST_MAX];
    ExchangeSizes sizes = {.bindings = bindings, .ranks = dlc_session_rank_count(session)};
    if (sizes.ranks < 2) {
        return;
    }
    batch = batch > 0 ? batch : planned ? strtoll(planned, NULL, 10) : USUAL_BATCH;
    for (size_t i = 0; i < dlc_plan_dim_count(plan) && sizes.n_bindings < CLI_LIST_MAX; i++) {
        dlc_dim_info dim = {.struct_size = sizeof(dim)};
        int64_t value = -1;
        if (dlc_plan_dim(plan, i, &dim) != DLC_OK ||
            dlc_session_dim(session, dim.name, &value) != DLC_OK) {
            continue;
        }
        value = value < 0 && rows && strcmp(dim.name, rows) == 0 ? batch : value;
        if (value >= 0) {
            bindings[sizes.n_bindings++] = (dlc_binding){dim.name, value};
        }
    }
    for (size_t i = 0; i < dlc_plan_entry_count(plan); i++) {
        dlc_entry_info entry = {.struct_size = sizeof(entry)};
        if (dlc_plan_entry(plan, i, &entry) == DLC_OK && entry.purpose == DLC_PURPOSE_TRAIN) {
            ranks_print(plan, entry.name, &sizes);
            if (saves) {
                print_copies(plan, entry.name, &sizes);
            }
        }
    }
}

void ranks_print_json(const dlc_plan *plan, const char *entry, const ExchangeSizes *sizes) {
    if (dlc_plan_axis_count(plan) == 0) {
        return;
    }
    dlc_rank_summary row = {.ranks = 1};
    const char *between = "";
    fputs(", \"ranks\": [", stdout);
    for (int64_t rank = 0; rank < row.ranks && row_of(plan, entry, rank, sizes, &row);
         rank = row.last_rank + 1) {
        printf("%s{\"first\": %lld, \"last\": %lld, \"flops\": ", between, (long long)row.rank,
               (long long)row.last_rank);
        cli_json_number(row.flops, stdout);
        fputs(", \"bytes\": ", stdout);
        cli_json_number(row.bytes, stdout);
        for (int c = 0; c < N_COLUMNS; c++) {
            printf(", \"%s\": %lld", columns[c].member, (long long)value_of(&row, &columns[c]));
        }
        printf(", \"checkpoint_bytes\": %lld}", (long long)row.checkpoint_bytes);
        between = ", ";
    }
    const Parallel p = parallel_of(plan, row.ranks, sizes);
    printf("], \"parallel\": {\"tp\": %lld, \"pp\": %lld, \"dp\": %lld, \"mbs\": %lld, \"gbs\": "
           "%lld, \"ga\": %lld}",
           (long long)p.tensor, (long long)p.pipe, (long long)p.data, (long long)p.rows,
           (long long)p.batch, (long long)p.parts);
}
