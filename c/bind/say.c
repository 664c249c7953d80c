#include "say.h"

#include <stdbool.h>
#include <stdio.h>

#include "err.h"

static const char say_by_key; /* key in the registry */

/* The number of bytes at `s` that may be printed as they are; 0: none. The text may contain a stranger's words, so
 * control characters are replaced, except for newlines and tabs. */
static size_t shows(const char *s) {
  return *s == '\n' || *s == '\t' ? 1 : xm_err_shows(s);
}

static void print(const char *s) {
  while (*s) {
    size_t n = shows(s);
    if (n) fwrite(s, 1, n, stderr);
    else fputc('?', stderr);
    s += n ? n : 1;
  }
}

static void add(luaL_Buffer *b, const char *s) {
  while (*s) {
    size_t n = shows(s);
    luaL_addlstring(b, n ? s : "?", n ? n : 1);
    s += n ? n : 1;
  }
}

/* tell(function, pieces as a light userdata): calls the function with the text. */
static int tell(lua_State *L) {
  const char *const *pieces = lua_touserdata(L, 2);
  luaL_Buffer b;
  lua_settop(L, 1);
  luaL_buffinit(L, &b);
  for (; *pieces; pieces++) add(&b, *pieces);
  luaL_pushresult(&b);
  lua_call(L, 1, 0);
  return 0;
}

static bool is_told(lua_State *L, const char *const *pieces) {
  int top = lua_gettop(L);
  bool told = false;
  if (!lua_checkstack(L, 4)) return false;
  lua_pushcfunction(L, tell);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &say_by_key);
  if (!lua_isnil(L, -1)) {
    lua_pushlightuserdata(L, (void *)pieces);
    told = lua_pcall(L, 2, 0, 0) == LUA_OK;
  }
  lua_settop(L, top);
  return told;
}

void xb_say(lua_State *L, const char *const *pieces) {
  if (is_told(L, pieces)) return;
  for (; *pieces; pieces++) print(*pieces);
  print("\n");
}

/* say_by(f): from now on f(text) is called with each message; nil: they go to stderr. */
int xb_l_say_by(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &say_by_key);
  return 0;
}
