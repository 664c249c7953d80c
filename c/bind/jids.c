#include "jids.h"

#include <stddef.h>
#include <string.h>

#include "fault.h"
#include "shrink.h"
#include "spelled.h"
#include "srv.h"
#include "state.h"
#include "url.h"
#include "ws.h"

const xm_jid *xb_test_jid(lua_State *L, int index) {
  return luaL_testudata(L, index, XB_JID);
}

static const char jids_key, made_key; /* registry keys: text -> the Jid of that text, weak; how many were made */

/* Pushes the Jid of the text on top of the stack, if the table at `jids` has one. */
static bool find(lua_State *L, int jids) {
  lua_pushvalue(L, -1);
  lua_rawget(L, jids);
  if (!lua_isnil(L, -1)) return true;
  lua_pop(L, 1);
  return false;
}

/* Makes a userdata with only as much of the struct as the address needs. */
static void make(lua_State *L, const xm_jid *jid) {
  size_t n = offsetof(xm_jid, str) + xm_jid_len(jid) + 1;
  memcpy(lua_newuserdatauv(L, n, 0), jid, n);
  luaL_setmetatable(L, XB_JID);
}

/* Counts the Jids that are made. After each XB_MANY of them the weak table may have grown far larger than it needs to
 * be. */
static void note_made(lua_State *L) {
  unsigned *made;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &made_key);
  made = lua_touserdata(L, -1);
  if (++*made % XB_MANY == 0) xb_push_shrinker(L), lua_pop(L, 1);
  lua_pop(L, 1);
}

/* Equal addresses are the same userdata, so that they are the same key in a table. */
void xb_push_jid(lua_State *L, const xm_jid *jid) {
  int jids = lua_gettop(L) + 1, text = jids + 1;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &jids_key);
  lua_pushlstring(L, jid->str, xm_jid_len(jid));
  if (!find(L, jids)) {
    note_made(L);
    make(L, jid); /* this may run a finalizer that makes the same Jid, or one that replaces the table */
    lua_rawgetp(L, LUA_REGISTRYINDEX, &jids_key);
    lua_replace(L, jids);
    lua_pushvalue(L, text);
    if (!find(L, jids)) {
      lua_pushvalue(L, -2);
      lua_rawset(L, jids);
      lua_pushvalue(L, text + 1);
    }
  }
  lua_replace(L, jids);
  lua_settop(L, jids);
}

static int push_or_fail(lua_State *L, const xm_jid *jid, int rc, int what, const char *reason) {
  xm_err e = {0};
  if (rc == XM_OK) return xb_push_jid(L, jid), 1;
  if (rc == XM_ENOMEM) return luaL_error(L, "not enough memory");
  xb_push_shown(L, what);
  xm_err_set(&e, XM_LAYER_STANZA, "jid-malformed", false, "'%.100s' is not a JID: %s", lua_tostring(L, -1), reason);
  return xb_fail(L, &e);
}

/* jid(s) -> Jid, or nil, err. A Jid is returned as it is. */
int xb_l_jid(lua_State *L) {
  const char *s, *reason = "";
  size_t n;
  xm_jid jid;
  int rc;
  if (xb_test_jid(L, 1)) return lua_settop(L, 1), 1;
  luaL_argexpected(L, lua_type(L, 1) == LUA_TSTRING, 1, "string or Jid");
  s = lua_tolstring(L, 1, &n);
  rc = xm_jid_parse(&jid, s, n, &reason);
  return push_or_fail(L, &jid, rc, 1, reason);
}

int xb_l_is_jid(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushboolean(L, xb_test_jid(L, 1) != NULL);
  return 1;
}

/* Pushes what is in the brackets of "[fe80::1%eth0]", a form that no JID has. false: it isn't an IPv6 address in
 * brackets. */
static bool push_bracketed(lua_State *L, const char *s, size_t n) {
  if (n < 3 || *s != '[' || s[n - 1] != ']') return false;
  lua_pushlstring(L, s + 1, n - 2);
  return xm_srv_is_ipv6(lua_tostring(L, -1));
}

/* host(s) -> what to connect to, in ASCII: an IP address, or any name that DNS or a hosts file may have; a name beyond
 * ASCII in its A-labels (IDNA 2008). nil: s can be neither. */
int xb_l_host(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n), *reason;
  char ascii[XM_SRV_NAME + 1];
  xm_jid jid;
  if (strlen(s) == n && (xm_srv_is_ipv6(s) || (xm_srv_is_host(s) && *s != '.' && !strstr(s, ".."))))
    return lua_settop(L, 1), 1;
  if (strlen(s) == n && push_bracketed(L, s, n)) return 1;
  if (xm_jid_parse(&jid, s, n, &reason) != XM_OK || xm_jid_len(&jid) != jid.domain_len ||
      xm_jid_ascii_domain(&jid, ascii, sizeof ascii) != XM_OK)
    return lua_pushnil(L), 1;
  lua_pushstring(L, ascii);
  return 1;
}

/* url(s) -> host, does it use TLS?; nil, why: it isn't a WebSocket's URL, or this build has no WebSocket. */
int xb_l_url(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n), *why;
  xm_url u;
  why = strlen(s) == n ? xm_url_read(&u, s) : "it has a zero byte";
  if (!xm_ws_is_there()) why = "this build has no WebSocket: install wslay (apt-get install libwslay-dev) and build it again";
  if (why) return lua_pushnil(L), lua_pushstring(L, why), 2;
  lua_pushstring(L, u.host);
  lua_pushboolean(L, u.secure);
  return 2;
}

/* The address at `index`, a Jid or a string, as text. */
static const char *check_address(lua_State *L, int index, size_t *n) {
  const xm_jid *jid = xb_test_jid(L, index);
  luaL_argexpected(L, jid || lua_type(L, index) == LUA_TSTRING, index, "string or Jid");
  if (!jid) return lua_tolstring(L, index, n);
  *n = xm_jid_len(jid);
  return jid->str;
}

/* folded(address) -> the address as a server that follows RFC 6122 writes it; if that isn't possible, prepared by RFC
 * 7622; if that isn't possible either, unchanged. */
int xb_l_folded(lua_State *L) {
  size_t n;
  const char *s = check_address(L, 1, &n);
  xm_jid room[2];
  xm_spelled a = xm_spelled_of(s, n, room);
  if (a.written) lua_pushlstring(L, a.written, a.written_n);
  else lua_pushlstring(L, a.s, a.n);
  return 1;
}

/* spelled(named, arrived) -> could `arrived` be the address `named`, as some server writes it? */
int xb_l_spelled(lua_State *L) {
  size_t n, arrived_n;
  const char *s = check_address(L, 1, &n), *arrived = check_address(L, 2, &arrived_n);
  xm_jid room[2];
  xm_spelled a = xm_spelled_of(s, n, room);
  lua_pushboolean(L, strlen(arrived) == arrived_n && xm_spelled_is(&a, arrived));
  return 1;
}

static const xm_jid *check(lua_State *L, int index) { return luaL_checkudata(L, index, XB_JID); }

static int l_bare(lua_State *L) {
  const xm_jid *j = check(L, 1);
  xm_jid bare;
  size_t n = xm_jid_bare_len(j);
  memcpy(&bare, j, offsetof(xm_jid, str) + n);
  bare.resource_len = 0;
  bare.str[n] = '\0';
  xb_push_jid(L, &bare);
  return 1;
}

static int l_with_resource(lua_State *L) {
  const xm_jid *j = check(L, 1);
  const char *reason = "";
  size_t n;
  const char *s;
  xm_jid jid;
  int rc;
  luaL_argexpected(L, lua_type(L, 2) == LUA_TSTRING, 2, "string");
  s = lua_tolstring(L, 2, &n);
  memcpy(&jid, j, offsetof(xm_jid, str) + xm_jid_len(j) + 1);
  if (n == 0) {
    lua_pushstring(L, j->str);
    return push_or_fail(L, NULL, XM_EINVAL, 3, "the resourcepart is empty");
  }
  rc = xm_jid_set_resource(&jid, s, n, &reason);
  return push_or_fail(L, &jid, rc, 2, reason);
}

static int push_part(lua_State *L, const char *s, size_t n) {
  if (n) {
    lua_pushlstring(L, s, n);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

static int l_index(lua_State *L) {
  const xm_jid *j = check(L, 1);
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "localpart") == 0) return push_part(L, xm_jid_local(j), j->local_len);
  if (strcmp(key, "domainpart") == 0) return push_part(L, xm_jid_domain(j), j->domain_len);
  if (strcmp(key, "resourcepart") == 0)
    return push_part(L, j->resource_len ? xm_jid_resource(j) : "", j->resource_len);
  lua_settop(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  return 1;
}

static int l_tostring(lua_State *L) {
  const xm_jid *j = check(L, 1);
  lua_pushlstring(L, j->str, xm_jid_len(j));
  return 1;
}

static int l_eq(lua_State *L) {
  const xm_jid *a = xb_test_jid(L, 1), *b = xb_test_jid(L, 2);
  lua_pushboolean(L, a && b && strcmp(a->str, b->str) == 0);
  return 1;
}

static const luaL_Reg methods[] = {{"bare", l_bare}, {"with_resource", l_with_resource}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__tostring", l_tostring}, {"__eq", l_eq}, {"__concat", xb_l_concat}, {NULL, NULL}};

void xb_open_jid(lua_State *L) {
  xb_new_weak(L, "v", &jids_key);
  *(unsigned *)lua_newuserdatauv(L, sizeof(unsigned), 0) = 0;
  lua_rawsetp(L, LUA_REGISTRYINDEX, &made_key);
  luaL_newmetatable(L, XB_JID);
  luaL_setfuncs(L, metamethods, 0);
  luaL_newlibtable(L, methods);
  luaL_setfuncs(L, methods, 0);
  lua_pushcclosure(L, l_index, 1);
  lua_setfield(L, -2, "__index");
  xb_close_metatable(L, "a Jid's metatable is its own");
  lua_pop(L, 1);
}
