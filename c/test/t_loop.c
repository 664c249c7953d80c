#include <sys/timerfd.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "failing.h"

#include "../core/loop.c"

#include "failing_off.h"

/* Sets the system's clock forward, as the library sees it. */
static time_t set_forward;

int clock_gettime(clockid_t clock, struct timespec *t) {
  long rc = syscall(SYS_clock_gettime, clock, t);
  if (clock == CLOCK_REALTIME) t->tv_sec += set_forward;
  return (int)rc;
}

enum { MANY = 10000, LONGEST_MS = 40, ROUNDS = 20 };

/* A pipe whose reading end is watched. */
typedef struct ear {
  uv_poll_t poll;
  int fds[2];
  int heard;
  bool closed;
} ear;

static void on_heard(uv_poll_t *p, int status, int events) {
  ear *x = p->data;
  assert_int_equal(status, 0);
  assert_true(events & UV_READABLE);
  x->heard++;
}

static void on_closed(uv_handle_t *h) {
  ((ear *)h->data)->closed = true;
}

static void open_ear(xm_loop *l, ear *x) {
  *x = (ear){0};
  assert_int_equal(pipe(x->fds), 0);
  assert_int_equal(uv_poll_init(xm_loop_uv(l), &x->poll, x->fds[0]), 0);
  x->poll.data = x;
  assert_int_equal(uv_poll_start(&x->poll, UV_READABLE, on_heard), 0);
  xm_loop_touch(l);
}

static void close_ear(ear *x) {
  uv_close((uv_handle_t *)&x->poll, on_closed);
  close(x->fds[0]);
  close(x->fds[1]);
}

static void say(ear *x) {
  assert_int_equal(write(x->fds[1], "x", 1), 1);
}

static xm_loop *new_loop(void) {
  xm_err e = {0};
  xm_loop *l = xm_loop_new(&e);
  assert_non_null(l);
  assert_false(xm_err_is_set(&e));
  return l;
}

static void wait_until(xm_loop *l, uint64_t due) {
  while (xm_loop_now(l) < due) xm_loop_turn(l, 1);
}

/* Many timers, compared with a sorted list. */

typedef struct subject {
  xm_timer timer;
  unsigned armed; /* number of the last time it was armed; 0: idle */
  struct subject ***cursor;
} subject;

static void expect_turn(void *arg) {
  subject *s = arg;
  assert_ptr_equal(**s->cursor, s);
  assert_false(xm_timer_armed(&s->timer));
  ++*s->cursor;
}

static int by_due(const void *a, const void *b) {
  const subject *x = *(subject *const *)a, *y = *(subject *const *)b;
  if (x->timer.due != y->timer.due) return x->timer.due < y->timer.due ? -1 : 1;
  return x->armed < y->armed ? -1 : 1;
}

static void check_round(xm_loop *l, subject *all, subject **order, unsigned seed, unsigned n) {
  subject **cursor = order;
  uint64_t last = 0;
  unsigned i, armings = 0, armed = 0;
  srand(seed);
  for (i = 0; i < 3 * n; i++) {
    subject *s = &all[(unsigned)rand() % n];
    if (rand() % 4 == 0) {
      xm_timer_stop(l, &s->timer);
      s->armed = 0;
    } else {
      assert_int_equal(xm_timer_start(l, &s->timer, (uint64_t)(rand() % LONGEST_MS), expect_turn, s), 0);
      s->armed = ++armings;
      s->cursor = &cursor;
    }
    assert_int_equal(xm_timer_armed(&s->timer), s->armed != 0);
  }
  for (i = 0; i < n; i++) {
    if (all[i].armed) order[armed++] = &all[i];
  }
  qsort(order, armed, sizeof *order, by_due);
  for (i = 0; i < armed; i++) last = order[i]->timer.due;
  while (xm_loop_timeout(l) >= 0) {
    uint64_t now = xm_loop_now(l);
    xm_loop_fire(l);
    if (cursor < order + armed) assert_true((*cursor)->timer.due > now);
    xm_loop_turn(l, -1);
  }
  assert_ptr_equal(cursor, order + armed);
  assert_true(xm_loop_now(l) >= last);
  for (i = 0; i < n; i++) all[i].armed = 0;
}

static void fires_in_the_order_of_a_sorted_list(void **state) {
  xm_loop *l = new_loop();
  subject *all = calloc(MANY, sizeof *all), **order = calloc(MANY, sizeof(subject *));
  unsigned round;
  (void)state;
  for (round = 0; round < ROUNDS; round++) check_round(l, all, order, round, round * round * 12 + 1);
  check_round(l, all, order, 99, MANY);
  free(all);
  free(order);
  xm_loop_release(l);
}

static void count_handle(uv_handle_t *h, void *arg) {
  (void)h;
  ++*(int *)arg;
}

static void count_call(void *arg) {
  ++*(int *)arg;
}

static void timers_cost_no_handle(void **state) {
  xm_loop *l = new_loop();
  xm_timer *timers = calloc(MANY, sizeof *timers);
  int i, before = 0, handles = 0, calls = 0;
  (void)state;
  uv_walk(xm_loop_uv(l), count_handle, &before);
  for (i = 0; i < MANY; i++) assert_int_equal(xm_timer_start(l, &timers[i], 1000000, count_call, &calls), 0);
  xm_loop_turn(l, 1);
  uv_walk(xm_loop_uv(l), count_handle, &handles);
  assert_int_equal(handles, before);
  for (i = 0; i < MANY; i++) xm_timer_stop(l, &timers[i]);
  assert_int_equal(xm_loop_timeout(l), -1);
  assert_int_equal(calls, 0);
  free(timers);
  xm_loop_release(l);
}

static void never(void *arg) {
  (void)arg;
  fail();
}

/* Timers are stopped from either end. Without memory for a smaller block the table keeps its own, until the next
 * time. */
static void the_timer_table_shrinks(void **state) {
  enum { WAVE = 100000, FEW = 5 };
  static xm_timer timers[WAVE];
  xm_loop *l = new_loop();
  unsigned room;
  int i, round;
  (void)state;
  for (round = 0; round < 2; round++) {
    for (i = 0; i < WAVE; i++) assert_int_equal(xm_timer_start(l, &timers[i], 60000 + (uint64_t)i, never, NULL), 0);
    room = l->room;
    assert_true(room >= WAVE);
    heap_fails(0, true);
    for (i = WAVE - 1; i > WAVE / 50; i--) xm_timer_stop(l, &timers[round ? i : WAVE - 1 - i + WAVE / 50 + 1]);
    assert_true(heap_is_well());
    assert_int_equal(l->room, room);
    for (; i >= FEW; i--) xm_timer_stop(l, &timers[i]);
    assert_true(l->room <= USUAL_ROOM);
    for (i = 0; i < FEW; i++) assert_true(l->heap[timers[i].at].timer == &timers[i]);
  }
  for (i = 0; i < FEW; i++) xm_timer_stop(l, &timers[i]);
  xm_loop_release(l);
}

static void stopping_an_idle_timer_is_harmless(void **state) {
  xm_loop *l = new_loop();
  xm_timer idle = {0};
  (void)state;
  xm_timer_stop(l, &idle);
  assert_int_equal(xm_loop_fire(l), 0);
  xm_loop_release(l);
}

/* What a timer's function may do to other timers. */

typedef struct plot {
  xm_loop *loop;
  xm_timer timer;
  struct plot *victim;
  enum { NOTHING, STOP, ARM_NOW } deed;
  int calls;
} plot;

static void act(void *arg) {
  plot *p = arg;
  p->calls++;
  if (p->deed == STOP) xm_timer_stop(p->loop, &p->victim->timer);
  if (p->deed == ARM_NOW) assert_int_equal(xm_timer_start(p->loop, &p->victim->timer, 0, act, p->victim), 0);
}

static void arm(plot *p, xm_loop *l, int deed, plot *victim) {
  *p = (plot){.loop = l, .victim = victim};
  p->deed = (unsigned)deed;
  assert_int_equal(xm_timer_start(l, &p->timer, 0, act, p), 0);
}

static void a_timer_stopped_while_firing_does_not_fire(void **state) {
  xm_loop *l = new_loop();
  plot a, b, c;
  (void)state;
  arm(&a, l, STOP, &b);
  arm(&b, l, NOTHING, NULL);
  arm(&c, l, STOP, &c);
  assert_int_equal(xm_loop_fire(l), 2);
  assert_int_equal(b.calls, 0);
  assert_int_equal(c.calls, 1);
  assert_int_equal(xm_loop_timeout(l), -1);
  xm_loop_release(l);
}

static void a_timer_armed_while_firing_waits_for_the_next_call(void **state) {
  xm_loop *l = new_loop();
  plot a, b, c = {0}, d;
  int i;
  (void)state;
  arm(&a, l, ARM_NOW, &b); /* b was due already: now it has to wait for the next turn */
  arm(&b, l, ARM_NOW, &c);
  arm(&d, l, ARM_NOW, &d);
  c = (plot){.loop = l, .victim = &c, .deed = NOTHING};
  assert_int_equal(xm_loop_fire(l), 2);
  assert_int_equal(a.calls + d.calls, 2);
  assert_int_equal(b.calls, 0);
  assert_int_equal(xm_loop_timeout(l), 0);
  assert_int_equal(xm_loop_fire(l), 2);
  assert_int_equal(b.calls, 1);
  assert_int_equal(c.calls, 0);
  assert_int_equal(xm_loop_fire(l), 2);
  assert_int_equal(c.calls, 1);
  for (i = 0; i < 100; i++) assert_int_equal(xm_loop_fire(l), 1);
  assert_int_equal(d.calls, 103);
  xm_timer_stop(l, &d.timer);
  xm_loop_release(l);
}

static void arming_anew_moves_a_timer(void **state) {
  xm_loop *l = new_loop();
  xm_timer a = {0}, b = {0};
  int calls_a = 0, calls_b = 0;
  (void)state;
  xm_timer_start(l, &a, 0, count_call, &calls_a);
  xm_timer_start(l, &b, 1000000, count_call, &calls_b);
  xm_timer_start(l, &a, 2000000, count_call, &calls_a);
  assert_int_equal(xm_loop_fire(l), 0);
  xm_timer_start(l, &b, 0, count_call, &calls_b);
  assert_int_equal(xm_loop_fire(l), 1);
  assert_int_equal(calls_b, 1);
  xm_timer_stop(l, &a);
  xm_loop_release(l);
}

/* Waiting, alone and in a host's loop. */

static void timeout_tells_the_first_timer(void **state) {
  xm_loop *l = new_loop();
  xm_timer a = {0}, b = {0}, c = {0};
  int calls = 0, left;
  (void)state;
  assert_int_equal(xm_loop_timeout(l), -1);
  xm_timer_start(l, &a, UINT64_MAX, count_call, &calls);
  assert_int_equal(xm_loop_timeout(l), INT_MAX);
  xm_timer_start(l, &b, 3600000, count_call, &calls);
  left = xm_loop_timeout(l);
  assert_true(left >= 1 && left <= 3600000);
  xm_timer_start(l, &c, 0, count_call, &calls);
  assert_int_equal(xm_loop_timeout(l), 0);
  assert_int_equal(xm_loop_fire(l), 1);
  assert_true(xm_loop_timeout(l) >= 1 && xm_loop_timeout(l) <= left);
  xm_timer_stop(l, &b);
  assert_int_equal(xm_loop_timeout(l), INT_MAX);
  xm_timer_stop(l, &a);
  assert_int_equal(xm_loop_timeout(l), -1);
  xm_loop_release(l);
}

/* A turn wakes up neither too early nor again and again. */
static void a_turn_sleeps_until_the_first_timer(void **state) {
  xm_loop *l = new_loop();
  xm_timer t = {0};
  int calls = 0, turns = 0;
  (void)state;
  xm_timer_start(l, &t, 30, count_call, &calls);
  while (xm_loop_fire(l) == 0) {
    xm_loop_turn(l, -1);
    turns++;
  }
  assert_true(xm_loop_now(l) >= t.due);
  assert_true(turns >= 1 && turns <= 5);
  xm_loop_release(l);
}

static void a_turn_sleeps_as_long_as_it_may(void **state) {
  xm_loop *l = new_loop();
  xm_timer t = {0};
  uint64_t begin = xm_loop_now(l);
  int calls = 0;
  (void)state;
  xm_timer_start(l, &t, 1000000, count_call, &calls);
  xm_loop_turn(l, 20);
  assert_true(xm_loop_now(l) - begin >= 19);
  xm_loop_turn(l, 0);
  assert_int_equal(xm_loop_fire(l), 0);
  xm_timer_stop(l, &t);
  xm_loop_release(l);
}

static void a_turn_with_nothing_to_wait_for_ends(void **state) {
  xm_loop *l = new_loop();
  (void)state;
  xm_loop_turn(l, -1);
  xm_loop_release(l);
}

static void *say_later(void *arg) {
  usleep(10000);
  say(arg);
  return NULL;
}

static void a_watcher_ends_the_turn(void **state) {
  xm_loop *l = new_loop();
  xm_timer late = {0};
  pthread_t speaker;
  ear x;
  int calls = 0;
  (void)state;
  open_ear(l, &x);
  xm_timer_start(l, &late, 1000000, count_call, &calls);
  assert_int_equal(pthread_create(&speaker, NULL, say_later, &x), 0);
  while (!x.heard) xm_loop_turn(l, -1);
  assert_int_equal(xm_loop_fire(l), 0);
  xm_timer_stop(l, &late);
  pthread_join(speaker, NULL);
  close_ear(&x);
  xm_loop_release(l);
  assert_true(x.closed);
}

/* A signal such as Ctrl-C's must interrupt the turn of the loop. */

static volatile sig_atomic_t signals;

static void on_signal(int number) {
  (void)number;
  signals = signals + 1;
}

typedef struct knocker {
  pthread_t whom;
  volatile bool enough;
} knocker;

static void *knock(void *arg) {
  knocker *k = arg;
  while (!k->enough) {
    pthread_kill(k->whom, SIGUSR1);
    usleep(1000);
  }
  return NULL;
}

static void a_signal_ends_the_turn(void **state) {
  struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  knocker k = {.whom = pthread_self()};
  xm_loop *l = new_loop();
  pthread_t thread;
  ear x;
  (void)state;
  sigaction(SIGUSR1, &sa, NULL);
  open_ear(l, &x);
  xm_loop_sync(l);
  assert_int_equal(pthread_create(&thread, NULL, knock, &k), 0);
  xm_loop_turn(l, -1);
  k.enough = true;
  pthread_join(thread, NULL);
  assert_int_equal(x.heard, 0);
  assert_true(signals > 0);
  close_ear(&x);
  xm_loop_release(l);
}

static bool is_readable(int fd, int ms) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, ms) == 1;
}

static void the_descriptor_tells_of_news(void **state) {
  xm_loop *l = new_loop();
  ear x;
  int fd;
  (void)state;
  open_ear(l, &x);
  fd = xm_loop_fd(l);
  assert_false(is_readable(fd, 0));
  say(&x);
  assert_true(is_readable(fd, 10000));
  assert_int_equal(x.heard, 0);
  xm_loop_turn(l, 0);
  assert_int_equal(x.heard, 1);
  close_ear(&x);
  xm_loop_sync(l);
  xm_loop_release(l);
}

static void sync_turns_only_when_touched(void **state) {
  xm_loop *l = new_loop();
  ear x;
  (void)state;
  open_ear(l, &x);
  xm_loop_sync(l);
  say(&x);
  xm_loop_sync(l);
  assert_int_equal(x.heard, 0);
  xm_loop_touch(l);
  xm_loop_sync(l);
  assert_int_equal(x.heard, 1);
  xm_loop_touch(l);
  assert_int_equal(xm_loop_timeout(l), -1);
  assert_int_equal(x.heard, 2);
  close_ear(&x);
  xm_loop_release(l);
}

/* Does the host, which polls the descriptor, find it readable? */
static bool is_called(xm_loop *l) {
  struct pollfd news = {.fd = xm_loop_fd(l), .events = POLLIN};
  return poll(&news, 1, 0) == 1;
}

static void a_host_is_called_for_what_comes_sooner_than_it_was_told(void **state) {
  xm_loop *l = new_loop();
  xm_timer later = {0}, sooner = {0}, soonest = {0};
  int calls = 0;
  (void)state;
  xm_timer_start(l, &later, 1000000, count_call, &calls);
  assert_false(is_called(l)); /* the host hasn't asked for a timeout yet */
  assert_true(xm_loop_timeout(l) >= 900000 && xm_loop_timeout(l) <= 1000000);
  xm_timer_start(l, &soonest, 2000000, count_call, &calls);
  assert_false(is_called(l));
  xm_timer_start(l, &sooner, 500000, count_call, &calls);
  assert_true(is_called(l));
  xm_loop_touch(l);
  xm_loop_sync(l); /* a turn that isn't the host's */
  assert_true(is_called(l));
  xm_loop_turn(l, 0);
  assert_false(is_called(l));
  xm_timer_start(l, &soonest, 1000, count_call, &calls); /* as in a step, after which the host asks again */
  assert_false(is_called(l));
  xm_timer_stop(l, &later);
  xm_timer_stop(l, &sooner);
  xm_timer_stop(l, &soonest);
  xm_loop_release(l);
}

static void a_host_is_called_for_watchers_and_wants(void **state) {
  xm_loop *l = new_loop();
  (void)state;
  xm_loop_want(l);
  xm_loop_ask_again(l);
  assert_false(is_called(l)); /* there was no host yet */
  assert_int_equal(xm_loop_timeout(l), -1);
  xm_loop_want(l);
  assert_true(is_called(l));
  xm_loop_turn(l, 0);
  xm_loop_want(l);
  assert_false(is_called(l));
  xm_loop_ask_again(l);
  assert_true(is_called(l));
  xm_loop_turn(l, 0);
  assert_int_equal(xm_loop_timeout(l), -1);
  xm_loop_touch(l);
  assert_true(is_called(l));
  xm_loop_release(l);
}

static void touch_again(uv_poll_t *p, int status, int events) {
  (void)status;
  (void)events;
  xm_loop_touch(p->loop->data);
}

/* A watcher that was changed during the turn hasn't been given to the kernel yet, so no host may sleep. */
static void a_touch_during_the_turn_is_not_lost(void **state) {
  xm_loop *l = new_loop();
  ear x;
  (void)state;
  open_ear(l, &x);
  xm_loop_uv(l)->data = l;
  uv_poll_start(&x.poll, UV_READABLE, touch_again);
  say(&x);
  xm_loop_turn(l, 1000);
  assert_int_equal(xm_loop_timeout(l), 0);
  close_ear(&x);
  xm_loop_turn(l, 0);
  assert_int_equal(xm_loop_timeout(l), -1);
  xm_loop_release(l);
}

static void the_last_holder_ends_it(void **state) {
  xm_loop *l = new_loop();
  ear x;
  (void)state;
  open_ear(l, &x);
  xm_loop_hold(l);
  xm_loop_release(l);
  say(&x);
  while (!x.heard) xm_loop_turn(l, -1);
  close_ear(&x);
  assert_false(x.closed);
  xm_loop_release(l);
  assert_true(x.closed);
  xm_loop_release(NULL);
}

static void no_descriptors_is_an_error(void **state) {
  struct rlimit old, none;
  xm_err e = {0};
  xm_loop *l;
  (void)state;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
  none = old;
  none.rlim_cur = 3;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  l = xm_loop_new(&e);
  setrlimit(RLIMIT_NOFILE, &old);
  assert_null(l);
  assert_int_equal(e.layer, XM_LAYER_LIMIT);
  assert_string_equal(e.condition, "EMFILE");
  assert_true(e.native > 0 && e.retry);
}

static void the_clock_goes_on(void **state) {
  xm_loop *l = new_loop();
  uint64_t begin = xm_loop_now(l);
  (void)state;
  wait_until(l, begin + 3);
  assert_true(xm_loop_now(l) >= begin + 3);
  xm_loop_release(l);
}

static void count(void *arg) {
  ++*(int *)arg;
}

/* The system's clock has advanced by a minute, and ours hasn't: every watch is called once, in the next turn. */
static void a_jump_of_the_clock_is_told(void **state) {
  xm_loop *l = new_loop();
  xm_jump first, second;
  int a = 0, b = 0;
  (void)state;
  xm_jump_watch(l, &first, count, &a);
  xm_jump_watch(l, &second, count, &b);
  xm_loop_turn(l, 0);
  set_forward += 4; /* as when a clock is corrected */
  xm_loop_turn(l, 0);
  assert_int_equal(a + b, 0);
  set_forward += 60;
  xm_loop_turn(l, 0);
  assert_int_equal(a, 1);
  assert_int_equal(b, 1);
  xm_jump_unwatch(l, &first);
  xm_jump_unwatch(l, &first);
  set_forward -= 3600;
  xm_loop_turn(l, 0);
  assert_int_equal(a, 1);
  assert_int_equal(b, 2);
  xm_jump_unwatch(l, &second);
  xm_loop_release(l);
}

/* Watches may end in any order; those that are left are called. */
static void watches_may_end_in_any_order(void **state) {
  enum { N = 7 };
  xm_loop *l = new_loop();
  xm_jump jumps[N] = {0};
  int told[N] = {0}, i, k;
  (void)state;
  xm_jump_unwatch(l, &jumps[0]);
  for (i = 0; i < N; i++) xm_jump_watch(l, &jumps[i], count, &told[i]);
  for (i = 0; i < N; i++) {
    xm_jump_unwatch(l, &jumps[i * 3 % N]);
    set_forward += 60;
    xm_loop_turn(l, 0);
    for (k = 0; k <= i; k++) assert_int_equal(told[k * 3 % N], k);
    for (k = i + 1; k < N; k++) assert_int_equal(told[k * 3 % N], i + 1);
  }
  xm_loop_release(l);
}

#if XM_HAS_TIMERFD

/* The alarm on the system's clock. */

static int settings, alarm_fd = -1;
static bool time_is_over;
static int cancellations;

int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old) {
  const struct itimerspec past = {.it_value.tv_sec = 1};
  settings++;
  alarm_fd = fd;
  return (int)syscall(SYS_timerfd_settime, fd, flags, time_is_over ? &past : new, old);
}

ssize_t read(int fd, void *to, size_t n) {
  ssize_t got = syscall(SYS_read, fd, to, n);
  if (fd != alarm_fd || cancellations == 0) return got;
  cancellations--;
  errno = ECANCELED;
  return -1;
}

static bool has_news(xm_loop *l) {
  struct pollfd news = {.fd = xm_loop_fd(l), .events = POLLIN};
  return poll(&news, 1, 0) > 0;
}

/* It is set for the end of time. If that is past (2038, with a time_t of 32 bits), it expires once, and isn't set
 * again. */
static void an_alarm_that_is_due_is_not_set_again(void **state) {
  xm_loop *l = new_loop();
  xm_jump j;
  struct itimerspec is;
  int told = 0, i;
  (void)state;
  xm_jump_watch(l, &j, count, &told);
  assert_int_equal(timerfd_gettime(alarm_fd, &is), 0);
  if (sizeof(time_t) == 8) assert_true(is.it_value.tv_sec > INT64_C(100) * 365 * 86400);
  xm_jump_unwatch(l, &j);
  time_is_over = true;
  settings = 0;
  xm_jump_watch(l, &j, count, &told);
  xm_loop_turn(l, 1000);
  assert_int_equal(settings, 1);
  for (i = 0; i < 3; i++) {
    xm_loop_turn(l, 0);
    assert_false(has_news(l));
  }
  assert_int_equal(settings, 1);
  time_is_over = false;
  xm_jump_unwatch(l, &j);
  xm_loop_release(l);
}

static void an_alarm_that_was_cancelled_is_set_again(void **state) {
  xm_loop *l = new_loop();
  xm_jump j;
  int told = 0;
  (void)state;
  time_is_over = true; /* so that a read would succeed, in place of which it is cancelled */
  settings = 0;
  cancellations = 1;
  xm_jump_watch(l, &j, count, &told);
  while (cancellations) xm_loop_turn(l, 1000);
  assert_int_equal(settings, 2);
  time_is_over = false;
  xm_jump_unwatch(l, &j);
  xm_loop_release(l);
}

#endif

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fires_in_the_order_of_a_sorted_list),
      cmocka_unit_test(timers_cost_no_handle),
      cmocka_unit_test(the_timer_table_shrinks),
      cmocka_unit_test(stopping_an_idle_timer_is_harmless),
      cmocka_unit_test(a_timer_stopped_while_firing_does_not_fire),
      cmocka_unit_test(a_timer_armed_while_firing_waits_for_the_next_call),
      cmocka_unit_test(arming_anew_moves_a_timer),
      cmocka_unit_test(timeout_tells_the_first_timer),
      cmocka_unit_test(a_turn_sleeps_until_the_first_timer),
      cmocka_unit_test(a_turn_sleeps_as_long_as_it_may),
      cmocka_unit_test(a_turn_with_nothing_to_wait_for_ends),
      cmocka_unit_test(a_watcher_ends_the_turn),
      cmocka_unit_test(a_signal_ends_the_turn),
      cmocka_unit_test(the_descriptor_tells_of_news),
      cmocka_unit_test(sync_turns_only_when_touched),
      cmocka_unit_test(a_touch_during_the_turn_is_not_lost),
      cmocka_unit_test(a_host_is_called_for_what_comes_sooner_than_it_was_told),
      cmocka_unit_test(a_host_is_called_for_watchers_and_wants),
      cmocka_unit_test(the_last_holder_ends_it),
      cmocka_unit_test(no_descriptors_is_an_error),
      cmocka_unit_test(the_clock_goes_on),
      cmocka_unit_test(a_jump_of_the_clock_is_told),
      cmocka_unit_test(watches_may_end_in_any_order),
#if XM_HAS_TIMERFD
      cmocka_unit_test(an_alarm_that_is_due_is_not_set_again),
      cmocka_unit_test(an_alarm_that_was_cancelled_is_set_again),
#endif
  };
  alarm(300);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
