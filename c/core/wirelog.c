#include "wirelog.h"

#include <string.h>

#include "out.h"

void xm_wirelog_text(xm_wirelog *log, char direction, const char *s, size_t n) {
  xm_buf *b = &log->records;
  size_t mark = xm_buf_mark(b);
  if (!log->on || n == 0) return;
  if (xm_buf_putc(b, direction) < 0 || xm_buf_put(b, &n, sizeof n) < 0 || xm_buf_put(b, s, n) < 0)
    xm_buf_rollback(b, mark);
}

void xm_wirelog_masked(xm_wirelog *log, char direction, const char *s, size_t n, bool secret) {
  static const char mask[] = "[masked]";
  const char *content = secret && n ? memchr(s, '>', n) : NULL, *end = content ? memrchr(s, '<', n) : NULL;
  xm_buf text = XM_BUF_INIT;
  if (!log->on) return;
  if (!end || end <= content) return xm_wirelog_text(log, direction, s, n);
  if (xm_buf_put(&text, s, (size_t)(content + 1 - s)) == XM_OK && xm_buf_puts(&text, mask) == XM_OK &&
      xm_buf_put(&text, end, (size_t)(s + n - end)) == XM_OK)
    xm_wirelog_text(log, direction, xm_buf_at(&text), xm_buf_len(&text));
  xm_buf_free(&text);
}

void xm_wirelog_tape(xm_wirelog *log, const xm_tape *t, bool secret) {
  xm_buf text = XM_BUF_SECRET;
  xm_out o = xm_out_begin(&text);
  if (!log->on) return;
  if (xm_out_tape(&o, t, 0) == XM_OK)
    xm_wirelog_masked(log, '<', xm_buf_at(&text), xm_buf_len(&text), secret);
  xm_buf_free(&text);
}
