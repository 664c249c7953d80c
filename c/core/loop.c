#include "has.h"
#include "loop.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum {
  FIRST_ROOM = 16, USUAL_ROOM = 4096,
  JUMP_MS = 5000, /* how far the wall clock and ours may drift apart between two turns; more is a jump */
};

/* Timers that are due in the same millisecond fire in the order they were armed in. */
typedef struct entry {
  uint64_t due;
  uint64_t number; /* all armings are numbered */
  xm_timer *timer;
} entry;

/* See xm_loop_own_clock. */
typedef struct own_clock {
  bool is_on;
  uint64_t now;
  int64_t wall, ticks;
} own_clock;

struct xm_loop {
  uv_loop_t uv;
  entry *heap;      /* heap[1] is the first to be due; heap[0] is never used; heap[t->at].timer == t */
  unsigned count;   /* of armed timers */
  unsigned room;    /* how many fit into the heap */
  uint64_t armings; /* so far */
  unsigned holders;
  xm_jump *jumps;   /* who wants to know of jumps of the clock */
  int64_t apart;    /* the wall clock minus ours */
  own_clock own;
  uint64_t ahead;   /* how far our clock is ahead of the system's, because a clock of its own went faster */
  struct clock_alarm *alarm; /* while somebody watches for jumps; NULL: there is none */
  bool touched; /* libuv knows of a watcher that the kernel may not know of */
  bool has_host;    /* a host has asked, so there is `call` */
  uv_async_t call;  /* makes the descriptor readable */
  uint64_t told;    /* when the host was told to make a turn; 0: one was made since then, or it was called */
  bool called;      /* the descriptor is to be readable until the next turn */
};

/* Jumps. */

static int64_t read_apart(const xm_loop *l) {
  return xm_loop_wall(l) - (int64_t)xm_loop_now(l);
}

static void look_at_clock(xm_loop *l) {
  int64_t apart = read_apart(l), moved = apart - l->apart;
  xm_jump *j, *next;
  l->apart = apart;
  if (moved > -JUMP_MS && moved < JUMP_MS) return;
  for (j = l->jumps; j; j = next) {
    next = j->next;
    j->fn(j->arg);
  }
}

#if XM_HAS_TIMERFD

/* Wakes a host that sleeps: a timer that is set by the wall clock is cancelled by the kernel when that clock is set.
 * (Elsewhere the next turn notices.) */
typedef struct clock_alarm {
  uv_poll_t poll;
  int fd;
} clock_alarm;

/* It is there to be cancelled, never to expire: at the end of time, which is 2038-01-19 where time_t has 32 bits. */
static void set_alarm(const clock_alarm *a) {
  const struct itimerspec never = {.it_value.tv_sec = (time_t)(sizeof(time_t) < 8 ? INT32_MAX : INT64_MAX)};
  timerfd_settime(a->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL);
}

static void on_alarm(uv_poll_t *p, int status, int events) {
  clock_alarm *a = (clock_alarm *)p;
  uint64_t n;
  (void)status, (void)events;
  if (read(a->fd, &n, sizeof n) < 0 && errno == ECANCELED) set_alarm(a); /* look_at_clock sees by how much it was set */
}

static clock_alarm *free_alarm(clock_alarm *a) {
  if (a->fd >= 0) close(a->fd);
  free(a);
  return NULL;
}

static void on_alarm_closed(uv_handle_t *h) {
  free_alarm((clock_alarm *)h);
}

/* NULL: there can't be one. */
static clock_alarm *new_alarm(xm_loop *l) {
  clock_alarm *a = calloc(1, sizeof *a);
  if (!a) return NULL;
  a->fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
  if (a->fd < 0 || uv_poll_init(&l->uv, &a->poll, a->fd) < 0) return free_alarm(a);
  set_alarm(a);
  uv_poll_start(&a->poll, UV_READABLE, on_alarm);
  uv_unref((uv_handle_t *)&a->poll);
  return a;
}

static void end_alarm(clock_alarm *a) {
  if (a) uv_close((uv_handle_t *)&a->poll, on_alarm_closed);
}

static void ref_alarm(clock_alarm *a, bool yes) {
  if (a && yes) uv_ref((uv_handle_t *)&a->poll);
  if (a && !yes) uv_unref((uv_handle_t *)&a->poll);
}

#else

typedef struct clock_alarm clock_alarm;
static clock_alarm *new_alarm(xm_loop *l) { return (void)l, NULL; }
static void end_alarm(clock_alarm *a) { (void)a; }
static void ref_alarm(clock_alarm *a, bool yes) { (void)a, (void)yes; }

#endif

void xm_jump_watch(xm_loop *l, xm_jump *j, void (*fn)(void *), void *arg) {
  if (!l->jumps) l->alarm = new_alarm(l);
  *j = (xm_jump){.next = l->jumps, .at = &l->jumps, .fn = fn, .arg = arg};
  if (j->next) j->next->at = &j->next;
  l->jumps = j;
}

void xm_jump_unwatch(xm_loop *l, xm_jump *j) {
  if (!j->at) return;
  *j->at = j->next;
  if (j->next) j->next->at = j->at;
  j->at = NULL;
  if (l->jumps) return;
  end_alarm(l->alarm);
  l->alarm = NULL;
  l->touched = true;
}

xm_loop *xm_loop_new(xm_err *e) {
  xm_loop *l = calloc(1, sizeof *l);
  int status;
  if (!l) {
    xm_err_nomem(e);
    return NULL;
  }
  status = uv_loop_init(&l->uv);
  if (status < 0) {
    xm_err_errno(e, XM_LAYER_LIMIT, -status, uv_err_name(status), true, "cannot make an event loop");
    free(l);
    return NULL;
  }
  l->holders = 1;
  l->apart = read_apart(l);
  return l;
}

void xm_loop_hold(xm_loop *l) {
  l->holders++;
}

void xm_loop_release(xm_loop *l) {
  int left;
  if (!l || --l->holders > 0) return;
  assert(l->count == 0 && !l->jumps);
  if (l->has_host) uv_close((uv_handle_t *)&l->call, NULL);
  /* Every watcher was closed by its owner: this ends when the last of their close callbacks has run. */
  uv_run(&l->uv, UV_RUN_DEFAULT);
  left = uv_loop_close(&l->uv);
  assert(left == 0);
  (void)left;
  free(l->heap);
  free(l);
}

int xm_loop_socket(int family, int type, int protocol) {
#if XM_HAS_SOCKET_FLAGS
  int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
#else
  int fd = socket(family, type, protocol);
  if (fd >= 0 && (fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)) {
    close(fd);
    return -1;
  }
#endif
#ifdef SO_NOSIGPIPE
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &(const int){1}, sizeof(int));
#endif
  return fd;
}

struct uv_loop_s *xm_loop_uv(xm_loop *l) {
  return &l->uv;
}

static void call_host(xm_loop *l) {
  l->told = 0;
  l->called = true;
  (void)uv_async_send(&l->call);
}

/* A turn is wanted at `due`. */
static void want(xm_loop *l, uint64_t due) {
  if (due < l->told) call_host(l);
}

void xm_loop_want(xm_loop *l) {
  want(l, 0);
}

void xm_loop_ask_again(xm_loop *l) {
  if (l->has_host) call_host(l);
}

void xm_loop_touch(xm_loop *l) {
  l->touched = true;
  want(l, 0);
}

static uint64_t system_now(void) {
  return uv_hrtime() / 1000000;
}

uint64_t xm_loop_now(const xm_loop *l) {
  return l->own.is_on ? l->own.now : system_now() + l->ahead;
}

int64_t xm_loop_wall(const xm_loop *l) {
  struct timespec now;
  if (l->own.is_on) return l->own.wall;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t xm_loop_ticks(const xm_loop *l) {
  struct timespec now;
  if (l->own.is_on) return l->own.ticks;
#if XM_HAS_BOOTTIME
  if (clock_gettime(CLOCK_BOOTTIME, &now) < 0)
#endif
    clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void xm_loop_own_clock(xm_loop *l, int64_t wall) {
  own_clock own = {.is_on = true, .now = xm_loop_now(l), .wall = wall, .ticks = xm_loop_ticks(l)};
  l->own = own;
  l->apart = read_apart(l); /* this is no jump */
}

bool xm_loop_has_own_clock(const xm_loop *l) {
  return l->own.is_on;
}

void xm_loop_pass(xm_loop *l, uint64_t ms) {
  l->own.now += ms;
  l->own.wall += (int64_t)ms;
  l->own.ticks += (int64_t)ms;
  if (l->count) want(l, l->heap[1].due <= l->own.now ? 0 : l->heap[1].due);
}

void xm_loop_system_clock(xm_loop *l) {
  uint64_t real = system_now();
  if (!l->own.is_on) return;
  l->ahead = l->own.now > real ? l->own.now - real : 0;
  l->own.is_on = false;
  l->apart = read_apart(l);
}

void xm_loop_boot(char id[XM_LOOP_BOOT + 1]) {
  int fd = XM_HAS_BOOT_ID ? open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC) : -1;
  ssize_t n = fd < 0 ? 0 : read(fd, id, XM_LOOP_BOOT);
  if (fd >= 0) close(fd);
  id[n == XM_LOOP_BOOT ? n : 0] = '\0';
}

static bool before(const entry *a, const entry *b) {
  return a->due != b->due ? a->due < b->due : a->number < b->number;
}

static void put(xm_loop *l, unsigned at, entry e) {
  l->heap[at] = e;
  e.timer->at = at;
}

/* The earliest of the four children of `at`; 0: it has none. Four, because each level costs a look at a timer that may
 * be anywhere in memory. */
static unsigned first_below(const xm_loop *l, unsigned at) {
  unsigned first = 4 * at - 2, last = 4 * at + 1, i;
  if (first > l->count) return 0;
  if (last > l->count) last = l->count;
  for (i = first + 1; i <= last; i++)
    if (before(&l->heap[i], &l->heap[first])) first = i;
  return first;
}

/* Puts `e` where it belongs, beginning at the free place `at`. */
static void settle(xm_loop *l, unsigned at, entry e) {
  unsigned above, below;
  for (; at > 1 && before(&e, &l->heap[above = (at + 2) / 4]); at = above) put(l, at, l->heap[above]);
  for (; (below = first_below(l, at)) && before(&l->heap[below], &e); at = below) put(l, at, l->heap[below]);
  put(l, at, e);
}

static int make_room(xm_loop *l) {
  unsigned room = l->room ? l->room * 2 : FIRST_ROOM;
  entry *bigger;
  if (l->count < l->room) return XM_OK;
  if (room > UINT_MAX / 4) return XM_ENOMEM;
  bigger = realloc(l->heap, (room + 1) * sizeof *bigger);
  if (!bigger) return XM_ENOMEM;
  l->heap = bigger;
  l->room = room;
  return XM_OK;
}

/* A burst of timers has passed: most of the memory for it is given back. */
static void give_room_back(xm_loop *l) {
  entry *smaller;
  if (l->room <= USUAL_ROOM || l->count > l->room / 8) return;
  smaller = realloc(l->heap, (l->room / 4 + 1) * sizeof *smaller);
  if (!smaller) return;
  l->heap = smaller;
  l->room /= 4;
}

int xm_timer_start(xm_loop *l, xm_timer *t, uint64_t ms, void (*fn)(void *), void *arg) {
  uint64_t now = xm_loop_now(l);
  if (!t->at) {
    if (make_room(l) < 0) return XM_ENOMEM;
    t->at = ++l->count;
  }
  t->due = ms > UINT64_MAX - now ? UINT64_MAX : now + ms;
  t->fn = fn;
  t->arg = arg;
  settle(l, t->at, (entry){.due = t->due, .number = l->armings++, .timer = t});
  want(l, t->due);
  return XM_OK;
}

void xm_timer_stop(xm_loop *l, xm_timer *t) {
  unsigned hole = t->at;
  entry last;
  if (!hole) return;
  t->at = 0;
  last = l->heap[l->count--];
  if (hole <= l->count) settle(l, hole, last);
  give_room_back(l);
}

int xm_loop_fire_some(xm_loop *l, int most) {
  uint64_t now = xm_loop_now(l), armings = l->armings;
  int fired = 0;
  xm_timer *t;
  /* What fn arms is due at `now` at the earliest and has a higher number, so it comes after all that were due. */
  while (fired < most && l->count && l->heap[1].due <= now && l->heap[1].number < armings) {
    t = l->heap[1].timer;
    xm_timer_stop(l, t);
    fired++;
    t->fn(t->arg);
  }
  return fired;
}

int xm_loop_fire(xm_loop *l) {
  return xm_loop_fire_some(l, INT_MAX);
}

static int until_first(const xm_loop *l) {
  uint64_t now, wait;
  if (!l->count) return -1;
  now = xm_loop_now(l);
  if (l->heap[1].due <= now) return 0;
  wait = l->heap[1].due - now;
  return wait < INT_MAX ? (int)wait : INT_MAX;
}

/* Milliseconds until the loop needs a turn if no watcher has news before that; -1: it needs none. */
static int until_wanted(const xm_loop *l) {
  bool loose_ends = uv_loop_alive(&l->uv) && uv_backend_timeout(&l->uv) == 0;
  return l->touched || loose_ends ? 0 : until_first(l);
}

static int shorter(int a, int b) {
  if (a < 0) return b;
  return b < 0 || a < b ? a : b;
}

/* Handles that keep no loop alive have news, too: with nothing else to wait for, libuv would not look at them, and the
 * descriptor would stay readable. */
static void count_quiet_ones(xm_loop *l, bool yes) {
  uv_handle_t *call = (uv_handle_t *)&l->call;
  if (l->has_host && yes) uv_ref(call);
  if (l->has_host && !yes) uv_unref(call);
  ref_alarm(l->alarm, yes);
}

static void run(xm_loop *l) {
  l->touched = false; /* first, since a callback may touch again */
  count_quiet_ones(l, true);
  uv_run(&l->uv, UV_RUN_NOWAIT);
  count_quiet_ones(l, false);
}

void xm_loop_turn(xm_loop *l, int ms) {
  struct pollfd news = {.fd = uv_backend_fd(&l->uv), .events = POLLIN};
  int wait = l->own.is_on ? 0 : shorter(ms, until_wanted(l));
  l->told = 0;
  if (wait < 0 && !uv_loop_alive(&l->uv)) wait = 0; /* nothing could ever end the wait */
  /* To wait in libuv itself would take a libuv timer as well, and libuv goes back to sleep after a signal. */
  if (wait != 0) (void)poll(&news, 1, wait);
  l->called = false;
  run(l);
  look_at_clock(l);
}

void xm_loop_sync(xm_loop *l) {
  if (!l->touched) return;
  run(l);
  if (l->called) call_host(l); /* running may have consumed the last call */
}

static void meet_host(xm_loop *l) {
  if (l->has_host) return;
  (void)uv_async_init(&l->uv, &l->call, NULL); /* can't fail: uv_loop_init has set up what it needs */
  uv_unref((uv_handle_t *)&l->call);
  l->has_host = l->touched = true;
}

int xm_loop_fd(xm_loop *l) {
  meet_host(l);
  xm_loop_sync(l);
  return uv_backend_fd(&l->uv);
}

int xm_loop_timeout(xm_loop *l) {
  int ms;
  meet_host(l);
  xm_loop_sync(l);
  ms = until_wanted(l);
  l->told = ms < 0 ? UINT64_MAX : xm_loop_now(l) + (uint64_t)ms;
  return ms;
}
