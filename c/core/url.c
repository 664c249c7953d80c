#include "url.h"

#include <arpa/inet.h>
#include <string.h>

#include "ascii.h"
#include "srv.h"

/* What follows the scheme, if the text begins with it; else NULL. */
static const char *behind(const char *text, const char *scheme) {
  size_t i;
  for (i = 0; scheme[i]; i++)
    if (xm_ascii_lower(text[i]) != scheme[i]) return NULL;
  return text + i;
}

/* Has it none of the characters that RFC 3986 forbids, and no fragment, which a WebSocket's URL may not have? */
static bool is_plain(const char *s) {
  for (; *s; s++)
    if (*s <= ' ' || *s > '~' || strchr("\"#<>\\^`{|}", *s)) return false;
  return true;
}

static bool is_host(const char *s) {
  return xm_srv_is_host(s) && *s != '.' && !strstr(s, "..");
}

static bool is_ipv6(const char *s) {
  struct in6_addr at;
  return inet_pton(AF_INET6, s, &at) == 1;
}

/* Reads the host; returns its end. NULL: there is none that could be valid. */
static const char *read_host(xm_url *u, const char *s) {
  size_t n;
  u->literal = *s == '[';
  s += u->literal;
  n = strcspn(s, u->literal ? "]" : ":/?");
  if (n >= sizeof u->host || (u->literal && !s[n])) return NULL;
  memcpy(u->host, s, n);
  u->host[n] = '\0';
  if (!(u->literal ? is_ipv6(u->host) : is_host(u->host))) return NULL;
  return s + n + u->literal;
}

/* Reads the port, if there is one; returns its end. NULL: it is invalid. */
static const char *read_port(xm_url *u, const char *s) {
  int port = 0, own = u->secure ? 443 : 80;
  u->port = own;
  if (*s != ':') return s;
  for (s++; xm_ascii_is_digit(*s) && port <= 65535; s++) port = 10 * port + (*s - '0');
  if (port < 1 || port > 65535) return NULL;
  u->port = port;
  u->has_port = port != own;
  return s;
}

const char *xm_url_read(xm_url *u, const char *text) {
  const char *s = behind(text, "wss://");
  *u = (xm_url){.secure = s != NULL};
  if (!s) s = behind(text, "ws://");
  if (!s) return "it begins with neither wss:// nor ws://";
  if (strlen(text) > XM_URL_MOST) return "it is longer than 2,048 bytes";
  if (!is_plain(s)) return "it has a fragment (#), or a character that has to be written in the form %20";
  if (s[strcspn(s, "@/?")] == '@') return "it has a user name, which a WebSocket's URL may not have";
  s = read_host(u, s);
  if (!s) return "it has no host that could be dialled";
  s = read_port(u, s);
  if (!s || (*s && !strchr("/?", *s))) return "what follows its host is neither a port from 1 to 65535 nor a path";
  if (*s == '?') return "it has a query without a path: write /? instead of ?";
  u->path = *s ? s : "/";
  return NULL;
}
