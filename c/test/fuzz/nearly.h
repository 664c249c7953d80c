/* nearly: makes a stream of nearly ordinary stanzas by a grammar, controlled by a script's bytes: what servers send,
 * and in between everything for which XML or RFC 6120 has a rule, kept or broken; and at the end a byte or two altered
 * anywhere. An empty script makes the shortest form of everything. */
#ifndef NEARLY_H
#define NEARLY_H

#include "fuzz.h"
#include "ns.h"

#define NS_XMLNS "http://www.w3.org/2000/xmlns/"

enum { NEARLY_MOST = 48 * 1024, NEARLY_DEPTH = 140 };

static struct {
  char s[NEARLY_MOST];
  size_t n;
  bool has_long_run; /* one is enough */
} nearly;

static void say_bytes(const char *s, size_t n) {
  size_t room = NEARLY_MOST - nearly.n;
  if (n > room) n = room;
  if (n) memcpy(nearly.s + nearly.n, s, n);
  nearly.n += n;
}

static void say(const char *s) { say_bytes(s, strlen(s)); }

#define SAY_ONE_OF(list, which) say((list)[(which) % (sizeof(list) / sizeof *(list))])

/* Words. The first of each list is used when the script has ended. */

static const char *const headers[] = {
    "<stream:stream xmlns='" XM_NS_CLIENT "' xmlns:stream='" XM_NS_STREAM "'>",
    "<?xml version='1.0'?><stream:stream from='x.example' id='7' version='1.0' xml:lang='en' xmlns:stream='" XM_NS_STREAM
    "' xmlns='" XM_NS_CLIENT "'>",
    "<stream xmlns='" XM_NS_STREAM "' xmlns:p='" XM_NS_CLIENT "'>",
    "<s:stream xmlns='" XM_NS_CLIENT "' xmlns:s='" XM_NS_STREAM "' xmlns:h='urn:h' xmlns:p='urn:p'>\n",
    "<stream:stream xmlns:stream='" XM_NS_STREAM "'>",
    "<stream:stream\n xmlns=\"" XM_NS_CLIENT "\"\txmlns:stream='" XM_NS_STREAM "' >",
    "<stream:stream xmlns='" XM_NS_CLIENT "' xmlns:stream='" XM_NS_STREAM "' xmlns:s='" XM_NS_STREAM "' xmlns:c='" XM_NS_CLIENT
    "'>",
    "<stream:stream xmlns='" XM_NS_CLIENT "' xmlns:stream='" XM_NS_STREAM "' xmlns:xml='" XM_NS_XML "' a='&lt;\r\n&#9;'>",
};

static const char *const stanzas[] = {"message", "presence", "iq", "a"};
static const char *const names[] = {"x", "body", "a", "b", "query", "item", "message", "a.b-c_9", "X9", "_"};
static const char *const odd_names[] = {
    "stream:features", "stream:error", "stream:stream", "stream:x", "s:x", "s:error", "h:b", "p:c", "q:c", "c:message", "xml:a",
    "xmlns:a", "xmlns", "xml", "XMLa", "xm", "\xC3\xA9t\xC3\xA9", "a\xC2\xB7", "\xE6\x97\xA5", "\xC2\xB7", "a\xCC\x80",
    "\xF0\x9F\x98\x80", "a\xED\xA0\x80", "a\xFF", "a\xC3", "1a", "-a", ".a", "a:b:c", ":a", "a:", ":", "", "a?", "a!", "!a", "?a",
    "a\x01", "a'", "a&amp;", "restart", "features", "error"};

static const char *const keys[] = {"id", "to", "from", "type", "a", "b", "c", "d", "e", "ver"};
static const char *const odd_keys[] = {
    "xml:lang", "xml:space", "xml:base", "xml:id", "xml:foo", "xml:xmlns", "lang", "p:a", "q:a", "h:a", "stream:to", "s:id",
    "c:a", "\xC3\xA9", "a\xC2\xB7", "1", "", ":", "a:", ":a", "a:b:c", "a\xFF", "xmlnsx", "xmln", "xml", "xml:", "A", "xml:xml"};
static const char *const declared[] = {"xmlns", "xmlns:p", "xmlns:q", "xmlns:stream", "xmlns:s", "xmlns:xml", "xmlns:xmlns", "xmlns:",
                                       "xmlns:a:b", "xmlns:h", "xmlns:\xC3\xA9", "xmlns:1"};
static const char *const spaces[] = {
    "urn:x", XM_NS_CLIENT, "urn:y", "urn:h", "urn:xmpp:ping", "", XM_NS_STREAM, XM_NS_XML, NS_XMLNS, " urn:x", "urn:x ", "urn:\nx",
    "urn:&amp;x", "urn:&#120;", "urn:\xC3\xA9", "urn:\xFF", "urn:\xED\xA0\x80", "urn:{x}", "urn:<x", XM_NS_CLIENT " ",
    XM_NS_STREAM "s", "http://etherx.jabber.org/stream&#x73;", "jabber:cli&#101;nt", "urn:x\r\n",
    "0123456789012345678901234567890123456789012345678901234567890123",
    "01234567890123456789012345678901234567890123456789012345678901234", "12345678901234567890", "123456789012345678901"};

/* Ordinary in values and in text. */
static const char *const words[] = {
    "", "x", "Hello", "juliet@capulet.example/balcony", " ", "0123456789abcdef", "chat", "&amp;", "&lt;", "&gt;", "&quot;", "&apos;",
    "The quick brown fox jumps over the lazy dog", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9D\x84\x9E", "\xE6\x97\xA5\xE6\x9C\xAC", "&#65;",
    "&#x41;", "&#xe9;", "&#8364;", "&#x1D11E;", ">", "=", "/", ";", "]", "]]", "#", "?", "-", "!", "\x7F",
    "012345678901234", "01234567890123456789012345678901", "\xEF\xBB\xBF"};

/* Samples of what isn't an XML character, or only just is; of what ends something; and of what isn't ordinary at
 * all. */
static const char *const odd[] = {
    "]]>", "]]&gt;", "]] >", "\r\n", "\r", "\n", "\t", "\r\r\n", "\n\r", "'", "\"", "<", "&", "&;", "&#;", "&#x;", "&amp", "&am", "&#65",
    "&#X41;", "&#00000065;", "&#x00000000000000000041;", "&#0;", "&#9;", "&#xA;", "&#10;", "&#xD;", "&#13;&#10;", "&#x1F;", "&#32;",
    "&#x7F;", "&#xD7FF;", "&#xD800;", "&#xDFFF;", "&#xE000;", "&#xFFFD;", "&#xFFFE;", "&#xFFFF;", "&#x10000;", "&#x1FFFE;",
    "&#x10FFFF;", "&#x110000;", "&#1114111;", "&#1114112;", "&#4294967361;", "&#x100000041;", "&#99999999999999999999;", "&#6a;", "&#xg;",
    "&# 65;", "&#-1;", "&#+65;", "&nbsp;", "&foo;", "&AMP;", "&amp ;", "& amp;", "&a.b;", "&\xC3\xA9;", "&1;", "&apos", "&quo;", "&ltx;",
    "&#38;lt;", "&#60;a/>", "\x01", "\x08", "\x0B", "\x0C", "\x0E", "\x1F", "\xC2\x80", "\xC2\x85", "\xDF\xBF", "\xE0\xA0\x80",
    "\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBD", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "\xE2\x80\xA8", "\x80", "\xBF", "\xC0\x80",
    "\xC1\xBF", "\xC2", "\xC2\x41", "\xDF\xC0", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xE2\x82", "\xE2\x41\x82", "\xE2\x82\x41", "\xED\xA0\x80",
    "\xED\xBF\xBF", "\xED\xA0\xBD\xED\xB8\x80", "\xEF\xBF\xBE", "\xEF\xBF\xBF", "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF0\x9D\x84",
    "\xF0\x9D\x84\x41", "\xF0\x9F\xBF\xBE", "\xF0\x9F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF8\x88\x80\x80\x80",
    "\xFC\x84\x80\x80\x80\x80", "\xFE", "\xFF", "\xFF\xFE", "<![CDATA[x]]>", "<![CDATA[<a>&lt;]]]]>", "<![CDATA[", "<![CDAT[x]]>",
    "<!---->", "<!-- c -->", "<!--", "<!-- -- -->", "<?pi x?>", "<?xml version='1.0'?>", "<?x", "<!DOCTYPE a>", "<!ELEMENT a ANY>", "<!",
    "<?", "</", "</>", "<>", "< a/>", "<a/ >", "</ a>", "<a b>", "<a b=1/>", "<a b='1'c='2'/>", "<a b='1'/c='2'>", "<a 'b'='1'/>",
    "<a b=''' />", "<a/><a/>", "</a>", "<a></b>", "</message>", "</stream:stream>", "<a<b/>", "<a b='<'/>", "<a =''/>", "<a/a>", "<a/"};

static const char *const gaps[] = {" ", "  ", "\n", "\t", "\r\n", "\r", " \n\t ", "", "\x0B", "\x0C", "\xC2\xA0", "/", "\x01"};
static const char *const equals[] = {"=", " =", "= ", " = ", "\n=\t", "\r\n=\r", "", "==", " "};
static const char *const between[] = {"", " ", "\n", "\r\n", "\t \r", "\r", "  \n", "x", "&#32;", "&#x20;", "&amp;", "&#x41;",
                                      "<![CDATA[ ]]>", "<![CDATA[x]]>", "\xC2\xA0", "\xEF\xBB\xBF", "]]>", ">", "'", "\x01",
                                      "<!-- -->", "<?a?>", "</stream:stream>", "<?xml version='1.0'?>"};

/* Repeated many times: for bounds, for long values, and for blocks of 16 and 32 bytes. */
static const char *const runs[] = {"x", " ", "\xC3\xA9", "\xE2\x82\xAC", "&amp;", ">", "]", "\n", "<a/>", "<a>", "t<a/>", "'", "</a>", "\r"};

static void say_run(const char *what, size_t times) {
  while (times-- > 0 && nearly.n < NEARLY_MOST) say(what);
}

static void say_piece(input *in) {
  uint8_t how = take(in);
  const char *s;
  size_t n;
  if (how < 0xA8) return SAY_ONE_OF(words, how);
  if (how < 0xE0) return SAY_ONE_OF(odd, take(in));
  if (how < 0xF0) {
    s = take_bytes(in, 1 + how % 16, &n);
    return say_bytes(s, n);
  }
  n = take(in);
  if (n >= 0xF0 && !nearly.has_long_run) nearly.has_long_run = true, n = 32 * take(in);
  else n %= 64;
  say_run(runs[how % (sizeof runs / sizeof *runs)], n);
}

/* High bytes of a script make odd things, the others ordinary ones. */
static bool is_odd(uint8_t how) { return how >= 0xE0; }

/* White space in a tag. */
static void say_gap(input *in, uint8_t how) {
  if (how >= 0xF0) SAY_ONE_OF(gaps, take(in));
  else if (how % 16 == 15) say(gaps[take(in) % 6]);
  else say(" ");
}

static void say_value(input *in, const char *quote, bool is_space, uint8_t how) {
  unsigned pieces = how >> 4 & 3;
  uint8_t which;
  say(quote);
  if (is_space) {
    which = take(in);
    say(spaces[which % (is_odd(which) ? sizeof spaces / sizeof *spaces : 5)]);
  }
  while (pieces-- > 0 && !is_space) say_piece(in);
  if (how == 0xFF) say_piece(in);
  else say(quote);
}

static void say_counted(unsigned number) {
  char name[16];
  snprintf(name, sizeof name, "a%u", number);
  say(number < sizeof keys / sizeof *keys ? keys[number] : name);
}

/* Writes the name of an element's attribute of that number. Returns whether it declares a namespace. */
static bool say_key(uint8_t which, unsigned number) {
  bool declares = (which >= 0x90 && which < 0xA0 && number == 0) || (which >= 0xD0 && which < 0xE8);
  if (declares) say(which < 0xD8 ? "xmlns" : declared[which % (sizeof declared / sizeof *declared)]);
  else if (which >= 0xE8) SAY_ONE_OF(odd_keys, which);
  else if (which >= 0xC8) SAY_ONE_OF(keys, which);
  else if (which >= 0x80 && which < 0x90 && number == 0) say("xml:lang");
  else say_counted(number);
  return declares;
}

static void say_attribute(input *in, unsigned number) {
  uint8_t which = take(in), how = take(in);
  bool declares;
  say_gap(in, how);
  declares = say_key(which, number);
  if (how >= 0xE0 && how < 0xF0) SAY_ONE_OF(equals, take(in));
  else say("=");
  say_value(in, how & 1 ? "'" : "\"", declares, how);
}

static void say_attributes(input *in, uint8_t how) {
  unsigned n = how % 8, i;
  if (n == 7) n = take(in) % 40;
  for (i = 0; i < n && in->n; i++) say_attribute(in, i);
}

static const char *name_of(input *in, bool is_stanza) {
  uint8_t which = take(in);
  if (is_odd(which)) return odd_names[take(in) % (sizeof odd_names / sizeof *odd_names)];
  if (is_stanza) return stanzas[which % (sizeof stanzas / sizeof *stanzas)];
  return names[which % (sizeof names / sizeof *names)];
}

static void say_end(input *in, const char *name, uint8_t how) {
  if (how == 0xFF) return;
  say("</");
  say(how == 0xFE ? name_of(in, false) : name);
  if (how == 0xFD || how == 0x7F) SAY_ONE_OF(gaps, how == 0xFD ? take(in) : 0);
  if (how == 0xFC) say_attribute(in, 0);
  say(">");
}

static void say_element(input *in, int depth) {
  const char *name = name_of(in, depth == 1);
  uint8_t how = take(in), within = take(in);
  unsigned n = within % 8;
  say("<");
  say(name);
  say_attributes(in, how);
  if (is_odd(how) || how >> 3 == 2) say_gap(in, is_odd(how) ? 0xFF : 15);
  if (n == 0 && how & 0x40) return say("/>");
  say(">");
  for (; n > 1; n--) {
    if (take(in) & 1 && depth < NEARLY_DEPTH) say_element(in, depth + 1);
    else say_piece(in);
  }
  say_end(in, name, within);
}

/* Nested elements. */
static void say_deep(input *in) {
  unsigned n = take(in) % NEARLY_DEPTH, out = n;
  say("<message>");
  say_run("<a>", n);
  say_piece(in);
  say_run("</a>", out);
  say("</message>");
}

static void say_stanza(input *in) {
  uint8_t how = take(in);
  if (is_odd(how)) SAY_ONE_OF(between, take(in));
  else if (how % 8 == 7) say(between[how % 7]);
  if (how == 0x9E) return say_deep(in);
  if (how == 0xFD) return say_piece(in);
  if (how == 0xFC) return SAY_ONE_OF(headers, take(in));
  if (how == 0xF5) return say("</stream:stream>");
  say_element(in, 1);
}

/* A byte that is set, removed or inserted; or the stream is cut off there. */
typedef struct nearly_edit {
  uint32_t at;
  uint8_t how, byte;
} nearly_edit;

static nearly_edit take_edit(input *in) {
  nearly_edit e;
  e.at = take(in);
  e.at = e.at << 8 | take(in);
  e.how = take(in);
  e.byte = take(in);
  return e;
}

static void do_edit(const nearly_edit *e) {
  static const char telling[] = "<>&;'\"/= \r\n\t]!?:#x\x00\x01\x80\xC3\xE2\xF0\xFF";
  size_t at = nearly.n ? e->at % nearly.n : 0, left = nearly.n - at;
  char c = e->how & 4 ? (char)e->byte : telling[e->byte % (sizeof telling - 1)];
  if (left == 0 || nearly.n == NEARLY_MOST) return;
  switch (e->how % 4) {
    case 0: nearly.s[at] = c; break;
    case 1: memmove(nearly.s + at, nearly.s + at + 1, left - 1), nearly.n--; break;
    case 2: memmove(nearly.s + at + 1, nearly.s + at, left), nearly.s[at] = c, nearly.n++; break;
    default: nearly.n = at; break; /* the stream ends there */
  }
}

/* Makes the stream in `nearly`. Returns where its header ends. */
static size_t nearly_make(input *in) {
  uint8_t how = take(in);
  unsigned edits = how >= 0xE0 ? 2 : how >= 0xA0 ? 1 : 0, i;
  nearly_edit todo[2];
  size_t header;
  for (i = 0; i < edits; i++) todo[i] = take_edit(in);
  nearly.n = 0;
  nearly.has_long_run = false;
  SAY_ONE_OF(headers, how % 32 < 16 ? 0 : how);
  header = nearly.n;
  do say_stanza(in);
  while (in->n && nearly.n < NEARLY_MOST);
  for (i = 0; i < edits; i++) do_edit(&todo[i]);
  return header;
}

#endif
