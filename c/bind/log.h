/* log: the option log, f("in" or "out", text). Rank 3: knows state, call, charge, parts. */
#ifndef XB_LOG_H
#define XB_LOG_H

#include "state.h"

/* Gives the function of the connection at `index` what there is for it. */
void xb_drain_log(lua_State *L, xb_conn *conn, int index);

#endif
