/* nameserver: a name server for tests, in a thread of this process, on 127.0.0.1.
 *
 * Its zone is text with lines "name type data". The type "!" matches every question about the name, "!AAAA" those of
 * that type, and then data says what is done: an error code ("SERVFAIL"), or one of the words in misbehave(). A CNAME
 * is followed; a name without a line is NXDOMAIN; an answer that is too long for UDP is truncated, so that it is asked
 * for again by TCP. */
#ifndef XM_TEST_NAMESERVER_H
#define XM_TEST_NAMESERVER_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28, TYPE_SRV = 33, PACKET = 65535, SMALL_PACKET = 512 };

typedef struct server {
  const char *zone;
  int udp, tcp, stop[2];
  bool serves_tcp;
  int port;
  pthread_t thread;
  atomic_int questions;
  int ignored; /* questions so far that matched DROPONCE */
} server;

typedef struct packet {
  unsigned char bytes[PACKET];
  int n;
  int question_end;
  char name[512];
  int type;
  int answers;
} packet;

static void put8(packet *p, int value) {
  if (p->n < PACKET) p->bytes[p->n++] = (unsigned char)value;
}

static void put16(packet *p, int value) {
  put8(p, value >> 8);
  put8(p, value & 255);
}

static void put_name(packet *p, const char *name) {
  size_t n;
  while (*name && strcmp(name, ".") != 0) {
    n = strcspn(name, ".");
    put8(p, (int)n);
    while (n--) put8(p, *name++);
    if (*name == '.') name++;
  }
  put8(p, 0);
}

static int type_number(const char *type) {
  if (strcmp(type, "A") == 0) return TYPE_A;
  if (strcmp(type, "AAAA") == 0) return TYPE_AAAA;
  if (strcmp(type, "CNAME") == 0) return TYPE_CNAME;
  return strcmp(type, "SRV") == 0 ? TYPE_SRV : 0;
}

static void put_data(packet *p, int type, const char *data) {
  unsigned char raw[16];
  char host[512];
  int priority, weight, port, i, size = type == TYPE_A ? 4 : 16;
  if (type == TYPE_SRV) {
    assert_int_equal(sscanf(data, "%d %d %d %511s", &priority, &weight, &port, host), 4);
    put16(p, priority);
    put16(p, weight);
    put16(p, port);
    put_name(p, host);
  } else if (type == TYPE_CNAME) {
    put_name(p, data);
  } else {
    assert_int_equal(inet_pton(type == TYPE_A ? AF_INET : AF_INET6, data, raw), 1);
    for (i = 0; i < size; i++) put8(p, raw[i]);
  }
}

static void put_record(packet *p, const char *owner, int type, const char *data) {
  int at;
  if (strcasecmp(owner, p->name) == 0) {
    put16(p, 0xC00C); /* a pointer to the name in the question */
  } else {
    put_name(p, owner);
  }
  put16(p, type);
  put16(p, 1);
  put16(p, 0);
  put16(p, 60);
  at = p->n;
  put16(p, 0);
  put_data(p, type, data);
  p->bytes[at] = (unsigned char)((p->n - at - 2) >> 8);
  p->bytes[at + 1] = (unsigned char)((p->n - at - 2) & 255);
  p->answers++;
}

static void read_question(packet *p) {
  const unsigned char *at = p->bytes + 12;
  char *to = p->name;
  while (*at) {
    memcpy(to, at + 1, *at);
    to += *at;
    at += *at + 1;
    *to++ = '.';
  }
  if (to > p->name) to--;
  *to = '\0';
  p->type = at[1] << 8 | at[2];
  p->question_end = p->n = (int)(at + 5 - p->bytes);
  p->answers = 0;
}

/* Reads one line of the zone. Returns where the next one begins; NULL: there is none. */
static const char *read_line(const char *zone, char name[512], char type[16], char data[512]) {
  if (!*zone) return NULL;
  assert_int_equal(sscanf(zone, "%511s %15s %511[^\n]", name, type, data), 3);
  zone += strcspn(zone, "\n");
  return *zone ? zone + 1 : zone;
}

static int error_code(const char *word) {
  static const char *const codes[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
  int i;
  for (i = 0; i < 6; i++) {
    if (strcmp(word, codes[i]) == 0) return i;
  }
  return -1;
}

static void send_noise(const server *s, const packet *p, const struct sockaddr_in *to) {
  static unsigned char other[PACKET];
  size_t n = (size_t)p->n;
  sendto(s->udp, "", 0, 0, (const struct sockaddr *)to, sizeof *to);
  sendto(s->udp, p->bytes, 3, 0, (const struct sockaddr *)to, sizeof *to);
  sendto(s->udp, p->bytes, 12, 0, (const struct sockaddr *)to, sizeof *to);
  memcpy(other, p->bytes, n);
  other[0] ^= 255; /* another id */
  other[2] |= 128;
  sendto(s->udp, other, n, 0, (const struct sockaddr *)to, sizeof *to);
  other[0] ^= 255;
  other[13] ^= 1; /* another question */
  other[3] |= 3;
  sendto(s->udp, other, n, 0, (const struct sockaddr *)to, sizeof *to);
}

/* Does what `word` says. Returns false if there is to be no answer. */
static bool misbehave(server *s, packet *p, const char *word, const struct sockaddr_in *to) {
  if (error_code(word) >= 0) {
    p->bytes[3] = (unsigned char)(128 | error_code(word));
  } else if (strcmp(word, "DROP") == 0) {
    return false;
  } else if (strcmp(word, "DROPONCE") == 0) {
    return s->ignored++ > 0;
  } else if (strcmp(word, "NOISE") == 0) {
    if (to) send_noise(s, p, to);
  } else if (strcmp(word, "LOOP") == 0) { /* a name that points to itself */
    p->answers++;
    put16(p, 0xC000 | p->n);
    put16(p, p->type);
  } else if (strcmp(word, "HALF") == 0) { /* a record that ends too early */
    p->answers++;
    put16(p, 0xC00C);
    put16(p, p->type);
    put16(p, 1);
    put16(p, 0);
    put16(p, 60);
    put16(p, 400);
    put16(p, 0);
  }
  return true;
}

/* Looks up p->name, and appends what is found. Follows a CNAME, but not for ever. */
static bool fill_answer(server *s, packet *p, const struct sockaddr_in *to) {
  char owner[512], name[512], type[16], data[512], alias[512] = "";
  const char *line = s->zone;
  int hops = 0;
  bool known = false;
  snprintf(owner, sizeof owner, "%s", p->name);
  while ((line = read_line(line, name, type, data))) {
    if (strcasecmp(name, owner) != 0) continue;
    known = true;
    if (type[0] == '!') {
      if (type[1] && type_number(type + 1) != p->type) continue;
      if (!misbehave(s, p, data, to)) return false;
    } else if (type_number(type) == TYPE_CNAME && ++hops < 8) {
      put_record(p, owner, TYPE_CNAME, data);
      snprintf(alias, sizeof alias, "%s", data);
      snprintf(owner, sizeof owner, "%s", alias);
      line = s->zone;
    } else if (type_number(type) == p->type) {
      put_record(p, owner, p->type, data);
    }
  }
  if (!known) p->bytes[3] |= 3;
  return true;
}

static bool make_answer(server *s, packet *p, const struct sockaddr_in *to) {
  if (p->n < 17) return false;
  read_question(p);
  s->questions++;
  p->bytes[2] = 0x81;
  p->bytes[3] = 0x80;
  memset(p->bytes + 6, 0, 6);
  if (!fill_answer(s, p, to)) return false;
  if (to && p->n > SMALL_PACKET) {
    p->bytes[2] |= 2;
    p->answers = 0;
    p->n = p->question_end;
  }
  p->bytes[6] = (unsigned char)(p->answers >> 8);
  p->bytes[7] = (unsigned char)p->answers;
  return true;
}

static void serve_udp(server *s) {
  static _Thread_local packet p;
  struct sockaddr_in from;
  socklen_t size = sizeof from;
  ssize_t n = recvfrom(s->udp, p.bytes, sizeof p.bytes, 0, (struct sockaddr *)&from, &size);
  p.n = n > 0 ? (int)n : 0;
  if (make_answer(s, &p, &from)) sendto(s->udp, p.bytes, (size_t)p.n, 0, (struct sockaddr *)&from, sizeof from);
}

/* Answers one question on the connection. Returns false when there are no more. */
static bool serve_tcp(server *s, int fd) {
  static _Thread_local packet p;
  unsigned char length[2];
  if (recv(fd, length, 2, MSG_WAITALL) != 2) return false;
  p.n = length[0] << 8 | length[1];
  if (recv(fd, p.bytes, (size_t)p.n, MSG_WAITALL) != p.n || !make_answer(s, &p, NULL)) return false;
  length[0] = (unsigned char)(p.n >> 8);
  length[1] = (unsigned char)p.n;
  return send(fd, length, 2, MSG_NOSIGNAL) == 2 && send(fd, p.bytes, (size_t)p.n, MSG_NOSIGNAL) == p.n;
}

/* The thread: it serves one TCP connection at a time, and questions by UDP meanwhile. */
static void *serve(void *arg) {
  server *s = arg;
  int connection = -1;
  for (;;) {
    struct pollfd fds[] = {{s->stop[0], POLLIN, 0},
                           {s->udp, POLLIN, 0},
                           {s->serves_tcp && connection < 0 ? s->tcp : -1, POLLIN, 0},
                           {connection, POLLIN, 0}};
    poll(fds, 4, -1);
    if (fds[0].revents) break;
    if (fds[1].revents) serve_udp(s);
    if (fds[2].revents) connection = accept(s->tcp, NULL, NULL);
    if (fds[3].revents && !serve_tcp(s, connection)) {
      close(connection);
      connection = -1;
    }
  }
  if (connection >= 0) close(connection);
  return NULL;
}

/* What is done with TCP connections. */
typedef enum by_tcp { TCP_REFUSED, TCP_SERVED, TCP_OURS /* the test itself accepts from s->tcp */ } by_tcp;

/* Binds both sockets to the same port number. */
static bool bind_pair(server *s) {
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof sa;
  s->udp = socket(AF_INET, SOCK_DGRAM, 0);
  s->tcp = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(bind(s->udp, (struct sockaddr *)&sa, sizeof sa), 0);
  getsockname(s->udp, (struct sockaddr *)&sa, &size);
  s->port = ntohs(sa.sin_port);
  if (bind(s->tcp, (struct sockaddr *)&sa, sizeof sa) == 0 && listen(s->tcp, 8) == 0) return true;
  close(s->udp);
  close(s->tcp);
  return false;
}

static void open_server(server *s, const char *zone, by_tcp tcp) {
  *s = (server){.zone = zone, .serves_tcp = tcp == TCP_SERVED};
  while (!bind_pair(s)) continue;
  if (tcp == TCP_REFUSED) {
    close(s->tcp);
    s->tcp = -1;
  }
  assert_int_equal(pipe(s->stop), 0);
  assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void close_server(server *s) {
  assert_int_equal(write(s->stop[1], "x", 1), 1);
  pthread_join(s->thread, NULL);
  close(s->stop[0]);
  close(s->stop[1]);
  close(s->udp);
  if (s->tcp >= 0) close(s->tcp);
}

#endif
