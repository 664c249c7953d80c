/* charge: counts, for each connection, the calls that are suspended and the memory that they take, so that a peer can't
 * make a program pile up suspended calls without end. Rank 2: uses state, call. */
#ifndef XB_CHARGE_H
#define XB_CHARGE_H

#include "state.h"

/* The approximate number of bytes that a stanza takes in Lua. */
size_t xb_size_of(const xm_tape *t);
/* A call of a handler, callback, listener or log function has been suspended, which holds a stanza of `size` bytes; or
 * it is over. */
void xb_call_waits(xb_conn *conn, size_t size);
void xb_call_is_over(xb_conn *conn, size_t size);
/* Makes `task` one for which the connection is charged with `size` bytes while its call is suspended. */
void xb_charge(xb_task *task, xb_conn *conn, size_t size);
/* Do the suspended calls hold so much that new stanzas are queued instead of being given to handler or callbacks? */
bool xb_must_park(const xb_conn *conn);

#endif
