/* wait: waiters: who waits for what, and until when. A waiter is finished exactly once: by what it waits for, by its
 * timeout, or by the end of its connection. Timers, tasks, signals and descriptors are waiters, too. Rank 2: uses
 * state, shrink, call, fault, parts. */
#ifndef XB_WAIT_H
#define XB_WAIT_H

#include "state.h"

/* What a waiter waits for. */
typedef enum xb_kind {
  XB_TIME,     /* seconds to pass */
  XB_TASK_DUE, /* the next step, in which a spawned task begins */
  XB_SIGNAL,   /* a signal, any number of times */
  XB_WATCH,    /* a descriptor to be ready, any number of times */
  XB_RESPONSE, /* the response to a request */
  XB_BOUND,    /* the connection to be ready */
  XB_STANZA,   /* a stanza in the receive queue */
  XB_SENT,     /* the arrival of all stanzas that had been sent when the wait began */
  XB_ENDED,    /* the end of the connection */
  XB_DRAINED,  /* the same, after conn:drain */
  XB_PROBED,   /* a message to ourselves, which comes back */
} xb_kind;

/* Creates a waiter. `who` is the index of a function, which is called with the results, or of a table (a box, see
 * lua/xmpp/wait.lua), in which the results are put: [1].., n, done = true; then the coroutine in its field `co`, if
 * any, is resumed. seconds < 0: no timeout. NULL: there was no memory, and nothing has happened. */
xb_waiter *xb_wait(lua_State *L, xb_state *st, xb_conn *conn, xb_kind kind, int who, double seconds);
/* Finishes the waiter with the `n` results on top of the stack, which are popped. A function gets the connection as its
 * second argument. When there is no memory this raises, and the waiter goes on waiting. If anything was allocated
 * (which may run finalizers) since the waiter was looked up, xb_begin_finish must have been called right after the
 * lookup. */
void xb_finish(lua_State *L, xb_waiter *w, int n);
/* The first waiter of that kind on this connection, except XB_RESPONSE; NULL: none. */
xb_waiter *xb_find_waiter(const xb_conn *conn, xb_kind kind);
/* The same, with that number (xb_waiter_set_seq). */
xb_waiter *xb_find_numbered(const xb_conn *conn, xb_kind kind, uint64_t seq);
xb_kind xb_waiter_kind(const xb_waiter *w);
/* Pushes the coroutine that waits (for a generator of xmpp.wrap, the one that runs it); another value if none does. */
void xb_push_waiting(lua_State *L, const xb_waiter *w);
void xb_waiter_set_pending(xb_waiter *w, xm_pending *p);
xm_pending *xb_waiter_pending(const xb_waiter *w);
const xb_waiter *xb_next_waiter(const xb_waiter *w);
/* A waiter's number. XB_RESPONSE: of the stanza that is the request. XB_SENT: of the last stanza that it waits for.
 * XB_PROBED: of the probe. */
void xb_waiter_set_seq(xb_waiter *w, uint64_t seq);
uint64_t xb_waiter_seq(const xb_waiter *w);
/* Moves the waiters whose request is no longer in the log of sent stanzas to `lost`. */
void xb_lose_waiters(xb_conn *conn);
/* Removes a waiter without telling it: its request could not be sent, the coroutine is gone, or doesn't want to wait
 * any longer. If it is just being finished, which may run finalizers that call this, it is removed by xb_finish
 * instead, which then tells nobody. */
void xb_drop_waiter(lua_State *L, xb_waiter *w);
/* The waiter is about to be finished: from now on only xb_finish frees it. */
void xb_begin_finish(xb_waiter *w);
/* Finishes the waiters that are due, at most `most` of them. Returns how many. */
int xb_finish_due(lua_State *L, xb_state *st, int most);
/* Frees all waiters of the list without telling them: the state is being closed, or the connection has been
 * collected. */
void xb_free_waiters(lua_State *L, xm_loop *loop, xb_waiters *list);
/* abandon(box): the coroutine that waits by this box will never go on (coroutine.close). Does nothing if the box is
 * done already. */
int xb_l_abandon(lua_State *L);
/* wake(box): the coroutine that waits by this box, with a timeout or for nothing that is known here, goes on in the
 * next step, with no results. Several go on in the order of these calls. */
int xb_l_wake(lua_State *L);
void xb_open_wait(lua_State *L);
int xb_l_timer(lua_State *L);
int xb_l_spawn(lua_State *L);
int xb_l_signal(lua_State *L);
int xb_l_watch(lua_State *L);

#endif
