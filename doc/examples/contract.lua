-- Examples of the reference, page contract: see spec/support/manual.lua for how they are run.

--- contract.stanza
local contract = xmpp.contract
print(contract.stanza { "presence" })                            --> true
print(contract.stanza { "message", { to = true } })              --> false stanza[2].to: string expected, got boolean

--- contract.handler, contract.callback, contract.callback_once
local contract = xmpp.contract
print(contract.handler(print))                                   --> true
print(contract.callback "print")                                 --> false function expected, got string
print(contract.callback_once(nil))                               --> false function expected, got nil
