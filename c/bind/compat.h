/* compat: the names of Lua 5.4's API on Lua 5.5, 5.3, 5.1 and LuaJIT 2.1, so that the rest of the binding is written for one
 * Lua. Only what the binding uses, and only as far as it uses it. The one door to Lua's headers. Rank 0.
 *
 * Of LuaJIT nothing is used but what Lua 5.1 has, too: a module built for one of them runs in the other.
 */
#ifndef XB_COMPAT_H
#define XB_COMPAT_H

#include <lauxlib.h>
#include <limits.h>
#include <lua.h>

#if LUA_VERSION_NUM == 505
#define XB_LUA "Lua 5.5"
#elif LUA_VERSION_NUM == 504
#define XB_LUA "Lua 5.4"
#elif LUA_VERSION_NUM == 503
#define XB_LUA "Lua 5.3"
#elif LUA_VERSION_NUM == 501
#define XB_LUA "Lua 5.1 and LuaJIT"
#else
#error "xmpp is for Lua 5.5, 5.4, 5.3, 5.1 and LuaJIT 2.1: set LUA and LUA_PC"
#endif

/* Raises when this module was built for another Lua than the one that runs. */
void xb_check_lua(lua_State *L);

#if LUA_VERSION_NUM < 504

/* A value of a userdata's own must be a table: 5.1 has no other. */
#if LUA_VERSION_NUM == 503
#define lua_getiuservalue(L, i, n) lua_getuservalue(L, i)
#define lua_setiuservalue(L, i, n) lua_setuservalue(L, i)
#define xb_resume_by(co, from, n) lua_resume(co, from, n)
#else
#define lua_getiuservalue(L, i, n) lua_getfenv(L, i)
#define lua_setiuservalue(L, i, n) lua_setfenv(L, i)
#define xb_resume_by(co, from, n) lua_resume(co, n)
#endif
#define lua_newuserdatauv(L, size, n) lua_newuserdata(L, size)

/* The coroutine's stack must have been empty but for the function and its arguments. */
static inline int xb_resume_counting(lua_State *co, lua_State *from, int n, int *results) {
  int status = xb_resume_by(co, from, n);
  (void)from;
  *results = lua_gettop(co);
  return status;
}
#define lua_resume(co, from, n, results) xb_resume_counting(co, from, n, results)
#define lua_resetthread(co) ((void)(co), LUA_OK) /* there is nothing to be closed */

int xb_typeerror(lua_State *L, int arg, const char *wanted);
#define luaL_argexpected(L, yes, arg, wanted) ((void)((yes) || xb_typeerror(L, arg, wanted)))

#endif /* < 504 */

#if LUA_VERSION_NUM == 501

#ifndef LUA_OK /* LuaJIT has these, not under the same conditions everywhere */
#define LUA_OK 0
#endif
#ifndef LUA_GCISRUNNING /* LuaJIT has it; 5.1 answers -1, as to whatever it doesn't know */
#define LUA_GCISRUNNING 9
#endif
#undef luaL_newlib
#undef luaL_newlibtable

static inline int xb_absindex(lua_State *L, int i) {
  return i > 0 || i <= LUA_REGISTRYINDEX ? i : lua_gettop(L) + i + 1;
}
#define lua_absindex(L, i) xb_absindex(L, i)
#define lua_rawlen(L, i) lua_objlen(L, i)

/* Where there is one kind of number: what reads back the same when it is written as an integer. */
int xb_isinteger(lua_State *L, int i);
#define lua_isinteger(L, i) xb_isinteger(L, i)

/* 5.1 says nothing of what it pushes. */
int xb_rawgeti(lua_State *L, int i, lua_Integer n);
void xb_rawseti(lua_State *L, int i, lua_Integer n);
int xb_rawgetp(lua_State *L, int i, const void *p);
void xb_rawsetp(lua_State *L, int i, const void *p);
const char *xb_pushstring(lua_State *L, const char *s);
#define lua_rawgeti(L, i, n) xb_rawgeti(L, i, n)
#define lua_rawseti(L, i, n) xb_rawseti(L, i, n)
#define lua_rawgetp(L, i, p) xb_rawgetp(L, i, p)
#define lua_rawsetp(L, i, p) xb_rawsetp(L, i, p)
#define lua_pushstring(L, s) xb_pushstring(L, s)

const char *xb_tolstring(lua_State *L, int i, size_t *n);
void xb_traceback(lua_State *L, lua_State *of, const char *text);
void *xb_testudata(lua_State *L, int i, const char *type);
void xb_setfuncs(lua_State *L, const luaL_Reg *f);
#define luaL_tolstring(L, i, n) xb_tolstring(L, i, n)
#define luaL_traceback(L, of, text, level) xb_traceback(L, of, text)
#define luaL_testudata(L, i, type) xb_testudata(L, i, type)
#define luaL_setmetatable(L, type) ((void)(luaL_getmetatable(L, type), lua_setmetatable(L, -2)))
#define luaL_setfuncs(L, f, n) xb_setfuncs(L, f)
#define luaL_newlibtable(L, f) lua_createtable(L, 0, sizeof(f) / sizeof *(f) - 1)
#define luaL_newlib(L, f) (luaL_newlibtable(L, f), xb_setfuncs(L, f))

/* can_yield() -> might the coroutine that calls this yield? LuaJIT has coroutine.isyieldable. */
int xb_l_can_yield(lua_State *L);

/* Here lua_checkstack raises when there is no memory, which xb_write mustn't: it asks for all that it may need first. */
#define XB_WALK_STACK(step, depth) (4 * (depth) + (step))
/* Here a coroutine begins to count calls of C anew, so that nobody else sees the end of C's stack coming. */
#define XB_MOST_NESTED 190
#else
#define XB_MOST_NESTED UINT_MAX
#define XB_WALK_STACK(step, depth) (step)
#endif

#endif
