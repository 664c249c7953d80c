-- args: the arguments of a bot's command, parsed by its declaration. For xmpp.bot.
--
--   local list = args.parse "<sides:int=6> [times:int] <why:text=for fun>"
--   local values, reason = args.read(list, '20 2 "to be sure"')     -- { sides = 20, times = 2, why = "to be sure" }
--
-- <name:kind=default> is required, unless it has a default; [name:kind] is optional. Kinds: word (the default; several
-- words in "quotes" count as one), int, number, bool (yes, no, true, false, on, off, 1, 0), jid (prepared), and text,
-- all the rest, which must be the last.

local ascii = require "xmpp.ascii"
local core = require "xmpp.load"

local M = {}

local MOST_WORDS = 100
local KINDS = { word = true, text = true, int = true, number = true, bool = true, jid = true }
local BOOL = { yes = true, ["true"] = true, on = true, ["1"] = true, no = false, ["false"] = false, off = false,
  ["0"] = false }

local read = {}

function read.word(text) return text end

read.text = read.word

function read.int(text)
  local n = #text < 16 and text:find "^[+-]?%d+$" and tonumber(text)
  if n then return n end
  return nil, "a whole number expected"
end

read.number = require("xmpp.form.value").number

function read.bool(text)
  local v = BOOL[ascii.lower(text)]
  if v ~= nil then return v end
  return nil, "yes or no expected"
end

function read.jid(text)
  local jid = core.jid(text)
  if jid then return tostring(jid) end
  return nil, "an address expected"
end

-- Declarations

local function read_one(token)
  local open, inner, close = token:match "^([<%[])(.*)([>%]])$"
  if not open or (open == "<") ~= (close == ">") then return nil, "<name:kind=default> or [name:kind] expected" end
  local name, rest = inner:match "^([%a_][%w_]*)(.*)$"
  if not name then return nil, "a name expected" end
  local kind = rest:match "^:(%a+)"
  if kind then rest = rest:sub(#kind + 2) end
  local entry = { name = name, kind = kind or "word", optional = open == "[" }
  if not KINDS[entry.kind] then return nil, ("there is no kind '%s'"):format(entry.kind) end
  if rest == "" then return entry end
  if rest:sub(1, 1) ~= "=" or entry.optional then return nil, "<name:kind=default> expected" end
  local why
  entry.default, why = read[entry.kind](rest:sub(2))
  if why then return nil, "default: " .. why end
  return entry
end

local function may_be_left_out(entry) return entry.optional or entry.default ~= nil end

--- Parses a declaration: a list of { name, kind, optional, default }; nil and a reason.
---@param declared string
---@return table[]?
---@return string?
function M.parse(declared)
  local list, seen, at = {}, {}, 1
  declared = declared:gsub("^%s+", ""):gsub("%s+$", "")
  while at <= #declared do
    local token, behind = declared:match("^([<%[][^>%]]*[>%]])%s*()", at)
    local before, entry, why = list[#list], nil, "<name:kind=default> or [name:kind] expected"
    if token then entry, why = read_one(token) end
    if entry and seen[entry.name] then why = "the name is used twice" end
    if entry and before and before.kind == "text" then why = "nothing can follow a text" end
    if entry and before and may_be_left_out(before) and not may_be_left_out(entry) then
      why = "a required argument can't follow an optional one"
    end
    if why then return nil, ("%s: %s"):format(token or declared:sub(at), why) end
    list[#list + 1], seen[entry.name], at = entry, true, behind
  end
  return list
end

-- Reading

-- The next word from a position, and where the text continues; nil: there is none.
local function next_word(text, at)
  at = text:match("^%s*()", at)
  if at > #text then return nil, at end
  local quoted, behind = text:match('^"([^"]*)"()', at)
  if quoted and (behind > #text or text:find("^%s", behind)) then return quoted, behind end
  return text:match("^(%S+)()", at)
end

local function next_text(text, at)
  local rest = text:sub(at):gsub("^%s+", ""):gsub("%s+$", "")
  if rest == "" then return nil, #text + 1 end
  return rest:match '^"([^"]*)"$' or rest, #text + 1
end

local function split(text)
  local words, word, at = {}, next_word(text, 1)
  while word and #words < MOST_WORDS do
    words[#words + 1] = word
    word, at = next_word(text, at)
  end
  return words
end

--- The values by name; nil and a reason for the person who gave the command. Without a declaration: the words, and all
--- of it as `text`.
---@param list table[]? from parse
---@param text string
---@return table<string, any>?
---@return string?
function M.read(list, text)
  if not list then
    local words = split(text)
    words.text = next_text(text, 1) or ""
    return words
  end
  local values, at = {}, 1
  for _, entry in ipairs(list) do
    local word
    word, at = (entry.kind == "text" and next_text or next_word)(text, at)
    local v, why = entry.default
    if word then v, why = read[entry.kind](word) end
    if why then return nil, ("%s: %s"):format(entry.name, why) end
    if v == nil and not entry.optional then return nil, entry.name .. ": missing" end
    values[entry.name] = v
  end
  if next_word(text, at) then return nil, "there are too many arguments" end
  return values
end

-- As forms

local FORM_KINDS = { bool = "boolean", jid = "jid-single", text = "text-multi" }
local DATATYPES = { int = "xs:integer", number = "xs:decimal" }

--- The fields of a form that asks for the arguments.
---@param list table[]?
---@return table[]
function M.fields(list)
  if not list then return { { var = "text", label = "text" } } end
  local out = {}
  for i, entry in ipairs(list) do
    local value = entry.default
    if entry.kind == "text" and value ~= nil then value = { value } end
    out[i] = { var = entry.name, label = entry.name, kind = FORM_KINDS[entry.kind], datatype = DATATYPES[entry.kind],
      required = not may_be_left_out(entry) or nil, value = value }
  end
  return out
end

--- The values from such a form, as `read` would return them.
---@param list table[]?
---@param values table<string, any>
---@return table<string, any>?
---@return string?
function M.from_form(list, values)
  if not list then return M.read(nil, values.text or "") end
  local out = {}
  for _, entry in ipairs(list) do
    local v = values[entry.name]
    if entry.kind == "text" then v = table.concat(v or {}, "\n") end
    if v == "" then v = nil end
    if v == nil then v = entry.default end
    if v == nil and not entry.optional then return nil, entry.name .. ": missing" end
    if entry.kind == "int" and v and v % 1 ~= 0 then return nil, entry.name .. ": a whole number expected" end
    out[entry.name] = v
  end
  return out
end

return M
