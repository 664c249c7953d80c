-- muc: group chat rooms (XEP-0045): joined and left, and rejoined automatically after a disconnection unless the
-- reason speaks against it.
--
--   local muc = require "xmpp.muc"
--   local room = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
--   room:on("join", function(o) room:say("Hello, " .. o.nick) end)      -- those who join after us
--   room:on("message", function(m)
--     if not m.own and not m.history and m.text == "!time" then room:say(os.date()) end
--   end)
--
-- A room is trusted for what it says about itself and its occupants, and for nothing else. A nick proves nothing:
-- anybody may take it when its owner has left. See muc/room.lua for how the parts fit together.

local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local presence = require "xmpp.presence"
local rooms = require "xmpp.muc.room"
local saved = require "xmpp.muc.saved"

local M = { name = "muc", needs = { disco, presence }, features = { "http://jabber.org/protocol/muc" }, events = {},
  taps = {}, adds = {} }

-- The parts of a room, in the order in which their hooks are called.
rooms.add(M, require "xmpp.muc.join")
rooms.add(M, require "xmpp.muc.enter")
rooms.add(M, require "xmpp.muc.alive")
rooms.add(M, require "xmpp.muc.state")
rooms.add(M, require "xmpp.muc.leave")
rooms.add(M, require "xmpp.muc.outbox")
rooms.add(M, require "xmpp.muc.say")
rooms.add(M, saved)
rooms.add(M, require "xmpp.muc.archive")
rooms.add(M, require "xmpp.muc.message")
rooms.add(M, require "xmpp.muc.owner")
rooms.add(M, require "xmpp.muc.ask")

--- Returns the extension's handle on this connection. Its field `rooms` has the rooms that we are in or will rejoin,
--- by address; its event "invite" reports invitations.
---@param conn xmpp.Conn
---@param opts? { accept: (fun(inv: xmpp.Invitation): string|boolean|nil)? } accept: called with each invitation;
--- returns the nick to join the room with, or true for our account's localpart; false or nil (the default): the room
--- is not joined
---@return table? m
---@return xmpp.Error? err layer "closed"
function M.use(conn, opts)
  return ext.use(conn, M, opts, 2)
end

function M.start(st, conn, opts)
  for name in pairs(opts) do
    if name ~= "accept" then error(("there is no option '%s'"):format(tostring(name)), 0) end
  end
  if opts.accept ~= nil and type(opts.accept) ~= "function" then
    error(("bad option 'accept' (function expected, got %s)"):format(type(opts.accept)), 0)
  end
  st.rooms, st.spelled, st.accept = {}, {}, opts.accept
  rooms.run("start", st, conn)
end

function M.session(st, conn, first) rooms.run("session", st, conn, first) end
function M.resumed(st, conn) rooms.run("resumed", st, conn) end
function M.stop(st, conn) rooms.run("stop", st, conn) end
function M.save(st) return saved.save(st) end
function M.load(st, what) saved.load(st, what) end

return M
