/* dns_sock: the sockets that c-ares asks name servers through. Rank 2: dns's own. */
#ifndef XM_DNS_SOCK_H
#define XM_DNS_SOCK_H

#include <ares.h>

/* From then on no write of this channel raises SIGPIPE. */
void xm_dns_sock_quiet(ares_channel channel);

#endif
