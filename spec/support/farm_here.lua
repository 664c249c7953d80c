-- A farm in this process, for the examples of the manual: a real Redis, and in the place of the server a connection
-- without a network (fed.lua). While it is open, redis.connect and xmpp.connect_component lead to these two, whatever
-- they are told.
--
--   local farm = require "spec.support.farm_here".open()
--   farm.put(stanza), farm.answer()        -- as an intake: puts a stanza into a stream; waits for an answer
--   farm.feed(xml), farm.taken()           -- as the server: sends a stanza; waits until it is in Redis
--   farm.intake(), farm.worker(handler)
--   farm.close()
local core = require "xmpp.core"
local fed = require "spec.support.fed"
local processes = require "spec.support.farm"
local redis = require "xmpp.redis"
local server = require "spec.support.redis"
local xmpp = require "xmpp"

local here = {}

local WHERE = { host = "127.0.0.1" }

local function stanza_in(f, side)
  for i = 0, f.streams - 1 do
    local entry = f:entries(side .. ":" .. i)[1]
    if entry then return entry.stanza end
  end
end

function here.open()
  local s = server.start()
  local f = processes.new(s, "bots")
  local connect, connect_component, peer = redis.connect, xmpp.connect_component, nil
  function redis.connect() return connect { port = s.port } end
  function xmpp.connect_component(_, _, domain)
    peer = fed.open { jid = domain, component = true }
    return peer.conn
  end
  -- The server ends its stream when the other side has.
  local ending = xmpp.every(0.02, function()
    if peer and peer:sent():find("</stream:stream>", 1, true) then core.conn.feed(peer.conn, "</stream:stream>") end
  end)
  local farm = { wait = processes.turn_until }

  function farm.put(stanza)
    f:add(0, "v", "1", "key", "anna@example.net", "stanza", xmpp.xexpr.to_json(stanza))
  end
  local function wait_for(side)
    local stanza
    farm.wait(function()
      stanza = stanza_in(f, side)
      return stanza
    end)
    return stanza
  end
  function farm.answer() return wait_for "out" end
  function farm.taken() return wait_for "in" end
  function farm.feed(xml) peer:feed(xml) end
  function farm.intake()
    return assert(xmpp.stream.intake { name = "bots", redis = WHERE,
      component = { host = "127.0.0.1", port = 5347, domain = "bots.example.net", secret = "secret" } })
  end
  function farm.worker(handler)
    return assert(xmpp.stream.worker { name = "bots", redis = WHERE, handler = handler })
  end
  function farm.close()
    redis.connect, xmpp.connect_component = connect, connect_component
    ending:cancel()
    f:close()
    s:stop()
  end
  return farm
end

return here
