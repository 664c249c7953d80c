/* shrink: gives back what very many things at once have left. A table of Lua's grows and never shrinks by itself, and glibc
 * gives back by itself only what is free at the end of its heap. So there is an object that is told of the ends of the
 * collector's cycles, in which what a wave has left becomes free. Rank 1: knows state. */
#ifndef XB_SHRINK_H
#define XB_SHRINK_H

#include "state.h"

enum { XB_MANY = 16 * 1024 }; /* so many at once are more than usual */

void xb_open_shrink(lua_State *L);
/* A weak table in the registry, which after a wave may be another one with the same in it: so whoever puts something in pushes
 * it anew, and does nothing in between that may run a finalizer. */
void xb_new_weak(lua_State *L, const char *mode, const void *key);
/* Pushes an object: when it has been collected memory is given back, then and in the cycles that follow. */
void xb_push_shrinker(lua_State *L);

#endif
