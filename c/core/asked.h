/* asked: remembers the questions that were sent to name servers, so that a datagram that answers none of them can be
 * ignored (RFC 5452 9.1). Rank 0. c-ares (1.34) takes a datagram that it can't parse for a failure of the name server,
 * and takes a second one to mean that there is no answer: anybody who guesses the port could hide a domain's SRV
 * records. */
#ifndef XM_ASKED_H
#define XM_ASKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { XM_ASKED = 64 }; /* questions remembered: those for two families of each of 16 targets, and some to spare */

typedef struct xm_asked {
  uint64_t keys[XM_ASKED]; /* hashes of id and question; 0: free */
  unsigned n;
} xm_asked;

/* Remembers a packet that is being sent, in wire format. A packet that isn't exactly one question is ignored. */
void xm_asked_note(xm_asked *a, const void *packet, size_t n);

/* Does this packet, as received, answer one that was sent: same id, same question (ignoring case)? */
bool xm_asked_is_answer(const xm_asked *a, const void *packet, size_t n);

#endif
