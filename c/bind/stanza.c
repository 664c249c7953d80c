#include "stanza.h"

#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "fault.h"
#include "jids.h"
#include "ns.h"
#include "state.h"
#include "xml.h"

enum {
  USUAL = 64 * 1024,
  LARGE = 4096, /* records of a tape, from which on the stanza is a large one */
};

/* From a tape to a table */

/* Pushes an element's namespace. A long one lies on the tape only once, and is made one Lua string only once: those
 * that were made are in the table at `known`, by their offset on the tape (nil as long as there is none). Short strings
 * are interned by Lua itself. */
static void push_ns(lua_State *L, const xm_tape *t, const xm_tape_rec *r, int known) {
  if (r->text_len <= XM_TAPE_SHORT_NS) {
    lua_pushlstring(L, xm_tape_str(t, r->text), r->text_len);
    return;
  }
  if (lua_isnil(L, known)) {
    lua_newtable(L);
    lua_replace(L, known);
  }
  if (lua_rawgeti(L, known, (lua_Integer)r->text) != LUA_TNIL) return;
  lua_pop(L, 1);
  lua_pushlstring(L, xm_tape_str(t, r->text), r->text_len);
  lua_pushvalue(L, -1);
  lua_rawseti(L, known, (lua_Integer)r->text);
}

/* Pushes the table of attributes. The string "xmlns" lies at index `xmlns`; behind it is push_ns's table. */
static void push_attributes(lua_State *L, const xm_tape *t, uint32_t i, int xmlns) {
  const xm_tape_rec *r = &t->recs[i], *a = r + 1, *end = a + r->attrs;
  lua_createtable(L, 0, (int)(r->attrs + r->new_ns));
  if (r->new_ns) {
    lua_pushvalue(L, xmlns);
    push_ns(L, t, r, xmlns + 1);
    lua_rawset(L, -3);
  }
  for (; a < end; a++) {
    lua_pushlstring(L, xm_tape_str(t, a->name), a->name_len);
    lua_pushlstring(L, xm_tape_str(t, a->text), a->text_len);
    lua_rawset(L, -3);
  }
}

static void push_open(lua_State *L, const xm_tape *t, uint32_t i, int xmlns) {
  const xm_tape_rec *r = &t->recs[i];
  lua_createtable(L, (int)xm_tape_children(t, i) + 2, 0);
  lua_pushlstring(L, xm_tape_str(t, r->name), r->name_len);
  lua_rawseti(L, -2, 1);
  push_attributes(L, t, i, xmlns);
  lua_rawseti(L, -2, 2);
}

static void push_table(lua_State *L, const xm_tape *t) {
  int xmlns = lua_gettop(L) + 1, depth = 0;
  uint32_t i;
  lua_pushliteral(L, "xmlns");
  lua_pushnil(L);
  for (i = 0; i < t->n; i++) {
    const xm_tape_rec *r = &t->recs[i];
    switch ((xm_tape_kind)r->kind) {
      case XM_TAPE_OPEN:
        if (depth++ % 8 == 0) luaL_checkstack(L, 8 + 8, "a deep stanza");
        push_open(L, t, i, xmlns);
        break;
      case XM_TAPE_ATTR: break; /* done by push_open */
      case XM_TAPE_TEXT:
        lua_pushlstring(L, xm_tape_str(t, r->text), r->text_len);
        lua_rawseti(L, -2, r->slot + 2);
        break;
      case XM_TAPE_CLOSE:
        depth--;
        if (r->next != 0) lua_rawseti(L, -2, r->slot + 2);
        break;
    }
  }
  lua_replace(L, xmlns);
  lua_settop(L, xmlns);
}

static int l_push_table(lua_State *L) {
  push_table(L, lua_touserdata(L, 1));
  return 1;
}

/* While a large table is made nothing becomes garbage, and a running collector would traverse again and again what
 * there is already, which would take a third of the time. So it is stopped; if memory runs out, Lua collects all the
 * same. */
void xb_push_stanza(lua_State *L, const xm_tape *t) {
  if (t->n < LARGE) {
    push_table(L, t);
    return;
  }
  luaL_checkstack(L, 2, "a large stanza");
  lua_pushcfunction(L, l_push_table);
  lua_pushlightuserdata(L, (void *)t);
  if (xb_undisturbed(L, 1) != LUA_OK) lua_error(L);
}

/* From a table to XML. Nothing here may raise a Lua error: the buffer would be left with half a stanza. */

/* For the functions that every element goes through. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef struct writer {
  lua_State *L;
  xm_out out;
  xb_writing *w;
  unsigned depth;
  unsigned most_depth;
  lua_Integer path[XB_MOST_DEPTH + 1]; /* child indexes from the root down to the current element */
} writer;

/* Stand for a key in an error's path: the element's name is wrong; a key of the attributes isn't a name. */
static const char own_name[] = "[1]", own_attributes[] = "[2]";

/* Writes the reason, like "stanza[3][2].to: string expected, got nil". `key`: an attribute's name, own_name,
 * own_attributes, or NULL for the whole element. */
static int refuse(writer *k, const char *key, const char *why) {
  size_t cap = sizeof k->w->reason, n = (size_t)snprintf(k->w->reason, cap, "stanza");
  unsigned i;
  for (i = 1; i < k->depth && n < cap - 200; i++)
    n += (size_t)snprintf(k->w->reason + n, cap - n, "[%lld]", (long long)k->path[i]);
  if (i < k->depth) n += (size_t)snprintf(k->w->reason + n, cap - n, "...");
  if (key == own_name || key == own_attributes) {
    n += (size_t)snprintf(k->w->reason + n, cap - n, "%s", key);
  } else if (key) {
    n += (size_t)snprintf(k->w->reason + n, cap - n, "[2].%.60s", key);
  }
  snprintf(k->w->reason + n, cap - n, ": %s", why);
  xm_err_mend(k->w->reason); /* it may quote keys, which may be any string */
  return XM_EINVAL;
}

/* The element's name, a string, is on top of the stack. */
static int refuse_name(writer *k) {
  char why[160], shown[61];
  size_t i, n;
  const char *name = lua_tolstring(k->L, -1, &n);
  if (n >= sizeof shown) n = sizeof shown - 1;
  for (i = 0; i < n; i++) shown[i] = (char)(name[i] ? name[i] : '?');
  snprintf(why, sizeof why, "a stanza is a message, a presence or an iq, not '%.*s'", (int)n, shown);
  return refuse(k, NULL, why);
}

static int refuse_type(writer *k, const char *key, const char *wanted, int index) {
  char why[96];
  snprintf(why, sizeof why, "%s expected, got %s", wanted, luaL_typename(k->L, index));
  return refuse(k, key, why);
}

static int came_to(writer *k, const char *key, int rc) { return rc == XM_EINVAL ? refuse(k, key, k->out.fault) : rc; }

/* printf writes the locale's decimal point, which may be more than one byte; XML needs a dot. */
static void put_dot(char *text, size_t *n) {
  const char *point = localeconv()->decimal_point;
  size_t wide = strlen(point);
  char *at = wide ? strstr(text, point) : NULL;
  if (!at) return;
  *at = '.';
  memmove(at + 1, at + wide, strlen(at + wide) + 1);
  *n -= wide - 1;
}

/* A number as text that reads back as the same number. NULL: it can't be written (inf, nan). */
static const char *number(lua_State *L, int index, char *room, size_t cap, size_t *n) {
  lua_Number x = lua_tonumber(L, index);
  int digits;
  if (lua_isinteger(L, index)) {
    *n = (size_t)snprintf(room, cap, "%lld", (long long)lua_tointeger(L, index));
    return room;
  }
  if (isnan(x) || isinf(x)) return NULL;
  for (digits = 14; digits <= 17; digits++) {
    *n = (size_t)snprintf(room, cap, "%.*g", digits, x);
    if (strtod(room, NULL) == x) break; /* which uses the same locale */
  }
  put_dot(room, n);
  if (!strpbrk(room, ".eE")) *n += (size_t)snprintf(room + *n, cap - *n, ".0");
  return room;
}

/* number_text(v) -> the number v as it is written into a stanza, nil when it can't be. */
int xb_l_number_text(lua_State *L) {
  char room[40];
  size_t n;
  const char *s;
  luaL_checktype(L, 1, LUA_TNUMBER);
  s = number(L, 1, room, sizeof room, &n);
  if (s) lua_pushlstring(L, s, n);
  else lua_pushnil(L);
  return 1;
}

/* A number or a Jid as text. NULL: the value is neither. */
static const char *other_text(lua_State *L, int index, char *room, size_t cap, size_t *n) {
  const xm_jid *jid;
  if (lua_type(L, index) == LUA_TNUMBER) return number(L, index, room, cap, n);
  jid = xb_test_jid(L, index);
  if (jid) *n = xm_jid_len(jid);
  return jid ? jid->str : NULL;
}

/* A string, number or Jid as text. NULL: the value is none of these. */
static inline const char *to_text(lua_State *L, int index, char *room, size_t cap, size_t *n) {
  return lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, n) : other_text(L, index, room, cap, n);
}

/* Keeps a stanza's attribute in the address, if it is one of the four. A value that lies in `room` (it was a number) is
 * copied; `room` is NULL if it can't. */
static void note(xb_address *a, const char *key, size_t key_len, const char *value, size_t n, const char *room) {
  enum { TYPE, ID, TO, FROM, NONE } which = NONE;
  const char **const at[] = {&a->type, &a->id, &a->to, &a->from};
  size_t *const len[] = {NULL, &a->id_len, &a->to_len, &a->from_len};
  if (key_len == 2 && key[0] == 'i' && key[1] == 'd') which = ID;
  else if (key_len == 2 && key[0] == 't' && key[1] == 'o') which = TO;
  else if (key_len == 4 && memcmp(key, "type", 4) == 0) which = TYPE;
  else if (key_len == 4 && memcmp(key, "from", 4) == 0) which = FROM;
  if (which == NONE) return;
  *at[which] = room && value == room ? memcpy(a->room[which], room, n + 1) : value;
  if (len[which]) *len[which] = n;
}

static int write_xmlns(writer *k, const char *value, size_t n) {
  if (k->depth > 1 || !k->w->ns) return came_to(k, "xmlns", xm_out_attr(&k->out, "xmlns", 5, value, n));
  if (strcmp(value, k->w->ns) == 0 && strlen(value) == n) return XM_OK; /* the stream's header declares it already */
  return refuse(k, "xmlns", "a stanza has the stream's own namespace: leave xmlns out");
}

/* For names beyond ASCII expat decides which characters they may have. */
static int check_wide(writer *k, const char *key, const char *name, size_t n) {
  const char *brace = name[0] == '{' ? xm_memrchr(name, '}', n) : NULL;
  const char *local = brace ? brace + 1 : name;
  int rc = xm_xml_check_name(local, n - (size_t)(local - name));
  k->out.wide = false;
  return rc == XM_EINVAL ? refuse(k, key, "not an XML name") : rc;
}

/* The result of writing something with that name. */
static inline int named(writer *k, const char *key, const char *name, size_t n, int rc) {
  if (rc < 0) return came_to(k, key, rc);
  return k->out.wide ? check_wide(k, key, name, n) : XM_OK;
}

/* The key is at -2, the value at -1. */
static int write_attribute(writer *k, xb_address *a) {
  lua_State *L = k->L;
  char room[40];
  size_t key_len, n;
  const char *key = lua_tolstring(L, -2, &key_len), *value = to_text(L, -1, room, sizeof room, &n);
  int rc;
  if (!value) return refuse_type(k, key, lua_type(L, -1) == LUA_TNUMBER ? "a finite number" : "string", -1);
  if (key_len == 5 && memcmp(key, "xmlns", 5) == 0) return write_xmlns(k, value, n);
  rc = named(k, key, key, key_len, xm_out_attr(&k->out, key, key_len, value, n));
  if (rc == XM_OK && a) note(a, key, key_len, value, n, room);
  return rc;
}

static bool is_type(const xb_address *a, const char *one, const char *other) {
  return a->type && (strcmp(a->type, one) == 0 || strcmp(a->type, other) == 0);
}

/* The id to add to a stanza that has none: an iq of type get or set is given one (RFC 6120 8.1.3), but a result or
 * error can only have its request's. NULL: none is added. */
static const char *missing_id(writer *k, const xb_address *a) {
  bool asks;
  if (a->id || !k->w->ns) return NULL;
  asks = is_type(a, "get", "set");
  if (strcmp(a->name, "iq") != 0 || (asks && k->w->new_id)) return k->w->new_id;
  return asks && k->w->ids && xm_rnd_supplied_id(k->w->ids, k->w->id) == XM_OK ? k->w->id : NULL;
}

/* Adds the attributes that a stanza must have on the wire, and its table need not have. */
static int add_missing(writer *k, xb_address *a) {
  const char *id = missing_id(k, a), *from = a->from ? NULL : k->w->new_from;
  int rc = id ? xm_out_attr(&k->out, "id", 2, id, strlen(id)) : XM_OK;
  if (rc == XM_OK && from) rc = came_to(k, "from", xm_out_attr(&k->out, "from", 4, from, strlen(from)));
  if (id) note(a, "id", 2, id, strlen(id), NULL);
  if (from) note(a, "from", 4, from, strlen(from), NULL);
  return rc;
}

/* An element that is being written. */
typedef struct element {
  const char *name; /* kept alive by the element's table */
  size_t n;
  xb_address *address; /* for the stanza itself: filled in; otherwise NULL */
  bool complete;       /* all of its attributes are written */
} element;

static inline int complete(writer *k, element *e) {
  if (e->complete) return XM_OK;
  e->complete = true;
  return e->address ? add_missing(k, e->address) : XM_OK;
}

/* Is there a [1] in the table on top of the stack? */
static bool is_element(lua_State *L) {
  bool yes = lua_rawgeti(L, -1, 1) != LUA_TNIL;
  lua_pop(L, 1);
  return yes;
}

/* A key in slot 2's table isn't a string. Returns 1 if that table is an element (the first child), and takes back what
 * has been written of it. The key is at -2, the table at `at`. */
static int refuse_attribute(writer *k, element *e, int at, size_t mark) {
  lua_State *L = k->L;
  int rc;
  lua_pushvalue(L, at);
  rc = is_element(L) ? 1 : refuse_type(k, own_attributes, "string as an attribute's name", -3);
  lua_settop(L, at);
  xm_buf_rollback(k->out.buf, mark);
  if (e->address) {
    xb_clear_address(e->address);
    e->address->name = e->name;
  }
  return rc;
}

/* The table at `at`, the top of the stack, is in slot 2. XM_OK: it was the attributes, which are written; 1: it is the
 * first child. */
static __attribute__((noinline)) int write_attributes(writer *k, element *e, int at) {
  lua_State *L = k->L;
  size_t mark = xm_buf_mark(k->out.buf);
  int rc = XM_OK;
  lua_pushnil(L);
  while (rc == XM_OK && lua_next(L, at)) {
    if (lua_type(L, -2) != LUA_TSTRING) return refuse_attribute(k, e, at, mark);
    rc = write_attribute(k, e->address);
    lua_pop(L, 1);
  }
  if (rc == XM_OK) return complete(k, e);
  lua_settop(L, at);
  return rc;
}

static int write_element(writer *k, int at);

/* Writes the text on top of the stack, which stays there. */
static int write_text(writer *k) {
  char room[40];
  size_t n;
  const char *text = to_text(k->L, -1, room, sizeof room, &n);
  if (text) return came_to(k, NULL, xm_out_text(&k->out, text, n));
  return refuse_type(k, NULL, lua_type(k->L, -1) == LUA_TNUMBER ? "a finite number" : "element or text", -1);
}

/* Writes the child in slot `i`, which is at `at`, the top of the stack, and stays there. */
static inline int write_child(writer *k, lua_Integer i, int at) {
  int rc;
  k->path[k->depth++] = i;
  rc = lua_type(k->L, -1) == LUA_TTABLE ? write_element(k, at) : write_text(k);
  k->depth--;
  return rc;
}

static bool is_stanza(const char *name, size_t n) {
  static const char *const names[] = {"message", "presence", "iq"};
  int i;
  for (i = 0; i < 3; i++)
    if (strlen(names[i]) == n && memcmp(name, names[i], n) == 0) return true;
  return false;
}

/* The value in slot 1 is on top of the stack. */
ALWAYS_INLINE int open_element(writer *k, element *e) {
  if (lua_type(k->L, -1) != LUA_TSTRING) return refuse_type(k, own_name, "string", -1);
  e->name = lua_tolstring(k->L, -1, &e->n);
  if (e->address) e->address->name = e->name;
  if (k->depth == 1 && k->w->ns && !is_stanza(e->name, e->n)) return refuse_name(k);
  return named(k, own_name, e->name, e->n, xm_out_open(&k->out, e->name, e->n));
}

/* Writes the value in slot `i`, which is at `at`, the top of the stack, and stays there. Slots must come in their
 * order. */
ALWAYS_INLINE int write_slot(writer *k, element *e, lua_Integer i, int at) {
  int rc = 1;
  if (i == 1) return open_element(k, e);
  if (i == 2 && lua_type(k->L, -1) == LUA_TTABLE) rc = write_attributes(k, e, at);
  if (rc <= XM_OK) return rc;
  rc = complete(k, e);
  return rc == XM_OK ? write_child(k, i, at) : rc;
}

/* The key at -2 isn't an index from 1 to `n`. */
static int refuse_key(writer *k, lua_Integer n) {
  lua_State *L = k->L;
  char why[96];
  if (lua_type(L, -2) == LUA_TSTRING) {
    snprintf(why, sizeof why, "stray key '%.40s' (attributes go into slot 2)", lua_tostring(L, -2));
  } else if (lua_isinteger(L, -2) && lua_tointeger(L, -2) > n) {
    snprintf(why, sizeof why, "a hole in the list of children, before index %lld", (long long)lua_tointeger(L, -2));
  } else {
    snprintf(why, sizeof why, "stray key, a %s that is no place in a list", luaL_typename(L, -2));
  }
  return refuse(k, NULL, why);
}

/* Checks that the table has no keys but 1..n (write_child refuses a hole between these). */
static int check_keys(writer *k, int at, lua_Integer n) {
  lua_State *L = k->L;
  int rc = XM_OK;
  lua_pushnil(L);
  while (rc == XM_OK && lua_next(L, at)) {
    if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1 || lua_tointeger(L, -2) > n) rc = refuse_key(k, n);
    lua_pop(L, 1);
  }
  if (rc < 0) lua_pop(L, 1);
  return rc;
}

static int write_at(writer *k, element *e, int at, lua_Integer i) {
  int rc;
  lua_rawgeti(k->L, at, i);
  rc = write_slot(k, e, i, at + 1);
  lua_pop(k->L, 1);
  return rc;
}

/* Writes the slots from `i` on of a table whose keys lua_next doesn't return in order. */
static int write_unordered(writer *k, element *e, int at, lua_Integer i) {
  lua_Integer n = (lua_Integer)lua_rawlen(k->L, at);
  int rc = XM_OK;
  if (i == 1) rc = write_at(k, e, at, i++);
  if (rc == XM_OK && i == 2 && n >= 2) rc = write_at(k, e, at, i++);
  if (rc == XM_OK) rc = check_keys(k, at, n);
  for (; i <= n && rc == XM_OK; i++) rc = write_at(k, e, at, i);
  return rc;
}

/* Is the key of the pair on top of the stack, the `i`th that lua_next has returned, the number i? */
static inline bool is_in_place(lua_State *L, lua_Integer i) {
  return lua_isinteger(L, -2) && lua_tointeger(L, -2) == i;
}

/* If lua_next returns the keys 1, 2, 3 and so on to its end, as for most tables, there are no other keys to look
 * for. */
static inline int write_slots(writer *k, element *e, int at) {
  lua_State *L = k->L;
  lua_Integer i = 1;
  int rc = XM_OK;
  bool in_place = true;
  lua_pushnil(L);
  while (rc == XM_OK && lua_next(L, at) && (in_place = is_in_place(L, i))) {
    rc = write_slot(k, e, i++, at + 2);
    lua_pop(L, 1);
  }
  if (rc == XM_OK && in_place && i > 1) return XM_OK;
  lua_settop(L, at);
  if (rc == XM_OK) rc = write_unordered(k, e, at, i);
  lua_settop(L, at);
  return rc;
}

/* Space on Lua's stack is reserved for STEP levels at a time: each takes two places, and the deepest a few more. */
enum { STEP = 4, STEP_STACK = 2 * STEP + 8 };

static int refuse_depth(writer *k) {
  char why[96];
  snprintf(why, sizeof why, "elements deeper than %u (or a table that contains itself)", k->most_depth);
  return refuse(k, NULL, why);
}

/* Writes the element whose table is at `at`, the top of the stack. */
static int write_element(writer *k, int at) {
  element e = {.address = k->depth == 1 ? k->w->address : NULL};
  int rc;
  if (k->depth > k->most_depth) return refuse_depth(k);
  if (k->depth % STEP == 0 && !lua_checkstack(k->L, STEP_STACK)) return XM_ENOMEM;
  rc = write_slots(k, &e, at);
  if (rc == XM_OK) rc = complete(k, &e);
  return rc == XM_OK ? came_to(k, NULL, xm_out_close(&k->out, e.name, e.n)) : rc;
}

/* RFC 6120 8.2.3: an iq has one of four types, and an id. Requests have been given one by now. */
static int check_iq(writer *k) {
  const xb_address *a = k->w->address;
  char why[160];
  if (!a->type) return refuse(k, "type", "an iq needs a type: get, set, result or error");
  if (is_type(a, "get", "set")) {
    if (a->id || !k->w->ids) return XM_OK;
    return refuse(k, "id", "the system has no random bytes to make one of");
  }
  if (!is_type(a, "result", "error")) {
    snprintf(why, sizeof why, "an iq's type is get, set, result or error, not '%.60s'", a->type);
    return refuse(k, "type", why);
  }
  if (a->id) return XM_OK;
  snprintf(why, sizeof why, "an iq of type %s needs the id of the iq that it answers", a->type);
  return refuse(k, "id", why);
}

static const xm_bounds defaults = XM_BOUNDS_DEFAULT;

static int write_root(lua_State *L, int index, xm_buf *out, xb_writing *w) {
  int rc, top = lua_gettop(L);
  writer k;
  k.L = L; /* `path` isn't cleared: it is filled as far as it is used */
  k.w = w;
  k.depth = 1;
  k.most_depth = w->bounds ? w->bounds->depth : defaults.depth;
  k.out = xm_out_begin_within(out, w->bounds);
  if (!lua_checkstack(L, XB_WRITE_STACK(STEP_STACK, k.most_depth))) return XM_ENOMEM;
  if (lua_type(L, index) != LUA_TTABLE) return refuse_type(&k, NULL, "table", index);
  lua_pushvalue(L, index);
  rc = write_element(&k, lua_gettop(L));
  if (rc == XM_OK && w->ns && w->address->name[0] == 'i') rc = check_iq(&k);
  lua_settop(L, top);
  if (rc < 0) xm_out_abandon(&k.out);
  return rc;
}

int xb_write(lua_State *L, int index, xm_buf *out, xb_writing *w) {
  xb_address none;
  int rc;
  if (w->address) return write_root(L, index, out, w);
  xb_clear_address(&none);
  w->address = &none;
  rc = write_root(L, index, out, w);
  w->address = NULL;
  return rc;
}

/* Replaces the value at `index` by the text that is written for it; nil: there is none. */
static void spell(lua_State *L, int index) {
  char room[40];
  size_t n;
  const char *s = to_text(L, index, room, sizeof room, &n);
  if (lua_type(L, index) == LUA_TSTRING) return;
  if (s) lua_pushlstring(L, s, n);
  else lua_pushnil(L);
  lua_replace(L, index);
}

/* Pushes the attributes with these names, of the table of attributes at `at`, as strings; nil for one that isn't there
 * or can't be text. All keys are compared, since creating a key's string could run a finalizer, which might change the
 * table; creating the texts could as well, so that is done last. */
static void push_raw(lua_State *L, int at, const char *const *names, int n) {
  int i, first = lua_gettop(L) + 1;
  for (i = 0; i < n; i++) lua_pushnil(L);
  if (!lua_istable(L, at)) return;
  for (lua_pushnil(L); lua_next(L, at); lua_settop(L, first + n)) {
    if (lua_type(L, -2) != LUA_TSTRING) continue;
    for (i = 0; i < n; i++)
      if (strcmp(lua_tostring(L, first + n), names[i]) == 0) lua_pushvalue(L, first + n + 1), lua_replace(L, first + i);
  }
  for (i = 0; i < n; i++) spell(L, first + i);
}

/* The attribute, if it is a string, of the table of attributes below its name, which is popped; otherwise NULL. */
static const char *raw_value(lua_State *L) {
  const char *s;
  lua_rawget(L, -2);
  s = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  lua_pop(L, 1);
  return s;
}

void xb_push_attribute(lua_State *L, int index, const char *name) {
  int top = lua_gettop(L);
  char room[40];
  size_t n;
  const char *s;
  lua_pushstring(L, name);
  if (lua_rawgeti(L, index, 2) != LUA_TTABLE || is_element(L)) {
    lua_settop(L, top);
    return lua_pushnil(L);
  }
  lua_pushvalue(L, -2);
  lua_rawget(L, -2);
  s = to_text(L, -1, room, sizeof room, &n);
  if (!s) lua_pushnil(L); /* xb_write will refuse it, and say why */
  else if (s == room) lua_pushlstring(L, s, n);
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
}

size_t xb_read_children(lua_State *L, int index, const char *own, const char **namespaces, size_t most) {
  int top = lua_gettop(L);
  size_t n = 0;
  lua_Integer i;
  index = lua_absindex(L, index);
  luaL_checkstack(L, 5, "a stanza");
  lua_pushliteral(L, "xmlns"); /* pushed first, as it may run finalizers; nothing below does */
  for (i = 3; lua_rawgeti(L, index, i) != LUA_TNIL; i++, lua_settop(L, top + 1)) {
    const char *ns = NULL;
    if (!lua_istable(L, -1) || n++ >= most) continue;
    if (lua_rawgeti(L, -1, 2) == LUA_TTABLE) lua_pushvalue(L, top + 1), ns = raw_value(L);
    namespaces[n - 1] = ns ? ns : own; /* a child without xmlns in a received stanza has its parent's */
  }
  lua_settop(L, top);
  return n;
}

void xb_push_address(lua_State *L, int index, xb_address *a) {
  static const char *const names[] = {"type", "id", "to", "from"};
  const char **const fields[] = {&a->type, &a->id, &a->to, &a->from};
  int i, top;
  index = lua_absindex(L, index);
  xb_clear_address(a);
  luaL_checkstack(L, 16, "a stanza");
  top = lua_gettop(L);
  lua_rawgeti(L, index, 1);
  a->name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  lua_rawgeti(L, index, 2);
  push_raw(L, top + 2, names, 4);
  lua_remove(L, top + 2);
  for (i = 0; i < 4; i++) *fields[i] = lua_tostring(L, top + 2 + i);
}

/* Empties the scratch buffer; a large one is freed. */
static void leave_scratch(xb_state *st) {
  if (st->scratch.cap > USUAL) xm_buf_free(&st->scratch);
  else xm_buf_clear(&st->scratch);
}

/* check_stanza(t) -> true, or false and what is wrong: for lua/xmpp/contract.lua */
int xb_l_check_stanza(lua_State *L) {
  xb_state *st = xb_state_of(L);
  xb_writing w;
  int rc;
  lua_settop(L, 1);
  xb_begin_writing(&w, XM_NS_CLIENT, NULL);
  w.bounds = &defaults;
  rc = xb_write(L, 1, &st->scratch, &w);
  leave_scratch(st);
  if (rc == XM_ENOMEM) return luaL_error(L, "not enough memory");
  lua_pushboolean(L, rc == XM_OK);
  if (rc == XM_OK) return 1;
  lua_pushstring(L, w.reason);
  return 2;
}

#if LUA_VERSION_NUM == 501

static int push_text(lua_State *L) {
  const xm_buf *text = lua_touserdata(L, 1);
  lua_pushlstring(L, xm_buf_at(text), xm_buf_len(text));
  return 1;
}

/* Lua 5.1 may run the collector before it copies the text: a finalizer that writes then uses another scratch buffer.
 * push_text is on top of the stack. */
static void push_scratch(lua_State *L, xb_state *st) {
  xm_buf text = st->scratch;
  int status;
  st->scratch = XM_BUF_INIT;
  lua_pushlightuserdata(L, &text);
  status = lua_pcall(L, 1, 1, 0);
  xm_buf_free(&st->scratch);
  st->scratch = text;
  if (status != LUA_OK) lua_error(L);
}

#define before_writing(L) lua_pushcfunction(L, push_text)
#else

static void push_scratch(lua_State *L, xb_state *st) {
  lua_pushlstring(L, xm_buf_at(&st->scratch), xm_buf_len(&st->scratch));
}

#define before_writing(L) ((void)(L))
#endif

/* to_xml(x) -> text. Raises for a table that isn't an element. */
int xb_l_to_xml(lua_State *L) {
  xb_state *st = xb_state_of(L);
  xb_writing w;
  int rc;
  luaL_argexpected(L, lua_type(L, 1) == LUA_TTABLE, 1, "element");
  before_writing(L);
  xb_begin_writing(&w, NULL, NULL);
  xm_buf_clear(&st->scratch); /* it is not empty if there was no memory for the last string */
  rc = xb_write(L, 1, &st->scratch, &w);
  if (rc == XM_OK) push_scratch(L, st);
  leave_scratch(st);
  if (rc == XM_ENOMEM) return luaL_error(L, "not enough memory");
  return rc == XM_OK ? 1 : luaL_error(L, "bad argument #1 to 'to_xml' (%s)", w.reason);
}

/* Parses the text, which is to be one element, as the first stanza of a stream. XM_XML_CLOSE: there is more behind
 * it. */
static int parse(xm_xml *x, const char *s, size_t n, xm_err *e) {
  int ev = XM_XML_MORE, stanzas = 0;
  while (ev >= 0 && (n > 0 || ev != XM_XML_MORE)) {
    if (ev == XM_XML_MORE) {
      size_t room;
      char *to = xm_xml_space(x, &room);
      if (!to) return xm_err_nomem(e);
      if (room > n) room = n;
      memcpy(to, s, room);
      xm_xml_fill(x, room);
      s += room;
      n -= room;
    }
    ev = xm_xml_next(x, e);
    if (ev == XM_XML_MORE && n == 0) ev = xm_xml_drained(x, e);
    if (ev == XM_XML_STANZA && ++stanzas > 0) return xm_xml_unread(x) == 0 && n == 0 ? ev : XM_XML_CLOSE;
    if (ev == XM_XML_CLOSE) return ev;
  }
  return ev;
}

/* The stream's header, `before` bytes, was put in front of the text here: turns an error about the stream into one
 * about the element. */
static xm_err of_the_element(const xm_err *e, size_t before) {
  static const char prefix[] = "the stream was refused: ", place[] = " (byte ", option[] = " (the option ";
  xm_err told = *e;
  const char *reason = e->text + sizeof prefix - 1, *at = strstr(reason, place);
  if (e->layer != XM_LAYER_STREAM || strncmp(e->text, prefix, sizeof prefix - 1) != 0) return told;
  told.layer = XM_LAYER_STANZA;
  if (at) {
    snprintf(told.text, sizeof told.text, "%.*s%s%zu)", (int)(at - reason), reason, place,
             (size_t)strtoull(at + sizeof place - 1, NULL, 10) - before);
  } else {
    const char *end = strstr(reason, option);
    snprintf(told.text, sizeof told.text, "%.*s", (int)(end ? (size_t)(end - reason) : strlen(reason)), reason);
  }
  return told;
}

static int fail_parse(lua_State *L, const xm_err *e, size_t before, const char *otherwise) {
  xm_err told = of_the_element(e, before);
  xm_err_mend(told.text);
  xm_err_set(&told, XM_LAYER_STANZA, "not-well-formed", false, "%s", otherwise); /* xm_err_set keeps an error that is
                                                                                    set already */
  return xb_fail(L, &told);
}

static int build(lua_State *L) {
  xb_push_stanza(L, lua_touserdata(L, 1));
  return 1;
}

/* Parses the text at index 1, with elements up to `depth`. */
static int from_xml(lua_State *L, unsigned depth) {
  static const char head[] = "<stream:stream xmlns='" XM_NS_CLIENT "' xmlns:stream='" XM_NS_STREAM "'>";
  size_t n;
  const char *s = (luaL_checktype(L, 1, LUA_TSTRING), lua_tolstring(L, 1, &n));
  unsigned most = n < UINT_MAX - 8 ? (unsigned)n + 8 : UINT_MAX; /* the text is the program's own, so nothing else is
                                                                    bounded */
  const xm_bounds bounds = {
      .stanza = 8 * n + 256, .start_tag = n + 256, .depth = depth, .attributes = most, .nodes = most, .ns = n + 256};
  xm_xml *x;
  xm_err e = {0};
  int ev, status = LUA_OK;
  lua_pushcfunction(L, build); /* first, as it may raise: 5.1 makes a closure */
  x = xm_xml_new(XM_NS_CLIENT, &bounds);
  while (n > 0 && strchr(" \t\r\n", s[n - 1]) && s[n - 1]) n--;
  if (!x) return luaL_error(L, "not enough memory");
  ev = parse(x, head, sizeof head - 1, &e);
  if (ev >= 0) ev = parse(x, s, n, &e);
  if (ev == XM_XML_STANZA) {
    lua_pushlightuserdata(L, (void *)xm_xml_tape(x));
    status = lua_pcall(L, 1, 1, 0); /* protected, so that the parser is freed if memory runs out */
  }
  xm_xml_free(x);
  if (status != LUA_OK) return lua_error(L);
  if (ev == XM_XML_STANZA) return 1;
  return fail_parse(L, &e, sizeof head - 1, ev == XM_XML_CLOSE ? "more than one element" : "the element is not complete");
}

/* from_xml(s) -> x, or nil, err. */
int xb_l_from_xml(lua_State *L) {
  return from_xml(L, defaults.depth);
}

int xb_l_from_log(lua_State *L) {
  return from_xml(L, XB_MOST_DEPTH);
}
