-- modules: the pages of the reference, in their order, and what of the library each describes.
--
-- A page:
--   file       its name without ".md"
--   title      its heading
--   intro      what the module is for, in Markdown
--   guide      { file, title } pairs: where it is explained at length
--   sections   { title =, prefix = what stands in front of a function's name, sources = { { file, table }... },
--              self = is the first parameter left out? (where a method is written with a dot), intro =,
--              handle = for spec/manual_names.lua: which living value has these methods,
--              internal = names that are for the library's own modules }
--   events     { name, arguments, text } triples of what `on` takes
--   types      classes and aliases that are described on this page instead of types.md
--
-- Nothing here describes a function: that is done where the function is written, and reference.lua reads it there.
return {
  { file = "xmpp", title = "xmpp", module = "xmpp",
    intro = 'What `require "xmpp"` returns: connecting, addresses, the event loop, and waiting. Every method of a '
      .. "[connection](connection.md) is also a function of this module that takes the connection first: "
      .. "`xmpp.send(conn, stanza)` is `conn:send(stanza)`. The one exception is `xmpp.jid`, which makes an address; "
        .. "the "
      .. "method `conn:jid()` is `xmpp.connection_jid`.",
    guide = { { "waiting", "Waiting and event loops" }, { "options", "Options" } },
    sections = {
      { title = "Functions", prefix = "xmpp.", sources = { { "types.lua", "xmpp" } } },
      { title = "Addresses", prefix = "jid:", sources = { { "types.lua", "Jid" } }, handle = "jid",
        intro = "Methods of what `xmpp.jid` returns; see [`xmpp.Jid`](types.md#xmppjid) for its fields." },
      { title = "Timers", prefix = "timer:", sources = { { "types.lua", "Timer" } }, handle = "timer" },
      { title = "Promises", prefix = "promise:", sources = { { "types.lua", "Promise" } }, handle = "promise" },
      { title = "Channels", prefix = "channel:", sources = { { "types.lua", "Channel" } }, handle = "channel" },
    } },
  { file = "connection", title = "Connections", module = nil,
    intro = "Methods of what `xmpp.connect_client`, `xmpp.connect_component` and `xmpp.resume` return.",
    guide = { { "messages", "Sending and receiving" }, { "delivery", "Nothing is lost" } },
    sections = {
      { title = "Methods", prefix = "conn:", sources = { { "types.lua", "Conn" } }, handle = "conn" },
    } },
  { file = "xexpr", title = "xmpp.xexpr", module = "xmpp.xexpr",
    intro = "Functions that read, build, compare and print stanzas. `xmpp.xexpr` is the same table as "
      .. '`require "xmpp.xexpr"`. No function changes its arguments.',
    guide = { { "stanzas", "Stanzas" } },
    sections = {
      { title = "Functions", prefix = "xexpr.", sources = { { "xexpr.lua", "M" } } },
      { title = "Who sent it", prefix = "xexpr.", sources = { { "xexpr/who.lua", "M" } },
        intro = "These functions look at the sender before they believe what a stanza says. `me` is a connection or "
          .. "your "
          .. "own address." },
    } },
  { file = "contract", title = "xmpp.contract", module = "xmpp.contract",
    intro = "Tests whether the library would accept a value, without handing it over. Each function returns `true`, or "
      .. "`false` and the reason. None of them raises an error.",
    guide = { { "stanzas", "Stanzas" } },
    sections = { { title = "Functions", prefix = "contract.", sources = { { "contract.lua", "M" } } } } },

  { file = "iq", title = "xmpp.iq", module = "xmpp.iq",
    intro = "Questions and answers: asking another entity, and answering what others ask (RFC 6120, 8.2.3).",
    guide = { { "services", "Questions, answers and discovery" } },
    sections = { { title = "Functions", prefix = "iq.", sources = { { "iq.lua", "M" } } } } },
  { file = "disco", title = "xmpp.disco", module = "xmpp.disco",
    intro = "Service discovery (XEP-0030): what others are and offer, and what we tell them about ourselves.",
    guide = { { "services", "Questions, answers and discovery" } },
    sections = { { title = "Functions", prefix = "disco.", sources = { { "disco.lua", "M" } },
      internal = { "hook", "own_info", "query" } } } },
  { file = "caps", title = "xmpp.caps", module = "xmpp.caps",
    intro = "Entity capabilities (XEP-0115, XEP-0390): what an entity offers, looked up by the hash in its presence. "
      .. "Use it "
      .. "as an extension, `ext.use(conn, caps)`, so that others can look us up as well.",
    guide = { { "services", "Questions, answers and discovery" } },
    sections = { { title = "Functions", prefix = "caps.", sources = { { "caps.lua", "M" } } } } },
  { file = "info", title = "xmpp.info", module = "xmpp.info",
    intro = "Small questions: ping (XEP-0199), software version (XEP-0092), time (XEP-0202), last activity "
      .. "(XEP-0012); and "
      .. "answers to them.",
    guide = { { "services", "Questions, answers and discovery" } },
    sections = { { title = "Functions", prefix = "info.", sources = { { "info.lua", "M" } } } } },
  { file = "ext", title = "xmpp.ext", module = "xmpp.ext",
    intro = "Extensions of a connection: how the library's own modules are built, and how to write one.",
    guide = { { "services", "Questions, answers and discovery" } },
    sections = {
      { title = "Functions", prefix = "ext.", sources = { { "ext.lua", "M" } } },
      { title = "Handles", prefix = "handle:", sources = { { "handle.lua", "methods" } }, self = true,
        handle = "handle",
        intro = "What `ext.use` returns, and so what `roster.use`, `chat.use` and the others return: a table of "
          .. "fields to "
          .. "read, with these methods." },
    } },

  { file = "presence", title = "xmpp.presence", module = "xmpp.presence",
    intro = "Our own presence, and that of others (RFC 6121, 4).",
    guide = { { "contacts", "Contacts and chat" } },
    sections = { { title = "Functions", prefix = "presence.", sources = { { "presence.lua", "M" } } } },
    events_of = "ext.use(conn, presence)",
    events = {
      { "presence", "jid, presence, stanza", "somebody is there, or no longer; `presence.type` is `nil`, "
        .. '"unavailable", or "error" for a presence of ours that came back' },
      { "reset", "", "there is a new session: what was known of others is forgotten and told again" },
    } },
  { file = "roster", title = "xmpp.roster", module = "xmpp.roster",
    intro = "The account's contact list and presence subscriptions (RFC 6121, 2 and 3).",
    guide = { { "contacts", "Contacts and chat" } },
    sections = {
      { title = "Functions", prefix = "roster.", sources = { { "roster.lua", "M" } } },
      { title = "The roster", prefix = "r:", sources = { { "roster.lua", "r" } }, self = true, handle = "roster",
        intro = "Methods of what `roster.use` returns; see [`xmpp.Roster`](types.md#xmpproster) for its fields." },
    },
    events_of = "r",
    events = {
      { "added", "item", "a contact was added" },
      { "changed", "item, old", "a contact was changed; `old` is the item as it was" },
      { "removed", "item", "a contact was removed; `item` is as it was" },
      { "request", "jid, stanza", "somebody asks to see our presence; told once for each address" },
      { "approved", "jid, item", "a contact lets us see its presence" },
      { "denied", "jid, item", "a contact does not let us see its presence, or no longer" },
      { "presence", "jid, presence, stanza", "the presence of a contact" },
      { "fetched", "items", "the roster of a new session is complete" },
    } },
  { file = "chat", title = "xmpp.chat", module = "xmpp.chat",
    intro = "One-to-one messages of a client account: receipts, chat states, markers, corrections, retractions, "
      .. "reactions, "
      .. "replies and carbon copies.",
    guide = { { "contacts", "Contacts and chat" } },
    sections = {
      { title = "Functions", prefix = "chat.", sources = { { "chat.lua", "M" } }, internal = { "rooms" } },
      { title = "The chat", prefix = "c:", sources = { { "chat/methods.lua", "H" } }, self = true, handle = "chat",
        intro = "Methods of what `chat.use` returns. Each that sends returns the message's id, or `nil, err`. `to` "
          .. "is a bare "
          .. "address, or a full one: then only that client gets the message." },
      { title = "xmpp.chat.message", prefix = "message.", sources = { { "chat/message.lua", "M" } },
        module = "xmpp.chat.message",
        intro = 'How messages are read into tables; `require "xmpp.chat.message"`. It sends nothing and asks '
          .. 'nothing.' },
    },
    events_of = "c",
    events = {
      { "message", "m, stanza", "there is something for a person to read; see [`xmpp.Message`](types.md#xmppmessage)" },
      { "corrected", "m, stanza", "`m` replaces the message `m.replaces`" },
      { "retracted", "m, stanza", "the message `m.retracts` was taken back by its author" },
      { "reacted", "m, stanza", "`m.reaction.list` is everything the sender now says about the message "
        .. "`m.reaction.id`" },
      { "receipt", "peer, id, stanza", "the other side has received our message" },
      { "displayed", "peer, id, stanza", "the other side has displayed our message" },
      { "state", "peer, state, stanza", "what the other side is doing: composing, paused, and so on" },
      { "error", "err, peer, id", "a message of ours came back; without `peer` and `id`: the server refuses carbon "
        .. "copies" },
    } },
  { file = "blocking", title = "xmpp.blocking", module = "xmpp.blocking",
    intro = "The account's block list (XEP-0191) and reports of spam (XEP-0377).",
    guide = { { "contacts", "Contacts and chat" } },
    sections = { { title = "Functions", prefix = "blocking.", sources = { { "blocking.lua", "M" } } } },
    events_of = "blocking.use(conn)",
    events = {
      { "blocked", "jid", "an address was blocked, by this client or another" },
      { "unblocked", "jid", "an address is no longer blocked" },
      { "fetched", "", "the list of a new session is complete" },
    } },
  { file = "vcard", title = "xmpp.vcard", module = "xmpp.vcard",
    intro = "vCards (XEP-0054): what people say about themselves.",
    guide = { { "nodes", "Nodes, profiles and bookmarks" } },
    sections = { { title = "Functions", prefix = "vcard.", sources = { { "vcard.lua", "M" } },
      internal = { "put" } } } },
  { file = "avatar", title = "xmpp.avatar", module = "xmpp.avatar",
    intro = "Profile pictures (XEP-0084, XEP-0153, XEP-0398).",
    guide = { { "nodes", "Nodes, profiles and bookmarks" } },
    sections = { { title = "Functions", prefix = "avatar.", sources = { { "avatar.lua", "M" } } } } },

  { file = "muc", title = "xmpp.muc", module = "xmpp.muc",
    intro = "Chat rooms (XEP-0045).",
    guide = { { "rooms", "Rooms" } },
    sections = {
      { title = "Functions", prefix = "muc.", sources = { { "muc/join.lua", "M.functions" }, { "muc.lua", "M" },
        { "muc/ask.lua", "M.functions" } } },
      { title = "A room", prefix = "room:", self = true, handle = "room",
        sources = { { "muc/say.lua", "M.methods" }, { "muc/leave.lua", "M.methods" }, { "muc/alive.lua", "M.methods" },
          { "muc/archive.lua", "M.methods" }, { "muc/owner.lua", "Room" } },
        intro = "Methods of what `muc.join` returns; see [`xmpp.Room`](types.md#xmpproom) for its fields." },
    },
    events_of = "room",
    events = {
      { "message", "m, stanza", "something was said to all; see [`xmpp.RoomMessage`](types.md#xmpproommessage)" },
      { "private", "m, stanza", "an occupant said something to us alone; `m.peer` is the occupant's full address" },
      { "join", "occupant", "somebody came in after us" },
      { "leave", "occupant, why", "somebody left; see [`xmpp.RoomWhy`](types.md#xmpproomwhy)" },
      { "change", "occupant, old", "an occupant's role, affiliation, address or status changed" },
      { "nick", "occupant, old", "an occupant has a new nick; `old` is the nick before" },
      { "subject", "text, nick", "there is a new subject; `nick` is who set it, if that is known" },
      { "status", "code, text", "the room itself says something (XEP-0045, 10.2.1)" },
      { "removed", "why", "we are no longer in the room; `why.returns` says whether we come back" },
      { "rejoined", "{ joined =, left = }", "we are in the room again; who came and who left meanwhile" },
      { "corrected", "m, stanza", "`m` replaces the message `m.replaces`" },
      { "retracted", "m, stanza", "the message `m.retracts` was taken back by its author" },
      { "reacted", "m, stanza", "reactions to the message `m.reaction.id`" },
      { "moderated", "what", "the room took a message back; see [`xmpp.RoomModeration`](types.md#xmpproommoderation)" },
      { "voice_request", "{ nick =, jid =, role = }", "somebody asks for the right to speak; answer with "
        .. '`room:set_role(nick, "participant")`' },
      { "declined", "{ from =, reason = }", "somebody declined an invitation" },
      { "error", "err, id, nick", "a message of ours came back; `nick` is set if it was whispered" },
    },
    more_events = { of = "muc.use(conn)", list = {
      { "invite", "invitation", "somebody invites us; see [`xmpp.Invitation`](types.md#xmppinvitation)" },
      { "refused", "invitation, err", "a room that the option `accept` said yes to could not be joined" },
    } } },
  { file = "bookmark", title = "xmpp.bookmark", module = "xmpp.bookmark",
    intro = "The rooms that an account keeps (XEP-0402, XEP-0048), joined and left as any of its clients says.",
    guide = { { "rooms", "Rooms" } },
    sections = {
      { title = "Functions", prefix = "bookmark.", sources = { { "bookmark.lua", "M" } } },
      { title = "The bookmarks", prefix = "b:", sources = { { "bookmark.lua", "b" } }, self = true,
        handle = "bookmarks",
        intro = "Methods of what `bookmark.use` returns." },
    },
    events_of = "b",
    events = {
      { "added", "entry", "a room was bookmarked" },
      { "changed", "entry, old", "a bookmark was changed" },
      { "removed", "entry", "a bookmark was removed" },
      { "fetched", "list", "the bookmarks of a new session are complete" },
      { "error", "err, entry", "a room could not be joined; without `entry`: the bookmarks could not be fetched" },
    } },
  { file = "archive", title = "xmpp.archive", module = "xmpp.archive",
    intro = "Message history (XEP-0313), of the account or of a room.",
    guide = { { "archive", "History" } },
    sections = { { title = "Functions", prefix = "archive.", sources = { { "archive.lua", "M" } } } } },

  { file = "pubsub", title = "xmpp.pubsub", module = "xmpp.pubsub",
    intro = "Publish-subscribe nodes (XEP-0060), at a service or of an account.",
    guide = { { "nodes", "Nodes, profiles and bookmarks" } },
    sections = {
      { title = "Functions", prefix = "pubsub.", sources = { { "pubsub.lua", "M" }, { "pubsub/publish.lua",
        "M.functions" },
        { "pubsub/items.lua", "M.functions" }, { "pubsub/node.lua", "F" }, { "pubsub/subscribe.lua", "F" } } },
      { title = "An event", prefix = "event:", sources = { { "pubsub/event.lua", "Event" } }, self = true,
        handle = "event", intro = "See [`xmpp.PubsubEvent`](types.md#xmpppubsubevent) for its fields." },
    } },
  { file = "pep", title = "xmpp.pep", module = "xmpp.pep",
    intro = "Personal eventing (XEP-0163): what an account publishes about itself, and private data (XEP-0223).",
    guide = { { "nodes", "Nodes, profiles and bookmarks" } },
    sections = { { title = "Functions", prefix = "pep.", sources = { { "pep.lua", "M" } } } } },
  { file = "upload", title = "xmpp.upload", module = "xmpp.upload",
    intro = "File upload (XEP-0363).",
    guide = { { "files", "Files and HTTP" } },
    sections = { { title = "Functions", prefix = "upload.", sources = { { "upload.lua", "M" } } } } },
  { file = "http", title = "xmpp.http", module = "xmpp.http",
    intro = "HTTPS requests on the library's loop, by libcurl.",
    guide = { { "files", "Files and HTTP" } },
    sections = { { title = "Functions", prefix = "http.", sources = { { "http.lua", "M" } } } } },
  { file = "hostmeta", title = "xmpp.hostmeta", module = "xmpp.hostmeta",
    intro = "Where else a domain can be reached (XEP-0156).",
    guide = { { "files", "Files and HTTP" } },
    sections = { { title = "Functions", prefix = "hostmeta.", sources = { { "hostmeta.lua", "M" } } } } },

  { file = "bot", title = "xmpp.bot", module = "xmpp.bot",
    intro = "Commands that people type, in rooms and in private.",
    guide = { { "commands", "Bots and commands" } },
    sections = {
      { title = "Functions", prefix = "bot.", sources = { { "bot.lua", "M" } } },
      { title = "The bot", prefix = "b:", sources = { { "bot.lua", "B" } }, self = true, handle = "bot",
        intro = "Methods of what `bot.use` returns; see [`xmpp.Bot`](types.md#xmppbot) for its fields." },
      { title = "The context of a command", prefix = "ctx:", sources = { { "bot/context.lua", "C" } }, self = true,
        handle = "ctx", intro = "See [`xmpp.BotContext`](types.md#xmppbotcontext) for its fields." },
    },
    events_of = "b",
    events = {
      { "room", "room", "one of the rooms of the option `rooms` was entered" },
      { "command", "ctx, args", "a command is about to be run" },
      { "error", "err, room", "one of the rooms of the option `rooms` could not be entered" },
    } },
  { file = "command", title = "xmpp.command", module = "xmpp.command",
    intro = "Ad-hoc commands (XEP-0050): offered to others, and run at others. `command.admin` has the node names of "
      .. "server administration (XEP-0133): `command.admin[\"add-user\"]`.",
    guide = { { "commands", "Bots and commands" } },
    sections = {
      { title = "Functions", prefix = "command.", sources = { { "command.lua", "M" } } },
      { title = "A dialog", prefix = "dialog:", sources = { { "command/dialog.lua", "D" } }, self = true,
        handle = "dialog", intro = "What the function of a served command is called with; see "
          .. "[`xmpp.Dialog`](types.md#xmppdialog) for its fields." },
    } },
  { file = "form", title = "xmpp.form", module = "xmpp.form",
    intro = "Data forms (XEP-0004) as tables. `form.DATA` is their namespace.",
    guide = { { "commands", "Bots and commands" } },
    sections = { { title = "Functions", prefix = "form.", sources = { { "form.lua", "M" } } } } },

  { file = "gateway", title = "xmpp.gateway", module = "xmpp.gateway",
    intro = "Gateways to other networks (XEP-0100): virtual users of a component's domain, and registration.",
    guide = { { "components", "Components and gateways" } },
    sections = {
      { title = "Functions", prefix = "gateway.", sources = { { "gateway.lua", "M" } } },
      { title = "The gateway", prefix = "g:", sources = { { "gateway/users.lua", "M" } }, self = true,
        handle = "gateway",
        only = { "user" } },
      { title = "A virtual user", prefix = "user:", sources = { { "gateway/users.lua", "H" } }, self = true,
        handle = "user", intro = "See [`xmpp.VirtualUser`](types.md#xmppvirtualuser) for its fields." },
    },
    events_of = "g",
    events = {
      { "message", "person, user, m, stanza", "somebody writes to a virtual user" },
      { "presence", "jid, presence, user", "somebody is there, or no longer; `user` is `nil` if it was said to the "
        .. "gateway" },
      { "subscribe", "person, user", "somebody may now see a virtual user's presence" },
      { "unsubscribe", "person, user", "somebody no longer sees it" },
      { "probe", "person, user", "somebody asked for a virtual user's presence; it was answered already" },
      { "register", "person, values", "somebody has registered" },
      { "unregister", "person, values", "somebody has ended the registration" },
      { "error", "person, user, err, id", "a virtual user's message came back" },
    } },
  { file = "escape", title = "xmpp.escape", module = "xmpp.escape",
    intro = "Names of other networks as localparts (XEP-0106).",
    guide = { { "components", "Components and gateways" } },
    sections = { { title = "Functions", prefix = "escape.", sources = { { "escape.lua", "M" } } } } },

  { file = "stream", title = "xmpp.stream", module = "xmpp.stream",
    intro = "A component's work spread over processes and machines, by Redis Streams. `xmpp.stream` is the same table "
      .. 'as `require "xmpp.stream"`. It needs [`xmpp.redis`](redis.md) and lua-cjson.',
    guide = { { "scaling", "More than one machine" } },
    sections = {
      { title = "Functions", prefix = "stream.", sources = { { "stream.lua", "M" } } },
      { title = "An intake", prefix = "intake:", sources = { { "stream/intake.lua", "I" } }, handle = "intake",
        intro = "Methods of what `stream.intake` returns." },
      { title = "A worker", prefix = "worker:", sources = { { "stream/worker.lua", "W" } }, handle = "worker",
        intro = "Methods of what `stream.worker` returns." },
    } },
  { file = "redis", title = "xmpp.redis", module = "xmpp.redis",
    intro = "A connection to a Redis server on the library's loop, by hiredis.",
    guide = { { "scaling", "More than one machine" } },
    sections = {
      { title = "Functions", prefix = "redis.", sources = { { "redis.lua", "M" } }, internal = { "gone" } },
      { title = "A connection", prefix = "r:", sources = { { "redis.lua", "R" } }, handle = "redis",
        intro = "Methods of what `redis.connect` returns. Any number of coroutines may call them at the same time: "
          .. "commands leave in the order of the calls." },
    } },

  { file = "register", title = "xmpp.register", module = "xmpp.register",
    intro = "Registration with servers and services, and changing the password (XEP-0077).",
    guide = { { "login", "Logging in" } },
    sections = { { title = "Functions", prefix = "register.", sources = { { "register.lua", "M" } } } } },
  { file = "csi", title = "xmpp.csi", module = "xmpp.csi",
    intro = "Client state (XEP-0352): telling the server whether a person uses the client.",
    guide = { { "contacts", "Contacts and chat" } },
    sections = { { title = "Functions", prefix = "csi.", sources = { { "csi.lua", "M" } } } } },
  { file = "health", title = "xmpp.health", module = "xmpp.health",
    intro = "A check of the connection and the server, for monitoring.",
    guide = { { "deploying", "Deploying" } },
    sections = { { title = "Functions", prefix = "health.", sources = { { "health.lua", "M" } } } } },

  { file = "time", title = "xmpp.time", module = "xmpp.time",
    intro = "Time stamps (XEP-0082) and the current time.",
    guide = { { "stanzas", "Stanzas" } },
    sections = { { title = "Functions", prefix = "time.", sources = { { "time.lua", "M" } } } } },
  { file = "spelling", title = "xmpp.spelling", module = "xmpp.spelling",
    intro = "Comparing addresses that servers may write differently (RFC 7622 and RFC 6122).",
    guide = { { "stanzas", "Stanzas" } },
    sections = { { title = "Functions", prefix = "spelling.", sources = { { "spelling.lua", "M" } } } } },
  { file = "color", title = "xmpp.color", module = "xmpp.color",
    intro = "The colour in which clients show a name (XEP-0392).",
    guide = { { "contacts", "Contacts and chat" } },
    sections = { { title = "Functions", prefix = "color.", sources = { { "color.lua", "M" } } } } },

  { file = "loop", title = "xmpp.loop", module = nil,
    intro = "Drivers for other event loops: `xmpp.loop.uv` for luv and Neovim, `xmpp.loop.cqueues`, `xmpp.loop.copas`.",
    guide = { { "waiting", "Waiting and event loops" } },
    sections = {
      { title = "luv and Neovim", prefix = "uv.", sources = { { "loop/uv.lua", "M" } }, module = "xmpp.loop.uv" },
      { title = "cqueues", prefix = "cqueues.", sources = { { "loop/cqueues.lua", "M" } },
        module = "xmpp.loop.cqueues" },
      { title = "Copas", prefix = "copas.", sources = { { "loop/copas.lua", "M" } }, module = "xmpp.loop.copas" },
      { title = "A driver", prefix = "driver:", sources = { { "loop/driver.lua", "Driver" } } },
    } },

  { file = "testing", title = "xmpp.testing", module = "xmpp.testing",
    intro = "A server inside your test: no network, and time passes only when the test says so.",
    guide = { { "testing", "Testing your bot" } },
    sections = {
      { title = "Functions", prefix = "testing.", sources = { { "testing.lua", "M" } } },
      { title = "A test", prefix = "t:", sources = { { "testing.lua", "Test" } }, handle = "test" },
      { title = "A room in a test", prefix = "room:", sources = { { "testing/room.lua", "Room" } },
        handle = "test_room" },
      { title = "A contact in a test", prefix = "contact:", sources = { { "testing/contact.lua", "Contact" } },
        handle = "test_contact" },
      { title = "A pubsub service in a test", prefix = "service:", sources = { { "testing/pubsub.lua", "Service" } },
        handle = "test_pubsub" },
      { title = "An archive in a test", prefix = "archive:", sources = { { "testing/archive.lua", "Archive" } },
        handle = "test_archive" },
      { title = "An upload service in a test", prefix = "upload:", sources = { { "testing/upload.lua", "Upload" } },
        handle = "test_upload" },
      { title = "Forgeries", prefix = "t.forge.", sources = { { "testing/forge.lua", "F" } }, self = true,
        handle = "forge",
        intro = "What an attacker would send. Each is received by the program at once and is returned. `from` is the "
          .. "address that the server stamps on it: who really sends it. The honest sender's address makes it "
            .. "genuine." },
    } },
}
