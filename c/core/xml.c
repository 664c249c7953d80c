#include "xml.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>

#include "ascii.h"
#include "ns.h"

/* Where expat has reparse deferral it also has this; Debian's 2.5.0 has both, so no version macro can tell. */
extern XML_Bool XML_SetReparseDeferralEnabled(XML_Parser, XML_Bool) __attribute__((weak));

/* The positions of 2.9 and later have 64 bits everywhere; the older ones have a long's. */
#if XML_MAJOR_VERSION > 2 || XML_MINOR_VERSION >= 9
#define token_begin XML_GetCurrentByteIndex64
#define token_length XML_GetCurrentByteCount64
#else
#define token_begin XML_GetCurrentByteIndex
#define token_length XML_GetCurrentByteCount
#endif

enum {
  READ = 16 * 1024,
  GROWTH = 4, /* times as many bytes as a stanza may have, its tape may have: see took */
};

/* Between namespace and local name in what expat hands out: a byte that UTF-8 doesn't have. */
#define SEP '\xFF'

struct xm_xml {
  XML_Parser parser;
  xm_xml_limits limits;
  const char *ns;     /* the stream's content namespace */
  xm_tape tape;
  xm_err err;         /* why a handler stopped the parser */
  xm_xml_event event; /* what the handlers came to in this call */
  bool paused;        /* at `event`, inside the bytes that were filled in */
  bool untried;       /* bytes came since deferral was last overruled */
  bool failed;
  unsigned depth;     /* open elements, the stream's root included */
  unsigned nodes;     /* of the stanza at hand */
  size_t piece;       /* how many bytes the caller is given room for */
  const char *room;   /* where the caller puts bytes */
  size_t last;        /* how many it has put there */
  size_t filled;      /* bytes there that expat hasn't been told of */
  size_t fed;         /* bytes told, since the stream began */
  size_t used;        /* of these, the ones before the token at hand */
  size_t begin;       /* where the stanza at hand began */
};

static size_t position(xm_xml *x) {
  int64_t at = token_begin(x->parser);
  if (at >= 0 && (size_t)at > x->used) x->used = (size_t)at;
  return x->used;
}

static void refuse(xm_xml *x, const char *condition, const char *text) {
  xm_err_set(&x->err, XM_LAYER_STREAM, condition, false, "the stream was refused: %s", text);
  XML_StopParser(x->parser, XML_FALSE);
}

static void refuse_limit(xm_xml *x, const char *what, size_t bound) {
  xm_err_set(&x->err, XM_LAYER_STREAM, "policy-violation", false,
             "the stream was refused: %s over the limit of %zu", what, bound);
  XML_StopParser(x->parser, XML_FALSE);
}

static void refuse_growth(xm_xml *x, int rc) {
  if (rc == XM_ENOMEM) xm_err_nomem(&x->err);
  refuse_limit(x, "bytes of a stanza, its namespaces written out,", GROWTH * x->limits.stanza);
}

/* What an append to the tape came to. A namespace, said once, may be meant 10,000 times; each time the tape grows. */
static inline void took(xm_xml *x, int rc) {
  if (rc != XM_OK || x->tape.bytes.last / GROWTH > x->limits.stanza) refuse_growth(x, rc);
}

static void pause_at(xm_xml *x, xm_xml_event event) {
  x->event = event;
  XML_StopParser(x->parser, XML_TRUE);
}

/* Splits what expat calls a name. */
static const char *local_of(const char *name, size_t *ns_len) {
  const char *sep = strchr(name, SEP);
  *ns_len = sep ? (size_t)(sep - name) : 0;
  return sep ? sep + 1 : name;
}

static void add_foreign_attribute(xm_xml *x, const char *name, const char *value) {
  size_t ns_len;
  const char *local = local_of(name, &ns_len);
  if (ns_len == strlen(XM_NS_XML) && memcmp(name, XM_NS_XML, ns_len) == 0 && strcmp(local, "lang") == 0) {
    took(x, xm_tape_attr(&x->tape, "", 0, "xml:lang", 8, value));
  } else {
    took(x, xm_tape_attr(&x->tape, name, ns_len, local, strlen(local), value));
  }
}

/* Nearly all names are short and without a namespace. */
static void add_attribute(xm_xml *x, const char *name, const char *value) {
  size_t n = 0;
  while (name[n] && name[n] != SEP) n++;
  if (name[n]) add_foreign_attribute(x, name, value);
  else took(x, xm_tape_attr(&x->tape, "", 0, name, n, value));
}

static void add_attributes(xm_xml *x, const char **atts) {
  unsigned n;
  for (n = 0; atts[2 * n] && !xm_err_is_set(&x->err); n++) {
    if (n == x->limits.attributes) return refuse_limit(x, "attributes of an element", n);
    add_attribute(x, atts[2 * n], atts[2 * n + 1]);
  }
}

/* RFC 6120 4.8: the root is <stream/> in its namespace; below it that namespace has only features and error. */
static void check_stream_ns(xm_xml *x, const char *name) {
  const size_t n = strlen(XM_NS_STREAM);
  bool is_one = strncmp(name, XM_NS_STREAM, n) == 0 && name[n] == SEP;
  const char *local = is_one ? name + n + 1 : "";
  if (x->depth == 0 && !is_one) refuse(x, "invalid-namespace", "its root is not in the streams namespace");
  if (x->depth == 0 && is_one && strcmp(local, "stream") != 0) refuse(x, "bad-format", "its root is not <stream/>");
  if (x->depth == 0 || !is_one) return;
  if (x->depth == 1 && (strcmp(local, "features") == 0 || strcmp(local, "error") == 0)) return;
  refuse(x, "bad-format", "an element of the streams namespace where none belongs");
}

/* Any tag: an end tag may be long, too, with space. What isn't told yet is asked only where it could be too much. */
static void check_tag(xm_xml *x) {
  if (x->fed - x->used <= x->limits.start_tag) return;
  if ((size_t)token_length(x->parser) > x->limits.start_tag)
    refuse_limit(x, "bytes of a tag", x->limits.start_tag);
}

/* RFC 6120 4.8.2: both streams have the same content namespace, where theirs declares one as the default. */
static void on_namespace(void *arg, const XML_Char *prefix, const XML_Char *uri) {
  xm_xml *x = arg;
  if (x->depth > 0 || prefix || !uri || strcmp(uri, x->ns) == 0 || strcmp(uri, XM_NS_STREAM) == 0) return;
  refuse(x, "invalid-namespace", "its content namespace is not ours");
}

static void count_node(xm_xml *x) {
  if (x->nodes++ == x->limits.nodes) refuse_limit(x, "elements and texts in a stanza", x->limits.nodes);
}

static void start_stanza(xm_xml *x) {
  x->begin = position(x);
  x->nodes = 0;
  took(x, xm_tape_reset(&x->tape, x->ns));
}

/* Features and errors are the only elements of that namespace, and what is in them is of others. */
static bool is_stream_ns(const char *ns, size_t n) {
  return n == strlen(XM_NS_STREAM) && memcmp(ns, XM_NS_STREAM, n) == 0;
}

/* An element's name as expat has it, "uri\xFFlocal". One that is in the namespace around it needs no further look. */
static void add_element(xm_xml *x, const char *name) {
  uint32_t at, outer_len;
  const char *outer = xm_tape_outer(&x->tape, &at, &outer_len), *local = name + outer_len + 1;
  size_t ns_len;
  if (strncmp(name, outer, outer_len) == 0 && name[outer_len] == SEP && !is_stream_ns(outer, outer_len)) {
    took(x, xm_tape_open(&x->tape, NULL, 0, local, strlen(local)));
    return;
  }
  check_stream_ns(x, name);
  local = local_of(name, &ns_len);
  if (!xm_err_is_set(&x->err)) took(x, xm_tape_open(&x->tape, name, ns_len, local, strlen(local)));
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **atts) {
  xm_xml *x = arg;
  if (xm_err_is_set(&x->err)) return;
  if (x->depth == 0) check_stream_ns(x, name); /* before the limits */
  check_tag(x);
  if (x->depth > x->limits.depth) refuse_limit(x, "depth of elements", x->limits.depth);
  if (x->depth <= 1 && !xm_err_is_set(&x->err)) start_stanza(x);
  count_node(x);
  if (!xm_err_is_set(&x->err)) add_element(x, name);
  if (!xm_err_is_set(&x->err)) add_attributes(x, atts);
  if (x->depth++ == 0 && !xm_err_is_set(&x->err)) {
    took(x, xm_tape_close(&x->tape));
    pause_at(x, XM_XML_OPEN);
  }
}

static void check_size(xm_xml *x, size_t end) {
  if (x->depth > 1 && end - x->begin > x->limits.stanza) refuse_limit(x, "bytes of a stanza", x->limits.stanza);
}

static void on_end(void *arg, const XML_Char *name) {
  xm_xml *x = arg;
  (void)name;
  if (xm_err_is_set(&x->err)) return;
  check_tag(x);
  if (x->fed - x->begin > x->limits.stanza)
    check_size(x, position(x) + (size_t)token_length(x->parser));
  x->depth--;
  if (x->depth == 0) return pause_at(x, XM_XML_CLOSE);
  took(x, xm_tape_close(&x->tape));
  if (x->depth == 1 && !xm_err_is_set(&x->err)) pause_at(x, XM_XML_STANZA);
}

static bool is_space(const char *s, int n) {
  while (n > 0 && strchr(" \t\r\n", s[n - 1]) && s[n - 1]) n--;
  return n == 0;
}

static void on_text(void *arg, const XML_Char *s, int n) {
  xm_xml *x = arg;
  uint32_t before = x->tape.n;
  if (xm_err_is_set(&x->err)) return;
  if (x->depth < 2) {
    if (!is_space(s, n)) refuse(x, "bad-format", "text between stanzas");
    return;
  }
  took(x, xm_tape_text(&x->tape, s, (size_t)n));
  if (x->tape.n != before) count_node(x);
}

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

static void set_handlers(xm_xml *x) {
  XML_SetUserData(x->parser, x);
  XML_SetElementHandler(x->parser, on_start, on_end);
  XML_SetStartNamespaceDeclHandler(x->parser, on_namespace);
  XML_SetCharacterDataHandler(x->parser, on_text);
  XML_SetXmlDeclHandler(x->parser, on_xml_decl);
  XML_SetStartDoctypeDeclHandler(x->parser, on_doctype);
  XML_SetCommentHandler(x->parser, on_comment);
  XML_SetProcessingInstructionHandler(x->parser, on_pi);
}

xm_xml *xm_xml_new(const char *ns, const xm_xml_limits *limits) {
  xm_xml *x = calloc(1, sizeof *x);
  if (!x) return NULL;
  x->ns = ns;
  x->limits = *limits;
  x->piece = READ;
  x->parser = XML_ParserCreateNS("UTF-8", SEP);
  if (!x->parser) {
    free(x);
    return NULL;
  }
  set_handlers(x);
  return x;
}

void xm_xml_free(xm_xml *x) {
  if (!x) return;
  XML_ParserFree(x->parser);
  xm_tape_free(&x->tape);
  free(x);
}

void xm_xml_set_limits(xm_xml *x, const xm_xml_limits *limits) {
  x->limits = *limits;
}

void xm_xml_set_piece(xm_xml *x, size_t n) {
  x->piece = n;
}

/* What lies behind the event that is out: the end of what was filled in last. */
static int save_unread(xm_xml *x, xm_buf *to) {
  size_t n = x->failed ? 0 : xm_xml_unread(x);
  return n && n <= x->last ? xm_buf_put(to, x->room + x->last - n, n) : XM_OK;
}

static char *room_for(xm_xml *x, size_t n) {
  char *room = XML_GetBuffer(x->parser, (int)n);
  x->room = room;
  return room;
}

static int fill_unread(xm_xml *x, const xm_buf *from) {
  size_t n = xm_buf_len(from);
  char *to = n ? room_for(x, n) : NULL;
  if (n && !to) return XM_ENOMEM;
  if (n) memcpy(to, xm_buf_at(from), n);
  if (n) xm_xml_fill(x, n);
  return XM_OK;
}

static int reset(xm_xml *x) {
  if (!XML_ParserReset(x->parser, "UTF-8")) return XM_ENOMEM;
  set_handlers(x);
  x->event = XM_XML_MORE;
  x->paused = x->untried = x->failed = false;
  x->depth = x->nodes = 0;
  x->filled = x->fed = x->used = x->begin = 0;
  xm_err_clear(&x->err);
  return XM_OK;
}

int xm_xml_restart(xm_xml *x) {
  xm_buf unread = XM_BUF_INIT;
  int rc = save_unread(x, &unread);
  if (rc == XM_OK) rc = reset(x);
  if (rc == XM_OK) rc = fill_unread(x, &unread);
  xm_buf_free(&unread);
  return rc;
}

char *xm_xml_space(xm_xml *x, size_t *n) {
  *n = x->piece;
  return room_for(x, x->piece);
}

void xm_xml_fill(xm_xml *x, size_t n) {
  x->filled = x->last = n;
}

/* expat's own refusals, by the name that RFC 6120 4.9.3 has for them. */
static int expat_error(xm_xml *x, xm_err *e) {
  enum XML_Error code = XML_GetErrorCode(x->parser);
  const char *condition = "not-well-formed";
  if (code == XML_ERROR_NO_MEMORY) return xm_err_nomem(e);
  if (code == XML_ERROR_UNBOUND_PREFIX) condition = "bad-namespace-prefix";
  if (code == XML_ERROR_UNKNOWN_ENCODING || code == XML_ERROR_INCORRECT_ENCODING) condition = "unsupported-encoding";
  if (code == XML_ERROR_UNDEFINED_ENTITY) condition = "restricted-xml";
  return xm_err_set(e, XM_LAYER_STREAM, condition, false, "the stream was refused: %s (byte %zu of it)",
                    XML_ErrorString(code), position(x));
}

static int fail(xm_xml *x, xm_err *e) {
  x->failed = true;
  if (!xm_err_is_set(&x->err)) return expat_error(x, e);
  if (e && !xm_err_is_set(e)) *e = x->err;
  return XM_EFAIL;
}

/* expat takes a stream for UTF-16 if its first two bytes look like that, whatever encoding it was told to expect, and
 * passes over a byte order mark, which RFC 6120 11.6 knows as text only. What begins with its first byte is no tag. */
static void check_encoding(xm_xml *x) {
  size_t i;
  if (x->fed == 0 && x->room[0] == '\xEF') refuse(x, "not-well-formed", "text or a byte order mark before its root");
  for (i = 0; i < x->filled && x->fed + i < 2; i++)
    if (!x->room[i] || (unsigned char)x->room[i] >= 0xFE) refuse(x, "unsupported-encoding", "it is not in UTF-8");
}

/* What a call to expat came to. */
static int outcome(xm_xml *x, enum XML_Status status, xm_err *e) {
  x->paused = status == XML_STATUS_SUSPENDED;
  if (status == XML_STATUS_ERROR || xm_err_is_set(&x->err)) return fail(x, e);
  position(x);
  return x->event;
}

static int try_unfinished(xm_xml *x, xm_err *e) {
  enum XML_Status status;
  x->untried = false;
  if (!XML_SetReparseDeferralEnabled) return XM_XML_MORE;
  XML_SetReparseDeferralEnabled(x->parser, XML_FALSE);
  status = XML_Parse(x->parser, "", 0, 0);
  XML_SetReparseDeferralEnabled(x->parser, XML_TRUE);
  return outcome(x, status, e);
}

static bool is_over(const xm_xml *x) {
  return x->fed - x->used > x->limits.start_tag || (x->depth > 1 && x->fed - x->begin > x->limits.stanza);
}

/* What has outgrown every tag, or every stanza, is not waited for. expat may have put off a look at the last bytes, and
 * the end of the stanza, even the next one, may be among them: so it must look first. */
static int bound_unfinished(xm_xml *x, xm_err *e) {
  int rc = is_over(x) ? try_unfinished(x, e) : XM_XML_MORE;
  if (rc != XM_XML_MORE || !is_over(x)) return rc;
  check_size(x, x->fed);
  refuse_limit(x, "bytes of a tag", x->limits.start_tag);
  return fail(x, e);
}

int xm_xml_next(xm_xml *x, xm_err *e) {
  enum XML_Status status;
  int rc;
  if (x->failed) return fail(x, e);
  if (!x->paused && !x->filled) return XM_XML_MORE;
  x->event = XM_XML_MORE;
  if (x->paused) {
    status = XML_ResumeParser(x->parser);
  } else {
    check_encoding(x);
    if (xm_err_is_set(&x->err)) return fail(x, e);
    x->fed += x->filled;
    status = XML_ParseBuffer(x->parser, (int)x->filled, 0);
    x->filled = 0;
    x->untried = true;
  }
  rc = outcome(x, status, e);
  return rc == XM_XML_MORE ? bound_unfinished(x, e) : rc;
}

int xm_xml_drained(xm_xml *x, xm_err *e) {
  if (x->failed) return fail(x, e);
  if (!x->untried || x->paused || x->fed == x->used) return XM_XML_MORE;
  x->event = XM_XML_MORE;
  return try_unfinished(x, e);
}

size_t xm_xml_spare(const xm_xml *x) {
  return x->depth <= 1 ? xm_tape_size(&x->tape) : 0;
}

void xm_xml_rest(xm_xml *x) {
  if (x->depth <= 1) xm_tape_free(&x->tape);
}

const xm_tape *xm_xml_tape(const xm_xml *x) {
  return &x->tape;
}

size_t xm_xml_unread(const xm_xml *x) {
  int64_t at = token_begin(x->parser);
  if (!x->paused || at < 0) return x->filled;
  return x->fed - (size_t)at - (size_t)token_length(x->parser);
}

int xm_xml_check_name(const char *s, size_t n) {
  XML_Parser p = XML_ParserCreateNS("UTF-8", SEP);
  bool ok = n > 0 && n < READ;
  size_t i;
  if (!p) return XM_ENOMEM;
  for (i = 0; ok && i < n; i++) ok = !strchr(":/> \t\r\n", s[i]); /* NUL is among them, too */
  ok = ok && XML_Parse(p, "<", 1, 0) && XML_Parse(p, s, (int)n, 0) && XML_Parse(p, "/>", 2, 1);
  XML_ParserFree(p);
  return ok ? XM_OK : XM_EINVAL;
}
