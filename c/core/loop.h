/* loop: the one libuv loop of a Lua state, and the timers on it. Rank 2: uses err, has.
 *
 * Nothing that runs inside a turn of libuv does any work: watchers only set marks and put their owner on the ready
 * list. The work is done after the turn, so nothing is ever re-entered, and a turn may be made at any moment. */
#ifndef XM_LOOP_H
#define XM_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "err.h"
#include "has.h"

typedef struct xm_loop xm_loop;
struct uv_loop_s;

/* A point in time at which its owner, in which it is embedded, wants to be called. All zero: idle. */
typedef struct xm_timer {
  uint64_t due;               /* milliseconds of xm_loop_now's clock */
  unsigned at;                /* place in the heap, from 1; 0: not armed */
  void (*fn)(void *arg);      /* may arm and disarm any timer; may not free the loop */
  void *arg;
} xm_timer;

/* NULL: no memory or no descriptors (`e` set). Loops are reference-counted: everyone who keeps one holds it. */
xm_loop *xm_loop_new(xm_err *e);
void xm_loop_hold(xm_loop *l);
void xm_loop_release(xm_loop *l);

/* libuv's loop, for the watchers of sock and dns. Whoever adds or changes one calls xm_loop_touch. */
struct uv_loop_s *xm_loop_uv(xm_loop *l);
/* socket(2), for what libuv is to watch. It doesn't block, is closed on exec, and raises no SIGPIPE; where the socket
 * has no option for that (Linux), each send must be passed MSG_NOSIGNAL. */
int xm_loop_socket(int family, int type, int protocol);
void xm_loop_touch(xm_loop *l);

/* Monotonic milliseconds, read anew with each call. */
uint64_t xm_loop_now(const xm_loop *l);

/* Milliseconds since 1970, by a clock that may be set at any moment. */
int64_t xm_loop_wall(const xm_loop *l);
/* Milliseconds by a clock that nobody sets and that goes on while the machine sleeps (if the system has such a clock),
 * for ages. It begins anew when the machine is started; xm_loop_boot tells one start from another: a text, "" where the
 * system has none. Processes of the same start read the same clock. */
int64_t xm_loop_ticks(const xm_loop *l);
enum { XM_LOOP_BOOT = 36 };
void xm_loop_boot(char id[XM_LOOP_BOOT + 1]);

/* For tests: a clock of the loop's own in place of these three. It shows `wall` milliseconds since 1970 and stands
 * still until time is passed; the other two go on from where they are. With such a clock no turn waits. (What libuv,
 * c-ares and TLS time by themselves goes by the system's.) */
void xm_loop_own_clock(xm_loop *l, int64_t wall);
bool xm_loop_has_own_clock(const xm_loop *l);
void xm_loop_pass(xm_loop *l, uint64_t ms); /* only where there is such a clock */
/* Back to the system's clock; xm_loop_now doesn't go backwards by that. */
void xm_loop_system_clock(xm_loop *l);

/* For whoever wants to know that time has passed unnoticed: the machine has slept, or was halted, or its clock was set;
 * in any case links may have died. Embedded in its owner; fn may only set a mark. */
typedef struct xm_jump {
  struct xm_jump *next, **at; /* `at`: the pointer that points to this; NULL: it isn't watching */
  void (*fn)(void *arg);
  void *arg;
} xm_jump;
void xm_jump_watch(xm_loop *l, xm_jump *j, void (*fn)(void *), void *arg);
void xm_jump_unwatch(xm_loop *l, xm_jump *j); /* harmless for one that is all zero or isn't watching */

/* (Re)arms `t` to fire `ms` from now. 0 or XM_ENOMEM. fn is called by xm_loop_fire, never by libuv. */
int xm_timer_start(xm_loop *l, xm_timer *t, uint64_t ms, void (*fn)(void *), void *arg);
void xm_timer_stop(xm_loop *l, xm_timer *t);
static inline bool xm_timer_armed(const xm_timer *t) { return t->at != 0; }

/* One turn: waits until a watcher has news or the first timer is due, at most `ms` milliseconds (0: not at all, -1:
 * without limit). May return sooner with nothing done (a signal came, a watcher was touched, there is nothing to wait
 * for): whoever waits for something makes turns until it is there. */
void xm_loop_turn(xm_loop *l, int ms);
/* Calls fn of every timer that was due when this was called. Returns how many. */
int xm_loop_fire(xm_loop *l);
/* The same, for the first `most` of them. */
int xm_loop_fire_some(xm_loop *l, int most);

/* For hosts that wait themselves. fd: a descriptor that becomes readable when a watcher has news; timeout: milliseconds
 * until the first timer is due, -1 when there is none. Both first tell the kernel of new watchers (xm_loop_sync). When
 * something that is done after the host was told, and outside of turns, needs a turn sooner, it makes the descriptor
 * readable until the next turn: so the host may sleep for that time, whatever is called meanwhile. */
int xm_loop_fd(xm_loop *l);
int xm_loop_timeout(xm_loop *l);
/* Asks for a turn now, if a host was told of a later one. */
void xm_loop_want(xm_loop *l);
/* Turns were made, but not by the host: it has to ask again. */
void xm_loop_ask_again(xm_loop *l);
/* Makes a turn without waiting, if a watcher changed since the last one: libuv tells the kernel only in a turn. */
void xm_loop_sync(xm_loop *l);

#endif
