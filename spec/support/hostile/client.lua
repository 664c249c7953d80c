-- The library as a client for the matrix: does what the variables HOSTILE_* say, and prints its events, one JSON object
-- a line.
local xmpp = require "xmpp"
local json = require "cjson"

local function setting(name) return (assert(os.getenv("HOSTILE_" .. name), "HOSTILE_" .. name .. " is not set")) end

-- Long strings are shortened, since the library's memory is measured, not the report's.
local function short(v)
  if type(v) == "string" then return #v > 200 and v:sub(1, 200) .. "..." or v end
  local copy = { v[1], {} }
  for name, value in pairs(v[2]) do copy[2][short(name)] = short(value) end
  for i = 3, math.min(#v, 20) do copy[i] = short(v[i]) end
  return copy
end

local function report(event)
  io.stdout:write(json.encode(event), "\n")
end

local function report_stanza(kind, stanza)
  report { event = kind, text = xmpp.xexpr.to_xml(short(stanza)) }
end

local function report_end(err)
  err = err or {}
  report { event = "end", layer = err.layer, condition = err.condition, text = err.text, retry = err.retry }
end

local doing = {}

-- Until the stream ends, or so long as was asked for. All stanzas go to the callback.
function doing.stay(conn)
  local _, err = conn:receive_blocking(tonumber(setting "STAY"))
  if err.layer ~= "timeout" then
    while xmpp.step(0) > 0 do end -- what came before the end
    return err
  end
  local ok
  ok, err = conn:stop(1)
  return not ok and err or nil
end

function doing.ask(conn)
  local request = { "iq", { type = "get", to = setting "FRIEND" }, { "what", { xmlns = "urn:xmpp:test:ask" } } }
  local answer = conn:send_await(request, tonumber(setting "STAY"))
  if answer then report_stanza("answer", answer) end
  return doing.stay(conn)
end

function doing.stop(conn)
  local ok, err = conn:stop(1)
  return not ok and err or nil
end

-- By TCP, or by WebSocket.
local function place()
  local url = setting "URL"
  if url ~= "" then return { url = url } end
  return { host = setting "HOST", port = tonumber(setting "PORT"), tls = setting "TLS" }
end

local function main()
  local opts = place()
  opts.ca_file, opts.timeout = setting "CA", tonumber(setting "TIMEOUT")
  opts.proxy = setting "PROXY" ~= "" and setting "PROXY" or nil
  local conn, err = xmpp.connect_client(setting "JID", setting "PASSWORD", opts)
  if not conn then return report_end(err) end
  report { event = "bound", text = tostring(conn:jid()) }
  conn:set_handler()
  conn:set_callback(function(stanza) report_stanza("stanza", stanza) end)
  report_end(doing[setting "DO"](conn))
end

main()
