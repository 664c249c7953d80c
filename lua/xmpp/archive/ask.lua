-- ask: one question to an archive (XEP-0313 4), and the results that belong to its answer. Used by xmpp.archive and by
-- the rooms of xmpp.muc; an extension of its own, since both need the tap.
--
--   local page = ask.page(conn, { set = { max = 50, before = "" }, read = function(x, id, stanza) return ... end })
--   page = ask.page(conn, { at = "tea@rooms.example.net", fields = { start = ... }, set = { max = 50 }, read = f })
--
-- Whom it trusts: the archive that was asked, for what it answers as long as the question lasts. A result counts if it
-- comes from that archive (our own account's: without an address, or from our bare one; another's: from its bare
-- address), with the id of the question, which nobody else knows, and before the answer that ends it. What a result
-- holds is for read(x, id, stanza), which gives a message, or nil; a result that isn't read counts all the same.
--
-- A page that was under way when the session was lost is asked for once more in the new one, from its beginning: what
-- had come of it until then is forgotten.

local core = require "xmpp.load"
local data_form = require "xmpp.form"
local ext = require "xmpp.ext"
local iq = require "xmpp.iq"
local rsm = require "xmpp.rsm"
local spelling = require "xmpp.spelling"
local xexpr = require "xmpp.xexpr"

local M = { name = "archive.ask", events = {} }

M.MAM = "urn:xmpp:mam:2"

local LONGEST_ID = 1024
local MOST_TRIES = 5 -- sessions in which one page is asked for

-- Hearing

local function is_from(query, stanza, conn)
  if not query.at then return xexpr.from_account(stanza, conn) end
  local from = core.jid(xexpr.attr(stanza, "from") or "")
  return from ~= nil and spelling.is(query.at, from) -- a bare one
end

--- The id of a result; nil: it has none that could be asked for again.
local function id_of(x)
  local id = xexpr.attr(x, "id")
  return id and id ~= "" and #id <= LONGEST_ID and id or nil
end

local function take(query, x, stanza)
  local id = id_of(x)
  if not id then return end
  if #query.page >= query.max then query.over = true return end
  query.n, query.first, query.last = query.n + 1, query.first or id, id
  query.page[#query.page + 1] = query.read(x, id, stanza)
end

-- true: it is dealt with, and nobody else's to see.
local function on_message(st, stanza, conn)
  local x = xexpr.child(stanza, "result", M.MAM)
  local query = x and st.queries[xexpr.attr(x, "queryid") or ""]
  if not query then return nil end
  if is_from(query, stanza, conn) then take(query, x, stanza) end
  return true
end

M.taps = { { { name = "message", has = M.MAM }, on_message } }

function M.start(st) st.queries = {} end
function M.stop(st) st.queries = {} end

-- Asking

local function submit(fields)
  if not fields or next(fields) == nil then return nil end
  return data_form.submit(M.MAM, fields)
end

local function query_element(id, q)
  local query = { "query", { xmlns = M.MAM, queryid = id } }
  query[3] = submit(q.fields)
  query[#query + 1] = rsm.request { max = ("%.0f"):format(q.set.max), after = q.set.after, before = q.set.before }
  return query
end

-- What ends the page (XEP-0313 4.3).
local function read_fin(query, fin, stanza)
  if fin == true or fin[1] ~= "fin" or xexpr.attr(fin, "xmlns") ~= M.MAM then
    return iq.bad_format("fin: missing", stanza)
  end
  local set, why = rsm.read(fin)
  if why then return iq.bad_format("fin." .. why, stanza) end
  local page, complete = query.page, xexpr.attr(fin, "complete")
  set = set or {}
  page.complete = complete == "true" or complete == "1"
  page.first, page.last, page.count, page.index = set.first or query.first, set.last or query.last, set.count, set.index
  if query.over then -- more than was asked for: where it was cut, there is more
    page.complete = false
    if not query.backwards then page.last = query.last end
  end
  return page, query.n
end

-- Nobody has heard the results: that isn't an archive without any.
local function dropped()
  return nil, core.error { layer = "closed", condition = "closed", retry = false,
    text = "the archive is used no more, by ext.drop" }
end

-- One try, in one session.
local function try(st, conn, q)
  local id = core.id()
  local query = { at = q.at, max = q.set.max, backwards = q.set.before ~= nil, read = q.read, page = {}, n = 0 }
  st.queries[id] = query
  local fin, stanza = iq.set(conn, q.at, query_element(id, q), { timeout = q.timeout, from = q.as })
  local is_heard = st.queries[id] == query
  st.queries[id] = nil
  if fin == nil then return nil, stanza end
  if not is_heard then return dropped() end
  return read_fin(query, fin, stanza)
end

--- A page. q: `at`, whose archive (prepared bare address; nil: our own account's); `fields` of the form; `set` = { max,
--- after, before }; `read`; `timeout` of each try; `as`, a component's address that asks; `wait`, called before the
--- page is asked for in another session.
---@param conn xmpp.Conn
---@param q table
---@return table? page of what `read` gave, in the archive's order, with first, last, complete, count, index
---@return integer|xmpp.Error n how many results there were
function M.page(conn, q)
  local st, closed = ext.use(conn, M)
  if not st then return nil, closed end
  local page, n
  for _ = 1, MOST_TRIES do
    page, n = try(st, conn, q)
    if page or n.condition ~= "session-lost" then break end
    if q.wait then q.wait() end
  end
  return page, n
end

return M
