-- machine: describes the machine and the software of a `make bench` in one sentence.
local run = require "measure".run

local function said(command)
  local text, ok = run(command)
  return ok and text:match "^%s*([^\n]-)%s*\n"
end

local commands = {
  { "", "sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | uniq -c | sed 's/^ *\\([0-9]*\\) /\\1 x /'" },
  { "", "sed -n 's/^PRETTY_NAME=\"\\(.*\\)\"/\\1/p' /etc/os-release" },
  { "Linux ", "uname -r" },
  { "", "cc --version | head -n 1" },
  { "", "$LUA -v | sed 's/ *\\(Copyright\\|--\\).*//'" },
  { "expat ", "pkg-config --modversion expat" },
  { "OpenSSL ", "pkg-config --modversion openssl" },
  { "Prosody ", "dpkg-query -W -f '${Version}\\n' prosody" },
  { "luaexpat ", "dpkg-query -W -f '${Version}\\n' lua-expat" },
  { "libstrophe ", "pkg-config --modversion libstrophe" },
  { "iksemel ", "pkg-config --modversion iksemel" },
  { "gloox ", "pkg-config --modversion gloox" },
  { "loudmouth ", "pkg-config --modversion loudmouth-1.0" },
  { "go-xmpp ", "dpkg-query -W -f '${Version}\\n' golang-github-mattn-go-xmpp-dev" },
  { "", "go version | cut -d ' ' -f 3" },
  { "QXmpp ", "pkg-config --modversion qxmpp" },
  { "", "luajit -v | cut -d ' ' -f 1,2" },
  { "slixmpp ", "dpkg-query -W -f '${Version}\\n' python3-slixmpp" },
  { "xmpp.js ", "sed -n 's/^ *\"version\": \"\\(.*\\)\".*/\\1/p' $BUILD/node_modules/@xmpp/component/package.json" },
  { "node ", "node --version" },
}

return function(m)
  local list = { os.date "%Y-%m-%d" }
  for _, c in ipairs(commands) do
    local text = said(m:fill(c[2]))
    if text then list[#list + 1] = c[1] .. text end
  end
  return table.concat(list, "; ")
end
