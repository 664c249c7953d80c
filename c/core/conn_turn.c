/* conn_turn: what comes in: elements, and xm_conn_next. */
#include <string.h>

#include "conn_own.h"
#include "nego.h"
#include "ns.h"

/* Elements. */

static xm_conn_event on_stream_error(xm_conn *c, const xm_tape *t) {
  xm_nego_stream_error(t, xm_link_why(c->link));
  xc_say_bye(c);
  xc_end_link(c, XM_LINK_PART, NULL);
  return xc_on_link_end(c);
}

static bool is_pong(const xm_conn *c, const xm_tape *t) {
  const char *id = *c->ping ? xm_tape_get(t, 0, "id", NULL) : NULL;
  const char *type = id && strcmp(id, c->ping) == 0 ? xm_tape_get(t, 0, "type", NULL) : NULL;
  return type && xm_tape_is(t, 0, XM_NS_CLIENT, "iq") && (strcmp(type, "result") == 0 || strcmp(type, "error") == 0);
}

static void count_handled(xm_conn *c) {
  if (!c->behind) xm_sm_handled(c->sm);
}

static xm_conn_event on_pong(xm_conn *c) {
  *c->ping = '\0';
  c->pinging = false;
  xc_hear_answer(c);
  return XM_CONN_AGAIN;
}

/* An <a/> that acknowledges nothing new proves nothing: Prosody sends one before it ends a stream with an error. And
 * while something waits to be acknowledged, it is no answer: a server that no longer counts would be asked for ever. */
static void weigh_answer(xm_conn *c, bool is_ack, bool brought) {
  if (brought || !xm_sm_stanzas(c->sm)) {
    c->barren = 0;
    c->unproven = false;
  }
  c->put_off = is_ack && !brought && xm_sm_written(c->sm) > 0;
  if (!c->put_off) xc_hear_answer(c);
}

static xm_conn_event on_sm(xm_conn *c, const xm_tape *t) {
  const char *name = xm_tape_name(t, 0);
  uint32_t before = xm_sm_acked(c->sm);
  if (xm_sm_read(c->sm, t, xm_link_why(c->link)) < 0) return xc_refuse_h(c);
  if (strcmp(name, "r") != 0) weigh_answer(c, strcmp(name, "a") == 0, xm_sm_acked(c->sm) != before);
  xm_conn_flush(c);
  return XM_CONN_AGAIN;
}

/* `skipped`: it exceeded a bound, and there is only its start tag. As far as the server knows, it is handled as
 * well. */
static xm_conn_event on_stanza(xm_conn *c, const xm_tape *t, bool skipped) {
  const char *name = xm_tape_name(t, 0);
  if (c->o.component && xc_is_probe(c, t)) return xc_on_probe(c, t);
  if (c->o.component) xc_note_routed(c);
  if (is_pong(c, t)) {
    count_handled(c);
    return on_pong(c);
  }
  if (strcmp(name, "message") == 0 || strcmp(name, "presence") == 0 || strcmp(name, "iq") == 0) {
    c->handling = !xm_link_is_early(c->link);
    return skipped ? XM_CONN_SKIPPED : XM_CONN_STANZA;
  }
  xm_err_set(xm_link_why(c->link), XM_LAYER_STREAM, "unsupported-stanza-type", false,
             "the server sent <%s/>, which is no stanza", name);
  return xc_refuse(c, NULL);
}

/* Content of another kind of stream (RFC 6120 4.8.2): a client that accepted it could be told anything. */
static bool is_foreign(const xm_conn *c, const xm_tape *t) {
  const char *ns = xm_tape_ns(t, 0);
  return strcmp(ns, xm_conn_ns(c)) != 0 && (strcmp(ns, XM_NS_CLIENT) == 0 || strcmp(ns, XM_NS_SERVER) == 0 ||
                                            strcmp(ns, XM_NS_COMPONENT) == 0);
}

/* Features come after a session that began inside SASL2's <success/>; Prosody sends them after a resumption, too. */
static xm_conn_event on_features(xm_conn *c, const xm_tape *t) {
  c->awaits_features = false;
  if (xm_nego_read_offers(t, &c->offers) < 0) xm_buf_free(&c->offers);
  return XM_CONN_AGAIN;
}

static xm_conn_event on_element(xm_conn *c, bool skipped) {
  const xm_tape *t = xm_link_tape(c->link);
  if (!t->recs[0].new_ns) return on_stanza(c, t, skipped); /* in the stream's own namespace */
  if (xm_nego_is_stream_error(t)) return on_stream_error(c, t);
  if (xm_tape_is(t, 0, XM_SM_NS, NULL) && !skipped) return on_sm(c, t);
  if (c->awaits_features && xm_tape_is(t, 0, XM_NS_STREAM, "features")) return on_features(c, t);
  if (!is_foreign(c, t)) return XM_CONN_AGAIN; /* a nonza that nobody negotiated: ignored */
  xm_err_set(xm_link_why(c->link), XM_LAYER_STREAM, "invalid-namespace", false,
             "the server sent <%s xmlns='%s'/> on a stream of %s", xm_tape_name(t, 0), xm_tape_ns(t, 0), xm_conn_ns(c));
  return xc_refuse(c, NULL);
}

/* The peer has ended its stream: ours ends too. */
static xm_conn_event on_close(xm_conn *c) {
  if (!c->said_bye)
    xm_err_set(xm_link_why(c->link), XM_LAYER_CLOSED, "closed-by-server", true, "the server closed the stream");
  else if (c->o.fed)
    xm_link_take(c->link, &c->sent); /* a server that answers our end has read it */
  xc_count(c);
  xc_say_bye(c);
  xc_end_link(c, XM_LINK_PART, NULL);
  return xc_on_link_end(c);
}

/* All that has come has been read, and there is still no answer. */
static xm_conn_event lose_patience(xm_conn *c) {
  c->impatient = false;
  if (c->paused) {
    xc_watch(c); /* it may be among what wasn't read */
  } else if (xm_sm_state_of(c->sm) == XM_SM_ENABLING) {
    xm_sm_give_up(c->sm);
    xm_conn_flush(c);
  } else {
    /* A server that said <resumed/> and doesn't answer what follows isn't just slow. Nothing was sent since, so its h
     * was exact. */
    c->barren = xm_sm_is_held(c->sm) ? BARREN : c->barren + 1;
    xm_err_set(xm_link_why(c->link), XM_LAYER_TIMEOUT, "timeout", true,
               c->stuck ? "the server has read nothing of what it is sent for at least %u s: the link is dead"
                        : "the server was asked for a sign of life and gave none in %u s: the link is dead",
               xc_patience(c) / 1000);
    xc_end_link(c, XM_LINK_CUT, NULL);
    return xc_on_link_end(c);
  }
  return XM_CONN_AGAIN;
}

/* Resting. */

static void on_rest(void *arg) {
  xm_conn *c = arg;
  c->must_rest = true;
  xc_wake(c);
}

static void rest(xm_conn *c) {
  c->must_rest = false;
  xm_sm_rest(c->sm);
  xm_link_rest(c->link);
}

/* When a burst is over, its memory is given back; not at once, since the next one may follow. */
static void see_to_rest(xm_conn *c) {
  if (c->must_rest) return rest(c);
  if (c->state != XM_CONN_READY || xm_timer_armed(&c->rest)) return;
  if (xm_sm_spare(c->sm) + xm_link_spare(c->link) <= KEPT) return;
  xm_timer_start(c->loop, &c->rest, REST, on_rest, c);
}

/* The link has nothing more for now. */
static xm_conn_event on_quiet(xm_conn *c) {
  see_to_rest(c);
  if (c->impatient && xc_is_up(c)) return lose_patience(c);
  if (c->probe.due && xc_is_up(c)) return xc_keep_route(c);
  if (c->closing && xc_is_up(c)) xc_try_bye(c);
  return c->link && xm_link_state_of(c->link) == XM_LINK_CLOSED ? xc_on_link_end(c) : XM_CONN_NOTHING;
}

static xm_conn_event on_overdue(xm_conn *c) {
  const char *what = c->said_bye ? "end the stream" : "acknowledge everything";
  xm_err_set(&c->why, XM_LAYER_TIMEOUT, "timeout", true, "the server did not %s in time", what);
  if (xc_is_up(c)) xc_say_bye(c);
  if (c->link) xc_end_link(c, XM_LINK_PART, NULL);
  xc_end_with_loss(c);
  return XM_CONN_AGAIN;
}

/* Events. */

static int advance(xm_conn *c) {
  if (c->overdue) return on_overdue(c);
  if (c->state == XM_CONN_WAITING) return xc_connect_again(c);
  if (c->must_keep || c->must_check) xc_keep_alive(c);
  switch (xm_link_next(c->link)) {
    case XM_LINK_OPENED: return xc_on_opened(c);
    case XM_LINK_ELEMENT: return on_element(c, false);
    case XM_LINK_SKIPPED: return on_element(c, true);
    case XM_LINK_CLOSE: return on_close(c);
    case XM_LINK_BROKEN: return xc_refuse(c, NULL);
    case XM_LINK_ENDED: return xc_on_link_end(c);
    case XM_LINK_NOTHING: return on_quiet(c);
    default: return ENOUGH;
  }
}

/* Reports what has happened since the last call, in order. AGAIN: nothing has. */
static xm_conn_event tell(xm_conn *c) {
  static const xm_conn_event events[] = {XM_CONN_REBOUND, XM_CONN_BOUND, XM_CONN_TOKEN};
  static const unsigned bits[] = {NEWS_REBOUND, NEWS_BOUND, NEWS_TOKEN};
  const char *name = xm_conn_state_name(c);
  int i;
  if (!c->told || strcmp(name, c->told) != 0) {
    c->told = name;
    return XM_CONN_STATE;
  }
  for (i = 0; i < 3; i++) {
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
  if (c->handling) count_handled(c);
  c->handling = false;
}

const xm_tape *xm_conn_early(const xm_conn *c, bool at_hand, unsigned i) {
  if (!c->link) return NULL;
  if (!at_hand || !xm_link_is_early(c->link)) return xm_link_early(c->link, i);
  return i == 0 ? xm_link_tape(c->link) : xm_link_early(c->link, i - 1);
}

void xm_conn_pass_over(xm_conn *c) {
  if (!c->handling) return;
  c->handling = false;
  c->behind = true;
  c->left.stanzas++;
  c->left.bytes += xm_link_size(c->link);
}

xm_conn_event xm_conn_next(xm_conn *c) {
  xm_conn_event told = XM_CONN_AGAIN;
  int ev = XM_CONN_AGAIN, events;
  xm_conn_handled(c);
  if (c->needs_password) xc_end_as_it_was(c); /* nobody gave it */
  if (c->state == XM_CONN_CLOSED && c->link) xc_forget_link(c);
  for (events = 0; events < EVENTS_A_TURN; events++) {
    told = tell(c);
    if (told != XM_CONN_AGAIN || ev != XM_CONN_AGAIN) break;
    ev = advance(c);
    if (ev == XM_CONN_STANZA || ev == XM_CONN_SKIPPED || ev == XM_CONN_PASSWORD || ev == XM_CONN_PROBED) return ev;
  }
  if (told != XM_CONN_AGAIN) return told;
  return ev == XM_CONN_NOTHING ? XM_CONN_NOTHING : XM_CONN_AGAIN;
}
