-- archive: what was said before: messages of our account's archive, or of a room's (XEP-0313), by pages (XEP-0059), and
-- what the account's archive keeps (XEP-0441).
--
--   local archive = require "xmpp.archive"
--   local page = assert(archive.query(conn, { with = "bob@example.net", before = "" }))    -- the last 50
--   for _, m in ipairs(page) do print(m.stamp, m.from, m.text) end
--   for m in archive.each(conn, { from = yesterday }) do print(m.from, m.text) end
--   local last = archive.catch_up(conn, last_id, function(m) print(m.from, m.text) end)   -- what was missed
--
-- Whom it trusts: the archive that was asked, for what it says of itself. A result counts only if it comes from that
-- archive, with the id of our question, which nobody else knows, while that is being answered; of a room's archive only
-- what an occupant of that room has said to all. Any other result reaches nobody, once this module is used: archives
-- say nothing unasked, so it is a forgery (see ask.lua). What a message claims of others, that it corrects or takes
-- back one, is in m.claims and true only if both are by the same author, which nobody has compared.

local ask = require "xmpp.archive.ask"
local core = require "xmpp.load"
local data_form = require "xmpp.form"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local iq = require "xmpp.iq"
local prefs = require "xmpp.archive.prefs"
local source = require "xmpp.archive.source"
local time = require "xmpp.time"
local walk = require "xmpp.archive.walk"
local xexpr = require "xmpp.xexpr"

local M = { name = "archive", needs = { ask }, events = {} }

local PAGE, MOST = 50, 1000

-- What ask.lua knows nothing of.
M.taps = { { { name = "message", has = ask.MAM }, function(_, stanza)
  return xexpr.child(stanza, "result", ask.MAM) ~= nil or nil
end } }

--- Begins to drop what pretends to be from an archive; every other function of the module does so, too.
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

-- The fields of the form that bounds what is asked for (XEP-0313 4.1).
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

-- A function that asks for one page; nil, err: an address is none.
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

--- A page of what was said, oldest first: the first ones of those that are asked for; those behind the id `after`; or
--- those in front of the id `before` ("": the last ones). Ids are page.first and page.last, or m.archive_id. Bounds:
--- `with`, whom it was said to or by (bare: by all of its clients, XEP-0313 4.1.1); `from` and `to`, seconds since
--- 1970; `ids`, these messages alone, and `form`, fields for archives that know more (see archive.fields). A message is
--- as chat reads it, with archive_id, and m.stamp, when the archive got it; what has nothing in it for a person
--- (receipts, reactions) is left out, unless `all` is true: then each has m.stanza.
---@param conn xmpp.Conn
---@param opts? xmpp.ArchiveOpts
---@return xmpp.ArchivePage? page
---@return xmpp.Error? err condition "item-not-found": the id is no longer there. Nothing is asked for in its place
function M.query(conn, opts)
  opts = check(conn, opts, OF_QUERY, 2, "query")
  local page, err = asker(conn, opts, "query")
  if not page then return nil, err end
  local found, why = page { max = opts.max or PAGE, after = opts.after, before = opts.before }
  if not found then return nil, why end
  return found
end

--- All that is asked for, page by page: for m in archive.each(conn, opts) do ... end. Oldest first; with `before` ("":
--- from the end) newest first. One page is in memory. `max`: how many are asked for at once; `limit`: how many there
--- are to be. It raises nothing: when something fails it ends, gives nil, err to who calls the function himself, and
--- calls opts.err(err); called again it goes on where it was. (In a coroutine of Lua 5.1, where a `for` can't wait:
--- local next_one = archive.each(conn, opts); local m, err = next_one().)
---@param conn xmpp.Conn
---@param opts? xmpp.ArchiveEachOpts
---@return fun(): xmpp.ArchivedMessage?, xmpp.Error?
function M.each(conn, opts)
  opts = check(conn, opts, OF_EACH, 2, "each")
  local limit = opts.limit or math.huge
  local page, err = asker(conn, opts, "each")
  local pages = page and walk.new(page, { max = math.min(opts.max or PAGE, limit), after = opts.after,
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

--- The same by pages: a function that gives the next one; nil: there are no more; nil, err: called again it goes on
--- where it was. `since`: as `after`, the id of the last message that was had by the same query, and where the archive
--- doesn't have it any more that is an error, even if it says nothing (condition "item-not-found").
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
  if opts.since then return walk.since(page, opts.since, opts.max or PAGE) end
  local pages = walk.new(page, { max = opts.max or PAGE, after = opts.after, before = opts.before })
  return function() return pages:page() end
end

--- Calls f(m) for what was said since: behind the message of that id, or from that time on (seconds since 1970), oldest
--- first, each once: what the program has been told of, by xmpp.chat or by the room, is left out, and what it is told
--- of by this they don't tell again. f may wait.
---@param conn xmpp.Conn
---@param since string|number
---@param f fun(m: xmpp.ArchivedMessage)
---@param opts? { of: string|xmpp.Jid|nil, max: integer?, timeout: number?, as: string|xmpp.Jid|nil, lang: string?,
--- all: boolean? }
---@return string? last the id to catch up from the next time; nil: there is no such message yet
---@return xmpp.Error? err condition "item-not-found": the id is no longer there, and what was missed isn't known
---@return string? reached with an error: what has been told of ends here
function M.catch_up(conn, since, f, opts)
  opts = check(conn, opts, COMMON, 4, "catch_up")
  if type(since) ~= "number" then guard.check_type(since, "string", 2, "catch_up", 2) end
  guard.check_type(f, "function", 3, "catch_up", 2)
  opts = merged(opts) -- a copy
  local last
  if type(since) == "string" then last = since else opts.from = since end
  local page, from = asker(conn, opts, "catch_up")
  if not page then return nil, from, last end
  local next_page = walk.since(page, last, opts.max or PAGE)
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

-- What it is, and what it keeps

local ABOUT = { of = "jid", timeout = "number", as = "jid" }

local function put(conn, kind, payload, opts, fname)
  guard.check_conn(conn, fname, 3)
  opts = guard.check_opts(opts, ABOUT, fname == "prefs" and 3 or 2, fname, 3)
  local answer, stanza = iq[kind](conn, opts.of, payload, { timeout = opts.timeout, from = opts.as })
  return answer, stanza
end

--- What the archive keeps (XEP-0441): by default of all ("always"), of nobody ("never"), of contacts ("roster"), and
--- the addresses that are excepted. With `new` it is so from now on, as far as the server takes it.
---@param conn xmpp.Conn
---@param new? xmpp.ArchivePrefs
---@param opts? { timeout: number? }
---@return xmpp.ArchivePrefs? prefs what holds now
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

--- The first and the last message of an archive (XEP-0313 5, "extended"): { first = { id =, stamp = }, last = the
--- same }, without these where it is empty.
---@param conn xmpp.Conn
---@param opts? { of: string|xmpp.Jid|nil, timeout: number?, as: string|xmpp.Jid|nil }
---@return { first: table?, last: table? }?
---@return xmpp.Error?
function M.bounds(conn, opts)
  local x, stanza = put(conn, "get", { "metadata", { xmlns = ask.MAM } }, opts, "bounds")
  if x == nil then return nil, stanza end
  if x == true or x[1] ~= "metadata" then return iq.bad_format("metadata: missing", stanza) end
  return { first = bound_of(x, "start"), last = bound_of(x, "end") }
end

--- The form by which an archive may be asked (XEP-0313 4.1.5): its fields are for option `form` of query.
---@param conn xmpp.Conn
---@param opts? { of: string|xmpp.Jid|nil, timeout: number?, as: string|xmpp.Jid|nil }
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
