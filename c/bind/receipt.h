/* receipt: what has become of what was sent, and of the connection's sessions, told to who wants to know. Rank 4: knows
 * state, call, charge, fault, parts, listen, wait, stanza. */
#ifndef XB_RECEIPT_H
#define XB_RECEIPT_H

#include "state.h"

/* The function on top of the stack is to be told of the next stanza; pops it. Before that is committed, since memory may run
 * out: the stanza's number, to be forgotten (which never raises) if it isn't. */
uint64_t xb_expect_receipt(lua_State *L, xb_conn *conn);
void xb_forget_receipt(lua_State *L, xb_conn *conn, int index, uint64_t seq);
/* Tells what has become of stanzas, and gives back what can't be sent; `left` is how many calls that may be, and what is left
 * of it. false: there is more. */
bool xb_tell_receipts(lua_State *L, xb_conn *conn, int index, int *left);
/* Tells the state to who listens. */
void xb_tell_state(lua_State *L, xb_conn *conn, int index);
/* Tells of a stanza that crossed a bound, of which the connection has the start tag: to who listens; if nobody does and no
 * waiter has heard of it (`told`), to on_error. */
void xb_tell_skipped(lua_State *L, xb_conn *conn, int index, const xm_err *why, bool told);
/* Everybody whose response can't come any more is told. */
void xb_tell_lost(lua_State *L, xb_conn *conn, int *left);

#endif
