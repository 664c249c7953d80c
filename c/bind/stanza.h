/* stanza: turns a tape (a received stanza) into a Lua table, and a Lua table into XML that is sent. Rank 3: uses
 * state, call, fault, jids. */
#ifndef XB_STANZA_H
#define XB_STANZA_H

#include "bounds.h"
#include "out.h"
#include "state.h"
#include "tape.h"

/* A stanza's name and the attributes that route it. Pointers into the table's own strings, or into `room`. */
typedef struct xb_address {
  const char *name, *type, *id, *to, *from;
  size_t id_len, to_len, from_len;
  char room[4][40]; /* numbers as text; not cleared */
} xb_address;

static inline void xb_clear_address(xb_address *a) {
  a->name = a->type = a->id = a->to = a->from = NULL;
  a->id_len = a->to_len = a->from_len = 0;
}

/* No option allows deeper elements than this when a table is written, since that is a recursion. */
enum { XB_MOST_DEPTH = 1000 };

/* How a table is to be written, and what comes of it. */
typedef struct xb_writing {
  const char *ns;       /* the table must be a stanza of this content namespace; NULL: it may be any element */
  const char *new_id;   /* the id that a stanza without one gets; NULL: none, except by `ids` */
  xm_rnd_supply *ids;   /* generates the id for an iq of type get or set that has none; NULL: it stays without */
  char id[XM_RND_ID + 1]; /* the id that was generated */
  const char *new_from; /* the `from` that a stanza without one gets; NULL: none */
  const xm_bounds *bounds; /* the bounds that are checked; NULL: only the default depth */
  xb_address *address;  /* filled in, if it isn't NULL */
  char reason[768];     /* after XM_EINVAL: the path to what is wrong, and why it is */
} xb_writing;

static inline void xb_begin_writing(xb_writing *w, const char *ns, xb_address *a) {
  w->ns = ns;
  w->new_id = w->new_from = NULL;
  w->ids = NULL;
  w->bounds = NULL;
  w->address = a;
}

/* Writes the table at `index`. XM_OK, XM_EINVAL (see reason) or XM_ENOMEM; after an error nothing has been added to the
 * buffer. Raises no Lua error, calls no metamethod. */
int xb_write(lua_State *L, int index, xm_buf *out, xb_writing *w);
/* Pushes the value that xb_write will write for that attribute of the table at `index`, a number or Jid as text; nil:
 * it has none. */
void xb_push_attribute(lua_State *L, int index, const char *name);
/* Reads the address of a stanza's table without writing it, and without allocating in C. Pushes XB_ADDRESS values, to
 * which the address points. */
enum { XB_ADDRESS = 5 };
void xb_push_address(lua_State *L, int index, xb_address *a);
/* The number of child elements of the stanza's table at `index`, whose namespace is `own`. The namespaces of the first
 * `most` of them are put in `namespaces`, as pointers into the table's own strings. Takes no memory in C. */
size_t xb_read_children(lua_State *L, int index, const char *own, const char **namespaces, size_t most);
void xb_push_stanza(lua_State *L, const xm_tape *t);
int xb_l_to_xml(lua_State *L);
int xb_l_from_xml(lua_State *L);
int xb_l_from_log(lua_State *L); /* from_xml for what was sent, which may be as deep as any connection allows */
int xb_l_check_stanza(lua_State *L);
int xb_l_number_text(lua_State *L);

#endif
