/* wire: replaces the modules below conn (dns, sock, tls) by a simulation that an input controls: nothing is resolved,
 * every connection succeeds, and there may be a second one if something was sent ahead; TLS doesn't change the bytes.
 * What conn sends is kept, separately for plaintext and TLS; what it receives is the next piece that `say` makes. */
#ifndef WIRE_H
#define WIRE_H

#include <arpa/inet.h>
#include <errno.h>

#include "buf.h"
#include "dns.h"
#include "fuzz.h"
#include "sock.h"
#include "tls.h"

struct xm_dns {
  xm_dns_address address;
};
struct xm_sock {
  bool up;
};
struct xm_tls {
  bool done;
};

static struct wire {
  unsigned dials, handshakes; /* how many were begun */
  unsigned most;              /* the most connections that may be made; 0: two */
  bool direct, exporter, end_point, tls12, verified, certificate, refuse, slow, sips;
  bool secure;             /* TLS has been established */
  bool over;               /* `say` has nothing more */
  xm_buf clear, under_tls; /* what conn has sent */
  xm_buf told;             /* what conn has received without TLS */
  xm_buf heard;            /* what conn receives next */
  void (*say)(xm_buf *to); /* appends the next piece to be received, if there is one now */
  void (*before_tls)(void);
  void (*again)(void); /* called when a second connection is made */
} wire;

static void wire_free(void) {
  xm_buf_free(&wire.clear);
  xm_buf_free(&wire.under_tls);
  xm_buf_free(&wire.told);
  xm_buf_free(&wire.heard);
}

/* dns */

xm_dns *xm_dns_start(xm_loop *l, const xm_dns_query *q, void (*done)(void *arg), void *arg, xm_err *e) {
  xm_dns *d = calloc(1, sizeof *d);
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)q->port)};
  (void)l, (void)done, (void)arg, (void)e;
  MUST(d && q->domain && *q->domain);
  memcpy(&d->address.sa, &sa, sizeof sa);
  d->address.direct_tls = wire.direct;
  return d;
}

int xm_dns_result(const xm_dns *d, const xm_dns_address **list, xm_err *e) {
  (void)e;
  *list = &d->address;
  return 1;
}

/* Never called: there is no proxy. */
int xm_dns_names(const xm_dns *d, xm_dns_name to[XM_DNS_TARGETS], xm_err *e) {
  (void)d, (void)to, (void)e;
  MUST(false);
  return XM_EFAIL;
}

void xm_dns_free(xm_dns *d) {
  free(d);
}

/* sock */

static void dial_again(void) {
  wire.handshakes = 0;
  wire.secure = false;
  xm_buf_clear(&wire.told);
  xm_buf_clear(&wire.heard);
  wire.again();
}

xm_sock *xm_sock_dial(xm_loop *l, const xm_dns_address *list, int n, void (*wake)(void *arg), void *arg, xm_err *e) {
  (void)l, (void)wake, (void)arg, (void)e;
  MUST(n == 1 && (wire.dials ? list->direct_tls == wire.direct : list->sa.ss_family == AF_INET));
  MUST(wire.dials < (wire.most ? wire.most : 2));
  if (wire.dials++) dial_again();
  return calloc(1, sizeof(xm_sock));
}

void xm_sock_free(xm_sock *s) {
  free(s);
}

int xm_sock_connected(xm_sock *s, const xm_dns_address **won, xm_err *e) {
  static xm_dns_address address;
  (void)e;
  address.direct_tls = wire.direct;
  *won = &address;
  s->up = true;
  return 1;
}

static ssize_t hear(void *to, size_t n) {
  size_t there;
  MUST(n > 0);
  if (xm_buf_len(&wire.heard) == 0) wire.say(&wire.heard);
  there = xm_buf_len(&wire.heard);
  if (there == 0) return wire.over ? 0 : -EAGAIN;
  if (n > there) n = there;
  if (wire.sips && n > 64) n = 64;
  memcpy(to, xm_buf_at(&wire.heard), n);
  if (!wire.secure) MUST(xm_buf_put(&wire.told, to, n) == XM_OK);
  xm_buf_consume(&wire.heard, n);
  return (ssize_t)n;
}

static ssize_t tell(xm_buf *to, const void *from, size_t n) {
  static unsigned turns;
  if (wire.slow && turns++ % 2) return -EAGAIN;
  if (wire.slow && n > 100) n = 100;
  MUST(n > 0 && xm_buf_put(to, from, n) == XM_OK);
  return (ssize_t)n;
}

ssize_t xm_sock_recv(xm_sock *s, void *to, size_t n) {
  MUST(s->up);
  return hear(to, n);
}

ssize_t xm_sock_send(xm_sock *s, const void *from, size_t n) {
  MUST(s->up && !wire.handshakes); /* after TLS has begun nothing may be sent without it */
  return tell(&wire.clear, from, n);
}

ssize_t xm_sock_peek(xm_sock *s, void *to, size_t n) {
  (void)s, (void)to, (void)n;
  MUST(false);
  return -EAGAIN;
}

size_t xm_sock_waiting(const xm_sock *s) {
  MUST(s->up);
  return xm_buf_len(&wire.heard);
}

void xm_sock_finish(xm_sock *s) {
  MUST(s->up);
}

void xm_sock_hurry(xm_sock *s) {
  MUST(s->up);
}

void xm_sock_pause(xm_sock *s, bool paused) {
  MUST(s->up);
  (void)paused;
}

bool xm_sock_is_over(const xm_sock *s) {
  (void)s;
  return wire.over;
}

bool xm_sock_is_loopback(const xm_sock *s) {
  return s->up;
}

const char *xm_sock_errname(int errnum) {
  return errnum == ECONNRESET ? "ECONNRESET" : "EOTHER";
}

/* tls: the context is only an address */

void xm_tls_ctx_hold(xm_tls_ctx *ctx) {
  (void)ctx;
}

void xm_tls_ctx_release(xm_tls_ctx *ctx) {
  (void)ctx;
}

bool xm_tls_ctx_has_certificate(const xm_tls_ctx *ctx) {
  return ctx && wire.certificate;
}

bool xm_tls_ctx_needs_authzid(const xm_tls_ctx *ctx, const char *jid, size_t n) {
  return ctx && jid[n - 1] && wire.certificate;
}

xm_tls *xm_tls_new(xm_tls_ctx *ctx, const xm_tls_peer *peer, const xm_tls_io *io, xm_err *e) {
  (void)e;
  MUST(ctx && peer->name && io->recv && io->send && wire.handshakes++ == 0);
  wire.before_tls();
  return calloc(1, sizeof(xm_tls));
}

void xm_tls_free(xm_tls *t) {
  free(t);
}

int xm_tls_handshake(xm_tls *t, xm_err *e) {
  if (wire.refuse) return xm_err_set(e, XM_LAYER_TLS, "certificate-expired", false, "the certificate has expired");
  t->done = wire.secure = true;
  return 1;
}

bool xm_tls_is_verified(const xm_tls *t) {
  return t->done && wire.verified;
}

/* No TLS session is kept here. */
bool xm_tls_is_choked(const xm_tls *t) {
  (void)t;
  return false;
}

bool xm_tls_is_resumed(const xm_tls *t) {
  MUST(t->done);
  return false;
}

void xm_tls_keep(xm_tls *t) {
  MUST(t->done);
}

bool xm_tls_good_for(const xm_tls *t, int64_t *seconds) {
  MUST(t->done);
  *seconds = 3600;
  return wire.verified;
}

const char *xm_tls_version(const xm_tls *t) {
  MUST(t->done);
  return wire.tls12 ? "TLSv1.2" : "TLSv1.3";
}

unsigned xm_tls_version_number(const xm_tls *t) {
  MUST(t->done);
  return wire.tls12 ? 0x0303 : 0x0304;
}

size_t xm_tls_binding(const xm_tls *t, const char *type, unsigned char bytes[XM_TLS_BINDING]) {
  bool there = (wire.exporter && strcmp(type, "tls-exporter") == 0) ||
               (wire.end_point && strcmp(type, "tls-server-end-point") == 0) ||
               (wire.tls12 && strcmp(type, "tls-unique") == 0);
  MUST(t->done);
  memset(bytes, *type, 32);
  return there ? 32 : 0;
}

size_t xm_tls_pending(const xm_tls *t) {
  (void)t;
  return 0;
}

ssize_t xm_tls_read(xm_tls *t, void *to, size_t n, xm_err *e) {
  ssize_t got = hear(to, n);
  (void)e;
  MUST(t->done);
  return got == 0 ? XM_TLS_END : got == -EAGAIN ? 0 : got;
}

ssize_t xm_tls_write(xm_tls *t, const void *from, size_t n, xm_err *e) {
  ssize_t got = tell(&wire.under_tls, from, n);
  (void)e;
  MUST(t->done);
  return got == -EAGAIN ? 0 : got;
}

void xm_tls_finish(xm_tls *t) {
  MUST(t->done);
}

#endif
