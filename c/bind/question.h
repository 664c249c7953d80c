/* question: iqs of type get and set, which must be answered; the library does it when nobody else has (RFC 6120 8.2.3).
 * Rank 4: uses state, call, flush, parts, stanza. */
#ifndef XB_QUESTION_H
#define XB_QUESTION_H

#include "stanza.h"
#include "state.h"

/* Bytes of a request's id. An answer repeats the id, escaped, which may make it six times as long, and a server ends
 * the stream for a stanza that is too long. So a request with a longer id isn't answered by anybody: else whoever may
 * send us an iq could end the connection. With 1024 bytes an answer is shorter than the 10,000 that every server
 * accepts (RFC 6120 13.12). */
enum { XB_LONGEST_ID = 1024 };

/* The address of ours to which a stanza was sent (or from which an answer is), `to` being its attribute: a component
 * has many. NULL: for a client, which has only one. */
const char *xb_own_address(const xb_conn *conn, const char *to);
bool xb_must_be_answered(const char *name, const char *type);
/* Remembers the request on the tape, or in the table at `index`, as a question, and returns it with one reference held.
 * NULL: the stanza isn't a request, its id is too long, or there is no memory to remember it. */
xm_question *xb_ask_tape(xb_conn *conn, const xm_tape *t);
xm_question *xb_ask_table(lua_State *L, xb_conn *conn, int index);
/* Nobody has answered the question: sends the error service-unavailable, and frees the question. */
void xb_answer_unavailable(xb_conn *conn, xm_question *q);
/* conn:claim(stanza): whoever has taken the question will answer it later, so the library doesn't, even if nobody has answered
 * when all calls for it have finished. Claims nothing if the stanza is no question. */
int xb_l_claim(lua_State *L);
/* The request crossed a bound (and was skipped): sends the error policy-violation with `text`, and frees the
 * question. */
void xb_answer_skipped(xb_conn *conn, xm_question *q, const char *text);

#endif
