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

local function options(out, list)
  if #list == 0 then return end
  out[#out + 1] = ".Bl -tag -width Ds"
  for _, option in ipairs(list) do
    local flags = option[2] and ("Fl %s , Fl \\-%s"):format(option[2], plain(option[1])) or "Fl \\-" .. plain(option[1])
    out[#out + 1] = ".It " .. flags .. (option[3] and " Ar " .. word(option[3]) or "")
    out[#out + 1] = plain(option[4]:sub(1, 1):upper() .. option[4]:sub(2)) .. "."
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
  out[#out + 1] = plain(command.summary:sub(1, 1):upper() .. command.summary:sub(2)) .. "."
  for _, text in ipairs(command.text or {}) do paragraph(out, text) end
  if command.words and command.words[1][3] ~= "" then
    out[#out + 1] = ".Bl -tag -width Ds"
    for _, entry in ipairs(command.words) do
      out[#out + 1] = ".It Cm " .. word(entry[1])
      if entry[2] ~= "" then out[#out] = out[#out] .. " " .. arguments(entry[2]):sub(2) end
      out[#out + 1] = plain(entry[3]:sub(1, 1):upper() .. entry[3]:sub(2)) .. "."
    end
    out[#out + 1] = ".El"
  end
  options(out, command.options)
end

local ACCOUNTS = {
  "An account is a section of the configuration; without -a it is the section default, or the only one. The keys "
  .. "are jid, host, port, url, proxy, tls, ca-file, cert, key, pin, nick, cache, keep-token, bind2, and where the "
  .. "password comes from: password-command, password-file or password. An address that is given by -a needs no "
  .. "configuration. A jid without a resource gets another one each time, so that two runs do not end each other.",
  "With proxy = URL the connection, and what is uploaded beside it, goes through a proxy: socks5://HOST:PORT, "
  .. "socks5h://HOST:PORT, which looks up all names (Tor: socks5h://ACCOUNT:x@127.0.0.1:9050 keeps accounts apart), "
  .. "or http://HOST:PORT; with USER:PASSWORD@ in front of the host where it wants a login, and %XX for a character "
  .. "that a URL can't have there. With proxy = environment it is the one of ALL_PROXY or https_proxy, but for what "
  .. "NO_PROXY names. A configuration with a proxy's password is refused where others may read it.",
  "With cache = true, roster and listen keep the addresses of the contacts for the completions of shells.",
  "With keep-token = true a login asks the server for a token (XEP-0484), and the next one is by that, where the "
  .. "server takes it: within one exchange, and without looking for the password. The token is as secret as the "
  .. "password, and is kept beside the configuration, in NAME.token, where only its owner reads it; a file that others "
  .. "may read is ignored, which is told. In NAME.agent is the id that it belongs to, which is made once. A token that "
  .. "the server refuses is removed, and the password is used; xmpp logout has the server forget it. To change the "
  .. "password does not end the tokens of every server. What connects again by itself (listen, console, run, archive, "
  .. "pubsub subscribe) looks for the password as well.",
  "With bind2 = true the session begins within that exchange, too (XEP-0386). The server chooses the resource then, "
  .. "so the jid must have none. Servers that keep an archive may throw the account's offline messages away at such a "
  .. "login: it is for accounts whose clients read the archive. What connects again by itself is not bound so, and of "
  .. "runs of an account with keep-token that are there at the same time one is, since a server ends such a session "
  .. "when another one of the same user agent begins.",
  "The password comes from the first of these that is there: the descriptor of --password-fd, the file that "
  .. "XMPP_PASSWORD_FILE names, XMPP_PASSWORD, password-command (the first line that it writes), password-file, "
  .. "password, the desktop's keyring (secret-tool lookup service xmpp jid JID), the systemd credential xmpp, the "
  .. "terminal. There is no option for the password itself, as everybody on the machine can read the words of a "
  .. "command. A file with a password that others may read, or that is another user's, is refused.",
  "A room that wants a password has a section [room ADDRESS], with password-command, password-file or password, and "
  .. "with nick where the name is another one there. Without, the password is asked for at the terminal.",
}

local EXAMPLE = { "[default]", "jid = bot@example.net", "password-command = pass show xmpp/bot", "", "[work]",
  "jid = me@example.org/desk", "password-file = ~/.secret/xmpp", "", "[room tea@rooms.example.net]",
  "password-file = ~/.secret/tea" }

local OUTPUT = {
  "For people a line is a thing; names have the colours of XEP-0392 on a terminal. What strangers say is shown "
  .. "with its control characters and bidirectional overrides escaped. With --json each line is an object, and "
  .. "errors are on standard error as {\"error\":{\"condition\",\"layer\",\"retry\",\"text\"}}, with "
  .. "\"to\" where it is one recipient's. Times are UTC, as RFC 3339 has them. Keys are not renamed; more may come.",
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
  { "item", "jid, node, name; of pubsub node, id, publisher, xml, own; of command values" },
  { "retract", "node, id; and purge, delete, config: what a subscription tells" },
  { "tree", "tree: jid, node, name, identities, features, forms, items" },
  { "version", "from, name, version, os" },
  { "time", "from, utc, offset (seconds), apart (seconds)" },
  { "last", "from, seconds, status" },
  { "command", "jid, node, name" },
  { "title", "text: of what a command shows" },
  { "note", "kind (info, warn, error), text" },
  { "blocked", "jid" },
  { "published", "node, id" },
  { "node", "node, name" },
  { "avatar", "from, id, media_type, bytes, width, height, data (base64)" },
  { "vcard", "from, and what is in the card (fn, email, tel, ...)" },
  { "bookmark", "room, name, nick, autojoin, has_password" },
  { "upload", "file, url, to" },
  { "check", "target, status, steps (name, seconds, ok), proxy, certificate_days, problems" },
  { "account", "name, jid, password (where it is from), mechanism, profile (sasl, sasl2), fast, bound_inline, tls; "
    .. "of logout token (forgotten, refused, none)" },
}

local ENVIRONMENT = {
  { "XMPP_PASSWORD_FILE", "A file whose first line is the password." },
  { "XMPP_PASSWORD", "The password; other programs of the user may read it." },
  { "XDG_CONFIG_HOME", "Where the configuration is, in xmpp/config.lua (~/.config)." },
  { "XDG_CACHE_HOME", "Where contacts are kept for completion, in xmpp/NAME.contacts (~/.cache)." },
  { "XDG_STATE_HOME", "Where the console's history is, in xmpp/history (~/.local/state)." },
  { "CREDENTIALS_DIRECTORY", "Set by systemd: its credential xmpp is the password." },
  { "ALL_PROXY, https_proxy, NO_PROXY", "With proxy = environment: the proxy, and what is reached without it." },
  { "NO_COLOR", "No colours." },
}

local EXAMPLES = {
  { "An account, then a message:", { "xmpp account add you@example.net",
    "echo hello | xmpp send someone@example.net" } },
  { "Tell a room of a failed job:",
    { "backup || xmpp send -r ops@rooms.example.net -- backup failed on $(hostname)" } },
  { "Wait for one message, ten seconds at most:", { "xmpp listen --priority 0 -n 1 -W 10" } },
  { "A Nagios check:", { "xmpp check -a monitor -w 1 -c 3 --cert-days 21" } },
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
  ".Sh NAME", ".Nm xmpp", ".Nd send, hear and look into XMPP from a shell", ".Sh SYNOPSIS", ".Nm", ".Ar subcommand",
  ".Op Ar option ...", ".Op Ar argument ...", ".Nm", ".Fl \\-version", ".Sh DESCRIPTION", "The", ".Nm",
  "command talks to an XMPP server for shells, cron jobs and monitors." }

local function head(out)
  for _, line in ipairs(HEAD) do out[#out + 1] = line end
  paragraph(out, "Its exit status is true: a message that was sent has been acknowledged by the server. A word or an "
    .. "option that it does not know is refused, and the nearest is named.")
end

local FILES = { { "~/.config/xmpp/config.lua", "The accounts: sections and keys, not Lua to be run." },
  { "~/.config/xmpp/NAME.token", "The token of the account NAME, with keep-token = true." },
  { "~/.config/xmpp/NAME.agent", "The id of the user agent that it belongs to." },
  { "~/.local/state/xmpp/history", "What was typed into the console." },
  { "~/.cache/xmpp/NAME.contacts", "Contacts of the account NAME, with cache = true." } }

local OF_ITS_OWN = { "Those of", ".Nm xmpp Cm check", "are 0 (OK), 1 (WARNING), 2 (CRITICAL) and 3 (UNKNOWN); those of",
  ".Nm xmpp Cm run", "the bot's own." }

local function statuses(out)
  out[#out + 1] = ".Sh EXIT STATUS"
  tagged(out, "Li", exit.LIST)
  for _, line in ipairs(OF_ITS_OWN) do out[#out + 1] = line end
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
  out[#out + 1] = "By the key"
  out[#out + 1] = ".Dq type :"
  tagged(out, "Li", M.KEYS)
  out[#out + 1] = ".Sh ENVIRONMENT"
  tagged(out, "Ev", ENVIRONMENT)
  out[#out + 1] = ".Sh FILES"
  tagged(out, "Pa", FILES)
  statuses(out)
  out[#out + 1] = ".Sh EXAMPLES"
  for _, example in ipairs(EXAMPLES) do
    out[#out + 1] = plain(example[1])
    block(out, example[2])
  end
  return table.concat(out, "\n") .. "\n"
end

return M
