/* send: sends stanzas: a table is written as XML, committed to the log, and flushed when the step ends; and requests,
 * for whose response somebody waits. Rank 5: uses what spec/support/arrows lists. */
#ifndef XB_SEND_H
#define XB_SEND_H

#include "state.h"

int xb_l_send(lua_State *L);
int xb_l_request(lua_State *L);
int xb_l_expect(lua_State *L);

#endif
