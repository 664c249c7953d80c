/* conn_own: what the files of the room share: conn (construction, and what is asked of one), conn_send (from the log to the
 * wire; signs of life), conn_probe (messages to ourselves), conn_link (links that come and go, and the sessions on them), conn_token (what a login leaves for the next
 * one), conn_turn (what comes in). */
#ifndef XM_CONN_OWN_H
#define XM_CONN_OWN_H

#include "conn.h"
#include "keyring.h"
#include "link.h"
#include "retry.h"
#include "rnd.h"

enum {
  EVENTS_A_TURN = 64,   /* that nobody above sees; then others have their turn */
  WIRE = 16 * 1024,     /* bytes moved to the link at a time: as much as a TLS record holds */
  ASK_AFTER = 250,      /* ms: what was sent is asked about, if no batch came together */
  HOLD = 1000,          /* ms that <enabled/> is waited for: see xm_sm_is_held */
  PROVE = 5000,         /* ms: a resumed session that swallows what it is given is found out sooner than a dead link */
  REST = 500,           /* ms until memory that a burst has left is given back */
  KEPT = 4096,          /* bytes of it that aren't worth the trouble */
  BARREN = 2,           /* resumptions that brought nothing on, until the session is given up */
  SESSION_KEPT = 300000 /* ms that a server keeps a cut session, where it doesn't say */
};

/* What crank answers with besides events: the link has done its share, and others should have their turn. */
enum { ENOUGH = -1 };

enum { NEWS_BOUND = 1, NEWS_REBOUND = 2, NEWS_ENDED = 4, NEWS_TOKEN = 8 };

/* Where to go instead of where the options say. */
typedef struct xc_place {
  char host[300]; /* or the URL of a WebSocket; "": nowhere */
  int port;       /* of a host */
} xc_place;

/* Messages to ourselves: see conn_probe. */
typedef struct xc_probe {
  char key[XM_RND_ID + 1]; /* what the ids of ours begin with; "": there was none yet */
  char name[16 + 1];       /* in the address that the next one is sent to; "": another */
  uint64_t sent, back;     /* number of the last one; of the one that has come back last */
  uint64_t routed_at;      /* when a stanza last came */
  unsigned missing;        /* that haven't come back in time, in a row */
  bool awaited, due;       /* one is; it is time to look */
} xc_probe;

struct xm_conn {
  xm_conn_options o;
  xm_conn_state state;
  xm_loop *loop;
  xm_link *link;    /* CONNECTING, READY, CLOSING; while it waits there is none */
  xm_sm *sm;
  xm_route *route;
  xm_wirelog log;
  xm_buf password;  /* for the next login */
  bool has_password;
  xm_jid *asked, *jid; /* who logs in; what was bound, NULL: nothing yet */
  xm_conn_info info;
  xm_buf offers;     /* see xm_conn_offers */
  xm_timer idle;     /* keepalive */
  xm_timer ask;      /* see ASK_AFTER */
  xm_timer hold;     /* see HOLD */
  xm_timer rest;     /* see REST */
  xm_timer patience; /* until the server must have answered */
  xm_timer route_timer; /* until a stanza must have come: see xc_keep_route */
  xm_timer opening;  /* until what a new session holds back leaves anyway; goes on from link to link, as these do: */
  xm_timer deadline; /* of closing */
  xm_timer next;     /* the next attempt */
  xm_err why, trouble;
  const char *told;  /* the state's name that was given out */
  unsigned news;     /* NEWS_*, not given out yet */
  xm_retry retry;
  unsigned barren;
  uint64_t due;      /* when this attempt must have come to a session */
  uint64_t lost_at;  /* when the last link broke */
  xc_place place;
  bool sent_there;   /* by a see-other-host: what is there is a new session, and welcome */
  bool is_first;     /* the next attempt is the first one after a session */
  bool awaits_features; /* of the session: they come behind it, and change nothing else */
  xm_token_slot shown;  /* of the token that the link has, if it has one */
  xm_targets *targets; /* of the last link, for the next one; NULL: none */
  xm_jump jump;      /* the machine may have slept */
  xm_link_peer avoid;  /* where the last attempt came to nothing */
  unsigned objected;   /* what was said ahead on a link that failed by it, perhaps; since then no link has opened */
  bool needs_password; /* of who was told XM_CONN_PASSWORD */
  bool again, direct;  /* a link to that same address is on its way, without it; with TLS from the first byte */
  char ping[XM_RND_ID + 1];      /* id of the last XEP-0199 ping that is not answered; "": none. Its link may be gone */
  bool pinging;      /* it is waited for */
  xc_probe probe;
  bool bound;        /* there is a session: `jid` is its address */
  bool unproven;     /* the session was resumed, and nothing has been acknowledged since */
  bool stuck;        /* the wire has lain there for as long as keepalive, and the kernel takes nothing of it */
  bool put_off;      /* the last <a/> acknowledged nothing of what the server has had */
  bool handling;     /* the stanza that was given out isn't counted yet */
  bool must_keep;    /* it is time for one */
  bool must_rest;
  bool must_check;   /* for more than that: an answer */
  bool impatient, overdue, must_connect; /* a timer has fired */
  bool closing;      /* xm_conn_close was called */
  bool detached;     /* xm_conn_detach was called */
  bool said_bye;     /* our stream has ended */
  const char *csi;   /* to be said between two stanzas (XEP-0352); NULL: nothing */
  bool paused;
  bool parting;      /* xm_conn_run_dry was called */
  bool behind;       /* on this link a stanza was passed over: what comes is not counted as handled */
  bool comes_again;  /* the server has kept what was passed over */
  xm_conn_left left;
  bool holds_back;   /* xm_conn_hold_back */
  xm_buf sent;       /* fed: what would have gone to the kernel on links that are gone */
};

/* May only mark. */
static inline void xc_wake(xm_conn *c) {
  c->o.wake(c->o.wake_arg);
}

/* For the next login; else it is gone as soon as it was given to the first. */
static inline bool xc_keeps_password(const xm_conn *c) {
  return c->o.reconnect.any || c->o.reconnect.resume || c->o.see_other_host;
}

/* conn_send.c */

bool xc_is_up(const xm_conn *c); /* the link is open, and the session on it has begun */
/* Arms one of the link's timers. Without memory for it the link ends: what it bounds would last for ever. */
void xc_arm(xm_conn *c, xm_timer *t, unsigned ms, void (*fn)(void *));
void xc_put_off_keepalive(xm_conn *c);
/* Tells sm what the kernel has taken of the link's wire. */
void xc_count(xm_conn *c);
/* Sees to it that what is out gets asked about, and that an answer isn't waited for in vain. */
void xc_watch(xm_conn *c);
void xc_hear_answer(xm_conn *c);
unsigned xc_patience(const xm_conn *c);
/* Ends our stream, behind what is moved; when all is done. */
void xc_say_bye(xm_conn *c);
void xc_try_bye(xm_conn *c);
void xc_keep_alive(xm_conn *c);

/* conn_probe.c */

/* Is it a probe, ours or another's who has the domain? Then nobody else is told of it. */
bool xc_is_probe(const xm_conn *c, const xm_tape *t);
xm_conn_event xc_on_probe(xm_conn *c, const xm_tape *t);
/* The route is watched from now on, where that is wanted; a stanza has come by it; it may be gone; it is time to look. */
void xc_watch_route(xm_conn *c);
void xc_note_routed(xm_conn *c);
void xc_doubt_route(xm_conn *c);
xm_conn_event xc_keep_route(xm_conn *c);

/* conn_token.c */

/* The program's own. 0; XM_EFAIL: it can't be kept. */
int xc_take_token(xm_conn *c, const xm_token *token);
/* The one that the next link is to show, in `room`, which is to be wiped; NULL: none. */
const xm_token *xc_pick_token(xm_conn *c, xm_token *room);
/* The link has opened, or ended. */
void xc_note_token(xm_conn *c);
/* Behind one that was refused, where there is no password. */
bool xc_has_other_token(const xm_conn *c);

/* conn_link.c. Those that give an event: AGAIN, go on. */

/* xm_link_end; what the kernel has taken by it counts. */
void xc_end_link(xm_conn *c, xm_link_how how, const char *detail);
void xc_forget_link(xm_conn *c);
void xc_end(xm_conn *c);
void xc_end_with_loss(xm_conn *c);
void xc_end_as_it_was(xm_conn *c); /* by what the last link ended by */
void xc_begin_attempt(xm_conn *c); /* its time begins */
int xc_start_link(xm_conn *c, xm_err *e);
xm_conn_event xc_on_opened(xm_conn *c);
xm_conn_event xc_on_link_end(xm_conn *c);
xm_conn_event xc_connect_again(xm_conn *c);
/* The peer's fault (xm_link_why has it), told and done with; that of its h. */
xm_conn_event xc_refuse(xm_conn *c, const char *detail);
xm_conn_event xc_refuse_h(xm_conn *c);

#endif
