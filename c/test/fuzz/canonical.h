/* canonical: checks that a received stanza's table has the canonical form of an x-expression, and compares two of them.
 * All accesses are raw: no metamethod is called. */
#ifndef CANONICAL_H
#define CANONICAL_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "fuzz.h"

enum { DEEPEST = 128 };

int luaopen_xmpp_core(lua_State *L);

/* A Lua state with the module xmpp.core on its stack. */
static lua_State *open_lua(void) {
  lua_State *L = luaL_newstate();
  MUST(L);
  luaL_openlibs(L);
  luaL_requiref(L, "xmpp.core", luaopen_xmpp_core, 0);
  return L;
}

static const char *string_at(lua_State *L, int index, size_t *n) {
  const char *s;
  MUST(lua_type(L, index) == LUA_TSTRING);
  s = lua_tolstring(L, index, n);
  MUST(is_utf8(s, *n));
  return s;
}

/* Checks the attributes on top of the stack. Returns the element's namespace, where its parent's is `ns`; the string
 * stays in the table. */
static const char *check_attributes(lua_State *L, const char *ns) {
  const char *own = ns;
  size_t n;
  MUST(lua_type(L, -1) == LUA_TTABLE && !lua_getmetatable(L, -1));
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    const char *value = string_at(L, -1, &n), *key = string_at(L, -2, &n);
    MUST(n > 0);
    if (strcmp(key, "xmlns") != 0) continue;
    MUST(strcmp(value, ns) != 0);
    own = value;
  }
  return own;
}

static lua_Integer count_keys(lua_State *L, int index) {
  lua_Integer n = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) n++;
  return n;
}

static void check_element(lua_State *L, const char *ns, int depth);

/* Checks the children of the element at `at`. Returns how many there are. */
static lua_Integer check_children(lua_State *L, int at, const char *ns, int depth) {
  lua_Integer i;
  bool after_text = false;
  size_t n;
  for (i = 3; lua_rawgeti(L, at, i) != LUA_TNIL; i++) {
    if (lua_type(L, -1) == LUA_TSTRING) {
      MUST(!after_text && string_at(L, -1, &n) && n > 0);
      after_text = true;
    } else {
      check_element(L, ns, depth + 1);
      after_text = false;
    }
    lua_settop(L, at);
  }
  lua_settop(L, at);
  return i - 3;
}

/* Checks the element on top of the stack. */
static void check_element(lua_State *L, const char *ns, int depth) {
  int at = lua_gettop(L);
  lua_Integer n;
  size_t len;
  MUST(depth <= DEEPEST && lua_checkstack(L, 8));
  MUST(lua_type(L, at) == LUA_TTABLE && !lua_getmetatable(L, at));
  lua_rawgeti(L, at, 1);
  MUST(string_at(L, -1, &len) && len > 0);
  lua_rawgeti(L, at, 2);
  ns = check_attributes(L, ns);
  lua_settop(L, at);
  n = check_children(L, at, ns, depth);
  MUST(count_keys(L, at) == n + 2);
}

/* Are the values at the indexes `a` and `b` equal? They are plain data. */
static bool is_equal(lua_State *L, int a, int b) {
  int top = lua_gettop(L);
  bool equal = true;
  a = lua_absindex(L, a);
  b = lua_absindex(L, b);
  MUST(lua_checkstack(L, 8));
  if (lua_type(L, a) != LUA_TTABLE || lua_type(L, b) != LUA_TTABLE) return lua_rawequal(L, a, b);
  if (count_keys(L, a) != count_keys(L, b)) return false;
  lua_pushnil(L);
  while (equal && lua_next(L, a)) {
    lua_pushvalue(L, -2);
    lua_rawget(L, b);
    equal = is_equal(L, -1, -2);
    lua_pop(L, 2);
  }
  lua_settop(L, top);
  return equal;
}

#endif
