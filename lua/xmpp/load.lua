-- load: returns xmpp.core; if it was built for another Lua, raises an error that says so instead of the linker's
-- message.

local found, core = pcall(require, "xmpp.core")
if found then return core end
error(require "xmpp.misfit"(core), 0)
