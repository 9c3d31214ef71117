/* What a vendor's library can do in one call, for either kind of product: the one rule. Fusion asks
 * it what to leave together; the pass, what a finished fusion is. */
#ifndef DLC_PASSES_LIBRARY_LIBRARY_H
#define DLC_PASSES_LIBRARY_LIBRARY_H

#include "passes/library/match.h"
#include "passes/machine.h"

/* Whether the op is a product of which libraries know, and so large that a call of one is worth it
 * on the machine; never on one without libraries. */
bool library_wants(Context *context, const Machine *machine, const Op *op);
/* Whether `result` is one call that has the product in it, its operands in memory aside. False:
 * *why (static text) says what stands against it. */
bool library_match(Context *context, const Value *result, const Op *product, LibraryMatch *out,
                   const char **why);

#endif
