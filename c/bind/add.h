/* add: functions that append a child to each stanza that is sent (conn:add). Rank 4: uses state, call, parts, listen,
 * stanza. */
#ifndef XB_ADD_H
#define XB_ADD_H

#include "state.h"

/* Asks the functions of the connection at index 1 what to add to the stanza at index 2, which is about to be sent. If
 * there is something, the table at index 2 is replaced by a copy with the additions. */
void xb_append(lua_State *L, xb_conn *conn);
int xb_l_add(lua_State *L);

#endif
