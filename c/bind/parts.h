/* parts: how a connection's userdata is found, the Lua values that belong to it, and what keeps it alive. Rank 1: uses
 * state. */
#ifndef XB_PARTS_H
#define XB_PARTS_H

#include "state.h"

void xb_open_parts(lua_State *L);
/* The connection at index 1. Raises if it is none, or has been collected; one that has ended is fine. */
extern const char xb_conn_kind;
xb_conn *xb_check_conn(lua_State *L);
/* Creates the sentinel, a userdata in the registry whose finalizer notes that lua_close has begun (st->closing).
 * Finalizers run in the reverse order of creation, so a new one must follow each connection: it is then finalized
 * before the connection is. */
void xb_put_sentinel(lua_State *L, xb_state *st);
/* xb_register_conn enters the userdata at `index` in a weak table, by its address; after that xb_push_conn pushes it,
 * or nil when it has been collected. */
void xb_register_conn(lua_State *L, xb_conn *conn, int index);
void xb_push_conn(lua_State *L, xb_conn *conn);
/* A connection that may still have something to report is "pinned": a reference in the registry keeps it from being
 * collected. This sets or clears the reference as the connection's state now requires. */
void xb_keep_alive(lua_State *L, xb_conn *conn);
/* Sets the reference, for something that is about to need it; xb_keep_alive decides anew afterwards. */
void xb_pin(lua_State *L, xb_conn *conn);
/* Pushes a part (XB_HANDLER, ...) of the connection at index `conn`; xb_set_part pops the value on top of the stack and
 * makes it that part. */
void xb_push_part(lua_State *L, int conn, int part);
void xb_set_part(lua_State *L, int conn, int part);
/* The flags in XB_MODES for that function's key; 0: none. */
unsigned xb_mode(lua_State *L, int conn, lua_Integer key);

#endif
