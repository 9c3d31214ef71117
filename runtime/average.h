/* Moving averages of parameters (`ema` of a train block): the slot "w#ema" beside parameter "w".
 * What is evaluated and what a weights file gets are the averages; steps go on from the parameters.
 */
#ifndef DLC_RUNTIME_AVERAGE_H
#define DLC_RUNTIME_AVERAGE_H

#include "runtime/session.h"

/* The variable that holds the average of `variable`; NULL: there is none. */
Variable *average_of(dlc_session *session, const Variable *variable);
/* Exchanges every parameter with its average; the same call undoes it. */
dlc_status averages_swap(dlc_session *session);
/* Lets the averages begin at the parameters, after those were read from a weights file. */
dlc_status averages_restart(dlc_session *session);

#endif
