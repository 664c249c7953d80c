/* libFuzzer: any bytes as what follows the header of a bound stream, through a whole connection to Lua. The stanzas
 * must be canonical x-expressions, the same however the bytes are cut and the stanzas are taken, and must survive being
 * written and read; what the connection sends must be XML. */
#include "canonical.h"
#include "fuzz.h"
#include "ns.h"

static const char *const namespaces[] = {"jabber:client", "jabber:component:accept"};

/* run(component, handled, next_piece) -> stanzas, state, sent */
static const char driver[] =
    "local core = ...\n"
    "local jids = { [false] = core.jid 'me@xmpp.example/here', [true] = core.jid 'xmpp.example' }\n"
    "local function take(c, got)\n"
    "  repeat core.step(0) until core.timeout() ~= 0\n"
    "  for s in core.conn.receive, c do got[#got + 1] = s end\n"
    "end\n"
    "return function(component, handled, next_piece)\n"
    "  local c = core.connect({ jid = jids[component], component = component, password = '', tls = 'none', fed = "
    "true,\n"
    "    max_depth = 128 }, {})\n"
    "  local got, sent = {}, ''\n"
    "  if handled then core.conn.set_handler(c, function(s) got[#got + 1] = s end) end\n"
    "  for piece in next_piece do\n"
    "    core.conn.feed(c, piece)\n"
    "    take(c, got)\n"
    "    if core.conn.state(c) == 'closed' then break end\n"
    "  end\n"
    "  sent = core.conn.sent(c)\n"
    "  local state = core.conn.state(c)\n"
    "  core.conn.stop_handler(c)\n"
    "  core.conn.close(c, 0)\n"
    "  if handled then core.step(0) end\n"
    "  return got, state, sent\n"
    "end\n";

static struct {
  const char *s;
  size_t n, most;
  uint32_t seed;
} pieces;

static int l_next_piece(lua_State *L) {
  size_t n = pieces.most < pieces.n ? 1 + chance(&pieces.seed, (uint32_t)pieces.most) : pieces.n;
  if (pieces.n == 0) return 0;
  lua_pushlstring(L, pieces.s, n);
  pieces.s += n;
  pieces.n -= n;
  return 1;
}

/* A Lua state with the core at index 1, run at 2, and on_error's function at 3. */
static lua_State *open_once(void) {
  static lua_State *L;
  if (L) return L;
  L = open_lua();
  MUST(luaL_loadbuffer(L, driver, sizeof driver - 1, "=driver") == LUA_OK);
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  return L;
}

static int run(lua_State *L, bool component, bool handled) {
  int top = lua_gettop(L);
  lua_pushvalue(L, 2);
  lua_pushboolean(L, component);
  lua_pushboolean(L, handled);
  lua_pushcfunction(L, l_next_piece);
  if (lua_pcall(L, 3, 3, 0) != LUA_OK) fprintf(stderr, "%s\n", lua_tostring(L, -1)), abort();
  return top + 1;
}

static void call(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  lua_insert(L, -2);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) fprintf(stderr, "%s\n", lua_tostring(L, -1)), abort();
}

/* Does the element on top of the stack, or one inside of it, have the namespace of "xml:"? Prefixes aren't written, and
 * the namespace can't be written in another way: such an element can be received, but not sent (refusals_spec). */
static bool has_xml_ns(lua_State *L) {
  int at = lua_gettop(L);
  lua_Integer i;
  bool has;
  MUST(lua_checkstack(L, 8));
  lua_rawgeti(L, at, 2);
  has = lua_getfield(L, -1, "xmlns") == LUA_TSTRING && strcmp(lua_tostring(L, -1), XM_NS_XML) == 0;
  for (i = 3; !has && lua_rawgeti(L, at, i) != LUA_TNIL; i++) has = lua_istable(L, -1) && has_xml_ns(L);
  lua_settop(L, at);
  return has;
}

/* Checks that the stanza on top of the stack, which is left there, can be written. */
static void check_writing(lua_State *L) {
  if (has_xml_ns(L)) return;
  lua_pushvalue(L, -1);
  call(L, "to_xml");
  call(L, "from_xml");
  MUST(is_equal(L, -1, -2));
  lua_pop(L, 1);
}

static void check_stanzas(lua_State *L, int list, const char *ns, bool writes) {
  lua_Integer i;
  for (i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
    check_element(L, ns, 1);
    if (writes) check_writing(L);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* Compares the strings that were sent. If there are two faults close together, the cutting decides which one the stream
 * error names. */
static bool is_same_talk(lua_State *L, int a, int b) {
  const char *s = lua_tostring(L, a), *t = lua_tostring(L, b);
  const char *s_end = strstr(s, "<stream:error>"), *t_end = strstr(t, "<stream:error>");
  if (!s_end || !t_end) return strcmp(s, t) == 0;
  return s_end - s == t_end - t && memcmp(s, t, (size_t)(s_end - s)) == 0;
}

/* The seeds are whole streams: skips their header. */
static void skip_header(const uint8_t **bytes, size_t *n) {
  static const char ns[] = "'http://etherx.jabber.org/streams'";
  const uint8_t *at = *n && **bytes == '<' ? memmem(*bytes, *n, ns, sizeof ns - 1) : NULL, *end = *bytes + *n;
  if (at) at = memchr(at, '>', (size_t)(end - at));
  if (at) *bytes = at + 1, *n = (size_t)(end - at) - 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  lua_State *L = open_once();
  uint32_t seed = hash_of(bytes, n);
  bool component = seed % 4 == 0;
  int whole, cut;
  skip_header(&bytes, &n);
  pieces.s = (const char *)bytes, pieces.n = pieces.most = n, pieces.seed = seed;
  whole = run(L, component, seed & 16);
  pieces.s = (const char *)bytes, pieces.n = n, pieces.most = 1 + seed / 32 % 256;
  cut = run(L, component, seed & 16);
  check_stanzas(L, whole, namespaces[component], !component && seed & 64);
  MUST(is_equal(L, whole, cut) && is_equal(L, whole + 1, cut + 1) && is_same_talk(L, whole + 2, cut + 2));
  lua_settop(L, 2);
  lua_gc(L, LUA_GCCOLLECT);
  return 0;
}
