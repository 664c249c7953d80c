#include "conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns.h"
#include "mech.h"
#include "nego.h"
#include "ns.h"
#include "out.h"
#include "sock.h"
#include "xml.h"

enum {
  STANZA_UNTIL_BOUND = 64 * 1024,
  START_TAG = 64 * 1024,
  READS_A_TURN = 64, /* then others have their turn */
};

struct xm_conn {
  xm_conn_options o;
  xm_conn_state state;
  xm_loop *loop;
  xm_jid jid;      /* who logs in; then, what was bound */
  char domain[256]; /* ASCII, for DNS and certificates */
  xm_dns *dns;
  xm_sock *sock;   /* from DIALLING on, until CLOSED */
  xm_tls *tls;     /* from SECURING on */
  xm_nego *nego;   /* until READY */
  xm_xml *xml;
  xm_route *route;
  xm_buf out;      /* what the kernel hasn't taken; secret until READY, as it has held proofs of the password */
  xm_buf in;       /* fed: what the peer "sent" */
  xm_buf log;
  const char *tls_version, *mechanism, *binding; /* NULL: none */
  xm_timer phase;  /* the deadline of the state */
  xm_timer idle;   /* keepalive */
  uint64_t due;    /* when it must be READY */
  xm_err why;
  bool bound;      /* stanzas may be sent: `jid` is the session's */
  bool direct;     /* TLS from the first byte */
  bool told;       /* ENDED has been given out */
  bool late;       /* the phase's deadline has passed */
  bool paused;
};

xm_conn_options xm_conn_defaults(void) {
  return (xm_conn_options){.port = 5222,
                           .plain = true,
                           .timeout = 30000,
                           .keepalive = 60000,
                           .max_stanza = 10u << 20,
                           .max_queue = 10u << 20,
                           .max_depth = 128,
                           .max_attributes = 256,
                           .max_nodes = 50000};
}

static void wake(void *arg) {
  xm_conn *c = arg;
  c->o.wake(c->o.wake_arg);
}

/* The log. */

static void log_text(xm_conn *c, char direction, const char *s, size_t n) {
  size_t mark = xm_buf_mark(&c->log);
  if (!c->o.log || n == 0) return;
  if (xm_buf_putc(&c->log, direction) < 0 || xm_buf_put(&c->log, &n, sizeof n) < 0 || xm_buf_put(&c->log, s, n) < 0)
    xm_buf_rollback(&c->log, mark);
}

/* The first element without its content, if that proves knowledge of the password. */
static void log_masked(xm_conn *c, char direction, const char *s, size_t n, bool secret) {
  static const char mask[] = "[masked]";
  const char *content = secret ? memchr(s, '>', n) : NULL, *end = content ? memrchr(s, '<', n) : NULL;
  xm_buf text = XM_BUF_INIT;
  if (!c->o.log) return;
  if (!end || end <= content) return log_text(c, direction, s, n);
  if (xm_buf_put(&text, s, (size_t)(content + 1 - s)) == XM_OK && xm_buf_puts(&text, mask) == XM_OK &&
      xm_buf_put(&text, end, (size_t)(s + n - end)) == XM_OK)
    log_text(c, direction, xm_buf_at(&text), xm_buf_len(&text));
  xm_buf_free(&text);
}

static void log_tape(xm_conn *c, const xm_tape *t, bool secret) {
  xm_buf text = XM_BUF_SECRET;
  xm_out o = xm_out_begin(&text);
  if (!c->o.log) return;
  if (xm_out_tape(&o, t, 0) == XM_OK) log_masked(c, '<', xm_buf_at(&text), xm_buf_len(&text), secret);
  xm_buf_free(&text);
}

/* States. */

xm_conn_state xm_conn_state_of(const xm_conn *c) {
  return c->state;
}

const char *xm_conn_state_name(xm_conn_state state) {
  static const char *const names[] = {"connecting", "connecting", "securing", "authenticating",
                                      "ready",      "closing",    "closed"};
  return names[state];
}

static void on_late(void *arg) {
  xm_conn *c = arg;
  c->late = true;
  wake(c);
}

static void on_idle(void *arg) {
  xm_conn *c = arg;
  if (c->state == XM_CONN_READY && xm_buf_len(&c->out) == 0 && xm_buf_putc(&c->out, ' ') == XM_OK) wake(c);
}

/* Whatever is sent puts the keepalive off. */
static void put_off_keepalive(xm_conn *c) {
  if (c->o.keepalive && c->state == XM_CONN_READY) xm_timer_start(c->loop, &c->idle, c->o.keepalive, on_idle, c);
}

static unsigned time_for_phase(const xm_conn *c) {
  uint64_t now = xm_loop_now(c->loop), left = c->due > now ? c->due - now : 0;
  return (unsigned)(left < c->o.timeout / 2 ? left : c->o.timeout / 2);
}

/* The states come in their order, each with its deadline; CLOSED may follow any. */
static void enter(xm_conn *c, xm_conn_state state) {
  c->state = state;
  c->late = false;
  xm_timer_stop(c->loop, &c->phase);
  if (state < XM_CONN_READY) xm_timer_start(c->loop, &c->phase, time_for_phase(c), on_late, c);
  if (state == XM_CONN_READY) put_off_keepalive(c);
}

/* Lets go of everything that is not needed to tell the tale. */
static void tear_down(xm_conn *c) {
  xm_timer_stop(c->loop, &c->idle);
  xm_dns_free(c->dns);
  xm_tls_free(c->tls);
  xm_sock_free(c->sock);
  xm_nego_free(c->nego);
  c->dns = NULL;
  c->tls = NULL;
  c->sock = NULL;
  c->nego = NULL;
}

static void end(xm_conn *c) {
  if (c->state == XM_CONN_CLOSED) return;
  enter(c, XM_CONN_CLOSED);
  tear_down(c);
  wake(c);
}

/* An end that nobody has asked for; the xm_err says why. */
static xm_conn_event fail(xm_conn *c) {
  if (!xm_err_is_set(&c->why)) xm_err_nomem(&c->why);
  end(c);
  return XM_CONN_AGAIN;
}

static const char *waits_for(const xm_conn *c) {
  switch (c->state) {
    case XM_CONN_RESOLVING: return "the name servers";
    case XM_CONN_DIALLING: return "a TCP connection";
    case XM_CONN_SECURING: return "the TLS handshake";
    default: return c->nego ? xm_nego_waits_for(c->nego) : "the server";
  }
}

static xm_conn_event fail_late(xm_conn *c) {
  if (c->state != XM_CONN_CLOSING)
    xm_err_set(&c->why, XM_LAYER_TIMEOUT, "timeout", true, "connecting to %s: gave up waiting for %s", c->domain,
               waits_for(c));
  xm_err_set(&c->why, XM_LAYER_TIMEOUT, "timeout", true, "the server did not end the stream in time");
  return fail(c);
}

/* Sending. */

static ssize_t io_recv(void *arg, void *to, size_t n) {
  xm_conn *c = arg;
  ssize_t got = xm_sock_recv(c->sock, to, n);
  if (got > 0 && c->nego) xm_sock_hurry(c->sock);
  if (got < 0 && got != -EAGAIN)
    xm_err_errno(&c->why, XM_LAYER_TCP, (int)-got, xm_sock_errname((int)-got), true, "the connection broke");
  return got;
}

static ssize_t io_send(void *arg, const void *from, size_t n) {
  xm_conn *c = arg;
  ssize_t got = xm_sock_send(c->sock, from, n);
  if (got < 0 && got != -EAGAIN)
    xm_err_errno(&c->why, XM_LAYER_TCP, (int)-got, xm_sock_errname((int)-got), true, "the connection broke");
  return got;
}

/* Bytes taken; 0: none now; XM_EFAIL. */
static ssize_t write_some(xm_conn *c) {
  ssize_t n;
  if (c->o.fed) return 0;
  if (c->tls) return xm_tls_write(c->tls, xm_buf_at(&c->out), xm_buf_len(&c->out), &c->why);
  n = io_send(c, xm_buf_at(&c->out), xm_buf_len(&c->out));
  return n == -EAGAIN ? 0 : n < 0 ? XM_EFAIL : n;
}

static bool can_write(const xm_conn *c) {
  return c->state >= XM_CONN_NEGOTIATING && c->state < XM_CONN_CLOSED;
}

void xm_conn_flush(xm_conn *c) {
  ssize_t n = 1;
  if (!can_write(c) || xm_buf_len(&c->out) == 0) return;
  while (n > 0 && xm_buf_len(&c->out)) {
    n = write_some(c);
    if (n > 0) xm_buf_consume(&c->out, (size_t)n);
  }
  if (n < 0) {
    fail(c);
  } else {
    put_off_keepalive(c);
  }
}

static void send_close(xm_conn *c) {
  static const char bye[] = "</stream:stream>";
  if (xm_buf_puts(&c->out, bye) == XM_OK) log_text(c, '>', bye, sizeof bye - 1);
  xm_conn_flush(c);
}

/* All is said in the stream: goodbye underneath, too, so that our last words arrive. */
static void part(xm_conn *c) {
  if (c->tls) xm_tls_finish(c->tls);
  if (c->sock) xm_sock_finish(c->sock);
}

/* The peer's stream is at fault: it is told by name (RFC 6120 4.9), as far as that goes without waiting, unless ours has
 * ended already. */
static xm_conn_event fail_stream(xm_conn *c) {
  char text[256];
  int n = snprintf(text, sizeof text,
                   "<stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
                   c->why.condition);
  if (c->why.layer == XM_LAYER_STREAM && can_write(c) && c->state != XM_CONN_CLOSING &&
      xm_buf_put(&c->out, text, (size_t)n) == XM_OK) {
    log_text(c, '>', text, (size_t)n);
    xm_conn_flush(c);
  }
  part(c);
  return fail(c);
}

/* The peer has ended the stream with an error. */
static xm_conn_event on_stream_error(xm_conn *c, const xm_tape *t) {
  xm_nego_stream_error(t, &c->why);
  if (c->state != XM_CONN_CLOSING) send_close(c);
  part(c);
  return fail(c);
}

/* Phases. Each comes to an event, or to AGAIN when the next state can go on at once. */

static xm_conn_event resolve(xm_conn *c) {
  const xm_dns_address *list;
  int n = xm_dns_result(c->dns, &list, &c->why);
  if (n == 0) return XM_CONN_NOTHING;
  if (n < 0) return fail(c);
  c->sock = xm_sock_dial(c->loop, list, n, wake, c, &c->why);
  if (!c->sock) return fail(c);
  xm_dns_free(c->dns);
  c->dns = NULL;
  enter(c, XM_CONN_DIALLING);
  return XM_CONN_AGAIN;
}

static xm_conn_event begin_tls(xm_conn *c) {
  xm_tls_io io = {.arg = c, .recv = io_recv, .send = io_send};
  xm_tls_peer peer = {.name = c->o.tls_name ? c->o.tls_name : c->domain,
                      .jid = c->o.tls_name ? NULL : xm_jid_domain(&c->jid),
                      .jid_len = c->jid.domain_len,
                      .pin = c->o.pin,
                      .alpn = c->direct};
  c->tls = xm_tls_new(c->o.tls_ctx, &peer, &io, &c->why);
  if (!c->tls) return fail(c);
  enter(c, XM_CONN_SECURING);
  return XM_CONN_AGAIN;
}

static xm_conn_event begin_stream(xm_conn *c) {
  size_t mark = xm_buf_mark(&c->out);
  if (xm_xml_restart(c->xml) < 0 || xm_nego_begin(c->nego, &c->out, &c->why) < 0) return fail(c);
  if (c->state != XM_CONN_NEGOTIATING) enter(c, XM_CONN_NEGOTIATING);
  log_text(c, '>', xm_buf_at(&c->out) + mark, xm_buf_len(&c->out) - mark);
  xm_conn_flush(c);
  return XM_CONN_AGAIN;
}

static xm_conn_event dial(xm_conn *c) {
  const xm_dns_address *won;
  int rc = xm_sock_connected(c->sock, &won, &c->why);
  if (rc == 0) return XM_CONN_NOTHING;
  if (rc < 0) return fail(c);
  if (c->o.tls == XM_TLS_NONE && !c->o.component && !xm_sock_is_loopback(c->sock)) {
    xm_err_set(&c->why, XM_LAYER_TLS, "tls-required", false,
               "tls=\"none\" is only for a server on this machine (a loopback address): use \"starttls\" or \"direct\"");
    return fail(c);
  }
  c->direct = won->direct_tls;
  return c->direct ? begin_tls(c) : begin_stream(c);
}

/* What TLS is worth to a login. */
static void tell_channel(xm_conn *c) {
  xm_mech_channel channel = {.version = xm_tls_version_number(c->tls)};
  int i;
  for (i = 0; i < XM_MECH_BINDINGS; i++)
    channel.bindings[i].n = xm_tls_binding(c->tls, xm_mech_binding_name(i), channel.bindings[i].bytes);
  xm_nego_secured(c->nego, xm_tls_is_verified(c->tls));
  xm_nego_set_channel(c->nego, &channel);
}

static xm_conn_event secure(xm_conn *c) {
  int rc = xm_tls_handshake(c->tls, &c->why);
  if (rc == 0) return XM_CONN_NOTHING;
  if (rc < 0) return fail(c);
  c->tls_version = xm_tls_version(c->tls);
  tell_channel(c);
  return begin_stream(c);
}

/* Nothing the peer said in the clear may be taken for what it says under TLS (RFC 6120 5.4.3.3). */
static xm_conn_event start_tls(xm_conn *c) {
  char byte;
  if (xm_xml_unread(c->xml) || io_recv(c, &byte, 1) > 0) {
    xm_err_set(&c->why, XM_LAYER_TLS, "plaintext-injection", false,
               "bytes came between <proceed/> and the TLS handshake: somebody is tampering with the connection");
    return fail(c);
  }
  return begin_tls(c);
}

static void set_limits(xm_conn *c, size_t stanza) {
  xm_xml_limits limits = {.stanza = stanza,
                          .start_tag = START_TAG,
                          .depth = c->o.max_depth,
                          .attributes = c->o.max_attributes,
                          .nodes = c->o.max_nodes};
  xm_xml_set_limits(c->xml, &limits);
}

static xm_conn_event become_ready(xm_conn *c) {
  c->jid = *xm_nego_jid(c->nego);
  if (xm_route_set_self(c->route, &c->jid) < 0) return fail(c);
  xm_nego_free(c->nego);
  c->nego = NULL;
  set_limits(c, c->o.max_stanza);
  c->out.secret = false;
  c->bound = true;
  enter(c, XM_CONN_READY);
  return XM_CONN_BOUND;
}

static xm_conn_event negotiate(xm_conn *c, bool header) {
  const xm_tape *t = xm_xml_tape(c->xml);
  bool secret = xm_nego_is_secret(c->nego);
  size_t mark = xm_buf_mark(&c->out);
  int verdict = header ? xm_nego_opened(c->nego, t, &c->out, &c->why) : xm_nego_read(c->nego, t, &c->out, &c->why);
  log_tape(c, t, secret);
  if (verdict < 0) return xm_nego_is_stream_error(t) ? on_stream_error(c, t) : fail_stream(c);
  log_masked(c, '>', xm_buf_at(&c->out) + mark, xm_buf_len(&c->out) - mark, xm_nego_is_secret(c->nego));
  xm_conn_flush(c);
  if (c->state == XM_CONN_CLOSED) return XM_CONN_AGAIN; /* writing failed: the parts have gone */
  c->mechanism = xm_nego_mechanism(c->nego);
  c->binding = xm_nego_binding(c->nego);
  switch ((xm_nego_verdict)verdict) {
    case XM_NEGO_STARTTLS: return start_tls(c);
    case XM_NEGO_RESTART: return begin_stream(c);
    case XM_NEGO_READY: return become_ready(c);
    default: return XM_CONN_AGAIN;
  }
}

/* The streams are both at their end. */
static xm_conn_event finish(xm_conn *c) {
  part(c);
  end(c);
  return XM_CONN_AGAIN;
}

static xm_conn_event on_close(xm_conn *c) {
  log_text(c, '<', "</stream:stream>", 16);
  if (c->state == XM_CONN_CLOSING) return finish(c);
  xm_err_set(&c->why, XM_LAYER_CLOSED, "closed-by-server", true, "the server closed the stream");
  send_close(c);
  return c->state == XM_CONN_CLOSED ? XM_CONN_AGAIN : finish(c);
}

static xm_conn_event on_element(xm_conn *c) {
  const xm_tape *t = xm_xml_tape(c->xml);
  const char *ns = xm_conn_ns(c), *name;
  if (c->nego) return negotiate(c, false);
  log_tape(c, t, false);
  name = xm_tape_name(t, 0);
  if (xm_nego_is_stream_error(t)) return on_stream_error(c, t);
  if (!xm_tape_is(t, 0, ns, NULL)) return XM_CONN_AGAIN; /* a nonza that nobody negotiated: passed over */
  if (strcmp(name, "message") == 0 || strcmp(name, "presence") == 0 || strcmp(name, "iq") == 0) return XM_CONN_STANZA;
  xm_err_set(&c->why, XM_LAYER_STREAM, "unsupported-stanza-type", false, "the server sent <%s/>, which is no stanza",
             name);
  return fail_stream(c);
}

static ssize_t take_fed(xm_conn *c, char *to, size_t room) {
  size_t n = xm_buf_len(&c->in) < room ? xm_buf_len(&c->in) : room;
  if (n == 0) return -EAGAIN;
  memcpy(to, xm_buf_at(&c->in), n);
  xm_buf_consume(&c->in, n);
  return (ssize_t)n;
}

/* Bytes into the parser's own buffer. 1: some came; 0: none now; XM_EFAIL. */
static int read_some(xm_conn *c) {
  size_t room;
  char *to = xm_xml_space(c->xml, &room);
  ssize_t n;
  if (!to) return xm_err_nomem(&c->why);
  if (c->o.fed) {
    n = take_fed(c, to, room);
  } else {
    n = c->tls ? xm_tls_read(c->tls, to, room, &c->why) : io_recv(c, to, room);
  }
  if (n > 0) {
    xm_xml_fill(c->xml, (size_t)n);
    return 1;
  }
  if (n == -EAGAIN || (c->tls && n == 0)) return 0;
  return xm_err_set(&c->why, XM_LAYER_TCP, "EOF", true, "the server cut the connection without ending the stream");
}

/* The next event of the stream: from what is parsed, else from what can be read. */
static int pull(xm_conn *c, int *reads) {
  int ev = xm_xml_next(c->xml, &c->why), got = 1;
  while (ev == XM_XML_MORE && got > 0 && *reads < READS_A_TURN) {
    got = read_some(c);
    if (got < 0) return got;
    (*reads)++;
    ev = got ? xm_xml_next(c->xml, &c->why) : xm_xml_drained(c->xml, &c->why);
  }
  return ev;
}

static xm_conn_event read_stream(xm_conn *c, int *reads) {
  int ev;
  if (c->paused) return XM_CONN_NOTHING;
  ev = pull(c, reads);
  switch (ev) {
    case XM_XML_MORE: return *reads < READS_A_TURN ? XM_CONN_NOTHING : XM_CONN_AGAIN;
    case XM_XML_OPEN: return c->nego ? negotiate(c, true) : XM_CONN_AGAIN;
    case XM_XML_STANZA: return on_element(c);
    case XM_XML_CLOSE: return on_close(c);
    default: return c->state == XM_CONN_CLOSING && c->why.layer == XM_LAYER_TCP ? fail(c) : fail_stream(c);
  }
}

static xm_conn_event crank(xm_conn *c, int *reads) {
  if (c->late) return fail_late(c);
  switch (c->state) {
    case XM_CONN_RESOLVING: return resolve(c);
    case XM_CONN_DIALLING: return dial(c);
    case XM_CONN_SECURING: return secure(c);
    default: return read_stream(c, reads);
  }
}

xm_conn_event xm_conn_next(xm_conn *c) {
  xm_conn_event ev = XM_CONN_AGAIN;
  int reads = 0;
  if (c->state == XM_CONN_CLOSED && c->told) return XM_CONN_NOTHING;
  while (ev == XM_CONN_AGAIN && c->state != XM_CONN_CLOSED && reads < READS_A_TURN) ev = crank(c, &reads);
  if (c->state != XM_CONN_CLOSED || ev == XM_CONN_STANZA) return ev;
  c->told = true;
  return XM_CONN_ENDED;
}

/* Construction. */

static int copy_string(const char **s) {
  char *copy = *s ? strdup(*s) : NULL;
  if (*s && !copy) return XM_ENOMEM;
  *s = copy;
  return XM_OK;
}

static const char **strings_of(xm_conn_options *o, int i) {
  const char **const all[] = {&o->host, &o->tls_name, &o->pin, &o->lang, &o->mechanisms, &o->nameservers};
  return i < (int)(sizeof all / sizeof *all) ? all[i] : NULL;
}

/* All or nothing: on failure none of them is ours. */
static int copy_strings(xm_conn_options *o) {
  const char **s;
  int i, rc = XM_OK;
  for (i = 0; (s = strings_of(o, i)); i++) {
    if (rc == XM_OK) rc = copy_string(s);
    if (rc < 0) *s = NULL;
  }
  return rc;
}

static int make_parts(xm_conn *c, const xm_conn_options *o) {
  xm_nego_options n = {.component = o->component,
                       .jid = &c->jid,
                       .lang = c->o.lang,
                       .mechanisms = c->o.mechanisms,
                       .plain = o->plain,
                       .pinned = o->pinned,
                       .certificate = o->tls_ctx && xm_tls_ctx_has_certificate(o->tls_ctx),
                       .authzid = o->tls_ctx &&
                                  xm_tls_ctx_needs_authzid(o->tls_ctx, c->jid.str, xm_jid_bare_len(&c->jid)),
                       .need_tls = o->tls != XM_TLS_NONE};
  xm_xml_limits limits = {0};
  c->nego = xm_nego_new(&n, o->password, o->password_len);
  c->xml = xm_xml_new(xm_conn_ns(c), &limits);
  c->route = xm_route_new(xm_conn_ns(c));
  if (!c->nego || !c->xml || !c->route) return XM_ENOMEM;
  set_limits(c, STANZA_UNTIL_BOUND);
  return XM_OK;
}

static int start_fed(xm_conn *c, xm_err *e) {
  static const char header[] = "<stream:stream xmlns:stream='" XM_NS_STREAM "' xmlns='%s' version='1.0'>";
  char text[256];
  int n = snprintf(text, sizeof text, header, xm_conn_ns(c));
  c->bound = true;
  xm_nego_free(c->nego);
  c->nego = NULL;
  set_limits(c, c->o.max_stanza);
  c->out.secret = false;
  enter(c, XM_CONN_READY);
  if (xm_route_set_self(c->route, &c->jid) == XM_OK && xm_buf_put(&c->in, text, (size_t)n) == XM_OK) return XM_OK;
  return xm_err_nomem(e);
}

static int start(xm_conn *c, xm_err *e) {
  xm_dns_query q = {.domain = c->o.host ? c->o.host : c->domain,
                    .port = c->o.port,
                    .srv = !c->o.host && !c->o.component,
                    .direct_tls = c->o.tls == XM_TLS_DIRECT,
                    .nameservers = c->o.nameservers};
  if (c->o.fed) return start_fed(c, e);
  c->due = xm_loop_now(c->loop) + c->o.timeout;
  enter(c, XM_CONN_RESOLVING);
  c->dns = xm_dns_start(c->loop, &q, wake, c, e);
  return c->dns ? XM_OK : XM_EFAIL;
}

xm_conn *xm_conn_new(xm_loop *l, const xm_conn_options *options, xm_err *e) {
  xm_conn *c = calloc(1, sizeof *c);
  if (!c) {
    xm_err_nomem(e);
    return NULL;
  }
  c->o = *options;
  c->o.password = NULL;
  c->out = XM_BUF_SECRET;
  memcpy(&c->jid, options->jid, offsetof(xm_jid, str) + xm_jid_len(options->jid) + 1); /* it may end at its NUL */
  c->loop = l;
  xm_loop_hold(l);
  if (c->o.tls_ctx) xm_tls_ctx_hold(c->o.tls_ctx);
  if (copy_strings(&c->o) == XM_OK && make_parts(c, options) == XM_OK &&
      xm_jid_ascii_domain(&c->jid, c->domain, sizeof c->domain) == XM_OK) {
    if (start(c, e) == XM_OK) return c;
  }
  xm_err_nomem(e);
  xm_conn_free(c);
  return NULL;
}

void xm_conn_free(xm_conn *c) {
  const char **s;
  int i;
  if (!c) return;
  tear_down(c);
  xm_timer_stop(c->loop, &c->phase);
  xm_xml_free(c->xml);
  xm_route_free(c->route);
  xm_tls_ctx_release(c->o.tls_ctx);
  xm_buf_free(&c->out);
  xm_buf_free(&c->in);
  xm_buf_free(&c->log);
  for (i = 0; (s = strings_of(&c->o, i)); i++) free((char *)*s);
  xm_loop_release(c->loop);
  free(c);
}

/* The rest. */

void xm_conn_pause(xm_conn *c, bool paused) {
  if (c->paused == paused || c->state < XM_CONN_NEGOTIATING || c->state == XM_CONN_CLOSED) return;
  c->paused = paused;
  if (c->sock) xm_sock_pause(c->sock, paused);
  if (!paused) wake(c); /* there may be more in the parser, of which no descriptor tells */
}

const xm_tape *xm_conn_stanza(const xm_conn *c) {
  return xm_xml_tape(c->xml);
}

const xm_jid *xm_conn_jid(const xm_conn *c) {
  return c->bound ? &c->jid : NULL;
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

const char *xm_conn_tls_version(const xm_conn *c) {
  return c->tls_version;
}

const char *xm_conn_mechanism(const xm_conn *c) {
  return c->mechanism;
}

const char *xm_conn_binding(const xm_conn *c) {
  return c->binding;
}

const xm_err *xm_conn_why(const xm_conn *c) {
  return &c->why;
}

unsigned xm_conn_max_depth(const xm_conn *c) {
  return c->o.max_depth;
}

xm_buf *xm_conn_out(xm_conn *c) {
  return &c->out;
}

int xm_conn_commit(xm_conn *c, size_t mark, xm_err *e) {
  size_t n = xm_buf_len(&c->out) - mark;
  if (c->state != XM_CONN_READY) {
    xm_buf_rollback(&c->out, mark);
    return xm_err_set(e, XM_LAYER_CLOSED, xm_err_is_set(&c->why) ? c->why.condition : "not-connected", c->why.retry,
                      "the connection is %s%s%s", xm_conn_state_name(c->state), *c->why.text ? ": " : "", c->why.text);
  }
  if (xm_buf_len(&c->out) > c->o.max_queue) {
    xm_buf_rollback(&c->out, mark);
    return xm_err_set(e, XM_LAYER_LIMIT, "max-queue", true,
                      "%zu bytes wait to be sent already and the stanza has %zu, over max_queue (%zu): slow down (flush "
                      "waits until there is room)",
                      mark, n, c->o.max_queue);
  }
  log_text(c, '>', xm_buf_at(&c->out) + mark, n);
  return XM_OK;
}

size_t xm_conn_unsent(const xm_conn *c) {
  return xm_buf_len(&c->out);
}

void xm_conn_close(xm_conn *c, unsigned ms) {
  if (c->state >= XM_CONN_CLOSING) return;
  if (c->state != XM_CONN_READY) {
    xm_err_set(&c->why, XM_LAYER_CLOSED, "stopped", false, "the connection was stopped before it was ready");
    end(c);
    return;
  }
  enter(c, XM_CONN_CLOSING);
  xm_timer_start(c->loop, &c->phase, ms, on_late, c);
  xm_conn_pause(c, false);
  send_close(c);
}

int xm_conn_feed(xm_conn *c, const char *bytes, size_t n) {
  wake(c);
  return xm_buf_put(&c->in, bytes, n);
}

void xm_conn_abort(xm_conn *c) {
  if (c->state != XM_CONN_CLOSED) fail(c);
}

xm_buf *xm_conn_log(xm_conn *c) {
  return &c->log;
}
