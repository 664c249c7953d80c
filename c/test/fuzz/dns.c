/* libFuzzer: any bytes as the answers of name servers, for all of dns: SRV, CNAME, A and AAAA records through c-ares,
 * by UDP and by TCP. The result must come once: a list within its bounds, in the order of the targets, or an error.
 *
 * Input: flags, the domain up to a NUL, then answers. Each answer is a byte that says how it is made, two bytes of
 * length, and its bytes, which follow the question: counts of records (two bytes), the records. When the input is used
 * up, every name is unknown.
 *
 * There is no network: c-ares's sockets and libuv's watchers are replaced by functions below. */
#define CARES_NO_DEPRECATED /* as in dns.c */
#include <ares.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/uio.h>
#include <uv.h>

#include "buf.h"
#include "fuzz.h"

static int watch(uv_loop_t *l, uv_poll_t *poll, uv_os_sock_t fd);
static int start_watch(uv_poll_t *poll, int events, uv_poll_cb cb);
static void close_watch(uv_handle_t *h, uv_close_cb cb);
static int open_wire(ares_channel *channel, struct ares_options *o, int mask);
static int type_of(int fd, int level, int name, void *value, socklen_t *size);
static void keep_wires(ares_channel channel, const struct ares_socket_functions *theirs, void *arg) {
  (void)channel, (void)theirs, (void)arg;
}

#define uv_poll_init_socket watch
#define uv_poll_start start_watch
#define uv_close close_watch
#define ares_init_options open_wire
#define ares_set_socket_functions keep_wires
#define getsockopt type_of
#include "../../core/dns.c"
#undef getsockopt
#undef ares_init_options
#undef ares_set_socket_functions

enum { SOCKETS = 64, FIRST_FD = 1000, PACKET = 65535 };

enum { SRV = 1, DIRECT = 2, ABANDON = 4 };                  /* flags */
enum { RCODE = 15, TRUNCATED = 16, RAW = 32, SILENT = 64 }; /* how an answer is made */

typedef struct wire {
  int type; /* SOCK_DGRAM or SOCK_STREAM; 0: not open */
  uv_poll_t *poll;
  uv_poll_cb cb;
  int wants;
  xm_buf asked;    /* questions, each preceded by its length, as in TCP */
  xm_buf answered; /* not read yet; for UDP one datagram */
} wire;

static struct net {
  input script;
  wire wires[SOCKETS];
  uv_handle_t *closed[SOCKETS];
  int n_closed;
  unsigned told;
} net;

static void put(xm_buf *to, const void *bytes, size_t n) {
  MUST(xm_buf_put(to, bytes, n) == XM_OK);
}

/* libuv's watchers */

static int watch(uv_loop_t *l, uv_poll_t *poll, uv_os_sock_t fd) {
  (void)l;
  net.wires[fd - FIRST_FD].poll = poll;
  poll->io_watcher.fd = fd;
  return 0;
}

static int start_watch(uv_poll_t *poll, int events, uv_poll_cb cb) {
  wire *w = &net.wires[poll->io_watcher.fd - FIRST_FD];
  MUST(w->poll == poll);
  w->wants = events;
  w->cb = cb;
  return 0;
}

/* Like libuv: the handle exists until the turn is over. */
static void close_watch(uv_handle_t *h, uv_close_cb cb) {
  MUST(cb == free_watcher && net.n_closed < SOCKETS);
  net.wires[((uv_poll_t *)h)->io_watcher.fd - FIRST_FD].poll = NULL;
  net.closed[net.n_closed++] = h;
}

static void end_turn(void) {
  while (net.n_closed) free_watcher(net.closed[--net.n_closed]);
}

/* c-ares's sockets */

static ares_socket_t open_socket(int family, int type, int protocol, void *arg) {
  int i = 0;
  (void)family, (void)protocol, (void)arg;
  while (i < SOCKETS && net.wires[i].type) i++;
  if (i == SOCKETS) return errno = EMFILE, ARES_SOCKET_BAD;
  net.wires[i] = (wire){.type = type};
  return FIRST_FD + i;
}

static int close_socket(ares_socket_t fd, void *arg) {
  wire *w = &net.wires[fd - FIRST_FD];
  (void)arg;
  MUST(w->type && !w->poll);
  xm_buf_free(&w->asked);
  xm_buf_free(&w->answered);
  w->type = 0;
  return 0;
}

/* Connections are made only to the name server. */
static int connect_socket(ares_socket_t fd, const struct sockaddr *sa, ares_socklen_t n, void *arg) {
  const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
  (void)fd, (void)n, (void)arg;
  MUST(sa->sa_family == AF_INET && v4->sin_addr.s_addr == htonl(INADDR_LOOPBACK) && v4->sin_port == htons(53));
  return 0;
}

static ares_ssize_t receive(ares_socket_t fd, void *to, size_t n, int flags, struct sockaddr *from,
                            ares_socklen_t *size, void *arg) {
  wire *w = &net.wires[fd - FIRST_FD];
  size_t there = xm_buf_len(&w->answered);
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  (void)flags, (void)arg;
  if (there == 0) return errno = EAGAIN, -1;
  if (n > there) n = there;
  memcpy(to, xm_buf_at(&w->answered), n);
  xm_buf_consume(&w->answered, w->type == SOCK_DGRAM ? there : n);
  if (from) memcpy(from, &sa, sizeof sa);
  if (from) *size = sizeof sa;
  return (ares_ssize_t)n;
}

static ares_ssize_t send_pieces(ares_socket_t fd, const struct iovec *pieces, int n, void *arg) {
  wire *w = &net.wires[fd - FIRST_FD];
  ares_ssize_t sum = 0;
  int i;
  (void)arg;
  for (i = 0; i < n; i++) sum += (ares_ssize_t)pieces[i].iov_len;
  if (w->type == SOCK_DGRAM) put(&w->asked, (uint8_t[2]){(uint8_t)(sum >> 8), (uint8_t)sum}, 2);
  for (i = 0; i < n; i++) put(&w->asked, pieces[i].iov_base, pieces[i].iov_len);
  return sum;
}

static int open_wire(ares_channel *channel, struct ares_options *o, int mask) {
  static const struct ares_socket_functions functions = {open_socket, close_socket, connect_socket, receive,
                                                         send_pieces};
  int status = ares_init_options(channel, o, mask);
  if (status == ARES_SUCCESS) ares_set_socket_functions(*channel, &functions, NULL);
  return status;
}

static int type_of(int fd, int level, int name, void *value, socklen_t *size) {
  (void)level, (void)name, (void)size;
  *(int *)value = net.wires[fd - FIRST_FD].type;
  return 0;
}

/* Answers */

/* Writes question and answer as one packet. */
static void put_packet(xm_buf *to, const char *asked, size_t n, uint8_t how, const char *bytes, size_t len) {
  uint8_t head[12] = {(uint8_t)asked[0], (uint8_t)asked[1], 0x81, 0x80, 0, 1};
  if (how & TRUNCATED) head[2] |= 2;
  head[3] |= how & RCODE;
  if (len >= 2 && !(how & RAW)) {
    head[7] = (uint8_t)bytes[0];
    head[11] = (uint8_t)bytes[1];
    bytes += 2;
    len -= 2;
  }
  if (how & RAW) return put(to, asked, 2), put(to, bytes, len);
  put(to, head, sizeof head);
  put(to, asked + 12, n - 12);
  put(to, bytes, len);
}

/* Makes the script's next answer; false: there is none to this question. */
static bool make_answer(xm_buf *to, const char *asked, size_t n) {
  uint8_t how = net.script.n ? take(&net.script) : 3;
  size_t len = (size_t)take(&net.script) << 8, got;
  const char *bytes = take_bytes(&net.script, len | take(&net.script), &got);
  if (how & SILENT || n <= 12) return false;
  put_packet(to, asked, n, how, bytes, got);
  return true;
}

/* Answers the first question on the wire; false: there is no complete one. */
static bool answer(wire *w) {
  const uint8_t *s = (uint8_t *)xm_buf_at(&w->asked);
  size_t n = xm_buf_len(&w->asked) < 2 ? 0 : 2 + (size_t)(s[0] << 8 | s[1]);
  xm_buf packet = XM_BUF_INIT;
  if (n == 0 || xm_buf_len(&w->asked) < n) return false;
  if (make_answer(&packet, (const char *)s + 2, n - 2) && xm_buf_len(&packet) <= PACKET) {
    uint8_t length[2] = {(uint8_t)(xm_buf_len(&packet) >> 8), (uint8_t)xm_buf_len(&packet)};
    if (w->type == SOCK_STREAM) put(&w->answered, length, 2);
    put(&w->answered, xm_buf_at(&packet), xm_buf_len(&packet));
  }
  xm_buf_consume(&w->asked, n);
  xm_buf_free(&packet);
  return true;
}

/* Handles one socket that is ready. false: none is. */
static bool turn(void) {
  int i;
  for (i = 0; i < SOCKETS; i++) {
    wire *w = &net.wires[i];
    if (!w->type || !w->poll) continue;
    if (w->wants & UV_WRITABLE) break;
    while (!xm_buf_len(&w->answered) && answer(w)) continue;
    if (xm_buf_len(&w->answered)) break;
  }
  if (i == SOCKETS) return false;
  net.wires[i].cb(net.wires[i].poll, 0, net.wires[i].wants & (UV_WRITABLE | UV_READABLE));
  end_turn();
  return true;
}

/* The result */

static void on_done(void *arg) {
  (void)arg;
  net.told++;
}

static void check_list(const xm_dns_address *list, int n, const xm_dns_query *q) {
  int i;
  MUST(n <= XM_DNS_ADDRESSES);
  for (i = 0; i < n; i++) {
    const struct sockaddr *sa = (const struct sockaddr *)&list[i].sa;
    MUST(sa->sa_family == AF_INET || sa->sa_family == AF_INET6);
    MUST(((const struct sockaddr_in *)sa)->sin_port != 0); /* the port is at the same offset in both structs */
    MUST(list[i].target < XM_DNS_TARGETS && (i == 0 || list[i].target >= list[i - 1].target));
    MUST(list[i].direct_tls || !q->direct_tls);
  }
}

static void check_result(const xm_dns *d, const xm_dns_query *q) {
  const xm_dns_address *list = NULL;
  xm_err e = {0};
  int n = xm_dns_result(d, &list, &e);
  if (net.told == 0) {
    MUST(n == 0);
  } else if (n > 0) {
    check_list(list, n, q);
  } else {
    MUST(n == XM_EFAIL && e.layer == XM_LAYER_DNS);
    check_error(&e);
  }
}

static void look_up(xm_loop *l, const xm_dns_query *q, bool abandon) {
  xm_err e = {0};
  xm_dns *d = xm_dns_start(l, q, on_done, NULL, &e);
  unsigned turns = 0;
  if (!d) return check_error(&e);
  MUST(net.told == 0);
  while (net.told == 0 && !(abandon && net.script.n == 0) && (turn() || xm_loop_fire(l))) MUST(turns++ < 10000);
  check_result(d, q);
  MUST(net.told <= 1);
  xm_dns_free(d);
  end_turn();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  static xm_loop *loop;
  char domain[300];
  size_t len = 0;
  uint8_t flags;
  xm_dns_query q = {.domain = domain, .port = 5222, .nameservers = "127.0.0.1"};
  if (!loop) loop = xm_loop_new(NULL);
  memset(&net, 0, sizeof net);
  net.script = (input){bytes, n};
  flags = take(&net.script);
  while (net.script.n && *net.script.at && len < sizeof domain - 1) domain[len++] = (char)take(&net.script);
  take(&net.script);
  domain[len] = '\0';
  q.srv = flags & SRV;
  q.direct_tls = flags & DIRECT;
  look_up(loop, &q, flags & ABANDON);
  for (len = 0; len < SOCKETS; len++) MUST(!net.wires[len].type);
  return 0;
}
