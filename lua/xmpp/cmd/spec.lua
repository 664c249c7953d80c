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
  { "account", "a", "ACCOUNT", "use this account: the name of a section of the configuration, or an address (default: "
    .. "the section [default], or the only one)", kind = "account" },
  { "json", false, false, "write each result as one JSON object on a line of its own" },
  { "quiet", "q", false, "print nothing but errors" },
  { "verbose", "v", false, "show on standard error what is sent and received, with secrets masked" },
  { "timeout", "t", "SECONDS", "wait this long for the connection and for each answer (default: 30)",
    kind = "seconds" },
  { "color", false, "WHEN", "use colours: auto, always or never (default: auto)", kind = "choice",
    choices = { "auto", "always", "never" } },
  { "password-fd", false, "N", "read the password from file descriptor N", kind = "fd" },
  { "ca-file", false, "FILE", "trust the CA certificates in this PEM file instead of the system's", kind = "file" },
  { "host", false, "HOST", "connect to this host; the certificate must still be for the domain" },
  { "port", false, "PORT", "connect to this port", kind = "port" },
  { "proxy", false, "URL", "connect through this proxy: socks5://, socks5h:// or http://HOST:PORT, or `environment` "
    .. "for the one that ALL_PROXY or https_proxy names", kind = "proxy" },
  { "tls", false, "HOW", "how TLS begins: starttls, direct, or none (allowed to this machine only)", kind = "choice",
    choices = { "starttls", "direct", "none" } },
  { "url", false, "URL", "connect by WebSocket to this URL (wss://...), or with host-meta to the one that the domain "
    .. "publishes" },
  { "help", "h", false, "show the help of this subcommand" },
}

spec.commands = {
  { name = "send", summary = "send messages and wait for their acknowledgement", usage = "TO... [-- TEXT]", min = 0,
    max = HUGE, rest = true, kinds = { "jid" }, options = {
      { "room", "r", false, "each TO is a room: join it, send the message, and leave" },
      { "nick", false, "NICK", "the nickname in the room (default: the account's)" },
      { "file", "f", "FILE", "read the text from FILE", kind = "file" },
      { "lines", false, false, "send each line of the text as a message of its own" },
      { "rate", false, "N", "with --lines: send at most N messages a second (default: 10)", kind = "number" },
      { "raw", false, false, "the input is XML: send its stanzas as they are" },
      { "subject", false, "TEXT", "the subject of the message" },
      { "headline", false, false, "send a message of type headline, which expects no reply and isn't stored" },
      { "wait", false, "WHAT", "also wait for this: receipt, by which the recipient's client confirms the "
        .. "message (XEP-0184)", kind = "choice", choices = { "receipt" } },
    }, text = {
      "The text of the message is TEXT, else the contents of FILE, else standard input. The exit status is 0 only if "
      .. "the server has acknowledged the message (by XEP-0198, or by answering a later request) and it hasn't been "
      .. "returned as an error in the meantime; in a room, if the room has sent it to its occupants. A text of more "
      .. "than 64 KiB is refused.",
    } },
  { name = "listen", summary = "show the messages that come in", usage = "", min = 0, max = 0, options = {
      { "count", "n", "N", "exit after N messages", kind = "count" },
      { "within", "W", "SECONDS", "exit after this time, with status 8", kind = "seconds" },
      { "from", false, "JID", "show only what this address sends; a bare address stands for all its resources",
        kind = "jid" },
      { "presence", false, false, "become available with priority -1, and show the presence of others" },
      { "room", false, "ROOM", "join this room, and show its messages instead", kind = "room" },
      { "nick", false, "NICK", "the nickname in the room (default: the account's)" },
      { "priority", false, "N", "become available with this priority; with 0 or more, messages to the account's bare "
        .. "address are delivered here, too", kind = "priority" },
    }, text = {
      "Without --presence or --priority no presence is sent, so nobody sees this session. It then gets what is sent to "
      .. "its full address, and copies of what the account's other clients send and receive (XEP-0280). When the "
      .. "connection is lost, it connects again. Messages are not answered.",
    } },
  { name = "ping", summary = "measure the round-trip time to an address", usage = "[JID]", min = 0, max = 1,
    kinds = { "jid" }, options = {
      { "count", "n", "N", "send N pings (default: 4)", kind = "count" },
      { "interval", "i", "SECONDS", "wait this long between two pings (default: 1)", kind = "seconds" },
    }, text = { "Without JID, the account's server is asked." } },
  { name = "disco", summary = "show the identities and features of an address", usage = "[JID [NODE]]", min = 0,
    max = 2, kinds = { "jid" }, options = {
      { "items", false, false, "list the items of the address instead" },
      { "tree", false, false, "show the address, its items, the items of those, and so on" },
      { "depth", false, "N", "with --tree: show N levels of items (default: 3)", kind = "count" },
    }, text = { "Without JID, the account's server is asked." } },
  { name = "version", summary = "show which software an address runs", usage = "[JID]", min = 0, max = 1,
    kinds = { "jid" }, options = {}, text = { "Without JID, the account's server is asked." } },
  { name = "time", summary = "show the time and the time zone of an address", usage = "JID", min = 1, max = 1,
    kinds = { "jid" }, options = {} },
  { name = "last", summary = "show an address's idle time or a server's uptime", usage = "[JID]", min = 0, max = 1,
    kinds = { "jid" }, options = {}, text = {
      "The answer (XEP-0012) tells how long a client has been idle, an account offline, or a server up. Without JID, "
      .. "the account's server is asked.",
    } },
  { name = "roster", summary = "show or change the account's contacts (its roster)", usage = "[WORD [JID]]", min = 0,
    max = 3, kinds = { "jid" }, words = {
      { "list", "", "list the contacts (the default)" },
      { "add", "JID", "add a contact, or change its name and groups" },
      { "remove", "JID", "remove a contact" },
      { "subscribe", "JID [TEXT]", "ask for a subscription to JID's presence" },
      { "unsubscribe", "JID", "end the subscription to JID's presence" },
      { "approve", "JID", "let JID see this account's presence" },
      { "deny", "JID", "don't let JID see this account's presence" },
    }, options = {
      { "name", false, "NAME", "with add: the name of the contact" },
      { "group", false, "GROUP", "with add: a group of the contact; with list: show only this group; may be repeated",
        many = true },
    } },
  { name = "muc", summary = "use multi-user chat rooms", usage = "WORD [ROOM...] [-- TEXT]", min = 1, max = HUGE,
    rest = true, words = {
      { "join", "ROOM", "join a room, and show its messages" },
      { "send", "ROOM... [-- TEXT]", "the same as send --room" },
      { "list", "[SERVICE]", "list the rooms of a service (default: the server's)" },
      { "who", "ROOM", "list the occupants of a room" },
      { "history", "ROOM", "show the last messages of a room" },
      { "invite", "ROOM JID [REASON]", "invite somebody to a room" },
      { "config", "ROOM [VAR=VALUE...]", "show or change the configuration of a room; VAR= of a secret field asks for "
        .. "its value" },
    }, options = {
      { "nick", false, "NICK", "the nickname in the room (default: the account's)" },
      { "count", "n", "N", "with join: exit after N messages; with history: show N messages (default: 20)",
        kind = "count" },
      { "within", "W", "SECONDS", "with join: exit after this time, with status 8", kind = "seconds" },
      { "file", "f", "FILE", "with send: read the text from FILE", kind = "file" },
      { "subject", false, "TEXT", "with send: the subject of the message" },
    } },
  { name = "command", summary = "list the ad-hoc commands of an address, or run one",
    usage = "JID [NODE [VAR=VALUE...]]", min = 1, max = HUGE, kinds = { "jid" }, options = {}, text = {
      "Without NODE, the commands that JID offers to this account are listed. As NODE, admin:add-user and the like "
      .. "stand for the commands for administrators of a server (XEP-0133). Each VAR=VALUE fills in a field of the "
      .. "command's form. On a terminal the other fields are asked for; elsewhere a required field without a value "
      .. "ends the command with status 9. A secret can't be given as an argument, which other users could read: "
      .. "give the argument - and write lines of the form VAR=VALUE to standard input. The exit status is 1 if the "
      .. "command reports that it has failed.",
    } },
  { name = "blocking", summary = "show or change the list of blocked addresses", usage = "[WORD [JID...]]", min = 0,
    max = HUGE, kinds = { "jid" }, words = {
      { "list", "", "list the blocked addresses (the default)" },
      { "add", "JID...", "block addresses; a domain stands for all its addresses" },
      { "remove", "JID...", "unblock addresses" },
      { "report", "JID [TEXT]", "block an address, and report it to the server's operators as spam; TEXT says "
        .. "why" },
    }, options = {
      { "all", false, false, "with remove: unblock all addresses" },
      { "abuse", false, false, "with report: report abuse, not spam" },
    } },
  { name = "pubsub", summary = "use the nodes of a pubsub service, or of an account", usage = "WORD [NODE [ITEM]]",
    min = 1, max = HUGE, words = {
      { "get", "NODE [ITEM]", "show the items of a node, one a line" },
      { "publish", "NODE [ITEM]", "publish an item: one XML element, read from standard input" },
      { "retract", "NODE ITEM", "delete an item" },
      { "nodes", "[NODE]", "list the nodes of the service, or those in a collection node" },
      { "create", "NODE [VAR=VALUE...]", "create a node" },
      { "config", "NODE [VAR=VALUE...]", "show or change the configuration of a node" },
      { "delete", "NODE", "delete a node" },
      { "subscribe", "NODE", "subscribe to a node, and show its notifications" },
      { "unsubscribe", "NODE", "end a subscription" },
    }, options = {
      { "service", false, "JID", "the service, or somebody's account (default: the server's pubsub service)",
        kind = "jid" },
      { "pep", false, false, "use the account's own nodes (PEP)" },
      { "count", "n", "N", "with get: show the last N items; with subscribe: exit after N notifications",
        kind = "count" },
      { "within", "W", "SECONDS", "with subscribe: exit after this time, with status 8", kind = "seconds" },
      { "file", "f", "FILE", "with publish: read the element from FILE", kind = "file" },
      { "access", false, "MODEL", "with publish: only publish to a node with this access model: open, presence, "
        .. "roster, authorize or whitelist", kind = "choice",
        choices = { "open", "presence", "roster", "authorize", "whitelist" } },
      { "fix", false, false, "with publish --access: reconfigure a node that has another access model" },
    }, text = {
      "With --access, a node that doesn't exist is created with that access model; if it has another one, that is an "
      .. "error, and nothing is published. The access model whitelist admits the account alone. A subscription to a "
      .. "service outlives the command: unsubscribe ends it.",
    } },
  { name = "avatar", summary = "show or change the avatar of an account", usage = "WORD [JID|FILE]", min = 1, max = 2,
    words = {
      { "get", "[JID]", "write the picture to standard output, or to a file" },
      { "set", "[FILE]", "publish a PNG picture from FILE or standard input" },
      { "clear", "", "remove the avatar" },
    }, options = {
      { "output", "o", "FILE", "with get: write the picture to FILE", kind = "file" },
      { "type", false, "TYPE", "with set: the media type, such as image/jpeg, if the picture isn't a PNG" },
      { "access", false, "MODEL", "with set: who may see it: open, presence, roster or whitelist (default: as it is)",
        kind = "choice", choices = { "open", "presence", "roster", "whitelist" } },
    } },
  { name = "vcard", summary = "show a vCard, or change the account's own", usage = "WORD [JID|VAR=VALUE...]", min = 1,
    max = HUGE, words = {
      { "get", "[JID]", "show the vCard of JID, or the account's own" },
      { "set", "VAR=VALUE...", "change fn, n.given, nickname, email, tel, org, url or photo=FILE; VAR= removes it" },
    }, options = {} },
  { name = "bookmark", summary = "show or change the account's bookmarks of rooms", usage = "[WORD [ROOM]]", min = 0,
    max = 2, words = {
      { "list", "", "list the bookmarks (the default); * marks rooms that clients join automatically" },
      { "add", "ROOM", "add a bookmark, or change it" },
      { "remove", "ROOM", "remove a bookmark" },
    }, options = {
      { "name", false, "NAME", "with add: the name of the room" },
      { "nick", false, "NICK", "with add: the nickname in the room" },
      { "autojoin", false, false, "with add: clients join the room automatically" },
      { "no-autojoin", false, false, "with add: clients don't join the room automatically" },
    } },
  { name = "archive", summary = "export the archive of the account, or of a room", usage = "WORD", min = 1, max = 1,
    words = { { "export", "", "write the archived messages to standard output, oldest first" } }, options = {
      { "with", false, "JID", "export only messages from or to this address", kind = "jid" },
      { "since", false, "TIME", "export only messages since then: 2026-11-28, 2026-11-28T22:00:00Z, or an age: "
        .. "90m, 12h, 7d" },
      { "until", false, "TIME", "export only messages until then" },
      { "room", false, "ROOM", "export the archive of this room", kind = "room" },
      { "format", false, "HOW", "write text, jsonl (JSON objects), or xml: all that is archived, as forwarded "
        .. "elements of XEP-0297 (default: text)", kind = "choice", choices = { "text", "jsonl", "xml" } },
      { "resume", false, "FILE", "begin after the message whose id is in FILE, and keep the id of the last one there",
        kind = "file" },
    }, text = {
      "With --resume a second run continues where the first one ended, for whatever reason: FILE is replaced after "
      .. "each page, completely or not at all. If the archive no longer has the message whose id is in FILE, messages "
      .. "may be missing: nothing is written, FILE is kept, and the exit status is 10. Remove FILE to begin anew.",
    } },
  { name = "upload", summary = "upload files, and print their URLs", usage = "FILE...", min = 1, max = HUGE,
    kinds = { "file" }, options = {
      { "to", false, "JID", "also send each URL to this address, as a file", kind = "jid" },
      { "keep-name", false, false, "keep the file's name in the URL, instead of a random one" },
      { "type", false, "TYPE", "the media type, such as image/png (default: by the ending of the name)" },
      { "resolve", false, "HOST", "connect to this host for the upload; the certificate must still be for the "
        .. "URL's host" },
    }, text = {
      "Each URL is on a line of its own (XEP-0363). The file is not encrypted: everybody who knows the URL can read "
      .. "it, and so can the server. With --to, the exit status is 0 only if the server has acknowledged the messages, "
      .. "too. Uploading needs libcurl, which must have been there when xmpp was built.",
    } },
  { name = "check", summary = "check a server, for Nagios or Prometheus", usage = "[JID|DOMAIN]", min = 0, max = 1,
    kinds = { "jid" }, usage_status = 3, options = {
      { "warning", "w", "SECONDS", "a step that takes longer is a WARNING (default: 1)", kind = "seconds" },
      { "critical", "c", "SECONDS", "a step that takes longer is CRITICAL (default: 5)", kind = "seconds" },
      { "cert-days", false, "DAYS", "a certificate that expires sooner is a WARNING, within half of that CRITICAL "
        .. "(default: 14)", kind = "number" },
      { "only", false, "STEPS", "run only these steps, separated by commas: dns, tcp, tls, login, ping, echo, upload, "
        .. "muc (default: all that are possible)",
        kind = "choices", choices = { "dns", "tcp", "tls", "login", "ping", "echo", "upload", "muc" } },
      { "room", false, "ROOM", "in step muc: join this room, and leave it", kind = "room" },
      { "prometheus", false, false, "write metrics for the textfile collector of Prometheus's node exporter" },
    }, text = {
      "With a JID the check logs in to that account. With a DOMAIN it doesn't log in, and runs the steps dns, tcp and "
      .. "tls. Behind a proxy, the proxy's answer is a step of its own, proxy. The step muc asks the server's service "
      .. "for rooms, if there is one (--only makes it an error if there is none); with --room it joins that room "
      .. "instead, which its occupants see. The exit status is that of a Nagios plugin: 0 OK, 1 WARNING, 2 CRITICAL, "
      .. "3 UNKNOWN, the last also for wrong usage and a faulty configuration.",
    } },
  { name = "console", summary = "open a Lua prompt with a connection", usage = "", min = 0, max = 0, options = {},
    text = {
      "The prompt evaluates Lua, with the globals conn (the connection), xmpp and xexpr. A line that begins with < is "
      .. "sent as XML. Stanzas that come in are shown. A line that begins with a space is not kept in the history.",
    } },
  { name = "run", summary = "run a bot, a Lua program that gets a connection", usage = "BOT.lua [ARG...]", min = 1,
    max = HUGE, stops = true, kinds = { "file" }, options = {
      { "reload", false, false, "load the program again on SIGHUP, or when its file changes; the session continues" },
      { "drain", false, "SECONDS", "on SIGTERM: take at most this long to finish what has come in (default: 5)",
        kind = "seconds" },
    }, text = {
      "The program has the globals conn (the connection, which is already established, and connects again when it is "
      .. "lost), xmpp, and log(...), which writes to standard error. The bot ends in order on SIGTERM or SIGINT, by "
      .. "xmpp.quit(), or when conn is closed for good. On SIGTERM no more stanzas are taken, handlers and callbacks "
      .. "finish, what they have sent is delivered, and the stream is closed; the exit status is 0 if all of that was "
      .. "done in time and 8 if not, and then standard error tells what was left undone. Six seconds "
      .. "after that time has passed, or at once on a second SIGTERM or SIGINT, the process is ended in any case.",
    } },
  { name = "account", summary = "show or change the accounts in the configuration", usage = "WORD [...]", min = 1,
    max = 3, words = {
      { "add", "JID [NAME]", "ask for the password, log in with it, and store both" },
      { "list", "", "list the names and addresses of the accounts" },
      { "check", "[NAME]", "log in, and show by which mechanism" },
      { "password", "[NAME]", "ask for a new password, log in with it, and store it" },
      { "remove", "NAME", "remove an account, and the password and the token that are stored for it" },
    }, options = {} },
  { name = "logout", summary = "revoke the stored token of an account", usage = "[NAME]", min = 0, max = 1,
    options = {}, text = {
      "A token (XEP-0484) is what an account with keep-token = true logs in with instead of its password. The server "
      .. "revokes it, along with those that it replaced, and then the file with the token is removed. If the server "
      .. "can't be asked, the file stays, and the exit status says why. As long as keep-token is set, the next login "
      .. "with the password gets a new token.",
    } },
  { name = "completion", summary = "print a completion script for a shell", usage = "SHELL", min = 1, max = 1,
    offline = true, words = { { "bash", "", "" }, { "zsh", "", "" }, { "fish", "", "" } }, options = {}, text = {
      "For bash, put this into ~/.bashrc: eval \"$(xmpp completion bash)\"",
    } },
  { name = "help", summary = "list the subcommands, or show the help of one", usage = "[SUBCOMMAND]", min = 0, max = 1,
    offline = true, kinds = { "command" }, options = {} },
}

-- Subcommands that only the completion scripts use: no help or list shows them.
spec.hidden = {
  { name = "contacts", summary = "print the contacts that are cached for completion", usage = "", min = 0, max = 0,
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
