/* listen: the listeners to a connection's events (conn:on), any number for each event. Rank 2: uses state, call,
 * fault, parts. */
#ifndef XB_LISTEN_H
#define XB_LISTEN_H

#include "state.h"

/* Calls all listeners to an event (XB_ON_...) of the connection at `index`, in the order in which they were added, each
 * in a coroutine of its own, with the `nargs` values on top of the stack, and pops these. A listener that is removed
 * meanwhile is not called any more; one that is added meanwhile is not called yet. `stanza` as in xb_site. false:
 * nobody listens. */
bool xb_tell(lua_State *L, xb_conn *conn, int index, int part, int nargs, int stanza);
/* The same, with a task for each call. */
bool xb_tell_as(lua_State *L, const xb_task *task, xb_conn *conn, int index, int part, int nargs, int stanza);
/* There is a new session: tells the listeners to "session". What the lost session left is sent when all of their calls
 * are over. */
void xb_tell_session(lua_State *L, xb_conn *conn, int index);
int xb_l_on(lua_State *L);
/* Adds the cell on top of the stack, a table whose first value is a function, to the end of that part of the connection
 * at index 1. Replaces it on the stack by a function that removes the cell again, and then clears its first value. */
void xb_enter(lua_State *L, xb_conn *conn, int part);

#endif
