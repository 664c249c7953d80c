#include "tunnel.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "b64.h"
#include "head.h"
#include "srv.h"

enum { SOCKS5 = 5, NO_LOGIN = 0, BY_PASSWORD = 2, NO_METHOD = 0xFF, PASSWORD_VERSION = 1, CONNECT = 1 }; /* RFC 1928, 1929 */
enum { TYPE_IPV4 = 1, TYPE_NAME = 3, TYPE_IPV6 = 4 };
enum { REPLY = 5 + 255 + 2 }; /* bytes of SOCKS5's longest reply */
enum { INTERIMS = 8 };        /* how many interim responses (1xx) are accepted in front of the final one */

typedef enum stage {
  STAGE_METHOD,   /* our greeting was sent; ends when the proxy has chosen how to log in (RFC 1928 3) */
  STAGE_PASSWORD, /* user and password were sent; ends with the proxy's verdict (RFC 1929) */
  STAGE_REPLY,    /* the request to connect was sent; ends with the whole reply (RFC 1928 6) */
  STAGE_RESPONSE, /* CONNECT was sent; ends with the head of its response */
  STAGE_DONE,
  STAGE_FAILED,
} stage;

struct xm_tunnel {
  const xm_proxy *proxy;
  stage stage;
  xm_buf out;
  char who[300];    /* "the proxy http://127.0.0.1:3128" */
  char host[XM_SRV_NAME + 1];
  int port;
  int family;       /* of `host`, if it is an IP address; 0: it's a name */
  unsigned char address[sizeof(struct in6_addr)];
  unsigned char got[REPLY]; /* the SOCKS5 message that is being received */
  size_t n, whole;  /* how many bytes of it have come; its whole length, as far as that is known yet */
  xm_head *head;    /* for CONNECT: the parser of the response's head */
  unsigned interims;
  bool of_target;   /* see xm_tunnel_is_of_target */
};

/* What we send. */

static int put_greeting(xm_tunnel *t) {
  static const char open[] = {SOCKS5, 1, NO_LOGIN}, either[] = {SOCKS5, 2, NO_LOGIN, BY_PASSWORD};
  t->stage = STAGE_METHOD;
  t->whole = 2;
  return t->proxy->user ? xm_buf_put(&t->out, either, sizeof either) : xm_buf_put(&t->out, open, sizeof open);
}

/* Appends a string with its length in front. */
static int put_counted(xm_buf *b, const char *s) {
  size_t n = strlen(s);
  assert(n <= 255);
  return xm_buf_putc(b, (char)n) == XM_OK ? xm_buf_put(b, s, n) : XM_ENOMEM;
}

static int put_password(xm_tunnel *t) {
  t->stage = STAGE_PASSWORD;
  t->whole = 2;
  if (xm_buf_putc(&t->out, PASSWORD_VERSION) < 0 || put_counted(&t->out, t->proxy->user) < 0) return XM_ENOMEM;
  return put_counted(&t->out, t->proxy->password);
}

static int put_host(xm_tunnel *t) {
  bool v6 = t->family == AF_INET6;
  if (!t->family) return xm_buf_putc(&t->out, TYPE_NAME) == XM_OK ? put_counted(&t->out, t->host) : XM_ENOMEM;
  if (xm_buf_putc(&t->out, v6 ? TYPE_IPV6 : TYPE_IPV4) < 0) return XM_ENOMEM;
  return xm_buf_put(&t->out, t->address, v6 ? 16 : 4);
}

static int put_request(xm_tunnel *t) {
  static const char head[] = {SOCKS5, CONNECT, 0};
  const char port[] = {(char)(t->port >> 8), (char)t->port};
  t->stage = STAGE_REPLY;
  t->of_target = true;
  t->whole = 5;
  if (xm_buf_put(&t->out, head, sizeof head) < 0 || put_host(t) < 0) return XM_ENOMEM;
  return xm_buf_put(&t->out, port, sizeof port);
}

/* Basic authentication (RFC 7617). */
static int put_basic(xm_tunnel *t) {
  xm_buf both = XM_BUF_SECRET;
  int rc = xm_buf_puts(&both, t->proxy->user);
  if (rc == XM_OK) rc = xm_buf_putc(&both, ':');
  if (rc == XM_OK) rc = xm_buf_puts(&both, t->proxy->password ? t->proxy->password : "");
  if (rc == XM_OK) rc = xm_buf_puts(&t->out, "Proxy-Authorization: Basic ");
  if (rc == XM_OK) rc = xm_b64_encode(&t->out, xm_buf_at(&both), xm_buf_len(&both));
  if (rc == XM_OK) rc = xm_buf_puts(&t->out, "\r\n");
  xm_buf_free(&both);
  return rc;
}

static int put_connect(xm_tunnel *t) {
  char place[XM_SRV_NAME + 10], head[2 * sizeof place + 40];
  snprintf(place, sizeof place, t->family == AF_INET6 ? "[%s]:%d" : "%s:%d", t->host, t->port);
  snprintf(head, sizeof head, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", place, place);
  t->stage = STAGE_RESPONSE;
  t->of_target = true;
  if (xm_buf_puts(&t->out, head) < 0 || (t->proxy->user && put_basic(t) < 0)) return XM_ENOMEM;
  return xm_buf_puts(&t->out, "\r\n");
}

/* Construction. */

static int take_host(xm_tunnel *t, const char *host, int port, xm_err *e) {
  struct in6_addr v6;
  t->port = port;
  if (inet_pton(AF_INET, host, t->address) == 1) t->family = AF_INET;
  else if (inet_pton(AF_INET6, host, &v6) == 1) t->family = AF_INET6, memcpy(t->address, &v6, sizeof v6);
  else if (!xm_srv_is_host(host))
    return xm_err_set(e, XM_LAYER_PROXY, "bad-host", false, "%s can't be asked for '%s', neither a name nor an IP address",
                      t->who, host);
  snprintf(t->host, sizeof t->host, "%s", host);
  return XM_OK;
}

static int begin(xm_tunnel *t, xm_err *e) {
  bool http = t->proxy->kind == XM_PROXY_HTTP;
  if (http) t->head = xm_head_new(XM_LAYER_PROXY, t->who);
  if (http && !t->head) return xm_err_nomem(e);
  return (http ? put_connect(t) : put_greeting(t)) == XM_OK ? XM_OK : xm_err_nomem(e);
}

xm_tunnel *xm_tunnel_new(const xm_proxy *proxy, const char *host, int port, xm_err *e) {
  xm_tunnel *t = calloc(1, sizeof *t);
  if (!t) {
    xm_err_nomem(e);
    return NULL;
  }
  t->proxy = proxy;
  t->out = XM_BUF_SECRET;
  snprintf(t->who, sizeof t->who, "the proxy %s", proxy->name);
  if (take_host(t, host, port, e) == XM_OK && begin(t, e) == XM_OK) return t;
  xm_tunnel_free(t);
  return NULL;
}

void xm_tunnel_free(xm_tunnel *t) {
  if (!t) return;
  xm_head_free(t->head);
  xm_buf_free(&t->out);
  free(t);
}

xm_buf *xm_tunnel_out(xm_tunnel *t) {
  return &t->out;
}

bool xm_tunnel_is_of_target(const xm_tunnel *t) {
  return t->of_target;
}

/* What we receive. */

/* The proxy itself is at fault, not the target. */
static int no_socks(xm_tunnel *t, const char *what, unsigned number, xm_err *e) {
  t->of_target = false;
  return xm_err_set(e, XM_LAYER_PROXY, "invalid-response", false, "%s does not speak SOCKS5: %s is %u", t->who, what, number);
}

static int needs_login(xm_tunnel *t, const char *why, xm_err *e) {
  t->of_target = false;
  if (!t->proxy->user) why = "wants a login: give its URL with user:password@";
  return xm_err_set(e, XM_LAYER_PROXY, "proxy-authentication-required", false, "%s %s", t->who, why);
}

#define REFUSED "refuses the login: are user and password right?"

static int take_method(xm_tunnel *t, xm_err *e) {
  unsigned char method = t->got[t->n - 1];
  if (t->n == 1) return method == SOCKS5 ? 0 : no_socks(t, "the version that it answers with", method, e);
  if (method == NO_LOGIN) return put_request(t) == XM_OK ? 0 : xm_err_nomem(e);
  if (method == BY_PASSWORD && t->proxy->user) return put_password(t) == XM_OK ? 0 : xm_err_nomem(e);
  if (method != NO_METHOD) return no_socks(t, "the way to log in that it has chosen, and wasn't offered,", method, e);
  return needs_login(t, "takes no login by user and password", e);
}

static int take_login(xm_tunnel *t, xm_err *e) {
  unsigned char byte = t->got[t->n - 1];
  if (t->n == 1) return byte == PASSWORD_VERSION ? 0 : no_socks(t, "the version of its answer to the password", byte, e);
  if (byte != 0) return needs_login(t, REFUSED, e);
  return put_request(t) == XM_OK ? 0 : xm_err_nomem(e);
}

/* RFC 1928 6. */
static const struct refusal {
  const char *condition;
  bool retry;
  const char *text;
} refusals[] = {
    {"unknown-reply", true, "for a reason that RFC 1928 doesn't know"},
    {"general-failure", true, "and says only that it failed (some do so for a name that is unknown)"},
    {"not-allowed", false, "as its rules do not allow it"},
    {"network-unreachable", true, "as the network can't be reached"},
    {"host-unreachable", true, "as the host can't be reached, or isn't known"},
    {"connection-refused", true, "as the connection was refused there"},
    {"ttl-expired", true, "as it took too long"},
    {"command-not-supported", false, "as it doesn't support the command CONNECT"},
    {"address-type-not-supported", false, "as it doesn't support this kind of address"},
};

static int take_refusal(xm_tunnel *t, unsigned reply, xm_err *e) {
  const struct refusal *r = &refusals[reply < sizeof refusals / sizeof *refusals ? reply : 0];
  return xm_err_set(e, XM_LAYER_PROXY, r->condition, r->retry, "%s does not connect to %s port %d, %s (reply %u)", t->who,
                    t->host, t->port, r->text, reply);
}

/* The length of a reply is known from its fourth byte (the address type) and fifth byte (the length, if that is a
 * name). */
static int take_reply(xm_tunnel *t, xm_err *e) {
  unsigned char byte = t->got[t->n - 1];
  if (t->n == 1 && byte != SOCKS5) return no_socks(t, "the version of its reply", byte, e);
  if (t->n == 2 && byte != 0) return take_refusal(t, byte, e);
  if (t->n == 4 && byte != TYPE_IPV4 && byte != TYPE_NAME && byte != TYPE_IPV6)
    return no_socks(t, "the type of the address in its reply", byte, e);
  if (t->n == 5) t->whole = t->got[3] == TYPE_NAME ? 5u + byte + 2u : t->got[3] == TYPE_IPV4 ? 4 + 4 + 2 : 4 + 16 + 2;
  if (t->n == t->whole) t->stage = STAGE_DONE;
  return 0;
}

static int take_byte(xm_tunnel *t, unsigned char byte, xm_err *e) {
  stage now = t->stage;
  int rc;
  t->got[t->n++] = byte;
  rc = now == STAGE_METHOD ? take_method(t, e) : now == STAGE_PASSWORD ? take_login(t, e) : take_reply(t, e);
  if (t->stage != now) t->n = 0;
  return rc;
}

/* tinyproxy answers 401 to a wrong password. */
static int take_status(xm_tunnel *t, int status, xm_err *e) {
  bool retry = status >= 500 || status == 408 || status == 429;
  const char *reason = xm_head_reason(t->head);
  if (status / 100 == 2) return t->stage = STAGE_DONE, 0;
  if (status == 407 || status == 401) return needs_login(t, REFUSED, e);
  return xm_err_set(e, XM_LAYER_PROXY, retry ? "general-failure" : "not-allowed", retry,
                    "%s does not connect to %s port %d: it answers %d%s%.100s", t->who, t->host, t->port, status,
                    *reason ? " " : "", reason);
}

static int take_head(xm_tunnel *t, const char *bytes, size_t n, size_t *used, xm_err *e) {
  int status, rc = xm_head_take(t->head, bytes, n, used, e);
  if (rc < 0) t->of_target = false;
  if (rc <= 0) return rc;
  status = xm_head_status(t->head);
  if (status >= 200 || status == 101 || t->interims == INTERIMS) return take_status(t, status, e);
  t->interims++;
  xm_head_again(t->head);
  return 0;
}

int xm_tunnel_take(xm_tunnel *t, const char *bytes, size_t n, size_t *used, xm_err *e) {
  int rc = t->stage == STAGE_FAILED ? XM_EFAIL : 0;
  *used = 0;
  while (rc == 0 && *used < n && t->stage != STAGE_DONE) {
    size_t more = 1;
    if (t->head) rc = take_head(t, bytes + *used, n - *used, &more, e);
    else rc = take_byte(t, (unsigned char)bytes[*used], e);
    *used += more;
  }
  if (rc < 0) t->stage = STAGE_FAILED;
  return rc < 0 ? XM_EFAIL : t->stage == STAGE_DONE;
}

int xm_tunnel_end(xm_tunnel *t, xm_err *e) {
  t->stage = STAGE_FAILED;
  return xm_err_set(e, XM_LAYER_PROXY, "EOF", true, "%s cut the connection %s", t->who,
                    t->of_target ? "instead of an answer" : "before it was asked for anything: does it speak SOCKS5?");
}
