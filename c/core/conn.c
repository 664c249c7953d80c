#include "conn.h"

#include <stdlib.h>
#include <string.h>

#include "conn_own.h"
#include "ns.h"

xm_conn_options xm_conn_defaults(void) {
  return (xm_conn_options){.port = 5222,
                           .plain = true,
                           .pipelining = XM_PIPELINING_KNOWN,
                           .sm = true,
                           .resumable = true,
                           .reconnect = {.min = 1000, .max = 60000},
                           .timeout = 30000,
                           .keepalive = 60000,
                           .patience = 20000,
                           .max_age = 600000,
                           .bounds = XM_BOUNDS_DEFAULT,
                           .max_queue = 10u << 20};
}

/* States. */

xm_conn_state xm_conn_state_of(const xm_conn *c) {
  return c->state;
}

const char *xm_conn_state_name(const xm_conn *c) {
  switch (c->state) {
    case XM_CONN_CONNECTING: return c->link ? xm_link_phase(c->link) : "connecting";
    case XM_CONN_WAITING: return "waiting";
    case XM_CONN_READY: return "ready";
    case XM_CONN_CLOSING: return "closing";
    default: return "closed";
  }
}

/* Construction. */

static int copy_string(const char **s) {
  char *copy = *s ? strdup(*s) : NULL;
  if (*s && !copy) return XM_ENOMEM;
  *s = copy;
  return XM_OK;
}

static const char **strings_of(xm_conn_options *o, int i) {
  const char **const all[] = {&o->host, &o->url, &o->tls_name, &o->pin, &o->lang, &o->mechanisms, &o->nameservers,
                              &o->agent, &o->software, &o->device, &o->tag,
                              &o->proxy.name, &o->proxy.host, &o->proxy.user, &o->proxy.password};
  return i < (int)(sizeof all / sizeof *all) ? all[i] : NULL;
}

/* On failure the strings that weren't copied are NULL, so that free_strings frees copies only. */
static int copy_strings(xm_conn_options *o) {
  const char **s;
  int i, rc = XM_OK;
  for (i = 0; (s = strings_of(o, i)); i++) {
    if (rc == XM_OK) rc = copy_string(s);
    if (rc < 0) *s = NULL;
  }
  return rc;
}

/* They are wiped, since one of them is the proxy's password. */
static void free_strings(xm_conn_options *o) {
  const char **s;
  int i;
  for (i = 0; (s = strings_of(o, i)); i++) {
    if (*s) xm_wipe((char *)*s, strlen(*s));
    free((char *)*s);
  }
}

/* A name for the proxy and for the user at it: some proxies give each of their users another route, so nothing that is
 * remembered for one of them may be used for another, or the server could tell that they belong together. */
static int name_proxy(xm_conn_options *o) {
  const char *const parts[] = {o->proxy.name, o->proxy.user, o->proxy.password};
  xm_buf b = XM_BUF_SECRET;
  size_t i;
  int rc = xm_conn_has_proxy(o) ? XM_OK : XM_EINVAL;
  for (i = 0; rc == XM_OK && i < sizeof parts / sizeof *parts; i++) {
    rc = xm_buf_putc(&b, parts[i] ? '+' : '-');
    if (rc == XM_OK && parts[i]) rc = xm_buf_put(&b, parts[i], strlen(parts[i]) + 1);
  }
  o->has_via = rc == XM_OK && xm_keyring_name_of(xm_buf_at(&b), xm_buf_len(&b), &o->via);
  xm_buf_free(&b);
  return rc == XM_ENOMEM ? XM_ENOMEM : XM_OK;
}

static int make_parts(xm_conn *c, xm_err *e) {
  const char *password = c->o.password;
  const xm_token *token = c->o.token;
  c->o.password = NULL;
  c->o.token = NULL;
  c->has_password = password != NULL;
  if (name_proxy(&c->o) < 0) return XM_ENOMEM;
  c->sm = xm_sm_new();
  c->route = xm_route_new(xm_conn_ns(c));
  if (!c->sm || !c->route) return XM_ENOMEM;
  if (token && xc_take_token(c, token) < 0)
    return xm_err_set(e, XM_LAYER_SASL, "no-locked-memory", false,
                      "the system allows no locked memory (see ulimit -l), so the token can't be kept: log in with the password");
  return password ? xm_buf_put(&c->password, password, c->o.password_len) : XM_OK;
}

static int restore(xm_conn *c, const xm_conn_session *session) {
  size_t i;
  for (i = 0; i < session->n; i++) {
    const xm_sm_stanza *st = &session->stanzas[i];
    size_t mark = xm_buf_mark(xm_sm_out(c->sm));
    if (xm_buf_put(xm_sm_out(c->sm), st->xml, st->len) < 0 || xm_sm_commit(c->sm, mark, st->given, st->flags, NULL) < 0)
      return XM_ENOMEM;
  }
  c->bound = true;
  c->jid = xm_jid_copy(session->jid);
  if (!c->jid || xm_sm_restore(c->sm, &session->sm) < 0) return XM_ENOMEM;
  return xm_route_set_self(c->route, c->jid);
}

/* A fed connection is ready at once. */
static int start_fed(xm_conn *c, xm_err *e) {
  if (xc_on_opened(c) == XM_CONN_AGAIN && c->state == XM_CONN_READY) {
    c->told = xm_conn_state_name(c);
    c->news = 0;
    return XM_OK;
  }
  return xm_err_nomem(e);
}

static int start(xm_conn *c, xm_err *e) {
  xc_begin_attempt(c);
  if (xc_start_link(c, e) < 0) return XM_EFAIL;
  if (c->o.fed && c->o.logged_in) return start_fed(c, e);
  if (!xc_keeps_password(c)) xm_buf_free(&c->password);
  return XM_OK;
}

static void on_jump(void *arg) {
  xm_conn_check(arg);
}

xm_conn *xm_conn_new(xm_loop *l, const xm_conn_options *options, const xm_conn_session *session, xm_err *e) {
  xm_conn *c = calloc(1, sizeof *c);
  if (!c) {
    xm_err_nomem(e);
    return NULL;
  }
  c->o = *options;
  c->o.reconnect.at_once = options->component; /* nobody keeps what others send to it meanwhile */
  c->password = XM_BUF_SECRET;
  c->log.on = options->log;
  c->loop = l;
  xm_loop_hold(l);
  xm_jump_watch(l, &c->jump, on_jump, c);
  if (c->o.tls_ctx) xm_tls_ctx_hold(c->o.tls_ctx);
  c->o.jid = c->asked = xm_jid_copy(options->jid);
  if (copy_strings(&c->o) == XM_OK && c->asked && make_parts(c, e) == XM_OK && (!session || restore(c, session) == XM_OK)) {
    if (start(c, e) == XM_OK) return c;
  }
  xm_err_nomem(e);
  xm_conn_free(c);
  return NULL;
}

void xm_conn_free(xm_conn *c) {
  if (!c) return;
  if (xc_is_up(c)) {
    xc_say_bye(c);
    xc_end_link(c, XM_LINK_PART, NULL);
  }
  c->state = XM_CONN_CLOSED;
  xm_jump_unwatch(c->loop, &c->jump);
  xc_forget_link(c);
  xm_targets_free(c->targets);
  xm_buf_free(&c->sent);
  xm_buf_free(&c->offers);
  xm_sm_free(c->sm);
  xm_route_free(c->route);
  xm_tls_ctx_release(c->o.tls_ctx);
  xm_buf_free(&c->password);
  xm_buf_free(&c->log.records);
  free_strings(&c->o);
  free(c->asked);
  free(c->jid);
  xm_loop_release(c->loop);
  free(c);
}

/* Everything else. */

void xm_conn_pause(xm_conn *c, bool paused) {
  bool was = c->paused;
  c->paused = paused;
  if (was && !paused && xc_is_up(c)) xc_hear_answer(c); /* what the server has answered can be read only now */
  if (c->link) xm_link_pause(c->link, paused);
}

bool xm_conn_run_dry(xm_conn *c) {
  c->parting = true;
  if (!xc_is_up(c) || !xm_link_run_dry(c->link)) return false;
  c->paused = true;
  return true;
}

xm_conn_left xm_conn_left_of(const xm_conn *c) {
  xm_conn_left left = c->left;
  left.late = c->overdue;
  return left;
}

const xm_tape *xm_conn_stanza(const xm_conn *c) {
  return xm_link_tape(c->link);
}

xm_bound xm_conn_crossed(const xm_conn *c, size_t *most) {
  return xm_link_crossed(c->link, most);
}

const xm_bounds *xm_conn_bounds(const xm_conn *c) {
  return &c->o.bounds;
}

const xm_jid *xm_conn_jid(const xm_conn *c) {
  return c->bound ? c->jid : NULL;
}

const xm_jid *xm_conn_account(const xm_conn *c) {
  return c->asked;
}

const char *xm_conn_agent(const xm_conn *c) {
  return c->o.agent;
}

const char *xm_conn_ns(const xm_conn *c) {
  return c->o.component ? XM_NS_COMPONENT : XM_NS_CLIENT;
}

bool xm_conn_is_component(const xm_conn *c) {
  return c->o.component;
}

xm_route *xm_conn_route(xm_conn *c) {
  return c->route;
}

xm_sm *xm_conn_sm(xm_conn *c) {
  return c->sm;
}

xm_conn_info xm_conn_info_of(const xm_conn *c) {
  xm_conn_info info = c->info;
  info.proxy = c->o.proxy.name;
  info.url = c->o.url;
  info.sm = xm_sm_state_of(c->sm) == XM_SM_ON;
  info.resumable = xm_sm_id(c->sm) != NULL;
  return info;
}

const char *xm_conn_offers(const xm_conn *c, const char *before) {
  const char *first = xm_buf_at(&c->offers), *next = before ? before + strlen(before) + 1 : first;
  return first && next < first + xm_buf_len(&c->offers) ? next : NULL;
}

const xm_err *xm_conn_why(const xm_conn *c) {
  return &c->why;
}

const xm_err *xm_conn_trouble(const xm_conn *c) {
  return c->state == XM_CONN_CLOSED ? &c->why : &c->trouble;
}

xm_buf *xm_conn_out(xm_conn *c) {
  return xm_sm_out(c->sm);
}

int xm_conn_commit(xm_conn *c, size_t mark, unsigned flags, uint64_t *seq, xm_err *e) {
  size_t n = xm_sm_begun(c->sm);
  if (!c->bound || c->closing || c->state == XM_CONN_CLOSED) {
    xm_sm_drop(c->sm);
    return xm_err_set(e, XM_LAYER_CLOSED, xm_err_is_set(&c->why) ? c->why.condition : "not-connected", c->why.retry,
                      "the connection is %s%s%s", xm_conn_state_name(c), *c->why.text ? ": " : "", c->why.text);
  }
  if (n > c->o.max_queue) {
    xm_sm_drop(c->sm);
    return xm_err_set(e, XM_LAYER_LIMIT, "max-queue", false,
                      "the stanza has %zu bytes, over max_queue (%zu), so it can't be sent however long it waits: send it in "
                      "parts, or give the connection a larger max_queue",
                      n, c->o.max_queue);
  }
  if (mark + n > c->o.max_queue) {
    xm_sm_drop(c->sm);
    return xm_err_set(e, XM_LAYER_LIMIT, "max-queue", true,
                      "%zu bytes wait to be sent or acknowledged already and the stanza has %zu, over max_queue (%zu): slow "
                      "down (flush waits until there is room)",
                      mark, n, c->o.max_queue);
  }
  return xm_sm_commit(c->sm, mark, xm_loop_ticks(c->loop), flags, seq) == XM_OK ? XM_OK : xm_err_nomem(e);
}

size_t xm_conn_pending(const xm_conn *c, size_t *stanzas) {
  if (stanzas) *stanzas = xm_sm_stanzas(c->sm);
  return xm_sm_bytes(c->sm);
}

void xm_conn_hurry(xm_conn *c) {
  if (xm_sm_stanzas(c->sm) && !xm_sm_is_asked(c->sm)) xm_sm_request(c->sm);
  xm_conn_flush(c);
}

void xm_conn_hold_back(xm_conn *c, bool wanted) {
  c->holds_back = wanted;
}

void xm_conn_let_go(xm_conn *c) {
  xm_timer_stop(c->loop, &c->opening);
  if (!xm_sm_holds_back(c->sm)) return;
  xm_sm_let_go(c->sm);
  xc_wake(c);
}

static void on_overdue_timer(void *arg) {
  xm_conn *c = arg;
  c->overdue = true;
  xc_wake(c);
}

/* The link is down, and there is something to deliver: no time for backing off. */
static void hurry_up(xm_conn *c) {
  if (c->state != XM_CONN_WAITING) return;
  xm_timer_stop(c->loop, &c->next);
  c->must_connect = true;
}

/* For a connection that is being closed already. */
static void shorten(xm_conn *c, unsigned ms) {
  if (!xm_timer_armed(&c->deadline) || c->deadline.due <= xm_loop_now(c->loop) + ms) return;
  if (xm_timer_start(c->loop, &c->deadline, ms, on_overdue_timer, c) < 0) xm_conn_abort(c);
}

void xm_conn_close(xm_conn *c, unsigned ms) {
  bool idle = c->state != XM_CONN_READY && xm_sm_stanzas(c->sm) == 0;
  if (c->state == XM_CONN_CLOSED) return;
  if (c->closing) return shorten(c, ms);
  c->closing = true;
  xm_conn_let_go(c);
  if (!c->retry.begun) {
    xm_err_set(&c->why, XM_LAYER_CLOSED, "stopped", false, "the connection was stopped before it was ready");
    return xc_end_with_loss(c);
  }
  if (idle) return xc_end_with_loss(c);
  if (xm_timer_start(c->loop, &c->deadline, ms, on_overdue_timer, c) < 0) return xm_conn_abort(c);
  xm_timer_stop(c->loop, &c->rest);
  xm_conn_pause(c, false);
  if (c->state != XM_CONN_READY) return hurry_up(c);
  c->state = XM_CONN_CLOSING;
  xm_conn_hurry(c);
  xc_try_bye(c);
  xc_wake(c);
}

bool xm_conn_is_stopping(const xm_conn *c) {
  return c->closing;
}

void xm_conn_detach(xm_conn *c) {
  if (c->state == XM_CONN_CLOSED) return;
  if (c->link) xc_end_link(c, XM_LINK_CUT, NULL);
  xm_err_set(&c->why, XM_LAYER_CLOSED, "saved", false, "the session was saved, to be resumed by another process");
  c->detached = true;
  xc_end(c);
}

bool xm_conn_is_detached(const xm_conn *c) {
  return c->detached;
}

void xm_conn_abort(xm_conn *c) {
  if (c->state == XM_CONN_CLOSED) return;
  xm_err_nomem(&c->why);
  xc_end_with_loss(c);
}

xm_buf *xm_conn_log(xm_conn *c) {
  return &c->log.records;
}

int xm_conn_feed(xm_conn *c, const char *bytes, size_t n) {
  return c->link ? xm_link_feed(c->link, bytes, n) : XM_OK;
}

void xm_conn_cut(xm_conn *c) {
  if (c->link) xm_link_cut(c->link);
}

int xm_conn_sent(xm_conn *c, xm_buf *to) {
  xm_conn_flush(c);
  if (xm_buf_put(to, xm_buf_at(&c->sent), xm_buf_len(&c->sent)) < 0) return XM_ENOMEM;
  xm_buf_clear(&c->sent);
  if (!c->link) return XM_OK;
  if (xm_link_take(c->link, to) < 0) return XM_ENOMEM;
  xc_count(c);
  return XM_OK;
}
