#include "tickets.h"

#include <string.h>

static void drop(xm_tickets *k, int i) {
  SSL_SESSION_free(k->list[i].session); /* wipes its secret, when nobody else has it */
  xm_buf_free(&k->list[i].key);
  k->n--;
  memmove(&k->list[i], &k->list[i + 1], (size_t)(k->n - i) * sizeof *k->list);
}

static bool is_under(const xm_ticket *t, const xm_buf *key) {
  size_t n = xm_buf_len(key);
  return xm_buf_len(&t->key) == n && memcmp(xm_buf_at(&t->key), xm_buf_at(key), n) == 0;
}

static void append(xm_tickets *k, SSL_SESSION *session, xm_buf *key, time_t until) {
  if (k->n == XM_TICKETS) drop(k, 0);
  k->list[k->n++] = (xm_ticket){session, *key, until};
  *key = XM_BUF_INIT;
}

static bool is_barred(const xm_tickets *k, const xm_buf *key, time_t now) {
  int i;
  for (i = 0; i < k->n; i++)
    if (!k->list[i].session && now < k->list[i].until && is_under(&k->list[i], key)) return true;
  return false;
}

void xm_tickets_put(xm_tickets *k, SSL_SESSION *session, xm_buf *key, time_t now, time_t until) {
  if (!is_barred(k, key, now)) return append(k, session, key, until);
  SSL_SESSION_free(session);
  xm_buf_free(key);
}

void xm_tickets_bar(xm_tickets *k, xm_buf *key, time_t until) {
  int i;
  for (i = k->n - 1; i >= 0; i--)
    if (is_under(&k->list[i], key)) drop(k, i);
  append(k, NULL, key, until);
}

static bool is_usable(const xm_ticket *t, time_t now) {
  time_t made = t->session ? (time_t)SSL_SESSION_get_time(t->session) : now;
  unsigned long hint = t->session ? SSL_SESSION_get_ticket_lifetime_hint(t->session) : 0;
  if (now < made || now >= t->until || (t->session && !SSL_SESSION_is_resumable(t->session))) return false;
  return hint == 0 || (unsigned long)(now - made) < hint;
}

SSL_SESSION *xm_tickets_take(xm_tickets *k, const xm_buf *key, time_t now, time_t *until) {
  SSL_SESSION *found = NULL;
  int i;
  for (i = k->n - 1; i >= 0 && !found; i--) {
    bool usable = is_usable(&k->list[i], now);
    if (usable && (!k->list[i].session || !is_under(&k->list[i], key))) continue;
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
