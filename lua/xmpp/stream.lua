-- stream: a component's work spread over processes and machines, by streams of Redis: xmpp.stream.intake { ... } holds
-- the connection, xmpp.stream.worker { ... } does the work. See doc/scaling.md, and examples/farm.

local M = {}

---@type fun(o: xmpp.IntakeOpts): xmpp.Intake?, xmpp.Error?
function M.intake(o) return require "xmpp.stream.intake".new(o) end

---@type fun(o: xmpp.WorkerOpts): xmpp.Worker?, xmpp.Error?
function M.worker(o) return require "xmpp.stream.worker".new(o) end

return M
