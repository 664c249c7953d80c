/* libFuzzer: any bytes as what a proxy sends. The result must not depend on how they are split, and no field of an HTTP
 * response's head may have characters that aren't allowed.
 *
 * Input: which proxy, and how long the pieces are; then what it sends. */
#include "fuzz.h"
#include "head.h"
#include "tunnel.h"

typedef struct outcome {
  int rc;
  size_t taken;
  bool of_target;
  xm_err e;
  xm_buf said;
} outcome;

static outcome play(const xm_proxy *p, const char *s, size_t n, size_t piece) {
  outcome o = {.said = XM_BUF_INIT};
  xm_tunnel *t = xm_tunnel_new(p, "xmpp.example", 5222, &o.e);
  MUST(t);
  do {
    size_t used, left = n - o.taken, len = left < piece ? left : piece;
    char *copy = malloc(len + !len);
    memcpy(copy, s + o.taken, len);
    o.rc = xm_tunnel_take(t, copy, len, &used, &o.e);
    free(copy);
    MUST(used <= len && (o.rc != 0 || used == len));
    o.taken += used;
  } while (o.rc == 0 && o.taken < n);
  MUST((o.rc < 0) == xm_err_is_set(&o.e));
  MUST(o.rc < 0 || xm_tunnel_take(t, "x", 1, &(size_t){0}, &o.e) == o.rc || o.rc == 0);
  o.of_target = xm_tunnel_is_of_target(t);
  MUST(xm_buf_put(&o.said, xm_buf_at(xm_tunnel_out(t)), xm_buf_len(xm_tunnel_out(t))) == XM_OK);
  xm_tunnel_free(t);
  return o;
}

static void compare(outcome *a, outcome *b) {
  MUST(a->rc == b->rc && a->taken == b->taken && a->of_target == b->of_target);
  MUST(strcmp(a->e.condition, b->e.condition) == 0 && strcmp(a->e.text, b->e.text) == 0 && a->e.retry == b->e.retry);
  MUST(xm_buf_len(&a->said) == xm_buf_len(&b->said));
  MUST(memcmp(xm_buf_at(&a->said), xm_buf_at(&b->said), xm_buf_len(&a->said)) == 0);
  xm_buf_free(&a->said);
  xm_buf_free(&b->said);
}

/* What is read from a head has no control characters, and a field is found again by its name. */
static void read_head(const char *s, size_t n) {
  xm_head *h = xm_head_new(XM_LAYER_PROXY, "the proxy");
  xm_err e = {0};
  size_t used;
  MUST(h);
  if (xm_head_take(h, s, n, &used, &e) == 1) {
    MUST(used >= 4 && memcmp(s + used - 4, "\r\n\r\n", 4) == 0 && !memchr(s, 0, used));
    MUST(xm_head_status(h) >= 100 && xm_head_status(h) < 600);
    MUST(!strpbrk(xm_head_reason(h), "\r\n"));
    MUST((xm_head_fields(h, "A") > 0) == (xm_head_field(h, "a") != NULL));
    if (xm_head_field(h, "a")) MUST(!strpbrk(xm_head_field(h, "a"), "\r\n"));
    if (xm_head_has_token(h, "a", "b")) MUST(xm_head_fields(h, "a") > 0);
  }
  xm_head_free(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  input in = {data, size};
  unsigned how = take(&in);
  size_t piece = 1 + take(&in) % 64;
  xm_proxy p = {.kind = how & 1 ? XM_PROXY_HTTP : XM_PROXY_SOCKS5, .name = "x://p:1"};
  outcome whole, cut;
  if (how & 2) p.user = "user", p.password = "password";
  whole = play(&p, (const char *)in.at, in.n, SIZE_MAX);
  cut = play(&p, (const char *)in.at, in.n, piece);
  compare(&whole, &cut);
  if (how & 1) read_head((const char *)in.at, in.n);
  return 0;
}
