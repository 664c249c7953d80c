/* send: stanzas out: a table is written, committed, and leaves when the step ends; requests, whose answer somebody awaits. */
#include <string.h>

#include "bind.h"
#include "ns.h"
#include "rnd.h"

/* A closed connection's tale, for whoever waits on it or tries to use it. */
void xb_push_closed(lua_State *L, const xb_conn *conn) {
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
    if (conn->waiters.first) xb_mark_ready(conn); /* one of them may wait for just that */
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
  xb_push_closed(L, conn);
  return 2;
}

static void note_answer(xb_conn *conn, const xb_address *a) {
  if (is_answer(a) && a->id) xm_route_answered(xm_conn_route(conn->c), a->to, a->to_len, a->id, a->id_len);
}

/* send(stanza) -> true, or nil, err */
int xb_l_send(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
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
  xb_drain_log(L, conn, 1);
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
int xb_l_request(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
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
  xb_drain_log(L, conn, 1);
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
