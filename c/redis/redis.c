/* redis: what lua/xmpp/redis.lua asks a Redis server for: a module of its own, since not everybody has hiredis. It knows neither
 * the core nor the binding, and calls no function of Lua's. Rank 2: knows reply, wire (and of secure what wire shows).
 *
 *   c = redis.open { host =, port =, path =, tls =, name =, ca_file =, ca_dir =, cert =, key =, max = }   nil: no memory
 *   fd, events, serial = c:want()   watch fd for that ("r", "w", "rw"; "": nothing), and call c:act() when it has come; serial
 *                              is another for each descriptor
 *   state = c:act([sends])     "opening", "open"; nil, condition, text, retry: it is over. sends: nothing is read
 *   c:send(word...)            a command; it leaves with the next act. false: no memory
 *   there, value, err = c:next()   the next reply; again and again until there is none. err: it is Redis's error.
 *                              nil, condition, text, retry: what has come is no reply
 *   c:unsent()                 bytes
 *   c:close()
 *
 * Values: texts are strings, numbers integers, nil is false, arrays are tables, and an error in one is { err = text }.
 */
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "reply.h"
#include "wire.h"

#define CONN "xmpp.redis.Conn"

enum {
  CHUNK = 16 * 1024,
  MOST_AT_ONCE = 4, /* chunks that are read in one act: then what has come is looked at */
};

typedef struct conn {
  xr_wire *wire;
  xr_reader *reader;
} conn;

static conn *check_conn(lua_State *L) {
  conn *c = luaL_checkudata(L, 1, CONN);
  if (!c->wire) luaL_error(L, "the connection is closed");
  return c;
}

static int l_close(lua_State *L) {
  conn *c = luaL_checkudata(L, 1, CONN);
  xr_wire_free(c->wire);
  xr_reader_free(c->reader);
  *c = (conn){0};
  return 0;
}

/* Fields of the table at index 1, which keeps them for as long as this call is. */
static const char *text_at(lua_State *L, const char *name) {
  const char *s;
  lua_getfield(L, 1, name);
  s = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  lua_pop(L, 1);
  return s;
}

static lua_Number number_at(lua_State *L, const char *name) {
  lua_Number n;
  lua_getfield(L, 1, name);
  n = lua_tonumber(L, -1);
  lua_pop(L, 1);
  return n;
}

static bool flag_at(lua_State *L, const char *name) {
  bool yes;
  lua_getfield(L, 1, name);
  yes = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return yes;
}

static xr_target read_target(lua_State *L) {
  xr_target t = {.host = text_at(L, "host"), .path = text_at(L, "path"), .port = (int)number_at(L, "port"), .tls = flag_at(L, "tls")};
  t.trust = (xr_trust){.name = text_at(L, "name"), .ca_file = text_at(L, "ca_file"), .ca_dir = text_at(L, "ca_dir"),
                       .cert = text_at(L, "cert"), .key = text_at(L, "key")};
  return t;
}

static int l_open(lua_State *L) {
  xr_target t;
  conn *c;
  luaL_checktype(L, 1, LUA_TTABLE);
  t = read_target(L);
  if (!t.host && !t.path) return luaL_error(L, "a host or a path is needed");
  c = lua_newuserdata(L, sizeof *c);
  *c = (conn){0};
  luaL_getmetatable(L, CONN);
  lua_setmetatable(L, -2);
  c->reader = xr_reader_new((size_t)number_at(L, "max"));
  c->wire = c->reader ? xr_wire_new(&t) : NULL;
  if (!c->wire) lua_pushnil(L);
  return 1;
}

static int l_want(lua_State *L) {
  static const char *const names[] = {"", "r", "w", "rw"};
  int events, serial;
  lua_pushinteger(L, xr_wire_want(check_conn(L)->wire, &events, &serial));
  lua_pushstring(L, names[events]);
  lua_pushinteger(L, serial);
  return 3;
}

static int push_fault(lua_State *L, const char *condition, const char *text, bool retry) {
  lua_pushnil(L);
  lua_pushstring(L, condition);
  lua_pushstring(L, text);
  lua_pushboolean(L, retry);
  return 4;
}

/* What TLS has read already must be taken, however much it is. */
static void receive(conn *c) {
  char chunk[CHUNK];
  size_t n, i = 0;
  while ((i++ < MOST_AT_ONCE || xr_wire_has_more(c->wire)) && (n = xr_wire_read(c->wire, chunk, sizeof chunk)) > 0)
    xr_reader_feed(c->reader, chunk, n);
}

static int l_act(lua_State *L) {
  conn *c = check_conn(L);
  const xr_fault *f = xr_wire_fault(c->wire);
  xr_state state = xr_wire_act(c->wire);
  if (state == XR_OPEN && !lua_toboolean(L, 2)) receive(c);
  if (state == XR_OPEN && xr_wire_unsent(c->wire)) xr_wire_act(c->wire); /* TLS may have waited for what was read */
  if (f->condition) return push_fault(L, f->condition, f->text, f->retry);
  lua_pushstring(L, state == XR_OPEN ? "open" : "opening");
  return 1;
}

static bool put_header(conn *c, char mark, size_t n) {
  char line[32];
  int len = snprintf(line, sizeof line, "%c%zu\r\n", mark, n);
  return xr_wire_put(c->wire, line, (size_t)len);
}

/* For want of memory in the middle the connection is no good any more: who is told false closes it. */
static int l_send(lua_State *L) {
  conn *c = check_conn(L);
  int i, last = lua_gettop(L);
  bool ok;
  for (i = 2; i <= last; i++) luaL_checkstring(L, i);
  ok = put_header(c, '*', (size_t)(last - 1));
  for (i = 2; ok && i <= last; i++) {
    size_t n;
    const char *word = lua_tolstring(L, i, &n);
    ok = put_header(c, '$', n) && xr_wire_put(c->wire, word, n) && xr_wire_put(c->wire, "\r\n", 2);
  }
  lua_pushboolean(L, ok);
  return 1;
}

/* Pushes the value of the item, and goes behind it. */
static void push_item(lua_State *L, const xr_reader *r, const xr_item *items, size_t *at) {
  const xr_item *item = &items[(*at)++];
  long long i;
  luaL_checkstack(L, 4, "a reply");
  switch (item->kind) {
  case XR_INTEGER: lua_pushinteger(L, (lua_Integer)item->number); break;
  case XR_NIL: lua_pushboolean(L, false); break;
  case XR_STRING:
  case XR_STATUS: lua_pushlstring(L, xr_reader_bytes(r) + item->at, (size_t)item->number); break;
  case XR_ERROR:
    lua_createtable(L, 0, 1);
    lua_pushlstring(L, xr_reader_bytes(r) + item->at, (size_t)item->number);
    lua_setfield(L, -2, "err");
    break;
  case XR_ARRAY:
    lua_createtable(L, (int)item->number, 0);
    for (i = 1; i <= item->number; i++) {
      push_item(L, r, items, at);
      lua_rawseti(L, -2, (int)i);
    }
  }
}

static int no_reply(lua_State *L, const conn *c) {
  const char *text, *condition = xr_reader_fault(c->reader, &text);
  if (condition) return push_fault(L, condition, text, true);
  lua_pushboolean(L, false);
  return 1;
}

/* For want of memory it raises, and the reply is still there. */
static int l_next(lua_State *L) {
  conn *c = check_conn(L);
  const xr_item *items;
  size_t n, at = 0;
  if (!xr_reader_has(c->reader)) return no_reply(L, c);
  items = xr_reader_items(c->reader, &n);
  lua_pushboolean(L, true);
  if (items[0].kind == XR_ERROR) {
    lua_pushnil(L);
    lua_pushlstring(L, xr_reader_bytes(c->reader), (size_t)items[0].number);
  } else {
    push_item(L, c->reader, items, &at);
    lua_pushnil(L);
  }
  xr_reader_drop(c->reader);
  return 3;
}

static int l_unsent(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)xr_wire_unsent(check_conn(L)->wire));
  return 1;
}

static const struct {
  const char *name;
  lua_CFunction f;
} methods[] = {{"want", l_want}, {"act", l_act}, {"send", l_send}, {"next", l_next}, {"unsent", l_unsent}, {"close", l_close}};

__attribute__((visibility("default"))) int luaopen_xmpp_redis(lua_State *L) {
  size_t i;
  luaL_newmetatable(L, CONN);
  lua_pushcfunction(L, l_close);
  lua_setfield(L, -2, "__gc");
  lua_newtable(L);
  for (i = 0; i < sizeof methods / sizeof *methods; i++) {
    lua_pushcfunction(L, methods[i].f);
    lua_setfield(L, -2, methods[i].name);
  }
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "its metatable is its own");
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_open);
  lua_setfield(L, -2, "open");
  return 1;
}
