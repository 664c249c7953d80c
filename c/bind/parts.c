#include "parts.h"

#include <string.h>

#include "state.h"

static const char conns_key, pins_key; /* keys in the registry: tables from address to userdata, one weak, one strong */
static const char sentinel_key;

void xb_push_conn(lua_State *L, xb_conn *conn) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &conns_key);
  lua_rawgetp(L, -1, conn);
  lua_remove(L, -2);
}

/* Can something still happen that the program would see? Then the connection must not be collected. */
static bool is_needed(const xb_conn *conn) {
  if (!conn->c) return false;
  if (conn->responses.first || conn->waiters.first || conn->lost.first) return true;
  return !conn->ended && (conn->handler != XB_NO_HANDLER || xb_has_taps(conn) || conn->watched || conn->listens ||
                          conn->closing || conn->draining);
}

static void set_pin(lua_State *L, xb_conn *conn, bool pinned) {
  if (pinned == conn->pinned) return;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &pins_key);
  if (pinned) {
    xb_push_conn(L, conn);
  } else {
    lua_pushnil(L);
  }
  lua_rawsetp(L, -2, conn);
  lua_pop(L, 1);
  conn->pinned = pinned; /* only now, as what is above may have raised */
}

void xb_pin(lua_State *L, xb_conn *conn) {
  set_pin(L, conn, true);
}

void xb_keep_alive(lua_State *L, xb_conn *conn) {
  set_pin(L, conn, is_needed(conn));
}

void xb_register_conn(lua_State *L, xb_conn *conn, int index) {
  index = lua_absindex(L, index);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &conns_key);
  lua_pushvalue(L, index);
  lua_rawsetp(L, -2, conn);
  lua_pop(L, 1);
}

void xb_put_sentinel(lua_State *L, xb_state *st) {
  xb_state **sentinel = lua_newuserdatauv(L, sizeof *sentinel, 0);
  *sentinel = st;
  luaL_setmetatable(L, XB_SENTINEL);
  st->sentinel = sentinel;
  lua_rawsetp(L, LUA_REGISTRYINDEX, &sentinel_key);
}

static int l_sentinel_gc(lua_State *L) {
  xb_state **sentinel = luaL_checkudata(L, 1, XB_SENTINEL);
  if ((*sentinel)->sentinel == sentinel) (*sentinel)->closing = true;
  return 0;
}

const char xb_conn_kind = 0;

/* Does what luaL_checkudata does, but needs no look into the registry for a valid connection. */
xb_conn *xb_check_conn(lua_State *L) {
  xb_conn *conn = lua_type(L, 1) == LUA_TUSERDATA && lua_rawlen(L, 1) == sizeof *conn ? lua_touserdata(L, 1) : NULL;
  if (!conn || conn->kind != &xb_conn_kind) conn = luaL_checkudata(L, 1, XB_CONN);
  if (!conn->c) luaL_error(L, "this connection has been collected");
  return conn;
}

void xb_push_part(lua_State *L, int conn, int part) {
  lua_getiuservalue(L, conn, 1);
  lua_rawgeti(L, -1, part);
  lua_remove(L, -2);
}

void xb_set_part(lua_State *L, int conn, int part) {
  lua_getiuservalue(L, conn, 1);
  lua_insert(L, -2);
  lua_rawseti(L, -2, part);
  lua_pop(L, 1);
}

unsigned xb_mode(lua_State *L, int conn, lua_Integer key) {
  unsigned mode;
  xb_push_part(L, conn, XB_MODES);
  lua_rawgeti(L, -1, key);
  mode = (unsigned)lua_tointeger(L, -1);
  lua_pop(L, 2);
  return mode;
}

static void new_table(lua_State *L, const void *key, const char *mode) {
  lua_newtable(L);
  if (mode) {
    lua_createtable(L, 0, 1);
    lua_pushstring(L, mode);
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

void xb_open_parts(lua_State *L) {
  new_table(L, &conns_key, "v");
  new_table(L, &pins_key, NULL);
  luaL_newmetatable(L, XB_SENTINEL);
  lua_pushcfunction(L, l_sentinel_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}
