-- hear: who may acknowledge, correct, retract, react to and mark which message. Decides what kind of event a parsed
-- message (message.lua) is, from its sender and from what is known of the messages that it refers to; sends nothing
-- and emits no events.
--
--   local event = hear.event(m, says, stanza, who) -- "message", "corrected"...
--
-- `who` answers for one sender in one conversation: `who.wrote(id)`, has this sender written that message here?
-- `who.known(id)`, has anybody? Both return the message's first id, or nil. For one-to-one messages the sender is
-- identified by the bare address (XEP-0308 3, XEP-0424 5, XEP-0444 4.2); for occupants of a room muc decides.

local guard = require "xmpp.guard"
local message = require "xmpp.chat.message"

local M = {}

-- An ordinary message, if it has something for a person to read.
local function plain(m, stanza, what, lang)
  if what then message.make_plain(m, stanza, what, lang) end
  return message.has_content(m) and "message" or nil
end

--- Decides what the message is. If its claim is valid, m.retracts, m.reaction or m.replaces is set, to the first id of
--- that message; otherwise it is an ordinary message with m.suspicious.
---@param m xmpp.Message
---@param says xmpp.MessageClaims
---@param stanza xmpp.Stanza
---@param who { wrote: fun(id: string): string?, known: fun(id: string): string? }
---@param lang? string the preferred language
---@return "message"|"corrected"|"retracted"|"reacted"|nil event nil: nothing for a person
function M.event(m, says, stanza, who, lang)
  if says.retracts then
    m.retracts = who.wrote(says.retracts)
    return m.retracts and "retracted" or plain(m, stanza, "retraction", lang)
  end
  if says.reaction then
    local first = who.known(says.reaction.id)
    if not first then return plain(m, stanza, "reaction", lang) end
    m.reaction = { id = first, list = says.reaction.list }
    return "reacted"
  end
  if not says.replaces then return plain(m, stanza) end
  m.replaces = who.wrote(says.replaces)
  return m.replaces and "corrected" or plain(m, stanza, "correction", lang)
end

local ANSWERED = { chat = true, normal = true }

--- May a receipt be sent for this message (XEP-0184 5.3 to 5.5)? Not for a carbon, for a message from our own account,
--- or for one that is only about other messages: two clients that acknowledge receipts would never stop.
---@param m xmpp.Message
---@param says xmpp.MessageClaims
---@param own string our own bare address
---@return boolean
function M.wants_receipt(m, says, own)
  if not says.request or not m.id or not ANSWERED[m.type] then return false end
  if m.direction ~= "in" or m.carbon or m.private or m.peer == own then return false end
  if says.receipt or says.displayed then return false end
  return message.has_content(m) or says.retracts ~= nil or says.reaction ~= nil
end

--- May this contact learn from a receipt that we are available (XEP-0184 8)? `rule` is the option: true, those for
--- whom `default` returns true; "all"; a function of the address.
---@param rule boolean|"all"|fun(jid: string): boolean
---@param jid string
---@param default fun(): boolean
---@return boolean
function M.may_have_receipt(rule, jid, default)
  if type(rule) ~= "function" then return rule == "all" or rule == true and default() end
  local ok, waits, may = guard.begin(rule, jid)
  if not ok or waits then
    guard.report("extension 'chat', option 'receipts'", ok and "it must not wait" or waits)
    return false
  end
  return may == true
end

return M
