#include "secure.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct xr_secure {
  SSL_CTX *ctx;
  SSL *ssl;
  unsigned long code; /* OpenSSL's, of what has failed */
};

/* The socket, as OpenSSL reads and writes it: by send, so that a peer that has gone is no SIGPIPE. */

static bool would_wait(void) { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

static int fd_of(BIO *b) { return (int)(intptr_t)BIO_get_data(b); }

static int on_write(BIO *b, const char *from, int n) {
  ssize_t sent = send(fd_of(b), from, (size_t)n, MSG_NOSIGNAL);
  BIO_clear_retry_flags(b);
  if (sent < 0 && would_wait()) BIO_set_retry_write(b);
  return (int)sent;
}

static int on_read(BIO *b, char *to, int n) {
  ssize_t got = recv(fd_of(b), to, (size_t)n, 0);
  BIO_clear_retry_flags(b);
  if (got < 0 && would_wait()) BIO_set_retry_read(b);
  return (int)got;
}

static long on_control(BIO *b, int what, long number, void *p) {
  (void)b, (void)number, (void)p;
  return what == BIO_CTRL_FLUSH;
}

static BIO_METHOD *socket_method;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_method(void) {
  BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "socket without SIGPIPE");
  if (!m) return;
  BIO_meth_set_write(m, on_write);
  BIO_meth_set_read(m, on_read);
  BIO_meth_set_ctrl(m, on_control);
  socket_method = m;
}

static bool set_socket(SSL *ssl, int fd) {
  BIO *b;
  pthread_once(&once, make_method);
  b = socket_method ? BIO_new(socket_method) : NULL;
  if (!b) return false;
  BIO_set_data(b, (void *)(intptr_t)fd);
  BIO_set_init(b, 1);
  SSL_set_bio(ssl, b, b);
  return true;
}

/* A certificate without a subjectAltName is for nobody (RFC 9525 2), as for a stream of XMPP. */
static bool set_name(SSL *ssl, const char *name) {
  X509_VERIFY_PARAM *p = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (X509_VERIFY_PARAM_set1_ip_asc(p, name) == 1) return true;
  return X509_VERIFY_PARAM_set1_host(p, name, 0) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

static const char *set_trust(SSL_CTX *ctx, const xr_trust *t) {
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
  if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) return "TLS 1.2 can't be had";
  if (t->ca_file || t->ca_dir) {
    if (SSL_CTX_load_verify_locations(ctx, t->ca_file, t->ca_dir) != 1) return "the CAs can't be read";
  } else if (SSL_CTX_set_default_verify_paths(ctx) != 1) {
    return "the system's CAs can't be read";
  }
  if (t->cert && SSL_CTX_use_certificate_chain_file(ctx, t->cert) != 1) return "the certificate can't be read";
  if (t->key && SSL_CTX_use_PrivateKey_file(ctx, t->key, SSL_FILETYPE_PEM) != 1) return "the key can't be read";
  return NULL;
}

/* Why not, if not. */
static const char *set_up(xr_secure *s, int fd, const xr_trust *t) {
  const char *why;
  s->ctx = SSL_CTX_new(TLS_client_method());
  if (!s->ctx) return "not enough memory";
  why = set_trust(s->ctx, t);
  if (why) return why;
  SSL_CTX_set_mode(s->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_options(s->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  s->ssl = SSL_new(s->ctx);
  if (!s->ssl || !set_socket(s->ssl, fd) || !set_name(s->ssl, t->name)) return "not enough memory";
  SSL_set_connect_state(s->ssl);
  return NULL;
}

static void describe(unsigned long code, const char *otherwise, char *text, size_t n) {
  const char *reason = code ? ERR_reason_error_string(code) : NULL;
  snprintf(text, n, "%s%s%s", otherwise, reason ? ": " : "", reason ? reason : "");
}

xr_secure *xr_secure_new(int fd, const xr_trust *trust, char *text, size_t n) {
  xr_secure *s = calloc(1, sizeof *s);
  const char *why;
  ERR_clear_error();
  why = s ? set_up(s, fd, trust) : "not enough memory";
  if (!why) return s;
  describe(ERR_peek_error(), why, text, n);
  ERR_clear_error();
  xr_secure_free(s);
  return NULL;
}

void xr_secure_free(xr_secure *s) {
  if (!s) return;
  SSL_free(s->ssl);
  SSL_CTX_free(s->ctx);
  free(s);
}

static ssize_t fate(xr_secure *s, int rc) {
  int error = SSL_get_error(s->ssl, rc);
  if (error == SSL_ERROR_ZERO_RETURN) return 0;
  if (error == SSL_ERROR_WANT_READ) return XR_SECURE_READ;
  if (error == SSL_ERROR_WANT_WRITE) return XR_SECURE_WRITE;
  s->code = ERR_peek_error();
  ERR_clear_error();
  return XR_SECURE_FAILED;
}

int xr_secure_shake(xr_secure *s) {
  int rc;
  ERR_clear_error();
  rc = SSL_do_handshake(s->ssl);
  if (rc == 1) return 1;
  rc = (int)fate(s, rc);
  return rc == 0 ? XR_SECURE_FAILED : rc;
}

static int length(size_t n) { return n > INT32_MAX ? INT32_MAX : (int)n; }

ssize_t xr_secure_read(xr_secure *s, char *to, size_t n) {
  int rc;
  ERR_clear_error();
  rc = SSL_read(s->ssl, to, length(n));
  return rc > 0 ? rc : fate(s, rc);
}

ssize_t xr_secure_write(xr_secure *s, const char *from, size_t n) {
  int rc;
  ERR_clear_error();
  rc = SSL_write(s->ssl, from, length(n));
  return rc > 0 ? rc : fate(s, rc);
}

bool xr_secure_has_more(const xr_secure *s) { return SSL_pending(s->ssl) > 0; }

void xr_secure_why(const xr_secure *s, char *text, size_t n, bool *is_certificate) {
  long verified = SSL_get_verify_result(s->ssl);
  *is_certificate = verified != X509_V_OK;
  if (*is_certificate) snprintf(text, n, "the certificate isn't good: %s", X509_verify_cert_error_string(verified));
  else describe(s->code, "TLS", text, n);
}
