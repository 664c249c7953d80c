/* xml: from bytes to the elements of an XMPP stream (RFC 6120 4 and 11). Rank 1: knows err, buf, tape, bounds, parser, scan.
 *
 * Pull, don't be called: fill bytes in, then take events out until there are none:
 *
 *   space = xm_xml_space(x, &n); ... xm_xml_fill(x, got);
 *   while ((ev = xm_xml_next(x, e)) > XM_XML_MORE) use xm_xml_tape(x);
 *
 * No expat frame is on the stack while an event is out. Whatever the cutting of the input, the events are the same.
 *
 * Two read: scan, what is ordinary, once somebody has logged in; expat all else, and a stanza that scan has left it, whole.
 * Which of them it was nobody can tell but by the time it took. */
#ifndef XM_XML_H
#define XM_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "err.h"
#include "tape.h"

/* What a crossed bound comes to. */
typedef enum xm_xml_verdict {
  XM_XML_REFUSE, /* the stream's end: nobody but the server can have sent that */
  XM_XML_SKIP,   /* the level-1 element is read to its end, and its start tag told: a stranger may have sent it, through an
                    honest server, and it would come again at the next login */
} xm_xml_verdict;

typedef enum xm_xml_event {
  XM_XML_MORE,    /* all is used up: fill in more */
  XM_XML_OPEN,    /* the stream header; the tape has it, without children */
  XM_XML_STANZA,  /* a level-1 element is complete; the tape has it until the next call */
  XM_XML_SKIPPED, /* one that crossed a bound (xm_xml_crossed) is over; the tape has its start tag, without children */
  XM_XML_CLOSE,   /* </stream:stream>: nothing may follow */
} xm_xml_event;

typedef struct xm_xml xm_xml;

/* `ns` is the stream's content namespace ("jabber:client"), borrowed for good. The verdict is REFUSE. NULL: no memory. */
xm_xml *xm_xml_new(const char *ns, const xm_bounds *bounds);
void xm_xml_free(xm_xml *x);
/* Between elements. */
void xm_xml_set_bounds(xm_xml *x, const xm_bounds *bounds, xm_xml_verdict verdict);
/* How many bytes expat takes at a time, at most 16 KiB, which is what it begins with. Its buffer, which is kept, has room for
 * one such piece and a KiB more, or for the longest token that came. */
void xm_xml_set_piece(xm_xml *x, size_t n);
/* A new stream on the same connection (RFC 6120 4.3.3): forgets everything but the bytes behind the event that is out, which
 * are the new stream's. White space between the two is passed over. 0 or XM_ENOMEM. */
int xm_xml_restart(xm_xml *x);

/* Where to put bytes: at least 1, at most 16 KiB. NULL: no memory. Not while an event is out (next has not said MORE). */
char *xm_xml_space(xm_xml *x, size_t *n);
void xm_xml_fill(xm_xml *x, size_t n);
/* An xm_xml_event, or XM_EFAIL with layer stream and the condition of RFC 6120 4.9.3 that fits; `retry` is true with the verdict
 * SKIP, as somebody else's bytes may be what the stream ended by. After a failure: only free. */
int xm_xml_next(xm_xml *x, xm_err *e);
/* Nothing more to read at the moment. expat may have put off a try at an unfinished token: this makes it try, so that a stanza
 * is never late; and room for bytes that nothing is in is given back. As xm_xml_next. */
int xm_xml_drained(xm_xml *x, xm_err *e);

/* Between stanzas: bytes of memory that are of use only while one is read; they are given back, and the tape is gone. */
size_t xm_xml_spare(const xm_xml *x);
void xm_xml_rest(xm_xml *x);

const xm_tape *xm_xml_tape(const xm_xml *x);
/* Of the element that was SKIPPED: the bound that it crossed, and its number. */
xm_bound xm_xml_crossed(const xm_xml *x, size_t *most);
/* Bytes that were filled in and lie behind the event that is out. */
size_t xm_xml_unread(const xm_xml *x);
/* How many stanzas were read without expat. */
uint64_t xm_xml_scanned(const xm_xml *x);

/* Would a parser take it as a name without a colon (NCName, Namespaces in XML 1.0)? Asks expat, whose tables decide for
 * characters beyond ASCII. XM_OK, XM_EINVAL, XM_ENOMEM. */
int xm_xml_check_name(const char *s, size_t n);

#endif
