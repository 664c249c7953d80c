#include "dns_sock.h"

/* 1.33 is the first c-ares that has MSG_NOSIGNAL itself. Up to then a name server that closes a TCP connection, which
 * takes an answer too long for UDP, kills the process with the next write. */
#if ARES_VERSION < 0x012100

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* c-ares leaves it to who brings sockets to set them up. */
static ares_socket_t open_socket(int family, int type, int protocol, void *unused) {
  int one = 1, fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  (void)unused;
  if (fd >= 0 && type == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

static int close_socket(ares_socket_t fd, void *unused) {
  (void)unused;
  return close(fd);
}

static int connect_socket(ares_socket_t fd, const struct sockaddr *to, ares_socklen_t size, void *unused) {
  (void)unused;
  return connect(fd, to, size);
}

static ares_ssize_t receive(ares_socket_t fd, void *to, size_t n, int flags, struct sockaddr *from,
                            ares_socklen_t *size, void *unused) {
  (void)unused;
  return recvfrom(fd, to, n, flags, from, size);
}

static ares_ssize_t send_pieces(ares_socket_t fd, const struct iovec *pieces, int n, void *unused) {
  const struct msghdr m = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)n};
  (void)unused;
  return sendmsg(fd, &m, MSG_NOSIGNAL);
}

void xm_dns_sock_quiet(ares_channel channel) {
  static const struct ares_socket_functions ours = {open_socket, close_socket, connect_socket, receive, send_pieces};
  ares_set_socket_functions(channel, &ours, NULL);
}

#else

void xm_dns_sock_quiet(ares_channel channel) {
  (void)channel;
}

#endif
