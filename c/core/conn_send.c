/* conn_send: sending, from the log to the wire; keepalive, and checking whether anybody is there. */
#include <stdio.h>
#include <string.h>

#include "conn_own.h"
#include "out.h"

/* Sending. */

void xc_arm(xm_conn *c, xm_timer *t, unsigned ms, void (*fn)(void *)) {
  if (xm_timer_start(c->loop, t, ms, fn, c) == XM_OK) return;
  xc_end_link(c, XM_LINK_CUT, NULL);
  xc_wake(c);
}

static void on_idle(void *arg) {
  xm_conn *c = arg;
  c->must_keep = true;
  xc_wake(c);
}

/* Whatever is sent puts the keepalive off. */
void xc_put_off_keepalive(xm_conn *c) {
  if (c->o.keepalive) xc_arm(c, &c->idle, c->o.keepalive, on_idle);
}

static void on_ask(void *arg) {
  xm_conn *c = arg;
  if (xm_sm_unasked(c->sm)) xm_sm_request(c->sm); /* somebody may have asked meanwhile */
  xc_wake(c);
}

static void on_hold(void *arg) {
  xm_conn *c = arg;
  xm_sm_release(c->sm);
  xc_wake(c);
}

static void on_impatient(void *arg) {
  xm_conn *c = arg;
  c->impatient = true;
  xc_wake(c);
}

static bool is_expecting(const xm_conn *c) {
  return xm_sm_awaited(c->sm) || c->put_off || c->stuck || xm_sm_state_of(c->sm) == XM_SM_ENABLING || c->pinging;
}

bool xm_conn_expects(const xm_conn *c) {
  return is_expecting(c) || xm_sm_stanzas(c->sm) > 0;
}

bool xm_conn_is_held_up(const xm_conn *c) {
  return xm_sm_stanzas(c->sm) >= XM_SM_IN_FLIGHT || xm_sm_bytes(c->sm) > c->o.max_queue / 2;
}

unsigned xc_patience(const xm_conn *c) {
  return c->unproven && c->o.patience > PROVE ? PROVE : c->o.patience;
}

/* Sees to it that what was sent will be asked about, and that no answer is awaited for ever. */
void xc_watch(xm_conn *c) {
  if (xm_sm_unasked(c->sm) && !xm_timer_armed(&c->ask)) xc_arm(c, &c->ask, ASK_AFTER, on_ask);
  if (!xm_sm_is_held(c->sm)) xm_timer_stop(c->loop, &c->hold);
  else if (!xm_timer_armed(&c->hold)) xc_arm(c, &c->hold, HOLD, on_hold);
  if (!is_expecting(c)) {
    xm_timer_stop(c->loop, &c->patience);
  } else if (!xm_timer_armed(&c->patience) && !c->impatient) {
    xc_arm(c, &c->patience, xc_patience(c), on_impatient);
  }
}

/* The server has answered something: patience begins anew. */
void xc_hear_answer(xm_conn *c) {
  xm_timer_stop(c->loop, &c->patience);
  c->impatient = false;
  xc_watch(c);
}

void xc_count(xm_conn *c) {
  xm_sm_taken(c->sm, xm_link_taken(c->link));
}

bool xc_is_up(const xm_conn *c) {
  return (c->state == XM_CONN_READY || c->state == XM_CONN_CLOSING) && xm_link_state_of(c->link) == XM_LINK_OPEN;
}

/* Puts something on the wire between two stanzas that isn't a stanza: those go through sm. 0 or XM_ENOMEM. */
static int say(xm_conn *c, const char *text) {
  if (xm_buf_puts(xm_link_wire(c->link), text) < 0) return XM_ENOMEM;
  if (text[1]) xm_wirelog_text(&c->log, '>', text, strlen(text));
  return XM_OK;
}

static bool can_speak(const xm_conn *c) {
  return xc_is_up(c) && !c->said_bye && xm_sm_is_between(c->sm);
}

/* Client state (XEP-0352 4.2). Not while stanzas are held back, either: a parser that has half a stanza of the last
 * link in it would swallow this. */
static void say_csi(xm_conn *c) {
  if (c->csi && can_speak(c) && !xm_sm_is_held(c->sm) && say(c, c->csi) == XM_OK) c->csi = NULL;
}

void xm_conn_say_active(xm_conn *c, bool active) {
  if (!xc_is_up(c)) return;
  c->csi = active ? "<active xmlns='urn:xmpp:csi:0'/>" : "<inactive xmlns='urn:xmpp:csi:0'/>";
  xm_conn_flush(c);
}

/* How many bytes the wire may have. A message that can't leave before it is complete gets more. */
static size_t room(const xm_conn *c) {
  size_t half = xm_link_is_half(c->link) ? xm_buf_len(xm_link_wire(c->link)) : 0;
  return c->o.fed ? SIZE_MAX : half + WIRE;
}

/* From the log to the wire. */
static int pump(xm_conn *c) {
  xm_buf *w = xm_link_wire(c->link);
  size_t mark;
  int rc;
  xc_count(c);
  say_csi(c);
  mark = xm_buf_mark(w);
  rc = c->said_bye ? XM_OK : xm_sm_pump(c->sm, w, room(c));
  if (xm_buf_len(w) > mark) xm_wirelog_text(&c->log, '>', xm_buf_at(w) + mark, xm_buf_len(w) - mark);
  say_csi(c); /* before pumping, the wire may have ended within a stanza */
  return rc;
}

/* false: nothing more could leave now. */
static bool move(xm_conn *c) {
  size_t before = xm_buf_len(xm_link_wire(c->link));
  bool more;
  ssize_t n;
  if (pump(c) < 0) {
    xc_end_link(c, XM_LINK_CUT, NULL);
    xc_wake(c);
  }
  more = xm_buf_len(xm_link_wire(c->link)) > before;
  if (c->o.fed || xm_link_backlog(c->link) == 0) return false;
  n = xm_link_flush(c->link);
  if (n > 0) {
    c->stuck = false;
    xc_put_off_keepalive(c);
  }
  return (n > 0 || (more && xm_link_is_half(c->link))) && xc_is_up(c);
}

void xm_conn_flush(xm_conn *c) {
  if (!xc_is_up(c)) return;
  while (move(c)) {}
  xc_count(c);
  if (xm_link_state_of(c->link) != XM_LINK_CLOSED) xc_watch(c);
}

void xc_say_bye(xm_conn *c) {
  if (!can_speak(c)) return;
  xm_sm_acknowledge(c->sm);
  if (pump(c) == XM_OK && xm_sm_is_between(c->sm) && say(c, "</stream:stream>") == XM_OK) c->said_bye = true;
  xm_conn_flush(c);
}

/* While closing: ends our stream once there is nothing left to wait for. */
void xc_try_bye(xm_conn *c) {
  if (c->said_bye) return;
  xm_conn_flush(c);
  if (xc_is_up(c) && xm_sm_is_done(c->sm)) xc_say_bye(c);
}

/* Signs of life. */

/* XEP-0199. Its answer isn't given to the program. */
static void ping(xm_conn *c) {
  xm_out o = xm_out_begin(xm_sm_out(c->sm));
  char id[XM_RND_ID + 1], domain[XM_JID_MAX + 1];
  int rc;
  if (c->pinging || xm_rnd_id(id) < 0) return;
  snprintf(domain, sizeof domain, "%.*s", (int)c->jid->domain_len, xm_jid_domain(c->jid));
  rc = xm_out_start(&o, "iq", "type", "get", "id", id, "to", domain, NULL);
  if (rc == XM_OK) rc = xm_out_start(&o, "ping", "xmlns", "urn:xmpp:ping", NULL);
  if (rc == XM_OK) rc = xm_out_end(&o, "ping");
  if (rc == XM_OK) rc = xm_out_end(&o, "iq");
  if (rc < 0) return xm_out_abandon(&o);
  if (xm_sm_commit(c->sm, o.mark, xm_loop_ticks(c->loop), XM_SM_OURS, NULL) < 0) return;
  strcpy(c->ping, id);
  c->pinging = true;
}

/* Sends what fits: an <r/> where there is stream management; otherwise a space, which keeps the connection open (RFC
 * 6120 4.6.1), or a ping when nothing has come for long or an answer is wanted; a component has nobody to ping. Where
 * the server doesn't read what is on the wire, nothing can be asked behind that: then it is expected to read. */
void xc_keep_alive(xm_conn *c) {
  bool ask = c->must_check;
  c->must_keep = c->must_check = false;
  xm_sm_acquit(c->sm);
  if (c->state != XM_CONN_READY) return;
  ask = ask || xm_loop_now(c->loop) - xm_link_heard_at(c->link) >= c->o.patience;
  xc_put_off_keepalive(c);
  if (xm_sm_state_of(c->sm) == XM_SM_ON) {
    if (!xm_sm_awaited(c->sm)) xm_sm_request(c->sm);
  } else if (can_speak(c) && xm_link_backlog(c->link) == 0) {
    if (ask && !c->o.component) ping(c);
    else say(c, " ");
  }
  xm_conn_flush(c);
  if (c->o.fed || !xc_is_up(c) || xm_link_backlog(c->link) == 0) return;
  c->stuck = true;
  xc_watch(c);
}

void xm_conn_check(xm_conn *c) {
  c->must_check = true;
  xc_doubt_route(c);
  xc_wake(c);
}
