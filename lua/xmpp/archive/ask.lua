-- ask: one query to an archive (XEP-0313 4), and the results that belong to it. Used by xmpp.archive and by the rooms
-- of xmpp.muc; it is a separate extension because both need the tap.
--
--   local page = ask.page(conn, { set = { max = 50, before = "" }, read = function(x, id, stanza) return ... end })
--   page = ask.page(conn, { at = "tea@rooms.example.net", fields = { start = ... }, set = { max = 50 }, read = f })
--
-- Who is trusted: the archive that was asked, for its results while the query is in progress. A result counts if it
-- comes from that archive (our own account's: without a `from`, or from our bare address; another's: from its bare
-- address), with the id of the query, which nobody else knows, and before the answer that ends it. read(x, id, stanza)
-- parses a result and returns a message, or nil; a result that isn't read is counted all the same.
--
-- If the session is lost during a query for a page, the page is requested again in the new session, from its
-- beginning, and the results received until then are discarded.

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
local MOST_TRIES = 5 -- sessions in which one page is requested

-- Receiving

local function is_from(query, stanza, conn)
  if not query.at then return xexpr.from_account(stanza, conn) end
  local from = core.jid(xexpr.attr(stanza, "from") or "")
  return from ~= nil and spelling.is(query.at, from) -- only from the bare address
end

--- The id of a result; nil if it has none that could be used in a query.
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

-- Returns true if the message has been dealt with and must not reach anybody else.
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

-- Queries

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

-- Reads the `<fin/>` that ends the page (XEP-0313 4.3).
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
  if query.over then -- more results than requested: the page was cut, so there is more
    page.complete = false
    if not query.backwards then page.last = query.last end
  end
  return page, query.n
end

-- If the tap was removed, no results were received, which doesn't mean that there are none.
local function dropped()
  return nil, core.error { layer = "closed", condition = "closed", retry = false,
    text = "the archive extension was removed by ext.drop" }
end

-- One attempt, in one session.
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

--- Fetches a page. q: `at`, whose archive (prepared bare address; nil: our own account's); `fields` of the query form;
--- `set` = { max, after, before }; `read`; `timeout` of each attempt; `as`, the address of a component that sends the
--- query; `wait`, called before the page is requested again in another session.
---@param conn xmpp.Conn
---@param q table
---@return table? page what `read` returned, in the archive's order, with first, last, complete, count, index
---@return integer|xmpp.Error n number of results
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
