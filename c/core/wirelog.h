/* wirelog: keeps what goes over the wire, for a program that wants to log it, with secrets masked. Rank 2: uses err,
 * buf, tape, out.
 *
 * During a login, the caller says what is secret. In stanzas secrets are found by name: elements and attributes
 * `password` (XEP-0077, XEP-0078, XEP-0045, XEP-0249), elements `digest` (XEP-0078), attributes `token` (XEP-0484), and
 * the values of a data form's fields whose type is text-private, or whose name contains "password" or "secret"
 * (XEP-0004, XEP-0133). */
#ifndef XM_WIRELOG_H
#define XM_WIRELOG_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "tape.h"

enum { XM_WIRELOG_TAG = 256 }; /* bytes of a tag that are examined: of a longer one its beginning and its end */

/* The state in which masking goes on with the next piece of text; all zero at the beginning of a stream. */
typedef struct xm_wirelog_look {
  char tag[XM_WIRELOG_TAG]; /* the current tag as far as it has come; "": in text */
  size_t len;
  char quote;               /* the quote of the attribute value that is open; 0: none */
  bool field;               /* inside a form field whose values are secret */
  bool secret;              /* what comes is secret, to the end of this attribute value or text */
  bool told;                /* its mask was written */
} xm_wirelog_look;

/* Records of a direction ('>' or '<'), a length (size_t, in the machine's byte order) and the text. When there is no
 * memory for a record it is left out. */
typedef struct xm_wirelog {
  bool on;
  xm_buf records;
  xm_wirelog_look out; /* for outgoing text, which may come in any pieces */
} xm_wirelog;

/* A new stream begins: an unfinished tag of the last one will not be continued. */
void xm_wirelog_begin(xm_wirelog *log);
void xm_wirelog_text(xm_wirelog *log, char direction, const char *s, size_t n);
/* The same, with the first element's content masked if `secret`: if it proves knowledge of the password. */
void xm_wirelog_masked(xm_wirelog *log, char direction, const char *s, size_t n, bool secret);
/* Logs an element that was received. */
void xm_wirelog_tape(xm_wirelog *log, const xm_tape *t, bool secret);

#endif
