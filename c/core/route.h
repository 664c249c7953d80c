/* route: which request a stanza answers, and which received iqs are not answered yet. Rank 2: uses err, tape, jid,
 * spelled, table. It stores no functions: owners are opaque pointers. Called by conn and by the binding.
 *
 * A lookup by id costs the same whether none or 100,000 requests wait. */
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

/* `ns` is the stream's content namespace, borrowed for the life of the route. NULL: no memory. */
xm_route *xm_route_new(const char *ns);
void xm_route_free(xm_route *r); /* NULL is fine */
/* Our own address, as bound. 0 or XM_ENOMEM. */
int xm_route_set_self(xm_route *r, const xm_jid *self);

/* Responses. A request that was sent. A stanza is the response if it has the same element name, in the stream's
 * namespace, the same id byte for byte, type result or error if it is an iq, and a `from` that fits. With T for the
 * `to` that was sent and B, F, D for our bare JID, full JID and domain: T absent or B: absent, B, F, or (T absent) D;
 * T = F: absent or F;   T = D: absent or D; any other T: exactly T. If the request had a `sent_from` (a component's),
 * the response's `to` must be exactly that. "Exactly" means as spelled compares. */
typedef struct xm_route_request {
  const char *name; /* "iq", "message", "presence" */
  const char *id;
  size_t id_len;
  const char *to, *sent_from; /* NULL: absent */
  size_t to_len, sent_from_len;
} xm_route_request;

/* 0; XM_EINVAL: a request with this id and `sent_from` waits already; XM_ENOMEM. `owner` is what xm_route_claim will
 * return. */
int xm_route_await(xm_route *r, const xm_route_request *q, void *owner, xm_pending **pending);
/* Stop waiting, and free it. NULL is fine. */
void xm_route_forget(xm_route *r, xm_pending *p);
/* The owner of the request that the stanza on the tape answers, which then stops waiting; NULL: it answers none. */
void *xm_route_claim(xm_route *r, const xm_tape *t);
size_t xm_route_waiting(const xm_route *r);
/* The request that it stands for. Strings are borrowed; addresses are prepared. */
xm_route_request xm_route_describe(const xm_pending *p);

/* Open questions: iqs of type get or set that came in and must be answered (RFC 6120 8.2.3). `held` counts those who
 * have yet to finish with one. from, to (our own address; NULL where we have only one) and id are as they came, NULL
 * when absent. A stranger may send any number of questions with equal from, to and id: finding one and removing one
 * cost the same however many there are. */
typedef struct xm_question xm_question;

/* Records a question. It is held once, by the caller. NULL: no memory. */
xm_question *xm_route_ask(xm_route *r, const char *from, const char *to, const char *id);
/* An unanswered question with this from, to and id: `likely` (NULL: none) if it has them, else the oldest; NULL:
 * none. */
xm_question *xm_route_question(const xm_route *r, xm_question *likely, const char *from, const char *to,
                               const char *id);
void xm_question_hold(xm_question *q);
/* A holder has finished. true: it was the last one and nobody has answered: the caller has to answer the question, and
 * free it. `r` is NULL when the route is gone: then nobody can answer any more. */
bool xm_question_release(xm_route *r, xm_question *q);
/* An iq result or error was sent; `answer` has its id, `to`, and, if we have more than one address, `sent_from`. It
 * answers `likely` (NULL: none) if that question matches, else the oldest one that does. */
void xm_route_answered(xm_route *r, xm_question *likely, const xm_route_request *answer);
const char *xm_question_from(const xm_question *q);
const char *xm_question_to(const xm_question *q);
const char *xm_question_id(const xm_question *q);
void xm_question_free(xm_question *q);

#endif
