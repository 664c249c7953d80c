/* call: the one protected door into Lua. Whatever of the user's runs, runs in a coroutine that is resumed here, so it may
 * throw, yield, and wait; errors go to on_error and nowhere else. */
#include <stdio.h>
#include <string.h>

#include "bind.h"

static const char spare_key, tasks_key, watch_key, on_error_key; /* of the registry */

/* Tasks of calls that have yielded: coroutine -> task, as long as the coroutine lives. */
static void push_tasks(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &tasks_key); }

/* Errors. */

static int describe(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  return 1;
}

/* The error object at the top, as a string in its place; a __tostring that throws is not listened to. */
static void to_text(lua_State *L) {
  const char *type = luaL_typename(L, -1);
  if (lua_type(L, -1) == LUA_TSTRING) return; /* without a call: C's stack may be full */
  lua_pushcfunction(L, describe);
  lua_insert(L, -2);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) return;
  lua_pop(L, 1);
  lua_pushfstring(L, "(error object is a %s value)", type);
}

/* The error object at `index` as text, whatever happens: in its place, or in `room`. */
static const char *spell(lua_State *L, int index, char *room, size_t cap) {
  if (lua_type(L, index) == LUA_TSTRING) return lua_tostring(L, index);
  lua_pushcfunction(L, describe);
  lua_pushvalue(L, index);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) {
    lua_replace(L, index);
    return lua_tostring(L, index);
  }
  lua_pop(L, 1);
  snprintf(room, cap, "(error object is a %s value)", luaL_typename(L, index));
  return room;
}

static int report(lua_State *L) {
  lua_State *co = lua_tothread(L, 2);
  lua_settop(L, 2);
  lua_pushvalue(L, 1);
  to_text(L);
  luaL_traceback(L, co ? co : L, lua_tostring(L, -1), 0); /* a thread that has thrown keeps its stack */
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &on_error_key) == LUA_TNIL) {
    fprintf(stderr, "xmpp: error in a callback: %s\n", lua_tostring(L, -2));
    return 0;
  }
  lua_insert(L, -2);
  lua_pushvalue(L, 1);
  lua_call(L, 2, 0);
  return 0;
}

void xb_report(lua_State *L, lua_State *co) {
  lua_pushcfunction(L, report);
  lua_pushvalue(L, -2);
  if (co) {
    lua_pushthread(co);
    lua_xmove(co, L, 1);
  } else {
    lua_pushnil(L);
  }
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
    char room[2][64];
    int at = lua_gettop(L);
    const char *why = spell(L, at, room[0], sizeof room[0]), *what = spell(L, at - 1, room[1], sizeof room[1]);
    fprintf(stderr, "xmpp: xmpp.on_error could not be told (%s) of an error in a callback: %s\n", why, what);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* on_error(f): f(text with traceback, error object); nil: back to stderr. */
int xb_l_on_error(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &on_error_key);
  return 0;
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

/* Tasks. */

/* Is the first of `results` values on top of `co` exactly true? -1: the call came to nothing. */
static bool came_to_true(lua_State *co, int results) {
  return results > 0 && lua_isboolean(co, -results) && lua_toboolean(co, -results);
}

static void finish(lua_State *L, const xb_task *t, bool done) {
  if (!t->conn) return;
  if (t->once && done && t->conn->c) {
    xb_push_conn(L, t->conn);
    if (!lua_isnil(L, -1)) xb_remove_callback(L, t->conn, lua_gettop(L), t->once);
    lua_pop(L, 1);
  }
  if (t->question && xm_question_release(t->conn->c ? xm_conn_route(t->conn->c) : NULL, t->question))
    xb_answer_unavailable(t->conn, t->question);
}

/* A coroutine that nobody can resume any more. */
static int l_task_gc(lua_State *L) {
  xb_task *t = luaL_checkudata(L, 1, XB_TASK);
  xb_task was = *t;
  *t = (xb_task){0};
  if (was.st && !was.st->closed) finish(L, &was, false);
  if (was.st && was.st->closed && was.question) xm_question_release(NULL, was.question);
  return 0;
}

static int l_new_task(lua_State *L) {
  *(xb_task *)lua_newuserdatauv(L, sizeof(xb_task), 1) = (xb_task){0};
  luaL_setmetatable(L, XB_TASK);
  return 1;
}

/* The coroutine below has yielded: its task waits for it. Without memory for that, the task is over. */
static void keep_task(lua_State *L, int co, const xb_task *task, int conn) {
  xb_task *kept;
  if (!task->conn) return;
  push_tasks(L);
  lua_pushvalue(L, co);
  lua_pushcfunction(L, l_new_task);
  if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
    finish(L, task, false);
    lua_error(L);
  }
  kept = lua_touserdata(L, -1);
  *kept = *task;
  if (conn) {
    lua_pushvalue(L, conn);
    lua_setiuservalue(L, -2, 1);
  }
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

/* The task of the coroutine at `co`, no longer kept; all zero when it had none. Leaves its connection on the stack, which
 * must not be collected now. */
static xb_task take_task(lua_State *L, int co) {
  xb_task task = {0}, *kept;
  push_tasks(L);
  lua_pushvalue(L, co);
  lua_rawget(L, -2);
  kept = luaL_testudata(L, -1, XB_TASK);
  if (kept) {
    task = *kept;
    *kept = (xb_task){0};
    lua_pushvalue(L, co);
    lua_pushnil(L);
    lua_rawset(L, -4);
    lua_getiuservalue(L, -1, 1);
  } else {
    lua_pushnil(L);
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
  return task;
}

/* finished(...) -> ...: what a watched call came to, told in its own coroutine. If it has yielded, whoever resumed it
 * last need not have been us. */
static int l_finished(lua_State *L) {
  int n = lua_gettop(L);
  bool done = came_to_true(L, n);
  xb_task task;
  luaL_checkstack(L, 10, "a callback's results");
  lua_pushthread(L);
  task = take_task(L, n + 1);
  finish(L, &task, done);
  lua_settop(L, n);
  return n;
}

/* The function under `nargs` arguments becomes one that calls it and then `finished`. */
static void watch(lua_State *L, int nargs) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &watch_key);
  lua_insert(L, -nargs - 2);
}

/* In Lua, since a callback must be able to yield through it. */
static void make_watch(lua_State *L) {
  static const char text[] = "local finished = ... return function(f, ...) return finished(f(...)) end";
  if (luaL_loadbuffer(L, text, sizeof text - 1, "=xmpp") != LUA_OK) lua_error(L);
  lua_pushcfunction(L, l_finished);
  lua_call(L, 1, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &watch_key);
}

/* Calls. */

/* A coroutine on top of the stack, the idle one if there is one. */
static lua_State *push_coroutine(lua_State *L) {
  lua_State *co;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &spare_key) == LUA_TTHREAD) {
    co = lua_tothread(L, -1);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &spare_key);
    return co;
  }
  lua_pop(L, 1);
  return lua_newthread(L);
}

static void keep_spare(lua_State *L, int co) {
  lua_pushvalue(L, co);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &spare_key);
}

void xb_prepare_call(lua_State *L) {
  luaL_checkstack(L, 20, "a callback");
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &spare_key) != LUA_TTHREAD) {
    lua_newthread(L);
    keep_spare(L, lua_gettop(L));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* One stretch of a coroutine's life. true: it is over, and its results are on its stack. */
static bool run(lua_State *L, lua_State *co, int nargs, int *results) {
  int status = lua_resume(co, L, nargs, results);
  if (status == LUA_YIELD) {
    lua_pop(co, *results);
    return false;
  }
  if (status == LUA_OK) return true;
  lua_xmove(co, L, 1);
  xb_report(L, co);
  lua_resetthread(co); /* closes its to-be-closed variables */
  *results = -1;
  return true;
}

void xb_call(lua_State *L, int nargs, const xb_task *task, int conn) {
  lua_State *co;
  int at, results;
  luaL_checkstack(L, 10, "a callback");
  if (task->conn) {
    watch(L, nargs);
    nargs++;
  }
  co = push_coroutine(L);
  lua_insert(L, -nargs - 2);
  at = lua_gettop(L) - nargs - 1;
  luaL_checkstack(co, nargs + 5, "a callback");
  lua_xmove(L, co, nargs + 1);
  if (run(L, co, nargs, &results)) {
    finish(L, task, came_to_true(co, results));
    if (results >= 0) {
      lua_settop(co, 0);
      keep_spare(L, at);
    }
  } else {
    keep_task(L, at, task, conn);
  }
  lua_settop(L, at - 1);
}

void xb_resume(lua_State *L, xb_state *st) {
  lua_State *co = lua_tothread(L, -1);
  int at = lua_gettop(L), results;
  (void)st;
  if (co && co != L && lua_status(co) == LUA_YIELD && run(L, co, 0, &results)) {
    xb_task task = take_task(L, at);
    finish(L, &task, false); /* unless it is finished, it threw */
    if (results > 0) lua_pop(co, results);
  }
  lua_settop(L, at - 1);
}

void xb_open_call(lua_State *L) {
  make_watch(L);
  luaL_newmetatable(L, XB_TASK);
  lua_pushcfunction(L, l_task_gc);
  lua_setfield(L, -2, "__gc");
  luaL_newmetatable(L, XB_ERROR);
  lua_pushcfunction(L, l_error_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_createtable(L, 0, 1); /* an ephemeron table: a task lives as long as its coroutine */
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &tasks_key);
  lua_pop(L, 2);
}
