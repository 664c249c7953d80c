/* link_own: what the files of the room share: link (construction, states, reading and writing), link_setup (from the name
 * to an open stream), link_web (WebSocket, below the stream). */
#ifndef XM_LINK_OWN_H
#define XM_LINK_OWN_H

#include "dns.h"
#include "early.h"
#include "link.h"
#include "sock.h"
#include "tunnel.h"
#include "url.h"
#include "xml.h"

enum { OTHER_HOST = 300, LAST_FEATURES = 1000 /* ms that they are waited for, when the session stands */ };

typedef struct xk_names {
  int n, next; /* of how many, and the next one */
  xm_dns_name list[XM_DNS_TARGETS];
} xk_names;

struct xm_targets {
  int n, next;     /* addresses in the list; the first one of the next target */
  xk_names *names; /* what the proxy is asked for, whose addresses these are; NULL: there is none */
  xm_dns_address list[];
};

typedef struct xm_link_web xm_link_web;

struct xm_link {
  const xm_conn_options *o;
  xm_link_state state;
  xm_loop *loop;
  xm_wirelog *log;
  xm_jid *bound;    /* what was bound; NULL: nothing yet */
  char domain[256]; /* ASCII, for DNS and certificates */
  xm_dns *dns;
  xk_names *names;  /* behind a proxy, while its addresses are looked up */
  xm_targets *targets; /* until OPEN; NULL: no others */
  xm_sock *sock;    /* from DIALLING on, until CLOSED */
  xm_tunnel *tunnel; /* TUNNELLING */
  xm_tls *tls;      /* from SECURING on */
  xm_nego *nego;    /* until OPEN */
  xm_xml *xml;
  xm_link_web *web; /* until CLOSED; NULL: the stream is TCP's own */
  xm_buf wire;      /* what the kernel hasn't taken; secret until OPEN, as it has held proofs of the password */
  uint64_t taken;   /* bytes of the wire that the kernel has had */
  xm_buf in;        /* fed: what the peer "sent"; */
  bool is_cut;      /* and behind it the end */
  xm_timer phase;   /* the deadline of the state */
  uint64_t entered; /* when the state began; 0: none has */
  xm_link_how_long took;
  int64_t good_for; /* seconds, the certificates */
  bool has_certificate;
  uint64_t due;     /* when it must be OPEN */
  uint64_t share;   /* when the time of the target that has answered is over; 0: none has */
  uint64_t heard_at; /* when bytes last came */
  xm_err why;
  xm_err unsaid;    /* why nothing can be written any more; what the peer has said may tell more */
  xm_err *sink;     /* where the transport's errors go */
  const char *tls_version, *mechanism, *binding; /* NULL: none */
  xm_nego_outcome outcome;
  uint32_t h;
  struct sockaddr_storage address; /* what has answered; family 0: nothing has */
  xm_dns_name target; /* behind a proxy: what it is asked for; host "": nothing yet */
  const xm_link_peer *avoid; /* NULL: nothing */
  char other_host[OTHER_HOST];
  int reads_left;  /* in this turn */
  unsigned went, objected; /* XM_NEGO_AHEAD_* */
  unsigned blamed; /* what the last link to this address failed by, if it did: to be remembered when this one opens */
  bool lockstep;   /* nothing is said ahead */
  bool answered;   /* by a stream header */
  bool refused;    /* by a stream error of the peer's */
  bool has_sm;
  xm_buf offers;    /* what nego has noted, when it has opened */
  bool sasl2, bound_inside;
  xm_enabled enabled;
  xm_login_token token;
  xm_token *fresh;  /* secret; NULL: none */
  xm_early early;   /* what came before the session; it is given out first */
  const xm_tape *at_hand; /* the one of them that is out; NULL: none, what is out is xml's */
  bool kept;        /* the element on the tape came while it was negotiated, and belongs to the session */
  bool tls_resumed;
  bool again;       /* one address is dialled, and none of the targets */
  bool choked;      /* the server has, on a TLS session that was offered */
  bool direct;      /* TLS from the first byte */
  bool late;        /* the phase's deadline has passed */
  bool met;         /* behind a proxy: it was asked for the target, and has no trouble of its own */
  bool paused;      /* the wish; see xm_link_pause */
  bool dry;         /* see xm_link_run_dry */
  bool is_closed;   /* the peer's stream has ended: nothing may be behind that */
  uint64_t got, told; /* bytes of the peer's that were read; of those, up to the end of the last event */
  size_t size, left;  /* see xm_link_size; see xm_link_unread, when it has ended */
};

/* link */

void xk_wake(void *link);
void xk_on_late(void *link); /* the deadline of the state */
/* AGAIN, or ENDED: there was no memory for the state's deadline, and no state is without one. */
xm_link_event xk_enter(xm_link *k, xm_link_state state);
/* Gives the target that has answered its share of the time. */
void xk_take_share(xm_link *k);
/* xm_link_end, before it is open. ENDED. */
xm_link_event xk_end(xm_link *k, xm_link_how how);
/* Bytes from the transport, with TLS if there is some: how many; 0: none now; XM_TLS_MORE; XM_EFAIL. */
ssize_t xk_read(xm_link *k, char *to, size_t room);
/* Bytes that it took; 0: none now; XM_EFAIL, and `unsaid` tells why. */
ssize_t xk_write(xm_link *k, const char *from, size_t n);
/* Below TLS. */
ssize_t xk_recv(void *link, void *to, size_t n);
ssize_t xk_send(void *link, const void *from, size_t n);
/* What is said in front of the stream, and not counted, as far as the kernel takes it. Where that can't be done any more reading
 * will tell, and why. */
void xk_say(xm_link *k, xm_buf *from);
/* A stream error of the peer's, and where it says to go. */
void xk_note_error(xm_link *k, const xm_tape *t);

/* link_setup. Each comes to an event, or to AGAIN when the next state can go on at once. */

/* Asks where to dial, and what to ask a proxy for. 0 or XM_EFAIL. */
int xk_ask(xm_link *k, const xm_dns_query *q, xm_err *e);
xm_link_event xk_resolve(xm_link *k);
xm_link_event xk_dial(xm_link *k);
xm_link_event xk_tunnel(xm_link *k);
xm_link_event xk_secure(xm_link *k);
/* `header`: it is the stream's. */
xm_link_event xk_negotiate(xm_link *k, bool header);
void xk_open_up(xm_link *k);
xm_link_event xk_become_open(xm_link *k); /* nego is through, or has nothing to wait for */
/* The peer has gone, or is silent, in the midst of a login by SASL2. */
void xk_suspect_sasl2(const xm_link *k);
xm_link_event xk_begin_stream(xm_link *k); /* NEGOTIATING, from its first byte on, or again */

/* link_web, which all but the first one are for links with `web`. */

int xk_web_new(xm_link *k, const char *url); /* of a URL that was looked at. 0 or XM_ENOMEM */
void xk_web_free(xm_link *k);
const xm_url *xk_web_url(const xm_link *k);
xm_link_event xk_web_upgrade(xm_link *k); /* UPGRADING begins */
xm_link_event xk_await_upgrade(xm_link *k);
int xk_web_begin(xm_link *k); /* a stream, behind xm_xml_restart. 0 or XM_EFAIL */
void xk_web_open_up(xm_link *k);
/* The next event of the stream. XM_XML_OPEN: the peer's <open/> is on the tape; XM_XML_CLOSE: its <close/>; MORE and XM_EFAIL as of
 * xm_xml_next. */
int xk_web_pull(xm_link *k);
bool xk_web_is_holding(const xm_link *k); /* is something on xml's tape that wasn't told? */
bool xk_web_is_over(const xm_link *k);    /* has the peer closed the WebSocket? */
size_t xk_web_unread(const xm_link *k); /* bytes of frames that have come and were not looked at */
/* Frames to the kernel. XM_EFAIL: `unsaid` tells why. */
ssize_t xk_web_write(xm_link *k);
bool xk_web_is_half(const xm_link *k);
size_t xk_web_backlog(const xm_link *k);
void xk_web_finish(xm_link *k); /* says goodbye */
size_t xk_web_spare(const xm_link *k);
void xk_web_rest(xm_link *k);

#endif
