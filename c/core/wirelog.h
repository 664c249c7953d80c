/* wirelog: what goes over the wire, kept for whoever wants to see it; secrets are masked. Rank 2: knows err, buf, tape, out.
 *
 * Of a login, whoever logs says what is secret. In stanzas it is found by what it is called: elements and attributes
 * `password` (XEP-0077, XEP-0078, XEP-0045, XEP-0249), `digest` (XEP-0078), and the values of a data form's fields of type
 * text-private, or with "password" or "secret" in their name (XEP-0004, XEP-0133). */
#ifndef XM_WIRELOG_H
#define XM_WIRELOG_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "tape.h"

enum { XM_WIRELOG_TAG = 256 }; /* bytes of a tag that are looked at: of a longer one its beginning and its end */

/* How far a stream's text was looked at; all zero: not at all. */
typedef struct xm_wirelog_look {
  char tag[XM_WIRELOG_TAG]; /* as far as it has come; "": in text */
  size_t len;
  char quote;               /* of the value in it; 0: none */
  bool field;               /* in a field whose values are secret */
  bool secret;              /* what comes is: to the end of this value, or text */
  bool told;                /* its mask was */
} xm_wirelog_look;

/* Records of one direction ('>' or '<'), a length (size_t, as in memory) and the text. What there is no memory for is left
 * out. */
typedef struct xm_wirelog {
  bool on;
  xm_buf records;
  xm_wirelog_look out; /* what goes out may come in any pieces */
} xm_wirelog;

/* A new stream begins: of the last one, the rest will not come. */
void xm_wirelog_begin(xm_wirelog *log);
void xm_wirelog_text(xm_wirelog *log, char direction, const char *s, size_t n);
/* The first element without its content, if that proves knowledge of the password. */
void xm_wirelog_masked(xm_wirelog *log, char direction, const char *s, size_t n, bool secret);
/* What came in. */
void xm_wirelog_tape(xm_wirelog *log, const xm_tape *t, bool secret);

#endif
