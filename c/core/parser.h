/* parser: expat, with what it lacks: positions that don't wrap, a bound on its memory, names that are forgotten again,
 * and a cost for bytes that arrive one by one which doesn't grow with the number of those that came before. Rank 1:
 * knows err, buf. Called by xml alone, which sets the handlers and knows what the bytes mean.
 *
 * expat starts over with an incomplete token each time it is given more of it. Newer versions put such attempts off by
 * themselves (reparse deferral), which makes stanzas late; xm_parser_try overrules that. In neither case may a peer
 * that sends byte by byte cause work that grows with the square of what it sends: so an unfinished tag of more than a
 * few KiB is searched for its end here, looking at each byte once, and expat is given the bytes when the end has come,
 * or when there is no room for more of them. */
#ifndef XM_PARSER_H
#define XM_PARSER_H

#include <expat.h> /* for xml as well, whose handlers have expat's signatures */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

typedef struct xm_parser {
  XML_Parser expat;
  void (*set_handlers)(XML_Parser expat, void *arg);
  void *arg;
  size_t memory;    /* bytes that expat has allocated; `base`: what it had allocated when it was new */
  size_t base;
  size_t most;      /* and the most that it may allocate */
  bool full;        /* it asked for more than that and was refused, which it reports as XML_ERROR_NO_MEMORY */
  bool secret;      /* what it allocates from now on is wiped when it is freed */
  size_t piece;     /* how many bytes the caller is given room for */
  size_t token;     /* bytes of an unfinished tag that may be held back until its end has come */
  const char *room; /* where the caller puts bytes: expat's own buffer. Bytes that expat has not consumed yet lie in
                       front of it */
  size_t last;      /* bytes that are in it; */
  size_t filled;    /* of these, the ones that expat hasn't been given yet */
  uint64_t fed;     /* bytes given to expat since the stream began; */
  uint64_t used;    /* of these, the ones before the current token */
  uint32_t index;   /* expat's last position, its lower 32 bits: a long may wrap, so only differences are used */
  bool paused;      /* expat is suspended at an event; bytes that it was given may lie behind it */
  bool untried;     /* bytes were given since deferral was last overruled */
  struct {
    uint64_t token; /* the token that is searched: where it begins */
    size_t seen;    /* bytes of it that were searched */
    char quote;     /* the quote that is open at that point; 0: none */
    bool closed;
  } look;
} xm_parser;

/* XM_OK or XM_ENOMEM. The handlers are set by a function, as the expat parser is replaced now and then. */
int xm_parser_init(xm_parser *p, void (*set_handlers)(XML_Parser expat, void *arg), void *arg);
void xm_parser_free(xm_parser *p);
/* Replaces the expat parser by a new one; the old one is freed with every name and namespace that it has stored. Unread
 * bytes are kept. `header`: the start tag of the stream, which the new one reads first, without calling handlers; NULL:
 * a new stream begins. XM_OK; XM_ENOMEM: nothing has changed. */
int xm_parser_renew(xm_parser *p, const xm_buf *header);
/* Bytes of memory that a new parser would not need. */
size_t xm_parser_spare(const xm_parser *p);

/* Where to put bytes: room for at least 1, at most `piece`. NULL: no memory. */
char *xm_parser_space(xm_parser *p, size_t *n);
void xm_parser_fill(xm_parser *p, size_t n);
/* Between stanzas: notes that `n` bytes of the stream were read without expat. */
static inline void xm_parser_pass(xm_parser *p, size_t n) {
  p->fed += n;
  p->used += n;
}
/* Before expat was given anything: drops white space from the front of what was filled in. */
void xm_parser_trim(xm_parser *p);
/* Is there nothing to parse, or nothing that could complete a token? */
bool xm_parser_is_idle(xm_parser *p);
/* Parses what was filled in, or resumes behind the event at which it paused. Calls the handlers. */
enum XML_Status xm_parser_go(xm_parser *p);
/* Has expat put off an attempt which may succeed now? Then xm_parser_try makes it try. */
bool xm_parser_has_untried(xm_parser *p);
enum XML_Status xm_parser_try(xm_parser *p);

/* To be called in a handler: where the token begins, and how long it is. */
uint64_t xm_parser_begin(xm_parser *p);
size_t xm_parser_length(const xm_parser *p);
/* Bytes of the incomplete token that expat was given, and bytes that were filled in behind them. */
static inline size_t xm_parser_pending(const xm_parser *p) { return (size_t)(p->fed - p->used) + p->filled; }
/* Is the incomplete token a comment, a processing instruction or a declaration, and too long to wait for its end? */
bool xm_parser_is_declaration(const xm_parser *p);
/* Bytes that were filled in and lie behind the current event. */
size_t xm_parser_unread(const xm_parser *p);
/* To be called in a handler: appends the token's own text. 0, or XM_ENOMEM; appends nothing if this expat doesn't keep
 * it. */
int xm_parser_copy_token(const xm_parser *p, xm_buf *to);

/* Would a parser accept it as a name without a colon (NCName)? XM_OK, XM_EINVAL, XM_ENOMEM. */
int xm_parser_check_name(const char *s, size_t n);

/* Separates namespace and local name in the names that expat reports: a byte that never occurs in UTF-8. */
#define XM_PARSER_SEP '\xFF'

#endif
