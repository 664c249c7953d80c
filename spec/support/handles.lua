-- Makes one of each object that has methods, in a test of xmpp.testing: for spec/reference_spec.lua.
local core = require "xmpp.core"
local testing = require "xmpp.testing"
local xmpp = require "xmpp"

local handles = {}

--- The names of a connection's methods.
function handles.conn_methods()
  local t, list = testing.new(), {}
  for name, value in pairs(xmpp) do
    if type(value) == "function" and t.conn[name] then list[#list + 1] = name end
  end
  t:finish()
  table.sort(list)
  return list
end

local function people(t, h)
  local roster, presence = require "xmpp.roster", require "xmpp.presence"
  h.test_contact = t:contact("anna@example.net", { subscription = "both", groups = { "tea" } })
  h.roster = assert(roster.use(t.conn))
  h.handle = h.roster
  h.chat = assert(require "xmpp.chat".use(t.conn))
  presence.set(t.conn, { status = "here" })
  assert(h.roster:fetched(5))
  h.test_contact:online { status = "hello", show = "away", priority = 1 }
  h.chat:on("message", function(m) h.message = m end)
  h.test_contact:says "hello"
  h.presence = presence.of(t.conn, "anna@example.net").home
end

local function rooms(t, h)
  h.test_room = t:room("tea@rooms.example.net", { occupants = { "bert" }, history = { "before" }, subject = "Tea" })
  h.room = assert(require "xmpp.muc".join(t.conn, "tea@rooms.example.net", "kettle"))
  h.room:on("message", function(m) h.room_message = m end)
  h.test_room:says("bert", "hello")
  h.room_info = assert(require "xmpp.muc".info(t.conn, "tea@rooms.example.net"))
  h.room_history = assert(h.room:history())
end

local function nodes(t, h)
  local pubsub = require "xmpp.pubsub"
  h.test_pubsub = t:pubsub "pubsub.example.net"
  h.test_pubsub:node("news")
  h.subscription = assert(pubsub.subscribe(t.conn, "pubsub.example.net", "news"))
  pubsub.on(t.conn, { service = "pubsub.example.net" }, function(event) h.event = event end)
  h.test_pubsub:publish("news", { "entry", { xmlns = "urn:x" } }, "1")
  h.pubsub_items = assert(pubsub.items(t.conn, "pubsub.example.net", "news"))
end

-- Bookmarks need a connection of their own: the archive's and the nodes' stand-ins would both answer for the account.
local function bookmarks(h)
  local t = testing.new { jid = "bob@example.net/test", strict = false }
  t:pubsub(nil, { more = { "urn:xmpp:bookmarks:1#compat" } })
  h.bookmarks = assert(require "xmpp.bookmark".use(t.conn, { autojoin = false }))
  assert(h.bookmarks:fetched(5))
  assert(h.bookmarks:set("tea@rooms.example.net", { name = "Tea" }))
  return t
end

local function commands(t, h)
  local command = require "xmpp.command"
  h.bot = assert(require "xmpp.bot".use(t.conn))
  h.bot:command("ping", {}, function(ctx) h.ctx = ctx end)
  h.test_contact:says "!ping"
  command.serve(t.conn, "x", { allow = function() return true end }, function(dialog) h.dialog = dialog end)
  t:receive { "iq", { from = "anna@example.net/home", type = "set", id = "1" },
    { "command", { xmlns = "http://jabber.org/protocol/commands", node = "x", action = "execute" } } }
  t:sent()
end

local function archive(t, h)
  h.archive_page = assert(require "xmpp.archive".query(t.conn))
end

local function questions(t, h)
  local disco, command, form = require "xmpp.disco", require "xmpp.command", require "xmpp.form"
  local ITEMS, COMMANDS = "http://jabber.org/protocol/disco#items", "http://jabber.org/protocol/commands"
  t:on({ "iq", { to = "x.example.net" }, { "query", { xmlns = ITEMS } } }, function()
    return { "query", { xmlns = ITEMS }, { "item", { jid = "y.example.net", name = "Y" } } }
  end)
  t:on({ "iq", { to = "x.example.net" }, { "command", { xmlns = COMMANDS } } }, function()
    return { "command", { xmlns = COMMANDS, node = "x", sessionid = "1", status = "completed" } }
  end)
  h.disco_info = assert(disco.info(t.conn, "example.net"))
  h.disco_item = assert(disco.items(t.conn, "x.example.net"))[1]
  h.command_result = assert(command.run(t.conn, "x.example.net", "x"))
  h.form = assert(form.parse(form.new { fields = { { var = "a", label = "A", value = "b" } } }))
  h.err = select(2, xmpp.jid "@")
  h.stanza_error = assert(xmpp.xexpr.error { "iq", { type = "error" }, { "error", { type = "cancel" } } })
  t.conn:on("skipped", function(what) h.skipped = what end)
  local deep = { "a" }
  for _ = 1, 30 do deep = { "a", deep } end
  t:receive { "message", { from = "mallory@evil.example/x", id = "1", to = "bot@example.net", type = "chat" }, deep }
  assert(h.skipped and h.message and h.event and h.dialog and h.ctx and h.room_message)
end

local function gateway(h)
  local t = testing.new { component = "irc.example.net", strict = false }
  h.gateway = assert(require "xmpp.gateway".use(t.conn, { name = "IRC", type = "irc" }))
  h.user = assert(h.gateway:user "anna")
  h.user:presence { show = "away" }
  return t
end

-- These need a real Redis and a clock that goes on by itself; they keep their methods when they have been stopped.
local function stopped_farm(h)
  local farm = require "spec.support.farm_here".open()
  h.redis, h.intake, h.worker = assert(require "xmpp.redis".connect {}), farm.intake(), farm.worker(print)
  h.redis:close()
  assert(h.intake:stop())
  assert(h.worker:stop())
  farm.close()
end

local function own_methods(value)
  local index = getmetatable(value).__index
  if type(index) ~= "table" then return nil end
  local list = {}
  for name, f in pairs(index) do
    if type(f) == "function" and name ~= "on" and name ~= "emit" and not name:find "^__" then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

-- The objects whose metatables aren't closed, so that it can also be checked that all of their methods are documented.
local OPEN = { roster = true, chat = true, room = true, bookmarks = true, bot = true, gateway = true, dialog = true,
  ctx = true, user = true, test_room = true, test_contact = true, test_pubsub = true, test_archive = true,
  test_upload = true }

--- One of each; `methods(name)`, `values()`, `room_events()`, `close()`.
function handles.open()
  local h = {}
  stopped_farm(h)
  local t = testing.new { strict = false, opts = { reconnect = true, max_depth = 20 } }
  h.test, h.conn, h.jid, h.timer = t, t.conn, assert(xmpp.jid "a@example.net"), xmpp.after(1000, function() end)
  h.promise, h.channel, h.forge = xmpp.promise(), xmpp.channel(), t.forge
  h.test_upload = t:upload()
  h.test_archive = t:archive { "first" }
  people(t, h)
  rooms(t, h)
  nodes(t, h)
  commands(t, h)
  archive(t, h)
  questions(t, h)
  local others = { gateway(h), bookmarks(h), t }

  function h.methods(name)
    if name == "conn" then return handles.conn_methods() end
    if name == "forge" then
      local list = {}
      for key in pairs(t.forge) do list[#list + 1] = key end
      table.sort(list)
      return list
    end
    return OPEN[name] and own_methods(h[name]) or nil
  end

  function h.room_events()
    local found = {}
    for _, part in ipairs { "join", "enter", "alive", "state", "leave", "outbox", "say", "saved", "archive", "message",
      "owner", "ask" } do
      for _, event in ipairs(require("xmpp.muc." .. part).events or {}) do found[event] = true end
    end
    return found
  end

  function h.values()
    return { ["xmpp.Info"] = t.conn:info(), ["xmpp.Roster"] = h.roster,
      ["xmpp.RosterItem"] = h.roster.items["anna@example.net"],
      ["xmpp.Presence"] = h.presence, ["xmpp.Message"] = h.message, ["xmpp.Room"] = h.room,
      ["xmpp.Occupant"] = h.room.occupants.bert, ["xmpp.RoomMessage"] = h.room_message, ["xmpp.RoomInfo"] = h.room_info,
      ["xmpp.RoomHistory"] = h.room_history, ["xmpp.PubsubEvent"] = h.event, ["xmpp.Subscription"] = h.subscription,
      ["xmpp.PubsubItems"] = h.pubsub_items, ["xmpp.PubsubItem"] = h.pubsub_items[1], ["xmpp.Bookmarks"] = h.bookmarks,
      ["xmpp.Bookmark"] = h.bookmarks.list["tea@rooms.example.net"], ["xmpp.Bot"] = h.bot, ["xmpp.BotContext"] = h.ctx,
      ["xmpp.Dialog"] = h.dialog, ["xmpp.ArchivePage"] = h.archive_page, ["xmpp.ArchivedMessage"] = h.archive_page[1],
      ["xmpp.VirtualUser"] = h.user, ["xmpp.Skipped"] = h.skipped, ["xmpp.Error"] = h.err,
      ["xmpp.DiscoInfo"] = h.disco_info, ["xmpp.DiscoItem"] = h.disco_item, ["xmpp.Form"] = h.form,
      ["xmpp.Field"] = h.form.fields[1], ["xmpp.CommandResult"] = h.command_result,
      ["xmpp.StanzaError"] = h.stanza_error }
  end

  function h.close()
    h.timer:cancel()
    for _, one in ipairs(others) do
      one:sent()
      one:take_errors()
      one:finish()
    end
  end
  return h
end

handles.core = core
return handles
