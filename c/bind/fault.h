/* fault: errors as values: tables with a metatable, and how much of a stranger's text they may quote. Rank 1: uses
 * state. */
#ifndef XB_FAULT_H
#define XB_FAULT_H

#include "err.h"
#include "state.h"

/* Makes the metatable of errors. */
void xb_open_fault(lua_State *L);
void xb_push_error(lua_State *L, const xm_err *e);
/* nil and an error table: 2. */
int xb_fail(lua_State *L, const xm_err *e);
/* Pushes the error that using, or waiting on, a closed connection gives. */
void xb_push_closed(lua_State *L, const xb_conn *conn);
/* Pushes the string at `index` as an error may quote it: at most 100 bytes, with control characters and broken UTF-8
 * replaced. */
void xb_push_shown(lua_State *L, int index);
int xb_l_shown(lua_State *L);
/* Is the value at `index` the string `name`? One with a zero byte, where C would stop reading, is not. */
bool xb_is_named(lua_State *L, int index, const char *name);
/* __concat of errors and Jids. */
int xb_l_concat(lua_State *L);
/* error(t) -> t, which is given the metatable of errors */
int xb_l_error(lua_State *L);

#endif
