/* tape: one element, with all that is in it, as flat records in the order of the document. Rank 0: knows err, buf, rnd.
 *
 *   OPEN message | ATTR to | ATTR id | OPEN body | TEXT | CLOSE body | CLOSE message
 *
 * The one form that a received element has in C. It is written once, front to back (by xml), and read with an index as
 * cursor; record 0 is the element itself, so 0 also serves as "no such child". Nothing is freed until the next one is
 * written over it. */
#ifndef XM_TAPE_H
#define XM_TAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

typedef enum xm_tape_kind { XM_TAPE_OPEN, XM_TAPE_ATTR, XM_TAPE_TEXT, XM_TAPE_CLOSE } xm_tape_kind;

/* Offsets are into the tape's bytes, where every string also has a NUL behind it. A namespace of more than XM_TAPE_SHORT_NS
 * bytes lies there once, however many elements are in it: the same one has the same offset. */
enum { XM_TAPE_SHORT_NS = 64 };

typedef struct xm_tape_rec {
  uint32_t kind : 2;   /* xm_tape_kind */
  uint32_t new_ns : 1; /* OPEN: its namespace is not its parent's (record 0: not the stream's) */
  uint32_t attrs : 29; /* OPEN: how many ATTR follow at once */
  union {
    uint32_t name;     /* OPEN: local name. ATTR: "from", "xml:lang" or "{uri}local" */
    uint32_t slot;     /* TEXT, CLOSE: its number, its element's, among its parent's children, from 1 */
  };
  union {
    uint32_t name_len;
    uint32_t children; /* CLOSE: elements and texts right below its element */
  };
  uint32_t text;       /* OPEN: namespace. ATTR: value. TEXT: the text, neighbours joined */
  uint32_t text_len;
  uint32_t next;       /* OPEN: the record behind its CLOSE. CLOSE: its OPEN. (While an element is open: its parent) */
} xm_tape_rec;

typedef struct xm_tape_ns_table xm_tape_ns_table;

typedef struct xm_tape {
  xm_tape_rec *recs;
  uint32_t n, cap;
  uint32_t open;     /* innermost element that is still open */
  uint32_t depth;    /* how many are open */
  uint32_t *counts;  /* [depth]: children so far of the innermost that is open; [0]: 1 when record 0 is there */
  uint32_t levels;   /* for which that has room */
  uint32_t ns_len;   /* of the namespace that record 0 is compared with; it lies at offset 0 */
  bool secret;       /* from the next reset on, what it holds is wiped: a server says tokens in a login (XEP-0484) */
  xm_buf bytes;
  xm_tape_ns_table *long_ns; /* where the long namespaces lie; NULL: there was none yet */
} xm_tape;

#define XM_TAPE_INIT ((xm_tape){0})

void xm_tape_free(xm_tape *t);
/* Empty; memory is kept unless the last element was much larger than usual. `ns` is what record 0 is compared with. 0 or
 * XM_ENOMEM. */
int xm_tape_reset(xm_tape *t, const char *ns);

/* Bytes of memory that it has. */
static inline size_t xm_tape_size(const xm_tape *t) {
  return t->cap * sizeof *t->recs + t->levels * sizeof *t->counts + t->bytes.cap;
}

/* Of these, the ones that its element needs. */
static inline size_t xm_tape_used(const xm_tape *t) { return t->n * sizeof *t->recs + t->bytes.last; }

/* Makes `to`, whatever it has been, the same whole element, to be read and freed. 0 or XM_ENOMEM: then there is nothing to free. */
int xm_tape_copy(xm_tape *to, const xm_tape *from);

/* Appending. Each 0, XM_ENOMEM, or XM_ELIMIT when the tape has 4 GiB; then the tape may only be reset or freed. `ns` NULL:
 * the one around it, see xm_tape_outer. */
int xm_tape_open(xm_tape *t, const char *ns, size_t ns_len, const char *name, size_t name_len);
int xm_tape_attr(xm_tape *t, const char *ns, size_t ns_len, const char *name, size_t name_len, const char *value,
                 size_t value_len);
int xm_tape_text(xm_tape *t, const char *s, size_t n);
int xm_tape_close(xm_tape *t);
/* The value that was put last, to be changed where it lies, and then to have `n` bytes, no more than it had. */
char *xm_tape_last_value(xm_tape *t);
void xm_tape_shorten(xm_tape *t, size_t n);
/* Only the element's own start tag is kept, and closed; memory that the rest had is given back. Nothing, where record 0 isn't
 * there yet. 0 or XM_ENOMEM. */
int xm_tape_cut(xm_tape *t);

/* Reading. `i` is an OPEN record. Strings live until the next reset; `len` may be NULL. */
static inline const char *xm_tape_str(const xm_tape *t, uint32_t offset) { return t->bytes.data + offset; }
static inline const char *xm_tape_name(const xm_tape *t, uint32_t i) { return xm_tape_str(t, t->recs[i].name); }
static inline const char *xm_tape_ns(const xm_tape *t, uint32_t i) { return xm_tape_str(t, t->recs[i].text); }
static inline uint32_t xm_tape_children(const xm_tape *t, uint32_t i) { return t->recs[t->recs[i].next - 1].children; }
static inline uint32_t xm_tape_slot(const xm_tape *t, uint32_t i) { return t->recs[t->recs[i].next - 1].slot; }
/* While it is written: the namespace of the innermost open element, the stream's where there is none. */
static inline const char *xm_tape_outer(const xm_tape *t, uint32_t *at, uint32_t *len) {
  *at = t->depth ? t->recs[t->open].text : 0;
  *len = t->depth ? t->recs[t->open].text_len : t->ns_len;
  return xm_tape_str(t, *at);
}
/* Is it this name in this namespace? A NULL is not asked for. */
bool xm_tape_is(const xm_tape *t, uint32_t i, const char *ns, const char *name);
/* The attribute's value; NULL when it is absent. */
const char *xm_tape_get(const xm_tape *t, uint32_t i, const char *name, size_t *len);
/* The first child element of this namespace and name (NULL: any), or the next sibling like that after child `at`; 0: none. */
uint32_t xm_tape_child(const xm_tape *t, uint32_t i, const char *ns, const char *name);
uint32_t xm_tape_sibling(const xm_tape *t, uint32_t at, const char *ns, const char *name);
/* The element's first text; "" when it has none. */
const char *xm_tape_content(const xm_tape *t, uint32_t i, size_t *len);

#endif
