#include "keyring.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "buf.h"
#include "rnd.h"

typedef struct entry {
  xm_keyring_name name;
  unsigned char keys[XM_KEYRING_SIZE];
  uint64_t used; /* when, by `clock`; 0: never, it is free */
} entry;

/* All zero after a fork, and then no longer locked: made ready anew. */
typedef struct ring {
  bool ready;
  unsigned char secret[XM_KEYRING_NAME];
  uint64_t clock;
  entry entries[XM_KEYRING_MOST];
} ring;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* for what follows */
static ring *the; /* NULL: none */
static unsigned holders;

/* Not to be read by anybody else, be it in swap space, in a core dump or in a child. */
static bool hide(void *p, size_t n) {
  if (mlock(p, n) != 0) return false;
#if defined MADV_DONTDUMP
  if (madvise(p, n, MADV_DONTDUMP) != 0) return false;
#elif defined MADV_NOCORE /* FreeBSD */
  if (madvise(p, n, MADV_NOCORE) != 0) return false;
#else
  return false;
#endif
#if defined MADV_WIPEONFORK
  return madvise(p, n, MADV_WIPEONFORK) == 0;
#elif defined INHERIT_ZERO /* FreeBSD, OpenBSD */
  return minherit(p, n, INHERIT_ZERO) == 0;
#else
  return false;
#endif
}

static void forget(void) {
  if (!the) return;
  xm_wipe(the, sizeof *the);
  munmap(the, sizeof *the);
  the = NULL;
}

static bool make_ready(void) {
  if (!the) the = mmap(NULL, sizeof *the, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (the == MAP_FAILED) the = NULL;
  if (!the || the->ready) return the != NULL;
  the->ready = hide(the, sizeof *the) && xm_rnd_bytes(the->secret, sizeof the->secret) == XM_OK;
  if (!the->ready) forget();
  return the != NULL;
}

static entry *find(const xm_keyring_name *name) {
  int i;
  if (!the || !the->ready) return NULL;
  for (i = 0; i < XM_KEYRING_MOST; i++) {
    entry *at = &the->entries[i];
    if (at->used && memcmp(at->name.bytes, name->bytes, sizeof name->bytes) == 0) return at;
  }
  return NULL;
}

/* Free, or used longest ago. */
static entry *make_room(void) {
  entry *least = the->entries;
  int i;
  for (i = 1; i < XM_KEYRING_MOST; i++)
    if (the->entries[i].used < least->used) least = &the->entries[i];
  return least;
}

bool xm_keyring_name_of(const void *bytes, size_t n, xm_keyring_name *name) {
  bool named;
  pthread_mutex_lock(&mutex);
  named = make_ready() && EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, the->secret, sizeof the->secret, bytes, n,
                                    name->bytes, sizeof name->bytes, NULL) != NULL;
  pthread_mutex_unlock(&mutex);
  return named;
}

bool xm_keyring_get(const xm_keyring_name *name, unsigned char keys[XM_KEYRING_SIZE]) {
  entry *at;
  pthread_mutex_lock(&mutex);
  at = find(name);
  if (at) at->used = ++the->clock;
  if (at) memcpy(keys, at->keys, XM_KEYRING_SIZE);
  pthread_mutex_unlock(&mutex);
  return at != NULL;
}

void xm_keyring_put(const xm_keyring_name *name, const unsigned char keys[XM_KEYRING_SIZE]) {
  entry *at;
  pthread_mutex_lock(&mutex);
  at = find(name);
  if (!at && the && the->ready) at = make_room();
  if (at) {
    at->name = *name;
    memcpy(at->keys, keys, XM_KEYRING_SIZE);
    at->used = ++the->clock;
  }
  pthread_mutex_unlock(&mutex);
}

void xm_keyring_drop(const xm_keyring_name *name) {
  entry *at;
  pthread_mutex_lock(&mutex);
  at = find(name);
  if (at) xm_wipe(at, sizeof *at);
  pthread_mutex_unlock(&mutex);
}

void xm_keyring_forget(void) {
  pthread_mutex_lock(&mutex);
  forget();
  pthread_mutex_unlock(&mutex);
}

void xm_keyring_hold(void) {
  pthread_mutex_lock(&mutex);
  holders++;
  pthread_mutex_unlock(&mutex);
}

void xm_keyring_release(void) {
  pthread_mutex_lock(&mutex);
  if (--holders == 0) forget();
  pthread_mutex_unlock(&mutex);
}
