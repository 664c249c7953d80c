-- The account that an example uses. Run the examples from the directory above this one:
--
--   lua5.4 examples/send.lua alice@example.net PASSWORD bob@example.net "Hi, Bob"
--
-- JID and PASSWORD come first on the command line; PASSWORD "-" stands for the environment variable XMPP_PASSWORD,
-- which other users of the machine can't see. XMPP_HOST and XMPP_PORT say where to connect to, instead of what DNS says
-- for the JID's domain; XMPP_CA is a file of CA certificates to trust instead of the system's.

local env = os.getenv

-- Returns the arguments for xmpp.connect_client. If fewer words were given than are in `usage`, prints that and exits.
return function(usage)
  if #arg < select(2, usage:gsub("%S+", "")) then
    io.stderr:write("usage: ", arg[0], " ", usage, "\n")
    os.exit(2)
  end
  local password = arg[2] == "-" and env "XMPP_PASSWORD" or arg[2]
  return arg[1], password, { host = env "XMPP_HOST", port = tonumber(env "XMPP_PORT"), ca_file = env "XMPP_CA" }
end
