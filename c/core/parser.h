/* parser: expat, with what it lacks: positions that don't wrap, a bound on its memory, names that are forgotten again, and a
 * price for bytes that drip which doesn't grow with what has come before. Rank 1: knows err, buf. Called by xml alone, which
 * sets the handlers and knows what the bytes mean.
 *
 * expat starts over with a token that isn't complete each time it is given more of it. The newer ones put such tries off by
 * themselves (reparse deferral), which makes stanzas late; xm_parser_try overrules that. So that neither costs a peer's victim
 * the square of what it drips, an unfinished tag of more than a few KiB is looked through here, each byte once, for its end,
 * and expat is given the bytes when that has come, or when there is no more room for them. */
#ifndef XM_PARSER_H
#define XM_PARSER_H

#include <expat.h> /* for xml as well, whose handlers speak its language */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

typedef struct xm_parser {
  XML_Parser expat;
  void (*set_handlers)(XML_Parser expat, void *arg);
  void *arg;
  size_t memory;    /* bytes that expat has allocated; of these, what a fresh one needs */
  size_t base;
  size_t most;      /* that it may allocate */
  bool full;        /* it wanted more, and was given none: that is its XML_ERROR_NO_MEMORY */
  bool secret;      /* what it allocates is wiped when it is given back */
  size_t piece;     /* how many bytes the caller is given room for */
  size_t token;     /* bytes of an unfinished tag that may be held back for its end */
  const char *room; /* where the caller puts bytes: expat's own buffer. What it hasn't taken in yet lies before them */
  size_t last;      /* how many are there */
  size_t filled;    /* of these, how many expat hasn't been told of */
  uint64_t fed;     /* told, since the stream began */
  uint64_t used;    /* of these, the ones before the token at hand */
  uint32_t index;   /* where expat said that it was, the lower half: a long wraps on some machines, so only steps count */
  bool paused;      /* at an event, inside the bytes that were told */
  bool untried;     /* bytes came since deferral was last overruled */
  struct {
    uint64_t token; /* which: where it begins */
    size_t seen;    /* bytes of it that have been looked at */
    char quote;     /* the one that is open there; 0: none */
    bool closed;
  } look;
} xm_parser;

/* XM_OK or XM_ENOMEM. The handlers are set by a function, as there is a new expat now and then. */
int xm_parser_init(xm_parser *p, void (*set_handlers)(XML_Parser expat, void *arg), void *arg);
void xm_parser_free(xm_parser *p);
/* A new expat in place of the old one, which is given back with every name and namespace that it has kept. What is unread is
 * kept. `header`: the start tag that the new one has already read; NULL: a new stream begins. XM_OK; XM_ENOMEM: nothing has
 * changed. */
int xm_parser_renew(xm_parser *p, const xm_buf *header);
/* Bytes of memory beyond a fresh one's. */
size_t xm_parser_spare(const xm_parser *p);

/* Room for at least 1 byte, at most `piece`. NULL: no memory. */
char *xm_parser_space(xm_parser *p, size_t *n);
void xm_parser_fill(xm_parser *p, size_t n);
/* Between stanzas: `n` bytes of the stream that somebody else has read. */
static inline void xm_parser_pass(xm_parser *p, size_t n) {
  p->fed += n;
  p->used += n;
}
/* Before expat has been told anything: white space in front of what was filled in is gone. */
void xm_parser_trim(xm_parser *p);
/* Is there nothing to parse, or nothing that could come to anything? */
bool xm_parser_is_idle(xm_parser *p);
/* Parses what was filled in, or goes on behind the event. The handlers are called. */
enum XML_Status xm_parser_go(xm_parser *p);
/* Makes expat look at what it has put off, if that can be complete. */
bool xm_parser_has_untried(xm_parser *p);
enum XML_Status xm_parser_try(xm_parser *p);

/* In a handler: where the token begins, and how long it is. */
uint64_t xm_parser_begin(xm_parser *p);
size_t xm_parser_length(const xm_parser *p);
/* Bytes told of the token that isn't complete, and filled in. */
static inline size_t xm_parser_pending(const xm_parser *p) { return (size_t)(p->fed - p->used) + p->filled; }
/* Is that a comment, a processing instruction or a declaration, too long to be waited for? */
bool xm_parser_is_declaration(const xm_parser *p);
/* Bytes that were filled in and lie behind the event that is out. */
size_t xm_parser_unread(const xm_parser *p);
/* The text of the token, in a handler: 0, or XM_ENOMEM; nothing where this expat can't tell. */
int xm_parser_copy_token(const xm_parser *p, xm_buf *to);

/* Would a parser take it as a name without a colon (NCName)? XM_OK, XM_EINVAL, XM_ENOMEM. */
int xm_parser_check_name(const char *s, size_t n);

/* Between namespace and local name in what expat hands out: a byte that UTF-8 doesn't have. */
#define XM_PARSER_SEP '\xFF'

#endif
