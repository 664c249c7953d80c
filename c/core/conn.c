#include "conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link.h"
#include "nego.h"
#include "ns.h"
#include "out.h"
#include "rnd.h"
#include "srv.h"

enum {
  EVENTS_A_TURN = 64,   /* that nobody above sees; then others have their turn */
  WIRE = 16 * 1024,     /* bytes moved to the link at a time: as much as a TLS record holds */
  ASK_AFTER = 250,      /* ms: what was sent is asked about, if no batch came together */
  HOLD = 1000,          /* ms that <enabled/> is waited for: see xm_sm_is_held */
  PROVE = 5000,         /* ms: a resumed session that swallows what it is given is found out sooner than a dead link */
  HOPS = 3,             /* see-other-host, in a row */
  BARREN = 2,           /* resumptions that brought nothing on, until the session is given up */
  SESSION_KEPT = 300000 /* ms that a server keeps a cut session, where it doesn't say */
};

/* What crank answers with besides events: the link has done its share, and others should have their turn. */
enum { ENOUGH = -1 };

enum { NEWS_BOUND = 1, NEWS_REBOUND = 2, NEWS_ENDED = 4 };

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
  xm_jid asked, jid; /* who logs in; what was bound */
  xm_conn_info info;
  xm_timer idle;     /* keepalive */
  xm_timer ask;      /* see ASK_AFTER */
  xm_timer hold;     /* see HOLD */
  xm_timer patience; /* until the server must have answered */
  xm_timer deadline; /* of closing */
  xm_timer next;     /* the next attempt */
  xm_err why, trouble;
  const char *told;  /* the state's name that was given out */
  unsigned news;     /* NEWS_*, not given out yet */
  unsigned attempts; /* since it was last ready */
  unsigned hops;
  unsigned barren;
  uint64_t due;      /* when the first link must be open */
  uint64_t lost_at;  /* when the last link broke */
  uint64_t heard_at; /* when something last came */
  char host[256];    /* where to go instead; "": nowhere */
  int port;
  xm_jump jump;      /* the machine may have slept */
  struct sockaddr_storage avoid; /* where the last attempt came to nothing */
  char ping[XM_RND_ID + 1];      /* id of the XEP-0199 ping that is out; "": none */
  bool bound;        /* there is a session: `jid` is its address */
  bool begun;        /* it has been READY */
  bool unproven;     /* the session was resumed, and nothing has been acknowledged since */
  bool handling;     /* the stanza that was given out isn't counted yet */
  bool must_keep;    /* it is time for one */
  bool must_check;   /* for more than that: an answer */
  bool impatient, overdue, must_connect; /* a timer has fired */
  bool closing;      /* xm_conn_close was called */
  bool said_bye;     /* our stream has ended */
  bool paused;
  xm_buf sent;       /* fed: what would have gone to the kernel on links that are gone */
};

xm_conn_options xm_conn_defaults(void) {
  return (xm_conn_options){.port = 5222,
                           .plain = true,
                           .sm = true,
                           .resumable = true,
                           .reconnect = {.min = 1000, .max = 60000},
                           .timeout = 30000,
                           .keepalive = 60000,
                           .patience = 20000,
                           .max_age = 600000,
                           .max_stanza = 10u << 20,
                           .max_queue = 10u << 20,
                           .max_depth = 128,
                           .max_attributes = 256,
                           .max_nodes = 50000};
}

static void wake(xm_conn *c) {
  c->o.wake(c->o.wake_arg);
}

/* States. */

xm_conn_state xm_conn_state_of(const xm_conn *c) {
  return c->state;
}

const char *xm_conn_state_name(const xm_conn *c) {
  switch (c->state) {
    case XM_CONN_CONNECTING: return xm_link_phase(c->link);
    case XM_CONN_WAITING: return "waiting";
    case XM_CONN_READY: return "ready";
    case XM_CONN_CLOSING: return "closing";
    default: return "closed";
  }
}

static void stop_timers(xm_conn *c) {
  xm_timer *const all[] = {&c->idle, &c->ask, &c->hold, &c->patience, &c->deadline, &c->next};
  size_t i, n = sizeof all / sizeof *all;
  if (c->state != XM_CONN_CLOSED) n -= 2; /* those of the link */
  for (i = 0; i < n; i++) xm_timer_stop(c->loop, all[i]);
}

static void keep_sent(xm_conn *c) {
  xm_buf *w = xm_link_wire(c->link);
  xm_buf_put(&c->sent, xm_buf_at(w), xm_buf_len(w));
}

static void forget_link(xm_conn *c) {
  stop_timers(c);
  if (c->link && c->o.fed) keep_sent(c);
  xm_link_free(c->link);
  c->link = NULL;
  c->impatient = c->said_bye = c->must_keep = c->must_check = false;
  *c->ping = '\0';
}

/* How many stanzas nobody knows to have arrived is part of the story, or all of it. */
static void tell_lost(xm_conn *c, size_t lost) {
  const char *s = lost == 1 ? "" : "s", *are = lost == 1 ? "is" : "are";
  size_t used = strlen(c->why.text);
  if (lost == 0) return;
  if (xm_err_is_set(&c->why)) {
    snprintf(c->why.text + used, sizeof c->why.text - used, " (%zu stanza%s %s not known to have arrived)", lost, s, are);
  } else {
    xm_err_set(&c->why, XM_LAYER_CLOSED, "unacknowledged", true, "%zu stanza%s %s not known to have arrived", lost, s,
               are);
  }
}

/* The link is only cut: a stanza that was given out may still be on its tape. */
static void end(xm_conn *c) {
  if (c->state == XM_CONN_CLOSED) return;
  c->state = XM_CONN_CLOSED;
  if (c->link) xm_link_cut(c->link);
  stop_timers(c);
  xm_buf_free(&c->password);
  c->news = NEWS_ENDED;
  wake(c);
}

/* As it is told, with what was lost by it. */
static void end_with_loss(xm_conn *c) {
  if (c->state == XM_CONN_CLOSED) return;
  tell_lost(c, xm_sm_stanzas(c->sm));
  xm_sm_end(c->sm);
  end(c);
}

/* Sending. */

static void on_idle(void *arg) {
  xm_conn *c = arg;
  c->must_keep = true;
  wake(c);
}

/* Whatever is sent puts the keepalive off. */
static void put_off_keepalive(xm_conn *c) {
  if (c->o.keepalive) xm_timer_start(c->loop, &c->idle, c->o.keepalive, on_idle, c);
}

static void on_ask(void *arg) {
  xm_conn *c = arg;
  if (xm_sm_unasked(c->sm)) xm_sm_request(c->sm); /* somebody may have asked meanwhile */
  wake(c);
}

static void on_hold(void *arg) {
  xm_conn *c = arg;
  xm_sm_release(c->sm);
  wake(c);
}

static void on_impatient(void *arg) {
  xm_conn *c = arg;
  c->impatient = true;
  wake(c);
}

static bool is_expecting(const xm_conn *c) {
  return xm_sm_awaited(c->sm) || xm_sm_state_of(c->sm) == XM_SM_ENABLING || *c->ping;
}

static unsigned patience(const xm_conn *c) {
  return c->unproven && c->o.patience > PROVE ? PROVE : c->o.patience;
}

/* Sees to it that what is out gets asked about, and that an answer isn't waited for in vain. */
static void watch(xm_conn *c) {
  if (xm_sm_unasked(c->sm) && !xm_timer_armed(&c->ask)) xm_timer_start(c->loop, &c->ask, ASK_AFTER, on_ask, c);
  if (!xm_sm_is_held(c->sm)) xm_timer_stop(c->loop, &c->hold);
  else if (!xm_timer_armed(&c->hold)) xm_timer_start(c->loop, &c->hold, HOLD, on_hold, c);
  if (!is_expecting(c)) {
    xm_timer_stop(c->loop, &c->patience);
  } else if (!xm_timer_armed(&c->patience) && !c->impatient) {
    xm_timer_start(c->loop, &c->patience, patience(c), on_impatient, c);
  }
}

/* The server has answered something: patience begins anew. */
static void hear_answer(xm_conn *c) {
  xm_timer_stop(c->loop, &c->patience);
  c->impatient = false;
  watch(c);
}

/* From the log to the wire. */
static int pump(xm_conn *c) {
  xm_buf *w = xm_link_wire(c->link);
  size_t mark = xm_buf_mark(w);
  int rc = c->said_bye ? XM_OK : xm_sm_pump(c->sm, w, c->o.fed ? SIZE_MAX : WIRE);
  if (xm_buf_len(w) > mark) xm_wirelog_text(&c->log, '>', xm_buf_at(w) + mark, xm_buf_len(w) - mark);
  return rc;
}

static bool is_up(const xm_conn *c) {
  return (c->state == XM_CONN_READY || c->state == XM_CONN_CLOSING) && xm_link_state_of(c->link) == XM_LINK_OPEN;
}

void xm_conn_flush(xm_conn *c) {
  ssize_t n = 1;
  if (!is_up(c)) return;
  while (n > 0) {
    if (pump(c) < 0) {
      xm_link_cut(c->link);
      wake(c);
    }
    if (c->o.fed || xm_buf_len(xm_link_wire(c->link)) == 0) break;
    n = xm_link_flush(c->link);
    if (n > 0) xm_sm_taken(c->sm, (size_t)n);
    if (n > 0) put_off_keepalive(c);
  }
  if (xm_link_state_of(c->link) != XM_LINK_CLOSED) watch(c);
}

/* Something of ours between two stanzas. 0 or XM_ENOMEM. */
static int say(xm_conn *c, const char *text) {
  if (xm_buf_puts(xm_link_wire(c->link), text) < 0) return XM_ENOMEM;
  if (text[1]) xm_wirelog_text(&c->log, '>', text, strlen(text));
  return XM_OK;
}

static bool can_speak(const xm_conn *c) {
  return is_up(c) && !c->said_bye && xm_sm_is_between(c->sm);
}

static void say_bye(xm_conn *c) {
  if (!can_speak(c)) return;
  xm_sm_acknowledge(c->sm);
  if (pump(c) == XM_OK && xm_sm_is_between(c->sm) && say(c, "</stream:stream>") == XM_OK) c->said_bye = true;
  xm_conn_flush(c);
}

/* Closing ends when nothing is left to wait for. */
static void try_bye(xm_conn *c) {
  if (c->said_bye) return;
  xm_conn_flush(c);
  if (is_up(c) && xm_sm_is_done(c->sm)) say_bye(c);
}

/* Signs of life. */

/* XEP-0199. Its answer is ours alone. */
static void ping(xm_conn *c) {
  xm_buf *w = xm_link_wire(c->link);
  xm_out o = xm_out_begin(w);
  char id[XM_RND_ID + 1], domain[XM_JID_MAX + 1];
  int rc;
  if (*c->ping || xm_rnd_id(id) < 0) return;
  snprintf(domain, sizeof domain, "%.*s", (int)c->jid.domain_len, xm_jid_domain(&c->jid));
  rc = xm_out_start(&o, "iq", "type", "get", "id", id, "to", domain, NULL);
  if (rc == XM_OK) rc = xm_out_start(&o, "ping", "xmlns", "urn:xmpp:ping", NULL);
  if (rc == XM_OK) rc = xm_out_end(&o, "ping");
  if (rc == XM_OK) rc = xm_out_end(&o, "iq");
  if (rc < 0) return xm_out_abandon(&o);
  xm_wirelog_text(&c->log, '>', xm_buf_at(w) + o.mark, xm_buf_len(w) - o.mark);
  strcpy(c->ping, id);
}

/* What fits: an <r/> where there is stream management; else a space, which keeps the way open (RFC 6120 4.6.1), and when
 * nothing has come for long, or an answer is wanted, a ping; a component has no one to ping. */
static void keep_alive(xm_conn *c) {
  bool ask = c->must_check || xm_loop_now(c->loop) - c->heard_at >= c->o.patience;
  c->must_keep = c->must_check = false;
  if (c->state != XM_CONN_READY) return;
  put_off_keepalive(c);
  if (xm_sm_state_of(c->sm) == XM_SM_ON) {
    if (!xm_sm_awaited(c->sm)) xm_sm_request(c->sm);
  } else if (can_speak(c) && xm_buf_len(xm_link_wire(c->link)) == 0) {
    if (ask && !c->o.component) ping(c);
    else say(c, " ");
  }
  xm_conn_flush(c);
}

void xm_conn_check(xm_conn *c) {
  c->must_check = true;
  wake(c);
}

static void on_jump(void *arg) {
  xm_conn_check(arg);
}

/* Connecting. */

static const char *resumable(const xm_conn *c) {
  return c->barren < BARREN ? xm_sm_id(c->sm) : NULL;
}

/* "host", "host:port", "[address]:port". false: none of these. */
static bool read_host(xm_conn *c, const char *text) {
  bool bracket = *text == '[';
  const char *from = text + bracket, *end = from + strcspn(from, bracket ? "]" : ":");
  const char *port = bracket && *end ? end + 1 : end;
  char *behind = NULL;
  long n = *port == ':' ? strtol(port + 1, &behind, 10) : c->o.port;
  if (end == from || (size_t)(end - from) >= sizeof c->host || (bracket && !*end) || n < 1 || n > 65535) return false;
  if (*port && (*port != ':' || port[1] < '0' || port[1] > '9' || *behind)) return false;
  memcpy(c->host, from, (size_t)(end - from));
  c->host[end - from] = '\0';
  c->port = (int)n;
  return bracket || xm_srv_is_host(c->host);
}

static int start_link(xm_conn *c, xm_err *e) {
  const char *previd = resumable(c);
  xm_link_start start = {.password = c->has_password ? (xm_buf_at(&c->password) ? xm_buf_at(&c->password) : "") : NULL,
                         .password_len = xm_buf_len(&c->password),
                         .host = *c->host ? c->host : NULL,
                         .port = c->port,
                         .previd = previd,
                         .h = xm_sm_in(c->sm),
                         .due = c->begun ? 0 : c->due,
                         .avoid = &c->avoid};
  c->link = xm_link_new(c->loop, &c->o, &start, &c->log, e);
  if (!c->link) return XM_EFAIL;
  c->state = XM_CONN_CONNECTING;
  return XM_OK;
}

static void on_next(void *arg) {
  xm_conn *c = arg;
  c->must_connect = true;
  wake(c);
}

/* Full jitter: a thousand clients of a server that has restarted don't come all at once. */
static unsigned backoff(const xm_conn *c) {
  const xm_reconnect *r = &c->o.reconnect;
  uint64_t most = (uint64_t)r->min << (c->attempts < 20 ? c->attempts : 20);
  uint32_t dice = 0;
  if (most > r->max) most = r->max;
  xm_rnd_bytes(&dice, sizeof dice);
  return most ? (unsigned)(dice % (most + 1)) : 0;
}

static void wait_for_next(xm_conn *c, unsigned ms) {
  c->state = XM_CONN_WAITING;
  c->attempts++;
  if (xm_timer_start(c->loop, &c->next, ms, on_next, c) < 0) end_with_loss(c);
}

static bool is_within_session(const xm_conn *c) {
  uint64_t kept = xm_sm_max(c->sm) ? xm_sm_max(c->sm) * UINT64_C(1000) : SESSION_KEPT;
  return resumable(c) && xm_loop_now(c->loop) < c->lost_at + kept;
}

static bool may_try_again(const xm_conn *c) {
  const xm_reconnect *r = &c->o.reconnect;
  if (!c->begun || !c->trouble.retry || (r->attempts && c->attempts >= r->attempts)) return false;
  if (c->closing && (c->overdue || xm_sm_stanzas(c->sm) == 0)) return false;
  return r->any || (r->resume && is_within_session(c));
}

/* A server whose parser has half a stanza of the last link in it calls the next one's not well-formed (Prosody). */
static bool is_dirt(const xm_err *e) {
  static const char *const conditions[] = {"not-well-formed", "xml-not-well-formed", "bad-format", "invalid-xml",
                                           "policy-violation", "undefined-condition"};
  size_t i;
  for (i = 0; e->layer == XM_LAYER_STREAM && i < sizeof conditions / sizeof *conditions; i++)
    if (strcmp(e->condition, conditions[i]) == 0) return true;
  return false;
}

/* Resuming has brought nothing, and may never: a server that has resumed another session than ours would do so again. */
static bool is_barren(const xm_conn *c) {
  const xm_err *e = &c->trouble;
  if (c->unproven) return is_dirt(e);
  return c->told && strcmp(c->told, "resuming") == 0 && e->layer == XM_LAYER_STREAM &&
         strcmp(e->condition, "undefined-condition") == 0;
}

static xm_conn_event follow(xm_conn *c) {
  c->hops++;
  if (start_link(c, &c->trouble) < 0) end_with_loss(c);
  return XM_CONN_AGAIN;
}

static bool may_follow(xm_conn *c, const char *other) {
  return c->o.see_other_host && !c->closing && *other && c->hops < HOPS && read_host(c, other);
}

/* The link has ended: its xm_err says why. */
static xm_conn_event on_link_end(xm_conn *c) {
  bool was_ready = c->state != XM_CONN_CONNECTING;
  bool followed = may_follow(c, xm_link_other_host(c->link));
  c->trouble = *xm_link_why(c->link);
  if (was_ready || !xm_link_address(c->link, &c->avoid)) c->avoid.ss_family = 0;
  if (!followed) *c->host = '\0';
  if (is_barren(c)) {
    c->barren++;
    c->trouble.retry = true;
  }
  if (was_ready) {
    xm_sm_cut(c->sm);
    c->lost_at = xm_loop_now(c->loop);
  }
  c->unproven = false;
  forget_link(c);
  if (followed) return follow(c);
  if (may_try_again(c)) {
    wait_for_next(c, backoff(c));
  } else {
    if (xm_err_is_set(&c->trouble)) c->why = c->trouble;
    end_with_loss(c);
  }
  return XM_CONN_AGAIN;
}

static xm_conn_event connect_again(xm_conn *c) {
  const char *location = resumable(c) && c->attempts == 1 ? xm_sm_location(c->sm) : NULL;
  if (!c->must_connect) return XM_CONN_NOTHING;
  c->must_connect = false;
  if (location && !read_host(c, location)) *c->host = '\0';
  xm_err_clear(&c->trouble);
  if (start_link(c, &c->trouble) == XM_OK) return XM_CONN_AGAIN;
  if (may_try_again(c)) {
    wait_for_next(c, backoff(c));
  } else {
    c->why = c->trouble;
    end_with_loss(c);
  }
  return XM_CONN_AGAIN;
}

/* Sessions. */

static void note_login(xm_conn *c) {
  const char *m = xm_link_mechanism(c->link);
  c->info.tls_version = xm_link_tls_version(c->link);
  c->info.mechanism = m;
  c->info.binding = xm_link_binding(c->link);
  if (m && strcmp(m, "PLAIN") != 0 && strcmp(m, "ANONYMOUS") != 0) c->o.pinned = true;
}

/* The peer's fault, told and done with; after what was said before. */
static xm_conn_event refuse(xm_conn *c, const char *detail) {
  xm_conn_flush(c);
  xm_link_refuse(c->link, detail, c->said_bye || !xm_sm_is_between(c->sm));
  return on_link_end(c);
}

#define TOO_HIGH "<handled-count-too-high xmlns='" XM_SM_NS "'/>"

static xm_conn_event refuse_h(xm_conn *c) {
  c->barren = BARREN; /* what the server counts is not this session */
  return refuse(c, TOO_HIGH);
}

static int start_session(xm_conn *c, xm_nego_outcome outcome, uint32_t h) {
  bool again = c->bound;
  c->jid = *xm_link_jid(c->link);
  if (xm_route_set_self(c->route, &c->jid) < 0) return XM_ENOMEM;
  if (again && xm_sm_lost(c->sm, outcome == XM_NEGO_LOST_AT ? &h : NULL, xm_loop_wall(), c->o.max_age) < 0)
    return XM_ENOMEM;
  if (again) {
    c->info.rebound++;
    c->info.failed_without_h += outcome != XM_NEGO_LOST_AT;
  }
  if (c->o.sm && xm_link_has_sm(c->link)) xm_sm_enable(c->sm, c->o.resumable);
  c->barren = 0;
  if (again) c->news |= NEWS_REBOUND;
  c->bound = true;
  return XM_OK;
}

static int go_on_with_session(xm_conn *c, uint32_t h) {
  c->info.resumed++;
  c->unproven = true;
  return xm_sm_resumed(c->sm, h, xm_link_why(c->link));
}

/* A new session is not what was asked for: to go on was wanted for as long as the old one can be resumed. */
static bool is_unwanted(const xm_conn *c, xm_nego_outcome outcome) {
  return c->begun && outcome != XM_NEGO_RESUMED && !c->o.reconnect.any && c->hops == 0;
}

static xm_conn_event end_session(xm_conn *c, const uint32_t *h) {
  if (h) xm_sm_resumed(c->sm, *h, NULL); /* what the server had of it */
  xm_err_set(xm_link_why(c->link), XM_LAYER_CLOSED, "session-lost", false,
             "the server has forgotten the session, and a new one (reconnect) was not asked for");
  xm_link_refuse(c->link, "", true);
  return on_link_end(c);
}

static xm_conn_event on_opened(xm_conn *c) {
  uint32_t h;
  xm_nego_outcome outcome = xm_link_outcome(c->link, &h);
  int rc;
  if (is_unwanted(c, outcome)) return end_session(c, outcome == XM_NEGO_LOST_AT ? &h : NULL);
  rc = outcome == XM_NEGO_RESUMED ? go_on_with_session(c, h) : start_session(c, outcome, h);
  if (rc == XM_EFAIL) return refuse_h(c);
  if (rc < 0) {
    xm_link_cut(c->link);
    return on_link_end(c);
  }
  note_login(c);
  if (!c->begun) c->news |= NEWS_BOUND;
  c->begun = true;
  c->state = c->closing ? XM_CONN_CLOSING : XM_CONN_READY;
  c->attempts = c->hops = 0;
  c->avoid.ss_family = 0;
  c->heard_at = xm_loop_now(c->loop);
  *c->host = '\0';
  xm_err_clear(&c->trouble);
  put_off_keepalive(c);
  xm_conn_flush(c);
  return XM_CONN_AGAIN;
}

/* Elements. */

static xm_conn_event on_stream_error(xm_conn *c, const xm_tape *t) {
  xm_nego_stream_error(t, xm_link_why(c->link));
  say_bye(c);
  xm_link_part(c->link);
  return on_link_end(c);
}

static bool is_pong(const xm_conn *c, const xm_tape *t) {
  const char *id = *c->ping ? xm_tape_get(t, 0, "id", NULL) : NULL;
  const char *type = id && strcmp(id, c->ping) == 0 ? xm_tape_get(t, 0, "type", NULL) : NULL;
  return type && xm_tape_is(t, 0, XM_NS_CLIENT, "iq") && (strcmp(type, "result") == 0 || strcmp(type, "error") == 0);
}

static xm_conn_event on_pong(xm_conn *c) {
  *c->ping = '\0';
  hear_answer(c);
  return XM_CONN_AGAIN;
}

/* An <a/> that brings nothing on proves nothing: Prosody says one before it ends a stream by an error. */
static xm_conn_event on_sm(xm_conn *c, const xm_tape *t) {
  uint32_t before = xm_sm_acked(c->sm);
  if (xm_sm_read(c->sm, t, xm_link_why(c->link)) < 0) return refuse_h(c);
  if (strcmp(xm_tape_name(t, 0), "r") != 0) {
    c->barren = 0;
    if (xm_sm_acked(c->sm) != before || !xm_sm_stanzas(c->sm)) c->unproven = false;
    hear_answer(c);
  }
  xm_conn_flush(c);
  return XM_CONN_AGAIN;
}

static xm_conn_event on_stanza(xm_conn *c, const xm_tape *t) {
  const char *name = xm_tape_name(t, 0);
  if (is_pong(c, t)) {
    xm_sm_handled(c->sm);
    return on_pong(c);
  }
  if (strcmp(name, "message") == 0 || strcmp(name, "presence") == 0 || strcmp(name, "iq") == 0) {
    c->handling = true;
    return XM_CONN_STANZA;
  }
  xm_err_set(xm_link_why(c->link), XM_LAYER_STREAM, "unsupported-stanza-type", false,
             "the server sent <%s/>, which is no stanza", name);
  return refuse(c, "");
}

/* Content of another stream's (RFC 6120 4.8.2): a client that took it could be told anything. */
static bool is_foreign(const xm_conn *c, const xm_tape *t) {
  const char *ns = xm_tape_ns(t, 0);
  return strcmp(ns, xm_conn_ns(c)) != 0 && (strcmp(ns, XM_NS_CLIENT) == 0 || strcmp(ns, XM_NS_SERVER) == 0 ||
                                            strcmp(ns, XM_NS_COMPONENT) == 0);
}

static xm_conn_event on_element(xm_conn *c) {
  const xm_tape *t = xm_link_tape(c->link);
  c->heard_at = xm_loop_now(c->loop);
  if (xm_nego_is_stream_error(t)) return on_stream_error(c, t);
  if (xm_tape_is(t, 0, xm_conn_ns(c), NULL)) return on_stanza(c, t);
  if (xm_tape_is(t, 0, XM_SM_NS, NULL)) return on_sm(c, t);
  if (!is_foreign(c, t)) return XM_CONN_AGAIN; /* a nonza that nobody negotiated: passed over */
  xm_err_set(xm_link_why(c->link), XM_LAYER_STREAM, "invalid-namespace", false,
             "the server sent <%s xmlns='%s'/> on a stream of %s", xm_tape_name(t, 0), xm_tape_ns(t, 0), xm_conn_ns(c));
  return refuse(c, "");
}

/* The peer has ended its stream: ours ends too. */
static xm_conn_event on_close(xm_conn *c) {
  if (!c->said_bye)
    xm_err_set(xm_link_why(c->link), XM_LAYER_CLOSED, "closed-by-server", true, "the server closed the stream");
  else if (c->o.fed)
    xm_sm_taken(c->sm, xm_buf_len(xm_link_wire(c->link))); /* who answers our end has read it */
  say_bye(c);
  xm_link_part(c->link);
  return on_link_end(c);
}

/* All that has come is read, and still there is no answer. */
static xm_conn_event lose_patience(xm_conn *c) {
  c->impatient = false;
  if (c->paused) {
    watch(c); /* it may be among what isn't read */
  } else if (xm_sm_state_of(c->sm) == XM_SM_ENABLING) {
    xm_sm_give_up(c->sm);
    xm_conn_flush(c);
  } else {
    /* Who has said <resumed/> and doesn't answer the next word isn't slow. Nothing has left since, so its h was exact. */
    c->barren = xm_sm_is_held(c->sm) ? BARREN : c->barren + 1;
    xm_err_set(xm_link_why(c->link), XM_LAYER_TIMEOUT, "timeout", true,
               "the server was asked for a sign of life and gave none in %u s: the link is dead", patience(c) / 1000);
    xm_link_cut(c->link);
    return on_link_end(c);
  }
  return XM_CONN_AGAIN;
}

/* The link has nothing more to say now. */
static xm_conn_event on_quiet(xm_conn *c) {
  if (c->impatient && is_up(c)) return lose_patience(c);
  if (c->closing && is_up(c)) try_bye(c);
  return c->link && xm_link_state_of(c->link) == XM_LINK_CLOSED ? on_link_end(c) : XM_CONN_NOTHING;
}

static xm_conn_event on_overdue(xm_conn *c) {
  const char *what = c->said_bye ? "end the stream" : "acknowledge everything";
  xm_err_set(&c->why, XM_LAYER_TIMEOUT, "timeout", true, "the server did not %s in time", what);
  if (is_up(c)) say_bye(c);
  if (c->link) xm_link_part(c->link);
  end_with_loss(c);
  return XM_CONN_AGAIN;
}

/* Turning. */

static int crank(xm_conn *c) {
  if (c->overdue) return on_overdue(c);
  if (c->state == XM_CONN_WAITING) return connect_again(c);
  if (c->must_keep || c->must_check) keep_alive(c);
  switch (xm_link_next(c->link)) {
    case XM_LINK_OPENED: return on_opened(c);
    case XM_LINK_ELEMENT: return on_element(c);
    case XM_LINK_CLOSE: return on_close(c);
    case XM_LINK_BROKEN: return refuse(c, "");
    case XM_LINK_ENDED: return on_link_end(c);
    case XM_LINK_NOTHING: return on_quiet(c);
    default: return ENOUGH;
  }
}

/* What has happened since the last time, in its order. AGAIN: nothing has. */
static xm_conn_event tell(xm_conn *c) {
  static const xm_conn_event events[] = {XM_CONN_REBOUND, XM_CONN_BOUND};
  static const unsigned bits[] = {NEWS_REBOUND, NEWS_BOUND};
  const char *name = xm_conn_state_name(c);
  int i;
  if (name != c->told) {
    c->told = name;
    return XM_CONN_STATE;
  }
  for (i = 0; i < 2; i++) {
    if (!(c->news & bits[i])) continue;
    c->news &= ~bits[i];
    return events[i];
  }
  if (c->state != XM_CONN_CLOSED) return XM_CONN_AGAIN;
  if (!c->news) return XM_CONN_NOTHING;
  c->news = 0;
  return XM_CONN_ENDED;
}

void xm_conn_handled(xm_conn *c) {
  if (c->handling) xm_sm_handled(c->sm);
  c->handling = false;
}

xm_conn_event xm_conn_next(xm_conn *c) {
  xm_conn_event told = XM_CONN_AGAIN;
  int ev = XM_CONN_AGAIN, events;
  xm_conn_handled(c);
  if (c->state == XM_CONN_CLOSED && c->link) forget_link(c);
  for (events = 0; events < EVENTS_A_TURN; events++) {
    told = tell(c);
    if (told != XM_CONN_AGAIN || ev != XM_CONN_AGAIN) break;
    ev = crank(c);
    if (ev == XM_CONN_STANZA) return XM_CONN_STANZA;
  }
  if (told != XM_CONN_AGAIN) return told;
  return ev == XM_CONN_NOTHING ? XM_CONN_NOTHING : XM_CONN_AGAIN;
}

/* Construction. */

static int copy_string(const char **s) {
  char *copy = *s ? strdup(*s) : NULL;
  if (*s && !copy) return XM_ENOMEM;
  *s = copy;
  return XM_OK;
}

static const char **strings_of(xm_conn_options *o, int i) {
  const char **const all[] = {&o->host, &o->tls_name, &o->pin, &o->lang, &o->mechanisms, &o->nameservers};
  return i < (int)(sizeof all / sizeof *all) ? all[i] : NULL;
}

/* All or nothing: on failure none of them is ours. */
static int copy_strings(xm_conn_options *o) {
  const char **s;
  int i, rc = XM_OK;
  for (i = 0; (s = strings_of(o, i)); i++) {
    if (rc == XM_OK) rc = copy_string(s);
    if (rc < 0) *s = NULL;
  }
  return rc;
}

static int make_parts(xm_conn *c) {
  const char *password = c->o.password;
  c->o.password = NULL;
  c->has_password = password != NULL;
  c->sm = xm_sm_new();
  c->route = xm_route_new(xm_conn_ns(c));
  if (!c->sm || !c->route) return XM_ENOMEM;
  return password ? xm_buf_put(&c->password, password, c->o.password_len) : XM_OK;
}

static int restore(xm_conn *c, const xm_conn_session *session) {
  size_t i;
  for (i = 0; i < session->n; i++) {
    const xm_sm_stanza *st = &session->stanzas[i];
    size_t mark = xm_buf_mark(xm_sm_out(c->sm));
    if (xm_buf_put(xm_sm_out(c->sm), st->xml, st->len) < 0 || xm_sm_commit(c->sm, mark, st->at, 0, NULL) < 0)
      return XM_ENOMEM;
  }
  c->bound = true;
  c->jid = *session->jid;
  if (xm_sm_restore(c->sm, &session->sm) < 0) return XM_ENOMEM;
  return xm_route_set_self(c->route, &c->jid);
}

/* A fed connection is ready at once. */
static int start_fed(xm_conn *c, xm_err *e) {
  if (on_opened(c) == XM_CONN_AGAIN && c->state == XM_CONN_READY) {
    c->told = xm_conn_state_name(c);
    c->news = 0;
    return XM_OK;
  }
  return xm_err_nomem(e);
}

static int start(xm_conn *c, xm_err *e) {
  c->due = xm_loop_now(c->loop) + c->o.timeout;
  if (start_link(c, e) < 0) return XM_EFAIL;
  if (c->o.fed) return start_fed(c, e);
  if (!c->o.reconnect.any && !c->o.reconnect.resume && !c->o.see_other_host) xm_buf_free(&c->password);
  return XM_OK;
}

xm_conn *xm_conn_new(xm_loop *l, const xm_conn_options *options, const xm_conn_session *session, xm_err *e) {
  xm_conn *c = calloc(1, sizeof *c);
  if (!c) {
    xm_err_nomem(e);
    return NULL;
  }
  c->o = *options;
  c->password = XM_BUF_SECRET;
  c->log.on = options->log;
  c->loop = l;
  memcpy(&c->jid, options->jid, offsetof(xm_jid, str) + xm_jid_len(options->jid) + 1); /* it may end at its NUL */
  xm_loop_hold(l);
  xm_jump_watch(l, &c->jump, on_jump, c);
  if (c->o.tls_ctx) xm_tls_ctx_hold(c->o.tls_ctx);
  c->asked = c->jid;
  c->o.jid = &c->asked;
  if (copy_strings(&c->o) == XM_OK && make_parts(c) == XM_OK && (!session || restore(c, session) == XM_OK)) {
    if (start(c, e) == XM_OK) return c;
  }
  xm_err_nomem(e);
  xm_conn_free(c);
  return NULL;
}

void xm_conn_free(xm_conn *c) {
  const char **s;
  int i;
  if (!c) return;
  if (is_up(c)) {
    say_bye(c);
    xm_link_part(c->link);
  }
  c->state = XM_CONN_CLOSED;
  xm_jump_unwatch(c->loop, &c->jump);
  forget_link(c);
  xm_buf_free(&c->sent);
  xm_sm_free(c->sm);
  xm_route_free(c->route);
  xm_tls_ctx_release(c->o.tls_ctx);
  xm_buf_free(&c->password);
  xm_buf_free(&c->log.records);
  for (i = 0; (s = strings_of(&c->o, i)); i++) free((char *)*s);
  xm_loop_release(c->loop);
  free(c);
}

/* The rest. */

void xm_conn_pause(xm_conn *c, bool paused) {
  c->paused = paused;
  if (c->link) xm_link_pause(c->link, paused);
}

const xm_tape *xm_conn_stanza(const xm_conn *c) {
  return xm_link_tape(c->link);
}

const xm_jid *xm_conn_jid(const xm_conn *c) {
  return c->bound ? &c->jid : NULL;
}

const char *xm_conn_ns(const xm_conn *c) {
  return c->o.component ? XM_NS_COMPONENT : XM_NS_CLIENT;
}

bool xm_conn_is_component(const xm_conn *c) {
  return c->o.component;
}

xm_route *xm_conn_route(xm_conn *c) {
  return c->route;
}

xm_sm *xm_conn_sm(xm_conn *c) {
  return c->sm;
}

xm_conn_info xm_conn_info_of(const xm_conn *c) {
  xm_conn_info info = c->info;
  info.sm = xm_sm_state_of(c->sm) == XM_SM_ON;
  info.resumable = xm_sm_id(c->sm) != NULL;
  return info;
}

const xm_err *xm_conn_why(const xm_conn *c) {
  return &c->why;
}

const xm_err *xm_conn_trouble(const xm_conn *c) {
  return c->state == XM_CONN_CLOSED ? &c->why : &c->trouble;
}

unsigned xm_conn_max_depth(const xm_conn *c) {
  return c->o.max_depth;
}

xm_buf *xm_conn_out(xm_conn *c) {
  return xm_sm_out(c->sm);
}

int xm_conn_commit(xm_conn *c, size_t mark, unsigned flags, uint64_t *seq, xm_err *e) {
  xm_buf *out = xm_sm_out(c->sm);
  size_t n = xm_buf_len(out) - mark;
  if (!c->bound || c->closing || c->state == XM_CONN_CLOSED) {
    xm_buf_rollback(out, mark);
    return xm_err_set(e, XM_LAYER_CLOSED, xm_err_is_set(&c->why) ? c->why.condition : "not-connected", c->why.retry,
                      "the connection is %s%s%s", xm_conn_state_name(c), *c->why.text ? ": " : "", c->why.text);
  }
  if (mark + n > c->o.max_queue) {
    xm_buf_rollback(out, mark);
    return xm_err_set(e, XM_LAYER_LIMIT, "max-queue", true,
                      "%zu bytes wait to be sent or acknowledged already and the stanza has %zu, over max_queue (%zu): slow "
                      "down (flush waits until there is room)",
                      mark, n, c->o.max_queue);
  }
  return xm_sm_commit(c->sm, mark, xm_loop_wall(), flags, seq) == XM_OK ? XM_OK : xm_err_nomem(e);
}

size_t xm_conn_pending(const xm_conn *c, size_t *stanzas) {
  if (stanzas) *stanzas = xm_sm_stanzas(c->sm);
  return xm_sm_bytes(c->sm);
}

void xm_conn_hurry(xm_conn *c) {
  if (xm_sm_stanzas(c->sm) && !xm_sm_awaited(c->sm)) xm_sm_request(c->sm);
  xm_conn_flush(c);
}

static void on_overdue_timer(void *arg) {
  xm_conn *c = arg;
  c->overdue = true;
  wake(c);
}

/* Down, with something to deliver: there is no time for backing off. */
static void hurry_up(xm_conn *c) {
  if (c->state != XM_CONN_WAITING) return;
  xm_timer_stop(c->loop, &c->next);
  c->must_connect = true;
}

void xm_conn_close(xm_conn *c, unsigned ms) {
  if (c->closing || c->state == XM_CONN_CLOSED) return;
  if (!c->begun) {
    xm_err_set(&c->why, XM_LAYER_CLOSED, "stopped", false, "the connection was stopped before it was ready");
    return end_with_loss(c);
  }
  if (c->state != XM_CONN_READY && xm_sm_stanzas(c->sm) == 0) return end_with_loss(c);
  c->closing = true;
  xm_timer_start(c->loop, &c->deadline, ms, on_overdue_timer, c);
  xm_conn_pause(c, false);
  if (c->state != XM_CONN_READY) return hurry_up(c);
  c->state = XM_CONN_CLOSING;
  xm_conn_hurry(c);
  try_bye(c);
  wake(c);
}

void xm_conn_detach(xm_conn *c) {
  if (c->state == XM_CONN_CLOSED) return;
  if (c->link) xm_link_cut(c->link);
  xm_err_set(&c->why, XM_LAYER_CLOSED, "saved", false, "the session was saved, to be resumed by another process");
  end(c);
}

void xm_conn_abort(xm_conn *c) {
  if (c->state == XM_CONN_CLOSED) return;
  xm_err_nomem(&c->why);
  end_with_loss(c);
}

xm_buf *xm_conn_log(xm_conn *c) {
  return &c->log.records;
}

int xm_conn_feed(xm_conn *c, const char *bytes, size_t n) {
  return c->link ? xm_link_feed(c->link, bytes, n) : XM_OK;
}

int xm_conn_sent(xm_conn *c, xm_buf *to) {
  xm_buf *from[] = {&c->sent, c->link ? xm_link_wire(c->link) : NULL};
  int i;
  xm_conn_flush(c);
  for (i = 0; i < 2 && from[i]; i++) {
    size_t n = xm_buf_len(from[i]);
    if (xm_buf_put(to, xm_buf_at(from[i]), n) < 0) return XM_ENOMEM;
    xm_buf_consume(from[i], n);
    if (i == 1) xm_sm_taken(c->sm, n);
  }
  return XM_OK;
}
