/* loop: the one libuv loop of a Lua state, and the timers on it. Rank 2: knows err, has.
 *
 * Nothing that runs inside a turn of libuv does work: watchers only set marks and put their owner on the ready list.
 * The work is pulled after the turn, so nothing is ever re-entered, and a turn may be made at any moment. */
#ifndef XM_LOOP_H
#define XM_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "err.h"
#include "has.h"

typedef struct xm_loop xm_loop;
struct uv_loop_s;

/* A moment that matters to somebody: embedded in its owner, not allocated. All zero: idle. */
typedef struct xm_timer {
  uint64_t due;               /* milliseconds of xm_loop_now's clock */
  unsigned at;                /* place in the heap, from 1; 0: not armed */
  void (*fn)(void *arg);      /* may arm and disarm any timer; may not free the loop */
  void *arg;
} xm_timer;

/* NULL: no memory or no descriptors (`e` set). The loop is counted: everyone who keeps it holds it. */
xm_loop *xm_loop_new(xm_err *e);
void xm_loop_hold(xm_loop *l);
void xm_loop_release(xm_loop *l);

/* libuv's loop, for the watchers of sock and dns. Who adds or changes one says so with xm_loop_touch. */
struct uv_loop_s *xm_loop_uv(xm_loop *l);
/* socket(2): what libuv is to watch. It doesn't wait, is closed on exec, and raises no SIGPIPE: where the socket can't be
 * told so (Linux), each send is, by MSG_NOSIGNAL. */
int xm_loop_socket(int family, int type, int protocol);
void xm_loop_touch(xm_loop *l);

/* Monotonic milliseconds, read anew. */
uint64_t xm_loop_now(const xm_loop *l);

/* Milliseconds since 1970, by a clock that may be set at any moment. */
int64_t xm_loop_wall(const xm_loop *l);
/* Milliseconds by a clock that nobody sets and that goes on while the machine sleeps (where there is none: not then), for
 * ages. It begins anew when the machine is started; xm_loop_boot tells one start from another: a text, "" where the system
 * has none. Processes of the same start read the same clock. */
int64_t xm_loop_ticks(const xm_loop *l);
enum { XM_LOOP_BOOT = 36 };
void xm_loop_boot(char id[XM_LOOP_BOOT + 1]);

/* For tests: a clock of the loop's own in the place of these three. It says `wall` milliseconds since 1970 and stands still, until
 * time is passed; the other two go on from where they are. While it is there no turn waits. (What libuv, c-ares and TLS
 * time by themselves goes by the system's.) */
void xm_loop_own_clock(xm_loop *l, int64_t wall);
bool xm_loop_has_own_clock(const xm_loop *l);
void xm_loop_pass(xm_loop *l, uint64_t ms); /* only where there is such a clock */
/* The system's again; xm_loop_now doesn't go back by that. */
void xm_loop_system_clock(xm_loop *l);

/* Time that nobody has lived through: the machine has slept, or was halted, or its clock was set; either way links may have
 * died unnoticed. Embedded in who wants to know; fn may only mark. */
typedef struct xm_jump {
  struct xm_jump *next, **at; /* `at`: what points to it; NULL: it doesn't watch */
  void (*fn)(void *arg);
  void *arg;
} xm_jump;
void xm_jump_watch(xm_loop *l, xm_jump *j, void (*fn)(void *), void *arg);
void xm_jump_unwatch(xm_loop *l, xm_jump *j); /* harmless for one that is all zero or doesn't watch */

/* (Re)arms `t` to fire `ms` from now. 0 or XM_ENOMEM. fn is called by xm_loop_fire, never by libuv. */
int xm_timer_start(xm_loop *l, xm_timer *t, uint64_t ms, void (*fn)(void *), void *arg);
void xm_timer_stop(xm_loop *l, xm_timer *t);
static inline bool xm_timer_armed(const xm_timer *t) { return t->at != 0; }

/* One turn: waits until a watcher or the first timer is due, at most `ms` milliseconds (0: not at all, -1: no bound).
 * May return sooner with nothing done (a signal came, a watcher was touched, there is nothing to wait for): who waits
 * for something turns until it is there. */
void xm_loop_turn(xm_loop *l, int ms);
/* Calls fn of every timer that was due when the call began. Returns how many. */
int xm_loop_fire(xm_loop *l);
/* The same for the first `most` of them. */
int xm_loop_fire_some(xm_loop *l, int most);

/* For hosts that wait themselves. The descriptor becomes readable when a watcher has news; milliseconds until the first
 * timer is due, -1 when there is none. Both first tell the kernel of new watchers (xm_loop_sync). What is done after the
 * host was told, and outside of turns, and wants a turn sooner, makes the descriptor readable until the next turn: so the
 * host may sleep until then whatever is called meanwhile. */
int xm_loop_fd(xm_loop *l);
int xm_loop_timeout(xm_loop *l);
/* A turn is wanted now, if a host was told of a later one. */
void xm_loop_want(xm_loop *l);
/* Turns were made that a host did not make: it is to ask again. */
void xm_loop_ask_again(xm_loop *l);
/* A turn without waiting, if a watcher changed since the last one: libuv tells the kernel only then. */
void xm_loop_sync(xm_loop *l);

#endif
