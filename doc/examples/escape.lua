-- Examples of the reference, page escape: see spec/support/manual.lua for how they are run.

--- escape.escape, escape.unescape
print(escape.escape "space cadet")                               --> space\20cadet
print(escape.unescape "space\\20cadet")                          --> space cadet

--- escape.jid
print(escape.jid("d'artagnan", "irc.example.net"))               --> d\27artagnan@irc.example.net
