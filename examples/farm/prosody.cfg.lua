-- For a farm behind Prosody: put this at the end of its configuration. One intake has the domain; another one is
-- refused, and waits until that has gone. (With component_conflict_resolve = "kick_old" the two would take it from
-- each other without end.)
Component "bots.example.net"
  component_secret = "secret"
