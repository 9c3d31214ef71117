/* What the ranks of a plan exchange in one run of an entry, as dlc and dlrun inspect tell it. */
#ifndef DLC_TOOLS_EXCHANGES_H
#define DLC_TOOLS_EXCHANGES_H

#include "tools/cli.h"

/* How many ranks, and which numbers the dims have that are bound. */
typedef struct ExchangeSizes {
    const dlc_binding *bindings;
    size_t n_bindings;
    int64_t ranks; /* 0: what the mesh states, and two along an axis of any size */
} ExchangeSizes;

/* A line of how many ranks there are, and one of each sort of exchange; nothing where there is
 * none. */
void exchanges_print(const dlc_plan *plan, const char *entry, const ExchangeSizes *sizes);
/* The same as an array of JSON objects: [] where there is none. */
void exchanges_print_json(const dlc_plan *plan, const char *entry, const ExchangeSizes *sizes);

#endif
