/* xmpp: the library for programs that embed Lua: libxmpp.a or libxmpp.so, built by `make lib`, both with all of
 * lua/xmpp in them. Nothing is looked for on disk, and the package library is not needed; base, coroutine, string,
 * table and math are (but a host need not show all of these to its scripts).
 *
 *   luaL_requiref(L, "xmpp", luaopen_xmpp, 0);
 *
 * One Lua state is used by one thread at a time; states are independent of each other. lua_close closes whatever
 * connections are open. Each of these functions leaves one value on the stack, and may raise an error. */
#ifndef XMPP_H
#define XMPP_H

#include <lua.h>

/* Of this header; `make lib` writes it here. What the library itself is of, Lua is told: xmpp._VERSION. */
#define XMPP_VERSION "@VERSION@"

#ifdef __cplusplus
extern "C" {
#endif

/* The module xmpp. If there is a `require`, it finds the modules below from then on: require "xmpp.xexpr". */
int luaopen_xmpp(lua_State *L);

/* xmpp.core alone, which only lua/xmpp uses: for package.preload, in a program that has the Lua files itself. */
int luaopen_xmpp_core(lua_State *L);

/* An allocator that a host may give to lua_newstate instead of its own (Lua 5.1 and 5.3 to 5.5; LuaJIT needs its own):
 * with it, turning a stanza into a table takes a tenth fewer instructions.
 *
 *   xmpp_allocator *a = xmpp_allocator_new();
 *   lua_State *L = a ? lua_newstate(xmpp_alloc, a) : NULL;
 *   ...
 *   lua_close(L);
 *   xmpp_allocator_free(a);
 *
 * Each state needs its own allocator, which is used by one thread at a time, as the state is. Blocks of up to 512 bytes
 * lie in arenas of 128 KiB, larger ones come from malloc. An arena is freed with the last block in it, except for one
 * that is kept. So after a burst as many arenas are left as have a live block in them, and that one; empty pages in
 * them are used for blocks of any size up to 512 bytes. */
typedef struct xmpp_allocator xmpp_allocator;

xmpp_allocator *xmpp_allocator_new(void); /* NULL: no memory */
/* A lua_Alloc. A host that counts or limits memory may call it from its own. NULL: no memory, and the old block is
 * unchanged; a block that doesn't grow is never refused. */
void *xmpp_alloc(void *allocator, void *p, size_t was, size_t size);
/* To be called after lua_close. Frees everything in arenas, too. NULL is fine. */
void xmpp_allocator_free(xmpp_allocator *a);

#ifdef __cplusplus
}
#endif

#endif
