/* dispatch: stanzas in: who gets what comes, in which order; and what else a connection has to tell. The callback engine. */
#include <string.h>

#include "bind.h"
#include "ns.h"

enum { CALLS_A_TURN = 128 }; /* of one connection, then others have their turn */

/* A stanza on its way to Lua: its table is made when somebody wants it, once. */
typedef struct dispatch {
  lua_State *L;
  xb_conn *conn;
  int at;                /* the connection's userdata */
  int table;             /* the stanza's; 0: not made yet */
  size_t size;           /* bytes that it takes, about; 0: not known */
  xm_question *question; /* it is an iq that must be answered */
} dispatch;

/* Makes it, and leaves it on the stack for the rest of the dispatch. Nothing may have been pushed that is popped before. */
static void need_table(dispatch *d) {
  if (d->table) return;
  xb_push_stanza(d->L, xm_conn_stanza(d->conn->c));
  d->table = lua_gettop(d->L);
}

/* Calls the function on top of the stack with stanza and connection. */
static void deliver(dispatch *d, uint64_t once) {
  xb_task task = {.st = d->conn->st, .question = d->question, .once = once, .size = d->size};
  if (d->question) {
    xb_prepare_call(d->L, d->conn->st); /* who holds it must be called */
    xm_question_hold(d->question);
  }
  if (d->question || once || d->conn->suspends) task.conn = d->conn; /* to watch each call would cost who never waits */
  lua_pushvalue(d->L, d->table);
  lua_pushvalue(d->L, d->at);
  if (xb_call(d->L, 2, &task, d->at)) d->conn->suspends = true;
}

/* The slot's function goes to the top of the stack. */
static uint64_t push_callback(dispatch *d, uint64_t slot) {
  uint64_t once;
  xb_push_part(d->L, d->at, XB_ONCE);
  once = lua_rawgeti(d->L, -1, (lua_Integer)slot) == LUA_TNIL ? 0 : slot;
  xb_push_part(d->L, d->at, XB_CALLBACKS);
  lua_rawgeti(d->L, -1, (lua_Integer)slot);
  lua_replace(d->L, -4);
  lua_pop(d->L, 2);
  return once;
}

static void to_callbacks(dispatch *d) {
  const xm_tape *t = xm_conn_stanza(d->conn->c);
  xm_route *r = xm_conn_route(d->conn->c);
  uint64_t last = xm_route_last(r), slot;
  if (!xm_route_next(r, 0, t)) return;
  need_table(d); /* which may run finalizers: who is called is asked afterwards */
  for (slot = xm_route_next(r, 0, t); slot && slot <= last; slot = xm_route_next(r, slot, t))
    deliver(d, push_callback(d, slot));
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

static bool must_be_answered(const char *name, const char *type) {
  return type && strcmp(name, "iq") == 0 && (strcmp(type, "get") == 0 || strcmp(type, "set") == 0);
}

/* NULL when it needs no answer, or there is no memory to remember it. */
static xm_question *ask(xb_conn *conn, const xb_address *a) {
  if (!must_be_answered(a->name, a->type)) return NULL;
  return xm_route_ask(xm_conn_route(conn->c), a->from, xb_own_address(conn, a->to), a->id);
}

static xm_question *ask_tape(xb_conn *conn, const xm_tape *t) {
  xb_address a = {.name = xm_tape_name(t, 0)};
  if (strcmp(a.name, "iq") != 0) return NULL;
  a.type = xm_tape_get(t, 0, "type", NULL);
  a.from = xm_tape_get(t, 0, "from", NULL);
  a.to = xm_tape_get(t, 0, "to", NULL);
  a.id = xm_tape_get(t, 0, "id", NULL);
  return ask(conn, &a);
}

xm_question *xb_ask_table(lua_State *L, xb_conn *conn, int index) {
  xb_address a;
  const char *ns = xm_conn_ns(conn->c);
  xm_question *q;
  xb_push_address(L, index, &a, &ns);
  q = ask(conn, &a);
  lua_pop(L, XB_ADDRESS);
  return q;
}

static void release(dispatch *d) {
  d->conn->asked = NULL;
  if (d->question && xm_question_release(xm_conn_route(d->conn->c), d->question))
    xb_answer_unavailable(d->conn, d->question);
}

static void to_handler(dispatch *d) {
  int handler;
  if (d->conn->handler == XB_DEFAULT_HANDLER) {
    to_callbacks(d);
  } else {
    xb_push_part(d->L, d->at, XB_HANDLER); /* a finalizer may take it away while there is a table made */
    handler = lua_gettop(d->L);
    need_table(d);
    lua_pushvalue(d->L, handler);
    deliver(d, 0);
  }
}

/* It waits for its turn, though there is a handler. */
static void park(dispatch *d, bool claimed) {
  need_table(d);
  lua_pushvalue(d->L, d->table);
  xb_push_queue(d->L, d->conn, d->at, d->size, claimed);
}

/* The stanza on the tape. */
static void dispatch_tape(lua_State *L, xb_conn *conn, int at) {
  const xm_tape *t = xm_conn_stanza(conn->c);
  dispatch d = {.L = L, .conn = conn, .at = at, .size = xb_size_of(t)};
  xb_waiter *w = xm_route_claim(xm_conn_route(conn->c), t);
  bool handled = conn->handler != XB_NO_HANDLER; /* one that the waiter sets gets what is queued, and then what comes */
  bool parked = xb_must_park(conn);
  if (w) {
    xb_waiter_set_pending(w, NULL);
    xb_begin_finish(w);
    need_table(&d);
    lua_pushvalue(L, d.table);
    xb_finish(L, w, 1);
  }
  if (!handled || conn->handler == XB_NO_HANDLER) {
    if (!w) to_queue(&d);
    return;
  }
  if (parked) return park(&d, w != NULL);
  d.question = conn->asked = ask_tape(conn, t);
  to_handler(&d);
  release(&d);
}

/* Callbacks for a stanza that is a table already (index `d->table`). */
static void table_to_callbacks(dispatch *d) {
  xm_route *r = xm_conn_route(d->conn->c);
  uint64_t last = xm_route_last(r), slot;
  xb_address a;
  const char *ns = xm_conn_ns(d->conn->c);
  xm_route_filter is;
  xb_push_address(d->L, d->table, &a, &ns); /* callbacks may change the table */
  is = (xm_route_filter){.name = a.name, .type = a.type, .xmlns = ns, .from = a.from, .id = a.id};
  for (slot = xm_route_next_like(r, 0, &is); slot && slot <= last; slot = xm_route_next_like(r, slot, &is))
    deliver(d, push_callback(d, slot));
}

/* A stanza that was queued before there was a handler; its table is on top of the stack. */
static void dispatch_queued(lua_State *L, xb_conn *conn, int at, size_t size) {
  dispatch d = {.L = L, .conn = conn, .at = at, .table = lua_gettop(L), .size = size};
  d.question = conn->asked = xb_ask_table(L, conn, d.table);
  if (conn->handler == XB_DEFAULT_HANDLER) {
    table_to_callbacks(&d);
  } else {
    to_handler(&d);
  }
  release(&d);
}

/* default_handler(stanza, conn) */
int xb_l_default_handler(lua_State *L) {
  xb_conn *conn = luaL_checkudata(L, 2, XB_CONN);
  dispatch d = {.L = L, .conn = conn, .at = 2, .table = 1};
  xb_address a;
  const char *ns;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  if (!conn->c) return 0;
  ns = xm_conn_ns(conn->c);
  xb_push_address(L, 1, &a, &ns);
  if (must_be_answered(a.name, a.type))
    d.question = xm_route_question(xm_conn_route(conn->c), xb_asked_now(conn), a.from, xb_own_address(conn, a.to), a.id);
  table_to_callbacks(&d);
  return 0;
}

/* Ends of waits. */

static void forget_password(lua_State *L, int at) {
  lua_pushnil(L);
  xb_set_part(L, at, XB_PASSWORD);
}

/* The core has kept none. */
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

/* Who waits for what has arrived meanwhile? They wait in the order of their stanzas; what others have sent since is no
 * business of theirs. */
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

/* Who waited for the end is told how it ended; everybody else, that it did. */
void xb_finish_ended(lua_State *L, xb_conn *conn, xb_waiter *w) {
  const xm_err *why = xm_conn_why(conn->c);
  xb_kind kind = xb_waiter_kind(w);
  bool wanted = !xm_err_is_set(why) || xm_conn_is_detached(conn->c);
  xb_begin_finish(w);
  if (kind == XB_ENDED && wanted) {
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

/* May raise, for want of memory, between two of them: then it is gone on with in the next step, as when there are too many. */
static void tell_end(lua_State *L, xb_conn *conn, int *left) {
  xb_waiter *w;
  forget_password(L, 1);
  for (; *left > 0 && (w = first_waiter(conn)); --*left) xb_finish_ended(L, conn, w);
  xb_keep_alive(L, conn);
}

/* Somebody who waits is still to be told. */
static bool is_behind(const xb_conn *conn) {
  return conn->lost.first || (conn->ended && first_waiter(conn)) || (conn->c && find_sent(conn));
}

/* What the stanza is to the server is over when it has been dispatched: a handler that waits is on its own. */
static void on_stanza(lua_State *L, xb_conn *conn) {
  dispatch_tape(L, conn, 1);
  if (conn->c) xm_conn_handled(conn->c);
}

/* Why the stanza is gone: layer "limit", condition "max-attributes". */
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

/* The stanza crossed a bound: who waits for it, or asked by it, must not wait in vain. */
static void on_skipped(lua_State *L, xb_conn *conn) {
  const xm_tape *t = xm_conn_stanza(conn->c);
  xb_waiter *w = xm_route_claim(xm_conn_route(conn->c), t);
  xm_question *q = w ? NULL : ask_tape(conn, t);
  xm_err why = {0};
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

/* These come once: before anything that may raise. */
static void note_event(xb_conn *conn, xm_conn_event ev) {
  if (ev == XM_CONN_ENDED) on_ended(conn);
  if (ev == XM_CONN_REBOUND) xb_lose_waiters(conn);
}

static void take_event(lua_State *L, xb_conn *conn, xm_conn_event ev) {
  switch (ev) {
    case XM_CONN_STANZA: return on_stanza(L, conn);
    case XM_CONN_SKIPPED: return on_skipped(L, conn);
    case XM_CONN_BOUND: return finish_bound(L, conn, 1);
    case XM_CONN_PASSWORD: return log_in_again(L, conn, 1);
    case XM_CONN_STATE: return xb_tell_state(L, conn, 1);
    case XM_CONN_REBOUND: return xb_tell_session(L, conn, 1);
    default: return;
  }
}

/* What is queued for the handler comes before anything that is read. */
static bool next_queued(lua_State *L, xb_conn *conn) {
  size_t size;
  bool claimed;
  if (conn->handler == XB_NO_HANDLER || xb_must_park(conn) || !xb_pop_queue(L, conn, 1, &size, &claimed)) return false;
  dispatch_queued(L, conn, 1, size);
  return true;
}

/* What one connection has in a turn: so many calls are left, so many stanzas were dispatched. `more`: there is. */
typedef struct turn {
  int left, stanzas;
  bool more;
} turn;

static void next_event(lua_State *L, xb_conn *conn) {
  conn->stopped = xb_is_full(conn);
  xm_conn_pause(conn->c, conn->stopped);
  if (!conn->ended) conn->event = xm_conn_next(conn->c);
  note_event(conn, conn->event);
  xb_drain_log(L, conn, 1);
}

/* Tells those who wait for what has come true. */
static void tell_waiters(lua_State *L, xb_conn *conn, int *left) {
  if (conn->lost.first) xb_tell_lost(L, conn, left);
  if (conn->ended) tell_end(L, conn, left);
  if (conn->c) finish_sent(L, conn, left);
}

/* One event, and what is to be told before and after it. */
static void work(lua_State *L, xb_conn *conn, turn *t) {
  xm_conn_event ev;
  bool is_stanza;
  if (conn->event == XM_CONN_NOTHING) {
    is_stanza = next_queued(L, conn);
    t->left -= is_stanza;
    t->stanzas += is_stanza;
    if (is_stanza) return;
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

/* It, in a protected call: (conn, turn). */
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

/* Memory ran out where the library itself needed it: the stanza is lost, so the connection must not go on as if nothing
 * had been. */
static void break_off(lua_State *L, xb_conn *conn) {
  if (conn->asked && xm_question_release(xm_conn_route(conn->c), conn->asked)) xm_question_free(conn->asked);
  conn->asked = NULL;
  xb_report(L, NULL);
  xm_conn_abort(conn->c);
}

/* What came out of l_work's protected call. */
static void on_work_failed(lua_State *L, xb_conn *conn, int status) {
  bool between = !conn->st->working;
  xb_mark_ready(conn);
  /* A debug hook has thrown, as lua's for Ctrl-C does, before the work or behind it: nothing is lost. */
  if (between && status == LUA_ERRRUN) lua_error(L);
  conn->st->working = false;
  if (conn->ended) lua_error(L); /* who turns the loop must know: some who wait couldn't be told yet */
  break_off(L, conn);
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
  if (status != LUA_OK) on_work_failed(L, conn, status);
  else if (t.more) xb_mark_ready(conn);
  lua_settop(L, at - 1);
  *stanzas += t.stanzas;
  return most - t.left;
}
