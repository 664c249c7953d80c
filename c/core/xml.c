#include "xml.h"

#include <stdlib.h>
#include <string.h>

#include "ascii.h"
#include "ns.h"
#include "parser.h"
#include "scan.h"

#define SEP XM_PARSER_SEP

enum {
  TOKEN = 4 << 20,      /* bytes of an incomplete tag that are accepted where a tag that is too long is skipped and
                           not refused */
  MEMORY = 32 << 20,    /* bytes that expat may allocate, plus PER_BYTE for each byte of the longest start tag */
  PER_BYTE = 8,
  LEAST_SPARE = 16 << 10, /* bytes that could be freed: from here on expat is replaced when the connection is idle */
  MUCH_SPARE = 1 << 20,   /* and from here on also between two stanzas */
  ROOM = 16 << 10,        /* room for input that the window offers */
  LARGE = 128 << 10,      /* a window larger than this was needed by a large stanza, and is freed when it is empty */
  GUESSES = 6,            /* after so many wrong guesses, a piece has at least 2 to the power of their number bytes */
  MOST_GUESSES = 14,
};

struct xm_xml {
  xm_parser parser;
  xm_bounds bounds;
  xm_xml_verdict verdict;
  const char *ns;     /* the stream's content namespace */
  xm_tape tape;
  xm_err err;         /* why a handler stopped the parser */
  xm_xml_event event; /* the event that the handlers have found in this call */
  xm_bound crossed;   /* the bound that the current element has crossed: the rest of it is skipped */
  bool failed;
  unsigned depth;     /* open elements, the stream's root included */
  unsigned nodes, attributes; /* of the current stanza; attributes except those of its own start tag */
  unsigned declared;  /* namespaces with prefixes that the current start tag declares */
  bool long_ns;       /* one of them is too long */
  bool in_cdata;      /* a CDATA section has begun */
  bool follows;       /* another stream was before this one */
  size_t clark;       /* bytes of namespaces in the names of the stanza's attributes */
  uint64_t begin;     /* where the current stanza began */
  xm_buf header;      /* the stream's start tag, for a new expat to begin with; empty: not available */
  /* Once somebody has logged in, bytes come into a window of our own, where scan reads them first. A stanza that scan
   * leaves, and everything before the login, is read by expat, until expat is between two stanzas again. */
  xm_buf window;
  xm_scan scan;
  bool may_scan;      /* scan is not switched off */
  bool is_default;    /* the stream's default namespace is the content namespace */
  bool is_expats;     /* it is expat's turn to read */
  unsigned guesses;   /* how many guesses were made at where the element that it reads ends */
  uint64_t scanned;   /* stanzas that scan has read */
};

static void stop(xm_xml *x) { XML_StopParser(x->parser.expat, XML_FALSE); }

/* The `retry` of an error: see xm_xml_next. */
static bool may_retry(const xm_xml *x) { return x->verdict == XM_XML_SKIP; }

static void refuse(xm_xml *x, const char *condition, const char *text) {
  xm_err_set(&x->err, XM_LAYER_STREAM, condition, may_retry(x), "the stream was refused: %s", text);
  stop(x);
}

/* Before the login some bounds are stricter than the options say. */
static void refuse_bound(xm_xml *x, xm_bound which) {
  bool fixed = x->verdict == XM_XML_REFUSE && (which == XM_BOUND_STANZA || which == XM_BOUND_START_TAG);
  xm_err_set(&x->err, XM_LAYER_STREAM, "policy-violation", may_retry(x),
             "the stream was refused: %s over the limit of %zu (%s%s)", xm_bounds_what(which),
             xm_bounds_most(&x->bounds, which), fixed ? "until a resource is bound" : "the option ",
             fixed ? "" : xm_bounds_option(which));
  stop(x);
}

static inline bool is_stopped(const xm_xml *x) { return xm_err_is_set(&x->err); }

static void run_out(xm_xml *x) {
  xm_err_nomem(&x->err);
  stop(x);
}

/* A bound is crossed. Nothing more of the element is kept; of what is on the tape the start tag stays, if it is
 * complete. */
static void cross(xm_xml *x, xm_bound which) {
  if (is_stopped(x) || x->crossed) return;
  if (x->verdict == XM_XML_REFUSE || x->depth == 0) return refuse_bound(x, which);
  x->crossed = which;
  if (xm_tape_cut(&x->tape) < 0) run_out(x);
}

/* Handles the result of an append to the tape. */
static inline void took(xm_xml *x, int rc) {
  if (rc == XM_OK) return;
  if (rc == XM_ELIMIT) return cross(x, XM_BOUND_STANZA);
  run_out(x);
}

static void pause_at(xm_xml *x, xm_xml_event event) {
  x->event = event;
  XML_StopParser(x->parser.expat, XML_TRUE);
}

/* Splits a name as expat reports it. */
static const char *local_of(const char *name, size_t *ns_len) {
  const char *sep = strchr(name, SEP);
  *ns_len = sep ? (size_t)(sep - name) : 0;
  return sep ? sep + 1 : name;
}

static void add_foreign_attribute(xm_xml *x, const char *name, const char *value) {
  size_t ns_len;
  const char *local = local_of(name, &ns_len);
  if (ns_len == strlen(XM_NS_XML) && memcmp(name, XM_NS_XML, ns_len) == 0 && strcmp(local, "lang") == 0) {
    took(x, xm_tape_attr(&x->tape, "", 0, "xml:lang", 8, value, strlen(value)));
    return;
  }
  x->clark += ns_len;
  if (x->clark > xm_bounds_most(&x->bounds, XM_BOUND_CLARK)) return cross(x, XM_BOUND_CLARK);
  took(x, xm_tape_attr(&x->tape, name, ns_len, local, strlen(local), value, strlen(value)));
}

/* Nearly all names are short and have no namespace. */
static void add_attribute(xm_xml *x, const char *name, const char *value) {
  size_t n = 0;
  while (name[n] && name[n] != SEP) n++;
  if (name[n]) add_foreign_attribute(x, name, value);
  else took(x, xm_tape_attr(&x->tape, "", 0, name, n, value, strlen(value)));
}

/* How many of `n` attributes count towards the bound. */
static unsigned count_attributes(const xm_xml *x, const char **atts, unsigned n) {
  unsigned i, counted = 0;
  for (i = 0; i < n; i++) {
    size_t ns_len;
    const char *local = local_of(atts[2 * i], &ns_len);
    bool is_lang = ns_len == strlen(XM_NS_XML) && memcmp(atts[2 * i], XM_NS_XML, ns_len) == 0 && strcmp(local, "lang") == 0;
    const char *name = is_lang ? "xml:lang" : ns_len ? "" : local;
    counted += xm_bounds_counts(x->depth <= 1, name, strlen(name));
  }
  return counted;
}

static bool are_too_many(const xm_xml *x, const char **atts, unsigned n) {
  return n > x->bounds.attributes && count_attributes(x, atts, n) > x->bounds.attributes;
}

static void add_attributes(xm_xml *x, const char **atts) {
  unsigned n;
  for (n = 0; atts[2 * n] && !is_stopped(x) && !x->crossed; n++) {
    if (are_too_many(x, atts, n + 1)) return cross(x, XM_BOUND_ATTRIBUTES);
    add_attribute(x, atts[2 * n], atts[2 * n + 1]);
  }
  if (x->depth > 1 && (x->attributes += n) > x->bounds.nodes) cross(x, XM_BOUND_NODES);
}

/* RFC 6120 4.8: the root is <stream/> in the streams namespace; its children in that namespace can only be features and
 * error. Deeper down the namespace is like any other. */
static void check_stream_ns(xm_xml *x, const char *name) {
  const size_t n = strlen(XM_NS_STREAM);
  bool is_one = strncmp(name, XM_NS_STREAM, n) == 0 && name[n] == SEP;
  const char *local = is_one ? name + n + 1 : "";
  if (x->depth == 0 && !is_one) refuse(x, "invalid-namespace", "its root is not in the streams namespace");
  if (x->depth == 0 && is_one && strcmp(local, "stream") != 0) refuse(x, "bad-format", "its root is not <stream/>");
  if (x->depth != 1 || !is_one) return;
  if (strcmp(local, "features") == 0 || strcmp(local, "error") == 0) return;
  refuse(x, "bad-format", "an element of the streams namespace where none belongs");
}

/* Checks the length of any tag: an end tag can be long, too, with white space. The exact length is asked for only if it
 * may be too much. */
static void check_tag(xm_xml *x) {
  if (x->parser.fed - x->parser.used <= x->bounds.start_tag) return;
  if (xm_parser_length(&x->parser) > x->bounds.start_tag) cross(x, XM_BOUND_START_TAG);
}

/* RFC 6120 4.8.2: both directions have the same content namespace, if the peer's stream header declares one as the
 * default. */
static void on_namespace(void *arg, const XML_Char *prefix, const XML_Char *uri) {
  xm_xml *x = arg;
  if (x->depth > 1 && x->crossed) return; /* the element is being skipped: the declaration would be counted for the
                                             next stanza */
  x->declared += prefix != NULL;
  if (uri && strlen(uri) > x->bounds.ns) x->long_ns = true;
  if (x->depth == 0 && !prefix) x->is_default = uri && strcmp(uri, x->ns) == 0;
  if (x->depth > 0 || prefix || !uri || strcmp(uri, x->ns) == 0 || strcmp(uri, XM_NS_STREAM) == 0) return;
  refuse(x, "invalid-namespace", "its content namespace is not ours");
}

static void check_namespaces(xm_xml *x) {
  if (x->long_ns) cross(x, XM_BOUND_NS);
  if (x->declared > x->bounds.attributes) cross(x, XM_BOUND_ATTRIBUTES);
  x->declared = 0;
  x->long_ns = false;
}

static void count_node(xm_xml *x) {
  if (x->nodes++ == x->bounds.nodes) cross(x, XM_BOUND_NODES);
}

static void start_stanza(xm_xml *x) {
  x->begin = xm_parser_begin(&x->parser);
  x->nodes = x->attributes = 0;
  x->clark = 0;
  x->crossed = XM_BOUND_NONE;
  took(x, xm_tape_reset(&x->tape, x->ns));
}

/* Appends an element, whose name is "uri\xFFlocal" as expat reports it. One in the same namespace as its parent needs
 * no further check. */
static void add_element(xm_xml *x, const char *name) {
  uint32_t at, outer_len;
  const char *outer = xm_tape_outer(&x->tape, &at, &outer_len), *local = name + outer_len + 1;
  size_t ns_len;
  if (strncmp(name, outer, outer_len) == 0 && name[outer_len] == SEP) {
    took(x, xm_tape_open(&x->tape, NULL, 0, local, strlen(local)));
    return;
  }
  check_stream_ns(x, name);
  local = local_of(name, &ns_len);
  if (!is_stopped(x)) took(x, xm_tape_open(&x->tape, name, ns_len, local, strlen(local)));
}

/* Makes the tape of an element whose own start tag has crossed a bound: only the attributes that are needed to know its
 * sender and to answer it. */
static void keep_address(xm_xml *x, const char *name, const char **atts) {
  static const char *const kept[] = {"from", "to", "id", "type"};
  size_t i, k;
  took(x, xm_tape_reset(&x->tape, x->ns));
  if (!is_stopped(x)) add_element(x, name);
  for (i = 0; atts[i] && !is_stopped(x); i += 2)
    for (k = 0; k < sizeof kept / sizeof *kept; k++)
      if (strcmp(atts[i], kept[k]) == 0) add_attribute(x, atts[i], atts[i + 1]);
  if (!is_stopped(x)) took(x, xm_tape_close(&x->tape));
}

static void keep_header(xm_xml *x) {
  xm_buf_clear(&x->header);
  took(x, xm_parser_copy_token(&x->parser, &x->header));
}

/* All checks of a start tag, before anything of it is put on the tape. */
static void check_start(xm_xml *x, const char *name) {
  if (x->depth == 0) check_stream_ns(x, name); /* before the bounds are checked */
  if (x->depth <= 1 && !is_stopped(x)) start_stanza(x);
  check_tag(x);
  check_namespaces(x);
  if (x->depth > x->bounds.depth) cross(x, XM_BOUND_DEPTH);
  count_node(x);
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **atts) {
  xm_xml *x = arg;
  if (is_stopped(x)) return;
  if (x->depth <= 1 || !x->crossed) check_start(x, name);
  if (!x->crossed && !is_stopped(x)) add_element(x, name);
  if (!x->crossed && !is_stopped(x)) add_attributes(x, atts);
  if (x->depth == 1 && x->crossed && !is_stopped(x)) keep_address(x, name, atts);
  if (x->depth++ == 0 && !is_stopped(x)) {
    took(x, xm_tape_close(&x->tape));
    keep_header(x);
    pause_at(x, XM_XML_OPEN);
  }
}

/* Which bound is crossed first could depend on how the input was cut if this is one of several: so this one takes
 * precedence over all others. */
static void check_size(xm_xml *x, uint64_t end) {
  if (x->depth <= 1 || end - x->begin <= x->bounds.stanza) return;
  cross(x, XM_BOUND_STANZA);
  if (x->crossed) x->crossed = XM_BOUND_STANZA;
}

static void on_end(void *arg, const XML_Char *name) {
  xm_xml *x = arg;
  (void)name;
  if (is_stopped(x)) return;
  check_tag(x);
  if (x->parser.fed - x->begin > x->bounds.stanza)
    check_size(x, xm_parser_begin(&x->parser) + xm_parser_length(&x->parser));
  if (is_stopped(x)) return;
  x->depth--;
  if (x->depth == 0) return pause_at(x, XM_XML_CLOSE);
  if (!x->crossed) took(x, xm_tape_close(&x->tape));
  if (x->depth == 1 && !is_stopped(x)) pause_at(x, x->crossed ? XM_XML_SKIPPED : XM_XML_STANZA);
}

static bool is_space(const char *s, int n) {
  while (n > 0 && strchr(" \t\r\n", s[n - 1]) && s[n - 1]) n--;
  return n == 0;
}

static void on_text(void *arg, const XML_Char *s, int n) {
  xm_xml *x = arg;
  uint32_t before = x->tape.n;
  if (is_stopped(x)) return;
  if (x->depth < 2) {
    if (!is_space(s, n)) refuse(x, "bad-format", "text between stanzas");
    return;
  }
  if (x->crossed) return;
  took(x, xm_tape_text(&x->tape, s, (size_t)n));
  if (x->tape.n != before) count_node(x);
}

static void on_cdata(void *arg) { ((xm_xml *)arg)->in_cdata = true; }

static void on_cdata_end(void *arg) { ((xm_xml *)arg)->in_cdata = false; }

static void on_xml_decl(void *arg, const XML_Char *version, const XML_Char *encoding, int standalone) {
  xm_xml *x = arg;
  if (standalone == 0) refuse(x, "restricted-xml", "it says standalone='no', so it has declarations (RFC 6120 11.1)");
  if (version && strcmp(version, "1.0") != 0) refuse(x, "not-well-formed", "it is not XML 1.0");
  if (encoding && !xm_ascii_equal(encoding, "UTF-8")) refuse(x, "unsupported-encoding", "it is not in UTF-8");
}

static void on_doctype(void *arg, const XML_Char *a, const XML_Char *b, const XML_Char *c, int d) {
  (void)a, (void)b, (void)c, (void)d;
  refuse(arg, "restricted-xml", "a document type declaration (RFC 6120 11.1)");
}

static void on_comment(void *arg, const XML_Char *text) {
  (void)text;
  refuse(arg, "restricted-xml", "a comment (RFC 6120 11.1)");
}

static void on_pi(void *arg, const XML_Char *target, const XML_Char *data) {
  (void)target, (void)data;
  refuse(arg, "restricted-xml", "a processing instruction (RFC 6120 11.1)");
}

static void set_handlers(XML_Parser expat, void *arg) {
  XML_SetUserData(expat, arg);
  XML_SetElementHandler(expat, on_start, on_end);
  XML_SetStartNamespaceDeclHandler(expat, on_namespace);
  XML_SetCharacterDataHandler(expat, on_text);
  XML_SetCdataSectionHandler(expat, on_cdata, on_cdata_end);
  XML_SetXmlDeclHandler(expat, on_xml_decl);
  XML_SetStartDoctypeDeclHandler(expat, on_doctype);
  XML_SetCommentHandler(expat, on_comment);
  XML_SetProcessingInstructionHandler(expat, on_pi);
}

/* How many bytes of an incomplete tag are accepted. */
static size_t most_of_token(const xm_xml *x) {
  size_t n = x->bounds.start_tag;
  return x->verdict == XM_XML_SKIP && n < TOKEN ? TOKEN : n;
}

/* Stanzas are scanned, but not the login: that is short and contains secrets, which then lie in one place only. */
static bool is_scanning(const xm_xml *x) {
  return x->may_scan && x->is_default && x->verdict == XM_XML_SKIP;
}

/* Leaves the stanza that scan has begun to expat, from the first byte on. */
static void leave(xm_xml *x) {
  x->is_expats = true;
  xm_scan_begin(&x->scan);
}

void xm_xml_set_bounds(xm_xml *x, const xm_bounds *bounds, xm_xml_verdict verdict) {
  x->bounds = *bounds;
  x->verdict = verdict;
  x->parser.secret = x->tape.secret = verdict == XM_XML_REFUSE; /* until the login is over, since it may contain a
                                                                   token */
  x->parser.token = most_of_token(x);
  x->parser.most = x->bounds.start_tag < (SIZE_MAX - MEMORY) / PER_BYTE ? MEMORY + PER_BYTE * x->bounds.start_tag : SIZE_MAX;
  if (!is_scanning(x)) leave(x);
}

/* XM_SCAN=0 in the environment leaves everything to expat, to find out which of the two parsers causes a problem. */
static bool is_wanted(void) {
  const char *s = getenv("XM_SCAN");
  return !s || strcmp(s, "0") != 0;
}

xm_xml *xm_xml_new(const char *ns, const xm_bounds *bounds) {
  xm_xml *x = calloc(1, sizeof *x);
  if (!x) return NULL;
  x->ns = ns;
  x->may_scan = is_wanted();
  if (xm_parser_init(&x->parser, set_handlers, x) < 0) {
    free(x);
    return NULL;
  }
  xm_xml_set_bounds(x, bounds, XM_XML_REFUSE);
  return x;
}

void xm_xml_free(xm_xml *x) {
  if (!x) return;
  xm_parser_free(&x->parser);
  xm_tape_free(&x->tape);
  xm_buf_free(&x->header);
  xm_buf_free(&x->window);
  free(x);
}

void xm_xml_set_piece(xm_xml *x, size_t n) {
  x->parser.piece = n;
}

int xm_xml_restart(xm_xml *x) {
  if (xm_parser_renew(&x->parser, NULL) < 0) return XM_ENOMEM;
  x->follows = x->follows || x->depth > 0;
  x->event = XM_XML_MORE;
  x->failed = x->long_ns = x->in_cdata = x->is_default = false;
  x->depth = x->nodes = x->declared = 0;
  x->crossed = XM_BOUND_NONE;
  x->begin = 0;
  xm_buf_free(&x->header);
  xm_err_clear(&x->err);
  leave(x);
  return XM_OK;
}

char *xm_xml_space(xm_xml *x, size_t *n) {
  if (!is_scanning(x)) return xm_parser_space(&x->parser, n);
  *n = ROOM;
  return xm_buf_reserve(&x->window, *n);
}

void xm_xml_fill(xm_xml *x, size_t n) {
  if (is_scanning(x)) xm_buf_commit(&x->window, n);
  else xm_parser_fill(&x->parser, n);
}

/* expat's own errors, with the conditions that RFC 6120 4.9.3 has for them. */
static int expat_error(xm_xml *x, xm_err *e) {
  enum XML_Error code = XML_GetErrorCode(x->parser.expat);
  const char *condition = "not-well-formed";
  if (code == XML_ERROR_NO_MEMORY && x->parser.full)
    return xm_err_set(e, XM_LAYER_STREAM, "policy-violation", may_retry(x),
                      "the stream was refused: parsing an element took more than %zu bytes of memory", x->parser.most);
  if (code == XML_ERROR_NO_MEMORY) return xm_err_nomem(e);
  if (code == XML_ERROR_UNBOUND_PREFIX) condition = "bad-namespace-prefix";
  if (code == XML_ERROR_UNKNOWN_ENCODING || code == XML_ERROR_INCORRECT_ENCODING) condition = "unsupported-encoding";
  if (code == XML_ERROR_UNDEFINED_ENTITY) condition = "restricted-xml";
  return xm_err_set(e, XM_LAYER_STREAM, condition, may_retry(x), "the stream was refused: %s (byte %llu of it)",
                    XML_ErrorString(code), (unsigned long long)xm_parser_begin(&x->parser));
}

static int fail(xm_xml *x, xm_err *e) {
  x->failed = true;
  if (!is_stopped(x)) return expat_error(x, e);
  if (e && !xm_err_is_set(e)) *e = x->err;
  return XM_EFAIL;
}

/* expat takes a stream for UTF-16 if its first two bytes look like that, whatever encoding it was told to expect, and
 * skips a byte order mark, which according to RFC 6120 11.6 is just text. No tag begins with the first byte of a byte
 * order mark. */
static void check_encoding(xm_xml *x) {
  const xm_parser *p = &x->parser;
  size_t i;
  if (p->fed == 0 && p->room[0] == '\xEF') refuse(x, "not-well-formed", "text or a byte order mark before its root");
  for (i = 0; i < p->filled && p->fed + i < 2; i++)
    if (!p->room[i] || (unsigned char)p->room[i] >= 0xFE) refuse(x, "unsupported-encoding", "it is not in UTF-8");
}

/* The result of a call to expat. */
static int outcome(xm_xml *x, enum XML_Status status, xm_err *e) {
  if (status == XML_STATUS_ERROR || is_stopped(x)) return fail(x, e);
  return x->event;
}

static int try_unfinished(xm_xml *x, xm_err *e) {
  if (!xm_parser_has_untried(&x->parser)) return XM_XML_MORE;
  x->event = XM_XML_MORE;
  return outcome(x, xm_parser_try(&x->parser), e);
}

static bool is_long_token(const xm_xml *x) {
  return xm_parser_pending(&x->parser) > most_of_token(x);
}

static bool is_long_stanza(const xm_xml *x) {
  return x->depth > 1 && !x->crossed && x->parser.fed - x->begin > x->bounds.stanza;
}

/* Refuses what is longer than any tag or stanza may be, without waiting for its end. expat may have put off an attempt
 * at the last bytes, which may contain the end of the stanza, or even the next one: so it must try first. */
static int bound_unfinished(xm_xml *x, xm_err *e) {
  bool is_over = is_long_token(x) || is_long_stanza(x);
  int rc = is_over ? try_unfinished(x, e) : XM_XML_MORE;
  if (rc != XM_XML_MORE) return rc;
  if (is_long_stanza(x)) cross(x, XM_BOUND_STANZA);
  if (!is_stopped(x) && is_long_token(x)) refuse_bound(x, XM_BOUND_START_TAG);
  if (!is_stopped(x) && xm_parser_is_declaration(&x->parser))
    refuse(x, "restricted-xml", "a long comment, processing instruction or declaration (RFC 6120 11.1)");
  return is_stopped(x) ? fail(x, e) : XM_XML_MORE;
}

/* Between stanzas: replaces expat, to free what it keeps, by a new one that has read the header. */
static void renew(xm_xml *x) {
  if (xm_buf_len(&x->header)) xm_parser_renew(&x->parser, &x->header);
}

/* Nothing may precede an XML declaration; but a server that writes lines ends its <success/> with a line end, which
 * must be dropped. */
static void pass_space_between_streams(xm_xml *x) {
  if (x->follows && x->parser.fed == 0) xm_parser_trim(&x->parser);
}

static int expat_next(xm_xml *x, xm_err *e) {
  int rc;
  pass_space_between_streams(x);
  if (x->parser.paused && x->depth == 1 && xm_parser_spare(&x->parser) > MUCH_SPARE) renew(x);
  if (xm_parser_is_idle(&x->parser)) return XM_XML_MORE;
  x->event = XM_XML_MORE;
  if (!x->parser.paused) check_encoding(x);
  if (is_stopped(x)) return fail(x, e);
  rc = outcome(x, xm_parser_go(&x->parser), e);
  return rc == XM_XML_MORE ? bound_unfinished(x, e) : rc;
}

/* How much of the window expat gets at once, at most `room` bytes: everything up to and including the start tag (what
 * is wrong with a text may be found only at its end); then everything up to the next end tag that may be the stanza's.
 * If it isn't that one, expat gets more, or has got more than it needed, which only costs time; and not much, since
 * wrong guesses make the pieces longer. */
static size_t portion(const xm_xml *x, size_t room) {
  const char *from = xm_buf_at(&x->window), *name = x->depth > 1 && x->tape.n ? xm_tape_name(&x->tape, 0) : "";
  size_t n = xm_buf_len(&x->window), len = strlen(name), least = x->guesses < GUESSES ? 0 : (size_t)1 << x->guesses;
  const char *end = from + (n < room ? n : room), *p = least < (size_t)(end - from) ? from + least : end;
  if (x->depth == 1 && !(p = memchr(p, '<', (size_t)(end - p)))) p = end;
  while ((p = memchr(p, '>', (size_t)(end - p)))) {
    p++;
    if ((size_t)(p - from) > len && memcmp(p - 1 - len, name, len) == 0) return (size_t)(p - from);
  }
  return (size_t)(end - from);
}

static int feed_expat(xm_xml *x, xm_err *e) {
  size_t room, n;
  char *to = xm_parser_space(&x->parser, &room);
  if (!to) {
    run_out(x);
    return fail(x, e);
  }
  if (x->depth == 1) x->guesses = 0;
  n = portion(x, room);
  if (x->guesses < MOST_GUESSES) x->guesses++;
  memcpy(to, xm_buf_at(&x->window), n);
  xm_parser_fill(&x->parser, n);
  xm_buf_consume(&x->window, n);
  return XM_OK;
}

/* Is expat between two stanzas, with nothing of the next? */
static bool is_between(const xm_xml *x) {
  return x->depth == 1 && !x->parser.paused && !x->in_cdata && xm_parser_pending(&x->parser) == 0;
}

static void consume(xm_xml *x, size_t n) {
  xm_buf_consume(&x->window, n);
  xm_parser_pass(&x->parser, n);
}

static void skip_space(xm_xml *x) {
  const char *from = xm_buf_at(&x->window);
  size_t n = xm_buf_len(&x->window), i = 0;
  while (i < n && (from[i] == '\n' || from[i] == ' ' || from[i] == '\t' || from[i] == '\r')) i++;
  consume(x, i);
}

static int scan_next(xm_xml *x, xm_err *e) {
  int rc;
  if (!xm_scan_is_inside(&x->scan)) skip_space(x);
  if (xm_buf_len(&x->window) == 0) {
    if (x->window.cap > LARGE) xm_buf_free(&x->window);
    return XM_XML_MORE;
  }
  rc = xm_scan_stanza(&x->scan, &x->tape, &x->bounds, x->ns, xm_buf_at(&x->window), xm_buf_len(&x->window));
  if (rc == XM_ENOMEM) {
    run_out(x);
    return fail(x, e);
  }
  if (rc == XM_SCAN_MORE) return XM_XML_MORE;
  if (rc == XM_SCAN_LEFT) {
    leave(x);
    return XM_XML_MORE;
  }
  consume(x, x->scan.at);
  xm_scan_begin(&x->scan);
  x->crossed = XM_BOUND_NONE;
  x->scanned++;
  return XM_XML_STANZA;
}

/* scan reads as long as the stanzas are ordinary; then expat does, and gets as much of the window as it may need. */
int xm_xml_next(xm_xml *x, xm_err *e) {
  int rc;
  if (x->failed) return fail(x, e);
  for (;;) {
    if (!x->is_expats) {
      rc = scan_next(x, e);
      if (!x->is_expats) return rc;
    } else {
      rc = expat_next(x, e);
      if (rc != XM_XML_MORE) return rc;
      x->is_expats = !is_scanning(x) || !is_between(x);
      if (!x->is_expats) continue;
    }
    if (xm_buf_len(&x->window) == 0) return XM_XML_MORE;
    if (feed_expat(x, e) < 0) return XM_EFAIL;
  }
}

/* Frees the window if it is empty, so that an idle connection has none. */
int xm_xml_drained(xm_xml *x, xm_err *e) {
  xm_buf_rest(&x->window);
  return x->failed ? fail(x, e) : try_unfinished(x, e);
}

static size_t spare_of_parser(const xm_xml *x) {
  size_t n = is_between(x) && xm_buf_len(&x->header) ? xm_parser_spare(&x->parser) : 0;
  return n > LEAST_SPARE ? n : 0;
}

/* Has the beginning of a stanza been read? */
static bool is_inside(const xm_xml *x) {
  return x->depth > 1 || xm_scan_is_inside(&x->scan);
}

size_t xm_xml_spare(const xm_xml *x) {
  return is_inside(x) ? 0 : xm_tape_size(&x->tape) + spare_of_parser(x);
}

void xm_xml_rest(xm_xml *x) {
  if (is_inside(x)) return;
  xm_tape_free(&x->tape);
  if (spare_of_parser(x)) renew(x);
}

const xm_tape *xm_xml_tape(const xm_xml *x) {
  return &x->tape;
}

xm_bound xm_xml_crossed(const xm_xml *x, size_t *most) {
  *most = xm_bounds_most(&x->bounds, x->crossed);
  return x->crossed;
}

size_t xm_xml_unread(const xm_xml *x) {
  return xm_parser_unread(&x->parser) + xm_buf_len(&x->window);
}

uint64_t xm_xml_scanned(const xm_xml *x) {
  return x->scanned;
}

int xm_xml_check_name(const char *s, size_t n) {
  return xm_parser_check_name(s, n);
}
