-- parse: parses the arguments of the command, by the table in spec.lua. Nothing is guessed: unknown words are refused,
-- and the most similar known one is suggested.

local M = {}

-- The most similar word: one that begins with it is preferred to one with a similar spelling.
local function nearest(word, words)
  local longer
  for known in pairs(words) do
    if #word > 2 and known:sub(1, #word) == word and (not longer or known < longer) then longer = known end
  end
  return longer or require "xmpp.nearest"(word:sub(1, 30), words)
end

local function set_of(list, at)
  local set = {}
  for _, entry in ipairs(list) do
    local word = at and entry[at] or not at and entry
    if word then set[word] = true end
  end
  return set
end

local function shown(word) return require "xmpp.cmd.escape".line(word) end

-- Parses a value of each kind; nil and a reason if it is invalid.

local kinds = {}

function kinds.text(v) return v end
kinds.file, kinds.jid, kinds.room, kinds.account = kinds.text, kinds.text, kinds.text, kinds.text

function kinds.number(v)
  local n = v:find "^%d*%.?%d*$" and tonumber(v)
  if n and n > 0 then return n end
  return nil, "a number above 0 expected"
end

function kinds.seconds(v)
  local n = v:find "^%d*%.?%d*$" and tonumber(v)
  if n then return n end
  return nil, "a number of seconds expected"
end

local function whole(least, most, what)
  return function(v)
    local n = v:find "^%-?%d+$" and tonumber(v)
    if n and n >= least and n <= most then return n end
    return nil, what
  end
end

kinds.count = whole(1, 2 ^ 31, "a whole number from 1 expected")
kinds.fd = whole(0, 65535, "the number of a file descriptor expected")
kinds.port = whole(1, 65535, "a port from 1 to 65535 expected")
kinds.priority = whole(-128, 127, "a whole number from -128 to 127 expected")

-- A proxy without user and password, since everybody can read the arguments of a command.
function kinds.proxy(v)
  if v:find("@", 1, true) then
    return nil, "a proxy's user and password belong in the configuration, as the account's proxy", "..."
  end
  local ok, why = require "xmpp.options".is_proxy(v)
  if ok then return v end
  return nil, why
end

function kinds.choice(v, option)
  local words = set_of(option.choices)
  if words[v] then return v end
  return nil, ("one of %s expected; did you mean '%s'?"):format(table.concat(option.choices, ", "), nearest(v, words))
end

function kinds.choices(v, option)
  local list = {}
  for word in (v .. ","):gmatch "([^,]*)," do
    local one, why = kinds.choice(word, option)
    if not one then return nil, why end
    list[one] = true
  end
  return list
end

local function take(parsed, option, value, as)
  if not option[3] then
    if value then return nil, ("option '%s' takes no value"):format(as) end
    parsed.opts[option[1]] = true
    return true
  end
  local v, why, as_shown = kinds[option.kind or "text"](value, option)
  if v == nil then return nil, ("option '%s': %s, got '%s'"):format(as, why, as_shown or shown(value)) end
  if option.many then
    local list = parsed.opts[option[1]] or {}
    list[#list + 1] = v
    v = list
  end
  parsed.opts[option[1]] = v
  return true
end

local function find(options, at, name)
  for _, option in ipairs(options) do
    if option[at] == name then return option end
  end
end

local function unknown(options, word)
  local words = {}
  for _, option in ipairs(options) do words["--" .. option[1]] = true end
  return nil, ("there is no option '%s'; did you mean '%s'?"):format(shown(word), nearest(word, words))
end

-- Parses the long option at argv[i]; returns the index of its last argument.
local function long_option(parsed, options, argv, i)
  local name, value = argv[i]:match "^%-%-([^=]+)=(.*)$"
  name = name or argv[i]:sub(3)
  local option = find(options, 1, name)
  if not option then return unknown(options, "--" .. name) end
  if option[3] and not value then
    i = i + 1
    value = argv[i]
    if not value then return nil, ("option '--%s': %s is missing"):format(name, option[3]) end
  end
  local ok, why = take(parsed, option, value, "--" .. name)
  if not ok then return nil, why end
  return i
end

-- The same for short options, several of which may stand together, the last one with its value: -qn4.
local function short_options(parsed, options, argv, i)
  local word, at = argv[i], 2
  while at <= #word do
    local letter = word:sub(at, at)
    local option, value = find(options, 2, letter), nil
    if not option then return unknown(options, "-" .. letter) end
    if option[3] then
      value, at = word:sub(at + 1), #word
      if value == "" then i, value = i + 1, argv[i + 1] end
      if not value then return nil, ("option '-%s': %s is missing"):format(letter, option[3]) end
    end
    local ok, why = take(parsed, option, value, "-" .. letter)
    if not ok then return nil, why end
    at = at + 1
  end
  return i
end

local function command_of(spec, word)
  local command = spec.find(word)
  if command then return command end
  return nil, ("there is no subcommand '%s'; did you mean '%s'?"):format(shown(word),
    nearest(word, set_of(spec.commands, "name")))
end

local function check_arguments(parsed)
  local command, args = parsed.command, parsed.args
  if parsed.opts.help then return true end
  if #args < command.min then return nil, ("usage: xmpp %s %s"):format(command.name, command.usage) end
  if #args > command.max then
    return nil, ("'%s' is one argument too many; usage: xmpp %s %s"):format(shown(args[command.max + 1]), command.name,
      command.usage)
  end
  local words = command.words and set_of(command.words, 1)
  if words and args[1] and not words[args[1]] then
    return nil, ("there is no '%s %s'; did you mean '%s'?"):format(command.name, shown(args[1]), nearest(args[1],
      words))
  end
  return true
end

local function rest_of(argv, first)
  local rest = {}
  for i = first, #argv do rest[#rest + 1] = argv[i] end
  return rest
end

-- `--version` and `--help` alone.
local ALONE = { ["--version"] = "version", ["--help"] = "help", ["-h"] = "help" }

--- Parses the arguments.
---@param argv string[]
---@param spec table
---@return { command: table, args: string[], opts: table<string, any>, rest: string[]? }? parsed
---@return string? why what is wrong with them
---@return table? the subcommand, if it was named before the error
function M.words(argv, spec)
  local parsed = { args = {}, opts = {} }
  if ALONE[argv[1]] and not argv[2] then
    return { command = spec.find "help", args = {}, opts = {}, version = ALONE[argv[1]] == "version" }
  end
  local i = 1
  while i <= #argv do
    local word, why = argv[i], nil
    local command = parsed.command
    if word == "--" and command then
      local rest = rest_of(argv, i + 1)
      if command.rest then parsed.rest = rest else for _, w in ipairs(rest) do table.insert(parsed.args, w) end end
      break
    elseif word:find "^%-%-." then
      i, why = long_option(parsed, spec.options(command), argv, i)
    elseif word:find "^%-." then
      i, why = short_options(parsed, spec.options(command), argv, i)
    elseif not command then
      parsed.command, why = command_of(spec, word)
      if why then i = nil end
    else
      parsed.args[#parsed.args + 1] = word
      if command.stops then
        for _, w in ipairs(rest_of(argv, i + 1)) do table.insert(parsed.args, w) end
        break
      end
    end
    if not i then return nil, why, command end
    i = i + 1
  end
  if not parsed.command then return nil, "a subcommand is missing" end
  local ok, why = check_arguments(parsed)
  if not ok then return nil, why, parsed.command end
  return parsed
end

return M
