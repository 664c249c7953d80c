-- place: parses URLs that were given by somebody else. Accepts only what all URL parsers understand in the same way: a
-- scheme, a plain host, a port (RFC 3986 3.2; XEP-0363 4: both URLs adhere to it, in ASCII). Has no access to the
-- network.

local ascii = require "xmpp.ascii"

local M = {}

local LONGEST = 4096

-- Four decimal numbers. "127.1", "0x7f000001" and "2130706433" are addresses to some parsers, but not here.
local function figures4(host)
  local out = { host:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$" }
  if #out ~= 4 then return nil end
  for i, text in ipairs(out) do
    if #text > 3 or text:find "^0." or tonumber(text) > 255 then return nil end
    out[i] = tonumber(text)
  end
  return out
end

-- Eight numbers of "2001:db8::7"; an address that ends in an IPv4 address isn't accepted.
local function figures6(host)
  if host:find "[^%x:]" or host:find ":::" then return nil end
  local head, tail = host:match "^(.-)::(.*)$"
  if tail and tail:find "::" then return nil end
  local out, back = {}, {}
  for word in (head or host):gmatch "%x+" do out[#out + 1] = tonumber(word, 16) end
  for word in (tail or ""):gmatch "%x+" do back[#back + 1] = tonumber(word, 16) end
  if not head and #out ~= 8 or #out + #back > (head and 7 or 8) then return nil end
  while #out + #back < 8 do out[#out + 1] = 0 end
  for _, n in ipairs(back) do out[#out + 1] = n end
  for _, n in ipairs(out) do
    if n > 65535 then return nil end
  end
  return out
end

local function is_loopback(host)
  local four, six = figures4(host), figures6(host)
  if four then return four[1] == 127 end
  if six then return table.concat(six, ":") == "0:0:0:0:0:0:0:1" end
  return host == "localhost" or host:find "%.localhost$" ~= nil
end

-- RFC 6890: private, shared, link-local and so on. Other families and notations count as private.
local function is_private4(a)
  local first, second, third = a[1], a[2], a[3]
  if first == 0 or first == 10 or first == 127 or first >= 224 then return true end
  if first == 100 then return second >= 64 and second < 128 end
  if first == 169 then return second == 254 end
  if first == 172 then return second >= 16 and second < 32 end
  if first == 192 then return second == 168 or second == 0 and (third == 0 or third == 2) end
  return first == 198 and (second == 18 or second == 19 or second == 51 and third == 100)
    or first == 203 and second == 0 and third == 113
end

local function is_private6(a)
  if a[1] < 0x2000 or a[1] > 0x3fff then return true end
  return a[1] == 0x2002 or a[1] == 0x2001 and (a[2] == 0 or a[2] == 0xdb8)
end

--- Parses a URL; nil and a reason if it isn't acceptable.
---@param url string?
---@return { scheme: string, host: string, port: string?, is_loopback: boolean, is_private: boolean }?
---@return string? why
function M.read(url)
  if type(url) ~= "string" or url == "" then return nil, "missing" end
  if #url > LONGEST then return nil, "too long" end
  if url:find "[^!#$%%&'()*+,/:;=?@%w%-._~%[%]]" then return nil, "it has characters that no URL has (RFC 3986 2)" end
  local scheme, authority = url:match "^(%a+)://([^/?#]*)"
  if not scheme then return nil, "not a URL with a scheme (https://...)" end
  local bracketed, after = authority:match "^%[([%x:]+)%](.*)$"
  local host, port = bracketed, after
  if not host then host, port = authority:match "^([%w._-]+)(.*)$" end
  if not host or port ~= "" and not port:find "^:%d+$" then return nil, "no plain host and port" end
  host = ascii.lower(host):gsub("%.$", "")
  local four, six = figures4(host), bracketed and figures6(host)
  if bracketed and not six then return nil, "no IPv6 address" end
  if not bracketed and not four and (host:match "[^.]*$"):find "^%d" then return nil, "no plain address" end
  local is_private = is_loopback(host) or host:find "%.local$" ~= nil
  if four then is_private = is_private4(four) elseif six then is_private = is_private6(six) end
  return { scheme = ascii.lower(scheme), host = host, port = port ~= "" and port:sub(2) or nil,
    is_loopback = is_loopback(host), is_private = is_private }
end

--- Is a literal address (`place`) this address, or are both loopback?
---@param place table
---@param address string? "192.0.2.7"
---@return boolean
function M.is_at(place, address)
  if not address then return false end
  if place.is_loopback then return is_loopback(address) end
  local four, six = figures4(place.host), figures6(place.host)
  local other = four and figures4(address) or six and figures6(address)
  return other ~= nil and table.concat(four or six, ":") == table.concat(other, ":")
end

return M
