-- editor: how the console's lines are typed: with readline on a terminal, if lua-readline is installed; otherwise as
-- the terminal, or a file, provides them. An editor has the functions show (ask for a line), aside (write something in
-- between), cancel (give up the line), read (there is input), is_busy (something has been typed), remember (a line),
-- and stop.

local M = {}

local MOST_LINE = 1048576 -- bytes

-- lua-readline's handler_remove closes the stream that readline then writes to, unless readline is done with the line
-- already: so it is called only in the line's handler, and output in between draws the prompt itself.
local function readline_editor(self, RL)
  local editor, typed, shown, world = {}, 0, false, self.ctx.world
  local before, prompt = world.sys.terminal(0), "> "
  local function begin()
    typed = 0
    RL.handler_install(prompt, function(line)
      RL.handler_remove()
      shown = false
      if not line then world.out "\n" end
      self.lines[#self.lines + 1] = line or false
    end)
  end
  RL.set_options { histfile = "", completion = true }
  for _, line in ipairs(self.history) do RL.add_history(line) end
  RL.set_complete_function(self.complete)
  function editor.show()
    if shown then return end
    shown, prompt = true, self.begun and ">> " or "> "
    begin()
  end
  function editor.aside(write)
    if shown then world.out "\r\27[K" end
    write()
    if shown then world.out(prompt) end
  end
  -- lua-readline calls back in the coroutine that has installed its handler, even when that is dead and collected.
  -- `cancel` runs in a signal's coroutine, so the next `show`, on the main thread, installs the handler.
  function editor.cancel()
    world.out "\n"
    shown = false
  end
  function editor.stop()
    if not shown then return end
    world.out "\27[?2004l\r\27[K"
    world.sys.terminal(0, before)
  end
  function editor.read()
    typed = typed + 1
    RL.read_char()
  end
  function editor.is_busy() return shown and typed > 0 end
  function editor.remember(line) RL.add_history(line) end
  return editor
end

-- Lines as the terminal, or a file, provides them.
local function plain_editor(self)
  local editor, input = {}, self.ctx.world.input
  local prompts = self.ctx.world.is_tty(0)
  local shown = false
  local function prompt()
    if prompts then self.ctx.world.out(self.begun and ">> " or "> ") end
  end
  function editor.show()
    if not shown then prompt() end
    shown = true
  end
  function editor.aside(write)
    if prompts then self.ctx.world.out "\r\27[K" end
    write()
    prompt()
  end
  function editor.cancel()
    if prompts then self.ctx.world.out "\n" end
    prompt()
  end
  function editor.stop() end
  function editor.read()
    local more = input:more()
    shown = false
    while (input.buffer or ""):find("\n", 1, true) do self.lines[#self.lines + 1] = input:line(MOST_LINE) end
    if more then return end
    if input.buffer ~= "" then self.lines[#self.lines + 1] = input.buffer end
    self.lines[#self.lines + 1] = false
  end
  function editor.is_busy() return false end
  function editor.remember() end
  return editor
end

--- The right editor: readline's on a terminal, if lua-readline is installed.
---@param self table the console: ctx, history, begun (the lines of an incomplete chunk), lines (to which typed lines
--- are added, false: the end), complete (readline's function that completes names)
---@return table editor
function M.new(self)
  local found, RL = false, nil
  if self.ctx.world.is_tty(0) and self.ctx.world.is_tty(1) then found, RL = pcall(require, "readline") end
  if found then return readline_editor(self, RL) end
  return plain_editor(self)
end

return M
