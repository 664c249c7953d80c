---@meta _
-- luacheck: ignore 211 212 241
-- types: what the library's public values and functions are, in LuaCATS, for editors and lua-language-server. Never
-- loaded.
--
-- Here stands what C provides, and every type. The functions of xmpp.xexpr and xmpp.contract carry their annotations
-- where they are written, in xexpr.lua and contract.lua.
-- Everywhere: times are seconds (fractions allowed), sizes are bytes, strings are UTF-8. A caller's mistake raises at
-- the caller's line; what the world does wrong comes as `nil, err`. What waits yields in a coroutine, and turns the
-- loop on the main thread.

-- Stanzas

--- Attribute values by name: "to", "xml:lang", and under the Clark key "{uri}local" any other that has a namespace. All
--- are strings in what is received; in what is sent numbers and Jids will do.
---@alias xmpp.Attributes table<string, string|number|xmpp.Jid>

--- Text, or an element. Received texts are strings, never empty, never two side by side.
---@alias xmpp.Child string|number|xmpp.Jid|xmpp.Element

--- `{ name, attributes, child... }`: plain data without metatable. Received ones always have slot 2, and an `xmlns`
--- only where it differs from the parent's (at the top: from the stream's). What is sent may leave slot 2 out:
--- `{"body", "Hi"}`.
---@class xmpp.Element
---@field [1] string the element's name, an XML NCName
---@field [2] xmpp.Attributes|xmpp.Child|nil a table without [1] is the attributes, one with a string [1] a child
---@field [integer] xmpp.Child

--- An element named message, presence or iq: what `send` takes and handlers get.
---@alias xmpp.Stanza xmpp.Element

--- RFC 6120 8.3.2: what the sender of a refused stanza can do.
---@alias xmpp.StanzaErrorType
---| "auth" # try again with credentials
---| "cancel" # do not try again
---| "continue" # go on, it was only a warning
---| "modify" # try again with other data
---| "wait" # try again later

--- RFC 6120 8.3.3.
---@alias xmpp.StanzaErrorCondition
---| "bad-request" | "conflict" | "feature-not-implemented" | "forbidden" | "gone" | "internal-server-error"
---| "item-not-found" | "jid-malformed" | "not-acceptable" | "not-allowed" | "not-authorized" | "policy-violation"
---| "recipient-unavailable" | "redirect" | "registration-required" | "remote-server-not-found"
---| "remote-server-timeout" | "resource-constraint" | "service-unavailable" | "subscription-required"
---| "undefined-condition" | "unexpected-request"

--- What an error stanza says: see `xexpr.error`.
---@class xmpp.StanzaError
---@field condition xmpp.StanzaErrorCondition
---@field type xmpp.StanzaErrorType what can be done about it
---@field text string? for a person
---@field app string? the name of the application's own condition
---@field by string? the address of who has found the error

-- Errors

---@alias xmpp.Layer
---| "dns" | "tcp" | "tls" | "stream" | "sasl" | "bind" | "stanza" | "timeout" | "closed" | "limit"
---| "proxy" | "websocket" | "http" | "redis"

--- What comes after nil when the world failed. As text, by `tostring(err)` or joined to a string by `..`, it is one
--- good line.
---@class xmpp.Error
---@field layer xmpp.Layer where it happened; "closed": the connection had ended, `text` says why
---@field condition string the RFC's or the system's own name: "not-authorized", "ECONNREFUSED", "certificate-expired"
---@field text string for a person: what was tried, what came, what to do; never a secret
---@field retry boolean could trying again, unchanged, work?
---@field stanza xmpp.Stanza? the stanza that carries the error, where there is one

-- Files and the web (xmpp.upload, xmpp.http)

---@class xmpp.HttpRequest
---@field url string https://..., in ASCII
---@field method? string "GET"; with a body "POST"
---@field headers? table<string, string|number>
--- a function gives the next bytes, "" if there are none just now, nil at the end, nil and a reason where it fails; it
--- may wait
---@field body? string|fun(n: integer): string?, any
---@field size? integer bytes of what the function gives; absent: it is sent in chunks
---@field timeout? number seconds for all of it (60)
---@field stall? number seconds without a byte (60)
---@field max? integer bytes of the response's body (1 MiB)
---@field progress? fun(moved: integer, size: integer?): boolean? bytes that were sent, or have come; false cancels
---@field cancel? xmpp.Promise ends it when it is settled
---@field resolve? string a host or an address to connect to, whatever DNS says
---@field ca_file? string PEM; without either the system's, or SSL_CERT_FILE's and SSL_CERT_DIR's
---@field ca_dir? string
---@field pin? string SHA-256 of the server's public key, base64; asked for besides the rest
---@field insecure? boolean the certificate isn't looked at
---@field http? boolean http:// may be asked, too
---@field proxy? string|false the environment's; false: none. Behind one `public` looks at the URL alone
---@field public? boolean connect to public addresses only
---@field but? string and to that one

---@class xmpp.UploadOptions
---@field progress? fun(sent: integer, size: integer): boolean? false cancels
---@field random_name? boolean (true) false: the service is told the file's own name
---@field type? string "image/png"; else by the name's ending
---@field timeout? number seconds for putting it (3600)
---@field stall? number seconds without a byte (60)
---@field wait? number seconds for each answer of the service
---@field cancel? xmpp.Promise ends it when it is settled
---@field service? string|xmpp.Jid another than the server's own
---@field private? boolean it may be put at an address that isn't public
---@field insecure? boolean no certificate is looked at, and http to this machine is taken
---@field resolve? string as of xmpp.HttpRequest
---@field pin? string
---@field http? fun(request: xmpp.HttpRequest): { status: integer }?, any instead of http.request

-- Redis, and work that is spread over processes (xmpp.redis, xmpp.stream)

--- Where a Redis server is, and how to log in to it.
---@class xmpp.RedisOpts
---@field host? string a name or an address ("127.0.0.1")
---@field port? integer (6379)
---@field path? string the socket of a server on this machine, instead of host and port
---@field user? string of an access control list (ACL); needs a password
---@field password? string|fun(): string
---@field db? integer the number of the database (0)
---@field tls? boolean (false) true: TLS, with a certificate that is checked
---@field tls_name? string the certificate must be for this name (the host's)
---@field ca_file? string PEM; without ca_file and ca_dir the system's CAs are trusted
---@field ca_dir? string
---@field cert? string PEM file of a client certificate
---@field key? string PEM file of its key
---@field timeout? number seconds to connect, and for each reply (10)
---@field max? integer bytes of one reply (64 MiB)

--- What an entry of a stream was when a worker's handler, or the function `on_dead`, is called.
---@class xmpp.StreamEntry
---@field id string its id in Redis
---@field stream string the name of the stream
---@field key string? what the stream was chosen by: the sender's bare address, unless the intake's option `key` says
--- something else
---@field deliveries integer how often it has been given to a handler, this time included
---@field stanza xmpp.Stanza? nil: there is none in it, or a damaged one

--- The options that an intake and a worker share. `name`, `redis` and `streams` must be the same in all processes of a
--- farm.
---@class xmpp.StreamOpts
---@field redis xmpp.RedisOpts the server that holds the streams
---@field name string what the names of all keys in Redis begin with: up to 100 letters, digits, ".", "_" and "-"
---@field streams? integer into how many streams the work is divided, each way; at least as many as there will ever be
--- workers, since a stream has one worker at a time. It can't be changed later (16)
---@field max_length? integer how many entries a stream holds; when it is full, what fills it waits (10,000)
---@field lease? number seconds for which a stream belongs to a process that says nothing more (5). A handler that
--- blocks the whole process for longer loses its stream to another worker
---@field batch? integer how many entries are fetched at once (32)
---@field max_deliveries? integer how often an entry is tried before it goes to the stream NAME:dead (5)
---@field max_dead? integer about how many entries that one keeps; older ones are deleted (10,000)
---@field volatile? boolean true: a Redis that may lose what it has will do (false)
---@field consumer? string how this process is called in Redis, together with a random part ("p")
--- called with an entry that went to NAME:dead, and why. Without it this is reported to xmpp.on_error
---@field on_dead? fun(entry: xmpp.StreamEntry, err: xmpp.Error)
--- called with "waiting" and the reason when something holds the work up, and with "ready" when it goes on. Without it
--- the reasons are reported to xmpp.on_error
---@field on_state? fun(state: "waiting"|"ready", err: xmpp.Error?)

---@class xmpp.IntakeOpts: xmpp.StreamOpts
--- how to connect as a component; the intake connects again by itself. If the server lets the domain have one
--- connection (Prosody), it waits for the place of another intake. With ejabberd let one intake connect to each node:
--- two at one node get the stanzas of a sender in turns, so that their order isn't kept
---@field component? { host: string, port: integer, domain: string, secret: string|fun(): string, opts: xmpp.Opts? }
---@field conn? xmpp.Conn instead of component: a connection of a component or of an account
--- which stream a stanza goes to: "sender", its sender's bare address; "bot", the bare address that it was sent to; or
--- a function that returns a string. Stanzas with the same key are handled in order ("sender")
---@field key? "sender"|"bot"|fun(stanza: xmpp.Stanza): string
---@field accept? fun(stanza: xmpp.Stanza): any false or nil: the stanza isn't taken; the default is to take every one
---@field remember? number seconds for which a message that comes again is dropped, and an answer isn't sent again
--- (86,400)
---@field in_flight? integer how many stanzas may wait for Redis before nothing more is read (500)

---@class xmpp.WorkerOpts: xmpp.StreamOpts
--- called for each stanza, in a coroutine, so it may wait. `again`: how often it was begun before, nil: never. It
--- returns a stanza, a list of stanzas, or nothing. When it throws, the stanza is tried again
---@field handler fun(stanza: xmpp.Stanza, again: integer?, entry: xmpp.StreamEntry): any
---@field pause? number seconds before a stanza is tried again; each time twice as many, up to 60 (1)

-- Addresses (RFC 7622)

--- A prepared address. Equal ones are one value: they compare equal with `==`, and are one key of a table;
--- `tostring(jid)` is its text. Cannot be changed.
---@class xmpp.Jid
---@field localpart string? nil when absent
---@field domainpart string
---@field resourcepart string? nil when absent
local Jid = {}

--- The address without its resourcepart.
---@return xmpp.Jid
function Jid:bare() end

--- The address with another resourcepart, prepared. nil and a reason's error when it can't be one (empty, too long, a
--- character that RFC 7622 3.4 forbids).
---@param resource string
---@return xmpp.Jid?
---@return xmpp.Error?
function Jid:with_resource(resource) end

--- What an entity is and has (XEP-0030, XEP-0128).
---@class xmpp.DiscoInfo
---@field identities { category: string, type: string, name: string?, lang: string? }[] in their order
---@field features table<string, true>
---@field forms table<string, table<string, string[]>> FORM_TYPE -> var -> values

---@class xmpp.DiscoItem
---@field jid string prepared
---@field node string?
---@field name string?

--- An entity and what belongs to it; without identities nobody has asked it, without items nobody for them.
---@class xmpp.DiscoTree: xmpp.DiscoItem
---@field identities { category: string, type: string, name: string?, lang: string? }[]?
---@field features table<string, true>?
---@field forms table<string, table<string, string[]>>?
---@field items xmpp.DiscoTree[]?
---@field error string? why it could not be asked
---@field more boolean? there was more than a bound let through

--- A presence that was heard (RFC 6121 4.7).
---@class xmpp.Presence
---@field type "unavailable"|"error"|nil nil: it is there
---@field show "away"|"chat"|"dnd"|"xa"|nil
---@field status string? cut at 4,096 bytes
---@field priority integer? -128 to 127; nil where it isn't there
---@field since number when that was said: by its stamp (XEP-0203), else when it came
---@field idle_since number? since when nobody has been active there (XEP-0319)
---@field caps string? the hash of what it can do (XEP-0115): see `caps.of`
---@field error string? the condition of an error

--- A contact (RFC 6121 2.1.2).
---@class xmpp.RosterItem
---@field jid string as the server writes it, prepared
---@field name string? that we have given
---@field subscription "none"|"to"|"from"|"both" "to": we see his presence, "from": he sees ours
---@field ask "subscribe"|nil we have asked to see his, and have no answer
---@field groups string[] sorted; shared with others who are in the same
---@field approved true? he will see ours when he asks, by `preapprove`; not every server tells

--- What roster.use gives; see xmpp/roster.lua for its methods and events.
---@class xmpp.Roster
---@field items table<string, xmpp.RosterItem> by their addresses; to be read
---@field requests table<string, true> bare addresses that have asked to see our presence and have no answer
---@field skipped integer contacts that are left out, since their address is none by RFC 7622

--- What is in a node (XEP-0060).
---@class xmpp.PubsubItem
---@field id string
---@field payload xmpp.Element?
---@field publisher string? prepared; the service's word

---@class xmpp.PubsubItems
---@field [integer] xmpp.PubsubItem
---@field next string? there is more behind this id

--- What a service tells of; see xmpp.pubsub's `on`. event:fetch() gives the payload, asked for if need be.
---@class xmpp.PubsubEvent
---@field kind "item"|"retract"|"purge"|"delete"|"config"|"subscription"
---@field from string the service, a bare address
---@field node string
---@field own boolean it is our own account's
---@field to string? which of our addresses it was sent to
---@field delayed boolean
---@field stamp number? when, if it was held back: seconds since 1970
---@field id string? of "item", "retract"
---@field payload xmpp.Element? of "item"
---@field publisher string? of "item"
---@field redirect string? of "delete": a URI
---@field form xmpp.Form? of "config"
---@field jid string? of "subscription": whose
---@field subscription string? of "subscription"

---@class xmpp.Subscription
---@field node string?
---@field jid string prepared: who gets the events
---@field subscription "none"|"pending"|"subscribed"|"unconfigured"
---@field subid string?

--- A room that an account keeps (XEP-0402).
---@class xmpp.Bookmark
---@field jid string prepared
---@field name string?
---@field nick string?
---@field password string?
---@field autojoin boolean

--- What bookmark.use gives; see xmpp/bookmark.lua for its methods and events.
---@class xmpp.Bookmarks
---@field list table<string, xmpp.Bookmark> by their addresses; to be read

--- A vCard (XEP-0054), by what somebody has written into his. `types`: "home", "work", "pref" and the like.
---@class xmpp.Vcard
---@field fn string?
---@field n { family: string?, given: string?, middle: string?, prefix: string?, suffix: string? }?
---@field nickname string?
---@field bday string?
---@field url string?
---@field title string?
---@field role string?
---@field desc string?
---@field note string?
---@field jabberid string?
---@field tz string?
---@field mailer string?
---@field uid string?
---@field rev string?
---@field org { name: string?, units: string[] }?
---@field email { address: string, types: string[] }[]?
---@field tel { number: string, types: string[] }[]?
---@field adr table[]? pobox, extra, street, locality, region, postcode, country, types
---@field photo { type: string?, data: string?, url: string?, error: string? }? data: its bytes
--- What blocking.use gives; see xmpp/blocking.lua for its events.
---@class xmpp.Blocking
---@field blocked table<string, true> prepared addresses; to be read
---@field skipped integer that are left out, since they are no addresses by RFC 7622
---@field beyond integer how many there are besides those that are kept

--- What came of a command that was run (XEP-0050).
---@class xmpp.CommandResult
---@field status "completed"|"canceled"
---@field notes { kind: "info"|"warn"|"error", text: string }[] one of kind "error": it has failed
---@field text string? the texts of all notes
---@field form xmpp.Form? what it shows
---@field element xmpp.Element? as it came
---@field unused string[] answers that no form has asked for

---@alias xmpp.FieldKind
---| "boolean" | "fixed" | "hidden" | "jid-multi" | "jid-single" | "list-multi" | "list-single" | "text-multi"
---| "text-private" | "text-single"

--- A field of a data form. Its value: a boolean; of the kinds -multi a list of strings; else a string, of jid-single
--- prepared, or a number where the datatype is one.
---@class xmpp.Field
---@field var string? nil only of kind "fixed"
---@field kind xmpp.FieldKind
---@field label string?
---@field description string?
---@field required boolean
---@field options { value: string, label: string? }[]?
---@field open boolean? another value than the options will do (XEP-0122)
---@field datatype string? "xs:integer" (XEP-0122)
---@field value any
---@field texts string[] its values as they stand

--- A data form (XEP-0004): see `form.parse`.
---@class xmpp.Form
---@field kind "form"|"submit"|"cancel"|"result"
---@field type string? its FORM_TYPE (XEP-0068)
---@field title string?
---@field instructions string?
---@field fields xmpp.Field[]
---@field values table<string, any> var -> value
---@field reported { var: string?, kind: xmpp.FieldKind, label: string? }[]? a table's columns
---@field items table<string, any>[]? its rows, var -> value

--- What a message says: see xmpp.chat.message. Plain data; addresses are prepared.
---@class xmpp.Message
---@field id string? its sender's; what receipts, markers and corrections of it name
---@field origin_id string? the same, where a server in between may change the other (XEP-0359)
---@field stanza_id string? the id that `by` gave it, where that entity announces that it gives ids
---@field by string? our own bare address, or a room's
---@field type "chat"|"normal"|"headline"|"groupchat"|string
---@field from string
---@field to string
---@field peer string the other side: its bare address; of an occupant of a room, who speaks to us alone, the full one
---@field private string? the bare address of that room
---@field direction "in"|"out" out: another client of our account has sent it
---@field text string? for a person, without what is there for clients that know less (XEP-0428)
---@field lang string? the text's language
---@field action string? what its sender does: the text behind "/me " (XEP-0245)
---@field subject string?
---@field stamp number? when it was said, seconds since 1970, if it was delayed; whoever delayed it says so
---@field delayed boolean?
---@field carbon boolean? it is a copy (XEP-0280) of what another client of ours has got or sent
---@field reply_to { id: string, jid: string? }? what it replies to (XEP-0461)
---@field url string? the text is this link (XEP-0066). Nobody has looked behind it
---@field thread string?
---@field spoiler string? a hint to what the text gives away (XEP-0382); may be ""
---@field encrypted string? "omemo" and the like (XEP-0380); the text is then for who can't read it
---@field markable boolean? its sender asks to be told when it has been displayed (XEP-0333)
---@field replaces string? the first id of the message that it takes the place of
---@field retracts string? the id of the message that its author takes back
---@field reaction { id: string, list: string[] }? to which message, and all that its sender thinks of it
---@field suspicious "correction"|"retraction"|"reaction"|nil it claims to be that, and isn't from who may

--- What a message claims of others, and asks for. Nobody has looked whether its sender may.
---@class xmpp.MessageClaims
---@field request boolean? a receipt
---@field receipt string? has that one
---@field markable boolean?
---@field displayed string? has displayed that one
---@field state "active"|"composing"|"paused"|"inactive"|"gone"|nil
---@field replaces string?
---@field retracts string?
---@field reaction { id: string, list: string[] }?

--- How a message is to be read: `me`, our address; `by`, whose stanza-id is believed, as it announces that it gives ids
--- (XEP-0359 6; none: nobody's); `direction` ("in"); `carbon`: it was inside of one; `lang` that is wanted; `room`: the
--- bare address of the room that it comes from.
---@class xmpp.MessageContext
---@field me xmpp.Jid|string
---@field by string?
---@field direction "in"|"out"|nil
---@field carbon boolean?
---@field lang string?
---@field room string?

-- Options

--- Those of tokens (XEP-0484, draft-schmaus-kitten-sasl-ht): EXPR, UNIQ and ENDP are bound to the TLS channel by
--- "tls-exporter", "tls-unique" and "tls-server-end-point"; NONE isn't. What ENDP and NONE show is the same each
--- time, so these two are used only where the option `mechanisms` names them.
---@alias xmpp.TokenMechanism
---| "HT-SHA-256-EXPR" | "HT-SHA-256-UNIQ" | "HT-SHA-256-ENDP" | "HT-SHA-256-NONE"

--- Strongest first, but for ANONYMOUS, which is for a JID without localpart or where nothing else is allowed. Those in
--- -PLUS are bound to the TLS channel.
---@alias xmpp.Mechanism
---| "EXTERNAL" | "SCRAM-SHA-512-PLUS" | "SCRAM-SHA-256-PLUS" | "SCRAM-SHA-1-PLUS" | "SCRAM-SHA-512" | "SCRAM-SHA-256"
---| "SCRAM-SHA-1" | "PLAIN" | "ANONYMOUS" | xmpp.TokenMechanism

--- What a login can be by instead of the password (XEP-0484), as `conn:token` and the event "token" give it and the
--- option `token` and `xmpp.logout` take it. It is as secret as a password: keep it where only the user reads it.
--- Plain data, also after a journey through JSON.
---@class xmpp.Token
---@field version integer 1
---@field jid string whose it is: the bare address
---@field user_agent string the UUID that it belongs to, in lower or upper case as it was given
---@field mechanism xmpp.TokenMechanism the only one that it is shown by
---@field token string the secret itself, at most 1,024 bytes
---@field expiry number? seconds since 1970, by the server's word; a year away at most; absent: it hasn't said

--- Who this client is to the server (XEP-0388 2.3.1). Nobody else is told.
---@class xmpp.UserAgent
---@field id? string a random UUID, made once for this installation and this account: two connections that are up at the
--- same time must not share one (the server ends the older), nor two accounts (it could tell that they belong together)
---@field software? string what people may read, at most 64 bytes ("xmpp for Lua", where there is an id)
---@field device? string the same of the machine; a host name tells more than is needed (none)

--- How the server binds the resource within the login (XEP-0386).
---@class xmpp.Bind2
---@field tag? string a short name of the program, at most 64 bytes, which the server makes a part of the resource, for
--- contacts to see ("lua")
---@field carbons? boolean carbons are on with it (XEP-0280), where the server offers that there (false)
---@field inactive? boolean the client begins as inactive (XEP-0352), where the server offers that there (false)

--- Options of `connect_client` and `connect_component`. An unknown one raises and names the nearest that is known.
---@class xmpp.Opts
--- Dial this host and no other: a name, or an address ("fe80::1%eth0"; none: the JID's domain by SRV, then the domain
--- itself)
---@field host? string
---@field port? integer TCP port, 1 to 65535 (5222 where SRV gives none)
--- "starttls": as RFC 6120 5; "direct": TLS first, XEP-0368; "none": for a client only when the peer is a loopback
--- address, and never behind a proxy ("starttls")
---@field tls? "starttls"|"direct"|"none"
--- what to connect through: "socks5://user:password@host:port", with SRV asked for here, and every other name by the
--- proxy; "socks5h://...", with no name looked up here at all; "http://user:password@host:port", by CONNECT;
--- "environment": what ALL_PROXY or https_proxy says, but for what NO_PROXY names; false: nothing (nothing)
---@field proxy? string|false
--- connect by WebSocket (RFC 7395), a client only: "wss://host[:port]/path", or "ws://" to a loopback address; or
--- "host-meta", the first such URL that the domain's web server names (XEP-0156). Raises together with `host`, `port`
--- or `tls`, and where the build has no wslay (none: TCP)
---@field url? string
---@field ca_file? string PEM file of trusted certificates (none: the system's)
---@field ca_dir? string directory of trusted certificates, hashed as OpenSSL does (none: the system's)
--- the name that the certificate must be for (the JID's domainpart, whatever host was dialled; over WebSocket that or
--- the URL's host)
---@field tls_name? string
---@field pin? string base64 of the SHA-256 of the certificate's public key (SPKI), asked for besides the rest (none)
---@field cert? string PEM file with our certificate, for SASL EXTERNAL (none)
---@field key? string PEM file with the key to `cert` (none)
---@field verify? boolean false: any certificate will do; warned about (true)
---@field mechanisms? xmpp.Mechanism[] the only SASL mechanisms that may be used (all there are)
--- false: never send the password itself, SASL PLAIN (true: over verified TLS, where nothing better is offered, and
--- never for an account that has logged in by something better since the program began, or since `forget`)
---@field plain? boolean
--- false: nothing of this login is kept for the next one, and nothing that was kept is used: no SCRAM keys, no TLS
--- session, nothing of what the server offered or objected to, nor that the account was bound to the channel (true).
--- But that there is no PLAIN any more for an account (see `plain`) goes for such a connection, too. See `forget`
---@field remember? boolean
---@field resource? string resourcepart to ask for (the JID's own, else "lua-" and random text)
--- log in by SASL2 (XEP-0388) where the server offers it under TLS; false: by the SASL of RFC 6120 alone (true)
---@field sasl2? boolean
--- bind within the login (XEP-0386), where the server offers that inside of SASL2. Servers with an archive may throw
--- offline messages away then, so it is for programs that read the archive. A string is the tag. The server chooses the
--- resource: not together with `resource` or a resourcepart of the JID, which raises (false)
---@field bind2? boolean|string|xmpp.Bind2
---@field user_agent? xmpp.UserAgent who this client is to the server (none: it isn't said)
--- ask for a token (XEP-0484), keep it in locked memory, and log in by it the next time that this account connects with
--- this `user_agent.id`. true without an id: one is made for this connection. false: that isn't done, whatever there is
--- (true where there is a `user_agent.id` or a `token`, else false)
---@field fast? boolean
--- one of an earlier process's, for which no password is needed. It must be this account's and, where that is given,
--- this `user_agent.id`'s, else it raises. If the server refuses it the password is used, where there is one; else the
--- error has layer "sasl", condition "not-authorized" or "credentials-expired" (none)
---@field token? xmpp.Token
--- name servers to ask, as "192.0.2.1:53", comma-separated (the system's)
---@field nameservers? string
---@field lang? string xml:lang of our stream ("en")
---@field timeout? number seconds until connecting is given up, over all its phases (30)
---@field await_timeout? number seconds that a response is waited for, math.huge for no end (60)
--- seconds without sending after which something is sent: an <r/> with stream management, else a space (RFC 6120
--- 4.6.1) or, when nothing has come for long, a ping (XEP-0199); 0: nothing (60)
---@field keepalive? number
--- of a component: when nothing has come for as long as `keepalive`, it sends itself a message through the server (see
--- `probe`). The next one follows when that isn't back within `ack_timeout`, and the third in a row that isn't ends the
--- link. A client can't have it, which raises (false)
---@field keepalive_probe? boolean
--- Is a session asked for that the server keeps when the link breaks (XEP-0198)? true: and it is gone back to, for as
--- long as the server keeps it; false: no; none: with `reconnect` only. `save` needs one of them
---@field resume? boolean
---@field reconnect? boolean|xmpp.Reconnect connect again when the link is lost and trying again can help (false)
---@field max_age? number seconds after which what still waits isn't sent in a new session, but comes back (600)
---@field ack_timeout? number seconds that the server has to acknowledge or to give a sign of life (20)
--- Is what is safe said before the server asks for it (XEP-0305)? To one at which a login has succeeded before, and
--- which hasn't objected; "eager": to a stranger, too; false: to none (true)
---@field pipelining? boolean|"eager"
--- a component's stanzas may have a `from` outside of its domain, since its server allows that; without it `send` says
--- nil, err (layer "stanza", condition "invalid-from") (false)
---@field foreign_from? boolean
--- go where the server says, RFC 6120 4.9.3.19, at most 3 times in a row; over WebSocket to another wss:// URL,
--- RFC 7395 3.6.1 (false)
---@field see_other_host? boolean
---@field on_response? fun(stanza: xmpp.Stanza?, conn: xmpp.Conn, err: xmpp.Error?, id: string) of `resume`: hears what
--- answers the saved session's requests (none: they come as ordinary stanzas)
--- The bounds of a stanza, whichever way it goes: what crosses one is skipped when it comes in (see `on`), and
--- refused by `send`. Bytes of all of it (10 MiB; 64 KiB until the resource is bound)
---@field max_stanza? integer
---@field max_start_tag? integer bytes of one tag in it (1 MiB; 64 KiB until the resource is bound)
---@field max_depth? integer elements inside each other, at most 1,000 (128)
---@field max_attributes? integer attributes of an element, but for a stanza's own `to`, `from` and `xml:lang` (256)
---@field max_nodes? integer elements and texts, and as many attributes (500,000)
--- bytes of a namespace; those in the names of attributes have 1,024 times as many in all (1,024)
---@field max_namespace? integer
--- bytes that may wait to be sent or acknowledged; that were received and not taken; and that handlers and callbacks
--- wait with, of which each is counted with 2 KiB besides its stanza (10 MiB)
---@field max_queue? integer
--- called in a coroutine as soon as it connects: the connection isn't ready, but can be watched and stopped (none)
---@field on_open? fun(conn: xmpp.Conn)
--- gets the XML that goes out and comes in, secrets masked as the README has it (none)
---@field log? fun(direction: "out"|"in", text: string)

--- The pauses between attempts are random, up to `min`, up to twice as long each time, never over `max` (full jitter).
--- A component's first attempt after a session that has lasted so long (see `attempts`) is made at once.
---@class xmpp.Reconnect
---@field min? number seconds (1)
---@field max? number seconds (60)
---@field attempts? integer until a session has stood for as long as `max`, at least 2 s, at most 30 (no end)

--- Options of `send`.
---@class xmpp.SendOpts
--- Is told what becomes of the stanza: "written" when the kernel has it, then exactly one of "acked" and "failed"
--- (`err` says why, and has the stanza). Without stream management, and for components, "written" is the end (none)
---@field on? fun(state: "written"|"acked"|"failed", err: xmpp.Error?)
--- true: it means something in the present session only, as a room's joining does: when that is lost it isn't sent in
--- the next one, and nobody but `on` is told that it has failed. A resumed session is the same one (false)
---@field session? boolean

--- Which stanzas a callback or a tap sees; what is absent may be anything. Decided before a table is made.
---@class xmpp.Filter
---@field name? string the stanza's name: "message", "presence" or "iq"
---@field type? string its type attribute
---@field xmlns? string the namespace of its first child element
---@field has? string the namespace of any of its child elements
---@field from? string|xmpp.Jid its sender, also as a server of RFC 6122 writes it (`strasse@` for `straße@`)
---@field id? string its id attribute
--- "from": called for one stanza of each sender (a full JID) at a time, in order; the next has its turn when the call
--- is over. What waits for its turn goes on to others meanwhile, and counts as a call that waits (option max_queue).
---@field serial? "from"

--- Gets every stanza of its connection; what it returns is ignored. Runs in a coroutine, so it may wait.
---@alias xmpp.Handler fun(stanza: xmpp.Stanza, conn: xmpp.Conn)

--- Gets what its filter lets through. Installed with `set_callback_once`, it is removed when it returns exactly true.
---@alias xmpp.Callback fun(stanza: xmpp.Stanza, conn: xmpp.Conn): any

--- Called once: with the response, or with nil and the error (layer "timeout", "closed", or "limit" for a response that
--- crossed a bound).
---@alias xmpp.ResponseCallback fun(stanza: xmpp.Stanza?, conn: xmpp.Conn, err: xmpp.Error?): ...

-- Connections. Every method is also a function of the module, the same value: `xmpp.send(conn, stanza)`.

---@class xmpp.Conn
local Conn = {}

--- Closes the stream in order: what is pending is delivered first (acknowledged, where there is stream management),
--- then the server's own closing is waited for. In any state; who calls it again can only shorten the time.
---@param timeout? number seconds after which the connection is cut (5)
---@return boolean? ok true; nil when it did not end in order, or stanzas are not known to have arrived
---@return xmpp.Error? err its text says how many
function Conn:stop(timeout) end

--- What `drain` has left.
---@class xmpp.Drained
--- what it has waited for: calls of handlers, callbacks and taps that waited when it began and have ended, and stanzas
--- that had come and were given to these since
---@field handled integer
---@field unfinished integer such calls that waited still when the connection had ended
---@field queued integer stanzas that lie in the receive queue, for `receive` or for a handler that had no time
--- stanzas that came and were given to nobody. With stream management the server has them still; those of a component
--- are lost
---@field unread integer
--- bytes of those, and of what had come and wasn't looked at when the connection ended; under TLS about so many
---@field unread_bytes integer
---@field unsent integer stanzas of ours that aren't known to have arrived
---@field late boolean the time was over before all was done

--- Closes the stream in order when all that has come is done with. Nothing more is taken: what was received is given
--- out, and then nothing is read but for responses and acknowledgements that somebody waits for. Handlers, callbacks
--- and taps finish, also those that wait, and may send until then; not waited for are a call that waits for this
--- itself, and tasks. With stream management the server is told how much was handled, and has the rest still. In any
--- state; who calls it again, or after `stop`, gets the same, by the earlier of both times.
---@param timeout? number seconds for all of it, of which a tenth (at most one second) is kept for the stream's end (30)
---@return xmpp.Drained left
---@return xmpp.Error? err not in order: layer "timeout" where calls have not ended in time, else as `stop`
function Conn:drain(timeout) end

--- Sends a stanza: at once outside a dispatch; inside one, all that was sent leaves together at its end. Raises, with
--- the path to the fault, for a stanza that `contract.stanza` refuses; then nothing of it was written. An iq that asks
--- (get, set) and has no id gets one on the wire.
---@param stanza xmpp.Stanza
---@param opts? xmpp.SendOpts
---@return boolean? ok true
---@return xmpp.Error? err layer "closed", or "limit" when `max_queue` is reached
function Conn:send(stanza, opts) end

--- Waits until all that was sent before has arrived: the server has acknowledged it (XEP-0198), or, without stream
--- management, the kernel has it. What is sent meanwhile isn't waited for.
---@param timeout? number seconds
---@return boolean? ok true
---@return xmpp.Error?
function Conn:flush(timeout) end

--- What isn't known to have arrived (see `flush`).
---@return integer bytes
---@return integer stanzas
function Conn:pending() end

--- Asks the server whether it is there (XEP-0199).
---@param timeout? number seconds (await_timeout, 60)
---@return number? seconds that the answer took
---@return xmpp.Error?
function Conn:ping(timeout) end

--- Of a component: sends a message to itself, through the server, from and to a random address of its domain. That it
--- comes back proves that the server routes the domain to this connection; white space and TCP don't. Nobody else sees
--- it come. Where the domain has several connections (ejabberd), one of this library that gets another's sends it on.
--- Raises for a client, which has `ping`.
---@param timeout? number seconds (await_timeout, 60)
---@return number? seconds that it took
---@return xmpp.Error? err layer "timeout": it hasn't come back; "closed": there is no session to send it in; "limit"
function Conn:probe(timeout) end

---@alias xmpp.State
---| "connecting" # finding the server, and dialling
---| "securing" # TLS
---| "upgrading" # from HTTP to a WebSocket, with the option `url`
---| "authenticating" # SASL
---| "binding" # a new session
---| "resuming" # the old one (XEP-0198); not told where that is part of the login (XEP-0388)
---| "ready"
---| "waiting" # the link is lost; the next attempt will come
---| "closing" # what is pending is delivered, then the stream ends
---| "closed" # for good

--- What the connection is at.
---@return xmpp.State
function Conn:state() end

--- A stanza that came in and was skipped, as it crossed a bound of ours.
---@class xmpp.Skipped
---@field name string "message", "presence" or "iq"
---@field from string?
---@field to string?
---@field id string?
---@field type string?
---@field bound integer what it crossed: 256
---@field option string and the option that sets it: "max_attributes"

---@alias xmpp.Listener
---| fun(state: xmpp.State, err: xmpp.Error?)
---| fun(stanza: xmpp.Stanza|xmpp.Skipped, err: xmpp.Error)
---| fun(err: xmpp.Error)
---| fun(conn: xmpp.Conn)
---| fun(token: xmpp.Token)

--- Has `f` called for each change of the state, with the reason where there is one; with each stanza that comes back
--- unsent and has no `on` of its own; with what is known of each stanza that came and was skipped (`err` has layer
--- "limit", and its start tag as `stanza`); or once, when stanzas that nobody takes begin to be thrown away
--- (`max_queue`); or with each token that the server gives (XEP-0484), which takes the place of the one before; or with
--- the connection, when there is a new session after a lost one. What had been given before that leaves when all
--- listeners to "session" have ended, which may wait, but no longer than the option `timeout`; what is given
--- meanwhile leaves at once, and before it. Any number of listeners: each is called in a coroutine of its own, in their
--- order; who comes meanwhile hears of the next one.
---@param event "state"|"failed"|"skipped"|"full"|"session"|"token"
---@param f xmpp.Listener
---@return fun(): boolean off takes it away again; true the first time
function Conn:on(event, f) end

--- What the next login would be by, instead of the password (XEP-0484): see `xmpp.Token`, and the options
--- `user_agent` and `fast`. Also when the connection is closed. nil: there is none, as the server hasn't given one,
--- or it has run out, or was refused.
---@return xmpp.Token?
function Conn:token() end

--- The session as plain data, JSON-safe and without password or token, for `xmpp.resume` in another process; the id
--- of the option `user_agent` is in it. The connection is closed by it (condition "saved"): its link is cut, and what
--- comes from then on waits at the server. What a handler is at when it calls this counts as handled, and so does what
--- waits in a line for a callback with `serial` in its filter: let these end first. nil when the server keeps no
--- session (condition "not-resumable"), as without `resume` or `reconnect`.
---@return table? saved
---@return xmpp.Error?
function Conn:save() end

--- The next stanza of the receive queue, without waiting. The queue fills while no handler is installed.
---@return xmpp.Stanza? stanza nil alone: none now
---@return xmpp.Error? err the connection is closed and the queue drained
function Conn:receive() end

--- The next stanza of the receive queue; waits for it.
---@param timeout? number seconds (no end)
---@return xmpp.Stanza?
---@return xmpp.Error?
function Conn:receive_blocking(timeout) end

--- Installs the connection's one handler. What was queued is given to it first, in order.
---@param handler? xmpp.Handler (xmpp.default_handler)
function Conn:set_handler(handler) end

--- Takes the handler away: stanzas go to the receive queue again.
function Conn:stop_handler() end

--- The handler that is installed.
---@return xmpp.Handler? handler nil when none is installed
function Conn:handler() end

--- Adds a callback at the end of the list that the default handler goes through; in effect from the next stanza on.
--- Where nobody has decided on a handler (set_handler, stop_handler), the first installs the default one.
---@param callback xmpp.Callback
---@param filter? xmpp.Filter
function Conn:set_callback(callback, filter) end

--- As set_callback; the callback is removed when it returns exactly true.
---@param callback xmpp.Callback
---@param filter? xmpp.Filter
function Conn:set_callback_once(callback, filter) end

--- Removes a callback, in effect at once.
---@param callback xmpp.Callback
---@return boolean found was it there?
function Conn:unset_callback(callback) end

--- The callbacks in order of installation: a new list.
---@return xmpp.Callback[]
function Conn:callbacks() end

--- Adds a tap: a function that is asked before the handler, the callbacks and the receive queue, whatever handler there
--- is, in effect from the next stanza on. If it returns exactly true before it first waits, nobody else gets the
--- stanza. With no handler, a stanza that some tap wanted isn't put in the receive queue.
---@param tap xmpp.Callback
---@param filter? xmpp.Filter
---@return fun(): boolean off takes it away, in effect at once; was it still there?
function Conn:tap(tap, filter) end

--- Sends a stanza and has `callback` called once: with its response, or with nil and an error. The response is the
--- first stanza of the same name and id from who was asked, for an iq of type result or error. A missing id is made up,
--- on the wire only. Raises for an id that is waited for already.
---@param stanza xmpp.Stanza
---@param callback xmpp.ResponseCallback
---@param timeout? number seconds, math.huge for no end (await_timeout, 60)
---@return string? id the id sent
---@return xmpp.Error?
function Conn:send_callback(stanza, callback, timeout) end

--- Sends a stanza and waits for its response (as send_callback); answers with what `callback` returns, without one with
--- the response itself. An error response is a response: see `xexpr.is_error`.
---@param stanza xmpp.Stanza
---@param callback? xmpp.ResponseCallback
---@param timeout? number seconds, math.huge for no end (await_timeout, 60); may stand in the callback's place
---@return xmpp.Stanza|any response
---@return xmpp.Error|any err layer "timeout" or "closed"
---@overload fun(self: xmpp.Conn, stanza: xmpp.Stanza, timeout: number): xmpp.Stanza?, xmpp.Error?
function Conn:send_await(stanza, callback, timeout) end

--- The address that the server bound, with its resourcepart; of a component its domain.
---@return xmpp.Jid
function Conn:jid() end

--- How a connection was secured and logged in; what there was not is nil. And what became of its sessions.
---@class xmpp.Info
---@field stream_management boolean are stanzas acknowledged? (XEP-0198)
---@field resumable boolean does the server keep the session when the link breaks?
--- May stanzas be lost without a word, both ways? So it is without stream management, and for components always, as
--- XEP-0114 has no acknowledgement: then "written" is all that is known of what was sent, and what the server has sent
--- to a link that breaks or ends is gone
---@field lossy boolean
---@field resumed integer resumptions
---@field rebound integer new sessions after the first, since the old one was lost
---@field failed_without_h integer of those, where the server had forgotten what it had handled
---@field queued integer stanzas that have come and wait to be taken
---@field dropped integer stanzas that were thrown away, as nobody took them and max_queue was reached
---@field waiting integer calls that wait: of its handler and callbacks, of who hears of what was skipped or is logged
---@field address string? of the machine that it is connected to, or was last: "192.0.2.7", "2001:db8::7"; behind a
--- proxy it isn't known
---@field url string? of the WebSocket that it connects to; absent: it connects by TCP
---@field proxy string? what it is connected through, without user and password: "socks5h://127.0.0.1:9050"
---@field tls_version string? "TLSv1.3"
---@field certificate_seconds number? for how long the server's certificates were good when they were looked at, by
--- the first that ends; absent: none were looked at
--- seconds that connecting has taken, until the connection was ready or failed; a WebSocket's upgrade
--- is part of the login
---@field took { dns: number, tcp: number, proxy: number?, tls: number, login: number }
---@field tls_resumed boolean? was the TLS session resumed from an earlier connection's (RFC 8446 2.2)?
---@field mechanism xmpp.Mechanism? the SASL mechanism that the login has succeeded by
---@field profile "sasl"|"sasl2"|nil inside of which: RFC 6120 6, or XEP-0388
---@field bound_inline boolean? was the session bound (XEP-0386) or resumed within that login?
---@field fast boolean? was the login by a token (XEP-0484)?
---@field pipelined ("starttls"|"auth"|"session")[]? what was said together with a stream's header (XEP-0305)
---@field offers table<string, true> namespaces of the features that the server has offered at the last login, once TLS
--- and SASL were done, 64 of them and 4 KiB at most; of a component: none
---@field channel_binding string? "tls-exporter", "tls-unique", "tls-server-end-point": what a -PLUS or a token was
--- bound by

--- How the connection was secured and logged in; also when it is closed.
---@return xmpp.Info
function Conn:info() end

-- The module

--- What `after` and `every` answer with.
---@class xmpp.Timer
local Timer = {}

--- Stops the timer; again, or after its end, without effect.
---@return boolean stopped would it have been called?
function Timer:cancel() end

---@class xmpp
---@field _VERSION string "xmpp " and the version
---@field C2S_PORT integer 5222, the port of clients (RFC 6120 3.2.1)
---@field xexpr xmpp.xexpr
---@field contract xmpp.contract
---@field stream xmpp.stream
local xmpp = {}

--- Connects, negotiates TLS, authenticates, binds a resource, and answers with the open connection. The certificate is
--- checked against the JID's domain (or opts.tls_name), whatever host is dialled.
---@param jid string|xmpp.Jid with a localpart, unless opts.mechanisms has "ANONYMOUS"
---@param password (string|fun(): string)? nil: only with opts.cert, opts.token, or "ANONYMOUS" in opts.mechanisms
---@param host? string|xmpp.Opts dial this host and no other (SRV, then the domain itself)
---@param port? integer|xmpp.Opts (5222)
---@param opts? xmpp.Opts
---@return xmpp.Conn?
---@return xmpp.Error?
---@overload fun(jid: string|xmpp.Jid, password: string, opts: xmpp.Opts): xmpp.Conn?, xmpp.Error?
---@overload fun(jid: string|xmpp.Jid, password: string, host: string, opts: xmpp.Opts): xmpp.Conn?, xmpp.Error?
function xmpp.connect_client(jid, password, host, port, opts) end

--- Connects as an external component (XEP-0114).
---@param host string
---@param port integer 1 to 65535
---@param domain string|xmpp.Jid the component's own domain
---@param secret string|fun(): string
---@param opts? xmpp.Opts
---@return xmpp.Conn?
---@return xmpp.Error?
function xmpp.connect_component(host, port, domain, secret, opts) end

--- Goes on with a session that another process has saved; waits until that is done. What isn't acknowledged is sent
--- again, what nobody had taken is received first. If the server has forgotten the session there is a new one
--- (`info().resumed` is 0), as after a reconnect.
---@param saved table as conn:save() gave it, also after a journey through JSON
---@param password (string|fun(): string)?
---@param opts? xmpp.Opts
---@return xmpp.Conn?
---@return xmpp.Error?
function xmpp.resume(saved, password, opts) end

--- Has the server forget a token (XEP-0484 3.4), and with it those that it has given before to the same user agent:
--- logs in by it, with a resource of its own and nothing else, so sessions that are there stay; waits until that is
--- done. In this process it is forgotten, too. For good: with the password there will be another one.
---@param token xmpp.Token
---@param host? string|xmpp.Opts dial this host and no other (SRV, then the domain itself)
---@param port? integer|xmpp.Opts (5222)
---@param opts? xmpp.Opts those of connect_client: where the server is, what it is trusted by, how long is waited. Of
--- those about sessions and other ways to log in none counts here
---@return boolean? ok true: it logs nobody in any more. nil: it may still
---@return xmpp.Error|"refused"|nil err with true, "refused": it was no good already
function xmpp.logout(token, host, port, opts) end

xmpp.connection_jid = Conn.jid -- for xmpp.jid makes one
xmpp.stop = Conn.stop
xmpp.pending = Conn.pending
xmpp.ping = Conn.ping
xmpp.probe = Conn.probe
xmpp.drain = Conn.drain
xmpp.state = Conn.state
xmpp.on = Conn.on
xmpp.token = Conn.token
xmpp.save = Conn.save
xmpp.info = Conn.info
xmpp.send = Conn.send
xmpp.flush = Conn.flush
xmpp.receive = Conn.receive
xmpp.receive_blocking = Conn.receive_blocking
xmpp.set_handler = Conn.set_handler
xmpp.stop_handler = Conn.stop_handler
xmpp.handler = Conn.handler
xmpp.set_callback = Conn.set_callback
xmpp.set_callback_once = Conn.set_callback_once
xmpp.unset_callback = Conn.unset_callback
xmpp.callbacks = Conn.callbacks
xmpp.tap = Conn.tap
xmpp.send_callback = Conn.send_callback
xmpp.send_await = Conn.send_await

--- Gives a stanza to every callback of the connection whose filter lets it through, in order of installation.
---@type xmpp.Handler
function xmpp.default_handler(stanza, conn) end

--- Is it a connection, whatever has become of it?
---@param v any
---@return boolean
function xmpp.is_connection(v) end

--- Splits and prepares an address (RFC 7622). A Jid is answered as it is.
---@param s string|xmpp.Jid
---@return xmpp.Jid?
---@return xmpp.Error?
function xmpp.jid(s) end

--- Is it an address that `xmpp.jid` has made?
---@param v any
---@return boolean
function xmpp.is_jid(v) end

--- A new id: at least 128 unguessable bits as URL-safe text, never repeated.
---@return string
function xmpp.id() end

--- The hash of `data`, as bytes. Raises for another name.
---@param name "sha-1"|"sha-256"|"sha-512"|"sha3-256"|"blake2b-256"
---@param data string
---@return string
function xmpp.hash(name, data) end

--- Data as text that every protocol carries.
---@param data string
---@return string text base64 (RFC 4648 4)
function xmpp.base64(data) end

--- nil for what isn't base64 as it is to be written: padded, without white space, no bits left over.
---@param text string
---@return string? data
function xmpp.unbase64(text) end

--- Turns the loop until no connection, task or timer is left, or until `quit`.
---@return boolean done false: the interpreter was interrupted (Ctrl-C)
function xmpp.run() end

--- Makes `run` return; where none is being made, the next one, at once.
function xmpp.quit() end

---@alias xmpp.Signal "SIGHUP"|"SIGINT"|"SIGQUIT"|"SIGTERM"|"SIGUSR1"|"SIGUSR2"|"SIGALRM"|"SIGCHLD"|"SIGCONT"|"SIGTSTP"
---|"SIGTTIN"|"SIGTTOU"|"SIGPIPE"|"SIGWINCH"

--- Has `f` called, in a coroutine of its own, when the process gets that signal, instead of what the signal does else;
--- once for several that come between two turns of the loop. One function for each; nil: none, and the signal does what
--- it did before. Keeps no loop turning.
---@param name xmpp.Signal
---@param f fun(name: xmpp.Signal)?
---@return fun()? off takes it away again
function xmpp.on_signal(name, f) end

--- As `coroutine.wrap`, for a generator that waits between its items: who asks for the next one waits.
---@param f fun(...): any
---@return fun(...): any
function xmpp.wrap(f) end

--- Turns the loop once, for games and hosts with a loop of their own.
---@param timeout? number seconds to wait for something to do (0)
---@param max_stanzas? integer stanzas dispatched, timers and tasks called, waiters told, altogether at most (no bound)
---@return integer dispatched stanzas that were dispatched
function xmpp.step(timeout, max_stanzas) end

--- Forgets what logins have left for the next ones: the SCRAM keys, and what servers offered, of all Lua states of the
--- process; the TLS sessions of this one, which of its accounts were bound to the channel, and which have logged in by
--- something better than PLAIN. For when the server has changed.
function xmpp.forget() end

--- One descriptor for all that the library waits on: poll it for reading, then `step`. Timers do not wake it: see
--- `timeout`. `require "xmpp.loop.uv"` (luv, Neovim), `xmpp.loop.cqueues` and `xmpp.loop.copas` do this for you.
---@return integer
function xmpp.fd() end

--- Seconds until the library needs a `step` even if `fd` stays silent; nil: none. To be asked before each sleep; what
--- is begun meanwhile and needs a step sooner makes `fd` readable.
---@return number?
function xmpp.timeout() end

--- Runs `f(...)` in a coroutine of its own, in which what waits yields. What it throws goes to who waits for the
--- promise then, to `on_error` if nobody does.
---@param f fun(...): ...
---@param ... any
---@return xmpp.Promise promise resolved by what f returns, rejected by what it throws
function xmpp.spawn(f, ...) end

--- What a program waits for itself, by the rule of all that waits here: the main thread turns the loop, a coroutine
--- yields. Anybody may settle it, anywhere, and any number may wait for it; who waits goes on in the loop's next turn,
--- in the order of coming. In Lua 5.4, a wait whose coroutine is closed leaves nothing behind.
---@class xmpp.Promise
local Promise = {}

--- Settles it.
---@param ... any what `wait` gives
---@return boolean settled false: it was settled already, and stays as it was
function Promise:resolve(...) end

--- Settles it.
---@param err any why there will be nothing: `wait` gives nil, err
---@return boolean settled false: it was settled already, and stays as it was
function Promise:reject(err) end

--- Waits until it is settled. Gives what it was resolved with; or nil, and what it was rejected with, or an error of
--- layer "timeout", or, on the main thread, one of layer "closed" (condition "nobody-left") when no connection, task or
--- timer is left that could settle it.
---@param seconds? number (no end)
---@return any ...
function Promise:wait(seconds) end

--- A new promise, which nobody has settled.
---@return xmpp.Promise
function xmpp.promise() end

--- A queue between parts of a program, which holds up who puts values in faster than they are taken; who waits for
--- room, or for a value, has it in the order of coming. It waits by the same rule, and as a promise's its waits end
--- with layer "timeout" or, on the main thread, "closed".
---@class xmpp.Channel
local Channel = {}

--- Puts a value in; waits while it is full.
---@param value any not nil
---@param seconds? number (no end)
---@return boolean? ok true; else the value isn't in it
---@return xmpp.Error? err layer "timeout" or "closed"
function Channel:put(value, seconds) end

--- Takes the value that was put in first; waits while there is none. What is in it when it is closed can still be
--- taken.
---@param seconds? number (no end)
---@return any value
---@return xmpp.Error? err layer "timeout" or "closed"
function Channel:get(seconds) end

--- Nothing more can be put in; all who wait are told.
---@return boolean was it open?
function Channel:close() end

--- most: values that may lie in it, math.huge for no bound; 0: a value is put when somebody gets it (1,000)
---@param most? integer
---@return xmpp.Channel
function xmpp.channel(most) end

--- Waits.
---@param seconds number
function xmpp.sleep(seconds) end

--- Calls `f` once.
---@param seconds number from now
---@param f fun()
---@return xmpp.Timer
function xmpp.after(seconds, f) end

--- Calls `f` again and again.
---@param seconds number between two calls
---@param f fun()
---@return xmpp.Timer
function xmpp.every(seconds, f) end

--- Whose error it is.
---@class xmpp.ErrorSource
--- "handler", "callback", "response" (of send_callback), "receipt" (send's `on`), "log", "timer", "task", "signal";
--- "add" (what an extension appends to stanzas); the name of conn:on's event, for what its listener has thrown as well
--- as for what nobody listens to; "library": memory ran out in it
---@field what string
---@field conn xmpp.Conn? the connection, where there is one
---@field stanza xmpp.Stanza? the stanza that was handled
---@field func function? the function that was given to the library, and has thrown

--- Who hears of errors thrown in handlers, callbacks and tasks, with their traceback. They end nothing else.
---@param f fun(text: string, object: any, whose: xmpp.ErrorSource)? text with traceback, what was thrown; nil: the
--- default, to stderr
---@return function? before who it was, to be called in its turn, or to be set again
function xmpp.on_error(f) end

-- Rooms

--- Who is in a room. `jid` as the room tells it, where we may see it; `id` (XEP-0421) and `hats` (XEP-0317) only where
--- the room announces them.
---@class xmpp.Occupant
---@field nick string prepared; it may be anybody's as soon as its owner has left
---@field jid string? his address, prepared
---@field role "moderator"|"participant"|"visitor"|"none"|nil
---@field affiliation "owner"|"admin"|"member"|"outcast"|"none"|nil
---@field show "away"|"chat"|"dnd"|"xa"|nil
---@field status string?
---@field id string? the same for the same person, whatever his nick
---@field hats { uri: string?, title: string? }[]?

--- Why somebody, or we, left a room, as the room says it.
---@class xmpp.RoomWhy
---@field code integer? 301 (ban), 307 (kick), 321, 322 (no member any more), 332 (the service ends), 333 (an error)
---@field reason string?
---@field by string? nick or address of who has done it
---@field destroyed boolean? there is no such room any more
---@field alternative string? another one, that goes on instead of it
---@field err xmpp.Error? (of our own) how it was found out, where the room has said nothing
---@field returns boolean? (of our own) do we come back by ourselves?

--- A room that we are in, or come back to: see xmpp.muc. Its fields are to be read and not written; its methods are in
--- the files of xmpp/muc.
---@class xmpp.Room
---@field jid string prepared
---@field nick string ours, as the room has it
---@field joined boolean are we in it now?
---@field subject string?
---@field role string? ours
---@field affiliation string? ours
---@field features table<string, true>? nil until the room has told them
---@field occupants table<string, xmpp.Occupant> by nick, we ourselves among them
---@field beyond integer how many there are besides, who have no place in `occupants`

--- What was said in a room, to all or (private) to us alone. Its stanza_id is the room's, where that announces
--- XEP-0359.
---@class xmpp.RoomMessage: xmpp.Message
---@field nick string who has said it: what he was called then
---@field occupant xmpp.Occupant? who that is, as far as his presence tells; nil: he isn't there, or it isn't known that
---it is he
---@field occupant_id string? the author's, where the room announces them (XEP-0421)
---@field own boolean have we said it?
---@field history boolean? it was said before we came, or while we were away; its stamp is the room's
---@field archive_id string? (of room:history) its id in the archive

--- What a room has taken back (XEP-0425).
---@class xmpp.RoomModeration
---@field stanza_id string
---@field by string? nick of who has asked for it
---@field reason string?

--- A page of what was said in a room, oldest first.
---@class xmpp.RoomHistory: { [integer]: xmpp.RoomMessage }
---@field first string? id of the first one: for `before`
---@field last string? id of the last one: for `after`
---@field complete boolean there is no more in that direction
---@field count integer? how many there are
---@field index integer? how many are in front of the page

--- A message of an archive's: as chat reads it, with the archive's id and stamp. Its `by` is the archive's address, and
--- stanza_id the same as archive_id.
---@class xmpp.ArchivedMessage: xmpp.Message
---@field archive_id string for `after` and `before`
---@field stamp number? when the archive got it, seconds since 1970
---@field text string
---@field nick string? of a room's archive: of who said it, and called himself so then
---@field claims { replaces: string?, retracts: string?, reaction: table? }? what it says of others; who wrote those is
---not looked at
---@field stanza xmpp.Stanza? with `all`

--- A page of an archive's, oldest first.
---@class xmpp.ArchivePage: { [integer]: xmpp.ArchivedMessage }
---@field first string? id of the first one: for `before`
---@field last string? id of the last one: for `after`
---@field complete boolean there is no more in that direction
---@field count integer? how many there are
---@field index integer? how many are in front of the page

--- Options of archive.query.
---@class xmpp.ArchiveOpts
---@field of? string|xmpp.Jid whose archive, a room's (our own account's)
---@field with? string|xmpp.Jid said by, or to
---@field from? number seconds since 1970
---@field to? number
---@field after? string id
---@field before? string id; "": from the end
---@field max? integer up to 1,000 (50)
---@field ids? string[] these alone
---@field form? table<string, any> more fields of the form, see archive.fields
---@field all? boolean with what is nothing for a person; each has `stanza` then (false)
---@field timeout? number seconds, of each page
---@field lang? string that is wanted of messages in several
---@field as? string|xmpp.Jid a component's address that asks

--- Options of archive.each.
---@class xmpp.ArchiveEachOpts: xmpp.ArchiveOpts
---@field limit? integer how many there are to be (all)
---@field err? fun(err: xmpp.Error) called when something fails

--- Options of archive.pages.
---@class xmpp.ArchivePagesOpts: xmpp.ArchiveOpts
---@field since? string id of the last message that was had by the same query

--- A gateway, see xmpp/gateway.lua: its method is user(name), its events are told there.
---@class xmpp.Gateway
---@field user fun(g: xmpp.Gateway, name: string): xmpp.VirtualUser?, xmpp.Error?

--- A person of another network, see xmpp/gateway/users.lua, where its methods are: message, presence, subscribe,
--- avatar, remove.
---@class xmpp.VirtualUser
---@field name string as the other network has it
---@field jid string
---@field localpart string
---@field shown table? its presence, as it was set
---@field avatar_hash string?

--- What an archive keeps (XEP-0441).
---@class xmpp.ArchivePrefs
---@field default "always"|"never"|"roster"
---@field always? string[] bare addresses
---@field never? string[]

--- What a room is, as it says itself.
---@class xmpp.RoomInfo
---@field jid string
---@field name string?
---@field description string?
---@field subject string?
---@field lang string?
---@field occupants integer? how many
---@field features table<string, true>
---@field password boolean does it want one?
---@field members_only boolean
---@field moderated boolean
---@field hidden boolean
---@field persistent boolean
---@field anonymous boolean are addresses shown to moderators alone?

--- Somebody wants us to come into a room. Whoever that is: the room, of a mediated one, knows who has asked for it.
---@class xmpp.Invitation
---@field room string its address
---@field from string? who invites: of a direct one certainly, else as the room says
---@field direct boolean by himself (XEP-0249), not through the room
---@field reason string?
---@field password string? the room's
---@field thread string? the conversation that goes on there
---@field stamp number? when it was sent, if it was held back on its way
---@field joined boolean? by option `accept`: are we in?
---@field err xmpp.Error? by option `accept`: why not

--- Options of muc.join.
---@class xmpp.JoinOpts
---@field password? string
--- how many messages of the history are wanted, or { messages =, since = (seconds since 1970), bytes = }: not more than
--- each of these (0)
---@field history? integer|{ messages: integer?, since: number?, bytes: integer? }
--- come back by ourselves where that is right; "kicked": from a kick, too, twice, a minute apart (true)
---@field rejoin? boolean|"kicked"
---@field nicks? fun(nick: string, n: integer): string? the next nick, when n were taken (nick, nick_, nick__)
---@field ping? number seconds of silence, after which the room is asked whether we are in it; 0: never (900)
--- what becomes of a room that we create by entering it: "refuse": it is destroyed again, and joining fails; "default":
--- it is opened as it is; a function of its form (see xmpp.form) gives the answers (refuse)
---@field create? "refuse"|"default"|fun(form: xmpp.Form): table<string, any>?
---@field presence? { show: string?, status: string?, priority: integer? } for this room (what presence.set has set)
---@field timeout? number seconds (30)
---@field max_occupants? integer who are known; the rest is counted, up to ten times as many (10,000)
---@field max_waiting? integer messages that wait until we are in the room (100)
---@field max_age? number seconds that a message may wait (600)

-- Tests

--- Options of testing.new.
---@class xmpp.TestOptions
---@field jid? string|xmpp.Jid ("bot@example.net/test") whose connection it is
---@field component? string a component's domain instead
---@field now? number (1700000000) seconds since 1970, when the test begins
---@field seed? integer (another each time) ids, and math.random, are the same for the same seed
---@field strict? boolean (true) false: what is sent need not be expected, what is asked and nobody answers is refused,
---and timers may be left over
---@field intercept? boolean (false) there is no connection until the program connects as `jid` or `component`
---@field answers? boolean (true) false: none of a server's own answers (roster, disco, ping, carbons)
---@field acks? boolean (true) false: the server acknowledges nothing by itself, see Test:ack
---@field sm? boolean (true) false: a server without stream management
---@field features? xmpp.Element[] what the server offers after the login, besides binding and stream management
---@field opts? xmpp.Opts ({ reconnect = true }) those of the connection

--- What answers a stanza: stanzas, which are addressed by themselves; elements, which are in the result of what was
--- asked; false: nothing; a function that gives these, or nil, type, condition [, text] of an error.
---@alias xmpp.TestReply xmpp.Element|xmpp.Element[]|false|fun(got: xmpp.Element): ...

--- The other end of a connection, see xmpp/testing.lua, where its methods are. A failure is an error at the test's
--- line.
---@class xmpp.Test
---@field conn xmpp.Conn? nil until the program has connected (intercept)
---@field jid xmpp.Jid
---@field seed integer
---@field forge table<string, fun(...): xmpp.Stanza> attacks, received at once: see xmpp/testing/forge.lua

--- Options of Test:room.
---@class xmpp.TestRoomOptions
---@field occupants? (string|xmpp.TestOccupant)[] who is in it: nicks, or more of them
---@field history? (string|{ nick: string?, text: string, stamp: number?, id: string? })[] oldest first; without stamps
---a minute lies between each
---@field subject? string
---@field subject_by? string nick of who has set it
---@field affiliations? table<string, string> by bare address: "owner", "admin", "member", "outcast"
---@field password? string
---@field config? table name, description, members_only, moderated, public (true), persistent (true), change_subject,
---max, whois ("moderators", or "anyone")
---@field exists? boolean (true) false: who comes first creates it (201), and it is locked until it is configured
---@field stanza_ids? boolean (true) announces and sets them (XEP-0359)
---@field occupant_ids? boolean (true) announces and sets them (XEP-0421)
---@field moderation? boolean (true) announces and does it (XEP-0425)
---@field features? string[] more that it announces
---@field no_subject? boolean (false) tells none to who comes in
---@field assigns? fun(nick: string): string? the nick that who comes in gets instead of that (210)

---@class xmpp.TestOccupant
---@field nick string
---@field jid? string full address; one is made up where there is none
---@field role? string
---@field affiliation? string
---@field show? string
---@field status? string
---@field id? string its occupant-id
---@field here? boolean it is the program's

--- A room in a test, see xmpp/testing/room.lua, where its methods are: says, whispers, joins, leaves, kicks, bans,
--- renames, changes, sets_subject, tells, destroys, moderates, asks_voice, invites, forgets.
---@class xmpp.TestRoom
---@field jid string
---@field exists boolean
---@field locked boolean
---@field occupants table<string, xmpp.TestOccupant> by their nicks
---@field subject string?
---@field subject_by string?
---@field history { nick: string, text: string, id: string?, stanza_id: string?, stamp: number }[]
---@field affiliations table<string, string> by bare address
---@field invited table<string, true> bare addresses that the program has had invited
---@field registered table<string, string> nicks by bare address
---@field config table

--- A pubsub service in a test, see xmpp/testing/pubsub.lua, where its methods are: node, publish, retract, purge,
--- delete.
---@class xmpp.TestPubsub
---@field jid string
---@field nodes table<string, table> by their names: node, config, items, subscribers, affiliations
---@field present boolean has the program said its presence?

--- Options of Test:contact.
---@class xmpp.TestContactOptions
---@field subscription? "none"|"to"|"from"|"both" (none, and not in the roster)
---@field name? string
---@field groups? string[]
---@field ask? boolean we have asked to see its presence
---@field approved? boolean it may see ours as soon as it asks
---@field resource? string ("home") of what it says

--- An account's archive in a test, see xmpp/testing/archive.lua, where its methods are: says, keeps, expires.
---@class xmpp.TestArchive
---@field messages { archive_id: string, stamp: number, from: string, to: string, message: xmpp.Element }[] oldest first
---@field asked integer how often it was
---@field most integer? of a page
---@field step fun(i: integer)? called behind each result
---@field refusal string[]? type and condition of the error that answers what it is asked
---@field prefs xmpp.Element

--- Somebody in a test, see xmpp/testing/contact.lua, where its methods are: says, online, offline, asks, requests,
--- approves, denies, unsubscribes.
---@class xmpp.TestContact
---@field jid string bare
---@field subscription string? nil: it isn't in the roster
---@field ask boolean? we have asked to see its presence
---@field pending boolean? it has asked to see ours, and isn't answered
---@field approved boolean?
---@field name string?
---@field groups string[]
---@field resources table<string, table> that are online
---@field sees boolean? what the program last told it directly: is it there?
