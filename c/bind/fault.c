#include "fault.h"

#include "state.h"

void xb_push_shown(lua_State *L, int index) {
  char shown[101];
  size_t i, n;
  const char *s = luaL_checklstring(L, index, &n);
  if (n >= sizeof shown) n = sizeof shown - 1;
  for (i = 0; i < n; i++) shown[i] = (char)(s[i] ? s[i] : '?');
  shown[n] = '\0';
  xm_err_mend(shown);
  lua_pushstring(L, shown);
}

bool xb_is_named(lua_State *L, int index, const char *name) {
  if (lua_type(L, index) != LUA_TSTRING) return false;
  return lua_rawlen(L, index) == strlen(name) && strcmp(lua_tostring(L, index), name) == 0;
}

/* shown(s) -> s as an error may quote it */
int xb_l_shown(lua_State *L) {
  xb_push_shown(L, 1);
  return 1;
}

void xb_push_error(lua_State *L, const xm_err *e) {
  lua_createtable(L, 0, 5);
  lua_pushstring(L, xm_layer_name(e->layer));
  lua_setfield(L, -2, "layer");
  lua_pushstring(L, e->condition);
  lua_setfield(L, -2, "condition");
  lua_pushstring(L, e->text);
  lua_setfield(L, -2, "text");
  lua_pushboolean(L, e->retry);
  lua_setfield(L, -2, "retry");
  luaL_setmetatable(L, XB_ERROR);
}

int xb_fail(lua_State *L, const xm_err *e) {
  lua_pushnil(L);
  xb_push_error(L, e);
  return 2;
}

static void push_field(lua_State *L, const char *name) {
  lua_pushstring(L, name);
  lua_rawget(L, 1);
  if (!lua_isstring(L, -1)) {
    lua_pop(L, 1);
    lua_pushliteral(L, "?");
  }
}

/* "sasl: not-authorized: the server refused the login ..." */
static int l_error_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  push_field(L, "layer");
  lua_pushliteral(L, ": ");
  push_field(L, "condition");
  lua_pushliteral(L, ": ");
  push_field(L, "text");
  lua_concat(L, 5);
  return 1;
}

static bool is_error(lua_State *L, int index) {
  bool yes = lua_istable(L, index) && lua_getmetatable(L, index);
  if (!yes) return false;
  luaL_getmetatable(L, XB_ERROR);
  yes = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return yes;
}

/* Errors and Jids can be concatenated with strings and numbers, and with each other. */
int xb_l_concat(lua_State *L) {
  int i;
  for (i = 1; i <= 2; i++)
    if (!lua_isstring(L, i) && !luaL_testudata(L, i, XB_JID) && !is_error(L, i))
      return luaL_error(L, "attempt to concatenate %s and a %s value", is_error(L, 3 - i) ? "an error" : "a Jid",
                        luaL_typename(L, i));
  luaL_tolstring(L, 1, NULL);
  luaL_tolstring(L, 2, NULL);
  lua_concat(L, 2);
  return 1;
}

int xb_l_error(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  luaL_setmetatable(L, XB_ERROR);
  return 1;
}

/* Says that the connection is closed, and why. */
void xb_push_closed(lua_State *L, const xb_conn *conn) {
  const xm_err *why = xm_conn_why(conn->c);
  xm_err e = {0};
  bool known = xm_err_is_set(why);
  xm_err_set(&e, XM_LAYER_CLOSED, known ? why->condition : "stopped", why->retry, "the connection is closed%s%s",
             known ? ": " : " (it was stopped)", known ? why->text : "");
  xb_push_error(L, &e);
}

void xb_open_fault(lua_State *L) {
  luaL_newmetatable(L, XB_ERROR);
  lua_pushcfunction(L, l_error_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushcfunction(L, xb_l_concat);
  lua_setfield(L, -2, "__concat");
  xb_close_metatable(L, "an error's metatable is its own");
  lua_pop(L, 1);
}
