#include "dispatch.h"

#include <string.h>

#include "call.h"
#include "callback.h"
#include "charge.h"
#include "drain.h"
#include "fault.h"
#include "line.h"
#include "listen.h"
#include "log.h"
#include "ns.h"
#include "parts.h"
#include "question.h"
#include "queue.h"
#include "receipt.h"
#include "spelled.h"
#include "stanza.h"
#include "state.h"
#include "token.h"
#include "wait.h"

enum {
  CALLS_A_TURN = 128, /* calls for one connection in a step; then it is another connection's turn */
  FEW = 16            /* functions that want a stanza, or children that it has, for which no memory is allocated */
};

/* A stanza that is being dispatched. Its table is made once, when somebody wants it. */
typedef struct dispatch {
  lua_State *L;
  xb_conn *conn;
  int at;                /* index of the connection's userdata */
  const xm_tape *tape;   /* NULL: the stanza is a table already */
  int table;             /* index of the stanza's table; 0: it isn't made yet */
  size_t size;           /* approximate number of bytes that it takes; 0: not known */
  xm_question *question; /* set if it is an iq that must be answered */
} dispatch;

/* Makes the table, and leaves it on the stack for the rest of the dispatch. The caller must not have pushed anything
 * that it will pop. */
static void need_table(dispatch *d) {
  if (d->table) return;
  xb_push_stanza(d->L, d->tape);
  d->table = lua_gettop(d->L);
}

/* How a function is called: the name that is told with its errors, and what is to be done when the call is over. */
typedef struct way {
  const char *what;
  uint64_t once; /* a once-callback's slot */
  xb_line *line;
} way;

static void waits(const xb_task *t) { xb_call_waits(t->conn, t->size); }

static void over(lua_State *L, const xb_task *t, bool done) {
  bool is_there = !t->st->closed && t->conn->c;
  if (t->waits && !t->st->closed) xb_call_is_over(t->conn, t->size);
  if (t->once && done && is_there) {
    xb_push_conn(L, t->conn);
    if (!lua_isnil(L, -1)) xb_remove_callback(L, t->conn, lua_gettop(L), t->once);
    lua_pop(L, 1);
  }
  if (t->line && is_there) xb_line_goes_on(t->conn, t->line);
  if (t->question && xm_question_release(is_there ? xm_conn_route(t->conn->c) : NULL, t->question))
    xb_answer_unavailable(t->conn, t->question);
}

static const xb_duty duty = {waits, over};

/* Calls the function on top of the stack with stanza and connection. If something is to be done when the call is over,
 * xb_prepare_call must have been called before. */
static xb_outcome deliver(dispatch *d, const way *how) {
  xb_outcome outcome;
  xb_task task = {.st = d->conn->st, .question = d->question, .once = how->once, .line = how->line, .size = d->size};
  if (d->question) xm_question_hold(d->question);
  if (d->question || how->once || how->line || d->conn->suspends)
    task.conn = d->conn, task.duty = &duty; /* watching every call would slow down programs whose calls never wait */
  lua_pushvalue(d->L, d->table);
  lua_pushvalue(d->L, d->at);
  outcome = xb_call(d->L, 2, &task, how->what, d->at, d->table);
  if (outcome == XB_WAITS) d->conn->suspends = true;
  return outcome;
}

/* Pushes the callback or tap with that key; false, and nothing is pushed: a finalizer has removed it. */
static bool push_function(dispatch *d, lua_Integer key) {
  xb_push_part(d->L, d->at, key < 0 ? XB_TAPS : XB_CALLBACKS);
  lua_rawgeti(d->L, -1, key < 0 ? -key : key);
  lua_remove(d->L, -2);
  if (!lua_isnil(d->L, -1)) return true;
  lua_pop(d->L, 1);
  return false;
}

/* Calls the callback or tap that push_function has pushed. */
static xb_outcome call(dispatch *d, lua_Integer key, unsigned mode, xb_line *line) {
  way how = {.what = key < 0 ? "tap" : "callback", .once = mode & XB_ONCE ? (uint64_t)key : 0, .line = line};
  return deliver(d, &how);
}

static bool join_line(dispatch *d, lua_Integer key, const xm_spelled *from) {
  xb_turn turn = {.size = d->size, .question = d->question};
  if (!xb_find_line(d->conn, key, from->s, from->n)) return false;
  lua_pushvalue(d->L, d->table);
  return xb_join_line(d->L, d->conn, d->at, key, from->s, from->n, &turn);
}

/* Calls the function, or lets the stanza wait while it is being called for the same sender. Allocating may run
 * finalizers, by which such a call may end, or begin. */
static xb_outcome call_in_turn(dispatch *d, lua_Integer key, unsigned mode) {
  xm_jid room[2];
  xm_spelled from;
  xb_line *line;
  size_t n;
  const char *s;
  xb_push_attribute(d->L, d->table, "from"); /* the string stays on the stack */
  s = lua_tolstring(d->L, -1, &n);
  from = xm_spelled_of(s ? s : "", s ? n : 0, room);
  do {
    if (join_line(d, key, &from)) return lua_pop(d->L, 1), XB_WAITS;
    xb_prepare_call(d->L, d->conn->st);
  } while (xb_find_line(d->conn, key, from.s, from.n));
  if (!push_function(d, key)) return lua_pop(d->L, 1), XB_GONE;
  line = xb_new_line(d->conn, key, from.s, from.n);
  if (!line) luaL_error(d->L, "not enough memory");
  lua_remove(d->L, -2);
  return call(d, key, mode, line);
}

static xb_outcome to_function(dispatch *d, lua_Integer key) {
  unsigned mode = xb_mode(d->L, d->at, key);
  if (mode & XB_SERIAL) return call_in_turn(d, key, mode);
  if (d->question) xb_prepare_call(d->L, d->conn->st); /* a function that gets the question must really be called */
  return push_function(d, key) ? call(d, key, mode, NULL) : XB_GONE;
}

/* The slots of the callbacks or taps that want a stanza, in the order in which they were set. */
typedef struct takers {
  uint64_t few[FEW], *slots; /* `slots` points to `few`, or, if there are more, to a userdata on the stack */
  size_t n, room;
} takers;

static void begin_takers(takers *w) {
  w->slots = w->few;
  w->n = 0;
  w->room = FEW;
}

/* Makes room for w->n slots; this may run finalizers. */
static void make_room(lua_State *L, takers *w) {
  w->room = w->n;
  w->slots = lua_newuserdatauv(L, w->room * sizeof *w->slots, 0);
}

static void find_by_tape(dispatch *d, xm_filters *f, takers *w) {
  while ((w->n = xm_filters_match(f, d->tape, w->slots, w->room)) > w->room) make_room(d->L, w);
}

static void find_by_table(dispatch *d, xm_filters *f, takers *w) {
  const char *few[FEW], **children = few, *ns = xm_conn_ns(d->conn->c);
  size_t most = FEW;
  xb_address a;
  xm_filter_stanza is;
  do {
    if (w->n > w->room) make_room(d->L, w);
    while ((is.n = xb_read_children(d->L, d->table, ns, children, most)) > most) {
      most = is.n;
      children = lua_newuserdatauv(d->L, most * sizeof *children, 0);
    }
    xb_push_address(d->L, d->table, &a);
    is.name = a.name, is.type = a.type, is.from = a.from, is.id = a.id, is.children = children;
    w->n = xm_filters_match_like(f, &is, w->slots, w->room);
    lua_pop(d->L, XB_ADDRESS);
  } while (w->n > w->room);
}

static void find_takers(dispatch *d, xm_filters *f, takers *w) {
  begin_takers(w);
  if (d->tape) find_by_tape(d, f, w);
  else if (xm_filters_after(f, 0)) find_by_table(d, f, w);
}

/* Remembers the stanza's question, if it is a request; done when somebody is about to be called for it. */
static void need_question(dispatch *d) {
  if (d->question) return;
  d->question = d->conn->asked = d->tape ? xb_ask_tape(d->conn, d->tape) : xb_ask_table(d->L, d->conn, d->table);
}

/* What the taps have done with a stanza. */
typedef enum tapped {
  UNTAPPED, /* no tap wanted it */
  SEEN,
  CONSUMED, /* a tap has taken it: nobody else gets it */
} tapped;

/* Calls each tap that wants the stanza, if it is still set when its turn comes. A request that a tap was about to get
 * counts as seen, and is answered with an error, even if the tap is gone. */
static tapped to_taps(dispatch *d) {
  tapped got = UNTAPPED;
  xb_outcome outcome;
  takers w;
  size_t i;
  find_takers(d, d->conn->taps, &w);
  if (w.n == 0) return UNTAPPED;
  need_table(d);
  for (i = 0; i < w.n && got != CONSUMED; i++) {
    if (!xm_filters_holds(d->conn->taps, w.slots[i])) continue;
    need_question(d);
    outcome = to_function(d, -(lua_Integer)w.slots[i]);
    if (outcome == XB_TRUE) got = CONSUMED;
    else if (outcome != XB_GONE || d->question) got = SEEN;
  }
  return got;
}

/* Calls each callback that wants the stanza, unless it has been removed when its turn comes. */
static void to_callbacks(dispatch *d) {
  takers w;
  size_t i;
  find_takers(d, d->conn->callbacks, &w);
  if (w.n == 0) return;
  need_table(d);
  for (i = 0; i < w.n; i++) to_function(d, (lua_Integer)w.slots[i]);
}

static void to_queue(dispatch *d) {
  lua_State *L = d->L;
  xb_conn *conn = d->conn;
  xb_waiter *w;
  need_table(d);
  w = xb_find_waiter(conn, XB_STANZA);
  lua_pushvalue(L, d->table);
  if (w) return xb_finish(L, w, 1);
  xb_queue(L, conn, d->at, d->size);
}

static void release(dispatch *d) {
  d->conn->asked = NULL;
  if (d->question && xm_question_release(xm_conn_route(d->conn->c), d->question))
    xb_answer_unavailable(d->conn, d->question);
}

/* Gives the handler a stanza that no tap has taken. */
static void to_handler(dispatch *d) {
  static const way how = {.what = "handler"};
  int handler;
  if (d->conn->handler == XB_DEFAULT_HANDLER) {
    need_question(d);
    to_callbacks(d);
  } else {
    xb_push_part(d->L, d->at, XB_HANDLER); /* before the table is made: a finalizer could remove it then */
    handler = lua_gettop(d->L);
    need_question(d);
    need_table(d);
    if (d->question) xb_prepare_call(d->L, d->conn->st); /* a function that gets the question must really be called */
    lua_pushvalue(d->L, handler);
    deliver(d, &how);
  }
}

/* Queues a stanza though there is a handler, since too many calls are suspended. */
static void park(dispatch *d, bool claimed) {
  need_table(d);
  lua_pushvalue(d->L, d->table);
  xb_push_queue(d->L, d->conn, d->at, d->size, claimed);
}

/* The stanza is the response that this waiter waits for: it gets it before anybody else. */
static void to_waiter(dispatch *d, xb_waiter *w) {
  xb_waiter_set_pending(w, NULL);
  xb_begin_finish(w);
  need_table(d);
  lua_pushvalue(d->L, d->table);
  xb_finish(d->L, w, 1);
}

/* Will a function be called for this stanza? `handled`: there was a handler when it came. One that is set while the
 * stanza is being dispatched to others gets what is queued, and then what follows. */
static bool is_taken(const xb_conn *conn, bool handled) {
  return (handled && conn->handler != XB_NO_HANDLER) || xb_has_taps(conn);
}

/* Dispatches the stanza on the tape. */
static void dispatch_tape(lua_State *L, xb_conn *conn, int at) {
  const xm_tape *t = xm_conn_stanza(conn->c);
  dispatch d = {.L = L, .conn = conn, .at = at, .tape = t, .size = xb_size_of(t)};
  xb_waiter *w = xm_route_claim(xm_conn_route(conn->c), t);
  bool handled = conn->handler != XB_NO_HANDLER, parked = xb_must_park(conn);
  tapped got;
  if (w) to_waiter(&d, w);
  if (parked && is_taken(conn, handled)) return park(&d, w != NULL);
  conn->given += is_taken(conn, handled);
  got = to_taps(&d);
  if (handled && conn->handler != XB_NO_HANDLER) {
    if (got != CONSUMED) to_handler(&d);
  } else if (got == UNTAPPED && !w) {
    to_queue(&d);
  }
  release(&d);
}

/* Dispatches the table on top of the stack, which was queued before there was a handler, or parked; nil: a tap has
 * taken it. */
static void dispatch_queued(lua_State *L, xb_conn *conn, int at, const xb_queued *was) {
  dispatch d = {.L = L, .conn = conn, .at = at, .table = lua_gettop(L), .size = was->size};
  tapped got = UNTAPPED;
  if (lua_isnil(L, -1)) return;
  conn->given++;
  if (!was->offered) got = to_taps(&d);
  if (got != CONSUMED && conn->handler != XB_NO_HANDLER) to_handler(&d);
  release(&d);
}

/* The same when there are taps, and no handler. */
static void offer_queued(lua_State *L, xb_conn *conn, int at, const xb_queued *was) {
  dispatch d = {.L = L, .conn = conn, .at = at, .table = lua_gettop(L), .size = was->size};
  xb_waiter *w;
  bool wanted = to_taps(&d) != UNTAPPED;
  conn->given += wanted;
  if (!wanted && !was->claimed) {
    w = xb_find_waiter(conn, XB_STANZA);
    lua_pushvalue(L, d.table);
    if (w) xb_finish(L, w, 1);
    else xb_put_back(L, conn, at, was);
  }
  release(&d);
}

/* Dispatches a stanza that has waited in a line. */
static bool next_in_line(lua_State *L, xb_conn *conn) {
  dispatch d = {.L = L, .conn = conn, .at = 1};
  xb_turn turn;
  if (!conn->due) return false;
  xb_prepare_call(L, conn->st); /* before it leaves the line: then the call must be made */
  if (!xb_next_in_line(L, conn, 1, &turn)) return false;
  d.table = lua_gettop(L);
  d.size = turn.size;
  d.question = conn->asked = turn.question;
  if (push_function(&d, turn.key)) call(&d, turn.key, xb_mode(L, 1, turn.key), turn.line);
  release(&d);
  return true;
}

/* default_handler(stanza, conn): calls the callbacks. */
int xb_l_default_handler(lua_State *L) {
  xb_conn *conn = luaL_checkudata(L, 2, XB_CONN);
  dispatch d = {.L = L, .conn = conn, .at = 2, .table = 1};
  xb_address a;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  if (!conn->c) return 0;
  xb_push_address(L, 1, &a);
  if (xb_must_be_answered(a.name, a.type))
    d.question = xm_route_question(xm_conn_route(conn->c), xb_asked_now(conn), a.from, xb_own_address(conn, a.to), a.id);
  to_callbacks(&d);
  return 0;
}

/* Finishing waiters */

static void forget_password(lua_State *L, int at) {
  lua_pushnil(L);
  xb_set_part(L, at, XB_PASSWORD);
}

/* The core needs the password once more: it doesn't keep it. */
static void log_in_again(lua_State *L, xb_conn *conn, int at) {
  size_t n;
  const char *password;
  xb_push_part(L, at, XB_PASSWORD);
  password = lua_tolstring(L, -1, &n);
  if (password) xm_conn_log_in(conn->c, password, n);
  lua_pop(L, 1);
  xb_mark_ready(conn);
}

static void finish_bound(lua_State *L, xb_conn *conn, int at) {
  xb_waiter *w = xb_find_waiter(conn, XB_BOUND);
  forget_password(L, at);
  if (!w) return;
  lua_pushvalue(L, at);
  xb_finish(L, w, 1);
}

/* The first waiter whose stanzas have all arrived. They wait in the order of their stanzas; stanzas that were sent
 * later don't concern them. */
static xb_waiter *find_sent(const xb_conn *conn) {
  xb_waiter *w = xb_find_waiter(conn, XB_SENT);
  if (!w || xm_conn_state_of(conn->c) == XM_CONN_CLOSED) return NULL;
  return xb_waiter_seq(w) < xm_sm_first(xm_conn_sm(conn->c)) ? w : NULL;
}

static void finish_sent(lua_State *L, xb_conn *conn, int *left) {
  xb_waiter *w;
  for (; *left > 0 && conn->c && (w = find_sent(conn)); --*left) {
    lua_pushboolean(L, 1);
    xb_finish(L, w, 1);
  }
}

/* A waiter for the end is told how the connection ended; every other one, that it has ended. */
void xb_finish_ended(lua_State *L, xb_conn *conn, xb_waiter *w) {
  const xm_err *why = xm_conn_why(conn->c);
  xb_kind kind = xb_waiter_kind(w);
  bool wanted = !xm_err_is_set(why) || xm_conn_is_detached(conn->c);
  xb_begin_finish(w);
  if ((kind == XB_ENDED || kind == XB_DRAINED) && wanted) {
    lua_pushboolean(L, 1);
    return xb_finish(L, w, 1);
  }
  lua_pushnil(L);
  if (kind == XB_BOUND && xm_err_is_set(why)) {
    xb_push_error(L, why);
  } else {
    xb_push_closed(L, conn);
  }
  xb_finish(L, w, 2);
}

static void on_ended(xb_conn *conn) {
  conn->ended = true;
  conn->st->conns--;
}

static xb_waiter *first_waiter(const xb_conn *conn) {
  if (conn->lost.first) return conn->lost.first;
  return conn->responses.first ? conn->responses.first : conn->waiters.first;
}

/* Finishes all waiters of a connection that has ended. When memory runs out it may raise after any of them: the next
 * step goes on with the rest, as it does when there are too many. */
static void tell_end(lua_State *L, xb_conn *conn, int *left) {
  xb_waiter *w;
  forget_password(L, 1);
  for (; *left > 0 && (w = first_waiter(conn)); --*left) xb_finish_ended(L, conn, w);
  xb_keep_alive(L, conn);
}

/* Are there waiters still to be finished? */
static bool is_behind(const xb_conn *conn) {
  return conn->lost.first || (conn->ended && first_waiter(conn)) || (conn->c && find_sent(conn));
}

/* For a draining connection: the stanza is passed over, unless it is the response that a waiter waits for. */
static void pass_over(lua_State *L, xb_conn *conn) {
  dispatch d = {.L = L, .conn = conn, .at = 1, .tape = xm_conn_stanza(conn->c)};
  xb_waiter *w = xm_route_claim(xm_conn_route(conn->c), d.tape);
  if (!w) return xm_conn_pass_over(conn->c);
  to_waiter(&d, w);
  if (conn->c) xm_conn_handled(conn->c);
}

/* To the server, the stanza is handled when it has been dispatched, even if a handler is suspended then. */
static void on_stanza(lua_State *L, xb_conn *conn) {
  if (xb_passes_over(conn)) return pass_over(L, conn);
  dispatch_tape(L, conn, 1);
  if (conn->c) xm_conn_handled(conn->c);
}

/* Why the stanza was skipped: layer "limit", condition "max-attributes" or the like. */
static void set_skipped(const xb_conn *conn, xm_err *why) {
  const xm_tape *t = xm_conn_stanza(conn->c);
  const char *from = xm_tape_get(t, 0, "from", NULL);
  size_t most;
  xm_bound bound = xm_conn_crossed(conn->c, &most);
  const char *option = xm_bounds_option(bound);
  char condition[sizeof why->condition];
  size_t i;
  for (i = 0; option[i]; i++) condition[i] = (char)(option[i] == '_' ? '-' : option[i]);
  condition[i] = '\0';
  xm_err_set(why, XM_LAYER_LIMIT, condition, false, "%s %s from %.200s was skipped: %s over the limit of %zu (the option %s)",
             *xm_tape_name(t, 0) == 'i' ? "an" : "a", xm_tape_name(t, 0), from ? from : "the server", xm_bounds_what(bound),
             most, option);
}

/* The stanza crossed a bound. If it is a response, its waiter is told; if it is a request, its sender gets an error. */
static void on_skipped(lua_State *L, xb_conn *conn) {
  const xm_tape *t = xm_conn_stanza(conn->c);
  xb_waiter *w = xm_route_claim(xm_conn_route(conn->c), t);
  xm_question *q;
  xm_err why = {0};
  if (!w && xb_passes_over(conn)) return xm_conn_pass_over(conn->c);
  q = w ? NULL : xb_ask_tape(conn, t);
  set_skipped(conn, &why);
  if (w) {
    xb_waiter_set_pending(w, NULL);
    lua_pushnil(L);
    xb_push_error(L, &why);
    xb_finish(L, w, 2);
  }
  if (q && xm_question_release(xm_conn_route(conn->c), q)) xb_answer_skipped(conn, q, why.text);
  if (conn->c) xb_tell_skipped(L, conn, 1, &why, w != NULL);
  if (conn->c) xm_conn_handled(conn->c);
}

/* A message to ourselves has come back, for which the program may be waiting. */
static void on_probed(lua_State *L, xb_conn *conn) {
  xb_waiter *w = xb_find_numbered(conn, XB_PROBED, xm_conn_probed(conn->c));
  if (!w) return;
  lua_pushboolean(L, 1);
  xb_finish(L, w, 1);
}

/* What must not be missed of events that come only once: done before anything that may raise. */
static void note_event(lua_State *L, xb_conn *conn, xm_conn_event ev) {
  if (ev == XM_CONN_ENDED) on_ended(conn);
  if (ev == XM_CONN_ENDED && conn->draining) xb_note_drained(L, conn);
  if (ev == XM_CONN_REBOUND) xb_lose_waiters(conn);
}

static void take_event(lua_State *L, xb_conn *conn, xm_conn_event ev) {
  switch (ev) {
    case XM_CONN_STANZA: return on_stanza(L, conn);
    case XM_CONN_SKIPPED: return on_skipped(L, conn);
    case XM_CONN_BOUND: return finish_bound(L, conn, 1);
    case XM_CONN_REBOUND: return xb_tell_session(L, conn, 1);
    case XM_CONN_TOKEN: return xb_tell_token(L, conn, 1);
    case XM_CONN_PROBED: return on_probed(L, conn);
    case XM_CONN_PASSWORD: return log_in_again(L, conn, 1);
    case XM_CONN_STATE: return xb_tell_state(L, conn, 1);
    default: return;
  }
}

/* Dispatches what is queued for the handler, or hasn't been offered to the taps yet: it comes before anything new is
 * read. */
static bool next_queued(lua_State *L, xb_conn *conn) {
  xb_queued was;
  if (xb_must_park(conn)) return false;
  if (conn->handler != XB_NO_HANDLER) {
    if (!xb_pop_queue(L, conn, 1, &was)) return false;
    dispatch_queued(L, conn, 1, &was);
    return true;
  }
  if (!xb_has_taps(conn) || !xb_take_fresh(L, conn, 1, &was)) return false;
  offer_queued(L, conn, 1, &was);
  return true;
}

/* A connection's turn: how many calls are left, how many stanzas were dispatched, and whether there is more to do. */
typedef struct turn {
  int left, stanzas;
  bool more;
} turn;

static void next_event(lua_State *L, xb_conn *conn) {
  conn->stopped = !conn->dry && xb_is_full(conn);
  if (!conn->dry) xm_conn_pause(conn->c, conn->stopped);
  if (!conn->ended) conn->event = xm_conn_next(conn->c);
  if (conn->dry && conn->event == XM_CONN_NOTHING) {
    conn->dry = false;
    xb_mark_ready(conn);
  }
  note_event(L, conn, conn->event);
  xb_drain_log(L, conn, 1);
}

/* Finishes the waiters for what has come true. */
static void tell_waiters(lua_State *L, xb_conn *conn, int *left) {
  if (conn->lost.first) xb_tell_lost(L, conn, left);
  if (conn->ended) tell_end(L, conn, left);
  if (conn->c) finish_sent(L, conn, left);
}

/* Handles one event, and reports what has to be reported before and after it. */
static void work(lua_State *L, xb_conn *conn, turn *t) {
  xm_conn_event ev;
  bool is_stanza;
  if (conn->event == XM_CONN_NOTHING) {
    if (next_in_line(L, conn)) return (void)t->left--;
    is_stanza = next_queued(L, conn);
    t->left -= is_stanza;
    t->stanzas += is_stanza;
    if (is_stanza) return;
    if (conn->draining) xb_drain_on(L, conn);
    next_event(L, conn);
  }
  if (!xb_tell_receipts(L, conn, 1, &t->left)) return;
  ev = conn->event;
  is_stanza = ev == XM_CONN_STANZA || ev == XM_CONN_SKIPPED;
  conn->event = XM_CONN_NOTHING;
  t->left -= is_stanza || (ev == XM_CONN_STATE && conn->listens);
  t->stanzas += is_stanza;
  take_event(L, conn, ev);
  tell_waiters(L, conn, &t->left);
  if (ev == XM_CONN_AGAIN || (conn->stopped && conn->c && !xb_is_full(conn))) xb_mark_ready(conn);
  t->more = is_behind(conn) || (ev != XM_CONN_NOTHING && ev != XM_CONN_AGAIN);
}

/* l_work(conn, turn): called in protected mode. */
static int l_work(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  turn *t = lua_touserdata(L, 2);
  xb_state *st = conn->st;
  while (t->more && t->left > 0 && conn->c) {
    lua_settop(L, 1);
    st->working = true;
    work(L, conn, t);
    st->working = false;
  }
  return 0;
}

/* Memory ran out where the library itself needed it: the stanza is lost. So the link is cut, and the connection doesn't
 * go on as if nothing had happened. */
static void break_off(lua_State *L, xb_conn *conn, int at) {
  const xb_site site = {.st = conn->st, .what = "library", .conn = at};
  if (conn->asked && xm_question_release(xm_conn_route(conn->c), conn->asked)) xm_question_free(conn->asked);
  conn->asked = NULL;
  xb_report(L, NULL, &site);
  xm_conn_abort(conn->c);
}

/* The protected call of l_work has failed. */
static void on_work_failed(lua_State *L, xb_conn *conn, int at, int status) {
  bool between = !conn->st->working;
  xb_mark_ready(conn);
  /* A debug hook has raised an error, as the command lua's does for Ctrl-C, before an event was handled or after it:
   * nothing is lost. */
  if (between && status == LUA_ERRRUN) lua_error(L);
  conn->st->working = false;
  if (conn->ended) lua_error(L); /* whoever runs the loop must know that some waiters couldn't be told yet */
  break_off(L, conn, at);
}

int xb_service(lua_State *L, xb_conn *conn, int most, int *stanzas) {
  int at, status = LUA_OK;
  turn t = {.left = most < CALLS_A_TURN ? most : CALLS_A_TURN, .more = true};
  most = t.left;
  xb_push_conn(L, conn);
  at = lua_gettop(L);
  if (lua_isnil(L, at)) t.more = false; /* it is about to be collected */
  if (conn->c) xm_conn_flush(conn->c);
  if (conn->c && t.more) {
    lua_pushcfunction(L, l_work);
    lua_pushvalue(L, at);
    lua_pushlightuserdata(L, &t);
    status = lua_pcall(L, 2, 0, 0);
  }
  if (status != LUA_OK) on_work_failed(L, conn, at, status);
  else if (t.more) xb_mark_ready(conn);
  lua_settop(L, at - 1);
  *stanzas += t.stanzas;
  return most - t.left;
}
