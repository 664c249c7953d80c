-- corpus: the stanzas for `make bench`, the same on every machine: prints N of them, as they would come on a
-- component's stream. lua corpus.lua N
-- 45 % chat, 35 % presence in rooms, 12 % archive results, 5 % pings, 2.5 % disco results of 2 KB, rosters of 10 KB.

local seed = 20240901

-- Lehmer's generator: it is exact in doubles, so every Lua gives the same stanzas.
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
for word in ([[the of and to in is you that it was for on are as with his they at be this have from or one had by but
  not what all were we when your can said there use an each which she do how their if will up other about out many then
  them these so some her would make like him into time has look two more write go see number no way could people my
  than first water been call who oil its now find long down day did get come made may part café &amp; it&apos;s &lt;3
  Zürich 日本語 привет]]):gmatch "%S+" do
  words[#words + 1] = word
end

local names = {}
for name in ([[romeo juliet mercutio tybalt benvolio paris rosaline nurse lawrence capulet montague escalus peter
  sampson gregory abram balthasar]]):gmatch "%S+" do
  names[#names + 1] = name
end

local function sentence(n)
  local list = {}
  for i = 1, n do list[i] = one_of(words) end
  return table.concat(list, " ")
end

local function stamp()
  local month, day, hour = random(12), random(28), random(24) - 1
  return ("2024-%02d-%02dT%02d:%02d:%02dZ"):format(month, day, hour, random(60) - 1, random(60) - 1)
end

local function user() return one_of(names) .. random(50) .. "@example.net" end
local function full() return user() .. "/" .. one_of { "phone", "laptop", "lua-" .. hex(8) } end

-- Replaces every $name in `text` by the result of the function with that name.
local function fill(text, fields)
  return (text:gsub("\n%s*", ""):gsub("%$(%a+)", function(name) return fields[name]() end))
end

local fields = {
  user = user, full = full, stamp = stamp,
  id = function() return hex(16) end,
  hash = function() return hex(28) end,
  words = function() return sentence(8 + random(26)) end,
  more = function() return sentence(10 + random(40)) end,
  room = function() return "room" .. random(20) .. "@rooms.example.net/" .. one_of(names) end,
  affiliation = function() return one_of { "member", "none", "owner" } end,
}

fields.extra = function()
  return fill(one_of {
    "",
    "<request xmlns='urn:xmpp:receipts'/>",
    "<thread>$id</thread>",
    "<origin-id xmlns='urn:xmpp:sid:0' id='$id'/>",
    "<markable xmlns='urn:xmpp:chat-markers:0'/><request xmlns='urn:xmpp:receipts'/>",
  }, fields)
end

fields.show = function()
  return one_of { "", "<show>away</show>", "<show>dnd</show><status>" .. sentence(12) .. "</status>" }
end

-- Items that together have at least `least` bytes.
local function items(least, text)
  local list, size = {}, 0
  while size < least do
    list[#list + 1] = fill(text, fields)
    size = size + #list[#list]
  end
  return table.concat(list)
end

fields.features = function()
  return items(1800, "<feature var='http://jabber.org/protocol/$id'/>")
end

fields.contacts = function()
  return items(10000, "<item jid='$user' subscription='both' name='$id'><group>Friends</group></item>")
end

local chat = [[<message from='$full' to='bench.test' type='chat' id='$id'><body>$words</body>
  <active xmlns='http://jabber.org/protocol/chatstates'/>$extra</message>]]

local presence = [[<presence from='$room' to='bench.test' id='$id'>$show<priority>5</priority>
  <c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.example' ver='$hash'/>
  <x xmlns='vcard-temp:x:update'><photo>$hash</photo></x><x xmlns='http://jabber.org/protocol/muc#user'>
  <item affiliation='$affiliation' role='participant' jid='$full'/></x></presence>]]

local archived = [[<message from='example.net' to='bench.test' id='$id'>
  <result xmlns='urn:xmpp:mam:2' queryid='$id' id='$hash'><forwarded xmlns='urn:xmpp:forward:0'>
  <delay xmlns='urn:xmpp:delay' stamp='$stamp'/>
  <message xmlns='jabber:client' from='$full' to='$user' type='chat' id='$id'><body>$more</body>
  <stanza-id xmlns='urn:xmpp:sid:0' by='$user' id='$hash'/></message></forwarded></result></message>]]

local ping = "<iq from='$full' to='bench.test' type='get' id='$id'><ping xmlns='urn:xmpp:ping'/></iq>"

local disco = [[<iq from='$full' to='bench.test' type='result' id='$id'>
  <query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' type='pc' name='Bench'/>
  $features</query></iq>]]

local roster = [[<iq from='$user' to='bench.test' type='result' id='$id'>
  <query xmlns='jabber:iq:roster' ver='$id'>$contacts</query></iq>]]

local makers = { { 450, chat }, { 800, presence }, { 920, archived }, { 970, ping }, { 995, disco }, { 1000, roster } }

for _ = 1, tonumber(arg[1]) do
  local draw = random(1000)
  for _, m in ipairs(makers) do
    if draw <= m[1] then
      io.write(fill(m[2], fields))
      break
    end
  end
end
