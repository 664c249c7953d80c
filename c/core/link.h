/* link: one stream, from the name to its last byte: finds the server, dials, secures, negotiates, then gives elements and
 * takes bytes. Rank 3. Called by conn, whose session may outlive many of them.
 *
 *   in   sock.recv -> tls.read (straight into expat's buffer) -> xml.next (a tape) -> nego until it is open, then: yours
 *   out  yours -> wire -> tls.write -> sock.send
 *
 * Over WebSocket there are frames between the transport and these (link_web), of which nobody above learns.
 *
 * Pull: xm_link_next turns the crank and says what came. It calls nothing but `wake`, which may only mark. */
#ifndef XM_LINK_H
#define XM_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "bounds.h"
#include "buf.h"
#include "err.h"
#include "jid.h"
#include "loop.h"
#include "nego.h"
#include "options.h"
#include "tape.h"
#include "wirelog.h"

typedef struct xm_link xm_link;

/* What of an SRV answer was not tried yet: addresses; behind a proxy names, and the addresses of that. */
typedef struct xm_targets xm_targets;

/* Where a link leads. */
typedef struct xm_link_peer {
  struct sockaddr_storage address; /* behind a proxy the proxy's; family 0: nowhere, yet */
  char host[256];                  /* behind a proxy what that is asked for; "": there is none */
  int port;
} xm_link_peer;

typedef enum xm_link_state {
  XM_LINK_RESOLVING,   /* dns asks (RFC 6120 3.2); ends with addresses */
  XM_LINK_DIALLING,    /* sock dials; ends with one that answered */
  XM_LINK_TUNNELLING,  /* behind a proxy: tunnel at work; ends with a way to the server */
  XM_LINK_SECURING,    /* TLS handshake, direct or after <proceed/>; ends with a certificate that fits */
  XM_LINK_UPGRADING,   /* the WebSocket is asked for (RFC 6455 4); ends with 101 */
  XM_LINK_NEGOTIATING, /* nego at work (RFC 6120 4 to 7, XEP-0198 5); ends with a session */
  XM_LINK_OPEN,        /* elements in, bytes out; ends with a close from either side */
  XM_LINK_CLOSED,      /* no socket, nothing to come; xm_link_why tells */
} xm_link_state;

/* Milliseconds that the states before OPEN have taken, by their numbers; of several targets, those of all. */
typedef struct xm_link_how_long {
  unsigned ms[XM_LINK_OPEN];
} xm_link_how_long;

/* What is not the same for every link of a connection. Borrowed for the call, but previd and avoid for the link's life. */
typedef struct xm_link_start {
  const char *password;
  size_t password_len;
  const char *host;                     /* instead of the options' (and then without SRV); NULL: as they say */
  int port;
  const char *url;                      /* the same, of a WebSocket: borrowed for the call; NULL: as the options say */
  const char *previd;                   /* the session to be resumed, NULL: none; and what was handled of it */
  uint32_t h;
  bool only_resume;                     /* no other session is to be bound */
  uint64_t due;                         /* when it must be open; 0: within the options' timeout */
  const xm_link_peer *avoid;            /* this is to be the last one tried; NULL: none */
  bool logged_in;                       /* fed: it is OPEN already */
  bool again;                           /* no: dial it and nothing else, with TLS from the first byte if `direct` */
  bool direct;
  unsigned objected; /* what xm_link_objected said of the last link: nothing is said ahead on this one */
  const xm_token *token; /* to log in by (XEP-0484); NULL: none */
  xm_targets *targets; /* from the last link, to be dialled (or kept, with `again`); the new one's from now on, whatever comes
                          of it. NULL: none */
} xm_link_start;

typedef enum xm_link_event {
  XM_LINK_NOTHING, /* wait to be woken */
  XM_LINK_AGAIN,   /* there is more to do, but others should have their turn */
  XM_LINK_OPENED,  /* once */
  XM_LINK_ELEMENT, /* level 1; xm_link_tape has it until the next call */
  XM_LINK_SKIPPED, /* the same, of an element that crossed a bound (xm_link_crossed): the tape has its start tag */
  XM_LINK_CLOSE,   /* the peer has ended its stream */
  XM_LINK_BROKEN,  /* the peer's stream is at fault, xm_link_why tells: refuse it */
  XM_LINK_ENDED,   /* state CLOSED; xm_link_why tells */
} xm_link_event;

/* The options and the log are borrowed for the link's life. NULL with `e` set when it can't even begin. */
xm_link *xm_link_new(xm_loop *l, const xm_conn_options *o, const xm_link_start *start, xm_wirelog *log, xm_err *e);
/* Cuts what still stands. NULL is fine. */
void xm_link_free(xm_link *k);

xm_link_event xm_link_next(xm_link *k);
/* Stop reading what comes when it is open, or go on. The link's end is noticed all the same. In any state. */
void xm_link_pause(xm_link *k, bool paused);
/* Stop receiving: what has been received is given out, and then NOTHING comes, until the next xm_link_pause, whatever that says.
 * false: it isn't OPEN. */
bool xm_link_run_dry(xm_link *k);
/* Bytes of the element that is out, with the space in front of it. */
size_t xm_link_size(const xm_link *k);
/* Bytes that have come and are behind the last event, as far as the kernel knows of them (under TLS: about); when it has ended:
 * that there were then. */
size_t xm_link_unread(const xm_link *k);
/* Bytes of memory that nothing is in, after NOTHING; they are given back. */
size_t xm_link_spare(const xm_link *k);
void xm_link_rest(xm_link *k);

/* Bytes to be sent are appended to the wire; flush hands the kernel what it takes: how many. A failure is told by
 * xm_link_next. Whoever flushes, here or inside (a refusal does), the link counts what the kernel has taken in all. */
xm_buf *xm_link_wire(xm_link *k);
ssize_t xm_link_flush(xm_link *k);
uint64_t xm_link_taken(const xm_link *k);
/* Bytes that it hasn't taken. */
size_t xm_link_backlog(const xm_link *k);
/* Has the wire only the beginning of an element, which can't leave before its end is there? (WebSocket) */
bool xm_link_is_half(const xm_link *k);

/* How a link ends. What of it can't be done in the state it is in, is not done. */
typedef enum xm_link_how {
  XM_LINK_CUT,    /* without a word; xm_link_why, if it isn't set yet, becomes "out of memory" */
  XM_LINK_PART,   /* goodbye underneath (TLS, TCP), when our stream has ended or can't: our last words arrive */
  XM_LINK_BYE,    /* our stream ends (RFC 6120 4.4), then as PART */
  XM_LINK_REFUSE, /* the peer is told by a stream error what xm_link_why has, if it is one (4.9), then as PART */
} xm_link_how;

/* Ends it, in any state, without waiting; then it is CLOSED. `detail`: with REFUSE an application's own condition (4.9.4),
 * NULL: none. */
void xm_link_end(xm_link *k, xm_link_how how, const char *detail);

xm_link_state xm_link_state_of(const xm_link *k);
const char *xm_link_phase(const xm_link *k); /* "connecting", "securing", ...; a string that stays */
const xm_tape *xm_link_tape(const xm_link *k);
bool xm_link_is_early(const xm_link *k); /* after ELEMENT: it came before the session, which doesn't count it (XEP-0198) */
xm_bound xm_link_crossed(const xm_link *k, size_t *most); /* after SKIPPED; and the bound's number */
xm_err *xm_link_why(xm_link *k); /* to be filled in by who cuts it */
/* After OPENED. */
const xm_jid *xm_link_jid(const xm_link *k); /* what was bound; resumed: who logged in */
xm_nego_outcome xm_link_outcome(const xm_link *k, uint32_t *h); /* at an end before that, too */
bool xm_link_has_sm(const xm_link *k);
/* Was it logged in by SASL2; was it bound inside of that, with stream management as it is told there; what has become of the token,
 * at an end before that, too; and the token for next time (`n` 0: none). */
bool xm_link_is_sasl2(const xm_link *k);
bool xm_link_is_bound_inside(const xm_link *k);
const xm_enabled *xm_link_enabled(const xm_link *k);
xm_login_token xm_link_token(const xm_link *k);
const xm_token *xm_link_new_token(const xm_link *k);
xm_buf xm_link_take_offers(xm_link *k); /* what nego had noted; the caller's, and gone from here */
/* NULL: not known (yet). */
const char *xm_link_tls_version(const xm_link *k);
bool xm_link_good_for(const xm_link *k, int64_t *seconds); /* see xm_tls_good_for; false: not known */
xm_link_how_long xm_link_took(const xm_link *k);
bool xm_link_tls_is_resumed(const xm_link *k); /* was its session an earlier connection's? */
const char *xm_link_mechanism(const xm_link *k);
const char *xm_link_binding(const xm_link *k);
/* What it was connected to; false: to nothing. */
bool xm_link_peer_of(const xm_link *k, xm_link_peer *peer);
bool xm_link_is_direct(const xm_link *k);
bool xm_link_was_answered(const xm_link *k); /* there was a stream header of the peer's */
bool xm_link_was_refused(const xm_link *k);  /* the peer has ended it by a stream error of its own, which xm_link_why has */
bool xm_link_is_proven(const xm_link *k);    /* the peer has shown a certificate that is right, or none was asked for */
/* After a failure before anything was authenticated, by what may be the fault of this target alone (not by a certificate): is
 * there another one to try, in time? */
bool xm_link_has_targets(const xm_link *k);
/* They are the caller's then; NULL: none. */
xm_targets *xm_link_take_targets(xm_link *k);
void xm_targets_free(xm_targets *t);
/* What was said before it was asked for (XM_NEGO_AHEAD_*). */
unsigned xm_link_went_ahead(const xm_link *k);
/* After a failure before it was open: what of that may be to blame, with XM_LINK_PERHAPS if it may as well be the network;
 * 0: nothing. The same server should have another
 * try, without it. If that comes to a session, the server isn't told so soon any more. */
enum { XM_LINK_PERHAPS = 8, XM_LINK_TOKEN = XM_NEGO_TOKEN /* the next try goes without it */ };
unsigned xm_link_objected(const xm_link *k);
/* When bytes last came, by xm_loop_now; 0: never. */
uint64_t xm_link_heard_at(const xm_link *k);
/* "host" or "host:port" by a see-other-host, or the URL by a see-other-uri; "" when there was none. */
const char *xm_link_other_host(const xm_link *k);

/* A fed link: its end, behind what was fed. */
void xm_link_cut(xm_link *k);
/* Bytes as if the peer had sent them; and what is on the wire, as if the kernel had taken it. 0 or XM_ENOMEM. */
int xm_link_feed(xm_link *k, const char *bytes, size_t n);
int xm_link_take(xm_link *k, xm_buf *to);

#endif
