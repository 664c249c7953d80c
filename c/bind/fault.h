/* fault: errors as values: tables with a metatable, and what they may show. Rank 1: knows state. */
#ifndef XB_FAULT_H
#define XB_FAULT_H

#include "err.h"
#include "state.h"

/* Makes the metatable of errors. */
void xb_open_fault(lua_State *L);
void xb_push_error(lua_State *L, const xm_err *e);
/* nil and an error table: 2. */
int xb_fail(lua_State *L, const xm_err *e);
/* The error of whoever uses a closed connection. */
void xb_push_closed(lua_State *L, const xb_conn *conn);
/* The string at `index` as an error may show it: mended, and no more than 100 bytes. */
void xb_push_shown(lua_State *L, int index);
int xb_l_shown(lua_State *L);
/* __concat of errors and Jids. */
int xb_l_concat(lua_State *L);
/* error(t) -> the table, an error now. */
int xb_l_error(lua_State *L);

#endif
