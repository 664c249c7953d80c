/* embed: luaopen_xmpp, for programs with the library and its Lua files linked in. The Lua files see a `require` of
 * their own, which finds what is linked in first; the program need not have one. */
#include <string.h>

#include "compat.h"
#include "embed.h"
#include "xmpp.h"

#define CORE "xmpp.core"

static const xb_lua_file *find(const char *name) {
  const xb_lua_file *f = xb_lua_files;
  while (f->name && strcmp(f->name, name) != 0) f++;
  return f->name ? f : NULL;
}

/* Pushes the table in which every Lua keeps the modules that were loaded. */
static void push_loaded(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  if (lua_istable(L, -1)) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, "_LOADED");
}

static int l_require(lua_State *L);

/* Loads the module; its value is pushed. */
static void open(lua_State *L, const char *name) {
  const xb_lua_file *f = find(name);
  if (!f) {
    lua_pushcfunction(L, luaopen_xmpp_core);
    lua_call(L, 0, 1);
    return;
  }
  if (luaL_loadbuffer(L, f->text, strlen(f->text), f->chunk) != LUA_OK) lua_error(L);
  lua_pushcfunction(L, l_require);
  lua_call(L, 1, 1);
}

/* Calls the program's own require, for modules that aren't the library's. */
static int call_require(lua_State *L) {
  lua_getglobal(L, "require");
  if (!lua_isfunction(L, -1)) return luaL_error(L, "module '%s' not found: there is no require", lua_tostring(L, 1));
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

static int l_require(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  if (!find(name) && strcmp(name, CORE) != 0) return call_require(L);
  lua_settop(L, 1);
  push_loaded(L);
  lua_getfield(L, 2, name);
  if (!lua_isnil(L, -1)) return 1;
  open(L, name);
  lua_pushvalue(L, -1);
  lua_setfield(L, 2, name);
  return 1;
}

/* A loader of package.preload: (name, ...) -> the module. */
static int l_preload(lua_State *L) {
  open(L, luaL_checkstring(L, 1));
  return 1;
}

static void preload(lua_State *L, const char *name) {
  lua_pushcfunction(L, l_preload);
  lua_setfield(L, -2, name);
}

static void preload_all(lua_State *L) {
  const xb_lua_file *f;
  push_loaded(L);
  lua_getfield(L, -1, "package");
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "preload");
    for (f = xb_lua_files; f->name; f++) preload(L, f->name);
    preload(L, CORE);
    lua_pop(L, 1);
  }
  lua_pop(L, 2);
}

__attribute__((visibility("default"))) int luaopen_xmpp(lua_State *L) {
  preload_all(L);
  open(L, "xmpp");
  return 1;
}
