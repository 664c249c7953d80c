/* link_own: what link's files share: link (construction, states, reading and writing), link_setup (from the name to an
 * open stream), link_web (WebSocket, below the stream). */
#ifndef XM_LINK_OWN_H
#define XM_LINK_OWN_H

#include "dns.h"
#include "early.h"
#include "link.h"
#include "sock.h"
#include "tunnel.h"
#include "url.h"
#include "xml.h"

enum { OTHER_HOST = 300, LAST_FEATURES = 1000 /* ms that the features are waited for once there is a session */ };

typedef struct xk_names {
  int n, next; /* how many; the number of the next one */
  xm_dns_name list[XM_DNS_TARGETS];
} xk_names;

struct xm_targets {
  int n, next;     /* addresses in the list; the number of the next target's first one */
  xk_names *names; /* what the proxy is asked for, and then the addresses are its own; NULL: no proxy */
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
  xm_link_web *web; /* until CLOSED; NULL: the stream is TCP's */
  xm_buf wire;      /* what the kernel hasn't taken; secret until OPEN, as it holds proofs of the password */
  uint64_t taken;   /* bytes of the wire that the kernel has taken */
  xm_buf in;        /* fed: what the peer "sent"; */
  bool is_cut;      /* and the connection ends after that */
  xm_timer phase;   /* the deadline of the state */
  uint64_t entered; /* when the state began; 0: none has */
  xm_link_how_long took;
  int64_t good_for; /* seconds that the certificates were still valid for */
  bool has_certificate;
  uint64_t due;     /* when it must be OPEN */
  uint64_t share;   /* until when the target that has answered has time; 0: none has answered */
  uint64_t heard_at; /* when bytes last came */
  xm_err why;
  xm_err unsaid;    /* why nothing can be written any more; what the peer has said may tell more */
  xm_err *sink;     /* where the transport's errors go */
  const char *tls_version, *mechanism, *binding; /* NULL: none */
  xm_nego_outcome outcome;
  uint32_t h;
  struct sockaddr_storage address; /* which has answered; family 0: none has */
  xm_dns_name target; /* behind a proxy: what it is asked for; host "": nothing yet */
  const xm_link_peer *avoid; /* NULL: nothing */
  char other_host[OTHER_HOST];
  int reads_left;  /* in this call */
  unsigned went, objected; /* XM_NEGO_AHEAD_* */
  unsigned blamed; /* why the last link to this address failed, perhaps: to be remembered when this one opens */
  bool lockstep;   /* nothing is sent ahead */
  bool answered;   /* the peer has sent a stream header */
  bool refused;    /* the peer has sent a stream error */
  bool has_sm;
  xm_buf offers;    /* features that nego has noted, once it is open */
  bool sasl2, bound_inside;
  xm_enabled enabled;
  xm_login_token token;
  xm_token *fresh;  /* the token for next time, secret; NULL: none */
  xm_early early;   /* stanzas that came before the session; they are given out first */
  const xm_tape *at_hand; /* the one of these given out last; NULL: what was given out is on xml's tape */
  bool kept;        /* the element on the tape came during negotiation, and belongs to the session */
  bool tls_resumed;
  bool again;       /* only one address is dialled, none of the targets */
  bool choked;      /* the server failed over a TLS session that was offered, so none is offered now */
  bool direct;      /* TLS from the first byte */
  bool late;        /* the phase's deadline has passed */
  bool met;         /* behind a proxy: that works, so a failure is the target's */
  bool paused;      /* what the caller wants; see xm_link_pause */
  bool dry;         /* see xm_link_run_dry */
  bool is_closed;   /* the peer's stream has ended: nothing may follow */
  uint64_t got, told; /* bytes of the peer's that were read; how many of them up to the end of the last event */
  size_t size, left;  /* see xm_link_size; see xm_link_unread, when it has ended */
};

/* link */

void xk_wake(void *link);
void xk_on_late(void *link); /* the deadline of the state */
/* AGAIN; or ENDED, if there was no memory for the state's deadline, without which no state may be. */
xm_link_event xk_enter(xm_link *k, xm_link_state state);
/* Determines how long the target that has answered may take. */
void xk_take_share(xm_link *k);
/* xm_link_end, before it is open. Returns ENDED. */
xm_link_event xk_end(xm_link *k, xm_link_how how);
/* Reads from the transport, through TLS if there is any: how many bytes; 0: none now; XM_TLS_MORE; XM_EFAIL. */
ssize_t xk_read(xm_link *k, char *to, size_t room);
/* How many bytes were taken; 0: none now; XM_EFAIL, and `unsaid` says why. */
ssize_t xk_write(xm_link *k, const char *from, size_t n);
/* The same below TLS. */
ssize_t xk_recv(void *link, void *to, size_t n);
ssize_t xk_send(void *link, const void *from, size_t n);
/* Writes what comes before the stream and isn't counted, as far as the kernel takes it. If that isn't possible any
 * more, reading will fail, and say why. */
void xk_say(xm_link *k, xm_buf *from);
/* Notes a stream error of the peer's, and where it says to go. */
void xk_note_error(xm_link *k, const xm_tape *t);

/* link_setup. Each returns an event, or AGAIN when the next state can go on at once. */

/* Looks up where to dial, and what to ask a proxy for. 0 or XM_EFAIL. */
int xk_ask(xm_link *k, const xm_dns_query *q, xm_err *e);
xm_link_event xk_resolve(xm_link *k);
xm_link_event xk_dial(xm_link *k);
xm_link_event xk_tunnel(xm_link *k);
xm_link_event xk_secure(xm_link *k);
/* `header`: it is the stream's. */
xm_link_event xk_negotiate(xm_link *k, bool header);
void xk_open_up(xm_link *k);
xm_link_event xk_become_open(xm_link *k); /* nego is done, or has nothing to wait for */
/* The peer has gone, or is silent, in the middle of a login by SASL2. */
void xk_suspect_sasl2(const xm_link *k);
xm_link_event xk_begin_stream(xm_link *k); /* starts the stream, or restarts it: NEGOTIATING */

/* link_web. All but the first one are for links with `web`. */

int xk_web_new(xm_link *k, const char *url); /* `url` was checked before. 0 or XM_ENOMEM */
void xk_web_free(xm_link *k);
const xm_url *xk_web_url(const xm_link *k);
xm_link_event xk_web_upgrade(xm_link *k); /* UPGRADING begins */
xm_link_event xk_await_upgrade(xm_link *k);
int xk_web_begin(xm_link *k); /* begins a stream, after xm_xml_restart. 0 or XM_EFAIL */
void xk_web_open_up(xm_link *k);
/* The next event of the stream. XM_XML_OPEN: the peer's <open/> is on the tape; XM_XML_CLOSE: its <close/>; MORE and
 * XM_EFAIL as in xm_xml_next. */
int xk_web_pull(xm_link *k);
bool xk_web_is_holding(const xm_link *k); /* is there something on xml's tape that wasn't reported? */
bool xk_web_is_over(const xm_link *k);    /* has the peer closed the WebSocket? */
size_t xk_web_unread(const xm_link *k); /* bytes of frames that have come and weren't looked at */
/* Gives frames to the kernel. XM_EFAIL: `unsaid` says why. */
ssize_t xk_web_write(xm_link *k);
bool xk_web_is_half(const xm_link *k);
size_t xk_web_backlog(const xm_link *k);
void xk_web_finish(xm_link *k); /* sends a close frame */
size_t xk_web_spare(const xm_link *k);
void xk_web_rest(xm_link *k);

#endif
