-- man: the manual page xmpp(1), in mdoc, made from spec.lua and exit.lua by `make man`.
--
--   io.write(require "xmpp.cmd.man".page())

local exit = require "xmpp.cmd.exit"
local spec = require "xmpp.cmd.spec"

local M = {}

-- Escapes a text at the beginning of a line or as a macro's argument, so that mdoc finds no markup in it.
local function plain(text)
  text = text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub('"', "\\(dq")
  if text:find "^[.']" then text = "\\&" .. text end
  return text
end

-- The same for a word among macros: mdoc would take "Nm" or "|" for its own.
local function word(text)
  text = plain(text)
  if text:find "^%a%a?$" or text:find "^[%.,:;%(%)%[%]%?!|]$" then return "\\&" .. text end
  return text
end

local WIDTH = 78

-- A paragraph; each sentence begins a new line, as mdoc requires, and no line is too long.
local function paragraph(out, text)
  for sentence in (text:gsub("([%.%?]) (%u)", "%1\n%2") .. "\n"):gmatch "([^\n]+)\n" do
    local line
    for piece in sentence:gmatch "%S+" do
      piece = plain(piece)
      if line and #line + 1 + #piece > WIDTH then
        out[#out + 1] = line
        line = piece
      else
        line = line and line .. " " .. piece or piece
      end
    end
    out[#out + 1] = line
  end
end

-- Arguments for a macro: a bracket or dot at the end must not be taken for punctuation.
local function arguments(text)
  local words = {}
  for piece in text:gmatch "%S+" do words[#words + 1] = word(piece):gsub("[%]%.]$", "%0\\&") end
  return ".Ar " .. table.concat(words, " ")
end

-- A help text of spec.lua as a sentence.
local function sentence(text) return text:sub(1, 1):upper() .. text:sub(2) .. "." end

local function options(out, list)
  if #list == 0 then return end
  out[#out + 1] = ".Bl -tag -width Ds"
  for _, option in ipairs(list) do
    local flags = option[2] and ("Fl %s , Fl \\-%s"):format(option[2], plain(option[1])) or "Fl \\-" .. plain(option[1])
    out[#out + 1] = ".It " .. flags .. (option[3] and " Ar " .. word(option[3]) or "")
    paragraph(out, sentence(option[4]))
  end
  out[#out + 1] = ".El"
end

local function command_section(out, command)
  out[#out + 1] = ".Ss " .. plain(command.name)
  out[#out + 1] = ".Nm xmpp"
  out[#out + 1] = ".Cm " .. word(command.name)
  out[#out + 1] = ".Op Ar option ..."
  if command.usage ~= "" then out[#out + 1] = arguments(command.usage) end
  out[#out + 1] = ".Pp"
  paragraph(out, sentence(command.summary))
  for _, text in ipairs(command.text or {}) do paragraph(out, text) end
  if command.words and command.words[1][3] ~= "" then
    out[#out + 1] = ".Bl -tag -width Ds"
    for _, entry in ipairs(command.words) do
      out[#out + 1] = ".It Cm " .. word(entry[1])
      if entry[2] ~= "" then out[#out] = out[#out] .. " " .. arguments(entry[2]):sub(2) end
      paragraph(out, sentence(entry[3]))
    end
    out[#out + 1] = ".El"
  end
  options(out, command.options)
end

local ACCOUNTS = {
  "An account is a section of the configuration. Without -a the account is the section default, or the only section. "
  .. "The keys of a section are jid, host, port, url, proxy, tls, ca-file, cert, key, pin, nick, cache, keep-token "
  .. "and bind2, and password-command, password-file or password for the password. An address that is given with -a "
  .. "needs no configuration. If a jid has no resource, each run chooses a new one, so that two runs at the same time "
  .. "don't end each other's session.",
  "With proxy = URL, the connection and the uploads go through a proxy: socks5://HOST:PORT, socks5h://HOST:PORT, "
  .. "which also resolves all names (for Tor, socks5h://ACCOUNT:x@127.0.0.1:9050 keeps the circuits of accounts "
  .. "apart), or http://HOST:PORT. If the proxy requires a login, put USER:PASSWORD@ before the host, with %XX for "
  .. "each character that a URL can't contain. With proxy = environment, ALL_PROXY or https_proxy names the proxy, "
  .. "and NO_PROXY the hosts that are reached without it. A configuration that contains a proxy's password is refused "
  .. "if other users can read it.",
  "With cache = true, the subcommands roster and listen store the addresses of the contacts for the shell "
  .. "completions.",
  "With keep-token = true, a login asks the server for a token (XEP-0484), and the next login uses that token if the "
  .. "server supports it: it takes a single exchange, and needs no password. The token is as secret as the password. "
  .. "It is stored next to the configuration in NAME.token, which only its owner can read; a file that others can "
  .. "read is ignored, with a warning. NAME.agent contains the id of the user agent that the token belongs to, which "
  .. "is created once. If the server refuses the token, it is removed, and the password is used instead. To revoke "
  .. "it, use xmpp logout; on some servers a change of the password doesn't revoke tokens. Subcommands that reconnect "
  .. "(listen, console, run, archive, pubsub subscribe) need the password as well.",
  "With bind2 = true, the resource is bound within the same exchange, too (XEP-0386). The server then chooses the "
  .. "resource, so the jid must not have one. A server that keeps an archive may discard the account's offline "
  .. "messages at such a login, so use bind2 only for accounts whose clients read the archive. Subcommands that "
  .. "reconnect don't use it. If several runs of an account with keep-token overlap, only one of them uses it, since "
  .. "a server ends a session that was bound this way when another one of the same user agent begins.",
  "The password is taken from the first of these that exists: the file descriptor of --password-fd, the file that "
  .. "XMPP_PASSWORD_FILE names, XMPP_PASSWORD, password-command (the first line of its output), password-file, "
  .. "password, the desktop's keyring (secret-tool lookup service xmpp jid JID), the systemd credential xmpp, the "
  .. "terminal. There is no option for the password itself, because every user of the machine can read the arguments "
  .. "of a command. A file with a password is refused if other users can read it, or if it belongs to another user.",
  "A room that requires a password has a section [room ADDRESS], with password-command, password-file or password, "
  .. "and with nick if the nickname in that room is another one. Without such a section, the password is asked for on "
  .. "the terminal.",
}

local EXAMPLE = { "[default]", "jid = bot@example.net", "password-command = pass show xmpp/bot", "", "[work]",
  "jid = me@example.org/desk", "password-file = ~/.secret/xmpp", "", "[room tea@rooms.example.net]",
  "password-file = ~/.secret/tea" }

local OUTPUT = {
  "Each result is a line. On a terminal, names have the colours of XEP-0392. Control characters and bidirectional "
  .. "overrides in text from others are escaped. With --json each line is a JSON object, and errors are written to "
  .. "standard error as {\"error\":{\"condition\",\"layer\",\"retry\",\"text\"}}, with \"to\" if the error is about "
  .. "one of several recipients. Times are in UTC, in the format of RFC 3339. Keys keep their names in later "
  .. "versions, which may add others.",
}

M.KEYS = {
  { "message", "from, to, id, kind (chat, groupchat, ...), time, subject, body, delayed, own; with -v stanza" },
  { "presence", "from, show (available, away, ..., unavailable), status" },
  { "state", "state (waiting, ready), error" },
  { "contact", "jid, name, subscription (none, to, from, both), ask, groups, approved" },
  { "room", "jid, name" },
  { "archived", "archive, archive_id, time, from, to, nick, id, kind, subject, body, own" },
  { "occupant", "room, nick, jid, role, affiliation, show, status" },
  { "field", "var, kind, value, label" },
  { "sent", "to, id, receipt" },
  { "ping", "from, n, seconds" },
  { "info", "from, identities, features" },
  { "item", "jid, node, name; from pubsub: node, id, publisher, xml, own; from command: values" },
  { "retract", "node, id; notifications of a subscription also have the types purge, delete and config" },
  { "tree", "tree: jid, node, name, identities, features, forms, items" },
  { "version", "from, name, version, os" },
  { "time", "from, utc, offset (seconds), apart (seconds)" },
  { "last", "from, seconds, status" },
  { "command", "jid, node, name" },
  { "title", "text: the title of a form that a command shows" },
  { "note", "kind (info, warn, error), text" },
  { "blocked", "jid" },
  { "published", "node, id" },
  { "node", "node, name" },
  { "avatar", "from, id, media_type, bytes, width, height, data (base64)" },
  { "vcard", "from, and the fields of the vCard (fn, email, tel, ...)" },
  { "bookmark", "room, name, nick, autojoin, has_password" },
  { "upload", "file, url, to" },
  { "check", "target, status, steps (name, seconds, ok), proxy, certificate_days, problems" },
  { "account", "name, jid, password (its source), mechanism, profile (sasl, sasl2), fast, bound_inline, tls; "
    .. "from logout: token (forgotten, refused, none)" },
}

local ENVIRONMENT = {
  { "XMPP_PASSWORD_FILE", "A file whose first line is the password." },
  { "XMPP_PASSWORD", "The password. Other programs of the same user may read it." },
  { "XDG_CONFIG_HOME", "The directory that contains the configuration, xmpp/config.lua (default: ~/.config)." },
  { "XDG_CACHE_HOME", "The directory that contains the cached contacts, xmpp/NAME.contacts (default: ~/.cache)." },
  { "XDG_STATE_HOME", "The directory that contains the console's history, xmpp/history (default: ~/.local/state)." },
  { "CREDENTIALS_DIRECTORY", "Set by systemd. The credential xmpp in it is the password." },
  { "ALL_PROXY, https_proxy, NO_PROXY", "With proxy = environment: the proxy, and the hosts that don't need it." },
  { "NO_COLOR", "If set, no colours are used." },
}

local EXAMPLES = {
  { "Store an account, then send a message:", { "xmpp account add you@example.net",
    "echo hello | xmpp send someone@example.net" } },
  { "Tell a room that a job has failed:",
    { "backup || xmpp send -r ops@rooms.example.net -- backup failed on $(hostname)" } },
  { "Wait for one message, for at most ten seconds:", { "xmpp listen --priority 0 -n 1 -W 10" } },
  { "Check a server for Nagios:", { "xmpp check -a monitor -w 1 -c 3 --cert-days 21" } },
}

local function tagged(out, macro, rows)
  out[#out + 1] = ".Bl -tag -width Ds"
  for _, row in ipairs(rows) do
    out[#out + 1] = (".It %s %s"):format(macro, word(tostring(row[1])))
    paragraph(out, row[2])
  end
  out[#out + 1] = ".El"
end

local function block(out, lines)
  out[#out + 1] = ".Bd -literal -offset indent"
  for _, line in ipairs(lines) do out[#out + 1] = plain(line) end
  out[#out + 1] = ".Ed"
end

local function prose(out, title, paragraphs)
  out[#out + 1] = ".Sh " .. title
  for i, text in ipairs(paragraphs) do
    if i > 1 then out[#out + 1] = ".Pp" end
    paragraph(out, text)
  end
end

local MONTHS = { "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
  "November", "December" }

-- "2026-11-29" as mdoc wants a date to be
local function date_of(iso)
  local year, month, day = iso:match "^(%d+)%-(%d+)%-(%d+)$"
  return ("%s %d, %s"):format(MONTHS[tonumber(month)], day, year)
end

local HEAD = { ".\\\" Made from lua/xmpp/cmd/spec.lua by make man.", ".Dd " .. date_of(spec.date), ".Dt XMPP 1", ".Os",
  ".Sh NAME", ".Nm xmpp", ".Nd use XMPP from a shell", ".Sh SYNOPSIS", ".Nm", ".Ar subcommand",
  ".Op Ar option ...", ".Op Ar argument ...", ".Nm", ".Fl \\-version", ".Sh DESCRIPTION", "The", ".Nm",
  "command is an XMPP client for shells, cron jobs and monitoring." }

local function head(out)
  for _, line in ipairs(HEAD) do out[#out + 1] = line end
  paragraph(out, "Its exit status can be relied on: it is 0 only if the server has acknowledged what was sent. An "
    .. "unknown subcommand or option is an error, which names the most similar one.")
end

local FILES = { { "~/.config/xmpp/config.lua", "The accounts: sections and keys, which are not run as Lua." },
  { "~/.config/xmpp/NAME.token", "The token of the account NAME, with keep-token = true." },
  { "~/.config/xmpp/NAME.agent", "The id of the user agent that the token belongs to." },
  { "~/.local/state/xmpp/history", "The lines that were typed into the console." },
  { "~/.cache/xmpp/NAME.contacts", "The contacts of the account NAME, with cache = true." } }

local EXCEPTIONS = { ".Pp", "The exit status of", ".Nm xmpp Cm check",
  "is 0 (OK), 1 (WARNING), 2 (CRITICAL) or 3 (UNKNOWN); that of",
  ".Nm xmpp Cm run", "is the bot's." }

local function statuses(out)
  out[#out + 1] = ".Sh EXIT STATUS"
  tagged(out, "Li", exit.LIST)
  for _, line in ipairs(EXCEPTIONS) do out[#out + 1] = line end
end

--- The whole page.
---@return string
function M.page()
  local out = {}
  head(out)
  for _, command in ipairs(spec.commands) do command_section(out, command) end
  out[#out + 1] = ".Ss Options of all subcommands"
  options(out, spec.common)
  prose(out, "ACCOUNTS AND PASSWORDS", ACCOUNTS)
  block(out, EXAMPLE)
  prose(out, "OUTPUT", OUTPUT)
  out[#out + 1] = "The objects have these keys, depending on the key"
  out[#out + 1] = ".Dq type :"
  tagged(out, "Li", M.KEYS)
  out[#out + 1] = ".Sh ENVIRONMENT"
  tagged(out, "Ev", ENVIRONMENT)
  out[#out + 1] = ".Sh FILES"
  tagged(out, "Pa", FILES)
  statuses(out)
  out[#out + 1] = ".Sh EXAMPLES"
  for i, example in ipairs(EXAMPLES) do
    if i > 1 then out[#out + 1] = ".Pp" end
    out[#out + 1] = plain(example[1])
    block(out, example[2])
  end
  return table.concat(out, "\n") .. "\n"
end

return M
