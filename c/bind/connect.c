#include "connect.h"

#include <string.h>
#include <sys/stat.h>

#include "fault.h"
#include "jids.h"
#include "parts.h"
#include "save.h"
#include "stanza.h"
#include "state.h"
#include "token.h"
#include "wait.h"

static const char *string_option(lua_State *L, const char *key, size_t *n) {
  const char *s = NULL;
  lua_getfield(L, 1, key);
  if (!lua_isnil(L, -1)) s = luaL_checklstring(L, -1, n); /* kept alive by the table */
  lua_pop(L, 1);
  return s;
}

static double number_option(lua_State *L, const char *key, double otherwise) {
  double x;
  lua_getfield(L, 1, key);
  x = luaL_optnumber(L, -1, otherwise);
  lua_pop(L, 1);
  return x;
}

static bool true_option(lua_State *L, const char *key) {
  bool yes;
  lua_getfield(L, 1, key);
  yes = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return yes;
}

static size_t size_option(lua_State *L, const char *key, size_t otherwise) {
  double x = number_option(L, key, (double)otherwise);
  return x >= 4e9 ? 4000000000u : (size_t)x;
}

static unsigned ms_option(lua_State *L, const char *key, unsigned otherwise) {
  double x = number_option(L, key, otherwise / 1000.0);
  return x >= 4e6 ? 4000000000u : (unsigned)(x * 1000);
}

static void wake(void *arg) {
  xb_mark_ready(arg);
}

static xm_pipelining pipelining_option(lua_State *L) {
  const char *s = string_option(L, "pipelining", NULL);
  if (!s) return XM_PIPELINING_KNOWN;
  return strcmp(s, "eager") == 0 ? XM_PIPELINING_EAGER : XM_PIPELINING_NONE;
}

static void read_bounds(lua_State *L, xm_bounds *b) {
  b->stanza = size_option(L, "max_stanza", b->stanza);
  b->start_tag = size_option(L, "max_start_tag", b->start_tag);
  b->depth = (unsigned)size_option(L, "max_depth", b->depth);
  if (b->depth > XB_MOST_DEPTH) b->depth = XB_MOST_DEPTH;
  b->attributes = (unsigned)size_option(L, "max_attributes", b->attributes);
  b->nodes = (unsigned)size_option(L, "max_nodes", b->nodes);
  b->ns = size_option(L, "max_namespace", b->ns);
}

/* A field of the table on top of the stack. */
static const char *text_field(lua_State *L, const char *key, size_t *n) {
  const char *s;
  lua_getfield(L, -1, key);
  s = lua_isnil(L, -1) ? NULL : luaL_checklstring(L, -1, n); /* kept alive by the table */
  lua_pop(L, 1);
  return s;
}

static double number_field(lua_State *L, const char *key) {
  double x;
  lua_getfield(L, -1, key);
  x = luaL_checknumber(L, -1);
  lua_pop(L, 1);
  return x;
}

/* Reads the option `via`, which has been checked. */
static void read_proxy(lua_State *L, xm_proxy *p) {
  lua_getfield(L, 1, "via");
  if (!lua_isnil(L, -1)) {
    p->kind = strcmp(text_field(L, "kind", NULL), "http") == 0 ? XM_PROXY_HTTP : XM_PROXY_SOCKS5;
    lua_getfield(L, -1, "resolves");
    p->resolves = lua_toboolean(L, -1);
    lua_pop(L, 1);
    p->name = text_field(L, "name", NULL);
    p->host = text_field(L, "host", NULL);
    p->port = (int)number_field(L, "port");
    p->user = text_field(L, "user", NULL);
    p->password = text_field(L, "password", NULL);
  }
  lua_pop(L, 1);
}

static void read_options(lua_State *L, xm_conn_options *o, xb_conn *conn) {
  const char *tls = string_option(L, "tls", NULL);
  o->component = true_option(L, "component");
  o->password = string_option(L, "password", &o->password_len);
  o->host = string_option(L, "host", NULL);
  o->port = (int)number_option(L, "port", o->port);
  read_proxy(L, &o->proxy);
  o->url = string_option(L, "url", NULL);
  o->tls = strcmp(tls, "direct") == 0 ? XM_TLS_DIRECT : strcmp(tls, "none") == 0 ? XM_TLS_NONE : XM_TLS_STARTTLS;
  o->tls_name = string_option(L, "tls_name", NULL);
  o->pin = string_option(L, "pin", NULL);
  o->lang = string_option(L, "lang", NULL);
  o->mechanisms = string_option(L, "mechanisms", NULL);
  o->nameservers = string_option(L, "nameservers", NULL);
  o->plain = true_option(L, "plain");
  o->pinned = true_option(L, "pinned");
  o->bound = true_option(L, "bound");
  o->pipelining = pipelining_option(L);
  o->see_other_host = true_option(L, "see_other_host");
  conn->foreign_from = true_option(L, "foreign_from");
  o->sm = true_option(L, "sm");
  o->resumable = conn->resumable = true_option(L, "resumable");
  o->reconnect.any = true_option(L, "reconnect_any");
  o->reconnect.resume = true_option(L, "reconnect_resume");
  o->reconnect.min = ms_option(L, "reconnect_min", o->reconnect.min);
  o->reconnect.max = ms_option(L, "reconnect_max", o->reconnect.max);
  o->reconnect.attempts = (unsigned)size_option(L, "reconnect_attempts", 0);
  o->timeout = ms_option(L, "timeout", o->timeout);
  o->keepalive = ms_option(L, "keepalive", o->keepalive);
  o->keepalive_probe = true_option(L, "keepalive_probe");
  o->patience = ms_option(L, "ack_timeout", o->patience);
  o->max_age = ms_option(L, "max_age", o->max_age);
  o->max_queue = size_option(L, "max_queue", o->max_queue);
  read_bounds(L, &o->bounds);
  o->remember = true_option(L, "remember");
  o->sasl2 = true_option(L, "sasl2");
  o->agent = string_option(L, "agent", NULL);
  o->software = string_option(L, "software", NULL);
  o->device = string_option(L, "device", NULL);
  o->bind2 = true_option(L, "bind2");
  o->tag = string_option(L, "tag", NULL);
  o->carbons = true_option(L, "carbons");
  o->inactive = true_option(L, "inactive");
  o->fast = true_option(L, "fast");
  o->invalidate = true_option(L, "invalidate");
  o->log = conn->logs = true_option(L, "log");
  o->fed = true_option(L, "fed");
  o->logged_in = o->fed && !true_option(L, "log_in");
  o->wake = wake;
  o->wake_arg = conn;
}

/* Reads session.stanzas into an array, a userdata that is left on the stack. */
static const xm_sm_stanza *read_stanzas(lua_State *L, size_t *n) {
  const xm_loop *l = xb_state_of(L)->loop;
  xm_sm_stanza *list;
  size_t i;
  lua_getfield(L, -1, "stanzas");
  *n = lua_rawlen(L, -1);
  list = lua_newuserdatauv(L, (*n + 1) * sizeof *list, 0);
  lua_insert(L, -2);
  for (i = 0; i < *n; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    list[i] = (xm_sm_stanza){.given = xm_loop_ticks(l) - (int64_t)number_field(L, "age"), .flags = xb_saved_flags(L)};
    list[i].xml = text_field(L, "xml", &list[i].len);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return list;
}

/* Reads the option `session`, which has been checked; the values that the result points to stay on the stack. NULL:
 * there is none. */
static const xm_conn_session *read_session(lua_State *L, xm_conn_session *s) {
  lua_getfield(L, 1, "session");
  if (lua_isnil(L, -1)) return NULL;
  s->sm.id = text_field(L, "id", NULL);
  s->sm.location = text_field(L, "location", NULL);
  s->sm.max = (unsigned)number_field(L, "max");
  s->sm.in = (uint32_t)number_field(L, "h");
  s->sm.acked = (uint32_t)number_field(L, "acked");
  s->sm.written = (size_t)number_field(L, "written");
  s->stanzas = read_stanzas(L, &s->n);
  lua_getfield(L, -2, "jid");
  s->jid = xb_test_jid(L, -1);
  return s;
}

/* TLS contexts: loading the CAs takes tens of milliseconds and most of a megabyte, so connections that trust the same
 * CAs share a context. One with a private key isn't shared. */
static const char contexts_key; /* registry key of a table: what is trusted -> a userdata with the context */
enum { MOST_CONTEXTS = 8 };

static int l_context_gc(lua_State *L) {
  xm_tls_ctx **ctx = luaL_checkudata(L, 1, XB_CONTEXT);
  if (*ctx) xm_tls_ctx_forget(*ctx);
  xm_tls_ctx_release(*ctx);
  *ctx = NULL;
  return 0;
}

void xb_forget_sessions(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &contexts_key);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) xm_tls_ctx_forget(*(xm_tls_ctx **)lua_touserdata(L, -1));
  lua_pop(L, 1);
}

void xb_open_connect(lua_State *L) {
  luaL_newmetatable(L, XB_CONTEXT);
  lua_pushcfunction(L, l_context_gc);
  lua_setfield(L, -2, "__gc");
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &contexts_key);
  lua_pop(L, 1);
}

/* Pushes a file's name, and the data by which a changed file is noticed. */
static void push_version(lua_State *L, const char *path) {
  struct stat st = {0};
  if (path && stat(path, &st) == 0) {
    lua_pushfstring(L, "%s:%f:%f:%f\n", path, (lua_Number)st.st_ino, (lua_Number)st.st_mtime, (lua_Number)st.st_size);
  } else {
    lua_pushfstring(L, "%s\n", path ? path : "");
  }
}

/* Pushes the table of contexts, and a string that says what is trusted, its key. */
static void push_trust(lua_State *L, const xm_tls_options *o) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &contexts_key);
  push_version(L, o->ca_file);
  push_version(L, o->ca_dir);
  lua_pushstring(L, o->insecure ? "insecure" : "");
  lua_concat(L, 3);
}

/* l_keep(contexts, trust, ctx): enters the context in the table. The reference to it is taken last, when nothing can
 * fail any more. */
static int l_keep(lua_State *L) {
  xm_tls_ctx **kept = lua_newuserdatauv(L, sizeof *kept, 0);
  int n = 0;
  *kept = NULL;
  luaL_setmetatable(L, XB_CONTEXT);
  for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) n++;
  if (n >= MOST_CONTEXTS) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &contexts_key);
    lua_replace(L, 1);
  }
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 4);
  lua_rawset(L, 1);
  *kept = lua_touserdata(L, 3);
  xm_tls_ctx_hold(*kept);
  return 0;
}

/* Keeps the context for later connections; when there is no memory, it isn't kept. */
static void keep_context(lua_State *L, xm_tls_ctx *ctx) {
  lua_pushcfunction(L, l_keep);
  lua_pushvalue(L, -3);
  lua_pushvalue(L, -3);
  lua_pushlightuserdata(L, ctx);
  if (lua_pcall(L, 3, 0, 0) != LUA_OK) lua_pop(L, 1);
}

static xm_tls_ctx *shared_context(lua_State *L, const xm_tls_options *o, xm_err *e) {
  xm_tls_ctx *ctx, **kept;
  push_trust(L, o);
  lua_pushvalue(L, -1);
  lua_rawget(L, -3);
  kept = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (kept) {
    ctx = *kept;
    xm_tls_ctx_hold(ctx);
  } else {
    ctx = xm_tls_ctx_new(o, e);
    if (ctx) keep_context(L, ctx);
  }
  lua_pop(L, 2);
  return ctx;
}

static xm_tls_ctx *make_tls(lua_State *L, xm_err *e) {
  xm_tls_options o = {.ca_file = string_option(L, "ca_file", NULL),
                      .ca_dir = string_option(L, "ca_dir", NULL),
                      .cert = string_option(L, "cert", NULL),
                      .key = string_option(L, "key", NULL),
                      .insecure = true_option(L, "insecure")};
  return o.cert || o.key ? xm_tls_ctx_new(&o, e) : shared_context(L, &o, e);
}

/* Makes the userdata as that of a closed connection, which is valid at any time; open_conn opens it. */
static xb_conn *new_conn(lua_State *L) {
  xb_conn *conn = lua_newuserdatauv(L, sizeof *conn, 1);
  int part;
  *conn = (xb_conn){.kind = &xb_conn_kind, .st = xb_state_of(L), .ended = true};
  conn->due_end = &conn->due;
  luaL_setmetatable(L, XB_CONN);
  lua_createtable(L, XB_ADDS, 0);
  for (part = XB_CALLBACKS; part <= XB_RECEIPTS; part++) {
    lua_newtable(L);
    lua_rawseti(L, -2, part);
  }
  lua_getfield(L, 1, "log");
  lua_rawseti(L, -2, XB_LOG);
  lua_getfield(L, 1, "password"); /* kept until it is bound, in case it has to log in once more */
  lua_rawseti(L, -2, XB_PASSWORD);
  lua_getfield(L, 1, "about");
  if (lua_isnil(L, -1)) lua_pop(L, 1), lua_newtable(L);
  lua_rawseti(L, -2, XB_ABOUT);
  lua_setiuservalue(L, -2, 1);
  xb_register_conn(L, conn, -1);
  xb_put_sentinel(L, conn->st);
  return conn;
}

static int open_conn(lua_State *L, xb_conn *conn, xm_err *e) {
  xm_conn_options o = xm_conn_defaults();
  xm_conn_session session = {.n = 0};
  xm_token token;
  const xm_conn_session *old;
  const xm_jid *jid;
  int top = lua_gettop(L);
  read_options(L, &o, conn);
  lua_getfield(L, 1, "jid");
  jid = xb_test_jid(L, -1);
  lua_pop(L, 1);
  o.jid = jid;
  conn->max_queue = o.max_queue;
  conn->patience = o.patience;
  old = read_session(L, &session);
  if (o.tls != XM_TLS_NONE) {
    o.tls_ctx = make_tls(L, e);
    if (!o.tls_ctx) return XM_EFAIL;
  }
  conn->callbacks = xm_filters_new();
  conn->taps = xm_filters_new();
  if (xb_read_token(L, &token)) o.token = &token;
  if (conn->callbacks && conn->taps) conn->c = xm_conn_new(conn->st->loop, &o, old, e);
  else xm_err_nomem(e);
  xm_wipe(&token, sizeof token);
  xm_tls_ctx_release(o.tls_ctx);
  lua_settop(L, top);
  if (!conn->c) {
    xm_filters_free(conn->callbacks);
    xm_filters_free(conn->taps);
    return XM_EFAIL;
  }
  conn->loop = conn->st->loop;
  xm_loop_hold(conn->loop);
  if (o.component) {
    conn->next_component = conn->st->components;
    conn->st->components = conn;
  }
  conn->ended = false;
  conn->st->conns++;
  return XM_OK;
}

/* connect(options, box) -> conn, or nil, err. The options have been checked. When the connection is bound, or has
 * failed, the box is filled: with the connection, or with nil and an error. */
int xb_l_connect(lua_State *L) {
  xm_err e = {0};
  xb_conn *conn;
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  conn = new_conn(L);
  if (open_conn(L, conn, &e) < 0) return xb_fail(L, &e);
  conn->is_fed = xm_conn_state_of(conn->c) == XM_CONN_READY;
  if (!conn->is_fed && !xb_wait(L, conn->st, conn, XB_BOUND, 2, -1)) return luaL_error(L, "not enough memory");
  xm_loop_sync(conn->st->loop);
  xb_begun(L);
  return 1;
}
