/* conn_own: what conn's files share: conn (construction, accessors), conn_send (from the log to the wire; signs of
 * life), conn_probe (messages to ourselves), conn_link (links that come and go, and the sessions on them), conn_token
 * (tokens that a login leaves for the next one), conn_turn (what comes in). */
#ifndef XM_CONN_OWN_H
#define XM_CONN_OWN_H

#include "conn.h"
#include "keyring.h"
#include "link.h"
#include "retry.h"
#include "rnd.h"

enum {
  EVENTS_A_TURN = 64,   /* events handled in one call without being returned; then others have their turn */
  WIRE = 16 * 1024,     /* bytes moved to the link at a time: as much as a TLS record holds */
  ASK_AFTER = 250,      /* ms until an acknowledgement of what was sent is requested, if no batch came together */
  HOLD = 1000,          /* ms that <enabled/> is waited for: see xm_sm_is_held */
  PROVE = 5000,         /* ms: a resumed session that swallows what it is sent is noticed sooner than a dead link */
  REST = 500,           /* ms until memory that a burst has left is given back */
  KEPT = 4096,          /* bytes of it that aren't worth giving back */
  BARREN = 2,           /* resumptions without progress, after which the session is given up */
  SESSION_KEPT = 300000 /* ms that a server is taken to keep a cut session, where it doesn't say */
};

/* What advance returns besides events: the link has had its share of the turn, and others should have theirs. */
enum { ENOUGH = -1 };

enum { NEWS_BOUND = 1, NEWS_REBOUND = 2, NEWS_ENDED = 4, NEWS_TOKEN = 8 };

/* An address to connect to instead of the one in the options. */
typedef struct xc_place {
  char host[300]; /* or the URL of a WebSocket; "": none */
  int port;       /* of a host */
} xc_place;

/* Messages to ourselves: see conn_probe. */
typedef struct xc_probe {
  char key[XM_RND_ID + 1]; /* what the ids of our probes begin with; "": none was sent yet */
  char name[16 + 1];       /* part of the address that the next one is sent to; "": a new one will be made */
  uint64_t sent, back;     /* number of the last one sent; of the last one that came back */
  uint64_t routed_at;      /* when a stanza last came */
  unsigned missing;        /* how many in a row haven't come back in time */
  bool awaited, due;       /* one is awaited; it is time to look */
} xc_probe;

struct xm_conn {
  xm_conn_options o;
  xm_conn_state state;
  xm_loop *loop;
  xm_link *link;    /* in CONNECTING, READY, CLOSING; NULL while WAITING */
  xm_sm *sm;
  xm_route *route;
  xm_wirelog log;
  xm_buf password;  /* for the next login */
  bool has_password;
  xm_jid *asked, *jid; /* the account that logs in; the address that was bound, NULL: none yet */
  xm_conn_info info;
  xm_buf offers;     /* see xm_conn_offers */
  xm_timer idle;     /* keepalive */
  xm_timer ask;      /* see ASK_AFTER */
  xm_timer hold;     /* see HOLD */
  xm_timer rest;     /* see REST */
  xm_timer patience; /* until the server must have answered */
  xm_timer route_timer; /* until a stanza must have come: see xc_keep_route */
  xm_timer opening;  /* until what a new session holds back leaves anyway; outlives a link, as the next two do: */
  xm_timer deadline; /* of closing */
  xm_timer next;     /* the next attempt */
  xm_err why, trouble;
  const char *told;  /* the name of the state that was reported last */
  unsigned news;     /* NEWS_*, not reported yet */
  xm_retry retry;
  unsigned barren;   /* resumptions without progress, in a row: see BARREN */
  uint64_t due;      /* when this attempt must have led to a session */
  uint64_t lost_at;  /* when the last link broke */
  xc_place place;
  bool sent_there;   /* `place` is a see-other-host's: a new session there is fine */
  bool is_first;     /* the next attempt is the first one after a session */
  bool awaits_features; /* of the session: they come after it has begun, and change nothing but `offers` */
  xm_token_slot shown;  /* the slot of the token that the link was given, if it was */
  xm_targets *targets; /* of the last link, left for the next one; NULL: none */
  xm_jump jump;      /* notices that the machine may have slept */
  xm_link_peer avoid;  /* the peer with which the last attempt failed */
  unsigned objected;   /* what was sent ahead on a link that may have failed because of it, since a link has opened */
  bool needs_password; /* XM_CONN_PASSWORD was returned, and no password has come yet */
  bool again, direct;  /* the link is a second try at the same address, nothing sent ahead; TLS from the first byte */
  char ping[XM_RND_ID + 1];      /* id of the last XEP-0199 ping not answered; "": none. Its link may be gone */
  bool pinging;      /* its answer is awaited */
  xc_probe probe;
  bool bound;        /* there is a session: `jid` is its address */
  bool unproven;     /* the session was resumed, and nothing has been acknowledged since */
  bool stuck;        /* the wire has held something for as long as keepalive, and the kernel takes none of it */
  bool put_off;      /* the last <a/> acknowledged nothing new of what the server has been sent */
  bool handling;     /* the stanza given out last isn't counted as handled yet */
  bool must_keep;    /* it is time for a keepalive */
  bool must_rest;
  bool must_check;   /* for a check that wants an answer */
  bool impatient, overdue, must_connect; /* the timer patience, deadline or next has fired */
  bool closing;      /* xm_conn_close was called */
  bool detached;     /* xm_conn_detach was called */
  bool said_bye;     /* our stream has ended */
  const char *csi;   /* the XEP-0352 element to be sent between two stanzas; NULL: none */
  bool paused;
  bool parting;      /* xm_conn_run_dry was called */
  bool behind;       /* on this link a stanza was passed over: what comes is not counted as handled */
  bool comes_again;  /* the server has kept what was passed over, and will send it again */
  xm_conn_left left;
  bool holds_back;   /* xm_conn_hold_back */
  xm_buf sent;       /* of a fed connection: what would have gone to the kernel on earlier links */
};

/* The caller's function, which may only set a mark. */
static inline void xc_wake(xm_conn *c) {
  c->o.wake(c->o.wake_arg);
}

/* Is the password kept for later logins? Otherwise it is wiped once the first link has it. */
static inline bool xc_keeps_password(const xm_conn *c) {
  return c->o.reconnect.any || c->o.reconnect.resume || c->o.see_other_host;
}

/* conn_send.c */

bool xc_is_up(const xm_conn *c); /* the link is open, and a session has begun on it */
/* Starts one of the link's timers. Without memory for it the link ends: what the timer limits could last for ever. */
void xc_arm(xm_conn *c, xm_timer *t, unsigned ms, void (*fn)(void *));
void xc_put_off_keepalive(xm_conn *c);
/* Tells sm how much of the link's wire the kernel has taken. */
void xc_count(xm_conn *c);
/* Sees to it that what was sent will be asked about, and that no answer is awaited for ever. */
void xc_watch(xm_conn *c);
void xc_hear_answer(xm_conn *c);
unsigned xc_patience(const xm_conn *c);
/* Both end our stream: after what is on the wire; only once everything is done. */
void xc_say_bye(xm_conn *c);
void xc_try_bye(xm_conn *c);
void xc_keep_alive(xm_conn *c);

/* conn_probe.c */

/* Is it a probe, ours or that of another connection of the domain? Then it isn't given out as a stanza. */
bool xc_is_probe(const xm_conn *c, const xm_tape *t);
xm_conn_event xc_on_probe(xm_conn *c, const xm_tape *t);
/* Begin to watch the route, where that is wanted; a stanza has come, so it works; doubt it, so it is probed; the timer
 * has fired, so it is checked. */
void xc_watch_route(xm_conn *c);
void xc_note_routed(xm_conn *c);
void xc_doubt_route(xm_conn *c);
xm_conn_event xc_keep_route(xm_conn *c);

/* conn_token.c */

/* Keeps a token that the program gave. 0; XM_EFAIL: it can't be kept. */
int xc_take_token(xm_conn *c, const xm_token *token);
/* The token that the next link is to use, copied to `room`, which the caller has to wipe; NULL: none. */
const xm_token *xc_pick_token(xm_conn *c, xm_token *room);
/* Updates the keyring after the link has opened, or ended. */
void xc_note_token(xm_conn *c);
/* Is there another token, after one was refused and where there is no password? */
bool xc_has_other_token(const xm_conn *c);

/* conn_link.c. Functions that return an event: AGAIN means go on. */

/* xm_link_end; what the kernel has taken is counted. */
void xc_end_link(xm_conn *c, xm_link_how how, const char *detail);
void xc_forget_link(xm_conn *c);
void xc_end(xm_conn *c);
void xc_end_with_loss(xm_conn *c);
void xc_end_as_it_was(xm_conn *c); /* for the reason why the last link ended */
void xc_begin_attempt(xm_conn *c); /* its time begins to run */
int xc_start_link(xm_conn *c, xm_err *e);
xm_conn_event xc_on_opened(xm_conn *c);
xm_conn_event xc_on_link_end(xm_conn *c);
xm_conn_event xc_connect_again(xm_conn *c);
/* End the link for an error of the peer's (xm_link_why has it), and handle its end; for an impossible h of its. */
xm_conn_event xc_refuse(xm_conn *c, const char *detail);
xm_conn_event xc_refuse_h(xm_conn *c);

#endif
