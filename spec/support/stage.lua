-- Shared by the specs of callbacks and of waiting: fed connections (fed.lua), a record of which callbacks are called
-- and of the errors they raise, a gate at which callbacks wait, and the manners of garbage collection under which the
-- tests run.
--
--   before_each(function() stage.begin(manner) end) -- manner: one of stage.manners(), or none
--   after_each(stage.finish) -- fails if there were errors that no test has taken, or if something is left over
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

-- The manners that this Lua has.
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

-- In a describe: makes a fed connection f for each test, and calls set(f, f.conn); set(nil, nil) when it is over.
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

-- The same under each of the manners; groups: { title, a function that defines the tests }...
function stage.under_manners(name, set, groups)
  local busted = require "busted"
  for _, m in ipairs(stage.manners()) do
    busted.describe(name .. ", " .. m.name .. ":", function()
      stage.around(set, nil, m)
      for _, group in ipairs(groups) do busted.describe(group[1], group[2]) end
    end)
  end
end

-- A fed connection that stage.finish will end.
function stage.open(options)
  local f = fed.open(options or { jid = stage.ME })
  opened[#opened + 1] = f
  return f
end

-- Lets the server end the stream, if it hasn't yet.
function stage.close(f)
  if f.conn:state() ~= "closed" then f.conn:on("failed", function() end) end -- stanzas left unsent are no error
  if f.conn:state() ~= "closed" then f:feed "</stream:stream>" end
end

-- The record of calls.

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

-- What has been noted since the last call.
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

-- The errors given to on_error since the last call, each {text, object, whose}.
function stage.take_errors()
  local taken = errors
  errors = {}
  return taken
end

-- Checks that g raises an error whose position is the line where g begins, and which contains `text`.
function stage.refuses(text, g)
  local ok, message = pcall(g)
  local info = debug.getinfo(g, "S")
  local place = ("%s:%d: "):format(info.short_src:match "[^/]*$", info.linedefined)
  if ok then error("no error, but expected: " .. text, 2) end
  if not message:find(place, 1, true) then error("not at the caller's line: " .. message, 2) end
  if not message:find(text, 1, true) then error(("expected %q, got %q"):format(text, message), 2) end
end

-- Stanzas and bytes.

-- A request to `to` (nil: without `to`), with or without an id.
function stage.request(id, to)
  return { "iq", { type = "get", id = id, to = to }, { "q", { xmlns = "urn:q" } } }
end

-- A stanza as XML; an attribute that is false is left out.
function stage.stanza(name, attributes)
  local x = { name, {} }
  for key, value in pairs(attributes) do x[2][key] = value and tostring(value) or nil end
  return xexpr.to_xml(x)
end

-- Feeds messages with these attributes n, in one piece.
function stage.come(f, ...)
  local bytes = {}
  for i, n in ipairs { ... } do
    bytes[i] = ("<message from='bob@xmpp.test/pc' n='%s'><body>hi</body></message>"):format(n)
  end
  f:feed(table.concat(bytes))
end

-- What has been sent since the last call, as elements.
function stage.sent(f)
  local bytes = f:sent()
  local all = assert(xexpr.from_xml("<all>" .. bytes:gsub("</stream:stream>$", "") .. "</all>"))
  return { unpack(all, 3) }
end

-- Waiting.

-- In a callback: waits until the test calls stage.go. The callback that has waited longest goes on first.
function stage.wait()
  gate = gate or stage.open { jid = "gate@xmpp.test/gate" }
  assert(gate.conn:receive_blocking(60))
end

-- Lets `n` (1) of the callbacks that wait go on.
function stage.go(n)
  gate:feed(("<message/>"):rep(n or 1))
end

-- Runs the loop until `what` is true, for at most `seconds` (20): for what takes real time.
function stage.turn_until(what, seconds)
  seconds = seconds or 20
  local limit = os.time() + seconds
  while not what() do
    if os.time() > limit then error(("%d seconds have passed"):format(seconds), 2) end
    core.step(0.05)
  end
end

return stage
