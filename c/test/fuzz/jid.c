/* libFuzzer: any bytes as an address and as a password. What is accepted isn't changed by another preparation, and all
 * functions agree on it. */
#include "jid.h"
#include "fuzz.h"

static void check_taken(const xm_jid *j, const char *s, size_t n) {
  const char *reason;
  char ascii[256];
  xm_jid again;
  xm_jid_parts p;
  MUST(j->domain_len && xm_jid_len(j) == strlen(j->str));
  MUST(xm_jid_is(j, s, n));
  MUST(xm_jid_parse(&again, j->str, xm_jid_len(j), &reason) == XM_OK && strcmp(again.str, j->str) == 0);
  MUST(xm_jid_split(&p, j->str, xm_jid_len(j), &reason) == XM_OK);
  MUST(p.local_len == j->local_len && p.domain_len == j->domain_len && p.resource_len == j->resource_len);
  MUST(xm_jid_ascii_domain(j, ascii, sizeof ascii) == XM_OK);
  if (*xm_jid_domain(j) == '[') return;
  MUST(xm_jid_parse(&again, ascii, strlen(ascii), &reason) == XM_OK);
  MUST(again.domain_len == j->domain_len && memcmp(again.str, xm_jid_domain(j), j->domain_len) == 0);
}

static void check_password(const char *s, size_t n) {
  char once[XM_JID_MAX], twice[XM_JID_MAX];
  size_t len, again;
  const char *reason;
  if (xm_jid_opaque_string(s, n, once, sizeof once, &len, &reason) < 0) return;
  MUST(len && xm_jid_opaque_string(once, len, twice, sizeof twice, &again, &reason) == XM_OK);
  MUST(again == len && memcmp(once, twice, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  const char *s = (const char *)bytes, *reason = NULL;
  xm_jid_parts p;
  xm_jid j;
  int rc = xm_jid_parse(&j, s, n, &reason);
  MUST(rc == XM_OK || (rc == XM_EINVAL && reason));
  if (rc == XM_OK) check_taken(&j, s, n);
  (void)xm_jid_split(&p, s, n, &reason);
  check_password(s, n);
  return 0;
}
