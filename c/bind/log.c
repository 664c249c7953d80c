#include "log.h"

#include <string.h>

#include "call.h"
#include "charge.h"
#include "parts.h"
#include "state.h"

/* Calls the function with the first record, and removes that. Nobody else can reach this buffer. */
static void tell_record(lua_State *L, xb_conn *conn, int at, xm_buf *log) {
  xb_task task = {.st = conn->st};
  char direction = *xm_buf_at(log);
  size_t n;
  memcpy(&n, xm_buf_at(log) + 1, sizeof n);
  if (conn->suspends) xb_charge(&task, conn, n);
  xb_push_part(L, at, XB_LOG);
  lua_pushstring(L, direction == '<' ? "in" : "out");
  lua_pushlstring(L, xm_buf_at(log) + 1 + sizeof n, n);
  xm_buf_consume(log, 1 + sizeof n + n);
  if (xb_call(L, 2, &task, "log", at, 0) == XB_WAITS) conn->suspends = true;
}

/* l_tell_log(conn, log) */
static int l_tell_log(lua_State *L) {
  xb_conn *conn = lua_touserdata(L, 1);
  xm_buf *log = lua_touserdata(L, 2);
  for (; xm_buf_len(log); lua_settop(L, 2)) tell_record(L, conn, 1, log);
  return 0;
}

/* Reports only what was there when it was called: the function, or a finalizer that runs meanwhile, may send, which is
 * reported the next time. */
void xb_drain_log(lua_State *L, xb_conn *conn, int at) {
  xm_buf *log = xm_conn_log(conn->c), mine;
  int status;
  if (!conn->logs || conn->is_logging || !xm_buf_len(log)) return;
  conn->is_logging = true;
  lua_pushcfunction(L, l_tell_log);
  lua_pushvalue(L, at);
  lua_pushlightuserdata(L, &mine);
  mine = *log;
  *log = XM_BUF_INIT;
  status = lua_pcall(L, 2, 0, 0);
  conn->is_logging = false;
  xm_buf_free(&mine);
  if (xm_buf_len(log)) xb_mark_ready(conn);
  if (status != LUA_OK) lua_error(L);
}
