/* secure: TLS on a socket that doesn't wait. The one door to OpenSSL; knows nothing of Redis. Rank 0. */
#ifndef XR_SECURE_H
#define XR_SECURE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct xr_secure xr_secure;

/* Whom the server must be, and who we are. Strings are borrowed for the call; NULL: nothing of the kind. */
typedef struct xr_trust {
  const char *name;             /* the certificate must be for: a host, or an address in figures */
  const char *ca_file, *ca_dir; /* neither: the system's CAs */
  const char *cert, *key;       /* PEM files, of ours */
} xr_trust;

/* NULL: `text` (of `n` bytes) says why. */
xr_secure *xr_secure_new(int fd, const xr_trust *trust, char *text, size_t n);
void xr_secure_free(xr_secure *s); /* NULL is fine */

/* What they return when it isn't done: it waits for the socket to be readable, or writable; or has failed. */
enum { XR_SECURE_READ = -1, XR_SECURE_WRITE = -2, XR_SECURE_FAILED = -3 };

/* 1: the handshake is over, and the certificate is good. */
int xr_secure_shake(xr_secure *s);
/* Bytes; 0: the peer has ended it. */
ssize_t xr_secure_read(xr_secure *s, char *to, size_t n);
ssize_t xr_secure_write(xr_secure *s, const char *from, size_t n);
/* Has it bytes that it has read already? */
bool xr_secure_has_more(const xr_secure *s);
/* Why it has failed. `is_certificate`: because of whom the server shows itself to be. */
void xr_secure_why(const xr_secure *s, char *text, size_t n, bool *is_certificate);

#endif
