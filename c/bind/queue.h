/* queue: the receive queue, where stanzas wait until somebody takes them, and the decision when to stop reading. Rank
 * 5: knows state, call, charge, fault, parts, listen, wait, question. */
#ifndef XB_QUEUE_H
#define XB_QUEUE_H

#include "state.h"

/* Appends the stanza on top of the stack to the receive queue, and pops it. `claimed`: it is a response that its waiter
 * has had already, so that only taps and callbacks are to see it. Taps are offered each stanza before anybody else gets
 * it. */
void xb_push_queue(lua_State *L, xb_conn *conn, int index, size_t size, bool claimed);
/* The same for a stanza that has just come. If nobody asks for stanzas and the queue is full, the oldest ones are
 * thrown away first, which is reported. */
void xb_queue(lua_State *L, xb_conn *conn, int index, size_t size);
/* What a place of the queue held. */
typedef struct xb_queued {
  lua_Integer place;
  size_t size;
  bool claimed;
  bool offered; /* it has been offered to the taps */
} xb_queued;
/* Takes the first stanza of the queue and pushes it, or nil if a tap has taken it; false: the queue is empty. */
bool xb_pop_queue(lua_State *L, xb_conn *conn, int index, xb_queued *was);
/* Takes the first stanza that hasn't been offered to the taps yet, and pushes it; false: there is none. The order of
 * the others stays. */
bool xb_take_fresh(lua_State *L, xb_conn *conn, int index, xb_queued *was);
/* No tap has wanted it: puts the stanza on top of the stack, which is popped, back in its place. */
void xb_put_back(lua_State *L, xb_conn *conn, int index, const xb_queued *was);
/* Takes the first stanza that the program may receive, and pushes it: not a claimed one, and none that taps must be
 * offered first. false: there is none. */
bool xb_receive(lua_State *L, xb_conn *conn, int index);
void xb_empty_queue(lua_State *L, xb_conn *conn, int index);
/* Must reading stop, since nobody can take what comes? TCP then slows the server down. Not if somebody waits for
 * something that can only be had by reading on. */
bool xb_is_full(xb_conn *conn);
/* conn:hold(yes): who takes what comes wants no more of it for now; what has been read comes all the same. */
int xb_l_hold(lua_State *L);

#endif
