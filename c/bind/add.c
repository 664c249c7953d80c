#include "add.h"

#include "call.h"
#include "listen.h"
#include "parts.h"
#include "stanza.h"

enum { CELL_FUNC = 1, CELL_NAME, CELL_TYPE }; /* the layout of a cell; listen only looks at its first value */

/* add(name, type, f) -> off. f(stanza, conn) is called for each stanza of that name and type that is sent, and returns
 * an element to append, or nil. type = false: stanzas without a type; nil: any type. */
int xb_l_add(lua_State *L) {
  static const char *const names[] = {"message", "presence", "iq", NULL};
  xb_conn *conn = xb_check_conn(L);
  luaL_checkoption(L, 2, NULL, names);
  if (lua_toboolean(L, 3)) luaL_checktype(L, 3, LUA_TSTRING);
  luaL_checktype(L, 4, LUA_TFUNCTION);
  lua_settop(L, 4);
  luaL_checkstack(L, 10, "an addition");
  lua_createtable(L, CELL_TYPE, 0);
  lua_pushvalue(L, 4);
  lua_rawseti(L, -2, CELL_FUNC);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, CELL_NAME);
  lua_pushvalue(L, 3);
  lua_rawseti(L, -2, CELL_TYPE);
  xb_enter(L, conn, XB_ADDS);
  return 1;
}

/* Is the cell on top of the stack for a stanza whose name and type are at `about` and `about` + 1? */
static bool is_for(lua_State *L, int about) {
  int top = lua_gettop(L);
  bool yes;
  lua_rawgeti(L, top, CELL_NAME);
  lua_rawgeti(L, top, CELL_TYPE);
  yes = lua_rawequal(L, about, top + 1);
  if (lua_isstring(L, top + 2)) yes = yes && lua_rawequal(L, about + 1, top + 2);
  else if (!lua_isnil(L, top + 2)) yes = yes && lua_isnil(L, about + 1);
  lua_settop(L, top);
  return yes;
}

/* ask(f, stanza, conn) -> an element that can be written as XML, or nil */
static int ask(lua_State *L) {
  lua_call(L, 2, 1);
  if (lua_isnil(L, 1)) return 1;
  lua_pushcfunction(L, xb_l_to_xml); /* raises an error with the path to what is wrong */
  lua_pushvalue(L, 1);
  lua_call(L, 1, 0);
  return 1;
}

/* Is the stanza at index 2 a list without holes? Any other table will be refused when it is written, and is left as it
 * is. */
static bool is_list(lua_State *L) {
  size_t n = 0;
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) n++;
  return n > 0 && n == lua_rawlen(L, 2);
}

/* Pushes a copy of the stanza, with room for one more child. The memory is taken before the stanza is read, since that
 * may run finalizers, which may change it. */
static void copy(lua_State *L) {
  int at = lua_gettop(L);
  lua_Integer i, n;
  do {
    lua_settop(L, at);
    n = (lua_Integer)lua_rawlen(L, 2);
    lua_createtable(L, (int)n + 1, 0);
  } while ((lua_Integer)lua_rawlen(L, 2) > n);
  for (i = 1; i <= n; i++) {
    lua_rawgeti(L, 2, i);
    lua_rawseti(L, -2, i);
  }
}

/* Puts name and type of the stanza at `stanza` at the indexes `about` and `about` + 1. */
static void read_about(lua_State *L, int stanza, int about) {
  lua_rawgeti(L, stanza, 1);
  lua_replace(L, about);
  xb_push_attribute(L, stanza, "type");
  lua_replace(L, about + 1);
}

/* Is the cell on top of the stack for the stanza? If so, a copy of the stanza is put at `into`, unless there is one
 * already; name and type are read again from the copy, which nobody else can change. */
static bool is_wanted(lua_State *L, int into) {
  int about = into + 1;
  if (!is_for(L, about) || !lua_isnil(L, into)) return is_for(L, about);
  copy(L);
  lua_replace(L, into);
  read_about(L, into, about);
  return is_for(L, about);
}

/* Calls the function of the cell on top of the stack, and pops that. The element that it returns is appended to the
 * copy at `into`. */
static void append(lua_State *L, xb_conn *conn, int into) {
  xb_site site = {.st = conn->st, .what = "add", .conn = 1, .stanza = 2, .func = lua_gettop(L)};
  int status;
  lua_rawgeti(L, -1, CELL_FUNC);
  lua_replace(L, -2);
  lua_pushcfunction(L, ask);
  lua_pushvalue(L, site.func);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 1);
  conn->adding = true;
  status = lua_pcall(L, 3, 1, 0);
  conn->adding = false;
  if (status != LUA_OK) {
    xb_report(L, NULL, &site);
  } else if (!lua_isnil(L, -1)) {
    lua_pushvalue(L, -1);
    lua_rawseti(L, into, (lua_Integer)lua_rawlen(L, into) + 1);
  }
  lua_settop(L, site.func - 1);
}

void xb_append(lua_State *L, xb_conn *conn) {
  int top = lua_gettop(L), into = top + 1, list = top + 4;
  lua_Integer i;
  if (!conn->adds || conn->adding) return;
  luaL_checkstack(L, 20, "an addition");
  if (!is_list(L)) return;
  lua_settop(L, list - 1); /* places for the copy, name and type */
  read_about(L, 2, into + 1);
  xb_push_part(L, 1, XB_ADDS);
  for (i = 1; lua_istable(L, list) && lua_rawgeti(L, list, i) != LUA_TNIL; i++, lua_settop(L, list)) {
    bool gone = lua_rawgeti(L, -1, CELL_FUNC) == LUA_TNIL;
    lua_pop(L, 1);
    if (!gone && is_wanted(L, into)) append(L, conn, into);
  }
  lua_settop(L, into);
  if (lua_isnil(L, -1)) lua_pop(L, 1);
  else lua_replace(L, 2);
}
