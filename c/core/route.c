#include "route.h"

#include <stdlib.h>
#include <string.h>

#include "rnd.h"

/* Who is found by an id and addresses: embedded first in what is found. Its strings lie behind it in the same piece of
 * memory. */
typedef struct node {
  struct node *next, **at; /* in its bucket, and what points to it there */
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

/* An address that we have named, prepared where that is possible; and as a server of RFC 6122 writes it, where that
 * differs (xm_jid_written). NULL: nobody. */
typedef struct spelled {
  const char *s, *written;
  size_t n, written_n;
} spelled;

struct xm_pending {
  node node;
  void *owner;
  asked asked;
  const char *name;  /* the element's */
  spelled to;        /* absent: nobody */
  spelled sent_from; /* not asked for: nobody */
};

/* Equal ones (the same words from the same asker to the same address of ours) are a ring, oldest first; the oldest of
 * them is in the table. */
struct xm_question {
  node node;
  xm_question *older, *newer; /* round the ring */
  const char *from, *to;
  unsigned held;
  bool answered; /* and no longer in the ring */
};

typedef struct slot {
  uint64_t number;
  bool live;
  bool filtered;
  char *name, *type, *xmlns, *from, *id;
  char *from_written; /* as a server of RFC 6122 writes `from`; NULL: no otherwise */
} slot;

struct xm_route {
  const char *ns;
  char *self; /* our full JID; NULL until it is known */
  size_t self_len, bare_len, domain_at, domain_len;
  table pending, questions;
  size_t from_others; /* of those pending, the ones with a sent_from */
  slot *slots;        /* in order of their numbers */
  size_t n, cap, dead;
  uint64_t last_number;
};

/* A table of nodes. */

/* FNV-1a, from a basis that a peer can't know. What ends a string is no byte, so that two strings are not one. */
static uint64_t mix(uint64_t h, const char *s, size_t n) {
  static const uint64_t prime = 0x100000001B3u;
  size_t i;
  for (i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * prime;
  return (h ^ 0x100) * prime;
}

static node **bucket_of(const table *t, uint64_t hash) {
  return &t->buckets[hash & (t->cap - 1)];
}

static void link_in(table *t, node *n) {
  n->at = bucket_of(t, n->hash);
  n->next = *n->at;
  if (n->next) n->next->at = &n->next;
  *n->at = n;
}

static int resize(table *t, size_t cap) {
  table bigger = {.buckets = calloc(cap, sizeof(node *)), .cap = cap, .n = t->n, .seed = t->seed};
  size_t i;
  if (!bigger.buckets) return XM_ENOMEM;
  for (i = 0; i < t->cap; i++) {
    node *n = t->buckets[i], *next;
    for (; n; n = next) {
      next = n->next;
      link_in(&bigger, n);
    }
  }
  free(t->buckets);
  *t = bigger;
  return XM_OK;
}

/* By its hash. */
static int insert(table *t, node *n) {
  if (t->n >= t->cap && resize(t, t->cap ? t->cap * 2 : 16) < 0) return XM_ENOMEM;
  link_in(t, n);
  t->n++;
  return XM_OK;
}

/* The first node with this hash and id, or the next one after `from`. */
static node *find(const table *t, const node *from, uint64_t hash, const char *id, size_t len) {
  node *n = from ? from->next : t->cap ? *bucket_of(t, hash) : NULL;
  while (n && !(n->hash == hash && n->len == len && memcmp(n->id, id, len) == 0)) n = n->next;
  return n;
}

static void take_out(table *t, node *n) {
  *n->at = n->next;
  if (n->next) n->next->at = n->at;
  t->n--;
  if (t->n == 0 && t->cap > 1024) { /* a wave has passed: give its memory back */
    free(t->buckets);
    t->buckets = NULL;
    t->cap = 0;
  }
}

/* `with` takes the place of `n`, whose hash it has. */
static void replace(node *n, node *with) {
  with->at = n->at;
  with->next = n->next;
  *with->at = with;
  if (with->next) with->next->at = &with->next;
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

static spelled spell(const char *s, size_t n, xm_jid room[2]) {
  spelled a = {.s = prepare(s, &n, &room[0]), .n = n};
  if (!s || is_prepared(a.s) || xm_jid_written(&room[1], a.s, n) != XM_OK) return a;
  a.written_n = xm_jid_len(&room[1]);
  if (a.written_n != n || memcmp(room[1].str, a.s, n) != 0) a.written = room[1].str;
  return a;
}

/* Could what arrived be the address that we named so? Not the other way round: who is named by what a server has
 * written isn't everybody that would be written so. */
static bool is_spelled(const spelled *a, const char *arrived) {
  return is_address(a->s, a->n, arrived) || (a->written && is_address(a->written, a->written_n, arrived));
}

/* Mixes in an address, such that all of its spellings come to the same. */
static uint64_t mix_address(uint64_t h, const char *s) {
  xm_jid room[2];
  spelled a;
  if (!s) return h;
  if (is_prepared(s)) return mix(h, s, strlen(s));
  a = spell(s, strlen(s), room);
  return a.written ? mix(h, a.written, a.written_n) : mix(h, a.s, a.n);
}

/* NULL for an address that has no part in it. */
static uint64_t hash_of(const table *t, const char *id, size_t n, const char *own, const char *asker) {
  uint64_t h = mix(t->seed, id, n);
  h = mix_address(h, own);
  h = mix_address(h, asker);
  return h ^ h >> 32;
}

static bool is_full(const xm_route *r, const char *s) {
  return r->self && is_address(r->self, r->self_len, s);
}
static bool is_bare(const xm_route *r, const char *s) {
  return r->self && is_address(r->self, r->bare_len, s);
}
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

static asked classify_as(const xm_route *r, const char *to) {
  if (is_bare(r, to)) return ASKED_BARE; /* a component's bare, full and domain are one: absent is right for all */
  if (is_full(r, to)) return ASKED_FULL;
  return is_domain(r, to) ? ASKED_DOMAIN : ASKED_OTHER;
}

static asked classify(const xm_route *r, const spelled *to) {
  asked a;
  if (!to->s) return ASKED_NONE;
  a = classify_as(r, to->s);
  return a == ASKED_OTHER && to->written ? classify_as(r, to->written) : a;
}

static void lay_spelled(char **at, spelled *to, const spelled *from) {
  *to = *from;
  to->s = lay(at, from->s, from->n);
  to->written = lay(at, from->written, from->written_n);
}

/* NULL: no memory. */
static xm_pending *new_pending(const xm_route_request *q, void *owner) {
  xm_jid room[4];
  size_t name_len = strlen(q->name);
  spelled to = spell(q->to, q->to_len, &room[0]), from = spell(q->sent_from, q->sent_from_len, &room[2]);
  xm_pending *p = malloc(sizeof *p + q->id_len + name_len + to.n + to.written_n + from.n + from.written_n + 6);
  char *at = (char *)(p + 1);
  if (!p) return NULL;
  *p = (xm_pending){.owner = owner};
  p->node.id = lay(&at, q->id, q->id_len);
  p->node.len = q->id_len;
  p->name = lay(&at, q->name, name_len);
  lay_spelled(&at, &p->to, &to);
  lay_spelled(&at, &p->sent_from, &from);
  return p;
}

int xm_route_await(xm_route *r, const xm_route_request *q, void *owner, xm_pending **pending) {
  uint64_t hash = hash_of(&r->pending, q->id, q->id_len, q->sent_from, NULL);
  xm_pending *p;
  if (find(&r->pending, NULL, hash, q->id, q->id_len)) return XM_EINVAL;
  p = new_pending(q, owner);
  if (p) p->node.hash = hash;
  if (!p || insert(&r->pending, &p->node) < 0) {
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
    default: return is_spelled(&p->to, from);
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
         (!p->sent_from.s || (to && is_spelled(&p->sent_from, to)));
}

/* Who waits for that id at that address of ours. */
static xm_pending *find_pending(const xm_route *r, const char *id, size_t len, const char *own) {
  return (xm_pending *)find(&r->pending, NULL, hash_of(&r->pending, id, len, own, NULL), id, len);
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

/* Callbacks. */

static void clear_slot(slot *s) {
  char **parts[] = {&s->name, &s->type, &s->xmlns, &s->from, &s->id, &s->from_written};
  size_t i;
  for (i = 0; i < sizeof parts / sizeof *parts; i++) {
    free(*parts[i]);
    *parts[i] = NULL;
  }
}

static bool copy_filter(slot *s, const xm_route_filter *f) {
  xm_jid room[2];
  spelled from = spell(f->from, f->from ? strlen(f->from) : 0, room);
  const spelled parts[] = {{.s = f->name},
                           {.s = f->type},
                           {.s = f->xmlns},
                           {.s = f->id},
                           {.s = from.s, .n = from.n},
                           {.s = from.written, .n = from.written_n}};
  char **const to[] = {&s->name, &s->type, &s->xmlns, &s->id, &s->from, &s->from_written};
  size_t i;
  s->filtered = true;
  for (i = 0; i < sizeof to / sizeof *to; i++) {
    if (!parts[i].s) continue;
    *to[i] = copy(parts[i].s, parts[i].n ? parts[i].n : strlen(parts[i].s));
    if (!*to[i]) return false;
  }
  return true;
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
  return (int64_t)++r->last_number;
}

/* Index of the first slot whose number is at least `number`. */
static size_t at_least(const xm_route *r, uint64_t number) {
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

static slot *slot_of(const xm_route *r, uint64_t number) {
  size_t i = at_least(r, number);
  return i < r->n && r->slots[i].number == number && r->slots[i].live ? &r->slots[i] : NULL;
}

bool xm_route_has(const xm_route *r, uint64_t number) {
  return slot_of(r, number) != NULL;
}

uint64_t xm_route_last(const xm_route *r) {
  return r->last_number;
}

uint64_t xm_route_after(const xm_route *r, uint64_t after) {
  size_t i = at_least(r, after + 1);
  while (i < r->n && !r->slots[i].live) i++;
  return i < r->n ? r->slots[i].number : 0;
}

bool xm_route_remove(xm_route *r, uint64_t number) {
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

static bool is_from(const char *want, const sender *f) {
  return want && (equals(want, f->full, f->full_len) || equals(want, f->bare, f->bare_len));
}

static bool from_matches(const slot *s, sender *f) {
  if (!s->from) return true;
  if (!f->said) return false;
  if (!f->full) prepare_sender(f);
  return is_from(s->from, f) || is_from(s->from_written, f);
}

static bool wants(const slot *s, const xm_route_filter *is, sender *f) {
  return s->live && (!s->filtered || (same(s->name, is->name) && same(s->type, is->type) && same(s->xmlns, is->xmlns) &&
                                      same(s->id, is->id) && from_matches(s, f)));
}

uint64_t xm_route_next_like(const xm_route *r, uint64_t after, const xm_route_filter *stanza) {
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

uint64_t xm_route_next(const xm_route *r, uint64_t after, const xm_tape *t) {
  uint32_t child;
  xm_route_filter is;
  if (r->n == r->dead) return 0;
  child = xm_tape_child(t, 0, NULL, NULL);
  is = (xm_route_filter){.name = xm_tape_name(t, 0), .xmlns = child ? xm_tape_ns(t, child) : NULL};
  read_attributes(t, &is);
  return xm_route_next_like(r, after, &is);
}

/* Open questions. */

static size_t length(const char *s) {
  return s ? strlen(s) : 0;
}

static bool same_or_absent(const char *a, const char *b) {
  return a && b ? strcmp(a, b) == 0 : a == b;
}

/* The oldest of just these words; NULL: there is none. */
static xm_question *find_equal(const xm_route *r, uint64_t hash, const char *from, const char *to, const char *id) {
  node *n = NULL;
  while ((n = find(&r->questions, n, hash, id, strlen(id)))) {
    xm_question *q = (xm_question *)n;
    if (same_or_absent(q->from, from) && same_or_absent(q->to, to)) return q;
  }
  return NULL;
}

/* Into the ring of its equals, as the newest of them, or into the table. */
static int put_question(xm_route *r, xm_question *q) {
  xm_question *oldest = find_equal(r, q->node.hash, q->from, q->to, q->node.id);
  q->older = q->newer = q;
  if (!oldest) return insert(&r->questions, &q->node);
  q->older = oldest->older;
  q->newer = oldest;
  q->older->newer = q->newer->older = q;
  return XM_OK;
}

static void take_question(xm_route *r, xm_question *q) {
  bool is_oldest = q->node.at != NULL;
  if (q->newer == q) return take_out(&r->questions, &q->node);
  if (is_oldest) replace(&q->node, &q->newer->node);
  q->older->newer = q->newer;
  q->newer->older = q->older;
}

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
  q->node.hash = hash_of(&r->questions, q->node.id, id_len, q->to, q->from);
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
  return find_equal(r, hash_of(&r->questions, id, strlen(id), to, from), from, to, id);
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

static bool is_or_nobody(const spelled *a, const char *arrived) {
  return a->s && arrived ? is_spelled(a, arrived) : !a->s && !arrived;
}

/* The oldest that came from `to` to `own` with this id; NULL: none. */
static xm_question *find_asked(const xm_route *r, uint64_t hash, const xm_route_request *answer) {
  node *n = find(&r->questions, NULL, hash, answer->id, answer->id_len);
  xm_jid room[4];
  spelled to, own;
  if (!n) return NULL;
  to = spell(answer->to, answer->to_len, &room[0]);
  own = spell(answer->sent_from, answer->sent_from_len, &room[2]);
  for (; n; n = find(&r->questions, n, hash, answer->id, answer->id_len)) {
    xm_question *q = (xm_question *)n;
    if (is_or_nobody(&to, q->from) && is_or_nobody(&own, q->to)) return q;
  }
  return NULL;
}

void xm_route_answered(xm_route *r, xm_question *likely, const xm_route_request *answer) {
  xm_question *q;
  if (r->questions.n == 0) return;
  q = find_asked(r, hash_of(&r->questions, answer->id, answer->id_len, answer->sent_from, answer->to), answer);
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
