-- The farm of examples/farm, as doc/scaling.md has its readers start it: the commands of that page, word for word but
-- for ports and folders, with the example's configurations of Redis, Prosody and ejabberd; then its parts are killed
-- and restarted. And what can't be run here (units, containers) is looked at.
local child = require "spec.support.child"
local manual = require "spec.support.manual"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local xexpr = xmpp.xexpr
local LUA = os.getenv "LUA" or "lua5.4"
local FOLDER = "examples/farm/"
local LIMIT = 120

-- The shell's blocks of a section of the page.
local function commands(section)
  local list = {}
  for _, block in ipairs(select(2, manual.markdown "doc/scaling.md")) do
    if block.kind == "sh" and block.section == section then list[#list + 1] = block.code end
  end
  return list
end

local function free_port()
  local pipe = child.open("free_port.py", {})
  local port = tonumber(pipe:read "*l")
  pipe:close()
  return port
end

local function replaced(text, from, to)
  local first, last = text:find(from, 1, true)
  assert(first, from .. " isn't in\n" .. text)
  return text:sub(1, first - 1) .. to .. text:sub(last + 1)
end

local function turn_until(f, why)
  local till = os.time() + LIMIT
  while not f() do
    if os.time() > till then error(why() .. " (nothing more has come)", 2) end
    xmpp.step(0.05)
  end
end

-- The page's own servers are of a machine's administrator; those here are started for the test alone.
local function configuration(name, port)
  if name == "prosody" then return { extra_conf = manual.read(FOLDER .. "prosody.cfg.lua") } end
  return { extra_listen = replaced(manual.read(FOLDER .. "ejabberd.yml"), "5347", tostring(port)) }
end

for _, name in ipairs { "prosody", "ejabberd" } do
  describe("the example of a farm, with " .. name .. ",", function()
    local s, folder, redis_port, component_port, output, conns

    setup(function()
      folder, redis_port, component_port = shell.folder(), free_port(), free_port()
      s = server.start(name, configuration(name, component_port))
      if name == "prosody" then component_port = s.component_port end
      output, conns = folder .. "/output", {}
    end)

    -- Everything was started by one shell, in a session of its own.
    teardown(function()
      for _, conn in ipairs(conns) do conn:stop() end
      shell.run(("kill -KILL -- -$(cat %s/session)"):format(folder))
      s:stop()
      shell.remove(folder)
    end)

    local function environment()
      return ("export LD_PRELOAD='%s' REDIS_PORT=%d XMPP_COMPONENT_PORT=%d\n"):format(os.getenv "PRELOAD" or "",
        redis_port, component_port)
    end

    -- What the page says, with these ports, this folder, and the Lua and the module that are tested.
    local function page()
      local steps = commands "Trying it on one machine"
      local redis = replaced(steps[2], "/tmp/farm &&", folder .. "/redis &&")
      redis = replaced(redis, "--dir /tmp/farm --daemonize yes",
        ("--dir %s/redis --port %d &"):format(folder, redis_port))
      local farm = steps[4]:gsub("lua5%.4", LUA)
      farm = replaced(farm, "lua/?.so", (os.getenv "SO_DIR" or "lua") .. "/?.so")
      return environment() .. redis .. "\nuntil redis-cli -p $REDIS_PORT ping; do sleep 0.1; done\n" .. farm
    end

    local function begin()
      local file = shell.file(page(), "\nwait\n")
      os.execute(("setsid sh -c 'echo $$ >%s/session; exec bash %s' >%s 2>&1 &"):format(folder, file, output))
      return file
    end

    local function said() return shell.read(output) end

    local function count(pattern) return select(2, said():gsub(pattern, "")) end

    local function login(who)
      local conn = assert(xmpp.connect_client(who .. "@" .. s.domain, s.users[who], s.host, s.port, s.opts()))
      conns[#conns + 1] = conn
      conn:send { "presence" }
      return conn
    end

    -- A message that is sent until it is answered: the same id is the same message.
    local function is_answered(conn, text)
      local again, got = 0, nil
      conn:set_handler(function(stanza)
        if xexpr.text(stanza, "body") == "You said: " .. text then got = true end
      end)
      turn_until(function()
        if os.time() > again then
          conn:send { "message", { to = "bot@bots.example.net", id = text, type = "chat" }, { "body", text } }
          again = os.time() + 1
        end
        return got
      end, function() return text .. " isn't answered:\n" .. said() end)
    end

    local function pids(of)
      return shell.run(("pgrep -s $(cat %s/session) -f 'farm/%s.lua'"):format(folder, of)):gsub("\n", " ")
    end

    it("runs as the page says, and goes on when its parts are killed", function()
      local file = begin()
      turn_until(function() return io.open(output) and count "worker: ready" == 4 and count "intake: ready" == 2 end,
        function() return "it doesn't start:\n" .. said() end)
      local alice = login "alice"
      is_answered(alice, "hello")
      shell.run(("kill -KILL %s"):format(pids "worker":match "%d+"))
      is_answered(alice, "a worker was killed")
      shell.run(("kill -KILL %s"):format(pids "intake":match "%d+"))
      is_answered(alice, "an intake was killed")
      assert.equal("", shell.succeed(("redis-cli -p %d --raw XRANGE bots:dead - +"):format(redis_port)))
      os.remove(file)
    end)

    it("ends in order by TERM", function()
      os.execute(("kill -TERM %s %s"):format(pids "worker", pids "intake"))
      turn_until(function() return pids "worker" .. pids "intake" == "" end,
        function() return "it doesn't end:\n" .. said() end)
      assert.is_nil(said():find "traceback", said())
    end)
  end)
end

describe("the example of a farm", function()
  it("has a worker of at most 15 lines", function()
    assert.is_true(select(2, manual.read(FOLDER .. "worker.lua"):gsub("\n", "")) <= 15)
  end)

  it("has units that systemd takes, which start what is there", function()
    for _, of in ipairs { "intake", "worker" } do
      local unit = manual.read(("%sfarm-%s@.service"):format(FOLDER, of))
      assert.is_truthy(unit:find(("ExecStart=/usr/bin/lua5.4 /srv/farm/%s.lua\n"):format(of), 1, true))
      if shell.run "command -v systemd-analyze" ~= "" then
        shell.in_folder(function(there)
          local file = assert(io.open(("%s/farm-%s@1.service"):format(there, of), "w"))
          file:write((unit:gsub("/usr/bin/lua5.4", "/bin/true")))
          file:close()
          shell.succeed(("systemd-analyze verify %s/farm-%s@1.service"):format(there, of))
        end)
      end
    end
  end)

  it("has a Compose file and a Dockerfile that fit together", function()
    local compose, docker = manual.read(FOLDER .. "compose.yaml"), manual.read(FOLDER .. "Dockerfile")
    shell.succeed("python3 -c 'import sys, yaml; yaml.safe_load(open(sys.argv[1]))[\"services\"]' " .. FOLDER
      .. "compose.yaml")
    for stage in compose:gmatch "target: (%w+)" do assert.is_truthy(docker:find(" AS " .. stage, 1, true), stage) end
    for path in docker:gmatch "examples/farm/[%w_%.]+%.lua" do assert.is_string(manual.read(path)) end
    for path in compose:gmatch "command: lua5%.4 /srv/farm/(%S+)" do
      assert.is_truthy(docker:find(path, 1, true), path)
    end
    local said = manual.read(FOLDER .. "redis.conf")
    for option, value in compose:match "command: redis%-server ([^\n]*)":gmatch "%-%-(%S+) (%S+)" do
      assert.is_truthy(said:find(("\n%s %s\n"):format(option, value), 1, true), option)
    end
  end)

  it("has the libraries in its container that the modules need", function()
    local docker = manual.read(FOLDER .. "Dockerfile")
    local so = (os.getenv "SO_DIR" or "lua") .. "/xmpp/redis.so"
    for library in shell.succeed("readelf -d " .. so):gmatch "Shared library: %[(lib%a+)" do
      assert.is_truthy(library == "libc" or docker:find(library, 1, true) or library == "libcrypto", library)
    end
  end)
end)
