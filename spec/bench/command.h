/* command: shared by the servers of `make bench`: a port on loopback, which the measured command gets in BENCH_PORT,
 * and a processor for each of the two. */
#ifndef BENCH_COMMAND_H
#define BENCH_COMMAND_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

static void die(const char *what) {
  perror(what);
  exit(2);
}

static inline int listen_on_loopback(void) {
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t len = sizeof sa;
  char port[16];
  int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s < 0 || bind(s, (struct sockaddr *)&sa, len) != 0 || listen(s, 1024) != 0) die("listen");
  if (getsockname(s, (struct sockaddr *)&sa, &len) != 0) die("getsockname");
  snprintf(port, sizeof port, "%d", ntohs(sa.sin_port));
  setenv("BENCH_PORT", port, 1);
  return s;
}

/* A thousand streams need more descriptors than the usual limit. The command gets the same limit. */
static inline void allow_descriptors(void) {
  struct rlimit most;
  if (getrlimit(RLIMIT_NOFILE, &most) != 0) return;
  most.rlim_cur = most.rlim_max < 65536 ? most.rlim_max : 65536;
  setrlimit(RLIMIT_NOFILE, &most);
}

/* Keeps the process on the first of the processors that it may use, or on the last. */
static inline void stay_on(int last) {
  cpu_set_t all, one;
  int i, chosen = -1;
  if (sched_getaffinity(0, sizeof all, &all) != 0) return;
  for (i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, &all) && (last || chosen < 0)) chosen = i;
  CPU_ZERO(&one);
  CPU_SET(chosen, &one);
  sched_setaffinity(0, sizeof one, &one);
}

/* In a child process: runs the command on the first processor. */
__attribute__((noreturn)) static inline void become(char **command) {
  stay_on(0);
  execvp(command[0], command);
  perror(command[0]);
  _exit(127);
}

/* Buffers. */

typedef struct text {
  char *data; /* with a NUL after it */
  size_t n, cap;
} text;

static inline void append(text *t, const char *s, size_t n) {
  while (t->cap - t->n < n + 1) {
    t->cap = t->cap ? t->cap * 2 : 512;
    t->data = realloc(t->data, t->cap);
    if (!t->data) die("realloc");
  }
  memcpy(t->data + t->n, s, n);
  t->n += n;
  t->data[t->n] = '\0';
}

static inline void drop(text *t, size_t n) {
  memmove(t->data, t->data + n, t->n - n + 1);
  t->n -= n;
}

#endif
