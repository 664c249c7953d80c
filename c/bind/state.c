#include "state.h"

#include <stdlib.h>

#include "keyring.h"

static const char state_key, begun_key; /* keys in the registry */

xb_state *xb_state_of(lua_State *L) {
  xb_state *st;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key);
  st = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (st->closed) luaL_error(L, "the Lua state is being closed, and xmpp is closed already");
  return st;
}

void xb_close_metatable(lua_State *L, const char *instead) {
  lua_pushstring(L, instead);
  lua_setfield(L, -2, "__metatable");
}

void xb_mark_ready(xb_conn *conn) {
  xb_state *st = conn->st;
  if (conn->is_ready) return;
  conn->is_ready = true;
  conn->next_ready = NULL;
  *st->ready_end = conn;
  st->ready_end = &conn->next_ready;
  if (conn->loop) xm_loop_want(conn->loop);
}

xb_conn *xb_take_ready(xb_state *st) {
  xb_conn *conn = st->ready;
  st->ready = conn->next_ready;
  if (!st->ready) st->ready_end = &st->ready;
  conn->is_ready = false;
  return conn;
}

bool xb_is_busy(const xb_state *st) {
  return st->conns || st->timers || st->due || st->ready;
}

void xb_less_to_do(xb_state *st) {
  if (!st->stepping && !st->closed && !xb_is_busy(st)) xm_loop_ask_again(st->loop);
}

void xb_begun(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &begun_key) == LUA_TFUNCTION) lua_call(L, 0, 0);
  else lua_pop(L, 1);
}

/* on_begun(f): f() is called whenever something has been begun for which the loop must be turned; nil: no function. */
int xb_l_on_begun(lua_State *L) {
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &begun_key);
  return 0;
}

xb_state *xb_new_state(lua_State *L, lua_CFunction gc) {
  xb_state *st = lua_newuserdatauv(L, sizeof *st, 0);
  xm_err e = {0};
  *st = (xb_state){.closed = true};
  st->ready_end = &st->ready;
  st->due_end = &st->due;
  luaL_newmetatable(L, XB_STATE);
  lua_pushcfunction(L, gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  st->loop = xm_loop_new(&e);
  if (!st->loop) luaL_error(L, "cannot make an event loop: %s", e.text);
  st->closed = false;
  xm_keyring_hold();
  lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
  return st;
}

void xb_free_state(xb_state *st) {
  free(st->unborn);
  xm_buf_free(&st->scratch);
  xm_loop_release(st->loop);
  xm_keyring_release();
}
