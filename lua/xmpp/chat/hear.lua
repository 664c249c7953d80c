-- hear: who may acknowledge, correct, take back, react to and mark which message. Decides what a message that was read
-- (message.lua) is, from who has sent it and what is known of the messages that it speaks of; sends and tells nothing.
--
--   local event = hear.event(m, says, stanza, who) -- "message", "corrected"...; nil: nothing
--
-- `who` answers for one sender in one conversation: `who.wrote(id)`, has this sender written that message here?
-- `who.known(id)`, has anybody? Both give the message's first id, or nil. For one-to-one messages the sender is his bare
-- address (XEP-0308 3, XEP-0424 5, XEP-0444 4.2); what an occupant of a room is, muc decides.

local guard = require "xmpp.guard"
local message = require "xmpp.chat.message"

local M = {}

-- An ordinary message, if there is something in it for a person.
local function plain(m, stanza, what, lang)
  if what then message.make_plain(m, stanza, what, lang) end
  return message.has_content(m) and "message" or nil
end

--- What the message is. Where its claim holds, m.retracts, m.reaction or m.replaces is set, with the first id of the
--- message that is meant; where it doesn't, the message is an ordinary one with m.suspicious.
---@param m xmpp.Message
---@param says xmpp.MessageClaims
---@param stanza xmpp.Stanza
---@param who { wrote: fun(id: string): string?, known: fun(id: string): string? }
---@param lang? string the language that is wanted
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

--- Is it a message whose receipt its sender can be given (XEP-0184 5.3 to 5.5)? Not a copy of what another client got,
--- nothing of our own account's, nothing that is only about other messages: two who acknowledged receipts would never
--- come to an end.
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

--- May that contact learn from a receipt that we are there (XEP-0184 8)? `rule` is the option: true, those whom
--- `default` lets; "all"; a function of the address.
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
