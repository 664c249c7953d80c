/* watch: somebody else's descriptor under the loop's eye, for who has sockets that are not the library's. Rank 2: knows err,
 * loop. As everywhere, libuv's watcher only marks. */
#ifndef XM_WATCH_H
#define XM_WATCH_H

#include "err.h"
#include "loop.h"

typedef struct xm_watch xm_watch;

/* XM_WATCH_ERROR is told, never asked for: the descriptor is broken, and nothing more is told of it. */
enum { XM_WATCH_READ = 1, XM_WATCH_WRITE = 2, XM_WATCH_ERROR = 4 };

/* `fn` is called, in a turn of the loop, while the descriptor can be read or written, as `events` has it; it may only mark.
 * The descriptor no longer waits from then on, stays its owner's, and has one watch at a time. NULL: no memory, or it can't
 * be watched (closed, a plain file, watched already). */
xm_watch *xm_watch_new(xm_loop *l, int fd, int events, void (*fn)(void *arg), void *arg);
/* What was told since the last call. */
int xm_watch_take(xm_watch *w);
/* Also behind the descriptor's close. NULL is fine. */
void xm_watch_free(xm_watch *w);

#endif
