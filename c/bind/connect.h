/* connect: makes a connection from a table of options, which Lua has checked. Rank 7: uses state, fault, parts, jids,
 * wait, stanza, save, token. */
#ifndef XB_CONNECT_H
#define XB_CONNECT_H

#include "state.h"

int xb_l_connect(lua_State *L);
void xb_open_connect(lua_State *L);
/* Drops the TLS sessions that the shared contexts have kept. */
void xb_forget_sessions(lua_State *L);

#endif
