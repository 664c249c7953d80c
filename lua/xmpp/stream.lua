-- stream: a component's work spread over processes and machines, by Redis Streams: xmpp.stream.intake { ... } holds the
-- connection to the server, xmpp.stream.worker { ... } does the work. See doc/scaling.md and examples/farm.

---@class xmpp.stream
local M = {}

--- Makes an intake: it puts every stanza that comes into a stream of Redis, and sends what workers have put into the
--- outgoing streams. A stanza is safe from the moment that Redis has acknowledged it. Waits until Redis and the server
--- are connected; it does not wait for the server if that lets the domain have one connection, and another intake has
--- it. Raises for bad options.
---@param o xmpp.IntakeOpts
---@return xmpp.Intake?
---@return xmpp.Error? err layer "redis": that of redis.connect, and "no-json" (no lua-cjson), "version" (older than
--- Redis 7), "volatile" (Redis keeps no append-only file), "evicts" (Redis deletes keys when its memory is full),
--- "streams" (others of that name have another number of streams); or that of xmpp.connect_component
function M.intake(o) return require "xmpp.stream.intake".new(o) end

--- Makes a worker: it has its handler called for each stanza that the intakes have put into Redis, and puts what that
--- returns into the outgoing streams. A stanza is finished when its handler has returned; if the worker dies before,
--- another worker does it again. Waits until Redis is connected. Raises for bad options.
---@param o xmpp.WorkerOpts
---@return xmpp.Worker?
---@return xmpp.Error? err layer "redis", as of stream.intake
function M.worker(o) return require "xmpp.stream.worker".new(o) end

return M
