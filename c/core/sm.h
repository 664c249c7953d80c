/* sm: stanzas that were committed for sending and aren't known to have arrived; XEP-0198's counters. Rank 1: uses err,
 * buf, tape.
 *
 *   bytes   | stanza | stanza | stanza | stanza | stanza |
 *           front    written     pumped          committed
 *
 * One log of bytes, with a record for each stanza. Stanzas are appended (out, commit), copied to the wire (pump), where
 * the nonzas go between them, taken by the kernel (taken), and removed at the front: with stream management when the
 * server has acknowledged them, without it when the kernel has them. When a link breaks, what was copied to its wire is
 * copied again to the next one's. Does no I/O and has no clock. Called by conn.
 *
 * "Wire" is the buffer of bytes that the link hands to the kernel. No stanza gets there but through this log, the
 * library's own included (XM_SM_OURS), since XEP-0198 counts every one of them. If built with XM_DEBUG, each function
 * checks at its end that the log is consistent (assert_whole). */
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
  XM_SM_LONG = 10000,    /* bytes of a stanza that every server accepts (RFC 6120 13.12) */
  XM_SM_ASIDE = 8,       /* without stream management: how many stanzas that have left are kept at most, in case the
                            server objects to one */
  XM_SM_IN_FLIGHT = 150, /* stanzas that may be on the wire unacknowledged: Prosody forgets those over 500 */
  XM_SM_ASK_EVERY = 10,  /* at most so many stanzas between two requests for an acknowledgement */
  /* after so many handled stanzas an acknowledgement is sent even if the server doesn't ask: ejabberd ends a stream
   * with 5,000 unacknowledged ones */
  XM_SM_TELL_EVERY = 100,
  XM_SM_ASK_BATCH = 5,   /* if at least so many stanzas were sent when the log is empty a request follows at once,
                            else after a while */
};

typedef enum xm_sm_state {
  XM_SM_OFF,      /* no stream management: not offered, not wanted, refused, or not answered */
  XM_SM_ENABLING, /* <enable/> was sent or is about to be; ends with <enabled/>, <failed/>, or xm_sm_give_up */
  XM_SM_ON,       /* both sides count (XEP-0198 3) */
} xm_sm_state;

/* Flags of a stanza. */
enum {
  XM_SM_WATCHED = 1, /* its sender wants receipts */
  XM_SM_REQUEST = 2, /* somebody waits for its response, who learns from that what became of it */
  XM_SM_OURS = 4,    /* the library's own, a ping: counted by the server and sent like any other, but of no interest
                        to the program: it doesn't count as pending, is never returned, and ends with its session */
  XM_SM_STAMPED = 8, /* its last child is a stamp (XEP-0203) that it was given when an earlier session was lost */
  XM_SM_ANSWER = 16, /* the library's answer to an iq that the program left unanswered: nobody is told what becomes
                        of it */
  XM_SM_NO_TO = 32,  /* it has no `to`, for which some servers end a component's stream */
  XM_SM_FROM = 64,   /* it has a `from` that isn't ours, for which servers end a stream */
  XM_SM_SESSION = 128, /* it means something only in the session in which it was committed: when that is lost it
                          isn't sent any more */
};

/* What became of a watched stanza. */
typedef enum xm_sm_fate {
  XM_SM_WRITTEN, /* the kernel has all of its bytes */
  XM_SM_ACKED,   /* the server has handled it */
  XM_SM_LEFT,    /* it has left without stream management: nothing more will be known of it */
} xm_sm_fate;
typedef struct xm_sm_receipt {
  uint64_t seq;
  xm_sm_fate fate;
} xm_sm_receipt;

/* Why a stanza is returned to its sender. */
typedef enum xm_sm_reason {
  XM_SM_ENDED,   /* the connection has ended before */
  XM_SM_UNKNOWN, /* the session is lost and nobody knows whether the stanza had arrived: an iq must not be carried
                    out twice */
  XM_SM_OLD,     /* it has waited too long */
  XM_SM_BLAMED,  /* the server has ended the stream because of it, as far as can be known */
  XM_SM_OVER,    /* the session that it belonged to (XM_SM_SESSION) is lost; only for senders who want receipts */
} xm_sm_reason;

/* A stanza in the log, or a returned one. `xml` is borrowed until the next call. */
typedef struct xm_sm_stanza {
  uint64_t seq;
  int64_t given; /* when it was committed, in milliseconds of the caller's steady clock (xm_loop_ticks) */
  const char *xml;
  size_t len;
  unsigned flags;
  xm_sm_reason reason; /* of a returned one */
} xm_sm_stanza;

typedef struct xm_sm xm_sm;

xm_sm *xm_sm_new(void); /* NULL: no memory */
void xm_sm_free(xm_sm *s);

/* Committing. A stanza's bytes are appended to `out`, then committed with what xm_buf_mark returned before. 0 and its
 * number, which grows; XM_ENOMEM: its bytes are gone again. xm_sm_out begins a new stanza and drops one that was begun
 * and not committed, so that such a one never leaves, whatever happened to whoever had begun it. `now` is by a steady
 * clock, as is xm_sm_lost's. */
xm_buf *xm_sm_out(xm_sm *s);
int xm_sm_commit(xm_sm *s, size_t mark, int64_t now, unsigned flags, uint64_t *seq);
size_t xm_sm_begun(const xm_sm *s); /* bytes of the stanza that is being written */
void xm_sm_drop(xm_sm *s);          /* drops the stanza that is being written */

/* Pumping. Puts what may leave now on the wire, until that has `most` bytes: nonzas that are due, then stanzas, at most
 * XM_SM_IN_FLIGHT unacknowledged ones. 0 or XM_ENOMEM (call again). */
int xm_sm_pump(xm_sm *s, xm_buf *wire, size_t most);
/* The kernel has taken so many bytes in all since this wire began, whoever put them there. They are counted where the
 * wire is handed to the kernel; the same number may be reported any number of times. To be called before each pump. */
void xm_sm_taken(xm_sm *s, uint64_t all);
/* Does the wire end with a whole stanza, so that something else may follow? */
bool xm_sm_is_between(const xm_sm *s);

/* Bytes of allocated memory that no stanza uses; xm_sm_rest frees them. */
size_t xm_sm_spare(const xm_sm *s);
void xm_sm_rest(xm_sm *s);

/* The attributes of <enabled/>. Strings are borrowed; NULL: absent. */
typedef struct xm_sm_terms {
  const char *id;       /* by which the session can be resumed; NULL: it can't */
  const char *location; /* "host:port" to which the server wants us to connect for that */
  unsigned max;         /* how many seconds the server keeps a session without a link; 0: it doesn't say */
} xm_sm_terms;

/* Those of the <enabled/> at record `i`; the strings are the tape's. */
xm_sm_terms xm_sm_read_terms(const xm_tape *t, uint32_t i);

/* A new stream begins on which we ask for stream management: the next thing that is pumped is <enable/>. */
void xm_sm_enable(xm_sm *s, bool resume);
/* The same for a stream on which it is already enabled, together with binding (XEP-0386). */
void xm_sm_enabled(xm_sm *s, const xm_sm_terms *terms);
/* Nobody has answered <enable/>: go on without stream management. */
void xm_sm_give_up(xm_sm *s);
/* An element in XM_SM_NS has arrived; it is on the tape. 0, or XM_EFAIL with layer stream: an impossible h. */
int xm_sm_read(xm_sm *s, const xm_tape *t, xm_err *e);
/* Is the log held? That is so at two moments. What leaves before <enabled/> belongs to no session: if the link were cut
 * then, nobody would know whether to send it again. What leaves after <resumed/> may be swallowed by a server whose
 * parser still has half a stanza of the last link in it (Prosody), so we first wait for the answer to an <r/>.
 * xm_sm_release ends the wait for <enabled/> only; the other always lasts until the answer has come: until then the
 * server's h is exact. */
bool xm_sm_is_held(const xm_sm *s);
void xm_sm_release(xm_sm *s);
/* In a new session: what is in the log, none of which may be on a wire yet, is held back until xm_sm_let_go; what is
 * committed meanwhile is put in front of it, and so leaves first. After that, numbers in the log grow except at one
 * place. The next loss of the session sorts the log by number again, and nothing is held back any more. */
void xm_sm_hold_back(xm_sm *s);
void xm_sm_let_go(xm_sm *s);
bool xm_sm_holds_back(const xm_sm *s);
/* A stanza has come in and is handled. The count is sent to the server when it asks, and also unasked, see
 * XM_SM_TELL_EVERY. */
void xm_sm_handled(xm_sm *s);
/* Ask for an acknowledgement of everything that may leave at the moment, by an <r/> behind it; at once if nothing more
 * may leave. */
void xm_sm_request(xm_sm *s);
/* Send an acknowledgement, asked for or not: to be called before the stream is ended. */
void xm_sm_acknowledge(xm_sm *s);

/* The server has ended the stream by an error with this condition: "policy-violation" for a stanza that was too long,
 * "invalid-from", "improper-addressing". Of the stanzas on the wire, the likeliest cause is returned and isn't sent
 * again; false: none is a likely cause. To be called before xm_sm_cut. */
bool xm_sm_blame(xm_sm *s, const char *condition);
/* The server has not objected for so long to what has left without stream management that it no longer will. */
void xm_sm_acquit(xm_sm *s);

/* The link has ended; the kernel has taken `all` bytes of its wire. The stanzas that were on the wire are to be pumped
 * again; how many of them the server has isn't known yet. */
void xm_sm_cut(xm_sm *s, uint64_t all);
/* The session was resumed on a new link; `h` is from <resumed/>. XM_EFAIL as xm_sm_read; never XM_ENOMEM. */
int xm_sm_resumed(xm_sm *s, uint32_t h, xm_err *e);
/* After a cut: can the server have handled that many? XM_EFAIL: it can't. */
int xm_sm_check_handled(const xm_sm *s, uint32_t h, xm_err *e);
/* The session is lost: the stanzas that are left go to the next one, with a stamp (XEP-0203) that says when they were
 * committed; returned are those older than `max_age` milliseconds, iqs that may have arrived, and what belonged to the
 * lost session. `h` (NULL: not known) is the server's last count of stanzas that have arrived. Ages are by the steady
 * clock, whose time is `now`; the stamp is by the wall clock, whose time is `wall` (milliseconds since 1970): it may
 * have been set meanwhile, and is most likely to be right now. 0, or XM_ENOMEM: call again. */
int xm_sm_lost(xm_sm *s, const uint32_t *h, int64_t now, int64_t wall, int64_t max_age);
/* The connection is over: all stanzas that are left are returned. */
void xm_sm_end(xm_sm *s);

/* The next receipt; false: none. */
bool xm_sm_receipt_next(xm_sm *s, xm_sm_receipt *r);
/* The next returned stanza; false: none. It is freed by the next call. */
bool xm_sm_returned_next(xm_sm *s, xm_sm_stanza *r);
/* false: no stanza was returned. */
bool xm_sm_may_have_returned(const xm_sm *s);

xm_sm_state xm_sm_state_of(const xm_sm *s);
/* The id for <resume/>. NULL: there is no session that could be resumed. */
const char *xm_sm_id(const xm_sm *s);
const char *xm_sm_location(const xm_sm *s); /* "host:port" to which the server wants us to connect for resuming;
                                               NULL: none */
unsigned xm_sm_max(const xm_sm *s);         /* how many seconds the server keeps a session without a link; 0: it
                                               didn't say */
uint32_t xm_sm_in(const xm_sm *s);          /* how many stanzas we have handled: our h */
uint32_t xm_sm_acked(const xm_sm *s);       /* the server's last h */
/* Requests (<r/>) that were put on the wire and aren't answered. */
unsigned xm_sm_awaited(const xm_sm *s);
/* Will an answer to these cover everything that may leave now? */
bool xm_sm_is_asked(const xm_sm *s);
/* Stanzas on the wire that no request, answered or not, covers: ask for them after a while. */
unsigned xm_sm_unasked(const xm_sm *s);

/* Is there nothing left to wait for before the stream may be ended? */
bool xm_sm_is_done(const xm_sm *s);

/* The program's own stanzas in the log: with stream management those that aren't acknowledged, without it those that
 * the kernel hasn't taken. */
size_t xm_sm_stanzas(const xm_sm *s);
size_t xm_sm_bytes(const xm_sm *s);
bool xm_sm_has(const xm_sm *s, uint64_t seq);
/* The lowest number among them; if there is none, that of the next stanza. */
uint64_t xm_sm_first(const xm_sm *s);
/* The number that the next stanza will have. */
uint64_t xm_sm_next_seq(const xm_sm *s);
/* The i-th stanza of the log from 0 on, the library's included; for i > 0 `st` must be the one before. false: there is
 * none. */
bool xm_sm_each(const xm_sm *s, size_t i, xm_sm_stanza *st);
/* How many stanzas of the log may have arrived, the library's included: so many from the front on. */
size_t xm_sm_written(const xm_sm *s);

/* Restores a session of another process, as if its link had been cut here. The stanzas are in the log already; the
 * first `written` of them may have arrived. 0 or XM_ENOMEM. */
typedef struct xm_sm_session {
  const char *id, *location;
  unsigned max;
  uint32_t in, acked;
  size_t written;
} xm_sm_session;
int xm_sm_restore(xm_sm *s, const xm_sm_session *session);

#endif
