-- write: builds message stanzas from what a program gives: a text, or a table. Sends nothing. A caller's mistake
-- raises an error at `level`, as error() counts it for the caller of a function of this file.
--
--   local content = write.content({ text = "Hi", lang = "en", hints = { "no-store" } }, "send", 2)
--   local stanza = write.message("bob@example.net", "chat", id, content)

local core = require "xmpp.load"
local message = require "xmpp.chat.message"

local M = {}

local LONGEST_QUOTE, MOST_QUOTED_LINES = 300, 6 -- of the quoted message, in code points
local MOST_REACTIONS, LONGEST_REACTION = 32, 64

-- For clients that don't support retraction (XEP-0424 3).
local TAKEN_BACK = "/me has taken back an earlier message, which this client can't show."

local HINTS = { store = true, ["no-store"] = true, ["no-copy"] = true, ["no-permanent-store"] = true }

local FIELDS = { text = "string", subject = "string", url = "string", thread = "string", lang = "string",
  reply_to = "table", spoiler = "string or boolean", hints = "table", request = "boolean" }

local function mistake(fname, level, text, ...)
  error(("bad message for '%s' (%s)"):format(fname, text:format(...)), level + 1)
end

local function check_fields(what, fname, level)
  for name, value in pairs(what) do
    local kinds = FIELDS[name]
    if not kinds then mistake(fname, level + 1, "there is no field '%s'", core.shown(tostring(name))) end
    if not kinds:find(type(value), 1, true) then
      mistake(fname, level + 1, "%s: %s expected, got %s", name, kinds, type(value))
    end
  end
end

local function check(what, fname, level)
  check_fields(what, fname, level + 1)
  if what.url and what.text and what.url ~= what.text then
    mistake(fname, level + 1, "the text must be exactly the url, or clients don't show it as a link")
  end
  local reply = what.reply_to
  if reply and type(reply.from or reply.id) ~= "string" then
    mistake(fname, level + 1, "reply_to: a message, or something that has an id expected")
  end
  for _, hint in ipairs(what.hints or {}) do
    if not HINTS[hint] then mistake(fname, level + 1, "there is no hint '%s'", core.shown(tostring(hint))) end
  end
  if not (what.text or what.url or what.subject) then mistake(fname, level + 1, "text, url or subject expected") end
end

local function hint(name) return { name, { xmlns = message.HINTS } } end

-- The beginning of a text, at most `most` code points, and how many it has.
local function shortened(text, most)
  local n = 0
  for position in text:gmatch "()[^\128-\191]" do
    if n == most then return text:sub(1, position - 1) .. "…", n + 1 end
    n = n + 1
  end
  return text, n
end

-- The quotation that clients without support for replies show above the text (XEP-0461 3.1), and its length in code
-- points.
local function quote(text)
  local lines, length = {}, 0
  for line in (shortened(text, LONGEST_QUOTE) .. "\n"):gmatch "([^\n]*)\n" do
    if #lines == MOST_QUOTED_LINES then break end
    local _, n = shortened(line, LONGEST_QUOTE + 1)
    lines[#lines + 1], length = "> " .. line .. "\n", length + n + 3
  end
  return table.concat(lines), length
end

-- The message that this one replies to: what message.read returned, or { id =, jid =?, text =? }. A message without an
-- id can't be referred to.
local function add_reply(out, body, reply)
  local to = reply.jid or reply.from
  if not (reply.origin_id or reply.id) then return body end
  out[#out + 1] = { "reply", { xmlns = message.REPLY, id = reply.origin_id or reply.id, to = to } }
  if not reply.text or reply.text == "" then return body end
  local quoted, length = quote(reply.text)
  out[#out + 1] = { "fallback", { xmlns = message.FALLBACK, ["for"] = message.REPLY },
    { "body", { start = 0, ["end"] = length } } }
  return quoted .. body
end

--- The children of a message, from what a program has given: a text, or a table with any of `text`, `subject`, `url`
--- (XEP-0066: the text is that link), `thread`, `lang` (of the text), `reply_to` (a message as reported, or { id =,
--- jid =?, text =? }, XEP-0461), `spoiler` (true, or a hint at what is hidden, XEP-0382), `hints` ("store",
--- "no-store", "no-copy", "no-permanent-store", XEP-0334). `request`, whether a receipt is requested, is left to the
--- caller.
---@param what string|table
---@param fname string the function's name, for error texts
---@param level integer
---@return xmpp.Element[]
function M.content(what, fname, level)
  if type(what) == "string" then what = { text = what } end
  if type(what) ~= "table" then mistake(fname, level + 1, "text or table expected, got %s", type(what)) end
  check(what, fname, level + 1)
  local out, body = {}, what.text or what.url
  if what.subject then out[1] = { "subject", { ["xml:lang"] = what.lang }, what.subject } end
  if what.thread then out[#out + 1] = { "thread", {}, what.thread } end
  if what.reply_to then body = add_reply(out, body or "", what.reply_to) end
  if body then out[#out + 1] = { "body", { ["xml:lang"] = what.lang }, body } end
  if what.url then out[#out + 1] = { "x", { xmlns = message.OOB }, { "url", {}, what.url } } end
  if what.spoiler then
    local text = type(what.spoiler) == "string" and what.spoiler or nil
    out[#out + 1] = { "spoiler", { xmlns = message.SPOILER, ["xml:lang"] = text and what.lang }, text }
  end
  for _, name in ipairs(what.hints or {}) do
    out[#out + 1] = hint(name)
    if name == "no-copy" then out[#out + 1] = { "private", { xmlns = message.CARBONS } } end -- XEP-0280 8
  end
  return out
end

--- The contents of a retraction (XEP-0424 3).
---@param id string
---@return xmpp.Element[]
function M.retraction(id)
  return { { "retract", { xmlns = message.RETRACT, id = id } },
    { "fallback", { xmlns = message.FALLBACK, ["for"] = message.RETRACT } }, { "body", {}, TAKEN_BACK },
    hint "store" }
end

--- The contents that set all our reactions to a message (XEP-0444 3.2).
---@param id string
---@param list string[]
---@param level integer
---@return xmpp.Element[]
function M.reactions(id, list, level)
  local x, seen = { "reactions", { xmlns = message.REACTIONS, id = id } }, {}
  if #list > MOST_REACTIONS then mistake("react", level + 1, "at most %d reactions", MOST_REACTIONS) end
  for i, text in ipairs(list) do
    if type(text) ~= "string" or text == "" or #text > LONGEST_REACTION then
      mistake("react", level + 1, "reaction %d: a text of at most %d bytes expected", i, LONGEST_REACTION)
    end
    if not seen[text] then x[#x + 1] = { "reaction", {}, text } end
    seen[text] = true
  end
  return { x, hint "store" }
end

--- A receipt (XEP-0184 5.4), or a displayed marker (XEP-0333 4.1).
---@param name "received"|"displayed"
---@param xmlns string
---@param id string
---@param thread? string
---@return xmpp.Element[]
function M.mark(name, xmlns, id, thread)
  return { { name, { xmlns = xmlns, id = id } }, hint "store", thread and { "thread", {}, thread } or nil }
end

--- A chat state (XEP-0085 5.2), which needn't be stored.
---@return xmpp.Element[]
function M.state(state)
  return { { state, { xmlns = message.STATES } }, hint "no-store" }
end

--- A message; an `origin_id` is the same as its id (XEP-0359 2.2).
---@param to string
---@param kind string
---@param id string
---@param content xmpp.Element[]
---@param origin_id? boolean
---@return xmpp.Stanza
function M.message(to, kind, id, content, origin_id)
  local stanza = { "message", { to = to, type = kind, id = id } }
  for _, x in ipairs(content) do stanza[#stanza + 1] = x end
  if origin_id then stanza[#stanza + 1] = { "origin-id", { xmlns = message.SID, id = id } } end
  return stanza
end

return M
