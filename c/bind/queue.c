#include "queue.h"

#include "call.h"
#include "charge.h"
#include "fault.h"
#include "listen.h"
#include "parts.h"
#include "question.h"
#include "state.h"
#include "wait.h"

enum {
  BEHIND = 1024 * 1024 /* bytes that may be read, in addition to twice max_queue, for a response that is awaited */
};

/* Place i of the queue is in the slots 2i (the stanza) and 2i+1 (its size in bytes, or -1 - size for a claimed one). */
static void put(lua_State *L, xb_conn *conn, int at, lua_Integer place, size_t size, bool claimed) {
  lua_Integer n = (lua_Integer)size;
  xb_push_part(L, at, XB_QUEUE);
  lua_insert(L, -2);
  lua_rawseti(L, -2, 2 * place);
  lua_pushinteger(L, claimed ? -1 - n : n);
  lua_rawseti(L, -2, 2 * place + 1);
  lua_pop(L, 1);
  conn->queued += size;
}

/* Pushes the stanza in the place was->place, and empties that. */
static void take(lua_State *L, xb_conn *conn, int at, xb_queued *was) {
  lua_Integer n;
  xb_push_part(L, at, XB_QUEUE);
  lua_rawgeti(L, -1, 2 * was->place);
  lua_rawgeti(L, -2, 2 * was->place + 1);
  n = lua_tointeger(L, -1);
  was->claimed = n < 0;
  was->size = (size_t)(n < 0 ? -1 - n : n);
  was->offered = was->place < conn->offered;
  conn->queued -= was->size;
  if (!was->offered) conn->fresh -= was->size;
  lua_pop(L, 1);
  lua_pushnil(L);
  lua_rawseti(L, -3, 2 * was->place);
  lua_pushnil(L);
  lua_rawseti(L, -3, 2 * was->place + 1);
  lua_remove(L, -2);
}

void xb_push_queue(lua_State *L, xb_conn *conn, int at, size_t size, bool claimed) {
  put(L, conn, at, conn->last, size, claimed);
  conn->fresh += size;
  conn->last++;
}

bool xb_pop_queue(lua_State *L, xb_conn *conn, int at, xb_queued *was) {
  if (conn->first == conn->last) return false;
  was->place = conn->first;
  take(L, conn, at, was);
  conn->holes -= lua_isnil(L, -1);
  conn->first++;
  if (!was->offered) conn->offered = conn->first;
  return true;
}

bool xb_take_fresh(lua_State *L, xb_conn *conn, int at, xb_queued *was) {
  if (conn->offered == conn->last) return false;
  was->place = conn->offered;
  take(L, conn, at, was);
  conn->offered++;
  if (was->place == conn->first) conn->first++;
  else conn->holes++;
  return true;
}

/* The stanzas before it may have been received in the meantime. */
void xb_put_back(lua_State *L, xb_conn *conn, int at, const xb_queued *was) {
  put(L, conn, at, was->place, was->size, was->claimed);
  if (conn->first > was->place) conn->first = was->place;
  else conn->holes--;
}

/* Has the queue nothing that may be received? If there are taps, they must be offered a stanza first. */
static bool is_empty(const xb_conn *conn) {
  return conn->first == (xb_has_taps(conn) ? conn->offered : conn->last);
}

bool xb_receive(lua_State *L, xb_conn *conn, int at) {
  xb_queued was;
  while (!is_empty(conn) && xb_pop_queue(L, conn, at, &was)) {
    if (!was.claimed && !lua_isnil(L, -1)) return true;
    lua_pop(L, 1);
  }
  return false;
}

void xb_empty_queue(lua_State *L, xb_conn *conn, int at) {
  xb_queued was;
  while (xb_pop_queue(L, conn, at, &was)) lua_pop(L, 1);
}

/* When the queue is full */

/* Has the program asked for a stanza lately? Then it will probably do so again. */
static bool is_asked(const xb_conn *conn) {
  return conn->asked_at && xm_loop_now(conn->loop) - conn->asked_at < conn->patience;
}

/* Does anybody wait for something that can only come by reading on? */
static bool is_awaited(const xb_conn *conn) {
  return conn->responses.first || conn->waiters.first || xm_conn_state_of(conn->c) == XM_CONN_CLOSING;
}

/* The most that is ever queued, whoever waits for what. */
static size_t utmost(const xb_conn *conn) { return 2 * conn->max_queue + BEHIND; }

static size_t limit(const xb_conn *conn) { return is_awaited(conn) ? utmost(conn) : conn->max_queue; }

/* There are so many suspended calls that stanzas are queued (parked) for the handler or taps, `parked` bytes by now. Is
 * that the limit, or would reading on help nobody? */
static bool is_full_of_parked(const xb_conn *conn, size_t parked) {
  return parked > limit(conn) || !(is_awaited(conn) || xm_conn_expects(conn->c));
}

/* If nobody asks for stanzas: must more be read nevertheless, since something that the connection itself needs is
 * behind them? Yes when nothing more can be sent without it, or it has been missing for long; and from then on until it
 * has come. */
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

/* Does a draining connection still have to read? */
static bool is_awaited_yet(const xb_conn *conn) {
  return xm_conn_is_stopping(conn->c) || conn->responses.first || xb_find_waiter(conn, XB_PROBED) || xm_conn_expects(conn->c);
}

bool xb_is_full(xb_conn *conn) {
  if (conn->is_held && !is_awaited(conn)) return true;
  if (conn->held > utmost(conn)) return true; /* by calls that are never parked: for skipped stanzas, and of the log
                                                 function */
  if (conn->draining) return !is_awaited_yet(conn);
  if (conn->handler != XB_NO_HANDLER) return xb_must_park(conn) && is_full_of_parked(conn, conn->queued);
  if (xb_must_park(conn) && xb_has_taps(conn)) return is_full_of_parked(conn, conn->fresh);
  if (conn->queued <= limit(conn)) return false;
  return is_asked(conn) || !(is_awaited(conn) || xb_has_taps(conn) || is_pressing(conn)); /* taps may want what comes
                                                                                             behind it */
}

/* Throws the oldest stanza away. A request is answered with an error, since nobody else can answer it any more. */
static void drop(lua_State *L, xb_conn *conn, int at) {
  xm_question *q;
  if (!xb_receive(L, conn, at)) return;
  conn->dropped++;
  q = xb_ask_table(L, conn, lua_gettop(L));
  if (q && xm_question_release(xm_conn_route(conn->c), q)) xb_answer_unavailable(conn, q);
  lua_pop(L, 1);
}

static void tell_full(lua_State *L, xb_conn *conn, int at) {
  const xb_site site = {.st = conn->st, .what = "full", .conn = at};
  xm_err e = {0};
  if (conn->told_full) return;
  conn->told_full = true;
  xm_err_set(&e, XM_LAYER_LIMIT, "max-queue", false,
             "nobody takes the stanzas that come in, and more than max_queue (%zu bytes) of them wait: the oldest are thrown "
             "away, so that what is behind them can be read; take them by conn:set_handler(f) or conn:receive()",
             conn->max_queue);
  xb_push_error(L, &e);
  if (xb_tell(L, conn, at, XB_ON_FULL, 1, 0)) return;
  xb_push_error(L, &e);
  xb_report(L, NULL, &site);
}

void xb_queue(lua_State *L, xb_conn *conn, int at, size_t size) {
  bool drops = conn->queued > limit(conn) && !is_asked(conn);
  bool is_next = conn->offered == conn->last;
  while (drops && conn->queued > limit(conn) && !is_empty(conn)) drop(L, conn, at);
  xb_push_queue(L, conn, at, size, false);
  if (is_next && xb_has_taps(conn)) { /* which have been offered it already */
    conn->offered = conn->last;
    conn->fresh -= size;
  }
  if (drops) tell_full(L, conn, at);
}

int xb_l_hold(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  conn->is_held = lua_toboolean(L, 2);
  if (conn->c) xb_mark_ready(conn);
  return 0;
}
