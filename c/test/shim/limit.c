/* limit: a Lua module that puts itself between the running Lua state and its allocator: it limits the memory, makes an
 * allocation fail, or causes a full collection at every allocation. This concerns only the memory of Lua itself;
 * c/test/shim/faults.c makes allocations of all code fail.
 *
 *   limit.off()         no allocation fails; counting begins anew (as with each of the next three)
 *   limit.bytes(n)      at most n bytes more than are used now can be allocated
 *   limit.nth(n)        the n-th allocation from now fails, and only that one
 *   limit.collect()     every allocation fails at first, so that Lua makes a full collection and tries again.
 *                       Allocations that Lua doesn't try again (which ones depends on its release) don't fail
 *   limit.seen() -> number of allocations, most bytes in use: both since the last call of one of the above
 *   limit.listen()      from now on, text that C code writes to stderr is kept
 *   limit.noise() -> whether any was written; allocates nothing
 *   limit.heard() -> text   ends that, and returns the text */
#include <execinfo.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEARNING = 1 << 20, PLACES = 4, CALLERS = 2 };

static struct {
  lua_Alloc real;
  void *arg;
  enum { OFF, BYTES, NTH, COLLECT, LEARN } mode;
  long long used, most, room; /* bytes since the mode was set: in use, the most, the limit */
  long long count, nth;
  bool retry; /* the last allocation failed, so the next one is Lua's second attempt */
  const void *once[PLACES]; /* callers that don't try a second time */
  int places;
  int depth, tries; /* in mode LEARN: index of the caller in struct callers; number of attempts */
  const void *tried;
} it;

/* The addresses from which the allocator was called, and from which its caller, a function of Lua's, was called. */
typedef struct callers {
  void *at[CALLERS];
} callers;

static __attribute__((noinline)) callers who(void) {
  enum { OURS = 3 }; /* frames to skip at most: this function, the allocator, and a sanitizer's backtrace() */
  void *frames[CALLERS + OURS] = {0};
  int i = 0;
  callers c;
  backtrace(frames, CALLERS + OURS);
  while (i < OURS - 1 && frames[i] != __builtin_return_address(0)) i++; /* the allocator */
  memcpy(c.at, frames + i + 1, sizeof c.at);
  return c;
}

static bool tries_once(callers c) {
  int i;
  for (i = 0; i < it.places; i++)
    if (it.once[i] == c.at[0] || it.once[i] == c.at[1]) return true;
  return false;
}

/* Must this allocation, which needs `more` bytes, fail? (Inline, since who() counts the frames.) */
static inline __attribute__((always_inline)) bool fails(long long more) {
  bool again = it.retry;
  it.retry = false;
  if (!again) it.count++;
  if (it.mode == BYTES) return it.used + more > it.room;
  if (it.mode == NTH) return it.retry = !again && it.count == it.nth && !tries_once(who()), again || it.count == it.nth;
  if (it.mode == COLLECT) return it.retry = !again && !tries_once(who());
  return false;
}

static void *allocate(void *arg, void *block, size_t had, size_t n) {
  long long more = (long long)n - (block ? (long long)had : 0);
  void *got;
  (void)arg;
  if (it.mode == LEARN && n >= LEARNING) {
    it.tried = who().at[it.depth];
    it.tries++;
    return NULL;
  }
  if (more > 0 && fails(more)) return NULL;
  got = it.real(it.arg, block, had, n);
  if (got || n == 0) it.used += more;
  if (it.used > it.most) it.most = it.used;
  return got;
}

static int set(int mode, long long room, long long nth) {
  it.mode = mode;
  it.room = room;
  it.nth = nth;
  it.used = it.most = it.count = 0;
  it.retry = false;
  return 0;
}

static int l_off(lua_State *L) {
  (void)L;
  return set(OFF, 0, 0);
}

static int l_bytes(lua_State *L) { return set(BYTES, luaL_checkinteger(L, 1), 0); }

static int l_nth(lua_State *L) { return set(NTH, 0, luaL_checkinteger(L, 1)); }

static int l_collect(lua_State *L) {
  (void)L;
  return set(COLLECT, 0, 0);
}

static int l_seen(lua_State *L) {
  lua_pushinteger(L, it.count);
  lua_pushinteger(L, it.most);
  return 2;
}

static FILE *real_stderr;
static char kept[1 << 16];

/* Replaces the stream, not the descriptor, so that a sanitizer's report is still written to the real stderr. */
static int l_listen(lua_State *L) {
  FILE *ear = fmemopen(kept, sizeof kept, "w");
  if (!ear) return luaL_error(L, "cannot listen to stderr");
  setvbuf(ear, NULL, _IONBF, 0);
  kept[0] = '\0';
  real_stderr = stderr;
  stderr = ear;
  return 0;
}

static int l_noise(lua_State *L) {
  lua_pushboolean(L, real_stderr && kept[0] != '\0');
  return 1;
}

static int l_heard(lua_State *L) {
  if (real_stderr) {
    fclose(stderr);
    stderr = real_stderr;
    real_stderr = NULL;
  }
  lua_pushstring(L, kept);
  return 1;
}

/* Three allocations that some releases try only once: a buffer's first box, a larger box, and the growth of the stack
 * (from Lua 5.4.5 on). */

static int first_box(lua_State *L) {
  luaL_Buffer b;
  luaL_buffinitsize(L, &b, LEARNING);
  return 0;
}

static int larger_box(lua_State *L) {
  luaL_Buffer b;
  luaL_buffinitsize(L, &b, LEARNING / 2);
  luaL_prepbuffsize(&b, LEARNING);
  return 0;
}

static int larger_stack(lua_State *L) {
  lua_checkstack(L, LEARNING / 16);
  return 0;
}

static void learn_place(lua_State *L, lua_CFunction of, int depth) {
  lua_pushcfunction(L, of);
  it.depth = depth;
  it.tries = 0;
  it.mode = LEARN;
  lua_pcall(L, 0, 0, 0);
  it.mode = OFF;
  if (it.tries == 1) it.once[it.places++] = it.tried;
  lua_settop(L, 0);
}

static const luaL_Reg functions[] = {
    {"off", l_off},       {"bytes", l_bytes},   {"nth", l_nth},     {"collect", l_collect}, {"seen", l_seen},
    {"listen", l_listen}, {"noise", l_noise}, {"heard", l_heard}, {NULL, NULL}};

int luaopen_limit(lua_State *L);

__attribute__((visibility("default"))) int luaopen_limit(lua_State *L) {
  if (!it.real) {
    it.real = lua_getallocf(L, &it.arg);
    lua_setallocf(L, allocate, NULL);
    learn_place(L, first_box, 0);
    learn_place(L, larger_box, 0);
    learn_place(L, larger_stack, 1);
  }
  luaL_newlib(L, functions);
  return 1;
}
