-- muc on real servers: between clients of ours and with another library's (slixmpp), including removal from rooms.
local child = require "spec.support.child"
local muc = require "xmpp.muc"
local server = require "spec.support.server"
local xmpp = require "xmpp"

local SERVERS = { "prosody", "ejabberd", "prosody13", "ejabberd24" }
local ROOMS = 20
local NICKS = { "n/i@c/k", "o'brien\"&<>", "\240\159\171\150", "\215\169\215\156\215\149\215\157", " lead" }

server.each(function(s)
  local conns, pipes

  before_each(function() conns, pipes = {}, {} end)
  after_each(function()
    for _, pipe in ipairs(pipes) do pipe:close() end
    for _, conn in ipairs(conns) do conn:stop() end
  end)

  local function login(name)
    local conn = assert(xmpp.connect_client(name .. "@" .. s.domain, s.users[name], s.host, s.port,
      s.opts { resource = "r", reconnect = { min = 0.05, max = 0.2 } }))
    conns[#conns + 1] = conn
    return conn
  end

  local function room_of(name) return ("%s@conference.%s"):format(name, s.domain) end

  local function turn_until(what, about, seconds)
    local limit = os.time() + (seconds or 30)
    while not what() do
      assert(os.time() < limit, "it does not come: " .. (about or ""))
      xmpp.step(0.05)
    end
  end

  -- Notes the room's events as words.
  local function listen(room)
    local seen = {}
    local function note(...) seen[#seen + 1] = table.concat({ ... }, " ") end
    room:on("join", function(o) note("+" .. o.nick) end)
    room:on("leave", function(o, why) note("-" .. o.nick, why.code) end)
    room:on("nick", function(o, old) note(old .. " is " .. o.nick) end)
    room:on("message", function(m) note(m.nick .. ": " .. m.text, m.own and "(own)" or nil) end)
    room:on("private", function(m) note(m.nick .. " whispers: " .. m.text) end)
    room:on("corrected", function(m) note(m.nick .. " corrects: " .. m.text) end)
    room:on("subject", function(text, nick) note("subject " .. tostring(text), nick and "by " .. nick) end)
    room:on("removed", function(why)
      note("removed", why.code or why.destroyed and "destroyed" or "?", why.reason, why.alternative)
    end)
    room:on("error", function(err) note("error", err.condition) end)
    return function(...)
      local wanted = table.concat({ ... }, " ")
      turn_until(function()
        for i, words in ipairs(seen) do
          if words == wanted then table.remove(seen, i) return true end
        end
      end, wanted .. "; there is: " .. table.concat(seen, "; "))
    end, seen
  end

  local function members(room)
    local nicks = {}
    for nick in pairs(room.occupants) do nicks[#nicks + 1] = nick end
    table.sort(nicks)
    return table.concat(nicks, " ")
  end

  -- slixmpp's client. Returns a function that sends it a command, and one that waits for one of its lines.
  local function slix(room, nick)
    local path = os.tmpname()
    local command = "exec env -u LD_PRELOAD '%s/slix_room.py' '%s' %d '%s' 'carol@%s/slix' '%s' '%s' '%s' >%s"
    local pipe = assert(io.popen(command:format(child.folder, s.host, s.port, s.ca, s.domain, s.users.carol, room, nick,
      path), "w"))
    pipes[#pipes + 1] = pipe
    finally(function() os.remove(path) end)
    local function tell(line)
      pipe:write(line, "\n")
      pipe:flush()
    end
    local function said(wanted)
      turn_until(function()
        for line in io.lines(path) do
          if line == wanted then return true end
        end
      end, wanted, 60)
    end
    return tell, said
  end

  describe("a room", function()
    it("isn't created by default, and describes itself", function()
      local alice, jid = login "alice", room_of "mistake"
      local room, err = muc.join(alice, jid, "kettle")
      assert.is_nil(room)
      assert.equal("room-created", err.condition)
      assert.is_nil((muc.info(alice, jid)))
      room = assert(muc.join(alice, jid, "kettle", { create = "default" }))
      local info = assert(muc.info(alice, jid))
      assert.equal(jid, info.jid)
      assert.is_true(info.features["http://jabber.org/protocol/muc"])
      assert.is_false(info.password)
      assert.is_true(room:config { ["muc#roomconfig_publicroom"] = true })
      local listed
      for _, item in ipairs(assert(muc.rooms(alice))) do listed = listed or item.jid == jid end
      assert.is_true(listed)
      assert.equal("owner", room.affiliation)
      assert.is_true(room:ping() >= 0)
    end)

    it("is where two bots and slixmpp talk", function()
      local alice, bob, jid = login "alice", login "bob", room_of "talk"
      local hers = assert(muc.join(alice, jid, "kettle", { create = "default" }))
      local at_hers = listen(hers)
      local his = assert(muc.join(bob, jid, "pot"))
      local at_his = listen(his)
      at_hers "+pot"
      local tell, said = slix(jid, "cup")
      said "READY=cup"
      at_hers "+cup"
      at_his "+cup"
      assert.equal("cup kettle pot", members(hers))
      assert.equal("carol@" .. s.domain .. "/slix", hers.occupants.cup.jid)
      tell "say tea?"
      at_hers "cup: tea?"
      at_his "cup: tea?"
      local _, stanza_id = assert(hers:say("yes", { reflect = true, timeout = 20 }))
      assert.is_string(stanza_id)
      at_hers "kettle: yes (own)"
      at_his "kettle: yes"
      said "SAID=kettle: yes"
      tell "correct coffee?"
      at_hers "cup corrects: coffee?"
      at_his "cup corrects: coffee?"
      tell "whisper pot\tpsst"
      at_his "cup whispers: psst"
      assert(his:whisper("cup", "what?"))
      said "WHISPERED=pot: what?"
      assert(hers:set_subject "Leaves")
      at_his "subject Leaves by kettle"
      said "SUBJECT=Leaves"
      local words = {}
      for _, m in ipairs(assert(hers:history())) do words[#words + 1] = ("%s: %s"):format(m.nick, m.text) end
      assert.same({ "cup: tea?", "kettle: yes", "cup: coffee?" }, words)
      tell "nick mug"
      at_hers "cup is mug"
      at_his "cup is mug"
      assert.equal("kettle mug pot", members(his))
      tell "leave"
      at_hers "-mug"
      his:leave()
      at_hers "-pot"
      assert.equal("kettle", members(hers))
    end)

    it("lets us in by another nick if ours is taken", function()
      local alice, bob, jid = login "alice", login "bob", room_of "nicks"
      assert(muc.join(alice, jid, "kettle", { create = "default" }))
      local _, err = muc.join(bob, jid, "kettle", { nicks = function() end })
      assert.equal("conflict", err.condition)
      local his = assert(muc.join(bob, jid, "kettle"))
      assert.equal("kettle_", his.nick)
      _, err = his:set_nick "kettle"
      assert.equal("conflict", err.condition)
      assert.equal("pot", his:set_nick "pot")
      assert.equal("kettle pot", members(his))
    end)

    it("kicks and bans, and lets in again", function()
      local alice, bob, jid = login "alice", login "bob", room_of "kicks"
      local hers = assert(muc.join(alice, jid, "kettle", { create = "default" }))
      local at_hers = listen(hers)
      local at_his = listen(assert(muc.join(bob, jid, "pot")))
      assert(hers:kick("pot", "too hot"))
      at_his "removed 307 too hot"
      at_hers "-pot 307"
      local his = assert(muc.join(bob, jid, "pot"))
      at_his = listen(his)
      local _, err = his:kick "kettle"
      assert.equal("stanza", err.layer)
      assert(hers:ban("bob@" .. s.domain, "far too hot"))
      at_his "removed 301 far too hot"
      assert.equal("bob@" .. s.domain, assert(hers:list "outcast")[1].jid)
      _, err = muc.join(bob, jid, "pot")
      assert.equal("forbidden", err.condition)
      assert(hers:set_affiliation("bob@" .. s.domain, "member"))
      assert.equal("bob@" .. s.domain, assert(hers:list "member")[1].jid)
      his = assert(muc.join(bob, jid, "pot"))
      assert.equal("member", his.affiliation)
      assert(hers:set_role("pot", "moderator"))
      turn_until(function() return his.role == "moderator" end)
    end)

    it("is configured by its form, with a password", function()
      local alice, bob, jid = login "alice", login "bob", room_of "config"
      local hers = assert(muc.join(alice, jid, "kettle", { create = "default" }))
      local form = assert(hers:config())
      local answers = { ["muc#roomconfig_roomsecret"] = "s3cr3t", ["muc#roomconfig_roomname"] = "Tea" }
      if form.values["muc#roomconfig_passwordprotectedroom"] ~= nil then
        answers["muc#roomconfig_passwordprotectedroom"] = true
      end
      local codes = {}
      hers:on("status", function(code) codes[code] = true end)
      assert.is_true(hers:config(answers))
      turn_until(function() return codes[104] end, "104")
      turn_until(function() return hers.features.muc_passwordprotected end, "the features")
      local info = assert(muc.info(bob, jid))
      assert.is_true(info.password)
      local _, err = muc.join(bob, jid, "pot")
      assert.same({ "not-authorized", "password" }, { err.condition, err.option })
      local his = assert(muc.join(bob, jid, "pot", { password = "s3cr3t" }))
      _, err = his:config()
      assert.equal("forbidden", err.condition)
    end)

    it("invites: itself, and one by oneself", function()
      local alice, bob, jid = login "alice", login "bob", room_of "invites"
      local hers = assert(muc.join(alice, jid, "kettle", { create = "default" }))
      local seen = {}
      muc.use(bob):on("invite", function(inv) seen[#seen + 1] = inv end)
      bob:send { "presence" }
      assert(bob:ping(20)) -- online before the invitation is sent
      assert(hers:invite("bob@" .. s.domain, "tea"))
      turn_until(function() return seen[1] end, "an invitation")
      assert.same({ jid, "tea", false }, { seen[1].room, seen[1].reason, seen[1].direct })
      assert.is_true(seen[1].from == jid .. "/kettle" or seen[1].from:match "^[^/]*" == "alice@" .. s.domain)
      hers:leave()
      assert(muc.invite(alice, jid, bob:jid(), "again"))
      turn_until(function() return seen[2] end, "another one")
      assert.same({ jid, "again", true, "alice@" .. s.domain .. "/r" },
        { seen[2].room, seen[2].reason, seen[2].direct, seen[2].from })
      assert.equal(2, #seen)
    end)

    it("is destroyed, and names another room", function()
      local alice, bob, jid = login "alice", login "bob", room_of "end"
      local hers = assert(muc.join(alice, jid, "kettle", { create = "default" }))
      local at_his = listen(assert(muc.join(bob, jid, "pot")))
      assert(hers:destroy("moved", room_of "elsewhere"))
      at_his("removed destroyed moved " .. room_of "elsewhere")
      assert.is_nil(muc.use(bob).rooms[jid])
    end)

    it("accepts strange nicks", function()
      local alice, bob, jid = login "alice", login "bob", room_of "names"
      local hers = assert(muc.join(alice, jid, "kettle", { create = "default" }))
      local at_hers = listen(hers)
      for _, nick in ipairs(NICKS) do
        local his, err = muc.join(bob, jid, nick, { nicks = function() end })
        assert.is_truthy(his or err.layer == "stanza", nick)
        if his then
          local at_his = listen(his)
          at_hers("+" .. nick)
          assert.equal(nick, his.nick)
          assert.equal("bob@" .. s.domain .. "/r", hers.occupants[nick].jid)
          assert(his:say "I am")
          at_hers(nick .. ": I am")
          at_his(nick .. ": I am (own)")
          assert(hers:whisper(nick, "psst"))
          at_his "kettle whispers: psst"
          his:leave()
          at_hers("-" .. nick)
        end
      end
    end)
  end)

  describe("1,000 occupants", function()
    local MUC, BROADCAST = "http://jabber.org/protocol/muc", "muc#roomconfig_presencebroadcast"

    local function component()
      local conn = assert(xmpp.connect_component(s.host, s.component_port, s.component, s.secret))
      conns[#conns + 1] = conn
      return conn
    end

    local function count(room)
      local n = 0
      for _ in pairs(room.occupants) do n = n + 1 end
      return n
    end

    -- In a room of Prosody's, each occupant that enters costs time for all that are there: here the server only passes
    -- on what a service of ours sends, as fast as it can.
    it("of a component's room come, speak and go", function()
      local service, alice = component(), login "alice"
      local jid = "big@" .. s.component
      local to
      local function say(name, nick, attrs, ...)
        attrs.from, attrs.to = nick and ("%s/%s"):format(jid, nick) or jid, to
        service:send { name, attrs, ... }
      end
      local function presence(nick, kind, ...)
        say("presence", nick, { type = kind }, { "x", { xmlns = MUC .. "#user" },
          { "item", { affiliation = "none", role = kind and "none" or "participant" } }, ... })
      end
      service:set_handler(function(stanza)
        if stanza[1] == "iq" then
          return service:send(xmpp.xexpr.error_reply(stanza, "cancel", "service-unavailable"))
        end
        if stanza[1] ~= "presence" or stanza[2].type then return end
        to = stanza[2].from
        for i = 1, 1000 do presence("nick" .. i) end
        presence("kettle", nil, { "status", { code = "110" } })
        say("message", nil, { type = "groupchat" }, { "subject", {}, "Big" })
      end)
      local room = assert(muc.join(alice, jid, "kettle", { timeout = 60 }))
      assert.equal(1001, count(room))
      assert.equal("participant", room.occupants.nick1000.role)
      local heard, left = 0, 0
      room:on("message", function(m) heard = heard + (m.occupant and m.occupant.nick == m.nick and 1 or 0) end)
      room:on("leave", function() left = left + 1 end)
      for i = 1, 1000 do say("message", "nick" .. i, { type = "groupchat" }, { "body", {}, "here" }) end
      for i = 1, 1000 do presence("nick" .. i, "unavailable") end
      turn_until(function() return left == 1000 end, "all of them go", 60)
      assert.equal(1000, heard)
      assert.equal(1, count(room))
    end)

    if s.name:find "^ejabberd" then
      it("of a server's room are reported as they come and go", function()
        local crowd, alice, bob = component(), login "alice", login "bob"
        local jid, all, inside = room_of "big", { "moderator", "participant", "visitor" }, 0
        local hers = assert(muc.join(alice, jid, "kettle", { create = "default" }))
        assert.is_true(hers:config { [BROADCAST] = { "moderator" } }) -- otherwise everybody is told of everybody
        crowd:set_handler(function(stanza)
          local x = xmpp.xexpr.child(stanza, "x", MUC .. "#user")
          for status in xmpp.xexpr.children(x, "status") do inside = inside + (status[2].code == "110" and 1 or 0) end
        end)
        for i = 1, 1000 do
          crowd:send { "presence", { from = ("user%d@%s/x"):format(i, s.component), to = jid .. "/nick" .. i },
            { "x", { xmlns = MUC } } }
        end
        turn_until(function() return inside == 1000 end, "all of them come", 60)
        assert.is_true(hers:config { [BROADCAST] = all })
        local his = assert(muc.join(bob, jid, "pot", { timeout = 60 }))
        assert.equal(1002, count(his))
        assert(hers:kick("nick1000", "one less"))
        turn_until(function() return not his.occupants.nick1000 end, "one goes", 60)
        assert(hers:destroy())
        turn_until(function() return muc.use(bob).rooms[jid] == nil end, "the end", 60)
      end)
    end
  end)

  describe("a server that is restarted", function()
    it("gets its bot back into all 20 rooms, and every message's fate is reported", function()
      local alice, rooms = login "alice", {}
      for i = 1, ROOMS do
        local room = assert(muc.join(alice, room_of("many" .. i), "kettle", { create = function(form)
          return { ["muc#roomconfig_persistentroom"] = form and true }
        end }))
        local r = { room = room, events = {}, fates = {} }
        for _, event in ipairs { "removed", "rejoined" } do
          r.events[event] = 0
          room:on(event, function() r.events[event] = r.events[event] + 1 end)
        end
        r.heard = {}
        room:on("message", function(m) r.heard[m.text] = (r.heard[m.text] or 0) + 1 end)
        rooms[i] = r
      end
      local function say(r, text)
        r.fates[text] = {}
        assert(r.room:say(text, { on = function(state) table.insert(r.fates[text], state) end }))
      end
      for _, r in ipairs(rooms) do say(r, "before") end
      for _, r in ipairs(rooms) do turn_until(function() return r.heard.before end, "before") end
      for _, r in ipairs(rooms) do say(r, "on its way") end
      s:restart(true)
      for _, r in ipairs(rooms) do say(r, "meanwhile") end
      local function ended(r)
        for _, states in pairs(r.fates) do
          local last = states[#states]
          if last ~= "reflected" and last ~= "failed" then return false end
        end
        return r.room.joined
      end
      for _, r in ipairs(rooms) do turn_until(function() return ended(r) end, r.room.jid, 90) end
      for _, r in ipairs(rooms) do
        assert.equal(1, r.events.rejoined)
        assert.equal(1, r.heard.meanwhile)
        for text, states in pairs(r.fates) do
          local ends = 0
          for _, state in ipairs(states) do ends = ends + ((state == "reflected" or state == "failed") and 1 or 0) end
          assert.equal(1, ends, text)
          assert.is_true((r.heard[text] or 0) <= 1, text)
          assert.equal(states[#states] == "reflected" and 1 or r.heard[text], r.heard[text], text)
        end
      end
    end)
  end)
end, { LIMIT = 900 }, SERVERS)
