/* inside: what rides inside SASL2's <authenticate/> and <success/> (XEP-0388 2.4): a resource bound by Bind 2 (XEP-0386), with
 * stream management, carbons and client state; a session resumed (XEP-0198); tokens (XEP-0484). Reads tapes, writes XML. Rank 2,
 * nego's own: knows err, buf, tape, out, mech, and keyring's tokens. */
#ifndef XM_INSIDE_H
#define XM_INSIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "keyring.h"
#include "mech.h"
#include "tape.h"

/* What a server offers there; above these, XM_INSIDE_TOKENS: its mechanisms for tokens, as bits of xm_mech_token_bit. */
enum {
  XM_INSIDE_BIND = 1,
  XM_INSIDE_ENABLE = 2,  /* inside of bind: stream management, */
  XM_INSIDE_CARBONS = 4, /* XEP-0280 */
  XM_INSIDE_CSI = 8,     /* XEP-0352 */
  XM_INSIDE_RESUME = 16,
  XM_INSIDE_TOKENS = 0xff00,
};

/* By the <authentication/> that is record `at` of the features. */
unsigned xm_inside_offered(const xm_tape *t, uint32_t at);
/* What an <authenticate/> may have, in bytes (XEP-0478); 0: the features don't say. */
size_t xm_inside_limit(const xm_tape *t);

/* What is wanted. Strings are borrowed; what isn't offered is left out. */
typedef struct xm_inside_wish {
  const char *agent, *software, *device; /* <user-agent/>: its id, and what people may read. NULL: not said */
  bool bind;
  const char *tag;                       /* the short name in the resource; NULL: none */
  bool enable, resumable;                /* stream management in what is bound; with a session that is kept */
  bool carbons, inactive;
  const char *previd;                    /* a session to be resumed; NULL: none */
  uint32_t h;
  const char *ask;                       /* a token for this mechanism; NULL: none is asked for */
  bool by_token, invalidate;             /* the login is by one; and it is to be the last */
} xm_inside_wish;

/* Appends it. 0 or XM_ENOMEM. */
int xm_inside_put(const xm_inside_wish *w, unsigned offered, xm_buf *out);

/* What <success/> has: records on its tape; 0: it has no such thing. */
typedef struct xm_inside_answer {
  uint32_t identifier; /* <authorization-identifier/> */
  uint32_t bound;
  uint32_t refused;    /* <failed/> of Bind 2 */
  uint32_t enabled;    /* inside of bound */
  uint32_t resumed, lost; /* <resumed/>, <failed/> of stream management */
} xm_inside_answer;

/* 0, or XM_EFAIL: it has one of these twice, or two that exclude one another, or one that `w` hasn't asked for. */
int xm_inside_read(const xm_tape *t, const xm_inside_wish *w, unsigned offered, xm_inside_answer *a, xm_err *e);

/* The token that came with it, but for its mechanism, which isn't said. Several, or one that can't be a token, are none: `n` is
 * 0. */
void xm_inside_read_token(const xm_tape *t, xm_token *token);

#endif
