/* callback: sets and removes who gets stanzas: the handler, the callbacks, the taps and their filters; and
 * conn:receive. Rank 7: uses state, fault, parts, queue, line. */
#ifndef XB_CALLBACK_H
#define XB_CALLBACK_H

#include "state.h"

void xb_remove_callback(lua_State *L, xb_conn *conn, int index, uint64_t slot);
int xb_l_receive(lua_State *L);
int xb_l_set_handler(lua_State *L);
/* Pops the function on top of the stack and makes it the default handler, which xb_push_default_handler pushes. */
void xb_be_default_handler(lua_State *L);
void xb_push_default_handler(lua_State *L);
int xb_l_stop_handler(lua_State *L);
int xb_l_handler(lua_State *L);
int xb_l_set_callback(lua_State *L);
int xb_l_set_callback_once(lua_State *L);
int xb_l_unset_callback(lua_State *L);
int xb_l_callbacks(lua_State *L);
int xb_l_tap(lua_State *L);

#endif
