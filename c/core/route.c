#include "route.h"

#include <stdlib.h>
#include <string.h>

#include "rnd.h"

/* What is found by an id and addresses. Its strings lie behind it in the same block of memory. */
typedef struct node {
  xm_node in;
  size_t len;
  const char *id;
} node;

/* What the address that a request went to is, compared to our own. */
typedef enum asked { ASKED_NONE, ASKED_BARE, ASKED_FULL, ASKED_DOMAIN, ASKED_OTHER } asked;

struct xm_pending {
  node node;
  void *owner;
  asked asked;
  const char *name;     /* the element's */
  xm_spelled to;        /* absent: nobody */
  xm_spelled sent_from; /* absent: nobody */
};

/* Questions with equal from, to and id form a ring, oldest first; the oldest of them is in the table. */
struct xm_question {
  node node;
  xm_question *older, *newer; /* round the ring */
  const char *from, *to;
  unsigned held;
  bool answered; /* then it is no longer in the ring or table */
};

struct xm_route {
  const char *ns;
  char *self; /* our full JID; NULL until it is known */
  size_t self_len, bare_len, domain_at, domain_len;
  xm_table pending, questions;
  uint64_t seed;
  size_t from_others; /* how many pending requests have a sent_from */
};

/* The first node with this hash and id, or the next one after `from`. */
static node *find(const xm_table *t, const node *from, uint64_t hash, const char *id, size_t len) {
  node *n = (node *)xm_table_find(t, (const xm_node *)from, hash);
  while (n && !(n->len == len && memcmp(n->id, id, len) == 0)) n = (node *)xm_table_find(t, &n->in, hash);
  return n;
}

static char *copy(const char *s, size_t n) {
  char *c = malloc(n + 1);
  if (!c) return NULL;
  memcpy(c, s, n);
  c[n] = '\0';
  return c;
}

static uint64_t mix_address(uint64_t h, const char *s) {
  xm_jid room[2];
  xm_spelled a = xm_spelled_of(s, s ? strlen(s) : 0, room);
  return xm_spelled_mix(h, &a);
}

/* The hash of an id and two addresses; NULL: leave that address out. */
static uint64_t hash_of(const xm_route *r, const char *id, size_t n, const char *own, const char *asker) {
  uint64_t h = xm_mix(r->seed, id, n);
  h = mix_address(h, own);
  h = mix_address(h, asker);
  return xm_mixed(h);
}

static bool is_full(const xm_route *r, const char *s) {
  return r->self && xm_spelled_equals(r->self, r->self_len, s);
}
static bool is_bare(const xm_route *r, const char *s) {
  return r->self && xm_spelled_equals(r->self, r->bare_len, s);
}
static bool is_domain(const xm_route *r, const char *s) {
  return r->self && xm_spelled_equals(r->self + r->domain_at, r->domain_len, s);
}

xm_route *xm_route_new(const char *ns) {
  xm_route *r = calloc(1, sizeof *r);
  if (!r) return NULL;
  r->ns = ns;
  if (xm_rnd_bytes(&r->seed, sizeof r->seed) < 0) r->seed = (uintptr_t)r;
  return r;
}

int xm_route_set_self(xm_route *r, const xm_jid *bound) {
  const char *reason;
  xm_jid prepared; /* the server may have spelt it differently */
  int rc = xm_jid_parse(&prepared, bound->str, xm_jid_len(bound), &reason);
  const xm_jid *self = rc == XM_OK ? &prepared : bound;
  char *s = rc == XM_ENOMEM ? NULL : copy(self->str, xm_jid_len(self));
  if (!s) return XM_ENOMEM;
  free(r->self);
  r->self = s;
  r->self_len = xm_jid_len(self);
  r->bare_len = xm_jid_bare_len(self);
  r->domain_at = (size_t)(xm_jid_domain(self) - self->str);
  r->domain_len = self->domain_len;
  return XM_OK;
}

/* Responses. */

static asked classify_as(const xm_route *r, const char *to) {
  if (is_bare(r, to)) return ASKED_BARE; /* for a component, bare JID, full JID and domain are the same: an absent
                                            `from` is right in each case */
  if (is_full(r, to)) return ASKED_FULL;
  return is_domain(r, to) ? ASKED_DOMAIN : ASKED_OTHER;
}

static asked classify(const xm_route *r, const xm_spelled *to) {
  asked a;
  if (!to->s) return ASKED_NONE;
  a = classify_as(r, to->s);
  return a == ASKED_OTHER && to->written ? classify_as(r, to->written) : a;
}

/* NULL: no memory. */
static xm_pending *new_pending(const xm_route_request *q, void *owner) {
  xm_jid room[4];
  size_t name_len = strlen(q->name);
  xm_spelled to = xm_spelled_of(q->to, q->to_len, &room[0]);
  xm_spelled from = xm_spelled_of(q->sent_from, q->sent_from_len, &room[2]);
  xm_pending *p = malloc(sizeof *p + q->id_len + name_len + 2 + xm_spelled_size(&to) + xm_spelled_size(&from));
  char *at = (char *)(p + 1);
  if (!p) return NULL;
  *p = (xm_pending){.owner = owner};
  p->node.id = xm_lay(&at, q->id, q->id_len);
  p->node.len = q->id_len;
  p->name = xm_lay(&at, q->name, name_len);
  xm_spelled_lay(&at, &p->to, &to);
  xm_spelled_lay(&at, &p->sent_from, &from);
  return p;
}

int xm_route_await(xm_route *r, const xm_route_request *q, void *owner, xm_pending **pending) {
  uint64_t hash = hash_of(r, q->id, q->id_len, q->sent_from, NULL);
  xm_pending *p;
  if (find(&r->pending, NULL, hash, q->id, q->id_len)) return XM_EINVAL;
  p = new_pending(q, owner);
  if (p) p->node.in.hash = hash;
  if (!p || xm_table_put(&r->pending, &p->node.in) < 0) {
    free(p);
    return XM_ENOMEM;
  }
  p->asked = classify(r, &p->to);
  r->from_others += p->sent_from.s != NULL;
  *pending = p;
  return XM_OK;
}

void xm_route_forget(xm_route *r, xm_pending *p) {
  if (!p) return;
  r->from_others -= p->sent_from.s != NULL;
  xm_table_take(&r->pending, &p->node.in);
  free(p);
}

static bool from_fits(const xm_route *r, const xm_pending *p, const char *from) {
  if (!from) return p->asked != ASKED_OTHER;
  switch (p->asked) {
    case ASKED_NONE: return is_bare(r, from) || is_full(r, from) || is_domain(r, from);
    case ASKED_BARE: return is_bare(r, from) || is_full(r, from);
    case ASKED_FULL: return is_full(r, from);
    case ASKED_DOMAIN: return is_domain(r, from);
    default: return xm_spelled_is(&p->to, from);
  }
}

static bool type_fits(const xm_tape *t) {
  const char *type = xm_tape_get(t, 0, "type", NULL);
  if (strcmp(xm_tape_name(t, 0), "iq") != 0) return true;
  return type && (strcmp(type, "result") == 0 || strcmp(type, "error") == 0);
}

static bool answers(const xm_route *r, const xm_pending *p, const xm_tape *t) {
  const char *to = xm_tape_get(t, 0, "to", NULL);
  return xm_tape_is(t, 0, r->ns, p->name) && type_fits(t) && from_fits(r, p, xm_tape_get(t, 0, "from", NULL)) &&
         (!p->sent_from.s || (to && xm_spelled_is(&p->sent_from, to)));
}

/* The request with this id that was sent from this address of ours. */
static xm_pending *find_pending(const xm_route *r, const char *id, size_t len, const char *own) {
  return (xm_pending *)find(&r->pending, NULL, hash_of(r, id, len, own, NULL), id, len);
}

void *xm_route_claim(xm_route *r, const xm_tape *t) {
  size_t len;
  const char *id = r->pending.n ? xm_tape_get(t, 0, "id", &len) : NULL;
  const char *own = id && r->from_others ? xm_tape_get(t, 0, "to", NULL) : NULL;
  xm_pending *p = id ? find_pending(r, id, len, own) : NULL;
  void *owner;
  if (id && !p && own) p = find_pending(r, id, len, NULL);
  if (!p || !answers(r, p, t)) return NULL;
  owner = p->owner;
  xm_route_forget(r, p);
  return owner;
}

size_t xm_route_waiting(const xm_route *r) {
  return r->pending.n;
}

xm_route_request xm_route_describe(const xm_pending *p) {
  return (xm_route_request){.name = p->name,
                            .id = p->node.id,
                            .id_len = p->node.len,
                            .to = p->to.s,
                            .to_len = p->to.n,
                            .sent_from = p->sent_from.s,
                            .sent_from_len = p->sent_from.n};
}

/* Open questions. */

static size_t length(const char *s) {
  return s ? strlen(s) : 0;
}

static bool same_or_absent(const char *a, const char *b) {
  return a && b ? strcmp(a, b) == 0 : a == b;
}

/* The oldest question with exactly this from, to and id; NULL: none. */
static xm_question *find_equal(const xm_route *r, uint64_t hash, const char *from, const char *to, const char *id) {
  node *n = NULL;
  while ((n = find(&r->questions, n, hash, id, strlen(id)))) {
    xm_question *q = (xm_question *)n;
    if (same_or_absent(q->from, from) && same_or_absent(q->to, to)) return q;
  }
  return NULL;
}

/* Puts it into the ring of its equals, as the newest of them, or else into the table. */
static int put_question(xm_route *r, xm_question *q) {
  xm_question *oldest = find_equal(r, q->node.in.hash, q->from, q->to, q->node.id);
  q->older = q->newer = q;
  if (!oldest) return xm_table_put(&r->questions, &q->node.in);
  q->older = oldest->older;
  q->newer = oldest;
  q->older->newer = q->newer->older = q;
  return XM_OK;
}

static void take_question(xm_route *r, xm_question *q) {
  bool is_oldest = q->node.in.at != NULL;
  if (q->newer == q) return xm_table_take(&r->questions, &q->node.in);
  if (is_oldest) xm_table_replace(&q->node.in, &q->newer->node.in);
  q->older->newer = q->newer;
  q->newer->older = q->older;
}

xm_question *xm_route_ask(xm_route *r, const char *from, const char *to, const char *id) {
  size_t from_len = length(from), to_len = length(to), id_len = length(id);
  xm_question *q = malloc(sizeof *q + from_len + to_len + id_len + 3);
  char *at = (char *)(q + 1);
  if (!q) return NULL;
  *q = (xm_question){.held = 1};
  q->from = xm_lay(&at, from, from_len);
  q->to = xm_lay(&at, to, to_len);
  q->node.id = xm_lay(&at, id ? id : "", id_len);
  q->node.len = id_len;
  q->node.in.hash = hash_of(r, q->node.id, id_len, q->to, q->from);
  if (put_question(r, q) == XM_OK) return q;
  free(q);
  return NULL;
}

static bool is_equal(const xm_question *q, const char *from, const char *to, const char *id) {
  return !q->answered && same_or_absent(q->from, from) && same_or_absent(q->to, to) && strcmp(q->node.id, id) == 0;
}

xm_question *xm_route_question(const xm_route *r, xm_question *likely, const char *from, const char *to,
                               const char *id) {
  if (!id) id = "";
  if (likely && is_equal(likely, from, to, id)) return likely;
  return find_equal(r, hash_of(r, id, strlen(id), to, from), from, to, id);
}

void xm_question_hold(xm_question *q) {
  q->held++;
}

bool xm_question_release(xm_route *r, xm_question *q) {
  if (--q->held > 0) return false;
  if (r && !q->answered) {
    take_question(r, q);
    return true;
  }
  xm_question_free(q);
  return false;
}

static bool is_or_nobody(const xm_spelled *a, const char *arrived) {
  return a->s && arrived ? xm_spelled_is(a, arrived) : !a->s && !arrived;
}

/* The oldest question that came from `to` to `own` with this id; NULL: none. */
static xm_question *find_asked(const xm_route *r, uint64_t hash, const xm_route_request *answer) {
  node *n = find(&r->questions, NULL, hash, answer->id, answer->id_len);
  xm_jid room[4];
  xm_spelled to, own;
  if (!n) return NULL;
  to = xm_spelled_of(answer->to, answer->to_len, &room[0]);
  own = xm_spelled_of(answer->sent_from, answer->sent_from_len, &room[2]);
  for (; n; n = find(&r->questions, n, hash, answer->id, answer->id_len)) {
    xm_question *q = (xm_question *)n;
    if (is_or_nobody(&to, q->from) && is_or_nobody(&own, q->to)) return q;
  }
  return NULL;
}

void xm_route_answered(xm_route *r, xm_question *likely, const xm_route_request *answer) {
  xm_question *q;
  if (r->questions.n == 0) return;
  q = find_asked(r, hash_of(r, answer->id, answer->id_len, answer->sent_from, answer->to), answer);
  if (!q) return;
  if (likely && is_equal(likely, q->from, q->to, q->node.id)) q = likely;
  q->answered = true;
  take_question(r, q);
}

const char *xm_question_from(const xm_question *q) {
  return q->from;
}

const char *xm_question_to(const xm_question *q) {
  return q->to;
}

const char *xm_question_id(const xm_question *q) {
  return q->node.id;
}

void xm_question_free(xm_question *q) {
  free(q);
}

void xm_route_free(xm_route *r) {
  xm_node *n;
  size_t at = 0;
  if (!r) return;
  while ((n = xm_table_any(&r->pending, &at))) xm_route_forget(r, (xm_pending *)n);
  xm_table_free(&r->pending);
  xm_table_free(&r->questions);
  free(r->self);
  free(r);
}
