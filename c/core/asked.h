/* asked: the questions that were put to name servers, so that a datagram which answers none of them can be passed over
 * (RFC 5452 9.1). Rank 0. c-ares takes one that it can't read for the name server's failure (1.34), and after two of
 * them for want of an answer: anybody who guesses the port could so take a domain's SRV records away. */
#ifndef XM_ASKED_H
#define XM_ASKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { XM_ASKED = 64 }; /* so many are remembered: those of the 16 targets' two families, and some more */

typedef struct xm_asked {
  uint64_t keys[XM_ASKED]; /* of id and question; 0: none */
  unsigned n;
} xm_asked;

/* What is sent, as it is on the wire. What is no question is not remembered. */
void xm_asked_note(xm_asked *a, const void *packet, size_t n);

/* Has this one, as it came, the id and the question of one that was sent (capitals or not)? */
bool xm_asked_is_answer(const xm_asked *a, const void *packet, size_t n);

#endif
