-- xexpr: reading, building, comparing and printing stanzas, which are plain tables { name, attributes, child... }.
--
-- Called by programs; the library itself needs none of it, and it knows nothing of connections. No function changes
-- its arguments, and each raises an error at its caller's line for a value of the wrong type. But functions that only
-- read an element return nil for nil, so that a chain of optional children can be written in one line. Two terms: an
-- element's *own text* is its text children joined; its *namespace* is its own xmlns, else its parent's; for a
-- message, presence or iq at the top it is jabber:client.

local ascii = require "xmpp.ascii"
local core = require "xmpp.load"
local draw = require "xmpp.xexpr.draw"
local form = require "xmpp.xexpr.form"

---@class xmpp.xexpr
local M = {}

local is_element, parts, text_of, show, shape = form.is_element, form.parts, form.text_of, form.show, form.shape

local CLIENT = "jabber:client"
local STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"

local function set(words)
  local out = {}
  for word in words:gmatch "%S+" do out[word] = true end
  return out
end

local STANZA_NAME = set "message presence iq"
local STREAM_NS = set "jabber:client jabber:component:accept"
local ERROR_TYPE = set "auth cancel continue modify wait"
local ERROR_CONDITION = set [[
  bad-request conflict feature-not-implemented forbidden gone internal-server-error item-not-found jid-malformed
  not-acceptable not-allowed not-authorized policy-violation recipient-unavailable redirect registration-required
  remote-server-not-found remote-server-timeout resource-constraint service-unavailable subscription-required
  undefined-condition unexpected-request ]]

-- `level` counts as for error(), from here: 3 blames the caller of the function that found the fault, 4 that caller's
-- caller. A function that uses 4 must not be called by a tail call, which would remove a stack frame.
local function fail(level, n, fname, reason)
  error(("bad argument #%d to '%s' (%s)"):format(n, fname, reason), level)
end

-- Is it an element (true) or nil (false)? Raises an error for anything else.
local function is_there(v, fname)
  if v == nil then return false end
  if not is_element(v) then fail(4, 1, fname, "element expected, got " .. type(v)) end
  return true
end

local function need_string(v, n, fname)
  if type(v) ~= "string" then fail(4, n, fname, "string expected, got " .. type(v)) end
end

local function need_optional(kind, v, n, fname)
  if v ~= nil and type(v) ~= kind then fail(4, n, fname, kind .. " expected, got " .. type(v)) end
end

local function attribute(x, key)
  local attrs = parts(x)
  return attrs and text_of(attrs[key])
end

local function namespace(x, inherited) return attribute(x, "xmlns") or inherited end

-- The namespace of an element whose parent isn't known; nil if it can't be determined.
local function root_namespace(x) return namespace(x, STANZA_NAME[x[1]] and CLIENT or nil) end

-- The first child element from `slot` on, of that name if one is given, and its slot.
local function next_child(x, slot, name)
  for i = slot, #x do
    local v = x[i]
    local found = type(v) == "table" and v[1]
    if found and (found == name or name == nil and type(found) == "string") then return v, i end
  end
end

-- Returns nil if there is no text child at all.
local function own_text(x)
  local _, first = parts(x)
  if type(x[first]) == "string" and x[first + 1] == nil then return x[first] end -- most have no other child
  local run = {}
  for i = first, #x do run[#run + 1] = text_of(x[i]) end
  return run[1] and table.concat(run)
end

local function shaped(x, n, fname)
  if not is_element(x) then fail(4, n, fname, "element expected, got " .. type(x)) end
  local out, reason = shape(x, CLIENT)
  if not out then fail(4, n, fname, "element" .. reason) end
  return out
end

--- The element's name, without any prefix.
---@param x xmpp.Element?
---@return string?
function M.name(x)
  if not is_there(x, "name") then return nil end
  return x[1]
end

--- The value of attribute `key` ("to", "xml:lang", "{urn:example}local"); nil if it is absent. A number is returned as
--- the text that would be sent.
---@param x xmpp.Element?
---@param key string
---@return string?
function M.attr(x, key)
  local there = is_there(x, "attr")
  need_string(key, 2, "attr")
  if not there then return nil end
  return attribute(x, key)
end

-- Like next_child, but only in the namespace `xmlns` if that is given; `inherited` is the namespace of x.
local function next_child_in(x, slot, name, xmlns, inherited)
  local found
  repeat
    found, slot = next_child(x, slot, name)
    if not found or not xmlns or namespace(found, inherited) == xmlns then return found, slot end
    slot = slot + 1
  until false
end

--- The first child element of that name. With `xmlns` it must be in that namespace; without, it may be in any, which
--- suits a search for payloads. nil if there is none. A child without an xmlns of its own is in x's namespace.
---@param x xmpp.Element?
---@param name string
---@param xmlns? string
---@return xmpp.Element?
function M.child(x, name, xmlns)
  local there = is_there(x, "child")
  need_string(name, 2, "child")
  need_optional("string", xmlns, 3, "child")
  if not there then return nil end
  local _, first = parts(x)
  return (next_child_in(x, first, name, xmlns, root_namespace(x)))
end

--- Iterates over the child elements in order, skipping text: `for item in xexpr.children(query, "item") do`. Namespaces
--- as in `child`.
---@param x xmpp.Element? nil: no children
---@param name? string only children of this name
---@param xmlns? string only children in this namespace
---@return fun(): xmpp.Element?
function M.children(x, name, xmlns)
  local there = is_there(x, "children")
  need_optional("string", name, 2, "children")
  need_optional("string", xmlns, 3, "children")
  if not there then return function() end end
  local _, first = parts(x)
  local slot, inherited = first - 1, root_namespace(x)
  return function()
    local found
    found, slot = next_child_in(x, slot + 1, name, xmlns, inherited)
    slot = slot or #x
    return found
  end
end

-- A step of a path: its name and its namespace.
local function step_of(step)
  if type(step) == "table" then return step[1], step[2] end
  return step
end

local function need_step(step, n)
  local name, xmlns = step_of(step)
  if type(name) == "string" and (xmlns == nil or type(xmlns) == "string") then return end
  fail(4, n, "find", "name or { name, xmlns } expected, got " .. type(step))
end

-- The first element that steps[i..n] lead to, starting at x, which is in namespace `ns`.
local function follow(x, ns, steps, i, n)
  if i > n then return x end
  local name, xmlns = step_of(steps[i])
  local _, first = parts(x)
  local found, slot = next_child_in(x, first, name, xmlns, ns)
  while found do
    local last = follow(found, namespace(found, ns), steps, i + 1, n)
    if last then return last end
    found, slot = next_child_in(x, slot + 1, name, xmlns, ns)
  end
end

--- The first element at the end of a path of child names: `find(m, { "event", PUBSUB }, "items", "item")`. A step that
--- is only a name matches any namespace, as in `child`. If the rest of the path isn't found below one child, its next
--- sibling is tried. nil if there is no such path. Without steps: x.
---@param x xmpp.Element?
---@param ... string|{ [1]: string, [2]: string? } name, or { name, xmlns }
---@return xmpp.Element?
function M.find(x, ...)
  local there, n, steps = is_there(x, "find"), select("#", ...), { ... }
  for i = 1, n do need_step(steps[i], i + 1) end
  if not there then return nil end
  return follow(x, root_namespace(x), steps, 1, n)
end

-- How well a text in language `lang` suits a reader who wants `wanted`: 3 if they are the same, 2 if one is a prefix
-- of the other (RFC 4647 3.3.1, 3.4), 0 otherwise. Case-insensitive.
local function closeness(lang, wanted)
  lang, wanted = ascii.lower(lang), ascii.lower(wanted)
  if lang == wanted then return 3 end
  local short, long = lang, wanted
  if #short > #long then short, long = long, short end
  return short ~= "" and long:sub(1, #short + 1) == short .. "-" and 2 or 0
end

-- Chooses one of several children with the same name: the one in the wanted language, else the one without xml:lang,
-- else the one in the stanza's language, else the first (RFC 6121 5.2.3).
local function pick(x, name, xmlns, wanted)
  local _, first = parts(x)
  local found, slot = next_child(x, first, name)
  if not found then return nil end
  local inherited = root_namespace(x)
  xmlns = xmlns or inherited
  if not next_child(x, slot + 1, name) then return namespace(found, inherited) == xmlns and found or nil end
  local own, best, most = attribute(x, "xml:lang"), nil, nil
  while found do
    local lang = attribute(found, "xml:lang")
    local worth = not lang and 1 or own and closeness(lang, own) / 4 or 0
    if wanted then worth = worth + 4 * closeness(lang or own or "", wanted) end
    if namespace(found, inherited) == xmlns and (not most or worth > most) then best, most = found, worth end
    found, slot = next_child(x, slot + 1, name)
  end
  return best
end

--- The element's own text, "" if it has none; with `name` that of its child of this name, nil if there is no such
--- child. The child must be in the namespace `xmlns`, or, without it, in x's own, so that `<body xmlns='urn:x'/>` is
--- not mistaken for the message's body. Of several (RFC 6121 5.2.3) it is the one in `lang` ("de" also takes "de-AT",
--- and "de-AT" takes "de"), else the one without xml:lang, else the one in the language of x, else the first.
---@param x xmpp.Element?
---@param name? string
---@param xmlns? string
---@param lang? string
---@return string?
function M.text(x, name, xmlns, lang)
  local there = is_there(x, "text")
  need_optional("string", name, 2, "text")
  need_optional("string", xmlns, 3, "text")
  need_optional("string", lang, 4, "text")
  if not there then return nil end
  if name then x = pick(x, name, xmlns, lang) end
  return x and (own_text(x) or "")
end

--- Of several children with the same name the one that `text` reads: the element itself, if its attributes are needed.
---@param x xmpp.Element?
---@param name string
---@param xmlns? string
---@param lang? string
---@return xmpp.Element?
function M.pick(x, name, xmlns, lang)
  local there = is_there(x, "pick")
  need_string(name, 2, "pick")
  need_optional("string", xmlns, 3, "pick")
  need_optional("string", lang, 4, "pick")
  if not there then return nil end
  return (pick(x, name, xmlns, lang))
end

local function is_stanza(x)
  local xmlns = attribute(x, "xmlns")
  return STANZA_NAME[x[1]] ~= nil and (xmlns == nil or STREAM_NS[xmlns] ~= nil)
end

--- Is x a message, presence or iq of type "error"?
---@param x xmpp.Element?
---@return boolean? nil for nil
function M.is_error(x)
  if not is_there(x, "is_error") then return nil end
  return is_stanza(x) and attribute(x, "type") == "error"
end

-- The first child of the error in the namespace of conditions that isn't `<text/>`, and the first child in another
-- namespace.
local function conditions(e, ns)
  local _, first = parts(e)
  local condition, app
  local found, slot = next_child(e, first)
  while found do
    local theirs = namespace(found, ns)
    if theirs == STANZAS and found[1] ~= "text" then
      condition = condition or found[1]
    elseif theirs ~= STANZAS and theirs ~= ns then
      app = app or found[1]
    end
    found, slot = next_child(e, slot + 1)
  end
  return condition, app
end

--- What an error stanza says (RFC 6120 8.3); nil for any other stanza. Missing or unknown values become condition
--- "undefined-condition" and type "cancel".
---@param x xmpp.Element?
---@return xmpp.StanzaError?
function M.error(x)
  if not is_there(x, "error") or not M.is_error(x) then return nil end
  local ns = root_namespace(x)
  local _, first = parts(x)
  local e = next_child_in(x, first, "error", ns, ns)
  if not e then return { condition = "undefined-condition", type = "cancel" } end
  local condition, app = conditions(e, ns)
  local kind, text = attribute(e, "type"), pick(e, "text", STANZAS)
  return { condition = condition or "undefined-condition", type = ERROR_TYPE[kind] and kind or "cancel",
    text = text and own_text(text), app = app, by = attribute(e, "by") }
end

local function need_answerable(x, fname)
  if not is_element(x) then fail(4, 1, fname, "element expected, got " .. type(x)) end
  if not is_stanza(x) then fail(4, 1, fname, "message, presence or iq expected, got " .. show(x[1])) end
  local kind = attribute(x, "type")
  if kind == "error" then fail(4, 1, fname, "an error is never answered, RFC 6120 8.3.1") end
  if x[1] == "iq" and kind ~= "get" and kind ~= "set" then
    fail(4, 1, fname, "iq of type 'get' or 'set' expected, got " .. show(kind))
  end
end

-- The `from` of an answer. A component answers with the address that the request was sent to; a client sets none,
-- since its server knows its address, and may end the stream if a `from` doesn't match.
local function answerer(x)
  local to = attribute(x, "to")
  return to and core.is_components(to) and to or nil
end

local function copy(x)
  local out = {}
  for key, v in pairs(x) do out[key] = type(v) == "table" and copy(v) or v end
  return out
end

local LONGEST_THREAD = 1024 -- bytes of the text and the attributes of a thread that `reply` repeats

-- Is it no longer, and without elements in it?
local function is_short_thread(x)
  local n = 0
  for i = 2, #x do
    if is_element(x[i]) then return false end
    if type(x[i]) == "string" then n = n + #x[i] end
  end
  for key, value in pairs(type(x[2]) == "table" and x[2] or {}) do n = n + #tostring(key) + #tostring(value) end
  return n <= LONGEST_THREAD
end

local function has_child(list, name)
  for _, v in ipairs(list) do
    if is_element(v) and v[1] == name then return true end
  end
  return false
end

-- Appends the children. The first of them is argument number n of `reply`.
local function add_children(out, n, ...)
  for i = 1, select("#", ...) do
    local v = (select(i, ...))
    if not is_element(v) and not text_of(v) then
      fail(4, n + i - 1, "reply", "element or text expected, got " .. type(v))
    end
    out[#out + 1] = v
  end
end

--- A new stanza that answers x and goes to its sender; the further arguments become its children. If the first of them
--- is a table without a name, it holds attributes to set: `reply(x, { id = xmpp.id() }, { "body", "Hi" })`. An iq get
--- or set is answered by a result with the same id. A message keeps its type and its thread (of up to 1024 bytes), and
--- one of type groupchat goes to the room's bare JID. A presence gets no type, since only you can decide on
--- "subscribed". Neither keeps the id, which was chosen by the sender. `from` is set only if x was sent to an address
--- of a component of this program. Raises an error for an error stanza and for an iq that is not a request.
---@param x xmpp.Element
---@param ... xmpp.Attributes|xmpp.Child
---@return xmpp.Element
function M.reply(x, ...)
  need_answerable(x, "reply")
  local is_iq, kind = x[1] == "iq", attribute(x, "type")
  local to = attribute(x, "from")
  if kind == "groupchat" and to then to = to:match "^[^/]*" end
  local out = { x[1], { to = to, from = answerer(x), id = is_iq and attribute(x, "id") or nil,
    type = is_iq and "result" or x[1] == "message" and kind or nil } }
  local attrs = ...
  if type(attrs) == "table" and attrs[1] == nil then
    for key, v in pairs(attrs) do out[2][key] = v end
    add_children(out, 3, select(2, ...))
  else
    add_children(out, 2, ...)
  end
  local thread = x[1] == "message" and pick(x, "thread")
  if thread and is_short_thread(thread) and not has_child(out, "thread") then out[#out + 1] = copy(thread) end
  return out
end

--- A new error stanza that answers x, with its id (RFC 6120 8.3). Raises an error where `reply` does, and for a type
--- or condition that the RFC doesn't define.
---@param x xmpp.Element
---@param type xmpp.StanzaErrorType what the other side can do about it
---@param condition xmpp.StanzaErrorCondition
---@param text? string for a person to read
---@param lang? string the text's language (that of the stream)
---@return xmpp.Element
function M.error_reply(x, type, condition, text, lang)
  need_answerable(x, "error_reply")
  need_string(type, 2, "error_reply")
  need_string(condition, 3, "error_reply")
  need_optional("string", text, 4, "error_reply")
  need_optional("string", lang, 5, "error_reply")
  if not ERROR_TYPE[type] then
    fail(3, 2, "error_reply", "auth, cancel, continue, modify or wait expected, got " .. show(type))
  end
  if not ERROR_CONDITION[condition] then
    fail(3, 3, "error_reply", "condition of RFC 6120 8.3.3 expected, got " .. show(condition))
  end
  local out = { x[1], { type = "error", id = attribute(x, "id"), to = attribute(x, "from"), from = answerer(x) } }
  out[3] = { "error", { type = type }, { condition, { xmlns = STANZAS } } }
  if text then out[3][4] = { "text", { xmlns = STANZAS, ["xml:lang"] = lang }, text } end
  return out
end

-- A private copy of a pattern: { name, xmlns, text, attrs, children }. What is absent matches anything.
local function compile(x)
  local attrs, first = parts(x)
  local p = { name = x[1], xmlns = attribute(x, "xmlns"), text = own_text(x), attrs = {}, children = {} }
  for key, v in pairs(attrs or {}) do
    if key ~= "xmlns" then p.attrs[key] = text_of(v) end
  end
  for i = first, #x do
    if type(x[i]) == "table" then p.children[#p.children + 1] = compile(x[i]) end
  end
  return p
end

-- One step of Kuhn's bipartite matching: finds a separate child for pattern `p`, reassigning other patterns if
-- necessary.
local function place(p, choices, owner, tried)
  for _, slot in ipairs(choices[p]) do
    if not tried[slot] then
      tried[slot] = true
      if not owner[slot] or place(owner[slot], choices, owner, tried) then
        owner[slot] = p
        return true
      end
    end
  end
  return false
end

local fits

-- The slots of the children of x, an element in namespace `ns`, that match.
local function choices_for(pattern, x, first, ns)
  local out = {}
  local found, slot = next_child(x, first, pattern.name)
  while found do
    if fits(pattern, found, ns) then out[#out + 1] = slot end
    found, slot = next_child(x, slot + 1, pattern.name)
  end
  return out
end

local function fits_children(patterns, x, ns)
  local _, first = parts(x)
  local choices, owner = {}, {}
  for p, pattern in ipairs(patterns) do
    choices[p] = choices_for(pattern, x, first, ns)
    if not place(p, choices, owner, {}) then return false end
  end
  return true
end

function fits(pattern, x, inherited)
  local ns = namespace(x, inherited)
  if x[1] ~= pattern.name or (pattern.xmlns and pattern.xmlns ~= ns) then return false end
  for key, v in pairs(pattern.attrs) do
    if attribute(x, key) ~= v then return false end
  end
  if pattern.text and pattern.text ~= (own_text(x) or "") then return false end
  return fits_children(pattern.children, x, ns)
end

--- A predicate made from a pattern, which is an element. The name must be equal; attributes in the pattern must be
--- equal (`xmlns` is compared with the namespace, inherited or not); own text in the pattern must be equal (""
--- requires that there is none); and each child in the pattern must match a separate child, in any order. What the
--- pattern doesn't mention may be anything. The predicate is false for a value that isn't an element, and is not
--- affected by later changes of the pattern.
---@param pattern xmpp.Element
---@return fun(x: any): boolean
function M.match(pattern)
  shaped(pattern, 1, "match")
  local compiled = compile(pattern)
  return function(x) return is_element(x) and fits(compiled, x, root_namespace(x)) end
end

--- A new table in the form in which stanzas are received: attributes always present, adjacent texts joined, empty ones
--- left out, numbers as text, an xmlns only where it differs from the parent's (at the top: from jabber:client).
--- Raises an error with the path to what can't be in an element: "element[3][2].to: string expected, got boolean".
---@param x xmpp.Element
---@return xmpp.Element
function M.canonical(x)
  return (shaped(x, 1, "canonical"))
end

local function same_attributes(a, b)
  for key, v in pairs(a) do
    if b[key] ~= v then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

local function same(a, b)
  if type(a) == "string" or type(b) == "string" then return a == b end
  if a[1] ~= b[1] or #a ~= #b or not same_attributes(a[2], b[2]) then return false end
  for i = 3, #a do
    if not same(a[i], b[i]) then return false end
  end
  return true
end

--- Do a and b have the same canonical form? Raises an error for a value that has none.
---@param a xmpp.Element
---@param b xmpp.Element
---@return boolean
function M.equal(a, b)
  return same(shaped(a, 1, "equal"), shaped(b, 2, "equal"))
end

--- x as indented XML for people, complete and well-formed, without a line break at its end. White space is added only
--- where there is no text next to it; `xmlns` comes first, the other attributes in the order of their names.
---@param x xmpp.Element
---@param opts? { color?: boolean } color (false): ANSI colours, for terminals
---@return string
function M.pretty(x, opts)
  local whole = shaped(x, 1, "pretty")
  need_optional("table", opts, 2, "pretty")
  for key in pairs(opts or {}) do
    if key ~= "color" then fail(3, 2, "pretty", "option 'color' expected, got " .. show(key)) end
  end
  return draw(whole, opts and opts.color)
end

local codec

-- A separate instance of cjson, so that its settings don't affect other users.
local function load_json()
  local found, cjson = pcall(require, "cjson")
  if not found then
    error("xmpp.xexpr: JSON needs lua-cjson (luarocks install lua-cjson, or apt-get install lua-cjson)", 3)
  end
  codec = cjson.new()
  codec.decode_invalid_numbers(false)
end

--- The canonical form of x as a JSON array: `["iq",{"type":"get"},["ping",{"xmlns":"urn:xmpp:ping"}]]`. Needs
--- lua-cjson.
---@param x xmpp.Element
---@return string
function M.to_json(x)
  local whole = shaped(x, 1, "to_json")
  if not codec then load_json() end
  return codec.encode(whole)
end

-- JSON has only one type of number: integral values become integers. Changes v, which the decoder has just made.
local function integers(v)
  if type(v) == "number" and v % 1 == 0 and v > -2 ^ 53 and v < 2 ^ 53 then return ("%.0f"):format(v) end
  if type(v) ~= "table" then return v end
  for key, inner in pairs(v) do v[key] = integers(inner) end
  return v
end

local function bad_json(condition, text)
  return nil, core.error { layer = "stanza", condition = condition, text = text, retry = false }
end

--- The element that `s`, in the form that `to_json` writes, contains, in canonical form. nil and an error (layer
--- "stanza") if `s` isn't JSON ("not-well-formed") or isn't an element ("bad-format"; its text names the path). Needs
--- lua-cjson.
---@param s string
---@return xmpp.Element?
---@return xmpp.Error?
function M.from_json(s)
  need_string(s, 1, "from_json")
  if not codec then load_json() end
  local decoded, v = pcall(codec.decode, s)
  if not decoded then return bad_json("not-well-formed", "no JSON: " .. tostring(v)) end
  if type(v) ~= "table" then return bad_json("bad-format", "a JSON array expected, got " .. type(v)) end
  local x, reason = shape(integers(v), CLIENT)
  if not x then return bad_json("bad-format", "element" .. reason:gsub("userdata$", "null")) end
  return x
end

for name, f in pairs(require "xmpp.xexpr.who") do M[name] = f end

--- x as XML, as a connection would write it. Raises an error with the path to what can't be written.
---@type fun(x: xmpp.Element): string
M.to_xml = core.to_xml

--- The single element that `s` contains, in canonical form; nil and an error if it is not well-formed, or contains
--- what XMPP forbids (RFC 6120 11.1).
---@type fun(s: string): xmpp.Element?, xmpp.Error?
M.from_xml = core.from_xml

return M
