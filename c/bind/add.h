/* add: children that functions append to what is sent. Rank 4: knows state, call, parts, listen, stanza. */
#ifndef XB_ADD_H
#define XB_ADD_H

#include "state.h"

/* The stanza at index 2, about to be sent on the connection at index 1, becomes a copy with what is to be added to it, where
 * something is. */
void xb_append(lua_State *L, xb_conn *conn);
int xb_l_add(lua_State *L);

#endif
