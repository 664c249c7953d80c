#include "ws.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rnd.h"

#ifndef XM_WITHOUT_WSLAY

#include <wslay/wslay.h>

struct xm_ws {
  wslay_frame_context_ptr wslay;
  xm_buf *in;         /* during a call: where wslay reads from */
  xm_buf *out;        /* during a call: where wslay writes to */
  uint8_t *last;      /* where the last input for wslay was put: its own buffer, which it doesn't wipe */
  size_t last_n;
  const uint8_t *data; /* payload that wslay has handed out and the caller has not yet got */
  size_t left;        /* its length */
  uint64_t to_come;   /* bytes of this frame's payload that wslay hasn't got yet */
  uint8_t opcode;     /* this frame's */
  bool fin;
  bool in_frame;      /* a frame's header was read, and its payload not completely */
  bool in_message;    /* a text frame has begun, and no final frame has ended */
  bool is_over;       /* the frame has ended, and the event for that is still to be returned */
  bool closed;
  bool secret;
  bool owes_pong;
  unsigned code;
  size_t control_n, ping_n;
  char control[XM_WS_CONTROL + 1]; /* payload of the current control frame, or of the close frame */
  char ping[XM_WS_CONTROL];        /* payload of the last ping */
};

bool xm_ws_is_there(void) {
  return true;
}

/* wslay's callbacks, from and to memory. */

static ssize_t give(uint8_t *to, size_t room, int flags, void *arg) {
  xm_ws *w = arg;
  size_t n = xm_buf_len(w->in) < room ? xm_buf_len(w->in) : room;
  (void)flags;
  if (n == 0) return -1; /* wslay then returns WSLAY_ERR_WANT_READ */
  memcpy(to, xm_buf_at(w->in), n);
  xm_buf_consume(w->in, n);
  w->last = to;
  w->last_n = n;
  return (ssize_t)n;
}

/* There is always room: put_frame has reserved it. */
static ssize_t take(const uint8_t *from, size_t n, int flags, void *arg) {
  xm_ws *w = arg;
  (void)flags;
  xm_buf_put(w->out, from, n);
  return (ssize_t)n;
}

static int draw_mask(uint8_t *to, size_t n, void *arg) {
  (void)arg;
  return xm_rnd_bytes(to, n) == XM_OK ? 0 : -1;
}

xm_ws *xm_ws_new(void) {
  static const struct wslay_frame_callbacks callbacks = {
      .send_callback = take, .recv_callback = give, .genmask_callback = draw_mask};
  xm_ws *w = calloc(1, sizeof *w);
  if (!w) return NULL;
  w->secret = true;
  w->code = XM_WS_NO_CODE;
  if (wslay_frame_context_init(&w->wslay, &callbacks, w) == 0) return w;
  free(w);
  return NULL;
}

void xm_ws_free(xm_ws *w) {
  if (!w) return;
  if (w->secret && w->last) xm_wipe(w->last, w->last_n);
  wslay_frame_context_free(w->wslay);
  free(w);
}

void xm_ws_set_secret(xm_ws *w, bool secret) {
  w->secret = secret;
}

/* Incoming frames. */

static int breach(xm_ws *w, unsigned code, const char *why, xm_err *e) {
  w->code = code;
  return xm_err_set(e, XM_LAYER_WEBSOCKET, code == XM_WS_UNSUPPORTED ? "unsupported-data" : "protocol-error", false,
                    "the server broke the WebSocket protocol: %s", why);
}

/* What is wrong with a frame's header (RFC 6455 5.1, 5.2, 5.4); NULL: nothing. Lengths and control frames are checked
 * by wslay. */
static const char *wrong_frame(const xm_ws *w, const struct wslay_frame_iocb *f) {
  if (f->mask) return "a frame is masked, as only a client's may be";
  if (f->rsv) return "a frame has a reserved bit, and no extension was agreed on";
  switch (f->opcode) {
    case WSLAY_CONTINUATION_FRAME: return w->in_message ? NULL : "a fragment continues no message";
    case WSLAY_TEXT_FRAME: return w->in_message ? "a message begins inside of another one" : NULL;
    case WSLAY_CONNECTION_CLOSE:
    case WSLAY_PING:
    case WSLAY_PONG: return NULL;
    default: return "a frame has a reserved opcode";
  }
}

static int begin_frame(xm_ws *w, const struct wslay_frame_iocb *f, xm_err *e) {
  const char *why = wrong_frame(w, f);
  if (f->opcode == WSLAY_BINARY_FRAME && !f->mask && !f->rsv)
    return breach(w, XM_WS_UNSUPPORTED, "a message is binary, and XMPP is text", e);
  if (why) return breach(w, XM_WS_PROTOCOL, why, e);
  w->opcode = f->opcode;
  w->fin = f->fin;
  w->to_come = f->payload_length;
  w->in_frame = true;
  w->in_message = w->in_message || f->opcode == WSLAY_TEXT_FRAME;
  if (wslay_is_ctrl_frame(f->opcode)) w->control_n = 0;
  return XM_OK;
}

/* May a close frame have this code (7.4)? */
static bool is_code(unsigned code) {
  if (code == 1004 || code == XM_WS_NO_CODE || code == 1006) return false;
  return (code >= 1000 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static int on_close(xm_ws *w, xm_err *e) {
  const unsigned char *u = (const unsigned char *)w->control;
  unsigned code = w->control_n >= 2 ? (unsigned)u[0] << 8 | u[1] : XM_WS_NO_CODE;
  if (w->control_n && !is_code(code))
    return breach(w, XM_WS_PROTOCOL, "a close frame has an incomplete status code, or one that isn't allowed", e);
  w->control[w->control_n] = '\0';
  w->code = code;
  w->closed = true;
  return XM_WS_CLOSED;
}

static int on_control(xm_ws *w, xm_err *e) {
  if (w->opcode == WSLAY_CONNECTION_CLOSE) return on_close(w, e);
  if (w->opcode == WSLAY_PONG) return XM_WS_PASSED;
  memcpy(w->ping, w->control, w->control_n);
  w->ping_n = w->control_n;
  w->owes_pong = true;
  return XM_WS_PASSED;
}

static int end_frame(xm_ws *w, xm_err *e) {
  w->is_over = false;
  if (wslay_is_ctrl_frame(w->opcode)) return on_control(w, e);
  if (!w->fin) return XM_WS_PASSED;
  w->in_message = false;
  return XM_WS_END;
}

static void keep_control(xm_ws *w, const struct wslay_frame_iocb *f) {
  memcpy(w->control + w->control_n, f->data, f->data_length); /* at most 125 bytes in all, which wslay checks */
  w->control_n += f->data_length;
}

/* Reads more of a frame from wslay. 1; 0: more input is needed; XM_EFAIL. */
static int read_frame(xm_ws *w, xm_err *e) {
  struct wslay_frame_iocb f = {0};
  ssize_t rc = wslay_frame_recv(w->wslay, &f);
  if (rc == WSLAY_ERR_WANT_READ) return 0;
  if (rc < 0) return breach(w, XM_WS_PROTOCOL, "a frame has a length that it may not have, or a control frame is fragmented", e);
  if (!w->in_frame && begin_frame(w, &f, e) < 0) return XM_EFAIL;
  w->to_come -= f.data_length;
  w->is_over = w->to_come == 0;
  w->in_frame = !w->is_over;
  if (f.data_length == 0) return 1;
  if (wslay_is_ctrl_frame(w->opcode)) {
    keep_control(w, &f);
  } else {
    w->data = f.data;
    w->left = f.data_length;
  }
  return 1;
}

/* Copies payload to the caller; while secret, wslay's copy is wiped at once. */
static size_t hand_out(xm_ws *w, char *to, size_t room) {
  size_t n = w->left < room ? w->left : room;
  memcpy(to, w->data, n);
  if (w->secret) xm_wipe((uint8_t *)w->data, n);
  w->data += n;
  w->left -= n;
  return n;
}

int xm_ws_next(xm_ws *w, xm_buf *in, char *to, size_t room, size_t *n, xm_err *e) {
  int rc = 1;
  *n = 0;
  if (w->closed) return XM_WS_CLOSED;
  w->in = in;
  while (rc == 1 && !w->left && !w->is_over) rc = read_frame(w, e);
  if (rc < 0) return rc;
  if (w->left) {
    *n = hand_out(w, to, room);
    return XM_WS_DATA;
  }
  return w->is_over ? end_frame(w, e) : XM_WS_MORE;
}

unsigned xm_ws_code(const xm_ws *w) {
  return w->code;
}

const char *xm_ws_reason(const xm_ws *w) {
  return w->closed && w->control_n > 2 ? w->control + 2 : "";
}

/* Outgoing frames. */

static int put_frame(xm_ws *w, uint8_t opcode, const xm_ws_part *parts, int n, xm_buf *out) {
  struct wslay_frame_iocb f = {.fin = 1, .opcode = opcode, .mask = 1};
  size_t mark = xm_buf_mark(out);
  ssize_t rc = 0;
  int i;
  for (i = 0; i < n; i++) f.payload_length += parts[i].n;
  if (f.payload_length > SIZE_MAX / 4 || !xm_buf_reserve(out, (size_t)f.payload_length + XM_WS_OVERHEAD)) return XM_ENOMEM;
  w->out = out;
  if (f.payload_length == 0) rc = wslay_frame_send(w->wslay, &f);
  for (i = 0; i < n && rc >= 0; i++) {
    if (parts[i].n == 0) continue; /* after the frame's last byte an empty part would begin another frame */
    f.data = (const uint8_t *)parts[i].s;
    f.data_length = parts[i].n;
    rc = wslay_frame_send(w->wslay, &f);
  }
  if (rc >= 0) return XM_OK;
  xm_buf_rollback(out, mark); /* no masking key: nothing was written */
  return XM_EFAIL;
}

int xm_ws_put_text(xm_ws *w, const xm_ws_part *parts, int n, xm_buf *out) {
  return put_frame(w, WSLAY_TEXT_FRAME, parts, n, out);
}

int xm_ws_put_ping(xm_ws *w, xm_buf *out) {
  return put_frame(w, WSLAY_PING, NULL, 0, out);
}

bool xm_ws_owes_pong(const xm_ws *w) {
  return w->owes_pong;
}

int xm_ws_put_pong(xm_ws *w, xm_buf *out) {
  const xm_ws_part part = {w->ping, w->ping_n};
  int rc = w->owes_pong ? put_frame(w, WSLAY_PONG, &part, 1, out) : XM_OK;
  if (rc == XM_OK) w->owes_pong = false;
  return rc;
}

int xm_ws_put_close(xm_ws *w, unsigned code, xm_buf *out) {
  const char bytes[2] = {(char)(code >> 8), (char)code};
  const xm_ws_part part = {bytes, 2};
  return put_frame(w, WSLAY_CONNECTION_CLOSE, &part, code != XM_WS_NO_CODE, out);
}

#else

bool xm_ws_is_there(void) {
  return false;
}

xm_ws *xm_ws_new(void) {
  return NULL;
}

void xm_ws_free(xm_ws *w) {
  (void)w;
}

void xm_ws_set_secret(xm_ws *w, bool secret) {
  (void)w, (void)secret;
}

int xm_ws_next(xm_ws *w, xm_buf *in, char *to, size_t room, size_t *n, xm_err *e) {
  (void)w, (void)in, (void)to, (void)room;
  *n = 0;
  return xm_err_nomem(e);
}

unsigned xm_ws_code(const xm_ws *w) {
  (void)w;
  return XM_WS_NO_CODE;
}

const char *xm_ws_reason(const xm_ws *w) {
  (void)w;
  return "";
}

int xm_ws_put_text(xm_ws *w, const xm_ws_part *parts, int n, xm_buf *out) {
  (void)w, (void)parts, (void)n, (void)out;
  return XM_ENOMEM;
}

int xm_ws_put_ping(xm_ws *w, xm_buf *out) {
  (void)w, (void)out;
  return XM_ENOMEM;
}

bool xm_ws_owes_pong(const xm_ws *w) {
  (void)w;
  return false;
}

int xm_ws_put_pong(xm_ws *w, xm_buf *out) {
  (void)w, (void)out;
  return XM_ENOMEM;
}

int xm_ws_put_close(xm_ws *w, unsigned code, xm_buf *out) {
  (void)w, (void)code, (void)out;
  return XM_ENOMEM;
}

#endif
