/* bundle: the system's file of CAs, of which a certificate is read when somebody asks for its subject. Rank 1, tls's own: nobody
 * else includes it. To read them all at once is nine tenths of what the first connection of a process costs.
 *
 * What is trusted is what OpenSSL would trust that had read the whole file when the bundle was made: nothing is looked up
 * later on disk. A file that holds more than ordinary certificates, and one in which anything is out of order, is left to
 * OpenSSL, which takes all of a file or nothing. */
#ifndef XM_BUNDLE_H
#define XM_BUNDLE_H

#include <openssl/x509.h>
#include <stdbool.h>

typedef struct xm_bundle xm_bundle;

/* Where OpenSSL looks for it: what SSL_CERT_FILE says, or where it was built to look. */
const char *xm_bundle_path(void);

/* A store that shall have that file's certificates gets them, each when it is asked for. The bundle is the store's, and lives
 * as long. 0 with *made; XM_EINVAL: OpenSSL has to read it; XM_ENOMEM. */
int xm_bundle_give(X509_STORE *store, const char *path, xm_bundle **made);

/* Has memory run out when something was asked for? Then nobody knows whether it is there. NULL is fine for both. */
bool xm_bundle_was_short(const xm_bundle *b);
/* Before it is asked again: what is still due goes to the store. false: there is no memory for that. */
bool xm_bundle_mend(xm_bundle *b);

#endif
