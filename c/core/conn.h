/* conn: one connection, from the name to the last byte: the room that knows the others. Rank 3.
 *
 *   in   sock.recv -> tls.read (straight into expat's buffer) -> xml.next (a tape) -> nego until bound, then: yours
 *   out  yours -> xm_conn_out -> commit -> tls.write -> sock.send
 *
 * Pull: xm_conn_next turns the crank and says what came. It calls nothing of yours but `wake`, which may only mark, so
 * whatever you do with what came (send, close, free) disturbs nobody. */
#ifndef XM_CONN_H
#define XM_CONN_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"
#include "jid.h"
#include "loop.h"
#include "route.h"
#include "tape.h"
#include "tls.h"

typedef struct xm_conn xm_conn;

typedef enum xm_conn_state {
  XM_CONN_RESOLVING,   /* dns asks (RFC 6120 3.2); ends with addresses */
  XM_CONN_DIALLING,    /* sock dials; ends with one that answered */
  XM_CONN_SECURING,    /* TLS handshake, direct or after <proceed/>; ends with a certificate that fits */
  XM_CONN_NEGOTIATING, /* nego at work (RFC 6120 4 to 7); ends with a session */
  XM_CONN_READY,       /* stanzas in and out; ends with a close from either side */
  XM_CONN_CLOSING,     /* our </stream:stream> is out; ends with theirs (RFC 6120 4.4) */
  XM_CONN_CLOSED,      /* no socket, nothing to come; xm_conn_why tells */
} xm_conn_state;

typedef enum xm_tls_policy { XM_TLS_STARTTLS, XM_TLS_DIRECT, XM_TLS_NONE } xm_tls_policy;

/* Strings are copied. Times are milliseconds, sizes bytes. All zero is not a valid set: see xm_conn_defaults. */
typedef struct xm_conn_options {
  bool component;          /* XEP-0114: jid is the component's domain, password its secret */
  const xm_jid *jid;
  const char *password;    /* NULL: EXTERNAL or ANONYMOUS will do */
  size_t password_len;
  const char *host;        /* dial this and nothing else; NULL: SRV, then the JID's domain */
  int port;
  xm_tls_policy tls;
  xm_tls_ctx *tls_ctx;     /* held; may be NULL with XM_TLS_NONE */
  const char *tls_name;    /* the certificate must be for this; NULL: the JID's domain */
  const char *pin;
  const char *lang, *mechanisms, *nameservers;
  bool plain, pinned;      /* PLAIN may be used; not for this account any more, which has used something better */
  bool log;                /* keep what goes over the wire for xm_conn_log */
  unsigned timeout;        /* to be READY within; each phase has at most half of it */
  unsigned keepalive;      /* a space is sent after so long without a send (RFC 6120 4.6.1); 0: never */
  size_t max_stanza;       /* once bound; 64 KiB before */
  size_t max_queue;        /* bytes that wait to be sent */
  unsigned max_depth, max_attributes, max_nodes;
  bool fed;                /* for tests: no transport, READY from the start as `jid`; see xm_conn_feed */
  void (*wake)(void *arg); /* there is news: call xm_conn_next soon. May only mark */
  void *wake_arg;
} xm_conn_options;

/* api.md section 5's defaults, everything else zero. */
xm_conn_options xm_conn_defaults(void);

/* Starts connecting. NULL with `e` set when it can't even begin (no memory; a password that can't be one). */
xm_conn *xm_conn_new(xm_loop *l, const xm_conn_options *options, xm_err *e);
/* Cuts the connection if it still stands. NULL is fine. */
void xm_conn_free(xm_conn *c);

typedef enum xm_conn_event {
  XM_CONN_NOTHING, /* wait to be woken */
  XM_CONN_AGAIN,   /* there is more to do, but others should have their turn */
  XM_CONN_BOUND,   /* once: xm_conn_jid is known, stanzas may be sent */
  XM_CONN_STANZA,  /* xm_conn_stanza has it until the next call */
  XM_CONN_ENDED,   /* once: state CLOSED; xm_conn_why tells */
} xm_conn_event;

xm_conn_event xm_conn_next(xm_conn *c);
/* Stop reading (a queue above is full), or go on. */
void xm_conn_pause(xm_conn *c, bool paused);

xm_conn_state xm_conn_state_of(const xm_conn *c);
const char *xm_conn_state_name(xm_conn_state state); /* as Lua sees it: "connecting", "securing", ... */
const xm_tape *xm_conn_stanza(const xm_conn *c);
const xm_jid *xm_conn_jid(const xm_conn *c); /* NULL until bound */
const char *xm_conn_ns(const xm_conn *c);    /* the content namespace */
bool xm_conn_is_component(const xm_conn *c);
xm_route *xm_conn_route(xm_conn *c);
/* How it was secured and logged in, as far as it came; it stays when it is closed. NULL: not. Strings that stay. */
const char *xm_conn_tls_version(const xm_conn *c); /* "TLSv1.3" */
const char *xm_conn_mechanism(const xm_conn *c);   /* "SCRAM-SHA-256-PLUS" */
const char *xm_conn_binding(const xm_conn *c);     /* "tls-exporter" */
/* Why it is closed, or is about to be; layer XM_LAYER_NONE: it isn't. */
const xm_err *xm_conn_why(const xm_conn *c);
unsigned xm_conn_max_depth(const xm_conn *c);

/* Sending: append to the buffer, then commit with what xm_buf_mark said before. 0; or XM_EFAIL, nothing queued, with `e`
 * set: layer "limit" (max_queue reached), "closed". Nothing leaves before xm_conn_flush. */
xm_buf *xm_conn_out(xm_conn *c);
int xm_conn_commit(xm_conn *c, size_t mark, xm_err *e);
/* Hands the kernel what it takes. What it doesn't take now is to be flushed after the next wake. A failure is told by
 * xm_conn_next. */
void xm_conn_flush(xm_conn *c);
/* Bytes that the kernel hasn't taken. */
size_t xm_conn_unsent(const xm_conn *c);

/* Ends the stream properly (RFC 6120 4.4), within `ms` milliseconds; before it is READY, at once. Idempotent. The end is
 * told by xm_conn_next. */
void xm_conn_close(xm_conn *c, unsigned ms);

/* Cuts the connection since memory ran out above, where a stanza was lost by it. The end is told by xm_conn_next. */
void xm_conn_abort(xm_conn *c);

/* What went over the wire: records of one direction ('>' or '<'), a length (size_t, as in memory) and the text; secrets are
 * masked. To be consumed by the caller. */
xm_buf *xm_conn_log(xm_conn *c);

/* A fed connection: bytes as if the peer had sent them (its stream header is not among them). What would go to the kernel
 * stays in xm_conn_out, to be consumed by the caller. 0 or XM_ENOMEM. */
int xm_conn_feed(xm_conn *c, const char *bytes, size_t n);

#endif
