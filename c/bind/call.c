#include "call.h"

#include <stdio.h>
#include <string.h>

#include "say.h"
#include "shrink.h"

static const char spare_key, spare_cell_key, cells_key, sites_key, owners_key, watch_key, on_error_key; /* of the registry */

/* A call with a task has a cell, a table that lies on its coroutine's stack until it is over: empty, and once it has yielded
 * filled. So what is in it lives as long as the coroutine, and not longer, whatever refers to what; an ephemeron table would do
 * the same, but not every Lua has them. */
enum { CELL_TASK = 1, CELL_CONN, CELL_STANZA, CELL_FUNC, CELL_WHAT };

/* Cells of calls that have yielded: coroutine -> cell, both weak. */
static void push_cells(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &cells_key); }

/* A call without a task has nothing on its stack. What its error is told with once it has yielded is in a table like a cell:
 * coroutine -> that, weak by the coroutine; where that is no ephemeron table, its values are weak as well. */
static void push_sites(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &sites_key); }

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

/* { what =, conn =, stanza =, func = } of the values from `at` on; a site's `what` is there as a pointer. */
static void push_told_site(lua_State *L, int at) {
  static const char *const names[] = {"conn", "stanza", "func"};
  int i;
  lua_createtable(L, 0, 4);
  lua_pushstring(L, lua_touserdata(L, at));
  lua_setfield(L, -2, "what");
  for (i = 0; i < 3; i++) {
    lua_pushvalue(L, at + 1 + i);
    lua_setfield(L, -2, names[i]);
  }
}

/* report(object, coroutine or nil, what, conn, stanza, func) */
static int report(lua_State *L) {
  lua_State *co = lua_tothread(L, 2);
  lua_pushvalue(L, 1);
  to_text(L);
  luaL_traceback(L, co ? co : L, lua_tostring(L, -1), 0); /* a thread that has thrown keeps its stack */
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &on_error_key) == LUA_TNIL) {
    const char *const words[] = {"xmpp: error in a callback: ", lua_tostring(L, -2), NULL};
    xb_say(L, words);
    return 0;
  }
  lua_insert(L, -2);
  lua_pushvalue(L, 1);
  push_told_site(L, 3);
  lua_call(L, 3, 0);
  return 0;
}

static void push_or_nil(lua_State *L, int index) {
  if (index) lua_pushvalue(L, index);
  else lua_pushnil(L);
}

void xb_report(lua_State *L, lua_State *co, const xb_site *site) {
  lua_pushcfunction(L, report);
  lua_pushvalue(L, -2);
  if (co) {
    lua_pushthread(co);
    lua_xmove(co, L, 1);
  } else {
    lua_pushnil(L);
  }
  lua_pushlightuserdata(L, (void *)site->what);
  push_or_nil(L, site->conn);
  push_or_nil(L, site->stanza);
  push_or_nil(L, site->func);
  if (lua_pcall(L, 6, 0, 0) != LUA_OK) {
    char room[2][64];
    int at = lua_gettop(L);
    const char *why = spell(L, at, room[0], sizeof room[0]), *what = spell(L, at - 1, room[1], sizeof room[1]);
    const char *const words[] = {"xmpp: xmpp.on_error could not be told (", why, ") of an error in a callback: ", what, NULL};
    xb_say(L, words);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* on_error(f) -> who it was: f(text with traceback, error object, whose); nil: back to stderr. */
int xb_l_on_error(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &on_error_key);
  lua_insert(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &on_error_key);
  return 1;
}

/* Tasks. */

/* Is the first of `results` values on top of `co` exactly true? */
static bool came_to_true(lua_State *co, int results) {
  return results > 0 && lua_isboolean(co, -results) && lua_toboolean(co, -results);
}

static void finish(lua_State *L, const xb_task *t, bool done) {
  if (t->conn) t->duty->over(L, t, done);
}

/* A coroutine that nobody can resume any more. */
static int l_task_gc(lua_State *L) {
  xb_task *t = luaL_checkudata(L, 1, XB_TASK);
  xb_task was = *t;
  *t = (xb_task){0};
  if (was.st) finish(L, &was, false);
  return 0;
}

/* What l_keep and l_keep_site are called with: (co, what, conn, stanza, func). Returns how many. */
static int push_site(lua_State *L, int co, const xb_site *site) {
  lua_pushvalue(L, co);
  lua_pushlightuserdata(L, (void *)site->what);
  push_or_nil(L, site->conn);
  push_or_nil(L, site->stanza);
  push_or_nil(L, site->func);
  return 5;
}

/* That goes from there into the cell, or what is like one, at `cell`; by the coroutine that is found in the table on top of the
 * stack. */
static void fill_cell(lua_State *L, int cell) {
  static const int slots[] = {CELL_WHAT, CELL_CONN, CELL_STANZA, CELL_FUNC};
  int i;
  for (i = 0; i < 4; i++) {
    lua_pushvalue(L, i + 2);
    lua_rawseti(L, cell, slots[i]);
  }
  lua_pushvalue(L, 1);
  lua_pushvalue(L, cell);
  lua_rawset(L, -3);
}

/* l_keep(co, what, conn, stanza, func, cell, task): what a task that waits needs. The task moves into it last of all. */
static int l_keep(lua_State *L) {
  const xb_task *task = lua_touserdata(L, 7);
  xb_task *kept = lua_newuserdatauv(L, sizeof *kept, 1);
  *kept = (xb_task){0};
  luaL_setmetatable(L, XB_TASK);
  lua_pushvalue(L, 6);
  lua_setiuservalue(L, -2, 1);
  lua_rawseti(L, 6, CELL_TASK);
  push_cells(L);
  fill_cell(L, 6);
  *kept = *task;
  return 0;
}

/* The coroutine at `co` has yielded: its task waits for it. Without memory for that, the task is over. */
static void keep_task(lua_State *L, int co, int cell, const xb_task *task, const xb_site *site) {
  xb_task waits = *task;
  waits.waits = true;
  if (task->duty->waits) task->duty->waits(&waits);
  lua_pushcfunction(L, l_keep);
  push_site(L, co, site);
  lua_pushvalue(L, cell);
  lua_pushlightuserdata(L, &waits);
  if (lua_pcall(L, 7, 0, 0) == LUA_OK) return;
  finish(L, &waits, false);
  lua_error(L);
}

/* l_keep_site(co, what, conn, stanza, func) */
static int l_keep_site(lua_State *L) {
  lua_createtable(L, CELL_WHAT, 0);
#if LUA_VERSION_NUM == 501
  luaL_setmetatable(L, XB_SITE);
#endif
  push_sites(L);
  fill_cell(L, 6);
  return 0;
}

/* The same for one without a task. Without memory its error will be told with less. */
static void keep_site(lua_State *L, int co, const xb_site *site) {
  lua_pushcfunction(L, l_keep_site);
  if (lua_pcall(L, push_site(L, co, site), 0, 0) != LUA_OK) lua_pop(L, 1);
}

/* The task in the cell, no longer kept; all zero when there is none. Leaves its connection on the stack, which must not be
 * collected now. */
static xb_task take_task(lua_State *L, int cell) {
  xb_task task = {0}, *kept;
  lua_rawgeti(L, cell, CELL_CONN);
  lua_rawgeti(L, cell, CELL_TASK);
  kept = lua_touserdata(L, -1);
  if (kept) {
    task = *kept;
    *kept = (xb_task){0};
  }
  lua_pop(L, 1);
  return task;
}

#if LUA_VERSION_NUM >= 504
/* The coroutine is over. By coroutine.close it is so without a result; otherwise the task has been taken already, unless an
 * error ends it. */
static int l_cell_close(lua_State *L) {
  xb_task task;
  luaL_checkstack(L, 10, "a callback's end");
  lua_settop(L, 1);
  task = take_task(L, 1);
  finish(L, &task, false);
  return 0;
}

/* The cell is a to-be-closed variable of the call. */
static void make_cell_closable(lua_State *L) {
  luaL_newmetatable(L, XB_CELL);
  lua_pushcfunction(L, l_cell_close);
  lua_setfield(L, -2, "__close");
  lua_pop(L, 1);
}

#define WATCH "local call <close> = cell "
#else
#define make_cell_closable(L) ((void)(L)) /* nobody can close a coroutine */
#define WATCH ""
#endif

/* finished(cell, ...) -> ...: what a watched call came to, told in its own coroutine. If it has yielded, whoever resumed it
 * last need not have been us. */
static int l_finished(lua_State *L) {
  int n = lua_gettop(L) - 1;
  bool done = came_to_true(L, n);
  xb_task task;
  luaL_checkstack(L, 10, "a callback's results");
  task = take_task(L, 1);
  finish(L, &task, done);
  lua_settop(L, n + 1);
  return n;
}

static void push_cell(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &spare_cell_key) == LUA_TTABLE) {
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &spare_cell_key);
  } else {
    lua_pop(L, 1);
    lua_createtable(L, CELL_WHAT, 0);
#if LUA_VERSION_NUM >= 504
    luaL_setmetatable(L, XB_CELL);
#endif
  }
}

static void keep_spare_cell(lua_State *L, int cell) {
  lua_pushvalue(L, cell);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &spare_cell_key);
}

/* The function under `nargs` arguments becomes one that calls it and then `finished`; below it is put its cell. Returns
 * how many arguments there are now. */
static int watch(lua_State *L, int nargs) {
  push_cell(L);
  lua_insert(L, -nargs - 2);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &watch_key);
  lua_insert(L, -nargs - 2);
  lua_pushvalue(L, -nargs - 3);
  lua_insert(L, -nargs - 2);
  return nargs + 2;
}

/* In Lua, since a callback must be able to yield through it. */
static void make_watch(lua_State *L) {
  static const char text[] =
      "local finished = ... return function(cell, f, ...) " WATCH "return finished(cell, f(...)) end";
  if (luaL_loadbuffer(L, text, sizeof text - 1, "=xmpp") != LUA_OK) lua_error(L);
  lua_pushcfunction(L, l_finished);
  lua_call(L, 1, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &watch_key);
}

/* Calls. */

/* Each call has a coroutine that nobody has seen before. One that has run to its end can't serve again: who has kept it,
 * to resume it later or to know who runs, would meet a stranger in it. */

static void set_spare(lua_State *L, xb_state *st, lua_State *co) {
  lua_rawsetp(L, LUA_REGISTRYINDEX, &spare_key);
  st->spare = co;
}

/* The hook that lua sets for Ctrl-C: it raises at the next instruction, whatever that is. */
static bool is_interrupt(int mask, int count) {
  return mask == (LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT) && count == 1;
}

/* The host's hook as it is now, such as one that counts instructions. But Ctrl-C is to end what waits, not a callback. */
static void copy_hook(lua_State *L, lua_State *co) {
  lua_Hook hook = lua_gethook(L);
  int mask = lua_gethookmask(L), count = lua_gethookcount(L);
  if (is_interrupt(mask, count)) hook = NULL, mask = count = 0;
  if (hook != lua_gethook(co) || mask != lua_gethookmask(co) || count != lua_gethookcount(co))
    lua_sethook(co, hook, mask, count);
}

/* A coroutine on top of the stack. */
static lua_State *push_coroutine(lua_State *L, xb_state *st) {
  lua_State *co = st->spare;
  if (co) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &spare_key);
    lua_pushnil(L);
    set_spare(L, st, NULL);
  } else {
    co = lua_newthread(L);
  }
  copy_hook(L, co);
  return co;
}

void xb_prepare_call(lua_State *L, xb_state *st) {
  luaL_checkstack(L, 30, "a callback");
  if (!st->spare) {
    lua_State *co = lua_newthread(L);
    set_spare(L, st, co);
  }
  push_cell(L);
  keep_spare_cell(L, lua_gettop(L));
  lua_pop(L, 1);
}

static int resume(lua_State *L, lua_State *co, xb_state *st, const xb_task *task, int nargs, int *results) {
  const xb_task *outer = st->task;
  int status;
  if (st->nested >= XB_MOST_NESTED) {
    lua_settop(co, 0);
    lua_pushliteral(L, "C stack overflow"); /* it may raise, so not on a coroutine that isn't running */
    lua_xmove(L, co, 1);
    return LUA_ERRRUN;
  }
  st->nested++;
  st->task = task;
  status = lua_resume(co, L, nargs, results);
  st->task = outer;
  st->nested--;
  return status;
}

int xb_l_owned(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &owners_key);
  lua_pushthread(L);
  lua_pushvalue(L, 1);
  lua_rawset(L, -3);
  return 0;
}

/* Has the owner of `co` taken the error object on top of the stack, which stays there? */
static bool is_taken(lua_State *L, lua_State *co) {
  int object = lua_gettop(L);
  bool taken = false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &owners_key);
  lua_pushthread(co);
  lua_xmove(co, L, 1);
  lua_rawget(L, -2);
  if (luaL_getmetafield(L, -1, "__thrown")) {
    lua_insert(L, -2);
    lua_pushvalue(L, object);
    taken = lua_pcall(L, 2, 1, 0) == LUA_OK && lua_toboolean(L, -1);
  }
  lua_settop(L, object);
  return taken;
}

/* It has thrown: what is told, with its traceback. Then its to-be-closed variables are closed, by functions that may throw
 * in their turn. */
static void unwind(lua_State *L, lua_State *co, const xb_site *site) {
  lua_xmove(co, L, 1);
  lua_pushvalue(L, -1);
  lua_pushvalue(L, -1);
  lua_xmove(L, co, 1); /* a copy stays there, to be replaced by what closing throws */
  if (is_taken(L, co)) lua_pop(L, 1);
  else xb_report(L, co, site);
  if (lua_resetthread(co) != LUA_OK) {
    lua_xmove(co, L, 1);
    if (lua_rawequal(L, -1, -2)) lua_pop(L, 1);
    else xb_report(L, NULL, site);
  }
  lua_pop(L, 1);
}

/* One stretch of a coroutine's life. true: it is over, and its results are on its stack. */
static bool run(lua_State *L, lua_State *co, const xb_task *task, int nargs, int *results, const xb_site *site) {
  int status = resume(L, co, site->st, task, nargs, results);
  if (status == LUA_YIELD) {
    lua_pop(co, *results);
    return false;
  }
  if (status == LUA_OK) return true;
  unwind(L, co, site);
  *results = 0;
  return true;
}

xb_outcome xb_call(lua_State *L, int nargs, const xb_task *task, const char *what, int conn, int stanza) {
  xb_site site = {.st = task->st, .what = what, .conn = conn, .stanza = stanza, .func = lua_gettop(L) - nargs};
  lua_State *co;
  int at, results, watched = task->conn != NULL;
  xb_outcome outcome = XB_WAITS;
  luaL_checkstack(L, 20, "a callback");
  lua_pushvalue(L, site.func); /* to be known when it has thrown */
  lua_insert(L, site.func);
  if (watched) nargs = watch(L, nargs);
  co = push_coroutine(L, task->st);
  lua_insert(L, -nargs - 2);
  at = lua_gettop(L) - nargs - 1; /* a watched call's cell is below it */
  luaL_checkstack(co, nargs + 5, "a callback");
  lua_xmove(L, co, nargs + 1);
  if (run(L, co, task, nargs, &results, &site)) {
    outcome = came_to_true(co, results) ? XB_TRUE : XB_OVER;
    finish(L, task, outcome == XB_TRUE);
    lua_pop(co, results); /* with something on its stack it would pass for one that has not begun */
    if (watched) keep_spare_cell(L, at - 1);
  } else if (watched) {
    keep_task(L, at, at - 1, task, &site);
  } else {
    keep_site(L, at, &site);
  }
  lua_settop(L, site.func - 1);
  return outcome;
}

/* An allocation that fails may still make Lua collect, but that runs no finalizer. */
int xb_undisturbed(lua_State *L, int nargs) {
  int status;
  bool runs = lua_gc(L, LUA_GCISRUNNING, 0) != 0;
  lua_gc(L, LUA_GCSTOP, 0);
  status = lua_pcall(L, nargs, 1, 0);
  if (runs) lua_gc(L, LUA_GCRESTART, 0);
  return status;
}

xm_question *xb_asked_now(const xb_conn *conn) {
  const xb_task *now = conn->st->task;
  return now && now->conn == conn ? now->question : NULL;
}

/* Those whose end a connection that drains waits for. */
static bool is_of_what_came(const char *what) {
  static const char *const names[] = {"handler", "callback", "tap", "response"};
  size_t i;
  for (i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(what, names[i]) == 0) return true;
  return false;
}

/* Coroutine and cell are on top of the stack. */
static bool is_untold(lua_State *L, const xb_conn *conn) {
  lua_State *co = lua_tothread(L, -2);
  bool is = co && lua_status(co) == LUA_YIELD && lua_istable(L, -1);
  if (!is) return false;
  lua_rawgeti(L, -1, CELL_CONN);
  lua_rawgeti(L, -2, CELL_WHAT);
  is = lua_touserdata(L, -2) == conn && is_of_what_came(lua_touserdata(L, -1));
  lua_pop(L, 2);
  return is;
}

size_t xb_count_untold(lua_State *L, const xb_conn *conn) {
  size_t n = 0;
  push_sites(L);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) n += is_untold(L, conn);
  lua_pop(L, 1);
  return n;
}

/* The task that waits in the cell at `cell`, if it is one. */
static const xb_task *waiting_task(lua_State *L, int cell) {
  const xb_task *task = NULL;
  if (!lua_istable(L, cell)) return NULL;
  lua_rawgeti(L, cell, CELL_TASK);
  task = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return task;
}

/* The cell of the coroutine on top of the stack, or what is like one; nil: it is none of ours. */
static void push_cell_of(lua_State *L) {
  push_cells(L);
  lua_pushvalue(L, -2);
  lua_rawget(L, -2);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 2);
    push_sites(L);
    lua_pushvalue(L, -2);
    lua_rawget(L, -2);
  }
  lua_remove(L, -2);
}

/* Takes it out of the cell on top of the stack, in the places behind that. */
static xb_site push_kept_site(lua_State *L, xb_state *st) {
  int cell = lua_gettop(L), i;
  xb_site site = {.st = st, .what = "task"};
  if (!lua_istable(L, cell)) return site;
  lua_rawgeti(L, cell, CELL_WHAT);
  site = (xb_site){st, lua_touserdata(L, -1), cell + 1, cell + 2, cell + 3};
  lua_pop(L, 1);
  for (i = CELL_CONN; i <= CELL_FUNC; i++) lua_rawgeti(L, cell, i);
  return site;
}

/* It may have been the last that a connection waits for. */
static void note_resumed(lua_State *L, const xb_site *site) {
  xb_conn *conn = site->conn ? lua_touserdata(L, site->conn) : NULL;
  if (conn && conn->c && conn->draining) xb_mark_ready(conn);
}

bool xb_is_call_for(lua_State *L, const xb_conn *conn) {
  int at = lua_gettop(L);
  const xb_task *task;
  bool is;
  push_cell_of(L);
  task = waiting_task(L, at + 1);
  is = task ? task->conn == conn && task->duty->waits : is_untold(L, conn);
  lua_settop(L, at - 1);
  return is;
}

void xb_resume(lua_State *L, xb_state *st) {
  lua_State *co = lua_tothread(L, -1);
  int at = lua_gettop(L), cell = at + 1, results;
  if (co && co != L && lua_status(co) == LUA_YIELD) {
    xb_site site;
    push_cell_of(L); /* now: a coroutine that throws lets go of it */
    site = push_kept_site(L, st);
    if (run(L, co, waiting_task(L, cell), 0, &results, &site)) {
      xb_task task = lua_istable(L, cell) ? take_task(L, cell) : (xb_task){0};
      finish(L, &task, false); /* unless it is finished, it threw */
      lua_pop(co, results);
    }
    note_resumed(L, &site);
  }
  lua_settop(L, at - 1);
}

void xb_open_call(lua_State *L) {
  make_watch(L);
  make_cell_closable(L);
  luaL_newmetatable(L, XB_TASK);
  lua_pushcfunction(L, l_task_gc);
  lua_setfield(L, -2, "__gc");
#if LUA_VERSION_NUM == 501
  luaL_newmetatable(L, XB_SITE);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_pop(L, 1);
#endif
  lua_pop(L, 1);
  xb_new_weak(L, "kv", &cells_key);
  xb_new_weak(L, "k", &sites_key);
  xb_new_weak(L, "kv", &owners_key);
}
