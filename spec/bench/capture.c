/* capture PORT: captures the TCP connections (IPv4) of a port on the loopback device. For each line on stdin it prints
 * a line: how often a client had to wait for an answer since the last line, and how many packets that took. A handshake
 * counts once, and so does every flight of data that is followed by data from the server; packets in a row are one
 * flight, and acknowledgements don't count. Used by trips. Status 77: it isn't permitted (CAP_NET_RAW). */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct count {
  unsigned trips, packets;
  bool asks; /* the client has sent something, and nothing has come back yet */
} count;

/* Installs a BPF program, so that the machine's other traffic doesn't fill the buffer: TCP, from or to the port. */
static bool filter(int fd, unsigned port) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 6),
      BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
      BPF_STMT(BPF_LD | BPF_H | BPF_IND, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 2, 0),
      BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 256),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

static int open_device(unsigned port) {
  struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
  int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  where.sll_ifindex = (int)if_nametoindex("lo");
  if (fd < 0 || !filter(fd, port) || bind(fd, (struct sockaddr *)&where, sizeof where) < 0) {
    printf("not measured: a capture wants CAP_NET_RAW: %s\n", strerror(errno));
    exit(77);
  }
  return fd;
}

static void take(const unsigned char *packet, size_t n, unsigned port) {
  struct iphdr ip;
  struct tcphdr tcp;
  size_t header, data;
  memcpy(&ip, packet, sizeof ip);
  header = ip.ihl * 4u;
  if (n < header + sizeof tcp) return;
  memcpy(&tcp, packet + header, sizeof tcp);
  data = ntohs(ip.tot_len) - header - tcp.doff * 4u;
  count.packets++;
  if (ntohs(tcp.dest) == port) {
    count.trips += tcp.syn;
    if (data) count.asks = true;
  } else if (data && count.asks) {
    count.trips++;
    count.asks = false;
  }
}

/* On this device each packet is seen twice: when it is sent, and when it is received. */
static void drain(int fd, unsigned port) {
  unsigned char packet[256];
  struct sockaddr_ll from;
  socklen_t size = sizeof from;
  ssize_t n;
  while ((n = recvfrom(fd, packet, sizeof packet, 0, (struct sockaddr *)&from, &size)) >= 0)
    if (from.sll_pkttype != PACKET_OUTGOING && n >= (ssize_t)sizeof(struct iphdr)) take(packet, (size_t)n, port);
}

int main(int argc, char **argv) {
  unsigned port = argc == 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
  int fd = port ? open_device(port) : -1;
  struct pollfd watched[] = {{.fd = fd, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
  char line[16];
  if (fd < 0) return 2;
  printf("listening\n");
  fflush(stdout);
  for (;;) {
    poll(watched, 2, -1);
    drain(fd, port);
    if (!watched[1].revents) continue;
    if (read(0, line, sizeof line) <= 0) return 0;
    drain(fd, port);
    printf("%u %u\n", count.trips, count.packets);
    fflush(stdout);
    count = (struct count){0};
  }
}
