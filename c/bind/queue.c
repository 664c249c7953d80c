/* queue: the receive queue, where stanzas wait for whoever takes them, and when nothing more is read. */

#include "bind.h"

enum {
  COROUTINE = 2048,    /* bytes, about, that a call which waits takes besides its stanza */
  BEHIND = 1024 * 1024 /* bytes: a response that is awaited may be behind so much, though max_queue is small */
};

size_t xb_size_of(const xm_tape *t) { return t->bytes.last + t->n * 64; }

/* Slot 2i+1 has the stanza's size in bytes; of one that is for callbacks alone -1 - size. */
void xb_push_queue(lua_State *L, xb_conn *conn, int at, size_t size, bool claimed) {
  lua_Integer n = (lua_Integer)size;
  xb_push_part(L, at, XB_QUEUE);
  lua_insert(L, -2);
  lua_rawseti(L, -2, 2 * conn->last);
  lua_pushinteger(L, claimed ? -1 - n : n);
  lua_rawseti(L, -2, 2 * conn->last + 1);
  lua_pop(L, 1);
  conn->last++;
  conn->queued += size;
}

bool xb_pop_queue(lua_State *L, xb_conn *conn, int at, size_t *size, bool *claimed) {
  lua_Integer n;
  if (conn->first == conn->last) return false;
  xb_push_part(L, at, XB_QUEUE);
  lua_rawgeti(L, -1, 2 * conn->first);
  lua_rawgeti(L, -2, 2 * conn->first + 1);
  n = lua_tointeger(L, -1);
  *claimed = n < 0;
  *size = (size_t)(n < 0 ? -1 - n : n);
  conn->queued -= *size;
  lua_pop(L, 1);
  lua_pushnil(L);
  lua_rawseti(L, -3, 2 * conn->first);
  lua_pushnil(L);
  lua_rawseti(L, -3, 2 * conn->first + 1);
  lua_remove(L, -2);
  conn->first++;
  return true;
}

bool xb_receive(lua_State *L, xb_conn *conn, int at) {
  size_t size;
  bool claimed;
  while (xb_pop_queue(L, conn, at, &size, &claimed)) {
    if (!claimed) return true;
    lua_pop(L, 1);
  }
  return false;
}

void xb_note_asked(xb_conn *conn) {
  conn->asked_at = xm_loop_now(conn->loop);
  conn->told_full = false;
}

/* Calls that wait. */

void xb_call_waits(xb_conn *conn, size_t size) {
  conn->waiting++;
  conn->held += size + COROUTINE;
}

void xb_call_is_over(xb_conn *conn, size_t size) {
  conn->waiting--;
  conn->held -= size + COROUTINE;
  if (conn->c && (conn->stopped || conn->first != conn->last)) xb_mark_ready(conn);
}

bool xb_must_park(const xb_conn *conn) {
  return conn->held > conn->max_queue;
}

/* When it is full. */

/* Has somebody asked for a stanza lately? Then somebody will again. */
static bool is_asked(const xb_conn *conn) {
  return conn->asked_at && xm_loop_now(conn->loop) - conn->asked_at < conn->patience;
}

/* Does anybody wait for what can only be found by reading on? */
static bool is_awaited(const xb_conn *conn) {
  return conn->responses.first || conn->waiters.first || xm_conn_state_of(conn->c) == XM_CONN_CLOSING;
}

/* Whoever waits for what. */
static size_t utmost(const xb_conn *conn) { return 2 * conn->max_queue + BEHIND; }

static size_t limit(const xb_conn *conn) { return is_awaited(conn) ? utmost(conn) : conn->max_queue; }

/* With a handler, what is beyond those of its calls that wait is queued, if reading brings anybody on. */
static bool is_full_of_parked(const xb_conn *conn) {
  return xb_must_park(conn) && (conn->queued > limit(conn) || !(is_awaited(conn) || xm_conn_expects(conn->c)));
}

/* Where nobody asks for stanzas: must what has come be read all the same, as what the connection waits for is behind it? When
 * nothing more can leave, or it has waited for long; then until it has come. */
static bool is_pressing(xb_conn *conn) {
  uint64_t now = xm_loop_now(conn->loop);
  if (!xm_conn_expects(conn->c)) {
    conn->behind_since = 0;
    return conn->pressing = false;
  }
  if (!conn->behind_since) conn->behind_since = now;
  conn->pressing = conn->pressing || xm_conn_is_held_up(conn->c) || now - conn->behind_since >= 2 * (uint64_t)conn->patience;
  return conn->pressing;
}

bool xb_is_full(xb_conn *conn) {
  if (conn->held > utmost(conn)) return true; /* by calls for what is never parked: that something was skipped, the log */
  if (conn->handler != XB_NO_HANDLER) return is_full_of_parked(conn);
  return conn->queued > limit(conn) && (is_asked(conn) || !(is_awaited(conn) || is_pressing(conn)));
}

/* The oldest is thrown away. A question is answered, since nobody else can any more. */
static void drop(lua_State *L, xb_conn *conn, int at) {
  xm_question *q;
  if (!xb_receive(L, conn, at)) return;
  conn->dropped++;
  q = xb_ask_table(L, conn, lua_gettop(L));
  if (q && xm_question_release(xm_conn_route(conn->c), q)) xb_answer_unavailable(conn, q);
  lua_pop(L, 1);
}

static void tell_full(lua_State *L, xb_conn *conn, int at) {
  xb_task task = {.st = conn->st};
  xm_err e = {0};
  if (conn->told_full) return;
  conn->told_full = true;
  xm_err_set(&e, XM_LAYER_LIMIT, "max-queue", false,
             "nobody takes the stanzas that come in, and more than max_queue (%zu bytes) of them wait: the oldest are thrown "
             "away, so that what is behind them can be read; take them by conn:set_handler(f) or conn:receive()",
             conn->max_queue);
  xb_push_part(L, at, XB_ON_FULL);
  xb_push_error(L, &e);
  if (!lua_isnil(L, -2)) {
    xb_call(L, 1, &task, 0);
  } else {
    xb_report(L, NULL);
    lua_pop(L, 1);
  }
}

/* Callbacks are there, but nothing that calls them, nor anybody who takes stanzas: that is a line forgotten, usually. */
static void warn_once(lua_State *L, xb_conn *conn) {
  static const char *const words[] = {"xmpp: a stanza has come for a connection that has callbacks, but no handler that calls "
                                      "them: it waits in the receive queue (conn:set_handler() installs the default handler, "
                                      "which does; this is said once)", NULL};
  if (conn->st->told_idle || conn->asked_at || !xm_route_after(xm_conn_route(conn->c), 0)) return;
  conn->st->told_idle = true;
  xb_say(L, words);
}

void xb_queue(lua_State *L, xb_conn *conn, int at, size_t size) {
  bool drops = conn->queued > limit(conn) && !is_asked(conn);
  while (drops && conn->queued > limit(conn) && conn->first != conn->last) drop(L, conn, at);
  xb_push_queue(L, conn, at, size, false);
  warn_once(L, conn);
  if (drops) tell_full(L, conn, at);
}
