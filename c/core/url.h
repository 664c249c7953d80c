/* url: what the URL of a WebSocket has in it (RFC 6455 3). Rank 1: knows ascii, srv. Nothing in it is decoded: its path goes
 * to the server as it is written. */
#ifndef XM_URL_H
#define XM_URL_H

#include <stdbool.h>
#include <stddef.h>

enum { XM_URL_MOST = 2048, XM_URL_HOST = 256 };

typedef struct xm_url {
  bool secure;            /* wss, not ws */
  bool literal;           /* the host is an IPv6 address, which the URL has in brackets */
  char host[XM_URL_HOST]; /* to be dialled, without the brackets */
  int port;               /* 443 or 80, if it says none */
  bool has_port;          /* it isn't that one */
  const char *path;       /* with its query, in the text that was read; "/", if it has none */
} xm_url;

/* `text` is borrowed for the life of `u`. NULL; else what is wrong with it, for people. */
const char *xm_url_read(xm_url *u, const char *text);

#endif
