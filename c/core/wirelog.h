/* wirelog: what goes over the wire, kept for whoever wants to see it; secrets are masked. Rank 2: knows err, buf, tape, out. */
#ifndef XM_WIRELOG_H
#define XM_WIRELOG_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "tape.h"

/* Records of one direction ('>' or '<'), a length (size_t, as in memory) and the text. What there is no memory for is left
 * out. */
typedef struct xm_wirelog {
  bool on;
  xm_buf records;
} xm_wirelog;

void xm_wirelog_text(xm_wirelog *log, char direction, const char *s, size_t n);
/* The first element without its content, if that proves knowledge of the password. */
void xm_wirelog_masked(xm_wirelog *log, char direction, const char *s, size_t n, bool secret);
/* What came in. */
void xm_wirelog_tape(xm_wirelog *log, const xm_tape *t, bool secret);

#endif
