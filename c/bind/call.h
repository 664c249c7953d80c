/* call: the one place where functions of the program are called. Each runs in a coroutine that is resumed here, so that
 * it may raise errors, yield and wait; its errors go to on_error and nowhere else. Rank 1: uses say, state, shrink. */
#ifndef XB_CALL_H
#define XB_CALL_H

#include "state.h"

/* What the caller of xb_call must do for a connection's call when it is suspended, and when it is over. */
typedef struct xb_duty {
  /* The call's coroutine has yielded; `task` is the copy that will be kept. NULL: nothing is to be done. */
  void (*waits)(const xb_task *task);
  /* The call is over, at once or after any number of yields, or its coroutine has been collected. `done`: it has
   * returned exactly true. The connection may have been collected by then (conn->c is NULL), or even the state be
   * closed (st->closed), where Lua can't be used any more. */
  void (*over)(lua_State *L, const xb_task *task, bool done);
} xb_duty;

/* A connection's call. */
struct xb_task {
  xb_state *st;
  xb_conn *conn;          /* kept alive by the task; NULL: nothing is to be done, and the other fields but `st` are
                             ignored */
  const xb_duty *duty;
  xm_question *question;  /* an iq that this call may answer; the task holds a reference to it */
  /* The fields that follow are for the duty's functions only. */
  xb_line *line;          /* the line whose next stanza is dispatched when this call is over; NULL: none */
  uint64_t once;          /* the slot of a once-callback, which is removed if it returns true; 0: it is none */
  unsigned session;       /* of a listener to "session": the session's number; what is held back is sent when the last
                             of them is over */
  size_t size;            /* bytes that the connection is charged with while it waits */
  bool waits;             /* it has yielded */
};

/* Where an error comes from, which is told together with it. `what`: "handler", "callback", "response" (of
 * send_callback), "receipt" (send's `on`), "tap", "add", "log", "timer", "task", "signal", or the name of an event of
 * conn:on (also when nobody listens to that event). The others are stack indexes, counted from the bottom: the
 * connection, the stanza, and the function that was called; 0: there is none. */
typedef struct xb_site {
  xb_state *st;
  const char *what;
  int conn, stanza, func;
} xb_site;

/* Calls the function below `nargs` arguments in a coroutine of its own, and pops all of them. It may yield, and be
 * resumed later by xb_resume or by anybody else. An error goes to on_error, with `what`, `conn` and `stanza` as in
 * xb_site. If the task has a connection, `conn` is its index. */
typedef enum xb_outcome {
  XB_OVER,  /* it has returned, or raised an error */
  XB_TRUE,  /* it has returned exactly true */
  XB_WAITS, /* it has yielded */
  XB_GONE,  /* it wasn't called, as a finalizer removed it just before (xb_call doesn't return this) */
} xb_outcome;
xb_outcome xb_call(lua_State *L, int nargs, const xb_task *task, const char *what, int conn, int stanza);
/* Calls the C function below `nargs` arguments, which returns one result, while the collector is stopped. No finalizer
 * runs meanwhile, so the function may read memory of the core that a finalizer could move. Returns and leaves what
 * lua_pcall does. Lua 5.1 can't tell whether the collector had been stopped before; there it always runs afterwards. */
int xb_undisturbed(lua_State *L, int nargs);
/* Allocates what the next xb_call needs before its function runs, so that a lack of memory raises here, and not
 * there. */
void xb_prepare_call(lua_State *L, xb_state *st);
/* Resumes the suspended coroutine on top of the stack, and pops it. One that isn't suspended is left alone. */
void xb_resume(lua_State *L, xb_state *st);
/* Gives the error object on top of the stack to on_error, with the traceback of `co` (NULL: none), and pops it. Never
 * raises. */
void xb_report(lua_State *L, lua_State *co, const xb_site *site);
/* owned(p): an error that the calling coroutine raises is offered to p, whose metatable has __thrown(p, object) -> has
 * p taken it? Otherwise it goes to on_error. The registry refers to p only weakly, so the caller must keep it on its
 * stack. */
int xb_l_owned(lua_State *L);
void xb_open_call(lua_State *L);
int xb_l_on_error(lua_State *L);

/* The number of suspended calls of a connection's handler, callbacks, taps and functions for responses that have no
 * task, so that nothing is called when they are over: the first call of a connection that yields, and all calls for
 * responses. */
size_t xb_count_untold(lua_State *L, const xb_conn *conn);
/* Pops a value: is it the coroutine of a suspended call of this connection, either one that xb_count_untold counts, or
 * one whose task has a `waits` function? */
bool xb_is_call_for(lua_State *L, const xb_conn *conn);
/* The question that the running call may answer, if it came on this connection; NULL: there is none. */
xm_question *xb_asked_now(const xb_conn *conn);

#endif
