-- time: timestamps in the format of XMPP (XEP-0082), and the current time. Sends nothing, and needs no os library.
--
--   time.parse "2002-09-10T23:08:25Z"          --> 1031699305
--   time.format(1031699305.25)                 --> "2002-09-10T23:08:25.250Z"
--   time.format(time.now())
--
-- Seconds since 1970, as os.time counts them: without leap seconds, fractions allowed.

local core = require "xmpp.load"
local guard = require "xmpp.guard"

local M = {}

local DAY = 86400
local LONGEST = 64 -- bytes of what is parsed as a stamp
local FIRST, LAST = -62167219200, 253402300799.999 -- the years 0000 to 9999 (XEP-0082: four digits)

local floor = math.floor
local os = rawget(_G, "os") -- a sandbox may not have it

-- Days from 1970-01-01 to a day of the Gregorian calendar; the year begins in March, so that a leap day ends it.
local function days(year, month, day)
  if month <= 2 then year, month = year - 1, month + 12 end
  return 365 * year + floor(year / 4) - floor(year / 100) + floor(year / 400)
    + floor((153 * (month - 3) + 2) / 5) + day - 719469
end

-- The reverse: the year, month and day of a day number.
local function date(n)
  n = n + 719468 -- since the first of March of the year 0
  local era = floor(n / 146097)
  local rest = n - era * 146097
  local year = floor((rest - floor(rest / 1460) + floor(rest / 36524) - floor(rest / 146096)) / 365)
  rest = rest - (365 * year + floor(year / 4) - floor(year / 100))
  local month = floor((5 * rest + 2) / 153)
  local day = rest - floor((153 * month + 2) / 5) + 1
  month = month < 10 and month + 3 or month - 9
  return year + era * 400 + (month <= 2 and 1 or 0), month, day
end

local function is_day(year, month, day)
  if month < 1 or month > 12 or day < 1 then return false end
  local last = month == 12 and 31 or days(year, month + 1, 1) - days(year, month, 1)
  return day <= last
end

-- Second 60 is a leap second; 24:00:00 is the end of a day (XML Schema part 2, 3.2.7.1).
local function is_hour(hour, minute, second)
  if hour == 24 then return minute == 0 and second == 0 end
  return hour < 24 and minute <= 59 and second < 61
end

--- Parses a time zone offset, "Z", "+01:00", "-05:30" (XEP-0082 3.2), and returns the seconds to subtract from a local
--- time to get UTC; nil for anything else.
---@param text string?
---@return integer? seconds
function M.offset(text)
  if text == nil then return nil end
  guard.check_type(text, "string", 1, "offset", 2)
  if text == "Z" then return 0 end
  local sign, hours, minutes = text:match "^([+-])(%d%d):(%d%d)$"
  if not sign or tonumber(hours) > 23 or tonumber(minutes) > 59 then return nil end
  return (hours * 3600 + minutes * 60) * (sign == "-" and -1 or 1)
end

-- The parts of a stamp in the format of XEP-0082, else of XEP-0091, which is in UTC and has no fraction. The digits of
-- the fraction are separate, as tonumber expects the decimal point of the program's locale.
local function split(text)
  local year, month, day, clock = text:match "^(%d%d%d%d)%-(%d%d)%-(%d%d)T(.+)$"
  if year then
    local hour, minute, second, rest = clock:match "^(%d%d):(%d%d):(%d%d)(.+)$"
    if not hour then return nil end
    local fraction, zone = rest:match "^%.(%d+)(.+)$"
    return year, month, day, hour, minute, second, M.offset(zone or rest), fraction
  end
  local hour, minute, second
  year, month, day, hour, minute, second = text:match "^(%d%d%d%d)(%d%d)(%d%d)T(%d%d):(%d%d):(%d%d)$"
  return year, month, day, hour, minute, second, 0
end

--- Parses a stamp: "2002-09-10T23:08:25.5+01:00" (XEP-0082 3.2), or the older "20020910T23:08:25" (XEP-0091). nil if
--- it is neither, or if there is no such day.
---@param stamp string? nil for nil
---@return number? seconds since 1970
function M.parse(stamp)
  if stamp == nil then return nil end
  guard.check_type(stamp, "string", 1, "parse", 2)
  if #stamp > LONGEST then return nil end
  local year, month, day, hour, minute, second, offset, fraction = split(stamp)
  if not offset or not year then return nil end
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
  if fraction then second = second + tonumber(fraction) / 10 ^ #fraction end
  if not is_day(year, month, day) or not is_hour(hour, minute, second) then return nil end
  return days(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset
end

-- Raises an error at the caller of the function that is called `fname`.
local function check_year(seconds, fname)
  guard.check_type(seconds, "number", 1, fname, 3)
  if seconds >= FIRST and seconds <= LAST then return end
  error(("bad argument #1 to '%s' (a time in the years 0000 to 9999 expected, got %s)"):format(fname,
    tostring(seconds)), 3)
end

--- Writes a time in the format of XEP-0082, in UTC; with milliseconds if it is not a whole number of seconds.
---@param seconds number since 1970, in the years 0000 to 9999
---@return string stamp "2002-09-10T23:08:25Z"
function M.format(seconds)
  check_year(seconds, "format")
  local ms = floor(seconds * 1000 + 0.5)
  local whole = floor(ms / 1000)
  ms = ms - whole * 1000
  local day = floor(whole / DAY)
  local rest = whole - day * DAY
  local year, month, mday = date(day)
  return ("%04d-%02d-%02dT%02d:%02d:%02d%sZ"):format(year, month, mday, floor(rest / 3600), floor(rest / 60) % 60,
    rest % 60, ms > 0 and (".%03d"):format(ms) or "")
end

local turn, wall -- the time of the loop's turn by its own clock, and of the wall clock then

--- Returns the current time, taken when the loop's present turn began; in a test (xmpp.testing) by the test's clock.
---@return number seconds since 1970
function M.now()
  local of_test = core.clock()
  if of_test then return of_test end
  local now = core.now()
  if now ~= turn then
    local _, ms = core.clocks()
    turn, wall = now, ms / 1000
  end
  return wall
end

--- Returns this machine's offset from UTC in the format of XEP-0202: "+01:00". Without an os library "Z".
---@param seconds? number at which time (now)
---@return string offset
function M.zone(seconds)
  if seconds ~= nil then check_year(seconds, "zone") end
  if not os or not os.date then return "Z" end
  local at = floor(seconds or M.now())
  local utc, here = os.date("!*t", at), os.date("*t", at)
  here.isdst = false
  local minutes = floor(os.difftime(os.time(here), os.time(utc)) / 60 + 0.5)
  local sign = minutes < 0 and "-" or "+"
  minutes = math.abs(minutes)
  return ("%s%02d:%02d"):format(sign, floor(minutes / 60), minutes % 60)
end

return M
