/* module: luaopen_xmpp_core, and the steps of the loop. */
#include <math.h>
#include <stdlib.h>

#include "bytes.h"
#include "call.h"
#include "callback.h"
#include "compat.h"
#include "connect.h"
#include "dispatch.h"
#include "fault.h"
#include "flush.h"
#include "jids.h"
#include "keyring.h"
#include "known.h"
#include "methods.h"
#include "parts.h"
#include "rnd.h"
#include "save.h"
#include "say.h"
#include "shrink.h"
#include "stanza.h"
#include "state.h"
#include "wait.h"

enum { ALL = 1 << 30 };

/* Each connection that is ready has one turn; one that becomes ready again has its turn in the next step. Returns how
 * many stanzas were dispatched; `most` bounds the number of calls. */
static int serve(lua_State *L, xb_state *st, int most) {
  int stanzas = 0;
  size_t n = 0;
  xb_conn *conn;
  for (conn = st->ready; conn; conn = conn->next_ready) n++;
  for (; n > 0 && st->ready && most > 0; n--) most -= xb_service(L, xb_take_ready(st), most, &stanzas);
  return stanzas;
}

/* How many of a step's calls may be for timers and tasks. If connections are ready, too, each side gets half (the odd
 * one in alternation), so that neither has to wait until the other has nothing to do. */
static int share(const xb_state *st, int most) {
  return st->ready ? most / 2 + (most & (int)st->turns & 1) : most;
}

static int l_step_protected(lua_State *L) {
  xb_state *st = lua_touserdata(L, 1);
  int most = (int)lua_tointeger(L, 2), others;
  st->turns++;
  others = share(st, most);
  xm_loop_fire_some(st->loop, others);
  others = xb_finish_due(L, st, others);
  lua_pushinteger(L, serve(L, st, most - others));
  return 1;
}

static int wait_ms(lua_State *L, const xb_state *st, int index) {
  double seconds = luaL_optnumber(L, index, 0);
  luaL_argcheck(L, !isnan(seconds), index, "seconds expected, got nan");
  if (st->ready || st->due) return 0;
  return seconds < 0 || seconds > 1e6 ? -1 : (int)ceil(seconds * 1000);
}

/* step([timeout = 0] [, max_stanzas]) -> number of stanzas dispatched. A negative timeout waits without a limit. */
static int l_step(lua_State *L) {
  xb_state *st = xb_state_of(L);
  int ms = wait_ms(L, st, 1), status;
  lua_Integer most = luaL_optinteger(L, 2, ALL);
  luaL_argcheck(L, most > 0, 2, "at least 1 expected");
  if (st->stepping)
    return luaL_error(L, "a step is being made already: inside a handler or callback, wait by yielding (await, sleep), "
                         "which needs a coroutine that can yield here");
  lua_pushvalue(L, lua_upvalueindex(1)); /* l_step_protected: kept, since pushing a C function anew allocates a closure
                                            in 5.1 */
  lua_pushlightuserdata(L, st);
  lua_pushinteger(L, most > ALL ? ALL : most);
  st->stepping = true;
  xm_loop_turn(st->loop, ms);
  status = lua_pcall(L, 2, 1, 0);
  xb_flush_all(st);
  xm_loop_sync(st->loop);
  st->stepping = false;
  return status == LUA_OK ? 1 : lua_error(L);
}

static int l_is_busy(lua_State *L) {
  lua_pushboolean(L, xb_is_busy(xb_state_of(L)));
  return 1;
}

static int l_hears_signals(lua_State *L) {
  lua_pushboolean(L, xb_state_of(L)->signals > 0);
  return 1;
}

static int l_is_stepping(lua_State *L) {
  lua_pushboolean(L, xb_state_of(L)->stepping);
  return 1;
}

static int l_fd(lua_State *L) {
  lua_pushinteger(L, xm_loop_fd(xb_state_of(L)->loop));
  return 1;
}

/* timeout() -> seconds until a step is needed, 0 if one is due; nil: none is needed until the descriptor is readable */
static int l_timeout(lua_State *L) {
  xb_state *st = xb_state_of(L);
  int ms = xm_loop_timeout(st->loop);
  if (st->ready || st->due) ms = 0;
  if (ms < 0) return lua_pushnil(L), 1;
  lua_pushnumber(L, ms / 1000.0);
  return 1;
}

/* ask_again(): steps were made by something that waited, not by the host, which sleeps meanwhile and may know an
 * outdated timeout: wakes the host. */
static int l_ask_again(lua_State *L) {
  xm_loop_ask_again(xb_state_of(L)->loop);
  return 0;
}

static int l_id(lua_State *L) {
  char id[XM_RND_ID + 1];
  if (xm_rnd_supplied_id(&xb_state_of(L)->ids, id) < 0) return luaL_error(L, "the system has no random bytes to give");
  lua_pushlstring(L, id, XM_RND_ID);
  return 1;
}

/* now() -> seconds of a clock that only goes forward */
static int l_now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)xm_loop_now(xb_state_of(L)->loop) / 1000);
  return 1;
}

/* The seconds at `index`, in milliseconds since 1970. */
static int64_t moment(lua_State *L, int index) {
  double seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds >= 0 && seconds < 1e11, index, "seconds since 1970 expected");
  return (int64_t)floor(seconds * 1000 + 0.5);
}

/* For tests. clock(true [, seconds]): gives the Lua state a clock of its own, which stands still at so many seconds
 * since 1970 (default: now). clock(seconds): sets it forward. clock(false): the system's clock again. clock() -> the
 * time of its own clock; nil: it has none. */
static int l_clock(lua_State *L) {
  xm_loop *l = xb_state_of(L)->loop;
  int64_t to;
  lua_settop(L, 2);
  if (lua_isnil(L, 1)) {
    if (!xm_loop_has_own_clock(l)) return lua_pushnil(L), 1;
    to = xm_loop_wall(l);
    if (to % 1000) lua_pushnumber(L, (lua_Number)to / 1000);
    else lua_pushinteger(L, (lua_Integer)(to / 1000));
    return 1;
  }
  if (lua_isboolean(L, 1)) {
    if (lua_toboolean(L, 1)) xm_loop_own_clock(l, lua_isnil(L, 2) ? xm_loop_wall(l) : moment(L, 2));
    else xm_loop_system_clock(l);
    return 0;
  }
  to = moment(L, 1);
  if (!xm_loop_has_own_clock(l)) return luaL_error(L, "the system's clock isn't set: call clock(true) first");
  luaL_argcheck(L, to >= xm_loop_wall(l), 1, "the clock goes only forward");
  xm_loop_pass(l, (uint64_t)(to - xm_loop_wall(l)));
  return 0;
}

/* For tests. seed(number): makes the ids that follow predictable; seed(nil): random again. */
static int l_seed(lua_State *L) {
  xb_state *st = xb_state_of(L);
  uint64_t seed;
  if (lua_isnoneornil(L, 1)) return xm_rnd_seed(&st->ids, NULL), 0;
  seed = (uint64_t)luaL_checkinteger(L, 1);
  xm_rnd_seed(&st->ids, &seed);
  return 0;
}

/* warn(text): a warning for the person who runs the program; a sandbox has no io to write it by. */
static int l_warn(lua_State *L) {
  const char *const words[] = {"xmpp: ", luaL_checkstring(L, 1), NULL};
  xb_say(L, words);
  return 0;
}

/* forget(): drops everything that logins have left for the next ones. */
static int l_forget(lua_State *L) {
  (void)xb_state_of(L);
  xm_keyring_forget();
  xm_known_clear();
  xb_forget_sessions(L);
  return 0;
}

/* turns() -> how many steps have been made so far */
static int l_turns(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)xb_state_of(L)->turns);
  return 1;
}

/* methods(t, close): sets a connection's __index, the table of its methods, and __close, for to-be-closed variables. */
static int l_methods(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  luaL_getmetatable(L, XB_CONN);
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "__close");
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "__index");
  return 0;
}

static int l_state_gc(lua_State *L) {
  xb_state *st = luaL_checkudata(L, 1, XB_STATE);
  if (st->closed) return 0;
  st->closed = true;
  xb_free_waiters(L, st->loop, &st->waiters);
  xb_free_state(st);
  return 0;
}

static const luaL_Reg functions[] = {{"connect", xb_l_connect},
                                     {"is_connection", xb_l_is_connection},
                                     {"is_components", xb_l_is_components},
                                     {"jid", xb_l_jid},
                                     {"is_jid", xb_l_is_jid},
                                     {"host", xb_l_host},
                                     {"url", xb_l_url},
                                     {"folded", xb_l_folded},
                                     {"spelled", xb_l_spelled},
                                     {"hash", xb_l_hash},
                                     {"base64", xb_l_base64},
                                     {"unbase64", xb_l_unbase64},
                                     {"to_xml", xb_l_to_xml},
                                     {"from_xml", xb_l_from_xml},
                                     {"check_stanza", xb_l_check_stanza},
                                     {"number_text", xb_l_number_text},
                                     {"on_error", xb_l_on_error},
                                     {"timer", xb_l_timer},
                                     {"spawn", xb_l_spawn},
                                     {"signal", xb_l_signal},
                                     {"watch", xb_l_watch},
                                     {"turns", l_turns},
                                     {"abandon", xb_l_abandon},
                                     {"wake", xb_l_wake},
                                     {"owned", xb_l_owned},
                                     {"is_busy", l_is_busy},
                                     {"on_begun", xb_l_on_begun},
                                     {"hears_signals", l_hears_signals},
                                     {"is_stepping", l_is_stepping},
                                     {"fd", l_fd},
                                     {"timeout", l_timeout},
                                     {"ask_again", l_ask_again},
                                     {"id", l_id},
                                     {"error", xb_l_error},
                                     {"shown", xb_l_shown},
                                     {"now", l_now},
                                     {"clock", l_clock},
                                     {"seed", l_seed},
                                     {"clocks", xb_l_clocks},
                                     {"warn", l_warn},
                                     {"say_by", xb_l_say_by},
                                     {"forget", l_forget},
                                     {"methods", l_methods},
#if LUA_VERSION_NUM == 501
                                     {"can_yield", xb_l_can_yield},
#endif
                                     {NULL, NULL}};

__attribute__((visibility("default"))) int luaopen_xmpp_core(lua_State *L) {
  xb_check_lua(L);
  lua_getfield(L, LUA_REGISTRYINDEX, XB_CORE);
  if (lua_istable(L, -1)) return 1; /* opened again, perhaps from another file: connections, timers and tasks go on */
  (void)xb_new_state(L, l_state_gc);
  xb_open_parts(L);
  xb_open_fault(L);
  xb_open_shrink(L);
  xb_open_call(L);
  xb_open_wait(L);
  xb_open_jid(L);
  xb_open_connect(L);
  luaL_newlib(L, functions);
  lua_pushcfunction(L, l_step_protected);
  lua_pushcclosure(L, l_step, 1);
  lua_setfield(L, -2, "step");
  lua_pushliteral(L, "xmpp.core built for " XB_LUA); /* lua/xmpp/load.lua also searches the file for this text */
  lua_setfield(L, -2, "built");
  lua_pushcfunction(L, xb_l_default_handler);
  lua_pushvalue(L, -1);
  xb_be_default_handler(L);
  lua_setfield(L, -2, "default_handler");
  xb_open_conn(L);
  lua_setfield(L, -2, "conn");
  lua_newtable(L);
  lua_setfield(L, -2, "shared");
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, XB_CORE);
  return 1;
}
