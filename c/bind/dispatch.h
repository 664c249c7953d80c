/* dispatch: decides who gets a stanza that comes in, and in which order; and reports whatever else happens on a
 * connection. Rank 8: uses what spec/support/arrows lists. */
#ifndef XB_DISPATCH_H
#define XB_DISPATCH_H

#include "wait.h"

/* A connection's turn in a step. Returns how many functions that take stanzas and waiters were called, at most `most`;
 * the stanzas among that are added to `stanzas`. Raises only when there is so little memory that not even the
 * connection's end can be reported. */
int xb_service(lua_State *L, xb_conn *conn, int most, int *stanzas);
/* Finishes the waiter, since the connection has ended. */
void xb_finish_ended(lua_State *L, xb_conn *conn, xb_waiter *w);
int xb_l_default_handler(lua_State *L);

#endif
