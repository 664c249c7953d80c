/* ns: the namespaces that more than one module uses. Rank 0. */
#ifndef XM_NS_H
#define XM_NS_H

#define XM_NS_CLIENT "jabber:client"                   /* RFC 6120 4.8.2 */
#define XM_NS_SERVER "jabber:server"
#define XM_NS_COMPONENT "jabber:component:accept"      /* XEP-0114 */
#define XM_NS_STREAM "http://etherx.jabber.org/streams" /* RFC 6120 4.8.1 */
#define XM_NS_STANZAS "urn:ietf:params:xml:ns:xmpp-stanzas"
#define XM_NS_XML "http://www.w3.org/XML/1998/namespace"
#define XM_NS_XMLNS "http://www.w3.org/2000/xmlns/"

#endif
