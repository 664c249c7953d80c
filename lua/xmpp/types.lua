---@meta _
-- luacheck: ignore 211 212 241
-- types: LuaCATS annotations of the library's public values and functions, for editors, lua-language-server and the
-- manual's reference. Never loaded.
--
-- Here are all types, and the functions that are written in C. The functions written in Lua are annotated in their own
-- files, for example xmpp.xexpr in xexpr.lua.
--
-- Conventions: times are seconds (fractions allowed), sizes are bytes, strings are UTF-8. What stands in parentheses
-- at the end of an option's description is its default. A caller's mistake raises an error at the caller's line;
-- anything else that fails is returned as `nil, err`. A function that waits yields if it is called in a coroutine, and
-- turns the event loop if it is called on the main thread.

-- Stanzas

--- Attribute values by name. An attribute without a namespace has its plain name ("to"), `xml:lang` is "xml:lang", and
--- any other with a namespace is under its Clark name, "{uri}local". In received stanzas all values are strings; in
--- what is sent they may also be numbers and Jids.
---@alias xmpp.Attributes table<string, string|number|xmpp.Jid>

--- Text, or an element. In received stanzas texts are strings, never empty, and never two next to each other.
---@alias xmpp.Child string|number|xmpp.Jid|xmpp.Element

--- `{ name, attributes, child... }`: plain data without a metatable. Received elements always have slot 2, and an
--- `xmlns` attribute only where the namespace differs from the parent's (for a stanza: from the stream's). In what is
--- sent slot 2 may be left out: `{"body", "Hi"}`.
---@class xmpp.Element
---@field [1] string the element's name, an XML NCName
---@field [2] xmpp.Attributes|xmpp.Child|nil a table without [1] is the attributes; one with a string at [1] is the
--- first child
---@field [integer] xmpp.Child

--- An element named message, presence or iq: what `send` takes and handlers get.
---@alias xmpp.Stanza xmpp.Element

--- RFC 6120 8.3.2: what the sender of a stanza that was answered with an error can do.
---@alias xmpp.StanzaErrorType
---| "auth" # try again with credentials
---| "cancel" # do not try again
---| "continue" # go on, it was only a warning
---| "modify" # try again with other data
---| "wait" # try again later

--- RFC 6120 8.3.3: what went wrong.
---@alias xmpp.StanzaErrorCondition
---| "bad-request" | "conflict" | "feature-not-implemented" | "forbidden" | "gone" | "internal-server-error"
---| "item-not-found" | "jid-malformed" | "not-acceptable" | "not-allowed" | "not-authorized" | "policy-violation"
---| "recipient-unavailable" | "redirect" | "registration-required" | "remote-server-not-found"
---| "remote-server-timeout" | "resource-constraint" | "service-unavailable" | "subscription-required"
---| "undefined-condition" | "unexpected-request"

--- What an error stanza says: see `xexpr.error`.
---@class xmpp.StanzaError
---@field condition xmpp.StanzaErrorCondition
---@field type xmpp.StanzaErrorType what the sender can do about it
---@field text string? for a person to read
---@field app string? the element name of an application-specific condition (RFC 6120 8.3.4)
---@field by string? the address of the entity that detected the error

-- Errors

---@alias xmpp.Layer
---| "dns" | "tcp" | "tls" | "stream" | "sasl" | "bind" | "stanza" | "timeout" | "closed" | "limit"
---| "proxy" | "websocket" | "http" | "redis"

--- The second value after nil: why something failed. As text, by `tostring(err)` or joined to a string by `..`, it is
--- one line for a person to read.
---@class xmpp.Error
---@field layer xmpp.Layer where it happened; "closed": the connection had ended already, and `text` says why
---@field condition string the name that the RFC or the system gives it: "not-authorized", "ECONNREFUSED",
--- "certificate-expired"
---@field text string for a person: what was tried, what happened, what to do; never a secret
---@field retry boolean could the same attempt succeed later, without a change?
---@field stanza xmpp.Stanza? the stanza that carries the error, where there is one

-- Files and the web (xmpp.upload, xmpp.http)

---@class xmpp.HttpRequest
---@field url string an https:// URL, in ASCII
---@field method? string the HTTP method ("GET"; with a body "POST")
---@field headers? table<string, string|number>
--- the body as a string, or a function that returns its next bytes: "" if there are none at the moment, nil at the
--- end, and nil and a reason if it fails. It may wait
---@field body? string|fun(n: integer): string?, any
---@field size? integer how many bytes the function returns in all; absent: the body is sent in chunks
---@field timeout? number seconds for the whole request (60)
---@field stall? number seconds that may pass without a byte (60)
---@field max? integer largest body of a response, in bytes (1 MiB)
---@field progress? fun(moved: integer, size: integer?): boolean? is told how many bytes were sent or received; if it
--- returns false the request is cancelled
---@field cancel? xmpp.Promise the request is cancelled when this promise is settled
---@field resolve? string a host or an address to connect to instead of looking up the URL's host
---@field ca_file? string PEM file of trusted certificates. Without this and `ca_dir`: those of the system, or of
--- SSL_CERT_FILE and SSL_CERT_DIR
---@field ca_dir? string
---@field pin? string base64 of the SHA-256 of the server's public key, which is checked in addition to the certificate
---@field insecure? boolean don't verify the certificate
---@field http? boolean allow http:// as well
---@field proxy? string|false a proxy's URL; false: none. With a proxy, `public` checks only the URL (what the
--- environment says)
---@field public? boolean connect to public addresses only
---@field but? string an exception to `public`: this address is allowed, too

---@class xmpp.UploadOptions
---@field progress? fun(sent: integer, size: integer): boolean? if it returns false the upload is cancelled
---@field random_name? boolean upload under a random name; false: the service learns the file's own name (true)
---@field type? string the media type, such as "image/png" (derived from the file name's extension)
---@field timeout? number seconds for sending the file (3600)
---@field stall? number seconds that may pass without a byte (60)
---@field wait? number seconds to wait for each response of the service
---@field cancel? xmpp.Promise the upload is cancelled when this promise is settled
---@field service? string|xmpp.Jid an upload service other than the server's own
---@field private? boolean allow uploads to an address that isn't public
---@field insecure? boolean don't verify the certificate, and allow http to this machine
---@field resolve? string as in xmpp.HttpRequest
---@field pin? string as in xmpp.HttpRequest
---@field http? fun(request: xmpp.HttpRequest): { status: integer }?, any a function to call instead of http.request

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
--- how to connect as a component; the intake connects again by itself. With a server that allows a domain one
--- connection it waits for the place of another intake
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

--- A prepared address. Equal addresses are the same value: they compare equal with `==` and are the same table key.
--- `tostring(jid)` is its text. It cannot be changed.
---@class xmpp.Jid
---@field localpart string? nil when absent
---@field domainpart string
---@field resourcepart string? nil when absent
local Jid = {}

--- The address without its resourcepart.
---@return xmpp.Jid
function Jid:bare() end

--- The address with another resourcepart, which is prepared. Returns nil and an error if it isn't a valid resourcepart
--- (empty, too long, or with a character that RFC 7622 3.4 forbids).
---@param resource string
---@return xmpp.Jid?
---@return xmpp.Error?
function Jid:with_resource(resource) end

--- What an entity is and what it supports (XEP-0030, XEP-0128).
---@class xmpp.DiscoInfo
---@field identities { category: string, type: string, name: string?, lang: string? }[] in their order
---@field features table<string, true>
---@field forms table<string, table<string, string[]>> FORM_TYPE -> var -> values

---@class xmpp.DiscoItem
---@field jid string prepared
---@field node string?
---@field name string?

--- An entity and the items below it. Without `identities` its disco#info was not requested, without `items` its
--- disco#items.
---@class xmpp.DiscoTree: xmpp.DiscoItem
---@field identities { category: string, type: string, name: string?, lang: string? }[]?
---@field features table<string, true>?
---@field forms table<string, table<string, string[]>>?
---@field items xmpp.DiscoTree[]?
---@field error string? why the request failed
---@field more boolean? there was more, which was left out because a bound was reached

--- A received presence (RFC 6121 4.7).
---@class xmpp.Presence
---@field type "unavailable"|"error"|nil nil: available
---@field show "away"|"chat"|"dnd"|"xa"|nil
---@field status string? truncated to 4,096 bytes
---@field priority integer? -128 to 127; nil if it isn't available
---@field since number when this presence was sent: its delay stamp (XEP-0203), else when it was received
---@field idle_since number? since when the user has been idle (XEP-0319)
---@field caps string? the hash of its capabilities (XEP-0115): see `caps.of`
---@field error string? the condition, if it is an error

--- A contact (RFC 6121 2.1.2).
---@class xmpp.RosterItem
---@field jid string prepared, in the form that the server uses
---@field name string? the name that the account has given to the contact
---@field subscription "none"|"to"|"from"|"both" "to": we see the contact's presence; "from": the contact sees ours
---@field ask "subscribe"|nil we have requested a subscription, which is not answered yet
---@field groups string[] sorted; the same table as for other contacts in the same groups, so don't change it
---@field approved true? pre-approved (see `preapprove`): the contact's subscription request will be accepted. Not
--- every server reports this

--- What roster.use returns; see xmpp/roster.lua for its methods and events.
---@class xmpp.Roster
---@field items table<string, xmpp.RosterItem> by address; read-only
---@field requests table<string, true> bare addresses whose subscription requests are not answered yet
---@field skipped integer number of contacts that are left out because their address isn't valid by RFC 7622

--- An item of a node (XEP-0060).
---@class xmpp.PubsubItem
---@field id string
---@field payload xmpp.Element?
---@field publisher string? prepared; the service is trusted for it

---@class xmpp.PubsubItems
---@field [integer] xmpp.PubsubItem
---@field next string? if there are more items: the id to continue after

--- A notification from a service; see `on` of xmpp.pubsub. event:fetch() returns the payload, and requests it if the
--- notification has none.
---@class xmpp.PubsubEvent
---@field kind "item"|"retract"|"purge"|"delete"|"config"|"subscription"
---@field from string the service, a bare address
---@field node string
---@field own boolean it comes from our own account
---@field to string? which of our addresses it was sent to
---@field delayed boolean
---@field stamp number? when it was sent, if it was delayed: seconds since 1970
---@field id string? of "item", "retract"
---@field payload xmpp.Element? of "item"
---@field publisher string? of "item"
---@field redirect string? of "delete": a URI
---@field form xmpp.Form? of "config"
---@field jid string? of "subscription": whose it is
---@field subscription string? of "subscription": its new state

---@class xmpp.Subscription
---@field node string?
---@field jid string prepared: the subscriber, which gets the notifications
---@field subscription "none"|"pending"|"subscribed"|"unconfigured"
---@field subid string?

--- A room in the account's bookmarks (XEP-0402).
---@class xmpp.Bookmark
---@field jid string prepared
---@field name string?
---@field nick string?
---@field password string?
---@field autojoin boolean

--- What bookmark.use returns; see xmpp/bookmark.lua for its methods and events.
---@class xmpp.Bookmarks
---@field list table<string, xmpp.Bookmark> by address; read-only

--- A vCard (XEP-0054). Nothing in it is verified: its owner has written it. `types`: "home", "work", "pref" and the
--- like.
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

--- What blocking.use returns; see xmpp/blocking.lua for its events.
---@class xmpp.Blocking
---@field blocked table<string, true> prepared addresses; read-only
---@field skipped integer number of entries that are left out because their address isn't valid by RFC 7622
---@field beyond integer number of entries beyond the bound, which are not kept

--- The result of running an ad-hoc command (XEP-0050).
---@class xmpp.CommandResult
---@field status "completed"|"canceled"
---@field notes { kind: "info"|"warn"|"error", text: string }[] if one is of kind "error" the command has failed
---@field text string? the texts of all notes
---@field form xmpp.Form? the form that it shows at the end
---@field element xmpp.Element? the received `<command/>`
---@field unused string[] names of answers that were given but that no form asked for

---@alias xmpp.FieldKind
---| "boolean" | "fixed" | "hidden" | "jid-multi" | "jid-single" | "list-multi" | "list-single" | "text-multi"
---| "text-private" | "text-single"

--- A field of a data form. Its `value` is a boolean for kind "boolean", a list of strings for the -multi kinds, a
--- number where the datatype is a number, else a string (prepared for jid-single).
---@class xmpp.Field
---@field var string? nil only if the kind is "fixed"
---@field kind xmpp.FieldKind
---@field label string?
---@field description string?
---@field required boolean
---@field options { value: string, label: string? }[]?
---@field open boolean? values other than the options are allowed (XEP-0122)
---@field datatype string? "xs:integer" (XEP-0122)
---@field value any
---@field texts string[] its values as received

--- A data form (XEP-0004): see `form.parse`.
---@class xmpp.Form
---@field kind "form"|"submit"|"cancel"|"result"
---@field type string? its FORM_TYPE (XEP-0068)
---@field title string?
---@field instructions string?
---@field fields xmpp.Field[]
---@field values table<string, any> var -> value
---@field reported { var: string?, kind: xmpp.FieldKind, label: string? }[]? the columns of a table
---@field items table<string, any>[]? the rows of a table, var -> value

--- A parsed message: see xmpp.chat.message. Plain data; addresses are prepared.
---@class xmpp.Message
---@field id string? the id that the sender gave it, to which receipts, markers and corrections refer
---@field origin_id string? the sender's id, where a server on the way may change `id` (XEP-0359)
---@field stanza_id string? the id that `by` assigned (XEP-0359), if that entity announces that it assigns ids
---@field by string? who assigned `stanza_id`: our own bare address, or a room's
---@field type "chat"|"normal"|"headline"|"groupchat"|string
---@field from string
---@field to string
---@field peer string the other side of the conversation: its bare address; for a private message from or to an
--- occupant of a room the full address
---@field private string? of a private message in a room: the room's bare address
---@field direction "in"|"out" "out": sent by another client of our account
---@field text string? for a person, without the fallback text for clients that don't support an extension (XEP-0428)
---@field lang string? the text's language
---@field action string? the text after "/me " (XEP-0245)
---@field subject string?
---@field stamp number? when it was sent, if it was delayed: seconds since 1970, as stated by the entity that delayed
--- it
---@field delayed boolean?
---@field carbon boolean? it is a carbon copy (XEP-0280) of a message that another client of our account sent or
--- received
---@field reply_to { id: string, jid: string? }? which message it replies to (XEP-0461)
---@field url string? the text is this URL (XEP-0066), which has not been requested or checked
---@field thread string?
---@field spoiler string? a hint at what the hidden text is about (XEP-0382); may be ""
---@field encrypted string? the encryption, "omemo" and the like (XEP-0380); the text is then a fallback for clients
--- that can't decrypt it
---@field markable boolean? its sender asks for a displayed marker (XEP-0333)
---@field replaces string? the id of the message that it corrects, in its first version
---@field retracts string? the id of the message that its author retracts
---@field reaction { id: string, list: string[] }? the id of a message, and all reactions that the sender now has to it
---@field suspicious "correction"|"retraction"|"reaction"|nil it claims to be one, but doesn't come from an address
--- that is allowed to do that

--- What a message says about other messages and what it requests. Not checked: its sender may not be entitled to it.
---@class xmpp.MessageClaims
---@field request boolean? it asks for a receipt (XEP-0184)
---@field receipt string? the id of a message that was received
---@field markable boolean?
---@field displayed string? the id of a message that was displayed
---@field state "active"|"composing"|"paused"|"inactive"|"gone"|nil
---@field replaces string?
---@field retracts string?
---@field reaction { id: string, list: string[] }?

--- How to read a message. `me`: our address; `by`: whose stanza-id is trusted, because it announces that it assigns
--- ids (XEP-0359 6; nil: nobody's); `direction` (default "in"); `carbon`: it was inside a carbon copy; `lang`: the
--- preferred language; `room`: the bare address of the room that it comes from.
---@class xmpp.MessageContext
---@field me xmpp.Jid|string
---@field by string?
---@field direction "in"|"out"|nil
---@field carbon boolean?
---@field lang string?
---@field room string?

-- Options

--- SASL mechanisms for tokens (XEP-0484, draft-schmaus-kitten-sasl-ht). EXPR, UNIQ and ENDP are bound to the TLS
--- channel by "tls-exporter", "tls-unique" and "tls-server-end-point"; NONE isn't bound. With ENDP and NONE the client
--- sends the same bytes each time, so these two are used only if the option `mechanisms` names them.
---@alias xmpp.TokenMechanism
---| "HT-SHA-256-EXPR" | "HT-SHA-256-UNIQ" | "HT-SHA-256-ENDP" | "HT-SHA-256-NONE"

--- SASL mechanisms, strongest first, except for ANONYMOUS, which is used only for a JID without a localpart or if
--- nothing else is allowed. Those that end in -PLUS are bound to the TLS channel.
---@alias xmpp.Mechanism
---| "EXTERNAL" | "SCRAM-SHA-512-PLUS" | "SCRAM-SHA-256-PLUS" | "SCRAM-SHA-1-PLUS" | "SCRAM-SHA-512" | "SCRAM-SHA-256"
---| "SCRAM-SHA-1" | "PLAIN" | "ANONYMOUS" | xmpp.TokenMechanism

--- A token to log in with instead of the password (XEP-0484), as `conn:token` and the event "token" return it and the
--- option `token` and `xmpp.logout` take it. It is as secret as a password: keep it where only the user can read it.
--- Plain data, which can be stored as JSON.
---@class xmpp.Token
---@field version integer 1
---@field jid string whose token it is: the bare address
---@field user_agent string the UUID of the user agent that it belongs to, in lower or upper case as it was given
---@field mechanism xmpp.TokenMechanism the only mechanism that it can be used with
---@field token string the secret itself, at most 1,024 bytes
---@field expiry number? when it expires, as the server says, in seconds since 1970, at most a year ahead; absent: the
--- server hasn't said

--- What the client tells the server about itself (XEP-0388 2.3.1). The server doesn't pass it on.
---@class xmpp.UserAgent
---@field id? string a random UUID, made once for this installation and this account. Two simultaneous connections must
--- not share one (the server ends the older), nor must two accounts (the server could tell that they belong together)
---@field software? string the program's name, for people to read, at most 64 bytes ("xmpp for Lua" if there is an id)
---@field device? string the device's name, likewise; a host name says more than is needed (none)

--- Options for binding the resource during the login (XEP-0386).
---@class xmpp.Bind2
---@field tag? string a short name of the program, at most 64 bytes; the server puts it into the resource, which
--- contacts see ("lua")
---@field carbons? boolean enable carbons (XEP-0280) with it, if the server offers that (false)
---@field inactive? boolean start as inactive (XEP-0352), if the server offers that (false)

--- Options of `connect_client` and `connect_component`. An unknown name raises an error that suggests the most similar
--- known one.
---@class xmpp.Opts
--- connect to this host and no other: a name, or an address ("fe80::1%eth0") (the hosts of the domain's SRV records,
--- else the domain itself)
---@field host? string
---@field port? integer TCP port, 1 to 65535 (the port of the SRV record, else 5222)
--- "starttls": as in RFC 6120 5; "direct": TLS from the first byte (XEP-0368); "none": no TLS, which a client may use
--- only with a loopback address and never through a proxy ("starttls")
---@field tls? "starttls"|"direct"|"none"
--- a proxy to connect through. "socks5://user:password@host:port": SRV records are looked up here, and all other names
--- by the proxy; "socks5h://...": no name is looked up here at all; "http://user:password@host:port": by the CONNECT
--- method; "environment": what ALL_PROXY or https_proxy says, except for the hosts in NO_PROXY; false: none (none)
---@field proxy? string|false
--- connect over WebSocket (RFC 7395); for clients only. "wss://host[:port]/path", or "ws://" with a loopback address;
--- or "host-meta": the first such URL that the domain's web server announces (XEP-0156). Raises an error together with
--- `host`, `port` or `tls`, and if the library was built without wslay (none: TCP)
---@field url? string
---@field ca_file? string PEM file of trusted certificates (the system's)
---@field ca_dir? string directory of trusted certificates, named by hash as OpenSSL expects (the system's)
--- the name that the certificate must be valid for (the JID's domainpart, whatever host it connects to; over WebSocket
--- that or the URL's host)
---@field tls_name? string
---@field pin? string base64 of the SHA-256 of the certificate's public key (SPKI), which is checked in addition to
--- everything else (none)
---@field cert? string PEM file with the client's certificate, for SASL EXTERNAL (none)
---@field key? string PEM file with the private key of `cert` (none)
---@field verify? boolean false: accept any certificate, with a warning (true)
---@field mechanisms? xmpp.Mechanism[] the only SASL mechanisms that may be used (all)
--- false: never send the password itself (SASL PLAIN). true: send it over verified TLS only, where the server offers
--- nothing better, and never for an account that has logged in by a better mechanism since the program started or
--- since `forget` (true)
---@field plain? boolean
--- false: keep nothing of this login for the next one, and use nothing that was kept: no SCRAM keys, no TLS session,
--- nothing of what the server offered or rejected, and not that the account used channel binding. One thing holds for
--- such a connection, too: PLAIN stays ruled out for an account that has used something better (see `plain`). See
--- `forget` (true)
---@field remember? boolean
---@field resource? string the resourcepart to ask for (the JID's own, else "lua-" and random text)
--- log in by SASL2 (XEP-0388) if the server offers it under TLS; false: only by the SASL profile of RFC 6120 (true)
---@field sasl2? boolean
--- bind the resource during the login (XEP-0386), if the server offers that within SASL2. Servers with an archive may
--- then discard offline messages, so use it only in programs that read the archive. A string is the tag. The server
--- chooses the resource, so `resource` or a resourcepart in the JID raises an error together with it (false)
---@field bind2? boolean|string|xmpp.Bind2
---@field user_agent? xmpp.UserAgent what the client tells the server about itself (nothing)
--- ask for a token (XEP-0484), keep it in locked memory, and use it the next time that this account connects with this
--- `user_agent.id`. true without an id: an id is made for this connection. false: never (true if there is a
--- `user_agent.id` or a `token`, else false)
---@field fast? boolean
--- a token from an earlier process; no password is needed with it. Raises an error if it isn't this account's or
--- doesn't belong to the given `user_agent.id`. If the server rejects it, the password is used if there is one; else
--- the error has layer "sasl" and condition "not-authorized" or "credentials-expired" (none)
---@field token? xmpp.Token
--- name servers to query, separated by commas, such as "192.0.2.1:53" (the system's)
---@field nameservers? string
---@field lang? string `xml:lang` of our stream ("en")
---@field timeout? number seconds until a connection attempt is given up, for all its phases together (30)
---@field await_timeout? number seconds to wait for a response; math.huge: no limit (60)
--- after this many seconds without sending, send something: an `<r/>` with stream management, else a space (RFC 6120
--- 4.6.1) or, if nothing has been received for a long time, a ping (XEP-0199). 0: never (60)
---@field keepalive? number
--- for components: if nothing is received for as long as `keepalive`, send a message to itself through the server (see
--- `probe`). The next one follows if it isn't back within `ack_timeout`; after the third loss in a row the connection
--- is cut. Raises an error for a client (false)
---@field keepalive_probe? boolean
--- ask the server to keep the session when the connection breaks (XEP-0198). true: and resume it, for as long as the
--- server keeps it; false: don't; nil: only with `reconnect`. `save` needs this or `reconnect`
---@field resume? boolean
---@field reconnect? boolean|xmpp.Reconnect connect again when the connection is lost and a retry can help (false)
---@field max_age? number seconds after which a stanza that is still waiting is not sent in a new session but reported
--- as failed (600)
---@field ack_timeout? number seconds that the server has to acknowledge, or to send anything else (20)
--- send what can safely be sent before the server asks for it (XEP-0305). true: to a server that a login has succeeded
--- at before and that hasn't rejected it; "eager": to an unknown server, too; false: never (true)
---@field pipelining? boolean|"eager"
--- for components: allow stanzas with a `from` outside the component's domain, because the server allows them. Without
--- it, `send` returns nil and an error (layer "stanza", condition "invalid-from") (false)
---@field foreign_from? boolean
--- follow the server's redirects (`<see-other-host/>`, RFC 6120 4.9.3.19), at most 3 in a row; over WebSocket to
--- another wss:// URL (RFC 7395 3.6.1) (false)
---@field see_other_host? boolean
---@field on_response? fun(stanza: xmpp.Stanza?, conn: xmpp.Conn, err: xmpp.Error?, id: string) for `resume`: called
--- with the responses to requests of the saved session (none: they arrive as ordinary stanzas)
--- The bounds of a stanza, in both directions. A received stanza that exceeds one is skipped (see `on`), and `send`
--- refuses one. This one: bytes of the whole stanza (10 MiB; 64 KiB until the resource is bound)
---@field max_stanza? integer
---@field max_start_tag? integer bytes of one start tag in it (1 MiB; 64 KiB until the resource is bound)
---@field max_depth? integer nesting depth of elements, at most 1,000 (128)
---@field max_attributes? integer attributes of one element, not counting a stanza's own `to`, `from` and `xml:lang`
--- (256)
---@field max_nodes? integer elements and texts in it, and as many attributes (500,000)
--- bytes of a namespace; all namespaces in attribute names together may have 1,024 times as many (1,024)
---@field max_namespace? integer
--- bytes of stanzas that wait to be sent or acknowledged; of stanzas that were received and not yet taken; and of
--- stanzas whose handlers and callbacks are waiting, each of which counts 2 KiB in addition to its stanza (10 MiB)
---@field max_queue? integer
--- called in a coroutine when the connection attempt begins: the connection isn't ready yet, but can be watched and
--- stopped (none)
---@field on_open? fun(conn: xmpp.Conn)
--- called with all XML that is sent and received, with secrets masked: see the manual's page "Security" (none)
---@field log? fun(direction: "out"|"in", text: string)

--- The pauses between attempts are random: at first up to `min`, then up to twice as long each time, never longer than
--- `max` (full jitter). After a session that lasted long enough (see `attempts`), a component makes its first attempt
--- at once.
---@class xmpp.Reconnect
---@field min? number seconds (1)
---@field max? number seconds (60)
---@field attempts? integer how many attempts to make; the count starts anew after a session that lasted `max` seconds
--- (at least 2, at most 30) (no limit)

--- Options of `send`.
---@class xmpp.SendOpts
--- called when the stanza's fate is known: with "written" when the kernel has it, then with exactly one of "acked" and
--- "failed" (`err` says why, and contains the stanza). Without stream management, and for components, "written" is the
--- last (none)
---@field on? fun(state: "written"|"acked"|"failed", err: xmpp.Error?)
--- true: the stanza only makes sense in the present session, as joining a room does. If that session is lost it isn't
--- sent in the next one, and only `on` is told that it failed. A resumed session is the same one (false)
---@field session? boolean

--- Which stanzas a callback or a tap gets. A field that is absent matches anything. Checked before a table is made.
---@class xmpp.Filter
---@field name? string the stanza's name: "message", "presence" or "iq"
---@field type? string its type attribute
---@field xmlns? string the namespace of its first child element
---@field has? string the namespace of any of its child elements
---@field from? string|xmpp.Jid its sender; also matches the way in which a server of RFC 6122 writes that address
--- (`strasse@` for `straße@`)
---@field id? string its id attribute
--- "from": called for one stanza of each sender (a full JID) at a time, in order; the next follows when the call has
--- returned. A stanza that waits for its turn goes on to other callbacks meanwhile, and counts as a waiting call (see
--- `max_queue`)
---@field serial? "from"

--- Gets every stanza of its connection. Its return value is ignored. Runs in a coroutine, so it may wait.
---@alias xmpp.Handler fun(stanza: xmpp.Stanza, conn: xmpp.Conn)

--- Gets the stanzas that match its filter. If it was installed by `set_callback_once`, it is removed when it returns
--- exactly true.
---@alias xmpp.Callback fun(stanza: xmpp.Stanza, conn: xmpp.Conn): any

--- Called once: with the response, or with nil and the error (layer "timeout", "closed", or "limit" for a response
--- that exceeded a bound).
---@alias xmpp.ResponseCallback fun(stanza: xmpp.Stanza?, conn: xmpp.Conn, err: xmpp.Error?): ...

-- Connections. Every method is also a function of the module, the same value: `xmpp.send(conn, stanza)`.

---@class xmpp.Conn
local Conn = {}

--- Closes the stream in order: what is pending is delivered first (and acknowledged, if there is stream management),
--- then the server's closing tag is awaited. Can be called in any state; a second call can only shorten the time.
---@param timeout? number seconds after which the connection is cut (5)
---@return boolean? ok true; nil if the stream did not end in order or stanzas are not known to have arrived
---@return xmpp.Error? err its text says how many
function Conn:stop(timeout) end

--- The result of `drain`.
---@class xmpp.Drained
--- calls of handlers, callbacks and taps that were waiting when it began and have returned, and stanzas that were
--- passed to these since
---@field handled integer
---@field unfinished integer calls that had not returned when the connection ended
---@field queued integer stanzas in the receive queue, for `receive` or for a handler that had no time to take them
--- received stanzas that nobody was given. With stream management the server still has them; those of a component are
--- lost
---@field unread integer
--- the bytes of `unread`, and of what was received but not parsed when the connection ended (under TLS an estimate)
---@field unread_bytes integer
---@field unsent integer stanzas that were sent and aren't known to have arrived
---@field late boolean the timeout passed before everything was finished

--- Closes the stream in order when everything that was received has been dealt with. Stanzas that were received
--- already are still passed on; after that nothing is read except responses and acknowledgements that somebody waits
--- for. Running handlers, callbacks and taps finish, even if they wait, and may send until then. Tasks are not waited
--- for, nor is the call that waits for this function itself. With stream management the server is told how much was
--- handled, and keeps the rest. Can be called in any state; a second call, or one after `stop`, returns the same
--- result, and the earlier of both deadlines counts.
---@param timeout? number seconds for all of it, of which a tenth (at most one second) is reserved for closing the
--- stream (30)
---@return xmpp.Drained left
---@return xmpp.Error? err if it didn't end in order: layer "timeout" if calls did not return in time, else as `stop`
function Conn:drain(timeout) end

--- Sends a stanza. Outside of a step of the loop it is written at once; in a step, for example in a handler,
--- everything that was sent is written together at the end of the step. Raises an error, which names the path to the
--- fault, for a stanza that `contract.stanza` refuses; nothing of it is written then. A request (an iq of type get or
--- set) without an id gets one on the wire.
---@param stanza xmpp.Stanza
---@param opts? xmpp.SendOpts
---@return boolean? ok true
---@return xmpp.Error? err layer "closed", or "limit" if `max_queue` is reached
function Conn:send(stanza, opts) end

--- Waits until everything that was sent before has arrived: until the server has acknowledged it (XEP-0198), or,
--- without stream management, until the kernel has it. It doesn't wait for what is sent in the meantime.
---@param timeout? number seconds
---@return boolean? ok true
---@return xmpp.Error?
function Conn:flush(timeout) end

--- How much is not known to have arrived (see `flush`).
---@return integer bytes
---@return integer stanzas
function Conn:pending() end

--- Pings the server (XEP-0199).
---@param timeout? number seconds (the option await_timeout)
---@return number? seconds until the answer came
---@return xmpp.Error?
function Conn:ping(timeout) end

--- For components: sends a message to itself, through the server, from and to a random address of its domain. If it
--- comes back, the server routes the domain to this connection, which neither white space nor TCP can show. No handler
--- or callback gets it. If the domain has several connections (ejabberd), a connection of this library that receives
--- another's probe sends it on. Raises an error for a client, which has `ping`.
---@param timeout? number seconds (the option await_timeout)
---@return number? seconds until it came back
---@return xmpp.Error? err layer "timeout": it hasn't come back; "closed": there is no session to send it in; "limit":
--- `max_queue` is reached
function Conn:probe(timeout) end

---@alias xmpp.State
---| "connecting" # looking up the server and connecting to it
---| "securing" # negotiating TLS
---| "upgrading" # from HTTP to WebSocket, with the option `url`
---| "authenticating" # SASL
---| "binding" # starting a new session
---| "resuming" # resuming the old one (XEP-0198); not reported if that is part of the login (XEP-0388)
---| "ready"
---| "waiting" # the connection is lost, and will be tried again
---| "closing" # pending stanzas are delivered, then the stream ends
---| "closed" # for good

--- The state of the connection.
---@return xmpp.State
function Conn:state() end

--- A received stanza that was skipped because it exceeded a bound.
---@class xmpp.Skipped
---@field name string "message", "presence" or "iq"
---@field from string?
---@field to string?
---@field id string?
---@field type string?
---@field bound integer the bound that was exceeded: 256
---@field option string the option that sets it: "max_attributes"

---@alias xmpp.Listener
---| fun(state: xmpp.State, err: xmpp.Error?)
---| fun(stanza: xmpp.Stanza|xmpp.Skipped, err: xmpp.Error)
---| fun(err: xmpp.Error)
---| fun(conn: xmpp.Conn)
---| fun(token: xmpp.Token)

--- Calls `f` for an event. "state": each change of the state, with the reason if there is one. "failed": each stanza
--- that could not be sent and has no `on` of its own. "skipped": each received stanza that was skipped, with what is
--- known of it (`err` has layer "limit", and the start tag as `stanza`). "full": called once, when stanzas begin to be
--- discarded because nobody takes them (`max_queue`). "token": each token that the server gives (XEP-0484), which
--- replaces the one before. "session": there is a new session after a lost one. Stanzas that were sent before are then
--- held back until all listeners to "session" have returned, which may wait, but no longer than the option `timeout`;
--- what is sent meanwhile goes out at once, ahead of them. There may be any number of listeners: each is called in a
--- coroutine of its own, in the order of registration; one that is added during an event is called from the next event
--- on.
---@param event "state"|"failed"|"skipped"|"full"|"session"|"token"
---@param f xmpp.Listener
---@return fun(): boolean off removes the listener; returns true the first time
function Conn:on(event, f) end

--- The token that the next login would use instead of the password (XEP-0484): see `xmpp.Token`, and the options
--- `user_agent` and `fast`. Also works after the connection has closed. nil: there is none, because the server hasn't
--- given one, or because it has expired or was rejected.
---@return xmpp.Token?
function Conn:token() end

--- The session as plain data, for `xmpp.resume` in another process. It can be stored as JSON and contains neither
--- password nor token, but the id of the option `user_agent`. This closes the connection (condition "saved"): the link
--- is cut, and the server keeps what arrives afterwards. A stanza whose handler is still running counts as handled,
--- and so does one that waits for its turn with a callback that has `serial` in its filter, so let these finish first.
--- nil if the server keeps no session (condition "not-resumable"), which is so without `resume` or `reconnect`.
---@return table? saved
---@return xmpp.Error?
function Conn:save() end

--- The next stanza of the receive queue, without waiting. The queue fills as long as no handler is installed.
---@return xmpp.Stanza? stanza nil without an error: the queue is empty
---@return xmpp.Error? err the connection is closed and the queue is empty
function Conn:receive() end

--- The next stanza of the receive queue; waits for it.
---@param timeout? number seconds (no limit)
---@return xmpp.Stanza?
---@return xmpp.Error?
function Conn:receive_blocking(timeout) end

--- Installs the connection's only handler. It gets the queued stanzas first, in order.
---@param handler? xmpp.Handler (xmpp.default_handler)
function Conn:set_handler(handler) end

--- Removes the handler: stanzas go to the receive queue again.
function Conn:stop_handler() end

--- The installed handler.
---@return xmpp.Handler? handler nil if none is installed
function Conn:handler() end

--- Adds a callback at the end of the list that the default handler calls, from the next stanza on. If neither
--- set_handler nor stop_handler has been called, the first callback installs the default handler.
---@param callback xmpp.Callback
---@param filter? xmpp.Filter
function Conn:set_callback(callback, filter) end

--- Like set_callback, but the callback is removed when it returns exactly true.
---@param callback xmpp.Callback
---@param filter? xmpp.Filter
function Conn:set_callback_once(callback, filter) end

--- Removes a callback with immediate effect.
---@param callback xmpp.Callback
---@return boolean found whether it was installed
function Conn:unset_callback(callback) end

--- The callbacks in order of installation, as a new list.
---@return xmpp.Callback[]
function Conn:callbacks() end

--- Adds a tap: a function that gets stanzas before the handler, the callbacks and the receive queue, whichever handler
--- is installed, from the next stanza on. If it returns exactly true before it first waits, nobody else gets the
--- stanza. If no handler is installed, a stanza that matched some tap's filter isn't put into the receive queue.
---@param tap xmpp.Callback
---@param filter? xmpp.Filter
---@return fun(): boolean off removes the tap with immediate effect; returns whether it was still there
function Conn:tap(tap, filter) end

--- Sends a stanza and calls `callback` once: with the response, or with nil and an error. The response is the first
--- stanza with the same name and id from the address that the stanza was sent to; for an iq it must be of type result
--- or error. A missing id is generated, on the wire only. Raises an error for an id that already waits for a response.
---@param stanza xmpp.Stanza
---@param callback xmpp.ResponseCallback
---@param timeout? number seconds, math.huge: no limit (the option await_timeout)
---@return string? id the id sent
---@return xmpp.Error?
function Conn:send_callback(stanza, callback, timeout) end

--- Sends a stanza and waits for its response (see send_callback). Returns what `callback` returns, or, without a
--- callback, the response. An error stanza is a response, too: see `xexpr.is_error`.
---@param stanza xmpp.Stanza
---@param callback? xmpp.ResponseCallback
---@param timeout? number seconds, math.huge: no limit (the option await_timeout); may take the callback's place
---@return xmpp.Stanza|any response
---@return xmpp.Error|any err layer "timeout" or "closed"
---@overload fun(self: xmpp.Conn, stanza: xmpp.Stanza, timeout: number): xmpp.Stanza?, xmpp.Error?
function Conn:send_await(stanza, callback, timeout) end

--- The address that the server bound, with its resourcepart; for a component its domain.
---@return xmpp.Jid
function Conn:jid() end

--- How a connection was secured and authenticated, with nil for what doesn't apply, and what happened to its sessions.
---@class xmpp.Info
---@field stream_management boolean whether stanzas are acknowledged (XEP-0198)
---@field resumable boolean whether the server keeps the session when the connection breaks
--- whether stanzas can be lost unnoticed, in both directions. That is so without stream management, and always for
--- components, because XEP-0114 has no acknowledgements: "written" is then all that is known of a sent stanza, and
--- what the server sends while the connection breaks or ends is lost
---@field lossy boolean
---@field resumed integer number of resumptions
---@field rebound integer number of new sessions that replaced a lost one
---@field failed_without_h integer how many of those were started because the server no longer knew how many stanzas it
--- had handled
---@field queued integer received stanzas that wait to be taken
---@field dropped integer stanzas that were discarded, because nobody took them and max_queue was reached
---@field waiting integer calls of the handler and callbacks, and of listeners to "skipped" and the log, that are
--- waiting at present
---@field address string? the address of the present or last server: "192.0.2.7", "2001:db8::7"; unknown behind a proxy
---@field url string? the URL of the WebSocket; absent: it uses TCP
---@field proxy string? the proxy, without user name and password: "socks5h://127.0.0.1:9050"
---@field tls_version string? "TLSv1.3"
--- for how many seconds the server's certificates were still valid when they were verified, by the one that expires
--- first; absent: none were verified
---@field certificate_seconds number?
--- seconds that each phase of connecting took, until the connection was ready or failed; a WebSocket's upgrade belongs
--- to the login
---@field took { dns: number, tcp: number, proxy: number?, tls: number, login: number }
---@field tls_resumed boolean? whether the TLS session was resumed from an earlier connection's (RFC 8446 2.2)
---@field mechanism xmpp.Mechanism? the SASL mechanism of the login
---@field profile "sasl"|"sasl2"|nil its profile: RFC 6120 6, or XEP-0388
---@field bound_inline boolean? whether the session was bound (XEP-0386) or resumed within the login
---@field fast boolean? whether the login was by a token (XEP-0484)
---@field pipelined ("starttls"|"auth"|"session")[]? what was sent together with a stream header (XEP-0305)
---@field offers table<string, true> namespaces of the stream features that the server offered at the last login, after
--- TLS and SASL; at most 64 of them and 4 KiB. Empty for a component
---@field channel_binding string? what a -PLUS mechanism or a token was bound to the channel by: "tls-exporter",
--- "tls-unique", "tls-server-end-point"

--- How the connection was secured and authenticated. Also works after it has closed.
---@return xmpp.Info
function Conn:info() end

-- The module

--- What `after` and `every` return.
---@class xmpp.Timer
local Timer = {}

--- Stops the timer. Does nothing if it was stopped before or is over.
---@return boolean stopped whether it would have been called
function Timer:cancel() end

---@class xmpp
---@field _VERSION string "xmpp " and the version
---@field C2S_PORT integer 5222, the port for clients (RFC 6120 3.2.1)
---@field xexpr xmpp.xexpr
---@field contract xmpp.contract
---@field stream xmpp.stream
local xmpp = {}

--- Connects, negotiates TLS, authenticates, binds a resource, and returns the open connection. The certificate is
--- checked against the JID's domain (or opts.tls_name), whatever host it connects to.
---@param jid string|xmpp.Jid with a localpart, unless opts.mechanisms contains "ANONYMOUS"
---@param password (string|fun(): string)? nil only with opts.cert, opts.token, or "ANONYMOUS" in opts.mechanisms
---@param host? string|xmpp.Opts connect to this host and no other (the hosts of the SRV records, else the domain
--- itself)
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

--- Continues a session that another process has saved; waits until that is done. Stanzas that aren't acknowledged are
--- sent again, and stanzas that nobody had taken are received first. If the server no longer has the session, a new
--- one is started (`info().resumed` is 0), as after a reconnect.
---@param saved table as conn:save() returned it; it may have been stored as JSON
---@param password (string|fun(): string)?
---@param opts? xmpp.Opts
---@return xmpp.Conn?
---@return xmpp.Error?
function xmpp.resume(saved, password, opts) end

--- Revokes a token (XEP-0484 3.4), and with it the earlier ones that the server has given to the same user agent. To
--- do so it logs in with the token, as a separate resource, which doesn't affect existing sessions, and waits until
--- that is done. This process forgets the token, too. A later login with the password gets a new one.
---@param token xmpp.Token
---@param host? string|xmpp.Opts connect to this host and no other (the hosts of the SRV records, else the domain
--- itself)
---@param port? integer|xmpp.Opts (5222)
---@param opts? xmpp.Opts those of connect_client about finding, trusting and waiting for the server; those about
--- sessions and other ways to log in are ignored
---@return boolean? ok true: the token is invalid now; nil: it may still be valid
---@return xmpp.Error|"refused"|nil err "refused" together with true: the token was already invalid
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

--- Passes a stanza to every callback of the connection whose filter matches, in order of installation.
---@type xmpp.Handler
function xmpp.default_handler(stanza, conn) end

--- Is it a connection, in whatever state?
---@param v any
---@return boolean
function xmpp.is_connection(v) end

--- Parses and prepares an address (RFC 7622). A Jid is returned unchanged.
---@param s string|xmpp.Jid
---@return xmpp.Jid?
---@return xmpp.Error?
function xmpp.jid(s) end

--- Is it an address made by `xmpp.jid`?
---@param v any
---@return boolean
function xmpp.is_jid(v) end

--- A new id: at least 128 unguessable bits as URL-safe text, which never repeats.
---@return string
function xmpp.id() end

--- The hash of `data`, as bytes. Raises an error for an unknown hash name.
---@param name "sha-1"|"sha-256"|"sha-512"|"sha3-256"|"blake2b-256"
---@param data string
---@return string
function xmpp.hash(name, data) end

--- Encodes data as base64 (RFC 4648 4).
---@param data string
---@return string text
function xmpp.base64(data) end

--- Decodes base64. Returns nil unless it is in canonical form: padded, without white space, no bits left over.
---@param text string
---@return string? data
function xmpp.unbase64(text) end

--- Turns the event loop until no connection, task or timer is left, or until `quit`.
---@return boolean done false: the interpreter was interrupted (Ctrl-C)
function xmpp.run() end

--- Makes `run` return. If it isn't running, the next call returns at once.
function xmpp.quit() end

---@alias xmpp.Signal "SIGHUP"|"SIGINT"|"SIGQUIT"|"SIGTERM"|"SIGUSR1"|"SIGUSR2"|"SIGALRM"|"SIGCHLD"|"SIGCONT"|"SIGTSTP"
---|"SIGTTIN"|"SIGTTOU"|"SIGPIPE"|"SIGWINCH"

--- Calls `f`, in a coroutine of its own, when the process gets that signal, which replaces the signal's default
--- action. If it arrives several times between two turns of the loop, `f` is called once. Each signal has one
--- function; nil removes it, and the signal does what it did before. This does not keep `run` from returning.
---@param name xmpp.Signal
---@param f fun(name: xmpp.Signal)?
---@return fun()? off removes the function again
function xmpp.on_signal(name, f) end

--- Like `coroutine.wrap`, for a generator that waits between its items: the caller that asks for the next item waits.
---@param f fun(...): any
---@return fun(...): any
function xmpp.wrap(f) end

--- Turns the event loop once, for games and other programs with a loop of their own.
---@param timeout? number seconds to wait if there is nothing to do (0)
---@param max_stanzas? integer at most this many stanzas dispatched, timers and tasks called, and waiting calls
--- continued, all together (no limit)
---@return integer dispatched number of stanzas that were dispatched
function xmpp.step(timeout, max_stanzas) end

--- Forgets what earlier logins have left for the next ones. For all Lua states of the process: the SCRAM keys, and
--- what servers offered. For this Lua state: the TLS sessions, which accounts used channel binding, and which have
--- logged in by something better than PLAIN. Useful when the server has changed.
function xmpp.forget() end

--- A single file descriptor for everything that the library waits on: poll it for reading, then call `step`. Timers
--- don't make it readable: see `timeout`. `require "xmpp.loop.uv"` (luv, Neovim), `xmpp.loop.cqueues` and
--- `xmpp.loop.copas` do this for you.
---@return integer
function xmpp.fd() end

--- Seconds until the library needs a `step` even if `fd` isn't readable; nil: none is needed. Ask before each sleep;
--- if something is started in the meantime that needs a step sooner, `fd` becomes readable.
---@return number?
function xmpp.timeout() end

--- Runs `f(...)` in a coroutine of its own, so it may wait. An error that it throws is passed to whoever waits for the
--- promise at that time, or to `on_error` if nobody does.
---@param f fun(...): ...
---@param ... any
---@return xmpp.Promise promise resolved with what f returns, rejected with what it throws
function xmpp.spawn(f, ...) end

--- Something that the program itself can wait for, by the same rule as everything here: the main thread turns the
--- loop, a coroutine yields. It may be settled from anywhere, and any number of callers may wait for it; they continue
--- in the next turn of the loop, in the order in which they began to wait. In Lua 5.4, closing a coroutine that waits
--- removes its wait.
---@class xmpp.Promise
local Promise = {}

--- Resolves the promise with values.
---@param ... any what `wait` returns
---@return boolean settled false: it was settled already, and is unchanged
function Promise:resolve(...) end

--- Rejects the promise with an error.
---@param err any the reason: `wait` returns nil, err
---@return boolean settled false: it was settled already, and is unchanged
function Promise:reject(err) end

--- Waits until the promise is settled. Returns what it was resolved with; or nil and what it was rejected with; or nil
--- and an error of layer "timeout"; or, on the main thread, nil and one of layer "closed" (condition "nobody-left") if
--- no connection, task or timer is left that could settle it.
---@param seconds? number (no limit)
---@return any ...
function Promise:wait(seconds) end

--- A new promise, which is not settled.
---@return xmpp.Promise
function xmpp.promise() end

--- A bounded queue between parts of a program. If values are put in faster than they are taken out, `put` waits.
--- Callers that wait for room, or for a value, are served in order. It waits by the same rule as a promise, and its
--- waits end in the same way with layer "timeout" or, on the main thread, "closed".
---@class xmpp.Channel
local Channel = {}

--- Puts a value in; waits while the queue is full.
---@param value any not nil
---@param seconds? number (no limit)
---@return boolean? ok true; otherwise the value isn't in the queue
---@return xmpp.Error? err layer "timeout" or "closed"
function Channel:put(value, seconds) end

--- Takes out the oldest value; waits while there is none. Values that are in the queue when it is closed can still be
--- taken.
---@param seconds? number (no limit)
---@return any value
---@return xmpp.Error? err layer "timeout" or "closed"
function Channel:get(seconds) end

--- Closes the queue: nothing more can be put in, and all callers that wait return.
---@return boolean whether it was open
function Channel:close() end

--- A new channel. most: how many values it holds, math.huge: no limit; 0: `put` waits until a `get` takes the value
--- (1,000)
---@param most? integer
---@return xmpp.Channel
function xmpp.channel(most) end

--- Waits for that many seconds.
---@param seconds number
function xmpp.sleep(seconds) end

--- Calls `f` once.
---@param seconds number from now
---@param f fun()
---@return xmpp.Timer
function xmpp.after(seconds, f) end

--- Calls `f` repeatedly.
---@param seconds number between two calls
---@param f fun()
---@return xmpp.Timer
function xmpp.every(seconds, f) end

--- Where an error that was passed to `on_error` comes from.
---@class xmpp.ErrorSource
--- which kind of function threw it: "handler", "callback", "response" (of send_callback), "receipt" (send's `on`),
--- "log", "timer", "task", "signal", "add" (what an extension appends to stanzas); or the name of an event of conn:on,
--- for an error in a listener and for an event that has no listener; or "library": it ran out of memory
---@field what string
---@field conn xmpp.Conn? the connection, where there is one
---@field stanza xmpp.Stanza? the stanza that was being handled
---@field func function? the program's function that threw it

--- Sets the function that is called with errors thrown in handlers, callbacks and tasks, with their traceback. Such an
--- error has no other effect.
---@param f fun(text: string, object: any, whose: xmpp.ErrorSource)? text with traceback; the error value; its source.
--- nil: the default, which writes to stderr
---@return function? before the previous function, to be called by the new one or to be set again
function xmpp.on_error(f) end

-- Rooms

--- An occupant of a room. `jid` is present if the room shows it to us; `id` (XEP-0421) and `hats` (XEP-0317) only if
--- the room announces them.
---@class xmpp.Occupant
---@field nick string prepared; anybody may take it when its owner has left
---@field jid string? the occupant's real address, prepared
---@field role "moderator"|"participant"|"visitor"|"none"|nil
---@field affiliation "owner"|"admin"|"member"|"outcast"|"none"|nil
---@field show "away"|"chat"|"dnd"|"xa"|nil
---@field status string?
---@field id string? stays the same for the same person under another nick
---@field hats { uri: string?, title: string? }[]?

--- Why an occupant, or we, left a room, according to the room.
---@class xmpp.RoomWhy
---@field code integer? 301 (ban), 307 (kick), 321, 322 (no longer a member), 332 (the service shuts down), 333 (an
--- error)
---@field reason string?
---@field by string? nick or address of who did it
---@field destroyed boolean? the room no longer exists
---@field alternative string? another room that replaces it
---@field err xmpp.Error? (if we left) how that was noticed, if the room didn't say it
---@field returns boolean? (if we left) whether we rejoin automatically

--- A room that we are in, or will rejoin: see xmpp.muc. Its fields are read-only; its methods are in the files of
--- xmpp/muc.
---@class xmpp.Room
---@field jid string prepared
---@field nick string our nick, as the room writes it
---@field joined boolean whether we are in it now
---@field subject string?
---@field role string? our role
---@field affiliation string? our affiliation
---@field features table<string, true>? nil until the room has announced them
---@field occupants table<string, xmpp.Occupant> by nick, including ourselves
---@field beyond integer number of further occupants, for which there was no space in `occupants`

--- A message in a room, to everybody or (private) to us alone. Its stanza_id was assigned by the room, if that
--- announces XEP-0359.
---@class xmpp.RoomMessage: xmpp.Message
---@field nick string the nick that the sender had then
---@field occupant xmpp.Occupant? the sender's entry; nil: the sender isn't in the room, or it isn't certain that this
--- is the same person
---@field occupant_id string? the sender's occupant id, if the room announces these (XEP-0421)
---@field own boolean whether we sent it
---@field history boolean? it was sent before we joined, or while we were away; its stamp comes from the room
---@field archive_id string? (of room:history) its id in the archive

--- A moderated message: the room has retracted it (XEP-0425).
---@class xmpp.RoomModeration
---@field stanza_id string
---@field by string? nick of the moderator
---@field reason string?

--- A page of a room's history, oldest first.
---@class xmpp.RoomHistory: { [integer]: xmpp.RoomMessage }
---@field first string? id of the first one: for `before`
---@field last string? id of the last one: for `after`
---@field complete boolean there are no more in that direction
---@field count integer? how many there are in all
---@field index integer? how many precede this page

--- A message from an archive: parsed by xmpp.chat, with the archive's id and stamp. Its `by` is the archive's address,
--- and its stanza_id is the same as archive_id.
---@class xmpp.ArchivedMessage: xmpp.Message
---@field archive_id string for `after` and `before`
---@field stamp number? when the archive received it, seconds since 1970
---@field text string
---@field nick string? in a room's archive: the nick that the sender had then
---@field claims { replaces: string?, retracts: string?, reaction: table? }? what it says about other messages; whether
--- its sender wrote those isn't checked
---@field stanza xmpp.Stanza? only with the option `all`

--- A page of an archive, oldest first.
---@class xmpp.ArchivePage: { [integer]: xmpp.ArchivedMessage }
---@field first string? id of the first one: for `before`
---@field last string? id of the last one: for `after`
---@field complete boolean there are no more in that direction
---@field count integer? how many there are in all
---@field index integer? how many precede this page

--- Options of archive.query.
---@class xmpp.ArchiveOpts
---@field of? string|xmpp.Jid whose archive, for example a room's (our own account's)
---@field with? string|xmpp.Jid only messages from or to this address
---@field from? number only messages since then: seconds since 1970
---@field to? number only messages until then: seconds since 1970
---@field after? string only messages after the one with this id
---@field before? string only messages before the one with this id; "": the last page
---@field max? integer messages per page, up to 1,000 (50)
---@field ids? string[] only the messages with these ids
---@field form? table<string, any> further fields of the query form, see archive.fields
---@field all? boolean include messages that have no text for a person; each message has `stanza` then (false)
---@field timeout? number seconds for each page
---@field lang? string the preferred language of messages in several languages
---@field as? string|xmpp.Jid for components: the address that sends the query

--- Options of archive.each.
---@class xmpp.ArchiveEachOpts: xmpp.ArchiveOpts
---@field limit? integer the largest number of messages (all)
---@field err? fun(err: xmpp.Error) called if something fails

--- Options of archive.pages.
---@class xmpp.ArchivePagesOpts: xmpp.ArchiveOpts
---@field since? string id of the last message of an earlier, identical query

--- A gateway, see xmpp/gateway.lua: it has the method user(name), and the events are described there.
---@class xmpp.Gateway
---@field user fun(g: xmpp.Gateway, name: string): xmpp.VirtualUser?, xmpp.Error?

--- A user of another network, see xmpp/gateway/users.lua, where the methods are: message, presence, subscribe, avatar,
--- remove.
---@class xmpp.VirtualUser
---@field name string as in the other network
---@field jid string
---@field localpart string
---@field shown table? the presence that was set last
---@field avatar_hash string?

--- Archiving preferences: which messages the archive keeps (XEP-0441).
---@class xmpp.ArchivePrefs
---@field default "always"|"never"|"roster"
---@field always? string[] bare addresses
---@field never? string[]

--- What a room says about itself.
---@class xmpp.RoomInfo
---@field jid string
---@field name string?
---@field description string?
---@field subject string?
---@field lang string?
---@field occupants integer? how many
---@field features table<string, true>
---@field password boolean whether a password is required
---@field members_only boolean
---@field moderated boolean
---@field hidden boolean
---@field persistent boolean
---@field anonymous boolean whether addresses are shown only to moderators

--- An invitation to a room. In a mediated invitation the name of the sender comes from the room.
---@class xmpp.Invitation
---@field room string its address
---@field from string? who invites: verified for a direct invitation, otherwise as the room says
---@field direct boolean sent by the inviting person (XEP-0249), not through the room
---@field reason string?
---@field password string? of the room
---@field thread string? the conversation that continues there
---@field stamp number? when it was sent, if it was delayed
---@field joined boolean? with the option `accept`: whether we have joined
---@field err xmpp.Error? with the option `accept`: why joining failed

--- Options of muc.join.
---@class xmpp.JoinOpts
---@field password? string
--- how many messages of the history to request, or { messages =, since = (seconds since 1970), bytes = }, each of
--- which is an upper limit (0)
---@field history? integer|{ messages: integer?, since: number?, bytes: integer? }
--- rejoin automatically unless the reason for leaving speaks against it; "kicked": also after a kick, at most twice, a
--- minute apart (true)
---@field rejoin? boolean|"kicked"
---@field nicks? fun(nick: string, n: integer): string? returns the next nick to try after n were taken (nick, nick_,
--- nick__)
---@field ping? number after this many seconds of silence ask the room whether we are still in it; 0: never (900)
--- what to do with a room that did not exist and was created by joining it. "refuse": destroy it again, and fail;
--- "default": open it with the default configuration; a function: gets the configuration form (see xmpp.form) and
--- returns the answers ("refuse")
---@field create? "refuse"|"default"|fun(form: xmpp.Form): table<string, any>?
---@field presence? { show: string?, status: string?, priority: integer? } the presence in this room (what presence.set
--- has set)
---@field timeout? number seconds (30)
---@field max_occupants? integer how many occupants to keep; further ones are counted, up to ten times as many (10,000)
---@field max_waiting? integer messages that may wait until we are in the room (100)
---@field max_age? number seconds that a message may wait (600)

-- Tests

--- Options of testing.new.
---@class xmpp.TestOptions
---@field jid? string|xmpp.Jid the address of the tested connection ("bot@example.net/test")
---@field component? string a component's domain instead
---@field now? number the time at which the test begins, in seconds since 1970 (1700000000)
---@field seed? integer makes ids and math.random repeatable: the same seed gives the same values (another each time)
---@field strict? boolean false: stanzas that are sent need not be expected, unanswered requests get an error, and
--- timers may be left over (true)
---@field intercept? boolean true: there is no connection until the program connects as `jid` or `component` (false)
---@field answers? boolean false: none of a server's automatic responses (roster, disco, ping, carbons) (true)
---@field acks? boolean false: the server doesn't acknowledge anything by itself, see Test:ack (true)
---@field sm? boolean false: a server without stream management (true)
---@field features? xmpp.Element[] stream features that the server offers after the login, besides binding and stream
--- management
---@field opts? xmpp.Opts options of the connection ({ reconnect = true })

--- The reply to a stanza: stanzas, which are addressed automatically; elements, which become the content of the
--- result; false: no reply; or a function that returns one of these, or nil, type, condition [, text] for an error.
---@alias xmpp.TestReply xmpp.Element|xmpp.Element[]|false|fun(got: xmpp.Element): ...

--- The other end of a connection, see xmpp/testing.lua, where its methods are. A failure raises an error at the test's
--- line.
---@class xmpp.Test
---@field conn xmpp.Conn? nil until the program has connected (with `intercept`)
---@field jid xmpp.Jid
---@field seed integer
---@field forge table<string, fun(...): xmpp.Stanza> forged stanzas, which are received at once: see
--- xmpp/testing/forge.lua

--- Options of Test:room.
---@class xmpp.TestRoomOptions
---@field occupants? (string|xmpp.TestOccupant)[] who is in it: nicks, or occupants with more details
---@field history? (string|{ nick: string?, text: string, stamp: number?, id: string? })[] oldest first; without stamps
--- they are a minute apart
---@field subject? string
---@field subject_by? string nick of who set the subject
---@field affiliations? table<string, string> by bare address: "owner", "admin", "member", "outcast"
---@field password? string
---@field config? table name, description, members_only, moderated, public (true), persistent (true), change_subject,
--- max, whois ("moderators" or "anyone")
---@field exists? boolean false: the first occupant creates it (201), and it is locked until it is configured (true)
---@field stanza_ids? boolean announce and assign stanza ids (XEP-0359) (true)
---@field occupant_ids? boolean announce and assign occupant ids (XEP-0421) (true)
---@field moderation? boolean announce and support moderation (XEP-0425) (true)
---@field features? string[] further features to announce
---@field no_subject? boolean true: send no subject to new occupants (false)
---@field assigns? fun(nick: string): string? the nick that a new occupant gets instead of the requested one (210)

---@class xmpp.TestOccupant
---@field nick string
---@field jid? string full address; generated if absent
---@field role? string
---@field affiliation? string
---@field show? string
---@field status? string
---@field id? string the occupant id
---@field here? boolean it is the tested program's own entry

--- A room in a test, see xmpp/testing/room.lua, where its methods are: says, whispers, joins, leaves, kicks, bans,
--- renames, changes, sets_subject, tells, destroys, moderates, asks_voice, invites, forgets.
---@class xmpp.TestRoom
---@field jid string
---@field exists boolean
---@field locked boolean
---@field occupants table<string, xmpp.TestOccupant> by nick
---@field subject string?
---@field subject_by string?
---@field history { nick: string, text: string, id: string?, stanza_id: string?, stamp: number }[]
---@field affiliations table<string, string> by bare address
---@field invited table<string, true> bare addresses that the program has invited
---@field registered table<string, string> nicks by bare address
---@field config table

--- A pubsub service in a test, see xmpp/testing/pubsub.lua, where its methods are: node, publish, retract, purge,
--- delete.
---@class xmpp.TestPubsub
---@field jid string
---@field nodes table<string, table> by name: node, config, items, subscribers, affiliations
---@field present boolean whether the program has sent presence

--- Options of Test:contact.
---@class xmpp.TestContactOptions
---@field subscription? "none"|"to"|"from"|"both" its subscription state; absent: the contact isn't in the roster
---@field name? string
---@field groups? string[]
---@field ask? boolean we have requested a subscription to its presence
---@field approved? boolean pre-approved: its subscription request will be accepted
---@field resource? string the resource that its stanzas come from ("home")

--- An account's archive in a test, see xmpp/testing/archive.lua, where its methods are: says, keeps, expires.
---@class xmpp.TestArchive
---@field messages { archive_id: string, stamp: number, from: string, to: string, message: xmpp.Element }[] oldest first
---@field asked integer number of queries so far
---@field most integer? largest number of messages per page
---@field step fun(i: integer)? called after each result
---@field refusal string[]? type and condition of the error that answers each query
---@field prefs xmpp.Element

--- A contact in a test, see xmpp/testing/contact.lua, where its methods are: says, online, offline, asks, requests,
--- approves, denies, unsubscribes.
---@class xmpp.TestContact
---@field jid string bare
---@field subscription string? nil: it isn't in the roster
---@field ask boolean? we have requested a subscription to its presence
---@field pending boolean? it has requested a subscription to ours, which is not answered
---@field approved boolean?
---@field name string?
---@field groups string[]
---@field resources table<string, table> the available ones
---@field sees boolean? the last presence that the program sent it directly: available or not
