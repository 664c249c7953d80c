/* jids: the Jid userdata: a prepared address that never changes (RFC 7622). Rank 2: uses state, shrink, fault. */
#ifndef XB_JIDS_H
#define XB_JIDS_H

#include "jid.h"
#include "state.h"

void xb_open_jid(lua_State *L);
void xb_push_jid(lua_State *L, const xm_jid *jid);
const xm_jid *xb_test_jid(lua_State *L, int index);
int xb_l_jid(lua_State *L);
int xb_l_is_jid(lua_State *L);
int xb_l_host(lua_State *L);
int xb_l_url(lua_State *L);
int xb_l_folded(lua_State *L);
int xb_l_spelled(lua_State *L);

#endif
