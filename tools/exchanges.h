/* What the ranks of a plan exchange in one run of an entry, as ranks.c tells it. */
#ifndef DLC_TOOLS_EXCHANGES_H
#define DLC_TOOLS_EXCHANGES_H

#include "tools/cli.h"

/* How many ranks, and which numbers the dims have that are bound. */
typedef struct ExchangeSizes {
    const dlc_binding *bindings;
    size_t n_bindings;
    int64_t ranks; /* 0: what the mesh states, and two along an axis of any size */
} ExchangeSizes;

/* The product of the sizes that the plan's mesh states. */
int64_t exchanges_stated_ranks(const dlc_plan *plan);
/* "data=2, model=2" of so many ranks. */
void exchanges_print_mesh(const dlc_plan *plan, int64_t ranks);
/* A line of what the first rank sends, and one of each sort of exchange; nothing where there is
 * none. */
void exchanges_print(const dlc_plan *plan, const char *entry, const ExchangeSizes *sizes);
/* The same as an array of JSON objects: [] where there is none. */
void exchanges_print_json(const dlc_plan *plan, const char *entry, const ExchangeSizes *sizes);

#endif
