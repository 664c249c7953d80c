/* alloc (c/embed): a block keeps its content when it is resized from every size to every other; memory that runs out;
 * and how much memory is kept after a burst. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the four headers above */
#include <cmocka.h>
#include <errno.h>

#include "failing.h"

static long arenas_made;

static int heap_memalign(void **p, size_t alignment, size_t n) {
  if (heap_refuses()) return ENOMEM;
  arenas_made++;
  heap.live++;
  return posix_memalign(p, alignment, n);
}

#define posix_memalign heap_memalign
#include "../embed/alloc.c"
#undef posix_memalign

#include "failing_off.h"

static size_t arenas_of(const xmpp_allocator *a) {
  const arena *r;
  size_t n = 0;
  for (r = a->first; r; r = r->next) n++;
  return n;
}

/* A block, and its expected content. */

typedef struct thing {
  unsigned char *at;
  size_t size;
  unsigned char seed;
} thing;

static void fill(thing *t, size_t from) {
  size_t i;
  for (i = from; i < t->size; i++) t->at[i] = (unsigned char)(t->seed + i);
}

static void check(const thing *t, size_t n) {
  size_t i;
  for (i = 0; i < n; i++) assert_int_equal(t->at[i], (unsigned char)(t->seed + i));
}

/* Without memory it returns NULL and changes nothing. Shrinking is never refused. */
static bool to_size(xmpp_allocator *a, thing *t, size_t size) {
  size_t was = t->size;
  void *to = xmpp_alloc(a, t->at, t->at ? was : 5, size); /* of a new block Lua passes the type, not the old size */
  if (size > 0 && !to) {
    assert_true(!t->at || size > was);
    check(t, was);
    return false;
  }
  if (!t->at) was = 0;
  t->at = to;
  t->size = size;
  if (size > 0) assert_int_equal((uintptr_t)to % 16, 0);
  check(t, was < size ? was : size);
  fill(t, was < size ? was : size);
  return true;
}

static void every_size_becomes_every_other(void **state) {
  static const size_t sizes[] = {1,   8,   15,  16,  17,  31,  32,  33,  48,  64,  100, 128,  240,  256, 257,
                                 480, 495, 496, 497, 511, 512, 513, 514, 600, 528, 1024, 4096, 5000, 100000, 200000};
  enum { COUNT = sizeof sizes / sizeof *sizes };
  xmpp_allocator *a = xmpp_allocator_new();
  size_t i, j;
  (void)state;
  for (i = 0; i < COUNT; i++)
    for (j = 0; j < COUNT; j++) {
      thing t = {.seed = (unsigned char)(i * COUNT + j)}, beside = {.seed = 7};
      assert_true(to_size(a, &t, sizes[i]));
      assert_true(to_size(a, &beside, sizes[i]));
      assert_true(to_size(a, &t, sizes[j]));
      assert_true(to_size(a, &t, sizes[i]));
      check(&beside, beside.size);
      to_size(a, &t, 0);
      to_size(a, &beside, 0);
    }
  assert_null(xmpp_alloc(a, NULL, 5, 0));
  xmpp_allocator_free(a);
  xmpp_allocator_free(NULL);
  assert_int_equal(heap.live, 0);
}

/* Of each small size, allocates enough to fill some pages; no two blocks overlap. */
static void blocks_do_not_overlap(void **state) {
  enum { COUNT = 600 };
  static thing things[COUNT];
  xmpp_allocator *a = xmpp_allocator_new();
  size_t size;
  int i;
  (void)state;
  for (size = 1; size <= 520; size++) {
    for (i = 0; i < COUNT; i++) {
      things[i] = (thing){.seed = (unsigned char)i};
      assert_true(to_size(a, &things[i], size));
    }
    for (i = 0; i < COUNT; i++) check(&things[i], size);
    for (i = 0; i < COUNT; i++) to_size(a, &things[i * 7 % COUNT], 0);
    assert_true(arenas_of(a) <= 1);
  }
  xmpp_allocator_free(a);
  assert_int_equal(heap.live, 0);
}

static size_t any_size(void) {
  int kind = rand() % 20;
  return (size_t)(kind < 12 ? 1 + rand() % 128 : kind < 18 ? 1 + rand() % 600 : 1 + rand() % 6000);
}

/* Random operations; `in_want`: now and then there is no memory for a while. */
static void live_at_random(bool in_want) {
  enum { COUNT = 3000, TIMES = 300000 };
  static thing things[COUNT];
  xmpp_allocator *a = xmpp_allocator_new();
  long refused = 0;
  int i, times;
  for (i = 0; i < COUNT; i++) things[i] = (thing){.seed = (unsigned char)rand()};
  for (times = 0; times < TIMES; times++) {
    thing *t = &things[rand() % (times / 50000 % 2 ? COUNT : COUNT / 10)];
    if (in_want && times % 1000 == 500) heap_fails(rand() % 50, true);
    if (times % 1000 == 999) heap_is_well();
    refused += !to_size(a, t, t->at && rand() % 3 == 0 ? 0 : any_size());
  }
  heap_is_well();
  assert_int_equal(refused > 100, in_want);
  for (i = 0; i < COUNT; i++) {
    check(&things[i], things[i].size);
    if (things[i].at) to_size(a, &things[i], 0);
  }
  assert_int_equal(a->strays, 0);
  assert_true(arenas_of(a) <= 1);
  assert_int_equal(heap.live, 1 + (long)arenas_of(a)); /* plus the allocator itself */
  xmpp_allocator_free(a);
  assert_int_equal(heap.live, 0);
}

static void anything_in_any_order(void **state) {
  (void)state;
  srand(1);
  live_at_random(false);
}

static void anything_in_any_order_when_memory_runs_out(void **state) {
  (void)state;
  srand(2);
  live_at_random(true);
}

/* A large block that shrinks stays where it is if there is no memory for a smaller block; it can be used as
 * any other. */
static void a_large_block_shrinks_in_place_without_memory(void **state) {
  xmpp_allocator *a = xmpp_allocator_new();
  thing large[4] = {{.seed = 1}, {.seed = 2}, {.seed = 3}, {.seed = 4}}, small = {.seed = 5};
  int i;
  (void)state;
  for (i = 0; i < 4; i++) assert_true(to_size(a, &large[i], 2000));
  heap_fails(0, true);
  for (i = 0; i < 4; i++) assert_true(to_size(a, &large[i], 100));
  assert_int_equal(a->strays, 4);
  assert_true(to_size(a, &large[3], 90));
  assert_int_equal(a->strays, 4);
  assert_false(to_size(a, &large[3], 600));
  assert_false(to_size(a, &large[3], 200));
  assert_int_equal(a->strays, 4);
  to_size(a, &large[0], 0);
  assert_int_equal(a->strays, 3);
  heap_is_well();
  assert_true(to_size(a, &small, 100));
  assert_true(to_size(a, &large[1], 120));
  assert_int_equal(a->strays, 2);
  assert_true(to_size(a, &large[2], 3000));
  assert_int_equal(a->strays, 1);
  to_size(a, &small, 0);
  for (i = 1; i < 4; i++) to_size(a, &large[i], 0);
  assert_int_equal(a->strays, 0);
  xmpp_allocator_free(a);
  assert_int_equal(heap.live, 0);
}

/* A small block that shrinks without memory also stays where it is, and keeps its old size. */
static void a_small_block_shrinks_in_place_without_memory(void **state) {
  xmpp_allocator *a = xmpp_allocator_new();
  thing t = {.seed = 9};
  (void)state;
  assert_true(to_size(a, &t, 500));
  while (a->first->spare) assert_non_null(add_page(a, 5));
  heap_fails(0, true);
  assert_true(to_size(a, &t, 20));
  assert_int_equal(a->strays, 0);
  heap_is_well();
  assert_true(to_size(a, &t, 30));
  assert_true(to_size(a, &t, 0) && !t.at);
  xmpp_allocator_free(a);
  assert_int_equal(heap.live, 0);
}

static void without_memory_no_allocator_is_made(void **state) {
  (void)state;
  heap_fails(0, true);
  assert_null(xmpp_allocator_new());
  heap_is_well();
  assert_int_equal(heap.live, 0);
}

/* Allocates a burst of blocks of all sizes, and frees all but number `stays`, which `kept` gets. Returns how many
 * arenas there were at most. */
static size_t burst(xmpp_allocator *a, int stays, thing *kept) {
  enum { COUNT = 50000 };
  static thing things[COUNT];
  size_t most;
  int i;
  for (i = 0; i < COUNT; i++) {
    things[i] = (thing){.seed = (unsigned char)i};
    assert_true(to_size(a, &things[i], (size_t)(1 + i % 512)));
  }
  most = arenas_of(a);
  for (i = 0; i < COUNT; i++)
    if (i == stays) *kept = things[i];
    else to_size(a, &things[i], 0);
  return most;
}

static void a_burst_leaves_one_arena(void **state) {
  xmpp_allocator *a = xmpp_allocator_new();
  int times;
  (void)state;
  for (times = 0; times < 3; times++) {
    assert_true(burst(a, -1, NULL) > 90);
    assert_int_equal(arenas_of(a), 1);
  }
  xmpp_allocator_free(a);
  assert_int_equal(heap.live, 0);
}

static void and_those_in_which_something_lives(void **state) {
  xmpp_allocator *a = xmpp_allocator_new();
  thing first = {0}, second = {0};
  (void)state;
  burst(a, 100, &first);
  assert_true(arenas_of(a) <= 2);
  burst(a, 40000, &second);
  assert_true(arenas_of(a) <= 3);
  check(&first, first.size);
  check(&second, second.size);
  to_size(a, &first, 0);
  to_size(a, &second, 0);
  assert_int_equal(arenas_of(a), 1);
  xmpp_allocator_free(a);
}

/* An empty page can be used for blocks of another size. */
static void an_empty_page_serves_any_size(void **state) {
  enum { COUNT = 7000 };
  static thing things[COUNT];
  xmpp_allocator *a = xmpp_allocator_new();
  thing pin = {.seed = 1};
  size_t size, most = 0;
  int i;
  (void)state;
  for (size = 16; size <= 512; size += 16) {
    int count = (int)(COUNT * 16 / size);
    for (i = 0; i < count; i++) {
      things[i] = (thing){.seed = 3};
      to_size(a, &things[i], size);
    }
    if (!pin.at) to_size(a, &pin, 16);
    if (arenas_of(a) > most) most = arenas_of(a);
    for (i = 0; i < count; i++) to_size(a, &things[i], 0);
  }
  assert_true(most >= 1 && most <= 3);
  to_size(a, &pin, 0);
  xmpp_allocator_free(a);
}

static void a_block_that_comes_and_goes_costs_no_arena(void **state) {
  xmpp_allocator *a = xmpp_allocator_new();
  long before = arenas_made;
  int i;
  (void)state;
  for (i = 0; i < 1000; i++) {
    thing t = {.seed = 1};
    to_size(a, &t, (size_t)(1 + i % 512));
    to_size(a, &t, 0);
  }
  assert_int_equal(arenas_made, before + 1); /* though there are more sizes than an arena has pages */
  xmpp_allocator_free(a);
}

/* Blocks that the Lua state hasn't freed are freed with the allocator. */
static void blocks_are_freed_with_the_allocator(void **state) {
  xmpp_allocator *a = xmpp_allocator_new();
  int i;
  (void)state;
  for (i = 0; i < 100000; i++) xmpp_alloc(a, NULL, 0, (size_t)(1 + i % 512));
  assert_true(arenas_of(a) > 100);
  xmpp_allocator_free(a);
  assert_int_equal(heap.live, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_size_becomes_every_other),
      cmocka_unit_test(blocks_do_not_overlap),
      cmocka_unit_test(anything_in_any_order),
      cmocka_unit_test(anything_in_any_order_when_memory_runs_out),
      cmocka_unit_test(a_large_block_shrinks_in_place_without_memory),
      cmocka_unit_test(a_small_block_shrinks_in_place_without_memory),
      cmocka_unit_test(without_memory_no_allocator_is_made),
      cmocka_unit_test(a_burst_leaves_one_arena),
      cmocka_unit_test(and_those_in_which_something_lives),
      cmocka_unit_test(an_empty_page_serves_any_size),
      cmocka_unit_test(a_block_that_comes_and_goes_costs_no_arena),
      cmocka_unit_test(blocks_are_freed_with_the_allocator),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
