/* embed SCRIPT HOW FIRST STEP THREADS [xmpp]: for embed_spec. Runs SCRIPT(host, port, ca) again and again, each time in
 * a new Lua state whose allocator lets the n-th allocation fail, and closes the state at once afterwards, whatever is
 * still open in it. n is FIRST, FIRST + STEP, ... until nothing fails any more; each of the threads does all of that.
 * HOW:
 *
 *   never   no allocation fails, and SCRIPT runs once
 *   once    one fails: Lua collects its garbage, and tries again
 *   twice   that fails, too
 *   stays   all allocations fail from then on
 *
 * With `xmpp` the allocator uses xmpp_alloc, otherwise realloc.
 *
 * The script returns "fine" or an error of the library, or it raises. Prints how often each of these came, and on
 * stderr each result that wasn't fine. Exit status 1: an error had another reason than memory, or memory or descriptors
 * were left over. */
#include <dirent.h>
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xmpp.h"

typedef enum manner { NEVER, ONCE, TWICE, STAYS } manner;

typedef struct plan {
  const char *script;
  manner how;
  long first, step;
  bool ours; /* use xmpp_alloc */
} plan;

typedef struct state {
  const plan *plan;
  long n, fail_at, failures; /* growing allocations so far; the one that is to fail; those that have failed */
  size_t used;
  xmpp_allocator *memory; /* NULL: realloc is used */
} state;

typedef struct worker {
  pthread_t thread;
  const plan *plan;
  long runs, fine, told, raised, last;
  bool wrong;
} worker;

static bool is_to_fail(state *s) {
  s->n++;
  switch (s->plan->how) {
    case ONCE: return s->n == s->fail_at;
    case TWICE: return s->n == s->fail_at || s->n == s->fail_at + 1;
    case STAYS: return s->n >= s->fail_at;
    default: return false;
  }
}

static void *allocate(void *arg, void *p, size_t was, size_t size) {
  state *s = arg;
  void *q;
  if (!p) was = 0;
  if (size > was && is_to_fail(s)) {
    s->failures++;
    return NULL;
  }
  s->used += size - was;
  if (s->memory) {
    q = xmpp_alloc(s->memory, p, was, size);
    return q || size == 0 ? q : (perror("embed"), abort(), NULL);
  }
  if (size == 0) return free(p), NULL;
  q = realloc(p, size);
  return q ? q : (perror("embed"), abort(), NULL);
}

static void push_variable(lua_State *L, const char *name) {
  const char *value = getenv(name);
  lua_pushstring(L, value ? value : "");
}

/* live(plan) -> what the script returned */
static int l_live(lua_State *L) {
  const plan *p = lua_touserdata(L, 1);
  luaL_openlibs(L);
#if LUA_VERSION_NUM >= 503
  luaL_requiref(L, "xmpp", luaopen_xmpp, 1);
#else
  lua_pushcfunction(L, luaopen_xmpp);
  lua_call(L, 0, 1);
  lua_setglobal(L, "xmpp");
#endif
  lua_settop(L, 0);
  if (luaL_loadfile(L, p->script) != 0) lua_error(L);
  push_variable(L, "XMPP_HOST");
  push_variable(L, "XMPP_PORT");
  push_variable(L, "XMPP_CA");
  lua_call(L, 3, 1);
  if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "the script returned no text");
  return 1;
}

static int call(lua_State *L, const plan *p) {
#if LUA_VERSION_NUM >= 503
  lua_pushcfunction(L, l_live);
#else
  if (!lua_checkstack(L, 10)) return LUA_ERRMEM;
  lua_pushcfunction(L, l_live);
#endif
  lua_pushlightuserdata(L, (void *)p);
  return lua_pcall(L, 1, 1, 0);
}

static void judge(worker *w, const state *s, lua_State *L, int status) {
  const char *text = lua_tostring(L, -1);
  bool fine = status == 0 && strcmp(text, "fine") == 0;
  if (fine) {
    w->fine++;
  } else if (status == 0) {
    w->told++;
  } else {
    w->raised++;
  }
  if (!fine) fprintf(stderr, "at allocation %ld of %ld: %s\n", s->fail_at, s->n, text ? text : "?");
  if (fine || (s->failures && text && strstr(text, "memory"))) return;
  printf("wrong: at allocation %ld: %s\n", s->fail_at, text ? text : "?");
  w->wrong = true;
}

/* -> whether an allocation has failed */
static bool run_once(worker *w, long fail_at) {
  state s = {.plan = w->plan, .fail_at = fail_at, .memory = w->plan->ours ? xmpp_allocator_new() : NULL};
#if LUA_VERSION_NUM >= 503
#if LUA_VERSION_NUM >= 505
  lua_State *L = lua_newstate(allocate, &s, 0);
#else
  lua_State *L = lua_newstate(allocate, &s);
#endif
#else
  lua_State *L = w->plan->how == NEVER ? luaL_newstate() : lua_newstate(allocate, &s);
#endif
  w->runs++;
  if (L) {
    judge(w, &s, L, call(L, w->plan));
    lua_close(L);
  }
  xmpp_allocator_free(s.memory);
  if (s.used) {
    printf("wrong: at allocation %ld: %zu bytes of Lua's are left\n", fail_at, s.used);
    w->wrong = true;
  }
  if (s.n > w->last) w->last = s.n;
  return s.failures > 0;
}

static void *work(void *arg) {
  worker *w = arg;
  const plan *p = w->plan;
  long n = p->first;
  while (run_once(w, n) && p->how != NEVER) n += p->step;
  return NULL;
}

static int count_descriptors(void) {
  DIR *d = opendir("/proc/self/fd");
  int n = 0;
  while (d && readdir(d)) n++;
  if (d) closedir(d);
  return n;
}

static manner manner_of(const char *name) {
  static const char *const names[] = {"never", "once", "twice", "stays"};
  int i = 0;
  while (i < STAYS && strcmp(names[i], name) != 0) i++;
  return (manner)i;
}

/* What is a process's, not a state's, is there after one: libuv has two descriptors of that kind. */
static bool warm_up(const char *script) {
  const plan p = {.script = script, .how = NEVER};
  worker w = {.plan = &p};
  run_once(&w, 0);
  return !w.wrong;
}

int main(int argc, char **argv) {
  plan p;
  worker w[8] = {0};
  int n, i, descriptors;
  bool wrong;
  if (argc < 6 || argc > 7 || (n = atoi(argv[5])) > 8) return 2;
  p = (plan){.script = argv[1], .how = manner_of(argv[2]), .first = atol(argv[3]), .step = atol(argv[4]),
             .ours = argc == 7};
  wrong = !warm_up(p.script);
  descriptors = count_descriptors();
  for (i = 0; i < n; i++) {
    w[i].plan = &p;
    if (pthread_create(&w[i].thread, NULL, work, &w[i]) != 0) abort();
  }
  for (i = 0; i < n; i++) {
    pthread_join(w[i].thread, NULL);
    printf("%ld runs, %ld allocations: %ld fine, %ld told, %ld raised\n", w[i].runs, w[i].last, w[i].fine, w[i].told,
           w[i].raised);
    wrong = wrong || w[i].wrong;
  }
  if (count_descriptors() > descriptors) {
    printf("wrong: %d descriptors are left\n", count_descriptors() - descriptors);
    wrong = true;
  }
  return wrong;
}
