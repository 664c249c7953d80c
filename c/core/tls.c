#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "b64.h"
#include "bundle.h"
#include "cert.h"
#include "tickets.h"

enum {
  SECURITY_LEVEL = 2,       /* OpenSSL's level for keys and hashes of at least 112 bits of security, whatever the
                               system's configuration says */
  OLDEST_SESSION = 24 * 3600, /* seconds since the certificate was last checked in a full handshake */
  READ_AT_ONCE = 17 * 1024,   /* bytes read from the transport in one call: the largest record, with its overhead */
};

struct xm_tls_ctx {
  SSL_CTX *ssl;
  unsigned holders;
  bool insecure;
  xm_bundle *bundle; /* the system's CAs, as bundle has read them; NULL: OpenSSL has read them, or there are others */
  xm_tickets tickets;
};

struct xm_tls {
  SSL *ssl;
  xm_tls_ctx *ctx;
  xm_tls_peer peer;
  xm_tls_io io;
  bool io_failed; /* the transport has failed during a call to OpenSSL */
  bool io_ended;  /* the peer has closed the transport */
  size_t budget;  /* bytes that may still be taken from the transport in this call */
  bool verified;
  bool offered;       /* a session was offered for resumption */
  bool choked;        /* see xm_tls_is_choked */
  bool resumed;
  bool kept;          /* the session may be resumed */
  SSL_SESSION *fresh; /* the newest session that the server has given us, not kept yet; NULL: none */
  time_t until;       /* when the session must no longer be used */
  char refused[200]; /* for an error text: the certificate to which OpenSSL objected; "": none so far */
};

/* OpenSSL's text, or the system's, for the oldest error in its queue, which is emptied. */
static const char *ssl_reason(void) {
  unsigned long code = ERR_peek_error();
  const char *reason = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
  ERR_clear_error();
  return reason ? reason : "no reason given";
}

/* To be called before each call that may use the transport. Looking for errors is cheaper than clearing them. */
static void begin_call(xm_tls *t) {
  if (ERR_peek_error()) ERR_clear_error();
  t->io_failed = false; /* if writing has failed there may still be something to read */
  t->budget = READ_AT_ONCE;
}

/* The transport as a BIO, so that OpenSSL calls us to read and write, and needs neither a descriptor nor SIGPIPE. */

static xm_tls *owner_of(BIO *b) { return BIO_get_data(b); }

static int came_to(BIO *b, ssize_t n, int retry_flag) {
  BIO_clear_retry_flags(b);
  if (n > 0) return (int)n;
  if (n == -EAGAIN || n == 0) {
    BIO_set_flags(b, retry_flag | BIO_FLAGS_SHOULD_RETRY);
  } else {
    owner_of(b)->io_failed = true;
  }
  return -1;
}

/* OpenSSL isn't told of the transport's end, as it would then make the session unresumable; why_not reports the end.
 * Nor does OpenSSL return from a read while what it reads are TLS's own messages (KeyUpdate, HelloRequest, tickets), of
 * which a peer may send as many as it likes: so when the budget is used up we say that the transport has no more for
 * now. */
static int bio_read(BIO *b, char *to, int n) {
  xm_tls *t = owner_of(b);
  size_t most = (size_t)n < t->budget ? (size_t)n : t->budget;
  ssize_t got = most ? t->io.recv(t->io.arg, to, most) : -EAGAIN;
  if (got > 0) t->budget -= (size_t)got;
  t->io_ended = got == 0;
  return came_to(b, got, BIO_FLAGS_READ);
}

static int bio_write(BIO *b, const char *from, int n) {
  xm_tls *t = owner_of(b);
  return came_to(b, t->io.send(t->io.arg, from, (size_t)n), BIO_FLAGS_WRITE);
}

static long bio_ctrl(BIO *b, int cmd, long n, void *p) {
  (void)b, (void)n, (void)p;
  return cmd == BIO_CTRL_FLUSH;
}

static _Atomic(BIO_METHOD *) method; /* one for all threads of the process, until the library is unloaded */

__attribute__((destructor)) static void free_method(void) {
  BIO_meth_free(method);
}

/* NULL: no memory; the next call tries again. */
static BIO_METHOD *get_method(void) {
  BIO_METHOD *there = atomic_load(&method), *m;
  if (there) return there;
  m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "xmpp");
  if (!m) return NULL;
  BIO_meth_set_read(m, bio_read);
  BIO_meth_set_write(m, bio_write);
  BIO_meth_set_ctrl(m, bio_ctrl);
  if (atomic_compare_exchange_strong(&method, &there, m)) return m;
  BIO_meth_free(m); /* another thread was faster */
  return there;
}

static BIO *new_bio(xm_tls *t) {
  BIO_METHOD *m = get_method();
  BIO *b = m ? BIO_new(m) : NULL;
  if (!b) return NULL;
  BIO_set_data(b, t);
  BIO_set_init(b, 1);
  return b;
}

/* Contexts. */

/* As SSL_CTX_set_default_verify_paths, in its order: the file, the directory, and the directory for what only
 * OSSL_STORE reads. */
static int use_system_cas(xm_tls_ctx *ctx, xm_err *e) {
  SSL_CTX *ssl = ctx->ssl;
  int rc = xm_bundle_give(SSL_CTX_get_cert_store(ssl), xm_bundle_path(), &ctx->bundle);
  if (rc == XM_EINVAL) return SSL_CTX_set_default_verify_paths(ssl) == 1 ? XM_OK : xm_err_nomem(e);
  if (rc == XM_OK && SSL_CTX_set_default_verify_dir(ssl) == 1 && SSL_CTX_set_default_verify_store(ssl) == 1) return XM_OK;
  return xm_err_nomem(e);
}

static int load_cas(xm_tls_ctx *ctx, const xm_tls_options *o, xm_err *e) {
  SSL_CTX *ssl = ctx->ssl;
  const char *file = o->ca_file, *dir = o->ca_dir;
  if (!file && !dir) return use_system_cas(ctx, e);
  if (file && SSL_CTX_load_verify_file(ssl, file) != 1)
    return xm_err_set(e, XM_LAYER_TLS, "ca-file", false, "cannot use the CA certificates in ca_file '%s': %s", file,
                      ssl_reason());
  if (dir && access(dir, R_OK | X_OK) != 0) /* OpenSSL itself would not complain */
    return xm_err_set(e, XM_LAYER_TLS, "ca-dir", false, "cannot use ca_dir '%s': %s", dir, strerror(errno));
  if (dir && SSL_CTX_load_verify_dir(ssl, dir) != 1)
    return xm_err_set(e, XM_LAYER_TLS, "ca-dir", false, "cannot use ca_dir '%s': %s", dir, ssl_reason());
  return XM_OK;
}

static int load_client_certificate(SSL_CTX *ssl, const xm_tls_options *o, xm_err *e) {
  const char *key = o->key ? o->key : o->cert;
  if (!o->cert) return XM_OK;
  if (SSL_CTX_use_certificate_chain_file(ssl, o->cert) != 1)
    return xm_err_set(e, XM_LAYER_TLS, "certificate-file", false, "cannot use the client certificate in '%s': %s",
                      o->cert, ssl_reason());
  if (SSL_CTX_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(ssl) != 1)
    return xm_err_set(e, XM_LAYER_TLS, "private-key-file", false, "cannot use the private key in '%s': %s", key,
                      ssl_reason());
  return XM_OK;
}

static void print_time(const ASN1_TIME *at, char *to, size_t cap) {
  struct tm tm;
  if (!ASN1_TIME_to_tm(at, &tm) || !strftime(to, cap, "%Y-%m-%d %H:%M:%S UTC", &tm)) snprintf(to, cap, "unknown");
}

/* Notes which certificate is at fault: after a failed handshake OpenSSL no longer has it. */
static int on_verify(int ok, X509_STORE_CTX *store) {
  xm_tls *t = SSL_get_app_data((SSL *)X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  X509 *cert = X509_STORE_CTX_get_current_cert(store);
  char name[100] = "", from[32], until[32];
  if (ok || !cert || *t->refused) return ok;
  X509_NAME_oneline(X509_get_subject_name(cert), name, sizeof name);
  print_time(X509_get0_notBefore(cert), from, sizeof from);
  print_time(X509_get0_notAfter(cert), until, sizeof until);
  snprintf(t->refused, sizeof t->refused, " (%s, valid from %s until %s)", name, from, until);
  return ok;
}

/* Sessions. */

static bool may_resume(const xm_tls *t) {
  return t->peer.resume && !xm_tls_ctx_has_certificate(t->ctx);
}

/* Appends the key under which a session is kept: the peer, and on what terms. */
static int put_key(const xm_tls_peer *p, xm_buf *key) {
  static const char uses[] = "-aw";
  int rc = xm_buf_put(key, p->name, strlen(p->name) + 1);
  if (rc == XM_OK && p->also) rc = xm_buf_put(key, p->also, strlen(p->also));
  if (rc == XM_OK) rc = xm_buf_putc(key, '\0');
  if (rc == XM_OK && p->jid) rc = xm_buf_put(key, p->jid, p->jid_len);
  if (rc == XM_OK) rc = xm_buf_putc(key, '\0');
  if (rc == XM_OK && p->pin) rc = xm_buf_put(key, p->pin, strlen(p->pin) + 1);
  if (rc == XM_OK) rc = xm_buf_putc(key, uses[p->use]);
  return rc == XM_OK && p->via ? xm_buf_put(key, p->via, p->via_len) : rc;
}

/* Wipes its secret when this is the last reference. */
static void free_session(void *session) {
  SSL_SESSION_free(session);
}

/* Takes the newest session that OpenSSL would still resume. */
static SSL_SESSION *take_session(xm_tls *t, const xm_buf *key) {
  SSL_SESSION *session;
  while ((session = xm_tickets_take(&t->ctx->tickets, key, time(NULL), &t->until)) && !SSL_SESSION_is_resumable(session))
    SSL_SESSION_free(session);
  return session;
}

static void offer_session(xm_tls *t) {
  xm_buf key = XM_BUF_INIT;
  SSL_SESSION *session = put_key(&t->peer, &key) == XM_OK ? take_session(t, &key) : NULL;
  t->offered = session && SSL_set_session(t->ssl, session) == 1;
  SSL_SESSION_free(session);
  xm_buf_free(&key);
}

bool xm_tls_good_for(const xm_tls *t, int64_t *seconds) {
  const STACK_OF(X509) *chain = t->ctx->insecure ? SSL_get_peer_cert_chain(t->ssl) : SSL_get0_verified_chain(t->ssl);
  int i, days, rest;
  for (i = 0; i < sk_X509_num(chain); i++) {
    if (!ASN1_TIME_diff(&days, &rest, NULL, X509_get0_notAfter(sk_X509_value(chain, i)))) return false;
    if (i == 0 || (int64_t)days * 24 * 3600 + rest < *seconds) *seconds = (int64_t)days * 24 * 3600 + rest;
  }
  return i > 0;
}

/* When the session must no longer be used: when the first certificate of the verified chain expires, or after
 * OLDEST_SESSION. Calculated in seconds from now, since a certificate may be valid for longer than a 32-bit time_t can
 * express. */
static time_t end_of_session(const xm_tls *t) {
  const STACK_OF(X509) *chain = t->ctx->insecure ? NULL : SSL_get0_verified_chain(t->ssl);
  time_t now = time(NULL);
  int64_t left = OLDEST_SESSION;
  int i, days = 0, seconds = 0;
  for (i = 0; i < sk_X509_num(chain) && left > 0; i++) {
    if (!ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(sk_X509_value(chain, i)))) return now;
    if ((int64_t)days * 24 * 3600 + seconds < left) left = (int64_t)days * 24 * 3600 + seconds;
  }
  return left > 0 ? now + (time_t)left : now;
}

static time_t said_time(const SSL_SESSION *session) {
#if OPENSSL_VERSION_NUMBER >= 0x30400000L
  return SSL_SESSION_get_time_ex(session);
#else
  return (time_t)SSL_SESSION_get_time(session);
#endif
}

/* When the session was made, but not later than now. (Newer releases of OpenSSL read a finer clock than time() does,
 * which may be in the next second already.) */
static time_t made_at(const SSL_SESSION *session, time_t now) {
  time_t made = said_time(session);
  return made < now ? made : now;
}

static void keep_fresh(xm_tls *t) {
  time_t now = time(NULL);
  xm_ticket ticket = {.session = t->fresh, .until = t->until};
  if (!t->fresh || !t->verified || put_key(&t->peer, &ticket.key) < 0) return xm_buf_free(&ticket.key);
  ticket.made = made_at(t->fresh, now);
  ticket.lifetime = SSL_SESSION_get_ticket_lifetime_hint(t->fresh);
  xm_tickets_put(&t->ctx->tickets, &ticket, now);
  t->fresh = NULL;
}

/* Notes whether the peer has refused the handshake by an alert, perhaps because of the session that was offered. */
static void note_choked(xm_tls *t) {
  xm_buf key = XM_BUF_INIT;
  if (!t->offered || ERR_GET_REASON(ERR_peek_error()) < SSL_AD_REASON_OFFSET) return;
  t->choked = true;
  if (put_key(&t->peer, &key) == XM_OK) xm_tickets_bar(&t->ctx->tickets, &key, time(NULL) + OLDEST_SESSION);
  xm_buf_free(&key);
}

bool xm_tls_is_choked(const xm_tls *t) {
  return t->choked;
}

/* OpenSSL calls this when a ticket has come, after the handshake. (In TLS 1.2, during it.) */
static int on_session(SSL *ssl, SSL_SESSION *session) {
  xm_tls *t = SSL_get_app_data(ssl);
  if (!may_resume(t) || SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION) return 0;
  SSL_SESSION_free(t->fresh);
  t->fresh = session;
  if (t->kept) keep_fresh(t);
  return 1;
}

void xm_tls_keep(xm_tls *t) {
  SSL_clear_options(t->ssl, SSL_OP_CLEANSE_PLAINTEXT);
  t->kept = may_resume(t);
  if (t->kept) keep_fresh(t);
}

bool xm_tls_is_resumed(const xm_tls *t) {
  return t->resumed;
}

static void set_policy(SSL_CTX *ssl, bool insecure) {
  SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
  if (SSL_CTX_get_security_level(ssl) < SECURITY_LEVEL) SSL_CTX_set_security_level(ssl, SECURITY_LEVEL);
  SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(ssl, 1);
  SSL_CTX_set_verify(ssl, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, on_verify);
  SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ssl, on_session);
}

xm_tls_ctx *xm_tls_ctx_new(const xm_tls_options *options, xm_err *e) {
  xm_tls_ctx *ctx = calloc(1, sizeof *ctx);
  ERR_clear_error();
  if (ctx) ctx->ssl = SSL_CTX_new(TLS_client_method());
  if (!ctx || !ctx->ssl) {
    xm_err_nomem(e);
    free(ctx);
    return NULL;
  }
  ctx->holders = 1;
  ctx->tickets.release = free_session;
  ctx->insecure = options->insecure;
  set_policy(ctx->ssl, options->insecure);
  if (load_cas(ctx, options, e) == XM_OK && load_client_certificate(ctx->ssl, options, e) == XM_OK) return ctx;
  xm_tls_ctx_release(ctx);
  return NULL;
}

void xm_tls_ctx_hold(xm_tls_ctx *ctx) {
  ctx->holders++;
}

void xm_tls_ctx_release(xm_tls_ctx *ctx) {
  if (!ctx || --ctx->holders > 0) return;
  xm_tickets_clear(&ctx->tickets);
  SSL_CTX_free(ctx->ssl);
  free(ctx);
}

void xm_tls_ctx_forget(xm_tls_ctx *ctx) {
  xm_tickets_clear(&ctx->tickets);
}

bool xm_tls_ctx_has_certificate(const xm_tls_ctx *ctx) {
  return SSL_CTX_get0_certificate(ctx->ssl) != NULL;
}

bool xm_tls_ctx_needs_authzid(const xm_tls_ctx *ctx, const char *jid, size_t n) {
  X509 *cert = SSL_CTX_get0_certificate(ctx->ssl);
  return cert && xm_cert_names_others(cert, jid, n);
}

/* Connections. */

static bool is_address(const char *name) {
  ASN1_OCTET_STRING *ip = a2i_IPADDRESS(name);
  ASN1_OCTET_STRING_free(ip);
  ERR_clear_error();
  return ip != NULL;
}

static bool prepare(xm_tls *t) {
  static const unsigned char alpn[] = "\x0bxmpp-client";
  BIO *b;
  t->ssl = SSL_new(t->ctx->ssl);
  b = t->ssl ? new_bio(t) : NULL;
  if (!b) return false;
  SSL_set_bio(t->ssl, b, b);
  SSL_set_options(t->ssl, SSL_OP_CLEANSE_PLAINTEXT); /* until the login is over, since it may contain a token */
  if (SSL_set_app_data(t->ssl, t) != 1) return false; /* it allocates */
  SSL_set_connect_state(t->ssl);
  if (!is_address(t->peer.name) && SSL_set_tlsext_host_name(t->ssl, t->peer.name) != 1) return false;
  if (may_resume(t)) offer_session(t);
  return t->peer.use != XM_TLS_XMPP || SSL_set_alpn_protos(t->ssl, alpn, sizeof alpn - 1) == 0;
}

xm_tls *xm_tls_new(xm_tls_ctx *ctx, const xm_tls_peer *peer, const xm_tls_io *io, xm_err *e) {
  xm_tls *t = calloc(1, sizeof *t);
  if (t) {
    t->ctx = ctx;
    t->peer = *peer;
    t->io = *io;
    xm_tls_ctx_hold(ctx);
  }
  if (t && prepare(t)) return t;
  xm_tls_free(t);
  ERR_clear_error();
  xm_err_nomem(e);
  return NULL;
}

/* A session that was kept is still good after its connection was cut: OpenSSL would make it unresumable without these
 * flags. */
void xm_tls_free(xm_tls *t) {
  if (!t) return;
  SSL_SESSION_free(t->fresh);
  if (t->kept) SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(t->ssl);
  xm_tls_ctx_release(t->ctx);
  free(t);
}

static int refuse_protocol(xm_err *e) {
  return xm_err_set(e, XM_LAYER_TLS, "no-application-protocol", false,
                    "the server has chosen another protocol than xmpp-client by ALPN: there is no XMPP server for "
                    "clients at this port");
}

/* Sets the error for a failure of OpenSSL in doing `what`. */
static int explain(const char *what, xm_err *e) {
  int reason = ERR_GET_REASON(ERR_peek_error());
  const char *text = ssl_reason();
  switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
      return xm_err_set(e, XM_LAYER_TLS, "protocol-version", false,
                        "%s: the server has neither TLS 1.2 nor TLS 1.3, and older versions are not safe (%s)", what,
                        text);
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: return refuse_protocol(e);
    default: return xm_err_set(e, XM_LAYER_TLS, "tls-error", true, "%s: %s", what, text);
  }
}

static int cut_off(const char *what, xm_err *e) {
  return xm_err_set(e, XM_LAYER_TCP, "EOF", true, "%s: the peer cut the connection without ending TLS or the stream",
                    what);
}

/* What an SSL call that didn't succeed means. 0: wait for the transport; XM_TLS_MORE; XM_TLS_END; XM_EFAIL. */
static int why_not(xm_tls *t, int rc, const char *what, xm_err *e) {
  switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ: return t->io_ended ? cut_off(what, e) : t->budget == 0 ? XM_TLS_MORE : 0;
    case SSL_ERROR_WANT_WRITE: return 0;
    case SSL_ERROR_ZERO_RETURN: return XM_TLS_END;
    default: break;
  }
  if (t->io_failed) return XM_EFAIL; /* the transport has set the error */
  return explain(what, e);
}

/* Our conditions for what OpenSSL found wrong with the chain. */
static const char *chain_condition(long result) {
  switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED: return "certificate-expired";
    case X509_V_ERR_CERT_NOT_YET_VALID: return "certificate-not-yet-valid";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: return "certificate-self-signed";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: return "certificate-unknown-issuer";
    case X509_V_ERR_CERT_REVOKED: return "certificate-revoked";
    case X509_V_ERR_INVALID_PURPOSE: return "certificate-wrong-purpose";
    default: return "certificate-invalid";
  }
}

static int refuse_chain(xm_tls *t, long result, xm_err *e) {
  ERR_clear_error();
  if (xm_bundle_was_short(t->ctx->bundle)) return xm_err_nomem(e); /* the CAs could not all be read */
  return xm_err_set(e, XM_LAYER_TLS, chain_condition(result), false,
                    "the certificate of %s cannot be trusted: %s%s. If the CA is your own, name its file in ca_file",
                    t->peer.name, X509_verify_cert_error_string(result), t->refused);
}

static bool pin_matches(xm_tls *t, X509 *cert) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n = 0;
  xm_buf pin = XM_BUF_INIT;
  bool same;
  unsigned char *der = NULL;
  int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
  same = len > 0 && EVP_Digest(der, (size_t)len, digest, &n, EVP_sha256(), NULL) == 1 &&
         xm_b64_decode(&pin, t->peer.pin, strlen(t->peer.pin)) == XM_OK && xm_buf_len(&pin) == n &&
         CRYPTO_memcmp(xm_buf_at(&pin), digest, n) == 0;
  OPENSSL_free(der);
  xm_buf_free(&pin);
  return same;
}

static int check_alpn(xm_tls *t, xm_err *e) {
  const unsigned char *got;
  unsigned n;
  SSL_get0_alpn_selected(t->ssl, &got, &n);
  if (n == 0 || (n == 11 && memcmp(got, "xmpp-client", 11) == 0)) return XM_OK;
  return refuse_protocol(e);
}

static int refuse_pin(xm_tls *t, xm_err *e) {
  return xm_err_set(e, XM_LAYER_TLS, "certificate-pin-mismatch", false,
                    "the public key of %s is not the pinned one. If the server has a new key, pin that", t->peer.name);
}

static int refuse_name(xm_tls *t, X509 *cert, xm_err *e) {
  char names[200];
  xm_cert_list_names(cert, names, sizeof names);
  return xm_err_set(e, XM_LAYER_TLS, "certificate-name-mismatch", false,
                    "the certificate is not for %s%s%s but for %s. If that is right, say so with tls_name", t->peer.name,
                    t->peer.also ? " or " : "", t->peer.also ? t->peer.also : "", names);
}

static int refuse_ca(xm_tls *t, xm_err *e) {
  return xm_err_set(e, XM_LAYER_TLS, "certificate-invalid", false,
                    "the certificate of %s cannot be trusted: one of the CAs that vouch for it is for other names only (its "
                    "name constraints, RFC 5280 4.2.1.10)",
                    t->peer.name);
}

/* May the CAs in the chain name this host? A resumed session has no chain: it was checked for the same name when the
 * session began. */
static bool may_name(const xm_tls *t, const char *name) {
  return is_address(name) || xm_cert_may_name(SSL_get0_verified_chain(t->ssl), name);
}

/* The domain with which an xmppAddr is compared. */
static const char *domain_of(const xm_tls *t) {
  return t->peer.also ? t->peer.also : t->peer.name;
}

static bool is_for_jid(const xm_tls *t, X509 *cert) {
  return t->peer.jid && !is_address(domain_of(t)) && xm_cert_has_address(cert, t->peer.jid, t->peer.jid_len);
}

/* Is the certificate for one of the names that are accepted, and may its CAs certify that name? *any: it is for one of
 * them, whatever its CAs may do. */
static bool is_good_for_peer(const xm_tls *t, X509 *cert, bool *any) {
  bool by_name = xm_cert_is_for(cert, t->peer.name), by_other = t->peer.also && xm_cert_is_for(cert, t->peer.also);
  bool by_jid = is_for_jid(t, cert);
  *any = by_name || by_other || by_jid;
  return (by_name && may_name(t, t->peer.name)) || ((by_other || by_jid) && may_name(t, domain_of(t)));
}

static int check_peer(xm_tls *t, xm_err *e) {
  X509 *cert = SSL_get0_peer_certificate(t->ssl);
  bool any;
  if (check_alpn(t, e) < 0) return XM_EFAIL;
  if (t->peer.pin && (!cert || !pin_matches(t, cert))) return refuse_pin(t, e);
  t->verified = t->ctx->insecure && t->peer.pin;
  if (t->ctx->insecure) return XM_OK;
  if (!cert || SSL_get_verify_result(t->ssl) != X509_V_OK) return refuse_chain(t, SSL_get_verify_result(t->ssl), e);
  t->verified = is_good_for_peer(t, cert, &any);
  if (t->verified) return XM_OK;
  return any ? refuse_ca(t, e) : refuse_name(t, cert, e);
}

static int finish_handshake(xm_tls *t, xm_err *e) {
  t->resumed = SSL_session_reused(t->ssl) == 1;
  if (check_peer(t, e) < 0) return XM_EFAIL;
  if (!t->resumed) t->until = end_of_session(t);
  return 1;
}

int xm_tls_handshake(xm_tls *t, xm_err *e) {
  int rc;
  bool by_tls; /* whether TLS has failed, not the transport */
  begin_call(t);
  if (!xm_bundle_mend(t->ctx->bundle)) return xm_err_nomem(e);
  rc = SSL_do_handshake(t->ssl);
  if (rc == 1) return finish_handshake(t, e);
  by_tls = SSL_get_error(t->ssl, rc) == SSL_ERROR_SSL;
  if (!t->ctx->insecure && SSL_get_verify_result(t->ssl) != X509_V_OK && by_tls)
    return refuse_chain(t, SSL_get_verify_result(t->ssl), e);
  if (by_tls) note_choked(t);
  rc = why_not(t, rc, "the TLS handshake failed", e);
  if (rc != XM_TLS_END) return rc;
  return xm_err_set(e, XM_LAYER_TLS, "tls-error", true, "the peer ended TLS in the handshake");
}

bool xm_tls_is_verified(const xm_tls *t) {
  return t->verified;
}

const char *xm_tls_version(const xm_tls *t) {
  return SSL_get_version(t->ssl);
}

unsigned xm_tls_version_number(const xm_tls *t) {
  return (unsigned)SSL_version(t->ssl);
}

/* Channel bindings. Without the extended master secret, an attacker can make two TLS 1.2 connections have the same
 * ones, except for the certificate's (RFC 7627 1). */

static bool has_own_secret(const xm_tls *t) {
  return SSL_version(t->ssl) >= TLS1_3_VERSION || SSL_get_extms_support(t->ssl) == 1;
}

/* The context is present but empty: in TLS 1.2 that isn't the same as an absent one (RFC 5705 4). */
static size_t exporter(const xm_tls *t, unsigned char bytes[XM_TLS_BINDING]) {
  static const char label[] = "EXPORTER-Channel-Binding";
  static const unsigned char context[] = "";
  if (!has_own_secret(t)) return 0;
  return SSL_export_keying_material(t->ssl, bytes, 32, label, sizeof label - 1, context, 0, 1) == 1 ? 32 : 0;
}

/* The first Finished message: the client's, or in a resumed session the server's. */
static size_t unique(const xm_tls *t, unsigned char bytes[XM_TLS_BINDING]) {
  if (SSL_version(t->ssl) != TLS1_2_VERSION || !has_own_secret(t)) return 0;
  return SSL_session_reused(t->ssl) ? SSL_get_peer_finished(t->ssl, bytes, XM_TLS_BINDING)
                                    : SSL_get_finished(t->ssl, bytes, XM_TLS_BINDING);
}

static size_t end_point(const xm_tls *t, unsigned char bytes[XM_TLS_BINDING]) {
  X509 *cert = SSL_get0_peer_certificate(t->ssl);
  int hash;
  unsigned n;
  const EVP_MD *md;
  if (!cert || X509_get_signature_info(cert, &hash, NULL, NULL, NULL) != 1 || hash == NID_undef) return 0;
  md = hash == NID_md5 || hash == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(hash);
  return md && X509_digest(cert, md, bytes, &n) == 1 ? n : 0;
}

size_t xm_tls_binding(const xm_tls *t, const char *type, unsigned char bytes[XM_TLS_BINDING]) {
  size_t n = 0;
  ERR_clear_error();
  if (strcmp(type, "tls-exporter") == 0) n = exporter(t, bytes);
  if (strcmp(type, "tls-unique") == 0) n = unique(t, bytes);
  if (strcmp(type, "tls-server-end-point") == 0) n = end_point(t, bytes);
  ERR_clear_error();
  return n;
}

ssize_t xm_tls_read(xm_tls *t, void *to, size_t n, xm_err *e) {
  int rc;
  begin_call(t);
  rc = SSL_read(t->ssl, to, (int)n);
  return rc > 0 ? rc : why_not(t, rc, "reading", e);
}

size_t xm_tls_pending(const xm_tls *t) {
  int n = SSL_pending(t->ssl);
  return n > 0 ? (size_t)n : 0;
}

ssize_t xm_tls_write(xm_tls *t, const void *from, size_t n, xm_err *e) {
  int rc;
  begin_call(t);
  rc = SSL_write(t->ssl, from, (int)(n < INT32_MAX ? n : INT32_MAX));
  if (rc > 0) return rc;
  rc = why_not(t, rc, "writing", e);
  if (rc != XM_TLS_END) return rc;
  return xm_err_set(e, XM_LAYER_TCP, "EOF", true, "writing: the peer has ended TLS");
}

void xm_tls_finish(xm_tls *t) {
  ERR_clear_error();
  if (SSL_is_init_finished(t->ssl)) SSL_shutdown(t->ssl);
  ERR_clear_error();
}
