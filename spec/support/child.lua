-- Starts the helper programs of the specs, each a process that ends when its pipe is closed or this process is gone.
local child = {}

child.folder = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "spec/support"

local function quoted(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

-- child.open(program, arguments) -> a pipe to read what the program in this folder prints.
-- It does not inherit LD_PRELOAD: a sanitizer that was preloaded for the library would judge Python as well.
function child.open(program, arguments)
  local words = { "exec env -u LD_PRELOAD", quoted(child.folder .. "/" .. program) }
  for _, word in ipairs(arguments) do words[#words + 1] = quoted(word) end
  return assert(io.popen(table.concat(words, " "), "r"))
end

-- child.variables(pipe) -> a table of the KEY=VALUE lines up to the next empty line, or nil when the program ended.
function child.variables(pipe)
  local found = {}
  for line in pipe:lines() do
    if line == "" then return found end
    local key, value = line:match("^([^=]+)=(.*)$")
    found[key] = value
  end
end

return child
