/* peer: the other end of a component's stream (XEP-0114) on a loopback port, for `make bench`. What is measured is the
 * command that we start; it has the first processor for itself and we take the last, since waking a sleeper on another
 * processor costs ten times as much as on the same one, and the kernel's choice would be the result.
 *
 *   peer flood FILE CMD...   at the first <presence: sends FILE
 *   peer echo CMD...         answers each iq, but those to mute.bench.test; an iq with the id release-N brings the
 *                            answers to the ids m1 to mN that were owed
 *   peer sink CMD...         reads
 *
 * CMD finds the port in BENCH_PORT; its exit status is ours. Any secret will do. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct text {
  char *data;
  size_t n, cap;
} text;

static int fd;

static void die(const char *what) {
  perror(what);
  exit(2);
}

static void append(text *t, const char *s, size_t n) {
  while (t->cap - t->n < n + 1) {
    t->cap = t->cap ? t->cap * 2 : 1 << 16;
    t->data = realloc(t->data, t->cap);
    if (!t->data) die("realloc");
  }
  memcpy(t->data + t->n, s, n);
  t->n += n;
  t->data[t->n] = '\0';
}

static void drop(text *t, size_t n) {
  memmove(t->data, t->data + n, t->n - n + 1);
  t->n -= n;
}

/* More of what the component says; false: it has gone. */
static int receive(text *t) {
  static char bytes[1 << 16];
  ssize_t n = recv(fd, bytes, sizeof bytes, 0);
  if (n > 0) append(t, bytes, (size_t)n);
  return n > 0;
}

static void say(const char *s, size_t n) {
  while (n > 0) {
    ssize_t sent = send(fd, s, n, MSG_NOSIGNAL);
    if (sent <= 0) return;
    s += sent;
    n -= (size_t)sent;
  }
}

/* Reads up to and with the first `what`. */
static void wait_for(text *in, const char *what) {
  char *found;
  while (!in->data || !(found = strstr(in->data, what)))
    if (!receive(in)) exit(2);
  drop(in, (size_t)(found - in->data) + strlen(what));
}

static void open_stream(text *in) {
  static const char header[] =
      "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' "
      "id='bench' from='bench.test'>";
  wait_for(in, "<stream:stream");
  say(header, sizeof header - 1);
  wait_for(in, "</handshake>");
  say("<handshake/>", 12);
}

static void *drain(void *arg) {
  static char bytes[1 << 16];
  (void)arg;
  while (recv(fd, bytes, sizeof bytes, 0) > 0) {
  }
  return NULL;
}

static void flood(const char *file, text *in) {
  pthread_t reader;
  FILE *f = fopen(file, "rb");
  static char bytes[1 << 16];
  size_t n;
  text all = {0};
  if (!f) die(file);
  while ((n = fread(bytes, 1, sizeof bytes, f)) > 0) append(&all, bytes, n);
  fclose(f);
  wait_for(in, "<presence");
  if (pthread_create(&reader, NULL, drain, NULL) != 0) die("pthread_create");
  say(all.data, all.n);
  pthread_join(reader, NULL);
}

/* An attribute of the tag at `s`; its length in *n. */
static const char *attribute(const char *s, const char *key, int *n) {
  const char *end = strchr(s, '>'), *at = strstr(s, key);
  if (!at || at > end) return *n = 0, "";
  at += strlen(key);
  *n = (int)(strchr(at, '\'') - at);
  return at;
}

static void answer_muted(text *out, long n, const char *to, int to_len) {
  char reply[512];
  long i;
  for (i = 1; i <= n; i++) {
    int len =
        snprintf(reply, sizeof reply, "<iq type='result' id='m%ld' from='mute.bench.test' to='%.*s'/>", i, to_len, to);
    append(out, reply, (size_t)len);
  }
}

static void answer(text *out, const char *iq) {
  int id_len, to_len, from_len, n;
  const char *id = attribute(iq, " id='", &id_len), *to = attribute(iq, " to='", &to_len);
  const char *from = attribute(iq, " from='", &from_len);
  char reply[512];
  if (strncmp(to, "mute.", 5) == 0) return;
  if (strncmp(id, "release-", 8) == 0) answer_muted(out, strtol(id + 8, NULL, 10), from, from_len);
  n = snprintf(reply, sizeof reply, "<iq type='result' id='%.*s' from='%.*s' to='%.*s'/>", id_len, id, to_len, to,
               from_len, from);
  append(out, reply, (size_t)n);
}

static void echo(text *in) {
  text out = {0};
  do {
    char *at = in->data, *iq, *end;
    while (at && (iq = strstr(at, "<iq ")) && (end = strstr(iq, "</iq>"))) {
      answer(&out, iq);
      at = end + 5;
    }
    if (at) drop(in, (size_t)(at - in->data));
    say(out.data, out.n);
    out.n = 0;
  } while (receive(in));
}

static int listen_on_loopback(void) {
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t len = sizeof sa;
  char port[16];
  int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s < 0 || bind(s, (struct sockaddr *)&sa, len) != 0 || listen(s, 1) != 0) die("listen");
  if (getsockname(s, (struct sockaddr *)&sa, &len) != 0) die("getsockname");
  snprintf(port, sizeof port, "%d", ntohs(sa.sin_port));
  setenv("BENCH_PORT", port, 1);
  return s;
}

/* The first of the processors that we may use, or the last. */
static void stay_on(int last) {
  cpu_set_t all, one;
  int i, chosen = -1;
  if (sched_getaffinity(0, sizeof all, &all) != 0) return;
  for (i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, &all) && (last || chosen < 0)) chosen = i;
  CPU_ZERO(&one);
  CPU_SET(chosen, &one);
  sched_setaffinity(0, sizeof one, &one);
}

/* The command has ended before it came to us. */
static void on_child(int number) {
  (void)number;
  _exit(3);
}

static void serve(int argc, char **argv, int listener) {
  int one = 1;
  text in = {0};
  fd = accept(listener, NULL, NULL);
  signal(SIGCHLD, SIG_DFL);
  if (fd < 0) die("accept");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  open_stream(&in);
  if (strcmp(argv[1], "flood") == 0 && argc > 3) flood(argv[2], &in);
  if (strcmp(argv[1], "echo") == 0) echo(&in);
  if (strcmp(argv[1], "sink") == 0) drain(NULL);
}

int main(int argc, char **argv) {
  int command = argc > 1 && strcmp(argv[1], "flood") == 0 ? 3 : 2, listener, status;
  pid_t child;
  if (argc <= command)
    return fprintf(stderr, "usage: peer flood FILE CMD... | peer echo CMD... | peer sink CMD...\n"), 2;
  listener = listen_on_loopback();
  signal(SIGCHLD, on_child);
  child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    signal(SIGCHLD, SIG_DFL);
    stay_on(0);
    execvp(argv[command], argv + command);
    perror(argv[command]);
    _exit(127);
  }
  stay_on(1);
  serve(argc, argv, listener);
  if (waitpid(child, &status, 0) != child) die("waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
