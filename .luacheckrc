-- What every Lua since 5.1 and LuaJIT has in common, and the few names a program may ask for before it uses them.
std = "min"
read_globals = {
  "jit",
  "unpack",
  table = { fields = { "unpack" } },
  coroutine = { fields = { "isyieldable" } },
}
max_line_length = 120
exclude_files = { "build*/" }
for _, name in ipairs { "examples/nvim/", "spec/support/nvim_talk.lua" } do files[name].globals = { "vim" } end
files["examples/container/"].read_globals = { "conn", "xmpp", "log" } -- what `xmpp run` gives a bot's file
-- The manual's examples are run a part at a time, with a test and the modules there: see spec/support/manual.lua.
files["doc/examples/"].ignore = { "111", "112", "113", "122", "143", "211", "212", "411", "421", "431", "432", "542" }
-- A server's configuration, which Prosody reads.
files["examples/farm/prosody.cfg.lua"] = { globals = { "Component", "component_secret" } }
files["spec/**/*_spec.lua"].std = "min+busted"
