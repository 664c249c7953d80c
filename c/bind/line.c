#include "line.h"

#include <stdlib.h>
#include <string.h>

#include "charge.h"
#include "parts.h"
#include "question.h"
#include "queue.h"
#include "rnd.h"
#include "state.h"

/* A stanza in a line; its table is in XB_LINED, at `place`. */
typedef struct entry {
  struct entry *next;
  lua_Integer place;
  size_t size;
  xm_question *question; /* a reference is held */
} entry;

/* A line exists while a call is running or suspended, and until all stanzas that wait for its end have been
 * dispatched. */
struct xb_line {
  xm_node in;
  xb_line *next_due;
  lua_Integer key;
  entry *first, **end;
  size_t n; /* length of `from` */
  char from[];
};

static uint64_t hash_of(const xb_conn *conn, lua_Integer key, const char *from, size_t n) {
  return xm_mixed(xm_mix(conn->seed + (uint64_t)key, from, n));
}

xb_line *xb_find_line(const xb_conn *conn, lua_Integer key, const char *from, size_t n) {
  uint64_t hash = hash_of(conn, key, from, n);
  xb_line *l = NULL;
  while ((l = (xb_line *)xm_table_find(&conn->lines, l ? &l->in : NULL, hash)))
    if (l->key == key && l->n == n && memcmp(l->from, from, n) == 0) break;
  return l;
}

xb_line *xb_new_line(xb_conn *conn, lua_Integer key, const char *from, size_t n) {
  xb_line *l = malloc(sizeof *l + n);
  if (!l) return NULL;
  if (!conn->seed && xm_rnd_bytes(&conn->seed, sizeof conn->seed) < 0) conn->seed = (uintptr_t)conn;
  *l = (xb_line){.in.hash = hash_of(conn, key, from, n), .key = key, .end = &l->first, .n = n};
  memcpy(l->from, from, n);
  if (xm_table_put(&conn->lines, &l->in) == XM_OK) return l;
  free(l);
  return NULL;
}

static void end_line(xb_conn *conn, xb_line *l) {
  xm_table_take(&conn->lines, &l->in);
  free(l);
}

static void set_lined(lua_State *L, int at, lua_Integer place) {
  xb_push_part(L, at, XB_LINED);
  lua_insert(L, -2);
  lua_rawseti(L, -2, place);
  lua_pop(L, 1);
}

/* What takes memory comes first: it may run finalizers, by which the call that the stanza waits for may end. */
bool xb_join_line(lua_State *L, xb_conn *conn, int at, lua_Integer key, const char *from, size_t n, xb_turn *turn) {
  lua_Integer place = ++conn->lined;
  entry *e;
  xb_line *l;
  set_lined(L, at, place);
  e = malloc(sizeof *e);
  l = e ? xb_find_line(conn, key, from, n) : NULL;
  if (!l) {
    bool out_of_memory = !e;
    free(e);
    lua_pushnil(L);
    set_lined(L, at, place);
    if (out_of_memory) luaL_error(L, "not enough memory");
    return false;
  }
  *e = (entry){.place = place, .size = turn->size, .question = turn->question};
  if (e->question) xm_question_hold(e->question);
  *l->end = e;
  l->end = &e->next;
  xb_call_waits(conn, e->size);
  return true;
}

void xb_line_goes_on(xb_conn *conn, xb_line *l) {
  if (!l->first) return end_line(conn, l);
  l->next_due = NULL;
  *conn->due_end = l;
  conn->due_end = &l->next_due;
  xb_mark_ready(conn);
}

/* Takes the first stanza out of the line. */
static entry take_first(xb_conn *conn, xb_line *l) {
  entry *e = l->first, was = *e;
  l->first = e->next;
  if (!l->first) l->end = &l->first;
  free(e);
  xb_call_is_over(conn, was.size);
  return was;
}

/* Takes the first line that is due; those that have become empty in the meantime are freed. */
static xb_line *take_due(xb_conn *conn) {
  xb_line *l;
  while ((l = conn->due)) {
    conn->due = l->next_due;
    if (!conn->due) conn->due_end = &conn->due;
    if (l->first) return l;
    end_line(conn, l);
  }
  return NULL;
}

bool xb_next_in_line(lua_State *L, xb_conn *conn, int at, xb_turn *turn) {
  entry e;
  if (!conn->due) return false;
  turn->line = take_due(conn);
  if (!turn->line) return false;
  e = take_first(conn, turn->line);
  turn->key = turn->line->key;
  turn->size = e.size;
  turn->question = e.question;
  xb_push_part(L, at, XB_LINED);
  lua_rawgeti(L, -1, e.place);
  lua_remove(L, -2);
  lua_pushnil(L);
  set_lined(L, at, e.place);
  return true;
}

static void drop_all(lua_State *L, xb_conn *conn, int at, xb_line *l) {
  while (l->first) {
    entry e = take_first(conn, l);
    lua_pushnil(L);
    set_lined(L, at, e.place);
    if (e.question && xm_question_release(xm_conn_route(conn->c), e.question)) xb_answer_unavailable(conn, e.question);
  }
}

void xb_leave_lines(lua_State *L, xb_conn *conn, int at, lua_Integer key) {
  const xm_node *n;
  size_t i;
  for (i = 0; i < conn->lines.cap; i++)
    for (n = conn->lines.buckets[i]; n; n = n->next)
      if (((xb_line *)n)->key == key) drop_all(L, conn, at, (xb_line *)n);
}

void xb_free_lines(xb_conn *conn) {
  xb_line *l;
  size_t at = 0;
  while ((l = (xb_line *)xm_table_any(&conn->lines, &at))) {
    while (l->first) {
      entry e = take_first(conn, l);
      if (e.question) xm_question_release(NULL, e.question);
    }
    end_line(conn, l);
  }
  xm_table_free(&conn->lines);
}
