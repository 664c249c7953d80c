/* sock: one TCP connection: dial (happy eyeballs, RFC 8305), receive, send. Rank 2: knows err, dns (the form of an address),
 * loop. libuv watches the descriptor; the bytes don't pass through it: recv goes straight to where they are wanted.
 *
 * Watchers only mark and call `wake`, which may only mark, too. */
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
  XM_SOCK_DIALLING,  /* ends with an address that has answered, or with none; until then only connected and free may be called */
  XM_SOCK_CONNECTED, /* bytes in and out */
  XM_SOCK_FINISHED,  /* our FIN is out; only free may be called */
} xm_sock_state;

enum { XM_SOCK_EYEBALLS_MS = 250 }; /* RFC 8305 section 8 */

/* Dials the addresses, families interleaved, each next one when the one before has failed or 250 ms have passed; the first
 * that answers wins. The list is copied. NULL: no memory (`e` set). */
xm_sock *xm_sock_dial(xm_loop *l, const xm_dns_address *list, int n, void (*wake)(void *arg), void *arg, xm_err *e);
/* Closes at once, what wasn't sent is lost. NULL is fine. */
void xm_sock_free(xm_sock *s);

xm_sock_state xm_sock_state_of(const xm_sock *s);

/* 0: still dialling. 1: connected, and *won is the address. XM_EFAIL: none answered (layer tcp; what the last one said). */
int xm_sock_connected(xm_sock *s, const xm_dns_address **won, xm_err *e);

/* Bytes received; 0: the peer has closed; -EAGAIN: none now; another -errno. Never raises SIGPIPE, never blocks. */
ssize_t xm_sock_recv(xm_sock *s, void *to, size_t n);
/* The same, and they are left to be received. */
ssize_t xm_sock_peek(xm_sock *s, void *to, size_t n);
/* Bytes the kernel took; -EAGAIN: none now (and wake will come when it can take more); another -errno. */
ssize_t xm_sock_send(xm_sock *s, const void *from, size_t n);
/* Sends a FIN behind what was sent, and reads away what has come: a close with unread bytes would be a reset, which can cost
 * the peer our last words. */
void xm_sock_finish(xm_sock *s);

/* What was received is acknowledged at once, not after 40 ms: in a dialogue the peer may be waiting for it (Nagle). Lasts until
 * the kernel thinks better of it, so it is said after every receive. */
void xm_sock_hurry(xm_sock *s);

/* Reads stop being announced, so that a full queue costs nothing and TCP pushes back; or go on. */
void xm_sock_pause(xm_sock *s, bool paused);
/* Has the peer ended or broken the connection while it was paused? (wake has told of it.) What had come before can still be
 * received, and no more will come. */
bool xm_sock_is_over(const xm_sock *s);

/* How many bytes have come that nobody has received. */
size_t xm_sock_waiting(const xm_sock *s);

/* Is the peer at a loopback address? (after connected) */
bool xm_sock_is_loopback(const xm_sock *s);
/* errno's own name ("ECONNRESET"), for error tables. */
const char *xm_sock_errname(int errnum);

#endif
