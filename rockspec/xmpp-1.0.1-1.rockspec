rockspec_format = "3.0"
package = "xmpp"
version = "1.0.1-1"
-- The archive and this file lie in one folder: "make dist" puts them there.
source = { url = "xmpp-1.0.1.tar.gz" }
description = {
  summary = "XMPP connections for Lua: verified TLS, SCRAM, callbacks and awaits on a C core",
  detailed = "Stanzas are plain Lua tables; handlers, callbacks and once-callbacks are Lua functions; send_await runs on "
    .. "coroutines; the loop belongs to the host.",
  license = "MIT",
}
-- lua-cjson is only needed by xexpr.to_json and xexpr.from_json, which say so when it is missing.
dependencies = { "lua >= 5.1, < 5.6" }
-- libcurl, hiredis and wslay are not listed, since the library is built without them, too: where pkg-config finds libcurl,
-- xmpp.http and xmpp.upload work; where it finds hiredis, xmpp.redis and xmpp.stream (which needs lua-cjson as well); and
-- where the compiler finds wslay's header, the option url does.
-- What pkg-config finds is taken, but for those whose folder is given as EXPAT_DIR=/opt/expat and so on.
external_dependencies = {
  OPENSSL = { header = "openssl/ssl.h", library = "ssl" },
  EXPAT = { header = "expat.h", library = "expat" },
  UV = { header = "uv.h", library = "uv" },
  CARES = { header = "ares.h", library = "cares" },
  IDN2 = { header = "idn2.h", library = "idn2" },
  UNISTRING = { header = "unistr.h", library = "unistring" },
}
build = {
  type = "make",
  install_target = "install-rock",
  install = { bin = { xmpp = "bin/xmpp" } },
  build_variables = {
    CC = "$(CC)",
    CFLAGS = "$(CFLAGS) -I$(OPENSSL_INCDIR) -I$(EXPAT_INCDIR) -I$(UV_INCDIR) -I$(CARES_INCDIR) -I$(IDN2_INCDIR)"
      .. " -I$(UNISTRING_INCDIR) -L$(OPENSSL_LIBDIR) -L$(EXPAT_LIBDIR) -L$(UV_LIBDIR) -L$(CARES_LIBDIR) -L$(IDN2_LIBDIR)"
      .. " -L$(UNISTRING_LIBDIR)",
    LUA = "$(LUA)",
    LUA_CFLAGS = "-I$(LUA_INCDIR)",
  },
  install_variables = {
    CC = "$(CC)",
    CFLAGS = "$(CFLAGS) -I$(OPENSSL_INCDIR) -I$(EXPAT_INCDIR) -I$(UV_INCDIR) -I$(CARES_INCDIR) -I$(IDN2_INCDIR)"
      .. " -I$(UNISTRING_INCDIR) -L$(OPENSSL_LIBDIR) -L$(EXPAT_LIBDIR) -L$(UV_LIBDIR) -L$(CARES_LIBDIR) -L$(IDN2_LIBDIR)"
      .. " -L$(UNISTRING_LIBDIR)",
    LUA = "$(LUA)",
    LUA_CFLAGS = "-I$(LUA_INCDIR)",
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
    DOCDIR = "$(PREFIX)/doc",
  },
}
