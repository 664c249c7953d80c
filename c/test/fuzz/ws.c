/* libFuzzer: any bytes as WebSocket frames from a server, as the answer to an upgrade, or as a stream to be framed.
 * What comes of frames is computed here a second time, only by RFC 6455 5; however the bytes are cut, it must be the
 * same.
 *
 * Input: how to read it, then the rest. */
#include "buf.h"
#include "framing.h"
#include "fuzz.h"
#include "upgrade.h"
#include "url.h"
#include "ws.h"

/* The content of frames as text: payload, and a letter for each event that isn't payload. */

static void end_story(xm_buf *story, const char *text) {
  MUST(xm_buf_puts(story, text) == XM_OK);
}

static void tell_end(xm_buf *story, const xm_ws *w, int ev) {
  char text[200];
  snprintf(text, sizeof text, ev < 0 ? "\n!%u" : "\nc%u %s", xm_ws_code(w), ev < 0 ? "" : xm_ws_reason(w));
  end_story(story, text);
}

static void tell(xm_buf *story, const input *all, uint32_t *seed) {
  xm_ws *w = xm_ws_new();
  xm_buf in = XM_BUF_INIT;
  size_t at, some;
  int ev = XM_WS_MORE;
  MUST(w);
  for (at = 0; at < all->n && ev >= 0 && ev != XM_WS_CLOSED; at += some) {
    some = seed ? 1 + chance(seed, 20) : all->n;
    if (some > all->n - at) some = all->n - at;
    MUST(xm_buf_put(&in, all->at + at, some) == XM_OK);
    do {
      char to[64];
      size_t n, room = seed ? 1 + chance(seed, sizeof to) : sizeof to;
      xm_err e = {0};
      ev = xm_ws_next(w, &in, to, room, &n, &e);
      MUST(n <= room && (n > 0) == (ev == XM_WS_DATA));
      if (n) MUST(xm_buf_put(story, to, n) == XM_OK);
      if (ev == XM_WS_END) end_story(story, "\n.");
      if (ev == XM_WS_PASSED) end_story(story, "\np");
      if (ev < 0) check_error(&e);
      if (ev < 0 || ev == XM_WS_CLOSED) tell_end(story, w, ev);
    } while (ev > XM_WS_MORE && ev != XM_WS_CLOSED);
  }
  if (xm_ws_owes_pong(w)) {
    xm_buf out = XM_BUF_INIT;
    MUST(xm_ws_put_pong(w, &out) == XM_OK && xm_buf_len(&out) >= 6 && xm_buf_len(&out) <= 6 + XM_WS_CONTROL);
    MUST((unsigned char)*xm_buf_at(&out) == 0x8A);
    xm_buf_free(&out);
  }
  xm_buf_free(&in);
  xm_ws_free(w);
}

/* The rules, implemented a second time. A frame whose header is wrong is noticed at the first byte of its payload. */

static bool may_be_said(unsigned code) {
  switch (code) {
    case 1004:
    case 1005:
    case 1006: return false;
    default: return (code >= 1000 && code < 1015) || (code >= 3000 && code < 5000);
  }
}

/* Checks a close frame's payload; 0: it is valid, otherwise the code to be sent. */
static unsigned wrong_close(const uint8_t *s, size_t n) {
  if (n == 0) return 0;
  return n == 1 || !may_be_said((unsigned)s[0] << 8 | s[1]) ? 1002 : 0;
}

typedef struct reference {
  xm_buf *story;
  bool fragmented;
  bool over;
} reference;

static void fail_reference(reference *r, unsigned code) {
  char text[16];
  snprintf(text, sizeof text, "\n!%u", code);
  end_story(r->story, text);
  r->over = true;
}

static void close_reference(reference *r, const uint8_t *s, size_t n) {
  char text[200], reason[XM_WS_CONTROL + 1] = "";
  unsigned wrong = wrong_close(s, n);
  if (wrong) return fail_reference(r, wrong);
  if (n > 2) memcpy(reason, s + 2, n - 2), reason[n - 2] = '\0';
  snprintf(text, sizeof text, "\nc%u %s", n ? (unsigned)s[0] << 8 | s[1] : 1005, reason);
  end_story(r->story, text);
  r->over = true;
}

/* Is this length, all of whose bytes are there, in its shortest form? */
static bool is_minimal(size_t form, uint64_t length) {
  if (form == 2) return length > 125;
  return form == 0 || (length > 65535 && length <= INT64_MAX);
}

static void refer(reference *r, input in) {
  while (!r->over && in.n >= 2) {
    uint8_t first = take(&in), second = take(&in), op = first & 15;
    size_t form = (second & 127) == 127 ? 8 : (second & 127) == 126 ? 2 : 0, i, n;
    uint64_t length = form ? 0 : second & 127;
    bool control = op & 8, fin = first & 0x80;
    const uint8_t *payload;
    if (control && (form || !fin)) return fail_reference(r, 1002);
    if (in.n < form) return;
    for (i = 0; i < form; i++) length = length << 8 | take(&in);
    if (!is_minimal(form, length)) return fail_reference(r, 1002);
    if (second & 0x80 && in.n < 4) return;
    if (second & 0x80) take(&in), take(&in), take(&in), take(&in);
    if (length && in.n == 0) return;
    if (second & 0x80 || first & 0x70) return fail_reference(r, 1002);
    if (op == 2) return fail_reference(r, 1003);
    if ((op > 2 && op < 8) || op > 10 || (op == 0 && !r->fragmented) || (op == 1 && r->fragmented)) return fail_reference(r, 1002);
    payload = (const uint8_t *)take_bytes(&in, length < SIZE_MAX ? (size_t)length : SIZE_MAX, &n);
    if (op < 2) r->fragmented = true;
    if (!control && n) MUST(xm_buf_put(r->story, payload, n) == XM_OK);
    if (n < length) return;
    if (op == 8) return close_reference(r, payload, n);
    if (op < 2 && fin) r->fragmented = false;
    end_story(r->story, op < 2 && fin ? "\n." : "\np");
  }
}

static void check_frames(const input *in, uint32_t *seed) {
  xm_buf whole = XM_BUF_INIT, cut = XM_BUF_INIT, wanted = XM_BUF_INIT;
  reference r = {.story = &wanted};
  tell(&whole, in, NULL);
  tell(&cut, in, seed);
  refer(&r, *in);
  MUST(xm_buf_len(&whole) == xm_buf_len(&cut) && (!xm_buf_len(&cut) || !memcmp(xm_buf_at(&whole), xm_buf_at(&cut), xm_buf_len(&cut))));
  MUST(xm_buf_len(&whole) == xm_buf_len(&wanted) &&
       (!xm_buf_len(&wanted) || !memcmp(xm_buf_at(&whole), xm_buf_at(&wanted), xm_buf_len(&wanted))));
  xm_buf_free(&whole);
  xm_buf_free(&cut);
  xm_buf_free(&wanted);
}

/* The key can't be predicted, so an answer can only fail, in the same way however it is cut. */
static int answer(const input *all, uint32_t *seed, xm_err *e) {
  xm_upgrade *u = xm_upgrade_new();
  xm_buf out = XM_BUF_INIT;
  xm_url url;
  size_t at = 0, used, some;
  int rc = 0;
  MUST(u && !xm_url_read(&url, "wss://example.net/ws") && xm_upgrade_ask(u, &url, &out, e) == XM_OK);
  while (at < all->n && rc == 0) {
    some = seed ? 1 + chance(seed, 20) : all->n;
    if (some > all->n - at) some = all->n - at;
    rc = xm_upgrade_take(u, (const char *)all->at + at, some, &used, e);
    MUST(used <= some && (rc || used == some));
    at += used;
  }
  xm_buf_free(&out);
  xm_upgrade_free(u);
  return rc;
}

static void check_answer(const input *in, uint32_t *seed) {
  xm_err whole = {0}, cut = {0};
  MUST(answer(in, NULL, &whole) != 1 && answer(in, seed, &cut) != 1);
  MUST(strcmp(whole.condition, cut.condition) == 0 && whole.retry == cut.retry);
  if (xm_err_is_set(&whole)) check_error(&whole);
}

/* Framing: each piece consists of the bytes that it claims, and no byte is examined twice. */
static void check_framing(const input *in) {
  const char *s = (const char *)in->at;
  xm_framing f = {.seen = 0}, anew;
  size_t at = 0, n;
  xm_piece p, q;
  for (n = 1; n <= in->n; n++) {
    xm_piece_kind kind = xm_framing_next(&f, s + at, n - at, &p);
    if (kind == XM_PIECE_HALF) continue;
    anew = (xm_framing){.seen = 0};
    MUST(p.n > 0 && p.n <= n - at && p.count <= XM_PIECE_PARTS && (p.count > 0) == (kind != XM_PIECE_SPACE));
    MUST(xm_framing_next(&anew, s + at, n - at, &q) == kind && p.n == q.n && p.count == q.count);
    at += p.n;
  }
}

static void check_url(const input *in) {
  char *text = malloc(in->n + 1);
  const char *why;
  xm_url u;
  MUST(text);
  memcpy(text, in->at, in->n);
  text[in->n] = '\0';
  why = xm_url_read(&u, text);
  MUST(why || (*u.host && u.port > 0 && u.port < 65536 && *u.path == '/' && strlen(text) <= XM_URL_MOST));
  MUST(why || !strpbrk(text, " \r\n\t#\""));
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  input in = {bytes, n};
  uint8_t how = take(&in);
  uint32_t seed = hash_of(bytes, n);
  switch (how % 4) {
    case 0: check_frames(&in, &seed); break;
    case 1: check_answer(&in, &seed); break;
    case 2: check_framing(&in); break;
    default: check_url(&in); break;
  }
  return 0;
}
