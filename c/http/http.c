/* http: libcurl for lua/xmpp/http.lua: a module of its own, since not everybody has that library. It knows neither the
 * core nor the binding, and calls no Lua functions: each call lets libcurl work and returns, and says what libcurl
 * waits for.
 *
 *   multi = http.multi()
 *   t = multi:begin { url =, method =, headers = { "Name: value" }, size =, ... }   see read_request
 *   fd, events = multi:change()     again and again until there is none: watch fd for these events, "" for none
 *   new, seconds = multi:timeout()  until multi:act() is to be called; new: changed since the last call
 *   multi:act(fd, events)           fd has these events; both absent: the time has come
 *   t:state()                       "busy", "hungry" (t:feed(bytes), "" for the end), "done" (t:result()) */
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <string.h>

#include "transfer.h"

#define MULTI "xmpp.http.Multi"
#define TRANSFER "xmpp.http.Transfer"

enum { MOST_HEADERS = 60 };

typedef struct multi {
  xh_multi *m;
} multi;

typedef struct transfer {
  xh_transfer *t;
  int fed; /* a reference in the registry to the string from which libcurl reads */
} transfer;

static xh_multi *check_multi(lua_State *L) {
  multi *m = luaL_checkudata(L, 1, MULTI);
  if (!m->m) luaL_error(L, "the multi is closed");
  return m->m;
}

static transfer *check_transfer(lua_State *L) {
  transfer *t = luaL_checkudata(L, 1, TRANSFER);
  if (!t->t) luaL_error(L, "the transfer is closed");
  return t;
}

static void set_metatable(lua_State *L, const char *name) {
  luaL_getmetatable(L, name);
  lua_setmetatable(L, -2);
}

/* The userdata is made before what it owns, so nothing is leaked when memory runs out in between. nil: libcurl can't
 * make one. */
static int l_multi(lua_State *L) {
  multi *m = lua_newuserdata(L, sizeof *m);
  m->m = NULL;
  set_metatable(L, MULTI);
  m->m = xh_multi_new();
  if (!m->m) lua_pushnil(L);
  return 1;
}

static int l_multi_close(lua_State *L) {
  multi *m = luaL_checkudata(L, 1, MULTI);
  xh_multi_free(m->m);
  m->m = NULL;
  return 0;
}

static int parse_events(const char *text) {
  return (strchr(text, 'r') ? XH_READ : 0) | (strchr(text, 'w') ? XH_WRITE : 0) | (strchr(text, 'e') ? XH_ERROR : 0);
}

/* act([fd, events]) -> boolean; false: the multi can't be used any more */
static int l_act(lua_State *L) {
  xh_multi *m = check_multi(L);
  int fd = (int)luaL_optinteger(L, 2, -1);
  lua_pushboolean(L, xh_act(m, fd, parse_events(luaL_optstring(L, 3, ""))));
  return 1;
}

static int l_change(lua_State *L) {
  static const char *const names[] = {"", "r", "w", "rw"};
  int fd, events;
  if (!xh_next_change(check_multi(L), &fd, &events)) return 0;
  lua_pushinteger(L, fd);
  lua_pushstring(L, names[events & 3]);
  return 2;
}

/* timeout() -> has it changed since the last call?, seconds from now (nil: none) */
static int l_timeout(lua_State *L) {
  long ms;
  lua_pushboolean(L, xh_timeout(check_multi(L), &ms));
  if (ms < 0) return 1;
  lua_pushnumber(L, (lua_Number)ms / 1000);
  return 2;
}

/* Fields of the table at index 2, which keeps the strings alive during this call. */
static const char *text_at(lua_State *L, const char *name) {
  const char *s;
  lua_getfield(L, 2, name);
  s = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  lua_pop(L, 1);
  return s;
}

static lua_Number number_at(lua_State *L, const char *name, lua_Number otherwise) {
  lua_Number n;
  lua_getfield(L, 2, name);
  n = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : otherwise;
  lua_pop(L, 1);
  return n;
}

static bool flag_at(lua_State *L, const char *name) {
  bool yes;
  lua_getfield(L, 2, name);
  yes = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return yes;
}

static void read_headers(lua_State *L, const char **list) {
  int i;
  lua_getfield(L, 2, "headers");
  for (i = 0; i < MOST_HEADERS && lua_istable(L, -1); i++) {
    lua_rawgeti(L, -1, i + 1);
    list[i] = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1);
    if (!list[i]) break;
  }
  list[i] = NULL;
  lua_pop(L, 1);
}

/* url, method, headers; size: bytes of the body, -1 if unknown, absent: no body; max: bytes of the response's body;
 * timeout, stall: seconds; ca_file, ca_dir, pin, insecure: as for a stream; http: allow http:// as well as https://;
 * proxy; dial: an address to connect to instead of asking DNS; public: only public addresses; but: and also this
 * one. */
static xh_request read_request(lua_State *L, const char **headers) {
  xh_request r = {
      .url = text_at(L, "url"),         .method = text_at(L, "method"),   .headers = headers,
      .max = (size_t)number_at(L, "max", 0),
      .timeout = (long)(number_at(L, "timeout", 0) * 1000), .stall = (long)number_at(L, "stall", 0),
      .ca_file = text_at(L, "ca_file"), .ca_dir = text_at(L, "ca_dir"),   .pin = text_at(L, "pin"),
      .insecure = flag_at(L, "insecure"), .http = flag_at(L, "http"),     .proxy = text_at(L, "proxy"),
      .dial = text_at(L, "dial"),       .is_public = flag_at(L, "public"), .but = text_at(L, "but"),
  };
  lua_getfield(L, 2, "size");
  r.has_body = !lua_isnil(L, -1);
  r.size = r.has_body ? (int64_t)lua_tonumber(L, -1) : 0;
  lua_pop(L, 1);
  return r;
}

/* begin(request) -> transfer; nil, text: why it can't begin; nil: no memory */
static int l_begin(lua_State *L) {
  xh_multi *m = check_multi(L);
  const char *headers[MOST_HEADERS + 1], *why;
  xh_request r;
  transfer *t;
  luaL_checktype(L, 2, LUA_TTABLE);
  read_headers(L, headers);
  r = read_request(L, headers);
  if (!r.url || !r.method) return luaL_error(L, "a request has a url and a method");
  t = lua_newuserdata(L, sizeof *t);
  *t = (transfer){.fed = LUA_NOREF};
  set_metatable(L, TRANSFER);
  t->t = xh_begin(m, &r, &why);
  if (t->t) return 1;
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

static int l_close(lua_State *L) {
  transfer *t = luaL_checkudata(L, 1, TRANSFER);
  xh_free(t->t);
  t->t = NULL;
  luaL_unref(L, LUA_REGISTRYINDEX, t->fed);
  t->fed = LUA_NOREF;
  return 0;
}

static int l_state(lua_State *L) {
  static const char *const names[] = {"busy", "hungry", "done"};
  lua_pushstring(L, names[xh_state_of(check_transfer(L)->t)]);
  return 1;
}

/* feed(bytes): only when it is hungry, or hasn't been fed yet. */
static int l_feed(lua_State *L) {
  transfer *t = check_transfer(L);
  size_t n;
  const char *bytes = luaL_checklstring(L, 2, &n);
  int before = t->fed;
  lua_settop(L, 2);
  t->fed = luaL_ref(L, LUA_REGISTRYINDEX);
  luaL_unref(L, LUA_REGISTRYINDEX, before);
  xh_feed(t->t, bytes, n);
  return 0;
}

/* moved() -> bytes of the request's body that libcurl has taken, bytes of the response's body that have come */
static int l_moved(lua_State *L) {
  const transfer *t = check_transfer(L);
  lua_pushinteger(L, (lua_Integer)xh_sent(t->t));
  lua_pushinteger(L, (lua_Integer)xh_received(t->t));
  return 2;
}

/* result() -> status, header lines, body; nil, condition, text, retry: there is no response */
static int l_result(lua_State *L) {
  xh_result r = xh_result_of(check_transfer(L)->t);
  if (r.condition) {
    lua_pushnil(L);
    lua_pushstring(L, r.condition);
    lua_pushstring(L, r.text);
    lua_pushboolean(L, r.retry);
    return 4;
  }
  lua_pushinteger(L, r.status);
  lua_pushlstring(L, r.heads ? r.heads : "", r.heads_n);
  lua_pushlstring(L, r.body ? r.body : "", r.body_n);
  return 3;
}

typedef struct method {
  const char *name;
  lua_CFunction f;
} method;

static const method of_multi[] = {{"begin", l_begin},     {"act", l_act},         {"change", l_change},
                                  {"timeout", l_timeout}, {"close", l_multi_close}, {NULL, NULL}};
static const method of_transfer[] = {{"state", l_state},   {"feed", l_feed},   {"moved", l_moved},
                                     {"result", l_result}, {"close", l_close}, {NULL, NULL}};

static void open_type(lua_State *L, const char *name, const method *m, lua_CFunction gc) {
  luaL_newmetatable(L, name);
  lua_pushcfunction(L, gc);
  lua_setfield(L, -2, "__gc");
  lua_newtable(L);
  for (; m->name; m++) {
    lua_pushcfunction(L, m->f);
    lua_setfield(L, -2, m->name);
  }
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "its metatable is its own");
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
}

__attribute__((visibility("default"))) int luaopen_xmpp_http(lua_State *L) {
  open_type(L, MULTI, of_multi, l_multi_close);
  open_type(L, TRANSFER, of_transfer, l_close);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_multi);
  lua_setfield(L, -2, "multi");
  return 1;
}
