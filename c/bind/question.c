#include "question.h"

#include <string.h>

#include "call.h"
#include "flush.h"
#include "ns.h"
#include "out.h"
#include "parts.h"
#include "stanza.h"
#include "state.h"

const char *xb_own_address(const xb_conn *conn, const char *to) {
  const xm_jid *jid = xm_conn_jid(conn->c);
  if (!xm_conn_is_component(conn->c)) return NULL;
  return to ? to : jid ? jid->str : NULL;
}

bool xb_must_be_answered(const char *name, const char *type) {
  return type && strcmp(name, "iq") == 0 && (strcmp(type, "get") == 0 || strcmp(type, "set") == 0);
}

/* NULL: it needs no answer, or can't have one, or there is no memory to remember it. */
static xm_question *ask(xb_conn *conn, const xb_address *a) {
  if (!xb_must_be_answered(a->name, a->type)) return NULL;
  if (a->id && strlen(a->id) > XB_LONGEST_ID) return NULL;
  return xm_route_ask(xm_conn_route(conn->c), a->from, xb_own_address(conn, a->to), a->id);
}

xm_question *xb_ask_tape(xb_conn *conn, const xm_tape *t) {
  xb_address a = {.name = xm_tape_name(t, 0)};
  if (strcmp(a.name, "iq") != 0) return NULL;
  a.type = xm_tape_get(t, 0, "type", NULL);
  a.from = xm_tape_get(t, 0, "from", NULL);
  a.to = xm_tape_get(t, 0, "to", NULL);
  a.id = xm_tape_get(t, 0, "id", NULL);
  return ask(conn, &a);
}

xm_question *xb_ask_table(lua_State *L, xb_conn *conn, int index) {
  xb_address a;
  xm_question *q;
  xb_push_address(L, index, &a);
  q = ask(conn, &a);
  lua_pop(L, XB_ADDRESS);
  return q;
}

/* Writes <error/> with its condition, and a text where there is one. */
static int put_error(xm_out *o, const char *type, const char *condition, const char *text) {
  int rc = xm_out_start(o, "error", "type", type, NULL);
  if (rc == XM_OK) rc = xm_out_start(o, condition, "xmlns", XM_NS_STANZAS, NULL);
  if (rc == XM_OK) rc = xm_out_end(o, condition);
  if (rc == XM_OK && text) rc = xm_out_start(o, "text", "xmlns", XM_NS_STANZAS, NULL);
  if (rc == XM_OK && text) rc = xm_out_text(o, text, strlen(text));
  if (rc == XM_OK && text) rc = xm_out_end(o, "text");
  return rc == XM_OK ? xm_out_end(o, "error") : rc;
}

/* Answers the question with an error (RFC 6120 8.3), and frees it. */
static void answer(xb_conn *conn, xm_question *q, const char *type, const char *condition, const char *text) {
  const char *to = xm_question_from(q), *from = xm_question_to(q);
  xm_buf *out;
  xm_out o;
  size_t mark;
  int rc;
  if (!conn->c || conn->ended) return xm_question_free(q);
  out = xm_conn_out(conn->c);
  mark = xm_buf_mark(out);
  o = xm_out_begin(out);
  rc = xm_out_start(&o, "iq", "type", "error", "id", xm_question_id(q), "to", to ? to : (char *)NULL, NULL);
  if (rc == XM_OK && from) rc = xm_out_attr(&o, "from", 4, from, strlen(from));
  if (rc == XM_OK) rc = put_error(&o, type, condition, text);
  if (rc == XM_OK) rc = xm_out_end(&o, "iq");
  if (rc == XM_OK) {
    xm_conn_commit(conn->c, mark, XM_SM_ANSWER, NULL, NULL);
    xb_flush_soon(conn);
  } else {
    xm_out_abandon(&o);
  }
  xm_question_free(q);
}

void xb_answer_unavailable(xb_conn *conn, xm_question *q) {
  answer(conn, q, "cancel", "service-unavailable", NULL);
}

void xb_answer_skipped(xb_conn *conn, xm_question *q, const char *text) {
  answer(conn, q, "modify", "policy-violation", text);
}

static size_t length(const char *s) { return s ? strlen(s) : 0; }

int xb_l_claim(lua_State *L) {
  xb_conn *conn = xb_check_conn(L);
  xm_route_request answer = {.id = ""};
  xb_address a;
  luaL_checktype(L, 2, LUA_TTABLE);
  xb_push_address(L, 2, &a);
  if (!conn->c || !xb_must_be_answered(a.name, a.type)) return 0;
  if (a.id) answer.id = a.id;
  answer.id_len = length(a.id);
  answer.to = a.from;
  answer.to_len = length(a.from);
  answer.sent_from = xb_own_address(conn, a.to);
  answer.sent_from_len = length(answer.sent_from);
  xm_route_answered(xm_conn_route(conn->c), xb_asked_now(conn), &answer);
  return 0;
}
