#include "methods.h"

#include <stddef.h>
#include <string.h>

#include "add.h"
#include "callback.h"
#include "dispatch.h"
#include "drain.h"
#include "fault.h"
#include "jids.h"
#include "line.h"
#include "listen.h"
#include "parts.h"
#include "question.h"
#include "queue.h"
#include "save.h"
#include "say.h"
#include "send.h"
#include "state.h"
#include "token.h"
#include "wait.h"

/* The finalizer */

static void unlink_from(xb_conn **list, xb_conn *conn, size_t next) {
  while (*list && *list != conn) list = (xb_conn **)((char *)*list + next);
  if (*list) *list = *(xb_conn **)((char *)conn + next);
}

/* The connection was dropped without conn:stop(): warns, once. Not when the program is ending anyway. */
static void warn_once(lua_State *L, const xb_conn *conn) {
  const xm_jid *jid = xm_conn_jid(conn->c);
  xb_state *st = conn->st;
  const char *const words[] = {"xmpp: the connection of ", jid ? jid->str : "?",
                               " was dropped without conn:stop(), and is closed now (this is said once)", NULL};
  if (conn->ended || conn->is_fed || st->closing || st->warned || xm_conn_state_of(conn->c) != XM_CONN_READY) return;
  st->warned = true;
  xb_say(L, words);
}

/* Does the collector call this finalizer? It removes an object from weak tables first; and that lua_close has begun is
 * known from the sentinel. */
static bool is_collected(lua_State *L, xb_conn *conn) {
  bool is_known;
  xb_push_conn(L, conn);
  is_known = !lua_isnil(L, -1);
  lua_pop(L, 1);
  return !is_known || conn->st->closing;
}

/* A program could call this itself (with the debug library), in the midst of a function that uses the connection; that
 * is refused. */
static int l_gc(lua_State *L) {
  xb_conn *conn = luaL_checkudata(L, 1, XB_CONN);
  xb_state *st = conn->st;
  if (!conn->c) return 0;
  if (!is_collected(L, conn)) return luaL_error(L, "a connection's __gc is the collector's to call; conn:stop() ends one");
  warn_once(L, conn);
  if (conn->is_ready) {
    unlink_from(&st->ready, conn, offsetof(xb_conn, next_ready));
    for (st->ready_end = &st->ready; *st->ready_end;) st->ready_end = &(*st->ready_end)->next_ready;
  }
  if (xm_conn_is_component(conn->c)) unlink_from(&st->components, conn, offsetof(xb_conn, next_component));
  if (conn->is_unflushed) unlink_from(&st->unflushed, conn, offsetof(xb_conn, next_unflushed));
  xb_free_waiters(L, conn->loop, &conn->responses);
  xb_free_waiters(L, conn->loop, &conn->waiters);
  xb_free_waiters(L, conn->loop, &conn->lost);
  if (!conn->ended) st->conns--;
  xm_timer_stop(conn->loop, &conn->drain_timer);
  xm_conn_free(conn->c);
  conn->c = NULL;
  xm_filters_free(conn->callbacks);
  xm_filters_free(conn->taps);
  xb_free_lines(conn);
  xm_loop_sync(conn->loop);
  xm_loop_release(conn->loop);
  xb_less_to_do(st);
  return 0;
}

static int l_jid(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  const xm_jid *jid = xm_conn_jid(conn->c);
  if (!jid) return lua_pushnil(L), 1;
  xb_push_jid(L, jid);
  return 1;
}

/* about() -> the table that lua/xmpp gave to connect, with what it must know of the connection */
static int l_about(lua_State *L) {
  xb_check_conn(L);
  xb_push_part(L, 1, XB_ABOUT);
  return 1;
}

static int l_state(lua_State *L) {
  lua_pushstring(L, xm_conn_state_name(xb_check_conn(L)->c));
  return 1;
}

/* Sets info.pipelined, the names of what was sent before the server had asked for it; nothing if there was none. */
static void set_ahead(lua_State *L, unsigned ahead) {
  static const char *const names[] = {"starttls", "auth", "session"};
  int i, n = 0;
  if (!ahead) return;
  lua_newtable(L);
  for (i = 0; i < 3; i++) {
    if (!(ahead >> i & 1)) continue;
    lua_pushstring(L, names[i]);
    lua_rawseti(L, -2, ++n);
  }
  lua_setfield(L, -2, "pipelined");
}

static void set_offers(lua_State *L, const xm_conn *c) {
  const char *ns = NULL;
  lua_newtable(L);
  while ((ns = xm_conn_offers(c, ns))) {
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, ns);
  }
  lua_setfield(L, -2, "offers");
}

static void set_count(lua_State *L, const char *name, size_t n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, -2, name);
}

static void set_seconds(lua_State *L, const char *name, unsigned ms) {
  lua_pushnumber(L, ms / 1000.0);
  lua_setfield(L, -2, name);
}

static void set_setup(lua_State *L, const xm_conn_info *info) {
  static const char *const steps[XM_CONN_STEPS] = {[XM_CONN_DNS] = "dns",
                                                   [XM_CONN_TCP] = "tcp",
                                                   [XM_CONN_PROXY] = "proxy",
                                                   [XM_CONN_TLS] = "tls",
                                                   [XM_CONN_LOGIN] = "login"};
  int i;
  if (info->has_certificate) {
    lua_pushnumber(L, (lua_Number)info->good_for);
    lua_setfield(L, -2, "certificate_seconds");
  }
  lua_createtable(L, 0, XM_CONN_STEPS);
  for (i = 0; i < XM_CONN_STEPS; i++)
    if (i != XM_CONN_PROXY || info->proxy) set_seconds(L, steps[i], info->took[i]);
  lua_setfield(L, -2, "took");
}

static void set_flag(lua_State *L, const char *name, bool is) {
  lua_pushboolean(L, is);
  lua_setfield(L, -2, name);
}

static void set_profile(lua_State *L, const xm_conn_info *info) {
  if (!info->mechanism) return;
  lua_pushstring(L, info->sasl2 ? "sasl2" : "sasl");
  lua_setfield(L, -2, "profile");
  set_flag(L, "bound_inline", info->bound_inside);
  set_flag(L, "fast", info->by_token);
}

/* info() -> how the connection was secured and logged in, and what became of its sessions */
static int l_info(lua_State *L) {
  const xb_conn *conn = xb_check_conn(L);
  const xm_conn_info info = xm_conn_info_of(conn->c);
  lua_createtable(L, 0, 16);
  if (info.address[0]) {
    lua_pushstring(L, info.address);
    lua_setfield(L, -2, "address");
  }
  lua_pushstring(L, info.proxy);
  lua_setfield(L, -2, "proxy");
  if (info.url) {
    lua_pushstring(L, info.url);
    lua_setfield(L, -2, "url");
  }
  lua_pushstring(L, info.tls_version);
  lua_setfield(L, -2, "tls_version");
  if (info.tls_version) {
    lua_pushboolean(L, info.tls_resumed);
    lua_setfield(L, -2, "tls_resumed");
  }
  set_setup(L, &info);
  lua_pushstring(L, info.mechanism);
  lua_setfield(L, -2, "mechanism");
  lua_pushstring(L, info.binding);
  lua_setfield(L, -2, "channel_binding");
  set_profile(L, &info);
  lua_pushboolean(L, info.sm);
  lua_setfield(L, -2, "stream_management");
  lua_pushboolean(L, info.resumable);
  lua_setfield(L, -2, "resumable");
  set_flag(L, "lossy", xm_conn_is_component(conn->c) || (xm_conn_jid(conn->c) && !info.sm));
  set_ahead(L, info.ahead);
  set_offers(L, conn->c);
  set_count(L, "resumed", info.resumed);
  set_count(L, "rebound", info.rebound);
  set_count(L, "failed_without_h", info.failed_without_h);
  set_count(L, "queued", (size_t)(conn->last - conn->first) - conn->holes);
  set_count(L, "dropped", conn->dropped);
  set_count(L, "waiting", conn->waiting);
  return 1;
}

/* pending() -> bytes, stanzas */
static int l_pending(lua_State *L) {
  size_t stanzas, bytes = xm_conn_pending(xb_check_conn(L)->c, &stanzas);
  lua_pushinteger(L, (lua_Integer)bytes);
  lua_pushinteger(L, (lua_Integer)stanzas);
  return 2;
}

/* await(what, box, seconds): the box is filled when it has come true; `what` is "stanza", "sent", "ended" or
 * "drained". */
static int l_await(lua_State *L) {
  static const char *const names[] = {"stanza", "sent", "ended", "drained", NULL};
  static const xb_kind kinds[] = {XB_STANZA, XB_SENT, XB_ENDED, XB_DRAINED};
  xb_conn *conn = xb_check_conn(L);
  xb_kind kind = kinds[luaL_checkoption(L, 2, NULL, names)];
  xb_waiter *w;
  luaL_checktype(L, 3, LUA_TTABLE);
  w = xb_wait(L, conn->st, conn, kind, 3, luaL_optnumber(L, 4, -1));
  if (!w) return luaL_error(L, "not enough memory");
  if (conn->ended) return xb_finish_ended(L, conn, w), 0;
  if (kind == XB_SENT) {
    xb_waiter_set_seq(w, xm_sm_next_seq(xm_conn_sm(conn->c)) - 1);
    xm_conn_hurry(conn->c);
  }
  xb_mark_ready(conn);
  xm_loop_sync(conn->st->loop);
  return 0;
}

/* close(seconds): begins to close the stream; await("ended") waits for the end. */
static int l_close(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  double seconds = luaL_checknumber(L, 2);
  xm_conn_close(conn->c, seconds < 1e6 ? (unsigned)(seconds * 1000) : 1000000000u);
  conn->closing = true;
  xb_keep_alive(L, conn);
  xb_mark_ready(conn);
  xm_loop_sync(conn->st->loop);
  return 0;
}

/* probe(box, seconds) -> true, or nil, err. Sends a message to ourselves; the box is filled when it has come back. */
static int l_probe(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  xm_err e = {0};
  uint64_t number;
  xb_waiter *w;
  luaL_checktype(L, 2, LUA_TTABLE);
  w = xb_wait(L, conn->st, conn, XB_PROBED, 2, luaL_checknumber(L, 3));
  if (!w) return luaL_error(L, "not enough memory");
  if (xm_conn_probe(conn->c, &number, &e) < 0) return xb_drop_waiter(L, w), xb_fail(L, &e);
  xb_waiter_set_seq(w, number);
  xb_mark_ready(conn);
  xm_loop_sync(conn->st->loop);
  lua_pushboolean(L, 1);
  return 1;
}

/* is_component() */
static int l_is_component(lua_State *L) {
  lua_pushboolean(L, xm_conn_is_component(xb_check_conn(L)->c));
  return 1;
}

/* check(): has the core find out whether the server still responds. */
static int l_check(lua_State *L) {
  xm_conn_check(xb_check_conn(L)->c);
  return 0;
}

/* say_active(active): tells the server that the client is active, or inactive (XEP-0352). */
static int l_say_active(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  xm_conn_say_active(conn->c, lua_toboolean(L, 2));
  xb_mark_ready(conn);
  xm_loop_sync(conn->st->loop);
  return 0;
}

/* For tests, on a connection made with the option `fed`. feed(bytes): as if received; sent() -> what it has sent since
 * the last call. */
static int l_feed(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  size_t n;
  const char *bytes = luaL_checklstring(L, 2, &n);
  return xm_conn_feed(conn->c, bytes, n) == XM_OK ? 0 : luaL_error(L, "not enough memory");
}

/* cut(): as if the link broke behind what was fed. */
static int l_cut(lua_State *L) {
  xm_conn_cut(xb_check_conn(L)->c);
  return 0;
}

static int push_bytes(lua_State *L) {
  const xm_buf *b = lua_touserdata(L, 1);
  lua_pushlstring(L, xm_buf_len(b) ? xm_buf_at(b) : "", xm_buf_len(b));
  return 1;
}

static int l_sent(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  xm_buf sent = XM_BUF_INIT;
  int status;
  lua_pushcfunction(L, push_bytes);
  lua_pushlightuserdata(L, &sent);
  if (xm_conn_sent(conn->c, &sent) < 0) luaL_error(L, "not enough memory");
  status = lua_pcall(L, 1, 1, 0);
  xm_buf_free(&sent);
  xb_mark_ready(conn);
  return status == LUA_OK ? 1 : lua_error(L);
}

static int l_tostring(lua_State *L) {
  xb_conn *conn = luaL_checkudata(L, 1, XB_CONN);
  const xm_jid *jid = conn->c ? xm_conn_jid(conn->c) : NULL;
  lua_pushfstring(L, "xmpp.Conn (%s%s%s)", conn->c ? xm_conn_state_name(conn->c) : "collected",
                  jid ? ", " : "", jid ? jid->str : "");
  return 1;
}

int xb_l_is_components(lua_State *L) {
  const xb_conn *conn = xb_state_of(L)->components;
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n), *reason;
  xm_jid_parts p;
  xm_jid domain;
  bool found = false;
  if (conn && xm_jid_split(&p, s, n, &reason) == XM_OK && xm_jid_parse(&domain, p.domain, p.domain_len, &reason) == XM_OK)
    for (; conn && !found; conn = conn->next_component) {
      const xm_jid *jid = xm_conn_jid(conn->c);
      found = jid && strcmp(jid->str, domain.str) == 0;
    }
  lua_pushboolean(L, found);
  return 1;
}

int xb_l_is_connection(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushboolean(L, luaL_testudata(L, 1, XB_CONN) != NULL);
  return 1;
}

static const luaL_Reg methods[] = {{"send", xb_l_send},
                                   {"request", xb_l_request},
                                   {"receive", xb_l_receive},
                                   {"set_handler", xb_l_set_handler},
                                   {"stop_handler", xb_l_stop_handler},
                                   {"handler", xb_l_handler},
                                   {"set_callback", xb_l_set_callback},
                                   {"set_callback_once", xb_l_set_callback_once},
                                   {"unset_callback", xb_l_unset_callback},
                                   {"callbacks", xb_l_callbacks},
                                   {"tap", xb_l_tap},
                                   {"claim", xb_l_claim},
                                   {"hold", xb_l_hold},
                                   {"jid", l_jid},
                                   {"about", l_about},
                                   {"state", l_state},
                                   {"info", l_info},
                                   {"pending", l_pending},
                                   {"await", l_await},
                                   {"close", l_close},
                                   {"drain", xb_l_drain},
                                   {"drained", xb_l_drained},
                                   {"probe", l_probe},
                                   {"is_component", l_is_component},
                                   {"say_active", l_say_active},
                                   {"on", xb_l_on},
                                   {"add", xb_l_add},
                                   {"check", l_check},
                                   {"expect", xb_l_expect},
                                   {"enqueue", xb_l_enqueue},
                                   {"save", xb_l_save},
                                   {"token", xb_l_token},
                                   {"feed", l_feed},
                                   {"sent", l_sent},
                                   {"cut", l_cut},
                                   {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", l_gc}, {"__tostring", l_tostring}, {NULL, NULL}};

/* Leaves the table of C methods on the stack. What Lua sees as methods is another table, set by the module's function
 * `methods`. */
void xb_open_conn(lua_State *L) {
  luaL_newmetatable(L, XB_CONN);
  luaL_setfuncs(L, metamethods, 0);
  lua_newtable(L);
  lua_setfield(L, -2, "__index");
  xb_close_metatable(L, "a connection's metatable is its own");
  lua_pop(L, 1);
  luaL_newlib(L, methods);
}
