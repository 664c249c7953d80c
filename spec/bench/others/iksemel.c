/* iksemel: the program for iksemel in `make bench`, as a component. Prints microseconds of CPU (user and system) for a
 * stanza.
 *
 *   iksemel flood N          a hook counts what comes from `peer flood`
 *   iksemel parse FILE N     the stanzas of FILE, from memory, to trees
 *   iksemel sax FILE N       the same, with hooks that do nothing
 *   iksemel tostring N       receives a flood, and measures the time to make text of the trees again
 *   iksemel send N           small messages to `peer sink`
 *   iksemel ping N DEPTH     DEPTH at a time, with `peer echo`, each answer by a rule of iksemel's filter for its id
 *
 * It doesn't resolve namespaces; and pings aren't answered, which it leaves to the program. */
#include <iksemel.h>
#include <string.h>

#include "../figure.h"

#define SECRET "secret"
#define HEADER "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>"

enum { PIECE = 16 * 1024 };

static struct {
  iksparser *stream;
  iksfilter *filter;
  long seen, asked, n;
  int ready, writes;
} me;

static void die(const char *what) {
  fprintf(stderr, "iksemel: %s\n", what);
  exit(2);
}

/* In memory. */

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

/* How many seconds the parser took. */
static double feed(iksparser *p, const char *path) {
  size_t n, at, piece;
  char *bytes = read_file(path, &n);
  double since = cpu();
  if (iks_parse(p, HEADER, sizeof HEADER - 1, 0) != IKS_OK) die("iks_parse");
  for (at = 0; at < n; at += piece) {
    piece = n - at < PIECE ? n - at : PIECE;
    if (iks_parse(p, bytes + at, piece, 0) != IKS_OK) die("iks_parse");
  }
  return cpu() - since;
}

static int on_counted(void *arg, int type, iks *node) {
  (void)arg;
  if (type == IKS_NODE_NORMAL) me.seen++;
  if (node) iks_delete(node);
  return IKS_OK;
}

static int parse(const char *path, long n) {
  double spent = feed(iks_stream_new("jabber:component:accept", NULL, on_counted), path);
  if (me.seen != n) die("stanzas are missing");
  return tell(spent, (double)n);
}

/* The depth is counted, since otherwise one couldn't know where a stanza ends. */
static int on_tag(void *arg, char *name, char **atts, int type) {
  int *depth = arg;
  (void)name, (void)atts;
  if (type == IKS_OPEN) ++*depth;
  if (type == IKS_CLOSE) --*depth;
  if (type != IKS_OPEN && *depth == 1) me.seen++;
  return IKS_OK;
}

static int on_text(void *arg, char *text, size_t n) {
  (void)arg, (void)text, (void)n;
  return IKS_OK;
}

static int sax(const char *path, long n) {
  int depth = 0;
  double spent = feed(iks_sax_new(&depth, on_tag, on_text), path);
  if (me.seen != n) die("stanzas are missing");
  return tell(spent, (double)n);
}

static struct {
  iks *stanzas[1000];
  int n;
  double spent;
} kept;

static void write_kept(void) {
  double since = cpu();
  int i;
  for (i = 0; i < kept.n; i++) iks_free(iks_string(NULL, kept.stanzas[i]));
  kept.spent += cpu() - since;
  for (i = 0; i < kept.n; i++) iks_delete(kept.stanzas[i]);
  me.seen += kept.n;
  kept.n = 0;
}

static void keep(iks *node) {
  kept.stanzas[kept.n++] = node;
  if (kept.n == sizeof kept.stanzas / sizeof *kept.stanzas || me.seen + kept.n == me.n) write_kept();
}

/* Over the network. */

static void send_and_delete(iks *x) {
  if (iks_send(me.stream, x) != IKS_OK) die("iks_send");
  iks_delete(x);
}

static void shake_hands(iks *header) {
  char text[512], hash[41];
  iks *handshake = iks_new("handshake");
  snprintf(text, sizeof text, "%s" SECRET, iks_find_attrib(header, "id"));
  iks_sha(text, hash);
  iks_insert_cdata(handshake, hash, 40);
  send_and_delete(handshake);
}

static int on_node(void *arg, int type, iks *node) {
  (void)arg;
  if (type == IKS_NODE_ERROR || type == IKS_NODE_STOP) die("the stream has ended");
  if (type == IKS_NODE_START) shake_hands(node);
  else if (!me.ready) me.ready = 1; /* <handshake/> */
  else if (me.writes) return keep(node), IKS_OK;
  else if (me.filter) iks_filter_packet(me.filter, iks_packet(node));
  else me.seen++;
  iks_delete(node);
  return IKS_OK;
}

static void receive(void) {
  if (iks_recv(me.stream, -1) != IKS_OK) die("iks_recv");
}

static void log_in(void) {
  me.stream = iks_stream_new("jabber:component:accept", NULL, on_node);
  if (iks_connect_via(me.stream, "127.0.0.1", bench_port(), "bench.test") != IKS_OK) die("iks_connect_via");
  while (!me.ready) receive();
}

static double flood(void) {
  double since = cpu();
  send_and_delete(iks_make_pres(IKS_SHOW_AVAILABLE, NULL));
  while (me.seen < me.n) receive();
  return cpu() - since;
}

static double to_string(void) {
  me.writes = 1;
  flood();
  return kept.spent;
}

static double send_all(void) {
  double since = cpu();
  long i;
  for (i = 0; i < me.n; i++) send_and_delete(iks_make_msg(IKS_TYPE_CHAT, "romeo@example.net", "Hi there, how are you?"));
  return cpu() - since;
}

/* An iq that was sent, and the rule that waits for its answer. */
typedef struct request {
  char id[32];
  iksrule *rule;
} request;

static void ask(request *r);

static int on_answer(void *arg, ikspak *answer) {
  request *r = arg;
  (void)answer;
  iks_filter_remove_rule(me.filter, r->rule);
  me.seen++;
  if (me.asked < me.n) ask(r);
  return IKS_FILTER_EAT;
}

static void ask(request *r) {
  iks *iq = iks_new("iq");
  snprintf(r->id, sizeof r->id, "bench-%ld", ++me.asked);
  iks_insert_attrib(iq, "type", "get");
  iks_insert_attrib(iq, "to", "bench.test");
  iks_insert_attrib(iq, "id", r->id);
  iks_insert_attrib(iks_insert(iq, "ping"), "xmlns", "urn:xmpp:ping");
  r->rule = iks_filter_add_rule(me.filter, on_answer, r, IKS_RULE_TYPE, IKS_PAK_IQ, IKS_RULE_ID, r->id, IKS_RULE_DONE);
  send_and_delete(iq);
}

static double ping(long depth) {
  request *all = calloc((size_t)depth, sizeof *all);
  double since = cpu();
  long i;
  me.filter = iks_filter_new();
  if (!all || !me.filter) die("no memory");
  for (i = 0; i < depth; i++) ask(&all[i]);
  while (me.seen < me.n) receive();
  return cpu() - since;
}

int main(int argc, char **argv) {
  const char *what = argc > 2 ? argv[1] : "";
  if (argc > 3 && strcmp(what, "parse") == 0) return parse(argv[2], atol(argv[3]));
  if (argc > 3 && strcmp(what, "sax") == 0) return sax(argv[2], atol(argv[3]));
  log_in();
  if (argc > 2) me.n = atol(argv[2]);
  if (strcmp(what, "flood") == 0) return tell(flood(), (double)me.n);
  if (strcmp(what, "tostring") == 0) return tell(to_string(), (double)me.n);
  if (strcmp(what, "send") == 0) return tell(send_all(), (double)me.n);
  if (argc > 3 && strcmp(what, "ping") == 0) return tell(ping(atol(argv[3])), (double)me.n);
  return fprintf(stderr, "usage: iksemel parse|sax FILE N | peer ... iksemel flood|tostring|send N | ping N DEPTH\n"), 2;
}
