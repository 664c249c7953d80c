/* conn_link: links that come and go, and the sessions on them; ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn_own.h"
#include "nego.h"
#include "srv.h"

static void stop_timers(xm_conn *c) {
  xm_timer *const all[] = {&c->idle, &c->ask, &c->hold, &c->rest, &c->patience, &c->deadline, &c->next};
  size_t i, n = sizeof all / sizeof *all;
  if (c->state != XM_CONN_CLOSED) n -= 2; /* those of the link */
  for (i = 0; i < n; i++) xm_timer_stop(c->loop, all[i]);
}

void xc_end_link(xm_conn *c, xm_link_how how, const char *detail) {
  xm_link_end(c->link, how, detail);
  xc_count(c);
}

void xc_forget_link(xm_conn *c) {
  stop_timers(c);
  if (c->link && c->o.fed) xm_link_take(c->link, &c->sent);
  xm_link_free(c->link);
  c->link = NULL;
  c->impatient = c->said_bye = c->must_keep = c->must_check = c->must_rest = c->pinging = false;
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
void xc_end(xm_conn *c) {
  if (c->state == XM_CONN_CLOSED) return;
  c->state = XM_CONN_CLOSED;
  c->needs_password = false;
  if (c->link) xc_end_link(c, XM_LINK_CUT, NULL);
  stop_timers(c);
  xm_buf_free(&c->password);
  c->news = NEWS_ENDED;
  xc_wake(c);
}

/* As it is told, with what was lost by it. */
void xc_end_with_loss(xm_conn *c) {
  if (c->state == XM_CONN_CLOSED) return;
  tell_lost(c, xm_sm_stanzas(c->sm));
  xm_sm_end(c->sm);
  xc_end(c);
}

void xc_end_as_it_was(xm_conn *c) {
  c->why = c->trouble;
  xc_end_with_loss(c);
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

int xc_start_link(xm_conn *c, xm_err *e) {
  const char *previd = resumable(c);
  xm_link_start start = {.password = c->has_password ? (xm_buf_at(&c->password) ? xm_buf_at(&c->password) : "") : NULL,
                         .password_len = xm_buf_len(&c->password),
                         .host = *c->host ? c->host : NULL,
                         .port = c->port,
                         .previd = previd,
                         .h = xm_sm_in(c->sm),
                         .due = c->begun ? 0 : c->due,
                         .avoid = &c->avoid,
                         .again = c->again,
                         .direct = c->direct,
                         .objected = c->objected};
  c->link = xm_link_new(c->loop, &c->o, &start, &c->log, e);
  if (!c->link) return XM_EFAIL;
  xm_link_pause(c->link, c->paused);
  c->state = XM_CONN_CONNECTING;
  return XM_OK;
}

static void on_next(void *arg) {
  xm_conn *c = arg;
  c->must_connect = true;
  xc_wake(c);
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
  if (xm_timer_start(c->loop, &c->next, ms, on_next, c) == XM_OK) return;
  xm_err_nomem(&c->why);
  xc_end_with_loss(c);
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
  if (xc_start_link(c, &c->trouble) < 0) xc_end_as_it_was(c);
  return XM_CONN_AGAIN;
}

static bool may_follow(xm_conn *c, const char *other) {
  return c->o.see_other_host && !c->closing && *other && c->hops < HOPS && read_host(c, other);
}

/* Something was said before the server had asked for it, and it may have objected: the same again, step by step. That
 * isn't an attempt of its own, and goes on at once. */
static bool may_fall_back(const xm_conn *c) {
  return xm_link_objected(c->link) && !c->closing;
}

void xm_conn_log_in(xm_conn *c, const char *password, size_t n) {
  if (!c->needs_password) return;
  c->needs_password = false;
  if (xm_buf_put(&c->password, password, n) < 0 || xc_start_link(c, NULL) < 0) xc_end_as_it_was(c);
  xm_buf_free(&c->password);
}

static xm_conn_event fall_back(xm_conn *c) {
  c->objected = xm_link_objected(c->link);
  c->direct = xm_link_is_direct(c->link);
  c->again = true;
  xc_forget_link(c);
  c->needs_password = c->has_password && !xc_keeps_password(c);
  if (c->needs_password) return XM_CONN_PASSWORD;
  if (xc_start_link(c, NULL) < 0) xc_end_as_it_was(c);
  return XM_CONN_AGAIN;
}

/* Why, and where. A server that doesn't answer for the second time has told why at the first. */
static void note_trouble(xm_conn *c, bool was_ready) {
  if (!c->again || xm_link_was_answered(c->link)) c->trouble = *xm_link_why(c->link);
  if (was_ready || !xm_link_address(c->link, &c->avoid)) c->avoid.ss_family = 0;
  c->again = false;
}

/* The link has ended: its xm_err says why. */
xm_conn_event xc_on_link_end(xm_conn *c) {
  bool was_ready = c->state != XM_CONN_CONNECTING;
  bool followed = may_follow(c, xm_link_other_host(c->link));
  note_trouble(c, was_ready);
  if (may_fall_back(c)) return fall_back(c);
  if (!followed) *c->host = '\0';
  if (is_barren(c)) {
    c->barren++;
    c->trouble.retry = true;
  }
  if (was_ready) {
    xm_sm_cut(c->sm, xm_link_taken(c->link));
    c->lost_at = xm_loop_now(c->loop);
  }
  c->unproven = false;
  xc_forget_link(c);
  if (followed) return follow(c);
  if (may_try_again(c)) {
    wait_for_next(c, backoff(c));
  } else {
    if (xm_err_is_set(&c->trouble)) c->why = c->trouble;
    xc_end_with_loss(c);
  }
  return XM_CONN_AGAIN;
}

xm_conn_event xc_connect_again(xm_conn *c) {
  const char *location = resumable(c) && c->attempts == 1 ? xm_sm_location(c->sm) : NULL;
  if (!c->must_connect) return XM_CONN_NOTHING;
  c->must_connect = false;
  if (location && !read_host(c, location)) *c->host = '\0';
  xm_err_clear(&c->trouble);
  if (xc_start_link(c, &c->trouble) == XM_OK) return XM_CONN_AGAIN;
  if (may_try_again(c)) {
    wait_for_next(c, backoff(c));
  } else {
    c->why = c->trouble;
    xc_end_with_loss(c);
  }
  return XM_CONN_AGAIN;
}

/* Sessions. */

static void note_login(xm_conn *c) {
  const char *m = xm_link_mechanism(c->link);
  c->info.tls_version = xm_link_tls_version(c->link);
  c->info.tls_resumed = xm_link_tls_is_resumed(c->link);
  c->info.mechanism = m;
  c->info.binding = xm_link_binding(c->link);
  c->info.ahead = xm_link_went_ahead(c->link);
  if (m && strcmp(m, "PLAIN") != 0 && strcmp(m, "ANONYMOUS") != 0) c->o.pinned = true;
  if (c->o.remember && c->info.binding) c->o.bound = true;
}

/* The peer's fault, told and done with; after what was said before. */
xm_conn_event xc_refuse(xm_conn *c, const char *detail) {
  xm_conn_flush(c);
  xc_end_link(c, c->said_bye || !xm_sm_is_between(c->sm) ? XM_LINK_PART : XM_LINK_REFUSE, detail);
  return xc_on_link_end(c);
}

#define TOO_HIGH "<handled-count-too-high xmlns='" XM_SM_NS "'/>"

xm_conn_event xc_refuse_h(xm_conn *c) {
  c->barren = BARREN; /* what the server counts is not this session */
  return xc_refuse(c, TOO_HIGH);
}

static int start_session(xm_conn *c, xm_nego_outcome outcome, uint32_t h) {
  bool again = c->bound;
  xm_jid *jid = xm_jid_copy(xm_link_jid(c->link));
  if (!jid) return XM_ENOMEM;
  free(c->jid);
  c->jid = jid;
  if (xm_route_set_self(c->route, jid) < 0) return XM_ENOMEM;
  if (again && xm_sm_lost(c->sm, outcome == XM_NEGO_LOST_AT ? &h : NULL, xm_loop_ticks(), xm_loop_wall(), c->o.max_age) < 0)
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
  xc_end_link(c, XM_LINK_PART, NULL);
  return xc_on_link_end(c);
}

xm_conn_event xc_on_opened(xm_conn *c) {
  uint32_t h;
  xm_nego_outcome outcome = xm_link_outcome(c->link, &h);
  int rc;
  if (is_unwanted(c, outcome)) return end_session(c, outcome == XM_NEGO_LOST_AT ? &h : NULL);
  rc = outcome == XM_NEGO_RESUMED ? go_on_with_session(c, h) : start_session(c, outcome, h);
  if (rc == XM_EFAIL) return xc_refuse_h(c);
  if (rc < 0) {
    xc_end_link(c, XM_LINK_CUT, NULL);
    return xc_on_link_end(c);
  }
  note_login(c);
  if (!c->begun) c->news |= NEWS_BOUND;
  c->begun = true;
  c->state = c->closing ? XM_CONN_CLOSING : XM_CONN_READY;
  c->attempts = c->hops = c->objected = 0;
  c->avoid.ss_family = 0;
  c->again = false;
  *c->host = '\0';
  xm_err_clear(&c->trouble);
  xc_put_off_keepalive(c);
  xm_conn_flush(c);
  return XM_CONN_AGAIN;
}
