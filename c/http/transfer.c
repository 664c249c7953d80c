#include "transfer.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"

enum {
  CONNECT_S = 30,
  MOST_HEADS = 64 * 1024,
  CHANGES_EACH = 16, /* changes of watched descriptors that one transfer may cause between two calls of
                        xh_next_change */
  DIAL_TEXT = 64,
  LONGEST_HOST = 255,
};

typedef struct bytes {
  char *at;
  size_t n, room, most;
} bytes;

typedef struct change {
  int fd, events;
} change;

struct xh_multi {
  CURLM *curl;
  change *changes; /* not taken by xh_next_change yet */
  size_t first, last, room;
  long timeout;
  bool has_timeout; /* `timeout` has changed since xh_timeout was last called */
  bool spoilt;
  unsigned count;
  xh_transfer *transfers;
};

struct xh_transfer {
  xh_transfer *next, **at; /* in the multi's list */
  xh_multi *multi;         /* NULL: removed from it, or the multi was freed */
  CURL *easy;
  CURLU *url;
  struct curl_slist *headers, *dial;
  const char *chunk; /* the part of the body that libcurl hasn't taken yet */
  size_t left;
  int64_t size, sent;
  bool ended, paused, done;
  bool has_heads; /* all headers have come, with the empty line behind them */
  bool checks_address, has_friend;
  char host[LONGEST_HOST + 1]; /* the host for which the certificate must be: as in the URL, without brackets and a
                                  final dot */
  struct sockaddr_storage friend_address;
  CURLcode code;
  const char *fault; /* the condition, where libcurl only knows that a callback has refused */
  bytes heads, body;
  char text[CURL_ERROR_SIZE];
};

/* OpenSSL writes to a socket by write(2), so a closed connection can raise SIGPIPE, which would end the process. It is
 * blocked while libcurl works, and discarded afterwards. */
typedef struct hush {
  sigset_t before;
  bool was_pending;
} hush;

static bool is_pending(void) {
  sigset_t now;
  return sigpending(&now) == 0 && sigismember(&now, SIGPIPE) == 1;
}

static sigset_t only_pipe(void) {
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, SIGPIPE);
  return s;
}

static hush hush_begin(void) {
  sigset_t s = only_pipe();
  hush h = {.was_pending = is_pending()};
  pthread_sigmask(SIG_BLOCK, &s, &h.before);
  return h;
}

static void hush_end(const hush *h) {
  sigset_t s = only_pipe();
  int number;
  if (!h->was_pending && is_pending()) sigwait(&s, &number);
  pthread_sigmask(SIG_SETMASK, &h->before, NULL);
}

/* false: over the limit, or no memory. */
static bool append(bytes *b, const char *from, size_t n) {
  size_t room = b->room;
  char *more;
  if (n > b->most - b->n) return false;
  while (room < b->n + n) room = room ? room * 2 : 4096;
  if (room > b->room) {
    more = realloc(b->at, room);
    if (!more) return false;
    b->at = more;
    b->room = room;
  }
  memcpy(b->at + b->n, from, n);
  b->n += n;
  return true;
}

/* The callbacks that libcurl calls. */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused) {
  xh_multi *m = arg;
  int events = what == CURL_POLL_IN ? XH_READ : what == CURL_POLL_OUT ? XH_WRITE : what == CURL_POLL_INOUT ? XH_READ | XH_WRITE : 0;
  (void)easy, (void)unused;
  if (m->last == m->room) return m->spoilt = true, -1;
  m->changes[m->last++] = (change){.fd = fd, .events = events};
  return 0;
}

static int on_timeout(CURLM *curl, long ms, void *arg) {
  xh_multi *m = arg;
  (void)curl;
  m->timeout = ms;
  m->has_timeout = true;
  return 0;
}

/* The only place where sockets are opened, wherever the address comes from: so the address that is checked is the one
 * that is connected to. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *a) {
  xh_transfer *t = arg;
  int fd;
  (void)purpose;
  if (t->checks_address && !xh_address_is_public(&a->addr) &&
      !(t->has_friend && xh_address_same(&a->addr, (const struct sockaddr *)&t->friend_address))) {
    t->fault = "forbidden-address";
    return CURL_SOCKET_BAD;
  }
  fd = socket(a->family, a->socktype, a->protocol);
  if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static size_t on_read(char *to, size_t size, size_t count, void *arg) {
  xh_transfer *t = arg;
  size_t n = size * count;
  if (t->size >= 0 && t->sent == t->size) return 0;
  if (t->left == 0 && !t->ended) return t->paused = true, CURL_READFUNC_PAUSE;
  if (t->left == 0 && t->size >= 0) return t->fault = "short-body", CURL_READFUNC_ABORT;
  if (n > t->left) n = t->left;
  if (t->size >= 0 && (int64_t)n > t->size - t->sent) n = (size_t)(t->size - t->sent);
  if (n > 0) memcpy(to, t->chunk, n);
  t->chunk += n;
  t->left -= n;
  t->sent += (int64_t)n;
  return n;
}

static size_t on_body(char *from, size_t size, size_t count, void *arg) {
  xh_transfer *t = arg;
  if (append(&t->body, from, size * count)) return size * count;
  t->fault = size * count > t->body.most - t->body.n ? "too-large" : "no-memory";
  return 0;
}

/* Of several responses (100 Continue) only the last counts. */
static size_t on_head(char *from, size_t size, size_t count, void *arg) {
  xh_transfer *t = arg;
  size_t n = size * count;
  if (n >= 5 && memcmp(from, "HTTP/", 5) == 0) return t->heads.n = 0, t->has_heads = false, n;
  if (n <= 2 && from[n - 1] == '\n') return t->has_heads = true, n;
  if (append(&t->heads, from, n)) return n;
  t->fault = n > t->heads.most - t->heads.n ? "too-large" : "no-memory";
  return 0;
}

/* Nothing is sent twice: the caller may no longer have it. */
static int on_seek(void *arg, curl_off_t to, int origin) {
  (void)arg, (void)to, (void)origin;
  return CURL_SEEKFUNC_FAIL;
}

/* A certificate without a subjectAltName is valid for no host (RFC 9525 2, as for a stream), though libcurl would go by
 * its common name: OpenSSL is told so before it verifies one. */
static CURLcode on_tls(CURL *easy, void *context, void *arg) {
  const xh_transfer *t = arg;
  X509_VERIFY_PARAM *p = SSL_CTX_get0_param(context);
  (void)easy;
  X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (X509_VERIFY_PARAM_set1_ip_asc(p, t->host) == 1) return CURLE_OK;
  return X509_VERIFY_PARAM_set1_host(p, t->host, 0) == 1 ? CURLE_OK : CURLE_OUT_OF_MEMORY;
}

/* Does libcurl use the same OpenSSL as we are linked with? If not, libcurl's own rule applies. */
static bool is_openssl(void) {
  const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);
  return v->ssl_version && strncmp(v->ssl_version, "OpenSSL/", 8) == 0 &&
         strtoul(v->ssl_version + 8, NULL, 10) == OPENSSL_VERSION_NUMBER >> 28;
}

/* Multis. */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode global;

static void init(void) {
  global = curl_global_init(CURL_GLOBAL_DEFAULT);
}

xh_multi *xh_multi_new(void) {
  xh_multi *m;
  pthread_once(&once, init);
  if (global != CURLE_OK) return NULL;
  m = calloc(1, sizeof *m);
  if (!m) return NULL;
  m->curl = curl_multi_init();
  if (!m->curl) return free(m), NULL;
  curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m);
  curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, on_timeout);
  curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m);
  return m;
}

/* An answer that ends within its headers counts as a success for libcurl; here it is an error. */
static void finish(xh_transfer *t, CURLcode code) {
  if (t->done) return;
  t->done = true;
  if (code == CURLE_OK && !t->has_heads) code = CURLE_GOT_NOTHING;
  t->code = code;
}

/* Takes a transfer out of its multi: its connection is closed, and no callback is called any more. */
static void leave(xh_transfer *t) {
  hush h;
  if (!t->multi) return;
  h = hush_begin();
  curl_multi_remove_handle(t->multi->curl, t->easy);
  hush_end(&h);
  *t->at = t->next;
  if (t->next) t->next->at = t->at;
  t->multi->count--;
  t->multi = NULL;
}

void xh_multi_free(xh_multi *m) {
  if (!m) return;
  m->spoilt = true; /* no changes are noted any more: nobody watches */
  while (m->transfers) {
    xh_transfer *t = m->transfers;
    leave(t);
    t->fault = "closed";
    finish(t, CURLE_ABORTED_BY_CALLBACK);
  }
  curl_multi_cleanup(m->curl);
  free(m->changes);
  free(m);
}

/* Is there a later change for the same descriptor? */
static bool is_outdated(const xh_multi *m, size_t at) {
  size_t i;
  for (i = at + 1; i < m->last; i++)
    if (m->changes[i].fd == m->changes[at].fd) return true;
  return false;
}

bool xh_next_change(xh_multi *m, int *fd, int *events) {
  while (m->first < m->last && is_outdated(m, m->first)) m->first++;
  if (m->first == m->last) return m->first = m->last = 0, false;
  *fd = m->changes[m->first].fd;
  *events = m->changes[m->first++].events;
  return true;
}

bool xh_timeout(xh_multi *m, long *ms) {
  bool is_new = m->has_timeout;
  m->has_timeout = false;
  *ms = m->timeout;
  return is_new;
}

static void note_done(xh_multi *m) {
  CURLMsg *msg;
  int more;
  while ((msg = curl_multi_info_read(m->curl, &more))) {
    void *t = NULL;
    if (msg->msg == CURLMSG_DONE && curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&t) == CURLE_OK && t)
      finish(t, msg->data.result);
  }
}

static bool is_spoilt(xh_multi *m, CURLMcode code) {
  xh_transfer *t;
  if (code != CURLM_OK && code != CURLM_BAD_SOCKET) m->spoilt = true;
  if (!m->spoilt) return false;
  for (t = m->transfers; t; t = t->next) {
    if (!t->done) t->fault = "no-memory";
    finish(t, CURLE_OUT_OF_MEMORY);
  }
  return true;
}

bool xh_act(xh_multi *m, int fd, int events) {
  int bits = (events & XH_READ ? CURL_CSELECT_IN : 0) | (events & XH_WRITE ? CURL_CSELECT_OUT : 0) | (events & XH_ERROR ? CURL_CSELECT_ERR : 0);
  int running;
  hush h = hush_begin();
  CURLMcode code = curl_multi_socket_action(m->curl, fd < 0 ? CURL_SOCKET_TIMEOUT : fd, bits, &running);
  hush_end(&h);
  note_done(m);
  return !is_spoilt(m, code);
}

/* Makes room for the changes of one more transfer beforehand, since on_socket can't refuse one. */
static bool make_room(xh_multi *m) {
  size_t room = (m->count + 1) * (size_t)CHANGES_EACH;
  change *more;
  if (room <= m->room) return true;
  more = realloc(m->changes, room * sizeof *more);
  if (!more) return false;
  m->changes = more;
  m->room = room;
  return true;
}

/* Transfers. */

#define SET(option, value)                                        \
  do {                                                            \
    if (curl_easy_setopt(e, option, value) != CURLE_OK) return false; \
  } while (0)

static bool set_calls(xh_transfer *t) {
  CURL *e = t->easy;
  SET(CURLOPT_PRIVATE, t);
  SET(CURLOPT_ERRORBUFFER, t->text);
  SET(CURLOPT_NOSIGNAL, 1L);
  SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
  SET(CURLOPT_OPENSOCKETDATA, t);
  SET(CURLOPT_WRITEFUNCTION, on_body);
  SET(CURLOPT_WRITEDATA, t);
  SET(CURLOPT_HEADERFUNCTION, on_head);
  SET(CURLOPT_HEADERDATA, t);
  SET(CURLOPT_READFUNCTION, on_read);
  SET(CURLOPT_READDATA, t);
  SET(CURLOPT_SEEKFUNCTION, on_seek);
#if LIBCURL_VERSION_NUM >= 0x075700
  SET(CURLOPT_QUICK_EXIT, 1L); /* giving up doesn't wait for the resolver's thread */
#endif
  return true;
}

/* Switches off what libcurl does by default, and sets limits. */
static bool set_manners(xh_transfer *t, const xh_request *r) {
  CURL *e = t->easy;
  SET(CURLOPT_FOLLOWLOCATION, 0L);
  SET(CURLOPT_FRESH_CONNECT, 1L);
  SET(CURLOPT_FORBID_REUSE, 1L);
  SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
  SET(CURLOPT_PROTOCOLS_STR, r->http ? "https,http" : "https");
#else
  SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTPS | (r->http ? CURLPROTO_HTTP : 0)));
#endif
  SET(CURLOPT_PROXY, r->proxy ? r->proxy : "");
  SET(CURLOPT_NOPROXY, "");
  SET(CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
  SET(CURLOPT_TIMEOUT_MS, r->timeout);
  SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
  SET(CURLOPT_LOW_SPEED_TIME, r->stall);
  return true;
}

/* If a CA is given only that is trusted: otherwise libcurl would use its default directory in addition to a file. */
static bool set_trust(xh_transfer *t, const xh_request *r) {
  CURL *e = t->easy;
  SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  SET(CURLOPT_SSL_VERIFYPEER, r->insecure ? 0L : 1L);
  SET(CURLOPT_SSL_VERIFYHOST, r->insecure ? 0L : 2L);
  /* Not with an HTTPS proxy: its TLS has a context of its own, to which on_tls would be applied, too. */
  if (!r->insecure && is_openssl() && !(r->proxy && strncmp(r->proxy, "https:", 6) == 0)) {
    SET(CURLOPT_SSL_CTX_FUNCTION, on_tls);
    SET(CURLOPT_SSL_CTX_DATA, t);
  }
  if (r->ca_file || r->ca_dir) {
    SET(CURLOPT_CAINFO, r->ca_file);
    SET(CURLOPT_CAPATH, r->ca_dir);
  }
  if (r->pin) SET(CURLOPT_PINNEDPUBLICKEY, r->pin);
  return true;
}

static bool add_line(struct curl_slist **list, const char *line) {
  struct curl_slist *more = curl_slist_append(*list, line);
  if (more) *list = more;
  return more != NULL;
}

static bool set_dial(xh_transfer *t, const xh_request *r) {
  CURL *e = t->easy;
  char line[DIAL_TEXT];
  if (!r->dial) return true;
  snprintf(line, sizeof line, strchr(r->dial, ':') ? "::[%s]:" : "::%s:", r->dial);
  if (!add_line(&t->dial, line)) return false;
  SET(CURLOPT_CONNECT_TO, t->dial);
  return true;
}

static bool set_what(xh_transfer *t, const xh_request *r) {
  CURL *e = t->easy;
  const char *const *h;
  SET(CURLOPT_CURLU, t->url);
  if (strcmp(r->method, "HEAD") == 0) SET(CURLOPT_NOBODY, 1L);
  else if (strcmp(r->method, "GET") != 0 || r->has_body) SET(CURLOPT_CUSTOMREQUEST, r->method);
  if (r->has_body) {
    SET(CURLOPT_UPLOAD, 1L);
    SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->size);
  }
  if (!add_line(&t->headers, "Expect:")) return false; /* otherwise a second is lost if the server doesn't support it */
  for (h = r->headers; h && *h; h++) {
    if (!add_line(&t->headers, *h)) return false;
  }
  SET(CURLOPT_HTTPHEADER, t->headers);
  return true;
}

static bool has_part(CURLU *url, CURLUPart part, const char *value) {
  char *text = NULL;
  bool yes = curl_url_get(url, part, &text, 0) == CURLUE_OK && text && (!value || strcmp(text, value) == 0);
  curl_free(text);
  return yes;
}

static bool read_host(xh_transfer *t) {
  char *text = NULL;
  size_t n, skip;
  bool fits;
  if (curl_url_get(t->url, CURLUPART_HOST, &text, 0) != CURLUE_OK) return false;
  skip = text[0] == '[';
  n = strcspn(text + skip, "]");
  if (n > 0 && text[skip + n - 1] == '.') n--;
  fits = n > 0 && n <= LONGEST_HOST;
  if (fits) memcpy(t->host, text + skip, n);
  curl_free(text);
  return fits;
}

/* Parses the URL by libcurl, so that what is checked is what it connects to. NULL: it is fine. */
static const char *read_url(xh_transfer *t, const xh_request *r) {
  t->url = curl_url();
  if (!t->url) return "no memory";
  if (curl_url_set(t->url, CURLUPART_URL, r->url, 0) != CURLUE_OK) return "it is no URL";
  if (has_part(t->url, CURLUPART_USER, NULL) || has_part(t->url, CURLUPART_PASSWORD, NULL))
    return "it has a user name or password: use an Authorization header";
  if (!read_host(t)) return "it has no host";
  if (has_part(t->url, CURLUPART_SCHEME, "https")) return NULL;
  return r->http && has_part(t->url, CURLUPART_SCHEME, "http") ? NULL : "its scheme is not https";
}

static void drop(xh_transfer *t) {
  curl_easy_cleanup(t->easy);
  curl_slist_free_all(t->headers);
  curl_slist_free_all(t->dial);
  curl_url_cleanup(t->url);
  free(t->heads.at);
  free(t->body.at);
  free(t);
}

static void enter(xh_multi *m, xh_transfer *t) {
  t->multi = m;
  t->at = &m->transfers;
  t->next = m->transfers;
  if (t->next) t->next->at = &t->next;
  m->transfers = t;
  m->count++;
}

static bool prepare(xh_transfer *t, const xh_request *r) {
  t->easy = curl_easy_init();
  return t->easy && set_calls(t) && set_manners(t, r) && set_trust(t, r) && set_dial(t, r) && set_what(t, r);
}

xh_transfer *xh_begin(xh_multi *m, const xh_request *r, const char **why) {
  xh_transfer *t = calloc(1, sizeof *t);
  *why = NULL;
  if (!t) return NULL;
  t->size = r->size;
  t->checks_address = r->is_public && !r->proxy; /* a proxy's address was given by the program */
  t->has_friend = r->but && xh_address_read(r->but, &t->friend_address);
  t->heads.most = MOST_HEADS;
  t->body.most = r->max;
  *why = read_url(t, r);
  if (!*why && !m->spoilt && make_room(m) && prepare(t, r) && curl_multi_add_handle(m->curl, t->easy) == CURLM_OK)
    return enter(m, t), t;
  drop(t);
  return NULL;
}

void xh_free(xh_transfer *t) {
  if (!t) return;
  leave(t);
  drop(t);
}

xh_state xh_state_of(const xh_transfer *t) {
  return t->done ? XH_DONE : t->paused ? XH_HUNGRY : XH_BUSY;
}

void xh_feed(xh_transfer *t, const char *from, size_t n) {
  hush h;
  t->chunk = from;
  t->left = n;
  t->ended = n == 0;
  if (!t->paused || t->done || !t->multi) return;
  t->paused = false;
  h = hush_begin();
  if (curl_easy_pause(t->easy, CURLPAUSE_CONT) != CURLE_OK) {
    t->fault = "no-memory";
    finish(t, CURLE_OUT_OF_MEMORY);
  }
  hush_end(&h);
}

int64_t xh_sent(const xh_transfer *t) {
  return t->sent;
}

int64_t xh_received(const xh_transfer *t) {
  return (int64_t)t->body.n;
}

/* Our conditions for libcurl's errors. */
static const struct {
  CURLcode code;
  const char *condition;
  bool retry;
} words[] = {
    {CURLE_COULDNT_RESOLVE_HOST, "host-unknown", true},
    {CURLE_COULDNT_RESOLVE_PROXY, "host-unknown", true},
    {CURLE_COULDNT_CONNECT, "no-connection", true},
    {CURLE_OPERATION_TIMEDOUT, "timeout", true},
    {CURLE_PEER_FAILED_VERIFICATION, "certificate", false},
    {CURLE_SSL_PINNEDPUBKEYNOTMATCH, "certificate", false},
    {CURLE_SSL_CACERT_BADFILE, "ca-file", false},
    {CURLE_SSL_CONNECT_ERROR, "tls", true},
    {CURLE_GOT_NOTHING, "cut", true},
    {CURLE_SEND_ERROR, "cut", true},
    {CURLE_RECV_ERROR, "cut", true},
    {CURLE_PARTIAL_FILE, "cut", true},
    {CURLE_OUT_OF_MEMORY, "no-memory", true},
    {CURLE_WEIRD_SERVER_REPLY, "bad-response", false},
    {CURLE_UNSUPPORTED_PROTOCOL, "bad-url", false},
    {CURLE_URL_MALFORMAT, "bad-url", false},
};

/* Texts for what our callbacks have refused. */
static const struct {
  const char *fault, *text;
} faults[] = {
    {"forbidden-address", "none of its addresses is public"},
    {"short-body", "the request's body had fewer bytes than announced"},
    {"too-large", "the answer is too large"},
    {"closed", "libcurl has been closed"},
};

static void name_fault(const xh_transfer *t, xh_result *r) {
  size_t i;
  r->condition = "failed";
  for (i = 0; i < sizeof words / sizeof *words; i++) {
    if (words[i].code != t->code) continue;
    r->condition = words[i].condition;
    r->retry = words[i].retry;
  }
  r->text = t->text[0] ? t->text : curl_easy_strerror(t->code);
  if (!t->fault) return;
  r->condition = t->fault;
  r->retry = strcmp(t->fault, "no-memory") == 0;
  for (i = 0; i < sizeof faults / sizeof *faults; i++) {
    if (strcmp(t->fault, faults[i].fault) == 0) r->text = faults[i].text;
  }
}

xh_result xh_result_of(const xh_transfer *t) {
  xh_result r = {.heads = t->heads.at, .heads_n = t->heads.n, .body = t->body.at, .body_n = t->body.n};
  if (t->code != CURLE_OK) return name_fault(t, &r), r;
  curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &r.status);
  return r;
}
