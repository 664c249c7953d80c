/* dispatch: stanzas in: who gets what comes, in which order; and what else a connection has to tell. The callback
 * engine. Rank 8: knows what spec/support/arrows lists. */
#ifndef XB_DISPATCH_H
#define XB_DISPATCH_H

#include "wait.h"

/* Its turn. How many were called of those who take a stanza, or wait for something, at most `most`; the stanzas among that are
 * added to `stanzas`. Raises only when memory is so short that its end can't be told. */
int xb_service(lua_State *L, xb_conn *conn, int most, int *stanzas);
/* Tells the waiter that the connection has ended. */
void xb_finish_ended(lua_State *L, xb_conn *conn, xb_waiter *w);
int xb_l_default_handler(lua_State *L);

#endif
