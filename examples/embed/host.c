/* A program that embeds Lua and the library, both linked statically. Each account gets a bot: a script in a Lua state
 * of its own, on a thread of its own, with no more memory than MOST and only the harmless parts of Lua. Ctrl-C ends
 * them all. As in examples/account.lua, XMPP_HOST, XMPP_PORT and XMPP_CA may say where to connect and whom to trust.
 *
 *   make lib
 *   cc -o host examples/embed/host.c -Ibuild/lib $(pkg-config --cflags lua5.4) build/lib/libxmpp.a \
 *     $(pkg-config --variable=libdir lua5.4)/liblua5.4.a $(pkg-config --libs openssl expat libuv libcares libidn2) \
 *     -lunistring -lwslay -lm -ldl -lpthread        (without -lwslay if the library was built without WebSocket)
 *   ./host examples/embed/bot.lua bot@example.net PASSWORD other@example.net PASSWORD */
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "xmpp.h"

enum { MOST = 16 << 20 }; /* bytes of Lua memory that a bot may have; what the library and OpenSSL allocate isn't
                             counted */

static const double TURN = 0.25; /* seconds after which an idle bot checks whether it has to stop */

typedef struct bot {
  const char *script, *jid, *password;
  pthread_t thread;
  xmpp_allocator *memory;
  size_t used;
  bool quits; /* its script has called quit */
  bool failed;
} bot;

static atomic_bool stopping;

/* The library's allocator, with a limit. */
static void *allocate(void *arg, void *p, size_t was, size_t size) {
  bot *b = arg;
  size_t had = p ? was : 0; /* for a new block, `was` is the type of the object */
  if (size > had && size - had > MOST - b->used) return NULL;
  p = xmpp_alloc(b->memory, p, was, size);
  if (p || size == 0) b->used += size - had;
  return p;
}

static int l_quit(lua_State *L) {
  bot *b = lua_touserdata(L, lua_upvalueindex(1));
  b->quits = true;
  return 0;
}

/* Opens the libraries, and hides what reads files, loads code or takes much time. */
static void open_sandbox(lua_State *L, bot *b) {
  static const luaL_Reg libraries[] = {{LUA_GNAME, luaopen_base},           {LUA_COLIBNAME, luaopen_coroutine},
                                       {LUA_STRLIBNAME, luaopen_string},    {LUA_TABLIBNAME, luaopen_table},
                                       {LUA_MATHLIBNAME, luaopen_math},     {"xmpp", luaopen_xmpp}};
  static const char *const hidden[] = {"dofile", "loadfile", "load", "collectgarbage"};
  size_t i;
  for (i = 0; i < sizeof libraries / sizeof *libraries; i++) {
    luaL_requiref(L, libraries[i].name, libraries[i].func, 1);
    lua_pop(L, 1);
  }
  for (i = 0; i < sizeof hidden / sizeof *hidden; i++) {
    lua_pushnil(L);
    lua_setglobal(L, hidden[i]);
  }
  lua_pushlightuserdata(L, b);
  lua_pushcclosure(L, l_quit, 1);
  lua_setglobal(L, "quit");
}

static void set_option(lua_State *L, const char *name, const char *variable) {
  const char *value = getenv(variable);
  if (value && lua_stringtonumber(L, value) == 0) lua_pushstring(L, value);
  if (value) lua_setfield(L, -2, name);
}

/* Loads the script and calls it: script(jid, password, opts). */
static void start(lua_State *L, const bot *b) {
  if (luaL_loadfilex(L, b->script, "t") != LUA_OK) lua_error(L);
  lua_pushstring(L, b->jid);
  lua_pushstring(L, b->password);
  lua_newtable(L);
  set_option(L, "host", "XMPP_HOST");
  set_option(L, "port", "XMPP_PORT");
  set_option(L, "ca_file", "XMPP_CA");
  lua_call(L, 3, 0);
}

/* Runs a bot until it quits or an error ends it. */
static int l_live(lua_State *L) {
  bot *b = lua_touserdata(L, 1);
  open_sandbox(L, b);
  start(L, b);
  lua_getglobal(L, "xmpp");
  while (!b->quits && !atomic_load(&stopping)) {
    lua_getfield(L, -1, "step");
    lua_pushnumber(L, TURN);
    lua_call(L, 1, 0);
  }
  return 0;
}

static void *run(void *arg) {
  bot *b = arg;
  lua_State *L = NULL;
  b->memory = xmpp_allocator_new();
#if LUA_VERSION_NUM >= 505 /* since 5.5 the host chooses the seed of Lua's hashes */
  if (b->memory) L = lua_newstate(allocate, b, luaL_makeseed(NULL));
#else
  if (b->memory) L = lua_newstate(allocate, b);
#endif
  if (!L) {
    b->failed = true;
    xmpp_allocator_free(b->memory);
    return NULL;
  }
  lua_pushcfunction(L, l_live);
  lua_pushlightuserdata(L, b);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
    fprintf(stderr, "host: %s: %s\n", b->jid, luaL_tolstring(L, -1, NULL));
    b->failed = true;
  }
  lua_close(L); /* closes its connections, too */
  xmpp_allocator_free(b->memory);
  return NULL;
}

static void on_signal(int number) {
  (void)number;
  atomic_store(&stopping, true);
}

int main(int argc, char **argv) {
  int n = (argc - 2) / 2, i, failed = 0;
  bot *bots = n > 0 ? calloc((size_t)n, sizeof *bots) : NULL;
  if (!bots || argc % 2) {
    fprintf(stderr, "usage: %s SCRIPT JID PASSWORD [JID PASSWORD]...\n", argv[0]);
    return 2;
  }
  signal(SIGINT, on_signal);
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (i = 0; i < n; i++) {
    bots[i] = (bot){.script = argv[1], .jid = argv[2 * i + 2], .password = argv[2 * i + 3]};
    if (pthread_create(&bots[i].thread, NULL, run, &bots[i]) != 0) abort();
  }
  for (i = 0; i < n; i++) {
    pthread_join(bots[i].thread, NULL);
    failed += bots[i].failed;
  }
  free(bots);
  return failed ? 1 : 0;
}
