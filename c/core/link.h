/* link: one stream, from looking up its server to its last byte: finds the server, dials, secures, negotiates, then
 * gives out elements and takes bytes. Rank 3. Called by conn, whose session may outlive many links.
 *
 *   in   sock.recv -> tls.read (straight into expat's buffer) -> xml.next (a tape) -> nego; once open, the caller
 *   out  the caller -> wire -> tls.write -> sock.send
 *
 * Over WebSocket there are frames between the transport and these (link_web), which nobody above notices.
 *
 * The caller pulls: xm_link_next does what is due and returns what has come. It calls nothing but `wake`, which may
 * only set a mark. */
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

/* What was not tried yet of an SRV answer: addresses; behind a proxy names, with the proxy's addresses. */
typedef struct xm_targets xm_targets;

/* The other end of a link. */
typedef struct xm_link_peer {
  struct sockaddr_storage address; /* behind a proxy, the proxy's; family 0: none yet */
  char host[256];                  /* behind a proxy, the host that it is asked for; "": there is no proxy */
  int port;
} xm_link_peer;

typedef enum xm_link_state {
  XM_LINK_RESOLVING,   /* looking up addresses (RFC 6120 3.2); ends with addresses */
  XM_LINK_DIALLING,    /* connecting to them; ends with one that answered */
  XM_LINK_TUNNELLING,  /* the dialogue with a proxy; ends with a way to the server */
  XM_LINK_SECURING,    /* TLS handshake, direct or after <proceed/>; ends with a certificate that fits */
  XM_LINK_UPGRADING,   /* the upgrade from HTTP to WebSocket (RFC 6455 4); ends with 101 */
  XM_LINK_NEGOTIATING, /* nego at work (RFC 6120 4 to 7, XEP-0198 5); ends with a session */
  XM_LINK_OPEN,        /* elements come in, bytes go out; ends with a close from either side */
  XM_LINK_CLOSED,      /* no socket, and nothing more will come; xm_link_why says why */
} xm_link_state;

/* Milliseconds spent in each of the states before OPEN; with several targets, for all of them together. */
typedef struct xm_link_how_long {
  unsigned ms[XM_LINK_OPEN];
} xm_link_how_long;

/* What isn't the same for every link of a connection. Borrowed for the call; previd and avoid, for the link's life. */
typedef struct xm_link_start {
  const char *password;
  size_t password_len;
  const char *host;                     /* instead of the options' (and then without SRV); NULL: the options' */
  int port;
  const char *url;                      /* the same for a WebSocket; NULL: the options' */
  const char *previd;                   /* the session to resume, NULL: none; and how many stanzas of it were handled */
  uint32_t h;
  bool only_resume;                     /* don't bind any other session */
  uint64_t due;                         /* when it must be open; 0: within the options' timeout */
  const xm_link_peer *avoid;            /* to be tried last; NULL: none */
  bool logged_in;                       /* fed: it is OPEN from the start */
  bool again;                           /* dial `avoid` and nothing else, with TLS from the first byte if `direct` */
  bool direct;
  unsigned objected; /* what xm_link_objected said of the last link: nothing is sent ahead on this one */
  const xm_token *token; /* to log in with (XEP-0484); NULL: none */
  xm_targets *targets; /* from the last link, to be dialled (or kept, with `again`); from now on they belong to the new
                          one, whatever becomes of it. NULL: none */
} xm_link_start;

typedef enum xm_link_event {
  XM_LINK_NOTHING, /* nothing for now: call again after the next wake */
  XM_LINK_AGAIN,   /* there is more to do, but others should have their turn */
  XM_LINK_OPENED,  /* once */
  XM_LINK_ELEMENT, /* a child of the stream's root; xm_link_tape has it until the next call */
  XM_LINK_SKIPPED, /* the same, of one that exceeded a bound (xm_link_crossed): the tape has its start tag */
  XM_LINK_CLOSE,   /* the peer has ended its stream */
  XM_LINK_BROKEN,  /* the peer's stream is at fault, xm_link_why says how: refuse it */
  XM_LINK_ENDED,   /* the state is CLOSED; xm_link_why says why */
} xm_link_event;

/* The options and the log are borrowed for the link's life. NULL with `e` set when it can't even begin. */
xm_link *xm_link_new(xm_loop *l, const xm_conn_options *o, const xm_link_start *start, xm_wirelog *log, xm_err *e);
/* Cuts it, if it is still up. NULL is allowed. */
void xm_link_free(xm_link *k);

xm_link_event xm_link_next(xm_link *k);
/* Stops reading while it is OPEN, or goes on. The link's end is noticed all the same. Allowed in any state. */
void xm_link_pause(xm_link *k, bool paused);
/* Stops receiving: what has been received is still given out, and then NOTHING is returned until the next
 * xm_link_pause, whatever its argument. false: it isn't OPEN. */
bool xm_link_run_dry(xm_link *k);
/* Bytes of the element given out last, with the white space in front of it. */
size_t xm_link_size(const xm_link *k);
/* Bytes that have come after the last event, as far as the kernel knows of them (under TLS: approximately); once it has
 * ended: how many there were then. */
size_t xm_link_unread(const xm_link *k);
/* Unused bytes of memory, after NOTHING; and giving them back. */
size_t xm_link_spare(const xm_link *k);
void xm_link_rest(xm_link *k);

/* Bytes to be sent are appended to the wire; flush gives the kernel what it takes and returns how many. A failure is
 * reported by xm_link_next. The link counts all that the kernel takes, also when the link itself flushes (to
 * refuse). */
xm_buf *xm_link_wire(xm_link *k);
ssize_t xm_link_flush(xm_link *k);
uint64_t xm_link_taken(const xm_link *k);
/* Bytes that the kernel hasn't taken. */
size_t xm_link_backlog(const xm_link *k);
/* Is there only the beginning of an element on the wire, which can't leave before its end is there? (WebSocket) */
bool xm_link_is_half(const xm_link *k);

/* How a link ends. What isn't possible in the state that it is in is left out. */
typedef enum xm_link_how {
  XM_LINK_CUT,    /* at once; xm_link_why, if it isn't set yet, becomes "out of memory" */
  XM_LINK_PART,   /* an orderly end of TLS and TCP, when our stream has ended or can't: what was sent last arrives */
  XM_LINK_BYE,    /* our stream ends (RFC 6120 4.4), then as PART */
  XM_LINK_REFUSE, /* the peer is sent what xm_link_why has, if that is a stream error (4.9), then as PART */
} xm_link_how;

/* Ends it, in any state, without waiting; then it is CLOSED. `detail`: with REFUSE, an application-specific condition
 * (4.9.4); NULL: none. */
void xm_link_end(xm_link *k, xm_link_how how, const char *detail);

xm_link_state xm_link_state_of(const xm_link *k);
const char *xm_link_phase(const xm_link *k); /* "connecting", "securing", ...; a static string */
const xm_tape *xm_link_tape(const xm_link *k);
bool xm_link_is_early(const xm_link *k); /* after ELEMENT: it came before the session, which doesn't count it */
/* One of the stanzas that came before the session and are still to be given out (0: the next one). NULL: there are no
 * more, or there is no session. */
const xm_tape *xm_link_early(const xm_link *k, unsigned i);
xm_bound xm_link_crossed(const xm_link *k, size_t *most); /* after SKIPPED; *most: the bound's value */
xm_err *xm_link_why(xm_link *k); /* to be filled in by whoever cuts it */
/* After OPENED. */
const xm_jid *xm_link_jid(const xm_link *k); /* what was bound; after a resumption, the account that logged in */
xm_nego_outcome xm_link_outcome(const xm_link *k, uint32_t *h); /* also when it ended before that */
bool xm_link_has_sm(const xm_link *k);
/* Was the login by SASL2; was the session bound inside of that, and with which stream management; what has become of
 * the token (also when it ended before OPENED); and the token for next time (`n` 0: none). */
bool xm_link_is_sasl2(const xm_link *k);
bool xm_link_is_bound_inside(const xm_link *k);
const xm_enabled *xm_link_enabled(const xm_link *k);
xm_login_token xm_link_token(const xm_link *k);
const xm_token *xm_link_new_token(const xm_link *k);
xm_buf xm_link_take_offers(xm_link *k); /* the features that nego has noted; from now on the caller's */
/* NULL: not known (yet). Static strings. */
const char *xm_link_tls_version(const xm_link *k);
bool xm_link_good_for(const xm_link *k, int64_t *seconds); /* see xm_tls_good_for; false: not known */
xm_link_how_long xm_link_took(const xm_link *k);
bool xm_link_tls_is_resumed(const xm_link *k); /* was an earlier connection's TLS session used? */
const char *xm_link_mechanism(const xm_link *k);
const char *xm_link_binding(const xm_link *k);
/* What it was connected to; false: nothing. */
bool xm_link_peer_of(const xm_link *k, xm_link_peer *peer);
bool xm_link_is_direct(const xm_link *k);
bool xm_link_was_answered(const xm_link *k); /* the peer has sent a stream header */
bool xm_link_was_refused(const xm_link *k);  /* the peer has ended it by its own stream error, which xm_link_why has */
bool xm_link_is_proven(const xm_link *k);    /* the peer has shown a certificate that fits, or none was required */
/* After a failure before authentication whose reason may lie with this target alone (so not a certificate): is there
 * another one to try, and time for it? */
bool xm_link_has_targets(const xm_link *k);
/* From now on they are the caller's; NULL: none. */
xm_targets *xm_link_take_targets(xm_link *k);
void xm_targets_free(xm_targets *t);
/* What was sent before the server asked for it (XM_NEGO_AHEAD_*). */
unsigned xm_link_went_ahead(const xm_link *k);
/* After a failure before it was open: what of that may be to blame, with XM_LINK_PERHAPS if it may as well be the
 * network; 0: nothing. The same server should get another try, without it. If that leads to a session, it isn't sent
 * ahead to the server any more. */
enum { XM_LINK_PERHAPS = 8, XM_LINK_TOKEN = XM_NEGO_TOKEN /* the next try goes without it */ };
unsigned xm_link_objected(const xm_link *k);
/* When bytes last came, by xm_loop_now; 0: never. */
uint64_t xm_link_heard_at(const xm_link *k);
/* "host" or "host:port" of a see-other-host, or the URL of a see-other-uri; "": there was none. */
const char *xm_link_other_host(const xm_link *k);

/* For a fed link: the end of the connection, after what was fed. */
void xm_link_cut(xm_link *k);
/* Bytes as if the peer had sent them; and what is on the wire, as if the kernel had taken it. 0 or XM_ENOMEM. */
int xm_link_feed(xm_link *k, const char *bytes, size_t n);
int xm_link_take(xm_link *k, xm_buf *to);

#endif
