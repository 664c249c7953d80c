#include "sm.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct record {
  uint64_t seq;
  int64_t given; /* by the steady clock */
  uint64_t end;  /* position behind it on the wire, in bytes from the wire's begin; valid once all of it is there */
  size_t len;
  unsigned flags;
  bool told;     /* its sender was told that it was written */
  xm_sm_reason reason;
} record;

/* A sequence of stanzas: their bytes, and a record for each. */
typedef struct series {
  xm_buf bytes, records;
} series;

struct xm_sm {
  xm_sm_state state;
  series log;
  size_t committed;       /* bytes of the log that belong to records; behind them lies a stanza that is being
                             written, or was abandoned */
  size_t early;           /* records at the front that were committed while those behind them were held back: their
                             numbers are higher */
  size_t withheld;        /* bytes at the end of the log that are held back: see xm_sm_hold_back */
  size_t ours, our_bytes; /* the library's own stanzas in the log, and their bytes */
  size_t written, pumped; /* records from the front that the kernel has taken; that were put on the wire */
  size_t moved;           /* bytes of the log, from the front, that were put on the wire; */
  size_t part;            /* of these, bytes of a record that is only partly there */
  uint64_t taken;         /* bytes of the wire that the kernel has taken */
  uint64_t last;          /* the newest stanza's number */
  uint32_t in, acked;     /* our h; the server's */
  uint32_t left;          /* stanzas that left without stream management, counted in `acked` since the kernel took
                             them: no h of the server has confirmed them */
  unsigned asked;         /* requests (<r/>) that aren't answered */
  unsigned untold;        /* stanzas handled since our last acknowledgement */
  unsigned since;         /* stanzas since the last request */
  bool was_asked;         /* <enable/> was sent on this stream: an answer may still come */
  bool must_enable, must_ack, must_ask, resume;
  bool held;              /* see xm_sm_is_held */
  xm_buf id, location;    /* with a NUL; empty: none */
  unsigned max;
  xm_buf receipts;
  size_t watched;         /* in the log */
  series aside;           /* without stream management: stanzas that have left, and to which the server may still
                             object */
  series back;            /* returned; the first `taken_back` bytes belong to the stanza that the caller has */
  size_t taken_back;
  bool ended;             /* what is in the log is to be returned, too */
};

xm_sm *xm_sm_new(void) {
  return calloc(1, sizeof(xm_sm));
}

static void series_free(series *s) {
  xm_buf_free(&s->bytes);
  xm_buf_free(&s->records);
}

void xm_sm_free(xm_sm *s) {
  if (!s) return;
  series_free(&s->log);
  series_free(&s->back);
  series_free(&s->aside);
  xm_buf_free(&s->id);
  xm_buf_free(&s->location);
  xm_buf_free(&s->receipts);
  free(s);
}

static record *record_at(const series *s, size_t i) {
  return (record *)(void *)xm_buf_at(&s->records) + i;
}

static size_t count(const series *s) {
  return xm_buf_len(&s->records) / sizeof(record);
}

#ifdef XM_DEBUG

/* A long log isn't checked every time: that would make a test with many stanzas quadratic. */
static bool is_spared(const xm_sm *s) {
  return count(&s->log) > 300 && s->last % 61;
}

/* Sums over the records of the log. */
typedef struct sums {
  size_t bytes, moved, behind, watched, ours, our_bytes, receipts;
} sums;

static sums add_up(const xm_sm *s) {
  sums a = {0};
  uint64_t before = 0;
  size_t i;
  for (i = 0; i < count(&s->log); i++) {
    const record *r = record_at(&s->log, i);
    assert((r->seq > before || i == s->early) && r->seq <= s->last);
    before = r->seq;
    a.bytes += r->len;
    if (i >= s->early) a.behind += r->len;
    if (i < s->pumped) a.moved += r->len;
    if (r->flags & XM_SM_WATCHED) a.watched++, a.receipts += r->told ? 1 : 2;
    if (r->flags & XM_SM_OURS) a.ours++, a.our_bytes += r->len;
  }
  return a;
}

/* These invariants hold after each call, whatever the order of the calls. */
static void assert_whole(const xm_sm *s) {
  size_t n = count(&s->log);
  bool on_wire = s->pumped || s->part; /* after a cut `written` still refers to the last wire */
  sums a;
  assert(s->pumped <= n && s->written <= n && (!on_wire || s->written <= s->pumped));
  assert(s->part == 0 || (s->pumped < n && s->part < record_at(&s->log, s->pumped)->len));
  assert(xm_buf_len(&s->log.bytes) >= s->committed && s->committed >= s->moved);
  assert(s->early <= n && s->moved + s->withheld <= s->committed);
  assert(!s->must_enable || s->state == XM_SM_ENABLING);
  assert(!s->held || s->state != XM_SM_OFF);
  assert(s->state != XM_SM_OFF || !s->must_ack);
  assert(s->state != XM_SM_OFF || s->written == 0 || !on_wire); /* what the kernel has taken was removed */
  if (s->ended || is_spared(s)) return;
  a = add_up(s);
  assert(a.bytes == s->committed && a.moved + s->part == s->moved);
  assert(s->withheld == 0 || s->withheld == a.behind);
  assert(a.watched == s->watched && a.ours == s->ours && a.our_bytes == s->our_bytes);
  assert(a.receipts == 0 || s->receipts.cap - s->receipts.last >= a.receipts * sizeof(xm_sm_receipt));
}

#else

static inline void assert_whole(const xm_sm *s) {
  (void)s;
}

#endif

/* Committing. */

size_t xm_sm_begun(const xm_sm *s) {
  return xm_buf_len(&s->log.bytes) - s->committed;
}

void xm_sm_drop(xm_sm *s) {
  xm_buf_rollback(&s->log.bytes, s->committed);
}

xm_buf *xm_sm_out(xm_sm *s) {
  xm_sm_drop(s);
  return &s->log.bytes;
}

/* Receipts are put where nothing may fail, so there must be room beforehand for both receipts of each watched
 * stanza. */
static int expect_receipts(xm_sm *s) {
  return xm_buf_reserve(&s->receipts, 2 * (s->watched + count(&s->aside) + 1) * sizeof(xm_sm_receipt)) ? XM_OK : XM_ENOMEM;
}

static void enter(xm_sm *s, const record *r) {
  s->committed += r->len;
  if (r->flags & XM_SM_WATCHED) s->watched++;
  if (r->flags & XM_SM_OURS) s->ours++, s->our_bytes += r->len;
}

static void strike_out(xm_sm *s, const record *r) {
  s->committed -= r->len;
  if (r->flags & XM_SM_WATCHED) s->watched--;
  if (r->flags & XM_SM_OURS) s->ours--, s->our_bytes -= r->len;
}

/* Moves the last record, and its bytes at the end of the log, in front of what is held back. */
static void overtake(xm_sm *s) {
  record *first = record_at(&s->log, s->early), r = *record_at(&s->log, count(&s->log) - 1);
  char *to = xm_buf_at(&s->log.bytes) + s->committed - s->withheld;
  memmove(to + r.len, to, s->withheld + r.len);
  memcpy(to, to + r.len + s->withheld, r.len);
  memmove(first + 1, first, (count(&s->log) - s->early - 1) * sizeof r);
  *first = r;
  s->early++;
}

/* A mark that isn't the log's end belongs to a stanza that was begun and then dropped by beginning another: its bytes
 * are gone. */
int xm_sm_commit(xm_sm *s, size_t mark, int64_t now, unsigned flags, uint64_t *seq) {
  record r = {.seq = s->last + 1, .given = now, .len = xm_sm_begun(s), .flags = flags};
  bool fits = mark == s->committed && (!(flags & XM_SM_WATCHED) || expect_receipts(s) == XM_OK);
  if (fits && s->withheld) fits = xm_buf_reserve(&s->log.bytes, r.len) != NULL; /* overtake needs it as scratch space */
  if (!fits || xm_buf_put(&s->log.records, &r, sizeof r) < 0) {
    xm_sm_drop(s);
    return XM_ENOMEM;
  }
  if (s->withheld) overtake(s);
  enter(s, &r);
  s->last = r.seq;
  if (seq) *seq = r.seq;
  assert_whole(s);
  return XM_OK;
}

/* Removing from the front. */

static void tell(xm_sm *s, const record *r, xm_sm_fate fate) {
  xm_sm_receipt receipt = {.seq = r->seq, .fate = fate};
  int rc = r->flags & XM_SM_WATCHED ? xm_buf_put(&s->receipts, &receipt, sizeof receipt) : XM_OK;
  assert(rc == XM_OK); /* see expect_receipts */
  (void)rc;
}

/* Removes the first `n` records; `acked` grows by them. */
static void leave(xm_sm *s, size_t n) {
  size_t i, bytes = 0;
  for (i = 0; i < n; i++) {
    const record *r = record_at(&s->log, i);
    strike_out(s, r);
    bytes += r->len;
  }
  xm_buf_consume(&s->log.bytes, bytes);
  xm_buf_consume(&s->log.records, n * sizeof(record));
  s->written -= n;
  s->pumped -= n;
  s->early -= n < s->early ? n : s->early;
  s->moved -= bytes;
  s->acked += (uint32_t)n;
}

/* Appends one record and its bytes to a series. */
static int put_behind(series *to, const record *r, const char *xml) {
  size_t mark = xm_buf_mark(&to->bytes);
  if (xm_buf_put(&to->bytes, xml, r->len) < 0) return XM_ENOMEM;
  if (xm_buf_put(&to->records, r, sizeof *r) == XM_OK) return XM_OK;
  xm_buf_rollback(&to->bytes, mark);
  return XM_ENOMEM;
}

static void acquit_first(xm_sm *s) {
  record r = *record_at(&s->aside, 0);
  xm_buf_consume(&s->aside.bytes, r.len);
  xm_buf_consume(&s->aside.records, sizeof r);
  tell(s, &r, XM_SM_LEFT);
}

void xm_sm_acquit(xm_sm *s) {
  while (count(&s->aside)) acquit_first(s);
}

/* Could a server end the stream because of this stanza? Few are like that. */
static bool is_doubtful(const record *r) {
  return r->len > XM_SM_LONG || (r->flags & (XM_SM_NO_TO | XM_SM_FROM));
}

static bool set_aside(xm_sm *s, const record *r, const char *xml) {
  if (!is_doubtful(r)) return false;
  if (count(&s->aside) == XM_SM_ASIDE) acquit_first(s);
  return put_behind(&s->aside, r, xml) == XM_OK;
}

/* Removes what the kernel has taken: nothing more will be known of it, unless the server objects. */
static void leave_written(xm_sm *s) {
  const char *xml = xm_buf_at(&s->log.bytes);
  size_t i;
  for (i = 0; i < s->written; i++) {
    const record *r = record_at(&s->log, i);
    if (!set_aside(s, r, xml)) tell(s, r, XM_SM_LEFT);
    xml += r->len;
  }
  s->left += (uint32_t)s->written;
  leave(s, s->written);
}

static void note_taken(xm_sm *s, uint64_t all) {
  s->taken = all;
  while (s->written < s->pumped && record_at(&s->log, s->written)->end <= s->taken) {
    record *r = record_at(&s->log, s->written++);
    if (!r->told) tell(s, r, XM_SM_WRITTEN);
    r->told = true;
  }
  if (s->state == XM_SM_OFF && s->written <= s->pumped) leave_written(s); /* after a cut `written` refers to the last
                                                                             wire */
}

void xm_sm_taken(xm_sm *s, uint64_t all) {
  note_taken(s, all);
  assert_whole(s);
}

/* Pumping. */

static int put_enable(xm_sm *s, xm_buf *wire) {
  const char *resume = s->resume ? " resume='true'" : "";
  char text[80];
  snprintf(text, sizeof text, "<enable xmlns='" XM_SM_NS "'%s/>", resume);
  if (xm_buf_puts(wire, text) < 0) return XM_ENOMEM;
  s->must_enable = false;
  s->was_asked = true;
  s->acked = s->left = 0; /* counting begins behind <enable/> (XEP-0198 3) */
  s->since = 0;
  return XM_OK;
}

static int put_ack(xm_sm *s, xm_buf *wire) {
  char text[64];
  snprintf(text, sizeof text, "<a xmlns='" XM_SM_NS "' h='%u'/>", (unsigned)s->in);
  if (xm_buf_puts(wire, text) < 0) return XM_ENOMEM;
  s->must_ack = false;
  s->untold = 0;
  return XM_OK;
}

/* How many records may be put on the wire, or have been. */
static size_t movable(const xm_sm *s) {
  return s->withheld ? s->early : count(&s->log);
}

static bool is_full(const xm_sm *s) {
  return s->state != XM_SM_OFF && s->pumped >= XM_SM_IN_FLIGHT;
}

static int put_request(xm_sm *s, xm_buf *wire) {
  if (xm_buf_puts(wire, "<r xmlns='" XM_SM_NS "'/>") < 0) return XM_ENOMEM;
  /* if more follows, this request was one that was due anyway, or the one for which the held log waits: so the wanted
   * one is still to come */
  if (s->pumped == movable(s) || (s->since == 0 && !s->held)) s->must_ask = false;
  s->since = 0;
  s->asked++;
  return XM_OK;
}

/* Is it time for the request that xm_sm_request wants? Best behind everything that may leave; if nothing may leave, at
 * once. */
static bool is_wanted(const xm_sm *s) {
  bool stands = s->held || is_full(s);
  return s->must_ask && (s->pumped == movable(s) || (stands && s->asked == 0));
}

/* Not for each stanza, since that would double the packets; not much later, since the server's memory for it is
 * bounded. */
static bool is_time_to_ask(const xm_sm *s) {
  bool last = s->pumped == movable(s) || is_full(s);
  return is_wanted(s) || s->since >= XM_SM_ASK_EVERY || (last && s->since >= XM_SM_ASK_BATCH) ||
         (is_full(s) && s->since > 0);
}

static int put_nonzas(xm_sm *s, xm_buf *wire) {
  int rc = s->must_enable ? put_enable(s, wire) : XM_OK;
  if (s->state != XM_SM_ON) return rc;
  if (rc == XM_OK && s->must_ack) rc = put_ack(s, wire);
  if (rc == XM_OK && is_time_to_ask(s)) rc = put_request(s, wire);
  return rc;
}

/* Puts the next stanza on the wire, or a part of it, until that has `most` more bytes. */
static int move_piece(xm_sm *s, xm_buf *wire, size_t most) {
  record *r = record_at(&s->log, s->pumped);
  size_t n = r->len - s->part;
  if (n > most) n = most;
  if (xm_buf_put(wire, xm_buf_at(&s->log.bytes) + s->moved, n) < 0) return XM_ENOMEM;
  s->moved += n;
  s->part += n;
  if (s->part < r->len) return XM_OK;
  r->end = s->taken + xm_buf_len(wire);
  s->part = 0;
  s->pumped++;
  s->since++;
  return XM_OK;
}

int xm_sm_pump(xm_sm *s, xm_buf *wire, size_t most) {
  int rc = XM_OK;
  while (rc == XM_OK && xm_buf_len(wire) < most) {
    if (s->part == 0) rc = put_nonzas(s, wire);
    if (rc < 0 || s->pumped == movable(s) || (s->part == 0 && (is_full(s) || s->held))) break;
    rc = move_piece(s, wire, most);
  }
  assert_whole(s);
  return rc;
}

bool xm_sm_is_between(const xm_sm *s) {
  return s->part == 0;
}

size_t xm_sm_spare(const xm_sm *s) {
  return xm_buf_spare(&s->log.bytes) + xm_buf_spare(&s->log.records);
}

void xm_sm_rest(xm_sm *s) {
  xm_sm_drop(s);
  xm_buf_rest(&s->log.bytes);
  xm_buf_rest(&s->log.records);
}

/* Enabling. */

static void forget_session(xm_sm *s) {
  xm_buf_clear(&s->id);
  xm_buf_clear(&s->location);
  s->max = 0;
}

void xm_sm_enable(xm_sm *s, bool resume) {
  forget_session(s);
  s->state = XM_SM_ENABLING;
  s->must_enable = s->held = true;
  s->resume = resume;
  assert_whole(s);
}

void xm_sm_give_up(xm_sm *s) {
  if (s->state != XM_SM_ENABLING) return;
  s->state = XM_SM_OFF;
  s->must_enable = s->held = false;
  leave_written(s);
  assert_whole(s);
}

/* Stores one of the server's strings. If there is no memory it is left empty: then the session can't be resumed. */
static void keep(xm_buf *b, const char *text) {
  xm_buf_clear(b);
  if (text && xm_buf_put(b, text, strlen(text) + 1) < 0) xm_buf_clear(b);
}

/* XML Schema's boolean, as in RFC 6120: "true" and "1". */
static bool is_true(const char *s) {
  return s && (strcmp(s, "true") == 0 || strcmp(s, "1") == 0);
}

/* A decimal number of at most 2^32 - 1; false: it is anything else. */
static bool read_number(const char *s, uint32_t *to) {
  uint64_t n = 0;
  if (!s || !*s || strlen(s) > 10) return false;
  for (; *s; s++) {
    if (*s < '0' || *s > '9') return false;
    n = 10 * n + (uint64_t)(*s - '0');
  }
  *to = (uint32_t)n;
  return n <= UINT32_MAX;
}

xm_sm_terms xm_sm_read_terms(const xm_tape *t, uint32_t i) {
  uint32_t max = 0;
  bool kept = is_true(xm_tape_get(t, i, "resume", NULL));
  xm_sm_terms terms = {.location = xm_tape_get(t, i, "location", NULL)};
  if (kept) terms.id = xm_tape_get(t, i, "id", NULL);
  if (read_number(xm_tape_get(t, i, "max", NULL), &max)) terms.max = max;
  return terms;
}

static void turn_on(xm_sm *s, const xm_sm_terms *terms) {
  s->state = XM_SM_ON;
  s->held = false;
  s->in = s->untold = 0;
  s->asked = 0;
  keep(&s->id, terms->id);
  keep(&s->location, terms->location);
  s->max = terms->max;
}

void xm_sm_enabled(xm_sm *s, const xm_sm_terms *terms) {
  turn_on(s, terms);
  s->acked = s->left = 0;
  s->since = 0;
  assert_whole(s);
}

/* <enabled/> may come after we have given up: what has left meanwhile counts as handled, unless an h says less. */
static void on_enabled(xm_sm *s, const xm_tape *t) {
  const xm_sm_terms terms = xm_sm_read_terms(t, 0);
  if (s->state == XM_SM_ON || !s->was_asked) return;
  turn_on(s, &terms);
}

static int refuse_h(const xm_sm *s, const char *h, xm_err *e) {
  return xm_err_set(e, XM_LAYER_STREAM, "undefined-condition", true,
                    "the server says that it has handled %.20s stanzas, which can't be: %u were acknowledged before and "
                    "%zu more were sent (XEP-0198 4: handled-count-too-high)",
                    h, (unsigned)s->acked, s->written);
}

/* h can't acknowledge more than was written, nor less than was acknowledged before (modulo 2^32 that is the same
 * check). */
static int ack(xm_sm *s, uint32_t h, xm_err *e) {
  uint32_t n = h - s->acked, i;
  char text[16];
  snprintf(text, sizeof text, "%u", (unsigned)h);
  if (s->acked - h <= s->left) n = 0;
  if (n > s->written) return refuse_h(s, text, e);
  s->left = n ? 0 : s->acked - h;
  for (i = 0; i < n; i++) tell(s, record_at(&s->log, i), XM_SM_ACKED);
  leave(s, n);
  return XM_OK;
}

static int on_ack(xm_sm *s, const xm_tape *t, xm_err *e) {
  const char *h = xm_tape_get(t, 0, "h", NULL);
  uint32_t n;
  if (s->state != XM_SM_ON) return XM_OK;
  if (!read_number(h, &n)) return refuse_h(s, h ? h : "(no)", e);
  if (s->asked) s->asked--;
  s->held = false;
  return ack(s, n, e);
}

int xm_sm_read(xm_sm *s, const xm_tape *t, xm_err *e) {
  const char *name = xm_tape_name(t, 0);
  int rc = strcmp(name, "a") == 0 ? on_ack(s, t, e) : XM_OK;
  if (strcmp(name, "r") == 0) s->must_ack = s->state == XM_SM_ON;
  if (strcmp(name, "enabled") == 0) on_enabled(s, t);
  if (strcmp(name, "failed") == 0) xm_sm_give_up(s);
  assert_whole(s);
  return rc;
}

void xm_sm_handled(xm_sm *s) {
  s->in++;
  if (++s->untold >= XM_SM_TELL_EVERY) s->must_ack = s->state == XM_SM_ON;
  assert_whole(s);
}

bool xm_sm_is_held(const xm_sm *s) {
  return s->held;
}

void xm_sm_release(xm_sm *s) {
  if (s->state == XM_SM_ENABLING) s->held = false;
  assert_whole(s);
}

void xm_sm_hold_back(xm_sm *s) {
  assert(s->pumped == 0 && s->part == 0 && s->written == 0 && s->early == 0);
  s->withheld = s->committed;
  assert_whole(s);
}

void xm_sm_let_go(xm_sm *s) {
  s->withheld = 0;
  assert_whole(s);
}

bool xm_sm_holds_back(const xm_sm *s) {
  return s->withheld > 0;
}

void xm_sm_request(xm_sm *s) {
  s->must_ask = true;
  assert_whole(s);
}

void xm_sm_acknowledge(xm_sm *s) {
  s->must_ack = s->state == XM_SM_ON;
  assert_whole(s);
}

/* When a link breaks. */

static void begin_wire(xm_sm *s) {
  s->pumped = s->moved = s->part = 0;
  s->taken = 0;
  s->asked = s->since = 0;
  s->must_enable = s->must_ack = s->must_ask = s->was_asked = s->held = false;
}

/* If there is a session, `written` stays: it is the limit for the server's next h. */
/* Blaming. */

/* The likeliest cause among the first `n` stanzas: the longest, if the condition is about length, else the first that
 * fits. -1: none. */
static ptrdiff_t culprit(const series *of, size_t n, const char *condition) {
  bool is_long = strcmp(condition, "policy-violation") == 0;
  unsigned flag = strcmp(condition, "invalid-from") == 0 ? XM_SM_FROM : 0;
  ptrdiff_t found = -1;
  size_t i, longest = XM_SM_LONG;
  if (strcmp(condition, "improper-addressing") == 0) flag = XM_SM_NO_TO;
  for (i = 0; i < n && (is_long || found < 0); i++) {
    const record *r = record_at(of, i);
    if (is_long ? r->len <= longest : !(r->flags & flag)) continue;
    found = (ptrdiff_t)i;
    longest = r->len;
  }
  return found;
}

static size_t bytes_before(const series *of, size_t at) {
  size_t i, n = 0;
  for (i = 0; i < at; i++) n += record_at(of, i)->len;
  return n;
}

/* Returns record `i` to its sender. XM_ENOMEM: it stays. */
static int give_back_one(xm_sm *s, series *from, size_t i) {
  record *r = record_at(from, i), gone = *r;
  char *xml = xm_buf_at(&from->bytes) + bytes_before(from, i);
  size_t behind = count(from) - i - 1, bytes = xm_buf_len(&from->bytes);
  gone.reason = XM_SM_BLAMED;
  if (put_behind(&s->back, &gone, xml) < 0) return XM_ENOMEM;
  memmove(xml, xml + gone.len, (size_t)(xm_buf_at(&from->bytes) + bytes - xml) - gone.len);
  memmove(r, r + 1, behind * sizeof *r);
  xm_buf_rollback(&from->bytes, xm_buf_mark(&from->bytes) - gone.len);
  xm_buf_rollback(&from->records, xm_buf_mark(&from->records) - sizeof gone);
  return XM_OK;
}

static int give_back_of_log(xm_sm *s, size_t i) {
  record r = *record_at(&s->log, i);
  if (give_back_one(s, &s->log, i) < 0) return XM_ENOMEM;
  strike_out(s, &r);
  if (i < s->written) s->written--;
  if (i < s->early) s->early--;
  if (i < s->pumped) s->pumped--, s->moved -= r.len;
  else s->moved -= s->part, s->part = 0;
  return XM_OK;
}

bool xm_sm_blame(xm_sm *s, const char *condition) {
  ptrdiff_t aside = culprit(&s->aside, count(&s->aside), condition);
  ptrdiff_t i = culprit(&s->log, s->pumped + (s->part > 0), condition);
  bool found = aside >= 0 ? give_back_one(s, &s->aside, (size_t)aside) == XM_OK
                          : i >= 0 && give_back_of_log(s, (size_t)i) == XM_OK;
  assert_whole(s);
  return found;
}

void xm_sm_cut(xm_sm *s, uint64_t all) {
  note_taken(s, all);
  begin_wire(s);
  xm_sm_acquit(s);
  if (s->state == XM_SM_ENABLING) s->state = XM_SM_OFF; /* stanzas may have arrived: xm_sm_lost looks at `written` */
  assert_whole(s);
}

/* As ack, for what was written on a wire that no longer exists. */
static int ack_cut(xm_sm *s, uint32_t h, xm_err *e) {
  int rc;
  s->pumped = s->written; /* so that leave() can subtract */
  s->moved = s->committed;
  rc = ack(s, h, e);
  begin_wire(s);
  if (rc < 0) return rc;
  s->written = 0;
  s->acked = h; /* what had left and didn't arrive will never be counted by the server */
  s->left = 0;
  return XM_OK;
}

int xm_sm_resumed(xm_sm *s, uint32_t h, xm_err *e) {
  int rc = ack_cut(s, h, e);
  s->held = s->must_ask = rc == XM_OK && count(&s->log) > 0;
  assert_whole(s);
  return rc;
}

static bool is_iq(const char *xml, size_t n) {
  return n > 3 && memcmp(xml, "<iq", 3) == 0 && strchr(" />", xml[3]);
}

/* Appends a record to a series, with `inside` inserted as its last child; `inside` "": unchanged. */
static int add(series *to, const record *r, const char *xml, const char *inside) {
  record copy = *r;
  bool empty = xml[r->len - 2] == '/'; /* <presence/> */
  const char *end = empty ? xml + r->len - 2 : xm_memrchr(xml, '<', r->len), *name_end = xml + 1;
  size_t mark = xm_buf_mark(&to->bytes);
  int rc = xm_buf_put(&to->bytes, xml, *inside ? (size_t)(end - xml) : r->len);
  if (rc == XM_OK && *inside && empty) rc = xm_buf_puts(&to->bytes, ">");
  if (rc == XM_OK) rc = xm_buf_puts(&to->bytes, inside);
  if (rc == XM_OK && *inside && !empty) rc = xm_buf_put(&to->bytes, end, (size_t)(xml + r->len - end));
  if (rc == XM_OK && *inside && empty) {
    name_end += strcspn(name_end, " /");
    rc = xm_buf_puts(&to->bytes, "</");
    if (rc == XM_OK) rc = xm_buf_put(&to->bytes, xml + 1, (size_t)(name_end - xml - 1));
    if (rc == XM_OK) rc = xm_buf_puts(&to->bytes, ">");
  }
  copy.len = xm_buf_len(&to->bytes) - mark;
  return rc == XM_OK ? xm_buf_put(&to->records, &copy, sizeof copy) : rc;
}

/* Year, month and day of a day counted from 1970, in the Gregorian calendar. Years are taken to begin in March here, so
 * that a leap day is the last day of its year, and every 400 years have the same number of days. */
static void read_day(int64_t day, int64_t *year, int *month, int *of_month) {
  int64_t since = day + 719468, era = (since >= 0 ? since : since - 146096) / 146097; /* from 0000-03-01 on */
  int64_t in_era = since - era * 146097;
  int64_t year_of_era = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
  int64_t in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  int64_t march = (5 * in_year + 2) / 153;
  *of_month = (int)(in_year - (153 * march + 2) / 5) + 1;
  *month = (int)(march < 10 ? march + 3 : march - 9);
  *year = year_of_era + era * 400 + (*month <= 2);
}

/* A stamp (XEP-0203) in the format of XEP-0082; without time_t, which ends in 2038 where it has 32 bits. */
static void write_stamp(int64_t at, char *to, size_t n) {
  int64_t ms = (at % 86400000 + 86400000) % 86400000, year;
  int month, day;
  read_day((at - ms) / 86400000, &year, &month, &day);
  snprintf(to, n, "<delay xmlns='urn:xmpp:delay' stamp='%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ'/>", (long long)year, month,
           day, (int)(ms / 3600000), (int)(ms / 60000 % 60), (int)(ms / 1000 % 60), (int)(ms % 1000));
}

/* The time by both clocks, and the age at which a stanza is too old. */
typedef struct moment {
  int64_t now, wall, max_age;
} moment;

/* Puts stanza `i` of the log where it belongs: into the new log, or back to its sender. The library's own ends with its
 * session, and so does one that was meant for that session alone. One that was stamped when an earlier session was lost
 * keeps that stamp. An iq gets none, as it may have only one child. */
static int sort(const xm_sm *s, size_t i, const char *xml, const moment *m, series *stay, series *back) {
  record r = *record_at(&s->log, i);
  int64_t age = m->now - r.given;
  bool old = age > m->max_age, unknown = i < s->written && is_iq(xml, r.len);
  bool bare = is_iq(xml, r.len) || (r.flags & XM_SM_STAMPED);
  char stamp[112];
  if (r.flags & XM_SM_OURS) return XM_OK;
  r.reason = r.flags & XM_SM_SESSION ? XM_SM_OVER : old ? XM_SM_OLD : XM_SM_UNKNOWN;
  if (r.reason == XM_SM_OVER) return r.flags & XM_SM_WATCHED ? add(back, &r, xml, "") : XM_OK;
  if (old || unknown) return add(back, &r, xml, "");
  if (bare) return add(stay, &r, xml, "");
  write_stamp(m->wall - age, stamp, sizeof stamp);
  r.flags |= XM_SM_STAMPED;
  return add(stay, &r, xml, stamp);
}

static int append(series *to, const series *from) {
  int rc = xm_buf_put(&to->bytes, xm_buf_at(&from->bytes), xm_buf_len(&from->bytes));
  return rc == XM_OK ? xm_buf_put(&to->records, xm_buf_at(&from->records), xm_buf_len(&from->records)) : rc;
}

/* In the order of their numbers: what was held back had been committed before what then left early. */
static int sort_all(const xm_sm *s, const moment *m, series *stay, series *back) {
  const char *front = xm_buf_at(&s->log.bytes), *behind = front ? front + bytes_before(&s->log, s->early) : NULL;
  size_t i = 0, j = s->early, n = count(&s->log);
  int rc = append(back, &s->back);
  while (rc == XM_OK && (i < s->early || j < n)) {
    bool is_early = j == n || (i < s->early && record_at(&s->log, i)->seq < record_at(&s->log, j)->seq);
    size_t at = is_early ? i++ : j++;
    const char **xml = is_early ? &front : &behind;
    rc = sort(s, at, *xml, m, stay, back);
    *xml += record_at(&s->log, at)->len;
  }
  return rc;
}

/* Replaces the log, and recomputes the counters that belong to it. */
static void change_log(xm_sm *s, series log) {
  size_t i;
  s->log = log;
  s->committed = s->watched = s->ours = s->our_bytes = s->written = s->early = s->withheld = 0;
  for (i = 0; i < count(&log); i++) enter(s, record_at(&log, i));
}

int xm_sm_check_handled(const xm_sm *s, uint32_t h, xm_err *e) {
  char text[16];
  if (s->state != XM_SM_ON || h - s->acked <= s->written || s->acked - h <= s->left) return XM_OK;
  snprintf(text, sizeof text, "%u", (unsigned)h);
  return refuse_h(s, text, e);
}

int xm_sm_lost(xm_sm *s, const uint32_t *h, int64_t now, int64_t wall, int64_t max_age) {
  series stay = {.bytes = XM_BUF_INIT}, back = {.bytes = XM_BUF_INIT};
  moment m = {.now = now, .wall = wall, .max_age = max_age};
  begin_wire(s);
  if (h && s->state == XM_SM_ON) ack_cut(s, *h, NULL); /* what h doesn't cover has certainly not arrived */
  if (sort_all(s, &m, &stay, &back) < 0) {
    series_free(&stay);
    series_free(&back);
    assert_whole(s);
    return XM_ENOMEM;
  }
  series_free(&s->log);
  series_free(&s->back);
  s->back = back;
  change_log(s, stay);
  s->state = XM_SM_OFF;
  forget_session(s);
  assert_whole(s);
  return XM_OK;
}

/* Returns all of the log; nothing else may be waiting to be returned. */
static void give_back(xm_sm *s) {
  series_free(&s->back);
  s->back = s->log;
  change_log(s, (series){.bytes = XM_BUF_INIT});
  s->taken_back = 0;
}

/* If there is no memory to append the log to the stanzas that are being returned already, it waits until these are
 * taken. */
void xm_sm_end(xm_sm *s) {
  size_t i;
  begin_wire(s);
  forget_session(s);
  xm_sm_drop(s);
  s->state = XM_SM_OFF;
  s->ended = true;
  for (i = 0; i < count(&s->log); i++) record_at(&s->log, i)->reason = XM_SM_ENDED;
  if (count(&s->back) == 0) give_back(s);
  else if (append(&s->back, &s->log) == XM_OK) series_free(&s->log), change_log(s, s->log);
  s->written = s->watched = s->withheld = 0;
  assert_whole(s);
}

/* Receipts and returned stanzas. */

bool xm_sm_receipt_next(xm_sm *s, xm_sm_receipt *r) {
  if (xm_buf_len(&s->receipts) == 0) return false;
  memcpy(r, xm_buf_at(&s->receipts), sizeof *r);
  xm_buf_consume(&s->receipts, sizeof *r);
  return true;
}

static void describe(const record *r, const char *xml, xm_sm_stanza *st) {
  *st = (xm_sm_stanza){
      .seq = r->seq, .given = r->given, .xml = xml, .len = r->len, .flags = r->flags, .reason = r->reason};
}

static bool take_back(xm_sm *s, xm_sm_stanza *r) {
  xm_buf_consume(&s->back.bytes, s->taken_back);
  s->taken_back = 0;
  if (count(&s->back) == 0 && s->ended) give_back(s);
  if (count(&s->back) == 0) return false;
  describe(record_at(&s->back, 0), xm_buf_at(&s->back.bytes), r);
  s->taken_back = r->len;
  xm_buf_consume(&s->back.records, sizeof(record));
  return true;
}

bool xm_sm_may_have_returned(const xm_sm *s) {
  return count(&s->back) > 0 || s->ended;
}

bool xm_sm_returned_next(xm_sm *s, xm_sm_stanza *r) {
  bool some = take_back(s, r);
  while (some && (r->flags & XM_SM_OURS)) some = take_back(s, r);
  assert_whole(s);
  return some;
}

xm_sm_state xm_sm_state_of(const xm_sm *s) {
  return s->state;
}

static const char *text_of(const xm_buf *b) {
  return xm_buf_len(b) > 1 ? xm_buf_at(b) : NULL;
}

const char *xm_sm_id(const xm_sm *s) {
  return s->state == XM_SM_ON ? text_of(&s->id) : NULL;
}

const char *xm_sm_location(const xm_sm *s) {
  return text_of(&s->location);
}

unsigned xm_sm_max(const xm_sm *s) {
  return s->max;
}

uint32_t xm_sm_in(const xm_sm *s) {
  return s->in;
}

uint32_t xm_sm_acked(const xm_sm *s) {
  return s->acked;
}

unsigned xm_sm_awaited(const xm_sm *s) {
  return s->asked;
}

bool xm_sm_is_asked(const xm_sm *s) {
  return s->asked > 0 && s->since == 0 && s->pumped == movable(s);
}

/* Stanzas that an answer didn't cover, since the server hadn't handled them yet, are to be asked for again. */
unsigned xm_sm_unasked(const xm_sm *s) {
  if (s->state != XM_SM_ON || s->must_ask) return 0;
  return s->since || s->asked ? s->since : (unsigned)s->pumped;
}

bool xm_sm_is_done(const xm_sm *s) {
  return s->state == XM_SM_OFF ? s->pumped == count(&s->log) : xm_sm_stanzas(s) == 0;
}

size_t xm_sm_stanzas(const xm_sm *s) {
  return count(&s->log) - s->ours;
}

size_t xm_sm_bytes(const xm_sm *s) {
  return s->committed - s->our_bytes;
}

/* The number of the program's first record from `i` to before `n`, among which numbers grow. */
static uint64_t first_of(const xm_sm *s, size_t i, size_t n) {
  while (i < n && (record_at(&s->log, i)->flags & XM_SM_OURS)) i++;
  return i < n ? record_at(&s->log, i)->seq : s->last + 1;
}

uint64_t xm_sm_first(const xm_sm *s) {
  uint64_t early = first_of(s, 0, s->early), behind = first_of(s, s->early, count(&s->log));
  return early < behind ? early : behind;
}

size_t xm_sm_written(const xm_sm *s) {
  return s->written;
}

uint64_t xm_sm_next_seq(const xm_sm *s) {
  return s->last + 1;
}

/* Is there a record with this number among those from `low` to before `n`, whose numbers grow? */
static bool is_between(const xm_sm *s, size_t low, size_t n, uint64_t seq) {
  size_t high = n;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (record_at(&s->log, middle)->seq < seq) low = middle + 1;
    else high = middle;
  }
  return low < n && record_at(&s->log, low)->seq == seq;
}

bool xm_sm_has(const xm_sm *s, uint64_t seq) {
  return is_between(s, 0, s->early, seq) || is_between(s, s->early, count(&s->log), seq);
}

bool xm_sm_each(const xm_sm *s, size_t i, xm_sm_stanza *st) {
  const char *xml = i ? st->xml + st->len : xm_buf_at(&s->log.bytes);
  if (i >= count(&s->log)) return false;
  describe(record_at(&s->log, i), xml, st);
  return true;
}

int xm_sm_restore(xm_sm *s, const xm_sm_session *session) {
  size_t i;
  if (xm_buf_put(&s->id, session->id, strlen(session->id) + 1) < 0) return XM_ENOMEM;
  if (session->location && xm_buf_put(&s->location, session->location, strlen(session->location) + 1) < 0)
    return XM_ENOMEM;
  s->state = XM_SM_ON;
  s->max = session->max;
  s->in = session->in;
  s->acked = session->acked;
  s->written = session->written < count(&s->log) ? session->written : count(&s->log);
  for (i = 0; i < s->written; i++) record_at(&s->log, i)->told = true;
  assert_whole(s);
  return XM_OK;
}
