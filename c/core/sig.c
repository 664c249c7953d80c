#include "sig.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct xm_sig {
  uv_signal_t uv;
  xm_loop *loop;
  void (*fn)(void *arg);
  void *arg;
  int slot; /* in the table */
};

/* Signals that can't be caught aren't here, nor those that report a fault in the program. Unwatched, SIGINT raises
 * "interrupted!" in Lua's interpreter. */
static const struct {
  const char *name;
  int number;
} table[] = {{"SIGHUP", SIGHUP},   {"SIGINT", SIGINT},   {"SIGQUIT", SIGQUIT}, {"SIGTERM", SIGTERM}, {"SIGUSR1", SIGUSR1},
             {"SIGUSR2", SIGUSR2}, {"SIGALRM", SIGALRM}, {"SIGCHLD", SIGCHLD}, {"SIGCONT", SIGCONT}, {"SIGTSTP", SIGTSTP},
             {"SIGTTIN", SIGTTIN}, {"SIGTTOU", SIGTTOU}, {"SIGPIPE", SIGPIPE},
#ifdef SIGWINCH
             {"SIGWINCH", SIGWINCH},
#endif
             {NULL, 0}};

enum { SIGNALS = sizeof table / sizeof *table };

/* For the whole process: how many watch each signal, and its action before that. libuv itself would restore only the
 * default. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned watchers[SIGNALS];
static struct sigaction before[SIGNALS];

static int slot_of(const char *name) {
  int i = 0;
  while (table[i].name && strcmp(table[i].name, name) != 0) i++;
  return i;
}

int xm_sig_number(const char *name) {
  return table[slot_of(name)].number;
}

const char *xm_sig_name(int i) {
  return table[i].name;
}

static void on_signal(uv_signal_t *uv, int number) {
  xm_sig *s = (xm_sig *)uv;
  (void)number;
  s->fn(s->arg);
}

static void on_closed(uv_handle_t *h) {
  free(h);
}

static int start(xm_sig *s, int number) {
  struct sigaction was;
  int rc;
  pthread_mutex_lock(&lock);
  sigaction(number, NULL, &was);
  rc = uv_signal_start(&s->uv, on_signal, number);
  if (rc == 0 && watchers[s->slot]++ == 0) before[s->slot] = was;
  pthread_mutex_unlock(&lock);
  return rc;
}

xm_sig *xm_sig_watch(xm_loop *l, int number, void (*fn)(void *arg), void *arg) {
  xm_sig *s = calloc(1, sizeof *s);
  if (!s || uv_signal_init(xm_loop_uv(l), &s->uv) != 0) return free(s), NULL;
  s->loop = l;
  s->fn = fn;
  s->arg = arg;
  while (table[s->slot].number != number) s->slot++;
  xm_loop_touch(l);
  if (start(s, number) == 0) return s;
  uv_close((uv_handle_t *)&s->uv, on_closed);
  return NULL;
}

void xm_sig_unwatch(xm_sig *s) {
  if (!s) return;
  pthread_mutex_lock(&lock);
  uv_signal_stop(&s->uv);
  if (--watchers[s->slot] == 0) sigaction(table[s->slot].number, &before[s->slot], NULL);
  pthread_mutex_unlock(&lock);
  xm_loop_touch(s->loop);
  uv_close((uv_handle_t *)&s->uv, on_closed);
}
