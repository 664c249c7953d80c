/* options: the settings of a connection. Rank 2: uses bounds, jid, keyring, retry, tls, tunnel. A header only: the
 * binding fills them in, conn keeps them, link reads them. */
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

/* What may be sent before the server has asked for it (XEP-0305): nothing; what is safe, but only where a login has
 * succeeded before, so that we know whether this server copes with it; what is safe, also to a server that we don't
 * know yet. */
typedef enum xm_pipelining { XM_PIPELINING_NONE, XM_PIPELINING_KNOWN, XM_PIPELINING_EAGER } xm_pipelining;

/* Strings are copied. Times are in milliseconds, sizes in bytes. All zero is not a valid set: see xm_conn_defaults. */
typedef struct xm_conn_options {
  bool component;          /* XEP-0114: jid is the component's domain, password its secret */
  const xm_jid *jid;
  const char *password;    /* NULL: log in by EXTERNAL or ANONYMOUS */
  size_t password_len;
  const char *host;        /* dial only this; NULL: dial what SRV says, else the JID's domain */
  int port;
  xm_proxy proxy;          /* the proxy to connect through; host NULL: none */
  xm_keyring_name via;     /* valid if has_via: a hash of the proxy and of our login there, part of the */
  bool has_via;            /* key of what is remembered of servers. Set by conn. If not has_via, nothing is
                              remembered of one behind a proxy */
  const char *url;         /* a WebSocket's URL, already validated, instead of host and port; NULL: TCP */
  xm_tls_policy tls;
  xm_tls_ctx *tls_ctx;     /* a reference is held; may be NULL with XM_TLS_NONE */
  const char *tls_name;    /* the certificate must be for this; NULL: the JID's domain */
  const char *pin;
  const char *lang, *mechanisms, *nameservers;
  bool plain, pinned;      /* PLAIN may be used; but no longer for this account, which has used something better */
  bool bound;              /* this account has logged in with channel binding: from now on nothing less will do */
  xm_pipelining pipelining;
  bool remember;           /* keep what makes the next login cheaper: a TLS session, SCRAM's keys */
  bool log;                /* keep what goes over the wire, for xm_conn_log */
  bool see_other_host;     /* follow <see-other-host/>, at most 3 times in a row (RFC 6120 4.9.3.19) */
  bool sasl2;              /* use SASL2 where the server offers it (XEP-0388) */
  const char *agent, *software, *device; /* for its <user-agent/>: a UUID as id, and two texts for people. NULL: left
                                            out */
  bool bind2;              /* bind by Bind 2 where the server offers it (XEP-0386); the JID's resource is not asked
                              for then */
  const char *tag;         /* its <tag/>, a short name; NULL: none */
  bool carbons, inactive;  /* with that, enable carbons (XEP-0280); start in state inactive (XEP-0352) */
  bool fast;               /* ask for a token and keep it for the next login (XEP-0484); needs `agent` */
  const xm_token *token;   /* a token that an earlier process got; NULL: none */
  bool invalidate;         /* ask the server to invalidate it with this login */
  bool sm;                 /* stream management, where the server offers it (XEP-0198) */
  bool resumable;          /* and a session that the server keeps when the link breaks */
  xm_retry_policy reconnect;
  unsigned timeout;        /* the connection must be READY by then; each phase may take at most half of it */
  unsigned keepalive;      /* after so long without sending anything, ask the server for a sign of life; 0: never */
  bool keepalive_probe;    /* a component also sends messages to itself when it has received nothing for so long; if
                              three in a row don't come back, each within `patience`, the link ends */
  unsigned patience;       /* how long to wait for an acknowledgement or for that sign of life */
  unsigned max_age;        /* a stanza that is older than this isn't sent in a new session but returned to its sender */
  xm_bounds bounds;        /* of stanzas in both directions once a resource is bound; before, 64 KiB for one stanza */
  size_t max_queue;        /* bytes that may wait to be sent or acknowledged */
  bool fed;                /* for tests: no transport; see xm_conn_feed */
  /* Only with `fed`: the first link is READY from the start, as `jid`. Otherwise, and for later links, what is fed must
   * contain the login. */
  bool logged_in;
  void (*wake)(void *arg); /* something has happened: call xm_conn_next soon. May only set a mark */
  void *wake_arg;
} xm_conn_options;

static inline bool xm_conn_has_proxy(const xm_conn_options *o) {
  return o->proxy.host != NULL;
}

/* May what a login leaves behind be kept for the next one? */
static inline bool xm_conn_may_remember(const xm_conn_options *o) {
  return o->remember && (o->has_via || !xm_conn_has_proxy(o));
}

#endif
