/* sm: what has been given to send and isn't known to have arrived; XEP-0198's counters. Rank 1: knows err, buf, tape.
 *
 *   bytes   | stanza | stanza | stanza | stanza | stanza |
 *           front    written     pumped          committed
 *
 * One log of bytes, with a record for each stanza. Stanzas are appended (out, commit), moved to the wire (pump), where the
 * nonzas stand between them, taken by the kernel (taken), and leave in front: with stream management when the server has
 * acknowledged them, without it when the kernel has them. When a link breaks, what was moved is moved again. Does no I/O,
 * keeps no time. Called by conn.
 *
 * No stanza reaches a wire but through this log, the library's own included (XM_SM_OURS), since XEP-0198 counts every one of
 * them. Built with XM_DEBUG, each function checks at its end that the log is in order (assert_whole). */
#ifndef XM_SM_H
#define XM_SM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "tape.h"

#define XM_SM_NS "urn:xmpp:sm:3"

enum {
  XM_SM_LONG = 10000,    /* bytes that every server takes (RFC 6120 13.12) */
  XM_SM_ASIDE = 8,       /* stanzas that have left without stream management and may be blamed yet: no more are kept */
  XM_SM_IN_FLIGHT = 150, /* stanzas on the wire that aren't acknowledged: Prosody forgets what is over 500 */
  XM_SM_ASK_EVERY = 10,  /* stanzas, at most, between two requests */
  XM_SM_TELL_EVERY = 100, /* stanzas handled, also to who doesn't ask: ejabberd ends a stream with 5,000 unacknowledged */
  XM_SM_ASK_BATCH = 5,   /* so many at the end of what there is are asked for at once, fewer after a while */
};

typedef enum xm_sm_state {
  XM_SM_OFF,      /* no stream management: not offered, not asked for, refused, or not answered */
  XM_SM_ENABLING, /* <enable/> is out or about to be; ends with <enabled/>, <failed/>, or xm_sm_give_up */
  XM_SM_ON,       /* both sides count (XEP-0198 3) */
} xm_sm_state;

/* Flags of a stanza. */
enum {
  XM_SM_WATCHED = 1, /* its sender wants receipts */
  XM_SM_REQUEST = 2, /* somebody waits for its response, and is told by that */
  XM_SM_OURS = 4,    /* the library's own, a ping: counted with the server and sent like any other, but no business of the
                        program's, so it is not pending, never comes back, and ends with its session */
  XM_SM_STAMPED = 8, /* its last child is a stamp (XEP-0203) that it got when an earlier session was lost */
  XM_SM_ANSWER = 16, /* the library's, to what the program has left unanswered: nobody is told what becomes of it */
  XM_SM_NO_TO = 32,  /* it has no `to`, which some servers end a component's stream for */
  XM_SM_FROM = 64,   /* it has a `from` that isn't ours, which servers end a stream for */
  XM_SM_SESSION = 128, /* it means something in the session that it was given in only: with that it is over */
};

/* What became of a watched stanza. */
typedef enum xm_sm_fate {
  XM_SM_WRITTEN, /* the kernel has it all */
  XM_SM_ACKED,   /* the server has handled it */
  XM_SM_LEFT,    /* without stream management nothing more will be known of it */
} xm_sm_fate;
typedef struct xm_sm_receipt {
  uint64_t seq;
  xm_sm_fate fate;
} xm_sm_receipt;

/* Why a stanza comes back to its sender. */
typedef enum xm_sm_reason {
  XM_SM_ENDED,   /* the connection has ended first */
  XM_SM_UNKNOWN, /* the session is lost and nobody knows whether it had arrived: an iq must not be done twice */
  XM_SM_OLD,     /* it has waited for too long */
  XM_SM_BLAMED,  /* the server has ended the stream for it, as far as can be known */
  XM_SM_OVER,    /* the session is lost that it belonged to (XM_SM_SESSION); only to who wants receipts */
} xm_sm_reason;

/* A stanza in the log, or come back. `xml` is borrowed until the next call. */
typedef struct xm_sm_stanza {
  uint64_t seq;
  int64_t given; /* when it was committed, in milliseconds of the caller's steady clock (xm_loop_ticks) */
  const char *xml;
  size_t len;
  unsigned flags;
  xm_sm_reason reason; /* of one that came back */
} xm_sm_stanza;

typedef struct xm_sm xm_sm;

xm_sm *xm_sm_new(void); /* NULL: no memory */
void xm_sm_free(xm_sm *s);

/* Giving. A stanza's bytes are appended to `out`, then committed with what xm_buf_mark said before. 0 and its number (they
 * grow); XM_ENOMEM: its bytes are gone again. To ask for `out` is to begin: what somebody has begun and not committed is
 * gone then, so it never leaves, whatever became of who had begun it. `now` is by a steady clock, as is xm_sm_lost's. */
xm_buf *xm_sm_out(xm_sm *s);
int xm_sm_commit(xm_sm *s, size_t mark, int64_t now, unsigned flags, uint64_t *seq);
size_t xm_sm_begun(const xm_sm *s); /* bytes of the stanza that is being written */
void xm_sm_drop(xm_sm *s);          /* it won't be */

/* Moving. Puts what may leave now on the wire, until that has `most` bytes: nonzas that are due, then stanzas, at most
 * XM_SM_IN_FLIGHT unacknowledged. 0 or XM_ENOMEM (call again). */
int xm_sm_pump(xm_sm *s, xm_buf *wire, size_t most);
/* The kernel has taken so many bytes in all since this wire began, whoever put them there: who hands the wire to the kernel
 * counts them, and says the same number as often as it likes. To be said before each pump. */
void xm_sm_taken(xm_sm *s, uint64_t all);
/* Is the wire at the end of a stanza, so that something else may follow? */
bool xm_sm_is_between(const xm_sm *s);

/* Bytes of memory that no stanza is in; they are given back. */
size_t xm_sm_spare(const xm_sm *s);
void xm_sm_rest(xm_sm *s);

/* What <enabled/> says. Strings are borrowed; NULL: there is none. */
typedef struct xm_sm_terms {
  const char *id;       /* by which the session can be resumed */
  const char *location; /* "host:port" that the server prefers then */
  unsigned max;         /* seconds that it keeps a cut session; 0: it doesn't say */
} xm_sm_terms;

/* Those of the <enabled/> that is record `i`; they are the tape's. */
xm_sm_terms xm_sm_read_terms(const xm_tape *t, uint32_t i);

/* A new stream on which stream management is asked for: the next thing pumped is <enable/>. */
void xm_sm_enable(xm_sm *s, bool resume);
/* The same, of a stream on which it is on already: it came with the session (XEP-0386). */
void xm_sm_enabled(xm_sm *s, const xm_sm_terms *terms);
/* Nobody has answered <enable/>: go on without. */
void xm_sm_give_up(xm_sm *s);
/* An element of XM_SM_NS is on the tape. 0, or XM_EFAIL with layer stream: an h that can't be. */
int xm_sm_read(xm_sm *s, const xm_tape *t, xm_err *e);
/* Stanzas are held back at two moments. What leaves before <enabled/> is in no session: were the link cut then, nobody would
 * know whether to send it again. What leaves after <resumed/> may be swallowed by a server whose parser has half a stanza of
 * the last link in it (Prosody), so the answer to an <r/> goes before. <enabled/> isn't waited for any longer after release;
 * the other is always: until then the server's h is exact. */
bool xm_sm_is_held(const xm_sm *s);
void xm_sm_release(xm_sm *s);
/* In a new session: what is in the log, of which nothing is on a wire yet, is held back until xm_sm_let_go; what is committed
 * meanwhile goes in front of it, so it leaves first. From then on numbers grow along the log but for one place. The next loss of
 * the session puts them in their order again, and lets go. */
void xm_sm_hold_back(xm_sm *s);
void xm_sm_let_go(xm_sm *s);
bool xm_sm_holds_back(const xm_sm *s);
/* A stanza came in, and is handled: what the server is told when it asks, or unasked after so many. */
void xm_sm_handled(xm_sm *s);
/* Ask for an acknowledgement, of all that may leave by then, behind it: at once where nothing more may. */
void xm_sm_request(xm_sm *s);
/* Say how much is handled, asked or not: before the stream is ended. */
void xm_sm_acknowledge(xm_sm *s);

/* The server has ended the stream by an error of this condition: "policy-violation" for one that was too long, "invalid-from",
 * "improper-addressing". The stanza of those on the wire that this is likeliest for comes back, and isn't sent again; false: it
 * is for none of them. Before xm_sm_cut. */
bool xm_sm_blame(xm_sm *s, const char *condition);
/* Nothing was said against what has left without stream management, for so long that nothing will be. */
void xm_sm_acquit(xm_sm *s);

/* The link is gone, of which the kernel has taken `all` bytes. What was on it is to be moved again; what the server had of it
 * isn't known yet. */
void xm_sm_cut(xm_sm *s, uint64_t all);
/* The session goes on on a new link; `h` from <resumed/>. XM_EFAIL as xm_sm_read; XM_ENOMEM never. */
int xm_sm_resumed(xm_sm *s, uint32_t h, xm_err *e);
/* After a cut: may the server have handled that many? XM_EFAIL: it can't. */
int xm_sm_check_handled(const xm_sm *s, uint32_t h, xm_err *e);
/* The session is lost: what is left goes to the next one, with a stamp (XEP-0203) that says when it was given, but for what
 * is older than `max_age` milliseconds, iqs that may have arrived, and what belonged to the lost one. `h` (NULL: not known) is the server's last word of
 * what had. Ages are by the steady clock, whose time is `now`; the stamp is by the wall's, which says `wall` (milliseconds
 * since 1970): that may have been set meanwhile, and is right now if it ever is. 0, or XM_ENOMEM: call again. */
int xm_sm_lost(xm_sm *s, const uint32_t *h, int64_t now, int64_t wall, int64_t max_age);
/* Over: everything left comes back. */
void xm_sm_end(xm_sm *s);

/* The next receipt; false: none. */
bool xm_sm_receipt_next(xm_sm *s, xm_sm_receipt *r);
/* The next stanza that came back; false: none. It is gone with the next call. */
bool xm_sm_returned_next(xm_sm *s, xm_sm_stanza *r);
/* false: none has come back. */
bool xm_sm_may_have_returned(const xm_sm *s);

xm_sm_state xm_sm_state_of(const xm_sm *s);
/* What <resume/> has to say. NULL: there is no session that could be resumed. */
const char *xm_sm_id(const xm_sm *s);
const char *xm_sm_location(const xm_sm *s); /* "host:port" that the server prefers; NULL: none */
unsigned xm_sm_max(const xm_sm *s);         /* seconds that the server keeps a cut session; 0: it didn't say */
uint32_t xm_sm_in(const xm_sm *s);          /* stanzas handled: our h */
uint32_t xm_sm_acked(const xm_sm *s);       /* the server's last h */
/* Requests that are on the wire and not answered. */
unsigned xm_sm_awaited(const xm_sm *s);
/* Will an answer to these tell of all that may leave now? */
bool xm_sm_is_asked(const xm_sm *s);
/* Stanzas on the wire that no request, answered or not, will tell of: ask after a while. */
unsigned xm_sm_unasked(const xm_sm *s);

/* Is there nothing left to do before the stream may be ended? */
bool xm_sm_is_done(const xm_sm *s);

/* What of the program's is in the log: with stream management what isn't acknowledged, without what the kernel hasn't
 * taken. */
size_t xm_sm_stanzas(const xm_sm *s);
size_t xm_sm_bytes(const xm_sm *s);
bool xm_sm_has(const xm_sm *s, uint64_t seq);
/* The least number among them; that of the next stanza, when there is none. */
uint64_t xm_sm_first(const xm_sm *s);
/* The number that the next stanza will have. */
uint64_t xm_sm_next_seq(const xm_sm *s);
/* The log's i-th, ours included, from 0, when `st` is the one before; false: there is none. */
bool xm_sm_each(const xm_sm *s, size_t i, xm_sm_stanza *st);
/* How many of the log may have arrived, ours included: all in front of that one. */
size_t xm_sm_written(const xm_sm *s);

/* Another process's session: as if it had been cut here. `written` of the stanzas that are in the log may have arrived.
 * 0 or XM_ENOMEM. */
typedef struct xm_sm_session {
  const char *id, *location;
  unsigned max;
  uint32_t in, acked;
  size_t written;
} xm_sm_session;
int xm_sm_restore(xm_sm *s, const xm_sm_session *session);

#endif
