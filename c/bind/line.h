/* line: stanzas that wait until the call before them, of the same function and for the same sender, is over. A line is
 * known by the function's key in XB_MODES and by the sender, `n` bytes. Rank 6: knows state, charge, parts, question, queue. */
#ifndef XB_LINE_H
#define XB_LINE_H

#include "state.h"

/* A stanza whose turn it is, or isn't yet. */
typedef struct xb_turn {
  xb_line *line;
  lua_Integer key;
  size_t size;
  xm_question *question; /* held; NULL: none */
} xb_turn;
/* NULL: nobody is being called. */
xb_line *xb_find_line(const xb_conn *conn, lua_Integer key, const char *from, size_t n);
/* Somebody is about to be; with xb_line_goes_on when that is over. NULL: no memory. */
xb_line *xb_new_line(xb_conn *conn, lua_Integer key, const char *from, size_t n);
/* The stanza on top of the stack, with size and question of `turn` (which is held once more), goes to the end of its line; pops
 * it. false: meanwhile there is none. */
bool xb_join_line(lua_State *L, xb_conn *conn, int index, lua_Integer key, const char *from, size_t n, xb_turn *turn);
/* The call is over: the next has its turn, else the line ends. Takes no memory. */
void xb_line_goes_on(xb_conn *conn, xb_line *line);
/* Pushes a stanza whose turn it is; false: there is none. Takes no memory. */
bool xb_next_in_line(lua_State *L, xb_conn *conn, int index, xb_turn *turn);
/* The function is there no more: nor is who waits for it. */
void xb_leave_lines(lua_State *L, xb_conn *conn, int index, lua_Integer key);
void xb_free_lines(xb_conn *conn);

#endif
