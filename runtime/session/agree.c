/* See agree.h. A hash of each table travels first: tables themselves only where one differs. */
#include "runtime/session/agree.h"

#include <inttypes.h>
#include <stdio.h>

static const char MORE[] = "what else the ranks have";

void agree_add(AgreeTable *table, const char *subject, const char *format, ...) {
    va_list args;
    AgreeFact fact = {.subject = ""};
    snprintf(fact.subject, sizeof(fact.subject), "%s", subject);
    va_start(args, format);
    vsnprintf(fact.value, sizeof(fact.value), format, args);
    va_end(args);
    if (table->n < AGREE_FACTS - 1) {
        table->facts[table->n++] = fact;
        return;
    }
    AgreeFact *last = &table->facts[AGREE_FACTS - 1];
    uint64_t hash = hash_bytes(&fact, sizeof(fact), hash_bytes(last, sizeof(*last), 0));
    table->n = AGREE_FACTS;
    *last = (AgreeFact){.subject = ""};
    snprintf(last->subject, sizeof(last->subject), "%s", MORE);
    snprintf(last->value, sizeof(last->value), "%016" PRIx64, hash);
}

void agree_add_hash(AgreeTable *table, const char *subject, uint64_t hash) {
    agree_add(table, subject, "%016" PRIx64, hash);
}

static dlc_status gather(Comm *comm, const void *own, void *all, int64_t bytes, char *message) {
    const CommBuffer buffer = {
        .in = own, .out = all, .dtype = PLAN_U8, .outer = 1, .rows = comm->n_ranks, .unit = bytes};
    const CommCall call = {.kind = COMM_ALL_GATHER,
                           .buffers = &buffer,
                           .n_buffers = 1,
                           .name = "whether ranks have the same"};
    dlc_status status = comm_run(comm, &call);
    if (status != DLC_OK) {
        memcpy(message, comm->error, COMM_MESSAGE_BYTES);
    }
    return status;
}

/* A rank's table that came over the wire. */
static void table_end(AgreeTable *table) {
    table->n = table->n < 0 || table->n > AGREE_FACTS ? 0 : table->n;
    for (int32_t i = 0; i < table->n; i++) {
        table->facts[i].subject[AGREE_SUBJECT_BYTES - 1] = 0;
        table->facts[i].value[AGREE_VALUE_BYTES - 1] = 0;
    }
}

/* What is different between the first rank and `rank`; the facts come in one order on all. */
static void tell(const AgreeTable *first, const AgreeTable *other, int32_t rank, char *message) {
    int32_t i = 0;
    while (i < first->n && i < other->n &&
           memcmp(&first->facts[i], &other->facts[i], sizeof(AgreeFact)) == 0) {
        i++;
    }
    const AgreeFact *a = i < first->n ? &first->facts[i] : NULL;
    const AgreeFact *b = i < other->n ? &other->facts[i] : NULL;
    if (a && b && strcmp(a->subject, b->subject) == 0) {
        snprintf(message, COMM_MESSAGE_BYTES, "ranks differ in %s: rank %d has %s, rank 0 has %s",
                 a->subject, (int)rank, b->value, a->value);
    } else {
        snprintf(message, COMM_MESSAGE_BYTES,
                 "ranks differ in what they do: rank %d has %s%s%s, rank 0 has %s%s%s", (int)rank,
                 b ? b->subject : "no more to compare", b ? " " : "", b ? b->value : "",
                 a ? a->subject : "no more to compare", a ? " " : "", a ? a->value : "");
    }
}

static dlc_status differ(Comm *comm, const dlc_allocator *allocator, const AgreeTable *own,
                         int32_t rank, char *message) {
    AgreeTable *all = memory_new(allocator, (size_t)comm->n_ranks, sizeof(*all));
    if (!all) {
        snprintf(message, COMM_MESSAGE_BYTES, "no memory to say in what ranks differ");
        comm_abort(comm, DLC_ERROR_OUT_OF_MEMORY, message);
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    dlc_status status = gather(comm, own, all, sizeof(*own), message);
    if (status == DLC_OK) {
        table_end(&all[0]);
        table_end(&all[rank]);
        tell(&all[0], &all[rank], rank, message);
        status = DLC_ERROR_MISMATCH;
    }
    memory_free(allocator, all);
    return status;
}

dlc_status agree_compare(Comm *comm, const dlc_allocator *allocator, const AgreeTable *own,
                         char *message) {
    uint64_t hash = hash_bytes(own, sizeof(*own), 0);
    uint64_t *all = memory_new(allocator, (size_t)comm->n_ranks, sizeof(*all));
    if (!all) {
        snprintf(message, COMM_MESSAGE_BYTES, "no memory to compare what ranks have");
        comm_abort(comm, DLC_ERROR_OUT_OF_MEMORY, message);
        return DLC_ERROR_OUT_OF_MEMORY;
    }
    dlc_status status = gather(comm, &hash, all, sizeof(hash), message);
    int32_t rank = 0;
    while (status == DLC_OK && rank < comm->n_ranks && all[rank] == all[0]) {
        rank++;
    }
    bool differs = status == DLC_OK && rank < comm->n_ranks;
    memory_free(allocator, all);
    return differs ? differ(comm, allocator, own, rank, message) : status;
}
