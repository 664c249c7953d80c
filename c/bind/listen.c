#include "listen.h"

#include "call.h"
#include "fault.h"
#include "parts.h"

/* A part with listeners is a list of cells, { function }. A list is never changed: adding or removing a listener makes
 * a new one. So whoever reports an event goes through the list as it was when the event came; the cell of a listener
 * that has been removed is empty. */

static const struct {
  const char *name;
  int part;
} events[] = {{"state", XB_ON_STATE}, {"failed", XB_ON_FAILED}, {"skipped", XB_ON_SKIPPED}, {"full", XB_ON_FULL},
              {"session", XB_ON_SESSION}, {"token", XB_ON_TOKEN}};
enum { EVENTS = sizeof events / sizeof *events };

static const char *name_of(int part) {
  int i = 0;
  while (events[i].part != part) i++;
  return events[i].name;
}

static bool has(lua_State *L, int at, int part) {
  bool some;
  xb_push_part(L, at, part);
  some = !lua_isnil(L, -1);
  lua_pop(L, 1);
  return some;
}

/* Pushes a new list with the part's listeners that haven't been removed, and with room for `more`. Returns their
 * number. The memory is taken before they are looked at, since that may run finalizers, which may add and remove
 * listeners. */
static lua_Integer push_living(lua_State *L, int at, int part, size_t more) {
  lua_Integer i, n = 0;
  int list = lua_gettop(L) + 1;
  size_t room = 0;
  for (lua_settop(L, list - 1);; lua_settop(L, list - 1)) {
    lua_createtable(L, (int)(room + more), 0);
    xb_push_part(L, at, part);
    if (!lua_istable(L, -1) || lua_rawlen(L, -1) <= room) break;
    room = lua_rawlen(L, -1);
  }
  for (i = 1; lua_istable(L, list + 1) && lua_rawgeti(L, list + 1, i) != LUA_TNIL; i++, lua_settop(L, list + 1)) {
    if (lua_rawgeti(L, -1, 1) == LUA_TNIL) continue;
    lua_pop(L, 1);
    lua_rawseti(L, list, ++n);
  }
  lua_settop(L, list);
  return n;
}

/* Pops the list on top of the stack, of `n` cells, and makes it that part. */
static void change(lua_State *L, xb_conn *conn, int at, int part, lua_Integer n) {
  if (n == 0) lua_pop(L, 1), lua_pushnil(L);
  xb_set_part(L, at, part);
  conn->listens = has(L, at, XB_ON_STATE) || has(L, at, XB_ON_SESSION);
  conn->adds = has(L, at, XB_ADDS);
  if (conn->c) xm_conn_hold_back(conn->c, has(L, at, XB_ON_SESSION));
  xb_keep_alive(L, conn);
}

/* off() -> was the listener still there? It knows its connection only by address, so it doesn't keep it alive. */
static int l_off(lua_State *L) {
  xb_conn *conn = lua_touserdata(L, lua_upvalueindex(2));
  int part = (int)lua_tointeger(L, lua_upvalueindex(3)), at;
  lua_settop(L, 0);
  if (lua_rawgeti(L, lua_upvalueindex(1), 1) == LUA_TNIL) return lua_pushboolean(L, 0), 1;
  lua_pushnil(L);
  lua_rawseti(L, lua_upvalueindex(1), 1);
  xb_push_conn(L, conn);
  at = lua_gettop(L);
  if (!lua_isnil(L, at)) { /* another connection may be at this address by now: then this changes nothing in effect */
    lua_Integer n = push_living(L, at, part, 0);
    change(L, conn, at, part, n);
  }
  lua_pushboolean(L, 1);
  return 1;
}

void xb_enter(lua_State *L, xb_conn *conn, int part) {
  int cell = lua_gettop(L);
  lua_Integer n;
  lua_pushvalue(L, cell);
  lua_pushlightuserdata(L, conn);
  lua_pushinteger(L, part);
  lua_pushcclosure(L, l_off, 3);
  n = push_living(L, 1, part, 1) + 1;
  lua_pushvalue(L, cell);
  lua_rawseti(L, -2, n);
  change(L, conn, 1, part, n);
  lua_remove(L, cell);
}

/* The part for the event whose name is at index 2. Raises for an unknown name, with a list of all names. */
static int check_event(lua_State *L) {
  int i;
  luaL_checkstring(L, 2);
  for (i = 0; i < EVENTS; i++)
    if (xb_is_named(L, 2, events[i].name)) return events[i].part;
  xb_push_shown(L, 2);
  lua_pushfstring(L, "there is no event '%s'; there are '%s'", lua_tostring(L, -1), events[0].name);
  for (i = 1; i < EVENTS; i++) lua_pushfstring(L, i + 1 < EVENTS ? ", '%s'" : " and '%s'", events[i].name);
  lua_concat(L, EVENTS);
  return luaL_argerror(L, 2, lua_tostring(L, -1));
}

/* on(event, f) -> off */
int xb_l_on(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  int part = check_event(L);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_settop(L, 3);
  luaL_checkstack(L, 10, "a listener");
  lua_createtable(L, 1, 0);
  lua_pushvalue(L, 3);
  lua_rawseti(L, -2, 1);
  xb_enter(L, conn, part);
  return 1;
}

bool xb_tell_as(lua_State *L, const xb_task *task, xb_conn *conn, int at, int part, int nargs, int stanza) {
  int args = lua_gettop(L) - nargs + 1, i;
  lua_Integer which;
  bool is_list, heard = false;
  luaL_checkstack(L, nargs + 5, "an event");
  xb_push_part(L, at, part);
  is_list = lua_istable(L, -1);
  for (which = 1; is_list && lua_rawgeti(L, args + nargs, which) != LUA_TNIL; which++, lua_settop(L, args + nargs)) {
    if (lua_rawgeti(L, -1, 1) == LUA_TNIL) continue;
    for (i = 0; i < nargs; i++) lua_pushvalue(L, args + i);
    if (task->session) conn->openers++;
    xb_call(L, nargs, task, name_of(part), at, stanza);
    heard = true;
  }
  lua_settop(L, args - 1);
  return heard;
}

bool xb_tell(lua_State *L, xb_conn *conn, int at, int part, int nargs, int stanza) {
  const xb_task task = {.st = conn->st};
  return xb_tell_as(L, &task, conn, at, part, nargs, stanza);
}

/* A listener that yields may be called in one session and end in a later one, which doesn't wait for it. */
static void opener_is_over(xb_conn *conn, unsigned session) {
  if (session == conn->session && --conn->openers == 0 && conn->c) xm_conn_let_go(conn->c);
}

static void over(lua_State *L, const xb_task *t, bool done) {
  (void)L, (void)done;
  if (!t->st->closed) opener_is_over(t->conn, t->session);
}

/* f(conn) */
void xb_tell_session(lua_State *L, xb_conn *conn, int at) {
  static const xb_duty duty = {.over = over};
  const xb_task task = {.st = conn->st, .conn = conn, .duty = &duty, .session = ++conn->session};
  conn->openers = 1; /* counts this function, so that a first listener that returns at once isn't taken for the last */
  lua_pushvalue(L, at);
  xb_tell_as(L, &task, conn, at, XB_ON_SESSION, 1, 0);
  opener_is_over(conn, task.session);
}
