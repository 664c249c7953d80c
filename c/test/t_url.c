/* url: what is accepted as a WebSocket's URL, and its parts; what isn't, and why. */
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

#include "url.h"

/* Reads a copy in a block of its own, so that a sanitizer notices reads beyond it. */
static const char *read_url(xm_url *u, const char *text, char **block) {
  *block = malloc(strlen(text) + 1);
  strcpy(*block, text);
  return xm_url_read(u, *block);
}

static void check(const char *text, bool secure, const char *host, int port, bool has_port, const char *path) {
  xm_url u;
  char *block;
  const char *why = read_url(&u, text, &block);
  if (why) fail_msg("%s: %s", text, why);
  assert_int_equal(u.secure, secure);
  assert_string_equal(u.host, host);
  assert_int_equal(u.literal, strchr(host, ':') != NULL);
  assert_int_equal(u.port, port);
  assert_int_equal(u.has_port, has_port);
  assert_string_equal(u.path, path);
  free(block);
}

static void urls_are_read(void **unused) {
  (void)unused;
  check("wss://example.net", true, "example.net", 443, false, "/");
  check("wss://example.net/", true, "example.net", 443, false, "/");
  check("wss://example.net:443/ws", true, "example.net", 443, false, "/ws");
  check("WSS://Example.NET:5443/a/b%20c?d=e&f=/?:@", true, "Example.NET", 5443, true, "/a/b%20c?d=e&f=/?:@");
  check("ws://127.0.0.1:5280/xmpp-websocket", false, "127.0.0.1", 5280, true, "/xmpp-websocket");
  check("ws://localhost:80", false, "localhost", 80, false, "/");
  check("wss://localhost:80", true, "localhost", 80, true, "/");
  check("wss://[::1]/ws", true, "::1", 443, false, "/ws");
  check("wss://[2001:db8::7]:65535", true, "2001:db8::7", 65535, true, "/");
  check("wss://a_b-c.example:1/@", true, "a_b-c.example", 1, true, "/@");
}

static void other_texts_are_refused(void **unused) {
  static const char *const bad[] = {
      "", "w", "wss", "wss:", "wss:/", "wss://", "wss:///ws", "https://example.net/", "http://example.net", "example.net", "wss:example.net",
      " wss://example.net", "wss://example.net/ ", "wss://example.net/a b", "wss://example.net/\r\nHost: x", "wss://example.net/\n",
      "wss://example.net/\x7f", "wss://example.net/\xc3\xa9", "wss://m\xc3\xbcnchen.example/", "wss://example.net/#a", "wss://example.net#a",
      "wss://user@example.net/", "wss://user:pw@example.net/", "wss://@example.net/", "wss://example.net\\@evil/", "wss://example.net:/",
      "wss://example.net:0/", "wss://example.net:65536/", "wss://example.net:99999999999999999999/", "wss://example.net:-1/",
      "wss://example.net:+1/", "wss://example.net:1x/", "wss://example.net:443:443/", "wss://example.net?a", "wss://.example.net/",
      "wss://example..net/", "wss://exa%6Dple.net/", "wss://[::1/ws", "wss://::1/ws", "wss://[::1]x/", "wss://[::g]/", "wss://[]/",
      "wss://[127.0.0.1]/", "wss://[fe80::1%eth0]/", "wss://[fe80::1%25eth0]/", "wss://exam,ple/", "wss://a/{b}", "wss://a/\"b\"", "wss://a/<b>",
      "wss://a/b|c", "wss://a/b^c", "wss://a/b`c"};
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof bad / sizeof *bad; i++) {
    xm_url u;
    char *block;
    if (!read_url(&u, bad[i], &block)) fail_msg("taken: %s", bad[i]);
    free(block);
  }
}

/* The longest URL, and one that is a byte longer. */
static void bounds(void **unused) {
  char text[XM_URL_MOST + 2], host[300];
  xm_url u;
  (void)unused;
  memset(text, 'a', sizeof text);
  memcpy(text, "wss://a/", 8);
  text[XM_URL_MOST] = '\0';
  assert_null(xm_url_read(&u, text));
  text[XM_URL_MOST] = 'a';
  text[XM_URL_MOST + 1] = '\0';
  assert_non_null(xm_url_read(&u, text));
  memset(host, 'a', sizeof host);
  memcpy(host, "wss://", 6);
  host[6 + 253] = '\0';
  assert_null(xm_url_read(&u, host));
  host[6 + 253] = 'a';
  host[6 + 254] = '\0';
  assert_non_null(xm_url_read(&u, host));
  host[6 + 254] = 'a';
  host[299] = '\0';
  assert_non_null(xm_url_read(&u, host));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(urls_are_read),
      cmocka_unit_test(other_texts_are_refused),
      cmocka_unit_test(bounds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
