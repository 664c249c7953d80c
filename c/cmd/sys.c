/* sys: system functions that the command `xmpp` needs and Lua doesn't have: terminals, file modes, descriptors. It is a
 * module of its own, xmpp.sys, and knows nothing of the library; if a system call fails, a function returns nil, a
 * text, and the name of the error. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { MOST_POLLED = 8, MOST_ARGUMENTS = 1000, MOST_SECRET = 4096 };

/* The names of the errors that the command distinguishes. */
static const char *name_of(int code) {
  switch (code) {
  case EPIPE: return "EPIPE";
  case ENOSPC: return "ENOSPC";
  case ENOENT: return "ENOENT";
  case ENOTDIR: return "ENOTDIR";
  case EEXIST: return "EEXIST";
  default: return "";
  }
}

static int failed(lua_State *L) {
  int code = errno;
  lua_pushnil(L);
  lua_pushstring(L, strerror(code));
  lua_pushstring(L, name_of(code));
  return 3;
}

static int done(lua_State *L, bool well) {
  if (!well) return failed(L);
  lua_pushboolean(L, 1);
  return 1;
}

/* isatty(fd) */
static int l_isatty(lua_State *L) {
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

/* columns(fd) -> the width of the terminal in characters; nothing: unknown */
static int l_columns(lua_State *L) {
  struct winsize size = {0};
  if (ioctl((int)luaL_checkinteger(L, 1), TIOCGWINSZ, &size) < 0 || size.ws_col == 0) return 0;
  lua_pushinteger(L, size.ws_col);
  return 1;
}

/* terminal(fd) -> its settings, as a string; terminal(fd, settings): restores them */
static int l_terminal(lua_State *L) {
  struct termios t;
  int fd = (int)luaL_checkinteger(L, 1);
  size_t n = 0;
  const char *set = luaL_optlstring(L, 2, NULL, &n);
  if (set && n == sizeof t) {
    memcpy(&t, set, sizeof t);
    return done(L, tcsetattr(fd, TCSADRAIN, &t) == 0);
  }
  if (tcgetattr(fd, &t) < 0) return failed(L);
  lua_pushlstring(L, (const char *)&t, sizeof t);
  return 1;
}

/* write(fd, text): writes all of it, also if the descriptor is in non-blocking mode. */
static int l_write(lua_State *L) {
  struct pollfd p = {.fd = (int)luaL_checkinteger(L, 1), .events = POLLOUT};
  size_t left;
  const char *at = luaL_checklstring(L, 2, &left);
  while (left > 0) {
    ssize_t n = write(p.fd, at, left);
    if (n < 0 && errno == EAGAIN) n = poll(&p, 1, -1) < 0 ? -1 : 0;
    if (n < 0 && errno != EINTR) return failed(L);
    if (n > 0) at += n, left -= (size_t)n;
  }
  return done(L, true);
}

/* read(fd, most) -> bytes, "" at the end */
static int l_read(lua_State *L) {
  struct pollfd p = {.fd = (int)luaL_checkinteger(L, 1), .events = POLLIN};
  char buffer[16384];
  lua_Integer most = luaL_optinteger(L, 2, sizeof buffer);
  ssize_t n;
  if (most < 1 || most > (lua_Integer)sizeof buffer) most = sizeof buffer;
  do {
    n = read(p.fd, buffer, (size_t)most);
    if (n < 0 && errno == EAGAIN && poll(&p, 1, -1) < 0) break;
  } while (n < 0 && (errno == EINTR || errno == EAGAIN));
  if (n < 0) return failed(L);
  lua_pushlstring(L, buffer, (size_t)n);
  return 1;
}

/* poll(seconds or nil, fd...) -> for each, whether it can be read (the end counts, too) */
static int l_poll(lua_State *L) {
  struct pollfd p[MOST_POLLED];
  int i, n = lua_gettop(L) - 1;
  double seconds = luaL_optnumber(L, 1, -1);
  if (n < 0 || n > MOST_POLLED) return luaL_error(L, "poll: up to %d descriptors", MOST_POLLED);
  for (i = 0; i < n; i++) p[i] = (struct pollfd){.fd = (int)luaL_checkinteger(L, i + 2), .events = POLLIN};
  if (poll(p, (nfds_t)n, seconds < 0 ? -1 : seconds > 1e6 ? 1000000000 : (int)(seconds * 1000 + 0.999)) < 0) {
    for (i = 0; i < n; i++) p[i].revents = 0;
  }
  for (i = 0; i < n; i++) lua_pushboolean(L, p[i].revents != 0);
  return n;
}

static void push_stat(lua_State *L, const struct stat *st) {
  lua_createtable(L, 0, 5);
  lua_pushinteger(L, st->st_mode & 07777);
  lua_setfield(L, -2, "mode");
  lua_pushinteger(L, (lua_Integer)st->st_uid);
  lua_setfield(L, -2, "uid");
  lua_pushnumber(L, (lua_Number)st->st_mtim.tv_sec + (lua_Number)st->st_mtim.tv_nsec / 1e9);
  lua_setfield(L, -2, "mtime");
  lua_pushnumber(L, (lua_Number)st->st_size);
  lua_setfield(L, -2, "size");
  lua_pushstring(L, S_ISREG(st->st_mode) ? "file" : S_ISDIR(st->st_mode) ? "folder" : "other");
  lua_setfield(L, -2, "kind");
}

/* stat(path) -> { mode, uid, mtime, size, kind = "file"|"folder"|"other" } */
static int l_stat(lua_State *L) {
  struct stat st;
  if (stat(luaL_checkstring(L, 1), &st) < 0) return failed(L);
  push_stat(L, &st);
  return 1;
}

/* open(path) -> fd, what stat would return for the opened file itself: nobody can replace it in between. */
static int l_open(lua_State *L) {
  struct stat st;
  int fd = open(luaL_checkstring(L, 1), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return failed(L);
  if (fstat(fd, &st) < 0) {
    close(fd);
    return failed(L);
  }
  lua_pushinteger(L, fd);
  push_stat(L, &st);
  return 2;
}

static int l_close(lua_State *L) {
  return done(L, close((int)luaL_checkinteger(L, 1)) == 0);
}

/* uid() -> the effective user id */
static int l_uid(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)geteuid());
  return 1;
}

/* create(path, text): creates a file that only its owner can read, and that must not exist yet; it is on the disk when
 * this returns. */
static int l_create(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  size_t left;
  const char *at = luaL_checklstring(L, 2, &left);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  int code;
  if (fd < 0) return failed(L);
  while (left > 0) {
    ssize_t n = write(fd, at, left);
    if (n < 0 && errno != EINTR) break;
    if (n > 0) at += n, left -= (size_t)n;
  }
  if (left == 0 && fchmod(fd, 0600) == 0 && fsync(fd) == 0 && close(fd) == 0) return done(L, true);
  code = errno;
  close(fd);
  unlink(path);
  errno = code;
  return failed(L);
}

/* lock(path) -> a descriptor that locks the file: until it is closed, at the latest by the end of the process, no other
 * lock() of the file succeeds. */
static int l_lock(lua_State *L) {
  int fd = open(luaL_checkstring(L, 1), O_RDONLY | O_CLOEXEC | O_NOCTTY), code;
  if (fd < 0) return failed(L);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return lua_pushinteger(L, fd), 1;
  code = errno;
  close(fd);
  errno = code;
  return failed(L);
}

/* mkdir(path): a directory that only its owner can use */
static int l_mkdir(lua_State *L) {
  return done(L, mkdir(luaL_checkstring(L, 1), 0700) == 0);
}

/* private(path): from now on only its owner can read the file */
static int l_private(lua_State *L) {
  return done(L, chmod(luaL_checkstring(L, 1), 0600) == 0);
}

static int l_setenv(lua_State *L) {
  return done(L, setenv(luaL_checkstring(L, 1), luaL_checkstring(L, 2), 1) == 0);
}

static int l_unsetenv(lua_State *L) {
  return done(L, unsetenv(luaL_checkstring(L, 1)) == 0);
}

/* ticks() -> seconds of a monotonic clock, finer than the loop's */
static int l_ticks(lua_State *L) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  lua_pushnumber(L, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec / 1e9);
  return 1;
}

/* signals(): to be called before the loop watches signals. SIGINT ends the process again (Lua's interpreter has made it
 * raise an error in whatever runs), and a closed pipe makes a write fail instead of ending the process. SIGPIPE gets a
 * handler and not SIG_IGN, which child processes would inherit. */
static void ignore(int sig) {
  (void)sig;
}

static int l_signals(lua_State *L) {
  struct sigaction a = {.sa_handler = ignore, .sa_flags = SA_RESTART};
  sigemptyset(&a.sa_mask);
  sigaction(SIGPIPE, &a, NULL);
  signal(SIGINT, SIG_DFL);
  (void)L;
  return 0;
}

/* insist(seconds): to be called after the handlers of SIGTERM and SIGINT were set, which are still called. So many
 * seconds after the first such signal the process ends, and at a second one at once, whatever its Lua code does: the
 * loop reports signals only when it turns, which a bot in an endless calculation prevents. */

enum { INTERRUPTED = 130 };

static const int ending[] = {SIGTERM, SIGINT};
static struct sigaction heard_by[sizeof ending / sizeof *ending];
static volatile sig_atomic_t is_asked;
static unsigned patience;

static void end_at_once(int sig) {
  (void)sig;
  _exit(INTERRUPTED);
}

static void insist(int sig) {
  const struct sigaction *next = &heard_by[sig == ending[0] ? 0 : 1];
  if (is_asked) _exit(INTERRUPTED);
  is_asked = 1;
  alarm(patience);
  if (next->sa_handler != SIG_DFL && next->sa_handler != SIG_IGN) next->sa_handler(sig);
}

static int l_insist(lua_State *L) {
  struct sigaction a = {.sa_handler = insist, .sa_flags = SA_RESTART}, on_alarm = {.sa_handler = end_at_once};
  size_t i;
  patience = (unsigned)luaL_checkinteger(L, 1);
  sigfillset(&a.sa_mask);
  sigemptyset(&on_alarm.sa_mask);
  sigaction(SIGALRM, &on_alarm, NULL);
  for (i = 0; i < sizeof ending / sizeof *ending; i++) sigaction(ending[i], &a, &heard_by[i]);
  return 0;
}

/* Reading a line from a terminal without showing it. */

static volatile sig_atomic_t came;

static void note(int sig) {
  came = sig;
}

/* Reads a line without its end; -1: the input ended before, or a signal came. Signals are blocked except while this
 * waits: otherwise one could come just before it waits, and would not be noticed. */
static ssize_t read_line(int fd, const sigset_t *open, char *to, size_t cap) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  size_t n = 0;
  for (;;) {
    ssize_t got;
    if (ppoll(&p, 1, NULL, open) < 0 && !came && errno == EINTR) continue;
    if (came) return -1;
    got = read(fd, to + n, 1);
    if (got <= 0) return -1;
    if (to[n] == '\n') return (ssize_t)n;
    if (n + 1 < cap) n++;
  }
}

static ssize_t read_hidden(int fd, const char *prompt, size_t length, char *to, size_t cap) {
  static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
  enum { N = sizeof signals / sizeof *signals };
  struct sigaction a = {.sa_handler = note}, before[N];
  struct termios shown, hidden;
  sigset_t closed, open;
  ssize_t n;
  int i;
  if (tcgetattr(fd, &shown) < 0) return -1;
  came = 0;
  sigemptyset(&a.sa_mask);
  sigemptyset(&closed);
  for (i = 0; i < N; i++) sigaddset(&closed, signals[i]);
  sigprocmask(SIG_BLOCK, &closed, &open);
  for (i = 0; i < N; i++) sigaction(signals[i], &a, &before[i]);
  hidden = shown;
  hidden.c_lflag = (hidden.c_lflag & ~(tcflag_t)ECHO) | ECHONL | ICANON | ISIG;
  tcsetattr(fd, TCSAFLUSH, &hidden);
  n = write(fd, prompt, length) == (ssize_t)length ? read_line(fd, &open, to, cap) : -1;
  tcsetattr(fd, TCSAFLUSH, &shown);
  for (i = 0; i < N; i++) sigaction(signals[i], &before[i], NULL);
  sigprocmask(SIG_SETMASK, &open, NULL);
  if (came) {
    ssize_t ignored = write(fd, "\n", 1);
    (void)ignored;
    raise(came);
  }
  return came ? -1 : n;
}

/* Like explicit_bzero, which not every system has. */
static void wipe(char *p, size_t n) {
  volatile char *at = p;
  while (n-- > 0) *at++ = 0;
}

/* secret(prompt) -> the line that is typed at the process's terminal, without showing it; nil: there is no terminal, or
 * the input ended */
static int l_secret(lua_State *L) {
  size_t n;
  const char *prompt = luaL_checklstring(L, 1, &n);
  char line[MOST_SECRET];
  int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  ssize_t got;
  if (fd < 0) return failed(L);
  got = read_hidden(fd, prompt, n, line, sizeof line);
  close(fd);
  if (got >= 0) lua_pushlstring(L, line, (size_t)got);
  else lua_pushnil(L);
  wipe(line, sizeof line);
  return 1;
}

/* For passing a session on to a new program: exec keeps descriptors, and this one is a file that nobody else can open,
 * in memory if the system has such files. */

/* carrier(text) -> fd, which exec keeps, to be read from the text's first byte on */
static int l_carrier(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  int fd;
#if defined MFD_CLOEXEC && !defined XM_PLAIN
  fd = memfd_create("xmpp", 0);
#else
  char path[] = "/tmp/xmpp-XXXXXX";
  fd = mkstemp(path);
  if (fd >= 0) unlink(path);
#endif
  if (fd < 0) return failed(L);
  if (write(fd, text, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET) < 0) {
    close(fd);
    return failed(L);
  }
  lua_pushinteger(L, fd);
  return 1;
}

/* exec({ program, argument... }): doesn't return if it succeeds */
static int l_exec(lua_State *L) {
  char *words[MOST_ARGUMENTS + 1];
  int n;
  luaL_checktype(L, 1, LUA_TTABLE);
  for (n = 0; n < MOST_ARGUMENTS; n++) {
    lua_rawgeti(L, 1, n + 1); /* the table keeps the string alive */
    words[n] = (char *)lua_tostring(L, -1);
    lua_pop(L, 1);
    if (!words[n]) break;
  }
  words[n] = NULL;
  if (n == 0) return luaL_error(L, "exec: no program");
  fflush(NULL);
  execvp(words[0], words);
  return failed(L);
}

static const struct {
  const char *name;
  lua_CFunction f;
} functions[] = {
    {"isatty", l_isatty}, {"columns", l_columns}, {"terminal", l_terminal}, {"write", l_write},       {"read", l_read},       {"poll", l_poll},
    {"stat", l_stat},     {"open", l_open},       {"close", l_close},       {"uid", l_uid},         {"create", l_create},
    {"lock", l_lock},     {"mkdir", l_mkdir},   {"private", l_private}, {"setenv", l_setenv}, {"unsetenv", l_unsetenv}, {"signals", l_signals}, {"secret", l_secret},
    {"carrier", l_carrier}, {"exec", l_exec},       {"ticks", l_ticks},     {"insist", l_insist},
};

__attribute__((visibility("default"))) int luaopen_xmpp_sys(lua_State *L) {
  size_t i;
  lua_createtable(L, 0, sizeof functions / sizeof *functions);
  for (i = 0; i < sizeof functions / sizeof *functions; i++) {
    lua_pushcfunction(L, functions[i].f);
    lua_setfield(L, -2, functions[i].name);
  }
  return 1;
}
