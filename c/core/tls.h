/* tls: TLS as a client, on somebody else's transport. Rank 1: knows err, buf. The one door to OpenSSL's ssl.h and x509.h.
 *
 * A context is what many connections share: options, the CA store, the client certificate, sessions to be resumed. It is
 * counted.
 * The certificate is checked against the JID's domain (RFC 6120 13.7, RFC 9525), by our own rules: see cert.h.
 *
 * A session of TLS 1.3 (RFC 8446 2.2) is resumed once, in the context that it is of, for the same peer, by a connection that
 * asks for it; for a day at most, and not when one of the certificates that it was begun with has expired. None where we
 * show a certificate: a server may forget whom it knew by it. None of TLS 1.2: what tls-unique is in a resumed one
 * (RFC 5929 3.1), servers don't agree on, and a login must not fail for it. No early data. What a server doesn't resume is
 * a handshake in full. */
#ifndef XM_TLS_H
#define XM_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "buf.h"
#include "err.h"

typedef struct xm_tls_ctx xm_tls_ctx;
typedef struct xm_tls xm_tls;

/* Strings are borrowed for the call; NULL where there is nothing to say. */
typedef struct xm_tls_options {
  const char *ca_file, *ca_dir; /* PEM; neither: the system's CAs */
  const char *cert, *key;       /* PEM files of a client certificate */
  bool insecure;                /* verify=false: the peer's certificate is not looked at */
} xm_tls_options;

/* NULL with `e` set (layer tls: "ca-file", "certificate-file", "private-key-file", ...). */
xm_tls_ctx *xm_tls_ctx_new(const xm_tls_options *options, xm_err *e);
void xm_tls_ctx_hold(xm_tls_ctx *ctx);
void xm_tls_ctx_release(xm_tls_ctx *ctx); /* NULL is fine */
/* The sessions that were kept. */
void xm_tls_ctx_forget(xm_tls_ctx *ctx);
/* Is there a client certificate? */
bool xm_tls_ctx_has_certificate(const xm_tls_ctx *ctx);
/* Has it XMPP addresses, and others than this bare JID? Then the server has to be told who is meant (XEP-0178 2). */
bool xm_tls_ctx_needs_authzid(const xm_tls_ctx *ctx, const char *jid, size_t n);

/* The transport: as xm_sock_recv and xm_sock_send (bytes, 0 for the end, -errno). When it fails otherwise than by -EAGAIN it
 * sees to the xm_err itself: it knows its errors' names. */
typedef struct xm_tls_io {
  void *arg;
  ssize_t (*recv)(void *arg, void *to, size_t n);
  ssize_t (*send)(void *arg, const void *from, size_t n);
} xm_tls_io;

/* What TLS is for, which tells its sessions apart. */
typedef enum xm_tls_use {
  XM_TLS_INSIDE, /* of a stream that has begun without (STARTTLS) */
  XM_TLS_XMPP,   /* "xmpp-client" is offered (direct TLS, XEP-0368) */
  XM_TLS_WEB,    /* HTTP is under it (WebSocket) */
} xm_tls_use;

/* Whom we mean to talk to. Strings are borrowed for the life of the xm_tls. */
typedef struct xm_tls_peer {
  const char *name; /* ASCII domain or IP address: what the certificate must be for, and the SNI */
  const char *also; /* another name that it may be for instead; NULL: none */
  const char *jid;  /* the domain as it is in a JID, with U-labels, for an xmppAddr; NULL: not known */
  size_t jid_len;
  const char *pin; /* SHA-256 of the public key (SPKI), base64; NULL: none. It is asked for besides the rest */
  xm_tls_use use;
  const void *via; /* by which way, so many bytes: what was kept on one isn't shown on another. NULL: by none of note */
  size_t via_len;
  bool resume;     /* a session that was kept may be resumed, and this one may be kept */
} xm_tls_peer;

xm_tls *xm_tls_new(xm_tls_ctx *ctx, const xm_tls_peer *peer, const xm_tls_io *io, xm_err *e);
void xm_tls_free(xm_tls *t); /* NULL is fine */

/* What a call returns that has taken as much of the transport as one may and got nothing for it but TLS's own messages:
 * there is more to be read, but others should have their turn. */
enum { XM_TLS_MORE = -101 };

/* 1: done and the certificate has passed. 0: go on when the transport has news. XM_TLS_MORE. XM_EFAIL: layer tls. */
int xm_tls_handshake(xm_tls *t, xm_err *e);
/* Is the peer whom we meant, by its certificate or the pin? (false only with verify=false) */
bool xm_tls_is_verified(const xm_tls *t);
/* Has the handshake failed for the session that was offered, perhaps? Some servers choke on what they should refuse. The next
 * connection to that peer offers none, for a day. */
bool xm_tls_is_choked(const xm_tls *t);
/* Was it a session of an earlier connection? What was verified then has been compared with `peer` again. */
bool xm_tls_is_resumed(const xm_tls *t);
/* The session has turned out well (who it is for has logged in): it may be resumed. */
void xm_tls_keep(xm_tls *t);
/* "TLSv1.3", for logs. */
const char *xm_tls_version(const xm_tls *t);
/* How many seconds the certificates that the peer has shown are good for, the first of them that ends; negative: one has ended.
 * false: there is none, as in a session that was resumed without being checked anew. */
bool xm_tls_good_for(const xm_tls *t, int64_t *seconds);
/* The same as in the protocol: 0x0304. */
unsigned xm_tls_version_number(const xm_tls *t);

/* The channel's binding of a type, after the handshake: "tls-exporter" (RFC 9266; TLS 1.3, or 1.2 with extended master
 * secret), "tls-unique" (RFC 5929 3; 1.2 with extended master secret), "tls-server-end-point" (RFC 5929 4; not of a
 * certificate whose signature has no hash of its own, as Ed25519). How many bytes; 0: it can't be had here. */
enum { XM_TLS_BINDING = 64 };
size_t xm_tls_binding(const xm_tls *t, const char *type, unsigned char bytes[XM_TLS_BINDING]);

/* Bytes; 0: none now; XM_TLS_MORE; XM_TLS_END: the peer ended it properly (close_notify); XM_EFAIL (layer tls or tcp). */
enum { XM_TLS_END = -100 };
ssize_t xm_tls_read(xm_tls *t, void *to, size_t n, xm_err *e);
/* Bytes that are decrypted and weren't read. */
size_t xm_tls_pending(const xm_tls *t);
/* Bytes taken; 0: none now (offer the same bytes again); XM_EFAIL. */
ssize_t xm_tls_write(xm_tls *t, const void *from, size_t n, xm_err *e);
/* Sends our close_notify, if it can be sent at once. */
void xm_tls_finish(xm_tls *t);

#endif
