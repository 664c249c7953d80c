#include "mech.h"

#include <stdlib.h>
#include <string.h>

/* Strongest first: the index is the number of the bit. */
static const xm_mech mechs[] = {
    {"EXTERNAL", XM_MECH_EXTERNAL, 0, 0},
    {"SCRAM-SHA-512-PLUS", XM_MECH_SCRAM, XM_SCRAM_SHA512, 0},
    {"SCRAM-SHA-256-PLUS", XM_MECH_SCRAM, XM_SCRAM_SHA256, 0},
    {"SCRAM-SHA-1-PLUS", XM_MECH_SCRAM, XM_SCRAM_SHA1, 0},
    {"SCRAM-SHA-512", XM_MECH_SCRAM, XM_SCRAM_SHA512, 0},
    {"SCRAM-SHA-256", XM_MECH_SCRAM, XM_SCRAM_SHA256, 0},
    {"SCRAM-SHA-1", XM_MECH_SCRAM, XM_SCRAM_SHA1, 0},
    {"PLAIN", XM_MECH_PLAIN, 0, 0},
    {"ANONYMOUS", XM_MECH_ANONYMOUS, 0, 0},
    {"HT-SHA-256-EXPR", XM_MECH_TOKEN, 0, XM_MECH_EXPORTER},
    {"HT-SHA-256-UNIQ", XM_MECH_TOKEN, 0, XM_MECH_UNIQUE},
    {"HT-SHA-256-ENDP", XM_MECH_TOKEN, 0, XM_MECH_END_POINT},
    {"HT-SHA-256-NONE", XM_MECH_TOKEN, 0, XM_MECH_BINDINGS},
};
enum {
  EXTERNAL = 1 << 0,
  PLUS = 7 << 1,
  BARE = 7 << 4,
  PLAIN = 1 << 7,
  ANONYMOUS = 1 << 8,
  TOKEN = 15 << 9,
  UNBOUND = 1 << 12,    /* the one of them that isn't bound to the channel */
  REPLAYABLE = 3 << 11, /* those of them whose proof is the same each time */
  MECHS = sizeof mechs / sizeof mechs[0],
};

static const char *const types[XM_MECH_BINDINGS] = {"tls-exporter", "tls-unique", "tls-server-end-point"};

const char *xm_mech_binding_name(int type) {
  return types[type];
}

static bool is_same(const char *name, const char *s, size_t n) {
  return strlen(name) == n && memcmp(name, s, n) == 0;
}

/* The bit of a name; 0: we don't know it. */
static unsigned bit_of(const char *name, size_t n) {
  unsigned i;
  for (i = 0; i < MECHS; i++)
    if (is_same(mechs[i].name, name, n)) return 1u << i;
  return 0;
}

/* The offer. */

static void list(xm_mech_list *l, const char *s, size_t n) {
  if (l->n < XM_MECH_NAMES) {
    l->at[l->n].s = s;
    l->at[l->n].n = n;
  }
  if (l->n <= XM_MECH_NAMES) l->n++;
}

/* Adds a peer's name to the list for error texts, with '?' for what isn't printable ASCII. The first name that doesn't
 * fit ends the list with "...", for which there is always room. */
static void show_name(xm_mech_offer *offer, const char *name, size_t n) {
  static const char comma[] = ", ", dots[] = "...";
  const size_t most = sizeof offer->names - strlen(comma) - sizeof dots;
  size_t i, used = strlen(offer->names);
  char *to = offer->names + used;
  if (used >= strlen(dots) && strcmp(to - strlen(dots), dots) == 0) return;
  if (used) to = stpcpy(to, comma);
  if (n > most || (size_t)(to - offer->names) > most - n) {
    strcpy(to, dots);
    return;
  }
  for (i = 0; i < n; i++) to[i] = name[i] > ' ' && name[i] <= '~' ? name[i] : '?';
  to[n] = '\0';
}

void xm_mech_offer_add(xm_mech_offer *offer, const char *name, size_t n) {
  unsigned bit = bit_of(name, n);
  list(&offer->mechanisms, name, n);
  if (n == 0 || offer->known & bit) return;
  offer->known |= bit;
  show_name(offer, name, n);
}

void xm_mech_offer_add_binding(xm_mech_offer *offer, const char *type, size_t n) {
  int i;
  offer->lists = true;
  list(&offer->types, type, n);
  for (i = 0; i < XM_MECH_BINDINGS; i++)
    if (is_same(types[i], type, n)) offer->bindings |= 1u << i;
}

/* i;octet (RFC 4790 9.3). */
static int by_octets(const void *a, const void *b) {
  const struct {
    const char *s;
    size_t n;
  } *x = a, *y = b;
  int order = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);
  return order ? order : x->n < y->n ? -1 : x->n > y->n;
}

static int put_sorted(xm_mech_list *l, xm_buf *out) {
  unsigned i;
  int rc = XM_OK;
  if (l->n > XM_MECH_NAMES) return XM_ELIMIT;
  qsort(l->at, l->n, sizeof l->at[0], by_octets);
  for (i = 0; i < l->n && rc == XM_OK; i++) {
    if (i) rc = xm_buf_putc(out, '\x1E');
    if (rc == XM_OK) rc = xm_buf_put(out, l->at[i].s, l->at[i].n);
  }
  return rc;
}

int xm_mech_offer_text(xm_mech_offer *offer, xm_buf *out) {
  size_t mark = xm_buf_mark(out);
  int rc = put_sorted(&offer->mechanisms, out);
  if (rc == XM_OK && offer->lists) rc = xm_buf_putc(out, '\x1F');
  if (rc == XM_OK && offer->lists) rc = put_sorted(&offer->types, out);
  if (rc < 0) xm_buf_rollback(out, mark);
  return rc;
}

static void read_names(xm_mech_offer *offer, const char *s, const char *end,
                       void (*add)(xm_mech_offer *offer, const char *name, size_t n)) {
  const char *stop;
  if (s == end) return;
  do {
    stop = memchr(s, '\x1E', (size_t)(end - s));
    add(offer, s, (size_t)((stop ? stop : end) - s));
    s = stop ? stop + 1 : end;
  } while (stop);
}

void xm_mech_offer_read(xm_mech_offer *offer, const char *text, size_t n) {
  const char *end = text + n, *types = memchr(text, '\x1F', n);
  *offer = (xm_mech_offer){.lists = types != NULL};
  read_names(offer, text, types ? types : end, xm_mech_offer_add);
  if (types) read_names(offer, types + 1, end, xm_mech_offer_add_binding);
}

unsigned xm_mech_allowed(const char *names, const char **unknown, size_t *unknown_len) {
  static const char separators[] = ", \t\r\n";
  unsigned bits = 0;
  *unknown = NULL;
  *unknown_len = 0;
  if (!names) return ((1u << MECHS) - 1) & ~(unsigned)REPLAYABLE;
  for (names += strspn(names, separators); *names; names += strspn(names, separators)) {
    size_t n = strcspn(names, separators);
    unsigned bit = bit_of(names, n);
    if (!bit && !*unknown) {
      *unknown = names;
      *unknown_len = n;
    }
    bits |= bit;
    names += n;
  }
  return bits;
}

bool xm_mech_is_anonymous(const char *names) {
  const char *unknown;
  size_t n;
  return xm_mech_allowed(names, &unknown, &n) == ANONYMOUS;
}

/* The choice. */

/* What there is everything for, offered or not. */
static unsigned within_reach(const xm_mech_policy *p) {
  unsigned bits = 0;
  if (!p->username || (p->allowed & ~(unsigned)TOKEN) == ANONYMOUS) return ANONYMOUS;
  if (p->certificate && p->tls) bits |= EXTERNAL;
  if (p->password) bits |= p->tls ? PLUS | BARE : BARE;
  if (p->password && p->plain && p->verified && !p->pinned) bits |= PLAIN;
  return bits;
}

static int refuse(const xm_mech_offer *offer, const xm_mech_policy *p, xm_err *e) {
  unsigned both = offer->known & p->allowed;
  const char *why = "this library has none of these";
  if (both & PLAIN && p->pinned && p->username && p->password)
    why =
        "this account has logged in by something better before, so PLAIN, which shows the password, is not used "
        "any more: somebody in between may have changed the offer. If the server itself has nothing better any more, call "
        "xmpp.forget()";
  else if (both & PLAIN && p->username && p->password)
    why = "PLAIN shows the password, so it needs TLS with a verified certificate, and the option plain not false";
  else if (both)
    why =
        "those that are allowed need something that is missing: a username and a password, a client certificate "
        "(EXTERNAL), a JID without localpart (ANONYMOUS), TLS (-PLUS)";
  else if (offer->known)
    why = "the option mechanisms allows none of these";
  return xm_err_set(e, XM_LAYER_SASL, "invalid-mechanism", false,
                    "no way to log in: the SASL mechanisms that the server offers are: %s; %s",
                    offer->names[0] ? offer->names : "(none)", why);
}

static int no_binding(const xm_mech_offer *offer, xm_err *e) {
  return xm_err_set(
      e, XM_LAYER_SASL, "no-channel-binding", false,
      "the server only takes logins that are bound to the TLS channel, but by no type that this connection "
      "has: somebody in between may have changed its offer: %s",
      offer->names);
}

static int less_than_before(const xm_mech_offer *offer, xm_err *e) {
  return xm_err_set(e, XM_LAYER_SASL, "no-channel-binding", false,
                    "this account has logged in bound to the TLS channel before, which the server's offer doesn't allow now: "
                    "somebody in between may have changed the offer. If the server itself has changed, call xmpp.forget(), "
                    "or name mechanisms without -PLUS in the option mechanisms. The offer: %s",
                    offer->names);
}

static int no_list(const xm_mech_offer *offer, xm_err *e) {
  return xm_err_set(e, XM_LAYER_SASL, "no-channel-binding", false,
                    "the server offers logins that are bound to the TLS channel and doesn't list the types (XEP-0440), which one "
                    "with SASL2 has to: somebody in between may have changed its offer: %s",
                    offer->names);
}

static int take(xm_mech_choice *choice, unsigned bits) {
  unsigned i = 0;
  while (!(bits >> i & 1)) i++;
  choice->mech = &mechs[i];
  return XM_OK;
}

static unsigned usable_bindings(const xm_mech_channel *channel) {
  unsigned i, bits = 0;
  for (i = 0; i < XM_MECH_BINDINGS; i++)
    if (channel->bindings[i].n) bits |= 1u << i;
  return bits;
}

/* The bindings to choose from, when a -PLUS is within reach. */
static unsigned common_bindings(const xm_mech_offer *offer, unsigned usable) {
  const unsigned unique = 1u << XM_MECH_UNIQUE;
  if (offer->lists) return offer->bindings & usable;
  return usable & unique ? unique : usable;
}

static int bind_by(xm_mech_choice *choice, unsigned bindings, unsigned plus) {
  while (!(bindings >> choice->binding & 1)) choice->binding++;
  choice->flag = 'p';
  return take(choice, plus);
}

/* Is this an offer that XEP-0440 lets no honest server make: a list of types without tls-server-end-point (rule 6), or
 * without a mechanism to use one with (rule 5)? */
static bool is_doubtful(const xm_mech_offer *offer, unsigned plus) {
  return offer->lists && !(plus && offer->bindings & 1u << XM_MECH_END_POINT);
}

static bool offers_nothing_to_bind_by(const xm_mech_offer *offer) {
  return !(offer->known & PLUS) && !offer->lists;
}

static int choose_scram(const xm_mech_offer *offer, const xm_mech_policy *p, unsigned can, xm_mech_choice *choice,
                        xm_err *e) {
  bool binds = p->tls && p->allowed & PLUS;
  unsigned plus = can & PLUS, bare = can & BARE;
  unsigned common = plus ? common_bindings(offer, usable_bindings(p->channel)) : 0;
  if (p->strict && plus && !offer->lists) return no_list(offer, e);
  choice->guessed = common && bare && !offer->lists && !p->bound;
  if (common && !(choice->guessed && p->refused)) return bind_by(choice, common, plus);
  if (binds && p->bound) return less_than_before(offer, e);
  if (!bare) return no_binding(offer, e);
  choice->guessed = false;
  choice->flag = binds && !(p->fronted && offers_nothing_to_bind_by(offer)) ? 'y' : 'n';
  choice->need_hash = binds && is_doubtful(offer, plus);
  return take(choice, bare);
}

int xm_mech_choose(const xm_mech_offer *offer, const xm_mech_policy *policy, xm_mech_choice *choice, xm_err *e) {
  unsigned can = offer->known & policy->allowed & within_reach(policy);
  *choice = (xm_mech_choice){.flag = 'n'};
  if (can & EXTERNAL) return take(choice, EXTERNAL);
  if (can & (PLUS | BARE)) return choose_scram(offer, policy, can, choice, e);
  return can ? take(choice, can) : refuse(offer, policy, e);
}

bool xm_mech_is_stronger(const xm_mech_choice *a, const xm_mech_choice *b) {
  bool bound = a->flag == 'p', other = b->flag == 'p';
  if (a->mech->kind != b->mech->kind) return a->mech < b->mech;
  return bound && !other;
}

/* Tokens. */

unsigned xm_mech_token_bit(const char *name, size_t n) {
  return bit_of(name, n) & TOKEN;
}

static unsigned usable_for_token(unsigned listed, const xm_mech_policy *p) {
  unsigned i, bits = p->tls && p->verified && p->username ? listed & p->allowed & TOKEN : 0;
  for (i = 0; i < MECHS; i++)
    if (bits >> i & 1 && mechs[i].binding < XM_MECH_BINDINGS && !p->channel->bindings[mechs[i].binding].n) bits &= ~(1u << i);
  return bits;
}

const xm_mech *xm_mech_for_token(unsigned listed, const xm_mech_policy *policy, const xm_mech_offer *offer) {
  unsigned bits = usable_for_token(listed, policy);
  xm_mech_choice choice;
  if (policy->fronted && offers_nothing_to_bind_by(offer)) bits &= UNBOUND;
  return bits ? (take(&choice, bits), choice.mech) : NULL;
}

bool xm_mech_choose_token(const char *name, unsigned listed, const xm_mech_policy *policy, xm_mech_choice *choice) {
  unsigned bit = usable_for_token(listed, policy) & xm_mech_token_bit(name, strlen(name));
  if (!bit) return false;
  *choice = (xm_mech_choice){.flag = 'n'};
  take(choice, bit);
  if (choice->mech->binding < XM_MECH_BINDINGS) {
    choice->binding = choice->mech->binding;
    choice->flag = 'p';
  }
  return true;
}
