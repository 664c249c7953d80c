/* err: what went wrong, in one struct. Rank 0: uses no other module.
 *
 * Every function of the core returns 0 (or a non-negative value that its declaration names) on success, and otherwise
 * one of the codes below. XM_EFAIL means that the details are in the xm_err that was passed. The other codes say enough
 * by themselves and leave the xm_err alone. */
#ifndef XM_ERR_H
#define XM_ERR_H

#include <stdbool.h>
#include <stddef.h>

enum xm_code {
  XM_OK = 0,
  XM_EFAIL = -1,  /* see the xm_err */
  XM_ENOMEM = -2, /* malloc failed; nothing was changed */
  XM_EINVAL = -3, /* the caller's bytes are not what the function accepts */
  XM_ELIMIT = -4, /* a bound was reached */
};

/* Where it happened. The names (xm_layer_name) are the `layer` of Lua's error tables. */
typedef enum xm_layer {
  XM_LAYER_NONE,
  XM_LAYER_DNS,
  XM_LAYER_TCP,
  XM_LAYER_TLS,
  XM_LAYER_STREAM,
  XM_LAYER_SASL,
  XM_LAYER_BIND,
  XM_LAYER_STANZA,
  XM_LAYER_TIMEOUT,
  XM_LAYER_CLOSED,
  XM_LAYER_LIMIT,
  XM_LAYER_PROXY,     /* what a proxy says or does */
  XM_LAYER_WEBSOCKET, /* the upgrade, and frames */
} xm_layer;

typedef struct xm_err {
  xm_layer layer;     /* XM_LAYER_NONE: nothing has failed */
  bool retry;         /* could trying again, unchanged, work? */
  int native;         /* errno, OpenSSL's verify result, ...; 0 when there is none */
  char condition[64]; /* the RFC's or the system's own name: "not-authorized", "ECONNREFUSED" */
  char text[512];     /* for a person: what was tried, what came, what to do. Never a secret; xm_err_mend was applied */
} xm_err;

/* Fills `e` and returns XM_EFAIL, so that `return xm_err_set(...)` reads well. `condition` is truncated to fit. The
 * first error is the cause and later ones only follow from it: an xm_err that is already set is kept. `e` may be
 * NULL. */
int xm_err_set(xm_err *e, xm_layer layer, const char *condition, bool retry, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* The same for a failed system call: `name` is errno's own name ("ECONNREFUSED"), `what` begins the text. */
int xm_err_errno(xm_err *e, xm_layer layer, int errnum, const char *name, bool retry, const char *what);

/* The same for memory that ran out. Returns XM_EFAIL. */
int xm_err_nomem(xm_err *e);

/* What peers and other strangers say ends up in texts that people read on terminals. The number of bytes of the
 * character at `s` (NUL-terminated); 0: it must not be shown, being invalid UTF-8, a control character, a line break,
 * an invisible character, or one that changes the direction of the text beside it (U+202E). */
size_t xm_err_shows(const char *s);
/* Puts, in place, a '?' for each byte that must not be shown. It has been applied to the texts of every xm_err. */
void xm_err_mend(char *s);

static inline void xm_err_clear(xm_err *e) {
  e->layer = XM_LAYER_NONE;
  e->retry = false;
  e->native = 0;
  *e->condition = *e->text = '\0';
}
static inline bool xm_err_is_set(const xm_err *e) { return e->layer != XM_LAYER_NONE; }

/* "dns", "tcp", ... as in Lua's error tables; "" for XM_LAYER_NONE. */
const char *xm_layer_name(xm_layer layer);

#endif
