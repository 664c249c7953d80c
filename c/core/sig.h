/* sig: signals of the process, for who wants to know of one. Rank 2: knows err, loop. libuv catches them; as everywhere, its
 * watcher only marks. Any number of loops, each in a thread of its own, may watch the same signal: all are told. */
#ifndef XM_SIG_H
#define XM_SIG_H

#include "err.h"
#include "loop.h"

typedef struct xm_sig xm_sig;

/* The number of a signal by its name ("SIGTERM"); 0: none that can be watched. Those that can, one after the other: NULL
 * behind the last. */
int xm_sig_number(const char *name);
const char *xm_sig_name(int i);

/* `fn` is called, in a turn of the loop, after the signal has come, once for several that come between two turns; it may only
 * mark. From then on the signal does nothing else. NULL: no memory, or the system refuses. */
xm_sig *xm_sig_watch(xm_loop *l, int number, void (*fn)(void *arg), void *arg);
/* With the last watcher the signal does again what it did before the first. NULL is fine. */
void xm_sig_unwatch(xm_sig *s);

#endif
