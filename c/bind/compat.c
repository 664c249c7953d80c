#include "compat.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void xb_check_lua(lua_State *L) {
#if LUA_VERSION_NUM >= 504
  int version = (int)lua_version(L);
#elif LUA_VERSION_NUM == 503
  int version = (int)*lua_version(NULL);
#else
  int version = LUA_VERSION_NUM; /* a module built for 5.1 doesn't load into another version: the symbols that it needs
                                    are missing there */
#endif
  if (version != LUA_VERSION_NUM)
    luaL_error(L, "xmpp.core was built for " XB_LUA ", this is Lua %d.%d", version / 100, version % 100);
#if LUA_VERSION_NUM >= 503
  luaL_checkversion(L); /* checks the kinds of numbers as well */
#endif
}

#if LUA_VERSION_NUM < 504

int xb_typeerror(lua_State *L, int arg, const char *wanted) {
  char text[96];
  snprintf(text, sizeof text, "%s expected, got %s", wanted, luaL_typename(L, arg));
  return luaL_argerror(L, arg, text);
}

#endif

#if LUA_VERSION_NUM == 501

int xb_isinteger(lua_State *L, int i) {
  const lua_Number most = sizeof(lua_Integer) < 8 ? 2147483648.0 : 9007199254740992.0;
  lua_Number x;
  if (lua_type(L, i) != LUA_TNUMBER) return 0;
  x = lua_tonumber(L, i);
  return x > -most && x < most && floor(x) == x && !(x == 0 && signbit(x));
}

#undef lua_rawgeti
int xb_rawgeti(lua_State *L, int i, lua_Integer n) {
  if (n == (int)n) {
    lua_rawgeti(L, i, (int)n);
  } else {
    i = xb_absindex(L, i);
    lua_pushinteger(L, n);
    lua_rawget(L, i);
  }
  return lua_type(L, -1);
}

#undef lua_rawseti
void xb_rawseti(lua_State *L, int i, lua_Integer n) {
  if (n == (int)n) {
    lua_rawseti(L, i, (int)n);
  } else {
    i = xb_absindex(L, i);
    lua_pushinteger(L, n);
    lua_insert(L, -2);
    lua_rawset(L, i);
  }
}

int xb_rawgetp(lua_State *L, int i, const void *p) {
  i = xb_absindex(L, i);
  lua_pushlightuserdata(L, (void *)p);
  lua_rawget(L, i);
  return lua_type(L, -1);
}

void xb_rawsetp(lua_State *L, int i, const void *p) {
  i = xb_absindex(L, i);
  lua_pushlightuserdata(L, (void *)p);
  lua_insert(L, -2);
  lua_rawset(L, i);
}

#undef lua_pushstring
const char *xb_pushstring(lua_State *L, const char *s) {
  lua_pushstring(L, s);
  return lua_tostring(L, -1);
}

static void push_plain(lua_State *L, int i) {
  const char *type;
  switch (lua_type(L, i)) {
    case LUA_TSTRING:
    case LUA_TNUMBER: lua_pushvalue(L, i); break; /* lua_tolstring turns the copy into a string */
    case LUA_TBOOLEAN: lua_pushstring(L, lua_toboolean(L, i) ? "true" : "false"); break;
    case LUA_TNIL: lua_pushliteral(L, "nil"); break;
    default:
      type = luaL_getmetafield(L, i, "__name") ? lua_tostring(L, -1) : NULL;
      lua_pushfstring(L, "%s: %p", type ? type : luaL_typename(L, i), lua_topointer(L, i));
  }
}

const char *xb_tolstring(lua_State *L, int i, size_t *n) {
  int top = lua_gettop(L);
  i = xb_absindex(L, i);
  if (!luaL_callmeta(L, i, "__tostring")) push_plain(L, i);
  if (!lua_isstring(L, -1)) luaL_error(L, "'__tostring' must return a string");
  lua_insert(L, top + 1);
  lua_settop(L, top + 1);
  return lua_tolstring(L, -1, n);
}

/* One level of a traceback, worded as in Lua 5.4. */
static void push_level(lua_State *L, lua_State *of, lua_Debug *at) {
  lua_getinfo(of, "Snl", at);
  lua_pushfstring(L, "\n\t%s:", at->short_src);
  if (at->currentline > 0) lua_pushfstring(L, "%d:", at->currentline);
  else lua_pushliteral(L, "");
  if (strcmp(at->namewhat, "global") == 0) lua_pushfstring(L, " in function '%s'", at->name);
  else if (*at->namewhat) lua_pushfstring(L, " in %s '%s'", at->namewhat, at->name);
  else if (*at->what == 'm') lua_pushliteral(L, " in main chunk");
  else if (*at->what == 'C' || *at->what == 't') lua_pushliteral(L, " ?");
  else lua_pushfstring(L, " in function <%s:%d>", at->short_src, at->linedefined);
  lua_concat(L, 3);
}

/* Only the innermost 20 levels are written, which is enough to find the error. */
void xb_traceback(lua_State *L, lua_State *of, const char *text) {
  lua_Debug at;
  int level;
  lua_pushstring(L, text);
  lua_pushliteral(L, "\nstack traceback:");
  lua_concat(L, 2);
  for (level = 0; level < 20 && lua_getstack(of, level, &at); level++) {
    push_level(L, of, &at);
    lua_concat(L, 2);
  }
  if (!lua_getstack(of, level, &at)) return;
  lua_pushliteral(L, "\n\t...");
  lua_concat(L, 2);
}

void *xb_testudata(lua_State *L, int i, const char *type) {
  void *p = lua_touserdata(L, i);
  bool is;
  if (!p || !lua_getmetatable(L, i)) return NULL;
  luaL_getmetatable(L, type);
  is = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return is ? p : NULL;
}

void xb_setfuncs(lua_State *L, const luaL_Reg *f) {
  for (; f->name; f++) {
    lua_pushcfunction(L, f->func);
    lua_setfield(L, -2, f->name);
  }
}

/* A coroutine can't yield across a C function (pcall, table.sort, require). 5.1 doesn't tell about iterators and
 * metamethods: there the yield itself raises. Only 200 levels are examined, since lua_getstack counts from the top each
 * time. */
int xb_l_can_yield(lua_State *L) {
  lua_Debug at;
  int level;
  bool can = !lua_pushthread(L);
  for (level = 1; can && level < 200 && lua_getstack(L, level, &at); level++) {
    lua_getinfo(L, "S", &at);
    can = *at.what != 'C';
  }
  lua_pushboolean(L, can);
  return 1;
}

#endif
