/* jid: the tables of RFC 7622, domains and addresses, lengths, splitting and comparing. t_jid_hostile.c has hostile
 * input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "jid.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define TEN "abcdefghij"
#define FIFTY TEN TEN TEN TEN TEN
#define LABEL_63 FIFTY TEN "klm"

static int parse(xm_jid *j, const char *s, const char **reason) {
  *reason = NULL;
  return xm_jid_parse(j, s, strlen(s), reason);
}

static void check_is(const xm_jid *j, const char *local, const char *domain, const char *resource) {
  char whole[XM_JID_MAX + 1];
  snprintf(whole, sizeof whole, "%s%s%s%s%s", local, *local ? "@" : "", domain, *resource ? "/" : "", resource);
  assert_string_equal(j->str, whole);
  assert_int_equal(j->local_len, strlen(local));
  assert_int_equal(j->domain_len, strlen(domain));
  assert_int_equal(j->resource_len, strlen(resource));
  assert_int_equal(xm_jid_len(j), strlen(whole));
  assert_memory_equal(xm_jid_local(j), local, strlen(local));
  assert_memory_equal(xm_jid_domain(j), domain, strlen(domain));
  if (*resource) assert_string_equal(xm_jid_resource(j), resource);
}

static void check_valid(const char *s, const char *local, const char *domain, const char *resource) {
  const char *reason;
  xm_jid j, again;
  if (parse(&j, s, &reason) < 0) fail_msg("%s: %s", s, reason);
  check_is(&j, local, domain, resource);
  assert_true(xm_jid_is(&j, s, strlen(s)));
  assert_int_equal(xm_jid_parse(&again, j.str, xm_jid_len(&j), &reason), XM_OK);
  check_is(&again, local, domain, resource);
}

static void check_invalid_n(const char *s, size_t n, const char *why) {
  const char *reason = "";
  xm_jid j = {.str = "untouched"};
  int rc = xm_jid_parse(&j, s, n, &reason);
  if (rc != XM_EINVAL) fail_msg("%s is taken (%d)", s, rc);
  if (!strstr(reason, why)) fail_msg("%s: \"%s\", not \"%s\"", s, reason, why);
  assert_string_equal(j.str, "untouched");
}

static void check_invalid(const char *s, const char *why) {
  check_invalid_n(s, strlen(s), why);
}

/* `list` is addresses with single spaces between them. */
static void check_each_invalid(const char *list, const char *why) {
  char copy[1024], *rest = copy, *s;
  assert_true(strlen(list) < sizeof copy);
  strcpy(copy, list);
  while ((s = strsep(&rest, " "))) check_invalid(s, why);
}

static void rfc7622_valid(void **state) {
  (void)state;
  check_valid("juliet@example.com", "juliet", "example.com", "");
  check_valid("juliet@example.com/foo", "juliet", "example.com", "foo");
  check_valid("juliet@example.com/foo bar", "juliet", "example.com", "foo bar");
  check_valid("juliet@example.com/foo@bar", "juliet", "example.com", "foo@bar");
  check_valid("foo\\20bar@example.com", "foo\\20bar", "example.com", "");
  check_valid("fussball@example.com", "fussball", "example.com", "");
  check_valid("fußball@example.com", "fußball", "example.com", "");
  check_valid("π@example.com", "π", "example.com", "");
  check_valid("Σ@example.com/foo", "σ", "example.com", "foo");
  check_valid("ς@example.com/foo", "ς", "example.com", "foo");
  check_valid("king@example.com/♚", "king", "example.com", "♚");
  check_valid("example.com", "", "example.com", "");
  check_valid("example.com/foobar", "", "example.com", "foobar");
  check_valid("a.example.com/b@example.net", "", "a.example.com", "b@example.net");
  check_valid("juliet@example.com/ foo", "juliet", "example.com", " foo"); /* erratum 4560 */
}

static void rfc7622_invalid(void **state) {
  (void)state;
  check_invalid("\"juliet\"@example.com", "localpart has a character");
  check_invalid("foo bar@example.com", "localpart has a character");
  check_invalid("@example.com/", "localpart is empty");
  check_invalid("henry\u2163@example.com", "localpart has a character");
  check_invalid("♚@example.com", "localpart has a character");
  check_invalid("juliet@", "domainpart is empty");
  check_invalid("/foobar", "domainpart is empty");
  check_invalid("", "domainpart is empty");
  check_invalid("juliet@example.com/", "resourcepart is empty");
  check_invalid("a@b@example.com", "domainpart has a character");
}

/* What RFC 7622 3.3.1 forbids in localparts, directly and after width mapping; resourceparts may contain all of it. */
static void forbidden_in_localparts(void **state) {
  (void)state;
  check_each_invalid(
      "a\"@d a&@d a'@d a:@d a<@d a>@d \uFF02@d \uFF06@d \uFF07@d \uFF0F@d \uFF1A@d \uFF1C@d \uFF1E@d \uFF20@d",
      "localpart has a character");
  check_valid("d/\"&'/:<>@\uFF02\uFF20", "", "d", "\"&'/:<>@\uFF02\uFF20");
  check_valid("a!#$%^*()_+-={}|\\;?,.`~[]@d", "a!#$%^*()_+-={}|\\;?,.`~[]", "d", "");
}

static void domains(void **state) {
  (void)state;
  check_valid("EXAMPLE.Com.", "", "example.com", "");
  check_valid("a@localhost/r", "a", "localhost", "r");
  check_valid("1.example", "", "1.example", "");
  check_valid(LABEL_63, "", LABEL_63, "");
  check_invalid(".", "domainpart is empty");
  check_each_invalid("a..b a.. .a a@.b/r ..", "empty label");
  check_invalid(LABEL_63 "x.example", "label longer than 63");
  check_each_invalid("ex_ample.com example.com:5222 *.example a,b ::1 \x7F", "domainpart has a character");
  check_invalid("exam ple.com", "domainpart has a character");
  check_invalid_n("a\0b", 3, "domainpart has a character");
  check_each_invalid("-a.example a-.example a.-", "begins or ends with a hyphen");
  check_each_invalid("ab--cd.example a.ab--c", "hyphens in the third");
}

static void addresses(void **state) {
  (void)state;
  check_valid("a@192.0.2.1", "a", "192.0.2.1", "");
  check_valid("１９２.0.2.1", "", "192.0.2.1", "");
  check_valid("[::1]", "", "[::1]", "");
  check_valid("a@[2001:DB8::1]/r", "a", "[2001:db8::1]", "r");
  check_valid("[::ffff:192.0.2.1]", "", "[::ffff:192.0.2.1]", "");
  check_each_invalid("192.0.2.256 192.0.2.01 1234567890.1234567890.1.1", "IPv4");
  check_each_invalid("[::1 [ [] [:::1] [192.0.2.1] [example.com] [::1]. [1:2:3:4:5:6:7:8:9]", "IPv6");
  check_each_invalid("[fe80::1%eth0] [fe80::1%25eth0] [fe80::1%1]", "IPv6"); /* RFC 9844: no zones */
  check_invalid("[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]", "IPv6");
  check_invalid_n("[::1\0]", 6, "IPv6");
}

static void international_domains(void **state) {
  (void)state;
  check_valid("faß.de", "", "faß.de", "");
  check_valid("FASS\u0327.example", "", "fasş.example", "");
  check_valid("xn--fa-hia.de", "", "faß.de", "");
  check_valid("a@XN--FA-HIA.DE./r", "a", "faß.de", "r");
  check_valid("ｅｘａｍｐｌｅ。com。", "", "example.com", "");
  check_valid("\u05D0.example", "", "\u05D0.example", "");
  check_each_invalid("☃.example xn--n3h.example", "internationalized"); /* they are the same name */
  check_each_invalid("xn--.example xn--abc-.example xn--a.example xn--Fa\u00DF-hia.de", "internationalized");
  check_each_invalid("a\u200Db.example \u05D0a.example ab--cß.example", "internationalized");
  check_each_invalid("_a.ß.example \u2100.example a\uFF20b.example", "domainpart has a character");
  check_each_invalid("ß..example .ß ß。。", "empty label");
  check_invalid("。", "domainpart is empty");
  check_invalid_n("ß\0.example", 10, "domainpart has a character");
}

static void ascii_domains(void **state) {
  static const char *const rows[][2] = {{"a@example.com/r", "example.com"},
                                        {"a@faß.de/r", "xn--fa-hia.de"},
                                        {"[::1]/r", "::1"},
                                        {"192.0.2.1", "192.0.2.1"}};
  char out[256];
  const char *reason;
  xm_jid j;
  size_t i;
  (void)state;
  for (i = 0; i < COUNT(rows); i++) {
    size_t n = strlen(rows[i][1]);
    assert_int_equal(parse(&j, rows[i][0], &reason), XM_OK);
    assert_int_equal(xm_jid_ascii_domain(&j, out, n + 1), XM_OK);
    assert_string_equal(out, rows[i][1]);
    assert_int_equal(xm_jid_ascii_domain(&j, out, n), XM_EINVAL);
    assert_int_equal(xm_jid_ascii_domain(&j, out, 0), XM_EINVAL);
  }
}

/* `before`, then `n` times `unit`, then `after`. */
static const char *stretched(const char *before, const char *unit, size_t n, const char *after) {
  static char whole[4 * XM_JID_MAX];
  char *to = stpcpy(whole, before);
  while (n--) to = stpcpy(to, unit);
  strcpy(to, after);
  return whole;
}

static void check_split_invalid(const char *s, const char *why) {
  const char *reason = "";
  xm_jid_parts p;
  assert_int_equal(xm_jid_split(&p, s, strlen(s), &reason), XM_EINVAL);
  if (!strstr(reason, why)) fail_msg("\"%s\", not \"%s\"", reason, why);
}

static void lengths_of_parts(void **state) {
  const char *reason;
  xm_jid_parts p;
  xm_jid j;
  (void)state;
  assert_int_equal(parse(&j, stretched("", "a", 1023, "@d"), &reason), XM_OK);
  assert_int_equal(j.local_len, 1023);
  assert_int_equal(parse(&j, stretched("d/", "a", 1023, ""), &reason), XM_OK);
  assert_int_equal(j.resource_len, 1023);
  check_invalid(stretched("", "a", 1024, "@d"), "localpart is longer");
  check_invalid(stretched("d/", "a", 1024, ""), "resourcepart is longer");
  assert_int_equal(xm_jid_split(&p, stretched("", "a", 1023, "@d"), 1025, &reason), XM_OK);
  assert_int_equal(xm_jid_split(&p, stretched("", "a", 1023, ""), 1023, &reason), XM_OK);
  assert_int_equal(xm_jid_split(&p, stretched("d/", "a", 1023, ""), 1025, &reason), XM_OK);
  check_split_invalid(stretched("", "a", 1024, "@d"), "localpart is longer");
  check_split_invalid(stretched("", "a", 1024, ""), "domainpart is longer");
  check_split_invalid(stretched("d/", "a", 1024, ""), "resourcepart is longer");
}

/* The length after preparation counts. */
static void lengths_after_preparation(void **state) {
  const char *reason;
  xm_jid j;
  (void)state;
  assert_int_equal(parse(&j, stretched("", "\uFF41", 1023, "@d"), &reason), XM_OK);
  assert_int_equal(j.local_len, 1023);
  assert_int_equal(parse(&j, stretched("d/", "é", 511, "a"), &reason), XM_OK);
  assert_int_equal(j.resource_len, 1023);
  check_invalid(stretched("", "\uFF41", 1024, "@d"), "localpart is longer");
  check_invalid(stretched("", "\uFF41", 4000, "@d"), "localpart is longer");
  check_invalid(stretched("d/", "é", 512, ""), "resourcepart is longer");
  check_invalid(stretched("d/", "\u00A0", 1024, ""), "resourcepart is longer");
}

static void lengths_in_dns(void **state) {
  const char *reason;
  xm_jid j;
  (void)state;
  assert_int_equal(parse(&j, stretched("", LABEL_63 ".", 3, FIFTY TEN "a."), &reason), XM_OK);
  assert_int_equal(j.domain_len, 253); /* a final dot doesn't count */
  check_invalid(stretched("", LABEL_63 ".", 3, FIFTY TEN "ab"), "longer than 253");
  check_invalid(stretched("", LABEL_63 ".", 3, FIFTY "abcßfg"), "longer than 253");
  assert_int_equal(parse(&j, stretched("", LABEL_63 ".", 3, "\u7532.example"), &reason), XM_OK);
  check_invalid(stretched("", "ß.", 600, "example"), "longer than 253");
  check_invalid(stretched("", "ß", 64, ""), "label longer than 63");
  check_invalid(stretched("", "ß", 2100, ""), "domainpart is longer");
  check_invalid(stretched("", "a.", 5000, ""), "domainpart is longer");
}

static void check_split(const char *s, const char *local, const char *domain, const char *resource) {
  const char *reason = NULL;
  xm_jid_parts p;
  if (xm_jid_split(&p, s, strlen(s), &reason) < 0) fail_msg("%s: %s", s, reason);
  assert_int_equal(p.local_len, local ? strlen(local) : 0);
  assert_int_equal(p.domain_len, strlen(domain));
  assert_int_equal(p.resource_len, resource ? strlen(resource) : 0);
  assert_memory_equal(p.domain, domain, p.domain_len);
  if (local) assert_memory_equal(p.local, local, p.local_len);
  if (resource) assert_memory_equal(p.resource, resource, p.resource_len);
  assert_int_equal(p.local == NULL, local == NULL);
  assert_int_equal(p.resource == NULL, resource == NULL);
}

static void splitting(void **state) {
  const char *reason;
  xm_jid_parts p;
  (void)state;
  check_split("d", NULL, "d", NULL);
  check_split("a@d", "a", "d", NULL);
  check_split("a@d/r", "a", "d", "r");
  check_split("d/a@b/c", NULL, "d", "a@b/c");
  check_split("a@d//@//", "a", "d", "/@//");
  check_split("a@b@c/r", "a", "b@c", "r");
  check_split("♚ X@EXAMPLE..com./\t", "♚ X", "EXAMPLE..com.", "\t"); /* splitting checks nothing else */
  check_split_invalid("", "domainpart is empty");
  check_split_invalid("a@", "domainpart is empty");
  check_split_invalid("/r", "domainpart is empty");
  check_split_invalid("a@/r", "domainpart is empty");
  check_split_invalid("@", "localpart is empty");
  check_split_invalid("@d/r", "localpart is empty");
  check_split_invalid("a@d/", "resourcepart is empty");
  check_split_invalid("\xFF@d", "localpart is not valid UTF-8");
  check_split_invalid("\xFF", "domainpart is not valid UTF-8");
  check_split_invalid("d/\xC0\x80", "resourcepart is not valid UTF-8");
  assert_int_equal(xm_jid_split(&p, NULL, 0, &reason), XM_EINVAL);
}

static bool same(const xm_jid *j, const char *s) {
  return xm_jid_is(j, s, strlen(s));
}

/* By RFC 6122: how a server writes an address in what it sends. NULL: it isn't a valid address there. */
static void check_written(const char *s, const char *expected) {
  xm_jid j;
  int rc = xm_jid_written(&j, s, strlen(s));
  if (rc != (expected ? XM_OK : XM_EINVAL)) fail_msg("%s: %d", s, rc);
  if (expected) assert_string_equal(j.str, expected);
  if (expected) assert_int_equal(xm_jid_len(&j), strlen(expected));
}

static void written_as_older_servers_do(void **state) {
  (void)state;
  check_written("Juliet@Example.COM./Balcony", "juliet@example.com/Balcony");
  check_written("straße@d", "strasse@d");
  check_written("σίσυφος@d", "σίσυφοσ@d");
  check_written("\uFB01sh@d/\uFB01sh", "fish@d/fish");
  check_written("room@d/nick\u2764\uFE0F", "room@d/nick\u2764");
  check_written("room@d/ﬀß\u00AD", "room@d/ffß"); /* Resourceprep doesn't fold case */
  check_written("faß.example/\u2168", "faß.example/IX");
  check_written("xn--fa-hia.example", "faß.example");
  check_written("\U0001F600@d/\U0001F600\uFE0F", "\U0001F600@d/\U0001F600"); /* unassigned in Unicode 3.2 */
  check_written("a@d/\u202E", NULL);
  check_written("a@d/\u00AD", NULL);
  check_written("\u00AD@d", NULL);
  check_written("a b@d", NULL);
  check_written("\u2100@d", NULL); /* NFKC makes it "a/c" */
  check_written("@d", NULL);
  check_written("d/", NULL);
  check_written("", NULL);
  check_written("a@\xFF", NULL);
  check_written("\xFF@d", NULL);
}

static void comparing(void **state) {
  const char *reason;
  xm_jid j;
  (void)state;
  assert_int_equal(parse(&j, "juliet@faß.example/R\u00E9", &reason), XM_OK);
  assert_true(same(&j, "juliet@faß.example/R\u00E9"));
  assert_true(same(&j, "JULIET@FAß.example./Re\u0301"));
  assert_true(same(&j, "juliet@xn--fa-hia.example/R\u00E9"));
  assert_false(same(&j, "juliet@faß.example"));
  assert_false(same(&j, "juliet@faß.example/r\u00E9"));
  assert_false(same(&j, "juliet@faß.example/R\u00E9 "));
  assert_false(same(&j, "faß.example/R\u00E9"));
  assert_false(same(&j, "juliet@fass.example/R\u00E9"));
  assert_false(same(&j, "romeo@faß.example/R\u00E9"));
  assert_false(same(&j, "juliet@"));
  assert_false(same(&j, ""));
  assert_int_equal(parse(&j, "straße@d/\u2460", &reason), XM_OK);
  assert_true(same(&j, "strasse@d/1"));
  assert_true(same(&j, "STRASSE@D/1"));
  assert_false(same(&j, "strase@d/1"));
  assert_false(same(&j, "strasse@d/2"));
  assert_int_equal(parse(&j, "strasse@d/1", &reason), XM_OK);
  assert_false(same(&j, "straße@d/1")); /* so an answer from this address is somebody else's */
  assert_false(same(&j, "strasse@d/\u2460"));
}

static void resources(void **state) {
  const char *reason;
  xm_jid j;
  (void)state;
  assert_int_equal(parse(&j, "a@d/first", &reason), XM_OK);
  assert_int_equal(xm_jid_set_resource(&j, "a\u3000b", 5, &reason), XM_OK);
  check_is(&j, "a", "d", "a b");
  assert_int_equal(xm_jid_set_resource(&j, "\t", 1, &reason), XM_EINVAL);
  assert_string_equal(reason, "the resourcepart has a character that is not allowed there");
  check_is(&j, "a", "d", "a b");
  assert_int_equal(xm_jid_set_resource(&j, xm_jid_resource(&j) + 1, 2, &reason), XM_OK); /* a part of itself */
  check_is(&j, "a", "d", " b");
  assert_int_equal(xm_jid_set_resource(&j, NULL, 0, &reason), XM_OK);
  check_is(&j, "a", "d", "");
  assert_int_equal(xm_jid_parse(&j, xm_jid_domain(&j), 1, &reason), XM_OK);
  check_is(&j, "", "d", "");
}

static void opaque_strings(void **state) {
  char out[8];
  size_t n = 0;
  const char *reason = NULL;
  (void)state;
  assert_int_equal(xm_jid_opaque_string("p\u00A0ss", 5, out, sizeof out, &n, &reason), XM_OK);
  assert_int_equal(n, 4);
  assert_memory_equal(out, "p ss", 4);
  assert_int_equal(xm_jid_opaque_string("12345678", 8, out, sizeof out, &n, &reason), XM_OK);
  assert_int_equal(xm_jid_opaque_string("123456789", 9, out, sizeof out, &n, &reason), XM_ELIMIT);
  assert_int_equal(xm_jid_opaque_string("1234567é", 9, out, sizeof out, &n, &reason), XM_ELIMIT);
  assert_int_equal(xm_jid_opaque_string("é", 2, out, 0, &n, &reason), XM_ELIMIT);
  assert_null(reason);
  assert_int_equal(xm_jid_opaque_string("", 0, out, sizeof out, &n, &reason), XM_EINVAL);
  assert_string_equal(reason, "the password is empty");
  assert_int_equal(xm_jid_opaque_string("\xFF", 1, out, sizeof out, &n, &reason), XM_EINVAL);
  assert_string_equal(reason, "the password is not valid UTF-8");
  assert_int_equal(xm_jid_opaque_string("a\nb", 3, out, sizeof out, &n, &reason), XM_EINVAL);
  assert_string_equal(reason, "the password has a character that is not allowed there");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rfc7622_valid),  cmocka_unit_test(rfc7622_invalid),  cmocka_unit_test(forbidden_in_localparts),
      cmocka_unit_test(domains),        cmocka_unit_test(addresses),        cmocka_unit_test(international_domains),
      cmocka_unit_test(ascii_domains),  cmocka_unit_test(lengths_of_parts), cmocka_unit_test(lengths_after_preparation),
      cmocka_unit_test(lengths_in_dns), cmocka_unit_test(splitting),        cmocka_unit_test(comparing),
      cmocka_unit_test(written_as_older_servers_do),
      cmocka_unit_test(resources),      cmocka_unit_test(opaque_strings),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
