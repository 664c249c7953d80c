#include "retry.h"

#include <string.h>

void xm_retry_opened(xm_retry *r, uint64_t now) {
  r->begun = true;
  r->ghost = false;
  r->ready_at = now;
}

static unsigned lasting(const xm_retry_policy *p) {
  return p->max < XM_RETRY_LASTS ? XM_RETRY_LASTS : p->max > XM_RETRY_LASTED ? XM_RETRY_LASTED : p->max;
}

/* A session is over: was it stable? A stable one resets all counters. A login alone doesn't, since a server may log us
 * in and end the session again and again. */
static bool note_session(xm_retry *r, const xm_retry_policy *p, const xm_retry_end *e) {
  bool alike = e->why->layer == XM_LAYER_STREAM && strcmp(r->condition, e->why->condition) == 0;
  bool lasted = e->now - r->ready_at >= lasting(p);
  if (lasted) {
    r->attempts = r->hops = 0;
    alike = false;
  }
  r->same = alike ? r->same + 1 : 1;
  strcpy(r->condition, e->why->condition);
  r->ghost = e->why->layer == XM_LAYER_TCP || e->why->layer == XM_LAYER_TIMEOUT || e->why->layer == XM_LAYER_WEBSOCKET;
  return lasted;
}

static bool is_conflict(const xm_err *e) { return strcmp(e->condition, "conflict") == 0; }

/* May it be different the next time? For the first connection only errors that say so themselves count, since somebody
 * is there to read what went wrong. Later the machine may be behind a captive portal, or the certificate may be renewed
 * tomorrow. */
static bool is_passing(const xm_retry *r, const xm_retry_end *e) {
  if (e->why->retry || e->blamed) return true;
  if (is_conflict(e->why)) return e->stage != XM_RETRY_READY && r->ghost; /* a conflict with our own old session (RFC
                                                                             6120 4.9.3.3) */
  switch (e->why->layer) {
    case XM_LAYER_DNS:
    case XM_LAYER_TLS: return true;
    case XM_LAYER_PROXY: return strcmp(e->why->condition, "proxy-authentication-required") != 0;
    case XM_LAYER_WEBSOCKET:
    case XM_LAYER_STREAM: return !e->said || e->stage == XM_RETRY_ANYBODY;
    default: return false;
  }
}

static bool may_connect_again(const xm_retry *r, const xm_retry_policy *p, const xm_retry_end *e) {
  if (!r->begun || !is_passing(r, e)) return false;
  if (p->attempts && r->attempts >= p->attempts) return false;
  if (e->stopping && !e->undelivered) return false;
  return p->any || (p->resume && e->resumable);
}

/* Full jitter, so that a thousand clients of a server that has restarted don't come back all at once. */
static unsigned backoff(const xm_retry *r, const xm_retry_policy *p, const xm_retry_end *e) {
  uint64_t most = (uint64_t)p->min << (r->attempts < 20 ? r->attempts : 20);
  if (most > p->max) most = p->max;
  if (e->longest) return (unsigned)most;
  return most ? (unsigned)(e->dice % (most + 1)) : 0;
}

xm_retry_answer xm_retry_after(xm_retry *r, const xm_retry_policy *p, const xm_retry_end *e) {
  xm_retry_answer a = {.verdict = XM_RETRY_END};
  bool lasted = e->stage == XM_RETRY_READY && note_session(r, p, e);
  if (e->objected && !e->stopping) {
    a.verdict = XM_RETRY_FALL_BACK;
  } else if (e->elsewhere && !e->stopping && r->hops < XM_RETRY_HOPS) {
    a.verdict = XM_RETRY_FOLLOW;
    r->hops++;
  } else if (e->targets && !(e->stopping && !e->undelivered)) {
    a.verdict = XM_RETRY_NEXT;
  } else if (may_connect_again(r, p, e)) {
    a.verdict = XM_RETRY_WAIT;
    a.stuck = e->stage == XM_RETRY_READY && r->same >= XM_RETRY_SAME;
    if (a.stuck) a.ms = p->max;
    else if (!(p->at_once && lasted && !is_conflict(e->why))) a.ms = backoff(r, p, e);
    r->attempts++;
  }
  return a;
}
