/* conn_probe: messages that a component sends to itself, through the server. One that comes back proves that the route
 * works in both directions, which white space doesn't.
 *
 *   <message type='headline' from='probe-0123456789abcdef@echo.example.net' to='probe-0123456789abcdef@echo.example.net'
 *            id='KEY.NUMBER'><probe xmlns='urn:x-lua-xmpp:probe' hops='0'/></message>
 *
 * Our own probes are known by the key, which nobody can guess, and by the address, which servers let nobody else send
 * from. Several connections may have the domain, and the server chooses one of them, at random or by address
 * (ejabberd): a connection that gets another's probe sends it on, to another address of the domain; the address by
 * which a probe comes home at last is used for the next one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn_own.h"
#include "out.h"
#include "spelled.h"

#define PROBE_NS "urn:x-lua-xmpp:probe"

enum {
  MOST_HOPS = 32,   /* how often one probe is sent on, from one connection to another */
  MOST_MISSING = 3, /* in a row: then the link is dead */
  MOST_ID = 64      /* bytes of the id of another connection's probe that is sent on */
};

/* Sending. */

static int new_name(xc_probe *p) {
  unsigned char dice[(sizeof p->name - 1) / 2];
  size_t i;
  if (xm_rnd_bytes(dice, sizeof dice) < 0) return XM_EFAIL;
  for (i = 0; i < sizeof dice; i++) snprintf(p->name + 2 * i, 3, "%02x", dice[i]);
  return XM_OK;
}

static int write_probe(xm_conn *c, xm_out *o, const char *id, unsigned hops) {
  char address[XM_JID_MAX + 1], count[12];
  snprintf(address, sizeof address, "probe-%s@%.1023s", c->probe.name, c->jid->str);
  snprintf(count, sizeof count, "%u", hops);
  if (xm_out_start(o, "message", "type", "headline", "from", address, "to", address, "id", id, NULL) < 0 ||
      xm_out_start(o, "probe", "xmlns", PROBE_NS, "hops", count, NULL) < 0)
    return XM_ENOMEM;
  return xm_out_end(o, "probe") == XM_OK && xm_out_end(o, "message") == XM_OK ? XM_OK : XM_ENOMEM;
}

static int commit(xm_conn *c, const char *id, unsigned hops) {
  xm_out o;
  if (!*c->probe.name && new_name(&c->probe) < 0) return XM_EFAIL;
  o = xm_out_begin(xm_sm_out(c->sm));
  if (write_probe(c, &o, id, hops) < 0) {
    xm_out_abandon(&o);
    return XM_ENOMEM;
  }
  if (xm_sm_commit(c->sm, o.mark, xm_loop_ticks(c->loop), XM_SM_OURS, NULL) < 0) return XM_ENOMEM;
  xm_conn_flush(c);
  return XM_OK;
}

static int send_own(xm_conn *c) {
  char id[sizeof c->probe.key + 24];
  if (!*c->probe.key && xm_rnd_id(c->probe.key) < 0) return XM_EFAIL;
  snprintf(id, sizeof id, "%s.%llu", c->probe.key, (unsigned long long)++c->probe.sent);
  return commit(c, id, 0);
}

/* Probes aren't the program's stanzas, so they may not use up its queue: half of it has to be free. */
static bool has_room(const xm_conn *c) {
  return xm_sm_bytes(c->sm) <= c->o.max_queue / 2;
}

int xm_conn_probe(xm_conn *c, uint64_t *number, xm_err *e) {
  int rc;
  if (c->state != XM_CONN_READY || !xc_is_up(c))
    return xm_err_set(e, XM_LAYER_CLOSED, "not-connected", c->state != XM_CONN_CLOSED, "the connection is %s",
                      xm_conn_state_name(c));
  if (!has_room(c))
    return xm_err_set(e, XM_LAYER_LIMIT, "max-queue", true,
                      "too much waits to be sent (over half of max_queue, which is %zu): a probe would only measure that",
                      c->o.max_queue);
  rc = send_own(c);
  *number = c->probe.sent;
  return rc == XM_OK ? XM_OK : xm_err_nomem(e);
}

/* Coming back. */

static bool is_of_the_domain(const xm_conn *c, const char *address) {
  const char *at = strchr(address, '@');
  xm_jid room[2];
  xm_spelled domain = xm_spelled_of(c->jid->str, strlen(c->jid->str), room);
  return xm_spelled_is(&domain, at ? at + 1 : address);
}

/* Is it from the address that it is to, at our domain? Only a connection that has the domain can send that. */
static bool is_to_oneself(const xm_conn *c, const xm_tape *t) {
  const char *from = xm_tape_get(t, 0, "from", NULL), *to = xm_tape_get(t, 0, "to", NULL);
  return from && to && strcmp(from, to) == 0 && is_of_the_domain(c, from);
}

/* The number in the id of a probe of ours; 0: it isn't one. */
static uint64_t number_of(const xm_conn *c, const char *id) {
  size_t n = strlen(c->probe.key);
  unsigned long long number;
  char *end;
  if (!n || !id || strncmp(id, c->probe.key, n) != 0 || id[n] != '.') return 0;
  number = strtoull(id + n + 1, &end, 10);
  return *end || number > c->probe.sent ? 0 : number;
}

/* Does it begin with a probe? Every stanza is asked that, so strings are compared only where they may match. */
static bool begins_with_probe(const xm_tape *t) {
  uint32_t first = 1 + t->recs[0].attrs;
  const xm_tape_rec *r = &t->recs[first];
  return r->kind == XM_TAPE_OPEN && r->new_ns && r->text_len == sizeof PROBE_NS - 1 && xm_tape_is(t, first, PROBE_NS, "probe");
}

bool xc_is_probe(const xm_conn *c, const xm_tape *t) {
  bool may_be = begins_with_probe(t) || (*c->probe.key && number_of(c, xm_tape_get(t, 0, "id", NULL)));
  return may_be && strcmp(xm_tape_name(t, 0), "message") == 0 && is_to_oneself(c, t);
}

/* The address that it was sent to leads here, so the next one is sent to that. */
static void keep_name(xc_probe *p, const char *address) {
  static const char before[] = "probe-";
  size_t n = sizeof p->name - 1;
  if (strncmp(address, before, sizeof before - 1) != 0) return;
  address += sizeof before - 1;
  if (strspn(address, "0123456789abcdef") != n || address[n] != '@') return;
  memcpy(p->name, address, n);
}

/* To another address: a server that chooses by address then chooses anew, as one that chooses at random does. */
static void send_on(xm_conn *c, const xm_tape *t) {
  const char *id = xm_tape_get(t, 0, "id", NULL), *text = xm_tape_get(t, 1 + t->recs[0].attrs, "hops", NULL);
  long hops = text ? strtol(text, NULL, 10) : -1;
  char kept[sizeof c->probe.name];
  if (!id || strlen(id) > MOST_ID || hops < 0 || hops >= MOST_HOPS || !has_room(c)) return;
  memcpy(kept, c->probe.name, sizeof kept);
  *c->probe.name = '\0';
  commit(c, id, (unsigned)hops + 1);
  memcpy(c->probe.name, kept, sizeof kept);
}

/* A probe that comes back as an error was not routed. */
xm_conn_event xc_on_probe(xm_conn *c, const xm_tape *t) {
  const char *type = xm_tape_get(t, 0, "type", NULL);
  uint64_t number = number_of(c, xm_tape_get(t, 0, "id", NULL));
  if (type && strcmp(type, "error") == 0) return XM_CONN_AGAIN;
  xc_note_routed(c);
  if (!number) {
    send_on(c, t);
    return XM_CONN_AGAIN;
  }
  keep_name(&c->probe, xm_tape_get(t, 0, "to", NULL));
  c->probe.back = number;
  return XM_CONN_PROBED;
}

uint64_t xm_conn_probed(const xm_conn *c) {
  return c->probe.back;
}

/* As a sign of life. */

static void on_due(void *arg) {
  xm_conn *c = arg;
  c->probe.due = true;
  xc_wake(c);
}

/* `ms`: how long nothing may come; after a probe was sent, how long it may take to come back. */
static void wait_for(xm_conn *c, uint64_t ms) {
  xc_arm(c, &c->route_timer, (unsigned)ms, on_due);
}

void xc_watch_route(xm_conn *c) {
  c->probe.awaited = c->probe.due = false;
  c->probe.missing = 0;
  c->probe.routed_at = xm_loop_now(c->loop);
  if (c->o.keepalive_probe && c->o.keepalive) wait_for(c, c->o.keepalive);
}

void xc_note_routed(xm_conn *c) {
  if (!c->o.keepalive_probe) return;
  c->probe.routed_at = xm_loop_now(c->loop);
  if (!c->probe.awaited) return;
  c->probe.awaited = false;
  c->probe.missing = 0;
  wait_for(c, c->o.keepalive);
}

void xc_doubt_route(xm_conn *c) {
  if (!c->o.keepalive_probe || c->probe.awaited) return;
  c->probe.routed_at = 0;
  c->probe.due = true;
}

static xm_conn_event lose_route(xm_conn *c) {
  xm_err_set(xm_link_why(c->link), XM_LAYER_TIMEOUT, "timeout", true,
             "%d messages to ourselves have not come back, nor has anything else come, for %u s: the server routes nothing to us",
             MOST_MISSING, (MOST_MISSING * c->o.patience) / 1000);
  xc_end_link(c, XM_LINK_CUT, NULL);
  return xc_on_link_end(c);
}

/* All that has come has been read, and there was no stanza among it. */
xm_conn_event xc_keep_route(xm_conn *c) {
  uint64_t quiet = xm_loop_now(c->loop) - c->probe.routed_at;
  c->probe.due = false;
  if (c->state != XM_CONN_READY) return XM_CONN_AGAIN;
  if (!c->probe.awaited && quiet < c->o.keepalive) {
    wait_for(c, c->o.keepalive - quiet);
  } else if (c->probe.awaited && c->paused) {
    wait_for(c, c->o.patience); /* it may be among what wasn't read */
  } else if (c->probe.awaited && ++c->probe.missing == MOST_MISSING) {
    return lose_route(c);
  } else {
    if (c->probe.awaited) *c->probe.name = '\0'; /* another address may lead here */
    c->probe.awaited = true;
    send_own(c);
    wait_for(c, c->o.patience);
  }
  return XM_CONN_AGAIN;
}
