-- ask: a part of a room, see room.lua.

return { events = {}, methods = {}, functions = {} }
