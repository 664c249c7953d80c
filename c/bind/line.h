/* line: the filter option `serial = "from"`: stanzas that wait until the call before them, of the same function and for
 * the same sender, is over. A line is identified by the function's key in XB_MODES and by the sender's address of `n`
 * bytes. Rank 6: uses state, charge, parts, question, queue. */
#ifndef XB_LINE_H
#define XB_LINE_H

#include "state.h"

/* A stanza that waits in a line, or whose turn has come. */
typedef struct xb_turn {
  xb_line *line;
  lua_Integer key;
  size_t size;
  xm_question *question; /* a reference is held; NULL: none */
} xb_turn;
/* The line for a function and a sender. NULL: there is none, so the function isn't being called for this sender. */
xb_line *xb_find_line(const xb_conn *conn, lua_Integer key, const char *from, size_t n);
/* Creates a line: the function is about to be called; xb_line_goes_on must be called when that call is over. NULL:
 * there is no memory. */
xb_line *xb_new_line(xb_conn *conn, lua_Integer key, const char *from, size_t n);
/* Appends the stanza on top of the stack, with size and question of `turn` (of which another reference is held), to its
 * line, and pops it. false: the line has ended in the meantime. */
bool xb_join_line(lua_State *L, xb_conn *conn, int index, lua_Integer key, const char *from, size_t n, xb_turn *turn);
/* The call is over: the next stanza's turn comes, or the line ends if there is none. Takes no memory. */
void xb_line_goes_on(xb_conn *conn, xb_line *line);
/* Pushes a stanza whose turn has come; false: there is none. Takes no memory. */
bool xb_next_in_line(lua_State *L, xb_conn *conn, int index, xb_turn *turn);
/* The function with that key has been removed: drops the stanzas that wait for it. Their requests are answered with an
 * error. */
void xb_leave_lines(lua_State *L, xb_conn *conn, int index, lua_Integer key);
void xb_free_lines(xb_conn *conn);

#endif
