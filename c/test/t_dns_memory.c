/* dns and loop: our own memory runs out, or libuv can't watch a socket, at every place of a query. (t_dns.c tests what
 * c-ares does without memory.) */
#include <errno.h>
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
#include <uv.h>

#include "failing.h"

static int poor_loop_init(uv_loop_t *l) {
  return heap_refuses() ? UV_EMFILE : uv_loop_init(l);
}

static int poor_poll_init(uv_loop_t *l, uv_poll_t *poll, uv_os_sock_t fd) {
  return heap_refuses() ? UV_ENFILE : uv_poll_init_socket(l, poll, fd);
}

static int poor_poll_start(uv_poll_t *poll, int events, uv_poll_cb cb) {
  return heap_refuses() ? UV_ENOMEM : uv_poll_start(poll, events, cb);
}

#define uv_loop_init poor_loop_init
#define uv_poll_init_socket poor_poll_init
#define uv_poll_start poor_poll_start
#include "../core/loop.c"

#include "../core/dns.c"
#undef uv_loop_init
#undef uv_poll_init_socket
#undef uv_poll_start

#include "failing_off.h"

#include "nameserver.h"

static int told;

static void on_done(void *arg) {
  (void)arg;
  told++;
}

/* Looks up; `condition` gets the error's, or "" if there are `count` addresses. */
static void look_up(const xm_dns_query *q, int count, char condition[64]) {
  const xm_dns_address *list;
  xm_err e = {0};
  xm_loop *l = xm_loop_new(&e);
  xm_dns *d = l ? xm_dns_start(l, q, on_done, NULL, &e) : NULL;
  int n = XM_EFAIL;
  told = 0;
  while (d && !told) {
    xm_loop_turn(l, -1);
    xm_loop_fire(l);
  }
  heap_is_well();
  assert_int_equal(!d, xm_err_is_set(&e));
  if (d) n = xm_dns_result(d, &list, &e);
  assert_int_equal(n, xm_err_is_set(&e) ? XM_EFAIL : count);
  snprintf(condition, 64, "%s", e.condition);
  xm_dns_free(d);
  if (l) xm_loop_turn(l, 0);
  xm_loop_release(l);
  assert_int_equal(heap.live, 0);
}

/* Fails at each place in turn until nothing fails, and then there is a result; returns how many places there were. */
static long sweep(const xm_dns_query *q, int count, bool for_good) {
  char condition[64];
  long n = 0;
  do {
    heap_fails(n++, for_good);
    look_up(q, count, condition);
    if (heap.noes && !strstr("ENOMEM EMFILE ENFILE", condition)) fail_msg("place %ld: %s", n - 1, condition);
    if (heap.noes) assert_true(*condition);
  } while (heap.noes);
  assert_string_equal(condition, "");
  return n - 1;
}

static void every_failed_allocation_is_an_error(void **state) {
  static const char zone[] =
      "_xmpp-client._tcp.x.test SRV 1 0 1 a.test\n_xmpps-client._tcp.x.test SRV 2 0 2 b.test\n"
      "a.test A 192.0.2.1\nb.test A 192.0.2.2\nb.test AAAA 2001:db8::2\n";
  char address[32];
  server s;
  xm_dns_query q = {.domain = "x.test", .port = 5222, .srv = true, .nameservers = address, .timeout_ms = 20000};
  (void)state;
  open_server(&s, zone, TCP_SERVED);
  snprintf(address, sizeof address, "127.0.0.1:%d", s.port);
  assert_true(sweep(&q, 3, false) > 5);
  assert_true(sweep(&q, 3, true) > 5);
  close_server(&s);
}

/* The same for an address, which needs no name server, but a timer. */
static void a_failed_allocation_is_an_error_for_an_address(void **state) {
  const xm_dns_query q = {.domain = "192.0.2.1", .port = 5222};
  (void)state;
  assert_true(sweep(&q, 1, false) > 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_failed_allocation_is_an_error),
      cmocka_unit_test(a_failed_allocation_is_an_error_for_an_address),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
