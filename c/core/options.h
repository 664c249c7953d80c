/* options: what a connection is asked for. Rank 2: knows bounds, jid, keyring, retry, tls, tunnel. A header only: filled in by
 * the binding, kept by conn, read by link. */
#ifndef XM_OPTIONS_H
#define XM_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "bounds.h"
#include "jid.h"
#include "keyring.h"
#include "retry.h"
#include "tls.h"
#include "tunnel.h"

typedef enum xm_tls_policy { XM_TLS_STARTTLS, XM_TLS_DIRECT, XM_TLS_NONE } xm_tls_policy;

/* What may be said before it is asked for (XEP-0305): nothing; where a login has succeeded before, so that the server is known
 * to take it or to have objected; to strangers, too, where it is safe. */
typedef enum xm_pipelining { XM_PIPELINING_NONE, XM_PIPELINING_KNOWN, XM_PIPELINING_EAGER } xm_pipelining;

/* Strings are copied. Times are milliseconds, sizes bytes. All zero is not a valid set: see xm_conn_defaults. */
typedef struct xm_conn_options {
  bool component;          /* XEP-0114: jid is the component's domain, password its secret */
  const xm_jid *jid;
  const char *password;    /* NULL: EXTERNAL or ANONYMOUS will do */
  size_t password_len;
  const char *host;        /* dial this and nothing else; NULL: SRV, then the JID's domain */
  int port;
  xm_proxy proxy;          /* what it is connected through; host NULL: nothing */
  xm_keyring_name via;     /* has_via: which proxy that is, and who to it, for what remembers servers; conn fills it in. */
  bool has_via;            /* Else nothing is remembered of one behind a proxy */
  const char *url;         /* that of a WebSocket, which was looked at: instead of host and port; NULL: TCP */
  xm_tls_policy tls;
  xm_tls_ctx *tls_ctx;     /* held; may be NULL with XM_TLS_NONE */
  const char *tls_name;    /* the certificate must be for this; NULL: the JID's domain */
  const char *pin;
  const char *lang, *mechanisms, *nameservers;
  bool plain, pinned;      /* PLAIN may be used; not for this account any more, which has used something better */
  bool bound;              /* this account has logged in bound to the channel: nothing less any more */
  xm_pipelining pipelining;
  bool remember;           /* what makes the next login cheaper: a TLS session, keys of SCRAM */
  bool log;                /* keep what goes over the wire for xm_conn_log */
  bool see_other_host;     /* go where the server says, at most 3 times in a row (RFC 6120 4.9.3.19) */
  bool sasl2;              /* SASL2, where the server has it (XEP-0388); */
  const char *agent, *software, *device; /* of its <user-agent/>: a UUID, and what people may read. NULL: not said */
  bool bind2;              /* the resource is bound by Bind 2, where it has that (XEP-0386), and not the JID's; */
  const char *tag;         /* a short name in it; NULL: none */
  bool carbons, inactive;  /* and carbons are on with it (XEP-0280); nobody uses the client (XEP-0352) */
  bool fast;               /* a token is asked for, and kept for the next login (XEP-0484); needs `agent` */
  const xm_token *token;   /* one of an earlier process's; NULL: none */
  bool invalidate;         /* and it is shown for the last time */
  bool sm;                 /* stream management, where the server has it (XEP-0198) */
  bool resumable;          /* and a session that it keeps when the link breaks */
  xm_retry_policy reconnect;
  unsigned timeout;        /* to be READY within; each phase has at most half of it */
  unsigned keepalive;      /* the server is asked for a sign of life after so long without a send; 0: never */
  bool keepalive_probe;    /* and a component sends itself messages when nothing has come for so long; three that don't come back
                              in a row, each within `patience`, end the link */
  unsigned patience;       /* an acknowledgement, or that sign, is waited for so long */
  unsigned max_age;        /* what has waited longer isn't sent in a new session but comes back */
  xm_bounds bounds;        /* of stanzas, both ways, once bound; before, one may have 64 KiB */
  size_t max_queue;        /* bytes that wait to be sent or acknowledged */
  bool fed;                /* for tests: no transport; see xm_conn_feed */
  bool logged_in;          /* fed: the first link is READY from the start, as `jid`; else what is fed logs it in, as it does those after it */
  void (*wake)(void *arg); /* there is news: call xm_conn_next soon. May only mark */
  void *wake_arg;
} xm_conn_options;

static inline bool xm_conn_has_proxy(const xm_conn_options *o) {
  return o->proxy.host != NULL;
}

/* May what a login leaves be kept for the next one? */
static inline bool xm_conn_may_remember(const xm_conn_options *o) {
  return o->remember && (o->has_via || !xm_conn_has_proxy(o));
}

#endif
