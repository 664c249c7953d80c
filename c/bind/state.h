/* state: what a Lua state has of the library, and what each connection is: the data that the rooms above share, and the
 * lists of what has something to do. Rank 0: knows compat. */
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

#define XB_CORE "xmpp.core" /* of the registry: the module, which a lua_State has once */
#define XB_CONN "xmpp.Conn"
#define XB_JID "xmpp.Jid"
#define XB_ERROR "xmpp.Error"
#define XB_TIMER "xmpp.Timer"
#define XB_TASK "xmpp.Task"
#define XB_CELL "xmpp.Cell"
#define XB_SITE "xmpp.Site"
#define XB_EBB "xmpp.Ebb"
#define XB_STATE "xmpp.State"
#define XB_HERALD "xmpp.Herald"
#define XB_CONTEXT "xmpp.Context"

typedef struct xb_state xb_state;
typedef struct xb_conn xb_conn;
typedef struct xb_waiter xb_waiter;
typedef struct xb_task xb_task; /* call's */
typedef struct xb_line xb_line; /* line's */

/* A list of them, oldest first. */
typedef struct xb_waiters {
  xb_waiter *first, *last;
} xb_waiters;

enum { XB_NEAR = 128 }; /* so many waiters at once cost the least: see wait.c */

/* One in each lua_State that has loaded the module; a userdata in the registry. */
struct xb_state {
  xm_loop *loop;
  bool stepping;        /* a step is on the stack */
  unsigned turns;       /* steps so far */
  bool working;         /* on an event: what was begun must be finished */
  bool closing;         /* lua_close has begun */
  bool closed;          /* it has come to us */
  bool warned;          /* of a connection that nobody had stopped */
  const void *herald;   /* see xb_send_herald */
  unsigned nested;      /* coroutines that are being run, one inside the other */
  const xb_task *task;  /* of the call that runs, the innermost; NULL: none */
  lua_State *spare;     /* a coroutine for the next call, made when there was memory; it lies in the registry */
  unsigned conns;       /* connections that have not ended */
  unsigned timers;      /* waiters of kind XB_TIME, XB_WATCH */
  unsigned signals;     /* waiters of kind XB_SIGNAL */
  xm_rnd_supply ids;    /* of stanzas */
  xm_buf scratch;       /* what is made to be copied into a string at once */
  xb_conn *ready, **ready_end;
  xb_conn *components;  /* connections that are a component's, not collected yet */
  xb_conn *unflushed;   /* these have sent something during the step */
  xb_waiters waiters;   /* of no connection: time, tasks */
  xb_waiter *unborn;    /* memory for the next */
  xb_waiter *near[XB_NEAR]; /* those with a place of their own; NULL: it is free */
  uint64_t near_used[XB_NEAR / 64];
  uint64_t serials;     /* of waiters that can be cancelled, so far */
  unsigned refs, most_refs; /* who waits, now and at most since their table was made */
  xb_waiter *due, **due_end; /* their time has come */
};

/* One connection's userdata; its uservalue is a table: see the enum. */
enum {
  XB_HANDLER = 1, XB_CALLBACKS, XB_TAPS, XB_MODES, XB_LINED, XB_QUEUE, XB_RECEIPTS, XB_LOG, XB_PASSWORD, XB_ABOUT,
  XB_ON_STATE, XB_ON_FAILED, XB_ON_FULL, XB_ON_SKIPPED, XB_ON_SESSION, XB_ON_TOKEN, XB_ADDS
};
/* XB_MODES: how the function with that slot among the callbacks, or (less than 0) among the taps, is called. */
enum { XB_ONCE = 1, XB_SERIAL = 2 };
struct xb_conn {
  const void *kind;     /* it is one: see xb_check_conn */
  xb_state *st;
  xm_loop *loop;        /* held while `c` is there: lua_close may collect the state first */
  xm_conn *c;           /* NULL: never opened, or collected */
  xm_filters *callbacks, *taps; /* by slot number, with XB_CALLBACKS and XB_TAPS; there while `c` is */
  xb_conn *next_ready, *next_unflushed, *next_component;
  bool is_ready, is_unflushed;
  bool pinned;          /* in the registry: see xb_keep_alive */
  bool ended;           /* its waiters have been told */
  bool is_fed;          /* for tests: it has no link that could be stopped */
  enum { XB_NO_HANDLER, XB_DEFAULT_HANDLER, XB_OWN_HANDLER } handler;
  bool decided;         /* the program has said which, or that there is to be none */
  bool logs, is_logging;
  bool closing;         /* it was stopped */
  bool draining;        /* nothing more is taken: see drain.h. Of that: */
  bool dry;             /* what has been received is given out still */
  bool parting, late;   /* the stream is being closed; before all that has come was done with */
  xm_timer drain_timer; /* when to look again */
  uint64_t drain_by, drain_end; /* when calls are waited for no longer; when all has to be over */
  size_t to_finish, given, unfinished; /* calls that waited when it began; stanzas given to somebody since; calls that waited
                                          when the connection had ended */
  bool resumable;       /* the server is asked to keep its sessions */
  bool listens;         /* somebody does, to its states or sessions */
  unsigned session;     /* how many new ones there were, after the first */
  bool adds, adding;    /* somebody adds to what is sent; is being asked what */
  size_t openers;       /* calls of listeners that this one waits for */
  xm_conn_event event;  /* that came, and waits until what was before it has been told; XM_CONN_NOTHING: none */
  size_t watched;       /* stanzas whose sender wants to know what becomes of them: XB_RECEIPTS, number -> function */
  xm_question *asked;   /* of the stanza that is being dispatched */
  xb_waiters responses, waiters; /* who waits for a response; for something else */
  xb_waiters lost;      /* who waits for a response that can't come any more, and hasn't been told yet */
  bool foreign_from;        /* a component's: `from` may be outside of its domain */
  size_t max_queue, queued; /* bytes; of the stanzas in the receive queue, as they came */
  lua_Integer first, last;  /* of the receive queue: stanza at 2i, its size at 2i+1 (see xb_push_queue) */
  lua_Integer offered;      /* those before it have been offered to the taps that there were */
  size_t fresh, holes;      /* bytes of those that haven't; places whose stanza a tap has taken */
  bool stopped;         /* nothing is read, since nobody can take it */
  bool is_held;         /* nor while who takes it says so: see xb_l_hold */
  uint64_t asked_at;    /* when somebody last asked for a stanza of the queue, by xm_loop_now; 0: never */
  unsigned patience;    /* ms since then, after which nobody is taken to ask any more */
  uint64_t behind_since; /* something of ours is behind what nobody takes; 0: not so */
  bool pressing;        /* for so long, or so much, that it is read on for */
  size_t dropped;       /* stanzas of the queue that were thrown away */
  bool told_full;       /* of that */
  bool suspends;        /* a handler or callback of its has waited: all are watched since */
  size_t waiting, held; /* calls of these that wait now, be it in a line; bytes of their stanzas and coroutines */
  xm_table lines;       /* of what is called for one sender at a time: by function and sender, while there is a call */
  uint64_t seed;        /* of their hashes */
  lua_Integer lined;    /* the newest place in XB_LINED */
  xb_line *due, **due_end; /* those whose next may be called */
};

/* A new state, in the registry, with the function that ends it. Raises for want of memory. */
xb_state *xb_new_state(lua_State *L, lua_CFunction gc);
/* What it has itself; who waits in it has been freed. */
void xb_free_state(xb_state *st);
/* The state of this lua_State. Raises when lua_close has freed it: what is finalized after it may still call us. */
xb_state *xb_state_of(lua_State *L);
/* What getmetatable gives for the metatable on top of the stack, instead of the metatable. */
void xb_close_metatable(lua_State *L, const char *instead);
void xb_mark_ready(xb_conn *conn);
/* The first that is ready, which it is no longer; there must be one. */
xb_conn *xb_take_ready(xb_state *st);
/* Is there something that could still happen? A suspended coroutine is none: what could wake it counts by itself. */
bool xb_is_busy(const xb_state *st);
/* Something that could still happen won't: when that was the last, a host that only waits for it is called. */
void xb_less_to_do(xb_state *st);
/* Something has been begun: a host that stops when there is nothing to do goes on. May raise what that raises. */
void xb_begun(lua_State *L);
int xb_l_on_begun(lua_State *L);

static inline bool xb_has_taps(const xb_conn *conn) { return xm_filters_after(conn->taps, 0) != 0; }
/* Somebody has asked for a stanza. */
static inline void xb_note_asked(xb_conn *conn) {
  conn->asked_at = xm_loop_now(conn->loop);
  conn->told_full = false;
}

#endif
