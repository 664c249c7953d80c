/* watch: descriptors that aren't the library's. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "watch.h"

static void count(void *arg) {
  *(int *)arg += 1;
}

typedef struct scene {
  xm_loop *l;
  int fds[2], told;
} scene;

static int begin(void **state) {
  static scene s;
  xm_err e = {0};
  s = (scene){.l = xm_loop_new(&e)};
  assert_non_null(s.l);
  assert_int_equal(pipe(s.fds), 0);
  *state = &s;
  return 0;
}

static int end(void **state) {
  scene *s = *state;
  xm_loop_turn(s->l, 0);
  xm_loop_release(s->l);
  close(s->fds[0]);
  close(s->fds[1]);
  return 0;
}

static void tells_that_there_is_something_to_read(void **state) {
  scene *s = *state;
  xm_watch *w = xm_watch_new(s->l, s->fds[0], XM_WATCH_READ, count, &s->told);
  assert_non_null(w);
  xm_loop_turn(s->l, 0);
  assert_int_equal(s->told, 0);
  assert_int_equal(write(s->fds[1], "x", 1), 1);
  xm_loop_turn(s->l, 1000);
  assert_int_equal(s->told, 1);
  assert_int_equal(xm_watch_take(w), XM_WATCH_READ);
  assert_int_equal(xm_watch_take(w), 0);
  xm_loop_turn(s->l, 1000); /* again and again until it is read */
  assert_int_equal(s->told, 2);
  xm_watch_free(w);
}

static void tells_that_there_is_room_to_write(void **state) {
  scene *s = *state;
  xm_watch *w = xm_watch_new(s->l, s->fds[1], XM_WATCH_READ | XM_WATCH_WRITE, count, &s->told);
  xm_loop_turn(s->l, 1000);
  assert_int_equal(s->told, 1);
  assert_int_equal(xm_watch_take(w), XM_WATCH_WRITE);
  xm_watch_free(w);
}

static void is_silent_when_it_is_freed(void **state) {
  scene *s = *state;
  xm_watch *w = xm_watch_new(s->l, s->fds[1], XM_WATCH_WRITE, count, &s->told);
  xm_watch_free(w);
  xm_watch_free(NULL);
  xm_loop_turn(s->l, 0);
  assert_int_equal(s->told, 0);
}

/* A library that owns the descriptor closes it first, opens another with the same number, and only then calls free. */
static void may_be_freed_behind_the_close(void **state) {
  scene *s = *state;
  int other[2], told = 0;
  xm_watch *w = xm_watch_new(s->l, s->fds[0], XM_WATCH_READ, count, &s->told), *again;
  xm_loop_turn(s->l, 0);
  close(s->fds[0]);
  assert_int_equal(pipe(other), 0);
  assert_int_equal(other[0], s->fds[0]);
  xm_watch_free(w);
  again = xm_watch_new(s->l, other[0], XM_WATCH_READ, count, &told);
  assert_non_null(again);
  assert_int_equal(write(other[1], "x", 1), 1);
  xm_loop_turn(s->l, 1000);
  assert_int_equal(told, 1);
  assert_int_equal(s->told, 0);
  xm_watch_free(again);
  close(other[1]);
}

static void tells_that_the_other_end_is_gone(void **state) {
  scene *s = *state;
  xm_watch *w = xm_watch_new(s->l, s->fds[1], XM_WATCH_READ, count, &s->told);
  close(s->fds[0]);
  s->fds[0] = dup(s->fds[1]);
  xm_loop_turn(s->l, 1000);
  assert_int_equal(s->told, 1);
  assert_true(xm_watch_take(w) & (XM_WATCH_ERROR | XM_WATCH_READ));
  xm_watch_free(w);
}

static void wants_a_descriptor_that_can_be_watched(void **state) {
  scene *s = *state;
  xm_watch *w = xm_watch_new(s->l, s->fds[0], XM_WATCH_READ, count, &s->told);
  assert_null(xm_watch_new(s->l, -1, XM_WATCH_READ, count, &s->told));
  assert_null(xm_watch_new(s->l, 999, XM_WATCH_READ, count, &s->told));
  assert_null(xm_watch_new(s->l, s->fds[0], XM_WATCH_READ, count, &s->told));
  xm_watch_free(w);
}

/* The kernel has it when the host sleeps: the loop's descriptor, which the host polls, becomes readable. */
static void wakes_a_host(void **state) {
  scene *s = *state;
  xm_watch *w = xm_watch_new(s->l, s->fds[0], XM_WATCH_READ, count, &s->told);
  struct pollfd p = {.fd = xm_loop_fd(s->l), .events = POLLIN};
  xm_loop_timeout(s->l);
  xm_loop_turn(s->l, 0);
  xm_loop_timeout(s->l);
  assert_int_equal(write(s->fds[1], "x", 1), 1);
  assert_int_equal(poll(&p, 1, 5000), 1);
  xm_loop_turn(s->l, 0);
  assert_int_equal(s->told, 1);
  xm_watch_free(w);
}

int main(void) {
#define IN_SCENE(f) cmocka_unit_test_setup_teardown(f, begin, end)
  const struct CMUnitTest tests[] = {
      IN_SCENE(tells_that_there_is_something_to_read), IN_SCENE(tells_that_there_is_room_to_write),
      IN_SCENE(is_silent_when_it_is_freed),            IN_SCENE(may_be_freed_behind_the_close),
      IN_SCENE(tells_that_the_other_end_is_gone),      IN_SCENE(wants_a_descriptor_that_can_be_watched),
      IN_SCENE(wakes_a_host),
  };
  alarm(60);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
