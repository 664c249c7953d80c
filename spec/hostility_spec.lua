-- Dispatch under hostile conditions: everything that a program's function may do (spec/support/hostility.lua: actions),
-- in every place where the library calls one (kinds), with normal memory, with a full collection at every allocation,
-- with a limit of memory, and with one allocation that fails. A cell's result is the documented one or, if memory
-- failed, an error that says so or the end of the connection; and in any case waiters get one result, another
-- connection isn't affected, and nothing is left in the registry. Each mode has a process of its own. The limit and the
-- failing allocation are tried at a sample of places, with TORTURE=1 at all.
local shell = require "spec.support.shell"
local tables = require "spec.support.hostility"

local MODES = { "normal", "collection", "limit", "failure" }
local LUA = os.getenv "LUA" or "lua5.4"
local LUA_PC = os.getenv "LUA_PC" or "lua" .. _VERSION:match "[%d.]+"

local function build(folder)
  shell.succeed(("cc -std=c11 -D_GNU_SOURCE -O1 -Wall -Wextra -shared -fPIC -Wl,-z,nodelete"
    .. " $(pkg-config --cflags %s) -o %s/limit.so c/test/shim/limit.c"):format(LUA_PC, folder))
end

-- All cells of a mode: key -> { ok, what the cell printed }
local function run(mode)
  local folder = shell.folder()
  build(folder)
  local text, status = shell.run(shell.HERE .. ("%s spec/support/hostility_run.lua %s %s 2>%s/stderr"):format(LUA,
    mode, folder, folder))
  local result = { cells = {}, status = status, stderr = shell.read(folder .. "/stderr"), runs = 0, n = 0 }
  for ok, action, kind, said in text:gmatch "([^\t\n]*)\t([^\t\n]*)\t([^\t\n]*)\t([^\n]*)" do
    result.cells[action .. "\t" .. kind] = { ok = ok == "ok", said = said }
    result.n, result.runs = result.n + 1, result.runs + (tonumber(said) or 0)
  end
  shell.remove(folder)
  return result
end

for _, mode in ipairs(MODES) do
  describe("hostility, " .. mode .. ":", function()
    local result

    setup(function() result = run(mode) end)

    for _, action in ipairs(tables.actions) do
      for _, kind in ipairs(tables.kinds) do
        it(("a %s %s"):format(kind.name, action.name), function()
          local cell = result.cells[action.name .. "\t" .. kind.name]
          assert.truthy(cell, "it did not come to it: " .. result.stderr:sub(-4000))
          assert.is_true(cell.ok, cell.said)
        end)
      end
    end

    if mode == "failure" then
      it("a timer " .. tables.GROWTH.name, function()
        local cell = result.cells[tables.GROWTH.name .. "\ttimer"]
        assert.is_true(cell and cell.ok, cell and cell.said)
      end)
    end

    it("ends well", function()
      assert.equal(0, result.status, result.stderr:sub(-4000))
      assert.equal("", result.stderr)
      local cells = #tables.actions * #tables.kinds
      assert.equal(mode == "failure" and cells + 1 or cells, result.n)
      io.stderr:write(("# hostility, %s: %d actions x %d kinds = %d cells, %d %s\n"):format(mode, #tables.actions,
        #tables.kinds, cells, result.runs, mode == "collection" and "collections" or "runs"))
    end)
  end)
end
