#include "dns.h"

#define CARES_NO_DEPRECATED /* c-ares 1.18 (Debian 12) has none but these */
#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#include "ascii.h"
#include "asked.h"
#include "rnd.h"
#include "srv.h"

enum {
  FIRST_TRY_MS = 1000,
  TRIES = 3,
  BUDGET_MS = 15000,
  FAMILY_MS = 50, /* how long the other family's addresses are waited for (RFC 8305 3: the Resolution Delay) */
  SRV_SHARE = 3,  /* a third of the budget is for SRV */
  REST_SHARE = 15, /* and a fifteenth for what is still unanswered when there is something to go on with */
  SHARE = 4, /* addresses of one SRV target, when there are others */
  JUNK = 64, /* datagrams that answer nothing, read in one turn */
};

typedef enum stage {
  STAGE_SERVICES,  /* SRV answers are awaited; left when the last one has come, or time is up (services_due) */
  STAGE_ADDRESSES, /* addresses of the targets are awaited; left when all have come, or time is up (addresses_due) */
  STAGE_FINISHED,  /* there is a list or an error; left when done is called */
  STAGE_TOLD,      /* done was called, the result may be read */
} stage;

/* A libuv watcher on a socket of c-ares's. */
typedef struct watcher {
  uv_poll_t poll;
  xm_dns *dns;
  int fd;
  struct watcher *next;
} watcher;

/* One of the two SRV questions. */
typedef struct service {
  xm_dns *dns;
  bool direct_tls;
  int status; /* c-ares's */
  struct ares_srv_reply *records;
} service;

/* One family's addresses of a target. */
typedef struct family {
  struct target *target;
  bool came;  /* c-ares has answered */
  int status; /* c-ares's; until it has answered, ARES_ETIMEOUT */
  struct ares_addrinfo *found;
} family;

/* A host to find addresses of. */
typedef struct target {
  xm_dns *dns;
  char host[XM_SRV_NAME + 1];
  uint16_t port;
  bool direct_tls;
  family v6, v4;
  uint64_t known_at; /* when the first of them had an address; 0: none has yet */
} target;

struct xm_dns {
  xm_loop *loop;
  void (*done)(void *arg);
  void *arg;
  stage stage;
  ares_channel channel; /* NULL from STAGE_FINISHED on */
  watcher *watchers;
  xm_timer timer; /* c-ares's next deadline, or the stage's; in STAGE_FINISHED, when done is called */
  unsigned budget;
  uint64_t began;    /* when the query did */
  uint64_t known_at; /* when this stage first had something to go on with; 0: it hasn't yet */
  int pending;    /* answers that c-ares still owes in this stage */
  xm_asked asked; /* questions sent by UDP */
  int refusal;    /* the last error that a name server answered with, as a status of c-ares's; 0: none */
  service services[2];
  target self; /* the domain itself, as asked for */
  target targets[XM_DNS_TARGETS];
  int n_targets;
  bool names;    /* only names are wanted, no addresses */
  bool from_srv; /* the targets are SRV targets, not the domain itself */
  xm_dns_address list[XM_DNS_ADDRESSES];
  int count;
  xm_err err;
};

/* When c-ares has no memory to keep an answer, it may lose it silently, and then (1.34) follow a pointer to what is
 * freed. So it isn't asked anything more once memory has run out. Every allocation that fails leaves ENOMEM in errno,
 * which is set to 0 before c-ares is called; we look at it afterwards, and before each call of ours that could
 * overwrite it. */
static void note_memory(xm_dns *d) {
  if (errno == ENOMEM) xm_err_nomem(&d->err);
}

static void close_channel(xm_dns *d) {
  ares_destroy(d->channel);
  d->channel = NULL;
}

void xm_dns_free(xm_dns *d) {
  int i;
  if (!d) return;
  xm_timer_stop(d->loop, &d->timer);
  close_channel(d); /* first: it may still deliver what it has found */
  for (i = 0; i < 2; i++) ares_free_data(d->services[i].records);
  for (i = 0; i < d->n_targets; i++) {
    ares_freeaddrinfo(d->targets[i].v6.found);
    ares_freeaddrinfo(d->targets[i].v4.found);
  }
  xm_loop_release(d->loop);
  free(d);
}

/* The conditions for c-ares's codes, and whether another attempt may help: networks come and go. */
static const struct word {
  int status;
  const char *condition;
  bool retry;
  const char *text;
} words[] = {
    {ARES_ENOTFOUND, "NXDOMAIN", true, "there is no such name"},
    {ARES_ENODATA, "NODATA", true, "the name has no address"},
    {ARES_ESERVFAIL, "SERVFAIL", true, "the name server failed to find out"},
    {ARES_EREFUSED, "REFUSED", true, "the name server refuses to answer"},
    {ARES_ENOTIMP, "NOTIMP", true, "the name server does not know this kind of question"},
    {ARES_EFORMERR, "FORMERR", true, "the name server did not understand the question"},
    {ARES_ETIMEOUT, "TIMEOUT", true, "no name server answered in time"},
    {ARES_ECONNREFUSED, "ECONNREFUSED", true, "no name server could be reached"},
    {ARES_EBADRESP, "EBADRESP", true, "the name server's answer is malformed"},
    {ARES_EBADNAME, "EBADNAME", false, "this is not a valid host name"},
    {ARES_EBADSTR, "EBADSTR", false, "the list of name servers is malformed"},
    {0, "EOTHER", true, "the name could not be looked up"},
};

static const struct word *describe(int status) {
  const struct word *w = words;
  while (w->status && w->status != status) w++;
  return w;
}

static int set_error(xm_err *e, int status, const char *name) {
  const struct word *w = describe(status);
  if (status == ARES_ENOMEM) return xm_err_nomem(e);
  return xm_err_set(e, XM_LAYER_DNS, w->condition, w->retry, "%s: %s", name, w->text);
}

static bool is_passing(int status) {
  return status != ARES_SUCCESS && status != ARES_ENOTFOUND && status != ARES_ENODATA;
}

static void take_answer(xm_dns *d, int status, bool known) {
  d->pending--;
  if (known && !d->known_at) d->known_at = xm_loop_now(d->loop);
  if (status == ARES_ENOMEM) xm_err_nomem(&d->err);
}

static void add_address(xm_dns *d, int number, const struct sockaddr *sa, size_t size) {
  const target *t = &d->targets[number];
  xm_dns_address *a = &d->list[d->count++];
  in_port_t port = htons(t->port);
  memcpy(&a->sa, sa, size);
  if (sa->sa_family == AF_INET) ((struct sockaddr_in *)&a->sa)->sin_port = port;
  if (sa->sa_family == AF_INET6) ((struct sockaddr_in6 *)&a->sa)->sin6_port = port;
  a->direct_tls = t->direct_tls;
  a->target = (unsigned char)number;
}

/* That is this machine, so nobody has to be asked (RFC 6761 6.3). */
static bool is_localhost(const target *t) {
  return xm_ascii_equal(t->host, "localhost") || xm_ascii_equal(t->host, "localhost.");
}

/* A host that several records name is looked up once, for the first of them. */
static target *first_with_host(xm_dns *d, const char *host) {
  target *t = d->targets;
  while (!xm_ascii_equal(t->host, host)) t++;
  return t;
}

/* A failure is reported rather than the lack of an address: the server that failed may know one. */
static int status_of(const target *t) {
  return is_passing(t->v4.status) || !is_passing(t->v6.status) ? t->v4.status : t->v6.status;
}

static const struct ares_addrinfo_node *nodes_of(const family *f) {
  return f->found && f->status == ARES_SUCCESS ? f->found->nodes : NULL;
}

static int count(const struct ares_addrinfo_node *list) {
  int n = 0;
  for (; list; list = list->ai_next) n++;
  return n;
}

static int smaller(int a, int b) {
  return a < b ? a : b;
}

static void add_loopbacks(xm_dns *d, int number) {
  const struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  const struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  add_address(d, number, (const struct sockaddr *)&v6, sizeof v6);
  add_address(d, number, (const struct sockaddr *)&v4, sizeof v4);
}

/* The order of RFC 6724 2.1, best first. Its rules on source addresses, for which each address would have to be tried,
 * are left to the dialling (RFC 8305): where there is no route, connecting fails at once. */
enum { RANK_LOOPBACK, RANK_IPV6, RANK_IPV4, RANK_6TO4, RANK_TEREDO, RANK_LOCAL, RANK_OLD, RANKS };

static int rank_of(const struct sockaddr *sa) {
  const struct in6_addr *v6 = &((const struct sockaddr_in6 *)sa)->sin6_addr;
  const uint8_t *b = v6->s6_addr;
  if (sa->sa_family != AF_INET6 || IN6_IS_ADDR_V4MAPPED(v6)) return RANK_IPV4;
  if (IN6_IS_ADDR_LOOPBACK(v6)) return RANK_LOOPBACK;
  if (IN6_IS_ADDR_V4COMPAT(v6) || IN6_IS_ADDR_SITELOCAL(v6) || (b[0] == 0x3F && b[1] == 0xFE)) return RANK_OLD;
  if ((b[0] & 0xFE) == 0xFC) return RANK_LOCAL;
  if (b[0] == 0x20 && b[1] == 0x02) return RANK_6TO4;
  return b[0] == 0x20 && b[1] == 0x01 && !b[2] && !b[3] ? RANK_TEREDO : RANK_IPV6;
}

/* Adds the addresses of a rank, as many as there is room for. Returns how many. */
static int add_rank(xm_dns *d, int number, const struct ares_addrinfo_node *node, int rank, int room) {
  int n = 0;
  for (; node && n < room; node = node->ai_next) {
    if (rank_of(node->ai_addr) != rank) continue;
    add_address(d, number, node->ai_addr, (size_t)node->ai_addrlen);
    n++;
  }
  return n;
}

/* A long list of one family doesn't crowd out the other, for which half of the share is kept. */
static void add_target_addresses(xm_dns *d, int number, int share) {
  const target *t = first_with_host(d, d->targets[number].host);
  const struct ares_addrinfo_node *v6 = nodes_of(&t->v6), *v4 = nodes_of(&t->v4);
  int left6 = share - smaller(share / 2, count(v4)), left4 = share - smaller(share / 2, count(v6));
  int rank, n;
  if (share > 1 && is_localhost(t)) add_loopbacks(d, number);
  for (rank = 0; rank < RANKS; rank++) {
    n = add_rank(d, number, v6, rank, smaller(left6, share));
    left6 -= n;
    share -= n;
    n = add_rank(d, number, v4, rank, smaller(left4, share));
    left4 -= n;
    share -= n;
  }
}

/* Reports what became of every host. */
static void fail_without_address(xm_dns *d) {
  char story[400] = "";
  size_t n = 0;
  int i, status = status_of(&d->targets[0]);
  if (!d->from_srv) {
    set_error(&d->err, status, d->self.host);
    return;
  }
  for (i = 0; i < d->n_targets && n < sizeof story; i++) {
    const target *t = &d->targets[i];
    if (first_with_host(d, t->host) != t) continue;
    n += (size_t)snprintf(story + n, sizeof story - n, "%s%s: %s", i ? ", " : "", t->host,
                          describe(status_of(t))->condition);
  }
  xm_err_set(&d->err, XM_LAYER_DNS, describe(status)->condition, true, "%s: no SRV target has an address (%s)",
             d->self.host, story);
}

static void collect_addresses(xm_dns *d) {
  int i, share = d->n_targets == 1 ? XM_DNS_ADDRESSES : smaller(SHARE, XM_DNS_ADDRESSES / d->n_targets);
  for (i = 0; i < d->n_targets; i++) add_target_addresses(d, i, share);
  if (d->count == 0) fail_without_address(d);
  d->stage = STAGE_FINISHED;
}

static void on_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *found) {
  family *f = arg;
  target *t = f->target;
  const int af = f == &t->v6 ? AF_INET6 : AF_INET;
  (void)timeouts;
  /* c-ares answers a query for IPv6 with a target that is an IPv4 address, too. */
  if (status == ARES_SUCCESS && (!found || !found->nodes || found->nodes->ai_family != af)) status = ARES_ENODATA;
  if (status == ARES_ECONNREFUSED && t->dns->refusal) status = t->dns->refusal;
  f->came = true;
  f->status = status;
  f->found = found;
  if (status == ARES_SUCCESS && !t->known_at) t->known_at = xm_loop_now(t->dns->loop);
  take_answer(t->dns, status, status == ARES_SUCCESS);
}

/* Each family on its own: c-ares would keep back one family's addresses until it has given up on the other. Unsorted:
 * to sort them it would open a socket to every address, thousands maybe, in one turn. */
static void ask_family(xm_dns *d, target *t, family *f, int af) {
  const struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NOSORT, .ai_family = af, .ai_socktype = SOCK_STREAM};
  *f = (family){.target = t, .status = ARES_ETIMEOUT};
  d->pending++;
  ares_getaddrinfo(d->channel, t->host, NULL, &hints, on_addresses, f);
}

static void ask_addresses(xm_dns *d) {
  int i;
  if (d->names) return (void)(d->stage = STAGE_FINISHED);
  d->stage = STAGE_ADDRESSES;
  d->refusal = d->pending = 0;
  d->known_at = 0;
  for (i = 0; i < d->n_targets; i++) {
    target *t = &d->targets[i];
    if (first_with_host(d, t->host) != t || is_localhost(t)) continue;
    ask_family(d, t, &t->v6, AF_INET6);
    ask_family(d, t, &t->v4, AF_INET);
  }
}

static int count_records(const service *s) {
  const struct ares_srv_reply *r;
  int n = 0;
  for (r = s->records; r; r = r->next) n++;
  return n;
}

static xm_srv *copy_records(const service *s, xm_srv *to) {
  const struct ares_srv_reply *r;
  for (r = s->records; r; r = r->next) *to++ = (xm_srv){r->host, r->priority, r->weight, r->port, s->direct_tls};
  return to;
}

static void add_target(xm_dns *d, const xm_srv *srv) {
  target *t = &d->targets[d->n_targets++];
  *t = (target){.dns = d, .port = srv->port, .direct_tls = srv->direct_tls};
  snprintf(t->host, sizeof t->host, "%s", srv->host);
}

static int choose_targets(xm_dns *d) {
  int i, n = count_records(&d->services[0]) + count_records(&d->services[1]);
  xm_srv *list;
  if (n == 0) {
    d->targets[d->n_targets++] = d->self;
    return XM_OK;
  }
  d->from_srv = true;
  list = malloc((size_t)n * sizeof *list);
  if (!list) return xm_err_nomem(&d->err);
  copy_records(&d->services[1], copy_records(&d->services[0], list));
  n = xm_srv_order(list, n, XM_DNS_TARGETS, xm_rnd_bytes);
  for (i = 0; i < n; i++) add_target(d, &list[i]);
  free(list);
  if (n > 0) return XM_OK;
  return xm_err_set(&d->err, XM_LAYER_DNS, "no-service",
                    is_passing(d->services[0].status) || is_passing(d->services[1].status),
                    "%s: its SRV records say that it offers no service to clients", d->self.host);
}

/* An answer that comes after the stage is over is too late. */
static void on_service(void *arg, int status, int timeouts, unsigned char *bytes, int n) {
  service *s = arg;
  (void)timeouts;
  if (s->dns->stage != STAGE_SERVICES) return;
  if (status == ARES_SUCCESS) status = ares_parse_srv_reply(bytes, n, &s->records);
  s->status = status;
  take_answer(s->dns, status, s->records != NULL);
}

static void ask_service(xm_dns *d, service *s, const char *name) {
  char owner[XM_SRV_NAME + 32];
  snprintf(owner, sizeof owner, "%s._tcp.%s", name, d->self.host);
  s->status = ARES_ETIMEOUT;
  d->pending++;
  ares_query(d->channel, owner, ns_c_in, ns_t_srv, on_service, s);
}

/* Until when what is still unanswered is waited for. */

static uint64_t rest_due(const xm_dns *d, unsigned budget) {
  return d->known_at ? d->known_at + d->budget / REST_SHARE : d->began + budget;
}

static uint64_t services_due(const xm_dns *d) {
  return d->pending ? rest_due(d, d->budget / SRV_SHARE) : 0;
}

static uint64_t family_due(const target *t) {
  if (is_localhost(t) || (t->v6.came && t->v4.came)) return 0;
  return t->known_at ? t->known_at + FAMILY_MS : UINT64_MAX;
}

static uint64_t addresses_due(xm_dns *d) {
  uint64_t rest = rest_due(d, d->budget), due = 0;
  int i;
  for (i = 0; i < d->n_targets; i++) {
    const target *t = &d->targets[i];
    if (first_with_host(d, t->host) == t && family_due(t) > due) due = family_due(t);
  }
  return due < rest ? due : rest;
}

static uint64_t stage_due(xm_dns *d) {
  return d->stage == STAGE_SERVICES ? services_due(d) : d->stage == STAGE_ADDRESSES ? addresses_due(d) : 0;
}

static bool is_over(xm_dns *d) {
  return xm_loop_now(d->loop) >= stage_due(d);
}

/* Goes through several stages at once where they need no network. */
static void advance(xm_dns *d) {
  if (d->stage == STAGE_SERVICES && is_over(d) && choose_targets(d) == XM_OK) ask_addresses(d);
  if (d->stage == STAGE_ADDRESSES && is_over(d)) collect_addresses(d);
  if (xm_err_is_set(&d->err)) d->stage = STAGE_FINISHED;
  if (d->stage == STAGE_FINISHED) close_channel(d);
}

static void on_timer(void *arg);

static int schedule(xm_dns *d) {
  uint64_t now = xm_loop_now(d->loop), due = stage_due(d), ms = due > now ? due - now : 0, theirs;
  struct timeval room, *wait = d->channel ? ares_timeout(d->channel, NULL, &room) : NULL;
  if (wait) {
    theirs = (uint64_t)wait->tv_sec * 1000 + (uint64_t)wait->tv_usec / 1000 + 1; /* c-ares rounds down */
    if (theirs < ms) ms = theirs;
  }
  return xm_timer_start(d->loop, &d->timer, ms, on_timer, d);
}

/* To be called last in a callback: done may free `d`. */
static void step(xm_dns *d) {
  note_memory(d);
  advance(d);
  note_memory(d);
  if (d->stage != STAGE_FINISHED && schedule(d) < 0) {
    xm_err_nomem(&d->err);
    advance(d);
  }
  if (d->stage != STAGE_FINISHED) return;
  xm_timer_stop(d->loop, &d->timer);
  d->stage = STAGE_TOLD;
  d->done(d->arg);
}

static void on_timer(void *arg) {
  xm_dns *d = arg;
  errno = 0;
  if (d->channel) ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  step(d);
}

static void free_watcher(uv_handle_t *h) {
  free(h->data);
}

static void drop_watcher(watcher **at) {
  watcher *w = *at;
  *at = w->next;
  uv_close((uv_handle_t *)&w->poll, free_watcher);
}

static int add_watcher(xm_dns *d, int fd, watcher **at) {
  watcher *w = malloc(sizeof *w);
  int status;
  if (!w) return UV_ENOMEM;
  *w = (watcher){.dns = d, .fd = fd, .next = *at};
  status = uv_poll_init_socket(xm_loop_uv(d->loop), &w->poll, fd);
  if (status < 0) {
    free(w);
    return status;
  }
  w->poll.data = w;
  *at = w;
  return 0;
}

static void on_news(uv_poll_t *poll, int status, int events) {
  const watcher *w = poll->data; /* c-ares may have closed it, but it exists until the turn is over */
  xm_dns *d = w->dns;
  bool readable = status < 0 || events & UV_READABLE;
  bool writable = status < 0 || events & UV_WRITABLE;
  errno = 0;
  ares_process_fd(d->channel, readable ? w->fd : ARES_SOCKET_BAD, writable ? w->fd : ARES_SOCKET_BAD);
  step(d);
}

/* c-ares has opened a socket, waits for something else on it, or is about to close it (neither is set). */
static void on_socket(void *arg, ares_socket_t fd, int readable, int writable) {
  xm_dns *d = arg;
  watcher **at = &d->watchers;
  int status = 0;
  xm_loop_touch(d->loop);
  while (*at && (*at)->fd != fd) at = &(*at)->next;
  if (!readable && !writable) {
    if (*at) drop_watcher(at);
    return;
  }
  if (!*at) status = add_watcher(d, fd, at);
  if (status == 0) {
    status = uv_poll_start(&(*at)->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0), on_news);
  }
  if (status == UV_ENOMEM) xm_err_nomem(&d->err);
  if (status < 0) {
    xm_err_errno(&d->err, XM_LAYER_DNS, -status, uv_err_name(status), true, "cannot watch a socket to a name server");
  }
}

/* The functions by which c-ares uses sockets are our own, for three reasons. Before 1.33 c-ares writes without
 * MSG_NOSIGNAL, so a name server that closes a TCP connection (which takes an answer too long for UDP) would kill the
 * process with the next write. A datagram that answers nothing is ignored (see asked.h). And c-ares doesn't tell with
 * which error a name server has answered, so that is noted here. */

static bool is_datagram(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_DGRAM;
}

/* With socket functions of our own, setting up sockets is left to these. */
static ares_socket_t new_socket(int family, int type, int protocol, void *arg) {
  int one = 1, fd;
  note_memory(arg);
  fd = xm_loop_socket(family, type, protocol);
  if (fd >= 0 && type == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

/* When c-ares (1.34) has no memory for a connection that it has just opened, it closes that without saying that it
 * isn't to be watched any more. */
static int end_socket(ares_socket_t fd, void *arg) {
  note_memory(arg);
  on_socket(arg, fd, 0, 0);
  return close(fd);
}

static int call_server(ares_socket_t fd, const struct sockaddr *to, ares_socklen_t size, void *arg) {
  note_memory(arg);
  return connect(fd, to, size);
}

static void note_refusal(xm_dns *d, const unsigned char *answer) {
  static const int by_rcode[16] = {[2] = ARES_ESERVFAIL, [4] = ARES_ENOTIMP, [5] = ARES_EREFUSED};
  if (by_rcode[answer[3] & 15]) d->refusal = by_rcode[answer[3] & 15];
}

/* Receives the first datagram that is an answer. Of others only some are read at a time: there may be no end of
 * them. */
static ares_ssize_t hear_answer(xm_dns *d, int fd, void *to, size_t n, int flags, struct sockaddr *from,
                                ares_socklen_t *size) {
  ares_socklen_t room = size ? *size : 0;
  int i;
  for (i = 0; i < JUNK; i++) {
    ares_ssize_t got = recvfrom(fd, to, n, flags, from, size);
    if (got < 0) return got;
    if (xm_asked_is_answer(&d->asked, to, (size_t)got)) return note_refusal(d, to), got;
    if (size) *size = room;
  }
  errno = EAGAIN;
  return -1;
}

static ares_ssize_t hear(ares_socket_t fd, void *to, size_t n, int flags, struct sockaddr *from,
                         ares_socklen_t *size, void *arg) {
  note_memory(arg);
  return is_datagram(fd) ? hear_answer(arg, fd, to, n, flags, from, size) : recvfrom(fd, to, n, flags, from, size);
}

static ares_ssize_t say(ares_socket_t fd, const struct iovec *pieces, int n, void *arg) {
  const struct msghdr m = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)n};
  xm_dns *d = arg;
  note_memory(d);
  if (n == 1 && is_datagram(fd)) xm_asked_note(&d->asked, pieces->iov_base, pieces->iov_len);
  return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static int open_channel(xm_dns *d, const xm_dns_query *q) {
  static const struct ares_socket_functions ours = {new_socket, end_socket, call_server, hear, say};
  struct ares_options o = {.timeout = q->timeout_ms > 0 ? q->timeout_ms : FIRST_TRY_MS,
                           .tries = TRIES,
                           .sock_state_cb = on_socket,
                           .sock_state_cb_data = d};
  int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
  int status;
  if (q->srv || q->nameservers) mask |= ARES_OPT_DOMAINS; /* an XMPP domain is fully qualified: no search list */
  status = ares_init_options(&d->channel, &o, mask);
  if (status == ARES_SUCCESS) ares_set_socket_functions(d->channel, &ours, d);
  if (status == ARES_SUCCESS && q->nameservers) status = ares_set_servers_ports_csv(d->channel, q->nameservers);
  return status;
}

/* The number of the interface that a zone names; 0: there is none. */
static unsigned zone_number(const char *zone) {
  unsigned long number = if_nametoindex(zone);
  char name[IF_NAMESIZE];
  if (number || !xm_ascii_is_digit(*zone)) return (unsigned)number;
  number = strtoul(zone, NULL, 10);
  if (zone[strspn(zone, "0123456789")] || number > UINT_MAX) return 0;
  return if_indextoname((unsigned)number, name) ? (unsigned)number : 0;
}

/* An IP address. 1: it was one, and is added; 0: it is something else; XM_EFAIL: this machine has no such zone. */
static int take_literal(xm_dns *d, const char *s, xm_err *e) {
  struct sockaddr_in v4 = {.sin_family = AF_INET};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  char text[INET6_ADDRSTRLEN + 1];
  size_t n = strcspn(s, "%");
  d->targets[0] = d->self;
  if (inet_pton(AF_INET, s, &v4.sin_addr) == 1) {
    add_address(d, 0, (struct sockaddr *)&v4, sizeof v4);
    return 1;
  }
  snprintf(text, sizeof text, "%.*s", (int)(n < INET6_ADDRSTRLEN ? n : INET6_ADDRSTRLEN), s);
  if (inet_pton(AF_INET6, text, &v6.sin6_addr) != 1) return 0;
  v6.sin6_scope_id = s[n] ? zone_number(s + n + 1) : 0;
  if (s[n] && !v6.sin6_scope_id)
    return xm_err_set(e, XM_LAYER_DNS, "ENODEV", true, "%s: there is no network interface '%s' here", s, s + n + 1);
  add_address(d, 0, (struct sockaddr *)&v6, sizeof v6);
  return 1;
}

static int begin(xm_dns *d, const xm_dns_query *q, xm_err *e) {
  int i, status, literal;
  if (q->port < 1 || q->port > 65535) {
    return xm_err_set(e, XM_LAYER_DNS, "EINVAL", false, "port %d is not between 1 and 65535", q->port);
  }
  d->self = (target){.dns = d, .port = (uint16_t)q->port, .direct_tls = q->direct_tls};
  snprintf(d->self.host, sizeof d->self.host, "%s", q->domain);
  for (i = 0; i < 2; i++) d->services[i] = (service){.dns = d, .direct_tls = i == 0, .status = ARES_ENODATA};
  d->names = q->names;
  d->budget = q->budget_ms ? q->budget_ms : BUDGET_MS;
  d->began = xm_loop_now(d->loop);
  literal = take_literal(d, q->domain, e);
  if (literal < 0) return literal;
  if (literal) {
    d->n_targets = 1;
    d->stage = STAGE_FINISHED;
  } else {
    if (!xm_srv_is_host(q->domain)) return set_error(e, ARES_EBADNAME, "the domain");
    status = open_channel(d, q);
    if (status != ARES_SUCCESS) return set_error(e, status, d->self.host);
    errno = 0;
    if (q->srv && !q->no_tls) ask_service(d, &d->services[0], "_xmpps-client");
    if (q->srv && !q->direct_tls) ask_service(d, &d->services[1], "_xmpp-client");
    note_memory(d);
    advance(d);
  }
  return schedule(d) < 0 ? xm_err_nomem(e) : XM_OK;
}

xm_dns *xm_dns_start(xm_loop *l, const xm_dns_query *q, void (*done)(void *arg), void *arg, xm_err *e) {
  xm_dns *d = calloc(1, sizeof *d);
  if (!d) {
    xm_err_nomem(e);
    return NULL;
  }
  d->loop = l;
  d->done = done;
  d->arg = arg;
  xm_loop_hold(l);
  if (begin(d, q, e) < 0) {
    xm_dns_free(d);
    return NULL;
  }
  return d;
}

int xm_dns_result(const xm_dns *d, const xm_dns_address **list, xm_err *e) {
  if (d->stage != STAGE_TOLD) return 0;
  *list = d->list;
  if (d->count > 0) return d->count;
  if (e && !xm_err_is_set(e)) *e = d->err;
  return XM_EFAIL;
}

int xm_dns_names(const xm_dns *d, xm_dns_name to[XM_DNS_TARGETS], xm_err *e) {
  int i;
  if (d->stage != STAGE_TOLD) return 0;
  if (e && !xm_err_is_set(e)) *e = d->err;
  if (xm_err_is_set(&d->err)) return XM_EFAIL;
  for (i = 0; i < d->n_targets; i++) {
    to[i] = (xm_dns_name){.port = d->targets[i].port, .direct_tls = d->targets[i].direct_tls};
    memcpy(to[i].host, d->targets[i].host, sizeof to[i].host);
  }
  return d->n_targets;
}
