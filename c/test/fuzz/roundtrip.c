/* libFuzzer: any table as a stanza: well made, odd, or not a stanza at all. If it is accepted, the XML that is written
 * reads back as the table's canonical form, which is computed here from the table alone; if it is refused, nothing is
 * left behind. check_stanza agrees; no Lua error is raised and no metamethod is called. */
#include <math.h>

#include "stanza.h"
#include "canonical.h"
#include "fuzz.h"
#include "ns.h"
#include "xml.h"

#define HEADER "<stream:stream xmlns='" XM_NS_CLIENT "' xmlns:stream='" XM_NS_STREAM "'>"

static struct {
  input in;
  int tables; /* how many tables may still be made */
  int shared; /* how many tables may still be put in a second place */
} budget;

/* Any table */

static void push_string(lua_State *L) {
  size_t n;
  const char *s = take_bytes(&budget.in, take(&budget.in) % 32, &n);
  lua_pushlstring(L, s, n);
}

static void push_name(lua_State *L, bool is_stanza) {
  static const char *const names[] = {"message", "presence",          "iq",    "body",
                                      "x",       "\xC3\xA9t\xC3\xA9", "xmlns", "a-b.c_d"};
  uint8_t which = take(&budget.in);
  if (which % 16 < 8) {
    lua_pushstring(L, names[is_stanza ? which % 3 : which % 8]);
  } else {
    push_string(L);
  }
}

static void push_number(lua_State *L) {
  double x = 0;
  int64_t i = 0;
  size_t n;
  const char *s = take_bytes(&budget.in, 8, &n);
  memcpy(&x, s, n);
  memcpy(&i, s, n);
  if (i & 1) {
    lua_pushinteger(L, i / 2);
  } else {
    lua_pushnumber(L, x);
  }
}

/* Mostly values that may be text. */
static void push_scalar(lua_State *L) {
  switch (take(&budget.in) % 16) {
    case 0: lua_pushboolean(L, take(&budget.in) & 1); break;
    case 1: lua_pushlightuserdata(L, L); break;
    case 2:
    case 3: push_number(L); break;
    case 4: lua_pushliteral(L, ""); break;
    case 5: lua_pushliteral(L, " \t\r\n<&>'\"]]>\xE2\x82\xAC"); break;
    default: push_string(L); break;
  }
}

static void push_key(lua_State *L) {
  static const char *const keys[] = {"to",
                                     "from",
                                     "id",
                                     "type",
                                     "xmlns",
                                     "xml:lang",
                                     "{urn:x}a",
                                     "{" XM_NS_XML "}base",
                                     "{" XM_NS_XML "}lang",
                                     "{http://www.w3.org/2000/xmlns/}a",
                                     "{urn:x}xmlns"};
  uint8_t which = take(&budget.in) % 32;
  if (which < sizeof keys / sizeof *keys) {
    lua_pushstring(L, keys[which]);
  } else if (which == 31) {
    push_number(L);
  } else {
    push_string(L);
  }
}

static void push_value(lua_State *L) {
  static const char *const values[] = {XM_NS_CLIENT, XM_NS_STREAM, XM_NS_XML, "urn:x", ""};
  uint8_t which = take(&budget.in) % 16;
  if (which < sizeof values / sizeof *values) {
    lua_pushstring(L, values[which]);
  } else {
    push_scalar(L);
  }
}

static void push_attributes(lua_State *L) {
  int n = take(&budget.in) % 6;
  lua_newtable(L);
  while (n-- > 0) {
    push_key(L);
    push_value(L);
    if (lua_type(L, -2) == LUA_TNUMBER && isnan(lua_tonumber(L, -2))) {
      lua_pop(L, 2);
    } else {
      lua_rawset(L, -3);
    }
  }
}

static int l_never(lua_State *L) {
  (void)L;
  abort();
}

/* Gives the table on top of the stack a metatable whose metamethods must not be called. */
static void set_metatable(lua_State *L) {
  static const char *const names[] = {"__index", "__newindex", "__len", "__pairs", "__tostring", "__eq"};
  size_t i;
  lua_newtable(L);
  for (i = 0; i < sizeof names / sizeof *names; i++) {
    lua_pushcfunction(L, l_never);
    lua_setfield(L, -2, names[i]);
  }
  lua_setmetatable(L, -2);
}

static void push_element(lua_State *L, bool is_stanza);

/* Pushes a child for the parent at `at`. */
static void push_child(lua_State *L, int at) {
  uint8_t what = take(&budget.in) % 16;
  if (what < 7 && budget.tables > 0) return push_element(L, false);
  if (what == 7 && budget.shared-- > 0) return lua_pushvalue(L, at);                   /* a cycle */
  if (what == 8 && budget.shared-- > 0 && lua_rawgeti(L, at, 3) == LUA_TTABLE) return; /* a sibling a second time */
  if (what == 9) return lua_pushnil(L);
  push_scalar(L);
}

/* Adds something that isn't allowed in an element, or that hides where its children are. */
static void spoil(lua_State *L, int at, uint8_t how) {
  if (how & 32) set_metatable(L);
  if (how & 64) lua_pushboolean(L, 1), lua_rawseti(L, at, take(&budget.in));
  if (!(how & 128)) return;
  push_key(L);
  push_scalar(L);
  if (lua_type(L, -2) == LUA_TNUMBER && isnan(lua_tonumber(L, -2))) {
    lua_pop(L, 2);
  } else {
    lua_rawset(L, at);
  }
}

static void push_element(lua_State *L, bool is_stanza) {
  int at = lua_gettop(L) + 1, i, n;
  uint8_t how = take(&budget.in);
  lua_Integer first = 2;
  budget.tables--;
  MUST(lua_checkstack(L, 10));
  lua_createtable(L, how & 1 ? 4 : 0, 0);
  if (how & 2) push_attributes(L), lua_rawseti(L, at, first++);
  n = how >> 2 & 7;
  if (n == 7) n = take(&budget.in) % 64;
  for (i = 0; i < n && budget.in.n; i++) {
    push_child(L, at);
    lua_rawseti(L, at, how & 1 ? first + i : first + n - 1 - i);
  }
  push_name(L, is_stanza);
  lua_rawseti(L, at, 1);
  spoil(L, at, take(&budget.in) % 8 == 7 ? how : how & 32);
  lua_settop(L, at);
}

/* Nested elements. */
static void push_deep(lua_State *L, int depth) {
  MUST(lua_checkstack(L, 10));
  lua_pushliteral(L, "message");
  while (depth-- > 0) {
    lua_createtable(L, 2, 0);
    lua_insert(L, -2);
    if (lua_type(L, -1) == LUA_TSTRING) {
      lua_rawseti(L, -2, 1);
    } else {
      lua_rawseti(L, -2, 2);
      lua_pushliteral(L, "message");
      lua_rawseti(L, -2, 1);
    }
  }
}

/* The canonical form of a table that was accepted */

/* A number as text: digits that read back as the same number, and as the same kind of number. */
static void push_text_of(lua_State *L, int index) {
  char s[64];
  double x;
  int digits = 13;
  index = lua_absindex(L, index);
  if (lua_type(L, index) == LUA_TSTRING) return lua_pushvalue(L, index);
  MUST(lua_type(L, index) == LUA_TNUMBER);
  x = lua_tonumber(L, index);
  if (lua_isinteger(L, index)) {
    lua_pushfstring(L, "%I", lua_tointeger(L, index));
    return;
  }
  do snprintf(s, sizeof s, "%.*g", ++digits, x);
  while (strtod(s, NULL) != x);
  lua_pushfstring(L, "%s%s", s, strpbrk(s, ".e") ? "" : ".0");
}

/* Copies the attributes at `from` to the table at `to`. Returns the element's namespace; the string stays in one of the
 * two. */
static const char *copy_attributes(lua_State *L, int from, int to, const char *ns) {
  const char *own = ns;
  for (lua_pushnil(L); lua_next(L, from); lua_pop(L, 1)) {
    bool is_xmlns = strcmp(lua_tostring(L, -2), "xmlns") == 0;
    lua_pushvalue(L, -2);
    push_text_of(L, -2);
    if (is_xmlns && strcmp(lua_tostring(L, -1), ns) == 0) {
      lua_pop(L, 2);
      continue;
    }
    if (is_xmlns) own = lua_tostring(L, -1);
    lua_rawset(L, to);
  }
  return own;
}

static void push_canonical(lua_State *L, int from, const char *ns);

/* Makes the text or element on top of the stack the last child of the one at `to`. */
static void append(lua_State *L, int to) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, to);
  if (lua_type(L, -1) == LUA_TSTRING && lua_rawlen(L, -1) == 0) return lua_pop(L, 1);
  if (n > 2 && lua_type(L, -1) == LUA_TSTRING) {
    if (lua_rawgeti(L, to, n) == LUA_TSTRING) {
      lua_insert(L, -2);
      lua_concat(L, 2);
      return lua_rawseti(L, to, n);
    }
    lua_pop(L, 1);
  }
  lua_rawseti(L, to, n + 1);
}

static void push_canonical(lua_State *L, int from, const char *ns) {
  int to = lua_gettop(L) + 1, child;
  lua_Integer i = 2;
  MUST(lua_checkstack(L, 12));
  lua_newtable(L);
  lua_rawgeti(L, from, 1);
  lua_rawseti(L, to, 1);
  lua_newtable(L);
  if (lua_rawgeti(L, from, 2) == LUA_TTABLE && lua_rawgeti(L, -1, 1) == LUA_TNIL) {
    ns = copy_attributes(L, to + 2, to + 1, ns);
    i = 3;
  }
  lua_settop(L, to + 1);
  lua_rawseti(L, to, 2);
  for (; lua_rawgeti(L, from, i) != LUA_TNIL; i++) {
    child = lua_gettop(L);
    if (lua_type(L, child) == LUA_TTABLE) {
      push_canonical(L, child, ns);
    } else {
      push_text_of(L, child);
    }
    append(L, to);
    lua_settop(L, to);
  }
  lua_settop(L, to);
}

/* Checks */

static void feed(xm_xml *x, const char *s, size_t n) {
  size_t room;
  char *to = xm_xml_space(x, &room);
  MUST(to && n <= room);
  memcpy(to, s, n);
  xm_xml_fill(x, n);
}

/* Parses the bytes and pushes the stanza. Some are parsed as before the end of a login, some as after it. */
static void read_back(lua_State *L, const char *s, size_t n) {
  static const xm_bounds limits = {1 << 24, 1 << 24, DEEPEST, 10000, 1 << 24, 1 << 24};
  xm_xml *x = xm_xml_new(XM_NS_CLIENT, &limits);
  int event = XM_XML_MORE;
  MUST(x);
  feed(x, HEADER, sizeof HEADER - 1);
  MUST(xm_xml_next(x, NULL) == XM_XML_OPEN && xm_xml_next(x, NULL) == XM_XML_MORE);
  if (n % 2) xm_xml_set_bounds(x, &limits, XM_XML_SKIP);
  while (event == XM_XML_MORE && n > 0) {
    size_t piece = n < 4096 ? n : 4096;
    feed(x, s, piece);
    s += piece;
    n -= piece;
    event = xm_xml_next(x, NULL);
    if (event == XM_XML_MORE) event = xm_xml_drained(x, NULL);
  }
  MUST(event == XM_XML_STANZA && n == 0 && xm_xml_unread(x) == 0);
  xb_push_stanza(L, xm_xml_tape(x));
  xm_xml_free(x);
}

static bool is_field(lua_State *L, int at, const char *key, const char *value) {
  bool same;
  lua_rawgeti(L, at, 2);
  lua_getfield(L, -1, key);
  same = lua_isnil(L, -1) ? !value : value && strcmp(lua_tostring(L, -1), value) == 0;
  lua_pop(L, 2);
  return same;
}

/* The core is at index 1, the table at 2. */
static void check_taken(lua_State *L, const xm_buf *out, const xb_address *a) {
  push_canonical(L, 2, XM_NS_CLIENT);
  if (is_field(L, 3, "id", NULL)) {
    lua_rawgeti(L, 3, 2);
    lua_pushliteral(L, "new");
    lua_setfield(L, -2, "id");
    lua_settop(L, 3);
  }
  read_back(L, xm_buf_at(out) + 4, xm_buf_len(out) - 4);
  check_element(L, XM_NS_CLIENT, 1);
  MUST(is_equal(L, 3, 4));
  MUST(is_field(L, 4, "id", a->id) && is_field(L, 4, "to", a->to) && is_field(L, 4, "from", a->from));
  MUST(is_field(L, 4, "type", a->type) && (!a->id || strlen(a->id) == a->id_len));
}

static bool is_stanza(lua_State *L) {
  bool yes;
  lua_getfield(L, 1, "check_stanza");
  lua_pushvalue(L, 2);
  MUST(lua_pcall(L, 1, LUA_MULTRET, 0) == LUA_OK);
  yes = lua_toboolean(L, 3);
  MUST(lua_gettop(L) == (yes ? 3 : 4) && (yes || lua_rawlen(L, 4) > 0));
  lua_settop(L, 2);
  return yes;
}

static int l_write(lua_State *L) {
  xb_address a = {0};
  xb_writing w = {.ns = XM_NS_CLIENT, .new_id = "new", .address = &a};
  xm_buf out = XM_BUF_INIT;
  int rc;
  MUST(xm_buf_puts(&out, "kept") == XM_OK);
  rc = xb_write(L, 2, &out, &w);
  MUST(lua_gettop(L) == 2 && (rc == XM_OK) == is_stanza(L));
  if (rc == XM_OK) {
    MUST(is_utf8(xm_buf_at(&out), xm_buf_len(&out)));
    check_taken(L, &out, &a);
  } else {
    MUST(rc == XM_EINVAL && *w.reason && xm_buf_len(&out) == 4 && memcmp(xm_buf_at(&out), "kept", 4) == 0);
  }
  xm_buf_free(&out);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  static lua_State *L;
  if (!L) L = open_lua();
  budget.in = (input){bytes, n};
  budget.tables = 100;
  budget.shared = 4;
  lua_pushcfunction(L, l_write);
  lua_pushvalue(L, 1);
  if (n == 1) {
    push_deep(L, *bytes);
  } else {
    push_element(L, true);
  }
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) fprintf(stderr, "%s\n", lua_tostring(L, -1)), abort();
  lua_gc(L, LUA_GCCOLLECT);
  return 0;
}
