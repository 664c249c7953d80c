-- vcard: vCards (XEP-0054), read and set. Sends nothing by itself.
--
--   local card = assert(vcard.get(conn, "anna@example.net"))
--   print(card.fn, card.email and card.email[1].address)
--   assert(vcard.set(conn, { nickname = "kettle", photo = { type = "image/png", data = bytes }, url = false }))
--
-- A vCard is only what its owner says: anybody can write any name and address into their own. A request tells the
-- owner's server who is looking (XEP-0054 5), so nothing here is fetched without a call, least of all pictures' URLs.

local core = require "xmpp.load"
local form = require "xmpp.vcard.form"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local words = require "xmpp.pubsub.words"
local xexpr = require "xmpp.xexpr"

local M = {}

local QUESTION = { "vCard", { xmlns = form.VCARD } }

-- The element itself; nil, err (condition "item-not-found") if there is none.
local function fetch(conn, jid, timeout)
  local answer, stanza = iq.get(conn, jid, QUESTION, { timeout = timeout })
  if answer == nil then return nil, stanza end
  if answer == true then return words.fail("item-not-found", "there is no vCard") end
  if answer[1] ~= "vCard" or xexpr.attr(answer, "xmlns") ~= form.VCARD then
    return iq.bad_format("vCard: missing", stanza)
  end
  return answer
end

--- Reads somebody's vCard; see xmpp.Vcard for its fields. photo.error says why a photo has no data.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid|nil whose: an account, a service, or an occupant of a room; nil: our own
---@param opts? { timeout: number? }
---@return xmpp.Vcard? card {} if there is nothing in it
---@return xmpp.Error? err condition "item-not-found" if there is none
function M.get(conn, jid, opts)
  guard.check_conn(conn, "get", 2)
  if jid ~= nil and not core.is_jid(jid) then guard.check_type(jid, "string", 2, "get", 2) end
  opts = guard.check_opts(opts, { timeout = "number" }, 3, "get", 2)
  local x, err = fetch(conn, jid, opts.timeout)
  if not x then return nil, err end
  return form.read(x)
end

local function is_missing(err) return err.layer == "stanza" and err.condition == "item-not-found" end

--- For xmpp.avatar.
---@return true?
---@return xmpp.Error?
function M.put(conn, changes, timeout)
  local old, err = fetch(conn, nil, timeout)
  if not old and not is_missing(err) then return nil, err end
  local answer
  answer, err = iq.set(conn, nil, form.merge(old, changes), { timeout = timeout })
  if answer == nil then return nil, err end
  return true
end

--- Changes the given fields of our own vCard; false removes a field. Everything else in it stays, whether known here
--- or not. (The vCard isn't locked between reading and writing: if two clients change it at once, one of them wins.)
---@param conn xmpp.Conn
---@param values table fields as `get` returns them; for email, tel and adr the whole list
---@param opts? { timeout: number? }
---@return true?
---@return xmpp.Error?
function M.set(conn, values, opts)
  guard.check_conn(conn, "set", 2)
  guard.check_type(values, "table", 2, "set", 2)
  opts = guard.check_opts(opts, { timeout = "number" }, 3, "set", 2)
  local changes, why = form.changes(values)
  if not changes then error(("bad argument #2 to 'set' (%s)"):format(why), 2) end
  words.sendable(form.merge(nil, changes), "bad argument #2 to 'set'", 2)
  return M.put(conn, changes, opts.timeout)
end

return M
