/* tls: TLS as a client, on a transport that the caller provides. Rank 1: uses err, buf. With bundle and cert, the only
 * file that includes OpenSSL's ssl.h and x509.h.
 *
 * A context is what many connections share: options, the CA store, the client certificate, sessions to be resumed. It
 * is reference-counted. The certificate is checked against the JID's domain (RFC 6120 13.7, RFC 9525) by our own rules:
 * see cert.h.
 *
 * A TLS 1.3 session (RFC 8446 2.2) is resumed once, within its context, with the same peer, by a connection that asks
 * for it; for a day at most, and not when one of the certificates with which it began has expired. Sessions in which we
 * showed a client certificate aren't kept: the server may forget whom that named. Nor are TLS 1.2 sessions: servers
 * don't agree on what tls-unique is in a resumed one (RFC 5929 3.1), and a login must not fail because of that. No
 * early data is sent. If the server doesn't resume a session, there is a full handshake. */
#ifndef XM_TLS_H
#define XM_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "buf.h"
#include "err.h"

typedef struct xm_tls_ctx xm_tls_ctx;
typedef struct xm_tls xm_tls;

/* Strings are borrowed for the call; NULL: not given. */
typedef struct xm_tls_options {
  const char *ca_file, *ca_dir; /* PEM; neither: the system's CAs */
  const char *cert, *key;       /* PEM files of a client certificate */
  bool insecure;                /* verify=false: the peer's certificate is not checked */
} xm_tls_options;

/* NULL with `e` set (layer tls: "ca-file", "certificate-file", "private-key-file", ...). */
xm_tls_ctx *xm_tls_ctx_new(const xm_tls_options *options, xm_err *e);
void xm_tls_ctx_hold(xm_tls_ctx *ctx);
void xm_tls_ctx_release(xm_tls_ctx *ctx); /* NULL is fine */
/* Drops the sessions that were kept. */
void xm_tls_ctx_forget(xm_tls_ctx *ctx);
/* Is there a client certificate? */
bool xm_tls_ctx_has_certificate(const xm_tls_ctx *ctx);
/* Has the client certificate XMPP addresses, and others than this bare JID? Then the server has to be told which one is
 * meant (XEP-0178 2). */
bool xm_tls_ctx_needs_authzid(const xm_tls_ctx *ctx, const char *jid, size_t n);

/* The transport: as xm_sock_recv and xm_sock_send (bytes, 0 for the end, -errno). If it fails with anything but -EAGAIN
 * it fills in the xm_err itself, since it knows the names of its errors. */
typedef struct xm_tls_io {
  void *arg;
  ssize_t (*recv)(void *arg, void *to, size_t n);
  ssize_t (*send)(void *arg, const void *from, size_t n);
} xm_tls_io;

/* What TLS is used for. A session for one use isn't resumed for another. */
typedef enum xm_tls_use {
  XM_TLS_INSIDE, /* inside a stream that began without TLS (STARTTLS) */
  XM_TLS_XMPP,   /* direct TLS, with "xmpp-client" offered by ALPN (XEP-0368) */
  XM_TLS_WEB,    /* with HTTP inside (WebSocket) */
} xm_tls_use;

/* The peer to which we want to connect. Strings are borrowed for the life of the xm_tls. */
typedef struct xm_tls_peer {
  const char *name; /* ASCII domain or IP address, for which the certificate must be issued; also the SNI */
  const char *also; /* another name for which it may be issued instead; NULL: none */
  const char *jid;  /* the domain as in a JID, with U-labels, to compare with an xmppAddr; NULL: not known */
  size_t jid_len;
  const char *pin; /* SHA-256 of the public key (SPKI) in base64, checked in addition to the rest; NULL: none */
  xm_tls_use use;
  const void *via; /* `via_len` bytes that name the way to the peer (a proxy): a session kept on one way isn't
                      resumed on another. NULL: direct */
  size_t via_len;
  bool resume;     /* a kept session may be resumed, and this connection's may be kept */
} xm_tls_peer;

xm_tls *xm_tls_new(xm_tls_ctx *ctx, const xm_tls_peer *peer, const xm_tls_io *io, xm_err *e);
void xm_tls_free(xm_tls *t); /* NULL is fine */

/* Returned by a call that has read as much from the transport as it may at a time, but has got nothing except TLS's own
 * messages: there is more to read, but other connections should have their turn first. */
enum { XM_TLS_MORE = -101 };

/* 1: done, and the certificate was accepted. 0: call again when the transport is ready. XM_TLS_MORE. XM_EFAIL: layer
 * tls. */
int xm_tls_handshake(xm_tls *t, xm_err *e);
/* Is the peer the one that we wanted, by its certificate or the pin? (false only with verify=false) */
bool xm_tls_is_verified(const xm_tls *t);
/* Has the handshake failed, possibly because of the session that we offered? Some servers fail at a session that they
 * should just refuse. The next connections to that peer offer none, for a day. */
bool xm_tls_is_choked(const xm_tls *t);
/* Was the session resumed? The certificate that was verified in the earlier connection has then been compared with
 * `peer` again. */
bool xm_tls_is_resumed(const xm_tls *t);
/* The login has succeeded: the session may be kept and resumed. */
void xm_tls_keep(xm_tls *t);
/* "TLSv1.3", for logs. */
const char *xm_tls_version(const xm_tls *t);
/* For how many seconds the certificates that the peer has sent are still valid: the first of them to expire counts;
 * negative: one has expired. false: there are none, as in a session that was resumed without checking them again. */
bool xm_tls_good_for(const xm_tls *t, int64_t *seconds);
/* The version's number in the protocol: 0x0304. */
unsigned xm_tls_version_number(const xm_tls *t);

/* The channel binding data of a type, after the handshake: "tls-exporter" (RFC 9266; TLS 1.3, or 1.2 with extended
 * master secret), "tls-unique" (RFC 5929 3; 1.2 with extended master secret), "tls-server-end-point" (RFC 5929 4; not
 * for a certificate whose signature has no hash of its own, as Ed25519). Returns the number of bytes; 0: not available
 * here. */
enum { XM_TLS_BINDING = 64 };
size_t xm_tls_binding(const xm_tls *t, const char *type, unsigned char bytes[XM_TLS_BINDING]);

/* Bytes read; 0: none now; XM_TLS_MORE; XM_TLS_END: the peer has ended TLS properly (close_notify); XM_EFAIL (layer tls
 * or tcp). */
enum { XM_TLS_END = -100 };
ssize_t xm_tls_read(xm_tls *t, void *to, size_t n, xm_err *e);
/* Bytes that are decrypted and not read yet. */
size_t xm_tls_pending(const xm_tls *t);
/* Bytes taken; 0: none now (call again with the same bytes); XM_EFAIL. */
ssize_t xm_tls_write(xm_tls *t, const void *from, size_t n, xm_err *e);
/* Sends our close_notify, if it can be sent at once. */
void xm_tls_finish(xm_tls *t);

#endif
