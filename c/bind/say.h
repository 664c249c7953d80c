/* say: what is for who runs the program: errors that nobody listens for, and warnings. On stderr, or where a host that
 * owns the screen (an editor) has asked for it. Rank 0: knows compat. */
#ifndef XB_SAY_H
#define XB_SAY_H

#include "compat.h"

/* Says the pieces (the last is NULL), as one line, to who runs the program. Never raises; takes memory only where a host has
 * asked for it (say_by). */
void xb_say(lua_State *L, const char *const *pieces);
int xb_l_say_by(lua_State *L);

#endif
