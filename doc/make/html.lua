-- html: makes build/doc from the Markdown of doc/, and of a few files beside it: pages that work without a server, from
-- the disk, with a search. cmark-gfm (Debian's cmark-gfm) turns Markdown into HTML; what it doesn't know is done here:
-- anchors, links between the pages, colours of Lua, the contents at the side, the index of the search.
--
--   lua5.4 doc/make/html.lua [build/doc]      in the repository's root; `make doc` does that
--
-- A link that leads nowhere is an error, and so is one to an anchor that isn't there.
local M = {}

local HERE = debug.getinfo(1, "S").source:match "^@(.*/)" or "./"

-- Paths

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function exists(path)
  local file = io.open(path)
  local is_there = file and file:read(0) ~= nil
  if file then file:close() end
  return is_there
end

local function write(path, text)
  os.execute(("mkdir -p '%s'"):format(path:match "^(.*)/"))
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function lines_of(command)
  local list, pipe = {}, assert(io.popen(command))
  for line in pipe:lines() do list[#list + 1] = line end
  pipe:close()
  return list
end

-- "doc/reference/../rooms.md" -> "doc/rooms.md"
local function normal(path)
  local parts = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." then parts[#parts] = nil elseif part ~= "." then parts[#parts + 1] = part end
  end
  return table.concat(parts, "/")
end

local function folder_of(path) return path:match "^(.*)/[^/]*$" or "" end

-- The way from one page to another path, both from the site's root.
local function relative(from, to)
  local up = select(2, folder_of(from):gsub("[^/]+", ""))
  return ("../"):rep(up) .. to
end

-- The page's place in the site: doc/rooms.md -> rooms.html, doc/README.md -> index.html, SECURITY.md -> security.html.
local function place_of(path)
  local out = path:gsub("^doc/", ""):gsub("README%.md$", "index.md"):gsub("%.md$", ".html")
  return path:find "/" and out or out:lower()
end

-- HTML

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }
local function escape(text) return (text:gsub('[&<>"]', ENTITIES)) end
local function unescape(text)
  return (text:gsub("&lt;", "<"):gsub("&gt;", ">"):gsub("&quot;", '"'):gsub("&amp;", "&"))
end

local function plain(html) return (unescape(html:gsub("<[^>]*>", "")):gsub("%s+", " "):match "^%s*(.-)%s*$") end

--- The anchor of a heading, as GitHub makes it.
function M.slug(title) return (title:lower():gsub("[^%w%s%-_]", ""):gsub("%s", "-")) end

-- Colours of Lua

local KEYWORDS = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat return then true "
  .. "until while"):gmatch "%a+" do KEYWORDS[word] = true end

local TOKENS = { -- each with its colour; the first that fits at a place is taken
  { "^%-%-%[(=*)%[.-%]%1%]", "c" }, { "^%-%-[^\n]*", "c" }, { "^%[(=*)%[.-%]%1%]", "s" },
  { '^"[^"\\\n]*"', "s" }, { '^"[^\n]-[^\\]"', "s" }, { "^'[^'\\\n]*'", "s" }, { "^'[^\n]-[^\\]'", "s" },
  { "^0[xX]%x+", "n" }, { "^%d+%.?%d*", "n" }, { "^[%a_][%w_]*", "w" }, { "^%s+" }, { "^." },
}

local function colour_lua(code)
  local out, at = {}, 1
  while at <= #code do
    for _, token in ipairs(TOKENS) do
      local _, last = code:find(token[1], at) -- the anchor is for that place
      if last then
        local text, kind = code:sub(at, last), token[2]
        if kind == "w" then kind = KEYWORDS[text] and "k" or nil end
        out[#out + 1] = kind and ('<span class="%s">%s</span>'):format(kind, escape(text)) or escape(text)
        at = last + 1
        break
      end
    end
  end
  return table.concat(out)
end

local function colour_sh(code)
  local comment = '<span class="c">%s</span>'
  return (("\n" .. escape(code)):gsub("(%s)(#[^\n]*)", function(space, text) return space .. comment:format(text) end)
    :sub(2))
end

-- Pages

local ALSO = { "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md" } -- besides those in doc/

local function find_pages()
  local list, by = {}, {}
  local paths = lines_of "ls doc/*.md doc/reference/*.md 2>/dev/null"
  for _, path in ipairs(ALSO) do
    if exists(path) then paths[#paths + 1] = path end
  end
  for _, path in ipairs(paths) do
    local text = read(path):gsub("\r", "")
    local title = text:match "^# ([^\n]+)" or text:match "\n# ([^\n]+)" or path
    local page = { path = path, place = place_of(path), text = text, title = title }
    list[#list + 1], by[path] = page, page
  end
  return list, by
end

local function cmark(text)
  local name = os.tmpname()
  write(name, text)
  local pipe = assert(io.popen(("cmark-gfm -e table -e strikethrough '%s'"):format(name)))
  local html = pipe:read "*a"
  local ok = pipe:close()
  os.remove(name)
  if not ok then error("cmark-gfm has failed: is it installed (apt-get install cmark-gfm)?", 0) end
  return html
end

-- Comments are for those who write the manual.
local function without_comments(text)
  local out, in_code, in_comment = {}, false, false
  for line in (text .. "\n"):gmatch "(.-)\n" do
    if not in_comment and line:find "^%s*```" then in_code = not in_code end
    local begins = not in_code and not in_comment and line:find "^<!%-%-" ~= nil
    if begins or in_comment then
      in_comment = not line:find "%-%->%s*$"
    else
      out[#out + 1] = line
    end
  end
  return table.concat(out, "\n")
end

-- Headings get anchors.
local function add_anchors(page)
  local used = {}
  page.anchors, page.sections = {}, {}
  page.html = page.html:gsub("<h(%d)>(.-)</h%d>", function(level, inside)
    local slug = M.slug(plain(inside))
    local n = used[slug] or 0
    used[slug] = n + 1
    if n > 0 then slug = slug .. "-" .. n end
    page.anchors[slug] = true
    page.sections[#page.sections + 1] = { level = tonumber(level), title = plain(inside), slug = slug }
    if level == "1" then return ('<h1 id="%s">%s</h1>'):format(slug, inside) end
    return ('<h%s id="%s"><a class="anchor" href="#%s">%s</a></h%s>'):format(level, slug, slug,
      inside:gsub("</?a[^>]*>", ""), level)
  end)
end

local function colour(page)
  page.html = page.html:gsub('<pre><code class="language%-(%w+)">(.-)</code></pre>', function(language, code)
    local text = unescape(code)
    local coloured = language == "lua" and colour_lua(text) or language == "sh" and colour_sh(text) or escape(text)
    return ('<pre class="%s"><code>%s</code></pre>'):format(language, coloured)
  end)
  page.html = page.html:gsub("<table>", '<div class="wide"><table>'):gsub("</table>", "</table></div>")
end

-- Files that are linked to and are no pages: shown as they are.
local function source_page(site, path)
  local place = "source/" .. path .. ".html"
  if not site.sources[place] then
    local code = read(path)
    local shown = path:find "%.lua$" and colour_lua(code) or escape(code)
    site.sources[place] = { place = place, path = path, title = path,
      html = ("<h1>%s</h1>\n<pre><code>%s</code></pre>\n"):format(escape(path), shown), sections = {}, anchors = {} }
  end
  return place
end

local function resolve(site, page, url)
  if url:find "^%a[%w+.-]*:" then return url end
  local path, anchor = url:match "^([^#]*)#?(.*)$"
  local target = path == "" and page.path or normal(folder_of(page.path) .. "/" .. path)
  local other = site.by[target]
  if other then
    if anchor ~= "" and not other.anchors[anchor] then
      site.broken[#site.broken + 1] = ("%s: there is no anchor #%s in %s"):format(page.path, anchor, target)
    end
    local hash = anchor ~= "" and "#" .. anchor or ""
    return path == "" and hash or relative(page.place, other.place) .. hash
  end
  if not exists(target) then
    site.broken[#site.broken + 1] = ("%s: there is no file %s"):format(page.path, target)
    return url
  end
  return relative(page.place, source_page(site, target))
end

local function link_image(site, page, url)
  if url:find "^%a[%w+.-]*:" then return url end
  local target = normal(folder_of(page.path) .. "/" .. url)
  if not exists(target) then
    site.broken[#site.broken + 1] = ("%s: there is no image %s"):format(page.path, target)
    return url
  end
  site.images[target] = true
  return relative(page.place, "files/" .. target)
end

local function link(site, page)
  page.html = page.html:gsub('<a([^>]-) href="([^"]*)"', function(before, url)
    return ('<a%s href="%s"'):format(before, escape(resolve(site, page, unescape(url))))
  end)
  page.html = page.html:gsub('<img src="([^"]*)"', function(url)
    return ('<img loading="lazy" src="%s"'):format(escape(link_image(site, page, unescape(url))))
  end)
end

-- The contents at the side: what doc/README.md and doc/reference/README.md link to, under their headings.

local function contents(site)
  local groups = {}
  local function read_groups(path, only)
    local page, now = site.by[path], nil
    for line in (page.text .. "\n"):gmatch "(.-)\n" do
      local heading = line:match "^## (.+)$"
      if heading and not only then
        now = { title = heading, pages = {} }
        groups[#groups + 1] = now
      elseif only and not now then
        now = { title = only, pages = {} }
        groups[#groups + 1] = now
      end
      local title, url = line:match "^[%-|] ?%[([^%]]+)%]%(([^%)#]+%.md)%)"
      local target = url and normal(folder_of(path) .. "/" .. url)
      local page_there = now and target and site.by[target]
      if page_there then now.pages[#now.pages + 1] = { title = title, page = page_there } end
    end
  end
  read_groups "doc/README.md"
  if site.by["doc/reference/README.md"] then read_groups("doc/reference/README.md", "Reference") end
  return groups
end

local function nav(site, page)
  local out = {}
  for _, group in ipairs(site.groups) do
    if #group.pages > 0 then
      out[#out + 1] = ("<p>%s</p>\n<ul>"):format(escape(group.title))
      for _, entry in ipairs(group.pages) do
        out[#out + 1] = ('<li><a href="%s"%s>%s</a></li>'):format(relative(page.place, entry.page.place),
          entry.page == page and ' aria-current="page"' or "", escape(entry.title))
      end
      out[#out + 1] = "</ul>"
    end
  end
  return table.concat(out, "\n")
end

local TEMPLATE = [[
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<link rel="stylesheet" href="$root_style.css">
</head>
<body>
<header>
<a class="home" href="$root_index.html">xmpp for Lua</a>
<form id="search" role="search" action="$root_search.html">
<input type="search" name="q" placeholder="Search" aria-label="Search the manual" autocomplete="off">
<div id="found" hidden></div>
</form>
</header>
<div id="page">
<nav aria-label="Contents">
<details id="menu" open><summary>Contents</summary>
$nav
</details>
</nav>
<main>
$html
</main>
</div>
<script>var ROOT = "$root_";</script>
<script src="$root_search.js"></script>
</body>
</html>
]]

local function render(site, page)
  local root = relative(page.place, "")
  local title = escape(page.title) .. (page.title == "xmpp for Lua" and "" or " - xmpp for Lua")
  local values = { title = title, root_ = root, nav = nav(site, page), html = page.html }
  return (TEMPLATE:gsub("%$(root_)", values):gsub("%$(%l+)", values))
end

-- Search

local function json(value)
  if type(value) == "string" then
    return '"' .. value:gsub('[%c"\\<]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
  end
  local out = {}
  for i, v in ipairs(value) do out[i] = json(v) end
  return "[" .. table.concat(out, ",") .. "]"
end

-- Each section of each page: title of the page, heading, where it is, its text.
local function index_of(site)
  local entries = {}
  for _, page in ipairs(site.pages) do
    local at = 1
    for i, section in ipairs(page.sections) do
      local from = page.html:find(('id="%s"'):format(section.slug), at, true)
      local behind = page.html:find("</h%d>", from)
      local next_one = page.sections[i + 1]
      local to = next_one and page.html:find(('<h%d id="%s"'):format(next_one.level, next_one.slug), behind, true)
      local text = plain((page.html:sub(behind + 5, to and to - 1 or -1):gsub("</p>", " "):gsub("</li>", " ")
        :gsub("</pre>", " "):gsub("</td>", " ")))
      entries[#entries + 1] = { page.title, section.level == 1 and "" or section.title,
        page.place .. (section.level == 1 and "" or "#" .. section.slug), text }
      at = behind
    end
  end
  return entries
end

local SEARCH_PAGE = [[
<h1>Search</h1>
<p id="summary">Type a word above.</p>
<div id="results"></div>
<noscript><p>The search needs JavaScript; the <a href="reference/index.html">reference</a> has every function.</p>
</noscript>
]]

--- Makes the site in a folder; gives the list of broken links, {} if there are none, and the site.
function M.build(target)
  local pages, by = find_pages()
  local site = { pages = pages, by = by, broken = {}, images = {}, sources = {} }
  for _, page in ipairs(pages) do
    page.html = cmark(without_comments(page.text))
    add_anchors(page)
  end
  site.groups = contents(site)
  for _, page in ipairs(pages) do
    colour(page)
    link(site, page)
  end
  os.execute(("rm -rf '%s'"):format(target))
  for _, page in ipairs(pages) do write(target .. "/" .. page.place, render(site, page)) end
  for _, page in pairs(site.sources) do write(target .. "/" .. page.place, render(site, page)) end
  for path in pairs(site.images) do write(target .. "/files/" .. path, read(path)) end
  local search = { place = "search.html", path = "doc/search.md", title = "Search", html = SEARCH_PAGE }
  write(target .. "/search.html", render(site, search))
  write(target .. "/index.js", "var INDEX = " .. json(index_of(site)) .. ";\n")
  for _, name in ipairs { "style.css", "search.js" } do write(target .. "/" .. name, read(HERE .. name)) end
  return site.broken, site
end

if arg and arg[0] and arg[0]:find "html%.lua$" then
  local broken = M.build(arg[1] or "build/doc")
  for _, text in ipairs(broken) do io.stderr:write(text, "\n") end
  os.exit(#broken == 0 and 0 or 1)
end

return M
