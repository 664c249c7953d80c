#include "flush.h"

#include "state.h"

/* After a flush the connection may have something to report: to waiters, to a sender that watches its stanza, or to the
 * log. */
static void wake_who_waits(xb_conn *conn) {
  if (conn->waiters.first || conn->watched || conn->stopped || (conn->logs && xm_buf_len(xm_conn_log(conn->c)))) xb_mark_ready(conn);
}

void xb_flush_soon(xb_conn *conn) {
  xb_state *st = conn->st;
  if (!st->stepping) {
    xm_conn_flush(conn->c);
    wake_who_waits(conn);
    xm_loop_sync(st->loop);
  } else if (!conn->is_unflushed) {
    conn->is_unflushed = true;
    conn->next_unflushed = st->unflushed;
    st->unflushed = conn;
  }
}

void xb_flush_all(xb_state *st) {
  while (st->unflushed) {
    xb_conn *conn = st->unflushed;
    st->unflushed = conn->next_unflushed;
    conn->is_unflushed = false;
    if (!conn->c) continue;
    xm_conn_flush(conn->c);
    wake_who_waits(conn);
  }
}
