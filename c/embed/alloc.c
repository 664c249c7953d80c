/* alloc: an allocator for a Lua state. Small blocks come from pages of one size each, pages from arenas, arenas from
 * malloc, as do large blocks. The page and the arena of a small block are found by its address. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "xmpp.h"

#define EXPORT __attribute__((visibility("default")))

enum {
  STEP = 16,            /* sizes and addresses of small blocks are multiples of this */
  SMALL = 512,          /* bytes; larger blocks come from malloc */
  CLASSES = SMALL / STEP,
  PAGE = 4096,          /* bytes; holds blocks of one class */
  ARENA = 32 * PAGE,    /* bytes; its first page holds its header */
  PAGES = ARENA / PAGE,
};

typedef struct block {
  struct block *next;
} block;

typedef struct page {
  block *free;              /* NULL: full */
  struct page *next, *prev; /* in the list of its class's pages with room; or (next only) of pages that no class uses */
  uint32_t used;            /* blocks in use */
  uint32_t class;
} page;

typedef struct arena {
  struct arena *next, *prev; /* arenas with spare pages come first */
  page *spare;               /* pages that no class uses */
  unsigned live;             /* pages with a block in use */
  page pages[PAGES];         /* pages[0]: not used */
} arena;

struct xmpp_allocator {
  page *roomy[CLASSES]; /* pages with room, by class */
  arena *first, *last;
  arena *empty;   /* an arena that is kept though no block of it is in use; NULL: none */
  size_t strays;  /* small blocks that lie in malloc's memory: they were large, and when they shrank there was no
                     memory for a smaller block */
};

_Static_assert(sizeof(arena) <= PAGE, "an arena's head is one page");

static arena *arena_of(const void *p) {
  return (arena *)((uintptr_t)p & ~(uintptr_t)(ARENA - 1));
}

static page *page_of(const void *p) {
  return &arena_of(p)->pages[((uintptr_t)p & (ARENA - 1)) / PAGE];
}

static unsigned class_of(size_t size) {
  return (unsigned)((size - 1) / STEP);
}

static size_t size_of(const page *g) {
  return (g->class + 1) * (size_t)STEP;
}

/* Arenas. */

static void unlink_arena(xmpp_allocator *a, arena *r) {
  *(r->prev ? &r->prev->next : &a->first) = r->next;
  *(r->next ? &r->next->prev : &a->last) = r->prev;
}

static void link_first(xmpp_allocator *a, arena *r) {
  r->prev = NULL;
  r->next = a->first;
  *(a->first ? &a->first->prev : &a->last) = r;
  a->first = r;
}

static void link_last(xmpp_allocator *a, arena *r) {
  r->next = NULL;
  r->prev = a->last;
  *(a->last ? &a->last->next : &a->first) = r;
  a->last = r;
}

static void spare_page(arena *r, page *g) {
  g->free = NULL;
  g->next = r->spare;
  r->spare = g;
}

static arena *new_arena(xmpp_allocator *a) {
  void *p;
  arena *r;
  int i;
  if (posix_memalign(&p, ARENA, ARENA) != 0) return NULL;
  r = p;
  r->spare = NULL;
  r->live = 0;
  for (i = PAGES - 1; i > 0; i--) spare_page(r, &r->pages[i]);
  link_first(a, r);
  return r;
}

/* Pages. */

static void unlink_page(xmpp_allocator *a, page *g) {
  *(g->prev ? &g->prev->next : &a->roomy[g->class]) = g->next;
  if (g->next) g->next->prev = g->prev;
}

static void link_page(xmpp_allocator *a, page *g) {
  g->prev = NULL;
  g->next = a->roomy[g->class];
  if (g->next) g->next->prev = g;
  a->roomy[g->class] = g;
}

/* Divides a page into free blocks, to be used in the order of their addresses. */
static void divide(page *g) {
  arena *r = arena_of(g);
  char *start = (char *)r + (size_t)(g - r->pages) * PAGE;
  size_t size = size_of(g), at = PAGE / size * size;
  g->free = NULL;
  while (at > 0) {
    block *b = (block *)(start + (at -= size));
    b->next = g->free;
    g->free = b;
  }
}

/* No block of the arena is in use; takes its empty pages back from the classes that still have them. */
static void take_pages_back(xmpp_allocator *a, arena *r) {
  int i;
  for (i = 1; i < PAGES; i++)
    if (r->pages[i].free) {
      unlink_page(a, &r->pages[i]);
      spare_page(r, &r->pages[i]);
    }
}

/* An arena with a spare page; NULL: no memory. */
static arena *roomy_arena(xmpp_allocator *a) {
  arena *r = a->empty;
  if (a->first && a->first->spare) return a->first;
  if (!r) return new_arena(a);
  take_pages_back(a, r);
  unlink_arena(a, r);
  link_first(a, r);
  return r;
}

/* Adds a page to a class that has none with room; NULL: no memory. */
static page *add_page(xmpp_allocator *a, unsigned class) {
  arena *r = roomy_arena(a);
  page *g;
  if (!r) return NULL;
  g = r->spare;
  r->spare = g->next;
  if (!r->spare) unlink_arena(a, r), link_last(a, r);
  g->class = class;
  g->used = 0;
  divide(g);
  link_page(a, g);
  return g;
}

/* The arena's last block was freed. One such arena is kept, so that a block which comes and goes doesn't cost a malloc
 * each time. */
static void end_arena(xmpp_allocator *a, arena *r) {
  if (!a->empty) {
    a->empty = r;
    return;
  }
  take_pages_back(a, r);
  unlink_arena(a, r);
  free(r);
}

/* The page's last block was freed: any class may use it, unless it is the only page with room that its class has. */
static void end_page(xmpp_allocator *a, page *g) {
  arena *r = arena_of(g);
  if (g->next || g->prev) {
    unlink_page(a, g);
    if (!r->spare) unlink_arena(a, r), link_first(a, r);
    spare_page(r, g);
  }
  if (--r->live == 0) end_arena(a, r);
}

/* Blocks. */

static void *take(xmpp_allocator *a, size_t size) {
  unsigned class = class_of(size);
  page *g = a->roomy[class];
  block *b;
  if (!g && !(g = add_page(a, class))) return NULL;
  b = g->free;
  g->free = b->next;
  if (!g->free) unlink_page(a, g);
  if (g->used++ == 0 && arena_of(g)->live++ == 0 && a->empty == arena_of(g)) a->empty = NULL;
  return b;
}

static void give(xmpp_allocator *a, void *p) {
  page *g = page_of(p);
  block *b = p;
  if (!g->free) link_page(a, g);
  b->next = g->free;
  g->free = b;
  if (--g->used == 0) end_page(a, g);
}

static bool is_stray(const xmpp_allocator *a, const void *p) {
  const arena *r = a->first;
  while (r && r != arena_of(p)) r = r->next;
  return !r;
}

/* Where a block lies. */
typedef enum place { IN_ARENA, MALLOCED, STRAY } place;

static place place_of(const xmpp_allocator *a, const void *p, size_t size) {
  if (size > SMALL) return MALLOCED;
  return a->strays > 0 && is_stray(a, p) ? STRAY : IN_ARENA;
}

static void drop(xmpp_allocator *a, void *p, place from) {
  if (from == IN_ARENA) return give(a, p);
  if (from == STRAY) a->strays--;
  free(p);
}

/* Moves a block to where its new size belongs. If there is no memory for that, one that shrinks stays where it is,
 * since Lua requires that shrinking never fails. */
static void *move(xmpp_allocator *a, void *p, place from, size_t was, size_t size) {
  void *to = size <= SMALL ? take(a, size) : malloc(size);
  if (!to && size > was) return NULL;
  if (!to) {
    a->strays += from == MALLOCED;
    return p;
  }
  memcpy(to, p, was < size ? was : size);
  drop(a, p, from);
  return to;
}

/* Resizes a block that is malloc's before and after. */
static void *resize_large(xmpp_allocator *a, void *p, place from, size_t was, size_t size) {
  void *to = realloc(p, size);
  if (!to) return size > was ? NULL : p;
  a->strays -= from == STRAY;
  return to;
}

static void *resize(xmpp_allocator *a, void *p, size_t was, size_t size) {
  place from = place_of(a, p, was);
  if (size == 0) return drop(a, p, from), NULL;
  if (from == IN_ARENA && size <= SMALL && class_of(size) == page_of(p)->class) return p;
  if (from != IN_ARENA && size > SMALL) return resize_large(a, p, from, was, size);
  return move(a, p, from, was, size);
}

EXPORT void *xmpp_alloc(void *allocator, void *p, size_t was, size_t size) {
  xmpp_allocator *a = allocator;
  if (p) return resize(a, p, was, size);
  if (size == 0) return NULL;
  return size <= SMALL ? take(a, size) : malloc(size);
}

EXPORT xmpp_allocator *xmpp_allocator_new(void) {
  return calloc(1, sizeof(xmpp_allocator));
}

EXPORT void xmpp_allocator_free(xmpp_allocator *a) {
  arena *r;
  while (a && (r = a->first)) {
    unlink_arena(a, r);
    free(r);
  }
  free(a);
}
