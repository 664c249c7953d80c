#include "send.h"

#include <stdio.h>
#include <string.h>

#include "add.h"
#include "ascii.h"
#include "call.h"
#include "fault.h"
#include "flush.h"
#include "log.h"
#include "ns.h"
#include "parts.h"
#include "question.h"
#include "receipt.h"
#include "rnd.h"
#include "stanza.h"
#include "state.h"
#include "wait.h"

static bool is_answer(const xb_address *a) {
  return a->type && strcmp(a->name, "iq") == 0 && (strcmp(a->type, "result") == 0 || strcmp(a->type, "error") == 0);
}

/* Prepares the structs field by field: clearing their large arrays, too, would cost a tenth of a send. */
static void begin(const xb_conn *conn, xb_writing *w, xb_address *a, xm_err *e) {
  const xm_jid *jid = xm_conn_is_component(conn->c) ? xm_conn_jid(conn->c) : NULL;
  xb_clear_address(a);
  xb_begin_writing(w, xm_conn_ns(conn->c), a);
  if (jid) w->new_from = jid->str;
  w->ids = &conn->st->ids;
  w->bounds = xm_conn_bounds(conn->c);
  xm_err_clear(e);
}

/* Is it an address in the component's domain, regardless of upper and lower case? */
static bool is_within(const xm_jid *domain, const char *from, size_t n) {
  const char *slash = memchr(from, '/', n), *end = slash ? slash : from + n;
  const char *at = memchr(from, '@', (size_t)(end - from)), *begin = at ? at + 1 : from;
  return (size_t)(end - begin) == domain->domain_len && xm_ascii_same(begin, xm_jid_domain(domain), domain->domain_len);
}

/* A server ends a component's stream for a `from` that isn't in its domain (XEP-0114 4), which interrupts everything
 * else that the component does. */
static int check_from(const xb_conn *conn, const xb_address *a, xm_err *e) {
  const xm_jid *jid = xm_conn_jid(conn->c);
  if (!xm_conn_is_component(conn->c) || conn->foreign_from || !a->from || !jid || is_within(jid, a->from, a->from_len))
    return XM_OK;
  return xm_err_set(e, XM_LAYER_STANZA, "invalid-from", false,
                    "stanza.from: '%.100s' is not in the component's domain %s, and most servers would end the stream for it; "
                    "for one that allows it there is the option foreign_from",
                    a->from, jid->str);
}

/* The id of an answer, and of an error, is chosen by somebody else. */
static int check_id(const xb_address *a, xm_err *e) {
  bool is_error = a->type && strcmp(a->type, "error") == 0;
  if ((!is_answer(a) && !is_error) || a->id_len <= XB_LONGEST_ID) return XM_OK;
  return xm_err_set(e, XM_LAYER_STANZA, "policy-violation", false,
                    "stanza.id: it has %zu bytes, and a stanza whose id has more than %d isn't answered, since the server might "
                    "end the stream for an answer that is so long",
                    a->id_len, XB_LONGEST_ID);
}

/* From a stanza's first byte to its commit nothing may raise a Lua error or run Lua code, finalizers included. All that
 * needs memory of Lua's is done before that, and undone if the stanza isn't committed. So a caller can rely on what it
 * is told: that the stanza is sent, or that it isn't. */

/* Writes the stanza at index 2, to be committed by the caller; XM_EINVAL: w->reason says why not. A stanza that isn't
 * committed is dropped when the next one is begun (xm_conn_out). */
static int write_stanza(lua_State *L, xb_conn *conn, xb_writing *w, xm_err *e) {
  int rc = xb_write(L, 2, xm_conn_out(conn->c), w);
  if (rc == XM_OK) rc = check_from(conn, w->address, e);
  if (rc == XM_OK) rc = check_id(w->address, e);
  return rc == XM_ENOMEM ? xm_err_nomem(e) : rc;
}

static int l_tell_log(lua_State *L) {
  xb_drain_log(L, xb_check_conn(L), 1);
  return 0;
}

/* Pushes a function that tell_log can call later without allocating. It must stay on the stack until then. */
static void prepare_log(lua_State *L, const xb_conn *conn) {
  if (conn->logs) lua_pushcfunction(L, l_tell_log);
}

/* Calls that function, which is below the top of the stack. If memory runs out the log waits for the next step: the
 * stanza is sent in any case. */
static void tell_log(lua_State *L, xb_conn *conn) {
  if (!conn->logs) return;
  lua_pushvalue(L, -2);
  lua_pushvalue(L, 1);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return;
  lua_pop(L, 1);
  if (conn->c) xb_mark_ready(conn);
}

/* The flags for what a server may end the stream for: a `from`, or a missing `to`. */
static unsigned doubts(const xb_conn *conn, const xb_address *a) {
  if (!xm_conn_is_component(conn->c)) return a->from ? XM_SM_FROM : 0;
  return (a->to ? 0 : XM_SM_NO_TO) | (conn->foreign_from && a->from ? XM_SM_FROM : 0);
}

/* Returns nil, err. Using a closed connection gives the same error everywhere. */
static int fail_send(lua_State *L, xb_conn *conn, const xm_err *e) {
  if (e->layer != XM_LAYER_CLOSED || xm_conn_state_of(conn->c) != XM_CONN_CLOSED) return xb_fail(L, e);
  lua_pushnil(L);
  xb_push_closed(L, conn);
  return 2;
}

static void note_answer(xb_conn *conn, const xb_address *a) {
  xm_route_request answer = {.id = a->id, .id_len = a->id_len, .to = a->to, .to_len = a->to_len};
  if (!is_answer(a) || !a->id) return;
  answer.sent_from = xb_own_address(conn, a->from);
  answer.sent_from_len = answer.sent_from ? strlen(answer.sent_from) : 0;
  xm_route_answered(xm_conn_route(conn->c), xb_asked_now(conn), &answer);
}

static void check_options(lua_State *L) {
  luaL_checktype(L, 3, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) {
    if (xb_is_named(L, -2, "on") || xb_is_named(L, -2, "session")) continue;
    if (lua_type(L, -2) == LUA_TSTRING)
      xb_push_shown(L, -2);
    else
      lua_pushstring(L, luaL_typename(L, -2));
    luaL_argerror(L, 3, lua_pushfstring(L, "send has no option '%s'; it has 'on' and 'session'", lua_tostring(L, -1)));
  }
}

/* Pushes the option of that name; raises if it isn't of that type. false, and nothing is pushed: there is none. */
static bool push_option(lua_State *L, const char *name, int type) {
  lua_pushstring(L, name);
  lua_rawget(L, 3);
  if (lua_isnil(L, -1)) return lua_pop(L, 1), false;
  if (lua_type(L, -1) != type)
    luaL_argerror(L, 3, lua_pushfstring(L, "%s: %s expected, got %s", name, lua_typename(L, type), luaL_typename(L, -1)));
  return true;
}

/* The flags for the options at index 3. If XM_SM_WATCHED is among them, the function that is to be told what becomes of
 * the stanza is pushed. */
static unsigned read_options(lua_State *L) {
  unsigned flags = 0;
  if (lua_isnoneornil(L, 3)) return 0;
  check_options(L);
  if (push_option(L, "session", LUA_TBOOLEAN)) {
    if (lua_toboolean(L, -1)) flags |= XM_SM_SESSION;
    lua_pop(L, 1);
  }
  return push_option(L, "on", LUA_TFUNCTION) ? flags | XM_SM_WATCHED : flags;
}

static int give(lua_State *L, xb_conn *conn, xb_writing *w, unsigned flags, xm_err *e) {
  size_t mark = xm_buf_mark(xm_conn_out(conn->c));
  int rc = write_stanza(L, conn, w, e);
  return rc == XM_OK ? xm_conn_commit(conn->c, mark, flags | doubts(conn, w->address), NULL, e) : rc;
}

/* send(stanza, opts) -> true, or nil, err */
int xb_l_send(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  xb_address a;
  xb_writing w;
  xm_err e;
  int rc;
  unsigned flags;
  uint64_t seq = 0;
  luaL_argexpected(L, lua_type(L, 2) == LUA_TTABLE, 2, "stanza");
  lua_settop(L, 3);
  xb_append(L, conn);
  begin(conn, &w, &a, &e);
  prepare_log(L, conn);
  flags = read_options(L);
  if (flags & XM_SM_WATCHED) seq = xb_expect_receipt(L, conn);
  rc = give(L, conn, &w, flags, &e);
  if (rc < 0 && flags & XM_SM_WATCHED) xb_forget_receipt(L, conn, 1, seq);
  if (rc == XM_EINVAL) return luaL_argerror(L, 2, w.reason);
  if (rc < 0) return fail_send(L, conn, &e);
  note_answer(conn, &a);
  xb_flush_soon(conn);
  lua_pushboolean(L, 1);
  tell_log(L, conn);
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

/* Pushes the id that the request will have, before the first byte is written: the table's own (NULL is returned), or a
 * new one, which is returned in `room`. */
static const char *push_id(lua_State *L, xb_state *st, char room[XM_RND_ID + 1]) {
  xb_push_attribute(L, 2, "id");
  if (!lua_isnil(L, -1)) return NULL;
  lua_pop(L, 1);
  if (xm_rnd_supplied_id(&st->ids, room) < 0) luaL_error(L, "the system has no random bytes to give");
  lua_pushstring(L, room);
  return room;
}

/* Commits the stanza at index 2 as a request, for whose response `waiter` waits. XM_EINVAL: see w->reason. */
static int ask(lua_State *L, xb_conn *conn, xb_waiter *waiter, xb_writing *w, xm_err *e) {
  size_t mark = xm_buf_mark(xm_conn_out(conn->c));
  uint64_t seq;
  int rc = write_stanza(L, conn, w, e);
  if (rc < 0) return rc;
  rc = await(conn, w->address, waiter, e);
  if (rc == XM_EINVAL) snprintf(w->reason, sizeof w->reason, "stanza.id: a request with this id waits already");
  if (rc == XM_OK) rc = xm_conn_commit(conn->c, mark, XM_SM_REQUEST | doubts(conn, w->address), &seq, e);
  if (rc == XM_OK) xb_waiter_set_seq(waiter, seq);
  return rc;
}

/* request(stanza, who, seconds) -> the request's id, or nil, err. `who` gets the response: see xb_wait. */
int xb_l_request(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  char id[XM_RND_ID + 1];
  xb_address a;
  xb_writing w;
  xb_waiter *waiter;
  xm_err e;
  int rc;
  double seconds = luaL_checknumber(L, 4);
  luaL_argexpected(L, lua_type(L, 2) == LUA_TTABLE, 2, "stanza");
  lua_settop(L, 4);
  xb_append(L, conn);
  begin(conn, &w, &a, &e);
  prepare_log(L, conn);
  w.new_id = push_id(L, conn->st, id);
  waiter = xb_wait(L, conn->st, conn, XB_RESPONSE, 3, seconds);
  rc = waiter ? ask(L, conn, waiter, &w, &e) : xm_err_nomem(&e);
  if (rc < 0 && waiter) xb_drop_waiter(L, waiter);
  if (rc == XM_EINVAL) return luaL_argerror(L, 2, w.reason);
  if (rc < 0) return fail_send(L, conn, &e);
  note_answer(conn, &a);
  if (conn->stopped) xb_mark_ready(conn); /* reading must go on, for the response */
  xb_flush_soon(conn);
  tell_log(L, conn);
  return 1;
}

/* expect({name=, id=, to=, from=, seq=}, who, seconds): waits for the response to a request of an earlier process, made
 * by the stanza with the number seq, which may still be in the log. */
int xb_l_expect(lua_State *L) {
  static const char *const keys[] = {"name", "id", "to", "from"};
  xb_conn *conn = xb_check_conn(L);
  xb_address a = {0};
  const char **const fields[] = {&a.name, &a.id, &a.to, &a.from};
  size_t *const lengths[] = {NULL, &a.id_len, &a.to_len, &a.from_len};
  xb_waiter *waiter;
  lua_Integer seq;
  xm_err e = {0};
  int i;
  double seconds = luaL_checknumber(L, 4);
  for (i = 0; i < 4; i++) {
    lua_getfield(L, 2, keys[i]);
    *fields[i] = i < 2 ? luaL_checklstring(L, -1, lengths[i]) : luaL_optlstring(L, -1, NULL, lengths[i]);
  }
  lua_getfield(L, 2, "seq");
  seq = luaL_optinteger(L, -1, 0);
  waiter = xb_wait(L, conn->st, conn, XB_RESPONSE, 3, seconds);
  if (waiter) xb_waiter_set_seq(waiter, (uint64_t)seq);
  if (waiter && await(conn, &a, waiter, &e) == XM_OK) return 0;
  if (waiter) xb_drop_waiter(L, waiter);
  return luaL_error(L, "%s", waiter && !xm_err_is_set(&e) ? "a request with this id is waiting" : "not enough memory");
}
