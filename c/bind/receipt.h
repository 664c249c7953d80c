/* receipt: reports what has become of the stanzas that were sent, and of the connection's sessions. Rank 4: uses
 * state, call, charge, fault, parts, listen, wait, stanza. */
#ifndef XB_RECEIPT_H
#define XB_RECEIPT_H

#include "state.h"

/* Pops the function on top of the stack: it is to be told what becomes of the next stanza that is committed. To be
 * called before the commit, since memory may run out. Returns the stanza's number; if the stanza isn't committed,
 * xb_forget_receipt (which never raises) takes it back. */
uint64_t xb_expect_receipt(lua_State *L, xb_conn *conn);
void xb_forget_receipt(lua_State *L, xb_conn *conn, int index, uint64_t seq);
/* Reports what has become of stanzas, and returns those that can't be sent to their senders. `left` is the number of
 * calls that may be made; it is decreased by those that were. false: there is more to report. */
bool xb_tell_receipts(lua_State *L, xb_conn *conn, int index, int *left);
/* Tells the listeners to "state" the connection's state. */
void xb_tell_state(lua_State *L, xb_conn *conn, int index);
/* Reports a stanza that crossed a bound, of which the connection has the start tag, to the listeners to "skipped". If
 * there are none, and no waiter has been told (`told`), it goes to on_error. */
void xb_tell_skipped(lua_State *L, xb_conn *conn, int index, const xm_err *why, bool told);
/* Finishes the waiters whose response can't come any more (conn->lost), at most `left` of them. */
void xb_tell_lost(lua_State *L, xb_conn *conn, int *left);

#endif
