-- words: the elements of ad-hoc commands (XEP-0050), built and parsed. For xmpp.command.

local core = require "xmpp.load"
local guard = require "xmpp.guard"
local xexpr = require "xmpp.xexpr"

local M = { COMMANDS = "http://jabber.org/protocol/commands" }

local NOTES = { info = true, warn = true, error = true }
local STATUS = { executing = true, completed = true, canceled = true }
local ACTIONS = { "prev", "next", "complete" }

M.NOTES = NOTES

local function add(x, list)
  for _, child in ipairs(list or {}) do x[#x + 1] = child end
  return x
end

--- The answer to a step: the actions that are possible next (nil: it is over), what it shows, and its notes.
---@param session { node: string, id: string, lang: string? }
---@param status "executing"|"completed"|"canceled"
---@param o? { back: boolean?, payload: xmpp.Element?, notes: { kind: string, text: string }[]? } back: going back is
--- possible
---@return xmpp.Element
function M.answer(session, status, o)
  o = o or {}
  local x = { "command", { xmlns = M.COMMANDS, node = session.node, sessionid = session.id, status = status,
    ["xml:lang"] = session.lang } }
  if status == "executing" then
    x[3] = { "actions", { execute = "next" }, { "next" } }
    if o.back then table.insert(x[3], 3, { "prev" }) end
  end
  add(x, { o.payload })
  for _, note in ipairs(o.notes or {}) do x[#x + 1] = { "note", { type = note.kind }, note.text } end
  return x
end

--- The request for a step.
---@param node string
---@param o { session: string?, action: string?, payload: xmpp.Element?, lang: string? }
---@return xmpp.Element
function M.request(node, o)
  return add({ "command", { xmlns = M.COMMANDS, node = node, sessionid = o.session, action = o.action,
    ["xml:lang"] = o.lang } }, { o.payload })
end

--- A command-specific condition (XEP-0050 4.4), for a stanza error.
function M.condition(name) return { name, { xmlns = M.COMMANDS } } end

-- The notes; an unknown type counts as "info" (XEP-0050 4.3).
local function notes_of(x)
  local out = {}
  for note in xexpr.children(x, "note", M.COMMANDS) do
    local kind = xexpr.attr(note, "type")
    out[#out + 1] = { kind = NOTES[kind] and kind or "info", text = xexpr.text(note) }
  end
  return out
end

-- The actions that the step allows, in our own order, and the default one (XEP-0050 3.4): without `<actions/>` only
-- "complete".
local function actions_of(x)
  local actions = xexpr.child(x, "actions", M.COMMANDS)
  if not actions then return { "complete", default = "complete" } end
  local out, known = {}, {}
  for _, name in ipairs(ACTIONS) do
    local child = xexpr.child(actions, name)
    if child and (xexpr.attr(child, "xmlns") or M.COMMANDS) == M.COMMANDS then
      out[#out + 1], known[name] = name, true
    end
  end
  local default = xexpr.attr(actions, "execute")
  if not known[default or ""] then
    default = known.next and "next" or known.complete and "complete" or "execute"
  end
  out.default = default
  return out
end

--- Parses a service's answer to a step; nil and a reason if it is malformed.
---@param x xmpp.Element|true
---@param node string the node that was requested
---@param session string? of the step before
---@return { status: string, session: string?, notes: table[], actions: table, element: xmpp.Element }?
---@return string?
function M.read(x, node, session)
  if x == true or x[1] ~= "command" or xexpr.attr(x, "xmlns") ~= M.COMMANDS then return nil, "command: missing" end
  local status, id = xexpr.attr(x, "status"), xexpr.attr(x, "sessionid")
  if (xexpr.attr(x, "node") or node) ~= node then return nil, "command.node: another one was asked for" end
  if not STATUS[status] then return nil, "command.status: executing, completed or canceled expected" end
  if session and id and id ~= session then return nil, "command.sessionid: this is another session" end
  if status == "executing" and not (id or session) then return nil, "command.sessionid: missing" end
  return { status = status, session = id or session, notes = notes_of(x), actions = actions_of(x), element = x }
end

--- The texts of notes as one, nil: there are none.
function M.text(notes)
  local lines = {}
  for i, note in ipairs(notes) do lines[i] = note.text end
  return lines[1] and table.concat(lines, "\n")
end

--- Raises an error unless that is valid as a command's node: it is an attribute, and appears in error texts.
function M.check_node(node, position, fname, level)
  guard.check_text(node, position, fname, level + 1)
  if node == "" or node == M.COMMANDS then
    error(("bad argument #%d to '%s' ('%s' can't be a command's node)"):format(position, fname, core.shown(node)),
      level + 1)
  end
end

return M
