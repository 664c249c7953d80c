/* log: the option `log`, a function f("in" or "out", text) that is told what goes over the wire. Rank 3: uses state,
 * call, charge, parts. */
#ifndef XB_LOG_H
#define XB_LOG_H

#include "state.h"

/* Calls the log function of the connection at `index` for what has been recorded. */
void xb_drain_log(lua_State *L, xb_conn *conn, int index);

#endif
