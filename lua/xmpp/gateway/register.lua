-- register: registration with a gateway (XEP-0077, XEP-0100 4.1 to 4.3), and how a client finds a user's address by
-- name (jabber:iq:gateway, XEP-0100 6.3). For xmpp.gateway alone.
--
-- A person is identified by the bare address that their server has verified. Values of text-private fields aren't sent
-- back.

local core = require "xmpp.load"
local data_form = require "xmpp.form"
local disco = require "xmpp.disco"
local elements = require "xmpp.register".elements -- for clients that don't support forms
local escape = require "xmpp.escape"
local iq = require "xmpp.iq"
local people = require "xmpp.gateway.people"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local M = {}

local REGISTER, GATEWAY = "jabber:iq:register", "jabber:iq:gateway"

local function person_of(stanza)
  local from = core.jid(stanza[2].from or "")
  return from and tostring(from:bare())
end

-- The form, with the present values.
local function spec_with(spec, fields)
  local out = { type = spec.type or REGISTER, title = spec.title, instructions = spec.instructions, fields = {} }
  for i, field in ipairs(spec.fields or {}) do
    local copy = {}
    for name, v in pairs(field) do copy[name] = v end
    if fields and field.kind ~= "text-private" and fields[field.var] ~= nil then copy.value = fields[field.var] end
    out.fields[i] = copy
  end
  return out
end

-- XEP-0077 3.1: the registration form
local function give(st, stanza)
  local spec = st.opts.register
  local data = people.data(st, person_of(stanza))
  local fields = data and data.fields
  local query = { "query", { xmlns = REGISTER }, fields and { "registered" } or nil }
  query[#query + 1] = { "instructions", {}, spec.instructions or "Fill in the form." }
  for _, field in ipairs(spec.fields or {}) do
    local value = fields and field.kind ~= "text-private" and fields[field.var]
    if elements[field.var] then query[#query + 1] = { field.var, {}, type(value) == "string" and value or nil } end
  end
  query[#query + 1] = data_form.new(spec_with(spec, fields))
  return query
end

-- The submitted values, from a form or from elements.
local function values_of(st, query)
  local spec = spec_with(st.opts.register)
  local x = xexpr.child(query, "x", data_form.DATA)
  if x then return data_form.read(x, spec) end
  x = { "x", { xmlns = data_form.DATA, type = "submit" } }
  for _, field in ipairs(spec.fields) do
    local text = elements[field.var] and xexpr.text(query, field.var, REGISTER)
    if text then x[#x + 1] = { "field", { var = field.var }, { "value", {}, text } } end
  end
  return data_form.read(x, spec)
end

-- Lets the program's functions decide; returns true, or nil, type, condition, text.
local function checked(st, person, values)
  local opts = st.opts
  if opts.allow and opts.allow(person) ~= true then return nil, "auth", "forbidden" end
  if not opts.check then return true end
  local ok, text = opts.check(person, values)
  if ok then return true end
  return nil, "modify", "not-acceptable", type(text) == "string" and text or nil
end

local function presence(conn, kind, from, to) conn:send { "presence", { type = kind, from = from, to = to } } end

local function behind_the_answer(f)
  xmpp.spawn(function()
    xmpp.sleep(0)
    f()
  end)
end

-- XEP-0100 4.1: after a registration the gateway subscribes to the person's presence.
local function register(st, conn, stanza, query)
  local person = person_of(stanza)
  local values, err = values_of(st, query)
  if not values then return nil, "modify", "bad-request", err.text end
  local ok, kind, condition, text = checked(st, person, values)
  if not ok then return nil, kind, condition, text end
  local kept, why = people.register(st, person, values)
  if not kept then
    return nil, "wait", type(why) == "table" and why.condition == "resource-constraint" and why.condition or
      "internal-server-error"
  end
  behind_the_answer(function()
    presence(conn, "subscribe", st.domain, person)
    st:emit("register", person, values)
  end)
  return true
end

-- XEP-0100 4.3: no contact of the gateway remains in the person's roster.
local function unregister(st, conn, stanza)
  local person = person_of(stanza)
  local data, err = people.forget(st, person)
  if err then return nil, "wait", "internal-server-error" end
  if not data then return nil, "auth", "registration-required" end
  local list = {}
  for localpart in pairs(data.contacts or {}) do list[#list + 1] = ("%s@%s"):format(localpart, st.domain) end
  table.sort(list)
  list[#list + 1] = st.domain
  behind_the_answer(function()
    for _, jid in ipairs(list) do
      for _, kind in ipairs { "unavailable", "unsubscribe", "unsubscribed" } do presence(conn, kind, jid, person) end
    end
    st:emit("unregister", person, data.fields)
  end)
  return true
end

local function set(st, conn, query, stanza)
  if xexpr.child(query, "remove", REGISTER) then return unregister(st, conn, stanza) end
  return register(st, conn, stanza, query)
end

--- Serves registration, at the gateway's own address.
function M.serve(st, conn)
  local at = { at = st.domain }
  st.offs[#st.offs + 1] = iq.serve(conn, "get", REGISTER, function(_, stanza) return give(st, stanza) end, at)
  st.offs[#st.offs + 1] = iq.serve(conn, "set", REGISTER, function(query, stanza, c)
    return set(st, c, query, stanza)
  end, at)
  st.offs[#st.offs + 1] = disco.add(conn, REGISTER)
end

--- Serves requests for an address by name.
function M.serve_prompt(st, conn)
  local at = { at = st.domain }
  st.offs[#st.offs + 1] = iq.serve(conn, "get", GATEWAY, function()
    return { "query", { xmlns = GATEWAY }, { "prompt", {}, st.opts.prompt } }
  end, at)
  st.offs[#st.offs + 1] = iq.serve(conn, "set", GATEWAY, function(query)
    local jid = escape.jid(xexpr.text(query, "prompt", GATEWAY) or "", st.domain)
    if not jid then return nil, "modify", "jid-malformed" end
    return { "query", { xmlns = GATEWAY }, { "jid", {}, tostring(jid) } }
  end, at)
  st.offs[#st.offs + 1] = disco.add(conn, GATEWAY)
end

return M
