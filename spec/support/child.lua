-- Starts the helper programs of the specs, each a process that ends when its pipe is closed or this process is gone.
local child = {}

child.folder = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "spec/support"

local function quoted(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

-- child.open(program, arguments) -> a pipe to read what the program in this folder prints.
-- The program does not inherit LD_PRELOAD: a sanitizer preloaded for the library would check Python as well.
function child.open(program, arguments)
  local words = { "exec env -u LD_PRELOAD", quoted(child.folder .. "/" .. program) }
  for _, word in ipairs(arguments) do words[#words + 1] = quoted(word) end
  return assert(io.popen(table.concat(words, " "), "r"))
end

local had = {} -- the ports of all programs so far

-- Are these ports that no program had before? The library remembers a server by its address, so each needs a new one.
function child.are_new(...)
  local new = true
  for _, port in ipairs { ... } do
    port = tonumber(port)
    new, had[port] = new and not had[port], true
  end
  return new
end

-- Called when a server is started under the same domain as others before it: has the library forget what it knows of
-- the accounts there (that their logins used channel binding). Not for a man in the middle (middle.py), whom it must
-- detect.
function child.is_another()
  local xmpp = package.loaded.xmpp
  if xmpp then xmpp.forget() end
end

-- child.serve(program, arguments) -> a pipe and its variables, of which PORT is new; no variables when it has ended.
function child.serve(program, arguments)
  local pipe = child.open(program, arguments)
  local v = child.variables(pipe)
  if not v or child.are_new(v.PORT) then return pipe, v end
  local other, found = child.serve(program, arguments) -- while this one still has its port
  pipe:close()
  return other, found
end

-- child.variables(pipe) -> a table of the KEY=VALUE lines up to the next empty line, or nil when the program has ended.
function child.variables(pipe)
  local found = {}
  for line in pipe:lines() do
    if line == "" then return found end
    local key, value = line:match("^([^=]+)=(.*)$")
    found[key] = value
  end
end

return child
