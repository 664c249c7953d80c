#include "srv.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* By priority; within one, those with weight 0 first, as RFC 2782's algorithm requires. */
static int compare(const void *a, const void *b) {
  const xm_srv *x = a, *y = b;
  if (x->priority != y->priority) return x->priority < y->priority ? -1 : 1;
  return (x->weight > 0) - (y->weight > 0);
}

static int count_equals(const xm_srv *list, int n) {
  int k = 1;
  while (k < n && list[k].priority == list[0].priority) k++;
  return k;
}

/* RFC 2782: draws a number from 0 to the sum of all weights, both included, and returns the first target whose running
 * sum reaches it. */
static int draw(const xm_srv *list, int n, int (*dice)(void *, size_t)) {
  uint64_t sum = 0, number = 0;
  int i;
  for (i = 0; i < n; i++) sum += list[i].weight;
  if (dice(&number, sizeof number) < 0) number = 0;
  number %= sum + 1;
  for (i = 0, sum = list[0].weight; sum < number; sum += list[i].weight) i++;
  return i;
}

/* Moves target `i` to the front; the others keep their order. */
static void bring_to_front(xm_srv *list, int i) {
  xm_srv chosen = list[i];
  memmove(list + 1, list, (size_t)i * sizeof *list);
  list[0] = chosen;
}

bool xm_srv_is_host(const char *s) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  size_t n = strlen(s);
  return n >= 1 && n <= XM_SRV_NAME && strspn(s, letters) == n;
}

static bool is_zone(const char *s) {
  size_t n = strlen(s), i;
  for (i = 0; i < n; i++)
    if (s[i] <= ' ' || s[i] > '~' || s[i] == '/' || s[i] == '%') return false;
  return n >= 1 && n < IF_NAMESIZE;
}

bool xm_srv_is_ipv6(const char *s) {
  char text[INET6_ADDRSTRLEN] = "";
  struct in6_addr address;
  size_t n = strcspn(s, "%");
  if (n >= sizeof text || (s[n] && !is_zone(s + n + 1))) return false;
  memcpy(text, s, n);
  return inet_pton(AF_INET6, text, &address) == 1;
}

static int keep_dialable(xm_srv *list, int n) {
  int i, kept = 0;
  for (i = 0; i < n; i++) {
    if (list[i].port != 0 && xm_srv_is_host(list[i].host)) list[kept++] = list[i];
  }
  return kept;
}

int xm_srv_order(xm_srv *list, int n, int want, int (*dice)(void *bytes, size_t n)) {
  int i;
  n = keep_dialable(list, n);
  if (want > n) want = n;
  if (n > 1) qsort(list, (size_t)n, sizeof *list, compare);
  for (i = 0; i < want; i++) bring_to_front(list + i, draw(list + i, count_equals(list + i, n - i), dice));
  return want;
}
