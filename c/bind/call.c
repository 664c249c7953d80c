#include "call.h"

#include <stdio.h>
#include <string.h>

#include "say.h"
#include "shrink.h"

static const char spare_key, spare_cell_key, cells_key, sites_key, owners_key, watch_key, on_error_key; /* registry
                                                                                                           keys */

/* A call with a task has a cell: a table that lies on its coroutine's stack until the call is over. It is empty at
 * first, and filled when the coroutine has yielded. So what is in it lives exactly as long as the coroutine, whatever
 * refers to what. An ephemeron table would do the same, but not every Lua has them. */
enum { CELL_TASK = 1, CELL_CONN, CELL_STANZA, CELL_FUNC, CELL_WHAT };

/* The cells of calls that have yielded: a table from coroutine to cell, both weak. */
static void push_cells(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &cells_key); }

/* A call without a task has no cell. When it has yielded, what its errors are told with is kept in a table that is laid
 * out like a cell; these are in another table, by coroutine, with weak keys. Where that is no ephemeron table (5.1),
 * the values of the inner table are weak as well. */
static void push_sites(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &sites_key); }

/* Errors */

static int describe(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  return 1;
}

/* Replaces the error object on top of the stack by a string. An error that its __tostring raises is ignored. */
static void to_text(lua_State *L) {
  const char *type = luaL_typename(L, -1);
  if (lua_type(L, -1) == LUA_TSTRING) return; /* no call is made for a string: the C stack may be full */
  lua_pushcfunction(L, describe);
  lua_insert(L, -2);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) return;
  lua_pop(L, 1);
  lua_pushfstring(L, "(error object is a %s value)", type);
}

/* The error object at `index` as text, which never fails: it is either made a string in its place, or written to
 * `room`. */
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

/* Pushes { what =, conn =, stanza =, func = }, made of the four values from index `at` on; `what` is a light userdata
 * there. */
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
  luaL_traceback(L, co ? co : L, lua_tostring(L, -1), 0); /* a coroutine that has raised an error still has its stack */
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

/* on_error(f) -> the function before it. f(text with traceback, error object, site) is called for each error; nil: they
 * go to stderr. */
int xb_l_on_error(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &on_error_key);
  lua_insert(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &on_error_key);
  return 1;
}

/* Tasks */

/* Is the first of `results` values on top of `co` exactly true? */
static bool came_to_true(lua_State *co, int results) {
  return results > 0 && lua_isboolean(co, -results) && lua_toboolean(co, -results);
}

static void finish(lua_State *L, const xb_task *t, bool done) {
  if (t->conn) t->duty->over(L, t, done);
}

/* The coroutine has been collected: nobody can resume it any more. */
static int l_task_gc(lua_State *L) {
  xb_task *t = luaL_checkudata(L, 1, XB_TASK);
  xb_task was = *t;
  *t = (xb_task){0};
  if (was.st) finish(L, &was, false);
  return 0;
}

/* Pushes the arguments that l_keep and l_keep_site have in common: (co, what, conn, stanza, func). Returns how many. */
static int push_site(lua_State *L, int co, const xb_site *site) {
  lua_pushvalue(L, co);
  lua_pushlightuserdata(L, (void *)site->what);
  push_or_nil(L, site->conn);
  push_or_nil(L, site->stanza);
  push_or_nil(L, site->func);
  return 5;
}

/* Copies these arguments from the stack into the cell, or the table like one, at index `cell`, and enters it under the
 * coroutine into the table on top of the stack. */
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

/* l_keep(co, what, conn, stanza, func, cell, task): makes the userdata of a suspended task. The task is moved into it
 * last, when nothing can fail any more. */
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

/* The coroutine at `co` has yielded: its task is kept. When there is no memory for that, the task counts as over, and
 * the error is raised. */
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

/* The same for a call without a task. When there is no memory, an error in it will be told without its site. */
static void keep_site(lua_State *L, int co, const xb_site *site) {
  lua_pushcfunction(L, l_keep_site);
  if (lua_pcall(L, push_site(L, co, site), 0, 0) != LUA_OK) lua_pop(L, 1);
}

/* Takes the task out of the cell; all zero when there is none. Leaves its connection on the stack, since that must not
 * be collected while the task is being finished. */
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
/* __close of the cell: the coroutine is over. If coroutine.close or an error ends it, the task is still in the cell; if
 * the function has returned, l_finished has taken it already. */
static int l_cell_close(lua_State *L) {
  xb_task task;
  luaL_checkstack(L, 10, "a callback's end");
  lua_settop(L, 1);
  task = take_task(L, 1);
  finish(L, &task, false);
  return 0;
}

/* The cell is a to-be-closed variable of the function that makes the call. */
static void make_cell_closable(lua_State *L) {
  luaL_newmetatable(L, XB_CELL);
  lua_pushcfunction(L, l_cell_close);
  lua_setfield(L, -2, "__close");
  lua_pop(L, 1);
}

#define WATCH "local call <close> = cell "
#else
#define make_cell_closable(L) ((void)(L)) /* these versions can't close a coroutine */
#define WATCH ""
#endif

/* finished(cell, ...) -> ...: called inside the coroutine with the results of a call that has a cell. If the call had
 * yielded, it may have been resumed by somebody else than us, which is why the end is noticed here. */
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

/* Replaces the function below `nargs` arguments by one that calls it and then `finished`, with a cell as first
 * argument; the cell is also put below the function. Returns the new number of arguments. */
static int watch(lua_State *L, int nargs) {
  push_cell(L);
  lua_insert(L, -nargs - 2);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &watch_key);
  lua_insert(L, -nargs - 2);
  lua_pushvalue(L, -nargs - 3);
  lua_insert(L, -nargs - 2);
  return nargs + 2;
}

/* This function is written in Lua, since a callback must be able to yield across it. */
static void make_watch(lua_State *L) {
  static const char text[] =
      "local finished = ... return function(cell, f, ...) " WATCH "return finished(cell, f(...)) end";
  if (luaL_loadbuffer(L, text, sizeof text - 1, "=xmpp") != LUA_OK) lua_error(L);
  lua_pushcfunction(L, l_finished);
  lua_call(L, 1, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &watch_key);
}

/* Calls */

/* Each call gets a new coroutine. One that has run to its end isn't used again: a program may have kept it, to resume
 * it later or to know which coroutine runs, and would find another call in it. */

static void set_spare(lua_State *L, xb_state *st, lua_State *co) {
  lua_rawsetp(L, LUA_REGISTRYINDEX, &spare_key);
  st->spare = co;
}

/* Is this the hook that the command lua sets for Ctrl-C? It raises an error at the next instruction. */
static bool is_interrupt(int mask, int count) {
  return mask == (LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT) && count == 1;
}

/* Gives the coroutine the host's current debug hook, such as one that counts instructions. The hook for Ctrl-C isn't
 * copied: it is to end the wait in the main program, not a callback. */
static void copy_hook(lua_State *L, lua_State *co) {
  lua_Hook hook = lua_gethook(L);
  int mask = lua_gethookmask(L), count = lua_gethookcount(L);
  if (is_interrupt(mask, count)) hook = NULL, mask = count = 0;
  if (hook != lua_gethook(co) || mask != lua_gethookmask(co) || count != lua_gethookcount(co))
    lua_sethook(co, hook, mask, count);
}

/* Pushes a coroutine. */
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
    lua_pushliteral(L, "C stack overflow"); /* this may raise, so it is not done on a coroutine that isn't running */
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

/* Has the owner of `co` (xb_l_owned) taken the error object on top of the stack? It stays there. */
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

/* The coroutine has raised an error: reports it with its traceback. Then its to-be-closed variables are closed, by
 * functions that may raise errors in turn. */
static void unwind(lua_State *L, lua_State *co, const xb_site *site) {
  lua_xmove(co, L, 1);
  lua_pushvalue(L, -1);
  lua_pushvalue(L, -1);
  lua_xmove(L, co, 1); /* a copy stays there, which an error raised by closing replaces */
  if (is_taken(L, co)) lua_pop(L, 1);
  else xb_report(L, co, site);
  if (lua_resetthread(co) != LUA_OK) {
    lua_xmove(co, L, 1);
    if (lua_rawequal(L, -1, -2)) lua_pop(L, 1);
    else xb_report(L, NULL, site);
  }
  lua_pop(L, 1);
}

/* Resumes the coroutine once. true: it is over, and its results are on its stack. */
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
  lua_pushvalue(L, site.func); /* a copy, to be told together with an error */
  lua_insert(L, site.func);
  if (watched) nargs = watch(L, nargs);
  co = push_coroutine(L, task->st);
  lua_insert(L, -nargs - 2);
  at = lua_gettop(L) - nargs - 1; /* the call's cell, if it has one, is below it */
  luaL_checkstack(co, nargs + 5, "a callback");
  lua_xmove(L, co, nargs + 1);
  if (run(L, co, task, nargs, &results, &site)) {
    outcome = came_to_true(co, results) ? XB_TRUE : XB_OVER;
    finish(L, task, outcome == XB_TRUE);
    lua_pop(co, results); /* with results on its stack it would look like a coroutine that has not begun */
    if (watched) keep_spare_cell(L, at - 1);
  } else if (watched) {
    keep_task(L, at, at - 1, task, &site);
  } else {
    keep_site(L, at, &site);
  }
  lua_settop(L, site.func - 1);
  return outcome;
}

/* An allocation that fails makes Lua run a full cycle even then, but that calls no finalizers. */
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

/* The kinds of calls for whose end a draining connection waits. */
static bool is_of_what_came(const char *what) {
  static const char *const names[] = {"handler", "callback", "tap", "response"};
  size_t i;
  for (i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(what, names[i]) == 0) return true;
  return false;
}

/* The coroutine and the table like a cell are on top of the stack: is it a suspended call of this connection? */
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

/* The task in the cell at index `cell`; NULL: it isn't a cell, or has none. */
static const xb_task *waiting_task(lua_State *L, int cell) {
  const xb_task *task = NULL;
  if (!lua_istable(L, cell)) return NULL;
  lua_rawgeti(L, cell, CELL_TASK);
  task = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return task;
}

/* Pushes the cell of the coroutine on top of the stack, or the table like one; nil: the coroutine isn't a call of
 * ours. */
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

/* Pushes connection, stanza and function out of the cell on top of the stack, and returns the site with their
 * indexes. */
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

/* The call that was resumed may have been the last one that a draining connection waits for. */
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
    push_cell_of(L); /* before the coroutine runs: one that raises an error doesn't have it any more */
    site = push_kept_site(L, st);
    if (run(L, co, waiting_task(L, cell), 0, &results, &site)) {
      xb_task task = lua_istable(L, cell) ? take_task(L, cell) : (xb_task){0};
      finish(L, &task, false); /* if the task is still there, the coroutine has raised an error */
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
