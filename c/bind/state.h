/* state: the data that the library keeps for a Lua state and for each connection, shared by the modules above, and the
 * lists of what has something to do. Rank 0: uses compat. */
#ifndef XB_STATE_H
#define XB_STATE_H

#include <stdbool.h>

#include "compat.h"
#include "conn.h"
#include "filters.h"
#include "jid.h"
#include "loop.h"
#include "rnd.h"
#include "route.h"
#include "table.h"

#define XB_CORE "xmpp.core" /* registry key of the module's table, of which a lua_State has one */
#define XB_CONN "xmpp.Conn"
#define XB_JID "xmpp.Jid"
#define XB_ERROR "xmpp.Error"
#define XB_TIMER "xmpp.Timer"
#define XB_TASK "xmpp.Task"
#define XB_CELL "xmpp.Cell"
#define XB_SITE "xmpp.Site"
#define XB_SHRINKER "xmpp.Shrinker"
#define XB_STATE "xmpp.State"
#define XB_SENTINEL "xmpp.Sentinel"
#define XB_CONTEXT "xmpp.Context"

typedef struct xb_state xb_state;
typedef struct xb_conn xb_conn;
typedef struct xb_waiter xb_waiter;
typedef struct xb_task xb_task; /* see call.h */
typedef struct xb_line xb_line; /* see line.c */

/* A list of waiters, oldest first. */
typedef struct xb_waiters {
  xb_waiter *first, *last;
} xb_waiters;

enum { XB_KINDS = 11 }; /* the number of kinds of waiters: see wait.h */
enum { XB_NEAR = 128 }; /* the number of waiters that have a slot in an array: see push_key in wait.c */

/* One for each lua_State that has loaded the module; a userdata in the registry. */
struct xb_state {
  xm_loop *loop;
  bool stepping;        /* core.step is running */
  unsigned turns;       /* steps so far */
  bool working;         /* an event is being handled: an error now means that it is lost */
  bool closing;         /* lua_close has begun, as the sentinel has noticed */
  bool closed;          /* this state has been finalized, and its loop is gone */
  bool warned;          /* the warning about a connection collected without stop() has been given */
  const void *sentinel; /* the newest sentinel: see xb_put_sentinel */
  unsigned nested;      /* coroutines that are running now, each resumed inside the one before */
  const xb_task *task;  /* the task of the innermost call that is running; NULL: none */
  lua_State *spare;     /* a coroutine for the next call, made ahead (xb_prepare_call); anchored in the registry */
  unsigned conns;       /* connections that have not ended */
  unsigned timers;      /* waiters of kind XB_TIME, XB_WATCH */
  unsigned signals;     /* waiters of kind XB_SIGNAL */
  xm_rnd_supply ids;    /* random ids of stanzas */
  xm_buf scratch;       /* text under construction, copied into a Lua string at once */
  xb_conn *ready, **ready_end;
  xb_conn *components;  /* components' connections that aren't collected yet */
  xb_conn *unflushed;   /* connections that have sent something during this step */
  xb_waiters waiters;   /* waiters without a connection: timers, tasks, signals, descriptors */
  xb_waiter *unborn;    /* memory for the next waiter, allocated already */
  xb_waiter *near[XB_NEAR]; /* the waiters that have a slot; NULL: the slot is free */
  uint64_t near_used[XB_NEAR / 64];
  uint64_t serials;     /* serial numbers given so far to waiters that can be cancelled */
  unsigned refs, most_refs; /* entries in the table of waiters: now, and the most since that table was made */
  xb_waiter *due, **due_end; /* waiters that are to be told in this step or the next */
};

/* One connection's userdata. Its user value is a table with these slots, the connection's "parts": */
enum {
  XB_HANDLER = 1, XB_CALLBACKS, XB_TAPS, XB_MODES, XB_LINED, XB_QUEUE, XB_RECEIPTS, XB_LOG, XB_PASSWORD, XB_ABOUT,
  XB_ON_STATE, XB_ON_FAILED, XB_ON_FULL, XB_ON_SKIPPED, XB_ON_SESSION, XB_ON_TOKEN, XB_ADDS
};
/* XB_MODES maps a function's key to flags for how it is called. The key is the slot number of a callback, or the
 * negative slot number of a tap. */
enum { XB_ONCE = 1, XB_SERIAL = 2 };
struct xb_conn {
  const void *kind;     /* the address of xb_conn_kind, by which xb_check_conn knows a connection */
  xb_state *st;
  xm_loop *loop;        /* held while `c` exists: lua_close may collect the state first */
  xm_conn *c;           /* NULL: it was never opened, or has been collected */
  xm_filters *callbacks, *taps; /* filters by slot number, as in XB_CALLBACKS and XB_TAPS; they exist as long as `c` */
  xb_conn *next_ready, *next_unflushed, *next_component;
  bool is_ready, is_unflushed;
  bool pinned;          /* kept alive by an entry in the registry: see xb_keep_alive */
  bool ended;           /* the core has reported its end */
  bool is_fed;          /* for tests: it is fed with bytes, and has no link */
  enum { XB_NO_HANDLER, XB_DEFAULT_HANDLER, XB_OWN_HANDLER } handler;
  bool decided;         /* a handler has been set or stopped, so the first callback doesn't set the default one */
  bool logs, is_logging;
  bool closing;         /* the stream is being closed, by stop or at the end of draining */
  bool draining;        /* no more stanzas are accepted: see drain.h. Its state: */
  bool dry;             /* what has been received is still being dispatched */
  bool parting, late;   /* the stream is being closed; and was before all that had been received was handled */
  xm_timer drain_timer; /* when to check again whether it is finished */
  uint64_t drain_by, drain_end; /* the time after which suspended calls aren't waited for any more; the time by which
                                   the connection must have ended */
  size_t to_finish, given, unfinished; /* calls that were suspended when draining began; stanzas dispatched since; calls
                                          still suspended when the connection had ended */
  bool resumable;       /* the server is asked to make its sessions resumable */
  bool listens;         /* there is a listener to its states or sessions */
  unsigned session;     /* the number of new sessions after the first */
  bool adds, adding;    /* there are functions that add to what is sent (add.h); one of them is running */
  size_t openers;       /* running calls of listeners to "session"; what the lost session left is sent when all are
                           over */
  xm_conn_event event;  /* an event taken from the core, to be handled when what came before it has been reported;
                           XM_CONN_NOTHING: none */
  size_t watched;       /* stanzas sent with `on`: the number of entries in XB_RECEIPTS, which maps a stanza's number to
                           its function */
  xm_question *asked;   /* the question (question.h) of the stanza that is being dispatched; NULL: none */
  xb_waiters responses, waiters; /* waiters for a response; for something else */
  unsigned of_kind[XB_KINDS]; /* how many waiters there are of each kind */
  xb_waiters lost;      /* waiters whose response can't come any more, and who haven't been told yet */
  bool foreign_from;        /* a component's option: `from` may be outside of its domain */
  size_t max_queue, queued; /* in bytes: the option; what the stanzas in the receive queue take, about */
  lua_Integer first, last;  /* first place in the receive queue, and the one behind the last; place i is at 2i and 2i+1
                               of XB_QUEUE: see queue.c */
  lua_Integer offered;      /* the stanzas before this place have been offered to the taps */
  size_t fresh, holes;      /* bytes of the stanzas that haven't; places that a tap has emptied by taking the stanza */
  bool stopped;         /* reading from the socket is stopped, as the queue is full */
  bool is_held;         /* it is also stopped because the program said so: see xb_l_hold */
  uint64_t asked_at;    /* when the program last asked for a stanza of the queue, by xm_loop_now; 0: never */
  unsigned patience;    /* ms after which the program is taken not to ask again */
  uint64_t behind_since; /* since when something that the connection needs may be behind stanzas that nobody takes; 0:
                            it isn't so */
  bool pressing;        /* it has been so for so long that reading goes on nevertheless */
  size_t dropped;       /* stanzas thrown away because the queue was full */
  bool told_full;       /* the program has been told so */
  bool suspends;        /* one of its handlers or callbacks has yielded; since then all calls are counted */
  size_t waiting, held; /* calls that are suspended or wait in a line; bytes that their stanzas and coroutines take */
  xm_table lines;       /* calls under `serial = "from"`: one entry for each function and sender that is being called
                           (line.h) */
  uint64_t seed;        /* seed of the hashes in `lines` */
  lua_Integer lined;    /* the newest index in XB_LINED, where stanzas wait for their turn */
  xb_line *due, **due_end; /* lines whose next stanza may be dispatched */
};

/* Creates the state and puts it in the registry; `gc` is its finalizer. Raises when there is no memory. */
xb_state *xb_new_state(lua_State *L, lua_CFunction gc);
/* Frees what the state owns itself; its waiters must have been freed before. */
void xb_free_state(xb_state *st);
/* The state of this lua_State. Raises when lua_close has finalized it already: objects that are finalized later may
 * still call us. */
xb_state *xb_state_of(lua_State *L);
/* Sets __metatable of the metatable on top of the stack, so that getmetatable returns `instead`. */
void xb_close_metatable(lua_State *L, const char *instead);
void xb_mark_ready(xb_conn *conn);
/* Takes the first connection out of the list of those that are ready. The list must not be empty. */
xb_conn *xb_take_ready(xb_state *st);
/* Can anything still happen? A suspended coroutine alone doesn't count: what could wake it counts by itself. */
bool xb_is_busy(const xb_state *st);
/* Something that xb_is_busy counts is gone. If it was the last, the host's loop is woken, so that it can stop. */
void xb_less_to_do(xb_state *st);
/* Something has been begun: calls the function set by on_begun, so that a host whose loop stops when there is nothing
 * to do goes on. Raises what that function raises. */
void xb_begun(lua_State *L);
int xb_l_on_begun(lua_State *L);

static inline bool xb_has_taps(const xb_conn *conn) { return xm_filters_after(conn->taps, 0) != 0; }
/* The program has asked for a stanza of the receive queue. */
static inline void xb_note_asked(xb_conn *conn) {
  conn->asked_at = xm_loop_now(conn->loop);
  conn->told_full = false;
}

#endif
