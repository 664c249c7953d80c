/* out: from calls to escaped XML in a buf. Rank 1: knows err, buf, tape, bounds.
 *
 *   xm_out o = xm_out_begin(buf);
 *   xm_out_open(&o, ...); xm_out_attr(&o, ...); xm_out_text(&o, ...); xm_out_close(&o, ...);
 *   commit: do nothing.   xm_out_abandon(&o): the buf is as it was.
 *
 * Everything it is given is checked: what could not be read back is refused before a byte of it is in the buf. */
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
  bool wide;         /* a name with characters beyond ASCII has been written: to be asked about, see below */
  bool in_text;      /* what was written last is text */
  unsigned prefixes; /* made up in this start tag */
  const xm_bounds *bounds; /* that it keeps to, as a receiver would; NULL: none. Borrowed */
  unsigned depth, attributes, nodes; /* open elements; of this start tag; of all */
  unsigned all_attributes; /* below the first start tag */
  size_t tag, clark; /* where this tag begins; bytes of namespaces in names of attributes */
  const char *fault; /* after XM_EINVAL: what is wrong, for people: "U+0001, which XML 1.0 forbids" */
  char fault_room[128];
} xm_out;

static inline xm_out xm_out_begin(xm_buf *b) {
  xm_out o; /* its fault_room stays as it is */
  o.buf = b;
  o.mark = xm_buf_mark(b);
  o.in_tag = o.wide = o.in_text = false;
  o.prefixes = o.depth = o.attributes = o.all_attributes = o.nodes = 0;
  o.bounds = NULL;
  o.tag = o.clark = 0;
  o.fault = NULL;
  return o;
}
/* The same, of what has to be within bounds. */
static inline xm_out xm_out_begin_within(xm_buf *b, const xm_bounds *bounds) {
  xm_out o = xm_out_begin(b);
  o.bounds = bounds;
  return o;
}
static inline void xm_out_abandon(xm_out *o) { xm_buf_rollback(o->buf, o->mark); }

/* Each 0, XM_EINVAL (see fault), XM_ENOMEM. Names are NCNames; of characters beyond ASCII only the UTF-8 is checked here,
 * whether they may stand in a name is expat's to say (xm_xml_check_name). */
int xm_out_open(xm_out *o, const char *name, size_t n);
/* `name`: an NCName, "xmlns" (the default namespace from here on), "xml:lang", or "{uri}local", for which a prefix is made
 * up. TAB, LF and CR in the value are written so that they survive (RFC 6120 leaves them to XML 1.0 3.3.3). */
int xm_out_attr(xm_out *o, const char *name, size_t n, const char *value, size_t value_len);
int xm_out_text(xm_out *o, const char *s, size_t n);
int xm_out_close(xm_out *o, const char *name, size_t n);

/* For the library's own elements, whose names are right: name and attributes in one go, ended by NULL, and text. */
int xm_out_start(xm_out *o, const char *name, ...) __attribute__((sentinel));
int xm_out_end(xm_out *o, const char *name);

/* Record `i` of a tape with all that is in it; as in the stream it came from. */
int xm_out_tape(xm_out *o, const xm_tape *t, uint32_t i);

#endif
