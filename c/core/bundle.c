#include "bundle.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "b64.h"
#include "der.h"
#include "err.h"
#include "has.h"

enum {
  MAX_FILE = 4 << 20, /* bytes; those of common systems have 200 to 500 KB */
  MAX_LINE = 250,     /* outside of certificates: OpenSSL splits longer ones */
  FULL_LINE = 64,     /* characters of base64 (RFC 7468 2) */
};

#define BEGIN "-----BEGIN CERTIFICATE-----"
#define END "-----END CERTIFICATE-----"

typedef struct entry {
  size_t at, n;       /* its place in `ders` */
  size_t name, len;   /* the place of its subject there */
  uint32_t hash;      /* of the subject, see der.h */
  bool due;           /* it was asked for, and isn't in the store yet */
} entry;

struct xm_bundle {
  X509_STORE *store; /* the owner */
  xm_buf ders;
  entry *list;
  size_t n, cap;
  bool is_short; /* of memory: something that was asked for is still due, or could not be looked up */
};

/* The file. */

/* As OpenSSL does: the environment is ignored by a program that has more rights than whoever calls it (setuid). */
static const char *variable(const char *name) {
#if XM_HAS_SECURE_GETENV
  return secure_getenv(name);
#elif XM_HAS_ISSETUGID
  return issetugid() ? NULL : getenv(name);
#else
  return getuid() == geteuid() && getgid() == getegid() ? getenv(name) : NULL;
#endif
}

const char *xm_bundle_path(void) {
  const char *path = variable(X509_get_default_cert_file_env());
  return path ? path : X509_get_default_cert_file();
}

static int read_all(int fd, xm_buf *text) {
  ssize_t n;
  struct stat is;
  if (fstat(fd, &is) != 0 || !S_ISREG(is.st_mode) || is.st_size > MAX_FILE) return XM_EINVAL;
  if (!xm_buf_reserve(text, (size_t)is.st_size + 1)) return XM_ENOMEM; /* one more, to notice the end */
  while ((n = read(fd, text->data + text->last, text->cap - text->last)) > 0) xm_buf_commit(text, (size_t)n);
  return n == 0 && xm_buf_len(text) <= (size_t)is.st_size ? XM_OK : XM_EINVAL;
}

static int read_file(const char *path, xm_buf *text) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;
  if (fd < 0) return XM_EINVAL;
  rc = read_all(fd, text);
  close(fd);
  return rc;
}

/* Its lines. */

typedef struct line {
  const char *at;
  size_t n;
} line;

static bool next_line(xm_buf *text, line *l) {
  const char *at = xm_buf_at(text), *end;
  if (xm_buf_len(text) == 0) return false;
  end = memchr(at, '\n', xm_buf_len(text));
  l->at = at;
  l->n = end ? (size_t)(end - at) : xm_buf_len(text);
  xm_buf_consume(text, l->n + (end != NULL));
  if (l->n && at[l->n - 1] == '\r') l->n--;
  return true;
}

static bool says(const line *l, const char *what) {
  return l->n == strlen(what) && memcmp(l->at, what, l->n) == 0;
}

/* Reads the lines of base64 up to END, in the form that everybody writes: every line but the last is full. */
static int read_lines(xm_buf *text, xm_buf *der) {
  bool was_last = false;
  line l;
  while (next_line(text, &l)) {
    int rc;
    if (says(&l, END)) return XM_OK;
    if (was_last || l.n == 0 || l.n > FULL_LINE) return XM_EINVAL;
    was_last = l.n < FULL_LINE || l.at[l.n - 1] == '=';
    rc = xm_b64_decode(der, l.at, l.n);
    if (rc < 0) return rc;
  }
  return XM_EINVAL;
}

static int add_entry(xm_bundle *b, const entry *e) {
  size_t cap = b->cap ? 2 * b->cap : 64;
  if (b->n == b->cap) {
    entry *list = realloc(b->list, cap * sizeof *list);
    if (!list) return XM_ENOMEM;
    b->list = list;
    b->cap = cap;
  }
  b->list[b->n++] = *e;
  return XM_OK;
}

static const unsigned char *bytes_at(const xm_bundle *b, size_t at) {
  return (const unsigned char *)xm_buf_at(&b->ders) + at;
}

static int read_certificate(xm_bundle *b, xm_buf *text) {
  entry e = {.at = xm_buf_len(&b->ders)};
  xm_der subject;
  int rc = read_lines(text, &b->ders);
  if (rc < 0) return rc;
  e.n = xm_buf_len(&b->ders) - e.at;
  if (!xm_der_certificate((xm_der){bytes_at(b, e.at), e.n}, &subject)) return XM_EINVAL;
  xm_der_hash_name(subject, &e.hash);
  e.name = (size_t)(subject.at - bytes_at(b, 0));
  e.len = subject.n;
  return add_entry(b, &e);
}

static int read_certificates(xm_bundle *b, xm_buf *text) {
  int rc = XM_OK;
  line l;
  if (memchr(xm_buf_at(text), '\0', xm_buf_len(text))) return XM_EINVAL;
  if (!xm_buf_reserve(&b->ders, xm_buf_len(text) / 4 * 3)) return XM_ENOMEM;
  while (rc == XM_OK && next_line(text, &l)) {
    if (says(&l, BEGIN))
      rc = read_certificate(b, text);
    else if (l.n > MAX_LINE || (l.n >= 5 && memcmp(l.at, "-----", 5) == 0))
      rc = XM_EINVAL;
  }
  return rc == XM_OK && b->n == 0 ? XM_EINVAL : rc;
}

static void free_bundle(xm_bundle *b) {
  if (!b) return;
  xm_buf_free(&b->ders);
  free(b->list);
  free(b);
}

static int read_bundle(const char *path, xm_bundle **to) {
  xm_buf text = XM_BUF_INIT;
  xm_bundle *b = calloc(1, sizeof *b);
  int rc = b ? read_file(path, &text) : XM_ENOMEM;
  if (rc == XM_OK) rc = read_certificates(b, &text);
  xm_buf_free(&text);
  if (rc == XM_OK) return *to = b, XM_OK;
  free_bundle(b);
  return rc;
}

/* Lookups. */

/* True also where it can't be known for want of memory. */
static bool may_have_subject(const xm_bundle *b, const entry *e, const X509_NAME *name) {
  const unsigned char *p = bytes_at(b, e->name);
  X509_NAME *subject = d2i_X509_NAME(NULL, &p, (long)e->len);
  bool may = !subject || X509_NAME_cmp(subject, name) == 0;
  X509_NAME_free(subject);
  return may;
}

static X509 *read_entry(const xm_bundle *b, const entry *e) {
  const unsigned char *p = bytes_at(b, e->at);
  return d2i_X509(NULL, &p, (long)e->n);
}

/* OpenSSL remembers for good that it couldn't parse a public key, as if its kind were unknown. The reason may have been
 * a lack of memory, so the certificate is then parsed once more. */
static bool add_certificate(const xm_bundle *b, const entry *e) {
  X509 *cert = read_entry(b, e);
  bool added;
  if (cert && !X509_get0_pubkey(cert)) {
    X509_free(cert);
    cert = read_entry(b, e);
  }
  added = cert && X509_STORE_add_cert(b->store, cert) == 1;
  X509_free(cert);
  return added;
}

static bool add_due(xm_bundle *b) {
  bool all = true;
  size_t i;
  for (i = 0; i < b->n; i++) {
    if (b->list[i].due) b->list[i].due = !add_certificate(b, &b->list[i]);
    all = all && !b->list[i].due;
  }
  return all;
}

/* Adds all certificates of the file with that subject to the store at once: OpenSSL considers all that a store has for
 * a subject, and does no lookup where it has one already. A few others may be added along with them (the hash is
 * short), which are trusted just the same. */
static void ask_for(xm_bundle *b, const X509_NAME *name) {
  xm_der der;
  uint32_t hash;
  bool hashed;
  size_t i;
  if (!X509_NAME_get0_der(name, &der.at, &der.n)) {
    b->is_short = true;
    return;
  }
  hashed = xm_der_hash_name(der, &hash);
  for (i = 0; i < b->n; i++)
    if (hashed ? b->list[i].hash == hash : may_have_subject(b, &b->list[i], name)) b->list[i].due = true;
  if (!add_due(b)) b->is_short = true;
}

/* Lends out the store's certificate: OpenSSL's function that calls this one takes a reference of its own. */
static bool take_from(X509_STORE *store, const X509_NAME *name, X509_OBJECT *to) {
  X509_OBJECT *found;
  bool done = false;
  X509_STORE_lock(store);
  found = X509_OBJECT_retrieve_by_subject(X509_STORE_get0_objects(store), X509_LU_X509, name);
  if (found && X509_OBJECT_set1_X509(to, X509_OBJECT_get0_X509(found)) == 1) {
    X509_free(X509_OBJECT_get0_X509(found));
    done = true;
  }
  X509_STORE_unlock(store);
  return done;
}

static int by_subject(X509_LOOKUP *l, X509_LOOKUP_TYPE type, const X509_NAME *name, X509_OBJECT *to) {
  xm_bundle *b = X509_LOOKUP_get_method_data(l);
  if (!b || type != X509_LU_X509) return 0;
  ERR_set_mark();
  ask_for(b, name);
  ERR_pop_to_mark(); /* xm_bundle_was_short tells; it must not be taken for why a handshake failed */
  return take_from(b->store, name, to);
}

static void end_lookup(X509_LOOKUP *l) {
  free_bundle(X509_LOOKUP_get_method_data(l));
}

static _Atomic(X509_LOOKUP_METHOD *) method; /* one for the process and all of its threads; freed on unloading */

__attribute__((destructor)) static void free_method(void) {
  X509_LOOKUP_meth_free(method);
}

/* NULL: no memory; the next call tries again. */
static X509_LOOKUP_METHOD *get_method(void) {
  X509_LOOKUP_METHOD *there = atomic_load(&method), *m;
  if (there) return there;
  m = X509_LOOKUP_meth_new("xmpp");
  if (!m) return NULL;
  X509_LOOKUP_meth_set_get_by_subject(m, by_subject);
  X509_LOOKUP_meth_set_free(m, end_lookup);
  if (atomic_compare_exchange_strong(&method, &there, m)) return m;
  X509_LOOKUP_meth_free(m); /* another thread was faster */
  return there;
}

int xm_bundle_give(X509_STORE *store, const char *path, xm_bundle **made) {
  X509_LOOKUP_METHOD *m = get_method();
  X509_LOOKUP *lookup;
  int rc = m ? read_bundle(path, made) : XM_ENOMEM;
  if (rc < 0) return rc;
  (*made)->store = store;
  lookup = X509_STORE_add_lookup(store, m);
  if (lookup && X509_LOOKUP_set_method_data(lookup, *made) == 1) return XM_OK;
  free_bundle(*made);
  return XM_ENOMEM;
}

bool xm_bundle_was_short(const xm_bundle *b) {
  return b && b->is_short;
}

bool xm_bundle_mend(xm_bundle *b) {
  if (b && b->is_short) b->is_short = !add_due(b);
  return !xm_bundle_was_short(b);
}
