/* replay: the server of a recorded login (login.h) on a socket, with or without TLS. It sends only as many bytes at a
 * time as it is told to, and counts them. Include cmocka.h before it. */
#ifndef REPLAY_H
#define REPLAY_H

#include <errno.h>
#include <linux/sockios.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "login.h"

enum { RECORDS = 16384 };

typedef struct replay {
  player p;
  SSL_CTX *ctx;
  int fd;         /* -1: it has closed the connection */
  bool deaf;      /* the client has closed the connection */
  SSL *ssl;       /* NULL: no TLS yet */
  BIO *in, *out;  /* TLS: received bytes, bytes to send */
  xm_buf wire;    /* bytes to be sent, encrypted if there is TLS */
  size_t said;    /* bytes of text that have been put on `wire` */
  size_t sent;    /* bytes that have been sent */
  size_t clear;   /* bytes of text before TLS */
  size_t success; /* bytes of text up to the end of <success/> */
  size_t records;
  struct {
    size_t sent, said; /* what was both when the record was whole */
  } record[RECORDS];
} replay;

static void replay_begin(replay *r, const login *l, const char *password, SSL_CTX *ctx, int fd) {
  r->ctx = ctx;
  r->fd = fd;
  r->deaf = false;
  r->ssl = NULL;
  r->wire = XM_BUF_INIT;
  r->said = r->sent = r->clear = r->success = r->records = 0;
  player_begin(&r->p, l, password);
}

/* Resets the connection, if there is one, so that the kernel forgets it. */
static void replay_reset(replay *r) {
  const struct linger at_once = {1, 0};
  if (r->fd < 0) return;
  setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(r->fd);
  r->fd = -1;
}

static void replay_end(replay *r) {
  replay_reset(r);
  SSL_free(r->ssl);
  xm_buf_free(&r->wire);
  player_free(&r->p);
}

static void begin_tls(replay *r) {
  r->ssl = SSL_new(r->ctx);
  r->in = BIO_new(BIO_s_mem());
  r->out = BIO_new(BIO_s_mem());
  assert_true(r->ssl && r->in && r->out);
  assert_int_equal(xm_buf_len(&r->p.heard), 0);
  BIO_set_mem_eof_return(r->in, -1);
  SSL_set_bio(r->ssl, r->in, r->out);
  SSL_set_accept_state(r->ssl);
  r->clear = r->said;
  next_step(&r->p);
}

/* Puts what TLS has to send on the wire. */
static void drain(replay *r) {
  char bytes[16384];
  int n;
  while ((n = BIO_read(r->out, bytes, sizeof bytes)) > 0) xm_buf_put(&r->wire, bytes, (size_t)n);
}

/* Exports the channel binding (RFC 9266). */
static void learn_binding(replay *r) {
  static const char label[] = "EXPORTER-Channel-Binding";
  assert_int_equal(SSL_export_keying_material(r->ssl, r->p.exporter, sizeof r->p.exporter, label, sizeof label - 1,
                                              (const unsigned char *)"", 0, 1), 1);
}

static void decipher(replay *r) {
  char text[4096];
  int n;
  ERR_clear_error();
  while ((n = SSL_read(r->ssl, text, sizeof text)) > 0) xm_buf_put(&r->p.heard, text, (size_t)n);
  ERR_clear_error();
  if (SSL_is_init_finished(r->ssl)) learn_binding(r);
  drain(r);
}

static bool receive(replay *r) {
  char bytes[4096];
  ssize_t n = r->fd < 0 ? -1 : recv(r->fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (n == 0 || (n < 0 && errno != EAGAIN)) r->deaf = true;
  if (n <= 0) return false;
  if (r->ssl) {
    assert_int_equal(BIO_write(r->in, bytes, (int)n), n);
  } else {
    xm_buf_put(&r->p.heard, bytes, (size_t)n);
  }
  return true;
}

/* Reads and handles what has come. true: there was something. */
static bool replay_hear(replay *r) {
  bool news;
  if (!player_is_through(&r->p) && r->p.step->who == 't' && xm_buf_len(&r->wire) == 0) begin_tls(r);
  news = receive(r);
  if (r->ssl && news) decipher(r);
  while (player_hear(&r->p)) news = true;
  return news;
}

/* The number of bytes of text that it has to send now. */
static size_t replay_due(const replay *r) {
  return r->fd < 0 || r->deaf || (r->ssl && !SSL_is_init_finished(r->ssl)) ? 0 : xm_buf_len(&r->p.due);
}

/* Puts text on the wire, in a record of its own. */
static void put_text(replay *r, const char *s, size_t n) {
  if (!r->ssl) {
    xm_buf_put(&r->wire, s, n);
    return;
  }
  ERR_clear_error();
  if (SSL_write(r->ssl, s, (int)n) != (int)n) r->deaf = true;
  drain(r);
}

static void replay_say(replay *r, size_t n) {
  if (n == 0) return;
  put_text(r, xm_buf_at(&r->p.due), n);
  r->said += n;
  if (strncmp(r->p.step->text, "<success", 8) == 0) r->success = r->said;
  player_said(&r->p, n);
  if (!r->ssl) return;
  assert_true(r->records < RECORDS);
  r->record[r->records].sent = r->sent + xm_buf_len(&r->wire);
  r->record[r->records++].said = r->said;
}

static size_t replay_on_wire(const replay *r) {
  return r->fd < 0 || r->deaf ? 0 : xm_buf_len(&r->wire);
}

static void put_bytes(replay *r, const char *s, size_t n) {
  ssize_t sent = r->fd < 0 ? -1 : send(r->fd, s, n, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent != (ssize_t)n) r->deaf = true;
}

static void replay_send(replay *r, size_t n) {
  if (n == 0) return;
  put_bytes(r, xm_buf_at(&r->wire), n);
  r->sent += n;
  xm_buf_consume(&r->wire, n);
}

/* How much text the client can read from what was sent: with TLS, that of whole records. */
static size_t replay_understood(const replay *r) {
  size_t i = r->records;
  if (!r->ssl) return r->sent;
  while (i > 0 && r->record[i - 1].sent > r->sent) i--;
  return i > 0 ? r->record[i - 1].said : r->clear;
}

/* Sends a FIN; `properly`: after everything that is due, and TLS's close_notify. */
static void replay_finish(replay *r, bool properly) {
  if (properly && r->ssl) SSL_shutdown(r->ssl);
  if (properly && r->ssl) drain(r);
  if (properly) replay_send(r, replay_on_wire(r));
  shutdown(r->fd, SHUT_WR);
}

/* Has everything that was sent left? Then it has arrived, as this is loopback. (Waiting for acknowledgements would take
 * 40 ms.) */
static bool replay_has_arrived(const replay *r) {
  int left = 0;
  return r->fd < 0 || ioctl(r->fd, SIOCOUTQNSD, &left) != 0 || left == 0;
}

#endif
