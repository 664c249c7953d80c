-- corpus: the stanzas that `make bench` works on, the same ones on every machine: prints N of them, one behind the other,
-- as a component's stream would bring them.    lua corpus.lua N
-- 45 % chat, 35 % presence in rooms, 12 % archive results, 5 % pings, 2.5 % disco results of 2 KB, 0.5 % rosters of 10 KB.

local seed = 20240901

-- Lehmer's generator: exact in doubles, so every Lua gives the same stanzas.
local function random(n)
  seed = seed * 48271 % 2147483647
  return seed % n + 1
end

local function one_of(list)
  return list[random(#list)]
end

local function hex(n)
  local digits = {}
  for i = 1, n do digits[i] = ("%x"):format(random(16) - 1) end
  return table.concat(digits)
end

local words = {}
for word in ([[the of and to in is you that it was for on are as with his they at be this have from or one had by but not
  what all were we when your can said there use an each which she do how their if will up other about out many then them
  these so some her would make like him into time has look two more write go see number no way could people my than first
  water been call who oil its now find long down day did get come made may part caf&#233; na&#239;ve r&#xF4;le &amp; it&apos;s
  &lt;3 Zürich 日本語 привет]]):gmatch "%S+" do
  words[#words + 1] = word
end

local names = {}
for name in ([[romeo juliet mercutio tybalt benvolio paris rosaline nurse lawrence capulet montague escalus peter sampson
  gregory abram balthasar]]):gmatch "%S+" do
  names[#names + 1] = name
end

local function sentence(n)
  local list = {}
  for i = 1, n do list[i] = one_of(words) end
  return table.concat(list, " ")
end

local function stamp()
  return ("2024-%02d-%02dT%02d:%02d:%02dZ"):format(random(12), random(28), random(24) - 1, random(60) - 1, random(60) - 1)
end

local function user() return one_of(names) .. random(50) .. "@example.net" end
local function full() return user() .. "/" .. one_of { "phone", "laptop", "lua-" .. hex(8) } end

local to = " to='bench.test'"

local function chat()
  local extra = one_of {
    "",
    "<request xmlns='urn:xmpp:receipts'/>",
    "<thread>" .. hex(16) .. "</thread>",
    "<origin-id xmlns='urn:xmpp:sid:0' id='" .. hex(16) .. "'/>",
    "<markable xmlns='urn:xmpp:chat-markers:0'/><request xmlns='urn:xmpp:receipts'/>",
  }
  return "<message from='" .. full() .. "'" .. to .. " type='chat' id='" .. hex(16) .. "'><body>" .. sentence(6 + random(24))
    .. "</body><active xmlns='http://jabber.org/protocol/chatstates'/>" .. extra .. "</message>"
end

local function presence()
  local show = one_of { "", "<show>away</show>", "<show>dnd</show><status>" .. sentence(4) .. "</status>" }
  return "<presence from='room" .. random(20) .. "@rooms.example.net/" .. one_of(names) .. "'" .. to .. " id='" .. hex(8) .. "'>"
    .. show .. "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.example' ver='" .. hex(28) .. "'/>"
    .. "<x xmlns='vcard-temp:x:update'><photo>" .. hex(40) .. "</photo></x>"
    .. "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='" .. one_of { "member", "none", "owner" }
    .. "' role='participant' jid='" .. full() .. "'/></x></presence>"
end

local function archived()
  return "<message from='example.net'" .. to .. " id='" .. hex(12) .. "'><result xmlns='urn:xmpp:mam:2' queryid='" .. hex(8)
    .. "' id='" .. hex(24) .. "'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='" .. stamp()
    .. "'/><message xmlns='jabber:client' from='" .. full() .. "' to='" .. user() .. "' type='chat' id='" .. hex(16) .. "'><body>"
    .. sentence(10 + random(40)) .. "</body><stanza-id xmlns='urn:xmpp:sid:0' by='" .. user() .. "' id='" .. hex(24)
    .. "'/></message></forwarded></result></message>"
end

local function ping()
  return "<iq from='" .. full() .. "'" .. to .. " type='get' id='" .. hex(10) .. "'><ping xmlns='urn:xmpp:ping'/></iq>"
end

local function result(query, least, item)
  local list, size = {}, 0
  while size < least do
    list[#list + 1] = item(#list + 1)
    size = size + #list[#list]
  end
  return "<iq from='" .. user() .. "'" .. to .. " type='result' id='" .. hex(10) .. "'>" .. query .. table.concat(list)
    .. "</query></iq>"
end

local function disco()
  return result("<query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' type='pc' name='Bench'/>",
    1800, function(i) return "<feature var='http://jabber.org/protocol/feature-" .. i .. "/" .. hex(8) .. "'/>" end)
end

local function roster()
  return result("<query xmlns='jabber:iq:roster' ver='" .. hex(16) .. "'>", 10000, function()
    return "<item jid='" .. user() .. "' subscription='both' name='" .. one_of(names) .. "'><group>" .. one_of(words)
      .. "</group></item>"
  end)
end

local makers = { { 450, chat }, { 800, presence }, { 920, archived }, { 970, ping }, { 995, disco }, { 1000, roster } }

for _ = 1, tonumber(arg[1]) do
  local draw = random(1000)
  for _, m in ipairs(makers) do
    if draw <= m[1] then
      io.write(m[2]())
      break
    end
  end
end
