/* sock: dialling on loopback, with an address that refuses first, with one that doesn't answer first, and with only
 * refusals; then bytes, ends and pauses, without SIGPIPE, and with no handle left open. */
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
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "loop.h"

/* System calls that fail: the one of this name, this many times. */
static struct no {
  const char *call;
  int errnum, times;
} no;

static bool says_no(const char *call) {
  if (!no.call || strcmp(no.call, call) != 0 || no.times-- <= 0) return false;
  errno = no.errnum;
  return true;
}

static int poor_socket(int family, int type, int protocol) {
  return says_no("socket") ? -1 : xm_loop_socket(family, type, protocol);
}

static int poor_connect(int fd, const struct sockaddr *sa, socklen_t n) {
  int rc = connect(fd, sa, n); /* an interrupted connect goes on */
  return says_no("connect") ? -1 : rc;
}

static int poor_getsockopt(int fd, int level, int name, void *to, socklen_t *n) {
  return says_no("getsockopt") ? -1 : getsockopt(fd, level, name, to, n);
}

static int poor_getpeername(int fd, struct sockaddr *sa, socklen_t *n) {
  return says_no("getpeername") ? -1 : getpeername(fd, sa, n);
}

static ssize_t poor_recv(int fd, void *to, size_t n, int flags) {
  return says_no("recv") ? -1 : recv(fd, to, n, flags);
}

static ssize_t poor_send(int fd, const void *from, size_t n, int flags) {
  return says_no("send") ? -1 : send(fd, from, n, flags);
}

static int poor_poll_init(uv_loop_t *l, uv_poll_t *poll, int fd) {
  return says_no("uv_poll_init") ? UV_ENOMEM : uv_poll_init(l, poll, fd);
}

#include "failing.h"

#define xm_loop_socket poor_socket
#define connect poor_connect
#define getsockopt poor_getsockopt
#define getpeername poor_getpeername
#define recv poor_recv
#define send poor_send
#define uv_poll_init poor_poll_init
#include "../core/sock.c"
#undef xm_loop_socket
#undef connect
#undef getsockopt
#undef getpeername
#undef recv
#undef send
#undef uv_poll_init

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

/* Listens, so connections are accepted. */
static int listener(xm_dns_address *a) {
  int fd = bind_somewhere();
  assert_int_equal(listen(fd, 8), 0);
  *a = address_of(fd);
  return fd;
}

/* Has a port but doesn't listen, so connections are refused. */
static int refuser(xm_dns_address *a) {
  int fd = bind_somewhere();
  *a = address_of(fd);
  return fd;
}

/* Listens with a full queue, so connections get no answer. The caller closes `fillers`. */
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

/* Turns the loop until there is a connection or an error. */
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

/* A connection: returns the sock; `peer` is its other end. */
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
  list[1].direct_tls = true; /* sock has its own copy */
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

/* RFC 8305: the next address doesn't wait for one that doesn't answer; if it fails, the one after it is dialled at
 * once. */
static void a_silent_address_holds_nobody_up(void **state) {
  xm_dns_address list[4];
  const xm_dns_address *won = NULL;
  xm_err e = {0};
  int fillers[FILLERS], fds[4] = {silent(&list[0], fillers), refuser(&list[1]), listener(&list[2]), listener(&list[3])};
  xm_loop *l = new_loop();
  xm_sock *s = xm_sock_dial(l, list, 4, wake, NULL, &e);
  (void)state;
  assert_int_equal(s->dial->begun, 1);
  while (s->dial->begun < 3) {
    xm_loop_turn(l, -1);
    xm_loop_fire(l);
    assert_int_equal(xm_sock_connected(s, &won, &e), 0);
  }
  assert_int_equal(s->dial->pending, 2); /* one without an answer, and one that will win: the fourth isn't needed */
  assert_int_equal(settle(l, s, &won, &e), 1);
  assert_true(same_port(won, &list[2]));
  assert_null(s->dial);
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
  while (s->dial->begun < 2) {
    xm_loop_turn(l, -1);
    xm_loop_fire(l);
  }
  while (s->dial->tries[1]) look_at_tries(s);
  assert_int_equal(xm_sock_connected(s, &won, &e), 0);
  assert_int_equal(s->dial->begun, 3); /* no time has passed */
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
  list[2].sa.ss_family = AF_UNIX; /* no socket is possible for this one: its length and all are wrong */
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

/* It can be freed at any moment of the dialling. */
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

/* The families take turns, within a target. */
static void families_take_turns(void **state) {
  static const struct {
    const char *in, *out; /* 4 or 6, and a letter for the target */
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

/* Sending and receiving. */

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
  xm_loop_turn(l, 0); /* takes what was ready before */
  wakes = 0;
  xm_loop_turn(l, 0);
  assert_int_equal(wakes, 0); /* nothing to send, so no wake when there is space */
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
  assert_int_equal(xm_sock_waiting(s), 0);
  assert_int_equal(send(peer, "x", 1, 0), 1);
  while (xm_sock_waiting(s) == 0) xm_loop_turn(l, 0);
  assert_int_equal(xm_sock_waiting(s), 1);
  wakes = 0;
  for (i = 0; i < 5; i++) xm_loop_turn(l, 0);
  assert_int_equal(wakes, 0);
  assert_int_equal(xm_sock_send(s, "y", 1), 1); /* sending doesn't end the pause */
  for (i = 0; i < 5; i++) xm_loop_turn(l, 0);
  assert_int_equal(wakes, 0);
  xm_sock_pause(s, false);
  while (!wakes) xm_loop_turn(l, -1);
  assert_int_equal(xm_sock_recv(s, &byte, 1), 1);
  assert_int_equal(xm_sock_waiting(s), 0);
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

static void finish_comes_after_what_was_sent(void **state) {
  xm_loop *l = new_loop();
  int peer;
  char got[8];
  xm_sock *s = connect_pair(l, &peer);
  (void)state;
  assert_int_equal(send(peer, "unread", 6, 0), 6);
  assert_int_equal(xm_sock_send(s, "bye", 3), 3);
  xm_sock_finish(s);
  finish_with(l, s);
  assert_int_equal(recv(peer, got, sizeof got, MSG_WAITALL), 3); /* in spite of the unread bytes there was no reset */
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
  assert_int_equal(n, 4);
  close(fd);
}

static void a_system_call_that_fails_is_told(void **state) {
  static const struct row {
    struct no no;
    const char *condition;
  } rows[] = {{{"socket", EMFILE, 1}, "EMFILE"},         {{"connect", ENETUNREACH, 1}, "ENETUNREACH"},
              {{"uv_poll_init", 0, 1}, "ENOMEM"},        {{"getsockopt", ENOBUFS, 1}, "ENOBUFS"},
              {{"getpeername", EINVAL, 1}, "EINVAL"},    {{"connect", EINTR, 1}, ""},
              {{"getpeername", ENOTCONN, 1}, ""}};
  xm_dns_address a;
  int fd = listener(&a);
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    const xm_dns_address *won;
    xm_err e = {0};
    xm_loop *l = new_loop();
    xm_sock *s;
    no = rows[i].no;
    s = xm_sock_dial(l, &a, 1, wake, NULL, &e);
    assert_int_equal(settle(l, s, &won, &e), *rows[i].condition ? XM_EFAIL : 1);
    assert_true(no.times <= 0);
    assert_string_equal(e.condition, rows[i].condition);
    finish_with(l, s);
  }
  close(fd);
}

static void an_interrupted_call_is_made_again(void **state) {
  xm_loop *l = new_loop();
  int peer;
  xm_sock *s = connect_pair(l, &peer);
  char got[4] = "";
  (void)state;
  no = (struct no){"send", EINTR, 3};
  assert_int_equal(xm_sock_send(s, "abc", 3), 3);
  assert_int_equal(no.times, -1);
  assert_int_equal(recv(peer, got, 3, MSG_WAITALL), 3);
  assert_string_equal(got, "abc");
  assert_int_equal(send(peer, "xyz", 3, 0), 3);
  no = (struct no){"recv", EINTR, 3};
  while (xm_sock_recv(s, got, 3) == -EAGAIN) xm_loop_turn(l, -1);
  assert_true(no.times < 0);
  assert_string_equal(got, "xyz");
  close(peer);
  finish_with(l, s);
}

static void take_address(xm_dns_address *a, const char *text) {
  struct sockaddr_in *v4 = (struct sockaddr_in *)&a->sa;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a->sa;
  memset(&a->sa, 0, sizeof a->sa);
  a->sa.ss_family = strchr(text, ':') ? AF_INET6 : AF_INET;
  v4->sin_port = htons(5222); /* the port is at the same offset in both */
  assert_int_equal(inet_pton(a->sa.ss_family, text, strchr(text, ':') ? (void *)&v6->sin6_addr : &v4->sin_addr), 1);
}

static void this_machine_is_known_by_its_addresses(void **state) {
  static const struct row {
    const char *address;
    bool loopback;
  } rows[] = {{"127.0.0.1", true}, {"127.255.0.9", true}, {"128.0.0.1", false}, {"10.127.0.1", false},
              {"::1", true},       {"::2", false},        {"2001:db8::1", false}, {"::ffff:127.0.0.1", false}};
  xm_loop *l = new_loop();
  int peer;
  xm_sock *s = connect_pair(l, &peer);
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    take_address(&s->won, rows[i].address);
    assert_int_equal(xm_sock_is_loopback(s), rows[i].loopback);
  }
  close(peer);
  finish_with(l, s);
}

static void a_failure_is_told_with_its_address(void **state) {
  static const char *const addresses[] = {"192.0.2.1", "2001:db8::1"};
  const xm_dns_address *won;
  char text[100];
  int i;
  (void)state;
  for (i = 0; i < 2; i++) {
    xm_dns_address a = {0};
    xm_err e = {0};
    xm_loop *l = new_loop();
    xm_sock *s;
    take_address(&a, addresses[i]);
    no = (struct no){"socket", EAFNOSUPPORT, 1};
    s = xm_sock_dial(l, &a, 1, wake, NULL, &e);
    assert_int_equal(settle(l, s, &won, &e), XM_EFAIL);
    snprintf(text, sizeof text, "could not connect to %s port 5222 (1 address tried)", addresses[i]);
    assert_non_null(strstr(e.text, text));
    finish_with(l, s);
  }
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
      cmocka_unit_test(finish_comes_after_what_was_sent),
      cmocka_unit_test(memory_that_runs_out_is_told),
      cmocka_unit_test(a_system_call_that_fails_is_told),
      cmocka_unit_test(an_interrupted_call_is_made_again),
      cmocka_unit_test(this_machine_is_known_by_its_addresses),
      cmocka_unit_test(a_failure_is_told_with_its_address),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
