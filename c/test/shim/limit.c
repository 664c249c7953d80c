/* limit: a Lua module that comes between a running Lua and its allocator: memory that ends, an allocation that fails, a
 * full collection at every allocation. Only Lua's own memory is meant; c/test/shim/faults.c fails everybody's.
 *
 *   limit.off()         as ever (and: begins to count anew)
 *   limit.bytes(n)      no more than n bytes beyond what is used now
 *   limit.nth(n)        the n-th allocation from now fails, that one alone
 *   limit.collect()     every allocation fails at first: Lua makes a full collection and tries again
 *   limit.seen() -> allocations, most bytes in use; both since the last of the above
 *   limit.listen()      what C writes to stderr is kept ...
 *   limit.noise() -> is there something   (and takes no memory to tell)
 *   limit.heard() -> text   ... until here */
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEARNING = 1 << 20, PLACES = 4 };

static struct {
  lua_Alloc real;
  void *arg;
  enum { OFF, BYTES, NTH, COLLECT, LEARN } mode;
  long long used, most, room; /* bytes since the mode was set; the last: what there may be */
  long long count, nth;
  bool retry; /* the last allocation failed: the next one is Lua's second try */
  const void *once[PLACES]; /* in lauxlib's buffers, which don't try a second time: where these call from */
} it;

static bool tries_once(const void *place) {
  int i;
  for (i = 0; i < PLACES; i++)
    if (it.once[i] == place) return true;
  return false;
}

static void learn(const void *place) {
  int i = 0;
  while (i < PLACES - 1 && it.once[i] && it.once[i] != place) i++;
  it.once[i] = place;
}

/* May this one, which needs `more` bytes, not succeed? */
static bool fails(const void *place, long long more) {
  bool again = it.retry;
  it.retry = false;
  if (!again) it.count++;
  if (it.mode == BYTES) return it.used + more > it.room;
  if (it.mode == NTH) return it.retry = !again && it.count == it.nth && !tries_once(place), again || it.count == it.nth;
  if (it.mode == COLLECT) return it.retry = !again && !tries_once(place);
  return false;
}

static void *allocate(void *arg, void *block, size_t had, size_t n) {
  long long more = (long long)n - (block ? (long long)had : 0);
  const void *place = __builtin_return_address(0);
  void *got;
  (void)arg;
  if (it.mode == LEARN && n >= LEARNING) learn(place);
  if (more > 0 && fails(place, more)) return NULL;
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

/* The stream, not the descriptor: a sanitizer's last words still go where they belong. */
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

/* A buffer with a first box, then with a larger one. */
static void learn_places(lua_State *L) {
  luaL_Buffer b;
  it.mode = LEARN;
  luaL_buffinitsize(L, &b, LEARNING);
  luaL_addsize(&b, LEARNING);
  luaL_prepbuffsize(&b, LEARNING);
  it.mode = OFF;
  luaL_pushresult(&b);
  lua_pop(L, 1);
}

static const luaL_Reg functions[] = {
    {"off", l_off},       {"bytes", l_bytes},   {"nth", l_nth},     {"collect", l_collect}, {"seen", l_seen},
    {"listen", l_listen}, {"noise", l_noise}, {"heard", l_heard}, {NULL, NULL}};

int luaopen_limit(lua_State *L);

__attribute__((visibility("default"))) int luaopen_limit(lua_State *L) {
  if (!it.real) {
    it.real = lua_getallocf(L, &it.arg);
    lua_setallocf(L, allocate, NULL);
    learn_places(L);
  }
  luaL_newlib(L, functions);
  return 1;
}
