/* wire: bytes to a server and back, by TCP, by TLS or by a socket of this machine, none of which waits. Knows no Redis.
 * Rank 1: uses resolve, secure.
 *
 * Who has the loop watches what xr_wire_want says, and calls xr_wire_act when that has come: then both may be another. No
 * descriptor is closed that may be watched: of one that is done with xr_wire_want speaks no more, and it is closed by the next
 * xr_wire_act, or by xr_wire_free. */
#ifndef XR_WIRE_H
#define XR_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "secure.h"

typedef struct xr_wire xr_wire;

/* Strings are borrowed for the call. `path`: of a socket of this machine, and nothing of the rest. */
typedef struct xr_target {
  const char *host, *path;
  int port;
  bool tls;
  xr_trust trust; /* its `name` NULL: the host's */
} xr_target;

/* What has gone wrong, in a word and in a sentence. */
typedef struct xr_fault {
  const char *condition; /* NULL: nothing */
  bool retry;            /* another try may help */
  char text[256];
} xr_fault;

typedef enum xr_state { XR_OPENING, XR_OPEN, XR_OVER } xr_state;

/* NULL: no memory. What else can't be done is said when it is acted. */
xr_wire *xr_wire_new(const xr_target *t);
void xr_wire_free(xr_wire *w); /* NULL is fine */
/* Goes on as far as that is possible now. */
xr_state xr_wire_act(xr_wire *w);
const xr_fault *xr_wire_fault(const xr_wire *w);

enum { XR_READ = 1, XR_WRITE = 2 };
/* The descriptor, and for what it is to be watched. -1: nothing is; while it is opening, xr_wire_act is to be called again at
 * once then. `serial` is another for each descriptor, though it may have the number of one before it. */
int xr_wire_want(const xr_wire *w, int *events, int *serial);

/* What is to be sent waits until xr_wire_act; what was is wiped, as it may be a password. false: no memory. */
bool xr_wire_put(xr_wire *w, const char *bytes, size_t n);
size_t xr_wire_unsent(const xr_wire *w);
/* Bytes that have come; 0: none just now, or it is over. */
size_t xr_wire_read(xr_wire *w, char *to, size_t n);
/* Has it read bytes already, that nobody has taken? Then the descriptor may never be readable again. */
bool xr_wire_has_more(const xr_wire *w);

#endif
