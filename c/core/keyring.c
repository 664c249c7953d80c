#include "keyring.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "buf.h"
#include "has.h"
#include "rnd.h"

typedef struct entry {
  xm_keyring_name name;
  unsigned char keys[XM_KEYRING_SIZE];
  uint64_t used; /* when last, by `clock`; 0: never, so it is free */
} entry;

/* After a fork it is all zero, and no longer locked: then it is made ready anew. */
typedef struct ring {
  bool ready;
  unsigned char secret[XM_KEYRING_NAME];
  uint64_t clock;
  entry entries[XM_KEYRING_MOST];
} ring;

typedef struct token_entry {
  xm_keyring_name name;
  xm_token_slot slot;
  xm_token token;
  uint64_t used; /* as above */
} token_entry;

/* A mapping of its own, made when the first token comes: most programs have none, and locked memory is scarce. */
typedef struct token_ring {
  bool ready;
  token_entry entries[XM_KEYRING_TOKENS];
} token_ring;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* for what follows */
static ring *the; /* NULL: none */
static token_ring *tokens;
static unsigned holders;

#if XM_HAS_HIDDEN_MEMORY

#ifdef MADV_DONTDUMP
enum { NOT_DUMPED = MADV_DONTDUMP };
#else
enum { NOT_DUMPED = MADV_NOCORE };
#endif

static bool wipe_on_fork(void *p, size_t n) {
#ifdef MADV_WIPEONFORK
  return madvise(p, n, MADV_WIPEONFORK) == 0;
#else
  return minherit(p, n, INHERIT_ZERO) == 0;
#endif
}

#endif

/* Keeps it from being read elsewhere: in swap space, in a core dump or in a child. */
static bool hide(void *p, size_t n) {
#if XM_HAS_HIDDEN_MEMORY
  return mlock(p, n) == 0 && madvise(p, n, NOT_DUMPED) == 0 && wipe_on_fork(p, n);
#else
  return (void)p, (void)n, false;
#endif
}

static void *map(size_t n) {
  void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

static void unmap(void *p, size_t n) {
  if (!p) return;
  xm_wipe(p, n);
  munmap(p, n);
}

static void forget_tokens(void) {
  unmap(tokens, sizeof *tokens);
  tokens = NULL;
}

/* The tokens go, too: their names are worth nothing without the secret with which these were made. */
static void forget(void) {
  unmap(the, sizeof *the);
  the = NULL;
  forget_tokens();
}

static bool make_ready(void) {
  if (!the) the = map(sizeof *the);
  if (!the || the->ready) return the != NULL;
  the->ready = hide(the, sizeof *the) && xm_rnd_bytes(the->secret, sizeof the->secret) == XM_OK;
  if (!the->ready) forget();
  return the != NULL;
}

static bool make_tokens_ready(void) {
  if (!tokens) tokens = map(sizeof *tokens);
  if (!tokens || tokens->ready) return tokens != NULL;
  tokens->ready = hide(tokens, sizeof *tokens);
  if (!tokens->ready) forget_tokens();
  return tokens != NULL;
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

/* One that is free, or the one used longest ago. */
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

static bool is_token(const token_entry *at, const xm_keyring_name *name, xm_token_slot slot) {
  return at->used && at->slot == slot && memcmp(at->name.bytes, name->bytes, sizeof name->bytes) == 0;
}

static token_entry *find_token(const xm_keyring_name *name, xm_token_slot slot) {
  int i;
  for (i = 0; tokens && tokens->ready && i < XM_KEYRING_TOKENS; i++)
    if (is_token(&tokens->entries[i], name, slot)) return &tokens->entries[i];
  return NULL;
}

static token_entry *make_room_for_token(void) {
  token_entry *least = tokens->entries;
  int i;
  for (i = 1; i < XM_KEYRING_TOKENS; i++)
    if (tokens->entries[i].used < least->used) least = &tokens->entries[i];
  return least;
}

bool xm_keyring_token(const xm_keyring_name *name, xm_token_slot slot, xm_token *token) {
  token_entry *at;
  pthread_mutex_lock(&mutex);
  at = find_token(name, slot);
  if (at) at->used = ++the->clock;
  if (at) memcpy(token, &at->token, sizeof *token);
  pthread_mutex_unlock(&mutex);
  return at != NULL;
}

bool xm_keyring_put_token(const xm_keyring_name *name, xm_token_slot slot, const xm_token *token) {
  token_entry *at = NULL;
  pthread_mutex_lock(&mutex);
  if (the && the->ready && make_tokens_ready()) {
    at = find_token(name, slot);
    if (!at) at = make_room_for_token();
    at->name = *name;
    at->slot = slot;
    memcpy(&at->token, token, sizeof *token);
    at->used = ++the->clock;
  }
  pthread_mutex_unlock(&mutex);
  return at != NULL;
}

void xm_keyring_drop_token(const xm_keyring_name *name, xm_token_slot slot) {
  token_entry *at;
  pthread_mutex_lock(&mutex);
  at = find_token(name, slot);
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
