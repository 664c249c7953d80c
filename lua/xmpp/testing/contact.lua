-- contact: a contact in a test, and the account's roster with these contacts (RFC 6121). Required by xmpp.testing
-- alone.
--
--   local anna = t:contact("anna@example.net", { subscription = "both", name = "Anna" })
--   anna:online { show = "away" }
--   anna:says "hello"
--   local version = anna:asks { "query", { xmlns = "jabber:iq:version" } }
--
-- Presences to it, and the roster's requests, are answered as by a server; messages and requests to it have to be
-- expected, like any others.

local core = require "xmpp.load"
local xexpr = require "xmpp.xexpr"

local ROSTER = "jabber:iq:roster"
local KNOWN = { subscription = true, name = true, groups = true, ask = true, approved = true, resource = true }
local TO, FROM = { to = true, both = true }, { from = true, both = true }

---@class xmpp.TestContact
local Contact = {}
Contact.__index = Contact

local inner = setmetatable({}, { __mode = "k" })

local function test_of(contact) return inner[contact].test end

local function say(contact, x, from)
  local test = test_of(contact)
  x[2].from, x[2].to = from, x[2].to or tostring(test.conn:jid())
  test.server:say_stanza(x)
end

local function act(contact, f, ...)
  inner[contact].turn()
  local a, b = f(contact, ...)
  inner[contact].turn()
  return a, b
end

local function full(contact, resource) return contact.jid .. "/" .. (resource or contact.resource) end

-- The roster

local function item_of(contact)
  local item = { "item", { jid = contact.jid, name = contact.name, subscription = contact.subscription or "none",
    ask = contact.ask and "subscribe" or nil, approved = contact.approved and "true" or nil } }
  for _, group in ipairs(contact.groups) do item[#item + 1] = { "group", {}, group } end
  return item
end

-- Pushes an item to the program, once it has requested its roster (RFC 6121 2.1.6). `hear_account` gets its answer.
local function push(contact, item)
  local account = inner[contact].account
  if not account.interested then return end
  account.pushes = account.pushes + 1
  local test = test_of(contact)
  test.server:say_stanza { "iq", { type = "set", id = "push-" .. account.pushes, to = tostring(test.conn:jid()) },
    { "query", { xmlns = ROSTER }, item or item_of(contact) } }
end

local function change(contact, subscription)
  contact.subscription = subscription
  push(contact)
end

local function with(subscription, part)
  if subscription == part or subscription == "both" then return subscription end
  return (subscription == nil or subscription == "none") and part or "both"
end

local function without(subscription, part)
  if subscription == "both" then return part == "to" and "from" or "to" end
  return subscription == part and "none" or subscription
end

local function presence_of(contact, resource)
  local o = contact.resources[resource]
  local x = { "presence", {}, o.show and { "show", {}, o.show } or nil }
  if o.status then x[#x + 1] = { "status", {}, o.status } end
  if o.priority then x[#x + 1] = { "priority", {}, ("%.0f"):format(o.priority) } end
  for _, child in ipairs(o.more or {}) do x[#x + 1] = child end
  return x
end

local function show(contact)
  if not TO[contact.subscription] then return end
  local names = {}
  for resource in pairs(contact.resources) do names[#names + 1] = resource end
  table.sort(names)
  for _, resource in ipairs(names) do say(contact, presence_of(contact, resource), full(contact, resource)) end
end

-- What the test does

--- Sends a message: a text, or { text =, id =, type = ("chat"), thread =, resource =, children... }.
---@param what string|table
---@return string id
function Contact:says(what)
  local o = type(what) == "table" and what or { text = what }
  local x = { "message", { id = o.id or core.id(), type = o.type or "chat" } }
  if o.text then x[#x + 1] = { "body", {}, o.text } end
  if o.thread then x[#x + 1] = { "thread", {}, o.thread } end
  for _, child in ipairs(o) do x[#x + 1] = child end
  act(self, say, x, full(self, o.resource))
  return x[2].id
end

--- Makes one of its resources available: sends presence if the program may see it. directed: in any case.
---@param o? { show: string?, status: string?, priority: integer?, resource: string?, more: xmpp.Element[]?,
--- directed: boolean? }
function Contact:online(o)
  o = o or {}
  local resource = o.resource or self.resource
  self.resources[resource] = { show = o.show, status = o.status, priority = o.priority, more = o.more }
  act(self, function()
    if not (o.directed or TO[self.subscription]) then return end
    say(self, presence_of(self, resource), full(self, resource))
  end)
end

--- Makes a resource unavailable.
---@param o? { status: string?, resource: string? }
function Contact:offline(o)
  o = o or {}
  local resource = o.resource or self.resource
  local was = self.resources[resource]
  self.resources[resource] = nil
  act(self, function()
    if not (was and TO[self.subscription]) then return end
    say(self, { "presence", { type = "unavailable" }, o.status and { "status", {}, o.status } or nil },
      full(self, resource))
  end)
end

--- Sends a request, and returns the answer, which must come at once.
---@param payload xmpp.Element
---@param o? { kind: "get"|"set"|nil, resource: string? } kind: ("get")
---@return xmpp.Element|true|nil answer
---@return xmpp.Stanza|table stanza; or what the error says, as xexpr.error returns it
function Contact:asks(payload, o)
  o = o or {}
  local asked, id = inner[self].account.asked, core.id()
  asked[id] = false
  act(self, say, { "iq", { type = o.kind or "get", id = id }, payload }, full(self, o.resource))
  local stanza = asked[id]
  asked[id] = nil
  if not stanza then inner[self].fail(test_of(self), "%s isn't answered what it asks", self.jid) end
  if stanza[2].type == "error" then return nil, xexpr.error(stanza) end
  return xexpr.children(stanza)() or true, stanza
end

local function tell(contact, kind, status)
  say(contact, { "presence", { type = kind, to = tostring(test_of(contact).conn:jid():bare()) },
    status and { "status", {}, status } or nil }, contact.jid)
end

--- Requests a subscription to our presence (RFC 6121 3.1.3): the program gets the request, unless it was pre-approved.
---@param status? string
function Contact:requests(status)
  act(self, function()
    if FROM[self.subscription] then return end
    if self.approved then return change(self, with(self.subscription, "from")) end
    self.pending = true
    tell(self, "subscribe", status)
  end)
end

--- Approves our subscription request (RFC 6121 3.1.6).
function Contact:approves()
  act(self, function()
    if not self.ask then return end
    self.ask = nil
    change(self, with(self.subscription, "to"))
    tell(self, "subscribed")
    show(self)
  end)
end

--- Denies our request, or cancels our subscription (RFC 6121 3.2.3).
function Contact:denies()
  act(self, function()
    if not self.ask and not TO[self.subscription] then return end
    self.ask = nil
    change(self, without(self.subscription, "to"))
    tell(self, "unsubscribed")
  end)
end

--- Unsubscribes from our presence (RFC 6121 3.3.3).
function Contact:unsubscribes()
  act(self, function()
    if not FROM[self.subscription] then return end
    change(self, without(self.subscription, "from"))
    tell(self, "unsubscribe")
  end)
end

-- What the program does

local done = {}

function done.subscribe(contact)
  if TO[contact.subscription] then return end
  contact.ask = true
  change(contact, contact.subscription or "none")
end

function done.subscribed(contact)
  if FROM[contact.subscription] then return end
  if not contact.pending then contact.approved = true return change(contact, contact.subscription or "none") end
  contact.pending = nil
  change(contact, with(contact.subscription, "from"))
end

function done.unsubscribe(contact)
  contact.ask = nil
  change(contact, without(contact.subscription, "to"))
end

function done.unsubscribed(contact)
  local was = FROM[contact.subscription] or contact.approved
  contact.pending, contact.approved = nil, nil
  if was then change(contact, without(contact.subscription, "from")) end
end

-- Handles presence to the contact. True: nobody else gets it.
local function hear_presence(contact, stanza)
  local f = done[stanza[2].type or ""]
  if f then f(contact) else contact.sees = stanza[2].type == nil end
  return true
end

local function reply(account, stanza, ...)
  local test = account.test
  test.server:say_stanza { "iq", { type = "result", id = stanza[2].id, from = stanza[2].to,
    to = stanza[2].from or tostring(test.conn:jid()) }, ... }
end

local function give_roster(account, stanza)
  local query = { "query", { xmlns = ROSTER } }
  for _, contact in ipairs(account.contacts) do
    if contact.subscription then query[#query + 1] = item_of(contact) end
  end
  account.interested = true
  reply(account, stanza, query)
end

local function set_roster(account, stanza, contact, item)
  local removed = item[2].subscription == "remove"
  contact.name, contact.groups = not removed and item[2].name or nil, {}
  for group in xexpr.children(item, "group") do contact.groups[#contact.groups + 1] = xexpr.text(group) end
  reply(account, stanza)
  if removed then
    contact.subscription, contact.ask, contact.pending, contact.approved = nil, nil, nil, nil
    return push(contact, { "item", { jid = contact.jid, subscription = "remove" } })
  end
  change(contact, contact.subscription or "none")
end

-- Handles stanzas to our own account: its roster, its presence, and the answers to requests and pushes.
local function hear_account(account, stanza)
  local kind, id, query = stanza[2].type, stanza[2].id, xexpr.child(stanza, "query", ROSTER)
  if stanza[1] == "presence" and not stanza[2].to then
    if not account.available and kind == nil then
      for _, contact in ipairs(account.contacts) do show(contact) end
    end
    account.available = kind == nil
  elseif stanza[1] == "iq" and (kind == "result" or kind == "error") then
    if account.asked[id] == nil then return (id or ""):find "^push%-%d+$" ~= nil end
    account.asked[id] = stanza
    return true
  elseif stanza[1] == "iq" and query and kind == "get" then
    give_roster(account, stanza)
    return true
  elseif stanza[1] == "iq" and query and kind == "set" then
    local item = xexpr.child(query, "item", ROSTER)
    local jid = item and core.jid(item[2].jid or "")
    local contact = jid and account.by[tostring(jid:bare())]
    if not contact then return false end
    set_roster(account, stanza, contact, item)
    return true
  end
  return false
end

local function hear(account, stanza)
  local to = stanza[2].to and core.jid(stanza[2].to)
  local bare = to and tostring(to:bare())
  if account.by[bare or ""] and stanza[1] == "presence" then return hear_presence(account.by[bare], stanza) end
  local ours = bare == nil or bare == tostring(account.test.conn:jid():bare()) or stanza[2].type == "result" or
    stanza[2].type == "error"
  return ours and hear_account(account, stanza)
end

local function open_account(test, functions)
  local account = { test = test, contacts = {}, by = {}, asked = {}, pushes = 0 }
  functions.hears(function(stanza) return hear(account, stanza) end)
  functions.gone(function()
    account.interested, account.available = nil, nil
    for _, contact in ipairs(account.contacts) do contact.sees = nil end
  end)
  return account
end

--- Creates a contact. functions: fail, turn, and those of the test's other parts; see xmpp.testing.
return function(test, functions, jid, o)
  local address, err = core.jid(jid)
  if not address then functions.fail(test, "contact(jid): %s", tostring(err)) end
  for name in pairs(o) do
    if not KNOWN[name] then functions.fail(test, "contact has no option '%s'", tostring(name)) end
  end
  local account = test.account or open_account(test, functions)
  test.account = account
  local bare = tostring(address:bare())
  local contact = setmetatable({ jid = bare, name = o.name, groups = o.groups or {}, ask = o.ask, approved = o.approved,
    subscription = o.subscription or (o.name or o.groups) and "none" or nil, resources = {},
    resource = address.resourcepart or o.resource or "home" }, Contact)
  inner[contact] = { test = test, turn = functions.turn, fail = functions.fail, account = account }
  account.contacts[#account.contacts + 1], account.by[bare] = contact, contact
  return contact
end
