#include "resolve.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the thread and who asked have in common; the last of the two frees it. */
typedef struct question {
  pthread_mutex_t lock;
  int refs;
  bool done;
  int code; /* getaddrinfo's */
  struct addrinfo *found;
  int bell; /* closed by the thread when it is done */
  char port[8];
  char host[];
} question;

struct xr_resolve {
  question *q;
  int fd;
};

static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
static const struct addrinfo figures = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};

static void leave(question *q) {
  bool is_last;
  pthread_mutex_lock(&q->lock);
  is_last = --q->refs == 0;
  pthread_mutex_unlock(&q->lock);
  if (!is_last) return;
  if (q->found) freeaddrinfo(q->found);
  pthread_mutex_destroy(&q->lock);
  free(q);
}

static void *look_up(void *arg) {
  question *q = arg;
  struct addrinfo *found = NULL;
  int code = getaddrinfo(q->host, q->port, &hints, &found);
  pthread_mutex_lock(&q->lock);
  q->code = code;
  q->found = found;
  q->done = true;
  pthread_mutex_unlock(&q->lock);
  close(q->bell);
  leave(q);
  return NULL;
}

static question *new_question(const char *host, int port) {
  size_t n = strlen(host);
  question *q = calloc(1, sizeof *q + n + 1);
  if (!q) return NULL;
  if (pthread_mutex_init(&q->lock, NULL) != 0) return free(q), NULL;
  q->refs = 1;
  q->bell = -1;
  snprintf(q->port, sizeof q->port, "%d", port);
  memcpy(q->host, host, n);
  return q;
}

/* No signal of the process's is the thread's. */
static bool start_thread(question *q) {
  pthread_t thread;
  sigset_t all, before;
  bool ok;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  ok = pthread_create(&thread, NULL, look_up, q) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (ok) pthread_detach(thread);
  return ok;
}

static bool begin(xr_resolve *r) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  r->fd = ends[0];
  r->q->bell = ends[1];
  r->q->refs = 2;
  if (start_thread(r->q)) return true;
  r->q->refs = 1;
  close(ends[1]);
  return false;
}

xr_resolve *xr_resolve_new(const char *host, int port) {
  xr_resolve *r = malloc(sizeof *r);
  question *q = r ? new_question(host, port) : NULL;
  if (!q) return free(r), NULL;
  *r = (xr_resolve){.q = q, .fd = -1};
  q->code = getaddrinfo(host, q->port, &figures, &q->found);
  if (q->code != EAI_NONAME) q->done = true;
  else if (!begin(r)) return xr_resolve_free(r), NULL;
  return r;
}

int xr_resolve_fd(const xr_resolve *r) { return r->fd; }

static const char *reason(int code) {
  return code == EAI_NONAME ? "there is no such host" : code == EAI_MEMORY ? "not enough memory" : gai_strerror(code);
}

bool xr_resolve_done(xr_resolve *r, const struct addrinfo **addresses, const char **why) {
  bool done;
  pthread_mutex_lock(&r->q->lock);
  done = r->q->done;
  pthread_mutex_unlock(&r->q->lock);
  if (!done) return false;
  *addresses = r->q->found;
  *why = r->q->found ? NULL : reason(r->q->code);
  return true;
}

void xr_resolve_free(xr_resolve *r) {
  if (!r) return;
  if (r->fd >= 0) close(r->fd);
  leave(r->q);
  free(r);
}
