/* idle: what an idle TLS connection costs with OpenSSL alone: the yardstick for `crowd.lua idle`. Prints KiB of
 * resident memory for each connection.
 *
 *   crowd idle N
 *
 * One context for all, with SSL_MODE_RELEASE_BUFFERS; each connection has sent a stream header and read the answer. The
 * first one's memory isn't counted: it is the library's. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static SSL_CTX *ctx;

static void die(const char *what) {
  perror(what);
  ERR_print_errors_fp(stderr);
  exit(2);
}

static double resident(void) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (!f || fscanf(f, "%*d %ld", &pages) != 1) die("/proc/self/statm");
  fclose(f);
  return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024;
}

static int dial(void) {
  const char *port = getenv("BENCH_PORT");
  struct sockaddr_in sa = {
      .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons((uint16_t)atoi(port ? port : "0"))};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0) die("connect");
  return fd;
}

static void wait_for_news(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  if (poll(&p, 1, -1) < 0) die("poll");
}

/* Reads until the features have come, and there is nothing more. */
static void read_all(SSL *ssl, int fd) {
  char bytes[4096 + 1] = "";
  int n, total = 0;
  while (!strstr(bytes, "</stream:features>")) {
    n = SSL_read(ssl, bytes + total, 4096 - total);
    if (n > 0) bytes[total += n] = '\0';
    else if (SSL_get_error(ssl, n) == SSL_ERROR_WANT_READ) wait_for_news(fd);
    else die("SSL_read");
  }
  if (SSL_read(ssl, bytes, 4096) > 0) die("more than features");
}

static void open_one(void) {
  static const char header[] = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
                               "to='bench.test' version='1.0'>";
  int fd = dial();
  SSL *ssl = SSL_new(ctx);
  if (!ssl || SSL_set_fd(ssl, fd) != 1 || SSL_set_tlsext_host_name(ssl, "bench.test") != 1) die("SSL_new");
  if (SSL_connect(ssl) != 1 || SSL_get_verify_result(ssl) != X509_V_OK) die("SSL_connect");
  if (SSL_write(ssl, header, sizeof header - 1) <= 0) die("SSL_write");
  if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) die("fcntl");
  read_all(ssl, fd);
}

int main(int argc, char **argv) {
  const char *ca = getenv("BENCH_CA");
  int i, n = argc > 1 ? atoi(argv[1]) : 0;
  double before;
  ctx = SSL_CTX_new(TLS_client_method());
  if (n < 1 || !ca || !ctx || SSL_CTX_load_verify_file(ctx, ca) != 1) die("usage: crowd idle N");
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
  open_one();
  before = resident();
  for (i = 0; i < n; i++) open_one();
  printf("%.2f\n", (resident() - before) / n);
  return 0;
}
