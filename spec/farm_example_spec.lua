-- The farm of examples/farm, as doc/scaling.md has its readers start it: the commands of that page, word for word but
-- for a port and a folder, in a shell of a private server; the example's configurations of Prosody and ejabberd; and
-- what can't be run here (units, containers) is looked at.
local child = require "spec.support.child"
local manual = require "spec.support.manual"
local server = require "spec.support.server"
local shell = require "spec.support.shell"
local xmpp = require "xmpp"

local LUA = os.getenv "LUA" or "lua5.4"
local FOLDER = "examples/farm/"

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

-- Until all are there and connected, which a reader sees.
local READY = [[
ask() { redis-cli -p $REDIS_PORT "$@"; }
until [ "$(ask ZCARD bots:workers) $(ask HLEN bots:intakes:leases)" = "4 16" ]; do sleep 0.1; done
]]

-- What is typed into the shell, with the Lua and the module that are tested.
local function script(folder)
  local steps = commands "Trying it on one machine"
  local redis = replaced(steps[3], "REDIS_PORT=6390", "REDIS_PORT=" .. free_port())
  redis = redis:gsub("/tmp/farm", folder .. "/redis")
  local farm = replaced(steps[4], "lua/?.so", (os.getenv "SO_DIR" or "lua") .. "/?.so")
  local text = table.concat({ "trap 'kill -s KILL $(jobs -p) 2>/dev/null' EXIT", redis, farm, READY,
    replaced(steps[5], "sleep 2", "sleep 0.5"), "echo talked $?", steps[6], "echo ended $?" }, "\n")
  return (text:gsub("lua5%.4 ", ("LD_PRELOAD='%s' %s "):format(os.getenv "PRELOAD" or "", LUA)))
end

describe("the page on scaling", function()
  for _, name in ipairs { "prosody", "ejabberd" } do
    it("can be followed with " .. name, function()
      shell.in_folder(function(folder)
        local file, output = shell.file(script(folder)), folder .. "/output"
        local start = replaced(commands "Trying it on one machine"[2], "prosody LIMIT=36000", name .. " LIMIT=400")
        -- Its output is a file: whatever were left of it would else hold up the end of a pipe.
        shell.run(("setsid -w timeout -k 5 450 %s %s >%s 2>&1"):format(start:gsub("%s+$", ""), file, output))
        os.remove(file)
        local said = shell.read(output)
        assert.matches("talk: 500 sent, 500 answered, 0 out of order", said)
        assert.matches("talked 0\n", said)
        assert.matches("ended 0\n", said)
        assert.is_nil(said:find "traceback", said)
      end)
    end)

    it("has a configuration for " .. name, function()
      local port = free_port()
      local s = server.start(name, name == "prosody" and { extra_conf = manual.read(FOLDER .. "prosody.cfg.lua") }
        or { extra_listen = replaced(manual.read(FOLDER .. "ejabberd.yml"), "5347", tostring(port)) })
      finally(function() s:stop() end)
      if name == "prosody" then port = s.component_port end
      local one = assert(xmpp.connect_component(s.host, port, "bots.example.net", "secret"))
      local two, err = xmpp.connect_component(s.host, port, "bots.example.net", "secret")
      if name == "prosody" then assert.equal("conflict", err.condition) else assert(two, err):stop() end
      assert.is_number(one:probe(60))
      one:stop()
    end)
  end
end)

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
