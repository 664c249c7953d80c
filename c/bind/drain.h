/* drain: nothing more is taken, and when what has come is done with, the stream ends. Rank 3: knows state, call, parts, wait.
 *
 *   begun     what has been received is given out still (`dry`); behind that stanzas are passed over, unless somebody waits
 *             for the response that it is
 *   parting   calls of handler and callbacks have ended, or the time for it has; the stream is being closed
 *   ended     what was left is counted */
#ifndef XB_DRAIN_H
#define XB_DRAIN_H

#include "state.h"

/* Is what comes now passed over? */
bool xb_passes_over(const xb_conn *conn);
/* Where nothing is left to be dispatched: is that all? Then the stream is closed. */
void xb_drain_on(lua_State *L, xb_conn *conn);
/* The connection has ended. */
void xb_note_drained(lua_State *L, xb_conn *conn);
/* drain(seconds): begins; "drained" can be awaited. */
int xb_l_drain(lua_State *L);
/* drained() -> what was left */
int xb_l_drained(lua_State *L);

#endif
