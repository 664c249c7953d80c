#!/usr/bin/python3
"""lua_host.py LIBRARY FILE ARGUMENT...

Runs a Lua file, as lua does, with all memory that Lua allocates in one block, so that whatever is found elsewhere in
this process was put there by C. The first line on stdout is the block's address range: "START END", in hex. LIBRARY is
the Lua library (liblua5.4.so.0)."""
import ctypes
import mmap
import sys

ROOM = 1 << 26
SMALL = 4096
OK = 0


class Arena:
    """An allocator for Lua: blocks are cut from the front, and kept in lists by size when they are freed. Nothing is
    ever wiped."""
    Allocate = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)

    def __init__(self):
        self.memory = mmap.mmap(-1, ROOM, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.start = self.next = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.end, self.free = self.start + ROOM, {}
        self.allocate = self.Allocate(self.on_allocate)

    @staticmethod
    def size(n):
        return (n + 15) & ~15 if n <= SMALL else 1 << (n - 1).bit_length()

    def take(self, n):
        free = self.free.get(self.size(n))
        if free:
            return free.pop()
        if self.next + self.size(n) > self.end:
            return None
        self.next += self.size(n)
        return self.next - self.size(n)

    def on_allocate(self, _, block, old, new):
        if block and self.size(old) == self.size(new):
            return block
        moved = self.take(new) if new else None
        if block and moved:
            ctypes.memmove(moved, block, min(old, new))
        if block and (moved or not new):
            self.free.setdefault(self.size(old), []).append(block)
        return moved


def main():
    name, file, *arguments = sys.argv[1:]
    arena, lua = Arena(), ctypes.CDLL(name, ctypes.RTLD_GLOBAL)
    lua.lua_newstate.restype = ctypes.c_void_p
    lua.lua_tolstring.restype = ctypes.c_char_p
    state = ctypes.c_void_p(lua.lua_newstate(arena.allocate, None))
    print("%x %x" % (arena.start, arena.end), flush=True)
    lua.luaL_openlibs(state)
    status = lua.luaL_loadfilex(state, file.encode(), None)
    for argument in arguments if status == OK else []:
        lua.lua_pushstring(state, argument.encode())
    if status == OK:
        call = getattr(lua, "lua_pcallk", None) or lua.lua_pcall  # 5.1; more arguments do no harm
        status = call(state, len(arguments), 0, 0, ctypes.c_ssize_t(0), None)
    if status != OK:
        sys.exit("lua_host: " + lua.lua_tolstring(state, -1, None).decode(errors="replace"))
    lua.lua_close(state)


if __name__ == "__main__":
    main()
