/* upgrade: the request, byte for byte; the answer that is accepted, however it is cut; those that aren't, and their
 * errors; memory and randomness that run out. */
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

#include "err.h"
#include "rnd.h"

static bool no_randomness;

/* The nonce of the example in RFC 6455 1.3. */
static int test_rnd_bytes(void *p, size_t n) {
  if (no_randomness) return XM_EFAIL;
  assert_int_equal(n, 16);
  memcpy(p, "the sample nonce", n);
  return XM_OK;
}

#define xm_rnd_bytes test_rnd_bytes
#include "failing.h"

#include "../core/buf.c"
#include "../core/head.c"
#include "../core/b64.c"
#include "../core/upgrade.c"

#include "failing_off.h"
#undef xm_rnd_bytes

static xm_err err;

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define SWITCH "HTTP/1.1 101 Switching Protocols\r\n"
#define GOOD SWITCH "Upgrade: websocket\r\nConnection: Upgrade\r\n" ACCEPT "Sec-WebSocket-Protocol: xmpp\r\n\r\n"

static void check_request(const char *text, const char *path, const char *host) {
  xm_upgrade *u = xm_upgrade_new();
  xm_buf out = XM_BUF_INIT;
  char want[512];
  xm_url url;
  assert_null(xm_url_read(&url, text));
  assert_int_equal(xm_upgrade_ask(u, &url, &out, &err), XM_OK);
  assert_int_equal(xm_buf_putc(&out, '\0'), XM_OK);
  snprintf(want, sizeof want,
           "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Key: " KEY "\r\n\r\n",
           path, host);
  assert_string_equal(xm_buf_at(&out), want);
  xm_buf_free(&out);
  xm_upgrade_free(u);
}

static void the_request(void **unused) {
  (void)unused;
  check_request("wss://example.net", "/", "example.net");
  check_request("wss://example.net:443/ws?a=b", "/ws?a=b", "example.net");
  check_request("wss://example.net:80/ws", "/ws", "example.net:80");
  check_request("ws://example.net:443/ws", "/ws", "example.net:443");
  check_request("wss://[::1]:5443/ws", "/ws", "[::1]:5443");
  check_request("wss://[::1]/ws", "/ws", "[::1]");
}

static xm_upgrade *asked(void) {
  xm_upgrade *u = xm_upgrade_new();
  xm_buf out = XM_BUF_INIT;
  xm_url url;
  assert_non_null(u);
  assert_null(xm_url_read(&url, "wss://example.net"));
  assert_int_equal(xm_upgrade_ask(u, &url, &out, &err), XM_OK);
  xm_buf_free(&out);
  xm_err_clear(&err);
  return u;
}

/* Gives an answer in pieces of `piece` bytes; *taken: how many of them belonged to the head. */
static int answer(const char *s, size_t n, size_t piece, size_t *taken) {
  xm_upgrade *u = asked();
  int rc = 0;
  *taken = 0;
  while (*taken < n && rc == 0) {
    size_t used, len = n - *taken < piece ? n - *taken : piece;
    char *copy = malloc(len);
    memcpy(copy, s + *taken, len);
    rc = xm_upgrade_take(u, copy, len, &used, &err);
    free(copy);
    if (rc == 0) assert_int_equal(used, len);
    *taken += used;
  }
  xm_upgrade_free(u);
  return rc;
}

static void check_good(const char *s) {
  size_t piece, taken, n = strlen(s);
  for (piece = 1; piece <= n; piece++) {
    if (answer(s, n, piece, &taken) != 1) fail_msg("refused: %s: %s", s, err.text);
    assert_int_equal(taken, strstr(s, "xmpp") ? n : 0);
  }
}

static void good_answers(void **unused) {
  size_t taken;
  (void)unused;
  check_good(GOOD);
  check_good("HTTP/1.1 101\x20\r\nsec-websocket-protocol:xmpp\r\nCONNECTION: keep-alive, upgrade\r\nServer: x\r\nUPGRADE:WebSocket\r\n" ACCEPT "\r\n");
  check_good("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" GOOD);
  assert_int_equal(answer(GOOD "\x81\x04<a/>", sizeof GOOD - 1 + 6, 1000, &taken), 1);
  assert_int_equal(taken, sizeof GOOD - 1);
}

static void check_bad(const char *s, const char *condition, bool retry) {
  size_t piece, taken, n = strlen(s);
  for (piece = 1; piece <= n; piece = piece < 20 ? piece + 1 : piece * 3) {
    if (answer(s, n, piece, &taken) != XM_EFAIL) fail_msg("not refused: %s", s);
    assert_int_equal(err.layer, XM_LAYER_WEBSOCKET);
    if (strcmp(err.condition, condition) != 0) fail_msg("%s: %s, not %s", s, err.condition, condition);
    assert_int_equal(err.retry, retry);
  }
}

static void other_statuses(void **unused) {
  static const int passing[] = {408, 425, 429, 500, 502, 503, 504, 599}, final[] = {200, 204, 300, 301, 302, 307, 308, 400, 401, 403, 404, 405, 407, 426, 501, 505};
  char text[200], condition[16];
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof passing / sizeof *passing; i++) {
    snprintf(text, sizeof text, "HTTP/1.1 %d Busy\r\nContent-Length: 5\r\n\r\nlater", passing[i]);
    snprintf(condition, sizeof condition, "http-%d", passing[i]);
    check_bad(text, condition, true);
  }
  for (i = 0; i < sizeof final / sizeof *final; i++) {
    snprintf(text, sizeof text, "HTTP/1.0 %d No\r\nLocation: wss://evil.example/\r\n\r\n", final[i]);
    snprintf(condition, sizeof condition, "http-%d", final[i]);
    check_bad(text, condition, false);
  }
  check_bad("HTTP/1.1 302 Found\r\nLocation: wss://other.example/ws\r\n\r\n", "http-302", false);
  assert_non_null(strstr(err.text, "wss://other.example/ws"));
  check_bad("HTTP/1.1 404 \r\n\r\n", "http-404", false);
}

static void no_websockets(void **unused) {
  static const char fields[4][64] = {"Upgrade: websocket\r\n", "Connection: Upgrade\r\n", ACCEPT, "Sec-WebSocket-Protocol: xmpp\r\n"};
  static const char *const conditions[] = {"not-websocket", "not-websocket", "not-websocket", "subprotocol"};
  char text[400];
  int i, k;
  (void)unused;
  for (i = 0; i < 4; i++) { /* one of them is missing */
    strcpy(text, SWITCH);
    for (k = 0; k < 4; k++)
      if (k != i) strcat(text, fields[k]);
    strcat(text, "\r\n");
    check_bad(text, conditions[i], false);
  }
  check_bad(SWITCH "Upgrade: h2c\r\nConnection: Upgrade\r\n" ACCEPT "Sec-WebSocket-Protocol: xmpp\r\n\r\n", "not-websocket", false);
  check_bad(SWITCH "Upgrade: websocket\r\nConnection: close\r\n" ACCEPT "Sec-WebSocket-Protocol: xmpp\r\n\r\n", "not-websocket", false);
  check_bad(SWITCH "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                   "Sec-WebSocket-Protocol: xmpp\r\n\r\n", "not-websocket", false);
  check_bad(SWITCH "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " KEY "\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n",
            "not-websocket", false);
  check_bad(SWITCH "Upgrade: websocket\r\nConnection: Upgrade\r\n" ACCEPT ACCEPT "Sec-WebSocket-Protocol: xmpp\r\n\r\n", "not-websocket", false);
  check_bad("HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" ACCEPT "Sec-WebSocket-Protocol: xmpp\r\n\r\n",
            "not-websocket", false);
}

static void other_subprotocols(void **unused) {
  static const char *const values[] = {"mqtt", "XMPP", "xmpp2", "xmpp, mqtt", "\"xmpp\"", "", "xmpp\r\nSec-WebSocket-Protocol: xmpp",
                                       "xmpp\r\nSec-WebSocket-Protocol: mqtt"};
  char text[400];
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof values / sizeof *values; i++) {
    snprintf(text, sizeof text, SWITCH "Upgrade: websocket\r\nConnection: Upgrade\r\n" ACCEPT "Sec-WebSocket-Protocol: %s\r\n\r\n", values[i]);
    check_bad(text, "subprotocol", false);
  }
}

static void extensions(void **unused) {
  (void)unused;
  check_bad(SWITCH "Upgrade: websocket\r\nConnection: Upgrade\r\n" ACCEPT "Sec-WebSocket-Protocol: xmpp\r\n"
                   "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "extension", false);
  check_bad(SWITCH "Upgrade: websocket\r\nConnection: Upgrade\r\n" ACCEPT "Sec-WebSocket-Protocol: xmpp\r\n"
                   "Sec-WebSocket-Extensions:\r\n\r\n", "extension", false);
}

static void no_heads(void **unused) {
  static char big[XM_HEAD_BYTES + 100];
  char many[2000] = "";
  int i;
  (void)unused;
  check_bad("<html>", "invalid-response", false);
  check_bad("SSH-2.0-OpenSSH_9\r\n", "invalid-response", false);
  check_bad("HTTP/2 101\r\n\r\n", "invalid-response", false);
  check_bad(SWITCH "Upgrade: web\r\n socket\r\n\r\n", "invalid-response", false);
  check_bad("HTTP/1.1 101 a\nUpgrade: websocket\n\n", "invalid-response", false);
  memset(big, 'x', sizeof big - 1);
  memcpy(big, SWITCH "X: ", sizeof SWITCH + 2);
  check_bad(big, "invalid-response", false);
  for (i = 0; i <= XM_UPGRADE_INTERIM; i++) strcat(many, "HTTP/1.1 100 Continue\r\n\r\n");
  check_bad(many, "invalid-response", false);
}

/* Every allocation fails once. */
static void without_memory(void **unused) {
  xm_buf out = XM_BUF_INIT;
  xm_url url;
  size_t used;
  long n = 0;
  (void)unused;
  assert_null(xm_url_read(&url, "wss://example.net"));
  do {
    int rc = XM_EFAIL;
    xm_upgrade *u;
    xm_err_clear(&err);
    heap_fails(n++, false);
    u = xm_upgrade_new();
    if (u) rc = xm_upgrade_ask(u, &url, &out, &err);
    if (rc == XM_OK) rc = xm_upgrade_take(u, GOOD, sizeof GOOD - 1, &used, &err);
    if (u && rc < 0) assert_string_equal(err.condition, "ENOMEM");
    if (u && rc >= 0) assert_int_equal(rc, 1);
    xm_upgrade_free(u);
    xm_buf_free(&out);
    assert_int_equal(heap.live, 0);
  } while (heap_is_well());
  assert_true(n > 5);
  no_randomness = true;
  {
    xm_upgrade *u = xm_upgrade_new();
    xm_err_clear(&err);
    assert_int_equal(xm_upgrade_ask(u, &url, &out, &err), XM_EFAIL);
    assert_string_equal(err.condition, "no-randomness");
    assert_int_equal(xm_buf_len(&out), 0);
    xm_upgrade_free(u);
  }
  no_randomness = false;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_request),
      cmocka_unit_test(good_answers),
      cmocka_unit_test(other_statuses),
      cmocka_unit_test(no_websockets),
      cmocka_unit_test(other_subprotocols),
      cmocka_unit_test(extensions),
      cmocka_unit_test(no_heads),
      cmocka_unit_test(without_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
