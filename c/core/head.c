#include "head.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ascii.h"
#include "buf.h"

enum { STATUS_AT = 9, REASON_AT = 13 }; /* in "HTTP/1.1 200 OK" */

typedef enum step { IN_LINE, BEHIND_CR, COMPLETE, FAILED } step;

struct xm_head {
  xm_layer layer;
  const char *who;
  step step;
  xm_buf text;    /* what has come, with NUL in place of each CR, and of the colon after each field's name */
  size_t line;    /* offset in text: where the current line begins; */
  size_t value;   /* and where its field's value does, 0: there was no colon yet */
  unsigned lines; /* complete ones */
  struct {
    uint16_t name, value; /* offsets in text */
  } fields[XM_HEAD_LINES];
};

xm_head *xm_head_new(xm_layer layer, const char *who) {
  xm_head *h = calloc(1, sizeof *h);
  if (!h) return NULL;
  h->layer = layer;
  h->who = who;
  return h;
}

void xm_head_free(xm_head *h) {
  if (!h) return;
  xm_buf_free(&h->text);
  free(h);
}

void xm_head_again(xm_head *h) {
  xm_buf_clear(&h->text);
  h->step = IN_LINE;
  h->line = h->value = 0;
  h->lines = 0;
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

static bool is_token(char c) {
  return xm_ascii_is_letter(c) || xm_ascii_is_digit(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_text(char c) {
  unsigned char u = (unsigned char)c;
  return (u >= ' ' && u != 0x7F) || c == '\t';
}

/* May `c` be the byte at `at` in a status line, before its reason? */
static bool is_status(size_t at, char c) {
  static const char version[] = "HTTP/1.";
  if (at < sizeof version - 1) return c == version[at];
  if (at == STATUS_AT) return c >= '1' && c <= '5';
  if (at == STATUS_AT - 1 || at == REASON_AT - 1) return c == ' ';
  return xm_ascii_is_digit(c);
}

/* What is wrong with `c` as the byte at `at` in a line, or with a line that ends there; NULL: nothing is. */
static const char *wrong_in_line(const xm_head *h, size_t at, char c) {
  if (h->lines == XM_HEAD_LINES) return "its head has too many lines";
  if (h->lines == 0 && at < REASON_AT) return is_status(at, c) ? NULL : "its status line is malformed";
  if (h->lines > 0 && at == 0 && is_blank(c)) return "a line is folded";
  if (!is_text(c)) return "a control character is in its head";
  if (h->lines == 0) return NULL;
  if (h->value || is_token(c) || (c == ':' && at > 0)) return NULL;
  return "a field has no proper name";
}

static const char *wrong_at_end(const xm_head *h, size_t at) {
  if (h->lines == 0) return at >= REASON_AT - 1 ? NULL : "its status line is malformed";
  return at == 0 || h->value ? NULL : "a field has no value";
}

static const char *wrong(const xm_head *h, char c) {
  size_t at = h->text.last - h->line;
  if (h->step == FAILED) return "it was malformed before";
  if (h->text.last == XM_HEAD_BYTES) return "its head is too long";
  if (h->step == BEHIND_CR) return c == '\n' ? NULL : "a CR has no LF behind it";
  return c == '\r' ? wrong_at_end(h, at) : wrong_in_line(h, at, c);
}

/* Records the field whose line ends here, without the white space around its value. */
static void trim(xm_head *h, size_t end) {
  size_t at = h->value;
  while (at < end && is_blank(h->text.data[at])) at++;
  while (at < end && is_blank(h->text.data[end - 1])) h->text.data[--end] = '\0';
  h->fields[h->lines].name = (uint16_t)h->line;
  h->fields[h->lines].value = (uint16_t)at;
}

static void end_line(xm_head *h) {
  size_t end = h->text.last - 2; /* where NUL stands for CR */
  h->step = end == h->line ? COMPLETE : IN_LINE;
  if (h->step == COMPLETE) return;
  if (h->value) trim(h, end);
  h->lines++;
  h->line = h->text.last;
  h->value = 0;
}

/* Appends a byte that isn't wrong; there is room for it. */
static void put(xm_head *h, char c) {
  bool is_colon = c == ':' && h->lines > 0 && !h->value;
  h->text.data[h->text.last++] = is_colon || c == '\r' ? '\0' : c;
  if (is_colon) h->value = h->text.last;
  if (h->step == BEHIND_CR) end_line(h);
  else if (c == '\r') h->step = BEHIND_CR;
}

int xm_head_take(xm_head *h, const char *bytes, size_t n, size_t *used, xm_err *e) {
  size_t room = XM_HEAD_BYTES - h->text.last;
  *used = 0;
  if (h->step == COMPLETE || n == 0) return h->step == COMPLETE;
  if (h->step != FAILED && room > 0 && !xm_buf_reserve(&h->text, n < room ? n : room)) return xm_err_nomem(e);
  while (*used < n && h->step != COMPLETE) {
    const char *why = wrong(h, bytes[*used]);
    if (why) {
      h->step = FAILED;
      return xm_err_set(e, h->layer, "invalid-response", false, "%s did not answer in HTTP/1.1: %s", h->who, why);
    }
    put(h, bytes[(*used)++]);
  }
  return h->step == COMPLETE;
}

int xm_head_status(const xm_head *h) {
  const char *s = h->text.data + STATUS_AT;
  return (s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0');
}

int xm_head_minor(const xm_head *h) {
  return h->text.data[STATUS_AT - 2] - '0';
}

const char *xm_head_reason(const xm_head *h) {
  const char *s = h->text.data + REASON_AT - 1;
  return *s ? s + 1 : s;
}

/* The number of the first field of this name from `i` on; `lines`: there is none. */
static unsigned find(const xm_head *h, unsigned i, const char *name) {
  while (i < h->lines && !xm_ascii_equal(h->text.data + h->fields[i].name, name)) i++;
  return i;
}

const char *xm_head_field(const xm_head *h, const char *name) {
  unsigned i = find(h, 1, name);
  return i < h->lines ? h->text.data + h->fields[i].value : NULL;
}

unsigned xm_head_fields(const xm_head *h, const char *name) {
  unsigned i, n = 0;
  for (i = find(h, 1, name); i < h->lines; i = find(h, i + 1, name)) n++;
  return n;
}

static bool lists(const char *s, const char *token) {
  size_t n = strlen(token);
  while (*s) {
    size_t len = strcspn(s, ",");
    size_t end = len;
    while (end > 0 && is_blank(s[end - 1])) end--;
    if (n > 0 && end == n && xm_ascii_same(s, token, n)) return true;
    s += len;
    s += strspn(s, ", \t");
  }
  return false;
}

bool xm_head_has_token(const xm_head *h, const char *name, const char *token) {
  unsigned i;
  for (i = find(h, 1, name); i < h->lines; i = find(h, i + 1, name))
    if (lists(h->text.data + h->fields[i].value, token)) return true;
  return false;
}
