#include "token.h"

#include <string.h>

#include "listen.h"
#include "parts.h"

/* push(conn, token) -> a table with all that another process needs to log in by the token */
static int push(lua_State *L) {
  const xb_conn *conn = lua_touserdata(L, 1);
  const xm_token *token = lua_touserdata(L, 2);
  const xm_jid *account = xm_conn_account(conn->c);
  lua_createtable(L, 0, 6);
  lua_pushinteger(L, 1);
  lua_setfield(L, -2, "version");
  lua_pushlstring(L, account->str, xm_jid_bare_len(account));
  lua_setfield(L, -2, "jid");
  lua_pushstring(L, xm_conn_agent(conn->c));
  lua_setfield(L, -2, "user_agent");
  lua_pushstring(L, token->mechanism);
  lua_setfield(L, -2, "mechanism");
  lua_pushlstring(L, token->bytes, token->n);
  lua_setfield(L, -2, "token");
  if (token->expiry) {
    lua_pushnumber(L, (lua_Number)token->expiry);
    lua_setfield(L, -2, "expiry");
  }
  return 1;
}

/* Pushes the token's table, or nil. Returns lua_pcall's status; the error is on the stack then. The copy of the token
 * is wiped in any case. */
static int push_token(lua_State *L, xb_conn *conn) {
  xm_token token = {.n = 0};
  int status = LUA_OK;
  if (!xm_conn_token(conn->c, &token)) {
    lua_pushnil(L);
  } else {
    lua_pushcfunction(L, push);
    lua_pushlightuserdata(L, conn);
    lua_pushlightuserdata(L, &token);
    status = lua_pcall(L, 2, 1, 0);
  }
  xm_wipe(&token, sizeof token);
  return status;
}

int xb_l_token(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  lua_settop(L, 1);
  luaL_checkstack(L, 4, "a token");
  return push_token(L, conn) == LUA_OK ? 1 : lua_error(L);
}

void xb_tell_token(lua_State *L, xb_conn *conn, int index) {
  luaL_checkstack(L, 4, "a token");
  if (push_token(L, conn) != LUA_OK) lua_error(L);
  if (lua_isnil(L, -1)) lua_pop(L, 1); /* it has been dropped since */
  else xb_tell(L, conn, index, XB_ON_TOKEN, 1, 0);
}

bool xb_read_token(lua_State *L, xm_token *token) {
  const char *s;
  size_t n;
  lua_getfield(L, 1, "token");
  if (lua_isnil(L, -1)) return lua_pop(L, 1), false;
  lua_getfield(L, -1, "token"); /* the strings are kept alive by the table */
  s = luaL_checklstring(L, -1, &n);
  if (n > sizeof token->bytes) n = 0;
  memcpy(token->bytes, s, n);
  token->n = n;
  lua_getfield(L, -2, "mechanism");
  s = luaL_checkstring(L, -1);
  strncat(memset(token->mechanism, 0, sizeof token->mechanism), s, sizeof token->mechanism - 1);
  lua_getfield(L, -3, "expiry");
  token->expiry = (int64_t)luaL_optnumber(L, -1, 0);
  lua_pop(L, 4);
  return token->n > 0;
}
