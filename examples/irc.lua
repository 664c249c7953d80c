-- A channel of an IRC network (RFC 2812), over LuaSocket in a task: for gateway.lua. It reconnects by itself.
--
--   local irc = require "examples.irc"
--   local channel = irc.join { host = "irc.example.net", port = 6667, nick = "bridge", channel = "#lua", on = {
--     join = f(nick), part = f(nick, why), nick = f(old, new), message = f(nick, text, is_action), lost = f(why) } }
--   channel:say "hello"; channel:tell("anna", "psst")

local socket, xmpp = require "socket", require "xmpp"

local LONGEST, MOST_LINES, PAUSE = 400, 5, 0.5 -- bytes of a line, lines of one message, seconds between two lines
local IDLE, AGAIN = 0.05, 10                   -- seconds between two reads of the socket, and before reconnecting

local Channel = {}
Channel.__index = Channel

-- Text that isn't UTF-8 is taken for Latin-1; colours and other control characters are removed.
local function from_irc(text)
  text = text:gsub("\3%d?%d?,?%d?%d?", ""):gsub("%c", "")
  if xmpp.contract.stanza { "message", { "body", text } } then return text end
  return (text:gsub("[\128-\255]", function(c)
    return string.char(192 + math.floor(c:byte() / 64), 128 + c:byte() % 64)
  end))
end

-- Splits text into lines that can be sent: a line break can't smuggle in commands, and no character is cut in two.
local function to_irc(text)
  local out = {}
  for line in text:gmatch "[^\r\n]+" do
    line = line:gsub("%c", " ")
    while #line > LONGEST do
      local at = LONGEST
      while line:find("^[\128-\191]", at + 1) do at = at - 1 end
      out[#out + 1], line = line:sub(1, at), line:sub(at + 1)
    end
    out[#out + 1] = line
  end
  for i = #out, MOST_LINES + 1, -1 do out[i] = nil end
  return out
end

function Channel:send(line)
  if self.socket then self.socket:send(line .. "\r\n") end
end

function Channel:tell(nick, text)
  for _, line in ipairs(to_irc(text)) do
    if not self.queue:put(("PRIVMSG %s :%s"):format(nick, line), 0) then return end -- the queue is full
  end
end

function Channel:say(text) self:tell(self.channel, text) end

local handlers = {}

function handlers.PING(self, _, a) self:send("PONG :" .. (a[1] or "")) end
handlers["001"] = function(self) self:send("JOIN " .. self.channel) end
handlers["433"] = function(self) -- the nick is taken
  self.nick = self.nick .. "_"
  self:send("NICK " .. self.nick)
end
handlers["353"] = function(self, _, a) -- the nicks in the channel
  for nick in (a[4] or ""):gmatch "%S+" do self:come((nick:gsub("^[@+%%&~]", ""))) end
end
function handlers.JOIN(self, nick) self:come(nick) end
function handlers.PART(self, nick, a) self:go(nick, a[2]) end
function handlers.QUIT(self, nick, a) self:go(nick, a[1]) end
function handlers.KICK(self, _, a)
  self:go(a[2], a[3])
  if a[2] == self.nick then self:send("JOIN " .. self.channel) end
end
function handlers.NICK(self, nick, a)
  if not self.there[nick] or not a[1] then return end
  self.there[nick], self.there[a[1]] = nil, true
  if nick == self.nick then self.nick = a[1] else self.on.nick(nick, a[1]) end
end
function handlers.PRIVMSG(self, nick, a)
  if not a[2] or a[1]:lower() ~= self.channel:lower() or not self.there[nick] then return end
  local action = a[2]:match "^\1ACTION (.-)\1?$"
  if action or not a[2]:find "^\1" then self.on.message(nick, from_irc(action or a[2]), action ~= nil) end
end

function Channel:come(nick)
  if not nick or nick == "" or self.there[nick] then return end
  self.there[nick] = true
  if nick ~= self.nick then self.on.join(nick) end
end

function Channel:go(nick, why)
  if not nick or not self.there[nick] then return end
  self.there[nick] = nil
  if nick ~= self.nick then self.on.part(nick, why and from_irc(why)) end
end

-- ":anna!a@host PRIVMSG #lua :hello you" is "anna", "PRIVMSG", { "#lua", "hello you" }.
local function parse(line)
  local nick, rest = line:match "^:([^! ]+)%S* +(.*)$"
  local head, last = (rest or line):match "^(.-) :(.*)$"
  local words = {}
  for word in (head or rest or line):gmatch "%S+" do words[#words + 1] = word end
  words[#words + 1] = last
  return nick, table.remove(words, 1), words
end

-- Reads until the connection ends; returns why it did.
local function read(self)
  local rest = ""
  while true do
    local line, why, part = self.socket:receive("*l", rest)
    rest = part or ""
    if line then
      local nick, command, words = parse(line)
      if handlers[command] then handlers[command](self, nick, words) end
    elseif why ~= "timeout" or #rest > 8192 then
      return why
    else
      xmpp.sleep(IDLE)
    end
  end
end

local function live(self)
  while true do
    local sock, why = socket.connect(self.host, self.port)
    if sock then
      sock:settimeout(0)
      self.socket, self.there, self.nick = sock, {}, self.wanted
      self:send("NICK " .. self.nick)
      self:send("USER " .. self.nick .. " 0 * :" .. self.nick)
      why = read(self)
      sock:close()
      self.socket = nil
      for nick in pairs(self.there) do self:go(nick, "the connection is lost") end
    end
    self.on.lost(why)
    xmpp.sleep(AGAIN)
  end
end

local M = {}

function M.join(o)
  local self = setmetatable({ host = o.host, port = o.port, wanted = o.nick, nick = o.nick, channel = o.channel,
    on = o.on, there = {}, queue = xmpp.channel(100) }, Channel)
  xmpp.spawn(function() live(self) end)
  xmpp.spawn(function()
    while true do
      self:send((assert(self.queue:get())))
      xmpp.sleep(PAUSE) -- IRC servers disconnect clients that send too fast
    end
  end)
  return self
end

return M
