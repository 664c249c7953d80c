/* embed: the files of lua/xmpp as strings, which lua-files makes when the library is built. */
#ifndef XB_EMBED_H
#define XB_EMBED_H

typedef struct xb_lua_file {
  const char *name;  /* of the module; NULL: the end */
  const char *chunk; /* "@xmpp/init.lua" */
  const char *text;
} xb_lua_file;

extern const xb_lua_file xb_lua_files[];

#endif
