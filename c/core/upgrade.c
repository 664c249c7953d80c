#include "upgrade.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "b64.h"
#include "head.h"
#include "rnd.h"
#include "sha1.h"

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 1.3 */

struct xm_upgrade {
  xm_head *head;
  xm_buf key, accept; /* base64, each with a NUL: the key that we sent, and the Sec-WebSocket-Accept that must come
                         back */
  unsigned interim;
};

xm_upgrade *xm_upgrade_new(void) {
  xm_upgrade *u = calloc(1, sizeof *u);
  if (u) u->head = xm_head_new(XM_LAYER_WEBSOCKET, "the web server");
  if (u && u->head) return u;
  free(u);
  return NULL;
}

void xm_upgrade_free(xm_upgrade *u) {
  if (!u) return;
  xm_head_free(u->head);
  xm_buf_free(&u->key);
  xm_buf_free(&u->accept);
  free(u);
}

/* The request. */

static int make_key(xm_upgrade *u, xm_err *e) {
  unsigned char bytes[16], hash[XM_SHA1];
  xm_buf text = XM_BUF_INIT;
  int rc;
  if (xm_rnd_bytes(bytes, sizeof bytes) < 0)
    return xm_err_set(e, XM_LAYER_WEBSOCKET, "no-randomness", true, "the system has no random bytes to give");
  xm_buf_clear(&u->key);
  xm_buf_clear(&u->accept);
  rc = xm_b64_encode(&u->key, bytes, sizeof bytes);
  if (rc == XM_OK) rc = xm_buf_put(&text, xm_buf_at(&u->key), xm_buf_len(&u->key));
  if (rc == XM_OK) rc = xm_buf_puts(&text, GUID);
  if (rc == XM_OK) rc = xm_sha1(hash, xm_buf_at(&text), xm_buf_len(&text));
  if (rc == XM_OK) rc = xm_b64_encode(&u->accept, hash, sizeof hash);
  if (rc == XM_OK) rc = xm_buf_putc(&u->accept, '\0');
  if (rc == XM_OK) rc = xm_buf_putc(&u->key, '\0');
  xm_buf_free(&text);
  return rc == XM_OK ? XM_OK : xm_err_nomem(e);
}

/* The host as in the URL; the scheme's default port is left out (RFC 9110 7.2, RFC 6455 4.1). */
static int put_host(const xm_url *url, xm_buf *out) {
  char port[16] = "";
  int rc = xm_buf_puts(out, url->literal ? "[" : "");
  if (url->has_port) snprintf(port, sizeof port, ":%d", url->port);
  if (rc == XM_OK) rc = xm_buf_puts(out, url->host);
  if (rc == XM_OK) rc = xm_buf_puts(out, url->literal ? "]" : "");
  return rc == XM_OK ? xm_buf_puts(out, port) : rc;
}

int xm_upgrade_ask(xm_upgrade *u, const xm_url *url, xm_buf *out, xm_err *e) {
  int rc;
  if (make_key(u, e) < 0) return XM_EFAIL;
  rc = xm_buf_puts(out, "GET ");
  if (rc == XM_OK) rc = xm_buf_puts(out, url->path);
  if (rc == XM_OK) rc = xm_buf_puts(out, " HTTP/1.1\r\nHost: ");
  if (rc == XM_OK) rc = put_host(url, out);
  if (rc == XM_OK)
    rc = xm_buf_puts(out, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Key: ");
  if (rc == XM_OK) rc = xm_buf_puts(out, xm_buf_at(&u->key));
  if (rc == XM_OK) rc = xm_buf_puts(out, "\r\n\r\n");
  return rc == XM_OK ? XM_OK : xm_err_nomem(e);
}

/* The answer. */

/* May the same request succeed at another time? */
static bool is_passing(int status) {
  return status == 408 || status == 425 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

static const char *meaning(int status) {
  switch (status) {
    case 200: return ": there is a web page, and no WebSocket";
    case 401: return ": it wants an HTTP login (RFC 9110 11), which isn't supported here";
    case 403: return ": it is forbidden from here";
    case 404: return ": there is nothing at this path";
    case 501: return ": there is no XMPP behind it, perhaps";
    default: return "";
  }
}

static int refused(const xm_upgrade *u, int status, xm_err *e) {
  const char *there = xm_head_field(u->head, "Location"), *reason = xm_head_reason(u->head);
  char condition[16];
  snprintf(condition, sizeof condition, "http-%d", status);
  if (status >= 300 && status < 400 && there)
    return xm_err_set(e, XM_LAYER_WEBSOCKET, condition, false,
                      "the web server answered %d, which leads to %.200s: no redirect is followed; if that is right, make it the url",
                      status, there);
  return xm_err_set(e, XM_LAYER_WEBSOCKET, condition, is_passing(status), "the web server answered %d%s%.100s%s", status,
                    *reason ? " " : "", reason, meaning(status));
}

static int no_websocket(const char *what, xm_err *e) {
  return xm_err_set(e, XM_LAYER_WEBSOCKET, "not-websocket", false,
                    "the web server answered 101, but %s (RFC 6455 4.1): a cache or a proxy may be in between", what);
}

static bool is_only(const xm_head *h, const char *name, const char *value) {
  return xm_head_fields(h, name) == 1 && strcmp(xm_head_field(h, name), value) == 0;
}

static int check_switch(const xm_upgrade *u, xm_err *e) {
  const xm_head *h = u->head;
  if (xm_head_minor(h) != 1) return no_websocket("in HTTP/1.0", e);
  if (!xm_head_has_token(h, "Upgrade", "websocket")) return no_websocket("not for a WebSocket", e);
  if (!xm_head_has_token(h, "Connection", "Upgrade")) return no_websocket("without Connection: Upgrade", e);
  if (!is_only(h, "Sec-WebSocket-Accept", xm_buf_at(&u->accept))) return no_websocket("not to our key", e);
  if (xm_head_fields(h, "Sec-WebSocket-Extensions"))
    return xm_err_set(e, XM_LAYER_WEBSOCKET, "extension", false, "the server uses an extension of WebSocket that wasn't asked for: %.100s",
                      xm_head_field(h, "Sec-WebSocket-Extensions"));
  if (!is_only(h, "Sec-WebSocket-Protocol", "xmpp"))
    return xm_err_set(e, XM_LAYER_WEBSOCKET, "subprotocol", false,
                      "the WebSocket there doesn't say that it speaks XMPP (Sec-WebSocket-Protocol: xmpp, RFC 7395 3.1)");
  return 1;
}

int xm_upgrade_take(xm_upgrade *u, const char *bytes, size_t n, size_t *used, xm_err *e) {
  size_t some;
  int rc, status;
  *used = 0;
  while ((rc = xm_head_take(u->head, bytes + *used, n - *used, &some, e)) == 1) {
    *used += some;
    status = xm_head_status(u->head);
    if (status == 101) return check_switch(u, e);
    if (status >= 200) return refused(u, status, e);
    if (++u->interim > XM_UPGRADE_INTERIM)
      return xm_err_set(e, XM_LAYER_WEBSOCKET, "invalid-response", false, "the web server goes on answering %d", status);
    xm_head_again(u->head);
  }
  *used += some;
  return rc;
}
