-- time: reads and writes stamps (XEP-0082, XEP-0091), compared with the os library's calendar.

local core = require "xmpp.core"
local stage = require "spec.support.stage"
local time = require "xmpp.time"

describe("time reads", function()
  it("XEP-0082's examples, and offsets", function()
    for stamp, seconds in pairs {
      ["1969-07-21T02:56:15Z"] = -14159025,
      ["1969-07-20T21:56:15-05:00"] = -14159025,
      ["1970-01-01T00:00:00Z"] = 0,
      ["2002-09-10T23:08:25Z"] = 1031699305,
      ["2006-12-19T17:58:35.25Z"] = 1166551115.25,
      ["2000-02-29T01:00:00+01:00"] = 951782400,
      ["1900-03-01T00:00:00Z"] = -2203891200,
      ["2016-12-31T23:59:60Z"] = 1483228800,
      ["2016-12-31T24:00:00Z"] = 1483228800,
      ["2026-01-01T05:30:00.000+05:30"] = 1767225600,
    } do
      assert.equal(seconds, time.parse(stamp), stamp)
    end
  end)

  it("XEP-0091's, which are in UTC", function()
    assert.equal(1031699305, time.parse "20020910T23:08:25")
    assert.is_nil(time.parse "20020910T23:08:25Z")
    assert.is_nil(time.parse "20020931T23:08:25")
  end)

  it("nothing else", function()
    for _, stamp in ipairs { "", "now", "2006-12-19", "2006-13-19T17:58:35Z", "2006-00-19T17:58:35Z",
      "2006-12-00T17:58:35Z", "2006-12-32T17:58:35Z", "2005-02-29T17:58:35Z", "1900-02-29T17:58:35Z",
      "2006-04-31T17:58:35Z", "2006-12-19T17:58:35", "2006-12-19T17:60:35Z", "2006-12-19T17:58:61Z",
      "2006-12-19T25:00:00Z", "2006-12-19T24:00:01Z", "2006-12-19T24:01:00Z", "2006-12-19T17:58:35.Z",
      "2006-12-19T17:58:35+24:00", "2006-12-19T17:58:35+01:60", "2006-12-19T17:58:35+0100",
      "2006-12-19T17:58:35z", "2006-12-19 17:58:35Z", " 2006-12-19T17:58:35Z", "2006-12-19T17:58:35Z\n",
      "206-12-19T17:58:35Z", "02006-12-19T17:58:35Z", "2006-12-19T17:58:35." .. ("0"):rep(60) .. "Z" } do
      assert.is_nil(time.parse(stamp), stamp)
    end
    assert.is_nil(time.parse(nil))
    stage.refuses("bad argument #1 to 'parse' (string expected, got number)", function() time.parse(5) end)
  end)

  it("offsets alone", function()
    assert.equal(0, time.offset "Z")
    assert.equal(-21600, time.offset "-06:00")
    assert.equal(19800, time.offset "+05:30")
    for _, text in ipairs { "", "z", "6", "-06:60", "+24:00", "06:00", "+06:00Z" } do
      assert.is_nil(time.offset(text), text)
    end
    assert.is_nil(time.offset(nil))
  end)
end)

describe("time writes", function()
  it("UTC, and milliseconds if there are any", function()
    assert.equal("1970-01-01T00:00:00Z", time.format(0))
    assert.equal("2002-09-10T23:08:25Z", time.format(1031699305))
    assert.equal("2002-09-10T23:08:25.250Z", time.format(1031699305.25))
    assert.equal("1970-01-01T00:00:01Z", time.format(0.9999))
    assert.equal("1969-12-31T23:59:59.500Z", time.format(-0.5))
    assert.equal("0000-01-01T00:00:00Z", time.format(-62167219200))
    assert.equal("9999-12-31T23:59:59Z", time.format(253402300799))
  end)

  it("what it reads again, as the os library does", function()
    for i = 0, 4000 do
      local seconds = i * 1000003 + i % 86400
      local stamp = time.format(seconds)
      assert.equal(seconds, time.parse(stamp))
      if i % 100 == 0 then assert.equal(os.date("!%Y-%m-%dT%H:%M:%SZ", seconds), stamp) end
    end
    for day = 0, 146097 do -- each day of the calendar's period, from the year 0000 on
      assert(time.parse(time.format(day * 86400 - 62167219200)) == day * 86400 - 62167219200)
    end
  end)

  it("no time beyond the years 0000 to 9999", function()
    for _, seconds in ipairs { -62167219201, 253402300800, math.huge, -math.huge, 0 / 0 } do
      stage.refuses("a time in the years 0000 to 9999 expected", function() time.format(seconds) end)
    end
    stage.refuses("bad argument #1 to 'format' (number expected, got string)", function() time.format "0" end)
  end)
end)

describe("time knows", function()
  it("what time it is, by a test's clock if there is one", function()
    assert.is_true(math.abs(time.now() - os.time()) < 5)
    core.clock(true, 1700000000.5)
    local now = time.now()
    core.clock(false)
    assert.equal(1700000000.5, now)
  end)

  it("how far the machine's time is from UTC", function()
    local offset = time.offset(time.zone(1700000000))
    local here = os.date("*t", 1700000000)
    assert.equal(1700000000, time.parse(("%04d-%02d-%02dT%02d:%02d:%02dZ"):format(here.year, here.month, here.day,
      here.hour, here.min, here.sec)) - offset)
  end)
end)
