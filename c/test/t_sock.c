/* sock: dialling on loopback: a refusing address first, a silent one first, all of them refusing; then bytes, ends and
 * pauses, with no SIGPIPE and no handle left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <fcntl.h>

#include "failing.h"

#include "../core/sock.c"

#include "failing_off.h"

static int wakes;

static void wake(void *arg) {
  (void)arg;
  wakes++;
}

static xm_loop *new_loop(void) {
  xm_err e = {0};
  xm_loop *l = xm_loop_new(&e);
  assert_non_null(l);
  wakes = 0;
  return l;
}

static xm_dns_address address_of(int fd) {
  xm_dns_address a = {0};
  socklen_t n = sizeof a.sa;
  assert_int_equal(getsockname(fd, (struct sockaddr *)&a.sa, &n), 0);
  return a;
}

static int bind_somewhere(void) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
  return fd;
}

/* Listens, and answers. */
static int listener(xm_dns_address *a) {
  int fd = bind_somewhere();
  assert_int_equal(listen(fd, 8), 0);
  *a = address_of(fd);
  return fd;
}

/* Has a port and doesn't listen: refuses. */
static int refuser(xm_dns_address *a) {
  int fd = bind_somewhere();
  *a = address_of(fd);
  return fd;
}

/* Listens with its queue full: never answers. `fillers` are to be closed. */
enum { FILLERS = 4 };
static int silent(xm_dns_address *a, int fillers[FILLERS]) {
  int i, fd = bind_somewhere();
  assert_int_equal(listen(fd, 0), 0);
  *a = address_of(fd);
  for (i = 0; i < FILLERS; i++) {
    fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)!connect(fillers[i], (struct sockaddr *)&a->sa, length_of(&a->sa));
  }
  return fd;
}

static void close_all(const int *fds, int n) {
  while (n-- > 0) close(fds[n]);
}

/* Turns until it has come to something. */
static int settle(xm_loop *l, xm_sock *s, const xm_dns_address **won, xm_err *e) {
  int rc;
  while ((rc = xm_sock_connected(s, won, e)) == 0) {
    xm_loop_turn(l, -1);
    xm_loop_fire(l);
  }
  return rc;
}

static bool same_port(const xm_dns_address *a, const xm_dns_address *b) {
  return ((const struct sockaddr_in *)&a->sa)->sin_port == ((const struct sockaddr_in *)&b->sa)->sin_port;
}

static void count_handle(uv_handle_t *h, void *n) {
  (void)h;
  ++*(int *)n;
}

static void finish_with(xm_loop *l, xm_sock *s) {
  int handles = 0;
  xm_sock_free(s);
  xm_loop_turn(l, 0);
  uv_walk(xm_loop_uv(l), count_handle, &handles);
  assert_int_equal(handles, 0);
  assert_int_equal(xm_loop_timeout(l), -1);
  assert_int_equal(heap.live, 0);
  xm_loop_release(l);
}

/* A connection: the sock and the other end of it. */
static xm_sock *connect_pair(xm_loop *l, int *peer) {
  xm_dns_address a;
  const xm_dns_address *won;
  xm_err e = {0};
  int fd = listener(&a);
  xm_sock *s = xm_sock_dial(l, &a, 1, wake, NULL, &e);
  assert_int_equal(settle(l, s, &won, &e), 1);
  *peer = accept(fd, NULL, NULL);
  assert_true(*peer >= 0);
  close(fd);
  return s;
}

static void the_first_that_answers_wins(void **state) {
  xm_dns_address list[3];
  const xm_dns_address *won = NULL;
  xm_err e = {0};
  int fds[3] = {refuser(&list[0]), listener(&list[1]), listener(&list[2])};
  xm_loop *l = new_loop();
  xm_sock *s = xm_sock_dial(l, list, 3, wake, NULL, &e);
  (void)state;
  list[1].direct_tls = true; /* it has a copy */
  assert_int_equal(settle(l, s, &won, &e), 1);
  assert_true(same_port(won, &list[1]));
  assert_false(won->direct_tls);
  assert_true(wakes > 0);
  assert_true(xm_sock_is_loopback(s));
  assert_false(xm_err_is_set(&e));
  assert_int_equal(xm_sock_connected(s, &won, &e), 1);
  close_all(fds, 3);
  finish_with(l, s);
}

/* RFC 8305: the next one doesn't wait for the end of a silent one; when it fails, the one after it is dialled at once.
 */
static void a_silent_address_holds_nobody_up(void **state) {
  xm_dns_address list[4];
  const xm_dns_address *won = NULL;
  xm_err e = {0};
  int fillers[FILLERS], fds[4] = {silent(&list[0], fillers), refuser(&list[1]), listener(&list[2]), listener(&list[3])};
  xm_loop *l = new_loop();
  xm_sock *s = xm_sock_dial(l, list, 4, wake, NULL, &e);
  (void)state;
  assert_int_equal(s->begun, 1);
  assert_int_equal(settle(l, s, &won, &e), 1);
  assert_true(same_port(won, &list[2]));
  assert_int_equal(s->begun, 3);
  assert_int_equal(s->pending, 2); /* the silent one and the winner: the fourth was not needed */
  close_all(fillers, FILLERS);
  close_all(fds, 4);
  finish_with(l, s);
}

static void a_failure_brings_the_next_one_at_once(void **state) {
  xm_dns_address list[3];
  const xm_dns_address *won = NULL;
  xm_err e = {0};
  int fillers[FILLERS], fds[3] = {silent(&list[0], fillers), refuser(&list[1]), listener(&list[2])};
  xm_loop *l = new_loop();
  xm_sock *s = xm_sock_dial(l, list, 3, wake, NULL, &e);
  (void)state;
  while (s->begun < 2) {
    xm_loop_turn(l, -1);
    xm_loop_fire(l);
  }
  while (s->tries[1]) look_at_tries(s);
  assert_int_equal(xm_sock_connected(s, &won, &e), 0);
  assert_int_equal(s->begun, 3); /* without any time having passed */
  close_all(fillers, FILLERS);
  close_all(fds, 3);
  finish_with(l, s);
}

static void it_is_told_when_none_answers(void **state) {
  xm_dns_address list[3];
  const xm_dns_address *won = NULL;
  xm_err e = {0};
  int n, fds[2] = {refuser(&list[0]), refuser(&list[1])};
  (void)state;
  list[2] = list[0];
  list[2].sa.ss_family = AF_UNIX; /* no socket for that one: length and all are wrong */
  for (n = 1; n <= 3; n++) {
    char where[64];
    xm_loop *l = new_loop();
    xm_sock *s = xm_sock_dial(l, list, n, wake, NULL, &e);
    xm_err_clear(&e);
    assert_int_equal(settle(l, s, &won, &e), XM_EFAIL);
    assert_int_equal(e.layer, XM_LAYER_TCP);
    assert_true(e.retry);
    snprintf(where, sizeof where, "(%d address%s tried)", n, n == 1 ? "" : "es");
    assert_non_null(strstr(e.text, where));
    if (n < 3) assert_string_equal(e.condition, "ECONNREFUSED");
    if (n < 3) assert_int_equal(e.native, ECONNREFUSED);
    snprintf(where, sizeof where, "127.0.0.1 port %u", ntohs(((struct sockaddr_in *)&list[n - 1].sa)->sin_port));
    if (n < 3) assert_non_null(strstr(e.text, where));
    finish_with(l, s);
  }
  close_all(fds, 2);
}

/* Freed at any moment of the dialling. */
static void dialling_can_be_given_up(void **state) {
  xm_dns_address list[3];
  xm_err e = {0};
  int turns, fillers[FILLERS], fds[3] = {silent(&list[0], fillers), refuser(&list[1]), listener(&list[2])};
  (void)state;
  for (turns = 0; turns < 4; turns++) {
    const xm_dns_address *won;
    xm_loop *l = new_loop();
    xm_sock *s = xm_sock_dial(l, list + turns % 2, 3 - turns % 2, wake, NULL, &e);
    int i;
    for (i = 0; i < turns; i++) {
      xm_loop_turn(l, 0);
      xm_loop_fire(l);
      xm_sock_connected(s, &won, &e);
    }
    finish_with(l, s);
  }
  xm_sock_free(NULL);
  close_all(fillers, FILLERS);
  close_all(fds, 3);
}

/* Families in turn, within a target. */
static void families_take_turns(void **state) {
  static const struct {
    const char *in, *out; /* 4 or 6, and the target's letter */
  } rows[] = {{"6a6b", "6a6b"}, {"6a6a6a4a4a", "6a4a6a4a6a"}, {"4a4a6a", "4a6a4a"}, {"6a6a4b4b6b", "6a6a4b6b4b"},
              {"4a", "4a"},     {"6a4a4b6b", "6a4a6b4b"}};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    xm_dns_address in[XM_DNS_ADDRESSES] = {0}, out[XM_DNS_ADDRESSES] = {0};
    int k, n = (int)strlen(rows[i].in) / 2;
    char got[64] = "";
    for (k = 0; k < n; k++) {
      in[k].sa.ss_family = rows[i].in[2 * k] == '4' ? AF_INET : AF_INET6;
      in[k].target = (unsigned char)rows[i].in[2 * k + 1];
    }
    interleave(out, in, n);
    for (k = 0; k < n; k++) {
      got[2 * k] = out[k].sa.ss_family == AF_INET ? '4' : '6';
      got[2 * k + 1] = (char)out[k].target;
    }
    assert_string_equal(got, rows[i].out);
  }
}

/* Bytes. */

static void bytes_come_and_go(void **state) {
  xm_loop *l = new_loop();
  int peer;
  xm_sock *s = connect_pair(l, &peer);
  char got[8];
  (void)state;
  assert_int_equal(xm_sock_recv(s, got, sizeof got), -EAGAIN);
  assert_int_equal(xm_sock_send(s, "hello", 5), 5);
  assert_int_equal(recv(peer, got, sizeof got, 0), 5);
  assert_memory_equal(got, "hello", 5);
  wakes = 0;
  assert_int_equal(send(peer, "hi", 2, 0), 2);
  while (!wakes) xm_loop_turn(l, -1);
  assert_int_equal(xm_sock_recv(s, got, sizeof got), 2);
  assert_int_equal(xm_sock_recv(s, got, sizeof got), -EAGAIN);
  close(peer);
  while (xm_sock_recv(s, got, sizeof got) == -EAGAIN) xm_loop_turn(l, -1);
  assert_int_equal(xm_sock_recv(s, got, sizeof got), 0);
  finish_with(l, s);
}

static void a_full_kernel_is_waited_for(void **state) {
  static char many[1 << 20];
  xm_loop *l = new_loop();
  int peer;
  size_t sent = 0, got = 0;
  ssize_t n;
  xm_sock *s = connect_pair(l, &peer);
  (void)state;
  while ((n = xm_sock_send(s, many, sizeof many)) > 0) sent += (size_t)n;
  assert_int_equal(n, -EAGAIN);
  wakes = 0;
  xm_loop_turn(l, 0);
  assert_int_equal(wakes, 0);
  while (got < sent && (n = recv(peer, many, sizeof many, 0)) > 0) got += (size_t)n;
  while (!wakes) xm_loop_turn(l, -1);
  assert_int_equal(xm_sock_send(s, many, 1), 1);
  xm_loop_turn(l, 0); /* what was ready before */
  wakes = 0;
  xm_loop_turn(l, 0);
  assert_int_equal(wakes, 0); /* nothing to send, so the room for it is no news */
  close(peer);
  finish_with(l, s);
}

static void a_pause_costs_nothing(void **state) {
  xm_loop *l = new_loop();
  int peer, i;
  char byte;
  xm_sock *s = connect_pair(l, &peer);
  (void)state;
  xm_sock_pause(s, true);
  assert_int_equal(send(peer, "x", 1, 0), 1);
  wakes = 0;
  for (i = 0; i < 5; i++) xm_loop_turn(l, 0);
  assert_int_equal(wakes, 0);
  assert_int_equal(xm_sock_send(s, "y", 1), 1); /* sending doesn't end it */
  for (i = 0; i < 5; i++) xm_loop_turn(l, 0);
  assert_int_equal(wakes, 0);
  xm_sock_pause(s, false);
  while (!wakes) xm_loop_turn(l, -1);
  assert_int_equal(xm_sock_recv(s, &byte, 1), 1);
  close(peer);
  finish_with(l, s);
}

static void a_reset_is_an_error_and_no_signal(void **state) {
  const struct linger at_once = {1, 0};
  xm_loop *l = new_loop();
  int peer;
  char byte;
  xm_sock *s = connect_pair(l, &peer);
  (void)state;
  setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(peer);
  while (xm_sock_recv(s, &byte, 1) == -EAGAIN) xm_loop_turn(l, -1);
  assert_int_equal(xm_sock_send(s, "x", 1), -EPIPE);
  assert_int_equal(xm_sock_send(s, "x", 1), -EPIPE);
  assert_string_equal(xm_sock_errname(EPIPE), "EPIPE");
  finish_with(l, s);
}

static void a_finish_comes_behind_what_was_sent(void **state) {
  xm_loop *l = new_loop();
  int peer;
  char got[8];
  xm_sock *s = connect_pair(l, &peer);
  (void)state;
  assert_int_equal(send(peer, "unread", 6, 0), 6);
  assert_int_equal(xm_sock_send(s, "bye", 3), 3);
  xm_sock_finish(s);
  finish_with(l, s);
  assert_int_equal(recv(peer, got, sizeof got, MSG_WAITALL), 3); /* no reset has overtaken it */
  assert_int_equal(recv(peer, got, sizeof got, 0), 0);
  close(peer);
}

static void memory_that_runs_out_is_told(void **state) {
  xm_dns_address a;
  int fd = listener(&a);
  long n = 0;
  bool failed;
  (void)state;
  do {
    const xm_dns_address *won;
    xm_err e = {0};
    xm_loop *l = new_loop();
    xm_sock *s;
    int rc = XM_EFAIL;
    heap_fails(n++, false);
    s = xm_sock_dial(l, &a, 1, wake, NULL, &e);
    if (s) rc = settle(l, s, &won, &e);
    failed = heap_is_well();
    assert_int_equal(rc, failed ? XM_EFAIL : 1);
    if (failed) assert_string_equal(e.condition, "ENOMEM");
    finish_with(l, s);
  } while (failed);
  assert_int_equal(n, 3);
  close(fd);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_first_that_answers_wins),
      cmocka_unit_test(a_silent_address_holds_nobody_up),
      cmocka_unit_test(a_failure_brings_the_next_one_at_once),
      cmocka_unit_test(it_is_told_when_none_answers),
      cmocka_unit_test(dialling_can_be_given_up),
      cmocka_unit_test(families_take_turns),
      cmocka_unit_test(bytes_come_and_go),
      cmocka_unit_test(a_full_kernel_is_waited_for),
      cmocka_unit_test(a_pause_costs_nothing),
      cmocka_unit_test(a_reset_is_an_error_and_no_signal),
      cmocka_unit_test(a_finish_comes_behind_what_was_sent),
      cmocka_unit_test(memory_that_runs_out_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
