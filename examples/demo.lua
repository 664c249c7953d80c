-- demo: a story in steps against a real server, which `make demo` starts for it. Each step shows its own source, then
-- what goes over the wire while it runs. The steps are under "The story"; everything before only draws.

local xmpp = require "xmpp"
local xexpr = require "xmpp.xexpr"

local function env(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

if not env "XMPP_SERVER" then error("this needs a server of its own: run `make demo`", 0) end

-- Drawing

local COLOR = env "DEMO_COLOR" == "1"
local UTF8 = (env "LC_ALL" or env "LC_CTYPE" or env "LANG" or "C"):lower():find "utf%-?8"
local ARROW = UTF8 and { out = "→", ["in"] = "←" } or { out = ">", ["in"] = "<" }
local BAR = UTF8 and "│" or "|"
local INK = { title = "1", lua = "2", prints = "1", bar = "2", alice = "1;35", bob = "1;34", component = "1;33",
  name = "36", key = "33", value = "32" }
local COLUMNS = math.max(60, math.min(100, tonumber(env "COLUMNS") or 100))
local ROOM = COLUMNS - 14 -- the columns that label, arrow and bar take

local function paint(ink, text)
  return COLOR and ("\27[%sm%s\27[0m"):format(INK[ink], text) or text
end

-- The width of a string in characters, without its colour codes.
local function width(s)
  return #s:gsub("\27%[[%d;]*m", ""):gsub("[\128-\191]", "")
end

-- Breaks `line` before a match of `word` where it would become too long; what follows is indented by `pad`.
local function fold(line, word, pad, room)
  local lines, last = {}, ""
  for part in (line:gsub(word, "\n%0") .. "\n"):gmatch "(.-)\n" do
    if width(last) > 0 and width(last) + width(part) > room then
      lines[#lines + 1] = last
      last = pad .. part:gsub("^ ", "")
    else
      last = last .. part
    end
  end
  lines[#lines + 1] = last
  return table.concat(lines, "\n")
end

local function fold_words(text, room) return fold(text, " [^ ]+", "", room) end

local function fold_tags(xml)
  return (xml:gsub("[^\n]+", function(line) return fold(line, " [^ ='<>]+='", line:match "^ *" .. "    ", ROOM) end))
end

local function write(text) io.write((text:gsub(" +$", "")), "\n") end

-- Writes lines to the right of the bar; the first one gets the label.
local function put(who, arrow, text)
  local label = (" "):rep(9 - #who) .. paint(who, who .. " " .. (arrow or " "))
  for line in (text .. "\n"):gmatch "(.-)\n" do
    write(("%s %s %s"):format(label, paint("bar", BAR), line))
    label = (" "):rep(11)
  end
end

-- The `print` that the steps' source calls.
local function print(value)
  put("prints", nil, fold_words(tostring(value), ROOM))
end

local function paint_tag(xml)
  return (xml:gsub("([^ =<>]+)='([^']*)'", function(key, value)
    return ("%s='%s'"):format(paint("key", key), paint("value", value))
  end):gsub("<(/?)([%w:]+)", function(slash, name) return "<" .. slash .. paint("name", name) end))
end

-- Returns the elements in `text`, one after another; none if it is something else.
local function elements(text)
  local one, several = xexpr.from_xml(text), xexpr.from_xml("<x>" .. text .. "</x>")
  local found = { one }
  if several and not one then
    for element in xexpr.children(several) do found[#found + 1] = element end
  end
  return found
end

-- Draws what the option `log` reports: a stream header (as the open tag it is), elements, the stream's end, or both.
local function draw(text)
  local header = text:match "^<%?xml.*" or text:match "^<stream .*"
  if header then return paint_tag(header:gsub("%?><", "?>\n<"):gsub("/>$", ">")) end
  local before, closing = text:match "^(.-)(</stream:stream>)$"
  local lines = elements(before or text)
  for n, element in ipairs(lines) do lines[n] = xexpr.pretty(element, { color = COLOR }) end
  lines[#lines + 1] = closing and paint_tag(closing)
  return lines[1] and table.concat(lines, "\n") or text
end

-- Returns a function for the option `log`.
local function trace(who)
  return function(direction, text) put(who, ARROW[direction], fold_tags(draw(text))) end
end

-- The same, with a single line for everything until a resource is bound, or a component's handshake is done.
local function trace_after_login(who)
  local pieces, show = 0, trace(who)
  return function(direction, text)
    if not pieces then return show(direction, text) end
    pieces = pieces + 1
    if direction == "out" or not (text:find "^<iq.*<bind" or text:find "^<handshake") then return end
    put(who, nil, ("logs in (%d pieces of XML, left out here)"):format(pieces))
    pieces = nil
  end
end

local source = {}
for line in io.lines((debug.getinfo(1, "S").source:gsub("^@", ""))) do source[#source + 1] = line end

local number = 0
local function step(title, prose, f)
  number = number + 1
  write(("\n%s\n%s\n"):format(paint("title", number .. ". " .. title), fold_words(prose, COLUMNS)))
  local info = debug.getinfo(f, "S")
  local excerpt = table.concat(source, "\n", info.linedefined + 1, info.lastlinedefined - 1)
  put("lua", nil, (("\n" .. excerpt):gsub("\n  ", "\n"):gsub("^\n", "")))
  write ""
  f()
end

-- The story

local host, port, component_port = env "XMPP_HOST", tonumber(env "XMPP_PORT"), tonumber(env "XMPP_COMPONENT_PORT")
local domain, service, ca, secret = env "XMPP_DOMAIN", env "XMPP_COMPONENT", env "XMPP_CA", env "XMPP_SECRET"
local jid, password = { alice = "alice@" .. domain .. "/demo", bob = "bob@" .. domain .. "/bot" }, {}
for name, word in env("XMPP_USERS"):gmatch "([^%s:]+):(%S+)" do password[name] = word end

local alice, bob, component

write(paint("title", "XMPP in Lua, against a real Prosody"))
write(fold_words(("The server listens on %s, port %d, with a certificate made for this run. The label left of the bar "
  .. "says what a line is: the program's source (lua), what it prints, or a connection's XML, sent (%s) or received "
  .. "(%s). Passwords and proofs are masked by the library."):format(host, port, ARROW.out, ARROW["in"]), COLUMNS))

step("Alice logs in", "One call, which waits until TLS is set up, the certificate verified, the password proved (by "
  .. "SCRAM, which never sends it) and a resource bound.", function()
  alice = assert(xmpp.connect_client(jid.alice, password.alice,
    host, port, { ca_file = ca, log = trace "alice" }))
  print(alice:jid())
end)

step("Alice greets Bob, an echo bot", "A stanza is a plain table. Bob's callback sees the messages that its filter "
  .. "lets through, and nothing else.", function()
  bob = assert(xmpp.connect_client(jid.bob, password.bob,
    host, port, { ca_file = ca, log = trace_after_login "bob" }))
  bob:set_callback(function(message)
    local said = xexpr.text(message, "body")
    bob:send(xexpr.reply(message, { "body", "You said: " .. said }))
  end, { name = "message", type = "chat" })
  bob:set_handler()

  alice:send { "message", { to = jid.bob, type = "chat" },
    { "body", "Grüß dich, Bob! ☕" } }
  local echo = assert(alice:receive_blocking(10))
  print(xexpr.text(echo, "body"))
  assert(xexpr.text(echo, "body") == "You said: Grüß dich, Bob! ☕")
end)

step("Alice pings the server", "send_await fills in an id, and returns the response that belongs to it: the one from "
  .. "the server, not one from anybody who guesses the id.", function()
  local pong = assert(alice:send_await {
    "iq", { to = domain, type = "get" },
    { "ping", { xmlns = "urn:xmpp:ping" } } })
  print(pong[2].type)
  assert(pong[2].type == "result")
end)

step("A component answers a question", "A component is a domain of its own beside the server's. This one "
  .. "answers requests for its version.", function()
  component = assert(xmpp.connect_component(host, component_port,
    service, secret, { log = trace_after_login "component" }))
  component:set_callback(function(question)
    component:send(xexpr.reply(question,
      { "query", { xmlns = "jabber:iq:version" },
        { "name", "A component" }, { "version", _VERSION } }))
  end, { name = "iq", type = "get", xmlns = "jabber:iq:version" })
  component:set_handler()

  local answer = assert(alice:send_await {
    "iq", { to = service, type = "get" },
    { "query", { xmlns = "jabber:iq:version" } } })
  local query = xexpr.child(answer, "query", "jabber:iq:version")
  print(xexpr.text(query, "version"))
  assert(xexpr.text(query, "version") == _VERSION)
end)

step("Alice listens until she has heard enough", "A once-callback stays until it returns true.", function()
  local heard = {}
  alice:set_callback_once(function(message)
    heard[#heard + 1] = xexpr.text(message, "body")
    return heard[#heard] == "Now!"
  end, { name = "message", from = jid.bob })
  alice:set_handler()

  bob:send { "message", { to = jid.alice }, { "body", "Not yet." } }
  bob:send { "message", { to = jid.alice }, { "body", "Now!" } }
  while #alice:callbacks() > 0 do xmpp.step(1) end
  print(table.concat(heard, " "))
  assert(table.concat(heard, " ") == "Not yet. Now!")
end)

step("Two errors", "What goes wrong outside the program is returned as nil and an error: one line for a person, fields "
  .. "for a program. A mistake in the program raises an error at the caller's line, before a byte is sent.", function()
  local nobody, err = xmpp.connect_client(jid.alice, "a guess",
    host, port, { ca_file = ca })
  print(err)
  assert(not nobody and err.condition == "not-authorized")

  local fine, mistake = pcall(function()
    alice:send { "message", { to = jid.bob }, { "body", "Ring\7" } }
  end)
  print(mistake)
  assert(not fine)
end)

step("All stop", "Each closes its stream and waits for the server to close its own.", function()
  assert(alice:stop())
  assert(bob:stop())
  assert(component:stop())
  xmpp.run() -- returns at once: nothing is left to wait for
end)

-- A configuration for the command, in a directory that is removed afterwards.
local folder = io.popen "mktemp -d":read "*l"
local file = assert(io.open(folder .. "/password", "w"))
file:write(password.bob, "\n")
file:close()
os.execute(("mkdir '%s/xmpp' && chmod 600 '%s/password'"):format(folder, folder))
file = assert(io.open(folder .. "/xmpp/config.lua", "w"))
file:write(("[default]\njid = bob@%s\npassword-file = %s/password\nhost = %s\nport = %d\nca-file = %s\n"):format(domain,
  folder, host, port, ca))
file:close()

-- Runs a command in a shell in which `xmpp` is our command.
local function shell(command)
  local lua, root = arg[-1] or "lua5.4", arg[0]:match "^(.*)/examples/" or "."
  local pipe = io.popen(("export XDG_CONFIG_HOME='%s' NO_COLOR=1; xmpp() { '%s' '%s/bin/xmpp' \"$@\"; }; { %s; } 2>&1; "
    .. "echo $?"):format(folder, lua, root, command))
  local text, status = pipe:read "*a":match "^(.*)%f[%d](%d+)\n$"
  pipe:close()
  for line in text:gmatch "[^\n]+" do print(line) end
  print("status " .. status)
  assert(status == "0", "the command failed")
end

step("The same from the shell",
  "The command `xmpp` is built on all this. Its exit status is 0 on success: for a message, "
  .. "when the server has acknowledged it.", function()
  shell "echo 'Hello from the shell' | xmpp send alice@xmpp.test"
  shell "xmpp version"
  shell "xmpp check -w 30 -c 60"
end)
os.execute(("rm -r '%s'"):format(folder))

write("\n" .. paint("title", "Everything worked, and nothing is left running."))
