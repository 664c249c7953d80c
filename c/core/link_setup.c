/* link_setup: from the name to an open stream. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "known.h"
#include "link_own.h"
#include "mech.h"

static socklen_t length_of(const struct sockaddr_storage *sa) {
  return sa->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

/* The list, rotated so that the target to be avoided comes last. */
static void rotate(const xm_link *k, const xm_dns_address *from, int n, xm_dns_address *to) {
  const xm_link_peer *avoid = k->avoid;
  int i, first = 0;
  for (i = 0; i < n && avoid && avoid->address.ss_family && !*avoid->host; i++)
    if (memcmp(&from[i].sa, &avoid->address, length_of(&avoid->address)) == 0) first = i + 1;
  while (first > 0 && first < n && from[first].target == from[first - 1].target) first++;
  for (i = 0; i < n; i++) to[i] = from[(first + i) % n];
}

/* Several targets are kept, since the one that answers may not be the right server; so is what a proxy is asked for. */
static int keep_targets(xm_link *k, const xm_dns_address *list, int n) {
  if (!k->names && list[0].target == list[n - 1].target) return XM_OK;
  k->targets = malloc(sizeof *k->targets + (size_t)n * sizeof *list);
  if (!k->targets) return xm_err_nomem(&k->why);
  k->targets->n = k->targets->next = n;
  k->targets->names = k->names;
  k->names = NULL;
  memcpy(k->targets->list, list, (size_t)n * sizeof *list);
  return XM_OK;
}

/* A target has answered: the next one is the one behind it. */
static void pass_target(xm_targets *t, const xm_dns_address *won) {
  int i;
  for (i = 0; t && i < t->n; i++)
    if (t->list[i].target == won->target) t->next = i + 1;
}

/* Behind a proxy. */

static int ask_for_proxy(xm_link *k, unsigned budget, xm_err *e) {
  const xm_proxy *p = &k->o->proxy;
  const xm_dns_query q = {.domain = p->host, .port = p->port, .nameservers = k->o->nameservers, .budget_ms = budget};
  k->dns = xm_dns_start(k->loop, &q, xk_wake, k, e);
  return k->dns ? XM_OK : XM_EFAIL;
}

/* The one to be avoided comes last. */
static int note_names(xm_link *k, const xm_dns_name *from, int n, xm_err *e) {
  int i, first = 0;
  k->names = calloc(1, sizeof *k->names);
  if (!k->names) return xm_err_nomem(e);
  k->names->n = n;
  for (i = 0; i < n && k->avoid; i++)
    if (from[i].port == k->avoid->port && strcmp(from[i].host, k->avoid->host) == 0) first = i + 1;
  for (i = 0; i < n; i++) k->names->list[i] = from[(first + i) % n];
  return XM_OK;
}

/* SRV records are looked up here, unless the proxy is to look up everything: it can't look up SRV. */
int xk_ask(xm_link *k, const xm_dns_query *query, xm_err *e) {
  xm_dns_query q = *query;
  xm_dns_name name = {.port = (uint16_t)q.port, .direct_tls = q.direct_tls};
  q.names = xm_conn_has_proxy(k->o);
  if (q.names && (!q.srv || k->o->proxy.resolves)) {
    strncat(name.host, q.domain, sizeof name.host - 1);
    return note_names(k, &name, 1, e) == XM_OK ? ask_for_proxy(k, q.budget_ms, e) : XM_EFAIL;
  }
  k->dns = xm_dns_start(k->loop, &q, xk_wake, k, e);
  return k->dns ? XM_OK : XM_EFAIL;
}

static xm_link_event resolve_names(xm_link *k) {
  xm_dns_name list[XM_DNS_TARGETS];
  uint64_t due = k->entered + k->o->timeout / 2, now = xm_loop_now(k->loop);
  int n = xm_dns_names(k->dns, list, &k->why);
  if (n == 0) return XM_LINK_NOTHING;
  xm_dns_free(k->dns);
  k->dns = NULL;
  if (n < 0 || note_names(k, list, n, &k->why) < 0) return xk_end(k, XM_LINK_CUT);
  if (ask_for_proxy(k, due > now ? (unsigned)(due - now) : 1, &k->why) < 0) return xk_end(k, XM_LINK_CUT);
  return XM_LINK_NOTHING;
}

/* Names the proxy in the error, if there is one: the failure is the proxy's. */
static xm_link_event fail_before_the_proxy(xm_link *k) {
  char text[400];
  if (xm_conn_has_proxy(k->o) && k->why.layer != XM_LAYER_LIMIT) {
    snprintf(text, sizeof text, "%.*s", (int)sizeof text - 1, k->why.text);
    snprintf(k->why.text, sizeof k->why.text, "the proxy %.100s: %s", k->o->proxy.name, text);
  }
  return xk_end(k, XM_LINK_CUT);
}

xm_link_event xk_resolve(xm_link *k) {
  const xm_dns_address *list;
  xm_dns_address order[XM_DNS_ADDRESSES];
  int n;
  if (xm_conn_has_proxy(k->o) && !k->names) return resolve_names(k);
  n = xm_dns_result(k->dns, &list, &k->why);
  if (n == 0) return XM_LINK_NOTHING;
  if (n < 0) return fail_before_the_proxy(k);
  rotate(k, list, n, order);
  if (keep_targets(k, order, n) < 0) return xk_end(k, XM_LINK_CUT);
  k->sock = xm_sock_dial(k->loop, order, n, xk_wake, k, &k->why);
  if (!k->sock) return xk_end(k, XM_LINK_CUT);
  xm_dns_free(k->dns);
  k->dns = NULL;
  return xk_enter(k, XM_LINK_DIALLING);
}

/* Over WebSocket the certificate may be for the URL's host instead, which SNI names (XEP-0156 4, RFC 7395 3.9). */
static xm_tls_peer tls_peer(const xm_link *k) {
  const char *named = k->o->tls_name, *domain = named ? named : k->domain;
  const char *web = k->web && !named ? xk_web_url(k)->host : NULL;
  return (xm_tls_peer){.name = web ? web : domain,
                       .also = web ? domain : NULL,
                       .jid = named ? NULL : xm_jid_domain(k->o->jid),
                       .jid_len = k->o->jid->domain_len,
                       .pin = k->o->pin,
                       .use = k->web ? XM_TLS_WEB : k->direct ? XM_TLS_XMPP : XM_TLS_INSIDE,
                       .via = xm_conn_has_proxy(k->o) ? k->o->via.bytes : NULL,
                       .via_len = sizeof k->o->via.bytes,
                       .resume = xm_conn_may_remember(k->o) && !k->choked};
}

static xm_link_event begin_tls(xm_link *k) {
  xm_tls_io io = {.arg = k, .recv = xk_recv, .send = xk_send};
  xm_tls_peer peer = tls_peer(k);
  if (!k->o->tls_ctx) {
    xm_err_set(&k->why, XM_LAYER_TLS, "tls-required", false,
               k->web ? "the server says to go on with TLS, and ws:// was asked for: use wss://"
                      : "the server wants TLS, and tls=\"none\" was asked for: use \"starttls\" or \"direct\"");
    return xk_end(k, XM_LINK_CUT);
  }
  k->tls = xm_tls_new(k->o->tls_ctx, &peer, &io, &k->why);
  if (!k->tls) return xk_end(k, XM_LINK_CUT);
  return xk_enter(k, XM_LINK_SECURING);
}

/* What isn't sent in the same flight as the header costs a round trip. */
xm_link_event xk_begin_stream(xm_link *k) {
  size_t mark = xm_buf_mark(&k->wire), behind;
  int secret;
  if (xm_xml_restart(k->xml) < 0 || (k->web && xk_web_begin(k) < 0) || xm_nego_begin(k->nego, &k->wire, &k->why) < 0)
    return xk_end(k, XM_LINK_CUT);
  xm_wirelog_begin(k->log);
  xm_wirelog_text(k->log, '>', xm_buf_at(&k->wire) + mark, xm_buf_len(&k->wire) - mark);
  behind = xm_buf_mark(&k->wire);
  secret = xm_nego_go_ahead(k->nego, &k->wire, &k->why);
  if (secret < 0) return xk_end(k, XM_LINK_CUT);
  xm_wirelog_masked(k->log, '>', xm_buf_at(&k->wire) + behind, xm_buf_len(&k->wire) - behind, secret);
  k->went = xm_nego_went_ahead(k->nego);
  if (k->state != XM_LINK_NEGOTIATING && xk_enter(k, XM_LINK_NEGOTIATING) == XM_LINK_ENDED) return XM_LINK_ENDED;
  xm_link_flush(k);
  return XM_LINK_AGAIN;
}

/* Beside XM_NEGO_AHEAD_*, a bit of what servers have objected to. */
enum { KNOWN_SASL2 = 8 };

/* Identifies in `known` the server that was dialled: by its address, or by the proxy and what that was asked for. */
typedef struct server_key {
  struct sockaddr_storage address;
  xm_keyring_name via;
  char host[254];
  int port;
  bool direct, web;
  char domain[256];
} server_key;
_Static_assert(sizeof(server_key) <= XM_KNOWN_KEY, "a key must fit");

static void name_server(const xm_link *k, server_key *key) {
  memset(key, 0, sizeof *key);
  if (xm_conn_has_proxy(k->o)) {
    key->via = k->o->via;
    key->port = k->target.port;
    strcpy(key->host, k->target.host);
  } else {
    memcpy(&key->address, &k->address, length_of(&k->address));
  }
  key->direct = k->direct;
  key->web = k->web != NULL;
  strcpy(key->domain, k->domain);
}

/* What was learnt about this server at earlier logins says what may be sent ahead, and what need not be tried again.
 * Where nothing may be remembered, every server is a new one. */
static int look_up(xm_link *k) {
  xm_known known = {0};
  server_key key;
  name_server(k, &key);
  if (xm_conn_may_remember(k->o)) xm_known_get(&key, sizeof key, &known);
  xm_nego_set_detours(k->nego, known.detours);
  xm_nego_set_sasl2(k->nego, known.sasl2, known.objected & KNOWN_SASL2);
  if (k->lockstep) return XM_OK;
  if (!known.met && k->o->pipelining != XM_PIPELINING_EAGER) return XM_OK;
  return xm_nego_set_ahead(k->nego, XM_NEGO_AHEAD_ALL & ~known.objected, known.offer, known.n,
                           known.offer_is_sasl2 ? XM_LOGIN_SASL2 : XM_LOGIN_SASL, known.inside);
}

/* Once it may be the network, twice it is the server: one whose module is broken never ends a login, or never answers.
 * From then on the older profile is used with it. */
void xk_suspect_sasl2(const xm_link *k) {
  server_key key;
  if (!xm_conn_may_remember(k->o)) return;
  name_server(k, &key);
  xm_known_objection(&key, sizeof key, KNOWN_SASL2, false);
}

/* Where SASL2 has worked it isn't broken, the links were: after one login by the older profile it is tried again. */
static void remember(const xm_link *k) {
  size_t n;
  const char *offer = xm_nego_offer(k->nego, &n);
  unsigned taken = k->went | (k->sasl2 ? KNOWN_SASL2 : 0);
  server_key key;
  xm_known known;
  if (!xm_conn_may_remember(k->o)) return;
  name_server(k, &key);
  xm_known_get(&key, sizeof key, &known);
  if (known.sasl2) xm_known_pardon(&key, sizeof key, KNOWN_SASL2);
  if (offer) xm_known_offer(&key, sizeof key, offer, n, k->sasl2, xm_nego_inside(k->nego));
  xm_known_success(&key, sizeof key, taken, xm_nego_detours(k->nego), k->sasl2);
  if (k->blamed && !(k->blamed & XM_NEGO_CHANGED))
    xm_known_objection(&key, sizeof key, k->blamed & XM_NEGO_AHEAD_ALL, !(k->blamed & XM_LINK_PERHAPS));
}

/* What comes above the transport: HTTP, or XMPP itself. */
static xm_link_event begin_above(xm_link *k) {
  return k->web ? xk_web_upgrade(k) : xk_begin_stream(k);
}

/* The connection to the server is there. */
static xm_link_event meet(xm_link *k) {
  if (look_up(k) < 0) return xk_end(k, XM_LINK_CUT);
  return k->direct ? begin_tls(k) : begin_above(k);
}

/* The proxy has answered. This link tries one target; the next one is left to another link. */
static xm_link_event begin_tunnel(xm_link *k) {
  if (!k->again) k->target = k->targets->names->list[k->targets->names->next++];
  if (!k->share) xk_take_share(k);
  k->direct = k->target.direct_tls;
  k->tunnel = xm_tunnel_new(&k->o->proxy, k->target.host, k->target.port, &k->why);
  if (!k->tunnel) return xk_end(k, XM_LINK_CUT);
  return xk_enter(k, XM_LINK_TUNNELLING);
}

static xm_link_event fail_in_the_proxy(xm_link *k, int errnum) {
  if (errnum == 0) xm_tunnel_end(k->tunnel, &k->why);
  else xm_err_errno(&k->why, XM_LAYER_TCP, errnum, xm_sock_errname(errnum), true, "the connection broke");
  return errnum == 0 ? xk_end(k, XM_LINK_CUT) : fail_before_the_proxy(k);
}

/* What follows the proxy's answer is the server's, so what has come is looked at before it is received. A proxy that
 * answers before it is asked is asked all the same. */
xm_link_event xk_tunnel(xm_link *k) {
  char bytes[512];
  size_t used;
  ssize_t n;
  int rc;
  xk_say(k, xm_tunnel_out(k->tunnel));
  n = xm_sock_peek(k->sock, bytes, sizeof bytes);
  if (n == -EAGAIN) return XM_LINK_NOTHING;
  if (n <= 0) return fail_in_the_proxy(k, (int)-n);
  rc = xm_tunnel_take(k->tunnel, bytes, (size_t)n, &used, &k->why);
  if (rc < 0 || xk_recv(k, bytes, used) < 0) return xk_end(k, XM_LINK_CUT);
  k->reads_left--;
  if (rc == 0) return XM_LINK_AGAIN;
  xk_say(k, xm_tunnel_out(k->tunnel));
  xm_tunnel_free(k->tunnel);
  k->tunnel = NULL;
  k->met = true;
  return meet(k);
}

xm_link_event xk_dial(xm_link *k) {
  const xm_dns_address *won;
  int rc = xm_sock_connected(k->sock, &won, &k->why);
  if (rc == 0) return XM_LINK_NOTHING;
  if (rc < 0) return fail_before_the_proxy(k);
  k->address = won->sa;
  if (xm_conn_has_proxy(k->o)) return begin_tunnel(k);
  if (!k->again) pass_target(k->targets, won);
  if (!k->share) xk_take_share(k);
  if (k->o->tls == XM_TLS_NONE && !k->o->component && !xm_sock_is_loopback(k->sock)) {
    xm_err_set(&k->why, XM_LAYER_TLS, "tls-required", false,
               k->web ? "ws:// is only for a server on this machine (a loopback address): use wss://"
                      : "tls=\"none\" is only for a server on this machine (a loopback address): use \"starttls\" or \"direct\"");
    return xk_end(k, XM_LINK_CUT);
  }
  k->direct = won->direct_tls;
  return meet(k);
}

/* Tells nego what TLS provides for the login. */
static void tell_channel(xm_link *k) {
  xm_mech_channel channel = {.version = xm_tls_version_number(k->tls)};
  int i;
  for (i = 0; i < XM_MECH_BINDINGS; i++)
    channel.bindings[i].n = xm_tls_binding(k->tls, xm_mech_binding_name(i), channel.bindings[i].bytes);
  xm_nego_secured(k->nego, xm_tls_is_verified(k->tls));
  xm_nego_set_channel(k->nego, &channel);
}

/* Dials the same address once more, and will offer no TLS session there. */
static xm_link_event dial_again(xm_link *k) {
  const xm_dns_address same = {.sa = k->address, .direct_tls = k->direct};
  xm_err_clear(&k->why);
  xm_tls_free(k->tls);
  xm_sock_free(k->sock);
  xm_buf_clear(&k->wire);
  k->choked = k->again = true;
  k->tls = NULL;
  k->sock = xm_sock_dial(k->loop, &same, 1, xk_wake, k, &k->why);
  if (!k->sock) return xk_end(k, XM_LINK_CUT);
  return xk_enter(k, XM_LINK_DIALLING);
}

xm_link_event xk_secure(xm_link *k) {
  int rc = xm_tls_handshake(k->tls, &k->why);
  if (rc == 0) return XM_LINK_NOTHING;
  if (rc == XM_TLS_MORE) {
    k->reads_left = 0;
    return XM_LINK_AGAIN;
  }
  if (rc < 0) return xm_tls_is_choked(k->tls) ? dial_again(k) : xk_end(k, XM_LINK_CUT);
  k->tls_version = xm_tls_version(k->tls);
  k->has_certificate = xm_tls_good_for(k->tls, &k->good_for);
  k->tls_resumed = xm_tls_is_resumed(k->tls);
  tell_channel(k);
  return begin_above(k);
}

/* Nothing the peer said in the clear may be taken for what it says under TLS (RFC 6120 5.4.3.3). */
static xm_link_event start_tls(xm_link *k) {
  char byte;
  if (xm_xml_unread(k->xml) || xk_recv(k, &byte, 1) > 0) {
    xm_err_set(&k->why, XM_LAYER_TLS, "plaintext-injection", false,
               "bytes came between <proceed/> and the TLS handshake: somebody is tampering with the connection");
    return xk_end(k, XM_LINK_CUT);
  }
  return begin_tls(k);
}

void xk_open_up(xm_link *k) {
  xm_targets_free(xm_link_take_targets(k));
  xm_nego_free(k->nego);
  k->nego = NULL;
  xm_xml_set_bounds(k->xml, &k->o->bounds, XM_XML_SKIP);
  k->wire.secret = false;
  if (k->web) xk_web_open_up(k);
  xk_enter(k, XM_LINK_OPEN);
  if (k->paused && k->sock) xm_sock_pause(k->sock, true);
}

/* Without memory for it there is no token; the login is good all the same. */
static xm_token *copy_token(const xm_token *token) {
  xm_token *copy = token->n ? malloc(sizeof *copy) : NULL;
  if (copy) memcpy(copy, token, sizeof *copy);
  return copy;
}

xm_link_event xk_become_open(xm_link *k) {
  k->sasl2 = xm_nego_mechanism(k->nego) && xm_nego_profile(k->nego) == XM_LOGIN_SASL2;
  remember(k);
  k->has_sm = xm_nego_has_sm(k->nego);
  k->offers = xm_nego_take_offers(k->nego);
  k->bound_inside = xm_nego_is_bound_inside(k->nego);
  k->enabled = xm_nego_take_enabled(k->nego);
  k->fresh = copy_token(xm_nego_new_token(k->nego));
  if (k->outcome != XM_NEGO_RESUMED) k->bound = xm_jid_copy(xm_nego_jid(k->nego));
  if (k->outcome != XM_NEGO_RESUMED && !k->bound) return xk_end(k, XM_LINK_CUT);
  if (k->tls) xm_tls_keep(k->tls);
  xk_open_up(k);
  return XM_LINK_OPENED;
}

/* The peer has said why, or has done nothing wrong, so it isn't sent an error. */
static bool is_orderly_end(const xm_link *k, const xm_tape *t) {
  return xm_nego_is_stream_error(t) || k->why.layer == XM_LAYER_CLOSED;
}

/* The session is there; the server's features come at the same time, or not at all. */
static xm_link_event wait_for_last(xm_link *k) {
  if (xm_timer_start(k->loop, &k->phase, LAST_FEATURES, xk_on_late, k) == XM_OK) return XM_LINK_AGAIN;
  xm_err_nomem(&k->why);
  return xk_end(k, XM_LINK_CUT);
}

/* What doesn't fit ends the link: the stanza's sender wouldn't be told of a loss, and may not be to blame. */
static xm_link_event keep_early(xm_link *k, const xm_tape *t) {
  int rc = xm_early_put(&k->early, t);
  if (rc == XM_OK) return XM_LINK_AGAIN;
  if (rc == XM_ELIMIT)
    xm_err_set(&k->why, XM_LAYER_STREAM, "policy-violation", true,
               "before it bound the session, the server sent more than %d stanzas, or stanzas that take more than %d bytes",
               XM_EARLY_STANZAS, XM_EARLY_BYTES);
  return xk_end(k, XM_LINK_REFUSE);
}

xm_link_event xk_negotiate(xm_link *k, bool header) {
  const xm_tape *t = xm_xml_tape(k->xml);
  bool secret = xm_nego_is_secret(k->nego);
  size_t mark = xm_buf_mark(&k->wire);
  int verdict =
      header ? xm_nego_opened(k->nego, t, &k->wire, &k->why) : xm_nego_read(k->nego, t, &k->wire, &k->why);
  xm_wirelog_tape(k->log, t, secret);
  xk_note_error(k, t);
  k->objected = xm_nego_objected(k->nego);
  if (k->blamed) k->objected &= ~(unsigned)XM_LINK_TOKEN; /* only once */
  k->outcome = xm_nego_outcome_of(k->nego, &k->h);
  k->token = xm_nego_token(k->nego);
  k->answered = k->answered || header;
  if (verdict < 0) return xk_end(k, is_orderly_end(k, t) ? XM_LINK_BYE : XM_LINK_REFUSE);
  xm_wirelog_masked(k->log, '>', xm_buf_at(&k->wire) + mark, xm_buf_len(&k->wire) - mark,
                    xm_nego_is_secret(k->nego));
  xm_link_flush(k);
  k->mechanism = xm_nego_mechanism(k->nego);
  k->binding = xm_nego_binding(k->nego);
  switch ((xm_nego_verdict)verdict) {
    case XM_NEGO_STARTTLS: return start_tls(k);
    case XM_NEGO_RESTART: return xk_begin_stream(k);
    case XM_NEGO_EARLY: return keep_early(k, t);
    case XM_NEGO_READY_BEFORE: k->kept = true; /* fall through */
    case XM_NEGO_READY: return xk_become_open(k);
    default: return xm_nego_at(k->nego) == XM_NEGO_LAST ? wait_for_last(k) : XM_LINK_AGAIN;
  }
}

