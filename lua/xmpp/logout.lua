-- logout: revokes a token (XEP-0484) by logging in with it. Called by xmpp.logout, which has checked the arguments.

-- The login options that apply if only a token is to be presented.
local function for_token(core, o, jid, token, invalidate)
  local only = {}
  for name, value in pairs(o) do only[name] = value end
  only.reconnect, only.resume = nil, false
  only.sasl2, only.fast, only.mechanisms = true, true, { token.mechanism }
  only.jid = jid:with_resource("lua-" .. core.id())
  only.token = { version = 1, jid = token.jid, user_agent = token.user_agent, mechanism = token.mechanism,
    token = token.token } -- without `expiry`, in case our clock is wrong
  only.user_agent, only.invalidate = nil, invalidate
  return only
end

-- If the server offers no such mechanism, its error says nothing about the token.
local function explain(core, err, token)
  if err.layer ~= "sasl" or err.condition ~= "invalid-mechanism" then return err end
  return core.error { layer = "sasl", condition = err.condition, retry = false,
    text = ("the token can't be used: the server doesn't offer %s here (%s)"):format(token.mechanism, err.text) }
end

-- Logs in once with the token. Returns the token that is left, if there is one; an error that isn't a refusal; whether
-- it was refused.
local function show(core, open, o, jid, token, invalidate)
  local conn, err = open(for_token(core, o, jid, token, invalidate))
  if conn then
    conn:stop()
    return conn:token()
  end
  local refused = err.layer == "sasl"
    and (err.condition == "not-authorized" or err.condition == "credentials-expired")
  return nil, not refused and explain(core, err, token) or nil, refused
end

local MOST_TOKENS = 4 -- a server keeps two

--- open(options) makes a login; o: the user's options, with the token.
return function(core, open, o, jid)
  local left, failed, refused = show(core, open, o, jid, o.token)
  for _ = 1, MOST_TOKENS do
    if not left then break end
    left, failed = show(core, open, o, jid, left, true)
  end
  if left then
    failed = core.error { layer = "sasl", condition = "policy-violation", retry = false,
      text = "the server gives a new token whenever one is revoked" }
  end
  if failed then return nil, failed end
  return true, refused and "refused" or nil
end
