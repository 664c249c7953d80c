#include "link_own.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ns.h"

enum {
  UNTIL_BOUND = 64 * 1024, /* most bytes of an element, and of a tag, until a session is bound */
  READS_A_TURN = 64, /* then others have their turn */
  TLS_PIECE = 2048,  /* bytes read at a time: OpenSSL keeps the rest, and expat's buffer stays small */
  MUCH = 64 * 1024,  /* bytes of a tape; a larger one is freed once everything has been read */
};

void xk_wake(void *arg) {
  xm_link *k = arg;
  k->o->wake(k->o->wake_arg);
}

/* States. */

xm_link_state xm_link_state_of(const xm_link *k) {
  return k->state;
}

const char *xm_link_phase(const xm_link *k) {
  switch (k->state) {
    case XM_LINK_RESOLVING:
    case XM_LINK_DIALLING:
    case XM_LINK_TUNNELLING: return "connecting";
    case XM_LINK_SECURING: return "securing";
    case XM_LINK_UPGRADING: return "upgrading";
    case XM_LINK_NEGOTIATING: return xm_nego_phase(k->nego);
    case XM_LINK_OPEN: return "ready";
    default: return "closed";
  }
}

void xk_on_late(void *arg) {
  xm_link *k = arg;
  k->late = true;
  xk_wake(k);
}

/* How many other targets there are. */
static unsigned targets_left(const xm_targets *t) {
  unsigned n = 0;
  int i;
  if (t && t->names) return (unsigned)(t->names->n - t->names->next);
  for (i = t ? t->next : 0; t && i < t->n; i++) n += i == t->next || t->list[i].target != t->list[i - 1].target;
  return n;
}

/* How much of the time that is left each target may take whose turn is still to come, this one included. */
static uint64_t share_of(const xm_link *k) {
  uint64_t now = xm_loop_now(k->loop), left = k->due > now ? k->due - now : 0;
  return left / (targets_left(k->targets) + 1);
}

/* Once for each target: one that is slow in every phase must not use up the time of the next. */
void xk_take_share(xm_link *k) {
  k->share = xm_loop_now(k->loop) + share_of(k);
}

/* Half of the whole time, or less where other targets must have their share. */
static unsigned time_for_phase(const xm_link *k) {
  uint64_t now = xm_loop_now(k->loop), left = k->share > now ? k->share - now : 0;
  uint64_t most = k->share ? left : share_of(k);
  return (unsigned)(most < k->o->timeout / 2 ? most : k->o->timeout / 2);
}

/* The states come in their order, each with its deadline; CLOSED may follow any, and DIALLING may follow a SECURING
 * that failed because of the TLS session offered. */
xm_link_event xk_enter(xm_link *k, xm_link_state state) {
  uint64_t now = xm_loop_now(k->loop);
  if (k->entered && k->state < XM_LINK_OPEN) k->took.ms[k->state] += (unsigned)(now - k->entered);
  k->entered = now;
  k->state = state;
  k->late = false;
  xm_timer_stop(k->loop, &k->phase);
  if (state >= XM_LINK_OPEN) return XM_LINK_AGAIN;
  if (xm_timer_start(k->loop, &k->phase, time_for_phase(k), xk_on_late, k) == XM_OK) return XM_LINK_AGAIN;
  xm_err_nomem(&k->why);
  return xk_end(k, XM_LINK_CUT);
}

/* What was sent ahead and isn't answered may be the reason why the peer has gone, or is silent. */
static void suspect(xm_link *k, unsigned perhaps) {
  unsigned ahead = k->nego ? xm_nego_is_ahead(k->nego) : 0;
  if (ahead) k->objected = ahead | perhaps;
  if (k->nego && xm_nego_token(k->nego) == XM_LOGIN_TOKEN_SHOWN && !k->blamed) k->objected |= XM_LINK_TOKEN;
  if (k->nego && xm_nego_is_in_sasl2(k->nego)) xk_suspect_sasl2(k);
}

static const char *waits_for(const xm_link *k) {
  switch (k->state) {
    case XM_LINK_RESOLVING: return "the name servers";
    case XM_LINK_DIALLING: return xm_conn_has_proxy(k->o) ? "a TCP connection to the proxy" : "a TCP connection";
    case XM_LINK_TUNNELLING: return "the proxy's answer";
    case XM_LINK_SECURING: return "the TLS handshake";
    case XM_LINK_UPGRADING: return "the web server's answer (WebSocket)";
    default: return xm_nego_waits_for(k->nego);
  }
}

static xm_link_event fail_late(xm_link *k) {
  if (k->nego && xm_nego_at(k->nego) == XM_NEGO_LAST) return xk_become_open(k);
  if (k->answered) suspect(k, 0);
  xm_err_set(&k->why, XM_LAYER_TIMEOUT, "timeout", true, "connecting to %s: gave up waiting for %s", k->domain,
             waits_for(k));
  return xk_end(k, XM_LINK_CUT);
}

/* Sending. */

ssize_t xk_recv(void *arg, void *to, size_t n) {
  xm_link *k = arg;
  ssize_t got = xm_sock_recv(k->sock, to, n);
  if (got > 0 && k->nego) xm_sock_hurry(k->sock);
  if (got < 0 && got != -EAGAIN)
    xm_err_errno(k->sink, XM_LAYER_TCP, (int)-got, xm_sock_errname((int)-got), true, "the connection broke");
  return got;
}

ssize_t xk_send(void *arg, const void *from, size_t n) {
  xm_link *k = arg;
  ssize_t got = xm_sock_send(k->sock, from, n);
  if (got < 0 && got != -EAGAIN)
    xm_err_errno(k->sink, XM_LAYER_TCP, (int)-got, xm_sock_errname((int)-got), true, "the connection broke");
  return got;
}

ssize_t xk_write(xm_link *k, const char *from, size_t n) {
  xm_err *sink = k->sink;
  ssize_t rc;
  if (k->o->fed) return 0;
  k->sink = &k->unsaid;
  rc = k->tls ? xm_tls_write(k->tls, from, n, &k->unsaid) : xk_send(k, from, n);
  k->sink = sink;
  return rc == -EAGAIN ? 0 : rc < 0 ? XM_EFAIL : rc;
}

static bool can_write(const xm_link *k) {
  return k->state == XM_LINK_NEGOTIATING || k->state == XM_LINK_OPEN;
}

/* Nothing can be written any more. What has come may say best why, so that is read first: a server's last words often
 * cross with ours. */
static bool is_mute(const xm_link *k) {
  return xm_err_is_set(&k->unsaid);
}

static xm_link_event fail_mute(xm_link *k) {
  suspect(k, XM_LINK_PERHAPS);
  if (!xm_err_is_set(&k->why)) k->why = k->unsaid;
  return xk_end(k, XM_LINK_CUT);
}

xm_buf *xm_link_wire(xm_link *k) {
  return &k->wire;
}

static void count(xm_link *k, size_t n) {
  xm_buf_consume(&k->wire, n);
  k->taken += n;
}

static ssize_t write_wire(xm_link *k) {
  ssize_t n = 1;
  while (n > 0 && xm_buf_len(&k->wire)) {
    n = xk_write(k, xm_buf_at(&k->wire), xm_buf_len(&k->wire));
    if (n > 0) count(k, (size_t)n);
  }
  return n;
}

ssize_t xm_link_flush(xm_link *k) {
  uint64_t before = k->taken;
  ssize_t n;
  if (!can_write(k) || is_mute(k)) return 0;
  n = k->web ? xk_web_write(k) : write_wire(k);
  if (n < 0) xk_wake(k);
  return (ssize_t)(k->taken - before);
}

void xk_say(xm_link *k, xm_buf *from) {
  ssize_t n = 1;
  while (n > 0 && xm_buf_len(from)) {
    n = xk_write(k, xm_buf_at(from), xm_buf_len(from));
    if (n > 0) xm_buf_consume(from, (size_t)n);
  }
}

uint64_t xm_link_taken(const xm_link *k) {
  return k->taken;
}

size_t xm_link_backlog(const xm_link *k) {
  return xm_buf_len(&k->wire) + (k->web ? xk_web_backlog(k) : 0);
}

bool xm_link_is_half(const xm_link *k) {
  return k->web && xk_web_is_half(k);
}

/* Ending. */

/* Frees everything that isn't needed to report what has happened. */
static void tear_down(xm_link *k) {
  xm_dns_free(k->dns);
  if (k->tunnel) k->met = xm_tunnel_is_of_target(k->tunnel);
  xm_tunnel_free(k->tunnel);
  xm_tls_free(k->tls);
  xm_sock_free(k->sock);
  xm_nego_free(k->nego);
  xk_web_free(k);
  k->dns = NULL;
  k->tunnel = NULL;
  k->tls = NULL;
  k->sock = NULL;
  k->nego = NULL;
}

enum { SAY_BYE = 1, SAY_ERROR = 2, END_WEB = 4, END_TLS = 8, END_TCP = 16, UNDER = END_TLS | END_TCP, PART = END_WEB | UNDER };

/* What is done at an end, in this order: only what is possible in the state. */
static const unsigned endings[XM_LINK_CLOSED + 1][XM_LINK_REFUSE + 1] = {
    /*                        CUT  PART      BYE             REFUSE */
    [XM_LINK_RESOLVING]   = { 0,   0,        0,              0 },
    [XM_LINK_DIALLING]    = { 0,   0,        0,              0 },
    [XM_LINK_TUNNELLING]  = { 0,   END_TCP,  END_TCP,        END_TCP },
    [XM_LINK_SECURING]    = { 0,   END_TCP,  END_TCP,        END_TCP },
    [XM_LINK_UPGRADING]   = { 0,   UNDER,    UNDER,          UNDER },
    [XM_LINK_NEGOTIATING] = { 0,   PART,     SAY_BYE | PART, SAY_ERROR | PART },
    [XM_LINK_OPEN]        = { 0,   PART,     SAY_BYE | PART, SAY_ERROR | PART },
    [XM_LINK_CLOSED]      = { 0,   0,        0,              0 },
};

static void say_last(xm_link *k, const char *text) {
  if (xm_buf_puts(&k->wire, text) < 0) return;
  xm_wirelog_text(k->log, '>', text, strlen(text));
  xm_link_flush(k);
}

static void say_error(xm_link *k, const char *detail) {
  char text[384];
  if (k->why.layer != XM_LAYER_STREAM) return;
  snprintf(text, sizeof text,
           "<stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>%s</stream:error></stream:stream>",
           k->why.condition, detail ? detail : "");
  say_last(k, text);
}

void xm_link_end(xm_link *k, xm_link_how how, const char *detail) {
  unsigned todo = endings[k->state][how];
  if (k->state == XM_LINK_CLOSED) return;
  k->left = xm_link_unread(k);
  if (how == XM_LINK_CUT || how == XM_LINK_REFUSE) xm_err_nomem(&k->why); /* unless it is set */
  if (todo & SAY_BYE) say_last(k, "</stream:stream>");
  if (todo & SAY_ERROR) say_error(k, detail);
  k->sink = &k->unsaid; /* an error during the goodbye isn't the reason */
  if ((todo & END_WEB) && k->web) xk_web_finish(k);
  if ((todo & END_TLS) && k->tls) xm_tls_finish(k->tls);
  if ((todo & END_TCP) && k->sock) xm_sock_finish(k->sock);
  xk_enter(k, XM_LINK_CLOSED);
  tear_down(k);
}

xm_link_event xk_end(xm_link *k, xm_link_how how) {
  xm_link_end(k, how, NULL);
  return XM_LINK_ENDED;
}

/* Reading. */

static ssize_t take_fed(xm_link *k, char *to, size_t room) {
  size_t n = xm_buf_len(&k->in) < room ? xm_buf_len(&k->in) : room;
  if (n == 0) return k->is_cut ? 0 : -EAGAIN;
  memcpy(to, xm_buf_at(&k->in), n);
  xm_buf_consume(&k->in, n);
  return (ssize_t)n;
}

ssize_t xk_read(xm_link *k, char *to, size_t room) {
  ssize_t n;
  if (k->o->fed) {
    n = take_fed(k, to, room);
  } else {
    n = k->tls ? xm_tls_read(k->tls, to, room, &k->why) : xk_recv(k, to, room);
  }
  if (n > 0) return n;
  if (n == -EAGAIN || (k->tls && n == 0)) return 0;
  if (k->tls && n == XM_TLS_MORE) return XM_TLS_MORE;
  return xm_err_set(&k->why, XM_LAYER_TCP, "EOF", true,
                    k->state == XM_LINK_UPGRADING ? "the web server cut the connection without an answer"
                                                  : "the server cut the connection without ending the stream");
}

/* Reads bytes to where they are parsed. 1: some came; 0: none now; XM_TLS_MORE; XM_EFAIL. */
static int read_some(xm_link *k) {
  size_t room;
  char *to = xm_xml_space(k->xml, &room);
  ssize_t n;
  if (!to) return xm_err_nomem(&k->why);
  n = xk_read(k, to, room);
  if (n <= 0) return (int)n;
  k->heard_at = xm_loop_now(k->loop);
  k->got += (size_t)n;
  xm_xml_fill(k->xml, (size_t)n);
  return 1;
}

/* The next event of the stream: from what has come already, otherwise from what can be read. */
static int pull(xm_link *k) {
  int ev, got = 1;
  if (k->web) return xk_web_pull(k);
  ev = xm_xml_next(k->xml, &k->why);
  while (ev == XM_XML_MORE && got > 0 && k->reads_left > 0) {
    got = k->dry ? 0 : read_some(k);
    k->reads_left = got == XM_TLS_MORE ? 0 : k->reads_left - 1;
    if (got == XM_TLS_MORE) return XM_XML_MORE;
    if (got < 0) return got;
    ev = got ? xm_xml_next(k->xml, &k->why) : xm_xml_drained(k->xml, &k->why);
  }
  return ev;
}

void xk_note_error(xm_link *k, const xm_tape *t) {
  const char *host;
  if (!xm_nego_is_stream_error(t)) return;
  k->refused = true;
  host = xm_nego_other_host(t);
  if (host && strlen(host) < sizeof k->other_host) strcpy(k->other_host, host);
}

static xm_link_event on_element(xm_link *k, bool skipped) {
  const xm_tape *t = xm_xml_tape(k->xml);
  if (k->nego) return xk_negotiate(k, false);
  xm_wirelog_tape(k->log, t, false);
  xk_note_error(k, t);
  return skipped ? XM_LINK_SKIPPED : XM_LINK_ELEMENT;
}

/* During negotiation an end is a failure. */
static xm_link_event on_close(xm_link *k) {
  static const char bye[] = "</stream:stream>";
  if (!k->web) xm_wirelog_text(k->log, '<', bye, sizeof bye - 1);
  k->is_closed = true;
  if (!k->nego) return XM_LINK_CLOSE;
  if (!xm_err_is_set(&k->why)) suspect(k, 0);
  xm_err_set(&k->why, XM_LAYER_CLOSED, "closed-by-server", true, "the server closed the stream");
  return xk_end(k, XM_LINK_BYE);
}

/* What is on the tape may not have been reported yet. */
static size_t spare_of_xml(const xm_link *k) {
  return k->web && xk_web_is_holding(k) ? 0 : xm_xml_spare(k->xml);
}

/* All that has come has been read. */
static xm_link_event be_quiet(xm_link *k) {
  if (spare_of_xml(k) > MUCH) xm_xml_rest(k->xml);
  return is_mute(k) && !k->dry ? fail_mute(k) : XM_LINK_NOTHING;
}

/* When the link has ended, what had come is read all the same: it is no more than the kernel holds, and the reason may
 * be among it. */
static bool is_paused(const xm_link *k) {
  return k->paused && !k->dry && k->state == XM_LINK_OPEN && !is_mute(k) && !k->is_cut && !(k->sock && xm_sock_is_over(k->sock));
}

/* An event is given out: notes where it ends. */
static void note_place(xm_link *k) {
  uint64_t at = k->got - xm_xml_unread(k->xml);
  k->size = (size_t)(at - k->told);
  k->told = at;
}

static bool is_over(const xm_link *k) {
  return k->web && xk_web_is_over(k);
}

static xm_link_event read_stream(xm_link *k) {
  int ev;
  if (is_paused(k)) return XM_LINK_NOTHING;
  if (!k->nego) k->at_hand = xm_early_next(&k->early);
  if (k->at_hand) return XM_LINK_ELEMENT;
  if (k->kept) {
    k->kept = false;
    return XM_LINK_ELEMENT;
  }
  ev = pull(k);
  if (ev == XM_XML_MORE && k->reads_left > 0) return be_quiet(k);
  if (ev > XM_XML_MORE) note_place(k);
  switch (ev) {
    case XM_XML_MORE: return XM_LINK_AGAIN;
    case XM_XML_OPEN: return k->nego ? xk_negotiate(k, true) : XM_LINK_AGAIN;
    case XM_XML_STANZA: return on_element(k, false);
    case XM_XML_SKIPPED: return on_element(k, true);
    case XM_XML_CLOSE: return on_close(k);
    default: break;
  }
  if (!xm_err_is_set(&k->why)) xm_err_nomem(&k->why);
  if (k->why.layer == XM_LAYER_TCP || is_over(k)) suspect(k, k->refused ? 0 : XM_LINK_PERHAPS);
  if (is_over(k)) return xk_end(k, XM_LINK_PART);
  if (k->why.layer != XM_LAYER_STREAM && k->why.layer != XM_LAYER_WEBSOCKET) return xk_end(k, XM_LINK_CUT);
  /* What was too large may have been anybody's stanza that came early, and need not come again. */
  if (k->mechanism && strcmp(k->why.condition, "policy-violation") == 0) k->why.retry = true;
  return k->nego ? xk_end(k, XM_LINK_REFUSE) : XM_LINK_BROKEN;
}

static xm_link_event advance(xm_link *k) {
  if (k->late) return fail_late(k);
  switch (k->state) {
    case XM_LINK_RESOLVING: return xk_resolve(k);
    case XM_LINK_DIALLING: return xk_dial(k);
    case XM_LINK_TUNNELLING: return xk_tunnel(k);
    case XM_LINK_SECURING: return xk_secure(k);
    case XM_LINK_UPGRADING: return xk_await_upgrade(k);
    case XM_LINK_CLOSED: return XM_LINK_ENDED;
    default: return read_stream(k);
  }
}

xm_link_event xm_link_next(xm_link *k) {
  xm_link_event ev = XM_LINK_AGAIN;
  const char *phase = xm_link_phase(k);
  k->reads_left = READS_A_TURN;
  if (k->state == XM_LINK_NEGOTIATING) xm_link_flush(k);
  while (ev == XM_LINK_AGAIN && k->reads_left > 0 && xm_link_phase(k) == phase) ev = advance(k);
  return ev;
}

/* Construction. */

static xm_bounds bounds_until_bound(const xm_link *k) {
  xm_bounds b = k->o->bounds;
  b.stanza = UNTIL_BOUND;
  if (b.start_tag > UNTIL_BOUND) b.start_tag = UNTIL_BOUND;
  return b;
}

static int make_parts(xm_link *k, const xm_link_start *start) {
  const xm_conn_options *o = k->o;
  const char *url = o->fed ? NULL : start->url ? start->url : o->url;
  xm_nego_options n = {.component = o->component,
                       .jid = o->jid,
                       .lang = o->lang,
                       .mechanisms = o->mechanisms,
                       .plain = o->plain,
                       .pinned = o->pinned,
                       .bound = o->bound,
                       .remember = o->remember,
                       .certificate = o->tls_ctx && xm_tls_ctx_has_certificate(o->tls_ctx),
                       .authzid = o->tls_ctx && xm_tls_ctx_needs_authzid(o->tls_ctx, o->jid->str, xm_jid_bare_len(o->jid)),
                       .need_tls = o->tls != XM_TLS_NONE,
                       .fronted = url != NULL,
                       .previd = start->previd,
                       .h = start->h,
                       .only_resume = start->only_resume,
                       .sasl2 = o->sasl2,
                       .agent = o->agent,
                       .software = o->software,
                       .device = o->device,
                       .bind2 = o->bind2,
                       .tag = o->tag,
                       .sm = o->sm,
                       .resumable = o->resumable,
                       .carbons = o->carbons,
                       .inactive = o->inactive,
                       .fast = o->fast,
                       .token = start->token,
                       .invalidate = o->invalidate};
  const xm_bounds bounds = bounds_until_bound(k);
  if (url && xk_web_new(k, url) < 0) return XM_ENOMEM;
  k->nego = xm_nego_new(&n, start->password, start->password_len);
  k->xml = xm_xml_new(o->component ? XM_NS_COMPONENT : XM_NS_CLIENT, &bounds);
  if (!k->nego || !k->xml) return XM_ENOMEM;
  if (o->tls != XM_TLS_NONE) xm_xml_set_piece(k->xml, TLS_PIECE);
  return XM_OK;
}

static int start_fed(xm_link *k, xm_err *e) {
  static const char header[] = "<stream:stream xmlns:stream='" XM_NS_STREAM "' xmlns='%s' version='1.0'>";
  char text[256];
  int n = snprintf(text, sizeof text, header, k->o->component ? XM_NS_COMPONENT : XM_NS_CLIENT);
  k->has_sm = true; /* an <enabled/> may be fed */
  xk_open_up(k);
  return xm_buf_put(&k->in, text, (size_t)n) == XM_OK ? XM_OK : xm_err_nomem(e);
}

/* A fed connection has no network on which somebody could listen. */
static int start_login(xm_link *k) {
  xm_nego_secured(k->nego, true);
  return xk_begin_stream(k) == XM_LINK_AGAIN ? XM_OK : XM_EFAIL;
}

static int redial(xm_link *k, const xm_link_start *start, xm_err *e) {
  xm_dns_address there = {.sa = start->avoid->address, .direct_tls = start->direct};
  k->target = (xm_dns_name){.port = (uint16_t)start->avoid->port, .direct_tls = start->direct};
  snprintf(k->target.host, sizeof k->target.host, "%.*s", (int)sizeof k->target.host - 1, start->avoid->host);
  k->again = true;
  k->blamed = start->objected;
  k->sock = xm_sock_dial(k->loop, &there, 1, xk_wake, k, e);
  return k->sock && xk_enter(k, XM_LINK_DIALLING) == XM_LINK_AGAIN ? XM_OK : XM_EFAIL;
}

static int dial_targets(xm_link *k, xm_err *e) {
  const xm_targets *t = k->targets;
  int next = t->names ? 0 : t->next;
  k->sock = xm_sock_dial(k->loop, t->list + next, t->n - next, xk_wake, k, e);
  return k->sock && xk_enter(k, XM_LINK_DIALLING) == XM_LINK_AGAIN ? XM_OK : XM_EFAIL;
}

/* What is on the proxy's machine isn't on this one, and the way to the proxy leads through the network. */
static bool is_in_clear_behind_a_proxy(const xm_link *k, xm_err *e) {
  if (!xm_conn_has_proxy(k->o) || k->o->tls != XM_TLS_NONE || k->o->component) return false;
  xm_err_set(e, XM_LAYER_TLS, "tls-required", false, "%s is only for a server on this machine, never through a proxy: use %s",
             k->web ? "ws://" : "tls=\"none\"", k->web ? "wss://" : "\"starttls\" or \"direct\"");
  return true;
}

/* What is to be looked up. A URL says all of it. */
static xm_dns_query query(const xm_link *k, const xm_link_start *start) {
  const xm_url *url = k->web ? xk_web_url(k) : NULL;
  const char *host = url ? url->host : start->host ? start->host : k->o->host;
  return (xm_dns_query){.domain = host ? host : k->domain,
                        .port = url ? url->port : start->host ? start->port : k->o->port,
                        .srv = !host && !k->o->component,
                        .direct_tls = url ? url->secure : k->o->tls == XM_TLS_DIRECT,
                        .no_tls = k->o->tls == XM_TLS_NONE,
                        .nameservers = k->o->nameservers};
}

static int begin(xm_link *k, const xm_link_start *start, xm_err *e) {
  xm_dns_query q = query(k, start);
  k->due = start->due ? start->due : xm_loop_now(k->loop) + k->o->timeout;
  if (start->logged_in) return start_fed(k, e);
  if (k->o->fed) return start_login(k);
  if (is_in_clear_behind_a_proxy(k, e)) return XM_EFAIL;
  if (start->again) return redial(k, start, e);
  if (k->targets) return dial_targets(k, e);
  q.budget_ms = time_for_phase(k);
  if (xk_enter(k, XM_LINK_RESOLVING) != XM_LINK_AGAIN) return XM_EFAIL;
  return xk_ask(k, &q, e);
}

xm_link *xm_link_new(xm_loop *l, const xm_conn_options *o, const xm_link_start *start, xm_wirelog *log, xm_err *e) {
  xm_link *k = calloc(1, sizeof *k);
  if (!k) {
    xm_err_nomem(e);
    xm_targets_free(start->targets);
    return NULL;
  }
  k->o = o;
  k->targets = start->targets;
  k->log = log;
  k->loop = l;
  k->wire = XM_BUF_SECRET;
  k->sink = &k->why;
  k->avoid = start->avoid;
  k->lockstep = o->pipelining == XM_PIPELINING_NONE || start->objected;
  xm_loop_hold(l);
  if (make_parts(k, start) == XM_OK && xm_jid_ascii_domain(o->jid, k->domain, sizeof k->domain) == XM_OK) {
    if (begin(k, start, e) == XM_OK) return k;
  }
  xm_err_nomem(e);
  xm_link_free(k);
  return NULL;
}

void xm_link_free(xm_link *k) {
  if (!k) return;
  tear_down(k);
  free(k->names);
  xm_targets_free(k->targets);
  xm_timer_stop(k->loop, &k->phase);
  xm_xml_free(k->xml);
  xm_early_free(&k->early);
  xm_buf_free(&k->wire);
  xm_buf_free(&k->in);
  xm_buf_free(&k->offers);
  xm_enabled_clear(&k->enabled);
  if (k->fresh) xm_wipe(k->fresh, sizeof *k->fresh);
  free(k->fresh);
  free(k->bound);
  xm_loop_release(k->loop);
  free(k);
}

/* Everything else. */

/* The wish is remembered in any state, and takes effect in OPEN: during negotiation everything is read. */
void xm_link_pause(xm_link *k, bool paused) {
  if (k->paused == paused && !k->dry) return;
  k->paused = paused;
  k->dry = false;
  if (k->state != XM_LINK_OPEN) return;
  if (k->sock) xm_sock_pause(k->sock, paused);
  if (!paused) xk_wake(k); /* there may be more in the parser, which no descriptor tells */
}

bool xm_link_run_dry(xm_link *k) {
  if (k->state != XM_LINK_OPEN) return false;
  if (k->sock) xm_sock_pause(k->sock, true);
  k->dry = true;
  xk_wake(k);
  return true;
}

size_t xm_link_size(const xm_link *k) {
  return k->size;
}

size_t xm_link_unread(const xm_link *k) {
  size_t n = (size_t)(k->got - k->told);
  if (k->state != XM_LINK_OPEN) return k->left;
  if (k->is_closed) return 0;
  if (k->o->fed) return n + xm_buf_len(&k->in);
  if (k->web) n += xk_web_unread(k);
  return n + (k->tls ? xm_tls_pending(k->tls) : 0) + (k->sock ? xm_sock_waiting(k->sock) : 0);
}

size_t xm_link_spare(const xm_link *k) {
  return spare_of_xml(k) + xm_buf_spare(&k->wire) + (k->web ? xk_web_spare(k) : 0);
}

void xm_link_rest(xm_link *k) {
  if (spare_of_xml(k)) xm_xml_rest(k->xml);
  xm_buf_rest(&k->wire);
  if (k->web) xk_web_rest(k);
}

const xm_tape *xm_link_tape(const xm_link *k) {
  return k->at_hand ? k->at_hand : xm_xml_tape(k->xml);
}

bool xm_link_is_early(const xm_link *k) {
  return k->at_hand != NULL;
}

const xm_tape *xm_link_early(const xm_link *k, unsigned i) {
  return k->state == XM_LINK_OPEN ? xm_early_peek(&k->early, i) : NULL;
}

xm_bound xm_link_crossed(const xm_link *k, size_t *most) {
  return xm_xml_crossed(k->xml, most);
}

xm_err *xm_link_why(xm_link *k) {
  return &k->why;
}

const xm_jid *xm_link_jid(const xm_link *k) {
  return k->bound ? k->bound : k->o->jid;
}

xm_nego_outcome xm_link_outcome(const xm_link *k, uint32_t *h) {
  *h = k->h;
  return k->outcome;
}

bool xm_link_has_sm(const xm_link *k) {
  return k->has_sm;
}

xm_buf xm_link_take_offers(xm_link *k) {
  xm_buf offers = k->offers;
  k->offers = XM_BUF_INIT;
  return offers;
}

bool xm_link_is_sasl2(const xm_link *k) {
  return k->sasl2;
}

bool xm_link_is_bound_inside(const xm_link *k) {
  return k->bound_inside;
}

const xm_enabled *xm_link_enabled(const xm_link *k) {
  return &k->enabled;
}

xm_login_token xm_link_token(const xm_link *k) {
  return k->token;
}

const xm_token *xm_link_new_token(const xm_link *k) {
  static const xm_token none;
  return k->fresh ? k->fresh : &none;
}

const char *xm_link_tls_version(const xm_link *k) {
  return k->tls_version;
}

bool xm_link_good_for(const xm_link *k, int64_t *seconds) {
  *seconds = k->good_for;
  return k->has_certificate;
}

xm_link_how_long xm_link_took(const xm_link *k) {
  return k->took;
}

bool xm_link_tls_is_resumed(const xm_link *k) {
  return k->tls_resumed;
}

const char *xm_link_mechanism(const xm_link *k) {
  return k->mechanism;
}

const char *xm_link_binding(const xm_link *k) {
  return k->binding;
}

bool xm_link_peer_of(const xm_link *k, xm_link_peer *peer) {
  *peer = (xm_link_peer){.address = k->address, .port = k->target.port};
  strcpy(peer->host, k->target.host);
  return k->address.ss_family != 0;
}

bool xm_link_is_direct(const xm_link *k) {
  return k->direct;
}

bool xm_link_was_answered(const xm_link *k) {
  return k->answered;
}

bool xm_link_was_refused(const xm_link *k) {
  return k->refused;
}

bool xm_link_is_proven(const xm_link *k) {
  return k->tls_version || k->o->tls == XM_TLS_NONE;
}

/* Is it a failure of this target's? Whoever shows a wrong certificate, or tampers, must not be able to choose where we
 * go. */
static bool is_of_the_target(const xm_link *k) {
  const xm_err *e = &k->why;
  if (xm_conn_has_proxy(k->o) && !k->met) return false;
  switch (e->layer) {
    case XM_LAYER_PROXY:
    case XM_LAYER_TCP:
    case XM_LAYER_CLOSED:
    case XM_LAYER_TIMEOUT: return true;
    case XM_LAYER_TLS: return strncmp(e->condition, "certificate", 11) != 0 && strcmp(e->condition, "plaintext-injection") != 0;
    case XM_LAYER_STREAM: return e->retry || !k->refused;
    default: return false;
  }
}

bool xm_link_has_targets(const xm_link *k) {
  return targets_left(k->targets) > 0 && !k->mechanism && is_of_the_target(k) && xm_loop_now(k->loop) < k->due;
}

xm_targets *xm_link_take_targets(xm_link *k) {
  xm_targets *t = k->targets;
  k->targets = NULL;
  return t;
}

void xm_targets_free(xm_targets *t) {
  if (t) free(t->names);
  free(t);
}

unsigned xm_link_went_ahead(const xm_link *k) {
  return k->went;
}

unsigned xm_link_objected(const xm_link *k) {
  return k->objected;
}

uint64_t xm_link_heard_at(const xm_link *k) {
  return k->heard_at;
}

const char *xm_link_other_host(const xm_link *k) {
  return k->other_host;
}

int xm_link_feed(xm_link *k, const char *bytes, size_t n) {
  xk_wake(k);
  return xm_buf_put(&k->in, bytes, n);
}

void xm_link_cut(xm_link *k) {
  k->is_cut = true;
  xk_wake(k);
}

int xm_link_take(xm_link *k, xm_buf *to) {
  if (xm_buf_put(to, xm_buf_at(&k->wire), xm_buf_len(&k->wire)) < 0) return XM_ENOMEM;
  count(k, xm_buf_len(&k->wire));
  return XM_OK;
}
