/* sig: watches signals of the process. Rank 2: uses err, loop. libuv catches them; as everywhere, its watcher only
 * sets a mark. Any number of loops, each in a thread of its own, may watch the same signal: all are told. */
#ifndef XM_SIG_H
#define XM_SIG_H

#include "err.h"
#include "loop.h"

typedef struct xm_sig xm_sig;

/* The number of a signal by its name ("SIGTERM"); 0: there is none that can be watched. The name of the i-th signal
 * that can be watched, from 0; NULL: there are no more. */
int xm_sig_number(const char *name);
const char *xm_sig_name(int i);

/* `fn` is called, in a turn of the loop, after the signal has come, once for several that come between two turns; it
 * may only set a mark. From then on the signal has no other effect. NULL: no memory, or the system refuses. */
xm_sig *xm_sig_watch(xm_loop *l, int number, void (*fn)(void *arg), void *arg);
/* When the last watcher of a signal is removed, the signal has the effect again that it had before the first. NULL is
 * fine. */
void xm_sig_unwatch(xm_sig *s);

#endif
