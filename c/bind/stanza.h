/* stanza: tape to table, table to out: the two walks between a stanza in C and a stanza in Lua. Rank 3: knows state,
 * fault, jids. */
#ifndef XB_STANZA_H
#define XB_STANZA_H

#include "bounds.h"
#include "out.h"
#include "state.h"
#include "tape.h"

/* What a stanza says of itself, for routing; pointers into the table's own strings, or into `room`. */
typedef struct xb_address {
  const char *name, *type, *id, *to, *from;
  size_t id_len, to_len, from_len;
  char room[4][40]; /* numbers as text; not cleared */
} xb_address;

static inline void xb_clear_address(xb_address *a) {
  a->name = a->type = a->id = a->to = a->from = NULL;
  a->id_len = a->to_len = a->from_len = 0;
}

/* No option makes a table's walk deeper: it is a recursion. */
enum { XB_MOST_DEPTH = 1000 };

/* How a table is to be written. */
typedef struct xb_writing {
  const char *ns;       /* a stanza of this content namespace is wanted; NULL: any element */
  const char *new_id;   /* for a stanza without id; NULL: none is added, but: */
  xm_rnd_supply *ids;   /* from here comes the id of an iq that asks and has none; NULL: it stays without */
  char id[XM_RND_ID + 1]; /* that */
  const char *new_from; /* for a stanza without from */
  const xm_bounds *bounds; /* that it keeps to; NULL: only its depth is bounded */
  xb_address *address;  /* filled in, when not NULL */
  char reason[768];     /* after XM_EINVAL: path and what is wrong */
} xb_writing;

static inline void xb_begin_writing(xb_writing *w, const char *ns, xb_address *a) {
  w->ns = ns;
  w->new_id = w->new_from = NULL;
  w->ids = NULL;
  w->bounds = NULL;
  w->address = a;
}

/* Writes the table at `index`. 0; XM_EINVAL (reason), XM_ENOMEM; then nothing is in the buffer. Raises no Lua error, runs no
 * metamethod. */
int xb_write(lua_State *L, int index, xm_buf *out, xb_writing *w);
/* Pushes what xb_write will take for that attribute of the table at `index`, a number as text; nil: it has none. */
void xb_push_attribute(lua_State *L, int index, const char *name);
/* Reads the address of a stanza's table without writing it, and without memory. What it points to is pushed: XB_ADDRESS
 * values. */
enum { XB_ADDRESS = 5 };
void xb_push_address(lua_State *L, int index, xb_address *a);
/* How many child elements the stanza's table at `index` has; `own` is its namespace. The first `most` of theirs are in
 * `namespaces`, pointing into the table's own strings. Takes no memory. */
size_t xb_read_children(lua_State *L, int index, const char *own, const char **namespaces, size_t most);
void xb_push_stanza(lua_State *L, const xm_tape *t);
int xb_l_to_xml(lua_State *L);
int xb_l_from_xml(lua_State *L);
int xb_l_from_log(lua_State *L); /* the same of what was sent, as deep as any connection lets it be */
int xb_l_check_stanza(lua_State *L);
int xb_l_number_text(lua_State *L);

#endif
