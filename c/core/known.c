#include "known.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

typedef struct entry {
  uint64_t met; /* 0: free */
  size_t key_len;
  unsigned char key[XM_KNOWN_KEY];
  xm_known is;
} entry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static entry table[XM_KNOWN_SERVERS];
static uint64_t meetings;

static entry *find(const void *key, size_t n) {
  int i;
  for (i = 0; i < XM_KNOWN_SERVERS; i++)
    if (table[i].met && table[i].key_len == n && memcmp(table[i].key, key, n) == 0) return &table[i];
  return NULL;
}

static entry *longest_ago(void) {
  entry *e = table;
  int i;
  for (i = 1; i < XM_KNOWN_SERVERS; i++)
    if (table[i].met < e->met) e = &table[i];
  return e;
}

/* The server's entry, made if there is none. NULL: the key is too long. */
static entry *meet(const void *key, size_t n) {
  entry *e = find(key, n);
  if (n > XM_KNOWN_KEY) return NULL;
  if (!e) {
    e = longest_ago();
    *e = (entry){.key_len = n};
    memcpy(e->key, key, n);
  }
  e->met = ++meetings;
  return e;
}

void xm_known_get(const void *key, size_t n, xm_known *k) {
  entry *e;
  pthread_mutex_lock(&lock);
  e = find(key, n);
  if (e) e->met = ++meetings;
  *k = e ? e->is : (xm_known){0};
  pthread_mutex_unlock(&lock);
}

void xm_known_offer(const void *key, size_t n, const char *offer, size_t len, bool sasl2, unsigned inside) {
  entry *e;
  pthread_mutex_lock(&lock);
  e = meet(key, n);
  if (e) e->is.n = len <= XM_KNOWN_OFFER ? len : 0;
  if (e && e->is.n) memcpy(e->is.offer, offer, len);
  if (e) e->is.offer_is_sasl2 = sasl2;
  if (e) e->is.inside = inside;
  pthread_mutex_unlock(&lock);
}

void xm_known_objection(const void *key, size_t n, unsigned bits, bool sure) {
  entry *e;
  pthread_mutex_lock(&lock);
  e = meet(key, n);
  if (e) e->is.objected |= sure ? bits : bits & e->is.suspected;
  if (e) e->is.suspected |= bits;
  pthread_mutex_unlock(&lock);
}

void xm_known_success(const void *key, size_t n, unsigned bits, unsigned detours, bool sasl2) {
  entry *e;
  pthread_mutex_lock(&lock);
  e = meet(key, n);
  if (e) e->is.met = true;
  if (e) e->is.suspected &= ~bits;
  if (e) e->is.detours = detours;
  if (e && sasl2) e->is.sasl2 = true;
  pthread_mutex_unlock(&lock);
}

void xm_known_pardon(const void *key, size_t n, unsigned bits) {
  entry *e;
  pthread_mutex_lock(&lock);
  e = find(key, n);
  if (e) e->is.objected -= e->is.objected & bits;
  if (e) e->is.suspected -= e->is.suspected & bits;
  pthread_mutex_unlock(&lock);
}

void xm_known_clear(void) {
  pthread_mutex_lock(&lock);
  memset(table, 0, sizeof table);
  meetings = 0;
  pthread_mutex_unlock(&lock);
}
