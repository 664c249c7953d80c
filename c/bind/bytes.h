/* bytes: hashes and base64, for the extensions in Lua. Rank 2: uses compat, fault. */
#ifndef XB_BYTES_H
#define XB_BYTES_H

#include "compat.h"

int xb_l_hash(lua_State *L);
int xb_l_base64(lua_State *L);
int xb_l_unbase64(lua_State *L);

#endif
