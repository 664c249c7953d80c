/* conn_token: the tokens of a connection (XEP-0484): which one a link uses, and what becomes of it. They are kept in
 * the keyring, where another connection of the same account and user agent finds them, too. */
#include <string.h>

#include "conn_own.h"

enum { YEAR = 366 * 24 * 3600 };

static int put_part(xm_buf *b, const char *s) {
  return xm_buf_put(b, s ? s : "", (s ? strlen(s) : 0) + 1);
}

/* The keyring's name for them: who owns them, and to whom they may be shown. */
static bool name_tokens(const xm_conn *c, xm_keyring_name *name) {
  xm_buf b = XM_BUF_INIT;
  bool named = put_part(&b, "token") == XM_OK && xm_buf_put(&b, c->asked->str, xm_jid_bare_len(c->asked)) == XM_OK &&
               put_part(&b, "") == XM_OK && put_part(&b, c->o.tls_name) == XM_OK && put_part(&b, c->o.pin) == XM_OK &&
               put_part(&b, c->o.agent) == XM_OK && put_part(&b, c->o.url) == XM_OK &&
               (!c->o.has_via || xm_buf_put(&b, c->o.via.bytes, sizeof c->o.via.bytes) == XM_OK) &&
               xm_keyring_name_of(xm_buf_at(&b), xm_buf_len(&b), name);
  xm_buf_free(&b);
  return named;
}

static int64_t seconds(const xm_conn *c) {
  return xm_loop_wall(c->loop) / 1000;
}

/* A token that the program has kept is tried first, unless it is the one that is proven already. */
int xc_take_token(xm_conn *c, const xm_token *token) {
  xm_keyring_name name;
  xm_token known;
  bool same = false;
  if (!name_tokens(c, &name)) return XM_EFAIL;
  if (xm_keyring_token(&name, XM_TOKEN_PROVEN, &known))
    same = known.n == token->n && memcmp(known.bytes, token->bytes, token->n) == 0;
  xm_wipe(&known, sizeof known);
  return same || xm_keyring_put_token(&name, XM_TOKEN_NEW, token) ? XM_OK : XM_EFAIL;
}

/* A token that has expired isn't used, but isn't dropped either: the clock may be wrong. */
static bool find(const xm_conn *c, xm_token *token, xm_token_slot *slot) {
  xm_keyring_name name;
  if (!c->o.fast || !c->o.agent || !name_tokens(c, &name)) return false;
  for (*slot = XM_TOKEN_NEW; *slot <= XM_TOKEN_PROVEN; ++*slot)
    if (xm_keyring_token(&name, *slot, token) && (!token->expiry || token->expiry > seconds(c))) return true;
  xm_wipe(token, sizeof *token);
  return false;
}

bool xm_conn_token(const xm_conn *c, xm_token *token) {
  xm_token_slot slot;
  return find(c, token, &slot);
}

const xm_token *xc_pick_token(xm_conn *c, xm_token *room) {
  bool without = c->objected & XM_LINK_TOKEN && c->has_password;
  return !without && find(c, room, &c->shown) ? room : NULL;
}

/* A token has worked. The slot for new ones becomes the proven one, even if another token has come there meanwhile:
 * that is of more use than this one. */
static void prove(const xm_keyring_name *name, xm_token_slot slot) {
  xm_token token;
  if (slot == XM_TOKEN_PROVEN || !xm_keyring_token(name, XM_TOKEN_NEW, &token)) return;
  xm_keyring_put_token(name, XM_TOKEN_PROVEN, &token);
  xm_keyring_drop_token(name, XM_TOKEN_NEW);
  xm_wipe(&token, sizeof token);
}

/* No token is kept for longer than a year, whatever the server says. */
static void keep(xm_conn *c, const xm_keyring_name *name, const xm_token *fresh) {
  xm_token token;
  memcpy(&token, fresh, sizeof token);
  if (token.expiry > seconds(c) + YEAR) token.expiry = seconds(c) + YEAR;
  if ((!token.expiry || token.expiry > seconds(c)) && xm_keyring_put_token(name, XM_TOKEN_NEW, &token)) c->news |= NEWS_TOKEN;
  xm_wipe(&token, sizeof token);
}

/* A token that was refused, or used for the last time (`invalidate`), is dropped, and none takes its place. Another one
 * that came with this login, or is in the other slot, is still good. */
void xc_note_token(xm_conn *c) {
  xm_login_token fate = xm_link_token(c->link);
  const xm_token *fresh = xm_link_new_token(c->link);
  bool worked = fate == XM_LOGIN_TOKEN_WORKED, gone = fate == XM_LOGIN_TOKEN_REFUSED || (worked && c->o.invalidate);
  xm_keyring_name name;
  if ((fate == XM_LOGIN_TOKEN_UNUSED && fresh->n == 0) || !name_tokens(c, &name)) return;
  if (gone) xm_keyring_drop_token(&name, c->shown);
  else if (worked) prove(&name, c->shown);
  if (fresh->n) keep(c, &name, fresh);
}

bool xc_has_other_token(const xm_conn *c) {
  xm_token token;
  xm_token_slot slot;
  bool other = !c->has_password && xm_link_token(c->link) == XM_LOGIN_TOKEN_REFUSED && find(c, &token, &slot);
  xm_wipe(&token, sizeof token);
  return other;
}
