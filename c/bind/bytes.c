#include "bytes.h"

#include "b64.h"
#include "digest.h"
#include "fault.h"

/* hash(name, data) -> the hash, as bytes. Raises for an unknown name. */
int xb_l_hash(lua_State *L) {
  const char *name = luaL_checkstring(L, 1), *data;
  unsigned char hash[XM_DIGEST_MOST];
  size_t n;
  int i, len;
  data = luaL_checklstring(L, 2, &n);
  for (i = 0; xm_digest_name(i) && !xb_is_named(L, 1, xm_digest_name(i));) i++;
  if (!xm_digest_name(i)) {
    xb_push_shown(L, 1);
    luaL_argerror(L, 1, lua_pushfstring(L, "there is no hash '%s'; there are 'sha-1', 'sha-256', 'sha-512', 'sha3-256' and "
                                           "'blake2b-256'", lua_tostring(L, -1)));
  }
  len = xm_digest(i, data, n, hash);
  if (len < 0) return luaL_error(L, "OpenSSL on this system has no %s", name);
  lua_pushlstring(L, (const char *)hash, (size_t)len);
  return 1;
}

static int push(lua_State *L) {
  const xm_buf *b = lua_touserdata(L, 1);
  lua_pushlstring(L, xm_buf_len(b) ? xm_buf_at(b) : "", xm_buf_len(b));
  return 1;
}

/* Pushes what `turn` makes of the string at index 1; nil if `turn` refuses it. */
static int convert(lua_State *L, int (*turn)(xm_buf *, const char *, size_t)) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  xm_buf b = XM_BUF_INIT;
  int rc, status = LUA_OK;
  lua_pushcfunction(L, push);
  lua_pushlightuserdata(L, &b);
  rc = turn(&b, s, n);
  if (rc == XM_OK) status = lua_pcall(L, 1, 1, 0);
  else lua_pushnil(L);
  xm_buf_free(&b);
  if (rc == XM_ENOMEM) return luaL_error(L, "not enough memory");
  return status == LUA_OK ? 1 : lua_error(L);
}

static int encode(xm_buf *to, const char *bytes, size_t n) {
  return xm_b64_encode(to, bytes, n);
}

/* base64(data) -> text (RFC 4648 4) */
int xb_l_base64(lua_State *L) {
  return convert(L, encode);
}

/* unbase64(text) -> data; nil: it isn't base64, or not written as RFC 4648 4 requires */
int xb_l_unbase64(lua_State *L) {
  return convert(L, xm_b64_decode);
}
