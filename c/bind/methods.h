/* methods: the connection's userdata: its finalizer, and its methods. Rank 9: uses what spec/support/arrows lists. */
#ifndef XB_METHODS_H
#define XB_METHODS_H

#include "state.h"

void xb_open_conn(lua_State *L);
int xb_l_is_connection(lua_State *L);
/* is_components(address): is the address at the domain of a component's connection? */
int xb_l_is_components(lua_State *L);

#endif
