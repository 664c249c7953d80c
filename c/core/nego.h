/* nego: from a transport to a session: TLS, SASL, resource binding (RFC 6120 4 to 7) or resumption (XEP-0198 5), or a
 * component's handshake (XEP-0114); or, with SASL2 (XEP-0388), all of that but TLS in one exchange. Reads tapes, writes
 * XML, does no I/O. Rank 2: uses err, buf, tape, rnd, out, jid, keyring, mech, sasl, sm, login, inside. Called by link.
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
#include "keyring.h"
#include "login.h"
#include "mech.h"
#include "tape.h"

typedef enum xm_nego_state {
  XM_NEGO_HEADER,    /* our header was sent; ends with the server's (RFC 6120 4.2) */
  XM_NEGO_FEATURES,  /* ends with <features/> (4.3.2) */
  XM_NEGO_PROCEED,   /* <starttls/> was sent; ends with <proceed/> (5.4.2.3) */
  XM_NEGO_SASL,      /* <auth/>, <authenticate/> or <response/> was sent; ends with <success/> or <failure/> (6.4;
                        XEP-0388 2.6) */
  XM_NEGO_LAST,      /* SASL2's <success/> had the session in it; ends with the features that follow, or with anything
                        else */
  XM_NEGO_RESUME,    /* <resume/> was sent; ends with <resumed/> or <failed/> (XEP-0198 5) */
  XM_NEGO_BIND,      /* a resource was requested; ends with the response (7.6) */
  XM_NEGO_SESSION,   /* a session was requested, from an older server; ends with the response (RFC 3921 3) */
  XM_NEGO_HANDSHAKE, /* <handshake/> was sent; ends with the server's (XEP-0114 3) */
  XM_NEGO_DONE,
} xm_nego_state;

/* What link has to do next. */
typedef enum xm_nego_verdict {
  XM_NEGO_WAIT,     /* send what was written, read on */
  XM_NEGO_STARTTLS, /* nothing may be left unread; do the TLS handshake, then xm_nego_secured and xm_nego_begin */
  XM_NEGO_RESTART,  /* a new parser, then xm_nego_begin */
  XM_NEGO_READY,    /* xm_nego_jid is the session's address */
  XM_NEGO_READY_BEFORE, /* the same, and what is on the tape belongs to the session */
  XM_NEGO_EARLY,        /* a stanza is on the tape, for a session that isn't there yet: keep it, and read on. XEP-0198
                           doesn't count it: counting begins after <enabled/>, or goes on after <resumed/> */
} xm_nego_verdict;

/* What can be sent together with our stream header, before the server has asked for it (XEP-0305): each saves a round
 * trip. What the server says of itself is checked all the same when it comes, before anything more is sent. */
enum {
  XM_NEGO_AHEAD_STARTTLS = 1, /* only where TLS is required anyway */
  XM_NEGO_AHEAD_AUTH = 2,     /* only by the offer of an earlier login, and if it reveals nothing of the password */
  XM_NEGO_AHEAD_SESSION = 4,  /* <bind/> or <resume/>, after the login */
  XM_NEGO_AHEAD_ALL = 7,
  XM_NEGO_TOKEN = 16,   /* besides: a token was sent, and is unanswered */
  XM_NEGO_CHANGED = 32, /* besides, when what was sent ahead has failed: the server's offer isn't what it was */
};

/* Strings are borrowed for the life of the xm_nego, except the password. */
typedef struct xm_nego_options {
  bool component;
  const xm_jid *jid;      /* who logs in; if there is a resourcepart, it is asked for. Of a component: its domain */
  const char *lang;       /* xml:lang of our stream; NULL: "en" */
  const char *mechanisms; /* allow-list; NULL: all */
  bool plain;             /* may PLAIN be used (inside verified TLS) when nothing better is offered? */
  bool pinned;            /* no: this account has logged in by something better before */
  bool bound;             /* this account has logged in bound to the channel before: nothing less is accepted */
  bool remember;          /* see xm_sasl_login */
  bool certificate;       /* TLS presents a certificate of ours */
  bool authzid;           /* which doesn't name exactly `jid`, so that SASL has to (XEP-0178) */
  bool need_tls;          /* no credentials without TLS */
  bool fronted;           /* see xm_mech_policy */
  const char *previd;     /* a session to resume; NULL: none */
  uint32_t h;             /* how many of its stanzas were handled */
  bool only_resume;       /* no other session is wanted: to bind one might displace whoever has the resource now */
  bool sasl2;             /* use SASL2 where it is offered (XEP-0388) */
  const char *agent, *software, *device; /* for its <user-agent/>; NULL: left out */
  bool bind2;             /* and bind the resource inside of it by Bind 2 (XEP-0386), with `tag` in the resource (NULL:
                             none), */
  const char *tag;
  bool sm, resumable;     /* with stream management, and resumable; */
  bool carbons, inactive; /* with carbons (XEP-0280); and as one that nobody uses now (XEP-0352) */
  bool fast;              /* request a token (XEP-0484); needs `agent` */
  const xm_token *token;  /* to log in with, where it may be used; copied. NULL: none */
  bool invalidate;        /* use it for the last time */
} xm_nego_options;

/* Stream management that came with the session. The strings are the holder's; xm_enabled_clear frees them. */
typedef struct xm_enabled {
  bool on;
  unsigned max;         /* seconds that the session is kept; 0: not said */
  char *id, *location;  /* NULL: none */
} xm_enabled;

void xm_enabled_clear(xm_enabled *e);

/* What became of the session that was to be resumed. */
typedef enum xm_nego_outcome {
  XM_NEGO_ANEW,    /* none was asked for */
  XM_NEGO_RESUMED, /* it goes on; h is what the server has handled */
  XM_NEGO_LOST,    /* it doesn't; what the server has handled isn't known */
  XM_NEGO_LOST_AT, /* it doesn't, but h is known */
} xm_nego_outcome;

/* How many features that the server offers after the login are remembered, and how many bytes of namespaces in all. */
enum { XM_NEGO_OFFERS = 64, XM_NEGO_OFFERS_BYTES = 4096 };

typedef struct xm_nego xm_nego;

/* The password (or a component's secret) is copied, and zeroised when it is no longer needed; NULL if another
 * credential is used. Returns NULL: no memory. */
xm_nego *xm_nego_new(const xm_nego_options *options, const char *password, size_t password_len);
void xm_nego_free(xm_nego *n); /* NULL is allowed */

/* The channel is TLS now; `verified`: with a certificate that is the domain's. Everything learnt before is forgotten. */
void xm_nego_secured(xm_nego *n, bool verified);
/* What a login over it can be bound to; after xm_nego_secured. */
void xm_nego_set_channel(xm_nego *n, const xm_mech_channel *channel);

/* Which of XM_NEGO_AHEAD_* may be sent ahead, none by default; and what the server offered at an earlier login, as
 * xm_nego_offer returned it (copied), in which profile, with what inside (xm_nego_inside). 0 or XM_ENOMEM. */
int xm_nego_set_ahead(xm_nego *n, unsigned may, const char *offer, size_t len, xm_login_profile profile, unsigned inside);
/* What is known of the server: it has had SASL2, so that its rules apply (login.h); it has it, but no login by it
 * ends. */
void xm_nego_set_sasl2(xm_nego *n, bool strict, bool broken);

/* How an earlier login succeeded there, where its first try was refused (XM_LOGIN_*), so that this one begins with
 * that; and how this one did. 0: without a detour. */
void xm_nego_set_detours(xm_nego *n, unsigned detours);
unsigned xm_nego_detours(const xm_nego *n);

/* Appends our stream header. 0 or XM_EFAIL. */
int xm_nego_begin(xm_nego *n, xm_buf *out, xm_err *e);
/* Appends what may be sent ahead, after the header. 0; 1: it must not be logged as it is (see xm_nego_is_secret);
 * XM_EFAIL. */
int xm_nego_go_ahead(xm_nego *n, xm_buf *out, xm_err *e);
/* The peer's stream header is on the tape. An xm_nego_verdict or XM_EFAIL. */
int xm_nego_opened(xm_nego *n, const xm_tape *t, xm_buf *out, xm_err *e);
/* A child of the stream's root is on the tape. An xm_nego_verdict or XM_EFAIL. */
int xm_nego_read(xm_nego *n, const xm_tape *t, xm_buf *out, xm_err *e);

xm_nego_state xm_nego_at(const xm_nego *n);
/* What it waits for, for the text of a timeout: "the server's stream features". */
const char *xm_nego_waits_for(const xm_nego *n);
/* Does what is sent now prove knowledge of the password, so that it must not be logged as it is? */
bool xm_nego_is_secret(const xm_nego *n);
/* What is being done, as Lua sees it: "securing", "authenticating", "resuming", "binding". Static strings. */
const char *xm_nego_phase(const xm_nego *n);
/* The session's address, if it was bound (it wasn't if a session was resumed). */
const xm_jid *xm_nego_jid(const xm_nego *n);
xm_nego_outcome xm_nego_outcome_of(const xm_nego *n, uint32_t *h);
/* Has the server offered stream management (XEP-0198)? */
bool xm_nego_has_sm(const xm_nego *n);
/* The namespaces of the features that it has offered after the login, in their order, each with its NUL. From now on
 * the caller's. */
xm_buf xm_nego_take_offers(xm_nego *n);
/* The SASL mechanism by which the login has succeeded, and the type of channel binding; NULL: none, or not yet. Static
 * strings. */
const char *xm_nego_mechanism(const xm_nego *n);
const char *xm_nego_binding(const xm_nego *n);
/* The mechanisms that it was chosen from, if the login can be sent ahead next time; NULL: it can't. And in which
 * profile, and what could be carried inside of it. */
const char *xm_nego_offer(const xm_nego *n, size_t *len);
xm_login_profile xm_nego_profile(const xm_nego *n);
unsigned xm_nego_inside(const xm_nego *n);
/* Was a SASL2 login sent, and not answered to its end? */
bool xm_nego_is_in_sasl2(const xm_nego *n);
/* What has become of the token; and the one that has come for next time (`n` 0: none). Borrowed. */
xm_login_token xm_nego_token(const xm_nego *n);
const xm_token *xm_nego_new_token(const xm_nego *n);
/* Was the session bound inside of the login? Then this is its stream management; from now on the caller's. */
bool xm_nego_is_bound_inside(const xm_nego *n);
xm_enabled xm_nego_take_enabled(xm_nego *n);
/* The namespaces of what these features offer, as xm_nego_take_offers has them, into `to`. 0 or XM_ENOMEM. */
int xm_nego_read_offers(const xm_tape *t, xm_buf *to);
/* What was sent ahead and isn't answered (at most one), and all that ever was. */
unsigned xm_nego_is_ahead(const xm_nego *n);
unsigned xm_nego_went_ahead(const xm_nego *n);
/* After a failure: what was sent ahead, if that may be what the server objects to, or if what it relied on has changed.
 * Not sending it ahead may help. 0: it is not to blame. */
unsigned xm_nego_objected(const xm_nego *n);

/* A <stream:error/> on the tape, as XM_EFAIL with layer stream (RFC 6120 4.9). */
int xm_nego_stream_error(const xm_tape *t, xm_err *e);
/* Where the server says to go (RFC 6120 4.9.3.19); NULL: it doesn't say that. */
const char *xm_nego_other_host(const xm_tape *t);
/* Is there a <stream:error/> on the tape? */
bool xm_nego_is_stream_error(const xm_tape *t);

#endif
