/* wait: who waits for what, and until when. A waiter ends exactly once: by what it waits for, by its time, or by the end
 * of its connection. Timers, tasks, signals and descriptors are waiters, too. Rank 2: knows state, call, fault, parts. */
#ifndef XB_WAIT_H
#define XB_WAIT_H

#include "state.h"

/* What a waiter waits for. */
typedef enum xb_kind {
  XB_TIME,     /* seconds to pass */
  XB_TASK_DUE, /* its first turn (spawn) */
  XB_SIGNAL,   /* a signal, again and again */
  XB_WATCH,    /* a descriptor to be ready, again and again */
  XB_RESPONSE, /* a stanza that answers */
  XB_BOUND,    /* the connection to be ready */
  XB_STANZA,   /* the receive queue to have one */
  XB_SENT,     /* all that had been given when it began to have arrived */
  XB_ENDED,    /* the connection to have ended */
  XB_DRAINED,  /* the same, after drain */
  XB_PROBED,   /* a message to ourselves to come back */
} xb_kind;

/* `who` (index): a function, called with the results, or a table, in which they are put: [1].., n, done = true; then its
 * `co` goes on, if it has one. seconds < 0: no bound. NULL: no memory (nothing happened). */
xb_waiter *xb_wait(lua_State *L, xb_state *st, xb_conn *conn, xb_kind kind, int who, double seconds);
/* The waiter is over; `n` results are on top of the stack and popped. A function gets the connection put second. For want
 * of memory it raises, and the waiter goes on waiting. What was pushed after the waiter was found may have run finalizers:
 * then xb_begin_finish came before. */
void xb_finish(lua_State *L, xb_waiter *w, int n);
/* The first waiter of that kind on this connection; NULL: none. */
xb_waiter *xb_find_waiter(const xb_conn *conn, xb_kind kind);
/* The same with that number (xb_waiter_set_seq). */
xb_waiter *xb_find_numbered(const xb_conn *conn, xb_kind kind, uint64_t seq);
xb_kind xb_waiter_kind(const xb_waiter *w);
/* The coroutine that waits by it, in its own or in a generator's place; or another value: there is none. */
void xb_push_waiting(lua_State *L, const xb_waiter *w);
void xb_waiter_set_pending(xb_waiter *w, xm_pending *p);
xm_pending *xb_waiter_pending(const xb_waiter *w);
const xb_waiter *xb_next_waiter(const xb_waiter *w);
/* XB_RESPONSE: the number of the stanza by which it asks. XB_SENT: of the last one that it waits for. XB_PROBED: the
 * probe's number. */
void xb_waiter_set_seq(xb_waiter *w, uint64_t seq);
uint64_t xb_waiter_seq(const xb_waiter *w);
/* Moves those whose request is in the log no more to `lost`. */
void xb_lose_waiters(xb_conn *conn);
/* Over without a word: its request could not be sent; who waited is gone, or wants no more. Where it is just being told,
 * which may run finalizers, that comes to nothing. */
void xb_drop_waiter(lua_State *L, xb_waiter *w);
/* It is about to be told: from now on nothing frees it but xb_finish. */
void xb_begin_finish(xb_waiter *w);
/* Finishes those whose time has come, `most` of them. Returns how many. */
int xb_finish_due(lua_State *L, xb_state *st, int most);
/* All over without a word: the state is being closed, or the connection collected. */
void xb_free_waiters(lua_State *L, xm_loop *loop, xb_waiters *list);
/* abandon(box): who waits by it will never go on (coroutine.close). Nothing, if it is done. */
int xb_l_abandon(lua_State *L);
/* wake(box): who waits by it, for a time or for nothing that is known here, goes on in the next step, with no results; in the
 * order of these calls. */
int xb_l_wake(lua_State *L);
void xb_open_wait(lua_State *L);
int xb_l_timer(lua_State *L);
int xb_l_spawn(lua_State *L);
int xb_l_signal(lua_State *L);
int xb_l_watch(lua_State *L);

#endif
