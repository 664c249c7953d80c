/* tls: the yardsticks of `make bench` for TLS, with OpenSSL alone, and `tlspeer` as the server; and what the library's
 * own module costs in comparison. Each prints microseconds of CPU (user and system) for a handshake or a record.
 *
 *   tls handshake N  connects and does the handshake, verifying the server's certificate, with one context for all
 *   tls read N       reads N records of 400 bytes, as OpenSSL does by default (without reading ahead)
 *   tls receive N    the same with c/core/tls */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "figure.h"
#include "tls.h"

enum { RECORD = 400, ROOM = 16 * 1024, WARM_UP = 20 };

static void die(const char *what) {
  perror(what);
  exit(2);
}

static int dial(void) {
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(bench_port())};
  int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0) die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

static SSL_CTX *new_context(void) {
  SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
  if (!ctx || SSL_CTX_load_verify_file(ctx, getenv("BENCH_CA")) != 1) die("the CA");
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
  return ctx;
}

static SSL *connect_to(SSL_CTX *ctx) {
  SSL *ssl = SSL_new(ctx);
  if (SSL_set_fd(ssl, dial()) != 1 || SSL_set1_host(ssl, "bench.test") != 1) die("SSL_new");
  SSL_set_tlsext_host_name(ssl, "bench.test");
  if (SSL_connect(ssl) != 1) die("SSL_connect");
  return ssl;
}

static int handshake(long n) {
  SSL_CTX *ctx = new_context();
  double spent = 0;
  long i;
  for (i = -WARM_UP; i < n; i++) {
    double since = cpu();
    SSL *ssl = connect_to(ctx);
    if (i >= 0) spent += cpu() - since;
    SSL_shutdown(ssl);
    close(SSL_get_fd(ssl));
    SSL_free(ssl);
  }
  return tell(spent, (double)n);
}

static int read_records(long n) {
  static char to[ROOM];
  SSL *ssl = connect_to(new_context());
  double since = cpu();
  long left = n * RECORD;
  while (left > 0) {
    int got = SSL_read(ssl, to, sizeof to);
    if (got <= 0) die("SSL_read");
    left -= got;
  }
  return tell(cpu() - since, (double)n);
}

static ssize_t io_recv(void *arg, void *to, size_t n) {
  ssize_t got = recv(*(int *)arg, to, n, MSG_DONTWAIT);
  return got < 0 ? -errno : got;
}

static ssize_t io_send(void *arg, const void *from, size_t n) {
  ssize_t sent = send(*(int *)arg, from, n, MSG_NOSIGNAL);
  return sent < 0 ? -errno : sent;
}

static void wait_for(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  poll(&p, 1, -1);
}

/* Reads as link does: until there is nothing more, and then waits. */
static int receive(long n) {
  static char to[ROOM];
  const xm_tls_options options = {.ca_file = getenv("BENCH_CA")};
  const xm_tls_peer peer = {.name = "bench.test"};
  int fd = dial(), rc;
  const xm_tls_io io = {&fd, io_recv, io_send};
  xm_err e = {0};
  xm_tls_ctx *ctx = xm_tls_ctx_new(&options, &e);
  xm_tls *t = ctx ? xm_tls_new(ctx, &peer, &io, &e) : NULL;
  double since;
  long left = n * RECORD;
  while (t && (rc = xm_tls_handshake(t, &e)) == 0) wait_for(fd);
  if (!t || rc < 0) return fprintf(stderr, "tls: %s\n", e.text), 2;
  since = cpu();
  while (left > 0) {
    ssize_t got = xm_tls_read(t, to, sizeof to, &e);
    if (got < 0) return fprintf(stderr, "tls: %s\n", e.text), 2;
    if (got == 0) wait_for(fd);
    left -= got;
  }
  return tell(cpu() - since, (double)n);
}

int main(int argc, char **argv) {
  const char *what = argc > 2 ? argv[1] : "";
  long n = argc > 2 ? atol(argv[2]) : 0;
  if (strcmp(what, "handshake") == 0) return handshake(n);
  if (strcmp(what, "read") == 0) return read_records(n);
  if (strcmp(what, "receive") == 0) return receive(n);
  fprintf(stderr, "usage: tls handshake|read|receive N\n");
  return 2;
}
