/* question: iqs that must be answered, and are by us when nobody else has (RFC 6120 8.2.3). Rank 4: knows state, call,
 * flush, parts, stanza. */
#ifndef XB_QUESTION_H
#define XB_QUESTION_H

#include "stanza.h"
#include "state.h"

/* Which of our addresses that is, where we have more than one: a component's. NULL: a client's only one. */
const char *xb_own_address(const xb_conn *conn, const char *to);
bool xb_must_be_answered(const char *name, const char *type);
/* The question that the stanza on the tape asks, or the table at `index`, held once; NULL: it needs no answer, or there is no
 * memory to remember it. */
xm_question *xb_ask_tape(xb_conn *conn, const xm_tape *t);
xm_question *xb_ask_table(lua_State *L, xb_conn *conn, int index);
/* Nobody has answered it: it gets service-unavailable, and is freed. */
void xb_answer_unavailable(xb_conn *conn, xm_question *q);
/* conn:claim(stanza): a question that came in is answered later, by whoever has taken it: so it isn't by us, though nobody has
 * when all who were called for it have finished. Of a stanza that isn't one nothing is claimed. */
int xb_l_claim(lua_State *L);
/* One that crossed a bound gets policy-violation, with `text`. */
void xb_answer_skipped(xb_conn *conn, xm_question *q, const char *text);

#endif
