/* listen: who hears of a connection's events: any number of functions for each. Rank 2: knows state, call, fault, parts. */
#ifndef XB_LISTEN_H
#define XB_LISTEN_H

#include "state.h"

/* Calls everybody who listens for an event (XB_ON_...) of the connection at `index`, in their order, each in a coroutine of its
 * own, with the `nargs` values on top of the stack; pops these. Who has gone meanwhile is not called any more, who has come not
 * yet. `stanza` as in xb_site. false: nobody listens. */
bool xb_tell(lua_State *L, xb_conn *conn, int index, int part, int nargs, int stanza);
/* The same; `task` is of each call. */
bool xb_tell_as(lua_State *L, const xb_task *task, xb_conn *conn, int index, int part, int nargs, int stanza);
/* There is a new session: tells it, and what is held back in it leaves when all whom it was told are done. */
void xb_tell_session(lua_State *L, xb_conn *conn, int index);
int xb_l_on(lua_State *L);
/* The cell on top of the stack, a table whose first value is a function, becomes the last of that part of the connection at
 * index 1; in its place: a function that takes it away again, and then empties its first. */
void xb_enter(lua_State *L, xb_conn *conn, int part);

#endif
