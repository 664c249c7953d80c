/* count: for LD_PRELOAD: counts how often a program writes to a socket, by any call, and prints it to stderr at the
 * end. If that is never, it has watched the wrong functions, and the program ends with status 3. */
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SEEN __attribute__((visibility("default")))

static unsigned long writes;

static void count(int fd) {
  struct stat s;
  if (fstat(fd, &s) == 0 && S_ISSOCK(s.st_mode)) writes++;
}

SEEN ssize_t send(int fd, const void *bytes, size_t n, int flags) {
  count(fd);
  return syscall(SYS_sendto, fd, bytes, n, flags, NULL, 0);
}

SEEN ssize_t sendto(int fd, const void *bytes, size_t n, int flags, const struct sockaddr *to, socklen_t len) {
  count(fd);
  return syscall(SYS_sendto, fd, bytes, n, flags, to, len);
}

SEEN ssize_t sendmsg(int fd, const struct msghdr *m, int flags) {
  count(fd);
  return syscall(SYS_sendmsg, fd, m, flags);
}

SEEN ssize_t write(int fd, const void *bytes, size_t n) {
  count(fd);
  return syscall(SYS_write, fd, bytes, n);
}

SEEN ssize_t writev(int fd, const struct iovec *v, int n) {
  count(fd);
  return syscall(SYS_writev, fd, v, n);
}

__attribute__((destructor)) static void tell(void) {
  if (writes == 0) _exit(3);
  fprintf(stderr, "writes %lu\n", writes);
}
