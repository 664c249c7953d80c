-- spec: the table of all subcommands and options. The parser (parse.lua), `xmpp help` (help.lua), the man page
-- (man.lua) and the completions (complete.lua) are made from it; a test compares them.
--
-- An option is { long, short or false, placeholder or false (none: it is a flag), help, kind = ..., choices = ...,
-- many = ... }; kinds of values: "text" (the default), "count" (a whole number from 1), "number", "seconds", "fd",
-- "port", "proxy", "priority", "file", "jid", "room", "account", "choice", "choices" (several, separated by commas). A
-- command has `usage` (its arguments, for people), `min` and `max` of them (max = math.huge: any number), `words` (the
-- possible first arguments: name, arguments, help), `rest` (it takes what follows "--"), `stops` (it takes everything
-- after the first argument), `offline` (it doesn't connect), `kinds` (the kinds of its arguments, for completion),
-- `text` (paragraphs for the man page), `usage_status` (the exit status for wrong usage, if it isn't 2).

local version = require "xmpp.version"

local HUGE = math.huge

local spec = { version = version.number, date = version.date }

spec.common = {
  { "account", "a", "ACCOUNT", "a section of the configuration, or an address (default)", kind = "account" },
  { "json", false, false, "one JSON object a line" },
  { "quiet", "q", false, "say nothing but errors" },
  { "verbose", "v", false, "show what goes over the wire, secrets masked, on stderr" },
  { "timeout", "t", "SECONDS", "for the connection and for each answer (30)", kind = "seconds" },
  { "color", false, "WHEN", "auto, always or never (auto)", kind = "choice", choices = { "auto", "always", "never" } },
  { "password-fd", false, "N", "read the password from this descriptor", kind = "fd" },
  { "ca-file", false, "FILE", "trust these CAs (PEM)", kind = "file" },
  { "host", false, "HOST", "dial this host; the certificate is still the domain's" },
  { "port", false, "PORT", "dial this port", kind = "port" },
  { "proxy", false, "URL", "go through this: socks5, socks5h or http://HOST:PORT; or `environment`",
    kind = "proxy" },
  { "tls", false, "HOW", "starttls, direct, or none (only to this machine)", kind = "choice",
    choices = { "starttls", "direct", "none" } },
  { "url", false, "URL", "connect by WebSocket: wss://..., or host-meta to ask the domain for its URL" },
  { "help", "h", false, "show how a subcommand is used" },
}

spec.commands = {
  { name = "send", summary = "send a message, and know that it has arrived", usage = "TO... [-- TEXT]", min = 0,
    max = HUGE, rest = true, kinds = { "jid" }, options = {
      { "room", "r", false, "TO are rooms: join, say it, leave" },
      { "nick", false, "NICK", "the name in the room (the account's)" },
      { "file", "f", "FILE", "read the text from FILE", kind = "file" },
      { "lines", false, false, "each line is a message" },
      { "rate", false, "N", "with --lines: N messages a second at most (10)", kind = "number" },
      { "raw", false, false, "the input is XML: stanzas that are sent as they are" },
      { "subject", false, "TEXT", "the message's subject" },
      { "headline", false, false, "a message that needs no answer and isn't kept (type headline)" },
      { "wait", false, "WHAT", "receipt: wait until TO's client says that it has it (XEP-0184)", kind = "choice",
        choices = { "receipt" } },
    }, text = {
      "The text is what follows --, else FILE, else standard input. The status is 0 only when the server has "
      .. "acknowledged the message (XEP-0198, or an answer behind it) and nobody has sent it back meanwhile; in a "
      .. "room, when the room has said it to all. A text over 64 KiB is refused.",
    } },
  { name = "listen", summary = "show what comes in", usage = "", min = 0, max = 0, options = {
      { "count", "n", "N", "end after N messages", kind = "count" },
      { "within", "W", "SECONDS", "end after so long, with status 8", kind = "seconds" },
      { "from", false, "JID", "only what this address (with or without resource) says", kind = "jid" },
      { "presence", false, false, "be available, with priority -1, and show presence" },
      { "room", false, "ROOM", "what is said in a room instead", kind = "room" },
      { "nick", false, "NICK", "the name in the room (the account's)" },
      { "priority", false, "N", "be available with this priority; from 0 on, messages to the account come here",
        kind = "priority" },
    }, text = {
      "Without --presence or --priority nobody sees that this listens, and what comes is what is sent to its full "
      .. "address and copies of what the account's other clients get and send (XEP-0280). It connects again when the "
      .. "link is lost. Nothing is answered.",
    } },
  { name = "ping", summary = "is it there, and how far away", usage = "[JID]", min = 0, max = 1, kinds = { "jid" },
    options = {
      { "count", "n", "N", "so many pings (4)", kind = "count" },
      { "interval", "i", "SECONDS", "between them (1)", kind = "seconds" },
    } },
  { name = "disco", summary = "what an address is and offers", usage = "[JID [NODE]]", min = 0, max = 2,
    kinds = { "jid" }, options = {
      { "items", false, false, "what belongs to it" },
      { "tree", false, false, "it, what belongs to it, and so on" },
      { "depth", false, "N", "with --tree: so deep (3)", kind = "count" },
    } },
  { name = "version", summary = "what software it is", usage = "[JID]", min = 0, max = 1, kinds = { "jid" },
    options = {} },
  { name = "time", summary = "what time it has", usage = "JID", min = 1, max = 1, kinds = { "jid" }, options = {} },
  { name = "last", summary = "since when it is idle, away or up", usage = "[JID]", min = 0, max = 1,
    kinds = { "jid" }, options = {} },
  { name = "roster", summary = "the account's contacts", usage = "[WORD [JID]]", min = 0, max = 3, kinds = { "jid" },
    words = {
      { "list", "", "all of them (what is done without a word)" },
      { "add", "JID", "put one there, or change its name and groups" },
      { "remove", "JID", "take one away" },
      { "subscribe", "JID [TEXT]", "ask to see its presence" },
      { "unsubscribe", "JID", "see its presence no more" },
      { "approve", "JID", "let it see ours" },
      { "deny", "JID", "don't let it" },
    }, options = {
      { "name", false, "NAME", "with add: what it is called" },
      { "group", false, "GROUP", "with add: the groups it is in; with list: only of these", many = true },
    } },
  { name = "muc", summary = "rooms", usage = "WORD [ROOM...] [-- TEXT]", min = 1, max = HUGE, rest = true,
    words = {
      { "join", "ROOM", "be there, and show what is said" },
      { "send", "ROOM... [-- TEXT]", "as send --room" },
      { "list", "[SERVICE]", "the rooms of a service (the server's)" },
      { "who", "ROOM", "who is there" },
      { "history", "ROOM", "what was said last" },
      { "invite", "ROOM JID [REASON]", "invite somebody" },
      { "config", "ROOM [VAR=VALUE...]", "how it is configured, or configure it; of a secret write VAR=" },
    }, options = {
      { "nick", false, "NICK", "the name in the room (the account's)" },
      { "count", "n", "N", "with join: end after N messages; with history: so many (20)", kind = "count" },
      { "within", "W", "SECONDS", "with join: end after so long, with status 8", kind = "seconds" },
      { "file", "f", "FILE", "with send: read the text from FILE", kind = "file" },
      { "subject", false, "TEXT", "with send: the message's subject" },
    } },
  { name = "command", summary = "what an address does by ad-hoc commands", usage = "JID [NODE [VAR=VALUE...]]", min = 1,
    max = HUGE, kinds = { "jid" }, options = {}, text = {
      "Without NODE, the commands that JID has for us are listed. admin:add-user and the like are those of XEP-0133 "
      .. "for who administrates a server. On a terminal it asks for what isn't given; else what must be there and "
      .. "isn't ends it, with status 9. A secret is never taken from a command's words: - has lines VAR=VALUE read "
      .. "from standard input. The status is 1 when the command says that it has failed.",
    } },
  { name = "blocking", summary = "whom the server keeps away", usage = "[WORD [JID...]]", min = 0, max = HUGE,
    kinds = { "jid" }, words = {
      { "list", "", "all of them (what is done without a word)" },
      { "add", "JID...", "block them; a domain stands for all that is in it" },
      { "remove", "JID...", "block them no longer" },
      { "report", "JID [TEXT]", "block it, and tell the server's people why" },
    }, options = {
      { "all", false, false, "with remove: all of them" },
      { "abuse", false, false, "with report: it is abuse, not spam" },
    } },
  { name = "pubsub", summary = "nodes of a service, or of an account", usage = "WORD [NODE [ITEM]]", min = 1,
    max = HUGE, words = {
      { "get", "NODE [ITEM]", "what is in it, an item a line" },
      { "publish", "NODE [ITEM]", "put one element into it, from standard input" },
      { "retract", "NODE ITEM", "take one out" },
      { "nodes", "[NODE]", "the nodes that there are" },
      { "create", "NODE [VAR=VALUE...]", "make one" },
      { "config", "NODE [VAR=VALUE...]", "how it is set, or set it" },
      { "delete", "NODE", "delete it" },
      { "subscribe", "NODE", "show what comes into it" },
      { "unsubscribe", "NODE", "end that" },
    }, options = {
      { "service", false, "JID", "the service, or somebody's account (the server's service)", kind = "jid" },
      { "pep", false, false, "the account's own nodes" },
      { "count", "n", "N", "with get: the last N; with subscribe: end after N", kind = "count" },
      { "within", "W", "SECONDS", "with subscribe: end after so long, with status 8", kind = "seconds" },
      { "file", "f", "FILE", "with publish: read the element from FILE", kind = "file" },
      { "access", false, "MODEL", "with publish: only into a node for these", kind = "choice",
        choices = { "open", "presence", "roster", "authorize", "whitelist" } },
      { "fix", false, false, "with publish --access: set a node so that is otherwise" },
    }, text = {
      "With --access a node that is set otherwise is an error, and nothing is published; whitelist is for the account "
      .. "alone. A subscription stays at the service when the command has ended: unsubscribe ends it.",
    } },
  { name = "avatar", summary = "an account's picture", usage = "WORD [JID|FILE]", min = 1, max = 2, words = {
      { "get", "[JID]", "write it to standard output, or into a file" },
      { "set", "[FILE]", "publish a PNG, from standard input if there is no FILE" },
      { "clear", "", "have none" },
    }, options = {
      { "output", "o", "FILE", "with get: write it there", kind = "file" },
      { "type", false, "TYPE", "with set: it is no PNG, but image/jpeg and the like" },
      { "access", false, "MODEL", "with set: who may see it (as it is)", kind = "choice",
        choices = { "open", "presence", "roster", "whitelist" } },
    } },
  { name = "vcard", summary = "what somebody tells of himself", usage = "WORD [JID|VAR=VALUE...]", min = 1, max = HUGE,
    words = {
      { "get", "[JID]", "the account's own, or somebody's" },
      { "set", "VAR=VALUE...", "change fn, n.given, nickname, email, tel, org, url, photo=FILE; VAR=: none" },
    }, options = {} },
  { name = "bookmark", summary = "the rooms that the account keeps", usage = "[WORD [ROOM]]", min = 0, max = 2,
    words = {
      { "list", "", "all of them (what is done without a word); * is joined by itself" },
      { "add", "ROOM", "keep one, or change what is kept of it" },
      { "remove", "ROOM", "keep it no longer" },
    }, options = {
      { "name", false, "NAME", "with add: what it is called" },
      { "nick", false, "NICK", "with add: the name in it" },
      { "autojoin", false, false, "with add: clients join it by themselves" },
      { "no-autojoin", false, false, "with add: they don't" },
    } },
  { name = "archive", summary = "what was said before", usage = "WORD", min = 1, max = 1,
    words = { { "export", "", "write it to standard output, oldest first" } }, options = {
      { "with", false, "JID", "only what was said by or to this address", kind = "jid" },
      { "since", false, "TIME", "from then on: 2026-11-28, 2026-11-28T22:00:00Z, or 90m, 12h, 7d ago" },
      { "until", false, "TIME", "up to then" },
      { "room", false, "ROOM", "the archive of a room", kind = "room" },
      { "format", false, "HOW", "text, jsonl, or xml: forwarded elements (XEP-0297), of all that is kept (text)",
        kind = "choice", choices = { "text", "jsonl", "xml" } },
      { "resume", false, "FILE", "begin behind the message named in FILE, and name the last one there", kind = "file" },
    }, text = {
      "With --resume a second run goes on where the first one has ended, however that was: FILE is written behind each "
      .. "page, whole or not at all. Where the archive no longer has the message that it names the status is 10, "
      .. "nothing is written, and FILE stays: what was missed isn't known; to begin anew, remove FILE.",
    } },
  { name = "upload", summary = "put files on the web, and get their URLs", usage = "FILE...", min = 1, max = HUGE,
    kinds = { "file" }, options = {
      { "to", false, "JID", "send the URLs there, as files", kind = "jid" },
      { "keep-name", false, false, "the URL has the file's name, not a random one" },
      { "type", false, "TYPE", "what it is: image/png (by the name's ending)" },
      { "resolve", false, "HOST", "connect to this host for it; the certificate is still the URL's" },
    }, text = {
      "One URL a line (XEP-0363). Who knows the URL has the file, and so has the server: it is not encrypted. With "
      .. "--to the status is 0 only when the server has acknowledged the message, too. libcurl does the work, and must "
      .. "have been there when this was built.",
    } },
  { name = "check", summary = "is all well: for Nagios and Prometheus", usage = "[JID|DOMAIN]", min = 0, max = 1,
    kinds = { "jid" }, usage_status = 3, options = {
      { "warning", "w", "SECONDS", "a step that takes longer is a WARNING (1)", kind = "seconds" },
      { "critical", "c", "SECONDS", "a step that takes longer is CRITICAL (5)", kind = "seconds" },
      { "cert-days", false, "DAYS", "a certificate that ends sooner is a WARNING, in half of that CRITICAL (14)",
        kind = "number" },
      { "only", false, "STEPS", "dns, tcp, tls, login, ping, echo, upload, muc (all that can be done)",
        kind = "choices", choices = { "dns", "tcp", "tls", "login", "ping", "echo", "upload", "muc" } },
      { "room", false, "ROOM", "muc: enter this room, and leave it", kind = "room" },
      { "prometheus", false, false, "write metrics instead, for the node exporter's textfile collector" },
    }, text = {
      "A DOMAIN is looked at without logging in: dns, tcp and tls; behind a proxy its answer, proxy, is a step of its "
      .. "own. The step muc looks for the server's service for "
      .. "rooms, which need not be there unless --only names it; with --room it enters that room instead, whose "
      .. "occupants see that. The status is Nagios's: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, which wrong usage and a "
      .. "faulty configuration are, too.",
    } },
  { name = "console", summary = "a Lua prompt with a connection", usage = "", min = 0, max = 0, options = {},
    text = {
      "Lua with conn, xmpp and xexpr in it; a line that begins with < is sent as XML; what comes in is shown. A "
      .. "line that begins with a space is not kept in the history.",
    } },
  { name = "run", summary = "run a bot", usage = "BOT.lua [ARG...]", min = 1, max = HUGE, stops = true,
    kinds = { "file" }, options = {
      { "reload", false, false, "load it anew when its file changes, or by SIGHUP; the session goes on" },
      { "drain", false, "SECONDS", "by TERM: so long at most for what has come (5)", kind = "seconds" },
    }, text = {
      "The file finds conn, which is connected and connects again when it is lost, xmpp, and log(...), which writes to "
      .. "standard error. It ends in order by TERM or INT, by xmpp.quit(), or when conn is closed for good. By TERM "
      .. "nothing more is taken, handlers and callbacks finish, what they send leaves, and then it says goodbye; the "
      .. "status is 0 if that was all done in time, 8 if not, and standard error has what was left. Six seconds after "
      .. "the time for that, and at once by a second TERM or INT, it is ended whatever it does.",
    } },
  { name = "account", summary = "the accounts in the configuration", usage = "WORD [...]", min = 1, max = 3,
    words = {
      { "add", "JID [NAME]", "ask for the password, log in with it, and keep both" },
      { "list", "", "names and addresses" },
      { "check", "[NAME]", "log in" },
      { "password", "[NAME]", "ask for the password, and store it" },
      { "remove", "NAME", "forget it, and a password or a token that was kept for it" },
    }, options = {} },
  { name = "logout", summary = "have the server forget the token that an account has kept", usage = "[NAME]", min = 0,
    max = 1, options = {}, text = {
      "A token (XEP-0484) is what an account with keep-token = true logs in by instead of its password. The server "
      .. "forgets it, and those that it has given before; then the file with it is removed. Where the server can't be "
      .. "asked it stays, and the status says why. As long as keep-token is there the next login by the password is "
      .. "given another one.",
    } },
  { name = "completion", summary = "completions for a shell", usage = "SHELL", min = 1, max = 1, offline = true,
    words = { { "bash", "", "" }, { "zsh", "", "" }, { "fish", "", "" } }, options = {}, text = {
      "For bash: eval \"$(xmpp completion bash)\" in ~/.bashrc.",
    } },
  { name = "help", summary = "how it is used", usage = "[SUBCOMMAND]", min = 0, max = 1, offline = true,
    kinds = { "command" }, options = {} },
}

-- Subcommands for the completions, which people don't need: they are in no list.
spec.hidden = {
  { name = "contacts", summary = "the contacts that were kept for completion", usage = "", min = 0, max = 0,
    offline = true, options = {} },
}

--- The subcommand of that name.
---@param name string
---@return table? command
function spec.find(name)
  for _, list in ipairs { spec.commands, spec.hidden } do
    for _, command in ipairs(list) do
      if command.name == name then return command end
    end
  end
end

--- Its own options, and the common ones.
---@param command table?
---@return table[]
function spec.options(command)
  local all = {}
  for _, option in ipairs(command and command.options or {}) do all[#all + 1] = option end
  for _, option in ipairs(spec.common) do all[#all + 1] = option end
  return all
end

return spec
