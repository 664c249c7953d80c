/* xmpp: the library for programs that embed Lua: libxmpp.a or libxmpp.so, of `make lib`, both with all of lua/xmpp in
 * them. Nothing is looked for on disk, and the package library is not needed; base, coroutine, string, table and math
 * are (of which no script has to see more than its host shows it).
 *
 *   luaL_requiref(L, "xmpp", luaopen_xmpp, 0);
 *
 * One Lua state belongs to one thread at a time; states have nothing to do with each other. lua_close closes whatever
 * connections are open. Each of the functions leaves one value on the stack, and may raise.
 */
#ifndef XMPP_H
#define XMPP_H

#include <lua.h>

/* Of this header; `make lib` writes it here. What the library itself is of, Lua is told: xmpp._VERSION. */
#define XMPP_VERSION "@VERSION@"

#ifdef __cplusplus
extern "C" {
#endif

/* The module, and from then on, where there is a `require`, what is below it by that: require "xmpp.xexpr". */
int luaopen_xmpp(lua_State *L);

/* xmpp.core alone, which is lua/xmpp's own business: for package.preload of a program that brings those files along. */
int luaopen_xmpp_core(lua_State *L);

/* An allocator that a host may give to lua_newstate in place of its own (Lua 5.1 and 5.3 to 5.5; LuaJIT has one itself): a
 * stanza becomes a table by a tenth fewer instructions with it.
 *
 *   xmpp_allocator *a = xmpp_allocator_new();
 *   lua_State *L = a ? lua_newstate(xmpp_alloc, a) : NULL;
 *   ...
 *   lua_close(L);
 *   xmpp_allocator_free(a);
 *
 * Each state has one of its own: it is for one thread at a time, as the state is. Blocks of up to 512 bytes lie in arenas of
 * 128 KiB, larger ones are malloc's. An arena goes back to malloc with the last block in it, but for one that is kept. So after
 * a burst there are as many arenas left as have something in them that lives, and that one; pages in them that are empty serve
 * blocks of any size. */
typedef struct xmpp_allocator xmpp_allocator;

xmpp_allocator *xmpp_allocator_new(void); /* NULL: no memory */
/* A lua_Alloc. A host that counts, or bounds, may call it from its own. NULL: no memory, and the old block is as it was; a block
 * that doesn't grow is never refused. */
void *xmpp_alloc(void *allocator, void *p, size_t was, size_t size);
/* After lua_close. What lies in arenas goes, too. NULL is fine. */
void xmpp_allocator_free(xmpp_allocator *a);

#ifdef __cplusplus
}
#endif

#endif
