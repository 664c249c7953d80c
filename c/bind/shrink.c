#include "shrink.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

enum { CYCLES = 3 }; /* cycles after the first in which memory is given back: objects with finalizers, and what they
                        refer to, are freed later */

static const char weak_key, shrink_key; /* registry keys: the list of the weak tables' keys; the function l_shrink */

static void push(lua_State *L, int cycles) {
  int *left = lua_newuserdatauv(L, sizeof *left, 0);
  *left = cycles;
  luaL_setmetatable(L, XB_SHRINKER);
}

void xb_push_shrinker(lua_State *L) {
  push(L, CYCLES);
}

/* The number of entries of the table on top of the stack; counting stops behind XB_MANY. */
static int count(lua_State *L) {
  int n = 0;
  for (lua_pushnil(L); lua_next(L, -2); n++) {
    lua_pop(L, 1);
    if (n == XB_MANY) return lua_pop(L, 1), n + 1;
  }
  return n;
}

static void copy(lua_State *L, int from, int to) {
  for (lua_pushnil(L); lua_next(L, from);) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, to);
  }
}

/* Replaces the table under that key, which is on top of the stack, by one that is no larger than its entries need. A
 * table that still has very many entries is left as it is. */
static void renew(lua_State *L, const void *key) {
  int was = lua_gettop(L), n = count(L);
  if (n > XB_MANY) return;
  lua_createtable(L, 0, n);
  lua_getmetatable(L, was);
  lua_setmetatable(L, -2);
  copy(L, was, was + 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

/* l_shrink(cycles left) */
static int l_shrink(lua_State *L) {
  int left = (int)lua_tointeger(L, 1), i, keys;
  luaL_checkstack(L, 10, "the end of a cycle");
  if (left > 0) push(L, left - 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &weak_key);
  keys = lua_gettop(L);
  for (i = 1; lua_rawgeti(L, keys, i) == LUA_TLIGHTUSERDATA; i++, lua_settop(L, keys)) {
    const void *key = lua_touserdata(L, -1);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TTABLE) renew(L, key);
  }
  return 0;
}

/* When there is no memory, the tables stay as they are. A finalizer must not raise: Lua 5.1 would raise the error
 * wherever the collector happens to run. */
static int l_shrinker_gc(lua_State *L) {
  const int *left = luaL_checkudata(L, 1, XB_SHRINKER);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &shrink_key);
  lua_pushinteger(L, *left);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  return 0;
}

void xb_new_weak(lua_State *L, const char *mode, const void *key) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushstring(L, mode);
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, key);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &weak_key);
  lua_pushlightuserdata(L, (void *)key);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

void xb_open_shrink(lua_State *L) {
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &weak_key);
  lua_pushcfunction(L, l_shrink);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &shrink_key);
  luaL_newmetatable(L, XB_SHRINKER);
  lua_pushcfunction(L, l_shrinker_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}
