-- gateway: a component (XEP-0114) between XMPP and another network (XEP-0100). The users of that network are virtual
-- users of its domain, with escaped names (XEP-0106), presence and avatars; users of XMPP register (XEP-0077),
-- subscribe to them, and write to them.
--
--   local gateway = require "xmpp.gateway"
--   local conn = assert(xmpp.connect_component("127.0.0.1", 5347, "irc.example.net", "secret", { reconnect = true }))
--   local g = gateway.use(conn, { name = "IRC", type = "irc", register = { fields = { { var = "nick" } } } })
--   local anna = g:user "anna"
--   anna:presence { show = "away" }                      -- to all who have subscribed
--   anna:message("bob@example.net", "hello")
--   g:on("message", function(person, user, m) irc:say(user.name, m.text) end)
--   g:on("register", function(person, values) log_in(person, values.nick) end)
--
-- Events: "message" (person, user, m, stanza): somebody writes to a virtual user; m as xmpp.chat parses it. "presence"
-- (jid, p, user): somebody is available, or no longer; user nil: sent to the gateway itself. "subscribe" (person,
-- user) and "unsubscribe": after the decision. "probe" (person, user): answered already. "register" (person, values),
-- "unregister" (person, values). "error" (person, user, err, id): a message of a virtual user was returned. `person`
-- is a bare address.
--
-- Who is trusted: a person is identified by the `from` that their server has verified, and by nothing in the stanza.
-- If there is a registration, only registered people may write and subscribe. What comes from the gateway's own domain
-- is dropped: two virtual users would answer one another endlessly. Errors and groupchat messages are not answered.

local core = require "xmpp.load"
local data_form = require "xmpp.form"
local disco = require "xmpp.disco"
local ext = require "xmpp.ext"
local info = require "xmpp.info"
local iq = require "xmpp.iq"
local hear = require "xmpp.gateway.hear"
local people = require "xmpp.gateway.people"
local register = require "xmpp.gateway.register"
local users = require "xmpp.gateway.users"

local M = { name = "gateway", needs = { disco }, taps = hear.taps, methods = { user = users.user },
  events = { "message", "presence", "subscribe", "unsubscribe", "probe", "register", "unregister", "error" } }

local OPTIONS = { name = "string", type = "string", register = "table", store = "table", known = "function",
  approve = "function", check = "function", allow = "function", version = "table", max_users = "number",
  max_people = "number", prompt = "string" }

--- Begins to serve as a gateway.
---@param conn xmpp.Conn a component's
---@param opts? table name: of the other network, for people; type: of the other network, as registered for XEP-0030
--- ("irc", "sms"); register: a form's spec (see xmpp.form) that people fill in (none: nobody needs to register);
--- check(person, values): returns true, or nil and a text; may wait; allow(person): who may register (everybody);
--- store: { get(person), set(person, data or nil), each(f) } stores the registrations (in memory); known(name,
--- person): does such a user exist, whom g:user has not created yet; approve(person, user): may that person see the
--- user's presence (true); version: { name =, version = } (XEP-0092); max_users: virtual users (10,000); max_people:
--- registered people (10,000); prompt: the text with which clients ask for a user's name to add (jabber:iq:gateway)
---@return xmpp.Gateway? g
---@return xmpp.Error? err layer "closed"
function M.use(conn, opts)
  return ext.use(conn, M, opts, 2)
end

local function check_options(opts)
  for name, v in pairs(opts) do
    if not OPTIONS[name] then error(("there is no option '%s'"):format(core.shown(tostring(name))), 0) end
    if type(v) ~= OPTIONS[name] then
      error(("bad option '%s' (%s expected, got %s)"):format(name, OPTIONS[name], type(v)), 0)
    end
  end
  for _, name in ipairs { "get", "set", "each" } do
    if opts.store and type(opts.store[name]) ~= "function" then
      error(("bad option 'store' (it has no function '%s')"):format(name), 0)
    end
  end
  if opts.register then data_form.new(opts.register) end -- raises for an invalid form
end

function M.start(st, conn, opts)
  if conn:jid().localpart then error("a gateway is a component", 0) end
  check_options(opts)
  st.opts, st.domain, st.offs = opts, conn:jid().domainpart, {}
  users.start(st, conn)
  people.start(st, opts)
  st.offs[1] = iq.gate(conn, function(question) return hear.is_nobodys(st, question) end)
  st.offs[2] = disco.add(conn, { category = "gateway", type = opts.type or "generic", name = opts.name })
  if opts.register then register.serve(st, conn) end
  if opts.prompt then register.serve_prompt(st, conn) end
  if opts.version then info.use(conn, { version = opts.version }) end
end

--- Probes the presence of registered people (XEP-0100 4.4). Those who were available in an earlier session may have
--- left in the meantime; those who still are get the presences of the virtual users again.
function M.session(st, conn, first)
  if not first then people.reset(st) end
  people.load(st)
  people.probe(st, conn)
end

function M.stop(st)
  for _, off in ipairs(st.offs) do off() end
  users.stop(st)
end

return M
