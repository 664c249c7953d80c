/* cert: is this certificate for that name? (RFC 6120 13.7.1, RFC 9525). Rank 1: used by tls only.
 *
 * A certificate fits a domain by a dNSName (a wildcard may be its whole left-most label), by an SRVName
 * "_xmpp-client.domain" (RFC 4985) or by an xmppAddr "domain" (RFC 6120 13.7.1.4); an IP address only by an iPAddress.
 * The common name is never looked at. */
#ifndef XM_CERT_H
#define XM_CERT_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

/* `name` is ASCII, as in DNS, or an IP address. */
bool xm_cert_is_for(X509 *cert, const char *name);

/* Do the CAs above the first certificate of the chain permit that domain? A CA may be restricted to some host names
 * (RFC 5280 4.2.1.10), and OpenSSL checks only dNSNames, as they are spelled, against that: neither an SRVName nor an
 * xmppAddr, nor the names that a wildcard covers. `name` is ASCII, as in DNS. */
bool xm_cert_may_name(const STACK_OF(X509) *chain, const char *name);

/* Does it have this xmppAddr, byte for byte? */
bool xm_cert_has_address(X509 *cert, const char *jid, size_t n);

/* Does it have xmppAddrs other than `jid`? (For a client's certificate.) */
bool xm_cert_names_others(X509 *cert, const char *jid, size_t n);

/* Writes the names that it is for, for an error text: "a.example, *.b.example, ..."; those that don't fit are left out;
 * "no names at all" if that leaves none. Printable ASCII only. */
void xm_cert_list_names(X509 *cert, char *to, size_t cap);

/* Does the dNSName `pattern` cover `name`? Case and a trailing dot don't matter. */
bool xm_cert_dns_matches(const char *pattern, size_t n, const char *name);

#endif
