#include "filters.h"

#include <stdlib.h>
#include <string.h>

#include "rnd.h"
#include "spelled.h"

typedef struct slot slot;

/* Slots in the order of their numbers. Removed ones (NULL) stay until they are more than half, so that a removal costs
 * no more than a search. */
typedef struct place {
  uint64_t number;
  slot *slot;
} place;

typedef struct list {
  place *places;
  size_t n, cap, dead;
} list;

typedef enum kind { ID, FROM, NAMESPACE, TYPE, KINDS } kind;

/* A word that filters ask for. Its strings lie behind it in the same block of memory. */
typedef struct word {
  xm_node in;
  kind kind;
  xm_spelled text;
  size_t asked;         /* by how many filters */
  list slots;           /* the filters that are found by this word */
  uint64_t met, first;  /* number of the last match whose stanza has it; has it as its first child's namespace */
  struct word *next;    /* among those that the stanza has */
} word;

struct slot {
  const char *name; /* NULL: any; and so with these */
  word *id, *from, *has, *xmlns, *type;
};

struct xm_filters {
  xm_table words;
  size_t of_kind[KINDS];
  uint64_t seed;
  list all, general; /* general: filters that have no word to be found by */
  uint64_t last;
  uint64_t match;    /* the number of the current match */
};

/* Lists. */

/* Index of the first place whose number is at least `number`. */
static size_t at_least(const list *l, uint64_t number) {
  size_t low = 0, high = l->n;
  while (low < high) {
    size_t mid = (low + high) / 2;
    if (l->places[mid].number < number) {
      low = mid + 1;
    } else {
      high = mid;
    }
  }
  return low;
}

static slot *slot_of(const list *l, uint64_t number) {
  size_t i = at_least(l, number);
  return i < l->n && l->places[i].number == number ? l->places[i].slot : NULL;
}

enum { USUAL_ROOM = 64 }; /* places that are kept, however few are in use */

/* Makes room for one more. */
static int make_room(list *l) {
  size_t cap = l->cap ? l->cap * 2 : 2;
  place *bigger;
  if (l->n < l->cap) return XM_OK;
  bigger = realloc(l->places, cap * sizeof *bigger);
  if (!bigger) return XM_ENOMEM;
  l->places = bigger;
  l->cap = cap;
  return XM_OK;
}

/* Gives back half of it, so that as much is spare as is in use. If memory for that is lacking, it stays. */
static void give_room_back(list *l) {
  place *smaller = realloc(l->places, l->cap / 2 * sizeof *smaller);
  if (!smaller) return;
  l->places = smaller;
  l->cap /= 2;
}

static void append(list *l, uint64_t number, slot *s) {
  l->places[l->n++] = (place){number, s};
}

static void free_list(list *l) {
  free(l->places);
  *l = (list){0};
}

static void take(list *l, uint64_t number) {
  size_t i, kept = 0;
  l->places[at_least(l, number)].slot = NULL;
  if (++l->dead * 2 <= l->n) return;
  for (i = 0; i < l->n; i++)
    if (l->places[i].slot) l->places[kept++] = l->places[i];
  l->n = kept;
  l->dead = 0;
  if (kept == 0) free_list(l);
  else if (l->cap > USUAL_ROOM && kept <= l->cap / 4) give_room_back(l);
}

/* Words. */

static uint64_t hash_of(const xm_filters *f, kind k, const xm_spelled *text) {
  return xm_mixed(xm_spelled_mix(f->seed + k, text));
}

/* The next word after `from` (NULL: the first) that is `text`, or that a stanza may spell as `text`. */
static word *find_word(const xm_filters *f, const word *from, uint64_t hash, kind k, const xm_spelled *text) {
  word *w = (word *)xm_table_find(&f->words, (const xm_node *)from, hash);
  while (w && !(w->kind == k && xm_spelled_fits(&w->text, text))) w = (word *)xm_table_find(&f->words, &w->in, hash);
  return w;
}

static word *find_same(const xm_filters *f, uint64_t hash, kind k, const xm_spelled *text) {
  word *w = NULL;
  while ((w = find_word(f, w, hash, k, text)))
    if (strcmp(w->text.s, text->s) == 0) return w;
  return NULL;
}

/* Counts one more filter that asks for this word. NULL: no memory. */
static word *ask_for(xm_filters *f, kind k, const xm_spelled *text) {
  uint64_t hash = hash_of(f, k, text);
  word *w = find_same(f, hash, k, text);
  char *at;
  if (w) return w->asked++, w;
  w = malloc(sizeof *w + xm_spelled_size(text));
  if (!w) return NULL;
  *w = (word){.in.hash = hash, .kind = k, .asked = 1};
  at = (char *)(w + 1);
  xm_spelled_lay(&at, &w->text, text);
  if (xm_table_put(&f->words, &w->in) < 0) return free(w), NULL;
  f->of_kind[k]++;
  return w;
}

static void ask_no_more(xm_filters *f, word *w) {
  if (!w || --w->asked > 0) return;
  xm_table_take(&f->words, &w->in);
  f->of_kind[w->kind]--;
  free_list(&w->slots);
  free(w);
}

/* Slots. */

static void free_slot(xm_filters *f, slot *s) {
  ask_no_more(f, s->id);
  ask_no_more(f, s->from);
  ask_no_more(f, s->has);
  ask_no_more(f, s->xmlns);
  ask_no_more(f, s->type);
  free(s);
}

/* The list in which the filter is found. */
static list *list_of(xm_filters *f, const slot *s) {
  word *w = s->id ? s->id : s->from ? s->from : s->has ? s->has : s->xmlns ? s->xmlns : s->type;
  return w ? &w->slots : &f->general;
}

static bool set_word(xm_filters *f, word **to, kind k, const char *s) {
  xm_jid room[2];
  xm_spelled text = {.s = s, .n = s ? strlen(s) : 0};
  if (!s) return true;
  if (k == FROM) text = xm_spelled_of(s, text.n, room);
  *to = ask_for(f, k, &text);
  return *to != NULL;
}

/* NULL: no memory. */
static slot *new_slot(xm_filters *f, const xm_filter *of) {
  size_t name = of->name ? strlen(of->name) : 0;
  slot *s = malloc(sizeof *s + name + 1);
  char *at = (char *)(s + 1);
  if (!s) return NULL;
  *s = (slot){.name = xm_lay(&at, of->name, name)};
  if (set_word(f, &s->id, ID, of->id) && set_word(f, &s->from, FROM, of->from) &&
      set_word(f, &s->has, NAMESPACE, of->has) && set_word(f, &s->xmlns, NAMESPACE, of->xmlns) &&
      set_word(f, &s->type, TYPE, of->type))
    return s;
  free_slot(f, s);
  return NULL;
}

xm_filters *xm_filters_new(void) {
  xm_filters *f = calloc(1, sizeof *f);
  if (f && xm_rnd_bytes(&f->seed, sizeof f->seed) < 0) f->seed = (uintptr_t)f;
  return f;
}

void xm_filters_free(xm_filters *f) {
  size_t i;
  if (!f) return;
  for (i = 0; i < f->all.n; i++)
    if (f->all.places[i].slot) free_slot(f, f->all.places[i].slot);
  free_list(&f->all);
  free_list(&f->general);
  xm_table_free(&f->words);
  free(f);
}

int64_t xm_filters_add(xm_filters *f, const xm_filter *filter) {
  static const xm_filter nothing;
  slot *s = new_slot(f, filter ? filter : &nothing);
  if (!s) return XM_ENOMEM;
  if (make_room(&f->all) < 0 || make_room(list_of(f, s)) < 0) return free_slot(f, s), XM_ENOMEM;
  f->last++;
  append(&f->all, f->last, s);
  append(list_of(f, s), f->last, s);
  return (int64_t)f->last;
}

bool xm_filters_remove(xm_filters *f, uint64_t number) {
  slot *s = slot_of(&f->all, number);
  if (!s) return false;
  take(&f->all, number);
  take(list_of(f, s), number);
  free_slot(f, s);
  return true;
}

bool xm_filters_holds(const xm_filters *f, uint64_t number) {
  return slot_of(&f->all, number) != NULL;
}

uint64_t xm_filters_last(const xm_filters *f) {
  return f->last;
}

uint64_t xm_filters_after(const xm_filters *f, uint64_t after) {
  size_t i = at_least(&f->all, after + 1);
  while (i < f->all.n && !f->all.places[i].slot) i++;
  return i < f->all.n ? f->all.places[i].number : 0;
}

/* Matching: the stanza's words are marked with the number of this match; then the filters are tested whose most
 * selective word is marked. */

typedef struct match {
  xm_filters *f;
  const char *name;
  word *words; /* that the stanza has */
  uint64_t *slots;
  size_t n, most;
  bool in_order;
} match;

static void meet(match *m, word *w) {
  if (w->met == m->f->match) return;
  w->met = m->f->match;
  w->next = m->words;
  m->words = w;
}

/* Marks all words that may mean it: filters may spell the same address differently. */
static void meet_all(match *m, kind k, const xm_spelled *text) {
  uint64_t hash = hash_of(m->f, k, text);
  word *w = NULL;
  while ((w = find_word(m->f, w, hash, k, text))) meet(m, w);
}

static void meet_text(match *m, kind k, const char *s) {
  xm_spelled text = {.s = s};
  if (!s || m->f->of_kind[k] == 0) return;
  text.n = strlen(s);
  meet_all(m, k, &text);
}

/* The sender as it is, and without its resourcepart. */
static void meet_sender(match *m, const char *from) {
  xm_jid room[2];
  xm_spelled text;
  size_t bare;
  if (!from || m->f->of_kind[FROM] == 0) return;
  text = xm_spelled_of(from, strlen(from), room);
  meet_all(m, FROM, &text);
  bare = strcspn(from, "/");
  if (!from[bare]) return;
  text = xm_spelled_of(from, bare, room);
  meet_all(m, FROM, &text);
}

static void meet_child(match *m, const char *ns, size_t n, bool is_first) {
  xm_spelled text = {.s = ns, .n = n};
  word *w = find_word(m->f, NULL, hash_of(m->f, NAMESPACE, &text), NAMESPACE, &text);
  if (!w) return;
  meet(m, w);
  if (is_first) w->first = m->f->match;
}

static bool is_met(const match *m, const word *w) { return !w || w->met == m->f->match; }

static bool wants(const match *m, const slot *s) {
  return (!s->name || strcmp(s->name, m->name) == 0) && is_met(m, s->id) && is_met(m, s->from) && is_met(m, s->has) &&
         is_met(m, s->type) && (!s->xmlns || s->xmlns->first == m->f->match);
}

static void ask(match *m, const list *l) {
  size_t i;
  for (i = 0; i < l->n; i++) {
    const place *p = &l->places[i];
    if (!p->slot || !wants(m, p->slot)) continue;
    if (m->n < m->most) {
      m->in_order = m->in_order && (m->n == 0 || m->slots[m->n - 1] < p->number);
      m->slots[m->n] = p->number;
    }
    m->n++;
  }
}

static int compare(const void *a, const void *b) {
  const uint64_t *x = a, *y = b;
  return (*x > *y) - (*x < *y);
}

static size_t ask_filters(match *m) {
  const word *w;
  ask(m, &m->f->general);
  for (w = m->words; w; w = w->next) ask(m, &w->slots);
  if (!m->in_order && m->n <= m->most) qsort(m->slots, m->n, sizeof *m->slots, compare);
  return m->n;
}

static match begin(xm_filters *f, uint64_t *slots, size_t most) {
  f->match++;
  return (match){.f = f, .slots = slots, .most = most, .in_order = true};
}

size_t xm_filters_match_like(xm_filters *f, const xm_filter_stanza *s, uint64_t *slots, size_t most) {
  match m = begin(f, slots, most);
  size_t i;
  m.name = s->name;
  meet_text(&m, TYPE, s->type);
  meet_text(&m, ID, s->id);
  meet_sender(&m, s->from);
  for (i = 0; i < s->n && f->of_kind[NAMESPACE]; i++) meet_child(&m, s->children[i], strlen(s->children[i]), i == 0);
  return ask_filters(&m);
}

/* In one pass, since every stanza goes through this. */
static void meet_attributes(match *m, const xm_tape *t) {
  const xm_tape_rec *a = &t->recs[1], *end = a + t->recs[0].attrs;
  for (; a < end; a++) {
    const char *name = xm_tape_str(t, a->name), *value = xm_tape_str(t, a->text);
    if (a->name_len == 2 && memcmp(name, "id", 2) == 0) meet_text(m, ID, value);
    if (a->name_len != 4) continue;
    if (memcmp(name, "type", 4) == 0) meet_text(m, TYPE, value);
    if (memcmp(name, "from", 4) == 0) meet_sender(m, value);
  }
}

/* Most children are in their stanza's own namespace: the first of these is enough. */
static void meet_children(match *m, const xm_tape *t) {
  uint32_t i = xm_tape_child(t, 0, NULL, NULL);
  bool is_first = true, had_own = false;
  for (; i; i = xm_tape_sibling(t, i, NULL, NULL), is_first = false) {
    const xm_tape_rec *c = &t->recs[i];
    if (!c->new_ns && had_own) continue;
    had_own = had_own || !c->new_ns;
    meet_child(m, xm_tape_str(t, c->text), c->text_len, is_first);
  }
}

size_t xm_filters_match(xm_filters *f, const xm_tape *t, uint64_t *slots, size_t most) {
  match m;
  if (f->all.n == f->all.dead) return 0;
  m = begin(f, slots, most);
  m.name = xm_tape_name(t, 0);
  meet_attributes(&m, t);
  if (f->of_kind[NAMESPACE]) meet_children(&m, t);
  return ask_filters(&m);
}
