#include "callback.h"

#include <string.h>

#include "fault.h"
#include "line.h"
#include "parts.h"
#include "queue.h"
#include "state.h"

int xb_l_receive(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  xb_note_asked(conn);
  if (conn->handler == XB_NO_HANDLER && xb_receive(L, conn, 1)) { /* if there is a handler, it gets the stanza first */
    xb_mark_ready(conn); /* the queue has room again, so reading may go on */
    return 1;
  }
  lua_pushnil(L);
  if (!conn->ended) return 1;
  xb_push_closed(L, conn);
  return 2;
}

static const char default_key; /* registry key */

/* The default handler is kept in the registry: not in every Lua is a C function equal to itself when it is pushed
 * again. */
void xb_be_default_handler(lua_State *L) { lua_rawsetp(L, LUA_REGISTRYINDEX, &default_key); }

void xb_push_default_handler(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &default_key); }

static bool is_default_handler(lua_State *L, int index) {
  bool yes;
  lua_pushvalue(L, index);
  xb_push_default_handler(L);
  yes = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return yes;
}

/* Pops the function on top of the stack and makes it the handler of the connection at index 1. */
static void set_handler(lua_State *L, xb_conn *conn) {
  conn->decided = true;
  conn->handler = is_default_handler(L, -1) ? XB_DEFAULT_HANDLER : XB_OWN_HANDLER;
  xb_set_part(L, 1, XB_HANDLER);
  xb_keep_alive(L, conn);
  xb_mark_ready(conn); /* so that what is queued is dispatched */
  xb_begun(L);
}

int xb_l_set_handler(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) xb_push_default_handler(L), lua_replace(L, 2);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  set_handler(L, conn);
  return 0;
}

int xb_l_stop_handler(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  if (conn->handler != XB_NO_HANDLER) xb_note_asked(conn); /* a program that had a handler will ask for what follows */
  conn->handler = XB_NO_HANDLER;
  conn->decided = true;
  lua_pushnil(L);
  xb_set_part(L, 1, XB_HANDLER);
  xb_keep_alive(L, conn);
  return 0;
}

int xb_l_handler(lua_State *L) {
  xb_check_conn(L);
  xb_push_part(L, 1, XB_HANDLER);
  return 1;
}

static void refuse_filter(lua_State *L, const char *key, const char *why) {
  luaL_argerror(L, 3, lua_pushfstring(L, "filter.%s: %s", key, why));
}

/* The value of a filter's field; NULL: it has none. The string stays on the stack until the call is over. */
static const char *filter_field(lua_State *L, const char *key) {
  const char *s;
  size_t n;
  lua_getfield(L, 3, key);
  if (lua_isnil(L, -1)) return lua_pop(L, 1), NULL;
  if (luaL_testudata(L, -1, XB_JID)) luaL_tolstring(L, -1, NULL);
  if (lua_type(L, -1) != LUA_TSTRING)
    refuse_filter(L, key, lua_pushfstring(L, "string expected, got %s", luaL_typename(L, -1)));
  s = lua_tolstring(L, -1, &n);
  if (strlen(s) != n) refuse_filter(L, key, "a zero byte, which no stanza has");
  return s;
}

/* The field `name`, which must be a stanza's. */
static const char *filter_name(lua_State *L) {
  const char *s = filter_field(L, "name");
  if (!s || strcmp(s, "message") == 0 || strcmp(s, "presence") == 0 || strcmp(s, "iq") == 0) return s;
  xb_push_shown(L, -1);
  refuse_filter(L, "name", lua_pushfstring(L, "message, presence or iq expected, got '%s'", lua_tostring(L, -1)));
  return NULL;
}

static void check_filter_keys(lua_State *L) {
  static const char *const known[] = {"name", "type", "xmlns", "has", "from", "id", "serial"};
  for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) {
    bool is_known = false;
    size_t i;
    for (i = 0; i < sizeof known / sizeof *known; i++) is_known = is_known || xb_is_named(L, -2, known[i]);
    if (is_known) continue;
    if (lua_type(L, -2) == LUA_TSTRING)
      xb_push_shown(L, -2);
    else
      lua_pushliteral(L, "?");
    luaL_argerror(L, 3,
                  lua_pushfstring(L, "a filter has no '%s'; it has name, type, xmlns, has, from, id, serial", lua_tostring(L, -1)));
  }
}

/* The flags for XB_MODES of the filter at index 3. */
static unsigned filter_mode(lua_State *L) {
  const char *s = filter_field(L, "serial");
  if (!s) return 0;
  if (strcmp(s, "from") == 0) return XB_SERIAL;
  xb_push_shown(L, -1);
  refuse_filter(L, "serial", lua_pushfstring(L, "'from' expected, got '%s'", lua_tostring(L, -1)));
  return 0;
}

/* Puts the function at index 2 in that slot of the part, and its flags under `key` in XB_MODES. May raise. */
static void put_function(lua_State *L, int part, uint64_t slot, lua_Integer key, unsigned mode) {
  xb_push_part(L, 1, XB_MODES);
  if (mode) lua_pushinteger(L, mode);
  else lua_pushnil(L);
  lua_rawseti(L, -2, key);
  xb_push_part(L, 1, part);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, (lua_Integer)slot);
}

/* Removes the function of that slot, and what belongs to it. Takes no memory. */
static void take_function(lua_State *L, xb_conn *conn, int at, int part, uint64_t slot, lua_Integer key) {
  xb_push_part(L, at, part);
  lua_pushnil(L);
  lua_rawseti(L, -2, (lua_Integer)slot);
  if (xb_mode(L, at, key)) {
    xb_push_part(L, at, XB_MODES);
    lua_pushnil(L);
    lua_rawseti(L, -2, key);
    lua_pop(L, 1);
    xb_leave_lines(L, conn, at, key);
  }
  lua_pop(L, 1);
}

/* Reads the filter at index 3: returns `f`, filled in, or NULL when there is no filter; and the flags of its function.
 * The strings stay on the stack. */
static const xm_filter *read_filter(lua_State *L, xm_filter *f, unsigned *mode) {
  lua_settop(L, 3);
  *mode = 0;
  if (lua_isnil(L, 3)) return NULL;
  luaL_checktype(L, 3, LUA_TTABLE);
  check_filter_keys(L);
  *mode = filter_mode(L);
  *f = (xm_filter){filter_name(L),         filter_field(L, "type"), filter_field(L, "xmlns"),
                   filter_field(L, "has"), filter_field(L, "from"), filter_field(L, "id")};
  return f;
}

/* set_callback(cb, filter), set_callback_once(cb, filter). If the program has neither set nor stopped a handler, the
 * first callback sets the default handler, which calls callbacks. */
static int add_callback(lua_State *L, unsigned once) {
  xb_conn *conn = xb_check_conn(L);
  xm_filter room;
  const xm_filter *f;
  uint64_t slot;
  unsigned mode;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  f = read_filter(L, &room, &mode);
  slot = xm_filters_last(conn->callbacks) + 1;
  put_function(L, XB_CALLBACKS, slot, (lua_Integer)slot, mode | once); /* before the filter: no filter is ever without
                                                                          its function */
  if (!conn->decided) xb_pin(L, conn); /* now, as it needs memory */
  if (xm_filters_add(conn->callbacks, f) < 0) {
    xb_remove_callback(L, conn, 1, slot);
    return luaL_error(L, "not enough memory");
  }
  if (!conn->decided) {
    xb_push_default_handler(L);
    set_handler(L, conn);
  }
  return 0;
}

int xb_l_set_callback(lua_State *L) {
  return add_callback(L, 0);
}

int xb_l_set_callback_once(lua_State *L) {
  return add_callback(L, XB_ONCE);
}

void xb_remove_callback(lua_State *L, xb_conn *conn, int index, uint64_t slot) {
  xm_filters_remove(conn->callbacks, slot);
  take_function(L, conn, index, XB_CALLBACKS, slot, (lua_Integer)slot);
}

int xb_l_unset_callback(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  bool was = false;
  uint64_t slot;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  xb_push_part(L, 1, XB_CALLBACKS);
  for (slot = xm_filters_after(conn->callbacks, 0); slot; slot = xm_filters_after(conn->callbacks, slot)) {
    bool same;
    lua_rawgeti(L, -1, (lua_Integer)slot);
    same = lua_rawequal(L, -1, 2);
    lua_pop(L, 1);
    if (same) xb_remove_callback(L, conn, 1, slot);
    was = was || same;
  }
  lua_pushboolean(L, was);
  return 1;
}

static void remove_tap(lua_State *L, int at, xb_conn *conn, uint64_t slot) {
  xm_filters_remove(conn->taps, slot);
  take_function(L, conn, at, XB_TAPS, slot, -(lua_Integer)slot);
}

/* off() -> was the tap still there? Its connection and slot are upvalues. */
static int l_off(lua_State *L) {
  xb_conn *conn = lua_touserdata(L, lua_upvalueindex(1));
  uint64_t slot = (uint64_t)lua_tointeger(L, lua_upvalueindex(2));
  bool was = conn->c && xm_filters_holds(conn->taps, slot);
  lua_settop(L, 0);
  if (was) {
    lua_pushvalue(L, lua_upvalueindex(1));
    remove_tap(L, 1, conn, slot);
    xb_keep_alive(L, conn);
    xb_mark_ready(conn); /* stanzas that were parked for it may be dispatched now */
  }
  lua_pushboolean(L, was);
  return 1;
}

/* tap(f, filter) -> off */
int xb_l_tap(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  xm_filter room;
  const xm_filter *f;
  uint64_t slot;
  unsigned mode;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  f = read_filter(L, &room, &mode);
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, l_off, 2);
  lua_insert(L, 4);                         /* below the filter's strings, which stay on top */
  slot = xm_filters_last(conn->taps) + 1; /* nothing below runs finalizers, which could add another tap */
  lua_pushinteger(L, (lua_Integer)slot);
  lua_setupvalue(L, 4, 2);
  put_function(L, XB_TAPS, slot, -(lua_Integer)slot, mode);
  if (xm_filters_add(conn->taps, f) < 0) {
    remove_tap(L, 1, conn, slot);
    return luaL_error(L, "not enough memory");
  }
  xb_keep_alive(L, conn);
  xb_mark_ready(conn); /* so that what is queued is dispatched */
  xb_begun(L);
  lua_settop(L, 4);
  return 1;
}

int xb_l_callbacks(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  lua_Integer n = 0;
  uint64_t slot;
  xb_push_part(L, 1, XB_CALLBACKS);
  lua_newtable(L);
  for (slot = xm_filters_after(conn->callbacks, 0); slot; slot = xm_filters_after(conn->callbacks, slot)) {
    lua_rawgeti(L, -2, (lua_Integer)slot);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}
