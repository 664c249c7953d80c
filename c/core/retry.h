/* retry: what to do when a link has ended, depending on why it ended and on what came before. Rank 0: uses err. It
 * does no I/O and has neither a clock nor a source of randomness of its own, so that its test can be a table. Called by
 * conn. */
#ifndef XM_RETRY_H
#define XM_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

enum {
  XM_RETRY_HOPS = 3,        /* how many see-other-host errors in a row are followed (RFC 6120 4.9.3.19) */
  /* sessions in a row that end with the same condition: from then on the pause is the longest one */
  XM_RETRY_SAME = 3,
  XM_RETRY_LASTS = 2000,    /* in ms: a session counts as stable when it has stood for as long as the longest pause, */
  XM_RETRY_LASTED = 30000,  /* but for XM_RETRY_LASTS at least; XM_RETRY_LASTED is always enough */
};

/* What the program wants when a connection that has been ready breaks. */
typedef struct xm_retry_policy {
  bool any;          /* connect again, resuming the session if possible, else with a new one */
  bool resume;       /* connect again only for as long as the session can be resumed */
  unsigned min, max; /* in ms: the pause before the first attempt is up to `min`, before each further one up to twice
                        as long as before, never more than `max` */
  unsigned attempts; /* attempts until a session has been stable again; 0: no limit */
  bool at_once;      /* after a stable session the first attempt is made without a pause, since what others send
                        during one is lost */
} xm_retry_policy;

/* How far the link had come. */
typedef enum xm_retry_stage {
  XM_RETRY_ANYBODY, /* nobody knows who answered, if anybody did: no certificate was seen (it may be a captive
                       portal) */
  XM_RETRY_SERVER,  /* the server itself was reached (or there is no TLS), but no session was established */
  XM_RETRY_READY,   /* a session was established */
} xm_retry_stage;

/* What happened. */
typedef struct xm_retry_end {
  const xm_err *why;
  xm_retry_stage stage;
  uint64_t now;     /* ms, by any clock that nobody sets */
  uint32_t dice;    /* a random number, for the pause */
  bool longest;     /* use no random number, but the longest pause that is possible */
  bool said;        /* `why` is a stream error that the peer has sent */
  bool elsewhere;   /* it names another host to connect to, and we want to follow */
  bool objected;    /* the cause may be something that we sent before it was asked for (XEP-0305) */
  bool targets;     /* the domain has another target that wasn't tried, and this one may be at fault */
  bool blamed;      /* the cause was a stanza of ours, which isn't sent again */
  bool stopping;    /* the program is closing the connection; */
  bool undelivered; /* and there are stanzas to be delivered first */
  bool resumable;   /* the session can still be resumed */
} xm_retry_end;

/* What came before. All zero at first. */
typedef struct xm_retry {
  bool begun;         /* a session has been established at least once */
  bool ghost;         /* the last session's link broke without a stream end: the server may still consider that
                         session alive */
  unsigned attempts, hops; /* since the last stable session */
  unsigned same;      /* how many sessions in a row ended with the same condition */
  char condition[64]; /* that condition */
  uint64_t ready_at;
} xm_retry;

typedef enum xm_retry_verdict {
  XM_RETRY_END,       /* don't connect again */
  XM_RETRY_FALL_BACK, /* connect to the same address at once, without sending anything before it is asked for */
  XM_RETRY_FOLLOW,    /* connect at once to the host that the server named */
  XM_RETRY_NEXT,      /* connect to the next target at once */
  XM_RETRY_WAIT,      /* wait for `ms`, then connect again */
} xm_retry_verdict;

typedef struct xm_retry_answer {
  xm_retry_verdict verdict;
  unsigned ms;  /* of XM_RETRY_WAIT: the pause */
  bool stuck;   /* it has ended like this XM_RETRY_SAME times: `ms` is the longest pause, and somebody should be told */
} xm_retry_answer;

/* To be called when a session is established, with the time. */
void xm_retry_opened(xm_retry *r, uint64_t now);
xm_retry_answer xm_retry_after(xm_retry *r, const xm_retry_policy *p, const xm_retry_end *e);

#endif
