-- load: xmpp.core; where it was built for another Lua, a sentence that says so instead of the linker's.

local found, core = pcall(require, "xmpp.core")
if found then return core end
error(require "xmpp.misfit"(core), 0)
