#include "drain.h"

#include "call.h"
#include "parts.h"
#include "wait.h"

enum {
  TICK = 100,      /* ms; how often to look whether the calls are over whose end isn't reported (xb_count_untold) */
  GOODBYE = 1000,  /* ms; a tenth (SHARE) of the time, but at most this, is kept for closing the stream */
  SHARE = 10
};

static const double MOST_SECONDS = 1e6;

bool xb_passes_over(const xb_conn *conn) {
  return conn->draining && (!conn->dry || xm_conn_is_stopping(conn->c));
}

/* The number of calls that themselves wait for this drain; it doesn't wait for those. */
static size_t count_drainers(lua_State *L, const xb_conn *conn) {
  const xb_waiter *w;
  size_t n = 0;
  for (w = conn->waiters.first; w; w = xb_next_waiter(w)) {
    if (xb_waiter_kind(w) != XB_DRAINED) continue;
    xb_push_waiting(L, w);
    n += xb_is_call_for(L, conn);
  }
  return n;
}

static size_t minus(size_t a, size_t b) { return a > b ? a - b : 0; }

/* The number of suspended calls that the drain waits for. */
static size_t count_unfinished(lua_State *L, const xb_conn *conn) {
  return minus(conn->waiting + xb_count_untold(L, conn), count_drainers(L, conn));
}

/* Is there something in the queue for a handler or a tap? Stanzas in lines (line.h) that are due have been dispatched
 * by now. */
static bool has_queued(const xb_conn *conn) {
  if (conn->handler != XB_NO_HANDLER) return conn->first != conn->last;
  return xb_has_taps(conn) && conn->offered != conn->last;
}

static void on_time(void *arg) { xb_mark_ready(arg); }

static unsigned until(const xb_conn *conn, uint64_t when) {
  uint64_t now = xm_loop_now(conn->loop);
  return now < when ? (unsigned)(when - now) : 0;
}

/* Checks again after `ms`. false: there is no memory for the timer. */
static bool look_again(xb_conn *conn, unsigned ms) {
  return xm_timer_start(conn->loop, &conn->drain_timer, ms, on_time, conn) == XM_OK;
}

static void part(lua_State *L, xb_conn *conn, bool late) {
  conn->parting = true;
  conn->late = late;
  xm_timer_stop(conn->loop, &conn->drain_timer);
  xm_conn_close(conn->c, until(conn, conn->drain_end));
  conn->closing = true;
  xb_keep_alive(L, conn);
}

void xb_drain_on(lua_State *L, xb_conn *conn) {
  unsigned left = until(conn, conn->drain_by);
  if (conn->parting || conn->ended) return;
  if (left == 0) return part(L, conn, conn->dry || has_queued(conn) || count_unfinished(L, conn) > 0);
  if (conn->dry || has_queued(conn)) return;
  if (count_unfinished(L, conn) == 0) return part(L, conn, false);
  if (xb_count_untold(L, conn) && !look_again(conn, left < TICK ? left : TICK)) part(L, conn, true);
}

static void begin(lua_State *L, xb_conn *conn) {
  conn->draining = true;
  conn->to_finish = count_unfinished(L, conn);
  conn->given = 0;
  conn->dry = xm_conn_run_dry(conn->c);
  xb_keep_alive(L, conn);
}

int xb_l_drain(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  double seconds = luaL_checknumber(L, 2);
  unsigned ms = seconds < MOST_SECONDS ? (unsigned)(seconds * 1000) : (unsigned)(MOST_SECONDS * 1000);
  unsigned kept = ms / SHARE < GOODBYE ? ms / SHARE : GOODBYE;
  uint64_t end = xm_loop_now(conn->loop) + ms;
  if (conn->ended || (conn->draining && end >= conn->drain_end)) return 0;
  if (conn->parting) xm_conn_close(conn->c, ms);
  else if (!look_again(conn, ms - kept)) return luaL_error(L, "not enough memory");
  conn->drain_end = end;
  conn->drain_by = end - kept;
  if (!conn->draining) begin(L, conn);
  xb_mark_ready(conn);
  xm_loop_sync(conn->loop);
  return 0;
}

void xb_note_drained(lua_State *L, xb_conn *conn) {
  xm_timer_stop(conn->loop, &conn->drain_timer);
  conn->unfinished = count_unfinished(L, conn);
}

static void set_count(lua_State *L, const char *name, uint64_t n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, -2, name);
}

int xb_l_drained(lua_State *L) {
  const xb_conn *conn = xb_check_conn(L);
  const xm_conn_left left = xm_conn_left_of(conn->c);
  lua_createtable(L, 0, 7);
  set_count(L, "handled", minus(conn->to_finish + conn->given, conn->unfinished));
  set_count(L, "unfinished", conn->unfinished);
  set_count(L, "queued", (size_t)(conn->last - conn->first) - conn->holes);
  set_count(L, "unread", left.stanzas);
  set_count(L, "unread_bytes", left.bytes);
  set_count(L, "unsent", left.unsent);
  lua_pushboolean(L, conn->late || left.late);
  lua_setfield(L, -2, "late");
  return 1;
}
