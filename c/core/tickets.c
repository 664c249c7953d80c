#include "tickets.h"

#include <string.h>

static void drop(xm_tickets *k, int i) {
  SSL_SESSION_free(k->list[i].session); /* wipes its secret, when nobody else has it */
  xm_buf_free(&k->list[i].key);
  k->n--;
  memmove(&k->list[i], &k->list[i + 1], (size_t)(k->n - i) * sizeof *k->list);
}

void xm_tickets_put(xm_tickets *k, SSL_SESSION *session, xm_buf *key, time_t until) {
  if (k->n == XM_TICKETS) drop(k, 0);
  k->list[k->n++] = (xm_ticket){session, *key, until};
  *key = XM_BUF_INIT;
}

static bool is_usable(const xm_ticket *t, time_t now) {
  time_t made = (time_t)SSL_SESSION_get_time(t->session);
  unsigned long hint = SSL_SESSION_get_ticket_lifetime_hint(t->session);
  if (now < made || now >= t->until || !SSL_SESSION_is_resumable(t->session)) return false;
  return hint == 0 || (unsigned long)(now - made) < hint;
}

static bool is_under(const xm_ticket *t, const xm_buf *key) {
  size_t n = xm_buf_len(key);
  return xm_buf_len(&t->key) == n && memcmp(xm_buf_at(&t->key), xm_buf_at(key), n) == 0;
}

SSL_SESSION *xm_tickets_take(xm_tickets *k, const xm_buf *key, time_t now, time_t *until) {
  SSL_SESSION *found = NULL;
  int i;
  for (i = k->n - 1; i >= 0 && !found; i--) {
    bool usable = is_usable(&k->list[i], now);
    if (usable && !is_under(&k->list[i], key)) continue;
    if (usable) {
      found = k->list[i].session;
      *until = k->list[i].until;
      SSL_SESSION_up_ref(found);
    }
    drop(k, i);
  }
  return found;
}

void xm_tickets_clear(xm_tickets *k) {
  while (k->n) drop(k, k->n - 1);
}
