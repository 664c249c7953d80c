-- csi: client state indication (XEP-0352): whether somebody is using this client. To an inactive client a server may
-- delay what nobody would look at, such as presences and chat states.
--
--   local csi = require "xmpp.csi"
--   csi.set(conn, false)                                   -- the window is closed
--   csi.set(conn, true)
--
-- Every stream begins as active; what was set last is sent again in each new session, and when a session is resumed. A
-- bot doesn't need it.

local core = require "xmpp.load"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"

local M = { name = "csi", events = {} }

local CSI = "urn:xmpp:csi:0"

local function offers(conn)
  local offered = conn:info().offers
  return offered ~= nil and offered[CSI] ~= nil
end

-- Sends the state, if there is a session.
local function say(st, conn)
  if st.active == nil or conn:state() ~= "ready" or not offers(conn) then return end
  core.conn.say_active(conn, st.active)
  st.said = true
end

--- Tells the server whether somebody is using the client. While there is no connection the value is kept until there
--- is one, and it is sent again in each session.
---@param conn xmpp.Conn a client's
---@param active boolean
---@return boolean? true
---@return xmpp.Error? err condition "feature-not-implemented" if our server does not support it (the value is kept all
--- the same, for another session)
function M.set(conn, active)
  guard.check_conn(conn, "set", 2)
  guard.check_type(active, "boolean", 2, "set", 2)
  local st, err = ext.use(conn, M, nil, 2)
  if not st then return nil, err end
  st.active = active
  say(st, conn)
  if conn:state() ~= "ready" or offers(conn) then return true end
  return nil, core.error { layer = "stanza", condition = "feature-not-implemented", type = "cancel", retry = false,
    text = "our server doesn't support client state indication (XEP-0352)" }
end

--- Returns what was set last; nil if nothing was.
---@param conn xmpp.Conn
---@return boolean?
function M.active(conn)
  guard.check_conn(conn, "active", 2)
  local st = ext.of(conn, M)
  return st and st.active
end

function M.start(_, conn, opts)
  local name = next(opts)
  if name ~= nil then error(("there is no option '%s'"):format(core.shown(tostring(name))), 0) end
  if not conn:jid().localpart then error("a component is always active", 0) end
end

-- In the first session it may have been sent already, by the `set` that began to use this extension.
function M.session(st, conn, first)
  if not (first and st.said) then say(st, conn) end
end

M.resumed = say

function M.save(st) return { active = st.active } end

function M.load(st, saved)
  if type(saved) ~= "table" then error("a table expected", 0) end
  if saved.active ~= nil then st.active = saved.active == true end
end

return M
