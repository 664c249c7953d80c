/* scram_server: the server's computations in SCRAM (RFC 5802 section 3), independent of scram.c. */
#ifndef SCRAM_SERVER_H
#define SCRAM_SERVER_H

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "b64.h"
#include "buf.h"
#include "fuzz.h"
#include "scram.h"

enum { DIGEST = 64 };

static const EVP_MD *md_of(xm_scram_hash hash) {
  return hash == XM_SCRAM_SHA1 ? EVP_sha1() : hash == XM_SCRAM_SHA256 ? EVP_sha256() : EVP_sha512();
}

static size_t size_of(xm_scram_hash hash) {
  return hash == XM_SCRAM_SHA1 ? 20 : hash == XM_SCRAM_SHA256 ? 32 : 64;
}

static void hmac(xm_scram_hash hash, const void *key, const void *data, size_t n, unsigned char to[DIGEST]) {
  MUST(HMAC(md_of(hash), key, (int)size_of(hash), data, n, to, NULL));
}

/* Is the proof right for the password? Also computes the server's signature. */
static bool verify(xm_scram_hash hash, const unsigned char salted[DIGEST], const xm_buf *auth, const xm_buf *proof,
                   unsigned char signature[DIGEST]) {
  unsigned char client[DIGEST], stored[DIGEST], right[DIGEST], server[DIGEST];
  size_t i, n = size_of(hash);
  hmac(hash, salted, "Client Key", 10, client);
  MUST(EVP_Digest(client, n, stored, NULL, md_of(hash), NULL) == 1);
  hmac(hash, stored, xm_buf_at(auth), xm_buf_len(auth), right);
  for (i = 0; i < n; i++) right[i] ^= client[i];
  hmac(hash, salted, "Server Key", 10, server);
  hmac(hash, server, xm_buf_at(auth), xm_buf_len(auth), signature);
  return xm_buf_len(proof) == n && memcmp(xm_buf_at(proof), right, n) == 0;
}

/* The server's side of one exchange. */
typedef struct scram_server {
  xm_scram_hash hash;
  const char *password;
  xm_buf auth;         /* AuthMessage, as far as it has been exchanged */
  char signature[100]; /* in base64, when the client has proved that it knows the password; otherwise empty */
} scram_server;

/* The value of a message's attribute: from behind `key` (",s=") to the next comma. */
static const char *value_of(const char *s, size_t n, const char *key, size_t *len) {
  const char *at = memmem(s, n, key, strlen(key)), *end;
  *len = 0;
  if (!at) return NULL;
  at += strlen(key);
  end = memchr(at, ',', (size_t)(s + n - at));
  *len = (size_t)((end ? end : s + n) - at);
  return at;
}

static int number_of(const char *s, size_t n) {
  int number = 0;
  for (; n && *s >= '0' && *s <= '9' && number < 100000000; n--) number = number * 10 + *s++ - '0';
  return number;
}

/* The client has sent client-first-message: `bare` is what follows the GS2 header, from n= on. */
static void on_client_first(scram_server *s, const char *bare, size_t n) {
  xm_buf_free(&s->auth);
  *s->signature = '\0';
  MUST(xm_buf_put(&s->auth, bare, n) == XM_OK && xm_buf_putc(&s->auth, ',') == XM_OK);
}

/* The client has answered `first` with `final`. false: that is not the right answer for the password. */
static bool on_client_final(scram_server *s, const char *first, size_t first_len, const char *final, size_t n) {
  unsigned char salted[DIGEST] = {0}, signature[DIGEST];
  xm_buf salt = XM_BUF_INIT, proof = XM_BUF_INIT, text = XM_BUF_INIT;
  size_t salt_len, rounds_len, p_len;
  const char *salt_text = value_of(first, first_len, ",s=", &salt_len);
  const char *rounds = value_of(first, first_len, ",i=", &rounds_len), *p = value_of(final, n, ",p=", &p_len);
  bool ok = salt_text && rounds_len && p && p + p_len == final + n &&
            xm_b64_decode(&salt, salt_text, salt_len) == XM_OK && xm_b64_decode(&proof, p, p_len) == XM_OK;
  if (ok) {
    MUST(xm_buf_put(&s->auth, first, first_len) == XM_OK && xm_buf_putc(&s->auth, ',') == XM_OK);
    MUST(xm_buf_put(&s->auth, final, (size_t)(p - final) - 3) == XM_OK);
    PKCS5_PBKDF2_HMAC(s->password, (int)strlen(s->password), (unsigned char *)xm_buf_at(&salt), (int)xm_buf_len(&salt),
                      number_of(rounds, rounds_len), md_of(s->hash), (int)size_of(s->hash), salted);
    ok = verify(s->hash, salted, &s->auth, &proof, signature);
  }
  if (ok) {
    MUST(xm_b64_encode(&text, signature, size_of(s->hash)) == XM_OK && xm_buf_putc(&text, '\0') == XM_OK);
    memcpy(s->signature, xm_buf_at(&text), xm_buf_len(&text));
  }
  xm_buf_free(&salt);
  xm_buf_free(&proof);
  xm_buf_free(&text);
  return ok;
}

#endif
