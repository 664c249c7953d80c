-- archive: earlier messages from our account's archive or a room's (XEP-0313), in pages (XEP-0059), and the archiving
-- preferences of the account (XEP-0441).
--
--   local archive = require "xmpp.archive"
--   local page = assert(archive.query(conn, { with = "bob@example.net", before = "" }))    -- the last 50
--   for _, m in ipairs(page) do print(m.stamp, m.from, m.text) end
--   for m in archive.each(conn, { from = yesterday }) do print(m.from, m.text) end
--   local last = archive.catch_up(conn, last_id, function(m) print(m.from, m.text) end)   -- what was missed
--
-- Who is trusted: the archive that was asked, for its own contents. A result counts only if it comes from that
-- archive, with the id of our query, which nobody else knows, while the query is in progress; from a room's archive
-- only groupchat messages of that room's occupants. While this module is in use, any other result is dropped: archives
-- send none unasked, so it is forged (see ask.lua). If a message corrects or retracts another one, m.claims says so;
-- that is valid only if both have the same author, which is not checked here.

local ask = require "xmpp.archive.ask"
local core = require "xmpp.load"
local data_form = require "xmpp.form"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local prefs = require "xmpp.archive.prefs"
local source = require "xmpp.archive.source"
local time = require "xmpp.time"
local pager = require "xmpp.archive.pager"
local xexpr = require "xmpp.xexpr"

local M = { name = "archive", needs = { ask }, events = {} }

local PAGE, MOST = 50, 1000

-- Results that ask.lua doesn't expect.
M.taps = { { { name = "message", has = ask.MAM }, function(_, stanza)
  return xexpr.child(stanza, "result", ask.MAM) ~= nil or nil
end } }

--- Begins to drop forged archive results. All other functions of the module do so as well.
---@param conn xmpp.Conn
---@return table? st
---@return xmpp.Error? err layer "closed"
function M.use(conn)
  return ext.use(conn, M, nil, 2)
end

function M.start(_, _, opts)
  local name = next(opts)
  if name ~= nil then error(("there is no option '%s'"):format(core.shown(tostring(name))), 0) end
end

-- Asking

local COMMON = { of = "jid", max = "number", timeout = "number", as = "jid", lang = "string", all = "boolean" }
local QUERY = { with = "jid", from = "number", to = "number", after = "string", before = "string", ids = "table",
  form = "table" }
local PAGES = { since = "string" }
local EACH = { limit = "number", err = "function" }

local function merged(...)
  local out = {}
  for _, options in ipairs { ... } do
    for name, kind in pairs(options) do out[name] = kind end
  end
  return out
end

local OF_QUERY, OF_PAGES, OF_EACH = merged(COMMON, QUERY), merged(COMMON, QUERY, PAGES), merged(COMMON, QUERY, EACH)

local function check_whole(opts, name, most, fname, level)
  local n = opts[name]
  if n == nil or n >= 1 and n <= most and n % 1 == 0 then return end
  error(("bad option '%s' of '%s' (%s expected)"):format(name, fname,
    most == MOST and "1 to 1,000" or "a whole number from 1 on"), level + 1)
end

local function check(conn, opts, options, position, fname)
  guard.check_conn(conn, fname, 3)
  opts = guard.check_opts(opts, options, position, fname, 3)
  check_whole(opts, "max", MOST, fname, 3)
  check_whole(opts, "limit", math.huge, fname, 3)
  if opts.before and opts.after then
    error(("options 'before' and 'after' of '%s' exclude one another"):format(fname), 3)
  end
  return opts
end

-- The fields of the query form (XEP-0313 4.1).
local function fields_of(opts, fname)
  local out = {}
  for name, v in pairs(opts.form or {}) do out[name] = v end
  local with, bad
  if opts.with then with, bad = core.jid(opts.with) end
  if bad then return nil, bad end
  out.with, out.ids = with and tostring(with) or out.with, opts.ids or out.ids
  out.start, out["end"] = opts.from and time.format(opts.from) or out.start, opts.to and time.format(opts.to) or
    out["end"]
  local ok, why = pcall(data_form.submit, ask.MAM, out)
  if not ok then error(("bad option 'form' of '%s' (%s)"):format(fname, (tostring(why):gsub("^.-:%d+: ", ""))), 4) end
  return out
end

-- A function that requests one page; nil, err if an address is invalid.
local function asker(conn, opts, fname)
  local from, bad = source.of(conn, opts, fname, 3)
  if not from then return nil, bad end
  local fields, why = fields_of(opts, fname)
  if not fields then return nil, why end
  local used, closed = ext.use(conn, M)
  if not used then return nil, closed end
  local function page(set)
    return ask.page(conn, { at = from.at, read = from.read, wait = from.wait, fields = fields, set = set,
      timeout = opts.timeout, as = opts.as })
  end
  return page, from
end

--- Fetches a page of an archive, oldest message first: the first matching ones, those after the id `after`, or those
--- before the id `before` ("": the last ones). Ids are page.first, page.last, or m.archive_id. Messages are as
--- xmpp.chat parses them, with archive_id and with m.stamp, the time when the archive received them. Messages without
--- text for a person, such as receipts and reactions, are left out unless `all` is true; then each message has
--- m.stanza.
---@param conn xmpp.Conn
---@param opts? xmpp.ArchiveOpts
---@return xmpp.ArchivePage? page
---@return xmpp.Error? err condition "item-not-found" if the id is no longer in the archive; no other page is returned
--- in its place
function M.query(conn, opts)
  opts = check(conn, opts, OF_QUERY, 2, "query")
  local page, err = asker(conn, opts, "query")
  if not page then return nil, err end
  local found, why = page { max = opts.max or PAGE, after = opts.after, before = opts.before }
  if not found then return nil, why end
  return found
end

--- Iterates over everything that matches, page by page: for m in archive.each(conn, opts) do ... end. Oldest first;
--- with `before` ("": from the end) newest first. One page is in memory at a time. It raises no error: if something
--- fails, the loop ends, and opts.err(err) is called; a direct call of the function returns nil and the error, and may
--- be repeated to continue. (In a coroutine of Lua 5.1 a `for` cannot wait: call the function yourself.)
---@param conn xmpp.Conn
---@param opts? xmpp.ArchiveEachOpts
---@return fun(): xmpp.ArchivedMessage?, xmpp.Error?
function M.each(conn, opts)
  opts = check(conn, opts, OF_EACH, 2, "each")
  local limit = opts.limit or math.huge
  local page, err = asker(conn, opts, "each")
  local pages = page and pager.new(page, { max = math.min(opts.max or PAGE, limit), after = opts.after,
    before = opts.before })
  local now, at, n = {}, 0, 0
  local function failed(why)
    if why and opts.err then opts.err(why) end
    return nil, why
  end
  return function()
    if not pages then return failed(err) end
    if n >= limit then return nil end
    while at >= #now do
      local more, why = pages:page()
      if not more then return failed(why) end
      now, at = more, 0
    end
    at, n = at + 1, n + 1
    return now[opts.before and #now - at + 1 or at]
  end
end

--- Returns a function that returns the next page each time; nil if there are no more; nil and an error if it failed,
--- after which it may be called again to continue. `since` is like `after`, the id of the last message that an
--- identical query returned; if the archive no longer has it, that is an error even if the archive does not report one
--- (condition "item-not-found").
---@param conn xmpp.Conn
---@param opts? xmpp.ArchivePagesOpts
---@return fun(): xmpp.ArchivePage?, xmpp.Error?
function M.pages(conn, opts)
  opts = check(conn, opts, OF_PAGES, 2, "pages")
  if opts.since and (opts.after or opts.before) then
    error("options 'since', 'after' and 'before' of 'pages' exclude one another", 2)
  end
  local page, err = asker(conn, opts, "pages")
  if not page then return function() return nil, err end end
  if opts.since then return pager.since(page, opts.since, opts.max or PAGE) end
  local pages = pager.new(page, { max = opts.max or PAGE, after = opts.after, before = opts.before })
  return function() return pages:page() end
end

--- Calls `f(m)` for missed messages: those after the message with that id, or after a time (seconds since 1970),
--- oldest first, each once. Messages that xmpp.chat or the room has already reported are left out, and those that are
--- passed to `f` are not reported by them later. `f` may wait.
---@param conn xmpp.Conn
---@param since string|number
---@param f fun(m: xmpp.ArchivedMessage)
---@param opts? { of: string|xmpp.Jid|nil, max: integer?, timeout: number?, as: string|xmpp.Jid|nil, lang: string?,
--- all: boolean? } of: whose archive, for example a room's (our account's); max: size of a page; timeout: seconds for
--- each; as: the address of a component that sends the query; lang: the preferred language; all: include messages
--- without text for a person
---@return string? last the id to catch up from the next time; nil if there is no message yet
---@return xmpp.Error? err condition "item-not-found" if the id is no longer in the archive: then it is unknown what
--- was missed
---@return string? reached with an error: the id up to which `f` was called
function M.catch_up(conn, since, f, opts)
  opts = check(conn, opts, COMMON, 4, "catch_up")
  if type(since) ~= "number" then guard.check_type(since, "string", 2, "catch_up", 2) end
  guard.check_type(f, "function", 3, "catch_up", 2)
  opts = merged(opts) -- a copy
  local last
  if type(since) == "string" then last = since else opts.from = since end
  local page, from = asker(conn, opts, "catch_up")
  if not page then return nil, from, last end
  local next_page = pager.since(page, last, opts.max or PAGE)
  while true do
    local found, err = next_page()
    if err then return nil, err, last end
    if not found then return last end
    for _, m in ipairs(found) do
      if not from.told(m) then f(m) end
      last = m.archive_id
    end
    last = found.last or last
  end
end

-- The archive itself, and its preferences

local ABOUT = { of = "jid", timeout = "number", as = "jid" }

local function put(conn, kind, payload, opts, fname)
  guard.check_conn(conn, fname, 3)
  opts = guard.check_opts(opts, ABOUT, fname == "prefs" and 3 or 2, fname, 3)
  local answer, stanza = iq[kind](conn, opts.of, payload, { timeout = opts.timeout, from = opts.as })
  return answer, stanza
end

--- Returns the archiving preferences of the account (XEP-0441): whether messages of everybody ("always"), of nobody
--- ("never") or of contacts ("roster") are archived, and the addresses for which this differs. With `new` they are
--- changed, as far as the server agrees.
---@param conn xmpp.Conn
---@param new? xmpp.ArchivePrefs
---@param opts? { timeout: number? }
---@return xmpp.ArchivePrefs? prefs the ones in effect now
---@return xmpp.Error?
function M.prefs(conn, new, opts)
  if new ~= nil then guard.check_type(new, "table", 2, "prefs", 2) end
  local payload, why = prefs.element(new, "prefs", 2)
  if not payload then return nil, why end
  local answer, stanza = put(conn, new and "set" or "get", payload, opts, "prefs")
  if answer == nil then return nil, stanza end
  return prefs.read(answer, stanza)
end

local function bound_of(x, name)
  local bound = xexpr.child(x, name, ask.MAM)
  return bound and { id = xexpr.attr(bound, "id"), stamp = time.parse(xexpr.attr(bound, "timestamp")) } or nil
end

--- Returns the first and the last message of an archive: { first = { id =, stamp = }, last = ... }; without these if it
--- is empty (XEP-0313 5, "extended").
---@param conn xmpp.Conn
---@param opts? { of: string|xmpp.Jid|nil, timeout: number?, as: string|xmpp.Jid|nil } of: whose archive, for example a
--- room's; timeout: seconds; as: the address of a component that sends the query
---@return { first: table?, last: table? }?
---@return xmpp.Error?
function M.bounds(conn, opts)
  local x, stanza = put(conn, "get", { "metadata", { xmlns = ask.MAM } }, opts, "bounds")
  if x == nil then return nil, stanza end
  if x == true or x[1] ~= "metadata" then return iq.bad_format("metadata: missing", stanza) end
  return { first = bound_of(x, "start"), last = bound_of(x, "end") }
end

--- Returns the query form of an archive (XEP-0313 4.1.5). Its fields are for the option `form` of `query`.
---@param conn xmpp.Conn
---@param opts? { of: string|xmpp.Jid|nil, timeout: number?, as: string|xmpp.Jid|nil } of: whose archive, for example a
--- room's; timeout: seconds; as: the address of a component that sends the query
---@return xmpp.Form?
---@return xmpp.Error?
function M.fields(conn, opts)
  local x, stanza = put(conn, "get", { "query", { xmlns = ask.MAM } }, opts, "fields")
  if x == nil then return nil, stanza end
  local form = x ~= true and xexpr.child(x, "x", data_form.DATA)
  if not form then return iq.bad_format("query.x: missing", stanza) end
  return data_form.parse(form)
end

return M
