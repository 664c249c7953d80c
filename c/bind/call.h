/* call: the one protected door into Lua. Whatever of the user's runs, runs in a coroutine that is resumed here, so it
 * may throw, yield, and wait; errors go to on_error and nowhere else. Rank 1: knows say, state. */
#ifndef XB_CALL_H
#define XB_CALL_H

#include "state.h"

/* What else has to be done for a call of a connection's, which who calls knows. */
typedef struct xb_duty {
  /* Its coroutine has yielded: `task` is what is kept of it. NULL: nothing is to be done. */
  void (*waits)(const xb_task *task);
  /* It is over, now or after any number of yields, or nobody can resume it any more; `done`: it has returned exactly true. The
   * connection may have been collected (conn->c), or even the state (st->closed), where nothing can be done in Lua any more. */
  void (*over)(lua_State *L, const xb_task *task, bool done);
} xb_duty;

/* A call of a connection's. */
struct xb_task {
  xb_state *st;
  xb_conn *conn;          /* kept alive by the task; NULL: there is nothing to be done, and the rest isn't looked at */
  const xb_duty *duty;
  xm_question *question;  /* an iq that this call may answer; held */
  /* These are the duty's own. */
  xb_line *line;          /* which goes on when this is over */
  uint64_t once;          /* slot of a once-callback: removed if it returned true */
  unsigned session;       /* of a listener to new sessions: which; what it holds back leaves when the last of them is over */
  size_t size;            /* bytes that the connection is charged with while it waits */
  bool waits;             /* it has yielded */
};

/* Where an error comes from, for who is told of it. `what`: "handler", "callback", "response" (of send_callback), "receipt"
 * (send's `on`), "tap", "add", "log", "timer", "task", "signal", or an event of conn:on, also when nobody listens to that. The
 * others are indexes of the stack, from its bottom: connection, stanza, and the function that was called; 0: there is none. */
typedef struct xb_site {
  xb_state *st;
  const char *what;
  int conn, stanza, func;
} xb_site;

/* Calls the function below `nargs` arguments in a coroutine of its own, pops all of them. It may yield and go on later, by
 * xb_resume or by whoever else resumes it; an error goes to on_error, with `what`, `conn` and `stanza` as in xb_site. A task's
 * connection is at `conn`. */
typedef enum xb_outcome {
  XB_OVER,  /* it has returned, or thrown */
  XB_TRUE,  /* it has returned exactly true */
  XB_WAITS, /* it has yielded */
} xb_outcome;
xb_outcome xb_call(lua_State *L, int nargs, const xb_task *task, const char *what, int conn, int stanza);
/* Calls the C function below `nargs` arguments, which leaves one result, and meanwhile no finalizer runs: so it may look at
 * memory of the core's that a finalizer would move. Returns and leaves what lua_pcall does. Where nobody can tell whether the
 * collector had been stopped (Lua 5.1) it runs afterwards. */
int xb_undisturbed(lua_State *L, int nargs);
/* Takes the memory that the next xb_call needs before its function runs: raises here, not there. */
void xb_prepare_call(lua_State *L, xb_state *st);
/* Goes on with the suspended coroutine on top of the stack, pops it. One that isn't suspended is left alone. */
void xb_resume(lua_State *L, xb_state *st);
/* Gives the error object on top of the stack, with the traceback of `co` (NULL: none), to on_error; pops it. Never raises. */
void xb_report(lua_State *L, lua_State *co, const xb_site *site);
/* owned(p): what the coroutine that calls this throws is told to p, whose metatable has __thrown(p, object) -> taken? Else it
 * goes to on_error. The caller holds p on its stack. */
int xb_l_owned(lua_State *L);
void xb_open_call(lua_State *L);
int xb_l_on_error(lua_State *L);

/* Calls of handler, callbacks, taps, and for responses, of a connection, that wait and of which no task is kept, so that nobody
 * tells when they are over: the first of a connection, and those for responses. */
size_t xb_count_untold(lua_State *L, const xb_conn *conn);
/* Is the value on top of the stack, which is popped, the coroutine of a call that waits, one of these, or one with a task that is
 * told that it waits? */
bool xb_is_call_for(lua_State *L, const xb_conn *conn);
/* The question of the call that runs, if it came on this connection; NULL: there is none. */
xm_question *xb_asked_now(const xb_conn *conn);

#endif
