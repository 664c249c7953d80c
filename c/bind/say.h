/* say: messages for the person who runs the program: errors that no listener takes, and warnings. They go to stderr, or
 * to a function if the host owns the screen (an editor). Rank 0: uses compat. */
#ifndef XB_SAY_H
#define XB_SAY_H

#include "compat.h"

/* Prints the pieces (an array that ends with NULL) as one line. Never raises; takes memory of Lua's only when a
 * function has been set by say_by. */
void xb_say(lua_State *L, const char *const *pieces);
int xb_l_say_by(lua_State *L);

#endif
