-- Runs the command xmpp inside this process, with input, environment and output given by the test (its "world", see
-- lua/xmpp/cmd/world.lua), and with the server of xmpp.testing.
--
--   local w = cmd.world { input = "hello\n" }
--   cmd.start(w, { "send", "anna@example.net" })      -- goes on by itself; w.status when it has ended
--   w.stdout, w.stderr
local sys = require "xmpp.sys"
local xmpp = require "xmpp"

local cmd = {}

-- A reader like world.lua's, of a text; `ready` says when there is more.
local function reader(text)
  local input = { buffer = text or "" }
  function input.all(_, most)
    local all = input.buffer
    input.buffer = ""
    return #all <= most and all or nil
  end
  function input.more() return false end
  function input.ready() return true end
  function input.line(_, most)
    local line, rest = input.buffer:match "^([^\n]*)\n(.*)$"
    if not line and input.buffer ~= "" then line, rest = input.buffer, "" end
    if line and #line > most then return false end
    input.buffer = rest or ""
    return line
  end
  return input
end

-- cmd.world { input = text, env = {}, tty = { [1] = true }, secret = what is typed, folder = where the configuration
-- is }
function cmd.world(o)
  o = o or {}
  local w = { sys = sys, argv = {}, input = reader(o.input), stdout = "", stderr = "", asked = {} }
  -- Nobody can create files in this HOME, not even root.
  local env = { HOME = "/dev/null", XDG_CONFIG_HOME = o.folder, XDG_STATE_HOME = o.folder, XMPP_PASSWORD = "secret" }
  for name, value in pairs(o.env or {}) do env[name] = value or nil end
  function w.out(text)
    if o.out then o.out(text) end
    w.stdout = w.stdout .. text
  end
  function w.err(text) w.stderr = w.stderr .. text end
  function w.exit(status) w.exited = status end
  function w.env(name) return env[name] end
  function w.is_tty(fd) return (o.tty or {})[fd] == true end
  function w.columns() return 80 end
  function w.secret(prompt)
    w.asked[#w.asked + 1] = prompt
    return o.secret
  end
  function w.open(path)
    local given = (o.files or {})[path]
    if given then return given, { mode = given.mode, uid = given.uid or sys.uid(), kind = "file",
      size = #given.text } end
    return sys.open(path)
  end
  function w.read(fd)
    if type(fd) == "table" then return fd.text end
    return require "xmpp.cmd.world".reader(fd):all(65536)
  end
  w.sys = setmetatable({ unsetenv = function(name) env[name] = nil end, signals = false,
    close = function(fd) return type(fd) == "table" or sys.close(fd) end }, { __index = sys })
  return w
end

local function words(argv)
  local out = { argv[1], "-a", "bot@example.net/cron" }
  for i = 2, #argv do out[#out + 1] = argv[i] end
  return out
end

-- Starts the command, as bot@example.net/cron.
function cmd.start(w, argv)
  xmpp.spawn(function() w.status = require "xmpp.cmd.main".run(words(argv), w) end)
end

-- Runs the command to its end, on the main thread; `plain`: with exactly the arguments given
function cmd.run(w, argv, plain)
  w.status = require "xmpp.cmd.main".run(plain and argv or words(argv), w)
  return w.status
end

return cmd
