/* conn: one connection, for as long as its program wants it: a session, on one link after the other. Rank 4: the room that
 * knows the others.
 *
 *   in   link.next (a tape) -> sm -> yours
 *   out  yours -> sm's log (xm_conn_out, xm_conn_commit) -> the link's wire -> the kernel
 *
 * Pull: xm_conn_next turns the crank and says what came. It calls nothing of yours but `wake`, which may only mark, so
 * whatever you do with what came (send, close, free) disturbs nobody. */
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
  XM_CONN_CONNECTING, /* a link is on its way; ends with a session, or with the link */
  XM_CONN_WAITING,    /* no link: the next attempt is so many milliseconds away */
  XM_CONN_READY,      /* stanzas in and out; ends with a close from either side, or with the link */
  XM_CONN_CLOSING,    /* to be closed when all has arrived; then our </stream:stream> is out; ends with theirs (RFC 6120 4.4) */
  XM_CONN_CLOSED,     /* no link, nothing to come; xm_conn_why tells */
} xm_conn_state;

/* api.md section 5's defaults, everything else zero. */
xm_conn_options xm_conn_defaults(void);

/* A session that another process has saved. */
typedef struct xm_conn_session {
  xm_sm_session sm;
  const xm_jid *jid;            /* as it was bound */
  const xm_sm_stanza *stanzas;  /* that weren't acknowledged, oldest first; xml, len, given and flags are read */
  size_t n;
} xm_conn_session;

/* Starts connecting. NULL with `e` set when it can't even begin (no memory; a password that can't be one). `session`: to be
 * resumed; NULL: none. */
xm_conn *xm_conn_new(xm_loop *l, const xm_conn_options *options, const xm_conn_session *session, xm_err *e);
/* Ends the stream if it still stands, without waiting. NULL is fine. */
void xm_conn_free(xm_conn *c);

typedef enum xm_conn_event {
  XM_CONN_NOTHING, /* wait to be woken */
  XM_CONN_AGAIN,   /* there is more to do, but others should have their turn */
  XM_CONN_STATE,   /* xm_conn_state_name has changed; xm_conn_trouble says why, if there is a reason */
  XM_CONN_BOUND,   /* once: xm_conn_jid is known, stanzas may be sent */
  XM_CONN_REBOUND, /* the session is lost and there is a new one: who waits for a response waits in vain, unless
                      xm_sm_has its request still */
  XM_CONN_TOKEN,   /* there is a new token: xm_conn_token */
  XM_CONN_PROBED,  /* a message to ourselves has come back: xm_conn_probed says which */
  XM_CONN_STANZA,  /* xm_conn_stanza has it until the next call */
  XM_CONN_SKIPPED, /* a stanza crossed a bound (xm_conn_crossed) and is gone: xm_conn_stanza has its start tag */
  XM_CONN_PASSWORD, /* it has to log in once more and hasn't kept the password: xm_conn_log_in before the next call,
                       or that ends it */
  XM_CONN_ENDED,   /* once: state CLOSED; xm_conn_why tells */
} xm_conn_event;

xm_conn_event xm_conn_next(xm_conn *c);
/* After XM_CONN_PASSWORD: the same once more. */
void xm_conn_log_in(xm_conn *c, const char *password, size_t n);
/* The stanza that came has been handled, so the server may forget it. (The next xm_conn_next says so, too.) */
void xm_conn_handled(xm_conn *c);
/* Stop reading (a queue above is full), or go on. */
void xm_conn_pause(xm_conn *c, bool paused);

/* For who takes nothing more. Stop receiving, and from now on count what is left: what has been received is given out, and then
 * NOTHING comes, until the next xm_conn_pause, whatever that says. false: there is no session to receive from. */
bool xm_conn_run_dry(xm_conn *c);
/* The stanza that came isn't taken. To the server it is not handled, and what is behind it on this link isn't either, whatever
 * becomes of that: so it may be sent again, to who comes next. */
void xm_conn_pass_over(xm_conn *c);
typedef struct xm_conn_left {
  size_t stanzas; /* that weren't taken; but for those that the server sends again in a later session */
  uint64_t bytes; /* of these, and when it has ended what had come and wasn't looked at; under TLS: about */
  size_t unsent;  /* when it has ended: stanzas that aren't known to have arrived */
  bool late;      /* the time for closing was over */
} xm_conn_left;
xm_conn_left xm_conn_left_of(const xm_conn *c);

xm_conn_state xm_conn_state_of(const xm_conn *c);
/* As Lua sees it: "connecting", "securing", "authenticating", "binding", "resuming", "ready", "waiting", "closing",
 * "closed". Strings that stay. */
const char *xm_conn_state_name(const xm_conn *c);
const xm_tape *xm_conn_stanza(const xm_conn *c);
xm_bound xm_conn_crossed(const xm_conn *c, size_t *most); /* after XM_CONN_SKIPPED; and the bound's number */
const xm_bounds *xm_conn_bounds(const xm_conn *c);
const xm_jid *xm_conn_jid(const xm_conn *c); /* NULL until bound */
const char *xm_conn_ns(const xm_conn *c);    /* the content namespace */
bool xm_conn_is_component(const xm_conn *c);
xm_route *xm_conn_route(xm_conn *c);
enum { XM_CONN_ADDRESS = 48 }; /* bytes of an IP address in figures */
/* The steps of connecting, in their order. */
typedef enum xm_conn_step { XM_CONN_DNS, XM_CONN_TCP, XM_CONN_PROXY, XM_CONN_TLS, XM_CONN_LOGIN, XM_CONN_STEPS } xm_conn_step;
/* How it was secured and logged in, as far as it came, and the link it is on; it stays when it is closed. */
typedef struct xm_conn_info {
  const char *url;         /* that it connects to by WebSocket; NULL: it doesn't. It is the connection's */
  const char *tls_version; /* "TLSv1.3"; NULL: none. Strings that stay */
  const char *mechanism;   /* "SCRAM-SHA-256-PLUS" */
  const char *binding;     /* "tls-exporter" */
  bool sasl2;              /* by XEP-0388; */
  bool bound_inside;       /* and the session was bound inside of that (XEP-0386), or resumed; */
  bool by_token;           /* by a token (XEP-0484) */
  unsigned ahead;          /* what was said before it was asked for: XM_NEGO_AHEAD_* */
  unsigned took[XM_CONN_STEPS]; /* milliseconds, until it was open, or failed */
  int64_t good_for;        /* seconds that the certificates were good for; has_certificate: there were some */
  bool has_certificate;
  bool tls_resumed;        /* by a session of an earlier link's, or connection's */
  bool sm, resumable;      /* stanzas are acknowledged; the server keeps the session when the link breaks */
  char address[XM_CONN_ADDRESS]; /* of the machine that the last link was connected to, in figures; "": none, or a proxy knows it */
  const char *proxy;       /* its URL, without user and password; NULL: none. For the connection's life */
  unsigned resumed, rebound, failed_without_h; /* resumptions; new sessions after a first; of those: the server's h unknown */
} xm_conn_info;
xm_conn_info xm_conn_info_of(const xm_conn *c);
/* The namespace of a feature that the server has offered at the last login, once it was through with TLS and SASL, or of the
 * one behind that (`before`; NULL: of the first); NULL: there is none. The same may come twice. */
const char *xm_conn_offers(const xm_conn *c, const char *before);
/* The token that the next login would be by (XEP-0484): as secret as a password, to be wiped. false: there is none. */
bool xm_conn_token(const xm_conn *c, xm_token *token);
/* Whose it is: who logs in, and by which user-agent id (NULL: none). */
const xm_jid *xm_conn_account(const xm_conn *c);
const char *xm_conn_agent(const xm_conn *c);
/* Why it is closed, or is about to be; layer XM_LAYER_NONE: it isn't. */
const xm_err *xm_conn_why(const xm_conn *c);
/* Why the last link ended; the same as above when it was the last. */
const xm_err *xm_conn_trouble(const xm_conn *c);

/* Sending: append to the buffer, then commit with what xm_buf_mark said before. Flags: XM_SM_*. 0 and the stanza's number
 * (`seq` may be NULL); or XM_EFAIL, nothing queued, with `e` set: layer "limit" (max_queue reached), "closed". While there is
 * no link it is kept for the next. Nothing leaves before xm_conn_flush. */
xm_buf *xm_conn_out(xm_conn *c);
int xm_conn_commit(xm_conn *c, size_t mark, unsigned flags, uint64_t *seq, xm_err *e);
/* Hands the kernel what it takes. What it doesn't take now is to be flushed after the next wake. A failure is told by
 * xm_conn_next. */
void xm_conn_flush(xm_conn *c);
/* Says that somebody is using the client, or nobody (XEP-0352), behind what is on the wire; nothing without a link, or when that
 * breaks first. */
void xm_conn_say_active(xm_conn *c, bool active);
/* What isn't known to have arrived: with stream management, what isn't acknowledged, else what the kernel hasn't taken. */
size_t xm_conn_pending(const xm_conn *c, size_t *stanzas);
/* Does it wait for something that the server says, and that has to be read: an acknowledgement, an answer? */
bool xm_conn_expects(const xm_conn *c);
/* Does so much of what was sent wait for that, that what is sent next can't leave, or is about to be refused? */
bool xm_conn_is_held_up(const xm_conn *c);
/* Asks for an acknowledgement of all that leaves now, where there is stream management, if no answer on its way will be that. */
void xm_conn_hurry(xm_conn *c);
/* Is the server still there? It is asked, and has `patience` to answer. */
void xm_conn_check(xm_conn *c);
/* Sends a message to ourselves, through the server, if we are a component and READY. 0 and its number, by which XM_CONN_PROBED
 * tells that it has come back; XM_EFAIL with `e` set. Nobody else sees it come, now or later. */
int xm_conn_probe(xm_conn *c, uint64_t *number, xm_err *e);
uint64_t xm_conn_probed(const xm_conn *c);
/* What was sent and what became of it: xm_sm_receipt_next, xm_sm_returned_next, xm_sm_has; for saving, xm_sm_each. */
xm_sm *xm_conn_sm(xm_conn *c);

/* Does somebody want to be first in each new session that follows a lost one? Then what had been given before is held back in
 * it, from XM_CONN_REBOUND on, until xm_conn_let_go, xm_conn_close, or for as long as the option timeout says. What is given
 * meanwhile isn't. */
void xm_conn_hold_back(xm_conn *c, bool wanted);
void xm_conn_let_go(xm_conn *c);

/* Ends the stream properly (RFC 6120 4.4), after what is pending has arrived, within `ms` milliseconds; before it is bound,
 * at once. Who calls it again can only shorten the time. The end is told by xm_conn_next. */
void xm_conn_close(xm_conn *c, unsigned ms);

bool xm_conn_is_stopping(const xm_conn *c); /* was it called? */

/* Lets go of the session without ending it: another process may resume it. Nothing comes back. Was that how it ended? */
void xm_conn_detach(xm_conn *c);
bool xm_conn_is_detached(const xm_conn *c);

/* Cuts the connection since memory ran out above, where a stanza was lost by it. The end is told by xm_conn_next. */
void xm_conn_abort(xm_conn *c);

/* What went over the wire (see wirelog.h). To be consumed by the caller. */
xm_buf *xm_conn_log(xm_conn *c);

/* A fed connection: bytes as if the peer had sent them (if it was logged in from the start, its stream header is not among them), 0 or XM_ENOMEM; and what would
 * have gone to the kernel since, as if it had taken it. */
int xm_conn_feed(xm_conn *c, const char *bytes, size_t n);
int xm_conn_sent(xm_conn *c, xm_buf *to);
void xm_conn_cut(xm_conn *c); /* its link breaks, behind what was fed */

#endif
