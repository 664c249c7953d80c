/* wirelog: what of a stanza is masked, however it is cut, and also after a stream that was cut off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the four headers above */
#include <cmocka.h>

#include "wirelog.h"

static const struct {
  const char *said, *shown;
} rows[] = {
    {"<message><body>my password</body></message>", "<message><body>my password</body></message>"},
    {"<iq type='set'><query xmlns='jabber:iq:register'><username>a</username><password>s3cret</password></query></iq>",
     "<iq type='set'><query xmlns='jabber:iq:register'><username>a</username><password>[masked]</password></query></iq>"},
    {"<query xmlns='jabber:iq:auth'><digest>s3cret</digest><resource>r</resource></query>",
     "<query xmlns='jabber:iq:auth'><digest>[masked]</digest><resource>r</resource></query>"},
    {"<x xmlns='http://jabber.org/protocol/muc'><password>s3&lt;cret</password><history/></x>",
     "<x xmlns='http://jabber.org/protocol/muc'><password>[masked]</password><history/></x>"},
    {"<x xmlns='jabber:x:conference' jid='r@c' password='s3cret' reason='none'/>",
     "<x xmlns='jabber:x:conference' jid='r@c' password='[masked]' reason='none'/>"},
    {"<x password=\"s3'cret\" a='b'/>", "<x password=\"[masked]\" a='b'/>"},
    {"<x my-password='b' a=' password='/>", "<x my-password='b' a=' password='/>"},
    {"<password/><body>b</body>", "<password/><body>b</body>"},
    {"<password></password><body>b</body>", "<password></password><body>b</body>"},
    {"<password a='>'>s3cret</password>", "<password a='>'>[masked]</password>"},
    {"<passwords>p</passwords><pass>p</pass>", "<passwords>p</passwords><pass>p</pass>"},
    {"<field var='a' type='text-private'><value>s3cret</value><value>s3cret</value></field><field var='b'><value>v</value></field>",
     "<field var='a' type='text-private'><value>[masked]</value><value>[masked]</value></field>"
     "<field var='b'><value>v</value></field>"},
    {"<field var='muc#roomconfig_roomsecret'><value>s3cret</value></field>",
     "<field var='muc#roomconfig_roomsecret'><value>[masked]</value></field>"},
    {"<field var='password-verify'><value>s3cret</value></field>", "<field var='password-verify'><value>[masked]</value></field>"},
    /* a token (XEP-0484), in any element */
    {"<success xmlns='urn:xmpp:sasl:2'><token xmlns='urn:xmpp:fast:0' token='s3cret' expiry='2026-01-01T00:00:00Z'/><x/></success>",
     "<success xmlns='urn:xmpp:sasl:2'><token xmlns='urn:xmpp:fast:0' token='[masked]' expiry='2026-01-01T00:00:00Z'/><x/></success>"},
    {"<token expiry='e' token=\"s3'c>ret\"/>t", "<token expiry='e' token=\"[masked]\"/>t"},
    {"<token token='' expiry='e'/>", "<token token='' expiry='e'/>"},
    {"<token token='s3cret'/><token token='s3cret'/>", "<token token='[masked]'/><token token='[masked]'/>"},
    {"<x token='s3cret' password='s3cret' a='b'/>", "<x token='[masked]' password='[masked]' a='b'/>"},
    {"<token>t</token><x my-token='t' tokens='t' a=' token='/>", "<token>t</token><x my-token='t' tokens='t' a=' token='/>"},
    {"<field type='text-private'/><value>v</value>", "<field type='text-private'/><value>v</value>"},
};
enum { ROWS = sizeof rows / sizeof *rows };

/* The texts of all records, one after the other. */
static void take(xm_wirelog *log, char *to) {
  const char *at = xm_buf_at(&log->records), *end = at + xm_buf_len(&log->records);
  *to = '\0';
  while (at < end) {
    size_t n;
    memcpy(&n, at + 1, sizeof n);
    strncat(to, at + 1 + sizeof n, n);
    at += 1 + sizeof n + n;
  }
  xm_buf_clear(&log->records);
}

/* However it is cut. */
static void secrets_are_masked(void **state) {
  size_t i, piece, at;
  char got[2000];
  (void)state;
  for (i = 0; i < ROWS; i++) {
    size_t n = strlen(rows[i].said);
    for (piece = 1; piece <= n; piece++) {
      xm_wirelog log = {.on = true};
      for (at = 0; at < n; at += piece)
        xm_wirelog_text(&log, '>', rows[i].said + at, n - at < piece ? n - at : piece);
      take(&log, got);
      if (strcmp(got, rows[i].shown) != 0) fail_msg("row %zu, pieces of %zu: %s", i, piece, got);
      xm_buf_free(&log.records);
    }
  }
}

/* What is received arrives whole, so each record is independent of what is sent. */
static void what_comes_in_is_whole(void **state) {
  xm_wirelog log = {.on = true};
  char got[200];
  (void)state;
  xm_wirelog_text(&log, '>', "<iq><password>s3", 16);
  xm_wirelog_text(&log, '<', "<a>b</a>", 8);
  xm_wirelog_text(&log, '>', "cret</password></iq>", 20);
  take(&log, got);
  assert_string_equal(got, "<iq><password>[masked]<a>b</a></password></iq>");
  xm_buf_free(&log.records);
}

static void a_stream_begins_anew(void **state) {
  static const char *const cut[] = {"<iq><password>s3", "<iq a='", "<iq", "<field var='password'>"};
  size_t i;
  (void)state;
  for (i = 0; i < 4; i++) {
    xm_wirelog log = {.on = true};
    char got[200];
    xm_wirelog_text(&log, '>', cut[i], strlen(cut[i]));
    take(&log, got);
    xm_wirelog_begin(&log);
    xm_wirelog_text(&log, '>', "<?xml?><a b='c'>d<value>e</value></a>", 37);
    take(&log, got);
    assert_string_equal(got, "<?xml?><a b='c'>d<value>e</value></a>");
    xm_buf_free(&log.records);
  }
}

/* A tag of any length: its name, and its end. */
static void long_tags(void **state) {
  static char said[4000], got[4000];
  size_t n;
  (void)state;
  for (n = 0; n < 1000; n++) {
    xm_wirelog log = {.on = true};
    sprintf(said, "<password a='%0*d' password='s3cret'>s3cret</password><b c='%0*d'/>d<password e='%0*d'/>f", (int)n, 0,
            (int)n, 0, (int)n, 0);
    xm_wirelog_text(&log, '>', said, strlen(said));
    take(&log, got);
    assert_null(strstr(got, "s3cret"));
    assert_non_null(strstr(got, "'/>d<password e='"));
    assert_string_equal(got + strlen(got) - 4, "'/>f");
    xm_buf_free(&log.records);
  }
}

static void what_proves_the_password(void **state) {
  xm_wirelog log = {.on = true}, off = {.on = false};
  char got[200];
  (void)state;
  xm_wirelog_masked(&log, '>', "<auth mechanism='PLAIN'>s3cret</auth>", 37, true);
  xm_wirelog_masked(&log, '>', "<auth mechanism='PLAIN'>shown</auth>", 36, false);
  take(&log, got);
  assert_string_equal(got, "<auth mechanism='PLAIN'>[masked]</auth><auth mechanism='PLAIN'>shown</auth>");
  xm_wirelog_text(&off, '>', "<a/>", 4);
  assert_int_equal(xm_buf_len(&off.records), 0);
  xm_buf_free(&log.records);
}

/* SASL2 puts what proves the password and other children into one element: all of it is masked. */
static void what_is_said_in_one_exchange(void **state) {
  static const char authenticate[] = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-EXPR'><initial-response>s3cret"
                                     "</initial-response><user-agent id='i'/><fast xmlns='urn:xmpp:fast:0'/></authenticate>";
  static const char success[] = "<success xmlns='urn:xmpp:sasl:2'><additional-data>s3cret</additional-data>"
                                "<token xmlns='urn:xmpp:fast:0' token='s3cret' expiry='e'/></success>";
  xm_wirelog log = {.on = true};
  char got[1000];
  (void)state;
  xm_wirelog_masked(&log, '>', authenticate, strlen(authenticate), true);
  xm_wirelog_masked(&log, '<', success, strlen(success), true);
  take(&log, got);
  assert_string_equal(got, "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-EXPR'>[masked]</authenticate>"
                           "<success xmlns='urn:xmpp:sasl:2'>[masked]</success>");
  xm_wirelog_masked(&log, '<', success, strlen(success), false); /* if it isn't considered secret */
  take(&log, got);
  assert_null(strstr(got, "token='s3cret'"));
  xm_buf_free(&log.records);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(secrets_are_masked), cmocka_unit_test(what_comes_in_is_whole),
                                     cmocka_unit_test(a_stream_begins_anew), cmocka_unit_test(long_tags),
                                     cmocka_unit_test(what_proves_the_password), cmocka_unit_test(what_is_said_in_one_exchange)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
