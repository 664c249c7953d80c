rockspec_format = "3.0"
package = "xmpp"
version = "dev-1"
source = { url = "git+file://." }
description = {
  summary = "XMPP connections for Lua: verified TLS, SCRAM, callbacks and awaits on a C core",
  detailed = "Stanzas are plain Lua tables; handlers, callbacks and once-callbacks are Lua functions; send_await runs on "
    .. "coroutines; the loop belongs to the host.",
  license = "MIT",
}
-- lua-cjson is only needed by xexpr.to_json and xexpr.from_json, which say so when it is missing.
dependencies = { "lua >= 5.1, < 5.5" }
external_dependencies = {
  OPENSSL = { header = "openssl/ssl.h" },
  EXPAT = { header = "expat.h" },
  LIBUV = { header = "uv.h" },
  CARES = { header = "ares.h" },
  IDN2 = { header = "idn2.h" },
  UNISTRING = { header = "uninorm.h" },
}
build = {
  type = "make",
  build_variables = {
    CC = "$(CC)",
    CFLAGS = "$(CFLAGS) -O2",
    LUA = "$(LUA)",
    LUA_CFLAGS = "-I$(LUA_INCDIR)",
    PREFIX = "$(PREFIX)",
  },
  install_variables = {
    LUA_CFLAGS = "-I$(LUA_INCDIR)",
    LUA = "$(LUA)",
    PREFIX = "$(PREFIX)",
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
  },
}
