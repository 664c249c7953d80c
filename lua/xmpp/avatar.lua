-- avatar: an account's picture (XEP-0084): published, read, watched; and its hash in our presence for clients that
-- look there (XEP-0153), if the server doesn't add it itself (XEP-0398).
--
--   assert(avatar.set(conn, io.open("me.png", "rb"):read "*a"))
--   local bytes, meta = avatar.get(conn, "anna@example.net")
--   avatar.watch(conn, function(jid, meta) print(jid, meta and meta.id or "none") end)
--   avatar.use(conn)                                       -- for XEP-0153; before presence.set
--
-- Who is trusted: each account for its own picture. The data must have the announced hash, else reading fails. A
-- picture elsewhere on the web is never fetched, and nothing is fetched without a call.

local bounded = require "xmpp.chat.bounded"
local core = require "xmpp.load"
local ext = require "xmpp.ext"
local guard = require "xmpp.guard"
local hash = require "xmpp.avatar.hash"
local image = require "xmpp.avatar.image"
local iq = require "xmpp.iq"
local pep = require "xmpp.pep"
local presence = require "xmpp.presence"
local pubsub = require "xmpp.pubsub"
local shown = require "xmpp.avatar.shown"
local vcard = require "xmpp.vcard"
local vcard_form = require "xmpp.vcard.form"
local words = require "xmpp.pubsub.words"
local xexpr = require "xmpp.xexpr"

local M = { name = "avatar", needs = { presence }, adds = shown.adds }

local DATA, META = "urn:xmpp:avatar:data", "urn:xmpp:avatar:metadata"
local CONVERSION = "urn:xmpp:pep-vcard-conversion:0"
local MOST = 65536 -- largest size of our own picture in bytes, by default
local MOST_INFOS, MOST_WATCHED = 20, 1000

-- Setting

local function put(conn, node, payload, id, opts)
  if opts.access then
    return pep.publish(conn, node, payload, { id = id, access = opts.access, persist = true, fix = true,
      timeout = opts.timeout })
  end
  return pubsub.publish(conn, nil, node, payload, { id = id, timeout = opts.timeout })
end

-- The format of the picture; nil, err: it can't be an avatar.
local function look_at(bytes, opts)
  if #bytes > (opts.max or MOST) then
    return words.fail("not-acceptable", ("the picture has %d bytes, more than %d"):format(#bytes, opts.max or MOST))
  end
  local is = image.read(bytes)
  if opts.type and is and is.type ~= opts.type then
    return words.fail("not-acceptable", ("the picture isn't %s, but %s"):format(core.shown(opts.type), is.type))
  end
  if not is and (not opts.type or opts.type == "image/png") then
    return words.fail("not-acceptable", "the data are not a known picture format: give the type, if they are a picture")
  end
  if is and is.type ~= "image/png" and not opts.type then
    return words.fail("not-acceptable", ("an avatar is image/png (XEP-0084 3), this is %s: the option type allows it")
      :format(is.type))
  end
  return is or { type = opts.type }
end

-- For clients that use vCards and presences: updates the vCard, if the server doesn't do it; and sends our presence
-- again, since not every server that adds the hash does so in presences that it has already delivered.
local function show(conn, photo, id, timeout)
  local st = ext.of(conn, M)
  if not st then return true end
  if st.active then
    local ok, err = vcard.put(conn, assert(vcard_form.changes { photo = photo }), timeout)
    if not ok then return nil, err end
    st.hash, st.known = id, true
  end
  local last = presence.last(conn)
  if last then return presence.set(conn, last) end
  return true
end

local SET = { type = "string", max = "number", access = "string", timeout = "number" }

local function check_account(conn, fname)
  guard.check_conn(conn, fname, 3)
  if not conn:jid().localpart then error(("'%s' is for accounts: a component has none"):format(fname), 3) end
end

--- Publishes our picture: its data, and then its metadata.
---@param conn xmpp.Conn
---@param bytes string a PNG (XEP-0084 3), or another format that `type` names
---@param opts? { type: string?, max: integer?, access: string?, timeout: number? } type: the media type ("image/png");
--- max: the largest size in bytes (65,536); access: who may see it, as for pep.publish (as the nodes are configured,
--- or the server's default); timeout: seconds
---@return string? id the picture's hash
---@return xmpp.Error? err condition "not-acceptable" if it is too large, or not a picture of that type
function M.set(conn, bytes, opts)
  check_account(conn, "set")
  guard.check_type(bytes, "string", 2, "set", 2)
  opts = guard.check_opts(opts, SET, 3, "set", 2)
  local is, err = look_at(bytes, opts)
  if not is then return nil, err end
  local id = hash.of(bytes)
  local ok
  ok, err = put(conn, DATA, { "data", { xmlns = DATA }, core.base64(bytes) }, id, opts)
  if not ok then return nil, err end
  ok, err = put(conn, META, { "metadata", { xmlns = META }, { "info", { bytes = #bytes, id = id, type = is.type,
    width = is.width, height = is.height } } }, id, opts)
  if not ok then return nil, err end
  ok, err = show(conn, { type = is.type, data = bytes }, id, opts.timeout)
  if not ok then return nil, err end
  return id
end

--- Publishes that we no longer have a picture (XEP-0084 4.3).
---@param conn xmpp.Conn
---@param opts? { access: string?, timeout: number? }
---@return true?
---@return xmpp.Error?
function M.clear(conn, opts)
  check_account(conn, "clear")
  opts = guard.check_opts(opts, { access = "string", timeout = "number" }, 2, "clear", 2)
  local ok, err = put(conn, META, { "metadata", { xmlns = META } }, "current", opts)
  if not ok then return nil, err end
  return show(conn, false, nil, opts.timeout)
end

-- Reading

local function none() return words.fail("item-not-found", "there is no picture") end

local function count(text)
  return text and #text < 10 and text:find "^%d+$" and tonumber(text) or nil
end

-- The picture that a metadata element announces and whose data the account has; nil: none.
local function read_metadata(x)
  if type(x) ~= "table" or x[1] ~= "metadata" or x[2].xmlns ~= META then return nil end
  local n, best = 0, nil
  for info in words.children(x, "info", META) do
    local id = hash.read(xexpr.attr(info, "id"))
    n = n + 1
    if n > MOST_INFOS then break end
    if id and not xexpr.attr(info, "url") and (not best or xexpr.attr(info, "type") == "image/png") then
      best = { id = id, type = xexpr.attr(info, "type"), bytes = count(xexpr.attr(info, "bytes")),
        width = count(xexpr.attr(info, "width")), height = count(xexpr.attr(info, "height")) }
    end
  end
  return best
end

local function announced(conn, jid, timeout)
  local x, err = pep.get(conn, jid, META, { timeout = timeout })
  if not x then return nil, err end
  local meta = read_metadata(x)
  if not meta then return none() end
  return meta
end

local function fetch(conn, jid, meta, timeout)
  local x, err = pep.get(conn, jid, DATA, { id = meta.id, timeout = timeout })
  if not x then return nil, err end
  if x == true or x[1] ~= "data" or x[2].xmlns ~= DATA then return iq.bad_format "data: missing" end
  local bytes, why = hash.decode(xexpr.text(x))
  if not bytes then return iq.bad_format("data: " .. why) end
  if hash.of(bytes) ~= meta.id then return iq.bad_format "data: they don't have the hash that was announced" end
  return bytes
end

-- The picture in a vCard (XEP-0153), which is identified only by its hash: `id`, if that is known.
local function from_vcard(conn, jid, id, timeout)
  local card, err = vcard.get(conn, jid, { timeout = timeout })
  if not card then return nil, err end
  local photo = card.photo
  if not photo or photo.url then return none() end
  if not photo.data then return iq.bad_format("vCard.PHOTO: " .. photo.error) end
  local found = hash.of(photo.data)
  if id and found ~= id then return iq.bad_format "vCard.PHOTO: it doesn't have the hash that was announced" end
  return photo.data, { id = found, type = photo.type, bytes = #photo.data }
end

--- Fetches somebody's picture, and what is known about it: { id =, type =?, bytes =?, width =?, height =? }. All of
--- that is what the owner says, except for the id, which is the hash of the data.
---@param conn xmpp.Conn
---@param jid string|xmpp.Jid|nil whose; nil: our own
---@param opts? { meta: table?, vcard: boolean?, timeout: number? } meta: which one, as `watch` has reported it; vcard:
--- if nothing is published, take the one in the vCard; timeout: seconds
---@return string? bytes
---@return table|xmpp.Error condition "item-not-found" if there is none; "bad-format" if it is too large (256 KiB of
--- Base64), or not what was announced
function M.get(conn, jid, opts)
  guard.check_conn(conn, "get", 2)
  if jid ~= nil and not core.is_jid(jid) then guard.check_type(jid, "string", 2, "get", 2) end
  opts = guard.check_opts(opts, { meta = "table", vcard = "boolean", timeout = "number" }, 3, "get", 2)
  local meta, err = opts.meta, nil
  if meta and not hash.read(meta.id) then error("bad option 'meta' of 'get' (its id is no hash)", 2) end
  if meta and meta.vcard then return from_vcard(conn, jid, meta.id, opts.timeout) end
  if not meta then meta, err = announced(conn, jid, opts.timeout) end
  if not meta and opts.vcard and err.layer == "stanza" then return from_vcard(conn, jid, nil, opts.timeout) end
  if not meta then return nil, err end
  local bytes
  bytes, err = fetch(conn, jid, meta, opts.timeout)
  if not bytes then return nil, err end
  return bytes, meta
end

-- Watching

--- Calls `f(jid, meta)` when somebody has a new picture; meta is nil if there is none any more. From whom: see
--- pep.watch. With `presence` (XEP-0153) also for contacts whose presence has a hash; then there is only meta.id and
--- meta.vcard = true, and `get` with `vcard` fetches the picture. With `rooms` also for occupants, under their full
--- addresses.
---@param conn xmpp.Conn
---@param f fun(jid: string, meta: table?)
---@param opts? { from: "contacts"|"self"|"all"|function|nil, presence: boolean?, rooms: boolean? }
---@return fun(): boolean off ends it; returns true the first time
function M.watch(conn, f, opts)
  check_account(conn, "watch")
  guard.check_type(f, "function", 2, "watch", 2)
  opts = opts or {}
  guard.check_type(opts, "table", 3, "watch", 2)
  local rest = {}
  for key, v in pairs(opts) do
    if key ~= "from" then rest[key] = v end
  end
  guard.check_opts(rest, { presence = "boolean", rooms = "boolean" }, 3, "watch", 2)
  local last = bounded.new(MOST_WATCHED)
  local ok, off = pcall(pep.watch, conn, META, function(jid, x, id, event)
    if event.kind == "item" and not x then x = event:fetch() end
    local had = bounded.get(last, jid)
    if event.kind == "retract" and had and had ~= id then return end -- of a picture that had been replaced already
    bounded.set(last, jid, x and id or false)
    f(jid, x and read_metadata(x) or nil)
  end, { from = opts.from })
  if not ok then error((tostring(off):gsub("^[^:]+:%d+: ", "")), 2) end
  local off_presence = opts.presence and shown.watch(conn, f, opts.rooms)
  return function()
    if off_presence then off_presence() end
    return off()
  end
end

-- The extension: our hash in our presence

-- Finds out which picture is in our vCard; our presence has no hash until that is known.
local function find(st, conn)
  st.active, st.hash, st.known = false, nil, false
  local can, err = words.features(conn, nil, {})
  if not can then return nil, err end
  if can[CONVERSION] then return true end
  st.active = true
  local card
  card, err = vcard.get(conn)
  if not card and err.condition ~= "item-not-found" then return nil, err end
  local photo = card and card.photo
  st.hash = photo and photo.data and hash.of(photo.data) or nil
  st.known = not (photo and photo.error)
  return true
end

function M.start(st, conn, opts)
  for name, v in pairs(opts) do
    if name ~= "rooms" then error(("there is no option '%s'"):format(core.shown(tostring(name))), 0) end
    if type(v) ~= "boolean" then error("bad option 'rooms' (boolean expected, got " .. type(v) .. ")", 0) end
  end
  if not conn:jid().localpart then error("a component has no avatar", 0) end
  st.rooms, st.active = opts.rooms, false
  st.is_late = conn:state() == "ready" and presence.last(conn) ~= nil
  local link = setmetatable({ conn }, { __mode = "v" })
  st.off = presence.before(conn, function()
    if link[1] then find(st, link[1]) end
  end)
end

--- If the presence had been sent before this extension was used, it is sent again.
function M.session(st, conn, first)
  if not first or not st.is_late then return end
  find(st, conn)
  local last = presence.last(conn)
  if st.active and last then presence.set(conn, last) end
end

function M.stop(st) st.off() end

--- Puts the hash of our picture into our presence (XEP-0153), if the server does not do that itself (XEP-0398). To do
--- so, our own vCard is read before the presence is sent, and `set` and `clear` change it as well.
---@param conn xmpp.Conn
---@param opts? { rooms: boolean? } rooms: also in presences to rooms, and in other directed ones
---@return table?
---@return xmpp.Error?
function M.use(conn, opts)
  local st, err = ext.use(conn, M, opts, 2)
  return st, err
end

return M
