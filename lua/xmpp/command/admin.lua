-- admin: the service administration commands (XEP-0133), by short names. For xmpp.command.

local PREFIX = "http://jabber.org/protocol/admin#"

local M = {}

for name in ([[add-user delete-user disable-user reenable-user end-user-session get-user-password change-user-password
  get-user-roster get-user-lastlogin user-stats edit-blacklist edit-whitelist get-registered-users-num
  get-disabled-users-num get-online-users-num get-active-users-num get-idle-users-num get-registered-users-list
  get-disabled-users-list get-online-users-list get-active-users-list get-idle-users-list announce set-motd edit-motd
  delete-motd set-welcome delete-welcome edit-admin restart shutdown]]):gmatch "%S+" do M[name] = PREFIX .. name end

return M
