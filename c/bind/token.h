/* token: a connection's token (XEP-0484) to a Lua table, and back. Rank 3: uses state, parts, listen. */
#ifndef XB_TOKEN_H
#define XB_TOKEN_H

#include "state.h"

/* token() -> { version=1, jid=, user_agent=, mechanism=, token=, expiry= }; nil: there is none */
int xb_l_token(lua_State *L);
/* There is a new token: tells the listeners to "token". */
void xb_tell_token(lua_State *L, xb_conn *conn, int index);
/* Reads the option `token`, which lua/xmpp has checked, from the options at index 1. false: there is none. */
bool xb_read_token(lua_State *L, xm_token *token);

#endif
