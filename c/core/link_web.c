/* link_web: a link over WebSocket: the upgrade (RFC 6455 4), then frames between the transport and the modules above:
 * messages become the stream that xml reads, and what is on the wire becomes messages (RFC 7395 3). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "framing.h"
#include "link_own.h"
#include "ns.h"
#include "upgrade.h"
#include "url.h"
#include "ws.h"

enum {
  READ = 16 * 1024,  /* bytes read at a time */
  BATCH = 16 * 1024, /* bytes of frames that are made at a time: as much as a TLS record holds */
};

struct xm_link_web {
  xm_url url;
  xm_upgrade *upgrade; /* until UPGRADING is over */
  xm_ws *ws;
  xm_buf in;           /* what has come and wasn't looked at; secret until OPEN, as all of these are; */
  xm_buf out;          /* what the kernel hasn't taken: the request, then frames */
  xm_buf marks;        /* for each frame with something of the wire in it, a mark */
  uint64_t made, gone; /* bytes that were put into `out`, and that were taken from it */
  xm_framing framing;  /* scans the wire's next piece */
  bool is_half;        /* the wire ends before the end of a piece */
  bool bye;            /* the end of our stream is in `out`, or has been sent */
  bool opened;         /* the peer's <open/> has come on this stream */
  bool begun;          /* something of the current message has come */
  int held;            /* the xm_xml_event that the message has led to, to be reported at its end; XM_XML_MORE: none */
  bool over;           /* the peer has closed the WebSocket */
  char text[];         /* the URL */
};

/* Where a frame ends, counted like `made`, and how many bytes of the wire are in it. */
typedef struct mark {
  uint64_t end;
  size_t wire;
} mark;

int xk_web_new(xm_link *k, const char *url) {
  size_t n = strlen(url) + 1;
  xm_link_web *w = calloc(1, sizeof *w + n);
  k->web = w;
  if (!w) return XM_ENOMEM;
  memcpy(w->text, url, n);
  w->in = w->out = XM_BUF_SECRET;
  w->upgrade = xm_upgrade_new();
  w->ws = xm_ws_new();
  return w->upgrade && w->ws && !xm_url_read(&w->url, w->text) ? XM_OK : XM_ENOMEM;
}

void xk_web_free(xm_link *k) {
  xm_link_web *w = k->web;
  if (!w) return;
  xm_upgrade_free(w->upgrade);
  xm_ws_free(w->ws);
  xm_buf_free(&w->in);
  xm_buf_free(&w->out);
  xm_buf_free(&w->marks);
  free(w);
  k->web = NULL;
}

const xm_url *xk_web_url(const xm_link *k) {
  return &k->web->url;
}

void xk_web_open_up(xm_link *k) {
  k->web->in.secret = k->web->out.secret = false;
  xm_ws_set_secret(k->web->ws, false);
}

size_t xk_web_spare(const xm_link *k) {
  return xm_buf_spare(&k->web->in) + xm_buf_spare(&k->web->out) + xm_buf_spare(&k->web->marks);
}

void xk_web_rest(xm_link *k) {
  xm_buf_rest(&k->web->in);
  xm_buf_rest(&k->web->out);
  xm_buf_rest(&k->web->marks);
}

bool xk_web_is_holding(const xm_link *k) {
  return k->web->held != XM_XML_MORE;
}

bool xk_web_is_half(const xm_link *k) {
  return k->web->is_half;
}

size_t xk_web_backlog(const xm_link *k) {
  return xm_buf_len(&k->web->out);
}

size_t xk_web_unread(const xm_link *k) {
  return xm_buf_len(&k->web->in);
}

bool xk_web_is_over(const xm_link *k) {
  return k->web->over;
}

/* Out. */

/* Notes why nothing can be written any more; link reports it when all that has come was read (is_mute). */
static int cannot(xm_link *k, int rc) {
  if (rc == XM_ENOMEM) return xm_err_nomem(&k->unsaid);
  return xm_err_set(&k->unsaid, XM_LAYER_WEBSOCKET, "no-randomness", true, "the system provides no random bytes for a frame's mask");
}

static int put_mark(xm_link_web *w, size_t before, size_t wire) {
  mark m = {.end = w->made + (xm_buf_len(&w->out) - before), .wire = wire};
  return xm_buf_put(&w->marks, &m, sizeof m);
}

/* Makes a frame of the piece, which leaves the wire. White space keeps the connection open: here a ping does that. */
static int put_piece(xm_link *k, xm_piece_kind kind, const xm_piece *p) {
  xm_link_web *w = k->web;
  size_t before = xm_buf_mark(&w->out);
  int rc = kind == XM_PIECE_SPACE ? xm_ws_put_ping(w->ws, &w->out) : xm_ws_put_text(w->ws, p->parts, p->count, &w->out);
  if (rc == XM_OK) rc = put_mark(w, before, p->n);
  if (rc < 0) {
    xm_buf_rollback(&w->out, before);
    return rc;
  }
  w->made += xm_buf_len(&w->out) - before;
  w->bye = w->bye || kind == XM_PIECE_CLOSE;
  xm_buf_consume(&k->wire, p->n);
  return XM_OK;
}

/* Makes frames of what is on the wire, as many as are worth one write. */
static int make_frames(xm_link *k) {
  xm_link_web *w = k->web;
  size_t before = xm_buf_mark(&w->out);
  int rc = xm_ws_put_pong(w->ws, &w->out);
  w->made += xm_buf_len(&w->out) - before;
  w->is_half = false;
  while (rc == XM_OK && xm_buf_len(&w->out) < BATCH && xm_buf_len(&k->wire)) {
    xm_piece p;
    xm_piece_kind kind = xm_framing_next(&w->framing, xm_buf_at(&k->wire), xm_buf_len(&k->wire), &p);
    w->is_half = kind == XM_PIECE_HALF;
    if (w->is_half) break;
    rc = put_piece(k, kind, &p);
  }
  return rc == XM_OK ? XM_OK : cannot(k, rc);
}

/* The kernel has taken `n` more bytes: of the wire, it has what is in frames that it has taken whole. */
static void count(xm_link *k, size_t n) {
  xm_link_web *w = k->web;
  mark m;
  xm_buf_consume(&w->out, n);
  w->gone += n;
  while (xm_buf_len(&w->marks)) {
    memcpy(&m, xm_buf_at(&w->marks), sizeof m);
    if (m.end > w->gone) break;
    k->taken += m.wire;
    xm_buf_consume(&w->marks, sizeof m);
  }
}

ssize_t xk_web_write(xm_link *k) {
  xm_link_web *w = k->web;
  ssize_t n = 1;
  while (n > 0) {
    if (xm_buf_len(&w->out) == 0 && k->state != XM_LINK_UPGRADING && make_frames(k) < 0) return XM_EFAIL;
    n = xm_buf_len(&w->out) ? xk_write(k, xm_buf_at(&w->out), xm_buf_len(&w->out)) : 0;
    if (n > 0) count(k, (size_t)n);
  }
  return n;
}

/* Our close frame (RFC 6455 5.5.1): an answer to the peer's, or with the code for its fault. */
void xk_web_finish(xm_link *k) {
  xm_link_web *w = k->web;
  bool breach = k->why.layer == XM_LAYER_WEBSOCKET && !w->over;
  unsigned code = w->over || breach ? xm_ws_code(w->ws) : XM_WS_NORMAL;
  xm_link_flush(k);
  if (xm_ws_put_close(w->ws, code, &w->out) == XM_OK) xm_link_flush(k);
}

/* In. */

/* 1: some bytes came; 0: none now; XM_TLS_MORE; XM_EFAIL. */
static int read_some(xm_link *k) {
  char *to = xm_buf_reserve(&k->web->in, READ);
  ssize_t n;
  if (!to) return xm_err_nomem(&k->why);
  n = xk_read(k, to, READ);
  if (n > 0) xm_buf_commit(&k->web->in, (size_t)n);
  return n > 0 ? 1 : (int)n;
}

/* The upgrade (RFC 6455 4.1). */

xm_link_event xk_web_upgrade(xm_link *k) {
  xm_link_web *w = k->web;
  if (xm_upgrade_ask(w->upgrade, &w->url, &w->out, &k->why) < 0) return xk_end(k, XM_LINK_CUT);
  w->made += xm_buf_len(&w->out);
  return xk_enter(k, XM_LINK_UPGRADING);
}

/* Takes what has come of the answer. 1: all of it has; otherwise as xm_upgrade_take. */
static int take_answer(xm_link *k) {
  xm_link_web *w = k->web;
  size_t used;
  int rc = xm_upgrade_take(w->upgrade, xm_buf_at(&w->in), xm_buf_len(&w->in), &used, &k->why);
  xm_buf_consume(&w->in, used);
  return rc;
}

static xm_link_event start_stream(xm_link *k) {
  xm_upgrade_free(k->web->upgrade);
  k->web->upgrade = NULL;
  return xk_begin_stream(k);
}

/* When nothing more can be written, the answer may say why. */
xm_link_event xk_await_upgrade(xm_link *k) {
  int rc = 0, got = 1;
  if (!xm_err_is_set(&k->unsaid)) xk_web_write(k);
  while (rc == 0 && got > 0 && k->reads_left-- > 0) {
    got = read_some(k);
    if (got == 1) rc = take_answer(k);
  }
  if (rc == 1) return start_stream(k);
  if (got == XM_TLS_MORE) k->reads_left = 0;
  if (rc < 0 || (got < 0 && got != XM_TLS_MORE)) return xk_end(k, rc < 0 ? XM_LINK_PART : XM_LINK_CUT);
  if (got != 0) return XM_LINK_AGAIN;
  if (!xm_err_is_set(&k->unsaid)) return XM_LINK_NOTHING;
  k->why = k->unsaid;
  return xk_end(k, XM_LINK_CUT);
}

/* Messages. */

/* The root in which all messages are parsed: a server may use prefixes that a stream header would have declared
 * (Prosody 13 does in <stream:error>). */
int xk_web_begin(xm_link *k) {
  static const char root[] = "<stream:stream xmlns='" XM_NS_CLIENT "' xmlns:stream='" XM_NS_STREAM "' version='1.0'>";
  size_t room;
  char *to = xm_xml_space(k->xml, &room);
  k->web->opened = k->web->begun = false;
  k->web->held = XM_XML_MORE;
  if (!to || room < sizeof root - 1) return xm_err_nomem(&k->why);
  memcpy(to, root, sizeof root - 1);
  xm_xml_fill(k->xml, sizeof root - 1);
  if (xm_xml_next(k->xml, &k->why) != XM_XML_OPEN || xm_xml_next(k->xml, &k->why) != XM_XML_MORE) return xm_err_nomem(&k->why);
  return XM_OK;
}

static int bad_format(xm_link *k, const char *what) {
  return xm_err_set(&k->why, XM_LAYER_STREAM, "bad-format", false, "the stream was refused: %s (RFC 7395 3.3)", what);
}

/* Keeps what xml has returned until the end of its message. 0 or XM_EFAIL. */
static int hold(xm_link *k, int ev) {
  if (ev < 0) return ev;
  if (ev == XM_XML_CLOSE) return bad_format(k, "a message has an end tag too many");
  if (ev == XM_XML_MORE) return XM_OK;
  k->web->held = ev;
  return xm_xml_unread(k->xml) ? bad_format(k, "a message has more than one element") : XM_OK;
}

/* Reads more of a message, straight to where it is parsed. */
static int next_of_message(xm_link *k, size_t *n) {
  char spill, *to = &spill;
  size_t room = 1;
  int ev;
  if (!xk_web_is_holding(k)) to = xm_xml_space(k->xml, &room);
  if (!to) return xm_err_nomem(&k->why);
  ev = xm_ws_next(k->web->ws, &k->web->in, to, room, n, &k->why);
  if (ev == XM_WS_DATA && !k->web->begun && *to != '<') return bad_format(k, "a message doesn't begin with an element");
  return ev;
}

static int on_data(xm_link *k, size_t n) {
  if (xk_web_is_holding(k)) return bad_format(k, "a message has more than one element");
  k->web->begun = true;
  k->heard_at = xm_loop_now(k->loop);
  k->got += n;
  xm_xml_fill(k->xml, n);
  return hold(k, xm_xml_next(k->xml, &k->why));
}

static int other_place(xm_link *k, const char *uri) {
  if (strlen(uri) < sizeof k->other_host) strcpy(k->other_host, uri);
  k->refused = true;
  xm_err_set(&k->why, XM_LAYER_STREAM, "see-other-host", false, "the server says to connect to another place: %s", uri);
  return XM_XML_CLOSE;
}

/* What a complete message means to the modules above. */
static int came_to(xm_link *k, int ev) {
  const xm_tape *t = xm_xml_tape(k->xml);
  const char *uri;
  if (xm_tape_is(t, 0, XM_NS_FRAMING, "close")) {
    xm_wirelog_tape(k->log, t, false);
    uri = xm_tape_get(t, 0, "see-other-uri", NULL);
    return uri ? other_place(k, uri) : XM_XML_CLOSE;
  }
  if (xm_tape_is(t, 0, XM_NS_FRAMING, "open")) {
    if (k->web->opened) return bad_format(k, "a second <open/> came");
    k->web->opened = true;
    return XM_XML_OPEN;
  }
  return ev;
}

/* A message has ended: it must have been one element (3.3). expat may have put off parsing its last bytes. */
static int on_end(xm_link *k) {
  int ev = k->web->held;
  if (ev == XM_XML_MORE && k->web->begun) {
    if (hold(k, xm_xml_drained(k->xml, &k->why)) < 0) return XM_EFAIL;
    ev = k->web->held;
  }
  if (ev == XM_XML_MORE) return bad_format(k, k->web->begun ? "a message has half an element" : "a message is empty");
  k->web->held = XM_XML_MORE;
  k->web->begun = false;
  return came_to(k, ev);
}

/* Close codes that say that something is wrong with what we have sent (RFC 6455 7.4.1). */
static bool is_blame(unsigned code) {
  return code == 1002 || code == 1003 || (code >= 1007 && code <= 1010);
}

/* The peer has closed the WebSocket: if our stream has ended, its own has now, too; otherwise it was cut. */
static int on_closed(xm_link *k) {
  unsigned code = xm_ws_code(k->web->ws);
  const char *reason = xm_ws_reason(k->web->ws);
  char condition[16];
  k->web->over = true;
  if (k->web->bye) return XM_XML_CLOSE;
  k->refused = is_blame(code);
  snprintf(condition, sizeof condition, "close-%u", code);
  return xm_err_set(&k->why, XM_LAYER_WEBSOCKET, condition, !k->refused, "the server closed the WebSocket with %u%s%.123s, and without ending the stream",
                    code, *reason ? ": " : "", reason);
}

/* An xm_xml_event, or XM_EFAIL. MORE: all that has come was looked at, or others should have their turn. */
static int next_event(xm_link *k) {
  size_t n;
  int rc = xk_web_is_holding(k) ? XM_OK : hold(k, xm_xml_next(k->xml, &k->why)); /* nothing follows what was reported */
  while (rc == XM_OK) {
    int ev = next_of_message(k, &n);
    switch (ev) {
      case XM_WS_MORE: return XM_XML_MORE;
      case XM_WS_DATA: rc = on_data(k, n); break;
      case XM_WS_END: return on_end(k);
      case XM_WS_CLOSED: return on_closed(k);
      case XM_WS_PASSED:
        if (--k->reads_left <= 0) return XM_XML_MORE;
        break;
      default: return XM_EFAIL;
    }
  }
  return rc;
}

/* Answers a ping. */
static void answer(xm_link *k) {
  if (xm_ws_owes_pong(k->web->ws)) xm_link_flush(k);
}

/* All that has come has been read, and unused memory is given back. */
static int be_dry(xm_link *k) {
  xm_buf_rest(&k->web->in);
  if (xk_web_is_holding(k) || hold(k, xm_xml_drained(k->xml, &k->why)) == XM_OK) return XM_XML_MORE;
  return XM_EFAIL;
}

int xk_web_pull(xm_link *k) {
  int ev = next_event(k), got = 1;
  while (ev == XM_XML_MORE && got > 0 && k->reads_left > 0) {
    got = k->dry ? 0 : read_some(k);
    k->reads_left = got == XM_TLS_MORE ? 0 : k->reads_left - 1;
    if (got == XM_TLS_MORE) break;
    if (got < 0) return got;
    if (got) ev = next_event(k);
  }
  answer(k);
  return got == 0 && ev == XM_XML_MORE ? be_dry(k) : ev;
}
