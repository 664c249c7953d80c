/* watch: watches descriptors of sockets that don't belong to the library. Rank 2: uses err, loop. As everywhere,
 * libuv's watcher only sets a mark. */
#ifndef XM_WATCH_H
#define XM_WATCH_H

#include "err.h"
#include "loop.h"

typedef struct xm_watch xm_watch;

/* XM_WATCH_ERROR is reported and can't be asked for: the descriptor is broken, and nothing more is reported about
 * it. */
enum { XM_WATCH_READ = 1, XM_WATCH_WRITE = 2, XM_WATCH_ERROR = 4 };

/* `fn` is called, in a turn of the loop, while the descriptor can be read or written, as `events` says; it may only set
 * a mark. The descriptor is put into non-blocking mode, still belongs to its owner, and can have one watch at a time.
 * NULL: no memory, or it can't be watched (closed, a plain file, watched already). */
xm_watch *xm_watch_new(xm_loop *l, int fd, int events, void (*fn)(void *arg), void *arg);
/* The events that were reported since the last call. */
int xm_watch_take(xm_watch *w);
/* May also be called after the descriptor was closed. NULL is fine. */
void xm_watch_free(xm_watch *w);

#endif
