#include <ares.h>
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "dns.h"
#include "nameserver.h"

enum { TEXT = 8192 };

/* Queries. */

enum { SRV = 1, DIRECT = 2, NO_TCP = 4, HURRY = 8, SHORT = 16, NAMES = 32 };

typedef struct asker {
  xm_loop *loop;
  xm_dns *dns;
  int told;
  bool free_at_once;
  char nameservers[64];
} asker;

static void on_done(void *arg) {
  asker *a = arg;
  a->told++;
  if (!a->free_at_once) return;
  xm_dns_free(a->dns);
  a->dns = NULL;
}

/* Unless HURRY is set, no query times out before its answer; unless SHORT is set, there is time to wait for all
 * answers. */
static xm_dns_query make_query(asker *a, const server *s, const char *domain, int flags) {
  snprintf(a->nameservers, sizeof a->nameservers, "127.0.0.1:%d", s->port);
  return (xm_dns_query){.domain = domain,
                        .port = 5222,
                        .srv = flags & SRV,
                        .direct_tls = flags & DIRECT,
                        .names = flags & NAMES,
                        .nameservers = a->nameservers,
                        .budget_ms = flags & SHORT ? 600 : 120000,
                        .timeout_ms = flags & HURRY ? 250 : 20000};
}

static void start(asker *a, const xm_dns_query *q) {
  xm_err e = {0};
  *a = (asker){.loop = a->loop ? a->loop : xm_loop_new(NULL)};
  a->dns = xm_dns_start(a->loop, q, on_done, a, &e);
  assert_non_null(a->dns);
  assert_int_equal(a->told, 0);
}

static void finish(asker *a) {
  const xm_dns_address *list;
  while (!a->told) {
    if (a->dns) assert_int_equal(xm_dns_result(a->dns, &list, NULL), 0);
    xm_loop_turn(a->loop, -1);
    xm_loop_fire(a->loop);
  }
}

static void end(asker *a) {
  xm_dns_free(a->dns);
  xm_loop_turn(a->loop, 0);
  xm_loop_fire(a->loop);
  assert_true(a->told == 0 || a->told == 1);
  assert_int_equal(xm_loop_timeout(a->loop), -1);
  xm_loop_release(a->loop);
}

static void write_address(char *to, size_t size, const xm_dns_address *a) {
  char ip[INET6_ADDRSTRLEN];
  const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->sa;
  const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->sa;
  bool is4 = a->sa.ss_family == AF_INET;
  inet_ntop(a->sa.ss_family, is4 ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr, ip, sizeof ip);
  snprintf(to, size, "%d %s %d%s", a->target, ip, ntohs(is4 ? v4->sin_port : v6->sin6_port),
           a->direct_tls ? " tls" : "");
}

/* Writes the addresses, such as "0 192.0.2.1 5222; 1 192.0.2.2 5223 tls", or the error, such as "!NXDOMAIN retry". */
static void write_result(char text[TEXT], const xm_dns *d) {
  const xm_dns_address *list;
  xm_err e = {0};
  size_t at = 0;
  int i, n = xm_dns_result(d, &list, &e);
  text[0] = '\0';
  if (n < 0) {
    assert_int_equal(n, XM_EFAIL);
    assert_int_equal(e.layer, strcmp(e.condition, "ENOMEM") == 0 ? XM_LAYER_LIMIT : XM_LAYER_DNS);
    assert_true(strlen(e.text) > 0);
    snprintf(text, TEXT, "!%s%s", e.condition, e.retry ? " retry" : "");
    return;
  }
  assert_true(n >= 1 && n <= XM_DNS_ADDRESSES);
  for (i = 0; i < n; i++) {
    if (i) at += (size_t)snprintf(text + at, TEXT - at, "; ");
    write_address(text + at, TEXT - at, &list[i]);
    at += strlen(text + at);
  }
}

/* Writes the names: "0 a.test 5222; 1 b.test 5223 tls". */
static void write_names(char text[TEXT], const xm_dns *d) {
  xm_dns_name list[XM_DNS_TARGETS];
  xm_err e = {0};
  size_t at = 0;
  int i, n = xm_dns_names(d, list, &e);
  if (n < 0) return write_result(text, d); /* an error is written the same way */
  assert_false(xm_err_is_set(&e));
  assert_true(n >= 1 && n <= XM_DNS_TARGETS);
  for (i = 0; i < n; i++)
    at += (size_t)snprintf(text + at, TEXT - at, "%s%d %s %d%s", i ? "; " : "", i, list[i].host, list[i].port,
                           list[i].direct_tls ? " tls" : "");
}

/* A whole query, from opening a name server to the result as text. Returns how many questions the server received. */
static int ask(const char *zone, const char *domain, int flags, char text[TEXT]) {
  server s;
  asker a = {0}, with_name;
  xm_dns_query q;
  open_server(&s, zone, flags & NO_TCP ? TCP_REFUSED : TCP_SERVED);
  q = make_query(&with_name, &s, domain, flags);
  start(&a, &q);
  finish(&a);
  assert_int_equal(xm_loop_timeout(a.loop), -1);
  if (flags & NAMES) write_names(text, a.dns);
  else write_result(text, a.dns);
  end(&a);
  close_server(&s);
  return s.questions;
}

#define CLIENT "_xmpp-client._tcp.x.test SRV "
#define CLIENTS "_xmpps-client._tcp.x.test SRV "
#define ALL_SRV(word) "_xmpp-client._tcp.x.test ! " word "\n_xmpps-client._tcp.x.test ! " word "\n"
#define HOSTS "a.test A 192.0.2.1\nb.test A 192.0.2.2\nc.test A 192.0.2.3\nx.test A 192.0.2.9\n"

static const struct row {
  const char *title;
  int flags;
  const char *domain, *zone, *expected;
} rows[] = {
    {"no SRV wanted", 0, "x.test", CLIENT "0 0 1 a.test\n" HOSTS, "0 192.0.2.9 5222"},
    {"no SRV wanted, direct TLS", DIRECT, "x.test", HOSTS, "0 192.0.2.9 5222 tls"},
    {"no SRV there", SRV, "x.test", HOSTS, "0 192.0.2.9 5222"},
    {"a dot at the end", SRV, "x.test.", HOSTS CLIENT "0 0 1 a.test", "0 192.0.2.1 1"},
    {"capitals", SRV, "X.Test", HOSTS CLIENT "0 0 1 A.TEST", "0 192.0.2.1 1"},
    {"one record", SRV, "x.test", CLIENT "0 0 5269 a.test\n" HOSTS, "0 192.0.2.1 5269"},
    {"one record of direct TLS", SRV, "x.test", CLIENTS "0 0 443 a.test\n" HOSTS, "0 192.0.2.1 443 tls"},
    {"both by priority", SRV, "x.test", CLIENTS "20 0 443 a.test\n" CLIENT "10 0 5222 b.test\n" HOSTS,
     "0 192.0.2.2 5222; 1 192.0.2.1 443 tls"},
    {"both by priority, the other way round", SRV, "x.test",
     CLIENTS "9 0 443 a.test\n" CLIENT "10 0 5222 b.test\n" HOSTS, "0 192.0.2.1 443 tls; 1 192.0.2.2 5222"},
    {"four priorities mixed", SRV, "x.test",
     CLIENT "40 0 4 a.test\n" CLIENT "20 0 2 b.test\n" CLIENTS "30 0 3 c.test\n" CLIENTS "10 0 1 x.test\n" HOSTS,
     "0 192.0.2.9 1 tls; 1 192.0.2.2 2; 2 192.0.2.3 3 tls; 3 192.0.2.1 4"},
    {"one host twice", SRV, "x.test", CLIENTS "1 0 443 a.test\n" CLIENT "2 0 5222 A.test\n" HOSTS,
     "0 192.0.2.1 443 tls; 1 192.0.2.1 5222"},
    {"only direct TLS wanted", SRV | DIRECT, "x.test", CLIENTS "2 0 443 a.test\n" CLIENT "1 0 5222 b.test\n" HOSTS,
     "0 192.0.2.1 443 tls"},
    {"only direct TLS wanted, not there", SRV | DIRECT, "x.test", CLIENT "1 0 5222 b.test\n" HOSTS,
     "0 192.0.2.9 5222 tls"},
    {"target . of direct TLS only", SRV, "x.test", CLIENTS "0 0 0 .\n" CLIENT "0 0 5222 a.test\n" HOSTS,
     "0 192.0.2.1 5222"},
    {"target . of STARTTLS only", SRV, "x.test", CLIENTS "0 0 443 a.test\n" CLIENT "0 0 0 .\n" HOSTS,
     "0 192.0.2.1 443 tls"},
    {"target . of both", SRV, "x.test", CLIENTS "0 0 5223 .\n" CLIENT "0 0 5222 .\n" HOSTS, "!no-service"},
    {"target . of one, the other not there", SRV, "x.test", CLIENT "0 0 5222 .\n" HOSTS, "!no-service"},
    {"target . of one, the other unknown for now", SRV, "x.test",
     CLIENT "0 0 5222 .\n_xmpps-client._tcp.x.test ! SERVFAIL\n" HOSTS, "!no-service retry"},
    {"port 0 is passed over", SRV, "x.test", CLIENT "0 0 0 a.test\n" CLIENT "1 0 5222 b.test\n" HOSTS,
     "0 192.0.2.2 5222"},
    {"port 0 only", SRV, "x.test", CLIENT "0 0 0 a.test\n" HOSTS, "!no-service"},
    {"a target that is no host", SRV, "x.test",
     CLIENT "0 0 1 a\001b.test\n" CLIENT "0 0 2 a\\b.test\n" CLIENT "0 0 3 \303\244.test\n" CLIENT
            "9 0 4 b.test\n" HOSTS,
     "0 192.0.2.2 4"},
    {"one of two targets has no address", SRV, "x.test", CLIENT "0 0 1 none.test\n" CLIENT "1 0 2 b.test\n" HOSTS,
     "1 192.0.2.2 2"},
    {"no target has an address: no fallback", SRV, "x.test", CLIENT "0 0 1 none.test\n" CLIENT "1 0 2 nil.test\n" HOSTS,
     "!NXDOMAIN retry"},
    {"SRV behind a CNAME", SRV, "x.test", "_xmpp-client._tcp.x.test CNAME s.test\ns.test SRV 0 0 1 a.test\n" HOSTS,
     "0 192.0.2.1 1"},
    {"a CNAME in place of SRV", SRV, "x.test", "_xmpp-client._tcp.x.test CNAME a.test\n" HOSTS, "0 192.0.2.9 5222"},
    {"nothing there", SRV, "x.test", "", "!NXDOMAIN retry"},
    {"the name is there, but has no address", SRV, "x.test", "x.test SRV 0 0 1 a.test\n", "!NODATA retry"},
    {"empty answers", SRV, "x.test", ALL_SRV("NOERROR") "x.test ! NOERROR\n", "!NODATA retry"},
    {"only AAAA", SRV, "x.test", "x.test AAAA 2001:db8::1\n", "0 2001:db8::1 5222"},
    {"CNAME to A", SRV, "x.test", "x.test CNAME y.test\ny.test CNAME a.test\n" HOSTS, "0 192.0.2.1 5222"},
    {"CNAME in a circle", SRV, "x.test", "x.test CNAME y.test\ny.test CNAME x.test\n", "!NODATA retry"},
    {"SERVFAIL", SRV, "x.test", ALL_SRV("SERVFAIL") "x.test ! SERVFAIL\n", "!SERVFAIL retry"},
    {"REFUSED", SRV, "x.test", ALL_SRV("REFUSED") "x.test ! REFUSED\n", "!REFUSED retry"},
    {"NOTIMP", SRV, "x.test", ALL_SRV("NOTIMP") "x.test ! NOTIMP\n", "!NOTIMP retry"},
    {"FORMERR", SRV, "x.test", ALL_SRV("FORMERR") "x.test ! FORMERR\n", "!FORMERR retry"},
    {"SERVFAIL for SRV only", SRV, "x.test", ALL_SRV("SERVFAIL") HOSTS, "0 192.0.2.9 5222"},
    {"SERVFAIL for one SRV", SRV, "x.test", "_xmpps-client._tcp.x.test ! SERVFAIL\n" CLIENT "0 0 1 a.test\n" HOSTS,
     "0 192.0.2.1 1"},
    {"silence", HURRY, "x.test", "x.test ! DROP\n", "!TIMEOUT retry"},
    {"silence about SRV", SRV | HURRY, "x.test", ALL_SRV("DROP") HOSTS, "0 192.0.2.9 5222"},
    {"silence about SRV, and c-ares would wait", SRV | SHORT, "x.test", ALL_SRV("DROP") HOSTS, "0 192.0.2.9 5222"},
    {"silence about everything", SRV | SHORT, "x.test", ALL_SRV("DROP") "x.test ! DROP\n", "!TIMEOUT retry"},
    {"silence about one SRV", SRV | SHORT, "x.test", "_xmpps-client._tcp.x.test ! DROP\n" CLIENT "0 0 1 a.test\n" HOSTS,
     "0 192.0.2.1 1"},
    {"silence about one SRV, the other's target is .", SRV | SHORT, "x.test",
     "_xmpps-client._tcp.x.test ! DROP\n" CLIENT "0 0 1 .\n" HOSTS, "!no-service retry"},
    {"silence about one SRV, there is none of the other", SRV | SHORT, "x.test", "_xmpps-client._tcp.x.test ! DROP\n" HOSTS,
     "0 192.0.2.9 5222"},
    {"silence about AAAA", 0, "x.test", "x.test !AAAA DROP\n" HOSTS, "0 192.0.2.9 5222"},
    {"silence about A", 0, "x.test", "x.test !A DROP\nx.test AAAA 2001:db8::1\n" HOSTS, "0 2001:db8::1 5222"},
    {"silence about A, and there is no AAAA", SHORT, "x.test", "x.test !A DROP\n", "!TIMEOUT retry"},
    {"SERVFAIL for AAAA", 0, "x.test", "x.test !AAAA SERVFAIL\n" HOSTS, "0 192.0.2.9 5222"},
    {"SERVFAIL for AAAA, and there is no A", 0, "x.test", "x.test !AAAA SERVFAIL\n", "!SERVFAIL retry"},
    {"silence about the AAAA of one SRV target", SRV, "x.test",
     CLIENT "0 0 1 a.test\n" CLIENT "1 0 2 b.test\na.test !AAAA DROP\nb.test AAAA 2001:db8::2\n" HOSTS,
     "0 192.0.2.1 1; 1 2001:db8::2 2; 1 192.0.2.2 2"},
    {"silence about one SRV target", SRV | SHORT, "x.test",
     CLIENT "0 0 1 a.test\n" CLIENT "1 0 2 b.test\na.test ! DROP\n" HOSTS, "1 192.0.2.2 2"},
    {"a lost question", HURRY, "x.test", "x.test ! DROPONCE\n" HOSTS, "0 192.0.2.9 5222"},
    {"noise before the answer", SRV, "x.test", ALL_SRV("NOISE") CLIENT "0 0 1 a.test\na.test ! NOISE\n" HOSTS,
     "0 192.0.2.1 1"},
    {"malformed SRV: half", SRV, "x.test", ALL_SRV("HALF") HOSTS, "0 192.0.2.9 5222"},
    {"malformed SRV: a name in a circle", SRV, "x.test", ALL_SRV("LOOP") HOSTS, "0 192.0.2.9 5222"},
    {"malformed address: half", 0, "x.test", "x.test ! HALF\n", "!EBADRESP retry"},
    {"malformed address: a name in a circle", 0, "x.test", "x.test ! LOOP\n", "!EBADRESP retry"},
    {"names: both by priority", SRV | NAMES, "x.test",
     CLIENTS "20 0 443 none.test\n" CLIENT "10 0 5269 b.test\n" HOSTS, "0 b.test 5269; 1 none.test 443 tls"},
    {"names: one host twice", SRV | NAMES, "x.test", CLIENTS "1 0 443 a.test\n" CLIENT "2 0 5222 A.test\n",
     "0 a.test 443 tls; 1 A.test 5222"},
    {"names: only direct TLS wanted", SRV | DIRECT | NAMES, "x.test", CLIENTS "2 0 443 a.test\n" CLIENT "1 0 5222 b.test\n",
     "0 a.test 443 tls"},
    {"names: no SRV there", SRV | NAMES, "x.test", "", "0 x.test 5222"},
    {"names: no SRV there, direct TLS", SRV | DIRECT | NAMES, "x.test", "", "0 x.test 5222 tls"},
    {"names: silence", SRV | NAMES | SHORT, "x.test", ALL_SRV("DROP"), "0 x.test 5222"},
    {"names: SERVFAIL", SRV | NAMES, "x.test", ALL_SRV("SERVFAIL"), "0 x.test 5222"},
    {"names: target .", SRV | NAMES, "x.test", CLIENTS "0 0 5223 .\n" CLIENT "0 0 5222 .\n", "!no-service"},
    {"names: a target that is an address", SRV | NAMES, "x.test", CLIENT "0 0 1 192.0.2.7\n", "0 192.0.2.7 1"},
    {"names: an address", SRV | NAMES, "192.0.2.7", "", "0 192.0.2.7 5222"},
    {"an empty label", SRV, "x..test", HOSTS, "!EBADNAME"},
    {"a label too long", SRV, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.test", HOSTS,
     "!EBADNAME"},
    {"an IPv4 address", SRV, "192.0.2.7", "", "0 192.0.2.7 5222"},
    {"an IPv4 address, direct TLS", SRV | DIRECT, "192.0.2.7", "", "0 192.0.2.7 5222 tls"},
    {"an IPv6 address", SRV, "2001:db8::7", "", "0 2001:db8::7 5222"},
    {"a target that is an address", SRV, "x.test", CLIENT "0 0 1 192.0.2.7\n", "0 192.0.2.7 1"},
    {"addresses in RFC 6724's order of preference", 0, "x.test",
     "x.test AAAA fd00::1\nx.test AAAA 3ffe::1\nx.test AAAA 2001::1\nx.test AAAA fec0::1\nx.test AAAA 2002::1\n"
     "x.test A 192.0.2.2\nx.test A 192.0.2.1\nx.test AAAA ::192.0.2.3\n"
     "x.test AAAA 2001:db8::2\nx.test AAAA 2001:db8::1\nx.test AAAA 2001:1::1\nx.test AAAA ::1\n",
     "0 ::1 5222; 0 2001:db8::2 5222; 0 2001:db8::1 5222; 0 2001:1::1 5222; 0 192.0.2.2 5222; 0 192.0.2.1 5222; "
     "0 2002::1 5222; 0 2001::1 5222; 0 fd00::1 5222; 0 3ffe::1 5222; 0 fec0::1 5222; 0 ::192.0.2.3 5222"},
    {"IPv4 in IPv6 is no better than IPv4", 0, "x.test",
     "x.test AAAA 2002::1\nx.test AAAA ::ffff:192.0.2.4\nx.test AAAA 2001:db8::1\n",
     "0 2001:db8::1 5222; 0 ::ffff:192.0.2.4 5222; 0 2002::1 5222"},
    {"five addresses of one target, four of the other", SRV, "x.test",
     CLIENT "1 0 1 m.test\n" CLIENT "2 0 2 b.test\nm.test A 192.0.2.11\nm.test A 192.0.2.12\nm.test A 192.0.2.13\n"
            "m.test A 192.0.2.14\nm.test A 192.0.2.15\n" HOSTS,
     "0 192.0.2.11 1; 0 192.0.2.12 1; 0 192.0.2.13 1; 0 192.0.2.14 1; 1 192.0.2.2 2"},
    {"five addresses of the only target", SRV, "x.test",
     CLIENT "1 0 1 m.test\nm.test A 192.0.2.11\nm.test A 192.0.2.12\nm.test A 192.0.2.13\nm.test A 192.0.2.14\n"
            "m.test A 192.0.2.15\n",
     "0 192.0.2.11 1; 0 192.0.2.12 1; 0 192.0.2.13 1; 0 192.0.2.14 1; 0 192.0.2.15 1"},
};

static void answers_as_the_row_says(void **state) {
  const struct row *r = *state;
  char text[TEXT];
  ask(r->zone, r->domain, r->flags, text);
  assert_string_equal(text, r->expected);
}

/* What doesn't fit into a row of the table. */

/* Replaces the C library's, for c-ares as well. The sockets must be non-blocking, and not be inherited by a child. */
static atomic_int connects;

__attribute__((visibility("default"))) int connect(int fd, const struct sockaddr *sa, socklen_t n) {
  connects++;
  assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
  assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  return (int)syscall(SYS_connect, fd, sa, n);
}

/* Writes `line` n times, with the number in place of '#' and two bytes of an address in place of '@'. */
static char *repeat(char *to, int n, const char *line) {
  const char *c;
  int i;
  for (i = 0; i < n; i++) {
    for (c = line; *c; c++) {
      if (*c == '#') {
        to += sprintf(to, "%d", i);
      } else if (*c == '@') {
        to += sprintf(to, "%d.%d", i / 250, i % 250 + 1);
      } else {
        *to++ = *c;
      }
    }
  }
  *to = '\0';
  return to;
}

static int count_of(const char *text, const char *piece) {
  int n = 0;
  while ((text = strstr(text, piece))) {
    n++;
    text++;
  }
  return n;
}

static void takes_sixteen_of_500_targets(void **state) {
  char *zone = malloc(200000), text[TEXT];
  (void)state;
  repeat(repeat(zone, 500, CLIENT "# 0 5222 h#.test\n"), 500, "h#.test A 10.1.@\nh#.test A 10.2.@\nh#.test A 10.3.@\n");
  assert_int_equal(ask(zone, "x.test", SRV, text), 1 + 2 + 2 * XM_DNS_TARGETS); /* one twice, once by TCP */
  assert_int_equal(count_of(text, ";"), XM_DNS_ADDRESSES - 1);
  assert_ptr_equal(strstr(text, "0 10.1.0.1 5222; 0 10.2.0.1 5222; 1 10.1.0.2 5222; "), text);
  assert_non_null(strstr(text, "; 15 10.1.0.16 5222; 15 10.2.0.16 5222"));
  free(zone);
}

/* Names whose addresses somebody else (a proxy) will look up. */
static void names_are_not_looked_up(void **state) {
  char *zone = malloc(200000), text[TEXT];
  (void)state;
  repeat(zone, 500, CLIENT "# 0 5222 h#.test\n");
  assert_int_equal(ask(zone, "x.test", SRV | NAMES, text), 1 + 2); /* one of them twice, the second time by TCP */
  assert_int_equal(count_of(text, ";"), XM_DNS_TARGETS - 1);
  assert_int_equal(ask("", "x.test", SRV | NAMES, text), 2);
  assert_int_equal(ask("", "192.0.2.1", SRV | NAMES, text), 0);
  free(zone);
}

static void too_long_an_answer_without_tcp_is_none(void **state) {
  char *zone = malloc(200000), text[TEXT];
  (void)state;
  strcpy(repeat(zone, 500, CLIENT "# 0 5222 h#.test\n"), HOSTS);
  ask(zone, "x.test", SRV | NO_TCP, text);
  assert_string_equal(text, "0 192.0.2.9 5222");
  free(zone);
}

/* No connection to any of the addresses is tried: only a few sockets are connected to the name server. */
static void addresses_are_limited_in_number(void **state) {
  char *zone = malloc(200000), text[TEXT];
  (void)state;
  repeat(zone, 3000, "x.test A 10.0.@\n");
  connects = 0;
  ask(zone, "x.test", SRV, text);
  assert_true(connects >= 1 && connects <= 9);
  assert_int_equal(count_of(text, ";"), XM_DNS_ADDRESSES - 1);
  assert_ptr_equal(strstr(text, "0 10.0.0.1 5222; 0 10.0.0.2 5222; "), text);
  free(zone);
}

/* Seven addresses of one family and one of the other, then seven of each; each family may take four. */
static void check_families(const char *aaaa, const char *ipv6, const char *a, const char *ipv4) {
  char zone[2000], text[TEXT];
  strcpy(repeat(zone, 7, aaaa), CLIENT "1 0 1 a.test\n" CLIENT "2 0 2 b.test\nb.test A 192.0.2.2\n");
  repeat(zone + strlen(zone), 1, a);
  ask(zone, "x.test", SRV, text);
  assert_int_equal(count_of(text, ipv6), 3);
  assert_int_equal(count_of(text, ipv4), 1);
  repeat(zone + strlen(zone), 6, a);
  ask(zone, "x.test", SRV, text);
  assert_int_equal(count_of(text, ipv6), 2);
  assert_int_equal(count_of(text, ipv4), 2);
}

static void neither_family_crowds_out_the_other(void **state) {
  (void)state;
  check_families("a.test AAAA ::1\n", "0 ::1 1", "a.test A 127.0.0.1\n", "0 127.0.0.1 1");
  check_families("a.test AAAA 2001:db8::#\n", "0 2001:db8::", "a.test A 192.0.2.3#\n", "0 192.0.2.3");
}

static void asks_once_for_a_host_that_is_named_twice(void **state) {
  char text[TEXT];
  (void)state;
  assert_int_equal(ask(CLIENTS "1 0 1 a.test\n" CLIENT "2 0 2 a.test\n" HOSTS, "x.test", SRV, text), 4);
}

static void asks_nobody_for_localhost_or_addresses(void **state) {
  static const char *const names[] = {"localhost", "127.0.0.1", "::1"};
  char text[TEXT];
  size_t i;
  (void)state;
  for (i = 0; i < 3; i++) {
    assert_int_equal(ask("", names[i], 0, text), 0);
    assert_true(strstr(text, "0 127.0.0.1 5222") || strstr(text, "0 ::1 5222"));
  }
}

/* Replaces the C library's, since c-ares opens the hosts file by it. */
static bool no_hosts_file;

__attribute__((visibility("default"))) FILE *fopen(const char *path, const char *mode) {
  static FILE *(*usual)(const char *, const char *);
  if (no_hosts_file && strcmp(path, "/etc/hosts") == 0) return errno = ENOENT, NULL;
  if (!usual) usual = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen");
  return usual(path, mode);
}

/* RFC 6761 6.3: no name server is asked about localhost, and no other name stands for this machine. */
static void localhost_needs_no_hosts_file(void **state) {
  char text[TEXT];
  (void)state;
  no_hosts_file = true;
  assert_int_equal(ask("", "localhost", 0, text), 0);
  assert_string_equal(text, "0 ::1 5222; 0 127.0.0.1 5222");
  ask(CLIENT "1 0 1 localhost\n", "x.test", SRV, text);
  assert_string_equal(text, "0 ::1 1; 0 127.0.0.1 1");
  ask("", "nohost", 0, text);
  assert_string_equal(text, "!NXDOMAIN retry");
  no_hosts_file = false;
}

static void says_which_targets_have_no_address(void **state) {
  server s;
  asker a = {0}, with_name;
  xm_dns_query q;
  const xm_dns_address *list;
  xm_err e = {0};
  (void)state;
  open_server(&s,
              CLIENT "1 0 1 one.test\n" CLIENT "2 0 2 two.test\n" CLIENT "3 0 3 one.test\ntwo.test ! NOERROR\n" HOSTS,
              TCP_SERVED);
  q = make_query(&with_name, &s, "x.test", SRV);
  start(&a, &q);
  finish(&a);
  assert_int_equal(xm_dns_result(a.dns, &list, &e), XM_EFAIL);
  assert_string_equal(e.text, "x.test: no SRV target has an address (one.test: NXDOMAIN, two.test: NODATA)");
  xm_err_clear(&e);
  xm_err_set(&e, XM_LAYER_TCP, "first", true, "an earlier error");
  assert_int_equal(xm_dns_result(a.dns, &list, &e), XM_EFAIL);
  assert_string_equal(e.condition, "first");
  assert_int_equal(xm_dns_result(a.dns, &list, NULL), XM_EFAIL);
  end(&a);
  close_server(&s);
}

/* Several name servers, broken ones, silent ones. */

/* Closes a connection so that the peer's next write fails with EPIPE: a reset after its end has been received. */
static void break_pipe(int fd) {
  static const struct linger at_once = {.l_onoff = 1};
  assert_true(fd >= 0);
  assert_int_equal(shutdown(fd, SHUT_WR), 0);
  assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
  close(fd);
}

/* Breaks every connection before anything is written to it. Returns how many there were. */
static int finish_breaking(asker *a, const server *s) {
  struct pollfd listener = {s->tcp, POLLIN, 0};
  int broken = 0;
  while (!a->told) {
    xm_loop_turn(a->loop, -1);
    for (; poll(&listener, 1, 0) > 0; broken++) break_pipe(accept(s->tcp, NULL, NULL));
    xm_loop_fire(a->loop);
  }
  return broken;
}

static void a_broken_pipe_to_a_name_server_kills_nobody(void **state) {
  void (*before)(int) = signal(SIGPIPE, SIG_DFL);
  char *zone = malloc(200000), text[TEXT], both[64];
  server broken, whole;
  asker a = {0}, b = {0}, with_name;
  xm_dns_query q;
  int pipes;
  (void)state;
  repeat(repeat(zone, 900, "x.test A 10.0.@\n"), 900, "x.test AAAA fd00::#\n");
  open_server(&broken, zone, TCP_OURS);
  open_server(&whole, zone, TCP_SERVED);
  q = make_query(&with_name, &broken, "x.test", 0);
  start(&a, &q);
  pipes = finish_breaking(&a, &broken);
  assert_true(pipes >= 1 && pipes <= 100);
  write_result(text, a.dns);
  assert_string_equal(text, "!ECONNREFUSED retry");
  end(&a);
  q.nameservers = both;
  snprintf(both, sizeof both, "127.0.0.1:%d,127.0.0.1:%d", broken.port, whole.port);
  start(&b, &q);
  pipes = finish_breaking(&b, &broken);
  assert_true(pipes >= 1 && pipes <= 100);
  write_result(text, b.dns);
  assert_int_equal(count_of(text, ";"), XM_DNS_ADDRESSES - 1);
  end(&b);
  close_server(&broken);
  close_server(&whole);
  free(zone);
  signal(SIGPIPE, before);
}

/* Asks two name servers; the second one after `try_ms`, and none after `budget_ms`. */
static void ask_both(const char *zone1, const char *zone2, int try_ms, int budget_ms, char text[TEXT]) {
  server s1, s2;
  asker a = {0};
  char both[64];
  xm_dns_query q = {.domain = "x.test", .port = 5222, .srv = true, .nameservers = both, .budget_ms = budget_ms, .timeout_ms = try_ms};
  open_server(&s1, zone1, TCP_SERVED);
  open_server(&s2, zone2, TCP_SERVED);
  snprintf(both, sizeof both, "127.0.0.1:%d,127.0.0.1:%d", s1.port, s2.port);
  start(&a, &q);
  finish(&a);
  write_result(text, a.dns);
  end(&a);
  close_server(&s1);
  close_server(&s2);
}

static void ask_two(const char *zone1, const char *zone2, int try_ms, char text[TEXT]) {
  ask_both(zone1, zone2, try_ms, 120000, text);
}

static void the_second_name_server_helps_out(void **state) {
  char text[TEXT];
  (void)state;
  ask_two(ALL_SRV("SERVFAIL") "x.test ! REFUSED\n", HOSTS, 20000, text);
  assert_string_equal(text, "0 192.0.2.9 5222");
  ask_two(ALL_SRV("DROP") "x.test ! DROP\n", CLIENT "0 0 1 x.test\n" HOSTS, 50, text);
  assert_string_equal(text, "0 192.0.2.9 1");
  ask_two("x.test ! REFUSED\n", "x.test ! REFUSED\n", 20000, text);
  assert_string_equal(text, "!REFUSED retry");
}

/* If all name servers leave one question unanswered, that costs no more time than if one did (RFC 8305 3). */
static void two_that_are_silent_cost_as_little_as_one(void **state) {
  char text[TEXT];
  (void)state;
  ask_both("x.test !AAAA DROP\n" HOSTS, "x.test !AAAA DROP\n" HOSTS, 20000, 600, text);
  assert_string_equal(text, "0 192.0.2.9 5222");
  ask_both(ALL_SRV("DROP") HOSTS, ALL_SRV("DROP") HOSTS, 20000, 600, text);
  assert_string_equal(text, "0 192.0.2.9 5222");
  ask_both("x.test !A DROP\nx.test AAAA 2001:db8::1\n", "x.test !A DROP\nx.test AAAA 2001:db8::1\n", 20000, 600, text);
  assert_string_equal(text, "0 2001:db8::1 5222");
}

static void no_name_server_is_an_error(void **state) {
  server s;
  asker a = {0}, with_name;
  xm_dns_query q;
  char text[TEXT];
  (void)state;
  open_server(&s, "", TCP_SERVED);
  close_server(&s);
  q = make_query(&with_name, &s, "x.test", SRV | HURRY);
  start(&a, &q);
  finish(&a);
  write_result(text, a.dns);
  assert_true(strcmp(text, "!ECONNREFUSED retry") == 0 || strcmp(text, "!TIMEOUT retry") == 0);
  end(&a);
}

/* The last timeout that the loop is given is short, however long c-ares would wait. */
static void silence_is_not_waited_out(void **state) {
  static const struct { const char *zone; int most; } silent[] = {
      {"x.test !AAAA DROP\n" HOSTS, 50},
      {"x.test !A DROP\nx.test AAAA 2001:db8::1\n", 50},
      {CLIENT "0 0 1 a.test\n" CLIENT "1 0 2 b.test\na.test ! DROP\n" HOSTS, 1000}};
  server s;
  asker with_name;
  xm_dns_query q;
  size_t i;
  int wait = 0;
  (void)state;
  for (i = 0; i < sizeof silent / sizeof *silent; i++) {
    asker a = {0};
    open_server(&s, silent[i].zone, TCP_SERVED);
    q = make_query(&with_name, &s, "x.test", SRV);
    q.budget_ms = 15000;
    start(&a, &q);
    while (!a.told) {
      wait = xm_loop_timeout(a.loop);
      xm_loop_turn(a.loop, -1);
      xm_loop_fire(a.loop);
    }
    assert_true(wait >= 0 && wait <= silent[i].most);
    end(&a);
    close_server(&s);
  }
}

static void waiting_takes_few_turns(void **state) {
  server s;
  asker a = {0}, with_name;
  xm_dns_query q;
  int turns = 0;
  (void)state;
  open_server(&s, "x.test ! DROP\n", TCP_SERVED);
  q = make_query(&with_name, &s, "x.test", HURRY);
  start(&a, &q);
  while (!a.told) {
    xm_loop_turn(a.loop, -1);
    xm_loop_fire(a.loop);
    turns++;
  }
  assert_true(turns >= 2 && turns <= 20);
  end(&a);
  close_server(&s);
}

static void the_search_list_is_left_out(void **state) {
  char text[TEXT];
  (void)state;
  setenv("LOCALDOMAIN", "evil.test", 1);
  ask("x.test.evil.test A 192.0.2.66\nx.evil.test A 192.0.2.66\n", "x.test", SRV, text);
  assert_string_equal(text, "!NXDOMAIN retry");
  ask("x.evil.test A 192.0.2.66\n", "x", SRV, text);
  assert_string_equal(text, "!NXDOMAIN retry");
  unsetenv("LOCALDOMAIN");
}

static void refuse(xm_dns_query q, const char *condition) {
  xm_loop *l = xm_loop_new(NULL);
  xm_err e = {0};
  assert_null(xm_dns_start(l, &q, on_done, NULL, &e));
  assert_int_equal(e.layer, XM_LAYER_DNS);
  assert_string_equal(e.condition, condition);
  assert_false(e.retry);
  assert_null(xm_dns_start(l, &q, on_done, NULL, NULL));
  assert_int_equal(xm_loop_timeout(l), -1);
  xm_loop_release(l);
}

static void what_is_no_name_is_refused(void **state) {
  static const char *const names[] = {"",          "a b.test", "[::1]",         "192.0.2.1%lo", "fe80::1::2%lo",
                                      "a\nb.test", "a\\.test", "\303\244.test", "1:2",          "x.test%lo"};
  char longest[255];
  size_t i;
  (void)state;
  for (i = 0; i < sizeof names / sizeof *names; i++) refuse((xm_dns_query){.domain = names[i], .port = 1}, "EBADNAME");
  memset(longest, 'a', 254);
  for (i = 50; i < 254; i += 50) longest[i] = '.';
  longest[254] = '\0';
  refuse((xm_dns_query){.domain = longest, .port = 1}, "EBADNAME");
  refuse((xm_dns_query){.domain = "x.test", .port = 0}, "EINVAL");
  refuse((xm_dns_query){.domain = "x.test", .port = 65536}, "EINVAL");
  refuse((xm_dns_query){.domain = "x.test", .port = 1, .nameservers = "nonsense"}, "EBADSTR");
}

/* RFC 4007 11: a link-local address can only be used with its zone. */
static void a_zone_is_part_of_an_address(void **state) {
  static const struct { const char *domain, *condition; } rows[] = {
      {"fe80::1%lo", NULL}, {"fe80::1%1", NULL}, {"fe80::1%no-such-one", "ENODEV"}, {"fe80::1%", "ENODEV"},
      {"fe80::1%1x", "ENODEV"}, {"fe80::1%4294967297", "ENODEV"}, {"fe80::1%99999", "ENODEV"}};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    xm_dns_query q = {.domain = rows[i].domain, .port = 5222, .srv = true};
    xm_loop *l = xm_loop_new(NULL);
    asker a = {.loop = l};
    const xm_dns_address *list;
    xm_err e = {0};
    a.dns = xm_dns_start(l, &q, on_done, &a, &e);
    assert_int_equal(!a.dns, rows[i].condition != NULL);
    if (!a.dns) assert_string_equal(e.condition, rows[i].condition);
    if (a.dns) finish(&a);
    if (a.dns) assert_int_equal(xm_dns_result(a.dns, &list, NULL), 1);
    if (a.dns) assert_int_equal(((const struct sockaddr_in6 *)&list->sa)->sin6_scope_id, if_nametoindex("lo"));
    end(&a);
  }
}

/* With the prefixes of the services the name is too long, but the domain itself isn't. */
static void the_longest_name_is_looked_up(void **state) {
  char longest[254], zone[400], text[TEXT];
  size_t i;
  (void)state;
  memset(longest, 'a', 253);
  for (i = 50; i < 253; i += 50) longest[i] = '.';
  longest[253] = '\0';
  snprintf(zone, sizeof zone, "%s A 192.0.2.1\n", longest);
  ask(zone, longest, SRV, text);
  assert_string_equal(text, "0 192.0.2.1 5222");
}

/* Freeing. */

static void may_be_freed_at_any_moment(void **state) {
  char *zone = malloc(200000);
  server s;
  asker a, with_name;
  xm_dns_query q;
  int turns, i;
  bool over = false;
  (void)state;
  strcpy(repeat(repeat(zone, 60, CLIENT "# 0 5222 h#.test\n"), 60, "h#.test A 10.0.@\n"), "x.test ! DROP\n");
  open_server(&s, zone, TCP_SERVED);
  q = make_query(&with_name, &s, "x.test", SRV);
  for (turns = 0; !over; turns++) {
    a = (asker){0};
    start(&a, &q);
    for (i = 0; i < turns && !a.told; i++) {
      xm_loop_turn(a.loop, -1);
      xm_loop_fire(a.loop);
    }
    over = a.told;
    end(&a);
  }
  assert_true(turns > 3);
  close_server(&s);
  xm_dns_free(NULL);
  free(zone);
}

static void may_be_freed_by_done(void **state) {
  static const char *const names[] = {"x.test", "none.test", "127.0.0.1", "x..test"};
  server s;
  asker a, with_name;
  xm_dns_query q;
  size_t i;
  (void)state;
  open_server(&s, CLIENT "0 0 1 a.test\n" HOSTS, TCP_SERVED);
  for (i = 0; i < 4; i++) {
    a = (asker){0};
    q = make_query(&with_name, &s, names[i], SRV);
    start(&a, &q);
    a.free_at_once = true;
    finish(&a);
    assert_null(a.dns);
    end(&a);
  }
  close_server(&s);
}

static void many_at_once_share_a_loop(void **state) {
  server s;
  asker askers[50], with_name;
  xm_dns_query q;
  char text[TEXT];
  int i;
  (void)state;
  open_server(&s, CLIENT "0 0 1 a.test\n" HOSTS, TCP_SERVED);
  q = make_query(&with_name, &s, "x.test", SRV);
  for (i = 0; i < 50; i++) {
    askers[i].loop = i ? askers[0].loop : xm_loop_new(NULL);
    start(&askers[i], &q);
  }
  for (i = 0; i < 50; i++) {
    if (i % 7 != 3) finish(&askers[i]);
    if (i % 7 != 3) write_result(text, askers[i].dns);
    assert_string_equal(text, "0 192.0.2.1 1");
    xm_dns_free(askers[i].dns);
  }
  xm_loop_release(askers[0].loop);
  close_server(&s);
}

/* c-ares when memory runs out: one allocation fails, or all from one on. */

static int allocations_left = -1; /* -1: none fails */
static bool only_once;

static bool is_dry(void) {
  if (allocations_left < 0) return false;
  if (allocations_left > 0) return --allocations_left == 0;
  return !only_once;
}

/* LeakSanitizer's; NULL without it. c-ares 1.34 leaks an answer if it has no memory to pass it on, which is no leak of
 * ours: so leaks of what c-ares allocates while memory is short are ignored. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

static void *unwatched_realloc(void *p, size_t n) {
  int version;
  ares_version(&version);
  if (allocations_left < 0 || version < 0x012200 || !__lsan_disable) return realloc(p, n);
  __lsan_disable();
  p = realloc(p, n);
  __lsan_enable();
  return p;
}

static void *stingy_realloc(void *p, size_t n) {
  return is_dry() ? errno = ENOMEM, NULL : unwatched_realloc(p, n);
}

static void *stingy_malloc(size_t n) {
  return stingy_realloc(NULL, n);
}

/* Looks up with `budget` allocations that work. Returns how many of them were left at the end. */
static int run_out(const xm_dns_query *q, int budget, char text[TEXT]) {
  asker a = {.loop = xm_loop_new(NULL)};
  xm_err e = {0};
  int left;
  allocations_left = budget;
  a.dns = xm_dns_start(a.loop, q, on_done, &a, &e);
  if (a.dns) finish(&a);
  left = allocations_left;
  allocations_left = -1;
  assert_int_equal(!a.dns, xm_err_is_set(&e));
  if (a.dns) {
    write_result(text, a.dns);
  } else {
    snprintf(text, TEXT, "!%s", e.condition);
  }
  end(&a);
  return left;
}

/* c-ares may lose an answer for which it has no memory, or a host's address (1.18: one that isn't in the hosts file).
 * Then the result is an error or lacks a host, but it never is x.test itself, since no answer said that there is no SRV
 * record. */
static void sweep(bool once) {
  static const char whole[] = "0 192.0.2.1 1 tls; 1 192.0.2.2 2";
  char text[TEXT];
  server s;
  asker with_name;
  xm_dns_query q;
  int budget, left, short_of_memory = 0;
  open_server(&s, CLIENTS "1 0 1 a.test\n" CLIENT "2 0 2 b.test\n" HOSTS, TCP_SERVED);
  q = make_query(&with_name, &s, "x.test", SRV);
  q.timeout_ms = 40;
  only_once = once;
  for (budget = 1, left = 0; left == 0 || strcmp(text, whole) != 0; budget++) {
    left = run_out(&q, budget, text);
    if (strncmp(text, "!ENOMEM", 7) == 0) {
      short_of_memory++;
    } else {
      assert_non_null(strstr(whole, text));
    }
  }
  assert_true(short_of_memory > 10);
  close_server(&s);
}

/* When c-ares reads the hosts file itself (1.20 and later, up to 1.34 at least) and memory runs out there, it frees an
 * entry twice; so here it finds no hosts file. */
static void c_ares_may_run_out_of_memory(void **state) {
  int version;
  (void)state;
  ares_version(&version);
  no_hosts_file = version >= 0x011400;
  sweep(true);
  sweep(false);
  no_hosts_file = false;
}

enum { ROWS = sizeof rows / sizeof *rows };

static const struct CMUnitTest others[] = {
    cmocka_unit_test(takes_sixteen_of_500_targets),
    cmocka_unit_test(names_are_not_looked_up),
    cmocka_unit_test(too_long_an_answer_without_tcp_is_none),
    cmocka_unit_test(addresses_are_limited_in_number),
    cmocka_unit_test(neither_family_crowds_out_the_other),
    cmocka_unit_test(asks_once_for_a_host_that_is_named_twice),
    cmocka_unit_test(asks_nobody_for_localhost_or_addresses),
    cmocka_unit_test(localhost_needs_no_hosts_file),
    cmocka_unit_test(says_which_targets_have_no_address),
    cmocka_unit_test(a_broken_pipe_to_a_name_server_kills_nobody),
    cmocka_unit_test(the_second_name_server_helps_out),
    cmocka_unit_test(two_that_are_silent_cost_as_little_as_one),
    cmocka_unit_test(no_name_server_is_an_error),
    cmocka_unit_test(silence_is_not_waited_out),
    cmocka_unit_test(waiting_takes_few_turns),
    cmocka_unit_test(the_search_list_is_left_out),
    cmocka_unit_test(what_is_no_name_is_refused),
    cmocka_unit_test(a_zone_is_part_of_an_address),
    cmocka_unit_test(the_longest_name_is_looked_up),
    cmocka_unit_test(may_be_freed_at_any_moment),
    cmocka_unit_test(may_be_freed_by_done),
    cmocka_unit_test(many_at_once_share_a_loop),
    cmocka_unit_test(c_ares_may_run_out_of_memory),
};

int main(void) {
  struct CMUnitTest tests[ROWS + sizeof others / sizeof *others];
  size_t i;
  for (i = 0; i < ROWS; i++) {
    tests[i] = (struct CMUnitTest){rows[i].title, answers_as_the_row_says, NULL, NULL, (void *)(uintptr_t)&rows[i]};
  }
  memcpy(tests + ROWS, others, sizeof others);
  ares_library_init_mem(ARES_LIB_INIT_ALL, stingy_malloc, free, stingy_realloc);
  alarm(600);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
