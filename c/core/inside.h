/* inside: what is carried inside SASL2's <authenticate/> and <success/> (XEP-0388 2.4): a resource bound by Bind 2
 * (XEP-0386), with stream management, carbons and client state; a session resumed (XEP-0198); tokens (XEP-0484). Reads
 * tapes, writes XML. Rank 2, part of nego: uses err, buf, tape, out, mech, and keyring's tokens. */
#ifndef XM_INSIDE_H
#define XM_INSIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "keyring.h"
#include "mech.h"
#include "tape.h"

/* What a server offers to carry there. XM_INSIDE_TOKENS: its mechanisms for tokens, the bits of xm_mech_token_bit. */
enum {
  XM_INSIDE_BIND = 1,
  XM_INSIDE_ENABLE = 2,  /* inside of bind: stream management, */
  XM_INSIDE_CARBONS = 4, /* XEP-0280 */
  XM_INSIDE_CSI = 8,     /* XEP-0352 */
  XM_INSIDE_RESUME = 16,
  XM_INSIDE_TOKENS = 0xff00,
};

/* The offer in the <authentication/> that is record `at` of the features. */
unsigned xm_inside_offered(const xm_tape *t, uint32_t at);
/* The most bytes that an <authenticate/> may have (XEP-0478); 0: the features don't say. */
size_t xm_inside_limit(const xm_tape *t);

/* What is wanted. Strings are borrowed; what isn't offered is left out. */
typedef struct xm_inside_wish {
  const char *agent, *software, *device; /* <user-agent/>: its id, and two texts for people. NULL: left out */
  bool bind;
  const char *tag;                       /* a short name that becomes part of the resource; NULL: none */
  bool enable, resumable;                /* stream management for the session that is bound; which can be resumed */
  bool carbons, inactive;
  const char *previd;                    /* a session to resume; NULL: none */
  uint32_t h;
  const char *ask;                       /* request a token for this mechanism; NULL: none */
  bool by_token, invalidate;             /* the login is by a token; which is used for the last time */
} xm_inside_wish;

/* Appends the elements. 0 or XM_ENOMEM. */
int xm_inside_put(const xm_inside_wish *w, unsigned offered, xm_buf *out);

/* What <success/> has: records on its tape; 0: it doesn't have that. */
typedef struct xm_inside_answer {
  uint32_t identifier; /* <authorization-identifier/> */
  uint32_t bound;
  uint32_t refused;    /* <failed/> of Bind 2 */
  uint32_t enabled;    /* in <bound/> */
  uint32_t resumed, lost; /* <resumed/>, <failed/> of stream management */
} xm_inside_answer;

/* 0, or XM_EFAIL: one of these is there twice, or two exclude one another, or `w` didn't ask for one. */
int xm_inside_read(const xm_tape *t, const xm_inside_wish *w, unsigned offered, xm_inside_answer *a, xm_err *e);

/* The token in <success/>, except for its mechanism, which isn't said there. Several tokens, or one that isn't valid,
 * count as none: `n` is 0. */
void xm_inside_read_token(const xm_tape *t, xm_token *token);

#endif
