/* Moving averages of parameters (`ema` of a train block): the slot "w#ema" beside parameter "w".
 * What is evaluated, inferred and written to a weights file are the averages; steps go on from the
 * parameters. */
#ifndef DLC_RUNTIME_SESSION_AVERAGE_H
#define DLC_RUNTIME_SESSION_AVERAGE_H

#include "runtime/session/session.h"

/* Lets the average begin at the parameter, or all of them (NULL), after those were given. */
dlc_status averages_restart(dlc_session *session, const Variable *variable);

#endif
