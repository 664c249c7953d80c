/* scan: which parts of a stream are ordinary, and read without expat, and which are left to expat, as tables. In either
 * case the events are the same as with expat alone (XM_SCAN=0), however the input is cut, and each comes with its last
 * byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the four headers above */
#include <cmocka.h>

#include "xml.h"

#include "events.h"

#define STREAMS "http://etherx.jabber.org/streams"
#define XML "http://www.w3.org/XML/1998/namespace"
#define H "<stream:stream xmlns='jabber:client' xmlns:stream='" STREAMS "' xmlns:h='urn:h' xml:lang='en'>"

#define BEFORE "<before/>"
#define TEN "0123456789"
#define FIFTY TEN TEN TEN TEN TEN
#define LONG_NS "urn:" FIFTY TEN          /* 64 bytes: the longest that the tape repeats for each element */
#define LONGER_NS "urn:" FIFTY TEN "5"

static const xm_bounds login = {64 * 1024, 64 * 1024, 128, 256, 50000, 1024}, real = XM_BOUNDS_DEFAULT;

/* Which of the two reads a stanza; as a number, how many stanzas are left to expat. */
enum { SCAN, EXPAT };

/* Each of these stands between two ordinary stanzas. */
static const struct row {
  const char *bytes;
  int by;
} rows[] = {
    /* tags */
    {"<a/>", SCAN},
    {"<a />", SCAN},
    {"<a></a>", SCAN},
    {"<a></a >", SCAN},
    {"<a  ></a\n>", SCAN},
    {"<a\t\r\n/>", SCAN},
    {"<a><b/></a>", SCAN},
    {"<a><a><a/></a></a>", SCAN},
    {"<a><a>1</a>2<a/>3</a>", SCAN},
    {"<_.-9aZ/>", SCAN},
    {"<message from='juliet@capulet.example/balcony' to='romeo@montague.example' type='chat' id='ktx72v49'><body>Art thou not "
     "Romeo, and a Montague?</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>",
     SCAN},
    {"<0123456789012345/>", EXPAT},
    {"<a01234567890123/>", SCAN},
    {"<a012345678901234/>", SCAN},
    {"<a0123456789012345/>", SCAN},
    {"<a" FIFTY FIFTY "/>", SCAN},
    {"< a/>", EXPAT},
    {"<a/ >", EXPAT},
    {"<a></ a>", EXPAT},
    {"<a></a/>", EXPAT},
    {"<a></a b='1'>", EXPAT},
    {"<a></b>", EXPAT},
    {"<a></aa>", EXPAT},
    {"<aa></a>", EXPAT},
    {"<a></A>", EXPAT},
    {"<a><b></a></b>", EXPAT},
    {"</a>", EXPAT},
    {"<1/>", EXPAT},
    {"<-a/>", EXPAT},
    {"<.a/>", EXPAT},
    {"<a!/>", EXPAT},
    {"<a;/>", EXPAT},
    {"<a\x01/>", EXPAT},
    {"<a\x0B/>", EXPAT},
    {"<a\x0C/>", EXPAT},
    {"<a\xC2\xA0/>", EXPAT},
    {"<a<b/>", EXPAT},
    {"<>", EXPAT},
    {"<a><></></a>", EXPAT},
    /* attributes */
    {"<a b='1'/>", SCAN},
    {"<a b=\"1\"/>", SCAN},
    {"<a b='\"' c=\"'\"/>", SCAN},
    {"<a b=''/>", SCAN},
    {"<a b='1' c='2' d='3'></a>", SCAN},
    {"<a b='1'/ >", EXPAT},
    {"<a b='1'c='2'/>", EXPAT},
    {"<a b='1''/>", EXPAT},
    {"<a b/>", EXPAT},
    {"<a b=/>", EXPAT},
    {"<a b=1/>", EXPAT},
    {"<a b=11/>", EXPAT},
    {"<a ='1'/>", EXPAT},
    {"<a '1'/>", EXPAT},
    {"<a b=='1'/>", EXPAT},
    {"<a b='1\"/>", EXPAT},
    {"<a 1='1'/>", EXPAT},
    {"<a b='<'/>", EXPAT},
    {"<a b='>'/>", SCAN},
    {"<a b='/>'>c</a>", SCAN},
    {"<a b='1' b='1'/>", EXPAT},
    {"<a b='1' c='2' b='3'/>", EXPAT},
    {"<a b='1' B='2'/>", SCAN},
    {"<a b='1' bb='2'/>", SCAN},
    {"<a bb='1' b='2'/>", SCAN},
    {"<a><b c='1'/><b c='1'/></a>", SCAN},
    {"<x a='' b='' c='' d='' e='' f='' g='' h='' i='' j='' k='' l='' m='' n='' o='' p=''/>", SCAN},
    {"<x a='' b='' c='' d='' e='' f='' g='' h='' i='' j='' k='' l='' m='' n='' o='' p='' p=''/>", EXPAT},
    {"<x a='' b='' c='' d='' e='' f='' g='' h='' i='' j='' k='' l='' m='' n='' o='' a=''/>", EXPAT},
    {"<a b='" FIFTY "\t" FIFTY "\n" FIFTY "\r" FIFTY "\r\n'/>", SCAN},
    {"<a b='\t'/>", SCAN},
    {"<a b='\n'/>", SCAN},
    {"<a b='\r'/>", SCAN},
    {"<a b='\r\n'/>", SCAN},
    {"<a b='\r\r\n\n\r'/>", SCAN},
    {"<a b='&#9;&#10;&#13;&#xD;&#xA;&#x9;'/>", SCAN},
    {"<a b='&lt;&gt;&amp;&apos;&quot;'/>", SCAN},
    {"<a b='  c  d  '/>", SCAN},
    /* space around = */
    {"<a b ='1'/>", SCAN},
    {"<a b= '1'/>", SCAN},
    {"<a b\n=\t\"1\"\r\n/>", SCAN},
    /* namespaces */
    {"<a xmlns='urn:x'/>", SCAN},
    {"<a xmlns='urn:x'><b/><c xmlns='urn:y'><d/></c><e/></a>", SCAN},
    {"<a xmlns='jabber:client'><b xmlns='jabber:client'/></a>", SCAN},
    {"<a><b xmlns='urn:x'><c xmlns='jabber:client'/></b></a>", SCAN},
    {"<a xmlns='urn:&amp;&#x78;'/>", EXPAT},
    {"<a xmlns='urn:x\n'/>", EXPAT},
    {"<a xmlns='" LONG_NS "'><b xmlns='urn:x'/><c/></a>", SCAN},
    {"<a><b xmlns='" LONGER_NS "'/><b xmlns='" LONGER_NS "'><c/></b></a>", SCAN},
    {"<a b='1' xmlns='urn:x' c='2'/>", SCAN},
    {"<a xmlns='urn:x'><b c='1'/></a>", SCAN},
    {"<a b='&lt;'><b xmlns='urn:x'/></a>", SCAN},
    {"<a><b xmlns='" STREAMS "'/></a>", SCAN},
    {"<a xmlns=''/>", SCAN},
    {"<a><b xmlns=''><c/></b><d/></a>", SCAN},
    {"<a xmlns='urn:x' xmlns='urn:x'/>", EXPAT},
    {"<a xmlns='" XML "'/>", EXPAT},
    {"<a xmlns='http://www.w3.org/2000/xmlns/'/>", EXPAT},
    {"<a><b xmlns='" XML "'/></a>", EXPAT},
    {"<a xmlns='http://www.w3.org/XML/1998/namespac&#x65;'/>", EXPAT},
    {"<a xmlns='http://www.w3.org/2000/xmlns&#47;'/>", EXPAT},
    {"<a xmlns='" STREAMS "'/>", EXPAT},
    {"<features xmlns='" STREAMS "'/>", EXPAT},
    {"<a xmlns='http://etherx.jabber.org/stream&#x73;'/>", EXPAT},
    {"<a xmlns='urn:\xC3\xA9'/>", SCAN},
    {"<a xmlns='urn:\xFF'/>", EXPAT},
    {"<a xmlns:p='urn:p'/>", EXPAT},
    {"<p:a xmlns:p='urn:p'/>", EXPAT},
    {"<a xmlns:xml='" XML "'/>", EXPAT},
    {"<a xmlns:xmlns='urn:x'/>", EXPAT},
    {"<a xmlns:='urn:x'/>", EXPAT},
    {"<a xmlnsx='urn:x'/>", SCAN},
    {"<a xmln='urn:x'/>", SCAN},
    {"<xmlns/>", SCAN},
    {"<h:a/>", EXPAT},
    {"<a><h:a/></a>", EXPAT},
    {"<a h:b='1'/>", EXPAT},
    {"<p:a/>", EXPAT},
    {"<a p:b='1'/>", EXPAT},
    {"<:a/>", EXPAT},
    {"<a:/>", EXPAT},
    {"<a:b:c/>", EXPAT},
    {"<a :b='1'/>", EXPAT},
    /* the stream's own prefix, and xml: */
    {"<stream:features/>", EXPAT},
    {"<stream:error><text xmlns='urn:x'/></stream:error>", EXPAT},
    {"<stream:a/>", EXPAT},
    {"<a><stream:a/></a>", EXPAT},
    {"<a stream:b='1'/>", EXPAT},
    {"<xml:a/>", EXPAT},
    {"<a xml:lang='de'/>", SCAN},
    {"<a xml:lang=''><b xml:lang='fr'>c</b></a>", SCAN},
    {"<a xml:lang='de' xml:lang='de'/>", EXPAT},
    {"<a lang='1' xml:lang='de'/>", SCAN},
    {"<a xml:space='preserve'> </a>", EXPAT},
    {"<a xml:base='b'/>", EXPAT},
    {"<a xml:langs='b'/>", EXPAT},
    {"<a xml:='b'/>", EXPAT},
    {"<a xml='b'/>", SCAN},
    /* references */
    {"<a>&lt;&gt;&amp;&apos;&quot;</a>", SCAN},
    {"<a>b&amp;c&amp;&amp;d</a>", SCAN},
    {"<a>&#65;&#x41;&#x4a;&#x4A;&#xe9;&#8364;&#x1D11E;</a>", SCAN},
    {"<a>&#0065;&#x00041;</a>", SCAN},
    {"<a>&#0000065;&#x000041;</a>", SCAN},
    {"<a>&#00000065;</a>", EXPAT},
    {"<a>&#x0000041;</a>", EXPAT},
    {"<a>&#9;&#10;&#13;&#x9;&#xA;&#xD;</a>", SCAN},
    {"<a>&#xD;\n&#13;&#10;</a>", SCAN},
    {"<a>&#x7F;&#x80;&#x7FF;&#x800;&#xD7FF;&#xE000;&#xFFFD;&#x10000;&#x1FFFE;&#x10FFFF;</a>", SCAN},
    {"<a>&#38;lt;</a>", SCAN},
    {"<a>&#60;b/></a>", SCAN},
    {"<a>]&#93;></a>", SCAN},
    {"<a>&#X41;</a>", EXPAT},
    {"<a>&#0;</a>", EXPAT},
    {"<a>&#x0;</a>", EXPAT},
    {"<a>&#1;</a>", EXPAT},
    {"<a>&#8;</a>", EXPAT},
    {"<a>&#xB;</a>", EXPAT},
    {"<a>&#xC;</a>", EXPAT},
    {"<a>&#xE;</a>", EXPAT},
    {"<a>&#x1F;</a>", EXPAT},
    {"<a>&#xD800;</a>", EXPAT},
    {"<a>&#xDBFF;&#xDC00;</a>", EXPAT},
    {"<a>&#xDFFF;</a>", EXPAT},
    {"<a>&#xFFFE;</a>", EXPAT},
    {"<a>&#xFFFF;</a>", EXPAT},
    {"<a>&#x110000;</a>", EXPAT},
    {"<a>&#1114112;</a>", EXPAT},
    {"<a>&#4294967361;</a>", EXPAT},
    {"<a>&#x100000041;</a>", EXPAT},
    {"<a>&#18446744073709551681;</a>", EXPAT},
    {"<a>&#;</a>", EXPAT},
    {"<a>&#x;</a>", EXPAT},
    {"<a>&#6a;</a>", EXPAT},
    {"<a>&#xg;</a>", EXPAT},
    {"<a>&# 65;</a>", EXPAT},
    {"<a>&#-65;</a>", EXPAT},
    {"<a>&#65</a>", EXPAT},
    {"<a>&;</a>", EXPAT},
    {"<a>& </a>", EXPAT},
    {"<a>&amp</a>", EXPAT},
    {"<a>&amp b;</a>", EXPAT},
    {"<a>&am;</a>", EXPAT},
    {"<a>&amps;</a>", EXPAT},
    {"<a>&AMP;</a>", EXPAT},
    {"<a>&nbsp;</a>", EXPAT},
    {"<a>&b</a>", EXPAT},
    {"<a b='&c;'/>", EXPAT},
    {"<a b='&#0;'/>", EXPAT},
    {"<a b='&'/>", EXPAT},
    {"<a b='&amp'/>", EXPAT},
    {"<a b='&lt'>;</a>", EXPAT},
    {"<a b='&#00000065;'/>", EXPAT},
    /* text */
    {"<a>b</a>", SCAN},
    {"<a>b<c/>d<e>f</e>g</a>", SCAN},
    {"<a> </a>", SCAN},
    {"<a>\t\n</a>", SCAN},
    {"<a>b\r\nc\rd\r\r\ne\n\r</a>", SCAN},
    {"<a>\r</a>", SCAN},
    {"<a>b\r<c/></a>", SCAN},
    {"<a>\r&#10;</a>", SCAN},
    {"<a>></a>", SCAN},
    {"<a>b'c\"d=e/f>g</a>", SCAN},
    {"<a>" FIFTY "\r" FIFTY "\r\n" FIFTY "&amp;" FIFTY "</a>", SCAN},
    {"<a>]]</a>", SCAN},
    {"<a>]]]</a>", SCAN},
    {"<a>]] ></a>", SCAN},
    {"<a>]]&gt;</a>", SCAN},
    {"<a>]]<b/>></a>", SCAN},
    {"<a>]]></a>", EXPAT},
    {"<a>b]]>c</a>", EXPAT},
    {"<a>]]]]></a>", EXPAT},
    {"<a>" FIFTY "]]>" FIFTY "</a>", EXPAT},
    {"<a b=']]>'/>", SCAN},
    {"<a><![CDATA[b]]></a>", EXPAT},
    {"<a><![CDATA[]]></a>", EXPAT},
    {"<a><!-- --></a>", EXPAT},
    {"<a><?b?></a>", EXPAT},
    {"<a><!DOCTYPE b></a>", EXPAT},
    {"<!-- -->", EXPAT},
    {"<?b?>", EXPAT},
    /* characters */
    {"<a b='\x7F'>\x7F</a>", SCAN},
    {"<a>\xC2\x80\xC2\x85\xDF\xBF</a>", SCAN},
    {"<a>\xE0\xA0\x80\xE2\x80\xA8\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBD\xEF\xBB\xBF</a>", SCAN},
    {"<a>\xF0\x90\x80\x80\xF0\x9F\xBF\xBE\xF0\x9F\xBF\xBF\xF4\x8F\xBF\xBF</a>", SCAN},
    {"<a b='\xC3\xA9\xE2\x82\xAC\xF0\x9D\x84\x9E'/>", SCAN},
    {"<a>012345678901234\xC3\xA9 0123456789012\xE2\x82\xAC 012345678901\xF0\x9D\x84\x9E</a>", SCAN},
    {"<a>\xEF\xBF\xBC\xEF\xBE\xBF\xEF\xBE\xBE</a>", SCAN},
    {"<\xC3\xA9/>", EXPAT},
    {"<a\xC2\xB7/>", EXPAT},
    {"<a \xC3\xA9='1'/>", EXPAT},
    {"<a>\x01</a>", EXPAT},
    {"<a>\x08</a>", EXPAT},
    {"<a>\x0B</a>", EXPAT},
    {"<a>\x0C</a>", EXPAT},
    {"<a>\x0E</a>", EXPAT},
    {"<a>\x1F</a>", EXPAT},
    {"<a b='\x01'/>", EXPAT},
    {"<a b='\x0B'/>", EXPAT},
    {"<a b='\x1F'/>", EXPAT},
    {"<a>" FIFTY "\x1F" FIFTY "</a>", EXPAT},
    {"<a>\x80</a>", EXPAT},
    {"<a>\xBF</a>", EXPAT},
    {"<a>\xC0\x80</a>", EXPAT},
    {"<a>\xC1\xBF</a>", EXPAT},
    {"<a>\xC2</a>", EXPAT},
    {"<a>\xC3\xA9\xA9</a>", EXPAT},
    {"<a>\xDF\x7F</a>", EXPAT},
    {"<a>\xDF\xC0</a>", EXPAT},
    {"<a>\xE0\x9F\xBF</a>", EXPAT},
    {"<a>\xE0\x80\x80</a>", EXPAT},
    {"<a>\xE2\x82</a>", EXPAT},
    {"<a>\xE2\x82\x7F</a>", EXPAT},
    {"<a>\xE2\xC2\x80</a>", EXPAT},
    {"<a>\xED\xA0\x80</a>", EXPAT},
    {"<a>\xED\xBF\xBF</a>", EXPAT},
    {"<a>\xEF\xBF\xBE</a>", EXPAT},
    {"<a>\xEF\xBF\xBF</a>", EXPAT},
    {"<a>\xF0\x8F\xBF\xBF</a>", EXPAT},
    {"<a>\xF0\x9D\x84</a>", EXPAT},
    {"<a>\xF0\x9D\x84\x7F</a>", EXPAT},
    {"<a>\xF4\x90\x80\x80</a>", EXPAT},
    {"<a>\xF5\x80\x80\x80</a>", EXPAT},
    {"<a>\xF8\x88\x80\x80\x80</a>", EXPAT},
    {"<a>\xFE</a>", EXPAT},
    {"<a>\xFF</a>", EXPAT},
    {"<a b='\xC0\x80'/>", EXPAT},
    {"<a b='\xED\xA0\x80'/>", EXPAT},
    {"<a b='\xEF\xBF\xBE'/>", EXPAT},
    {"<a b='\xF4\x90\x80\x80'/>", EXPAT},
    {"<a b='\xFF'/>", EXPAT},
    {"<a b='\xE2\x82'/>", EXPAT},
};

/* Between stanzas. `by`: what reads the stanza after it. */
static const struct row between[] = {
    {" ", SCAN},
    {"\n", SCAN},
    {"\r\n \t\r", SCAN},
    {"                                   ", SCAN},
    {"b", EXPAT},
    {"&#32;", EXPAT},
    {"&#65;", EXPAT},
    {"<![CDATA[ ]]>", EXPAT},
    {"\x0B", EXPAT},
    {"\xC2\xA0", EXPAT},
    {"\xEF\xBB\xBF", EXPAT},
    {"]]>", EXPAT},
    {">", EXPAT},
    {"[ ]] ]>  ]]>", EXPAT},
    {"]>&#10;]]>", EXPAT},
};

/* A parser that leaves everything to expat, or not. */
static xm_xml *new_xml(bool by_expat) {
  xm_xml *x;
  if (by_expat) setenv("XM_SCAN", "0", 1);
  else unsetenv("XM_SCAN");
  x = xm_xml_new("jabber:client", &login);
  assert_non_null(x);
  return x;
}

/* Feeds `s` after the header, first a piece of `first` bytes and then pieces of `size`; `by_expat`: everything is left
 * to expat. Returns how many stanzas were read without it. */
static long read_in_pieces(struct log *l, bool by_expat, const char *s, size_t first, size_t size) {
  size_t n = strlen(s), at = 0, piece = first;
  bool more;
  long scanned;
  xm_xml *x = new_xml(by_expat);
  more = feed(x, l, H, sizeof H - 1, true);
  for (; more && at < n; at += piece, piece = size) {
    if (piece > n - at) piece = n - at;
    more = feed(x, l, s + at, piece, true);
  }
  scanned = (long)xm_xml_scanned(x);
  xm_xml_free(x);
  return scanned;
}

/* The events are the same and end at the same bytes; and what is refused is refused at the same byte. */
static void check_same(const char *s, const struct log *got, const struct log *wanted) {
  if (got->n == wanted->n && got->fed == wanted->fed && memcmp(got->ends, wanted->ends, got->n * sizeof *got->ends) == 0 &&
      xm_buf_len(&got->text) == xm_buf_len(&wanted->text) &&
      memcmp(xm_buf_at(&got->text), xm_buf_at(&wanted->text), xm_buf_len(&got->text)) == 0)
    return;
  fail_msg("%s\ngives after %zu bytes\n%.*s\nnot after %zu\n%.*s", s, got->fed, (int)xm_buf_len(&got->text), xm_buf_at(&got->text),
           wanted->fed, (int)xm_buf_len(&wanted->text), xm_buf_at(&wanted->text));
}

/* How many events of this kind are there after the first event? */
static long count_lines(const struct log *l, char kind) {
  const char *at = xm_buf_at(&l->text), *end = at + xm_buf_len(&l->text);
  long n = 0;
  while (at && (at = memchr(at, '\n', (size_t)(end - at))) && ++at < end) n += *at == kind;
  return n;
}

/* Compares the events with those of expat alone. `scanned`: how many stanzas were read without it. Returns how many
 * there are that aren't skipped; -1: the stream is refused. */
static long compare(const char *s, const xm_bounds *bounds, size_t first, size_t size, long *scanned) {
  struct log got = {.after = bounds}, wanted = {.after = bounds};
  long n;
  assert_int_equal(read_in_pieces(&wanted, true, s, first, size), 0);
  *scanned = read_in_pieces(&got, false, s, first, size);
  check_same(s, &got, &wanted);
  n = count_lines(&wanted, 'E') ? -1 : count_lines(&wanted, 'S');
  log_free(&got);
  log_free(&wanted);
  return n;
}

/* Compares for `s` in one piece, byte by byte, and cut once at every place. All stanzas are read without expat, except
 * for `less`. (If a piece also has something that is left to expat, the rest of the piece may be, too, but nothing
 * before it.) */
static void check(const char *s, const xm_bounds *bounds, int by, long less) {
  size_t n = strlen(s), cut;
  bool is_first = strncmp(s, BEFORE, strlen(BEFORE)) != 0;
  for (cut = 0; cut <= n; cut++) {
    long scanned, all = compare(s, bounds, cut ? cut : 1, cut ? n : 1, &scanned);
    long most = all < 0 ? 1 : all - less, least = by == SCAN || (cut == 0 && all >= 0) ? most : !is_first;
    assert_true(all >= 0 || by == EXPAT);
    if (scanned < least || scanned > most) fail_msg("%s\ncut at %zu: %ld stanzas were read, not %ld", s, cut, scanned, most);
  }
}

/* A stanza that crosses a bound, or not, and an empty one after it. */
static void check_skipped(const char *stanza, const xm_bounds *bounds, int by, bool is_skipped) {
  struct log l = {.after = bounds};
  char s[300];
  snprintf(s, sizeof s, "%s<z/>", stanza);
  check(s, bounds, by, by && !is_skipped);
  read_in_pieces(&l, false, s, sizeof s, sizeof s);
  if (strchr(xm_buf_at(&l.text), '\n')[1] != (is_skipped ? 'K' : 'S'))
    fail_msg("%s\nis %sskipped", s, is_skipped ? "not " : "");
  log_free(&l);
}

static void what_is_ordinary_is_read_and_the_rest_is_left_to_expat(void **state) {
  char s[2000];
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    snprintf(s, sizeof s, BEFORE "%s<behind><b>c</b></behind>", rows[i].bytes);
    check(s, &real, rows[i].by, rows[i].by);
  }
}

static void only_white_space_is_scanned_between_stanzas(void **state) {
  char s[1000];
  size_t i;
  (void)state;
  for (i = 0; i < sizeof between / sizeof *between; i++) {
    snprintf(s, sizeof s, BEFORE "%s<behind><b>c</b></behind>%s", between[i].bytes, between[i].bytes);
    check(s, &real, between[i].by, 0);
  }
}

/* Only white space may follow a stream's end, whether or not a stanza comes before it in the same piece. */
static void the_end_of_the_stream_is_left_to_expat(void **state) {
  static const char *const rows[] = {"</stream:stream>", "</stream:stream >", " </stream:stream>\n", "</stream>", "</before>", "</stream:stream/>"};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    char s[100];
    snprintf(s, sizeof s, BEFORE "%s", rows[i]);
    check(s, &real, EXPAT, 0);
  }
}

/* Names and white space that are longer than what is scanned again of a tag when more input comes. */
static void only_short_names_and_spaces_are_scanned(void **state) {
  static const struct {
    const char *front;
    char fill;
    size_t most;
    const char *back;
  } rows[] = {{"<a", 'a', 254, "/>"},     {"<a b='1'", '\n', 253, "c='2'/>"}, {"<a b", 'b', 252, "='1'/>"},
              {"<a b", ' ', 252, "='1'/>"}, {"<a b=", ' ', 252, "'1'/>"},       {"<a></a", ' ', 511, ">"}};
  char s[2000], fill[600];
  size_t i, k;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    memset(fill, rows[i].fill, sizeof fill);
    for (k = 0; k < 2; k++) {
      snprintf(s, sizeof s, BEFORE "%s%.*s%s", rows[i].front, (int)(rows[i].most + k), fill, rows[i].back);
      check(s, &real, k ? EXPAT : SCAN, (long)k);
    }
  }
}

/* If the tag's end is there, it is read, however much white space it has; if it comes byte by byte, only up to a
 * limit. */
static void white_space_that_drips_is_left_to_expat(void **state) {
  int k, whole;
  (void)state;
  for (k = 0; k < 2; k++) {
    for (whole = 0; whole < 2; whole++) {
      struct log l = {.after = &real};
      char s[400];
      int n = snprintf(s, sizeof s, BEFORE "<a b='1'%*s/>", 255 + k, "");
      assert_int_equal(read_in_pieces(&l, false, s, whole ? (size_t)n : 1, 1), k && !whole ? 1 : 2);
      assert_int_equal(l.n, 3);
      log_free(&l);
    }
  }
}

/* Each bound: a stanza that just fits is read; one that has one more is left to expat, and skipped. (scan doesn't know
 * the attributes that a server adds and that don't count.) */
static void bounds_hold_to_the_last_one(void **state) {
  static const struct {
    const char *stanza;
    xm_bounds most;
  } rows[] = {
      /* stanza, start_tag, depth, attributes, nodes, ns */
      {"<a/>", {4, 4, 1, 0, 1, 0}},
      {"<a></a>", {7, 4, 1, 0, 1, 0}},
      {"<a b='1'/>", {10, 10, 1, 1, 1, 0}},
      {"<a b='1'></a  >", {15, 9, 1, 1, 1, 0}},
      {"<a></a   >", {10, 7, 1, 0, 1, 0}},
      {"<a to='1' from='2' xml:lang='3' b='4'/>", {39, 39, 1, 4, 1, 0}},
      {"<a><b to='1' from='2'/></a>", {27, 20, 2, 2, 2, 0}},
      {"<a><b c='1'/><b c='1'/><b c='1' d='2'/></a>", {43, 16, 2, 2, 4, 0}},
      {"<a b='1' c='2'><b c='1'/>t<b c='1' d='2'/></a>", {46, 16, 2, 2, 4, 0}},
      {"<a><b c='1' d='2' e='3'/></a>", {29, 22, 2, 3, 3, 0}},
      {"<a>t<b/>u<b/>v</a>", {18, 4, 2, 0, 6, 0}},
      {"<a>t&amp;u\r\nv&#65;<b/></a>", {26, 4, 2, 0, 3, 0}},
      {"<a><b><c><d/></c></b></a>", {25, 4, 4, 0, 4, 0}},
      {"<a xmlns='urn:x'><b/></a>", {25, 17, 2, 0, 2, 5}},
      {"<a><b xmlns='urn:xyz'/></a>", {27, 20, 2, 0, 2, 7}},
  };
  size_t *size, i;
  unsigned *number;
  int k;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    for (k = 0; k < 7; k++) {
      xm_bounds b = rows[i].most;
      b.ns = b.ns ? b.ns : 13; /* as long as the content namespace */
      size = k == 1 ? &b.stanza : k == 2 ? &b.start_tag : k == 3 && rows[i].most.ns ? &b.ns : NULL;
      number = k == 4 ? &b.depth : k == 5 ? &b.attributes : k == 6 ? &b.nodes : NULL;
      if (k && ((!size && !number) || (number && *number == 0))) continue;
      if (size) --*size;
      if (number) --*number;
      check_skipped(rows[i].stanza, &b, k ? EXPAT : SCAN, k > 0 && !(number == &b.attributes && strstr(rows[i].stanza, "lang")));
    }
  }
}

/* A stanza without a prefix is in the stream's default namespace, which must be the content namespace. */
static void only_a_header_with_the_content_namespace_will_do(void **state) {
  static const struct {
    const char *header;
    uint64_t scanned;
  } rows[] = {
      {"<stream:stream xmlns='jabber:client' xmlns:stream='" STREAMS "'>", 1},
      {"<?xml version='1.0'?>\n<s:stream xmlns:s='" STREAMS "' xmlns='jabber:client' version='1.0'>", 1},
      {"<stream:stream xmlns:stream='" STREAMS "'>", 0},
      {"<stream:stream xmlns='' xmlns:stream='" STREAMS "'>", 0},
      {"<stream:stream xmlns:c='jabber:client' xmlns:stream='" STREAMS "'>", 0},
      {"<stream:stream xmlns:c='jabber:client' xmlns='" STREAMS "' xmlns:stream='" STREAMS "'>", 0},
  };
  size_t i;
  int by_expat;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct log l[2] = {{.after = &real}, {.after = &real}};
    for (by_expat = 0; by_expat < 2; by_expat++) {
      xm_xml *x = new_xml(by_expat);
      if (feed(x, &l[by_expat], rows[i].header, strlen(rows[i].header), true)) feed(x, &l[by_expat], "<a/>", 4, true);
      assert_int_equal(xm_xml_scanned(x), by_expat ? 0 : rows[i].scanned);
      xm_xml_free(x);
    }
    check_same(rows[i].header, &l[0], &l[1]);
    log_free(&l[0]);
    log_free(&l[1]);
  }
}

/* During a login everything is left to expat, with the login's bounds; its memory is wiped. */
static void during_a_login_all_is_left_to_expat(void **state) {
  struct log l = {0};
  xm_xml *x = new_xml(false);
  (void)state;
  assert_true(feed(x, &l, H, sizeof H - 1, true) && feed(x, &l, "<a/>", 4, true));
  assert_int_equal(xm_xml_scanned(x), 0);
  xm_xml_set_bounds(x, &real, XM_XML_SKIP);
  assert_true(feed(x, &l, "<a/>", 4, true));
  assert_int_equal(xm_xml_scanned(x), 1);
  xm_xml_set_bounds(x, &login, XM_XML_REFUSE);
  assert_true(feed(x, &l, "<a/>", 4, true));
  assert_int_equal(xm_xml_scanned(x), 1);
  xm_xml_set_bounds(x, &real, XM_XML_SKIP);
  assert_true(feed(x, &l, "<a/>", 4, true));
  assert_int_equal(xm_xml_scanned(x), 2);
  assert_int_equal(xm_xml_restart(x), XM_OK);
  assert_false(feed(x, &l, "<a/>", 4, true)); /* without a root element */
  assert_int_equal(l.n, 5);
  log_free(&l);
  xm_xml_free(x);
}

/* Each stanza is counted anew, and that one has crossed a bound doesn't affect the next. */
static void a_stanza_counts_for_itself(void **state) {
  static const char s[] = "<a><b c='1' d='2'/>t<b c='1'/></a>", over[] = "<a>t<b/>t<b/>t</a>";
  const xm_bounds most = {34, 17, 2, 2, 4, 20};
  struct log l = {.after = &most};
  size_t number;
  int i;
  xm_xml *x = new_xml(false);
  (void)state;
  assert_true(feed(x, &l, H, sizeof H - 1, true));
  for (i = 0; i < 20; i++) {
    assert_true(feed(x, &l, s, sizeof s - 1, true));
    assert_int_equal(xm_xml_crossed(x, &number), XM_BOUND_NONE);
    assert_true(feed(x, &l, over, sizeof over - 1, true));
    assert_int_equal(xm_xml_crossed(x, &number), XM_BOUND_NODES);
  }
  assert_int_equal(l.n, 41);
  assert_int_equal(xm_xml_scanned(x), 20);
  log_free(&l);
  xm_xml_free(x);
}

/* No memory is kept for a tag without an end: what is too long for a tag is given to expat. */
static void what_has_no_end_is_not_waited_for(void **state) {
  static const struct {
    const char *first;
    char again;
  } rows[] = {{"<a b='", 'x'}, {"<a b='", '\t'}, {"<a ", ' '}, {"<a", 'a'}, {"<a></a", ' '}, {"<a>&#", '0'}, {"<a b='&#", '0'}};
  char piece[4096];
  size_t i, k;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct log l = {.after = &real};
    xm_xml *x = new_xml(false);
    memset(piece, rows[i].again, sizeof piece);
    assert_true(feed(x, &l, H, sizeof H - 1, true) && feed(x, &l, rows[i].first, strlen(rows[i].first), true));
    for (k = 0; k < 2000 && feed(x, &l, piece, sizeof piece, true); k++) continue;
    assert_true(k >= 1000 && k <= 1100); /* 4 MiB */
    assert_non_null(memmem(xm_buf_at(&l.text), xm_buf_len(&l.text), "E policy-violation", 18));
    log_free(&l);
    xm_xml_free(x);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_ordinary_is_read_and_the_rest_is_left_to_expat),
      cmocka_unit_test(only_white_space_is_scanned_between_stanzas),
      cmocka_unit_test(the_end_of_the_stream_is_left_to_expat),
      cmocka_unit_test(only_short_names_and_spaces_are_scanned),
      cmocka_unit_test(white_space_that_drips_is_left_to_expat),
      cmocka_unit_test(bounds_hold_to_the_last_one),
      cmocka_unit_test(a_stanza_counts_for_itself),
      cmocka_unit_test(only_a_header_with_the_content_namespace_will_do),
      cmocka_unit_test(during_a_login_all_is_left_to_expat),
      cmocka_unit_test(what_has_no_end_is_not_waited_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
