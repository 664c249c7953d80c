/* xml: turns bytes into the elements of an XMPP stream (RFC 6120 4 and 11). Rank 1: uses err, buf, tape, bounds,
 * parser, scan.
 *
 * It calls no function of the caller's: fill bytes in, then take events out until there are none:
 *
 *   space = xm_xml_space(x, &n); ... xm_xml_fill(x, got);
 *   while ((ev = xm_xml_next(x, e)) > XM_XML_MORE) use xm_xml_tape(x);
 *
 * No frame of expat is on the stack when an event is returned. However the input is cut into pieces, the events are the
 * same.
 *
 * There are two parsers: scan reads ordinary stanzas once somebody has logged in; expat reads everything else, and from
 * its first byte any stanza that scan has given up on. Except by the time it takes, nobody can tell which of them has
 * read a stanza. */
#ifndef XM_XML_H
#define XM_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "err.h"
#include "tape.h"

/* What happens when a bound is crossed. */
typedef enum xm_xml_verdict {
  XM_XML_REFUSE, /* the stream is refused: only the server itself can have sent that */
  XM_XML_SKIP,   /* the level-1 element is read to its end, and only its start tag is reported: it may come from a
                    stranger, through an honest server, and would come again at the next login */
} xm_xml_verdict;

typedef enum xm_xml_event {
  XM_XML_MORE,    /* all input is used up: fill in more */
  XM_XML_OPEN,    /* the stream header has come; it is on the tape, without children */
  XM_XML_STANZA,  /* a level-1 element is complete; it is on the tape until the next call */
  XM_XML_SKIPPED, /* a level-1 element that crossed a bound (xm_xml_crossed) has ended; its start tag is on the tape,
                     without children */
  XM_XML_CLOSE,   /* </stream:stream>: nothing may follow */
} xm_xml_event;

typedef struct xm_xml xm_xml;

/* `ns` is the stream's content namespace ("jabber:client"), borrowed for the life of the parser. The verdict is REFUSE
 * at first. NULL: no memory. */
xm_xml *xm_xml_new(const char *ns, const xm_bounds *bounds);
void xm_xml_free(xm_xml *x);
/* To be called between elements only. */
void xm_xml_set_bounds(xm_xml *x, const xm_bounds *bounds, xm_xml_verdict verdict);
/* How many bytes expat is given at a time, at most 16 KiB, which is the initial value. expat's buffer is kept, and has
 * room for one such piece and a KiB more, or for the longest token that has come. */
void xm_xml_set_piece(xm_xml *x, size_t n);
/* A new stream begins on the same connection (RFC 6120 4.3.3): drops everything except the bytes behind the current
 * event, which belong to the new stream. White space between the two is ignored. 0 or XM_ENOMEM. */
int xm_xml_restart(xm_xml *x);

/* Where to put bytes: room for at least 1, at most 16 KiB. NULL: no memory. Only after xm_xml_next has returned
 * MORE. */
char *xm_xml_space(xm_xml *x, size_t *n);
void xm_xml_fill(xm_xml *x, size_t n);
/* An xm_xml_event, or XM_EFAIL with layer stream and the condition of RFC 6120 4.9.3 that fits; `retry` is true with
 * the verdict SKIP, since the bytes for which the stream was refused may be somebody else's. After a failure only
 * xm_xml_free may be called. */
int xm_xml_next(xm_xml *x, xm_err *e);
/* To be called when there is nothing more to read at the moment. expat may have put off an attempt at an unfinished
 * token: this makes it try, so that no stanza is late; and an empty input buffer is freed. Returns as xm_xml_next. */
int xm_xml_drained(xm_xml *x, xm_err *e);

/* Between stanzas: how many bytes of memory are needed only while one is read; xm_xml_rest frees them, with what is on
 * the tape. */
size_t xm_xml_spare(const xm_xml *x);
void xm_xml_rest(xm_xml *x);

const xm_tape *xm_xml_tape(const xm_xml *x);
/* Of the element that was SKIPPED: the bound that it crossed, and that bound's value. */
xm_bound xm_xml_crossed(const xm_xml *x, size_t *most);
/* Bytes that were filled in and lie behind the current event. */
size_t xm_xml_unread(const xm_xml *x);
/* How many stanzas were read without expat, for tests. */
uint64_t xm_xml_scanned(const xm_xml *x);

/* Would a parser accept it as a name without a colon (NCName, Namespaces in XML 1.0)? Asks expat, whose tables decide
 * about non-ASCII characters. XM_OK, XM_EINVAL, XM_ENOMEM. */
int xm_xml_check_name(const char *s, size_t n);

#endif
