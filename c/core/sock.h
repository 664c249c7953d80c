/* sock: one TCP connection: dial (happy eyeballs, RFC 8305), receive, send. Rank 2: uses err, dns (the type of an
 * address), loop. libuv watches the descriptor, but doesn't read from it: recv puts the bytes straight where they are
 * wanted.
 *
 * Watchers only set marks and call `wake`, which may only set a mark, too. */
#ifndef XM_SOCK_H
#define XM_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "dns.h"
#include "err.h"
#include "loop.h"

typedef struct xm_sock xm_sock;

typedef enum xm_sock_state {
  XM_SOCK_DIALLING,  /* ends when an address has answered, or none has; until then only xm_sock_connected and
                        xm_sock_free may be called */
  XM_SOCK_CONNECTED, /* bytes in and out */
  XM_SOCK_FINISHED,  /* our FIN was sent; only xm_sock_free may be called */
} xm_sock_state;

enum { XM_SOCK_EYEBALLS_MS = 250 }; /* RFC 8305 section 8 */

/* Dials the addresses, alternating between IPv6 and IPv4, each one when the one before has failed or 250 ms after it
 * was begun; the first that answers wins. The list is copied. NULL: no memory (`e` set). */
xm_sock *xm_sock_dial(xm_loop *l, const xm_dns_address *list, int n, void (*wake)(void *arg), void *arg, xm_err *e);
/* Closes at once; what wasn't sent is lost. NULL is fine. */
void xm_sock_free(xm_sock *s);

xm_sock_state xm_sock_state_of(const xm_sock *s);

/* 0: still dialling. 1: connected, and *won is the address. XM_EFAIL: none answered (layer tcp, with the error of the
 * last one that failed). */
int xm_sock_connected(xm_sock *s, const xm_dns_address **won, xm_err *e);

/* Bytes received; 0: the peer has closed; -EAGAIN: none now; another -errno. Never raises SIGPIPE, never blocks. */
ssize_t xm_sock_recv(xm_sock *s, void *to, size_t n);
/* The same, but the bytes stay there to be received. */
ssize_t xm_sock_peek(xm_sock *s, void *to, size_t n);
/* Bytes that the kernel took; -EAGAIN: none now (wake is called when it can take more); another -errno. */
ssize_t xm_sock_send(xm_sock *s, const void *from, size_t n);
/* Sends a FIN behind what was sent, and reads and drops what has come: closing with unread bytes would send a reset,
 * for which the peer might drop the last of what we sent. */
void xm_sock_finish(xm_sock *s);

/* Acknowledges what was received at once, not after 40 ms: in a dialogue the peer may be waiting for that (Nagle). The
 * kernel turns this off by itself after a while, so call it after every receive. */
void xm_sock_hurry(xm_sock *s);

/* Paused, the socket isn't watched for reading, so that a full queue costs nothing and TCP slows the peer down. */
void xm_sock_pause(xm_sock *s, bool paused);
/* Has the peer closed or broken the connection while it was paused? (wake was called then.) What had come before can
 * still be received, and no more will come. */
bool xm_sock_is_over(const xm_sock *s);

/* How many bytes have arrived and weren't received. */
size_t xm_sock_waiting(const xm_sock *s);

/* Is the peer at a loopback address? (after connected) */
bool xm_sock_is_loopback(const xm_sock *s);
/* errno's own name ("ECONNRESET"), for error tables. */
const char *xm_sock_errname(int errnum);

#endif
