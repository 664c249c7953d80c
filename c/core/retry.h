/* retry: what follows the end of a link, by what it was and by what came before. Rank 0: knows err. No I/O, no clock and no
 * dice of its own, so that its test is a table. Called by conn. */
#ifndef XM_RETRY_H
#define XM_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

enum {
  XM_RETRY_HOPS = 3,        /* see-other-host (RFC 6120 4.9.3.19), in a row */
  XM_RETRY_SAME = 3,        /* sessions in a row that end alike: from then on the pause is the longest */
  XM_RETRY_LASTS = 2000,    /* ms: a session has lasted when it has stood for as long as the longest pause, */
  XM_RETRY_LASTED = 30000,  /* but for at least the one, and the other is enough */
};

/* What is wanted when a connection that had been ready breaks. */
typedef struct xm_retry_policy {
  bool any;          /* connect again, resuming the session if that can be, else with a new one */
  bool resume;       /* connect again only for as long as the session can be resumed */
  unsigned min, max; /* ms: the pause before the first attempt is up to `min`, before each next one up to twice as long, never
                        over `max` */
  unsigned attempts; /* until a session has lasted again; 0: no end */
  bool at_once;      /* behind a session that has lasted the first attempt doesn't wait: what others send meanwhile is lost */
} xm_retry_policy;

/* How far the link had come. */
typedef enum xm_retry_stage {
  XM_RETRY_ANYBODY, /* whoever answered, if somebody did: no certificate was seen (a captive portal, perhaps) */
  XM_RETRY_SERVER,  /* the server itself (or there is no TLS), without a session */
  XM_RETRY_READY,   /* a session stood on it */
} xm_retry_stage;

/* What happened. */
typedef struct xm_retry_end {
  const xm_err *why;
  xm_retry_stage stage;
  uint64_t now;     /* ms; any clock that isn't set */
  uint32_t dice;    /* random; */
  bool longest;     /* or none: the longest pause of those that it could be */
  bool said;        /* `why` is what the peer has said, by a stream error */
  bool elsewhere;   /* it says where to go instead, and that is wanted */
  bool objected;    /* it may be because of what was said ahead */
  bool targets;     /* there is another target of the domain's that wasn't tried, and it may be this one's fault */
  bool blamed;      /* it was by a stanza of ours, which isn't sent again */
  bool stopping;    /* it is to be closed anyway; */
  bool undelivered; /* but for what isn't delivered yet */
  bool resumable;   /* the session can still be resumed */
} xm_retry_end;

/* What came before; at first all zero. */
typedef struct xm_retry {
  bool begun;         /* a session has stood */
  bool ghost;         /* the last one's link broke with no goodbye: the server may believe in it still */
  unsigned attempts, hops; /* since a session has lasted */
  unsigned same;      /* sessions that ended alike, in a row */
  char condition[64]; /* by that */
  uint64_t ready_at;
} xm_retry;

typedef enum xm_retry_verdict {
  XM_RETRY_END,       /* it is final */
  XM_RETRY_FALL_BACK, /* the same address at once, and nothing is said ahead */
  XM_RETRY_FOLLOW,    /* where the server says, at once */
  XM_RETRY_NEXT,      /* the next target at once */
  XM_RETRY_WAIT,      /* then connect again */
} xm_retry_verdict;

typedef struct xm_retry_answer {
  xm_retry_verdict verdict;
  unsigned ms;  /* of WAIT */
  bool stuck;   /* it has ended like that for XM_RETRY_SAME times: `ms` is the longest pause, and somebody should know */
} xm_retry_answer;

/* A session stands, now. */
void xm_retry_opened(xm_retry *r, uint64_t now);
xm_retry_answer xm_retry_after(xm_retry *r, const xm_retry_policy *p, const xm_retry_end *e);

#endif
