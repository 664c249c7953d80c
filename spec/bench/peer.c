/* peer: the other end of a stream on a loopback port, for `make bench`: a component's (XEP-0114) or, without TLS, a
 * client's. It starts the command that is measured, which has the first processor for itself, and uses the last one
 * itself: waking a process on another processor costs ten times as much as on the same one, so the kernel's choice
 * would determine the result.
 *
 *   peer flood FILE CMD...   sends FILE when it receives the first <presence
 *   peer many N FILE CMD...  the same on the last of N streams, which are opened one after the other
 *   peer echo CMD...         answers each iq, except for those to mute.bench.test; an iq with the id release-N
 *                            makes it answer those to mute with the ids m1 to mN
 *   peer sink CMD...         reads
 *
 * CMD gets the port in BENCH_PORT; its exit status is ours. Any secret is accepted. After the command's output, its
 * peak memory is printed: rss MB. */
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "command.h"

static int listener, fd;

/* Receives more bytes from the component; false: it is gone. */
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

/* Reads up to the end of the first `what`. */
static void wait_for(text *in, const char *what) {
  char *found;
  while (!in->data || !(found = strstr(in->data, what)))
    if (!receive(in)) exit(2);
  drop(in, (size_t)(found - in->data) + strlen(what));
}

static void speak(const char *s) { say(s, strlen(s)); }

/* An attribute of the tag at `s`; its length in *n. */
static const char *attribute(const char *s, const char *key, int *n) {
  const char *end = strchr(s, '>'), *at = strstr(s, key);
  if (!at || at > end) return *n = 0, "";
  at += strlen(key) + 1;
  *n = (int)(strchr(at, at[-1]) - at);
  return at;
}

static void log_in(text *in) {
  char bound[256];
  int n;
  const char *id;
  speak("<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>"
        "</mechanisms></stream:features>");
  wait_for(in, "</auth>");
  speak("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
  wait_for(in, "<stream:stream");
  speak("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
        "id='again' from='bench.test' version='1.0'>"
        "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>");
  wait_for(in, "<iq");
  while (!strstr(in->data, "</iq>")) receive(in);
  id = attribute(in->data, " id=", &n);
  snprintf(bound, sizeof bound,
           "<iq type='result' id='%.*s'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
           "<jid>a@bench.test/x</jid></bind></iq>",
           n, id);
  wait_for(in, "</iq>");
  speak(bound);
}

static void open_stream(text *in) {
  char header[256];
  int client;
  wait_for(in, "<stream:stream");
  while (!strchr(in->data, '>')) receive(in);
  client = strstr(in->data, "jabber:client") != NULL;
  snprintf(header, sizeof header,
           "<?xml version='1.0'?><stream:stream xmlns='%s' xmlns:stream='http://etherx.jabber.org/streams' "
           "id='bench' from='bench.test'%s>",
           client ? "jabber:client" : "jabber:component:accept", client ? " version='1.0'" : "");
  speak(header);
  if (client) return log_in(in);
  wait_for(in, "</handshake>");
  speak("<handshake/>");
}

/* The command has ended without connecting. */
static void on_child(int number) {
  (void)number;
  _exit(3);
}

static void accept_stream(text *in) {
  int one = 1;
  signal(SIGCHLD, on_child);
  fd = accept(listener, NULL, NULL);
  if (fd < 0) die("accept");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  in->n = 0;
  open_stream(in);
  signal(SIGCHLD, SIG_DFL);
}

static void *drain(void *arg) {
  static char bytes[1 << 16];
  (void)arg;
  while (recv(fd, bytes, sizeof bytes, 0) > 0) {
  }
  return NULL;
}

static void flood(char **words, text *in) {
  pthread_t reader;
  FILE *f = fopen(words[0], "rb");
  static char bytes[1 << 16];
  size_t n;
  text all = {0};
  if (!f) die(words[0]);
  while ((n = fread(bytes, 1, sizeof bytes, f)) > 0) append(&all, bytes, n);
  fclose(f);
  wait_for(in, "<presence");
  if (pthread_create(&reader, NULL, drain, NULL) != 0) die("pthread_create");
  say(all.data, all.n);
  pthread_join(reader, NULL);
}

static void many(char **words, text *in) {
  long left = atol(words[0]);
  while (--left > 0) accept_stream(in);
  flood(words + 1, in);
}

static void sink(char **words, text *in) {
  (void)words, (void)in;
  drain(NULL);
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
  const char *id = attribute(iq, " id=", &id_len), *to = attribute(iq, " to=", &to_len);
  const char *from = attribute(iq, " from=", &from_len);
  char reply[512];
  if (strncmp(to, "mute.", 5) == 0) return;
  if (strncmp(id, "release-", 8) == 0) answer_muted(out, strtol(id + 8, NULL, 10), from, from_len);
  n = snprintf(reply, sizeof reply, "<iq type='result' id='%.*s' from='%.*s'", id_len, id, to_len, to);
  if (from_len) n += snprintf(reply + n, sizeof reply - (size_t)n, " to='%.*s'", from_len, from);
  n += snprintf(reply + n, sizeof reply - (size_t)n, "/>");
  append(out, reply, (size_t)n);
}

static void echo(char **words, text *in) {
  text out = {0};
  (void)words;
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

static pid_t start(char **command) {
  pid_t child;
  signal(SIGCHLD, on_child);
  child = fork();
  if (child < 0) die("fork");
  if (child > 0) return child;
  signal(SIGCHLD, SIG_DFL);
  become(command);
}

static int status_of(pid_t child) {
  struct rusage used;
  int status;
  if (wait4(child, &status, 0, &used) != child) die("wait4");
  printf("rss %.2f\n", (double)used.ru_maxrss / 1024);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static const struct mode {
  const char *name;
  int words;
  void (*serve)(char **words, text *in);
} modes[] = {{"flood", 1, flood}, {"many", 2, many}, {"echo", 0, echo}, {"sink", 0, sink}, {NULL, 0, NULL}};

int main(int argc, char **argv) {
  const struct mode *m = modes;
  text in = {0};
  pid_t child;
  while (m->name && (argc < 2 || strcmp(argv[1], m->name) != 0)) m++;
  if (!m->name || argc < m->words + 3)
    return fprintf(stderr, "usage: peer flood FILE CMD... | many N FILE CMD... | echo CMD... | sink CMD...\n"), 2;
  listener = listen_on_loopback();
  allow_descriptors();
  child = start(argv + 2 + m->words);
  stay_on(1);
  accept_stream(&in);
  m->serve(argv + 2, &in);
  return status_of(child);
}
