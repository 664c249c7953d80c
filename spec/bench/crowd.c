/* crowd: an XMPP server for clients on a loopback port, for `make bench`: as many connections as come, in one process.
 *
 *   crowd [-m MECHANISMS] [-i ROUNDS] [-s] CMD...
 *
 * Accepts direct TLS or STARTTLS; any login by PLAIN, or by SCRAM with the password "secret"; binds the resource that
 * is asked for; answers each iq of type get, one with the id "large-N" by about N bytes. Elements that come in one
 * flight are handled one after the other. -m: the mechanisms to offer ("PLAIN SCRAM-SHA-1 SCRAM-SHA-256"; with a -PLUS
 * among them, tls-exporter is offered, too). -i: SCRAM's iterations (4096). -s: offers stream management, too.
 *
 * CMD gets the port in BENCH_PORT, and in BENCH_CA the file with the certificate, which is made anew each time and is
 * for bench.test; with SSL_CERT_DIR, OpenSSL finds it among the system's CAs as well. CMD's exit status is ours. Each
 * of the two has a processor for itself, as with peer. */
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "command.h"

#define DOMAIN "bench.test"
#define PASSWORD "secret"
#define NS_SASL "urn:ietf:params:xml:ns:xmpp-sasl"
#define SALT "c2FsdHNhbHRzYWx0c2FsdA==" /* saltsaltsaltsalt */

typedef struct client {
  int fd;
  SSL *ssl; /* NULL: without TLS */
  text in, out;
  text auth;          /* SCRAM: client-first-message-bare,server-first-message */
  const EVP_MD *hash; /* with SCRAM; NULL: with another mechanism */
  char user[128];
  unsigned stanzas; /* how many the client has sent */
  bool authenticated, done;
} client;

static const char *mechanisms = "PLAIN SCRAM-SHA-1 SCRAM-SHA-256";
static int rounds = 4096;
static bool manages;
static SSL_CTX *ctx;
static int poller;

/* Buffers. */

static void clear(text *t) {
  free(t->data);
  *t = (text){0};
}

__attribute__((format(printf, 2, 3))) static void say(client *c, const char *form, ...) {
  char s[2048];
  va_list args;
  va_start(args, form);
  append(&c->out, s, (size_t)vsnprintf(s, sizeof s, form, args));
  va_end(args);
}

/* As much of an XML parser as is needed here. */

/* The end of the tag, after its '>', or NULL. */
static char *end_of_tag(char *s) {
  char quote = 0;
  for (; *s; s++) {
    if (quote) {
      if (*s == quote) quote = 0;
    } else if (*s == '\'' || *s == '"') {
      quote = *s;
    } else if (*s == '>') {
      return s + 1;
    }
  }
  return NULL;
}

/* The end of the element that begins at `s`; NULL: it isn't complete. */
static char *end_of_element(char *s) {
  int depth = 0;
  char *end;
  while ((s = strchr(s, '<')) && (end = end_of_tag(s))) {
    if (s[1] == '/') depth--;
    else if (end[-2] != '/') depth++;
    if (depth == 0) return end;
    s = end;
  }
  return NULL;
}

/* An attribute of the tag at `s`; "": it has none. */
static const char *attribute(char *s, const char *key, int *n) {
  char *end = end_of_tag(s), *at = strstr(s, key);
  *n = 0;
  if (!at || at > end) return "";
  at += strlen(key) + 1;
  *n = (int)(strchr(at, at[-1]) - at);
  return at;
}

/* The text between `open` and the next '<'. */
static const char *content(char *s, const char *open, int *n) {
  char *at = strstr(s, open);
  *n = 0;
  if (!at) return "";
  at = end_of_tag(at);
  *n = (int)strcspn(at, "<");
  return at;
}

/* SASL. */

/* Decodes base64, and adds a NUL. */
static int decode(const char *s, int n, char *to, int cap) {
  int pad = 0, len;
  if (n / 4 * 3 >= cap) return *to = '\0', 0;
  while (pad < n && s[n - 1 - pad] == '=') pad++;
  len = EVP_DecodeBlock((unsigned char *)to, (const unsigned char *)s, n) - pad;
  if (len < 0) len = 0;
  to[len] = '\0';
  return len;
}

static void say_base64(client *c, const char *element, const char *s, int n) {
  char encoded[1024];
  EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)s, n);
  say(c, "<%s xmlns='" NS_SASL "'>%s</%s>", element, encoded, element);
}

static void succeed(client *c) {
  c->authenticated = true;
  clear(&c->auth);
}

static void set_user(client *c, const char *user) {
  snprintf(c->user, sizeof c->user, "%.*s", (int)strcspn(user, ","), user);
}

/* The server key for the password, which is computed only once. */
static const unsigned char *server_key(const EVP_MD *hash, unsigned *n) {
  static unsigned char keys[2][EVP_MAX_MD_SIZE];
  static unsigned lengths[2];
  unsigned char salted[EVP_MAX_MD_SIZE];
  int i = EVP_MD_get_type(hash) == NID_sha1, size = EVP_MD_get_size(hash);
  char salt[64];
  if (lengths[i] == 0) {
    int salt_n = decode(SALT, sizeof SALT - 1, salt, sizeof salt);
    PKCS5_PBKDF2_HMAC(PASSWORD, sizeof PASSWORD - 1, (unsigned char *)salt, salt_n, rounds, hash, size, salted);
    HMAC(hash, salted, size, (const unsigned char *)"Server Key", 10, keys[i], &lengths[i]);
  }
  *n = lengths[i];
  return keys[i];
}

/* client-first-message-bare: `first` without its header, after the second comma (RFC 5802 7). */
static const char *bare(const char *first) {
  const char *comma = strchr(first, ',');
  comma = comma ? strchr(comma + 1, ',') : NULL;
  return comma ? comma + 1 : "";
}

static void begin_scram(client *c, const EVP_MD *hash, const char *first) {
  const char *message = bare(first), *nonce = strstr(message, ",r=");
  char reply[512];
  int n;
  if (strncmp(message, "n=", 2) != 0 || !nonce) return say(c, "<failure xmlns='" NS_SASL "'><not-authorized/></failure>");
  c->hash = hash;
  set_user(c, message + 2);
  n = snprintf(reply, sizeof reply, "r=%.200sPEER,s=" SALT ",i=%d", nonce + 3, rounds);
  append(&c->auth, message, strlen(message));
  append(&c->auth, ",", 1);
  append(&c->auth, reply, (size_t)n);
  say_base64(c, "challenge", reply, n);
}

/* Sends our signature, and accepts any proof. */
static void end_scram(client *c, const char *final) {
  const char *proof = strstr(final, ",p=");
  unsigned char signature[EVP_MAX_MD_SIZE];
  char last[128] = "v=";
  unsigned key_n, n;
  const unsigned char *key = server_key(c->hash, &key_n);
  append(&c->auth, ",", 1);
  append(&c->auth, final, proof ? (size_t)(proof - final) : strlen(final));
  HMAC(c->hash, key, (int)key_n, (unsigned char *)c->auth.data, c->auth.n, signature, &n);
  EVP_EncodeBlock((unsigned char *)last + 2, signature, (int)n);
  say_base64(c, "success", last, (int)strlen(last));
  succeed(c);
}

static void on_auth(client *c, char *s) {
  int mechanism_n, n;
  const char *mechanism = attribute(s, "mechanism=", &mechanism_n), *payload = content(s, "<auth", &n);
  char first[512];
  int len = decode(payload, n, first, sizeof first);
  if (strncmp(mechanism, "SCRAM-SHA-256", 13) == 0) return begin_scram(c, EVP_sha256(), first);
  if (strncmp(mechanism, "SCRAM-SHA-1", 11) == 0) return begin_scram(c, EVP_sha1(), first);
  if (len > 1) set_user(c, first + strlen(first) + 1); /* authzid NUL user NUL password */
  say(c, "<success xmlns='" NS_SASL "'/>");
  succeed(c);
}

static void on_response(client *c, char *s) {
  char final[512];
  int n;
  const char *payload = content(s, "<response", &n);
  decode(payload, n, final, sizeof final);
  if (c->hash) end_scram(c, final);
}

/* The stream. */

static void say_mechanisms(client *c) {
  const char *m = mechanisms;
  say(c, "<mechanisms xmlns='" NS_SASL "'>");
  for (; *m; m += strspn(m, " ")) {
    say(c, "<mechanism>%.*s</mechanism>", (int)strcspn(m, " "), m);
    m += strcspn(m, " ");
  }
  say(c, "</mechanisms>");
  if (strstr(mechanisms, "-PLUS"))
    say(c, "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>"
           "</sasl-channel-binding>");
}

static void on_header(client *c) {
  say(c, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
         "id='bench' from='" DOMAIN "' version='1.0'><stream:features>");
  if (!c->ssl) say(c, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>");
  else if (!c->authenticated) say_mechanisms(c);
  else say(c, "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>%s", manages ? "<sm xmlns='urn:xmpp:sm:3'/>" : "");
  say(c, "</stream:features>");
}

/* Sends a large answer, a roster. */
static void say_large(client *c, const char *id, int id_n) {
  static const char item[] = "<item jid='romeo@example.net' name='Romeo' subscription='both'><group>Friends</group></item>";
  long left = strtol(id + strlen("large-"), NULL, 10);
  say(c, "<iq type='result' id='%.*s'><query xmlns='jabber:iq:roster'>", id_n, id);
  for (; left > 0; left -= (long)sizeof item) say(c, "%s", item);
  say(c, "</query></iq>");
}

static void on_iq(client *c, char *s) {
  int id_n, to_n, resource_n, type_n;
  const char *id = attribute(s, " id=", &id_n), *to = attribute(s, " to=", &to_n);
  const char *type = attribute(s, " type=", &type_n), *resource = content(s, "<resource", &resource_n);
  if (strstr(s, "urn:ietf:params:xml:ns:xmpp-bind"))
    say(c, "<iq type='result' id='%.*s'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>%s@" DOMAIN "/%.*s</jid>"
           "</bind></iq>", id_n, id, c->user, resource_n ? resource_n : 5, resource_n ? resource : "bench");
  else if (strncmp(id, "large-", 6) == 0)
    say_large(c, id, id_n);
  else if (strncmp(type, "get", 3) == 0 && to_n)
    say(c, "<iq type='result' id='%.*s' from='%.*s'/>", id_n, id, to_n, to);
  else if (strncmp(type, "get", 3) == 0)
    say(c, "<iq type='result' id='%.*s'/>", id_n, id);
}

static bool begins(const char *s, const char *element) {
  size_t n = strlen(element);
  return strncmp(s, element, n) == 0 && strchr(" />", s[n]);
}

static void start_tls(client *c) {
  c->ssl = SSL_new(ctx);
  if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1) die("SSL_new");
  SSL_set_accept_state(c->ssl);
}

static void flush(client *c);

static void on_element(client *c, char *s) {
  bool stanza = begins(s, "<iq") || begins(s, "<message") || begins(s, "<presence");
  bool bound = c->authenticated && !strstr(s, "urn:ietf:params:xml:ns:xmpp-bind");
  if (begins(s, "<auth")) on_auth(c, s);
  if (begins(s, "<response")) on_response(c, s);
  if (begins(s, "<iq")) on_iq(c, s);
  if (begins(s, "<enable")) say(c, "<enabled xmlns='urn:xmpp:sm:3' id='bench'/>");
  if (begins(s, "<r")) say(c, "<a xmlns='urn:xmpp:sm:3' h='%u'/>", c->stanzas);
  if (stanza && bound) c->stanzas++;
  if (!begins(s, "<starttls")) return;
  say(c, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
  flush(c);
  start_tls(c);
}

/* Handles the first element from the client, and returns its end; NULL: it isn't complete. */
static char *take(client *c, char *s) {
  char *end = begins(s, "<?xml") || begins(s, "<stream:stream") || begins(s, "</stream:stream") ? end_of_tag(s)
                                                                                                : end_of_element(s);
  char kept = end ? *end : '\0';
  if (!end) return NULL;
  *end = '\0';
  if (begins(s, "<stream:stream")) on_header(c);
  else if (begins(s, "</stream:stream")) say(c, "</stream:stream>"), c->done = true;
  else if (!begins(s, "<?xml")) on_element(c, s);
  *end = kept;
  return end;
}

static void take_all(client *c) {
  char *s = c->in.data, *end;
  while (s && (s = strchr(s, '<')) && (end = take(c, s))) s = end;
  if (s) drop(&c->in, (size_t)(s - c->in.data));
  else c->in.n = 0;
}

/* The network: level-triggered epoll; what the kernel doesn't take waits for EPOLLOUT. */

static void watch(client *c, int how, unsigned events) {
  struct epoll_event ev = {.events = events, .data.ptr = c};
  if (epoll_ctl(poller, how, c->fd, &ev) != 0) die("epoll_ctl");
}

static void flush(client *c) {
  while (c->out.n > 0) {
    int n = c->ssl ? SSL_write(c->ssl, c->out.data, (int)c->out.n)
                   : (int)send(c->fd, c->out.data, c->out.n, MSG_NOSIGNAL);
    if (n <= 0) return watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    drop(&c->out, (size_t)n);
    if (c->out.n == 0) watch(c, EPOLL_CTL_MOD, EPOLLIN);
  }
}

/* Receives bytes; 0: there are none now; -1: the client is gone. */
static int receive(client *c, char *to, int cap) {
  int n;
  if (c->ssl) {
    ERR_clear_error();
    n = SSL_read(c->ssl, to, cap);
    if (n > 0) return n;
    n = SSL_get_error(c->ssl, n);
    return n == SSL_ERROR_WANT_READ || n == SSL_ERROR_WANT_WRITE ? 0 : -1;
  }
  n = (int)recv(c->fd, to, (size_t)cap, 0);
  return n > 0 ? n : n < 0 && errno == EAGAIN ? 0 : -1;
}

static void forget(client *c) {
  SSL_free(c->ssl);
  close(c->fd);
  clear(&c->in);
  clear(&c->out);
  clear(&c->auth);
  free(c);
}

static void serve(client *c) {
  static char bytes[16384];
  char first;
  int n;
  if (!c->ssl && c->in.n == 0 && recv(c->fd, &first, 1, MSG_PEEK) == 1 && first == 0x16) start_tls(c);
  while ((n = receive(c, bytes, sizeof bytes)) > 0) {
    append(&c->in, bytes, (size_t)n);
    take_all(c);
  }
  flush(c);
  if (c->done && c->ssl && c->out.n == 0) SSL_shutdown(c->ssl);
  if (n < 0 || (c->done && c->out.n == 0)) forget(c);
}

static void welcome(int listener) {
  client *c = calloc(1, sizeof *c);
  int one = 1;
  if (!c) die("calloc");
  c->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (c->fd < 0) die("accept");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

/* Setting up. */

static X509 *make_certificate(EVP_PKEY *key) {
  X509 *cert = X509_new();
  X509V3_CTX v3;
  X509_EXTENSION *names;
  if (!cert || !key) die("X509_new");
  X509_set_version(cert, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), (long)getpid());
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
  X509_set_pubkey(cert, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)DOMAIN, -1, -1, 0);
  X509_set_issuer_name(cert, X509_get_subject_name(cert));
  X509V3_set_ctx(&v3, cert, cert, NULL, NULL, 0);
  names = X509V3_EXT_conf_nid(NULL, &v3, NID_subject_alt_name, "DNS:" DOMAIN);
  if (!names || X509_add_ext(cert, names, -1) != 1 || X509_sign(cert, key, EVP_sha256()) == 0) die("X509_sign");
  X509_EXTENSION_free(names);
  return cert;
}

/* Saves the certificate in a folder of its own, with the name that OpenSSL looks for; `folder` and `path` are set. */
static void save_certificate(X509 *cert, char *folder, char *path, size_t n) {
  char dirs[1024];
  FILE *f;
  if (!mkdtemp(folder)) die(folder);
  snprintf(path, n, "%s/%08lx.0", folder, X509_subject_name_hash(cert));
  f = fopen(path, "w");
  if (!f || PEM_write_X509(f, cert) != 1 || fclose(f) != 0) die(path);
  setenv("BENCH_CA", path, 1);
  snprintf(dirs, sizeof dirs, "%s:%s", X509_get_default_cert_dir(), folder);
  setenv("SSL_CERT_DIR", dirs, 1);
}

static void make_context(char *folder, char *path, size_t n) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *cert = make_certificate(key);
  save_certificate(cert, folder, path, n);
  ctx = SSL_CTX_new(TLS_server_method());
  if (!ctx || SSL_CTX_use_certificate(ctx, cert) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1) die("SSL_CTX");
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  X509_free(cert);
  EVP_PKEY_free(key);
}

/* A pipe that the command keeps open: it becomes readable when the command has ended. */
static pid_t start(char **command, int *ended) {
  int ends[2];
  pid_t child;
  if (pipe(ends) != 0) die("pipe");
  child = fork();
  if (child < 0) die("fork");
  *ended = ends[0];
  if (child > 0) return close(ends[1]), child;
  close(ends[0]);
  become(command);
}

static void serve_all(int listener, int ended) {
  struct epoll_event news[64], ev = {.events = EPOLLIN};
  int i, n;
  poller = epoll_create1(EPOLL_CLOEXEC);
  ev.data.ptr = &listener;
  if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &ev) != 0) die("epoll");
  ev.data.ptr = &ended;
  if (epoll_ctl(poller, EPOLL_CTL_ADD, ended, &ev) != 0) die("epoll_ctl");
  for (;;) {
    n = epoll_wait(poller, news, 64, -1);
    for (i = 0; i < n; i++) {
      if (news[i].data.ptr == &ended) return;
      if (news[i].data.ptr == &listener) welcome(listener);
      else serve(news[i].data.ptr);
    }
  }
}

static char **read_options(int argc, char **argv) {
  int option;
  while ((option = getopt(argc, argv, "+m:i:s")) > 0) {
    if (option == 'm') mechanisms = optarg;
    else if (option == 'i') rounds = atoi(optarg);
    else if (option == 's') manages = true;
    else return NULL;
  }
  return optind < argc ? argv + optind : NULL;
}

int main(int argc, char **argv) {
  char **command = read_options(argc, argv), folder[] = "/tmp/crowd.XXXXXX", path[64];
  int listener, ended, status;
  pid_t child;
  if (!command) return fprintf(stderr, "usage: crowd [-m MECHANISMS] [-i ROUNDS] [-s] CMD...\n"), 2;
  signal(SIGPIPE, SIG_IGN);
  allow_descriptors();
  make_context(folder, path, sizeof path);
  listener = listen_on_loopback();
  child = start(command, &ended);
  stay_on(1);
  serve_all(listener, ended);
  unlink(path);
  rmdir(folder);
  if (waitpid(child, &status, 0) != child) die("waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
