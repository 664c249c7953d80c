-- context: the argument of a subcommand: its own arguments (ctx.args, ctx.opts, ctx.rest), the world, and functions
-- for output. All output goes through here, so that --json, -q, colours and the escaping of untrusted text are in one
-- place.
--
--   function M.run(ctx)
--     local conn, err = ctx:connect()
--     if not conn then return nil, err end
--     ctx:say("hello")
--     return 0
--   end

local escape = require "xmpp.cmd.escape"

local M = {}

local Context = {}
Context.__index = Context

local function wants_color(world, opts, fd)
  if opts.color then return opts.color == "always" end
  if world.env "NO_COLOR" or world.env "TERM" == "dumb" then return false end
  return world.is_tty(fd)
end

--- Writes one line to stdout, or the object with --json: a text, then its contents by name, in order.
---@param text string with untrusted parts escaped already
---@param object? { [1]: string, [2]: any }[]
function Context:say(text, object)
  if self.quiet then return end
  if self.json then
    if object then self.world.out(require "xmpp.cmd.json".line(object)) end
    return
  end
  self:clear_progress()
  self.world.out(text .. "\n")
end

--- Writes a line to stderr, unless -q is given.
function Context:note(text)
  if self.quiet then return end
  self:clear_progress()
  self.world.err("xmpp: " .. text .. "\n")
end

--- Reports an error about one of several recipients, after which the command continues: "bob@example.net: ...".
function Context:complain(whom, err)
  local _, text, fields = require "xmpp.cmd.exit".explain(err)
  self:clear_progress()
  if self.json then
    fields.to = whom
    return require "xmpp.cmd.output".write_error(self.world, fields)
  end
  self.world.err(("xmpp: %s: %s\n"):format(escape.line(whom), escape.line(text or "")))
end

--- A name in its colour (XEP-0392), escaped.
function Context:name(text)
  if not self.color then return escape.line(text) end
  return require "xmpp.cmd.output".colored(text)
end

--- A message as a line: "who: text", or "* who text" if it begins with "/me " (XEP-0245); `who` as it is shown.
function Context.says(_, who, text)
  local action = text:match "^/me (.*)$"
  if action then return ("* %s %s"):format(who, escape.lines(action, (" "):rep(9))) end
  return ("%s: %s"):format(who, escape.lines(text, (" "):rep(9)))
end

--- Emphasises a text: ink is an ANSI number ("1" bold, "2" faint, "31" red).
function Context:ink(ink, text)
  return self.color and ("\27[%sm%s\27[0m"):format(ink, text) or text
end

--- Shows the progress of a long operation, on a terminal.
---@param done number
---@param of number? the total; nil: unknown
function Context:progress(done, of, what)
  if not self.bars then return end
  self.drawn = require "xmpp.cmd.output".bar(self, done, of, what) or self.drawn
end

function Context:clear_progress()
  if not self.drawn then return end
  self.drawn = nil
  self.world.err "\r\27[K"
end

--- Connects to the account that was chosen: see session.lua.
function Context:connect(opts) return require "xmpp.cmd.session".connect(self, opts) end

--- Ends the command: closes the connection in order if it is still open.
function Context:close()
  self:clear_progress()
  local conn = self.conn
  self.conn = nil
  if conn and conn:state() ~= "closed" then conn:stop(5) end
end

function M.new(world, command, parsed)
  local opts = parsed.opts
  local ctx = { world = world, command = command, args = parsed.args, opts = opts, rest = parsed.rest,
    version = parsed.version, json = opts.json, quiet = opts.quiet, verbose = opts.verbose,
    timeout = opts.timeout or 30 }
  ctx.color = not opts.json and wants_color(world, opts, 1)
  ctx.bars = not opts.quiet and not opts.json and world.is_tty(2) and world.env "TERM" ~= "dumb"
  return setmetatable(ctx, Context)
end

return M
