/* charge: the calls that wait, which a connection is charged for, so that nobody can make it suspend without end. Rank 2: knows
 * state, call. */
#ifndef XB_CHARGE_H
#define XB_CHARGE_H

#include "state.h"

/* Bytes, about, that a stanza takes in Lua. */
size_t xb_size_of(const xm_tape *t);
/* A call of a handler, callback or listener, or of the log function, for a stanza of `size` bytes, waits; it is over. */
void xb_call_waits(xb_conn *conn, size_t size);
void xb_call_is_over(xb_conn *conn, size_t size);
/* Makes of a task one whose connection is charged with `size` bytes while it waits. */
void xb_charge(xb_task *task, xb_conn *conn, size_t size);
/* So many wait that what comes is not given to handler or callbacks, but queued for them. */
bool xb_must_park(const xb_conn *conn);

#endif
