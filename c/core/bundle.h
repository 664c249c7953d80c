/* bundle: the system's file of CA certificates, each of which is parsed only when its subject is looked up. Rank 1:
 * used by tls only. Parsing all of them at once makes up nine tenths of the cost of a process's first connection.
 *
 * What is trusted is what OpenSSL would trust if it had read the whole file when the bundle was made: nothing is looked
 * up on disk later. A file that holds anything else than ordinary certificates, or in which something is malformed, is
 * left to OpenSSL, which takes all of a file or nothing. */
#ifndef XM_BUNDLE_H
#define XM_BUNDLE_H

#include <openssl/x509.h>
#include <stdbool.h>

typedef struct xm_bundle xm_bundle;

/* The path at which OpenSSL looks for the file: the value of SSL_CERT_FILE, or the built-in default. */
const char *xm_bundle_path(void);

/* Gives the file's certificates to a store, each one when it is looked up. The bundle belongs to the store and is freed
 * with it. 0 and *made; XM_EINVAL: OpenSSL has to read the file; XM_ENOMEM. */
int xm_bundle_give(X509_STORE *store, const char *path, xm_bundle **made);

/* Did memory run out during a lookup? Then it isn't known whether the certificate is there. NULL is allowed for
 * both. */
bool xm_bundle_was_short(const xm_bundle *b);
/* Before the next lookup: adds to the store what is still due. false: there is no memory for that. */
bool xm_bundle_mend(xm_bundle *b);

#endif
