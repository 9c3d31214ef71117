/* Places in the program beside its portable form: a plan that is compiled anew names the `.dl` file
 * and line in its messages, as the first one did. They stand behind the IR's text as comments,
 * which its reader passes over. */
#ifndef DLC_DRIVER_PLACES_H
#define DLC_DRIVER_PLACES_H

#include "driver/driver.h"

/* Appends the places of all ops of the module to `out`, which ends in its text. */
void driver_places_add(const Module *module, Str *out);
/* Gives the ops of d->module, which was read from `text`, the places that stand behind it. Without
 * any, or when they are not of these ops, places stay those in the text. */
void driver_places_restore(Driver *d, const char *text);

#endif
