/* connect: from a table of options to a connection. The options have been checked in Lua. Rank 7: knows state, fault,
 * parts, jids, wait, stanza, save. */
#ifndef XB_CONNECT_H
#define XB_CONNECT_H

#include "state.h"

int xb_l_connect(lua_State *L);
void xb_open_connect(lua_State *L);
/* The TLS sessions that contexts have kept. */
void xb_forget_sessions(lua_State *L);

#endif
