#include "receipt.h"

#include "call.h"
#include "charge.h"
#include "fault.h"
#include "listen.h"
#include "parts.h"
#include "stanza.h"
#include "wait.h"

/* Pushes the function that is to be told of the stanza `seq`; false, and nothing is pushed: there is none. */
static bool push_receiver(lua_State *L, int at, uint64_t seq) {
  xb_push_part(L, at, XB_RECEIPTS);
  lua_rawgeti(L, -1, (lua_Integer)seq);
  lua_remove(L, -2);
  if (!lua_isnil(L, -1)) return true;
  lua_pop(L, 1);
  return false;
}

uint64_t xb_expect_receipt(lua_State *L, xb_conn *conn) {
  uint64_t seq;
  xb_pin(L, conn);
  xb_push_part(L, 1, XB_RECEIPTS);
  lua_insert(L, -2);
  seq = xm_sm_next_seq(xm_conn_sm(conn->c));
  lua_rawseti(L, -2, (lua_Integer)seq);
  lua_pop(L, 1);
  conn->watched++;
  return seq;
}

void xb_forget_receipt(lua_State *L, xb_conn *conn, int at, uint64_t seq) {
  xb_push_part(L, at, XB_RECEIPTS);
  lua_pushnil(L);
  lua_rawseti(L, -2, (lua_Integer)seq);
  lua_pop(L, 1);
  conn->watched--;
  xb_keep_alive(L, conn);
}

/* Calls f(state), where f is on top of the stack. */
static void tell_fate(lua_State *L, xb_conn *conn, int at, const char *state) {
  xb_task task = {.st = conn->st};
  lua_pushstring(L, state);
  xb_call(L, 1, &task, "receipt", at, 0);
}

static void tell_receipt(lua_State *L, xb_conn *conn, int at, const xm_sm_receipt *r) {
  bool has = push_receiver(L, at, r->seq);
  if (has && r->fate != XM_SM_WRITTEN) xb_forget_receipt(L, conn, at, r->seq);
  if (has && r->fate == XM_SM_LEFT) lua_pop(L, 1);
  else if (has) tell_fate(L, conn, at, r->fate == XM_SM_ACKED ? "acked" : "written");
}

static xm_err why_returned(const xb_conn *conn, xm_sm_reason reason) {
  const xm_err *why = xm_conn_why(conn->c);
  xm_err e = {0};
  if (reason == XM_SM_OLD)
    xm_err_set(&e, XM_LAYER_TIMEOUT, "max-age", false,
               "this stanza had waited for longer than max_age when there was a session again, and was not sent");
  else if (reason == XM_SM_BLAMED)
    xm_err_set(&e, XM_LAYER_STREAM, xm_conn_trouble(conn->c)->condition, false,
               "the server has ended the stream for this stanza, and it is not sent again: %s", xm_conn_trouble(conn->c)->text);
  else if (reason == XM_SM_OVER)
    xm_err_set(&e, XM_LAYER_CLOSED, "session-lost", true,
               "the session for which this stanza was sent was lost, and it is not sent in another one");
  else if (reason == XM_SM_UNKNOWN)
    xm_err_set(&e, XM_LAYER_CLOSED, "session-lost", true,
               "the session was lost: whether this iq had arrived is not known, and it is not sent twice");
  else
    xm_err_set(&e, XM_LAYER_CLOSED, xm_err_is_set(why) ? why->condition : "stopped", why->retry,
               "the connection has ended, and this stanza is not known to have arrived%s%s", *why->text ? ": " : "",
               why->text);
  return e;
}

static int read_copy(lua_State *L) {
  const xm_buf *copy = lua_touserdata(L, 1);
  lua_settop(L, 0);
  lua_pushlstring(L, xm_buf_at(copy), xm_buf_len(copy));
  return xb_l_from_log(L);
}

/* Pushes an error table with the stanza in it. The core lends the stanza's text only until its next call, which a
 * finalizer may make at any allocation. (To stop the collector here instead would cost a cycle for each stanza.) */
static void push_failure(lua_State *L, const xb_conn *conn, const xm_sm_stanza *st) {
  xm_err e = why_returned(conn, st->reason);
  xm_buf copy = XM_BUF_INIT;
  int status;
  if (xm_buf_put(&copy, st->xml, st->len) < 0) luaL_error(L, "not enough memory");
  lua_pushcfunction(L, read_copy);
  lua_pushlightuserdata(L, &copy);
  status = lua_pcall(L, 1, 1, 0);
  xm_buf_free(&copy);
  if (status != LUA_OK) lua_error(L);
  xb_push_error(L, &e);
  lua_insert(L, -2);
  lua_setfield(L, -2, "stanza");
}

/* Is this stanza's fate reported only to its own function? Requests and answers are reported in other ways or needn't
 * be, and so are stanzas of a single session, unless the server ended the stream for one. */
static bool is_quiet(const xm_sm_stanza *st) {
  return st->flags & (XM_SM_REQUEST | XM_SM_ANSWER) || (st->flags & XM_SM_SESSION && st->reason != XM_SM_BLAMED);
}

/* Must it go to on_error if nobody listens? Not what stop has left unsent: its result tells that. */
static bool must_be_heard(const xb_conn *conn, const xm_sm_stanza *st) {
  return st->reason != XM_SM_ENDED || !xm_conn_is_stopping(conn->c);
}

/* Reports the stanza to its sender's `on`, otherwise to the listeners to "failed", otherwise to on_error, so that no
 * stanza is lost in silence. */
static void tell_returned(lua_State *L, xb_conn *conn, int at, const xm_sm_stanza *st) {
  xb_task task = {.st = conn->st};
  xb_site site = {.st = conn->st, .what = "failed", .conn = at};
  int top = lua_gettop(L), err;
  bool is_watched = push_receiver(L, at, st->seq);
  if (!is_watched && is_quiet(st)) return;
  if (is_watched) xb_forget_receipt(L, conn, at, st->seq);
  push_failure(L, conn, st);
  err = lua_gettop(L);
  lua_getfield(L, err, "stanza");
  site.stanza = err + 1;
  if (is_watched) {
    lua_pushvalue(L, top + 1);
    lua_pushliteral(L, "failed");
    lua_pushvalue(L, err);
    xb_call(L, 2, &task, "receipt", at, site.stanza);
  } else {
    lua_pushvalue(L, site.stanza);
    lua_pushvalue(L, err);
    if (!xb_tell(L, conn, at, XB_ON_FAILED, 2, site.stanza) && must_be_heard(conn, st)) {
      lua_pushvalue(L, err);
      xb_report(L, NULL, &site);
    }
  }
  lua_settop(L, top);
}

static bool take_returned(const xb_conn *conn, xm_sm_stanza *st) {
  return xm_sm_may_have_returned(xm_conn_sm(conn->c)) && xm_sm_returned_next(xm_conn_sm(conn->c), st);
}

bool xb_tell_receipts(lua_State *L, xb_conn *conn, int at, int *left) {
  xm_sm_receipt r;
  xm_sm_stanza st;
  luaL_checkstack(L, 10, "a receipt");
  for (; *left > 0 && conn->c && xm_sm_receipt_next(xm_conn_sm(conn->c), &r); --*left) tell_receipt(L, conn, at, &r);
  for (; *left > 0 && conn->c && take_returned(conn, &st); --*left) tell_returned(L, conn, at, &st);
  return *left > 0;
}

/* Calls f(state, err) of each listener; err is the reason, if there is one, or nil. */
void xb_tell_state(lua_State *L, xb_conn *conn, int at) {
  const xm_err *trouble = xm_conn_trouble(conn->c);
  if (!conn->listens) return;
  lua_pushstring(L, xm_conn_state_name(conn->c));
  if (xm_err_is_set(trouble)) xb_push_error(L, trouble);
  else lua_pushnil(L);
  xb_tell(L, conn, at, XB_ON_STATE, 2, 0);
}

void xb_tell_lost(lua_State *L, xb_conn *conn, int *left) {
  xm_err e = {0};
  xm_err_set(&e, XM_LAYER_CLOSED, "session-lost", true,
             "the session in which this was asked was lost: there will be no response, and whether the request was carried "
             "out is not known");
  for (; *left > 0 && conn->lost.first; --*left) {
    xb_waiter *w = conn->lost.first;
    xb_begin_finish(w);
    lua_pushnil(L);
    xb_push_error(L, &e);
    xb_finish(L, w, 2);
  }
}

static void set_text(lua_State *L, const char *key, const char *s) {
  if (!s) return;
  lua_pushstring(L, s);
  lua_setfield(L, -2, key);
}

/* Pushes { name=, from=, to=, id=, type=, bound=, option= }: what is known of a stanza that was skipped. */
static void push_skipped(lua_State *L, const xb_conn *conn) {
  static const char *const keys[] = {"from", "to", "id", "type"};
  const xm_tape *t = xm_conn_stanza(conn->c);
  size_t i, most;
  xm_bound bound = xm_conn_crossed(conn->c, &most);
  lua_createtable(L, 0, 7);
  set_text(L, "name", xm_tape_name(t, 0));
  for (i = 0; i < sizeof keys / sizeof *keys; i++) set_text(L, keys[i], xm_tape_get(t, 0, keys[i], NULL));
  set_text(L, "option", xm_bounds_option(bound));
  lua_pushinteger(L, (lua_Integer)most);
  lua_setfield(L, -2, "bound");
}

void xb_tell_skipped(lua_State *L, xb_conn *conn, int at, const xm_err *why, bool told) {
  const xb_site site = {.st = conn->st, .what = "skipped", .conn = at};
  xb_task task = {.st = conn->st};
  int err;
  xb_charge(&task, conn, xb_size_of(xm_conn_stanza(conn->c)));
  luaL_checkstack(L, 10, "what was skipped");
  xb_push_error(L, why);
  err = lua_gettop(L);
  xb_push_stanza(L, xm_conn_stanza(conn->c));
  lua_setfield(L, err, "stanza");
  push_skipped(L, conn);
  lua_pushvalue(L, err);
  if (!xb_tell_as(L, &task, conn, at, XB_ON_SKIPPED, 2, 0) && !told) xb_report(L, NULL, &site);
  lua_settop(L, err - 1);
}
