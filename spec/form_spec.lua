-- form: data forms (XEP-0004, XEP-0068, XEP-0122): those that come are read and answered, ours are made and read back,
-- and what may be wrong with them.

local core = require "xmpp.core"
local form = require "xmpp.form"
local stage = require "spec.support.stage"
local xexpr = require "xmpp.xexpr"

local DATA, VALIDATE = "jabber:x:data", "http://jabber.org/protocol/xdata-validate"

-- The element, as if it had been received.
local function parsed(xml) return assert(xexpr.from_xml(xml)) end

local function x(kind, fields, more)
  return parsed(("<x xmlns='%s' type='%s'>%s%s</x>"):format(DATA, kind, more or "", fields or ""))
end

local function field(var, kind, ...)
  local out = { ("<field%s%s>"):format(var and (" var='%s'"):format(var) or "",
    kind and (" type='%s'"):format(kind) or "") }
  for _, value in ipairs { ... } do out[#out + 1] = ("<value>%s</value>"):format(value) end
  return table.concat(out) .. "</field>"
end

local function option(value, label)
  return ("<option%s><value>%s</value></option>"):format(label and (" label='%s'"):format(label) or "", value)
end

local function with(field_xml, children) return (field_xml:gsub("</field>$", children .. "</field>")) end

local function expect_bad(text, f, err)
  assert.is_nil(f)
  assert.same({ "stanza", "bad-format", text }, { err.layer, err.condition, err.text })
end

describe("form.parse", function()
  it("reads a form's fields", function()
    local f = assert(form.parse(x("form", field("FORM_TYPE", "hidden", "urn:example:bot")
      .. field("public", "boolean", "1") .. field(nil, "fixed", "Section 1", "of 2")
      .. with(field("features", "list-multi", "news"), option("news", "News") .. option "polls")
      .. with(field("most", "list-single", "20"), "<required/><desc>How many</desc>" .. option "10" .. option "20")
      .. field("who", "jid-multi", "Bob@Xmpp.test", "eve@xmpp.test/X"),
      "<title>Bot</title><instructions>Fill</instructions><instructions>it in</instructions>")))
    assert.same({ "form", "urn:example:bot", "Bot", "Fill\nit in" }, { f.kind, f.type, f.title, f.instructions })
    assert.same({ public = true, features = { "news" }, most = "20", who = { "bob@xmpp.test", "eve@xmpp.test/X" } },
      f.values)
    assert.equal(5, #f.fields)
    assert.same({ kind = "fixed", value = "Section 1\nof 2", texts = { "Section 1", "of 2" }, required = false },
      f.fields[2])
    assert.same({ var = "features", kind = "list-multi", value = { "news" }, texts = { "news" }, required = false,
      options = { { value = "news", label = "News" }, { value = "polls" } } }, f.fields[3])
    assert.same({ true, "How many" }, { f.fields[4].required, f.fields[4].description })
  end)

  it("uses fields' types, not how values look", function()
    local f = assert(form.parse(x("form", field("t", "text-single", "1") .. field("h", "hidden", "true")
      .. field("l", "list-single", "0") .. field("m", "text-multi", "1") .. field("e", "list-multi")
      .. field("j", "jid-multi", "a@b") .. field("b", "boolean", "true") .. field("c", "boolean", "0")
      .. field("u", nil, "1") .. field("s", "urn:strange", "x") .. field("n", "boolean")
      .. field("p", "text-private", "") .. field("o", "jid-single", "") .. field("i", "jid-single", "A@B"))))
    assert.same({ t = "1", h = "true", l = "0", m = { "1" }, e = {}, j = { "a@b" }, b = true, c = false, u = "1",
      s = "x", p = "", i = "a@b" }, f.values)
    assert.equal("text-single", f.fields[10].kind)
  end)

  it("reads numbers if the datatype is one (XEP-0122)", function()
    local function typed(var, datatype, ...)
      return with(field(var, "text-single", ...), ("<validate xmlns='%s' datatype='%s'/>"):format(VALIDATE, datatype))
    end
    local f = assert(form.parse(x("form", typed("n", "xs:integer", "30") .. typed("d", "xs:decimal", "-1.5")
      .. typed("s", "xs:string", "30") .. typed("e", "xs:integer", ""))))
    assert.same({ n = 30, d = -1.5, s = "30" }, f.values)
    for _, text in ipairs { "x", "0x10", "1e999", "nan", ("1"):rep(50), "." } do
      expect_bad("x.field 'n': a number expected", form.parse(x("form", typed("n", "xs:integer", text))))
    end
  end)

  it("takes FORM_TYPE only from a hidden field", function()
    for kind, expected in pairs { form = false, result = false, submit = "urn:f" } do
      local f = assert(form.parse(x(kind, field("FORM_TYPE", nil, "urn:f"))))
      assert.equal(expected or nil, f.type, kind)
      assert.equal(not expected and "urn:f" or nil, f.values.FORM_TYPE, kind)
    end
    local f = assert(form.parse(x("submit", field("FORM_TYPE", "text-single", "urn:f"))))
    assert.is_nil(f.type)
    f = assert(form.parse(x("result", field("FORM_TYPE", "hidden", "urn:f") .. field("a", nil, "1"))))
    assert.same({ "urn:f", { a = "1" } }, { f.type, f.values })
    expect_bad("x.field 'FORM_TYPE': one value expected",
      form.parse(x("form", field("FORM_TYPE", "hidden", "urn:f", "urn:g"))))
    expect_bad("x.field 'FORM_TYPE': one value expected", form.parse(x("form", field("FORM_TYPE", "hidden"))))
  end)

  it("loses nothing of fields without a type, which the caller may know", function()
    local bytes = x("result", field("a", nil, "1", "2") .. field("b", nil, "1"))
    local f = assert(form.parse(bytes))
    assert.same({ a = "1", b = "1" }, f.values)
    assert.same({ "1", "2" }, f.fields[1].texts)
    f = assert(form.parse(bytes, { a = "list-multi", b = "boolean" }))
    assert.same({ a = { "1", "2" }, b = true }, f.values)
  end)

  it("reads rows", function()
    local f = assert(form.parse(x("result", "<reported>" .. field("name", nil) .. field("jid", "jid-single")
      .. field("on", "boolean") .. "</reported><item>" .. field("name", nil, "A") .. field("jid", nil, "A@b")
      .. field("on", nil, "1") .. "</item><item>" .. field("name", nil, "B") .. field("jid", nil, "c@d")
      .. field("on", nil, "0") .. "</item>")))
    assert.same({ { var = "name", kind = "text-single" }, { var = "jid", kind = "jid-single" },
      { var = "on", kind = "boolean" } }, f.reported)
    assert.same({ { name = "A", jid = "a@b", on = true }, { name = "B", jid = "c@d", on = false } }, f.items)
    expect_bad("x.item.field 'a': twice",
      form.parse(x("result", "<item>" .. field("a", nil, "1") .. field("a", nil, "2") .. "</item>")))
    expect_bad("x.reported.field 'a': twice",
      form.parse(x("result", "<reported>" .. field "a" .. field "a" .. "</reported>")))
  end)

  it("refuses malformed forms", function()
    expect_bad("x: missing", form.parse(nil))
    expect_bad("x: missing", form.parse(parsed "<x xmlns='urn:x' type='form'/>"))
    expect_bad("x: missing", form.parse(parsed "<x type='form'/>"))
    expect_bad("x: missing", form.parse(parsed("<y xmlns='" .. DATA .. "' type='form'/>")))
    for _, kind in ipairs { "", "Form", "error" } do
      expect_bad("x.type: form, submit, cancel or result expected", form.parse(x(kind)))
    end
    for text, fields in pairs {
      ["field 'a': twice"] = field("a", "text-single", "1") .. field("b", nil, "1") .. field("a", "hidden", "2"),
      ["field 'FORM_TYPE': twice"] = field("FORM_TYPE", "hidden", "urn:a") .. field("FORM_TYPE", "hidden", "urn:b"),
      ["field.var: missing"] = field(nil, "text-single", "1"),
      ["field 'a': one value expected"] = field("a", "text-single", "1", "2"),
      ["field 'b': one value expected"] = field("b", "boolean", "1", "0"),
      ["field 'b': 'yes' is no boolean"] = field("b", "boolean", "yes"),
      ["field 'j': '@' is no address"] = field("j", "jid-single", "@"),
      ["field 'j': 'a@b@/' is no address"] = field("j", "jid-multi", "a@b", "a@b@/"),
      ["field 'l': option: has no value"] = with(field("l", "list-single"), "<option label='x'/>"),
    } do
      expect_bad("x." .. text, form.parse(x("form", fields)))
    end
    stage.refuses("bad argument #1 to 'parse' (element expected, got string)", function() form.parse "x" end)
  end)

  it("ignores other namespaces", function()
    local f = assert(form.parse(x("form", "<field xmlns='urn:x' var='a'/>" .. field("a", nil, "1")
      .. with(field("b", "text-single", "2"), "<value xmlns='urn:x'>3</value><required xmlns='urn:x'/>"),
      "<title xmlns='urn:x'>T</title>")))
    assert.same({ a = "1", b = "2" }, f.values)
    assert.same({ nil, false }, { f.title, f.fields[2].required })
  end)
end)

describe("form.answer", function()
  local function config()
    return assert(form.parse(x("form", field("FORM_TYPE", "hidden", "urn:c") .. field("name", "text-single", "Old")
      .. field(nil, "fixed", "words") .. field("open", "boolean", "0")
      .. with(field("most", "list-single", "20"), option "10" .. option "20")
      .. with(field("tags", "list-multi", "a", "b"), option "a" .. option "b") .. field("lines", "text-multi", "x")
      .. field("owners", "jid-multi", "a@b") .. field("secret", "text-private") .. field("token", "hidden", "t"))))
  end

  local function values_of(element)
    local out = {}
    for f in xexpr.children(element, "field") do
      out[f[2].var] = {}
      for i = 3, #f do out[f[2].var][i - 2] = f[i][3] or "" end
    end
    return out
  end

  it("has what was given, and the form's own values", function()
    local answer = form.answer(config(), { name = "New", open = true, most = "10", tags = { "b" },
      lines = { "one", "two\nthree" }, owners = { "C@d", assert(core.jid "e@f/g") } })
    assert.same({ "x", "submit", DATA }, { answer[1], answer[2].type, answer[2].xmlns })
    assert.same({ "field", { var = "FORM_TYPE", type = "hidden" }, { "value", {}, "urn:c" } }, answer[3])
    assert.same({ FORM_TYPE = { "urn:c" }, name = { "New" }, open = { "1" }, most = { "10" }, tags = { "b" },
      lines = { "one", "two", "three" }, owners = { "c@d", "e@f/g" }, token = { "t" } }, values_of(answer))
    assert.is_true(require("xmpp").contract.stanza { "message", answer })
    assert.same({ FORM_TYPE = { "urn:c" }, name = { "Old" }, open = { "0" }, most = { "20" }, tags = {},
      lines = { "x" }, owners = { "a@b" }, secret = { "s" }, token = { "t" } },
      values_of(form.answer(config(), { tags = {}, secret = "s" })))
  end)

  it("raises for what the form doesn't accept", function()
    local f = config()
    for text, values in pairs {
      ["the form has no field 'nmae'"] = { nmae = "x" },
      ["the form has no field 'FORM_TYPE'"] = { FORM_TYPE = "urn:d" },
      ["bad value of field 'most' ('30' is no option)"] = { most = "30" },
      ["bad value of field 'tags' ([2]: 'c' is no option)"] = { tags = { "a", "c" } },
      ["bad value of field 'tags' (list expected, got string)"] = { tags = "a" },
      ["bad value of field 'lines' (list expected, got string)"] = { lines = "a" },
      ["bad value of field 'open' (boolean expected, got string)"] = { open = "1" },
      ["bad value of field 'name' (string expected, got boolean)"] = { name = true },
      ["bad value of field 'owners' ([1]: '@' is no address)"] = { owners = { "@" } },
      ["bad value of field 'owners' ([1]: address expected, got number)"] = { owners = { 5 } },
      ["bad value of field 'name' (a finite number expected)"] = { name = math.huge },
    } do
      stage.refuses(text, function() form.answer(f, values) end)
    end
    stage.refuses("bad argument #2 to 'answer' (table expected, got nil)", function() form.answer(f) end)
  end)

  it("may answer an open list with anything (XEP-0122)", function()
    local f = assert(form.parse(x("form", with(field("l", "list-single"), option "a"
      .. ("<validate xmlns='%s' datatype='xs:string'><open/></validate>"):format(VALIDATE)))))
    assert.same({ l = { "b" } }, values_of(form.answer(f, { l = "b" })))
  end)
end)

describe("form.submit", function()
  it("writes what it is given", function()
    assert.same({ "x", { xmlns = DATA, type = "submit" },
      { "field", { var = "FORM_TYPE", type = "hidden" }, { "value", {}, "urn:f" } },
      { "field", { var = "a" }, { "value", {}, "text" } },
      { "field", { var = "b" }, { "value", {}, "1" } },
      { "field", { var = "c" }, { "value", {}, "30" } },
      { "field", { var = "d" }, { "value", {}, "x" }, { "value", {}, "0" } },
      { "field", { var = "e" }, { "value", {}, "a@b" } } },
      form.submit("urn:f", { a = "text", b = true, c = 30, d = { "x", false }, e = assert(core.jid "A@b") }))
    assert.same({ "x", { xmlns = DATA, type = "submit" } }, form.submit(nil, {}))
    stage.refuses("bad value of field 'a' (string expected, got function)",
      function() form.submit("f", { a = print }) end)
    stage.refuses("bad value of field 'a' ([1]: string expected, got table)",
      function() form.submit("f", { a = { {} } }) end)
    stage.refuses("names of fields are strings", function() form.submit("f", { "x" }) end)
  end)
end)

describe("our own forms", function()
  local SPEC = { type = "urn:f", title = "T", instructions = "I", fields = {
    { var = "what", kind = "list-single", required = true, options = { "a", { value = "b", label = "B" } } },
    { var = "tags", kind = "list-multi", options = { "x", "y" }, value = { "x" } },
    { var = "yes", kind = "boolean", value = true, label = "Sure?" }, { var = "name", description = "D" },
    { var = "n", datatype = "xs:integer", value = 5 }, { var = "who", kind = "jid-single" },
    { var = "lines", kind = "text-multi" }, { kind = "fixed", value = "words" } } }

  it("are written correctly", function()
    local f = assert(form.parse(parsed(xexpr.to_xml(form.new(SPEC)))))
    assert.same({ "form", "urn:f", "T", "I" }, { f.kind, f.type, f.title, f.instructions })
    assert.same({ tags = { "x" }, yes = true, n = 5, lines = {} }, f.values)
    assert.same({ { value = "a" }, { value = "b", label = "B" } }, f.fields[1].options)
    assert.same({ true, "Sure?", "D", "words" }, { f.fields[1].required, f.fields[3].label, f.fields[4].description,
      f.fields[8].value })
    local values = assert(form.read(form.answer(f, { what = "b", who = "A@b", lines = { "1", "2" } }), SPEC))
    assert.same({ what = "b", tags = { "x" }, yes = true, n = 5, who = "a@b", lines = { "1", "2" } }, values)
  end)

  it("are read by our own types, whatever the answer says", function()
    local values = assert(form.read(x("submit", field("FORM_TYPE", nil, "urn:f") .. field("what", nil, "a")
      .. field("tags", "text-single", "y") .. field("yes", nil, "true") .. field("name", "boolean", "1")
      .. field("n", nil, "7") .. field("strange", "jid-single", "@")), SPEC))
    assert.same({ what = "a", tags = { "y" }, yes = true, name = "1", n = 7, lines = {} }, values)
  end)

  it("aren't read from malformed answers", function()
    local what = field("what", nil, "a")
    for text, fields in pairs {
      ["field 'what': missing"] = "",
      ["field 'what': 'c' is no option"] = field("what", nil, "c"),
      ["field 'what': one value expected"] = field("what", nil, "a", "b"),
      ["field 'tags': 'z' is no option"] = what .. field("tags", nil, "x", "z"),
      ["field 'yes': 'no' is no boolean"] = what .. field("yes", nil, "no"),
      ["field 'who': '@' is no address"] = what .. field("who", nil, "@"),
      ["field 'n': a number expected"] = what .. field("n", nil, "many"),
      ["field 'strange': twice"] = what .. field("strange", nil, "1") .. field("strange", nil, "2"),
      ["field 'FORM_TYPE': this is another form"] = what .. field("FORM_TYPE", nil, "urn:g"),
    } do
      expect_bad("x." .. text, form.read(x("submit", fields), SPEC))
    end
    expect_bad("x.type: submit expected", form.read(x("cancel"), SPEC))
    expect_bad("x: missing", form.read(nil, SPEC))
    expect_bad("x: missing", form.read(parsed "<x xmlns='urn:x' type='submit'/>", SPEC))
  end)

  it("are refused at the caller's line where they can't be", function()
    for text, spec in pairs {
      ["'new' has no option 'tilte'"] = { tilte = "T" },
      ["bad field 1 of 'new' (var: missing)"] = { fields = { { kind = "boolean" } } },
      ["bad field 1 of 'new' (there is no kind 'bool')"] = { fields = { { var = "a", kind = "bool" } } },
      ["bad field 1 of 'new' (options: missing)"] = { fields = { { var = "a", kind = "list-single" } } },
      ["bad field 2 of 'new' ('a' is used twice)"] = { fields = { { var = "a" }, { var = "a" } } },
      ["bad field 1 of 'new' (there is no 'lable' in a field)"] = { fields = { { var = "a", lable = "A" } } },
      ["bad field 1 of 'new' (required: boolean expected, got string)"] =
        { fields = { { var = "a", required = "y" } } },
      ["bad field 1 of 'new' (boolean expected, got string)"] =
        { fields = { { var = "a", kind = "boolean", value = "1" } } },
      ["bad field 1 of 'new' ('b' is no option)"] =
        { fields = { { var = "a", kind = "list-single", options = { "a" }, value = "b" } } },
      ["bad field 1 of 'new' (options[1]: string or { value =, label = } expected, got number)"] =
        { fields = { { var = "a", kind = "list-single", options = { 5 } } } },
      ["bad field 1 of 'new' (the form's FORM_TYPE is its 'type')"] = { fields = { { var = "FORM_TYPE" } } },
      ["bad option 'kind' of 'new' (form or result expected)"] = { kind = "submit" },
    } do
      stage.refuses(text, function() form.new(spec) end)
    end
    stage.refuses("bad field 1 of 'read' (table expected, got string)",
      function() form.read(nil, { fields = { "a" } }) end)
  end)
end)
