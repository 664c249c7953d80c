#include "save.h"

#include <string.h>

#include "call.h"
#include "fault.h"
#include "parts.h"
#include "queue.h"
#include "stanza.h"
#include "state.h"
#include "wait.h"

static void set_number(lua_State *L, const char *key, double x) {
  lua_pushnumber(L, x);
  lua_setfield(L, -2, key);
}

static void set_text(lua_State *L, const char *key, const char *s, size_t n) {
  if (!s) return;
  lua_pushlstring(L, s, n);
  lua_setfield(L, -2, key);
}

/* The flags of a stanza that the next process must know, as they decide how its fate is reported. Its `on` can't be
 * saved. */
static const struct {
  const char *key;
  unsigned flag;
} flags[] = {{"ours", XM_SM_OURS},     {"stamped", XM_SM_STAMPED}, {"request", XM_SM_REQUEST},
             {"answer", XM_SM_ANSWER}, {"no_to", XM_SM_NO_TO},     {"foreign", XM_SM_FROM},
             {"session", XM_SM_SESSION}};

/* Sets the flags in the stanza's table, which is on top of the stack. */
static void set_flags(lua_State *L, unsigned of) {
  size_t i;
  for (i = 0; i < sizeof flags / sizeof *flags; i++) {
    if (!(of & flags[i].flag)) continue;
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, flags[i].key);
  }
}

unsigned xb_saved_flags(lua_State *L) {
  unsigned all = 0;
  size_t i;
  for (i = 0; i < sizeof flags / sizeof *flags; i++) {
    lua_getfield(L, -1, flags[i].key);
    if (lua_toboolean(L, -1)) all |= flags[i].flag;
    lua_pop(L, 1);
  }
  return all;
}

/* clocks() -> milliseconds since the machine was started, milliseconds since 1970, the id of this start (or "") */
int xb_l_clocks(lua_State *L) {
  const xm_loop *l = xb_state_of(L)->loop;
  char boot[XM_LOOP_BOOT + 1];
  xm_loop_boot(boot);
  lua_pushnumber(L, (double)xm_loop_ticks(l));
  lua_pushnumber(L, (double)xm_loop_wall(l));
  lua_pushstring(L, boot);
  return 3;
}

/* Pushes { {xml=, at=, age=, number=, and its flags}... }: the stanzas that aren't acknowledged, oldest first. `at` is
 * for people; `age` is what counts, since somebody may set the wall clock. */
static void push_stanzas(lua_State *L, const xb_conn *conn) {
  const xm_sm *sm = xm_conn_sm(conn->c);
  double age, wall = (double)xm_loop_wall(conn->loop);
  xm_sm_stanza st;
  size_t i;
  lua_newtable(L);
  for (i = 0; xm_sm_each(sm, i, &st); i++) {
    lua_createtable(L, 0, 2);
    set_text(L, "xml", st.xml, st.len);
    age = (double)(xm_loop_ticks(conn->loop) - st.given);
    set_number(L, "at", age < wall ? wall - age : 0);
    set_number(L, "age", age);
    set_number(L, "number", (double)st.seq);
    set_flags(L, st.flags);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

/* Pushes { {name=, id=, to=, from=, number=}... }: the unanswered requests, with the numbers of their stanzas. */
static void push_pending(lua_State *L, const xb_conn *conn) {
  const xb_waiter *w;
  lua_Integer n = 0;
  lua_newtable(L);
  for (w = conn->responses.first; w; w = xb_next_waiter(w)) {
    const xm_pending *p = xb_waiter_pending(w);
    xm_route_request q;
    if (!p) continue;
    q = xm_route_describe(p);
    lua_createtable(L, 0, 5);
    set_number(L, "number", (double)xb_waiter_seq(w));
    set_text(L, "name", q.name, strlen(q.name));
    set_text(L, "id", q.id, q.id_len);
    set_text(L, "to", q.to, q.to_len);
    set_text(L, "from", q.sent_from, q.sent_from_len);
    lua_rawseti(L, -2, ++n);
  }
}

/* A stanza has been read, but not been given to anybody. */
static bool has_at_hand(const xb_conn *conn) {
  return conn->event == XM_CONN_STANZA || conn->event == XM_CONN_SKIPPED;
}

/* Appends what the server won't send again to the table on top of the stack, which has `n` entries. */
static void push_early(lua_State *L, const xb_conn *conn, lua_Integer n) {
  const xm_tape *t;
  unsigned i;
  for (i = 0; (t = xm_conn_early(conn->c, has_at_hand(conn), i)); i++) {
    xb_push_stanza(L, t);
    lua_rawseti(L, -2, ++n);
  }
}

/* Pushes { stanza... }: what has been received, and nobody has taken. */
static void push_queue(lua_State *L, const xb_conn *conn) {
  lua_Integer i, n = 0;
  bool claimed;
  lua_newtable(L);
  xb_push_part(L, 1, XB_QUEUE);
  for (i = conn->first; i < conn->last; i++) {
    lua_rawgeti(L, -1, 2 * i + 1);
    claimed = lua_tointeger(L, -1) < 0;
    lua_pop(L, 1);
    if (claimed) continue;
    lua_rawgeti(L, -1, 2 * i);
    if (lua_isnil(L, -1)) lua_pop(L, 1); /* a tap has taken it */
    else lua_rawseti(L, -3, ++n);
  }
  lua_pop(L, 1);
  push_early(L, conn, n);
}

static bool is_over(const xb_conn *conn) {
  return conn->ended || xm_conn_state_of(conn->c) == XM_CONN_CLOSED;
}

static int refuse(lua_State *L, const xb_conn *conn) {
  xm_err e = {0};
  if (is_over(conn)) {
    lua_pushnil(L);
    xb_push_closed(L, conn);
    return 2;
  }
  if (!conn->resumable)
    xm_err_set(&e, XM_LAYER_STREAM, "not-resumable", false,
               "the server was not asked to keep a session that could be saved: connect with resume = true, or with "
               "reconnect");
  else
    xm_err_set(&e, XM_LAYER_STREAM, "not-resumable", false,
             "the server keeps no session of this connection: it has no stream management (XEP-0198), or refused resumption");
  return xb_fail(L, &e);
}

/* build(conn) -> the session's table */
static int build(lua_State *L) {
  xb_conn *conn = lua_touserdata(L, 1);
  const xm_sm *sm = xm_conn_sm(conn->c);
  const char *id = xm_sm_id(sm), *location = xm_sm_location(sm);
  const xm_jid *jid = xm_conn_jid(conn->c);
  lua_createtable(L, 0, 20);
  set_number(L, "version", 1);
  xb_l_clocks(L);
  lua_setfield(L, -4, "boot");
  lua_setfield(L, -3, "saved_at");
  lua_setfield(L, -2, "clock");
  set_text(L, "jid", jid->str, xm_jid_len(jid));
  set_text(L, "id", id, strlen(id));
  if (location) set_text(L, "location", location, strlen(location));
  set_number(L, "max", xm_sm_max(sm));
  set_number(L, "h", xm_sm_in(sm));
  set_number(L, "acked", xm_sm_acked(sm));
  set_number(L, "written", (double)xm_sm_written(sm));
  push_stanzas(L, conn);
  lua_setfield(L, -2, "stanzas");
  push_pending(L, conn);
  lua_setfield(L, -2, "pending");
  push_queue(L, conn);
  lua_setfield(L, -2, "queue");
  return 1;
}

/* save() -> a table, or nil, err. The connection has ended then: its link is cut, and its session waits to be resumed.
 * No finalizer runs from the first look at the session until the connection is detached, as it might send something
 * that would be lost. If memory runs out, the connection goes on as if save hadn't been called.
 * The stanza that a handler is handling when it calls save counts as handled: otherwise the next process would get it
 * again. A stanza that has been read, but not been given to anybody (only to the log function) doesn't, and is sent
 * again; if the server doesn't count it, since it came before the session, it is in the saved queue. */
int xb_l_save(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  bool is_at_hand = has_at_hand(conn);
  lua_settop(L, 1);
  luaL_checkstack(L, 16, "a session");
  lua_pushcfunction(L, build); /* may run the collector */
  lua_pushvalue(L, 1);
  if (is_over(conn) || !xm_sm_id(xm_conn_sm(conn->c)) || !xm_conn_jid(conn->c)) return refuse(L, conn);
  if (!is_at_hand) xm_conn_handled(conn->c);
  if (xb_undisturbed(L, 1) != LUA_OK) return lua_error(L);
  if (is_at_hand) conn->event = XM_CONN_NOTHING;
  xb_empty_queue(L, conn, 1); /* it belongs to the next process now */
  xm_conn_detach(conn->c);
  xb_mark_ready(conn);
  return 1;
}

/* enqueue(stanza): appends it to the receive queue, as if it had just come. */
int xb_l_enqueue(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  xb_push_queue(L, conn, 1, 0, false);
  return 0;
}
