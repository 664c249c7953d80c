/* raw: the yardsticks of `make bench`: what the same bytes cost if nothing is made of them. Each prints microseconds of
 * CPU (user and system) for a stanza.
 *
 *   raw expat FILE N           expat with namespaces and empty handlers, from memory; FILE has N stanzas
 *   raw again FILE N           the same, N times for a FILE with one stanza; the first time isn't measured
 *   raw copy FILE N            memcpy
 *   raw flood FILE N           recv and the same expat, from `peer flood`
 *   raw write MESSAGES BATCH   sends messages that are bytes already, BATCH at a time, to `peer sink`
 *   raw ping N                 send and recv, one after the other, with `peer echo` */
#include <arpa/inet.h>
#include <expat.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "figure.h"

enum { PIECE = 16 * 1024 };

static const char header[] =
    "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>";

static void die(const char *what) {
  perror(what);
  exit(2);
}

static char *read_file(const char *path, size_t *n) {
  FILE *f = fopen(path, "rb");
  char *data;
  if (!f) die(path);
  fseek(f, 0, SEEK_END);
  *n = (size_t)ftell(f);
  rewind(f);
  data = malloc(*n + 1);
  if (!data || fread(data, 1, *n, f) != *n) die(path);
  fclose(f);
  return data;
}

/* expat. The depth is kept, since without it nobody could tell where a stanza ends. */

typedef struct stream {
  XML_Parser parser;
  int depth;
  long stanzas;
} stream;

static void on_start(void *arg, const XML_Char *name, const XML_Char **atts) {
  (void)name, (void)atts;
  ((stream *)arg)->depth++;
}

static void on_end(void *arg, const XML_Char *name) {
  stream *s = arg;
  (void)name;
  if (--s->depth == 1) s->stanzas++;
}

static void on_text(void *arg, const XML_Char *text, int n) {
  (void)arg, (void)text, (void)n;
}

static void begin(stream *s) {
  *s = (stream){.parser = XML_ParserCreateNS("UTF-8", '\xFF')};
  if (!s->parser) die("XML_ParserCreateNS");
  XML_SetUserData(s->parser, s);
  XML_SetElementHandler(s->parser, on_start, on_end);
  XML_SetCharacterDataHandler(s->parser, on_text);
  XML_Parse(s->parser, header, sizeof header - 1, 0);
}

static void feed(stream *s, const char *bytes, size_t n) {
  size_t at, piece;
  for (at = 0; at < n; at += piece) {
    piece = n - at < PIECE ? n - at : PIECE;
    if (!XML_Parse(s->parser, bytes + at, (int)piece, 0)) die("XML_Parse");
  }
}

static void expect(const stream *s, long stanzas) {
  if (s->stanzas == stanzas) return;
  fprintf(stderr, "raw: %ld stanzas of %ld\n", s->stanzas, stanzas);
  exit(1);
}

static int parse_memory(const char *file, long stanzas) {
  size_t n;
  char *bytes = read_file(file, &n);
  double since = cpu();
  stream s;
  begin(&s);
  feed(&s, bytes, n);
  expect(&s, stanzas);
  return tell(cpu() - since, (double)stanzas);
}

static int parse_again(const char *file, long times) {
  size_t n;
  char *bytes = read_file(file, &n);
  double since;
  stream s;
  long i;
  begin(&s);
  feed(&s, bytes, n);
  since = cpu();
  for (i = 0; i < times; i++) feed(&s, bytes, n);
  expect(&s, times + 1);
  return tell(cpu() - since, (double)times);
}

static int copy(const char *file, long stanzas) {
  enum { TIMES = 20 };
  size_t n;
  char *from = read_file(file, &n), *to = malloc(n);
  double since;
  int i;
  if (!to) die("malloc");
  memset(to, 1, n);
  since = cpu();
  for (i = 0; i < TIMES; i++) {
    memcpy(to, from, n);
    __asm__ __volatile__("" : : "r"(to) : "memory"); /* keeps the compiler from leaving memcpy out */
  }
  return tell(cpu() - since, (double)stanzas * TIMES);
}

/* Sockets. */

static void say(int fd, const char *s, size_t n) {
  if (send(fd, s, n, MSG_NOSIGNAL) != (ssize_t)n) die("send");
}

static int dial(void) {
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(bench_port())};
  int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0) die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

/* Opens a stream, up to the end of the handshake, after which the peer sends nothing by itself. */
static int open_stream(void) {
  char answer[1024] = "";
  size_t n = 0;
  int fd = dial();
  say(fd, header, sizeof header - 1);
  say(fd, "<handshake>0</handshake>", 24);
  while (!strstr(answer, "<handshake/>")) {
    ssize_t got = recv(fd, answer + n, sizeof answer - 1 - n, 0);
    if (got <= 0) die("recv");
    n += (size_t)got;
    answer[n] = '\0';
  }
  return fd;
}

static int parse_socket(long stanzas) {
  int fd = open_stream();
  double since;
  stream s;
  begin(&s);
  say(fd, "<presence/>", 11);
  since = cpu();
  while (s.stanzas < stanzas) {
    void *to = XML_GetBuffer(s.parser, PIECE);
    ssize_t n = to ? recv(fd, to, PIECE, 0) : -1;
    if (n <= 0) die("recv");
    if (!XML_ParseBuffer(s.parser, (int)n, 0)) die("XML_ParseBuffer");
  }
  return tell(cpu() - since, (double)stanzas);
}

static int write_messages(long messages, long batch) {
  static const char message[] =
      "<message to='romeo@example.net' type='chat' from='bench.test'><body>Hi there, how are you?"
      "</body></message>";
  size_t n = sizeof message - 1;
  char *bytes = malloc(n * (size_t)batch);
  int fd = open_stream();
  long i;
  double since;
  if (!bytes) die("malloc");
  for (i = 0; i < batch; i++) memcpy(bytes + (size_t)i * n, message, n);
  since = cpu();
  for (i = 0; i < messages; i += batch) say(fd, bytes, n * (size_t)batch);
  return tell(cpu() - since, (double)messages);
}

static int ping(long n) {
  static const char iq[] =
      "<iq type='get' to='bench.test' from='bench.test' id='0123456789abcdef012345'>"
      "<ping xmlns='urn:xmpp:ping'/></iq>";
  char answer[1024];
  int fd = open_stream();
  double since = cpu();
  long i;
  for (i = 0; i < n; i++) {
    say(fd, iq, sizeof iq - 1);
    if (recv(fd, answer, sizeof answer, 0) <= 0) die("recv"); /* so short an answer comes in one piece */
  }
  return tell(cpu() - since, (double)n);
}

int main(int argc, char **argv) {
  const char *what = argc > 2 ? argv[1] : "";
  long n = argc > 2 ? atol(argv[argc - 1]) : 0;
  if (strcmp(what, "expat") == 0) return parse_memory(argv[2], n);
  if (strcmp(what, "again") == 0) return parse_again(argv[2], n);
  if (strcmp(what, "copy") == 0) return copy(argv[2], n);
  if (strcmp(what, "flood") == 0) return parse_socket(n);
  if (strcmp(what, "write") == 0) return write_messages(atol(argv[2]), n);
  if (strcmp(what, "ping") == 0) return ping(n);
  fprintf(stderr, "usage: raw expat|again|copy|flood FILE N | raw write MESSAGES BATCH | raw ping N\n");
  return 2;
}
