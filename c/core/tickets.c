#include "tickets.h"

#include <string.h>

static void drop(xm_tickets *k, int i) {
  if (k->list[i].session) k->release(k->list[i].session);
  xm_buf_free(&k->list[i].key);
  k->n--;
  memmove(&k->list[i], &k->list[i + 1], (size_t)(k->n - i) * sizeof *k->list);
}

static bool is_under(const xm_ticket *t, const xm_buf *key) {
  size_t n = xm_buf_len(key);
  return xm_buf_len(&t->key) == n && memcmp(xm_buf_at(&t->key), xm_buf_at(key), n) == 0;
}

/* Takes over session and key. */
static void append(xm_tickets *k, xm_ticket *t) {
  if (k->n == XM_TICKETS) drop(k, 0);
  k->list[k->n++] = *t;
  *t = (xm_ticket){.session = NULL};
}

static bool is_barred(const xm_tickets *k, const xm_buf *key, time_t now) {
  int i;
  for (i = 0; i < k->n; i++)
    if (!k->list[i].session && now < k->list[i].until && is_under(&k->list[i], key)) return true;
  return false;
}

void xm_tickets_put(xm_tickets *k, xm_ticket *t, time_t now) {
  if (!is_barred(k, &t->key, now)) return append(k, t);
  k->release(t->session);
  xm_buf_free(&t->key);
}

void xm_tickets_bar(xm_tickets *k, xm_buf *key, time_t until) {
  xm_ticket t = {.key = *key, .until = until};
  int i;
  for (i = k->n - 1; i >= 0; i--)
    if (is_under(&k->list[i], key)) drop(k, i);
  append(k, &t);
  *key = XM_BUF_INIT;
}

static bool is_usable(const xm_ticket *t, time_t now) {
  if (now < t->made || now >= t->until) return false;
  return t->lifetime == 0 || (unsigned long)(now - t->made) < t->lifetime;
}

void *xm_tickets_take(xm_tickets *k, const xm_buf *key, time_t now, time_t *until) {
  void *found = NULL;
  int i;
  for (i = k->n - 1; i >= 0 && !found; i--) {
    xm_ticket *t = &k->list[i];
    bool usable = is_usable(t, now);
    if (usable && (!t->session || !is_under(t, key))) continue;
    if (usable) {
      found = t->session;
      *until = t->until;
      t->session = NULL; /* the caller owns it now */
    }
    drop(k, i);
  }
  return found;
}

void xm_tickets_clear(xm_tickets *k) {
  while (k->n) drop(k, k->n - 1);
}
