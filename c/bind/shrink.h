/* shrink: gives memory back after very many objects have been alive at once. A Lua table grows, and never shrinks by
 * itself; glibc returns memory to the system by itself only from the end of its heap. A "shrinker" is a userdata whose
 * finalizer remedies both: it rebuilds the library's weak tables at the size that they need now, and calls malloc_trim.
 * Since the objects' memory becomes free over several cycles of the collector, a shrinker creates another one a few
 * times. Rank 1: uses state. */
#ifndef XB_SHRINK_H
#define XB_SHRINK_H

#include "state.h"

enum { XB_MANY = 16 * 1024 }; /* objects at once; from here on it is worth giving memory back */

void xb_open_shrink(lua_State *L);
/* Creates a weak table in the registry under `key`. A shrinker may replace it by a smaller table with the same entries,
 * so whoever adds an entry must push the table afresh, and must not allocate (which may run finalizers) between that
 * and the assignment. */
void xb_new_weak(lua_State *L, const char *mode, const void *key);
/* Pushes a shrinker: memory is given back when it has been collected, and in the cycles that follow. */
void xb_push_shrinker(lua_State *L);

#endif
