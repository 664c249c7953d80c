#include "rnd.h"

#include <openssl/rand.h>

#include "err.h"

int xm_rnd_bytes(void *p, size_t n) {
  return RAND_bytes(p, (int)n) == 1 ? XM_OK : XM_EFAIL;
}

int xm_rnd_id(char id[XM_RND_ID + 1]) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  unsigned char raw[XM_RND_ID]; /* six bits of each are used: 144 in all */
  int i;
  if (xm_rnd_bytes(raw, sizeof raw) < 0) return XM_EFAIL;
  for (i = 0; i < XM_RND_ID; i++) id[i] = alphabet[raw[i] & 63];
  id[XM_RND_ID] = '\0';
  return XM_OK;
}
