/* faults: a library to preload that makes the n-th allocation or system call fail, and counts the allocated bytes. It
 * is controlled by a file that is mapped here and written by the test (spec/support/faults.lua): see struct board. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct board {
  int64_t alloc_in;    /* which allocation fails, counted from now; 0: none */
  int64_t alloc_stays; /* 1: all allocations after it fail, too */
  int64_t allocs;      /* number of allocations so far */
  int64_t live;        /* bytes that are allocated now */
  int64_t sys_in;      /* which system call fails, counted from now; 0: none */
  int64_t sys_errno;   /* the errno with which it fails; 0: it succeeds, but transfers only one byte */
  int64_t calls;       /* number of system calls so far */
};

static struct board nowhere, *board = &nowhere;

__attribute__((constructor)) static void look_for_board(void) {
  const char *path = getenv("FAULTS");
  int fd = path ? open(path, O_RDWR) : -1;
  void *at = fd >= 0 ? mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
  if (fd >= 0) close(fd);
  if (at != MAP_FAILED) board = at;
}

/* glibc's own functions, under names that remain when malloc and the like are replaced. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static int allocation_fails(void) {
  board->allocs++;
  if (board->alloc_in == 0) return 0;
  if (board->alloc_in > 1) return board->alloc_in--, 0;
  if (!board->alloc_stays) board->alloc_in = 0;
  errno = ENOMEM;
  return 1;
}

static void *born(void *p) {
  if (p) board->live += (int64_t)malloc_usable_size(p);
  return p;
}

void *malloc(size_t n) {
  return allocation_fails() ? NULL : born(__libc_malloc(n));
}

void *calloc(size_t n, size_t size) {
  return allocation_fails() ? NULL : born(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n) {
  int64_t was = p ? (int64_t)malloc_usable_size(p) : 0;
  void *moved;
  if (n && allocation_fails()) return NULL;
  moved = __libc_realloc(p, n);
  if (moved || !n) board->live -= was;
  return born(moved);
}

/* Used by OpenSSL from 3.5 on. posix_memalign returns ENOMEM itself, and may set errno as well. */
void *aligned_alloc(size_t alignment, size_t n) {
  return allocation_fails() ? NULL : born(__libc_memalign(alignment, n));
}

int posix_memalign(void **p, size_t alignment, size_t n) {
  void *got = aligned_alloc(alignment, n);
  if (!got) return ENOMEM;
  *p = got;
  return 0;
}

void free(void *p) {
  if (p) board->live -= (int64_t)malloc_usable_size(p);
  __libc_free(p);
}

/* libcurl 8.14 goes on with an SSL that SSL_new could not make. With SPARE_SSL_NEW in the environment no allocation in
 * that function fails. */
void *SSL_new(void *ctx) {
  void *libssl = dlopen("libssl.so.3", RTLD_LAZY | RTLD_NOLOAD);
  void *(*real)(void *) = (void *(*)(void *))dlsym(libssl, "SSL_new"), *made;
  int64_t alloc_in = board->alloc_in;
  if (getenv("SPARE_SSL_NEW")) board->alloc_in = 0;
  made = real(ctx);
  if (getenv("SPARE_SSL_NEW")) board->alloc_in = alloc_in;
  dlclose(libssl);
  return made;
}

/* Returns 1 if the call is to fail, with errno set; 2 if it is to transfer only one byte; 0 if nothing is changed. */
static int call_fails(void) {
  board->calls++;
  if (board->sys_in == 0) return 0;
  if (board->sys_in > 1) return board->sys_in--, 0;
  board->sys_in = 0;
  errno = (int)board->sys_errno;
  return errno ? 1 : 2;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int socket(int domain, int type, int protocol) {
  return call_fails() == 1 ? -1 : REAL(socket)(domain, type, protocol);
}

int connect(int fd, const struct sockaddr *to, socklen_t n) {
  return call_fails() == 1 ? -1 : REAL(connect)(fd, to, n);
}

ssize_t recv(int fd, void *to, size_t n, int flags) {
  int fails = call_fails();
  return fails == 1 ? -1 : REAL(recv)(fd, to, fails && n ? 1 : n, flags);
}

ssize_t send(int fd, const void *from, size_t n, int flags) {
  int fails = call_fails();
  return fails == 1 ? -1 : REAL(send)(fd, from, fails && n ? 1 : n, flags);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *n) {
  return call_fails() == 1 ? -1 : REAL(getsockopt)(fd, level, name, value, n);
}

int epoll_wait(int fd, struct epoll_event *events, int most, int ms) {
  if (call_fails() != 1) return REAL(epoll_wait)(fd, events, most, ms);
  if (errno != EINTR) return REAL(epoll_wait)(fd, events, most, ms); /* EINTR is its only temporary failure */
  return -1;
}
