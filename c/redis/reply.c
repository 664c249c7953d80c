#include "reply.h"

#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
  LONGEST_LINE = 64 * 1024, /* of what ends at a line's end: errors, numbers, lengths */
  KEPT = 64 * 1024,         /* bytes that stay for the next reply */
  DEEPEST = 8,              /* arrays inside each other; hiredis has a bound of its own only before 1.0 */
};

struct xr_reader {
  redisReader *reader;
  xr_item *items;
  size_t n, room;
  char *bytes;
  size_t used, bytes_room;
  size_t max;
  bool has;
  const char *condition, *text; /* the fault */
};

static void fail(xr_reader *r, const char *condition, const char *text) {
  if (r->condition) return;
  r->condition = condition;
  r->text = text;
}

/* What hiredis calls for each thing that it has read. It keeps what they return, which is nothing to us, and asks for an end
 * by NULL. */

static void *add(xr_reader *r, xr_kind kind, long long number, size_t at) {
  size_t room = r->room ? r->room * 2 : 16;
  xr_item *more;
  if (r->n == r->room) {
    if (room * sizeof *more > r->max) return fail(r, "too-large", "a reply with more parts than are taken"), NULL;
    more = realloc(r->items, room * sizeof *more);
    if (!more) return fail(r, "no-memory", "not enough memory"), NULL;
    r->items = more;
    r->room = room;
  }
  r->items[r->n++] = (xr_item){.kind = kind, .number = number, .at = at};
  return r;
}

static bool keep(xr_reader *r, const char *from, size_t n) {
  size_t room = r->bytes_room ? r->bytes_room : 1024;
  char *more;
  if (n > r->max - r->used) return fail(r, "too-large", "a longer reply than is taken"), false;
  while (room < r->used + n) room *= 2;
  if (room > r->bytes_room) {
    more = realloc(r->bytes, room);
    if (!more) return fail(r, "no-memory", "not enough memory"), false;
    r->bytes = more;
    r->bytes_room = room;
  }
  if (n) memcpy(r->bytes + r->used, from, n);
  r->used += n;
  return true;
}

static void *on_nothing(xr_reader *r) {
  return fail(r, "bad-reply", "the server says something that isn't RESP2: is it a Redis?"), NULL;
}

/* The line's end behind a text of that many bytes, which hiredis passes over without a look. */
static bool has_end(const char *text, size_t n) { return text[n] == '\r' && text[n + 1] == '\n'; }

static void *on_text(const redisReadTask *task, char *text, size_t n) {
  xr_reader *r = task->privdata;
  xr_kind kind = task->type == REDIS_REPLY_STRING ? XR_STRING : task->type == REDIS_REPLY_STATUS ? XR_STATUS : XR_ERROR;
  size_t at = r->used;
  if (kind == XR_ERROR && task->type != REDIS_REPLY_ERROR) return on_nothing(r);
  if (!has_end(text, n)) return on_nothing(r);
  return keep(r, text, n) ? add(r, kind, (long long)n, at) : NULL;
}

static void *on_number(const redisReadTask *task, long long number) { return add(task->privdata, XR_INTEGER, number, 0); }

static void *on_nil(const redisReadTask *task) { return add(task->privdata, XR_NIL, 0, 0); }

#if HIREDIS_MAJOR >= 1
typedef size_t count;
#else
typedef int count;
#endif

static unsigned depth(const redisReadTask *task) {
  unsigned n = 0;
  for (; task; task = task->parent) n++;
  return n;
}

static void *on_array(const redisReadTask *task, count n) {
  xr_reader *r = task->privdata;
  if (task->type != REDIS_REPLY_ARRAY || depth(task) > DEEPEST) return on_nothing(r);
  if ((size_t)n > r->max / sizeof(xr_item)) return fail(r, "too-large", "a reply with more parts than are taken"), NULL;
  return add(r, XR_ARRAY, (long long)n, 0);
}

static void on_free(void *object) { (void)object; }

#if HIREDIS_MAJOR >= 1
static void *on_double(const redisReadTask *task, double value, char *text, size_t n) {
  (void)value, (void)text, (void)n;
  return on_nothing(task->privdata);
}

static void *on_bool(const redisReadTask *task, int value) {
  (void)value;
  return on_nothing(task->privdata);
}
#endif

static redisReplyObjectFunctions functions = {
    .createString = on_text,
    .createArray = on_array,
    .createInteger = on_number,
#if HIREDIS_MAJOR >= 1
    .createDouble = on_double,
    .createBool = on_bool,
#endif
    .createNil = on_nil,
    .freeObject = on_free,
};

xr_reader *xr_reader_new(size_t max) {
  xr_reader *r = calloc(1, sizeof *r);
  if (!r) return NULL;
  r->max = max;
  r->reader = redisReaderCreateWithFunctions(&functions);
  if (!r->reader) return free(r), NULL;
  r->reader->privdata = r;
  return r;
}

void xr_reader_free(xr_reader *r) {
  if (!r) return;
  redisReaderFree(r->reader);
  free(r->items);
  free(r->bytes);
  free(r);
}

static size_t unread(const xr_reader *r) { return r->reader->len - r->reader->pos; }

/* A line that doesn't end would be looked through again with each of its bytes. */
static bool is_endless(const xr_reader *r) {
  return unread(r) > LONGEST_LINE && !memchr(r->reader->buf + r->reader->pos, '\n', LONGEST_LINE);
}

void xr_reader_feed(xr_reader *r, const char *bytes, size_t n) {
  if (r->condition) return;
  if (n > r->max || unread(r) > r->max - n) return fail(r, "too-large", "a longer reply than is taken");
  if (redisReaderFeed(r->reader, bytes, n) != REDIS_OK) fail(r, "no-memory", "not enough memory");
}

bool xr_reader_has(xr_reader *r) {
  void *root = NULL;
  if (r->has || r->condition) return r->has;
  if (redisReaderGetReply(r->reader, &root) != REDIS_OK) {
    if (r->reader->err == REDIS_ERR_OOM) fail(r, "no-memory", "not enough memory");
    return on_nothing(r), false;
  }
  if (!root && is_endless(r)) on_nothing(r);
  return r->has = root != NULL;
}

const xr_item *xr_reader_items(const xr_reader *r, size_t *n) {
  *n = r->n;
  return r->items;
}

const char *xr_reader_bytes(const xr_reader *r) { return r->bytes ? r->bytes : ""; }

static void shrink(xr_reader *r) {
  if (r->bytes_room > KEPT) {
    free(r->bytes);
    r->bytes = NULL;
    r->bytes_room = 0;
  }
  if (r->room * sizeof *r->items > KEPT) {
    free(r->items);
    r->items = NULL;
    r->room = 0;
  }
}

void xr_reader_drop(xr_reader *r) {
  r->has = false;
  r->n = r->used = 0;
  shrink(r);
}

const char *xr_reader_fault(const xr_reader *r, const char **text) {
  *text = r->text;
  return r->condition;
}
