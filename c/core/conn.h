/* conn: one connection, for as long as its program wants it: a session, carried by one link (a stream) after another.
 * Rank 4: the module above all others of the core.
 *
 *   in   xm_link_next (a tape) -> sm -> the caller
 *   out  the caller -> sm's log (xm_conn_out, xm_conn_commit) -> the link's wire -> the kernel
 *
 * The caller pulls: xm_conn_next does what is due and returns what has come. Of the caller's functions only `wake` is
 * ever called, which may do no more than set a mark, so the caller may do anything (send, close, free) with what has
 * come. */
#ifndef XM_CONN_H
#define XM_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "buf.h"
#include "err.h"
#include "jid.h"
#include "loop.h"
#include "options.h"
#include "route.h"
#include "sm.h"
#include "tape.h"
#include "tls.h"

typedef struct xm_conn xm_conn;

typedef enum xm_conn_state {
  XM_CONN_CONNECTING, /* a link is being set up; ends with a session, or with the link */
  XM_CONN_WAITING,    /* there is no link; a timer runs until the next attempt */
  XM_CONN_READY,      /* stanzas go in and out; ends with a close from either side, or with the link */
  XM_CONN_CLOSING,    /* xm_conn_close was called: what was sent has to be acknowledged first, then our </stream:stream>
                         is sent; ends with the server's (RFC 6120 4.4) */
  XM_CONN_CLOSED,     /* there is no link, and nothing more will come; xm_conn_why says why */
} xm_conn_state;

/* The documented defaults; everything else is zero. */
xm_conn_options xm_conn_defaults(void);

/* A session that another process has saved. */
typedef struct xm_conn_session {
  xm_sm_session sm;
  const xm_jid *jid;            /* the address that was bound */
  const xm_sm_stanza *stanzas;  /* not acknowledged, oldest first; only xml, len, given and flags are read */
  size_t n;
} xm_conn_session;

/* Starts connecting. NULL with `e` set when it can't even begin (no memory; an unusable password). `session`: the
 * session to resume; NULL: none. */
xm_conn *xm_conn_new(xm_loop *l, const xm_conn_options *options, const xm_conn_session *session, xm_err *e);
/* Ends the stream, if it is open, without waiting for the server. NULL is allowed. */
void xm_conn_free(xm_conn *c);

typedef enum xm_conn_event {
  XM_CONN_NOTHING, /* nothing for now: call again after the next wake */
  XM_CONN_AGAIN,   /* there is more to do, but others should have their turn */
  XM_CONN_STATE,   /* xm_conn_state_name has changed; xm_conn_trouble has the reason, if there is one */
  XM_CONN_BOUND,   /* once: xm_conn_jid is known, stanzas may be sent */
  XM_CONN_REBOUND, /* the session is lost and a new one has begun: an earlier request gets no response, unless
                      xm_sm_has still has it */
  XM_CONN_TOKEN,   /* there is a new token: xm_conn_token */
  XM_CONN_PROBED,  /* a message to ourselves (xm_conn_probe) has come back: xm_conn_probed says which */
  XM_CONN_STANZA,  /* xm_conn_stanza has it, until the next call */
  XM_CONN_SKIPPED, /* a stanza exceeded a bound (xm_conn_crossed) and was dropped: xm_conn_stanza has its start tag */
  XM_CONN_PASSWORD, /* another login is needed, and the password wasn't kept: xm_conn_log_in has to be called before the
                       next xm_conn_next, or the connection ends */
  XM_CONN_ENDED,   /* once: the state is CLOSED; xm_conn_why says why */
} xm_conn_event;

xm_conn_event xm_conn_next(xm_conn *c);
/* After XM_CONN_PASSWORD: the same password once more. */
void xm_conn_log_in(xm_conn *c, const char *password, size_t n);
/* The stanza given out last has been handled, so the server may forget it. (The next xm_conn_next implies that.) */
void xm_conn_handled(xm_conn *c);
/* For saving: the stanzas that came before the session and that nobody has taken, in order, from 0 on; NULL: there are
 * no more. They aren't counted, so the server would not send them again. `at_hand`: the one given out last hasn't been
 * taken either. */
const xm_tape *xm_conn_early(const xm_conn *c, bool at_hand, unsigned i);
/* Stops reading (because a queue above is full), or goes on. */
void xm_conn_pause(xm_conn *c, bool paused);

/* For draining. Stops receiving, and counts from now on what is left over (xm_conn_left_of): what has been received
 * already is still given out, and then xm_conn_next returns NOTHING until the next xm_conn_pause, whatever its
 * argument. false: there is no session to receive from. */
bool xm_conn_run_dry(xm_conn *c);
/* The stanza given out last isn't taken. The server is told neither that it was handled nor that anything behind it on
 * this link was, whatever becomes of that: so the server may send all of it again, to whoever comes next. */
void xm_conn_pass_over(xm_conn *c);
typedef struct xm_conn_left {
  size_t stanzas; /* those that weren't taken, except for those that the server sends again in a later session */
  uint64_t bytes; /* of these; once it has ended, also what had come and wasn't looked at; under TLS: approximately */
  size_t unsent;  /* once it has ended: stanzas not known to have arrived */
  bool late;      /* the time for closing ran out */
} xm_conn_left;
xm_conn_left xm_conn_left_of(const xm_conn *c);

xm_conn_state xm_conn_state_of(const xm_conn *c);
/* The state's name as Lua sees it: "connecting", "securing", "authenticating", "binding", "resuming", "ready",
 * "waiting", "closing", "closed". The strings are static. */
const char *xm_conn_state_name(const xm_conn *c);
const xm_tape *xm_conn_stanza(const xm_conn *c);
xm_bound xm_conn_crossed(const xm_conn *c, size_t *most); /* after XM_CONN_SKIPPED; *most: the bound's value */
const xm_bounds *xm_conn_bounds(const xm_conn *c);
const xm_jid *xm_conn_jid(const xm_conn *c); /* NULL until bound */
const char *xm_conn_ns(const xm_conn *c);    /* the content namespace */
bool xm_conn_is_component(const xm_conn *c);
xm_route *xm_conn_route(xm_conn *c);
enum { XM_CONN_ADDRESS = 48 }; /* bytes of an IP address as text, its NUL included */
/* The steps of connecting, in order. */
typedef enum xm_conn_step { XM_CONN_DNS, XM_CONN_TCP, XM_CONN_PROXY, XM_CONN_TLS, XM_CONN_LOGIN, XM_CONN_STEPS } xm_conn_step;
/* How the connection was secured and logged in, as far as it got, and where its last link led; kept when it is
 * closed. */
typedef struct xm_conn_info {
  const char *url;         /* the WebSocket's; NULL: it doesn't connect by one. Valid for the connection's life */
  const char *tls_version; /* "TLSv1.3"; NULL: none. Static strings, as the next two are */
  const char *mechanism;   /* "SCRAM-SHA-256-PLUS" */
  const char *binding;     /* "tls-exporter" */
  bool sasl2;              /* the login was by XEP-0388; */
  bool bound_inside;       /* and the session was bound (XEP-0386) or resumed inside of that; */
  bool by_token;           /* the login was by a token (XEP-0484) */
  unsigned ahead;          /* what was sent before the server asked for it: XM_NEGO_AHEAD_* */
  unsigned took[XM_CONN_STEPS]; /* milliseconds that each step took, until it succeeded or failed */
  int64_t good_for;        /* seconds that the certificates were still valid for, if has_certificate: there were some */
  bool has_certificate;
  bool tls_resumed;        /* by a session of an earlier link, or of another connection */
  bool sm, resumable;      /* stream management is on; the server keeps the session when the link breaks */
  char address[XM_CONN_ADDRESS]; /* of the machine that the last link was connected to; "": none, or only the proxy
                                    knows it */
  const char *proxy;       /* its URL, without user and password; NULL: none. Valid for the connection's life */
  unsigned resumed, rebound, failed_without_h; /* resumptions; new sessions after the first one; those of them where the
                                                  server's h wasn't known */
} xm_conn_info;
xm_conn_info xm_conn_info_of(const xm_conn *c);
/* The namespaces of the features that the server offered at the last login, after TLS and SASL, one with each call: the
 * one after `before` (NULL: the first); NULL: there are no more. The same namespace may come twice. */
const char *xm_conn_offers(const xm_conn *c, const char *before);
/* The token that the next login would use (XEP-0484): as secret as a password, so wipe it. false: there is none. */
bool xm_conn_token(const xm_conn *c, xm_token *token);
/* Its owner: the account that logs in, and its user-agent id (NULL: none). */
const xm_jid *xm_conn_account(const xm_conn *c);
const char *xm_conn_agent(const xm_conn *c);
/* Why it is closed, or is about to be; layer XM_LAYER_NONE: it isn't. */
const xm_err *xm_conn_why(const xm_conn *c);
/* Why the last link ended; if the connection ended with it, the same as xm_conn_why. */
const xm_err *xm_conn_trouble(const xm_conn *c);

/* Sending: append to the buffer, then commit with the mark that xm_buf_mark gave before. Flags: XM_SM_*. 0 and the
 * stanza's number (`seq` may be NULL); or XM_EFAIL, with nothing queued and `e` set: layer "limit" (max_queue reached),
 * "closed". While there is no link, stanzas are kept for the next one. Nothing leaves before xm_conn_flush. */
xm_buf *xm_conn_out(xm_conn *c);
int xm_conn_commit(xm_conn *c, size_t mark, unsigned flags, uint64_t *seq, xm_err *e);
/* Gives the kernel as much as it takes; the rest has to be flushed after the next wake. A failure is reported by
 * xm_conn_next. */
void xm_conn_flush(xm_conn *c);
/* Tells the server whether somebody is using the client (XEP-0352), after what is on the wire already. Does nothing
 * without a link, and is lost if that breaks first. */
void xm_conn_say_active(xm_conn *c, bool active);
/* Bytes that aren't known to have arrived: not acknowledged, or without stream management not taken by the kernel. */
size_t xm_conn_pending(const xm_conn *c, size_t *stanzas);
/* Is something awaited from the server that has to be read: an acknowledgement, an answer? */
bool xm_conn_expects(const xm_conn *c);
/* Is so much unacknowledged that what is sent next can't leave yet, or is about to be refused? */
bool xm_conn_is_held_up(const xm_conn *c);
/* Requests an acknowledgement for all that leaves now (with stream management), unless one is on its way that will
 * do. */
void xm_conn_hurry(xm_conn *c);
/* Checks whether the server is still there: it is asked, and has to answer within the time of the option patience. */
void xm_conn_check(xm_conn *c);
/* Sends a message to ourselves, through the server; only for a component that is READY. 0 and its number, by which
 * XM_CONN_PROBED and xm_conn_probed tell that it has come back; XM_EFAIL with `e` set. It is never given out as a
 * stanza, however late it comes. */
int xm_conn_probe(xm_conn *c, uint64_t *number, xm_err *e);
uint64_t xm_conn_probed(const xm_conn *c);
/* What was sent and what became of it: xm_sm_receipt_next, xm_sm_returned_next, xm_sm_has; for saving, xm_sm_each. */
xm_sm *xm_conn_sm(xm_conn *c);

/* `wanted`: the caller is to be first in each new session that follows a lost one. Then what had been given before is
 * held back in it, from XM_CONN_REBOUND on, until xm_conn_let_go, xm_conn_close, or for as long as the option timeout
 * says; what is given meanwhile is not. */
void xm_conn_hold_back(xm_conn *c, bool wanted);
void xm_conn_let_go(xm_conn *c);

/* Ends the stream properly (RFC 6120 4.4) once what is pending has arrived, within `ms` milliseconds; if no session was
 * bound yet, at once. Calling it again can only shorten the time. The end is reported by xm_conn_next. */
void xm_conn_close(xm_conn *c, unsigned ms);

bool xm_conn_is_stopping(const xm_conn *c); /* was xm_conn_close called? */

/* Cuts the link without ending the session, which another process may resume; no stanza is returned to its sender. */
void xm_conn_detach(xm_conn *c);
bool xm_conn_is_detached(const xm_conn *c); /* is that how it ended? */

/* Cuts the connection because memory ran out in the caller and a stanza was lost by that. The end is reported by
 * xm_conn_next. */
void xm_conn_abort(xm_conn *c);

/* The log of what went over the wire (see wirelog.h). The caller consumes it. */
xm_buf *xm_conn_log(xm_conn *c);

/* For a fed connection, which has no socket. feed: bytes as if the peer had sent them (without its stream header, if
 * the connection was logged in from the start); 0 or XM_ENOMEM. sent: what would have gone to the kernel since the last
 * call, as if it had taken that. */
int xm_conn_feed(xm_conn *c, const char *bytes, size_t n);
int xm_conn_sent(xm_conn *c, xm_buf *to);
void xm_conn_cut(xm_conn *c); /* its link breaks, after what was fed */

#endif
