-- uptime() -> seconds since the machine's start, to a hundredth: a clock that nobody sets, and that goes on while the
-- loop isn't running.
return function()
  local file = assert(io.open "/proc/uptime")
  local seconds = file:read "*n"
  file:close()
  return seconds
end
