/* transfer: HTTP requests by libcurl's multi interface, on a loop that the caller provides. The only file that includes
 * curl/curl.h; knows nothing of Lua. Rank 1: uses address.
 *
 * libcurl says which descriptors it waits for and until when (xh_next_change, xh_timeout); the caller's loop watches
 * them, and reports events (xh_act). The only callbacks that libcurl calls are those here, which only move bytes and
 * set marks: when more of a request's body is needed the state becomes XH_HUNGRY, and the caller provides it (xh_feed).
 *
 * Each request has a connection of its own, so that none uses one that was made under another request's rules. There
 * are no redirects, no cookies, no netrc, no HTTP/2 and no proxy but the one given; nothing is decompressed. */
#ifndef XH_TRANSFER_H
#define XH_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct xh_multi xh_multi;
typedef struct xh_transfer xh_transfer;

/* NULL: no memory, or libcurl can't be used. */
xh_multi *xh_multi_new(void);
/* Ends all its transfers, too; these must still be freed, in any order. NULL is fine. */
void xh_multi_free(xh_multi *m);

enum { XH_READ = 1, XH_WRITE = 2, XH_ERROR = 4 };

/* The next descriptor for which the events to watch have changed (0: none), in the order in which libcurl said so, and
 * only the latest change of each: the number of a closed descriptor may be reused, and libcurl may have closed a new
 * one at once. false: none. */
bool xh_next_change(xh_multi *m, int *fd, int *events);
/* Milliseconds from now until xh_act is to be called without a descriptor; -1: it need not be. Returns false if that
 * hasn't changed since the last call. */
bool xh_timeout(xh_multi *m, long *ms);
/* `fd` has these events; -1: the time has come. false: the multi is unusable, for lack of memory; all its transfers are
 * over. */
bool xh_act(xh_multi *m, int fd, int events);

/* Strings are borrowed for the call; NULL, 0: not given. */
typedef struct xh_request {
  const char *url, *method;
  const char *const *headers; /* "Name: value", ended by NULL */
  bool has_body;
  int64_t size;               /* bytes of the body; -1: unknown */
  size_t max;                 /* bytes of the response's body */
  long timeout, stall;        /* ms for the whole request; s during which less than a byte a second is moved */
  const char *ca_file, *ca_dir, *pin; /* as for a stream; pin: "sha256//..." */
  bool insecure, http;        /* don't check the certificate; allow http://, too */
  const char *proxy;          /* NULL: none */
  const char *dial;           /* an address to connect to instead of asking DNS */
  bool is_public;             /* connect to public addresses only */
  const char *but;            /* and also to this one */
} xh_request;

/* Begins a request. NULL: no memory (`why` is NULL), or `why` (a static text) says why it can't be made. */
xh_transfer *xh_begin(xh_multi *m, const xh_request *r, const char **why);
/* Ends it, in whatever state, and frees it. NULL is fine. */
void xh_free(xh_transfer *t);

/* The state of a transfer. XH_HUNGRY: it goes on when xh_feed has been called. */
typedef enum xh_state { XH_BUSY, XH_HUNGRY, XH_DONE } xh_state;
xh_state xh_state_of(const xh_transfer *t);
/* The next bytes of the body, which must stay where they are until the transfer is hungry again or done; n 0: that was
 * all. */
void xh_feed(xh_transfer *t, const char *bytes, size_t n);
/* Bytes of the request's body that libcurl has taken, and bytes of the response's body that have come. */
int64_t xh_sent(const xh_transfer *t);
int64_t xh_received(const xh_transfer *t);

/* The result of a transfer that is done. */
typedef struct xh_result {
  const char *condition; /* NULL: there is a response; else the error's condition */
  const char *text;
  bool retry;            /* another try may help */
  long status;
  const char *heads, *body; /* header lines as they came, without the status line; the body */
  size_t heads_n, body_n;
} xh_result;
xh_result xh_result_of(const xh_transfer *t);

#endif
