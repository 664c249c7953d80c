/* libFuzzer: two readers of the same stream: one leaves everything to expat (XM_SCAN=0), the other parses ordinary
 * stanzas itself (scan). expat is right: the events must be the same, each with its tape, bound or error, and the same
 * number of bytes behind it, and none may come later.
 *
 * The input is a stream, if it begins like one; otherwise it begins with options, followed by what comes after a
 * stream's header, or by a script for a grammar (nearly.h). The stream is cut into pieces, after each of which both
 * must have reported the same; each reader may get a piece in smaller ones of its own. */
#include "fuzz.h"
#include "nearly.h"
#include "tapes.h"
#include "xml.h"

#define HEADER "<stream:stream xmlns='" XM_NS_CLIENT "' xmlns:stream='" XM_NS_STREAM "'>"

/* The bounds until the header has come, and those that may hold after it. */
static const xm_bounds login = {64 * 1024, 64 * 1024, 128, 256, 50000, 1024};
static const xm_bounds wide = XM_BOUNDS_DEFAULT, middle = {6000, 4500, 8, 16, 40, 1024}, small = {400, 160, 3, 6, 12, 20};

enum { LONG_TAG = 4 * 1024, MOST_READ = 16 * 1024 };

static struct options {
  const char *s; /* the stream */
  size_t n, header;
  bool same_cutting;
  bool drained;     /* xm_xml_drained is called after each piece; otherwise at random */
  bool header_apart; /* what follows the header is in another piece */
  bool rests, rebounds; /* what is done between elements: see act_between */
  unsigned bounds;
  size_t cut;   /* the most bytes of a piece */
  bool even;    /* all pieces have that length */
  size_t piece; /* the argument of xm_xml_set_piece */
  uint32_t seed;
} o;

typedef struct reader {
  xm_xml *xml;
  uint32_t own;    /* its own random numbers */
  uint64_t fed, before, due; /* bytes fed so far; before the current piece; and when both have the current piece */
  uint64_t restarted; /* bytes before the current stream */
  unsigned events;
  bool is_late;    /* it may not have been drained: an event may come with the next piece */
  bool failed;
  xm_err why;
  xm_buf heads, tapes; /* its events */
} reader;

static reader by_expat, by_scan;

static bool is_same_refusal(const xm_err *a, const xm_err *b) {
  return a->layer == b->layer && a->retry == b->retry && a->native == b->native && strcmp(a->condition, b->condition) == 0 &&
         strcmp(a->text, b->text) == 0;
}

/* An event. `due`: the number of bytes after which it came; 0: it may have come later. */
typedef struct head {
  int32_t event;
  xm_bound crossed;
  uint64_t most, end, due, tapes;
} head;

static void log_event(reader *r, int event) {
  size_t most = 0;
  head h = {.event = event, .due = o.drained ? r->due : 0};
  if (event != XM_XML_CLOSE) log_tape(&r->tapes, xm_xml_tape(r->xml));
  h.crossed = xm_xml_crossed(r->xml, &most);
  h.most = most;
  h.end = r->fed - xm_xml_unread(r->xml);
  h.tapes = xm_buf_len(&r->tapes);
  MUST(h.end <= r->fed && (!o.drained || r->is_late || h.end > r->before));
  put(&r->heads, &h, sizeof h);
}

static void note_refusal(reader *r, const xm_err *e) {
  xm_err again = {0};
  check_error(e);
  r->failed = true;
  r->why = *e;
  MUST(xm_xml_next(r->xml, &again) == XM_EFAIL && is_same_refusal(e, &again));
}

/* Random bounds, some of which are as tight as the stanzas are large. */
static xm_bounds bounds_of(unsigned which, uint32_t *seed) {
  if (which == 0) return wide;
  if (which == 1) return chance(seed, 2) ? middle : small;
  return (xm_bounds){.stanza = 20 + chance(seed, 300), .start_tag = 4 + chance(seed, 80), .depth = 1 + chance(seed, 5),
                     .attributes = chance(seed, 8), .nodes = 1 + chance(seed, 12), .ns = 4 + chance(seed, 20)};
}

/* What a program does between elements: the same for both readers, and independent of how the stream is cut. */
static void act_between(reader *r, int event) {
  uint32_t seed = o.seed + 7919 * r->events++;
  xm_bounds bounds;
  if (event == XM_XML_STANZA && strcmp(xm_tape_name(xm_xml_tape(r->xml), 0), "restart") == 0) {
    r->restarted = r->fed - xm_xml_unread(r->xml);
    MUST(xm_xml_restart(r->xml) == XM_OK);
    return;
  }
  if (event == XM_XML_OPEN || (o.rebounds && chance(&seed, 4) == 0)) {
    bounds = bounds_of(event == XM_XML_OPEN ? o.bounds : chance(&seed, 4), &seed);
    xm_xml_set_bounds(r->xml, &bounds, XM_XML_SKIP);
  }
  if (event == XM_XML_OPEN) xm_xml_set_piece(r->xml, o.piece);
  else if (o.rests && chance(&seed, 2)) xm_xml_rest(r->xml);
}

/* How much is fed at once: the same in both readers, if they are to be cut alike; but one that holds back a long tag
 * may have less room. */
static size_t take_up(size_t room, size_t n) {
  if (n > o.piece) n = o.piece;
  if (room < n) o.same_cutting = false;
  return room < n ? room : n;
}

/* Feeds bytes as link does. false: the stream has ended, or was refused. */
static bool feed(reader *r, const char *s, size_t n, bool drained) {
  int event = XM_XML_MORE;
  xm_err e;
  xm_err_clear(&e);
  r->before = r->fed;
  do {
    if (event == XM_XML_MORE && n > 0) {
      size_t room;
      char *to = xm_xml_space(r->xml, &room);
      MUST(to && room > 0 && room <= MOST_READ);
      room = take_up(room, n);
      memcpy(to, s, room);
      xm_xml_fill(r->xml, room);
      r->fed += room;
      s += room;
      n -= room;
    }
    event = xm_xml_next(r->xml, &e);
    if (event == XM_XML_MORE && drained && (n == 0 || o.same_cutting)) event = xm_xml_drained(r->xml, &e);
    if (event < 0) note_refusal(r, &e);
    if (event > XM_XML_MORE) log_event(r, event);
    if (event < 0 || event == XM_XML_CLOSE) return false;
    if (event != XM_XML_MORE) act_between(r, event);
  } while (event != XM_XML_MORE || n > 0);
  if (o.rests && !o.same_cutting && chance(&r->own, 2)) xm_xml_rest(r->xml);
  return true;
}

/* Feeds a piece, in this reader's own smaller pieces. After the last one both readers are drained, or neither. */
static bool feed_in_own_pieces(reader *r, const char *s, size_t n, bool drained) {
  size_t most = n;
  r->due += n;
  if (!o.same_cutting && chance(&r->own, 3)) most = chance(&r->own, 4) ? 1 + n / 2 : 1 + n / 16;
  while (n > most) {
    size_t own = o.same_cutting ? most : 1 + chance(&r->own, (uint32_t)most);
    bool now = chance(&r->own, 2);
    if (!feed(r, s, own, now)) return false;
    r->is_late = !now;
    s += own;
    n -= own;
  }
  if (!feed(r, s, n, drained)) return false;
  r->is_late = !drained;
  return true;
}

static size_t next_piece(uint32_t *seed, size_t at) {
  size_t n = o.even ? o.cut : 1 + chance(seed, (uint32_t)o.cut), left = o.n - at;
  if (o.header_apart && at < o.header && n > o.header - at) n = o.header - at;
  return n < left ? n : left;
}

static void begin(reader *r) {
  xm_buf heads = r->heads, tapes = r->tapes;
  xm_buf_clear(&heads);
  xm_buf_clear(&tapes);
  *r = (reader){.own = o.seed ^ (r == &by_expat ? 0x5BD1E995u : 0x1B873593u), .heads = heads, .tapes = tapes};
  if (r == &by_expat) setenv("XM_SCAN", "0", 1);
  else unsetenv("XM_SCAN");
  r->xml = xm_xml_new(XM_NS_CLIENT, &login);
  MUST(r->xml);
}

static void read_stream(reader *r) {
  uint32_t seed = o.seed;
  size_t at, n;
  bool more = true;
  begin(r);
  for (at = 0; at < o.n && more; at += n) {
    n = next_piece(&seed, at);
    more = feed_in_own_pieces(r, o.s + at, n, o.drained || at + n == o.n || chance(&seed, 2));
  }
}

/* What is printed about a failure */

static void tell_bytes(const char *s, size_t n) {
  for (; n > 0; n--, s++) {
    unsigned char c = (unsigned char)*s;
    if (c >= ' ' && c < 0x7F && c != '\\') fputc(c, stderr);
    else fprintf(stderr, "\\x%02x", c);
  }
  fputc('\n', stderr);
}

static void tell_reader(const char *name, const reader *r) {
  size_t n = xm_buf_len(&r->heads) / sizeof(head), i;
  fprintf(stderr, "%s: %u events after %llu bytes; %s\n", name, r->events, (unsigned long long)r->fed, r->why.text);
  for (i = n > 4 ? n - 4 : 0; i < n; i++) {
    const head *h = (const head *)xm_buf_at(&r->heads) + i;
    fprintf(stderr, "  the %zuth is a %d that crossed %d (%llu), ends at byte %llu, came by %llu\n", i + 1, h->event, (int)h->crossed,
            (unsigned long long)h->most, (unsigned long long)h->end, (unsigned long long)h->due);
  }
  tell_bytes(xm_buf_at(&r->tapes), xm_buf_len(&r->tapes));
}

/* Prints what is wrong, and returns false, for MUST. */
static bool tell(const char *what) {
  fprintf(stderr, "%s\nthe stream (header %zu of %zu bytes):\n", what, o.header, o.n);
  tell_bytes(o.s, o.n);
  fprintf(stderr, "same_cutting %d drained %d header_apart %d rests %d rebounds %d bounds %u cut %zu even %d piece %zu\n", o.same_cutting,
          o.drained, o.header_apart, o.rests, o.rebounds, o.bounds, o.cut, o.even, o.piece);
  tell_reader("expat", &by_expat);
  tell_reader("scan", &by_scan);
  return false;
}

static bool is_same_event(const head *a, const head *b) {
  return a->event == b->event && a->crossed == b->crossed && a->most == b->most && a->end == b->end && a->due == b->due &&
         a->tapes == b->tapes;
}

static void compare_events(void) {
  const head *a = (const head *)xm_buf_at(&by_expat.heads), *b = (const head *)xm_buf_at(&by_scan.heads);
  size_t n = xm_buf_len(&by_expat.heads) / sizeof *a, i;
  MUST(xm_buf_len(&by_expat.heads) == xm_buf_len(&by_scan.heads) || tell("one tells more events"));
  for (i = 0; i < n; i++) MUST(is_same_event(&a[i], &b[i]) || tell("they tell other events"));
  MUST(is_same(&by_expat.tapes, &by_scan.tapes) || tell("the tapes are not the same"));
}

/* A tag of more than 4 KiB isn't parsed until its end has come, or a full buffer (and expat may wait for twice as
 * much), so when a fault in it is seen depends on how the stream is cut. This is the only thing that may differ. */

/* Where a tag begins that has more than 4 KiB before the byte `from` (or grew that long while expat waited), and
 * doesn't end before the byte `to`; UINT64_MAX: there is none. */
static uint64_t long_tag(uint64_t from, uint64_t to) {
  size_t i, k;
  for (i = 0; i < from && i + LONG_TAG < (o.drained && o.same_cutting ? from : to); i++) {
    char quote = '\0', end = o.s[i] == '<' ? '>' : ';';
    if (o.s[i] != '<' && o.s[i] != '&') continue;
    for (k = i; k < to && (quote || o.s[k] != end); k++)
      if (quote ? o.s[k] == quote : end == '>' && (o.s[k] == '\'' || o.s[k] == '"')) quote = quote ? '\0' : o.s[k];
    if (k == to) return i;
  }
  return UINT64_MAX;
}

/* Feeds more bytes: what one reader has refused the other must refuse as well, whatever follows. */
static void bring_to_a_look(reader *late) {
  char any[1024];
  size_t k;
  memset(any, 'x', sizeof any);
  for (k = 0; k < 64 && !late->failed; k++) feed(late, any, sizeof any, true);
  MUST(late->failed || tell("only one of them refuses it"));
}

static void compare_refusals(reader *early, reader *late) {
  uint64_t tag = long_tag(early->fed, o.drained ? early->due : o.n); /* up to here bytes were fed, and perhaps not
                                                                        parsed */
  if (late->failed && (late->due == early->due || !o.drained)) return;
  MUST(tag != UINT64_MAX || tell("one refuses it later"));
  if (!late->failed) bring_to_a_look(late);
  MUST(late->fed - tag <= 2 * (early->fed - tag) + MOST_READ || tell("one refuses it much later"));
}

/* If there are two faults, the cutting may decide which one is seen first: a stream's first two bytes show that it
 * isn't UTF-8, if both have come; a comment is long if that much of it has come; text between stanzas isn't reported as
 * that if it ends with ]]>. */
static bool depends_on_cutting(const reader *r) {
  if (o.same_cutting) return false;
  return r->fed == r->restarted + 1 || strstr(r->why.text, ": a long comment,") || strstr(r->why.text, ": text between stanzas");
}

static void compare(void) {
  bool scan_is_later = by_expat.failed && (!by_scan.failed || by_expat.due < by_scan.due);
  compare_events();
  if (by_expat.failed || by_scan.failed)
    compare_refusals(scan_is_later ? &by_expat : &by_scan, scan_is_later ? &by_scan : &by_expat);
  MUST(is_same_refusal(&by_expat.why, &by_scan.why) || depends_on_cutting(&by_expat) || depends_on_cutting(&by_scan) ||
       tell("they refuse it for another reason"));
}

/* The input */

static void set_options(const uint8_t how[3], uint32_t seed) {
  static const size_t pieces[] = {16 * 1024, 16 * 1024, 2048, 300, 64, 17, 1, 5000};
  o.seed = seed;
  o.same_cutting = how[0] & 2;
  o.drained = how[0] & 4;
  o.header_apart = how[0] & 8 || seed % 4; /* what comes in one piece with the header is parsed by expat */
  o.bounds = how[0] >> 4 & 3;
  o.rests = how[0] & 0x40;
  o.rebounds = how[0] & 0x80;
  o.cut = how[1] < 8 ? 64 * 1024 : how[1] < 0x80 ? how[1] - 7 : (how[1] - 0x7F) * 16;
  o.even = how[1] < 0x80 || how[1] & 1;
  o.piece = pieces[how[2] % 8];
}

/* Cutting a long stream behind each byte would take too long, and so would it for every stream. */
static void bound_pieces(void) {
  size_t least = o.n / (o.seed % 32 ? 24 : 500) + 1;
  if (o.cut < least) o.cut = least;
}

static void take_stream(const uint8_t *bytes, size_t n) {
  static char raw[1 << 16];
  static const char header[] = HEADER;
  uint32_t seed = hash_of(bytes, n);
  const uint8_t hashed[] = {(uint8_t)seed, (uint8_t)(seed >> 8), (uint8_t)(seed >> 16)};
  input in = {bytes, n};
  bool is_whole = n > 0 && memchr("<\n ", *bytes, 3);
  o.header = 0;
  if (is_whole || n < 3) {
    set_options(hashed, seed);
    o.s = (const char *)bytes;
    o.n = n;
    return;
  }
  set_options(bytes, seed);
  in = (input){bytes + 3, n - 3};
  if (*bytes & 1) {
    o.header = nearly_make(&in);
    o.s = nearly.s;
    o.n = nearly.n;
    return;
  }
  if (in.n > sizeof raw - sizeof header) in.n = sizeof raw - sizeof header;
  memcpy(raw, header, sizeof header - 1);
  memcpy(raw + sizeof header - 1, in.at, in.n);
  o.s = raw;
  o.header = sizeof header - 1;
  o.n = o.header + in.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  take_stream(bytes, n);
  bound_pieces();
  read_stream(&by_expat);
  read_stream(&by_scan);
  compare();
  xm_xml_free(by_expat.xml);
  xm_xml_free(by_scan.xml);
  return 0;
}
