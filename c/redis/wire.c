#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "resolve.h"

typedef enum step { RESOLVING, DIALLING, REDIALLING, SECURING, OPEN, OVER } step;

struct xr_wire {
  step step;
  int fd, events, serial;
  int dial_errno; /* of the last address */
  xr_resolve *resolve;
  const struct addrinfo *next; /* to be dialled, if the last one fails */
  xr_secure *secure;
  char *host, *path, *name, *ca_file, *ca_dir, *cert, *key;
  int port;
  bool tls, secure_reads; /* what is to be written waits for something to read */
  char *out;
  size_t first, last, room; /* of `out` */
  xr_fault fault;
};

/* Failing. */

static void wipe_out(xr_wire *w) {
  if (w->out) explicit_bzero(w->out, w->room);
  w->first = w->last = 0;
}

__attribute__((format(printf, 4, 5))) static void fail(xr_wire *w, const char *condition, bool retry, const char *form, ...) {
  va_list args;
  if (w->step == OVER) return;
  va_start(args, form);
  vsnprintf(w->fault.text, sizeof w->fault.text, form, args);
  va_end(args);
  w->fault.condition = condition;
  w->fault.retry = retry;
  w->step = OVER;
  wipe_out(w);
}

static void fail_secure(xr_wire *w) {
  char text[160];
  bool is_certificate;
  xr_secure_why(w->secure, text, sizeof text, &is_certificate);
  fail(w, is_certificate ? "certificate" : "tls", !is_certificate, "%s", text);
}

static void fail_errno(xr_wire *w, int number) {
  fail(w, "cut", true, "the connection has broken: %s", strerror(number));
}

/* Opening. */

static void close_fd(xr_wire *w) {
  xr_secure_free(w->secure);
  w->secure = NULL;
  if (w->fd >= 0) close(w->fd);
  w->fd = -1;
}

static int new_socket(int family) {
  return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* An idle link that has died is noticed in a minute or so. */
static void set_up(int fd) {
  int on = 1, idle = 30, pause = 10, count = 3;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &pause, sizeof pause);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

static bool dial(xr_wire *w, int family, const struct sockaddr *sa, socklen_t n) {
  w->serial++;
  w->fd = new_socket(family);
  if (w->fd < 0) return w->dial_errno = errno, false;
  if (family != AF_UNIX) set_up(w->fd);
  if (connect(w->fd, sa, n) == 0 || errno == EINPROGRESS) return true;
  w->dial_errno = errno;
  close_fd(w);
  return false;
}

static void dial_next(xr_wire *w) {
  w->step = DIALLING;
  close_fd(w);
  while (w->next) {
    const struct addrinfo *a = w->next;
    w->next = a->ai_next;
    if (dial(w, a->ai_family, a->ai_addr, a->ai_addrlen)) return;
  }
  if (w->path) fail(w, "no-connection", true, "no connection to %s: %s", w->path, strerror(w->dial_errno));
  else fail(w, "no-connection", true, "no connection to %s, port %d: %s", w->host, w->port, strerror(w->dial_errno));
}

static void dial_path(xr_wire *w) {
  struct sockaddr_un sa = {.sun_family = AF_UNIX};
  size_t n = strlen(w->path);
  w->step = DIALLING;
  if (n >= sizeof sa.sun_path) return fail(w, "no-connection", false, "%s is longer than the path of a socket can be", w->path);
  memcpy(sa.sun_path, w->path, n + 1);
  if (!dial(w, AF_UNIX, (const struct sockaddr *)&sa, sizeof sa)) dial_next(w);
}

static void go_on_resolving(xr_wire *w) {
  const char *why;
  if (!xr_resolve_done(w->resolve, &w->next, &why)) return;
  if (!w->next) return fail(w, "host-unknown", true, "%s: %s", w->host, why);
  dial_next(w);
}

static bool is_dialled(const xr_wire *w) {
  struct pollfd p = {.fd = w->fd, .events = POLLOUT};
  return poll(&p, 1, 0) == 1;
}

static void begin_tls(xr_wire *w) {
  xr_trust t = {.name = w->name ? w->name : w->host, .ca_file = w->ca_file, .ca_dir = w->ca_dir, .cert = w->cert, .key = w->key};
  char text[200];
  w->step = SECURING;
  w->events = XR_WRITE;
  w->secure = xr_secure_new(w->fd, &t, text, sizeof text);
  if (!w->secure) fail(w, "tls", false, "%s", text);
}

static void go_on_dialling(xr_wire *w) {
  int error = 0;
  socklen_t n = sizeof error;
  if (!is_dialled(w)) return;
  if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0) error = errno;
  if (error) {
    w->dial_errno = error;
    w->step = REDIALLING;
    return;
  }
  if (w->tls) return begin_tls(w);
  w->step = OPEN;
}

static void go_on_securing(xr_wire *w) {
  int rc = xr_secure_shake(w->secure);
  if (rc == XR_SECURE_FAILED) return fail_secure(w);
  w->events = rc == XR_SECURE_WRITE ? XR_WRITE : XR_READ;
  if (rc == 1) w->step = OPEN;
}

static char *copy(const char *s, bool *lacks) {
  char *mine = s ? strdup(s) : NULL;
  if (s && !mine) *lacks = true;
  return mine;
}

xr_wire *xr_wire_new(const xr_target *t) {
  xr_wire *w = calloc(1, sizeof *w);
  bool lacks = false;
  if (!w) return NULL;
  w->fd = -1;
  w->port = t->port;
  w->tls = t->tls && !t->path;
  w->host = copy(t->host, &lacks);
  w->path = copy(t->path, &lacks);
  w->name = copy(t->trust.name, &lacks);
  w->ca_file = copy(t->trust.ca_file, &lacks);
  w->ca_dir = copy(t->trust.ca_dir, &lacks);
  w->cert = copy(t->trust.cert, &lacks);
  w->key = copy(t->trust.key, &lacks);
  if (!lacks && !w->path) w->resolve = xr_resolve_new(w->host, w->port);
  if (lacks || (!w->path && !w->resolve)) return xr_wire_free(w), NULL;
  if (w->path) dial_path(w);
  return w;
}

void xr_wire_free(xr_wire *w) {
  if (!w) return;
  close_fd(w);
  wipe_out(w);
  xr_resolve_free(w->resolve);
  free(w->out);
  free(w->host), free(w->path), free(w->name), free(w->ca_file), free(w->ca_dir), free(w->cert), free(w->key);
  free(w);
}

/* Moving bytes. */

/* A number of bytes, 0: it waits; the wire may be over behind it. */
static size_t write_some(xr_wire *w, const char *from, size_t n) {
  ssize_t sent;
  if (w->secure) {
    sent = xr_secure_write(w->secure, from, n);
    w->secure_reads = sent == XR_SECURE_READ;
    if (sent == XR_SECURE_FAILED) fail_secure(w);
    else if (sent == 0) fail_errno(w, EPIPE);
  } else {
    sent = send(w->fd, from, n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) fail_errno(w, errno);
  }
  return sent > 0 ? (size_t)sent : 0;
}

static void flush(xr_wire *w) {
  size_t n;
  while (w->step == OPEN && w->first < w->last && (n = write_some(w, w->out + w->first, w->last - w->first)) > 0) {
    explicit_bzero(w->out + w->first, n);
    w->first += n;
  }
  if (w->first == w->last) w->first = w->last = 0;
}

size_t xr_wire_read(xr_wire *w, char *to, size_t n) {
  ssize_t got;
  if (w->step != OPEN) return 0;
  got = w->secure ? xr_secure_read(w->secure, to, n) : recv(w->fd, to, n, 0);
  if (got > 0) return w->secure_reads = false, (size_t)got;
  if (got == 0) fail(w, "cut", true, "the server has closed the connection");
  else if (w->secure && got == XR_SECURE_FAILED) fail_secure(w);
  else if (!w->secure && errno != EAGAIN && errno != EINTR) fail_errno(w, errno);
  return 0;
}

bool xr_wire_has_more(const xr_wire *w) { return w->step == OPEN && w->secure && xr_secure_has_more(w->secure); }

/* What was moved away from is wiped. */
static bool make_room(xr_wire *w, size_t n) {
  size_t left = w->last - w->first, room = w->room ? w->room : 4096;
  char *more;
  if (w->last + n <= w->room) return true;
  while (room < left + n) room *= 2;
  more = malloc(room);
  if (!more) return false;
  if (left) memcpy(more, w->out + w->first, left);
  wipe_out(w);
  free(w->out);
  w->out = more;
  w->room = room;
  w->last = left;
  return true;
}

bool xr_wire_put(xr_wire *w, const char *bytes, size_t n) {
  if (w->step == OVER) return true; /* which is told by its fault */
  if (!make_room(w, n)) return false;
  memcpy(w->out + w->last, bytes, n);
  w->last += n;
  return true;
}

size_t xr_wire_unsent(const xr_wire *w) { return w->last - w->first; }

xr_state xr_wire_act(xr_wire *w) {
  if (w->step == RESOLVING) go_on_resolving(w);
  else if (w->step == REDIALLING) dial_next(w);
  if (w->step == DIALLING) go_on_dialling(w);
  if (w->step == SECURING) go_on_securing(w);
  if (w->step == OPEN) flush(w);
  return w->step == OPEN ? XR_OPEN : w->step == OVER ? XR_OVER : XR_OPENING;
}

const xr_fault *xr_wire_fault(const xr_wire *w) { return &w->fault; }

int xr_wire_want(const xr_wire *w, int *events, int *serial) {
  *serial = w->serial;
  *events = w->step == RESOLVING ? XR_READ : w->step == DIALLING ? XR_WRITE : w->step == SECURING ? w->events : 0;
  if (w->step == OPEN) *events = XR_READ | (w->first < w->last && !w->secure_reads ? XR_WRITE : 0);
  if (w->step == RESOLVING) return xr_resolve_fd(w->resolve);
  return *events ? w->fd : -1;
}
