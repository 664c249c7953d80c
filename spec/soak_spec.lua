-- soak: nothing is lost and nothing is doubled when links are cut, and when the server dies. `make soak` does much more
-- of it (spec/support/soak).
local server = require "spec.support.server"
local soak = require "spec.support.soak"

local function each(body)
  for _, name in ipairs { "prosody", "ejabberd" } do server.each(body, { extra_conf = soak.CONF[name] }, { name }) end
end

local SEED = tonumber(os.getenv "SOAK_SEED") or 1

-- Those of `numbers` that aren't in the set.
local function beyond(numbers, set)
  local found = {}
  for _, n in ipairs(numbers) do
    if not set[n] then found[#found + 1] = n end
  end
  return found
end

each(function(s)
  it("comes through a hundred cuts", function()
    local figures, wrong = soak.run(s, { stanzas = 1000, cuts = 100, seed = SEED })
    assert.same({}, wrong, soak.HEAD .. "\n" .. soak.line(figures))
    assert.is_true(figures.cuts >= 100 and figures.resumed > 0)
    assert.equal(figures.sent, figures.acked + figures.failed)
  end)
end)

for _, name in ipairs { "prosody", "ejabberd" } do
  server.each(function(s)
    it("comes through a hundred cuts over WebSocket", function()
      local figures, wrong = soak.run(s, { stanzas = 1000, cuts = 100, seed = SEED, websocket = true })
      assert.same({}, wrong, soak.HEAD .. "\n" .. soak.line(figures))
      assert.is_true(figures.cuts >= 100 and figures.resumed > 0)
      assert.equal(figures.sent, figures.acked + figures.failed)
    end)
  end, { extra_conf = soak.CONF[name], websocket = "yes" }, { name })
end

server.each(function(s)
  it("comes through a hundred cuts with tokens, resumed inside of the logins", function()
    local figures, wrong = soak.run(s, { stanzas = 1000, cuts = 100, seed = SEED })
    local line = soak.HEAD .. "\n" .. soak.line(figures)
    assert.same({}, wrong, line)
    assert.is_true(figures.cuts >= 100 and figures.resumed > 0, line)
    -- After two links that were cut in a login, the next one doesn't use SASL2.
    assert.is_true(figures.inline <= figures.resumed and figures.inline > figures.resumed / 2, line)
    assert.is_true(figures.token > figures.resumed / 2, line)
  end)
end, { extra_conf = soak.CONF["prosody13+sasl2"] }, { "prosody13+sasl2" })

each(function(s)
  describe("a server that is killed and started again", function()
    local run

    before_each(function() run = soak.start(s, { seed = SEED }) end)
    after_each(function() run:close() end)

    -- What is sent after this stays in the proxy.
    local function hold_back_after(count)
      run:send(count)
      run:turn_until(function() return run:is_settled() end)
      run.alice.proxy:tell "stall up"
    end

    it("gets again what it had not acked", function()
      hold_back_after(50)
      run:send(30)
      run:turn_until(function() return run.account.written[80] end)
      s:restart(true)
      run:turn_until(function() return run:is_settled() end)
      local wrong, a = soak.judge(run.account, { doubled = 0, falls = 2 }) -- both have a new session
      assert.same({}, wrong)
      assert.same({ 80, 0, 80 }, { a.acked, a.failed, a.delivered })
      for _, p in ipairs { run.alice, run.bob } do
        local info = p.conn:info()
        assert.same({ 0, 1, 1 }, { info.resumed, info.rebound, info.failed_without_h }, p.name)
      end
    end)

    it("in mid-stream loses only what it had acked, and gets twice only what it had not", function()
      local account = run.account
      run:send(40)
      run:turn_until(function()
        while account.sent < 1000 and account.sent - account.settled < 200 do run:send(1) end
        return #account.deliveries >= 500
      end)
      s:restart(true)
      local taken, open = {}, {} -- acknowledged by the old server; not known to have arrived
      run:turn_until(function()
        if run.alice.conn:state() == "ready" and run.alice.rebound == 1 then return true end
        for n = 1, account.sent do taken[n], open[n] = account.fate[n] == "acked", not account.fate[n] end
      end)
      run:send(1000 - account.sent)
      run:turn_until(function()
        return account.settled == account.sent and #beyond(account:close().lost, taken) == 0
      end)
      assert(run:settle())
      local a = account:close()
      assert.same({ {}, 0, {} }, { account.odd, a.failed, a.untold })
      assert.same({}, beyond(account:doubled(), open))
    end)
  end)

  describe("a server that dies for good", function()
    it("leaves every stanza's fate known", function()
      local run = soak.start(s, { seed = SEED, reconnect = { min = 0.01, max = 0.05, attempts = 3 } })
      finally(function() run:close() end)
      run:send(50)
      run:turn_until(function() return run:is_settled() end)
      run.alice.proxy:tell "stall up"
      run:send(30)
      s:stop()
      run:turn_until(function() return run.account.settled == 80 and run.alice.ended end)
      local wrong, a = soak.judge(run.account, { doubled = 0, falls = 0 })
      assert.same({}, wrong)
      assert.same({ 50, 30, 50 }, { a.acked, a.failed, a.delivered })
      local stopped, err = run.alice.conn:stop()
      assert.is_nil(stopped)
      assert.matches("30", err.text)
    end)
  end)
end)

describe("the account", function()
  local function account(fates, deliveries)
    local a = soak.account()
    a.sent = #fates
    for n, fate in ipairs(fates) do
      if fate ~= "failed" and fate ~= "" then a:state(n, "written") end
      if fate ~= "" then a:state(n, fate, fate == "failed" and "an error" or nil) end
    end
    for _, n in ipairs(deliveries) do a:delivered(n) end
    return a
  end

  local function wrong(fates, deliveries, may)
    return soak.judge(account(fates, deliveries), may or { doubled = 0, falls = 0 })
  end

  it("is correct if each sent stanza was either delivered or failed", function()
    assert.same({}, wrong({ "acked", "failed", "acked" }, { 1, 3 }))
  end)

  it("reports what is lost, doubled, out of order, failed but delivered, or of unknown fate", function()
    assert.same({ "lost: 1 (2)" }, wrong({ "acked", "acked", "acked" }, { 1, 3 }))
    assert.same({ "doubled: 1, where 0 are excused" }, wrong({ "acked", "acked" }, { 1, 2, 1 }))
    assert.same({ "out of order: 1 times, where 0 are excused" }, wrong({ "acked", "acked" }, { 2, 1 }))
    assert.same({ "failed, and yet delivered: 1 (2)" }, wrong({ "acked", "failed" }, { 1, 2 }))
    assert.same({ "of unknown fate: 1 (2)" }, wrong({ "acked", "" }, { 1, 2 }))
  end)

  it("excuses no more than it is told to", function()
    assert.same({}, wrong({ "acked", "acked" }, { 2, 1, 1 }, { doubled = 1, falls = 1 }))
    assert.same(2, #wrong({ "acked", "acked", "acked" }, { 3, 2, 1, 1, 1 }, { doubled = 1, falls = 1 }))
  end)

  it("checks the order of receipts", function()
    local a = account({ "acked" }, { 1 })
    a:state(1, "acked")
    a.sent = 3
    a:state(2, "acked")
    a:state(3, "failed")
    a:delivered(2)
    assert.same({ "1: acked after acked", "2: acked, and never written", "3: failed, and nobody says why" }, a.odd)
    assert.same(1, #soak.judge(a, { doubled = 0, falls = 0 }))
  end)

  it("doesn't count what came back as an error as lost", function()
    local a = account({ "acked", "acked" }, { 1 })
    a.bounced[2] = true
    assert.same({}, (soak.judge(a, { doubled = 0, falls = 0 })))
  end)
end)
