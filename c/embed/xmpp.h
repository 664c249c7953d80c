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

#ifdef __cplusplus
extern "C" {
#endif

/* The module, and from then on, where there is a `require`, what is below it by that: require "xmpp.xexpr". */
int luaopen_xmpp(lua_State *L);

/* xmpp.core alone, which is lua/xmpp's own business: for package.preload of a program that brings those files along. */
int luaopen_xmpp_core(lua_State *L);

#ifdef __cplusplus
}
#endif

#endif
