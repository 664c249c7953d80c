-- A gateway on real servers: somebody registers, subscribes, talks, and cancels the registration.
local disco = require "xmpp.disco"
local chat = require "xmpp.chat"
local ext = require "xmpp.ext"
local gateway = require "xmpp.gateway"
local iq = require "xmpp.iq"
local info = require "xmpp.info"
local presence = require "xmpp.presence"
local roster = require "xmpp.roster"
local server = require "spec.support.server"
local xexpr = require "xmpp.xexpr"
local xmpp = require "xmpp"

local SERVERS = { "prosody", "ejabberd", "prosody13", "ejabberd24" }
local REGISTER = "jabber:iq:register"

server.each(function(s)
  local conns

  before_each(function() conns = {} end)
  after_each(function()
    for _, conn in ipairs(conns) do conn:stop() end
  end)

  local function turn_until(what, why)
    local limit = os.time() + 30
    while not what() do
      assert(os.time() < limit, why)
      xmpp.step(0.05)
    end
  end

  local function begin(store, told)
    local conn = assert(xmpp.connect_component(s.host, s.component_port, s.component, s.secret))
    conns[#conns + 1] = conn
    local g = gateway.use(conn, { name = "Pigeons", type = "sms", store = store,
      version = { name = "p", version = "1" }, register = { fields = { { var = "nick", required = true } } } })
    for _, event in ipairs { "register", "unregister", "subscribe", "message", "presence" } do
      g:on(event, function(...) told[event] = { ... } end)
    end
    return g, conn
  end

  it("lets somebody register, subscribe, talk and unregister", function()
    local told, by = {}, {}
    local store = { get = function(p) return by[p] end, set = function(p, data) by[p] = data return true end,
      each = function(f) for p in pairs(by) do f(p) end end }
    local g, component = begin(store, told)
    local homer = g:user "Homer @ Pigeon"
    assert.equal([[homer\20\40\20pigeon@]] .. s.component, homer.jid)
    homer:presence { status = "coo" }
    local bob = assert(xmpp.connect_client("bob@" .. s.domain, s.users.bob, s.host, s.port, s.opts { resource = "b" }))
    conns[#conns + 1] = bob
    local me, r, c = "bob@" .. s.domain, roster.use(bob, { approve = "all" }), chat.use(bob)
    local said, seen = {}, {}
    c:on("message", function(m) said[#said + 1] = m end)
    r:on("presence", function(jid, p) seen[jid] = p.type or p.status or "here" end)
    assert(ext.ready(bob, 30))
    assert(presence.set(bob, {}))

    local what = assert(disco.info(bob, s.component))
    assert.same({ true, true }, { what.features[REGISTER], what.features["jabber:iq:version"] })
    assert(c:send(homer.jid, "too soon"))
    local came
    c:on("error", function(why, peer) came = { why.condition, peer } end)
    turn_until(function() return came end, "no refusal")
    assert.same({ "registration-required", homer.jid }, came)

    local form = assert(iq.get(bob, s.component, { "query", { xmlns = REGISTER } }))
    assert.equal("", xexpr.text(form, "nick", REGISTER))
    assert.is_true(iq.set(bob, s.component, { "query", { xmlns = REGISTER }, { "nick", {}, "bobby" } }))
    turn_until(function() return told.register end, "not registered")
    assert.same({ me, { nick = "bobby" } }, told.register)
    for _, jid in ipairs { s.component, homer.jid } do
      assert(r:subscribe(jid))
      turn_until(function() return seen[jid] or seen[jid .. "/"] end, jid .. " isn't seen")
    end
    assert.same({ me, homer }, told.subscribe)
    assert.equal("coo", seen[homer.jid])
    homer:presence { status = "tired" }
    turn_until(function() return seen[homer.jid] == "tired" end, "no presence")
    assert.equal("Homer @ Pigeon", assert(disco.info(bob, homer.jid)).identities[1].name)
    assert.equal("p", assert(info.version(bob, homer.jid)).name)
    local _, err = disco.info(bob, "nobody@" .. s.component)
    assert.equal("item-not-found", err.condition)

    assert(c:send(homer.jid, "fly"))
    turn_until(function() return told.message end, "no message")
    assert.same({ me, homer, "fly" }, { told.message[1], told.message[2], told.message[3].text })
    assert(homer:message(me, "flown"))
    turn_until(function() return said[1] end, "no answer")
    assert.same({ "flown", homer.jid }, { said[1].text, said[1].from })

    -- As another process, with what was stored: users who are online are found by presence probes.
    component:stop()
    table.remove(conns, 1)
    seen, told = {}, {}
    g = begin(store, told)
    homer = g:user "Homer @ Pigeon"
    homer:presence { status = "back" }
    turn_until(function() return seen[homer.jid] == "back" end, "it doesn't come back")
    turn_until(function() return g.online[me] end, "nobody is found")

    assert.is_true(iq.set(bob, s.component, { "query", { xmlns = REGISTER }, { "remove" } }))
    turn_until(function() return told.unregister end, "not unregistered")
    assert.is_nil(next(by))
    turn_until(function()
      local item = r.items[homer.jid]
      return not item or item.subscription == "none"
    end, "the subscription stays")
  end)
end, { limit = 600 }, SERVERS)
