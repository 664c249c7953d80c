-- The programs of `make bench`: each prints a figure, whatever its value.
package.path = "spec/bench/?.lua;" .. package.path
local measure = require "measure"
local rows = require "rows"
local xmpp = require "xmpp"

local build, lua, so_dir = os.getenv "BUILD" or "build", os.getenv "LUA" or "lua5.4", os.getenv "SO_DIR" or "lua"

local function new(only)
  return measure.new { stanzas = 200, only = only or "", build = build, lua = lua, so_dir = so_dir, limit = 400 }
end

-- Rows that take a minute or more.
local long = { ["ping-100k"] = true, ["idle-10k-rss"] = true }

-- Of the peers, those that are installed with the tests, and our programs for libraries that are installed.
local function is_ours_to_run(one)
  return not one.peer or one[1]:find "^prosody" or one[1]:find "^lom" or (one.needs or ""):find "^%$BUILD/%a+$"
end

local function is_expected(one)
  return not long[one[1]] and is_ours_to_run(one) and one.peer ~= "the server"
    and not measure.is_passed_over({ build = build, lua = lua, only = "", fill = measure.fill }, one)
end

describe("a measurement", function()
  local m

  setup(function() m = new() end)
  teardown(function() m:close() end)

  for _, one in ipairs(rows.measurements) do
    if is_expected(one) then
      it("gives a figure: " .. one[1], function()
        m:round({ one }, 1)
        assert.is_nil(m.why[one[1]])
        assert.equal(1, #m.figures[one[1]])
        if one.also then assert.is_true(m.figures[one.also][1] > 0) end
      end)
    end
  end

  it("shows that a stanza that is cut anywhere is delivered with its last byte", function()
    assert.same({ 1 }, m.figures.split)
  end)

  it("counts every write", function()
    assert.is_true(m.figures.sends[1] >= 1)
  end)

  it("says why there is no figure", function()
    m:round({ { "absent", "true", needs = "no/such/file" }, { "broken", "false", peer = "somebody" },
      { "modest", "echo 'not measured: too small'" } }, 1)
    assert.equal("not there: no/such/file", m.why.absent)
    assert.equal("somebody failed", m.why.broken)
    assert.equal("too small", m.why.modest)
  end)

  it("keeps a program's notes", function()
    m:round({ { "modest-figure", "echo 3; echo 'note: of a small machine'" } }, 1)
    assert.equal("of a small machine", m.notes["modest-figure"])
  end)

  it("makes fewer connections where no more descriptors are allowed, and says so", function()
    m:round({ { "few", "sh -c 'ulimit -n 100; exec $BUILD/crowd -s $LUA spec/bench/crowd.lua idle 1000'" } }, 1)
    assert.equal(1, #m.figures.few)
    assert.truthy(m.notes.few:find("50 connections, not 1000", 1, true))
  end)
end)

describe("how much more a program costs than another", function()
  local function cost(words)
    local m = new()
    local text, ok = measure.run(m:fill("$BUILD/cost " .. words))
    m:close()
    return text, ok
  end

  it("is printed", function()
    local text, ok = cost "2 sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done' -- true"
    assert.is_true(ok)
    assert.is_true(tonumber(text) > 0, text)
  end)

  it("isn't, when one of them fails", function()
    assert.is_false(select(2, cost "1 false -- true"))
    assert.is_false(select(2, cost "1 true -- false"))
    assert.is_false(select(2, cost "1 true"))
  end)
end)

describe("a program that counts writes", function()
  it("fails when it sees none", function()
    local m = new()
    local _, ok = measure.run(m:fill "env LD_PRELOAD=$COUNT true")
    assert.is_false(ok)
    m:close()
  end)
end)

describe("growth", function()
  local m

  setup(function() m = new() end)
  teardown(function() m:close() end)

  for program, most in pairs { pending = 10, callbacks = 10, size = 1000, queue = 10 } do
    it("gives points: " .. program, function()
      m:curves { { program, "$LUA spec/bench/growth.lua " .. program .. " " .. most } }
    end)
  end

  for _, p in ipairs(rows.people) do
    it("gives points: " .. p[1], function()
      m:curves { { p[1], ("$LUA spec/bench/people.lua growth %s 1000"):format(p[1]) } }
      assert.equal(1, #m.points[p[1]])
    end)
  end

  it("gives points: connections", function()
    for x = 1, 2 do
      m:curves { { "many", ("$PEER many %d $FILE $LUA spec/bench/growth.lua connections %d $FILE $N"):format(x, x) } }
    end
    assert.equal(2, #m.points.connections)
  end)

  it("has points for every curve of the table", function()
    for _, group in ipairs(rows.growth) do
      for _, curve in ipairs(group) do
        if type(curve) == "table" then assert.is_true(#(m.points[curve[1]] or {}) > 0, curve[1]) end
      end
    end
  end)
end)

describe("the report", function()
  local tell = require "tell"

  -- A sheet that keeps its rows.
  local function sheet()
    return { table = function(s, _, list) for _, row in ipairs(list) do s[#s + 1] = row end end }
  end

  local function row_of(s, name)
    for _, row in ipairs(s) do if row[1] == name then return row end end
  end

  it("compares figures with the goals", function()
    local s = sheet()
    local missed = tell.goals(s, { why = { parse = "why not" }, figures = {
      flood = { 3, 8, 4 }, ["flood-raw"] = { 2, 2, 2 }, ["ping-1"] = { 3 }, ["ping-raw"] = { 2, 2, 2 } } })
    assert.equal(1, missed)
    assert.same({ "flood over loopback, a handler for all", "4.00", "2.00", "2.00", "1.50 .. 4.00", "<= 1 (0.8)",
      "MISSED" }, s[1])
    assert.equal("met", row_of(s, "ping by send_await, one at a time")[7])
    assert.equal("not measured: why not", row_of(s, "parse to tables, in memory")[7])
  end)

  it("compares curves with their goals", function()
    local s = sheet()
    local missed = tell.growth(s, { points = {
      ping = { { 0, { 1 } }, { 10, { 2, 1, 3 } } }, stranger = { { 0, { 1 } }, { 10, { 1 } } },
      ["no-callback"] = { { 10, { 1 } }, { 100, { 1.4 } } },
      ["last-callback"] = { { 10, { 1 } }, { 100, { 1.6 } } } } })
    assert.equal(2, missed)
    assert.same({ "  one more, answered", "1.00", "2.00", "2.00", "flat: <= 1.8", "MISSED" }, s[1])
    assert.equal("met", s[2][6])
  end)
end)

describe("make bench", function()
  local out = os.tmpname()

  setup(function() assert(select(2, measure.run(("rm %s && mkdir %s"):format(out, out)))) end)
  teardown(function() measure.run("rm -r " .. out) end)

  local function read(name)
    local f = assert(io.open(out .. "/" .. name, "rb"))
    local text = f:read "*a"
    f:close()
    return text
  end

  it("writes tables and pictures", function()
    local text, ok = measure.run(("BENCH_STANZAS=100 BENCH_PAIRS=1 BENCH_CALLGRIND=0 BENCH_OUT=%s BUILD=%s SO_DIR=%s "
      .. "LUA=%s BENCH_ONLY='^flood' %s spec/bench/run"):format(out, build, so_dir, lua, lua))
    assert.is_true(ok, text)
    assert.truthy(read "table.md":find("| flood that no filter wants |", 1, true))
    assert.truthy(xmpp.xexpr.from_xml(read "flood.svg"))
  end)

  it("ends well where no goal was missed, strict or not", function()
    local command = ("BENCH_STANZAS=100 BENCH_PAIRS=1 BENCH_CALLGRIND=0 BENCH_OUT=%s BUILD=%s SO_DIR=%s LUA=%s "
      .. "STRICT=1 BENCH_ONLY='^split$' %s spec/bench/run"):format(out, build, so_dir, lua, lua)
    assert.is_true(select(2, measure.run(command)))
  end)

  it("draws curves", function()
    local plot = require "plot"
    local panel = { title = "a", x = "<x>", unit = "us", { "one", { { 0, 1 }, { 10, 2 } } } }
    local logarithmic = { title = "b", x = "x", unit = "us", log = true, { "two", { { 1, 0.5 }, { 1000, 200 } } } }
    assert.truthy(xmpp.xexpr.from_xml(plot.curves { title = "t", panel, logarithmic }))
  end)
end)
