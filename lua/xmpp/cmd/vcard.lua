-- vcard: vCards (XEP-0054).

local escape = require "xmpp.cmd.escape"
local exit = require "xmpp.cmd.exit"
local input = require "xmpp.cmd.input"

local M = {}

local MOST_PHOTO = 262144
local TEXTS = { "fn", "nickname", "bday", "url", "title", "role", "desc", "jabberid", "note", "tz", "uid", "rev" }
local NAME = { "family", "given", "middle", "prefix", "suffix" }
local ADDRESS = { "pobox", "extra", "street", "locality", "region", "postcode", "country" }

local words = {}

local function line(ctx, name, value, types)
  local more = types and types[1] and "  (" .. table.concat(types, ", ") .. ")" or ""
  ctx:say(("%s=%s%s"):format(name, escape.line(value), more))
end

local function show(ctx, card)
  for _, key in ipairs(TEXTS) do
    if card[key] then line(ctx, key, card[key]) end
  end
  for _, key in ipairs(NAME) do
    if card.n and card.n[key] then line(ctx, "n." .. key, card.n[key]) end
  end
  for _, one in ipairs(card.email or {}) do line(ctx, "email", one.address, one.types) end
  for _, one in ipairs(card.tel or {}) do line(ctx, "tel", one.number, one.types) end
  for _, one in ipairs(card.adr or {}) do
    for _, key in ipairs(ADDRESS) do
      if one[key] then line(ctx, "adr." .. key, one[key], one.types) end
    end
  end
  if card.org and card.org.name then line(ctx, "org", card.org.name) end
  local photo = card.photo
  if photo then
    local what = photo.data and ("%s, %d bytes"):format(photo.type or "?", #photo.data)
    line(ctx, "photo", what or photo.url or photo.error)
  end
end

function words.get(ctx, vcard, conn)
  local card, err = vcard.get(conn, ctx.args[2], { timeout = ctx.timeout })
  if not card then return nil, err end
  if not ctx.json then
    show(ctx, card)
    return 0
  end
  if card.photo and card.photo.data then card.photo.data = require "xmpp.load".base64(card.photo.data) end
  local object, keys = { { "type", "vcard" }, { "from", ctx.args[2] } }, {}
  for key in pairs(card) do keys[#keys + 1] = key end
  table.sort(keys)
  for _, key in ipairs(keys) do object[#object + 1] = { key, card[key] } end
  ctx:say("", object)
  return 0
end

-- Parses "email=a@b", "n.given=Anna", "photo=me.png", "url=".
local function changes(ctx)
  local out = {}
  for _, pair in ipairs(input.pairs(ctx, 2)) do
    local var, text = pair[1], pair[2]
    local part = var:match "^n%.(.+)$"
    if part then
      out.n = out.n or {}
      out.n[part] = text
    elseif text == "" then
      out[var] = false
    elseif var == "email" or var == "tel" then
      out[var] = out[var] or {}
      table.insert(out[var], { [var == "email" and "address" or "number"] = text })
    elseif var == "org" then
      out.org = { name = text }
    elseif var == "photo" then
      local bytes = input.bytes(ctx, text, MOST_PHOTO)
      local is = require "xmpp.avatar.image".read(bytes)
      if not is then exit.raise("input", "bad-value", text .. " is not a picture") end
      out.photo = { type = is.type, data = bytes }
    else
      out[var] = text
    end
  end
  local elements, why = require "xmpp.vcard.form".changes(out)
  if not elements then exit.raise("input", "bad-value", why) end
  return out
end

function words.set(ctx, vcard, conn)
  local ok, err = vcard.set(conn, ctx.changes, { timeout = ctx.timeout })
  return ok and 0, err
end

function M.run(ctx)
  local word = ctx.args[1]
  if word == "set" then
    input.need(ctx, 2, "VAR=VALUE...")
    ctx.changes = changes(ctx)
  elseif ctx.args[2] then
    input.address(ctx.args[2])
  end
  local conn, err = ctx:connect()
  if not conn then return nil, err end
  local status, why = words[word](ctx, require "xmpp.vcard", conn)
  if not status then return nil, why end
  return status
end

return M
