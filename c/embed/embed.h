/* embed: the files of lua/xmpp as strings, which the script lua-files generates when the library is built. */
#ifndef XB_EMBED_H
#define XB_EMBED_H

typedef struct xb_lua_file {
  const char *name;  /* the module's name; NULL: the end of the list */
  const char *chunk; /* "@xmpp/init.lua" */
  const char *text;
} xb_lua_file;

extern const xb_lua_file xb_lua_files[];

#endif
