/* nego: from a transport to a session: TLS, SASL, resource binding (RFC 6120 4 to 7) or resumption (XEP-0198 5), or a
 * component's handshake (XEP-0114). Reads tapes, writes XML, does no I/O. Rank 2: knows err, buf, tape, rnd, out, jid, mech,
 * sasl, login. Called by link.
 *
 * A stream restart is a step in here, not a state of its own: begin, then read what comes, until READY or failure. */
#ifndef XM_NEGO_H
#define XM_NEGO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "jid.h"
#include "mech.h"
#include "tape.h"

typedef enum xm_nego_state {
  XM_NEGO_HEADER,    /* our header is out; ends with theirs (RFC 6120 4.2) */
  XM_NEGO_FEATURES,  /* ends with <features/> (4.3.2) */
  XM_NEGO_PROCEED,   /* <starttls/> is out; ends with <proceed/> (5.4.2.3) */
  XM_NEGO_SASL,      /* <auth/> or <response/> is out; ends with <success/> or <failure/> (6.4) */
  XM_NEGO_RESUME,    /* <resume/> is out; ends with <resumed/> or <failed/> (XEP-0198 5) */
  XM_NEGO_BIND,      /* the request for a resource is out; ends with its response (7.6) */
  XM_NEGO_SESSION,   /* the request for a session is out, of an older server; ends with its response (RFC 3921 3) */
  XM_NEGO_HANDSHAKE, /* <handshake/> is out; ends with theirs (XEP-0114 3) */
  XM_NEGO_DONE,
} xm_nego_state;

/* What link has to do next. */
typedef enum xm_nego_verdict {
  XM_NEGO_WAIT,     /* send what was written, read on */
  XM_NEGO_STARTTLS, /* nothing may be unread; shake hands, then xm_nego_secured and xm_nego_begin */
  XM_NEGO_RESTART,  /* a new parser, then xm_nego_begin */
  XM_NEGO_READY,    /* xm_nego_jid is the session's address */
} xm_nego_verdict;

/* What can be said together with our stream header, before the server has asked for it (XEP-0305): a round trip less
 * each. What it says of itself is checked all the same when it comes, before anything more is said. */
enum {
  XM_NEGO_AHEAD_STARTTLS = 1, /* only where there is no going on without */
  XM_NEGO_AHEAD_AUTH = 2,     /* only by what an earlier login was offered, if that shows nothing of the password */
  XM_NEGO_AHEAD_SESSION = 4,  /* <bind/> or <resume/>, after the login */
  XM_NEGO_AHEAD_ALL = 7,
};

/* Strings are borrowed for the life of the xm_nego, save the password. */
typedef struct xm_nego_options {
  bool component;
  const xm_jid *jid;      /* who logs in; with a resourcepart: that is asked for. A component: its domain */
  const char *lang;       /* xml:lang of our stream; NULL: "en" */
  const char *mechanisms; /* allow-list; NULL: all */
  bool plain;             /* may PLAIN be used (inside verified TLS) when nothing better is offered? */
  bool pinned;            /* no: this account has logged in by something better before */
  bool bound;             /* this account has logged in bound to the channel before: nothing less will do */
  bool remember;          /* see xm_sasl_login */
  bool certificate;       /* TLS shows a certificate of ours */
  bool authzid;           /* which doesn't name `jid` and nobody else, so that SASL has to (XEP-0178) */
  bool need_tls;          /* no credential without TLS */
  const char *previd;     /* a session to be resumed; NULL: none */
  uint32_t h;             /* what was handled of it */
  bool only_resume;       /* nobody wants another session: none is bound, which might push out who has the resource now */
} xm_nego_options;

/* What became of that session. */
typedef enum xm_nego_outcome {
  XM_NEGO_ANEW,    /* none was asked for */
  XM_NEGO_RESUMED, /* it goes on; h is what the server has handled */
  XM_NEGO_LOST,    /* it doesn't; nobody knows what the server has handled */
  XM_NEGO_LOST_AT, /* it doesn't, but h is known */
} xm_nego_outcome;

/* Of what the server offers after the login, so many features are remembered, with namespaces of so many bytes in all. */
enum { XM_NEGO_OFFERS = 64, XM_NEGO_OFFERS_BYTES = 4096 };

typedef struct xm_nego xm_nego;

/* The password (or component's secret) is copied, and zeroised when it is no longer needed; NULL where something else
 * will do. NULL: no memory. */
xm_nego *xm_nego_new(const xm_nego_options *options, const char *password, size_t password_len);
void xm_nego_free(xm_nego *n); /* NULL is fine */

/* The channel is TLS now; `verified`: with a certificate that is the domain's. Everything learnt before is forgotten. */
void xm_nego_secured(xm_nego *n, bool verified);
/* What a login can be bound by there, when it is known; after xm_nego_secured. */
void xm_nego_set_channel(xm_nego *n, const xm_mech_channel *channel);

/* Which of XM_NEGO_AHEAD_* may be said ahead, none unless told; and what the server offered at an earlier login, as
 * xm_nego_offer had it (copied). 0 or XM_ENOMEM. */
int xm_nego_set_ahead(xm_nego *n, unsigned may, const char *offer, size_t len);

/* How an earlier login got on there, where its first try was refused (XM_LOGIN_*), so that this one begins with that; and how
 * this one did. 0: by its first try, or the like of it. */
void xm_nego_set_detours(xm_nego *n, unsigned detours);
unsigned xm_nego_detours(const xm_nego *n);

/* Appends our stream header. 0 or XM_EFAIL. */
int xm_nego_begin(xm_nego *n, xm_buf *out, xm_err *e);
/* Appends what may be said ahead, behind the header. 0; 1: it must not be logged as it is (see xm_nego_is_secret);
 * XM_EFAIL. */
int xm_nego_go_ahead(xm_nego *n, xm_buf *out, xm_err *e);
/* The peer's stream header is on the tape. An xm_nego_verdict or XM_EFAIL. */
int xm_nego_opened(xm_nego *n, const xm_tape *t, xm_buf *out, xm_err *e);
/* A level-1 element is on the tape. An xm_nego_verdict or XM_EFAIL. */
int xm_nego_read(xm_nego *n, const xm_tape *t, xm_buf *out, xm_err *e);

xm_nego_state xm_nego_at(const xm_nego *n);
/* What it waits for, for the text of a timeout: "the server's stream features". */
const char *xm_nego_waits_for(const xm_nego *n);
/* May what is said now be logged as it is? (false: it proves knowledge of the password) */
bool xm_nego_is_secret(const xm_nego *n);
/* What is being done, as Lua sees it: "securing", "authenticating", "resuming", "binding". Strings that stay. */
const char *xm_nego_phase(const xm_nego *n);
/* The session's address, when it was bound (it was not when a session was resumed). */
const xm_jid *xm_nego_jid(const xm_nego *n);
xm_nego_outcome xm_nego_outcome_of(const xm_nego *n, uint32_t *h);
/* Has the server offered stream management (XEP-0198)? */
bool xm_nego_has_sm(const xm_nego *n);
/* The namespaces of the features that it has offered after the login, as they came, each with its NUL. The caller's, and gone
 * from here. */
xm_buf xm_nego_take_offers(xm_nego *n);
/* The SASL mechanism that the login has succeeded by, and the type of channel binding; NULL: none, or not yet. Strings
 * that stay. */
const char *xm_nego_mechanism(const xm_nego *n);
const char *xm_nego_binding(const xm_nego *n);
/* The mechanisms that it was chosen from, when it can be said ahead next time; NULL: it can't. */
const char *xm_nego_offer(const xm_nego *n, size_t *len);
/* What was said ahead and isn't answered (at most one), and all that ever was. */
unsigned xm_nego_is_ahead(const xm_nego *n);
unsigned xm_nego_went_ahead(const xm_nego *n);
/* After a failure: what was said ahead, if that may be what the server has taken offence at, or if it has changed what
 * was counted on. Not saying it may help. 0: it is not to blame. */
unsigned xm_nego_objected(const xm_nego *n);

/* A <stream:error/> on the tape, as XM_EFAIL with layer stream (RFC 6120 4.9). */
int xm_nego_stream_error(const xm_tape *t, xm_err *e);
/* Where the server says to go (RFC 6120 4.9.3.19); NULL: it doesn't say that. */
const char *xm_nego_other_host(const xm_tape *t);
/* Is that what the tape has? */
bool xm_nego_is_stream_error(const xm_tape *t);

#endif
