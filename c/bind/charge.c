#include "charge.h"

#include "call.h"

enum { COROUTINE = 2048 }; /* approximate number of bytes that a suspended call takes besides its stanza */

size_t xb_size_of(const xm_tape *t) { return t->bytes.last + t->n * 64; }

void xb_call_waits(xb_conn *conn, size_t size) {
  conn->waiting++;
  conn->held += size + COROUTINE;
}

void xb_call_is_over(xb_conn *conn, size_t size) {
  conn->waiting--;
  conn->held -= size + COROUTINE;
  if (conn->c && (conn->stopped || conn->first != conn->last || conn->draining)) xb_mark_ready(conn);
}

static void waits(const xb_task *t) { xb_call_waits(t->conn, t->size); }

static void over(lua_State *L, const xb_task *t, bool done) {
  (void)L, (void)done;
  if (t->waits && !t->st->closed) xb_call_is_over(t->conn, t->size);
}

void xb_charge(xb_task *task, xb_conn *conn, size_t size) {
  static const xb_duty duty = {waits, over};
  task->conn = conn;
  task->duty = &duty;
  task->size = size;
}

bool xb_must_park(const xb_conn *conn) {
  return conn->held > conn->max_queue;
}
