#include "wait.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "fault.h"
#include "parts.h"
#include "shrink.h"
#include "sig.h"
#include "state.h"
#include "watch.h"

static const char refs_key, shrinker_key; /* keys in the registry: the table of what waiters refer to; its shrinker */

_Static_assert(XB_PROBED + 1 == XB_KINDS, "the last kind of waiters is another one");

struct xb_waiter {
  xb_waiter *prev, *next; /* in the list of its connection or of the state */
  xb_waiters *list;
  xb_waiter *next_due, **due_at; /* while it is due: the next one that is, and the pointer to this one; else NULL */
  xb_state *st;
  xb_conn *conn;          /* NULL: it has none */
  int place;              /* its slot in st->near, counted from 1; 0: it has none */
  uint64_t serial;        /* by which its Timer userdata recognizes it; 0: it has none */
  xm_timer timer;
  xm_pending *pending;    /* XB_RESPONSE: its entry in the connection's table of pending requests (route.h) */
  xb_kind kind;
  uint64_t seq;           /* see xb_waiter_set_seq */
  uint64_t period;        /* every(): milliseconds; 0: it fires once */
  xm_sig *sig;            /* XB_SIGNAL */
  int number;
  xm_watch *watch;        /* XB_WATCH */
  bool is_told;           /* about to be finished: see xb_begin_finish */
  bool is_dropped;        /* dropped since: see xb_drop_waiter */
};

/* Waiters for responses, of which there may be very many, are never searched, so they have a list of their own. */
static xb_waiters *list_for(xb_state *st, xb_conn *conn, xb_kind kind) {
  if (!conn) return &st->waiters;
  return kind == XB_RESPONSE ? &conn->responses : &conn->waiters;
}

static void link_in(xb_waiter *w) {
  w->prev = w->list->last;
  if (w->prev) {
    w->prev->next = w;
  } else {
    w->list->first = w;
  }
  w->list->last = w;
  if (w->conn) w->conn->of_kind[w->kind]++;
}

static void link_out(xb_waiter *w) {
  xb_waiter **before = w->prev ? &w->prev->next : &w->list->first;
  xb_waiter **behind = w->next ? &w->next->prev : &w->list->last;
  *before = w->next;
  *behind = w->prev;
  if (w->conn) w->conn->of_kind[w->kind]--;
}

static void leave_due(xb_waiter *w) {
  if (!w->due_at) return;
  *w->due_at = w->next_due;
  if (w->next_due) w->next_due->due_at = w->due_at;
  else w->st->due_end = w->due_at;
  w->due_at = NULL;
}

/* The timer's function: only marks the waiter as due. */
static void fall_due(void *arg) {
  xb_waiter *w = arg;
  w->next_due = NULL;
  w->due_at = w->st->due_end;
  *w->due_at = w;
  w->st->due_end = &w->next_due;
}

/* Pushes the table that holds, for each waiter, the function or box that it refers to. false, and nothing is pushed:
 * there is no table. */
static bool push_refs(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &refs_key) == LUA_TTABLE) return true;
  lua_pop(L, 1);
  return false;
}

/* Copies the entries of the table on top of the stack to the one below it. */
static void copy_refs(lua_State *L) {
  for (lua_pushnil(L); lua_next(L, -2);) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -5);
  }
}

/* Creates the table, or replaces it by one as large as its entries need, as a table never shrinks by itself. */
static void renew_refs(lua_State *L, xb_state *st) {
  lua_createtable(L, XB_NEAR, 0); /* may run finalizers, which may add waiters; nothing behind this does */
  if (push_refs(L)) {
    copy_refs(L);
    lua_pop(L, 1);
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, &refs_key);
  st->most_refs = st->refs;
}

static bool has_sparse_refs(const xb_state *st) { return st->most_refs > XB_MANY && st->refs < st->most_refs / 4; }

/* Pushes the table, with room for one more entry, as far as that can be known. What may run finalizers is done before
 * the push. */
static void push_ready_refs(lua_State *L, xb_state *st) {
  if (st->refs == XB_MANY && st->most_refs == XB_MANY) {
    xb_push_shrinker(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &shrinker_key);
  }
  if (has_sparse_refs(st)) renew_refs(L, st);
  while (!push_refs(L)) renew_refs(L, st);
}

/* The first free slot in st->near, counted from 1; 0: none. */
static int near_place(const xb_state *st) {
  int i;
  for (i = 0; i < XB_NEAR; i += 64) {
    uint64_t is_free = ~st->near_used[i / 64];
    if (is_free) return i + __builtin_ctzll(is_free) + 1;
  }
  return 0;
}

static void set_near(xb_state *st, int place, xb_waiter *w) {
  uint64_t bit;
  if (!place) return;
  bit = (uint64_t)1 << (place - 1) % 64;
  st->near[place - 1] = w;
  if (w) st->near_used[(place - 1) / 64] |= bit;
  else st->near_used[(place - 1) / 64] &= ~bit;
}

/* Pushes the key of the waiter's entry: its slot number, if it has one, otherwise its address. Slot numbers lie in the
 * table's array part, which is there from the start, so that up to XB_NEAR waiters come and go without Lua resizing the
 * table. */
static void push_key(lua_State *L, const xb_waiter *w) {
  if (w->place) lua_pushinteger(L, w->place);
  else lua_pushlightuserdata(L, (void *)w);
}

/* Looks up the waiter by its key, which may be outdated, and pushes its function or box. NULL, and nothing is pushed:
 * there is no waiter. */
static xb_waiter *find(lua_State *L, int key) {
  lua_Integer place;
  key = lua_absindex(L, key);
  if (!push_refs(L)) return NULL;
  lua_pushvalue(L, key);
  lua_rawget(L, -2);
  if (lua_isnil(L, -1)) { /* there may not even be a state any more */
    lua_pop(L, 2);
    return NULL;
  }
  lua_remove(L, -2);
  place = lua_tointeger(L, key);
  return place ? xb_state_of(L)->near[place - 1] : lua_touserdata(L, key);
}

/* Allocates a waiter, all zero but for its slot, and enters `who` in the table. NULL: there is no memory; may raise for
 * that reason, too. */
static xb_waiter *new_waiter(lua_State *L, xb_state *st, int who) {
  xb_waiter *w;
  push_ready_refs(L, st);
  if (!st->unborn) st->unborn = calloc(1, sizeof *w);
  w = st->unborn;
  if (w) {
    w->place = near_place(st);
    push_key(L, w);
    lua_pushvalue(L, who);
    lua_rawset(L, -3);
    st->unborn = NULL; /* only now, as what is above may raise */
    set_near(st, w->place, w);
    if (++st->refs > st->most_refs) st->most_refs = st->refs;
  }
  lua_pop(L, 1);
  return w;
}

/* Removes the waiter's entry, and frees it. */
static void free_waiter(lua_State *L, xb_state *st, xb_waiter *w) {
  (void)push_refs(L);
  push_key(L, w);
  lua_pushnil(L);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  set_near(st, w->place, NULL);
  free(w);
  st->refs--;
  if (!has_sparse_refs(st)) return;
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &shrinker_key); /* so that it is collected */
  if (st->refs > 0) return;
  st->most_refs = 0;
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &refs_key);
}

static void push_who(lua_State *L, const xb_waiter *w) {
  (void)push_refs(L);
  push_key(L, w);
  lua_rawget(L, -2);
  lua_remove(L, -2);
}

/* While a box (see lua/xmpp/wait.lua) waits, its first slot has the waiter's key instead of a result. */
static void tie(lua_State *L, int who, xb_waiter *w) {
  if (!lua_istable(L, who)) return;
  lua_rawgeti(L, who, 1);
  if (lua_isboolean(L, -1)) { /* the slot exists already: this takes no memory */
    push_key(L, w);
    lua_rawseti(L, who, 1);
  }
  lua_pop(L, 1);
}

/* The waiter of the box at index 1. A program may have seen the box and changed it, so the waiter must refer to this
 * box, too. NULL: none. */
static xb_waiter *tied(lua_State *L) {
  xb_waiter *w;
  lua_rawgeti(L, 1, 1);
  w = lua_isnil(L, 2) ? NULL : find(L, 2);
  if (w && !lua_rawequal(L, -1, 1)) w = NULL;
  lua_settop(L, 1);
  return w;
}

static uint64_t to_ms(double seconds) { return seconds <= 0 ? 0 : (uint64_t)ceil(seconds * 1000); }

/* Negative, infinite, or more than 30,000 years: no timeout. */
static bool is_bounded(double seconds) { return seconds >= 0 && seconds < 1e12; }

xb_waiter *xb_wait(lua_State *L, xb_state *st, xb_conn *conn, xb_kind kind, int who, double seconds) {
  xb_waiter *w;
  if (conn) xb_pin(L, conn);
  w = new_waiter(L, st, who);
  if (w) *w = (xb_waiter){.st = st, .conn = conn, .kind = kind, .list = list_for(st, conn, kind), .place = w->place};
  if (!w || (is_bounded(seconds) && xm_timer_start(st->loop, &w->timer, to_ms(seconds), fall_due, w) < 0)) {
    if (w) free_waiter(L, st, w);
    if (conn) xb_keep_alive(L, conn);
    return NULL;
  }
  link_in(w);
  tie(L, who, w);
  if (kind == XB_TIME || kind == XB_WATCH) st->timers++;
  if (kind == XB_SIGNAL) st->signals++;
  return w;
}

/* Ends the waiter, and frees it. Its function or box is left on the stack. */
static void let_go(lua_State *L, xb_waiter *w) {
  xb_conn *conn = w->conn;
  push_who(L, w);
  xm_timer_stop(w->st->loop, &w->timer);
  xm_sig_unwatch(w->sig);
  xm_watch_free(w->watch);
  leave_due(w);
  link_out(w);
  if (w->kind == XB_SIGNAL) w->st->signals--;
  if (w->kind == XB_TIME || w->kind == XB_WATCH) w->st->timers--;
  if (w->kind == XB_STANZA && conn->loop) xb_note_asked(conn);
  if (w->pending && conn && conn->c) xm_route_forget(xm_conn_route(conn->c), w->pending);
  free_waiter(L, w->st, w);
  if (conn) xb_keep_alive(L, conn);
}

/* Fills the box below `n` results, pops both, and resumes the coroutine that waits. */
static void fill_box(lua_State *L, xb_state *st, int n) {
  int i, box = lua_gettop(L) - n;
  for (i = n; i > 0; i--) lua_rawseti(L, box, i);
  lua_pushinteger(L, n);
  lua_setfield(L, box, "n");
  lua_pushboolean(L, 1);
  lua_setfield(L, box, "done");
  lua_getfield(L, box, "co");
  lua_remove(L, box);
  if (lua_isthread(L, -1)) {
    xb_resume(L, st);
  } else {
    lua_pop(L, 1);
  }
}

/* Does the waiter have a box, and not a function? A box already has room for the results. */
static bool is_box(lua_State *L, const xb_waiter *w) {
  bool yes;
  push_who(L, w);
  yes = lua_istable(L, -1);
  lua_pop(L, 1);
  return yes;
}

/* Calls the function below `n` results, and pops both. Below the function is the connection, or nil. With a connection
 * the call is f(stanza, conn, err). */
static void tell(lua_State *L, xb_state *st, const char *what, int n) {
  xb_task task = {.st = st};
  int conn = lua_gettop(L) - n - 1;
  if (lua_isnil(L, conn)) return (void)xb_call(L, n, &task, what, 0, 0);
  lua_pushvalue(L, conn + 2);
  lua_insert(L, conn + 1);
  lua_pushvalue(L, conn);
  lua_insert(L, -n);
  xb_call(L, n + 1, &task, what, conn, conn + 1);
  lua_pop(L, 1);
}

void xb_finish(lua_State *L, xb_waiter *w, int n) {
  xb_state *st = w->st;
  xb_conn *conn = w->conn;
  const char *what = conn ? "response" : w->kind == XB_TIME ? "timer" : "task";
  xb_begin_finish(w);
  luaL_checkstack(L, 40, "a callback");
  if (!is_box(L, w)) xb_prepare_call(L, st); /* if this raises, the waiter just goes on waiting */
  if (w->is_dropped) { /* meanwhile, by a finalizer */
    lua_pop(L, n);
    let_go(L, w);
    return lua_pop(L, 1);
  }
  if (conn) xb_push_conn(L, conn); /* which keeps it alive until the call is over */
  else lua_pushnil(L);
  lua_insert(L, -n - 1);
  let_go(L, w);
  lua_insert(L, -n - 1);
  if (lua_istable(L, -n - 1)) fill_box(L, st, n);
  else tell(L, st, what, n);
  lua_pop(L, 1);
}

void xb_push_waiting(lua_State *L, const xb_waiter *w) {
  push_who(L, w);
  if (!lua_istable(L, -1)) return;
  lua_getfield(L, -1, "co"); /* a field that exists, so no metamethod is called */
  lua_remove(L, -2);
}

/* A connection looks for waiters of several kinds at each stanza, and there may be very many of another kind. */
xb_waiter *xb_find_waiter(const xb_conn *conn, xb_kind kind) {
  xb_waiter *w = conn->of_kind[kind] ? conn->waiters.first : NULL;
  while (w && w->kind != kind) w = w->next;
  return w;
}

xb_waiter *xb_find_numbered(const xb_conn *conn, xb_kind kind, uint64_t seq) {
  xb_waiter *w = conn->waiters.first;
  while (w && !(w->kind == kind && w->seq == seq)) w = w->next;
  return w;
}

xb_kind xb_waiter_kind(const xb_waiter *w) {
  return w->kind;
}

void xb_waiter_set_pending(xb_waiter *w, xm_pending *p) {
  w->pending = p;
}

xm_pending *xb_waiter_pending(const xb_waiter *w) {
  return w->pending;
}

const xb_waiter *xb_next_waiter(const xb_waiter *w) {
  return w->next;
}

void xb_waiter_set_seq(xb_waiter *w, uint64_t seq) {
  w->seq = seq;
}

uint64_t xb_waiter_seq(const xb_waiter *w) {
  return w->seq;
}

void xb_lose_waiters(xb_conn *conn) {
  xb_waiter *w, *next;
  for (w = conn->responses.first; w; w = next) {
    next = w->next;
    if (xm_sm_has(xm_conn_sm(conn->c), w->seq)) continue;
    link_out(w);
    w->next = NULL;
    w->list = &conn->lost;
    link_in(w);
  }
}

void xb_begin_finish(xb_waiter *w) {
  w->is_told = true;
}

void xb_drop_waiter(lua_State *L, xb_waiter *w) {
  if (w->is_told) {
    w->is_dropped = true;
    return;
  }
  let_go(L, w);
  lua_pop(L, 1);
}

int xb_l_abandon(lua_State *L) {
  xb_state *st = xb_state_of(L);
  xb_waiter *w;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  w = tied(L);
  if (!w) return 0;
  xb_drop_waiter(L, w);
  xb_less_to_do(st);
  return 0;
}

int xb_l_wake(lua_State *L) {
  xb_state *st = xb_state_of(L);
  xb_waiter *w;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  w = tied(L);
  if (!w) w = xb_wait(L, st, NULL, XB_TASK_DUE, 1, -1);
  if (!w) return luaL_error(L, "not enough memory");
  if (w->due_at) return 0;
  xm_timer_stop(st->loop, &w->timer);
  fall_due(w);
  xm_loop_want(st->loop);
  xb_begun(L);
  return 0;
}

static int push_timeout(lua_State *L, xb_kind kind) {
  static const char *const what[] = {"", "", "", "", "a response", "the connection", "a stanza", "all that was sent to arrive",
                                     "the end of the stream", "the end of the stream", "a message to ourselves to come back"};
  xm_err e = {0};
  xm_err_set(&e, XM_LAYER_TIMEOUT, "timeout", true, "gave up waiting for %s", what[kind]);
  return xb_fail(L, &e);
}

/* Pushes the events as text: "r", "w", "rw", and "e" for a descriptor that is broken. */
static void push_events(lua_State *L, int events) {
  char text[4];
  int n = 0;
  if (events & XM_WATCH_READ) text[n++] = 'r';
  if (events & XM_WATCH_WRITE) text[n++] = 'w';
  if (events & XM_WATCH_ERROR) text[n++] = 'e';
  lua_pushlstring(L, text, (size_t)n);
}

/* A waiter that fires again. every(): the next time is counted from now, so that a machine's sleep isn't followed by a
 * burst. A signal: f(name). A descriptor: f(events). */
static void fire_again(lua_State *L, xb_waiter *w) {
  xb_task task = {.st = w->st};
  const char *what = w->sig ? "signal" : w->watch ? "task" : "timer";
  leave_due(w);
  push_who(L, w);
  if (w->sig) lua_pushstring(L, xm_sig_name(w->number));
  else if (w->watch) push_events(L, xm_watch_take(w->watch));
  else xm_timer_start(w->st->loop, &w->timer, w->period, fall_due, w);
  xb_call(L, w->period ? 0 : 1, &task, what, 0, 0);
}

int xb_finish_due(lua_State *L, xb_state *st, int most) {
  xb_waiter *w;
  int n = 0, due = 0;
  for (w = st->due; w && due < most; w = w->next_due) due++;
  for (; n < due && (w = st->due); n++) { /* waiters that fall due meanwhile are finished in the next step */
    if (w->period || w->sig || w->watch) {
      fire_again(L, w);
    } else {
      xb_begin_finish(w);
      xb_finish(L, w, w->kind == XB_TIME || w->kind == XB_TASK_DUE ? 0 : push_timeout(L, w->kind));
    }
  }
  return n;
}

void xb_free_waiters(lua_State *L, xm_loop *loop, xb_waiters *list) {
  while (list->first) {
    xb_waiter *w = list->first;
    xm_timer_stop(loop, &w->timer);
    xm_sig_unwatch(w->sig);
    xm_watch_free(w->watch);
    leave_due(w);
    link_out(w);
    free_waiter(L, w->st, w);
  }
}

/* The Timer userdata that after and every return. It has no finalizer, so that one cycle of the collector suffices to
 * free it, and what refers to it. Therefore neither the handle nor the waiter is told when the other one is gone: the
 * handle finds its waiter by key and serial number. */

typedef struct handle {
  xb_waiter *w;
  int place;
  uint64_t serial;
} handle;

static handle *push_handle(lua_State *L) {
  handle *h = lua_newuserdatauv(L, sizeof *h, 0);
  *h = (handle){0};
  luaL_setmetatable(L, XB_TIMER);
  return h;
}

static void take_in_hand(handle *h, xb_waiter *w) {
  w->serial = h->serial = ++w->st->serials;
  h->w = w;
  h->place = w->place;
}

/* The handle's waiter; NULL: it is over. */
static xb_waiter *waiter_of(lua_State *L, const handle *h) {
  xb_waiter *w;
  if (h->place) lua_pushinteger(L, h->place);
  else lua_pushlightuserdata(L, h->w);
  w = find(L, -1);
  lua_pop(L, w ? 2 : 1);
  return w && w->serial == h->serial ? w : NULL;
}

static int l_cancel(lua_State *L) {
  xb_waiter *w = waiter_of(L, luaL_checkudata(L, 1, XB_TIMER));
  if (w) {
    xb_drop_waiter(L, w);
    xb_less_to_do(xb_state_of(L));
  }
  lua_pushboolean(L, w != NULL);
  return 1;
}

/* timer(seconds, f or box, again) -> Timer. lua/xmpp has checked the arguments. */
int xb_l_timer(lua_State *L) {
  xb_state *st = xb_state_of(L);
  double seconds = luaL_checknumber(L, 1);
  bool again = lua_toboolean(L, 3);
  handle *h = push_handle(L);
  xb_waiter *w = xb_wait(L, st, NULL, XB_TIME, 2, seconds);
  if (!w) return luaL_error(L, "not enough memory");
  w->period = again ? (to_ms(seconds) ? to_ms(seconds) : 1) : 0;
  take_in_hand(h, w);
  xb_begun(L);
  return 1;
}

/* For signals and descriptors, which may report more than once before the waiter is finished. */
static void fall_due_once(void *arg) {
  xb_waiter *w = arg;
  if (!w->due_at) fall_due(w);
}

static int check_signal(lua_State *L, int index) {
  int i = 0;
  luaL_Buffer all;
  luaL_checkstring(L, index);
  while (xm_sig_name(i) && !xb_is_named(L, index, xm_sig_name(i))) i++;
  if (xm_sig_name(i)) return i;
  luaL_buffinit(L, &all);
  for (i = 0; xm_sig_name(i); i++) {
    luaL_addstring(&all, i ? ", " : "one of ");
    luaL_addstring(&all, xm_sig_name(i));
  }
  luaL_addstring(&all, " expected, got ");
  xb_push_shown(L, index);
  luaL_addvalue(&all);
  luaL_pushresult(&all);
  return luaL_argerror(L, index, lua_tostring(L, -1));
}

/* signal(name, f) -> a Timer: f(name) is called for each signal until it is cancelled. f = nil: only checks the name. A
 * waiting signal doesn't keep a loop running. */
int xb_l_signal(lua_State *L) {
  xb_state *st = xb_state_of(L);
  int number = check_signal(L, 1);
  handle *h;
  xb_waiter *w;
  if (lua_isnoneornil(L, 2)) return 0;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  h = push_handle(L);
  w = xb_wait(L, st, NULL, XB_SIGNAL, 2, -1);
  if (!w) return luaL_error(L, "not enough memory");
  w->number = number;
  take_in_hand(h, w);
  w->sig = xm_sig_watch(st->loop, xm_sig_number(xm_sig_name(number)), fall_due_once, w);
  if (!w->sig) return xb_drop_waiter(L, w), luaL_error(L, "this system can't watch for %s", xm_sig_name(number));
  xm_loop_sync(st->loop);
  xb_begun(L);
  return 1;
}

static int check_events(lua_State *L, int index) {
  static const char *const names[] = {"r", "w", "rw", NULL};
  return luaL_checkoption(L, index, NULL, names) + 1; /* XM_WATCH_READ, XM_WATCH_WRITE, both */
}

/* watch(fd, "r"|"w"|"rw", f) -> a Timer: f(events) is called whenever the descriptor is ready, until it is cancelled.
 * nil: the system can't watch this descriptor. */
int xb_l_watch(lua_State *L) {
  xb_state *st = xb_state_of(L);
  int fd = (int)luaL_checkinteger(L, 1), events = check_events(L, 2);
  handle *h;
  xb_waiter *w;
  luaL_checktype(L, 3, LUA_TFUNCTION);
  h = push_handle(L);
  w = xb_wait(L, st, NULL, XB_WATCH, 3, -1);
  if (!w) return luaL_error(L, "not enough memory");
  w->watch = xm_watch_new(st->loop, fd, events, fall_due_once, w);
  if (!w->watch) return xb_drop_waiter(L, w), 0;
  take_in_hand(h, w);
  xm_loop_want(st->loop);
  xb_begun(L);
  return 1;
}

/* spawn(f): calls f in the next step, in a coroutine of its own. */
int xb_l_spawn(lua_State *L) {
  xb_state *st = xb_state_of(L);
  xb_waiter *w;
  luaL_checktype(L, 1, LUA_TFUNCTION);
  w = xb_wait(L, st, NULL, XB_TASK_DUE, 1, -1);
  if (!w) return luaL_error(L, "not enough memory");
  fall_due(w);
  xm_loop_want(st->loop);
  xb_begun(L);
  return 0;
}

void xb_open_wait(lua_State *L) {
  luaL_newmetatable(L, XB_TIMER);
  lua_pushcfunction(L, l_cancel);
  lua_setfield(L, -2, "__close");
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_cancel);
  lua_setfield(L, -2, "cancel");
  lua_setfield(L, -2, "__index");
  xb_close_metatable(L, "a timer's metatable is its own");
  lua_pop(L, 1);
}
