/* save: a session as a plain table, which another process can resume; and what the new connection takes from it. Rank
 * 6: knows state, call, fault, parts, wait, stanza, queue. */
#ifndef XB_SAVE_H
#define XB_SAVE_H

#include "state.h"

int xb_l_save(lua_State *L);
/* The flags (XM_SM_...) of the stanza whose saved table is on top of the stack. */
unsigned xb_saved_flags(lua_State *L);
int xb_l_clocks(lua_State *L);
int xb_l_enqueue(lua_State *L);

#endif
