/* out: builds escaped XML in a buf. Rank 1: uses err, buf, tape, bounds.
 *
 *   xm_out o = xm_out_begin(buf);
 *   xm_out_open(&o, ...); xm_out_attr(&o, ...); xm_out_text(&o, ...); xm_out_close(&o, ...);
 *   To commit, do nothing more. xm_out_abandon(&o) puts the buf back as it was.
 *
 * All input is checked: what a parser couldn't read back is refused before a byte of it is in the buf. */
#ifndef XM_OUT_H
#define XM_OUT_H

#include <stdbool.h>
#include <stddef.h>

#include "bounds.h"
#include "buf.h"
#include "tape.h"

typedef struct xm_out {
  xm_buf *buf;
  size_t mark;       /* the buf's length before the first call */
  bool in_tag;       /* the start tag is still open for attributes */
  bool wide;         /* a name with non-ASCII characters was written: whether they are allowed is still to be
                        checked, see below */
  bool in_text;      /* the last thing written is text */
  unsigned prefixes; /* how many prefixes were generated for this start tag */
  const xm_bounds *bounds; /* the output must keep within them, as counted by a receiver; NULL: no bounds. Borrowed */
  unsigned depth, attributes, nodes; /* open elements; attributes of this start tag; elements and texts of the stanza */
  unsigned all_attributes; /* attributes of all elements but the first */
  size_t tag, clark; /* where this tag begins; bytes of namespaces in attribute names of the form {uri}local */
  const char *fault; /* after XM_EINVAL: what is wrong, as a text for people: "U+0001, which XML 1.0 forbids" */
  char fault_room[128];
} xm_out;

static inline xm_out xm_out_begin(xm_buf *b) {
  xm_out o; /* fault_room needs no initial value */
  o.buf = b;
  o.mark = xm_buf_mark(b);
  o.in_tag = o.wide = o.in_text = false;
  o.prefixes = o.depth = o.attributes = o.all_attributes = o.nodes = 0;
  o.bounds = NULL;
  o.tag = o.clark = 0;
  o.fault = NULL;
  return o;
}
/* The same, for XML that has to keep within bounds. */
static inline xm_out xm_out_begin_within(xm_buf *b, const xm_bounds *bounds) {
  xm_out o = xm_out_begin(b);
  o.bounds = bounds;
  return o;
}
static inline void xm_out_abandon(xm_out *o) { xm_buf_rollback(o->buf, o->mark); }

/* Each returns 0, XM_EINVAL (see `fault`) or XM_ENOMEM. Names are NCNames. Of their non-ASCII characters only the UTF-8
 * is checked here; whether they are allowed in a name must be asked of expat (xm_xml_check_name), if `wide` is set. */
int xm_out_open(xm_out *o, const char *name, size_t n);
/* `name`: an NCName, "xmlns" (the default namespace from here on), "xml:lang", or "{uri}local", for which a prefix is
 * generated. TAB, LF and CR in the value are written as character references, since a parser would make spaces of them
 * (XML 1.0 3.3.3, to which RFC 6120 leaves it). */
int xm_out_attr(xm_out *o, const char *name, size_t n, const char *value, size_t value_len);
int xm_out_text(xm_out *o, const char *s, size_t n);
int xm_out_close(xm_out *o, const char *name, size_t n);

/* For the library's own elements, whose names are known to be valid. xm_out_start takes pairs of name and value of
 * attributes and a NULL at the end; a pair whose value is NULL is left out. */
int xm_out_start(xm_out *o, const char *name, ...) __attribute__((sentinel));
int xm_out_end(xm_out *o, const char *name);

/* The element at record `i` of a tape with all its content, with the namespaces it had in the stream that it came
 * from. */
int xm_out_tape(xm_out *o, const xm_tape *t, uint32_t i);

#endif
