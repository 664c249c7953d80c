/* bind: what the files of the binding share. The only folder that knows Lua.
 *
 *   call    the one protected door into Lua: coroutines, tasks, errors
 *   wait    who waits for what, and the timers
 *   say     what is for who runs the program
 *   stanza  tape -> table, table -> out
 *   conn    the connection's userdata: its life and its parts
 *   connect, send, receipt, dispatch, queue, callback   what is done with one
 *   jid     the Jid userdata
 *   module  luaopen, the loop's turns
 *   compat  the other Luas
 */
#ifndef XB_BIND_H
#define XB_BIND_H

#include <stdbool.h>

#include "bounds.h"
#include "compat.h"
#include "conn.h"
#include "err.h"
#include "jid.h"
#include "loop.h"
#include "out.h"
#include "rnd.h"
#include "route.h"
#include "tape.h"

#define XB_CORE "xmpp.core" /* of the registry: the module, which a lua_State has once */
#define XB_CONN "xmpp.Conn"
#define XB_JID "xmpp.Jid"
#define XB_ERROR "xmpp.Error"
#define XB_TIMER "xmpp.Timer"
#define XB_TASK "xmpp.Task"
#define XB_CELL "xmpp.Cell"
#define XB_EBB "xmpp.Ebb"
#define XB_STATE "xmpp.State"
#define XB_HERALD "xmpp.Herald"
#define XB_CONTEXT "xmpp.Context"

typedef struct xb_state xb_state;
typedef struct xb_conn xb_conn;
typedef struct xb_waiter xb_waiter;
typedef struct xb_task xb_task;

/* A list of them, oldest first. */
typedef struct xb_waiters {
  xb_waiter *first, *last;
} xb_waiters;

/* One in each lua_State that has loaded the module; a userdata in the registry. */
struct xb_state {
  xm_loop *loop;
  bool stepping;        /* a step is on the stack */
  unsigned turns;       /* steps so far */
  bool working;         /* on an event: what was begun must be finished */
  bool closing;         /* lua_close has begun */
  bool closed;          /* it has come to us */
  bool warned;          /* of a connection that nobody had stopped */
  bool told_idle;       /* of callbacks that nobody calls */
  const void *herald;   /* see xb_send_herald */
  unsigned nested;      /* coroutines that are being run, one inside the other */
  const xb_task *task;  /* of the call that runs, the innermost; NULL: none */
  lua_State *spare;     /* a coroutine for the next call, made when there was memory; it lies in the registry */
  unsigned conns;       /* connections that have not ended */
  unsigned timers;      /* waiters of kind XB_TIME */
  unsigned signals;     /* waiters of kind XB_SIGNAL */
  xm_rnd_supply ids;    /* of stanzas */
  xm_buf scratch;       /* what is made to be copied into a string at once */
  xb_conn *ready, **ready_end;
  xb_conn *components;  /* connections that are a component's, not collected yet */
  xb_conn *unflushed;   /* these have sent something during the step */
  xb_waiters waiters;   /* of no connection: time, tasks */
  xb_waiter *unborn;    /* memory for the next */
  unsigned refs, most_refs; /* who waits, now and at most since their table was made */
  xb_waiter *due, **due_end; /* their time has come */
};

/* One connection's userdata; its uservalue is a table: see the enum. */
enum {
  XB_HANDLER = 1, XB_CALLBACKS, XB_ONCE, XB_QUEUE, XB_RECEIPTS, XB_LOG, XB_PASSWORD, XB_ABOUT,
  XB_ON_STATE, XB_ON_SESSION, XB_ON_FAILED, XB_ON_FULL, XB_ON_SKIPPED
};
struct xb_conn {
  const void *kind;     /* it is one: see xb_check_conn */
  xb_state *st;
  xm_loop *loop;        /* held while `c` is there: lua_close may collect the state first */
  xm_conn *c;           /* NULL: never opened, or collected */
  xb_conn *next_ready, *next_unflushed, *next_component;
  bool is_ready, is_unflushed;
  bool pinned;          /* in the registry: see xb_keep_alive */
  bool ended;           /* its waiters have been told */
  bool is_fed;          /* for tests: it has no link that could be stopped */
  enum { XB_NO_HANDLER, XB_DEFAULT_HANDLER, XB_OWN_HANDLER } handler;
  bool logs, is_logging;
  bool closing;         /* it was stopped */
  bool resumable;       /* the server is asked to keep its sessions */
  bool listens;         /* to its states: XB_ON_STATE */
  bool hears_sessions;  /* XB_ON_SESSION */
  xm_conn_event event;  /* that came, and waits until what was before it has been told; XM_CONN_NOTHING: none */
  size_t watched;       /* stanzas whose sender wants to know what becomes of them: XB_RECEIPTS, number -> function */
  xm_question *asked;   /* of the stanza that is being dispatched */
  xb_waiters responses, waiters; /* who waits for a response; for something else */
  xb_waiters lost;      /* who waits for a response that can't come any more, and hasn't been told yet */
  bool foreign_from;        /* a component's: `from` may be outside of its domain */
  size_t max_queue, queued; /* bytes; of the stanzas in the receive queue, as they came */
  lua_Integer first, last;  /* of the receive queue: stanza at 2i, its size at 2i+1 (see xb_push_queue) */
  bool stopped;         /* nothing is read, since nobody can take it */
  uint64_t asked_at;    /* when somebody last asked for a stanza of the queue, by xm_loop_now; 0: never */
  unsigned patience;    /* ms since then, after which nobody is taken to ask any more */
  uint64_t behind_since; /* something of ours is behind what nobody takes; 0: not so */
  bool pressing;        /* for so long, or so much, that it is read on for */
  size_t dropped;       /* stanzas of the queue that were thrown away */
  bool told_full;       /* of that */
  bool suspends;        /* a handler, callback or log function of its has waited: all are watched since */
  size_t waiting, held; /* calls of these that wait now; bytes of their stanzas and coroutines */
};

/* What a waiter waits for. */
typedef enum xb_kind {
  XB_TIME,     /* seconds to pass */
  XB_TASK_DUE, /* its first turn (spawn) */
  XB_SIGNAL,   /* a signal, again and again */
  XB_RESPONSE, /* a stanza that answers */
  XB_BOUND,    /* the connection to be ready */
  XB_STANZA,   /* the receive queue to have one */
  XB_SENT,     /* all that had been given when it began to have arrived */
  XB_ENDED,    /* the connection to have ended */
} xb_kind;

/* call.c */

/* What has to be done when a call's coroutine has finished, now or after any number of yields. */
struct xb_task {
  xb_state *st;
  xb_conn *conn;        /* of the next two; kept alive by the task */
  xm_question *question; /* an iq that this call may answer; held */
  uint64_t once;        /* slot of a once-callback: removed if it returned true */
  size_t size;          /* bytes that the connection is charged with while it waits */
  bool waits;           /* it is charged */
};

/* Calls the function below `nargs` arguments in a coroutine of its own, pops all of them. It may yield and go on later, by
 * xb_resume or by whoever else resumes it; an error goes to on_error. `conn` is the index of the task's connection, 0 when it
 * has none. true: it has yielded. */
bool xb_call(lua_State *L, int nargs, const xb_task *task, int conn);
/* Calls the C function below `nargs` arguments, which leaves one result, and meanwhile no finalizer runs: so it may look at
 * memory of the core's that a finalizer would move. Returns and leaves what lua_pcall does. Where nobody can tell whether the
 * collector had been stopped (Lua 5.1) it runs afterwards. */
int xb_undisturbed(lua_State *L, int nargs);
/* Takes the memory that the next xb_call needs before its function runs: raises here, not there. */
void xb_prepare_call(lua_State *L, xb_state *st);
/* Goes on with the suspended coroutine on top of the stack, pops it. One that isn't suspended is left alone. */
void xb_resume(lua_State *L, xb_state *st);
/* Gives the error object on top of the stack, with the traceback of `co` (NULL: none), to on_error; pops it. Never raises. */
void xb_report(lua_State *L, lua_State *co);
/* say.c: says the pieces (the last is NULL), as one line, to who runs the program. Never raises; takes memory only where a
 * host has asked for it (say_by). */
void xb_say(lua_State *L, const char *const *pieces);
int xb_l_say_by(lua_State *L);
/* The string at `index` as an error may show it: mended, and no more than 100 bytes. */
void xb_push_shown(lua_State *L, int index);
int xb_l_shown(lua_State *L);
void xb_push_error(lua_State *L, const xm_err *e);
/* nil and an error table: 2. */
int xb_fail(lua_State *L, const xm_err *e);
void xb_open_call(lua_State *L);
int xb_l_on_error(lua_State *L);

/* The question of the call that runs, if it came on this connection; NULL: there is none. */
xm_question *xb_asked_now(const xb_conn *conn);

/* wait.c */

/* `who` (index): a function, called with the results, or a table, in which they are put: [1].., n, done = true; then its
 * `co` goes on, if it has one. seconds < 0: no bound. NULL: no memory (nothing happened). */
xb_waiter *xb_wait(lua_State *L, xb_state *st, xb_conn *conn, xb_kind kind, int who, double seconds);
/* The waiter is over; `n` results are on top of the stack and popped. A function gets the connection put second. For want
 * of memory it raises, and the waiter goes on waiting. What was pushed after the waiter was found may have run finalizers:
 * then xb_begin_finish came before. */
void xb_finish(lua_State *L, xb_waiter *w, int n);
/* The first waiter of that kind on this connection; NULL: none. */
xb_waiter *xb_find_waiter(const xb_conn *conn, xb_kind kind);
xb_kind xb_waiter_kind(const xb_waiter *w);
void xb_waiter_set_pending(xb_waiter *w, xm_pending *p);
xm_pending *xb_waiter_pending(const xb_waiter *w);
const xb_waiter *xb_next_waiter(const xb_waiter *w);
/* XB_RESPONSE: the number of the stanza by which it asks. XB_SENT: of the last one that it waits for. */
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
void xb_open_wait(lua_State *L);
int xb_l_timer(lua_State *L);
int xb_l_spawn(lua_State *L);
int xb_l_signal(lua_State *L);

/* stanza.c */

/* What a stanza says of itself, for routing; pointers into the table's own strings, or into `room`. */
typedef struct xb_address {
  const char *name, *type, *id, *to, *from;
  size_t id_len, to_len, from_len;
  char room[4][40]; /* numbers as text; not cleared */
} xb_address;

static inline void xb_clear_address(xb_address *a) {
  a->name = a->type = a->id = a->to = a->from = NULL;
  a->id_len = a->to_len = a->from_len = 0;
}

/* No option makes a table's walk deeper: it is a recursion. */
enum { XB_MOST_DEPTH = 1000 };

/* How a table is to be written. */
typedef struct xb_writing {
  const char *ns;       /* a stanza of this content namespace is wanted; NULL: any element */
  const char *new_id;   /* for a stanza without id; NULL: none is added, but: */
  xm_rnd_supply *ids;   /* from here comes the id of an iq that asks and has none; NULL: it stays without */
  char id[XM_RND_ID + 1]; /* that */
  const char *new_from; /* for a stanza without from */
  const xm_bounds *bounds; /* that it keeps to; NULL: only its depth is bounded */
  xb_address *address;  /* filled in, when not NULL */
  char reason[768];     /* after XM_EINVAL: path and what is wrong */
} xb_writing;

static inline void xb_begin_writing(xb_writing *w, const char *ns, xb_address *a) {
  w->ns = ns;
  w->new_id = w->new_from = NULL;
  w->ids = NULL;
  w->bounds = NULL;
  w->address = a;
}

/* Writes the table at `index`. 0; XM_EINVAL (reason), XM_ENOMEM; then nothing is in the buffer. Raises no Lua error, runs no
 * metamethod. */
int xb_write(lua_State *L, int index, xm_buf *out, xb_writing *w);
/* Pushes what xb_write will take for that attribute of the table at `index`, a number as text; nil: it has none. */
void xb_push_attribute(lua_State *L, int index, const char *name);
/* Reads the address of a stanza's table without writing it, and without memory. `child_ns`: in, the stanza's own namespace;
 * out, that of its first child element, NULL when there is none. What both point to is pushed: XB_ADDRESS values. */
enum { XB_ADDRESS = 6 };
void xb_push_address(lua_State *L, int index, xb_address *a, const char **child_ns);
void xb_push_stanza(lua_State *L, const xm_tape *t);
int xb_l_to_xml(lua_State *L);
int xb_l_from_xml(lua_State *L);
int xb_l_from_log(lua_State *L); /* the same of what was sent, as deep as any connection lets it be */
int xb_l_check_stanza(lua_State *L);
int xb_l_number_text(lua_State *L);

/* conn.c */

void xb_open_conn(lua_State *L);
/* The userdata at index 1, which must be open or have been. */
extern const char xb_conn_kind;
xb_conn *xb_check_conn(lua_State *L);
/* Puts a userdata in the registry that is collected first of all when lua_close has begun: finalizers run in the reverse
 * order of creation, so each connection has to be followed by one. */
void xb_send_herald(lua_State *L, xb_state *st);
/* Makes it known by its address, weakly; then its userdata can be pushed (nil when it has been collected). */
void xb_register_conn(lua_State *L, xb_conn *conn, int index);
void xb_push_conn(lua_State *L, xb_conn *conn);
/* Pins it, or no longer, as things stand now. */
void xb_keep_alive(lua_State *L, xb_conn *conn);
/* Pins it for what is about to need it. */
void xb_pin(lua_State *L, xb_conn *conn);
/* A part (XB_HANDLER, ...) of the connection at an index; set: from the top of the stack. */
void xb_push_part(lua_State *L, int conn, int part);
void xb_set_part(lua_State *L, int conn, int part);
/* Gives the log function what there is for it. */
void xb_drain_log(lua_State *L, xb_conn *conn, int index);
int xb_l_is_connection(lua_State *L);
/* is_components(address): is it at the domain of a component's connection? */
int xb_l_is_components(lua_State *L);

/* connect.c */

int xb_l_connect(lua_State *L);
void xb_open_connect(lua_State *L);
/* The TLS sessions that contexts have kept. */
void xb_forget_sessions(lua_State *L);

/* send.c */

void xb_flush_all(xb_state *st);
/* A question nobody answered gets service-unavailable (RFC 6120 8.2.3), and is freed. */
void xb_answer_unavailable(xb_conn *conn, xm_question *q);
/* One that crossed a bound gets policy-violation, with `text`. */
void xb_answer_skipped(xb_conn *conn, xm_question *q, const char *text);
/* The error of whoever uses a closed connection. */
void xb_push_closed(lua_State *L, const xb_conn *conn);
int xb_l_send(lua_State *L);
int xb_l_request(lua_State *L);
int xb_l_expect(lua_State *L);

/* Which of our addresses that is, where we have more than one: a component's. NULL: a client's only one. */
const char *xb_own_address(const xb_conn *conn, const char *to);

/* receipt.c */

/* The function on top of the stack is to be told of the next stanza; pops it. Before that is committed, since memory may run
 * out: the stanza's number, to be forgotten (which never raises) if it isn't. */
uint64_t xb_expect_receipt(lua_State *L, xb_conn *conn);
void xb_forget_receipt(lua_State *L, xb_conn *conn, int index, uint64_t seq);
/* Tells what has become of stanzas, and gives back what can't be sent; `left` is how many calls that may be, and what is left
 * of it. false: there is more. */
bool xb_tell_receipts(lua_State *L, xb_conn *conn, int index, int *left);
/* Tells the state to who listens. */
void xb_tell_state(lua_State *L, xb_conn *conn, int index);
/* Tells who listens for sessions that there is a new one after one that was lost. */
void xb_tell_session(lua_State *L, xb_conn *conn, int index);
/* Tells of a stanza that crossed a bound, of which the connection has the start tag: to who listens; if nobody does and no
 * waiter has heard of it (`told`), to on_error. */
void xb_tell_skipped(lua_State *L, xb_conn *conn, int index, const xm_err *why, bool told);
/* Everybody whose response can't come any more is told. */
void xb_tell_lost(lua_State *L, xb_conn *conn, int *left);
int xb_l_on(lua_State *L);

/* save.c */

int xb_l_save(lua_State *L);
/* The flags (XM_SM_...) of a stanza whose saved table is on top of the stack. */
unsigned xb_saved_flags(lua_State *L);
int xb_l_clocks(lua_State *L);
int xb_l_enqueue(lua_State *L);

/* dispatch.c */

/* Its turn. How many were called of those who take a stanza, or wait for something, at most `most`; the stanzas among that are
 * added to `stanzas`. Raises only when memory is so short that its end can't be told. */
int xb_service(lua_State *L, xb_conn *conn, int most, int *stanzas);
/* Tells the waiter that the connection has ended. */
void xb_finish_ended(lua_State *L, xb_conn *conn, xb_waiter *w);
int xb_l_default_handler(lua_State *L);

/* The question that the stanza's table at `index` asks, held once; NULL: it needs no answer, or there is no memory. */
xm_question *xb_ask_table(lua_State *L, xb_conn *conn, int index);

/* queue.c */

/* The stanza on top of the stack goes to the end of the receive queue; pops it. `claimed`: a response that its waiter has had:
 * callbacks are to see it, and nobody else. */
void xb_push_queue(lua_State *L, xb_conn *conn, int index, size_t size, bool claimed);
/* The same for what has just come. Where nobody asks for stanzas, and the queue is full, room is made first: the oldest are
 * thrown away, which is told. */
void xb_queue(lua_State *L, xb_conn *conn, int index, size_t size);
/* The queue's first goes to the top of the stack; false: it is empty. */
bool xb_pop_queue(lua_State *L, xb_conn *conn, int index, size_t *size, bool *claimed);
/* The first that isn't for callbacks alone. */
bool xb_receive(lua_State *L, xb_conn *conn, int index);
/* Somebody has asked for a stanza. */
void xb_note_asked(xb_conn *conn);
/* Bytes, about, that a stanza takes in Lua. */
size_t xb_size_of(const xm_tape *t);
/* A call of a handler or callback, or of who listens, for a stanza of `size` bytes, waits; it is over. */
void xb_call_waits(xb_conn *conn, size_t size);
void xb_call_is_over(xb_conn *conn, size_t size);
/* So many wait that what comes is not given to handler or callbacks, but queued for them. */
bool xb_must_park(const xb_conn *conn);
/* Nobody can take what comes: reading stops, TCP pushes back; unless somebody waits for what has to be read first. */
bool xb_is_full(xb_conn *conn);

/* callback.c */

void xb_remove_callback(lua_State *L, xb_conn *conn, int index, uint64_t slot);
int xb_l_receive(lua_State *L);
int xb_l_set_handler(lua_State *L);
/* The same value each time. */
void xb_push_default_handler(lua_State *L);
int xb_l_stop_handler(lua_State *L);
int xb_l_handler(lua_State *L);
int xb_l_set_callback(lua_State *L);
int xb_l_set_callback_once(lua_State *L);
int xb_l_unset_callback(lua_State *L);
int xb_l_callbacks(lua_State *L);

/* jid.c */

void xb_open_jid(lua_State *L);
void xb_push_jid(lua_State *L, const xm_jid *jid);
const xm_jid *xb_test_jid(lua_State *L, int index);
int xb_l_jid(lua_State *L);
int xb_l_is_jid(lua_State *L);
int xb_l_host(lua_State *L);

/* module.c */

/* The state of this lua_State. Raises when lua_close has freed it: what is finalized after it may still call us. */
xb_state *xb_state_of(lua_State *L);
/* What getmetatable gives for the metatable on top of the stack, instead of the metatable. */
void xb_close_metatable(lua_State *L, const char *instead);
void xb_mark_ready(xb_conn *conn);
/* Something that could still happen won't: when that was the last, a host that only waits for it is called. */
void xb_less_to_do(xb_state *st);
/* Something has been begun: a host that stops when there is nothing to do goes on. May raise what that raises. */
void xb_begun(lua_State *L);

#endif
