/* tunnel: what is sent to a proxy, byte for byte, and one message at a time; what is read of its answers, however they
 * are cut, and not a byte more; every reply, every status, every wrong byte; and memory that runs out. */
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

#include "failing.h"

#include "../core/b64.c"
#include "../core/buf.c"
#include "../core/head.c"
#include "../core/tunnel.c"

#include "failing_off.h"

static xm_err err;

typedef struct bytes {
  const char *s;
  size_t n;
} bytes;
#define B(text) {text, sizeof text - 1}

static const xm_proxy socks = {.kind = XM_PROXY_SOCKS5, .name = "socks5://p:1080"};
static const xm_proxy socks_as = {.kind = XM_PROXY_SOCKS5, .name = "socks5://p:1080", .user = "ann", .password = "pw"};
static const xm_proxy http = {.kind = XM_PROXY_HTTP, .name = "http://p:3128"};
static const xm_proxy http_as = {.kind = XM_PROXY_HTTP, .name = "http://p:3128", .user = "J\xc3\xbcrg", .password = "a:b"};
static const xm_proxy http_user = {.kind = XM_PROXY_HTTP, .name = "http://p:3128", .user = "ann"};

#define NAME "\x05\x01\x00\x03\x0exmpp.example.1\x14\x66"
#define BND4 "\x01\x7f\x00\x00\x01\x12\x34"

/* In turn: what we send, what the proxy sends; the last one is its final reply. */
static const struct dialogue {
  const xm_proxy *proxy;
  const char *host;
  int port;
  bytes said[6];
} dialogues[] = {
    {&socks, "xmpp.example.1", 5222, {B("\x05\x01\x00"), B("\x05\x00"), B(NAME), B("\x05\x00\x00" BND4)}},
    {&socks,
     "192.0.2.7",
     80,
     {B("\x05\x01\x00"), B("\x05\x00"), B("\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50"), B("\x05\x00\x00" BND4)}},
    {&socks,
     "2001:db8::7",
     65535,
     {B("\x05\x01\x00"), B("\x05\x00"), B("\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\xff\xff"),
      B("\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x01")}},
    {&socks_as, "xmpp.example.1", 5222, {B("\x05\x02\x00\x02"), B("\x05\x00"), B(NAME), B("\x05\x00\xff\x03\x00\x00\x00")}},
    {&socks_as,
     "xmpp.example.1",
     5222,
     {B("\x05\x02\x00\x02"), B("\x05\x02"), B("\x01\x03" "ann\x02pw"), B("\x01\x00"), B(NAME),
      B("\x05\x00\x00\x03\x04host\x00\x00")}},
    {&http,
     "xmpp.example.1",
     5222,
     {B("CONNECT xmpp.example.1:5222 HTTP/1.1\r\nHost: xmpp.example.1:5222\r\n\r\n"), B("HTTP/1.1 200 \r\n\r\n")}},
    {&http,
     "2001:db8::7",
     443,
     {B("CONNECT [2001:db8::7]:443 HTTP/1.1\r\nHost: [2001:db8::7]:443\r\n\r\n"),
      B("HTTP/1.0 299 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")}},
    {&http_as,
     "127.0.0.1",
     1,
     {B("CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\nProxy-Authorization: Basic SsO8cmc6YTpi\r\n\r\n"),
      B("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n")}},
    {&http_user,
     "h",
     1,
     {B("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nProxy-Authorization: Basic YW5uOg==\r\n\r\n"),
      B("HTTP/1.1 200\r\nA: b\r\n\r\n")}},
};
enum { DIALOGUES = sizeof dialogues / sizeof *dialogues };

static xm_tunnel *new_tunnel(const struct dialogue *d) {
  xm_tunnel *t;
  xm_err_clear(&err);
  t = xm_tunnel_new(d->proxy, d->host, d->port, &err);
  if (!t) fail_msg("%s", err.text);
  return t;
}

static void expect(xm_tunnel *t, bytes said) {
  xm_buf *out = xm_tunnel_out(t);
  assert_true(out->secret);
  if (xm_buf_len(out) != said.n || (said.n && memcmp(xm_buf_at(out), said.s, said.n) != 0))
    fail_msg("%zu bytes said instead of %zu: %.*s", xm_buf_len(out), said.n, (int)xm_buf_len(out), xm_buf_at(out));
  xm_buf_consume(out, said.n);
}

/* Gives `s` in pieces, each in a block of its own, so that a sanitizer notices reads beyond it. */
static int take(xm_tunnel *t, const char *s, size_t n, size_t piece, size_t *taken) {
  int rc = 0;
  *taken = 0;
  while (*taken < n && rc == 0) {
    size_t used, left = n - *taken, len = left < piece ? left : piece;
    char *copy = malloc(len);
    memcpy(copy, s + *taken, len);
    rc = xm_tunnel_take(t, copy, len, &used, &err);
    free(copy);
    if (rc == 0) assert_int_equal(used, len);
    *taken += used;
  }
  return rc;
}

static void it_sends_one_message_at_a_time(void **unused) {
  int i, k;
  (void)unused;
  for (i = 0; i < DIALOGUES; i++) {
    const struct dialogue *d = &dialogues[i];
    xm_tunnel *t = new_tunnel(d);
    int rc = 0;
    for (k = 0; k < 6 && d->said[k].n; k += 2) {
      size_t taken;
      expect(t, d->said[k]);
      assert_int_equal(rc, 0);
      rc = take(t, d->said[k + 1].s, d->said[k + 1].n, 1, &taken);
      assert_int_equal(taken, d->said[k + 1].n);
    }
    if (rc != 1) fail_msg("dialogue %d: %s", i, err.text);
    expect(t, (bytes){"", 0});
    assert_true(xm_tunnel_is_of_target(t));
    xm_tunnel_free(t);
  }
}

/* The same bytes are taken in pieces of any size, and what follows them is left. */
static void whatever_the_cutting_it_takes_the_same(void **unused) {
  int i, k;
  (void)unused;
  for (i = 0; i < DIALOGUES; i++) {
    const struct dialogue *d = &dialogues[i];
    char all[512], ours[512];
    size_t n = 0, said = 0, piece, taken;
    for (k = 0; k < 6 && d->said[k].n; k++) {
      char *to = k % 2 ? all + n : ours + said;
      memcpy(to, d->said[k].s, d->said[k].n);
      *(k % 2 ? &n : &said) += d->said[k].n;
    }
    memcpy(all + n, "\x05\x00HTTP", 6);
    for (piece = 1; piece <= n + 6; piece++) {
      xm_tunnel *t = new_tunnel(d);
      assert_int_equal(take(t, all, n + 6, piece, &taken), 1);
      assert_int_equal(taken, n);
      expect(t, (bytes){ours, said});
      assert_int_equal(xm_tunnel_take(t, "more", 4, &taken, &err), 1);
      assert_int_equal(taken, 0);
      xm_tunnel_free(t);
    }
  }
}

/* A reply's length follows from its address: a name may have any length. */
static void a_reply_has_the_length_that_it_says(void **unused) {
  int n;
  (void)unused;
  for (n = 0; n < 256; n++) {
    xm_tunnel *t = new_tunnel(&dialogues[0]);
    char all[2 + 5 + 255 + 2 + 9] = {5, 0, 5, 0, 0, 3, (char)n};
    size_t taken;
    assert_int_equal(take(t, all, sizeof all, 3, &taken), 1);
    assert_int_equal(taken, 2 + 5 + n + 2);
    xm_tunnel_free(t);
  }
}

/* It is refused at that byte, however it is cut, and nothing more is taken. */
static void check_refused(const struct dialogue *d, const char *s, size_t n, size_t at, const char *condition, bool retry,
                          bool of_target) {
  size_t piece, taken;
  char text[sizeof err.text] = "";
  for (piece = 1; piece <= n; piece++) {
    xm_tunnel *t = new_tunnel(d);
    assert_int_equal(take(t, s, n, piece, &taken), XM_EFAIL);
    if (taken != at || strcmp(err.condition, condition) != 0)
      fail_msg("%zu taken, not %zu: %s: %s", taken, at, err.condition, err.text);
    assert_int_equal(err.layer, XM_LAYER_PROXY);
    assert_int_equal(err.retry, retry);
    assert_int_equal(xm_tunnel_is_of_target(t), of_target);
    if (*text) assert_string_equal(err.text, text);
    strcpy(text, err.text);
    assert_null(strstr(text, "pw"));
    assert_null(strstr(text, "ann"));
    assert_int_equal(xm_tunnel_take(t, "\x05\x00\x00", 3, &taken, &err), XM_EFAIL);
    assert_int_equal(taken, 0);
    xm_tunnel_free(t);
  }
}

static void every_reply_has_its_condition(void **unused) {
  static const char *const conditions[] = {NULL,
                                           "general-failure",
                                           "not-allowed",
                                           "network-unreachable",
                                           "host-unreachable",
                                           "connection-refused",
                                           "ttl-expired",
                                           "command-not-supported",
                                           "address-type-not-supported"};
  int reply;
  (void)unused;
  for (reply = 1; reply < 256; reply++) {
    const char all[] = {5, 0, 5, (char)reply, 0, 1, 0, 0, 0, 0, 0, 0};
    check_refused(&dialogues[0], all, sizeof all, 4, reply < 9 ? conditions[reply] : "unknown-reply",
                  reply != 2 && reply != 7 && reply != 8, true);
    assert_non_null(strstr(err.text, "xmpp.example.1 port 5222"));
  }
}

/* Every wrong value of the last byte that matters in each dialogue. */
static void a_wrong_byte_is_noticed(void **unused) {
  static const char login[] = "proxy-authentication-required", wrong[] = "invalid-response";
  int c;
  (void)unused;
  for (c = 0; c < 256; c++) {
    const char method[] = {5, (char)c}, version[] = {(char)c, 0}, reply[] = {5, 0, (char)c, 0};
    const char type[] = {5, 0, 5, 0, 0, (char)c}, answer[] = {5, 2, (char)c, 0}, status[] = {5, 2, 1, (char)c};
    if (c != 0) check_refused(&dialogues[0], method, 2, 2, c == 0xFF ? login : wrong, false, false);
    if (c != 0 && c != 2) check_refused(&dialogues[4], method, 2, 2, c == 0xFF ? login : wrong, false, false);
    if (c != 5) check_refused(&dialogues[0], version, 2, 1, wrong, false, false);
    if (c != 5) check_refused(&dialogues[0], reply, 4, 3, wrong, false, false);
    if (c != 1 && c != 3 && c != 4) check_refused(&dialogues[0], type, 6, 6, wrong, false, false);
    if (c != 1) check_refused(&dialogues[4], answer, 4, 3, wrong, false, false);
    if (c != 0) check_refused(&dialogues[4], status, 4, 4, login, false, false);
  }
}

static void every_status_has_its_condition(void **unused) {
  int status;
  (void)unused;
  for (status = 101; status < 600; status++) {
    bool login = status == 401 || status == 407, retry = status >= 500 || status == 408 || status == 429;
    const char *condition = login ? "proxy-authentication-required" : retry ? "general-failure" : "not-allowed";
    char all[128], number[24];
    size_t n = (size_t)sprintf(all, "HTTP/1.1 %d So \x1b!\r\nProxy-Authenticate: Basic\r\n\r\n<html>", status);
    if (status / 100 == 2 || (status < 200 && status != 101)) continue;
    check_refused(&dialogues[5], all, n, 16, "invalid-response", false, false); /* a control character */
    n = (size_t)sprintf(all, "HTTP/1.1 %d So so\r\nProxy-Authenticate: Basic\r\n\r\n<html>", status);
    check_refused(&dialogues[5], all, n, n - 6, condition, retry, !login);
    check_refused(&dialogues[7], all, n, n - 6, condition, retry, !login);
    sprintf(number, "%d So so", status);
    if (!login) assert_non_null(strstr(err.text, number));
  }
}

static void interim_responses_have_an_end(void **unused) {
  char all[1024] = "";
  size_t taken, n = 0;
  xm_tunnel *t = new_tunnel(&dialogues[5]);
  int i;
  (void)unused;
  for (i = 0; i < INTERIMS; i++) n += (size_t)sprintf(all + n, "HTTP/1.1 1%02d\r\n\r\n", i * 7 + 2);
  strcpy(all + n, "HTTP/1.1 200\r\n\r\n");
  assert_int_equal(take(t, all, strlen(all), 100, &taken), 1);
  xm_tunnel_free(t);
  n += (size_t)sprintf(all + n, "HTTP/1.1 103\r\n\r\n");
  strcpy(all + n, "HTTP/1.1 200\r\n\r\n");
  check_refused(&dialogues[5], all, strlen(all), n, "not-allowed", false, true);
}

static void what_is_no_http_is_refused(void **unused) {
  static const char long_head[XM_HEAD_BYTES + 1] = "HTTP/1.1 200 ";
  char all[sizeof long_head];
  xm_tunnel *t = new_tunnel(&dialogues[5]);
  size_t taken;
  (void)unused;
  check_refused(&dialogues[5], "\x05\x00", 2, 0, "invalid-response", false, false);
  check_refused(&dialogues[5], "HTTP/2 200\r\n", 12, 5, "invalid-response", false, false);
  check_refused(&dialogues[5], "HTTP/1.1 200\n\n", 14, 12, "invalid-response", false, false);
  memset(all, 'x', sizeof all);
  memcpy(all, long_head, 13);
  assert_int_equal(take(t, all, sizeof all, 1000, &taken), XM_EFAIL);
  assert_int_equal(taken, XM_HEAD_BYTES);
  assert_string_equal(err.condition, "invalid-response");
  assert_non_null(strstr(err.text, "the proxy http://p:3128"));
  xm_tunnel_free(t);
}

/* The proxy closes the connection after any byte of a dialogue. */
static void an_end_after_any_byte_is_an_error(void **unused) {
  int i, k;
  (void)unused;
  for (i = 0; i < DIALOGUES; i++) {
    const struct dialogue *d = &dialogues[i];
    for (k = 1; k < 6 && d->said[k].n; k += 2) {
      bool asked = k == 5 || !d->said[k + 2 < 6 ? k + 2 : 5].n;
      size_t taken, n;
      for (n = 0; n < d->said[k].n; n++) {
        xm_tunnel *t = new_tunnel(d);
        int j;
        for (j = 1; j < k; j += 2) take(t, d->said[j].s, d->said[j].n, 9, &taken);
        assert_int_equal(take(t, d->said[k].s, n, 9, &taken), 0);
        assert_int_equal(xm_tunnel_end(t, &err), XM_EFAIL);
        assert_string_equal(err.condition, "EOF");
        assert_true(err.retry);
        assert_int_equal(xm_tunnel_is_of_target(t), asked);
        assert_int_equal(xm_tunnel_take(t, "\x05", 1, &taken, &err), XM_EFAIL);
        xm_tunnel_free(t);
      }
    }
  }
}

static void not_every_host_can_be_asked_for(void **unused) {
  static const char *const rows[] = {"",    "a b", "a\r\nb", "fe80::1%eth0", "[::1]", "::g", "\xc3\xbc.example", "a:5222",
                                     "a/b", "a@b"};
  char longest[255];
  size_t i;
  (void)unused;
  memset(longest, 'a', sizeof longest);
  longest[254] = '\0';
  for (i = 0; i < 2 * (1 + sizeof rows / sizeof *rows); i++) {
    const char *host = i / 2 < sizeof rows / sizeof *rows ? rows[i / 2] : longest;
    xm_err_clear(&err);
    assert_null(xm_tunnel_new(i % 2 ? &http : &socks, host, 1, &err));
    assert_string_equal(err.condition, "bad-host");
    assert_false(err.retry);
  }
  longest[253] = '\0';
  for (i = 0; i < 2; i++) {
    xm_tunnel *t = xm_tunnel_new(i ? &http : &socks, longest, 65535, &err);
    size_t taken;
    assert_non_null(t);
    if (i == 0) xm_buf_clear(xm_tunnel_out(t)), take(t, "\x05\x00", 2, 2, &taken);
    assert_int_equal(xm_buf_len(xm_tunnel_out(t)), i ? 8 + 2 * (253 + 6) + 11 + 6 + 4 : 4 + 1 + 253 + 2);
    xm_tunnel_free(t);
  }
}

static void the_longest_login_is_said(void **unused) {
  char longest[256], got[3 + 2 * 255];
  const xm_proxy proxy = {.kind = XM_PROXY_SOCKS5, .name = "p", .user = longest, .password = longest};
  xm_tunnel *t;
  size_t taken;
  (void)unused;
  memset(longest, 'a', 255);
  longest[255] = '\0';
  memset(got, 'a', sizeof got);
  got[0] = 1, got[1] = got[257] = '\xff';
  t = xm_tunnel_new(&proxy, "h", 1, &err);
  xm_buf_clear(xm_tunnel_out(t));
  assert_int_equal(take(t, "\x05\x02", 2, 2, &taken), 0);
  expect(t, (bytes){got, sizeof got});
  xm_tunnel_free(t);
}

static void memory_that_runs_out_is_said(void **unused) {
  int i, k;
  (void)unused;
  for (i = 0; i < DIALOGUES; i++) {
    const struct dialogue *d = &dialogues[i];
    long n = 0, live = heap.live;
    do {
      xm_tunnel *t;
      int rc = 0;
      size_t taken;
      xm_err_clear(&err);
      heap_fails(n++, false);
      t = xm_tunnel_new(d->proxy, d->host, d->port, &err);
      for (k = 1; t && rc == 0 && k < 6 && d->said[k].n; k += 2) {
        xm_buf_free(xm_tunnel_out(t)); /* so that each message needs a new block */
        rc = take(t, d->said[k].s, d->said[k].n, 5, &taken);
      }
      if (!t || rc < 0) assert_string_equal(err.condition, "ENOMEM");
      else assert_int_equal(rc, 1);
      if (!t || rc < 0) assert_true(heap.noes > 0);
      xm_tunnel_free(t);
      assert_int_equal(heap.live, live);
    } while (heap_is_well());
    assert_true(n > 2);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_sends_one_message_at_a_time),
      cmocka_unit_test(whatever_the_cutting_it_takes_the_same),
      cmocka_unit_test(a_reply_has_the_length_that_it_says),
      cmocka_unit_test(every_reply_has_its_condition),
      cmocka_unit_test(a_wrong_byte_is_noticed),
      cmocka_unit_test(every_status_has_its_condition),
      cmocka_unit_test(interim_responses_have_an_end),
      cmocka_unit_test(what_is_no_http_is_refused),
      cmocka_unit_test(an_end_after_any_byte_is_an_error),
      cmocka_unit_test(not_every_host_can_be_asked_for),
      cmocka_unit_test(the_longest_login_is_said),
      cmocka_unit_test(memory_that_runs_out_is_said),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
