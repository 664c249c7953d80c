/* libFuzzer: any sequence of requests, responses, filters and questions, given to route and filters, and to a model
 * of them that only uses lists. They must agree on which request a stanza answers, which filters match it, and which
 * questions are open.
 *
 * Input: our own address, then operations with their operands; an address is one of a few, or a string from the
 * input. */
#include "filters.h"
#include "route.h"

#include "fuzz.h"
#include "ns.h"

enum { MOST = 64, ROOM = 256, CHILDREN = 4 };

typedef struct address {
  bool there;
  char s[ROOM];
} address;

/* The model's data */
typedef struct wait {
  xm_pending *pending; /* NULL: this place is free */
  char name[16], id[ROOM];
  address to, sent_from;
} wait;

typedef struct filter {
  bool live, filtered;
  address name, type, xmlns, has, from, id;
} filter;

typedef struct question {
  xm_question *q; /* NULL: this place is free */
  unsigned held;
  address from;
  char id[ROOM];
} question;

static struct world {
  input in;
  xm_route *r;
  xm_filters *f;
  xm_jid self;
  wait waits[MOST];
  filter filters[MOST + 1]; /* by slot number */
  uint32_t last;
  question questions[MOST];
  unsigned answered; /* questions that are still held, and have been answered */
} w;

/* Operands */

static address take_address(void) {
  static const char *const known[] = {"me@xmpp.example/here",
                                      "me@xmpp.example",
                                      "xmpp.example",
                                      "Me@XMPP.example./here",
                                      "bob@xmpp.example/x",
                                      "bob@xmpp.example",
                                      "BOB@xmpp.example/x",
                                      "b\xC3\xBC.example",
                                      "xn--b-xka.example",
                                      "me@xmpp.example/Here",
                                      "@",
                                      "a@b@c/d"};
  uint8_t which = take(&w.in) % 16;
  address a = {.there = which != 15};
  if (which < sizeof known / sizeof *known) {
    strcpy(a.s, known[which]);
  } else if (a.there) {
    take_string(&w.in, a.s);
  }
  return a;
}

static address take_word(void) {
  static const char *const words[] = {"iq",  "message", "presence", "result", "error", "get",
                                      "set", "chat",    "urn:x",    "a",      "b"};
  uint8_t which = take(&w.in) % 16;
  address a = {.there = which != 15};
  if (which < sizeof words / sizeof *words) {
    strcpy(a.s, words[which]);
  } else if (a.there) {
    take_string(&w.in, a.s);
  }
  return a;
}

static const char *or_null(const address *a) {
  return a->there ? a->s : NULL;
}

/* Comparison, without the short cuts of route */

static char *prepare(const char *s, char *to) {
  const char *reason;
  xm_jid jid;
  return strcpy(to, xm_jid_parse(&jid, s, strlen(s), &reason) == XM_OK ? jid.str : s);
}

static bool is_same(const char *a, const char *b) {
  char x[XM_JID_MAX + 1], y[XM_JID_MAX + 1];
  return strcmp(prepare(a, x), prepare(b, y)) == 0;
}

/* The address as a server that follows RFC 6122 writes it, if that differs. */
static char *write_out(const char *s, char *to) {
  char prepared[XM_JID_MAX + 1];
  xm_jid jid;
  prepare(s, prepared);
  return strcpy(to, xm_jid_written(&jid, prepared, strlen(prepared)) == XM_OK ? jid.str : prepared);
}

/* Could `arrived` be the address `ours`, as some server writes it? */
static bool is_spelled(const char *ours, const char *arrived) {
  char written[XM_JID_MAX + 1], prepared[XM_JID_MAX + 1];
  write_out(ours, written);
  return is_same(ours, arrived) || strcmp(written, arrived) == 0 || strcmp(written, prepare(arrived, prepared)) == 0;
}

static bool is_self(const char *s, size_t at, size_t n) {
  char own[XM_JID_MAX + 1];
  memcpy(own, w.self.str + at, n);
  own[n] = '\0';
  return is_same(own, s);
}

static bool is_full(const char *s) {
  return is_self(s, 0, xm_jid_len(&w.self));
}

static bool is_bare(const char *s) {
  return is_self(s, 0, xm_jid_bare_len(&w.self));
}

static bool is_domain(const char *s) {
  return is_self(s, (size_t)(xm_jid_domain(&w.self) - w.self.str), w.self.domain_len);
}

/* May `from` answer a request to T? With our bare address B, full address F and domain D: T absent or B: absent, B, F,
 * or (T absent) D; T = F: absent or F; T = D: absent or D; any other T: exactly T. */
static bool may_answer(const address *t, const address *from) {
  if (!t->there) return !from->there || is_bare(from->s) || is_full(from->s) || is_domain(from->s);
  if (is_bare(t->s)) return !from->there || is_bare(from->s) || is_full(from->s);
  if (is_full(t->s)) return !from->there || is_full(from->s);
  if (is_domain(t->s)) return !from->there || is_domain(from->s);
  return from->there && is_spelled(t->s, from->s);
}

/* A stanza */

typedef struct stanza {
  address name, ns, type, id, from, to, children[CHILDREN]; /* children: up to the first absent one */
  xm_tape tape;
} stanza;

static void put_attr(xm_tape *t, const char *name, const address *a) {
  if (a->there) MUST(xm_tape_attr(t, "", 0, name, strlen(name), a->s, strlen(a->s)) == XM_OK);
}

static stanza take_stanza(void) {
  stanza s = {.name = take_word(), .ns = {true, XM_NS_CLIENT}, .type = take_word(), .id = take_word()};
  uint8_t more = take(&w.in);
  int i;
  s.name.there = true;
  s.from = take_address();
  s.to = take_address();
  for (i = 0; i < (more >> 2) % CHILDREN; i++) s.children[i] = take_word(), s.children[i].there = true;
  if (more & 2) strcpy(s.ns.s, "urn:x");
  s.tape = XM_TAPE_INIT;
  MUST(xm_tape_reset(&s.tape, XM_NS_CLIENT) == XM_OK);
  MUST(xm_tape_open(&s.tape, s.ns.s, strlen(s.ns.s), s.name.s, strlen(s.name.s)) == XM_OK);
  put_attr(&s.tape, "type", &s.type);
  put_attr(&s.tape, "id", &s.id);
  put_attr(&s.tape, "from", &s.from);
  put_attr(&s.tape, "to", &s.to);
  if (more & 1) MUST(xm_tape_text(&s.tape, "text", 4) == XM_OK);
  for (i = 0; i < CHILDREN && s.children[i].there; i++) {
    MUST(xm_tape_open(&s.tape, s.children[i].s, strlen(s.children[i].s), "x", 1) == XM_OK);
    MUST(xm_tape_close(&s.tape) == XM_OK);
  }
  MUST(xm_tape_close(&s.tape) == XM_OK);
  return s;
}

/* Responses */

/* At each address of ours an id can wait only once, however the address is written. */
static wait *waiting_for(const char *id, const address *own) {
  char a[XM_JID_MAX + 1], b[XM_JID_MAX + 1];
  size_t i;
  for (i = 0; i < MOST; i++) {
    const wait *p = &w.waits[i];
    if (!p->pending || strcmp(p->id, id) != 0 || p->sent_from.there != own->there) continue;
    if (!own->there || strcmp(write_out(p->sent_from.s, a), write_out(own->s, b)) == 0) return &w.waits[i];
  }
  return NULL;
}

static void await(void) {
  wait *p = &w.waits[take(&w.in) % MOST];
  address name = take_word(), id = take_word();
  xm_route_request q = {.name = p->name, .id = id.s, .id_len = strlen(id.s)};
  int rc;
  if (p->pending) return;
  snprintf(p->name, sizeof p->name, "%s", name.s);
  strcpy(p->id, id.s);
  p->to = take_address();
  p->sent_from = take_address();
  q.to = or_null(&p->to);
  q.sent_from = or_null(&p->sent_from);
  q.to_len = strlen(p->to.s);
  q.sent_from_len = strlen(p->sent_from.s);
  rc = xm_route_await(w.r, &q, p, &p->pending);
  MUST(rc == XM_OK || (rc == XM_EINVAL && waiting_for(id.s, &p->sent_from)));
}

static void forget(void) {
  wait *p = &w.waits[take(&w.in) % MOST];
  xm_route_forget(w.r, p->pending);
  p->pending = NULL;
}

static bool answers(const wait *p, const stanza *s) {
  bool is_iq = strcmp(s->name.s, "iq") == 0,
       is_answer = strcmp(s->type.s, "result") == 0 || strcmp(s->type.s, "error") == 0;
  return strcmp(s->ns.s, XM_NS_CLIENT) == 0 && strcmp(p->name, s->name.s) == 0 &&
         (!is_iq || (s->type.there && is_answer)) && may_answer(&p->to, &s->from) &&
         (!p->sent_from.there || (s->to.there && is_spelled(p->sent_from.s, s->to.s)));
}

static void claim(stanza *s) {
  static const address nowhere;
  wait *p = s->id.there ? waiting_for(s->id.s, &s->to) : NULL, *got;
  if (s->id.there && !p) p = waiting_for(s->id.s, &nowhere);
  got = xm_route_claim(w.r, &s->tape);
  if (p && !answers(p, s)) p = NULL;
  MUST(got == p);
  if (got) got->pending = NULL;
}

/* Filters */

static void add(void) {
  filter f = {.live = true, .filtered = take(&w.in) & 1};
  xm_filter of;
  if (w.last == MOST) return;
  if (f.filtered) {
    f.name = take_word(), f.type = take_word(), f.xmlns = take_word(), f.has = take_word();
    f.from = take_address(), f.id = take_word();
  }
  of = (xm_filter){or_null(&f.name), or_null(&f.type), or_null(&f.xmlns),
                   or_null(&f.has),  or_null(&f.from), or_null(&f.id)};
  MUST(xm_filters_add(w.f, f.filtered ? &of : NULL) == ++w.last);
  w.filters[w.last] = f;
}

static void drop(void) {
  uint32_t slot = take(&w.in) % (MOST + 1);
  MUST(xm_filters_holds(w.f, slot) == w.filters[slot].live && xm_filters_remove(w.f, slot) == w.filters[slot].live);
  w.filters[slot].live = false;
}

static bool is_word(const address *want, const address *is) {
  return !want->there || (is->there && strcmp(want->s, is->s) == 0);
}

static bool is_from(const address *want, const address *from) {
  char bare[ROOM];
  if (!want->there) return true;
  if (!from->there) return false;
  strcpy(bare, from->s);
  bare[strcspn(bare, "/")] = '\0';
  return is_spelled(want->s, from->s) || (!strchr(want->s, '/') && strchr(from->s, '/') && is_spelled(want->s, bare));
}

static bool has(const address *want, const stanza *s) {
  int i;
  for (i = 0; i < CHILDREN && s->children[i].there; i++)
    if (strcmp(want->s, s->children[i].s) == 0) return true;
  return !want->there;
}

static bool wants(const filter *f, const stanza *s) {
  return f->live && (!f->filtered || (is_word(&f->name, &s->name) && is_word(&f->type, &s->type) &&
                                      is_word(&f->xmlns, &s->children[0]) && has(&f->has, s) && is_word(&f->id, &s->id) &&
                                      is_from(&f->from, &s->from)));
}

/* Matching by the stanza's words must give the same as by its tape. */
static void match_like(const stanza *s, const uint64_t *want, size_t n) {
  const char *children[CHILDREN];
  xm_filter_stanza is = {or_null(&s->name), or_null(&s->type), or_null(&s->from), or_null(&s->id), children, 0};
  uint64_t slots[MOST];
  for (; is.n < CHILDREN && s->children[is.n].there; is.n++) children[is.n] = s->children[is.n].s;
  MUST(xm_filters_match_like(w.f, &is, slots, MOST) == n && memcmp(slots, want, n * sizeof *slots) == 0);
}

static void dispatch(const stanza *s) {
  uint64_t slots[MOST], slot, any = xm_filters_after(w.f, 0);
  size_t n = xm_filters_match(w.f, &s->tape, slots, MOST), i = 0;
  MUST(xm_filters_last(w.f) == w.last);
  match_like(s, slots, n);
  for (slot = 1; slot <= w.last; slot++) {
    if (w.filters[slot].live) MUST(any == slot);
    if (w.filters[slot].live) any = xm_filters_after(w.f, slot);
    if (wants(&w.filters[slot], s)) MUST(i < n && slots[i++] == slot);
  }
  MUST(i == n && any == 0);
}

/* Questions */

static void ask(void) {
  question *q = &w.questions[take(&w.in) % MOST];
  address id = take_word();
  if (q->q) return;
  *q = (question){.held = 1, .from = take_address()};
  if (id.there) strcpy(q->id, id.s);
  q->q = xm_route_ask(w.r, or_null(&q->from), NULL, or_null(&id));
  MUST(q->q && strcmp(xm_question_id(q->q), q->id) == 0 && !xm_question_to(q->q));
}

static void hold(void) {
  question *q = &w.questions[take(&w.in) % MOST];
  if (!q->q || q->held > 3) return;
  xm_question_hold(q->q);
  q->held++;
}

static bool is_open(const question *q) {
  return xm_route_question(w.r, NULL, or_null(&q->from), NULL, q->id) != NULL;
}

static void release(question *q) {
  bool open, mine;
  if (!q->q) return;
  open = is_open(q);
  mine = xm_question_release(w.r, q->q);
  MUST(!mine || (open && q->held == 1));
  if (--q->held) return;
  if (!mine) MUST(w.answered-- > 0);
  if (mine) xm_question_free(q->q);
  q->q = NULL;
}

static bool is_asked_by(const question *q, const address *who, const char *id) {
  return q->q && strcmp(q->id, id) == 0 && q->from.there == who->there && (!who->there || is_spelled(who->s, q->from.s));
}

/* We send an answer: one of the open questions from that address with this id, if there are any, isn't open any
 * more. */
static void answer(void) {
  address to = take_address(), id = take_word();
  const xm_route_request a = {.id = id.s, .id_len = strlen(id.s), .to = or_null(&to), .to_len = strlen(to.s)};
  unsigned before = 0, after = 0;
  size_t i;
  for (i = 0; i < MOST; i++)
    if (is_asked_by(&w.questions[i], &to, id.s)) before += is_open(&w.questions[i]);
  xm_route_answered(w.r, NULL, &a);
  for (i = 0; i < MOST; i++)
    if (is_asked_by(&w.questions[i], &to, id.s)) after += is_open(&w.questions[i]);
  MUST(after <= before);
  if (before) w.answered++;
}

static void receive(void) {
  stanza s = take_stanza();
  if (take(&w.in) & 1) claim(&s);
  dispatch(&s);
  xm_tape_free(&s.tape);
}

static void act(void) {
  switch (take(&w.in) % 9) {
    case 0: await(); break;
    case 1: forget(); break;
    case 2: add(); break;
    case 3: drop(); break;
    case 4: ask(); break;
    case 5: hold(); break;
    case 6: release(&w.questions[take(&w.in) % MOST]); break;
    case 7: answer(); break;
    default: receive(); break;
  }
}

static void check_counts(void) {
  size_t i, n = 0;
  for (i = 0; i < MOST; i++) n += w.waits[i].pending != NULL;
  MUST(xm_route_waiting(w.r) == n);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  const char *reason;
  address self;
  size_t i;
  memset(&w, 0, sizeof w);
  w.in = (input){bytes, n};
  w.r = xm_route_new(XM_NS_CLIENT);
  w.f = xm_filters_new();
  self = take_address();
  if (xm_jid_parse(&w.self, self.s, strlen(self.s), &reason) != XM_OK)
    MUST(xm_jid_parse(&w.self, "me@xmpp.example/here", 20, &reason) == XM_OK);
  MUST(w.r && w.f && xm_route_set_self(w.r, &w.self) == XM_OK);
  while (w.in.n) act();
  check_counts();
  for (i = 0; i < MOST; i++)
    while (w.questions[i].q) release(&w.questions[i]);
  MUST(w.answered == 0);
  xm_route_free(w.r);
  xm_filters_free(w.f);
  return 0;
}
