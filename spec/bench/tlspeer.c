/* tlspeer: the server for clients with direct TLS (XEP-0368), for `make bench`. As with `peer`, the command that it
 * starts has the first processor for itself, and this uses the last one.
 *
 *   tlspeer full CMD...     lets all clients log in, one after the other, by PLAIN or SCRAM-SHA-1; each handshake is
 *                           a full one, as no session is given
 *   tlspeer resumed CMD...  the same, with sessions
 *   tlspeer records N CMD...  sends N records of 400 bytes to each client
 *
 * CMD gets the port in BENCH_PORT, and the CA's certificate in BENCH_CA; the name is bench.test, the password "secret",
 * for any user. Its exit status is ours. */
#include <netinet/tcp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/wait.h>

#include "command.h"

#define SASL "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
#define SALT "QSXCR+Q6sek8bf92"
#define HEADER                                                                                                      \
  "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' " \
  "from='bench.test' version='1.0'>"

enum { MESSAGE = 4096, HASH = 20, RECORD = 400 };

static char ca_file[] = "/tmp/bench-ca.XXXXXX";
static pid_t child;
static unsigned char salted[HASH];

/* Certificates. */

static X509 *new_cert(const char *cn, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, int nid, const char *extension) {
  X509 *cert = X509_new();
  X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, extension);
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), issuer ? 2 : 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), -60);
  X509_gmtime_adj(X509_getm_notAfter(cert), 24 * 3600);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
  X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert));
  X509_set_pubkey(cert, key);
  X509_add_ext(cert, e, -1);
  X509_EXTENSION_free(e);
  if (X509_sign(cert, issuer_key, EVP_sha256()) <= 0) die("X509_sign");
  return cert;
}

static void write_ca(X509 *ca) {
  FILE *f = fdopen(mkstemp(ca_file), "w");
  if (!f || PEM_write_X509(f, ca) != 1) die("the CA's file");
  fclose(f);
  setenv("BENCH_CA", ca_file, 1);
}

static SSL_CTX *new_context(int sessions) {
  EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
  X509 *ca = new_cert("bench CA", ca_key, NULL, ca_key, NID_basic_constraints, "critical,CA:TRUE");
  X509 *cert = new_cert("bench", key, ca, ca_key, NID_subject_alt_name, "DNS:bench.test");
  SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
  if (SSL_CTX_use_certificate(ctx, cert) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1) die("SSL_CTX");
  SSL_CTX_set_num_tickets(ctx, sessions ? 1 : 0);
  write_ca(ca);
  return ctx;
}

/* The conversation. */

typedef struct talk {
  SSL *ssl;
  char in[MESSAGE];
  size_t n;
  int logged_in;
  char user[64];
  char first_bare[MESSAGE], first[MESSAGE]; /* SCRAM: the client's, the server's */
} talk;

static void say(talk *t, const char *s) {
  SSL_write(t->ssl, s, (int)strlen(s));
}

static size_t to_base64(const void *bytes, size_t n, char *to) {
  return (size_t)EVP_EncodeBlock((unsigned char *)to, bytes, (int)n);
}

static void from_base64(const char *s, size_t n, char to[MESSAGE]) {
  int got = n < MESSAGE ? EVP_DecodeBlock((unsigned char *)to, (const unsigned char *)s, (int)n) : -1;
  if (got < 0) got = 0;
  to[got] = '\0';
}

static void hmac(const void *key, const char *text, unsigned char to[HASH]) {
  HMAC(EVP_sha1(), key, HASH, (const unsigned char *)text, strlen(text), to, NULL);
}

static void challenge(talk *t, const char *payload, size_t n) {
  char client[MESSAGE], text[2 * MESSAGE], out[3 * MESSAGE];
  const char *nonce;
  from_base64(payload, n, client);
  nonce = strstr(client, ",r=");
  if (strncmp(client + 1, ",,n=", 4) != 0 || !nonce) return;
  snprintf(t->user, sizeof t->user, "%.*s", (int)strcspn(client + 5, ","), client + 5);
  snprintf(t->first_bare, sizeof t->first_bare, "%s", client + 3);
  snprintf(t->first, sizeof t->first, "%.100sbench,s=" SALT ",i=4096", nonce + 1);
  to_base64(t->first, strlen(t->first), text);
  snprintf(out, sizeof out, "<challenge " SASL ">%s</challenge>", text);
  say(t, out);
}

/* Accepts any proof, but sends a correct signature. */
static void prove(talk *t, const char *payload, size_t n) {
  char final[MESSAGE], auth[3 * MESSAGE], text[200] = "v=", encoded[300], out[500];
  unsigned char key[HASH], signature[HASH];
  from_base64(payload, n, final);
  if (strstr(final, ",p=")) *strstr(final, ",p=") = '\0';
  snprintf(auth, sizeof auth, "%s,%s,%s", t->first_bare, t->first, final);
  hmac(salted, "Server Key", key);
  hmac(key, auth, signature);
  to_base64(signature, HASH, text + 2);
  to_base64(text, strlen(text), encoded);
  snprintf(out, sizeof out, "<success " SASL ">%s</success>", encoded);
  t->logged_in = 1;
  say(t, out);
}

static void open_stream(talk *t) {
  static const char before[] =
      HEADER "<stream:features><mechanisms " SASL "><mechanism>PLAIN</mechanism><mechanism>SCRAM-SHA-1</mechanism>"
             "</mechanisms></stream:features>";
  static const char after[] =
      HEADER "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>";
  say(t, t->logged_in ? after : before);
}

static void bind_resource(talk *t, const char *iq) {
  const char *id = strstr(iq, " id='");
  char out[500];
  if (!id) return;
  snprintf(out, sizeof out,
           "<iq type='result' id='%.*s'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>%s@bench.test/r</jid>"
           "</bind></iq>",
           (int)strcspn(id + 5, "'"), id + 5, t->user);
  say(t, out);
}

static void log_in(talk *t, const char *auth) {
  const char *payload = strchr(auth, '>') + 1;
  char said[MESSAGE];
  if (strstr(auth, "'PLAIN'")) {
    from_base64(payload, strcspn(payload, "<"), said);
    snprintf(t->user, sizeof t->user, "%.60s", said + 1); /* from the NUL up to the next one */
    t->logged_in = 1;
    say(t, "<success " SASL "/>");
  } else {
    challenge(t, payload, strcspn(payload, "<"));
  }
}

/* Answers what is complete, and removes it. */
static int answer(talk *t) {
  static const char *const ends[] = {"</auth>", "</response>", "</iq>", "</stream:stream>"};
  char *begin = t->in, *end, *first = NULL;
  size_t i, skip = 0;
  if (strncmp(begin, "<?xml", 5) == 0 && strchr(begin, '>')) begin = strchr(begin, '>') + 1;
  if (strncmp(begin, "<stream:stream", 14) == 0 && (end = strchr(begin, '>'))) {
    open_stream(t);
    first = end + 1;
  }
  for (i = 0; i < 4 && !first; i++) {
    end = strstr(begin, ends[i]);
    skip = strlen(ends[i]);
    if (!end) continue;
    if (i == 0) log_in(t, begin);
    if (i == 1) prove(t, strchr(begin, '>') + 1, strcspn(strchr(begin, '>') + 1, "<"));
    if (i == 2) bind_resource(t, begin);
    if (i == 3) say(t, "</stream:stream>");
    first = end + skip;
  }
  if (!first) return 0;
  t->n -= (size_t)(first - t->in);
  memmove(t->in, first, t->n + 1);
  return 1;
}

static void serve_client(SSL *ssl) {
  talk t = {.ssl = ssl};
  int n;
  while (t.n < MESSAGE - 1 && (n = SSL_read(ssl, t.in + t.n, (int)(MESSAGE - 1 - t.n))) > 0) {
    t.n += (size_t)n;
    t.in[t.n] = '\0';
    while (answer(&t)) {
    }
  }
}

/* Many records in one write, so that the reader always has some to read: if they were sent one by one, as fast as they
 * are made, it would wait for each. */
static void send_records(SSL *ssl, long n) {
  char record[RECORD];
  BIO *many = BIO_new(BIO_f_buffer());
  memset(record, 'x', sizeof record);
  if (!many || BIO_set_write_buffer_size(many, 64 * 1024) != 1) return;
  SSL_set0_wbio(ssl, BIO_push(many, BIO_new_socket(SSL_get_fd(ssl), BIO_NOCLOSE)));
  while (n-- > 0 && SSL_write(ssl, record, sizeof record) > 0) {
  }
  (void)BIO_flush(many);
}

static void serve_all(SSL_CTX *ctx, int listener, long records) {
  int fd, one = 1;
  while ((fd = accept(listener, NULL, NULL)) >= 0) {
    SSL *ssl = SSL_new(ctx);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
      if (records) send_records(ssl, records);
      if (!records) serve_client(ssl);
      SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    close(fd);
  }
}

/* The command. */

/* The command has ended. */
static void on_child(int number) {
  int status = 0;
  (void)number;
  if (waitpid(child, &status, WNOHANG) != child) return;
  unlink(ca_file);
  _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static void start(char **command) {
  sigset_t chld;
  sigemptyset(&chld);
  sigaddset(&chld, SIGCHLD);
  signal(SIGCHLD, on_child);
  signal(SIGPIPE, SIG_IGN);
  sigprocmask(SIG_BLOCK, &chld, NULL); /* until `child` is set */
  child = fork();
  if (child < 0) die("fork");
  if (child > 0) {
    sigprocmask(SIG_UNBLOCK, &chld, NULL);
    return stay_on(1);
  }
  signal(SIGCHLD, SIG_DFL);
  signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_UNBLOCK, &chld, NULL);
  become(command);
}

int main(int argc, char **argv) {
  int records = argc > 2 && strcmp(argv[1], "records") == 0, command = records ? 3 : 2, listener;
  static const unsigned char salt[] = "A%\xC2G\xE4:\xB1\xE9<m\xFFv";
  SSL_CTX *ctx;
  if (argc <= command) return fprintf(stderr, "usage: tlspeer full|resumed CMD... | tlspeer records N CMD...\n"), 2;
  ctx = new_context(strcmp(argv[1], "resumed") == 0);
  PKCS5_PBKDF2_HMAC("secret", 6, salt, sizeof salt - 1, 4096, EVP_sha1(), HASH, salted);
  listener = listen_on_loopback();
  start(argv + command);
  serve_all(ctx, listener, records ? atol(argv[2]) : 0);
  die("accept");
}
