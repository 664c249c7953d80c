/* url: parses the URL of a WebSocket (RFC 6455 3). Rank 1: uses ascii, srv. Nothing in it is decoded: the path goes to
 * the server as it is written. */
#ifndef XM_URL_H
#define XM_URL_H

#include <stdbool.h>
#include <stddef.h>

enum { XM_URL_MOST = 2048, XM_URL_HOST = 256 };

typedef struct xm_url {
  bool secure;            /* wss instead of ws */
  bool literal;           /* the host is an IPv6 address, which is in brackets in the URL */
  char host[XM_URL_HOST]; /* the host to connect to, without brackets */
  int port;               /* 443 or 80 if the URL has none */
  bool has_port;          /* the port isn't the scheme's default */
  const char *path;       /* with its query; points into the text that was read; "/" if it has none */
} xm_url;

/* Parses `text`, which is borrowed for the life of `u`. NULL: fine; else what is wrong with it, as a text for
 * people. */
const char *xm_url_read(xm_url *u, const char *text);

#endif
