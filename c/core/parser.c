#include "parser.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Every expat with reparse deferral has this function. Distributions have backported it (Debian to its 2.5.0, from
 * deb12u2 on), so no version macro can tell. */
extern XML_Bool XML_SetReparseDeferralEnabled(XML_Parser, XML_Bool) __attribute__((weak));

/* Positions have 64 bits everywhere in expat 2.9 and later, and are a long in older versions. */
#if XML_MAJOR_VERSION > 2 || XML_MINOR_VERSION >= 9
#define token_begin XML_GetCurrentByteIndex64
#define token_length XML_GetCurrentByteCount64
#define input_context XML_GetInputContext64
typedef int64_t offset_type;
typedef uint64_t size_type;
#else
#define token_begin XML_GetCurrentByteIndex
#define token_length XML_GetCurrentByteCount
#define input_context XML_GetInputContext
typedef int offset_type, size_type;
#endif

enum {
  READ = 16 * 1024,
  SHORT = 4 * 1024, /* up to so many bytes of a tag may be parsed again with each byte that comes */
  CONTEXT = 1024,   /* bytes already parsed that expat keeps in its buffer */
};

/* expat's memory. It is counted for the parser in `at_work`: the allocation functions that expat takes get no argument
 * that would tell which parser calls. What is allocated while the parser is `secret` is wiped before it is freed, also
 * when it was moved since. */

static _Thread_local xm_parser *at_work;

/* A header in front of each block, padded to malloc's alignment. */
typedef union head {
  struct {
    size_t n;
    bool secret;
  } is;
  max_align_t align;
} head;

static void let_go(head *h) {
  if (h->is.secret) xm_wipe(h, h->is.n);
  free(h);
}

/* As realloc, but wipes the old place of a secret. */
static head *move(head *h, size_t all) {
  head *moved;
  if (!h->is.secret) return realloc(h, all);
  moved = malloc(all);
  if (!moved) return NULL;
  memcpy(moved, h, h->is.n < all ? h->is.n : all);
  let_go(h);
  return moved;
}

static void *take(void *old, size_t n) {
  head *h = old ? (head *)old - 1 : NULL;
  size_t had = h ? h->is.n : 0, all = n + sizeof *h;
  bool secret = at_work->secret || (h && h->is.secret);
  if (all < n) return NULL;
  if (all > had && at_work->memory + (all - had) > at_work->most) {
    at_work->full = true;
    return NULL;
  }
  h = h ? move(h, all) : malloc(all);
  if (!h) return NULL;
  at_work->memory += all - had;
  h->is.n = all;
  h->is.secret = secret;
  return h + 1;
}

static void *on_malloc(size_t n) { return take(NULL, n); }

static void *on_realloc(void *p, size_t n) { return take(p, n); }

static void on_free(void *p) {
  head *h = p ? (head *)p - 1 : NULL;
  if (!h) return;
  at_work->memory -= h->is.n;
  let_go(h);
}

/* A new expat that has read the header, if there is one: no handlers are set yet, so none is called. NULL: no
 * memory. */
static XML_Parser make(const xm_buf *header) {
  static const XML_Memory_Handling_Suite suite = {on_malloc, on_realloc, on_free};
  static const char sep[] = {XM_PARSER_SEP, '\0'};
  XML_Parser expat = XML_ParserCreate_MM("UTF-8", &suite, sep);
  if (!expat) return NULL;
  if (!header || XML_Parse(expat, xm_buf_at(header), (int)xm_buf_len(header), 0) == XML_STATUS_OK) return expat;
  XML_ParserFree(expat);
  return NULL;
}

/* Makes a new expat while the old one still exists. Their memory is counted separately. */
static XML_Parser make_another(xm_parser *p, const xm_buf *header, size_t *memory) {
  size_t before = p->memory;
  XML_Parser expat;
  at_work = p;
  p->memory = 0;
  expat = make(header);
  *memory = p->memory;
  p->memory = before;
  return expat;
}

static void put_to_work(xm_parser *p, XML_Parser expat, size_t memory) {
  p->expat = expat;
  p->memory = p->base = memory;
  p->full = p->paused = p->untried = false;
  p->filled = p->last = 0;
  p->room = NULL;
  p->set_handlers(expat, p->arg);
}

int xm_parser_init(xm_parser *p, void (*set_handlers)(XML_Parser expat, void *arg), void *arg) {
  XML_Parser expat;
  size_t memory;
  *p = (xm_parser){.set_handlers = set_handlers, .arg = arg, .most = SIZE_MAX, .piece = READ, .token = SIZE_MAX};
  expat = make_another(p, NULL, &memory);
  if (!expat) return XM_ENOMEM;
  put_to_work(p, expat, memory);
  return XM_OK;
}

void xm_parser_free(xm_parser *p) {
  at_work = p;
  if (p->expat) XML_ParserFree(p->expat);
  p->expat = NULL;
}

size_t xm_parser_spare(const xm_parser *p) {
  size_t needed = p->base + 2 * (p->piece + CONTEXT);
  return p->memory > needed ? p->memory - needed : 0;
}

/* Input. */

static char *room_for(xm_parser *p, size_t n) {
  char *room;
  at_work = p;
  room = XML_GetBuffer(p->expat, (int)n);
  p->room = room;
  p->last = 0;
  return room;
}

char *xm_parser_space(xm_parser *p, size_t *n) {
  *n = p->piece - p->filled;
  return p->filled ? (char *)p->room + p->filled : room_for(p, p->piece);
}

void xm_parser_fill(xm_parser *p, size_t n) {
  p->filled += n;
  p->last = p->filled;
}

void xm_parser_trim(xm_parser *p) {
  char *room = (char *)p->room;
  size_t i = 0;
  while (i < p->filled && (room[i] == ' ' || room[i] == '\n' || room[i] == '\r' || room[i] == '\t')) i++;
  if (i == 0) return;
  p->last = p->filled -= i;
  memmove(room, room + i, p->filled);
}

/* The last `n` bytes in the buffer: what was filled in last, and right before it whatever expat hasn't consumed. */
static const char *last_bytes(const xm_parser *p, size_t n) {
  return p->room + p->last - n;
}

static int fill_unread(xm_parser *p, const xm_buf *from) {
  size_t n = xm_buf_len(from);
  char *to = n ? room_for(p, n) : NULL;
  if (n && !to) return XM_ENOMEM;
  if (n) memcpy(to, xm_buf_at(from), n);
  xm_parser_fill(p, n);
  return XM_OK;
}

/* Frees the old parser; its unread bytes count as not yet given, since the new one gets them. */
static void replace(xm_parser *p, XML_Parser expat, size_t memory, size_t unread, const xm_buf *header) {
  xm_parser_free(p);
  put_to_work(p, expat, memory);
  p->fed = header ? p->fed - unread : 0;
  p->used = p->fed;
  p->index = header ? (uint32_t)xm_buf_len(header) : 0;
  p->look.token = UINT64_MAX;
}

int xm_parser_renew(xm_parser *p, const xm_buf *header) {
  xm_buf bytes = XM_BUF_INIT;
  size_t told = p->paused ? xm_parser_unread(p) : 0, n = told + p->filled, memory;
  XML_Parser expat = NULL;
  int rc = n ? xm_buf_put(&bytes, last_bytes(p, n), n) : XM_OK;
  if (rc == XM_OK) expat = make_another(p, header, &memory);
  if (!expat) rc = XM_ENOMEM;
  if (rc == XM_OK) {
    replace(p, expat, memory, told, header);
    rc = fill_unread(p, &bytes);
  }
  xm_buf_free(&bytes);
  return rc;
}

/* Searches a long unfinished tag or reference for its end, each byte once as it comes. A '>' between quotes isn't an
 * end. Any other token is left to expat, which doesn't wait long for the end of one. */
static bool look_on(xm_parser *p, const char *s, size_t n) {
  if (*s != '<' && *s != '&') return true;
  for (; !p->look.closed && p->look.seen < n; p->look.seen++) {
    char c = s[p->look.seen];
    if (p->look.quote) p->look.quote = c == p->look.quote ? '\0' : p->look.quote;
    else if (*s == '<' && (c == '\'' || c == '"')) p->look.quote = c;
    else if (c == (*s == '<' ? '>' : ';')) p->look.closed = true;
  }
  return p->look.closed;
}

/* The bytes that expat was given and didn't consume are certainly the beginning of one token. */
static bool is_long(const xm_parser *p) {
  return p->fed - p->used > SHORT;
}

static bool may_be_complete(xm_parser *p) {
  size_t n = xm_parser_pending(p);
  if (!is_long(p) || n > p->token || xm_parser_is_declaration(p)) return true;
  if (p->look.token != p->used) {
    p->look.token = p->used;
    p->look.seen = 0;
    p->look.quote = '\0';
    p->look.closed = false;
  }
  return look_on(p, last_bytes(p, n), n);
}

bool xm_parser_is_declaration(const xm_parser *p) {
  const char *s = is_long(p) ? last_bytes(p, xm_parser_pending(p)) : NULL;
  return s && s[0] == '<' && (s[1] == '!' || s[1] == '?');
}

bool xm_parser_is_idle(xm_parser *p) {
  if (p->paused) return false;
  return !p->filled || (p->filled < p->piece && !may_be_complete(p));
}

/* Advances `used` to expat's position. -1: expat doesn't know it. A step stays within expat's buffer, which is smaller
 * than 2 GiB, so 32 bits are enough. */
static void note_position(xm_parser *p) {
  int64_t at = token_begin(p->expat);
  uint32_t step = (uint32_t)at - p->index;
  if (at == -1 || step > p->fed - p->used) return;
  p->used += step;
  p->index += step;
}

static enum XML_Status came_to(xm_parser *p, enum XML_Status status) {
  p->paused = status == XML_STATUS_SUSPENDED;
  note_position(p);
  return status;
}

enum XML_Status xm_parser_go(xm_parser *p) {
  size_t n = p->filled;
  at_work = p;
  p->untried = true;
  if (p->paused) return came_to(p, XML_ResumeParser(p->expat));
  p->fed += n;
  p->filled = 0;
  return came_to(p, XML_ParseBuffer(p->expat, (int)n, 0));
}

bool xm_parser_has_untried(xm_parser *p) {
  return XML_SetReparseDeferralEnabled && p->untried && !p->paused && !p->filled && p->fed != p->used && may_be_complete(p);
}

enum XML_Status xm_parser_try(xm_parser *p) {
  enum XML_Status status;
  at_work = p;
  p->untried = false;
  XML_SetReparseDeferralEnabled(p->expat, XML_FALSE);
  status = XML_Parse(p->expat, "", 0, 0);
  XML_SetReparseDeferralEnabled(p->expat, XML_TRUE);
  return came_to(p, status);
}

uint64_t xm_parser_begin(xm_parser *p) {
  note_position(p);
  return p->used;
}

size_t xm_parser_length(const xm_parser *p) {
  return (size_t)token_length(p->expat);
}

size_t xm_parser_unread(const xm_parser *p) {
  return p->paused ? (size_t)(p->fed - p->used) - xm_parser_length(p) : p->filled;
}

int xm_parser_copy_token(const xm_parser *p, xm_buf *to) {
  offset_type offset;
  size_type size;
  const char *context = input_context(p->expat, &offset, &size);
  size_t n = xm_parser_length(p);
  if (!context || offset < 0 || n > (size_t)size - (size_t)offset) return XM_OK;
  return xm_buf_put(to, context + offset, n);
}

int xm_parser_check_name(const char *s, size_t n) {
  XML_Parser expat = XML_ParserCreateNS("UTF-8", XM_PARSER_SEP);
  bool ok = n > 0 && n < INT_MAX;
  size_t i;
  if (!expat) return XM_ENOMEM;
  for (i = 0; ok && i < n; i++) ok = !strchr(":/> \t\r\n", s[i]); /* NUL is among them, too */
  ok = ok && XML_Parse(expat, "<", 1, 0) && XML_Parse(expat, s, (int)n, 0) && XML_Parse(expat, "/>", 2, 1);
  XML_ParserFree(expat);
  return ok ? XM_OK : XM_EINVAL;
}
