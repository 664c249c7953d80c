/* conn_link: links that come and go, and the sessions on them; how a connection ends. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn_own.h"
#include "nego.h"
#include "srv.h"
#include "url.h"

static void stop_timers(xm_conn *c) {
  xm_timer *const all[] = {&c->idle, &c->ask, &c->hold, &c->rest, &c->patience, &c->route_timer,
                           &c->opening, &c->deadline, &c->next};
  size_t i, n = sizeof all / sizeof *all;
  if (c->state != XM_CONN_CLOSED) n -= 3; /* those of the link */
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
  c->impatient = c->stuck = c->put_off = c->said_bye = c->must_keep = c->must_check = c->must_rest = c->pinging = false;
  c->probe.due = false;
  c->csi = NULL;
}

/* Adds to the error how many stanzas aren't known to have arrived; if there is no error, that is the error. */
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

/* Counts what had come on the link, which has ended, and wasn't looked at. */
static void note_left(xm_conn *c) {
  if (c->link && c->parting) c->left.bytes += xm_link_unread(c->link);
}

/* The link is only cut, not freed: the stanza given out last may still be on its tape. */
void xc_end(xm_conn *c) {
  if (c->state == XM_CONN_CLOSED) return;
  c->state = XM_CONN_CLOSED;
  c->needs_password = false;
  if (c->link) xc_end_link(c, XM_LINK_CUT, NULL);
  note_left(c);
  stop_timers(c);
  xm_buf_free(&c->password);
  c->news = NEWS_ENDED;
  xc_wake(c);
}

/* Ends the connection; what was lost by that becomes part of the error. */
void xc_end_with_loss(xm_conn *c) {
  if (c->state == XM_CONN_CLOSED) return;
  if (c->retry.begun) { /* else the log came from another process, which still has it saved */
    c->left.unsent = xm_sm_stanzas(c->sm);
    tell_lost(c, c->left.unsent);
    xm_sm_end(c->sm);
  }
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

/* The URL of a WebSocket, which must have TLS. */
static bool read_url(const char *text, xc_place *to) {
  xm_url u;
  if (strlen(text) >= sizeof to->host || xm_url_read(&u, text) || !u.secure) return false;
  strcpy(to->host, text);
  return true;
}

/* "host", "host:port", "[address]:port"; for a WebSocket, a URL. false: none of these. */
static bool read_place(const xm_conn *c, const char *text, xc_place *to) {
  bool bracket = *text == '[';
  const char *from = text + bracket, *end = from + strcspn(from, bracket ? "]" : ":");
  const char *port = bracket && *end ? end + 1 : end;
  char *behind = NULL;
  long n = *port == ':' ? strtol(port + 1, &behind, 10) : c->o.port;
  if (c->o.url) return read_url(text, to);
  if (end == from || end - from >= 256 || (bracket && !*end) || n < 1 || n > 65535) return false;
  if (*port && (*port != ':' || port[1] < '0' || port[1] > '9' || *behind)) return false;
  memcpy(to->host, from, (size_t)(end - from));
  to->host[end - from] = '\0';
  to->port = (int)n;
  return xm_srv_is_host(to->host) || xm_srv_is_ipv6(to->host);
}

void xc_begin_attempt(xm_conn *c) {
  c->due = xm_loop_now(c->loop) + c->o.timeout;
}

/* Reconnecting is wanted only for as long as the session can be resumed; a new session is not wanted. */
static bool wants_no_other(const xm_conn *c) {
  return c->retry.begun && !c->o.reconnect.any && !c->sent_there;
}

int xc_start_link(xm_conn *c, xm_err *e) {
  const char *previd = resumable(c), *there = *c->place.host ? c->place.host : NULL;
  xm_token token;
  xm_link_start start = {.password = c->has_password ? (xm_buf_at(&c->password) ? xm_buf_at(&c->password) : "") : NULL,
                         .password_len = xm_buf_len(&c->password),
                         .host = !c->o.url ? there : NULL,
                         .port = c->place.port,
                         .url = c->o.url ? there : NULL,
                         .previd = previd,
                         .h = xm_sm_in(c->sm),
                         .only_resume = wants_no_other(c),
                         .due = c->due,
                         .avoid = &c->avoid,
                         .logged_in = c->o.logged_in && !c->bound,
                         .again = c->again,
                         .direct = c->direct,
                         .objected = c->objected,
                         .token = xc_pick_token(c, &token),
                         .targets = c->targets};
  c->targets = NULL;
  c->link = xm_link_new(c->loop, &c->o, &start, &c->log, e);
  if (start.token) xm_wipe(&token, sizeof token);
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

static void wait_for_next(xm_conn *c, unsigned ms) {
  c->state = XM_CONN_WAITING;
  if (xm_timer_start(c->loop, &c->next, ms, on_next, c) == XM_OK) return;
  xm_err_nomem(&c->why);
  xc_end_with_loss(c);
}

static bool is_within_session(const xm_conn *c) {
  uint64_t kept = xm_sm_max(c->sm) ? xm_sm_max(c->sm) * UINT64_C(1000) : SESSION_KEPT;
  return resumable(c) && xm_loop_now(c->loop) < c->lost_at + kept;
}

/* What a server may say (Prosody does) whose parser still has half a stanza of the last link in it: not well-formed. */
static bool is_leftover_error(const xm_err *e) {
  static const char *const conditions[] = {"not-well-formed", "xml-not-well-formed", "bad-format", "invalid-xml",
                                           "policy-violation", "undefined-condition"};
  size_t i;
  for (i = 0; e->layer == XM_LAYER_STREAM && i < sizeof conditions / sizeof *conditions; i++)
    if (strcmp(e->condition, conditions[i]) == 0) return true;
  return false;
}

/* Did resuming lead nowhere, so that it may never lead anywhere? A server that has resumed another session than ours
 * would do so again. */
static bool is_barren(const xm_conn *c) {
  const xm_err *e = &c->trouble;
  if (xm_link_objected(c->link)) return false;
  if (c->unproven) return is_leftover_error(e);
  return c->told && strcmp(c->told, "resuming") == 0 && e->layer == XM_LAYER_STREAM &&
         strcmp(e->condition, "undefined-condition") == 0;
}

/* Why, and at which address. When the second try isn't even answered, the reason of the first one stands. */
static void note_trouble(xm_conn *c, bool was_ready) {
  if (!c->again || xm_link_was_answered(c->link)) c->trouble = *xm_link_why(c->link);
  if (was_ready || !xm_link_peer_of(c->link, &c->avoid)) c->avoid = (xm_link_peer){.port = 0};
  c->again = false;
  if (!is_barren(c)) return;
  c->barren++;
  c->trouble.retry = true;
}

/* RFC 6120's condition for it: 1008 and 1009 are RFC 6455's codes for a policy violation and a message that is too
 * big. */
static const char *blame(const xm_err *e) {
  bool is_policy = strcmp(e->condition, "close-1008") == 0 || strcmp(e->condition, "close-1009") == 0;
  return e->layer == XM_LAYER_WEBSOCKET && is_policy ? "policy-violation" : e->condition;
}

/* From now on the session has no link. true: a stanza of ours was to blame for that, and isn't sent again. */
static bool note_loss(xm_conn *c) {
  bool blamed = xm_link_was_refused(c->link) && xm_sm_blame(c->sm, blame(&c->trouble));
  c->comes_again = xm_sm_state_of(c->sm) == XM_SM_ON;
  xm_sm_cut(c->sm, xm_link_taken(c->link));
  c->lost_at = xm_loop_now(c->loop);
  c->is_first = true;
  return blamed;
}

/* The server may have said, with a session that it has lost, how much of that had arrived. That counts here only where
 * no new session takes over what is left. */
static void note_last_word(xm_conn *c) {
  uint32_t h;
  if (wants_no_other(c) && xm_link_outcome(c->link, &h) == XM_NEGO_LOST_AT) xm_sm_resumed(c->sm, h, NULL);
}

static xm_retry_stage stage_of(const xm_conn *c, bool was_ready) {
  if (was_ready) return XM_RETRY_READY;
  return c->link && xm_link_is_proven(c->link) ? XM_RETRY_SERVER : XM_RETRY_ANYBODY;
}

static xm_retry_answer ask_retry(xm_conn *c, bool was_ready, bool elsewhere, bool blamed) {
  xm_retry_end e = {.why = &c->trouble,
                    .stage = stage_of(c, was_ready),
                    .now = xm_loop_now(c->loop),
                    .longest = xm_loop_has_own_clock(c->loop),
                    .elsewhere = elsewhere && c->o.see_other_host,
                    .blamed = blamed,
                    .stopping = c->closing,
                    .undelivered = !c->overdue && xm_sm_stanzas(c->sm) > 0,
                    .resumable = is_within_session(c)};
  if (c->link) {
    e.said = xm_link_was_refused(c->link);
    e.objected = xm_link_objected(c->link) != 0 || (!was_ready && xc_has_other_token(c));
    e.targets = xm_link_has_targets(c->link);
  }
  xm_rnd_bytes(&e.dice, sizeof e.dice);
  return xm_retry_after(&c->retry, &c->o.reconnect, &e);
}

/* Appends to the text of an error. */
static void add_text(xm_err *e, const char *more) {
  size_t used = strlen(e->text);
  snprintf(e->text + used, sizeof e->text - used, "%s", more);
}

static void explain(xm_conn *c, const xm_retry_answer *a) {
  if (a->verdict == XM_RETRY_WAIT) c->trouble.retry = true; /* since waiting is for trying again */
  if (a->stuck) add_text(&c->trouble, " (as it did the last times: from now on the pause between attempts is reconnect.max)");
  if (a->verdict == XM_RETRY_END && c->o.agent && strcmp(c->trouble.condition, "conflict") == 0)
    add_text(&c->trouble, " (another connection has the same user-agent id or resource: each needs its own)");
  if (a->verdict != XM_RETRY_END || strcmp(c->trouble.condition, "see-other-host") != 0) return;
  add_text(&c->trouble, !c->o.see_other_host ? " (to go there, set see_other_host = true)"
                            : c->o.url ? " (see_other_host goes to wss:// URLs, 3 times in a row at most)"
                                       : " (see_other_host goes to hosts, 3 times in a row at most)");
}

static xm_conn_event wait_or_end(xm_conn *c, const xm_retry_answer *a) {
  explain(c, a);
  if (a->verdict == XM_RETRY_WAIT) {
    wait_for_next(c, a->ms);
  } else {
    if (xm_err_is_set(&c->trouble)) c->why = c->trouble;
    xc_end_with_loss(c);
  }
  return XM_CONN_AGAIN;
}

void xm_conn_log_in(xm_conn *c, const char *password, size_t n) {
  if (!c->needs_password) return;
  c->needs_password = false;
  if (xm_buf_put(&c->password, password, n) < 0 || xc_start_link(c, NULL) < 0) xc_end_as_it_was(c);
  xm_buf_free(&c->password);
}

/* Starts another link at once, as part of the same attempt. */
static xm_conn_event go_on(xm_conn *c) {
  c->needs_password = c->has_password && !xc_keeps_password(c);
  if (c->needs_password) return XM_CONN_PASSWORD;
  if (xc_start_link(c, NULL) < 0) xc_end_as_it_was(c);
  return XM_CONN_AGAIN;
}

/* Something was sent before the server had asked for it, and it may have objected: the same again, step by step. */
static void fall_back(xm_conn *c) {
  c->objected = xm_link_objected(c->link);
  c->direct = xm_link_is_direct(c->link);
  c->again = true;
}

static void follow(xm_conn *c, const xc_place *there) {
  c->place = *there;
  c->sent_there = true;
  if (c->retry.begun) xc_begin_attempt(c);
}

static void note_address(xm_conn *c) {
  xm_link_peer peer;
  const void *sa = &peer.address, *at = &((const struct sockaddr_in *)sa)->sin_addr;
  c->info.address[0] = '\0';
  if (!xm_link_peer_of(c->link, &peer) || xm_conn_has_proxy(&c->o)) return;
  if (peer.address.ss_family == AF_INET6) at = &((const struct sockaddr_in6 *)sa)->sin6_addr;
  inet_ntop(peer.address.ss_family, at, c->info.address, sizeof c->info.address);
}

/* Notes how long each step took, where the link led, and how it was secured, as far as it got. */
static void note_setup(xm_conn *c) {
  static const xm_link_state states[XM_CONN_STEPS] = {[XM_CONN_DNS] = XM_LINK_RESOLVING,
                                                      [XM_CONN_TCP] = XM_LINK_DIALLING,
                                                      [XM_CONN_PROXY] = XM_LINK_TUNNELLING,
                                                      [XM_CONN_TLS] = XM_LINK_SECURING,
                                                      [XM_CONN_LOGIN] = XM_LINK_NEGOTIATING};
  const xm_link_how_long took = xm_link_took(c->link);
  int i;
  c->info.tls_version = xm_link_tls_version(c->link);
  c->info.has_certificate = xm_link_good_for(c->link, &c->info.good_for);
  for (i = 0; i < XM_CONN_STEPS; i++) c->info.took[i] = took.ms[states[i]];
  c->info.took[XM_CONN_LOGIN] += took.ms[XM_LINK_UPGRADING];
  note_address(c);
}

/* The link has ended; xm_link_why says why. */
xm_conn_event xc_on_link_end(xm_conn *c) {
  bool was_ready = c->state != XM_CONN_CONNECTING;
  xc_place there = {.host = ""};
  bool elsewhere = read_place(c, xm_link_other_host(c->link), &there), blamed;
  xm_retry_answer next;
  note_trouble(c, was_ready);
  if (!was_ready) xc_note_token(c);
  if (!c->retry.begun) note_setup(c);
  if (!was_ready) note_last_word(c);
  blamed = was_ready && note_loss(c);
  next = ask_retry(c, was_ready, elsewhere, blamed);
  c->unproven = false;
  if (next.verdict == XM_RETRY_FALL_BACK) fall_back(c);
  else if (next.verdict != XM_RETRY_NEXT) c->place = (xc_place){.host = ""}, c->sent_there = false;
  if (next.verdict == XM_RETRY_FOLLOW) follow(c, &there);
  if (next.verdict == XM_RETRY_FALL_BACK || next.verdict == XM_RETRY_NEXT) c->targets = xm_link_take_targets(c->link);
  note_left(c);
  xc_forget_link(c);
  return next.verdict == XM_RETRY_WAIT || next.verdict == XM_RETRY_END ? wait_or_end(c, &next) : go_on(c);
}

/* Where the server says that it keeps the session; not used where the options name the only host to dial. */
static const char *location(const xm_conn *c) {
  return resumable(c) && c->is_first && !c->o.url && (!c->o.host || c->o.see_other_host) ? xm_sm_location(c->sm) : NULL;
}

xm_conn_event xc_connect_again(xm_conn *c) {
  const char *there = location(c);
  xm_retry_answer next;
  if (!c->must_connect) return XM_CONN_NOTHING;
  c->must_connect = c->is_first = false;
  if (there && !read_place(c, there, &c->place)) *c->place.host = '\0';
  xm_err_clear(&c->trouble);
  xc_begin_attempt(c);
  if (xc_start_link(c, &c->trouble) == XM_OK) return XM_CONN_AGAIN;
  next = ask_retry(c, false, false, false);
  return wait_or_end(c, &next);
}

/* Sessions. */

/* What was passed over on the last link comes again if the server has kept it, and is counted then. */
static void begin_anew(xm_conn *c) {
  if (c->comes_again) c->left = (xm_conn_left){0};
  c->behind = c->comes_again = false;
}

/* With SASL2 they may come after the session has begun; after a resumption they may never come. */
static void note_offers(xm_conn *c) {
  xm_buf offers = xm_link_take_offers(c->link);
  c->awaits_features = c->info.sasl2 && xm_buf_len(&offers) == 0;
  if (c->awaits_features) return;
  xm_buf_free(&c->offers);
  c->offers = offers;
}

static void note_login(xm_conn *c, bool inside) {
  const char *m = xm_link_mechanism(c->link);
  note_setup(c);
  c->info.tls_resumed = xm_link_tls_is_resumed(c->link);
  c->info.mechanism = m;
  c->info.binding = xm_link_binding(c->link);
  c->info.ahead = xm_link_went_ahead(c->link);
  c->info.sasl2 = xm_link_is_sasl2(c->link);
  c->info.bound_inside = inside;
  c->info.by_token = xm_link_token(c->link) == XM_LOGIN_TOKEN_WORKED;
  note_offers(c);
  if (c->info.by_token) return; /* that shows nothing of a login without: the token may have been got by PLAIN */
  if (m && strcmp(m, "PLAIN") != 0 && strcmp(m, "ANONYMOUS") != 0) c->o.pinned = true;
  if (c->o.remember && c->info.binding) c->o.bound = true;
}

/* Ends the link for an error of the peer's, after what was given before has been sent, and handles its end. */
xm_conn_event xc_refuse(xm_conn *c, const char *detail) {
  xm_conn_flush(c);
  xc_end_link(c, c->said_bye || !xm_sm_is_between(c->sm) ? XM_LINK_PART : XM_LINK_REFUSE, detail);
  return xc_on_link_end(c);
}

#define TOO_HIGH "<handled-count-too-high xmlns='" XM_SM_NS "'/>"

xm_conn_event xc_refuse_h(xm_conn *c) {
  c->barren = BARREN; /* the server's count isn't of this session */
  return xc_refuse(c, TOO_HIGH);
}

static void on_opening(void *arg) {
  xm_conn *c = arg;
  xm_sm_let_go(c->sm);
  xc_wake(c);
}

/* In a new session. Nothing is held back if there is no memory for the timer that limits it. */
static void hold_back(xm_conn *c) {
  xm_timer_stop(c->loop, &c->opening);
  if (!c->holds_back || c->closing) return;
  xm_sm_hold_back(c->sm);
  if (!xm_sm_holds_back(c->sm)) return; /* there was nothing to hold back */
  if (xm_timer_start(c->loop, &c->opening, c->o.timeout, on_opening, c) < 0) xm_sm_let_go(c->sm);
}

static int start_session(xm_conn *c, xm_nego_outcome outcome, uint32_t h) {
  bool again = c->bound;
  const xm_enabled *enabled = xm_link_enabled(c->link);
  xm_jid *jid;
  if (again && outcome == XM_NEGO_LOST_AT && xm_link_is_sasl2(c->link) &&
      xm_sm_check_handled(c->sm, h, xm_link_why(c->link)) < 0)
    return XM_EFAIL;
  jid = xm_jid_copy(xm_link_jid(c->link));
  if (!jid) return XM_ENOMEM;
  free(c->jid);
  c->jid = jid;
  if (xm_route_set_self(c->route, jid) < 0) return XM_ENOMEM;
  if (again && xm_sm_lost(c->sm, outcome == XM_NEGO_LOST_AT ? &h : NULL, xm_loop_ticks(c->loop), xm_loop_wall(c->loop), c->o.max_age) < 0)
    return XM_ENOMEM;
  if (again) {
    c->info.rebound++;
    c->info.failed_without_h += outcome != XM_NEGO_LOST_AT;
    hold_back(c);
  }
  if (c->o.sm && enabled->on)
    xm_sm_enabled(c->sm, &(xm_sm_terms){.id = enabled->id, .location = enabled->location, .max = enabled->max});
  else if (c->o.sm && xm_link_has_sm(c->link)) xm_sm_enable(c->sm, c->o.resumable);
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

xm_conn_event xc_on_opened(xm_conn *c) {
  uint32_t h;
  xm_nego_outcome outcome = xm_link_outcome(c->link, &h);
  int rc;
  rc = outcome == XM_NEGO_RESUMED ? go_on_with_session(c, h) : start_session(c, outcome, h);
  if (rc == XM_EFAIL) return xc_refuse_h(c);
  if (rc < 0) {
    xc_end_link(c, XM_LINK_CUT, NULL);
    return xc_on_link_end(c);
  }
  begin_anew(c);
  xc_note_token(c);
  note_login(c, xm_link_is_bound_inside(c->link) || (xm_link_is_sasl2(c->link) && outcome == XM_NEGO_RESUMED));
  if (!c->retry.begun) c->news |= NEWS_BOUND;
  xm_retry_opened(&c->retry, xm_loop_now(c->loop));
  c->state = c->closing ? XM_CONN_CLOSING : XM_CONN_READY;
  c->objected = 0;
  c->avoid = (xm_link_peer){.port = 0};
  c->again = c->sent_there = false;
  *c->place.host = '\0';
  xm_err_clear(&c->trouble);
  xc_put_off_keepalive(c);
  xc_watch_route(c);
  xm_conn_flush(c);
  return XM_CONN_AGAIN;
}
