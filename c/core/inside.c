#include "inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "out.h"

#define NS_SASL2 "urn:xmpp:sasl:2"
#define NS_BIND2 "urn:xmpp:bind:0"
#define NS_SM "urn:xmpp:sm:3"
#define NS_CARBONS "urn:xmpp:carbons:2"
#define NS_CSI "urn:xmpp:csi:0"
#define NS_FAST "urn:xmpp:fast:0"
#define NS_LIMITS "urn:xmpp:stream-limits:0"

/* What is offered. */

/* Does the list of what may be carried in bind have this one? */
static bool has_feature(const xm_tape *t, uint32_t bind, const char *var) {
  uint32_t list = xm_tape_child(t, bind, NS_BIND2, "inline"), i;
  for (i = list ? xm_tape_child(t, list, NS_BIND2, "feature") : 0; i; i = xm_tape_sibling(t, i, NS_BIND2, "feature")) {
    const char *is = xm_tape_get(t, i, "var", NULL);
    if (is && strcmp(is, var) == 0) return true;
  }
  return false;
}

static unsigned offered_tokens(const xm_tape *t, uint32_t fast) {
  unsigned bits = 0;
  uint32_t i;
  for (i = fast ? xm_tape_child(t, fast, NS_FAST, "mechanism") : 0; i; i = xm_tape_sibling(t, i, NS_FAST, "mechanism")) {
    size_t n;
    const char *name = xm_tape_content(t, i, &n);
    bits |= xm_mech_token_bit(name, n);
  }
  return bits;
}

unsigned xm_inside_offered(const xm_tape *t, uint32_t at) {
  uint32_t list = xm_tape_child(t, at, NS_SASL2, "inline"), bind;
  unsigned bits;
  if (!list) return 0;
  bits = offered_tokens(t, xm_tape_child(t, list, NS_FAST, "fast"));
  if (xm_tape_child(t, list, NS_SM, "sm")) bits |= XM_INSIDE_RESUME;
  bind = xm_tape_child(t, list, NS_BIND2, "bind");
  if (!bind) return bits;
  bits |= XM_INSIDE_BIND;
  if (has_feature(t, bind, NS_SM)) bits |= XM_INSIDE_ENABLE;
  if (has_feature(t, bind, NS_CARBONS)) bits |= XM_INSIDE_CARBONS;
  if (has_feature(t, bind, NS_CSI)) bits |= XM_INSIDE_CSI;
  return bits;
}

size_t xm_inside_limit(const xm_tape *t) {
  uint32_t limits = xm_tape_child(t, 0, NS_LIMITS, "limits");
  uint32_t most = limits ? xm_tape_child(t, limits, NS_LIMITS, "max-bytes") : 0;
  size_t n;
  const char *text = most ? xm_tape_content(t, most, &n) : "";
  return most && n > 0 && n <= 9 && strspn(text, "0123456789") == n ? strtoul(text, NULL, 10) : 0;
}

/* What is asked for. */

static int put_leaf(xm_out *o, const char *name, const char *text) {
  int rc = xm_out_start(o, name, NULL);
  if (rc == XM_OK) rc = xm_out_text(o, text, strlen(text));
  return rc == XM_OK ? xm_out_end(o, name) : rc;
}

static int put_empty(xm_out *o, const char *name, const char *ns) {
  int rc = xm_out_start(o, name, "xmlns", ns, NULL);
  return rc == XM_OK ? xm_out_end(o, name) : rc;
}

static int put_agent(xm_out *o, const xm_inside_wish *w) {
  int rc;
  if (!w->agent && !w->software && !w->device) return XM_OK;
  rc = w->agent ? xm_out_start(o, "user-agent", "id", w->agent, NULL) : xm_out_start(o, "user-agent", NULL);
  if (rc == XM_OK && w->software) rc = put_leaf(o, "software", w->software);
  if (rc == XM_OK && w->device) rc = put_leaf(o, "device", w->device);
  return rc == XM_OK ? xm_out_end(o, "user-agent") : rc;
}

static int put_enable(xm_out *o, bool resumable) {
  int rc = xm_out_start(o, "enable", "xmlns", NS_SM, resumable ? "resume" : NULL, "true", NULL);
  return rc == XM_OK ? xm_out_end(o, "enable") : rc;
}

static int put_bind(xm_out *o, const xm_inside_wish *w, unsigned offered) {
  int rc = xm_out_start(o, "bind", "xmlns", NS_BIND2, NULL);
  if (rc == XM_OK && w->tag) rc = put_leaf(o, "tag", w->tag);
  if (rc == XM_OK && w->enable && offered & XM_INSIDE_ENABLE) rc = put_enable(o, w->resumable);
  if (rc == XM_OK && w->carbons && offered & XM_INSIDE_CARBONS) rc = put_empty(o, "enable", NS_CARBONS);
  if (rc == XM_OK && w->inactive && offered & XM_INSIDE_CSI) rc = put_empty(o, "inactive", NS_CSI);
  return rc == XM_OK ? xm_out_end(o, "bind") : rc;
}

static int put_resume(xm_out *o, const xm_inside_wish *w) {
  char h[16];
  int rc;
  snprintf(h, sizeof h, "%u", (unsigned)w->h);
  rc = xm_out_start(o, "resume", "xmlns", NS_SM, "h", h, "previd", w->previd, NULL);
  return rc == XM_OK ? xm_out_end(o, "resume") : rc;
}

static int put_tokens(xm_out *o, const xm_inside_wish *w) {
  int rc = XM_OK;
  if (w->ask) rc = xm_out_start(o, "request-token", "xmlns", NS_FAST, "mechanism", w->ask, NULL);
  if (rc == XM_OK && w->ask) rc = xm_out_end(o, "request-token");
  if (rc == XM_OK && w->by_token)
    rc = xm_out_start(o, "fast", "xmlns", NS_FAST, w->invalidate ? "invalidate" : NULL, "true", NULL);
  return rc == XM_OK && w->by_token ? xm_out_end(o, "fast") : rc;
}

int xm_inside_put(const xm_inside_wish *w, unsigned offered, xm_buf *out) {
  xm_out o = xm_out_begin(out);
  int rc = put_agent(&o, w);
  if (rc == XM_OK && w->previd && offered & XM_INSIDE_RESUME) rc = put_resume(&o, w);
  if (rc == XM_OK && w->bind && offered & XM_INSIDE_BIND) rc = put_bind(&o, w, offered);
  if (rc == XM_OK) rc = put_tokens(&o, w);
  return rc;
}

/* What is answered. */

/* The only such child, 0: none. XM_EFAIL: there are several. */
static int find_only(const xm_tape *t, uint32_t in, const char *ns, const char *name, uint32_t *at, xm_err *e) {
  *at = xm_tape_child(t, in, ns, name);
  if (!*at || !xm_tape_sibling(t, *at, ns, name)) return XM_OK;
  return xm_err_set(e, XM_LAYER_STREAM, "bad-format", false, "the server's <%s/> has <%s xmlns='%s'/> twice", xm_tape_name(t, in),
                    name, ns);
}

static int contradiction(const char *what, xm_err *e) {
  return xm_err_set(e, XM_LAYER_STREAM, "undefined-condition", true, "the server's answer to the login contradicts itself, or what it "
                    "was asked: %s", what);
}

int xm_inside_read(const xm_tape *t, const xm_inside_wish *w, unsigned offered, xm_inside_answer *a, xm_err *e) {
  bool resumes = w->previd && offered & XM_INSIDE_RESUME, binds = w->bind && offered & XM_INSIDE_BIND;
  *a = (xm_inside_answer){0};
  if (find_only(t, 0, NS_SASL2, "authorization-identifier", &a->identifier, e) < 0 ||
      find_only(t, 0, NS_BIND2, "bound", &a->bound, e) < 0 || find_only(t, 0, NS_BIND2, "failed", &a->refused, e) < 0 ||
      find_only(t, 0, NS_SM, "resumed", &a->resumed, e) < 0 || find_only(t, 0, NS_SM, "failed", &a->lost, e) < 0)
    return XM_EFAIL;
  if (a->bound && find_only(t, a->bound, NS_SM, "enabled", &a->enabled, e) < 0) return XM_EFAIL;
  if (a->bound && a->resumed) return contradiction("a session is resumed, and another one bound", e);
  if (a->bound && a->refused) return contradiction("a resource is bound, and is not", e);
  if (a->resumed && a->lost) return contradiction("a session is resumed, and is not", e);
  if (a->resumed && !resumes) return contradiction("a session is resumed that nobody asked for", e);
  if (a->bound && !binds) return contradiction("a resource is bound that nobody asked for", e);
  return XM_OK;
}

/* Tokens. */

/* The number of two digits at `s`, at most `most`; -1: there isn't one. */
static int two(const char *s, int most) {
  int n = s[0] >= '0' && s[0] <= '9' && s[1] >= '0' && s[1] <= '9' ? 10 * (s[0] - '0') + s[1] - '0' : -1;
  return n > most ? -1 : n;
}

static int days_in(int year, int month) {
  static const char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return days[month - 1] + (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
}

/* Days since 1970 of a day of the Gregorian calendar. */
static int64_t days_of(int year, int month, int day) {
  int64_t y = month > 2 ? year : year - 1, era = y / 400, of_era = y % 400;
  int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* "Z", "+hh:mm", "-hh:mm" in seconds. false: none of these. */
static bool read_zone(const char *s, int64_t *offset) {
  int hours, minutes;
  *offset = 0;
  if (strcmp(s, "Z") == 0) return true;
  if ((*s != '+' && *s != '-') || strlen(s) != 6 || s[3] != ':') return false;
  hours = two(s + 1, 14);
  minutes = two(s + 4, 59);
  if (hours < 0 || minutes < 0) return false;
  *offset = (*s == '-' ? -60 : 60) * (int64_t)(60 * hours + minutes);
  return true;
}

/* XEP-0082's DateTime in seconds since 1970; 0: it isn't one. */
static int64_t read_time(const char *s) {
  int century, year, month, day, hour, minute, second;
  int64_t offset;
  if (strlen(s) < 20 || strlen(s) > 48 || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':') return 0;
  century = two(s, 99);
  year = two(s + 2, 99);
  month = two(s + 5, 12);
  day = two(s + 8, 31);
  hour = two(s + 11, 23);
  minute = two(s + 14, 59);
  second = two(s + 17, 60);
  if (century < 19 || year < 0 || month < 1 || day < 1 || hour < 0 || minute < 0 || second < 0) return 0;
  if (day > days_in(100 * century + year, month)) return 0;
  s += 19;
  if (*s == '.' && s[1] >= '0' && s[1] <= '9') s += 1 + strspn(s + 1, "0123456789");
  if (!read_zone(s, &offset)) return 0;
  return days_of(100 * century + year, month, day) * 86400 + 3600 * hour + 60 * minute + second - offset;
}

void xm_inside_read_token(const xm_tape *t, xm_token *token) {
  uint32_t at = xm_tape_child(t, 0, NS_FAST, "token");
  size_t n = 0;
  const char *bytes = at ? xm_tape_get(t, at, "token", &n) : NULL, *expiry = at ? xm_tape_get(t, at, "expiry", NULL) : NULL;
  token->n = 0;
  if (!bytes || !expiry || n == 0 || n > sizeof token->bytes || xm_tape_sibling(t, at, NS_FAST, "token")) return;
  memcpy(token->bytes, bytes, n);
  token->n = n;
  token->expiry = read_time(expiry);
}
