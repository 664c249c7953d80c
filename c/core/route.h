/* route: which waiter a stanza answers, and which iqs nobody has answered yet. Rank 2: knows err, tape, jid, spelled, table.
 * Holds no function: owners are opaque. Called by conn and by the binding.
 *
 * A lookup by id costs the same whether none or 100,000 wait. */
#ifndef XM_ROUTE_H
#define XM_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "jid.h"
#include "spelled.h"
#include "tape.h"

typedef struct xm_route xm_route;
typedef struct xm_pending xm_pending;

/* `ns` is the stream's content namespace, borrowed for good. NULL: no memory. */
xm_route *xm_route_new(const char *ns);
void xm_route_free(xm_route *r); /* NULL is fine */
/* Our own address, as bound. 0 or XM_ENOMEM. */
int xm_route_set_self(xm_route *r, const xm_jid *self);

/* Responses. A request that was sent, and by what its response is known (api: "who was asked"): same element name, in
 * the stream's namespace, the same id byte for byte, type result or error for an iq, and `from`, with T the `to` that
 * was sent and B/F/D our bare JID, full JID and domain: T absent or B: absent, B, F, or (T absent) D;   T = F: absent
 * or F;   T = D: absent or D;   any other T: exactly T. `sent_from` (a component's) must come back as `to`. "Exactly"
 * is as spelled says. */
typedef struct xm_route_request {
  const char *name; /* "iq", "message", "presence" */
  const char *id;
  size_t id_len;
  const char *to, *sent_from; /* NULL: absent */
  size_t to_len, sent_from_len;
} xm_route_request;

/* 0; XM_EINVAL: this id waits already, at that `sent_from`; XM_ENOMEM. `owner` is what xm_route_claim gives back. */
int xm_route_await(xm_route *r, const xm_route_request *q, void *owner, xm_pending **pending);
/* It waits no more. NULL is fine. */
void xm_route_forget(xm_route *r, xm_pending *p);
/* The owner that the stanza on the tape answers, and it waits no more; NULL: it answers nobody. */
void *xm_route_claim(xm_route *r, const xm_tape *t);
size_t xm_route_waiting(const xm_route *r);
/* What it waits for. Strings are borrowed; addresses are prepared. */
xm_route_request xm_route_describe(const xm_pending *p);

/* Open questions: iqs of type get or set that came in and must be answered (RFC 6120 8.2.3). `held` counts who has
 * still to finish with it; from, to (our own address; NULL where we have but one), id: as they came, NULL when absent.
 * A stranger may ask any number of times in the same words: to find one, and to be rid of it, costs the same however
 * many there are. */
typedef struct xm_question xm_question;

/* NULL: no memory. It is held once, by the caller. */
xm_question *xm_route_ask(xm_route *r, const char *from, const char *to, const char *id);
/* One that isn't answered yet and came in these words: `likely` (NULL: none) if it did, else the oldest; NULL: none. */
xm_question *xm_route_question(const xm_route *r, xm_question *likely, const char *from, const char *to,
                               const char *id);
void xm_question_hold(xm_question *q);
/* One has finished. true: it was the last, nobody has answered, and the question is yours to answer and free. `r` is NULL
 * when the route has gone: then nobody can answer any more. */
bool xm_question_release(xm_route *r, xm_question *q);
/* An iq result or error was sent, `answer` being its id, `to`, and `sent_from` where we have more than one address: it
 * answers `likely` (NULL: none) if that was asked so, else the oldest that was. */
void xm_route_answered(xm_route *r, xm_question *likely, const xm_route_request *answer);
const char *xm_question_from(const xm_question *q);
const char *xm_question_to(const xm_question *q);
const char *xm_question_id(const xm_question *q);
void xm_question_free(xm_question *q);

#endif
