#include "sock.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <uv.h>

#include "has.h"

/* For so long data that was sent may stay without an acknowledgement from the peer's kernel. */
#define UNACKNOWLEDGED_MS 30000

/* One descriptor that libuv watches. Its memory outlives the sock until libuv has closed its handle. */
typedef struct watch {
  uv_poll_t poll;
  xm_sock *sock; /* NULL: closed, waiting for libuv's close callback */
  int fd;        /* -1: none */
  int events;    /* what libuv watches for */
  bool over;     /* the end of the connection was seen while it was paused */
} watch;

/* What is only needed until an address has answered. */
typedef struct dialling {
  xm_dns_address list[XM_DNS_ADDRESSES];
  watch *tries[XM_DNS_ADDRESSES]; /* NULL: not begun, or failed */
  int n;                          /* addresses */
  int begun;                      /* how many of them have been dialled */
  int pending;                    /* how many of these may still answer */
  int last_errno;                 /* of the last one that failed */
  int last_failed;
  xm_timer next;                  /* when the next one is dialled */
} dialling;

struct xm_sock {
  xm_sock_state state;
  xm_loop *loop;
  void (*wake)(void *);
  void *arg;
  dialling *dial;     /* only while DIALLING */
  watch *link;        /* from then on: the one that has answered */
  xm_dns_address won; /* its address */
};

const char *xm_sock_errname(int errnum) {
  return uv_err_name(uv_translate_sys_error(errnum));
}

static void on_closed(uv_handle_t *h) {
  free(h->data);
}

static void close_watch(watch *w) {
  if (!w) return;
  w->sock = NULL;
  uv_poll_stop(&w->poll);
  if (w->fd >= 0) close(w->fd);
  w->fd = -1;
  uv_close((uv_handle_t *)&w->poll, on_closed);
}

static void on_event(uv_poll_t *h, int status, int events);

static void watch_for(watch *w, int events) {
  if (w->events == events) return;
  w->events = events;
  if (events) {
    uv_poll_start(&w->poll, events, on_event);
  } else {
    uv_poll_stop(&w->poll);
  }
  xm_loop_touch(w->sock->loop);
}

/* recv or send will tell what has happened. While paused, an end would be announced again and again, so watching
 * stops. */
static void on_event(uv_poll_t *h, int status, int events) {
  watch *w = h->data;
  if (!w->sock) return;
  if ((w->events & UV_DISCONNECT) && (status < 0 || (events & UV_DISCONNECT))) {
    w->over = true;
    watch_for(w, 0);
  }
  w->sock->wake(w->sock->arg);
}

static socklen_t length_of(const struct sockaddr_storage *sa) {
  return sa->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

/* TCP_USER_TIMEOUT (RFC 5482) ends the connection when the peer's machine has acknowledged nothing for that time; the
 * kernel by itself would go on trying for a quarter of an hour. */
static int open_socket(int family) {
  int one = 1, fd = xm_loop_socket(family, SOCK_STREAM, 0);
  if (fd < 0) return -errno;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
#if XM_HAS_USER_TIMEOUT
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &(const unsigned){UNACKNOWLEDGED_MS}, sizeof(unsigned));
#endif
  return fd;
}

static watch *new_watch(xm_sock *s, int fd) {
  watch *w = calloc(1, sizeof *w);
  if (!w) return NULL;
  w->sock = s;
  w->fd = fd;
  if (uv_poll_init(xm_loop_uv(s->loop), &w->poll, fd) != 0) {
    free(w);
    return NULL;
  }
  w->poll.data = w;
  return w;
}

/* 0 or an errno. */
static int begin_connect(xm_sock *s, int i) {
  const struct sockaddr_storage *sa = &s->dial->list[i].sa;
  int fd = open_socket(sa->ss_family);
  if (fd < 0) return -fd;
  if (connect(fd, (const struct sockaddr *)sa, length_of(sa)) != 0 && errno != EINPROGRESS && errno != EINTR) {
    int failed = errno;
    close(fd);
    return failed;
  }
  s->dial->tries[i] = new_watch(s, fd);
  if (!s->dial->tries[i]) {
    close(fd);
    return ENOMEM;
  }
  watch_for(s->dial->tries[i], UV_WRITABLE);
  s->dial->pending++;
  return 0;
}

static void dial_next(void *arg);

static void note_failure(dialling *d, int i, int errnum) {
  d->last_errno = errnum;
  d->last_failed = i;
}

/* Starts the timer for the next address. false: no memory for it, so the next one is dialled at once. */
static bool is_put_off(xm_sock *s) {
  return xm_timer_start(s->loop, &s->dial->next, XM_SOCK_EYEBALLS_MS, dial_next, s) == XM_OK;
}

/* Dials the next address, or, when that fails at once, the one after it, and so on; the one after that by a timer. */
static void dial_next(void *arg) {
  xm_sock *s = arg;
  dialling *d = s->dial;
  int failed = 1;
  while (d->begun < d->n && (failed || !is_put_off(s))) {
    failed = begin_connect(s, d->begun);
    if (failed) note_failure(d, d->begun, failed);
    d->begun++;
  }
  if (d->pending == 0) s->wake(s->arg); /* all have failed already: xm_sock_connected reports it */
}

/* RFC 8305 section 4: in the order of the list, but alternating between families, within each target. */
static void interleave(xm_dns_address *to, const xm_dns_address *from, int n) {
  bool taken[XM_DNS_ADDRESSES] = {false};
  int i, k, last_family = 0;
  for (k = 0; k < n; k++) {
    int first = -1, other = -1;
    for (i = 0; i < n; i++) {
      if (taken[i] || (first >= 0 && from[i].target != from[first].target)) continue;
      if (first < 0) first = i;
      if (other < 0 && from[i].sa.ss_family != last_family) other = i;
    }
    i = other >= 0 ? other : first;
    taken[i] = true;
    to[k] = from[i];
    last_family = from[i].sa.ss_family;
  }
}

xm_sock *xm_sock_dial(xm_loop *l, const xm_dns_address *list, int n, void (*wake)(void *), void *arg, xm_err *e) {
  xm_sock *s = calloc(1, sizeof *s);
  if (s) s->dial = calloc(1, sizeof *s->dial);
  if (!s || !s->dial) {
    xm_err_nomem(e);
    free(s);
    return NULL;
  }
  s->loop = l;
  s->wake = wake;
  s->arg = arg;
  s->dial->n = n < XM_DNS_ADDRESSES ? n : XM_DNS_ADDRESSES;
  interleave(s->dial->list, list, s->dial->n);
  xm_loop_hold(l);
  dial_next(s);
  return s;
}

static void end_dialling(xm_sock *s) {
  int i;
  if (!s->dial) return;
  for (i = 0; i < s->dial->n; i++) close_watch(s->dial->tries[i]);
  xm_timer_stop(s->loop, &s->dial->next);
  free(s->dial);
  s->dial = NULL;
}

void xm_sock_free(xm_sock *s) {
  if (!s) return;
  end_dialling(s);
  close_watch(s->link);
  xm_loop_touch(s->loop);
  xm_loop_release(s->loop);
  free(s);
}

/* 1: connected; 0: not yet; else -errno. */
static int ask(const watch *w) {
  struct sockaddr_storage peer;
  socklen_t n = sizeof peer;
  int failed = 0;
  socklen_t len = sizeof failed;
  if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &failed, &len) != 0) return -errno;
  if (failed) return -failed;
  if (getpeername(w->fd, (struct sockaddr *)&peer, &n) == 0) return 1;
  return errno == ENOTCONN ? 0 : -errno;
}

static void win(xm_sock *s, int i) {
  s->won = s->dial->list[i];
  s->link = s->dial->tries[i];
  s->dial->tries[i] = NULL;
  end_dialling(s);
  s->state = XM_SOCK_CONNECTED;
  watch_for(s->link, UV_READABLE);
}

static void look_at_tries(xm_sock *s) {
  dialling *d = s->dial;
  int i, rc;
  for (i = 0; i < d->begun; i++) {
    rc = d->tries[i] ? ask(d->tries[i]) : 0;
    if (rc > 0) return win(s, i);
    if (rc == 0) continue;
    note_failure(d, i, -rc);
    close_watch(d->tries[i]);
    d->tries[i] = NULL;
    d->pending--;
  }
}

static int none_answered(const dialling *d, xm_err *e) {
  const struct sockaddr_storage *sa = &d->list[d->last_failed].sa;
  char address[INET6_ADDRSTRLEN] = "", what[128];
  const void *in = sa->ss_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)sa)->sin6_addr
                                             : (const void *)&((const struct sockaddr_in *)sa)->sin_addr;
  unsigned port = ntohs(((const struct sockaddr_in *)sa)->sin_port); /* at the same offset in both structures */
  inet_ntop(sa->ss_family, in, address, sizeof address);
  snprintf(what, sizeof what, "could not connect to %s port %u (%d address%s tried)", address, port, d->n,
           d->n == 1 ? "" : "es");
  return xm_err_errno(e, XM_LAYER_TCP, d->last_errno, xm_sock_errname(d->last_errno), true, what);
}

int xm_sock_connected(xm_sock *s, const xm_dns_address **won, xm_err *e) {
  dialling *d;
  assert(s->state != XM_SOCK_FINISHED);
  if (s->dial) look_at_tries(s);
  d = s->dial;
  if (d && !d->tries[d->begun - 1] && d->begun < d->n) dial_next(s); /* the one before has failed: don't wait for the
                                                                        timer */
  if (d) return d->pending ? 0 : none_answered(d, e);
  *won = &s->won;
  return 1;
}

static ssize_t receive(xm_sock *s, void *to, size_t n, int flags) {
  ssize_t got;
  assert(s->state == XM_SOCK_CONNECTED);
  do got = recv(s->link->fd, to, n, flags);
  while (got < 0 && errno == EINTR);
  if (got >= 0) return got;
  return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

ssize_t xm_sock_recv(xm_sock *s, void *to, size_t n) {
  return receive(s, to, n, 0);
}

ssize_t xm_sock_peek(xm_sock *s, void *to, size_t n) {
  return receive(s, to, n, MSG_PEEK);
}

ssize_t xm_sock_send(xm_sock *s, const void *from, size_t n) {
  ssize_t got;
  assert(s->state == XM_SOCK_CONNECTED);
  do got = send(s->link->fd, from, n, MSG_NOSIGNAL);
  while (got < 0 && errno == EINTR);
  if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return -errno;
  watch_for(s->link, (s->link->events & ~UV_WRITABLE) | (got < (ssize_t)n ? UV_WRITABLE : 0));
  return got < 0 ? -EAGAIN : got;
}

void xm_sock_finish(xm_sock *s) {
  char unread[4096];
  int i;
  assert(s->state == XM_SOCK_CONNECTED);
  s->state = XM_SOCK_FINISHED;
  shutdown(s->link->fd, SHUT_WR);
  for (i = 0; i < 16 && recv(s->link->fd, unread, sizeof unread, 0) > 0;) i++;
}

void xm_sock_hurry(xm_sock *s) {
  assert(s->state == XM_SOCK_CONNECTED);
#if XM_HAS_QUICKACK
  int one = 1;
  setsockopt(s->link->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
#else
  (void)s;
#endif
}

/* Once the end was seen there is nothing to watch for until somebody reads. */
void xm_sock_pause(xm_sock *s, bool paused) {
  int wanted = paused ? UV_DISCONNECT : UV_READABLE;
  assert(s->state == XM_SOCK_CONNECTED);
  if (paused && s->link->over) wanted = 0;
  watch_for(s->link, (s->link->events & UV_WRITABLE) | wanted);
}

size_t xm_sock_waiting(const xm_sock *s) {
  int n = 0;
  if (s->state != XM_SOCK_CONNECTED || ioctl(s->link->fd, FIONREAD, &n) < 0) return 0;
  return n > 0 ? (size_t)n : 0;
}

bool xm_sock_is_over(const xm_sock *s) {
  return s->state == XM_SOCK_CONNECTED && s->link->over;
}

xm_sock_state xm_sock_state_of(const xm_sock *s) {
  return s->state;
}

bool xm_sock_is_loopback(const xm_sock *s) {
  const struct sockaddr_storage *sa = &s->won.sa;
  if (sa->ss_family == AF_INET) return ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr) >> 24 == 127;
  return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)sa)->sin6_addr);
}
