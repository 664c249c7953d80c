/* parts: where a connection's userdata is found, what belongs to it in Lua, and what keeps it alive. Rank 1: knows
 * state. */
#ifndef XB_PARTS_H
#define XB_PARTS_H

#include "state.h"

void xb_open_parts(lua_State *L);
/* The userdata at index 1, which must be open or have been. */
extern const char xb_conn_kind;
xb_conn *xb_check_conn(lua_State *L);
/* Puts a userdata in the registry that is collected first of all when lua_close has begun: finalizers run in the reverse
 * order of creation, so each connection has to be followed by one. */
void xb_put_sentinel(lua_State *L, xb_state *st);
/* Makes it known by its address, weakly; then its userdata can be pushed (nil when it has been collected). */
void xb_register_conn(lua_State *L, xb_conn *conn, int index);
void xb_push_conn(lua_State *L, xb_conn *conn);
/* Pins it, or no longer, as things stand now. */
void xb_keep_alive(lua_State *L, xb_conn *conn);
/* Pins it for what is about to need it. */
void xb_pin(lua_State *L, xb_conn *conn);
/* A part (XB_HANDLER, ...) of the connection at an index; set: from the top of the stack. */
void xb_push_part(lua_State *L, int conn, int part);
void xb_set_part(lua_State *L, int conn, int part);
/* XB_MODES, for a function's key. */
unsigned xb_mode(lua_State *L, int conn, lua_Integer key);

#endif
