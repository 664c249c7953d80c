-- muc: rooms (XEP-0045), entered and left, and held on to: whoever is in one comes back to it by itself where that is
-- right.
--
--   local muc = require "xmpp.muc"
--   local room = assert(muc.join(conn, "tea@rooms.example.net", "kettle"))
--   room:on("join", function(o) room:say("Hello, " .. o.nick) end)      -- those who come behind us
--   room:on("message", function(m)
--     if not m.own and not m.history and m.text == "!time" then room:say(os.date()) end
--   end)
--
-- A room is trusted for what it says of itself and of who is in it, and for nothing else. What the occupants are called
-- proves nothing: a nick may be anybody's as soon as its owner has left. See muc/room.lua for how this is put together.

local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local presence = require "xmpp.presence"
local rooms = require "xmpp.muc.room"
local saved = require "xmpp.muc.saved"

local M = { name = "muc", needs = { disco, presence }, features = { "http://jabber.org/protocol/muc" }, events = {},
  taps = {}, adds = {} }

-- What a room is made of, in the order in which hooks are called.
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

--- Returns the extension's handle on this connection. Its field `rooms` has the rooms that we are in or come back to,
--- by their addresses; its event "invite" tells of invitations.
---@param conn xmpp.Conn
---@param opts? { accept: (fun(inv: xmpp.Invitation): string|boolean|nil)? } accept: called with each invitation;
--- returns the nick by which the room is joined, or true for our account's name; false or nil (the default): the room
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
