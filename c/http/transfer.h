/* transfer: HTTP requests by libcurl's multi interface, on a loop that is somebody else's. The one door to curl/curl.h; knows
 * nothing of Lua. Rank 1: knows address.
 *
 * libcurl says which descriptors it waits for and until when (xh_next_change, xh_timeout); who has the loop watches them, and
 * says what has come (xh_act). libcurl calls nobody's function but those here, which only move bytes and note what is wanted:
 * what a request's body goes on with is asked for by a mark, XH_HUNGRY, and given from outside (xh_feed).
 *
 * Each request has a connection of its own, so that none goes where another one's rules would have let it; there are no
 * redirects, cookies, netrc, proxies but the one given, nor HTTP/2; nothing is decompressed. */
#ifndef XH_TRANSFER_H
#define XH_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct xh_multi xh_multi;
typedef struct xh_transfer xh_transfer;

/* NULL: no memory, or libcurl can't be used. */
xh_multi *xh_multi_new(void);
/* With all that is under way in it: these transfers are to be freed as well, in any order. NULL is fine. */
void xh_multi_free(xh_multi *m);

enum { XH_READ = 1, XH_WRITE = 2, XH_ERROR = 4 };

/* The next descriptor that is to be watched for something else (0: for nothing), in the order in which libcurl said so, and only
 * what it said of it last: one that is closed may come again as another's, and libcurl may have closed it at once. false: none. */
bool xh_next_change(xh_multi *m, int *fd, int *events);
/* Milliseconds from now until xh_act is to be called with no descriptor; -1: needn't be. false: as it was said last. */
bool xh_timeout(xh_multi *m, long *ms);
/* Something has come on `fd`; -1: the time has. false: the multi is spoilt, for want of memory; all in it is over. */
bool xh_act(xh_multi *m, int fd, int events);

/* Strings are borrowed for the call; NULL, 0: nothing of the kind. */
typedef struct xh_request {
  const char *url, *method;
  const char *const *headers; /* "Name: value", NULL behind the last */
  bool has_body;
  int64_t size;               /* of the body; -1: nobody knows */
  size_t max;                 /* bytes of the response's body */
  long timeout, stall;        /* ms for all of it; s without a byte a second */
  const char *ca_file, *ca_dir, *pin; /* as a stream has them; pin: "sha256//..." */
  bool insecure, http;        /* the certificate isn't looked at; http:// may be, too */
  const char *proxy;          /* NULL: none */
  const char *dial;           /* an address to connect to instead of what DNS says */
  bool is_public;             /* connect to nothing but public addresses */
  const char *but;            /* and to that one */
} xh_request;

/* Begins. NULL: no memory, or `why` (a text that stays) says what libcurl can't do. */
xh_transfer *xh_begin(xh_multi *m, const xh_request *r, const char **why);
/* It is over, wherever it is. NULL is fine. */
void xh_free(xh_transfer *t);

/* What has become of it. XH_HUNGRY: it goes on when xh_feed has been called. */
typedef enum xh_state { XH_BUSY, XH_HUNGRY, XH_DONE } xh_state;
xh_state xh_state_of(const xh_transfer *t);
/* The next bytes of the body, which stay where they are until it is hungry again or over; n 0: that was all. */
void xh_feed(xh_transfer *t, const char *bytes, size_t n);
/* Bytes of the body that libcurl has taken, and bytes of the response's that have come. */
int64_t xh_sent(const xh_transfer *t);
int64_t xh_received(const xh_transfer *t);

/* Of one that is done. */
typedef struct xh_result {
  const char *condition; /* NULL: there is a response; else what is wrong, in a word */
  const char *text;
  bool retry;            /* another try may help */
  long status;
  const char *heads, *body; /* lines of headers, without the first, as they came */
  size_t heads_n, body_n;
} xh_result;
xh_result xh_result_of(const xh_transfer *t);

#endif
