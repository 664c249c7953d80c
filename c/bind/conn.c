/* conn: the connection's userdata: what comes is dispatched (the callback engine), what goes is written; its methods. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "bind.h"
#include "ns.h"
#include "rnd.h"

enum { STANZAS_A_TURN = 64 }; /* of one connection, then others have their turn */

static const char conns_key, pins_key; /* of the registry: weak and strong, address -> userdata */

/* Life. */

void xb_push_conn(lua_State *L, xb_conn *conn) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &conns_key);
  lua_rawgetp(L, -1, conn);
  lua_remove(L, -2);
}

/* Something may still happen that a program would see: then the connection must not be collected. */
static bool is_needed(const xb_conn *conn) {
  return !conn->ended && conn->c && (conn->handler != XB_NO_HANDLER || conn->responses || conn->waiters);
}

void xb_keep_alive(lua_State *L, xb_conn *conn) {
  bool needed = is_needed(conn);
  if (needed == conn->pinned) return;
  conn->pinned = needed;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &pins_key);
  if (needed) {
    xb_push_conn(L, conn);
  } else {
    lua_pushnil(L);
  }
  lua_rawsetp(L, -2, conn);
  lua_pop(L, 1);
}

static void unlink_from(xb_conn **list, xb_conn *conn, size_t next) {
  while (*list && *list != conn) list = (xb_conn **)((char *)*list + next);
  if (*list) *list = *(xb_conn **)((char *)conn + next);
}

static int l_gc(lua_State *L) {
  xb_conn *conn = luaL_checkudata(L, 1, XB_CONN);
  xb_state *st = conn->st;
  if (!conn->c) return 0;
  if (conn->is_ready) {
    unlink_from(&st->ready, conn, offsetof(xb_conn, next_ready));
    for (st->ready_end = &st->ready; *st->ready_end;) st->ready_end = &(*st->ready_end)->next_ready;
  }
  if (conn->is_unflushed) unlink_from(&st->unflushed, conn, offsetof(xb_conn, next_unflushed));
  xb_free_waiters(conn->loop, &conn->responses);
  xb_free_waiters(conn->loop, &conn->waiters);
  if (!conn->ended) st->conns--;
  xm_conn_free(conn->c);
  conn->c = NULL;
  xm_loop_sync(conn->loop);
  xm_loop_release(conn->loop);
  return 0;
}

static void wake(void *arg) {
  xb_mark_ready(arg);
}

static xb_conn *check(lua_State *L) {
  xb_conn *conn = luaL_checkudata(L, 1, XB_CONN);
  if (!conn->c) luaL_error(L, "this connection has been collected");
  return conn;
}

static void push_part(lua_State *L, int conn, int part) {
  lua_getiuservalue(L, conn, 1);
  lua_rawgeti(L, -1, part);
  lua_remove(L, -2);
}

/* The value on top of the stack becomes that part. */
static void set_part(lua_State *L, int conn, int part) {
  lua_getiuservalue(L, conn, 1);
  lua_insert(L, -2);
  lua_rawseti(L, -2, part);
  lua_pop(L, 1);
}

/* The log: f("in" or "out", text). */

/* A log function that sends is told of it after it has returned. */
static void drain_log(lua_State *L, xb_conn *conn, int at) {
  xm_buf *log = xm_conn_log(conn->c);
  xb_task task = {.st = conn->st};
  if (conn->is_logging) return;
  conn->is_logging = true;
  while (conn->logs && xm_buf_len(log)) {
    char direction = *xm_buf_at(log);
    size_t n;
    memcpy(&n, xm_buf_at(log) + 1, sizeof n);
    push_part(L, at, XB_LOG);
    lua_pushstring(L, direction == '<' ? "in" : "out");
    lua_pushlstring(L, xm_buf_at(log) + 1 + sizeof n, n);
    xm_buf_consume(log, 1 + sizeof n + n);
    xb_call(L, 2, &task, 0);
  }
  conn->is_logging = false;
}

/* Sending. */

/* A closed connection's tale, for whoever waits on it or tries to use it. */
static void push_closed(lua_State *L, const xb_conn *conn) {
  const xm_err *why = xm_conn_why(conn->c);
  xm_err e = {0};
  bool known = xm_err_is_set(why);
  xm_err_set(&e, XM_LAYER_CLOSED, known ? why->condition : "stopped", why->retry, "the connection is closed%s%s",
             known ? ": " : " (it was stopped)", known ? why->text : "");
  xb_push_error(L, &e);
}

/* Inside a step what is sent leaves together at its end. */
static void flush_soon(xb_conn *conn) {
  xb_state *st = conn->st;
  if (!st->stepping) {
    xm_conn_flush(conn->c);
    xm_loop_sync(st->loop);
  } else if (!conn->is_unflushed) {
    conn->is_unflushed = true;
    conn->next_unflushed = st->unflushed;
    st->unflushed = conn;
  }
}

void xb_flush_all(xb_state *st) {
  while (st->unflushed) {
    xb_conn *conn = st->unflushed;
    st->unflushed = conn->next_unflushed;
    conn->is_unflushed = false;
    if (!conn->c) continue;
    xm_conn_flush(conn->c);
    if (conn->waiters) xb_mark_ready(conn); /* one of them may wait for just that */
  }
}

static bool is_answer(const xb_address *a) {
  return a->type && strcmp(a->name, "iq") == 0 && (strcmp(a->type, "result") == 0 || strcmp(a->type, "error") == 0);
}

/* Writes and commits the stanza at `index`; XM_EINVAL: w->reason. */
static int queue_stanza(lua_State *L, xb_conn *conn, int index, xb_writing *w, xm_err *e) {
  xm_buf *out = xm_conn_out(conn->c);
  size_t mark = xm_buf_mark(out);
  const xm_jid *jid = xm_conn_jid(conn->c);
  int rc;
  w->ns = xm_conn_ns(conn->c);
  if (xm_conn_is_component(conn->c) && jid) w->new_from = jid->str;
  rc = xb_write(L, index, out, w);
  if (rc == XM_ENOMEM) return xm_err_nomem(e);
  return rc == XM_OK ? xm_conn_commit(conn->c, mark, e) : rc;
}

/* nil, err: a closed connection tells its tale in the same words everywhere. */
static int fail_send(lua_State *L, xb_conn *conn, const xm_err *e) {
  if (e->layer != XM_LAYER_CLOSED || xm_conn_state_of(conn->c) != XM_CONN_CLOSED) return xb_fail(L, e);
  lua_pushnil(L);
  push_closed(L, conn);
  return 2;
}

static void note_answer(xb_conn *conn, const xb_address *a) {
  if (is_answer(a) && a->id) xm_route_answered(xm_conn_route(conn->c), a->to, a->to_len, a->id, a->id_len);
}

/* send(stanza) -> true, or nil, err */
static int l_send(lua_State *L) {
  xb_conn *conn = check(L);
  xb_address a = {0};
  xb_writing w = {.address = &a};
  xm_err e = {0};
  int rc;
  luaL_argexpected(L, lua_type(L, 2) == LUA_TTABLE, 2, "stanza");
  luaL_argexpected(L, lua_isnoneornil(L, 3), 3, "nothing");
  rc = queue_stanza(L, conn, 2, &w, &e);
  if (rc == XM_EINVAL) return luaL_argerror(L, 2, w.reason);
  if (rc < 0) return fail_send(L, conn, &e);
  note_answer(conn, &a);
  flush_soon(conn);
  drain_log(L, conn, 1);
  lua_pushboolean(L, 1);
  return 1;
}

static int await(xb_conn *conn, const xb_address *a, xb_waiter *w, xm_err *e) {
  xm_pending *p;
  xm_route_request q = {.name = a->name, .id = a->id, .id_len = a->id_len, .to = a->to, .to_len = a->to_len};
  int rc;
  if (xm_conn_is_component(conn->c)) {
    q.sent_from = a->from;
    q.sent_from_len = a->from_len;
  }
  rc = xm_route_await(xm_conn_route(conn->c), &q, w, &p);
  if (rc == XM_ENOMEM) return xm_err_nomem(e);
  if (rc == XM_OK) xb_waiter_set_pending(w, p);
  return rc;
}

/* request(stanza, who, seconds) -> the id sent, or nil, err. `who` is told of the response: see xb_wait. */
static int l_request(lua_State *L) {
  xb_conn *conn = check(L);
  char id[XM_RND_ID + 1];
  xb_address a = {0};
  xb_writing w = {.address = &a, .new_id = id};
  xm_buf *out = xm_conn_out(conn->c);
  size_t mark = xm_buf_mark(out);
  xb_waiter *waiter;
  xm_err e = {0};
  int rc;
  double seconds = luaL_checknumber(L, 4);
  luaL_argexpected(L, lua_type(L, 2) == LUA_TTABLE, 2, "stanza");
  if (xm_rnd_id(id) < 0) return luaL_error(L, "the system has no random bytes to give");
  rc = queue_stanza(L, conn, 2, &w, &e);
  if (rc == XM_EINVAL) return luaL_argerror(L, 2, w.reason);
  if (rc < 0) return fail_send(L, conn, &e);
  waiter = xb_wait(L, conn->st, conn, XB_RESPONSE, 3, seconds);
  rc = waiter ? await(conn, &a, waiter, &e) : xm_err_nomem(&e);
  if (rc < 0) {
    xm_buf_rollback(out, mark); /* nothing was flushed since */
    if (waiter) xb_drop_waiter(L, waiter);
    if (rc == XM_EINVAL) return luaL_argerror(L, 2, "stanza.id: a request with this id waits already");
    return xb_fail(L, &e);
  }
  note_answer(conn, &a);
  if (conn->queued > conn->max_queue) xb_mark_ready(conn); /* reading had stopped: see is_full */
  lua_pushlstring(L, a.id, a.id_len);
  flush_soon(conn);
  drain_log(L, conn, 1);
  return 1;
}

void xb_answer_unavailable(xb_conn *conn, xm_question *q) {
  const char *to = xm_question_from(q), *from = xm_question_to(q);
  xm_buf *out;
  xm_out o;
  size_t mark;
  int rc;
  if (!conn->c || conn->ended) return xm_question_free(q);
  out = xm_conn_out(conn->c);
  mark = xm_buf_mark(out);
  o = xm_out_begin(out);
  rc = xm_out_start(&o, "iq", "type", "error", "id", xm_question_id(q), "to", to ? to : (char *)NULL, NULL);
  if (rc == XM_OK && from && xm_conn_is_component(conn->c)) rc = xm_out_attr(&o, "from", 4, from, strlen(from));
  if (rc == XM_OK) rc = xm_out_start(&o, "error", "type", "cancel", NULL);
  if (rc == XM_OK) rc = xm_out_start(&o, "service-unavailable", "xmlns", XM_NS_STANZAS, NULL);
  if (rc == XM_OK) rc = xm_out_end(&o, "service-unavailable");
  if (rc == XM_OK) rc = xm_out_end(&o, "error");
  if (rc == XM_OK) rc = xm_out_end(&o, "iq");
  if (rc == XM_OK) {
    xm_conn_commit(conn->c, mark, NULL);
    flush_soon(conn);
  } else {
    xm_out_abandon(&o);
  }
  xm_question_free(q);
}

/* Dispatch. */

/* A stanza on its way to Lua: its table is made when somebody wants it, once. */
typedef struct dispatch {
  lua_State *L;
  xb_conn *conn;
  int at;                /* the connection's userdata */
  int table;             /* the stanza's; 0: not made yet */
  xm_question *question; /* it is an iq that must be answered */
} dispatch;

/* Makes it, and leaves it on the stack for the rest of the dispatch. Nothing may have been pushed that is popped before. */
static void need_table(dispatch *d) {
  if (d->table) return;
  xb_push_stanza(d->L, xm_conn_stanza(d->conn->c));
  d->table = lua_gettop(d->L);
}

/* Calls the function on top of the stack with stanza and connection. */
static void deliver(dispatch *d, uint32_t once) {
  xb_task task = {.st = d->conn->st, .question = d->question, .once = once};
  if (d->question) xm_question_hold(d->question);
  if (d->question || once) task.conn = d->conn;
  lua_pushvalue(d->L, d->table);
  lua_pushvalue(d->L, d->at);
  xb_call(d->L, 2, &task, d->at);
}

/* The slot's function goes to the top of the stack. */
static uint32_t push_callback(dispatch *d, uint32_t slot) {
  uint32_t once;
  push_part(d->L, d->at, XB_ONCE);
  once = lua_rawgeti(d->L, -1, slot) == LUA_TNIL ? 0 : slot;
  push_part(d->L, d->at, XB_CALLBACKS);
  lua_rawgeti(d->L, -1, slot);
  lua_replace(d->L, -4);
  lua_pop(d->L, 2);
  return once;
}

static void to_callbacks(dispatch *d) {
  const xm_tape *t = xm_conn_stanza(d->conn->c);
  xm_route *r = xm_conn_route(d->conn->c);
  uint32_t last = xm_route_last(r), slot = xm_route_next(r, 0, t);
  if (slot) need_table(d);
  for (; slot && slot <= last; slot = xm_route_next(r, slot, t)) deliver(d, push_callback(d, slot));
}

static void to_queue(dispatch *d, size_t size) {
  lua_State *L = d->L;
  xb_conn *conn = d->conn;
  xb_waiter *w = xb_find_waiter(conn, XB_STANZA);
  need_table(d);
  lua_pushvalue(L, d->table);
  if (w) return xb_finish(L, w, 1);
  push_part(L, d->at, XB_QUEUE);
  lua_insert(L, -2);
  lua_rawseti(L, -2, 2 * conn->last);
  lua_pushinteger(L, (lua_Integer)size);
  lua_rawseti(L, -2, 2 * conn->last + 1);
  lua_pop(L, 1);
  conn->last++;
  conn->queued += size;
}

/* The queue's first goes to the top of the stack; false: it is empty. */
static bool pop_queue(lua_State *L, xb_conn *conn, int at) {
  if (conn->first == conn->last) return false;
  push_part(L, at, XB_QUEUE);
  lua_rawgeti(L, -1, 2 * conn->first);
  lua_rawgeti(L, -2, 2 * conn->first + 1);
  conn->queued -= (size_t)lua_tointeger(L, -1);
  lua_pop(L, 1);
  lua_pushnil(L);
  lua_rawseti(L, -3, 2 * conn->first);
  lua_pushnil(L);
  lua_rawseti(L, -3, 2 * conn->first + 1);
  lua_remove(L, -2);
  conn->first++;
  return true;
}

static bool must_be_answered(const char *name, const char *type) {
  return type && strcmp(name, "iq") == 0 && (strcmp(type, "get") == 0 || strcmp(type, "set") == 0);
}

/* NULL when it needs no answer, or there is no memory to remember it. */
static xm_question *ask(xb_conn *conn, const char *name, const char *type, const char *from, const char *to,
                        const char *id) {
  return must_be_answered(name, type) ? xm_route_ask(xm_conn_route(conn->c), from, to, id) : NULL;
}

static void release(dispatch *d) {
  if (d->question && xm_question_release(xm_conn_route(d->conn->c), d->question))
    xb_answer_unavailable(d->conn, d->question);
}

static void to_handler(dispatch *d) {
  if (d->conn->handler == XB_DEFAULT_HANDLER) {
    to_callbacks(d);
  } else {
    need_table(d);
    push_part(d->L, d->at, XB_HANDLER);
    deliver(d, 0);
  }
}

static size_t size_of(const xm_tape *t) { return t->bytes.last + t->n * 64; }

/* The stanza on the tape. */
static void dispatch_tape(lua_State *L, xb_conn *conn, int at) {
  const xm_tape *t = xm_conn_stanza(conn->c);
  dispatch d = {.L = L, .conn = conn, .at = at};
  xb_waiter *w = xm_route_claim(xm_conn_route(conn->c), t);
  bool handled = conn->handler != XB_NO_HANDLER; /* one that the waiter sets gets what is queued, and then what comes */
  if (w) {
    xb_waiter_set_pending(w, NULL);
    need_table(&d);
    lua_pushvalue(L, d.table);
    xb_finish(L, w, 1);
  }
  if (!handled || conn->handler == XB_NO_HANDLER) {
    if (!w) to_queue(&d, size_of(t));
    return;
  }
  d.question = ask(conn, xm_tape_name(t, 0), xm_tape_get(t, 0, "type", NULL), xm_tape_get(t, 0, "from", NULL),
                   xm_tape_get(t, 0, "to", NULL), xm_tape_get(t, 0, "id", NULL));
  to_handler(&d);
  release(&d);
}

/* Callbacks for a stanza that is a table already (index `d->table`). */
static void table_to_callbacks(dispatch *d) {
  xm_route *r = xm_conn_route(d->conn->c);
  uint32_t last = xm_route_last(r), slot;
  xb_address a;
  const char *ns = xm_conn_ns(d->conn->c);
  xm_route_filter is;
  xb_read_address(d->L, d->table, &a, &ns);
  luaL_checkstack(d->L, 5, "a stanza");
  is = (xm_route_filter){.name = lua_pushstring(d->L, a.name), /* callbacks may change the table */
                         .type = lua_pushstring(d->L, a.type),
                         .xmlns = lua_pushstring(d->L, ns),
                         .from = lua_pushstring(d->L, a.from),
                         .id = lua_pushstring(d->L, a.id)};
  for (slot = xm_route_next_like(r, 0, &is); slot && slot <= last; slot = xm_route_next_like(r, slot, &is))
    deliver(d, push_callback(d, slot));
}

/* A stanza that was queued before there was a handler; its table is on top of the stack. */
static void dispatch_queued(lua_State *L, xb_conn *conn, int at) {
  dispatch d = {.L = L, .conn = conn, .at = at, .table = lua_gettop(L)};
  xb_address a;
  const char *ns = xm_conn_ns(conn->c);
  xb_read_address(L, d.table, &a, &ns);
  d.question = ask(conn, a.name, a.type, a.from, a.to, a.id);
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
  xb_read_address(L, 1, &a, &ns);
  if (must_be_answered(a.name, a.type)) d.question = xm_route_question(xm_conn_route(conn->c), a.from, a.id);
  table_to_callbacks(&d);
  return 0;
}

/* Ends of waits. */

static void finish_bound(lua_State *L, xb_conn *conn, int at) {
  xb_waiter *w = xb_find_waiter(conn, XB_BOUND);
  if (!w) return;
  lua_pushvalue(L, at);
  xb_finish(L, w, 1);
}

static void finish_sent(lua_State *L, xb_conn *conn) {
  xb_waiter *w;
  while (xm_conn_unsent(conn->c) == 0 && (w = xb_find_waiter(conn, XB_SENT))) {
    lua_pushboolean(L, 1);
    xb_finish(L, w, 1);
  }
}

/* Who waited for the end is told how it ended; everybody else, that it did. */
static void finish_ended(lua_State *L, xb_conn *conn, xb_waiter *w) {
  const xm_err *why = xm_conn_why(conn->c);
  xb_kind kind = xb_waiter_kind(w);
  if (kind == XB_ENDED && !xm_err_is_set(why)) {
    lua_pushboolean(L, 1);
    return xb_finish(L, w, 1);
  }
  lua_pushnil(L);
  if (kind == XB_BOUND && xm_err_is_set(why)) {
    xb_push_error(L, why);
  } else {
    push_closed(L, conn);
  }
  xb_finish(L, w, 2);
}

static void on_ended(lua_State *L, xb_conn *conn) {
  conn->ended = true;
  conn->st->conns--;
  while (conn->responses) finish_ended(L, conn, conn->responses);
  while (conn->waiters) finish_ended(L, conn, conn->waiters);
  xb_keep_alive(L, conn);
}

/* The receive queue is full: reading stops, TCP pushes back; unless somebody waits for what has to be read first. */
static bool is_full(const xb_conn *conn) {
  return conn->handler == XB_NO_HANDLER && conn->queued > conn->max_queue && !conn->responses && !conn->waiters;
}

/* One event, in a protected call: conn -> whether there may be more. */
static int l_work(lua_State *L) {
  xb_conn *conn = check(L);
  xm_conn_event ev;
  if (conn->handler != XB_NO_HANDLER && pop_queue(L, conn, 1)) {
    dispatch_queued(L, conn, 1);
    lua_pushinteger(L, 1);
    return 1;
  }
  xm_conn_pause(conn->c, is_full(conn));
  ev = conn->ended ? XM_CONN_NOTHING : xm_conn_next(conn->c);
  drain_log(L, conn, 1);
  if (ev == XM_CONN_STANZA) dispatch_tape(L, conn, 1);
  if (ev == XM_CONN_BOUND) finish_bound(L, conn, 1);
  if (ev == XM_CONN_ENDED) on_ended(L, conn);
  finish_sent(L, conn);
  if (ev == XM_CONN_AGAIN) xb_mark_ready(conn);
  lua_pushinteger(L, ev == XM_CONN_STANZA ? 1 : ev == XM_CONN_NOTHING || ev == XM_CONN_AGAIN ? -1 : 0);
  return 1;
}

/* Memory ran out where the library itself needed it: the stanza is lost, so the connection must not go on as if nothing
 * had been. */
static void break_off(lua_State *L, xb_conn *conn) {
  xb_report(L, NULL);
  xm_conn_abort(conn->c);
}

int xb_service(lua_State *L, xb_conn *conn, int most) {
  int dispatched = 0, more = 0, at;
  if (most > STANZAS_A_TURN) most = STANZAS_A_TURN;
  xb_push_conn(L, conn);
  at = lua_gettop(L);
  if (lua_isnil(L, at)) more = -1; /* it is about to be collected */
  if (conn->c) xm_conn_flush(conn->c);
  while (more >= 0 && dispatched < most && conn->c) {
    lua_pushcfunction(L, l_work);
    lua_pushvalue(L, at);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
      break_off(L, conn);
      break;
    }
    more = (int)lua_tointeger(L, -1);
    dispatched += more > 0;
    lua_pop(L, 1);
  }
  if (more >= 0) xb_mark_ready(conn);
  lua_settop(L, at - 1);
  return dispatched;
}

/* Methods. */

static int l_receive(lua_State *L) {
  xb_conn *conn = check(L);
  if (conn->handler == XB_NO_HANDLER && pop_queue(L, conn, 1)) { /* else the handler has it first */
    xb_mark_ready(conn); /* there is room again */
    return 1;
  }
  lua_pushnil(L);
  if (!conn->ended) return 1;
  push_closed(L, conn);
  return 2;
}

static int l_set_handler(lua_State *L) {
  xb_conn *conn = check(L);
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) lua_pushcfunction(L, xb_l_default_handler), lua_replace(L, 2);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  conn->handler = lua_tocfunction(L, 2) == xb_l_default_handler ? XB_DEFAULT_HANDLER : XB_OWN_HANDLER;
  set_part(L, 1, XB_HANDLER);
  xb_keep_alive(L, conn);
  xb_mark_ready(conn); /* for what was queued before */
  return 0;
}

static int l_stop_handler(lua_State *L) {
  xb_conn *conn = check(L);
  conn->handler = XB_NO_HANDLER;
  lua_pushnil(L);
  set_part(L, 1, XB_HANDLER);
  xb_keep_alive(L, conn);
  return 0;
}

static int l_handler(lua_State *L) {
  check(L);
  push_part(L, 1, XB_HANDLER);
  return 1;
}

static const char *filter_field(lua_State *L, const char *key) {
  const char *s;
  lua_getfield(L, 3, key);
  if (lua_isnil(L, -1)) return lua_pop(L, 1), NULL;
  if (luaL_testudata(L, -1, XB_JID)) luaL_tolstring(L, -1, NULL);
  if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "bad argument #3 (filter.%s: string expected, got %s)", key, luaL_typename(L, -1));
  s = lua_tostring(L, -1); /* stays on the stack until the call is over */
  return s;
}

static void check_filter_keys(lua_State *L) {
  static const char *const known[] = {"name", "type", "xmlns", "from", "id"};
  for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) {
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    bool is_known = false;
    size_t i;
    for (i = 0; i < sizeof known / sizeof *known; i++) is_known = is_known || strcmp(key, known[i]) == 0;
    if (!is_known) luaL_error(L, "bad argument #3 (a filter has no '%s'; it has name, type, xmlns, from, id)", key);
  }
}

/* set_callback(cb, filter), set_callback_once(cb, filter) */
static int add_callback(lua_State *L, bool once) {
  xb_conn *conn = check(L);
  xm_route_filter f = {0};
  bool filtered;
  int64_t slot;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 3);
  filtered = !lua_isnil(L, 3);
  if (filtered) {
    luaL_checktype(L, 3, LUA_TTABLE);
    check_filter_keys(L);
    f = (xm_route_filter){filter_field(L, "name"), filter_field(L, "type"), filter_field(L, "xmlns"),
                          filter_field(L, "from"), filter_field(L, "id")};
  }
  slot = xm_route_add(xm_conn_route(conn->c), filtered ? &f : NULL);
  if (slot < 0) return luaL_error(L, "not enough memory");
  push_part(L, 1, XB_CALLBACKS);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, slot);
  if (!once) return 0;
  push_part(L, 1, XB_ONCE);
  lua_pushboolean(L, 1);
  lua_rawseti(L, -2, slot);
  return 0;
}

static int l_set_callback(lua_State *L) {
  return add_callback(L, false);
}

static int l_set_callback_once(lua_State *L) {
  return add_callback(L, true);
}

void xb_remove_callback(lua_State *L, xb_conn *conn, int index, uint32_t slot) {
  static const int parts[] = {XB_CALLBACKS, XB_ONCE};
  int i;
  xm_route_remove(xm_conn_route(conn->c), slot);
  for (i = 0; i < 2; i++) {
    push_part(L, index, parts[i]);
    lua_pushnil(L);
    lua_rawseti(L, -2, slot);
    lua_pop(L, 1);
  }
}

static int l_unset_callback(lua_State *L) {
  xb_conn *conn = check(L);
  xm_route *r = xm_conn_route(conn->c);
  bool was = false;
  uint32_t slot;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  push_part(L, 1, XB_CALLBACKS);
  for (slot = xm_route_after(r, 0); slot; slot = xm_route_after(r, slot)) {
    bool same;
    lua_rawgeti(L, -1, slot);
    same = lua_rawequal(L, -1, 2);
    lua_pop(L, 1);
    if (same) xb_remove_callback(L, conn, 1, slot);
    was = was || same;
  }
  lua_pushboolean(L, was);
  return 1;
}

static int l_callbacks(lua_State *L) {
  xb_conn *conn = check(L);
  xm_route *r = xm_conn_route(conn->c);
  lua_Integer n = 0;
  uint32_t slot;
  push_part(L, 1, XB_CALLBACKS);
  lua_newtable(L);
  for (slot = xm_route_after(r, 0); slot; slot = xm_route_after(r, slot)) {
    lua_rawgeti(L, -2, slot);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

static int l_jid(lua_State *L) {
  xb_conn *conn = check(L);
  const xm_jid *jid = xm_conn_jid(conn->c);
  if (!jid) return lua_pushnil(L), 1;
  xb_push_jid(L, jid);
  return 1;
}

static int l_state(lua_State *L) {
  lua_pushstring(L, xm_conn_state_name(xm_conn_state_of(check(L)->c)));
  return 1;
}

/* info() -> how it was secured and logged in. */
static int l_info(lua_State *L) {
  const xm_conn *c = check(L)->c;
  lua_createtable(L, 0, 3);
  lua_pushstring(L, xm_conn_tls_version(c));
  lua_setfield(L, -2, "tls_version");
  lua_pushstring(L, xm_conn_mechanism(c));
  lua_setfield(L, -2, "mechanism");
  lua_pushstring(L, xm_conn_binding(c));
  lua_setfield(L, -2, "channel_binding");
  return 1;
}

static int l_pending(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)xm_conn_unsent(check(L)->c));
  return 1;
}

/* await(what, box, seconds): the box is filled when it has come true. "stanza", "sent", "ended". */
static int l_await(lua_State *L) {
  static const char *const names[] = {"stanza", "sent", "ended", NULL};
  static const xb_kind kinds[] = {XB_STANZA, XB_SENT, XB_ENDED};
  xb_conn *conn = check(L);
  xb_kind kind = kinds[luaL_checkoption(L, 2, NULL, names)];
  xb_waiter *w;
  luaL_checktype(L, 3, LUA_TTABLE);
  w = xb_wait(L, conn->st, conn, kind, 3, luaL_optnumber(L, 4, -1));
  if (!w) return luaL_error(L, "not enough memory");
  if (conn->ended) finish_ended(L, conn, w);
  else xb_mark_ready(conn);
  return 0;
}

/* close(seconds): the stream is ended; "ended" can be awaited. */
static int l_close(lua_State *L) {
  xb_conn *conn = check(L);
  double seconds = luaL_checknumber(L, 2);
  xm_conn_close(conn->c, seconds < 1e6 ? (unsigned)(seconds * 1000) : 1000000000u);
  xb_mark_ready(conn);
  xm_loop_sync(conn->st->loop);
  return 0;
}

/* For tests, on a connection made with the option fed: feed(bytes); sent() -> what it sent since. */
static int l_feed(lua_State *L) {
  xb_conn *conn = check(L);
  size_t n;
  const char *bytes = luaL_checklstring(L, 2, &n);
  return xm_conn_feed(conn->c, bytes, n) == XM_OK ? 0 : luaL_error(L, "not enough memory");
}

static int l_sent(lua_State *L) {
  xm_buf *out = xm_conn_out(check(L)->c);
  size_t n = xm_buf_len(out);
  lua_pushlstring(L, out->data ? xm_buf_at(out) : "", n); /* a collection may send more */
  xm_buf_consume(out, n);
  return 1;
}

static int l_tostring(lua_State *L) {
  xb_conn *conn = luaL_checkudata(L, 1, XB_CONN);
  const xm_jid *jid = conn->c ? xm_conn_jid(conn->c) : NULL;
  lua_pushfstring(L, "xmpp.Conn (%s%s%s)", conn->c ? xm_conn_state_name(xm_conn_state_of(conn->c)) : "never opened",
                  jid ? ", " : "", jid ? jid->str : "");
  return 1;
}

int xb_l_is_connection(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushboolean(L, luaL_testudata(L, 1, XB_CONN) != NULL);
  return 1;
}

/* Connecting. */

static const char *string_option(lua_State *L, const char *key, size_t *n) {
  const char *s = NULL;
  lua_getfield(L, 1, key);
  if (!lua_isnil(L, -1)) s = luaL_checklstring(L, -1, n); /* the table keeps it */
  lua_pop(L, 1);
  return s;
}

static double number_option(lua_State *L, const char *key, double otherwise) {
  double x;
  lua_getfield(L, 1, key);
  x = luaL_optnumber(L, -1, otherwise);
  lua_pop(L, 1);
  return x;
}

static bool true_option(lua_State *L, const char *key) {
  bool yes;
  lua_getfield(L, 1, key);
  yes = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return yes;
}

static size_t size_option(lua_State *L, const char *key, size_t otherwise) {
  double x = number_option(L, key, (double)otherwise);
  return x >= 4e9 ? 4000000000u : (size_t)x;
}

static unsigned ms_option(lua_State *L, const char *key, unsigned otherwise) {
  double x = number_option(L, key, otherwise / 1000.0);
  return x >= 4e6 ? 4000000000u : (unsigned)(x * 1000);
}

static void read_options(lua_State *L, xm_conn_options *o, xb_conn *conn) {
  const char *tls = string_option(L, "tls", NULL);
  o->component = true_option(L, "component");
  o->password = string_option(L, "password", &o->password_len);
  o->host = string_option(L, "host", NULL);
  o->port = (int)number_option(L, "port", o->port);
  o->tls = strcmp(tls, "direct") == 0 ? XM_TLS_DIRECT : strcmp(tls, "none") == 0 ? XM_TLS_NONE : XM_TLS_STARTTLS;
  o->tls_name = string_option(L, "tls_name", NULL);
  o->pin = string_option(L, "pin", NULL);
  o->lang = string_option(L, "lang", NULL);
  o->mechanisms = string_option(L, "mechanisms", NULL);
  o->nameservers = string_option(L, "nameservers", NULL);
  o->plain = true_option(L, "plain");
  o->pinned = true_option(L, "pinned");
  o->timeout = ms_option(L, "timeout", o->timeout);
  o->keepalive = ms_option(L, "keepalive", o->keepalive);
  o->max_stanza = size_option(L, "max_stanza", o->max_stanza);
  o->max_queue = size_option(L, "max_queue", o->max_queue);
  o->max_depth = (unsigned)size_option(L, "max_depth", o->max_depth);
  o->max_attributes = (unsigned)size_option(L, "max_attributes", o->max_attributes);
  o->max_nodes = (unsigned)size_option(L, "max_nodes", o->max_nodes);
  o->log = conn->logs = true_option(L, "log");
  o->fed = true_option(L, "fed");
  o->wake = wake;
  o->wake_arg = conn;
}

static xm_tls_ctx *make_tls(lua_State *L, xm_err *e) {
  xm_tls_options o = {.ca_file = string_option(L, "ca_file", NULL),
                      .ca_dir = string_option(L, "ca_dir", NULL),
                      .cert = string_option(L, "cert", NULL),
                      .key = string_option(L, "key", NULL),
                      .insecure = true_option(L, "insecure")};
  return xm_tls_ctx_new(&o, e);
}

/* Legal and closed first, then opened. */
static xb_conn *new_conn(lua_State *L) {
  xb_conn *conn = lua_newuserdatauv(L, sizeof *conn, 1);
  int part;
  *conn = (xb_conn){.st = xb_state_of(L), .ended = true};
  luaL_setmetatable(L, XB_CONN);
  lua_createtable(L, XB_LOG, 0);
  for (part = XB_CALLBACKS; part <= XB_QUEUE; part++) {
    lua_newtable(L);
    lua_rawseti(L, -2, part);
  }
  lua_getfield(L, 1, "log");
  lua_rawseti(L, -2, XB_LOG);
  lua_setiuservalue(L, -2, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &conns_key);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, conn);
  lua_pop(L, 1);
  return conn;
}

static int open_conn(lua_State *L, xb_conn *conn, xm_err *e) {
  xm_conn_options o = xm_conn_defaults();
  const xm_jid *jid;
  read_options(L, &o, conn);
  lua_getfield(L, 1, "jid");
  jid = xb_test_jid(L, -1);
  lua_pop(L, 1);
  o.jid = jid;
  conn->max_queue = o.max_queue;
  if (o.tls != XM_TLS_NONE) {
    o.tls_ctx = make_tls(L, e);
    if (!o.tls_ctx) return XM_EFAIL;
  }
  conn->c = xm_conn_new(conn->st->loop, &o, e);
  xm_tls_ctx_release(o.tls_ctx);
  if (!conn->c) return XM_EFAIL;
  conn->loop = conn->st->loop;
  xm_loop_hold(conn->loop);
  conn->ended = false;
  conn->st->conns++;
  return XM_OK;
}

/* connect(options, box) -> conn, or nil, err. The options have been checked. The box is filled when it is bound: with the
 * connection, or nil and an error. */
int xb_l_connect(lua_State *L) {
  xm_err e = {0};
  xb_conn *conn;
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  conn = new_conn(L);
  if (open_conn(L, conn, &e) < 0) return xb_fail(L, &e);
  if (xm_conn_state_of(conn->c) == XM_CONN_READY) return 1; /* fed */
  if (!xb_wait(L, conn->st, conn, XB_BOUND, 2, -1)) return luaL_error(L, "not enough memory");
  xm_loop_sync(conn->st->loop);
  return 1;
}

static const luaL_Reg methods[] = {{"send", l_send},
                                   {"request", l_request},
                                   {"receive", l_receive},
                                   {"set_handler", l_set_handler},
                                   {"stop_handler", l_stop_handler},
                                   {"handler", l_handler},
                                   {"set_callback", l_set_callback},
                                   {"set_callback_once", l_set_callback_once},
                                   {"unset_callback", l_unset_callback},
                                   {"callbacks", l_callbacks},
                                   {"jid", l_jid},
                                   {"state", l_state},
                                   {"info", l_info},
                                   {"pending", l_pending},
                                   {"await", l_await},
                                   {"close", l_close},
                                   {"feed", l_feed},
                                   {"sent", l_sent},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", l_gc}, {"__tostring", l_tostring}, {NULL, NULL}};

static void new_table(lua_State *L, const void *key, const char *mode) {
  lua_newtable(L);
  if (mode) {
    lua_createtable(L, 0, 1);
    lua_pushstring(L, mode);
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

/* Leaves the table of C methods on the stack; what Lua sees as methods is a table of its own, given to module's `methods`. */
void xb_open_conn(lua_State *L) {
  new_table(L, &conns_key, "v");
  new_table(L, &pins_key, NULL);
  luaL_newmetatable(L, XB_CONN);
  luaL_setfuncs(L, metamethods, 0);
  lua_newtable(L);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newlib(L, methods);
}
