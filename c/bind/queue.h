/* queue: the receive queue, where stanzas wait for whoever takes them, and when nothing more is read. Rank 5: knows
 * state, call, charge, fault, parts, listen, wait, question. */
#ifndef XB_QUEUE_H
#define XB_QUEUE_H

#include "state.h"

/* The stanza on top of the stack goes to the end of the receive queue; pops it. `claimed`: a response that its waiter has had:
 * taps and callbacks are to see it, and nobody else. Taps have it before any other. */
void xb_push_queue(lua_State *L, xb_conn *conn, int index, size_t size, bool claimed);
/* The same for what has just come. Where nobody asks for stanzas, and the queue is full, room is made first: the oldest are
 * thrown away, which is told. */
void xb_queue(lua_State *L, xb_conn *conn, int index, size_t size);
/* What was in a place of the queue. */
typedef struct xb_queued {
  lua_Integer place;
  size_t size;
  bool claimed;
  bool offered; /* to taps */
} xb_queued;
/* The queue's first goes to the top of the stack, or nil where a tap has taken it; false: it is empty. */
bool xb_pop_queue(lua_State *L, xb_conn *conn, int index, xb_queued *was);
/* The first that hasn't been offered to taps yet; false: there is none. The others stay in order: */
bool xb_take_fresh(lua_State *L, xb_conn *conn, int index, xb_queued *was);
/* No tap has wanted it: the stanza on top of the stack, which is popped, goes back to its place. */
void xb_put_back(lua_State *L, xb_conn *conn, int index, const xb_queued *was);
/* The first that isn't for callbacks alone, and that no tap has to be asked for any more. */
bool xb_receive(lua_State *L, xb_conn *conn, int index);
void xb_empty_queue(lua_State *L, xb_conn *conn, int index);
/* Nobody can take what comes: reading stops, TCP pushes back; unless somebody waits for what has to be read first. */
bool xb_is_full(xb_conn *conn);
/* conn:hold(yes): who takes what comes wants no more of it for now; what has been read comes all the same. */
int xb_l_hold(lua_State *L);

#endif
