/* libFuzzer: any bytes as a stream, some of which are read as before the end of a login, and some as after it. However
 * they are cut, the same tapes must come of them; each tape is well made and within the bounds, and what is written
 * from it reads back as the same. */
#include "fuzz.h"
#include "ns.h"
#include "out.h"
#include "tapes.h"
#include "xml.h"

#define HEADER "<stream:stream xmlns='" XM_NS_CLIENT "' xmlns:stream='" XM_NS_STREAM "'>"

static const xm_bounds limits[] = {
    {1 << 20, 64 * 1024, 128, 256, 50000, 1024},
    {1024, 256, 3, 5, 8, 64},
};

/* Checks */

static void check_string(const xm_tape *t, uint32_t at, uint32_t n) {
  MUST(at + (size_t)n < t->bytes.last && strlen(xm_tape_str(t, at)) == n && is_utf8(xm_tape_str(t, at), n));
}

/* No two attributes of an element may have the same name. At a stanza some are left out. */
static void check_attributes(const xm_tape *t, uint32_t i, bool is_stanza, unsigned most) {
  uint32_t end = i + 1 + t->recs[i].attrs, counted = 0, k;
  for (i++; i < end; i++) {
    MUST(t->recs[i].kind == XM_TAPE_ATTR && t->recs[i].name_len);
    counted += xm_bounds_counts(is_stanza, xm_tape_name(t, i), t->recs[i].name_len);
    MUST(counted <= most);
    for (k = i + 1; k < end; k++) MUST(strcmp(xm_tape_name(t, i), xm_tape_name(t, k)) != 0);
  }
  MUST(end < t->n && t->recs[end].kind != XM_TAPE_ATTR);
}

static void check_children(const xm_tape *t, uint32_t i) {
  const xm_tape_rec *parent = &t->recs[i];
  uint32_t at = i + 1 + parent->attrs, slot = 0;
  for (; t->recs[at].kind != XM_TAPE_CLOSE; at = t->recs[at].kind == XM_TAPE_OPEN ? t->recs[at].next : at + 1) {
    const xm_tape_rec *r = &t->recs[at];
    MUST((r->kind == XM_TAPE_OPEN ? xm_tape_slot(t, at) : r->slot) == ++slot);
    MUST(r->kind != XM_TAPE_TEXT || (r->text_len && r[1].kind != XM_TAPE_TEXT));
    if (r->kind == XM_TAPE_OPEN) MUST(r->new_ns == (strcmp(xm_tape_ns(t, at), xm_tape_ns(t, i)) != 0));
  }
  MUST(slot == xm_tape_children(t, i) && t->recs[at].next == i && parent->next == at + 1);
}

static void check_tape(const xm_tape *t, const xm_bounds *l) {
  uint32_t i, depth = 0, nodes = 0;
  MUST(t->n >= 2 && t->depth == 0 && t->recs[0].next == t->n && xm_tape_slot(t, 0) == 1);
  for (i = 0; i < t->n; i++) {
    const xm_tape_rec *r = &t->recs[i];
    if (r->kind == XM_TAPE_OPEN || r->kind == XM_TAPE_ATTR) check_string(t, r->name, r->name_len);
    if (r->kind != XM_TAPE_CLOSE) check_string(t, r->text, r->text_len);
    nodes += r->kind == XM_TAPE_OPEN || r->kind == XM_TAPE_TEXT;
    if (r->kind == XM_TAPE_CLOSE) depth--;
    if (r->kind != XM_TAPE_OPEN) continue;
    MUST(++depth <= l->depth && r->name_len);
    check_attributes(t, i, depth == 1, l->attributes);
    check_children(t, i);
  }
  MUST(depth == 0 && nodes <= l->nodes);
}

/* Events, written into a buffer */

typedef struct reader {
  xm_xml *xml;
  const xm_bounds *limits;
  bool skips;  /* behind the header, what crosses a bound is skipped */
  bool writes; /* each stanza is also written, and read back */
  xm_buf log;
} reader;

static void fill(xm_xml *x, const char *s, size_t n) {
  size_t room;
  char *to = xm_xml_space(x, &room);
  MUST(to && room >= n);
  memcpy(to, s, n);
  xm_xml_fill(x, n);
}

/* Checks that what is written from a stanza's tape is the same stanza. */
static void check_writing(const xm_tape *t, bool skips) {
  xm_buf text = XM_BUF_INIT, before = XM_BUF_INIT, after = XM_BUF_INIT;
  xm_out o = xm_out_begin(&text);
  xm_xml *x = xm_xml_new(XM_NS_CLIENT, &limits[0]);
  MUST(x && xm_out_tape(&o, t, 0) == XM_OK);
  fill(x, HEADER, sizeof HEADER - 1);
  MUST(xm_xml_next(x, NULL) == XM_XML_OPEN && xm_xml_next(x, NULL) == XM_XML_MORE);
  if (skips) xm_xml_set_bounds(x, &limits[0], XM_XML_SKIP);
  fill(x, xm_buf_at(&text), xm_buf_len(&text));
  MUST(xm_xml_next(x, NULL) == XM_XML_STANZA && xm_xml_unread(x) == 0);
  log_tape(&before, t);
  log_tape(&after, xm_xml_tape(x));
  MUST(is_same(&before, &after));
  xm_xml_free(x);
  xm_buf_free(&text);
  xm_buf_free(&before);
  xm_buf_free(&after);
}

/* Refusals are compared without their text: if there are two faults close together, the cutting decides which is seen
 * first. */
static void log_event(reader *r, int event, const xm_err *e) {
  const xm_tape *t = xm_xml_tape(r->xml);
  put(&r->log, &event, sizeof event);
  if (event < 0) {
    check_error(e);
  } else if (event != XM_XML_CLOSE) {
    check_tape(t, r->limits);
    log_tape(&r->log, t);
    if (event == XM_XML_STANZA && r->writes) check_writing(t, r->skips);
  }
}

/* Feeds bytes as link does. false: the stream has ended, or was refused. */
static bool feed(reader *r, const char *s, size_t n, bool drained) {
  int event;
  fill(r->xml, s, n);
  do {
    xm_err e = {0};
    event = xm_xml_next(r->xml, &e);
    if (event == XM_XML_MORE && drained) event = xm_xml_drained(r->xml, &e);
    if (event != XM_XML_MORE) log_event(r, event, &e);
    if (event < 0) MUST(xm_xml_next(r->xml, NULL) == event);
    if (event == XM_XML_MORE && !r->skips) MUST(xm_xml_unread(r->xml) == 0); /* expat has been given everything, as no
                                                                                input has a long tag */
    if (event < 0 || event == XM_XML_CLOSE) return false;
    if (event == XM_XML_OPEN && r->skips) xm_xml_set_bounds(r->xml, r->limits, XM_XML_SKIP);
  } while (event != XM_XML_MORE);
  return true;
}

static void read_stream(reader *r, const char *s, size_t n, size_t most, uint32_t seed) {
  bool more = true;
  r->xml = xm_xml_new(XM_NS_CLIENT, r->limits);
  MUST(r->xml);
  while (more && n > 0) {
    size_t piece = most < n ? 1 + chance(&seed, (uint32_t)most) : n;
    more = feed(r, s, piece, piece == n || chance(&seed, 2));
    s += piece;
    n -= piece;
  }
  xm_xml_free(r->xml);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  uint32_t seed = hash_of(bytes, n);
  reader whole = {.limits = &limits[seed % 2], .skips = seed / 1024 % 2, .writes = seed % 4 == 0};
  reader pieces = {.limits = whole.limits, .skips = whole.skips};
  read_stream(&whole, (const char *)bytes, n, n, seed);
  read_stream(&pieces, (const char *)bytes, n, 1 + seed / 4 % 64, seed);
  MUST(is_same(&whole.log, &pieces.log));
  xm_buf_free(&whole.log);
  xm_buf_free(&pieces.log);
  return 0;
}
