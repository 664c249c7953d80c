/* receipt: what has become of what was sent, and of the connection's sessions, told to who wants to know. */
#include "bind.h"

/* Takes the function that is told of the stanza `seq` to the top of the stack; false, and nothing there: nobody is. */
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

/* f(state): the function on top of the stack. */
static void tell_fate(lua_State *L, xb_conn *conn, const char *state) {
  xb_task task = {.st = conn->st};
  lua_pushstring(L, state);
  xb_call(L, 1, &task, 0);
}

static void tell_receipt(lua_State *L, xb_conn *conn, int at, const xm_sm_receipt *r) {
  bool has = push_receiver(L, at, r->seq);
  if (has && r->fate != XM_SM_WRITTEN) xb_forget_receipt(L, conn, at, r->seq);
  if (has && r->fate == XM_SM_LEFT) lua_pop(L, 1);
  else if (has) tell_fate(L, conn, r->fate == XM_SM_ACKED ? "acked" : "written");
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
  else if (reason == XM_SM_UNKNOWN)
    xm_err_set(&e, XM_LAYER_CLOSED, "session-lost", true,
               "the session was lost: whether this iq had arrived is not known, and it is not sent twice");
  else
    xm_err_set(&e, XM_LAYER_CLOSED, xm_err_is_set(why) ? why->condition : "stopped", why->retry,
               "the connection has ended, and this stanza is not known to have arrived%s%s", *why->text ? ": " : "",
               why->text);
  return e;
}

static int build(lua_State *L) {
  const xm_sm_stanza *st = lua_touserdata(L, 1);
  lua_settop(L, 0);
  lua_pushlstring(L, st->xml, st->len);
  return xb_l_from_log(L);
}

/* The next that came back: an error table with the stanza in it goes to the top of the stack; false: there is none. Its text
 * is borrowed until the next call of the core's, which a finalizer may make at any allocation, before and after those of
 * xb_undisturbed. */
static bool push_returned(lua_State *L, const xb_conn *conn, xm_sm_stanza *st) {
  xm_err e;
  if (!xm_sm_may_have_returned(xm_conn_sm(conn->c))) return false;
  lua_pushcfunction(L, build);
  lua_pushlightuserdata(L, st);
  if (!xm_sm_returned_next(xm_conn_sm(conn->c), st)) return lua_pop(L, 2), false;
  e = why_returned(conn, st->reason);
  if (xb_undisturbed(L, 1) != LUA_OK) lua_error(L);
  xb_push_error(L, &e);
  lua_insert(L, -2);
  lua_setfield(L, -2, "stanza");
  return true;
}

/* Must it be told of, though nobody listens? What a stop has left behind is told by its result. */
static bool must_be_heard(const xb_conn *conn, const xm_sm_stanza *st) {
  return st->reason != XM_SM_ENDED || !xm_conn_is_stopping(conn->c);
}

/* To the sender by its `on`; else to who listens for what failed, or to on_error: a stanza that was given and can't be
 * delivered never goes unheard. The error is on top of the stack, and popped. */
static void tell_returned(lua_State *L, xb_conn *conn, int at, const xm_sm_stanza *st) {
  xb_task task = {.st = conn->st};
  int err = lua_gettop(L);
  if (push_receiver(L, at, st->seq)) {
    xb_forget_receipt(L, conn, at, st->seq);
    lua_pushliteral(L, "failed");
    lua_pushvalue(L, err);
    xb_call(L, 2, &task, 0);
  } else if (!(st->flags & (XM_SM_REQUEST | XM_SM_ANSWER))) {
    xb_push_part(L, at, XB_ON_FAILED);
    lua_getfield(L, err, "stanza");
    lua_pushvalue(L, err);
    if (!lua_isnil(L, -3)) xb_call(L, 2, &task, 0);
    else if (must_be_heard(conn, st)) xb_report(L, NULL);
  }
  lua_settop(L, err - 1);
}

bool xb_tell_receipts(lua_State *L, xb_conn *conn, int at, int *left) {
  xm_sm_receipt r;
  xm_sm_stanza st;
  luaL_checkstack(L, 10, "a receipt");
  for (; *left > 0 && conn->c && xm_sm_receipt_next(xm_conn_sm(conn->c), &r); --*left) tell_receipt(L, conn, at, &r);
  for (; *left > 0 && conn->c && push_returned(L, conn, &st); --*left) tell_returned(L, conn, at, &st);
  return *left > 0;
}

/* f(state, err): err is why, where there is a reason. */
void xb_tell_state(lua_State *L, xb_conn *conn, int at) {
  const xm_err *trouble = xm_conn_trouble(conn->c);
  xb_task task = {.st = conn->st};
  if (!conn->listens) return;
  xb_push_part(L, at, XB_ON_STATE);
  lua_pushstring(L, xm_conn_state_name(conn->c));
  if (xm_err_is_set(trouble)) xb_push_error(L, trouble);
  else lua_pushnil(L);
  xb_call(L, 2, &task, 0);
}

void xb_tell_session(lua_State *L, xb_conn *conn, int at) {
  xb_task task = {.st = conn->st};
  if (!conn->hears_sessions || xm_conn_state_of(conn->c) != XM_CONN_READY) return;
  xb_push_part(L, at, XB_ON_SESSION);
  xb_call(L, 0, &task, 0);
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

/* { name=, from=, to=, id=, type=, bound=, option= }: what is known of a stanza that was skipped. */
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
  xb_task task = {.st = conn->st, .conn = conn, .size = xb_size_of(xm_conn_stanza(conn->c))};
  luaL_checkstack(L, 10, "what was skipped");
  xb_push_part(L, at, XB_ON_SKIPPED);
  if (lua_isnil(L, -1) && told) return lua_pop(L, 1);
  push_skipped(L, conn);
  xb_push_error(L, why);
  xb_push_stanza(L, xm_conn_stanza(conn->c));
  lua_setfield(L, -2, "stanza");
  if (!lua_isnil(L, -3)) {
    xb_call(L, 2, &task, at);
  } else {
    xb_report(L, NULL);
    lua_pop(L, 2);
  }
}

/* Which of the names is at index 2. Raises with all of them for one that is none. */
static int check_event(lua_State *L, const char *const *names) {
  const char *s = luaL_checkstring(L, 2);
  int i;
  for (i = 0; names[i]; i++)
    if (strcmp(s, names[i]) == 0) return i;
  xb_push_shown(L, 2);
  lua_pushfstring(L, "there is no event '%s'; there are '%s'", lua_tostring(L, -1), names[0]);
  for (i = 1; names[i]; i++) lua_pushfstring(L, names[i + 1] ? ", '%s'" : " and '%s'", names[i]);
  lua_concat(L, i);
  return luaL_argerror(L, 2, lua_tostring(L, -1));
}

/* on("state", "session", "failed", "skipped" or "full", f): one listener each; nil: none any more. */
int xb_l_on(lua_State *L) {
  static const char *const names[] = {"state", "session", "failed", "skipped", "full", NULL};
  static const int parts[] = {XB_ON_STATE, XB_ON_SESSION, XB_ON_FAILED, XB_ON_SKIPPED, XB_ON_FULL};
  xb_conn *conn = xb_check_conn(L);
  int which = check_event(L, names);
  if (!lua_isnoneornil(L, 3)) luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_settop(L, 3);
  if (parts[which] == XB_ON_STATE) conn->listens = !lua_isnil(L, 3);
  if (parts[which] == XB_ON_SESSION) conn->hears_sessions = !lua_isnil(L, 3);
  xb_set_part(L, 1, parts[which]);
  xb_keep_alive(L, conn);
  return 0;
}
