rockspec_format = "3.0"
package = "xmpp"
version = "0.1.0-1"
-- The archive and this file lie in one folder: "make dist" puts them there.
source = { url = "xmpp-0.1.0.tar.gz" }
description = {
  summary = "XMPP connections for Lua: verified TLS, SCRAM, callbacks and awaits on a C core",
  detailed = "Stanzas are plain Lua tables; handlers, callbacks and once-callbacks are Lua functions; send_await runs on "
    .. "coroutines; the loop belongs to the host.",
  license = "MIT",
}
-- lua-cjson is only needed by xexpr.to_json and xexpr.from_json, which say so when it is missing.
dependencies = { "lua >= 5.1, < 5.6" }
-- OpenSSL, expat, libuv, c-ares, libidn2 and libunistring are looked for by the Makefile, with pkg-config; what is
-- missing it names with its packages.
build = {
  type = "make",
  build_variables = {
    CC = "$(CC)",
    CFLAGS = "$(CFLAGS) -O2",
    LUA = "$(LUA)",
    LUA_CFLAGS = "-I$(LUA_INCDIR)",
  },
  install_variables = {
    CC = "$(CC)",
    CFLAGS = "$(CFLAGS) -O2",
    LUA = "$(LUA)",
    LUA_CFLAGS = "-I$(LUA_INCDIR)",
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
  },
}
