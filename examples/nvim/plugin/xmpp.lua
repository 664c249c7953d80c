-- :Xmpp connect [JID], roster, chat JID, join ROOM [NICK], leave [ROOM], accept JID, disconnect. These are functions in
-- lua/xmpp_nvim.lua.

local commands = { "connect", "roster", "chat", "join", "leave", "accept", "disconnect" }

vim.api.nvim_create_user_command("Xmpp", function(command)
  local name, argument, more = unpack(command.fargs)
  if not vim.tbl_contains(commands, name) then
    return vim.notify("Xmpp: " .. table.concat(commands, ", "), vim.log.levels.ERROR)
  end
  require("xmpp_nvim")[name](argument, more)
end, {
  nargs = "+",
  desc = "Chat over XMPP",
  complete = function(lead, line)
    if line:match "^%s*Xmpp%s+%S*$" then
      return vim.tbl_filter(function(name) return vim.startswith(name, lead) end, commands)
    end
    return require("xmpp_nvim").complete(lead)
  end,
})
