/* tape: one element with all its content, as flat records in document order. Rank 0: uses err, buf, rnd.
 *
 *   OPEN message | ATTR to | ATTR id | OPEN body | TEXT | CLOSE body | CLOSE message
 *
 * This is the only form that a received element has in C. It is written once, front to back (by xml), and read with an
 * index as cursor; record 0 is the element itself, so 0 also serves as "no such child". Nothing is freed until the next
 * element is written over it. */
#ifndef XM_TAPE_H
#define XM_TAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

typedef enum xm_tape_kind { XM_TAPE_OPEN, XM_TAPE_ATTR, XM_TAPE_TEXT, XM_TAPE_CLOSE } xm_tape_kind;

/* Offsets are into the tape's bytes, where every string is followed by a NUL. A namespace of more than XM_TAPE_SHORT_NS
 * bytes is stored once only, however many elements are in it: equal ones have the same offset. */
enum { XM_TAPE_SHORT_NS = 64 };

typedef struct xm_tape_rec {
  uint32_t kind : 2;   /* xm_tape_kind */
  uint32_t new_ns : 1; /* OPEN: its namespace differs from its parent's (record 0: from the stream's) */
  uint32_t attrs : 29; /* OPEN: how many ATTR records follow right behind it */
  union {
    uint32_t name;     /* OPEN: local name. ATTR: "from", "xml:lang" or "{uri}local" */
    uint32_t slot;     /* TEXT: its number, CLOSE: its element's number, among the children of its parent, from 1 */
  };
  union {
    uint32_t name_len;
    uint32_t children; /* CLOSE: how many child elements and texts its element has */
  };
  uint32_t text;       /* OPEN: namespace. ATTR: value. TEXT: the text, adjacent pieces joined */
  uint32_t text_len;
  uint32_t next;       /* OPEN: the record behind its CLOSE. CLOSE: its OPEN. (While an element is open: its parent) */
} xm_tape_rec;

typedef struct xm_tape_ns_table xm_tape_ns_table;

typedef struct xm_tape {
  xm_tape_rec *recs;
  uint32_t n, cap;
  uint32_t open;     /* the innermost element that is still open */
  uint32_t depth;    /* how many are open */
  uint32_t *counts;  /* [depth]: how many children the innermost open element has so far; [0]: 1 when record 0 is
                        there */
  uint32_t levels;   /* how many levels `counts` has room for */
  uint32_t ns_len;   /* length of the namespace with which record 0 is compared; it lies at offset 0 */
  bool secret;       /* from the next reset on, wipe the content: during a login a server may send a token (XEP-0484) */
  xm_buf bytes;
  xm_tape_ns_table *long_ns; /* where the long namespaces lie; NULL: there has been none */
} xm_tape;

#define XM_TAPE_INIT ((xm_tape){0})

void xm_tape_free(xm_tape *t);
/* Empties it; memory is kept unless the last element was much larger than usual. `ns` is the stream's namespace, with
 * which record 0 is compared. 0 or XM_ENOMEM. */
int xm_tape_reset(xm_tape *t, const char *ns);

/* Bytes of memory that it has allocated. */
static inline size_t xm_tape_size(const xm_tape *t) {
  return t->cap * sizeof *t->recs + t->levels * sizeof *t->counts + t->bytes.cap;
}

/* Bytes of these that its element uses. */
static inline size_t xm_tape_used(const xm_tape *t) { return t->n * sizeof *t->recs + t->bytes.last; }

/* Makes `to` a copy of the complete element, to be read and freed only. The old value of `to` is ignored, and not
 * freed. 0 or XM_ENOMEM: then there is nothing to free. */
int xm_tape_copy(xm_tape *to, const xm_tape *from);

/* Appending. Each returns 0, XM_ENOMEM, or XM_ELIMIT when the tape has 4 GiB; after an error the tape may only be reset
 * or freed. `ns` NULL: the namespace of the element around it, see xm_tape_outer. */
int xm_tape_open(xm_tape *t, const char *ns, size_t ns_len, const char *name, size_t name_len);
int xm_tape_attr(xm_tape *t, const char *ns, size_t ns_len, const char *name, size_t name_len, const char *value,
                 size_t value_len);
int xm_tape_text(xm_tape *t, const char *s, size_t n);
int xm_tape_close(xm_tape *t);
/* The attribute value that was appended last, to be changed in place; xm_tape_shorten then sets its length to `n`
 * bytes, no more than before. */
char *xm_tape_last_value(xm_tape *t);
void xm_tape_shorten(xm_tape *t, size_t n);
/* Keeps only the element's own start tag, and closes it; memory of the rest is freed. Does nothing if record 0 isn't
 * there yet. 0 or XM_ENOMEM. */
int xm_tape_cut(xm_tape *t);

/* Reading. `i` is an OPEN record. Strings live until the next reset; `len` may be NULL. */
static inline const char *xm_tape_str(const xm_tape *t, uint32_t offset) { return t->bytes.data + offset; }
static inline const char *xm_tape_name(const xm_tape *t, uint32_t i) { return xm_tape_str(t, t->recs[i].name); }
static inline const char *xm_tape_ns(const xm_tape *t, uint32_t i) { return xm_tape_str(t, t->recs[i].text); }
static inline uint32_t xm_tape_children(const xm_tape *t, uint32_t i) { return t->recs[t->recs[i].next - 1].children; }
static inline uint32_t xm_tape_slot(const xm_tape *t, uint32_t i) { return t->recs[t->recs[i].next - 1].slot; }
/* While the tape is written: the namespace of the innermost open element, or the stream's if none is open. */
static inline const char *xm_tape_outer(const xm_tape *t, uint32_t *at, uint32_t *len) {
  *at = t->depth ? t->recs[t->open].text : 0;
  *len = t->depth ? t->recs[t->open].text_len : t->ns_len;
  return xm_tape_str(t, *at);
}
/* Has it this name and this namespace? NULL: any. */
bool xm_tape_is(const xm_tape *t, uint32_t i, const char *ns, const char *name);
/* The attribute's value; NULL when it is absent. */
const char *xm_tape_get(const xm_tape *t, uint32_t i, const char *name, size_t *len);
/* The first child element with this namespace and name (NULL: any), or the next such sibling after child `at`; 0:
 * none. */
uint32_t xm_tape_child(const xm_tape *t, uint32_t i, const char *ns, const char *name);
uint32_t xm_tape_sibling(const xm_tape *t, uint32_t at, const char *ns, const char *name);
/* The element's first text; "" when it has none. */
const char *xm_tape_content(const xm_tape *t, uint32_t i, size_t *len);

#endif
