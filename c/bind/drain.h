/* drain: a connection accepts no new stanzas, and closes its stream when those that have come are handled. Rank 3:
 * knows state, call, parts, wait.
 *
 *   begun     what has been received is still dispatched (`dry`); stanzas behind that are passed over, except responses
 *             that somebody waits for
 *   parting   the calls of handler and callbacks are over, or the time for them is; the stream is being closed
 *   ended     what was left has been counted */
#ifndef XB_DRAIN_H
#define XB_DRAIN_H

#include "state.h"

/* Are stanzas that come now passed over? */
bool xb_passes_over(const xb_conn *conn);
/* Called when there is nothing to dispatch: closes the stream if everything is handled, or the time is up. */
void xb_drain_on(lua_State *L, xb_conn *conn);
/* The connection has ended: counts what is unfinished. */
void xb_note_drained(lua_State *L, xb_conn *conn);
/* drain(seconds): begins to drain; await("drained") waits for the end. */
int xb_l_drain(lua_State *L);
/* drained() -> a table that counts what was handled and what was left */
int xb_l_drained(lua_State *L);

#endif
