#include "watch.h"

#include <stdlib.h>
#include <uv.h>

struct xm_watch {
  uv_poll_t uv;
  xm_loop *loop;
  void (*fn)(void *arg);
  void *arg;
  int told;
};

static void on_event(uv_poll_t *uv, int status, int events) {
  xm_watch *w = (xm_watch *)uv;
  if (status < 0) w->told |= XM_WATCH_ERROR;
  if (events & UV_READABLE) w->told |= XM_WATCH_READ;
  if (events & UV_WRITABLE) w->told |= XM_WATCH_WRITE;
  w->fn(w->arg);
}

static void on_closed(uv_handle_t *h) {
  free(h);
}

xm_watch *xm_watch_new(xm_loop *l, int fd, int events, void (*fn)(void *arg), void *arg) {
  xm_watch *w = calloc(1, sizeof *w);
  int wanted = (events & XM_WATCH_READ ? UV_READABLE : 0) | (events & XM_WATCH_WRITE ? UV_WRITABLE : 0);
  if (!w || uv_poll_init(xm_loop_uv(l), &w->uv, fd) != 0) return free(w), NULL;
  w->loop = l;
  w->fn = fn;
  w->arg = arg;
  xm_loop_touch(l);
  if (uv_poll_start(&w->uv, wanted, on_event) == 0) return w;
  uv_close((uv_handle_t *)&w->uv, on_closed);
  return NULL;
}

int xm_watch_take(xm_watch *w) {
  int told = w->told;
  w->told = 0;
  return told;
}

void xm_watch_free(xm_watch *w) {
  if (!w) return;
  xm_loop_touch(w->loop);
  uv_close((uv_handle_t *)&w->uv, on_closed);
}
