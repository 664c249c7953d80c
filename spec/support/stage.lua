-- What the specs of the callback engine and of waiting share: fed connections, an ear for what callbacks do and throw,
-- a gate that callbacks wait at, and the manners of garbage collection under which all of it must hold.
--
--   before_each(function() stage.begin(manner) end) -- manner: one of stage.manners(), or none
--   after_each(stage.finish) -- fails for errors that nobody took, and for what is left over
local core = require "xmpp.core"
local fed = require "spec.support.fed"
local luas = require "spec.support.luas"
local pace = require "spec.support.pace"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local stage = { ME = "me@xmpp.test/here" }

local unpack = table.unpack or unpack -- luacheck: ignore 143

local opened, gate, heard, errors, manner, was

local IDLE = { name = "with an idle collector", tick = function() end }

-- tick: called at the beginning and at the end of every callback made by stage.hears.
local MANNERS = {
  IDLE,
  { name = "with a full collection in every callback", tick = function() collectgarbage() end },
  { name = "with a collector that never pauses", tick = function() end,
    enter = function() return { pace.set(0, 1000) } end,
    leave = function(old) pace.set(old[1], old[2]) end },
}

local GENERATIONAL = { name = "with a generational collector", tick = function() collectgarbage "step" end,
  enter = function() collectgarbage "generational" end,
  leave = function() collectgarbage "incremental" end }

-- Those that this Lua has.
function stage.manners()
  local all = { unpack(MANNERS) }
  if luas.has("a generational collector", GENERATIONAL.name) then all[#all + 1] = GENERATIONAL end
  return all
end

function stage.begin(m)
  manner = m or IDLE
  opened, gate, heard, errors = {}, nil, {}, {}
  xmpp.on_error(function(text, object, whose) errors[#errors + 1] = { text = text, object = object, whose = whose } end)
  was = manner.enter and manner.enter()
end

function stage.finish()
  if manner.leave then manner.leave(was) end
  for _, f in ipairs(opened) do stage.close(f) end
  opened, gate = nil, nil
  fed.settle()
  xmpp.on_error(nil)
  for _, e in ipairs(errors) do error("nobody took this error: " .. e.text, 0) end
  if core.is_busy() then error("a connection or a timer is left over", 0) end
end

-- In a describe: for each of its tests a fed connection f, told to set(f, f.conn); set(nil, nil) when it is over.
function stage.around(set, options, m)
  local busted = require "busted"
  busted.before_each(function()
    stage.begin(m)
    local f = stage.open(options)
    set(f, f.conn)
  end)
  busted.after_each(function()
    set(nil, nil)
    stage.finish()
  end)
end

-- The same under each of the manners; groups: { what it is about, a function that has the tests }...
function stage.under_manners(name, set, groups)
  local busted = require "busted"
  for _, m in ipairs(stage.manners()) do
    busted.describe(name .. ", " .. m.name .. ":", function()
      stage.around(set, nil, m)
      for _, group in ipairs(groups) do busted.describe(group[1], group[2]) end
    end)
  end
end

-- A fed connection (see fed.lua) that stage.finish will end.
function stage.open(options)
  local f = fed.open(options or { jid = stage.ME })
  opened[#opened + 1] = f
  return f
end

-- Has the server end it, if it did not yet.
function stage.close(f)
  if f.conn:state() ~= "closed" then f.conn:on("failed", function() end) end -- what a test leaves unsent is no error
  if f.conn:state() ~= "closed" then f:feed "</stream:stream>" end
end

-- The ear.

-- A callback that notes its name with the stanza's attribute n, and then does what `act` does.
function stage.hears(name, act)
  local function ticked(...)
    manner.tick()
    return ...
  end
  return function(stanza, conn, ...)
    ticked(stage.note(name .. tostring(stanza and stanza[2].n)))
    if act then return ticked(act(stanza, conn, ...)) end
  end
end

function stage.note(text)
  heard[#heard + 1] = text
end

-- What was noted since the last time.
function stage.heard()
  local text = table.concat(heard, " ")
  heard = {}
  return text
end

function stage.expect(text)
  require "luassert".equal(text, stage.heard())
end

-- A callback for a response: notes "name=id" (or the response's n for id), "name!layer" of an error.
function stage.notes(conn, name)
  return function(response, c, err)
    require "luassert".equal(conn, c)
    stage.note(response and name .. "=" .. tostring(response[2].n or response[2].id) or name .. "!" .. err.layer)
  end
end

-- The errors given to on_error since the last time, each {text, object, whose}.
function stage.take_errors()
  local taken = errors
  errors = {}
  return taken
end

-- g's error is at the line where it begins, and says `text`.
function stage.refuses(text, g)
  local ok, message = pcall(g)
  local info = debug.getinfo(g, "S")
  local place = ("%s:%d: "):format(info.short_src:match "[^/]*$", info.linedefined)
  if ok then error("no error, but expected: " .. text, 2) end
  if not message:find(place, 1, true) then error("not at the caller's line: " .. message, 2) end
  if not message:find(text, 1, true) then error(("expected %q, got %q"):format(text, message), 2) end
end

-- Stanzas and bytes.

-- A request to `to` (nil: to nobody) with an id, or without.
function stage.request(id, to)
  return { "iq", { type = "get", id = id, to = to }, { "q", { xmlns = "urn:q" } } }
end

-- A stanza's bytes; a false attribute is absent.
function stage.stanza(name, attributes)
  local x = { name, {} }
  for key, value in pairs(attributes) do x[2][key] = value and tostring(value) or nil end
  return xexpr.to_xml(x)
end

-- Messages with these attributes n arrive, in one piece.
function stage.come(f, ...)
  local bytes = {}
  for i, n in ipairs { ... } do
    bytes[i] = ("<message from='bob@xmpp.test/pc' n='%s'><body>hi</body></message>"):format(n)
  end
  f:feed(table.concat(bytes))
end

-- What was sent since the last time, as elements.
function stage.sent(f)
  local bytes = f:sent()
  local all = assert(xexpr.from_xml("<all>" .. bytes:gsub("</stream:stream>$", "") .. "</all>"))
  return { unpack(all, 3) }
end

-- Waiting.

-- In a callback: waits until the test calls stage.go. Who has waited longest goes on first.
function stage.wait()
  gate = gate or stage.open { jid = "gate@xmpp.test/gate" }
  assert(gate.conn:receive_blocking(60))
end

-- `n` (1) of those who wait go on.
function stage.go(n)
  gate:feed(("<message/>"):rep(n or 1))
end

-- Until `what` is true, for `seconds` (20) at most: for what takes time.
function stage.turn_until(what, seconds)
  seconds = seconds or 20
  local limit = os.time() + seconds
  while not what() do
    if os.time() > limit then error(("%d seconds have passed"):format(seconds), 2) end
    core.step(0.05)
  end
end

return stage
