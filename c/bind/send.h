/* send: stanzas out: a table is written, committed, and leaves when the step ends; requests, whose answer somebody
 * awaits. Rank 5: knows what spec/support/arrows lists. */
#ifndef XB_SEND_H
#define XB_SEND_H

#include "state.h"

int xb_l_send(lua_State *L);
int xb_l_request(lua_State *L);
int xb_l_expect(lua_State *L);

#endif
