/* compat: gives Lua 5.5, 5.3, 5.1 and LuaJIT 2.1 the names of Lua 5.4's C API, so that the rest of the binding is
 * written for one Lua. It covers only the functions, and only the behaviour, that the binding uses. The only file that
 * includes Lua's headers. Rank 0.
 *
 * Of LuaJIT it uses nothing that Lua 5.1 lacks, so that a module built for one of the two runs in the other. */
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

/* Raises an error when this module was built for another Lua version than the one that is running. */
void xb_check_lua(lua_State *L);

#if LUA_VERSION_NUM < 504

/* A userdata's user value must be a table: in 5.1 it is the environment, which can be nothing else. */
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

/* Before the call, the coroutine's stack must hold nothing but the function and its arguments: everything on it
 * afterwards counts as a result. */
static inline int xb_resume_counting(lua_State *co, lua_State *from, int n, int *results) {
  int status = xb_resume_by(co, from, n);
  (void)from;
  *results = lua_gettop(co);
  return status;
}
#define lua_resume(co, from, n, results) xb_resume_counting(co, from, n, results)
#define lua_resetthread(co) ((void)(co), LUA_OK) /* these versions have no to-be-closed variables */

int xb_typeerror(lua_State *L, int arg, const char *wanted);
#define luaL_argexpected(L, yes, arg, wanted) ((void)((yes) || xb_typeerror(L, arg, wanted)))

#endif /* < 504 */

#if LUA_VERSION_NUM == 501

#ifndef LUA_OK /* LuaJIT defines this, but not in every build */
#define LUA_OK 0
#endif
#ifndef LUA_GCISRUNNING /* LuaJIT defines it; 5.1's lua_gc returns -1 for any option that it doesn't know */
#define LUA_GCISRUNNING 9
#endif
#undef luaL_newlib
#undef luaL_newlibtable

static inline int xb_absindex(lua_State *L, int i) {
  return i > 0 || i <= LUA_REGISTRYINDEX ? i : lua_gettop(L) + i + 1;
}
#define lua_absindex(L, i) xb_absindex(L, i)
#define lua_rawlen(L, i) lua_objlen(L, i)

/* These versions have one kind of number: an integer is a number that reads back the same when it is written as an
 * integer. */
int xb_isinteger(lua_State *L, int i);
#define lua_isinteger(L, i) xb_isinteger(L, i)

/* In 5.1 these functions don't return the type, or the string, of what they push. */
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

/* can_yield() -> may the coroutine that calls this yield? LuaJIT has coroutine.isyieldable for it. */
int xb_l_can_yield(lua_State *L);

/* In 5.1 lua_checkstack raises an error when there is no memory, which must not happen inside xb_write: it reserves all
 * the stack that a table may need before it begins. */
#define XB_WRITE_STACK(step, depth) (4 * (depth) + (step))
/* In 5.1 each coroutine counts its nested C calls from 0, so Lua itself doesn't notice when nested coroutines use up
 * the C stack. */
#define XB_MOST_NESTED 190
#else
#define XB_MOST_NESTED UINT_MAX
#define XB_WRITE_STACK(step, depth) (step)
#endif

#endif
