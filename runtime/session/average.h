/* Moving averages of parameters (`ema` of a train block): the slot "w#ema" beside parameter "w".
 * What is evaluated, inferred and written to a weights file are the averages; steps go on from the
 * parameters. */
#ifndef DLC_RUNTIME_SESSION_AVERAGE_H
#define DLC_RUNTIME_SESSION_AVERAGE_H

#include "runtime/session/session.h"

/* Finds the average of every parameter, when a session opens. */
void averages_find(dlc_session *session);
/* The variable that holds the average of `variable`; NULL: there is none. */
Variable *average_of(dlc_session *session, const Variable *variable);
/* What the entry reads as variable `number`: training and initialising the parameter itself, every
 * other entry its average where there is one, unless the session was told otherwise. */
const Variable *entry_variable(const dlc_session *session, const EntryState *entry, int32_t number);
/* Lets the average begin at the parameter, or all of them (NULL), after those were given. */
dlc_status averages_restart(dlc_session *session, Variable *variable);

#endif
