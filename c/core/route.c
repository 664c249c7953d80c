#include "route.h"

#include <stdlib.h>
#include <string.h>

#include "rnd.h"

/* Who is known by an id: embedded first in what is found by it. Its strings lie behind it in the same piece of memory. */
typedef struct node {
  struct node *next;
  uint64_t hash;
  size_t len;
  const char *id;
} node;

typedef struct table {
  node **buckets;
  size_t cap; /* a power of two, or 0 */
  size_t n;
  uint64_t seed;
} table;

/* How T, the address that was asked, stands to our own. */
typedef enum asked { ASKED_NONE, ASKED_BARE, ASKED_FULL, ASKED_DOMAIN, ASKED_OTHER } asked;

struct xm_pending {
  node node;
  void *owner;
  asked asked;
  const char *name;      /* the element's */
  const char *to;        /* prepared where that is possible; NULL: absent */
  const char *sent_from; /* the same; NULL: not asked for */
};

struct xm_question {
  node node;
  const char *from, *to;
  unsigned held;
  bool answered; /* and no longer in the table */
};

typedef struct slot {
  uint32_t number;
  bool live;
  bool filtered;
  char *name, *type, *xmlns, *from, *id;
} slot;

struct xm_route {
  const char *ns;
  char *self; /* our full JID; NULL until it is known */
  size_t self_len, bare_len, domain_at, domain_len;
  table pending, questions;
  slot *slots; /* in order of their numbers */
  size_t n, cap, dead;
  uint32_t last_number;
};

/* A table of nodes. */

static uint64_t hash_of(const table *t, const char *id, size_t n) {
  uint64_t h = t->seed; /* FNV-1a from a basis that a peer can't know */
  size_t i;
  for (i = 0; i < n; i++) h = (h ^ (unsigned char)id[i]) * 0x100000001B3u;
  return h ^ h >> 32;
}

static node **bucket_of(const table *t, uint64_t hash) { return &t->buckets[hash & (t->cap - 1)]; }

static int resize(table *t, size_t cap) {
  table bigger = {.buckets = calloc(cap, sizeof(node *)), .cap = cap, .n = t->n, .seed = t->seed};
  size_t i;
  if (!bigger.buckets) return XM_ENOMEM;
  for (i = 0; i < t->cap; i++) {
    node *n = t->buckets[i];
    while (n) {
      node *next = n->next, **to = bucket_of(&bigger, n->hash);
      n->next = *to;
      *to = n;
      n = next;
    }
  }
  free(t->buckets);
  *t = bigger;
  return XM_OK;
}

/* By its id. */
static int insert(table *t, node *n) {
  node **to;
  if (t->n >= t->cap && resize(t, t->cap ? t->cap * 2 : 16) < 0) return XM_ENOMEM;
  n->hash = hash_of(t, n->id, n->len);
  to = bucket_of(t, n->hash);
  n->next = *to;
  *to = n;
  t->n++;
  return XM_OK;
}

/* The first node with this id, or the next one after `from`. */
static node *find(const table *t, const node *from, const char *id, size_t len) {
  uint64_t hash = hash_of(t, id, len);
  node *n = from ? from->next : t->cap ? *bucket_of(t, hash) : NULL;
  while (n && !(n->hash == hash && n->len == len && memcmp(n->id, id, len) == 0)) n = n->next;
  return n;
}

static void take_out(table *t, node *n) {
  node **at = bucket_of(t, n->hash);
  while (*at != n) at = &(*at)->next;
  *at = n->next;
  t->n--;
  if (t->n == 0 && t->cap > 1024) { /* a wave has passed: give its memory back */
    free(t->buckets);
    t->buckets = NULL;
    t->cap = 0;
  }
}

/* Addresses. */

static char *copy(const char *s, size_t n) {
  char *c = malloc(n + 1);
  if (!c) return NULL;
  memcpy(c, s, n);
  c[n] = '\0';
  return c;
}

/* An ASCII address that has, before its resourcepart, no capitals, no A-label and no dot at the end, is what its
 * preparation would be. */
static bool is_prepared(const char *s) {
  bool resource = false;
  for (; *s; s++) {
    if ((unsigned char)*s >= 0x80) return false;
    if (*s == '/') resource = true;
    if (resource) continue;
    if (*s >= 'A' && *s <= 'Z') return false;
    if ((*s == 'x' && strncmp(s, "xn--", 4) == 0) || (*s == '.' && (s[1] == '/' || !s[1]))) return false;
  }
  return true;
}

/* Prepared where that is possible, else as it is: `s` itself or in `room`. */
static const char *prepare(const char *s, size_t *n, xm_jid *room) {
  const char *reason;
  if (!s || is_prepared(s) || xm_jid_parse(room, s, *n, &reason) != XM_OK) return s;
  *n = xm_jid_len(room);
  return room->str;
}

/* A copy at *at, which moves behind it. */
static const char *lay(char **at, const char *s, size_t n) {
  char *to = *at;
  if (!s) return NULL;
  memcpy(to, s, n);
  to[n] = '\0';
  *at += n + 1;
  return to;
}

/* Is what arrived the address `want` (`n` prepared bytes)? */
static bool is_address(const char *want, size_t n, const char *arrived) {
  const char *reason;
  xm_jid jid;
  if (strlen(arrived) == n && memcmp(want, arrived, n) == 0) return true;
  if (is_prepared(arrived) || xm_jid_parse(&jid, arrived, strlen(arrived), &reason) != XM_OK) return false;
  return xm_jid_len(&jid) == n && memcmp(want, jid.str, n) == 0;
}

static bool is_full(const xm_route *r, const char *s) { return r->self && is_address(r->self, r->self_len, s); }
static bool is_bare(const xm_route *r, const char *s) { return r->self && is_address(r->self, r->bare_len, s); }
static bool is_domain(const xm_route *r, const char *s) {
  return r->self && is_address(r->self + r->domain_at, r->domain_len, s);
}

xm_route *xm_route_new(const char *ns) {
  xm_route *r = calloc(1, sizeof *r);
  if (!r) return NULL;
  r->ns = ns;
  if (xm_rnd_bytes(&r->pending.seed, sizeof r->pending.seed) < 0) r->pending.seed = (uintptr_t)r;
  r->questions.seed = ~r->pending.seed;
  return r;
}

int xm_route_set_self(xm_route *r, const xm_jid *bound) {
  const char *reason;
  xm_jid prepared; /* the server may spell it otherwise */
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

static asked classify(const xm_route *r, const char *to) {
  if (!to) return ASKED_NONE;
  if (is_bare(r, to)) return ASKED_BARE; /* a component's bare, full and domain are one: absent is right for all */
  if (is_full(r, to)) return ASKED_FULL;
  return is_domain(r, to) ? ASKED_DOMAIN : ASKED_OTHER;
}

/* NULL: no memory. */
static xm_pending *new_pending(const xm_route_request *q, void *owner) {
  xm_jid room[2];
  size_t name_len = strlen(q->name), to_len = q->to_len, from_len = q->sent_from_len;
  const char *to = prepare(q->to, &to_len, &room[0]), *from = prepare(q->sent_from, &from_len, &room[1]);
  xm_pending *p = malloc(sizeof *p + q->id_len + name_len + to_len + from_len + 4);
  char *at = (char *)(p + 1);
  if (!p) return NULL;
  *p = (xm_pending){.owner = owner};
  p->node.id = lay(&at, q->id, q->id_len);
  p->node.len = q->id_len;
  p->name = lay(&at, q->name, name_len);
  p->to = lay(&at, to, to_len);
  p->sent_from = lay(&at, from, from_len);
  return p;
}

int xm_route_await(xm_route *r, const xm_route_request *q, void *owner, xm_pending **pending) {
  xm_pending *p;
  if (find(&r->pending, NULL, q->id, q->id_len)) return XM_EINVAL;
  p = new_pending(q, owner);
  if (!p || insert(&r->pending, &p->node) < 0) {
    free(p);
    return XM_ENOMEM;
  }
  p->asked = classify(r, p->to);
  *pending = p;
  return XM_OK;
}

void xm_route_forget(xm_route *r, xm_pending *p) {
  if (!p) return;
  take_out(&r->pending, &p->node);
  free(p);
}

static bool from_fits(const xm_route *r, const xm_pending *p, const char *from) {
  if (!from) return p->asked != ASKED_OTHER;
  switch (p->asked) {
    case ASKED_NONE: return is_bare(r, from) || is_full(r, from) || is_domain(r, from);
    case ASKED_BARE: return is_bare(r, from) || is_full(r, from);
    case ASKED_FULL: return is_full(r, from);
    case ASKED_DOMAIN: return is_domain(r, from);
    default: return is_address(p->to, strlen(p->to), from);
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
         (!p->sent_from || (to && is_address(p->sent_from, strlen(p->sent_from), to)));
}

void *xm_route_claim(xm_route *r, const xm_tape *t) {
  size_t len;
  const char *id = r->pending.n ? xm_tape_get(t, 0, "id", &len) : NULL;
  xm_pending *p = id ? (xm_pending *)find(&r->pending, NULL, id, len) : NULL;
  void *owner;
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
                            .to = p->to,
                            .to_len = p->to ? strlen(p->to) : 0,
                            .sent_from = p->sent_from,
                            .sent_from_len = p->sent_from ? strlen(p->sent_from) : 0};
}

/* Callbacks. */

static void clear_slot(slot *s) {
  char **parts[] = {&s->name, &s->type, &s->xmlns, &s->from, &s->id};
  size_t i;
  for (i = 0; i < sizeof parts / sizeof *parts; i++) {
    free(*parts[i]);
    *parts[i] = NULL;
  }
}

static bool copy_filter(slot *s, const xm_route_filter *f) {
  const char *const from[] = {f->name, f->type, f->xmlns, f->id};
  char **const to[] = {&s->name, &s->type, &s->xmlns, &s->id};
  size_t i, n = f->from ? strlen(f->from) : 0;
  xm_jid room;
  const char *address = prepare(f->from, &n, &room);
  s->filtered = true;
  for (i = 0; i < 4; i++) {
    if (!from[i]) continue;
    *to[i] = copy(from[i], strlen(from[i]));
    if (!*to[i]) return false;
  }
  if (address) s->from = copy(address, n);
  return !address || s->from;
}

/* Slots that are gone stay until they are the greater half: a removal costs no more than a search. */
static void compact(xm_route *r) {
  size_t i, kept = 0;
  if (r->dead * 2 <= r->n) return;
  for (i = 0; i < r->n; i++)
    if (r->slots[i].live) r->slots[kept++] = r->slots[i];
  r->n = kept;
  r->dead = 0;
}

int64_t xm_route_add(xm_route *r, const xm_route_filter *filter) {
  slot *s;
  if (r->n == r->cap) {
    size_t cap = r->cap ? r->cap * 2 : 8;
    slot *bigger = realloc(r->slots, cap * sizeof *bigger);
    if (!bigger) return XM_ENOMEM;
    r->slots = bigger;
    r->cap = cap;
  }
  s = &r->slots[r->n];
  *s = (slot){.number = r->last_number + 1, .live = true};
  if (filter && !copy_filter(s, filter)) {
    clear_slot(s);
    return XM_ENOMEM;
  }
  r->n++;
  return ++r->last_number;
}

/* Index of the first slot whose number is at least `number`. */
static size_t at_least(const xm_route *r, uint32_t number) {
  size_t low = 0, high = r->n;
  while (low < high) {
    size_t mid = (low + high) / 2;
    if (r->slots[mid].number < number) {
      low = mid + 1;
    } else {
      high = mid;
    }
  }
  return low;
}

static slot *slot_of(const xm_route *r, uint32_t number) {
  size_t i = at_least(r, number);
  return i < r->n && r->slots[i].number == number && r->slots[i].live ? &r->slots[i] : NULL;
}

bool xm_route_has(const xm_route *r, uint32_t number) {
  return slot_of(r, number) != NULL;
}

uint32_t xm_route_last(const xm_route *r) {
  return r->last_number;
}

uint32_t xm_route_after(const xm_route *r, uint32_t after) {
  size_t i = at_least(r, after + 1);
  while (i < r->n && !r->slots[i].live) i++;
  return i < r->n ? r->slots[i].number : 0;
}

bool xm_route_remove(xm_route *r, uint32_t number) {
  slot *s = slot_of(r, number);
  if (!s) return false;
  s->live = false;
  clear_slot(s);
  r->dead++;
  compact(r);
  return true;
}

static bool same(const char *want, const char *is) { return !want || (is && strcmp(want, is) == 0); }

/* Who sent a stanza, prepared, with the resourcepart and without: once for all the filters that ask. */
typedef struct sender {
  const char *said; /* NULL: nobody */
  const char *full, *bare; /* `full` NULL: nobody has asked yet */
  size_t full_len, bare_len;
  xm_jid room[2];
} sender;

static void prepare_sender(sender *f) {
  const char *slash = strchr(f->said, '/'), *reason;
  xm_jid *room = &f->room[1];
  f->full_len = strlen(f->said);
  f->bare = f->said;
  f->bare_len = slash ? (size_t)(slash - f->said) : f->full_len;
  f->full = prepare(f->said, &f->full_len, &f->room[0]);
  if (is_prepared(f->said) || xm_jid_parse(room, f->said, f->bare_len, &reason) != XM_OK) return;
  f->bare = room->str;
  f->bare_len = xm_jid_len(room);
}

static bool equals(const char *want, const char *s, size_t n) {
  return strncmp(want, s, n) == 0 && !want[n];
}

static bool from_matches(const char *want, sender *f) {
  if (!want) return true;
  if (!f->said) return false;
  if (!f->full) prepare_sender(f);
  return equals(want, f->full, f->full_len) || equals(want, f->bare, f->bare_len);
}

static bool wants(const slot *s, const xm_route_filter *is, sender *f) {
  return s->live && (!s->filtered || (same(s->name, is->name) && same(s->type, is->type) && same(s->xmlns, is->xmlns) &&
                                      same(s->id, is->id) && from_matches(s->from, f)));
}

uint32_t xm_route_next_like(const xm_route *r, uint32_t after, const xm_route_filter *stanza) {
  size_t i = at_least(r, after + 1);
  sender f;
  f.said = stanza->from;
  f.full = NULL;
  while (i < r->n && !wants(&r->slots[i], stanza, &f)) i++;
  return i < r->n ? r->slots[i].number : 0;
}

/* In one go: every stanza is looked at like that. */
static void read_attributes(const xm_tape *t, xm_route_filter *is) {
  const xm_tape_rec *a = &t->recs[1], *end = a + t->recs[0].attrs;
  for (; a < end; a++) {
    const char *name = xm_tape_str(t, a->name), *value = xm_tape_str(t, a->text);
    if (a->name_len == 2 && memcmp(name, "id", 2) == 0) is->id = value;
    if (a->name_len != 4) continue;
    if (memcmp(name, "type", 4) == 0) is->type = value;
    if (memcmp(name, "from", 4) == 0) is->from = value;
  }
}

uint32_t xm_route_next(const xm_route *r, uint32_t after, const xm_tape *t) {
  uint32_t child;
  xm_route_filter is;
  if (r->n == r->dead) return 0;
  child = xm_tape_child(t, 0, NULL, NULL);
  is = (xm_route_filter){.name = xm_tape_name(t, 0), .xmlns = child ? xm_tape_ns(t, child) : NULL};
  read_attributes(t, &is);
  return xm_route_next_like(r, after, &is);
}

/* Open questions. */

static size_t length(const char *s) { return s ? strlen(s) : 0; }

xm_question *xm_route_ask(xm_route *r, const char *from, const char *to, const char *id) {
  size_t from_len = length(from), to_len = length(to), id_len = length(id);
  xm_question *q = malloc(sizeof *q + from_len + to_len + id_len + 3);
  char *at = (char *)(q + 1);
  if (!q) return NULL;
  *q = (xm_question){.held = 1};
  q->from = lay(&at, from, from_len);
  q->to = lay(&at, to, to_len);
  q->node.id = lay(&at, id ? id : "", id_len);
  q->node.len = id_len;
  if (insert(&r->questions, &q->node) == XM_OK) return q;
  free(q);
  return NULL;
}

xm_question *xm_route_question(const xm_route *r, const char *from, const char *id) {
  node *n = NULL;
  if (!id) id = "";
  while ((n = find(&r->questions, n, id, strlen(id)))) {
    xm_question *q = (xm_question *)n;
    if (from ? q->from && strcmp(q->from, from) == 0 : !q->from) return q;
  }
  return NULL;
}

void xm_question_hold(xm_question *q) {
  q->held++;
}

bool xm_question_release(xm_route *r, xm_question *q) {
  if (--q->held > 0) return false;
  if (r && !q->answered) {
    take_out(&r->questions, &q->node);
    return true;
  }
  xm_question_free(q);
  return false;
}

void xm_route_answered(xm_route *r, const char *to, size_t to_len, const char *id, size_t id_len) {
  node *n = NULL;
  xm_jid room;
  const char *prepared;
  if (!find(&r->questions, NULL, id, id_len)) return;
  prepared = prepare(to, &to_len, &room);
  while ((n = find(&r->questions, n, id, id_len))) {
    xm_question *q = (xm_question *)n;
    if (prepared ? !q->from || !is_address(prepared, to_len, q->from) : q->from != NULL) continue;
    q->answered = true;
    take_out(&r->questions, n);
    break;
  }
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
  size_t i;
  if (!r) return;
  for (i = 0; i < r->pending.cap; i++)
    while (r->pending.cap && r->pending.buckets[i]) xm_route_forget(r, (xm_pending *)r->pending.buckets[i]);
  for (i = 0; i < r->n; i++) clear_slot(&r->slots[i]);
  free(r->pending.buckets);
  free(r->questions.buckets);
  free(r->slots);
  free(r->self);
  free(r);
}
